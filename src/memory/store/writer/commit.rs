//! Runs the jobs that wait in one transaction, a savepoint for each, and commits it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::store::fulltext::Index;
use crate::memory::store::writer::handover::WriterHandover;
use crate::memory::store::writer::job::Job;
use crate::memory::store::writer::transaction::{Group, Origin, Terms, Upkeep};

/// What a transaction did beside its jobs' own.
pub(crate) struct Written {
    pub(crate) new_records: u64,
    pub(crate) newest_told: Option<i64>,
    pub(crate) index: Option<Index>,
    pub(crate) upkeep: Upkeep,
    pub(crate) handover: Option<WriterHandover>,
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
    let Group { new_records, newest_told, index, upkeep, handover, .. } = group;
    Ok(Written { new_records, newest_told, index, upkeep, handover })
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
