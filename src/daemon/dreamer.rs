//! Runs the REM cycle while the machine dreams: one chunk on a worker at a time, and what came of it to
//! the machine, the journal and the files.
//!
//! It decides nothing: whether there is to be a next chunk is asked between two of them.

use serde::Serialize;

use super::work::{Done, guarded};
use crate::dispatch::CallError;
use crate::lifecycle::machine::Event;
use crate::memory::{Brought, Chunk, Cycle, Night, StepReport, Told};
use crate::serve::control_plane::Task;

/// The cycle, and what became of those before.
pub(super) struct Dreamer {
    night: Night,
    /// Between two chunks.
    cycle: Option<Cycle>,
    figures: Figures,
}

/// What `status` says of cycles, those since the start.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Figures {
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
pub(super) struct Came {
    /// A step is at its end, or failed for this reason.
    pub(super) step: Option<(StepReport, Option<String>)>,
    /// What became of hooks' files.
    pub(super) told: Vec<Told>,
    /// For the machine.
    pub(super) event: Option<Event>,
}

impl Dreamer {
    pub(super) fn new(night: Night) -> Dreamer {
        Dreamer { night, cycle: None, figures: Figures { steps: Night::STEPS, ..Figures::default() } }
    }

    /// Is there anything that no cycle has seen?
    pub(super) fn has_news(&self) -> bool {
        self.night.has_news()
    }

    pub(super) fn night(&self) -> &Night {
        &self.night
    }

    pub(super) fn figures(&self) -> &Figures {
        &self.figures
    }

    /// The next chunk, and the step that it begins, if it does.
    pub(super) fn next(&mut self) -> (Task<Done>, Option<&'static str>) {
        let night = self.night.clone();
        let Some(cycle) = self.cycle.take() else {
            let work = guarded(move || Done::Began(night.begin()), |panic| Done::Began(Err(CallError::failed(panic))));
            return (work, None);
        };
        let (new_step, step) = (cycle.new_step(), cycle.step().unwrap_or("end"));
        let panicked = move |panic| Done::Chunk(Chunk::Failed(StepReport::nothing(step), CallError::failed(panic)));
        (guarded(move || Done::Chunk(night.chunk(cycle)), panicked), new_step)
    }

    /// A cycle was begun, or could not be.
    pub(super) fn began(&mut self, outcome: Result<Cycle, CallError>) -> Came {
        match outcome {
            Ok(cycle) => {
                self.figures.last_error = None;
                self.keep(cycle);
                Came::default()
            }
            Err(error) => self.fail(StepReport::nothing("begin"), &error),
        }
    }

    /// A chunk ran.
    pub(super) fn ran(&mut self, chunk: Chunk) -> Came {
        match chunk {
            Chunk::Ran { cycle, completed, told } => {
                self.keep(cycle);
                Came { step: completed.map(|report| (report, None)), told, event: None }
            }
            Chunk::Ended(brought) => {
                self.forget();
                self.figures.finished += 1;
                self.figures.brought = brought;
                Came { event: Some(Event::CycleEnded), ..Came::default() }
            }
            Chunk::Failed(report, error) => self.fail(report, &error),
        }
    }

    /// The machine dreams no more: the store knows where to go on.
    pub(super) fn interrupt(&mut self) {
        self.forget();
        self.figures.interrupted += 1;
    }

    /// The cycle that is between two chunks is nobody's any more.
    pub(super) fn forget(&mut self) {
        self.cycle = None;
        (self.figures.step, self.figures.steps_done, self.figures.steps) = (None, 0, Night::STEPS);
    }

    fn keep(&mut self, cycle: Cycle) {
        (self.figures.step, self.figures.steps_done) = (cycle.step(), cycle.steps_done());
        self.figures.steps = cycle.steps();
        self.cycle = Some(cycle);
    }

    fn fail(&mut self, report: StepReport, error: &CallError) -> Came {
        self.forget();
        self.figures.failed += 1;
        self.figures.last_error = Some(format!("step {}: {}", report.step, error.message));
        let event = Some(Event::StepFailed(report.step));
        Came { step: Some((report, Some(error.message.clone()))), told: Vec::new(), event }
    }
}
