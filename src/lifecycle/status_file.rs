//! `lifecycle_state.json`: the lifecycle's status at the time of the last write, for people and other programs.
//!
//! A start reads the quarantine and the step failures from it, but not the state: every start is in WAKE. Unknown keys
//! are preserved, since they may belong to another version.

use std::io;
use std::path::Path;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lifecycle::atomic_file::AtomicFile;
use crate::lifecycle::state::State;
use crate::lifecycle::unknown_keys::{HasUnknownKeys, UnknownKeys};

/// The file's name in the store's folder.
pub const NAME: &str = "lifecycle_state.json";

/// The file. 64 KiB is many times its size.
const FILE: AtomicFile = AtomicFile { name: NAME, max_bytes: 64 << 10 };

/// Longest error that is kept, in characters.
const ERROR_CHARS: usize = 500;

/// The file's content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LifecycleStatus {
    /// WAKE, DROWSY, SLEEP or HIBERNATION.
    pub current_state: String,
    /// When that state was entered.
    pub since_ts: Option<Timestamp>,
    /// The time of the last request, or of what else woke the daemon.
    pub last_activity_ts: Option<Timestamp>,
    /// Incremented at each write.
    pub wrapper_event_seq: u64,
    /// The progress of the REM cycle; null if none is in progress.
    pub sleep_cycle_progress: Option<CycleProgress>,
    /// The quarantine; null if there is none.
    pub quarantine: Option<Quarantine>,
    /// Always false: transitions are carried out, not only logged.
    pub shadow_run: bool,
    /// Keys of other versions.
    #[serde(skip)]
    pub unknown_keys: UnknownKeys,
}

/// The progress of a REM cycle that is in progress or was interrupted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CycleProgress {
    /// The last completed step.
    pub last_completed_step: Option<String>,
    /// Consecutive failures of the step after it.
    pub attempt: u32,
    /// The step that failed.
    pub failed_step: Option<String>,
    /// Its error, at most 500 characters.
    pub last_error: Option<String>,
    /// When the cycle began.
    pub started_at: Option<Timestamp>,
}

/// A period in which no cycle starts by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Its end.
    pub until_ts: Timestamp,
    /// The reason, as a sentence.
    pub reason: String,
    /// Its beginning.
    pub since_ts: Timestamp,
}

impl Default for LifecycleStatus {
    fn default() -> LifecycleStatus {
        LifecycleStatus {
            current_state: State::Wake.lifecycle_state().into(),
            since_ts: None,
            last_activity_ts: None,
            wrapper_event_seq: 0,
            sleep_cycle_progress: None,
            quarantine: None,
            shadow_run: false,
            unknown_keys: UnknownKeys::default(),
        }
    }
}

impl CycleProgress {
    /// Records the failure of a step, the `times`th in a row.
    pub fn failed(&mut self, step: &str, error: &str, times: u32) {
        self.attempt = times;
        self.failed_step = Some(step.to_owned());
        self.last_error = Some(error.chars().take(ERROR_CHARS).collect());
    }
}

impl HasUnknownKeys for LifecycleStatus {
    fn unknown_keys(&self) -> &UnknownKeys {
        &self.unknown_keys
    }

    fn unknown_keys_mut(&mut self) -> &mut UnknownKeys {
        &mut self.unknown_keys
    }
}

/// Reads the file in `folder`. Returns the default if there is none. A file that does not parse is renamed to
/// `NAME.bad-TIME` with a warning.
pub fn load(folder: &Path, now: SystemTime) -> LifecycleStatus {
    FILE.load(folder, now)
}

/// Writes the file. It is complete and on disk when this returns.
///
/// # Errors
/// Any [`io::Error`] of writing, syncing or renaming the file; the old file is kept then.
pub fn write(folder: &Path, record: &LifecycleStatus) -> io::Result<()> {
    FILE.write(folder, record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;

    #[test]
    fn the_keys_are_those_of_the_python_daemon_and_unknown_keys_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        write(folder.path(), &LifecycleStatus::default()).unwrap();
        let mut text: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let fresh = json!({"current_state": "WAKE", "since_ts": null, "last_activity_ts": null, "wrapper_event_seq": 0,
            "sleep_cycle_progress": null, "quarantine": null, "shadow_run": false});
        assert_eq!(text, fresh);
        text["of_another_version"] = json!([1]);
        text["quarantine"] =
            json!({"until_ts": "2026-05-15T02:00:00Z", "reason": "r", "since_ts": "2026-05-14T02:00:00Z"});
        text["sleep_cycle_progress"] = json!({"last_completed_step": 2, "attempt": 1});
        // A step's number is the Python daemon's: its file is not used at all.
        fs::write(&path, text.to_string()).unwrap();
        assert_eq!(load(folder.path(), SystemTime::UNIX_EPOCH), LifecycleStatus::default());
        assert!(folder.path().join(format!("{NAME}.bad-0")).exists());
        text["sleep_cycle_progress"] = Value::Null;
        fs::write(&path, text.to_string()).unwrap();
        let kept = load(folder.path(), SystemTime::UNIX_EPOCH);
        assert_eq!(kept.quarantine.as_ref().unwrap().reason, "r");
        write(folder.path(), &kept).unwrap();
        let again: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(again["of_another_version"], json!([1]));
    }

    #[test]
    fn two_bad_files_of_one_second_are_both_kept() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{"] {
            fs::write(folder.path().join(NAME), text).unwrap();
            assert_eq!(load(folder.path(), SystemTime::UNIX_EPOCH), LifecycleStatus::default());
        }
        for (name, text) in [("bad-0", ""), ("bad-0-1", "{")] {
            assert_eq!(fs::read_to_string(folder.path().join(format!("{NAME}.{name}"))).unwrap(), text);
        }
    }
}
