//! Finds the whole records in a damaged line: of records that are glued together, a record behind a torn one, bytes
//! that are not UTF-8, runs of NUL. Pure.

use serde::de::IgnoredAny;

/// Bytes of a damaged line that are parsed in vain, at most: for each byte of the line, and in a short one. A line may
/// have an opening brace at each byte, and each may begin a record that is torn at the end of the line. Picked.
const MAX_PASSES: usize = 8;
const MIN_PARSED_BYTES: usize = 16 << 20;

/// The whole records of a line.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fragments<'a> {
    /// The records, in order. Each is a JSON object.
    pub(crate) records: Vec<&'a str>,
    /// Something else than white space and NUL is left.
    pub(crate) is_damaged: bool,
}

/// Returns the whole records of a line. Behind damage, `is_record` tells records from objects inside torn ones.
pub(crate) fn split<'a>(line: &'a [u8], is_record: impl Fn(&str) -> bool) -> Fragments<'a> {
    let mut found = Fragments::default();
    let (mut at, mut left) = (0, line.len().saturating_mul(MAX_PASSES).max(MIN_PARSED_BYTES));
    // Behind a whole record begins another one.
    let mut is_torn = false;
    while let Some(next) = line[at..].iter().position(|byte| !is_filler(*byte)).map(|skipped| at + skipped) {
        let begin = match memchr::memchr(b'{', &line[next..]) {
            Some(skipped) => next + skipped,
            None => {
                found.is_damaged = true;
                break;
            }
        };
        is_torn |= begin > next;
        let (record, parsed) = object(&line[begin..]);
        at = match record {
            Some(record) if !is_torn || is_record(record) => {
                found.records.push(record);
                found.is_damaged |= is_torn;
                is_torn = false;
                begin + record.len()
            }
            _ => {
                is_torn = true;
                found.is_damaged = true;
                left = left.saturating_sub(parsed);
                begin + 1
            }
        };
        if left == 0 {
            break;
        }
    }
    found
}

fn is_filler(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0)
}

/// Returns the JSON object that `bytes` begin with, if there is one of valid UTF-8, and the number of bytes parsed.
fn object(bytes: &[u8]) -> (Option<&str>, usize) {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(IgnoredAny)) => {
            let end = values.byte_offset();
            (str::from_utf8(&bytes[..end]).ok(), end)
        }
        // The line has no line feed, so the column is the number of bytes.
        Some(Err(error)) => (None, error.column().max(1)),
        None => (None, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_records_are_found_in_damaged_lines() {
        let is_record = |record: &str| record.contains("\"id\"");
        for (line, records, is_damaged) in [
            (b"{\"a\":1}".as_slice(), vec!["{\"a\":1}"], false),
            (b" {\"a\":1}\r", vec!["{\"a\":1}"], false),
            (b"{\"a\":1}{\"b\":2}", vec!["{\"a\":1}", "{\"b\":2}"], false),
            (b"\0\0{\"a\":1}\0\0{\"b\":2}\0", vec!["{\"a\":1}", "{\"b\":2}"], false),
            (b"{\"a\":\"cut off in the mid{\"id\":2}", vec!["{\"id\":2}"], true),
            (b"{\"a\":{\"b\":{\"id\":2}", vec!["{\"id\":2}"], true),
            (b"{\"a\":[{\"b\":1},{\"id\":3", vec![], true),
            (b"{\"a\":1}{\"b\":", vec!["{\"a\":1}"], true),
            (b"{\"a\":\"\xff\"}{\"id\":2}", vec!["{\"id\":2}"], true),
            (b"{\"a\":\"\xff\"}{\"b\":2}", vec![], true),
            (b"garbage {\"id\":1} more", vec!["{\"id\":1}"], true),
            (b"[1]", vec![], true),
            (b"\0\0\0", vec![], false),
            (b"", vec![], false),
        ] {
            let got = split(line, is_record);
            assert_eq!(got, Fragments { records, is_damaged }, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn the_work_on_a_damaged_line_is_bounded() {
        let braces = "{\"a\":".repeat(1 << 20);
        assert_eq!(split(braces.as_bytes(), |_| true), Fragments { records: vec![], is_damaged: true });
    }
}
