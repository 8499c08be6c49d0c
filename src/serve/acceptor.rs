//! Taking in connections, and refusing those that cannot be had.
//!
//! A descriptor is kept in reserve: when they have run out, it is given up for the moment that it
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
    /// The one before, until nobody waits there.
    former: Option<UnixListener>,
    /// `None` where the listener was handed over.
    path: Option<PathGuard>,
    reserve: Option<File>,
    own_uid: u32,
}

/// What one attempt to accept gave.
pub(crate) enum Accepted {
    /// A peer.
    Peer(UnixStream),
    /// A peer of another user; closed.
    OtherUser,
    /// Descriptors have run out: the peer was told, and closed.
    OutOfDescriptors,
    /// A peer that gave up while it waited.
    Aborted,
    /// Nobody waits.
    NoneWaiting,
    /// It cannot be told who waits; try again a little later.
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

    /// Goes on with this listener. Accepting comes to it when nobody waits at the old one any more, so
    /// [`Acceptor::accept`] is to be called at once.
    pub(crate) fn follow(&mut self, listener: Listener, registry: &Registry, token: Token) -> io::Result<()> {
        let (socket, path) = listener.into_parts();
        let mut next = UnixListener::from_std(socket);
        next.register(registry, token, Interest::READABLE)?;
        self.listener.deregister(registry)?;
        self.former = Some(std::mem::replace(&mut self.listener, next));
        self.path = path;
        Ok(())
    }

    /// Stops listening: removes the path, then closes the socket. The path's lock stays until the
    /// guard is dropped.
    pub(crate) fn close(mut self) -> Option<PathGuard> {
        if let Some(path) = &mut self.path
            && let Err(e) = path.remove()
        {
            log::warn!("socket {} stays behind: {e}", path.path().display());
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

    /// Who has waited longest.
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
            Ok(uid) if peer::may_connect(uid, self.own_uid) => match stream::quiet(&stream) {
                Ok(()) => Accepted::Peer(stream),
                Err(e) => {
                    log::debug!("a connection was gone before it was served: {e}");
                    Accepted::Aborted
                }
            },
            Ok(uid) => {
                log::warn!("a connection by uid {uid} was closed: only uid {} and root are served", self.own_uid);
                Accepted::OtherUser
            }
            Err(e) => {
                log::warn!("a connection was closed: its peer's uid cannot be read: {e}");
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

/// Tells the peer why it is not served, and closes. The line fits into a new socket's buffer; a peer
/// that has gone already is no loss.
pub(crate) fn refuse(stream: UnixStream, why: &str) {
    let mut line = Vec::new();
    reply::error(&mut line, None, &CallError::failed(why));
    if let Err(e) = stream::send(&stream, &line) {
        log::debug!("a refused peer could not be told: {e}");
    }
    finish(&stream);
}

/// Ends a connection so that what was sent arrives: says that no more comes, and throws away what
/// the peer has sent meanwhile, since closing over unread input resets the connection.
pub(crate) fn finish(stream: &UnixStream) {
    if let Err(e) = stream.shutdown(std::net::Shutdown::Write) {
        log::debug!("a connection could not be shut down: {e}");
    }
    let mut unread = [0; 4096];
    for _ in 0..DISCARD_READS {
        match stream::receive(stream, &mut unread) {
            Ok(received) if received.bytes > 0 => {}
            _ => return,
        }
    }
}

/// How many pages of a peer's unread input are thrown away before the connection is closed over it:
/// more than a Unix socket's buffer holds.
const DISCARD_READS: usize = 128;

fn open_reserve() -> Option<File> {
    File::open("/dev/null").ok()
}
