//! Tokens with a known prefix, JSON Web Tokens, credentials behind `Bearer` and `Basic`, passwords in URLs. Pure.

use super::entropy::bits;
use super::rules::{Alphabet, BASIC, BEARER, JWT, TOKENS, TokenRule, URL_PASSWORD};
use super::span::SecretSpan;

/// Least entropy of a token with a known prefix, in bits per byte. Rejects `ghp_xxxx…`; random ones have more than 3.
const TOKEN_BITS: f64 = 2.4;

/// Least entropy and length of what follows `Bearer`. Picked: words of prose have neither digits nor this length.
const BEARER_BITS: f64 = 3.0;
const BEARER_BYTES: usize = 16;

/// Least length of what follows `Basic`: `a:b` and its padding.
const BASIC_BYTES: usize = 8;

/// Longest token that is looked at.
const MAX_BYTES: usize = 8 << 10;

/// Longest user name and longest password of a URL.
const MAX_USERINFO_BYTES: usize = 512;

/// Least length of a line after which a JSON Web Token may continue on the next one. Picked: mail and terminals break
/// lines at more.
const WRAPPED_BYTES: usize = 32;

/// Longest line end with what marks the next line.
const MAX_BREAK_BYTES: usize = 64;

/// Returns true if a rule of this file can match at this byte.
pub(super) fn can_begin(byte: u8) -> bool {
    const FIRST: [bool; 256] = {
        let mut first = [false; 256];
        let mut at = 0;
        while at < TOKENS.len() {
            first[TOKENS[at].prefix.as_bytes()[0] as usize] = true;
            at += 1;
        }
        first[b'e' as usize] = true;
        first[b'b' as usize] = true;
        first[b'B' as usize] = true;
        first
    };
    FIRST[usize::from(byte)]
}

/// Returns true if a token may begin at `at`: there is no letter, digit or `_` before it. An escaped line end such as
/// `\n`, or an escaped byte such as `%3D`, is not one of those.
pub(super) fn is_border_before(bytes: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|at| bytes[at]) else { return true };
    if !(before.is_ascii_alphanumeric() || before == b'_') {
        return true;
    }
    let has = |back: usize, byte: u8| at.checked_sub(back).is_some_and(|at| bytes[at] == byte);
    (matches!(before, b'n' | b'r' | b't') && has(2, b'\\')) || (before.is_ascii_hexdigit() && has(3, b'%'))
}

/// Returns the token that begins at `at`, where a token may begin.
pub(super) fn span_at(text: &str, at: usize) -> Option<SecretSpan> {
    let rest = &text.as_bytes()[at..];
    let may_be = |rule: &&TokenRule| rule.prefix.as_bytes()[0] == rest[0];
    let known = TOKENS.iter().filter(may_be).find_map(|rule| Some((length(rule, rest)?, rule.kind)));
    // Within a run of letters and `-`, only the first place is tried.
    let is_within = at > 0 && text.as_bytes()[at - 1] == b'-';
    let found = known.or_else(|| (!is_within).then(|| jwt(rest)).flatten().map(|length| (length, JWT)));
    if let Some((length, kind)) = found {
        return Some(SecretSpan { start: at, end: at + length, kind });
    }
    credentials_at(rest).map(|(start, end, kind)| SecretSpan { start: at + start, end: at + end, kind })
}

fn length(rule: &TokenRule, rest: &[u8]) -> Option<usize> {
    let body = rest.strip_prefix(rule.prefix.as_bytes())?;
    let (least, most) = (usize::from(rule.bytes.0), usize::from(rule.bytes.1));
    let mut length = run(body, rule.alphabet, most + 1);
    // A full stop ends a sentence.
    while length > 0 && matches!(body[length - 1], b'.' | b'=' if rule.alphabet == Alphabet::Dotted) {
        length -= 1;
    }
    let is_ended = body.get(length).is_none_or(|byte| !byte.is_ascii_alphanumeric());
    let is_token = (least..=most).contains(&length) && is_ended && bits(&body[..length]) >= TOKEN_BITS;
    is_token.then_some(rule.prefix.len() + length)
}

/// Returns the number of bytes at the beginning that are of the alphabet, at most `most`.
fn run(bytes: &[u8], alphabet: Alphabet, most: usize) -> usize {
    let bytes = &bytes[..bytes.len().min(most)];
    bytes.iter().position(|byte| !alphabet.has(*byte)).unwrap_or(bytes.len())
}

/// Returns the length of a JSON Web Token: three parts in base64 for URLs, of which the first two are objects. It may be
/// broken into lines.
fn jwt(rest: &[u8]) -> Option<usize> {
    let rest = &rest[..rest.len().min(MAX_BYTES)];
    if !rest.starts_with(b"eyJ") {
        return None;
    }
    let (mut at, mut line, mut dots, mut part) = (0, 0, 0, 0);
    loop {
        let length = run(&rest[at..], Alphabet::Url, MAX_BYTES);
        at += length;
        line += length;
        part += length;
        if rest.get(at) == Some(&b'.') && dots < 2 && part >= 10 {
            let next = rest.get(at + 1..).unwrap_or_default();
            let next = &next[line_break(next)..];
            if dots == 0 && !next.starts_with(b"ey") {
                return None;
            }
            (at, line, dots, part) = (at + 1, line + 1, dots + 1, 0);
            continue;
        }
        let broken = line_break(&rest[at..]);
        if broken > 0 && line >= WRAPPED_BYTES && continues(&rest[at + broken..], dots) {
            (at, line) = (at + broken, 0);
            continue;
        }
        return (dots == 2 && (part >= 10 || part == 0)).then_some(at);
    }
}

/// Returns true if a line continues a token that was broken. Behind the last point it has nothing else, and is no word.
fn continues(line: &[u8], dots: usize) -> bool {
    let length = run(line, Alphabet::Url, MAX_BYTES);
    if dots < 2 {
        return length > 0 || line.starts_with(b".");
    }
    let is_alone = line.get(length).is_none_or(|byte| matches!(byte, b'\r' | b'\n' | b'"' | b'\'' | b'`' | b'\\'));
    let has_no_word = || line[..length].iter().skip(1).any(|byte| !byte.is_ascii_lowercase());
    length > 0 && is_alone && has_no_word()
}

/// Returns the length of a line's end and what marks the next line: an escaped one, an indentation, a quotation.
pub(super) fn line_break(bytes: &[u8]) -> usize {
    let bytes = &bytes[..bytes.len().min(MAX_BREAK_BYTES)];
    let mut at = 0;
    let mut has_end = false;
    loop {
        match bytes.get(at) {
            Some(b'\r') => at += 1,
            Some(b'\n') => {
                at += 1;
                has_end = true;
            }
            Some(b'\\') if matches!(bytes.get(at + 1), Some(b'n' | b'r')) => {
                at += 2;
                has_end = true;
            }
            Some(b'\\') if matches!(bytes.get(at + 1), Some(b'\n' | b'\r' | b'\\')) => at += 1,
            Some(b' ' | b'\t') => at += 1,
            Some(b'>' | b'|') if has_end => at += 1,
            _ => break,
        }
    }
    if has_end { at } else { 0 }
}

/// Returns the credentials behind `Bearer` or `Basic`.
fn credentials_at(rest: &[u8]) -> Option<(usize, usize, &'static str)> {
    let scheme = |name: &str| rest.get(..name.len()).is_some_and(|bytes| bytes.eq_ignore_ascii_case(name.as_bytes()));
    let (start, kind) = match (scheme("Bearer "), scheme("Basic ")) {
        (true, _) => ("Bearer ".len(), BEARER),
        (_, true) => ("Basic ".len(), BASIC),
        _ => return None,
    };
    let start = start + rest[start..].iter().take(8).take_while(|byte| **byte == b' ').count();
    let body = &rest[start..];
    let is_of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    let length = body.iter().take(MAX_BYTES).take_while(|byte| is_of_token(byte)).count();
    let length = body[..length].iter().rposition(|byte| *byte != b'.').map_or(0, |last| last + 1);
    let body = &body[..length];
    let is_secret = match kind {
        BEARER => {
            let has = |is: fn(&u8) -> bool| body.iter().any(is);
            length >= BEARER_BYTES
                && has(u8::is_ascii_digit)
                && has(u8::is_ascii_alphabetic)
                && bits(body) >= BEARER_BITS
        }
        _ => length >= BASIC_BYTES && is_base64_of_credentials(body),
    };
    is_secret.then_some((start, start + length, kind))
}

/// Returns true if these are the base64 of `user:password`.
fn is_base64_of_credentials(body: &[u8]) -> bool {
    let body: &[u8] = match body.iter().position(|byte| *byte == b'=') {
        Some(end) => &body[..end],
        None => body,
    };
    let (mut sum, mut count, mut has_colon) = (0_u32, 0, false);
    for byte in body {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return false,
        };
        sum = (sum << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            let decoded = (sum >> count) as u8;
            has_colon |= decoded == b':';
            if decoded.is_ascii_control() {
                return false;
            }
        }
    }
    has_colon
}

/// Returns the password of the URL whose scheme ends at `at`, which has a colon.
pub(super) fn url_password_at(text: &str, at: usize) -> Option<SecretSpan> {
    let bytes = text.as_bytes();
    let rest = bytes[at..].strip_prefix(b"://")?;
    if !at.checked_sub(1).is_some_and(|before| bytes[before].is_ascii_alphanumeric()) {
        return None;
    }
    let is_of_userinfo = |byte: &u8| !byte.is_ascii_whitespace() && !b"/?#\"'<>`\\[]{}|,".contains(byte);
    let length = rest.iter().take(2 * MAX_USERINFO_BYTES).take_while(|byte| is_of_userinfo(byte)).count();
    let userinfo = &rest[..rest[..length].iter().rposition(|byte| *byte == b'@')?];
    let colon = userinfo.iter().position(|byte| *byte == b':')?;
    let password = &userinfo[colon + 1..];
    let is_variable = password.first().is_none_or(|byte| b"$%*(".contains(byte)) && !is_percent_encoded(password);
    let is_mask = password.iter().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.'));
    if is_variable || is_mask {
        return None;
    }
    let start = at + 3 + colon + 1;
    Some(SecretSpan { start, end: start + password.len(), kind: URL_PASSWORD })
}

/// Returns true if the bytes begin with an escaped byte such as `%40`.
fn is_percent_encoded(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'%') && bytes.len() > 3 && bytes[1..3].iter().all(u8::is_ascii_hexdigit)
}
