//! A lock for long maintenance calls: one backup, check or rebuild of the index at a time.

use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::dispatch::CallError;

/// Held by a call that occupies a worker for seconds, so that the other workers are left for short calls.
#[derive(Debug, Default)]
pub(crate) struct MaintenanceLock(Mutex<()>);

impl MaintenanceLock {
    /// Takes the lock until the guard is dropped.
    ///
    /// # Errors
    /// -32001 if it is held already.
    pub(crate) fn try_acquire(&self) -> Result<MutexGuard<'_, ()>, CallError> {
        match self.0.try_lock() {
            Ok(guard) => Ok(guard),
            // It protects no data.
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => Err(CallError::failed(
                "another backup or check of the store is running: try again when it has finished",
            )),
        }
    }
}
