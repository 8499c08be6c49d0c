//! Irregular English verb and noun forms, and their base words.
//!
//! Pure. A form that is also another word (*rose*) is left out, since texts of every language are looked up here.

/// Returns the base word of the folded `form`, if it is irregular.
pub(crate) fn base(form: &str) -> Option<&'static str> {
    // Most words end as no form with their first letter does.
    let [first, .., last] = form.as_bytes() else { return None };
    if ENDS[usize::from(*first & 31)] & 1 << (*last & 31) == 0 {
        return None;
    }
    FORMS.binary_search_by_key(&form, |(form, _)| form).ok().map(|at| FORMS[at].1)
}

/// Returns each irregular form with its base word.
pub(crate) fn forms() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORMS.iter().copied()
}

/// For each first letter of a form, the last letters of the forms with it, as bits.
const ENDS: [u32; 32] = {
    let (mut ends, mut at) = ([0; 32], 0);
    while at < FORMS.len() {
        let form = FORMS[at].0.as_bytes();
        ends[(form[0] & 31) as usize] |= 1 << (form[form.len() - 1] & 31);
        at += 1;
    }
    ends
};

/// Sorted by form.
#[rustfmt::skip]
const FORMS: &[(&str, &str)] = &[
    ("ate", "eat"), ("became", "become"), ("began", "begin"), ("begun", "begin"), ("bit", "bite"), ("bitten", "bite"),
    ("blew", "blow"), ("blown", "blow"), ("bought", "buy"), ("broke", "break"), ("broken", "break"),
    ("brought", "bring"), ("built", "build"), ("came", "come"), ("caught", "catch"), ("children", "child"),
    ("chose", "choose"), ("chosen", "choose"), ("dealt", "deal"), ("drank", "drink"), ("drawn", "draw"),
    ("drew", "draw"), ("driven", "drive"), ("drove", "drive"), ("drunk", "drink"), ("dug", "dig"), ("eaten", "eat"),
    ("fallen", "fall"), ("fed", "feed"), ("feet", "foot"), ("fell", "fall"), ("felt", "feel"), ("flew", "fly"),
    ("flown", "fly"), ("forgave", "forgive"), ("forgiven", "forgive"), ("forgot", "forget"), ("forgotten", "forget"),
    ("fought", "fight"), ("found", "find"), ("froze", "freeze"), ("frozen", "freeze"), ("gave", "give"),
    ("given", "give"), ("gone", "go"), ("got", "get"), ("gotten", "get"), ("grew", "grow"), ("grown", "grow"),
    ("heard", "hear"), ("held", "hold"), ("hid", "hide"), ("hidden", "hide"), ("hung", "hang"), ("kept", "keep"),
    ("knew", "know"), ("known", "know"), ("laid", "lay"), ("lain", "lie"), ("learnt", "learn"), ("led", "lead"),
    ("left", "leave"), ("lent", "lend"), ("lives", "life"), ("lost", "lose"), ("made", "make"), ("meant", "mean"),
    ("men", "man"), ("met", "meet"), ("mice", "mouse"), ("paid", "pay"), ("people", "person"), ("ran", "run"),
    ("rang", "ring"), ("ridden", "ride"), ("risen", "rise"), ("rode", "ride"), ("rung", "ring"), ("said", "say"),
    ("sang", "sing"), ("sank", "sink"), ("sat", "sit"), ("saw", "see"), ("seen", "see"), ("sent", "send"),
    ("shaken", "shake"), ("shone", "shine"), ("shook", "shake"), ("shot", "shoot"), ("showed", "show"),
    ("shown", "show"), ("slept", "sleep"), ("sold", "sell"), ("sought", "seek"), ("spent", "spend"),
    ("spoke", "speak"), ("spoken", "speak"), ("stole", "steal"), ("stolen", "steal"), ("stood", "stand"),
    ("struck", "strike"), ("stuck", "stick"), ("sung", "sing"), ("sunk", "sink"), ("swam", "swim"), ("swum", "swim"),
    ("swung", "swing"), ("taken", "take"), ("taught", "teach"), ("teeth", "tooth"), ("thought", "think"),
    ("threw", "throw"), ("thrown", "throw"), ("told", "tell"), ("took", "take"), ("tore", "tear"), ("torn", "tear"),
    ("understood", "understand"), ("went", "go"), ("wives", "wife"), ("woke", "wake"), ("woken", "wake"),
    ("women", "woman"), ("won", "win"), ("wore", "wear"), ("worn", "wear"), ("written", "write"), ("wrote", "write"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_word_is_no_irregular_form() {
        assert!(FORMS.is_sorted_by(|a, b| a.0 < b.0));
        for (form, word) in [("went", Some("go")), ("bought", Some("buy")), ("children", Some("child")), ("rose", None)]
        {
            assert_eq!(base(form), word);
        }
        for (form, word) in FORMS {
            assert_eq!(base(word), None, "{form} leads to {word}, which leads on");
        }
    }
}
