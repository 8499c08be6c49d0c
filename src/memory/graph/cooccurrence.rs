//! Term co-occurrence: for each term, the terms found within one record of it more often than chance (NPMI).

use rusqlite::{Connection, OptionalExtension};

use crate::memory::store::meta;

/// A word's companions, each with how much they keep company.
///
/// # Errors
/// The database's.
pub(crate) fn associated_terms(connection: &Connection, term: &str) -> Result<Vec<(String, f64)>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT others FROM companion WHERE term = ?1")?;
    let others: Option<String> = read.query_row([term], |row| row.get(0)).optional()?;
    let others = others.unwrap_or_default();
    let companion = |field: &str| {
        let tenths = field.chars().next_back()?.to_digit(10)?;
        Some((field[..field.len() - 1].to_owned(), f64::from(tenths) / 10.0))
    };
    Ok(others.split(' ').filter_map(companion).collect())
}

/// Where learning goes on: the last record whose words were looked at.
const CURSOR: &str = "step_learn";

/// Forgets what was learned, to learn it again: it is made of terms, whose rules have changed.
///
/// # Errors
/// The database's.
pub(crate) fn clear(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM companion")?.execute([])?;
    meta::write(connection, CURSOR, 0)
}

/// The last record whose words were looked at; `linked`, the last one that has its links, where nothing is kept
/// of it, as by earlier releases, which did both together.
///
/// # Errors
/// The database's.
pub(crate) fn cursor(connection: &Connection, linked: i64) -> Result<i64, rusqlite::Error> {
    Ok(meta::read(connection, CURSOR)?.unwrap_or(linked))
}

/// Keeps the last record whose words were looked at.
///
/// # Errors
/// The database's.
pub(crate) fn set_cursor(connection: &Connection, seq: i64) -> Result<(), rusqlite::Error> {
    meta::write(connection, CURSOR, seq)
}
