//! A recognizer for JSON (RFC 8259): it finds the members of a line's top-level object and builds nothing.
//!
//! It does not explain why a text is not JSON; that is left to `serde_json`.

/// Upper bound of every depth limit, since each level of nesting uses some of the stack.
pub(crate) const DEEPEST: usize = 512;

/// The type of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Top {
    /// An object.
    Object,
    /// An array, a string, a number, `true`, `false` or `null`.
    Other,
}

/// Scans one JSON text with white space around it. If it is an object, calls `member` with the JSON texts
/// of each key and its value, in order. Returns `None` if the text is not JSON or nested deeper than
/// `max_depth` (at most [`DEEPEST`]); `member` was then called for the members before the error.
pub(crate) fn document<'a>(text: &'a str, max_depth: usize, member: impl FnMut(&'a str, &'a str)) -> Option<Top> {
    let mut scanner = Scanner { text, bytes: text.as_bytes(), at: 0 };
    let max_depth = max_depth.min(DEEPEST);
    scanner.blank();
    let top = if scanner.peek() == Some(b'{') {
        scanner.object(max_depth, member)?;
        Top::Object
    } else {
        scanner.value(max_depth)?;
        Top::Other
    };
    scanner.blank();
    (scanner.at == text.len()).then_some(top)
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// The position of the next byte. Every method that returns `Some` has moved it past what it read.
    at: usize,
}

impl<'a> Scanner<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    #[inline]
    fn blank(&mut self) {
        // Usually there is none.
        while let Some(byte @ ..=b' ') = self.peek()
            && matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
        {
            self.at += 1;
        }
    }

    /// Scans a value nested at most `depth` deep.
    fn value(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'{' => self.object(depth, |_, _| {}),
            b'[' => self.array(depth),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => None,
        }
    }

    #[inline]
    fn object(&mut self, depth: usize, mut member: impl FnMut(&'a str, &'a str)) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.take(b'{')?;
        self.blank();
        if self.take(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.at;
            self.string()?;
            let key = &self.text[key..self.at];
            self.blank();
            self.take(b':')?;
            self.blank();
            let value = self.at;
            match self.peek()? {
                // The most common types, checked inline.
                b'"' => self.string()?,
                b'0'..=b'9' => self.number()?,
                _ => self.value(depth)?,
            }
            member(key, &self.text[value..self.at]);
            self.blank();
            if self.take(b',').is_none() {
                return self.take(b'}');
            }
            self.blank();
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.take(b'[')?;
        self.blank();
        if self.take(b']').is_some() {
            return Some(());
        }
        loop {
            self.value(depth)?;
            self.blank();
            if self.take(b',').is_none() {
                return self.take(b']');
            }
            self.blank();
        }
    }

    /// Scans a string with its quotes. Every `\uXXXX` is accepted, also a lone surrogate.
    #[inline]
    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            while let Some(eight) = self.bytes[self.at..].first_chunk() {
                let plain = plain_bytes(u64::from_le_bytes(*eight));
                self.at += plain;
                if plain < 8 {
                    break;
                }
            }
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => self.escape()?,
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    fn escape(&mut self) -> Option<()> {
        let length = match self.bytes.get(self.at + 1)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
            b'u' if self.bytes.get(self.at + 2..self.at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return None,
        };
        self.at += length;
        Some(())
    }

    #[inline]
    fn number(&mut self) -> Option<()> {
        let _ = self.take(b'-');
        if self.take(b'0').is_none() {
            self.digits()?;
        }
        if self.take(b'.').is_some() {
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// Scans one or more digits.
    #[inline]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| self.at += word.len())
    }
}

/// Returns how many of eight bytes of a string, the first in the lowest place, precede the first quote,
/// backslash or control character. Uses the test for a zero byte in a word (Hacker's Delight, section
/// 6-1) three times; the lowest byte that it marks is always correct.
#[inline]
fn plain_bytes(eight: u64) -> usize {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(eight ^ (ONES * b'"' as u64));
    let backslash = zero(eight ^ (ONES * b'\\' as u64));
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    let found = (quote | backslash | control) & HIGHS;
    (found.trailing_zeros() / 8) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties::scan_agrees;

    #[test]
    fn members_are_passed_as_written() {
        let mut seen = Vec::new();
        let text = " {\"a\" : 1.50e+3 ,\"\\u0062\":\"x\\\"}\", \"c\":{\"d\":[{}, [ ]]},\"e\":null\r}\n\t";
        assert_eq!(document(text, 4, |key, value| seen.push((key, value))), Some(Top::Object));
        let want =
            [("\"a\"", "1.50e+3"), ("\"\\u0062\"", "\"x\\\"}\""), ("\"c\"", "{\"d\":[{}, [ ]]}"), ("\"e\"", "null")];
        assert_eq!(seen, want);
        assert_eq!(document(text, 3, |_, _| {}), None);
        for other in ["[]", " 1", "\"\"", "true", "false", "null", "-0.0"] {
            assert_eq!(document(other, 1, |_, _| panic!("{other} has no members")), Some(Top::Other));
        }
    }

    #[test]
    fn the_scanner_accepts_what_serde_json_accepts() {
        let strings = ["", "é日", "\\\\", "\\u00e9", "\\ud800", "01234567", "0123456789abcdef\\n", "\u{7f}\u{80}", "/"];
        let broken = ["\\x", "\\u12g4", "\\u123", "\\", "\n", "\u{1f}", "0123456\u{0}", "a\"b"];
        for inner in strings.iter().chain(&broken) {
            for before in 0..9 {
                let text = format!("{}{inner}", "x".repeat(before));
                for json in [format!("\"{text}\""), format!("{{\"{text}\":1}}"), format!("[\"{text}\"")] {
                    scan_agrees(json.as_bytes());
                }
            }
        }
        for number in
            ["0", "-", "-0", "01", "1.", ".1", "1.5", "1e", "1e5", "1E+05", "1e-", "-1.0e-0", "+1", "1 1", "0x"]
        {
            for text in [number.to_owned(), format!("[{number}]"), format!("{{\"a\":{number}}}"), format!("{number} ")]
            {
                scan_agrees(text.as_bytes());
            }
        }
        for text in [
            "",
            " ",
            "{",
            "}",
            "[",
            "]",
            "{}",
            "[]",
            "{,}",
            "[,]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "[1,]",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "[1 2]",
            "nul",
            "nulll",
            "true,",
            "tru",
            "falsey",
            "{}{}",
            "[][",
            "\u{feff}{}",
            "{\"a\":1}x",
            "[[[[]]]]",
            "{\"a\":{\"b\":[{\"c\":[]}]}}",
            "[{}",
            "{\"a\":[}",
            "[\"a\":1]",
            "'a'",
            "{\"a\"\u{a0}:1}",
            "\u{b}1",
        ] {
            scan_agrees(text.as_bytes());
        }
    }

    #[test]
    fn plain_bytes_are_counted_up_to_the_first_special_one() {
        let is_special = |byte: u8| byte == b'"' || byte == b'\\' || byte < 0x20;
        for byte in 0..=255u8 {
            for at in 0..8 {
                for rest in [b'a', 0xff, 0x21, 0x7f, b'#', b']', 0x20, 0, b'"'] {
                    let mut eight = [b'b'; 8];
                    eight[at] = byte;
                    eight[at + 1..].fill(rest);
                    let want = eight.iter().position(|byte| is_special(*byte)).unwrap_or(8);
                    assert_eq!(plain_bytes(u64::from_le_bytes(eight)), want, "{eight:?}");
                }
            }
        }
    }
}
