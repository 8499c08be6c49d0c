//! Writes a byte to a socket at each signal that asks the process to stop, so that an event loop can wait for it.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};

/// Writes a byte to `end` at each of these signals, without waiting. The second one ends the
/// process at once, with status 1.
///
/// # Errors
/// Those of sigaction(2), for a signal that cannot be caught, and of duplicating `end`.
pub(crate) fn stop_into(end: &UnixStream, signals: &[i32]) -> io::Result<()> {
    let again = Arc::new(AtomicBool::new(false));
    for signal in signals {
        signal_hook::flag::register_conditional_shutdown(*signal, 1, Arc::clone(&again))?;
        signal_hook::flag::register(*signal, Arc::clone(&again))?;
        signal_hook::low_level::pipe::register(*signal, end.try_clone()?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::Command;

    use super::*;
    use crate::sys::testing::{self, TestProcess};

    #[test]
    fn the_first_signal_writes_a_byte_and_the_second_ends_the_process() {
        match testing::role("sys::signals::tests::the_first_signal_writes_a_byte_and_the_second_ends_the_process") {
            TestProcess::Parent(child) => {
                let output = child.command().output().unwrap();
                assert_eq!(testing::reported(&String::from_utf8_lossy(&output.stdout)), ["a byte"]);
                assert_eq!(output.status.code(), Some(1));
            }
            TestProcess::Child => {
                let (mut readable, writable) = UnixStream::pair().unwrap();
                stop_into(&writable, &[SIGTERM, SIGHUP]).unwrap();
                let own = std::process::id();
                // The shell's: a bare system has no program of that name.
                let send =
                    |signal: &str| Command::new("sh").args(["-c", &format!("kill {signal} {own}")]).status().unwrap();
                send("-TERM");
                readable.read_exact(&mut [0]).unwrap();
                testing::report("a byte");
                send("-HUP");
                // The process has ended, or will while this waits.
                let _ = readable.read(&mut [0]);
                let _ = readable.read(&mut [0]);
            }
        }
    }
}
