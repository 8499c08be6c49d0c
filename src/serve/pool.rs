//! A fixed number of worker threads behind one queue.
//!
//! A job is a [`Batch`], the calls of one connection that stood ready, or a task of the control
//! plane. Results go into a channel that the loop empties; whoever fills an empty one calls
//! `notify`, which is all that is known here of how the loop sleeps. A panic becomes an error reply
//! and the worker lives.
//!
//! The queue's lock is held to push or to take one job, never while one runs.

use std::any::Any;
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

use crate::dispatch::{CallError, Dispatch, Pace, Params, Reply, ReplySink};
use crate::limits::Limits;
use crate::serve::plane::{Panicked, Work};
use crate::wire::message::Call;
use crate::wire::reply;

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
}

enum Job<D: Dispatch, T: Send + 'static> {
    Batch(Arc<Batch<D, T>>),
    Work(Work<T>),
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
            queue: Mutex::new(Queue { jobs: VecDeque::new(), sleeping: 0, closed: false }),
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

    /// A new batch for this connection's calls.
    pub(crate) fn batch(&self, owner: usize, since: Instant) -> BatchBuilder {
        BatchBuilder { owner, since, text: String::new(), calls: Vec::new() }
    }

    /// Hands a batch to the workers.
    pub(crate) fn submit(&self, batch: BatchBuilder) -> Arc<Batch<D, T>> {
        let batch = Arc::new(Batch {
            owner: batch.owner,
            since: batch.since,
            text: batch.text,
            calls: batch.calls,
            shared: self.share().clone(),
            state: Mutex::new(Progress::default()),
        });
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

    fn next(&self) -> Option<Job<D, T>> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
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
        let mut own = None;
        while let Some(job) = self.next() {
            match job {
                Job::Batch(batch) => batch.run(&mut own),
                Job::Work(work) => {
                    let done = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Panicked(panic_text(&*panic)));
                    self.tell(Outcome::Work(done));
                }
            }
        }
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

/// The calls of a batch, while the loop collects them.
pub(crate) struct BatchBuilder {
    owner: usize,
    since: Instant,
    text: String,
    calls: Vec<Span>,
}

impl BatchBuilder {
    /// Adds a call.
    pub(crate) fn push(&mut self, call: &Call<'_>, pace: Pace) {
        let id = self.keep(call.id);
        let method = self.keep(&call.method);
        let params = call.params.map(|params| self.keep(params));
        self.calls.push(Span { id, method, params, pace });
    }

    /// Calls collected.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    fn keep(&mut self, text: &str) -> (usize, usize) {
        let start = self.text.len();
        self.text.push_str(text);
        (start, self.text.len())
    }
}

/// Where a call's parts stand in its batch's text.
struct Span {
    id: (usize, usize),
    method: (usize, usize),
    params: Option<(usize, usize)>,
    pace: Pace,
}

/// Calls of one connection, carried out one after the other.
///
/// A worker runs them until all are started, until time is up, until their replies are as much as a
/// peer is to have waiting, or until one has to wait for replies that come later; then the worker
/// goes. Of what is left, the batch itself, the loop, or the last of those replies puts it back into
/// the queue.
pub(crate) struct Batch<D: Dispatch, T: Send + 'static> {
    owner: usize,
    since: Instant,
    text: String,
    calls: Vec<Span>,
    shared: Share<D, T>,
    state: Mutex<Progress>,
}

/// How far a batch is. `rendered <= started <= calls.len()`.
#[derive(Default)]
struct Progress {
    /// Calls whose handler was called.
    started: usize,
    /// Calls whose reply is in `out` or delivered.
    rendered: usize,
    /// Replies given before their turn.
    early: Vec<(usize, Result<Vec<u8>, CallError>)>,
    /// Calls started and not answered.
    open: usize,
    /// No worker is on it, and it is in no queue: replies that come later are waited for.
    parked: bool,
    /// No more of its calls are to be started.
    given_up: bool,
    out: Vec<u8>,
    out_count: usize,
    out_errors: usize,
}

/// What a worker does next with a batch.
enum Step {
    Call(usize),
    Leave,
}

impl<D: Dispatch, T: Send + 'static> Batch<D, T> {
    /// The ids of the calls after the first `answered` ones, as JSON texts.
    pub(crate) fn ids_after(&self, answered: usize) -> impl Iterator<Item = &str> {
        self.calls[answered..].iter().map(|call| self.part(call.id))
    }

    /// Calls in it.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Starts no more of its calls, and gives the replies behind the first `answered` ones that are
    /// ready and not delivered: their lines, how many, and how many of them are errors. None where
    /// others are on their way to the loop, which those would overtake. What is answered later is
    /// delivered as ever.
    pub(crate) fn give_up(&self, answered: usize) -> (Vec<u8>, usize, usize) {
        let mut state = self.lock();
        state.given_up = true;
        if state.rendered - state.out_count != answered {
            return Default::default();
        }
        let Progress { out, out_count, out_errors, .. } = &mut *state;
        (std::mem::take(out), std::mem::take(out_count), std::mem::take(out_errors))
    }

    fn part(&self, (start, end): (usize, usize)) -> &str {
        &self.text[start..end]
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(self: &Arc<Self>, own: &mut Option<D::Worker>) {
        let began = Instant::now();
        // One call at least each time, however short the time is.
        let mut step = self.step(None);
        while let Step::Call(at) = step {
            self.call(at, own);
            step = self.step(Some(began));
        }
    }

    /// Decides what comes next, delivers what is there before leaving, and parks or queues the rest.
    fn step(self: &Arc<Self>, began: Option<Instant>) -> Step {
        let mut state = self.lock();
        let waits = match self.calls.get(state.started) {
            _ if state.given_up => true,
            None => true,
            Some(call) => state.open > 0 && !self.may_join(&state, call.pace),
        };
        let time_up = began.is_some_and(|began| began.elapsed() >= self.shared.limits.batch_time);
        if waits {
            state.parked = true;
            self.deliver(&mut state, false);
        } else if time_up || self.is_full(&state) {
            self.hand_back(state);
        } else {
            state.started += 1;
            state.open += 1;
            return Step::Call(state.started - 1);
        }
        Step::Leave
    }

    /// Delivers, and sees to it that the rest goes on: at once, or when the peer has taken what there
    /// is, since nothing else bounds what a batch answers.
    fn hand_back(self: &Arc<Self>, mut state: MutexGuard<'_, Progress>) {
        let more = state.started < self.calls.len() && !state.given_up;
        let paused = more && self.is_full(&state);
        self.deliver(&mut state, paused);
        drop(state);
        if more && !paused {
            self.shared.push(Job::Batch(Arc::clone(self)));
        }
    }

    /// Do its replies hold as much as a peer is to have waiting?
    fn is_full(&self, state: &Progress) -> bool {
        state.out.len() >= self.shared.limits.output_mark_bytes
    }

    /// May a call of this pace start beside those that are open?
    fn may_join(&self, state: &Progress, pace: Pace) -> bool {
        let open = &self.calls[state.rendered..state.started];
        pace == Pace::Pipelined && open.iter().all(|call| call.pace == Pace::Pipelined)
    }

    fn call(self: &Arc<Self>, at: usize, own: &mut Option<D::Worker>) {
        let call = &self.calls[at];
        let method = self.part(call.method);
        let reply = Reply::new(Arc::clone(self) as Arc<dyn ReplySink>, at);
        let params = match Params::read(call.params.map(|params| self.part(params))) {
            Ok(params) => params,
            Err(error) => return reply.send::<()>(Err(error)),
        };
        let dispatch = &self.shared.dispatch;
        let run =
            AssertUnwindSafe(|| dispatch.call(own.get_or_insert_with(|| dispatch.worker()), method, params, reply));
        if let Err(panic) = catch_unwind(run) {
            // What the worker has of its own may be half changed.
            *own = None;
            log::error!("the handler of '{method}' panicked: {}", panic_text(&*panic));
        }
    }

    /// Sends the replies that are ready to the loop.
    fn deliver(&self, state: &mut Progress, paused: bool) {
        if state.out_count == 0 {
            return;
        }
        self.shared.tell(Outcome::Replies(Delivery {
            owner: self.owner,
            replies: std::mem::take(&mut state.out),
            count: std::mem::take(&mut state.out_count),
            errors: std::mem::take(&mut state.out_errors),
            since: self.since,
            paused,
        }));
    }

    fn render(&self, state: &mut Progress, answer: Result<Vec<u8>, CallError>) {
        let id = self.part(self.calls[state.rendered].id);
        match answer {
            Ok(result) => reply::result(&mut state.out, id, &result),
            Err(error) => {
                reply::error(&mut state.out, Some(id), &error);
                state.out_errors += 1;
            }
        }
        state.rendered += 1;
        state.out_count += 1;
    }
}

impl<D: Dispatch, T: Send + 'static> ReplySink for Batch<D, T> {
    fn fill(self: Arc<Self>, slot: usize, answer: Result<Vec<u8>, CallError>) {
        let mut state = self.lock();
        state.open -= 1;
        if slot == state.rendered {
            self.render(&mut state, answer);
            while let Some(at) = state.early.iter().position(|(slot, _)| *slot == state.rendered) {
                let (_, answer) = state.early.swap_remove(at);
                self.render(&mut state, answer);
            }
        } else {
            state.early.push((slot, answer));
        }
        if state.parked && state.open == 0 {
            state.parked = state.started == self.calls.len();
            self.hand_back(state);
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
