//! System calls that the standard library does not have: passing descriptors, out-of-band bytes, and the limits and
//! socket options of another process.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::net::UnixStream;

/// Sends `bytes` with a duplicate of `passed` (SCM_RIGHTS, unix(7)). Returns the number of bytes sent.
pub fn send_with_descriptor(stream: &UnixStream, bytes: &[u8], passed: &impl AsFd) -> io::Result<usize> {
    let fd: RawFd = passed.as_fd().as_raw_fd();
    // Larger than one header with one descriptor, and aligned for it.
    let mut control = [0_u64; 8];
    let mut span = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are a value of msghdr; all buffers live over the call; the control buffer
    // has space for the header and its descriptor.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut span;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as libc::c_uint) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as libc::c_uint) as _;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
        libc::sendmsg(stream.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sends one out-of-band byte. Returns false if the kernel does not support that on Unix sockets.
pub fn send_out_of_band(stream: &UnixStream, byte: u8) -> bool {
    // SAFETY: the byte lives over the call and has the length passed.
    let sent = unsafe { libc::send(stream.as_raw_fd(), (&raw const byte).cast(), 1, libc::MSG_OOB) };
    assert!(sent == 1 || io::Error::last_os_error().raw_os_error() == Some(libc::EOPNOTSUPP));
    sent == 1
}

/// Sets the soft limit of the process's descriptors, and returns the old one.
#[cfg(target_os = "linux")]
pub fn limit_descriptors(pid: u32, soft: u64) -> u64 {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    // SAFETY: null means nothing is set; the struct lives over the call.
    let read = unsafe { libc::prlimit64(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut limit) };
    assert_eq!(read, 0, "{}", io::Error::last_os_error());
    let before = std::mem::replace(&mut limit.rlim_cur, soft);
    // SAFETY: the struct lives over the call; null means nothing is read.
    let set = unsafe { libc::prlimit64(pid, libc::RLIMIT_NOFILE, &raw const limit, std::ptr::null_mut()) };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
    before
}

/// Returns the processor time that a process has used so far, in nanoseconds, threads that have ended included
/// (clock_getcpuclockid(3)).
#[cfg(target_os = "linux")]
pub fn processor_time_ns(pid: u32) -> u64 {
    let pid = libc::pid_t::try_from(pid).expect("a pid");
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    // SAFETY: the identifier lives over the call.
    assert_eq!(unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) }, 0, "the process runs");
    // SAFETY: the struct lives over the call.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0, "{}", io::Error::last_os_error());
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Makes a socket's send buffer as small as the kernel allows (SO_SNDBUF, socket(7)).
#[cfg(target_os = "linux")]
pub fn shrink_send_buffer(socket: &impl AsFd) {
    let least: libc::c_int = 0;
    // SAFETY: the value lives over the call and has the size passed.
    let set = unsafe {
        let size = size_of::<libc::c_int>() as libc::socklen_t;
        let fd = socket.as_fd().as_raw_fd();
        libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_SNDBUF, (&raw const least).cast(), size)
    };
    assert_eq!(set, 0, "{}", io::Error::last_os_error());
}

/// Does the same for each socket of a child process, through duplicates of its descriptors
/// (pidfd_getfd(2)). Returns the number of sockets.
#[cfg(target_os = "linux")]
pub fn shrink_peers_send_buffers(pid: u32) -> usize {
    let pid_fd = owned(|| {
        // SAFETY: takes numbers alone.
        unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }
    });
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let is_socket = |path: &std::path::Path| {
        std::fs::read_link(path).is_ok_and(|target| target.to_string_lossy().starts_with("socket:"))
    };
    let sockets = folder.flatten().filter(|entry| is_socket(&entry.path()));
    sockets
        .map(|entry| {
            let number: RawFd = entry.file_name().to_str().and_then(|n| n.parse().ok()).expect("a number");
            shrink_send_buffer(&owned(|| {
                // SAFETY: takes numbers alone.
                unsafe { libc::syscall(libc::SYS_pidfd_getfd, pid_fd.as_raw_fd(), number, 0) }
            }));
        })
        .count()
}

/// Returns the descriptor that this call creates.
#[cfg(target_os = "linux")]
fn owned(call: impl FnOnce() -> libc::c_long) -> std::os::fd::OwnedFd {
    let fd = call();
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel has just created it, and nothing else owns it.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(RawFd::try_from(fd).expect("a descriptor")) }
}
