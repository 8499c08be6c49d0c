//! The results of the control plane's tasks, and a guard that turns a panic into one.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::dispatch::{CallError, Panicked};
use crate::lifecycle::quiet_window::QuietWindow;
use crate::memory::{ChunkOutcome, Cycle, DrainReport};
use crate::serve::control_plane::Task;
use crate::sys::listener::{BindError, Listener};

/// The result of a task.
pub(crate) enum TaskResult {
    /// Of writing `.daemon-state.json`.
    StateWritten(io::Result<()>),
    /// Of writing `lifecycle_state.json`.
    StatusWritten(io::Result<()>),
    /// Of writing the journal.
    JournalWritten(io::Result<()>),
    /// Of beginning a cycle.
    CycleBegun(Result<Cycle, CallError>),
    /// Of a chunk of the cycle.
    ChunkRan(ChunkOutcome),
    /// Of a batch of deferred captures.
    DrainReport(Result<DrainReport, CallError>),
    /// Of learning the quiet window.
    Learned(Result<Option<QuietWindow>, CallError>),
    /// Of checking the socket's path: a listener if it was bound again.
    SocketChecked(Result<Option<Listener>, BindError>),
    /// Of a task whose failure is only logged.
    Other,
}

/// Returns a task that ends with `panicked` of the message if `work` panics.
pub(crate) fn guarded(
    work: impl FnOnce() -> TaskResult + Send + 'static,
    panicked: impl FnOnce(String) -> TaskResult + Send + 'static,
) -> Task<TaskResult> {
    Box::new(move || catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| panicked(Panicked::of(&*panic).0)))
}
