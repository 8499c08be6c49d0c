//! A batch: the calls of one connection that were ready together, and their progress.
//!
//! The loop collects the calls, a worker runs them, and replies are filled in by any thread; the batch
//! puts the replies in order and sends them to the loop. It knows neither sockets nor sessions.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::batch_calls::{BatchBuffers, BatchBuilder, CallSpans, KEPT_BUFFER_BYTES};
use super::batch_clock::BatchClock;
use super::completions::{Completions, Followup};
use super::outcome::{Delivery, Outcome, Remainder};
use super::queue::{JobQueue, QueuedJob};
use super::reply_budget::ReplyBudget;
use crate::dispatch::{CallError, CallOutcome, Dispatch, LateReply, Pace, ReplySink, Runner};
use crate::limits::Limits;
use crate::oneshot;
use crate::serve::control_plane::Task;
use crate::wire::reply;
use crate::wire::session::SMALL_ID_BYTES;

/// The result of a call that is not started, since its peer has disconnected. It is dropped.
const SKIPPED: &[u8] = b"null";

/// Length of a short reply with its envelope. A batch reserves this much for each call.
const REPLY_BYTES: usize = 96;

/// A job for a worker.
pub(crate) enum Job<D: Dispatch, T: Send + 'static> {
    Batch(Arc<Batch<D, T>>),
    Task(Task<T>),
}

impl<D: Dispatch, T: Send + 'static> QueuedJob for Job<D, T> {
    fn is_urgent(&self) -> bool {
        match self {
            Job::Batch(batch) => batch.has_small_replies,
            // Replies to control messages wait for them.
            Job::Task(_) => true,
        }
    }
}

/// The part of the pool that workers and batches share.
pub(crate) struct Shared<D: Dispatch, T: Send + 'static> {
    pub(crate) dispatch: Arc<D>,
    pub(crate) limits: Limits,
    /// The bytes of all replies, which decide whether calls may start.
    pub(crate) replies: Arc<ReplyBudget>,
    pub(crate) queue: JobQueue<Job<D, T>>,
    pub(crate) results: Completions<Outcome<T>>,
    /// Runs after the last worker has been recycled.
    pub(crate) after_recycle: Mutex<Option<Task<T>>>,
    /// Moving average of the time that a job takes, in nanoseconds.
    pub(crate) mean_job_ns: AtomicU64,
    /// Dropped with the last owner of this struct. The last field, so that all fields above are dropped
    /// before.
    pub(crate) _living: oneshot::Sender<()>,
}

impl<D: Dispatch, T: Send + 'static> Shared<D, T> {
    /// Appends an unfinished batch to the queue.
    fn requeue(&self, batch: Arc<Batch<D, T>>) {
        self.queue.push([Job::Batch(batch)], 1);
    }
}

/// Calls of one connection, run one after the other.
///
/// A worker runs them until all are started, until the batch's time is up, until the replies reach the output mark,
/// until the next call may not start while memory is short, or until a call must wait for late replies; then the worker leaves. If calls remain, the batch itself, the loop, or
/// the last late reply puts the batch back into the queue.
pub(crate) struct Batch<D: Dispatch, T: Send + 'static> {
    owner: u64,
    since: Instant,
    text: String,
    calls: Vec<CallSpans>,
    /// All of its calls have small replies.
    has_small_replies: bool,
    shared: Arc<Shared<D, T>>,
    /// No more of its calls may start. Set with the lock held.
    cancelled: AtomicBool,
    /// Its peer has disconnected.
    abandoned: AtomicBool,
    state: Mutex<Progress>,
}

/// Reply lines that have not been delivered to the loop.
#[derive(Default)]
pub(crate) struct RenderedReplies {
    lines: Vec<u8>,
    count: usize,
    /// Number of them that are errors.
    errors: usize,
}

impl RenderedReplies {
    fn push(&mut self, id: &str, answer: Result<impl AsRef<[u8]>, CallError>) {
        match answer {
            Ok(result) => reply::result(&mut self.lines, id, result.as_ref()),
            Err(error) => {
                reply::error(&mut self.lines, Some(id), &error);
                self.errors += 1;
            }
        }
        self.count += 1;
    }

    /// Moves the replies of `other` to the end of these. `other` keeps its buffer unless that is large.
    fn append(&mut self, other: &mut RenderedReplies) {
        self.lines.extend_from_slice(&other.lines);
        self.count += other.count;
        self.errors += other.errors;
        other.lines.clear();
        let kept = other.lines.capacity() <= KEPT_BUFFER_BYTES;
        let lines = if kept { std::mem::take(&mut other.lines) } else { Vec::new() };
        *other = RenderedReplies { lines, ..RenderedReplies::default() };
    }
}

/// Progress of a batch. `rendered <= started <= calls.len()`.
#[derive(Default)]
struct Progress {
    /// Calls whose handler was called, or is about to be. Calls of a run of brief ones are added at the run's end.
    started: usize,
    /// Calls whose reply is rendered or delivered.
    rendered: usize,
    /// Replies that came before the replies to earlier calls.
    early: Vec<(usize, Result<Vec<u8>, CallError>)>,
    /// Late replies that have not come yet.
    open: usize,
    /// No worker runs the batch and no queue holds it: it waits for late replies.
    parked: bool,
    ready: RenderedReplies,
    /// Bytes of `ready` that are counted in [`Shared::replies`].
    counted: usize,
}

/// Returns true if the reply to this call of a batch with this text is small.
fn has_small_reply(call: &CallSpans, text: &str, dispatch: &impl Dispatch) -> bool {
    call.id().len() <= SMALL_ID_BYTES && dispatch.has_small_replies(&text[call.method()])
}

/// What a worker does next with a batch.
enum BatchStep {
    /// Runs call number `at`. `alone`: no late reply is open, so no other thread can advance the batch.
    Call { at: usize, alone: bool },
    /// Leaves the batch.
    Leave,
}

impl<D: Dispatch, T: Send + 'static> Batch<D, T> {
    /// Creates the batch, ready to run. Its replies are appended to `out`, which must be empty.
    pub(crate) fn new(builder: BatchBuilder, mut out: Vec<u8>, shared: Arc<Shared<D, T>>) -> Batch<D, T> {
        let BatchBuilder { owner, since, text, calls, .. } = builder;
        out.reserve(calls.len() * REPLY_BYTES);
        let ready = RenderedReplies { lines: out, ..RenderedReplies::default() };
        let state = Mutex::new(Progress { ready, ..Progress::default() });
        let has_small_replies = calls.iter().all(|call| has_small_reply(call, &text, &*shared.dispatch));
        let (cancelled, abandoned) = (AtomicBool::new(false), AtomicBool::new(false));
        Batch { owner, since, text, calls, has_small_replies, shared, cancelled, abandoned, state }
    }

    /// Returns the batch's buffers, emptied.
    pub(crate) fn into_buffers(self) -> BatchBuffers {
        BatchBuffers::reuse(self.text, self.calls)
    }

    /// Returns the ids of the calls after the first `answered` ones, as JSON texts.
    pub(crate) fn ids_after(&self, answered: usize) -> impl Iterator<Item = &str> {
        self.calls[answered..].iter().map(|call| &self.text[call.id()])
    }

    /// Returns the number of calls.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Starts no more calls, and takes the replies after the first `answered` ones that are rendered and not
    /// delivered. Returns their lines, which stay counted as replies, their number, and how many of them are errors.
    /// Returns none if other replies
    /// are on their way to the loop, since these would overtake them. Replies that come later, and those of a run of
    /// brief calls that is in progress, are delivered as usual.
    pub(crate) fn cancel(&self, answered: usize) -> (Vec<u8>, usize, usize) {
        let mut state = self.lock();
        self.cancelled.store(true, Ordering::Relaxed);
        if state.rendered - state.ready.count != answered {
            return Default::default();
        }
        self.count(&mut state);
        state.counted = 0;
        let RenderedReplies { lines, count, errors } = std::mem::take(&mut state.ready);
        (lines, count, errors)
    }

    /// Records that the peer has disconnected: calls that need it are not started from now on.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Returns true if the call is not to be started, since its peer has disconnected.
    fn is_moot(&self, call: &CallSpans) -> bool {
        self.abandoned.load(Ordering::Relaxed) && self.shared.dispatch.needs_peer(&self.text[call.method()])
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the batch's calls on a worker. `began` is the time now. `brief`, which is empty before and after, collects
    /// the replies of brief calls, so that the lock is taken once for many: taking it costs as much as such a call.
    pub(crate) fn run(self: &Arc<Self>, began: Instant, runner: &mut Runner<D::Worker>, brief: &mut RenderedReplies) {
        let mut clock = BatchClock::new(began, self.shared.limits.brief_call);
        let max_brief_bytes = KEPT_BUFFER_BYTES.min(self.shared.limits.output_mark_bytes);
        // At least one call runs each time, however short the time limit is.
        let mut step = self.step(self.lock(), false);
        while let BatchStep::Call { mut at, alone } = step {
            let (given, elapsed) = loop {
                let call = &self.calls[at];
                let method = &self.text[call.method()];
                let params = Some(&self.text[call.params()]).filter(|params| !params.is_empty());
                let given = match self.is_moot(call) {
                    true => CallOutcome::Now(Ok(SKIPPED)),
                    false => runner.run(&*self.shared.dispatch, method, params, &|| self.put_off(at)),
                };
                let answered = alone && matches!(given, CallOutcome::Now(Ok(_)));
                match (given, clock.after(method, answered, Instant::now)) {
                    (CallOutcome::Now(Ok(text)), None)
                        if at + 1 < self.calls.len()
                            && brief.lines.len() + text.len() < max_brief_bytes
                            && !self.is_cancelled() =>
                    {
                        brief.push(&self.text[call.id()], Ok(text));
                        at += 1;
                    }
                    other => break other,
                }
            };
            let time_up = elapsed.is_some_and(|elapsed| elapsed >= self.shared.limits.batch_time);
            let mut state = self.lock();
            state.started = at + 1;
            state.rendered += brief.count;
            state.ready.append(brief);
            match given {
                CallOutcome::Now(answer) => self.take(&mut state, at, answer),
                CallOutcome::Later => self.take_early(&mut state),
            }
            self.count(&mut state);
            step = self.step(state, time_up);
        }
    }

    /// Decides what the worker does next. Before the worker leaves, delivers the rendered replies, and parks or queues
    /// the remaining calls.
    fn step(self: &Arc<Self>, mut state: MutexGuard<'_, Progress>, time_up: bool) -> BatchStep {
        let must_wait = match self.calls.get(state.started) {
            _ if self.is_cancelled() => true,
            None => true,
            Some(call) => state.open > 0 && !self.may_join(&state, call.pace),
        };
        if must_wait {
            state.parked = true;
            self.deliver(&mut state, Remainder::Continues, self.followup());
        } else if time_up || self.remainder(&state) != Remainder::Continues {
            self.hand_back(state, self.followup());
        } else {
            let (at, alone) = (state.started, state.open == 0);
            state.started += 1;
            return BatchStep::Call { at, alone };
        }
        BatchStep::Leave
    }

    /// Delivers the rendered replies and requeues the batch if calls remain that may start; the others the loop requeues.
    fn hand_back(self: &Arc<Self>, mut state: MutexGuard<'_, Progress>, followup: Followup) {
        let more = state.started < self.calls.len() && !self.is_cancelled();
        let remainder = if more { self.remainder(&state) } else { Remainder::Continues };
        self.deliver(&mut state, remainder, followup);
        drop(state);
        if more && remainder == Remainder::Continues {
            self.shared.requeue(Arc::clone(self));
        }
    }

    /// Returns what the worker does after it leaves this batch.
    fn followup(&self) -> Followup {
        if self.shared.queue.waiting() > 0 { Followup::More } else { Followup::Last }
    }

    /// Returns whether the next call may start. It may not if the rendered replies reach the output mark (nothing else
    /// bounds the replies of a batch), or while memory is short, unless its own reply is small.
    fn remainder(&self, state: &Progress) -> Remainder {
        if state.ready.lines.len() >= self.shared.limits.output_mark_bytes {
            return Remainder::WaitsForReader;
        }
        let waits = |call: &CallSpans| {
            !self.shared.replies.may_start(self.owner)
                && !has_small_reply(call, &self.text, &*self.shared.dispatch)
                && !self.is_moot(call)
        };
        if self.calls.get(state.started).is_some_and(waits) { Remainder::WaitsForMemory } else { Remainder::Continues }
    }

    /// Counts the replies that were rendered since the last time.
    fn count(&self, state: &mut Progress) {
        self.shared.replies.add(state.ready.lines.len() - state.counted);
        state.counted = state.ready.lines.len();
    }

    /// Returns true if a call of this pace may start while others are open.
    fn may_join(&self, state: &Progress, pace: Pace) -> bool {
        let open = &self.calls[state.rendered..state.started];
        pace == Pace::Pipelined && open.iter().all(|call| call.pace == Pace::Pipelined)
    }

    /// Returns the slot for a late reply to call number `at`.
    fn put_off(self: &Arc<Self>, at: usize) -> LateReply {
        self.lock().open += 1;
        LateReply::new(Arc::clone(self) as Arc<dyn ReplySink>, at)
    }

    /// Sends the rendered replies, which are counted, to the loop.
    fn deliver(&self, state: &mut Progress, remainder: Remainder, followup: Followup) {
        if state.ready.count == 0 && remainder != Remainder::WaitsForMemory {
            return;
        }
        state.counted = 0;
        let RenderedReplies { lines, count, errors } = std::mem::take(&mut state.ready);
        let delivery = Delivery { owner: self.owner, replies: lines, count, errors, since: self.since, remainder };
        self.shared.results.put(Outcome::Replies(delivery), followup);
    }

    /// Takes the answer to call number `at`, and renders it and the early ones after it if all before it are rendered.
    fn take(&self, state: &mut Progress, at: usize, answer: Result<impl AsRef<[u8]> + Into<Vec<u8>>, CallError>) {
        if at == state.rendered {
            self.render(state, answer);
            self.take_early(state);
        } else {
            state.early.push((at, answer.map(Into::into)));
        }
    }

    /// Renders the early answers that are next in order.
    fn take_early(&self, state: &mut Progress) {
        while let Some(next) = state.early.iter().position(|(at, _)| *at == state.rendered) {
            let (_, answer) = state.early.swap_remove(next);
            self.render(state, answer);
        }
    }

    fn render(&self, state: &mut Progress, answer: Result<impl AsRef<[u8]>, CallError>) {
        state.ready.push(&self.text[self.calls[state.rendered].id()], answer);
        state.rendered += 1;
    }
}

impl<D: Dispatch, T: Send + 'static> ReplySink for Batch<D, T> {
    fn fill(self: Arc<Self>, slot: usize, answer: Result<Vec<u8>, CallError>) {
        let mut state = self.lock();
        state.open -= 1;
        self.take(&mut state, slot, answer);
        self.count(&mut state);
        if state.parked && state.open == 0 {
            state.parked = state.started == self.calls.len();
            self.hand_back(state, Followup::Last);
        }
    }
}
