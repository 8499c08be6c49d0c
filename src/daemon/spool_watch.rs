//! When it is looked whether hooks have left something, and when it is tried again.

use std::time::{Duration, Instant, SystemTime};

use crate::lifecycle::machine::State;
use crate::memory::Next;
use crate::serve::plane::Now;

/// Between two looks while nothing waits (the lifecycle's rule: one a minute, and none asleep).
const LOOK: Duration = Duration::from_secs(60);

/// When the next batch is due.
pub(super) struct SpoolWatch(Due);

#[derive(Clone, Copy)]
enum Due {
    /// A look, while it is awake or drowsy.
    Look(Instant),
    /// Files wait, whatever the state.
    Files(Instant),
    /// A batch is under way.
    Running,
}

impl SpoolWatch {
    /// The first look is at once.
    pub(super) fn new(now: Instant) -> SpoolWatch {
        SpoolWatch(Due::Files(now))
    }

    /// When the next batch is due in this state.
    pub(super) fn moment(&self, state: State) -> Option<Instant> {
        match self.0 {
            Due::Look(at) if matches!(state, State::Wake | State::Drowsy) => Some(at),
            Due::Files(at) => Some(at),
            Due::Look(_) | Due::Running => None,
        }
    }

    /// A batch is under way.
    pub(super) fn started(&mut self) {
        self.0 = Due::Running;
    }

    /// It has ended, and this is said of the next one.
    pub(super) fn ended(&mut self, next: Next, now: Now) {
        self.0 = match next {
            Next::Now => Due::Files(now.instant),
            Next::At(us) => {
                let wall = now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let ahead = u64::try_from(us).map(Duration::from_micros).unwrap_or_default().saturating_sub(wall);
                Due::Files(now.instant + ahead.min(LOOK * 60))
            }
            Next::Nothing => Due::Look(now.instant + LOOK),
        };
    }

    /// It could not be done.
    pub(super) fn failed(&mut self, now: Now) {
        self.0 = Due::Files(now.instant + LOOK);
    }
}
