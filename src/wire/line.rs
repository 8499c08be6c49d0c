//! Lines cut out of a byte stream, incrementally.
//!
//! The buffer does not read: it offers room, is told how much of it was filled, and gives back the
//! next line. A line that is not there yet is `None`, never an error. Its caller must
//! [`LineBuffer::consume`] each line it is done with; until then [`LineBuffer::line`] gives the
//! same one again.

use memchr::memchr;

/// The least room a buffer of its own starts with: a page.
const FIRST_ROOM: usize = 4096;

/// Cuts lines of at most `limit` bytes out of what it is fed.
#[derive(Debug)]
pub struct LineBuffer {
    /// Longest line, its newline not counted.
    limit: usize,
    /// Storage. `bytes.len()` is what has been initialised, not what is held.
    bytes: Vec<u8>,
    /// First byte of the next line. `start <= scanned <= end <= bytes.len()`.
    start: usize,
    /// No newline stands in `start..scanned`.
    scanned: usize,
    /// One past the last byte fed.
    end: usize,
    mode: Mode,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Cutting,
    /// In a line whose beginning was over the limit: all is thrown away up to its newline.
    Skipping,
    /// No more bytes come: what is left is a line without a newline.
    Ended,
}

/// What stands at the front of the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line without its newline. Never longer than the limit.
    Whole(&'a [u8]),
    /// A line that is longer than the limit. Said once a line.
    TooLong,
}

impl LineBuffer {
    /// A buffer for lines of at most `limit` bytes. Allocates nothing yet.
    pub fn new(limit: usize) -> LineBuffer {
        LineBuffer { limit, bytes: Vec::new(), start: 0, scanned: 0, end: 0, mode: Mode::Cutting }
    }

    /// Room for at most `most` bytes more. Empty only when `most` is 0 or a line over the limit
    /// waits to be consumed: no more than the limit and a newline is ever held.
    pub fn room(&mut self, most: usize) -> &mut [u8] {
        let most = most.min(self.limit + 1 - (self.end - self.start).min(self.limit + 1));
        if self.end + most > self.bytes.len() {
            self.make_room(most);
        }
        let stop = self.bytes.len().min(self.end + most);
        &mut self.bytes[self.end..stop]
    }

    /// The first `count` bytes of the last room were filled.
    ///
    /// # Panics
    /// If that is more than was offered.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.bytes.len() - self.end, "filled more than the room that was offered");
        self.end += count;
    }

    /// No more bytes come. What is left without a newline is the last line, or, of a line over the
    /// limit, nothing.
    pub fn ended(&mut self) {
        if self.mode == Mode::Skipping {
            self.resynced();
        }
        self.mode = Mode::Ended;
    }

    /// The line at the front, or `None` where more bytes are needed.
    pub fn line(&mut self) -> Option<Line<'_>> {
        if self.mode == Mode::Skipping && !self.resynced() {
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

    /// Lets go of the line that [`LineBuffer::line`] gave last.
    pub fn consume(&mut self) {
        if self.scanned < self.end {
            self.scanned += 1;
        } else if self.mode == Mode::Cutting && self.scanned - self.start > self.limit {
            self.mode = Mode::Skipping;
        }
        self.start = self.scanned;
        if self.start == self.end {
            (self.start, self.scanned, self.end) = (0, 0, 0);
        }
    }

    /// Bytes held: fed, and not yet part of a consumed line.
    pub fn held(&self) -> usize {
        self.end - self.start
    }

    /// Takes over a buffer that another had, so that a busy caller need not allocate. Without
    /// effect on one that has its own.
    pub fn lend(&mut self, storage: &mut Vec<u8>) {
        if self.bytes.is_empty() {
            self.bytes = std::mem::take(storage);
        }
    }

    /// Gives the storage up, as far as it is not needed: all of it when nothing is held, and most
    /// when little is. An idle connection so costs no buffer.
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

    /// Throws away up to the newline that ends a line over the limit.
    fn resynced(&mut self) -> bool {
        match memchr(b'\n', &self.bytes[self.scanned..self.end]) {
            Some(at) => {
                self.scanned += at + 1;
                self.start = self.scanned;
                self.mode = Mode::Cutting;
                true
            }
            None => {
                (self.start, self.scanned, self.end) = (0, 0, 0);
                false
            }
        }
    }

    /// Moves what is held to the front, and grows by doubling when that is not enough, so that a
    /// byte is moved a bounded number of times on average.
    fn make_room(&mut self, most: usize) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() && most > 0 {
            let grown = (self.bytes.len() * 2).clamp(FIRST_ROOM, (self.limit + 1).max(FIRST_ROOM));
            self.bytes.resize(grown.max(self.end + 1), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties::{LIMIT, LineSeen, line_any_split, lines_whole};

    #[test]
    fn every_split_in_three_gives_the_same_lines() {
        let long = "x".repeat(LIMIT);
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
    fn lines_are_cut_and_long_ones_said_once() {
        let limit = "x".repeat(LIMIT);
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
    fn too_long_is_said_before_the_newline_comes_and_nothing_more_is_held() {
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
    fn storage_is_lent_and_given_back() {
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
            assert!(!room.is_empty(), "no room for {} bytes", bytes.len());
            let count = room.len();
            room.copy_from_slice(&bytes[..count]);
            buffer.filled(count);
            bytes = &bytes[count..];
        }
    }
}
