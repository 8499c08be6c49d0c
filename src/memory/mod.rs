//! The memory service: what `iaid` remembers, and the methods that put it in and get it out.
//!
//! [`Memory`] implements [`Dispatch`]; what a method takes and gives stands in one table
//! (`methods.rs`), of which its look-up, its call and `rpc.discover` are made. One thread writes
//! (`writer.rs`), each worker reads on its own connection (`reader.rs`), and a record once written
//! never changes (`schema.sql` refuses it). This room is the only one that knows SQL, and knows
//! neither sockets nor the lifecycle.

mod associate;
mod bonds;
mod capture;
mod companions;
mod consolidate;
mod contradict;
mod course;
mod curiosity;
mod cycle;
mod decay;
mod drain;
mod events;
mod fault;
mod fold;
#[cfg(test)]
mod harness;
mod ids;
mod induce;
mod insert;
mod irregular;
mod language;
mod leaning;
mod lexicon;
mod links;
mod meta;
mod methods;
mod moment;
mod morning;
mod moving;
mod news;
mod night;
mod optimize;
mod order;
mod phrase;
mod precache;
mod profile;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod properties;
mod question;
mod rank;
mod reader;
mod recall;
mod record;
mod reindex;
mod reinforce;
mod schemas;
mod search;
mod session;
mod signs;
pub mod spool;
mod stem;
mod store;
mod structural;
mod tags;
mod task;
mod terms;
mod topology;
mod wake;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use drain::{Drained, Next, Told};
pub use morning::Brought;
pub use night::{Chunk, Cycle, Night, StepReport};
pub use store::OpenError;

use self::fault::Fault;
use self::moment::Moment;
use self::morning::Morning;
use self::moving::Gate;
use self::news::News;
use self::profile::Profiles;
use self::reader::Reader;
use self::writer::Writer;
use crate::dispatch::{CallError, Dispatch, Pace, Params, Reply};
use crate::sys::lock::FileLock;

/// An open store with its methods. Dropping it commits what waits and closes the store.
#[derive(Debug)]
pub struct Memory {
    /// The store's folder.
    folder: Arc<Path>,
    /// The database in it.
    path: Arc<Path>,
    clock: fn() -> Moment,
    profiles: Arc<Profiles>,
    morning: Arc<Morning>,
    news: Arc<News>,
    gate: Gate,
    // In this order: the lock goes once the writer has ended.
    writer: Writer,
    _lock: FileLock,
}

/// What a worker thread has of its own: a connection for reading, opened at its first question, and the
/// profile.
#[derive(Debug)]
pub struct Worker {
    path: Arc<Path>,
    profile: Option<profile::Seen>,
    reader: Option<Reader>,
}

impl Memory {
    /// Opens the store in `folder`, which is made (0700) if it is missing, and starts its writer.
    ///
    /// # Errors
    /// See [`OpenError`]: what is there was left as it was.
    pub fn open(folder: &Path) -> Result<Memory, OpenError> {
        Memory::open_with(folder, Moment::now)
    }

    fn open_with(folder: &Path, clock: fn() -> Moment) -> Result<Memory, OpenError> {
        let store = store::open(folder)?;
        let failed = |fault: Fault| OpenError::from_fault(&store.path, fault);
        let profiles = Arc::new(Profiles::load(&store.connection).map_err(failed)?);
        let morning = Morning::load(&store.connection, clock()).map_err(|error| failed(error.into()))?;
        let news = Arc::new(News::load(&store.connection).map_err(|error| failed(error.into()))?);
        let path: Arc<Path> = store.path.as_path().into();
        let writer = Writer::start(store.connection, news.clone())
            .map_err(|error| OpenError::Failed { path: path.to_path_buf(), detail: format!("no thread: {error}") })?;
        Ok(Memory {
            folder: folder.into(),
            path,
            clock,
            profiles,
            morning: Arc::new(morning),
            news,
            gate: Gate::default(),
            writer,
            _lock: store.lock,
        })
    }

    /// The number of records, kept current by the writer: to be read at any time from any thread.
    pub fn records(&self) -> Arc<AtomicU64> {
        self.news.records().clone()
    }

    /// What whoever puts this memory to sleep needs of it. It keeps nothing open: once the memory is
    /// dropped, what it asks fails.
    pub fn night(&self) -> Night {
        Night {
            follow: self.writer.follow(),
            morning: self.morning.clone(),
            folder: self.folder.clone(),
            news: self.news.clone(),
            clock: self.clock,
        }
    }

    fn now(&self) -> Moment {
        (self.clock)()
    }
}

impl Worker {
    fn reader(&mut self) -> Result<&Reader, CallError> {
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::open(&self.path)?,
        };
        Ok(self.reader.insert(reader))
    }
}

impl Dispatch for Memory {
    type Worker = Worker;

    fn worker(&self) -> Worker {
        Worker { path: self.path.clone(), profile: None, reader: None }
    }

    fn method(&self, name: &str) -> Option<Pace> {
        methods::find(name).map(|method| method.pace)
    }

    fn call(&self, worker: &mut Worker, method: &str, params: Params<'_>, reply: Reply<'_>) {
        match methods::find(method) {
            Some(method) => (method.run)(self, worker, &params, reply),
            None => reply.send::<()>(Err(CallError::unknown_method(method))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Runner;
    use crate::limits::Limits;
    use crate::memory::harness::{Bench, call, call_on};
    use serde_json::json;
    use std::sync::atomic::Ordering;

    #[test]
    fn records_are_counted_and_found_again_after_a_restart() {
        let mut bench = Bench::new();
        let records = bench.memory.records();
        for n in 0..3 {
            bench.capture(&format!("number {n} of the texts"), json!({}));
            assert_eq!(records.load(Ordering::Relaxed), n + 1);
        }
        bench.ok("memory_capture", json!({"text": "number 0 of the texts"}));
        bench.ok("memory_capture", json!({"text": "short"}));
        assert_eq!(records.load(Ordering::Relaxed), 3);
        bench.restart();
        assert_eq!(bench.memory.records().load(Ordering::Relaxed), 3);
        assert_eq!(bench.ok("memory_recall", json!({"cue": "number"}))["hits"].as_array().unwrap().len(), 3);
        let id = bench.capture("number 4 of the texts", json!({}));
        assert_eq!(bench.ok("memory_recall", json!({"cue": "4"}))["hits"][0]["record_id"], json!(id));
    }

    #[test]
    fn a_worker_opens_its_connection_at_the_first_question() {
        let bench = Bench::new();
        let mut runner = Runner::default();
        call_on(&bench.memory, &mut runner, "profile_get", None).unwrap();
        call_on(&bench.memory, &mut runner, "memory_capture", Some(r#"{"text":"a text that is long enough"}"#))
            .unwrap();
        assert!(runner.own.as_ref().unwrap().reader.is_none());
        call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"text"}"#)).unwrap();
        assert!(runner.own.as_ref().unwrap().reader.is_some());
    }

    #[test]
    fn many_threads_write_and_read_at_once() {
        let bench = Bench::new();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let memory = &bench.memory;
                let small = std::thread::Builder::new().stack_size(Limits::default().worker_stack_bytes);
                let work = move || {
                    let mut runner = Runner::default();
                    for n in 0..20 {
                        let text = format!("thread{thread} wrote text number{n}");
                        let params = json!({"text": text, "session_id": thread.to_string()}).to_string();
                        let got = call_on(memory, &mut runner, "memory_capture", Some(&params)).unwrap();
                        let asked = json!({"cue": format!("thread{thread} number{n}"), "limit": 1}).to_string();
                        let found = call_on(memory, &mut runner, "memory_recall", Some(&asked)).unwrap();
                        assert_eq!(found["hits"][0]["record_id"], got["record_id"]);
                    }
                };
                small.spawn_scoped(scope, work).unwrap();
            }
        });
        assert_eq!(bench.memory.records().load(Ordering::Relaxed), 160);
        assert_eq!(bench.row::<String>("SELECT * FROM pragma_integrity_check WHERE ?1", 1), "ok");
    }

    #[test]
    fn a_folder_is_opened_once() {
        let bench = Bench::new();
        let error = Memory::open(bench.folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Locked { pid: Some(_), .. }), "{error}");
        assert!(call(&bench.memory, "profile_get", None).is_ok());
    }
}
