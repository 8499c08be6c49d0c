//! Measures how long a batch has run without reading the clock after every call: a read costs as much as a brief call.

use std::time::{Duration, Instant};

/// Calls of the same method after a brief one for which the clock is not read.
const MAX_UNTIMED_COUNT: u32 = 7;

/// The running time of one batch.
pub(crate) struct BatchClock<'a> {
    began: Instant,
    /// Calls that take less are brief.
    brief: Duration,
    last_read: Instant,
    /// Calls since then.
    calls: u32,
    /// The method of the last call, if that was brief.
    method: Option<&'a str>,
}

impl<'a> BatchClock<'a> {
    pub(crate) fn new(began: Instant, brief: Duration) -> BatchClock<'a> {
        BatchClock { began, brief, last_read: began, calls: 0, method: None }
    }

    /// Called after a call of `method`. Returns how long the batch has run by `clock`, or `None` if the clock is not
    /// read. `answered`: the call returned a result at once; the duration of any other call predicts nothing.
    pub(crate) fn after(
        &mut self,
        method: &'a str,
        answered: bool,
        clock: impl FnOnce() -> Instant,
    ) -> Option<Duration> {
        self.calls += 1;
        if answered && self.calls <= MAX_UNTIMED_COUNT && self.method == Some(method) {
            return None;
        }
        let now = clock();
        let brief = answered && now - self.last_read < self.brief * self.calls;
        self.method = brief.then_some(method);
        self.last_read = now;
        self.calls = 0;
        Some(now - self.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_unless_the_next_call_is_likely_brief() {
        let mut now = Instant::now();
        let mut batch = BatchClock::new(now, Duration::from_micros(1));
        let mut reads = |calls: &[(&'static str, u64)]| {
            let is_read = |(method, nanos): &(&'static str, u64)| {
                now += Duration::from_nanos(*nanos);
                batch.after(method, *method != "refused", || now).is_some()
            };
            calls.iter().map(is_read).map(u8::from).collect::<Vec<_>>()
        };
        assert_eq!(reads(&[("a", 900); 10]), [1, 0, 0, 0, 0, 0, 0, 0, 1, 0], "brief calls");
        assert_eq!(reads(&[("b", 100), ("a", 100), ("b", 100)]), [1, 1, 1], "calls of several methods");
        assert_eq!(reads(&[("b", 100), ("b", 9000)]), [0, 0], "a call that is longer than expected");
        assert_eq!(reads(&[("c", 2000), ("c", 2000), ("c", 2000)]), [1, 1, 1], "long calls");
        assert_eq!(reads(&[("refused", 100), ("refused", 100)]), [1, 1], "calls without a result");
    }

    #[test]
    fn it_returns_how_long_the_batch_has_run() {
        let began = Instant::now();
        let mut batch = BatchClock::new(began, Duration::from_micros(1));
        for n in 1..20 {
            let time = Duration::from_millis(n);
            assert_eq!(batch.after("a", true, || began + time), Some(time));
        }
    }
}
