//! Why a store cannot be opened, with a message for each cause.

use std::path::{Path, PathBuf};
use std::{fmt, io};

use crate::memory::store::error::StoreError;

/// Why a store cannot be opened. The message says what to do. Existing files are unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The folder cannot be created or used.
    Folder {
        /// The store's folder.
        path: PathBuf,
        /// The system's message.
        detail: String,
    },
    /// Another process has the store open.
    Locked {
        /// The lock file.
        path: PathBuf,
        /// The process that holds the lock, if known.
        pid: Option<u32>,
    },
    /// The file is no SQLite database.
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is another program's database.
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a newer release.
    Newer {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: i64,
        /// The newest version that this release knows.
        known: i64,
    },
    /// The file is corrupt.
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// The file, its folder or its disk is read-only.
    ReadOnly {
        /// The file or folder.
        path: PathBuf,
    },
    /// The disk is full.
    Full {
        /// The file or folder.
        path: PathBuf,
    },
    /// Anything else.
    Failed {
        /// The file.
        path: PathBuf,
        /// What happened.
        detail: String,
    },
}

impl OpenError {
    /// Converts a failure of the file system at `path`.
    pub(crate) fn from_io(path: &Path, error: &io::Error) -> OpenError {
        let path = path.to_owned();
        match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => OpenError::ReadOnly { path },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => OpenError::Full { path },
            io::ErrorKind::OutOfMemory => OpenError::Failed { path, detail: StoreError::Memory.without_storing() },
            _ if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                OpenError::Failed { path, detail: StoreError::Descriptors.without_storing() }
            }
            _ => OpenError::Folder { path, detail: error.to_string() },
        }
    }

    /// Converts a failure of SQLite with the database at `path`.
    pub(crate) fn from_store(path: &Path, error: StoreError) -> OpenError {
        let path = path.to_owned();
        match error {
            StoreError::Full => OpenError::Full { path },
            StoreError::ReadOnly => OpenError::ReadOnly { path },
            StoreError::Damaged(detail) => OpenError::Damaged { path, detail },
            StoreError::NotADatabase => OpenError::NotADatabase { path },
            other => OpenError::Failed { path, detail: other.without_storing() },
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Folder { path, detail } => {
                write!(f, "cannot use {}: {detail}; give another folder for the store", path.display())
            }
            OpenError::Locked { path, pid: Some(pid) } => write!(
                f,
                "the store is in use: process {pid} has {} locked; stop it or give another folder",
                path.display()
            ),
            OpenError::Locked { path, pid: None } => {
                write!(f, "the store is in use: {} is locked; stop its holder or give another folder", path.display())
            }
            OpenError::NotADatabase { path } => write!(
                f,
                "{} is not a database and was left alone; restore a backup (iaid restore FILE), move it away, or give another folder",
                path.display()
            ),
            OpenError::NotOurs { path } => {
                write!(f, "{} is a database of another program and was left alone; give another folder", path.display())
            }
            OpenError::Newer { path, found, known } => write!(
                f,
                "{} was written by a newer release (version {found}, this one knows {known}) and was left alone; \
                 install that release",
                path.display()
            ),
            OpenError::Damaged { path, detail } => write!(
                f,
                "{} is damaged ({detail}) and was left alone; keep a copy of it and restore a backup: iaid restore FILE",
                path.display()
            ),
            OpenError::ReadOnly { path } => {
                write!(f, "{} cannot be written; make it writable or give another folder", path.display())
            }
            OpenError::Full { path } => {
                write!(f, "no space is left on the disk of {}; free some and start again", path.display())
            }
            OpenError::Failed { path, detail } => write!(f, "cannot open {}: {detail}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_errors_become_the_matching_variants() {
        let path = Path::new("/s");
        for (code, want) in [
            (libc::EROFS, OpenError::ReadOnly { path: path.into() }),
            (libc::EACCES, OpenError::ReadOnly { path: path.into() }),
            (libc::ENOSPC, OpenError::Full { path: path.into() }),
            (libc::EDQUOT, OpenError::Full { path: path.into() }),
        ] {
            assert_eq!(OpenError::from_io(path, &io::Error::from_raw_os_error(code)), want);
        }
    }
}
