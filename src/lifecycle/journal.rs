//! `logs/lifecycle-events-YYYY-MM-DD.jsonl`: the lifecycle journal, one line per event and one file per day of UTC.
//!
//! Best effort: nothing is synced. A line that a kill left incomplete is ended before the next one, so only that line
//! is lost.
//!
//! Caller's contract: one process appends, on a thread that may wait for the disk.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Serialize, Serializer};

use crate::lifecycle::private_dir;
use crate::lifecycle::state::State;
use crate::sort;

/// The folder in the store's folder.
const FOLDER: &str = "logs";

const PREFIX: &str = "lifecycle-events-";
const SUFFIX: &str = ".jsonl";

/// Days that a file is kept after its own day (the lifecycle's rule).
const KEPT_DAYS: i64 = 30;

/// Size from which a day's file takes no more entries. 8 MiB, picked: twice that of a cycle every minute.
const MAX_DAY_BYTES: u64 = 8 << 20;

/// An event. The names are those of the Python daemon's journal where it has them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// The process has started.
    DaemonStarted {
        /// Its version.
        version: &'static str,
        /// Its process id.
        pid: u32,
    },
    /// The process is about to exit.
    DaemonStopped {
        /// `signal` or `hibernation`.
        reason: &'static str,
    },
    /// The state has changed.
    StateTransition {
        /// The old state.
        #[serde(serialize_with = "name")]
        from: State,
        /// The new state.
        #[serde(serialize_with = "name")]
        to: State,
        /// The trigger's name.
        trigger: &'static str,
        /// A command to sleep was carried out while sleep was paused.
        #[serde(skip_serializing_if = "is_false")]
        while_paused: bool,
    },
    /// A step of the REM cycle has begun.
    SleepStepStarted {
        /// The step's name.
        step: &'static str,
    },
    /// A step of the REM cycle has ended.
    SleepStepCompleted {
        /// The step's name.
        step: &'static str,
        /// Its run time in seconds.
        duration_sec: f64,
        /// Counts of what it did, by name.
        counts: BTreeMap<&'static str, u64>,
        /// The error, if it failed.
        error: Option<String>,
    },
    /// No cycle starts by itself until the quarantine ends.
    QuarantineEntered {
        /// The reason, as a sentence.
        reason: String,
        /// The end of the quarantine.
        until_ts: Timestamp,
        /// Its length in hours.
        ttl_hours: f64,
    },
    /// Cycles start by themselves again.
    QuarantineLifted,
    /// A file of deferred captures was stored and removed.
    SpoolDrained {
        /// Its name.
        file: String,
        /// New records.
        inserted: u64,
        /// Texts that were in the store already.
        reinforced: u64,
        /// Texts that are white space alone.
        skipped: u64,
    },
    /// A file of deferred captures could not be drained and will be retried.
    SpoolSetAside {
        /// Its name.
        file: String,
        /// Failures so far.
        attempt: u32,
        /// The time of the next attempt.
        retry_at: Timestamp,
        /// The error.
        reason: String,
    },
    /// A file of deferred captures is kept for inspection: it failed too often, or has lines that are not captures.
    SpoolGivenUp {
        /// Its new name.
        file: String,
        /// The error.
        reason: String,
    },
    /// The day's file is full: further entries of the day are dropped.
    JournalFull,
}

#[derive(Serialize)]
struct Line<'e> {
    ts: Timestamp,
    #[serde(flatten)]
    entry: &'e Entry,
}

/// Appends entries to the journal in the store's `folder`. The first entries of a day remove the files that are too
/// old. Entries beyond a day's maximum size are dropped.
///
/// # Errors
/// Any [`io::Error`] of creating the folder or of writing the file, and [`io::ErrorKind::Other`] if something else has
/// its name. Any number of the entries may be in the file then, the last one incomplete.
pub fn append(folder: &Path, now: Timestamp, entries: &[Entry]) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let logs = folder.join(FOLDER);
    private_dir::create(&logs)?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let (mut file, is_new) = open(&path(folder, today))?;
    let length = file.metadata()?.len();
    if length >= MAX_DAY_BYTES {
        return Ok(());
    }
    let mut text = Vec::new();
    if length > 0 && last_byte(&mut file)? != b'\n' {
        text.push(b'\n');
    }
    for entry in entries {
        line(&mut text, now, entry)?;
    }
    if length + text.len() as u64 >= MAX_DAY_BYTES {
        line(&mut text, now, &Entry::JournalFull)?;
    }
    // In one write, so that only a kill or a full disk leaves an incomplete line.
    file.write_all(&text)?;
    if is_new {
        remove_older(folder, today)?;
    }
    Ok(())
}

/// Returns the path of a day's file.
pub fn path(folder: &Path, day: Date) -> PathBuf {
    folder.join(FOLDER).join(format!("{PREFIX}{day}{SUFFIX}"))
}

/// Returns the days that have a file, the oldest first; none if there is no folder.
///
/// # Errors
/// Any [`io::Error`] of reading the folder, and [`io::ErrorKind::Other`] if it is not a directory.
pub fn days(folder: &Path) -> io::Result<Vec<Date>> {
    let logs = folder.join(FOLDER);
    if !private_dir::exists(&logs)? {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(logs)?;
    let mut days = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let day = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX));
        // Other spellings of a date belong to other programs.
        days.extend(day.and_then(|day| day.parse::<Date>().ok().filter(|date| date.to_string() == day)));
    }
    sort::sort_by_key(&mut days, |day| *day);
    Ok(days)
}

fn remove_older(folder: &Path, today: Date) -> io::Result<()> {
    let oldest = today.saturating_sub(KEPT_DAYS.days());
    for day in days(folder)?.into_iter().filter(|day| *day < oldest) {
        let old = path(folder, day);
        if let Err(e) = fs::remove_file(&old) {
            log::warn!("{} is older than {KEPT_DAYS} days and cannot be removed: {e}", old.display());
        }
    }
    Ok(())
}

fn line(text: &mut Vec<u8>, ts: Timestamp, entry: &Entry) -> io::Result<()> {
    serde_json::to_writer(&mut *text, &Line { ts, entry })?;
    text.push(b'\n');
    Ok(())
}

/// Opens a day's file. Returns true with it if it was created.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.clone().create_new(true).open(path) {
        Ok(file) => {
            file.set_permissions(Permissions::from_mode(0o600))?;
            return Ok((file, true));
        }
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(e),
    }
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other(format!("{} is not a regular file: move it away", path.display())));
    }
    Ok((file, false))
}

fn last_byte(file: &mut File) -> io::Result<u8> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}

fn name<S: Serializer>(state: &State, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(state.name())
}

fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder.join(FOLDER))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn an_entry_is_a_line_in_the_file_of_its_day() {
        let folder = tempfile::tempdir().unwrap();
        let moved = |while_paused| Entry::StateTransition {
            from: State::Wake,
            to: State::Transitioning,
            trigger: "asked_to_sleep",
            while_paused,
        };
        let entries = [
            moved(false),
            moved(true),
            Entry::SleepStepStarted { step: "decay" },
            Entry::SleepStepCompleted {
                step: "decay",
                duration_sec: 0.25,
                counts: [("pruned", 3), ("decayed", 1)].into(),
                error: None,
            },
            Entry::QuarantineEntered { reason: "why".into(), until_ts: at("2026-01-02T00:00:00Z"), ttl_hours: 24.0 },
            Entry::QuarantineLifted,
            Entry::SpoolGivenUp { file: "a\nb".into(), reason: "why".into() },
        ];
        append(folder.path(), at("2026-01-01T23:59:59.9Z"), &entries).unwrap();
        append(folder.path(), at("2026-01-02T00:00:00Z"), &entries[..1]).unwrap();
        append(folder.path(), at("2026-01-03T00:00:00Z"), &[]).unwrap();
        let of = |day: &str| fs::read_to_string(path(folder.path(), day.parse().unwrap())).unwrap();
        assert_eq!(
            of("2026-01-01"),
            r#"{"ts":"2026-01-01T23:59:59.9Z","event":"state_transition","from":"WAKE","to":"TRANSITIONING","trigger":"asked_to_sleep"}
{"ts":"2026-01-01T23:59:59.9Z","event":"state_transition","from":"WAKE","to":"TRANSITIONING","trigger":"asked_to_sleep","while_paused":true}
{"ts":"2026-01-01T23:59:59.9Z","event":"sleep_step_started","step":"decay"}
{"ts":"2026-01-01T23:59:59.9Z","event":"sleep_step_completed","step":"decay","duration_sec":0.25,"counts":{"decayed":1,"pruned":3},"error":null}
{"ts":"2026-01-01T23:59:59.9Z","event":"quarantine_entered","reason":"why","until_ts":"2026-01-02T00:00:00Z","ttl_hours":24.0}
{"ts":"2026-01-01T23:59:59.9Z","event":"quarantine_lifted"}
{"ts":"2026-01-01T23:59:59.9Z","event":"spool_given_up","file":"a\nb","reason":"why"}
"#
        );
        assert_eq!(of("2026-01-02").lines().count(), 1);
        assert_eq!(names(folder.path()).len(), 2);
        assert_eq!(mode(&folder.path().join(FOLDER)), 0o700);
        assert_eq!(mode(&path(folder.path(), "2026-01-01".parse().unwrap())), 0o600);
    }

    #[test]
    fn an_incomplete_line_does_not_affect_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-01-01T12:00:00Z");
        let file = path(folder.path(), "2026-01-01".parse().unwrap());
        append(folder.path(), now, &[Entry::QuarantineLifted, Entry::QuarantineLifted]).unwrap();
        let whole = fs::read(&file).unwrap();
        for cut in 0..whole.len() {
            fs::write(&file, &whole[..cut]).unwrap();
            append(folder.path(), now, &[Entry::QuarantineLifted]).unwrap();
            let text = fs::read_to_string(&file).unwrap();
            let last = text.lines().last().unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(last).is_ok(), "cut at {cut}: {last}");
            assert!(text.ends_with('\n') && !text.contains("\n\n"), "cut at {cut}: {text:?}");
        }
    }

    #[test]
    fn the_first_entry_of_a_day_removes_files_that_are_too_old() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join(FOLDER);
        append(folder.path(), at("2026-03-01T00:00:00Z"), &[Entry::QuarantineLifted]).unwrap();
        let there = [
            "lifecycle-events-2025-01-01.jsonl",
            "lifecycle-events-2026-01-31.jsonl",
            "lifecycle-events-2026-02-01.jsonl",
            "lifecycle-events-20260101.jsonl",
            "lifecycle-events-2026-01-01.jsonl.gz",
            "capture-2026-01-01.log",
        ];
        for name in there {
            fs::write(logs.join(name), "").unwrap();
        }
        // The same day removes nothing.
        append(folder.path(), at("2026-03-01T12:00:00Z"), &[Entry::QuarantineLifted]).unwrap();
        assert_eq!(names(folder.path()).len(), there.len() + 1);
        append(folder.path(), at("2026-03-03T00:00:00Z"), &[Entry::QuarantineLifted]).unwrap();
        assert_eq!(
            names(folder.path()),
            [
                "capture-2026-01-01.log",
                "lifecycle-events-2026-01-01.jsonl.gz",
                "lifecycle-events-2026-02-01.jsonl",
                "lifecycle-events-2026-03-01.jsonl",
                "lifecycle-events-2026-03-03.jsonl",
                "lifecycle-events-20260101.jsonl",
            ]
        );
        let days: Vec<_> = days(folder.path()).unwrap().iter().map(Date::to_string).collect();
        assert_eq!(days, ["2026-02-01", "2026-03-01", "2026-03-03"]);
    }

    #[test]
    fn links_and_directories_are_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-01-01T12:00:00Z");
        let file = path(folder.path(), "2026-01-01".parse().unwrap());
        assert_eq!(days(folder.path()).unwrap(), []);
        private_dir::create(file.parent().unwrap()).unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "theirs").unwrap();
        std::os::unix::fs::symlink(&target, &file).unwrap();
        assert!(append(folder.path(), now, &[Entry::QuarantineLifted]).is_err());
        assert_eq!(fs::read(&target).unwrap(), b"theirs");
        fs::remove_file(&file).unwrap();
        fs::create_dir(&file).unwrap();
        assert!(append(folder.path(), now, &[Entry::QuarantineLifted]).is_err());
        assert!(append(&folder.path().join("absent"), now, &[Entry::QuarantineLifted]).is_err());
    }

    #[test]
    fn a_full_file_takes_no_more_entries() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-01-01T12:00:00Z");
        let file = path(folder.path(), "2026-01-01".parse().unwrap());
        append(folder.path(), now, &[Entry::QuarantineLifted]).unwrap();
        let mut text = vec![b' '; MAX_DAY_BYTES as usize - 10];
        text.push(b'\n');
        fs::write(&file, &text).unwrap();
        append(folder.path(), now, &[Entry::QuarantineLifted]).unwrap();
        let full = fs::read_to_string(&file).unwrap();
        assert!(full.ends_with("\"event\":\"journal_full\"}\n"));
        append(folder.path(), now, &[Entry::QuarantineLifted]).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), full.len() as u64);
    }
}
