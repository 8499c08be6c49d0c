//! Runs a job in chunks on the writer, so that other writes run between them.

use std::ops::ControlFlow;

use crate::dispatch::CallError;
use crate::memory::consolidation::caches::StepCaches;
use crate::memory::consolidation::cycle;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::consolidation::step::Step;
use crate::memory::store::fulltext;
use crate::memory::store::writer::WriterHandle;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::transaction::WriteTransaction;

/// Submits `chunk` as a job again and again, each time after the last commit and behind the jobs that were submitted
/// meanwhile, until it breaks or fails. Then calls `done` on the writer's thread: with the value of the break once its
/// transaction is committed, or with the error of the chunk that failed. The chunks before that one stay committed.
pub(crate) fn run_chunks<T: Send + 'static>(
    writer: WriterHandle,
    mut chunk: impl FnMut(&mut WriteTransaction<'_>) -> Result<ControlFlow<T>, CallError> + Send + 'static,
    done: impl FnOnce(Result<T, CallError>) + Send + 'static,
) {
    let handle = writer.clone();
    writer.submit(task(
        0,
        move |transaction| {
            let flow = chunk(transaction)?;
            Ok((chunk, flow))
        },
        move |outcome| match outcome {
            Ok((chunk, ControlFlow::Continue(()))) => run_chunks(handle, chunk, done),
            Ok((_, ControlFlow::Break(value))) => done(Ok(value)),
            Err(error) => done(Err(error)),
        },
    ));
}

/// Rebuilds the full-text index if that is due, and calls `done` as [`run_chunks`] does.
pub(crate) fn complete_index(maintenance: Maintenance, done: impl FnOnce(Result<(), CallError>) + Send + 'static) {
    let Maintenance { writer, folder, clock, .. } = maintenance;
    let chunk = move |transaction: &mut WriteTransaction<'_>| {
        if !fulltext::is_due(transaction.connection)? {
            return Ok(ControlFlow::Break(()));
        }
        cycle::run_step_chunk(Step::Reindex, transaction, &mut StepCaches::default(), &folder, clock())?;
        Ok(ControlFlow::Continue(()))
    };
    run_chunks(writer, chunk, done);
}
