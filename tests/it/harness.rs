//! Starts a daemon for each test, talks to it and cleans up.
//!
//! [`setup`] starts the built binary with a socket and a store in a new folder; dropping the [`Daemon`] kills it and
//! removes the folder. Nothing here sleeps for a fixed time: tests wait for a condition with [`until`], and every wait
//! ends after [`PATIENCE`].

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// The longest wait for anything. Long, so that no test fails because the machine is busy: three whole runs at once
/// beside 16 busy processes on two processors exceeded 120 s in two places.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Starts a daemon with the default options.
pub fn setup() -> Daemon {
    Setup::new().start()
}

/// The options of a daemon that is not started yet.
pub struct Setup {
    home: TempDir,
    socket: PathBuf,
    args: Vec<String>,
    envs: Vec<(String, String)>,
}

/// A running daemon.
pub struct Daemon {
    child: Child,
    setup: Setup,
}

/// A client that sends and reads lines.
pub struct Client {
    stream: BufReader<UnixStream>,
    next_id: u64,
}

impl Setup {
    pub fn new() -> Setup {
        let home = tempfile::tempdir().expect("a temporary folder");
        Setup { socket: home.path().join("d.sock"), home, args: Vec::new(), envs: Vec::new() }
    }

    /// Adds arguments for `iaid serve`.
    pub fn args(mut self, args: &[&str]) -> Setup {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    /// Sets an environment variable of the program.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Returns true if the program gets this environment variable.
    pub fn has_env(&self, name: &str) -> bool {
        self.envs.iter().any(|(set, _)| set == name)
    }

    /// Sets the socket's path, relative to the home folder. It is `d.sock` otherwise.
    pub fn socket_at(mut self, path: &str) -> Setup {
        self.socket = self.home().join(path);
        self
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    pub fn store(&self) -> PathBuf {
        self.home().join("store")
    }

    /// Returns the program with this environment and no arguments yet.
    pub fn program(&self) -> Command {
        let mut command = iaid();
        command.env("HOME", self.home()).envs(self.envs.iter().cloned());
        command
    }

    /// Returns `iaid serve` with all options.
    pub fn serve(&self) -> Command {
        let mut command = self.program();
        command.arg("serve").arg("--socket").arg(self.socket()).arg("--store").arg(self.store());
        // What a recall finds must not depend on how busy the machine is.
        if !self.args.iter().any(|arg| arg == "--recall-limit") {
            command.args(["--recall-limit", "60"]);
        }
        command.args(&self.args);
        command
    }

    /// Starts the daemon and waits until it accepts.
    pub fn start(self) -> Daemon {
        let child = spawn(self.serve(), self.home());
        let mut daemon = Daemon { child, setup: self };
        daemon.wait_until_it_accepts();
        daemon
    }

    /// Starts the daemon by `command`, which becomes the daemon and keeps its standard input and output.
    pub fn start_by(self, mut command: Command) -> Daemon {
        let child = command.stderr(log_file(self.home())).spawn().expect("it runs");
        let mut daemon = Daemon { child, setup: self };
        daemon.wait_until_it_accepts();
        daemon
    }

    /// Starts a daemon that is expected to exit by itself, and waits until it has.
    pub fn start_and_fail(&self) -> Output {
        output(&mut self.serve())
    }
}

impl Daemon {
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Returns the texts of the records, in the order of an export. A store of more records than a page has needs another way.
    pub fn stored_texts(&self) -> Vec<String> {
        let page = self.client().call("store_export", json!({}));
        let rows = page["rows"].as_array().expect("rows");
        let records = rows.iter().filter(|row| row["kind"] == "record");
        records.map(|row| row["text"].as_str().expect("a text").to_owned()).collect()
    }

    /// Returns a client with a new connection.
    pub fn client(&self) -> Client {
        Client::new(self.connect())
    }

    /// Returns a new connection.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.setup.socket()).expect("the daemon accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    /// Returns the reply to `status`, over a new connection.
    pub fn status(&self) -> Value {
        self.client().ask(r#"{"type":"status"}"#)
    }

    /// Returns the log up to now.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.home().join("log")).expect("the log is there")
    }

    /// Runs a client command of the binary against this daemon.
    pub fn run(&self, args: &[&str]) -> Output {
        output(self.setup.program().arg("--socket").arg(self.setup.socket()).args(args))
    }

    pub fn signal(&self, signal: i32) {
        let status = kill_command().arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits until the process has exited.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the daemon has exited", || {
            status = self.child.try_wait().expect("the child can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Sends SIGTERM and returns the exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(15);
        self.wait()
    }

    /// Sends SIGKILL and waits until the process has ended.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        assert_eq!(self.wait().signal(), Some(9));
    }

    /// Sends SIGKILL and starts the daemon again on the same folder.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// Starts the daemon again on the same folder, after the last one has exited.
    pub fn restart(&mut self) {
        self.child = spawn(self.setup.serve(), self.setup.home());
        self.wait_until_it_accepts();
    }

    fn wait_until_it_accepts(&mut self) {
        let socket = self.setup.socket();
        until("the daemon accepts", || {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                panic!("the daemon exited with {status}: {}", self.log());
            }
            UnixStream::connect(&socket).is_ok()
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    pub fn new(stream: UnixStream) -> Client {
        Client { stream: BufReader::new(stream), next_id: 1 }
    }

    /// Sends bytes unchanged.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the daemon reads");
    }

    /// Sends bytes to a daemon that may have exited. Returns false if it has.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// Returns the next whole reply line of a daemon that may have exited; an empty one if it has.
    pub fn try_line(&mut self) -> String {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => line.trim_end_matches('\n').to_owned(),
            _ => String::new(),
        }
    }

    /// Returns the next reply line without its newline; an empty one at the end of the stream.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a reply comes");
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    /// Returns everything until the daemon closes the connection.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).expect("the daemon closes");
        rest
    }

    /// Sends a line and returns its reply.
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(format!("{line}\n"));
        let reply = self.line();
        serde_json::from_str(&reply).unwrap_or_else(|e| panic!("{reply:?} is no JSON: {e}"))
    }

    /// Calls a method and returns its whole reply.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let reply = self.ask(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        assert_eq!(reply["id"], id);
        reply
    }

    /// Calls a method that must succeed and returns its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let mut reply = self.request(method, params);
        assert!(reply.get("error").is_none(), "{method} failed: {reply}");
        reply["result"].take()
    }

    /// Calls `memory_recall` until its hits satisfy `wanted`, and returns that result. A recall that reaches its
    /// deadline, as it may on a busy machine, returns what it has found by then.
    pub fn recall_until(&mut self, params: &Value, wanted: impl Fn(&[Value]) -> bool) -> Value {
        let mut recalled = Value::Null;
        until(&format!("the hits of {params} are right"), || {
            recalled = self.call("memory_recall", params.clone());
            wanted(recalled["hits"].as_array().expect("a list"))
        });
        recalled
    }

    /// Closes the sending side.
    pub fn end(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("the sending side can be closed");
    }
}

/// Returns the built binary, without the inherited environment variables that change how it runs.
pub fn iaid() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iaid"));
    for name in ["IAI_DAEMON_SOCKET_PATH", "IAI_MCP_STORE", "IAID_LOG", "CLAUDE_PROJECT_DIR", "CLAUDE_PID"] {
        command.env_remove(name);
    }
    for name in ["NOTIFY_SOCKET", "LISTEN_FDS", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// Panics if it does not hold after [`PATIENCE`].
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(PATIENCE, what, condition);
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// Panics if it does not hold after `limit`.
pub fn until_within(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "waited {limit:?} in vain until {what}");
}

/// Returns true as soon as `condition` holds, false if it does not hold after `limit`.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}

/// Runs `command` with an empty standard input and returns its output, see [`finish`].
pub fn output(command: &mut Command) -> Output {
    finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs"))
}

/// Returns the shell's kill, with its arguments to be added: a bare system has no program of that name.
pub fn kill_command() -> Command {
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill \"$@\"", "kill"]);
    kill
}

/// Waits until the process has exited and returns what it wrote to its pipes.
///
/// # Panics
///
/// Panics if it has not exited after [`PATIENCE`]; it is killed then.
pub fn finish(child: Child) -> Output {
    let pid = child.id().to_string();
    let (exited, exit) = channel::<()>();
    let watchdog = thread::spawn(move || {
        let is_late = exit.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        // It may exit at this moment.
        let _ = is_late.then(|| kill_command().args(["-9", &pid]).status());
        is_late
    });
    let output = child.wait_with_output().expect("the child can be waited for");
    drop(exited);
    let is_late = watchdog.join().expect("the watchdog does not panic");
    assert!(!is_late, "killed after {PATIENCE:?}: {output:?}");
    output
}

/// Sets a flag when it is dropped. Threads of a scope that run until the flag is set so end even if the test panics.
pub struct SetOnDrop<'f>(pub &'f AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn spawn(mut command: Command, home: &Path) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file(home)).spawn().expect("the binary runs")
}

fn log_file(home: &Path) -> std::fs::File {
    std::fs::File::options().create(true).append(true).open(home.join("log")).expect("a log file")
}
