//! A fake daemon for the client's tests.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Client, Policy};

/// A daemon that runs `script` on a thread.
pub(crate) struct FakeDaemon {
    folder: tempfile::TempDir,
    script: Option<JoinHandle<()>>,
}

impl FakeDaemon {
    pub(crate) fn new(script: impl FnOnce(&UnixListener) + Send + 'static) -> FakeDaemon {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        FakeDaemon { folder, script: Some(thread::spawn(move || script(&listener))) }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("s")
    }

    pub(crate) fn client(&self) -> Client {
        let wait_for_restart = Duration::ZERO;
        Client::new(self.path(), Policy { wait_for_restart, reply_timeout: REPLY_TIMEOUT, ..Policy::default() })
    }

    /// Waits for the script, and fails if it panicked.
    pub(crate) fn join(mut self) {
        self.script.take().unwrap().join().unwrap();
    }
}

/// Longest wait for a reply of a fake daemon.
pub(crate) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn accept(listener: &UnixListener) -> BufReader<UnixStream> {
    BufReader::new(listener.accept().unwrap().0)
}

/// Reads a line as JSON. Returns null at the end of the connection.
pub(crate) fn read_line(peer: &mut BufReader<UnixStream>) -> serde_json::Value {
    let mut text = String::new();
    peer.read_line(&mut text).unwrap();
    serde_json::from_str(&text).unwrap_or(serde_json::Value::Null)
}

pub(crate) fn write(peer: &mut BufReader<UnixStream>, text: &str) {
    peer.get_mut().write_all(text.as_bytes()).unwrap();
}

/// Returns the line of a reply with a result.
pub(crate) fn ok(id: &serde_json::Value, result: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{result}}}\n")
}

/// Answers calls with their own params until the peer closes. Returns the number of calls.
pub(crate) fn echo(peer: &mut BufReader<UnixStream>) -> usize {
    let mut count = 0;
    loop {
        let call = read_line(peer);
        if call.is_null() {
            return count;
        }
        write(peer, &ok(&call["id"], &call["params"].to_string()));
        count += 1;
    }
}
