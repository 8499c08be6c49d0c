//! Results on their way back to the loop.
//!
//! Any thread puts its results here; the loop is the only reader. The loop is woken only if it sleeps. If it sleeps
//! with a short timeout, it is woken once for several results when more are about to come. The loop takes all results
//! before it sleeps, so none is missed.

use std::sync::PoisonError;

use super::sync::{Mutex, MutexGuard};

/// Most results that are held back from a reader in [`ReaderState::TimedWait`]. Picked: enough that one wake-up
/// costs little beside them.
const MAX_HELD_BACK_COUNT: usize = 32;

/// Largest capacity, in results, that is kept while none waits.
const MAX_KEPT_COUNT: usize = 4 * MAX_HELD_BACK_COUNT;

/// A queue of results with one reader, which sleeps in its own event queue.
pub(crate) struct Completions<T> {
    state: Mutex<State<T>>,
    /// Wakes the reader.
    notify: Box<dyn Fn() + Send + Sync>,
}

struct State<T> {
    results: Vec<T>,
    reader: ReaderState,
}

/// What is known of the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReaderState {
    /// It takes the results before it sleeps, or was notified.
    Awake,
    /// It sleeps with a short timeout and need not be woken for each result.
    TimedWait,
    /// It sleeps until it is woken.
    Waiting,
}

/// What the thread that puts a result does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Followup {
    /// It puts more results soon, or calls [`Completions::announce`].
    More,
    /// It puts no more results.
    Last,
}

impl<T> Completions<T> {
    pub(crate) fn new(notify: impl Fn() + Send + Sync + 'static) -> Completions<T> {
        let state = State { results: Vec::new(), reader: ReaderState::Awake };
        Completions { state: Mutex::new(state), notify: Box::new(notify) }
    }

    /// Appends a result, and wakes the reader unless the result may be held back.
    pub(crate) fn put(&self, result: T, followup: Followup) {
        let mut state = self.lock();
        state.results.push(result);
        let is_held_back = followup == Followup::More
            && state.reader == ReaderState::TimedWait
            && state.results.len() < MAX_HELD_BACK_COUNT;
        if !is_held_back {
            self.wake(state);
        }
    }

    /// Wakes the reader if results wait.
    pub(crate) fn announce(&self) {
        let state = self.lock();
        if !state.results.is_empty() {
            self.wake(state);
        }
    }

    /// Moves all results into `results`, which must be empty, and marks the reader as awake.
    pub(crate) fn take(&self, results: &mut Vec<T>) {
        if results.capacity() > MAX_KEPT_COUNT {
            *results = Vec::new();
        }
        let mut state = self.lock();
        state.reader = ReaderState::Awake;
        std::mem::swap(&mut state.results, results);
    }

    /// Returns true if no result waits; the reader then counts as being in state `reader`.
    pub(crate) fn may_sleep(&self, reader: ReaderState) -> bool {
        let mut state = self.lock();
        if state.results.is_empty() {
            state.reader = reader;
        }
        state.results.is_empty()
    }

    fn wake(&self, mut state: MutexGuard<'_, State<T>>) {
        if std::mem::replace(&mut state.reader, ReaderState::Awake) != ReaderState::Awake {
            drop(state);
            (self.notify)();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
