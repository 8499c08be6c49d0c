//! Loom models of the job queue and the completion queue: every interleaving of their threads' steps, up to a bound
//! on preemptions. Loom itself reports deadlocks.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --no-default-features --lib models`

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use loom::model::Builder;
use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::completions::{Completions, Followup, ReaderState};
use super::queue::{Crew, JobQueue, QueuedJob, Recycled, WorkerStep};

impl QueuedJob for usize {
    fn is_urgent(&self) -> bool {
        *self == URGENT
    }
}

/// Stands in for mio's `Waker` and poll: remembers one notification.
#[derive(Default)]
struct Event {
    notified: Mutex<bool>,
    wake: Condvar,
}

impl Event {
    fn notify(&self) {
        *self.notified.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }

    fn sleep(&self) {
        let mut notified = self.notified.lock().unwrap_or_else(PoisonError::into_inner);
        while !std::mem::take(&mut *notified) {
            notified = self.wake.wait(notified).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Pool {
    queue: JobQueue<usize>,
    results: Completions<usize>,
    event: Arc<Event>,
    gate: Event,
    recycled_count: AtomicUsize,
}

impl Pool {
    fn new() -> Arc<Pool> {
        let event = Arc::new(Event::default());
        let waker = Arc::clone(&event);
        let results = Completions::new(move || waker.notify());
        Arc::new(Pool {
            queue: JobQueue::new(),
            results,
            event,
            gate: Event::default(),
            recycled_count: AtomicUsize::new(0),
        })
    }

    /// Works as the real workers do.
    fn work(&self, crew: Crew, mut generation: u64) {
        loop {
            match self.queue.take(crew, &mut generation) {
                Some(WorkerStep::Job(job)) => {
                    match job {
                        HELD => self.gate.sleep(),
                        OPENER | URGENT => self.gate.notify(),
                        _ => {}
                    }
                    let followup = if self.queue.waiting() > 0 { Followup::More } else { Followup::Last };
                    self.results.put(job, followup);
                }
                Some(WorkerStep::Recycle) => {
                    self.recycled_count.fetch_add(1, Ordering::SeqCst);
                    let Recycled { is_last, exits } = self.queue.recycled(crew);
                    if is_last {
                        self.results.put(RECYCLED, Followup::Last);
                    }
                    if exits {
                        return;
                    }
                }
                Some(WorkerStep::Exit) => return,
                None => {
                    self.results.announce();
                    self.queue.wait(crew, generation);
                }
            }
        }
    }

    /// Takes results until there are `count`, sleeping as the loop does.
    fn collect(&self, count: usize, reader: ReaderState) -> Vec<usize> {
        let (mut all, mut some) = (Vec::new(), Vec::new());
        loop {
            self.results.take(&mut some);
            all.append(&mut some);
            if all.len() >= count {
                all.sort_unstable();
                return all;
            }
            if self.results.may_sleep(reader) {
                self.event.sleep();
            }
        }
    }
}

/// An urgent job for which [`HELD`] waits; a job that ends once an opener or an urgent job runs; an opener; and the result
/// of the last worker that is recycled.
const URGENT: usize = 96;
const HELD: usize = 97;
const OPENER: usize = 98;
const RECYCLED: usize = 99;

fn workers(pool: &Arc<Pool>, crews: &[Crew], generation: u64) -> Vec<thread::JoinHandle<()>> {
    let start = |crew: &Crew| {
        let (pool, crew) = (Arc::clone(pool), *crew);
        thread::spawn(move || pool.work(crew, generation))
    };
    crews.iter().map(start).collect()
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    model_with(3, check);
}

fn model_with(preemptions: usize, check: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(check);
}

fn end(pool: &Pool, workers: Vec<thread::JoinHandle<()>>) {
    pool.queue.close();
    for worker in workers {
        worker.join().unwrap();
    }
}

#[test]
fn each_job_runs_once_and_each_result_is_taken() {
    model(|| {
        let pool = Pool::new();
        let workers = workers(&pool, &[Crew::General; 2], 0);
        pool.queue.push([1, 2], 1);
        pool.queue.push([3], 1);
        assert_eq!(pool.collect(3, ReaderState::TimedWait), [1, 2, 3]);
        end(&pool, workers);
    });
}

#[test]
fn a_reader_whose_timeout_has_passed_waits_for_no_other_result() {
    model(|| {
        let pool = Pool::new();
        let other = Arc::clone(&pool);
        // A worker that never takes its next job and never exits.
        let stuck = thread::spawn(move || other.results.put(1, Followup::More));
        pool.results.may_sleep(ReaderState::TimedWait);
        // The timeout has passed.
        assert_eq!(pool.collect(1, ReaderState::Waiting), [1]);
        stuck.join().unwrap();
    });
}

#[test]
fn all_workers_are_recycled_once_and_the_last_one_reports_it() {
    model(|| {
        let pool = Pool::new();
        let workers = workers(&pool, &[Crew::General; 2], 0);
        pool.queue.push([1], 1);
        pool.queue.recycle(2, &[]);
        assert_eq!(pool.collect(2, ReaderState::Waiting), [1, RECYCLED]);
        assert_eq!(pool.recycled_count.load(Ordering::SeqCst), 2);
        end(&pool, workers);
    });
}

#[test]
fn a_recycled_worker_exits_and_its_successor_runs_the_jobs() {
    model(|| {
        let pool = Pool::new();
        let old = workers(&pool, &[Crew::General], 0);
        let new = workers(&pool, &[Crew::General], pool.queue.next_generation());
        pool.queue.push([1], 1);
        pool.queue.recycle(1, &[Crew::General]);
        old.into_iter().for_each(|worker| worker.join().unwrap());
        pool.queue.push([2], 1);
        assert_eq!(pool.collect(3, ReaderState::Waiting), [1, 2, RECYCLED]);
        assert_eq!(pool.recycled_count.load(Ordering::SeqCst), 1);
        end(&pool, new);
    });
}

#[test]
fn a_closed_queue_lets_all_workers_exit_and_returns_the_jobs_left() {
    model(|| {
        let pool = Pool::new();
        let workers = workers(&pool, &[Crew::General; 2], 0);
        pool.queue.push([1, 2], 2);
        let left = pool.queue.close();
        end(&pool, workers);
        let mut done = Vec::new();
        pool.results.take(&mut done);
        assert_eq!(done.len() + left.len(), 2);
    });
}

#[test]
fn a_sleeping_worker_is_woken_for_the_job_behind_a_stuck_worker() {
    model(|| {
        let pool = Pool::new();
        let workers = workers(&pool, &[Crew::General; 2], 0);
        pool.queue.push([HELD, OPENER], 1);
        // The estimate has expired.
        pool.queue.wake_for_all_jobs();
        assert_eq!(pool.collect(2, ReaderState::Waiting), [HELD, OPENER]);
        end(&pool, workers);
    });
}

#[test]
fn an_urgent_job_waits_for_no_other_one() {
    model_with(2, || {
        let pool = Pool::new();
        let workers = workers(&pool, &[Crew::General, Crew::Urgent], 0);
        pool.queue.push([HELD], 1);
        pool.queue.push([URGENT], 1);
        assert_eq!(pool.collect(2, ReaderState::Waiting), [URGENT, HELD]);
        end(&pool, workers);
    });
}
