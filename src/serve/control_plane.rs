//! The control plane as the loop knows it: something that answers control messages, is ticked, and may
//! wish for work on a worker.
//!
//! A tick is one turn of the loop in which something arrived or a moment came: each request of the turn
//! is shown before it is routed, and at the turn's end comes the turn itself. What a plane keeps of
//! states moves in its tick alone; its other functions answer, and leave what the tick takes up. The loop
//! owns the plane and is the only one to call it, so nothing else can move what it holds.

use std::time::{Instant, SystemTime};

use serde::Serialize;

use crate::dispatch::Panicked;
use crate::sys::listener::Listener;
use crate::wire::control::Control;
use crate::wire::reply;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For intervals: never jumps, stands still while the machine is suspended.
    pub instant: Instant,
    /// For dates.
    pub wall: SystemTime,
}

impl Now {
    /// Reads the clocks.
    pub fn read() -> Now {
        Now { instant: Instant::now(), wall: SystemTime::now() }
    }
}

/// Names the reply that a control message is owed when it comes later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(crate) usize);

/// A task for a worker; its value goes to [`ControlPlane::done`].
pub type Task<T> = Box<dyn FnOnce() -> T + Send>;

/// What is shown in a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TickInput<'a> {
    /// A call of this method, which exists, is about to be routed.
    Request(&'a str),
    /// The turn is over: all that arrived in it is taken in.
    Turn,
}

/// How it is around the plane at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that are not answered yet, control messages among them.
    pub in_flight: usize,
    /// Connections open now.
    pub connections: usize,
}

/// What a control plane wants of the loop, collected during one call.
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

    /// The reply line that this ticket is owed.
    pub fn reply(&mut self, ticket: Ticket, line: Vec<u8>) {
        self.replies.push((ticket, line));
    }

    /// Runs on a worker.
    pub fn run_task(&mut self, task: Task<T>) {
        self.tasks.push(task);
    }

    /// Has each worker let go of its own state, which is made anew at its next call, and runs `then`
    /// behind the last of them. One at a time.
    pub fn recycle_workers(&mut self, then: Task<T>) {
        self.recycle = Some(then);
    }

    /// Accepts at this listener from now on. Who waits at the old one is taken in first; then that is
    /// closed, and its path removed where it is still its own.
    pub fn listen(&mut self, listener: Listener) {
        self.listener = Some(listener);
    }

    /// Ends the server as a stop signal would, what is here being served first; but not if somebody
    /// waits to be accepted: there is one last look, and the next tick tells of the new connection.
    pub fn stop(&mut self) {
        self.stop = true;
    }
}

/// Answers control messages.
pub trait ControlPlane {
    /// What its work on a worker gives back.
    type Done: Send + 'static;

    /// Answers `status` at once. `counters` are the server's own.
    fn status(&mut self, counters: &Counters, now: Now) -> Vec<u8>;

    /// Answers any other control message: with a reply line, or with `None` if the reply comes
    /// through [`LoopCommands::reply`] later. Until then nothing else of that connection is served.
    fn control(
        &mut self,
        control: &Control<'_>,
        ticket: Ticket,
        now: Now,
        commands: &mut LoopCommands<Self::Done>,
    ) -> Option<Vec<u8>>;

    /// The next moment to be ticked at, if any. Asked behind each turn's tick.
    fn next_moment(&self) -> Option<Instant>;

    /// A part of a tick.
    fn tick(&mut self, seen: TickInput<'_>, around: Load, now: Now, commands: &mut LoopCommands<Self::Done>);

    /// The server begins to stop: no more is read, what is here is served.
    fn stopping(&mut self);

    /// A task is done.
    fn done(&mut self, done: Result<Self::Done, Panicked>, now: Now, commands: &mut LoopCommands<Self::Done>);
}

/// The server's own figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Connections open now.
    pub connections: usize,
    /// Requests since start, wrong ones included.
    pub requests: u64,
    /// Error replies since start.
    pub errors: u64,
    /// Requests taken for a worker and not answered yet.
    pub in_flight: usize,
    /// Jobs that wait for a worker.
    pub queued: usize,
    /// Worker threads.
    pub workers: usize,
    /// Resident memory in bytes; 0 where the platform does not tell.
    pub rss_bytes: u64,
    /// Input and output held for all connections.
    pub buffered_bytes: usize,
    /// Peers of another user, closed at accept.
    pub refused_peers: u64,
    /// Connections over the limit, or for which there was no descriptor.
    pub refused_connections: u64,
    /// Readers cut off because they took nothing.
    pub cut_readers: u64,
    /// Replies whose peer had gone.
    pub late_results: u64,
    /// Of the last calls that workers answered.
    pub latency_us: Latency,
}

/// From a call's line to its reply at the loop, in microseconds; zeros while there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Latency {
    /// Half took no longer.
    pub p50: u32,
    /// 99 of 100 took no longer.
    pub p99: u32,
    /// The longest.
    pub max: u32,
}

/// The plane of a server that has none: every control message is refused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwired;

/// The refusal of a server without a control plane.
pub fn unwired() -> Vec<u8> {
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

    fn next_moment(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: TickInput<'_>, _: Load, _: Now, _: &mut LoopCommands<()>) {}

    fn stopping(&mut self) {}

    fn done(&mut self, _: Result<(), Panicked>, _: Now, _: &mut LoopCommands<()>) {}
}
