//! The memory: records in a SQLite database, and the methods that store and recall them.
//!
//! [`Memory`] implements [`Dispatch`]. One table (`methods/mod.rs`) describes every method; look-up, calls and
//! `rpc.discover` are made from it. One thread writes (`store/writer/mod.rs`), each worker reads on its own connection
//! (`store/reader.rs`), and triggers of the database (`store/schema/v1.sql`) refuse any change of a record but its end
//! of validity. Only this module has SQL; it has neither sockets nor the lifecycle.

mod consolidation;
mod forgetting;
mod graph;
mod ingest;
mod methods;
mod model;
mod params;
mod profile;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod properties;
mod recall;
mod service;
mod session;
mod store;
mod sync;
#[cfg(test)]
mod test_support;
mod text;
mod transfer;

pub use consolidation::cycle::Cycle;
pub use consolidation::maintenance::{ChunkOutcome, Maintenance};
pub use consolidation::step::{StepCounts, StepReport};
pub use forgetting::handle::Forgetting;
pub use forgetting::progress::ForgettingStatus;
pub use ingest::drain_report::{DrainReport, FileOutcome, NextRun};
pub use ingest::spool;
pub use service::{Memory, Worker};
pub use session::digest::CycleTotals;
pub use store::changes::AssistantCounters;
pub(crate) use store::open::FILE_NAME;
pub use store::open_error::OpenError;
pub(crate) use transfer::backup::NO_BACKUP_FOLDER;
pub(crate) use transfer::opencode::{OpencodeMessages, opencode_sessions};
pub(crate) use transfer::restore::restore_offline;

use crate::dispatch::{CallError, Dispatch, Pace, Params, Reply};
use crate::memory::store::error::StoreError;

impl Dispatch for Memory {
    type Worker = Worker;

    fn worker(&self) -> Worker {
        Worker { profile: None, reader: None, file: self.file.clone() }
    }

    fn method(&self, name: &str) -> Option<Pace> {
        methods::find(name).map(|method| method.pace)
    }

    fn has_small_replies(&self, name: &str) -> bool {
        name == "memory_capture"
    }

    fn needs_peer(&self, name: &str) -> bool {
        methods::ONLY_FOR_THE_REPLY.contains(&name)
    }

    fn call(&self, worker: &mut Worker, method: &str, params: Params<'_>, reply: Reply<'_>) {
        match methods::find(method) {
            Some(_) if !worker.has_memory() => reply.send::<()>(Err(StoreError::Memory.into())),
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
    use crate::memory::test_support::{Bench, call, call_on};
    use serde_json::json;
    use std::sync::atomic::Ordering;

    #[test]
    fn records_are_counted_and_found_after_a_restart() {
        let mut bench = Bench::new();
        let records = bench.memory.records();
        for n in 0..3 {
            bench.capture(&format!("number {n} of the texts"), json!({}));
            assert_eq!(records.load(Ordering::Relaxed), n + 1);
        }
        bench.ok("memory_capture", json!({"text": "number 0 of the texts"}));
        bench.ok("memory_capture", json!({"text": " \n"}));
        assert_eq!(records.load(Ordering::Relaxed), 3);
        bench.restart();
        assert_eq!(bench.memory.records().load(Ordering::Relaxed), 3);
        assert_eq!(bench.ok("memory_recall", json!({"cue": "number"}))["hits"].as_array().unwrap().len(), 3);
        let id = bench.capture("number 4 of the texts", json!({}));
        assert_eq!(bench.ok("memory_recall", json!({"cue": "4"}))["hits"][0]["record_id"], json!(id));
    }

    #[test]
    fn a_worker_opens_its_connection_at_the_first_read() {
        let bench = Bench::new();
        let mut runner = Runner::default();
        call_on(&bench.memory, &mut runner, "profile_get", None).unwrap();
        call_on(&bench.memory, &mut runner, "memory_capture", Some(r#"{"text":"a text that is long enough"}"#))
            .unwrap();
        assert!(runner.worker.as_ref().unwrap().reader.is_none());
        call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"text"}"#)).unwrap();
        assert!(runner.worker.as_ref().unwrap().reader.is_some());
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
    fn a_second_open_of_a_folder_is_refused() {
        let bench = Bench::new();
        let error = Memory::open(bench.folder.path()).unwrap_err();
        assert!(matches!(error, OpenError::Locked { pid: Some(_), .. }), "{error}");
        assert!(call(&bench.memory, "profile_get", None).is_ok());
    }
}
