//! The steps of a consolidation cycle in their order, and what a chunk of a step returns.
//!
//! Each step's cursor is stored in the transaction of what the step wrote, so a cycle that is interrupted continues
//! where it stopped. `cycle.rs` runs the chunks.
//!
//! Caller's contract: chunks run on the writer, one a job, so that other writes run between them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::memory::ingest::drain_report::{DrainReport, FileOutcome, NextRun};
use crate::memory::store::fulltext;

/// The time after which a chunk returns: less than half of the 50 ms for which other writes may be delayed, since what
/// the chunk wrote must be committed too.
pub(crate) const CHUNK_TIME: Duration = Duration::from_millis(20);

/// A step of the cycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Rebuilds the full-text index if that is due. It is the first step, because the others read the index's terms.
    Reindex,
    /// Stores the deferred captures.
    Drain,
    /// Links records that share rare terms or are neighbors in a session, and learns co-occurring terms.
    Associate,
    /// Stores patterns that recur over sessions as semantic records.
    Induce,
    /// Removes links whose weight has decayed.
    Decay,
    /// Merges the full-text index and checkpoints the WAL.
    Optimize,
    /// Measures the link graph and renders the session briefings.
    Precache,
}

/// Counts by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct StepCounts(BTreeMap<&'static str, u64>);

/// Whether a step is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Another chunk is needed.
    More,
    /// The step is complete.
    Done,
}

/// The outcome of one chunk of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StepOutcome {
    /// Where the next chunk continues. Each step defines its meaning. `None` removes the stored cursor.
    pub(crate) cursor: Option<i64>,
    pub(crate) progress: Progress,
    pub(crate) counts: StepCounts,
    /// The outcomes of files of deferred captures.
    pub(crate) files: Vec<FileOutcome>,
}

/// Metrics of a step in one cycle.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Name of the step.
    pub step: &'static str,
    /// Number of chunks.
    pub chunks: u64,
    /// Duration of the chunks, in seconds.
    pub duration_sec: f64,
    /// Counts, summed over the chunks.
    pub counts: StepCounts,
}

impl Step {
    /// All steps, in the order of the cycle.
    pub(crate) const ALL: [Step; 7] =
        [Step::Reindex, Step::Drain, Step::Associate, Step::Induce, Step::Decay, Step::Optimize, Step::Precache];

    /// The steps of a cycle that need not rebuild the index.
    pub(crate) const WITHOUT_REINDEX: &'static [Step] = Step::ALL.split_at(1).1;

    /// Returns the step's name in events, reports and the journal.
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

    /// Returns true if the step goes through all new records, and takes long if there are many.
    pub(crate) fn is_long(self) -> bool {
        matches!(self, Step::Reindex | Step::Associate | Step::Induce)
    }

    /// Returns the key of the step's cursor in the table `meta`.
    pub(crate) fn cursor_key(self) -> &'static str {
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
    /// Creates counts from names and values.
    pub(crate) fn from<const N: usize>(counts: [(&'static str, u64); N]) -> StepCounts {
        StepCounts(counts.into())
    }

    /// Returns all counts by name.
    pub fn by_name(&self) -> &BTreeMap<&'static str, u64> {
        &self.0
    }

    /// Returns the count of this name; 0 if there is none.
    pub(crate) fn get(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    fn add(&mut self, other: &StepCounts) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}

impl StepOutcome {
    /// Creates the outcome of a chunk that read no files.
    pub(crate) fn new<const N: usize>(
        cursor: Option<i64>,
        progress: Progress,
        counts: [(&'static str, u64); N],
    ) -> StepOutcome {
        StepOutcome { cursor, progress, counts: StepCounts::from(counts), files: Vec::new() }
    }
}

impl StepReport {
    /// Returns the report of a step that has run no chunk.
    pub fn empty(step: &'static str) -> StepReport {
        StepReport { step, chunks: 0, duration_sec: 0.0, counts: StepCounts::default() }
    }

    /// Adds a chunk that took `duration`.
    pub(crate) fn add(&mut self, chunk: &StepOutcome, duration: Duration) {
        self.chunks += 1;
        self.duration_sec += duration.as_secs_f64();
        self.counts.add(&chunk.counts);
    }
}

impl From<DrainReport> for StepOutcome {
    /// A file that is not ready yet does not keep the step from completing: the next cycle reads it.
    fn from(report: DrainReport) -> StepOutcome {
        let DrainReport { inserted, reinforced, skipped, refused, next, files } = report;
        let progress = if next == NextRun::Now { Progress::More } else { Progress::Done };
        let counts = [("inserted", inserted), ("reinforced", reinforced), ("skipped", skipped), ("refused", refused)];
        StepOutcome { files, ..StepOutcome::new(None, progress, counts) }
    }
}
