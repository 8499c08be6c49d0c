//! How often one role has said the same words in a session: table `repetition`, and the search for the record that has
//! said them for the nth time.
//!
//! A record is told from another store's by its session, role, text and repetition: two records for which all four are
//! equal are one, whatever their ids. A record has several repetitions if stores have counted differently for one of its
//! ids; it is the record of each of them.

use rusqlite::Connection;

use crate::memory::store::forgotten::{self, SaidText};

/// Returns how often the words of a record were said before it, sorted; at least one number.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn of(connection: &Connection, seq: i64) -> Result<Vec<i64>, rusqlite::Error> {
    let sql = "SELECT number FROM repetition WHERE record = ?1 ORDER BY number";
    let numbers: Vec<i64> =
        connection.prepare_cached(sql)?.query_map([seq], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(if numbers.is_empty() { vec![0] } else { numbers })
}

/// Returns the repetition of a new record with this fingerprint: greater than that of each record that has it or had it
/// before it was forgotten.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn next(connection: &Connection, hash: [u8; 16], said: SaidText<'_>) -> Result<i64, rusqlite::Error> {
    let sql = "SELECT coalesce(max(coalesce(number, 0)) + 1, 0) FROM (
                   SELECT seq AS said FROM record
                   WHERE session = (SELECT number FROM session WHERE name = ?2) AND hash = ?1 AND valid_to IS NULL
                   UNION ALL SELECT record FROM ended_record WHERE hash = ?1)
               LEFT JOIN repetition ON record = said";
    let mut number = connection.prepare_cached(sql)?.query_row((hash, said.session), |row| row.get(0))?;
    while forgotten::is_forgotten_record(connection, said, number)? {
        number += 1;
    }
    Ok(number)
}

/// Stores the repetitions of a record that has none stored.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn set(connection: &Connection, seq: i64, numbers: &[i64]) -> Result<(), rusqlite::Error> {
    if numbers == [0] {
        return Ok(());
    }
    let sql = "INSERT INTO repetition (record, number) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    let mut put = connection.prepare_cached(sql)?;
    numbers.iter().try_for_each(|number| put.execute((seq, number)).map(drop))
}

/// Adds repetitions to those of a record. Returns true if one is new.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn add(connection: &Connection, seq: i64, numbers: &[i64]) -> Result<bool, rusqlite::Error> {
    let known = of(connection, seq)?;
    if numbers.iter().all(|number| known.contains(number)) {
        return Ok(false);
    }
    let all: Vec<i64> = known.iter().chain(numbers).copied().collect();
    set(connection, seq, &all).map(|()| true)
}

/// Returns the records of this session, role and text that have one of the repetitions.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn find(
    connection: &Connection,
    hash: [u8; 16],
    said: SaidText<'_>,
    numbers: &[i64],
) -> Result<Vec<i64>, rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT seq, session.name, role, text FROM (
             SELECT seq AS said FROM record
             WHERE session = (SELECT number FROM session WHERE name = ?2) AND hash = ?1 AND valid_to IS NULL
             UNION ALL SELECT record FROM ended_record WHERE hash = ?1)
         CROSS JOIN record ON seq = said CROSS JOIN session ON session.number = session",
    )?;
    let mut rows = read.query((hash, said.session))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let is_same = row.get_ref(1)?.as_str()? == said.session
            && row.get::<_, i64>(2)? == said.role as i64
            && row.get_ref(3)?.as_str()? == said.text;
        let seq = row.get(0)?;
        if is_same && of(connection, seq)?.iter().any(|number| numbers.contains(number)) {
            found.push(seq);
        }
    }
    Ok(found)
}
