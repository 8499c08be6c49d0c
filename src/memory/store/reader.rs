//! A worker's own connection for reading, and the alarm that ends a question that takes too long.
//!
//! What its caller keeps: it stays on one thread, as the connection inside it does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rusqlite::{Connection, Transaction};

use crate::memory::store::error::StoreError;
use crate::memory::store::open::{self, Access};

/// Steps of SQLite's machine between two looks at the clock: some 50 microseconds.
const STEPS: i32 = 1000;

/// A connection that reads.
#[derive(Debug)]
pub(crate) struct Reader {
    connection: Connection,
    alarm: Arc<QueryDeadline>,
}

/// When running statements are to end, in microseconds after `start`; `u64::MAX` is never.
#[derive(Debug)]
struct QueryDeadline {
    start: Instant,
    at: AtomicU64,
}

impl Reader {
    /// Opens a connection to the database at `path`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn open(path: &Path) -> Result<Reader, StoreError> {
        let mut connection = open::connect(path, Access::Read)?;
        let alarm = Arc::new(QueryDeadline { start: Instant::now(), at: AtomicU64::new(u64::MAX) });
        let watched = alarm.clone();
        connection.progress_handler(STEPS, Some(move || watched.rings()))?;
        Ok(Reader { connection, alarm })
    }

    /// The present state of the store, the same for all statements until it is dropped.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(crate) fn snapshot(&self) -> Result<Snapshot<'_>, StoreError> {
        Ok(Snapshot { transaction: self.connection.unchecked_transaction()?, alarm: &self.alarm })
    }
}

/// One state of the store.
#[derive(Debug)]
pub(crate) struct Snapshot<'r> {
    transaction: Transaction<'r>,
    alarm: &'r QueryDeadline,
}

impl Snapshot<'_> {
    /// What statements are prepared on.
    pub(crate) fn connection(&self) -> &Connection {
        &self.transaction
    }

    /// Runs `work`; statements in it end with [`StoreError::Interrupted`] once `deadline` has passed.
    pub(crate) fn until<T>(&self, deadline: Instant, work: impl FnOnce(&Connection) -> T) -> T {
        let at = deadline.saturating_duration_since(self.alarm.start).as_micros();
        self.alarm.at.store(u64::try_from(at).unwrap_or(u64::MAX), Ordering::Relaxed);
        let _off = Off(self.alarm);
        work(&self.transaction)
    }
}

impl QueryDeadline {
    fn rings(&self) -> bool {
        let at = self.at.load(Ordering::Relaxed);
        at != u64::MAX && self.start.elapsed().as_micros() >= u128::from(at)
    }
}

struct Off<'a>(&'a QueryDeadline);

impl Drop for Off<'_> {
    fn drop(&mut self) {
        self.0.at.store(u64::MAX, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_question_ends_at_its_deadline_and_the_next_one_runs() {
        let folder = tempfile::tempdir().unwrap();
        let store = open::open(folder.path()).unwrap();
        let reader = Reader::open(&store.path).unwrap();
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
        let reader = Reader::open(&store.path).unwrap();
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
