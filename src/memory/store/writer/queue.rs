//! Jobs that wait for the writer, bounded by what they hold in memory.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use crate::memory::store::writer::job::WriteJob;

/// Most jobs in one transaction. Picked: ten times the clients that write at once on one machine.
const GROUP_JOBS: usize = 256;

/// A group that weighs this much takes no more jobs. 1 MiB: sixteen of the largest records, and
/// less than a WAL checkpoint's worth of pages.
const GROUP_BYTES: usize = 1 << 20;

/// A queue that weighs this much makes those who bring more wait. 4 MiB: what is written while the
/// disk takes a breath of 100 ms.
const QUEUE_BYTES: usize = 4 << 20;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// There is a job, or the queue was closed.
    filled: Condvar,
    /// There is room, or the queue was closed.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Box<dyn WriteJob>>,
    bytes: usize,
    closed: bool,
    /// The thread that takes the jobs.
    taker: Option<ThreadId>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State {{ jobs: {}, bytes: {}, closed: {} }}", self.jobs.len(), self.bytes, self.closed)
    }
}

/// What to do while the queue is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Wait.
    Wait,
    /// Go over: the job takes the place of one that is done.
    Exceed,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two consistent states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a job over, or back where the queue is closed.
    pub(crate) fn push(&self, job: Box<dyn WriteJob>, when_full: WhenFull) -> Result<(), Box<dyn WriteJob>> {
        let mut state = self.state();
        while when_full == WhenFull::Wait && state.bytes >= QUEUE_BYTES && !state.closed {
            state = self.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(job);
        }
        state.bytes += job.weight();
        state.jobs.push_back(job);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// The next jobs to commit together, or `None` once the queue is closed and empty.
    pub(crate) fn take_group(&self) -> Option<Vec<Box<dyn WriteJob>>> {
        let mut state = self.state();
        state.taker = Some(thread::current().id());
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (mut transaction, mut bytes) = (Vec::new(), 0);
        while bytes < GROUP_BYTES && transaction.len() < GROUP_JOBS {
            let Some(job) = state.jobs.pop_front() else { break };
            bytes += job.weight();
            transaction.push(job);
        }
        state.bytes -= bytes;
        drop(state);
        self.drained.notify_all();
        Some(transaction)
    }

    /// Takes no more, and gives what is there.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Takes all that is left.
    pub(crate) fn take_rest(&self) -> VecDeque<Box<dyn WriteJob>> {
        std::mem::take(&mut self.state().jobs)
    }

    /// Is this the thread that takes the jobs?
    pub(crate) fn is_takers_thread(&self) -> bool {
        self.state().taker == Some(thread::current().id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::CallError;
    use crate::memory::store::writer::transaction::WriteTransaction;

    struct Heavy(usize);

    impl WriteJob for Heavy {
        fn weight(&self) -> usize {
            self.0
        }

        fn run(&mut self, _: &mut WriteTransaction<'_>) -> Result<(), CallError> {
            Ok(())
        }

        fn done(self: Box<Self>, _: Result<(), CallError>) {}
    }

    #[test]
    fn groups_and_the_queue_are_bounded() {
        let queue = Queue::default();
        let heavy = |weight| Box::new(Heavy(weight));
        for _ in 0..QUEUE_BYTES / GROUP_BYTES {
            assert!(queue.push(heavy(GROUP_BYTES), WhenFull::Wait).is_ok());
        }
        thread::scope(|scope| {
            assert!(queue.push(heavy(0), WhenFull::Exceed).is_ok());
            let late = scope.spawn(|| queue.push(heavy(1), WhenFull::Wait).is_ok());
            assert_eq!(queue.take_group().map(|transaction| transaction.len()), Some(1));
            assert!(late.join().unwrap());
        });
        assert!(queue.state().bytes <= QUEUE_BYTES);
        for _ in 0..2 * GROUP_JOBS {
            assert!(queue.push(heavy(0), WhenFull::Wait).is_ok());
        }
        let sizes: Vec<_> = std::iter::from_fn(|| {
            queue.close();
            queue.take_group().map(|transaction| transaction.len())
        })
        .collect();
        assert_eq!(sizes, [1, 1, 1, GROUP_JOBS, GROUP_JOBS, 2]);
        assert_eq!(queue.state().bytes, 0);
    }
}
