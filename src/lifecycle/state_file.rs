//! `.daemon-state.json`: pending commands and other state that survives a restart.
//!
//! Unknown keys are preserved, since they may belong to another version.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lifecycle::atomic_file::AtomicFile;
use crate::lifecycle::state::Command;
use crate::lifecycle::unknown_keys::{HasUnknownKeys, UnknownKeys};

/// The file's name in the store's folder.
pub const NAME: &str = ".daemon-state.json";

/// Age at which a pending command is dropped at a start (the lifecycle's rule).
const EXPIRES_AFTER: Duration = Duration::from_secs(600);

/// Most pending first turns. Picked: more sessions than a user opens in an hour.
const MAX_FIRST_TURN_COUNT: usize = 256;

/// Age at which a pending first turn is dropped.
const FIRST_TURN_KEPT: Duration = Duration::from_secs(3600);

/// The file. 1 MiB is many times the size with [`MAX_FIRST_TURN_COUNT`] of the longest ids.
const FILE: AtomicFile = AtomicFile { name: NAME, max_bytes: 1 << 20 };

/// Longest reason for a sleep that is stored, in characters.
const REASON_CHARS: usize = 500;

/// Longest date of a client that is stored, in characters: twice the longest RFC 3339 date.
const TS_CHARS: usize = 64;

/// Longest session id that is stored, in characters.
const SESSION_ID_CHARS: usize = 128;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonState {
    /// When the daemon that wrote this started.
    pub daemon_started_at: Option<Timestamp>,
    /// The last tick before the file was written.
    pub last_tick_at: Option<Timestamp>,
    /// Only commands lead to sleep.
    pub scheduler_paused: bool,
    /// The learned quiet window: `[first half-hour, count of half-hours]`.
    pub quiet_window: Option<(u8, u8)>,
    /// Totals of the REM cycles since the last digest, when the file was written.
    pub pending_digest: Option<Digest>,
    /// The last `user_initiated_sleep`.
    pub user_sleep_request: Option<CommandRecord>,
    /// The last `force_wake`.
    pub force_wake_request: Option<CommandRecord>,
    /// The last `force_rem`.
    pub force_rem_request: Option<CommandRecord>,
    /// Sessions without a recall yet, and when they were opened.
    pub first_turn_pending: BTreeMap<String, Timestamp>,
    /// When the last session was opened.
    pub last_session_open: Option<Timestamp>,
    /// Keys of other versions.
    #[serde(skip)]
    pub unknown_keys: UnknownKeys,
}

/// A command of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandRecord {
    /// The client's reason, if it gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The client's date, as it was sent.
    pub ts: String,
    /// When the daemon received it.
    pub asked_at: Timestamp,
    /// It has not been carried out or dropped yet.
    pub pending: bool,
    /// When it was carried out or dropped.
    #[serde(default)]
    pub honored_at: Option<Timestamp>,
}

/// The four counters that `status` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Digest {
    /// Finished REM cycles.
    pub rem_cycles_completed: u64,
    /// Records that they examined.
    pub episodes_processed: u64,
    /// Patterns that they found.
    pub schemas_induced_tier0: u64,
    /// Always false: no model is called.
    pub claude_call_used: bool,
}

/// A requested change of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// `user_initiated_sleep`
    Sleep {
        /// The client's reason.
        reason: String,
        /// The client's date.
        ts: String,
    },
    /// `force_wake`
    Wake {
        /// The client's date.
        ts: String,
    },
    /// `force_rem`
    Rem {
        /// The client's date.
        ts: String,
    },
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `session_open`
    SessionOpen {
        /// The session, if the client names it.
        session_id: Option<String>,
        /// Its context begins now; otherwise the client joins it.
        is_start: bool,
    },
    /// From the lifecycle: the command is no longer pending.
    CommandDone(Command),
    /// From the lifecycle: a REM cycle has ended, so `pending_digest` has changed.
    CycleEnded,
    /// From the memory: all records of these sessions were forgotten.
    SessionsForgotten(Vec<String>),
    /// From the lifecycle: the quiet window was learned, as (first half-hour, count of half-hours).
    QuietWindow(Option<(u8, u8)>),
}

impl DaemonState {
    /// Applies a change that was requested at `now`.
    pub fn apply(&mut self, change: &StateChange, now: Timestamp) {
        let request = |reason: Option<&str>, ts: &str| {
            Some(CommandRecord {
                reason: reason.map(|reason| cut(reason, REASON_CHARS)),
                ts: cut(ts, TS_CHARS),
                asked_at: now,
                pending: true,
                honored_at: None,
            })
        };
        match change {
            StateChange::Sleep { reason, ts } => self.user_sleep_request = request(Some(reason), ts),
            StateChange::Wake { ts } => self.force_wake_request = request(None, ts),
            StateChange::Rem { ts } => self.force_rem_request = request(None, ts),
            StateChange::Pause => self.scheduler_paused = true,
            StateChange::Resume => self.scheduler_paused = false,
            StateChange::SessionOpen { session_id, .. } => {
                self.last_session_open = Some(now);
                if let Some(id) = session_id {
                    self.first_turn_pending.insert(cut(id, SESSION_ID_CHARS), now);
                    self.forget_first_turns(now);
                }
            }
            StateChange::CommandDone(command) => {
                let request = match command {
                    Command::Sleep => &mut self.user_sleep_request,
                    Command::Wake => &mut self.force_wake_request,
                    Command::Rem => &mut self.force_rem_request,
                };
                if let Some(request) = request {
                    request.pending = false;
                    request.honored_at = Some(now);
                }
            }
            StateChange::CycleEnded => {}
            StateChange::SessionsForgotten(sessions) => {
                for id in sessions {
                    self.first_turn_pending.remove(&cut(id, SESSION_ID_CHARS));
                }
            }
            StateChange::QuietWindow(window) => self.quiet_window = *window,
        }
    }

    /// Returns the pending commands.
    pub fn pending(&self) -> Vec<Command> {
        let commands = [
            (&self.user_sleep_request, Command::Sleep),
            (&self.force_wake_request, Command::Wake),
            (&self.force_rem_request, Command::Rem),
        ];
        let pending =
            |(request, ask): (&Option<CommandRecord>, _)| request.as_ref().filter(|one| one.pending).map(|_| ask);
        commands.into_iter().filter_map(pending).collect()
    }

    /// Drops the commands and first turns that have expired, at a start.
    pub fn drop_expired(&mut self, now: Timestamp) {
        let fresh = |request: &CommandRecord| is_within(request.asked_at, now, EXPIRES_AFTER);
        for request in [&mut self.user_sleep_request, &mut self.force_wake_request, &mut self.force_rem_request] {
            *request = request.take().filter(fresh);
        }
        self.forget_first_turns(now);
    }

    fn forget_first_turns(&mut self, now: Timestamp) {
        self.first_turn_pending.retain(|_, since| is_within(*since, now, FIRST_TURN_KEPT));
        while self.first_turn_pending.len() > MAX_FIRST_TURN_COUNT {
            let oldest = self.first_turn_pending.iter().min_by_key(|(_, since)| **since).map(|(id, _)| id.clone());
            oldest.and_then(|id| self.first_turn_pending.remove(&id));
        }
    }
}

impl HasUnknownKeys for DaemonState {
    fn unknown_keys(&self) -> &UnknownKeys {
        &self.unknown_keys
    }

    fn unknown_keys_mut(&mut self) -> &mut UnknownKeys {
        &mut self.unknown_keys
    }
}

/// Reads the file in `folder`. Returns the default if there is none. A file that does not parse is renamed to
/// `NAME.bad-TIME` with a warning.
pub fn load(folder: &Path, now: SystemTime) -> DaemonState {
    FILE.load(folder, now)
}

/// Writes the file. It is complete and on disk when this returns.
///
/// # Errors
/// Any [`io::Error`] of writing, syncing or renaming the file; the old file is kept then.
pub fn write(folder: &Path, state: &DaemonState) -> io::Result<()> {
    FILE.write(folder, state)
}

/// Returns true if `then` is at most `span` before `now`. A time in the future, as after a clock was set back, counts as
/// now.
fn is_within(then: Timestamp, now: Timestamp, span: Duration) -> bool {
    now.duration_since(then).unsigned_abs() <= span || then > now
}

fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::unknown_keys;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn changes_survive_a_write_and_a_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut state: DaemonState = unknown_keys::parse(b"{\"claude_enabled\":false}").unwrap();
        assert_eq!(state.unknown_keys.text("claude_enabled"), Some("false"));
        for ask in [
            StateChange::Sleep { reason: "ä".repeat(600), ts: "t".into() },
            StateChange::Wake { ts: "t".into() },
            StateChange::Rem { ts: "t".into() },
            StateChange::Pause,
            StateChange::SessionOpen { session_id: Some("s".repeat(200)), is_start: true },
        ] {
            state.apply(&ask, at(1000));
        }
        assert_eq!(state.user_sleep_request.as_ref().unwrap().reason.as_ref().unwrap().chars().count(), 500);
        assert_eq!(state.first_turn_pending.keys().next().unwrap().len(), 128);
        write(folder.path(), &state).unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(load(folder.path(), SystemTime::now()), state);
        state.apply(&StateChange::Resume, at(1001));
        write(folder.path(), &state).unwrap();
        assert!(!load(folder.path(), SystemTime::now()).scheduler_paused);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_does_not_parse_is_set_aside() {
        for text in [&b""[..], b"{", b"[]", b"{\"scheduler_paused\":3}", b"\xff", &vec![b' '; 2 << 20]] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(NAME), text).unwrap();
            assert_eq!(load(folder.path(), SystemTime::UNIX_EPOCH), DaemonState::default());
            assert_eq!(fs::read(folder.path().join(format!("{NAME}.bad-0"))).unwrap(), text);
        }
    }

    #[test]
    fn a_link_is_not_followed_and_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "{\"scheduler_paused\":true}").unwrap();
        std::os::unix::fs::symlink(&target, folder.path().join(NAME)).unwrap();
        fs::write(folder.path().join(format!("{NAME}.tmp-1")), "half").unwrap();
        assert!(!load(folder.path(), SystemTime::UNIX_EPOCH).scheduler_paused);
        write(folder.path(), &DaemonState::default()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "{\"scheduler_paused\":true}");
        assert!(!folder.path().join(format!("{NAME}.tmp-1")).exists());
    }

    #[test]
    fn expired_commands_and_first_turns_are_dropped() {
        for (now, kept) in [(1000, true), (1600, true), (1601, false), (900, true)] {
            let mut state = DaemonState::default();
            state.apply(&StateChange::Rem { ts: "t".into() }, at(1000));
            state.drop_expired(at(now));
            assert_eq!(state.force_rem_request.is_some(), kept, "at {now}");
        }
        let mut state = DaemonState::default();
        for n in 0..300 {
            state.apply(&StateChange::SessionOpen { session_id: Some(n.to_string()), is_start: true }, at(n));
        }
        assert_eq!(state.first_turn_pending.len(), MAX_FIRST_TURN_COUNT);
        assert!(state.first_turn_pending.contains_key("299") && !state.first_turn_pending.contains_key("0"));
        state.drop_expired(at(3600 + 298));
        assert_eq!(state.first_turn_pending.len(), 2);
    }

    #[test]
    fn a_failed_write_is_an_error_and_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&folder.path().join("absent"), &DaemonState::default()).is_err());
        fs::create_dir(folder.path().join(NAME)).unwrap();
        assert!(write(folder.path(), &DaemonState::default()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
