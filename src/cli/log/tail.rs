//! The journal's lines in order, day by day, and those that come after: over midnight, and where a
//! file is removed or another put in its place.
//!
//! It gives whole lines alone, and does not know what is in them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use crate::lifecycle::journal;

/// Longest line: many times the longest entry.
const LINE_BYTES: usize = 1 << 20;

/// Read at once.
const CHUNK: usize = 64 << 10;

/// A place in the journal.
pub(crate) struct JournalTail {
    folder: PathBuf,
    /// Days before it are of no interest, or read.
    from: Option<Date>,
    open: Option<OpenDay>,
}

struct OpenDay {
    day: Date,
    file: File,
    /// The beginning of a line whose end is not there.
    rest: Vec<u8>,
}

impl JournalTail {
    /// At the beginning of a day, or of all.
    pub(crate) fn new(folder: PathBuf, from: Option<Date>) -> JournalTail {
        JournalTail { folder, from, open: None }
    }

    /// The file or folder that it is at.
    pub(crate) fn place(&self) -> PathBuf {
        self.open.as_ref().map_or_else(|| self.folder.clone(), |open| journal::path(&self.folder, open.day))
    }

    /// Gives each whole line from here to the end, without its newline.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn look(&mut self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            // Before the last read: once a later file is there, nothing more comes into this one.
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
    /// `None` where the file has gone meanwhile.
    fn new(folder: &Path, day: Date) -> io::Result<Option<OpenDay>> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(journal::path(folder, day)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        Ok(Some(OpenDay { day, file, rest: Vec::new() }))
    }

    fn read(&mut self, each: &mut impl FnMut(&[u8])) -> io::Result<()> {
        let mut chunk = vec![0; CHUNK];
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
            // What is longer than any entry is none, whatever is kept of it.
            if self.rest.len() < LINE_BYTES {
                self.rest.extend_from_slice(new);
            }
        }
    }

    /// Is it what stands at this path?
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

        fn look(&mut self) -> Vec<String> {
            let mut lines = Vec::new();
            self.tail.look(|line| lines.push(String::from_utf8(line.to_vec()).unwrap())).unwrap();
            lines
        }
    }

    #[test]
    fn lines_come_whole_and_over_midnight() {
        let mut bench = Bench::new(None);
        assert_eq!(bench.look(), [""; 0]);
        bench.add("2026-01-01", "a\nb\nha");
        assert_eq!(bench.look(), ["a", "b"]);
        bench.add("2026-01-01", "lf");
        assert_eq!(bench.look(), [""; 0]);
        bench.add("2026-01-01", "\n");
        assert_eq!(bench.look(), ["half"]);
        bench.add("2026-01-01", "late\ntorn");
        bench.add("2026-01-02", "c\n");
        bench.add("2026-01-05", "d\n");
        assert_eq!(bench.look(), ["late", "c", "d"]);
    }

    #[test]
    fn days_before_are_passed_over() {
        let mut bench = Bench::new(Some("2026-01-02"));
        bench.add("2026-01-01", "a\n");
        assert_eq!(bench.look(), [""; 0]);
        bench.add("2026-01-03", "b\n");
        assert_eq!(bench.look(), ["b"]);
    }

    #[test]
    fn a_file_that_goes_or_is_another_is_read_anew() {
        let mut bench = Bench::new(None);
        bench.add("2026-01-01", "a\n");
        assert_eq!(bench.look(), ["a"]);
        fs::remove_file(bench.path("2026-01-01")).unwrap();
        assert_eq!(bench.look(), [""; 0]);
        bench.add("2026-01-01", "b\n");
        assert_eq!(bench.look(), ["b"]);
        let other = bench.folder.path().join("other");
        fs::write(&other, "c\n").unwrap();
        fs::rename(&other, bench.path("2026-01-01")).unwrap();
        assert_eq!(bench.look(), ["c"]);
        fs::remove_dir_all(bench.folder.path().join("logs")).unwrap();
        assert_eq!(bench.look(), [""; 0]);
        bench.add("2026-01-02", "d\n");
        assert_eq!(bench.look(), ["d"]);
    }

    #[test]
    fn no_line_is_held_beyond_its_limit() {
        let mut bench = Bench::new(None);
        bench.add("2026-01-01", &"x".repeat(3 * LINE_BYTES));
        assert_eq!(bench.look(), [""; 0]);
        assert!(bench.tail.open.as_ref().unwrap().rest.len() < LINE_BYTES + CHUNK);
        bench.add("2026-01-01", "\nnext\n");
        assert_eq!(bench.look()[1..], ["next"]);
    }
}
