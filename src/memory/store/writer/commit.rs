//! Runs jobs in one transaction and commits it. Several jobs run each in a savepoint. A job that is alone needs none, and an
//! import is much faster so: SQLite copies the pages that a statement changes to a list of what each open savepoint may
//! have to restore, and at the end of each statement walks along what the savepoint of the job has in it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::store::commit_mark::{CommitMark, Marker};
use crate::memory::store::fulltext::IndexStatus;
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::tags::AssistantCounts;
use crate::memory::store::writer::handover::WriterHandover;
use crate::memory::store::writer::job::WriteJob;
use crate::memory::store::writer::transaction::{Origin, PostCommit, RecordTerms, WriteAlone, WriteTransaction};

/// What the writer has to do after a commit.
pub(crate) struct Written {
    /// `None` if nothing has changed.
    pub(crate) mark: Option<CommitMark>,
    pub(crate) new_records: u64,
    pub(crate) of_assistants: AssistantCounts,
    pub(crate) newest_external: Option<i64>,
    pub(crate) index: Option<IndexStatus>,
    /// The counts of masked secrets, if they have changed.
    pub(crate) masked: Option<String>,
    pub(crate) post_commit: PostCommit,
    pub(crate) handover: Option<WriterHandover>,
    pub(crate) alone: Vec<WriteAlone>,
}

/// Runs the jobs and commits.
///
/// # Errors
/// The transaction's error, such as a lost file; nothing of it was stored. Errors of single jobs are in `outcomes`.
pub(crate) fn write(
    connection: &Connection,
    file: &StoreFile,
    marker: Marker,
    jobs: &mut [Box<dyn WriteJob>],
    outcomes: &mut Vec<Result<(), CallError>>,
) -> Result<Written, CallError> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    let changes_before = connection.total_changes();
    let mut transaction = WriteTransaction::of(connection);
    match jobs {
        [job] => outcomes.push(run_alone(job.as_mut(), &mut transaction)?),
        jobs => {
            for job in jobs {
                outcomes.push(run(job.as_mut(), &mut transaction)?);
            }
        }
    }
    if connection.is_autocommit() {
        return Ok(written(None, transaction));
    }
    index(connection, &transaction.terms)?;
    // Without changes the commit writes nothing.
    let has_changes = connection.total_changes() != changes_before;
    let mark = has_changes.then(|| marker.mark_commit(connection)).transpose()?;
    file.verify()?;
    connection.prepare_cached("COMMIT")?.execute([])?;
    Ok(written(mark, transaction))
}

fn written(mark: Option<CommitMark>, transaction: WriteTransaction<'_>) -> Written {
    let WriteTransaction {
        new_records,
        of_assistants,
        newest_external,
        index,
        masked,
        post_commit,
        handover,
        alone,
        ..
    } = transaction;
    Written { mark, new_records, of_assistants, newest_external, index, masked, post_commit, handover, alone }
}

/// Runs the only job of a transaction. The inner result is the job's, after whose error the transaction is rolled back; the
/// outer error is the transaction's.
fn run_alone(
    job: &mut dyn WriteJob,
    transaction: &mut WriteTransaction<'_>,
) -> Result<Result<(), CallError>, CallError> {
    let connection = transaction.connection;
    let outcome = run_caught(job, transaction);
    if let Err(error) = &outcome {
        // After a disk error SQLite itself rolls the transaction back.
        if connection.is_autocommit() {
            return Err(error.clone());
        }
        connection.prepare_cached("ROLLBACK")?.execute([])?;
        let WriteTransaction { post_commit, handover, alone, .. } =
            std::mem::replace(transaction, WriteTransaction::of(connection));
        (transaction.post_commit, transaction.handover, transaction.alone) = (post_commit, handover, alone);
    }
    Ok(outcome)
}

fn run_caught(job: &mut dyn WriteJob, transaction: &mut WriteTransaction<'_>) -> Result<(), CallError> {
    catch_unwind(AssertUnwindSafe(|| job.run(transaction)))
        .unwrap_or_else(|_| Err(CallError::failed("the store's writer panicked: nothing was stored")))
}

/// Runs one job in a savepoint. The inner result is the job's, the outer error the transaction's.
fn run(job: &mut dyn WriteJob, transaction: &mut WriteTransaction<'_>) -> Result<Result<(), CallError>, CallError> {
    let connection = transaction.connection;
    let before = (transaction.terms.len(), transaction.new_records, transaction.newest_external, transaction.index);
    let masked_before = transaction.masked.clone();
    let of_assistants = transaction.of_assistants;
    connection.prepare_cached("SAVEPOINT job")?.execute([])?;
    let outcome = run_caught(job, transaction);
    if let Err(error) = &outcome {
        // After a disk error SQLite itself rolls the transaction back, with all jobs in it.
        if connection.is_autocommit() {
            return Err(error.clone());
        }
        connection.prepare_cached("ROLLBACK TO job")?.execute([])?;
        transaction.terms.truncate(before.0);
        transaction.new_records = before.1;
        transaction.of_assistants = of_assistants;
        transaction.newest_external = before.2;
        transaction.index = before.3;
        transaction.masked = masked_before;
        transaction.origin = Origin::External;
    }
    connection.prepare_cached("RELEASE job")?.execute([])?;
    Ok(outcome)
}

/// Adds the terms to the full-text index, after the last savepoint: FTS5 writes its pending terms as a new segment
/// whenever a savepoint is opened.
fn index(connection: &Connection, terms: &[RecordTerms]) -> Result<(), CallError> {
    if terms.is_empty() {
        return Ok(());
    }
    let mut insert = connection.prepare_cached("INSERT INTO term_index (rowid, text, cue) VALUES (?1, ?2, ?3)")?;
    for one in terms {
        insert.execute((one.seq, &one.text, &one.cue))?;
    }
    Ok(())
}
