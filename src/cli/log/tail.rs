//! Reads the lines of the journal's daily files in order, and follows them over midnight and when a file is removed or
//! replaced.
//!
//! Returns complete lines only, without parsing them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::lifecycle::journal;

/// Longest line: many times the longest entry.
const MAX_LINE_BYTES: usize = 1 << 20;

/// Bytes per read.
const CHUNK_BYTES: usize = 64 << 10;

/// A position in the journal.
pub(crate) struct JournalTail {
    folder: PathBuf,
    /// Earlier days are not wanted or have been read.
    from: Option<Date>,
    open: Option<OpenDay>,
}

struct OpenDay {
    day: Date,
    file: File,
    /// The beginning of an incomplete line.
    rest: Vec<u8>,
}

impl JournalTail {
    /// Returns the position at the beginning of a day, or of the whole journal.
    pub(crate) fn new(folder: PathBuf, from: Option<Date>) -> JournalTail {
        JournalTail { folder, from, open: None }
    }

    /// Returns the path of the current file, or of the folder before the first one.
    pub(crate) fn path(&self) -> PathBuf {
        self.open.as_ref().map_or_else(|| self.folder.clone(), |open| journal::path(&self.folder, open.day))
    }

    /// Passes each complete line from here to the end to `each`, without its newline.
    ///
    /// # Errors
    /// Any error of listing the folder, or of opening or reading a file; a missing file is not an error.
    pub(crate) fn read_new(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            // The days are listed before the last read: once a later file exists, nothing is appended to this one.
            let days = journal::days(&self.folder)?;
            if self.open.is_none() {
                let next = days.iter().copied().find(|day| self.from.is_none_or(|from| *day >= from));
                self.open = next.map(|day| OpenDay::new(&self.folder, day)).transpose()?.flatten();
            }
            let Some(open) = &mut self.open else { return Ok(()) };
            open.read(&mut each)?;
            let day = open.day;
            if let Some(next) = days.into_iter().find(|other| *other > day) {
                (self.from, self.open) = (Some(next), None);
            } else if !open.is_at(&journal::path(&self.folder, day))? {
                (self.from, self.open) = (Some(day), None);
            } else {
                return Ok(());
            }
        }
    }
}

impl OpenDay {
    /// Opens the file of a day; `None` if it has been removed.
    fn new(folder: &Path, day: Date) -> io::Result<Option<OpenDay>> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(journal::path(folder, day)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        Ok(Some(OpenDay { day, file, rest: Vec::new() }))
    }

    fn read(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = match self.file.read(&mut chunk) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let mut new = &chunk[..count];
            while let Some(end) = memchr::memchr(b'\n', new) {
                if self.rest.is_empty() {
                    each(&new[..end]);
                } else {
                    self.rest.extend_from_slice(&new[..end]);
                    each(&self.rest);
                    self.rest.clear();
                }
                new = &new[end + 1..];
            }
            // A longer line is not an entry, so the rest of it is dropped.
            if self.rest.len() < MAX_LINE_BYTES {
                self.rest.extend_from_slice(new);
            }
        }
    }

    /// Returns true if `path` is still this file.
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(there) => {
                let own = self.file.metadata()?;
                Ok((there.dev(), there.ino()) == (own.dev(), own.ino()))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct Bench {
        folder: tempfile::TempDir,
        tail: JournalTail,
    }

    impl Bench {
        fn new(from: Option<&str>) -> Bench {
            let folder = tempfile::tempdir().unwrap();
            let tail = JournalTail::new(folder.path().to_owned(), from.map(|day| day.parse().unwrap()));
            Bench { folder, tail }
        }

        fn path(&self, day: &str) -> PathBuf {
            journal::path(self.folder.path(), day.parse().unwrap())
        }

        fn add(&self, day: &str, text: &str) {
            let path = self.path(day);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn read(&mut self) -> Vec<String> {
            let mut lines = Vec::new();
            self.tail.read_new(|line| lines.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
            lines
        }
    }

    #[test]
    fn lines_are_complete_and_continue_over_midnight() {
        let mut bench = Bench::new(None);
        assert_eq!(bench.read(), [""; 0]);
        bench.add("2026-01-01", "a\nb\nha");
        assert_eq!(bench.read(), ["a", "b"]);
        bench.add("2026-01-01", "lf");
        assert_eq!(bench.read(), [""; 0]);
        bench.add("2026-01-01", "\n");
        assert_eq!(bench.read(), ["half"]);
        bench.add("2026-01-01", "late\ntorn");
        bench.add("2026-01-02", "c\n");
        bench.add("2026-01-05", "d\n");
        assert_eq!(bench.read(), ["late", "c", "d"]);
    }

    #[test]
    fn earlier_days_are_skipped() {
        let mut bench = Bench::new(Some("2026-01-02"));
        bench.add("2026-01-01", "a\n");
        assert_eq!(bench.read(), [""; 0]);
        bench.add("2026-01-03", "b\n");
        assert_eq!(bench.read(), ["b"]);
    }

    #[test]
    fn a_removed_or_replaced_file_is_read_from_its_beginning() {
        let mut bench = Bench::new(None);
        bench.add("2026-01-01", "a\n");
        assert_eq!(bench.read(), ["a"]);
        fs::remove_file(bench.path("2026-01-01")).unwrap();
        assert_eq!(bench.read(), [""; 0]);
        bench.add("2026-01-01", "b\n");
        assert_eq!(bench.read(), ["b"]);
        let other = bench.folder.path().join("other");
        fs::write(&other, "c\n").unwrap();
        fs::rename(&other, bench.path("2026-01-01")).unwrap();
        assert_eq!(bench.read(), ["c"]);
        fs::remove_dir_all(bench.folder.path().join("logs")).unwrap();
        assert_eq!(bench.read(), [""; 0]);
        bench.add("2026-01-02", "d\n");
        assert_eq!(bench.read(), ["d"]);
    }

    #[test]
    fn a_long_line_is_not_buffered_beyond_its_limit() {
        let mut bench = Bench::new(None);
        bench.add("2026-01-01", &"x".repeat(3 * MAX_LINE_BYTES));
        assert_eq!(bench.read(), [""; 0]);
        assert!(bench.tail.open.as_ref().unwrap().rest.len() < MAX_LINE_BYTES + CHUNK_BYTES);
        bench.add("2026-01-01", "\nnext\n");
        assert_eq!(bench.read()[1..], ["next"]);
    }
}
