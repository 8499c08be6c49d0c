//! Moving in and out: the store as rows, a copy of its file, and a look at whether it is sound.
//!
//! Rows carry everything that was given in (`row.rs` says how each looks) and nothing that can be made
//! anew: no index, no hash, no number of the store's own. What a store gave, an empty one takes and
//! gives again byte for byte. Nothing here changes what is already there.

mod backup;
mod check;
mod export;
mod import;
mod incoming;
mod mend;
mod probe;
mod row;

use std::sync::{Mutex, MutexGuard, TryLockError};

pub(crate) use backup::backup;
pub(crate) use check::check;
pub(crate) use export::export;
pub(crate) use import::import;
pub(crate) use mend::mend;
pub(crate) use probe::probe;

use crate::dispatch::CallError;

/// Work that holds a worker for seconds goes through here, one at a time, so that the other workers stay
/// with the calls that somebody waits for.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<()>);

impl Gate {
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
