//! Checks that a descriptor opened by another process is a listening Unix stream socket. The descriptor is not changed.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, RawFd};

use super::socket;

/// A descriptor that is not a listening Unix stream socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidFd {
    /// The number under which it was passed.
    pub fd: RawFd,
    /// What is wrong with it.
    pub why: FdFault,
}

/// What is wrong with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdFault {
    /// A negative number.
    Negative,
    /// 0 to 2: standard input, output or error, which other code uses.
    Standard,
    /// No descriptor of this number is open.
    Closed,
    /// Not a socket, but for instance a file or a pipe.
    NotSocket,
    /// A socket of another family, such as TCP.
    NotUnix,
    /// A datagram or sequenced-packet socket.
    NotStream,
    /// A connected socket, or one on which listen(2) was not called.
    NotListening,
    /// A system call failed with this errno.
    Os(i32),
}

/// Checks that `fd`, which was passed as `number`, is a listening Unix stream socket.
///
/// # Errors
/// The first fault found: all but [`FdFault::Negative`], [`FdFault::Standard`] and [`FdFault::Closed`].
pub(crate) fn check(fd: impl AsFd, number: RawFd) -> Result<(), InvalidFd> {
    let invalid = |why| InvalidFd { fd: number, why };
    let fd = fd.as_fd();
    // EBADF: opened with O_PATH.
    let kind = socket::option(fd, libc::SO_TYPE).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOTSOCK | libc::EBADF) => invalid(FdFault::NotSocket),
        _ => invalid(FdFault::os(&e)),
    })?;
    if socket::family(fd).map_err(|e| invalid(FdFault::os(&e)))? != libc::AF_UNIX {
        return Err(invalid(FdFault::NotUnix));
    }
    if kind != libc::SOCK_STREAM {
        return Err(invalid(FdFault::NotStream));
    }
    match socket::option(fd, libc::SO_ACCEPTCONN) {
        Ok(0) => Err(invalid(FdFault::NotListening)),
        Ok(_) => Ok(()),
        // macOS has the constant but not the option. A connected socket can be recognized there; one on which
        // listen(2) was not called fails at the first accept(2), with EINVAL.
        Err(e) if cfg!(target_os = "macos") && e.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            if socket::is_connected(fd) { Err(invalid(FdFault::NotListening)) } else { Ok(()) }
        }
        Err(e) => Err(invalid(FdFault::os(&e))),
    }
}

impl FdFault {
    pub(crate) fn os(error: &io::Error) -> FdFault {
        FdFault::Os(error.raw_os_error().unwrap_or_default())
    }
}

impl fmt::Display for InvalidFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InvalidFd { fd, why } = self;
        match why {
            FdFault::Negative => write!(f, "descriptor {fd} is negative; pass the socket as 3 or higher"),
            FdFault::Standard => {
                write!(f, "descriptor {fd} is standard input, output or error; pass the socket as 3 or higher")
            }
            FdFault::Closed => {
                write!(f, "descriptor {fd} is not open; the process that starts the daemon must pass it")
            }
            FdFault::NotSocket => write!(f, "descriptor {fd} is not a socket; {WANTED}"),
            FdFault::NotUnix => write!(f, "descriptor {fd} is a socket, but not a Unix socket; {WANTED}"),
            FdFault::NotStream => write!(f, "descriptor {fd} is a Unix socket, but not a stream socket; {WANTED}"),
            FdFault::NotListening => {
                write!(f, "descriptor {fd} is a Unix stream socket that is not listening; {WANTED}")
            }
            FdFault::Os(errno) => {
                write!(f, "descriptor {fd} cannot be used: {}", io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

const WANTED: &str = "pass a listening Unix stream socket";

impl std::error::Error for InvalidFd {}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;
    use crate::sys::socket::Address;

    #[test]
    fn each_kind_of_descriptor_has_its_own_message() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let unix = UnixListener::bind(at("listening")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let bound = socket::stream().unwrap();
        socket::bind(&bound, &Address::new(&at("bound")).unwrap()).unwrap();
        let connected = UnixStream::connect(at("listening")).unwrap();
        let cases: Vec<(OwnedFd, Option<FdFault>)> = vec![
            (unix.into(), None),
            (tcp.into(), Some(FdFault::NotUnix)),
            (udp.into(), Some(FdFault::NotUnix)),
            (UnixDatagram::unbound().unwrap().into(), Some(FdFault::NotStream)),
            (connected.into(), Some(FdFault::NotListening)),
            #[cfg(target_os = "linux")]
            (bound, Some(FdFault::NotListening)),
            (std::fs::File::open("/dev/null").unwrap().into(), Some(FdFault::NotSocket)),
            (std::io::pipe().unwrap().0.into(), Some(FdFault::NotSocket)),
        ];
        let mut said = std::collections::BTreeSet::new();
        for (fd, fault) in cases {
            let got = check(&fd, 7).err();
            assert_eq!(got, fault.map(|why| InvalidFd { fd: 7, why }));
            if let Some(invalid) = got {
                assert!(invalid.to_string().starts_with("descriptor 7 is "), "{invalid}");
                said.insert(invalid.to_string());
            }
        }
        assert_eq!(said.len(), 4);
    }
}
