//! `logs/lifecycle-events-YYYY-MM-DD.jsonl`: what happened to the daemon, a line an event, a file a day
//! of UTC.
//!
//! It is told what happened and decides nothing. A line that a kill has torn is ended before the next
//! one, so it spoils only itself. Nothing is synced: the journal tells, it promises nothing.
//!
//! What its caller keeps: one process appends, on a thread that may wait for the disk.

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

/// The folder in the store's folder.
const FOLDER: &str = "logs";

const PREFIX: &str = "lifecycle-events-";
const SUFFIX: &str = ".jsonl";

/// Days that a file is kept after its own (the lifecycle's rule).
const KEPT_DAYS: i64 = 30;

/// A day's file takes no more entries from here on. 8 MiB, picked: a cycle every minute is half of it.
const DAY_BYTES: u64 = 8 << 20;

/// Something that happened, under the names of the older daemon's journal where it had them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Entry {
    /// The process serves.
    DaemonStarted {
        /// Its version.
        version: &'static str,
        /// Its process id.
        pid: u32,
    },
    /// The process ends by itself, or was told to.
    DaemonStopped {
        /// Why: `signal` or `hibernation`.
        reason: &'static str,
    },
    /// The machine has moved.
    StateTransition {
        /// Where it was.
        #[serde(serialize_with = "name")]
        from: State,
        /// Where it is.
        #[serde(serialize_with = "name")]
        to: State,
        /// Why, in a word or two with underscores.
        trigger: &'static str,
        /// Somebody asked for it while sleep was paused.
        #[serde(skip_serializing_if = "is_false")]
        while_paused: bool,
    },
    /// A step of the REM cycle has begun.
    SleepStepStarted {
        /// Which.
        step: &'static str,
    },
    /// A step of the REM cycle has ended.
    SleepStepCompleted {
        /// Which.
        step: &'static str,
        /// How long it worked.
        duration_sec: f64,
        /// What it did, by name.
        counts: BTreeMap<&'static str, u64>,
        /// Why it failed, where it did.
        error: Option<String>,
    },
    /// No cycle runs by itself for a while.
    QuarantineEntered {
        /// Why.
        reason: String,
        /// Until when.
        until_ts: Timestamp,
        /// For how long.
        ttl_hours: f64,
    },
    /// Cycles run again.
    QuarantineLifted,
    /// A file of deferred captures is in the store, and gone.
    SpoolDrained {
        /// Its name.
        file: String,
        /// Records that are new.
        inserted: u64,
        /// Texts that were there already.
        reinforced: u64,
        /// Texts that are too short to be kept.
        skipped: u64,
    },
    /// A file of deferred captures could not be read and is tried again.
    SpoolSetAside {
        /// Its name.
        file: String,
        /// How often it failed.
        attempt: u32,
        /// When it is tried again.
        retry_at: Timestamp,
        /// Why.
        reason: String,
    },
    /// A file of deferred captures stays, for somebody to look at: it failed too often, or holds lines that
    /// are no captures.
    SpoolGivenUp {
        /// Its name now.
        file: String,
        /// Why.
        reason: String,
    },
    /// The day's file is full: nothing more of this day is told.
    JournalFull,
}

#[derive(Serialize)]
struct Line<'e> {
    ts: Timestamp,
    #[serde(flatten)]
    entry: &'e Entry,
}

/// Appends entries to the journal in the store's `folder`. The first ones of a day remove what is
/// too old.
///
/// # Errors
/// The system's. Of the entries any number may be there then, the last one torn.
pub fn append(folder: &Path, now: Timestamp, entries: &[Entry]) -> io::Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let logs = folder.join(FOLDER);
    private_dir::create(&logs)?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let (mut file, is_new) = open(&path(folder, today))?;
    let length = file.metadata()?.len();
    if length >= DAY_BYTES {
        return Ok(());
    }
    let mut text = Vec::new();
    if length > 0 && last_byte(&mut file)? != b'\n' {
        text.push(b'\n');
    }
    for entry in entries {
        line(&mut text, now, entry)?;
    }
    if length + text.len() as u64 >= DAY_BYTES {
        line(&mut text, now, &Entry::JournalFull)?;
    }
    // At once, so that lines are not torn but by a kill or a full disk.
    file.write_all(&text)?;
    if is_new {
        remove_older(folder, today)?;
    }
    Ok(())
}

/// The file of a day.
pub fn path(folder: &Path, day: Date) -> PathBuf {
    folder.join(FOLDER).join(format!("{PREFIX}{day}{SUFFIX}"))
}

/// The days that have a file, the oldest first; none where there is no folder.
///
/// # Errors
/// The system's.
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
        // Only as we write it: other spellings of a date are other files.
        days.extend(day.and_then(|day| day.parse::<Date>().ok().filter(|date| date.to_string() == day)));
    }
    days.sort_unstable();
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

/// The file, and whether it was made now.
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
        return Err(io::Error::other(format!("{} is no plain file: move it away", path.display())));
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
    fn an_entry_is_a_line_of_its_day() {
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
    fn a_torn_line_spoils_only_itself() {
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
    fn a_new_day_removes_what_is_too_old() {
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
        // No new day, nothing removed.
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
    fn neither_a_link_nor_a_pipe_is_written_to() {
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
    fn a_day_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let now = at("2026-01-01T12:00:00Z");
        let file = path(folder.path(), "2026-01-01".parse().unwrap());
        append(folder.path(), now, &[Entry::QuarantineLifted]).unwrap();
        let mut text = vec![b' '; DAY_BYTES as usize - 10];
        text.push(b'\n');
        fs::write(&file, &text).unwrap();
        append(folder.path(), now, &[Entry::QuarantineLifted]).unwrap();
        let full = fs::read_to_string(&file).unwrap();
        assert!(full.ends_with("\"event\":\"journal_full\"}\n"));
        append(folder.path(), now, &[Entry::QuarantineLifted]).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().len(), full.len() as u64);
    }
}
