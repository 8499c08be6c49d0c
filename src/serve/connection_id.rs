//! The two names of a connection: its id, which is never used again, and its token in events.
//!
//! Both have the slab key in their low bits. Above it an id has the number of the connection since the start, in 64 bits
//! on every platform. A token has what fits of that number into an event: on 32 bits it is the same again after 2^16
//! connections. That is enough for events, since a closed connection has none after the turn in which it was closed. It
//! would not be enough for the result of a call, which may come at any later time.

use crate::serve::event::CONNECTION_TOKENS;

/// Low bits that are the slab key. 2^15 keys are twice the most connections that can be configured.
const KEY_BITS: u32 = 15;
pub(crate) const KEY_MASK: usize = (1 << KEY_BITS) - 1;

/// Distinct numbers above the key in a token.
pub(crate) const GENERATIONS: u64 = (CONNECTION_TOKENS >> KEY_BITS) as u64 + 1;

/// Identifies a connection among all of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ConnectionId(pub(crate) u64);

impl ConnectionId {
    /// Creates the id of connection number `serial`, counted from the start, under this slab key. 2^49 connections, at
    /// a million a second, are 17 years.
    pub(crate) fn new(serial: u64, key: usize) -> ConnectionId {
        debug_assert!(key <= KEY_MASK && serial < 1 << (u64::BITS - KEY_BITS));
        ConnectionId((serial << KEY_BITS) | key as u64)
    }

    /// Returns the slab key.
    pub(crate) fn key(self) -> usize {
        self.0 as usize & KEY_MASK
    }

    /// Returns the token for events. It repeats after `generations` connections.
    pub(crate) fn token(self, generations: u64) -> usize {
        (((self.0 >> KEY_BITS) % generations) as usize * (KEY_MASK + 1)) | self.key()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_repeats_and_an_id_does_not() {
        let ids: Vec<_> = (0..9).map(|serial| ConnectionId::new(serial, 7)).collect();
        let tokens: Vec<_> = ids.iter().map(|id| id.token(4) >> KEY_BITS).collect();
        assert_eq!(tokens, [0, 1, 2, 3, 0, 1, 2, 3, 0]);
        assert!(ids.iter().all(|id| id.key() == 7 && id.token(4) & KEY_MASK == 7));
        for (at, id) in ids.iter().enumerate() {
            assert!(!ids[at + 1..].contains(id), "{id:?}");
        }
    }

    #[test]
    fn ids_differ_where_a_32_bit_number_would_wrap() {
        let wrap = 1 << (u32::BITS - KEY_BITS);
        let (first, later) = (ConnectionId::new(0, 0), ConnectionId::new(wrap, 0));
        assert_eq!(first.0 as u32, later.0 as u32);
        assert_ne!(first, later);
        assert!(later.token(GENERATIONS) < CONNECTION_TOKENS + 1);
        let last = ConnectionId::new((1 << (u64::BITS - KEY_BITS)) - 1, KEY_MASK);
        assert_eq!((last.0, last.key()), (u64::MAX, KEY_MASK));
        assert!(last.token(GENERATIONS) <= CONNECTION_TOKENS);
    }
}
