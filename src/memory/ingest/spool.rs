//! `.deferred-captures`: the folder in which hooks leave captures that they could not deliver, and the state that a file's
//! name tells. `spool_file.rs` reads the files.
//!
//! | name | state |
//! |---|---|
//! | `NAME.live.jsonl` | being written; only its writer touches it |
//! | `NAME.jsonl` | to be drained |
//! | `NAME.failed-SECONDS-attempt-N.jsonl` | failed N times, last at SECONDS; tried again later |
//! | `NAME.permanent-failed-SECONDS.jsonl` | failed too often, or has lines that are not captures; kept |
//!
//! A file begins with the line `{"version":1,"session_id":…,"deferred_at":…,"cwd":…}`. Each further line has the params
//! of one `memory_capture`; the first line gives the defaults. A line that begins with [`SEALED`] is neither read nor
//! refused, and its file stays where it is.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use crate::memory::model::time::{MICROS_PER_SECOND, UnixMicros};
use crate::sort;

/// The folder in the store's folder.
pub const FOLDER: &str = ".deferred-captures";

/// The version of the file format that is read and written.
pub const VERSION: u64 = 1;

/// The suffix of a file that is being written.
pub const LIVE: &str = ".live.jsonl";

/// How a line begins that iai-mcp has encrypted with its key. Only iai-mcp can read it, so its file is left to it.
pub const SEALED: &str = "iai:enc:v1:";

const SUFFIX: &str = ".jsonl";

/// The time until the first retry. It doubles with each further one.
const FIRST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Number of retries before a file is given up on.
const MAX_RETRIES: u32 = 3;

/// The state of a file, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolFileKind {
    /// The file is being written.
    Live,
    /// The file waits to be drained.
    Waiting,
    /// Reading the file failed. If it is renamed to this name, it is tried again at once.
    Failed(String),
    /// The file is not tried again: a person must look at it.
    GivenUp,
}

/// Returns the state of the file of this name; `None` if it is not the name of a spool file.
pub fn kind(name: &str) -> Option<SpoolFileKind> {
    name.strip_suffix(SUFFIX)?;
    Some(match SpoolFileName::parse(name) {
        Some(SpoolFileName { base, failed: Some(_) }) => SpoolFileKind::Failed(base + SUFFIX),
        Some(_) => SpoolFileKind::Waiting,
        None if name.ends_with(LIVE) => SpoolFileKind::Live,
        None => SpoolFileKind::GivenUp,
    })
}

/// The name of a file that is to be drained, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpoolFileName {
    /// The name without the suffix and what failures have added.
    pub(crate) base: String,
    /// The number of failures, and the time of the last one if it can be parsed; `None` if there was none.
    pub(crate) failed: Option<(u32, Option<UnixMicros>)>,
}

/// A file to be drained.
#[derive(Clone, Debug)]
pub(crate) struct PendingFile {
    pub(crate) path: PathBuf,
    pub(crate) name: SpoolFileName,
    /// When the file was last written to.
    pub(crate) written: UnixMicros,
}

/// The files of the folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct SpoolFolder {
    /// The files that can be drained now, the oldest first.
    pub(crate) now: Vec<PendingFile>,
    /// When the next of the other files can be drained.
    pub(crate) next: Option<UnixMicros>,
    /// The base names of all files that are to be drained, now or later.
    pub(crate) names: Vec<String>,
}

impl SpoolFileName {
    /// Parses a file's name. Returns `None` if the file is not to be drained.
    pub(crate) fn parse(name: &str) -> Option<SpoolFileName> {
        let stem = name.strip_suffix(SUFFIX)?;
        if name.ends_with(LIVE) || stem.contains(".permanent-failed-") {
            return None;
        }
        let failed = stem.rfind(".failed-").and_then(|at| {
            let (when, attempt) = stem[at + ".failed-".len()..].split_once("-attempt-")?;
            let attempt: u32 = attempt.parse().ok()?;
            let when =
                when.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(MICROS_PER_SECOND)).map(UnixMicros);
            Some((&stem[..at], (attempt, when)))
        });
        Some(match failed {
            Some((base, failed)) => SpoolFileName { base: base.to_owned(), failed: Some(failed) },
            None => SpoolFileName { base: stem.to_owned(), failed: None },
        })
    }

    /// Returns the session in the name, which is `SESSION.live-SECONDS` or `SESSION-SECONDS`.
    pub(crate) fn session(&self) -> &str {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let stem = self.base.strip_suffix(".partial").unwrap_or(&self.base);
        match stem.rsplit_once('-') {
            Some((session, seconds)) if is_number(seconds) => session.strip_suffix(".live").unwrap_or(session),
            _ => stem,
        }
    }

    /// Returns the file's name after one more failure, the number of failures, and the time of the next attempt; `None`
    /// if that was the last one.
    pub(crate) fn after_failure(&self, now: UnixMicros) -> Option<(String, u32, UnixMicros)> {
        let attempt = self.failed.map_or(0, |(attempt, _)| attempt) + 1;
        let delay = retry_delay(attempt).filter(|_| attempt <= MAX_RETRIES)?;
        let name = format!("{}.failed-{}-attempt-{attempt}{SUFFIX}", self.base, now.as_seconds());
        Some((name, attempt, now + delay))
    }

    /// Returns the file's name after it was given up on.
    pub(crate) fn after_giving_up(&self, now: UnixMicros) -> String {
        format!("{}.permanent-failed-{}{SUFFIX}", self.base, now.as_seconds())
    }

    /// Returns when the file can be drained; `None` means now. A failure that is more than [`FIRST_RETRY_AFTER`] in the
    /// future, as after the clock was set back, is ignored; one in the near future is that of a later batch, since a
    /// cycle's batches have the time of its start.
    fn due(&self, written: UnixMicros, now: UnixMicros) -> Option<UnixMicros> {
        let (attempt, when) = self.failed?;
        let when = when.unwrap_or(written);
        let due = when + retry_delay(attempt.min(MAX_RETRIES))?;
        (when <= now + FIRST_RETRY_AFTER && due > now).then_some(due)
    }
}

/// Returns the time between a file's failure of this number and the next attempt.
fn retry_delay(attempt: u32) -> Option<Duration> {
    (attempt > 0).then(|| FIRST_RETRY_AFTER * (1 << (attempt - 1).min(MAX_RETRIES)))
}

/// Reads the folder in `store`. Regular files count, symbolic links do not. A folder that does not exist, or is not a
/// directory, is empty.
///
/// # Errors
/// Any error of reading the folder or a file's metadata.
pub(crate) fn read_folder(store: &Path, now: UnixMicros) -> io::Result<SpoolFolder> {
    let folder = store.join(FOLDER);
    let is_folder = |metadata: fs::Metadata| metadata.is_dir();
    match fs::symlink_metadata(&folder).map(is_folder) {
        Ok(true) => {}
        Ok(false) => return Ok(SpoolFolder::default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(SpoolFolder::default()),
        Err(error) => return Err(error),
    }
    let mut found = SpoolFolder::default();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(SpoolFileName::parse) else { continue };
        let metadata = match entry.metadata() {
            Ok(metadata) if metadata.is_file() => metadata,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let written = last_write(&metadata);
        found.names.push(name.base.clone());
        match name.due(written, now) {
            Some(due) => found.next = [found.next, Some(due)].into_iter().flatten().min(),
            None => found.now.push(PendingFile { path: entry.path(), name, written }),
        }
    }
    sort::sort_by(&mut found.now, |a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
    Ok(found)
}

/// Returns when a file was last written to.
pub(crate) fn last_write(metadata: &fs::Metadata) -> UnixMicros {
    UnixMicros::from_seconds(metadata.mtime()) + Duration::from_nanos(metadata.mtime_nsec().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> UnixMicros {
        UnixMicros::from_seconds(seconds)
    }

    #[test]
    fn a_files_name_tells_its_state_and_session() {
        let fresh = |base: &str| Some(SpoolFileName { base: base.into(), failed: None });
        let failed =
            |base: &str, attempt, when| Some(SpoolFileName { base: base.into(), failed: Some((attempt, when)) });
        for (name, want, session) in [
            ("s-1-1700000000.jsonl", fresh("s-1-1700000000"), "s-1"),
            ("s.live-1700000000.jsonl", fresh("s.live-1700000000"), "s"),
            ("s-1700000000.partial.jsonl", fresh("s-1700000000.partial"), "s"),
            ("abc-def.jsonl", fresh("abc-def"), "abc-def"),
            (".jsonl", fresh(""), ""),
            ("s-9.failed-1700-attempt-2.jsonl", failed("s-9", 2, Some(seconds(1700))), "s"),
            ("s-9.failed-20260101T000000-attempt-1.jsonl", failed("s-9", 1, None), "s"),
            ("s-9.failed-1-attempt-x.jsonl", fresh("s-9.failed-1-attempt-x"), "s-9.failed-1-attempt-x"),
            ("s.live.jsonl", None, ""),
            ("s.permanent-failed-1700.jsonl", None, ""),
            ("s.json", None, ""),
            ("s.jsonl.tmp-1", None, ""),
        ] {
            let got = SpoolFileName::parse(name);
            assert_eq!(got, want, "{name}");
            assert_eq!(got.as_ref().map_or("", SpoolFileName::session), session, "{name}");
        }
        for (name, want) in [
            ("s-1.jsonl", Some(SpoolFileKind::Waiting)),
            ("s-9.failed-1700-attempt-2.jsonl", Some(SpoolFileKind::Failed("s-9.jsonl".into()))),
            ("s.live.jsonl", Some(SpoolFileKind::Live)),
            ("s.permanent-failed-1700.jsonl", Some(SpoolFileKind::GivenUp)),
            ("s.jsonl.tmp-1", None),
        ] {
            assert_eq!(kind(name), want, "{name}");
        }
    }

    #[test]
    fn a_failed_file_is_retried_three_times_with_growing_delays() {
        let mut name = SpoolFileName::parse("s-9.jsonl").unwrap();
        let mut now = seconds(1000);
        for (attempt, wait) in [(1, 60), (2, 120), (3, 240)] {
            let (next, count, due) = name.after_failure(now).unwrap();
            assert_eq!(
                (next.as_str(), count),
                (&*format!("s-9.failed-{}-attempt-{attempt}.jsonl", now.as_seconds()), attempt)
            );
            assert_eq!(due, now + Duration::from_secs(wait));
            name = SpoolFileName::parse(&next).unwrap();
            assert_eq!(name.due(seconds(0), now), Some(due));
            assert_eq!(name.due(seconds(0), UnixMicros(due.0 - 1)), Some(due));
            assert_eq!(name.due(seconds(0), due), None);
            let started_before = UnixMicros(now.0 - 300_000);
            assert_eq!(name.due(seconds(0), started_before), Some(due), "a batch with an earlier time");
            assert_eq!(name.due(seconds(0), seconds(0)), None, "the clock was set back");
            now = due;
        }
        assert_eq!(name.after_failure(now), None);
        let last = name.after_giving_up(now);
        assert_eq!(last, format!("s-9.permanent-failed-{}.jsonl", now.as_seconds()));
        assert_eq!(SpoolFileName::parse(&last), None);
        let undated = SpoolFileName::parse("s-9.failed-x-attempt-1.jsonl").unwrap();
        assert_eq!(undated.due(seconds(100), seconds(101)), Some(seconds(160)));
    }

    #[test]
    fn the_oldest_file_comes_first_and_links_are_ignored() {
        let store = tempfile::tempdir().unwrap();
        let now = seconds(4_000_000_000);
        assert!(read_folder(store.path(), now).unwrap().now.is_empty());
        let folder = store.path().join(FOLDER);
        fs::create_dir(&folder).unwrap();
        for (name, age) in [("a.jsonl", 10), ("b.jsonl", 30), ("c.live.jsonl", 20), ("d.jsonl", 20)] {
            let file = fs::File::create(folder.join(name)).unwrap();
            let then = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000 - age);
            file.set_modified(then).unwrap();
        }
        fs::create_dir(folder.join("e.jsonl")).unwrap();
        std::os::unix::fs::symlink(folder.join("c.live.jsonl"), folder.join("f.jsonl")).unwrap();
        fs::write(folder.join("g.failed-3999999950-attempt-1.jsonl"), "").unwrap();
        let found = read_folder(store.path(), now).unwrap();
        let names: Vec<_> = found.now.iter().map(|one| one.name.base.as_str()).collect();
        assert_eq!((names, found.next), (vec!["b", "d", "a"], Some(seconds(4_000_000_010))));
        assert_eq!(found.names.len(), 4);
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&folder, elsewhere.path().join(FOLDER)).unwrap();
        assert!(read_folder(elsewhere.path(), now).unwrap().names.is_empty());
    }
}
