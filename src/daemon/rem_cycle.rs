//! Runs the REM cycle one chunk at a time on a worker, and turns each result into effects for the machine, the journal
//! and the state files.
//!
//! It does not decide whether a next chunk runs: its owner does, between two chunks.

use serde::Serialize;

use crate::daemon::task::{TaskResult, guarded};
use crate::dispatch::CallError;
use crate::lifecycle::machine::Event;
use crate::memory::{ChunkOutcome, Cycle, CycleTotals, FileOutcome, Maintenance, StepReport};
use crate::serve::control_plane::Task;

/// The cycle in progress, and metrics of the cycles so far.
pub(crate) struct RemCycleRunner {
    maintenance: Maintenance,
    /// `None` while a chunk runs, or if no cycle is in progress.
    cycle: Option<Cycle>,
    metrics: CycleMetrics,
}

/// Metrics of the cycles since the start of the process, as `status` shows them.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CycleMetrics {
    /// The current step; null if no cycle is in progress.
    step: Option<&'static str>,
    /// Completed steps of the cycle in progress.
    steps_done: usize,
    /// All steps of the cycle: one more if the index is rebuilt.
    steps: usize,
    /// The share of the cycle in progress that is done, in percent, and about how many seconds the rest takes; null if no
    /// cycle is in progress, or if that is not known.
    percent_done: Option<u8>,
    seconds_left: Option<u64>,
    finished: u64,
    failed: u64,
    interrupted: u64,
    last_error: Option<String>,
    /// Totals of the last finished cycle.
    #[serde(flatten)]
    totals: CycleTotals,
}

/// The effects of a chunk.
#[derive(Default)]
pub(crate) struct ChunkEffects {
    /// A step that is complete, or the one that failed and its error.
    pub(crate) step: Option<(StepReport, Option<String>)>,
    /// The outcomes of files of deferred captures.
    pub(crate) files: Vec<FileOutcome>,
    /// The event for the machine.
    pub(crate) event: Option<Event>,
}

impl RemCycleRunner {
    pub(crate) fn new(maintenance: Maintenance) -> RemCycleRunner {
        let metrics = CycleMetrics { steps: Maintenance::STEPS, ..CycleMetrics::default() };
        RemCycleRunner { maintenance, cycle: None, metrics }
    }

    /// Returns true if there are changes that no finished cycle has processed.
    pub(crate) fn has_changes(&self) -> bool {
        self.maintenance.has_changes()
    }

    pub(crate) fn maintenance(&self) -> &Maintenance {
        &self.maintenance
    }

    pub(crate) fn metrics(&self) -> &CycleMetrics {
        &self.metrics
    }

    /// Returns the next task of the cycle, and the step that it begins, if it begins one. If no cycle is in progress the
    /// task begins one.
    pub(crate) fn next(&mut self) -> (Task<TaskResult>, Option<&'static str>) {
        let maintenance = self.maintenance.clone();
        let Some(cycle) = self.cycle.take() else {
            let panicked = |panic| TaskResult::CycleBegun(Err(CallError::failed(panic)));
            return (guarded(move || TaskResult::CycleBegun(maintenance.begin_cycle()), panicked), None);
        };
        let (new_step, step) = (cycle.new_step(), cycle.step().unwrap_or("end"));
        let panicked =
            move |panic| TaskResult::ChunkRan(ChunkOutcome::Failed(StepReport::empty(step), CallError::failed(panic)));
        (guarded(move || TaskResult::ChunkRan(maintenance.run_chunk(cycle)), panicked), new_step)
    }

    /// Applies the result of beginning a cycle.
    pub(crate) fn begun(&mut self, outcome: Result<Cycle, CallError>) -> ChunkEffects {
        match outcome {
            Ok(cycle) => {
                self.metrics.last_error = None;
                self.keep_cycle(cycle);
                ChunkEffects::default()
            }
            Err(error) => self.fail(StepReport::empty("begin"), &error),
        }
    }

    /// Applies the result of a chunk.
    pub(crate) fn ran(&mut self, outcome: ChunkOutcome) -> ChunkEffects {
        match outcome {
            ChunkOutcome::Ran { cycle, completed, files } => {
                self.keep_cycle(cycle);
                ChunkEffects { step: completed.map(|report| (report, None)), files, event: None }
            }
            ChunkOutcome::Ended(totals) => {
                self.drop_cycle();
                self.metrics.finished += 1;
                self.metrics.totals = totals;
                ChunkEffects { event: Some(Event::CycleEnded), ..ChunkEffects::default() }
            }
            ChunkOutcome::Failed(report, error) => self.fail(report, &error),
        }
    }

    /// The machine has left DREAMING before the cycle's end. The next cycle continues at the cursors in the store.
    pub(crate) fn interrupt(&mut self) {
        self.drop_cycle();
        self.metrics.interrupted += 1;
    }

    /// Drops the cycle between two chunks.
    pub(crate) fn drop_cycle(&mut self) {
        self.cycle = None;
        (self.metrics.step, self.metrics.steps_done, self.metrics.steps) = (None, 0, Maintenance::STEPS);
        (self.metrics.percent_done, self.metrics.seconds_left) = (None, None);
    }

    fn keep_cycle(&mut self, cycle: Cycle) {
        (self.metrics.step, self.metrics.steps_done) = (cycle.step(), cycle.steps_done());
        self.metrics.steps = cycle.steps();
        let progress = cycle.progress();
        self.metrics.percent_done = progress.map(|(share, _)| (share * 100.0) as u8);
        self.metrics.seconds_left = progress.and_then(|(_, left)| left).map(|left| left.as_secs());
        self.cycle = Some(cycle);
    }

    fn fail(&mut self, report: StepReport, error: &CallError) -> ChunkEffects {
        self.drop_cycle();
        self.metrics.failed += 1;
        self.metrics.last_error = Some(format!("step {}: {}", report.step, error.message));
        let event = Some(Event::StepFailed(report.step));
        ChunkEffects { step: Some((report, Some(error.message.clone()))), files: Vec::new(), event }
    }
}
