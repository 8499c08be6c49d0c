//! The bytes buffered for all connections, and which connections may be read if they exceed the limit.
//!
//! Over the limit, connections that hold little are still read; one that holds much waits. So that
//! many half-sent large lines cannot wait for each other for ever, one of the waiting connections at a time gets the
//! *pass*: it is read until its line is complete or its time is up, then the next one gets the pass.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits::Limits;

/// Counts the buffered bytes. Connections are identified by their tokens.
#[derive(Debug, Default)]
pub(crate) struct MemoryBudget {
    total_bytes: usize,
    waiting: VecDeque<usize>,
    pass: Option<Pass>,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    token: usize,
    until: Instant,
}

impl MemoryBudget {
    /// Returns the bytes held for all connections.
    pub(crate) fn total_bytes(&self) -> usize {
        self.total_bytes
    }

    /// Records that a connection that held `before` bytes holds `after` now.
    pub(crate) fn account(&mut self, before: usize, after: usize) {
        self.total_bytes = self.total_bytes - before + after;
    }

    /// Returns true if this connection, which holds `held` bytes, may be read.
    pub(crate) fn allows(&self, token: usize, held: usize, limits: &Limits) -> bool {
        self.total_bytes <= limits.max_memory_bytes
            || held < limits.small_holder_bytes
            || self.pass.is_some_and(|pass| pass.token == token)
    }

    /// Queues a connection that has input and may not be read, until [`MemoryBudget::admit_readers`] returns it.
    pub(crate) fn wait(&mut self, token: usize) {
        if !self.waiting.contains(&token) {
            self.waiting.push_back(token);
        }
    }

    /// Takes the pass from this connection, if it has it: it holds so little that it needs none.
    pub(crate) fn release(&mut self, token: usize) {
        if self.pass.is_some_and(|pass| pass.token == token) {
            self.pass = None;
        }
    }

    /// Forgets a connection that is closed.
    pub(crate) fn remove(&mut self, token: usize) {
        self.release(token);
        self.waiting.retain(|waiting| *waiting != token);
    }

    /// Calls `ready` for waiting connections that may be read again: for all of them if the total is within the limit,
    /// else for the next one if the pass is free or its time is up. Must be called whenever any of that may have
    /// changed; [`MemoryBudget::next_deadline`] covers the time alone.
    pub(crate) fn admit_readers(&mut self, now: Instant, limits: &Limits, mut ready: impl FnMut(usize)) {
        if self.waiting.is_empty() {
            return;
        }
        if self.total_bytes <= limits.max_memory_bytes {
            self.pass = None;
            self.waiting.drain(..).for_each(ready);
        } else if self.pass.is_none_or(|pass| pass.until <= now)
            && let Some(token) = self.waiting.pop_front()
        {
            self.pass = Some(Pass { token, until: now + limits.memory_pass });
            ready(token);
        }
    }

    /// Returns when the pass goes to the next connection, if one waits for it.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.pass.filter(|_| !self.waiting.is_empty()).map(|pass| pass.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_limit_small_holders_and_one_large_one_are_read() {
        let limits = Limits { max_memory_bytes: 1000, small_holder_bytes: 100, ..Limits::default() };
        let now = Instant::now();
        let mut budget = MemoryBudget::default();
        budget.account(0, 1000);
        assert!(budget.allows(1, 900, &limits));
        budget.account(900, 901);
        assert!(!budget.allows(1, 901, &limits));
        assert!(budget.allows(2, 99, &limits));

        for token in [1, 3, 1] {
            budget.wait(token);
        }
        let admitted = |budget: &mut MemoryBudget, now| {
            let mut ready = Vec::new();
            budget.admit_readers(now, &limits, |token| ready.push(token));
            ready
        };
        assert_eq!(admitted(&mut budget, now), [1]);
        assert!(budget.allows(1, 901, &limits) && !budget.allows(3, 901, &limits));
        assert_eq!(budget.next_deadline(), Some(now + limits.memory_pass));
        assert_eq!(admitted(&mut budget, now), [0; 0]);
        assert_eq!(admitted(&mut budget, now + limits.memory_pass), [3]);

        budget.wait(1);
        budget.release(3);
        assert_eq!(admitted(&mut budget, now), [1]);

        budget.wait(3);
        budget.wait(4);
        budget.remove(3);
        budget.remove(1);
        assert_eq!(admitted(&mut budget, now), [4]);

        budget.wait(3);
        budget.wait(5);
        budget.account(901, 0);
        assert_eq!(admitted(&mut budget, now), [3, 5]);
        assert_eq!(budget.next_deadline(), None);
    }
}
