//! The handle by which the daemon maintains an open memory: it runs consolidation cycles a chunk at a time, drains
//! deferred captures and releases memory.
//!
//! The daemon decides when a cycle runs and what follows a failed step.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use serde_json::value::RawValue;

use crate::dispatch::CallError;

use crate::memory::consolidation::cycle::Cycle;
use crate::memory::consolidation::step::{CHUNK_TIME, Step, StepReport};
use crate::memory::ingest::drain;
use crate::memory::ingest::drain_report::{DrainReport, FileOutcome};
use crate::memory::model::time::UnixMicros;
use crate::memory::session::digest::CycleTotals;
use crate::memory::session::{SessionState, context, first_turn};
use crate::memory::store::changes::ChangeTracker;
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::writer::WriterHandle;
use crate::memory::store::writer::handover::WriterHandover;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::oneshot;

/// The session in the events of a cycle that no client requested.
const SESSION: &str = "-";

/// A handle to an open memory, see [`Memory::maintenance`](crate::memory::Memory::maintenance). All methods but
/// [`Maintenance::has_changes`] and [`Maintenance::pending_totals`] wait for the store's writer, so call them on a worker.
#[derive(Clone, Debug)]
pub struct Maintenance {
    pub(crate) writer: WriterHandle,
    pub(crate) session_state: Arc<SessionState>,
    /// The store's folder.
    pub(crate) folder: Arc<Path>,
    pub(crate) file: Arc<StoreFile>,
    pub(crate) changes: Arc<ChangeTracker>,
    pub(crate) clock: fn() -> UnixMicros,
}

/// The outcome of a chunk.
#[derive(Debug)]
pub enum ChunkOutcome {
    /// The chunk is committed.
    Ran {
        /// The cycle, for the next chunk.
        cycle: Cycle,
        /// The report of the chunk's step, if this chunk completed the step.
        completed: Option<StepReport>,
        /// The outcomes of files of deferred captures.
        files: Vec<FileOutcome>,
    },
    /// The cycle has ended, with these totals.
    Ended(CycleTotals),
    /// The chunk failed and nothing of it was stored. The next cycle continues at this step.
    Failed(StepReport, CallError),
}

impl Maintenance {
    /// Number of steps of a cycle that need not rebuild the index.
    pub const STEPS: usize = Step::WITHOUT_REINDEX.len();

    /// Returns true if there are records that no finished cycle has processed, or if the index must be rebuilt. Derived
    /// records do not count. Never blocks.
    pub fn has_changes(&self) -> bool {
        self.changes.has_changes()
    }

    /// Resumes the cycle that was interrupted, or begins one.
    ///
    /// # Errors
    /// -32001 if the store cannot be read, or is closing.
    pub fn begin_cycle(&self) -> Result<Cycle, CallError> {
        let changes = self.changes.clone();
        self.run_job(move |transaction| Cycle::resume_or_begin(transaction, &changes))
    }

    /// Runs the cycle's next chunk, or the end of the cycle if all steps are complete. Other writes run between two
    /// chunks.
    pub fn run_chunk(&self, cycle: Cycle) -> ChunkOutcome {
        let mut cycle = cycle;
        let (changes, folder, now) = (self.changes.clone(), self.folder.clone(), (self.clock)());
        // A job that fails drops the cycle.
        let (step, so_far) = (cycle.step(), cycle.has_begun().then(|| cycle.reports().last().cloned()).flatten());
        let outcome = self.run_job(move |transaction| {
            let run = cycle.run_chunk(transaction, &changes, &folder, now)?;
            if run.is_none() {
                cycle.end(transaction, SESSION, now)?;
            }
            Ok((cycle, run))
        });
        match outcome {
            Ok((cycle, Some(run))) => ChunkOutcome::Ran { cycle, completed: run.completed, files: run.files },
            Ok((cycle, None)) => {
                cycle.end_committed(&self.changes, &self.session_state.digest);
                ChunkOutcome::Ended(cycle.totals())
            }
            Err(error) => {
                let step = step.unwrap_or("end");
                ChunkOutcome::Failed(so_far.unwrap_or_else(|| StepReport::empty(step)), error)
            }
        }
    }

    /// Stores a batch of deferred captures. `now_us` is the current time in microseconds since 1970 UTC.
    ///
    /// # Errors
    /// -32001 if the store cannot be read or written; nothing of the batch was stored then. A file that cannot be read is
    /// no error but a [`FileOutcome`].
    pub fn drain(&self, now_us: i64) -> Result<DrainReport, CallError> {
        let now = UnixMicros(now_us);
        // The call comes at regular intervals, so a lost file is noticed even if no client writes.
        drop(self.file.verify());
        if let Some(next) = drain::next_if_idle(&self.folder, now) {
            return Ok(DrainReport { next, ..DrainReport::default() });
        }
        let folder = self.folder.clone();
        self.run_job(move |transaction| drain::chunk(transaction, &folder, now, Instant::now() + CHUNK_TIME))
    }

    /// Records that a session was opened at `at_us`, in microseconds since 1970 UTC. The session's first recall then
    /// returns what was said last in other sessions, and the quiet window is learned from the time. `is_start`: the
    /// session's context begins now, so that what it has said before counts as any other's; otherwise it does only if the
    /// session is not known.
    ///
    /// # Errors
    /// -32001 if the store cannot be written; the session is not recorded then.
    pub fn session_opened(&self, session_id: &str, at_us: i64, is_start: bool) -> Result<(), CallError> {
        let (session, at) = (session_id.to_owned(), UnixMicros(at_us));
        self.run_job(move |transaction| {
            context::record_opened(transaction.connection, &session, at, is_start)?;
            Ok(first_turn::record_opened(transaction.connection, &session, at)?)
        })?;
        self.session_state.first_turns.add(session_id, at);
        Ok(())
    }

    /// Returns the times since `since_us` at which sessions were opened, in ascending order. All times are in microseconds
    /// since 1970 UTC.
    ///
    /// # Errors
    /// -32001 if the store cannot be read.
    pub fn session_starts(&self, since_us: i64) -> Result<Vec<i64>, CallError> {
        self.run_job(move |transaction| Ok(first_turn::opened_since(transaction.connection, UnixMicros(since_us))?))
    }

    /// Returns a sentence about the store's files, if they were removed, replaced or overwritten while they were open:
    /// nothing is stored any more then. Never blocks on the disk.
    pub fn store_loss(&self) -> Option<String> {
        self.file.loss_in_words()
    }

    /// Returns the counts of masked secrets; `None` if there are none. Never blocks.
    pub fn masked(&self) -> Option<Arc<RawValue>> {
        self.changes.masked()
    }

    /// Returns the totals of the finished cycles that no digest has shown yet. Never blocks.
    pub fn pending_totals(&self) -> Option<CycleTotals> {
        self.session_state.digest.pending()
    }

    /// Makes the writer release its caches, and waits until it has, or until the store is closed.
    ///
    /// # Errors
    /// -32001 if the store is closing.
    pub fn release_memory(&self) -> Result<(), CallError> {
        let (handover, released) = WriterHandover::new();
        self.run_job(move |transaction| {
            transaction.request_handover(handover);
            Ok(())
        })?;
        // Nothing is sent: `recv` returns when the writer drops the other end.
        let _: Option<()> = released.recv();
        Ok(())
    }

    /// Runs `work` as a job on the writer, and waits until it is committed.
    fn run_job<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut WriteTransaction<'_>) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let (sender, outcome) = oneshot::channel();
        // The receiver lives until the outcome is sent.
        self.writer.submit(task(0, work, move |outcome| drop(sender.send(outcome))));
        outcome.recv().unwrap_or_else(|| Err(CallError::failed("the store's writer has ended")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;
    use serde_json::json;

    /// Runs a whole cycle. Returns its steps and totals.
    fn run_cycle(maintenance: &Maintenance) -> (Vec<&'static str>, CycleTotals) {
        let mut cycle = maintenance.begin_cycle().unwrap();
        let mut steps = Vec::new();
        loop {
            match maintenance.run_chunk(cycle) {
                ChunkOutcome::Ran { cycle: next, completed, .. } => {
                    steps.extend(completed.map(|report| report.step));
                    cycle = next;
                }
                ChunkOutcome::Ended(totals) => return (steps, totals),
                ChunkOutcome::Failed(report, error) => panic!("{report:?} {error}"),
            }
        }
    }

    fn capture_lessons(bench: &Bench) {
        for session in ["a", "b", "c"] {
            bench.capture(&format!("guitar lessons in session {session}"), json!({"session_id": session}));
        }
    }

    #[test]
    fn derived_records_are_no_changes_and_captured_ones_are() {
        let mut bench = Bench::new();
        assert!(!bench.memory.maintenance().has_changes());
        capture_lessons(&bench);
        assert!(bench.memory.maintenance().has_changes());
        let (steps, totals) = run_cycle(&bench.memory.maintenance());
        assert_eq!(steps, ["drain", "associate", "induce", "decay", "optimize", "precache"]);
        assert_eq!((totals.episodes_processed, totals.schemas_induced_tier0), (3, 1));
        assert!(!bench.memory.maintenance().has_changes());
        bench.restart();
        assert!(!bench.memory.maintenance().has_changes(), "after a restart");
        bench.capture("guitar lessons in session a", json!({"session_id": "a"}));
        assert!(!bench.memory.maintenance().has_changes(), "the text is known");
        bench.capture("something that is new", json!({}));
        assert!(bench.memory.maintenance().has_changes());
        bench.restart();
        assert!(bench.memory.maintenance().has_changes(), "after a restart");
        bench.ok("memory_consolidate", json!({}));
        assert!(!bench.memory.maintenance().has_changes(), "memory_consolidate is a cycle too");
    }

    #[test]
    fn an_interrupted_cycle_is_resumed_unless_records_were_added() {
        let mut bench = Bench::new();
        capture_lessons(&bench);
        let maintenance = bench.memory.maintenance();
        let mut cycle = maintenance.begin_cycle().unwrap();
        while cycle.step() != Some("decay") {
            let ChunkOutcome::Ran { cycle: next, .. } = maintenance.run_chunk(cycle) else {
                panic!("the cycle has not ended")
            };
            cycle = next;
        }
        bench.restart();
        let maintenance = bench.memory.maintenance();
        assert!(maintenance.has_changes());
        assert_eq!(maintenance.begin_cycle().unwrap().step(), Some("decay"));
        bench.capture("something that is new", json!({}));
        assert_eq!(run_cycle(&maintenance).0.len(), 6);
        assert!(!maintenance.has_changes());
        assert_eq!(maintenance.begin_cycle().unwrap().step(), Some("drain"));
    }

    #[test]
    fn records_added_during_a_cycle_are_left_to_the_next_one() {
        let bench = Bench::new();
        capture_lessons(&bench);
        let maintenance = bench.memory.maintenance();
        let mut cycle = maintenance.begin_cycle().unwrap();
        while cycle.step() != Some("optimize") {
            let ChunkOutcome::Ran { cycle: next, .. } = maintenance.run_chunk(cycle) else {
                panic!("the cycle has not ended")
            };
            cycle = next;
        }
        bench.capture("something that is new", json!({}));
        while let ChunkOutcome::Ran { cycle: next, .. } = maintenance.run_chunk(cycle) {
            cycle = next;
        }
        assert!(maintenance.has_changes());
    }

    #[test]
    fn a_failed_step_is_named_and_a_closed_store_is_an_error() {
        let bench = Bench::new();
        capture_lessons(&bench);
        bench.sql("INSERT INTO meta VALUES ('step_induce', 'no number')");
        let maintenance = bench.memory.maintenance();
        let mut cycle = maintenance.begin_cycle().unwrap();
        let (report, error) = loop {
            match maintenance.run_chunk(cycle) {
                ChunkOutcome::Ran { cycle: next, .. } => cycle = next,
                ChunkOutcome::Failed(report, error) => break (report, error),
                ChunkOutcome::Ended(_) => panic!("the step must fail"),
            }
        };
        assert_eq!(report.step, "induce");
        assert!(error.message.contains("value"), "{error}");
        assert_eq!(maintenance.begin_cycle().unwrap().step(), Some("induce"));
        assert!(maintenance.release_memory().is_ok());
        drop(bench);
        assert!(maintenance.begin_cycle().unwrap_err().message.contains("closing"));
    }
}
