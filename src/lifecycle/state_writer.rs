//! What is kept, what is being written, and who waits for it.
//!
//! One write is under way at a time. What is asked meanwhile waits and goes into the next one
//! together, so the file is never written behind its time, and a change counts only once it is on
//! disk. Pure: its owner does the writing.

use jiff::Timestamp;

use crate::lifecycle::state_file::{DaemonState, Digest, StateChange};

/// HasUnknownKeys the state. `T` names who asked.
#[derive(Debug)]
pub struct StateWriter<T> {
    kept: DaemonState,
    writing: Option<Writing<T>>,
    waiting: Vec<(StateChange, T)>,
}

/// What the file shows and somebody else keeps.
#[derive(Clone, Debug, Default)]
pub struct MirroredFields {
    /// The last tick.
    pub last_tick_at: Option<Timestamp>,
    /// What nobody was shown yet.
    pub pending_digest: Option<Digest>,
}

#[derive(Debug)]
struct Writing<T> {
    state: DaemonState,
    askers: Vec<(StateChange, T)>,
}

impl<T> StateWriter<T> {
    /// Starts from what was on disk.
    pub fn new(kept: DaemonState) -> StateWriter<T> {
        StateWriter { kept, writing: None, waiting: Vec::new() }
    }

    /// What is on disk.
    pub fn kept(&self) -> &DaemonState {
        &self.kept
    }

    /// Is all that was asked on disk, or refused?
    pub fn is_written(&self) -> bool {
        self.writing.is_none() && self.waiting.is_empty()
    }

    /// Takes in what somebody asks.
    pub fn ask(&mut self, ask: StateChange, asker: T) {
        self.waiting.push((ask, asker));
    }

    /// What the write under way is for.
    pub fn under_way(&self) -> impl Iterator<Item = &StateChange> {
        self.writing.iter().flat_map(|writing| writing.askers.iter().map(|(ask, _)| ask))
    }

    /// The state to be written now, if a write is wanted and none is under way. Its end must be told
    /// to [`StateWriter::written`].
    pub fn begin(&mut self, now: Timestamp, mirror: MirroredFields) -> Option<DaemonState> {
        if self.writing.is_some() || self.waiting.is_empty() {
            return None;
        }
        let askers = std::mem::take(&mut self.waiting);
        let mut state = self.kept.clone();
        state.last_tick_at = mirror.last_tick_at;
        state.pending_digest = mirror.pending_digest;
        for (ask, _) in &askers {
            state.apply(ask, now);
        }
        self.writing = Some(Writing { state: state.clone(), askers });
        Some(state)
    }

    /// The write has ended. Gives who asked for what it held.
    pub fn written<E>(&mut self, result: Result<(), E>) -> Vec<(StateChange, T)> {
        let Some(writing) = self.writing.take() else { return Vec::new() };
        if result.is_ok() {
            self.kept = writing.state;
        }
        writing.askers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_count_once_they_are_written_and_wait_for_each_other() {
        let now = Timestamp::UNIX_EPOCH;
        let mut keeper = StateWriter::new(DaemonState::default());
        assert_eq!(keeper.begin(now, MirroredFields::default()), None);
        keeper.ask(StateChange::Pause, 1);
        assert!(keeper.begin(now, MirroredFields::default()).unwrap().scheduler_paused);
        assert!(!keeper.kept().scheduler_paused);

        keeper.ask(StateChange::Resume, 2);
        keeper.ask(StateChange::SessionOpen { session_id: None }, 3);
        assert_eq!(keeper.begin(now, MirroredFields::default()), None, "one write at a time");
        assert_eq!(keeper.written(Ok::<(), ()>(())), [(StateChange::Pause, 1)]);
        assert!(keeper.kept().scheduler_paused);

        let both = keeper.begin(now, MirroredFields { last_tick_at: Some(now), pending_digest: None }).unwrap();
        assert!(!both.scheduler_paused && both.last_session_open.is_some() && both.last_tick_at == Some(now));
        assert_eq!(keeper.written(Err("disk full")).len(), 2);
        assert!(keeper.kept().scheduler_paused, "what was not written does not count");
        assert_eq!(keeper.begin(now, MirroredFields::default()), None);
    }
}
