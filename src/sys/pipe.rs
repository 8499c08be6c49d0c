//! The state of an output pipe by poll(2), whether its reader is gone and whether a write would wait; and the opening of
//! an input pipe.

use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::socket;

/// Opens a named pipe, or one that /dev/fd names, to read. Its writer must have opened it: to wait for one could take for
/// ever.
///
/// # Errors
/// Those of the system, and `Other` if the pipe has no writer and is empty.
pub(crate) fn open_input(path: &Path) -> io::Result<impl Read + use<>> {
    let mut pipe = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let mut first = vec![0; 4096];
    let count = match pipe.read(&mut first) {
        Ok(0) => return Err(io::Error::other("no process writes to this pipe")),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    first.truncate(count);
    let flags = socket::flags(pipe.as_raw_fd(), libc::F_GETFL, 0)?;
    socket::flags(pipe.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK)?;
    Ok(Cursor::new(first).chain(pipe))
}

/// Returns true if this is a pipe or socket whose reader is gone; false for a file.
pub(crate) fn is_closed(out: &impl AsFd) -> bool {
    // macOS reports a hang-up only if an event is asked for.
    poll(out, libc::POLLOUT, Duration::ZERO) & (libc::POLLERR | libc::POLLHUP) != 0
}

/// Most bytes that a write to a pipe with free space takes without waiting: `PIPE_BUF` of pipe(7).
pub(crate) const PIECE_BYTES: usize = libc::PIPE_BUF;

/// Returns true if a write of [`PIECE_BYTES`] would not wait. Always true for a file, and for a pipe whose reader is
/// gone, where the write fails.
pub(crate) fn has_room(out: &impl AsFd) -> bool {
    poll(out, libc::POLLOUT, Duration::ZERO) != 0
}

/// As [`has_room`], but waits for the space for this long, or a little less if a signal comes.
pub(crate) fn has_room_within(out: &impl AsFd, time: Duration) -> bool {
    poll(out, libc::POLLOUT, time) != 0
}

/// Waits for bytes to read or the end of the input, for this long, or a little less if a signal comes. Returns false if there
/// is neither.
pub(crate) fn is_readable_within(input: &impl AsFd, time: Duration) -> bool {
    poll(input, libc::POLLIN, time) != 0
}

/// Returns the events that poll(2) reports within this time.
fn poll(file: &impl AsFd, events: libc::c_short, time: Duration) -> libc::c_short {
    let mut one = libc::pollfd { fd: file.as_fd().as_raw_fd(), events, revents: 0 };
    let millis = libc::c_int::try_from(time.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one pollfd, which lives over the call.
    let ready = unsafe { libc::poll(&raw mut one, 1, millis) };
    if ready > 0 { one.revents } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn an_input_pipe_needs_a_writer_and_waits_for_what_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = open_input(&path).err().expect("nobody writes").to_string();
        assert_eq!(error, "no process writes to this pipe");
        for is_early in [true, false] {
            // Opening both directions does not wait.
            let mut writer = File::options().read(true).write(true).open(&path).unwrap();
            if is_early {
                writer.write_all(b"early, ").unwrap();
            }
            let mut input = open_input(&path).unwrap();
            let reader = std::thread::spawn(move || {
                let mut text = String::new();
                input.read_to_string(&mut text).map(|_| text)
            });
            writer.write_all(b"late").unwrap();
            drop(writer);
            assert_eq!(reader.join().unwrap().unwrap(), if is_early { "early, late" } else { "late" });
        }
    }

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
