//! `store_probe`: does a write reach the disk and come back? It leaves nothing behind.
//!
//! A row of the store's own table is committed as a capture is, read through a connection that was opened
//! since, and taken out again by a second commit. What a kill in between leaves is one row that nobody reads,
//! and the next probe takes it.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::OptionalExtension;
use serde::Serialize;
use uuid::Uuid;

use crate::dispatch::{CallError, LateReply, Reply};
use crate::memory::store::reader::Reader;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::{Writer, WriterHandle};

const KEY: &str = "probe";

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize)]
struct Probed {
    ok: bool,
    /// From the call to the commit.
    write_us: u64,
    /// From there to the row.
    read_us: u64,
}

/// Answers once the row has gone again. An error where the disk takes nothing or nothing comes back.
pub(crate) fn probe(store: &Arc<Path>, writer: &Writer, began: Instant, reply: Reply<'_>) {
    let token = Uuid::now_v7();
    let (store, handle, reply) = (store.clone(), writer.handle(), reply.later());
    writer.submit(task(
        0,
        move |transaction| {
            // Tokens may be submitted in another order than they were made in.
            let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) \
                       ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)";
            transaction.connection.prepare_cached(sql)?.execute((KEY, token.as_bytes()))?;
            Ok(())
        },
        move |outcome| {
            let written = Instant::now();
            let read = outcome.and_then(|()| read(&store, token));
            let probed = read.map(|()| Probed {
                ok: true,
                write_us: micros(began, written),
                read_us: micros(written, Instant::now()),
            });
            take_out(&handle, token, probed, reply);
        },
    ));
}

/// Of two probes at once the later token stands there for both.
fn read(store: &Path, token: Uuid) -> Result<(), CallError> {
    let reader = Reader::open(store)?;
    let snapshot = reader.snapshot()?;
    let sql = "SELECT 1 FROM meta WHERE key = ?1 AND value >= ?2";
    let found: Option<i64> =
        snapshot.connection().query_row(sql, (KEY, token.as_bytes()), |row| row.get(0)).optional()?;
    found.map(drop).ok_or_else(|| CallError::failed("what was written and committed cannot be read back"))
}

fn take_out(writer: &WriterHandle, token: Uuid, probed: Result<Probed, CallError>, reply: LateReply) {
    writer.submit(task(
        0,
        move |transaction| {
            let sql = "DELETE FROM meta WHERE key = ?1 AND value <= ?2";
            transaction.connection.prepare_cached(sql)?.execute((KEY, token.as_bytes()))?;
            Ok(())
        },
        move |outcome| reply.send(probed.and_then(|probed| outcome.map(|()| probed))),
    ));
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn rows(bench: &Bench) -> Value {
        bench.ok("store_export", json!({}))["rows"].take()
    }

    #[test]
    fn it_comes_back_and_leaves_nothing() {
        let bench = Bench::new();
        bench.capture("a text that is long enough", json!({}));
        let before = rows(&bench);
        // As a killed one has left it.
        bench.sql("INSERT INTO meta (key, value) VALUES ('probe', x'00')");
        assert_eq!(bench.ok("store_probe", json!({}))["ok"], true);
        assert_eq!(rows(&bench), before);
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM meta WHERE key = 'probe' AND ?1", 1), 0);
    }

    #[test]
    fn many_at_once_do_not_take_each_others_rows() {
        let bench = Bench::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| assert_eq!(bench.ok("store_probe", json!({}))["ok"], true)));
            }
        });
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM meta WHERE key = 'probe' AND ?1", 1), 0);
    }

    #[test]
    fn a_store_that_takes_nothing_says_so() {
        let bench = Bench::new();
        bench.sql("CREATE TRIGGER full BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
        let error = bench.err("store_probe", json!({}));
        assert!(error.message.contains("the disk is full"), "{error}");
    }
}
