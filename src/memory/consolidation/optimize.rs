//! The step Optimize: merges the segments of the full-text index, then requests `PRAGMA optimize` and a WAL checkpoint.
//!
//! It has no cursor: FTS5 knows what remains to be merged.

use std::time::Instant;

use crate::dispatch::CallError;
use crate::memory::consolidation::step::{Progress, StepOutcome};
use crate::memory::store::segments;
use crate::memory::store::writer::transaction::WriteTransaction;

/// Runs one chunk.
///
/// # Errors
/// -32001 if the index cannot be read or written.
pub(crate) fn chunk(transaction: &mut WriteTransaction<'_>, deadline: Instant) -> Result<StepOutcome, CallError> {
    let (merged, is_done) = segments::merge_until(transaction.connection, deadline)?;
    if is_done {
        transaction.request_optimize();
    }
    Ok(StepOutcome::new(None, if is_done { Progress::Done } else { Progress::More }, [("merged", merged)]))
}
