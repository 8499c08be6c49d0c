//! Whether to keep looking for a moment before falling asleep.
//!
//! To fall asleep and be woken takes longer than most turns, for the loop as for the peer or worker that wakes it. So
//! where one event has lately come right behind the other, the loop looks out for the next one before it sleeps.
//! Whoever calls now and then costs nothing more, and where events come by the dozen one wake-up is enough for all,
//! while others have use for the processor.

use std::time::{Duration, Instant};

/// How long is looked. Picked: somewhat longer than a call and its reply take where each end has to be woken, some
/// 70 us on a virtual machine.
const MOMENT: Duration = Duration::from_micros(120);

/// What every longer pause counts as, so that what was before it is forgotten within some ten events.
const PAUSE: Duration = Duration::from_millis(1);

/// When events came, and how soon the next one seems likely.
#[derive(Debug)]
pub(crate) struct BusyPoll {
    /// There is a processor for whoever sends the next event, too.
    has_company: bool,
    last: Option<Instant>,
    /// From one event to the next, lately; as after a long pause where several came at once.
    usual: Duration,
}

impl BusyPoll {
    /// On a machine with so many processors for this process.
    pub(crate) fn new(processors: usize) -> BusyPoll {
        BusyPoll { has_company: processors > 1, last: None, usual: PAUSE }
    }

    /// So many events came together: none, if what was waited for was a moment.
    pub(crate) fn came(&mut self, events: usize, now: Instant) {
        let pause = match (events, self.last) {
            (1, Some(last)) => now.saturating_duration_since(last).min(PAUSE),
            _ => PAUSE,
        };
        self.last = Some(now);
        self.usual = self.usual * 3 / 4 + pause / 4;
    }

    /// Nothing is to be done at `now`: until when to look out.
    pub(crate) fn until(&self, now: Instant) -> Instant {
        if self.has_company && self.usual < MOMENT { now + MOMENT } else { now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long is looked out after events with these pauses between them, in microseconds.
    fn looks(processors: usize, pauses: impl IntoIterator<Item = u64>) -> Duration {
        let mut busy_poll = BusyPoll::new(processors);
        let mut now = Instant::now();
        busy_poll.came(1, now);
        for pause in pauses {
            now += Duration::from_micros(pause);
            busy_poll.came(1, now);
        }
        busy_poll.until(now) - now
    }

    #[test]
    fn it_looks_where_events_follow_each_other_at_once() {
        let day = 24 * 3600 * 1_000_000;
        for (pauses, want) in [
            (vec![], Duration::ZERO),
            (vec![60; 4], Duration::ZERO),
            (vec![60; 20], MOMENT),
            (vec![119; 100], MOMENT),
            (vec![121; 100], Duration::ZERO),
            ([vec![60; 20], vec![day]].concat(), Duration::ZERO),
            ([vec![60; 20], vec![day], vec![60; 5]].concat(), MOMENT),
            ([vec![60; 20], vec![day; 20], vec![60; 5]].concat(), Duration::ZERO),
            ([vec![day; 1000], vec![60; 12]].concat(), MOMENT),
            ([60, 5000].repeat(100), Duration::ZERO),
        ] {
            assert_eq!(looks(2, pauses.clone()), want, "{pauses:?}");
        }
    }

    #[test]
    fn it_does_not_look_where_many_come_at_once() {
        let mut busy_poll = BusyPoll::new(2);
        let mut now = Instant::now();
        let none = Duration::ZERO;
        for (together, want) in [(1, MOMENT), (2, none), (1, MOMENT), (50, none), (1, MOMENT), (0, none)] {
            for _ in 0..12 {
                now += Duration::from_micros(60);
                busy_poll.came(together, now);
            }
            assert_eq!(busy_poll.until(now) - now, want, "{together}");
        }
    }

    #[test]
    fn a_moment_without_an_event_ends_it() {
        let mut busy_poll = BusyPoll::new(2);
        let mut now = Instant::now();
        for _ in 0..100 {
            now += Duration::from_micros(60);
            busy_poll.came(1, now);
        }
        assert_eq!(busy_poll.until(now) - now, MOMENT);
        busy_poll.came(0, now + MOMENT);
        assert_eq!(busy_poll.until(now), now);
    }

    #[test]
    fn it_leaves_the_only_processor_to_its_peers() {
        assert_eq!(looks(1, [60; 100]), Duration::ZERO);
    }
}
