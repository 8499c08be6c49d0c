//! Escapes what some clients take for a line end or a control character: DEL, the C1 controls (NEL among them),
//! U+2028 and U+2029. JSON allows them in strings as they are, and nowhere else.

use std::io::{self, Write};

use memchr::memchr3;

/// A character to escape: where it begins, its length in bytes, its code.
struct Special {
    at: usize,
    bytes: usize,
    code: u32,
}

/// Returns the first character of `json` to escape.
fn first(json: &[u8]) -> Option<Special> {
    let mut from = 0;
    loop {
        let at = from + memchr3(0x7F, 0xC2, 0xE2, &json[from..])?;
        match json[at..] {
            [0x7F, ..] => return Some(Special { at, bytes: 1, code: 0x7F }),
            [0xC2, second @ 0x80..=0x9F, ..] => return Some(Special { at, bytes: 2, code: second.into() }),
            [0xE2, 0x80, third @ (0xA8 | 0xA9), ..] => {
                return Some(Special { at, bytes: 3, code: 0x2000 + u32::from(third & 0x3F) });
            }
            _ => from = at + 1,
        }
    }
}

/// Escapes the JSON text at the end of `out`, from byte `start` on.
pub(crate) fn escape_from(out: &mut Vec<u8>, start: usize) {
    let Some(special) = first(&out[start..]) else { return };
    let tail = out.split_off(start + special.at);
    EscapingWriter(out).write_all(&tail).expect("writing to a Vec does not fail");
}

/// Escapes the JSON text that is written to it. No write may begin or end within a character.
pub(crate) struct EscapingWriter<'a>(pub(crate) &'a mut dyn Write);

impl Write for EscapingWriter<'_> {
    fn write(&mut self, json: &[u8]) -> io::Result<usize> {
        self.write_all(json).map(|()| json.len())
    }

    fn write_all(&mut self, mut json: &[u8]) -> io::Result<()> {
        while let Some(Special { at, bytes, code }) = first(json) {
            self.0.write_all(&json[..at])?;
            write!(self.0, "\\u{code:04x}")?;
            json = &json[at + bytes..];
        }
        self.0.write_all(json)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_ends_and_controls_of_unicode_are_escaped() {
        for (text, want) in [
            ("\"a\"", "\"a\""),
            ("\"\u{2028}\"", r#""\u2028""#),
            ("\"a\u{2029}b\u{85}\u{7f}\"", r#""a\u2029b\u0085\u007f""#),
            ("\"\u{80}\u{9f}\u{a0}\u{2027}\u{202a}€Â\"", "\"\\u0080\\u009f\u{a0}\u{2027}\u{202a}€Â\""),
            ("\"\u{20a8}\u{e2}\u{c2}\"", "\"\u{20a8}\u{e2}\u{c2}\""),
        ] {
            let mut out = b"\xc2\x85 ".to_vec();
            escape_from(&mut out, 3);
            out.extend_from_slice(text.as_bytes());
            escape_from(&mut out, 3);
            assert_eq!(str::from_utf8(&out[3..]).unwrap(), want);
            assert_eq!(&out[..3], b"\xc2\x85 ", "what stands before is left as it is");
            let (was, now): (String, String) =
                (serde_json::from_str(text).unwrap(), serde_json::from_slice(&out[3..]).unwrap());
            assert_eq!(was, now);
        }
    }
}
