//! Notifications to the service manager: ready, watchdog, stopping (sd_notify(3)).
//!
//! A notification that fails is only logged: the daemon runs without a service manager too.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use crate::sys::notify::Notifier;

/// Pause before readiness is notified again after the manager's queue was full.
const READY_RETRY: Duration = Duration::from_millis(100);

/// The notifier, and when its next notifications are due.
pub(crate) struct ServiceNotifier {
    notifier: Notifier,
    ready_due: Option<Instant>,
    watchdog_due: Option<Instant>,
}

impl ServiceNotifier {
    /// Notifies that the daemon is ready, and starts the watchdog's timer if one is asked for.
    pub(crate) fn new(notifier: Notifier, now: Instant) -> ServiceNotifier {
        let watchdog_due = notifier.watchdog_interval().map(|interval| now + interval);
        let mut this = ServiceNotifier { notifier, ready_due: None, watchdog_due };
        this.notify_ready(now);
        this
    }

    /// Returns when readiness is notified again, and when the watchdog is.
    pub(crate) fn deadlines(&self) -> [Option<Instant>; 2] {
        [self.ready_due, self.watchdog_due]
    }

    /// Sends the notifications that are due.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.ready_due.is_some_and(|due| due <= now) {
            self.notify_ready(now);
        }
        if self.watchdog_due.is_some_and(|due| due <= now) {
            warn("alive", self.notifier.watchdog());
            self.watchdog_due = self.notifier.watchdog_interval().map(|interval| now + interval);
        }
    }

    /// Notifies that the daemon is stopping.
    pub(crate) fn stopping(&self) {
        warn("stopping", self.notifier.stopping());
    }

    /// Notifies that the daemon is ready. A service of `Type=notify` is killed if its manager never reads this, so
    /// it is sent again if the manager's queue is full.
    fn notify_ready(&mut self, now: Instant) {
        self.ready_due = None;
        match self.notifier.ready() {
            Err(e) if e.kind() == ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::ENOBUFS) => {
                self.ready_due = Some(now + READY_RETRY);
            }
            sent => warn("ready", sent),
        }
    }
}

fn warn(state: &str, sent: io::Result<()>) {
    if let Err(e) = sent {
        log::warn!("cannot notify the service manager that the daemon is {state}: {e}");
    }
}
