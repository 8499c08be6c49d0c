//! Rewrites the database file, so that none of its bytes are of deleted rows: SQLite leaves old bytes in pages that it no
//! longer uses, and in the unused part of pages whose rows it has moved.

use std::time::Duration;

use rusqlite::Connection;

use crate::dispatch::CallError;
use crate::memory::store::error::StoreError;
use crate::memory::store::files;
use crate::memory::store::open;
use crate::memory::store::store_file::StoreFile;
use crate::sys::disk;

/// How long the writer waits for readers of the write-ahead log before it lets other writes through and tries again.
const TRUNCATE_WAIT: Duration = Duration::from_millis(100);

/// Checks that the disk has room for the rewrite: for a copy of the database, and for one in the write-ahead log.
///
/// # Errors
/// -32001 if it has not; nothing was forgotten.
pub(crate) fn check_room(connection: &Connection, file: &StoreFile) -> Result<(), CallError> {
    let sql = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
    let bytes: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    let needed = bytes.unsigned_abs() * 2;
    if !files::lacks_room(file.path(), needed) {
        return Ok(());
    }
    let folder = file.path().parent().unwrap_or(file.path());
    let free = disk::free_bytes(folder).unwrap_or(0);
    Err(CallError::failed(format!(
        "nothing was forgotten: the store is rewritten at the end, which needs {needed} bytes, and the disk of {} has \
         {free} free; free some space and try again",
        folder.display()
    )))
}

/// Rewrites the database. Call it outside of any transaction; other writes wait until it returns.
///
/// # Errors
/// See [`StoreError`]; the database is unchanged then.
pub(crate) fn rewrite(connection: &Connection, file: &StoreFile) -> Result<(), StoreError> {
    file.verify()?;
    connection.flush_prepared_statement_cache();
    // The temporary copy of the whole store must not be held in memory.
    connection.pragma_update(None, "temp_store", "file")?;
    let written = connection.execute_batch("VACUUM");
    connection.pragma_update(None, "temp_store", "memory")?;
    written?;
    file.replaced(connection)
}

/// Writes the write-ahead log to the database and truncates it to nothing. Returns false if a reader has an older state
/// of the store, which keeps the log.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn truncate_log(connection: &Connection, file: &StoreFile) -> Result<bool, StoreError> {
    file.verify()?;
    connection.busy_timeout(TRUNCATE_WAIT)?;
    let is_busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    connection.busy_timeout(open::BUSY_TIMEOUT)?;
    Ok(!is_busy?)
}
