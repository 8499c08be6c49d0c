//! Splits a byte stream into lines, incrementally.
//!
//! The buffer does not read. It offers free space with [`LineBuffer::room`], is told by
//! [`LineBuffer::filled`] how much was written to it, and returns the next line, or `None` if it is
//! incomplete.
//!
//! Caller's contract: it calls [`LineBuffer::consume`] after each line. Until then [`LineBuffer::line`]
//! returns the same line again.

use memchr::memchr;

/// First size of the buffer, in bytes: a page.
const FIRST_SIZE_BYTES: usize = 4096;

/// Splits its input into lines of at most `limit` bytes.
#[derive(Debug)]
pub struct LineBuffer {
    /// Longest line, in bytes, without its newline.
    limit: usize,
    /// Storage. `bytes.len()` counts the initialized bytes, not the held ones.
    bytes: Vec<u8>,
    /// First byte of the next line. `start <= scanned <= end <= bytes.len()`.
    start: usize,
    /// `start..scanned` contains no newline.
    scanned: usize,
    /// One past the last byte of input.
    end: usize,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Splitting,
    /// In a line over the limit: input is discarded up to its newline.
    Skipping,
    /// The input has ended: the remaining bytes are a line.
    Ended,
}

/// The line at the front of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line without its newline, within the limit.
    Whole(&'a [u8]),
    /// A line that is longer than the limit. Reported once for each such line.
    TooLong,
}

impl LineBuffer {
    /// Creates a buffer for lines of at most `limit` bytes. Does not allocate.
    pub fn new(limit: usize) -> LineBuffer {
        LineBuffer { limit, bytes: Vec::new(), start: 0, scanned: 0, end: 0, mode: Mode::Splitting }
    }

    /// Returns free space for at most `most` bytes. It is empty only if `most` is 0 or a line over the
    /// limit waits to be consumed: at most the limit and a newline are held.
    pub fn room(&mut self, most: usize) -> &mut [u8] {
        let most = most.min(self.limit + 1 - (self.end - self.start).min(self.limit + 1));
        if self.end + most > self.bytes.len() {
            self.make_space(most);
        }
        let stop = self.bytes.len().min(self.end + most);
        &mut self.bytes[self.end..stop]
    }

    /// Adds the first `count` bytes of the last [`LineBuffer::room`] to the input.
    ///
    /// # Panics
    /// If `count` is larger than that space.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.end, "filled more than the space that was offered");
        self.end += count;
    }

    /// Ends the input. Remaining bytes without a newline are the last line; the rest of a line over the
    /// limit is discarded.
    pub fn ended(&mut self) {
        if self.mode == Mode::Skipping {
            self.resync();
        }
        self.mode = Mode::Ended;
    }

    /// Returns the line at the front, or `None` if more input is needed.
    pub fn line(&mut self) -> Option<Line<'_>> {
        if self.mode == Mode::Skipping && !self.resync() {
            return None;
        }
        let newline = memchr(b'\n', &self.bytes[self.scanned..self.end]);
        self.scanned = newline.map_or(self.end, |at| self.scanned + at);
        let length = self.scanned - self.start;
        if length > self.limit {
            Some(Line::TooLong)
        } else if newline.is_some() || (self.mode == Mode::Ended && length > 0) {
            Some(Line::Whole(&self.bytes[self.start..self.scanned]))
        } else {
            None
        }
    }

    /// Removes the line that [`LineBuffer::line`] returned last.
    pub fn consume(&mut self) {
        if self.scanned < self.end {
            self.scanned += 1;
        } else if self.mode == Mode::Splitting && self.scanned - self.start > self.limit {
            self.mode = Mode::Skipping;
        }
        self.start = self.scanned;
        if self.start == self.end {
            (self.start, self.scanned, self.end) = (0, 0, 0);
        }
    }

    /// Returns the number of input bytes that are not part of a consumed line.
    pub fn held(&self) -> usize {
        self.end - self.start
    }

    /// Takes over the storage of another buffer, which saves an allocation. Has no effect if this buffer has
    /// storage.
    pub fn lend(&mut self, storage: &mut Vec<u8>) {
        if self.bytes.is_empty() {
            self.bytes = std::mem::take(storage);
        }
    }

    /// Releases unneeded storage into `storage`: all of it if nothing is held, and most of it if little is.
    /// So an idle connection has no buffer.
    pub fn give_back(&mut self, storage: &mut Vec<u8>) {
        let held = self.held();
        if held > self.bytes.len() / 2 || self.bytes.is_empty() {
            return;
        }
        let kept = self.bytes[self.start..self.end].to_vec();
        let given = std::mem::replace(&mut self.bytes, kept);
        if given.len() > storage.len() {
            *storage = given;
        }
        self.scanned -= self.start;
        self.start = 0;
        self.end = held;
    }

    /// Discards input up to the newline that ends a line over the limit. Returns true if it was found.
    fn resync(&mut self) -> bool {
        match memchr(b'\n', &self.bytes[self.scanned..self.end]) {
            Some(at) => {
                self.scanned += at + 1;
                self.start = self.scanned;
                self.mode = Mode::Splitting;
                true
            }
            None => {
                (self.start, self.scanned, self.end) = (0, 0, 0);
                false
            }
        }
    }

    /// Moves the held bytes to the front, and doubles the storage if that is not enough, so that a byte is
    /// moved a bounded number of times on average.
    fn make_space(&mut self, most: usize) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() && most > 0 {
            let grown = (self.bytes.len() * 2).clamp(FIRST_SIZE_BYTES, (self.limit + 1).max(FIRST_SIZE_BYTES));
            self.bytes.resize(grown.max(self.end + 1), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties::{LIMIT_BYTES, LineSeen, line_any_split, lines_whole};

    #[test]
    fn every_split_in_three_gives_the_same_lines() {
        let long = "x".repeat(LIMIT_BYTES);
        for input in [
            String::new(),
            "\n".into(),
            "a\nbc\n\nd".into(),
            format!("{long}\n{long}y\nz\n"),
            long.clone(),
            format!("{long}y"),
            format!("{long}yyyyyyyyyyyyyyyyyyyyyyyyyy\n{long}"),
            format!("a\n{long}{long}{long}\nb\n{long}{long}"),
        ] {
            let input = input.as_bytes();
            for first in 0..=input.len() {
                for second in first..=input.len() {
                    line_any_split(input, &[first, second - first]);
                }
            }
        }
    }

    #[test]
    fn long_lines_are_reported_once() {
        let limit = "x".repeat(LIMIT_BYTES);
        let table: [(String, Vec<LineSeen>); 7] = [
            ("a\nb".into(), vec![LineSeen::Whole(b"a".into()), LineSeen::Whole(b"b".into())]),
            ("a\r\n".into(), vec![LineSeen::Whole(b"a\r".into())]),
            ("\n\n".into(), vec![LineSeen::Whole(b"".into()), LineSeen::Whole(b"".into())]),
            (format!("{limit}\n"), vec![LineSeen::Whole(limit.clone().into())]),
            (format!("{limit}y\nz\n"), vec![LineSeen::TooLong, LineSeen::Whole(b"z".into())]),
            (format!("{limit}y"), vec![LineSeen::TooLong]),
            (format!("{limit}{limit}{limit}\n"), vec![LineSeen::TooLong]),
        ];
        for (input, lines) in table {
            assert_eq!(lines_whole(input.as_bytes()), lines, "{input:?}");
        }
    }

    #[test]
    fn the_line_stays_until_it_is_consumed() {
        let mut buffer = LineBuffer::new(8);
        feed(&mut buffer, b"one\ntwo\n");
        assert_eq!(buffer.line(), Some(Line::Whole(b"one")));
        assert_eq!(buffer.line(), Some(Line::Whole(b"one")));
        buffer.consume();
        assert_eq!(buffer.line(), Some(Line::Whole(b"two")));
        buffer.consume();
        assert_eq!(buffer.line(), None);
        assert_eq!(buffer.held(), 0);
    }

    #[test]
    fn a_long_line_is_reported_before_its_newline_and_not_held() {
        let mut buffer = LineBuffer::new(8);
        feed(&mut buffer, b"123456789");
        assert!(buffer.room(100).is_empty());
        assert_eq!(buffer.line(), Some(Line::TooLong));
        buffer.consume();
        for _ in 0..100 {
            feed(&mut buffer, b"12345678");
            assert_eq!(buffer.line(), None);
            assert_eq!(buffer.held(), 0);
        }
        feed(&mut buffer, b"9\nok\n");
        assert_eq!(buffer.line(), Some(Line::Whole(b"ok")));
    }

    #[test]
    fn storage_is_lent_and_released() {
        let mut spare = vec![0; 64];
        let mut buffer = LineBuffer::new(1000);
        buffer.lend(&mut spare);
        assert!(spare.is_empty());
        feed(&mut buffer, b"ab\ncd");
        buffer.line();
        buffer.consume();
        buffer.give_back(&mut spare);
        assert_eq!((spare.len(), buffer.held(), buffer.bytes.len()), (64, 2, 2));
        feed(&mut buffer, b"e\n");
        assert_eq!(buffer.line(), Some(Line::Whole(b"cde")));
        buffer.consume();
        buffer.give_back(&mut spare);
        assert_eq!((buffer.held(), buffer.bytes.capacity()), (0, 0));
    }

    fn feed(buffer: &mut LineBuffer, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = buffer.room(bytes.len());
            assert!(!room.is_empty(), "no space for {} bytes", bytes.len());
            let count = room.len();
            room.copy_from_slice(&bytes[..count]);
            buffer.filled(count);
            bytes = &bytes[count..];
        }
    }
}
