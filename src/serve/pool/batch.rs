//! The calls of one connection that stood ready together, and how far they are.
//!
//! The loop collects them, a worker carries them out, and whoever has a reply fills it in; the batch
//! puts the replies in order and sends them to the loop. It knows neither sockets nor sessions.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::dispatch::{CallError, Dispatch, Pace, Params, Reply, ReplySink};
use crate::wire::message::Call;
use crate::wire::reply;

use super::mailbox::Then;
use super::{Delivery, Outcome, Share};
use crate::serve::plane::Panicked;

/// A short reply with its envelope: room for one such is made for each call.
const REPLY_BYTES: usize = 96;

/// A short call with its envelope: room is made for as many calls as may come in so many bytes.
const CALL_BYTES: usize = 64;

/// The calls of a batch, while the loop collects them.
pub(crate) struct BatchBuilder {
    owner: usize,
    since: Instant,
    text: String,
    calls: Vec<Span>,
}

impl BatchBuilder {
    /// For at most `most` calls of the connection `owner`, which arrived at `since` in about `bytes` bytes.
    pub(crate) fn new(owner: usize, since: Instant, bytes: usize, most: usize) -> BatchBuilder {
        BatchBuilder {
            owner,
            since,
            text: String::with_capacity(bytes),
            calls: Vec::with_capacity((1 + bytes / CALL_BYTES).min(most)),
        }
    }

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

    /// The batch, ready to be run.
    pub(super) fn build<D: Dispatch, T: Send + 'static>(self, share: Share<D, T>) -> Batch<D, T> {
        let BatchBuilder { owner, since, text, calls } = self;
        let out = Vec::with_capacity(calls.len() * REPLY_BYTES);
        let state = Mutex::new(Progress { out, ..Progress::default() });
        Batch { owner, since, text, calls, shared: share, state }
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

/// What becomes of the calls behind those whose replies are delivered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// They go on, if there are any.
    Goes,
    /// They wait until the peer has taken what there is.
    Waits,
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

    /// Carries its calls out, on a worker, from `began` on.
    pub(super) fn run(self: &Arc<Self>, began: Instant, own: &mut Option<D::Worker>) {
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
            self.deliver(&mut state, Rest::Goes, self.then());
        } else if time_up || self.is_full(&state) {
            self.hand_back(state, self.then());
        } else {
            state.started += 1;
            state.open += 1;
            return Step::Call(state.started - 1);
        }
        Step::Leave
    }

    /// Delivers, and sees to it that the rest goes on: at once, or when the peer has taken what there
    /// is, since nothing else bounds what a batch answers.
    fn hand_back(self: &Arc<Self>, mut state: MutexGuard<'_, Progress>, then: Then) {
        let more = state.started < self.calls.len() && !state.given_up;
        let rest = if more && self.is_full(&state) { Rest::Waits } else { Rest::Goes };
        self.deliver(&mut state, rest, then);
        drop(state);
        if more && rest == Rest::Goes {
            self.shared.requeue(Arc::clone(self));
        }
    }

    /// What a worker does when it leaves.
    fn then(&self) -> Then {
        if self.shared.queue.waiting() > 0 { Then::More } else { Then::Nothing }
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
            log::error!("the handler of '{method}' panicked: {}", Panicked::of(&*panic).0);
        }
    }

    /// Sends the replies that are ready to the loop.
    fn deliver(&self, state: &mut Progress, rest: Rest, then: Then) {
        if state.out_count == 0 {
            return;
        }
        let delivery = Delivery {
            owner: self.owner,
            replies: std::mem::take(&mut state.out),
            count: std::mem::take(&mut state.out_count),
            errors: std::mem::take(&mut state.out_errors),
            since: self.since,
            paused: rest == Rest::Waits,
        };
        self.shared.results.put(Outcome::Replies(delivery), then);
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
            self.hand_back(state, Then::Nothing);
        }
    }
}
