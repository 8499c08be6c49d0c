//! A server of the test's own for each test: a dispatch whose handlers wait for the test, a control
//! plane that shows the server's figures, a peer that speaks lines, and a clean-up.
//!
//! What a handler does is written down in the order in which it happened ([`Desk::log`]), so that
//! order and overlap are seen and never measured by time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use iaid::dispatch::{Dispatch, LateReply, Pace, Panicked, Params, Reply};
use iaid::limits::Limits;
use iaid::serve::control_plane::{ControlPlane, Counters, Load, LoopCommands, Now, TickInput, Ticket};
use iaid::serve::{Handle, Server};
use iaid::sys::listener::Listener;
use iaid::wire::control::Control;
use iaid::wire::reply;
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything. Long, since a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Where the test and the handlers meet.
#[derive(Default)]
pub struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    open: BTreeSet<String>,
    /// The test is over: nothing waits any more.
    over: bool,
    kept: BTreeMap<String, LateReply>,
    workers: usize,
}

/// What a worker has of its own.
pub struct Own {
    number: usize,
    calls: usize,
}

impl Desk {
    /// What happened, in order: `METHOD NAME` when a handler of that name began, and what the test
    /// itself noted.
    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    pub fn note(&self, what: &str) {
        self.lock().log.push(what.into());
        self.changed.notify_all();
    }

    /// Waits until the handler has begun.
    pub fn await_log(&self, what: &str) {
        self.wait_until(what, |state| state.log.iter().any(|line| line == what));
    }

    /// Lets the handlers go that hold this gate.
    pub fn open(&self, gate: &str) {
        self.lock().open.insert(gate.into());
        self.changed.notify_all();
    }

    /// Answers a call that `keep` kept, from this thread, and notes it first.
    pub fn answer(&self, name: &str) {
        self.note(&format!("answered {name}"));
        self.take(name).send(Ok(name));
    }

    /// A reply that `keep` kept.
    pub fn take(&self, name: &str) -> LateReply {
        self.wait_until(name, |state| state.kept.contains_key(name));
        self.lock().kept.remove(name).expect("it was there")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A test that has failed panics with it in hand, and still cleans up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, what: &str, mut so: impl FnMut(&State) -> bool) {
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, |state| !so(state));
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "waited in vain for {what:?}; so far: {:?}", state.log);
    }

    fn end(&self) {
        let kept = {
            let mut state = self.lock();
            state.over = true;
            std::mem::take(&mut state.kept)
        };
        self.changed.notify_all();
        drop(kept);
    }
}

impl Dispatch for Desk {
    type Worker = Own;

    fn worker(&self) -> Own {
        let mut state = self.lock();
        state.workers += 1;
        Own { number: state.workers, calls: 0 }
    }

    fn method(&self, name: &str) -> Option<Pace> {
        match name {
            "echo" | "hold" | "panic" | "forget" | "big" | "own" | "keep" => Some(Pace::Ordered),
            "write" | "either" => Some(Pace::Pipelined),
            _ => None,
        }
    }

    fn call(&self, own: &mut Own, method: &str, params: Params<'_>, reply: Reply<'_>) {
        own.calls += 1;
        let name = params.string_or("name", "").unwrap_or_default().into_owned();
        self.note(&format!("{method} {name}"));
        match method {
            "panic" => panic!("told to, by {name}"),
            "forget" => {}
            "hold" => {
                self.wait_until_open(&name);
                reply.send(Ok(name));
            }
            "keep" | "write" => {
                let reply = reply.later();
                self.lock().kept.insert(name, reply);
                self.changed.notify_all();
            }
            "either" if name == "at once" => reply.later().send(Ok(name)),
            "either" if name.starts_with("gate") => {
                self.wait_until_open(&name);
                reply.send(Ok(name));
            }
            "either" if name == "later" => {
                let reply = reply.later();
                std::thread::spawn(move || reply.send(Ok(name)));
            }
            "big" => {
                let bytes = params.integer_or("bytes", 0..=1 << 24, 0);
                reply.send(bytes.map(|bytes| "x".repeat(bytes as usize)));
            }
            "own" => reply.send(Ok([own.number, own.calls])),
            _ => reply.send::<String>(Ok(name)),
        }
    }
}

impl Desk {
    fn wait_until_open(&self, gate: &str) {
        let state = self.lock();
        let closed = |state: &mut State| !state.over && !state.open.contains(gate);
        drop(self.changed.wait_while(state, closed).unwrap_or_else(PoisonError::into_inner));
    }
}

/// A control plane that shows the server's figures. `pause` is answered at once, `resume` through
/// work on a worker, `force_wake` through work that panics, `force_rem` once all workers have rested;
/// `session_open` ends the server.
#[derive(Default)]
pub struct Figures {
    asked: Vec<Ticket>,
}

impl ControlPlane for Figures {
    type Done = ();

    fn status(&mut self, counters: &Counters, _: Now) -> Vec<u8> {
        let mut line = Vec::new();
        reply::object(&mut line, counters);
        line
    }

    fn control(
        &mut self,
        control: &Control<'_>,
        ticket: Ticket,
        _: Now,
        wishes: &mut LoopCommands<()>,
    ) -> Option<Vec<u8>> {
        match control {
            Control::Resume { .. } => wishes.run_task(Box::new(|| ())),
            Control::Rem { .. } => wishes.recycle_workers(Box::new(|| ())),
            Control::Wake { .. } => wishes.run_task(Box::new(|| panic!("work that panics"))),
            Control::SessionOpen { .. } => {
                wishes.stop();
                return Some(b"{\"ok\":true}\n".into());
            }
            _ => return Some(b"{\"ok\":true}\n".into()),
        }
        self.asked.push(ticket);
        None
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: TickInput<'_>, _: Load, _: Now, _: &mut LoopCommands<()>) {}

    fn stopping(&mut self) {}

    fn done(&mut self, done: Result<(), Panicked>, _: Now, wishes: &mut LoopCommands<()>) {
        let mut line = Vec::new();
        match done {
            Ok(()) => reply::object(&mut line, &"done"),
            Err(panicked) => reply::control_refused(&mut line, "control_plane_error", &panicked.0),
        }
        wishes.reply(self.asked.remove(0), line);
    }
}

/// A running server.
pub struct Running {
    pub desk: Arc<Desk>,
    pub handle: Handle,
    socket: PathBuf,
    thread: Option<JoinHandle<io::Result<()>>>,
    _home: TempDir,
}

/// Serves within these limits, with [`Figures`].
pub fn serve(limits: Limits) -> Running {
    serve_with(|server| server.limits(limits).plane(Figures::default()))
}

/// Serves as the test says.
pub fn serve_with<P: ControlPlane + Send + 'static>(
    build: impl FnOnce(Server<Arc<Desk>>) -> Server<Arc<Desk>, P>,
) -> Running {
    let home = tempfile::tempdir().expect("a temporary folder");
    let socket = home.path().join("s");
    let desk = Arc::new(Desk::default());
    let listener = Listener::bind(&socket).expect("a new path can be bound");
    let server = build(Server::new(listener, Arc::clone(&desk)).expect("an event queue is to be had"));
    let handle = server.handle();
    let thread = Some(std::thread::spawn(|| server.run()));
    Running { desk, handle, socket, thread, _home: home }
}

impl Running {
    pub fn peer(&self) -> Peer {
        let stream = UnixStream::connect(&self.socket).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Peer { stream: BufReader::new(stream) }
    }

    /// One of the server's figures, asked for on a connection of its own.
    pub fn figure(&self, name: &str) -> u64 {
        let figures = self.peer().ask(STATUS);
        figures[name].as_u64().unwrap_or_else(|| panic!("no figure {name} in {figures}"))
    }

    /// Waits until the figure is `value`.
    pub fn await_figure(&self, name: &str, value: u64) {
        let mut seen = 0;
        until(
            || {
                seen = self.figure(name);
                seen == value
            },
            || format!("{name} to be {value}"),
        );
        assert_eq!(seen, value);
    }

    pub fn is_running(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    pub fn accepts(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    /// Waits until the server has ended, and gives what it ended with.
    pub fn ended(&mut self) -> io::Result<()> {
        let thread = self.thread.take().expect("asked once");
        until(|| thread.is_finished(), || "the server to end".into());
        thread.join().expect("the loop does not panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.desk.end();
        if let Some(thread) = self.thread.take() {
            self.handle.stop().expect("the loop can be woken");
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the loop does not panic").expect("the server ends well");
            }
        }
    }
}

/// Asks for the figures.
pub const STATUS: &str = r#"{"type":"status"}"#;

/// A client that speaks lines.
pub struct Peer {
    stream: BufReader<UnixStream>,
}

impl Peer {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the server reads");
    }

    /// Sends a call without waiting for its reply.
    pub fn call(&mut self, id: usize, method: &str, name: &str) {
        self.send(call(id, method, name));
    }

    /// The next reply line; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a reply comes");
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    pub fn reply(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?} is no JSON: {e}"))
    }

    /// Sends a line and gives its reply.
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(format!("{line}\n"));
        self.reply()
    }

    /// Ends the sending side.
    pub fn end(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("the sending side can be ended");
    }

    /// All that comes until the server closes or resets the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(e) if e.kind() != io::ErrorKind::ConnectionReset => panic!("the server neither sends nor closes: {e}"),
            _ => rest,
        }
    }

    pub fn socket(&self) -> &UnixStream {
        self.stream.get_ref()
    }
}

/// A call's line.
pub fn call(id: usize, method: &str, name: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{\"name\":\"{name}\"}}}}\n")
}

/// The reply that a call gets when its result is its own name.
pub fn named(id: usize, name: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"{name}\"}}")
}

/// The reply that a call gets when it failed.
pub fn failed(id: usize, why: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32001,\"message\":\"{why}\"}}}}")
}

/// Waits until `so` holds.
pub fn until(mut so: impl FnMut() -> bool, what: impl Fn() -> String) {
    let patience = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < patience, "waited in vain for {}", what());
        std::thread::sleep(Duration::from_millis(2));
    }
}
