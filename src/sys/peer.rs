//! The user at the other end of a Unix stream socket, and whether that user may connect.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::syscall::checked;

/// Returns the process of the peer: for a client, that which began to listen. `None` if the system does not tell.
#[cfg(any(test, feature = "daemon"))]
pub(crate) fn peer_pid(stream: impl AsFd) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        credentials(stream).ok().and_then(|peer| u32::try_from(peer.pid).ok()).filter(|pid| *pid > 0)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stream;
        None
    }
}

#[cfg(target_os = "linux")]
fn credentials(stream: impl AsFd) -> io::Result<libc::ucred> {
    let fd = stream.as_fd().as_raw_fd();
    let mut peer = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the struct and its length live over the call, and the length is the struct's own.
    checked(unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut peer).cast(), &raw mut length)
    })?;
    Ok(peer)
}

/// Returns the effective uid of the peer at the time it connected: SO_PEERCRED (unix(7)), or
/// getpeereid(3) on macOS.
///
/// # Errors
/// Those of the system call; ENOTCONN or EINVAL on macOS if the peer has closed its end. Such a peer should not be
/// served.
pub(crate) fn peer_uid(stream: impl AsFd) -> io::Result<u32> {
    #[cfg(target_os = "linux")]
    {
        Ok(credentials(stream)?.uid)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let fd = stream.as_fd().as_raw_fd();
        let (mut uid, mut gid) = (0, 0);
        // SAFETY: both numbers live over the call.
        checked(unsafe { libc::getpeereid(fd, &raw mut uid, &raw mut gid) })?;
        Ok(uid)
    }
}

/// Returns this process's effective uid, which owns the files it creates and which peers see.
pub(crate) fn own_uid() -> u32 {
    // SAFETY: takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// Returns true if user `peer` may use a daemon of user `own`: the same user, and root, which no
/// check keeps out.
pub(crate) fn may_connect(peer: u32, own: u32) -> bool {
    peer == own || peer == 0
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_uid_of_a_peer_is_known_even_after_it_has_closed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&ours).unwrap(), own_uid());
        assert_eq!(peer_pid(&ours), cfg!(target_os = "linux").then(std::process::id));
        drop(theirs);
        if cfg!(target_os = "linux") {
            assert_eq!(peer_uid(&ours).unwrap(), own_uid());
        }
    }

    #[test]
    fn a_file_has_no_peer() {
        assert!(peer_uid(std::fs::File::open("/dev/null").unwrap()).is_err());
    }

    #[test]
    fn the_same_user_and_root_may_connect() {
        for (peer, own, may) in [
            (1000, 1000, true),
            (0, 1000, true),
            (0, 0, true),
            (1000, 0, false),
            (1001, 1000, false),
            (u32::MAX, 1000, false),
        ] {
            assert_eq!(may_connect(peer, own), may, "{peer} to {own}");
        }
    }
}
