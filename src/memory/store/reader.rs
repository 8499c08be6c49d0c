//! A worker's read-only connection, its snapshots, and a deadline for their queries.
//!
//! Caller's contract: a reader is used by one thread at a time, as the connection inside it is.

use std::cell::OnceCell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rusqlite::{Connection, Transaction};

use crate::memory::store::doclist;
use crate::memory::store::error::StoreError;
use crate::memory::store::fts5_format::Segment;
use crate::memory::store::open::{self, Access};
use crate::memory::store::store_file::StoreFile;

/// Virtual machine instructions of SQLite between two checks of the deadline: about 50 µs.
const DEADLINE_CHECK_INSTRUCTIONS: i32 = 1000;

/// A read-only connection.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    query_deadline: Arc<QueryDeadline>,
}

/// The time at which running statements are interrupted: `at_us` microseconds after `start`; `u64::MAX` is never.
#[derive(Debug)]
struct QueryDeadline {
    start: Instant,
    at_us: AtomicU64,
}

impl Reader {
    /// Opens a connection to the store, if its files are still those at its paths.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn open(file: &StoreFile) -> Result<Reader, StoreError> {
        file.verify()?;
        Reader::at(file.path())
    }

    /// Opens a connection to the database at `path`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn at(path: &Path) -> Result<Reader, StoreError> {
        let mut connection = open::connect(path, Access::Read)?;
        let query_deadline = Arc::new(QueryDeadline { start: Instant::now(), at_us: AtomicU64::new(u64::MAX) });
        let watched = query_deadline.clone();
        connection.progress_handler(DEADLINE_CHECK_INSTRUCTIONS, Some(move || watched.has_passed()))?;
        Ok(Reader { connection, query_deadline })
    }

    /// Returns a snapshot of the present state of the store.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        let transaction = self.connection.unchecked_transaction()?;
        Ok(Snapshot { transaction, query_deadline: &self.query_deadline, segments: OnceCell::new() })
    }
}

/// A read transaction: all its statements see the same state of the store.
#[derive(Debug)]
pub(crate) struct Snapshot<'r> {
    transaction: Transaction<'r>,
    query_deadline: &'r QueryDeadline,
    /// Those of the full-text index, once they were read; `None` if they cannot be.
    segments: OnceCell<Option<Vec<Segment>>>,
}

impl Snapshot<'_> {
    /// Returns the connection to prepare statements on.
    pub(crate) fn connection(&self) -> &Connection {
        &self.transaction
    }

    /// Returns the segments of the full-text index; `None` if only `MATCH` can tell what is in it.
    pub(crate) fn segments(&self) -> Option<&[Segment]> {
        self.segments.get_or_init(|| doclist::read_segments(&self.transaction).ok().flatten()).as_deref()
    }

    /// Runs `work`. Statements in it fail with [`StoreError::Interrupted`] once `deadline` has passed.
    pub(crate) fn until<T>(&self, deadline: Instant, work: impl FnOnce(&Connection) -> T) -> T {
        let at = deadline.saturating_duration_since(self.query_deadline.start).as_micros();
        self.query_deadline.at_us.store(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Relaxed);
        let _clear = ClearOnDrop(self.query_deadline);
        work(&self.transaction)
    }
}

impl QueryDeadline {
    fn has_passed(&self) -> bool {
        let at = self.at_us.load(Ordering::Relaxed);
        at != u64::MAX && self.start.elapsed().as_micros() >= u128::from(at)
    }
}

/// Clears the deadline when dropped.
struct ClearOnDrop<'a>(&'a QueryDeadline);

impl Drop for ClearOnDrop<'_> {
    fn drop(&mut self) {
        self.0.at_us.store(u64::MAX, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_query_is_interrupted_at_its_deadline_and_the_next_one_runs() {
        let folder = tempfile::tempdir().unwrap();
        let store = open::open(folder.path()).unwrap();
        let reader = Reader::open(&store.file).unwrap();
        let snapshot = reader.snapshot().unwrap();
        let count = |connection: &Connection, to: i64| -> Result<i64, StoreError> {
            let sql =
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) SELECT count(*) FROM n";
            Ok(connection.query_row(sql, [to], |row| row.get(0))?)
        };
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(snapshot.until(deadline, |c| count(c, i64::MAX)), Err(StoreError::Interrupted));
        assert!(Instant::now() >= deadline);
        assert_eq!(count(snapshot.connection(), 10_000), Ok(10_000));
        assert_eq!(snapshot.until(Instant::now() + Duration::from_secs(600), |c| count(c, 10_000)), Ok(10_000));
    }

    #[test]
    fn a_snapshot_does_not_see_later_writes() {
        let folder = tempfile::tempdir().unwrap();
        let store = open::open(folder.path()).unwrap();
        let reader = Reader::open(&store.file).unwrap();
        let count = |snapshot: &Snapshot<'_>| -> i64 {
            snapshot.connection().query_row("SELECT count(*) FROM profile", [], |row| row.get(0)).unwrap()
        };
        let before = reader.snapshot().unwrap();
        assert_eq!(count(&before), 0);
        store.connection.execute("INSERT INTO profile VALUES ('a', '')", []).unwrap();
        assert_eq!(count(&before), 0);
        drop(before);
        assert_eq!(count(&reader.snapshot().unwrap()), 1);
    }
}
