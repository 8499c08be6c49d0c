//! Stemming of folded words, by script: Porter's English rules for plain Latin letters, Snowball's Russian rules for
//! Cyrillic, a light Arabic stemmer; other words are unchanged.
//!
//! Pure. A stem is an index key and need not be a word. The English rules apply to Latin words of other languages, too:
//! that is harmless (the same word has the same stem) and unites their plurals in -s.
//!
//! Sources: M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980;
//! snowballstem.org, "Russian stemming algorithm"; L. Larkey et al., "Light stemming for Arabic
//! information retrieval", 2007.

use crate::memory::text::irregular_forms;

/// Replaces `word`, which is folded (lower case, no marks), by its stem.
pub(crate) fn stem(word: &mut String) {
    if word.bytes().all(|b| b.is_ascii_lowercase()) {
        if let Some(base) = irregular_forms::base(word) {
            base.clone_into(word);
        }
        // Porter leaves words of one and two letters unchanged.
        if word.len() > 2 {
            english(word);
        }
        return;
    }
    match word.chars().next() {
        Some('а'..='я') => russian(word),
        Some('\u{0621}'..='\u{064A}') => arabic(word),
        _ => {}
    }
}

fn english(word: &mut String) {
    plural(word);
    past(word);
    if word.ends_with('y') && has_vowel(&word.as_bytes()[..word.len() - 1]) {
        replace(word, 1, "i");
    }
    // In each list only the first matching suffix counts, even if the rest of the word is too short to remove it.
    long_suffix(word, (STEP_2, STEP_2_ENDS), 1);
    long_suffix(word, (STEP_3, STEP_3_ENDS), 1);
    residue(word);
    tidy(word);
}

const STEP_2: &[(&str, &str)] = &[
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("abli", "able"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
];

const STEP_3: &[(&str, &str)] =
    &[("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];

const STEP_4: &[&str] = &[
    "ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "ion",
    "al", "er", "ic", "ou",
];

fn plural(word: &mut String) {
    if word.ends_with("sses") || word.ends_with("ies") {
        cut(word, 2);
    } else if word.ends_with("eaux") {
        // Not in Porter's rules: French plurals, used in English, too (bureaux).
        cut(word, 1);
    } else if word.ends_with('s') && !word.ends_with("ss") {
        cut(word, 1);
    }
}

fn past(word: &mut String) {
    if word.ends_with("eed") {
        if measure(&word.as_bytes()[..word.len() - 3]) > 0 {
            cut(word, 1);
        }
        return;
    }
    let Some(suffix) = ["ed", "ing"].into_iter().find(|s| word.ends_with(s)) else { return };
    if !has_vowel(&word.as_bytes()[..word.len() - suffix.len()]) {
        return;
    }
    cut(word, suffix.len());
    let w = word.as_bytes();
    if ["at", "bl", "iz"].iter().any(|s| word.ends_with(s)) {
        word.push('e');
    } else if is_doubled(w) && !matches!(w[w.len() - 1], b'l' | b's' | b'z') {
        cut(word, 1);
    } else if measure(w) == 1 && ends_short(w) {
        word.push('e');
    }
}

/// The last letters of suffixes, as bits: most words end otherwise, and this runs for every word of every text.
const STEP_2_ENDS: u32 = ends_of(STEP_2);
const STEP_3_ENDS: u32 = ends_of(STEP_3);
const STEP_4_ENDS: u32 = {
    let (mut ends, mut at) = (0, 0);
    while at < STEP_4.len() {
        ends |= end_of(STEP_4[at]);
        at += 1;
    }
    ends
};

const fn ends_of(table: &[(&str, &str)]) -> u32 {
    let (mut ends, mut at) = (0, 0);
    while at < table.len() {
        ends |= end_of(table[at].0);
        at += 1;
    }
    ends
}

/// Returns the bit of a word's last letter, a to z.
#[inline(always)]
const fn end_of(word: &str) -> u32 {
    match word.as_bytes() {
        [.., last] => 1 << (*last & 31),
        [] => 0,
    }
}

fn long_suffix(word: &mut String, (table, ends): (&[(&str, &str)], u32), least: usize) {
    if ends & end_of(word) == 0 {
        return;
    }
    let Some((suffix, instead)) = table.iter().find(|(suffix, _)| ends_with(word, suffix)) else { return };
    if measure(&word.as_bytes()[..word.len() - suffix.len()]) >= least {
        replace(word, suffix.len(), instead);
    }
}

fn residue(word: &mut String) {
    if STEP_4_ENDS & end_of(word) == 0 {
        return;
    }
    let Some(suffix) = STEP_4.iter().find(|suffix| ends_with(word, suffix)) else { return };
    let left = &word.as_bytes()[..word.len() - suffix.len()];
    let fits = *suffix != "ion" || matches!(left.last(), Some(b's' | b't'));
    if fits && measure(left) > 1 {
        cut(word, suffix.len());
    }
}

fn tidy(word: &mut String) {
    if word.ends_with('e') {
        let left = &word.as_bytes()[..word.len() - 1];
        let m = measure(left);
        if m > 1 || (m == 1 && !ends_short(left)) {
            cut(word, 1);
        }
    }
    let w = word.as_bytes();
    if word.ends_with("ll") && measure(w) > 1 {
        cut(word, 1);
    }
}

/// Returns true if `word` ends with `suffix`. Compares the last byte first, which rejects most suffixes: this runs for
/// every word of every text.
#[inline(always)]
fn ends_with(word: &str, suffix: &str) -> bool {
    word.as_bytes().last() == suffix.as_bytes().last() && word.ends_with(suffix)
}

#[inline]
fn is_consonant(w: &[u8], i: usize) -> bool {
    match w[i] {
        b'a' | b'e' | b'i' | b'o' | b'u' => false,
        b'y' => i == 0 || !is_consonant(w, i - 1),
        _ => true,
    }
}

/// Returns Porter's measure m: the number of times a consonant follows a vowel.
fn measure(w: &[u8]) -> usize {
    (1..w.len()).filter(|&i| is_consonant(w, i) && !is_consonant(w, i - 1)).count()
}

fn has_vowel(w: &[u8]) -> bool {
    (0..w.len()).any(|i| !is_consonant(w, i))
}

fn is_doubled(w: &[u8]) -> bool {
    w.len() > 1 && w[w.len() - 1] == w[w.len() - 2] && is_consonant(w, w.len() - 1)
}

/// Returns true if the word ends in consonant, vowel, consonant, the last not w, x or y.
fn ends_short(w: &[u8]) -> bool {
    let n = w.len();
    n > 2
        && is_consonant(w, n - 1)
        && !is_consonant(w, n - 2)
        && is_consonant(w, n - 3)
        && !matches!(w[n - 1], b'w' | b'x' | b'y')
}

/// Applies Snowball's Russian rules. Their endings are written with и for й, as in folded words, the longest first.
fn russian(word: &mut String) {
    let vowel = |c: char| "аеиоуыэюя".contains(c);
    let Some((first, c)) = word.char_indices().find(|(_, c)| vowel(*c)) else { return };
    let region = first + c.len_utf8();
    // R2: the part after the second change from vowel to consonant.
    let second = after_vowel_consonant(word, 0, vowel).and_then(|r1| after_vowel_consonant(word, r1, vowel));
    let strip = |word: &mut String, ending: &str| {
        let fits = word.len() >= region + ending.len() && word.ends_with(ending);
        if fits {
            cut(word, ending.len());
        }
        fits
    };
    let any = |word: &mut String, endings: &[&str]| endings.iter().any(|e| strip(word, e));
    let after_a = |word: &mut String, endings: &[&str]| {
        endings.iter().any(|e| {
            let fits = word.strip_suffix(e).is_some_and(|left| {
                left.len() >= region + 'а'.len_utf8() && (left.ends_with('а') || left.ends_with('я'))
            });
            fits && strip(word, e)
        })
    };
    if !(after_a(word, &["вшись", "вши", "в"]) || any(word, &["ившись", "ывшись", "ивши", "ывши", "ив", "ыв"]))
    {
        any(word, &["ся", "сь"]);
        if any(word, ADJECTIVE) {
            if !after_a(word, &["ем", "нн", "вш", "ющ", "щ"]) {
                any(word, &["ивш", "ывш", "ующ"]);
            }
        } else if !(after_a(word, VERB_AFTER_A) || any(word, VERB)) {
            any(word, NOUN);
        }
    }
    strip(word, "и");
    if let Some(r2) = second {
        for ending in ["ость", "ост"] {
            if word.len() >= r2 + ending.len() && strip(word, ending) {
                break;
            }
        }
    }
    let superlative = any(word, &["еише", "еиш"]);
    if word.ends_with("нн") {
        cut(word, "н".len());
    } else if !superlative {
        strip(word, "ь");
    }
}

const ADJECTIVE: &[&str] = &[
    "ими", "ыми", "его", "ого", "ему", "ому", "ее", "ие", "ые", "ое", "еи", "ии", "ыи", "ои", "ем", "им", "ым", "ом",
    "их", "ых", "ую", "юю", "ая", "яя", "ою", "ею",
];

const VERB_AFTER_A: &[&str] =
    &["ете", "ите", "ешь", "нно", "ла", "на", "ли", "ем", "ло", "но", "ет", "ют", "ны", "ть", "и", "л", "н"];

const VERB: &[&str] = &[
    "уите", "еите", "ила", "ыла", "ена", "ите", "или", "ыли", "ило", "ыло", "ено", "ует", "уют", "ены", "ить", "ыть",
    "ишь", "еи", "уи", "ил", "ыл", "им", "ым", "ен", "ят", "ит", "ыт", "ую", "ю",
];

const NOUN: &[&str] = &[
    "иями", "ями", "ами", "ием", "иям", "иях", "ев", "ов", "ие", "ье", "еи", "ии", "ои", "ем", "ям", "ом", "ам", "ах",
    "ях", "ию", "ью", "ия", "ья", "а", "е", "и", "о", "у", "ы", "ь", "ю", "я",
];

fn after_vowel_consonant(word: &str, from: usize, vowel: impl Fn(char) -> bool) -> Option<usize> {
    let mut behind_vowel = false;
    for (i, c) in word[from..].char_indices() {
        if behind_vowel && !vowel(c) {
            return Some(from + i + c.len_utf8());
        }
        behind_vowel = vowel(c);
    }
    None
}

fn arabic(word: &mut String) {
    let letters = |w: &str| w.chars().count();
    for prefix in ["وال", "بال", "كال", "فال", "ال", "لل", "و"] {
        let least = if prefix == "و" { 3 } else { 2 };
        if word.strip_prefix(prefix).is_some_and(|left| letters(left) >= least) {
            word.drain(..prefix.len());
            break;
        }
    }
    for suffix in ["ها", "ان", "ات", "ون", "ين", "يه", "ه", "ي"] {
        if word.strip_suffix(suffix).is_some_and(|left| letters(left) >= 2) {
            cut(word, suffix.len());
        }
    }
}

fn cut(word: &mut String, bytes: usize) {
    word.truncate(word.len() - bytes);
}

fn replace(word: &mut String, bytes: usize, instead: &str) {
    cut(word, bytes);
    word.push_str(instead);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stemmed(word: &str) -> String {
        let mut word = word.to_owned();
        stem(&mut word);
        word
    }

    #[test]
    fn english_stems_are_those_of_porters_paper() {
        for (word, want) in [
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("cats", "cat"),
            ("feed", "feed"),
            ("agreed", "agre"),
            ("plastered", "plaster"),
            ("motoring", "motor"),
            ("sing", "sing"),
            ("conflated", "conflat"),
            ("hopping", "hop"),
            ("tanned", "tan"),
            ("falling", "fall"),
            ("hissing", "hiss"),
            ("failing", "fail"),
            ("filing", "file"),
            ("happy", "happi"),
            ("sky", "sky"),
            ("relational", "relat"),
            ("conditional", "condit"),
            ("digitizer", "digit"),
            ("vietnamization", "vietnam"),
            ("hopefulness", "hope"),
            ("triplicate", "triplic"),
            ("electrical", "electr"),
            ("revival", "reviv"),
            ("replacement", "replac"),
            ("adjustment", "adjust"),
            ("adoption", "adopt"),
            ("probate", "probat"),
            ("rate", "rate"),
            ("cease", "ceas"),
            ("controll", "control"),
            ("roll", "roll"),
            ("is", "is"),
            ("s", "s"),
        ] {
            assert_eq!(stemmed(word), want, "{word}");
        }
    }

    /// Words of Porter's vocabulary whose stem differs from the published one, with the reason.
    #[rustfmt::skip]
    const DEPARTURES: &[(&str, &str, &str)] = &[
        ("blew", "blow", IRREGULAR), ("gave", "give", IRREGULAR), ("got", "get", IRREGULAR), ("grew", "grow", IRREGULAR),
        ("ignobly", "ignobli", ABLI),
        ("known", "know", IRREGULAR), ("people", "person", IRREGULAR), ("taught", "teach", IRREGULAR),
        ("teeth", "tooth", IRREGULAR), ("told", "tell", IRREGULAR), ("went", "go", IRREGULAR),
    ];
    const IRREGULAR: &str = "an irregular form has its base's stem";
    const ABLI: &str = "the paper's rule is abli → able, Porter's later program has bli → ble";

    #[test]
    fn porters_vocabulary_has_its_published_stems() {
        let vocabulary = include_str!("../../../tests/fixtures/porter_vocabulary.txt");
        let pairs = vocabulary.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(' '));
        let pairs: Vec<(&str, &str)> = pairs.collect();
        assert!(pairs.len() > 2000, "{}", pairs.len());
        let differ = pairs.iter().map(|(word, published)| (*word, stemmed(word), *published));
        let differ: Vec<(&str, String, &str)> = differ.filter(|(_, own, published)| own != published).collect();
        let found: Vec<(&str, &str)> = differ.iter().map(|(word, own, _)| (*word, own.as_str())).collect();
        let intended: Vec<(&str, &str)> = DEPARTURES.iter().map(|(word, own, _)| (*word, *own)).collect();
        assert_eq!(found, intended, "{differ:?}");
    }

    #[test]
    fn forms_of_a_word_share_a_stem() {
        for forms in [
            &["camp", "camping", "camped", "camps"][..],
            &["go", "went", "gone", "going"],
            &["книга", "книги", "книгу", "книгои", "книгами", "книг"],
            &["красивыи", "красивая", "красивого", "красивыми"],
            &["работал", "работала", "работают", "работать"],
            &["кошка", "кошки", "кошку", "кошкои"],
            &["مدرسه", "المدرسه", "والمدرسه", "مدرسات"],
            &["maison", "maisons"],
            &["chateau", "chateaux"],
            &["casa", "casas"],
        ] {
            for form in forms {
                assert_eq!(stemmed(form), stemmed(forms[0]), "{form}");
            }
        }
    }

    #[test]
    fn other_words_are_unchanged_and_no_stem_is_empty() {
        for word in ["", "x86", "2023", "αθηνα", "漢字", "ы", "и", "ну", "в", "و", "ال"] {
            assert_eq!(stemmed(word), word);
        }
        for word in ["ing", "ed", "ies", "ess", "eed", "ность", "ывшись", "ыми", "ости"] {
            assert!(!stemmed(word).is_empty(), "{word}");
        }
    }
}
