//! Timer for releasing idle memory: fires once, `after` the last activity, and at once when the daemon falls asleep.
//!
//! Pure. The owner decides what is released, and whether work in progress delays it.

use std::time::{Duration, Instant};

/// The timer.
pub(crate) struct IdleRelease {
    after: Duration,
    /// `None` if there was no activity since the last release.
    due: Option<Instant>,
}

impl IdleRelease {
    /// Starts the timer, since the start takes memory too.
    pub(crate) fn new(after: Duration, now: Instant) -> IdleRelease {
        IdleRelease { after, due: now.checked_add(after) }
    }

    /// Restarts the timer at an activity.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.due = now.checked_add(self.after);
    }

    /// Makes a running timer due at once: while it sleeps, the daemon sets no timers.
    pub(crate) fn hasten(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// Makes the timer due at once, even if it is not running.
    pub(crate) fn set_due(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// Returns when the timer is due.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// Returns true and stops the timer if it is due.
    pub(crate) fn take_due(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(20);

    #[test]
    fn it_fires_once_after_the_last_activity() {
        let start = Instant::now();
        let mut timer = IdleRelease::new(AFTER, start);
        assert!(!timer.take_due(start + AFTER / 2));
        timer.restart(start + AFTER / 2);
        assert!(!timer.take_due(start + AFTER));
        assert_eq!(timer.deadline(), Some(start + AFTER * 3 / 2));
        assert!(timer.take_due(start + AFTER * 2));
        assert_eq!(timer.deadline(), None);
        assert!(!timer.take_due(start + AFTER * 9), "there was no activity since");
    }

    #[test]
    fn it_does_not_run_asleep() {
        let start = Instant::now();
        let mut timer = IdleRelease::new(AFTER, start);
        timer.hasten(start);
        assert!(timer.take_due(start));
        timer.hasten(start + AFTER);
        assert_eq!(timer.deadline(), None, "there is nothing to release");
        timer.set_due(start + AFTER);
        assert!(timer.take_due(start + AFTER));
    }
}
