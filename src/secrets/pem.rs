//! Private keys in PEM: whole, cut off, with CRLF, with escaped line ends as in JSON, in a diff, or with the line numbers of
//! a listing. Pure.

use super::rules::PRIVATE_KEY;
use super::span::SecretSpan;
use super::token::line_break;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";

/// Longest label, such as `OPENSSH PRIVATE KEY`.
const MAX_LABEL_BYTES: usize = 64;

/// Longest key that is masked as one. 64 KiB: the longest RSA key has 13 KiB.
const MAX_KEY_BYTES: usize = 64 << 10;

/// Length from which a word is base64, unless an end follows. Lines have 64 or 76.
const LINE_BYTES: usize = 20;

/// Least bytes of base64 of a key; a text that only names the two lines has none. Picked: the shortest key has 64.
const LEAST_BYTES: usize = 16;

/// Most digits of a line's number, and most spaces behind it; most signs of a diff before a line: a merge has two.
const MAX_NUMBER_BYTES: usize = 8;
const MAX_SIGN_COUNT: usize = 2;

/// Most lines of headers.
const MAX_HEADER_COUNT: usize = 8;

/// Longest line of headers such as `DEK-Info: AES-128-CBC,…`.
const MAX_HEADER_BYTES: usize = 120;

/// Returns the private key whose first line begins at `at`.
pub(super) fn span_at(text: &str, at: usize) -> Option<SecretSpan> {
    let bytes = &text.as_bytes()[..text.len().min(at + MAX_KEY_BYTES)];
    let mut next = at + label_end(bytes.get(at..)?.strip_prefix(BEGIN)?)? + BEGIN.len();
    let (mut end, mut count, mut headers) = (next, 0, 0);
    loop {
        next += separator(&bytes[next..]);
        let rest = &bytes[next..];
        if let Some(label) = rest.strip_prefix(END) {
            end = next + END.len() + label_end(label)?;
            break;
        }
        let word = rest.iter().position(|byte| !is_base64(*byte)).unwrap_or(rest.len());
        let after = next + word + separator(&bytes[next + word..]);
        let is_last = bytes[after..].starts_with(END) || after == bytes.len();
        let header = header(rest);
        if header > 0 && count == 0 && headers < MAX_HEADER_COUNT {
            next += header;
            headers += 1;
        } else if word >= LINE_BYTES || (word > 0 && is_last) {
            next += word;
            (end, count) = (next, count + word);
        } else {
            break;
        }
    }
    (count >= LEAST_BYTES).then_some(SecretSpan { start: at, end, kind: PRIVATE_KEY })
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Returns the length of the label of a private key and the dashes behind it.
fn label_end(bytes: &[u8]) -> Option<usize> {
    let bytes = &bytes[..bytes.len().min(MAX_LABEL_BYTES)];
    let end = bytes.windows(DASHES.len()).position(|part| part == DASHES)?;
    let label = &bytes[..end];
    let is_private = label.windows(11).any(|part| part == b"PRIVATE KEY");
    let is_label = label.iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b' ' | b'0'..=b'9'));
    (is_private && is_label).then_some(end + DASHES.len())
}

/// Returns the length of what stands between two lines: line ends and spaces, also escaped or quoted, as in JSON and in
/// the source of programs, and what a diff or a listing puts before a line.
fn separator(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let broken = match line_break(&bytes[at..]) {
            0 => 0,
            broken => broken + gutter(&bytes[at + broken..]),
        };
        let is_other = bytes.get(at).is_some_and(|byte| b" \t\"'`,>|\\".contains(byte));
        let is_plus = bytes.get(at..at + 2) == Some(b"+ ") || bytes.get(at..at + 2) == Some(b"+\n");
        match (broken, is_other || is_plus) {
            (0, false) => return at,
            (0, true) => at += 1,
            (broken, _) => at += broken,
        }
    }
}

/// Returns the length of what stands before a line: its number, as of `cat -n`, `grep -n` and tools that show files, and
/// the signs of a diff.
fn gutter(line: &[u8]) -> usize {
    const ENDS: [&[u8]; 6] = [b"\t", b"\\t", b":", b"|", "→".as_bytes(), "│".as_bytes()];
    let digits = line.iter().take(MAX_NUMBER_BYTES).take_while(|byte| byte.is_ascii_digit()).count();
    let behind = &line[digits..];
    let spaces = behind.iter().take(MAX_NUMBER_BYTES).take_while(|byte| **byte == b' ').count();
    let end = ENDS.iter().find(|end| behind[spaces..].starts_with(end)).map_or(0, |end| end.len());
    let number = if digits > 0 && spaces + end > 0 { digits + spaces + end } else { 0 };
    let is_sign = |at: &usize| match line.get(*at) {
        Some(b'+') => true,
        Some(b'-') => !line[*at..].starts_with(DASHES) || line[*at + 1..].starts_with(DASHES),
        _ => false,
    };
    number + (number..number + MAX_SIGN_COUNT).take_while(is_sign).count()
}

/// Returns the length of a line of headers.
fn header(line: &[u8]) -> usize {
    const NAMES: [&[u8]; 5] = [b"Proc-Type:", b"DEK-Info:", b"Version:", b"Comment:", b"Hash:"];
    if !NAMES.iter().any(|name| line.starts_with(name)) {
        return 0;
    }
    let line = &line[..line.len().min(MAX_HEADER_BYTES)];
    line.iter().position(|byte| matches!(byte, b'\r' | b'\n' | b'\\' | b'"')).unwrap_or(line.len())
}
