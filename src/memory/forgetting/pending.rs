//! The selections that wait to be confirmed, each with a token.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::dispatch::CallError;
use crate::memory::forgetting::selection::Confirmed;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::records::new_id;

/// How long a token is good for.
const TOKEN_TTL: Duration = Duration::from_secs(600);

/// Most tokens that are good at a time; the oldest goes first.
const MAX_TOKENS: usize = 16;

/// The selections that wait to be confirmed. Shared by all threads.
#[derive(Debug, Default)]
pub(crate) struct PendingSelections(Mutex<Vec<PendingSelection>>);

#[derive(Debug)]
struct PendingSelection {
    token: String,
    made: UnixMicros,
    confirmed: Confirmed,
}

impl PendingSelections {
    /// Forgets all selections: the store's content was replaced, so they select other records.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the token of a selection.
    pub(crate) fn add(&self, confirmed: Confirmed, now: UnixMicros) -> String {
        let token = new_id().simple().to_string();
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|one| now.since(one.made) < TOKEN_TTL);
        if pending.len() == MAX_TOKENS {
            pending.remove(0);
        }
        pending.push(PendingSelection { token: token.clone(), made: now, confirmed });
        token
    }

    /// Takes the selection of a token, which is good once.
    ///
    /// # Errors
    /// -32602 if the token is unknown, was used or has expired.
    pub(crate) fn take(&self, token: &str, now: UnixMicros) -> Result<Confirmed, CallError> {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|one| now.since(one.made) < TOKEN_TTL);
        let at = pending.iter().position(|one| one.token == token).ok_or_else(|| {
            CallError::invalid(
                "token",
                "one that this daemon has given in the last 10 minutes and that was not used; nothing was forgotten, \
                 ask for a new one",
            )
        })?;
        Ok(pending.remove(at).confirmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::forgetting::selection::{SelectionMark, Selector};

    #[test]
    fn a_token_is_good_once_for_ten_minutes_and_their_number_is_bounded() {
        let (pending, start) = (PendingSelections::default(), UnixMicros::from_seconds(1_700_000_000));
        let confirmed =
            || Confirmed { selector: Selector::default(), mark: SelectionMark::default(), files: Vec::new() };
        let add = || pending.add(confirmed(), start);
        let just = start + (TOKEN_TTL - Duration::from_micros(1));
        for (later, is_good) in [(start, true), (just, true), (start + TOKEN_TTL, false)] {
            let token = add();
            assert_eq!(pending.take(&token, later).is_ok(), is_good);
            assert!(pending.take(&token, later).is_err(), "it was used or is too old");
        }
        let tokens: Vec<String> = (0..=MAX_TOKENS).map(|_| add()).collect();
        assert!(pending.take(&tokens[0], start).is_err(), "the oldest has gone");
        assert!(tokens[1..].iter().all(|token| pending.take(token, start).is_ok()));
    }
}
