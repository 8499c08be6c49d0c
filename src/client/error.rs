//! What goes wrong for a client, sorted by whose fault it is: nobody there, the daemon's own refusal,
//! a peer that does not speak the contract, or params that cannot be sent.
//!
//! Each says in one sentence what happened, with which socket, and the way out.

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
        /// What stood in the way.
        why: Unreached,
    },
    /// The daemon answered with an error of its own.
    Refused {
        /// The daemon's code.
        code: i32,
        /// The daemon's words.
        message: String,
    },
    /// What came back is no reply of the contract.
    Broken {
        /// The socket.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// The caller's params have no JSON form; nothing was sent.
    Unsendable(String),
}

/// What stood between a client and a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// There is no file at the path.
    NoSocket,
    /// There is one, but nobody listens on it.
    NobodyListens,
    /// The file or a folder above it is another user's.
    Forbidden,
    /// The path does not fit into a socket address.
    PathTooLong {
        /// Its length in bytes.
        bytes: usize,
        /// What the system takes.
        limit: usize,
    },
    /// Somebody listens but did not accept within this time.
    NotAccepted(Duration),
    /// The request went out, and no reply came within this time.
    NoReply(Duration),
    /// The connection ended before a reply, and a new one did not help or would not have been safe.
    Died,
    /// The system's own reason.
    Io(io::ErrorKind),
}

/// What is wrong with a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has more bytes than the policy takes.
    TooLong {
        /// What the policy takes.
        limit: usize,
    },
    /// The connection ended inside it.
    CutOff,
    /// It is not JSON, no object, or lacks what a reply must have.
    NotAReply,
    /// It carries the id of another call.
    OutOfOrder,
}

impl ClientError {
    /// Did a daemon that is about to end say so? Its reply is to a call that it may have begun.
    pub fn is_stopping(&self) -> bool {
        matches!(self, ClientError::Refused { code: code::FAILED, message } if message == STOPPING)
    }

    /// The JSON-RPC code that stands for this error.
    pub fn code(&self) -> i32 {
        match self {
            ClientError::Unreachable { .. } => code::UNREACHABLE,
            ClientError::Refused { code, .. } => *code,
            ClientError::Broken { .. } | ClientError::Unsendable(_) => code::FAILED,
        }
    }
}

impl Unreached {
    /// May the same attempt succeed a moment later, when a daemon that is starting has its socket?
    pub(super) fn may_pass(&self) -> bool {
        matches!(self, Unreached::NoSocket | Unreached::NobodyListens)
    }

    pub(super) fn from_connect(error: &io::Error) -> Unreached {
        match error.kind() {
            io::ErrorKind::NotFound => Unreached::NoSocket,
            io::ErrorKind::ConnectionRefused => Unreached::NobodyListens,
            io::ErrorKind::PermissionDenied => Unreached::Forbidden,
            kind => Unreached::Io(kind),
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
                    Unreached::NoSocket => write!(f, "there is no socket at {path}; start it with: iaid serve"),
                    Unreached::NobodyListens => write!(f, "nobody listens on {path}; start it with: iaid serve"),
                    Unreached::Forbidden => {
                        write!(f, "no permission to use {path}; name a socket of your own with --socket")
                    }
                    Unreached::PathTooLong { bytes, limit } => write!(
                        f,
                        "{path} has {bytes} bytes and the system takes {limit}; name a shorter path with --socket"
                    ),
                    Unreached::NotAccepted(time) => write!(
                        f,
                        "nobody accepted on {path} within {time:?}; the daemon is stopped or stuck: restart it with: iaid serve"
                    ),
                    Unreached::NoReply(time) => write!(
                        f,
                        "no reply on {path} within {time:?}; the daemon is busy, stopped or stuck, and may still carry the call out"
                    ),
                    Unreached::Died => write!(
                        f,
                        "the daemon on {path} went away before its reply; its log says why, start it with: iaid serve"
                    ),
                    Unreached::Io(kind) => write!(f, "{kind} at {path}; start it with: iaid serve"),
                }
            }
            ClientError::Refused { message, .. } => f.write_str(message),
            ClientError::Broken { path, fault } => {
                let path = path.display();
                match fault {
                    Fault::TooLong { limit } => {
                        write!(f, "the reply on {path} is longer than {limit} bytes; ask for less at once")
                    }
                    Fault::CutOff => write!(
                        f,
                        "the connection on {path} ended in the middle of a reply; the daemon's log says why, then try again"
                    ),
                    Fault::NotAReply => write!(
                        f,
                        "what answers on {path} does not speak JSON-RPC 2.0; name the daemon's socket with --socket"
                    ),
                    Fault::OutOfOrder => {
                        write!(
                            f,
                            "a reply on {path} belongs to no call that is open; the connection is given up, try again"
                        )
                    }
                }
            }
            ClientError::Unsendable(why) => write!(f, "the params have no JSON form: {why}"),
        }
    }
}

impl std::error::Error for ClientError {}
