//! When memory is given back: once, a while after the last thing that was done, and when it falls asleep.
//!
//! What is given back, and whether somebody is still at work, is not known here.

use std::time::{Duration, Instant};

/// When the next rest is due.
pub(crate) struct IdleRelease {
    after: Duration,
    /// `None` where nothing was done since the last one.
    due: Option<Instant>,
}

impl IdleRelease {
    /// The first one is due after the start, which takes memory too.
    pub(crate) fn new(after: Duration, now: Instant) -> IdleRelease {
        IdleRelease { after, due: now.checked_add(after) }
    }

    /// Something was done.
    pub(crate) fn used(&mut self, now: Instant) {
        self.due = now.checked_add(self.after);
    }

    /// It falls asleep, and wants no moment of its own there: what is due later is due now.
    pub(crate) fn hasten(&mut self, now: Instant) {
        self.due = self.due.map(|due| due.min(now));
    }

    /// Much was done, and nothing will follow.
    pub(crate) fn at_once(&mut self, now: Instant) {
        self.due = Some(now);
    }

    /// When it is due.
    pub(crate) fn moment(&self) -> Option<Instant> {
        self.due
    }

    /// Is it due? Said once.
    pub(crate) fn begin(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(20);

    #[test]
    fn it_is_due_once_after_the_last_thing_done() {
        let start = Instant::now();
        let mut rest = IdleRelease::new(AFTER, start);
        assert!(!rest.begin(start + AFTER / 2));
        rest.used(start + AFTER / 2);
        assert!(!rest.begin(start + AFTER));
        assert_eq!(rest.moment(), Some(start + AFTER * 3 / 2));
        assert!(rest.begin(start + AFTER * 2));
        assert_eq!(rest.moment(), None);
        assert!(!rest.begin(start + AFTER * 9), "nothing was done since");
    }

    #[test]
    fn asleep_there_is_no_moment_to_come() {
        let start = Instant::now();
        let mut rest = IdleRelease::new(AFTER, start);
        rest.hasten(start);
        assert!(rest.begin(start));
        rest.hasten(start + AFTER);
        assert_eq!(rest.moment(), None, "there is nothing to give back");
        rest.at_once(start + AFTER);
        assert!(rest.begin(start + AFTER));
    }
}
