//! Finds secrets in a text by their form, and puts `[secret: KIND]` in their place; removes `<private>…</private>`. Pure.
//!
//! What is found are tokens with a known prefix (`rules.rs`), private keys, JSON Web Tokens, passwords in URLs,
//! credentials behind `Bearer` and `Basic`, and values of fields that are called `password`, `api_key` and the like
//! (`field.rs`). A secret of no known form is not found. Time is linear in the length of the text: what is looked at
//! around a place is bounded.

mod entropy;
mod field;
mod pem;
mod private;
#[cfg(any(test, fuzzing))]
pub mod properties;
mod rules;
mod span;
#[cfg(test)]
mod tables;
mod token;

use self::rules::MASK_START;
pub use self::span::SecretSpan;

/// Longest mask that is recognized, in bytes.
const MAX_MASK_BYTES: usize = 48;

/// A text without its secrets and private parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskedText {
    /// The text. Empty if nothing but private text was there.
    pub text: String,
    /// The kinds of the masked secrets, in order.
    pub kinds: Vec<&'static str>,
    /// The text had a private part.
    pub has_private: bool,
}

/// Returns the secrets in a text, in order and without overlap.
pub fn find(text: &str) -> Vec<SecretSpan> {
    let (bytes, mut found, mut at) = (text.as_bytes(), Vec::new(), 0);
    while at < bytes.len() {
        if let Some(end) = mask_end(bytes, at) {
            at = end;
            continue;
        }
        match span_at(text, at) {
            Some(span) => {
                at = span.end;
                found.push(span);
            }
            None => at += 1,
        }
    }
    found
}

/// Returns the kinds of the secrets in texts, each once.
pub fn kinds(texts: &[&str]) -> Vec<&'static str> {
    let mut kinds = Vec::new();
    for span in texts.iter().flat_map(|text| find(text)) {
        if !kinds.contains(&span.kind) {
            kinds.push(span.kind);
        }
    }
    kinds
}

/// Returns the kind of this name; `other` if there is none.
pub fn kind_named(name: &str) -> &'static str {
    rules::KINDS_BY_CONTEXT
        .into_iter()
        .chain(rules::TOKENS.iter().map(|rule| rule.kind))
        .chain(rules::FIELDS.iter().map(|rule| rule.kind))
        .find(|kind| *kind == name)
        .unwrap_or("other")
}

/// Returns the text without its secrets and private parts; `None` if it has none.
pub fn masked(text: &str) -> Option<MaskedText> {
    masked_pieces(text, &[text.len()]).and_then(|mut pieces| pieces.pop().flatten())
}

/// Masks a text that is split into pieces, which end at `ends`. A secret that lies in two pieces is masked in both.
/// Returns what each piece becomes, `None` for one that stays as it is; or `None` if all do.
pub fn masked_pieces(text: &str, ends: &[usize]) -> Option<Vec<Option<MaskedText>>> {
    let edits = edits(text);
    if edits.is_empty() {
        return None;
    }
    let (mut start, mut rest) = (0, edits.as_slice());
    let mut pieces = Vec::new();
    for &end in ends {
        pieces.push(piece(text, start, end, &mut rest));
        start = end;
    }
    Some(pieces)
}

/// A part of the text that is replaced: with a mask of its kind, or as private.
struct Edit {
    start: usize,
    end: usize,
    kind: Option<&'static str>,
}

/// Returns what is to be replaced, in order and without overlap. A secret within private text is part of it.
fn edits(text: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    let (mut from, mut private) = (0, private::spans(text).into_iter());
    loop {
        let next = private.next();
        let until = next.as_ref().map_or(text.len(), |next| next.start);
        for SecretSpan { start, end, kind } in find(&text[from..until]) {
            edits.push(Edit { start: from + start, end: from + end, kind: Some(kind) });
        }
        let Some(next) = next else { return edits };
        edits.push(Edit { start: next.start, end: next.end, kind: None });
        from = next.end;
    }
}

fn piece(text: &str, start: usize, end: usize, rest: &mut &[Edit]) -> Option<MaskedText> {
    let mut masked = MaskedText { text: String::new(), kinds: Vec::new(), has_private: false };
    let mut copied = start;
    while let Some(edit) = rest.first().filter(|edit| edit.start < end) {
        masked.text.push_str(&text[copied..edit.start.max(copied)]);
        match edit.kind {
            Some(kind) => {
                masked.text.push_str(MASK_START);
                masked.text.push_str(kind);
                masked.text.push(']');
                // Counted where it begins.
                if edit.start >= start {
                    masked.kinds.push(kind);
                }
            }
            None => {
                masked.text.push_str(private::MARK);
                masked.has_private = true;
            }
        }
        copied = edit.end.min(end);
        if edit.end > end {
            break;
        }
        *rest = &rest[1..];
    }
    if masked.text.is_empty() && copied == start {
        return None;
    }
    masked.text.push_str(&text[copied..end]);
    if masked.has_private && masked.text.replace(private::MARK, "").trim().is_empty() {
        masked.text.clear();
    }
    Some(masked)
}

/// Returns the end of a mask that begins at `at`.
fn mask_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes[at..].strip_prefix(MASK_START.as_bytes())?;
    let kind = rest.iter().take(MAX_MASK_BYTES).position(|byte| !matches!(byte, b'a'..=b'z' | b'-'))?;
    (kind > 0 && rest[kind] == b']').then_some(at + MASK_START.len() + kind + 1)
}

/// Returns the secret that what stands at `at` shows. It begins there or behind.
fn span_at(text: &str, at: usize) -> Option<SecretSpan> {
    let bytes = text.as_bytes();
    let byte = bytes[at];
    if byte == b'-' {
        if let Some(span) = pem::span_at(text, at) {
            return Some(span);
        }
    } else if byte == b':' {
        if let Some(span) = token::url_password_at(text, at) {
            return Some(span);
        }
    } else if token::can_begin(byte)
        && token::is_border_before(bytes, at)
        && let Some(span) = token::span_at(text, at)
    {
        return Some(span);
    }
    field::value_at(text, at)
}
