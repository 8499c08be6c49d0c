//! The step Decay: removes links whose decayed weight is below a minimum. Records are never removed.
//!
//! A link stores its weight at its last use, so decay rewrites nothing. The step's cursor is the last record whose links
//! were read. A cycle reads a bounded number of links, and the next one goes on, so that a cycle takes no longer the more
//! records there are; after the last link the cursor returns to 0.

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepOutcome};
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::model::time::UnixMicros;

/// The decayed weight below which a link is removed, in thousandths: a pair that was reinforced once is kept for 60
/// days.
const MIN_WEIGHT_MILLI: i64 = 50;

/// Links read in a cycle, at most: some 50 ms. Links are removed after months, so it matters little in which cycle.
const MAX_READ_LINKS: usize = 100_000;

/// Links read between two checks of the deadline.
const BATCH_LINKS: usize = 500;

/// Links removed in a chunk: some 15 ms, because each removal updates the degrees and two B-trees.
const MAX_REMOVED_LINKS: usize = 1000;

/// Runs one chunk, from the links of the record after `cursor` on. `read_links` counts those of the cycle.
///
/// # Errors
/// -32001 if the store cannot be read or written.
pub(crate) fn chunk(
    connection: &Connection,
    cursor: i64,
    read_links: &mut usize,
    now: UnixMicros,
    deadline: Instant,
) -> Result<StepOutcome, CallError> {
    let mut next =
        connection.prepare_cached("SELECT a, b, kind, weight, used FROM link WHERE a > ?1 ORDER BY a, b, kind")?;
    let mut remove = connection.prepare_cached("DELETE FROM link WHERE a = ?1 AND b = ?2 AND kind = ?3")?;
    let (mut decayed, mut read) = (0, 0);
    let mut expired = Vec::new();
    let (mut last, mut progress) = (cursor, Progress::Done);
    let mut is_last = true;
    let mut rows = next.query([cursor])?;
    while let Some(row) = rows.next()? {
        let (a, weight): (i64, i64) = (row.get(0)?, row.get(3)?);
        // A chunk does not end between two links of one record: the cursor is a record.
        if a != last && (read >= BATCH_LINKS || expired.len() >= MAX_REMOVED_LINKS) {
            *read_links += read;
            read = 0;
            if *read_links >= MAX_READ_LINKS {
                is_last = false;
                break;
            }
            if expired.len() >= MAX_REMOVED_LINKS || Instant::now() >= deadline {
                progress = Progress::More;
                break;
            }
        }
        (last, read) = (a, read + 1);
        let Some(kind) = LinkKind::numbered(row.get(2)?) else { continue };
        let decayed_weight = links::faded(kind, weight, UnixMicros(row.get(4)?), now);
        if decayed_weight < MIN_WEIGHT_MILLI && decayed_weight < weight {
            expired.push((a, row.get::<_, i64>(1)?, kind as i64));
        } else if decayed_weight < weight {
            decayed += 1;
        }
    }
    drop(rows);
    let pruned = expired.len() as u64;
    for link in expired {
        remove.execute(link)?;
    }
    let cursor = if progress == Progress::Done && is_last { 0 } else { last };
    Ok(StepOutcome::new(Some(cursor), progress, [("decayed", decayed), ("pruned", pruned)]))
}
