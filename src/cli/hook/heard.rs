//! The turn in a hook's own input: the prompt, or the last answer. No transcript format can lose it.
//!
//! It is kept until it was handed over or found in the transcript, so that the timeout of the hook can still save it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::transcript::TranscriptTurn;

/// The turn, shared with the timeout thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeardTurn(Arc<Mutex<Option<TranscriptTurn>>>);

impl HeardTurn {
    pub(crate) fn set(&self, turn: Option<TranscriptTurn>) {
        *self.lock() = turn;
    }

    /// Returns the turn if it is not stored yet.
    pub(crate) fn pending(&self) -> Option<TranscriptTurn> {
        self.lock().clone()
    }

    /// Drops the turn if it is among these turns of the transcript.
    pub(crate) fn recognize(&self, turns: &[TranscriptTurn]) {
        let mut heard = self.lock();
        let is_it = |turn: &TranscriptTurn, heard: &TranscriptTurn| turn.role == heard.role && same(turn, heard);
        if heard.as_ref().is_some_and(|heard| turns.iter().any(|turn| is_it(turn, heard))) {
            *heard = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<TranscriptTurn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn same(turn: &TranscriptTurn, heard: &TranscriptTurn) -> bool {
    turn.text.trim() == heard.text.trim()
}
