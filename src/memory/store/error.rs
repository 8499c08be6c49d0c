//! SQLite's errors → the few kinds that a person can do something about, each with its sentence.
//!
//! Every call that touches the database says its failures through here, so that one cause has one
//! wording wherever it strikes.

use std::fmt;

use rusqlite::ErrorCode;

use crate::dispatch::CallError;

/// Why the database did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreError {
    /// No space is left on the disk.
    Full,
    /// File, folder or disk cannot be written.
    ReadOnly,
    /// The file's content contradicts itself.
    Damaged(String),
    /// The file is no SQLite database.
    NotADatabase,
    /// Another program has the database locked.
    Busy,
    /// The time for a question ran out.
    Interrupted,
    /// The disk failed, or memory ran out.
    Device(String),
    /// Anything else; a mistake of this program.
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
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen | ErrorCode::OutOfMemory) => {
                StoreError::Device(text)
            }
            _ => StoreError::Other(text),
        }
    }
}

impl From<StoreError> for CallError {
    fn from(fault: StoreError) -> CallError {
        CallError::failed(fault.to_string())
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
                    "the store is damaged ({detail}): where it is the index alone, iaid doctor --fix makes that anew; else \
                     stop the daemon, keep the file, and restore a backup"
                )
            }
            StoreError::NotADatabase => f.write_str("the store's file is not a database any more: restore a backup"),
            StoreError::Busy => f.write_str(
                "another program has the store locked: nothing was stored; send it again when that program is done",
            ),
            StoreError::Interrupted => f.write_str("the question took too long: ask for less"),
            StoreError::Device(detail) => {
                write!(f, "the store's disk failed ({detail}): nothing was stored; look after the disk, then send it again")
            }
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
    fn codes_become_kinds_that_say_the_way_out() {
        for (code, part) in [
            (ffi::SQLITE_FULL, "free some space"),
            (ffi::SQLITE_READONLY, "make it writable"),
            (ffi::SQLITE_CORRUPT, "restore a backup"),
            (ffi::SQLITE_NOTADB, "restore a backup"),
            (ffi::SQLITE_BUSY, "another program"),
            (ffi::SQLITE_INTERRUPT, "ask for less"),
            (ffi::SQLITE_IOERR_FSYNC, "look after the disk"),
            (ffi::SQLITE_MISUSE, "the store failed"),
        ] {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let call = CallError::from(error);
            assert_eq!(call.code, crate::dispatch::code::FAILED);
            assert!(call.message.contains(part), "{code}: {}", call.message);
        }
    }
}
