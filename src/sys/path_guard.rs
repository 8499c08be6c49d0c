//! The path of a socket that we bound, and its lock, for as long as the daemon lives.
//!
//! The path is removed at the end, and only if it is still the file we made: what someone else has
//! put there since is theirs. The lock outlives the removal, so the next starter finds either us or
//! no path at all. The caller removes the path first and closes the listener after: as long as the
//! socket is open the kernel keeps the file's inode, so its number cannot come back as another's.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::lock::FileLock;

/// A bound path and its lock. Dropped, it removes the path if that is still ours, then lets go of
/// the lock, unless a [`BoundPath`](super::listener::BoundPath) of it is left.
#[derive(Debug)]
pub struct PathGuard {
    path: PathBuf,
    /// The file we made; `None` once the path has been dealt with.
    made: Option<FileId>,
    lock: Arc<FileLock>,
}

/// What [`PathGuard::remove`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// The path is gone.
    Removed,
    /// The path was no longer our file (gone, replaced, or removed by us before) and was left alone.
    NotOurs,
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    dev: u64,
    ino: u64,
}

impl PathGuard {
    /// Guards `path`, at which there is the file `made`. `path` should be absolute: the working
    /// directory may change.
    pub(super) fn new(path: PathBuf, made: FileId, lock: Arc<FileLock>) -> PathGuard {
        PathGuard { path, made: Some(made), lock }
    }

    /// The path, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that we made, unless the path was removed by us, and the path's lock.
    pub(super) fn parts(&self) -> (Option<FileId>, Arc<FileLock>) {
        (self.made, Arc::clone(&self.lock))
    }

    /// Is the path still the socket we bound? A daemon whose path is not can be reached by nobody
    /// new.
    ///
    /// # Errors
    /// Where the path cannot be looked at for another reason than that it is gone.
    pub fn in_place(&self) -> io::Result<bool> {
        Ok(self.made.is_some() && FileId::at(&self.path)? == self.made)
    }

    /// Removes the path if it is still the socket we bound. The lock stays.
    ///
    /// # Errors
    /// Where it is ours and cannot be removed, or cannot be looked at.
    pub fn remove(&mut self) -> io::Result<Removal> {
        let Some(made) = self.made.take() else { return Ok(Removal::NotOurs) };
        made.remove_at(&self.path)
    }
}

impl Drop for PathGuard {
    fn drop(&mut self) {
        if let Err(e) = self.remove() {
            log::warn!("socket {} stays behind: {e}", self.path.display());
        }
    }
}

impl FileId {
    pub(super) fn of(about: &fs::Metadata) -> FileId {
        FileId { dev: about.dev(), ino: about.ino() }
    }

    /// The file at `path`, links not followed, if there is one.
    pub(super) fn at(path: &Path) -> io::Result<Option<FileId>> {
        match fs::symlink_metadata(path) {
            Ok(about) => Ok(Some(FileId::of(&about))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Removes `path` if it is this file. No call does both at once; among daemons the lock keeps the
    /// moment between them empty.
    pub(super) fn remove_at(self, path: &Path) -> io::Result<Removal> {
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
    fn only_our_own_file_is_removed_and_only_once() {
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
    fn the_lock_is_held_until_the_guard_goes() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("a.lock");
        let mut guard = guard(dir.path());
        guard.remove().unwrap();
        assert!(matches!(FileLock::acquire(&lock), Err(LockError::Held { .. })));
        drop(guard);
        FileLock::acquire(&lock).unwrap();
    }
}
