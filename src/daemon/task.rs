//! What the control plane has done on a worker, and what comes of it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dispatch::{CallError, Panicked};
use crate::lifecycle::quiet_window::QuietWindow;
use crate::memory::{Chunk, Cycle, Drained};
use crate::serve::control_plane::Task;
use crate::sys::listener::{BindError, Listener};

/// What came of a task.
pub(crate) enum TaskResult {
    /// `.daemon-state.json` was written.
    State(io::Result<()>),
    /// `lifecycle_state.json` was written.
    Record(io::Result<()>),
    /// The journal was written.
    Journal(io::Result<()>),
    /// A cycle was begun.
    Began(Result<Cycle, CallError>),
    /// A chunk of it ran.
    Chunk(Chunk),
    /// A batch of deferred captures was taken in.
    Drained(Result<Drained, CallError>),
    /// The quiet window was learned.
    Learned(Result<Option<QuietWindow>, CallError>),
    /// It was looked whether the socket is in its place; a listener where it was bound again.
    Socket(Result<Option<Listener>, BindError>),
    /// What nobody waits for is done, as well as it could be.
    Other,
}

/// A task that ends with a value even where it panics.
pub(crate) fn guarded(
    work: impl FnOnce() -> TaskResult + Send + 'static,
    panicked: impl FnOnce(String) -> TaskResult + Send + 'static,
) -> Task<TaskResult> {
    Box::new(move || catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| panicked(Panicked::of(&*panic).0)))
}
