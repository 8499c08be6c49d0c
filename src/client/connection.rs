//! One connected socket: writes that block for at most 50 ms, and reads of whole lines with a deadline.
//!
//! This module knows no JSON and does not reconnect; `transport.rs` and `pipeline.rs` do.

use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::error::UnreachableReason;
use crate::oneshot::{self, NoValue};
use crate::sys::stream::unless_closed;

/// How long a write waits for buffer space before its caller has to read replies instead. Picked: long
/// enough to be rare, too short to be noticed.
const WRITE_STALL: Duration = Duration::from_millis(50);

/// Longest path of a socket, in bytes: `sun_path` without its NUL, from unix(7) and macOS `sys/un.h`.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Stack of the thread that connects, in bytes; it makes one system call. 64 KiB: several times what a
/// thread's start-up code needs.
const DIAL_STACK_BYTES: usize = 64 << 10;

/// Opens connections with a timeout. `connect(2)` on a Unix socket has none: it blocks while the
/// listener's backlog is full. So a thread connects; if it is still blocked at the timeout, the next
/// attempt waits for the same thread, so there is at most one.
#[derive(Debug, Default)]
pub(crate) struct Dialer {
    blocked: Option<oneshot::Receiver<io::Result<UnixStream>>>,
}

impl Dialer {
    /// Connects to `path` within `timeout`.
    ///
    /// # Errors
    /// Every [`UnreachableReason`] except `NoReply` and `ConnectionLost`.
    pub(crate) fn open(&mut self, path: &Path, timeout: Duration) -> Result<ClientConnection, UnreachableReason> {
        let bytes = path.as_os_str().len();
        if bytes > MAX_PATH_BYTES {
            return Err(UnreachableReason::PathTooLong { bytes, limit: MAX_PATH_BYTES });
        }
        let attempt = match self.blocked.take() {
            Some(attempt) => attempt,
            None => start(path)?,
        };
        match attempt.recv_timeout(timeout) {
            Ok(outcome) => outcome.and_then(ClientConnection::new).map_err(|e| UnreachableReason::from_connect(&e)),
            Err(NoValue::TimedOut) => {
                self.blocked = Some(attempt);
                Err(UnreachableReason::NotAccepted(timeout))
            }
            Err(NoValue::Ended) => Err(UnreachableReason::Io(ErrorKind::Other)),
        }
    }
}

fn start(path: &Path) -> Result<oneshot::Receiver<io::Result<UnixStream>>, UnreachableReason> {
    let (sender, receiver) = oneshot::channel();
    let path = path.to_owned();
    let connect = move || {
        // If the dialer was dropped, the send fails and closes the socket.
        drop(sender.send(UnixStream::connect(path)));
    };
    match thread::Builder::new().name("connect".into()).stack_size(DIAL_STACK_BYTES).spawn(connect) {
        Ok(_) => Ok(receiver),
        Err(error) => Err(UnreachableReason::Io(error.kind())),
    }
}

/// The outcome of [`ClientConnection::write`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WriteOutcome {
    /// The kernel took this many bytes.
    Bytes(usize),
    /// The kernel took none within the stall timeout.
    Stalled,
    /// The peer reads no more. Data that it sent before may still be read.
    Ended,
}

/// Why [`ClientConnection::read_line`] returned no line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoLine {
    /// The peer closed between two lines.
    Ended,
    /// The peer closed inside a line.
    Truncated,
    /// The line is longer than the limit.
    TooLong,
    /// The deadline passed.
    TimedOut,
}

/// A connected socket with a read buffer.
#[derive(Debug)]
pub(crate) struct ClientConnection {
    reader: BufReader<UnixStream>,
    /// Set by the first write that failed, and never cleared.
    write_ended: bool,
}

impl ClientConnection {
    fn new(stream: UnixStream) -> io::Result<ClientConnection> {
        unless_closed(stream.set_write_timeout(Some(WRITE_STALL)))?;
        Ok(ClientConnection { reader: BufReader::new(stream), write_ended: false })
    }

    #[cfg(test)]
    pub(crate) fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    /// Writes some of `bytes`; blocks for at most the stall timeout.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> WriteOutcome {
        while !self.write_ended {
            match self.reader.get_ref().write(bytes) {
                Ok(count) => return WriteOutcome::Bytes(count),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_timeout(e.kind()) => return WriteOutcome::Stalled,
                Err(_) => self.write_ended = true,
            }
        }
        WriteOutcome::Ended
    }

    /// Reads the next line and returns it without its newline. After an error the connection must be
    /// closed.
    pub(crate) fn read_line(&mut self, limit: usize, deadline: Option<Instant>) -> Result<Vec<u8>, NoLine> {
        let mut line = Vec::new();
        loop {
            self.fill(deadline, &line)?;
            let ready = self.reader.buffer();
            let end = memchr::memchr(b'\n', ready);
            let part = &ready[..end.unwrap_or(ready.len())];
            if line.len() + part.len() > limit {
                return Err(NoLine::TooLong);
            }
            line.extend_from_slice(part);
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            if end.is_some() {
                return Ok(line);
            }
        }
    }

    /// Blocks until the reader's buffer holds at least one byte. `line` is the part of the line read so far.
    fn fill(&mut self, deadline: Option<Instant>, line: &[u8]) -> Result<(), NoLine> {
        let ended = if line.is_empty() { NoLine::Ended } else { NoLine::Truncated };
        while self.reader.buffer().is_empty() {
            let left = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Err(NoLine::TimedOut),
                left => left,
            };
            if unless_closed(self.reader.get_ref().set_read_timeout(left)).is_err() {
                return Err(ended);
            }
            match self.reader.fill_buf() {
                Ok([]) => return Err(ended),
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted || is_timeout(e.kind()) => {}
                Err(_) => return Err(ended),
            }
        }
        Ok(())
    }
}

/// Returns true for the error of a timeout on a socket: `EAGAIN` by socket(7).
fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_a_peer_sent_before_it_closed_are_read() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(b"refused\ncut").unwrap();
        drop(theirs);
        let mut connection = ClientConnection::new(ours).unwrap();
        let deadline = Some(Instant::now() + Duration::from_secs(60));
        assert_eq!(connection.read_line(100, deadline), Ok(b"refused".to_vec()));
        assert_eq!(connection.read_line(100, deadline), Err(NoLine::Truncated));
    }

    #[test]
    fn a_blocked_attempt_is_reused() {
        let (sender, receiver) = oneshot::channel();
        let mut dialer = Dialer { blocked: Some(receiver) };
        let path = Path::new("/nowhere/s");
        let timeout = Duration::from_millis(1);
        for _ in 0..2 {
            assert_eq!(dialer.open(path, timeout).unwrap_err(), UnreachableReason::NotAccepted(timeout));
        }
        sender.send(Ok(UnixStream::pair().unwrap().0)).unwrap();
        assert!(dialer.open(path, timeout).is_ok());
        // The next call makes a new attempt.
        assert_eq!(dialer.open(path, Duration::from_secs(10)).unwrap_err(), UnreachableReason::NoSocket);
    }
}
