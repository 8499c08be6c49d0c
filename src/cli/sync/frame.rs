//! The lines of a sync, in a pipe and in the files of a folder: JSON with a checksum.
//!
//! ```text
//! {"sum":"32 hex digits","line":{"n":3,"about":{…},"entries":[…]}}
//! ```
//!
//! `n` counts the lines of a conversation or file from 1. `entries` are the daemon's, byte for byte. The sum is that of
//! the text of `line`, so a line that was cut, mixed with another or changed on the way is recognized. Pure.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fingerprint::digest;
use crate::wire::members::Members;

/// Longest line that is read, in bytes: the longest reply that a client takes from a daemon.
pub(crate) const MAX_FRAME_BYTES: usize = 4 << 20;

/// Digits of a checksum.
const SUM_DIGITS: usize = 32;

const BEFORE_SUM: &str = "{\"sum\":\"";
const BEFORE_LINE: &str = "\",\"line\":";
const AFTER_LINE: &str = "}";

/// The entries of a line that has none.
pub(crate) const NO_ENTRIES: &str = "[]";

/// A line whose checksum is right.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) sum: &'a str,
    pub(crate) n: u64,
    /// What the line says beside its entries; `Null` if nothing.
    pub(crate) about: Value,
    pub(crate) entries: Vec<&'a RawValue>,
}

#[derive(Serialize)]
struct Line<'a> {
    n: u64,
    about: &'a Value,
    entries: &'a RawValue,
}

/// Returns a line with its newline. `entries` is the text of a JSON array.
///
/// # Errors
/// The serializer's error if `entries` is not JSON.
pub(crate) fn encode(n: u64, about: &Value, entries: &str) -> Result<String, serde_json::Error> {
    let line = serde_json::to_string(&Line { n, about, entries: serde_json::from_str(entries)? })?;
    let sum = digest(line.as_bytes());
    Ok(format!("{BEFORE_SUM}{sum:032x}{BEFORE_LINE}{line}{AFTER_LINE}\n"))
}

/// Returns the checksum of a line, as it stands in it; `None` if it is wrong.
pub(crate) fn checked_sum(line: &[u8]) -> Option<&str> {
    parts(line).map(|(sum, _)| sum)
}

/// Reads a line without its newline; `None` if it is not what [`encode`] wrote.
pub(crate) fn decode(line: &[u8]) -> Option<Frame<'_>> {
    let (sum, line) = parts(line)?;
    let members = Members::read(line).ok()?;
    let member = |key: &str| members.value(key).map(RawValue::get);
    Some(Frame {
        sum,
        n: member("n")?.parse().ok()?,
        about: serde_json::from_str(member("about")?).ok()?,
        entries: serde_json::from_str(member("entries")?).ok()?,
    })
}

/// Returns the sum and the text that it is of, if they fit.
fn parts(line: &[u8]) -> Option<(&str, &str)> {
    let rest = std::str::from_utf8(line).ok()?.strip_prefix(BEFORE_SUM)?;
    let (sum, rest) = rest.split_at_checked(SUM_DIGITS)?;
    let line = rest.strip_prefix(BEFORE_LINE)?.strip_suffix(AFTER_LINE)?;
    (sum == format!("{:032x}", digest(line.as_bytes()))).then_some((sum, line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for (about, entries) in [
            (json!({"next": "c"}), "[]"),
            (Value::Null, r#"[{"kind":"record","text":"\u2028 é \"}","n":1.50}, 2]"#),
            (json!({"done": true}), r#"["a","b"]"#),
        ] {
            let line = encode(7, &about, entries).unwrap();
            let text = line.strip_suffix('\n').unwrap();
            assert!(!text.contains('\n') && serde_json::from_str::<Value>(text).is_ok(), "{text}");
            let frame = decode(text.as_bytes()).unwrap();
            let got: Vec<&str> = frame.entries.iter().map(|entry| entry.get()).collect();
            let want: Vec<Box<RawValue>> = serde_json::from_str(entries).unwrap();
            assert_eq!((frame.n, &frame.about), (7, &about));
            assert_eq!(got, want.iter().map(|entry| entry.get()).collect::<Vec<_>>());
            assert_eq!(checked_sum(text.as_bytes()), Some(&text[8..40]));
        }
        assert!(encode(1, &Value::Null, "[1").is_err());
    }

    #[test]
    fn every_cut_every_doubled_part_and_every_changed_byte_is_recognized() {
        let line = encode(1, &json!({"next": "c"}), r#"[{"text":"aaaa"}]"#).unwrap();
        let line = line.trim_end().as_bytes();
        for cut in 0..line.len() {
            assert!(decode(&line[..cut]).is_none(), "cut at {cut}");
            assert!(decode(&line[cut + 1..]).is_none(), "begins at {}", cut + 1);
            let mut changed = line.to_vec();
            changed[cut] ^= 1;
            assert!(decode(&changed).is_none(), "changed at {cut}");
            for end in cut + 1..line.len() {
                let doubled = [&line[..end], &line[cut..]].concat();
                assert!(decode(&doubled).is_none(), "doubled {cut}..{end}");
            }
        }
    }
}
