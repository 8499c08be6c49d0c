//! Language detection by script and frequent words.
//!
//! Pure. The result is a guess: it is used to filter records, never to index them.

/// Characters of a text that are examined.
const MAX_CHARS: usize = 400;

/// Languages of the Latin script, each with words that are common in it and rare in the others.
const LATIN: [(&str, &[&str]); 6] = [
    ("en", &["the", "and", "is", "of", "to", "was", "with", "have", "that", "for", "my", "you", "are", "this", "on"]),
    (
        "de",
        &["der", "die", "das", "und", "ist", "nicht", "ich", "wir", "ein", "eine", "mit", "den", "zu", "auf", "für"],
    ),
    ("fr", &["le", "les", "des", "est", "et", "une", "dans", "nous", "pas", "pour", "que", "du", "avec", "je", "au"]),
    ("es", &["el", "los", "las", "es", "y", "una", "por", "para", "con", "mi", "del", "que", "está", "muy", "como"]),
    ("it", &["il", "gli", "è", "e", "una", "per", "con", "che", "di", "sono", "della", "nel", "non", "mio", "ho"]),
    ("pt", &["o", "os", "uma", "não", "é", "para", "com", "do", "da", "em", "meu", "que", "você", "na", "um"]),
];

/// Returns the ISO 639-1 code of the text's language; `en` if there is no indication.
pub(crate) fn of(text: &str) -> &'static str {
    let mut counts = [0_u32; SCRIPTS.len()];
    for c in text.chars().take(MAX_CHARS) {
        if let Some(at) =
            SCRIPTS.iter().position(|(_, ranges)| ranges.iter().any(|&(from, to)| (from..=to).contains(&c)))
        {
            counts[at] += 1;
        }
    }
    // Japanese text has Chinese characters, too; kana identify it.
    if counts[KANA] > 0 {
        return SCRIPTS[KANA].0;
    }
    let most = (0..counts.len()).max_by_key(|&at| (counts[at], std::cmp::Reverse(at))).unwrap_or(LATIN_AT);
    if counts[most] == 0 || most == LATIN_AT { latin(text) } else { SCRIPTS[most].0 }
}

fn latin(text: &str) -> &'static str {
    let mut counts = [0_u32; LATIN.len()];
    let start: String = text.chars().take(MAX_CHARS).collect::<String>().to_lowercase();
    for word in start.split(|c: char| !c.is_alphabetic()) {
        for (at, (_, words)) in LATIN.iter().enumerate() {
            counts[at] += u32::from(words.contains(&word));
        }
    }
    let most = (0..counts.len()).max_by_key(|&at| (counts[at], std::cmp::Reverse(at))).unwrap_or(0);
    LATIN[most].0
}

const LATIN_AT: usize = 0;
const KANA: usize = 1;

/// Scripts as Unicode ranges, each with the language that is mostly written in it.
const SCRIPTS: [(&str, &[(char, char)]); 10] = [
    ("en", &[('a', 'z'), ('A', 'Z'), ('À', 'ɏ')]),
    ("ja", &[('ぁ', 'ヿ')]),
    ("ru", &[('\u{400}', '\u{52F}')]),
    ("ar", &[('\u{600}', '\u{6FF}')]),
    ("zh", &[('\u{4E00}', '\u{9FFF}'), ('\u{3400}', '\u{4DBF}')]),
    ("ko", &[('\u{AC00}', '\u{D7A3}'), ('\u{1100}', '\u{11FF}')]),
    ("el", &[('\u{370}', '\u{3FF}')]),
    ("he", &[('\u{590}', '\u{5FF}')]),
    ("th", &[('\u{E00}', '\u{E7F}')]),
    ("hi", &[('\u{900}', '\u{97F}')]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_detected_by_script_and_frequent_words() {
        for (text, want) in [
            ("", "en"),
            ("12:30 ...", "en"),
            ("Anna: we went camping in the mountains", "en"),
            ("Die Besprechung ist am Donnerstag", "de"),
            ("Le chat de la voisine est dans le jardin", "fr"),
            ("El perro de mi hermana corre por la playa", "es"),
            ("Il gatto della vicina non è nel giardino", "it"),
            ("O cachorro não está em casa com você", "pt"),
            ("Мы ездили на дачу в Bosch", "ru"),
            ("ذهبنا إلى المدرسة", "ar"),
            ("昨日、東京で猫を見ました", "ja"),
            ("我们昨天在北京吃了烤鸭", "zh"),
            ("어제 학교에서 친구를 만났어요", "ko"),
            ("Χθες πήγαμε στην Αθήνα", "el"),
            ("אתמול הלכנו לים", "he"),
            ("เมื่อวานเราไปเที่ยว", "th"),
            ("हम कल दिल्ली में मिले", "hi"),
        ] {
            assert_eq!(of(text), want, "{text}");
        }
    }
}
