//! A file lock held for life: `flock` by way of the standard library, with the holder's pid in the
//! file.

use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The lock; dropping it lets go.
#[derive(Debug)]
pub(super) struct FileLock {
    _file: File,
}

/// Why a lock was not had.
#[derive(Debug)]
pub(super) enum LockError {
    /// Another process has it.
    Held { path: PathBuf, pid: Option<u32> },
    /// The file cannot be opened, locked or written.
    Io { path: PathBuf, error: io::Error },
}

impl FileLock {
    /// Takes the lock on the file at `path`, which is made if it is missing (0600).
    pub(super) fn acquire(path: &Path) -> Result<FileLock, LockError> {
        let failed = |error| LockError::Io { path: path.to_owned(), error };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
                return Err(LockError::Held { path: path.to_owned(), pid });
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let pid = format!("{}\n", std::process::id());
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(pid.as_bytes())).map_err(failed)?;
        Ok(FileLock { _file: file })
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { path, pid: Some(pid) } => write!(f, "{} is locked by process {pid}", path.display()),
            LockError::Held { path, pid: None } => write!(f, "{} is locked by another process", path.display()),
            LockError::Io { path, error } => write!(f, "cannot lock {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for LockError {}
