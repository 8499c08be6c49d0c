//! Values of fields whose name says that they are secret: `password = …` in code, configuration, JSON, YAML, shells, HTTP
//! headers, XML and prose. Pure.
//!
//! A value that is no literal (a variable, a call, a type, a path) or that reads as an example is none.

use super::entropy::bits;
use super::rules::MASK_START;
use super::rules::{
    ALGORITHMS, FIELDS, FieldRule, Floor, LONG_BYTES, NAME_WORDS, OTHER_FIELDS, PASSWORD, PLACEHOLDERS,
};
use super::span::SecretSpan;
use super::token;

/// Longest name of a field, and most spaces before its separator.
const MAX_NAME_BYTES: usize = 64;
const MAX_SPACES: usize = 32;

/// Longest value.
const MAX_VALUE_BYTES: usize = 1024;

/// The longest quoted value that is masked, such as a session token.
const MAX_QUOTED_BYTES: usize = 8 << 10;

/// Least length and entropy of a value that a person chooses, and of one that a program makes. Picked: `hunter2` has 2.8
/// bits per byte, `1111aaaa` 1; random ones of 16 characters have more than 3.3.
const CHOSEN: (usize, f64) = (6, 2.0);
const RANDOM: (usize, f64) = (10, 3.0);

/// Least length of a quoted password of letters alone.
const LETTERS_BYTES: usize = 8;

/// Most digits at the end of a variable's name: `password123` is a password that people choose.
const MAX_NAME_DIGIT_COUNT: usize = 2;

/// Most digits of a password without letters and quotes.
const MAX_PIN_BYTES: usize = 8;

/// Words between a field's name and its value in prose.
const VERBS: [&str; 7] = [" is ", " ist ", " lautet ", " est ", " es ", " é ", " was "];
const SIGNS: [&str; 4] = ["：", "是", "为", "は"];

/// Where values begin that are kept elsewhere.
const REFERENCES: [&str; 16] = [
    "op://",
    "vault:",
    "arn:",
    "env:",
    "env.",
    "file:",
    "ref+",
    "ssm:",
    "projects/",
    "keyring:",
    "process.",
    "os.",
    "./",
    "~/",
    "../",
    "bearer ",
];

/// How the value is joined to the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joint {
    /// `=`, `:` and the like.
    Sign,
    /// A verb of a sentence.
    Verb,
}

/// Returns the secret value whose field's name ends before `at`.
pub(super) fn value_at(text: &str, at: usize) -> Option<SecretSpan> {
    let (separator, joint) = separator_at(text, at)?;
    let rule = rule_before(text, at)?;
    let (start, end, is_quoted) = value_of(text, at, at + separator)?;
    let value = &text[start..end];
    if text.as_bytes()[at] == b'>' && !text[end..].starts_with("</") {
        return None;
    }
    if let Some(known) = known_token(text, start, end) {
        return Some(known);
    }
    // `--- PASS: TestParseV2`, `the second pass is 2500us`: the word has other meanings.
    let is_of_test = || text[..name_before(text, at).1].ends_with("--- ");
    if rule.name == "pass" && (matches!(joint, Joint::Verb) || is_of_test() || is_measure(value)) {
        return None;
    }
    if !is_quoted && is_name_of_field(value, rule, is_comparison(text, at)) {
        return None;
    }
    let is_secret = is_literal(value, is_quoted) && is_hard_to_guess(value, rule, is_quoted, joint);
    is_secret.then_some(SecretSpan { start, end, kind: rule.kind })
}

/// Returns the length of the separator at `at`.
fn separator_at(text: &str, at: usize) -> Option<(usize, Joint)> {
    let bytes = text.as_bytes();
    match bytes[at] {
        b'=' | b':' => Some((1, Joint::Sign)),
        // `<password>…</password>`
        b'>' if is_tag(bytes, at) => Some((1, Joint::Sign)),
        // `define('DB_PASSWORD', '…')`
        b',' if at > 0 && matches!(bytes[at - 1], b'"' | b'\'') => Some((1, Joint::Sign)),
        b' ' => {
            let rest = &bytes[at..];
            let is_verb = |verb: &&&str| rest.get(1) == verb.as_bytes().get(1) && rest.starts_with(verb.as_bytes());
            let verb = VERBS.iter().find(is_verb);
            let option = || is_option(bytes, at).then_some((1, Joint::Sign));
            verb.map(|verb| (verb.len(), Joint::Verb)).or_else(option)
        }
        0x80.. if text.is_char_boundary(at) => {
            let sign = SIGNS.iter().find(|sign| text[at..].starts_with(**sign))?;
            Some((sign.len(), if *sign == "：" { Joint::Sign } else { Joint::Verb }))
        }
        _ => None,
    }
}

fn is_tag(bytes: &[u8], at: usize) -> bool {
    let from = at.saturating_sub(MAX_NAME_BYTES);
    let name = bytes[from..at].iter().rposition(|byte| !is_of_name(*byte));
    name.is_some_and(|open| bytes[from + open] == b'<')
}

/// Returns true if an option such as `--password` ends at `at`.
fn is_option(bytes: &[u8], at: usize) -> bool {
    let from = at.saturating_sub(MAX_NAME_BYTES);
    let word = bytes[from..at].iter().rposition(|byte| !is_of_name(*byte)).map_or(from, |space| from + space + 1);
    bytes[word..at].starts_with(b"--")
}

fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | 0x80..)
}

/// Returns the rule for the name that ends before `at`. Between the two may be quotes, brackets and a type.
fn rule_before(text: &str, at: usize) -> Option<&'static FieldRule> {
    let (name, start) = name_before(text, at);
    // The kind of a mask is no name.
    if text[..start].ends_with(MASK_START) && text[start + name.len()..].starts_with(']') {
        return None;
    }
    if let Some(rule) = rule_of(name) {
        return Some(rule);
    }
    // `password: &str = …`
    let before = text[..start].trim_end_matches(['&', '*', ' ', '?']);
    if text.as_bytes()[at] != b'=' || !before.ends_with(':') || start - before.len() > MAX_SPACES {
        return None;
    }
    rule_of(name_before(text, before.len() - 1).0)
}

/// Returns the name that ends before `at`, and where it begins.
fn name_before(text: &str, at: usize) -> (&str, usize) {
    let bytes = text.as_bytes();
    let from = at.saturating_sub(MAX_SPACES);
    let is_between = |byte: &u8| b" \t\"'`\\])*?!+".contains(byte);
    let end = bytes[from..at].iter().rposition(|byte| !is_between(byte)).map_or(from, |last| from + last + 1);
    let from = end.saturating_sub(MAX_NAME_BYTES);
    let mut start = bytes[from..end].iter().rposition(|byte| !is_of_name(*byte)).map_or(from, |other| from + other + 1);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let mut end = end.max(start);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    // Names of several words: `mot de passe`, `API key`.
    let mut words = start;
    for _ in 0..2 {
        let before = text[..words].strip_suffix(' ').unwrap_or_default();
        let word = before.bytes().rev().take_while(|byte| byte.is_ascii_alphabetic()).take(12).count();
        if word == 0 {
            break;
        }
        words = before.len() - word;
    }
    let name = &text[words..end];
    match name.len() <= MAX_NAME_BYTES {
        true => (name, start),
        false => (&text[start..end], start),
    }
}

fn rule_of(name: &str) -> Option<&'static FieldRule> {
    let is_part = |c: &char| !matches!(c, '_' | '-' | '.' | ' ');
    let plain: String = name.chars().filter(is_part).flat_map(char::to_lowercase).collect();
    if OTHER_FIELDS.iter().any(|other| plain.ends_with(other)) {
        return None;
    }
    let rule = FIELDS.iter().find(|rule| plain.ends_with(rule.name) && (!rule.is_word || is_word(name, rule.name)))?;
    Some(rule)
}

/// Returns true if the last word of `name` is `word`: all of it, or behind a separator, or with a capital of its own.
fn is_word(name: &str, word: &str) -> bool {
    let Some(start) = name.len().checked_sub(word.len()).filter(|start| name.is_char_boundary(*start)) else {
        return false;
    };
    let (before, last) = name.split_at(start);
    let is_capital = last.starts_with(char::is_uppercase) && before.ends_with(char::is_lowercase);
    before.is_empty() || before.ends_with(['_', '-', '.', ' ']) || is_capital
}

/// Returns where the value behind a separator begins and ends, and whether it is quoted.
fn value_of(text: &str, at: usize, behind: usize) -> Option<(usize, usize, bool)> {
    let bytes = text.as_bytes();
    let limit = bytes.len().min(behind + MAX_SPACES);
    let is_between = |byte: u8| matches!(byte, b' ' | b'\t' | b'=' | b'>' | b':' | b'~' | b'*' | b'\\');
    let mut start = behind + bytes[behind..limit].iter().position(|byte| !is_between(*byte))?;
    // Prefixes of strings: `b"…"`, `r'…'`, `f"…"`, `@"…"`.
    let is_prefixed = matches!(bytes[start], b'b' | b'r' | b'u' | b'f' | b'@' | b'L' | b'N');
    if is_prefixed && matches!(bytes.get(start + 1), Some(b'"' | b'\'')) {
        start += 1;
    }
    let quote = Some(bytes[start]).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'));
    if let Some(quote) = quote {
        // Quotes are escaped in a text that is itself in a string.
        let is_escaped = start > 0 && bytes[start - 1] == b'\\';
        while bytes.get(start) == Some(&quote) {
            start += 1;
        }
        let rest = &bytes[start..bytes.len().min(start + MAX_QUOTED_BYTES)];
        let ends = |at: &usize| match rest[*at] {
            b'\n' | b'\r' => true,
            b'\\' => is_escaped || matches!(rest.get(at + 1), Some(b'n' | b'r')),
            byte => byte == quote && (*at == 0 || is_escaped || rest[at - 1] != b'\\'),
        };
        let mut length = (0..rest.len()).find(ends).unwrap_or(rest.len());
        while !text.is_char_boundary(start + length) {
            length -= 1;
        }
        return Some((start, start + length, true));
    }
    let value = &text[start..];
    let is_ascii = value.starts_with(|c: char| c.is_ascii());
    // Chinese and Japanese text has no spaces around a value.
    let ends = |c: char| c.is_whitespace() || "\"'`<\\".contains(c) || (is_ascii && c >= '\u{2E80}');
    let most = value.char_indices().find(|(at, c)| ends(*c) || *at > MAX_VALUE_BYTES).map_or(value.len(), |(at, _)| at);
    let mut value = &value[..most];
    // `?password=…&` in a URL, `f(password=…, token=…)`, `Password=…;Database=…`.
    let name = name_before(text, at).0;
    let is_query = text[..at].strip_suffix(name).is_some_and(|before| before.ends_with(['?', '&']));
    for (sign, is_end) in [('&', is_query), (';', true), (',', true)] {
        if let Some((first, rest)) = value.split_once(sign)
            && is_end
            && (is_query || rest.is_empty() || rest.contains(['=', ':']))
        {
            value = first;
        }
    }
    let value = value.trim_end_matches(['.', ',', ';', ':', ')', ']', '}', '>', '*']);
    Some((start, start + value.len(), false))
}

/// Returns the token of a known form that the value begins with: its kind says more.
fn known_token(text: &str, start: usize, end: usize) -> Option<SecretSpan> {
    let first = *text.as_bytes().get(start).filter(|_| start < end)?;
    let known = token::can_begin(first).then(|| token::span_at(text, start)).flatten();
    known.filter(|known| known.start == start)
}

/// Returns true if a value is text that stands for itself.
fn is_literal(value: &str, is_quoted: bool) -> bool {
    let lower = value.to_ascii_lowercase();
    let starts = |parts: &[&str]| parts.iter().any(|part| lower.starts_with(part));
    if value.starts_with(['$', '<', '{', '[', '(', '%', '&', '*', '|', '#', '^']) || starts(&REFERENCES) {
        return false;
    }
    if value.contains(MASK_START) {
        return false;
    }
    if value.contains("://") || value.contains("${") || value.contains("{{") || value.starts_with("-----") {
        return false;
    }
    // A path. Random bytes in base64 have capitals, and none of these signs.
    let is_base64 = value.len() >= LONG_BYTES && !value.contains(['-', '_', '.', '~']) && lower != value;
    if value.starts_with('/') && value[1..].contains('/') && !is_base64 {
        return false;
    }
    if value.len() < LONG_BYTES && PLACEHOLDERS.iter().any(|part| lower.contains(part)) {
        return false;
    }
    let is_algorithm = |name: &&&str| {
        let rest = lower.strip_prefix(**name);
        rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    };
    if ALGORITHMS.iter().find(is_algorithm).is_some() {
        return false;
    }
    is_quoted || !is_code(value)
}

/// Returns true if the separator at `at` is a sign of a comparison: `==`, `===`, `!=`, `!==`.
fn is_comparison(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    bytes[at] == b'=' && (bytes.get(at + 1) == Some(&b'=') || (at > 0 && bytes[at - 1] == b'!'))
}

/// Returns true if a value without quotes is the name of a variable: of what the field holds (`password = password1`,
/// `password = :newPassword2`), or any name that the field is compared with.
fn is_name_of_field(value: &str, rule: &FieldRule, is_compared: bool) -> bool {
    let value = value.trim_start_matches(['!', '@', '-', ':', '?', '(']);
    let is_name = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name || is_compared {
        return is_name;
    }
    let bare = value.trim_end_matches(|c: char| c.is_ascii_digit());
    let plain = bare.replace('_', "").to_ascii_lowercase();
    let has_its_name = plain.contains(rule.name) || (rule.kind == PASSWORD && plain.contains("passw"));
    has_its_name && value.len() - bare.len() <= MAX_NAME_DIGIT_COUNT && !bare.contains(|c: char| c.is_ascii_digit())
}

/// Returns true if a value without quotes is an expression: a call, an index, a path of names, a name of several words.
fn is_code(value: &str) -> bool {
    if value.contains(['(', '[', '{', '<']) || value.contains("::") || value.contains("->") {
        return true;
    }
    if is_number(value) {
        return true;
    }
    if value.strip_prefix(['!', '@', '-']).is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphabetic())) {
        return true;
    }
    let is_name = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !value.split('.').all(is_name) {
        return false;
    }
    let lower = value.to_ascii_lowercase();
    let is_constant = !value.bytes().any(|byte| byte.is_ascii_lowercase()) || value.starts_with('_');
    value.contains('.') || (value.contains('_') && (is_constant || NAME_WORDS.iter().any(|word| lower.contains(word))))
}

/// Returns true for a number with a unit of at most two letters.
fn is_measure(value: &str) -> bool {
    let unit = value.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < value.len() && unit.len() <= 2 && unit.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// Returns true for a hexadecimal number, a number with its type, and the name of a type such as `AtomicU64`.
fn is_number(value: &str) -> bool {
    let value = value.strip_prefix('-').unwrap_or(value);
    let bare = value.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_typed = matches!(&value[bare.len()..], "8" | "16" | "32" | "64" | "128" | "256")
        && bare.ends_with(['u', 'i', 'f', 'U', 'I', 'F', 't']);
    let number = if is_typed { bare[..bare.len() - 1].trim_end_matches('_') } else { value };
    let is_hex = number.strip_prefix("0x").is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let is_type = is_typed && bare.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    is_hex || is_type || (is_typed && number.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_hard_to_guess(value: &str, rule: &FieldRule, is_quoted: bool, joint: Joint) -> bool {
    let has = |is: fn(char) -> bool| value.chars().any(is);
    let has_digit = has(|c| c.is_ascii_digit());
    let has_letter = has(char::is_alphabetic);
    let has_symbol = has(|c| c.is_ascii_punctuation() && !"-_./:,;'".contains(c));
    let entropy = bits(value.as_bytes());
    let (least, floor) = if rule.floor == Floor::Chosen { CHOSEN } else { RANDOM };
    if value.chars().count() < least || entropy < floor {
        return false;
    }
    if rule.floor == Floor::Random {
        let is_plain = value.bytes().all(|byte| byte.is_ascii_graphic());
        let lower = value.to_ascii_lowercase();
        let is_name = value.len() < LONG_BYTES && NAME_WORDS.iter().any(|word| lower.contains(word));
        return is_plain && has_digit && value.bytes().filter(u8::is_ascii_alphabetic).count() > 2 && !is_name;
    }
    // A quoted text of several words is a message; one that is called a passphrase is one.
    if value.contains(' ') {
        return rule.name == "passphrase" && value.split(' ').count() > 3;
    }
    let has_both = (has_digit || has_symbol) && has_letter;
    match joint {
        Joint::Verb => has_both && (has_symbol || !value.contains(['-', '.', '/'])),
        Joint::Sign if has_both => true,
        Joint::Sign if has_digit && !has_letter => {
            (is_quoted || value.len() <= MAX_PIN_BYTES) && value.bytes().all(|byte| byte.is_ascii_digit())
        }
        Joint::Sign => is_quoted && is_word_of_letters(value),
    }
}

/// Returns true if a quoted text of letters is a password rather than a label.
fn is_word_of_letters(value: &str) -> bool {
    let lower = value.to_lowercase();
    let is_label = NAME_WORDS.iter().chain(&["required", "string", "hidden", "invalid", "missing", "mismatch", "wort"]);
    value.len() >= LETTERS_BYTES && !{ is_label }.any(|word| lower.contains(word)) && bits(value.as_bytes()) > 2.8
}
