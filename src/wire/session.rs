//! One peer's conversation without its socket.
//!
//! The session owns the peer's input and output and keeps their order: a line is shown to whoever
//! serves only when its turn has come, and each gets exactly one reply. It never reads or writes;
//! its caller moves bytes between it and the socket when [`Session::room`] and
//! [`Session::output`] say so, and reports what became of requests that were taken for later.
//!
//! ```text
//!   room/filled → lines → serve ─┬─ Answered → output → wrote
//!                                ├─ Later ……… answered → output
//!                                └─ NotNow (shown again)
//! ```

use crate::limits::Limits;
use crate::wire::control::Control;
use crate::wire::line::{Line, LineBuffer};
use crate::wire::message::{self, Call, Message};
use crate::wire::reply::{self, CallError, code};

/// A peer's conversation.
#[derive(Debug)]
pub struct Session {
    input: LineBuffer,
    output: Vec<u8>,
    /// How much of `output` the peer has taken. `taken <= output.len()`.
    taken: usize,
    /// Requests taken for later and not answered yet.
    pending: usize,
    /// The bytes of their lines.
    pending_bytes: usize,
    phase: Phase,
    peer: Peer,
    /// Replies dropped since the last [`Session::take_dropped`].
    dropped: usize,
}

/// What whoever serves many sessions lends to the one that is served: an idle one keeps no buffer.
#[derive(Debug, Default)]
pub struct Storage {
    /// For input: its length counts, see [`LineBuffer::lend`].
    pub input: Vec<u8>,
    /// For output: empty.
    pub output: Vec<u8>,
    /// What short replies stood in that their peers have taken: empty, for replies to come.
    pub spare: Vec<Vec<u8>>,
}

/// Most buffers in [`Storage::spare`], and most bytes of each.
const SPARE: usize = 64;
const SPARE_BYTES: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// The peer has ended its side: what it sent is served.
    HalfClosed,
    /// The server is stopping: whole lines that are here are served, no more are read.
    Draining,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Listening,
    /// It takes no more output: what it sent is still carried out, its replies are dropped.
    Gone,
}

/// A request whose turn has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// A JSON-RPC call.
    Call(Call<'a>),
    /// A control message.
    Control(Control<'a>),
}

/// Whether a request may be answered at once.
#[derive(Debug)]
pub enum Turn<'a> {
    /// All before it are answered: its reply may be appended here.
    First(&'a mut Vec<u8>),
    /// Requests before it wait for their replies.
    Behind,
}

/// What was done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// Its reply is in the output. Only when its turn was [`Turn::First`].
    Answered,
    /// Its reply comes later, through [`Session::answered`].
    Later,
    /// It stays, and is shown again.
    NotNow,
}

/// What the line was that [`Session::serve`] took up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// White space: no reply.
    Blank,
    /// A request, which `take` answered or keeps.
    Request,
    /// No message: answered with an error here.
    Wrong,
}

impl Session {
    /// A conversation that has just begun.
    pub fn new(limits: &Limits) -> Session {
        Session {
            input: LineBuffer::new(limits.max_line_bytes),
            output: Vec::new(),
            taken: 0,
            pending: 0,
            pending_bytes: 0,
            phase: Phase::Open,
            peer: Peer::Listening,
            dropped: 0,
        }
    }

    /// Would more input be taken now? Not while output waits over its mark, nor beside requests
    /// that are carried out while much input waits already, nor after the end.
    pub fn wants_input(&self, limits: &Limits) -> bool {
        self.phase == Phase::Open
            && self.waiting_output() < limits.output_mark_bytes
            && (self.pending == 0 || self.held_input() < limits.small_holder_bytes)
    }

    /// Room for at most `most` bytes of input. Empty when the line limit is held already.
    pub fn room(&mut self, most: usize, limits: &Limits) -> &mut [u8] {
        self.input.room(most.min((limits.max_line_bytes + 1).saturating_sub(self.held_input())))
    }

    /// The first `count` bytes of the last room were filled.
    pub fn filled(&mut self, count: usize) {
        self.input.filled(count);
    }

    /// The peer ended its side. An unterminated last line counts as a line.
    pub fn input_ended(&mut self) {
        if self.phase == Phase::Open {
            self.phase = Phase::HalfClosed;
            self.input.ended();
        }
    }

    /// The server is stopping: nothing more is read.
    pub fn drain(&mut self) {
        self.phase = Phase::Draining;
    }

    /// The peer takes no more output.
    pub fn peer_gone(&mut self) {
        self.peer = Peer::Gone;
        self.drop_replies();
    }

    /// Takes up the next line, while the output is under its mark; a request is shown to `take`.
    /// `None` where there is no line, or it has to wait.
    pub fn serve(
        &mut self,
        limits: &Limits,
        take: impl FnOnce(Request<'_>, Turn<'_>) -> Disposition,
    ) -> Option<Served> {
        self.take_up(limits.output_mark_bytes, limits, take)
    }

    /// `requests` that were taken for later are answered with these reply lines, in order.
    ///
    /// # Panics
    /// If fewer were taken.
    pub fn answered(&mut self, requests: usize, replies: Vec<u8>) {
        assert!(requests <= self.pending, "more replies than requests");
        self.pending -= requests;
        if self.pending == 0 {
            self.pending_bytes = 0;
        }
        match self.peer {
            Peer::Listening if self.output.is_empty() => self.output = replies,
            Peer::Listening => self.output.extend_from_slice(&replies),
            Peer::Gone => self.dropped += requests,
        }
    }

    /// Answers every whole line that is left with -32001, in order, whatever the output holds. What
    /// was taken for later must have been answered. Gives how many.
    pub fn refuse_rest(&mut self, why: &str, limits: &Limits) -> usize {
        let mut refused = 0;
        while let Some(served) = self.take_up(usize::MAX, limits, |request, turn| {
            let Turn::First(out) = turn else { return Disposition::NotNow };
            refuse(out, &request, why);
            Disposition::Answered
        }) {
            refused += usize::from(served != Served::Blank);
        }
        refused
    }

    /// Reply bytes that the peer has not taken yet.
    pub fn output(&self) -> &[u8] {
        &self.output[self.taken..]
    }

    /// The peer took the first `count` bytes of [`Session::output`].
    ///
    /// # Panics
    /// If that is more than there is.
    pub fn wrote(&mut self, count: usize) {
        assert!(count <= self.waiting_output(), "wrote more than the output");
        self.taken += count;
        if self.taken == self.output.len() {
            self.drop_output();
        } else if self.taken > self.output.len() / 2 {
            // A reader that never catches up would have all it ever took kept here.
            self.output.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// Takes over storage that another had; see [`LineBuffer::lend`].
    pub fn lend(&mut self, storage: &mut Storage) {
        self.input.lend(&mut storage.input);
        if self.output.capacity() == 0 {
            self.output = std::mem::take(&mut storage.output);
        }
    }

    /// Gives up the storage that is not needed; see [`LineBuffer::give_back`].
    pub fn give_back(&mut self, storage: &mut Storage) {
        self.input.give_back(&mut storage.input);
        if !self.output.is_empty() {
            self.output.shrink_to_fit();
        } else if self.output.capacity() > storage.output.capacity() {
            storage.output = std::mem::take(&mut self.output);
        } else {
            let output = std::mem::take(&mut self.output);
            if storage.spare.len() < SPARE && (1..=SPARE_BYTES).contains(&output.capacity()) {
                storage.spare.push(output);
            }
        }
    }

    /// Requests taken for later and not answered yet.
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Bytes of input and output held, requests that are carried out included.
    pub fn held(&self) -> usize {
        self.held_input() + self.waiting_output()
    }

    /// Would [`Session::serve`] take a line up now?
    pub fn may_serve(&mut self, limits: &Limits) -> bool {
        self.pending == 0 && self.waiting_output() < limits.output_mark_bytes && self.has_line()
    }

    /// Would [`Session::room`] offer any?
    pub fn has_room(&self, limits: &Limits) -> bool {
        self.held_input() <= limits.max_line_bytes
    }

    /// All that came was answered, all replies are taken, and nothing more comes.
    pub fn finished(&mut self) -> bool {
        self.phase != Phase::Open && self.pending == 0 && self.waiting_output() == 0 && !self.has_line()
    }

    /// Replies that were dropped because the peer had gone, since this was last asked.
    pub fn take_dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }

    fn take_up(
        &mut self,
        mark: usize,
        limits: &Limits,
        take: impl FnOnce(Request<'_>, Turn<'_>) -> Disposition,
    ) -> Option<Served> {
        if self.waiting_output() >= mark {
            return None;
        }
        let line = self.input.line()?;
        let turn = if self.pending == 0 { Turn::First(&mut self.output) } else { Turn::Behind };
        let (served, verdict) = match line {
            Line::Whole(line) if is_blank(line) => (Served::Blank, Disposition::Answered),
            Line::Whole(line) => {
                let (served, verdict) = offer(message::read(line, limits.max_depth), turn, take);
                if verdict == Disposition::Later {
                    self.pending += 1;
                    self.pending_bytes += line.len();
                }
                (served, verdict)
            }
            Line::TooLong => complain(turn, |out| reply::error(out, None, &line_too_long(limits))),
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

    /// Has a whole line, or the news of one too long, arrived and not been taken up?
    fn has_line(&mut self) -> bool {
        self.input.line().is_some()
    }

    /// Bytes of input held, requests that are carried out included.
    pub fn held_input(&self) -> usize {
        self.input.held() + self.pending_bytes
    }

    fn waiting_output(&self) -> usize {
        self.output.len() - self.taken
    }

    fn drop_replies(&mut self) {
        self.dropped += memchr::memchr_iter(b'\n', self.output()).count();
        self.drop_output();
    }

    fn drop_output(&mut self) {
        self.output.clear();
        self.taken = 0;
    }
}

/// Answers `request` with -32001, or its likeness for a control message.
pub fn refuse(out: &mut Vec<u8>, request: &Request<'_>, why: &str) {
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
        Message::Invalid(invalid) => complain(turn, |out| reply::error(out, invalid.id, &invalid.error)),
        Message::InvalidControl(invalid) => {
            complain(turn, |out| reply::control_refused(out, "invalid_message", &invalid.0))
        }
    }
}

/// Answers a line that is no message, once its turn has come.
fn complain(turn: Turn<'_>, write: impl FnOnce(&mut Vec<u8>)) -> (Served, Disposition) {
    let verdict = match turn {
        Turn::First(out) => {
            write(out);
            Disposition::Answered
        }
        Turn::Behind => Disposition::NotNow,
    };
    (Served::Wrong, verdict)
}

fn line_too_long(limits: &Limits) -> CallError {
    CallError { code: code::INVALID_REQUEST, message: format!("line exceeds {} bytes", limits.max_line_bytes) }
}

/// White space as JSON has it (RFC 8259 section 2); the newline has been cut off.
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
    fn what_comes_behind_waits_for_what_came_before() {
        let limits = limits();
        let mut session = Session::new(&limits);
        feed(&mut session, &ping(1), &limits);
        feed(&mut session, b"nonsense\n", &limits);
        let served = session.serve(&limits, |_, turn| {
            assert!(matches!(turn, Turn::First(_)));
            Disposition::Later
        });
        assert_eq!(served, Some(Served::Request));
        assert_eq!(session.serve(&limits, answer), None);
        assert_eq!((session.pending(), session.output()), (1, &b""[..]));
        session.answered(1, b"first\n".to_vec());
        assert_eq!(session.serve(&limits, answer), Some(Served::Wrong));
        assert!(session.output().starts_with(b"first\n{\"jsonrpc\":\"2.0\",\"id\":null,\"error\""));
    }

    #[test]
    fn a_full_output_stops_reading_and_serving_until_it_is_taken() {
        let limits = limits();
        let mut session = Session::new(&limits);
        for id in 0..5 {
            feed(&mut session, &ping(id), &limits);
            session.serve(&limits, answer);
        }
        assert!(!session.wants_input(&limits));
        assert!(!session.may_serve(&limits));
        assert_eq!(session.serve(&limits, answer), None);
        let waiting = session.output().len();
        assert!(waiting < limits.output_mark_bytes + 60);
        session.wrote(waiting);
        assert!(session.wants_input(&limits) && session.may_serve(&limits));
        assert_eq!(session.serve(&limits, answer), Some(Served::Request));
    }

    #[test]
    fn a_reader_that_never_catches_up_has_nothing_kept_of_what_it_took() {
        let limits = limits();
        let mut session = Session::new(&limits);
        let mut taken = 0;
        for id in 0..1000 {
            feed(&mut session, &ping(id % 10), &limits);
            session.serve(&limits, answer);
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
    fn half_close_serves_what_came_and_drain_only_whole_lines() {
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
            assert!(!session.wants_input(&limits));
            let served = std::iter::from_fn(|| session.serve(&limits, answer)).count();
            assert_eq!(served, replies);
            assert!(!session.finished());
            session.wrote(session.output().len());
            assert!(session.finished());
        }
    }

    #[test]
    fn a_peer_that_has_gone_is_served_without_output() {
        let limits = limits();
        let mut session = Session::new(&limits);
        feed(&mut session, &[ping(1), ping(2)].concat(), &limits);
        session.serve(&limits, |_, _| Disposition::Later);
        session.peer_gone();
        session.answered(1, b"late\n".to_vec());
        assert_eq!(session.serve(&limits, answer), Some(Served::Request));
        assert_eq!(session.output(), b"");
        assert_eq!((session.take_dropped(), session.take_dropped()), (2, 0));
        session.input_ended();
        assert!(session.finished());
    }

    #[test]
    fn the_rest_is_refused_in_order() {
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
    fn requests_being_carried_out_count_against_the_line_limit() {
        let limits = limits();
        let mut session = Session::new(&limits);
        let line = ping(1);
        feed(&mut session, &line, &limits);
        session.serve(&limits, |_, _| Disposition::Later);
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
