//! The writer of `lifecycle_state.json`: holds the status, and has one write at a time run on a worker.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;

use crate::daemon::clock::{later, signed, timestamp};
use crate::daemon::task::{TaskResult, guarded};
use crate::lifecycle::machine::Restored;
use crate::lifecycle::state::State;
use crate::lifecycle::state_file::DaemonState;
use crate::lifecycle::status_file::{self, CycleProgress, LifecycleStatus};
use crate::serve::control_plane::{Now, Task};

/// The status, and the state of its file.
pub(crate) struct StatusWriter {
    store: PathBuf,
    /// The status as it is now; [`StatusWriter::request_write`] has it written.
    pub(crate) status: LifecycleStatus,
    /// The file is out of date.
    is_wanted: bool,
    /// A write is in progress.
    is_writing: bool,
}

impl StatusWriter {
    /// Reads the file in `store` at the start of a process. A write is wanted at once, since the state is WAKE.
    ///
    /// A quarantine that is over is removed, and one that lasts longer than `max_quarantine` is cut to that: the
    /// clock that it was noted by was ahead.
    pub(crate) fn load(store: &Path, max_quarantine: Duration, now: Now) -> (StatusWriter, QuarantineAtStart) {
        let started_at = timestamp(now.wall);
        let mut status = status_file::load(store, now.wall);
        let is_over = status.quarantine.take_if(|quarantine| quarantine.until_ts <= started_at).is_some();
        if let Some(quarantine) = &mut status.quarantine {
            quarantine.until_ts = quarantine.until_ts.min(later(started_at, max_quarantine));
        }
        status.current_state = State::Wake.lifecycle_state().into();
        (status.since_ts, status.last_activity_ts) = (Some(started_at), Some(started_at));
        let writer = StatusWriter { store: store.to_owned(), status, is_wanted: true, is_writing: false };
        (writer, if is_over { QuarantineAtStart::Lifted } else { QuarantineAtStart::Unchanged })
    }

    /// Marks the file as out of date.
    pub(crate) fn request_write(&mut self) {
        self.is_wanted = true;
    }

    /// Returns true if the file is up to date and no write is in progress.
    pub(crate) fn is_idle(&self) -> bool {
        !self.is_wanted && !self.is_writing
    }

    /// Returns the write to be started, if one is wanted and none is in progress. `idle` is the time since the last
    /// activity.
    pub(crate) fn begin(&mut self, idle: Duration, now: Now) -> Option<Task<TaskResult>> {
        if !self.is_wanted || self.is_writing {
            return None;
        }
        (self.is_wanted, self.is_writing) = (false, true);
        self.update(idle, now);
        let (store, status) = (self.store.clone(), self.status.clone());
        let panicked = |panic| TaskResult::StatusWritten(Err(io::Error::other(panic)));
        Some(guarded(move || TaskResult::StatusWritten(status_file::write(&store, &status)), panicked))
    }

    /// The write has ended. After a failure the file is written again at the next change.
    pub(crate) fn written(&mut self, outcome: io::Result<()>) {
        self.is_writing = false;
        self.log_failure(outcome);
    }

    /// Writes the status at the end of the process, when no worker runs any more, unless the file is up to date.
    pub(crate) fn finish(&mut self, idle: Duration, now: Now) {
        self.update(idle, now);
        if !self.is_idle() {
            let outcome = status_file::write(&self.store, &self.status);
            self.log_failure(outcome);
        }
    }

    fn update(&mut self, idle: Duration, now: Now) {
        self.status.last_activity_ts = timestamp(now.wall).checked_sub(signed(idle)).ok();
        self.status.wrapper_event_seq += 1;
    }

    fn log_failure(&self, outcome: io::Result<()>) {
        if let Err(error) = outcome {
            log::error!("{} cannot be written: {error}", self.store.join(status_file::NAME).display());
        }
    }
}

/// What a start found of a quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuarantineAtStart {
    /// There was none, or it goes on.
    Unchanged,
    /// It was over.
    Lifted,
}

/// Returns what the machine takes over from the last process.
pub(crate) fn restored(state: &DaemonState, status: &LifecycleStatus, now: Now) -> Restored {
    let wall = timestamp(now.wall);
    let ahead = |until: Timestamp| Duration::try_from(until.duration_since(wall)).unwrap_or_default();
    let quarantine = status.quarantine.as_ref().map(|quarantine| now.instant + ahead(quarantine.until_ts));
    let failing = status.sleep_cycle_progress.as_ref().and_then(|CycleProgress { failed_step, attempt, .. }| {
        Some((failed_step.clone()?, *attempt)).filter(|(_, attempt)| *attempt > 0)
    });
    Restored { is_paused: state.scheduler_paused, quarantine, failing, commands: state.pending() }
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::lifecycle::status_file::Quarantine;

    #[test]
    fn a_quarantine_survives_a_clock_that_jumps() {
        let instant = Instant::now();
        let day = Duration::from_secs(86_400);
        let noted: Timestamp = "2026-05-14T12:00:00Z".parse().unwrap();
        let quarantine = Quarantine { until_ts: noted, reason: "x".into(), since_ts: noted };
        let status = LifecycleStatus { quarantine: Some(quarantine), ..LifecycleStatus::default() };
        let until = |wall: SystemTime| {
            restored(&DaemonState::default(), &status, Now { instant, wall }).quarantine.expect("kept") - instant
        };
        let wall = SystemTime::from(noted);
        assert_eq!(until(wall - day), day);
        assert_eq!(until(wall + day), Duration::ZERO, "set forward: it is over");
        assert!(until(SystemTime::UNIX_EPOCH - day) > day * 365, "set back");

        let store = tempfile::tempdir().unwrap();
        status_file::write(store.path(), &status).unwrap();
        let load = |wall| StatusWriter::load(store.path(), day, Now { instant, wall });
        let (writer, quarantine) = load(wall - day * 9);
        assert_eq!(writer.status.quarantine.map(|quarantine| quarantine.until_ts), Some(timestamp(wall - day * 8)));
        assert_eq!(quarantine, QuarantineAtStart::Unchanged);
        let (writer, quarantine) = load(wall);
        assert_eq!((writer.status.quarantine, quarantine), (None, QuarantineAtStart::Lifted));
    }
}
