//! Both directions of a sync with a peer at the other end of a pipe.
//!
//! Each side begins where the *other* says that it has come to: so a store that was restored from an older backup gets
//! again what it has lost. If one side does not know that place any more, both begin with everything, and leave out
//! nothing that the other may have lost.

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::progress::ProgressBar;
use crate::cli::support::values::{counted, grouped};
use crate::cli::sync::frame::NO_ENTRIES;
use crate::cli::sync::inbound::{ForgetCount, Inbound};
use crate::cli::sync::local_store::{Changes, HOST, LocalStore};
use crate::cli::sync::pipe::{PeerGreeting, PeerMessage, Pipe, PipeEnd};
use crate::cli::sync::tally::SyncTally;

/// Which side this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SyncSide {
    /// Started by a person or a timer: speaks first, asks, and shows the progress.
    Caller,
    /// Started by the caller.
    Server,
}

/// Why an exchange failed.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The pipe or the other side.
    Pipe(PipeEnd),
    /// This side.
    Own(CliError),
}

impl From<PipeEnd> for ExchangeError {
    fn from(end: PipeEnd) -> ExchangeError {
        ExchangeError::Pipe(end)
    }
}

impl From<CliError> for ExchangeError {
    fn from(error: CliError) -> ExchangeError {
        ExchangeError::Own(error)
    }
}

/// What this side sends.
#[derive(Default)]
struct Outbound {
    /// The cursor behind what was sent.
    at: Option<String>,
    /// The batch that is sent next.
    fetched: Option<Changes>,
    /// Everything is sent, including what the peer may have lost.
    is_whole: bool,
    /// The last batch was sent.
    is_done: bool,
    /// The peer was told how much is to come.
    is_counted: bool,
}

/// One run with one peer.
pub(crate) struct Exchange<'a, 'c> {
    pipe: &'a mut Pipe,
    store: &'a mut LocalStore<'c>,
    side: SyncSide,
    peer: PeerGreeting,
    /// Under which the peer is remembered.
    name: String,
    /// The person has agreed to any number of forgotten records.
    is_confirmed: bool,
    inbound: Inbound,
    /// The peer's cursor behind what was taken.
    received: Option<String>,
    /// The peer has sent its last batch.
    is_received: bool,
    /// The peer holds back what this side has forgotten, until everything else is exchanged.
    is_awaited: bool,
    /// The person has not agreed to what is forgotten at the peer.
    declined: Option<String>,
    outbound: Outbound,
    /// What has changed at the peer.
    theirs: SyncTally,
    progress: Option<ProgressBar>,
    /// Entries that were received or acknowledged, and those that are expected.
    moved: u64,
    expected: u64,
}

/// The two tallies of a run.
#[derive(Debug, Default)]
pub(crate) struct ExchangeTally {
    pub(crate) here: SyncTally,
    pub(crate) there: SyncTally,
}

impl<'a, 'c> Exchange<'a, 'c> {
    pub(crate) fn new(
        pipe: &'a mut Pipe,
        store: &'a mut LocalStore<'c>,
        side: SyncSide,
        (peer, name): (PeerGreeting, String),
        is_confirmed: bool,
    ) -> Exchange<'a, 'c> {
        Exchange {
            pipe,
            store,
            side,
            peer,
            name,
            is_confirmed,
            inbound: Inbound::default(),
            received: None,
            is_received: false,
            is_awaited: false,
            declined: None,
            outbound: Outbound::default(),
            theirs: SyncTally::default(),
            progress: None,
            moved: 0,
            expected: 0,
        }
    }

    /// Exchanges everything that one of both does not have.
    ///
    /// # Errors
    /// [`ExchangeError`]. What was taken until then is kept on both sides.
    pub(crate) fn run(mut self, console: &mut Console) -> Result<ExchangeTally, ExchangeError> {
        let outcome = self.turns(console);
        if let Some(progress) = &mut self.progress {
            progress.clear(console);
        }
        if let Err(ExchangeError::Own(error)) = &outcome {
            // The other side may be gone.
            drop(self.pipe.send(&json!({"error": error.to_string()}), NO_ENTRIES));
        }
        if let Err(ExchangeError::Pipe(PipeEnd::Failed(what))) = &outcome
            && what == REFUSAL
            && let Some(declined) = self.declined.take()
        {
            return Err(CliError::NotConfirmed(declined).into());
        }
        outcome?;
        let row = json!({"peer": self.peer.store, "name": self.name, "kind": HOST, "sent": self.outbound.at});
        self.store.met(&row)?;
        Ok(ExchangeTally { here: self.inbound.tally, there: self.theirs })
    }

    fn turns(&mut self, console: &mut Console) -> Result<(), ExchangeError> {
        let since = self.store.newest_row(&self.peer.store).map_or(Value::Null, |row| row["received"].clone());
        if self.side == SyncSide::Caller {
            self.pipe.send(&json!({"since": since, "yes": self.is_confirmed}), NO_ENTRIES)?;
        }
        let mut is_first = true;
        loop {
            let message = self.pipe.receive()?;
            if let Some(count) = message.about.get("confirm") {
                self.confirm(count, console)?;
                continue;
            }
            if let Some(theirs) = message.about.get("since") {
                self.is_confirmed |= self.side == SyncSide::Server && message.about["yes"] == true;
                self.outbound.at = theirs.as_str().map(str::to_owned);
                self.fetch()?;
            }
            let mut about = Map::new();
            if is_first && self.side == SyncSide::Server {
                about.insert("since".into(), since.clone());
            }
            is_first = false;
            let is_over = self.take(&message, &mut about, console)?;
            if is_over {
                return Ok(());
            }
            if self.send_turn(about)? {
                return Ok(());
            }
            self.show(console);
            // While the other side works.
            if self.outbound.fetched.is_none() && !self.outbound.is_done {
                self.fetch()?;
            }
        }
    }

    /// Takes what the peer has sent. Returns true if that was its last message.
    fn take(
        &mut self,
        message: &PeerMessage,
        reply: &mut Map<String, Value>,
        console: &mut Console,
    ) -> Result<bool, ExchangeError> {
        let about = &message.about;
        if about["whole"] == true && !self.outbound.is_whole {
            self.outbound = Outbound { is_whole: true, ..Outbound::default() };
            self.fetch()?;
        }
        if let Some(applied) = about.get("applied") {
            self.theirs.add(applied);
            self.moved = self.moved.saturating_add(applied["entries"].as_u64().unwrap_or(0));
        }
        if let Some(total) = about["total"].as_u64() {
            self.expected = self.expected.saturating_add(total);
        }
        self.is_awaited = about["held"] == true;
        let before = self.inbound.tally.clone();
        let next = about["next"].as_str();
        let entries = message.entries();
        if let Some(next) = next {
            self.inbound.take(Some(&self.peer.store), &entries, self.store, console)?;
            self.received = Some(next.to_owned());
            self.is_received = about["done"] == true;
            self.moved = self.moved.saturating_add(entries.len() as u64);
        }
        // Last, so that everything else is exchanged if the person does not agree.
        let is_last = self.is_received && self.outbound.is_done;
        let mut is_settled = self.inbound.holds_any() && (is_last || self.inbound.is_full());
        if is_settled {
            match self.forget(console) {
                Err(ExchangeError::Own(CliError::NotConfirmed(_))) if !is_last => is_settled = false,
                forgotten => forgotten?,
            }
        }
        if (next.is_some() || is_settled) && !self.inbound.holds_any() {
            let row = json!({"peer": self.peer.store, "name": self.name, "kind": HOST, "received": self.received});
            self.store.met(&row)?;
        }
        if next.is_some() || is_settled {
            let mut applied = self.inbound.tally.since(&before).as_json();
            applied["entries"] = entries.len().into();
            reply.insert("applied".into(), applied);
        }
        if self.inbound.holds_any() {
            reply.insert("held".into(), true.into());
        }
        Ok(about["bye"] == true)
    }

    /// Sends the next batch, or that there is none. Returns true if everything is exchanged, so that this message was the
    /// last one.
    fn send_turn(&mut self, mut about: Map<String, Value>) -> Result<bool, ExchangeError> {
        let batch = self.outbound.fetched.take();
        let was_done = self.outbound.is_done;
        if self.outbound.is_whole {
            about.insert("whole".into(), true.into());
        }
        if let Some(batch) = &batch {
            about.insert("next".into(), batch.next.as_str().into());
            about.insert("done".into(), batch.is_last.into());
            if let Some(total) = batch.total.filter(|_| !self.outbound.is_counted) {
                self.expected = self.expected.saturating_add(total);
                about.insert("total".into(), total.into());
            }
            self.outbound.is_counted = true;
            self.outbound.at = Some(batch.next.clone());
            self.outbound.is_done = batch.is_last;
        }
        let is_over = batch.is_none() && was_done && self.is_received && !self.is_awaited && !self.inbound.holds_any();
        if is_over {
            about.insert("bye".into(), true.into());
        }
        let entries = batch.as_ref().map_or(NO_ENTRIES, |batch| batch.entries.get());
        self.pipe.send(&Value::Object(about), entries)?;
        Ok(is_over)
    }

    /// Reads the next batch of the own store.
    fn fetch(&mut self) -> Result<(), CliError> {
        let at = self.outbound.at.take();
        let left_out = Some(self.peer.store.as_str()).filter(|_| !self.outbound.is_whole);
        let batch = match self.store.changes(at.as_deref(), left_out)? {
            Some(batch) => Some(batch),
            None => {
                self.outbound = Outbound { is_whole: true, ..Outbound::default() };
                self.store.changes(None, None)?
            }
        };
        self.outbound.fetched = batch;
        Ok(())
    }

    /// Forgets what was held back; the person at the caller's side agrees.
    fn forget(&mut self, console: &mut Console) -> Result<(), ExchangeError> {
        let (side, is_confirmed, name) = (self.side, self.is_confirmed, self.name.clone());
        let pipe = &mut *self.pipe;
        if let Some(progress) = &mut self.progress {
            progress.clear(console);
        }
        let mut end = None;
        let mut consent = |count: ForgetCount, console: &mut Console| match side {
            _ if is_confirmed => Ok(()),
            SyncSide::Caller => ask(&format!("{name} has forgotten"), count, "here", console),
            SyncSide::Server => {
                let ForgetCount { forgets, records } = count;
                let about = json!({"confirm": {"forgets": forgets, "records": records}});
                let answer = pipe.send(&about, NO_ENTRIES).and_then(|()| pipe.receive());
                match answer {
                    Ok(answer) if answer.about["confirmed"] == true => Ok(()),
                    Ok(_) => Err(refusal()),
                    Err(why) => {
                        end = Some(why);
                        Err(refusal())
                    }
                }
            }
        };
        let forgotten = self.inbound.forget(Some(&self.peer.store), self.store, &mut consent, console);
        match (forgotten, end) {
            (Err(_), Some(end)) => Err(end.into()),
            (forgotten, _) => Ok(forgotten?),
        }
    }

    /// Asks on behalf of the peer whether it may forget so much.
    fn confirm(&mut self, count: &Value, console: &mut Console) -> Result<(), ExchangeError> {
        let number = |key: &str| count[key].as_u64().unwrap_or(0);
        let count = ForgetCount { forgets: number("forgets"), records: number("records") };
        let agreed = match self.is_confirmed {
            true => Ok(()),
            false => ask("This store has forgotten", count, &format!("on {}", self.name), console),
        };
        match agreed {
            // The peer goes on without it, and fails at the end.
            Err(CliError::NotConfirmed(why)) => self.declined = Some(why),
            agreed => agreed?,
        }
        Ok(self.pipe.send(&json!({"confirmed": self.declined.is_none()}), NO_ENTRIES)?)
    }

    fn show(&mut self, console: &mut Console) {
        if self.side == SyncSide::Caller {
            let (now, expected) = (Instant::now(), self.expected);
            let progress = self.progress.get_or_insert_with(|| ProgressBar::new(Some(expected), now));
            progress.show(self.moved, self.moved, now, console);
        }
    }
}

/// The error of the side whose records a person does not want to be forgotten; the other side recognizes it.
const REFUSAL: &str = "nothing was forgotten: it was not confirmed; everything before is synced";

fn refusal() -> CliError {
    CliError::NotConfirmed(REFUSAL.into())
}

/// Asks the person whether so many records are to be forgotten. `who` begins the question, `place` says where.
///
/// # Errors
/// [`CliError::NotConfirmed`] if the answer is no, or nobody can be asked.
pub(crate) fn ask(who: &str, count: ForgetCount, place: &str, console: &mut Console) -> Result<(), CliError> {
    let forgets = counted(count.forgets, "record", "records");
    let what = format!("{who} {forgets} of the {} {place}", grouped(count.records));
    if !console.input_kind.is_terminal() || console.format == OutputFormat::Json {
        let what = format!("nothing was forgotten: {what}; if that is right, run it again with --yes");
        return Err(CliError::NotConfirmed(what));
    }
    let question = format!("{what}. Forget them there, too?");
    let question = visible(&question, console.out_kind).into_owned();
    if console.ask(&question).map_err(CliError::Input)? { Ok(()) } else { Err(refusal()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::sync::testing::{FakeStore, Faults, SharedStore, answering, own_error, run};

    const NO_FAULT: (Faults, Faults) =
        (Faults { cut_after: None, doubles_every: None }, Faults { cut_after: None, doubles_every: None });

    fn sync(caller: &SharedStore, server: &SharedStore) -> ExchangeTally {
        let outcome = run(caller, server, NO_FAULT, false, &mut answering(None));
        outcome.server.unwrap();
        outcome.caller.unwrap()
    }

    fn forget(store: &SharedStore, records: impl IntoIterator<Item = u64>) {
        for record in records {
            store.0.lock().unwrap().forget(record, None);
        }
    }

    #[test]
    fn both_sides_have_everything_and_the_next_run_carries_what_is_new() {
        for (ours, theirs) in [(0..20, 10..17), (0..0, 0..0), (0..7, 0..0), (0..0, 0..7), (3..4, 3..4)] {
            let (a, b) = (FakeStore::shared("a", ours.clone()), FakeStore::shared("b", theirs.clone()));
            let tally = sync(&a, &b);
            let all: Vec<u64> = (0..50).filter(|n| ours.contains(n) || theirs.contains(n)).collect();
            assert_eq!((a.records(), b.records()), (all.clone(), all.clone()));
            let (here, there) = (tally.here.as_json(), tally.there.as_json());
            assert_eq!(here["added"], all.len() - ours.count());
            assert_eq!(there["added"], all.len() - theirs.count());
            let c = FakeStore::shared("c", [77]);
            sync(&c, &b);
            let outcome = run(&a, &b, NO_FAULT, false, &mut answering(None));
            assert_eq!(outcome.caller.unwrap().here.in_words(), "1 record");
            // What was learned from the caller does not come back to it.
            let given = outcome.calls.iter().filter(|call| call["method"] == "sync_apply").count();
            assert_eq!(given, 0, "{:?}", outcome.calls);
        }
    }

    #[test]
    fn a_pipe_that_is_cut_or_doubles_bytes_anywhere_loses_nothing() {
        let faults = |at: usize| {
            let (cut, whole) = (Faults { cut_after: Some(at), ..Faults::default() }, Faults::default());
            let doubled = Faults { doubles_every: Some(at % 23 + 1), ..Faults::default() };
            [(cut, whole), (whole, cut), (doubled, whole), (whole, doubled)]
        };
        for at in (1..2600).step_by(61) {
            for faults in faults(at) {
                let (a, b) = (FakeStore::shared("a", 0..11), FakeStore::shared("b", 9..15));
                forget(&b, [14]);
                run(&a, &b, faults, true, &mut answering(None));
                let tally = sync(&a, &b);
                assert_eq!((a.records(), b.records()), ((0..14).collect(), (0..14).collect()), "{faults:?} {tally:?}");
            }
        }
    }

    #[test]
    fn a_store_that_was_replaced_by_an_older_copy_gets_back_what_it_has_lost() {
        for is_caller in [true, false] {
            let (a, b) = (FakeStore::shared("a", 0..9), FakeStore::shared("b", 0..0));
            sync(&a, &b);
            let older = FakeStore::shared("a", [0, 1, 30, 31, 32, 33, 34, 35, 36]).0.lock().unwrap().clone();
            a.0.lock().unwrap().clone_from(&older);
            let (first, second) = if is_caller { (&a, &b) } else { (&b, &a) };
            sync(first, second);
            let all: Vec<u64> = (0..9).chain(30..37).collect();
            assert_eq!((a.records(), b.records()), (all.clone(), all));
        }
    }

    #[test]
    fn a_run_that_would_forget_much_asks_and_everything_else_is_synced_before() {
        for is_caller in [true, false] {
            for (typed, yes, is_forgotten) in
                [(None, false, false), (Some("n\n"), false, false), (Some("y\n"), false, true), (None, true, true)]
            {
                let (a, b) = (FakeStore::shared("a", 0..20), FakeStore::shared("b", 0..20));
                sync(&a, &b);
                let (loses, forgets) = if is_caller { (&a, &b) } else { (&b, &a) };
                forget(forgets, 0..5);
                let more = FakeStore::shared("d", 60..70);
                sync(&more, loses);
                forgets.0.lock().unwrap().rows.clear();
                let c = FakeStore::shared("c", [50]);
                sync(&c, forgets);
                let outcome = run(&a, &b, NO_FAULT, yes, &mut answering(typed));
                let count = if is_forgotten { 26 } else { 31 };
                assert_eq!(loses.records().len(), count, "{is_caller} {typed:?} {yes}");
                assert!(loses.records().contains(&50));
                assert_eq!(forgets.records().len(), 26, "it has got everything, {is_caller} {typed:?} {yes}");
                if !is_forgotten {
                    let said = own_error(outcome.caller);
                    assert!(said.starts_with("nothing was forgotten"), "{said}");
                    assert_eq!(said.contains("--yes"), typed.is_none(), "{said}");
                    assert!(outcome.server.is_err());
                    // The next run asks again.
                    let said = own_error(run(&a, &b, NO_FAULT, false, &mut answering(None)).caller);
                    assert!(said.contains("5 records of the 31"), "{said}");
                }
            }
        }
        let (a, b) = (FakeStore::shared("a", 0..20), FakeStore::shared("b", 0..20));
        forget(&b, [3, 4]);
        assert_eq!(sync(&a, &b).here.as_json()["forgotten"], 2, "a tenth needs no consent");
    }

    #[test]
    fn a_run_that_is_not_agreed_to_exchanges_everything_else_however_much_was_forgotten() {
        for is_caller in [true, false] {
            let (a, b) = (FakeStore::shared("a", 0..300), FakeStore::shared("b", 0..300));
            let (loses, forgets) = if is_caller { (&a, &b) } else { (&b, &a) };
            forget(forgets, 0..250);
            sync(&FakeStore::shared("c", 700..710), loses);
            sync(&FakeStore::shared("d", 900..910), forgets);
            let said = own_error(run(&a, &b, NO_FAULT, false, &mut answering(None)).caller);
            assert!(said.contains("of the 310") && said.contains("--yes"), "{said}");
            let all = || (250..300).chain(700..710).chain(900..910).collect::<Vec<u64>>();
            assert_eq!(loses.records(), (0..250).chain(all()).collect::<Vec<u64>>(), "{is_caller}");
            assert_eq!(forgets.records(), all(), "{is_caller}");
            run(&a, &b, NO_FAULT, true, &mut answering(None)).caller.unwrap();
            assert_eq!((a.records(), b.records()), (all(), all()));
        }
    }

    #[test]
    fn an_error_of_one_side_is_told_to_the_other() {
        for is_caller in [true, false] {
            let (a, b) = (FakeStore::shared("a", 0..20), FakeStore::shared("b", 20..40));
            let failing = if is_caller { &a } else { &b };
            failing.0.lock().unwrap().fails_after = Some(2);
            let outcome = run(&a, &b, NO_FAULT, false, &mut answering(None));
            for said in [own_error(outcome.caller), own_error(outcome.server)] {
                assert!(said.contains("disk is full"), "{said}");
            }
            failing.0.lock().unwrap().fails_after = None;
            sync(&a, &b);
            assert_eq!((a.records().len(), b.records().len()), (40, 40));
        }
    }
}
