//! Whether anybody still reads what this process writes: for a program that waits for something to
//! write, and would learn it only then; and for one that must not wait until somebody does.

use std::os::fd::{AsFd, AsRawFd};

/// Has the reader of this pipe or socket gone? False for what has none, such as a file.
pub fn is_closed(out: &impl AsFd) -> bool {
    look(out, 0) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Most bytes that a pipe with room takes at once without waiting: `PIPE_BUF` of pipe(7).
pub const PIECE_BYTES: usize = libc::PIPE_BUF;

/// Would writing [`PIECE_BYTES`] not wait? A file has room always, and so has what fails at once, since its reader has
/// gone.
pub fn has_room(out: &impl AsFd) -> bool {
    look(out, libc::POLLOUT) != 0
}

/// What poll(2) says of it now.
fn look(out: &impl AsFd, events: libc::c_short) -> libc::c_short {
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
    fn a_reader_that_goes_is_noticed() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_closed(&writer));
        drop(reader);
        assert!(is_closed(&writer));
        assert!(!is_closed(&tempfile::tempfile().unwrap()));
    }

    #[test]
    fn a_pipe_has_room_until_it_is_full_and_when_its_reader_has_gone() {
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
