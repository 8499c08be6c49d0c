//! How long a client waits, how much it reads, and whether it may send a call twice.

use std::time::Duration;

/// Timeouts and limits of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Longest wait for the listener to accept a connection.
    pub connect_timeout: Duration,
    /// How long connecting is retried on a connection's first use; zero makes one attempt.
    pub wait_for_start: Duration,
    /// How long connecting is retried after an established connection was lost, for example while a
    /// service manager restarts the daemon.
    pub wait_for_restart: Duration,
    /// Longest wait for each reply. [`Duration::MAX`] waits without a limit.
    pub reply_timeout: Duration,
    /// Longest reply accepted, in bytes, without its newline.
    pub max_reply_bytes: usize,
}

impl Default for Policy {
    /// 5 s to connect and 30 s for a reply, as existing clients wait; one attempt at first, 2 s of
    /// attempts after a connection was lost; replies of at most 4 MiB, four times the daemon's
    /// largest.
    fn default() -> Policy {
        Policy {
            connect_timeout: Duration::from_secs(5),
            wait_for_start: Duration::ZERO,
            wait_for_restart: Duration::from_secs(2),
            reply_timeout: Duration::from_secs(30),
            max_reply_bytes: 4 << 20,
        }
    }
}

/// Whether a call that the daemon may already have carried out is sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryGuarantee {
    /// It is sent again, once. For calls that may be carried out twice (a repeated capture is
    /// `reinforced`).
    AtLeastOnce,
    /// It is sent again only if no byte of it was written.
    AtMostOnce,
}
