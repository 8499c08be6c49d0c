//! Another program, run within a time: what it said, or why there is nothing. It never waits for longer,
//! whatever the program does or leaves behind.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Most bytes that are read of each stream. 64 KiB: nobody says more who is asked a question.
const MOST_BYTES: usize = 64 << 10;

/// Between two looks whether it has ended.
const LOOK: Duration = Duration::from_millis(2);

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct ProgramOutput {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs it with `input`, which must fit into a pipe.
///
/// # Errors
/// It cannot be run, or has not ended in time; then it is killed.
pub(crate) fn run(command: &mut Command, input: &[u8], limit: Duration) -> Result<ProgramOutput, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let deadline = Instant::now() + limit;
    let failed = |error: io::Error| format!("{name} cannot be run: {error}");
    // Sockets, since a read of them can be given a time.
    let ((out, theirs), (err, their_err)) = (UnixStream::pair().map_err(failed)?, UnixStream::pair().map_err(failed)?);
    command.stdin(if input.is_empty() { Stdio::null() } else { Stdio::piped() });
    command.stdout(OwnedFd::from(theirs)).stderr(OwnedFd::from(their_err));
    let spawned = command.spawn();
    // Our copies of its ends, which would keep the streams open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = spawned.map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // Who does not want it may have gone.
        drop(stdin.write_all(input));
    }
    let (out, err) = (read(out, &mut child, deadline), read(err, &mut child, deadline));
    match wait(&mut child, deadline) {
        Some(status) => Ok(ProgramOutput { status, out, err }),
        None => {
            drop(child.kill());
            // So that it stays nobody's zombie.
            let _ = wait(&mut child, Instant::now() + LOOK * 50);
            Err(format!("{name} has not ended within {limit:?}"))
        }
    }
}

/// What comes until the stream ends, or the program has: what it left behind may keep the stream open.
fn read(mut stream: UnixStream, child: &mut Child, deadline: Instant) -> String {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    while bytes.len() < MOST_BYTES && Instant::now() < deadline {
        let has_ended = child.try_wait().is_ok_and(|status| status.is_some());
        if stream.set_read_timeout(Some(LOOK)).is_err() {
            break;
        }
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            // All that it said before its end is here.
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
            Ok(None) if Instant::now() < deadline => thread::sleep(LOOK),
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
    fn what_it_says_comes_back_with_how_it_ended() {
        let said = sh("cat; echo wrong >&2; exit 3", b"hello", Duration::from_secs(20)).unwrap();
        assert_eq!((said.status.code(), said.out.as_str(), said.err.as_str()), (Some(3), "hello", "wrong\n"));
        let said = sh("exit 0", b"nobody reads this", Duration::from_secs(20)).unwrap();
        assert!(said.status.success() && said.out.is_empty());
        assert!(run(&mut Command::new("/no/such"), b"", LOOK).unwrap_err().contains("/no/such cannot be run"));
    }

    #[test]
    fn one_that_does_not_end_is_given_up() {
        let soon = Duration::from_millis(50);
        for script in ["exec sleep 60", "exec >&- 2>&-; exec sleep 60", "yes | head -c 1000000; exec sleep 60"] {
            assert!(sh(script, b"", soon).unwrap_err().contains("has not ended within 50ms"), "{script}");
        }
    }

    #[test]
    fn what_it_leaves_behind_is_not_waited_for() {
        let said = sh("sleep 60 & echo $!", b"", Duration::from_secs(60)).unwrap();
        assert!(said.status.success());
        assert!(Command::new("kill").arg(said.out.trim()).status().unwrap().success());
    }
}
