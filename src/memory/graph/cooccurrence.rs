//! Term co-occurrence: for each term, the terms found within one record of it more often than chance (NPMI).

use rusqlite::{Connection, OptionalExtension};

use crate::memory::store::meta;

/// Returns the terms that co-occur with `term`, each with its association from 0.0 to 0.9, in tenths.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn associated_terms(connection: &Connection, term: &str) -> Result<Vec<(String, f64)>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT others FROM companion WHERE term = ?1")?;
    let others: Option<String> = read.query_row([term], |row| row.get(0)).optional()?;
    let others = others.unwrap_or_default();
    let parse = |field: &str| {
        let tenths = field.chars().next_back()?.to_digit(10)?;
        Some((field[..field.len() - 1].to_owned(), f64::from(tenths) / 10.0))
    };
    Ok(others.split(' ').filter_map(parse).collect())
}

/// Meta key: the last record whose terms were learned.
const CURSOR_KEY: &str = "step_learn";

/// Deletes the table's rows and resets the cursor, so that everything is learned again: for use after a change of the
/// tokenizer rules.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn clear(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM companion")?.execute([])?;
    meta::write(connection, CURSOR_KEY, 0)
}

/// Returns the last record whose terms were learned. If the store has no such cursor, returns `linked`, the last record
/// with its links: earlier releases did both in one step.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn cursor(connection: &Connection, linked: i64) -> Result<i64, rusqlite::Error> {
    Ok(meta::read(connection, CURSOR_KEY)?.unwrap_or(linked))
}

/// Stores the last record whose terms were learned.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn set_cursor(connection: &Connection, seq: i64) -> Result<(), rusqlite::Error> {
    meta::write(connection, CURSOR_KEY, seq)
}
