//! What is done with the memory while nobody asks, for whoever knows when: a handle that may be used on
//! any thread that may wait.

use std::path::Path;
use std::sync::Arc;

use super::Memory;
use super::drain::{self, Drained};
use super::moment::Moment;
use super::writer::Follow;
use crate::dispatch::CallError;

/// A handle on the memory for the lifecycle. It keeps nothing open: what is asked after the memory was
/// closed is refused.
#[derive(Clone, Debug)]
pub struct Night {
    follow: Follow,
    /// The store's folder.
    folder: Arc<Path>,
}

impl Memory {
    /// A handle for the lifecycle.
    pub fn night(&self) -> Night {
        Night { follow: self.writer.follow(), folder: self.folder.clone() }
    }
}

impl Night {
    /// Takes in a small batch of what hooks have left, at `now_us` microseconds since 1970 in UTC. Waits
    /// for the disk.
    ///
    /// # Errors
    /// The database's; nothing was taken then. What is wrong with a file is no error.
    pub fn drain(&self, now_us: i64) -> Result<Drained, CallError> {
        drain::batch(&self.follow, &self.folder, Moment(now_us))
    }
}
