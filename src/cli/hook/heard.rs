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

    /// Drops the turn if it is among these turns of the transcript, as one of them or as several in a row: an answer of
    /// several blocks is one text in the input.
    pub(crate) fn recognize(&self, turns: &[TranscriptTurn]) {
        let mut heard = self.lock();
        if heard.as_ref().is_some_and(|heard| (0..turns.len()).any(|at| begins_with(&turns[at..], heard))) {
            *heard = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<TranscriptTurn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns true if the words of the first turns of this role, taken together, are those of `whole`.
fn begins_with(turns: &[TranscriptTurn], whole: &TranscriptTurn) -> bool {
    let mut rest = whole.text.split_whitespace();
    for turn in turns.iter().take_while(|turn| turn.role == whole.role) {
        if !turn.text.split_whitespace().all(|word| rest.next() == Some(word)) {
            return false;
        }
        if rest.clone().next().is_none() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Assistant;

    fn turn(role: &'static str, text: &str) -> TranscriptTurn {
        let ts = "2026-01-02T03:04:05Z".to_owned();
        TranscriptTurn::from_text(Assistant::ClaudeCode, role, text, "s".into(), None, ts).unwrap()
    }

    #[test]
    fn a_turn_is_recognized_in_one_or_several_turns() {
        let (one, two) = ("the first of two blocks", "the second of two blocks");
        let both = format!("{one}\n{two}");
        for (heard, turns, want) in [
            (one, vec![("assistant", one)], true),
            (one, vec![("assistant", "\n\nthe first of\ttwo blocks ")], true),
            (two, vec![("user", "a question for both"), ("assistant", one), ("assistant", two)], true),
            (&both, vec![("assistant", one), ("assistant", two)], true),
            (&both, vec![("assistant", two), ("assistant", one), ("assistant", two), ("user", one)], true),
            (&both, vec![("assistant", one), ("user", two)], false),
            (&both, vec![("assistant", one)], false),
            (one, vec![("user", one)], false),
            (one, vec![("assistant", &both)], false),
            (one, vec![], false),
        ] {
            let pending = HeardTurn::default();
            pending.set(Some(turn("assistant", heard)));
            pending.recognize(&turns.iter().map(|(role, text)| turn(role, text)).collect::<Vec<_>>());
            assert_eq!(pending.pending().is_none(), want, "{heard}: {turns:?}");
        }
    }
}
