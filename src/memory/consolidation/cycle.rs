//! A cycle under way: which step it is at, what its steps did, and what it will have seen at its end.
//!
//! Which step that is stands in the store as the steps' own cursors do, so a cycle that was cut short is
//! taken up where it stopped; but if something new has come meanwhile it begins with the first step
//! again, where a step that has nothing to do is at its end at once.
//!
//! What its caller keeps: [`Course::ran`] and [`Course::ended`] are told of what was committed, and of
//! nothing else.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::consolidation::cooccurrence::Learning;
use crate::memory::consolidation::step::{CHUNK, Chunk, Progress, Report, Step};
use crate::memory::consolidation::{associate, decay, induce, optimize, precompute, reindex};
use crate::memory::ingest::drain::{self, Told};
use crate::memory::model::time::Moment;
use crate::memory::session::digest::{self, CycleTotals, DigestState};
use crate::memory::store::changes::News;
use crate::memory::store::events::{self, Event, Severity};
use crate::memory::store::fulltext::{self, Index};
use crate::memory::store::meta;
use crate::memory::store::writer::transaction::{Group, Origin};

/// The step that the cycle is at.
const STEP: &str = "cycle_step";

/// What it will have seen at its end.
const SEEN: &str = "cycle_seen";

/// A cycle.
#[derive(Debug)]
pub(crate) struct Course {
    steps: &'static [Step],
    at: usize,
    seen: i64,
    learning: Box<Learning>,
    /// Of the steps that have begun, the present one last.
    reports: Vec<Report>,
}

/// One chunk, not committed yet.
#[derive(Debug)]
pub(crate) struct Ran {
    chunk: Chunk,
    time: Duration,
    seen: i64,
}

impl Course {
    /// Takes up the cycle that was cut short, if there is one, nothing new has come and no index is to be
    /// made; else a new one.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn begin(group: &Group<'_>, news: &News) -> Result<Course, CallError> {
        let newest = news.newest();
        let step: Option<String> = meta::read(group.connection, STEP)?;
        let seen: Option<i64> = meta::read(group.connection, SEEN)?;
        let steps = if fulltext::is_due(group.connection)? { &Step::ALL } else { Step::USUAL };
        let at = steps.iter().position(|one| Some(one.name()) == step.as_deref());
        let (at, seen) = match (at, seen) {
            (Some(at), Some(seen)) if seen >= newest && !steps.contains(&Step::Reindex) => (at, seen),
            _ => (0, newest),
        };
        Ok(Course { steps, at, seen, learning: Box::default(), reports: Vec::new() })
    }

    /// The step that it is at; none at the end.
    pub(crate) fn step(&self) -> Option<Step> {
        self.steps.get(self.at).copied()
    }

    /// Steps in all.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// Steps that are done.
    pub(crate) fn steps_done(&self) -> usize {
        self.at
    }

    /// Has the present step had a chunk already?
    pub(crate) fn has_begun(&self) -> bool {
        self.step().is_some_and(|step| self.reports.last().is_some_and(|report| report.step() == step.name()))
    }

    /// What the steps did, those that have begun.
    pub(crate) fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Runs one chunk of the present step; nothing at the end. `store` is the store's folder.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn chunk(
        &mut self,
        group: &mut Group<'_>,
        news: &News,
        store: &Path,
        now: Moment,
    ) -> Result<Option<Ran>, CallError> {
        let Some(step) = self.step() else { return Ok(None) };
        let start = Instant::now();
        // What the steps before this one brought is seen by those that follow; what came in this very
        // transaction is not in the index yet, and is the next cycle's.
        let seen = if step == Step::Associate { news.newest() } else { self.seen };
        let chunk = run_chunk(step, group, &mut self.learning, store, now)?;
        let at = self.at + usize::from(chunk.progress == Progress::Done);
        if let Some(next) = self.steps.get(at) {
            meta::keep(group.connection, STEP, next.name())?;
            meta::keep(group.connection, SEEN, seen)?;
        }
        Ok(Some(Ran { chunk, time: start.elapsed(), seen }))
    }

    /// That is committed. Gives the step's report, if the step is at its end.
    pub(crate) fn ran(&mut self, ran: &Ran) -> Option<&Report> {
        let step = self.step()?;
        if !self.has_begun() {
            self.reports.push(Report::new(step));
        }
        self.seen = ran.seen;
        let report = self.reports.last_mut()?;
        report.add(&ran.chunk, ran.time);
        if ran.chunk.progress == Progress::More {
            return None;
        }
        if step == Step::Associate {
            *self.learning = Learning::default();
        }
        self.at += 1;
        self.reports.last()
    }

    /// Keeps that it is at its end, and its event.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn end(&self, group: &mut Group<'_>, session: &str, now: Moment) -> Result<(), rusqlite::Error> {
        let connection = group.connection;
        record_events(connection, &self.reports, session, now)?;
        digest::keep_ended(connection, totals(&self.reports))?;
        News::keep_seen(connection, self.seen)?;
        meta::forget(connection, STEP)?;
        meta::forget(connection, SEEN)?;
        // Whatever was said of it meanwhile: else a cycle could follow that has nothing to do, for ever.
        group.index_is(if fulltext::is_due(connection)? { Index::Due } else { Index::Current });
        Ok(())
    }

    /// That is committed.
    pub(crate) fn ended(&self, news: &News, digest: &DigestState) {
        news.seen(self.seen);
        digest.ended(totals(&self.reports));
    }
}

impl Ran {
    /// Takes what became of hooks' files.
    pub(crate) fn take_told(&mut self) -> Vec<Told> {
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
    group: &mut Group<'_>,
    learning: &mut Learning,
    store: &Path,
    now: Moment,
) -> Result<Chunk, CallError> {
    let deadline = Instant::now() + CHUNK;
    let cursor = meta::read(group.connection, step.cursor())?.unwrap_or(0);
    let chunk = match step {
        Step::Reindex => reindex::chunk(group, deadline)?,
        Step::Drain => drain::chunk(group, store, now, deadline)?.into(),
        Step::Associate => associate::chunk(group, cursor, learning, now, deadline)?,
        Step::Induce => group.with_origin(Origin::Made, |group| induce::chunk(group, cursor, now, deadline))?,
        Step::Decay => decay::chunk(group.connection, cursor, now, deadline)?,
        Step::Optimize => optimize::chunk(group, deadline)?,
        Step::Precache => precompute::chunk(group.connection, cursor, deadline)?,
    };
    match chunk.cursor {
        Some(cursor) => meta::keep(group.connection, step.cursor(), cursor)?,
        None => meta::forget(group.connection, step.cursor())?,
    }
    Ok(chunk)
}

/// Stores the event of a cycle that has ended.
///
/// # Errors
/// The database's.
fn record_events(
    connection: &Connection,
    reports: &[Report],
    session: &str,
    now: Moment,
) -> Result<(), rusqlite::Error> {
    let of = |data, kind, sources: &[Uuid]| {
        events::add(
            connection,
            &Event { kind, severity: Severity::Info, domain: None, ts: now, data, session, sources },
        )
    };
    let seconds: f64 = reports.iter().map(|report| report.duration_sec()).sum();
    let data = json!({"mode": "heavy", "tier": "tier0", "duration_sec": seconds, "steps": reports});
    of(data, "cls_consolidation_run", &[])?;
    let induced: u64 = reports.iter().map(|report| report.counts().of("induced")).sum();
    if induced > 0 {
        let evidence: u64 = reports.iter().map(|report| report.counts().of("evidence")).sum();
        of(json!({"induced": induced, "evidence": evidence}), "schema_induction_run", &[])?;
    }
    Ok(())
}

/// What a finished cycle adds to the digest.
pub(crate) fn totals(reports: &[Report]) -> CycleTotals {
    let count = |name| reports.iter().map(|report| report.counts().of(name)).sum();
    let of = |step, name| {
        let mut steps = reports.iter().filter(|report| report.step() == step);
        steps.next().map_or(0, |report| report.counts().of(name))
    };
    CycleTotals {
        rem_cycles_completed: 1,
        episodes_processed: of("associate", "examined"),
        schemas_induced_tier0: count("induced"),
    }
}
