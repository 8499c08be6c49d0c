//! A daemon of one's own for each test, a client for it, and a clean-up.
//!
//! [`setup`] starts the built binary with a socket and a store in a new folder; dropping the
//! [`Daemon`] kills it and removes the folder. Nothing here sleeps for a fixed time: what is to
//! come about is waited for with [`until`].

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Longest wait for anything. Long, since a busy machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A daemon with the default options.
pub fn setup() -> Daemon {
    Setup::new().start()
}

/// How a daemon is to be started.
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

/// A client that speaks lines.
pub struct Client {
    stream: BufReader<UnixStream>,
    next_id: u64,
}

impl Setup {
    pub fn new() -> Setup {
        let home = tempfile::tempdir().expect("a temporary folder");
        Setup { socket: home.path().join("d.sock"), home, args: Vec::new(), envs: Vec::new() }
    }

    /// More arguments for `iaid serve`.
    pub fn args(mut self, args: &[&str]) -> Setup {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Setup {
        self.envs.push((name.into(), value.into()));
        self
    }

    /// Another socket than `d.sock`, relative to the home folder.
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

    /// The program, with an environment of its own and no arguments yet.
    pub fn program(&self) -> Command {
        let mut command = iaid();
        command.env("HOME", self.home()).envs(self.envs.iter().cloned());
        command
    }

    /// `iaid serve` with all options.
    pub fn serve(&self) -> Command {
        let mut command = self.program();
        command.arg("serve").arg("--socket").arg(self.socket()).arg("--store").arg(self.store()).args(&self.args);
        command
    }

    /// Starts the daemon and waits until it accepts.
    pub fn start(self) -> Daemon {
        let child = spawn(self.serve(), self.home());
        let mut daemon = Daemon { child, setup: self };
        daemon.wait_until_it_accepts();
        daemon
    }

    /// Starts it by this command, which becomes the daemon, with the standard input and output it has.
    pub fn start_by(self, mut command: Command) -> Daemon {
        let child = command.stderr(log_file(self.home())).spawn().expect("it runs");
        let mut daemon = Daemon { child, setup: self };
        daemon.wait_until_it_accepts();
        daemon
    }

    /// Starts a daemon that is expected to end by itself, and waits for that.
    pub fn start_and_fail(&self) -> Output {
        let mut serve = self.serve();
        let mut child =
            serve.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let patience = Instant::now() + PATIENCE;
        while child.try_wait().expect("the child can be waited for").is_none() {
            if Instant::now() > patience {
                child.kill().expect("it can be killed");
                let output = child.wait_with_output().expect("it has ended");
                panic!("the daemon was to fail and serves: {}", String::from_utf8_lossy(&output.stderr));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.wait_with_output().expect("it has ended")
    }
}

impl Daemon {
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn client(&self) -> Client {
        Client::new(self.connect())
    }

    /// A bare connection.
    pub fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(self.setup.socket()).expect("the daemon accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    /// The reply to `status`, over a connection of its own.
    pub fn status(&self) -> Value {
        self.client().ask(r#"{"type":"status"}"#)
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.setup.home().join("log")).expect("the log is there")
    }

    /// Runs a client command of the binary against this daemon.
    pub fn run(&self, args: &[&str]) -> Output {
        self.setup.program().arg("--socket").arg(self.setup.socket()).args(args).output().expect("the binary runs")
    }

    pub fn signal(&self, signal: i32) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the daemon has ended", || {
            status = self.child.try_wait().expect("the child can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// SIGTERM, and the status it ends with.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(15);
        self.wait()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        assert_eq!(self.wait().signal(), Some(9));
    }

    /// `kill -9`, and a new start on the same folder.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.restart();
    }

    /// A new start on the same folder, after the last one has ended.
    pub fn restart(&mut self) {
        self.child = spawn(self.setup.serve(), self.setup.home());
        self.wait_until_it_accepts();
    }

    fn wait_until_it_accepts(&mut self) {
        let socket = self.setup.socket();
        until("the daemon accepts", || {
            if let Some(status) = self.child.try_wait().expect("the child can be waited for") {
                panic!("the daemon ended with {status}: {}", self.log());
            }
            UnixStream::connect(&socket).is_ok()
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Client {
    pub fn new(stream: UnixStream) -> Client {
        Client { stream: BufReader::new(stream), next_id: 1 }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).expect("the daemon reads");
    }

    /// Sends bytes to a daemon that may have gone. False where it has.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.get_mut().write_all(bytes.as_ref()).is_ok()
    }

    /// The next whole reply line of a daemon that may have gone; empty where it has.
    pub fn try_line(&mut self) -> String {
        let mut line = String::new();
        match self.stream.read_line(&mut line) {
            Ok(_) if line.ends_with('\n') => line.trim_end_matches('\n').to_owned(),
            _ => String::new(),
        }
    }

    /// The next reply line, without its newline; empty at the end.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).expect("a reply comes");
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    /// All that comes until the daemon closes.
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.stream.read_to_string(&mut rest).expect("the daemon closes");
        rest
    }

    /// Sends a line and gives its reply.
    pub fn ask(&mut self, line: &str) -> Value {
        self.send(format!("{line}\n"));
        let reply = self.line();
        serde_json::from_str(&reply).unwrap_or_else(|e| panic!("{reply:?} is no JSON: {e}"))
    }

    /// Calls a method and gives its whole reply.
    pub fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let reply = self.ask(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}).to_string());
        assert_eq!(reply["id"], id);
        reply
    }

    /// Calls a method that is to succeed and gives its result.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        let mut reply = self.request(method, params);
        assert!(reply.get("error").is_none(), "{method} failed: {reply}");
        reply["result"].take()
    }

    /// Ends the sending side.
    pub fn end(&mut self) {
        self.stream.get_ref().shutdown(Shutdown::Write).expect("the sending side can be ended");
    }
}

/// The built binary, without what this process inherited that would change how it runs.
pub fn iaid() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iaid"));
    for name in ["IAI_DAEMON_SOCKET_PATH", "IAI_MCP_STORE", "IAID_LOG", "NOTIFY_SOCKET", "LISTEN_FDS", "JOURNAL_STREAM"]
    {
        command.env_remove(name);
    }
    command
}

/// Waits until `so` holds.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < patience, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn spawn(mut command: Command, home: &Path) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file(home)).spawn().expect("the binary runs")
}

fn log_file(home: &Path) -> std::fs::File {
    std::fs::File::options().create(true).append(true).open(home.join("log")).expect("a log file")
}
