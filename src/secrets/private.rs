//! `<private>…</private>`: text that is never stored. Pure.
//!
//! Tags may be nested and in any case. A tag that is not closed reaches to the end of its text, and a text that begins
//! within a tag is private up to its end. A tag does not reach into another text: a prompt that only mentions it would
//! otherwise silence the rest of its session.

use std::ops::Range;

/// What stands in the place of private text.
pub(super) const MARK: &str = "[private]";

const NAME: &str = "private";

/// The end of a tag is looked for in this many bytes: its name with spaces around it.
const TAG_BYTES: usize = 24;

/// Returns the private parts of a text with their tags, in order.
pub(super) fn spans(text: &str) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    let (mut depth, mut start, mut after) = (0_usize, 0, 0);
    for (at, _) in text.match_indices('<') {
        if at < after {
            continue;
        }
        let Some((is_open, end)) = tag(&text.as_bytes()[at..]) else { continue };
        after = at + end;
        match (is_open, depth) {
            (true, _) => {
                start = if depth == 0 { at } else { start };
                depth += 1;
            }
            (false, 0) => match spans.last_mut() {
                Some(last) => last.end = after,
                None => spans.push(0..after),
            },
            (false, 1) => {
                depth = 0;
                spans.push(start..after);
            }
            (false, _) => depth -= 1,
        }
    }
    if depth > 0 {
        spans.push(start..text.len());
    }
    spans
}

/// Reads a tag at the beginning of `bytes`. Returns whether it opens, and its length.
fn tag(bytes: &[u8]) -> Option<(bool, usize)> {
    let bytes = &bytes[..bytes.len().min(TAG_BYTES)];
    let end = bytes.iter().position(|byte| *byte == b'>')?;
    let inner = bytes[1..end].trim_ascii();
    let (is_open, name) = match inner.strip_prefix(b"/") {
        Some(name) => (false, name.trim_ascii()),
        None => (true, inner),
    };
    name.eq_ignore_ascii_case(NAME.as_bytes()).then_some((is_open, end + 1))
}
