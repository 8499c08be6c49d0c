//! `store_reindex`: rebuilds the full-text index now instead of in the next consolidation cycle.
//!
//! The rebuild runs in chunks, between which other writes run. If it is interrupted (by a kill or a full disk), the next
//! call or the next cycle continues it.

use std::ops::ControlFlow;
use std::time::Instant;

use serde::Serialize;

use crate::dispatch::{CallError, Reply};
use crate::memory::consolidation::caches::StepCaches;
use crate::memory::consolidation::chunks::run_chunks;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::consolidation::step::{Progress, Step};
use crate::memory::consolidation::{cycle, reindex};
use crate::memory::store::fulltext::{self, IndexStatus, RebuildPlace, RebuildState};
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::transfer::check;

/// The error if the damaged index is still in the store: its pages may have damaged the schema, too.
const NOT_REPLACED: &str = "the damaged index could not be removed from the store (the daemon's log has the error): \
                            restore a backup (iaid restore FILE)";

/// The result of `store_reindex`.
#[derive(Clone, Copy, Debug, Serialize)]
struct ReindexResult {
    /// Records that were indexed.
    records: u64,
}

/// What the next chunk does.
#[derive(Clone, Copy)]
enum Phase {
    Begin,
    /// A damaged index is replaced after the commit of [`Phase::Begin`]. This phase checks that it was.
    Verify,
    Index,
}

/// Answers `store_reindex` once the index of the database at `store` is complete. `start` is when the call began.
pub(crate) fn rebuild(store: &StoreFile, maintenance: Maintenance, start: Instant, reply: Reply<'_>) {
    let place = match check::is_index_damaged(store, start) {
        Ok(true) => RebuildPlace::Same,
        Ok(false) => RebuildPlace::Beside,
        Err(error) => return reply.send::<()>(Err(error)),
    };
    let reply = reply.later();
    let Maintenance { writer, folder, clock, .. } = maintenance;
    let (mut phase, mut records) = (Phase::Begin, 0);
    run_chunks(
        writer,
        move |transaction| {
            match phase {
                Phase::Begin => {
                    begin(transaction, place)?;
                    phase = Phase::Verify;
                }
                Phase::Verify if fulltext::is_due(transaction.connection)? => phase = Phase::Index,
                Phase::Verify => return Err(CallError::failed(NOT_REPLACED)),
                Phase::Index => {
                    let mut caches = StepCaches::default();
                    let outcome = cycle::run_step_chunk(Step::Reindex, transaction, &mut caches, &folder, clock())?;
                    records += outcome.counts.get("indexed");
                    if outcome.progress == Progress::Done {
                        return Ok(ControlFlow::Break(ReindexResult { records }));
                    }
                }
            }
            Ok(ControlFlow::Continue(()))
        },
        move |outcome| reply.send(outcome),
    );
}

/// Begins a rebuild, or lets one that is in progress continue.
fn begin(transaction: &mut WriteTransaction<'_>, place: RebuildPlace) -> Result<(), CallError> {
    match (place, RebuildState::read(transaction.connection)?) {
        (RebuildPlace::Same, _) => {
            transaction.request_index_replacement();
            transaction.set_index_status(IndexStatus::Due);
        }
        (RebuildPlace::Beside, RebuildState::Growing(_)) => {}
        (RebuildPlace::Beside, _) => drop(reindex::begin(transaction, place)?),
    }
    Ok(())
}
