//! The listening Unix stream socket of a daemon: bound by us, or handed over by who started us.
//!
//! Binding takes a path over without a race: a lock file beside it decides who may look at it, and
//! only what is surely dead and ours is removed. What was handed over is checked and used as it is:
//! its path is its owner's, never removed, chmodded or bound anew. Nothing is accepted here.
//!
//! The caller keeps the [`PathGuard`] of a bound listener for as long as it serves.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::fd_check::{self, FdFault, InvalidFd};
use super::lock::{FileLock, LockError};
use super::path_guard::{FileId, PathGuard, Removal};
use super::peer::own_uid;
use super::socket::{self, Address};

pub use super::socket::PathFault;

/// Connections that may wait to be accepted. 4096: what Linux cuts it to by default (somaxconn), so
/// that a storm of starting editors is never refused; macOS cuts it to 128.
const BACKLOG: i32 = 4096;

/// A listening Unix stream socket, non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Listener {
    // In this order, so that a listener dropped whole removes its path before it closes the socket.
    guard: Option<PathGuard>,
    socket: UnixListener,
}

impl Listener {
    /// Listens at `path`: makes its folder if missing, takes its lock (`PATH.lock`), clears away a
    /// socket that a dead daemon left, then socket, bind, chmod 0600, listen.
    ///
    /// # Errors
    /// Whatever else is at the path is left alone and said, see [`BindError`].
    pub fn bind(path: &Path) -> Result<Listener, BindError> {
        let address = Address::new(path).map_err(|fault| BindError::Path { path: path.into(), fault })?;
        make_parent(path)?;
        let lock = FileLock::acquire(&lock_path(path))?;
        Listener::bind_locked(path, &address, Arc::new(lock))
    }

    /// Listens at `path`, whose lock is held.
    fn bind_locked(path: &Path, address: &Address, lock: Arc<FileLock>) -> Result<Listener, BindError> {
        clear_stale(path, address, own_uid())?;
        let (socket, guard) = bind_private(path, address, lock)?;
        socket::listen(&socket, BACKLOG).map_err(|source| BindError::Io {
            path: path.into(),
            doing: "listen at",
            source,
        })?;
        Ok(Listener { guard: Some(guard), socket: socket.into() })
    }

    /// Listens on the descriptor of number `fd`, which whoever started us left open (`--fd N`).
    ///
    /// Works on a duplicate, so the number's owner, if this process has one, keeps it, and two calls
    /// make two listeners on one socket instead of two owners of one descriptor. Close-on-exec is set
    /// on both.
    ///
    /// # Errors
    /// Anything but a listening Unix stream socket, standard input to error, and no descriptor at all.
    pub fn from_fd(fd: RawFd) -> Result<Listener, InvalidFd> {
        let unfit = |why| InvalidFd { fd, why };
        match fd {
            ..0 => return Err(unfit(FdFault::Negative)),
            0..=2 => return Err(unfit(FdFault::Standard)),
            _ => {}
        }
        let ours = socket::duplicate(fd, 3).map_err(|e| match e.raw_os_error() {
            Some(libc::EBADF) => unfit(FdFault::Closed),
            _ => unfit(FdFault::os(&e)),
        })?;
        let listener = Listener::adopt(ours, fd)?;
        socket::set_close_on_exec(fd).map_err(|e| unfit(FdFault::os(&e)))?;
        Ok(listener)
    }

    /// Listens on a descriptor that was handed over as `number`.
    pub(super) fn adopt(fd: OwnedFd, number: RawFd) -> Result<Listener, InvalidFd> {
        let unfit = |e: io::Error| InvalidFd { fd: number, why: FdFault::os(&e) };
        fd_check::check(&fd, number)?;
        socket::set_close_on_exec(fd.as_raw_fd()).map_err(unfit)?;
        let socket = UnixListener::from(fd);
        socket.set_nonblocking(true).map_err(unfit)?;
        Ok(Listener { guard: None, socket })
    }

    /// Was it handed over? Then someone else can start us again on a connection.
    pub fn is_inherited(&self) -> bool {
        self.guard.is_none()
    }

    /// The path that we bound, absolute; `None` for one that was handed over.
    pub fn path(&self) -> Option<&Path> {
        self.guard.as_ref().map(PathGuard::path)
    }

    /// Where we bound it, for whoever looks after it; `None` for one that was handed over.
    pub fn place(&self) -> Option<BoundPath> {
        let guard = self.guard.as_ref()?;
        let (made, lock) = guard.parts();
        Some(BoundPath { path: guard.path().into(), made: made?, lock })
    }

    /// The socket, and its path's guard if we bound it. At the end remove the path first
    /// ([`PathGuard::remove`]) and close the socket after.
    pub fn into_parts(self) -> (UnixListener, Option<PathGuard>) {
        (self.socket, self.guard)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Where a listener was bound: what it takes to see from any thread whether its socket is still there.
/// Holds the path's lock as its listener does.
#[derive(Clone, Debug)]
pub struct BoundPath {
    path: PathBuf,
    made: FileId,
    lock: Arc<FileLock>,
}

impl BoundPath {
    /// The path, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks whether the path is still the socket that was bound: nobody new reaches a daemon whose path
    /// is not. Where it has gone, listens there anew, as [`Listener::bind`] does; the old listener stays
    /// as it is.
    ///
    /// # Errors
    /// Where the path is another's now, or cannot be looked at or bound. It is left alone then.
    pub fn renew(&self) -> Result<Option<Listener>, BindError> {
        let looked = |source| self.failed("look at", source);
        if FileId::at(&self.path).map_err(looked)? == Some(self.made) {
            return Ok(None);
        }
        let address = Address::new(&self.path).map_err(|fault| BindError::Path { path: self.path.clone(), fault })?;
        make_parent(&self.path)?;
        // Where the lock file has gone too, another daemon may hold a new one.
        let lock = match self.lock.is_in_place().map_err(looked)? {
            true => Arc::clone(&self.lock),
            false => Arc::new(FileLock::acquire(&lock_path(&self.path))?),
        };
        Listener::bind_locked(&self.path, &address, lock).map(Some)
    }

    /// What was tried here and failed.
    pub fn failed(&self, doing: &'static str, source: io::Error) -> BindError {
        BindError::Io { path: self.path.clone(), doing, source }
    }
}

/// Why a path cannot be listened at.
#[derive(Debug)]
pub enum BindError {
    /// It can be no socket's path.
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// Its folder is missing and cannot be made.
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another daemon has its lock, or the lock file is no such thing.
    Lock(LockError),
    /// Somebody answers there who holds no lock: no daemon of this kind.
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// A file that is no socket.
    NotSocket {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A socket of another user.
    NotOurs {
        /// The path.
        path: PathBuf,
        /// Its owner.
        uid: u32,
    },
    /// The operating system refused.
    Io {
        /// The path.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Path { path, fault } => write!(f, "socket path {} {fault}", path.display()),
            BindError::Folder { path, source } => {
                write!(f, "cannot make the socket's folder {}: {source}; make it or choose another", path.display())
            }
            BindError::Lock(LockError::Held { path, pid }) => {
                f.write_str("another daemon ")?;
                if let Some(pid) = pid {
                    write!(f, "(process {pid}) ")?;
                }
                write!(f, "holds {}; stop it first or choose another socket path", path.display())
            }
            BindError::Lock(error) => error.fmt(f),
            BindError::InUse { path } => write!(
                f,
                "another program listens at {} (it holds no lock, so it is no daemon of this kind); stop it first or \
                 choose another socket path",
                path.display()
            ),
            BindError::NotSocket { path, what } => write!(
                f,
                "{} is {what}, not a socket, and was left alone; move it away or choose another socket path",
                path.display()
            ),
            BindError::NotOurs { path, uid } => {
                write!(f, "{} is a socket of user {uid} and was left alone; choose another socket path", path.display())
            }
            BindError::Io { path, doing, source } => write!(f, "cannot {doing} socket {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::Folder { source, .. } | BindError::Io { source, .. } => Some(source),
            BindError::Lock(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LockError> for BindError {
    fn from(error: LockError) -> BindError {
        BindError::Lock(error)
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

/// Makes the missing folders above `path`, 0700; what is there keeps its mode.
fn make_parent(path: &Path) -> Result<(), BindError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(parent)
        .map_err(|source| BindError::Folder { path: parent.into(), source })
}

/// Sees that nothing is at `path`, removing a socket of user `own` whose daemon is dead. Only for who
/// holds the path's lock.
fn clear_stale(path: &Path, address: &Address, own: u32) -> Result<(), BindError> {
    let failed = |doing, source| BindError::Io { path: path.into(), doing, source };
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed("look at", e)),
    };
    if !about.file_type().is_socket() {
        return Err(BindError::NotSocket { path: path.into(), what: kind_of(&about) });
    }
    if about.uid() != own {
        return Err(BindError::NotOurs { path: path.into(), uid: about.uid() });
    }
    match knock(address).map_err(|e| failed("try whether a daemon answers at", e))? {
        Answer::Somebody => Err(BindError::InUse { path: path.into() }),
        Answer::Nobody => {
            let removal = FileId::of(&about).remove_at(path).map_err(|e| failed("remove the stale", e))?;
            if removal == Removal::Removed {
                log::info!("removed the stale socket {}", path.display());
            }
            Ok(())
        }
    }
}

fn kind_of(about: &fs::Metadata) -> &'static str {
    let kind = about.file_type();
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_file() {
        "a plain file"
    } else {
        "a special file"
    }
}

enum Answer {
    Somebody,
    Nobody,
}

/// Does anybody listen there? Never waits: a daemon too busy to accept is alive all the same.
fn knock(address: &Address) -> io::Result<Answer> {
    let mut refusals = 0;
    loop {
        let Err(e) = socket::connect(socket::stream()?, address) else { return Ok(Answer::Somebody) };
        match e.raw_os_error() {
            // Its backlog is full; or it is a socket of another type, whose owner lives.
            Some(libc::EAGAIN | libc::EINPROGRESS | libc::EPROTOTYPE) => return Ok(Answer::Somebody),
            Some(libc::ECONNREFUSED) => {
                refusals += 1;
                // macOS refuses with a full backlog too, so one refusal proves nothing there.
                if cfg!(target_os = "linux") || refusals == REFUSALS {
                    return Ok(Answer::Nobody);
                }
                std::thread::sleep(REFUSAL_PAUSE);
            }
            Some(libc::ENOENT) => return Ok(Answer::Nobody),
            Some(libc::EINTR) => {}
            _ => return Err(e),
        }
    }
}

/// Refusals in a row, and the pause between them, after which a socket counts as dead on macOS.
/// Picked: a daemon that accepts nothing for 150 ms and has 128 waiting is not one of ours, which
/// would hold the lock.
const REFUSALS: u32 = 4;
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);

/// Binds where nothing is, mode 0600, and does not listen yet. Between bind and chmod the mode is the
/// umask's, which lets nobody in: before listen(2) every connect(2) is refused.
fn bind_private(path: &Path, address: &Address, lock: Arc<FileLock>) -> Result<(OwnedFd, PathGuard), BindError> {
    let failed = |doing, source| BindError::Io { path: path.into(), doing, source };
    let absolute = std::path::absolute(path).map_err(|e| failed("find the absolute path of", e))?;
    let socket = socket::stream().map_err(|e| failed("make", e))?;
    socket::bind(&socket, address).map_err(|e| match e.raw_os_error() {
        // It was not there a moment ago, and daemons of this kind wait for the lock.
        Some(libc::EADDRINUSE) => BindError::InUse { path: path.into() },
        _ => failed("bind", e),
    })?;
    let about = fs::symlink_metadata(path).map_err(|e| failed("look at the new", e))?;
    if !about.file_type().is_socket() {
        return Err(BindError::NotSocket { path: path.into(), what: kind_of(&about) });
    }
    let guard = PathGuard::new(absolute, FileId::of(&about), lock);
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(|e| failed("chmod", e))?;
    Ok((socket, guard))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::process::Stdio;
    use std::sync::Barrier;

    use super::*;
    use crate::sys::testing::{self, TestProcess};

    /// A socket whose daemon is dead: bound, never listened on, closed.
    fn leave_stale(path: &Path) {
        let socket = socket::stream().unwrap();
        socket::bind(&socket, &Address::new(path).unwrap()).unwrap();
    }

    fn is_held(error: &BindError) -> bool {
        matches!(error, BindError::Lock(LockError::Held { .. }))
    }

    #[test]
    fn a_bound_socket_is_private_and_goes_when_its_listener_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/deep/a.sock");
        let listener = Listener::bind(&path).unwrap();
        assert!(!listener.is_inherited());
        assert_eq!(listener.path(), Some(path.as_path()));
        for (made, mode) in [("new", 0o700), ("new/deep", 0o700), ("new/deep/a.sock", 0o600)] {
            assert_eq!(fs::metadata(dir.path().join(made)).unwrap().mode() & 0o7777, mode, "{made}");
        }
        UnixStream::connect(&path).unwrap();
        let (socket, guard) = listener.into_parts();
        socket.accept().unwrap();
        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(guard.as_ref().unwrap().in_place().unwrap());
        drop((guard, socket));
        assert!(!path.exists());
        assert!(lock_path(&path).exists());
        drop(Listener::bind(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_folder_that_is_there_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        fs::create_dir(&there).unwrap();
        fs::set_permissions(&there, fs::Permissions::from_mode(0o751)).unwrap();
        let _listener = Listener::bind(&there.join("a.sock")).unwrap();
        assert_eq!(fs::metadata(&there).unwrap().mode() & 0o7777, 0o751);
        fs::write(there.join("file"), "").unwrap();
        assert!(matches!(Listener::bind(&there.join("file/a.sock")), Err(BindError::Folder { .. })));
    }

    #[test]
    fn a_relative_path_is_guarded_by_its_absolute_one() {
        let dir = tempfile::tempdir().unwrap();
        let up = std::env::current_dir().unwrap().components().skip(1).map(|_| "..").collect::<PathBuf>();
        let relative = up.join(dir.path().strip_prefix("/").unwrap()).join("a.sock");
        let listener = Listener::bind(&relative).unwrap();
        assert!(relative.is_relative() && listener.path().unwrap().is_absolute());
        drop(listener);
        assert!(!relative.exists());
    }

    #[test]
    fn a_path_too_long_is_refused_with_both_numbers_before_anything_is_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("x".repeat(socket::MAX_PATH_BYTES));
        let bytes = path.as_os_str().len();
        let error = Listener::bind(&path).unwrap_err();
        let fault = PathFault::TooLong { bytes, limit: socket::MAX_PATH_BYTES };
        assert!(matches!(&error, BindError::Path { fault: said, .. } if *said == fault), "{error}");
        assert!(error.to_string().contains(&format!("has {bytes} bytes")), "{error}");
        assert!(!dir.path().join("new").exists());
    }

    #[test]
    fn a_stale_socket_is_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        leave_stale(&path);
        let _listener = Listener::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn whatever_else_lies_there_is_said_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "kept").unwrap();
        fs::create_dir(at("folder")).unwrap();
        leave_stale(&at("target"));
        symlink(at("target"), at("link")).unwrap();
        let _alive = UnixListener::bind(at("alive")).unwrap();
        let _datagram = UnixDatagram::bind(at("datagram")).unwrap();
        for (name, said) in [
            ("file", "is a plain file, not a socket"),
            ("folder", "is a folder, not a socket"),
            ("link", "is a symbolic link, not a socket"),
            ("alive", "another program listens at"),
            ("datagram", "another program listens at"),
        ] {
            let before = fs::symlink_metadata(at(name)).unwrap();
            let error = Listener::bind(&at(name)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(at(name).to_str().unwrap()), "{name}: {error}");
            let after = fs::symlink_metadata(at(name)).unwrap();
            assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()), "{name}");
            // Nothing is left of the attempt that would keep the next one out.
            assert!(!is_held(&Listener::bind(&at(name)).unwrap_err()), "{name}");
        }
        assert!(at("target").exists());
        UnixStream::connect(at("alive")).unwrap();

        let address = Address::new(&at("target")).unwrap();
        let error = clear_stale(&at("target"), &address, own_uid() + 1).unwrap_err();
        assert!(matches!(error, BindError::NotOurs { uid, .. } if uid == own_uid()), "{error}");
        assert!(at("target").exists());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_daemon_too_busy_to_accept_is_alive_and_asking_it_does_not_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let address = Address::new(&path).unwrap();
        let busy = socket::stream().unwrap();
        socket::bind(&busy, &address).unwrap();
        socket::listen(&busy, 0).unwrap();
        let mut waiting = Vec::new();
        let full = loop {
            let client = socket::stream().unwrap();
            match socket::connect(&client, &address) {
                Ok(()) => waiting.push(client),
                Err(e) => break e,
            }
        };
        assert_eq!(full.raw_os_error(), Some(libc::EAGAIN));
        assert!(matches!(Listener::bind(&path), Err(BindError::InUse { .. })));
        assert!(path.exists());
    }

    #[test]
    fn of_many_threads_at_once_exactly_one_wins_a_stale_or_free_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        for round in 0..150 {
            if round % 3 != 0 {
                leave_stale(&path);
            }
            let start = Barrier::new(8);
            let outcomes: Vec<_> = std::thread::scope(|scope| {
                let starters: Vec<_> = (0..8)
                    .map(|_| {
                        scope.spawn(|| {
                            start.wait();
                            Listener::bind(&path)
                        })
                    })
                    .collect();
                starters.into_iter().map(|starter| starter.join().unwrap()).collect()
            });
            let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
            assert_eq!(won.len(), 1, "round {round}");
            for error in lost.into_iter().map(Result::unwrap_err) {
                assert!(is_held(&error), "round {round}: {error}");
            }
            UnixStream::connect(&path).unwrap();
            won[0].as_ref().unwrap().socket.accept().unwrap();
        }
    }

    #[test]
    fn of_many_processes_at_once_exactly_one_wins_what_a_killed_one_left() {
        const PATH: &str = "IAID_TEST_SOCKET";
        let test = "sys::listener::tests::of_many_processes_at_once_exactly_one_wins_what_a_killed_one_left";
        let child = match testing::role(test) {
            TestProcess::Parent(child) => child,
            TestProcess::Child => {
                let mut word = [0; 2];
                testing::say("here");
                io::stdin().read_exact(&mut word).unwrap();
                let outcome = Listener::bind(Path::new(&std::env::var_os(PATH).unwrap()));
                match &outcome {
                    Ok(_) => testing::say("won"),
                    Err(BindError::Lock(LockError::Held { pid, .. })) => testing::say(&format!("lost to {pid:?}")),
                    Err(error) => testing::say(&error.to_string()),
                }
                // Until the parent ends this one, by a signal or by its own end.
                let _ = io::stdin().read(&mut word);
                return;
            }
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        for round in 0..4 {
            let mut starters: Vec<_> = (0..5)
                .map(|_| {
                    let mut command = child.command();
                    command.env(PATH, &path).stdin(Stdio::piped()).stdout(Stdio::piped());
                    let mut process = command.spawn().unwrap();
                    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
                    (process, lines.flat_map(|line| testing::said(&line)))
                })
                .collect();
            for (_, said) in &mut starters {
                assert_eq!(said.next().unwrap(), "here");
            }
            for (process, _) in &mut starters {
                process.stdin.as_mut().unwrap().write_all(b"go").unwrap();
            }
            let outcomes: Vec<_> = starters.iter_mut().map(|(p, said)| (p.id(), said.next().unwrap())).collect();
            let won: Vec<_> = outcomes.iter().filter(|(_, said)| said == "won").map(|(pid, _)| *pid).collect();
            assert_eq!(won.len(), 1, "round {round}: {outcomes:?}");
            for (pid, said) in outcomes.iter().filter(|(pid, _)| *pid != won[0]) {
                // For a moment the winner has the lock and has not yet signed it.
                let known = format!("lost to {:?}", Some(won[0]));
                assert!(*said == known || said == "lost to None", "round {round}: {pid} {said}");
            }
            let late = Listener::bind(&path).unwrap_err().to_string();
            assert!(late.contains(&format!("(process {})", won[0])), "round {round}: {late}");
            for (process, _) in &mut starters {
                process.kill().unwrap();
                process.wait().unwrap();
            }
            assert!(path.exists(), "round {round}: the killed winner leaves its path");
        }
        Listener::bind(&path).unwrap();
    }

    #[test]
    fn nobody_gets_in_before_the_mode_is_0600() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let lock = FileLock::acquire(&lock_path(&path)).unwrap();
        let (_socket, _guard) = bind_private(&path, &Address::new(&path).unwrap(), lock.into()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_attempt_that_fails_after_bind_leaves_no_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let lock = FileLock::acquire(&lock_path(&path)).unwrap();
        drop(bind_private(&path, &Address::new(&path).unwrap(), lock.into()).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn numbers_that_are_no_listening_unix_socket_are_refused() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let null = fs::File::open("/dev/null").unwrap();
        for (fd, why) in [
            (-1, FdFault::Negative),
            (i32::MIN, FdFault::Negative),
            (0, FdFault::Standard),
            (2, FdFault::Standard),
            (i32::MAX, FdFault::Closed),
            (tcp.as_raw_fd(), FdFault::NotUnix),
            (null.as_raw_fd(), FdFault::NotSocket),
        ] {
            assert_eq!(Listener::from_fd(fd).unwrap_err(), InvalidFd { fd, why });
        }
    }

    #[test]
    fn a_number_taken_over_twice_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let original = UnixListener::from(testing::without_close_on_exec(UnixListener::bind(&path).unwrap()));
        let mode = fs::metadata(&path).unwrap().mode();
        let one = Listener::from_fd(original.as_raw_fd()).unwrap();
        let two = Listener::from_fd(original.as_raw_fd()).unwrap();
        assert!(one.is_inherited() && one.path().is_none());
        assert_ne!(one.as_fd().as_raw_fd(), original.as_raw_fd());
        assert_eq!(testing::state_of(one.as_fd().as_raw_fd()), "ours");
        assert_eq!(testing::state_of(original.as_raw_fd()), "ours");
        UnixStream::connect(&path).unwrap();
        let (socket, guard) = one.into_parts();
        assert!(guard.is_none());
        socket.accept().unwrap();
        assert_eq!(socket.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop((socket, two));
        assert_eq!(fs::metadata(&path).unwrap().mode(), mode);
        UnixStream::connect(&path).unwrap();
        original.accept().unwrap();
    }
}
