//! A worker thread: takes jobs from the queue, runs them, and reports their results.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::batch::{Job, RenderedReplies, Shared};
use super::completions::Followup;
use super::outcome::Outcome;
use super::queue::{Crew, Recycled, WorkerStep};
use crate::dispatch::{Dispatch, Panicked, Runner};
use crate::serve::control_plane::Task;
use crate::sys::process;

/// Returns the crews of a pool's workers: `general` of the general crew, and one of the urgent crew.
pub(crate) fn crews(general: usize) -> impl Iterator<Item = Crew> {
    std::iter::repeat_n(Crew::General, general).chain([Crew::Urgent])
}

/// Starts worker number `index`, which counts as recycled up to `generation`.
///
/// # Errors
/// Those of [`thread::Builder::spawn`].
pub(crate) fn start<D: Dispatch, T: Send + 'static>(
    shared: &Arc<Shared<D, T>>,
    crew: Crew,
    index: usize,
    generation: u64,
) -> io::Result<()> {
    let thread = thread::Builder::new().name(match crew {
        Crew::General => format!("iaid-worker-{index}"),
        Crew::Urgent => "iaid-urgent".into(),
    });
    let stack_bytes = shared.limits.worker_stack_bytes;
    let shared = Arc::clone(shared);
    thread.stack_size(stack_bytes).spawn(move || shared.work(crew, generation)).map(drop)
}

impl<D: Dispatch, T: Send + 'static> Shared<D, T> {
    fn work(&self, crew: Crew, mut generation: u64) {
        process::set_batch_scheduling();
        let (mut runner, mut brief) = (Runner::default(), RenderedReplies::default());
        loop {
            match self.queue.take(crew, &mut generation) {
                Some(WorkerStep::Job(Job::Batch(batch))) => {
                    let began = Instant::now();
                    batch.run(began, &mut runner, &mut brief);
                    drop(batch);
                    self.record_time(began.elapsed());
                }
                Some(WorkerStep::Job(Job::Task(task))) => self.run_task(task),
                Some(WorkerStep::Recycle) => {
                    (runner, brief) = (Runner::default(), RenderedReplies::default());
                    let Recycled { is_last, exits } = self.queue.recycled(crew);
                    if is_last {
                        self.queue_task_after_recycle();
                    }
                    if exits {
                        return;
                    }
                }
                Some(WorkerStep::Exit) => return,
                None => {
                    runner.shrink();
                    self.results.announce();
                    self.queue.wait(crew, generation);
                }
            }
        }
    }

    fn queue_task_after_recycle(&self) {
        let task = self.after_recycle.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            self.queue.push([Job::Task(task)], 1);
        }
    }

    fn run_task(&self, task: Task<T>) {
        let done = catch_unwind(AssertUnwindSafe(task)).map_err(|panic| Panicked::of(&*panic));
        self.results.put(Outcome::Task(done), Followup::Last);
    }

    /// Adds a job's time to the moving average. Two workers may overwrite each other's update; the average only feeds
    /// an estimate.
    fn record_time(&self, time: Duration) {
        let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mean = self.mean_job_ns.load(Ordering::Relaxed);
        self.mean_job_ns.store(mean - mean / 8 + time / 8, Ordering::Relaxed);
    }
}
