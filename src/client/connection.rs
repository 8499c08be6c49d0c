//! One connected socket: bytes out without ever blocking for long, whole lines in with a deadline.
//!
//! It knows nothing of JSON and never reconnects; [`super::Pipeline`] does both.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::error::Unreached;

/// How long a write waits for room before its caller is asked to read replies instead. Picked: long
/// enough to be rare, short enough not to be felt.
const WRITE_STALL: Duration = Duration::from_millis(50);

/// Longest path of a socket, in bytes: `sun_path` less its NUL, unix(7) and macOS `sys/un.h`.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// Stack of the thread that connects; it makes one system call. 64 KiB: what a thread's start-up
/// code needs, several times over.
const DIAL_STACK: usize = 64 << 10;

/// Opens connections with a timeout, which `connect(2)` on a Unix socket lacks: it blocks while the
/// listener's backlog is full. So a thread connects, and one that is still stuck is waited for
/// again by the next attempt: there is never more than one.
#[derive(Debug, Default)]
pub(super) struct Dialer {
    stuck: Option<Receiver<std::io::Result<UnixStream>>>,
}

impl Dialer {
    pub(super) fn open(&mut self, path: &Path, timeout: Duration) -> Result<Connection, Unreached> {
        let bytes = path.as_os_str().len();
        if bytes > MAX_PATH_BYTES {
            return Err(Unreached::PathTooLong { bytes, limit: MAX_PATH_BYTES });
        }
        let attempt = match self.stuck.take() {
            Some(stuck) => stuck,
            None => start(path)?,
        };
        match attempt.recv_timeout(timeout) {
            Ok(outcome) => outcome.and_then(Connection::new).map_err(|e| Unreached::from_connect(&e)),
            Err(RecvTimeoutError::Timeout) => {
                self.stuck = Some(attempt);
                Err(Unreached::NotAccepted(timeout))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Unreached::Io(ErrorKind::Other)),
        }
    }
}

fn start(path: &Path) -> Result<Receiver<std::io::Result<UnixStream>>, Unreached> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let path = path.to_owned();
    let connect = move || {
        // The one who asked may have gone: then the socket is closed here.
        drop(sender.send(UnixStream::connect(path)));
    };
    match thread::Builder::new().name("connect".into()).stack_size(DIAL_STACK).spawn(connect) {
        Ok(_) => Ok(receiver),
        Err(error) => Err(Unreached::Io(error.kind())),
    }
}

/// What became of some bytes to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// This many are with the kernel.
    Bytes(usize),
    /// There is no room now.
    Stalled,
    /// The peer takes no more; what it had said may still be read.
    Ended,
}

/// Why there is no line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoLine {
    /// The peer closed between two lines.
    Ended,
    /// The peer closed inside a line.
    CutOff,
    /// The line is over the limit.
    TooLong,
    /// The deadline came first.
    TimedOut,
}

#[derive(Debug)]
pub(super) struct Connection {
    reader: BufReader<UnixStream>,
    /// Set for good by the first write that the peer did not take.
    write_ended: bool,
}

impl Connection {
    fn new(stream: UnixStream) -> std::io::Result<Connection> {
        stream.set_write_timeout(Some(WRITE_STALL))?;
        Ok(Connection { reader: BufReader::new(stream), write_ended: false })
    }

    #[cfg(test)]
    pub(super) fn stream(&self) -> &UnixStream {
        self.reader.get_ref()
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Written {
        while !self.write_ended {
            match self.reader.get_ref().write(bytes) {
                Ok(count) => return Written::Bytes(count),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if is_timeout(e.kind()) => return Written::Stalled,
                Err(_) => self.write_ended = true,
            }
        }
        Written::Ended
    }

    /// The next line, without its newline. After an error the connection is of no further use.
    pub(super) fn read_line(&mut self, limit: usize, deadline: Option<Instant>) -> Result<Vec<u8>, NoLine> {
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

    /// Returns with at least one byte in the reader's buffer.
    fn fill(&mut self, deadline: Option<Instant>, begun: &[u8]) -> Result<(), NoLine> {
        let ended = if begun.is_empty() { NoLine::Ended } else { NoLine::CutOff };
        while self.reader.buffer().is_empty() {
            let left = match deadline.map(|at| at.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return Err(NoLine::TimedOut),
                left => left,
            };
            if self.reader.get_ref().set_read_timeout(left).is_err() {
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

/// A socket's timeout is `EAGAIN` by socket(7).
fn is_timeout(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stuck_attempt_is_waited_for_again() {
        let (sender, receiver) = mpsc::sync_channel(1);
        let mut dialer = Dialer { stuck: Some(receiver) };
        let path = Path::new("/nowhere/s");
        let timeout = Duration::from_millis(1);
        for _ in 0..2 {
            assert_eq!(dialer.open(path, timeout).unwrap_err(), Unreached::NotAccepted(timeout));
        }
        sender.send(Ok(UnixStream::pair().unwrap().0)).unwrap();
        assert!(dialer.open(path, timeout).is_ok());
        // Then a new one, which says what is there now.
        assert_eq!(dialer.open(path, Duration::from_secs(10)).unwrap_err(), Unreached::NoSocket);
    }
}
