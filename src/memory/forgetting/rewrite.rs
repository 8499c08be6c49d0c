//! Rewrites the database file, so that none of its bytes are of deleted rows: SQLite leaves old bytes in pages that it no
//! longer uses, and in the unused part of pages whose rows it has moved.
//!
//! The content is written to a new file beside the database while other writes go on, and then copied over the database
//! in one transaction, as a restore does. So other writes wait for the copy alone, and all space is taken on the store's
//! own disk.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::dispatch::CallError;
use crate::memory::store::commit_mark::CommitMark;
use crate::memory::store::copy::{self, PartialFile};
use crate::memory::store::error::StoreError;
use crate::memory::store::files;
use crate::memory::store::open::{self, Access};
use crate::memory::store::store_file::StoreFile;
use crate::sys::{disk, process};

/// How long the writer waits for readers of the write-ahead log before it lets other writes through and tries again.
const TRUNCATE_WAIT: Duration = Duration::from_millis(100);

/// Checks that the disk has room for the rewrite: for the new file, and for a copy of it in the write-ahead log.
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

/// Writes the present content of the database to a new file, without any byte of deleted rows. Other writes go on.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn write_new(file: &StoreFile) -> Result<PartialFile, StoreError> {
    file.verify()?;
    remove_interrupted(file.path());
    let new = PartialFile::create_for(file.path())?;
    let connection = open::connect(file.path(), Access::Read)?;
    // It writes to the new file alone.
    connection.pragma_update(None, "query_only", false)?;
    let name = ToSqlOutput::Borrowed(ValueRef::Text(new.path().as_os_str().as_bytes()));
    connection.execute("VACUUM INTO ?1", [name])?;
    Ok(new)
}

/// Removes the new files of processes that were killed, which nobody needs.
fn remove_interrupted(database: &Path) {
    let Some(folder) = database.parent() else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(open::FILE_NAME)?.strip_prefix(".tmp-"));
        if pid.and_then(|pid| pid.parse().ok()).is_some_and(|pid| !process::is_alive(pid))
            && let Err(error) = fs::remove_file(entry.path())
        {
            log::warn!("cannot remove {}: {error}", entry.path().display());
        }
    }
}

/// Replaces the content of the database by that of the file at `new`. Call it outside of any transaction; other writes wait
/// until it returns. Returns false if something was written since the file was made; the database is unchanged then.
///
/// # Errors
/// See [`StoreError`]; the database is unchanged then.
pub(crate) fn replace(connection: &mut Connection, file: &StoreFile, new: &Path) -> Result<bool, StoreError> {
    file.verify()?;
    let source = open::connect(new, Access::Read)?;
    if CommitMark::read(&source)? != CommitMark::read(connection)? {
        return Ok(false);
    }
    // The backup needs the connection without open statements.
    connection.flush_prepared_statement_cache();
    copy::pages(&source, connection)?;
    file.replaced(connection)?;
    Ok(true)
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
