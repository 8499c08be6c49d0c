//! Look-ups on records and on the names of sessions and projects.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row};
use uuid::{ContextV7, Timestamp, Uuid};

use crate::dispatch::CallError;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::error::StoreError;
use crate::memory::store::forgotten;

/// Orders the ids of one process by their creation.
static ID_ORDER: Mutex<ContextV7> = Mutex::new(ContextV7::new());

/// Returns a new id, a UUID of version 7: later than all others of this process, whatever the clock does. A clock before
/// 1970 counts as 1970, since the format has no earlier times.
pub(crate) fn new_id() -> Uuid {
    let micros = u64::try_from(UnixMicros::now().0).unwrap_or(0);
    let order = ID_ORDER.lock().unwrap_or_else(PoisonError::into_inner);
    Uuid::new_v7(Timestamp::from_unix(&*order, micros / 1_000_000, (micros % 1_000_000 * 1000) as u32))
}

/// Returns the number of the session with this name; `None` if the store has no such name.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn session_number(connection: &Connection, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    find_number(connection, "SELECT number FROM session WHERE name = ?1", name)
}

/// Returns the number of the project with this name; `None` if the store has no such name.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn project_number(connection: &Connection, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    find_number(connection, "SELECT number FROM project WHERE name = ?1", name)
}

/// Returns the number of a record's project; `None` if there is no such record.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn project_of(connection: &Connection, seq: i64) -> Result<Option<i64>, rusqlite::Error> {
    find_project(connection)?.query_row([seq], |row| row.get(0)).optional()
}

/// Returns the statement that finds the number of a record's project.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn find_project(connection: &Connection) -> Result<CachedStatement<'_>, rusqlite::Error> {
    connection.prepare_cached("SELECT project FROM record WHERE seq = ?1")
}

/// Returns the number of the project of a session's newest record; `None` if the session has none.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn project_of_session(connection: &Connection, session: &str) -> Result<Option<i64>, rusqlite::Error> {
    let sql = "SELECT project FROM record WHERE session = (SELECT number FROM session WHERE name = ?1)
               ORDER BY ts DESC LIMIT 1";
    connection.prepare_cached(sql)?.query_row([session], |row| row.get(0)).optional()
}

fn find_number(connection: &Connection, sql: &str, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()
}

/// Returns the number of records. Records are numbered from 1, and the numbers of those that were forgotten, or absorbed
/// by another one, are not used again.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn count(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let sql = "SELECT (SELECT count(*) FROM forgotten) + (SELECT count(*) FROM absorbed_record)";
    let gone: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    Ok(last_number(connection)? - gone)
}

/// Returns the last number that a record was given, even if the record is gone; 0 if none was.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn last_number(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let sql = "SELECT max((SELECT coalesce(max(seq), 0) FROM record), (SELECT coalesce(max(seq), 0) FROM forgotten),
                          (SELECT coalesce(max(seq), 0) FROM absorbed_record))";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

/// Returns the seq of the newest record; 0 if the store is empty. There are at most so many records.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn last_seq(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM record")?.query_row([], |row| row.get(0))
}

/// Returns the string in a column, borrowed.
///
/// # Errors
/// [`StoreError::Damaged`] if the column holds no UTF-8 text.
pub(crate) fn string<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, StoreError> {
    row.get_ref(at)?
        .as_str()
        .map_err(|error| StoreError::Damaged(format!("a record's column {at} is not text: {error}")))
}

/// Returns the text of a record.
///
/// # Errors
/// [`rusqlite::Error::QueryReturnedNoRows`] if there is no such record, or any SQLite error.
pub(crate) fn text_of(connection: &Connection, seq: i64) -> Result<String, rusqlite::Error> {
    connection.prepare_cached("SELECT text FROM record WHERE seq = ?1")?.query_row([seq], |row| row.get(0))
}

/// A side of a record in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Before,
    After,
}

impl Side {
    /// Returns the seq right beside `seq`: of the same session if no other session wrote in between, which is the
    /// common case and needs no [`neighbor_in_session`].
    pub(crate) fn adjacent(self, seq: i64) -> i64 {
        match self {
            Side::Before => seq - 1,
            Side::After => seq + 1,
        }
    }
}

/// Returns the seq of the record of this session that comes just before or after `seq`, if there is one.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn neighbor_in_session(
    connection: &Connection,
    session: i64,
    seq: i64,
    side: Side,
) -> Result<Option<i64>, rusqlite::Error> {
    let sql = match side {
        Side::Before => "SELECT max(seq) FROM record WHERE session = ?1 AND seq < ?2",
        Side::After => "SELECT min(seq) FROM record WHERE session = ?1 AND seq > ?2",
    };
    connection.prepare_cached(sql)?.query_row((session, seq), |row| row.get(0))
}

/// Returns the seq of the record with this id, which may be an alias; `None` if no record has it.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn find_seq(connection: &Connection, id: Uuid) -> Result<Option<i64>, rusqlite::Error> {
    let sql = "SELECT seq FROM record WHERE id = ?1 UNION ALL SELECT record FROM record_alias WHERE id = ?1";
    let mut find = connection.prepare_cached(sql)?;
    find.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

/// Returns the seq of the record with this id.
///
/// # Errors
/// -32602 that names param `name` and the id if no record has the id or it was forgotten; -32001 for any SQLite error.
pub(crate) fn seq_of(connection: &Connection, name: &str, id: Uuid) -> Result<i64, CallError> {
    if let Some(seq) = find_seq(connection, id)? {
        return Ok(seq);
    }
    Err(match forgotten::forgotten_at(connection, id)? {
        Some(at) => CallError::invalid(name, format_args!("the id of a record: {id} was forgotten at {at}")),
        None => CallError::invalid(name, format_args!("the id of a record: no record has the id {id}")),
    })
}

/// Returns the id of the record with this seq.
///
/// # Errors
/// [`rusqlite::Error::QueryReturnedNoRows`] if there is no such record, or any SQLite error.
pub(crate) fn id_of(connection: &Connection, seq: i64) -> Result<Uuid, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT id FROM record WHERE seq = ?1")?;
    find.query_row([seq], |row| row.get(0)).map(Uuid::from_bytes)
}

/// What groups records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordGroup {
    Session,
    Project,
}

/// A session or project that has records.
pub(crate) struct GroupSummary {
    /// The number of the one with the newest record, then those of its other names.
    pub(crate) numbers: Vec<i64>,
    /// The name that it is shown by.
    pub(crate) name: String,
    /// The time of the newest record, in microseconds.
    pub(crate) last: i64,
}

/// Returns all sessions or projects with records, the one with the newest record first. A project has the records of all
/// its names.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn groups(connection: &Connection, group: RecordGroup) -> Result<Vec<GroupSummary>, rusqlite::Error> {
    let sql = match group {
        RecordGroup::Session => {
            "SELECT number, name, (SELECT max(ts) FROM record WHERE session = number) AS last FROM session
             WHERE last IS NOT NULL ORDER BY last DESC, number DESC"
        }
        RecordGroup::Project => {
            "SELECT number, coalesce(project_alias.project, project.name),
                    (SELECT max(ts) FROM record WHERE project = number) AS last
             FROM project LEFT JOIN project_alias ON project_alias.name = project.name
             WHERE last IS NOT NULL ORDER BY last DESC, number DESC"
        }
    };
    let mut read = connection.prepare_cached(sql)?;
    let mut rows = read.query([])?;
    let (mut groups, mut places) = (Vec::<GroupSummary>::new(), HashMap::<String, usize>::new());
    while let Some(row) = rows.next()? {
        let (number, name): (i64, String) = (row.get(0)?, row.get(1)?);
        match places.get(&name) {
            Some(&at) => groups[at].numbers.push(number),
            None => {
                places.insert(name.clone(), groups.len());
                groups.push(GroupSummary { numbers: vec![number], name, last: row.get(2)? });
            }
        }
    }
    Ok(groups)
}

/// Returns the number of records of a session or project, and the time of the first, in microseconds; 0 without one.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn extent_of(
    connection: &Connection,
    group: RecordGroup,
    numbers: &[i64],
) -> Result<(i64, i64), rusqlite::Error> {
    let sql = match group {
        RecordGroup::Session => "SELECT count(*), min(ts) FROM record WHERE session = ?1",
        RecordGroup::Project => "SELECT count(*), min(ts) FROM record WHERE project = ?1",
    };
    let mut read = connection.prepare_cached(sql)?;
    let (mut count, mut first) = (0, i64::MAX);
    for number in numbers {
        let (more, earliest): (i64, Option<i64>) = read.query_row([number], |row| Ok((row.get(0)?, row.get(1)?)))?;
        count += more;
        first = first.min(earliest.unwrap_or(i64::MAX));
    }
    Ok((count, if count > 0 { first } else { 0 }))
}
