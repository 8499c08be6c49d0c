(function () {
  "use strict";
  var box = document.getElementById("q"), count = document.getElementById("n");
  var all = Array.prototype.slice.call(document.querySelectorAll(".r"));
  var texts = all.map(function (one) { return one.textContent.toLowerCase(); });
  function show() {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
    all.forEach(function (one, at) {
      var has = words.every(function (word) { return texts[at].indexOf(word) >= 0; });
      one.hidden = !has;
      if (has) shown += 1;
    });
    count.textContent = shown + " of " + all.length;
  }
  box.addEventListener("input", show);
  if (location.hash.length > 1) {
    try { box.value = decodeURIComponent(location.hash.slice(1)); } catch (error) { box.value = ""; }
  }
  show();
})();
