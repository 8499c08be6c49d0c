//! Positions in the change log, which are opaque strings to callers.

use std::fmt;

use rusqlite::{Connection, OptionalExtension};
use uuid::Uuid;

use crate::dispatch::{CallError, code};
use crate::memory::store::commit_mark::StoreId;
use crate::memory::store::records;

/// A position in the change log of a store: after a record, and after a change that is no new record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SyncCursor {
    pub(crate) store: StoreId,
    /// The seq of the last record.
    pub(crate) record: i64,
    /// The beginning of that record's id; 0 without a record.
    check: u32,
    /// The number of the last change.
    pub(crate) change: i64,
}

impl fmt::Display for SyncCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let store = Uuid::from_bytes(self.store);
        write!(f, "{}.{}.{:x}.{}", store.simple(), self.record, self.check, self.change)
    }
}

impl SyncCursor {
    /// Returns the beginning of the log.
    pub(crate) fn start(store: StoreId) -> SyncCursor {
        SyncCursor { store, record: 0, check: 0, change: 0 }
    }

    /// Reads a cursor of this store.
    ///
    /// # Errors
    /// -32602, with a message that begins with `cursor`, if it is none, of another store, or of a state that this store
    /// has never had; -32001 for any SQLite error.
    pub(crate) fn read(connection: &Connection, store: StoreId, text: &str) -> Result<SyncCursor, CallError> {
        let cursor = SyncCursor::parse(text).ok_or_else(|| refused("is none that sync_changes has returned"))?;
        if cursor.store != store {
            return Err(refused("is of another store, or of this one before it was restored or copied"));
        }
        if cursor.record > records::last_number(connection)?
            || cursor.change > last_change(connection)?
            || !cursor.is_of_a_record_here(connection)?
        {
            return Err(refused(
                "is of a state that this store has never had: an older copy of it was put in its place",
            ));
        }
        Ok(cursor)
    }

    fn parse(text: &str) -> Option<SyncCursor> {
        let mut parts = text.split('.');
        let store = Uuid::try_parse(parts.next()?).ok()?.into_bytes();
        let record = parts.next()?.parse().ok()?;
        let check = u32::from_str_radix(parts.next()?, 16).ok()?;
        let cursor = SyncCursor { store, record, check, change: parts.next()?.parse().ok()? };
        // Numbers and ids have other spellings, too.
        (cursor.to_string() == text).then_some(cursor)
    }

    /// Moves the cursor behind a record.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn move_to(&mut self, connection: &Connection, record: i64) -> Result<(), rusqlite::Error> {
        let mut read = connection.prepare_cached("SELECT id FROM record WHERE seq = ?1")?;
        let id: Option<[u8; 16]> = read.query_row([record], |row| row.get(0)).optional()?;
        (self.record, self.check) = (record, id.map_or(0, beginning));
        Ok(())
    }

    /// Returns true if the record at the cursor is the one that it was made at, or was forgotten.
    fn is_of_a_record_here(&self, connection: &Connection) -> Result<bool, rusqlite::Error> {
        let sql = "SELECT id FROM record WHERE seq = ?1 UNION ALL SELECT id FROM record_alias WHERE record = ?1";
        let mut read = connection.prepare_cached(sql)?;
        let mut ids = read.query([self.record])?;
        let mut is_there = false;
        while let Some(row) = ids.next()? {
            is_there = true;
            if beginning(row.get(0)?) == self.check {
                return Ok(true);
            }
        }
        Ok(!is_there || self.check == 0)
    }
}

fn beginning(id: [u8; 16]) -> u32 {
    // The first bytes of an id are its time in milliseconds, the last ones are random.
    u32::from_be_bytes([id[12], id[13], id[14], id[15]])
}

fn refused(what: &str) -> CallError {
    CallError { code: code::INVALID_PARAMS, message: format!("cursor 'since' {what}; begin without one") }
}

/// Returns the number of the last change.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn last_change(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let sql = "SELECT seq FROM sqlite_sequence WHERE name = 'change'";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?.unwrap_or(0))
}
