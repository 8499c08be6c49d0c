//! The state of one connection without its socket.
//!
//! The session owns the peer's input and output and keeps their order: it passes each line to the server
//! when its turn has come, and each line gets exactly one reply.
//!
//! Caller's contract: it moves bytes from the socket into [`Session::room`] and from [`Session::output`] to
//! the socket, and passes the replies of deferred requests to [`Session::answered`].
//!
//! ```text
//!   room/filled → lines → serve ─┬─ Answered → output → wrote
//!                                ├─ Later ……… answered → output
//!                                └─ NotNow (passed again)
//! ```

use crate::limits::Limits;
use crate::wire::control::Control;
use crate::wire::line::{Line, LineBuffer};
use crate::wire::message::{self, Call, Message};
use crate::wire::reply::{self, CallError, code};

/// The state of a connection.
#[derive(Debug)]
pub(crate) struct Session {
    input: LineBuffer,
    output: Vec<u8>,
    /// Bytes of `output` that were written to the peer. `written <= output.len()`.
    written: usize,
    /// Deferred requests without a reply.
    pending: usize,
    /// The length of their lines.
    pending_bytes: usize,
    phase: Phase,
    peer: Peer,
    /// The next line waits until its reply may be large.
    postponed: bool,
    /// Replies dropped since the last call of [`Session::take_dropped`].
    dropped: usize,
}

/// Buffers that a server of many sessions lends to the one that it serves, so that an idle session has none.
#[derive(Debug, Default)]
pub(crate) struct Storage {
    /// The input buffer; its length counts, see [`LineBuffer::lend`].
    pub(crate) input: Vec<u8>,
    /// The output buffer, empty.
    pub(crate) output: Vec<u8>,
    /// Empty buffers of short replies, for later replies.
    pub(crate) spare: Vec<Vec<u8>>,
}

/// Most buffers in [`Storage::spare`], and the largest capacity of each.
const SPARE_COUNT: usize = 64;
const SPARE_BYTES: usize = 4 << 10;

/// Bounds on the replies to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyBounds {
    /// Waiting output from which no more input is served.
    pub(crate) output_mark_bytes: usize,
    /// A line whose id is longer than [`SMALL_ID_BYTES`], and would be echoed, waits.
    pub(crate) has_small_replies: bool,
}

/// Longest id, in bytes, of a line whose reply counts as small.
pub(crate) const SMALL_ID_BYTES: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The peer has shut down its sending side: the lines received are served.
    HalfClosed,
    /// The server is stopping: the whole lines received are served, and no more is read.
    Draining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Reading,
    /// The peer reads no more: its requests are still carried out, and their replies are dropped.
    Gone,
}

/// A request whose turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    /// A JSON-RPC call.
    Call(Call<'a>),
    /// A control message.
    Control(Control<'a>),
}

/// Whether a request may be answered immediately.
#[derive(Debug)]
pub(crate) enum Turn<'a> {
    /// All earlier requests are answered: the reply may be appended to this buffer.
    First(&'a mut Vec<u8>),
    /// Earlier requests have no reply yet.
    Behind,
}

/// What the server did with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// It appended the reply to the output. Only allowed for [`Turn::First`].
    Answered,
    /// It deferred the request: the reply is passed to [`Session::answered`].
    Later,
    /// It did not accept the request, which is passed to it again.
    NotNow,
}

/// The kind of line that [`Session::serve`] consumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// White space, which gets no reply.
    Blank,
    /// A request, answered or deferred by the server.
    Request,
    /// An invalid line, answered with an error by the session.
    Invalid,
}

impl ReplyBounds {
    /// Returns the bounds while memory is not short.
    pub(crate) fn of(limits: &Limits) -> ReplyBounds {
        ReplyBounds { output_mark_bytes: limits.output_mark_bytes, has_small_replies: false }
    }
}

impl Session {
    /// Creates the session of a new connection.
    pub(crate) fn new(limits: &Limits) -> Session {
        Session {
            input: LineBuffer::new(limits.max_line_bytes),
            output: Vec::new(),
            written: 0,
            pending: 0,
            pending_bytes: 0,
            phase: Phase::Open,
            peer: Peer::Reading,
            postponed: false,
            dropped: 0,
        }
    }

    /// Returns true if more input should be read. It should not be while the waiting output is over its
    /// mark, while requests are deferred and much input is held, or after the end of the input.
    pub(crate) fn wants_input(&self, bounds: ReplyBounds, limits: &Limits) -> bool {
        self.phase == Phase::Open
            && self.waiting_output() < bounds.output_mark_bytes
            && (self.pending == 0 || self.held_input() < limits.small_holder_bytes)
    }

    /// Returns free space for at most `most` bytes of input. It is empty if the line limit is already held.
    pub(crate) fn room(&mut self, most: usize, limits: &Limits) -> &mut [u8] {
        self.input.room(most.min((limits.max_line_bytes + 1).saturating_sub(self.held_input())))
    }

    /// Adds the first `count` bytes of the last [`Session::room`] to the input.
    pub(crate) fn filled(&mut self, count: usize) {
        self.input.filled(count);
    }

    /// Records that the peer has shut down its sending side. Remaining bytes without a newline are a line.
    pub(crate) fn input_ended(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::HalfClosed;
            self.input.ended();
        }
    }

    /// Records that the server is stopping: no more is read.
    pub(crate) fn drain(&mut self) {
        self.phase = Phase::Draining;
    }

    /// Records that the peer reads no more.
    pub(crate) fn peer_gone(&mut self) {
        self.peer = Peer::Gone;
        self.drop_replies();
    }

    /// Returns true if the peer reads no more.
    pub(crate) fn is_peer_gone(&self) -> bool {
        self.peer == Peer::Gone
    }

    /// Consumes the next line if the bounds on its reply allow it, passing a request to `take`. Returns `None`
    /// if there is no line or it has to wait.
    pub(crate) fn serve(
        &mut self,
        bounds: ReplyBounds,
        limits: &Limits,
        take: impl FnOnce(Request<'_>, Turn<'_>) -> Disposition,
    ) -> Option<Served> {
        self.consume_line(bounds, limits, take)
    }

    /// Answers the oldest `requests` deferred requests with these reply lines, in order.
    ///
    /// # Panics
    /// If fewer requests are deferred.
    pub(crate) fn answered(&mut self, requests: usize, replies: Vec<u8>) {
        assert!(requests <= self.pending, "more replies than requests");
        self.pending -= requests;
        if self.pending == 0 {
            self.pending_bytes = 0;
        }
        match self.peer {
            Peer::Reading if self.output.is_empty() => self.output = replies,
            Peer::Reading => self.output.extend_from_slice(&replies),
            Peer::Gone => self.dropped += requests,
        }
    }

    /// Answers every remaining whole line with -32001, in order, even if the output is over its mark, and
    /// returns their number. No request may be deferred.
    pub(crate) fn refuse_rest(&mut self, why: &str, limits: &Limits) -> usize {
        let mut refused = 0;
        let bounds = ReplyBounds { output_mark_bytes: usize::MAX, has_small_replies: false };
        while let Some(served) = self.consume_line(bounds, limits, |request, turn| {
            let Turn::First(out) = turn else { return Disposition::NotNow };
            refuse(out, &request, why);
            Disposition::Answered
        }) {
            refused += usize::from(served != Served::Blank);
        }
        refused
    }

    /// Returns the reply bytes that are not written yet.
    pub(crate) fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// Removes the first `count` bytes of [`Session::output`], which were written to the peer.
    ///
    /// # Panics
    /// If `count` is larger than the output.
    pub(crate) fn wrote(&mut self, count: usize) {
        assert!(count <= self.waiting_output(), "wrote more than the output");
        self.written += count;
        if self.written == self.output.len() {
            self.drop_output();
        } else if self.written > self.output.len() / 2 {
            // Frees the written part, which would grow without a bound for a peer that never catches up.
            self.output.drain(..self.written);
            self.written = 0;
        }
    }

    /// Takes over the storage of another session; see [`LineBuffer::lend`].
    pub(crate) fn lend(&mut self, storage: &mut Storage) {
        self.input.lend(&mut storage.input);
        if self.output.capacity() == 0 {
            self.output = std::mem::take(&mut storage.output);
        }
    }

    /// Releases unneeded storage; see [`LineBuffer::give_back`].
    pub(crate) fn give_back(&mut self, storage: &mut Storage) {
        self.input.give_back(&mut storage.input);
        if !self.output.is_empty() {
            self.output.shrink_to_fit();
        } else if self.output.capacity() > storage.output.capacity() {
            storage.output = std::mem::take(&mut self.output);
        } else {
            let output = std::mem::take(&mut self.output);
            if storage.spare.len() < SPARE_COUNT && (1..=SPARE_BYTES).contains(&output.capacity()) {
                storage.spare.push(output);
            }
        }
    }

    /// Returns the number of deferred requests without a reply.
    pub(crate) fn pending(&self) -> usize {
        self.pending
    }

    /// Returns true if [`Session::serve`] would consume a line.
    pub(crate) fn may_serve(&mut self, bounds: ReplyBounds) -> bool {
        self.pending == 0 && self.waiting_output() < bounds.output_mark_bytes && !self.postponed && self.has_line()
    }

    /// Returns true if the next line waits until its reply may be large.
    pub(crate) fn is_postponed(&self) -> bool {
        self.postponed
    }

    /// Returns the bytes that have arrived of a line that is incomplete, and the only input held; 0 if there is none.
    pub(crate) fn incomplete_line(&mut self) -> usize {
        let held = self.input.held();
        if held == 0 || self.pending > 0 || self.phase != Phase::Open || self.has_line() { 0 } else { held }
    }

    /// Returns true if [`Session::room`] would return free space.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        self.held_input() <= limits.max_line_bytes
    }

    /// Returns true if the input has ended, every line is answered, and every reply is written.
    pub(crate) fn finished(&mut self) -> bool {
        self.phase != Phase::Open && self.pending == 0 && self.waiting_output() == 0 && !self.has_line()
    }

    /// Returns the number of replies dropped since the last call because the peer reads no more.
    pub(crate) fn take_dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }

    fn consume_line(
        &mut self,
        bounds: ReplyBounds,
        limits: &Limits,
        take: impl FnOnce(Request<'_>, Turn<'_>) -> Disposition,
    ) -> Option<Served> {
        self.postponed = false;
        if self.waiting_output() >= bounds.output_mark_bytes {
            return None;
        }
        let line = self.input.line()?;
        let turn = if self.pending == 0 { Turn::First(&mut self.output) } else { Turn::Behind };
        let (served, verdict) = match line {
            Line::Whole(line) if is_blank(line) => (Served::Blank, Disposition::Answered),
            Line::Whole(line) => {
                let message = message::read(line, limits.max_depth);
                if bounds.has_small_replies && message.id().is_some_and(|id| id.len() > SMALL_ID_BYTES) {
                    self.postponed = true;
                    return None;
                }
                let (served, verdict) = offer(message, turn, take);
                if verdict == Disposition::Later {
                    self.pending += 1;
                    self.pending_bytes += line.len();
                }
                (served, verdict)
            }
            Line::TooLong => answer_invalid(turn, |out| reply::error(out, None, &line_too_long(limits))),
        };
        if verdict == Disposition::NotNow {
            return None;
        }
        self.input.consume();
        if self.peer == Peer::Gone {
            self.drop_replies();
        }
        Some(served)
    }

    /// Returns true if a whole line, or the beginning of one over the limit, waits.
    fn has_line(&mut self) -> bool {
        self.input.line().is_some()
    }

    /// Returns the number of bytes of input held, deferred requests included.
    pub(crate) fn held_input(&self) -> usize {
        self.input.held() + self.pending_bytes
    }

    /// Returns the number of reply bytes that are not written yet.
    pub(crate) fn waiting_output(&self) -> usize {
        self.output.len() - self.written
    }

    fn drop_replies(&mut self) {
        self.dropped += memchr::memchr_iter(b'\n', self.output()).count();
        self.drop_output();
    }

    fn drop_output(&mut self) {
        self.output.clear();
        self.written = 0;
    }
}

/// Answers a call with -32001, and a control message with the reason `control_plane_error`.
pub(crate) fn refuse(out: &mut Vec<u8>, request: &Request<'_>, why: &str) {
    match request {
        Request::Call(call) => reply::error(out, Some(call.id), &CallError::failed(why)),
        Request::Control(_) => reply::control_refused(out, "control_plane_error", why),
    }
}

fn offer(
    message: Message<'_>,
    turn: Turn<'_>,
    take: impl FnOnce(Request<'_>, Turn<'_>) -> Disposition,
) -> (Served, Disposition) {
    match message {
        Message::Call(call) => (Served::Request, take(Request::Call(call), turn)),
        Message::Control(control) => (Served::Request, take(Request::Control(control), turn)),
        Message::Invalid(invalid) => answer_invalid(turn, |out| reply::error(out, invalid.id, &invalid.error)),
        Message::InvalidControl(invalid) => {
            answer_invalid(turn, |out| reply::control_refused(out, "invalid_message", &invalid.0))
        }
    }
}

/// Answers an invalid line if its turn has come.
fn answer_invalid(turn: Turn<'_>, write: impl FnOnce(&mut Vec<u8>)) -> (Served, Disposition) {
    let verdict = match turn {
        Turn::First(out) => {
            write(out);
            Disposition::Answered
        }
        Turn::Behind => Disposition::NotNow,
    };
    (Served::Invalid, verdict)
}

fn line_too_long(limits: &Limits) -> CallError {
    CallError { code: code::INVALID_REQUEST, message: format!("line exceeds {} bytes", limits.max_line_bytes) }
}

/// Returns true if the line is only white space as JSON defines it (RFC 8259, section 2).
fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties::session_keeps_order;

    fn limits() -> Limits {
        Limits { max_line_bytes: 100, output_mark_bytes: 120, small_holder_bytes: 40, ..Limits::default() }
    }

    fn feed(session: &mut Session, bytes: &[u8], limits: &Limits) {
        let room = session.room(bytes.len(), limits);
        room.copy_from_slice(bytes);
        session.filled(bytes.len());
    }

    fn ping(id: u32) -> Vec<u8> {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"m\"}}\n").into_bytes()
    }

    fn answer(request: Request<'_>, turn: Turn<'_>) -> Disposition {
        let (Request::Call(call), Turn::First(out)) = (request, turn) else { panic!("not a call in its turn") };
        reply::result(out, call.id, b"{}");
        Disposition::Answered
    }

    #[test]
    fn later_lines_wait_for_earlier_replies() {
        let limits = limits();
        let mut session = Session::new(&limits);
        feed(&mut session, &ping(1), &limits);
        feed(&mut session, b"nonsense\n", &limits);
        let served = session.serve(ReplyBounds::of(&limits), &limits, |_, turn| {
            assert!(matches!(turn, Turn::First(_)));
            Disposition::Later
        });
        assert_eq!(served, Some(Served::Request));
        assert_eq!(session.serve(ReplyBounds::of(&limits), &limits, answer), None);
        assert_eq!((session.pending(), session.output()), (1, &b""[..]));
        session.answered(1, b"first\n".to_vec());
        assert_eq!(session.serve(ReplyBounds::of(&limits), &limits, answer), Some(Served::Invalid));
        assert!(session.output().starts_with(b"first\n{\"jsonrpc\":\"2.0\",\"id\":null,\"error\""));
    }

    #[test]
    fn a_full_output_stops_reading_and_serving_until_it_is_written() {
        let limits = limits();
        let mut session = Session::new(&limits);
        for id in 0..5 {
            feed(&mut session, &ping(id), &limits);
            session.serve(ReplyBounds::of(&limits), &limits, answer);
        }
        assert!(!session.wants_input(ReplyBounds::of(&limits), &limits));
        assert!(!session.may_serve(ReplyBounds::of(&limits)));
        assert_eq!(session.serve(ReplyBounds::of(&limits), &limits, answer), None);
        let waiting = session.output().len();
        assert!(waiting < limits.output_mark_bytes + 60);
        session.wrote(waiting);
        assert!(session.wants_input(ReplyBounds::of(&limits), &limits) && session.may_serve(ReplyBounds::of(&limits)));
        assert_eq!(session.serve(ReplyBounds::of(&limits), &limits, answer), Some(Served::Request));
    }

    #[test]
    fn written_output_is_freed_for_a_peer_that_never_catches_up() {
        let limits = limits();
        let mut session = Session::new(&limits);
        let mut taken = 0;
        for id in 0..1000 {
            feed(&mut session, &ping(id % 10), &limits);
            session.serve(ReplyBounds::of(&limits), &limits, answer);
            if id > 0 {
                let reply = session.output().iter().position(|byte| *byte == b'\n').unwrap() + 1;
                session.wrote(reply);
                taken += reply;
            }
            assert!(!session.output().is_empty());
        }
        assert!(taken > 10_000 && session.output.capacity() < 1000, "{} bytes are kept", session.output.capacity());
    }

    #[test]
    fn half_close_serves_the_last_line_and_drain_only_whole_lines() {
        for (half_closed, replies) in [(true, 2), (false, 1)] {
            let limits = limits();
            let mut session = Session::new(&limits);
            let mut two = [ping(1), ping(2)].concat();
            two.pop();
            feed(&mut session, &two, &limits);
            if half_closed {
                session.input_ended()
            } else {
                session.drain()
            }
            assert!(!session.wants_input(ReplyBounds::of(&limits), &limits));
            let served = std::iter::from_fn(|| session.serve(ReplyBounds::of(&limits), &limits, answer)).count();
            assert_eq!(served, replies);
            assert!(!session.finished());
            session.wrote(session.output().len());
            assert!(session.finished());
        }
    }

    #[test]
    fn a_peer_that_reads_no_more_is_served_without_output() {
        let limits = limits();
        let mut session = Session::new(&limits);
        feed(&mut session, &[ping(1), ping(2)].concat(), &limits);
        session.serve(ReplyBounds::of(&limits), &limits, |_, _| Disposition::Later);
        session.peer_gone();
        session.answered(1, b"late\n".to_vec());
        assert_eq!(session.serve(ReplyBounds::of(&limits), &limits, answer), Some(Served::Request));
        assert_eq!(session.output(), b"");
        assert_eq!((session.take_dropped(), session.take_dropped()), (2, 0));
        session.input_ended();
        assert!(session.finished());
    }

    #[test]
    fn remaining_lines_are_refused_in_order() {
        let limits = limits();
        let mut session = Session::new(&limits);
        feed(&mut session, &ping(7), &limits);
        feed(&mut session, b"{\"type\":\"status\"}\n\n", &limits);
        session.drain();
        assert_eq!(session.refuse_rest("daemon is stopping", &limits), 2);
        assert_eq!(
            std::str::from_utf8(session.output()).unwrap(),
            concat!(
                "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-32001,\"message\":\"daemon is stopping\"}}\n",
                "{\"ok\":false,\"reason\":\"control_plane_error\",\"error\":\"daemon is stopping\"}\n"
            )
        );
    }

    #[test]
    fn deferred_requests_count_against_the_line_limit() {
        let limits = limits();
        let mut session = Session::new(&limits);
        let line = ping(1);
        feed(&mut session, &line, &limits);
        session.serve(ReplyBounds::of(&limits), &limits, |_, _| Disposition::Later);
        assert_eq!(session.room(1000, &limits).len(), limits.max_line_bytes + 1 - (line.len() - 1));
        session.answered(1, Vec::new());
        assert_eq!(session.room(1000, &limits).len(), limits.max_line_bytes + 1);
    }

    #[test]
    fn random_operations_keep_order_and_limits() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..2000 {
            let operations: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 56) as u8
            })
            .take(200)
            .collect();
            session_keeps_order(&operations);
        }
    }
}
