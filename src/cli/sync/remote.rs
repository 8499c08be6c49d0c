//! The program at the other end of the pipe: `ssh HOST iaid sync --serve`, or any command; and what its end means.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::support::error::{CliError, Exit};
use crate::cli::support::lines::LineReader;
use crate::cli::sync::frame::MAX_FRAME_BYTES;
use crate::cli::sync::pipe::{FORMAT, Pipe, PipeEnd};
use crate::sys::pipe;

/// How long the program may neither send nor take a byte. Picked: a store of a million records that forgets one is rewritten
/// in less, and a person types a password.
const SILENCE_LIMIT: Duration = Duration::from_secs(15 * 60);

/// How long the program may take to end after its streams were closed. Picked.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between two checks whether it has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RemoteProgram {
    /// ssh to this destination.
    Ssh(String),
    /// A command of the shell.
    Shell(String),
}

/// The running program.
pub(crate) struct Remote {
    program: RemoteProgram,
    child: Child,
}

impl RemoteProgram {
    /// Returns the program that was started, as messages name it.
    pub(crate) fn name(&self) -> &str {
        match self {
            RemoteProgram::Ssh(host) => host,
            RemoteProgram::Shell(command) => command,
        }
    }

    /// Starts it. Standard error stays that of this process, and ssh asks for a password on the terminal.
    ///
    /// # Errors
    /// [`CliError::Peer`] if it cannot be started.
    pub(crate) fn start(self) -> Result<(Remote, Pipe), CliError> {
        let mut command = match &self {
            RemoteProgram::Ssh(host) => {
                let mut ssh = Command::new("ssh");
                // A terminal of the other side would change bytes. Everything else is up to the user's configuration.
                ssh.args(["-T", "--", host, "iaid", "sync", "--serve"]);
                ssh
            }
            RemoteProgram::Shell(line) => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(line);
                shell
            }
        };
        let failed = |error: io::Error| {
            let what = match (&self, error.kind()) {
                (RemoteProgram::Ssh(_), ErrorKind::NotFound) => {
                    "ssh is not installed: install OpenSSH's client, or name another program with --command".to_owned()
                }
                _ => format!("cannot run {}: {error}", command_name(&self)),
            };
            CliError::Peer(what, Exit::Failed)
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(failed)?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(CliError::Input(ErrorKind::BrokenPipe.into()));
        };
        let (output, input) = (RemoteStream(output, SILENCE_LIMIT), RemoteStream(input, SILENCE_LIMIT));
        let pipe = Pipe::new(LineReader::new(Box::new(output), MAX_FRAME_BYTES), Box::new(input));
        Ok((Remote { program: self, child }, pipe))
    }
}

/// A stream of the program, and how long it is waited for.
struct RemoteStream<S>(S, Duration);

impl Read for RemoteStream<ChildStdout> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if !pipe::is_readable_within(&self.0, self.1) {
            return Err(ErrorKind::TimedOut.into());
        }
        self.0.read(bytes)
    }
}

impl Write for RemoteStream<ChildStdin> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !pipe::has_room_within(&self.0, self.1) {
            return Err(ErrorKind::TimedOut.into());
        }
        self.0.write(&bytes[..bytes.len().min(pipe::PIECE_BYTES)])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Remote {
    /// Waits until the program has ended, once its streams are closed. Returns `None`, and kills it, if it does not.
    fn wait(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + END_TIMEOUT;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL_INTERVAL),
                Ok(None) | Err(_) => return None,
                Ok(status) => return status,
            }
        }
    }

    /// Ends the run after a whole exchange.
    pub(crate) fn finish(mut self, pipe: Pipe) {
        drop(pipe);
        // Both stores have everything; how the program ends changes nothing.
        let _ = self.wait();
    }

    /// Returns the error for the end of a conversation.
    pub(crate) fn error(mut self, pipe: Pipe, end: &PipeEnd, is_greeted: bool) -> CliError {
        drop(pipe);
        let is_silent = *end == PipeEnd::Io(ErrorKind::TimedOut);
        let status = if is_silent { None } else { self.wait() };
        let what = match end {
            PipeEnd::Failed(what) => format!("{}: {what}", self.program.name()),
            PipeEnd::Version(format, version) => version_mismatch(self.program.name(), *format, version),
            PipeEnd::Io(ErrorKind::TimedOut) => silent(self.program.name()),
            _ if is_greeted => interrupted(self.program.name(), end),
            _ => no_greeting(&self.program, end, status),
        };
        let is_unreachable =
            matches!((&self.program, status), (RemoteProgram::Ssh(_), Some(status)) if status.code() == Some(255));
        CliError::Peer(what, if is_unreachable { Exit::Unreachable } else { Exit::Failed })
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // Fails if it has ended at this moment.
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

fn command_name(program: &RemoteProgram) -> &str {
    match program {
        RemoteProgram::Ssh(_) => "ssh",
        RemoteProgram::Shell(_) => "sh",
    }
}

/// Returns the sentence about two releases that do not understand each other.
pub(crate) fn version_mismatch(name: &str, format: u64, version: &str) -> String {
    let own = env!("CARGO_PKG_VERSION");
    let older = if format > FORMAT { "here" } else { "there" };
    format!(
        "{name} runs iaid {version}, whose sync has version {format}; this is iaid {own} with version {FORMAT}: update iaid {older}"
    )
}

fn silent(name: &str) -> String {
    let minutes = SILENCE_LIMIT.as_secs() / 60;
    format!(
        "nothing came from {name} and nothing was taken there for {minutes} minutes: its machine or its daemon may hang; \
         look there, then run it again, what has come stays"
    )
}

fn interrupted(name: &str, end: &PipeEnd) -> String {
    let what = match end {
        PipeEnd::Damaged => "damaged a line".to_owned(),
        PipeEnd::Io(kind) => format!("failed ({kind})"),
        _ => "ended".to_owned(),
    };
    format!("the connection to {name} {what} before everything was synced: run it again, what has come stays")
}

/// Returns the sentence about a program that did not begin to speak.
fn no_greeting(program: &RemoteProgram, end: &PipeEnd, status: Option<ExitStatus>) -> String {
    let name = program.name();
    let code = status.and_then(|status| status.code());
    let is_ssh = matches!(program, RemoteProgram::Ssh(_));
    match (is_ssh, code) {
        (true, Some(255)) => return format!("ssh could not connect to {name}, see above; try: ssh {name} true"),
        (_, Some(127)) => {
            let remedy = "install it there, link it into a folder of the PATH that commands over ssh get \
                          (such as /usr/local/bin), or name it: --command 'ssh HOST /home/me/.cargo/bin/iaid sync --serve'";
            return format!("{name} has no program iaid, or its shell does not find it: {remedy}");
        }
        (_, Some(126)) => return format!("{name} may not run iaid: make the program executable there"),
        (_, Some(2)) => return format!("iaid on {name} is of an older release without sync: update it there"),
        _ => {}
    }
    let ended = match (code, status.and_then(|status| status.signal())) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "was stopped".to_owned(),
    };
    match end {
        PipeEnd::NoGreeting(first) => {
            format!("{name} does not speak iaid's sync and {ended}; it wrote: {first}; try: iaid sync --serve there")
        }
        _ => format!("{name} {ended} before it spoke; see above, or try: iaid sync --serve there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_neither_reads_nor_writes_is_not_waited_for_without_an_end() {
        let mut child =
            Command::new("sleep").arg("600").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("sleep runs");
        let time = Duration::from_millis(1);
        let mut output = RemoteStream(child.stdout.take().unwrap(), time);
        assert_eq!(output.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::TimedOut);
        let mut input = RemoteStream(child.stdin.take().unwrap(), time);
        assert_eq!(input.write_all(&vec![7; 1 << 20]).unwrap_err().kind(), ErrorKind::TimedOut);
        let (remote, reader) = (Remote { program: RemoteProgram::Ssh("desk".into()), child }, io::empty());
        let pipe = Pipe::new(LineReader::new(Box::new(reader), MAX_FRAME_BYTES), Box::new(io::sink()));
        let said = remote.error(pipe, &PipeEnd::Io(ErrorKind::TimedOut), true).to_string();
        assert!(said.contains("desk") && said.contains("15 minutes") && said.contains("run it again"), "{said}");
    }

    #[test]
    fn every_end_before_the_greeting_has_a_way_out() {
        let exited = |code: i32| Some(ExitStatus::from_raw(code << 8));
        let ssh = || RemoteProgram::Ssh("desk".into());
        let banner = PipeEnd::NoGreeting("Welcome!".into());
        for (program, end, status, part) in [
            (ssh(), PipeEnd::Silent, exited(255), "could not connect to desk"),
            (ssh(), PipeEnd::Silent, exited(127), "has no program iaid"),
            (RemoteProgram::Shell("x".into()), PipeEnd::Silent, exited(127), "has no program iaid"),
            (ssh(), PipeEnd::Silent, exited(126), "executable"),
            (ssh(), PipeEnd::Silent, exited(2), "update it there"),
            (ssh(), banner, exited(0), "it wrote: Welcome!"),
            (ssh(), PipeEnd::Silent, Some(ExitStatus::from_raw(9)), "signal 9"),
            (RemoteProgram::Shell("x".into()), PipeEnd::Silent, exited(255), "exit code 255"),
            (ssh(), PipeEnd::Silent, None, "was stopped"),
        ] {
            let said = no_greeting(&program, &end, status);
            assert!(said.contains(part), "{said}");
        }
        assert!(version_mismatch("desk", FORMAT + 1, "9.0").contains("update iaid here"));
        assert!(version_mismatch("desk", 0, "0.0").contains("update iaid there"));
        for end in [PipeEnd::Closed, PipeEnd::Damaged, PipeEnd::Io(ErrorKind::Other)] {
            assert!(interrupted("desk", &end).contains("run it again"));
        }
    }
}
