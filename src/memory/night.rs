//! What is done with the memory while nobody asks, for whoever knows when: a handle that may be used on
//! any thread that may wait.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use super::Memory;
use super::cycle::CHUNK;
use super::drain::{self, Drained};
use super::moment::Moment;
use super::morning::{self, Brought, Morning};
use super::task::task;
use super::writer::{Follow, Group};
use crate::dispatch::CallError;

/// A handle on the memory for the lifecycle. It keeps nothing open: what is asked after the memory was
/// closed is refused.
#[derive(Clone, Debug)]
pub struct Night {
    follow: Follow,
    morning: Arc<Morning>,
    /// The store's folder.
    folder: Arc<Path>,
}

impl Memory {
    /// A handle for the lifecycle.
    pub fn night(&self) -> Night {
        Night { follow: self.writer.follow(), morning: self.morning.clone(), folder: self.folder.clone() }
    }
}

impl Night {
    /// Takes in a small batch of what hooks have left, at `now_us` microseconds since 1970 in UTC. Waits
    /// for the disk.
    ///
    /// # Errors
    /// The database's; nothing was taken then. What is wrong with a file is no error.
    pub fn drain(&self, now_us: i64) -> Result<Drained, CallError> {
        let now = Moment(now_us);
        if let Some(next) = drain::idle(&self.folder, now) {
            return Ok(Drained { next, ..Drained::default() });
        }
        let folder = self.folder.clone();
        self.wait(move |group| drain::chunk(group, &folder, now, Instant::now() + CHUNK))
    }

    /// A session was opened, at `at_us` microseconds since 1970 in UTC: its first recall brings what was
    /// said last elsewhere, and the quiet window is learned from it. Waits for the disk.
    ///
    /// # Errors
    /// The database's; nothing is remembered of it then.
    pub fn session_opened(&self, session_id: &str, at_us: i64) -> Result<(), CallError> {
        let (session, at) = (session_id.to_owned(), Moment(at_us));
        self.wait(move |group| Ok(morning::keep_opened(group.connection, &session, at)?))?;
        self.morning.opened(session_id, at);
        Ok(())
    }

    /// When sessions were opened since `since_us`, in microseconds since 1970 in UTC, the first one first.
    /// Waits for the disk.
    ///
    /// # Errors
    /// The database's.
    pub fn session_starts(&self, since_us: i64) -> Result<Vec<i64>, CallError> {
        self.wait(move |group| Ok(morning::opened_since(group.connection, Moment(since_us))?))
    }

    /// What finished cycles have brought that no digest has shown yet. Never waits: the event loop may ask.
    pub fn brought(&self) -> Option<Brought> {
        self.morning.brought()
    }

    /// Runs this on the writer, and waits until it is on disk.
    fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Group<'_>) -> Result<T, CallError> + Send + 'static,
    ) -> Result<T, CallError> {
        let (sender, outcome) = mpsc::sync_channel(1);
        // Who asked waits below, for as long as the writer lives.
        self.follow.submit(task(0, work, move |made| drop(sender.send(made))));
        outcome.recv().unwrap_or_else(|_| Err(CallError::failed("the store's writer has stopped: nothing was stored")))
    }
}
