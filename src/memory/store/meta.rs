//! Table `meta`: the store's own state as key-value pairs.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, ToSql};

/// Returns the value of a key, if there is one.
///
/// # Errors
/// Any SQLite error, or a value of another type.
pub(crate) fn read<T: FromSql>(connection: &Connection, key: &str) -> Result<Option<T>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    read.query_row([key], |row| row.get(0)).optional()
}

/// Sets the value of a key. Writes nothing if it has that value already.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn write(connection: &Connection, key: &str, value: impl ToSql) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value";
    connection.prepare_cached(sql)?.execute((key, value))?;
    Ok(())
}

/// Removes a key.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn remove(connection: &Connection, key: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key])?;
    Ok(())
}
