//! Maps SQLite's error codes to the few kinds that a user can act on, each with its message.
//!
//! Every call that uses the database reports its failures through [`StoreError`], so one cause has one wording.

use std::path::Path;
use std::{fmt, io};

use rusqlite::ErrorCode;

use crate::dispatch::CallError;
use crate::sys::fd_limit;

/// Why an operation on the database failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// The disk is full. `SQLITE_FULL`.
    Full,
    /// The file, its folder or its disk is read-only. `SQLITE_READONLY`.
    ReadOnly,
    /// The file is corrupt. `SQLITE_CORRUPT`, or a value that no release has written.
    Damaged(String),
    /// The file is no SQLite database. `SQLITE_NOTADB`.
    NotADatabase,
    /// Another program holds the database's lock. `SQLITE_BUSY` or `SQLITE_LOCKED`.
    Busy,
    /// The query ran past its deadline. `SQLITE_INTERRUPT`.
    Interrupted,
    /// The file was removed, replaced or overwritten by another program while it was open. The text is the message.
    Lost(String),
    /// An I/O error, or a file that cannot be opened.
    Device(String),
    /// A file cannot be opened because no descriptor is left. `SQLITE_CANTOPEN` or `SQLITE_IOERR`.
    Descriptors,
    /// No memory is left. `SQLITE_NOMEM`.
    Memory,
    /// Anything else: a defect of this program.
    Other(String),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> StoreError {
        let text = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => StoreError::Full,
            Some(ErrorCode::ReadOnly) => StoreError::ReadOnly,
            Some(ErrorCode::DatabaseCorrupt) => StoreError::Damaged(text),
            Some(ErrorCode::NotADatabase) => StoreError::NotADatabase,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::Busy,
            Some(ErrorCode::OperationInterrupted) => StoreError::Interrupted,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) if fd_limit::is_reached() => {
                StoreError::Descriptors
            }
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => StoreError::Device(text),
            Some(ErrorCode::OutOfMemory) => StoreError::Memory,
            _ => StoreError::Other(text),
        }
    }
}

/// What every message of a failure to write says. [`read_failed`] removes it.
const NOTHING_STORED: &str = "nothing was stored; ";

/// Returns the error of a call that only reads: its message says nothing of storing.
pub(crate) fn read_failed(mut error: CallError) -> CallError {
    error.message = error.message.replacen(NOTHING_STORED, "", 1);
    error
}

impl StoreError {
    /// Returns the message of a failure before anything was to be stored.
    pub(crate) fn without_storing(&self) -> String {
        self.to_string().replacen(NOTHING_STORED, "", 1)
    }

    /// Returns the error of an operation on the file at `path`, which the message of a failed disk names.
    pub(crate) fn of_file(path: &Path, error: io::Error) -> StoreError {
        match StoreError::from(error) {
            StoreError::Device(detail) => StoreError::Device(format!("{}: {detail}", path.display())),
            named => named,
        }
    }
}

/// The error of an operation of the file system in the store's folder.
impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> StoreError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => StoreError::ReadOnly,
            io::ErrorKind::OutOfMemory => StoreError::Memory,
            _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => StoreError::Descriptors,
            _ => StoreError::Device(error.to_string()),
        }
    }
}

impl From<StoreError> for CallError {
    fn from(error: StoreError) -> CallError {
        CallError::failed(error.to_string())
    }
}

impl From<rusqlite::Error> for CallError {
    fn from(error: rusqlite::Error) -> CallError {
        StoreError::from(error).into()
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Full => f.write_str("the store's disk is full: nothing was stored; free some space and send it again"),
            StoreError::ReadOnly => f.write_str(
                "the store cannot be written (read-only file, folder or disk): nothing was stored; make it writable and \
                 send it again",
            ),
            StoreError::Damaged(detail) => {
                write!(
                    f,
                    "the store is damaged ({detail}): if only the full-text index is, iaid doctor --fix rebuilds it; \
                     otherwise restore a backup: iaid restore FILE keeps the present store"
                )
            }
            StoreError::NotADatabase => f.write_str("the store's file is no longer a database: restore a backup (iaid restore FILE)"),
            StoreError::Busy => f.write_str(
                "another program has the store locked: nothing was stored; send it again when that program has finished",
            ),
            StoreError::Lost(message) => f.write_str(message),
            StoreError::Interrupted => f.write_str("query exceeded its deadline; use a smaller limit or a shorter cue"),
            StoreError::Device(detail) => {
                write!(f, "the store's disk failed ({detail}): nothing was stored; check the disk, then send it again")
            }
            StoreError::Descriptors => f.write_str(
                "out of file descriptors: nothing was stored; raise the daemon's limit (LimitNOFILE=, ulimit -n) or close \
                 connections, then send it again",
            ),
            StoreError::Memory => f.write_str(
                "out of memory: nothing was stored; send less at a time or raise the daemon's memory limit, then send it \
                 again",
            ),
            StoreError::Other(detail) => write!(f, "the store failed: {detail}"),
        }
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::ffi;

    #[test]
    fn each_code_has_a_message_that_says_what_to_do() {
        for (code, part) in [
            (ffi::SQLITE_FULL, "free some space"),
            (ffi::SQLITE_READONLY, "make it writable"),
            (ffi::SQLITE_CORRUPT, "restore a backup"),
            (ffi::SQLITE_NOTADB, "restore a backup"),
            (ffi::SQLITE_BUSY, "another program"),
            (ffi::SQLITE_INTERRUPT, "exceeded its deadline"),
            (ffi::SQLITE_IOERR_FSYNC, "check the disk"),
            (ffi::SQLITE_CANTOPEN, "check the disk"),
            (ffi::SQLITE_NOMEM, "out of memory: nothing was stored; send less"),
            (ffi::SQLITE_MISUSE, "the store failed"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let call = CallError::from(error);
            assert_eq!(call.code, crate::dispatch::code::FAILED);
            assert!(call.message.contains(part), "{code}: {}", call.message);
            let read = read_failed(call);
            assert!(!read.message.contains("stored;") && !read.message.contains(" ;"), "{code}: {}", read.message);
        }
    }

    #[test]
    fn errors_of_the_file_system_have_the_messages_of_sqlites() {
        for (errno, want) in [
            (libc::ENOSPC, StoreError::Full),
            (libc::EDQUOT, StoreError::Full),
            (libc::EROFS, StoreError::ReadOnly),
            (libc::EACCES, StoreError::ReadOnly),
            (libc::ENOMEM, StoreError::Memory),
            (libc::EMFILE, StoreError::Descriptors),
            (libc::ENFILE, StoreError::Descriptors),
            (libc::EIO, StoreError::Device(io::Error::from_raw_os_error(libc::EIO).to_string())),
        ] {
            assert_eq!(StoreError::from(io::Error::from_raw_os_error(errno)), want);
        }
    }
}
