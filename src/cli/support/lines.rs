//! An input in lines, read so that no line is held beyond a limit and none is cut: what is too long or
//! no text is said to be so and passed over. Of a line its end (`\n` or `\r\n`) is not part of it.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// Read at once. 256 KiB: who answers what is under way before a read that may block pauses less often
/// with larger reads.
const INPUT_BUFFER: usize = 256 << 10;

/// A line without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InputLine {
    /// Its text.
    Text(String),
    /// It has more bytes than the limit.
    TooLong,
    /// It is no text.
    NotUtf8,
}

/// An input in lines, of which none is ever held beyond a limit.
pub(crate) struct LineReader {
    input: BufReader<Box<dyn Read>>,
    /// Most bytes of a line.
    limit: usize,
    /// The last line's number, from 1.
    pub(crate) number: u64,
    /// Bytes read so far.
    pub(crate) bytes: u64,
    /// The last line had no `\n`: the input ended in it.
    pub(crate) is_cut_off: bool,
}

impl LineReader {
    /// The lines of `input`, of at most `limit` bytes each.
    pub(crate) fn new(input: Box<dyn Read>, limit: usize) -> LineReader {
        let input = BufReader::with_capacity(INPUT_BUFFER, input);
        LineReader { input, limit, number: 0, bytes: 0, is_cut_off: false }
    }

    /// Is a whole line here already, so that the next one needs no read?
    pub(crate) fn ready(&self) -> bool {
        memchr::memchr(b'\n', self.input.buffer()).is_some()
    }

    /// The next line, or `None` at the end.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn next(&mut self) -> io::Result<Option<InputLine>> {
        // One more than the longest line, for the `\r` of its end.
        let room = self.limit + 1;
        let mut line = Vec::new();
        let mut too_long = false;
        let mut begun = false;
        loop {
            let ready = match self.input.fill_buf() {
                Ok(ready) => ready,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if ready.is_empty() && !begun {
                return Ok(None);
            }
            begun = true;
            let end = memchr::memchr(b'\n', ready);
            let part = &ready[..end.unwrap_or(ready.len())];
            too_long |= line.len() + part.len() > room;
            if !too_long {
                line.extend_from_slice(part);
            }
            let ended = end.is_some() || ready.is_empty();
            let used = part.len() + usize::from(end.is_some());
            self.input.consume(used);
            self.bytes += used as u64;
            if ended {
                self.number += 1;
                self.is_cut_off = end.is_none();
                return Ok(Some(self.finished(line, too_long)));
            }
        }
    }

    fn finished(&self, mut line: Vec<u8>, too_long: bool) -> InputLine {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if too_long || line.len() > self.limit {
            return InputLine::TooLong;
        }
        String::from_utf8(line).map_or(InputLine::NotUtf8, InputLine::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 << 10;

    /// Gives its bytes out a few at a time.
    struct Slow(Vec<u8>, usize);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(self.1).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn lines_are_cut_whatever_the_pieces() {
        let longest = "x".repeat(LIMIT);
        let mut input = b"one\r\n\n  two \nna\xc3\xafve\n\xff\n".to_vec();
        for end in ["\n", "\r\n", "y\n", "yy\r\n"] {
            input.extend_from_slice(longest.as_bytes());
            input.extend_from_slice(end.as_bytes());
        }
        input.extend_from_slice(b"a\rb\nlast");
        let text = |text: &str| InputLine::Text(text.into());
        let want = [
            text("one"),
            text(""),
            text("  two "),
            text("na\u{ef}ve"),
            InputLine::NotUtf8,
            text(&longest),
            text(&longest),
            InputLine::TooLong,
            InputLine::TooLong,
            text("a\rb"),
            text("last"),
        ];
        let want_count = want.len();
        for piece in [1, 2, 3, 7, 1000, 1 << 20] {
            let mut lines = LineReader::new(Box::new(Slow(input.clone(), piece)), LIMIT);
            for (at, want) in want.iter().enumerate() {
                assert_eq!(lines.next().unwrap().as_ref(), Some(want), "line {} in pieces of {piece}", at + 1);
                assert_eq!((lines.number, lines.is_cut_off), (at as u64 + 1, at + 1 == want_count));
            }
            assert_eq!(lines.next().unwrap(), None);
            assert_eq!((lines.bytes, lines.is_cut_off), (input.len() as u64, true));
        }
        assert_eq!(LineReader::new(Box::new(io::empty()), LIMIT).next().unwrap(), None);
    }
}
