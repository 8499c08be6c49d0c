//! Jobs that wait for a worker, and workers that wait for a job.
//!
//! This module runs no job. The lock is held only to push or to take, and a worker is woken only if it sleeps: an
//! awake one looks at the queue again before it sleeps.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard};

/// What is queued.
pub(crate) trait QueuedJob {
    /// Returns true if the job is taken before the others. They are taken in turn, so none is delayed for ever.
    fn is_urgent(&self) -> bool;
}

/// A queue with many takers.
pub(crate) struct JobQueue<J> {
    state: Mutex<State<J>>,
    wake: Condvar,
    /// Number of jobs in the queue, readable without the lock.
    waiting: AtomicUsize,
}

struct State<J> {
    jobs: VecDeque<J>,
    urgent: VecDeque<J>,
    /// The last job taken was an urgent one.
    took_urgent: bool,
    /// Workers that sleep and have not been woken.
    sleeping: usize,
    /// Workers that have been woken and do not run yet.
    woken: usize,
    closed: bool,
    /// Incremented by each [`JobQueue::recycle`]. A worker that has seen a lower number is to be recycled.
    generation: u64,
    /// Workers that have not been recycled in this generation.
    unrecycled: usize,
    /// Workers that exit once they are recycled, since each has a successor.
    surplus: usize,
}

/// What a worker does next.
pub(crate) enum WorkerStep<J> {
    /// Runs this job.
    Job(J),
    /// Drops its own state, then calls [`JobQueue::recycled`].
    Recycle,
    /// Exits.
    Exit,
}

/// The result of [`JobQueue::recycled`].
pub(crate) struct Recycled {
    /// This worker was the last one of its generation.
    pub(crate) is_last: bool,
    /// The worker exits: it has a successor.
    pub(crate) exits: bool,
}

impl<J> State<J> {
    /// Returns true if there is something to do for a worker that was recycled up to `generation`.
    fn has_work(&self, generation: u64) -> bool {
        self.closed || self.generation > generation || self.len() > 0
    }

    fn len(&self) -> usize {
        self.jobs.len() + self.urgent.len()
    }

    /// Takes the next job: an urgent one, unless the last one was and another waits.
    fn pop(&mut self) -> Option<J> {
        let takes_urgent = !self.urgent.is_empty() && (self.jobs.is_empty() || !self.took_urgent);
        self.took_urgent = takes_urgent;
        if takes_urgent { self.urgent.pop_front() } else { self.jobs.pop_front() }
    }
}

impl<J: QueuedJob> JobQueue<J> {
    pub(crate) fn new() -> JobQueue<J> {
        JobQueue {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                urgent: VecDeque::new(),
                took_urgent: false,
                sleeping: 0,
                woken: 0,
                closed: false,
                generation: 0,
                unrecycled: 0,
                surplus: 0,
            }),
            wake: Condvar::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Appends all `jobs` and wakes at most `workers` sleeping workers. A closed queue drops the jobs.
    pub(crate) fn push(&self, jobs: impl IntoIterator<Item = J>, workers: usize) {
        let mut state = self.lock();
        if state.closed {
            return;
        }
        for job in jobs {
            let lane = if job.is_urgent() { &mut state.urgent } else { &mut state.jobs };
            lane.push_back(job);
        }
        self.waiting.store(state.len(), Ordering::Relaxed);
        let workers = workers.min(state.len());
        self.wake(state, workers);
    }

    /// Wakes one sleeping worker for each job in the queue, as far as there are any.
    pub(crate) fn wake_for_all_jobs(&self) {
        let state = self.lock();
        let workers = state.len();
        self.wake(state, workers);
    }

    /// Returns what a worker does next that was recycled up to `generation`, or `None` if there is nothing to do.
    /// Updates `generation` if the worker is to be recycled.
    pub(crate) fn take(&self, generation: &mut u64) -> Option<WorkerStep<J>> {
        let mut state = self.lock();
        if state.closed {
            return Some(WorkerStep::Exit);
        }
        if *generation < state.generation {
            *generation = state.generation;
            return Some(WorkerStep::Recycle);
        }
        let job = state.pop()?;
        self.waiting.store(state.len(), Ordering::Relaxed);
        Some(WorkerStep::Job(job))
    }

    /// Sleeps until there may be something to [`JobQueue::take`]; another worker may take it first.
    pub(crate) fn wait(&self, generation: u64) {
        let mut state = self.lock();
        if state.has_work(generation) {
            return;
        }
        state.sleeping += 1;
        loop {
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            if state.woken > 0 {
                state.woken -= 1;
                return;
            }
            // A worker that went to sleep after the wake-up has taken it, and counts as asleep in this one's place.
            if state.has_work(generation) {
                state.sleeping -= 1;
                return;
            }
        }
    }

    /// Returns the generation that [`JobQueue::recycle`] will begin. A worker started with it need not be recycled.
    pub(crate) fn next_generation(&self) -> u64 {
        self.lock().generation + 1
    }

    /// Has each of the `workers` workers recycled once. As many of them as there are `successors`, which were started
    /// with [`JobQueue::next_generation`], exit then.
    pub(crate) fn recycle(&self, workers: usize, successors: usize) {
        let mut state = self.lock();
        state.generation += 1;
        state.unrecycled = workers + state.surplus;
        state.surplus += successors;
        // All are woken: successors may sleep as well, and could take a wake-up that is meant for another worker.
        self.wake(state, usize::MAX);
    }

    /// Records that a worker has dropped its state.
    pub(crate) fn recycled(&self) -> Recycled {
        let mut state = self.lock();
        state.unrecycled = state.unrecycled.saturating_sub(1);
        let exits = state.surplus > 0;
        state.surplus -= usize::from(exits);
        Recycled { is_last: state.unrecycled == 0, exits }
    }

    /// Lets all workers exit, and returns the jobs that none has taken.
    pub(crate) fn close(&self) -> VecDeque<J> {
        let mut state = self.lock();
        state.closed = true;
        let mut jobs = std::mem::take(&mut state.jobs);
        jobs.append(&mut state.urgent);
        self.waiting.store(0, Ordering::Relaxed);
        self.wake(state, usize::MAX);
        jobs
    }

    /// Returns the number of jobs in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn wake(&self, mut state: MutexGuard<'_, State<J>>, workers: usize) {
        let workers = workers.min(state.sleeping);
        state.sleeping -= workers;
        state.woken += workers;
        let all = state.sleeping == 0;
        drop(state);
        // If all are woken, notify_all: a worker that is recycled at once and sleeps again must not take the
        // notification of another.
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    impl QueuedJob for &str {
        fn is_urgent(&self) -> bool {
            self.starts_with('u')
        }
    }

    #[test]
    fn urgent_jobs_and_others_are_taken_in_turn() {
        let queue = JobQueue::new();
        queue.push(["a", "b", "c", "u1", "u2", "u3", "u4", "u5"], 0);
        let mut taken = Vec::new();
        while let Some(WorkerStep::Job(job)) = queue.take(&mut 0) {
            taken.push(job);
            if job == "u4" {
                queue.push(["d", "u6"], 0);
            }
        }
        assert_eq!(taken, ["u1", "a", "u2", "b", "u3", "c", "u4", "d", "u5", "u6"]);
        assert_eq!(queue.waiting(), 0);
    }
}
