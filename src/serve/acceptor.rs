//! Accepts connections, and refuses those that cannot be served.
//!
//! A descriptor is kept in reserve: when descriptors have run out, it is closed for as long as it
//! takes to accept a connection and tell its peer why it is refused.

use std::fs::File;
use std::io::{self, ErrorKind};

use mio::event::Source;
use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};

use crate::sys::listener::Listener;
use crate::sys::path_guard::PathGuard;
use crate::sys::{peer, stream};
use crate::wire::reply::{self, CallError};

/// The listening socket and its reserve.
pub(crate) struct Acceptor {
    listener: UnixListener,
    /// The listener before, until no connection waits there.
    former: Option<UnixListener>,
    /// `None` if the listener was inherited.
    path: Option<PathGuard>,
    reserve: Option<File>,
    own_uid: u32,
}

/// The result of one attempt to accept.
pub(crate) enum Accepted {
    /// A connection to serve.
    Peer(UnixStream),
    /// A connection of another user; closed.
    OtherUser,
    /// Descriptors have run out: the peer got an error reply, and the connection was closed.
    OutOfDescriptors,
    /// The connection was closed by its peer while it waited.
    Aborted,
    /// No connection waits.
    NoneWaiting,
    /// Accepting failed; to be retried later.
    Failed(io::Error),
}

impl Acceptor {
    pub(crate) fn new(listener: Listener) -> Acceptor {
        let (socket, path) = listener.into_parts();
        Acceptor {
            listener: UnixListener::from_std(socket),
            former: None,
            path,
            reserve: open_reserve(),
            own_uid: peer::own_uid(),
        }
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.listener.register(registry, token, Interest::READABLE)
    }

    /// Replaces the listener. Connections that wait at the old one are accepted first, so [`Acceptor::accept`] must be
    /// called at once.
    ///
    /// # Errors
    /// Those of registering the new listener; the old one stays then.
    pub(crate) fn replace(&mut self, listener: Listener, registry: &Registry, token: Token) -> io::Result<()> {
        let (socket, path) = listener.into_parts();
        let mut next = UnixListener::from_std(socket);
        next.register(registry, token, Interest::READABLE)?;
        self.listener.deregister(registry)?;
        self.former = Some(std::mem::replace(&mut self.listener, next));
        self.path = path;
        Ok(())
    }

    /// Stops listening: removes the path, then closes the socket. The path's lock is held until the
    /// returned guard is dropped.
    pub(crate) fn close(mut self) -> Option<PathGuard> {
        if let Some(path) = &mut self.path
            && let Err(e) = path.remove()
        {
            log::warn!("cannot remove socket {}: {e}", path.path().display());
        }
        self.path
    }

    pub(crate) fn accept(&mut self) -> Accepted {
        if self.reserve.is_none() {
            self.reserve = open_reserve();
        }
        match self.next() {
            Ok(stream) => self.admit(stream),
            Err(e) => self.failed(e),
        }
    }

    /// Accepts the connection that has waited longest.
    fn next(&mut self) -> io::Result<UnixStream> {
        if let Some(former) = &self.former {
            match former.accept() {
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.former = None,
                accepted => return accepted.map(|(stream, _)| stream),
            }
        }
        self.listener.accept().map(|(stream, _)| stream)
    }

    fn admit(&self, stream: UnixStream) -> Accepted {
        match peer::peer_uid(&stream) {
            Ok(uid) if peer::may_connect(uid, self.own_uid) => match stream::disable_sigpipe(&stream) {
                Ok(()) => Accepted::Peer(stream),
                Err(e) => {
                    log::debug!("a connection was closed before it was served: {e}");
                    Accepted::Aborted
                }
            },
            Ok(uid) => {
                log::warn!("closed a connection of uid {uid}: only uid {} and root are served", self.own_uid);
                Accepted::OtherUser
            }
            Err(e) => {
                log::warn!("closed a connection: cannot read its peer's uid: {e}");
                Accepted::OtherUser
            }
        }
    }

    fn failed(&mut self, error: io::Error) -> Accepted {
        match error.raw_os_error() {
            _ if error.kind() == ErrorKind::WouldBlock => Accepted::NoneWaiting,
            Some(libc::ECONNABORTED | libc::EINTR) => Accepted::Aborted,
            Some(libc::EMFILE | libc::ENFILE) => match self.reserve.take() {
                Some(reserve) => {
                    drop(reserve);
                    self.refuse_one(error)
                }
                None => Accepted::Failed(error),
            },
            _ => Accepted::Failed(error),
        }
    }

    fn refuse_one(&mut self, error: io::Error) -> Accepted {
        let outcome = match self.next() {
            Ok(stream) => {
                refuse(stream, "out of file descriptors");
                Accepted::OutOfDescriptors
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Accepted::NoneWaiting,
            Err(_) => Accepted::Failed(error),
        };
        self.reserve = open_reserve();
        outcome
    }
}

/// Sends the peer an error reply that says why it is not served, and closes the connection. The line fits into a new
/// socket's buffer.
pub(crate) fn refuse(stream: UnixStream, why: &str) {
    let mut line = Vec::new();
    reply::error(&mut line, None, &CallError::failed(why));
    if let Err(e) = stream::send(&stream, &line) {
        log::debug!("cannot send the refusal to a peer: {e}");
    }
    finish(&stream);
}

/// Shuts down a connection so that what was sent arrives: ends the output, and discards unread input, since closing a
/// socket with unread input resets the connection.
pub(crate) fn finish(stream: &UnixStream) {
    if let Err(e) = stream.shutdown(std::net::Shutdown::Write) {
        log::debug!("cannot shut down a connection: {e}");
    }
    let mut unread = [0; 4096];
    for _ in 0..MAX_DISCARD_COUNT {
        match stream::receive(stream, &mut unread) {
            Ok(received) if received.bytes > 0 => {}
            _ => return,
        }
    }
}

/// Most reads of 4096 bytes that discard unread input: more than a Unix socket's buffer holds.
const MAX_DISCARD_COUNT: usize = 128;

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}
