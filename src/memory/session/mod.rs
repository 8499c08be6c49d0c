//! What a session is given when it starts or returns: the briefing, the digest, its first turn.

pub(crate) mod briefing;
pub(crate) mod digest;
pub(crate) mod first_turn;

use rusqlite::Connection;

use crate::memory::model::time::UnixMicros;
use crate::memory::session::digest::DigestState;
use crate::memory::session::first_turn::FirstTurns;

/// What recalls show once beside their hits. Any thread may use it.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) digest: DigestState,
    pub(crate) first_turns: FirstTurns,
}

impl SessionState {
    /// Reads it from the store.
    ///
    /// # Errors
    /// Any error of the database.
    pub(crate) fn load(connection: &Connection, now: UnixMicros) -> Result<SessionState, rusqlite::Error> {
        Ok(SessionState { digest: DigestState::load(connection, now)?, first_turns: FirstTurns::load(connection)? })
    }
}
