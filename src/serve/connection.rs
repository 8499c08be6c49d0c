//! A connection's turn: what is there is read, served and written, within the turn's budget.
//!
//! mio is edge-triggered: that a socket is readable is said once, so it is remembered here until a
//! read proves otherwise. WRITABLE is asked for only while output waits.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};

use crate::dispatch::{CallError, Dispatch};
use crate::limits::Limits;
use crate::serve::control_plane::{ControlPlane, LoopCommands, Now, TickInput, Ticket};
use crate::serve::memory_budget::MemoryBudget;
use crate::serve::metrics::Metrics;
use crate::serve::pool::{Batch, BatchBuilder, Delivery, Pool};
use crate::serve::route::{Route, route};
use crate::sys::stream;
use crate::wire::reply;
use crate::wire::session::{Disposition, Served, Session, Storage, Turn};

/// What every connection is watched for. PRIORITY tells of a byte out of band, where there is such.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const READING: Interest = Interest::READABLE.add(Interest::PRIORITY);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const READING: Interest = Interest::READABLE;

/// All that a connection's turn touches beside the connection.
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
    /// For whoever has the turn.
    pub(crate) storage: Storage,
}

/// One peer.
pub(crate) struct Connection<D: Dispatch, P: ControlPlane> {
    pub(crate) token: usize,
    pub(crate) stream: UnixStream,
    pub(crate) session: Session,
    /// Its place in the ready list is taken.
    pub(crate) queued: bool,
    /// More may wait in the socket.
    readable: bool,
    /// A short read does not mean that all is read: the peer has ended its side, or sent a byte out
    /// of band, at which reads end too (unix(7)).
    ragged: bool,
    /// WRITABLE is asked for.
    writable: bool,
    /// The peer has taken nothing since then, though output waits.
    pub(crate) stalled_since: Option<Instant>,
    /// The moment at which it is looked whether the peer has stalled.
    pub(crate) watched: Option<Instant>,
    /// What the budget has on its account.
    accounted: usize,
    batch: Option<InFlight<D, P>>,
}

/// The calls that workers have.
struct InFlight<D: Dispatch, P: ControlPlane> {
    batch: Arc<Batch<D, P::Done>>,
    answered: usize,
    /// It goes on when its replies are taken.
    paused: bool,
}

/// What a connection needs after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnOutcome {
    /// Another turn, once the others had theirs.
    Again,
    /// Nothing until something happens.
    Wait,
    /// To be closed: all is done.
    Close,
}

impl<D: Dispatch, P: ControlPlane> Core<D, P> {
    /// The storage of the last turn may have stayed with its connection, or have grown with what it held.
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
    pub(crate) fn new(token: usize, stream: UnixStream, limits: &Limits) -> Connection<D, P> {
        Connection {
            token,
            stream,
            session: Session::new(limits),
            queued: false,
            readable: false,
            ragged: false,
            writable: false,
            stalled_since: None,
            watched: None,
            accounted: 0,
            batch: None,
        }
    }

    /// The socket has something to read. `ragged`: its reads may end early from here on.
    pub(crate) fn became_readable(&mut self, ragged: bool) {
        self.readable = true;
        self.ragged |= ragged;
    }

    /// Workers have answered some of its calls.
    pub(crate) fn delivered(&mut self, delivery: Delivery, core: &mut Core<D, P>) {
        let Some(in_flight) = &mut self.batch else {
            core.metrics.late_results += delivery.count as u64;
            return;
        };
        in_flight.answered += delivery.count;
        in_flight.paused = delivery.paused;
        if in_flight.answered == in_flight.batch.len()
            && let Some(in_flight) = self.batch.take()
        {
            core.pool.reuse(in_flight.batch);
        }
        core.metrics.in_flight -= delivery.count;
        self.session.answered(delivery.count, delivery.replies);
    }

    /// The control plane answers its message.
    pub(crate) fn plane_answered(&mut self, line: &[u8], core: &mut Core<D, P>) {
        // Refused at the end of the drain already.
        if self.session.pending() == 0 {
            core.metrics.late_results += 1;
            return;
        }
        core.metrics.in_flight -= 1;
        self.session.answered(1, line.to_vec());
    }

    /// The drain's time is up: answers all that is left with -32001.
    pub(crate) fn refuse_rest(&mut self, why: &str, core: &mut Core<D, P>) {
        let error = CallError::failed(why);
        let mut replies = Vec::new();
        let pending = self.session.pending();
        let mut errors = pending;
        match self.batch.take() {
            Some(in_flight) => {
                let (ready, count, failed) = in_flight.batch.cancel(in_flight.answered);
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

    /// Reads, serves and writes what is there.
    pub(crate) fn turn(&mut self, core: &mut Core<D, P>) -> TurnOutcome {
        let mut bytes = core.limits.turn_bytes;
        let mut lines = core.limits.turn_lines;
        let mut building = None;
        core.renew_storage();
        self.session.lend(&mut core.storage);
        loop {
            lines -= self.serve(lines, &mut building, core);
            if lines == 0 || bytes == 0 || !self.may_read(core) {
                break;
            }
            let Some(count) = self.read(bytes, core) else { break };
            bytes -= count;
        }
        if let Some(building) = building {
            let out = core.storage.spare.pop().unwrap_or_default();
            self.batch = Some(InFlight { batch: core.pool.submit(building, out), answered: 0, paused: false });
        }
        self.flush(core);
        self.resume(core);
        self.session.give_back(&mut core.storage);
        self.settle(core)
    }

    /// Leaves the budget. To be called when the connection is closed.
    pub(crate) fn leave(&mut self, core: &mut Core<D, P>) {
        core.budget.account(self.accounted, 0);
        core.budget.leave(self.token);
        core.metrics.in_flight -= self.session.pending();
    }

    fn may_read(&self, core: &Core<D, P>) -> bool {
        self.readable
            && self.session.wants_input(&core.limits)
            && core.budget.allows(self.token, self.session.held(), &core.limits)
    }

    /// Reads once. `None` where there was nothing to read or no room.
    fn read(&mut self, most: usize, core: &mut Core<D, P>) -> Option<usize> {
        let room = self.session.room(most, &core.limits);
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
                log::debug!("a connection broke: {e}");
                self.readable = false;
                self.session.input_ended();
                self.session.peer_gone();
                Some(0)
            }
        }
    }

    /// Serves at most `lines` lines, and gives how many.
    fn serve(&mut self, lines: usize, building: &mut Option<BatchBuilder>, core: &mut Core<D, P>) -> usize {
        let ticket = Ticket(self.token);
        let arrived = self.session.held_input();
        for done in 0..lines {
            // Whatever the next line is, it has to wait: it need not be read each time to learn that.
            if building.is_none() && self.session.pending() > 0 {
                return done;
            }
            let served =
                self.session.serve(&core.limits, |request, turn| match (route(&*core.dispatch, &request), turn) {
                    (Route::Worker(call, pace), _) => {
                        if building.as_ref().is_some_and(BatchBuilder::is_full) {
                            return Disposition::NotNow;
                        }
                        core.plane.tick(
                            TickInput::Request(&call.method),
                            core.metrics.around(),
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
                                core.metrics.around(),
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
                        let counters = core.metrics.counters(core.limits.workers, queued, core.budget.total());
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
                });
            match served {
                None => return done,
                Some(Served::Blank) => {}
                Some(Served::Request) => core.metrics.requests += 1,
                Some(Served::Wrong) => {
                    core.metrics.requests += 1;
                    core.metrics.errors += 1;
                }
            }
        }
        lines
    }

    /// Lets its calls go on that waited until their replies were taken.
    fn resume(&mut self, core: &mut Core<D, P>) {
        if let Some(in_flight) = &mut self.batch
            && in_flight.paused
            && self.session.output().len() < core.limits.output_mark_bytes
        {
            in_flight.paused = false;
            core.pool.resume(&in_flight.batch);
        }
    }

    /// Writes until all is written or the socket takes no more.
    pub(crate) fn flush(&mut self, core: &mut Core<D, P>) {
        while !self.session.output().is_empty() {
            match stream::send(&self.stream, self.session.output()) {
                Ok(count) => {
                    self.session.wrote(count);
                    self.stalled_since = None;
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => {
                    log::debug!("a peer takes no more replies: {e}");
                    self.session.peer_gone();
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
            self.ask_for_writable(waiting, core);
        }
    }

    fn ask_for_writable(&mut self, wanted: bool, core: &Core<D, P>) {
        let interest = if wanted { READING | Interest::WRITABLE } else { READING };
        match core.registry.reregister(&mut self.stream, Token(self.token), interest) {
            Ok(()) => self.writable = wanted,
            Err(e) => {
                log::warn!("a connection cannot be watched for writing and is given up: {e}");
                self.session.peer_gone();
            }
        }
    }

    fn settle(&mut self, core: &mut Core<D, P>) -> TurnOutcome {
        let held = self.session.held();
        core.budget.account(self.accounted, held);
        self.accounted = held;
        if held < core.limits.small_holder_bytes {
            core.budget.release(self.token);
        }
        if self.session.finished() {
            return TurnOutcome::Close;
        }
        let wants_input = self.readable && self.session.wants_input(&core.limits);
        let allowed = core.budget.allows(self.token, held, &core.limits);
        if wants_input && !allowed {
            core.budget.wait(self.token);
        }
        if self.session.may_serve(&core.limits) || (wants_input && allowed && self.session.has_room(&core.limits)) {
            TurnOutcome::Again
        } else {
            TurnOutcome::Wait
        }
    }
}
