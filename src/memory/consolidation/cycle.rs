//! A consolidation cycle in progress: the current step, what the steps did, and up to which record it processes.
//!
//! The current step is stored as the steps' cursors are, so a cycle that was interrupted is resumed where it stopped. If
//! records were added meanwhile it begins with the first step, where a step that has nothing to do completes at once.
//!
//! Caller's contract: a [`Cycle`] whose chunk failed, or was not committed, is dropped. [`Cycle::end_committed`] is
//! called once the transaction of [`Cycle::end`] is committed.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::consolidation::caches::StepCaches;
use crate::memory::consolidation::progress::CycleEstimate;
use crate::memory::consolidation::step::{CHUNK_TIME, Progress, Step, StepOutcome, StepReport};
use crate::memory::consolidation::{associate, decay, induce, optimize, precompute, reindex};
use crate::memory::graph::cooccurrence;
use crate::memory::ingest::drain;
use crate::memory::ingest::drain_report::FileOutcome;
use crate::memory::model::time::UnixMicros;
use crate::memory::session::digest::{self, CycleTotals, DigestState};
use crate::memory::store::changes::ChangeTracker;
use crate::memory::store::events::{self, MemoryEvent, Severity};
use crate::memory::store::fulltext::{self, IndexStatus};
use crate::memory::store::writer::transaction::{Origin, WriteTransaction};
use crate::memory::store::{meta, segments};

/// Key of the current step in the table `meta`.
const STEP_KEY: &str = "cycle_step";

/// Key of the last record that the cycle processes in the table `meta`.
const PROCESSED_KEY: &str = "cycle_seen";

/// A cycle in progress.
#[derive(Debug)]
pub struct Cycle {
    steps: &'static [Step],
    /// Index of the current step; `steps.len()` if all are complete.
    current: usize,
    /// The last record, not counting derived ones, that the cycle has processed at its end.
    processed: i64,
    caches: Box<StepCaches>,
    /// Reports of the steps that have begun, the current one last.
    reports: Vec<StepReport>,
    progress: CycleEstimate,
    /// [`ChangeTracker::replacements`] at its beginning.
    replacements: u64,
}

/// What one chunk did.
#[derive(Debug)]
pub(crate) struct ChunkRun {
    /// The report of the chunk's step, if this chunk completed the step.
    pub(crate) completed: Option<StepReport>,
    /// The outcomes of files of deferred captures.
    pub(crate) files: Vec<FileOutcome>,
}

impl Cycle {
    /// Resumes the cycle that was interrupted. Begins a new one if there is none, if records were added since, or if the
    /// index must be rebuilt.
    ///
    /// # Errors
    /// -32001 if the store cannot be read.
    pub(crate) fn resume_or_begin(
        transaction: &WriteTransaction<'_>,
        changes: &ChangeTracker,
    ) -> Result<Cycle, CallError> {
        let newest = changes.newest_external();
        let step: Option<String> = meta::read(transaction.connection, STEP_KEY)?;
        let processed: Option<i64> = meta::read(transaction.connection, PROCESSED_KEY)?;
        let steps = if fulltext::is_due(transaction.connection)? { &Step::ALL } else { Step::WITHOUT_REINDEX };
        let current = steps.iter().position(|one| Some(one.name()) == step.as_deref());
        let (current, processed) = match (current, processed) {
            (Some(at), Some(processed)) if processed >= newest && !steps.contains(&Step::Reindex) => (at, processed),
            _ => (0, newest),
        };
        let spans = steps[current..].iter().filter(|step| step.is_long());
        // A cursor that cannot be read is an error of its step.
        let spans = spans.map(|step| (*step, position(transaction.connection, *step).unwrap_or(0), processed));
        Ok(Cycle {
            progress: CycleEstimate::new(Instant::now(), spans),
            steps,
            current,
            processed,
            caches: Box::default(),
            reports: Vec::new(),
            replacements: changes.replacements(),
        })
    }

    /// Returns the name of the current step if it has not begun yet.
    pub fn new_step(&self) -> Option<&'static str> {
        if self.has_begun() { None } else { self.step() }
    }

    /// Returns the number of steps.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Returns the number of completed steps.
    pub fn steps_done(&self) -> usize {
        self.current
    }

    /// Returns the name of the current step, or `None` if all steps are complete and only [`Cycle::end`] is left.
    pub fn step(&self) -> Option<&'static str> {
        self.current_step().map(Step::name)
    }

    /// Returns the share of the cycle that is done, from 0 to 1, and about how long the rest takes, once that is known;
    /// `None` if the cycle has no new records.
    pub fn progress(&self) -> Option<(f64, Option<Duration>)> {
        self.progress.at(Instant::now())
    }

    fn current_step(&self) -> Option<Step> {
        self.steps.get(self.current).copied()
    }

    /// Returns true if a chunk of the current step has run.
    pub(crate) fn has_begun(&self) -> bool {
        self.step().is_some_and(|step| self.reports.last().is_some_and(|report| report.step == step))
    }

    /// Returns the reports of the steps that have begun.
    pub(crate) fn reports(&self) -> &[StepReport] {
        &self.reports
    }

    /// Runs one chunk of the current step. Returns `None` if all steps are complete. `store` is the store's folder.
    ///
    /// # Errors
    /// -32001 if the store cannot be read or written.
    pub(crate) fn run_chunk(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        changes: &ChangeTracker,
        store: &Path,
        now: UnixMicros,
    ) -> Result<Option<ChunkRun>, CallError> {
        // The cursors and what the learner knows are those of another content.
        if self.replacements != changes.replacements() {
            *self = Cycle::resume_or_begin(transaction, changes)?;
        }
        let Some(step) = self.current_step() else { return Ok(None) };
        let start = Instant::now();
        // The steps after this one process what the steps before it have added. Records of this transaction are not in
        // the index yet, and are left to the next cycle.
        let processed = if step == Step::Associate { changes.newest_external() } else { self.processed };
        let outcome = run_step_chunk(step, transaction, &mut self.caches, store, now)?;
        let is_complete = outcome.progress == Progress::Done;
        if step.is_long() {
            let cursor = if is_complete { None } else { Some(position(transaction.connection, step)?) };
            self.progress.advance(step, cursor);
        }
        if let Some(next) = self.steps.get(self.current + usize::from(is_complete)) {
            meta::write(transaction.connection, STEP_KEY, next.name())?;
            meta::write(transaction.connection, PROCESSED_KEY, processed)?;
        }
        self.processed = processed;
        let mut report = match self.has_begun().then(|| self.reports.pop()).flatten() {
            Some(report) => report,
            None => StepReport::empty(step.name()),
        };
        report.add(&outcome, start.elapsed());
        let completed = is_complete.then(|| report.clone());
        self.reports.push(report);
        if is_complete {
            if matches!(step, Step::Associate | Step::Induce) {
                *self.caches = StepCaches::default();
            }
            self.current += 1;
        }
        Ok(Some(ChunkRun { completed, files: outcome.files }))
    }

    /// Records the end of the cycle in the store, with its events and totals.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(crate) fn end(
        &self,
        transaction: &mut WriteTransaction<'_>,
        session: &str,
        now: UnixMicros,
    ) -> Result<(), rusqlite::Error> {
        let connection = transaction.connection;
        record_events(connection, &self.reports, session, now)?;
        digest::add_stored(connection, self.totals())?;
        ChangeTracker::store_mark(connection, self.processed)?;
        meta::remove(connection, STEP_KEY)?;
        meta::remove(connection, PROCESSED_KEY)?;
        // Read again from the store: with a stale status, cycles that have nothing to do would follow one another for
        // ever.
        transaction.set_index_status(if fulltext::is_due(connection)? {
            IndexStatus::Due
        } else {
            IndexStatus::Current
        });
        Ok(())
    }

    /// Applies the committed end to the state in memory.
    pub(crate) fn end_committed(&self, changes: &ChangeTracker, digest: &DigestState) {
        // What was deleted since is to be learned again without it.
        if self.replacements == changes.replacements() {
            changes.advance_mark(self.processed);
        }
        digest.add(self.totals());
    }

    /// Returns what the cycle adds to the digest.
    pub(crate) fn totals(&self) -> CycleTotals {
        let of_step = |step, name| {
            let mut steps = self.reports.iter().filter(|report| report.step == step);
            steps.next().map_or(0, |report| report.counts.get(name))
        };
        CycleTotals {
            rem_cycles_completed: 1,
            episodes_processed: of_step("associate", "examined"),
            schemas_induced_tier0: self.count("induced"),
        }
    }

    /// Returns the sum of all steps' counts of this name.
    pub(crate) fn count(&self, name: &str) -> u64 {
        sum(&self.reports, name)
    }
}

/// Drops the cycle that was interrupted or is in progress, so that the next chunk begins with the first step.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn restart(connection: &Connection, changes: &ChangeTracker) -> Result<(), rusqlite::Error> {
    changes.content_replaced();
    meta::remove(connection, STEP_KEY)?;
    meta::remove(connection, PROCESSED_KEY)
}

/// Returns the last record that a step has processed.
fn position(connection: &Connection, step: Step) -> Result<i64, rusqlite::Error> {
    let cursor = meta::read(connection, step.cursor_key())?.unwrap_or(0);
    Ok(if step == Step::Associate { cooccurrence::cursor(connection, cursor)?.min(cursor) } else { cursor })
}

/// Runs one chunk of a step from its stored cursor on, and stores the new cursor. `store` is the store's folder.
///
/// # Errors
/// -32001 if the store cannot be read or written. The cursor is unchanged then.
pub(crate) fn run_step_chunk(
    step: Step,
    transaction: &mut WriteTransaction<'_>,
    caches: &mut StepCaches,
    store: &Path,
    now: UnixMicros,
) -> Result<StepOutcome, CallError> {
    let deadline = Instant::now() + CHUNK_TIME;
    let cursor = meta::read(transaction.connection, step.cursor_key())?.unwrap_or(0);
    let outcome = match step {
        Step::Reindex => reindex::chunk(transaction, deadline)?,
        Step::Drain => drain_and_merge(transaction, store, now, deadline)?,
        Step::Associate => associate::chunk(transaction, cursor, caches, now, deadline)?,
        Step::Induce => transaction.with_origin(Origin::Derived, |transaction| {
            induce::chunk(transaction, cursor, &mut caches.holders, now, deadline)
        })?,
        Step::Decay => decay::chunk(transaction.connection, cursor, &mut caches.read_links, now, deadline)?,
        Step::Optimize => optimize::chunk(transaction, deadline)?,
        Step::Precache => precompute::chunk(transaction.connection, cursor, deadline)?,
    };
    match outcome.cursor {
        Some(cursor) => meta::write(transaction.connection, step.cursor_key(), cursor)?,
        None => meta::remove(transaction.connection, step.cursor_key())?,
    }
    Ok(outcome)
}

/// Stores deferred captures, then merges the index for the steps that follow: they look each term up in each segment.
fn drain_and_merge(
    transaction: &mut WriteTransaction<'_>,
    store: &Path,
    now: UnixMicros,
    deadline: Instant,
) -> Result<StepOutcome, CallError> {
    let outcome: StepOutcome = drain::chunk(transaction, store, now, deadline)?.into();
    let is_done = outcome.progress == Progress::Done && segments::merge_until(transaction.connection, deadline)?.1;
    Ok(StepOutcome { progress: if is_done { Progress::Done } else { Progress::More }, ..outcome })
}

/// Stores the events of a cycle that has ended.
fn record_events(
    connection: &Connection,
    reports: &[StepReport],
    session: &str,
    now: UnixMicros,
) -> Result<(), rusqlite::Error> {
    let add = |data, kind, sources: &[Uuid]| {
        events::add(
            connection,
            &MemoryEvent { kind, severity: Severity::Info, domain: None, ts: now, data, session, sources },
        )
    };
    let seconds: f64 = reports.iter().map(|report| report.duration_sec).sum();
    let data = json!({"mode": "heavy", "tier": "tier0", "duration_sec": seconds, "steps": reports});
    add(data, "cls_consolidation_run", &[])?;
    let induced = sum(reports, "induced");
    if induced > 0 {
        let data = json!({"induced": induced, "evidence": sum(reports, "evidence")});
        add(data, "schema_induction_run", &[])?;
    }
    Ok(())
}

fn sum(reports: &[StepReport], name: &str) -> u64 {
    reports.iter().map(|report| report.counts.get(name)).sum()
}
