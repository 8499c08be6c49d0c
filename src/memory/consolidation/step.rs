//! The steps by which the memory is put in order while nobody asks, in chunks short enough that
//! others hardly wait: the order of the steps, their cursors, and one chunk of one.
//!
//! Each step's cursor is kept in the store, in the same transaction as what the step wrote, so that a
//! cycle that is cut short goes on where it stopped. How far a cycle is is known to `course.rs`, who runs
//! it to `consolidate.rs` and `maintenance.rs`.
//!
//! What its caller keeps: chunks run on the writer, one a job, so that others' writes get in between.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::memory::ingest::drain::{DrainReport, FileOutcome, NextRun};
use crate::memory::store::fulltext;

/// How long a chunk works before it hands back: less than half of the 50 ms that others may wait, since
/// what it wrote must be committed too.
pub(crate) const CHUNK: Duration = Duration::from_millis(20);

/// A step of the cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The full-text index is made anew, where that is due. Before the others: what they learn, they learn
    /// by its terms.
    Reindex,
    /// What hooks have left is taken in.
    Drain,
    /// Links among records by shared rare terms and by nearness in a session.
    Associate,
    /// Recurring patterns over sessions become semantic records.
    Induce,
    /// Links that have faded go.
    Decay,
    /// The index is merged, the log checkpointed.
    Optimize,
    /// What sessions start with is rendered, the links' figures are taken.
    Precache,
}

/// What was done, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StepCounts(BTreeMap<&'static str, u64>);

/// Is a step at its end?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to do.
    More,
    /// There is nothing left.
    Done,
}

/// One chunk of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepOutcome {
    /// Where the next one goes on; what it means is the step's own. None where there is no such place.
    pub(crate) cursor: Option<i64>,
    pub(crate) progress: Progress,
    pub(crate) counts: StepCounts,
    /// What became of hooks' files.
    pub(crate) told: Vec<FileOutcome>,
}

/// Metrics of a step in one cycle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Name of the step.
    pub step: &'static str,
    /// Chunks that it ran.
    pub chunks: u64,
    /// Time that its chunks took, in seconds.
    pub duration_sec: f64,
    /// Its counts by name.
    pub counts: StepCounts,
}

impl Step {
    /// In the order of the cycle.
    pub(crate) const ALL: [Step; 7] =
        [Step::Reindex, Step::Drain, Step::Associate, Step::Induce, Step::Decay, Step::Optimize, Step::Precache];

    /// Those of a cycle that finds the index as it is to be.
    pub(crate) const USUAL: &'static [Step] = Step::ALL.split_at(1).1;

    /// Its name in events.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Step::Reindex => "reindex",
            Step::Drain => "drain",
            Step::Associate => "associate",
            Step::Induce => "induce",
            Step::Decay => "decay",
            Step::Optimize => "optimize",
            Step::Precache => "precache",
        }
    }

    /// The key of its cursor in the table `meta`.
    pub(crate) fn cursor(self) -> &'static str {
        match self {
            Step::Reindex => fulltext::REBUILD_CURSOR,
            Step::Drain => "step_drain",
            Step::Associate => "step_associate",
            Step::Induce => "step_induce",
            Step::Decay => "step_decay",
            Step::Optimize => "step_optimize",
            Step::Precache => "step_precache",
        }
    }
}

impl StepCounts {
    /// No counts but these.
    pub(crate) fn from<const N: usize>(counts: [(&'static str, u64); N]) -> StepCounts {
        StepCounts(counts.into())
    }

    /// All of them.
    pub fn by_name(&self) -> &BTreeMap<&'static str, u64> {
        &self.0
    }

    /// One of them.
    pub(crate) fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, other: &StepCounts) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}

impl StepReport {
    /// Returns the report of a step that has run no chunk.
    pub fn nothing(step: &'static str) -> StepReport {
        StepReport { step, chunks: 0, duration_sec: 0.0, counts: StepCounts::default() }
    }

    /// Adds a chunk.
    pub(crate) fn add(&mut self, chunk: &StepOutcome, time: Duration) {
        self.chunks += 1;
        self.duration_sec += time.as_secs_f64();
        self.counts.add(&chunk.counts);
    }
}

impl From<DrainReport> for StepOutcome {
    fn from(drained: DrainReport) -> StepOutcome {
        let DrainReport { inserted, reinforced, skipped, refused, next, told } = drained;
        let progress = if next == NextRun::Now { Progress::More } else { Progress::Done };
        let counts = [("inserted", inserted), ("reinforced", reinforced), ("skipped", skipped), ("refused", refused)];
        StepOutcome { cursor: None, progress, counts: StepCounts::from(counts), told }
    }
}
