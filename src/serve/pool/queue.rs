//! Jobs that wait for a worker, and workers that wait for a job.
//!
//! Nothing here runs anything. The lock is held to push or to take, and a worker is called only if
//! it sleeps: one that is on its way looks at the queue again before it does.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard};

/// A queue with many takers.
pub(super) struct JobQueue<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    /// Jobs in it, to be read without the lock.
    waiting: AtomicUsize,
}

struct State<J> {
    jobs: VecDeque<J>,
    /// Workers that sleep and were not called.
    sleeping: usize,
    /// Workers that were called and have not come yet.
    called: usize,
    closed: bool,
    /// Counts up; a worker that has seen a lower number has not rested.
    round: u64,
    /// Workers that have not rested in this round.
    restless: usize,
    /// Workers that go when they have rested: each has a successor already.
    surplus: usize,
}

/// What a worker does next.
pub(super) enum WorkerStep<J> {
    /// This.
    Job(J),
    /// Lets go of its own state, and says so to [`JobQueue::rested`].
    Rest,
    /// Goes.
    End,
}

/// What a worker learns that has rested.
pub(super) struct Rested {
    /// It was the last one.
    pub(super) last: bool,
    /// Another works in its place.
    pub(super) goes: bool,
}

impl<J> State<J> {
    /// Is there something for a worker that has rested in the round `rested`?
    fn has_for(&self, rested: u64) -> bool {
        self.closed || self.round > rested || !self.jobs.is_empty()
    }
}

impl<J> JobQueue<J> {
    pub(super) fn new() -> JobQueue<J> {
        JobQueue {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                sleeping: 0,
                called: 0,
                closed: false,
                round: 0,
                restless: 0,
                surplus: 0,
            }),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Appends all `jobs` and calls at most `workers` of those that sleep. A closed queue drops them.
    pub(super) fn push(&self, jobs: impl IntoIterator<Item = J>, workers: usize) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        state.jobs.extend(jobs);
        self.waiting.store(state.jobs.len(), Ordering::Relaxed);
        let workers = workers.min(state.jobs.len());
        self.call(state, workers);
    }

    /// Calls a worker for each job that waits, as far as there are any that sleep.
    pub(super) fn call_all(&self) {
        let state = self.lock();
        let workers = state.jobs.len();
        self.call(state, workers);
    }

    /// What a worker that has rested in the round `rested` does next; `None` where there is nothing.
    pub(super) fn take(&self, rested: &mut u64) -> Option<WorkerStep<J>> {
        let mut state = self.lock();
        if state.closed {
            return Some(WorkerStep::End);
        }
        if *rested < state.round {
            *rested = state.round;
            return Some(WorkerStep::Rest);
        }
        let job = state.jobs.pop_front()?;
        self.waiting.store(state.jobs.len(), Ordering::Relaxed);
        Some(WorkerStep::Job(job))
    }

    /// Waits until there is something to [`JobQueue::take`]; another worker may be faster.
    pub(super) fn wait(&self, rested: u64) {
        let mut state = self.lock();
        if state.has_for(rested) {
            return;
        }
        state.sleeping += 1;
        loop {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            if state.called > 0 {
                state.called -= 1;
                return;
            }
            // A worker that went to sleep after the call was faster, and counts as asleep in its place.
            if state.has_for(rested) {
                state.sleeping -= 1;
                return;
            }
        }
    }

    /// The round that [`JobQueue::rest`] will begin: who starts for it has rested in it.
    pub(super) fn next_round(&self) -> u64 {
        self.lock().round + 1
    }

    /// Has each of the `workers` workers rest once. So many of them as have a successor, who was started for
    /// this round, go then.
    pub(super) fn rest(&self, workers: usize, successors: usize) {
        let mut state = self.lock();
        state.round += 1;
        state.restless = workers + state.surplus;
        state.surplus += successors;
        // Successors may sleep as well, and hear a call that is not for them.
        self.call(state, usize::MAX);
    }

    /// A worker has rested.
    pub(super) fn rested(&self) -> Rested {
        let mut state = self.lock();
        state.restless = state.restless.saturating_sub(1);
        let goes = state.surplus > 0;
        state.surplus -= usize::from(goes);
        Rested { last: state.restless == 0, goes }
    }

    /// Lets all workers end, and gives the jobs that nobody took.
    pub(super) fn close(&self) -> VecDeque<J> {
        let mut state = self.lock();
        state.closed = true;
        let jobs = std::mem::take(&mut state.jobs);
        self.waiting.store(0, Ordering::Relaxed);
        self.call(state, usize::MAX);
        jobs
    }

    /// Jobs that wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn call(&self, mut state: MutexGuard<'_, State<J>>, workers: usize) {
        let workers = workers.min(state.sleeping);
        state.sleeping -= workers;
        state.called += workers;
        let all = state.sleeping == 0;
        drop(state);
        // One that rests at once and sleeps again must not hear the call for another.
        if workers > 0 && all {
            self.wake.notify_all();
        } else {
            (0..workers).for_each(|_| self.wake.notify_one());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
