//! How much of a cycle is done, and how long the rest will take: by the records that its long steps have processed.
//!
//! Pure.

use std::time::{Duration, Instant};

use crate::memory::consolidation::step::Step;

/// Least share by which the time that is left is estimated.
const MIN_SHARE: f64 = 0.01;

/// The records that the long steps of a cycle process.
#[derive(Debug)]
pub(crate) struct CycleEstimate {
    begun: Instant,
    steps: Vec<StepSpan>,
}

/// The records of one step: those after `first`, up to `last`.
#[derive(Debug)]
struct StepSpan {
    step: Step,
    first: i64,
    cursor: i64,
    last: i64,
}

impl StepSpan {
    /// Returns how long the step takes for a record, relative to others: the ratio of 100 000 records, rounded.
    fn weight(&self) -> f64 {
        if self.step == Step::Associate { 3.0 } else { 1.0 }
    }

    fn records(&self) -> f64 {
        (self.last - self.first).max(0) as f64
    }

    fn done(&self) -> f64 {
        (self.cursor.min(self.last) - self.first).max(0) as f64
    }
}

impl CycleEstimate {
    /// Returns the progress of a cycle that has processed nothing yet: for each long step the last record that an earlier
    /// cycle has processed, and the newest one.
    pub(crate) fn new(now: Instant, steps: impl Iterator<Item = (Step, i64, i64)>) -> CycleEstimate {
        let span = |(step, first, last)| StepSpan { step, first, cursor: first, last };
        CycleEstimate { begun: now, steps: steps.map(span).collect() }
    }

    /// Notes the last record that a step has processed; the newest one if it is complete.
    pub(crate) fn advance(&mut self, step: Step, cursor: Option<i64>) {
        if let Some(span) = self.steps.iter_mut().find(|span| span.step == step) {
            span.cursor = cursor.unwrap_or(span.last);
        }
    }

    /// Returns the share that is done, from 0 to 1, and about how long the rest takes, once that is known; `None` if the
    /// cycle has no new records.
    pub(crate) fn at(&self, now: Instant) -> Option<(f64, Option<Duration>)> {
        let all: f64 = self.steps.iter().map(|span| span.weight() * span.records()).sum();
        let done: f64 = self.steps.iter().map(|span| span.weight() * span.done()).sum();
        let share = (all > 0.0).then_some(done / all)?;
        let left = |share: f64| now.saturating_duration_since(self.begun).mul_f64((1.0 - share) / share);
        Some((share, (share >= MIN_SHARE).then(|| left(share))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_counts_the_records_of_each_step_and_the_time_left_is_in_proportion() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let steps = [(Step::Associate, 100, 1100), (Step::Induce, 100, 1100)];
        let mut progress = CycleEstimate::new(begun, steps.into_iter());
        assert_eq!(progress.at(after(5)), Some((0.0, None)));
        progress.advance(Step::Drain, Some(7));
        progress.advance(Step::Associate, Some(600));
        assert_eq!(progress.at(after(30)), Some((0.375, Some(Duration::from_secs(50)))));
        progress.advance(Step::Associate, None);
        progress.advance(Step::Induce, Some(1200));
        assert_eq!(progress.at(after(80)), Some((1.0, Some(Duration::ZERO))));
        assert_eq!(CycleEstimate::new(begun, std::iter::empty()).at(begun), None);
        assert_eq!(CycleEstimate::new(begun, [(Step::Induce, 9, 9)].into_iter()).at(begun), None);
    }
}
