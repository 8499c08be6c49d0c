//! Runs the REM cycle while the machine dreams: one chunk on a worker at a time, and what came of it to
//! the machine, the journal and the files.
//!
//! It decides nothing: whether there is to be a next chunk is asked between two of them.

use serde::Serialize;

use crate::daemon::task::{TaskResult, guarded};
use crate::dispatch::CallError;
use crate::lifecycle::machine::Event;
use crate::memory::{Brought, Chunk, Cycle, Night, StepReport, Told};
use crate::serve::control_plane::Task;

/// The cycle, and what became of those before.
pub(crate) struct RemCycleRunner {
    night: Night,
    /// Between two chunks.
    cycle: Option<Cycle>,
    figures: CycleMetrics,
}

/// What `status` says of cycles, those since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct CycleMetrics {
    /// The step that the cycle is at; null where none is under way.
    step: Option<&'static str>,
    /// Steps of it that are done.
    steps_done: usize,
    /// Steps in all: one more where the index is made anew.
    steps: usize,
    finished: u64,
    failed: u64,
    interrupted: u64,
    last_error: Option<String>,
    /// What the last finished one has brought.
    #[serde(flatten)]
    brought: Brought,
}

/// What came of a chunk.
#[derive(Default)]
pub(crate) struct ChunkEffects {
    /// A step is at its end, or failed for this reason.
    pub(crate) step: Option<(StepReport, Option<String>)>,
    /// What became of hooks' files.
    pub(crate) told: Vec<Told>,
    /// For the machine.
    pub(crate) event: Option<Event>,
}

impl RemCycleRunner {
    pub(crate) fn new(night: Night) -> RemCycleRunner {
        RemCycleRunner { night, cycle: None, figures: CycleMetrics { steps: Night::STEPS, ..CycleMetrics::default() } }
    }

    /// Is there anything that no cycle has seen?
    pub(crate) fn has_news(&self) -> bool {
        self.night.has_news()
    }

    pub(crate) fn night(&self) -> &Night {
        &self.night
    }

    pub(crate) fn figures(&self) -> &CycleMetrics {
        &self.figures
    }

    /// The next chunk, and the step that it begins, if it does.
    pub(crate) fn next(&mut self) -> (Task<TaskResult>, Option<&'static str>) {
        let night = self.night.clone();
        let Some(cycle) = self.cycle.take() else {
            let work = guarded(
                move || TaskResult::Began(night.begin()),
                |panic| TaskResult::Began(Err(CallError::failed(panic))),
            );
            return (work, None);
        };
        let (new_step, step) = (cycle.new_step(), cycle.step().unwrap_or("end"));
        let panicked =
            move |panic| TaskResult::Chunk(Chunk::Failed(StepReport::nothing(step), CallError::failed(panic)));
        (guarded(move || TaskResult::Chunk(night.chunk(cycle)), panicked), new_step)
    }

    /// A cycle was begun, or could not be.
    pub(crate) fn began(&mut self, outcome: Result<Cycle, CallError>) -> ChunkEffects {
        match outcome {
            Ok(cycle) => {
                self.figures.last_error = None;
                self.keep(cycle);
                ChunkEffects::default()
            }
            Err(error) => self.fail(StepReport::nothing("begin"), &error),
        }
    }

    /// A chunk ran.
    pub(crate) fn ran(&mut self, chunk: Chunk) -> ChunkEffects {
        match chunk {
            Chunk::Ran { cycle, completed, told } => {
                self.keep(cycle);
                ChunkEffects { step: completed.map(|report| (report, None)), told, event: None }
            }
            Chunk::Ended(brought) => {
                self.forget();
                self.figures.finished += 1;
                self.figures.brought = brought;
                ChunkEffects { event: Some(Event::CycleEnded), ..ChunkEffects::default() }
            }
            Chunk::Failed(report, error) => self.fail(report, &error),
        }
    }

    /// The machine dreams no more: the store knows where to go on.
    pub(crate) fn interrupt(&mut self) {
        self.forget();
        self.figures.interrupted += 1;
    }

    /// The cycle that is between two chunks is nobody's any more.
    pub(crate) fn forget(&mut self) {
        self.cycle = None;
        (self.figures.step, self.figures.steps_done, self.figures.steps) = (None, 0, Night::STEPS);
    }

    fn keep(&mut self, cycle: Cycle) {
        (self.figures.step, self.figures.steps_done) = (cycle.step(), cycle.steps_done());
        self.figures.steps = cycle.steps();
        self.cycle = Some(cycle);
    }

    fn fail(&mut self, report: StepReport, error: &CallError) -> ChunkEffects {
        self.forget();
        self.figures.failed += 1;
        self.figures.last_error = Some(format!("step {}: {}", report.step, error.message));
        let event = Some(Event::StepFailed(report.step));
        ChunkEffects { step: Some((report, Some(error.message.clone()))), told: Vec::new(), event }
    }
}
