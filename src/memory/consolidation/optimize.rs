//! The step Optimize: merges the segments of the full-text index a few pages at a time, then requests `PRAGMA optimize`
//! and a WAL checkpoint.
//!
//! It has no cursor: FTS5 knows what remains to be merged.

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepOutcome};
use crate::memory::store::writer::transaction::WriteTransaction;

/// Pages of the index that are merged between two checks of the deadline: some 2 ms.
const MERGE_PAGES: i64 = 16;

/// Runs one chunk.
///
/// # Errors
/// -32001 if the index cannot be read or written.
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
    Ok(StepOutcome::new(None, progress, [("merged", merged)]))
}

/// Merges pages of segments of the same level. Returns true if anything was merged, which FTS5 shows by the number of
/// changed rows (<https://sqlite.org/fts5.html#the_merge_command>).
fn merge(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let before = connection.total_changes();
    connection
        .prepare_cached("INSERT INTO term_index (term_index, rank) VALUES ('merge', ?1)")?
        .execute([MERGE_PAGES])?;
    Ok(connection.total_changes() - before >= 2)
}
