//! `store_probe`: writes a row, reads it back, and deletes it.
//!
//! A row of table `meta` is committed as a capture is, read on a new connection, and deleted by a second commit. A kill
//! in between leaves one row, which nothing reads and the next probe deletes.
//!
//! The row fits into free pages of the database and its WAL, even on a full disk. So the probe also writes as many bytes
//! as a long capture needs to a file without a name.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rusqlite::OptionalExtension;
use serde::Serialize;
use uuid::Uuid;

use crate::dispatch::{CallError, LateReply, Reply};
use crate::memory::store::error::StoreError;
use crate::memory::store::reader::Reader;
use crate::memory::store::records::new_id;
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::{Writer, WriterHandle};

/// The meta key of the row.
const KEY: &str = "probe";

/// The name of the file in the store's folder; it is removed before it is written.
const FILE_NAME: &str = ".probe";

/// Bytes that are written to the file: the longest record, its index terms, and their pages in the WAL.
const FILE_BYTES: usize = 256 << 10;

/// The result of `store_probe`.
#[derive(Clone, Copy, Debug, Serialize)]
struct ProbeResult {
    ok: bool,
    /// Microseconds from the call to the commit.
    write_us: u64,
    /// Microseconds from the commit until the row was read.
    read_us: u64,
}

/// Answers `store_probe`, after the row has been deleted. The reply is an error if the row cannot be written or read.
pub(crate) fn probe(store: &Arc<StoreFile>, writer: &Writer, began: Instant, reply: Reply<'_>) {
    let token = new_id();
    let (store, handle, reply) = (store.clone(), writer.handle(), reply.later());
    writer.submit(task(
        0,
        move |transaction| {
            // Tokens may be submitted in another order than they were made.
            let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) \
                       ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)";
            transaction.connection.prepare_cached(sql)?.execute((KEY, token.as_bytes()))?;
            Ok(())
        },
        move |outcome| {
            let written = Instant::now();
            let read = outcome.and_then(|()| read(&store, token));
            let (write_us, read_us) = (micros(began, written), micros(written, Instant::now()));
            let folder = store.path().parent().unwrap_or(Path::new("."));
            let has_room =
                read.and_then(|()| write_file(folder, token).map_err(|error| StoreError::from(error).into()));
            let probed = has_room.map(|()| ProbeResult { ok: true, write_us, read_us });
            delete_row(&handle, token, probed, reply);
        },
    ));
}

/// Reads the row. Of two simultaneous probes, the row has the later token for both.
fn read(store: &StoreFile, token: Uuid) -> Result<(), CallError> {
    let reader = Reader::open(store)?;
    let snapshot = reader.snapshot()?;
    let sql = "SELECT 1 FROM meta WHERE key = ?1 AND value >= ?2";
    let found: Option<i64> =
        snapshot.connection().query_row(sql, (KEY, token.as_bytes()), |row| row.get(0)).optional()?;
    found.map(drop).ok_or_else(|| CallError::failed("the row was committed but cannot be read back"))
}

/// Writes and syncs [`FILE_BYTES`] to a new file in `folder`, which has no name by then: a kill leaves nothing.
fn write_file(folder: &Path, token: Uuid) -> io::Result<()> {
    let path = folder.join(FILE_NAME);
    // Left by a probe that was killed before it removed the name.
    drop(fs::remove_file(&path));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    // Bytes that a file system cannot compress, by a linear congruential generator.
    let mut state = token.as_u128() as u64;
    let mut piece = [0; 4096];
    for _ in 0..FILE_BYTES / piece.len() {
        for word in piece.chunks_exact_mut(8) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&piece)?;
    }
    file.sync_data()
}

fn delete_row(writer: &WriterHandle, token: Uuid, probed: Result<ProbeResult, CallError>, reply: LateReply) {
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
    fn a_probe_leaves_no_row() {
        let bench = Bench::new();
        bench.capture("a text that is long enough", json!({}));
        let before = rows(&bench);
        // The row of a probe that was killed.
        bench.sql("INSERT INTO meta (key, value) VALUES ('probe', x'00')");
        assert_eq!(bench.ok("store_probe", json!({}))["ok"], true);
        assert_eq!(rows(&bench), before);
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM meta WHERE key = 'probe' AND ?1", 1), 0);
    }

    #[test]
    fn simultaneous_probes_do_not_disturb_each_other() {
        let bench = Bench::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| assert_eq!(bench.ok("store_probe", json!({}))["ok"], true)));
            }
        });
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM meta WHERE key = 'probe' AND ?1", 1), 0);
    }

    #[test]
    fn a_failed_write_is_an_error() {
        let bench = Bench::new();
        bench.sql("CREATE TRIGGER full BEFORE INSERT ON meta BEGIN SELECT RAISE(ABORT, 'the disk is full'); END");
        let error = bench.err("store_probe", json!({}));
        assert!(error.message.contains("the disk is full"), "{error}");
    }
}
