//! The status of the full-text index, and its replacement by a new one: if other tokenizer rules made it
//! (`text/tokenizer.rs`), or if a damaged one is to be rebuilt.
//!
//! A readable index stays in use while the new one grows beside it ([`RebuildPlace::Beside`]). The transaction that
//! renames the new one also drops the old one, so a reader sees one of the two. A damaged index is removed first and
//! the new one grows in its place ([`RebuildPlace::Same`]); a recall meanwhile finds what is in it already.
//!
//! Records are indexed in order of seq, and the cursor is stored in the transaction of what was indexed. Beside the old
//! index the rebuild runs until no record is left: records captured meanwhile go to the old index and are reached in
//! their turn, so no record is indexed twice and the writer needs no special case.
//!
//! SQLite cannot drop a damaged index, since it reads what it drops. Instead its tables are deleted from the schema and
//! the file is rewritten without their pages ([`replace`]).
//!
//! The records themselves are indexed by `consolidation/reindex.rs`, one chunk at a time.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::memory::store::error::StoreError;
use crate::memory::store::{meta, records};
use crate::memory::text::tokenizer;

/// Meta key: the last record in the growing index. Absent if none grows.
pub(crate) const REBUILD_CURSOR: &str = "step_reindex";

/// Meta key: the version of the tokenizer rules that made the index in use.
pub(crate) const RULES: &str = "terms_version";

/// Meta key: the version of the tokenizer rules of the growing index.
pub(crate) const REBUILD_RULES: &str = "reindex_rules";

/// Meta key, if the index grows in place: the last record that the rebuild has to index; newer ones are indexed as they
/// are stored.
pub(crate) const REBUILD_UNTIL: &str = "reindex_until";

/// The table of the index in use.
pub(crate) const TABLE: &str = "term_index";

/// The table of the index that grows beside it.
pub(crate) const NEW_TABLE: &str = "term_index_beside";

/// Whether the index needs a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexStatus {
    /// Made by the present tokenizer rules.
    Current,
    /// It needs a rebuild, or one is under way.
    Due,
}

/// Where the new index grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RebuildPlace {
    /// Beside the index in use.
    Beside,
    /// In place of the index in use.
    Same,
}

/// The state of a rebuild.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RebuildState {
    /// None is needed.
    Current,
    /// It is needed and has not begun.
    Due(RebuildPlace),
    /// It is under way.
    Growing(GrowingIndex),
}

/// A growing index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrowingIndex {
    pub(crate) place: RebuildPlace,
    /// The last record in it.
    pub(crate) cursor: i64,
    /// The last record that the rebuild has to index.
    pub(crate) until: i64,
}

/// Returns true if the index needs a rebuild or one is under way.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn is_due(connection: &Connection) -> Result<bool, rusqlite::Error> {
    Ok(RebuildState::read(connection)? != RebuildState::Current)
}

impl RebuildState {
    /// Reads the state from the store.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn read(connection: &Connection) -> Result<RebuildState, rusqlite::Error> {
        let (cursor, until): (Option<i64>, Option<i64>) =
            (meta::read(connection, REBUILD_CURSOR)?, meta::read(connection, REBUILD_UNTIL)?);
        let (rules, then): (Option<i64>, Option<i64>) =
            (meta::read(connection, RULES)?, meta::read(connection, REBUILD_RULES)?);
        let place = if until.is_some() { RebuildPlace::Same } else { RebuildPlace::Beside };
        Ok(match cursor {
            // Otherwise a release with other rules began it.
            Some(cursor) if then == Some(tokenizer::VERSION) => {
                RebuildState::Growing(GrowingIndex { place, cursor, until: until.unwrap_or(i64::MAX) })
            }
            Some(_) => RebuildState::Due(place),
            None if rules == Some(tokenizer::VERSION) => RebuildState::Current,
            None => RebuildState::Due(RebuildPlace::Beside),
        })
    }

    /// Returns true if the index in use must have the record under the terms of the present rules.
    pub(crate) fn covers(self, seq: i64) -> bool {
        match self {
            RebuildState::Current => true,
            RebuildState::Growing(GrowingIndex { place: RebuildPlace::Same, cursor, until }) => {
                seq <= cursor || seq > until
            }
            // Other rules made the index in use, or the rebuild was requested because it may be damaged.
            RebuildState::Growing(_) | RebuildState::Due(_) => false,
        }
    }
}

/// Creates the empty index. `unindexed` is the first record of the present transaction, if it has any: that record and
/// later ones are indexed at the commit.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn begin_rebuild(
    connection: &Connection,
    place: RebuildPlace,
    unindexed: Option<i64>,
) -> Result<GrowingIndex, rusqlite::Error> {
    connection.execute_batch(&definition(if place == RebuildPlace::Same { TABLE } else { NEW_TABLE }))?;
    let until = match place {
        RebuildPlace::Beside => {
            meta::remove(connection, REBUILD_UNTIL)?;
            i64::MAX
        }
        RebuildPlace::Same => {
            let newest = records::last_seq(connection)?;
            let until = unindexed.map_or(newest, |first| first - 1);
            meta::write(connection, REBUILD_UNTIL, until)?;
            until
        }
    };
    meta::write(connection, REBUILD_RULES, tokenizer::VERSION)?;
    meta::write(connection, REBUILD_CURSOR, 0)?;
    Ok(GrowingIndex { place, cursor: 0, until })
}

/// Replaces an index that cannot be dropped by an empty one, which the rebuild then fills, and rewrites the file without
/// the old one's pages. Call it outside of any transaction; other writes wait until it returns, and the disk needs free
/// space for a second copy of the file.
///
/// # Errors
/// See [`StoreError`]. If the rewrite failed, the new index is in use and the old pages stay in the file, unused.
pub(crate) fn replace(connection: &Connection) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    let replaced = forget_and_begin(connection);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    replaced?;
    // The temporary copy of the whole store must not be held in memory.
    connection.pragma_update(None, "temp_store", "file")?;
    let written = connection.execute_batch("VACUUM");
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(written?)
}

fn forget_and_begin(connection: &Connection) -> Result<(), StoreError> {
    let transaction = connection.unchecked_transaction()?;
    connection.pragma_update(None, "writable_schema", true)?;
    let forgotten = connection.execute("DELETE FROM sqlite_schema WHERE tbl_name LIKE 'term_index%'", []);
    // Even if the deletion failed.
    connection.execute_batch("PRAGMA writable_schema = RESET")?;
    forgotten?;
    begin_rebuild(connection, RebuildPlace::Same, None)?;
    Ok(transaction.commit()?)
}

/// Returns the statement that creates an index of this name, taken from the schema.
fn definition(table: &str) -> String {
    let schema = include_str!("schema/v1.sql");
    let made = schema.split_once("CREATE VIRTUAL TABLE term_index ").map_or("", |(_, rest)| rest);
    let made = made.split_once(';').map_or("", |(definition, _)| definition);
    format!("CREATE VIRTUAL TABLE {table} {made}")
}

/// Takes the terms of a record out of the index, which must have them under the present rules. Until its segments are
/// merged, the index notes that they are deleted.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn remove_terms(connection: &Connection, seq: i64, text: &str, cue: &str) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO term_index (term_index, rowid, text, cue) VALUES ('delete', ?1, ?2, ?3)";
    let terms = (seq, tokenizer::index_terms(text), tokenizer::index_terms(cue));
    connection.prepare_cached(sql)?.execute(terms).map(drop)
}

/// Returns up to `limit` records that contain `term` and have a seq up to `last`, the newest first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn newest_with_term(
    connection: &Connection,
    term: &str,
    last: i64,
    limit: i64,
) -> Result<Vec<i64>, rusqlite::Error> {
    let mut find = connection.prepare_cached(
        "SELECT rowid FROM term_index WHERE term_index MATCH ?1 AND rowid <= ?2 ORDER BY rowid DESC LIMIT ?3",
    )?;
    find.query_map((format!("\"{term}\""), last, limit), |row| row.get(0))?.collect()
}
