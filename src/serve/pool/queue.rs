//! Jobs that wait for a worker, and workers that wait for a job.
//!
//! This module runs no job. The lock is held only to push or to take, and a worker is woken only if it sleeps: an
//! awake one looks at the queue again before it sleeps.
//!
//! Workers of [`Crew::General`] take every job, those of [`Crew::Urgent`] urgent ones only. So an urgent job waits for
//! other urgent ones at most: one of the urgent crew is woken when such a job waits and the general crew is busy.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard};

/// What is queued.
pub(crate) trait QueuedJob {
    /// Returns true if the job is taken before the others. They are taken in turn, so none is delayed for ever.
    fn is_urgent(&self) -> bool;
}

/// Which jobs a worker takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crew {
    /// Every job.
    General,
    /// Urgent jobs only.
    Urgent,
}

/// A queue with many takers.
pub(crate) struct JobQueue<J> {
    state: Mutex<State<J>>,
    /// Wakes workers of each crew.
    wake: [Condvar; 2],
    /// Number of jobs in the queue, readable without the lock.
    waiting: AtomicUsize,
}

struct State<J> {
    jobs: VecDeque<J>,
    urgent: VecDeque<J>,
    /// The last job that the general crew took was an urgent one.
    took_urgent: bool,
    crews: [CrewState; 2],
    closed: bool,
    /// Incremented by each [`JobQueue::recycle`]. A worker that has seen a lower number is to be recycled.
    generation: u64,
    /// Workers that have not been recycled in this generation.
    unrecycled: usize,
}

/// The workers of a crew.
#[derive(Clone, Copy, Default)]
struct CrewState {
    /// Workers that sleep and have not been woken.
    sleeping: usize,
    /// Workers that have been woken and do not run yet.
    woken: usize,
    /// Workers that exit once they are recycled, since each has a successor.
    surplus: usize,
}

/// Workers of a crew that were marked as woken, and are to be notified.
struct Marked {
    workers: usize,
    /// No other worker of the crew sleeps.
    are_all: bool,
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
    fn has_work(&self, crew: Crew, generation: u64) -> bool {
        let has_job = !self.urgent.is_empty() || (crew == Crew::General && !self.jobs.is_empty());
        self.closed || self.generation > generation || has_job
    }

    fn len(&self) -> usize {
        self.jobs.len() + self.urgent.len()
    }

    /// Takes the next job: an urgent one, unless the last one was and the crew may take another that waits.
    fn pop(&mut self, crew: Crew) -> Option<J> {
        if crew == Crew::Urgent {
            return self.urgent.pop_front();
        }
        let takes_urgent = !self.urgent.is_empty() && (self.jobs.is_empty() || !self.took_urgent);
        self.took_urgent = takes_urgent;
        if takes_urgent { self.urgent.pop_front() } else { self.jobs.pop_front() }
    }

    fn crew(&mut self, crew: Crew) -> &mut CrewState {
        &mut self.crews[crew as usize]
    }

    /// Marks at most `most` sleeping workers of a crew as woken.
    fn mark_woken(&mut self, crew: Crew, most: usize) -> Marked {
        let crew = self.crew(crew);
        let workers = most.min(crew.sleeping);
        crew.sleeping -= workers;
        crew.woken += workers;
        Marked { workers, are_all: crew.sleeping == 0 }
    }

    /// Returns true if an urgent job waits and every worker of the general crew runs another job.
    fn needs_urgent_crew(&self) -> bool {
        let general = &self.crews[Crew::General as usize];
        !self.urgent.is_empty() && general.sleeping + general.woken == 0
    }
}

impl<J: QueuedJob> JobQueue<J> {
    pub(crate) fn new() -> JobQueue<J> {
        JobQueue {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                urgent: VecDeque::new(),
                took_urgent: false,
                crews: [CrewState::default(); 2],
                closed: false,
                generation: 0,
                unrecycled: 0,
            }),
            wake: [Condvar::new(), Condvar::new()],
            waiting: AtomicUsize::new(0),
        }
    }

    /// Appends all `jobs` and wakes at most `workers` sleeping workers of the general crew. A closed queue drops the
    /// jobs.
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

    /// Returns what a worker of `crew` does next that was recycled up to `generation`, or `None` if there is nothing to
    /// do. Updates `generation` if the worker is to be recycled.
    pub(crate) fn take(&self, crew: Crew, generation: &mut u64) -> Option<WorkerStep<J>> {
        let mut state = self.lock();
        if state.closed {
            return Some(WorkerStep::Exit);
        }
        if *generation < state.generation {
            *generation = state.generation;
            return Some(WorkerStep::Recycle);
        }
        let job = state.pop(crew)?;
        self.waiting.store(state.len(), Ordering::Relaxed);
        if state.needs_urgent_crew() {
            self.wake(state, 0);
        }
        Some(WorkerStep::Job(job))
    }

    /// Sleeps until there may be something to [`JobQueue::take`]; another worker may take it first.
    pub(crate) fn wait(&self, crew: Crew, generation: u64) {
        let mut state = self.lock();
        if state.has_work(crew, generation) {
            return;
        }
        state.crew(crew).sleeping += 1;
        loop {
            state = self.wake[crew as usize].wait(state).unwrap_or_else(PoisonError::into_inner);
            if state.crew(crew).woken > 0 {
                state.crew(crew).woken -= 1;
                return;
            }
            // A worker that went to sleep after the wake-up has taken it, and counts as asleep in this one's place.
            if state.has_work(crew, generation) {
                state.crew(crew).sleeping -= 1;
                return;
            }
        }
    }

    /// Returns the generation that [`JobQueue::recycle`] will begin. A worker started with it need not be recycled.
    pub(crate) fn next_generation(&self) -> u64 {
        self.lock().generation + 1
    }

    /// Has each of the `workers` workers recycled once. As many of each crew as it has `successors`, which were started
    /// with [`JobQueue::next_generation`], exit then.
    pub(crate) fn recycle(&self, workers: usize, successors: &[Crew]) {
        let mut state = self.lock();
        state.generation += 1;
        state.unrecycled = workers + state.crews.iter().map(|crew| crew.surplus).sum::<usize>();
        successors.iter().for_each(|crew| state.crew(*crew).surplus += 1);
        // All are woken: successors may sleep as well, and could take a wake-up that is meant for another worker.
        self.wake_all(state);
    }

    /// Records that a worker of `crew` has dropped its state.
    pub(crate) fn recycled(&self, crew: Crew) -> Recycled {
        let mut state = self.lock();
        state.unrecycled = state.unrecycled.saturating_sub(1);
        let surplus = &mut state.crew(crew).surplus;
        let exits = *surplus > 0;
        *surplus -= usize::from(exits);
        Recycled { is_last: state.unrecycled == 0, exits }
    }

    /// Lets all workers exit, and returns the jobs that none has taken.
    pub(crate) fn close(&self) -> VecDeque<J> {
        let mut state = self.lock();
        state.closed = true;
        let mut jobs = std::mem::take(&mut state.jobs);
        jobs.append(&mut state.urgent);
        self.waiting.store(0, Ordering::Relaxed);
        self.wake_all(state);
        jobs
    }

    /// Returns the number of jobs in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Wakes at most `workers` of the general crew, and one of the urgent crew if it is needed.
    fn wake(&self, mut state: MutexGuard<'_, State<J>>, workers: usize) {
        let general = state.mark_woken(Crew::General, workers);
        let most = usize::from(state.needs_urgent_crew());
        let urgent = state.mark_woken(Crew::Urgent, most);
        drop(state);
        self.notify(Crew::General, general);
        self.notify(Crew::Urgent, urgent);
    }

    fn wake_all(&self, mut state: MutexGuard<'_, State<J>>) {
        let woken = [Crew::General, Crew::Urgent].map(|crew| (crew, state.mark_woken(crew, usize::MAX)));
        drop(state);
        woken.into_iter().for_each(|(crew, marked)| self.notify(crew, marked));
    }

    /// Notifies workers that were marked as woken.
    fn notify(&self, crew: Crew, marked: Marked) {
        let wake = &self.wake[crew as usize];
        // If all are woken, notify_all: a worker that is recycled at once and sleeps again must not take the
        // notification of another.
        if marked.workers > 0 && marked.are_all {
            wake.notify_all();
        } else {
            (0..marked.workers).for_each(|_| wake.notify_one());
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

    fn take(queue: &JobQueue<&'static str>, crew: Crew) -> Option<&'static str> {
        match queue.take(crew, &mut 0)? {
            WorkerStep::Job(job) => Some(job),
            _ => panic!("the queue is neither closed nor recycled"),
        }
    }

    #[test]
    fn urgent_jobs_and_others_are_taken_in_turn() {
        let queue = JobQueue::new();
        queue.push(["a", "b", "c", "u1", "u2", "u3", "u4", "u5"], 0);
        let mut taken = Vec::new();
        while let Some(job) = take(&queue, Crew::General) {
            taken.push(job);
            if job == "u4" {
                queue.push(["d", "u6"], 0);
            }
        }
        assert_eq!(taken, ["u1", "a", "u2", "b", "u3", "c", "u4", "d", "u5", "u6"]);
        assert_eq!(queue.waiting(), 0);
    }

    #[test]
    fn the_urgent_crew_takes_urgent_jobs_only() {
        let queue = JobQueue::new();
        queue.push(["a", "u1", "b", "u2"], 0);
        assert_eq!([Crew::Urgent; 3].map(|crew| take(&queue, crew)), [Some("u1"), Some("u2"), None]);
        assert_eq!([Crew::General; 3].map(|crew| take(&queue, crew)), [Some("a"), Some("b"), None]);
    }
}
