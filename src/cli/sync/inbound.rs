//! Takes the entries of the other side into the store. What it forgot comes last, once it is known how much that is.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::cli::support::console::Console;
use crate::cli::support::error::CliError;
use crate::cli::sync::local_store::{self, ApplyMode, LocalStore};
use crate::cli::sync::tally::SyncTally;
use crate::client::ClientError;
use crate::sort;
use crate::wire::reply::code;

/// Records that a run may forget without asking, and the share of the store: a tenth.
const MAX_FORGETS: u64 = 100;
const MAX_SHARE: u64 = 10;

/// Entries that are held back, and their bytes. Picked: a forgetting takes a hundred bytes and more in memory.
const MAX_HELD: usize = if cfg!(test) { 100 } else { 10_000 };
const MAX_HELD_BYTES: usize = 4 << 20;

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
    held_bytes: usize,
    /// Why nothing is forgotten in this run: what is to be held back is left out from then on.
    declined: Option<String>,
    reasons: u64,
    /// The folder that this run goes through: its copies are mended by the runs that follow.
    folder: Option<String>,
    /// Where copies of forgotten records may be, as it was printed.
    left: Vec<String>,
}

impl Inbound {
    /// Returns that of a run through a folder.
    pub(crate) fn in_folder(name: &str) -> Inbound {
        Inbound { folder: Some(name.to_owned()), ..Inbound::default() }
    }

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
            entries.iter().copied().partition(|entry| local_store::is_forgetting(entry));
        forgettings.into_iter().for_each(|entry| self.hold(entry));
        self.take_others(peer, &others, store, console)
    }

    fn hold(&mut self, entry: &RawValue) {
        if self.declined.is_some() {
            return;
        }
        self.held_bytes += entry.get().len();
        self.held.push(entry.to_owned());
    }

    /// Takes entries that say of nothing that it was forgotten. Records under an id that was forgotten here are held back
    /// if too much would go with them, and no other entries, which later ones may refer to.
    fn take_others(
        &mut self,
        peer: Option<&str>,
        entries: &[&RawValue],
        store: &mut LocalStore<'_>,
        console: &mut Console,
    ) -> Result<(), CliError> {
        if entries.is_empty() {
            return Ok(());
        }
        // The daemon counts from the last meeting, which is noted between two batches.
        if self.tally.forgotten() == 0 || count_forgets(peer, entries, store)? == 0 {
            match store.apply(peer, entries, ApplyMode::Apply) {
                Ok(replies) => {
                    self.add(&replies, console);
                    return Ok(());
                }
                Err(error) if is_unconfirmed(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if let [entry] = entries {
            self.hold(entry);
            return Ok(());
        }
        let (first, second) = entries.split_at(entries.len() / 2);
        self.take_others(peer, first, store, console)?;
        self.take_others(peer, second, store, console)
    }

    /// Returns true if forgettings are held back, or were left out, so that no cursor behind them may be stored.
    pub(crate) fn holds_any(&self) -> bool {
        !self.held.is_empty() || self.declined.is_some()
    }

    /// Returns true if no more should be held back.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= MAX_HELD || self.held_bytes >= MAX_HELD_BYTES
    }

    /// Forgets what was held back, after asking if that is much. After a no, later calls of the run
    /// return the same error without asking.
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
        if let Some(why) = &self.declined {
            return Err(CliError::NotConfirmed(why.clone()));
        }
        let outcome = self.forget_held(peer, store, consent, console);
        if let Err(CliError::NotConfirmed(why)) = &outcome {
            self.declined = Some(why.clone());
        }
        outcome
    }

    fn forget_held(
        &mut self,
        peer: Option<&str>,
        store: &mut LocalStore<'_>,
        consent: Consent<'_>,
        console: &mut Console,
    ) -> Result<(), CliError> {
        if self.held.is_empty() {
            return Ok(());
        }
        self.held_bytes = 0;
        let held = std::mem::take(&mut self.held);
        let mut held: Vec<&RawValue> = held.iter().map(AsRef::as_ref).collect();
        // The files of several writers say the same.
        sort::sort_by(&mut held, |a, b| a.get().cmp(b.get()));
        held.dedup_by(|a, b| a.get() == b.get());
        let mut forgets = 0;
        for chunk in held.chunks(CHUNK) {
            forgets += count_forgets(peer, chunk, store)?;
        }
        let mut mode = ApplyMode::Apply;
        // The limit is that of the run.
        let before = self.tally.forgotten();
        if forgets > 0 {
            let count = ForgetCount { forgets: forgets + before, records: store.records()? + before };
            if count.needs_consent() {
                consent(count, console)?;
                mode = ApplyMode::ApplyConfirmed;
            }
        }
        for chunk in held.chunks(CHUNK) {
            let replies = match store.apply(peer, chunk, mode) {
                // The daemon also counts what this peer has made it forget before.
                Err(error) if is_unconfirmed(&error) && mode == ApplyMode::Apply => {
                    consent(ForgetCount { forgets, records: store.records()? }, console)?;
                    mode = ApplyMode::ApplyConfirmed;
                    store.apply(peer, chunk, mode)?
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
                if self.folder.as_deref() == Some(text("where")) {
                    continue;
                }
                let line = format!("a copy of what was forgotten may be left in {} ({})", text("where"), text("what"));
                if !self.left.contains(&line) {
                    console.warn(&line);
                    self.left.push(line);
                }
            }
        }
    }
}

/// Returns how many records these entries would make the store forget.
fn count_forgets(peer: Option<&str>, entries: &[&RawValue], store: &mut LocalStore<'_>) -> Result<u64, CliError> {
    let replies = store.apply(peer, entries, ApplyMode::DryRun)?;
    Ok(replies.iter().map(|reply| reply["forgotten"].as_u64().unwrap_or(0)).sum())
}

/// Returns true if the daemon refuses to forget so much without confirmation: the only param that can be wrong.
fn is_unconfirmed(error: &CliError) -> bool {
    matches!(error, CliError::Client(ClientError::Refused { code: code::INVALID_PARAMS, .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sync::testing::{FakeStore, answering};

    fn forgotten(id: u64, more: &str) -> Box<RawValue> {
        let text = format!("{{\"kind\":\"forgotten\",\"id\":{id},\"at\":5{more}}}");
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn what_a_run_may_forget_without_asking_is_counted_over_all_of_it() {
        let store = FakeStore::shared("a", 0..100);
        store.with_client(|client| {
            let mut store = LocalStore::open(client).unwrap();
            let (mut inbound, mut asked, mut console) = (Inbound::default(), Vec::new(), answering(None));
            for ids in [0..6, 6..10, 10..13, 50..51] {
                let entries: Vec<Box<RawValue>> = ids.chain(200..205).map(|id| forgotten(id, "")).collect();
                let entries: Vec<&RawValue> = entries.iter().map(AsRef::as_ref).collect();
                inbound.take(None, &entries, &mut store, &mut console).unwrap();
                let mut consent = |count: ForgetCount, _: &mut Console| {
                    asked.push((count.forgets, count.records));
                    Ok(())
                };
                inbound.forget(None, &mut store, &mut consent, &mut console).unwrap();
            }
            assert_eq!(asked, [(13, 100), (14, 100)]);
        });
    }

    #[test]
    fn what_is_held_back_is_bounded_in_bytes() {
        let store = FakeStore::shared("a", 0..100);
        store.with_client(|client| {
            let mut store = LocalStore::open(client).unwrap();
            let mut inbound = Inbound::default();
            let large = forgotten(1, &format!(",\"more\":\"{}\"", "x".repeat(MAX_HELD_BYTES)));
            inbound.take(None, &[&forgotten(1, "")], &mut store, &mut answering(None)).unwrap();
            assert!(inbound.holds_any() && !inbound.is_full());
            inbound.take(None, &[&large], &mut store, &mut answering(None)).unwrap();
            assert!(inbound.is_full());
        });
    }

    #[test]
    fn more_than_a_hundred_records_or_a_tenth_need_consent() {
        for (forgets, records, needs) in
            [(0, 0, false), (1, 9, true), (1, 10, false), (100, 1000, false), (101, 1_000_000, true), (100, 999, true)]
        {
            assert_eq!(ForgetCount { forgets, records }.needs_consent(), needs, "{forgets} of {records}");
        }
    }
}
