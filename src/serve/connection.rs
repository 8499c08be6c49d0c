//! A connection and its turn: reads input, serves requests and writes output, within the turn's limits.
//!
//! mio is edge-triggered: it reports once that a socket is readable, so this is remembered here until a
//! read shows that the socket is drained. WRITABLE is registered only while output waits.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use crate::dispatch::{CallError, Dispatch};
use crate::limits::Limits;
use crate::serve::connection_id::ConnectionId;
use crate::serve::control_plane::{ControlPlane, LoopCommands, Now, TickInput, Ticket};
use crate::serve::memory_budget::{LineProgress, MemoryBudget};
use crate::serve::metrics::Metrics;
use crate::serve::pool::{Batch, BatchBuilder, Delivery, Pool, Remainder};
use crate::serve::route::{Route, route};
use crate::sys::stream;
use crate::wire::reply;
use crate::wire::session::{Disposition, ReplyBounds, Served, Session, Storage, Turn};

/// The events that every connection is registered for. PRIORITY reports out-of-band data, on systems that have it.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const READING: Interest = Interest::READABLE.add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const READING: Interest = Interest::READABLE;

/// The state that a connection's turn uses besides the connection.
pub(crate) struct Core<D: Dispatch, P: ControlPlane> {
    pub(crate) limits: Limits,
    pub(crate) dispatch: Arc<D>,
    pub(crate) plane: P,
    pub(crate) commands: LoopCommands<P::Done>,
    pub(crate) pool: Pool<D, P::Done>,
    pub(crate) registry: Registry,
    pub(crate) budget: MemoryBudget,
    pub(crate) metrics: Metrics,
    /// The clocks, read once a turn of the loop.
    pub(crate) now: Now,
    /// Buffers lent to the connection that has the turn.
    pub(crate) storage: Storage,
}

/// One connection.
pub(crate) struct Connection<D: Dispatch, P: ControlPlane> {
    /// Names it in results of workers and the control plane.
    pub(crate) id: ConnectionId,
    /// Names it in events.
    pub(crate) token: usize,
    pub(crate) stream: UnixStream,
    pub(crate) session: Session,
    /// It is in the ready list.
    pub(crate) queued: bool,
    /// Unread input may wait in the socket.
    readable: bool,
    /// A short read does not mean that the socket is drained: the peer has shut down its side, or sent out-of-band
    /// data, at which reads end too (unix(7)).
    ragged: bool,
    /// WRITABLE is registered.
    writable: bool,
    /// Since when the peer has read none of the waiting output.
    pub(crate) stalled_since: Option<Instant>,
    /// When the loop checks whether the peer has stalled.
    pub(crate) stall_check_at: Option<Instant>,
    /// The progress of its incomplete line, unless it waits to be read. Boxed, since most connections have none.
    pub(crate) line_progress: Option<Box<LineProgress>>,
    /// Bytes that the memory budget counts for it.
    counted_input: usize,
    counted_output: usize,
    batch: Option<InFlight<D, P>>,
}

/// The batch that is at the workers.
struct InFlight<D: Dispatch, P: ControlPlane> {
    batch: Arc<Batch<D, P::Done>>,
    answered: usize,
    /// Whether it continues by itself.
    remainder: Remainder,
}

impl Delivery {
    /// Drops the replies, since their connection has closed or has refused the calls.
    pub(crate) fn forget<D: Dispatch, P: ControlPlane>(&self, core: &mut Core<D, P>) {
        core.metrics.late_results += self.count as u64;
        core.budget.replies().subtract(self.replies.len());
    }
}

/// What a connection needs after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnOutcome {
    /// Another turn, after those of the other connections.
    Again,
    /// Nothing until an event comes.
    Wait,
    /// To be closed: all of its output is written.
    Close,
}

impl<D: Dispatch, P: ControlPlane> Core<D, P> {
    /// Replaces buffers that the last turn's connection kept or that have grown large.
    fn renew_storage(&mut self) {
        let Storage { input, output, .. } = &mut self.storage;
        if input.len() != self.limits.turn_bytes {
            *input = vec![0; self.limits.turn_bytes];
        }
        if output.capacity() > 2 * self.limits.turn_bytes {
            *output = Vec::new();
        }
    }
}

impl<D: Dispatch, P: ControlPlane> Connection<D, P> {
    pub(crate) fn new(id: ConnectionId, token: usize, stream: UnixStream, limits: &Limits) -> Connection<D, P> {
        Connection {
            id,
            token,
            stream,
            session: Session::new(limits),
            queued: false,
            readable: false,
            ragged: false,
            writable: false,
            stalled_since: None,
            stall_check_at: None,
            line_progress: None,
            counted_input: 0,
            counted_output: 0,
            batch: None,
        }
    }

    /// Records that the socket is readable. `ragged`: from now on a short read does not mean that it is drained.
    pub(crate) fn became_readable(&mut self, ragged: bool) {
        self.readable = true;
        self.ragged |= ragged;
    }

    /// Records that the peer reads no more: calls that need it are not started from now on.
    pub(crate) fn peer_gone(&mut self, core: &mut Core<D, P>) {
        self.session.peer_gone();
        if let Some(in_flight) = &mut self.batch {
            in_flight.batch.abandon();
            // The rest may need neither a reader nor memory now.
            if std::mem::replace(&mut in_flight.remainder, Remainder::Continues) != Remainder::Continues {
                core.pool.resume(&in_flight.batch);
            }
        }
    }

    /// Returns true if the peer has read none of the waiting output for `time`.
    pub(crate) fn has_stalled_for(&self, time: Duration, now: Instant) -> bool {
        self.stalled_since.is_some_and(|since| since + time <= now)
    }

    /// Takes replies to some of its calls from a worker.
    pub(crate) fn delivered(&mut self, delivery: Delivery, core: &mut Core<D, P>) {
        let Some(in_flight) = &mut self.batch else {
            delivery.forget(core);
            return;
        };
        self.counted_output += delivery.replies.len();
        in_flight.answered += delivery.count;
        in_flight.remainder = delivery.remainder;
        if in_flight.answered == in_flight.batch.len()
            && let Some(in_flight) = self.batch.take()
        {
            core.pool.reuse(in_flight.batch);
        }
        core.metrics.in_flight -= delivery.count;
        self.session.answered(delivery.count, delivery.replies);
    }

    /// Takes the control plane's late reply to its control message.
    pub(crate) fn plane_answered(&mut self, line: &[u8], core: &mut Core<D, P>) {
        // The message has been refused at the end of a drain.
        if self.session.pending() == 0 {
            core.metrics.late_results += 1;
            return;
        }
        core.metrics.in_flight -= 1;
        self.session.answered(1, line.to_vec());
    }

    /// Answers all requests that are left with error -32001, at the end of a drain.
    pub(crate) fn refuse_remaining(&mut self, why: &str, core: &mut Core<D, P>) {
        let error = CallError::failed(why);
        let mut replies = Vec::new();
        let pending = self.session.pending();
        let mut errors = pending;
        match self.batch.take() {
            Some(in_flight) => {
                let (ready, count, failed) = in_flight.batch.cancel(in_flight.answered);
                self.counted_output += ready.len();
                replies = ready;
                errors -= count - failed;
                for id in in_flight.batch.ids_after(in_flight.answered + count) {
                    reply::error(&mut replies, Some(id), &error);
                }
            }
            None if pending > 0 => reply::control_refused(&mut replies, "control_plane_error", why),
            None => {}
        }
        core.metrics.in_flight -= pending;
        self.session.answered(pending, replies);
        core.metrics.errors += (errors + self.session.refuse_rest(why, &core.limits)) as u64;
    }

    /// Reads input, serves requests and writes output, within the turn's limits.
    pub(crate) fn turn(&mut self, core: &mut Core<D, P>) -> TurnOutcome {
        let mut bytes = core.limits.turn_bytes;
        let mut lines = core.limits.turn_lines;
        let mut building = None;
        core.renew_storage();
        self.session.lend(&mut core.storage);
        loop {
            lines -= self.serve(lines, &mut building, core);
            if lines == 0 || bytes == 0 {
                break;
            }
            let room = self.readable_bytes(core);
            let Some(count) = self.read(bytes.min(room), core) else { break };
            bytes -= count;
        }
        if let Some(building) = building {
            let out = core.storage.spare.pop().unwrap_or_default();
            let batch = core.pool.submit(building, out);
            if self.session.is_peer_gone() {
                batch.abandon();
            }
            self.batch = Some(InFlight { batch, answered: 0, remainder: Remainder::Continues });
        }
        self.flush(core);
        self.resume(core);
        self.session.give_back(&mut core.storage);
        self.settle(core)
    }

    /// Removes the connection from the memory budget and the metrics. Called when it is closed.
    pub(crate) fn forget(&mut self, core: &mut Core<D, P>) {
        core.budget.count_input(self.id.0, &mut self.counted_input, 0);
        core.budget.count_output(&mut self.counted_output, 0);
        core.budget.remove(self.id.0);
        core.metrics.in_flight -= self.session.pending();
        if let Some(in_flight) = &self.batch {
            in_flight.batch.abandon();
        }
    }

    /// Returns how many bytes may be read now.
    fn readable_bytes(&mut self, core: &mut Core<D, P>) -> usize {
        if !self.readable || !self.session.wants_input(self.reply_bounds(core), &core.limits) {
            return 0;
        }
        let held = self.session.held_input();
        core.budget.count_input(self.id.0, &mut self.counted_input, held);
        core.budget.input_room(self.id.0, held, core.metrics.connections, &core.limits)
    }

    fn reply_bounds(&self, core: &Core<D, P>) -> ReplyBounds {
        core.budget.reply_bounds(self.id.0, core.metrics.connections, &core.limits)
    }

    /// Reads once, at most `max_bytes`. Returns `None` if there was no input or no space for it.
    fn read(&mut self, max_bytes: usize, core: &mut Core<D, P>) -> Option<usize> {
        let room = self.session.room(max_bytes, &core.limits);
        if room.is_empty() {
            return None;
        }
        match stream::receive(&self.stream, room) {
            Ok(received) if received.bytes == 0 => {
                self.readable = false;
                self.session.input_ended();
                Some(0)
            }
            Ok(received) => {
                self.readable = !received.drained || self.ragged;
                self.session.filled(received.bytes);
                Some(received.bytes)
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => {
                self.readable = false;
                None
            }
            Err(e) => {
                log::debug!("cannot read from a connection: {e}");
                self.readable = false;
                self.session.input_ended();
                self.peer_gone(core);
                Some(0)
            }
        }
    }

    /// Serves at most `lines` lines, and returns their number.
    fn serve(&mut self, lines: usize, building: &mut Option<BatchBuilder>, core: &mut Core<D, P>) -> usize {
        let ticket = Ticket(self.id.0);
        let arrived = self.session.held_input();
        for done in 0..lines {
            // The next line has to wait, whatever it is, so it is not parsed.
            if building.is_none() && self.session.pending() > 0 {
                return done;
            }
            let bounds = self.reply_bounds(core);
            let served = self.session.serve(bounds, &core.limits, |request, turn| {
                match (route(&*core.dispatch, &request), turn) {
                    (Route::Worker(call, pace), _) => {
                        if building.as_ref().is_some_and(BatchBuilder::is_full) {
                            return Disposition::NotNow;
                        }
                        core.plane.tick(
                            TickInput::Request(&call.method),
                            core.metrics.load(),
                            core.now,
                            &mut core.commands,
                        );
                        building
                            .get_or_insert_with(|| core.pool.builder(ticket.0, core.now.instant, arrived))
                            .push(call, pace);
                        core.metrics.in_flight += 1;
                        Disposition::Later
                    }
                    (_, Turn::Behind) => Disposition::NotNow,
                    (Route::Ping(call), Turn::First(out)) => {
                        reply::result(out, call.id, b"{}");
                        Disposition::Answered
                    }
                    (Route::Refused(call, error), Turn::First(out)) => {
                        if core.dispatch.method(&call.method).is_some() {
                            core.plane.tick(
                                TickInput::Request(&call.method),
                                core.metrics.load(),
                                core.now,
                                &mut core.commands,
                            );
                        }
                        reply::error(out, Some(call.id), &error);
                        core.metrics.errors += 1;
                        Disposition::Answered
                    }
                    (Route::Status, Turn::First(out)) => {
                        let queued = core.pool.queued();
                        let counters = core.metrics.counters(core.limits.workers, queued, core.budget.total_bytes());
                        out.extend_from_slice(&core.plane.status(&counters, core.now));
                        Disposition::Answered
                    }
                    (Route::Plane(control), Turn::First(out)) => {
                        match core.plane.control(control, ticket, core.now, &mut core.commands) {
                            Some(line) => {
                                out.extend_from_slice(&line);
                                Disposition::Answered
                            }
                            None => {
                                core.metrics.in_flight += 1;
                                Disposition::Later
                            }
                        }
                    }
                }
            });
            match served {
                None => return done,
                Some(Served::Blank) => {}
                Some(Served::Request) => core.metrics.requests += 1,
                Some(Served::Invalid) => {
                    core.metrics.requests += 1;
                    core.metrics.errors += 1;
                }
            }
        }
        lines
    }

    /// Resumes a waiting batch once enough of its replies are written and it may start a call.
    fn resume(&mut self, core: &mut Core<D, P>) {
        let bounds = self.reply_bounds(core);
        let Some(in_flight) = &mut self.batch else { return };
        let is_ready = match in_flight.remainder {
            Remainder::Continues => return,
            Remainder::WaitsForReader => self.session.waiting_output() < bounds.output_mark_bytes,
            Remainder::WaitsForMemory => core.budget.replies().may_start(self.id.0),
        };
        if is_ready {
            in_flight.remainder = Remainder::Continues;
            core.pool.resume(&in_flight.batch);
        } else if in_flight.remainder == Remainder::WaitsForMemory {
            core.budget.wait_to_call(self.id.0);
        }
    }

    /// Writes output until none is left or the socket's buffer is full.
    pub(crate) fn flush(&mut self, core: &mut Core<D, P>) {
        while !self.session.output().is_empty() {
            match stream::send(&self.stream, self.session.output()) {
                Ok(count) => {
                    self.session.wrote(count);
                    self.stalled_since = None;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => {
                    log::debug!("cannot write to a connection: {e}");
                    self.peer_gone(core);
                }
            }
        }
        core.metrics.late_results += self.session.take_dropped() as u64;
        let waiting = !self.session.output().is_empty();
        if !waiting {
            self.stalled_since = None;
        } else if self.stalled_since.is_none() {
            self.stalled_since = Some(core.now.instant);
        }
        if waiting != self.writable {
            self.register_writable(waiting, core);
        }
    }

    fn register_writable(&mut self, wanted: bool, core: &mut Core<D, P>) {
        let interest = if wanted { READING | Interest::WRITABLE } else { READING };
        match core.registry.reregister(&mut self.stream, Token(self.token), interest) {
            Ok(()) => self.writable = wanted,
            Err(e) => {
                log::warn!("closed a connection: cannot register it for writing: {e}");
                self.peer_gone(core);
            }
        }
    }

    /// Updates the memory budget, and returns what the connection needs next.
    fn settle(&mut self, core: &mut Core<D, P>) -> TurnOutcome {
        let held = self.session.held_input();
        core.budget.count_input(self.id.0, &mut self.counted_input, held);
        core.budget.count_output(&mut self.counted_output, self.session.waiting_output());
        if self.session.finished() {
            return TurnOutcome::Close;
        }
        self.end_call_pass(core);
        let bounds = self.reply_bounds(core);
        let wants_input =
            self.readable && self.session.wants_input(bounds, &core.limits) && self.session.has_room(&core.limits);
        let may_read =
            wants_input && core.budget.input_room(self.id.0, held, core.metrics.connections, &core.limits) > 0;
        if !may_read || self.session.incomplete_line() == 0 {
            core.budget.end_reading(self.id.0);
        }
        if wants_input && !may_read {
            core.budget.wait_to_be_read(self.id.0);
            self.line_progress = None;
        } else {
            let bytes = self.session.incomplete_line();
            LineProgress::update(&mut self.line_progress, bytes, core.now.instant);
        }
        if self.session.may_serve(bounds) || may_read { TurnOutcome::Again } else { TurnOutcome::Wait }
    }

    /// Ends the pass to call if no call runs that needs it, and waits for it if one has to start.
    fn end_call_pass(&mut self, core: &mut Core<D, P>) {
        if self.session.is_postponed() {
            core.budget.wait_to_call(self.id.0);
        } else if self.batch.as_ref().is_none_or(|in_flight| in_flight.remainder != Remainder::Continues) {
            core.budget.end_calling(self.id.0);
        }
    }
}
