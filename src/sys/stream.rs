//! Reading from and writing to a connected Unix stream socket, without ever waiting.
//!
//! A peer may pass descriptors along with its bytes (SCM_RIGHTS, unix(7)). Nobody here wants them:
//! they are closed, and never let a read end early without saying so. What the bytes mean, and when
//! to come back, is the caller's.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes put at the front of the room; 0 is the end of input.
    pub bytes: usize,
    /// The socket held no more at that moment, so that the next bytes come with a new edge. False
    /// where that is not proven: read again until [`io::ErrorKind::WouldBlock`].
    ///
    /// One thing ends a read early on Linux and cannot be seen here: a byte that the peer sent out of
    /// band (MSG_OOB). While one is pending, epoll reports EPOLLPRI; do not believe `drained` then.
    pub drained: bool,
}

/// Reads into `room` by recvmsg(2), never waiting, whatever the socket's own mode. Descriptors that
/// came along are closed.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where nothing is there, [`io::ErrorKind::InvalidInput`] where `room`
/// is empty (its 0 bytes would look like the end), or what the socket says. EINTR is tried again.
pub fn receive(fd: impl AsFd, room: &mut [u8]) -> io::Result<Received> {
    if room.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "no room to read into"));
    }
    #[cfg(target_os = "linux")]
    {
        without_control(fd, room)
    }
    #[cfg(not(target_os = "linux"))]
    {
        closing_descriptors(fd, room)
    }
}

/// Writes the front of `bytes`, never waiting, and says how many bytes went. No SIGPIPE: by
/// MSG_NOSIGNAL here, by [`quiet`] on older macOS, and Rust's runtime ignores that signal in programs
/// whose `main` is Rust's.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] where the peer's buffer is full, [`io::ErrorKind::BrokenPipe`] where
/// the peer has gone, or what the socket says. EINTR is tried again.
pub fn send(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd();
    // SAFETY: the bytes live over the call and have the length said.
    retried(|| unsafe {
        libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    })
}

/// Keeps writes to this socket from raising SIGPIPE where [`send`] alone cannot: SO_NOSIGPIPE on
/// macOS, whose older releases ignore MSG_NOSIGNAL. Call it after accept(2). Nothing to do on Linux.
///
/// # Errors
/// What the socket says, but for EINVAL: macOS says so of a peer that has gone already, whose last
/// lines are to be read all the same.
pub fn quiet(fd: impl AsFd) -> io::Result<()> {
    #[cfg(target_os = "macos")]
    {
        let on: libc::c_int = 1;
        // SAFETY: the value lives over the call and has the size said.
        let set = super::checked(unsafe {
            libc::setsockopt(
                fd.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NOSIGPIPE,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        });
        match set {
            Err(e) if e.raw_os_error() != Some(libc::EINVAL) => return Err(e),
            _ => {}
        }
    }
    #[cfg(not(target_os = "macos"))]
    let _ = fd;
    Ok(())
}

/// With no room for control messages the kernel itself closes descriptors that came along, and says
/// so by MSG_CTRUNC. A read ends behind them, so only a short one without them proves that nothing
/// is left.
#[cfg(target_os = "linux")]
fn without_control(fd: impl AsFd, room: &mut [u8]) -> io::Result<Received> {
    let fd = fd.as_fd();
    let mut span = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: msghdr is numbers and pointers, for which all zeroes (none) is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut span;
    message.msg_iovlen = 1;
    // SAFETY: the message, its span and the room live over the call, and the span is the room's.
    let bytes = retried(|| unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })?;
    let alone = message.msg_flags & libc::MSG_CTRUNC == 0;
    Ok(Received { bytes, drained: bytes > 0 && bytes < room.len() && alone })
}

/// Room for control messages. 4 KiB: more than the one mbuf cluster of 2 KiB in which macOS keeps a
/// message's descriptors.
#[cfg(any(not(target_os = "linux"), test))]
type Control = [u64; 512];

/// macOS opens passed descriptors in the receiver even where it has no room for them, and forgets
/// them there. So they are received, and closed. A read ends before them as well as behind, unseen:
/// a short one proves nothing.
#[cfg(any(not(target_os = "linux"), test))]
fn closing_descriptors(fd: impl AsFd, room: &mut [u8]) -> io::Result<Received> {
    let fd = fd.as_fd();
    let mut control: Control = [0; 512];
    let mut span = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: msghdr is numbers and pointers, for which all zeroes (none) is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut span;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: the message, its span, the room and the control buffer live over the call, each with
    // the length said.
    let bytes = retried(|| unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })?;
    // SAFETY: the kernel has filled the message, whose control buffer still lives.
    unsafe { close_passed(&message) };
    Ok(Received { bytes, drained: false })
}

/// Closes every descriptor that a received message brought.
///
/// # Safety
/// `message` was filled by recvmsg(2), its control buffer lives, and this is its first reading.
#[cfg(any(not(target_os = "linux"), test))]
unsafe fn close_passed(message: &libc::msghdr) {
    use std::os::fd::{FromRawFd, OwnedFd, RawFd};

    // SAFETY: the caller's word.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: a non-null header lies whole within the control buffer.
        let about = unsafe { header.read_unaligned() };
        if about.cmsg_level == libc::SOL_SOCKET && about.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: only arithmetic.
            let (data, head) = unsafe { (libc::CMSG_DATA(header), libc::CMSG_LEN(0) as usize) };
            let count = (about.cmsg_len as usize).saturating_sub(head) / size_of::<RawFd>();
            for place in 0..count {
                // SAFETY: the header says that so many descriptors stand behind it.
                let fd = unsafe { data.cast::<RawFd>().add(place).read_unaligned() };
                // SAFETY: the kernel has just opened this descriptor for us alone.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: as for the first.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}

/// A call that returns a count or -1, made again as long as a signal interrupts it.
fn retried(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
    loop {
        if let Ok(count) = usize::try_from(call()) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    /// Sends `bytes` with the descriptor of `passed` along, `times` over.
    fn send_with(stream: &UnixStream, bytes: &[u8], passed: &impl AsFd, times: usize) {
        let numbers = vec![passed.as_fd().as_raw_fd(); times];
        let mut control: Control = [0; 512];
        let mut span = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let payload = size_of_val(&numbers[..]) as libc::c_uint;
        // SAFETY: zeroes are a value of msghdr; the control buffer is larger than the one header with
        // its descriptors, and all of it lives over the call.
        let sent = unsafe {
            let mut message: libc::msghdr = std::mem::zeroed();
            message.msg_iov = &raw mut span;
            message.msg_iovlen = 1;
            message.msg_control = (&raw mut control).cast();
            message.msg_controllen = libc::CMSG_SPACE(payload) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(payload) as _;
            libc::CMSG_DATA(header).copy_from_nonoverlapping(numbers.as_ptr().cast(), payload as usize);
            libc::sendmsg(stream.as_raw_fd(), &raw const message, 0)
        };
        assert_eq!(sent, bytes.len() as isize, "{}", io::Error::last_os_error());
    }

    type Receive = fn(&UnixStream, &mut [u8]) -> io::Result<Received>;

    /// The way of this system, and the way of the others, which works here too.
    const WAYS: [Receive; 2] = [|s, room| receive(s, room), |s, room| closing_descriptors(s, room)];

    #[test]
    #[cfg(target_os = "linux")]
    fn only_a_short_read_proves_the_socket_empty() {
        let (mut theirs, ours) = pair();
        let mut room = [0; 8];
        assert_eq!(receive(&ours, &mut room).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        theirs.write_all(b"abc").unwrap();
        assert_eq!(receive(&ours, &mut room).unwrap(), Received { bytes: 3, drained: true });
        theirs.write_all(b"abcdefgh").unwrap();
        assert_eq!(receive(&ours, &mut room).unwrap(), Received { bytes: 8, drained: false });
        assert_eq!(receive(&ours, &mut []).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        theirs.shutdown(Shutdown::Write).unwrap();
        assert_eq!(receive(&ours, &mut room).unwrap(), Received { bytes: 0, drained: false });
    }

    #[test]
    fn descriptors_passed_along_are_closed_and_what_is_behind_them_is_not_lost() {
        for (way, receive) in WAYS.iter().enumerate() {
            for times in [1, 200] {
                let (mut theirs, ours) = pair();
                let (mut reader, passed) = std::io::pipe().unwrap();
                theirs.write_all(b"0").unwrap();
                send_with(&theirs, b"ab\n", &passed, times);
                theirs.write_all(b"cd\n").unwrap();
                send_with(&theirs, b"ef\n", &passed, times);
                drop((passed, theirs));
                let mut got = Vec::new();
                let mut room = [0; 64];
                loop {
                    let received = receive(&ours, &mut room).unwrap();
                    got.extend_from_slice(&room[..received.bytes]);
                    if received.bytes == 0 {
                        break;
                    }
                    // While anything was left, no read said otherwise.
                    assert!(got.ends_with(b"ef\n") || !received.drained, "way {way}: {received:?}");
                }
                assert_eq!(got, b"0ab\ncd\nef\n", "way {way}");
                // The pipe ends when its last writer is closed, wherever that is: none was kept. (Were
                // one, this would wait for ever; so it asks without waiting.)
                set_non_blocking(&reader);
                assert_eq!(reader.read(&mut room).unwrap(), 0, "way {way}: a descriptor is still open");
            }
        }
    }

    fn set_non_blocking(fd: &impl AsFd) {
        // SAFETY: takes numbers alone.
        super::super::checked(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) }).unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_out_of_band_byte_ends_a_read_early_and_shows_in_poll_alone() {
        let (mut theirs, ours) = pair();
        theirs.write_all(b"ab\n").unwrap();
        // SAFETY: the byte lives over the call and has the length said.
        let sent = unsafe { libc::send(theirs.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        if sent == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EOPNOTSUPP) {
            return crate::sys::skip::skipped(
                "the kernel has no out-of-band bytes on Unix sockets (CONFIG_AF_UNIX_OOB)",
            );
        }
        assert_eq!(sent, 1);
        theirs.write_all(b"cd\n").unwrap();
        let mut asked = libc::pollfd { fd: ours.as_raw_fd(), events: libc::POLLIN | libc::POLLPRI, revents: 0 };
        // SAFETY: one struct, which lives over the call.
        assert_eq!(unsafe { libc::poll(&raw mut asked, 1, 0) }, 1);
        assert_ne!(asked.revents & libc::POLLPRI, 0);
        let mut room = [0; 64];
        let mut got = Vec::new();
        while let Ok(received) = receive(&ours, &mut room) {
            got.extend_from_slice(&room[..received.bytes]);
        }
        assert_eq!(got, b"ab\ncd\n");
    }

    #[test]
    fn a_write_never_waits_and_a_gone_peer_is_an_error() {
        let (ours, theirs) = pair();
        quiet(&ours).unwrap();
        let chunk = vec![7; 1 << 20];
        let mut sent = 0;
        let full = loop {
            match send(&ours, &chunk) {
                Ok(bytes) => sent += bytes,
                Err(e) => break e,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
        assert!(sent > 0);
        drop(theirs);
        assert!(matches!(
            send(&ours, b"x").unwrap_err().kind(),
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
        ));
        assert!(send(File::open("/dev/null").unwrap(), b"x").is_err());
    }
}
