//! The queue and the mailbox under every order of steps that their threads can take (loom), within a
//! bound on how often a thread is preempted. Loom says itself where all threads wait for ever.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --no-default-features --lib models`

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use loom::model::Builder;
use loom::sync::atomic::AtomicUsize;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::completions::{Completions, Followup, ReaderState};
use super::queue::{JobQueue, Rested, WorkerStep};

/// What the loop sleeps in: a waker that keeps one notice, as mio's does.
#[derive(Default)]
struct Bed {
    notices: Mutex<bool>,
    wake: Condvar,
}

impl Bed {
    fn notify(&self) {
        *self.notices.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }

    fn sleep(&self) {
        let mut noticed = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        while !std::mem::take(&mut *noticed) {
            noticed = self.wake.wait(noticed).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct World {
    queue: JobQueue<usize>,
    results: Completions<usize>,
    bed: Arc<Bed>,
    gate: Bed,
    rests: AtomicUsize,
}

impl World {
    fn new() -> Arc<World> {
        let bed = Arc::new(Bed::default());
        let waker = Arc::clone(&bed);
        let results = Completions::new(move || waker.notify());
        Arc::new(World { queue: JobQueue::new(), results, bed, gate: Bed::default(), rests: AtomicUsize::new(0) })
    }

    /// As the pool's own workers do.
    fn work(&self, mut rested: u64) {
        loop {
            match self.queue.take(&mut rested) {
                Some(WorkerStep::Job(job)) => {
                    match job {
                        HELD => self.gate.sleep(),
                        OPENER => self.gate.notify(),
                        _ => {}
                    }
                    let then = if self.queue.waiting() > 0 { Followup::More } else { Followup::Nothing };
                    self.results.put(job, then);
                }
                Some(WorkerStep::Rest) => {
                    self.rests.fetch_add(1, Ordering::SeqCst);
                    let Rested { last, goes } = self.queue.rested();
                    if last {
                        self.results.put(RESTED, Followup::Nothing);
                    }
                    if goes {
                        return;
                    }
                }
                Some(WorkerStep::End) => return,
                None => {
                    self.results.announce();
                    self.queue.wait(rested);
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
                self.bed.sleep();
            }
        }
    }
}

/// A job that ends when the second one runs, that one, and the result of the last worker to rest.
const HELD: usize = 97;
const OPENER: usize = 98;
const RESTED: usize = 99;

fn workers(world: &Arc<World>, count: usize, rested: u64) -> Vec<thread::JoinHandle<()>> {
    let start = |_| {
        let world = Arc::clone(world);
        thread::spawn(move || world.work(rested))
    };
    (0..count).map(start).collect()
}

fn model(check: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(check);
}

fn end(world: &World, workers: Vec<thread::JoinHandle<()>>) {
    world.queue.close();
    for worker in workers {
        worker.join().unwrap();
    }
}

#[test]
fn each_job_is_done_once_and_each_result_is_taken() {
    model(|| {
        let world = World::new();
        let workers = workers(&world, 2, 0);
        world.queue.push([1, 2], 1);
        world.queue.push([3], 1);
        assert_eq!(world.collect(3, ReaderState::Patient), [1, 2, 3]);
        end(&world, workers);
    });
}

#[test]
fn a_reader_that_is_out_of_patience_waits_for_no_other_job() {
    model(|| {
        let world = World::new();
        let other = Arc::clone(&world);
        // A worker that never comes to its next job, or to its end.
        let stuck = thread::spawn(move || other.results.put(1, Followup::More));
        world.results.may_sleep(ReaderState::Patient);
        // The moment has come.
        assert_eq!(world.collect(1, ReaderState::Asleep), [1]);
        stuck.join().unwrap();
    });
}

#[test]
fn all_workers_rest_once_and_the_last_one_says_so() {
    model(|| {
        let world = World::new();
        let workers = workers(&world, 2, 0);
        world.queue.push([1], 1);
        world.queue.rest(2, 0);
        assert_eq!(world.collect(2, ReaderState::Asleep), [1, RESTED]);
        assert_eq!(world.rests.load(Ordering::SeqCst), 2);
        end(&world, workers);
    });
}

#[test]
fn a_worker_that_rests_goes_and_its_successor_does_the_jobs() {
    model(|| {
        let world = World::new();
        let old = workers(&world, 1, 0);
        let new = workers(&world, 1, world.queue.next_round());
        world.queue.push([1], 1);
        world.queue.rest(1, 1);
        old.into_iter().for_each(|worker| worker.join().unwrap());
        world.queue.push([2], 1);
        assert_eq!(world.collect(3, ReaderState::Asleep), [1, 2, RESTED]);
        assert_eq!(world.rests.load(Ordering::SeqCst), 1);
        end(&world, new);
    });
}

#[test]
fn a_closed_queue_lets_all_workers_end_and_gives_back_what_nobody_took() {
    model(|| {
        let world = World::new();
        let workers = workers(&world, 2, 0);
        world.queue.push([1, 2], 2);
        let left = world.queue.close();
        end(&world, workers);
        let mut done = Vec::new();
        world.results.take(&mut done);
        assert_eq!(done.len() + left.len(), 2);
    });
}

#[test]
fn one_that_waits_is_called_for_the_job_of_another_that_is_stuck() {
    model(|| {
        let world = World::new();
        let workers = workers(&world, 2, 0);
        world.queue.push([HELD, OPENER], 1);
        // The moment has come.
        world.queue.call_all();
        assert_eq!(world.collect(2, ReaderState::Asleep), [HELD, OPENER]);
        end(&world, workers);
    });
}
