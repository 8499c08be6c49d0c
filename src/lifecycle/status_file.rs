//! `lifecycle_state.json`: how the daemon was when it was written, for people and for other programs.
//!
//! A start reads of it what must not be forgotten, a quarantine and the failures before one, and never
//! the state: any start is a WAKE. Keys that are not ours are kept: another version may want them.

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

/// Many times what it comes to.
const FILE: AtomicFile = AtomicFile { name: NAME, max_bytes: 64 << 10 };

/// Longest error that is kept, in characters.
const ERROR_CHARS: usize = 500;

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LifecycleStatus {
    /// WAKE, DROWSY, SLEEP or HIBERNATION.
    pub current_state: String,
    /// Since when.
    pub since_ts: Option<Timestamp>,
    /// The last request, or what else woke it.
    pub last_activity_ts: Option<Timestamp>,
    /// Counts up with each write.
    pub wrapper_event_seq: u64,
    /// How far the REM cycle is; null where none is under way.
    pub sleep_cycle_progress: Option<CycleProgress>,
    /// Why no cycle runs by itself; null where nothing hinders it.
    pub quarantine: Option<Quarantine>,
    /// Always false: it does what it says.
    pub shadow_run: bool,
    /// What other versions keep here.
    #[serde(skip)]
    pub unknown_keys: UnknownKeys,
}

/// A REM cycle that is under way or was cut short.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CycleProgress {
    /// The last step that is done.
    pub last_completed_step: Option<String>,
    /// How often the step behind that failed in a row.
    pub attempt: u32,
    /// The step that failed.
    pub failed_step: Option<String>,
    /// Why.
    pub last_error: Option<String>,
    /// When the cycle began.
    pub started_at: Option<Timestamp>,
}

/// No cycle runs by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Until then.
    pub until_ts: Timestamp,
    /// Why.
    pub reason: String,
    /// Since then.
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
    /// A step has failed so often in a row.
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

/// Reads it, or the defaults where there is none. A file that cannot be read as one is set aside as
/// `NAME.bad-TIME` with a warning.
pub fn load(folder: &Path, now: SystemTime) -> LifecycleStatus {
    FILE.load(folder, now)
}

/// Writes it so that it is on disk, whole, when this returns.
///
/// # Errors
/// The system's; the old file is then still there.
pub fn write(folder: &Path, record: &LifecycleStatus) -> io::Result<()> {
    FILE.write(folder, record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::fs;

    #[test]
    fn the_keys_are_those_of_the_older_daemon_and_others_stay() {
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
        // A step by its number is the older daemon's: its file as a whole is not ours to believe.
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
