//! The writer's job queue, bounded by the memory that the jobs hold.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use crate::memory::store::writer::job::WriteJob;

/// Most jobs in one transaction. Picked: ten times the clients that write at once on one machine.
const TRANSACTION_JOBS: usize = 256;

/// A transaction whose jobs weigh this much takes no more. 1 MiB: sixteen of the largest records, and less than the pages
/// between two WAL checkpoints.
const TRANSACTION_BYTES: usize = 1 << 20;

/// While the queued jobs weigh this much, [`Queue::push`] waits. 4 MiB: what is written while the disk stalls for
/// 100 ms.
const QUEUE_BYTES: usize = 4 << 20;

/// A queue with several producers and one consumer.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Signaled when a job was added or the queue was closed.
    filled: Condvar,
    /// Signaled when jobs were taken or the queue was closed.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Box<dyn WriteJob>>,
    bytes: usize,
    closed: bool,
    /// The consumer's thread.
    consumer: Option<ThreadId>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "State {{ jobs: {}, bytes: {}, closed: {} }}", self.jobs.len(), self.bytes, self.closed)
    }
}

/// What the consumer is to do next.
pub(crate) enum NextWork {
    /// The jobs of a transaction, and what they weigh.
    Jobs(Vec<Box<dyn WriteJob>>, usize),
    /// No job has come in time.
    Idle,
    /// The queue is closed and empty.
    Closed,
}

/// What to do while the queue is full.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Wait until jobs are taken.
    Wait,
    /// Exceed the bound: the job replaces one that is complete.
    Exceed,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics between two consistent states.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a job.
    ///
    /// # Errors
    /// The job itself, if the queue is closed.
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

    /// Waits for jobs, `patience` at most, and takes those of the next transaction.
    pub(crate) fn take_transaction(&self, patience: Option<Duration>) -> NextWork {
        let until = patience.map(|patience| Instant::now() + patience);
        let mut state = self.state();
        state.consumer = Some(thread::current().id());
        while state.jobs.is_empty() {
            if state.closed {
                return NextWork::Closed;
            }
            state = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return NextWork::Idle,
                Some(left) => self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        let (mut jobs, mut bytes) = (Vec::new(), 0);
        while bytes < TRANSACTION_BYTES && jobs.len() < TRANSACTION_JOBS {
            let Some(job) = state.jobs.pop_front() else { break };
            bytes += job.weight();
            jobs.push(job);
        }
        state.bytes -= bytes;
        drop(state);
        self.drained.notify_all();
        NextWork::Jobs(jobs, bytes)
    }

    /// Closes the queue: no job can be added; those in it can still be taken.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.filled.notify_all();
        self.drained.notify_all();
    }

    /// Takes all jobs that are left.
    pub(crate) fn take_rest(&self) -> VecDeque<Box<dyn WriteJob>> {
        std::mem::take(&mut self.state().jobs)
    }

    /// Returns true on the consumer's thread.
    pub(crate) fn is_consumer_thread(&self) -> bool {
        self.state().consumer == Some(thread::current().id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::CallError;
    use crate::memory::store::writer::transaction::WriteTransaction;

    fn take(queue: &Queue) -> Option<usize> {
        match queue.take_transaction(None) {
            NextWork::Jobs(jobs, _) => Some(jobs.len()),
            NextWork::Idle | NextWork::Closed => None,
        }
    }

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
    fn transactions_and_the_queue_are_bounded() {
        let queue = Queue::default();
        let heavy = |weight| Box::new(Heavy(weight));
        for _ in 0..QUEUE_BYTES / TRANSACTION_BYTES {
            assert!(queue.push(heavy(TRANSACTION_BYTES), WhenFull::Wait).is_ok());
        }
        thread::scope(|scope| {
            assert!(queue.push(heavy(0), WhenFull::Exceed).is_ok());
            let late = scope.spawn(|| queue.push(heavy(1), WhenFull::Wait).is_ok());
            assert_eq!(take(&queue), Some(1));
            assert!(late.join().unwrap());
        });
        assert!(queue.state().bytes <= QUEUE_BYTES);
        for _ in 0..2 * TRANSACTION_JOBS {
            assert!(queue.push(heavy(0), WhenFull::Wait).is_ok());
        }
        let sizes: Vec<_> = std::iter::from_fn(|| {
            queue.close();
            take(&queue)
        })
        .collect();
        assert_eq!(sizes, [1, 1, 1, TRANSACTION_JOBS, TRANSACTION_JOBS, 2]);
        assert_eq!(queue.state().bytes, 0);
        assert!(matches!(Queue::default().take_transaction(Some(Duration::ZERO)), NextWork::Idle));
    }
}
