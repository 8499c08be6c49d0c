//! `store_reindex`: the full-text index made anew because somebody asks for it, at once instead of while the
//! memory sleeps.
//!
//! Each chunk is a job of its own, behind whatever others have brought meanwhile, as those of a cycle are; one
//! that ends in between (a kill, a full disk) is gone on with by the next call or the next sleep.

use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use crate::dispatch::{CallError, LateReply, Reply};
use crate::memory::consolidation::cooccurrence::CooccurrenceLearner;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::consolidation::step::{Progress, Step};
use crate::memory::consolidation::{cycle, reindex};
use crate::memory::store::fulltext::{self, IndexStatus, RebuildPlace, RebuildState};
use crate::memory::store::writer::job::task;
use crate::memory::transfer::check;

/// Where the damaged index is still there: what its pages say of the schema may be wrong, too.
const STAYS: &str = "the damaged index could not be taken out of the store (the daemon's log says why): stop the daemon, \
                     keep the file, and restore a backup";

/// What was made.
#[derive(Clone, Copy, Debug, Serialize)]
struct Mended {
    /// Records that were indexed.
    records: u64,
}

/// Answers once the index of the database at `store` is made.
pub(crate) fn mend(store: &Path, maintenance: Maintenance, began: Instant, reply: Reply<'_>) {
    let place = match check::is_index_damaged(store, began) {
        Ok(true) => RebuildPlace::Same,
        Ok(false) => RebuildPlace::Beside,
        Err(error) => return reply.send::<()>(Err(error)),
    };
    let (writer, reply) = (maintenance.writer.clone(), reply.later());
    writer.submit(task(
        0,
        move |transaction| {
            match (place, RebuildState::read(transaction.connection)?) {
                (RebuildPlace::Same, _) => {
                    transaction.request_index_replacement();
                    transaction.set_index_status(IndexStatus::Due);
                }
                (RebuildPlace::Beside, RebuildState::Growing(_)) => {}
                (RebuildPlace::Beside, _) => drop(reindex::begin(transaction, place)?),
            }
            Ok(())
        },
        move |outcome| match outcome {
            Ok(()) => Call { maintenance, records: 0, reply }.begin(),
            Err(error) => reply.send::<()>(Err(error)),
        },
    ));
}

struct Call {
    maintenance: Maintenance,
    records: u64,
    reply: LateReply,
}

impl Call {
    /// Has it come to grow?
    fn begin(self) {
        let writer = self.maintenance.writer.clone();
        writer.submit(task(
            0,
            |transaction| {
                if fulltext::is_due(transaction.connection)? { Ok(()) } else { Err(CallError::failed(STAYS)) }
            },
            move |outcome| match outcome {
                Ok(()) => self.next(),
                Err(error) => self.reply.send::<()>(Err(error)),
            },
        ));
    }

    /// Hands in the next chunk.
    fn next(mut self) {
        let Maintenance { writer, folder, clock, .. } = self.maintenance.clone();
        let now = clock();
        writer.submit(task(
            0,
            move |transaction| {
                cycle::run_chunk(Step::Reindex, transaction, &mut CooccurrenceLearner::default(), &folder, now)
            },
            move |outcome| match outcome {
                Ok(chunk) => {
                    self.records += chunk.counts.of("indexed");
                    match chunk.progress {
                        Progress::More => self.next(),
                        Progress::Done => self.reply.send(Ok(Mended { records: self.records })),
                    }
                }
                Err(error) => self.reply.send::<()>(Err(error)),
            },
        ));
    }
}
