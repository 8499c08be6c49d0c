//! Contradictions that the user has not settled.

use rusqlite::Connection;

use crate::memory::graph::links::LinkKind;
use crate::memory::store::records;

/// A replacement of one record by another that is not settled: neither have the two been reinforced together since
/// (`memory_reinforce`), nor has the replacement been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenContradiction {
    /// The seq of the replaced record.
    pub(crate) old: i64,
    /// The seq of its replacement.
    pub(crate) new: i64,
}

/// Returns up to `limit` contradictions that are not settled, the newest first; only those whose replacement is of
/// `session` if it is given.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn unsettled(
    connection: &Connection,
    session: Option<&str>,
    limit: usize,
) -> Result<Vec<OpenContradiction>, rusqlite::Error> {
    let session: Option<i64> = match session {
        None => None,
        Some(name) => {
            let Some(number) = records::session_number(connection, name)? else { return Ok(Vec::new()) };
            Some(number)
        }
    };
    // The literal 2 is `LinkKind::Contradicts`; links.rs asserts it.
    let mut read = connection.prepare_cached(
        "SELECT link.a, link.b FROM link JOIN record ON record.seq = link.b
         WHERE link.kind = 2 AND record.valid_to IS NULL AND (?1 IS NULL OR record.session = ?1)
           AND NOT EXISTS (SELECT 1 FROM link AS settled
                           WHERE settled.a = min(link.a, link.b) AND settled.b = max(link.a, link.b)
                             AND settled.kind = ?3)
         ORDER BY link.used DESC LIMIT ?2",
    )?;
    read.query_map((session, limit as i64, LinkKind::Reinforced as i64), |row| {
        Ok(OpenContradiction { old: row.get(0)?, new: row.get(1)? })
    })?
    .collect()
}
