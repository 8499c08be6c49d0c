//! Whether anybody still reads what this process writes: for a program that waits for something to
//! write, and would learn it only then.

use std::os::fd::{AsFd, AsRawFd};

/// Has the reader of this pipe or socket gone? False for what has none, such as a file.
pub fn is_closed(out: &impl AsFd) -> bool {
    let mut one = libc::pollfd { fd: out.as_fd().as_raw_fd(), events: 0, revents: 0 };
    // SAFETY: one pollfd, which lives over the call; a timeout of 0 does not wait.
    let ready = unsafe { libc::poll(&raw mut one, 1, 0) };
    ready > 0 && one.revents & (libc::POLLERR | libc::POLLHUP) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_goes_is_noticed() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_closed(&writer));
        drop(reader);
        assert!(is_closed(&writer));
        assert!(!is_closed(&tempfile::tempfile().unwrap()));
    }
}
