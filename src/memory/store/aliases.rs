//! Table `record_alias`: other ids of records.

use rusqlite::Connection;
use uuid::Uuid;

/// Returns the other ids of a record, sorted.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn of(connection: &Connection, seq: i64) -> Result<Vec<Uuid>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT id FROM record_alias WHERE record = ?1 ORDER BY id")?;
    read.query_map([seq], |row| row.get(0).map(Uuid::from_bytes))?.collect()
}

/// Gives a record another id, which no record has and which was not forgotten. The record is shown by its smallest id.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn add(connection: &Connection, seq: i64, id: Uuid) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO record_alias (id, record) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute((id.as_bytes(), seq))?;
    let sql = "UPDATE record SET id = ?1 WHERE seq = ?2 AND id > ?1";
    connection.prepare_cached(sql)?.execute((id.as_bytes(), seq)).map(drop)
}
