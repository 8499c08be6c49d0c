//! Estimates how many tokens a language model counts for a text.
//!
//! Pure, without a vocabulary: a text is cut into runs of one class of characters, as tokenizers cut it before they
//! look anything up, and each run has a price. The prices are fitted to the encoding `o200k` on prose, chat, logs and
//! source code; `samples.jsonl` has texts with their true counts. English, German, Chinese and code err by less than
//! 15 %, other languages by less than 30 %.

/// A bit per character from U+4E00 to U+9FFF, the lowest bit of a byte first: set if it is one token. The others are two
/// or three.
static HAN_SINGLE_TOKENS: &[u8; 2624] = include_bytes!("han.bin");

/// The longest word of [`is_foreign_word`].
const FOREIGN_WORD_BYTES: usize = 6;

/// The share of foreign words from which a text is entirely foreign, in percent.
const FOREIGN_PERCENT: i64 = 10;

/// The prices of a Latin word of up to this many letters, in hundredths of a token: in English and code, and what is
/// added in other languages.
const WORD_PRICES: [(usize, i64, i64); 6] =
    [(3, 91, 9), (5, 88, 43), (7, 100, 15), (9, 127, 0), (12, 143, 46), (usize::MAX, 126, -25)];

/// What is added for each letter over 13 of a foreign word: a compound.
const COMPOUND_LETTER: i64 = 27;

/// A class of characters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Latin,
    Digit,
    Space,
    LineEnd,
    Punctuation,
    Han,
    Kana,
    Hangul,
    /// Punctuation of Chinese and Japanese.
    Wide,
    /// A letter of an alphabet with spaces between words.
    Letter,
    /// A letter of a script of India or South East Asia.
    Syllable,
    /// Symbols, emoji and anything else.
    Symbol,
}

/// The price of what was read, in hundredths of a token.
#[derive(Default)]
struct Price {
    sum: i64,
    /// What is added if the text is foreign.
    foreign: i64,
    word_count: i64,
    foreign_word_count: i64,
}

/// Returns the estimated number of tokens of `text`: 0 only if it is empty.
pub(crate) fn estimate(text: &str) -> usize {
    let mut price = Price::default();
    let mut rest = text;
    let class_at_start = |text: &str| text.chars().next().map(class_of);
    let (mut previous, mut current) = (None, class_at_start(rest));
    while let Some(class) = current {
        let (run, after) = rest.split_at(run_length(rest, class));
        let next = class_at_start(after);
        price.add(class, run, previous, next);
        (previous, current, rest) = (current, next, after);
    }
    let foreign_percent = price.foreign_word_count * 100 / price.word_count.max(1);
    let sum = price.sum + price.foreign * foreign_percent.min(FOREIGN_PERCENT) / FOREIGN_PERCENT;
    let least = usize::from(!text.is_empty());
    usize::try_from((sum + 99) / 100).unwrap_or(0).max(least)
}

/// Returns the estimated number of tokens of `text` as it is written in a JSON string, without its quotes.
pub(crate) fn estimate_in_json(text: &str) -> usize {
    let escape_count = text.bytes().filter(|byte| matches!(byte, b'\n' | b'\t' | b'"' | b'\\')).count();
    // 0.5 to 1.1 tokens each, in texts of all kinds.
    estimate(text) + escape_count * 9 / 10
}

impl Price {
    fn add(&mut self, class: Class, run: &str, previous: Option<Class>, next: Option<Class>) {
        let count = || run.chars().count() as i64;
        self.sum += match class {
            Class::Latin => {
                self.add_word(run);
                if previous == Some(Class::Space) { 0 } else { 32 }
            }
            Class::Digit => (count() + 2) / 3 * 111,
            // The last space belongs to what follows, unless that is a number.
            Class::Space if run.len() == 1 && !matches!(next, None | Some(Class::Digit | Class::LineEnd)) => 0,
            Class::Space => 92,
            Class::LineEnd if previous == Some(Class::Punctuation) => 15,
            Class::LineEnd => 138,
            Class::Punctuation => punctuation(run, previous, next),
            Class::Han => 25 + run.chars().map(|c| if is_single_token(c) { 70 } else { 299 }).sum::<i64>(),
            Class::Kana => 9 + 63 * count(),
            Class::Hangul => 107 + 34 * count(),
            Class::Wide => 70 + 30 * count(),
            Class::Letter => 81 + 13 * count(),
            Class::Syllable => 40 + 40 * count(),
            Class::Symbol => run.chars().map(|c| if c > '\u{FFFF}' { 200 } else { 100 }).sum::<i64>(),
        };
    }

    /// Adds a run of Latin letters: a word, or several that capital letters separate.
    fn add_word(&mut self, run: &str) {
        let is_foreign = !run.is_ascii() || is_foreign_word(run);
        self.word_count += 1;
        self.foreign_word_count += i64::from(is_foreign);
        if run.bytes().all(|byte| byte.is_ascii_lowercase()) {
            return self.add_piece(run, false);
        }
        let mut rest = run;
        while !rest.is_empty() {
            let mut capitals = rest.find(|c: char| !c.is_uppercase()).unwrap_or(rest.len());
            let small = rest[capitals..].find(char::is_uppercase).unwrap_or(rest.len() - capitals);
            if small > 0 {
                // The last capital begins the word of small letters.
                capitals -= rest[..capitals].chars().next_back().map_or(0, char::len_utf8);
            }
            let (piece, after) = match (capitals, small) {
                (0, _) => {
                    let start = rest.chars().next().map_or(0, char::len_utf8);
                    let end = rest[start..].find(char::is_uppercase).map_or(rest.len(), |at| start + at);
                    rest.split_at(end)
                }
                _ => rest.split_at(capitals),
            };
            self.add_piece(piece, capitals > 0);
            rest = after;
        }
    }

    fn add_piece(&mut self, piece: &str, is_capitals: bool) {
        let (letter_count, other_count) = match piece.is_ascii() {
            true => (piece.len(), 0),
            false => (piece.chars().count(), piece.chars().filter(|c| !c.is_ascii()).count() as i64),
        };
        self.sum += 85 * other_count;
        if is_capitals && letter_count > 1 {
            self.sum += 84 + 23 * (letter_count as i64 - 3).max(0);
            return;
        }
        if let Some((_, price, foreign)) = WORD_PRICES.iter().find(|(most, ..)| letter_count <= *most) {
            self.sum += price;
            self.foreign += foreign + COMPOUND_LETTER * (letter_count as i64 - 13).max(0);
        }
    }
}

/// Returns true for words that are frequent in German and Italian and rare in English.
fn is_foreign_word(word: &str) -> bool {
    let mut folded = [0; FOREIGN_WORD_BYTES];
    let Some(folded) = folded.get_mut(..word.len()) else { return false };
    folded.copy_from_slice(word.as_bytes());
    folded.make_ascii_lowercase();
    matches!(
        &*folded,
        b"der"
            | b"die"
            | b"das"
            | b"und"
            | b"ist"
            | b"nicht"
            | b"ich"
            | b"wir"
            | b"ein"
            | b"eine"
            | b"mit"
            | b"den"
            | b"zu"
            | b"auf"
            | b"von"
            | b"im"
            | b"es"
            | b"sich"
            | b"des"
            | b"dem"
            | b"werden"
            | b"sie"
            | b"che"
            | b"di"
            | b"il"
            | b"per"
    )
}

/// Returns the bytes at the start of `text` whose characters are of this class.
fn run_length(text: &str, class: Class) -> usize {
    let mut end = 0;
    while let Some(&byte) = text.as_bytes().get(end) {
        match ASCII_CLASSES.get(usize::from(byte)) {
            Some(of_byte) if *of_byte == class => end += 1,
            Some(_) => break,
            None => match text[end..].chars().next().filter(|c| class_of(*c) == class) {
                Some(c) => end += c.len_utf8(),
                None => break,
            },
        }
    }
    end
}

/// The class of each ASCII character.
static ASCII_CLASSES: [Class; 128] = {
    let mut classes = [Class::Punctuation; 128];
    let mut at = 0;
    while at < classes.len() {
        classes[at] = match at as u8 {
            b'a'..=b'z' | b'A'..=b'Z' => Class::Latin,
            b' ' | b'\t' => Class::Space,
            b'\n' | b'\r' => Class::LineEnd,
            b'0'..=b'9' => Class::Digit,
            _ => Class::Punctuation,
        };
        at += 1;
    }
    classes
};

fn punctuation(run: &str, previous: Option<Class>, next: Option<Class>) -> i64 {
    let bytes = run.as_bytes();
    match (bytes.len(), next) {
        // A mark and the word after it are mostly one token.
        (1, Some(Class::Latin)) if previous != Some(Class::Space) => 0,
        (1, Some(Class::Latin)) => 118,
        (1, _) => 108,
        (2 | 3, _) => 89,
        // A line of one mark is one token.
        (count, _) if bytes.iter().filter(|&&byte| byte != bytes[0]).count() > 1 => 185 + 59 * (count as i64 - 4),
        _ => 185,
    }
}

fn is_single_token(c: char) -> bool {
    let at = (c as usize).wrapping_sub(0x4E00);
    HAN_SINGLE_TOKENS.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
}

fn class_of(c: char) -> Class {
    match c {
        '\0'..='\x7F' => ASCII_CLASSES[c as usize],
        '\u{AA}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}' if c.is_alphabetic() => Class::Latin,
        '\u{250}'..='\u{8FF}' | '\u{10A0}'..='\u{10FF}' | '\u{1F00}'..='\u{1FFF}' => Class::Letter,
        '\u{900}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' => Class::Syllable,
        '\u{3000}'..='\u{303F}' | '\u{FF00}'..='\u{FFEF}' => Class::Wide,
        '\u{3040}'..='\u{30FF}' => Class::Kana,
        '\u{3400}'..='\u{9FFF}' | '\u{F900}'..='\u{FAFF}' => Class::Han,
        '\u{AC00}'..='\u{D7A3}' => Class::Hangul,
        _ => Class::Symbol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Returns kind, true count and text of each sample.
    fn samples() -> impl Iterator<Item = (String, usize, String)> {
        include_str!("samples.jsonl").lines().map(|line| {
            let sample: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| sample[key].as_str().unwrap().to_owned();
            (text("kind"), sample["tokens"].as_u64().unwrap() as usize, text("text"))
        })
    }

    #[test]
    fn estimates_are_close_to_what_a_tokenizer_counts() {
        let mut kinds = std::collections::BTreeMap::new();
        for (kind, tokens, text) in samples() {
            let percent = if kind == "other" { 30 } else { 15 };
            let estimated = estimate(&text);
            assert!(estimated.abs_diff(tokens) * 100 <= tokens * percent, "{kind}: {estimated} of {tokens}: {text}");
            *kinds.entry(kind).or_insert(0) += 1;
        }
        let counts: Vec<usize> = ["code", "de", "en", "other", "zh"].iter().map(|kind| kinds[*kind]).collect();
        assert!(counts.iter().all(|&count| count >= 6), "{kinds:?}");
    }

    #[test]
    fn any_text_has_an_estimate() {
        assert_eq!(estimate(""), 0);
        for text in [" ", "\n", "a", "\u{0}", "é", "ÀÉ", "xÀÉy", "\u{10FFFF}", "ǅ", "ﬁ", "aB", "ABc", "\u{301}"]
        {
            assert!((1..10).contains(&estimate(text)), "{text:?}: {}", estimate(text));
        }
    }

    #[test]
    fn a_longer_text_has_no_fewer_tokens() {
        for (_, _, text) in samples() {
            let half: String = text.chars().take(text.chars().count() / 2).collect();
            assert!(estimate(&half) < estimate(&text), "{text}");
        }
    }
}
