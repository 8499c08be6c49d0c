//! Tracks whether there are records that the last completed cycle did not process, and whether the full-text index needs
//! a rebuild, so that both are known without a query.
//!
//! The writer reports each commit. Records derived by a cycle do not count: otherwise each cycle would be a reason for
//! the next one.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension};
use serde_json::value::RawValue;

use crate::memory::store::fulltext::{self, IndexStatus};
use crate::memory::store::tags::{ASSISTANTS, AssistantCounts};
use crate::memory::store::{masked, meta, records, tags};

/// The meta key of the mark: the last external record that the last completed cycle has processed.
const MARK_KEY: &str = "cycle_mark";

/// Counters that any thread may read at any time.
#[derive(Debug, Default)]
pub(crate) struct ChangeTracker {
    /// The number of records.
    records: Arc<AtomicU64>,
    /// The seq of the newest external record; at least `mark`.
    newest_external: AtomicI64,
    /// The seq up to which the last completed cycle has processed external records.
    mark: AtomicI64,
    assistants: Arc<AssistantCounters>,
    is_index_due: AtomicBool,
    /// The counts of masked secrets, as JSON.
    masked: Mutex<Option<Arc<RawValue>>>,
    /// How often the store's content was replaced, or records deleted.
    replacements: AtomicU64,
}

/// Numbers of records that have the tag of an assistant. Any thread may read them at any time.
#[derive(Debug, Default)]
pub struct AssistantCounters([AtomicU64; ASSISTANTS.len()]);

impl AssistantCounters {
    /// Returns name and number of records of each assistant that has some.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ASSISTANTS.into_iter().zip(self.read()).filter(|(_, records)| *records > 0)
    }

    fn read(&self) -> AssistantCounts {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }

    pub(crate) fn add(&self, records: AssistantCounts) {
        for (counter, records) in self.0.iter().zip(records) {
            counter.fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Replaces the numbers.
    pub(crate) fn set(&self, records: AssistantCounts) {
        for (counter, records) in self.0.iter().zip(records) {
            counter.store(records, Ordering::Relaxed);
        }
    }
}

impl ChangeTracker {
    /// Reads the counters from the store.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn load(connection: &Connection) -> Result<ChangeTracker, rusqlite::Error> {
        let count = records::count(connection)?;
        let mark: i64 = meta::read(connection, MARK_KEY)?.unwrap_or(0);
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
            newest_external: AtomicI64::new(newest.unwrap_or(mark)),
            mark: AtomicI64::new(mark),
            assistants: Arc::new(AssistantCounters(tags::count_assistants(connection)?.map(AtomicU64::new))),
            is_index_due: AtomicBool::new(fulltext::is_due(connection)?),
            masked: Mutex::new(masked::read(connection)?.and_then(raw)),
            replacements: AtomicU64::new(0),
        })
    }

    /// Reads the counters again, after the store's whole content was replaced.
    ///
    /// # Errors
    /// Any SQLite error; the counters are unchanged then.
    pub(crate) fn reload(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let now = ChangeTracker::load(connection)?;
        self.records.store(now.records.load(Ordering::Relaxed), Ordering::Relaxed);
        self.assistants.set(now.assistants.read());
        self.newest_external.store(now.newest_external(), Ordering::Relaxed);
        *self.lock_masked() = now.lock_masked().take();
        self.mark.store(now.mark.into_inner(), Ordering::Relaxed);
        self.is_index_due.store(now.is_index_due.into_inner(), Ordering::Relaxed);
        self.content_replaced();
        Ok(())
    }

    /// Call when what a cycle in progress has read of the store is no longer in it.
    pub(crate) fn content_replaced(&self) {
        self.replacements.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often the store's content was replaced, or records deleted.
    pub(crate) fn replacements(&self) -> u64 {
        self.replacements.load(Ordering::Relaxed)
    }

    /// Returns the counts of masked secrets; `None` if there are none, or if they are being replaced. Never blocks.
    pub(crate) fn masked(&self) -> Option<Arc<RawValue>> {
        self.masked.try_lock().ok()?.clone()
    }

    /// Call after new counts of masked secrets have committed.
    pub(crate) fn set_masked(&self, counts: String) {
        *self.lock_masked() = raw(counts);
    }

    fn lock_masked(&self) -> MutexGuard<'_, Option<Arc<RawValue>>> {
        self.masked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the counter of records.
    pub(crate) fn records(&self) -> &Arc<AtomicU64> {
        &self.records
    }

    /// Returns the numbers of the assistants' records.
    pub(crate) fn assistants(&self) -> &Arc<AssistantCounters> {
        &self.assistants
    }

    /// Returns the seq of the newest external record; the mark if there is none after it.
    pub(crate) fn newest_external(&self) -> i64 {
        self.newest_external.load(Ordering::Relaxed)
    }

    /// Returns true if there are external records after the mark or if the index needs a rebuild.
    pub(crate) fn has_changes(&self) -> bool {
        self.newest_external() > self.mark.load(Ordering::Relaxed) || self.is_index_due.load(Ordering::Relaxed)
    }

    /// Call after the change of the index's status has committed.
    pub(crate) fn set_index_status(&self, index: IndexStatus) {
        self.is_index_due.store(index == IndexStatus::Due, Ordering::Relaxed);
    }

    /// Call after a commit: it added `records` records, the last external one at `newest_external`.
    pub(crate) fn record_commit(&self, records: u64, newest_external: Option<i64>) {
        self.records.fetch_add(records, Ordering::Relaxed);
        if let Some(newest) = newest_external {
            self.newest_external.fetch_max(newest, Ordering::Relaxed);
        }
    }

    /// Call after a commit that has deleted `records` forgotten records.
    pub(crate) fn records_forgotten(&self, records: u64) {
        self.records.fetch_sub(records, Ordering::Relaxed);
    }

    /// Stores a mark before the newest external record, so that there are changes for a cycle. After the commit, call
    /// [`ChangeTracker::rewind_mark`].
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn store_rewound_mark(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        ChangeTracker::store_mark(connection, self.newest_external().saturating_sub(1))
    }

    /// Call after [`ChangeTracker::store_rewound_mark`] has committed.
    pub(crate) fn rewind_mark(&self) {
        self.mark.fetch_min(self.newest_external().saturating_sub(1), Ordering::Relaxed);
    }

    /// Stores the mark of a completed cycle. After the commit, call [`ChangeTracker::advance_mark`].
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn store_mark(connection: &Connection, mark: i64) -> Result<(), rusqlite::Error> {
        meta::write(connection, MARK_KEY, mark)
    }

    /// Call after [`ChangeTracker::store_mark`] has committed.
    pub(crate) fn advance_mark(&self, mark: i64) {
        self.mark.fetch_max(mark, Ordering::Relaxed);
    }
}

/// Returns JSON that was stored as text.
fn raw(text: String) -> Option<Arc<RawValue>> {
    RawValue::from_string(text).ok().map(Arc::from)
}
