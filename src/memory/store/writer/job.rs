//! Jobs of the writer: the trait, and a job made of two closures.

use crate::dispatch::CallError;
use crate::memory::store::writer::transaction::WriteTransaction;

/// Approximate size of a task without what its closures hold.
const TASK_BYTES: usize = 256;

struct Task<W, D, T> {
    weight: usize,
    work: Option<W>,
    done: D,
    result: Option<T>,
}

/// Returns a job that runs `work` in the transaction and calls `done` with its result after the commit. `weight` is the
/// approximate number of bytes that both closures hold.
pub(crate) fn task<T: Send + 'static>(
    weight: usize,
    work: impl FnOnce(&mut WriteTransaction<'_>) -> Result<T, CallError> + Send + 'static,
    done: impl FnOnce(Result<T, CallError>) + Send + 'static,
) -> Box<dyn WriteJob> {
    Box::new(Task { weight: TASK_BYTES + weight, work: Some(work), done, result: None })
}

/// Returns a job without a reply. A failure is logged with the name `what`.
pub(crate) fn background_task(
    what: &'static str,
    work: impl FnOnce(&mut WriteTransaction<'_>) -> Result<(), CallError> + Send + 'static,
) -> Box<dyn WriteJob> {
    task(0, work, move |outcome| {
        if let Err(error) = outcome {
            log::warn!("could not store {what}: {}", error.message);
        }
    })
}

impl<T, W, D> WriteJob for Task<W, D, T>
where
    T: Send,
    W: FnOnce(&mut WriteTransaction<'_>) -> Result<T, CallError> + Send,
    D: FnOnce(Result<T, CallError>) + Send,
{
    fn weight(&self) -> usize {
        self.weight
    }

    fn run(&mut self, transaction: &mut WriteTransaction<'_>) -> Result<(), CallError> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(transaction)?);
        }
        Ok(())
    }

    fn done(self: Box<Self>, outcome: Result<(), CallError>) {
        let Task { done, result, .. } = *self;
        done(outcome.and_then(|()| result.ok_or_else(|| CallError::failed("nothing was stored"))));
    }
}

/// A write operation.
pub(crate) trait WriteJob: Send {
    /// Returns its approximate size in memory, in bytes.
    fn weight(&self) -> usize;

    /// Writes, inside a transaction that other jobs share. Called at most once.
    ///
    /// # Errors
    /// The error for the caller; what the job wrote is rolled back.
    fn run(&mut self, transaction: &mut WriteTransaction<'_>) -> Result<(), CallError>;

    /// Completes the job. Called once, after the transaction: with `Ok` if all that [`WriteJob::run`] wrote is durable,
    /// with the error if none of it is.
    fn done(self: Box<Self>, outcome: Result<(), CallError>);
}
