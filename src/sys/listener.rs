//! The listening Unix stream socket of a daemon: bound by this process, or inherited from the process that started it.
//!
//! Binding replaces a stale socket without a race: only the holder of a lock file beside the path touches the path,
//! and only a socket of this user that refuses connections is removed. An inherited socket is checked and used as it
//! is: its path belongs to its owner and is never removed, chmodded or bound again. This module accepts no connections.
//!
//! Caller's contract: keep a bound listener, or its `PathGuard`, for as long as it is served.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::fd_check;
use super::lock::FileLock;
use super::path_guard::{FileId, PathGuard, Removal};
use super::peer::own_uid;
use super::private_folder;
use super::socket::{self, Address};

pub use super::bind_error::BindError;
pub use super::fd_check::{FdFault, InvalidFd};
pub use super::lock::LockError;
pub use super::socket::PathFault;

/// Connections that may wait to be accepted. 4096: the default limit of Linux (somaxconn), so that many clients that
/// start at once are not refused; macOS reduces it to 128.
const BACKLOG_COUNT: i32 = 4096;

/// A listening Unix stream socket, non-blocking and close-on-exec.
#[derive(Debug)]
pub struct Listener {
    // The order of the fields matters: a dropped listener removes its path before it closes the socket.
    guard: Option<PathGuard>,
    socket: UnixListener,
}

impl Listener {
    /// Listens at `path`: creates its directory if that is missing, takes its lock (`PATH.lock`), removes a socket that
    /// a dead daemon left, then creates, binds and chmods (0600) a socket and listens.
    ///
    /// # Errors
    /// See [`BindError`]. Any other file at the path is left alone.
    pub fn bind(path: &Path) -> Result<Listener, BindError> {
        let address = Address::new(path).map_err(|fault| BindError::Path { path: path.into(), fault })?;
        make_parent(path)?;
        let lock = FileLock::acquire(&lock_path(path))?;
        Listener::bind_locked(path, &address, Arc::new(lock))
    }

    /// Listens at `path`, whose lock is held by this process.
    fn bind_locked(path: &Path, address: &Address, lock: Arc<FileLock>) -> Result<Listener, BindError> {
        clear_stale(path, address, own_uid())?;
        let (socket, guard) = bind_private(path, address, lock)?;
        socket::listen(&socket, BACKLOG_COUNT).map_err(|source| BindError::Io {
            path: path.into(),
            doing: "listen at",
            source,
        })?;
        Ok(Listener { guard: Some(guard), socket: socket.into() })
    }

    /// Listens on descriptor number `fd`, which the process that started this one left open (`--fd N`).
    ///
    /// The listener owns a duplicate, so an owner of the number in this process keeps it, and two calls
    /// make two listeners on one socket instead of two owners of one descriptor. Close-on-exec is set
    /// on both.
    ///
    /// # Errors
    /// [`InvalidFd`] if the descriptor is not open, is 0 to 2, or is not a listening Unix stream socket.
    pub fn from_fd(fd: RawFd) -> Result<Listener, InvalidFd> {
        let invalid = |why| InvalidFd { fd, why };
        match fd {
            ..0 => return Err(invalid(FdFault::Negative)),
            0..=2 => return Err(invalid(FdFault::Standard)),
            _ => {}
        }
        let ours = socket::duplicate(fd, 3).map_err(|e| match e.raw_os_error() {
            Some(libc::EBADF) => invalid(FdFault::Closed),
            _ => invalid(FdFault::os(&e)),
        })?;
        let listener = Listener::adopt(ours, fd)?;
        socket::set_close_on_exec(fd).map_err(|e| invalid(FdFault::os(&e)))?;
        Ok(listener)
    }

    /// Listens on a descriptor that was inherited as `number`.
    pub(crate) fn adopt(fd: OwnedFd, number: RawFd) -> Result<Listener, InvalidFd> {
        let invalid = |e: io::Error| InvalidFd { fd: number, why: FdFault::os(&e) };
        fd_check::check(&fd, number)?;
        socket::set_close_on_exec(fd.as_raw_fd()).map_err(invalid)?;
        let socket = UnixListener::from(fd);
        socket.set_nonblocking(true).map_err(invalid)?;
        Ok(Listener { guard: None, socket })
    }

    /// Returns true if the socket was inherited: its owner can start the program again when a connection comes.
    pub fn is_inherited(&self) -> bool {
        self.guard.is_none()
    }

    /// Returns the bound path, absolute; `None` if the socket was inherited.
    pub fn path(&self) -> Option<&Path> {
        self.guard.as_ref().map(PathGuard::path)
    }

    /// Returns the bound path with what it takes to check it from another thread; `None` if the socket was inherited.
    pub fn bound_path(&self) -> Option<BoundPath> {
        let guard = self.guard.as_ref()?;
        Some(BoundPath {
            path: guard.path().into(),
            made: guard.made()?,
            is_removed: Arc::clone(guard.is_removed()),
            lock: Arc::clone(guard.lock()),
        })
    }

    /// Returns the socket, and the guard of its path unless it was inherited. At the end remove the path
    /// ([`PathGuard::remove`]) before closing the socket.
    pub(crate) fn into_parts(self) -> (UnixListener, Option<PathGuard>) {
        (self.socket, self.guard)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// A bound path: checks from any thread whether the socket is still there, and binds it again if not.
/// Holds the path's lock, as the listener does.
#[derive(Clone, Debug)]
pub struct BoundPath {
    path: PathBuf,
    made: FileId,
    is_removed: Arc<AtomicBool>,
    lock: Arc<FileLock>,
}

impl BoundPath {
    /// Returns the path, absolute.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns `None` if the path is still the socket that was bound, or if the daemon itself has removed it because
    /// it stops. If the path is gone otherwise, which no new client can reach, listens there again as
    /// [`Listener::bind`] does, and returns the new listener; the old one is not changed.
    ///
    /// # Errors
    /// [`BindError`] if another file is at the path, or if the path cannot be examined or bound. The file is left alone.
    pub fn rebind_if_gone(&self) -> Result<Option<Listener>, BindError> {
        let stat_failed = |source| self.failed("stat", source);
        if FileId::at(&self.path).map_err(stat_failed)? == Some(self.made) {
            return Ok(None);
        }
        // Set before the path is removed, so it is read after the path was examined.
        if self.is_removed.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let address = Address::new(&self.path).map_err(|fault| BindError::Path { path: self.path.clone(), fault })?;
        make_parent(&self.path)?;
        // If the lock file is gone too, another daemon may hold a new one.
        let lock = match self.lock.is_in_place().map_err(stat_failed)? {
            true => Arc::clone(&self.lock),
            false => Arc::new(FileLock::acquire(&lock_path(&self.path))?),
        };
        let again = Listener::bind_locked(&self.path, &address, lock)?;
        // A daemon that began to stop meanwhile has no use for it; dropping it removes the path.
        Ok((!self.is_removed.load(Ordering::SeqCst)).then_some(again))
    }

    /// Returns the error of attempting `doing` at this path.
    pub(crate) fn failed(&self, doing: &'static str, source: io::Error) -> BindError {
        BindError::Io { path: self.path.clone(), doing, source }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

/// Creates the missing directories above `path` with mode 0700. Existing ones keep their mode.
fn make_parent(path: &Path) -> Result<(), BindError> {
    let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    private_folder::create(parent).map_err(|source| BindError::Directory { path: parent.into(), source })
}

/// Returns `Ok` once nothing is at `path`: removes a socket of user `own` that refuses connections. The caller must
/// hold the path's lock.
fn clear_stale(path: &Path, address: &Address, own: u32) -> Result<(), BindError> {
    let failed = |doing, source| BindError::Io { path: path.into(), doing, source };
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed("stat", e)),
    };
    if !about.file_type().is_socket() {
        return Err(BindError::NotSocket { path: path.into(), what: kind_of(&about) });
    }
    if about.uid() != own {
        return Err(BindError::NotOurs { path: path.into(), uid: about.uid() });
    }
    match probe(address).map_err(|e| failed("probe", e))? {
        Liveness::Alive => Err(BindError::InUse { path: path.into(), by: None }),
        Liveness::Dead => {
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
        "a directory"
    } else if kind.is_file() {
        "a regular file"
    } else {
        "a special file"
    }
}

enum Liveness {
    Alive,
    Dead,
}

/// Returns whether a process listens at the address. Never waits: one that is too busy to accept counts as alive.
fn probe(address: &Address) -> io::Result<Liveness> {
    let mut refusals = 0;
    loop {
        let Err(e) = socket::connect(socket::stream()?, address) else { return Ok(Liveness::Alive) };
        match e.raw_os_error() {
            // The backlog is full, or it is a socket of another type with a living owner.
            Some(libc::EAGAIN | libc::EINPROGRESS | libc::EPROTOTYPE) => return Ok(Liveness::Alive),
            Some(libc::ECONNREFUSED) => {
                refusals += 1;
                // macOS also refuses if the backlog is full, so one refusal proves nothing there.
                if cfg!(target_os = "linux") || refusals == MAX_REFUSAL_COUNT {
                    return Ok(Liveness::Dead);
                }
                std::thread::sleep(REFUSAL_PAUSE);
            }
            Some(libc::ENOENT) => return Ok(Liveness::Dead),
            Some(libc::EINTR) => {}
            _ => return Err(e),
        }
    }
}

/// Refusals in a row, and the pause between them, after which a socket counts as dead on macOS.
/// Picked: a daemon that accepts nothing for 150 ms while 128 connections wait is not an instance of this program, which
/// would hold the lock.
const MAX_REFUSAL_COUNT: u32 = 4;
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);

/// Binds a path where nothing is, with mode 0600, and does not listen yet. Between bind and chmod the mode is the
/// umask's, which is safe: before listen(2) every connect(2) is refused.
fn bind_private(path: &Path, address: &Address, lock: Arc<FileLock>) -> Result<(OwnedFd, PathGuard), BindError> {
    let failed = |doing, source| BindError::Io { path: path.into(), doing, source };
    let absolute = std::path::absolute(path).map_err(|e| failed("make absolute the path of", e))?;
    let socket = socket::stream().map_err(|e| failed("create", e))?;
    socket::bind(&socket, address).map_err(|e| match e.raw_os_error() {
        // The path was free, and instances of this program take the lock first.
        Some(libc::EADDRINUSE) => BindError::InUse { path: path.into(), by: None },
        _ => failed("bind", e),
    })?;
    let about = fs::symlink_metadata(path).map_err(|e| failed("stat the new", e))?;
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

    /// Leaves a socket whose daemon is dead: bound, never listened on, closed.
    fn leave_stale(path: &Path) {
        let socket = socket::stream().unwrap();
        socket::bind(&socket, &Address::new(path).unwrap()).unwrap();
    }

    fn is_held(error: &BindError) -> bool {
        matches!(error, BindError::Lock(LockError::Held { .. }))
    }

    #[test]
    fn a_bound_socket_is_private_and_removed_with_its_listener() {
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
    fn an_existing_directory_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().join("there");
        fs::create_dir(&there).unwrap();
        fs::set_permissions(&there, fs::Permissions::from_mode(0o751)).unwrap();
        let _listener = Listener::bind(&there.join("a.sock")).unwrap();
        assert_eq!(fs::metadata(&there).unwrap().mode() & 0o7777, 0o751);
        fs::write(there.join("file"), "").unwrap();
        assert!(matches!(Listener::bind(&there.join("file/a.sock")), Err(BindError::Directory { .. })));
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
    fn a_path_too_long_is_refused_with_both_numbers_before_anything_is_created() {
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
    fn a_stale_socket_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        leave_stale(&path);
        let _listener = Listener::bind(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_path_that_its_daemon_has_removed_is_not_bound_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let listener = Listener::bind(&path).unwrap();
        let checked = listener.bound_path().unwrap();
        let (_socket, guard) = listener.into_parts();
        guard.unwrap().remove().unwrap();
        assert!(checked.rebind_if_gone().unwrap().is_none());
        assert!(!path.exists());
    }

    #[test]
    fn any_other_file_is_reported_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "kept").unwrap();
        fs::create_dir(at("folder")).unwrap();
        leave_stale(&at("target"));
        symlink(at("target"), at("link")).unwrap();
        let _alive = UnixListener::bind(at("alive")).unwrap();
        let _datagram = UnixDatagram::bind(at("datagram")).unwrap();
        for (name, said) in [
            ("file", "is a regular file, not a socket"),
            ("folder", "is a directory, not a socket"),
            ("link", "is a symbolic link, not a socket"),
            ("alive", "another program listens at"),
            ("datagram", "another program listens at"),
        ] {
            let before = fs::symlink_metadata(at(name)).unwrap();
            let error = Listener::bind(&at(name)).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains(at(name).to_str().unwrap()), "{name}: {error}");
            let after = fs::symlink_metadata(at(name)).unwrap();
            assert_eq!((before.ino(), before.mode()), (after.ino(), after.mode()), "{name}");
            // The failed attempt holds no lock.
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
    fn a_daemon_too_busy_to_accept_is_alive_and_probing_it_does_not_wait() {
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
    fn exactly_one_of_many_threads_binds_a_stale_or_free_path() {
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
    fn exactly_one_of_many_processes_binds_what_a_killed_one_left() {
        const PATH: &str = "IAID_TEST_SOCKET";
        let test = "sys::listener::tests::exactly_one_of_many_processes_binds_what_a_killed_one_left";
        let child = match testing::role(test) {
            TestProcess::Parent(child) => child,
            TestProcess::Child => {
                let mut word = [0; 2];
                testing::report("here");
                io::stdin().read_exact(&mut word).unwrap();
                let outcome = Listener::bind(Path::new(&std::env::var_os(PATH).unwrap()));
                match &outcome {
                    Ok(_) => testing::report("won"),
                    Err(BindError::Lock(LockError::Held { pid, .. })) => testing::report(&format!("lost to {pid:?}")),
                    Err(error) => testing::report(&error.to_string()),
                }
                // Waits until the parent kills this process or exits.
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
                    (process, lines.flat_map(|line| testing::reported(&line)))
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
                // For a moment the winner holds the lock and has not yet written its pid.
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
    fn connections_are_refused_until_the_mode_is_0600() {
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
    fn numbers_other_than_a_listening_unix_socket_are_refused() {
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
    fn a_number_adopted_twice_keeps_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let original = UnixListener::from(testing::without_close_on_exec(UnixListener::bind(&path).unwrap()));
        let mode = fs::metadata(&path).unwrap().mode();
        let one = Listener::from_fd(original.as_raw_fd()).unwrap();
        let two = Listener::from_fd(original.as_raw_fd()).unwrap();
        assert!(one.is_inherited() && one.path().is_none());
        assert_ne!(one.as_fd().as_raw_fd(), original.as_raw_fd());
        assert_eq!(testing::state_of(one.as_fd().as_raw_fd()), "close-on-exec");
        assert_eq!(testing::state_of(original.as_raw_fd()), "close-on-exec");
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
