//! A fixed number of worker threads behind one queue.
//!
//! A job is a [`Batch`], the calls of one connection that stood ready, or a task of the control
//! plane. The loop collects jobs and hands those of a turn over together; results come back through a
//! mailbox that the loop empties each turn. A panic becomes an error reply and the worker lives.
//!
//! Waking a worker costs more than most jobs, so a hand-over wakes as many as the work it brings seems
//! worth, going by how long the last jobs took, and results of brief jobs are announced together. Both
//! are guesses, so they hold for [`PATIENCE`] only: then every worker is called that there is a job
//! for, and each result is announced at once.
//!
//! Where the system allows it, a worker that is woken takes the processor from nobody, least of all from
//! the loop that has woken it: the loop would be put aside in the middle of its turn, each time it hands
//! something over.

mod batch;
mod batch_clock;
mod completions;
#[cfg(all(loom, test))]
mod models;
mod queue;
mod sync;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use self::completions::{Completions, Followup, ReaderState};
use self::queue::{JobQueue, Rested, WorkerStep};
use crate::dispatch::{Dispatch, Panicked, Runner};
use crate::limits::Limits;
use crate::serve::control_plane::Task;
use crate::sys::process;

pub(crate) use self::batch::{Batch, BatchBuilder};
use self::batch::{BatchBuffers, RenderedReplies};

/// How long guesses hold: the shortest time that epoll(7) and kqueue(2) both can wait.
const PATIENCE: Duration = Duration::from_millis(1);

/// Work that is worth waking another worker for. Picked: some ten times what waking one costs.
const WORTH_A_WORKER: Duration = Duration::from_micros(50);

/// Jobs that are handed over while the turn goes on. Picked: enough for one wake-up not to count.
const HANDFUL: usize = 32;

/// Most rooms that are kept for batches to come. Picked: twice as many batches as make one hand-over.
const SPARE: usize = 2 * HANDFUL;

/// The pool, as the loop holds it. Dropping it lets the workers end after their running job.
pub(crate) struct Pool<D: Dispatch, T: Send + 'static> {
    /// `None` once it is to end.
    shared: Option<Arc<Shared<D, T>>>,
    /// For batches to come, until there is a [`Pool::rest`].
    spare: Vec<BatchBuffers>,
    /// Jobs that were not handed over yet.
    fresh: Vec<Job<D, T>>,
    /// Tasks that wait until others are done: whatever a disk does to tasks, one worker is left for calls.
    tasks: VecDeque<Task<T>>,
    /// Tasks that workers have.
    tasks_out: usize,
    /// Something was handed over since the last [`Pool::look_after`].
    handed_over: bool,
    /// When the guesses about that are given up.
    patient_until: Option<Instant>,
    /// Closed when nobody holds any more what is shared.
    alive: Receiver<Infallible>,
}

/// What came of a job.
pub(crate) enum Outcome<T> {
    /// Calls were answered.
    Replies(Delivery),
    /// A task is done.
    Task(Result<T, Panicked>),
}

/// Replies of one connection's calls, in order.
pub(crate) struct Delivery {
    /// Whose they are.
    pub(crate) owner: usize,
    /// Reply lines.
    pub(crate) replies: Vec<u8>,
    /// How many.
    pub(crate) count: usize,
    /// How many of them are errors.
    pub(crate) errors: usize,
    /// When the calls were handed over.
    pub(crate) since: Instant,
    /// The rest of the batch waits for [`Pool::resume`].
    pub(crate) paused: bool,
}

/// What workers and batches hold of the pool.
struct Shared<D: Dispatch, T: Send + 'static> {
    dispatch: Arc<D>,
    limits: Limits,
    queue: JobQueue<Job<D, T>>,
    results: Completions<Outcome<T>>,
    /// Runs behind the last worker that rests.
    then: Mutex<Option<Task<T>>>,
    /// About how long a job takes, in nanoseconds.
    usual_ns: AtomicU64,
    /// Goes when nobody holds this any more; the last field, so all that stands before it has gone by then.
    _living: Sender<Infallible>,
}

enum Job<D: Dispatch, T: Send + 'static> {
    Batch(Arc<Batch<D, T>>),
    Task(Task<T>),
}

impl<D: Dispatch, T: Send + 'static> Pool<D, T> {
    /// Starts the workers. `notify` is called, from any thread, to end the loop's sleep.
    ///
    /// # Errors
    /// The system's, where a thread cannot be started.
    pub(crate) fn start(
        dispatch: Arc<D>,
        limits: &Limits,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Pool<D, T>> {
        let (living, alive) = channel();
        let shared = Arc::new(Shared {
            dispatch,
            limits: limits.clone(),
            queue: JobQueue::new(),
            results: Completions::new(notify),
            then: Mutex::new(None),
            usual_ns: AtomicU64::new(0),
            _living: living,
        });
        let pool = Pool {
            shared: Some(shared),
            fresh: Vec::new(),
            spare: Vec::new(),
            tasks: VecDeque::new(),
            tasks_out: 0,
            handed_over: false,
            patient_until: None,
            alive,
        };
        for index in 0..limits.workers {
            pool.shared().start_worker(index, 0)?;
        }
        Ok(pool)
    }

    /// A batch to be filled with calls of the connection `owner`, which arrived at `since` in about `bytes` bytes.
    pub(crate) fn builder(&mut self, owner: usize, since: Instant, bytes: usize) -> BatchBuilder {
        let room = self.spare.pop().unwrap_or_default();
        BatchBuilder::new(room, owner, since, bytes, self.shared().limits.batch_calls)
    }

    /// Takes back a batch whose replies are all here.
    pub(crate) fn recycle(&mut self, batch: Arc<Batch<D, T>>) {
        // The worker may hold it a moment longer; then it goes with the worker's share.
        if self.spare.len() < SPARE
            && let Some(batch) = Arc::into_inner(batch)
        {
            self.spare.push(batch.into_buffers());
        }
    }

    /// Takes a batch for the workers. Its replies begin in `out`, which is empty.
    pub(crate) fn submit(&mut self, batch: BatchBuilder, out: Vec<u8>) -> Arc<Batch<D, T>> {
        let batch = Arc::new(batch.build(out, Arc::clone(self.shared())));
        self.push(Job::Batch(Arc::clone(&batch)));
        batch
    }

    /// Lets a batch go on that paused, now that its peer has taken what it answered.
    pub(crate) fn resume(&mut self, batch: &Arc<Batch<D, T>>) {
        self.push(Job::Batch(Arc::clone(batch)));
    }

    /// Takes a task for the workers, of whom all but one may have tasks.
    pub(crate) fn run(&mut self, work: Task<T>) {
        self.tasks.push_back(work);
        self.begin_tasks();
    }

    fn begin_tasks(&mut self) {
        let most = self.shared().limits.workers.saturating_sub(1).max(1);
        while self.tasks_out < most
            && let Some(work) = self.tasks.pop_front()
        {
            self.tasks_out += 1;
            self.push(Job::Task(work));
        }
    }

    fn push(&mut self, job: Job<D, T>) {
        self.fresh.push(job);
        if self.fresh.len() == HANDFUL {
            self.hand_over();
        }
    }

    /// Hands over what was collected.
    pub(crate) fn hand_over(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        self.handed_over = true;
        let shared = self.shared.as_ref().expect(SHARED);
        let tasks = self.fresh.iter().filter(|job| matches!(job, Job::Task(_))).count();
        let usual = Duration::from_nanos(shared.usual_ns.load(Ordering::Relaxed));
        let work = usual * (self.fresh.len() - tasks) as u32;
        let workers = 1 + tasks + (work.as_nanos() / WORTH_A_WORKER.as_nanos()) as usize;
        shared.queue.push(self.fresh.drain(..), workers);
    }

    /// The turn that began at `now` is over: gives up guesses that have held for long enough. `in_flight`: calls wait
    /// for their results.
    pub(crate) fn look_after(&mut self, now: Instant, in_flight: bool) {
        if std::mem::take(&mut self.handed_over) {
            self.patient_until = Some(now + PATIENCE);
        }
        if !in_flight {
            self.patient_until = None;
        }
        if self.patient_until.take_if(|until| *until <= now).is_some() {
            self.shared().queue.call_all();
        }
    }

    /// May the loop sleep until [`Pool::next_moment`]? Not if there are results.
    pub(crate) fn may_sleep(&mut self) -> bool {
        let reader = if self.patient_until.is_some() { ReaderState::Patient } else { ReaderState::Asleep };
        self.shared().results.may_sleep(reader)
    }

    /// When the loop is to look after what it has handed over.
    pub(crate) fn next_moment(&self) -> Option<Instant> {
        self.patient_until
    }

    /// Has each worker let go of its own state once it is through with its job, then runs `then`. Other threads go
    /// on, as far as the system gives any: the allocator keeps some of what a thread has freed for that thread.
    pub(crate) fn rest(&mut self, then: Task<T>) {
        self.spare = Vec::new();
        let shared = self.shared.as_ref().expect(SHARED);
        // One that has not run yet is given up, and never comes back.
        let earlier = shared.then.lock().unwrap_or_else(PoisonError::into_inner).replace(then);
        self.tasks_out += usize::from(earlier.is_none());
        let (workers, round) = (shared.limits.workers, shared.queue.next_round());
        let successors = (0..workers).take_while(|&index| shared.start_worker(index, round).is_ok()).count();
        shared.queue.rest(workers, successors);
    }

    /// Takes all results that are here into `results`, which is empty.
    pub(crate) fn take(&mut self, results: &mut Vec<Outcome<T>>) {
        self.shared().results.take(results);
        self.tasks_out -= results.iter().filter(|outcome| matches!(outcome, Outcome::Task(_))).count();
        self.begin_tasks();
    }

    /// Lets the workers end, and waits for them, but no longer than `patience`: one that is stuck is
    /// left behind.
    pub(crate) fn end(mut self, patience: Duration) {
        let Some(shared) = self.shared.take() else { return };
        shared.close();
        drop(shared);
        self.fresh.clear();
        if self.alive.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            log::warn!("a handler is stuck, or keeps a reply, and is left behind");
        }
    }

    fn shared(&self) -> &Arc<Shared<D, T>> {
        self.shared.as_ref().expect(SHARED)
    }

    /// Jobs that wait for a worker.
    pub(crate) fn queued(&self) -> usize {
        self.shared().queue.waiting() + self.fresh.len() + self.tasks.len()
    }
}

const SHARED: &str = "only the end takes it, and the pool with it";

impl<D: Dispatch, T: Send + 'static> Drop for Pool<D, T> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.close();
        }
    }
}

impl<D: Dispatch, T: Send + 'static> Shared<D, T> {
    /// Starts a worker that need not rest before the round behind `rested`.
    fn start_worker(self: &Arc<Self>, index: usize, rested: u64) -> io::Result<()> {
        let shared = Arc::clone(self);
        let thread = thread::Builder::new().name(format!("iaid-worker-{index}"));
        thread.stack_size(self.limits.worker_stack_bytes).spawn(move || shared.work(rested)).map(drop)
    }

    fn work(&self, mut rested: u64) {
        process::set_batch_scheduling();
        let (mut runner, mut brief) = (Runner::default(), RenderedReplies::default());
        loop {
            match self.queue.take(&mut rested) {
                Some(WorkerStep::Job(Job::Batch(batch))) => {
                    let began = Instant::now();
                    batch.run(began, &mut runner, &mut brief);
                    drop(batch);
                    self.took(began.elapsed());
                }
                Some(WorkerStep::Job(Job::Task(work))) => self.carry_out(work),
                Some(WorkerStep::Rest) => {
                    (runner, brief) = (Runner::default(), RenderedReplies::default());
                    let Rested { last, goes } = self.queue.rested();
                    if last && let Some(then) = self.then.lock().unwrap_or_else(PoisonError::into_inner).take() {
                        self.queue.push([Job::Task(then)], 1);
                    }
                    if goes {
                        return;
                    }
                }
                Some(WorkerStep::End) => return,
                None => {
                    runner.shrink();
                    self.results.announce();
                    self.queue.wait(rested);
                }
            }
        }
    }

    fn close(&self) {
        // What waits is nobody's any more: the loop has answered for it.
        drop(self.queue.close());
    }

    /// Puts a batch that is not through behind the others.
    fn requeue(&self, batch: Arc<Batch<D, T>>) {
        self.queue.push([Job::Batch(batch)], 1);
    }

    fn carry_out(&self, work: Task<T>) {
        let done = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked::of(&*panic));
        self.results.put(Outcome::Task(done), Followup::Nothing);
    }

    /// A job took so long. Two workers may overwrite each other's news, which matters to no guess.
    fn took(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let usual = self.usual_ns.load(Ordering::Relaxed);
        self.usual_ns.store(usual - usual / 8 + time / 8, Ordering::Relaxed);
    }
}
