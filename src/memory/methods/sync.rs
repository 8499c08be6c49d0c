//! `sync_apply`: merges what another store gives (`sync/apply.rs`).

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::forgetting::job;
use crate::memory::service::{Memory, Worker};
use crate::memory::sync::apply::{Apply, ApplyRequest};
use crate::memory::transfer::maintenance_lock::MaintenanceGuard;

/// Answers `sync_apply`: at once if a param is invalid or the call only counts, else after the commit.
pub(crate) fn sync_apply(memory: &Memory, worker: &mut Worker, params: &Params<'_>, reply: Reply<'_>) {
    match ApplyRequest::read(params) {
        Ok(request) if request.is_dry_run => reply.send(worker.read(|reader| request.count(reader))),
        Ok(request) => match prepare(memory, worker, &request) {
            Ok(lock) => {
                Apply::start(request, memory.forgetting(), memory.profiles.clone(), lock, memory.now(), reply);
            }
            Err(error) => reply.send::<()>(Err(error)),
        },
        Err(error) => reply.send::<()>(Err(error)),
    }
}

/// Returns the lock that a call needs which deletes records.
fn prepare(
    memory: &Memory,
    worker: &mut Worker,
    request: &ApplyRequest,
) -> Result<Option<MaintenanceGuard>, CallError> {
    if !worker.read(|reader| request.check_forgets(reader))? {
        return Ok(None);
    }
    let interrupted = worker.read(|reader| Ok(job::pending(reader.snapshot()?.connection())?))?;
    memory.forgetting().acquire(interrupted).map(Some)
}
