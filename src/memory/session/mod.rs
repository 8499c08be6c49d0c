//! What recalls and session starts show once beside their results: the briefing, the digest and the first turn; and what
//! each session has in its context.

pub(crate) mod briefing;
pub(crate) mod context;
pub(crate) mod digest;
pub(crate) mod first_turn;

use rusqlite::Connection;

use crate::memory::model::time::UnixMicros;
use crate::memory::session::digest::DigestState;
use crate::memory::session::first_turn::FirstTurns;

/// What recalls show once beside their hits. Shared by all threads.
#[derive(Debug)]
pub(crate) struct SessionState {
    pub(crate) digest: DigestState,
    pub(crate) first_turns: FirstTurns,
}

impl SessionState {
    /// Loads the state from the store.
    ///
    /// # Errors
    /// Any error of reading tables `meta` and `first_turn`.
    pub(crate) fn load(connection: &Connection, now: UnixMicros) -> Result<SessionState, rusqlite::Error> {
        Ok(SessionState { digest: DigestState::load(connection, now)?, first_turns: FirstTurns::load(connection)? })
    }

    /// Loads the state again, after the store's whole content was replaced.
    ///
    /// # Errors
    /// As [`SessionState::load`]; the state is unchanged then.
    pub(crate) fn reload(&self, connection: &Connection, now: UnixMicros) -> Result<(), rusqlite::Error> {
        let SessionState { digest, first_turns } = SessionState::load(connection, now)?;
        self.digest.replace(&digest);
        self.first_turns.replace(first_turns);
        Ok(())
    }
}
