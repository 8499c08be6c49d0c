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

/// Replies to one connection's calls, in order.
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
    /// The rest of the batch waits for [`Pool::resume`](super::Pool::resume).
    pub(crate) paused: bool,
}
