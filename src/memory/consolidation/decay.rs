//! A step of the cycle: links that have faded under the floor go. Records never do.
//!
//! Weights are kept as they were at the last use, so nothing is rewritten: a link either stands or
//! goes. Its cursor is the last record whose links were looked at; at the end it starts anew.

use std::time::Instant;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepCounts, StepOutcome};
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::model::time::UnixMicros;

/// The weight under which a link goes, in thousandths: a pair reinforced once stands for 60 days.
const FLOOR: i64 = 50;

/// Links looked at between two looks at the clock.
const BATCH: usize = 500;

/// Links removed in a chunk: some 15 ms, since each is counted out and leaves two trees.
const REMOVED: usize = 1000;

/// One chunk, from the links of the record after `cursor` on.
///
/// # Errors
/// The database's.
pub(crate) fn chunk(
    connection: &Connection,
    cursor: i64,
    now: UnixMicros,
    deadline: Instant,
) -> Result<StepOutcome, CallError> {
    let mut next =
        connection.prepare_cached("SELECT a, b, kind, weight, used FROM link WHERE a > ?1 ORDER BY a, b, kind")?;
    let mut remove = connection.prepare_cached("DELETE FROM link WHERE a = ?1 AND b = ?2 AND kind = ?3")?;
    let (mut decayed, mut seen) = (0, 0);
    let mut gone = Vec::new();
    let (mut last, mut progress) = (cursor, Progress::Done);
    let mut rows = next.query([cursor])?;
    while let Some(row) = rows.next()? {
        let (a, weight): (i64, i64) = (row.get(0)?, row.get(3)?);
        // The links of one record are not cut in two: the cursor would not find the rest.
        if a != last && (seen >= BATCH || gone.len() >= REMOVED) {
            seen = 0;
            if gone.len() >= REMOVED || Instant::now() >= deadline {
                progress = Progress::More;
                break;
            }
        }
        (last, seen) = (a, seen + 1);
        let Some(kind) = LinkKind::numbered(row.get(2)?) else { continue };
        let left = links::faded(kind, weight, UnixMicros(row.get(4)?), now);
        if left < FLOOR && left < weight {
            gone.push((a, row.get::<_, i64>(1)?, kind as i64));
        } else if left < weight {
            decayed += 1;
        }
    }
    drop(rows);
    let pruned = gone.len() as u64;
    for link in gone {
        remove.execute(link)?;
    }
    let cursor = if progress == Progress::More { last } else { 0 };
    Ok(StepOutcome {
        cursor: Some(cursor),
        progress,
        counts: StepCounts::from([("decayed", decayed), ("pruned", pruned)]),
        told: Vec::new(),
    })
}
