//! The open connections by token, and the list of those that are ready for a turn.
//!
//! A token is a slab key with a generation above it, so that an event or a result for a closed connection does not
//! reach the connection that has its key now.

use std::collections::VecDeque;

use slab::Slab;

use crate::dispatch::Dispatch;
use crate::serve::connection::Connection;
use crate::serve::control_plane::ControlPlane;
use crate::serve::event::CONNECTION_TOKENS;

/// Low bits of a token that are the slab key; the generation is above them. 2^15 keys are twice the most connections
/// that can be configured; on 32 bits 2^16 generations remain.
const KEY_BITS: u32 = 15;
const KEY_MASK: usize = (1 << KEY_BITS) - 1;
const GENERATIONS: usize = (CONNECTION_TOKENS >> KEY_BITS) + 1;

/// All connections of the server.
pub(crate) struct ConnectionTable<D: Dispatch, P: ControlPlane> {
    connections: Slab<Connection<D, P>>,
    generation: usize,
    ready: VecDeque<usize>,
}

impl<D: Dispatch, P: ControlPlane> ConnectionTable<D, P> {
    pub(crate) fn new() -> ConnectionTable<D, P> {
        ConnectionTable { connections: Slab::new(), generation: 0, ready: VecDeque::new() }
    }

    /// Returns the number of open connections.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Returns true if no connection is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Returns an unused token for the next [`ConnectionTable::insert`].
    pub(crate) fn next_token(&mut self) -> usize {
        let token = self.generation << KEY_BITS | self.connections.vacant_key();
        self.generation = (self.generation + 1) % GENERATIONS;
        token
    }

    /// Inserts a connection whose token is the latest [`ConnectionTable::next_token`].
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

    /// Calls `change` for each connection and puts it on the ready list.
    pub(crate) fn enqueue_all(&mut self, mut change: impl FnMut(&mut Connection<D, P>)) {
        for (_, connection) in &mut self.connections {
            change(connection);
            push_ready(&mut self.ready, connection);
        }
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
