//! The offset up to which a session's transcript has been captured, in `.capture-state/SESSION.offset`.
//!
//! A transcript usually only grows, but it may be truncated or rewritten. The file therefore has a hash of the bytes
//! before the offset. If they differ, the transcript is read from its beginning; the daemon deduplicates what it has
//! already. A file of another program or release counts as missing.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::support::files::{self, Durability, PRIVATE_MODE};
use crate::lifecycle::process_session::CAPTURE_STATE_DIR;
use crate::transcript::ReadTally;
use crate::wire::members::Members;

/// Bytes before the offset that are hashed. A line has its time and id near its end. Picked.
const HASHED_BYTES: u64 = 1024;

/// Largest offset file that is read. The file has two paths and a session id.
const MAX_BYTES: u64 = 64 << 10;

/// Suffix of an offset file.
pub(crate) const SUFFIX: &str = ".offset";

/// A session and its transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SessionTranscript {
    pub(crate) session: String,
    pub(crate) path: PathBuf,
    /// The folder in which the session began, once it is known. A later change of folder does not change it.
    pub(crate) project: Option<String>,
}

/// The offset up to which a transcript has been captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TranscriptOffset {
    pub(crate) of: SessionTranscript,
    /// What the lines before the offset were.
    pub(crate) tally: ReadTally,
    /// Bytes from the start of the transcript; always at the end of a line.
    pub(crate) offset: u64,
    /// Hash of up to [`HASHED_BYTES`] before the offset.
    check: u64,
}

impl TranscriptOffset {
    /// Returns the offset of a transcript of which nothing was read.
    pub(crate) fn beginning(of: SessionTranscript) -> TranscriptOffset {
        TranscriptOffset { of, tally: ReadTally::default(), offset: 0, check: fnv_1a(b"") }
    }

    /// Reads an offset file; `None` if it is missing or cannot be used.
    pub(crate) fn load(path: &Path) -> Option<TranscriptOffset> {
        let text = files::own_text(path, MAX_BYTES).ok()??;
        let kept = Members::read(&text).ok()?;
        let number = |key| kept.value(key)?.get().parse().ok();
        Some(TranscriptOffset {
            of: SessionTranscript {
                session: kept.string("session")?.into_owned(),
                path: PathBuf::from(kept.string("transcript")?.as_ref()),
                project: kept.string("cwd").map(Cow::into_owned),
            },
            tally: ReadTally {
                user_turns: number("user_turns").unwrap_or(0),
                assistant_turns: number("assistant_turns").unwrap_or(0),
                unknown_lines: number("unknown_lines").unwrap_or(0),
            },
            offset: number("offset")?,
            check: number("check")?,
        })
    }

    /// Returns the position at which to continue in `file`: the offset, or 0 if the bytes before it have changed.
    pub(crate) fn start(&self, file: &File) -> u64 {
        let is_here = check(file, self.offset).is_ok_and(|check| check == self.check);
        if is_here { self.offset } else { 0 }
    }

    /// Returns the offset of a transcript, with the hash of the bytes before it.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file is shorter than `offset`; otherwise any read error.
    pub(crate) fn at(
        offset: u64,
        file: &File,
        of: SessionTranscript,
        tally: ReadTally,
    ) -> io::Result<TranscriptOffset> {
        Ok(TranscriptOffset { of, tally, offset, check: check(file, offset)? })
    }

    /// Writes the offset file. It need not survive a power failure: text is then captured again and deduplicated.
    ///
    /// # Errors
    /// `InvalidInput` if the path of the transcript is not UTF-8; otherwise any error of writing the file.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let TranscriptOffset { of: SessionTranscript { session, path: transcript, project }, tally, .. } = self;
        let transcript = transcript.to_str().ok_or(io::ErrorKind::InvalidInput)?;
        let kept = json!({"session": session, "transcript": transcript, "cwd": project, "offset": self.offset,
            "check": self.check, "user_turns": tally.user_turns, "assistant_turns": tally.assistant_turns,
            "unknown_lines": tally.unknown_lines});
        if let Some(folder) = path.parent() {
            files::make_own_folder(folder)?;
        }
        files::replace(path, kept.to_string().as_bytes(), PRIVATE_MODE, Durability::Cached)
    }
}

/// Returns the path of a session's offset file.
pub(crate) fn path(store: &Path, session: &str) -> PathBuf {
    store.join(CAPTURE_STATE_DIR).join(file_name(session) + SUFFIX)
}

/// Returns a file name for a session id. Ids of other than ASCII letters, digits, `-` and `_`, or longer than 100 bytes,
/// are shortened and get a hash.
pub(crate) fn file_name(session: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if session.len() <= 100 && session.chars().all(is_plain) {
        return session.to_owned();
    }
    let plain: String = session.chars().filter(|c| is_plain(*c)).take(40).collect();
    format!("{plain}-{:016x}", fnv_1a(session.as_bytes()))
}

/// Hashes up to [`HASHED_BYTES`] before `offset`.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter than `offset`; otherwise any read error.
fn check(file: &File, offset: u64) -> io::Result<u64> {
    let from = offset.saturating_sub(HASHED_BYTES);
    let mut bytes = vec![0; (offset - from) as usize];
    file.read_exact_at(&mut bytes, from)?;
    Ok(fnv_1a(&bytes))
}

/// Returns the 64-bit FNV-1a hash, which is the same in every release; the hash of std may change.
fn fnv_1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_offset_is_valid_while_the_bytes_before_it_are_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let (transcript, kept) = (folder.path().join("t"), folder.path().join("s.offset"));
        let text = "x".repeat(3000) + "\n";
        let start = |text: &str| {
            fs::write(&transcript, text).unwrap();
            TranscriptOffset::load(&kept).unwrap().start(&File::open(&transcript).unwrap())
        };
        fs::write(&transcript, &text).unwrap();
        let file = File::open(&transcript).unwrap();
        let of = SessionTranscript { session: "s".into(), path: transcript.clone(), project: Some("/p".into()) };
        let tally = ReadTally { user_turns: 1, assistant_turns: 2, unknown_lines: 3 };
        let saved = TranscriptOffset::at(3001, &file, of.clone(), tally).unwrap();
        saved.save(&kept).unwrap();
        assert_eq!(TranscriptOffset::load(&kept), Some(saved));
        assert_eq!(start(&text), 3001);
        assert_eq!(start(&(text.clone() + "more\n")), 3001);
        assert_eq!(start(&text[..2000]), 0, "truncated");
        assert_eq!(start(&text.replace("x\n", "y\n")), 0, "rewritten");
        assert_eq!(start(""), 0);
        let none = ReadTally::default();
        assert_eq!(TranscriptOffset::at(0, &file, of.clone(), none).unwrap(), TranscriptOffset::beginning(of.clone()));
        TranscriptOffset::beginning(of.clone()).save(&kept).unwrap();
        assert_eq!(start(""), 0);
        assert!(TranscriptOffset::at(10, &file, of, none).is_err());
    }

    #[test]
    fn an_unusable_offset_file_counts_as_missing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.offset");
        assert_eq!(TranscriptOffset::load(&path), None);
        for text in ["", "200", "{}", "[1]", "{\"offset\":-1}", "\u{0}"] {
            fs::write(&path, text).unwrap();
            assert_eq!(TranscriptOffset::load(&path), None, "{text}");
        }
    }

    #[test]
    fn sessions_have_distinct_safe_file_names() {
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
