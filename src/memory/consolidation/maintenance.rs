//! What whoever puts the memory to sleep needs of it: is there anything new, one chunk of the cycle
//! after the other, a batch of what hooks have left, and giving memory back.
//!
//! When a cycle runs, and what becomes of a step that fails, is not known here.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Instant;

use crate::dispatch::CallError;

use crate::memory::consolidation::cycle::{Cycle, totals};
use crate::memory::consolidation::step::{CHUNK, Step, StepReport};
use crate::memory::ingest::drain::{self, DrainReport, FileOutcome};
use crate::memory::model::time::UnixMicros;
use crate::memory::session::digest::CycleTotals;
use crate::memory::session::{SessionState, first_turn};
use crate::memory::store::changes::ChangeTracker;
use crate::memory::store::writer::WriterHandle;
use crate::memory::store::writer::handover::WriterHandover;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::transaction::WriteTransaction;

/// The session that a maintenance's cycle is told of as: nobody asked for it.
const SESSION: &str = "-";

/// A way to an open memory, see [`Memory::maintenance`](super::Memory::maintenance). All but
/// [`Maintenance::has_changes`] and [`Maintenance::brought`] wait for the store's writer: they are for a worker.
#[derive(Clone, Debug)]
pub struct Maintenance {
    pub(crate) writer: WriterHandle,
    pub(crate) session_state: Arc<SessionState>,
    /// The store's folder.
    pub(crate) folder: Arc<Path>,
    pub(crate) changes: Arc<ChangeTracker>,
    pub(crate) clock: fn() -> UnixMicros,
}

/// What came of a chunk.
#[derive(Debug)]
pub enum ChunkOutcome {
    /// It is done.
    Ran {
        /// To be gone on with.
        cycle: Cycle,
        /// Its step, if that is done with it.
        completed: Option<StepReport>,
        /// What became of hooks' files.
        told: Vec<FileOutcome>,
    },
    /// The cycle is at its end, and this is what it has brought.
    Ended(CycleTotals),
    /// Nothing of it was stored; the next cycle goes on from there.
    Failed(StepReport, CallError),
}

impl Maintenance {
    /// Steps of a cycle that has no index to make.
    pub const STEPS: usize = Step::USUAL.len();

    /// Is there anything to sleep on: something told that the last finished cycle has not seen, or an index
    /// that is to be made anew? From any thread, at once.
    pub fn has_changes(&self) -> bool {
        self.changes.has_changes()
    }

    /// Takes up the cycle that was cut short, or begins one.
    ///
    /// # Errors
    /// The store's.
    pub fn begin(&self) -> Result<Cycle, CallError> {
        let changes = self.changes.clone();
        self.ask(move |transaction| Cycle::begin(transaction, &changes))
    }

    /// Runs the cycle's next chunk, after which the writer is free for others; behind the last one, its end.
    pub fn chunk(&self, cycle: Cycle) -> ChunkOutcome {
        let mut cycle = cycle;
        let (changes, folder, now) = (self.changes.clone(), self.folder.clone(), (self.clock)());
        // What the job holds when it fails is gone with it.
        let (step, so_far) = (cycle.step(), cycle.has_begun().then(|| cycle.reports().last().cloned()).flatten());
        let outcome = self.ask(move |transaction| {
            let ran = cycle.chunk(transaction, &changes, &folder, now)?;
            if ran.is_none() {
                cycle.end(transaction, SESSION, now)?;
            }
            Ok((cycle, ran))
        });
        match outcome {
            Ok((mut cycle, Some(mut ran))) => {
                let told = ran.take_told();
                let completed = cycle.ran(&ran).cloned();
                ChunkOutcome::Ran { cycle, completed, told }
            }
            Ok((cycle, None)) => {
                cycle.ended(&self.changes, &self.session_state.digest);
                ChunkOutcome::Ended(totals(cycle.reports()))
            }
            Err(error) => {
                let step = step.unwrap_or("end");
                ChunkOutcome::Failed(so_far.unwrap_or_else(|| StepReport::nothing(step)), error)
            }
        }
    }

    /// Takes in a small batch of what hooks have left, at `now_us` microseconds since 1970 in UTC.
    ///
    /// # Errors
    /// The database's; nothing was taken then. What is wrong with a file is no error.
    pub fn drain(&self, now_us: i64) -> Result<DrainReport, CallError> {
        let now = UnixMicros(now_us);
        if let Some(next) = drain::idle(&self.folder, now) {
            return Ok(DrainReport { next, ..DrainReport::default() });
        }
        let folder = self.folder.clone();
        self.ask(move |transaction| drain::chunk(transaction, &folder, now, Instant::now() + CHUNK))
    }

    /// A session was opened, at `at_us` microseconds since 1970 in UTC: its first recall brings what was
    /// said last elsewhere, and the quiet window is learned from it.
    ///
    /// # Errors
    /// The database's; nothing is remembered of it then.
    pub fn session_opened(&self, session_id: &str, at_us: i64) -> Result<(), CallError> {
        let (session, at) = (session_id.to_owned(), UnixMicros(at_us));
        self.ask(move |transaction| Ok(first_turn::keep_opened(transaction.connection, &session, at)?))?;
        self.session_state.first_turns.opened(session_id, at);
        Ok(())
    }

    /// When sessions were opened since `since_us`, in microseconds since 1970 in UTC, the first one first.
    ///
    /// # Errors
    /// The database's.
    pub fn session_starts(&self, since_us: i64) -> Result<Vec<i64>, CallError> {
        self.ask(move |transaction| Ok(first_turn::opened_since(transaction.connection, UnixMicros(since_us))?))
    }

    /// What finished cycles have brought that no digest has shown yet. From any thread, at once.
    pub fn brought(&self) -> Option<CycleTotals> {
        self.session_state.digest.brought()
    }

    /// Has the writer let go of the memory that it keeps for later, and waits until it has, or never will.
    ///
    /// # Errors
    /// The store's.
    pub fn give_back(&self) -> Result<(), CallError> {
        let (rest, rested) = WriterHandover::new();
        self.ask(move |transaction| {
            transaction.request_handover(rest);
            Ok(())
        })?;
        // Nothing is ever sent: this waits for the other end to go.
        rested.recv().ok();
        Ok(())
    }

    /// Has the writer do something, and waits until it is committed.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut WriteTransaction<'_>) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let (sender, outcome) = channel();
        // Nobody listens any more only where nobody is left to.
        self.writer.submit(task(0, work, move |outcome| drop(sender.send(outcome))));
        outcome.recv().unwrap_or_else(|_| Err(CallError::failed("the store's writer has gone")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;
    use serde_json::json;

    /// Runs a whole cycle; gives its steps and what it has brought.
    fn sleep(maintenance: &Maintenance) -> (Vec<&'static str>, CycleTotals) {
        let mut cycle = maintenance.begin().unwrap();
        let mut steps = Vec::new();
        loop {
            match maintenance.chunk(cycle) {
                ChunkOutcome::Ran { cycle: next, completed, .. } => {
                    steps.extend(completed.map(|report| report.step));
                    cycle = next;
                }
                ChunkOutcome::Ended(brought) => return (steps, brought),
                ChunkOutcome::Failed(report, error) => panic!("{report:?} {error}"),
            }
        }
    }

    fn told(bench: &Bench) {
        for session in ["a", "b", "c"] {
            bench.capture(&format!("guitar lessons in session {session}"), json!({"session_id": session}));
        }
    }

    #[test]
    fn what_a_cycle_makes_is_no_news_and_what_is_told_is() {
        let mut bench = Bench::new();
        assert!(!bench.memory.maintenance().has_changes());
        told(&bench);
        assert!(bench.memory.maintenance().has_changes());
        let (steps, brought) = sleep(&bench.memory.maintenance());
        assert_eq!(steps, ["drain", "associate", "induce", "decay", "optimize", "precache"]);
        assert_eq!((brought.episodes_processed, brought.schemas_induced_tier0), (3, 1));
        assert!(!bench.memory.maintenance().has_changes());
        bench.restart();
        assert!(!bench.memory.maintenance().has_changes(), "after a restart");
        bench.capture("guitar lessons in session a", json!({"session_id": "a"}));
        assert!(!bench.memory.maintenance().has_changes(), "it was there already");
        bench.capture("something that is new", json!({}));
        assert!(bench.memory.maintenance().has_changes());
        bench.restart();
        assert!(bench.memory.maintenance().has_changes(), "after a restart");
        bench.ok("memory_consolidate", json!({}));
        assert!(!bench.memory.maintenance().has_changes(), "memory_consolidate is a cycle too");
    }

    #[test]
    fn a_cycle_cut_short_is_taken_up_and_begins_anew_where_news_came() {
        let mut bench = Bench::new();
        told(&bench);
        let maintenance = bench.memory.maintenance();
        let mut cycle = maintenance.begin().unwrap();
        while cycle.step() != Some("decay") {
            let ChunkOutcome::Ran { cycle: next, .. } = maintenance.chunk(cycle) else {
                panic!("it is not at its end")
            };
            cycle = next;
        }
        bench.restart();
        let maintenance = bench.memory.maintenance();
        assert!(maintenance.has_changes());
        assert_eq!(maintenance.begin().unwrap().step(), Some("decay"));
        bench.capture("something that is new", json!({}));
        assert_eq!(sleep(&maintenance).0.len(), 6);
        assert!(!maintenance.has_changes());
        assert_eq!(maintenance.begin().unwrap().step(), Some("drain"));
    }

    #[test]
    fn news_that_come_while_a_cycle_runs_are_the_next_ones() {
        let bench = Bench::new();
        told(&bench);
        let maintenance = bench.memory.maintenance();
        let mut cycle = maintenance.begin().unwrap();
        while cycle.step() != Some("optimize") {
            let ChunkOutcome::Ran { cycle: next, .. } = maintenance.chunk(cycle) else {
                panic!("it is not at its end")
            };
            cycle = next;
        }
        bench.capture("something that is new", json!({}));
        while let ChunkOutcome::Ran { cycle: next, .. } = maintenance.chunk(cycle) {
            cycle = next;
        }
        assert!(maintenance.has_changes());
    }

    #[test]
    fn a_step_that_fails_says_which_and_a_closed_store_too() {
        let bench = Bench::new();
        told(&bench);
        bench.sql("INSERT INTO meta VALUES ('step_induce', 'no number')");
        let maintenance = bench.memory.maintenance();
        let mut cycle = maintenance.begin().unwrap();
        let (report, error) = loop {
            match maintenance.chunk(cycle) {
                ChunkOutcome::Ran { cycle: next, .. } => cycle = next,
                ChunkOutcome::Failed(report, error) => break (report, error),
                ChunkOutcome::Ended(_) => panic!("it was to fail"),
            }
        };
        assert_eq!(report.step, "induce");
        assert!(error.message.contains("value"), "{error}");
        assert_eq!(maintenance.begin().unwrap().step(), Some("induce"));
        assert!(maintenance.give_back().is_ok());
        drop(bench);
        assert!(maintenance.begin().unwrap_err().message.contains("closing"));
    }
}
