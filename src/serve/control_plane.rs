//! The interface between the loop and a control plane, which answers control messages, is ticked, and gives commands
//! to the loop.
//!
//! The loop owns the plane and calls it on its own thread only, so no lock guards what the plane holds. A control
//! plane's states should change in [`ControlPlane::tick`] alone; the other methods answer, and store what the next
//! tick handles.
//!
//! # Protocol
//!
//! Each turn of the loop calls the plane in this order; every call but [`ControlPlane::next_deadline`] may be left out:
//!
//! ```text
//!   wait for events, until next_deadline() at the latest
//!     │
//!     ├─ done(result, …)             for each task of this plane that a worker has finished
//!     ├─ stopping()                  once, when a drain begins: a signal, a handle, or the plane's own `stop`
//!     │
//!     ├─ for each request read, in the order of each connection:
//!     │    a call of a known method  tick(Request(method), …), then it goes to a worker or is refused
//!     │    `status`                  status(counters, …) → its reply line, at once
//!     │    another control message   control(message, ticket, …) → Some(reply line)
//!     │                                                          → None: the connection waits for reply(ticket, line)
//!     │
//!     ├─ the loop runs the commands given so far
//!     ├─ tick(Turn, …)               always
//!     ├─ the loop runs the commands given by that tick
//!     └─ next_deadline()             → the time of the next turn if no event comes first; None: no limit
//! ```
//!
//! - A method that takes [`LoopCommands`] only appends to them; the loop runs them after the method has returned, at
//!   the points above. Within one run the order is: replies, tasks, recycling of workers, another listener, the stop.
//! - `control` may return `None` and give the reply later, from any method that takes commands. Until then nothing else
//!   of that connection is served. A reply to a connection that has closed, or was refused at the end of a drain, is
//!   dropped and counted in [`Counters::late_results`].
//! - A task runs on a worker thread. Its value, or [`Panicked`] if it panicked, is handed to `done`. A task that is not
//!   finished when the server ends is not handed to `done`.
//! - No method may block: every connection waits for it.
//! - A panic in a method of the plane unwinds through [`Server::run`](super::Server::run) and ends the server.

use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::dispatch::Panicked;
use crate::sys::listener::Listener;
use crate::wire::control::Control;
use crate::wire::reply;

/// The time, read from both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic time, for intervals. It does not advance while the machine is suspended.
    pub instant: Instant,
    /// Wall clock time, for dates.
    pub wall: SystemTime,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Now {
        Now { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// Identifies a control message whose reply is given later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(crate) u64);

/// A task for a worker. Its value is handed to [`ControlPlane::done`].
pub type Task<T> = Box<dyn FnOnce() -> T + Send>;

/// What a tick is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickInput<'a> {
    /// A call of this method, which the dispatch knows, is about to be routed.
    Request(&'a str),
    /// The turn is over: all events of it are handled.
    Turn,
}

/// The server's load at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that are not answered yet, control messages included.
    pub in_flight: usize,
    /// Open connections.
    pub connections: usize,
}

/// Commands of a control plane to the loop, collected during one or more calls.
pub struct LoopCommands<T> {
    pub(crate) replies: Vec<(Ticket, Vec<u8>)>,
    pub(crate) tasks: Vec<Task<T>>,
    pub(crate) recycle: Option<Task<T>>,
    pub(crate) listener: Option<Listener>,
    pub(crate) stop: bool,
}

impl<T> LoopCommands<T> {
    pub(crate) fn new() -> LoopCommands<T> {
        LoopCommands { replies: Vec::new(), tasks: Vec::new(), recycle: None, listener: None, stop: false }
    }

    /// Replies to the control message of this ticket with a reply line.
    pub fn reply(&mut self, ticket: Ticket, line: Vec<u8>) {
        self.replies.push((ticket, line));
    }

    /// Runs a task on a worker.
    pub fn run_task(&mut self, task: Task<T>) {
        self.tasks.push(task);
    }

    /// Has each worker drop its own state, which is created again at its next call, and runs `then` on a worker after
    /// the last of them. Replaces an earlier such task that has not started yet.
    pub fn recycle_workers(&mut self, then: Task<T>) {
        self.recycle = Some(then);
    }

    /// Accepts connections at this listener from now on. Connections that wait at the old one are accepted first; then
    /// it is closed, and its path removed if that still belongs to it.
    pub fn listen(&mut self, listener: Listener) {
        self.listener = Some(listener);
    }

    /// Stops the server as a stop signal does, unless connections wait to be accepted: these are accepted, and the next
    /// tick's [`Load`] counts them.
    pub fn stop(&mut self) {
        self.stop = true;
    }
}

/// Answers control messages. The [module documentation](self) says when each method is called.
pub trait ControlPlane {
    /// What its tasks return.
    type Done: Send + 'static;

    /// Returns the reply line to `status`. `counters` are the server's own.
    fn status(&mut self, counters: &Counters, now: Now) -> Vec<u8>;

    /// Answers any other control message. Returns its reply line, or `None` if the reply is given later by
    /// [`LoopCommands::reply`].
    fn control(
        &mut self,
        control: &Control<'_>,
        ticket: Ticket,
        now: Now,
        commands: &mut LoopCommands<Self::Done>,
    ) -> Option<Vec<u8>>;

    /// Returns the time of the next tick if no event comes first; `None` if there need be none.
    fn next_deadline(&self) -> Option<Instant>;

    /// Called for each call of a known method and at the end of each turn.
    fn tick(&mut self, input: TickInput<'_>, load: Load, now: Now, commands: &mut LoopCommands<Self::Done>);

    /// Called once, when the server begins to drain: no more requests are read, and those that were read are answered.
    fn stopping(&mut self);

    /// Called with the result of each task.
    fn done(&mut self, done: Result<Self::Done, Panicked>, now: Now, commands: &mut LoopCommands<Self::Done>);
}

/// The server's own figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Open connections.
    pub connections: usize,
    /// Requests since start, invalid ones included.
    pub requests: u64,
    /// Error replies since start.
    pub errors: u64,
    /// Requests handed to workers or the control plane and not answered yet.
    pub in_flight: usize,
    /// Jobs that wait for a worker.
    pub queued: usize,
    /// Worker threads.
    pub workers: usize,
    /// Resident memory in bytes; 0 if the platform does not report it.
    pub rss_bytes: u64,
    /// Input and output bytes held for all connections.
    pub buffered_bytes: usize,
    /// Connections of other users, closed at accept.
    pub refused_peers: u64,
    /// Connections refused because of the limit or for lack of descriptors.
    pub refused_connections: u64,
    /// Connections closed because the peer read no output for [`Limits::stalled_reader_after`], or for
    /// [`Limits::short_memory_reader_after`] while memory was short.
    ///
    /// [`Limits::stalled_reader_after`]: crate::limits::Limits::stalled_reader_after
    /// [`Limits::short_memory_reader_after`]: crate::limits::Limits::short_memory_reader_after
    pub cut_readers: u64,
    /// Connections closed because an incomplete line made no progress for [`Limits::stalled_line_after`] while memory
    /// was short.
    ///
    /// [`Limits::stalled_line_after`]: crate::limits::Limits::stalled_line_after
    pub cut_lines: u64,
    /// Replies dropped because their connection had closed.
    pub late_results: u64,
    /// Latency of the latest calls that workers answered.
    pub latency_us: Latency,
}

/// Time from reading a call to receiving its reply at the loop, in microseconds; zeros before the first one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Median.
    pub p50: u32,
    /// 99th percentile.
    pub p99: u32,
    /// Maximum.
    pub max: u32,
}

/// The control plane of a server that has none: it refuses every control message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwired;

/// Returns the reply line of a server without a control plane.
pub(crate) fn unwired() -> Vec<u8> {
    let mut line = Vec::new();
    reply::control_refused(&mut line, "control_plane_unwired", "this server has no control plane");
    line
}

impl ControlPlane for Unwired {
    type Done = ();

    fn status(&mut self, _: &Counters, _: Now) -> Vec<u8> {
        unwired()
    }

    fn control(&mut self, _: &Control<'_>, _: Ticket, _: Now, _: &mut LoopCommands<()>) -> Option<Vec<u8>> {
        Some(unwired())
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: TickInput<'_>, _: Load, _: Now, _: &mut LoopCommands<()>) {}

    fn stopping(&mut self) {}

    fn done(&mut self, _: Result<(), Panicked>, _: Now, _: &mut LoopCommands<()>) {}
}
