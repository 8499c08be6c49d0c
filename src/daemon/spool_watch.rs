//! When it is looked whether hooks have left something, and when it is tried again.

use std::time::{Duration, Instant, SystemTime};

use crate::lifecycle::state::State;
use crate::memory::Next;
use crate::serve::control_plane::Now;

/// Longest wait for the next try, whatever date a file's name has, and the wait after a failure.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
const FAILURE_PAUSE: Duration = Duration::from_secs(60);

/// When the next batch is due.
pub(crate) struct SpoolWatch {
    due: Due,
    /// Between two looks while nothing waits (none asleep).
    every: Duration,
}

#[derive(Clone, Copy)]
enum Due {
    /// A look, while it is awake or drowsy.
    Look(Instant),
    /// Files wait, whatever the state.
    Files(Instant),
    /// A batch is under way, begun at this moment.
    Running(Instant),
}

impl SpoolWatch {
    /// The first look is at once.
    pub(crate) fn new(every: Duration, now: Instant) -> SpoolWatch {
        SpoolWatch { due: Due::Files(now), every }
    }

    /// When the next batch is due in this state.
    pub(crate) fn moment(&self, state: State) -> Option<Instant> {
        match self.due {
            Due::Look(at) if matches!(state, State::Wake | State::Drowsy) => Some(at),
            Due::Files(at) => Some(at),
            Due::Look(_) | Due::Running(_) => None,
        }
    }

    /// A batch is under way.
    pub(crate) fn started(&mut self, now: Instant) {
        self.due = Due::Running(now);
    }

    /// Somebody woke the daemon: the next look is due at once.
    pub(crate) fn woken(&mut self, now: Instant) {
        if let Due::Look(at) = &mut self.due {
            *at = now;
        }
    }

    /// It has ended, and this is said of the next one.
    pub(crate) fn ended(&mut self, next: Next, now: Now) {
        self.due = match next {
            Next::Now => Due::Files(now.instant),
            Next::At(us) => {
                let wall = now.wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let ahead = u64::try_from(us).map(Duration::from_micros).unwrap_or_default().saturating_sub(wall);
                Due::Files(now.instant + ahead.min(LONGEST_WAIT))
            }
            // From its beginning, so that it falls together with the look at the socket.
            Next::Nothing => {
                let began = if let Due::Running(began) = self.due { began } else { now.instant };
                Due::Look(began + self.every)
            }
        };
    }

    /// It could not be done.
    pub(crate) fn failed(&mut self, now: Now) {
        self.due = Due::Files(now.instant + FAILURE_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(60);

    /// `seconds` after `start`, by a wall clock that shows `wall` seconds since 1970.
    fn at(start: Instant, seconds: u64, wall: u64) -> Now {
        Now { instant: start + Duration::from_secs(seconds), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(wall) }
    }

    #[test]
    fn it_is_looked_from_beginning_to_beginning_while_awake_and_at_each_wake() {
        let start = Instant::now();
        let mut watch = SpoolWatch::new(EVERY, start);
        assert_eq!(watch.moment(State::Sleep), Some(start), "what waits at the start is taken in whatever the state");
        watch.started(start);
        assert_eq!(watch.moment(State::Wake), None);
        watch.ended(Next::Nothing, at(start, 5, 0));
        assert_eq!(watch.moment(State::Wake), Some(start + EVERY));
        assert_eq!(watch.moment(State::Sleep), None);
        watch.woken(start + Duration::from_secs(20));
        assert_eq!(watch.moment(State::Drowsy), Some(start + Duration::from_secs(20)));
    }

    #[test]
    fn a_clock_that_jumps_moves_no_try_by_more_than_an_hour() {
        let start = Instant::now();
        let wait = |due_seconds: i64, wall: u64| {
            let mut watch = SpoolWatch::new(EVERY, start);
            watch.started(start);
            watch.ended(Next::At(due_seconds * 1_000_000), at(start, 0, wall));
            watch.moment(State::Sleep).expect("files wait").duration_since(start)
        };
        assert_eq!(wait(1_000_060, 1_000_000), EVERY);
        assert_eq!(wait(1_000_060, 2_000_000), Duration::ZERO, "set forward");
        assert_eq!(wait(1_000_060, 0), LONGEST_WAIT, "set back to 1970");
        assert_eq!(wait(-5, 1_000_000), Duration::ZERO, "due before 1970");
        assert_eq!(wait(i64::MAX / 1_000_000, 1_000_000), LONGEST_WAIT, "due at the end of time");
    }
}
