//! Schedules the checks that the socket is still at the path where it was bound.
//!
//! A check waits for the file system, so a worker runs it. The path of an inherited socket is its owner's and is never
//! checked.

use std::time::{Duration, Instant};

use crate::lifecycle::state::State;
use crate::sys::listener::{BindError, BoundPath, Listener};

/// The socket's path, and when it is checked next.
pub(crate) struct SocketWatch {
    /// `None` for an inherited listener.
    path: Option<BoundPath>,
    interval: Duration,
    due: Instant,
    /// A check is on a worker.
    is_checking: bool,
    /// The error that keeps the path from being bound again, as last logged.
    logged_error: Option<String>,
}

impl SocketWatch {
    /// The first check is due at once, as that for deferred captures is: both share one wake-up.
    pub(crate) fn new(path: Option<BoundPath>, interval: Duration, now: Instant) -> SocketWatch {
        SocketWatch { path, interval, due: now, is_checking: false, logged_error: None }
    }

    /// Returns when the next check is due in this state. There is none while asleep (the lifecycle's rule).
    pub(crate) fn deadline(&self, state: State) -> Option<Instant> {
        let is_awake = matches!(state, State::Wake | State::Drowsy);
        (is_awake && self.path.is_some() && !self.is_checking).then_some(self.due)
    }

    /// Makes the next check due at once: the daemon was woken.
    pub(crate) fn wake(&mut self, now: Instant) {
        self.due = now;
    }

    /// Begins a check if one is due, and returns the path to be checked.
    pub(crate) fn begin(&mut self, state: State, now: Instant) -> Option<BoundPath> {
        self.deadline(state).filter(|due| *due <= now)?;
        self.is_checking = true;
        self.due = now + self.interval;
        self.path.clone()
    }

    /// Ends a check. Returns the listener that replaces the present one, if the path was bound again.
    pub(crate) fn checked(&mut self, outcome: Result<Option<Listener>, BindError>) -> Option<Listener> {
        self.is_checking = false;
        let path = self.path.as_ref()?.path();
        let outcome = outcome.map_err(|error| error.to_string());
        if let Err(error) = &outcome
            && self.logged_error.as_ref() != Some(error)
        {
            log::warn!(
                "socket {} was removed or replaced, so no new client reaches this daemon, and it is not bound again: {error}",
                path.display()
            );
        }
        self.logged_error = outcome.as_ref().err().cloned();
        let listener = outcome.ok().flatten()?;
        log::warn!("socket {} was missing and was bound again", path.display());
        self.path = listener.bound_path();
        Some(listener)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(60);

    #[test]
    fn the_path_is_checked_at_each_interval_while_awake_and_at_each_wake() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&dir.path().join("a.sock")).unwrap();
        let start = Instant::now();
        let mut watch = SocketWatch::new(listener.bound_path(), INTERVAL, start);
        assert_eq!(watch.deadline(State::Wake), Some(start));
        assert!(watch.begin(State::Wake, start).is_some());
        assert!(watch.checked(Ok(None)).is_none());
        assert_eq!(watch.deadline(State::Wake), Some(start + INTERVAL));
        assert_eq!(watch.deadline(State::Drowsy), Some(start + INTERVAL));
        for state in [State::Transitioning, State::Sleep, State::Dreaming, State::Hibernation] {
            assert_eq!(watch.deadline(state), None);
            assert!(watch.begin(state, start + INTERVAL * 9).is_none());
        }
        assert!(watch.begin(State::Wake, start + INTERVAL / 2).is_none());
        assert!(watch.begin(State::Wake, start + INTERVAL).is_some());
        assert_eq!(watch.deadline(State::Wake), None, "one check at a time");
        assert!(watch.begin(State::Wake, start + INTERVAL * 9).is_none());
        assert!(watch.checked(Ok(None)).is_none());
        assert_eq!(watch.deadline(State::Wake), Some(start + INTERVAL * 2));
        watch.wake(start + INTERVAL + Duration::from_secs(1));
        assert!(watch.begin(State::Wake, start + INTERVAL + Duration::from_secs(1)).is_some());

        let mut inherited = SocketWatch::new(None, INTERVAL, start);
        inherited.wake(start);
        assert!(inherited.begin(State::Wake, start + INTERVAL).is_none());
        assert_eq!(inherited.deadline(State::Wake), None);
    }

    #[test]
    fn after_a_rebind_the_new_listeners_path_is_checked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let first = Listener::bind(&path).unwrap();
        let start = Instant::now();
        let mut watch = SocketWatch::new(first.bound_path(), INTERVAL, start);
        fs::remove_file(&path).unwrap();
        let path_to_check = watch.begin(State::Wake, start + INTERVAL).unwrap();
        let second = watch.checked(path_to_check.rebind_if_gone()).expect("another listener");
        drop(first);
        assert!(path.exists(), "closing the old listener does not remove the path of the new one");
        let path_to_check = watch.begin(State::Wake, start + INTERVAL * 2).unwrap();
        assert!(watch.checked(path_to_check.rebind_if_gone()).is_none());

        fs::remove_file(&path).unwrap();
        fs::write(&path, "kept").unwrap();
        for round in 3..5 {
            let path_to_check = watch.begin(State::Wake, start + INTERVAL * round).unwrap();
            assert!(watch.checked(path_to_check.rebind_if_gone()).is_none());
            assert!(watch.logged_error.as_ref().unwrap().contains("is a regular file"), "{:?}", watch.logged_error);
        }
        fs::remove_file(&path).unwrap();
        let path_to_check = watch.begin(State::Wake, start + INTERVAL * 5).unwrap();
        assert!(watch.checked(path_to_check.rebind_if_gone()).is_some());
        assert_eq!(watch.logged_error, None);
        drop(second);
    }
}
