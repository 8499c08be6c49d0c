//! Look-ups on records and on the names of sessions and projects.

use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};
use uuid::{ContextV7, Timestamp, Uuid};

use crate::dispatch::CallError;
use crate::memory::model::time::UnixMicros;

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

fn find_number(connection: &Connection, sql: &str, name: &str) -> Result<Option<i64>, rusqlite::Error> {
    connection.prepare_cached(sql)?.query_row([name], |row| row.get(0)).optional()
}

/// Returns the seq of the newest record; 0 if the store is empty. Records are numbered from 1 without gaps and never
/// deleted, so this is their number, too.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn last_seq(connection: &Connection) -> Result<i64, rusqlite::Error> {
    connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM record")?.query_row([], |row| row.get(0))
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

/// Returns the seq of the record with this id; `None` if no record has it.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn find_seq(connection: &Connection, id: Uuid) -> Result<Option<i64>, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT seq FROM record WHERE id = ?1")?;
    find.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

/// Returns the seq of the record with this id.
///
/// # Errors
/// -32602 that names param `name` and the id if no record has the id; -32001 for any SQLite error.
pub(crate) fn seq_of(connection: &Connection, name: &str, id: Uuid) -> Result<i64, CallError> {
    find_seq(connection, id)?
        .ok_or_else(|| CallError::invalid(name, format_args!("the id of a record: no record has the id {id}")))
}

/// Returns the id of the record with this seq.
///
/// # Errors
/// [`rusqlite::Error::QueryReturnedNoRows`] if there is no such record, or any SQLite error.
pub(crate) fn id_of(connection: &Connection, seq: i64) -> Result<Uuid, rusqlite::Error> {
    let mut find = connection.prepare_cached("SELECT id FROM record WHERE seq = ?1")?;
    find.query_row([seq], |row| row.get(0)).map(Uuid::from_bytes)
}
