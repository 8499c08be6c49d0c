//! A step of the cycle: the full-text index is merged a few pages at a time, and at the end SQLite
//! looks after its statistics and its log.
//!
//! It has no cursor of its own: the index knows what is left to merge.

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepCounts, StepOutcome};
use crate::memory::store::writer::transaction::WriteTransaction;

/// Pages of the index written between two looks at the clock: some 2 ms.
const PAGES: i64 = 16;

/// One chunk.
///
/// # Errors
/// The database's.
pub(crate) fn chunk(transaction: &mut WriteTransaction<'_>, deadline: Instant) -> Result<StepOutcome, CallError> {
    let connection = transaction.connection;
    let mut merged = 0;
    let mut progress = Progress::Done;
    while merge(connection)? {
        merged += 1;
        if Instant::now() >= deadline {
            progress = Progress::More;
            break;
        }
    }
    if progress == Progress::Done {
        transaction.request_optimize();
    }
    Ok(StepOutcome { cursor: None, progress, counts: StepCounts::from([("merged", merged)]), told: Vec::new() })
}

/// Merges some pages of segments that are many of a size; was there anything to merge? SQLite says so
/// by the rows that it changes (<https://sqlite.org/fts5.html#the_merge_command>).
fn merge(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let before = connection.total_changes();
    connection.prepare_cached("INSERT INTO term_index (term_index, rank) VALUES ('merge', ?1)")?.execute([PAGES])?;
    Ok(connection.total_changes() - before >= 2)
}
