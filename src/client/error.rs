//! Errors of a client, by cause: no daemon answers, the daemon returned an error, the peer does not
//! speak the protocol, or the params cannot be sent.
//!
//! Each message says in one sentence what happened, on which socket, and what to do.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::wire::reply::{STOPPING, code};

/// Why a call has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// No daemon answers on the socket (-32002).
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// The reason.
        why: UnreachableReason,
    },
    /// The daemon answered with an error.
    Refused {
        /// Its JSON-RPC code.
        code: i32,
        /// Its message.
        message: String,
    },
    /// The reply violates the protocol.
    BadReply {
        /// The socket.
        path: PathBuf,
        /// The violation.
        fault: ReplyFault,
    },
    /// The params do not serialize to JSON; nothing was sent. Contains serde's message.
    Unsendable(String),
}

/// Why no reply was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnreachableReason {
    /// No file exists at the path.
    NoSocket,
    /// A file exists, but no process listens on it.
    NotListening,
    /// The user may not connect to the file or search a folder above it.
    PermissionDenied,
    /// The path does not fit into a Unix socket address.
    PathTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// The longest path the system accepts, in bytes.
        limit: usize,
    },
    /// A process listens but did not accept the connection within this time.
    NotAccepted(Duration),
    /// The request was sent, and no reply was received within this time.
    NoReply(Duration),
    /// The connection ended before the reply, and sending the request again failed too or was not
    /// allowed.
    ConnectionLost,
    /// Another error of the operating system.
    Io(io::ErrorKind),
}

/// How a reply violates the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyFault {
    /// It is longer than [`Policy::max_reply_bytes`](super::policy::Policy::max_reply_bytes).
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The connection ended inside it.
    Truncated,
    /// It is not a JSON-RPC 2.0 response: not JSON, not an object, or a required key is missing.
    NotJsonRpc,
    /// It has the id of another call.
    UnexpectedId,
}

impl ClientError {
    /// Returns true if the daemon answered that it is stopping. It may have carried out the call.
    pub fn is_stopping(&self) -> bool {
        matches!(self, ClientError::Refused { code: code::FAILED, message } if message == STOPPING)
    }

    /// Returns the JSON-RPC code for this error: the daemon's own code, -32002 if it is unreachable, else
    /// -32001.
    pub fn code(&self) -> i32 {
        match self {
            ClientError::Unreachable { .. } => code::UNREACHABLE,
            ClientError::Refused { code, .. } => *code,
            ClientError::BadReply { .. } | ClientError::Unsendable(_) => code::FAILED,
        }
    }
}

impl UnreachableReason {
    /// Returns true if another attempt may succeed once a starting daemon has created its socket.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, UnreachableReason::NoSocket | UnreachableReason::NotListening)
    }

    /// Classifies an error of `connect(2)`.
    pub(crate) fn from_connect(error: &io::Error) -> UnreachableReason {
        match error.kind() {
            io::ErrorKind::NotFound => UnreachableReason::NoSocket,
            io::ErrorKind::ConnectionRefused => UnreachableReason::NotListening,
            io::ErrorKind::PermissionDenied => UnreachableReason::PermissionDenied,
            kind => UnreachableReason::Io(kind),
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable { path, why } => {
                let path = path.display();
                f.write_str("daemon_unreachable: ")?;
                match why {
                    UnreachableReason::NoSocket => write!(f, "there is no socket at {path}; start it with: iaid serve"),
                    UnreachableReason::NotListening => {
                        write!(f, "no process listens on {path}; start it with: iaid serve")
                    }
                    UnreachableReason::PermissionDenied => {
                        write!(f, "no permission to use {path}; name a socket of your own with --socket")
                    }
                    UnreachableReason::PathTooLong { bytes, limit } => write!(
                        f,
                        "{path} has {bytes} bytes and the system takes {limit}; name a shorter path with --socket"
                    ),
                    UnreachableReason::NotAccepted(time) => write!(
                        f,
                        "no connection accepted on {path} within {time:?}; the daemon is stopped or stuck: restart it with: iaid serve"
                    ),
                    UnreachableReason::NoReply(time) => write!(
                        f,
                        "no reply on {path} within {time:?}; the daemon is busy, stopped or stuck, and may still carry out the call"
                    ),
                    UnreachableReason::ConnectionLost => write!(
                        f,
                        "the daemon on {path} closed the connection before its reply; its log says why, start it with: iaid serve"
                    ),
                    UnreachableReason::Io(kind) => write!(f, "{kind} at {path}; start it with: iaid serve"),
                }
            }
            ClientError::Refused { message, .. } => f.write_str(message),
            ClientError::BadReply { path, fault } => {
                let path = path.display();
                match fault {
                    ReplyFault::TooLong { limit } => {
                        write!(f, "the reply on {path} is longer than {limit} bytes; ask for less at once")
                    }
                    ReplyFault::Truncated => write!(
                        f,
                        "the connection on {path} ended in the middle of a reply; the daemon's log says why, then try again"
                    ),
                    ReplyFault::NotJsonRpc => write!(
                        f,
                        "the peer on {path} does not speak JSON-RPC 2.0; name the daemon's socket with --socket"
                    ),
                    ReplyFault::UnexpectedId => {
                        write!(f, "a reply on {path} has the id of no open call; the connection was closed, try again")
                    }
                }
            }
            ClientError::Unsendable(why) => write!(f, "the params do not serialize to JSON: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}
