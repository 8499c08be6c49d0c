//! The bytes buffered for all connections, and who may add to them while memory is short.
//!
//! Invariant: whatever clients do, at most [`Limits::max_memory_bytes`] are held, and beyond them one reply a worker and
//! one small reply a connection. There are two accounts, so that neither kind of memory can block the other:
//!
//! | account | what it counts | limit | over its mark grows only by |
//! |---|---|---|---|
//! | input | unread lines, and those of requests without a reply | 3/4 of the memory | shares, and one connection's line |
//! | replies | under construction, and unread | 1/4 of the memory | one connection's calls, and small replies |
//!
//! A *share* is an equal part of what is left below the limit, less a line, so it shrinks as connections and what they
//! hold grow, and all shares fit. The one connection is the holder of the account's *pass* ([`PassQueue`]). The line that
//! was read with the pass last is not counted against the shares; another is read with it only if both fit.
//!
//! An account that stays over its mark while connections wait for it is relieved: [`MemoryBudget::relief`] says what is
//! given up. Connections are identified by their ids.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::limits::Limits;
use crate::serve::pool::ReplyBudget;
use crate::wire::session::ReplyBounds;

/// How often connections are searched for memory to give up.
const RELIEF_INTERVAL: Duration = Duration::from_millis(100);

/// Growth by which an incomplete line counts as making progress. Picked: a page.
const PROGRESS_BYTES: usize = 4 << 10;

/// Both accounts.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    input_bytes: usize,
    /// Up to here every connection is read.
    input_mark_bytes: usize,
    /// All input but [`MemoryBudget::excess`] ends here.
    input_shares_bytes: usize,
    /// The connection that had the pass to be read last, and the input that it holds: at most a line.
    excess: Option<(u64, usize)>,
    replies: Arc<ReplyBudget>,
    /// Connections that wait to be read.
    readers: PassQueue,
    /// Connections that wait to start a call.
    callers: PassQueue,
    /// When connections are to be searched for memory to give up.
    relief_at: Option<Instant>,
}

/// What [`MemoryBudget::relief`] asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Relief {
    /// Connections wait to start a call: unread output is to be given up.
    pub(crate) output: bool,
    /// Connections wait to be read: incomplete lines are to be given up.
    pub(crate) input: bool,
}

/// The progress of a connection's incomplete line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineProgress {
    since: Instant,
    bytes: usize,
}

impl MemoryBudget {
    pub(crate) fn new(limits: &Limits) -> MemoryBudget {
        let replies_limit = limits.max_memory_bytes / 4;
        let input_limit = limits.max_memory_bytes - replies_limit;
        let input_shares_bytes = input_limit.saturating_sub(limits.max_line_bytes + 1);
        MemoryBudget {
            input_bytes: 0,
            input_mark_bytes: input_shares_bytes / 4 * 3,
            input_shares_bytes,
            excess: None,
            replies: Arc::new(ReplyBudget::new(replies_limit / 4 * 3, replies_limit)),
            readers: PassQueue::default(),
            callers: PassQueue::default(),
            relief_at: None,
        }
    }

    /// Returns the account of replies, which the workers add to.
    pub(crate) fn replies(&self) -> &Arc<ReplyBudget> {
        &self.replies
    }

    /// Returns the bytes held for all connections.
    pub(crate) fn total_bytes(&self) -> usize {
        self.input_bytes + self.replies.bytes()
    }

    /// Records that this connection, whose input counts as `*counted`, holds `held` bytes of it now.
    pub(crate) fn count_input(&mut self, id: u64, counted: &mut usize, held: usize) {
        self.input_bytes = self.input_bytes - *counted + held;
        *counted = held;
        if let Some((excess, bytes)) = &mut self.excess
            && *excess == id
        {
            *bytes = held;
        }
    }

    /// Records that a connection whose output counts as `*counted` holds `held` bytes of it now.
    pub(crate) fn count_output(&self, counted: &mut usize, held: usize) {
        if held > *counted {
            self.replies.add(held - *counted);
        } else if held < *counted {
            self.replies.subtract(*counted - held);
        }
        *counted = held;
    }

    /// Returns how many bytes may be read now from this connection, one of `connections`, which holds `held` bytes of
    /// input.
    pub(crate) fn input_room(&self, id: u64, held: usize, connections: usize, limits: &Limits) -> usize {
        let shared = self.input_bytes - self.excess.map_or(0, |(_, bytes)| bytes);
        let left = self.input_shares_bytes.saturating_sub(shared);
        if self.input_bytes <= self.input_mark_bytes {
            // Half of the space above the mark is left for shares.
            (self.input_mark_bytes + self.input_shares_bytes) / 2 - self.input_bytes
        } else if self.readers.has_pass(id) {
            usize::MAX
        } else {
            (left / connections.max(1)).min(limits.small_holder_bytes).saturating_sub(held)
        }
    }

    /// Returns the bounds on the replies to this connection, one of `connections`: how much unread output ends the
    /// serving of its lines, and whether a long id may be echoed.
    pub(crate) fn reply_bounds(&self, id: u64, connections: usize, limits: &Limits) -> ReplyBounds {
        if !self.replies.is_short() {
            return ReplyBounds::of(limits);
        }
        let share = self.replies.headroom() / connections.max(1);
        ReplyBounds {
            output_mark_bytes: share.clamp(1, limits.output_mark_bytes),
            has_small_replies: !self.replies.may_start(id),
        }
    }

    /// Queues a connection that has input and may not be read, until [`MemoryBudget::admit`] returns it.
    pub(crate) fn wait_to_be_read(&mut self, id: u64) {
        self.readers.wait(id);
    }

    /// Queues a connection with a call that may not start, until [`MemoryBudget::admit`] returns it.
    pub(crate) fn wait_to_call(&mut self, id: u64) {
        self.callers.wait(id);
    }

    /// Takes the pass to be read from this connection, if it has it.
    pub(crate) fn end_reading(&mut self, id: u64) {
        self.readers.release(id);
    }

    /// Takes the pass to call from this connection, if it has it.
    pub(crate) fn end_calling(&mut self, id: u64) {
        if self.callers.release(id) {
            self.replies.set_pass(None);
        }
    }

    /// Forgets a connection that is closed.
    pub(crate) fn remove(&mut self, id: u64) {
        self.end_reading(id);
        self.end_calling(id);
        self.readers.forget(id);
        self.callers.forget(id);
        self.excess.take_if(|(excess, _)| *excess == id);
    }

    /// Calls `ready` for waiting connections that may continue: under an account's mark for those that wait for it
    /// (calls a few at a time, since the size of their replies is unknown), else for the next holder of its pass if
    /// that is free or its time is up, and the account can take what it adds. Must be called whenever any of that may
    /// have changed; [`MemoryBudget::next_deadline`] covers the time alone.
    pub(crate) fn admit(&mut self, now: Instant, limits: &Limits, mut ready: impl FnMut(u64)) {
        if self.readers.is_empty() && self.callers.is_empty() {
            self.relief_at = None;
            return;
        }
        let until = now + limits.memory_pass;
        if self.input_bytes <= self.input_mark_bytes {
            self.readers.admit(usize::MAX, &mut ready);
        } else if self.input_bytes <= self.input_shares_bytes {
            if let Some(id) = self.readers.grant(now, until, &mut ready) {
                self.excess = Some((id, 0));
            }
        } else if let Some((id, _)) = self.excess {
            self.readers.grant_to(id, until, &mut ready);
        }
        if !self.replies.is_short() {
            self.replies.set_pass(None);
            self.callers.admit(limits.workers, &mut ready);
        } else if self.replies.headroom() > 0 {
            let replies = &self.replies;
            self.callers.grant(now, until, |id| {
                replies.set_pass(Some(id));
                ready(id);
            });
        }
        self.relief_at = self.needed_relief().and(self.relief_at.or(Some(now + RELIEF_INTERVAL)));
    }

    /// Returns what is to be given up now, at most once in [`RELIEF_INTERVAL`].
    pub(crate) fn relief(&mut self, now: Instant) -> Option<Relief> {
        self.relief_at.take_if(|at| *at <= now)?;
        self.needed_relief()
    }

    /// Returns what is to be given up once it is time: `None` unless connections wait for an account over its mark.
    pub(crate) fn needed_relief(&self) -> Option<Relief> {
        let relief = Relief {
            output: !self.callers.is_empty() && self.replies.is_short(),
            input: !self.readers.is_empty() && self.input_bytes > self.input_mark_bytes,
        };
        (relief.output || relief.input).then_some(relief)
    }

    /// Returns when [`MemoryBudget::admit`] or [`MemoryBudget::relief`] must be called at the latest.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        [self.readers.deadline(), self.callers.deadline(), self.relief_at].into_iter().flatten().min()
    }
}

impl LineProgress {
    /// Updates the progress of a line of which `bytes` have arrived; 0 if no incomplete line is held.
    pub(crate) fn update(progress: &mut Option<Box<LineProgress>>, bytes: usize, now: Instant) {
        match progress {
            _ if bytes == 0 => *progress = None,
            Some(last) if (last.bytes..last.bytes + PROGRESS_BYTES).contains(&bytes) => {}
            _ => *progress = Some(Box::new(LineProgress { since: now, bytes })),
        }
    }

    /// Returns true if the line has made no progress for `time`.
    pub(crate) fn has_stalled_for(&self, time: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= time
    }
}

/// Connections that wait for an account, and the one that has the pass: it may add to the account although it is over
/// its mark, until it needs to no longer or its time is up.
///
/// Next is in turn the connection that has waited longest, so that none waits for ever, and the one that has waited
/// shortest: among many that stand still it is the one that has just sent something.
#[derive(Debug, Default)]
struct PassQueue {
    /// Ids by the order of their arrival.
    waiting: BTreeMap<u64, u64>,
    orders: HashMap<u64, u64>,
    arrivals: u64,
    pass: Option<Pass>,
    /// Next is the one that has waited shortest.
    newest_is_next: bool,
}

#[derive(Clone, Copy, Debug)]
struct Pass {
    id: u64,
    until: Instant,
}

impl PassQueue {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn has_pass(&self, id: u64) -> bool {
        self.pass.is_some_and(|pass| pass.id == id)
    }

    fn wait(&mut self, id: u64) {
        if !self.orders.contains_key(&id) {
            self.orders.insert(id, self.arrivals);
            self.waiting.insert(self.arrivals, id);
            self.arrivals += 1;
        }
    }

    /// Takes the pass from this connection. Returns true if it had it.
    fn release(&mut self, id: u64) -> bool {
        self.pass.take_if(|pass| pass.id == id).is_some()
    }

    /// Ends the wait of this connection. Returns true if it waited.
    fn forget(&mut self, id: u64) -> bool {
        self.orders.remove(&id).and_then(|order| self.waiting.remove(&order)).is_some()
    }

    /// Calls `ready` for the next `most` connections. None needs the pass.
    fn admit(&mut self, most: usize, mut ready: impl FnMut(u64)) {
        self.pass = None;
        for _ in 0..most {
            let Some(id) = self.next() else { return };
            self.forget(id);
            ready(id);
        }
    }

    /// Returns the connection whose turn it is: the one that has waited longest and the one that has waited shortest in
    /// turn.
    fn next(&mut self) -> Option<u64> {
        let next = if self.newest_is_next { self.waiting.last_key_value() } else { self.waiting.first_key_value() };
        let id = *next?.1;
        self.newest_is_next = !self.newest_is_next;
        Some(id)
    }

    /// Gives the pass to the next connection, if it is free or its time is up. Returns the connection.
    fn grant(&mut self, now: Instant, until: Instant, ready: impl FnMut(u64)) -> Option<u64> {
        if self.pass.is_some_and(|pass| pass.until > now) {
            return None;
        }
        let id = self.next()?;
        self.grant_to(id, until, ready);
        Some(id)
    }

    /// Gives the pass to this connection, if it waits.
    fn grant_to(&mut self, id: u64, until: Instant, mut ready: impl FnMut(u64)) {
        if self.forget(id) {
            self.pass = Some(Pass { id, until });
            ready(id);
        }
    }

    /// Returns when the pass goes to the next connection, if one waits for it.
    fn deadline(&self) -> Option<Instant> {
        self.pass.filter(|_| !self.waiting.is_empty()).map(|pass| pass.until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Input is free up to 300 bytes, shares end at 400, a line has 199: at most 600 bytes are held. Replies: 150, 200.
    fn limits() -> Limits {
        Limits {
            max_memory_bytes: 800,
            max_line_bytes: 199,
            small_holder_bytes: 60,
            output_mark_bytes: 64,
            ..Limits::default()
        }
    }

    fn admitted(budget: &mut MemoryBudget, now: Instant) -> Vec<u64> {
        let mut ready = Vec::new();
        budget.admit(now, &limits(), |id| ready.push(id));
        ready
    }

    #[test]
    fn over_the_mark_connections_are_read_up_to_their_share() {
        let (limits, mut budget) = (limits(), MemoryBudget::new(&limits()));
        let mut counted = 0;
        budget.count_input(99, &mut counted, 300);
        assert_eq!(budget.input_room(1, 300, 1, &limits), 50, "up to the mark: half of what is left for shares");
        budget.count_input(99, &mut counted, 301);
        for (held, connections, room) in [(0, 1, 60), (0, 2, 49), (40, 2, 9), (49, 2, 0), (0, 90, 1), (0, 100, 0)] {
            assert_eq!(
                budget.input_room(2, held, connections, &limits),
                room,
                "{held} bytes, {connections} connections"
            );
        }
        budget.wait_to_be_read(2);
        assert_eq!(admitted(&mut budget, Instant::now()), [2]);
        assert_eq!(budget.input_room(2, 180, 100, &limits), usize::MAX, "the holder of the pass");
        budget.end_reading(2);
        assert_eq!(budget.input_room(2, 180, 100, &limits), 0);
    }

    #[test]
    fn shares_of_any_number_of_connections_fit() {
        for limits in [Limits::default(), limits(), Limits { max_memory_bytes: 2 << 20, ..Limits::default() }] {
            let mut budget = MemoryBudget::new(&limits);
            let mut held = vec![0; 5000];
            for connections in 1..=held.len() {
                for token in [0, connections / 2, connections - 1] {
                    let mut counted = held[token];
                    let room = budget.input_room(token as u64, counted, connections, &limits).min(limits.turn_bytes);
                    budget.count_input(token as u64, &mut counted, held[token] + room);
                    held[token] = counted;
                }
            }
            let most = limits.max_memory_bytes / 4 * 3 - limits.max_line_bytes;
            assert!(
                budget.input_bytes <= most && budget.input_bytes > budget.input_mark_bytes,
                "{}",
                budget.input_bytes
            );
        }
    }

    #[test]
    fn the_pass_goes_to_the_longest_and_to_the_shortest_wait_in_turn() {
        let (limits, mut budget) = (limits(), MemoryBudget::new(&limits()));
        let now = Instant::now();
        let mut counted = 0;
        budget.count_input(99, &mut counted, 350);
        for id in [1, 2, 3, 4, 5, 1] {
            budget.wait_to_be_read(id);
        }
        assert_eq!(admitted(&mut budget, now), [1]);
        assert_eq!(budget.readers.deadline(), Some(now + limits.memory_pass));
        assert_eq!(admitted(&mut budget, now), [0; 0], "it has the pass");
        assert_eq!(admitted(&mut budget, now + limits.memory_pass), [5], "its time is up");
        budget.end_reading(5);
        assert_eq!(admitted(&mut budget, now), [2]);
        budget.remove(2);
        budget.remove(4);
        budget.count_input(99, &mut counted, 401);
        assert_eq!(admitted(&mut budget, now), [0; 0], "there is no space for a line");
        budget.count_input(99, &mut counted, 400);
        assert_eq!(admitted(&mut budget, now), [3]);
        budget.wait_to_be_read(6);
        budget.wait_to_be_read(7);
        budget.count_input(99, &mut counted, 300);
        assert_eq!(admitted(&mut budget, now), [6, 7], "all, up to the mark");
        assert_eq!(budget.next_deadline(), None);
    }

    #[test]
    fn one_line_may_exceed_the_shares_and_be_completed() {
        let (limits, mut budget) = (limits(), MemoryBudget::new(&limits()));
        let now = Instant::now();
        let (mut first, mut other) = (0, 0);
        budget.count_input(2, &mut other, 301);
        budget.wait_to_be_read(1);
        assert_eq!(admitted(&mut budget, now), [1]);
        budget.count_input(1, &mut first, 150);
        assert_eq!(budget.input_room(3, 0, 9, &limits), 11, "it takes no part of the shares");
        budget.end_reading(1);
        budget.wait_to_be_read(2);
        assert_eq!(admitted(&mut budget, now), [0; 0], "another line does not fit");
        budget.wait_to_be_read(1);
        assert_eq!(admitted(&mut budget, now), [1]);
        budget.count_input(1, &mut first, 0);
        budget.end_reading(1);
        assert_eq!(admitted(&mut budget, now), [2]);
    }

    #[test]
    fn over_the_mark_one_connection_calls_at_a_time() {
        let (limits, mut budget) = (limits(), MemoryBudget::new(&limits()));
        let (now, replies) = (Instant::now(), Arc::clone(budget.replies()));
        let all = ReplyBounds { output_mark_bytes: 64, has_small_replies: false };
        replies.add(149);
        assert!(replies.may_start(1) && budget.reply_bounds(1, 9, &limits) == all);
        replies.add(1);
        let few = ReplyBounds { output_mark_bytes: 5, has_small_replies: true };
        assert!(!replies.may_start(1) && budget.reply_bounds(1, 9, &limits) == few);
        budget.wait_to_call(1);
        budget.wait_to_call(2);
        assert_eq!(admitted(&mut budget, now), [1]);
        assert!(replies.may_start(1) && !replies.may_start(2));
        assert!(!budget.reply_bounds(1, 9, &limits).has_small_replies);
        replies.add(50);
        assert!(!replies.may_start(1), "not over the limit");
        budget.end_calling(1);
        assert_eq!(admitted(&mut budget, now), [0; 0]);
        replies.subtract(1);
        assert_eq!(admitted(&mut budget, now), [2]);
        budget.remove(2);
        assert!(!replies.may_start(2));
        (3..9).for_each(|id| budget.wait_to_call(id));
        let mut output = 199;
        budget.count_output(&mut output, 149);
        assert_eq!(admitted(&mut budget, now), [3, 8], "one for each worker");
        assert_eq!((output, budget.total_bytes()), (149, 149));
    }

    #[test]
    fn memory_is_given_up_only_while_connections_wait_for_it() {
        let mut budget = MemoryBudget::new(&limits());
        let start = Instant::now();
        let after = |times| start + times * RELIEF_INTERVAL;
        let mut counted = 0;
        budget.count_input(99, &mut counted, 401);
        budget.replies().add(200);
        admitted(&mut budget, start);
        assert_eq!((budget.relief(after(9)), budget.next_deadline()), (None, None));
        budget.wait_to_be_read(1);
        admitted(&mut budget, after(9));
        assert_eq!((budget.relief(after(9)), budget.next_deadline()), (None, Some(after(10))));
        assert_eq!(budget.relief(after(10)), Some(Relief { input: true, output: false }));
        budget.wait_to_call(1);
        admitted(&mut budget, after(10));
        assert_eq!(budget.relief(after(10)), None, "not at each turn");
        assert_eq!(budget.relief(after(11)), Some(Relief { input: true, output: true }));
        admitted(&mut budget, after(11));
        budget.count_input(99, &mut counted, 300);
        budget.replies().subtract(51);
        assert_eq!(budget.relief(after(12)), None);
    }

    #[test]
    fn a_line_that_trickles_makes_no_progress() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut line = None;
        let mut stalled = |bytes, now: Instant| {
            LineProgress::update(&mut line, bytes, now);
            line.as_ref().map(|line| line.has_stalled_for(Duration::from_secs(3), now))
        };
        for (bytes, secs, want) in [
            (100, 0, Some(false)),
            (100 + PROGRESS_BYTES - 1, 2, Some(false)),
            (100 + PROGRESS_BYTES - 1, 3, Some(true)),
            (100 + PROGRESS_BYTES, 3, Some(false)),
            (100 + PROGRESS_BYTES, 5, Some(false)),
            (100 + PROGRESS_BYTES, 6, Some(true)),
            // Another line.
            (10, 6, Some(false)),
            (10, 8, Some(false)),
            (0, 9, None),
        ] {
            assert_eq!(stalled(bytes, at(secs)), want, "{bytes} bytes after {secs} s");
        }
    }
}
