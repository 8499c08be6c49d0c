//! Memory held for all connections, and who may add to it when it is short.
//!
//! Over the limit, connections that hold little are still read; one that holds much waits. So that
//! many half-sent large lines cannot wait for each other for ever, one of those that wait has the
//! *pass*: it is read until its line is through or its time is up, then the next one is.

use std::collections::VecDeque;
use std::time::Instant;

use crate::limits::Limits;

/// The account of buffered bytes. Connections are named by their tokens.
#[derive(Debug, Default)]
pub(crate) struct MemoryBudget {
    total: usize,
    waiting: VecDeque<usize>,
    pass: Option<Pass>,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    token: usize,
    until: Instant,
}

impl MemoryBudget {
    /// Bytes held for all.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// A connection held `before` bytes and holds `after` now.
    pub(crate) fn account(&mut self, before: usize, after: usize) {
        self.total = self.total - before + after;
    }

    /// May this connection, which holds `held` bytes, be read?
    pub(crate) fn allows(&self, token: usize, held: usize, limits: &Limits) -> bool {
        self.total <= limits.max_memory_bytes
            || held < limits.small_holder_bytes
            || self.pass.is_some_and(|pass| pass.token == token)
    }

    /// This connection wants to be read and may not. It comes back from [`MemoryBudget::relieve`].
    pub(crate) fn wait(&mut self, token: usize) {
        if !self.waiting.contains(&token) {
            self.waiting.push_back(token);
        }
    }

    /// This connection holds so little that it needs no pass.
    pub(crate) fn release(&mut self, token: usize) {
        if self.pass.is_some_and(|pass| pass.token == token) {
            self.pass = None;
        }
    }

    /// This connection has ended.
    pub(crate) fn leave(&mut self, token: usize) {
        self.release(token);
        self.waiting.retain(|waiting| *waiting != token);
    }

    /// Puts connections that may be read again into `ready`: all of them when there is room, else
    /// the next one when the pass is free or its time is up. To be called whenever any of that may
    /// have changed: [`MemoryBudget::next_moment`] tells of time alone.
    pub(crate) fn relieve(&mut self, now: Instant, limits: &Limits, mut ready: impl FnMut(usize)) {
        if self.waiting.is_empty() {
            return;
        }
        if self.total <= limits.max_memory_bytes {
            self.pass = None;
            self.waiting.drain(..).for_each(ready);
        } else if self.pass.is_none_or(|pass| pass.until <= now) {
            let token = self.waiting.pop_front().expect("somebody waits");
            self.pass = Some(Pass { token, until: now + limits.memory_pass });
            ready(token);
        }
    }

    /// When the pass goes to the next one, if somebody waits for it.
    pub(crate) fn next_moment(&self) -> Option<Instant> {
        self.pass.filter(|_| !self.waiting.is_empty()).map(|pass| pass.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_the_limit_only_small_holders_and_one_large_are_read() {
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
        let relieved = |budget: &mut MemoryBudget, now| {
            let mut ready = Vec::new();
            budget.relieve(now, &limits, |token| ready.push(token));
            ready
        };
        assert_eq!(relieved(&mut budget, now), [1]);
        assert!(budget.allows(1, 901, &limits) && !budget.allows(3, 901, &limits));
        assert_eq!(budget.next_moment(), Some(now + limits.memory_pass));
        assert_eq!(relieved(&mut budget, now), [0; 0]);
        assert_eq!(relieved(&mut budget, now + limits.memory_pass), [3]);

        budget.wait(1);
        budget.release(3);
        assert_eq!(relieved(&mut budget, now), [1]);

        budget.wait(3);
        budget.wait(4);
        budget.leave(3);
        budget.leave(1);
        assert_eq!(relieved(&mut budget, now), [4]);

        budget.wait(3);
        budget.wait(5);
        budget.account(901, 0);
        assert_eq!(relieved(&mut budget, now), [3, 5]);
        assert_eq!(budget.next_moment(), None);
    }
}
