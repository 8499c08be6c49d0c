//! `iaid report`: the page that it writes, the files that it does not touch, and the page in a browser.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Daemon, setup};
use crate::skip;

/// Texts that would act on a page or leave their element.
const HOSTILE: &[&str] = &[
    "</div></article></main></script><script>document.title='taken'</script> marker-one",
    "<img src=x onerror=\"document.title='taken'\"> marker-two",
    "quotes \" ' ` and \u{2028}\u{2029}\u{0}\u{1b}[2J\u{9b} &lt;b&gt; <!-- marker-three",
    "<svg onload=document.title='taken'><a href=\"javascript:alert(1)\">marker-four</a>",
];

fn filled() -> Daemon {
    let daemon = setup();
    let mut client = daemon.client();
    let mut rows: Vec<Value> = Vec::new();
    for n in 0..2300 {
        let role = ["user", "assistant", "assistant", "system"][n % 4];
        let day = format!("2026-{:02}-{:02}T10:00:{:02}Z", 1 + n / 400, 1 + n / 20 % 28, n % 60);
        let project = ["/src/tea", "/src/boat", ""][n % 3];
        rows.push(json!({"kind": "record", "text": format!("note {n} about the kettle"), "role": role, "ts": day,
            "project": project, "session_id": format!("s{}", n / 50)}));
    }
    for (n, text) in HOSTILE.iter().enumerate() {
        rows.push(json!({"kind": "record", "text": text, "ts": format!("2026-07-0{}", n + 1), "project": text,
            "session_id": text}));
    }
    rows.push(
        json!({"kind": "record", "text": format!("long {} the end of it", "word ".repeat(400)), "ts": "2026-07-05"}),
    );
    for page in rows.chunks(1000) {
        let got = client.call("store_import", json!({"rows": page}));
        assert_eq!(got["refused"], json!([]));
    }
    client.call("memory_consolidate", json!({}));
    daemon
}

/// Runs the command. Returns its exit code and standard error.
fn report(daemon: &Daemon, args: &[&str]) -> (i32, String) {
    let output = daemon.run(&[&["report"], args].concat());
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_page_has_the_totals_and_the_newest_records_escaped() {
    let daemon = filled();
    let path = daemon.setup().home().join("report.html");
    let name = path.to_str().expect("UTF-8");
    assert_eq!(report(&daemon, &[name]), (0, String::new()));
    let page = fs::read_to_string(&path).expect("the page");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    assert_eq!(page.matches("<article").count(), 2000);
    let total = daemon.status()["records"].as_u64().expect("a count");
    assert!(page.contains(&format!("<b>2 {}</b>records", total - 2000)), "{total}");
    for part in ["note 2299 about", "/src/tea", "marker-four", "By day", "<h2>Sleep</h2>"] {
        assert!(page.contains(part), "{part}");
    }
    // The oldest are counted only.
    assert!(!page.contains("note 7 about"), "an old record is shown");
    // No element, attribute or control character of a stored text, and nothing from elsewhere.
    let own = page.replace("</script>\n</body>", "");
    for part in ["</script>", "<img", "<svg onload", "href=\"", "src=\"", "http:", "https:", "url(", "@import"] {
        assert!(!own.contains(part), "{part}");
    }
    assert!(!page.contains(|c: char| c.is_control() && c != '\n'), "a control character");
    assert!(!page.contains(['\u{2028}', '\u{2029}']));
    // An earlier report is replaced; nothing else is left beside it.
    assert_eq!(report(&daemon, &[name]).0, 0);
    let names: Vec<String> = fs::read_dir(daemon.setup().home())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("report"))
        .collect();
    assert_eq!(names, ["report.html"]);
}

#[test]
fn files_that_are_no_report_stay_as_they_are() {
    let daemon = setup();
    daemon.client().call("memory_capture", json!({"text": "the only record in the store"}));
    let home = daemon.setup().home().to_owned();
    let at = |name: &str| home.join(name);
    fs::write(at("letter.html"), "<!doctype html>\nDear Anna").expect("a file");
    fs::create_dir(at("folder")).expect("a folder");
    symlink(at("letter.html"), at("link")).expect("a link");
    symlink(at("nowhere"), at("broken")).expect("a link");
    assert!(Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo").success());
    for (name, what) in [
        ("letter.html", "no report of iaid; give another name, or replace it with --force"),
        ("folder", "it is a folder"),
        ("link", "symbolic link"),
        ("broken", "symbolic link"),
        ("pipe", "no regular file"),
        ("missing/report.html", "No such file"),
        ("letter.html/report.html", "Not a directory"),
    ] {
        let path = at(name);
        let (code, said) = report(&daemon, &[path.to_str().expect("UTF-8")]);
        assert!(code == 1 && said.contains(what), "{name}: {code} {said}");
    }
    for name in ["link", "folder", "pipe"] {
        assert_eq!(report(&daemon, &["--force", at(name).to_str().expect("UTF-8")]).0, 1, "{name}");
    }
    assert_eq!(fs::read_to_string(at("letter.html")).expect("a file"), "<!doctype html>\nDear Anna");
    assert!(report(&daemon, &["/dev/full"]).1.contains("no regular file"));
    assert_eq!(report(&daemon, &["--force", at("letter.html").to_str().expect("UTF-8")]), (0, String::new()));
    assert!(fs::read_to_string(at("letter.html")).expect("a file").contains("the only record"));
    // Without a daemon nothing is written.
    let mut daemon = daemon;
    daemon.stop();
    let path = at("none.html");
    assert_eq!(report(&daemon, &[path.to_str().expect("UTF-8")]).0, 3);
    let left = fs::read_dir(&home)
        .expect("a folder")
        .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().contains("none.html"));
    assert_eq!(left.count(), 0);
}

#[test]
fn a_full_disk_leaves_nothing() {
    let daemon = filled();
    let home = daemon.setup().home();
    let folder = home.join("small");
    fs::create_dir(&folder).expect("a folder");
    let script = format!(
        "mount -t tmpfs -o size=64k none {0} && {1} --socket {2} report {0}/report.html; echo \"exit $?\"; ls -A {0}",
        folder.display(),
        env!("CARGO_BIN_EXE_iaid"),
        daemon.setup().socket().display()
    );
    if !skip::has("unshare") {
        return;
    }
    let output = Command::new("unshare").args(["-Urm", "sh", "-c", &script]).output().expect("unshare runs");
    let (said, why) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if why.contains("unshare") || why.contains("mount:") {
        return skip::skipped("no file system can be mounted in a namespace");
    }
    assert_eq!(said, "exit 1\n", "{why}");
    assert!(why.contains("report.html: No space left on device"), "{why}");
}

/// Returns the page as a browser has it after its scripts.
fn in_browser(page: &Path, fragment: &str) -> String {
    let url = format!("file://{}#{fragment}", page.display());
    let home = page.parent().expect("a folder");
    let mut command = Command::new("chromium");
    command.args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=5000"]);
    command.arg(format!("--user-data-dir={}", home.join("chromium").display())).arg(url);
    let output = command.env("HOME", home).output().expect("chromium runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_browser_searches_the_page_and_runs_nothing_of_a_record() {
    if std::env::var_os("CI_FULL").is_none() {
        return;
    }
    if !skip::has("chromium") {
        return;
    }
    let daemon = filled();
    let path = daemon.setup().home().join("report.html");
    assert_eq!(report(&daemon, &[path.to_str().expect("UTF-8")]).0, 0);
    let shown = |page: &str| {
        let articles = page.split("<article ").skip(1).map(|one| one.split('>').next().unwrap_or_default().to_owned());
        articles.filter(|start| !start.contains("hidden")).count()
    };
    for (fragment, count, said) in [
        ("", 2000, "2000 of 2000"),
        ("kettle%202299", 1, "1 of 2000"),
        ("MARKER-", 4, "4 of 2000"),
        ("the%20end%20of%20it", 1, "1 of 2000"),
        ("%3Cscript%3E", 1, "1 of 2000"),
        ("nothing%20like%20this", 0, "0 of 2000"),
        ("%E0%A4%A", 2000, "2000 of 2000"),
    ] {
        let page = in_browser(&path, fragment);
        assert!(page.contains(&format!("id=\"n\">{said}<")), "{fragment}: the script has run");
        assert_eq!(shown(&page), count, "{fragment}");
        assert!(page.contains("<title>What is remembered</title>"), "{fragment}: a record's script has run");
        assert!(!page.contains("<img") && page.matches("<script").count() == 1, "{fragment}");
    }
}

#[test]
fn a_report_is_a_copy_that_forgetting_names_and_no_partial_file_stays() {
    let daemon = setup();
    let got = daemon.client().call("memory_capture", json!({"text": "a record that is forgotten later"}));
    let home = daemon.setup().home().to_owned();
    // What a killed report of an earlier release, a killed export and a living process have left.
    let (dead, living) = (home.join(".report.html.4194303.partial"), home.join(".report.html.1.partial"));
    for path in [&dead, &living, &home.join(".out.jsonl.4194303.partial")] {
        fs::write(path, "<!doctype html>").expect("a file");
    }
    let path = home.join("report.html");
    assert_eq!(report(&daemon, &[path.to_str().expect("UTF-8")]), (0, String::new()));
    let out = home.join("out.jsonl");
    assert!(daemon.run(&["export", out.to_str().expect("UTF-8")]).status.success());
    let partial = |name: &str| home.join(name).exists();
    assert!(!dead.exists() && living.exists() && !partial(".out.jsonl.4194303.partial"));
    let forgotten = daemon.run(&["forget", got["record_id"].as_str().expect("an id"), "--yes"]);
    let said = String::from_utf8_lossy(&forgotten.stdout).into_owned();
    assert!(said.contains(&format!("{}  report of 20", path.display())), "{said}");
    assert!(said.contains(&format!("{}  export of 20", out.display())), "{said}");
}
