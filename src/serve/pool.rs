//! A fixed number of worker threads behind one queue.
//!
//! A job is a [`Batch`], the calls of one connection that stood ready, or a task of the control
//! plane. Results go into a channel that the loop empties; whoever fills an empty one calls
//! `notify`, which is all that is known here of how the loop sleeps. A panic becomes an error reply
//! and the worker lives.
//!
//! The queue's lock is held to push or to take one job, never while one runs.

mod batch;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::dispatch::Dispatch;
use crate::limits::Limits;
use crate::serve::plane::{Panicked, Work};

pub(crate) use self::batch::{Batch, BatchBuilder};

/// The pool, as the loop holds it. Dropping it lets the workers end after their running job.
pub(crate) struct Pool<D: Dispatch, T: Send + 'static> {
    /// `None` once it is to end.
    shared: Option<Share<D, T>>,
    results: Receiver<Outcome<T>>,
    /// Closed when the last share is gone.
    alive: Receiver<Infallible>,
}

/// What workers and batches hold of the pool, with a sign that they still do. The fields go in this
/// order, so whoever has seen the last sign go is the last to hold what is shared.
struct Share<D: Dispatch, T: Send + 'static> {
    shared: Arc<Shared<D, T>>,
    _living: Sender<Infallible>,
}

impl<D: Dispatch, T: Send + 'static> Clone for Share<D, T> {
    fn clone(&self) -> Share<D, T> {
        Share { shared: Arc::clone(&self.shared), _living: self._living.clone() }
    }
}

impl<D: Dispatch, T: Send + 'static> Deref for Share<D, T> {
    type Target = Shared<D, T>;

    fn deref(&self) -> &Shared<D, T> {
        &self.shared
    }
}

/// What came of a job.
pub(crate) enum Outcome<T> {
    /// Calls were answered.
    Replies(Delivery),
    /// A task is done.
    Work(Result<T, Panicked>),
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

struct Shared<D: Dispatch, T: Send + 'static> {
    dispatch: Arc<D>,
    limits: Limits,
    queue: Mutex<Queue<D, T>>,
    wake: Condvar,
    /// Jobs in the queue, for `status` to read without the lock.
    queued: AtomicUsize,
    results: Sender<Outcome<T>>,
    /// Results were sent that the loop has been told of and has not taken yet.
    told: AtomicBool,
    notify: Box<dyn Fn() + Send + Sync>,
}

struct Queue<D: Dispatch, T: Send + 'static> {
    jobs: VecDeque<Job<D, T>>,
    sleeping: usize,
    closed: bool,
    rest: Rest<T>,
}

/// The workers are to let go of their own state.
struct Rest<T> {
    /// Counts up; a worker that has seen a lower number has not rested.
    round: u64,
    /// Workers that have not.
    left: usize,
    /// Runs behind the last of them.
    then: Option<Work<T>>,
}

enum Job<D: Dispatch, T: Send + 'static> {
    Batch(Arc<Batch<D, T>>),
    Work(Work<T>),
    Rest,
}

impl<D: Dispatch, T: Send + 'static> Pool<D, T> {
    /// Starts the workers. `notify` is called, from any thread, when results wait to be taken.
    ///
    /// # Errors
    /// The system's, where a thread cannot be started.
    pub(crate) fn start(
        dispatch: Arc<D>,
        limits: &Limits,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Pool<D, T>> {
        let (sender, results) = channel();
        let shared = Arc::new(Shared {
            dispatch,
            limits: limits.clone(),
            queue: Mutex::new(Queue {
                jobs: VecDeque::new(),
                sleeping: 0,
                closed: false,
                rest: Rest { round: 0, left: 0, then: None },
            }),
            wake: Condvar::new(),
            queued: AtomicUsize::new(0),
            results: sender,
            told: AtomicBool::new(false),
            notify: Box::new(notify),
        });
        let (living, alive) = channel();
        let pool = Pool { shared: Some(Share { shared, _living: living }), results, alive };
        for index in 0..limits.workers {
            let shared = pool.share().clone();
            let name = format!("iaid-worker-{index}");
            thread::Builder::new().name(name).stack_size(limits.worker_stack_bytes).spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Hands a batch to the workers.
    pub(crate) fn submit(&self, batch: BatchBuilder) -> Arc<Batch<D, T>> {
        let batch = Arc::new(batch.build(self.share().clone()));
        self.share().push(Job::Batch(Arc::clone(&batch)));
        batch
    }

    /// Lets a batch go on that paused, now that its peer has taken what it answered.
    pub(crate) fn resume(&self, batch: &Arc<Batch<D, T>>) {
        self.share().push(Job::Batch(Arc::clone(batch)));
    }

    /// Hands a task to the workers.
    pub(crate) fn run(&self, work: Work<T>) {
        self.share().push(Job::Work(work));
    }

    /// Has each worker let go of its own state once it is through with its job, then runs `then`.
    pub(crate) fn rest(&self, then: Work<T>) {
        let share = self.share();
        let mut queue = share.lock();
        queue.rest = Rest { round: queue.rest.round + 1, left: share.limits.workers, then: Some(then) };
        share.wake.notify_all();
    }

    /// The next result, if one waits. Call until `None` after each notice.
    pub(crate) fn take(&self) -> Option<Outcome<T>> {
        self.results.try_recv().ok()
    }

    /// The notice was heard: results sent from here on give another one.
    pub(crate) fn heard(&self) {
        self.share().told.store(false, Ordering::SeqCst);
    }

    /// Lets the workers end, and waits for them, but no longer than `patience`: one that is stuck is
    /// left behind.
    pub(crate) fn end(mut self, patience: Duration) {
        let Some(share) = self.shared.take() else { return };
        share.close();
        drop(share);
        if self.alive.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            log::warn!("a handler is stuck, or keeps a reply, and is left behind");
        }
    }

    fn share(&self) -> &Share<D, T> {
        self.shared.as_ref().expect("only the end takes it, and the pool with it")
    }

    /// Jobs that wait for a worker.
    pub(crate) fn queued(&self) -> usize {
        self.share().queued.load(Ordering::Relaxed)
    }
}

impl<D: Dispatch, T: Send + 'static> Drop for Pool<D, T> {
    fn drop(&mut self) {
        if let Some(share) = &self.shared {
            share.close();
        }
    }
}

impl<D: Dispatch, T: Send + 'static> Shared<D, T> {
    fn close(&self) {
        let jobs = {
            let mut queue = self.lock();
            queue.closed = true;
            self.wake.notify_all();
            // What waits is nobody's any more: the loop has answered for it.
            std::mem::take(&mut queue.jobs)
        };
        drop(jobs);
    }

    fn lock(&self) -> MutexGuard<'_, Queue<D, T>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job<D, T>) {
        let mut queue = self.lock();
        if queue.closed {
            return;
        }
        queue.jobs.push_back(job);
        self.queued.store(queue.jobs.len(), Ordering::Relaxed);
        if queue.sleeping > 0 {
            self.wake.notify_one();
        }
    }

    /// The next job of a worker that has rested in this round last.
    fn next(&self, rested: &mut u64) -> Option<Job<D, T>> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if *rested != queue.rest.round {
                *rested = queue.rest.round;
                return Some(Job::Rest);
            }
            if let Some(job) = queue.jobs.pop_front() {
                self.queued.store(queue.jobs.len(), Ordering::Relaxed);
                return Some(job);
            }
            queue.sleeping += 1;
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.sleeping -= 1;
        }
    }

    fn work(&self) {
        let (mut own, mut rested) = (None, 0);
        while let Some(job) = self.next(&mut rested) {
            match job {
                Job::Batch(batch) => batch.run(&mut own),
                Job::Work(work) => self.carry_out(work),
                Job::Rest => {
                    own = None;
                    if let Some(then) = self.rested() {
                        self.carry_out(then);
                    }
                }
            }
        }
    }

    fn carry_out(&self, work: Work<T>) {
        let done = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked::of(&*panic));
        self.tell(Outcome::Work(done));
    }

    /// A worker has let go. Gives what runs behind the last one.
    fn rested(&self) -> Option<Work<T>> {
        let rest = &mut self.lock().rest;
        rest.left = rest.left.saturating_sub(1);
        if rest.left == 0 { rest.then.take() } else { None }
    }

    fn tell(&self, outcome: Outcome<T>) {
        // The loop has ended: nobody is left to answer.
        if self.results.send(outcome).is_err() {
            return;
        }
        if !self.told.swap(true, Ordering::SeqCst) {
            (self.notify)();
        }
    }
}
