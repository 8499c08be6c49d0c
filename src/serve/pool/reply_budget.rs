//! The bytes of replies that are under construction or unread, and which calls may start if there are too many.
//!
//! Workers add the replies that they render; the loop subtracts what it has written or dropped. The loop also keeps the
//! rest of the memory budget (`serve/memory_budget.rs`), which states the invariant.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The id of no connection.
const NO_CONNECTION: u64 = u64::MAX;

/// Shared by the loop and the workers.
#[derive(Debug)]
pub(crate) struct ReplyBudget {
    bytes: AtomicUsize,
    /// From here on only the connection with the pass may start a call.
    mark_bytes: usize,
    /// From here on it may not either. `mark_bytes <= limit_bytes`.
    limit_bytes: usize,
    /// The id of the connection with the pass.
    pass: AtomicU64,
}

impl ReplyBudget {
    pub(crate) fn new(mark_bytes: usize, limit_bytes: usize) -> ReplyBudget {
        ReplyBudget { bytes: AtomicUsize::new(0), mark_bytes, limit_bytes, pass: AtomicU64::new(NO_CONNECTION) }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns true if the replies reach the mark.
    pub(crate) fn is_short(&self) -> bool {
        self.bytes() >= self.mark_bytes
    }

    /// Returns the bytes that are left up to the limit.
    pub(crate) fn headroom(&self) -> usize {
        self.limit_bytes.saturating_sub(self.bytes())
    }

    /// Returns true if the connection `owner` may start a call whose reply may be large.
    pub(crate) fn may_start(&self, owner: u64) -> bool {
        let bytes = self.bytes();
        bytes < self.mark_bytes || (bytes < self.limit_bytes && self.pass.load(Ordering::Relaxed) == owner)
    }

    /// Gives the pass to this connection, or to none.
    pub(crate) fn set_pass(&self, id: Option<u64>) {
        self.pass.store(id.unwrap_or(NO_CONNECTION), Ordering::Relaxed);
    }
}
