//! Spellings of one word: the parts of an identifier, words joined by a mark, letters written out.
//!
//! Pure. A text is indexed by its words as they stand and by the forms of this module; a cue is searched by the same
//! forms. So two spellings of a word meet whichever of them the record has. Forms keep apart what differs in more than
//! spelling: *2.1.0* and *2.10.1*, *E0308* and *E0382*.

/// Stands between two numbers of a version: *2.1.0* has the form `2·1·0`. No word of a text contains it.
pub(crate) const NUMBER_BORDER: char = '\u{B7}';

/// Ends the term of a stop word that is capitalized as a name.
pub(crate) const NAME_MARK: char = NUMBER_BORDER;

/// Longest form, in bytes; longer ones are left out.
pub(super) const FORM_BYTES: usize = 64;

/// Most parts of a word. Picked: a word of more is encoded data.
const MAX_PART_COUNT: usize = 8;

/// Most borders of letters and digits in a word of parts.
const MAX_RUN_COUNT: usize = 4;

/// Least characters of a part.
const MIN_PART_CHARS: usize = 2;

/// Least digits of a long number, one more than those of a date, and most letters.
const MIN_LONG_NUMBER_DIGITS: usize = 9;
const MAX_LONG_NUMBER_LETTERS: usize = 6;

/// How exactly a text has a word that marks join to others.
const MARKED_SHARE: f64 = 0.5;

/// Most words of a cue that are compared letter for letter.
const MAX_EXACT_COUNT: usize = 16;

/// Least characters of the shortened and of the whole hexadecimal hash.
const SHORT_HASH_CHARS: usize = 7;
const HASH_CHARS: usize = 10;

/// A part of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part<'w> {
    /// A part of a word of letters and digits: *Python* of *Python3*.
    Run(&'w str),
    /// A part of a word of letters: *User* of *getUserById*.
    Hump(&'w str),
}

/// Calls `sink` with the parts of a word as it is written: between a lower-case and an upper-case letter, before the
/// last letter of an acronym, between letters and digits. A run between digits that has several such parts is passed,
/// too: *OAuth2* has *OAuth* and *Auth*; so is a part with its digits if the word has others: *isIPv6Enabled* has *IPv6*.
/// Never calls it for a word of one part, or of so many that it is encoded data.
pub(crate) fn for_each_part<'w>(word: &'w str, sink: &mut dyn FnMut(Part<'w>)) {
    let is_plain = |(at, b): (usize, u8)| b.is_ascii_lowercase() || (at == 0 && b.is_ascii_uppercase());
    if word.len() > FORM_BYTES || word.bytes().enumerate().all(is_plain) {
        return;
    }
    if let Some(digits) = hexadecimal_digits(word) {
        return sink(Part::Run(digits));
    }
    let mut parts = [(0, 0, 0); MAX_PART_COUNT];
    let mut count = 0;
    let mut run = 0;
    let mut start = 0;
    for (end, border) in borders(word) {
        let Some(slot) = parts.get_mut(count) else { return };
        *slot = (start, end, run);
        count += 1;
        start = end;
        run += u8::from(border == Border::Digit);
    }
    // Hashes and keys alternate between letters and digits.
    let run_count = usize::from(run);
    if count < 2 || run_count > MAX_RUN_COUNT {
        return;
    }
    let parts = &parts[..count];
    let long = |part: &str| part.chars().nth(MIN_PART_CHARS - 1).is_some();
    for (at, &(start, end, run)) in parts.iter().enumerate() {
        let opens = at == 0 || parts[at - 1].2 != run;
        let (_, last, _) = parts[at..].iter().take_while(|part| part.2 == run).last().copied().unwrap_or_default();
        let whole = &word[start..last];
        if opens && last != end && whole.len() < word.len() && long(whole) {
            sink(Part::Run(whole));
        }
        let part = &word[start..end];
        let sized = if run_count > 0 { Part::Run } else { Part::Hump };
        if long(part) {
            sink(sized(part));
        }
        // The letter of a version belongs to its number: IPv6, TLSv1.
        if let Some(name) = part.strip_suffix('v').filter(|name| long(name) && !name.contains(char::is_lowercase)) {
            sink(sized(name));
        }
        // A single letter belongs to the part behind it, too: iOS, OAuth.
        let is_of_run = |other: usize| parts.get(other).is_some_and(|part| part.2 == run);
        if at > 0 && is_of_run(at - 1) && long(part) {
            let (letter, _, _) = parts[at - 1];
            let is_part_of_run = is_of_run(at + 1) || (at > 1 && is_of_run(at - 2));
            if !long(&word[letter..start]) && is_part_of_run {
                sink(Part::Hump(&word[letter..end]));
            }
        }
    }
    for_each_numbered(word, parts, sink);
}

/// Calls `sink` with each part of a word that has digits, with them, unless it is the whole word: *IPv6*, *S3*, *md5*.
fn for_each_numbered<'w>(word: &'w str, parts: &[(usize, usize, u8)], sink: &mut dyn FnMut(Part<'w>)) {
    let is_number = |(start, _, _): &(usize, usize, u8)| word[*start..].starts_with(char::is_numeric);
    // Behind digits a part begins with a capital and a small letter, or has three letters: H2SO4 is one part.
    let opens = |part: &(usize, usize, u8), before: &(usize, usize, u8)| {
        let text = &word[part.0..part.1];
        let is_word = text.starts_with(char::is_uppercase) && text.chars().nth(1).is_some_and(char::is_lowercase);
        let is_single = before.1 - before.0 == 1;
        !is_number(part) && if is_number(before) { is_word || text.chars().nth(2).is_some() } else { !is_single }
    };
    let mut start = 0;
    for at in 0..parts.len() {
        if at > 0 && opens(&parts[at], &parts[at - 1]) {
            start = at;
        }
        let is_last = parts.get(at + 1).is_none_or(|next| opens(next, &parts[at]));
        let whole = &word[parts[start].0..parts[at].1];
        let has_both = whole.contains(char::is_numeric) && whole.contains(char::is_alphabetic);
        if is_last && has_both && whole.len() < word.len() {
            sink(Part::Hump(whole));
        }
    }
}

/// Returns the digits of a number that is written as *0x7fff*.
fn hexadecimal_digits(word: &str) -> Option<&str> {
    let digits = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"))?;
    (digits.len() >= MIN_PART_CHARS && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

/// What ends a part of a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Border {
    Hump,
    Digit,
    End,
}

/// Returns the end of each part of a word, and what is there.
fn borders(word: &str) -> impl Iterator<Item = (usize, Border)> {
    let mut chars = word.char_indices().peekable();
    let mut before: Option<(char, bool)> = None;
    std::iter::from_fn(move || {
        loop {
            let Some((at, c)) = chars.next() else {
                return before.take().map(|_| (word.len(), Border::End));
            };
            let follows = chars.peek().map(|(_, next)| *next);
            let Some((last, after_upper)) = before.replace((c, c.is_uppercase())) else { continue };
            if last.is_numeric() != c.is_numeric() {
                return Some((at, Border::Digit));
            }
            // The plural of an acronym is one part (URLs), and so is one with the letter of a version (IPv6).
            let rest = || word.get(at + c.len_utf8() + 1..).unwrap_or_default();
            let opens_word = match follows {
                Some('s') => !rest().is_empty(),
                Some('v') => !rest().starts_with(|c: char| c.is_ascii_digit()),
                Some(other) => other.is_lowercase(),
                None => false,
            };
            if c.is_uppercase() && (last.is_lowercase() || (after_upper && opens_word)) {
                return Some((at, Border::Hump));
            }
        }
    })
}

/// Returns the word with its umlauts and ligatures written as two letters, folded; `None` if it has none. *ü*, *ö*,
/// *ä*, *ø* and *å* are also written *ue*, *oe*, *ae*, *oe* and *aa*.
pub(crate) fn written_out(word: &str, fold: impl Fn(char, &mut String)) -> Option<String> {
    if word.is_ascii() {
        return None;
    }
    let mut out = String::new();
    let mut is_changed = false;
    let mut chars = word.chars().peekable();
    while let Some(c) = chars.next() {
        let mark = chars.peek().copied();
        let pair = match (c, mark) {
            ('ä' | 'Ä', _) | ('a' | 'A', Some('\u{308}')) => "ae",
            ('ö' | 'Ö' | 'ø' | 'Ø', _) | ('o' | 'O', Some('\u{308}')) => "oe",
            ('ü' | 'Ü', _) | ('u' | 'U', Some('\u{308}')) => "ue",
            ('å' | 'Å', _) | ('a' | 'A', Some('\u{30A}')) => "aa",
            _ => "",
        };
        if pair.is_empty() {
            fold(c, &mut out)
        } else {
            out.push_str(pair)
        }
        is_changed |= !pair.is_empty();
    }
    (is_changed && out.len() <= FORM_BYTES).then_some(out)
}

/// Returns the name of the signs that belong to a word and follow it: *C++*, *C#*.
pub(crate) fn sign_name(behind: &str) -> Option<&'static str> {
    // Called for each word: patterns of bytes, since a comparison of strings is a call.
    let (name, length) = match behind.as_bytes() {
        [b'+', b'+', ..] => ("pp", 2),
        [b'#', ..] => ("sharp", 1),
        _ => return None,
    };
    let rest = &behind[length..];
    rest.chars().next().is_none_or(|c| !c.is_alphabetic() && !matches!(c, '+' | '#' | '_')).then_some(name)
}

/// Returns true if a dot before a word belongs to it: *.NET*, *.env*.
pub(crate) fn has_leading_dot(before: &str) -> bool {
    let [.., b'.'] = before.as_bytes() else { return false };
    let rest = &before[..before.len() - 1];
    rest.chars().next_back().is_none_or(|c| c.is_whitespace() || matches!(c, '(' | '"' | '\'' | '`' | '/' | '*'))
}

/// Returns the words of a cue as they are written, with the signs before them: those that have other characters than
/// letters a to z and a capital at their start, which tells spellings of one word apart; the plain ones that `is_wanted`
/// admits, too.
pub(crate) fn exact_spellings<'c>(cue: &'c str, is_wanted: &dyn Fn(&str) -> bool) -> Vec<&'c str> {
    let is_inner = |c: char| c.is_alphanumeric() || matches!(c, '+' | '#');
    let is_sign = |c: char| matches!(c, '.' | '-' | '!' | '$' | '@' | '~' | '#' | '&' | '*' | '/' | '%');
    let whole = |word: &'_ str| -> Option<(usize, usize)> {
        let start = word.find(is_inner)?;
        let start = start - (word[..start].len() - word[..start].trim_end_matches(is_sign).len());
        Some((start, word.len() - word.chars().rev().take_while(|c| !is_inner(*c)).map(char::len_utf8).sum::<usize>()))
    };
    let words = cue.split_whitespace().filter_map(|word| whole(word).map(|(start, end)| &word[start..end]));
    words.take(MAX_EXACT_COUNT).filter(|word| !is_plain(word) || is_wanted(word)).collect()
}

/// Returns true if a word consists of letters a to z, and may begin with a capital.
pub(crate) fn is_plain(word: &str) -> bool {
    let mut bytes = word.bytes();
    bytes.next().is_none_or(|b| b.is_ascii_alphabetic()) && bytes.all(|b| b.is_ascii_lowercase())
}

/// Returns how exactly `text` has `word`, letter for letter and not within a longer word: 1 if it stands by itself, and
/// [`MARKED_SHARE`] if marks join it to others, as *node* in *node.js*.
pub(crate) fn exactness(text: &str, word: &str) -> f64 {
    let is_inner = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut best: f64 = 0.0;
    for (at, _) in text.match_indices(word) {
        let mut before = text[..at].chars().rev();
        let mut behind = text[at + word.len()..].chars();
        let (last, next) = (before.next(), behind.next());
        if is_inner(last) || is_inner(next) {
            continue;
        }
        let opens = last.is_none_or(|c| c.is_whitespace() || !is_joint(c));
        let ends = next.is_none_or(|c| c.is_whitespace() || !is_joint(c) || (c == '.' && !is_inner(behind.next())));
        best = best.max(if opens && ends { 1.0 } else { MARKED_SHARE });
    }
    best
}

/// Returns true for a mark that makes another word of the one beside it.
fn is_joint(c: char) -> bool {
    matches!(c, '.' | '-' | '_' | '+' | '#' | '@' | '/' | '!' | '$' | '~' | '&' | '*' | '%')
}

/// Returns true if a word between `before` and `behind` is capitalized as a name: in capitals among other words, or with
/// one within a sentence.
pub(crate) fn is_capitalized(before: &str, word: &str, behind: &str) -> bool {
    let mut chars = word.chars();
    if !chars.next().is_some_and(char::is_uppercase) || chars.as_str().is_empty() {
        return false;
    }
    let is_in_capitals = |word: &str| !word.chars().any(char::is_lowercase) && word.chars().nth(1).is_some();
    if is_in_capitals(word) {
        let previous = before.trim_end().rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        let next = behind.trim_start().split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        return !is_in_capitals(previous) && !is_in_capitals(next);
    }
    before.trim_end().ends_with(|c: char| c.is_alphanumeric() || c == ',')
}

/// Returns true if adjacent words may be written as one: numbers only if the second is a group of three digits.
pub(crate) fn may_join(first: &str, second: &str) -> bool {
    let is_number = |word: &str| word.bytes().all(|b| b.is_ascii_digit());
    !(first.ends_with(|c: char| c.is_ascii_digit()) && second.starts_with(|c: char| c.is_ascii_digit()))
        || (second.len() == 3 && is_number(second) && is_number(first))
}

/// Returns true if the folded word is a long number: of a telephone, an account (with letters, as an IBAN) or a card. Its
/// groups have any length, and any marks between them.
pub(crate) fn is_long_number(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let letters = word.bytes().filter(u8::is_ascii_lowercase).count();
    digits >= MIN_LONG_NUMBER_DIGITS && letters <= MAX_LONG_NUMBER_LETTERS && digits + letters == word.len()
}

/// Returns true if one is the beginning of the other, which is a hexadecimal hash: *9f8e7d6* of *9f8e7d6c1a2b3c*.
pub(crate) fn is_hash_and_beginning(a: &str, b: &str) -> bool {
    let (short, long) = if a.len() < b.len() { (a, b) } else { (b, a) };
    short.len() >= SHORT_HASH_CHARS && is_hash(long) && long.starts_with(short)
}

/// Returns the groups of three digits of a number, the first of which may be shorter; `None` for a word that is no
/// number of several groups.
pub(crate) fn digit_groups(word: &str) -> Option<Vec<&str>> {
    let is_number = (4..=15).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
    let (first, rest) = is_number.then(|| word.split_at((word.len() - 1) % 3 + 1))?;
    Some(std::iter::once(first).chain((0..rest.len() / 3).map(|at| &rest[at * 3..at * 3 + 3])).collect())
}

/// Returns true if the folded word is a hexadecimal hash.
pub(crate) fn is_hash(word: &str) -> bool {
    word.len() >= HASH_CHARS && is_hexadecimal(word) && has_both(word)
}

/// Returns true if the folded word may be the beginning of a hash.
pub(crate) fn may_begin_hash(word: &str) -> bool {
    word.len() >= SHORT_HASH_CHARS && is_hexadecimal(word)
}

/// Returns the lengths at which hashes are usually shortened, and below that of `word`.
pub(crate) fn hash_beginnings(word: &str) -> impl Iterator<Item = &str> {
    (SHORT_HASH_CHARS..word.len().min(13)).map(|end| &word[..end])
}

fn is_hexadecimal(word: &str) -> bool {
    word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn has_both(word: &str) -> bool {
    word.bytes().any(|b| b.is_ascii_digit()) && word.bytes().any(|b| b.is_ascii_lowercase())
}

/// Returns true if a form consists of several numbers: `2·1·0`.
pub(crate) fn is_version(form: &str) -> bool {
    form.contains(NUMBER_BORDER) && form.chars().all(|c| c == NUMBER_BORDER || c.is_ascii_digit())
}

/// Returns true if a version has this number, but for years: `2·1·0` has *2*, *1* and *0*. Its first number is found as
/// *v2*, too.
pub(crate) fn has_number(form: &str, number: &str) -> bool {
    let mut numbers = form.split(NUMBER_BORDER);
    number.len() < 4 && (numbers.clone().next() == number.strip_prefix('v') || numbers.any(|other| other == number))
}
