//! A lock for long maintenance calls: one backup, check, rebuild of the index or forgetting at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dispatch::CallError;

/// Held by a call that occupies a worker or the writer for seconds, so that the other workers are left for short calls.
#[derive(Clone, Debug, Default)]
pub(crate) struct MaintenanceLock(Arc<AtomicBool>);

/// Holds the lock until it is dropped, on any thread.
#[derive(Debug)]
pub(crate) struct MaintenanceGuard(Arc<AtomicBool>);

impl MaintenanceLock {
    /// Takes the lock until the guard is dropped.
    ///
    /// # Errors
    /// -32001 if it is held already.
    pub(crate) fn try_acquire(&self) -> Result<MaintenanceGuard, CallError> {
        if self.0.swap(true, Ordering::Acquire) {
            return Err(CallError::failed(
                "another backup, check or forgetting is running in the store: try again when it has finished",
            ));
        }
        Ok(MaintenanceGuard(self.0.clone()))
    }
}

impl Drop for MaintenanceGuard {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
