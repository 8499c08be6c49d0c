//! The step that rebuilds the full-text index, a chunk at a time.

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepCounts, StepOutcome};
use crate::memory::graph::cooccurrence;
use crate::memory::store::fulltext::{
    GrowingIndex, IndexStatus, NEW_TABLE, REBUILD_RULES, REBUILD_UNTIL, RULES, RebuildPlace, RebuildState, TABLE,
    begin_rebuild,
};
use crate::memory::store::meta;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::text::tokenizer;

/// One chunk of the step; nothing where nothing is due.
///
/// # Errors
/// The database's.
pub(crate) fn chunk(transaction: &mut WriteTransaction<'_>, deadline: Instant) -> Result<StepOutcome, CallError> {
    let counted = |cursor, progress, indexed| {
        Ok(StepOutcome { cursor, progress, counts: StepCounts::from([("indexed", indexed)]), told: Vec::new() })
    };
    let growing = match RebuildState::read(transaction.connection)? {
        RebuildState::Current => return counted(None, Progress::Done, 0),
        RebuildState::Due(place) => begin(transaction, place)?,
        RebuildState::Growing(growing) => growing,
    };
    // The others of this transaction come to the index in use when all of its jobs are done.
    let last = transaction.first_unindexed().map_or(growing.until, |first| growing.until.min(first - 1));
    let (cursor, indexed) = feed(transaction.connection, growing, last, deadline)?;
    match cursor {
        Some(cursor) => counted(Some(cursor), Progress::More, indexed),
        None => {
            finish(transaction, growing.place)?;
            counted(None, Progress::Done, indexed)
        }
    }
}

/// Begins it, whatever was begun before.
///
/// # Errors
/// The database's.
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

/// Indexes records up to `last` until the deadline; gives the last one that is indexed, none where that were
/// all, and how many it were.
fn feed(
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
        let line = |at| Ok::<_, rusqlite::Error>(tokenizer::index_terms(row.get_ref(at)?.as_str().unwrap_or_default()));
        put.execute((seq, line(1)?, line(2)?))?;
        indexed += 1;
        if Instant::now() >= deadline {
            return Ok((Some(seq), indexed));
        }
    }
    Ok((None, indexed))
}

/// The new index takes the old one's place.
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
