//! Contradictions that are not settled yet.

use rusqlite::Connection;

use crate::memory::graph::links::LinkKind;
use crate::memory::store::records;

/// A replacement that nobody has settled: neither were the two bound together since
/// (`memory_reinforce`), nor has the new fact been replaced in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenContradiction {
    /// What held before.
    pub(crate) old: i64,
    /// What holds since.
    pub(crate) new: i64,
}

/// The newest replacements that are not settled, `most` at most; of one session where one is given.
///
/// # Errors
/// The database's.
pub(crate) fn unsettled(
    connection: &Connection,
    session: Option<&str>,
    most: usize,
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
    read.query_map((session, most as i64, LinkKind::Reinforced as i64), |row| {
        Ok(OpenContradiction { old: row.get(0)?, new: row.get(1)? })
    })?
    .collect()
}
