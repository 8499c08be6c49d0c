//! A lock file: whoever holds it is the only one, until it drops it or dies.
//!
//! The lock is flock(2) on the open file, so the kernel lets go of it when its holder dies,
//! however that happens; the file's text, the holder's pid, is only there for the message to the
//! others. The file is never removed: between another's open and its flock a removal would leave
//! the two of us with a lock each, on two files of one name. It is no protection against programs
//! that do not ask for it.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::peer::own_uid;
use super::{checked, process};

/// Openings of the file before giving up on one that someone else keeps replacing. Picked: one
/// replacement is an accident, and each try is a few microseconds.
const ATTEMPTS: usize = 16;

/// More than a lock file's text can have (a pid of 10 digits and a newline); a file of more is
/// something else.
const MAX_TEXT_BYTES: usize = 32;

/// A lock file, held.
#[derive(Debug)]
pub struct FileLock {
    file: File,
    path: PathBuf,
}

/// Why a lock file is not ours.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it, or another holder in this one.
    Held {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, where the file names a process that lives. For a message, nothing else: it
        /// is missing for a moment at the holder's start.
        pid: Option<u32>,
    },
    /// What lies there is no lock file of ours, so it was left alone.
    Foreign {
        /// The lock file.
        path: PathBuf,
        /// What lies there.
        what: &'static str,
    },
    /// The operating system refused.
    Io {
        /// The lock file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl FileLock {
    /// Takes the lock, or says at once who has it. Makes the file (0600) if it is missing.
    ///
    /// # Errors
    /// [`LockError::Held`] where another has it; [`LockError::Foreign`] where the path is something
    /// other than a lock file of ours (a symbolic link, another user's file, a file with a text of
    /// its own), which is then untouched; [`LockError::Io`] for the rest.
    pub fn acquire(path: &Path) -> Result<FileLock, LockError> {
        for _ in 0..ATTEMPTS {
            if let Some(lock) = FileLock::claim(path, open(path)?)? {
                return Ok(lock);
            }
        }
        Err(LockError::Foreign { path: path.into(), what: "a file that another program keeps replacing" })
    }

    /// Locks the file opened at `path`. `None` where someone has removed or replaced it since: the next
    /// starter would not see our lock.
    fn claim(path: &Path, file: File) -> Result<Option<FileLock>, LockError> {
        if !try_lock(&file).map_err(|source| io_error(path, "flock", source))? {
            return Err(LockError::Held { path: path.into(), pid: holder(&file) });
        }
        let lock = FileLock { file, path: path.into() };
        if !lock.is_in_place().map_err(|source| io_error(path, "look at", source))? {
            return Ok(None);
        }
        lock.sign()?;
        Ok(Some(lock))
    }

    /// The lock file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is the file that we hold still the one at its path? If not, others may hold one of that name.
    pub(super) fn is_in_place(&self) -> io::Result<bool> {
        let held = self.file.metadata()?;
        match fs::symlink_metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Puts our pid into the file, once it is sure that no text of another kind is lost by it.
    fn sign(&self) -> Result<(), LockError> {
        let read = text(&self.file).map_err(|source| io_error(&self.path, "read", source))?;
        if !read.is_some_and(|text| text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_whitespace())) {
            return Err(LockError::Foreign { path: self.path.clone(), what: "a file with a text of its own" });
        }
        let signed = format!("{}\n", std::process::id());
        // One write, and the line ends in it: a reader meanwhile finds the old pid or ours.
        let written = self
            .file
            .set_permissions(fs::Permissions::from_mode(0o600))
            .and_then(|()| self.file.write_all_at(signed.as_bytes(), 0))
            .and_then(|()| self.file.set_len(signed.len() as u64));
        if let Err(e) = written {
            // The lock holds without it, and a full disk must not keep a daemon from reading.
            log::warn!("lock file {}: our pid could not be written into it: {e}", self.path.display());
        }
        Ok(())
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Closing alone would not do: a child between its fork and its exec has the descriptor too,
        // and the lock lives as long as the last of them.
        // SAFETY: takes numbers alone.
        if let Err(e) = checked(unsafe { libc::flock(self.file.as_raw_fd(), libc::LOCK_UN) }) {
            log::warn!("lock file {}: {e}", self.path.display());
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

/// Opens or makes the file and sees that it is a plain file of ours under one name. Close-on-exec is
/// what std opens with; O_NONBLOCK keeps a FIFO that lies there from holding us up.
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
    let about = file.metadata().map_err(|source| io_error(path, "look at", source))?;
    let what = if !about.is_file() {
        "no plain file"
    } else if about.uid() != own_uid() {
        "another user's file"
    } else if about.nlink() > 1 {
        "a file with a second name"
    } else {
        return Ok(file);
    };
    Err(LockError::Foreign { path: path.into(), what })
}

fn try_lock(file: &File) -> io::Result<bool> {
    loop {
        // SAFETY: takes numbers alone.
        match checked(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
            Ok(_) => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The file's text, or `None` where it is longer than ours can be, or no text.
fn text(mut file: &File) -> io::Result<Option<String>> {
    let mut bytes = Vec::with_capacity(MAX_TEXT_BYTES + 1);
    file.by_ref().take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MAX_TEXT_BYTES {
        return Ok(None);
    }
    Ok(String::from_utf8(bytes).ok())
}

/// The pid in the file, if a process of that pid lives. One that does not was there before the
/// holder, who has not yet signed.
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
    fn one_holds_it_and_the_next_is_told_who() {
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

        // A child that has just been forked has the descriptor for a moment too.
        let lock = FileLock::acquire(&path).unwrap();
        let _forked = lock.file.try_clone().unwrap();
        drop(lock);
        FileLock::acquire(&path).unwrap();
    }

    #[test]
    fn a_lock_on_a_file_that_is_no_longer_there_does_not_count() {
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
    fn a_pid_left_by_the_dead_is_not_named() {
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
    fn what_is_no_lock_file_of_ours_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("cargo"), "[[package]]\n").unwrap();
        fs::write(at("digits"), "1".repeat(MAX_TEXT_BYTES + 1)).unwrap();
        fs::write(at("twice"), "").unwrap();
        fs::hard_link(at("twice"), at("other name")).unwrap();
        symlink(at("gone"), at("link")).unwrap();
        for (name, what) in [
            ("cargo", "a file with a text of its own"),
            ("digits", "a file with a text of its own"),
            ("twice", "a file with a second name"),
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
    fn of_many_at_once_one_gets_it_even_while_the_file_is_removed() {
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
                // A cleaner of old files, at the worst moment.
                let _ = fs::remove_file(&path);
                starters.into_iter().filter_map(|starter| starter.join().unwrap()).collect::<Vec<_>>()
            });
            // Who took it before the removal has a lock nobody sees, which no lock file can prevent;
            // but only one of those who came after it has one.
            let in_place = got.iter().filter(|lock| lock.is_in_place().unwrap()).count();
            assert!(in_place <= 1 && !got.is_empty() && got.len() <= 2, "round {round}: {} locks", got.len());
        }
    }
}
