//! The step Optimize: merges the segments of the full-text index a few pages at a time, then requests `PRAGMA optimize`
//! and a WAL checkpoint.
//!
//! It has no cursor: FTS5 knows what remains to be merged.

use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepOutcome};
use crate::memory::store::writer::transaction::WriteTransaction;

/// Pages of the index that are merged between two checks of the deadline: some 2 ms.
const MERGE_PAGES: i64 = 16;

/// Segments of one level from which on they are merged: the fewest that FTS5 can merge. Its default of 4 leaves up to three
/// on each level, and each has its own copy of the common terms: a quarter of the index of a small store.
const MIN_MERGED_COUNT: i64 = 2;

/// Runs one chunk.
///
/// # Errors
/// -32001 if the index cannot be read or written.
pub(crate) fn chunk(transaction: &mut WriteTransaction<'_>, deadline: Instant) -> Result<StepOutcome, CallError> {
    let connection = transaction.connection;
    configure(connection)?;
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

/// Sets [`MIN_MERGED_COUNT`] (<https://sqlite.org/fts5.html#the_usermerge_configuration_option>). The index keeps it until
/// it is rebuilt.
fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT v FROM term_index_config WHERE k = 'usermerge'")?;
    if read.query_row([], |row| row.get::<_, i64>(0)).optional()? != Some(MIN_MERGED_COUNT) {
        let sql = "INSERT INTO term_index (term_index, rank) VALUES ('usermerge', ?1)";
        connection.execute(sql, [MIN_MERGED_COUNT])?;
    }
    Ok(())
}

/// Begins to merge all segments into one, whatever their levels; [`merge`] goes on.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn begin_full_merge(connection: &Connection) -> Result<(), rusqlite::Error> {
    configure(connection)?;
    // https://sqlite.org/fts5.html#the_merge_command: a negative number puts all segments on one level first.
    connection.execute("INSERT INTO term_index (term_index, rank) VALUES ('merge', ?1)", [-MERGE_PAGES]).map(drop)
}

/// Merges pages of segments of the same level. Returns true if anything was merged, which FTS5 shows by the number of
/// changed rows (<https://sqlite.org/fts5.html#the_merge_command>).
///
/// # Errors
/// Any SQLite error.
pub(crate) fn merge(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let before = connection.total_changes();
    connection
        .prepare_cached("INSERT INTO term_index (term_index, rank) VALUES ('merge', ?1)")?
        .execute([MERGE_PAGES])?;
    Ok(connection.total_changes() - before >= 2)
}
