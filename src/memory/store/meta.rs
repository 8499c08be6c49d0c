//! What the store keeps of itself, a value a name.

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, ToSql};

/// The value of this name, if there is one.
///
/// # Errors
/// The database's, also where the value is of another type.
pub(crate) fn read<T: FromSql>(connection: &Connection, key: &str) -> Result<Option<T>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    read.query_row([key], |row| row.get(0)).optional()
}

/// Keeps a value; one that is kept already is not written again.
///
/// # Errors
/// The database's.
pub(crate) fn write(connection: &Connection, key: &str, value: impl ToSql) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value WHERE value IS NOT excluded.value";
    connection.prepare_cached(sql)?.execute((key, value))?;
    Ok(())
}

/// Keeps no value of this name.
///
/// # Errors
/// The database's.
pub(crate) fn remove(connection: &Connection, key: &str) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key])?;
    Ok(())
}
