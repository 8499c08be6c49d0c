//! A connection's turn: it reads input, serves requests and writes output, within the turn's limits.

use std::io::ErrorKind;

use mio::{Interest, Token};

use crate::dispatch::Dispatch;
use crate::serve::connection::{Connection, Core, InFlight, READING};
use crate::serve::control_plane::{ControlPlane, TickInput, Ticket};
use crate::serve::memory_budget::LineProgress;
use crate::serve::pool::{BatchBuilder, Remainder};
use crate::serve::route::{Route, route};
use crate::sys::stream;
use crate::wire::reply;
use crate::wire::session::{Disposition, ReplyBounds, Served, Storage, Turn};

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
