//! A server for each test: a dispatch whose handlers wait for the test, a control plane that returns the
//! server's counters, a client that sends lines, and a clean-up.
//!
//! Handlers log what they do ([`TestDispatch::log`]), so tests compare the order of entries and measure no
//! times.

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

/// Longest wait for any event. Long, so that a busy machine fails no test.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The methods of the test server, controlled by the test.
#[derive(Default)]
pub struct TestDispatch {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    log: Vec<String>,
    open: BTreeSet<String>,
    /// The test has ended: no handler waits any more.
    over: bool,
    kept: BTreeMap<String, LateReply>,
    workers: usize,
}

/// The state of a worker.
pub struct WorkerState {
    number: usize,
    calls: usize,
}

impl TestDispatch {
    /// Returns the log, oldest entry first: `METHOD NAME` for each handler that started, and the notes of the
    /// test.
    pub fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    pub fn note(&self, what: &str) {
        self.lock().log.push(what.into());
        self.changed.notify_all();
    }

    /// Waits for a log entry.
    pub fn await_log(&self, what: &str) {
        self.wait_until(what, |state| state.log.iter().any(|line| line == what));
    }

    /// Opens a gate: the handlers that wait for it continue.
    pub fn open(&self, gate: &str) {
        self.lock().open.insert(gate.into());
        self.changed.notify_all();
    }

    /// Logs that a kept call is answered, and answers it from this thread.
    pub fn answer(&self, name: &str) {
        self.note(&format!("answered {name}"));
        self.take(name).send(Ok(name));
    }

    /// Waits for a kept reply and removes it.
    pub fn take(&self, name: &str) -> LateReply {
        self.wait_until(name, |state| state.kept.contains_key(name));
        self.lock().kept.remove(name).expect("a kept reply")
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A failed test may have panicked while holding the lock, and still cleans up.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_until(&self, what: &str, mut condition: impl FnMut(&State) -> bool) {
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, |state| !condition(state));
        let (state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!waited.timed_out(), "timed out waiting for {what:?}; log: {:?}", state.log);
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

impl Dispatch for TestDispatch {
    type Worker = WorkerState;

    fn worker(&self) -> WorkerState {
        let mut state = self.lock();
        state.workers += 1;
        WorkerState { number: state.workers, calls: 0 }
    }

    fn method(&self, name: &str) -> Option<Pace> {
        match name {
            "echo" | "hold" | "panic" | "forget" | "big" | "worker" | "keep" | "ask" => Some(Pace::Ordered),
            "write" | "either" => Some(Pace::Pipelined),
            _ => None,
        }
    }

    fn has_small_replies(&self, name: &str) -> bool {
        name == "either"
    }

    fn needs_peer(&self, name: &str) -> bool {
        name == "ask"
    }

    fn call(&self, worker: &mut WorkerState, method: &str, params: Params<'_>, reply: Reply<'_>) {
        worker.calls += 1;
        let name = params.string_or("name", "").unwrap_or_default().into_owned();
        self.note(&format!("{method} {name}"));
        match method {
            "panic" => panic!("asked to panic by {name}"),
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
            "worker" => reply.send(Ok([worker.number, worker.calls])),
            _ => reply.send::<String>(Ok(name)),
        }
    }
}

impl TestDispatch {
    fn wait_until_open(&self, gate: &str) {
        let state = self.lock();
        let closed = |state: &mut State| !state.over && !state.open.contains(gate);
        drop(self.changed.wait_while(state, closed).unwrap_or_else(PoisonError::into_inner));
    }
}

/// A control plane that returns the server's counters as its status. `pause` is answered immediately,
/// `resume` by a task on a worker, `force_wake` by a task that panics, `force_rem` once all workers were
/// recycled; `session_open` stops the server.
#[derive(Default)]
pub struct CounterPlane {
    pending: Vec<Ticket>,
}

impl ControlPlane for CounterPlane {
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
        commands: &mut LoopCommands<()>,
    ) -> Option<Vec<u8>> {
        match control {
            Control::Resume { .. } => commands.run_task(Box::new(|| ())),
            Control::Rem { .. } => commands.recycle_workers(Box::new(|| ())),
            Control::Wake { .. } => commands.run_task(Box::new(|| panic!("task that panics"))),
            Control::SessionOpen { .. } => {
                commands.stop();
                return Some(b"{\"ok\":true}\n".into());
            }
            _ => return Some(b"{\"ok\":true}\n".into()),
        }
        self.pending.push(ticket);
        None
    }

    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    fn tick(&mut self, _: TickInput<'_>, _: Load, _: Now, _: &mut LoopCommands<()>) {}

    fn stopping(&mut self) {}

    fn done(&mut self, done: Result<(), Panicked>, _: Now, commands: &mut LoopCommands<()>) {
        let mut line = Vec::new();
        match done {
            Ok(()) => reply::object(&mut line, &"done"),
            Err(panicked) => reply::control_refused(&mut line, "control_plane_error", &panicked.0),
        }
        commands.reply(self.pending.remove(0), line);
    }
}

/// A running server.
pub struct Running {
    pub dispatch: Arc<TestDispatch>,
    pub handle: Handle,
    socket: PathBuf,
    thread: Option<JoinHandle<io::Result<()>>>,
    _home: TempDir,
}

/// Starts a server with these limits and a [`CounterPlane`].
pub fn serve(limits: Limits) -> Running {
    serve_with(|server| server.limits(limits).plane(CounterPlane::default()))
}

/// Starts a server that `build` configures.
pub fn serve_with<P: ControlPlane + Send + 'static>(
    build: impl FnOnce(Server<Arc<TestDispatch>>) -> Server<Arc<TestDispatch>, P>,
) -> Running {
    let home = tempfile::tempdir().expect("a temporary folder");
    let socket = home.path().join("s");
    let dispatch = Arc::new(TestDispatch::default());
    let listener = Listener::bind(&socket).expect("a new path can be bound");
    let server = build(Server::new(listener, Arc::clone(&dispatch)).expect("the server is created"));
    let handle = server.handle();
    let thread = Some(std::thread::spawn(|| server.run()));
    Running { dispatch, handle, socket, thread, _home: home }
}

impl Running {
    pub fn peer(&self) -> Peer {
        let stream = UnixStream::connect(&self.socket).expect("the server accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Peer { stream: BufReader::new(stream) }
    }

    /// Returns one of the server's counters, requested on a new connection.
    pub fn counter(&self, name: &str) -> u64 {
        let counters = self.peer().ask(STATUS);
        counters[name].as_u64().unwrap_or_else(|| panic!("no counter {name} in {counters}"))
    }

    /// Waits until the counter has this value.
    pub fn await_counter(&self, name: &str, value: u64) {
        let mut seen = 0;
        until(
            || {
                seen = self.counter(name);
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

    /// Waits until the server has ended, and returns its result.
    pub fn ended(&mut self) -> io::Result<()> {
        let thread = self.thread.take().expect("the server was not joined before");
        until(|| thread.is_finished(), || "the server to end".into());
        thread.join().expect("the loop does not panic")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.dispatch.end();
        if let Some(thread) = self.thread.take() {
            self.handle.stop().expect("the loop can be woken");
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.expect("the loop does not panic").expect("the server ends without an error");
            }
        }
    }
}

/// Requests the counters.
pub const STATUS: &str = r#"{"type":"status"}"#;

/// A client that sends and receives lines.
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

    /// Waits for the next reply line; empty at the end of the connection.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a reply");
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    pub fn reply(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?} is not JSON: {e}"))
    }

    /// Sends a line and returns its reply.
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(format!("{line}\n"));
        self.reply()
    }

    /// Shuts down the sending side.
    pub fn end(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("the sending side is shut down");
    }

    /// Returns all bytes until the server closes or resets the connection.
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

/// Returns the line of a call.
pub fn call(id: usize, method: &str, name: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{\"name\":\"{name}\"}}}}\n")
}

/// Returns the reply whose result is the name of the call.
pub fn named(id: usize, name: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"{name}\"}}")
}

/// Returns the reply of a call that failed.
pub fn failed(id: usize, why: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32001,\"message\":\"{why}\"}}}}")
}

/// Waits until `condition` holds.
pub fn until(mut condition: impl FnMut() -> bool, what: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "timed out waiting for {}", what());
        std::thread::sleep(Duration::from_millis(2));
    }
}
