//! How far a session's transcript has been taken: `.capture-state/SESSION.offset`.
//!
//! A transcript only grows, as a rule; but it may be cut short, or written anew. So a place says what stands
//! right before it, and where that is no longer so the transcript is taken from its beginning: what is known
//! is known again by its words. A file of another program or release is no place.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::support::files::{self, Durability, PRIVATE_MODE};
use crate::wire::json::Members;

/// Bytes before a place that are looked at. A line's time and id are among its last bytes. Picked.
const CHECKED_BYTES: u64 = 1024;

/// More than a place's file has: two paths and a session's name.
const MOST_BYTES: u64 = 64 << 10;

/// The end of a place's file name.
pub(crate) const SUFFIX: &str = ".offset";

/// How far a transcript has been taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TranscriptOffset {
    pub(crate) session: String,
    pub(crate) transcript: PathBuf,
    pub(crate) cwd: Option<String>,
    /// Bytes from the transcript's start, at the end of a line.
    pub(crate) offset: u64,
    /// A hash of what stands before that.
    check: u64,
}

impl TranscriptOffset {
    /// The place that is kept in a file, where one is.
    pub(crate) fn load(path: &Path) -> Option<TranscriptOffset> {
        let text = files::own_text(path, MOST_BYTES).ok()??;
        let kept = Members::read(&text).ok()?;
        let number = |key| kept.value(key)?.get().parse().ok();
        Some(TranscriptOffset {
            session: kept.string("session")?.into_owned(),
            transcript: PathBuf::from(kept.string("transcript")?.as_ref()),
            cwd: kept.string("cwd").map(Cow::into_owned),
            offset: number("offset")?,
            check: number("check")?,
        })
    }

    /// Where to go on in `file`: here, or at its beginning where it is another one by now.
    pub(crate) fn start(&self, file: &File) -> u64 {
        let is_here = check(file, self.offset).is_ok_and(|check| check == self.check);
        if is_here { self.offset } else { 0 }
    }

    /// The place at `offset` of a transcript.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn at(
        offset: u64,
        file: &File,
        session: &str,
        transcript: &Path,
        cwd: Option<&str>,
    ) -> io::Result<TranscriptOffset> {
        let check = check(file, offset)?;
        let (session, transcript, cwd) = (session.to_owned(), transcript.to_owned(), cwd.map(str::to_owned));
        Ok(TranscriptOffset { session, transcript, cwd, offset, check })
    }

    /// Keeps it. It need not survive a power cut: then more is taken again, and known.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let TranscriptOffset { session, transcript, cwd, offset, check } = self;
        let transcript = transcript.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        let kept = json!({"session": session, "transcript": transcript, "cwd": cwd, "offset": offset, "check": check});
        if let Some(folder) = path.parent() {
            files::make_own_folder(folder)?;
        }
        files::replace(path, kept.to_string().as_bytes(), PRIVATE_MODE, Durability::Cached)
    }
}

/// A session's name as a file's: what no file system minds stays, and two sessions have two names.
pub(crate) fn file_name(session: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if session.len() <= 100 && session.chars().all(is_plain) {
        return session.to_owned();
    }
    let plain: String = session.chars().filter(|c| is_plain(*c)).take(40).collect();
    format!("{plain}-{:016x}", fnv_1a(session.as_bytes()))
}

/// # Errors
/// The file is shorter than that, or the system's.
fn check(file: &File, offset: u64) -> io::Result<u64> {
    let from = offset.saturating_sub(CHECKED_BYTES);
    let mut bytes = vec![0; (offset - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    Ok(fnv_1a(&bytes))
}

/// FNV-1a, 64 bits: the same in every release, which the standard library's hash need not be.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_place_holds_as_long_as_what_is_before_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let (transcript, kept) = (folder.path().join("t"), folder.path().join("s.offset"));
        let text = "x".repeat(3000) + "\n";
        let start = |text: &str| {
            fs::write(&transcript, text).unwrap();
            TranscriptOffset::load(&kept).unwrap().start(&File::open(&transcript).unwrap())
        };
        fs::write(&transcript, &text).unwrap();
        let file = File::open(&transcript).unwrap();
        TranscriptOffset::at(3001, &file, "s", &transcript, Some("/p")).unwrap().save(&kept).unwrap();
        assert_eq!(start(&text), 3001);
        assert_eq!(start(&(text.clone() + "more\n")), 3001);
        assert_eq!(start(&text[..2000]), 0, "cut short");
        assert_eq!(start(&text.replace("x\n", "y\n")), 0, "written anew");
        assert_eq!(start(""), 0);
        TranscriptOffset::at(0, &file, "s", &transcript, None).unwrap().save(&kept).unwrap();
        assert_eq!(start(""), 0);
        assert!(TranscriptOffset::at(10, &file, "s", &transcript, None).is_err());
    }

    #[test]
    fn what_is_no_place_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.offset");
        assert_eq!(TranscriptOffset::load(&path), None);
        for text in ["", "200", "{}", "[1]", "{\"offset\":-1}", "\u{0}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(TranscriptOffset::load(&path), None, "{text}");
        }
    }

    #[test]
    fn every_session_has_a_file_name_of_its_own() {
        assert_eq!(file_name("0199-aB_c"), "0199-aB_c");
        let long = "x".repeat(500);
        for odd in ["", "../../etc/passwd", ".", "a/b", "a b", "é", "\0", long.as_str()] {
            let name = file_name(odd);
            assert!(name.len() <= 100 && !name.contains(['/', '.', '\0']) && name.is_ascii(), "{name}");
        }
        assert_ne!(file_name("a/b"), file_name("a b"));
        assert_eq!(fnv_1a(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
