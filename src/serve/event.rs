//! The events of the loop, and the tokens by which mio reports them.

use mio::Token;

pub(crate) const LISTENER: Token = Token(usize::MAX);
pub(crate) const WAKER: Token = Token(usize::MAX - 1);
pub(crate) const STOP: Token = Token(usize::MAX - 2);

/// Tokens below this one are those of connections.
pub(crate) const CONNECTION_TOKENS: usize = usize::MAX >> 1;

/// What can happen.
pub(crate) enum LoopEvent {
    /// Connections may wait to be accepted.
    Listening,
    /// Workers have results, or a handle asks the server to stop.
    Woken,
    /// The stop descriptor became readable.
    Stop,
    /// A connection became readable or writable. `ragged`: see
    /// [`Connection::became_readable`](super::connection::Connection::became_readable). `gone`: the peer has closed both
    /// directions, so it reads nothing more.
    Peer { token: usize, readable: bool, ragged: bool, gone: bool },
}

impl From<&mio::event::Event> for LoopEvent {
    fn from(event: &mio::event::Event) -> LoopEvent {
        match event.token() {
            LISTENER => LoopEvent::Listening,
            WAKER => LoopEvent::Woken,
            STOP => LoopEvent::Stop,
            Token(token) => LoopEvent::Peer {
                token,
                readable: event.is_readable() || event.is_read_closed() || event.is_error() || event.is_priority(),
                ragged: event.is_read_closed() || event.is_error() || event.is_priority(),
                gone: event.is_write_closed(),
            },
        }
    }
}
