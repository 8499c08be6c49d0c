//! The event loop: waits for events, gives each connection its turn, and runs the timers.
//!
//! Everything that can happen is a [`LoopEvent`]. A turn of the loop first handles what happened (connections, results,
//! timers), then gives every connection on the ready list one turn; a connection with more to do goes to the end of
//! the list. The loop blocks only in `poll`, and without a timeout unless something is due. If calls follow each other
//! closely, it polls without blocking for a short time first, see [`BusyPoll`].

use std::collections::BinaryHeap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::dispatch::Dispatch;
use crate::serve::acceptor::{self, Accepted, Acceptor};
use crate::serve::busy_poll::BusyPoll;
use crate::serve::connection::turn::TurnOutcome;
use crate::serve::connection::{Connection, Core, READING};
use crate::serve::connection_id::ConnectionId;
use crate::serve::connection_table::ConnectionTable;
use crate::serve::control_plane::{ControlPlane, Now, TickInput};
use crate::serve::event::{LISTENER, LoopEvent, STOP};
use crate::serve::memory_budget::Relief;
use crate::serve::pool::Outcome;
use crate::serve::timers::Timers;
use crate::sys::listener::Listener;
use crate::sys::path_guard::PathGuard;
use crate::sys::process;
use crate::wire::reply::STOPPING;
use crate::wire::session::Storage;

/// Events taken from the kernel at once. Picked: more than a busy turn brings.
const MAX_EVENT_COUNT: usize = 256;

/// A drain in progress.
struct Drain {
    /// When the remaining requests are refused; `None` once they are.
    refuse_at: Option<Instant>,
    end_at: Instant,
    /// The socket's path has been removed; its lock is held to the end.
    _path: Option<PathGuard>,
}

/// A running server.
pub(crate) struct EventLoop<D: Dispatch, P: ControlPlane> {
    poll: Poll,
    core: Core<D, P>,
    connections: ConnectionTable<D, P>,
    busy_poll: BusyPoll,
    /// Empty between turns.
    results: Vec<Outcome<P::Done>>,
    timers: Timers,
    /// `None` once a drain has begun.
    acceptor: Option<Acceptor>,
    /// A failure to accept has been logged. Reset by the next connection that is accepted.
    accept_failure_logged: bool,
    drain: Option<Drain>,
    stop_fd: Option<OwnedFd>,
    stop_asked: Arc<AtomicBool>,
}

impl<D: Dispatch, P: ControlPlane> EventLoop<D, P> {
    pub(crate) fn new(
        poll: Poll,
        core: Core<D, P>,
        mut acceptor: Acceptor,
        stop_fd: Option<OwnedFd>,
        stop_asked: Arc<AtomicBool>,
    ) -> io::Result<EventLoop<D, P>> {
        acceptor.register(poll.registry(), LISTENER)?;
        if let Some(fd) = &stop_fd {
            poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), STOP, Interest::READABLE)?;
        }
        Ok(EventLoop {
            poll,
            core,
            connections: ConnectionTable::new(),
            busy_poll: BusyPoll::new(process::processors()),
            results: Vec::new(),
            timers: Timers::default(),
            acceptor: Some(acceptor),
            accept_failure_logged: false,
            drain: None,
            stop_fd,
            stop_asked,
        })
    }

    /// Serves until the drain is over.
    ///
    /// # Errors
    /// Those of polling, [`ErrorKind::Interrupted`] excepted. No peer can cause them.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(MAX_EVENT_COUNT);
        while !self.ended() {
            let timeout = self.timeout();
            match self.wait(&mut events, timeout) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            self.core.now = Now::read();
            // A poll without a timeout that returned nothing says nothing about the pauses between events.
            if timeout != Some(Duration::ZERO) || !events.is_empty() {
                self.busy_poll.record(events.iter().count(), self.core.now.instant);
            }
            self.take_results();
            for event in events.iter().map(LoopEvent::from) {
                self.on_event(event);
            }
            self.on_timers();
            self.serve_ready();
            self.admit_waiting();
            self.run_commands();
            self.tick();
            self.run_commands();
        }
        if let Some(fd) = self.stop_fd.take() {
            self.poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()))?;
        }
        let end_at = self.drain.as_ref().map_or(self.core.now.instant, |drain| drain.end_at);
        let EventLoop { core: Core { pool, dispatch, .. }, connections, drain, .. } = self;
        drop(connections);
        pool.end(end_at.saturating_duration_since(Instant::now()));
        // The dispatch is dropped before the path's lock, so that the next owner of the lock can open what it held.
        drop(dispatch);
        drop(drain);
        Ok(())
    }

    fn ended(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| self.connections.is_empty() || drain.end_at <= self.core.now.instant)
    }

    /// Called at the end of a turn: hands the collected jobs to the workers. Returns how long to wait for events.
    fn timeout(&mut self) -> Option<Duration> {
        let Core { pool, now, metrics, .. } = &mut self.core;
        pool.hand_over();
        pool.end_turn(now.instant, metrics.in_flight > 0);
        if self.connections.ready_len() > 0 || !pool.may_sleep() {
            return Some(Duration::ZERO);
        }
        let drain = self.drain.as_ref().map(|drain| drain.refuse_at.unwrap_or(drain.end_at));
        let Core { pool, plane, budget, .. } = &self.core;
        let deadlines = [drain, pool.next_deadline(), plane.next_deadline(), budget.next_deadline()];
        self.timers.earliest(deadlines).map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for events, for `timeout` at most; polls without blocking first if [`BusyPoll`] says so.
    fn wait(&mut self, events: &mut Events, mut timeout: Option<Duration>) -> io::Result<()> {
        if timeout != Some(Duration::ZERO) {
            let mut now = Instant::now();
            let due = timeout.map(|timeout| now + timeout);
            let until = self.busy_poll.until(now);
            while now < due.map_or(until, |due| due.min(until)) {
                self.poll.poll(events, Some(Duration::ZERO))?;
                if !events.is_empty() {
                    return Ok(());
                }
                // Other threads that are ready to run on this processor run first.
                thread::yield_now();
                let before = std::mem::replace(&mut now, Instant::now());
                self.busy_poll.record_yield(now - before, now);
            }
            timeout = due.map(|due| due.saturating_duration_since(now));
        }
        self.poll.poll(events, timeout)
    }

    fn on_event(&mut self, event: LoopEvent) {
        match event {
            LoopEvent::Listening => self.accept(),
            LoopEvent::Woken if self.stop_asked.load(Ordering::SeqCst) => self.begin_drain(),
            LoopEvent::Woken => {}
            LoopEvent::Stop => self.begin_drain(),
            LoopEvent::Peer { token, readable, ragged, gone } => {
                let Some(connection) = self.connections.enqueue(token) else { return };
                if readable {
                    connection.became_readable(ragged);
                }
                if gone {
                    connection.peer_gone(&mut self.core);
                }
            }
        }
    }

    fn on_timers(&mut self) {
        let now = self.core.now;
        if self.timers.accept_due(now.instant) {
            self.accept();
        }
        while let Some(token) = self.timers.stalled_due(now.instant) {
            self.check_stalled(token);
        }
        if self.drain.as_mut().is_some_and(|drain| drain.refuse_at.take_if(|at| *at <= now.instant).is_some()) {
            self.refuse_remaining();
        }
        if let Some(relief) = self.core.budget.relief(now.instant) {
            self.relieve(relief);
        }
    }

    /// Closes connections that hold memory and make no progress, those that hold the most first, until the accounts that
    /// others wait for are below their marks: peers that read no output, and incomplete lines.
    fn relieve(&mut self, relief: Relief) {
        let now = self.core.now.instant;
        if relief.output {
            let limit = self.core.limits.short_memory_reader_after;
            let held = |connection: &Connection<D, P>| {
                connection.has_stalled_for(limit, now).then(|| connection.session.waiting_output())
            };
            let cut = self.cut_while(held, |needed| needed.output, |connection| connection.has_stalled_for(limit, now));
            self.core.metrics.cut_readers += cut;
            log_cut(cut, "peer read nothing", limit);
        }
        if relief.input {
            let limit = self.core.limits.stalled_line_after;
            let has_stalled = |connection: &Connection<D, P>| {
                connection.line_progress.as_ref().is_some_and(|line| line.has_stalled_for(limit, now))
            };
            let held = |connection: &Connection<D, P>| has_stalled(connection).then(|| connection.session.held_input());
            let cut = self.cut_while(held, |needed| needed.input, has_stalled);
            self.core.metrics.cut_lines += cut;
            log_cut(cut, "an incomplete line made no progress", limit);
        }
    }

    /// Closes the connections that `held` returns bytes for, the most first, while `is_needed`. Each is flushed before,
    /// and spared if `has_stalled` is false then. Returns their number.
    fn cut_while(
        &mut self,
        held: impl Fn(&Connection<D, P>) -> Option<usize>,
        is_needed: impl Fn(Relief) -> bool,
        has_stalled: impl Fn(&Connection<D, P>) -> bool,
    ) -> u64 {
        let with_token = |connection: &Connection<D, P>| Some((held(connection)?, connection.token));
        let mut holders: BinaryHeap<(usize, usize)> = self.connections.iter().filter_map(with_token).collect();
        let mut cut = 0;
        while self.core.budget.needed_relief().is_some_and(&is_needed)
            && let Some((_, token)) = holders.pop()
            && let Some(connection) = self.connections.find(token)
        {
            // A socket is reported writable only when most of its buffer is free.
            connection.flush(&mut self.core);
            if has_stalled(connection) {
                self.close(token);
                cut += 1;
            } else {
                self.connections.enqueue(token);
            }
        }
        cut
    }

    /// Puts connections that waited for memory on the ready list. Runs after the connections' turns, which may have
    /// freed memory: no other event need follow.
    fn admit_waiting(&mut self) {
        let EventLoop { core, connections, .. } = self;
        core.budget.admit(core.now.instant, &core.limits, |id| {
            connections.enqueue_id(ConnectionId(id));
        });
    }

    /// Accepts a bounded number of the waiting connections; the others in the next turn.
    fn accept(&mut self) {
        for _ in 0..self.core.limits.turn_accepts {
            let Some(acceptor) = &mut self.acceptor else { return };
            match acceptor.accept() {
                Accepted::Peer(stream) => {
                    self.accept_failure_logged = false;
                    self.admit(stream);
                }
                Accepted::OtherUser => self.core.metrics.refused_peers += 1,
                Accepted::OutOfDescriptors => self.core.metrics.refused_connections += 1,
                Accepted::Aborted => {}
                Accepted::NoneWaiting => return,
                Accepted::Failed(e) => {
                    let pause = self.core.limits.accept_retry;
                    if !std::mem::replace(&mut self.accept_failure_logged, true) {
                        log::warn!("cannot accept connections, retrying every {pause:?}: {e}");
                    }
                    self.timers.accept = Some(self.core.now.instant + pause);
                    return;
                }
            }
        }
        self.timers.accept = Some(self.core.now.instant);
    }

    fn admit(&mut self, mut stream: UnixStream) {
        let limit = self.core.limits.max_connections;
        if self.connections.len() >= limit {
            self.core.metrics.refused_connections += 1;
            acceptor::refuse(stream, &format!("too many connections (limit {limit})"));
            return;
        }
        let (id, token) = self.connections.next_id();
        if let Err(e) = self.core.registry.register(&mut stream, Token(token), READING) {
            log::warn!("refused a connection: cannot register it for events: {e}");
            self.core.metrics.refused_connections += 1;
            acceptor::refuse(stream, "the connection cannot be registered for events");
            return;
        }
        self.connections.insert(Connection::new(id, token, stream, &self.core.limits));
        self.core.metrics.connections += 1;
    }

    fn take_results(&mut self) {
        let mut results = std::mem::take(&mut self.results);
        self.core.pool.take(&mut results);
        for outcome in results.drain(..) {
            let delivery = match outcome {
                Outcome::Replies(delivery) => delivery,
                Outcome::Task(done) => {
                    self.core.plane.done(done, self.core.now, &mut self.core.commands);
                    continue;
                }
            };
            self.core.metrics.answered(delivery.count, delivery.since, self.core.now.instant);
            self.core.metrics.errors += delivery.errors as u64;
            match self.connections.enqueue_id(ConnectionId(delivery.owner)) {
                Some(connection) => connection.delivered(delivery, &mut self.core),
                None => delivery.forget(&mut self.core),
            }
        }
        self.results = results;
    }

    /// Gives each connection that is on the ready list now its turn.
    fn serve_ready(&mut self) {
        for _ in 0..self.connections.ready_len() {
            let Some(connection) = self.connections.pop_ready() else { continue };
            let token = connection.token;
            let after = connection.turn(&mut self.core);
            if let Some(since) = connection.stalled_since
                && connection.stall_check_at.is_none()
            {
                let due = since + self.core.limits.stalled_reader_after;
                connection.stall_check_at = Some(due);
                self.timers.stalled.insert((due, token));
            }
            match after {
                TurnOutcome::Again => {
                    self.connections.enqueue(token);
                }
                TurnOutcome::Wait => {}
                TurnOutcome::Close => self.close(token),
            }
        }
    }

    fn close(&mut self, token: usize) {
        let mut connection = self.connections.remove(token);
        connection.forget(&mut self.core);
        if let Some(due) = connection.stall_check_at {
            self.timers.stalled.remove(&(due, token));
        }
        self.core.metrics.connections -= 1;
        acceptor::finish(&connection.stream);
    }

    /// Closes the connection if its peer has taken no output for `stalled_reader_after`.
    fn check_stalled(&mut self, token: usize) {
        let Some(connection) = self.connections.find(token) else { return };
        connection.stall_check_at = None;
        if connection.stalled_since.is_none() {
            return;
        }
        // A socket is reported writable only when most of its buffer is free: the peer may have taken
        // some output without such an event.
        connection.flush(&mut self.core);
        let limit = self.core.limits.stalled_reader_after;
        if !connection.has_stalled_for(limit, self.core.now.instant) {
            self.connections.enqueue(token);
            return;
        }
        log::info!("closed a connection: peer read nothing for {} s", limit.as_secs_f64());
        self.core.metrics.cut_readers += 1;
        self.close(token);
    }

    /// Ticks the control plane at the turn's end.
    fn tick(&mut self) {
        let Core { plane, metrics, now, commands, .. } = &mut self.core;
        plane.tick(TickInput::Turn, metrics.load(), *now, commands);
    }

    /// Runs the commands that the control plane gave in this turn.
    fn run_commands(&mut self) {
        for (ticket, line) in std::mem::take(&mut self.core.commands.replies) {
            match self.connections.enqueue_id(ConnectionId(ticket.0)) {
                Some(connection) => connection.plane_answered(&line, &mut self.core),
                None => self.core.metrics.late_results += 1,
            }
        }
        for task in std::mem::take(&mut self.core.commands.tasks) {
            self.core.pool.run_task(task);
        }
        if let Some(then) = self.core.commands.recycle.take() {
            self.core.storage = Storage::default();
            self.core.pool.recycle_workers(then);
        }
        if let Some(listener) = self.core.commands.listener.take() {
            self.listen_at(listener);
        }
        if std::mem::take(&mut self.core.commands.stop) {
            self.drain_unless_connections_wait();
        }
    }

    /// Accepts at another listener from now on. A draining server accepts nothing: the listener is dropped, which
    /// removes its path.
    fn listen_at(&mut self, listener: Listener) {
        let Some(acceptor) = &mut self.acceptor else { return };
        match acceptor.replace(listener, self.poll.registry(), LISTENER) {
            Ok(()) => self.accept(),
            Err(e) => log::error!("dropped the new listener: cannot register it for events: {e}"),
        }
    }

    /// Begins the drain unless connections wait to be accepted. An inherited listener stays open with its owner, so
    /// the next daemon accepts connections that come later.
    fn drain_unless_connections_wait(&mut self) {
        let before = self.connections.len();
        self.accept();
        // If accepting is to be retried, connections may wait.
        if self.connections.len() == before && self.timers.accept.is_none() {
            self.begin_drain();
        }
    }

    /// Begins the drain: nothing more is accepted or read, and requests that were read are answered.
    fn begin_drain(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        let limits = &self.core.limits;
        let now = self.core.now.instant;
        log::info!("stopping: draining {} connections", self.connections.len());
        self.drain = Some(Drain {
            refuse_at: Some(now + limits.drain_timeout.saturating_sub(limits.drain_grace)),
            end_at: now + limits.drain_timeout,
            _path: acceptor.close(),
        });
        self.core.plane.stopping();
        self.connections.enqueue_all(|connection| connection.session.drain());
    }

    /// Refuses all requests that are not answered by the end of the drain.
    fn refuse_remaining(&mut self) {
        // Results that have arrived are delivered first.
        self.take_results();
        let EventLoop { core, connections, .. } = self;
        connections.enqueue_all(|connection| connection.refuse_remaining(STOPPING, core));
    }
}

/// Logs that connections were closed while memory was short.
fn log_cut(count: u64, why: &str, limit: Duration) {
    if count > 0 {
        log::info!("closed {count} connections: {why} for {} s while memory was short", limit.as_secs_f64());
    }
}
