//! `.daemon-state.json`: what the daemon was asked and has to remember over a restart.
//!
//! Keys that are not ours are kept as they are: another version may want them.

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

/// A request that nothing took up for this long is dropped (the lifecycle's rule).
const EXPIRES_AFTER: Duration = Duration::from_secs(600);

/// First turns kept. Picked: more sessions than anybody opens in an hour.
const FIRST_TURNS: usize = 256;

/// A first turn that was not taken for this long is forgotten.
const FIRST_TURN_KEPT: Duration = Duration::from_secs(3600);

/// The file; it is many times what [`FIRST_TURNS`] of the longest ids come to.
const FILE: AtomicFile = AtomicFile { name: NAME, max_bytes: 1 << 20 };

/// Longest reason for a sleep that is kept, in characters.
const REASON_CHARS: usize = 500;

/// Longest date of an asker that is kept, in characters: twice the longest RFC 3339 one.
const TS_CHARS: usize = 64;

/// Longest session id that is kept, in characters.
const SESSION_ID_CHARS: usize = 128;

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonState {
    /// When the daemon that wrote this started.
    pub daemon_started_at: Option<Timestamp>,
    /// The last tick before this was written.
    pub last_tick_at: Option<Timestamp>,
    /// No sleep but on request.
    pub scheduler_paused: bool,
    /// `[start half-hour, length]`, learned.
    pub quiet_window: Option<(u8, u8)>,
    /// What the last nights brought and nobody was shown, when this was written.
    pub pending_digest: Option<Digest>,
    /// Asked to sleep.
    pub user_sleep_request: Option<PendingRequest>,
    /// Asked to wake.
    pub force_wake_request: Option<PendingRequest>,
    /// Asked for a REM cycle.
    pub force_rem_request: Option<PendingRequest>,
    /// Sessions whose first turn is still to come, and since when.
    pub first_turn_pending: BTreeMap<String, Timestamp>,
    /// When a session was opened last.
    pub last_session_open: Option<Timestamp>,
    /// What other versions keep here.
    #[serde(skip)]
    pub unknown_keys: UnknownKeys,
}

/// A request that waits to be taken up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingRequest {
    /// Why, where that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, as the asker said.
    pub ts: String,
    /// When it arrived here.
    pub asked_at: Timestamp,
    /// Not taken up yet.
    pub pending: bool,
    /// When it was, or was dropped.
    #[serde(default)]
    pub honored_at: Option<Timestamp>,
}

/// The four counters that `status` shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Digest {
    /// REM cycles that were finished.
    pub rem_cycles_completed: u64,
    /// Records they looked at.
    pub episodes_processed: u64,
    /// Patterns they found.
    pub schemas_induced_tier0: u64,
    /// Always false: there is no model here.
    pub claude_call_used: bool,
}

/// A change of the state, as it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// `user_initiated_sleep`
    Sleep {
        /// Why.
        reason: String,
        /// When, as the asker says.
        ts: String,
    },
    /// `force_wake`
    Wake {
        /// When, as the asker says.
        ts: String,
    },
    /// `force_rem`
    Rem {
        /// When, as the asker says.
        ts: String,
    },
    /// `pause`
    Pause,
    /// `resume`
    Resume,
    /// `session_open`
    SessionOpen {
        /// Whose.
        session_id: Option<String>,
    },
    /// From the lifecycle: the command is no longer pending.
    CommandDone(Command),
    /// From the lifecycle: a REM cycle has ended, so `pending_digest` has changed.
    CycleEnded,
    /// From the lifecycle: the quiet window was learned, as (first half-hour, count of half-hours).
    QuietWindow(Option<(u8, u8)>),
}

impl DaemonState {
    /// Takes in what was asked at `now`.
    pub fn apply(&mut self, ask: &StateChange, now: Timestamp) {
        let request = |reason: Option<&str>, ts: &str| {
            Some(PendingRequest {
                reason: reason.map(|reason| cut(reason, REASON_CHARS)),
                ts: cut(ts, TS_CHARS),
                asked_at: now,
                pending: true,
                honored_at: None,
            })
        };
        match ask {
            StateChange::Sleep { reason, ts } => self.user_sleep_request = request(Some(reason), ts),
            StateChange::Wake { ts } => self.force_wake_request = request(None, ts),
            StateChange::Rem { ts } => self.force_rem_request = request(None, ts),
            StateChange::Pause => self.scheduler_paused = true,
            StateChange::Resume => self.scheduler_paused = false,
            StateChange::SessionOpen { session_id } => {
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
            StateChange::QuietWindow(window) => self.quiet_window = *window,
        }
    }

    /// What was asked and is not taken up.
    pub fn pending(&self) -> Vec<Command> {
        let asks = [
            (&self.user_sleep_request, Command::Sleep),
            (&self.force_wake_request, Command::Wake),
            (&self.force_rem_request, Command::Rem),
        ];
        let pending =
            |(request, ask): (&Option<PendingRequest>, _)| request.as_ref().filter(|one| one.pending).map(|_| ask);
        asks.into_iter().filter_map(pending).collect()
    }

    /// Drops requests that are too old to be meant, as at a start.
    pub fn drop_expired(&mut self, now: Timestamp) {
        let fresh = |request: &PendingRequest| is_within(request.asked_at, now, EXPIRES_AFTER);
        for request in [&mut self.user_sleep_request, &mut self.force_wake_request, &mut self.force_rem_request] {
            *request = request.take().filter(fresh);
        }
        self.forget_first_turns(now);
    }

    fn forget_first_turns(&mut self, now: Timestamp) {
        self.first_turn_pending.retain(|_, since| is_within(*since, now, FIRST_TURN_KEPT));
        while self.first_turn_pending.len() > FIRST_TURNS {
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

/// Reads the state, or the defaults where there is none. A file that cannot be read as one is set
/// aside as `NAME.bad-TIME` with a warning.
pub fn load(folder: &Path, now: SystemTime) -> DaemonState {
    FILE.load(folder, now)
}

/// Writes the state so that it is on disk, whole, when this returns.
///
/// # Errors
/// The system's; the old file is then still there.
pub fn write(folder: &Path, state: &DaemonState) -> io::Result<()> {
    FILE.write(folder, state)
}

/// Times from the future, as after a clock was set back, count as just now.
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
    fn what_is_asked_is_kept_over_a_write_and_a_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut state: DaemonState = unknown_keys::parse(b"{\"claude_enabled\":false}").unwrap();
        assert_eq!(state.unknown_keys.text("claude_enabled"), Some("false"));
        for ask in [
            StateChange::Sleep { reason: "ä".repeat(600), ts: "t".into() },
            StateChange::Wake { ts: "t".into() },
            StateChange::Rem { ts: "t".into() },
            StateChange::Pause,
            StateChange::SessionOpen { session_id: Some("s".repeat(200)) },
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
    fn what_cannot_be_read_is_set_aside() {
        for text in [&b""[..], b"{", b"[]", b"{\"scheduler_paused\":3}", b"\xff", &vec![b' '; 2 << 20]] {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(NAME), text).unwrap();
            assert_eq!(load(folder.path(), SystemTime::UNIX_EPOCH), DaemonState::default());
            assert_eq!(fs::read(folder.path().join(format!("{NAME}.bad-0"))).unwrap(), text);
        }
    }

    #[test]
    fn a_link_is_not_followed_and_leftovers_go() {
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
    fn old_requests_and_first_turns_are_dropped() {
        for (now, kept) in [(1000, true), (1600, true), (1601, false), (900, true)] {
            let mut state = DaemonState::default();
            state.apply(&StateChange::Rem { ts: "t".into() }, at(1000));
            state.drop_expired(at(now));
            assert_eq!(state.force_rem_request.is_some(), kept, "at {now}");
        }
        let mut state = DaemonState::default();
        for n in 0..300 {
            state.apply(&StateChange::SessionOpen { session_id: Some(n.to_string()) }, at(n));
        }
        assert_eq!(state.first_turn_pending.len(), FIRST_TURNS);
        assert!(state.first_turn_pending.contains_key("299") && !state.first_turn_pending.contains_key("0"));
        state.drop_expired(at(3600 + 298));
        assert_eq!(state.first_turn_pending.len(), 2);
    }

    #[test]
    fn a_folder_that_takes_no_file_is_an_error_and_the_old_state_stays() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(&folder.path().join("absent"), &DaemonState::default()).is_err());
        fs::create_dir(folder.path().join(NAME)).unwrap();
        assert!(write(folder.path(), &DaemonState::default()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
