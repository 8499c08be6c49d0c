//! The loop's own timers. If none is set, the loop sleeps without a timeout.

use std::collections::BTreeSet;
use std::time::Instant;

/// What is due, and when.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// When to retry accepting.
    pub(crate) accept: Option<Instant>,
    /// When to check whether a peer has stalled, with its token; at most one entry for each connection.
    pub(crate) stalled: BTreeSet<(Instant, usize)>,
}

impl Timers {
    /// Returns the earliest of these times and `others`.
    pub(crate) fn earliest(&self, others: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
        let stalled = self.stalled.first().map(|(at, _)| *at);
        others.into_iter().chain([self.accept, stalled]).flatten().min()
    }

    /// Returns true if it is time to retry accepting, and clears that timer.
    pub(crate) fn accept_due(&mut self, now: Instant) -> bool {
        self.accept.take_if(|at| *at <= now).is_some()
    }

    /// Removes and returns the token of a peer whose time is up.
    pub(crate) fn stalled_due(&mut self, now: Instant) -> Option<usize> {
        let (at, token) = *self.stalled.first()?;
        if at > now {
            return None;
        }
        self.stalled.pop_first();
        Some(token)
    }
}
