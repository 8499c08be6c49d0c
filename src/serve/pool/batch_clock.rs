//! How long a batch runs, without a look at the clock behind every call: that takes as long as a brief one.

use std::time::{Duration, Instant};

/// Calls of the same method that may go by unlooked behind a brief one.
const UNLOOKED: u32 = 7;

/// Watches one batch.
pub(super) struct BatchClock<'a> {
    began: Instant,
    /// What takes less is brief.
    brief: Duration,
    looked: Instant,
    /// Calls since then.
    calls: u32,
    /// The method of the last call, if that was brief.
    method: Option<&'a str>,
}

impl<'a> BatchClock<'a> {
    pub(super) fn new(began: Instant, brief: Duration) -> BatchClock<'a> {
        BatchClock { began, brief, looked: began, calls: 0, method: None }
    }

    /// Behind a call of this method: how long the batch has run by the `clock`, or `None` where that need not be
    /// known yet. `answered`: with a result, at once. How long another call took says nothing of the next.
    pub(super) fn after(
        &mut self,
        method: &'a str,
        answered: bool,
        clock: impl FnOnce() -> Instant,
    ) -> Option<Duration> {
        self.calls += 1;
        if answered && self.calls <= UNLOOKED && self.method == Some(method) {
            return None;
        }
        let now = clock();
        let brief = answered && now - self.looked < self.brief * self.calls;
        self.method = brief.then_some(method);
        self.looked = now;
        self.calls = 0;
        Some(now - self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_away_only_where_the_next_call_is_likely_to_be_brief() {
        let mut now = Instant::now();
        let mut watch = BatchClock::new(now, Duration::from_micros(1));
        let mut looks = |calls: &[(&'static str, u64)]| {
            let looked = |(method, nanos): &(&'static str, u64)| {
                now += Duration::from_nanos(*nanos);
                watch.after(method, *method != "refused", || now).is_some()
            };
            calls.iter().map(looked).map(u8::from).collect::<Vec<_>>()
        };
        assert_eq!(looks(&[("a", 900); 10]), [1, 0, 0, 0, 0, 0, 0, 0, 1, 0], "brief ones");
        assert_eq!(looks(&[("b", 100), ("a", 100), ("b", 100)]), [1, 1, 1], "of several methods");
        assert_eq!(looks(&[("b", 100), ("b", 9000)]), [0, 0], "one may be longer than was thought");
        assert_eq!(looks(&[("c", 2000), ("c", 2000), ("c", 2000)]), [1, 1, 1], "long ones");
        assert_eq!(looks(&[("refused", 100), ("refused", 100)]), [1, 1], "ones that were not carried out");
    }

    #[test]
    fn it_tells_how_long_the_batch_has_run() {
        let began = Instant::now();
        let mut watch = BatchClock::new(began, Duration::from_micros(1));
        for n in 1..20 {
            let time = Duration::from_millis(n);
            assert_eq!(watch.after("a", true, || began + time), Some(time));
        }
    }
}
