//! Reads from and writes to a connected Unix stream socket without waiting.
//!
//! A peer may pass descriptors with its bytes (SCM_RIGHTS, unix(7)). They are closed, and a read that ended early
//! because of them reports that more input may be left.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The result of one read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes written to the front of the buffer; 0 at the end of input.
    pub(crate) bytes: usize,
    /// The socket held no more input at that moment, so that the next bytes cause a new edge. False
    /// if that is not certain: read again until [`io::ErrorKind::WouldBlock`].
    ///
    /// One cause of an early end of a read on Linux cannot be detected here: an out-of-band byte (MSG_OOB). While one is
    /// pending, epoll reports EPOLLPRI, and `drained` must be ignored.
    pub(crate) drained: bool,
}

/// Reads into `buffer` by recvmsg(2) without waiting, even if the socket is blocking. Passed descriptors are closed.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if there is no input, [`io::ErrorKind::InvalidInput`] if `buffer`
/// is empty (its 0 bytes would look like the end of input), or those of recvmsg(2). Retries after EINTR.
pub(crate) fn receive(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    if buffer.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the buffer is empty"));
    }
    #[cfg(target_os = "linux")]
    {
        receive_without_control(fd, buffer)
    }
    #[cfg(not(target_os = "linux"))]
    {
        receive_closing_descriptors(fd, buffer)
    }
}

/// Writes as much of the front of `bytes` as is possible without waiting, and returns its length. The socket must be
/// non-blocking: macOS ignores MSG_DONTWAIT here. Raises no SIGPIPE:
/// because of MSG_NOSIGNAL here, because of [`disable_sigpipe`] on older macOS, and because Rust's runtime ignores that
/// signal in programs whose `main` is in Rust.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if the peer's buffer is full, [`io::ErrorKind::BrokenPipe`] if
/// the peer has closed its end, or those of send(2). Retries after EINTR.
pub(crate) fn send(fd: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    let fd = fd.as_fd();
    // SAFETY: the bytes live over the call and have the length passed.
    retry(|| unsafe {
        libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT)
    })
}

/// Returns the result of setting a timeout on a socket without the error that macOS returns if the peer has closed its
/// end: what the peer sent before can still be read, and no call waits any more.
///
/// # Errors
/// The result's own error, EINVAL on macOS excepted.
pub(crate) fn unless_closed(set: io::Result<()>) -> io::Result<()> {
    match set {
        Err(e) if cfg!(target_os = "macos") && e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        set => set,
    }
}

/// Prevents writes to this socket from raising SIGPIPE: sets SO_NOSIGPIPE on
/// macOS, whose older releases ignore MSG_NOSIGNAL. Call it after accept(2). Does nothing on Linux.
///
/// # Errors
/// Those of setsockopt(2), EINVAL excepted: macOS returns it if the peer has closed its end, whose last
/// lines must still be read.
pub(crate) fn disable_sigpipe(fd: impl AsFd) -> io::Result<()> {
    #[cfg(target_os = "macos")]
    {
        let on: libc::c_int = 1;
        // SAFETY: the value lives over the call and has the size passed.
        let set = super::syscall::checked(unsafe {
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

/// Reads without a buffer for control messages: the kernel then closes passed descriptors itself and sets MSG_CTRUNC.
/// A read ends after them, so only a short read without that flag proves that the socket is drained.
#[cfg(target_os = "linux")]
fn receive_without_control(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let fd = fd.as_fd();
    let mut span = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is numbers and pointers, for which all zeroes (none) is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut span;
    message.msg_iovlen = 1;
    // SAFETY: the message, its span and the buffer live over the call, and the span is the buffer's.
    let bytes = retry(|| unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })?;
    let alone = message.msg_flags & libc::MSG_CTRUNC == 0;
    Ok(Received { bytes, drained: bytes > 0 && bytes < buffer.len() && alone })
}

/// A buffer for control messages. 4 KiB: more than the one mbuf cluster of 2 KiB in which macOS keeps a
/// message's descriptors.
#[cfg(any(not(target_os = "linux"), test))]
type Control = [u64; 512];

/// Reads with a buffer for control messages, and closes passed descriptors. macOS opens them in the receiver even
/// without such a buffer, and leaks them then. A read ends before and after them without a flag, so a short read proves
/// nothing.
#[cfg(any(not(target_os = "linux"), test))]
fn receive_closing_descriptors(fd: impl AsFd, buffer: &mut [u8]) -> io::Result<Received> {
    let fd = fd.as_fd();
    let mut control: Control = [0; 512];
    let mut span = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: msghdr is numbers and pointers, for which all zeroes (none) is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut span;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    // SAFETY: the message, its span and both buffers live over the call, each with the length
    // passed.
    let bytes = retry(|| unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) })?;
    // SAFETY: the kernel has filled the message, whose control buffer still lives.
    unsafe { close_passed(&message) };
    Ok(Received { bytes, drained: false })
}

/// Closes every descriptor that a received message passed.
///
/// # Safety
/// `message` was filled by recvmsg(2), its control buffer lives, and its descriptors have no owner yet.
#[cfg(any(not(target_os = "linux"), test))]
unsafe fn close_passed(message: &libc::msghdr) {
    use std::os::fd::{FromRawFd, OwnedFd, RawFd};

    // SAFETY: the caller's contract.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(message) };
    while !header.is_null() {
        // SAFETY: a non-null header is completely within the control buffer.
        let about = unsafe { header.read_unaligned() };
        if about.cmsg_level == libc::SOL_SOCKET && about.cmsg_type == libc::SCM_RIGHTS {
            // SAFETY: only arithmetic.
            let (data, head) = unsafe { (libc::CMSG_DATA(header), libc::CMSG_LEN(0) as usize) };
            let count = (about.cmsg_len as usize).saturating_sub(head) / size_of::<RawFd>();
            for index in 0..count {
                // SAFETY: the header is followed by `count` descriptors, by its length.
                let fd = unsafe { data.cast::<RawFd>().add(index).read_unaligned() };
                // SAFETY: the kernel has just opened this descriptor, and nothing else owns it.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        }
        // SAFETY: as for the first.
        header = unsafe { libc::CMSG_NXTHDR(message, header) };
    }
}

/// Makes a call that returns a count or -1, and repeats it while a signal interrupts it.
fn retry(mut call: impl FnMut() -> libc::ssize_t) -> io::Result<usize> {
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
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    /// Sends `bytes` with `times` copies of the descriptor of `passed`.
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
    const WAYS: [Receive; 2] = [|s, room| receive(s, room), |s, room| receive_closing_descriptors(s, room)];

    #[test]
    #[cfg(target_os = "linux")]
    fn only_a_short_read_proves_the_socket_drained() {
        let (mut theirs, ours) = pair();
        let mut room = [0; 8];
        assert_eq!(receive(&ours, &mut room).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        theirs.write_all(b"abc").unwrap();
        assert_eq!(receive(&ours, &mut room).unwrap(), Received { bytes: 3, drained: true });
        theirs.write_all(b"abcdefgh").unwrap();
        assert_eq!(receive(&ours, &mut room).unwrap(), Received { bytes: 8, drained: false });
        assert_eq!(receive(&ours, &mut []).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(receive(&ours, &mut room).unwrap(), Received { bytes: 0, drained: false });
    }

    #[test]
    fn passed_descriptors_are_closed_and_later_input_is_not_lost() {
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
                    // No read reported `drained` while input was left.
                    assert!(got.ends_with(b"ef\n") || !received.drained, "way {way}: {received:?}");
                }
                assert_eq!(got, b"0ab\ncd\nef\n", "way {way}");
                // The pipe ends when its last writer is closed in any process, so none was kept. (If
                // one were, a blocking read would wait for ever.)
                set_non_blocking(&reader);
                assert_eq!(reader.read(&mut room).unwrap(), 0, "way {way}: a descriptor is still open");
            }
        }
    }

    fn set_non_blocking(fd: &impl AsFd) {
        // SAFETY: takes numbers alone.
        crate::sys::syscall::checked(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })
            .unwrap();
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_out_of_band_byte_ends_a_read_early_and_is_seen_by_poll_only() {
        let (mut theirs, ours) = pair();
        theirs.write_all(b"ab\n").unwrap();
        // SAFETY: the byte lives over the call and has the length passed.
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
    fn a_write_never_waits_and_a_closed_peer_is_an_error() {
        let (ours, theirs) = pair();
        ours.set_nonblocking(true).unwrap();
        disable_sigpipe(&ours).unwrap();
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
