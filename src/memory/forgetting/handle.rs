//! The handle by which the daemon and the methods know of a forgetting, and take one up again (`resume.rs`).

use std::sync::Arc;
use std::time::Instant;

use crate::dispatch::CallError;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::forgetting::progress::{ForgettingProgress, ForgettingStatus};
use crate::memory::transfer::maintenance_lock::MaintenanceLock;

/// A handle to the forgetting of an open memory, see [`Memory::forgetting`](crate::memory::Memory::forgetting). Its methods
/// do not wait for the store.
#[derive(Clone, Debug)]
pub struct Forgetting {
    pub(crate) maintenance: Maintenance,
    pub(crate) lock: MaintenanceLock,
    pub(crate) progress: Arc<ForgettingProgress>,
}

impl Forgetting {
    /// Returns when the forgetting that an error has interrupted is taken up again; `None` if there is none or it runs.
    pub fn retry_at(&self) -> Option<Instant> {
        self.progress.retry_at()
    }

    /// Returns true if a forgetting is not at its end.
    pub fn is_pending(&self) -> bool {
        self.progress.is_pending()
    }

    /// Returns what `status` shows; `None` if there is no forgetting.
    pub fn status(&self, now: Instant) -> Option<ForgettingStatus> {
        self.progress.status(now)
    }

    /// Takes the sessions whose last record was forgotten since the last call.
    pub fn take_sessions(&self) -> Vec<String> {
        self.progress.take_sessions()
    }

    /// Checks that a selection can be shown.
    ///
    /// # Errors
    /// -32001 while records are being deleted.
    pub(crate) fn check_settled(&self) -> Result<(), CallError> {
        if self.progress.is_unsettled() { Err(unfinished()) } else { Ok(()) }
    }
}

/// Returns the error of a call that another forgetting does not allow.
pub(crate) fn unfinished() -> CallError {
    CallError::failed("an earlier forgetting is not at its end yet, and is being finished: try again in a moment")
}
