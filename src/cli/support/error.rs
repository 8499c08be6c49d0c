//! Errors of the commands, and their exit codes.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fmt};

use serde_json::json;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::logging;
use crate::cli::support::paths::NoHome;
use crate::cli::support::values::counted;
use crate::client::{ClientError, FAILED, UNREACHABLE};
use crate::daemon::StartError;
use crate::memory::NO_BACKUP_FOLDER;
use crate::wire::reply::code;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum CliError {
    /// Arguments that contradict each other, or a value that is wrong; clap reports the rest itself.
    Usage(String),
    /// There is no default path for socket or store.
    NoHome(NoHome),
    /// The client got no reply, or an error reply.
    Client(ClientError),
    /// The daemon replied `"ok":false` to a control message.
    Declined {
        /// The reason, such as `already_sleeping`.
        reason: String,
        /// The message; may be empty.
        message: String,
    },
    /// The reply to this method does not have the expected shape.
    Reply(&'static str, serde_json::Error),
    /// So many lines of a bulk capture failed; each has been reported.
    LinesFailed(u64),
    /// A bulk capture stopped at this line, before the end of its input.
    CaptureStopped(u64, ClientError),
    /// An import skipped rows or files; each has been reported.
    PartialImport {
        /// Refused rows and lines.
        rows: u64,
        /// Unreadable files and folders.
        files: u64,
    },
    /// So many checks of `iaid doctor` failed; each has been reported.
    ChecksFailed(u64),
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// The user has not typed the consent: a sentence that says so.
    NotConfirmed(String),
    /// So many parts of an installation failed; each has been reported.
    PartialInstall(u64),
    /// An import stopped in this file at this line, before its last row.
    ImportStopped(String, u64, ClientError),
    /// The daemon whose records are imported, or the other side of a sync, cannot be used: a sentence that says why.
    Peer(String, Exit),
    /// The other side of a sync has got the error, and prints it.
    Told,
    /// The daemon failed to start or to end.
    Start(StartError),
    /// The MCP bridge failed to start.
    Bridge(io::Error),
    /// Reading standard input failed.
    Input(io::Error),
    /// Writing standard output failed.
    Output(io::Error),
}

/// Exit codes of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Unreachable = 3,
}

impl CliError {
    /// Returns the exit code for this error.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            CliError::Usage(_) | CliError::NoHome(_) => Exit::Usage,
            CliError::Client(error) | CliError::CaptureStopped(_, error) | CliError::ImportStopped(_, _, error) => {
                match error {
                    ClientError::Unreachable { .. } => Exit::Unreachable,
                    _ => Exit::Failed,
                }
            }
            CliError::Peer(_, exit) => *exit,
            // The reader of our output has closed it, as in `iaid recall … | head -1`.
            CliError::Output(error) if error.kind() == ErrorKind::BrokenPipe => Exit::Done,
            CliError::Declined { .. }
            | CliError::NotConfirmed(_)
            | CliError::Told
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

    /// Adds the way out if the daemon cannot see or write a file whose folder this process sees: a service has a sandbox.
    pub(crate) fn of_sandbox(self, file: &Path) -> CliError {
        const SIGNS: [&str; 4] = [NO_BACKUP_FOLDER, "(os error 2)", "(os error 13)", "(os error 30)"];
        match self {
            CliError::Client(ClientError::Refused { code, message })
                if SIGNS.iter().any(|sign| message.contains(sign)) && file.parent().is_some_and(Path::is_dir) =>
            {
                let message = format!(
                    "{message}; a service has a sandbox that may hide this folder, which exists, or make it read-only: use \
                     a file in the store's folder or another that the unit's ReadWritePaths= names, and copy it"
                );
                CliError::Client(ClientError::Refused { code, message })
            }
            error => error,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.exit() as u8)
    }

    /// Adds the way out if the daemon does not know a method that this program calls.
    pub(crate) fn of_older_daemon(self) -> CliError {
        match self {
            CliError::Client(ClientError::Refused { code: code::UNKNOWN_METHOD, message }) => {
                let message = format!("{message}: the daemon is of an older release; restart it with the present one");
                CliError::Client(ClientError::Refused { code: code::UNKNOWN_METHOD, message })
            }
            error => error,
        }
    }

    /// Prints the error on standard error, in the console's format.
    pub(crate) fn report(&self, console: &mut Console) {
        if self.exit() == Exit::Done || matches!(self, CliError::Told) {
            return;
        }
        match console.format {
            OutputFormat::Text => console.warn(format_args!("{}iaid: {self}", logging::error_prefix())),
            OutputFormat::Json => {
                let code = match self {
                    CliError::Client(error)
                    | CliError::CaptureStopped(_, error)
                    | CliError::ImportStopped(_, _, error) => error.code(),
                    CliError::Peer(_, Exit::Unreachable) => UNREACHABLE,
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
            CliError::Usage(what) | CliError::Peer(what, _) | CliError::NotConfirmed(what) => f.write_str(what),
            CliError::Told => f.write_str("the other side prints the error"),
            CliError::NoHome(error) => error.fmt(f),
            CliError::Client(error) => error.fmt(f),
            CliError::Declined { reason, message } if message.is_empty() => {
                write!(f, "the daemon declined: {reason}")
            }
            CliError::Declined { reason, message } => write!(f, "the daemon declined: {reason}: {message}"),
            CliError::Reply(method, why) => write!(
                f,
                "cannot read the daemon's reply to {method}: {why}; update the older of daemon and client, or use --json"
            ),
            CliError::LinesFailed(1) => f.write_str("1 line was not captured; see above"),
            CliError::LinesFailed(count) => write!(f, "{count} lines were not captured; see above"),
            CliError::PartialImport { rows, files } => {
                let rows = counted(*rows, "row was refused", "rows were refused");
                let files = counted(*files, "file could not be read", "files could not be read");
                write!(f, "{rows} and {files}, see above; everything else was imported")
            }
            CliError::PartialInstall(count) => {
                let what = counted(*count, "part was", "parts were");
                write!(f, "{what} not done, see above; everything else was")
            }
            CliError::ChecksFailed(count) => {
                let checks = counted(*count, "check", "checks");
                write!(f, "{checks} failed; see the remedy under each")
            }
            CliError::File(path, error) => write!(f, "{}: {error}", path.display()),
            CliError::CaptureStopped(line, why) => write!(
                f,
                "stopped at line {line}: {why}; run it again with the same input: records already stored are not duplicated"
            ),
            CliError::ImportStopped(file, line, why) => write!(
                f,
                "stopped in {file} at line {line}: {why}; run it again later: records already stored are not duplicated"
            ),
            CliError::Start(error) => error.fmt(f),
            CliError::Bridge(error) => write!(f, "cannot run the MCP bridge: {error}"),
            CliError::Input(error) => write!(f, "cannot read standard input: {error}"),
            CliError::Output(error) => write!(f, "cannot write standard output: {error}"),
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

/// Who started the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Invoker {
    Person,
    Hook,
}

/// Prints the message of clap and returns the exit code. Help and version go to standard output and are a success.
pub(crate) fn usage(error: &clap::Error, caller: Invoker) -> ExitCode {
    if error.use_stderr() && env::args_os().any(|arg| arg == "--json") {
        let text = error.to_string();
        let what = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
        CliError::Usage(what.to_owned()).report(&mut Console::standard(OutputFormat::Json));
    } else {
        // If the stream is closed, there is nowhere to report that.
        drop(error.print());
    }
    if error.use_stderr() && caller == Invoker::Person { ExitCode::from(Exit::Usage as u8) } else { ExitCode::SUCCESS }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::client::{ReplyFault, UnreachableReason};

    #[test]
    fn a_daemon_of_an_older_release_is_named() {
        let refused = |code| CliError::Client(ClientError::Refused { code, message: "unknown method 'x'".into() });
        let said = |code| refused(code).of_older_daemon().to_string();
        assert!(said(code::UNKNOWN_METHOD).contains("restart it"), "{}", said(code::UNKNOWN_METHOD));
        assert!(!said(FAILED).contains("restart it"), "{}", said(FAILED));
    }

    #[test]
    fn every_error_has_an_exit_code_and_a_message() {
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
    fn a_closed_output_is_not_an_error() {
        let (mut console, out, err) = console(OutputFormat::Text, b"");
        let error = CliError::Output(ErrorKind::BrokenPipe.into());
        error.report(&mut console);
        assert_eq!((error.exit(), out.text(), err.text()), (Exit::Done, String::new(), String::new()));
    }

    #[test]
    fn errors_are_json_with_the_json_option() {
        let (mut console, out, err) = console(OutputFormat::Json, b"");
        CliError::Client(ClientError::Refused { code: -32601, message: "unknown method 'x'".into() })
            .report(&mut console);
        assert_eq!(out.text(), "");
        assert_eq!(err.text(), "{\"error\":{\"code\":-32601,\"message\":\"unknown method 'x'\"}}\n");
    }
}
