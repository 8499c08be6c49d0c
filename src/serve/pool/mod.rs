//! A fixed number of worker threads behind one queue.
//!
//! A job is a [`Batch`] (the calls of one connection that were ready together) or a task of the control
//! plane. Tasks and batches of calls with small replies are urgent: one worker runs nothing else, so they never wait
//! for long calls. The loop collects jobs and hands over those of a turn together; results come back through
//! [`Completions`], which the loop empties each turn. A panic becomes an error reply; the worker continues.
//!
//! Waking a worker costs more than most jobs. So a hand-over wakes only as many workers as its estimated work
//! justifies, and results of brief jobs are announced together. The estimate is the moving average of recent job
//! times. It may be wrong, so it is trusted for [`ESTIMATE_TIMEOUT`]: then one worker is woken for each waiting job,
//! and each result is announced at once.
//!
//! Workers run under SCHED_BATCH (Linux), so waking one does not preempt the event loop.

mod batch;
mod batch_calls;
mod batch_clock;
mod completions;
#[cfg(all(loom, test))]
mod models;
mod outcome;
mod queue;
mod reply_budget;
mod sync;
mod worker;

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::batch::{Job, Shared};
use self::batch_calls::BatchBuffers;
use self::completions::{Completions, ReaderState};
use self::queue::JobQueue;
use crate::dispatch::Dispatch;
use crate::limits::Limits;
use crate::oneshot::{self, NoValue};
use crate::serve::control_plane::Task;

pub(crate) use self::batch::Batch;
pub(crate) use self::batch_calls::BatchBuilder;
pub(crate) use self::outcome::{Delivery, Outcome, Remainder};
pub(crate) use self::reply_budget::ReplyBudget;

/// How long an estimate is trusted: the shortest timeout that both epoll(7) and kqueue(2) can wait for.
const ESTIMATE_TIMEOUT: Duration = Duration::from_millis(1);

/// Estimated work that justifies waking another worker. Picked: about ten times the cost of waking one.
const WORK_PER_WAKE: Duration = Duration::from_micros(50);

/// Jobs that are handed over before the turn is over. Picked: enough that one wake-up costs little beside them.
const HAND_OVER_JOB_COUNT: usize = 32;

/// Most buffers kept for later batches. Picked: twice as many as batches of one hand-over.
const MAX_SPARE_COUNT: usize = 2 * HAND_OVER_JOB_COUNT;

/// The pool as the loop owns it. When it is dropped, each worker exits after its running job.
pub(crate) struct Pool<D: Dispatch, T: Send + 'static> {
    /// `None` once the pool ends.
    shared: Option<Arc<Shared<D, T>>>,
    /// Buffers for later batches. Freed by [`Pool::recycle_workers`].
    spare: Vec<BatchBuffers>,
    /// Jobs that are not handed over yet.
    fresh: Vec<Job<D, T>>,
    /// Tasks that wait until others are done: however slow the disk makes tasks, one worker remains for calls.
    tasks: VecDeque<Task<T>>,
    /// Tasks that are handed over and not done.
    tasks_out: usize,
    /// A job was handed over since the last [`Pool::end_turn`].
    handed_over: bool,
    /// When the estimate for the last hand-over is no longer trusted.
    estimate_until: Option<Instant>,
    /// Its sender is dropped once no worker and no batch owns `shared`.
    alive: oneshot::Receiver<()>,
}

impl<D: Dispatch, T: Send + 'static> Pool<D, T> {
    /// Starts the workers, which add to `replies` what they render. `notify` is called, from any thread, to end the loop's sleep.
    ///
    /// # Errors
    /// Those of [`std::thread::Builder::spawn`].
    pub(crate) fn start(
        dispatch: Arc<D>,
        limits: &Limits,
        replies: Arc<ReplyBudget>,
        notify: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Pool<D, T>> {
        let (living, alive) = oneshot::channel();
        let shared = Arc::new(Shared {
            dispatch,
            limits: limits.clone(),
            replies,
            queue: JobQueue::new(),
            results: Completions::new(notify),
            after_recycle: Mutex::new(None),
            mean_job_ns: AtomicU64::new(0),
            _living: living,
        });
        let pool = Pool {
            shared: Some(shared),
            fresh: Vec::new(),
            spare: Vec::new(),
            tasks: VecDeque::new(),
            tasks_out: 0,
            handed_over: false,
            estimate_until: None,
            alive,
        };
        for (index, crew) in worker::crews(limits.workers).enumerate() {
            worker::start(pool.shared(), crew, index, 0)?;
        }
        Ok(pool)
    }

    /// Returns a builder for calls of the connection `owner`, which arrived at `since` in about `bytes` bytes. While
    /// memory is short it takes one call, so that a batch's replies are no more than a small one.
    pub(crate) fn builder(&mut self, owner: u64, since: Instant, bytes: usize) -> BatchBuilder {
        let buffers = self.spare.pop().unwrap_or_default();
        let max_calls = if self.shared().replies.is_short() { 1 } else { self.shared().limits.batch_calls };
        BatchBuilder::new(buffers, owner, since, bytes, max_calls)
    }

    /// Keeps the buffers of a batch whose replies have all arrived.
    pub(crate) fn reuse(&mut self, batch: Arc<Batch<D, T>>) {
        // If the worker still owns it, the worker frees it.
        if self.spare.len() < MAX_SPARE_COUNT
            && let Some(batch) = Arc::into_inner(batch)
        {
            self.spare.push(batch.into_buffers());
        }
    }

    /// Submits a batch to the workers. Its replies are appended to `out`, which must be empty.
    pub(crate) fn submit(&mut self, batch: BatchBuilder, out: Vec<u8>) -> Arc<Batch<D, T>> {
        let batch = Arc::new(Batch::new(batch, out, Arc::clone(self.shared())));
        self.push(Job::Batch(Arc::clone(&batch)));
        batch
    }

    /// Resumes a paused batch. Called once its peer has taken its replies.
    pub(crate) fn resume(&mut self, batch: &Arc<Batch<D, T>>) {
        self.push(Job::Batch(Arc::clone(batch)));
    }

    /// Submits a task to the workers. At most all but one of them run tasks at a time.
    pub(crate) fn run_task(&mut self, task: Task<T>) {
        self.tasks.push_back(task);
        self.begin_tasks();
    }

    fn begin_tasks(&mut self) {
        let max_tasks = self.shared().limits.workers.saturating_sub(1).max(1);
        while self.tasks_out < max_tasks
            && let Some(task) = self.tasks.pop_front()
        {
            self.tasks_out += 1;
            self.push(Job::Task(task));
        }
    }

    fn push(&mut self, job: Job<D, T>) {
        self.fresh.push(job);
        if self.fresh.len() == HAND_OVER_JOB_COUNT {
            self.hand_over();
        }
    }

    /// Hands over the collected jobs.
    pub(crate) fn hand_over(&mut self) {
        if self.fresh.is_empty() {
            return;
        }
        self.handed_over = true;
        let shared = self.shared.as_ref().expect(SHARED);
        let tasks = self.fresh.iter().filter(|job| matches!(job, Job::Task(_))).count();
        let mean = Duration::from_nanos(shared.mean_job_ns.load(Ordering::Relaxed));
        let work = mean * (self.fresh.len() - tasks) as u32;
        let workers = 1 + tasks + (work.as_nanos() / WORK_PER_WAKE.as_nanos()) as usize;
        shared.queue.push(self.fresh.drain(..), workers);
    }

    /// Called at the end of the turn that began at `now`: wakes more workers if an estimate has been trusted for long
    /// enough. `in_flight`: calls wait for their results.
    pub(crate) fn end_turn(&mut self, now: Instant, in_flight: bool) {
        if std::mem::take(&mut self.handed_over) {
            self.estimate_until = Some(now + ESTIMATE_TIMEOUT);
        }
        if !in_flight {
            self.estimate_until = None;
        }
        if self.estimate_until.take_if(|until| *until <= now).is_some() {
            self.shared().queue.wake_for_all_jobs();
        }
    }

    /// Returns true if the loop may sleep until [`Pool::next_deadline`]: no results wait.
    pub(crate) fn may_sleep(&mut self) -> bool {
        let reader = if self.estimate_until.is_some() { ReaderState::TimedWait } else { ReaderState::Waiting };
        self.shared().results.may_sleep(reader)
    }

    /// Returns when [`Pool::end_turn`] must be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.estimate_until
    }

    /// Has each worker drop its state after its running job, then runs `then` on a worker. New threads replace the
    /// workers as far as they can be started, since the allocator caches freed memory for each thread.
    pub(crate) fn recycle_workers(&mut self, then: Task<T>) {
        self.spare = Vec::new();
        let shared = self.shared.as_ref().expect(SHARED);
        // An earlier task that has not been queued yet is dropped: it gives no result.
        let earlier = shared.after_recycle.lock().unwrap_or_else(PoisonError::into_inner).replace(then);
        self.tasks_out += usize::from(earlier.is_none());
        let (generation, mut successors) = (shared.queue.next_generation(), Vec::new());
        for (index, crew) in worker::crews(shared.limits.workers).enumerate() {
            if worker::start(shared, crew, index, generation).is_ok() {
                successors.push(crew);
            }
        }
        shared.queue.recycle(shared.limits.workers + 1, &successors);
    }

    /// Moves all results into `results`, which must be empty.
    pub(crate) fn take(&mut self, results: &mut Vec<Outcome<T>>) {
        self.shared().results.take(results);
        self.tasks_out -= results.iter().filter(|outcome| matches!(outcome, Outcome::Task(_))).count();
        self.begin_tasks();
    }

    /// Lets the workers exit and waits for them for at most `timeout`. A worker that is still busy then is left behind.
    pub(crate) fn end(mut self, timeout: Duration) {
        let Some(shared) = self.shared.take() else { return };
        drop(shared.queue.close());
        drop(shared);
        self.fresh.clear();
        if self.alive.recv_timeout(timeout) == Err(NoValue::TimedOut) {
            log::warn!("drain timeout: a worker is still busy or a LateReply is still held; exiting without it");
        }
    }

    fn shared(&self) -> &Arc<Shared<D, T>> {
        self.shared.as_ref().expect(SHARED)
    }

    /// Returns the number of jobs that wait for a worker.
    pub(crate) fn queued(&self) -> usize {
        self.shared().queue.waiting() + self.fresh.len() + self.tasks.len()
    }
}

const SHARED: &str = "only `end` takes it, and consumes the pool";

impl<D: Dispatch, T: Send + 'static> Drop for Pool<D, T> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            drop(shared.queue.close());
        }
    }
}
