//! A cycle under way: which step it is at, what its steps did, and what it will have seen at its end.
//!
//! Which step that is stands in the store as the steps' own cursors do, so a cycle that was cut short is
//! taken up where it stopped; but if something new has come meanwhile it begins with the first step
//! again, where a step that has nothing to do is at its end at once.
//!
//! What its caller keeps: [`Cycle::ran`] and [`Cycle::ended`] are told of what was committed, and of
//! nothing else.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::consolidation::cooccurrence::CooccurrenceLearner;
use crate::memory::consolidation::step::{CHUNK, Progress, Step, StepOutcome, StepReport};
use crate::memory::consolidation::{associate, decay, induce, optimize, precompute, reindex};
use crate::memory::ingest::drain::{self, FileOutcome};
use crate::memory::model::time::UnixMicros;
use crate::memory::session::digest::{self, CycleTotals, DigestState};
use crate::memory::store::changes::ChangeTracker;
use crate::memory::store::events::{self, MemoryEvent, Severity};
use crate::memory::store::fulltext::{self, IndexStatus};
use crate::memory::store::meta;
use crate::memory::store::writer::transaction::{Origin, WriteTransaction};

/// The step that the cycle is at.
const STEP: &str = "cycle_step";

/// What it will have seen at its end.
const SEEN: &str = "cycle_seen";

/// A cycle.
#[derive(Debug)]
pub struct Cycle {
    steps: &'static [Step],
    at: usize,
    seen: i64,
    learning: Box<CooccurrenceLearner>,
    /// Of the steps that have begun, the present one last.
    reports: Vec<StepReport>,
}

/// One chunk, not committed yet.
#[derive(Debug)]
pub(crate) struct ChunkRun {
    chunk: StepOutcome,
    time: Duration,
    seen: i64,
}

impl Cycle {
    /// Takes up the cycle that was cut short, if there is one, nothing new has come and no index is to be
    /// made; else a new one.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn begin(transaction: &WriteTransaction<'_>, changes: &ChangeTracker) -> Result<Cycle, CallError> {
        let newest = changes.newest();
        let step: Option<String> = meta::read(transaction.connection, STEP)?;
        let seen: Option<i64> = meta::read(transaction.connection, SEEN)?;
        let steps = if fulltext::is_due(transaction.connection)? { &Step::ALL } else { Step::USUAL };
        let at = steps.iter().position(|one| Some(one.name()) == step.as_deref());
        let (at, seen) = match (at, seen) {
            (Some(at), Some(seen)) if seen >= newest && !steps.contains(&Step::Reindex) => (at, seen),
            _ => (0, newest),
        };
        Ok(Cycle { steps, at, seen, learning: Box::default(), reports: Vec::new() })
    }

    /// Returns the name of the next step if that has not begun yet.
    pub fn new_step(&self) -> Option<&'static str> {
        if self.has_begun() { None } else { self.step() }
    }

    /// Returns the number of steps.
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Returns the number of completed steps.
    pub fn steps_done(&self) -> usize {
        self.at
    }

    /// Returns the name of the current step, or `None` if all steps are complete and only [`Cycle::end`] is left.
    pub fn step(&self) -> Option<&'static str> {
        self.current().map(Step::name)
    }

    /// Returns the current step, or `None` if all steps are complete.
    fn current(&self) -> Option<Step> {
        self.steps.get(self.at).copied()
    }

    /// Has the present step had a chunk already?
    pub(crate) fn has_begun(&self) -> bool {
        self.step().is_some_and(|step| self.reports.last().is_some_and(|report| report.step == step))
    }

    /// What the steps did, those that have begun.
    pub(crate) fn reports(&self) -> &[StepReport] {
        &self.reports
    }

    /// Runs one chunk of the present step; nothing at the end. `store` is the store's folder.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn chunk(
        &mut self,
        transaction: &mut WriteTransaction<'_>,
        changes: &ChangeTracker,
        store: &Path,
        now: UnixMicros,
    ) -> Result<Option<ChunkRun>, CallError> {
        let Some(step) = self.current() else { return Ok(None) };
        let start = Instant::now();
        // What the steps before this one brought is seen by those that follow; what came in this very
        // transaction is not in the index yet, and is the next cycle's.
        let seen = if step == Step::Associate { changes.newest() } else { self.seen };
        let chunk = run_chunk(step, transaction, &mut self.learning, store, now)?;
        let at = self.at + usize::from(chunk.progress == Progress::Done);
        if let Some(next) = self.steps.get(at) {
            meta::write(transaction.connection, STEP, next.name())?;
            meta::write(transaction.connection, SEEN, seen)?;
        }
        Ok(Some(ChunkRun { chunk, time: start.elapsed(), seen }))
    }

    /// That is committed. Gives the step's report, if the step is at its end.
    pub(crate) fn ran(&mut self, ran: &ChunkRun) -> Option<&StepReport> {
        let step = self.current()?;
        if !self.has_begun() {
            self.reports.push(StepReport::nothing(step.name()));
        }
        self.seen = ran.seen;
        let report = self.reports.last_mut()?;
        report.add(&ran.chunk, ran.time);
        if ran.chunk.progress == Progress::More {
            return None;
        }
        if step == Step::Associate {
            *self.learning = CooccurrenceLearner::default();
        }
        self.at += 1;
        self.reports.last()
    }

    /// Keeps that it is at its end, and its event.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn end(
        &self,
        transaction: &mut WriteTransaction<'_>,
        session: &str,
        now: UnixMicros,
    ) -> Result<(), rusqlite::Error> {
        let connection = transaction.connection;
        record_events(connection, &self.reports, session, now)?;
        digest::keep_ended(connection, totals(&self.reports))?;
        ChangeTracker::store_mark(connection, self.seen)?;
        meta::remove(connection, STEP)?;
        meta::remove(connection, SEEN)?;
        // Whatever was said of it meanwhile: else a cycle could follow that has nothing to do, for ever.
        transaction.set_index_status(if fulltext::is_due(connection)? {
            IndexStatus::Due
        } else {
            IndexStatus::Current
        });
        Ok(())
    }

    /// That is committed.
    pub(crate) fn ended(&self, changes: &ChangeTracker, digest: &DigestState) {
        changes.advance_mark(self.seen);
        digest.ended(totals(&self.reports));
    }
}

impl ChunkRun {
    /// Takes what became of hooks' files.
    pub(crate) fn take_told(&mut self) -> Vec<FileOutcome> {
        std::mem::take(&mut self.chunk.told)
    }
}

/// Runs one chunk of a step from where its cursor is, and keeps where it has come to. `store` is the
/// store's folder.
///
/// # Errors
/// The database's; the cursor is then where it was.
pub(crate) fn run_chunk(
    step: Step,
    transaction: &mut WriteTransaction<'_>,
    learning: &mut CooccurrenceLearner,
    store: &Path,
    now: UnixMicros,
) -> Result<StepOutcome, CallError> {
    let deadline = Instant::now() + CHUNK;
    let cursor = meta::read(transaction.connection, step.cursor())?.unwrap_or(0);
    let chunk = match step {
        Step::Reindex => reindex::chunk(transaction, deadline)?,
        Step::Drain => drain::chunk(transaction, store, now, deadline)?.into(),
        Step::Associate => associate::chunk(transaction, cursor, learning, now, deadline)?,
        Step::Induce => {
            transaction.with_origin(Origin::Derived, |transaction| induce::chunk(transaction, cursor, now, deadline))?
        }
        Step::Decay => decay::chunk(transaction.connection, cursor, now, deadline)?,
        Step::Optimize => optimize::chunk(transaction, deadline)?,
        Step::Precache => precompute::chunk(transaction.connection, cursor, deadline)?,
    };
    match chunk.cursor {
        Some(cursor) => meta::write(transaction.connection, step.cursor(), cursor)?,
        None => meta::remove(transaction.connection, step.cursor())?,
    }
    Ok(chunk)
}

/// Stores the event of a cycle that has ended.
///
/// # Errors
/// The database's.
fn record_events(
    connection: &Connection,
    reports: &[StepReport],
    session: &str,
    now: UnixMicros,
) -> Result<(), rusqlite::Error> {
    let of = |data, kind, sources: &[Uuid]| {
        events::add(
            connection,
            &MemoryEvent { kind, severity: Severity::Info, domain: None, ts: now, data, session, sources },
        )
    };
    let seconds: f64 = reports.iter().map(|report| report.duration_sec).sum();
    let data = json!({"mode": "heavy", "tier": "tier0", "duration_sec": seconds, "steps": reports});
    of(data, "cls_consolidation_run", &[])?;
    let induced: u64 = reports.iter().map(|report| report.counts.of("induced")).sum();
    if induced > 0 {
        let evidence: u64 = reports.iter().map(|report| report.counts.of("evidence")).sum();
        of(json!({"induced": induced, "evidence": evidence}), "schema_induction_run", &[])?;
    }
    Ok(())
}

/// What a finished cycle adds to the digest.
pub(crate) fn totals(reports: &[StepReport]) -> CycleTotals {
    let count = |name| reports.iter().map(|report| report.counts.of(name)).sum();
    let of = |step, name| {
        let mut steps = reports.iter().filter(|report| report.step == step);
        steps.next().map_or(0, |report| report.counts.of(name))
    };
    CycleTotals {
        rem_cycles_completed: 1,
        episodes_processed: of("associate", "examined"),
        schemas_induced_tier0: count("induced"),
    }
}
