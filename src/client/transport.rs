//! The connection of a client: opened on first use, retried while the daemon starts, and replaced after it
//! was lost.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::connection::{ClientConnection, Dialer};
use super::error::{ClientError, ReplyFault, UnreachableReason};
use super::policy::Policy;

/// First and longest pause between two attempts to connect; each pause is twice the one before.
/// Picked: the first is twice what a start takes, the longest is too short to be noticed.
pub(crate) const RETRY_PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(320));

/// The path and policy of a client, and its connection if one is open.
#[derive(Debug)]
pub(crate) struct Transport {
    path: PathBuf,
    pub(crate) policy: Policy,
    dialer: Dialer,
    pub(crate) connection: Option<ClientConnection>,
    next_id: u64,
}

impl Transport {
    pub(crate) fn new(path: PathBuf, policy: Policy) -> Transport {
        Transport { path, policy, dialer: Dialer::default(), connection: None, next_id: 1 }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Returns a request id that this client has not used.
    pub(crate) fn take_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    /// Returns the open connection, or opens one, retrying for `wait`.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if no attempt succeeded.
    pub(crate) fn reach(&mut self, wait: Duration) -> Result<&mut ClientConnection, ClientError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.dial(wait)?,
        };
        Ok(self.connection.insert(connection))
    }

    fn dial(&mut self, wait: Duration) -> Result<ClientConnection, ClientError> {
        let deadline = Instant::now().checked_add(wait);
        let (mut pause, longest) = RETRY_PAUSES;
        loop {
            let why = match self.dialer.open(&self.path, self.policy.connect_timeout) {
                Ok(connection) => return Ok(connection),
                Err(why) => why,
            };
            let left = deadline.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
            if !why.is_transient() || left.is_zero() {
                return Err(self.unreachable(why));
            }
            // Cut to the time left, so that the last attempt is made at the deadline.
            thread::sleep(pause.min(left));
            pause = (pause * 2).min(longest);
        }
    }

    pub(crate) fn unreachable(&self, why: UnreachableReason) -> ClientError {
        ClientError::Unreachable { path: self.path.clone(), why }
    }

    pub(crate) fn bad_reply(&self, fault: ReplyFault) -> ClientError {
        ClientError::BadReply { path: self.path.clone(), fault }
    }
}
