//! When it is looked whether the socket is still where it was bound, and what is said of it.
//!
//! The looks themselves wait for a file system, so workers do them. An inherited socket's path is its
//! owner's, and is never looked at.

use std::time::{Duration, Instant};

use crate::lifecycle::state::State;
use crate::sys::listener::{BindError, BoundPath, Listener};

/// When the next look is due.
pub(crate) struct SocketWatch {
    /// `None` where the listener was handed over.
    place: Option<BoundPath>,
    /// Between two looks.
    every: Duration,
    due: Instant,
    is_looking: bool,
    /// What keeps the path from being bound again, as the log has it.
    told: Option<String>,
}

impl SocketWatch {
    /// The first look is at once, with that for deferred captures: one wake-up is enough for both.
    pub(crate) fn new(place: Option<BoundPath>, every: Duration, now: Instant) -> SocketWatch {
        SocketWatch { place, every, due: now, is_looking: false, told: None }
    }

    /// When the next look is due in this state (the lifecycle's rule: none asleep).
    pub(crate) fn moment(&self, state: State) -> Option<Instant> {
        let is_awake = matches!(state, State::Wake | State::Drowsy);
        (is_awake && self.place.is_some() && !self.is_looking).then_some(self.due)
    }

    /// Somebody woke the daemon: the next look is due at once.
    pub(crate) fn woken(&mut self, now: Instant) {
        self.due = now;
    }

    /// A look begins, at this place, if one is due.
    pub(crate) fn begin(&mut self, state: State, now: Instant) -> Option<BoundPath> {
        self.moment(state).filter(|due| *due <= now)?;
        self.is_looking = true;
        self.due = now + self.every;
        self.place.clone()
    }

    /// What a look has found. Gives the listener to go on with, if there is another.
    pub(crate) fn looked(&mut self, found: Result<Option<Listener>, BindError>) -> Option<Listener> {
        self.is_looking = false;
        let path = self.place.as_ref()?.path();
        let found = found.map_err(|error| error.to_string());
        if let Err(why) = &found
            && self.told.as_ref() != Some(why)
        {
            log::warn!(
                "socket {} is ours no more, so nobody new can connect, and is not bound again: {why}",
                path.display()
            );
        }
        self.told = found.as_ref().err().cloned();
        let listener = found.ok().flatten()?;
        log::warn!("socket {} had gone and was bound again", path.display());
        self.place = listener.place();
        Some(listener)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const EVERY: Duration = Duration::from_secs(60);

    #[test]
    fn it_is_looked_once_a_minute_while_awake_and_at_each_wake() {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(&dir.path().join("a.sock")).unwrap();
        let start = Instant::now();
        let mut watch = SocketWatch::new(listener.place(), EVERY, start);
        assert_eq!(watch.moment(State::Wake), Some(start));
        assert!(watch.begin(State::Wake, start).is_some());
        assert!(watch.looked(Ok(None)).is_none());
        assert_eq!(watch.moment(State::Wake), Some(start + EVERY));
        assert_eq!(watch.moment(State::Drowsy), Some(start + EVERY));
        for state in [State::Transitioning, State::Sleep, State::Dreaming, State::Hibernation] {
            assert_eq!(watch.moment(state), None);
            assert!(watch.begin(state, start + EVERY * 9).is_none());
        }
        assert!(watch.begin(State::Wake, start + EVERY / 2).is_none());
        assert!(watch.begin(State::Wake, start + EVERY).is_some());
        assert_eq!(watch.moment(State::Wake), None, "one look at a time");
        assert!(watch.begin(State::Wake, start + EVERY * 9).is_none());
        assert!(watch.looked(Ok(None)).is_none());
        assert_eq!(watch.moment(State::Wake), Some(start + EVERY * 2));
        watch.woken(start + EVERY + Duration::from_secs(1));
        assert!(watch.begin(State::Wake, start + EVERY + Duration::from_secs(1)).is_some());

        let mut inherited = SocketWatch::new(None, EVERY, start);
        inherited.woken(start);
        assert!(inherited.begin(State::Wake, start + EVERY).is_none());
        assert_eq!(inherited.moment(State::Wake), None);
    }

    #[test]
    fn after_another_listener_was_made_that_one_is_looked_after() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sock");
        let first = Listener::bind(&path).unwrap();
        let start = Instant::now();
        let mut watch = SocketWatch::new(first.place(), EVERY, start);
        fs::remove_file(&path).unwrap();
        let place = watch.begin(State::Wake, start + EVERY).unwrap();
        let second = watch.looked(place.renew()).expect("another listener");
        drop(first);
        assert!(path.exists(), "the old one's end does not take the new one's path");
        let place = watch.begin(State::Wake, start + EVERY * 2).unwrap();
        assert!(watch.looked(place.renew()).is_none());

        fs::remove_file(&path).unwrap();
        fs::write(&path, "kept").unwrap();
        for round in 3..5 {
            let place = watch.begin(State::Wake, start + EVERY * round).unwrap();
            assert!(watch.looked(place.renew()).is_none());
            assert!(watch.told.as_ref().unwrap().contains("is a plain file"), "{:?}", watch.told);
        }
        fs::remove_file(&path).unwrap();
        let place = watch.begin(State::Wake, start + EVERY * 5).unwrap();
        assert!(watch.looked(place.renew()).is_some());
        assert_eq!(watch.told, None);
        drop(second);
    }
}
