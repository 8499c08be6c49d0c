//! Reads an input line by line with a bound on the length of a line. A line that is too long or not UTF-8 is
//! reported as such and skipped. The line end (`\n` or `\r\n`) is not part of the line.

use std::io::{self, BufRead, BufReader, ErrorKind, Read};

/// Size of the read buffer. 256 KiB: callers wait for outstanding replies before each read that may block, and
/// larger reads make these waits rarer.
const BUFFER_BYTES: usize = 256 << 10;

/// A line without its line end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum InputLine {
    /// The text of the line.
    Text(String),
    /// The line has more bytes than the limit.
    TooLong,
    /// The line is not UTF-8.
    NotUtf8,
}

/// A line without its line end, as bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RawLine {
    /// The bytes of the line.
    Bytes(Vec<u8>),
    /// The line has more bytes than the limit.
    TooLong,
}

/// Reads lines; holds at most `limit` bytes of a line.
pub(crate) struct LineReader {
    input: BufReader<Box<dyn Read>>,
    /// Longest line, in bytes.
    limit: usize,
    /// Number of the last line returned, from 1.
    pub(crate) number: u64,
    /// Bytes consumed so far.
    pub(crate) bytes: u64,
    /// True if the last line had no `\n`: the input ended within it.
    pub(crate) is_cut_off: bool,
    /// A line that is too long is returned as soon as that is known: its rest may never end.
    pub(crate) stops_at_long: bool,
}

impl LineReader {
    /// Returns a reader of the lines of `input`, of at most `limit` bytes each.
    pub(crate) fn new(input: Box<dyn Read>, limit: usize) -> LineReader {
        let input = BufReader::with_capacity(BUFFER_BYTES, input);
        LineReader { input, limit, number: 0, bytes: 0, is_cut_off: false, stops_at_long: false }
    }

    /// Returns true if a whole line is buffered, so that [`LineReader::next`] does not read.
    pub(crate) fn ready(&self) -> bool {
        memchr::memchr(b'\n', self.input.buffer()).is_some()
    }

    /// Returns the next line, or `None` at the end of the input.
    ///
    /// # Errors
    /// Any read error except `Interrupted`, which is retried.
    pub(crate) fn next(&mut self) -> io::Result<Option<InputLine>> {
        Ok(self.next_raw()?.map(|line| match line {
            RawLine::Bytes(bytes) => String::from_utf8(bytes).map_or(InputLine::NotUtf8, InputLine::Text),
            RawLine::TooLong => InputLine::TooLong,
        }))
    }

    /// Returns the next line as bytes, or `None` at the end of the input.
    ///
    /// # Errors
    /// Any read error except `Interrupted`, which is retried.
    pub(crate) fn next_raw(&mut self) -> io::Result<Option<RawLine>> {
        // One more than the longest line, for the `\r` of a line end.
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
            if too_long && self.stops_at_long {
                return Ok(Some(RawLine::TooLong));
            }
            if ended {
                self.number += 1;
                self.is_cut_off = end.is_none();
                return Ok(Some(self.finished(line, too_long)));
            }
        }
    }

    fn finished(&self, mut line: Vec<u8>, too_long: bool) -> RawLine {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if too_long || line.len() > self.limit {
            return RawLine::TooLong;
        }
        RawLine::Bytes(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 64 << 10;

    /// Returns at most `self.1` bytes per read.
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
    fn lines_are_the_same_for_every_read_size() {
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
