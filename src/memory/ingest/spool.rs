//! `.deferred-captures`: the folder in which hooks leave what they could not hand over, and what the
//! names of its files say. What is in a file is `drain.rs`'s business.
//!
//! | name | what |
//! |---|---|
//! | `NAME.live.jsonl` | is being written: nobody else's |
//! | `NAME.jsonl` | to be taken in |
//! | `NAME.failed-SECONDS-attempt-N.jsonl` | failed N times, the last time then; to be tried again |
//! | `NAME.permanent-failed-SECONDS.jsonl` | failed too often, or holds lines that are none: stays |
//!
//! A file: `{"version":1,"session_id":…,"deferred_at":…,"cwd":…}`, then a line a text with the params of
//! `memory_capture`; what a line does not say the first one does.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use crate::memory::model::time::{MICROS_PER_SECOND, UnixMicros};
use crate::memory::sort;

/// The folder in the store's folder.
pub const FOLDER: &str = ".deferred-captures";

/// The version of the files that are read and written.
pub const VERSION: u64 = 1;

/// What a file that is still being written ends in.
pub const LIVE: &str = ".live.jsonl";

const SUFFIX: &str = ".jsonl";

/// Time until the first retry; each further one waits twice as long.
const FIRST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Retries before a file is given up on.
const RETRIES: u32 = 3;

/// What a file's name says of it, to who looks at the folder from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolFileKind {
    /// It is still being written.
    Live,
    /// It is to be taken in.
    Waiting,
    /// It has failed. Under this name it is tried again at once.
    Failed(String),
    /// It is nobody's to try again: somebody has to look at it.
    GivenUp,
}

/// What this name says; `None` where it is no name of the folder's.
pub fn kind(name: &str) -> Option<SpoolFileKind> {
    name.strip_suffix(SUFFIX)?;
    Some(match SpoolFileName::read(name) {
        Some(SpoolFileName { base, failed: Some(_) }) => SpoolFileKind::Failed(base + SUFFIX),
        Some(_) => SpoolFileKind::Waiting,
        None if name.ends_with(LIVE) => SpoolFileKind::Live,
        None => SpoolFileKind::GivenUp,
    })
}

/// A file's name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SpoolFileName {
    /// Without what its failures have added.
    pub(crate) base: String,
    /// How often it has failed, and when the last time was, where that can be read.
    pub(crate) failed: Option<(u32, Option<UnixMicros>)>,
}

/// A file to be taken in.
#[derive(Clone, Debug)]
pub(crate) struct PendingFile {
    pub(crate) path: PathBuf,
    pub(crate) name: SpoolFileName,
    /// When it was written to last.
    pub(crate) written: UnixMicros,
}

/// What there is in the folder.
#[derive(Clone, Debug, Default)]
pub(crate) struct Folder {
    /// What can be taken in now, the oldest first.
    pub(crate) now: Vec<PendingFile>,
    /// When the next one can be.
    pub(crate) next: Option<UnixMicros>,
    /// All that are to be taken in at some time, without what their failures have added.
    pub(crate) names: Vec<String>,
}

impl SpoolFileName {
    /// `None` for what is not to be taken in.
    pub(crate) fn read(name: &str) -> Option<SpoolFileName> {
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

    /// The session that its writer named it after: `SESSION.live-SECONDS` or `SESSION-SECONDS`.
    pub(crate) fn session(&self) -> &str {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let stem = self.base.strip_suffix(".partial").unwrap_or(&self.base);
        match stem.rsplit_once('-') {
            Some((session, seconds)) if is_number(seconds) => session.strip_suffix(".live").unwrap_or(session),
            _ => stem,
        }
    }

    /// What it is called after one more failure, and when it is tried again; `None` where it has failed
    /// too often.
    pub(crate) fn failed_again(&self, now: UnixMicros) -> Option<(String, u32, UnixMicros)> {
        let attempt = self.failed.map_or(0, |(attempt, _)| attempt) + 1;
        let wait = wait(attempt).filter(|_| attempt <= RETRIES)?;
        let name = format!("{}.failed-{}-attempt-{attempt}{SUFFIX}", self.base, now.as_seconds());
        Some((name, attempt, now + wait))
    }

    /// What it is called once it is given up on.
    pub(crate) fn given_up(&self, now: UnixMicros) -> String {
        format!("{}.permanent-failed-{}{SUFFIX}", self.base, now.as_seconds())
    }

    /// When it can be taken in; `None` is at once. A failure in the future, as after a clock was set
    /// back, is no reason to wait.
    fn due(&self, written: UnixMicros, now: UnixMicros) -> Option<UnixMicros> {
        let (attempt, when) = self.failed?;
        let when = when.unwrap_or(written);
        let due = when + wait(attempt.min(RETRIES))?;
        (when <= now && due > now).then_some(due)
    }
}

/// Time until a file that has failed so often is tried again.
fn wait(attempt: u32) -> Option<Duration> {
    (attempt > 0).then(|| FIRST_RETRY_AFTER * (1 << (attempt - 1).min(RETRIES)))
}

/// Looks at the folder in the `store`'s folder. Plain files count, and no links. A folder that is not
/// there is empty.
///
/// # Errors
/// The system's.
pub(crate) fn look(store: &Path, now: UnixMicros) -> io::Result<Folder> {
    let folder = store.join(FOLDER);
    let is_folder = |about: fs::Metadata| about.is_dir();
    match fs::symlink_metadata(&folder).map(is_folder) {
        Ok(true) => {}
        Ok(false) => return Ok(Folder::default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Folder::default()),
        Err(error) => return Err(error),
    }
    let mut found = Folder::default();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(SpoolFileName::read) else { continue };
        let about = match entry.metadata() {
            Ok(about) if about.is_file() => about,
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let written = written(&about);
        found.names.push(name.base.clone());
        match name.due(written, now) {
            Some(due) => found.next = [found.next, Some(due)].into_iter().flatten().min(),
            None => found.now.push(PendingFile { path: entry.path(), name, written }),
        }
    }
    sort::sort_by(&mut found.now, |a, b| (a.written, &a.path).cmp(&(b.written, &b.path)));
    Ok(found)
}

/// When a file was written to last.
pub(crate) fn written(about: &fs::Metadata) -> UnixMicros {
    UnixMicros::from_seconds(about.mtime()) + Duration::from_nanos(about.mtime_nsec().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: i64) -> UnixMicros {
        UnixMicros::from_seconds(seconds)
    }

    #[test]
    fn a_name_says_what_became_of_a_file() {
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
            let got = SpoolFileName::read(name);
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
    fn a_failure_waits_and_the_fourth_is_the_last() {
        let mut name = SpoolFileName::read("s-9.jsonl").unwrap();
        let mut now = seconds(1000);
        for (attempt, wait) in [(1, 60), (2, 120), (3, 240)] {
            let (next, count, due) = name.failed_again(now).unwrap();
            assert_eq!(
                (next.as_str(), count),
                (&*format!("s-9.failed-{}-attempt-{attempt}.jsonl", now.as_seconds()), attempt)
            );
            assert_eq!(due, now + Duration::from_secs(wait));
            name = SpoolFileName::read(&next).unwrap();
            assert_eq!(name.due(seconds(0), now), Some(due));
            assert_eq!(name.due(seconds(0), UnixMicros(due.0 - 1)), Some(due));
            assert_eq!(name.due(seconds(0), due), None);
            assert_eq!(name.due(seconds(0), seconds(0)), None, "the clock was set back");
            now = due;
        }
        assert_eq!(name.failed_again(now), None);
        let last = name.given_up(now);
        assert_eq!(last, format!("s-9.permanent-failed-{}.jsonl", now.as_seconds()));
        assert_eq!(SpoolFileName::read(&last), None);
        let undated = SpoolFileName::read("s-9.failed-x-attempt-1.jsonl").unwrap();
        assert_eq!(undated.due(seconds(100), seconds(101)), Some(seconds(160)));
    }

    #[test]
    fn the_oldest_come_first_and_links_never() {
        let store = tempfile::tempdir().unwrap();
        let now = seconds(4_000_000_000);
        assert!(look(store.path(), now).unwrap().now.is_empty());
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
        let found = look(store.path(), now).unwrap();
        let names: Vec<_> = found.now.iter().map(|one| one.name.base.as_str()).collect();
        assert_eq!((names, found.next), (vec!["b", "d", "a"], Some(seconds(4_000_000_010))));
        assert_eq!(found.names.len(), 4);
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&folder, elsewhere.path().join(FOLDER)).unwrap();
        assert!(look(elsewhere.path(), now).unwrap().names.is_empty());
    }
}
