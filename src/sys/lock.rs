//! A lock file: at most one process holds it, until it drops the lock or dies.
//!
//! The lock is [`File::try_lock`] (flock(2)), so the kernel releases it when its holder dies for any
//! reason. The file contains the holder's pid, for error messages only. The file is never removed: a
//! removal between another process's open and lock would leave two locks, on two files of one name.
//! The lock is advisory: it does not keep out programs that do not take it.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::peer::own_uid;
use super::process;

/// Attempts to lock a file that another program replaces meanwhile. Picked: one replacement is an accident, and each
/// attempt takes a few microseconds.
const MAX_ATTEMPT_COUNT: usize = 16;

/// More than a lock file can contain (a pid of 10 digits and a newline). A longer file is not a lock file.
const MAX_TEXT_BYTES: usize = 32;

/// A lock file that this process holds.
#[derive(Debug)]
pub(crate) struct FileLock {
    file: File,
    path: PathBuf,
}

/// Why a lock file cannot be locked.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it, or another holder in this process.
    Held {
        /// The lock file.
        path: PathBuf,
        /// The holder, if the file names a living process. Only for messages: it is missing for a moment after
        /// the holder has taken the lock.
        pid: Option<u32>,
    },
    /// The file is not a lock file of this program, so it was left alone.
    Foreign {
        /// The lock file.
        path: PathBuf,
        /// The kind of the file.
        what: &'static str,
    },
    /// A system call failed.
    Io {
        /// The lock file.
        path: PathBuf,
        /// What was attempted, as a verb before the words "lock file".
        doing: &'static str,
        /// The error.
        source: io::Error,
    },
}

impl FileLock {
    /// Takes the lock without waiting. Creates the file (0600) if it is missing.
    ///
    /// # Errors
    /// [`LockError::Held`] if it is held elsewhere. [`LockError::Foreign`] if the path is not a lock file of this
    /// program (a symbolic link, another user's file, a file with other contents); it is not changed then.
    /// [`LockError::Io`] if a system call fails.
    pub(crate) fn acquire(path: &Path) -> Result<FileLock, LockError> {
        for _ in 0..MAX_ATTEMPT_COUNT {
            if let Some(lock) = FileLock::claim(path, open(path)?)? {
                return Ok(lock);
            }
        }
        Err(LockError::Foreign { path: path.into(), what: "a file that another program keeps replacing" })
    }

    /// Locks the file that was opened at `path`. Returns `None` if it has been removed or replaced since: other
    /// processes would not see the lock.
    fn claim(path: &Path, file: File) -> Result<Option<FileLock>, LockError> {
        if !try_lock(&file).map_err(|source| io_error(path, "lock", source))? {
            return Err(LockError::Held { path: path.into(), pid: holder(&file) });
        }
        let lock = FileLock { file, path: path.into() };
        if !lock.is_in_place().map_err(|source| io_error(path, "stat", source))? {
            return Ok(None);
        }
        lock.write_pid()?;
        Ok(Some(lock))
    }

    /// Returns true if the locked file is still the one at its path. If not, another process may hold a lock on a new
    /// file of that name.
    pub(crate) fn is_in_place(&self) -> io::Result<bool> {
        let held = self.file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Writes this process's pid into the file, unless the file has other contents.
    fn write_pid(&self) -> Result<(), LockError> {
        let read = text(&self.file).map_err(|source| io_error(&self.path, "read", source))?;
        if !read.is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_whitespace())) {
            return Err(LockError::Foreign { path: self.path.clone(), what: "a file with other contents" });
        }
        let text = format!("{}\n", std::process::id());
        // One write that ends in a newline: a concurrent reader finds the old pid or this one.
        let written = self
            .file
            .set_permissions(fs::Permissions::from_mode(0o600))
            .and_then(|()| self.file.write_all_at(text.as_bytes(), 0))
            .and_then(|()| self.file.set_len(text.len() as u64));
        if let Err(e) = written {
            // The lock is held without it, and a full disk must not keep a daemon from reading its store.
            log::warn!("cannot write the pid into lock file {}: {e}", self.path.display());
        }
        Ok(())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child between its fork and its exec has the descriptor too,
        // and the lock is held until the last descriptor is closed.
        if let Err(e) = self.file.unlock() {
            log::warn!("cannot unlock lock file {}: {e}", self.path.display());
        }
    }
}

impl fmt::Display for LockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::Held { path, pid: Some(pid) } => {
                write!(f, "{} is held by process {pid}; stop it first", path.display())
            }
            LockError::Held { path, pid: None } => {
                write!(f, "{} is held by another process; stop it first (`lslocks` or `lsof` names it)", path.display())
            }
            LockError::Foreign { path, what } => {
                write!(f, "{} is {what}, not a lock file; it was left alone: move it away", path.display())
            }
            LockError::Io { path, doing, source } => write!(f, "cannot {doing} lock file {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for LockError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LockError::Io { source, .. } => Some(source),
            LockError::Held { .. } | LockError::Foreign { .. } => None,
        }
    }
}

fn io_error(path: &Path, doing: &'static str, source: io::Error) -> LockError {
    LockError::Io { path: path.into(), doing, source }
}

/// Opens or creates the file, and checks that it is a regular file of this user with one hard link. The standard
/// library opens with close-on-exec; O_NONBLOCK keeps the open of a FIFO from waiting.
fn open(path: &Path) -> Result<File, LockError> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path);
    let file = match opened {
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => {
            return Err(LockError::Foreign { path: path.into(), what: "a symbolic link" });
        }
        opened => opened.map_err(|source| io_error(path, "open", source))?,
    };
    let about = file.metadata().map_err(|source| io_error(path, "stat", source))?;
    let what = if !about.is_file() {
        "a special file"
    } else if about.uid() != own_uid() {
        "another user's file"
    } else if about.nlink() > 1 {
        "a file with several hard links"
    } else {
        return Ok(file);
    };
    Err(LockError::Foreign { path: path.into(), what })
}

/// Returns true if this took the lock, and false if it is held elsewhere.
fn try_lock(file: &File) -> io::Result<bool> {
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(TryLockError::Error(e)) => return Err(e),
        }
    }
}

/// Returns the file's text, or `None` if it is longer than [`MAX_TEXT_BYTES`] or not UTF-8.
fn text(mut file: &File) -> io::Result<Option<String>> {
    let mut bytes = Vec::with_capacity(MAX_TEXT_BYTES + 1);
    file.by_ref().take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_TEXT_BYTES {
        return Ok(None);
    }
    Ok(String::from_utf8(bytes).ok())
}

/// Returns the pid in the file if that process lives. The pid of a dead process is an earlier holder's; the present
/// one has not written its own yet.
fn holder(file: &File) -> Option<u32> {
    let pid: u32 = text(file).ok()??.lines().next()?.trim().parse().ok()?;
    process::is_alive(pid).then_some(pid)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn a_held_lock_names_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let lock = FileLock::acquire(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let ours = std::process::id();
        let error = FileLock::acquire(&path).unwrap_err();
        assert!(matches!(&error, LockError::Held { pid: Some(pid), .. } if *pid == ours), "{error}");
        assert!(error.to_string().contains(&format!("process {ours}")), "{error}");
        drop(lock);
        assert!(path.exists());

        // A child that has just been forked also has the descriptor for a moment.
        let lock = FileLock::acquire(&path).unwrap();
        let _forked = lock.file.try_clone().unwrap();
        drop(lock);
        FileLock::acquire(&path).unwrap();
    }

    #[test]
    fn a_lock_on_a_removed_file_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let file = open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(FileLock::claim(&path, file).unwrap().is_none());
        let file = open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _newcomer = FileLock::acquire(&path).unwrap();
        assert!(FileLock::claim(&path, file).unwrap().is_none());
    }

    #[test]
    fn the_pid_of_a_dead_process_is_not_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        for left in ["", "\n", "x", "-1", "0", "99999999999", "2147483647\n"] {
            let _lock = FileLock::acquire(&path).unwrap();
            fs::write(&path, left).unwrap();
            let error = FileLock::acquire(&path).unwrap_err();
            assert!(matches!(&error, LockError::Held { pid: None, .. }), "{left:?}: {error}");
            fs::write(&path, "1234567890\n").unwrap();
        }
        let _lock = FileLock::acquire(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
    }

    #[test]
    fn other_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("cargo"), "[[package]]\n").unwrap();
        fs::write(at("digits"), "1".repeat(MAX_TEXT_BYTES + 1)).unwrap();
        fs::write(at("twice"), "").unwrap();
        fs::hard_link(at("twice"), at("other name")).unwrap();
        symlink(at("gone"), at("link")).unwrap();
        for (name, what) in [
            ("cargo", "a file with other contents"),
            ("digits", "a file with other contents"),
            ("twice", "a file with several hard links"),
            ("link", "a symbolic link"),
        ] {
            let before = fs::read(at(name)).ok();
            match FileLock::acquire(&at(name)).unwrap_err() {
                LockError::Foreign { what: said, .. } => assert_eq!(said, what, "{name}"),
                error => panic!("{name}: {error}"),
            }
            assert_eq!(fs::read(at(name)).ok(), before, "{name}");
        }
        assert!(!at("gone").exists());
        fs::create_dir(at("dir")).unwrap();
        for name in ["dir", "no/parent"] {
            assert!(matches!(FileLock::acquire(&at(name)), Err(LockError::Io { doing: "open", .. })), "{name}");
        }
    }

    #[test]
    fn one_of_many_threads_gets_it_even_while_the_file_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        for round in 0..100 {
            let start = Barrier::new(6);
            let got = std::thread::scope(|scope| {
                let starters: Vec<_> = (0..5)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            FileLock::acquire(&path).ok()
                        })
                    })
                    .collect();
                start.wait();
                // Another program removes the file at the worst moment.
                let _ = fs::remove_file(&path);
                starters.into_iter().filter_map(|starter| starter.join().unwrap()).collect::<Vec<_>>()
            });
            // A lock taken before the removal is invisible to others, which no lock file can prevent;
            // but only one is taken after it.
            let in_place = got.iter().filter(|lock| lock.is_in_place().unwrap()).count();
            assert!(in_place <= 1 && !got.is_empty() && got.len() <= 2, "round {round}: {} locks", got.len());
        }
    }
}
