//! Results of jobs, as the loop receives them.

use std::time::Instant;

use crate::dispatch::Panicked;

/// The result of a job.
pub(crate) enum Outcome<T> {
    /// Calls were answered.
    Replies(Delivery),
    /// A task of the control plane returned or panicked.
    Task(Result<T, Panicked>),
}

/// Replies to one connection's calls, in order; there may be none if the rest waits for memory.
pub(crate) struct Delivery {
    /// The connection's id.
    pub(crate) owner: u64,
    /// Reply lines.
    pub(crate) replies: Vec<u8>,
    /// Number of reply lines.
    pub(crate) count: usize,
    /// Number of them that are errors.
    pub(crate) errors: usize,
    /// When the calls were handed over.
    pub(crate) since: Instant,
    /// What happens to the rest of the batch.
    pub(crate) remainder: Remainder,
}

/// What happens to the calls after those whose replies are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Remainder {
    /// They continue, if there are any.
    Continues,
    /// They wait for [`Pool::resume`](super::Pool::resume), since the replies reach the output mark.
    WaitsForReader,
    /// They wait for [`Pool::resume`](super::Pool::resume), since the next one may not start while memory is short.
    WaitsForMemory,
}
