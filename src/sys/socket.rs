//! System calls of Unix stream sockets: address, creation, bind, connect, listen, and the type of a descriptor.
//!
//! Each function makes one system call; `listener.rs` has the order and the rules.

use std::ffi::c_int;
use std::fmt;
use std::io;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::syscall::checked;

/// Longest path of a Unix socket in bytes: `sun_path` without its NUL, 107 on Linux and 103 on macOS
/// (unix(7), unix(4)).
pub(crate) const MAX_PATH_BYTES: usize = size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;

/// Why a path cannot be a socket's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// It is empty or ends in a slash, so it does not name a file.
    NoName,
    /// It holds a NUL byte.
    Nul,
    /// It is longer than the platform's `sun_path`.
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest length.
        limit: usize,
    },
}

impl fmt::Display for PathFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PathFault::NoName => {
                f.write_str("does not name a file; give the path of the socket itself, such as DIR/daemon.sock")
            }
            PathFault::Nul => f.write_str("contains a NUL byte"),
            PathFault::TooLong { bytes, limit } => write!(
                f,
                "has {bytes} bytes, but a Unix socket's path may have at most {limit}; choose a shorter path, or one \
                 relative to the working directory"
            ),
        }
    }
}

/// A path as a socket address.
pub(crate) struct Address {
    raw: libc::sockaddr_un,
}

impl Address {
    pub(crate) fn new(path: &Path) -> Result<Address, PathFault> {
        let bytes = path.as_os_str().as_bytes();
        if bytes.is_empty() || bytes.ends_with(b"/") {
            return Err(PathFault::NoName);
        }
        if bytes.contains(&0) {
            return Err(PathFault::Nul);
        }
        if bytes.len() > MAX_PATH_BYTES {
            return Err(PathFault::TooLong { bytes: bytes.len(), limit: MAX_PATH_BYTES });
        }
        // SAFETY: sockaddr_un is plain numbers, for which all zeroes is a value.
        let mut raw: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        raw.sun_family = libc::AF_UNIX as libc::sa_family_t;
        #[cfg(target_os = "macos")]
        {
            raw.sun_len = size_of::<libc::sockaddr_un>() as u8;
        }
        for (slot, byte) in raw.sun_path.iter_mut().zip(bytes) {
            *slot = *byte as libc::c_char;
        }
        Ok(Address { raw })
    }

    fn pointer(&self) -> *const libc::sockaddr {
        (&raw const self.raw).cast()
    }
}

/// The size of the whole struct; the path in it ends at its first NUL.
const ADDRESS_BYTES: libc::socklen_t = size_of::<libc::sockaddr_un>() as libc::socklen_t;

/// Creates a Unix stream socket, close-on-exec and non-blocking.
pub(crate) fn stream() -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    #[cfg(not(target_os = "linux"))]
    let kind = libc::SOCK_STREAM;
    // SAFETY: takes numbers alone.
    let fd = checked(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    #[cfg(not(target_os = "linux"))]
    {
        set_close_on_exec(fd.as_raw_fd())?;
        let flags = flags(fd.as_raw_fd(), libc::F_GETFL, 0)?;
        self::flags(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)?;
    }
    Ok(fd)
}

/// bind(2): creates the path's file.
pub(crate) fn bind(socket: impl AsFd, address: &Address) -> io::Result<()> {
    // SAFETY: the address lives over the call and has the length passed.
    checked(unsafe { libc::bind(socket.as_fd().as_raw_fd(), address.pointer(), ADDRESS_BYTES) })?;
    Ok(())
}

/// connect(2).
pub(crate) fn connect(socket: impl AsFd, address: &Address) -> io::Result<()> {
    // SAFETY: the address lives over the call and has the length passed.
    checked(unsafe { libc::connect(socket.as_fd().as_raw_fd(), address.pointer(), ADDRESS_BYTES) })?;
    Ok(())
}

/// listen(2).
pub(crate) fn listen(socket: impl AsFd, backlog: c_int) -> io::Result<()> {
    // SAFETY: takes numbers alone.
    checked(unsafe { libc::listen(socket.as_fd().as_raw_fd(), backlog) })?;
    Ok(())
}

/// Duplicates `fd` as a descriptor of number `least` or higher, close-on-exec.
///
/// `fd` is a bare number because it comes from outside the process: it may not be open (EBADF).
pub(crate) fn duplicate(fd: RawFd, least: RawFd) -> io::Result<OwnedFd> {
    let new = flags(fd, libc::F_DUPFD_CLOEXEC, least)?;
    // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(new) })
}

/// Returns true if a descriptor of this number is open.
pub(crate) fn is_open(fd: RawFd) -> bool {
    flags(fd, libc::F_GETFD, 0).is_ok()
}

/// Sets close-on-exec on `fd`.
pub(crate) fn set_close_on_exec(fd: RawFd) -> io::Result<()> {
    let flags = flags(fd, libc::F_GETFD, 0)?;
    self::flags(fd, libc::F_SETFD, flags | libc::FD_CLOEXEC)?;
    Ok(())
}

/// Returns the address family, by getsockname(2), since macOS has no SO_DOMAIN.
pub(crate) fn family(socket: impl AsFd) -> io::Result<c_int> {
    // SAFETY: sockaddr_storage is plain numbers, for which all zeroes is a value.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the address and its length live over the call, and the length is the address's own.
    checked(unsafe { libc::getsockname(socket.as_fd().as_raw_fd(), (&raw mut address).cast(), &raw mut length) })?;
    Ok(c_int::from(address.ss_family))
}

/// Returns true if the socket has a peer, by getpeername(2).
pub(crate) fn is_connected(socket: impl AsFd) -> bool {
    // SAFETY: sockaddr_storage is plain numbers, for which all zeroes is a value.
    let mut address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    // SAFETY: the address and its length live over the call, and the length is the address's own.
    checked(unsafe { libc::getpeername(socket.as_fd().as_raw_fd(), (&raw mut address).cast(), &raw mut length) })
        .is_ok()
}

/// Returns an option of SOL_SOCKET whose value is an int.
pub(crate) fn option(socket: impl AsFd, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the value and its length live over the call, and the length is the value's own.
    checked(unsafe {
        libc::getsockopt(socket.as_fd().as_raw_fd(), libc::SOL_SOCKET, name, (&raw mut value).cast(), &raw mut length)
    })?;
    Ok(value)
}

pub(crate) fn flags(fd: RawFd, command: c_int, argument: c_int) -> io::Result<c_int> {
    // SAFETY: the commands used here take an int at most, and any number for a descriptor.
    checked(unsafe { libc::fcntl(fd, command, argument) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fits_or_is_refused_with_both_numbers() {
        let longest = "x".repeat(MAX_PATH_BYTES);
        let longer = "x".repeat(MAX_PATH_BYTES + 1);
        let too_long = PathFault::TooLong { bytes: MAX_PATH_BYTES + 1, limit: MAX_PATH_BYTES };
        for (path, fault) in [
            ("/tmp/a.sock", None),
            ("a.sock", None),
            (longest.as_str(), None),
            (longer.as_str(), Some(too_long)),
            ("", Some(PathFault::NoName)),
            ("/tmp/", Some(PathFault::NoName)),
            ("/tmp/a\0b", Some(PathFault::Nul)),
        ] {
            assert_eq!(Address::new(Path::new(path)).err(), fault, "{path:?}");
        }
        #[cfg(target_os = "linux")]
        assert_eq!(MAX_PATH_BYTES, 107);
        #[cfg(target_os = "macos")]
        assert_eq!(MAX_PATH_BYTES, 103);
        let said = too_long.to_string();
        assert!(
            said.contains(&(MAX_PATH_BYTES + 1).to_string()) && said.contains(&MAX_PATH_BYTES.to_string()),
            "{said}"
        );
    }

    #[test]
    fn a_new_socket_is_close_on_exec_and_non_blocking() {
        let socket = stream().unwrap();
        assert_ne!(flags(socket.as_raw_fd(), libc::F_GETFD, 0).unwrap() & libc::FD_CLOEXEC, 0);
        assert_ne!(flags(socket.as_raw_fd(), libc::F_GETFL, 0).unwrap() & libc::O_NONBLOCK, 0);
        assert_eq!(family(&socket).unwrap(), libc::AF_UNIX);
        assert_eq!(option(&socket, libc::SO_TYPE).unwrap(), libc::SOCK_STREAM);
        assert!(!is_connected(&socket));
        assert!(is_connected(std::os::unix::net::UnixStream::pair().unwrap().0));
    }
}
