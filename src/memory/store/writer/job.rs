//! A writer's job of two functions, for methods that need no more of it.

use crate::dispatch::CallError;
use crate::memory::store::writer::transaction::WriteTransaction;

/// What a task holds in memory apart from what it captured, in bytes, roughly.
const WEIGHT: usize = 256;

struct Task<W, D, T> {
    weight: usize,
    work: Option<W>,
    done: D,
    made: Option<T>,
}

/// A job that runs `work` and, after the commit, tells `done` what it made. `weight` is what both hold
/// in memory, in bytes, roughly.
pub(crate) fn task<T: Send + 'static>(
    weight: usize,
    work: impl FnOnce(&mut WriteTransaction<'_>) -> Result<T, CallError> + Send + 'static,
    done: impl FnOnce(Result<T, CallError>) + Send + 'static,
) -> Box<dyn WriteJob> {
    Box::new(Task { weight: WEIGHT + weight, work: Some(work), done, made: None })
}

/// A job that nobody waits for; what goes wrong with it is logged as that of `what`.
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
            self.made = Some(work(transaction)?);
        }
        Ok(())
    }

    fn done(self: Box<Self>, outcome: Result<(), CallError>) {
        let Task { done, made, .. } = *self;
        done(outcome.and_then(|()| made.ok_or_else(|| CallError::failed("nothing was stored"))));
    }
}

/// Something to be written.
pub(crate) trait WriteJob: Send {
    /// What it holds in memory, in bytes, roughly.
    fn weight(&self) -> usize;

    /// Writes, inside a transaction that others share. Run once. What it did is undone if it fails.
    ///
    /// # Errors
    /// What its caller is to be answered.
    fn run(&mut self, transaction: &mut WriteTransaction<'_>) -> Result<(), CallError>;

    /// Called once, after the transaction: with `Ok` once all that [`WriteJob::run`] wrote is durable, with
    /// why where nothing of it is.
    fn done(self: Box<Self>, outcome: Result<(), CallError>);
}
