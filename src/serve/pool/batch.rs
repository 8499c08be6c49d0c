//! The calls of one connection that stood ready together, and how far they are.
//!
//! The loop collects them, a worker carries them out, and whoever has a reply fills it in; the batch
//! puts the replies in order and sends them to the loop. It knows neither sockets nor sessions.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::dispatch::{CallError, CallOutcome, Dispatch, LateReply, Pace, ReplySink, Runner};
use crate::limits::MAX_LINE_BYTES;
use crate::wire::message::Call;
use crate::wire::reply;

use super::batch_clock::BatchClock;
use super::completions::Followup;
use super::{Delivery, Outcome, Shared};

/// A short reply with its envelope: room for one such is made for each call.
const REPLY_BYTES: usize = 96;

/// A short call with its envelope: room is made for as many calls as may come in so many bytes.
const CALL_BYTES: usize = 64;

/// Most bytes of text, or of replies, whose room is kept for others.
const ROOM_BYTES: usize = 4 << 10;

/// What the calls of a batch stood in: empty, for another batch. Memory that a thread frees for another goes
/// the long way through the allocator.
#[derive(Default)]
pub(super) struct BatchBuffers {
    text: String,
    calls: Vec<CallSpans>,
}

/// The calls of a batch, while the loop collects them.
pub(crate) struct BatchBuilder {
    owner: usize,
    since: Instant,
    text: String,
    calls: Vec<CallSpans>,
    most: usize,
}

impl BatchBuilder {
    /// In this room, for at most `most` calls of the connection `owner`, which arrived at `since` in about `bytes`
    /// bytes.
    pub(super) fn new(room: BatchBuffers, owner: usize, since: Instant, bytes: usize, most: usize) -> BatchBuilder {
        let BatchBuffers { mut text, mut calls } = room;
        text.reserve(bytes);
        calls.reserve((1 + bytes / CALL_BYTES).min(most));
        BatchBuilder { owner, since, text, calls, most }
    }

    /// Adds a call. It is not full.
    pub(crate) fn push(&mut self, call: &Call<'_>, pace: Pace) {
        let id = self.text.len() as u32;
        self.text.push_str(call.id);
        let method = self.text.len() as u32;
        self.text.push_str(&call.method);
        let params = self.text.len() as u32;
        self.text.push_str(call.params.unwrap_or_default());
        self.calls.push(CallSpans { id, method, params, end: self.text.len() as u32, pace });
    }

    /// Does it take no more calls? Its text has less than 2^30 bytes before the last one, whose parts are no longer than
    /// the longest line, so 32 bits are enough for a place in it.
    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() == self.most || self.text.len() >= MAX_LINE_BYTES
    }

    /// The batch, ready to be run. Its replies begin in `out`, which is empty.
    pub(super) fn build<D: Dispatch, T: Send + 'static>(
        self,
        mut out: Vec<u8>,
        shared: Arc<Shared<D, T>>,
    ) -> Batch<D, T> {
        let BatchBuilder { owner, since, text, calls, .. } = self;
        out.reserve(calls.len() * REPLY_BYTES);
        let ready = RenderedReplies { lines: out, ..RenderedReplies::default() };
        let state = Mutex::new(Progress { ready, ..Progress::default() });
        Batch { owner, since, text, calls, shared, given_up: AtomicBool::new(false), state }
    }
}

/// Where the parts of a call begin in its batch's text, one behind the other. Short: what the loop writes,
/// another processor reads.
struct CallSpans {
    id: u32,
    method: u32,
    params: u32,
    end: u32,
    pace: Pace,
}

impl CallSpans {
    fn id(&self) -> Range<usize> {
        self.id as usize..self.method as usize
    }

    fn method(&self) -> Range<usize> {
        self.method as usize..self.params as usize
    }

    fn params(&self) -> Range<usize> {
        self.params as usize..self.end as usize
    }
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
    calls: Vec<CallSpans>,
    shared: Arc<Shared<D, T>>,
    /// No more of its calls are to be started. Set with the lock held.
    given_up: AtomicBool,
    state: Mutex<Progress>,
}

/// Reply lines on their way to the loop.
#[derive(Default)]
pub(super) struct RenderedReplies {
    lines: Vec<u8>,
    count: usize,
    /// How many of them are errors.
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

    /// Takes over what the `other` one has, which keeps its room unless that is large.
    fn append(&mut self, other: &mut RenderedReplies) {
        self.lines.extend_from_slice(&other.lines);
        self.count += other.count;
        self.errors += other.errors;
        other.lines.clear();
        let lines = if other.lines.capacity() <= ROOM_BYTES { std::mem::take(&mut other.lines) } else { Vec::new() };
        *other = RenderedReplies { lines, ..RenderedReplies::default() };
    }
}

/// How far a batch is. `rendered <= started <= calls.len()`.
#[derive(Default)]
struct Progress {
    /// Calls whose handler was called, or is about to be; those of a run of brief ones are added at its end.
    started: usize,
    /// Calls whose reply is ready or delivered.
    rendered: usize,
    /// Replies given before their turn.
    early: Vec<(usize, Result<Vec<u8>, CallError>)>,
    /// Replies that were put off and are not here yet.
    open: usize,
    /// No worker is on it, and it is in no queue: replies that come later are waited for.
    parked: bool,
    ready: RenderedReplies,
}

/// What becomes of the calls behind those whose replies are delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Remainder {
    /// They go on, if there are any.
    Goes,
    /// They wait until the peer has taken what there is.
    Waits,
}

/// What a worker does next with a batch.
enum Step {
    /// Carries out this call. `alone`: no reply is waited for, so nobody else can move it on.
    Call {
        at: usize,
        alone: bool,
    },
    Leave,
}

impl<D: Dispatch, T: Send + 'static> Batch<D, T> {
    /// What its calls stood in, but for a text that was long.
    pub(super) fn into_buffers(self) -> BatchBuffers {
        let Batch { mut text, mut calls, .. } = self;
        text.clear();
        calls.clear();
        if text.capacity() > ROOM_BYTES {
            text = String::new();
        }
        BatchBuffers { text, calls }
    }

    /// The ids of the calls after the first `answered` ones, as JSON texts.
    pub(crate) fn ids_after(&self, answered: usize) -> impl Iterator<Item = &str> {
        self.calls[answered..].iter().map(|call| &self.text[call.id()])
    }

    /// Calls in it.
    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Starts no more of its calls, and gives the replies behind the first `answered` ones that are
    /// ready and not delivered: their lines, how many, and how many of them are errors. None where
    /// others are on their way to the loop, which those would overtake. What is answered later, and in a
    /// run of brief calls that is under way, is delivered as ever.
    pub(crate) fn give_up(&self, answered: usize) -> (Vec<u8>, usize, usize) {
        let mut state = self.lock();
        self.given_up.store(true, Ordering::Relaxed);
        if state.rendered - state.ready.count != answered {
            return Default::default();
        }
        let RenderedReplies { lines, count, errors } = std::mem::take(&mut state.ready);
        (lines, count, errors)
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries its calls out, on a worker, from `began` on. `brief`, which is empty before and after, holds the replies
    /// of brief calls until they are shown together: that takes the lock, which takes as long as one of those calls.
    pub(super) fn run(self: &Arc<Self>, began: Instant, runner: &mut Runner<D::Worker>, brief: &mut RenderedReplies) {
        let mut watch = BatchClock::new(began, self.shared.limits.brief_call);
        let room = ROOM_BYTES.min(self.shared.limits.output_mark_bytes);
        // One call at least each time, however short the time is.
        let mut step = self.step(self.lock(), false);
        while let Step::Call { mut at, alone } = step {
            let (given, time) = loop {
                let call = &self.calls[at];
                let method = &self.text[call.method()];
                let params = Some(&self.text[call.params()]).filter(|params| !params.is_empty());
                let given = runner.run(&*self.shared.dispatch, method, params, &|| self.put_off(at));
                let answered = alone && matches!(given, CallOutcome::Now(Ok(_)));
                match (given, watch.after(method, answered, Instant::now)) {
                    (CallOutcome::Now(Ok(text)), None)
                        if at + 1 < self.calls.len()
                            && brief.lines.len() + text.len() < room
                            && !self.is_given_up() =>
                    {
                        brief.push(&self.text[call.id()], Ok(text));
                        at += 1;
                    }
                    other => break other,
                }
            };
            let time_up = time.is_some_and(|time| time >= self.shared.limits.batch_time);
            let mut state = self.lock();
            state.started = at + 1;
            state.rendered += brief.count;
            state.ready.append(brief);
            match given {
                CallOutcome::Now(answer) => self.take(&mut state, at, answer),
                CallOutcome::Later => self.take_early(&mut state),
            }
            step = self.step(state, time_up);
        }
    }

    /// Decides what comes next, delivers what is there before leaving, and parks or queues the rest.
    fn step(self: &Arc<Self>, mut state: MutexGuard<'_, Progress>, time_up: bool) -> Step {
        let waits = match self.calls.get(state.started) {
            _ if self.is_given_up() => true,
            None => true,
            Some(call) => state.open > 0 && !self.may_join(&state, call.pace),
        };
        if waits {
            state.parked = true;
            self.deliver(&mut state, Remainder::Goes, self.then());
        } else if time_up || self.is_full(&state) {
            self.hand_back(state, self.then());
        } else {
            let (at, alone) = (state.started, state.open == 0);
            state.started += 1;
            return Step::Call { at, alone };
        }
        Step::Leave
    }

    /// Delivers, and sees to it that the rest goes on: at once, or when the peer has taken what there
    /// is, since nothing else bounds what a batch answers.
    fn hand_back(self: &Arc<Self>, mut state: MutexGuard<'_, Progress>, then: Followup) {
        let more = state.started < self.calls.len() && !self.is_given_up();
        let rest = if more && self.is_full(&state) { Remainder::Waits } else { Remainder::Goes };
        self.deliver(&mut state, rest, then);
        drop(state);
        if more && rest == Remainder::Goes {
            self.shared.requeue(Arc::clone(self));
        }
    }

    /// What a worker does when it leaves.
    fn then(&self) -> Followup {
        if self.shared.queue.waiting() > 0 { Followup::More } else { Followup::Nothing }
    }

    /// Do its replies hold as much as a peer is to have waiting?
    fn is_full(&self, state: &Progress) -> bool {
        state.ready.lines.len() >= self.shared.limits.output_mark_bytes
    }

    /// May a call of this pace start beside those that are open?
    fn may_join(&self, state: &Progress, pace: Pace) -> bool {
        let open = &self.calls[state.rendered..state.started];
        pace == Pace::Pipelined && open.iter().all(|call| call.pace == Pace::Pipelined)
    }

    /// The reply to the call `at`, which comes later.
    fn put_off(self: &Arc<Self>, at: usize) -> LateReply {
        self.lock().open += 1;
        LateReply::new(Arc::clone(self) as Arc<dyn ReplySink>, at)
    }

    /// Sends the replies that are ready to the loop.
    fn deliver(&self, state: &mut Progress, rest: Remainder, then: Followup) {
        if state.ready.count == 0 {
            return;
        }
        let RenderedReplies { lines, count, errors } = std::mem::take(&mut state.ready);
        let delivery = Delivery {
            owner: self.owner,
            replies: lines,
            count,
            errors,
            since: self.since,
            paused: rest == Remainder::Waits,
        };
        self.shared.results.put(Outcome::Replies(delivery), then);
    }

    /// Takes the answer to the call `at`; it may be the last that those behind it have waited for.
    fn take(&self, state: &mut Progress, at: usize, answer: Result<impl AsRef<[u8]> + Into<Vec<u8>>, CallError>) {
        if at == state.rendered {
            self.render(state, answer);
            self.take_early(state);
        } else {
            state.early.push((at, answer.map(Into::into)));
        }
    }

    /// Takes the answers whose turn has come.
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
        if state.parked && state.open == 0 {
            state.parked = state.started == self.calls.len();
            self.hand_back(state, Followup::Nothing);
        }
    }
}
