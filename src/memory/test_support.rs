//! A temporary store for unit tests, called the way a server calls it.

use std::path::Path;
use std::time::Duration;

use rusqlite::types::FromSql;
use serde_json::Value;
use tempfile::TempDir;

use crate::dispatch::{CallError, Runner};
use crate::memory::model::time::UnixMicros;
use crate::memory::service::Memory;
use crate::memory::store::open::{self, Access, FILE_NAME};

pub(crate) use crate::memory::properties::call_on;

/// A store in a temporary folder, with a clock that always returns [`Bench::NOW`].
pub(crate) struct Bench {
    pub(crate) memory: Memory,
    pub(crate) folder: TempDir,
}

/// Opens a store whose recalls read all, however slow the machine is.
fn open_store(folder: &Path, clock: fn() -> UnixMicros) -> Memory {
    Memory::open_with(folder, clock).unwrap().recall_limit(Duration::from_secs(60))
}

impl Bench {
    /// 2024-06-01T12:00:00Z
    pub(crate) const NOW: UnixMicros = UnixMicros(1_717_243_200_000_000);

    pub(crate) fn new() -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let memory = open_store(folder.path(), || Bench::NOW);
        Bench { memory, folder }
    }

    /// Closes the store and opens it again.
    pub(crate) fn restart(&mut self) {
        self.restart_at(|| Bench::NOW);
    }

    /// Closes the store and opens it again with another clock.
    pub(crate) fn restart_at(&mut self, clock: fn() -> UnixMicros) {
        let elsewhere = tempfile::tempdir().unwrap();
        self.memory = Memory::open(elsewhere.path()).unwrap();
        self.memory = open_store(self.folder.path(), clock);
    }

    /// Returns the result of a call.
    pub(crate) fn ok(&self, method: &str, params: Value) -> Value {
        call(&self.memory, method, Some(&params.to_string()))
            .unwrap_or_else(|error| panic!("{method} {params}: {error}"))
    }

    /// Returns the error of a call.
    pub(crate) fn err(&self, method: &str, params: Value) -> CallError {
        call(&self.memory, method, Some(&params.to_string())).expect_err(method)
    }

    /// Captures a text and returns the record's id.
    pub(crate) fn capture(&self, text: &str, more: Value) -> String {
        let mut params = more;
        params["text"] = text.into();
        self.ok("memory_capture", params)["record_id"].as_str().unwrap().to_owned()
    }

    /// Runs SQL on a connection of its own.
    pub(crate) fn sql(&self, sql: &str) {
        let connection = open::connect(&self.folder.path().join(FILE_NAME), Access::Write).unwrap();
        connection.execute_batch(sql).unwrap();
    }

    /// Returns the single value of a query with one integer parameter.
    pub(crate) fn row<T: FromSql>(&self, sql: &str, number: i64) -> T {
        self.connection().query_row(sql, [number], |row| row.get(0)).unwrap()
    }

    /// Returns a connection of its own that reads.
    pub(crate) fn connection(&self) -> rusqlite::Connection {
        open::connect(&self.folder.path().join(FILE_NAME), Access::Read).unwrap()
    }
}

/// Makes one call on a new worker and returns its reply.
pub(crate) fn call(memory: &Memory, method: &str, params: Option<&str>) -> Result<Value, CallError> {
    call_on(memory, &mut Runner::default(), method, params)
}
