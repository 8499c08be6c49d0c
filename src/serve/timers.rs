//! The moments that the loop itself waits for. Where none is named, it sleeps without a timeout.

use std::collections::BTreeSet;
use std::time::Instant;

/// What is due, and when.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// Accepting is tried again.
    pub(crate) accept: Option<Instant>,
    /// Peers that may have stalled, by token, each once, the earliest first.
    pub(crate) stalled: BTreeSet<(Instant, usize)>,
}

impl Timers {
    /// The earliest of these and `others`.
    pub(crate) fn earliest(&self, others: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
        let stalled = self.stalled.first().map(|(at, _)| *at);
        others.into_iter().chain([self.accept, stalled]).flatten().min()
    }

    /// Is it time to try accepting again? Said once.
    pub(crate) fn accept_due(&mut self, now: Instant) -> bool {
        self.accept.take_if(|at| *at <= now).is_some()
    }

    /// The next peer whose time is up.
    pub(crate) fn stalled_due(&mut self, now: Instant) -> Option<usize> {
        let (at, token) = *self.stalled.first()?;
        if at > now {
            return None;
        }
        self.stalled.pop_first();
        Some(token)
    }
}
