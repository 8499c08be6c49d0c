//! Why a socket path cannot be bound, as a message with what to do about it.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::lock::LockError;
use super::socket::PathFault;

/// How the daemon of iai-mcp is stopped, and kept from starting again.
pub(crate) const STOP_IAI_MCP: &str =
    "stop it with: iai-mcp daemon stop (iai-mcp daemon uninstall keeps it from starting again)";

/// Why a path cannot be listened at.
#[derive(Debug)]
pub enum BindError {
    /// The path cannot be a socket's.
    Path {
        /// The path.
        path: PathBuf,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// The socket's directory does not exist and cannot be created.
    Directory {
        /// The directory.
        path: PathBuf,
        /// The error of creating it.
        source: io::Error,
    },
    /// Another daemon holds the path's lock, or the lock file is not one.
    Lock(LockError),
    /// A program that does not hold the lock listens at the path.
    InUse {
        /// The path.
        path: PathBuf,
        /// The name of the program, if it is a daemon of iai-mcp.
        by: Option<String>,
    },
    /// systemd listens at the path, and starts a daemon at the first connection.
    Activated {
        /// The path.
        path: PathBuf,
        /// The process of systemd.
        pid: u32,
    },
    /// A file that is not a socket is at the path.
    NotSocket {
        /// The path.
        path: PathBuf,
        /// The kind of the file.
        what: &'static str,
    },
    /// A socket of another user is at the path.
    NotOurs {
        /// The path.
        path: PathBuf,
        /// The socket's owner.
        uid: u32,
    },
    /// A system call failed.
    Io {
        /// The path.
        path: PathBuf,
        /// What was attempted, as a verb before the word "socket".
        doing: &'static str,
        /// The error.
        source: io::Error,
    },
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BindError::Path { path, fault } => write!(f, "socket path {} {fault}", path.display()),
            BindError::Directory { path, source } => write!(
                f,
                "cannot create the socket's directory {}: {source}; create it or choose another socket path",
                path.display()
            ),
            BindError::Lock(LockError::Held { path, pid }) => {
                f.write_str("another daemon ")?;
                if let Some(pid) = pid {
                    write!(f, "(process {pid}) ")?;
                }
                write!(f, "holds {}; stop it first or choose another socket path", path.display())
            }
            BindError::Lock(error) => error.fmt(f),
            BindError::InUse { path, by: Some(by) } => {
                write!(f, "{by} listens at {}; {STOP_IAI_MCP}, or choose another socket path", path.display())
            }
            BindError::InUse { path, by: None } => write!(
                f,
                "another program listens at {} (it holds no lock, so it is not an instance of this program); stop it \
                 first or choose another socket path",
                path.display()
            ),
            BindError::Activated { path, pid } => write!(
                f,
                "systemd (process {pid}) listens at {} and starts the daemon at the first connection; to start it by \
                 hand, first run: {}",
                path.display(),
                if *pid == 1 { "systemctl stop iaid@USER.socket" } else { "systemctl --user stop iaid.socket" }
            ),
            BindError::NotSocket { path, what } => write!(
                f,
                "{} is {what}, not a socket, and was left alone; move it away or choose another socket path",
                path.display()
            ),
            BindError::NotOurs { path, uid } => {
                write!(f, "{} is a socket of user {uid} and was left alone; choose another socket path", path.display())
            }
            BindError::Io { path, doing, source } => write!(f, "cannot {doing} socket {}: {source}", path.display()),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BindError::Directory { source, .. } | BindError::Io { source, .. } => Some(source),
            BindError::Lock(error) => Some(error),
            _ => None,
        }
    }
}

impl From<LockError> for BindError {
    fn from(error: LockError) -> BindError {
        BindError::Lock(error)
    }
}
