//! The writer: one thread that runs all queued jobs in one transaction and completes them after the commit (group
//! commit).
//!
//! If a job fails or panics, only it is rolled back and gets the error. If the transaction fails (disk full, I/O error, file
//! made read-only), all of it is rolled back and each of its jobs gets the error; the next transaction is tried as usual.
//!
//! Caller's contract: a job never waits for another job, since both run on this thread.

pub(crate) mod commit;
pub(crate) mod handover;
pub(crate) mod job;
pub(crate) mod queue;
pub(crate) mod transaction;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{io, thread};

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::store::changes::ChangeTracker;
use crate::memory::store::commit_mark::Marker;
use crate::memory::store::fulltext;
use crate::memory::store::open;
use crate::memory::store::rescue;
use crate::memory::store::segments::{self, MergeSchedule};
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::writer::handover::WriterHandover;
use crate::memory::store::writer::job::WriteJob;
use crate::memory::store::writer::queue::{NextWork, Queue, WhenFull};
use crate::memory::store::writer::transaction::{PostCommit, WriteTransaction};
use crate::oneshot;

/// The time of one transaction that merges the index, after which a job that has come is carried out.
const MERGE_TIME: Duration = Duration::from_millis(10);

/// Jobs of a transaction that weigh so much get the large page cache until the next idle release: their records are all over
/// the indexes, and a page that has no room is written to the log and read again before the commit. Picked: an import.
const BULK_BYTES: usize = 64 << 10;

/// Submits jobs to the writer without keeping it running. For a job that the end of another one submits, and for jobs
/// that are submitted one after the other.
#[derive(Clone, Debug)]
pub(crate) struct WriterHandle(Arc<Queue>);

impl WriterHandle {
    /// Submits a job even if the queue is full: on the writer's own thread, waiting would never end.
    ///
    /// Caller's contract: each caller has at most one job in the queue.
    pub(crate) fn submit(&self, job: Box<dyn WriteJob>) {
        if let Err(job) = self.0.push(job, WhenFull::Exceed) {
            job.done(Err(closing()));
        }
    }
}

fn closing() -> CallError {
    CallError::failed("the store is closing: nothing was stored")
}

/// The writer's thread and queue. Dropping it commits the queued jobs and ends the thread.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
    /// Its sender is dropped when the thread has ended.
    working: oneshot::Receiver<()>,
}

/// The state of the thread. The fields are dropped in this order, so the connection is closed before `_working`
/// is dropped.
struct WriterThread {
    connection: Connection,
    file: Arc<StoreFile>,
    marker: Marker,
    changes: Arc<ChangeTracker>,
    merging: MergeSchedule,
    has_bulk_cache: bool,
    queue: CloseAtEnd,
    _working: oneshot::Sender<()>,
}

impl Writer {
    /// Starts the thread with `connection`, the only one that writes, to `file`. Commits are reported to `changes` before
    /// their jobs complete.
    ///
    /// # Errors
    /// The system's, if it cannot start a thread.
    pub(crate) fn start(
        connection: Connection,
        file: Arc<StoreFile>,
        changes: Arc<ChangeTracker>,
    ) -> io::Result<Writer> {
        let queue = Arc::new(Queue::default());
        // The writer saves what it has open before it runs a job.
        let handle = WriterHandle(queue.clone());
        file.on_loss(move || handle.submit(job::task(0, |_| Ok(()), |_| ())));
        let (alive, working) = oneshot::channel();
        let thread = WriterThread {
            connection,
            file,
            marker: Marker::new(),
            changes,
            merging: MergeSchedule::default(),
            has_bulk_cache: false,
            queue: CloseAtEnd(queue.clone()),
            _working: alive,
        };
        handover::spawn(move || thread.work())?;
        Ok(Writer { queue, working })
    }

    /// Submits a job. Waits while the queue is full.
    pub(crate) fn submit(&self, job: Box<dyn WriteJob>) {
        if let Err(job) = self.queue.push(job, WhenFull::Wait) {
            job.done(Err(closing()));
        }
    }

    /// Returns a handle that does not keep the writer running.
    pub(crate) fn handle(&self) -> WriterHandle {
        WriterHandle(self.queue.clone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        // A job's completion may drop the last reference to the store; the thread must not wait for itself.
        if self.queue.is_consumer_thread() {
            return;
        }
        // Nothing is ever sent; this returns when the sender is dropped.
        let _: Option<()> = self.working.recv();
    }
}

impl WriterThread {
    fn work(mut self) {
        // While the first request comes.
        if let Err(error) = self.file.settle(&self.connection) {
            log::warn!("the new store is not synced yet: {error}");
        }
        loop {
            let jobs = match self.queue.0.take_transaction(self.merging.wait()) {
                NextWork::Jobs(jobs, bytes) => {
                    if bytes >= BULK_BYTES && !self.has_bulk_cache {
                        self.has_bulk_cache = true;
                        self.set_cache(open::BULK_CACHE_KIB);
                    }
                    jobs
                }
                NextWork::Idle => {
                    self.merge();
                    continue;
                }
                NextWork::Closed => break,
            };
            let before = self.changes.records().load(Ordering::Relaxed);
            let handover = commit(&mut self.connection, &self.file, self.marker, jobs, &self.changes);
            let records = self.changes.records().load(Ordering::Relaxed);
            self.merging.committed(records.saturating_sub(before));
            let Some(handover) = handover else { continue };
            self.release_caches();
            if handover.has_successor() {
                return handover.hand_over(move || self.work());
            }
        }
        // A restart would not find what the files have.
        if self.file.verify().is_err() {
            rescue::save(&self.file, &self.connection);
        }
    }

    fn set_cache(&self, kib: i64) {
        if let Err(error) = self.connection.pragma_update(None, "cache_size", -kib) {
            log::warn!("PRAGMA cache_size failed: {error}");
        }
    }

    /// Gives the memory of the caches back.
    fn release_caches(&mut self) {
        if std::mem::take(&mut self.has_bulk_cache) {
            self.set_cache(open::WRITER_CACHE_KIB);
        }
        self.connection.flush_prepared_statement_cache();
        if let Err(error) = self.connection.execute_batch("PRAGMA shrink_memory") {
            log::warn!("PRAGMA shrink_memory failed: {error}");
        }
    }

    /// Merges segments of the full-text index for the time of a chunk.
    fn merge(&mut self) {
        let is_full = self.merging.begin(self.changes.records().load(Ordering::Relaxed));
        let (sender, outcome) = oneshot::channel();
        let work = move |transaction: &mut WriteTransaction<'_>| {
            if is_full {
                segments::begin_full_merge(transaction.connection)?;
            }
            Ok(segments::merge_until(transaction.connection, Instant::now() + MERGE_TIME)?.1)
        };
        let job = job::task(0, work, move |outcome| drop(sender.send(outcome)));
        commit(&mut self.connection, &self.file, self.marker, vec![job], &self.changes);
        if !matches!(outcome.recv(), Some(Ok(false))) {
            self.merging.end();
        }
    }
}

/// Closes the queue when the thread ends, and fails the jobs that are left.
struct CloseAtEnd(Arc<Queue>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.close();
        if thread::panicking() {
            log::error!("the store's writer thread panicked; committed records are safe");
        }
        for job in self.0.take_rest() {
            answer(job, Err(CallError::failed("the store's writer has stopped: nothing was stored")));
        }
    }
}

/// Commits the jobs and completes them. Returns the handover that a job has requested.
fn commit(
    connection: &mut Connection,
    file: &StoreFile,
    marker: Marker,
    mut jobs: Vec<Box<dyn WriteJob>>,
    changes: &ChangeTracker,
) -> Option<WriterHandover> {
    let mut outcomes = Vec::with_capacity(jobs.len());
    let committed = file
        .verify()
        .and_then(|()| file.settle(connection))
        .map_err(CallError::from)
        .and_then(|()| commit::write(connection, file, marker, &mut jobs, &mut outcomes));
    let (mut post_commit, mut handover, mut alone) = (PostCommit::None, None, Vec::new());
    let committed = match committed {
        Ok(written) => {
            file.committed(written.mark);
            changes.record_commit(written.new_records, written.newest_external);
            if let Some(counts) = written.masked {
                changes.set_masked(counts);
            }
            changes.assistants().add(written.of_assistants);
            if let Some(index) = written.index {
                changes.set_index_status(index);
            }
            (post_commit, handover, alone) = (written.post_commit, written.handover, written.alone);
            Ok(())
        }
        Err(error) => {
            if file.loss().is_none() {
                log::error!("a transaction of {} jobs failed: {}", jobs.len(), error.message);
            }
            if !connection.is_autocommit()
                && let Err(error) = connection.execute_batch("ROLLBACK")
            {
                log::error!("ROLLBACK failed: {error}");
            }
            rescue::save(file, connection);
            Err(file.loss_in_words().map_or(error, CallError::failed))
        }
    };
    outcomes.resize(jobs.len(), Ok(()));
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        answer(job, committed.clone().and(outcome));
    }
    for work in alone {
        if catch_unwind(AssertUnwindSafe(|| work(connection))).is_err() {
            log::error!("a job of the writer panicked outside of a transaction");
        }
    }
    if post_commit != PostCommit::None && file.verify().is_err() {
        rescue::save(file, connection);
        return handover;
    }
    if post_commit == PostCommit::ReplaceIndex
        && let Err(error) = fulltext::replace(connection)
    {
        log::warn!("replacing the damaged full-text index failed: {error}");
    }
    if post_commit != PostCommit::None
        && let Err(error) = connection.execute_batch("PRAGMA optimize; PRAGMA wal_checkpoint(PASSIVE)")
    {
        log::warn!("PRAGMA optimize or WAL checkpoint failed: {error}");
    }
    handover
}

fn answer(job: Box<dyn WriteJob>, outcome: Result<(), CallError>) {
    if catch_unwind(AssertUnwindSafe(|| job.done(outcome))).is_err() {
        log::error!("the completion of a write job panicked");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::open::Access;
    use crate::sys::lock::FileLock;
    use std::path::PathBuf;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use tempfile::TempDir;

    type Outcome = Result<(), CallError>;

    struct Test<F> {
        step: F,
        answers: Sender<Outcome>,
    }

    impl<F: FnMut(&mut WriteTransaction<'_>) -> Outcome + Send> WriteJob for Test<F> {
        fn weight(&self) -> usize {
            1
        }

        fn run(&mut self, transaction: &mut WriteTransaction<'_>) -> Outcome {
            (self.step)(transaction)
        }

        fn done(self: Box<Self>, outcome: Outcome) {
            // Not every test reads every result.
            self.answers.send(outcome).ok();
        }
    }

    fn job(
        step: impl FnMut(&mut WriteTransaction<'_>) -> Outcome + Send + 'static,
    ) -> (Box<dyn WriteJob>, Receiver<Outcome>) {
        let (answers, answer) = channel();
        (Box::new(Test { step, answers }), answer)
    }

    fn put(knob: &'static str) -> impl FnMut(&mut WriteTransaction<'_>) -> Outcome + Send {
        move |transaction| {
            transaction.connection.execute("INSERT INTO profile VALUES (?1, '')", [knob])?;
            Ok(())
        }
    }

    struct Bench {
        writer: Writer,
        changes: Arc<ChangeTracker>,
        path: PathBuf,
        _lock: FileLock,
        _folder: TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let folder = tempfile::tempdir().unwrap();
            let opened = open::open(folder.path()).unwrap();
            let changes = Arc::new(ChangeTracker::default());
            let writer = Writer::start(opened.connection, opened.file, changes.clone()).unwrap();
            Bench { writer, changes, path: opened.path, _lock: opened.lock, _folder: folder }
        }

        fn submit(&self, step: impl FnMut(&mut WriteTransaction<'_>) -> Outcome + Send + 'static) -> Receiver<Outcome> {
            let (job, answer) = job(step);
            self.writer.submit(job);
            answer
        }

        /// Blocks the writer until the returned sender is dropped, so that jobs submitted meanwhile share a transaction.
        fn hold(&self) -> Sender<()> {
            let (go, wait) = channel::<()>();
            let (started, running) = channel();
            self.submit(move |_| {
                started.send(()).unwrap();
                wait.recv().unwrap_err();
                Ok(())
            });
            running.recv().unwrap();
            go
        }

        fn knobs(&self) -> Vec<String> {
            knobs(&open::connect(&self.path, Access::Read).unwrap())
        }
    }

    fn knobs(connection: &Connection) -> Vec<String> {
        let mut rows = connection.prepare("SELECT knob FROM profile ORDER BY knob").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn queued_jobs_share_one_transaction_and_one_index_segment() {
        let bench = Bench::new();
        let hold = bench.hold();
        let mut answers: Vec<_> = ["a", "b", "c"].map(|knob| bench.submit(put(knob))).into();
        for seq in 1..=5 {
            answers.push(bench.submit(move |transaction| {
                transaction.record_added(seq, format!("word{seq} "), String::new());
                Ok(())
            }));
        }
        let other = open::connect(&bench.path, Access::Read).unwrap();
        answers.push(bench.submit(move |transaction| {
            assert_eq!((knobs(transaction.connection).len(), knobs(&other).len()), (3, 0));
            Ok(())
        }));
        drop(hold);
        for answer in answers {
            assert_eq!(answer.recv().unwrap(), Ok(()));
        }
        assert_eq!(bench.knobs(), ["a", "b", "c"]);
        assert_eq!(bench.changes.records().load(Ordering::Relaxed), 5);
        let reader = open::connect(&bench.path, Access::Read).unwrap();
        let number = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("SELECT count(DISTINCT segid) FROM term_index_idx"), 1);
        assert_eq!(number("SELECT rowid FROM term_index WHERE term_index MATCH 'word4'"), 4);
    }

    #[test]
    fn a_failed_job_is_rolled_back_alone() {
        let bench = Bench::new();
        let hold = bench.hold();
        let good = bench.submit(put("a"));
        let twice = bench.submit(put("a"));
        let refused = bench.submit(|transaction| {
            put("b")(transaction)?;
            transaction.record_added(1, "word ".into(), String::new());
            Err(CallError::missing("x"))
        });
        let panicked = bench.submit(|transaction| {
            put("c")(transaction)?;
            transaction.record_added(2, "word ".into(), String::new());
            panic!("a test's panic");
        });
        let last = bench.submit(put("d"));
        drop(hold);
        assert_eq!((good.recv().unwrap(), last.recv().unwrap()), (Ok(()), Ok(())));
        assert!(twice.recv().unwrap().unwrap_err().message.contains("UNIQUE"));
        assert_eq!(refused.recv().unwrap(), Err(CallError::missing("x")));
        assert!(panicked.recv().unwrap().unwrap_err().message.contains("panicked"));
        assert_eq!(bench.knobs(), ["a", "d"]);
        assert_eq!(bench.changes.records().load(Ordering::Relaxed), 0);
        let reader = open::connect(&bench.path, Access::Read).unwrap();
        let sql = "SELECT count(*) FROM term_index WHERE term_index MATCH 'word'";
        assert_eq!(reader.query_row(sql, [], |row| row.get::<_, i64>(0)), Ok(0));
    }

    fn limit_pages(more: i64) -> impl FnMut(&mut WriteTransaction<'_>) -> Outcome + Send {
        move |transaction| {
            let pages: i64 =
                transaction.connection.query_row("SELECT page_count FROM pragma_page_count", [], |r| r.get(0))?;
            transaction.connection.pragma_update_and_check(None, "max_page_count", pages + more, |_| Ok(()))?;
            Ok(())
        }
    }

    fn put_large(transaction: &mut WriteTransaction<'_>) -> Outcome {
        transaction.connection.execute("INSERT INTO profile VALUES ('large', printf('%.100000c', 'x'))", [])?;
        Ok(())
    }

    #[test]
    fn a_full_disk_fails_every_job_and_the_next_transaction_is_tried() {
        let bench = Bench::new();
        bench.submit(put("before")).recv().unwrap().unwrap();
        bench.submit(limit_pages(0)).recv().unwrap().unwrap();
        // The disk is full in a job, and when the index is written before the commit.
        let terms = (0..20_000).map(|n| format!("w{n} ")).collect::<String>();
        let index_large = move |transaction: &mut WriteTransaction<'_>| {
            transaction.record_added(1, terms.clone(), String::new());
            Ok(())
        };
        check_all_fail(&bench, bench.submit_after(put_large));
        check_all_fail(&bench, bench.submit_after(index_large));
        bench.submit(limit_pages(1000)).recv().unwrap().unwrap();
        bench.submit(put_large).recv().unwrap().unwrap();
        assert_eq!(bench.knobs(), ["before", "large"]);
    }

    fn check_all_fail(bench: &Bench, answers: Vec<Receiver<Outcome>>) {
        for answer in answers {
            let error = answer.recv().unwrap().unwrap_err();
            assert_eq!(error.code, crate::dispatch::code::FAILED);
            assert!(error.message.contains("free some space"), "{error}");
        }
        assert_eq!(bench.knobs(), ["before"]);
        assert_eq!(bench.changes.records().load(Ordering::Relaxed), 0);
    }

    impl Bench {
        /// Submits a small write, `step` and another small write in one transaction.
        fn submit_after(
            &self,
            step: impl FnMut(&mut WriteTransaction<'_>) -> Outcome + Send + 'static,
        ) -> Vec<Receiver<Outcome>> {
            let hold = self.hold();
            let answers = vec![self.submit(put("small")), self.submit(step), self.submit(put("also"))];
            drop(hold);
            answers
        }
    }

    #[test]
    fn dropping_the_writer_commits_queued_jobs() {
        let mut bench = Bench::new();
        let hold = bench.hold();
        let answers = ["a", "b"].map(|knob| bench.submit(put(knob)));
        drop(hold);
        let other = Bench::new();
        drop(std::mem::replace(&mut bench.writer, other.writer));
        for answer in answers {
            assert_eq!(answer.try_recv().unwrap(), Ok(()));
        }
        assert_eq!(bench.knobs(), ["a", "b"]);
    }

    #[test]
    fn a_handover_continues_the_queue_on_another_thread() {
        let bench = Bench::new();
        let on = || {
            let (told, thread) = channel();
            bench.submit(move |transaction| {
                put("a")(transaction).ok();
                told.send(std::thread::current().id()).unwrap();
                Ok(())
            });
            thread.recv().unwrap()
        };
        let first = on();
        let hold = bench.hold();
        let (handover, is_finished) = WriterHandover::new();
        let mut handover = Some(handover);
        bench.submit(move |transaction| {
            transaction.request_handover(handover.take().unwrap());
            Ok(())
        });
        let waits = bench.submit(put("b"));
        drop(hold);
        assert_eq!(waits.recv().unwrap(), Ok(()), "it is in the transaction that requested the handover");
        assert_eq!(is_finished.recv(), None);
        assert_ne!(on(), first);
        let last = bench.submit(put("c"));
        let Bench { writer, path, .. } = bench;
        drop(writer);
        assert_eq!(last.try_recv().unwrap(), Ok(()));
        assert_eq!(knobs(&open::connect(&path, Access::Read).unwrap()), ["a", "b", "c"]);
    }

    #[test]
    fn a_closed_queue_fails_new_jobs() {
        let bench = Bench::new();
        bench.writer.queue.close();
        let error = bench.submit(put("a")).recv().unwrap().unwrap_err();
        assert!(error.message.contains("closing"), "{error}");
    }
}
