//! Recognizes who listens on the path of this daemon's socket: systemd by the name of its process, and the daemon of
//! iai-mcp, which removes the socket of another daemon without asking, by its status.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::sys::listener::BindError;
use crate::sys::peer;
use crate::sys::socket::{self, Address};
use crate::sys::stream::unless_closed;

/// Longest wait for its reply, which it gives at once even if it is busy. Picked.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2);

/// Longest reply, and most reads of it: it is under 2 KiB.
const MAX_REPLY_BYTES: usize = 64 << 10;
const MAX_READ_COUNT: usize = 16;

/// Returns the daemon of iai-mcp that listens on `path`, with its version and process: `iai-mcp 3.3.0 (process 17)`.
/// Returns `None` for any other program. Waits at most a few seconds.
pub(crate) fn iai_mcp_at(path: &Path) -> Option<String> {
    let socket = socket::stream().ok()?;
    socket::connect(&socket, &Address::new(path).ok()?).ok()?;
    let mut stream = UnixStream::from(socket);
    let process = peer::peer_pid(&stream).map_or(String::new(), |pid| format!(" (process {pid})"));
    stream.set_nonblocking(false).ok()?;
    unless_closed(stream.set_read_timeout(Some(REPLY_TIMEOUT))).ok()?;
    unless_closed(stream.set_write_timeout(Some(REPLY_TIMEOUT))).ok()?;
    stream.write_all(b"{\"type\":\"status\"}\n").ok()?;
    let (mut reply, mut buffer) = (Vec::new(), [0; 8 << 10]);
    for _ in 0..MAX_READ_COUNT {
        let count = stream.read(&mut buffer).ok()?;
        reply.extend_from_slice(&buffer[..count]);
        if count == 0 || reply.len() > MAX_REPLY_BYTES || reply.ends_with(b"\n") {
            break;
        }
    }
    let status: Value = serde_json::from_slice(&reply).ok()?;
    // Only this program counts its workers.
    let is_theirs = status["ok"] == true && status["fsm_state"].is_string() && status.get("workers").is_none();
    let version: String = status["version"].as_str().unwrap_or_default().chars().take(32).collect();
    is_theirs.then(|| format!("iai-mcp {version}{process}"))
}

/// Returns the process of systemd that listens on `path`, to start a daemon at the first connection.
fn systemd_at(path: &Path) -> Option<u32> {
    let socket = socket::stream().ok()?;
    socket::connect(&socket, &Address::new(path).ok()?).ok()?;
    let pid = peer::peer_pid(&socket)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim_end() == "systemd").then_some(pid)
}

/// Returns the error with the name of the program that uses the path, if it is systemd or the daemon of iai-mcp.
pub(crate) fn named(error: BindError) -> BindError {
    match error {
        BindError::InUse { path, .. } => match systemd_at(&path) {
            Some(pid) => BindError::Activated { path, pid },
            None => BindError::InUse { by: iai_mcp_at(&path), path },
        },
        error => error,
    }
}
