//! The open connections by token, and the list of those that are ready for a turn.
//!
//! Connections are found by the slab key in their token or id, and the rest of it is compared: an event or a result for
//! a closed connection does not reach the connection that has its key now.

use std::collections::VecDeque;

use slab::Slab;

use crate::dispatch::Dispatch;
use crate::serve::connection::Connection;
use crate::serve::connection_id::{ConnectionId, GENERATIONS, KEY_MASK};
use crate::serve::control_plane::ControlPlane;

/// All connections of the server.
pub(crate) struct ConnectionTable<D: Dispatch, P: ControlPlane> {
    connections: Slab<Connection<D, P>>,
    /// The number of connections before the next one.
    serial: u64,
    /// The number of connections after which a token repeats.
    generations: u64,
    ready: VecDeque<usize>,
}

impl<D: Dispatch, P: ControlPlane> ConnectionTable<D, P> {
    pub(crate) fn new() -> ConnectionTable<D, P> {
        ConnectionTable::with_generations(GENERATIONS)
    }

    fn with_generations(generations: u64) -> ConnectionTable<D, P> {
        ConnectionTable { connections: Slab::new(), serial: 0, generations, ready: VecDeque::new() }
    }

    /// Returns the number of open connections.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Returns true if no connection is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Returns the id and the token for the next [`ConnectionTable::insert`]. No other connection ever has the id, and no
    /// open one has the token.
    pub(crate) fn next_id(&mut self) -> (ConnectionId, usize) {
        let id = ConnectionId::new(self.serial, self.connections.vacant_key());
        self.serial += 1;
        (id, id.token(self.generations))
    }

    /// Inserts a connection whose id is the latest [`ConnectionTable::next_id`].
    pub(crate) fn insert(&mut self, connection: Connection<D, P>) {
        debug_assert_eq!(self.connections.vacant_key(), connection.token & KEY_MASK);
        self.connections.insert(connection);
    }

    /// Returns the connection of this token, or `None` if it is closed.
    pub(crate) fn find(&mut self, token: usize) -> Option<&mut Connection<D, P>> {
        self.connections.get_mut(token & KEY_MASK).filter(|connection| connection.token == token)
    }

    /// Removes the connection of this token, which must be open.
    pub(crate) fn remove(&mut self, token: usize) -> Connection<D, P> {
        self.connections.remove(token & KEY_MASK)
    }

    /// Puts the connection of this token at the end of the ready list unless it is in it, and returns it; `None` if it
    /// is closed.
    pub(crate) fn enqueue(&mut self, token: usize) -> Option<&mut Connection<D, P>> {
        let ConnectionTable { connections, ready, .. } = self;
        let connection = connections.get_mut(token & KEY_MASK).filter(|connection| connection.token == token)?;
        push_ready(ready, connection);
        Some(connection)
    }

    /// As [`ConnectionTable::enqueue`], for the connection of a result. Its id is compared and not its token, since
    /// tokens repeat and a result may be late without a bound.
    pub(crate) fn enqueue_id(&mut self, id: ConnectionId) -> Option<&mut Connection<D, P>> {
        let token = self.connections.get(id.key()).filter(|connection| connection.id == id)?.token;
        self.enqueue(token)
    }

    /// Calls `change` for each connection and puts it on the ready list.
    pub(crate) fn enqueue_all(&mut self, mut change: impl FnMut(&mut Connection<D, P>)) {
        for (_, connection) in &mut self.connections {
            change(connection);
            push_ready(&mut self.ready, connection);
        }
    }

    /// Returns all connections.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Connection<D, P>> {
        self.connections.iter().map(|(_, connection)| connection)
    }

    /// Returns the length of the ready list; connections in it may be closed.
    pub(crate) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    /// Takes the first token off the ready list. Returns `None` if the list is empty or the connection is closed.
    pub(crate) fn pop_ready(&mut self) -> Option<&mut Connection<D, P>> {
        let token = self.ready.pop_front()?;
        let connection = self.find(token)?;
        connection.queued = false;
        Some(connection)
    }
}

fn push_ready<D: Dispatch, P: ControlPlane>(ready: &mut VecDeque<usize>, connection: &mut Connection<D, P>) {
    if !connection.queued {
        connection.queued = true;
        ready.push_back(connection.token);
    }
}

#[cfg(test)]
mod tests {
    use mio::net::UnixStream;

    use super::*;
    use crate::dispatch::{Pace, Params, Reply};
    use crate::limits::Limits;
    use crate::serve::control_plane::Unwired;

    struct NoMethods;

    impl Dispatch for NoMethods {
        type Worker = ();

        fn worker(&self) {}

        fn method(&self, _: &str) -> Option<Pace> {
            None
        }

        fn call(&self, (): &mut (), _: &str, _: Params<'_>, _: Reply<'_>) {}
    }

    fn open(table: &mut ConnectionTable<NoMethods, Unwired>) -> (ConnectionId, usize) {
        let (id, token) = table.next_id();
        let (stream, _) = UnixStream::pair().unwrap();
        table.insert(Connection::new(id, token, stream, &Limits::default()));
        (id, token)
    }

    #[test]
    fn a_late_result_does_not_reach_a_connection_that_has_its_token_again() {
        let mut table = ConnectionTable::with_generations(4);
        let (late, token) = open(&mut table);
        table.remove(token);
        let mut repeated = 0;
        for _ in 0..12 {
            let (id, next) = open(&mut table);
            repeated += usize::from(next == token);
            assert!(table.enqueue_id(late).is_none() && table.enqueue_id(id).is_some());
            table.remove(next);
        }
        assert_eq!(repeated, 3);
    }
}
