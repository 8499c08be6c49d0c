//! A store in memory that answers a sync's calls, and a run between two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::cli::support::console::tests::console;
use crate::cli::support::console::{Console, OutputFormat, StreamKind};
use crate::cli::support::lines::LineReader;
use crate::cli::support::testing::{error, result, with_daemon};
use crate::cli::sync::exchange::{Exchange, ExchangeError, ExchangeTally, SyncSide};
use crate::cli::sync::frame::MAX_FRAME_BYTES;
use crate::cli::sync::local_store::LocalStore;
use crate::cli::sync::pipe::{Pipe, PipeEnd};
use crate::client::Client;

/// Entries in a batch, so that a run has several.
const BATCH: usize = 3;

/// Records with a text each, and a log of what it learned from whom.
#[derive(Clone, Debug, Default)]
pub(crate) struct FakeStore {
    pub(crate) id: String,
    pub(crate) records: BTreeMap<u64, String>,
    pub(crate) forgotten: BTreeSet<u64>,
    log: Vec<(u64, Option<String>)>,
    pub(crate) rows: Vec<Value>,
    /// The time of the next meeting.
    now: u64,
    /// Calls of `sync_changes` after which this record is forgotten.
    pub(crate) forgets_after_changes: Option<(u64, u64)>,
    /// Calls of `sync_apply` until one fails.
    pub(crate) fails_after: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct SharedStore(pub(crate) Arc<Mutex<FakeStore>>);

impl FakeStore {
    /// Returns a store whose id is a hexadecimal digit, 32 times.
    pub(crate) fn shared(id: &str, records: impl IntoIterator<Item = u64>) -> SharedStore {
        let mut store = FakeStore { id: id.repeat(32), ..FakeStore::default() };
        for record in records {
            store.learn(record, None);
        }
        SharedStore(Arc::new(Mutex::new(store)))
    }

    fn learn(&mut self, record: u64, from: Option<&str>) -> bool {
        let is_new = !self.forgotten.contains(&record) && !self.records.contains_key(&record);
        if is_new {
            self.records.insert(record, format!("text of {record}"));
            self.log.push((record, from.map(str::to_owned)));
        }
        is_new
    }

    /// Returns true if the record was there.
    pub(crate) fn forget(&mut self, record: u64, from: Option<&str>) -> bool {
        if self.forgotten.insert(record) {
            self.log.push((record, from.map(str::to_owned)));
        }
        self.records.remove(&record).is_some()
    }

    fn entry(&self, record: u64) -> Value {
        match self.records.get(&record) {
            Some(text) => json!({"kind": "record", "id": record, "text": text}),
            None => json!({"kind": "forgotten", "id": record, "at": 0}),
        }
    }

    fn cursor(&self, at: usize) -> String {
        format!("{}:{at}:{:?}", self.id, at.checked_sub(1).map(|last| self.log[last].0))
    }

    fn answer(&mut self, call: &Value) -> Value {
        let params = &call["params"];
        let peer = params["peer"].as_str();
        match call["method"].as_str().unwrap_or("status") {
            "status" => json!({"ok": true, "records": self.records.len()}),
            "sync_peers" => result(call, json!({"store": self.id, "peers": self.rows})),
            "sync_met" => {
                self.meet(params);
                result(call, json!({}))
            }
            "sync_changes" => {
                let since = params["since"].as_str();
                let at = (0..=self.log.len()).find(|at| since == Some(self.cursor(*at).as_str()));
                let Some(at) = at.or(since.is_none().then_some(0)) else {
                    return error(call, -32602, "cursor of another store");
                };
                match &mut self.forgets_after_changes {
                    Some((0, record)) => {
                        let record = *record;
                        self.forgets_after_changes = None;
                        self.forget(record, None);
                    }
                    Some((calls, _)) => *calls -= 1,
                    None => {}
                }
                let forgotten = self.log.iter().filter(|(record, _)| !self.records.contains_key(record)).count();
                let end = self.log.len().min(at + BATCH);
                let told = self.log[at..end].iter().filter(|(_, from)| peer.is_none() || from.as_deref() != peer);
                let entries: Vec<Value> = told.map(|(record, _)| self.entry(*record)).collect();
                let (next, done) = (self.cursor(end), end == self.log.len());
                result(
                    call,
                    json!({"store": self.id, "entries": entries, "next": next, "done": done,
                        "total": self.log.len() - at, "forgotten": forgotten}),
                )
            }
            _ => self.apply(call, peer),
        }
    }

    fn apply(&mut self, call: &Value, peer: Option<&str>) -> Value {
        match &mut self.fails_after {
            Some(0) => return error(call, -32001, "the store's disk is full: nothing was stored; free some space"),
            Some(left) => *left -= 1,
            None => {}
        }
        let (mut added, mut forgotten) = (0, 0);
        let is_counted = call["params"]["dry_run"] == true;
        for entry in call["params"]["entries"].as_array().unwrap() {
            let id = entry["id"].as_u64().unwrap();
            match (entry["kind"] == "forgotten", is_counted) {
                (true, true) => forgotten += u64::from(self.records.contains_key(&id)),
                (true, false) => forgotten += u64::from(self.forget(id, peer)),
                (false, false) => added += u64::from(self.learn(id, peer)),
                (false, true) => {}
            }
        }
        result(call, json!({"added": added, "forgotten": forgotten, "refused": []}))
    }

    fn meet(&mut self, params: &Value) {
        self.now += 1;
        let is_it = |row: &&mut Value| ["peer", "kind", "name"].iter().all(|key| row[*key] == params[*key]);
        let row = match self.rows.iter_mut().find(is_it) {
            Some(row) => row,
            None => {
                self.rows.push(json!({}));
                self.rows.last_mut().unwrap()
            }
        };
        for (key, value) in params.as_object().unwrap() {
            row[key] = value.clone();
        }
        row["met"] = format!("2026-05-14T10:00:{:02}Z", self.now % 60).into();
    }
}

impl SharedStore {
    pub(crate) fn records(&self) -> Vec<u64> {
        self.0.lock().unwrap().records.keys().copied().collect()
    }

    /// Runs `use_it` with a client of this store. Returns its result and the calls.
    pub(crate) fn with_client<T>(&self, use_it: impl FnOnce(&mut Client) -> T) -> (T, Vec<Value>) {
        let store = self.0.clone();
        with_daemon(move |call| store.lock().unwrap().answer(call), use_it)
    }
}

/// Returns a console whose person types this; without a terminal if it is `None`.
pub(crate) fn answering(typed: Option<&'static str>) -> Console {
    let (mut console, _, _) = console(OutputFormat::Text, typed.unwrap_or_default().as_bytes());
    if typed.is_some() {
        console.input_kind = StreamKind::Terminal;
    }
    console
}

/// Bytes that pass from one side to the other before the pipe is cut, and parts that are doubled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) cut_after: Option<usize>,
    pub(crate) doubles_every: Option<usize>,
}

/// Copies what is written to `from` to `to`, in small pieces.
fn carry(mut from: UnixStream, mut to: UnixStream, faults: Faults) {
    let mut left = faults.cut_after.unwrap_or(usize::MAX);
    let mut piece = [0; 97];
    let mut pieces = 0;
    while let Ok(count @ 1..) = from.read(&mut piece) {
        pieces += 1;
        let times = if faults.doubles_every.is_some_and(|every| pieces % every == 0) { 2 } else { 1 };
        let passed = count.min(left);
        for _ in 0..times {
            if to.write_all(&piece[..passed]).is_err() {
                break;
            }
        }
        left -= passed;
        if left == 0 {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

/// Runs one side of a sync.
fn side(
    store: &SharedStore,
    (input, output): (UnixStream, UnixStream),
    side: SyncSide,
    yes: bool,
    console: &mut Console,
) -> (Result<ExchangeTally, ExchangeError>, Vec<Value>) {
    store.with_client(|client| {
        let mut store = LocalStore::open(client)?;
        let mut pipe = Pipe::new(LineReader::new(Box::new(input), MAX_FRAME_BYTES), Box::new(output));
        pipe.greet(&store.id, &format!("machine of {}", store.id), None)?;
        let peer = pipe.greeted()?;
        let name = peer.name.clone();
        Exchange::new(&mut pipe, &mut store, side, (peer, name), yes).run(console)
    })
}

/// What became of a run at the caller's and at the server's side.
pub(crate) struct RunOutcome {
    pub(crate) caller: Result<ExchangeTally, ExchangeError>,
    pub(crate) server: Result<ExchangeTally, ExchangeError>,
    /// The calls that the server's daemon got.
    pub(crate) calls: Vec<Value>,
}

/// Syncs two stores over a pipe with these faults in the direction of the server and of the caller.
pub(crate) fn run(
    caller: &SharedStore,
    server: &SharedStore,
    (there, back): (Faults, Faults),
    yes: bool,
    console: &mut Console,
) -> RunOutcome {
    let pair = || UnixStream::pair().unwrap();
    let ((caller_out, there_in), (there_out, server_in)) = (pair(), pair());
    let ((server_out, back_in), (back_out, caller_in)) = (pair(), pair());
    thread::scope(|scope| {
        scope.spawn(move || carry(there_in, there_out, there));
        scope.spawn(move || carry(back_in, back_out, back));
        let served =
            scope.spawn(|| side(server, (server_in, server_out), SyncSide::Server, false, &mut answering(None)));
        let (caller, _) = side(caller, (caller_in, caller_out), SyncSide::Caller, yes, console);
        let (server, calls) = served.join().unwrap();
        RunOutcome { caller, server, calls }
    })
}

/// Returns the error of a failed run.
pub(crate) fn own_error(outcome: Result<ExchangeTally, ExchangeError>) -> String {
    match outcome {
        Err(ExchangeError::Own(error)) => error.to_string(),
        Err(ExchangeError::Pipe(PipeEnd::Failed(what))) => what,
        other => panic!("{:?}", other.err()),
    }
}
