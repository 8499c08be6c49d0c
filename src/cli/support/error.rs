//! Why a command did not do what it was asked, and the code it exits with.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::logging;
use crate::cli::support::paths::NoHome;
use crate::cli::support::values::counted;
use crate::client::{ClientError, FAILED};
use crate::daemon::StartError;

/// A command's failure, sorted by whose fault it is.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The arguments do not go together; clap itself finds those that are wrong alone.
    Usage(String),
    /// There is no place for socket or store.
    NoHome(NoHome),
    /// No reply, or a refusal.
    Client(ClientError),
    /// The daemon's `"ok":false` to a control message.
    Declined {
        /// Its reason, such as `already_sleeping`.
        reason: String,
        /// Its words, where it had any.
        message: String,
    },
    /// The reply lacks what its method promises.
    Reply(&'static str, serde_json::Error),
    /// Some lines of many failed, each named already.
    LinesFailed(u64),
    /// A bulk capture ended before its input: at this line, for this reason.
    CaptureStopped(u64, ClientError),
    /// Of an import: rows that were refused and files that could not be read, each named already.
    PartialImport {
        /// Rows and lines.
        rows: u64,
        /// Files and folders.
        files: u64,
    },
    /// Checks that failed, each said already.
    ChecksFailed(u64),
    /// A file that was named cannot be read or written.
    File(PathBuf, io::Error),
    /// Parts of an installation could not be done, each named already.
    PartialInstall(u64),
    /// An import ended before its last row: in this file, at this line, for this reason.
    ImportStopped(String, u64, ClientError),
    /// The daemon did not start, or not end well.
    Start(StartError),
    /// The bridge did not start.
    Bridge(io::Error),
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output cannot be written.
    Output(io::Error),
}

/// The process's exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
}

impl CliError {
    /// The code that stands for this error.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            CliError::Usage(_) | CliError::NoHome(_) => Exit::Usage,
            CliError::Client(error) | CliError::CaptureStopped(_, error) | CliError::ImportStopped(_, _, error) => {
                match error {
                    ClientError::Unreachable { .. } => Exit::Unreachable,
                    _ => Exit::Failed,
                }
            }
            // Whoever read our output has enough: `iaid recall … | head -1`.
            CliError::Output(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
            CliError::Declined { .. }
            | CliError::Reply(..)
            | CliError::LinesFailed(_)
            | CliError::PartialImport { .. }
            | CliError::File(..)
            | CliError::PartialInstall(_)
            | CliError::ChecksFailed(_)
            | CliError::Start(_)
            | CliError::Bridge(_)
            | CliError::Input(_)
            | CliError::Output(_) => Exit::Failed,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit() as u8)
    }

    /// Says it on standard error, in the console's format.
    pub(crate) fn report(&self, console: &mut Console) {
        if self.exit() == Exit::Done {
            return;
        }
        match console.format {
            OutputFormat::Text => console.warn(format_args!("{}iaid: {self}", logging::error_prefix())),
            OutputFormat::Json => {
                let code = match self {
                    CliError::Client(error)
                    | CliError::CaptureStopped(_, error)
                    | CliError::ImportStopped(_, _, error) => error.code(),
                    _ => FAILED,
                };
                console.warn(json!({"error": {"code": code, "message": self.to_string()}}));
            }
        }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CliError::Usage(what) => f.write_str(what),
            CliError::NoHome(error) => error.fmt(f),
            CliError::Client(error) => error.fmt(f),
            CliError::Declined { reason, message } if message.is_empty() => {
                write!(f, "the daemon declined: {reason}")
            }
            CliError::Declined { reason, message } => write!(f, "the daemon declined: {reason}: {message}"),
            CliError::Reply(method, why) => write!(
                f,
                "the daemon's reply to {method} is not of this version ({why}); see it with --json, or update the older of the two"
            ),
            CliError::LinesFailed(1) => f.write_str("1 line was not captured; it is named above"),
            CliError::LinesFailed(count) => write!(f, "{count} lines were not captured; they are named above"),
            CliError::PartialImport { rows, files } => {
                let rows = counted(*rows, "row was refused", "rows were refused");
                let files = counted(*files, "file could not be read", "files could not be read");
                write!(f, "{rows} and {files}; what is wrong with each is said above, and the rest is in")
            }
            CliError::PartialInstall(count) => {
                let what = counted(*count, "part was", "parts were");
                write!(f, "{what} not done, as said above; everything else was")
            }
            CliError::ChecksFailed(count) => {
                let checks = counted(*count, "check", "checks");
                write!(f, "{checks} failed; what to do is said with each")
            }
            CliError::File(path, error) => write!(f, "{}: {error}", path.display()),
            CliError::CaptureStopped(line, why) => write!(
                f,
                "stopped at line {line}: {why}; run it again on the same input later, what is in already is not doubled"
            ),
            CliError::ImportStopped(file, line, why) => write!(
                f,
                "stopped in {file} at line {line}: {why}; run it again later, what is in already is not doubled"
            ),
            CliError::Start(error) => error.fmt(f),
            CliError::Bridge(error) => write!(f, "the bridge cannot run: {error}"),
            CliError::Input(error) => write!(f, "standard input cannot be read: {error}"),
            CliError::Output(error) => write!(f, "standard output cannot be written: {error}"),
        }
    }
}

impl std::error::Error for CliError {}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> CliError {
        CliError::Client(error)
    }
}

impl From<NoHome> for CliError {
    fn from(error: NoHome) -> CliError {
        CliError::NoHome(error)
    }
}

/// Who reads the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invoker {
    Person,
    Hook,
}

/// What clap has to say: help and version go to standard output and end well.
pub(crate) fn usage(error: &clap::Error, caller: Invoker) -> ExitCode {
    // A closed stream leaves nobody to tell.
    drop(error.print());
    if error.use_stderr() && caller == Invoker::Person { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::client::{ReplyFault, UnreachableReason};

    #[test]
    fn every_error_has_its_exit_code_and_sentence() {
        let gone = || ClientError::Unreachable { path: "/s".into(), why: UnreachableReason::NoSocket };
        let refused = || ClientError::Refused { code: -32602, message: "missing required param: 'cue'".into() };
        let broken = ClientError::BadReply { path: "/s".into(), fault: ReplyFault::Truncated };
        let declined =
            |reason: &str, message: &str| CliError::Declined { reason: reason.into(), message: message.into() };
        for (error, exit, part) in [
            (CliError::Usage("x".into()), Exit::Usage, "x"),
            (CliError::Client(gone()), Exit::Unreachable, "start it with: iaid serve"),
            (CliError::Client(refused()), Exit::Failed, "missing required param: 'cue'"),
            (CliError::Client(broken), Exit::Failed, "/s"),
            (CliError::CaptureStopped(7, gone()), Exit::Unreachable, "line 7"),
            (CliError::CaptureStopped(7, refused()), Exit::Failed, "run it again"),
            (declined("already_sleeping", ""), Exit::Failed, "already_sleeping"),
            (declined("state_write_failed", "disk full"), Exit::Failed, "disk full"),
            (CliError::LinesFailed(1), Exit::Failed, "1 line was"),
            (CliError::LinesFailed(2), Exit::Failed, "2 lines were"),
            (CliError::PartialImport { rows: 1, files: 0 }, Exit::Failed, "1 row was refused and 0 files could not"),
            (CliError::ImportStopped("f".into(), 7, gone()), Exit::Unreachable, "in f at line 7"),
            (CliError::PartialInstall(2), Exit::Failed, "2 parts were not done"),
            (CliError::ChecksFailed(1), Exit::Failed, "1 check failed"),
            (CliError::File("/f".into(), ErrorKind::NotFound.into()), Exit::Failed, "/f: "),
            (CliError::Input(ErrorKind::IsADirectory.into()), Exit::Failed, "standard input"),
            (CliError::Output(ErrorKind::StorageFull.into()), Exit::Failed, "standard output"),
        ] {
            assert_eq!(error.exit(), exit, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
    }

    #[test]
    fn a_closed_output_is_no_failure_and_no_message() {
        let (mut console, out, err) = console(OutputFormat::Text, b"");
        let error = CliError::Output(ErrorKind::BrokenPipe.into());
        error.report(&mut console);
        assert_eq!((error.exit(), out.text(), err.text()), (Exit::Done, String::new(), String::new()));
    }

    #[test]
    fn programs_get_errors_as_json() {
        let (mut console, out, err) = console(OutputFormat::Json, b"");
        CliError::Client(ClientError::Refused { code: -32601, message: "unknown method 'x'".into() })
            .report(&mut console);
        assert_eq!(out.text(), "");
        assert_eq!(err.text(), "{\"error\":{\"code\":-32601,\"message\":\"unknown method 'x'\"}}\n");
    }
}
