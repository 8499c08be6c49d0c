//! Takes the entries of the other side into the store. What it forgot comes last, once it is known how much that is.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::support::console::Console;
use crate::cli::support::error::CliError;
use crate::cli::sync::local_store::{self, Applied, LocalStore};
use crate::cli::sync::tally::SyncTally;
use crate::client::ClientError;
use crate::wire::reply::code;

/// Records that a run may forget without asking, and the share of the store: a tenth.
const MAX_FORGETS: u64 = 100;
const MAX_SHARE: u64 = 10;

/// Forgettings that are held back. Picked: one and a half megabytes.
const MAX_HELD: usize = 10_000;

/// Forgettings in a call. Picked: a tenth of the daemon's longest line.
const CHUNK: usize = 1000;

/// Reasons for a refusal that are printed.
const MAX_REASONS: u64 = 10;

/// How many records would be forgotten, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForgetCount {
    pub(crate) forgets: u64,
    pub(crate) records: u64,
}

impl ForgetCount {
    /// Returns true if a person has to agree.
    fn needs_consent(self) -> bool {
        self.forgets > MAX_FORGETS || self.forgets * MAX_SHARE > self.records
    }
}

/// Asks whether so many records may be forgotten. Returns an error if not.
pub(crate) type Consent<'a> = &'a mut dyn FnMut(ForgetCount, &mut Console) -> Result<(), CliError>;

/// The entries of one run that this side takes.
#[derive(Debug, Default)]
pub(crate) struct Inbound {
    pub(crate) tally: SyncTally,
    held: Vec<Box<RawValue>>,
    reasons: u64,
    /// Where copies of forgotten records may be, as it was printed.
    left: Vec<String>,
}

impl Inbound {
    /// Takes entries of the store `peer`; forgettings are held back.
    ///
    /// # Errors
    /// As [`LocalStore::apply`].
    pub(crate) fn take(
        &mut self,
        peer: Option<&str>,
        entries: &[&RawValue],
        store: &mut LocalStore<'_>,
        console: &mut Console,
    ) -> Result<(), CliError> {
        let (forgettings, others): (Vec<&RawValue>, Vec<&RawValue>) =
            entries.iter().copied().partition(|entry| local_store::forgotten_at(entry).is_some());
        for entry in forgettings {
            // The files of several writers say the same.
            if self.held.iter().all(|held| held.get() != entry.get()) {
                self.held.push(entry.to_owned());
            }
        }
        if others.is_empty() {
            return Ok(());
        }
        match store.apply(peer, &others, Applied::Written) {
            Ok(replies) => self.add(&replies, console),
            // A record of theirs has an id that was forgotten here, so that too much would go.
            Err(error) if is_unconfirmed(&error) => self.held.extend(others.into_iter().map(ToOwned::to_owned)),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns true if forgettings are held back, so that no cursor behind them may be stored.
    pub(crate) fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns true if no more should be held back.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= MAX_HELD
    }

    /// Forgets what was held back, after asking if that is much.
    ///
    /// # Errors
    /// As [`LocalStore::apply`], and the error of `consent`; nothing is forgotten then.
    pub(crate) fn forget(
        &mut self,
        peer: Option<&str>,
        store: &mut LocalStore<'_>,
        consent: Consent<'_>,
        console: &mut Console,
    ) -> Result<(), CliError> {
        if self.held.is_empty() {
            return Ok(());
        }
        let held = std::mem::take(&mut self.held);
        let held: Vec<&RawValue> = held.iter().map(AsRef::as_ref).collect();
        let mut forgets = 0;
        for chunk in held.chunks(CHUNK) {
            let replies = store.apply(peer, chunk, Applied::Counted)?;
            forgets += replies.iter().map(|reply| reply["forgotten"].as_u64().unwrap_or(0)).sum::<u64>();
        }
        let mut how = Applied::Written;
        if forgets > 0 {
            let count = ForgetCount { forgets, records: store.records()? };
            if count.needs_consent() {
                consent(count, console)?;
                how = Applied::Confirmed;
            }
        }
        for chunk in held.chunks(CHUNK) {
            let replies = match store.apply(peer, chunk, how) {
                // The daemon also counts what this peer has made it forget before.
                Err(error) if is_unconfirmed(&error) && how == Applied::Written => {
                    consent(ForgetCount { forgets, records: store.records()? }, console)?;
                    how = Applied::Confirmed;
                    store.apply(peer, chunk, how)?
                }
                replies => replies?,
            };
            self.add(&replies, console);
        }
        Ok(())
    }

    fn add(&mut self, replies: &[Value], console: &mut Console) {
        for reply in replies {
            self.tally.add(reply);
            for refused in reply["refused"].as_array().into_iter().flatten() {
                self.reasons += 1;
                if self.reasons <= MAX_REASONS {
                    console.warn(format_args!("an entry was refused: {}", refused["reason"].as_str().unwrap_or("")));
                }
            }
            for copy in reply["left"].as_array().into_iter().flatten() {
                let text = |key: &str| copy[key].as_str().unwrap_or_default();
                let line = format!("a copy of what was forgotten may be left in {} ({})", text("where"), text("what"));
                if !self.left.contains(&line) {
                    console.warn(&line);
                    self.left.push(line);
                }
            }
        }
    }
}

/// Returns true if the daemon refuses to forget so much without confirmation: the only param that can be wrong.
fn is_unconfirmed(error: &CliError) -> bool {
    matches!(error, CliError::Client(ClientError::Refused { code: code::INVALID_PARAMS, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_a_hundred_records_or_a_tenth_need_consent() {
        for (forgets, records, needs) in
            [(0, 0, false), (1, 9, true), (1, 10, false), (100, 1000, false), (101, 1_000_000, true), (100, 999, true)]
        {
            assert_eq!(ForgetCount { forgets, records }.needs_consent(), needs, "{forgets} of {records}");
        }
    }
}
