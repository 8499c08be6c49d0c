//! Removes what the database has of records that are being forgotten: first one record after the other, then what was
//! made of several.

use rusqlite::{Connection, OptionalExtension};

use crate::memory::consolidation::step::Step;
use crate::memory::forgetting::names::{self, UnusedNames};
use crate::memory::graph::links::LinkKind;
use crate::memory::graph::{cooccurrence, metrics};
use crate::memory::model::record::Role;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::forgotten::{self, ForgottenRecord, SaidText};
use crate::memory::store::{fulltext, meta, repetitions, tags};

/// Returns the next record to forget; `None` if none is left.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn next(connection: &Connection) -> Result<Option<i64>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT seq FROM forgetting ORDER BY seq LIMIT 1")?;
    read.query_row([], |row| row.get(0)).optional()
}

/// Forgets one record of table `forgetting`: deletes it with its index terms, links and tags. A pattern that only this
/// record showed is added to the table.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn forget(connection: &Connection, seq: i64, now: UnixMicros) -> Result<(), rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT session.name, role, text, cue, record.session FROM record
         JOIN session ON session.number = record.session WHERE seq = ?1",
    )?;
    let record: Option<(String, i64, String, String, i64)> = read
        .query_row([seq], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .optional()?;
    let Some((session, role, text, cue, session_number)) = record else {
        return connection.prepare_cached("DELETE FROM forgetting WHERE seq = ?1")?.execute([seq]).map(drop);
    };
    fulltext::remove_terms(connection, seq, &text, &cue)?;
    let patterns = patterns_of(connection, seq)?;
    for sql in ["DELETE FROM link WHERE a = ?1", "DELETE FROM link WHERE b = ?1", "DELETE FROM tag WHERE record = ?1"] {
        connection.prepare_cached(sql)?.execute([seq])?;
    }
    leave_community(connection, seq)?;
    // A pattern is learned again from the records that are left, if they show it: its words may be of this one alone.
    if !patterns.is_empty() {
        meta::remove(connection, Step::Induce.cursor_key())?;
    }
    for pattern in patterns {
        let sql = "INSERT INTO forgetting (seq) VALUES (?1) ON CONFLICT DO NOTHING";
        connection.prepare_cached(sql)?.execute([pattern])?;
    }
    let sql = "DELETE FROM early_turn WHERE session = ?1 AND record = ?2";
    let is_early = connection.prepare_cached(sql)?.execute((session_number, seq))? > 0;
    let said = SaidText { session: &session, role: Role::numbered(role), text: &text };
    let repetitions = repetitions::of(connection, seq)?;
    forgotten::delete(connection, &ForgottenRecord { seq, said, repetitions, is_early }, now)
}

/// Returns the patterns that the record shows.
fn patterns_of(connection: &Connection, seq: i64) -> Result<Vec<i64>, rusqlite::Error> {
    let sql = "SELECT a FROM link JOIN tag ON tag.record = a AND tag.name = ?3 WHERE b = ?1 AND kind = ?2";
    let mut read = connection.prepare_cached(sql)?;
    read.query_map((seq, LinkKind::Evidence as i64, tags::PATTERN), |row| row.get(0))?.collect()
}

/// Deletes the record's node in the graph. A community of one that is left is none.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn leave_community(connection: &Connection, seq: i64) -> Result<(), rusqlite::Error> {
    let sql = "DELETE FROM node WHERE record = ?1 RETURNING community";
    let community: Option<i64> =
        connection.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).optional()?.flatten();
    if let Some(number) = community {
        let sql = "UPDATE community SET size = size - 1 WHERE number = ?1";
        connection.prepare_cached(sql)?.execute([number])?;
    }
    Ok(())
}

/// Deletes what was made of several records, some of which are forgotten: session briefings, co-occurring terms, metrics,
/// the planner's samples, and the names of sessions and projects that have no record any more, which are returned. Events
/// are left to `event_log::clean`.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn forget_derived(connection: &Connection, now: UnixMicros) -> Result<UnusedNames, rusqlite::Error> {
    cooccurrence::clear(connection)?;
    metrics::clear(connection)?;
    for sql in [
        // The planner's samples of indexed values, such as co-occurring terms. `PRAGMA optimize` takes them again.
        "DROP TABLE IF EXISTS sqlite_stat4",
        "DELETE FROM wake",
        "DELETE FROM community WHERE size < 2",
    ] {
        connection.execute(sql, [])?;
    }
    names::remove_unused(connection, now)
}
