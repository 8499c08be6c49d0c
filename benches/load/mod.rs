//! Shared by the benches over the socket: a daemon process of the built binary, and a client for it.
//!
//! The benches assert no times. They print each figure with its baseline of the same run.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A daemon with a temporary store. Dropping it stops the daemon and removes the store.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    /// Contains the directory `store`.
    pub(crate) home: TempDir,
}

/// One connection.
pub(crate) struct Client {
    stream: BufReader<UnixStream>,
}

impl Daemon {
    pub(crate) fn start() -> Daemon {
        let home = tempfile::tempdir().expect("a temporary folder");
        // Another built program, to compare two.
        let program = std::env::var_os("IAID_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_iaid").into());
        let mut serve = Command::new(program);
        serve
            .arg("serve")
            .arg("--socket")
            .arg(home.path().join("d.sock"))
            .arg("--store")
            .arg(home.path().join("store"));
        let child = serve.stderr(Stdio::null()).spawn().expect("the daemon starts");
        let daemon = Daemon { child, home };
        until_accepting(&daemon.socket());
        daemon
    }

    pub(crate) fn client(&self) -> Client {
        Client { stream: BufReader::new(UnixStream::connect(self.socket()).expect("the daemon accepts")) }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.path().join("d.sock")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Client {
    /// Calls a method and returns its result.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.all(std::slice::from_ref(&request(method, params))).remove(0)
    }

    /// Sends lines at once and waits for as many replies, which may be errors. Returns the replies.
    #[allow(dead_code)]
    pub(crate) fn exchange(&mut self, lines: &str) -> String {
        self.stream.get_mut().write_all(lines.as_bytes()).expect("the daemon reads");
        let mut replies = String::new();
        for _ in lines.lines() {
            self.stream.read_line(&mut replies).expect("the daemon answers");
        }
        replies
    }

    /// Sends all these lines at once and returns their results.
    pub(crate) fn all(&mut self, requests: &[String]) -> Vec<Value> {
        self.stream.get_mut().write_all(requests.concat().as_bytes()).expect("the daemon reads");
        let mut line = String::new();
        let mut result = |_: &String| {
            line.clear();
            self.stream.read_line(&mut line).expect("the daemon answers");
            let mut reply: Value = serde_json::from_str(&line).expect("a reply is JSON");
            assert!(reply.get("error").is_none(), "{reply}");
            reply["result"].take()
        };
        requests.iter().map(&mut result).collect()
    }
}

/// Returns a request as a line.
pub(crate) fn request(method: &str, params: &Value) -> String {
    format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
}

/// Waits until the socket accepts connections.
pub(crate) fn until_accepting(socket: &Path) {
    let patience = Instant::now() + Duration::from_secs(20);
    while UnixStream::connect(socket).is_err() {
        assert!(Instant::now() < patience, "nobody accepts at {}", socket.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}
