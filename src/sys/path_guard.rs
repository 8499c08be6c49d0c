//! The path of a bound socket and its lock, held for as long as the daemon serves.
//!
//! The path is removed at the end, and only if it is still the file that this process made. The lock is released
//! after the removal, so the next daemon finds either a running daemon or no path.
//!
//! Caller's contract: remove the path before closing the listener. While the socket is open the kernel keeps the
//! file's inode, so its number cannot be reused for another file.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::lock::FileLock;

/// A bound path and its lock. Dropping it removes the path if that is still the bound socket, then releases
/// the lock unless a [`BoundPath`](super::listener::BoundPath) holds it too.
#[derive(Debug)]
pub(crate) struct PathGuard {
    path: PathBuf,
    /// The file that this process made; `None` once [`PathGuard::remove`] was called.
    made: Option<FileId>,
    /// True from [`PathGuard::remove`] on: a check in another thread must not bind the path again.
    is_removed: Arc<AtomicBool>,
    lock: Arc<FileLock>,
}

/// What [`PathGuard::remove`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// The path was removed.
    Removed,
    /// The path is not the bound socket (it is gone, replaced, or was removed before) and was left alone.
    NotOurs,
}

/// The identity of a file, independent of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    dev: u64,
    ino: u64,
}

impl PathGuard {
    /// Guards `path`, at which the file `made` is. `path` should be absolute, since the working
    /// directory may change.
    pub(crate) fn new(path: PathBuf, made: FileId, lock: Arc<FileLock>) -> PathGuard {
        PathGuard { path, made: Some(made), is_removed: Arc::default(), lock }
    }

    /// Returns the path, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file that was made, unless [`PathGuard::remove`] was called.
    pub(crate) fn made(&self) -> Option<FileId> {
        self.made
    }

    /// Returns the flag that [`PathGuard::remove`] sets before it removes the path.
    pub(crate) fn is_removed(&self) -> &Arc<AtomicBool> {
        &self.is_removed
    }

    /// Returns the path's lock.
    pub(crate) fn lock(&self) -> &Arc<FileLock> {
        &self.lock
    }

    /// Returns true if the path is still the bound socket. If not, new clients cannot reach the daemon.
    ///
    /// # Errors
    /// Those of lstat(2), [`io::ErrorKind::NotFound`] excepted.
    #[cfg(test)]
    pub(crate) fn in_place(&self) -> io::Result<bool> {
        Ok(self.made.is_some() && FileId::at(&self.path)? == self.made)
    }

    /// Removes the path if it is still the bound socket. The lock stays held.
    ///
    /// # Errors
    /// Those of lstat(2) and unlink(2), [`io::ErrorKind::NotFound`] excepted.
    pub(crate) fn remove(&mut self) -> io::Result<Removal> {
        let Some(made) = self.made.take() else { return Ok(Removal::NotOurs) };
        self.is_removed.store(true, Ordering::SeqCst);
        made.remove_at(&self.path)
    }
}

impl Drop for PathGuard {
    fn drop(&mut self) {
        if let Err(e) = self.remove() {
            log::warn!("cannot remove socket {}: {e}", self.path.display());
        }
    }
}

impl FileId {
    pub(crate) fn of(about: &fs::Metadata) -> FileId {
        FileId { dev: about.dev(), ino: about.ino() }
    }

    /// Returns the file at `path`, if there is one. Symbolic links are not followed.
    pub(crate) fn at(path: &Path) -> io::Result<Option<FileId>> {
        match fs::symlink_metadata(path) {
            Ok(about) => Ok(Some(FileId::of(&about))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Removes `path` if it is this file. No system call checks and removes at once; the lock keeps other daemons out
    /// in between.
    pub(crate) fn remove_at(self, path: &Path) -> io::Result<Removal> {
        if FileId::at(path)? != Some(self) {
            return Ok(Removal::NotOurs);
        }
        match fs::remove_file(path) {
            Ok(()) => Ok(Removal::Removed),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Removal::NotOurs),
            Err(e) => Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::lock::LockError;

    fn guard(dir: &Path) -> PathGuard {
        let path = dir.join("a");
        fs::write(&path, "ours").unwrap();
        let made = FileId::at(&path).unwrap().unwrap();
        PathGuard::new(path, made, Arc::new(FileLock::acquire(&dir.join("a.lock")).unwrap()))
    }

    #[test]
    fn only_the_bound_file_is_removed_and_only_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");

        drop(guard(dir.path()));
        assert!(!path.exists());

        let mut replaced = guard(dir.path());
        assert!(replaced.in_place().unwrap());
        fs::write(dir.path().join("b"), "theirs").unwrap();
        fs::rename(dir.path().join("b"), &path).unwrap();
        assert!(!replaced.in_place().unwrap());
        assert_eq!(replaced.remove().unwrap(), Removal::NotOurs);
        drop(replaced);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");

        let mut removed = guard(dir.path());
        assert_eq!(removed.remove().unwrap(), Removal::Removed);
        assert!(!removed.in_place().unwrap());
        fs::write(&path, "theirs").unwrap();
        assert_eq!(removed.remove().unwrap(), Removal::NotOurs);
        drop(removed);
        assert!(path.exists());
    }

    #[test]
    fn the_lock_is_held_until_the_guard_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("a.lock");
        let mut guard = guard(dir.path());
        guard.remove().unwrap();
        assert!(matches!(FileLock::acquire(&lock), Err(LockError::Held { .. })));
        drop(guard);
        FileLock::acquire(&lock).unwrap();
    }
}
