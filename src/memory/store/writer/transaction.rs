//! One transaction for many jobs, a savepoint for each.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::store::fulltext::Index;
use crate::memory::store::writer::{Job, Rest};

/// The transaction in the making.
pub(crate) struct Group<'c> {
    /// The writing connection.
    pub(crate) connection: &'c Connection,
    terms: Vec<Terms>,
    new_records: u64,
    origin: Origin,
    newest_told: Option<i64>,
    index: Option<Index>,
    has_drained: bool,
    upkeep: Upkeep,
    rest: Option<Rest>,
}

/// Who brings the records that come now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Somebody told them: a capture, an import, the drain.
    Told,
    /// A step of the cycle made them of others.
    Made,
}

/// What is done after the commit, outside of any transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Upkeep {
    None,
    /// Statistics and the log.
    Usual,
    /// A damaged index makes room for a new one, too.
    NewIndex,
}

struct Terms {
    seq: i64,
    text: String,
    cue: String,
}

impl<'c> Group<'c> {
    /// A transaction on `connection`, with nothing in it.
    pub(crate) fn of(connection: &'c Connection) -> Group<'c> {
        Group {
            connection,
            terms: Vec::new(),
            new_records: 0,
            origin: Origin::Told,
            newest_told: None,
            index: None,
            has_drained: false,
            upkeep: Upkeep::None,
            rest: None,
        }
    }

    /// Runs `work`, whose records are of this origin.
    pub(crate) fn with_origin<T>(&mut self, origin: Origin, work: impl FnOnce(&mut Group<'c>) -> T) -> T {
        let before = std::mem::replace(&mut self.origin, origin);
        let made = work(self);
        self.origin = before;
        made
    }

    /// The index is so from this group on.
    pub(crate) fn index_is(&mut self, index: Index) {
        self.index = Some(index);
    }

    /// Has SQLite look after its statistics and its log once the group is committed and answered.
    pub(crate) fn want_upkeep(&mut self) {
        self.upkeep = self.upkeep.max(Upkeep::Usual);
    }

    /// Has a damaged index make room for a new one once the group is committed and answered.
    pub(crate) fn want_new_index(&mut self) {
        self.upkeep = Upkeep::NewIndex;
    }

    /// Has the writer let go of the memory that it keeps for later, once the group is committed and answered.
    pub(crate) fn want_rest(&mut self, rest: Rest) {
        self.rest = Some(rest);
    }

    /// Deferred captures are taken in by at most one job of a group: the next one would believe on disk what
    /// is not yet, and remove their file. Was it this one?
    pub(crate) fn may_drain(&mut self) -> bool {
        !std::mem::replace(&mut self.has_drained, true)
    }

    /// The first record of this group: from it on nothing is in the index yet.
    pub(crate) fn first_unindexed(&self) -> Option<i64> {
        self.terms.iter().map(|one| one.seq).min()
    }

    /// Counts a new record and has its terms (see `terms.rs`) indexed with the others of this group.
    pub(crate) fn record_added(&mut self, seq: i64, text_terms: String, cue_terms: String) {
        self.new_records += 1;
        if self.origin == Origin::Told {
            self.newest_told = Some(seq);
        }
        self.terms.push(Terms { seq, text: text_terms, cue: cue_terms });
    }
}

/// What a transaction did beside its jobs' own.
pub(crate) struct Written {
    pub(crate) new_records: u64,
    pub(crate) newest_told: Option<i64>,
    pub(crate) index: Option<Index>,
    pub(crate) upkeep: Upkeep,
    pub(crate) rest: Option<Rest>,
}

/// Runs the jobs and commits.
///
/// # Errors
/// The whole transaction's: nothing of it is there then. Those of single jobs are in `outcomes`.
pub(crate) fn write(
    connection: &Connection,
    jobs: &mut [Box<dyn Job>],
    outcomes: &mut Vec<Result<(), CallError>>,
) -> Result<Written, CallError> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let mut group = Group::of(connection);
    for job in jobs {
        outcomes.push(run(job.as_mut(), &mut group)?);
    }
    index(connection, &group.terms)?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    let Group { new_records, newest_told, index, upkeep, rest, .. } = group;
    Ok(Written { new_records, newest_told, index, upkeep, rest })
}

/// Runs one job in a savepoint. The outer error is the whole transaction's.
fn run(job: &mut dyn Job, group: &mut Group<'_>) -> Result<Result<(), CallError>, CallError> {
    let connection = group.connection;
    let before = (group.terms.len(), group.new_records, group.newest_told, group.index);
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let outcome = catch_unwind(AssertUnwindSafe(|| job.run(group)))
        .unwrap_or_else(|_| Err(CallError::failed("the store's writer panicked: nothing was stored")));
    if let Err(error) = &outcome {
        // SQLite itself ends a transaction that the disk has failed, with the others' jobs in it.
        if connection.is_autocommit() {
            return Err(error.clone());
        }
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        group.terms.truncate(before.0);
        group.new_records = before.1;
        group.newest_told = before.2;
        group.index = before.3;
        group.origin = Origin::Told;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    Ok(outcome)
}

/// Feeds the index after all savepoints are gone: each one that is opened while the index has
/// something pending makes FTS5 write that out as a segment of its own.
fn index(connection: &Connection, terms: &[Terms]) -> Result<(), CallError> {
    if terms.is_empty() {
        return Ok(());
    }
    let mut feed = connection.prepare_cached("INSERT INTO term_index (rowid, text, cue) VALUES (?1, ?2, ?3)")?;
    for one in terms {
        feed.execute((one.seq, &one.text, &one.cue))?;
    }
    Ok(())
}
