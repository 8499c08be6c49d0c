//! The full-text index made anew: where other rules made it (`terms.rs`), or where somebody asks because it
//! is damaged.
//!
//! An index that can be read is used on while the new one grows beside it, and is dropped in the transaction
//! that gives the new one its name; so a reader sees the one or the other, and the store then is as if it
//! had always been so. One that is damaged is put out of the way first, and grows again where it was: what
//! is in it already is found meanwhile.
//!
//! Records are taken in their order, and where that has come to is kept in the transaction of what was
//! indexed. Beside the old index it runs until there is no further record, so what is told meanwhile goes
//! to the old one and is reached in its turn: no record has to be written twice, and no writer has to know.
//!
//! A damaged one is not dropped, since SQLite reads what it drops: the schema forgets it, and the file is
//! written anew without its pages ([`replace`]).
//!
//! Nothing here decides when: `course.rs` and `moving/mend.rs` do.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::memory::store::error::StoreError;
use crate::memory::store::{meta, records};
use crate::memory::text::tokenizer;

/// The last record that the index in the making has; there is none where nothing is being made.
pub(crate) const REBUILD_CURSOR: &str = "step_reindex";

/// The rules that made the index in use.
pub(crate) const RULES: &str = "terms_version";

/// Those of the index in the making.
pub(crate) const REBUILD_RULES: &str = "reindex_rules";

/// Of an index that grows in its place: the last record that does not come to it by itself.
pub(crate) const REBUILD_UNTIL: &str = "reindex_until";

/// The index in use.
pub(crate) const TABLE: &str = "term_index";

/// The one that grows beside it.
pub(crate) const NEW_TABLE: &str = "term_index_beside";

/// How the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IndexStatus {
    /// Made by the present rules.
    Current,
    /// To be made anew, or being made.
    Due,
}

/// Where an index is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RebuildPlace {
    /// Beside the one in use.
    Beside,
    /// Where the one in use was.
    Same,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RebuildState {
    /// There is nothing to do.
    Current,
    /// It has not begun.
    Due(RebuildPlace),
    /// It is being made.
    Growing(GrowingIndex),
}

/// An index being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GrowingIndex {
    pub(crate) place: RebuildPlace,
    /// The last record that it has.
    pub(crate) cursor: i64,
    /// The last record that it is to have so; the newer ones come to it by themselves.
    pub(crate) until: i64,
}

/// Is the index to be made anew, or being made?
///
/// # Errors
/// The database's.
pub(crate) fn is_due(connection: &Connection) -> Result<bool, rusqlite::Error> {
    Ok(RebuildState::read(connection)? != RebuildState::Current)
}

impl RebuildState {
    /// How it is now.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn read(connection: &Connection) -> Result<RebuildState, rusqlite::Error> {
        let (cursor, until): (Option<i64>, Option<i64>) =
            (meta::read(connection, REBUILD_CURSOR)?, meta::read(connection, REBUILD_UNTIL)?);
        let (rules, then): (Option<i64>, Option<i64>) =
            (meta::read(connection, RULES)?, meta::read(connection, REBUILD_RULES)?);
        let place = if until.is_some() { RebuildPlace::Same } else { RebuildPlace::Beside };
        Ok(match cursor {
            // A release with other rules may have begun it.
            Some(cursor) if then == Some(tokenizer::VERSION) => {
                RebuildState::Growing(GrowingIndex { place, cursor, until: until.unwrap_or(i64::MAX) })
            }
            Some(_) => RebuildState::Due(place),
            None if rules == Some(tokenizer::VERSION) => RebuildState::Current,
            None => RebuildState::Due(RebuildPlace::Beside),
        })
    }

    /// Is a record to be found in the index in use by the present rules' terms?
    pub(crate) fn covers(self, seq: i64) -> bool {
        match self {
            RebuildState::Current => true,
            RebuildState::Growing(GrowingIndex { place: RebuildPlace::Same, cursor, until }) => {
                seq <= cursor || seq > until
            }
            // Other rules made the one in use, or somebody asked because it is not to be trusted.
            RebuildState::Growing(_) | RebuildState::Due(_) => false,
        }
    }
}

/// Makes the empty index. Those from `unindexed` on come to the one in use by themselves.
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

/// Puts an empty index, which is then to grow, in the place of one that cannot even be dropped, and writes the
/// file anew without the old one's pages. Outside of any transaction: others' writes wait until it is over, and the
/// disk needs room for the file once more.
///
/// # Errors
/// See [`StoreError`]. Where the file could not be written anew the pages stay in it, and nobody uses them.
pub(crate) fn replace(connection: &Connection) -> Result<(), StoreError> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false)?;
    let replaced = forget_and_begin(connection);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    replaced?;
    // A copy of the whole store is no matter for memory.
    connection.pragma_update(None, "temp_store", "file")?;
    let written = connection.execute_batch("VACUUM");
    connection.pragma_update(None, "temp_store", "memory")?;
    Ok(written?)
}

fn forget_and_begin(connection: &Connection) -> Result<(), StoreError> {
    let transaction = connection.unchecked_transaction()?;
    connection.pragma_update(None, "writable_schema", true)?;
    let forgotten = connection.execute("DELETE FROM sqlite_schema WHERE tbl_name LIKE 'term_index%'", []);
    // Also where that failed.
    connection.execute_batch("PRAGMA writable_schema = RESET")?;
    forgotten?;
    begin_rebuild(connection, RebuildPlace::Same, None)?;
    Ok(transaction.commit()?)
}

/// What makes an index of this name: that of the schema.
fn definition(table: &str) -> String {
    let schema = include_str!("schema/v1.sql");
    let made = schema.split_once("CREATE VIRTUAL TABLE term_index ").map_or("", |(_, rest)| rest);
    let made = made.split_once(';').map_or("", |(definition, _)| definition);
    format!("CREATE VIRTUAL TABLE {table} {made}")
}

/// The newest records with a term up to the one at `last`, `most` at most.
///
/// # Errors
/// The database's.
pub(crate) fn newest_with_term(
    connection: &Connection,
    term: &str,
    last: i64,
    most: i64,
) -> Result<Vec<i64>, rusqlite::Error> {
    let mut find = connection.prepare_cached(
        "SELECT rowid FROM term_index WHERE term_index MATCH ?1 AND rowid <= ?2 ORDER BY rowid DESC LIMIT ?3",
    )?;
    find.query_map((format!("\"{term}\""), last, most), |row| row.get(0))?.collect()
}
