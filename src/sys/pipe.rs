//! The state of an output pipe by poll(2): whether its reader is gone, and whether a write would wait.

use std::os::fd::{AsFd, AsRawFd};

/// Returns true if this is a pipe or socket whose reader is gone; false for a file.
pub(crate) fn is_closed(out: &impl AsFd) -> bool {
    poll(out, 0) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Most bytes that a write to a pipe with free space takes without waiting: `PIPE_BUF` of pipe(7).
pub(crate) const PIECE_BYTES: usize = libc::PIPE_BUF;

/// Returns true if a write of [`PIECE_BYTES`] would not wait. Always true for a file, and for a pipe whose reader is
/// gone, where the write fails.
pub(crate) fn has_room(out: &impl AsFd) -> bool {
    poll(out, libc::POLLOUT) != 0
}

/// Returns the events that poll(2) reports now.
fn poll(out: &impl AsFd, events: libc::c_short) -> libc::c_short {
    let mut one = libc::pollfd { fd: out.as_fd().as_raw_fd(), events, revents: 0 };
    // SAFETY: one pollfd, which lives over the call; a timeout of 0 does not wait.
    let ready = unsafe { libc::poll(&raw mut one, 1, 0) };
    if ready > 0 { one.revents } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn a_closed_reader_is_noticed() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_closed(&writer));
        drop(reader);
        assert!(is_closed(&writer));
        assert!(!is_closed(&tempfile::tempfile().unwrap()));
    }

    #[test]
    fn a_pipe_has_room_until_it_is_full_and_when_its_reader_is_gone() {
        let (mut reader, mut writer) = std::io::pipe().unwrap();
        let mut held = 0;
        while has_room(&writer) {
            held += writer.write(&[0; PIECE_BYTES]).unwrap();
        }
        assert!(held >= PIECE_BYTES);
        reader.read_exact(&mut vec![0; held]).unwrap();
        assert!(has_room(&writer));
        drop(reader);
        assert!(has_room(&writer) && is_closed(&writer));
        assert!(has_room(&tempfile::tempfile().unwrap()));
    }
}
