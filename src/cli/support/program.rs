//! Runs another program with a time limit. Never waits longer than that, even if the program leaves children that
//! hold its streams open.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::sys::stream::unless_closed;

/// Most bytes read of each stream. 64 KiB: more than the programs run here write.
const MAX_STREAM_BYTES: usize = 64 << 10;

/// Interval between two checks whether the program has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// The exit status of a program and its output.
#[derive(Debug)]
pub(crate) struct ProgramOutput {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `command` with `input` on standard input; `input` must fit into a pipe.
///
/// # Errors
/// A message if the program cannot be started, or if it has not ended within `limit`; it is then killed.
pub(crate) fn run(command: &mut Command, input: &[u8], limit: Duration) -> Result<ProgramOutput, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let deadline = Instant::now() + limit;
    let failed = |error: io::Error| format!("cannot run {name}: {error}");
    // Sockets, because a read from a socket can have a timeout.
    let ((out, theirs), (err, their_err)) = (UnixStream::pair().map_err(failed)?, UnixStream::pair().map_err(failed)?);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(OwnedFd::from(theirs)).stderr(OwnedFd::from(their_err));
    let spawned = command.spawn();
    // Drops our copies of the program's ends, which would keep the streams open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawned.map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // The program may have ended without reading its input.
        drop(stdin.write_all(input));
    }
    let (out, err) = (read(out, &mut child, deadline), read(err, &mut child, deadline));
    match wait(&mut child, deadline) {
        Some(status) => Ok(ProgramOutput { status, out, err }),
        None => {
            drop(child.kill());
            // Reaps the process.
            let _ = wait(&mut child, Instant::now() + POLL_INTERVAL * 50);
            Err(format!("{name} did not end within {limit:?}"))
        }
    }
}

/// Reads until the stream or the program ends. A child that the program leaves behind may keep the stream open.
fn read(mut stream: UnixStream, child: &mut Child, deadline: Instant) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    while bytes.len() < MAX_STREAM_BYTES && Instant::now() < deadline {
        let has_ended = child.try_wait().is_ok_and(|status| status.is_some());
        if unless_closed(stream.set_read_timeout(Some(POLL_INTERVAL))).is_err() {
            break;
        }
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            // Everything written before the program ended has been read.
            Err(_) if has_ended => break,
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn wait(child: &mut Child, deadline: Instant) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => thread::sleep(POLL_INTERVAL),
            outcome => return outcome.ok().flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &[u8], limit: Duration) -> Result<ProgramOutput, String> {
        run(Command::new("sh").args(["-c", script]), input, limit)
    }

    #[test]
    fn output_and_status_are_returned() {
        let said = sh("cat; echo wrong >&2; exit 3", b"hello", Duration::from_secs(20)).unwrap();
        assert_eq!((said.status.code(), said.out.as_str(), said.err.as_str()), (Some(3), "hello", "wrong\n"));
        let said = sh("exit 0", b"unread input", Duration::from_secs(20)).unwrap();
        assert!(said.status.success() && said.out.is_empty());
        assert!(run(&mut Command::new("/no/such"), b"", POLL_INTERVAL).unwrap_err().contains("cannot run /no/such"));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let soon = Duration::from_millis(50);
        for script in ["exec sleep 60", "exec >&- 2>&-; exec sleep 60", "yes | head -c 1000000; exec sleep 60"] {
            assert!(sh(script, b"", soon).unwrap_err().contains("did not end within 50ms"), "{script}");
        }
    }

    #[test]
    fn children_left_behind_are_not_waited_for() {
        let said = sh("sleep 60 & echo $!", b"", Duration::from_secs(60)).unwrap();
        assert!(said.status.success());
        let killed = sh(&format!("kill {}", said.out.trim()), b"", Duration::from_secs(60)).unwrap();
        assert!(killed.status.success());
    }
}
