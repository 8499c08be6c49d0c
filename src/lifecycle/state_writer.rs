//! Coalesces changes of the state file: the state on disk, the write in progress and the changes that wait.
//!
//! One write is in progress at a time. Changes that are requested meanwhile wait and go into the next write
//! together. A change is in force once it is on disk. Pure: the owner does the writing.

use jiff::Timestamp;

use crate::lifecycle::state_file::{DaemonState, Digest, StateChange};

/// The state and its changes. `T` identifies the requester of a change.
#[derive(Debug)]
pub struct StateWriter<T> {
    state: DaemonState,
    in_progress: Option<InProgress<T>>,
    waiting: Vec<(StateChange, T)>,
}

/// Fields of the file whose values belong to another part of the daemon.
#[derive(Clone, Debug, Default)]
pub struct MirroredFields {
    /// The time of the last tick.
    pub last_tick_at: Option<Timestamp>,
    /// Totals of the cycles since the last digest.
    pub pending_digest: Option<Digest>,
}

#[derive(Debug)]
struct InProgress<T> {
    state: DaemonState,
    changes: Vec<(StateChange, T)>,
}

impl<T> StateWriter<T> {
    /// Starts from the state on disk.
    pub fn new(state: DaemonState) -> StateWriter<T> {
        StateWriter { state, in_progress: None, waiting: Vec::new() }
    }

    /// Returns the state on disk.
    pub fn state(&self) -> &DaemonState {
        &self.state
    }

    /// Returns true if every requested change is on disk or has failed.
    pub fn is_idle(&self) -> bool {
        self.in_progress.is_none() && self.waiting.is_empty()
    }

    /// Requests a change.
    pub fn request(&mut self, change: StateChange, requester: T) {
        self.waiting.push((change, requester));
    }

    /// Returns the changes in the write in progress.
    pub fn in_progress(&self) -> impl Iterator<Item = &StateChange> {
        self.in_progress.iter().flat_map(|write| write.changes.iter().map(|(change, _)| change))
    }

    /// Begins a write if changes wait and none is in progress. Returns the state to be written; the caller must report
    /// the write's end to [`StateWriter::written`].
    pub fn begin(&mut self, now: Timestamp, mirrored: MirroredFields) -> Option<DaemonState> {
        if self.in_progress.is_some() || self.waiting.is_empty() {
            return None;
        }
        let changes = std::mem::take(&mut self.waiting);
        let mut state = self.state.clone();
        state.last_tick_at = mirrored.last_tick_at;
        state.pending_digest = mirrored.pending_digest;
        for (change, _) in &changes {
            state.apply(change, now);
        }
        self.in_progress = Some(InProgress { state: state.clone(), changes });
        Some(state)
    }

    /// Ends the write in progress. Returns its changes with their requesters. After a failure none of them is in force.
    pub fn written<E>(&mut self, result: Result<(), E>) -> Vec<(StateChange, T)> {
        let Some(write) = self.in_progress.take() else { return Vec::new() };
        if result.is_ok() {
            self.state = write.state;
        }
        write.changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_in_force_once_written_and_one_write_runs_at_a_time() {
        let now = Timestamp::UNIX_EPOCH;
        let mut writer = StateWriter::new(DaemonState::default());
        assert_eq!(writer.begin(now, MirroredFields::default()), None);
        writer.request(StateChange::Pause, 1);
        assert!(writer.begin(now, MirroredFields::default()).unwrap().scheduler_paused);
        assert!(!writer.state().scheduler_paused);

        writer.request(StateChange::Resume, 2);
        writer.request(StateChange::SessionOpen { session_id: None, is_start: false }, 3);
        assert_eq!(writer.begin(now, MirroredFields::default()), None, "one write at a time");
        assert_eq!(writer.written(Ok::<(), ()>(())), [(StateChange::Pause, 1)]);
        assert!(writer.state().scheduler_paused);

        let both = writer.begin(now, MirroredFields { last_tick_at: Some(now), pending_digest: None }).unwrap();
        assert!(!both.scheduler_paused && both.last_session_open.is_some() && both.last_tick_at == Some(now));
        assert_eq!(writer.written(Err("disk full")).len(), 2);
        assert!(writer.state().scheduler_paused, "a change that was not written is not in force");
        assert_eq!(writer.begin(now, MirroredFields::default()), None);
    }
}
