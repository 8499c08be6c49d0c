//! The step Reindex: rebuilds the full-text index (`store/fulltext.rs`) in chunks.

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepOutcome};
use crate::memory::graph::cooccurrence;
use crate::memory::store::fulltext::{
    GrowingIndex, IndexStatus, NEW_TABLE, REBUILD_RULES, REBUILD_UNTIL, RULES, RebuildPlace, RebuildState, TABLE,
    begin_rebuild,
};
use crate::memory::store::meta;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::text::tokenizer;

/// Runs one chunk. Does nothing if no rebuild is due.
///
/// # Errors
/// -32001 if the store cannot be read or written.
pub(crate) fn chunk(transaction: &mut WriteTransaction<'_>, deadline: Instant) -> Result<StepOutcome, CallError> {
    let outcome = |cursor, progress, indexed| Ok(StepOutcome::new(cursor, progress, [("indexed", indexed)]));
    let growing = match RebuildState::read(transaction.connection)? {
        RebuildState::Current => return outcome(None, Progress::Done, 0),
        RebuildState::Due(place) => begin(transaction, place)?,
        RebuildState::Growing(growing) => growing,
    };
    // The records of this transaction are added to the index in use at its end.
    let last = transaction.first_unindexed().map_or(growing.until, |first| growing.until.min(first - 1));
    let (cursor, indexed) = index_records(transaction.connection, growing, last, deadline)?;
    match cursor {
        Some(cursor) => outcome(Some(cursor), Progress::More, indexed),
        None => {
            finish(transaction, growing.place)?;
            outcome(None, Progress::Done, indexed)
        }
    }
}

/// Begins a rebuild. Discards one that is in progress.
///
/// # Errors
/// -32001 if the store cannot be read or written.
pub(crate) fn begin(transaction: &mut WriteTransaction<'_>, place: RebuildPlace) -> Result<GrowingIndex, CallError> {
    let connection = transaction.connection;
    connection.execute_batch(&format!("DROP TABLE IF EXISTS {NEW_TABLE}"))?;
    if place == RebuildPlace::Same {
        connection.execute_batch(&format!("DROP TABLE IF EXISTS {TABLE}"))?;
    }
    let begun = begin_rebuild(connection, place, transaction.first_unindexed())?;
    transaction.set_index_status(IndexStatus::Due);
    Ok(begun)
}

/// Indexes records up to `last` until the deadline. Returns the last record that was indexed, or `None` if all were, and
/// the number of records that were indexed.
fn index_records(
    connection: &Connection,
    growing: GrowingIndex,
    last: i64,
    deadline: Instant,
) -> Result<(Option<i64>, u64), rusqlite::Error> {
    let table = if growing.place == RebuildPlace::Same { TABLE } else { NEW_TABLE };
    let mut read =
        connection.prepare_cached("SELECT seq, text, cue FROM record WHERE seq > ?1 AND seq <= ?2 ORDER BY seq")?;
    let mut put = connection.prepare_cached(&format!("INSERT INTO {table} (rowid, text, cue) VALUES (?1, ?2, ?3)"))?;
    let mut rows = read.query((growing.cursor, last))?;
    let mut indexed = 0;
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        let terms =
            |at| Ok::<_, rusqlite::Error>(tokenizer::index_terms(row.get_ref(at)?.as_str().unwrap_or_default()));
        put.execute((seq, terms(1)?, terms(2)?))?;
        indexed += 1;
        if Instant::now() >= deadline {
            return Ok((Some(seq), indexed));
        }
    }
    Ok((None, indexed))
}

/// Puts the new index in the place of the old one. Discards what was learned of terms if their rules have changed.
fn finish(transaction: &mut WriteTransaction<'_>, place: RebuildPlace) -> Result<(), CallError> {
    let connection = transaction.connection;
    if place == RebuildPlace::Beside {
        connection.execute_batch(&format!("DROP TABLE {TABLE}; ALTER TABLE {NEW_TABLE} RENAME TO {TABLE}"))?;
    }
    if meta::read(connection, RULES)? != Some(tokenizer::VERSION) {
        cooccurrence::clear(connection)?;
        meta::write(connection, RULES, tokenizer::VERSION)?;
    }
    meta::remove(connection, REBUILD_UNTIL)?;
    meta::remove(connection, REBUILD_RULES)?;
    transaction.set_index_status(IndexStatus::Current);
    Ok(())
}
