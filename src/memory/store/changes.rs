//! What the last finished cycle has not seen, and whether the index is to be made anew: known from the start on,
//! and without a question to the database.
//!
//! The writer tells it of each commit. Records that a cycle made of others are no news: else each
//! night would bring the next one's work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension};

use crate::memory::store::fulltext::{self, IndexStatus};
use crate::memory::store::{meta, records, tags};

/// The last record that somebody told before the last finished cycle looked.
const MARK: &str = "cycle_mark";

/// To be read at any time from any thread.
#[derive(Debug, Default)]
pub(crate) struct ChangeTracker {
    records: Arc<AtomicU64>,
    newest: AtomicI64,
    mark: AtomicI64,
    is_index_due: AtomicBool,
}

impl ChangeTracker {
    /// Reads how the store is.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn load(connection: &Connection) -> Result<ChangeTracker, rusqlite::Error> {
        let count = records::last_seq(connection)?;
        let mark: i64 = meta::read(connection, MARK)?.unwrap_or(0);
        let newest = connection
            .query_row(
                "SELECT seq FROM record
                 WHERE seq > ?1 AND NOT EXISTS (SELECT 1 FROM tag WHERE record = seq AND name = ?2)
                 ORDER BY seq DESC LIMIT 1",
                (mark, tags::PATTERN),
                |row| row.get(0),
            )
            .optional()?;
        Ok(ChangeTracker {
            records: Arc::new(AtomicU64::new(count.unsigned_abs())),
            newest: AtomicI64::new(newest.unwrap_or(mark)),
            mark: AtomicI64::new(mark),
            is_index_due: AtomicBool::new(fulltext::is_due(connection)?),
        })
    }

    /// The number of records.
    pub(crate) fn records(&self) -> &Arc<AtomicU64> {
        &self.records
    }

    /// The last record that somebody told.
    pub(crate) fn newest(&self) -> i64 {
        self.newest.load(Ordering::Relaxed)
    }

    /// Is there anything that the last finished cycle has not seen, or an index to be made?
    pub(crate) fn has_changes(&self) -> bool {
        self.newest() > self.mark.load(Ordering::Relaxed) || self.is_index_due.load(Ordering::Relaxed)
    }

    /// The index has come to be so.
    pub(crate) fn set_index_status(&self, index: IndexStatus) {
        self.is_index_due.store(index == IndexStatus::Due, Ordering::Relaxed);
    }

    /// So many records were committed, of which somebody told this one last.
    pub(crate) fn record_commit(&self, records: u64, newest_external: Option<i64>) {
        self.records.fetch_add(records, Ordering::Relaxed);
        if let Some(newest) = newest_external {
            self.newest.fetch_max(newest, Ordering::Relaxed);
        }
    }

    /// Keeps that a cycle has seen what somebody told up to `mark`. It counts from [`ChangeTracker::advance_mark`] on.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn store_mark(connection: &Connection, mark: i64) -> Result<(), rusqlite::Error> {
        meta::write(connection, MARK, mark)
    }

    /// That is committed.
    pub(crate) fn advance_mark(&self, mark: i64) {
        self.mark.fetch_max(mark, Ordering::Relaxed);
    }
}
