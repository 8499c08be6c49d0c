//! Is a descriptor that someone else opened the listening Unix stream socket we need?
//!
//! An inherited descriptor is checked before it is believed, and nothing about it is changed here.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, RawFd};

use super::socket;

/// A descriptor that cannot be served from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidFd {
    /// Its number, as it was given.
    pub fd: RawFd,
    /// What is wrong with it.
    pub why: FdFault,
}

/// What can be wrong with a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdFault {
    /// A negative number.
    Negative,
    /// 0 to 2: standard input, output or error, to which other code writes without asking.
    Standard,
    /// Nothing is open under this number.
    Closed,
    /// A file, a pipe or the like.
    NotSocket,
    /// A socket of another family, such as TCP's.
    NotUnix,
    /// A datagram or sequenced-packet socket.
    NotStream,
    /// A connected socket, or one on which listen(2) was not called.
    NotListening,
    /// The operating system refused to say; an errno.
    Os(i32),
}

/// Checks that `fd`, known to its giver as `number`, is a listening Unix stream socket.
pub(super) fn check(fd: impl AsFd, number: RawFd) -> Result<(), InvalidFd> {
    let unfit = |why| InvalidFd { fd: number, why };
    let fd = fd.as_fd();
    // EBADF: opened with O_PATH, which is open and yet good for nothing.
    let kind = socket::option(fd, libc::SO_TYPE).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOTSOCK | libc::EBADF) => unfit(FdFault::NotSocket),
        _ => unfit(FdFault::os(&e)),
    })?;
    if socket::family(fd).map_err(|e| unfit(FdFault::os(&e)))? != libc::AF_UNIX {
        return Err(unfit(FdFault::NotUnix));
    }
    if kind != libc::SOCK_STREAM {
        return Err(unfit(FdFault::NotStream));
    }
    match socket::option(fd, libc::SO_ACCEPTCONN) {
        Ok(0) => Err(unfit(FdFault::NotListening)),
        Ok(_) => Ok(()),
        // macOS has the constant and refuses to answer by it. A connected socket can be told there
        // still; one that never listened shows at the first accept(2), with EINVAL.
        Err(e) if cfg!(target_os = "macos") && e.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            if socket::is_connected(fd) { Err(unfit(FdFault::NotListening)) } else { Ok(()) }
        }
        Err(e) => Err(unfit(FdFault::os(&e))),
    }
}

impl FdFault {
    pub(super) fn os(error: &io::Error) -> FdFault {
        FdFault::Os(error.raw_os_error().unwrap_or_default())
    }
}

impl fmt::Display for InvalidFd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InvalidFd { fd, why } = self;
        match why {
            FdFault::Negative => write!(f, "descriptor {fd} cannot exist: the numbers start at 3 here"),
            FdFault::Standard => write!(
                f,
                "descriptor {fd} is one of standard input, output and error; hand the socket over as 3 or higher"
            ),
            FdFault::Closed => write!(f, "descriptor {fd} is not open; whoever starts the daemon must hand it over"),
            FdFault::NotSocket => write!(f, "descriptor {fd} is no socket; {WANTED}"),
            FdFault::NotUnix => write!(f, "descriptor {fd} is a socket, but no Unix one; {WANTED}"),
            FdFault::NotStream => write!(f, "descriptor {fd} is a Unix socket, but no stream; {WANTED}"),
            FdFault::NotListening => {
                write!(f, "descriptor {fd} is a Unix stream socket that does not listen; {WANTED}")
            }
            FdFault::Os(errno) => {
                write!(f, "descriptor {fd} cannot be used: {}", io::Error::from_raw_os_error(*errno))
            }
        }
    }
}

const WANTED: &str = "hand over a listening Unix stream socket";

impl std::error::Error for InvalidFd {}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;
    use crate::sys::socket::Address;

    #[test]
    fn each_kind_of_descriptor_has_its_own_sentence() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let unix = UnixListener::bind(at("listening")).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let tcp_stream = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        let bound = socket::stream().unwrap();
        socket::bind(&bound, &Address::new(&at("bound")).unwrap()).unwrap();
        let connected = UnixStream::connect(at("listening")).unwrap();
        let cases: Vec<(OwnedFd, Option<FdFault>)> = vec![
            (unix.into(), None),
            (tcp.into(), Some(FdFault::NotUnix)),
            (tcp_stream.into(), Some(FdFault::NotUnix)),
            (UnixDatagram::unbound().unwrap().into(), Some(FdFault::NotStream)),
            (connected.into(), Some(FdFault::NotListening)),
            #[cfg(target_os = "linux")]
            (bound, Some(FdFault::NotListening)),
            (std::fs::File::open("/dev/null").unwrap().into(), Some(FdFault::NotSocket)),
            (std::io::pipe().unwrap().0.into(), Some(FdFault::NotSocket)),
        ];
        let mut said = std::collections::BTreeSet::new();
        for (fd, misfit) in cases {
            let got = check(&fd, 7).err();
            assert_eq!(got, misfit.map(|why| InvalidFd { fd: 7, why }));
            if let Some(unfit) = got {
                assert!(unfit.to_string().starts_with("descriptor 7 is "), "{unfit}");
                said.insert(unfit.to_string());
            }
        }
        assert_eq!(said.len(), 4);
    }
}
