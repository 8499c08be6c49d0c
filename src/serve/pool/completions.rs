//! Results on their way back to the loop.
//!
//! Whoever has a result puts it here. The loop is woken only when it sleeps, and where more results
//! are about to come, it may be woken once for many: it says when it goes to sleep whether it is
//! patient. It looks here before it sleeps, so nothing is put unseen.

use std::sync::PoisonError;

use super::sync::{Mutex, MutexGuard};

/// Results held back from a patient reader. Picked: as many as make a wake-up cheap beside them.
const HELD_BACK: usize = 32;

/// Capacity that is kept while nothing waits.
const KEPT: usize = 4 * HELD_BACK;

/// Results with one reader, which sleeps somewhere else.
pub(super) struct Completions<T> {
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
pub(super) enum ReaderState {
    /// It looks here before it sleeps, or was notified.
    Awake,
    /// It sleeps, but not for long: it need not be woken for each result.
    Patient,
    /// It sleeps.
    Asleep,
}

/// What whoever puts a result is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Followup {
    /// More results are to come soon, or else [`Completions::announce`].
    More,
    /// This is all.
    Nothing,
}

impl<T> Completions<T> {
    pub(super) fn new(notify: impl Fn() + Send + Sync + 'static) -> Completions<T> {
        let state = State { results: Vec::new(), reader: ReaderState::Awake };
        Completions { state: Mutex::new(state), notify: Box::new(notify) }
    }

    /// Puts a result.
    pub(super) fn put(&self, result: T, then: Followup) {
        let mut state = self.lock();
        state.results.push(result);
        let is_held = then == Followup::More && state.reader == ReaderState::Patient && state.results.len() < HELD_BACK;
        if !is_held {
            self.wake(state);
        }
    }

    /// Sees to it that the reader knows of all that was put.
    pub(super) fn announce(&self) {
        let state = self.lock();
        if !state.results.is_empty() {
            self.wake(state);
        }
    }

    /// Takes all that is here into `results`, which is empty. The reader is awake.
    pub(super) fn take(&self, results: &mut Vec<T>) {
        if results.capacity() > KEPT {
            *results = Vec::new();
        }
        let mut state = self.lock();
        state.reader = ReaderState::Awake;
        std::mem::swap(&mut state.results, results);
    }

    /// The reader wants to sleep. May it? Not if something is here.
    pub(super) fn may_sleep(&self, reader: ReaderState) -> bool {
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
