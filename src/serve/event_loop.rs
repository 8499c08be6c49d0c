//! The loop: waits for what happens, gives each connection its turn, keeps the moments.
//!
//! Everything that can happen is an [`Event`]. A turn of the loop first takes in what happened
//! (peers, results, moments), then gives every connection on the ready list one turn of its own;
//! one that is not through goes to the end of the list. The loop never blocks but in `poll`, and
//! there without a timeout unless something is due; where calls come right behind each other, it looks
//! for the next one for a moment before it does.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mio::net::UnixStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use crate::dispatch::Dispatch;
use crate::serve::acceptor::{self, Accepted, Acceptor};
use crate::serve::busy_poll::BusyPoll;
use crate::serve::connection::{Connection, Core, READING, TurnOutcome};
use crate::serve::control_plane::{ControlPlane, Now, TickInput};
use crate::serve::pool::Outcome;
use crate::serve::timers::Timers;
use crate::sys::listener::Listener;
use crate::sys::path_guard::PathGuard;
use crate::sys::process;
use crate::wire::reply::STOPPING;
use crate::wire::session::Storage;

const LISTENER: Token = Token(usize::MAX);
pub(crate) const WAKER: Token = Token(usize::MAX - 1);
const STOP: Token = Token(usize::MAX - 2);

/// Bits of a token that are the slab key; the generation stands above them. Twice as many keys as
/// connections are ever allowed, and on 32 bits still 2^16 generations.
const KEY_BITS: u32 = 15;
const KEY_MASK: usize = (1 << KEY_BITS) - 1;
/// Keeps the tokens of connections below the three above.
const GENERATIONS: usize = (usize::MAX >> (KEY_BITS + 1)) + 1;

/// Events taken from the kernel at once. Picked: more than a busy turn brings.
const EVENTS: usize = 256;

/// What can happen.
enum Event {
    /// Somebody may want to connect.
    Listening,
    /// Workers have results, or a handle asks to stop.
    Woken,
    /// The stop descriptor became readable.
    Stop,
    /// A connection can be read, or written, again.
    Peer { token: usize, readable: bool, ragged: bool },
}

/// The end, once it has begun.
struct Drain {
    /// When what is left is refused; `None` once it was.
    refuse_at: Option<Instant>,
    end_at: Instant,
    /// The socket's path has gone; its lock is held to the end.
    _path: Option<PathGuard>,
}

pub(crate) struct EventLoop<D: Dispatch, P: ControlPlane> {
    poll: Poll,
    core: Core<D, P>,
    connections: Slab<Connection<D, P>>,
    generation: usize,
    ready: VecDeque<usize>,
    busy_poll: BusyPoll,
    /// Empty between the turns.
    results: Vec<Outcome<P::Done>>,
    timers: Timers,
    /// `None` once the server is stopping.
    acceptor: Option<Acceptor>,
    /// The log says that nobody can be accepted. Said again only after somebody was.
    accept_failure_told: bool,
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
            connections: Slab::new(),
            generation: 0,
            ready: VecDeque::new(),
            busy_poll: BusyPoll::new(process::processors()),
            results: Vec::new(),
            timers: Timers::default(),
            acceptor: Some(acceptor),
            accept_failure_told: false,
            drain: None,
            stop_fd,
            stop_asked,
        })
    }

    /// Serves until the end.
    ///
    /// # Errors
    /// The system's, where waiting for events fails; nothing a peer does leads there.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        while !self.ended() {
            let timeout = self.timeout();
            match self.wait(&mut events, timeout) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            self.core.now = Now::read();
            // That nothing came is news only where it was waited for.
            if timeout != Some(Duration::ZERO) || !events.is_empty() {
                self.busy_poll.came(events.iter().count(), self.core.now.instant);
            }
            self.take_results();
            for event in events.iter().map(Event::from) {
                self.on_event(event);
            }
            self.on_moments();
            self.serve_ready();
            self.relieve();
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
        // The path's lock goes after the dispatch: whoever takes it next finds what that had let go.
        drop(dispatch);
        drop(drain);
        Ok(())
    }

    fn ended(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| self.connections.is_empty() || drain.end_at <= self.core.now.instant)
    }

    /// The turn is over: how long nothing is due. What was collected goes to the workers.
    fn timeout(&mut self) -> Option<Duration> {
        let Core { pool, now, metrics, .. } = &mut self.core;
        pool.hand_over();
        pool.end_turn(now.instant, metrics.in_flight > 0);
        if !self.ready.is_empty() || !pool.may_sleep() {
            return Some(Duration::ZERO);
        }
        let drain = self.drain.as_ref().map(|drain| drain.refuse_at.unwrap_or(drain.end_at));
        let Core { pool, plane, budget, .. } = &self.core;
        let moment = self.timers.earliest([drain, pool.next_deadline(), plane.next_moment(), budget.next_moment()]);
        moment.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits until something happens, for `timeout` at the most; awake at first, where that is worth it.
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
                // Whoever else wants this processor has it first.
                thread::yield_now();
                now = Instant::now();
            }
            timeout = due.map(|due| due.saturating_duration_since(now));
        }
        self.poll.poll(events, timeout)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Listening => self.accept(),
            Event::Woken => {
                if self.stop_asked.load(Ordering::SeqCst) {
                    self.begin_drain();
                }
            }
            Event::Stop => self.begin_drain(),
            Event::Peer { token, readable, ragged } => {
                if let Some(connection) = find(&mut self.connections, token) {
                    if readable {
                        connection.became_readable(ragged);
                    }
                    enqueue(&mut self.ready, connection);
                }
            }
        }
    }

    fn on_moments(&mut self) {
        let now = self.core.now;
        if self.timers.accept_due(now.instant) {
            self.accept();
        }
        while let Some(token) = self.timers.stalled_due(now.instant) {
            self.look_at_stalled(token);
        }
        if self.drain.as_mut().is_some_and(|drain| drain.refuse_at.take_if(|at| *at <= now.instant).is_some()) {
            self.refuse_rest();
        }
    }

    /// Lets those be read again that waited for memory. TurnOutcome the turns, in which it came free: no
    /// other event may follow.
    fn relieve(&mut self) {
        let EventLoop { core, connections, ready, .. } = self;
        core.budget.relieve(core.now.instant, &core.limits, |token| {
            if let Some(connection) = find(connections, token) {
                enqueue(ready, connection);
            }
        });
    }

    /// Takes in a bounded number of those who wait; the rest in the next turn.
    fn accept(&mut self) {
        for _ in 0..self.core.limits.turn_accepts {
            let Some(acceptor) = &mut self.acceptor else { return };
            match acceptor.accept() {
                Accepted::Peer(stream) => {
                    self.accept_failure_told = false;
                    self.admit(stream);
                }
                Accepted::OtherUser => self.core.metrics.refused_peers += 1,
                Accepted::OutOfDescriptors => self.core.metrics.refused_connections += 1,
                Accepted::Aborted => {}
                Accepted::NoneWaiting => return,
                Accepted::Failed(e) => {
                    if !std::mem::replace(&mut self.accept_failure_told, true) {
                        log::warn!(
                            "nobody can be accepted, trying again every {:?}: {e}",
                            self.core.limits.accept_retry
                        );
                    }
                    self.timers.accept = Some(self.core.now.instant + self.core.limits.accept_retry);
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
        let entry = self.connections.vacant_entry();
        let token = self.generation << KEY_BITS | entry.key();
        self.generation = (self.generation + 1) % GENERATIONS;
        if let Err(e) = self.core.registry.register(&mut stream, Token(token), READING) {
            log::warn!("a connection cannot be watched and is refused: {e}");
            self.core.metrics.refused_connections += 1;
            acceptor::refuse(stream, "the connection cannot be watched");
            return;
        }
        entry.insert(Connection::new(token, stream, &self.core.limits));
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
            match find(&mut self.connections, delivery.owner) {
                Some(connection) => {
                    connection.delivered(delivery, &mut self.core);
                    enqueue(&mut self.ready, connection);
                }
                None => self.core.metrics.late_results += delivery.count as u64,
            }
        }
        self.results = results;
    }

    /// Gives each connection that is on the list now its turn.
    fn serve_ready(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(token) = self.ready.pop_front() else { return };
            let Some(connection) = find(&mut self.connections, token) else { continue };
            connection.queued = false;
            let after = connection.turn(&mut self.core);
            if let Some(since) = connection.stalled_since
                && connection.watched.is_none()
            {
                let due = since + self.core.limits.stalled_reader_after;
                connection.watched = Some(due);
                self.timers.stalled.insert((due, token));
            }
            match after {
                TurnOutcome::Again => enqueue(&mut self.ready, connection),
                TurnOutcome::Wait => {}
                TurnOutcome::Close => self.close(token),
            }
        }
    }

    fn close(&mut self, token: usize) {
        let mut connection = self.connections.remove(token & KEY_MASK);
        connection.leave(&mut self.core);
        if let Some(due) = connection.watched {
            self.timers.stalled.remove(&(due, token));
        }
        self.core.metrics.connections -= 1;
        acceptor::finish(&connection.stream);
    }

    /// A peer's time may be up, unless it has taken something since.
    fn look_at_stalled(&mut self, token: usize) {
        let Some(connection) = find(&mut self.connections, token) else { return };
        connection.watched = None;
        if connection.stalled_since.is_none() {
            return;
        }
        // A socket is said to be writable only when most of its buffer is free: the peer may have taken
        // some of it.
        connection.flush(&mut self.core);
        let patience = self.core.limits.stalled_reader_after;
        if connection.stalled_since.is_none_or(|since| since + patience > self.core.now.instant) {
            enqueue(&mut self.ready, connection);
            return;
        }
        log::info!("a reader was cut off: it took nothing for {patience:?}");
        self.core.metrics.cut_readers += 1;
        self.close(token);
    }

    /// The turn is over.
    fn tick(&mut self) {
        let Core { plane, metrics, now, commands, .. } = &mut self.core;
        plane.tick(TickInput::Turn, metrics.around(), *now, commands);
    }

    /// Does what the control plane wished for in this turn.
    fn run_commands(&mut self) {
        for (ticket, line) in std::mem::take(&mut self.core.commands.replies) {
            match find(&mut self.connections, ticket.0) {
                Some(connection) => {
                    connection.plane_answered(&line, &mut self.core);
                    enqueue(&mut self.ready, connection);
                }
                None => self.core.metrics.late_results += 1,
            }
        }
        for work in std::mem::take(&mut self.core.commands.tasks) {
            self.core.pool.run_task(work);
        }
        if let Some(then) = self.core.commands.recycle.take() {
            self.core.storage = Storage::default();
            self.core.pool.recycle_workers(then);
        }
        if let Some(listener) = self.core.commands.listener.take() {
            self.listen_at(listener);
        }
        if std::mem::take(&mut self.core.commands.stop) {
            self.end_unless_somebody_waits();
        }
    }

    /// A stopping server takes in nobody: the listener goes, and its path with it.
    fn listen_at(&mut self, listener: Listener) {
        let Some(acceptor) = &mut self.acceptor else { return };
        match acceptor.follow(listener, self.poll.registry(), LISTENER) {
            Ok(()) => self.accept(),
            Err(e) => log::error!("the new listener cannot be watched and is given up: {e}"),
        }
    }

    /// One last look at the listener. An inherited one stays open with its owner, so whoever comes after
    /// that is found by the next daemon.
    fn end_unless_somebody_waits(&mut self) {
        let before = self.connections.len();
        self.accept();
        // Where accepting is tried again, nobody knows yet whether somebody waits.
        if self.connections.len() == before && self.timers.accept.is_none() {
            self.begin_drain();
        }
    }

    /// Begins the end: nothing more is accepted or read, what is here is served.
    fn begin_drain(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        let limits = &self.core.limits;
        let now = self.core.now.instant;
        log::info!("stopping: {} connections are served to their end", self.connections.len());
        self.drain = Some(Drain {
            refuse_at: Some(now + limits.drain_timeout.saturating_sub(limits.drain_grace)),
            end_at: now + limits.drain_timeout,
            _path: acceptor.close(),
        });
        self.core.plane.stopping();
        for (_, connection) in &mut self.connections {
            connection.session.drain();
            enqueue(&mut self.ready, connection);
        }
    }

    /// The drain's time is up.
    fn refuse_rest(&mut self) {
        // What is answered already is not refused.
        self.take_results();
        for (_, connection) in &mut self.connections {
            connection.refuse_rest(STOPPING, &mut self.core);
            enqueue(&mut self.ready, connection);
        }
    }
}

impl From<&mio::event::Event> for Event {
    fn from(event: &mio::event::Event) -> Event {
        match event.token() {
            LISTENER => Event::Listening,
            WAKER => Event::Woken,
            STOP => Event::Stop,
            Token(token) => Event::Peer {
                token,
                readable: event.is_readable() || event.is_read_closed() || event.is_error() || event.is_priority(),
                ragged: event.is_read_closed() || event.is_error() || event.is_priority(),
            },
        }
    }
}

/// The connection of this token, unless it has gone and its key is another's.
fn find<D: Dispatch, P: ControlPlane>(
    connections: &mut Slab<Connection<D, P>>,
    token: usize,
) -> Option<&mut Connection<D, P>> {
    connections.get_mut(token & KEY_MASK).filter(|connection| connection.token == token)
}

/// Puts a connection on the ready list, once.
fn enqueue<D: Dispatch, P: ControlPlane>(ready: &mut VecDeque<usize>, connection: &mut Connection<D, P>) {
    if !connection.queued {
        connection.queued = true;
        ready.push_back(connection.token);
    }
}
