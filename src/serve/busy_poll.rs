//! Adaptive busy polling. If recent single events arrived within 120 µs of each other, the loop polls without blocking
//! for up to 120 µs before it sleeps.
//!
//! Sleeping and being woken takes longer than most turns, for the loop as for the peer or worker that wakes it. Peers
//! that call rarely never cause polling. If many events come together, one wake-up serves all of them, so the loop
//! sleeps and leaves the processor to other threads. If a yield shows that another program wants the processor, the loop
//! does not poll for a second: each yield would cost it a time slice of that program, some milliseconds, whereas a thread
//! that sleeps is run soon after it is woken.

use std::time::{Duration, Instant};

/// How long to poll, and the longest mean pause that makes it worthwhile. Picked: somewhat longer than a call and its
/// reply take if both ends have to be woken, about 70 us on a virtual machine.
const POLL_TIME: Duration = Duration::from_micros(120);

/// Longer pauses count as this much, so that the mean adapts within about ten events.
const MAX_PAUSE: Duration = Duration::from_millis(1);

/// A longer yield shows that another program wants the processor. Picked: longer than most calls, which the process's own
/// workers may have run meanwhile, and shorter than a time slice.
const MAX_YIELD_TIME: Duration = Duration::from_micros(500);

/// How long not to poll after such a yield. Picked: then a time slice lost each time is less than a hundredth.
const REST_TIME: Duration = Duration::from_secs(1);

/// Tracks the pauses between events.
#[derive(Debug)]
pub(crate) struct BusyPoll {
    /// There is another processor for the thread that sends the next event.
    is_multiprocessor: bool,
    last: Option<Instant>,
    /// Moving average of the pauses between events. Events that come together count as [`MAX_PAUSE`].
    mean_pause: Duration,
    /// No polling before, since another program wants the processor.
    rests_until: Option<Instant>,
}

impl BusyPoll {
    /// Creates the state for a process that may run on this many processors.
    pub(crate) fn new(processors: usize) -> BusyPoll {
        BusyPoll { is_multiprocessor: processors > 1, last: None, mean_pause: MAX_PAUSE, rests_until: None }
    }

    /// Records that this many events came together; 0 if a timer ended the wait.
    pub(crate) fn record(&mut self, events: usize, now: Instant) {
        let pause = match (events, self.last) {
            (1, Some(last)) => now.saturating_duration_since(last).min(MAX_PAUSE),
            _ => MAX_PAUSE,
        };
        self.last = Some(now);
        self.mean_pause = self.mean_pause * 3 / 4 + pause / 4;
    }

    /// Records how long a poll and the yield after it took.
    pub(crate) fn record_yield(&mut self, took: Duration, now: Instant) {
        if took > MAX_YIELD_TIME {
            self.rests_until = Some(now + REST_TIME);
        }
    }

    /// Returns until when to poll before sleeping; `now` to sleep at once.
    pub(crate) fn until(&self, now: Instant) -> Instant {
        let rests = self.rests_until.is_some_and(|until| now < until);
        if self.is_multiprocessor && !rests && self.mean_pause < POLL_TIME { now + POLL_TIME } else { now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how long to poll after events with these pauses between them, in microseconds.
    fn poll_time(processors: usize, pauses: impl IntoIterator<Item = u64>) -> Duration {
        let mut busy_poll = BusyPoll::new(processors);
        let mut now = Instant::now();
        busy_poll.record(1, now);
        for pause in pauses {
            now += Duration::from_micros(pause);
            busy_poll.record(1, now);
        }
        busy_poll.until(now) - now
    }

    #[test]
    fn it_polls_if_events_follow_each_other_closely() {
        let day = 24 * 3600 * 1_000_000;
        for (pauses, want) in [
            (vec![], Duration::ZERO),
            (vec![60; 4], Duration::ZERO),
            (vec![60; 20], POLL_TIME),
            (vec![119; 100], POLL_TIME),
            (vec![121; 100], Duration::ZERO),
            ([vec![60; 20], vec![day]].concat(), Duration::ZERO),
            ([vec![60; 20], vec![day], vec![60; 5]].concat(), POLL_TIME),
            ([vec![60; 20], vec![day; 20], vec![60; 5]].concat(), Duration::ZERO),
            ([vec![day; 1000], vec![60; 12]].concat(), POLL_TIME),
            ([60, 5000].repeat(100), Duration::ZERO),
        ] {
            assert_eq!(poll_time(2, pauses.clone()), want, "{pauses:?}");
        }
    }

    #[test]
    fn it_does_not_poll_if_events_come_together() {
        let mut busy_poll = BusyPoll::new(2);
        let mut now = Instant::now();
        let none = Duration::ZERO;
        for (together, want) in [(1, POLL_TIME), (2, none), (1, POLL_TIME), (50, none), (1, POLL_TIME), (0, none)] {
            for _ in 0..12 {
                now += Duration::from_micros(60);
                busy_poll.record(together, now);
            }
            assert_eq!(busy_poll.until(now) - now, want, "{together}");
        }
    }

    #[test]
    fn a_poll_without_an_event_ends_polling() {
        let mut busy_poll = BusyPoll::new(2);
        let mut now = Instant::now();
        for _ in 0..100 {
            now += Duration::from_micros(60);
            busy_poll.record(1, now);
        }
        assert_eq!(busy_poll.until(now) - now, POLL_TIME);
        busy_poll.record(0, now + POLL_TIME);
        assert_eq!(busy_poll.until(now), now);
    }

    #[test]
    fn it_rests_after_a_yield_to_another_program() {
        let mut busy_poll = BusyPoll::new(2);
        let mut now = Instant::now();
        for _ in 0..100 {
            now += Duration::from_micros(60);
            busy_poll.record(1, now);
        }
        for (took, want) in [(MAX_YIELD_TIME, POLL_TIME), (Duration::from_millis(3), Duration::ZERO)] {
            busy_poll.record_yield(took, now);
            assert_eq!(busy_poll.until(now) - now, want, "{took:?}");
        }
        let end = now + REST_TIME;
        assert_eq!(busy_poll.until(end - Duration::from_nanos(1)), end - Duration::from_nanos(1));
        assert_eq!(busy_poll.until(end) - end, POLL_TIME);
    }

    #[test]
    fn it_does_not_poll_on_a_single_processor() {
        assert_eq!(poll_time(1, [60; 100]), Duration::ZERO);
    }
}
