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

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::super::Client;
    use super::super::fake_daemon::{REPLY_TIMEOUT, accept, echo, read_line};
    use super::*;
    use crate::wire::reply::code::UNREACHABLE;

    use serde_json::json;

    #[test]
    fn connecting_is_retried_while_the_daemon_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = path.clone();
        let script = thread::spawn(move || {
            let listener = UnixListener::bind(&socket).unwrap();
            let mut peer = accept(&listener);
            read_line(&mut peer);
            // Removes the socket before its peer can notice, and binds it again only after a failed attempt.
            std::fs::remove_file(&socket).unwrap();
            drop(listener);
            drop(peer);
            thread::sleep(RETRY_PAUSES.0 * 2);
            assert_eq!(echo(&mut accept(&UnixListener::bind(&socket).unwrap())), 1);
        });
        let mut client = Client::new(
            &path,
            Policy { wait_for_start: REPLY_TIMEOUT, wait_for_restart: REPLY_TIMEOUT, ..Policy::default() },
        );
        assert_eq!(client.call("m", &json!({})).unwrap().get(), "{}");
        drop(client);
        script.join().unwrap();
    }

    #[test]
    fn an_unreachable_daemon_is_named_with_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let dead = folder.path().join("dead");
        drop(UnixListener::bind(&dead).unwrap());
        let long = folder.path().join("x".repeat(200));
        for (path, why) in [
            (&gone, UnreachableReason::NoSocket),
            (&dead, UnreachableReason::NotListening),
            (
                &long,
                UnreachableReason::PathTooLong {
                    bytes: long.as_os_str().len(),
                    limit: if cfg!(target_os = "linux") { 107 } else { 103 },
                },
            ),
        ] {
            let error = Client::connect(path).unwrap_err();
            assert_eq!(error, ClientError::Unreachable { path: path.clone(), why });
            assert!(error.to_string().starts_with("daemon_unreachable: "));
        }
        let message = Client::connect(&gone).unwrap_err().to_string();
        assert!(message.ends_with("start it with: iaid serve"), "{message}");
        assert!(matches!(Client::connect(&gone).unwrap_err().code(), UNREACHABLE));
    }
}
