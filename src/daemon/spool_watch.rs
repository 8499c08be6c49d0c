//! Schedules the batches in which deferred captures of hooks are drained. Pure.

use std::time::{Duration, Instant, SystemTime};

use crate::lifecycle::state::State;
use crate::memory::NextRun;
use crate::serve::control_plane::Now;

/// Longest wait for the next attempt, whatever date a file's name has.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// The wait after a batch that failed.
const FAILURE_WAIT: Duration = Duration::from_secs(60);

/// When the next batch is due.
pub(crate) struct SpoolWatch {
    due: Due,
    /// The time between two checks while no files wait.
    interval: Duration,
}

#[derive(Clone, Copy)]
enum Due {
    /// A check for files, in WAKE and DROWSY only.
    Check(Instant),
    /// Files wait; a batch in any state.
    Files(Instant),
    /// A batch is in progress, begun at this time.
    Running(Instant),
}

impl SpoolWatch {
    /// The first batch is due at once, in any state.
    pub(crate) fn new(interval: Duration, now: Instant) -> SpoolWatch {
        SpoolWatch { due: Due::Files(now), interval }
    }

    /// Returns when the next batch is due in this state.
    pub(crate) fn deadline(&self, state: State) -> Option<Instant> {
        match self.due {
            Due::Check(at) if matches!(state, State::Wake | State::Drowsy) => Some(at),
            Due::Files(at) => Some(at),
            Due::Check(_) | Due::Running(_) => None,
        }
    }

    /// Begins a batch.
    pub(crate) fn started(&mut self, now: Instant) {
        self.due = Due::Running(now);
    }

    /// Makes the next check due at once: the daemon was woken.
    pub(crate) fn wake(&mut self, now: Instant) {
        if let Due::Check(at) = &mut self.due {
            *at = now;
        }
    }

    /// Ends a batch; `next` says when the next one is due.
    pub(crate) fn ended(&mut self, next: NextRun, now: Now) {
        self.due = match next {
            NextRun::Now => Due::Files(now.instant),
            NextRun::At(us) => {
                let wall = now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let ahead = u64::try_from(us).map(Duration::from_micros).unwrap_or_default().saturating_sub(wall);
                Due::Files(now.instant + ahead.min(MAX_WAIT))
            }
            // Counted from the batch's beginning, so that it shares a wake-up with the check of the socket.
            NextRun::Nothing => {
                let began = if let Due::Running(began) = self.due { began } else { now.instant };
                Due::Check(began + self.interval)
            }
        };
    }

    /// Ends a batch that failed.
    pub(crate) fn failed(&mut self, now: Now) {
        self.due = Due::Files(now.instant + FAILURE_WAIT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    /// `seconds` after `start`, by a wall clock that shows `wall` seconds since 1970.
    fn at(start: Instant, seconds: u64, wall: u64) -> Now {
        Now { instant: start + Duration::from_secs(seconds), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall) }
    }

    #[test]
    fn files_are_checked_for_at_each_interval_while_awake_and_at_each_wake() {
        let start = Instant::now();
        let mut watch = SpoolWatch::new(INTERVAL, start);
        assert_eq!(watch.deadline(State::Sleep), Some(start), "files that wait at the start are drained in any state");
        watch.started(start);
        assert_eq!(watch.deadline(State::Wake), None);
        watch.ended(NextRun::Nothing, at(start, 5, 0));
        assert_eq!(watch.deadline(State::Wake), Some(start + INTERVAL));
        assert_eq!(watch.deadline(State::Sleep), None);
        watch.wake(start + Duration::from_secs(20));
        assert_eq!(watch.deadline(State::Drowsy), Some(start + Duration::from_secs(20)));
    }

    #[test]
    fn a_clock_that_jumps_delays_no_attempt_by_more_than_an_hour() {
        let start = Instant::now();
        let wait = |due_seconds: i64, wall: u64| {
            let mut watch = SpoolWatch::new(INTERVAL, start);
            watch.started(start);
            watch.ended(NextRun::At(due_seconds * 1_000_000), at(start, 0, wall));
            watch.deadline(State::Sleep).expect("files wait").duration_since(start)
        };
        assert_eq!(wait(1_000_060, 1_000_000), INTERVAL);
        assert_eq!(wait(1_000_060, 2_000_000), Duration::ZERO, "set forward");
        assert_eq!(wait(1_000_060, 0), MAX_WAIT, "set back to 1970");
        assert_eq!(wait(-5, 1_000_000), Duration::ZERO, "due before 1970");
        assert_eq!(wait(i64::MAX / 1_000_000, 1_000_000), MAX_WAIT, "due at the end of time");
    }
}
