//! One backup, check or repair of the store at a time.

use std::sync::{Mutex, MutexGuard, TryLockError};

use crate::dispatch::CallError;

/// Work that holds a worker for seconds goes through here, one at a time, so that the other workers stay
/// with the calls that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct MaintenanceLock(Mutex<()>);

impl MaintenanceLock {
    /// Lets one in; the gate is open again once what this gives is dropped.
    ///
    /// # Errors
    /// Somebody is in.
    pub(crate) fn enter(&self) -> Result<MutexGuard<'_, ()>, CallError> {
        match self.0.try_lock() {
            Ok(guard) => Ok(guard),
            // It guards no data.
            Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(CallError::failed("another backup or check of the store is under way: try again when it is done"))
            }
        }
    }
}
