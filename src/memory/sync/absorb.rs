//! Makes one record of two that turned out to be one: two stores have counted differently how often their words were said
//! before, and an id that both know says so.

use rusqlite::{Connection, OptionalExtension};

use crate::dispatch::CallError;
use crate::memory::forgetting::removal;
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::{aliases, change_log, fulltext, records, repetitions, tags};

/// Gives `kept` everything that `gone` has, which has the same session, role and text, and deletes `gone`.
///
/// Caller's contract: the full-text index is not to be rebuilt, since a term can only be taken out of it by the rules that
/// put it in.
///
/// # Errors
/// -32001 for any SQLite error.
pub(crate) fn absorb(transaction: &mut WriteTransaction<'_>, kept: i64, gone: i64) -> Result<(), CallError> {
    let connection = transaction.connection;
    let id = records::id_of(connection, gone)?;
    let others = aliases::of(connection, gone)?;
    let (ts, valid_to, project): (i64, Option<i64>, i64) = connection
        .prepare_cached("SELECT ts, valid_to, project FROM record WHERE seq = ?1")?
        .query_row([gone], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    repetitions::add(connection, kept, &repetitions::of(connection, gone)?)?;
    move_links(connection, kept, gone)?;
    for tag in tags::of(connection, gone)? {
        if tags::has(connection, kept, &tag)? {
            transaction.tag_removed(&tag);
        }
        tags::add(connection, kept, &tag)?;
    }
    removal::leave_community(connection, gone)?;
    unindex(transaction, gone)?;
    let sql = "INSERT INTO absorbed_record (seq, record) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute((gone, kept))?;
    for sql in [
        "DELETE FROM tag WHERE record = ?1",
        "DELETE FROM early_turn WHERE record = ?1 AND session = (SELECT session FROM record WHERE seq = ?1)",
        "DELETE FROM record_alias WHERE record = ?1",
        "DELETE FROM record WHERE seq = ?1",
    ] {
        connection.prepare_cached(sql)?.execute([gone])?;
    }
    for id in others.into_iter().chain([id]) {
        aliases::add(connection, kept, id)?;
    }
    transaction.record_removed();
    merge_fields(connection, kept, (ts, project), valid_to)?;
    Ok(change_log::note_record(connection, kept)?)
}

fn move_links(connection: &Connection, kept: i64, gone: i64) -> Result<(), rusqlite::Error> {
    let sql = "SELECT a, b, kind, weight, used FROM link WHERE a = ?1
               UNION ALL SELECT a, b, kind, weight, used FROM link WHERE b = ?1";
    let found: Vec<(i64, i64, i64, i64, i64)> = connection
        .prepare_cached(sql)?
        .query_map([gone], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))?
        .collect::<Result<_, _>>()?;
    for (a, b, kind, weight, used) in found {
        let sql = "DELETE FROM link WHERE a = ?1 AND b = ?2 AND kind = ?3";
        connection.prepare_cached(sql)?.execute((a, b, kind))?;
        let moved = |seq: i64| if seq == gone { kept } else { seq };
        if let Some(kind) = LinkKind::numbered(kind)
            && moved(a) != moved(b)
        {
            links::merge(connection, (moved(a), moved(b)), kind, weight, used)?;
        }
    }
    Ok(())
}

/// Takes the terms of a record out of the full-text index, or out of those that are to be indexed.
fn unindex(transaction: &mut WriteTransaction<'_>, seq: i64) -> Result<(), rusqlite::Error> {
    let before = transaction.terms.len();
    transaction.terms.retain(|one| one.seq != seq);
    if transaction.terms.len() < before {
        return Ok(());
    }
    let mut read = transaction.connection.prepare_cached("SELECT text, cue FROM record WHERE seq = ?1")?;
    let (text, cue): (String, String) = read.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
    fulltext::remove_terms(transaction.connection, seq, &text, &cue)
}

/// Gives a record the earlier of two times, of two projects the one whose name comes first, and of two ends of validity
/// the earlier; a project without a name is none.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn merge_fields(
    connection: &Connection,
    seq: i64,
    (ts, project): (i64, i64),
    valid_to: Option<i64>,
) -> Result<(), rusqlite::Error> {
    if let Some(at) = valid_to {
        let sql = "UPDATE record SET valid_to = ?2 WHERE seq = ?1 AND (valid_to IS NULL OR valid_to > ?2)";
        connection.prepare_cached(sql)?.execute((seq, at))?;
    }
    let mut read = connection.prepare_cached("SELECT ts, project FROM record WHERE seq = ?1")?;
    let known: (i64, i64) = read.query_row([seq], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sql = "SELECT number FROM project WHERE number IN (?1, ?2) AND name <> '' ORDER BY name LIMIT 1";
    let first: Option<i64> =
        connection.prepare_cached(sql)?.query_row((known.1, project), |row| row.get(0)).optional()?;
    let merged = (known.0.min(ts), first.unwrap_or(known.1));
    if merged == known {
        return Ok(());
    }
    let (ts, project) = merged;
    let sql = "INSERT INTO record_merge (record, ts, project) VALUES (?1, ?2, ?3)";
    connection.prepare_cached(sql)?.execute((seq, ts, project))?;
    let sql = "UPDATE record SET ts = ?2, project = ?3 WHERE seq = ?1";
    connection.prepare_cached(sql)?.execute((seq, ts, project))?;
    connection.prepare_cached("DELETE FROM record_merge WHERE record = ?1")?.execute([seq]).map(drop)
}
