//! The queue between the reader and the callers: jobs, the announcement of the session, and the number
//! of callers.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::pending_calls::{CallKey, LineJob, PendingCalls};
use super::translate::LineActions;

/// Most callers at once. Picked: an assistant rarely has more calls under way, and the daemon has two
/// workers by default.
const MAX_CALLERS: usize = 4;

/// A blocking queue of jobs.
#[derive(Debug, Default)]
pub(crate) struct CallQueue {
    state: Mutex<QueueState>,
    /// Notified when there is work for a caller, or the input has ended.
    work: Condvar,
    /// Notified when a job was taken or a caller has ended.
    space: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    calls: PendingCalls,
    announcement: Announcement,
    /// Callers that run or are being started. `idle <= callers <= MAX_CALLERS`.
    callers: usize,
    /// Callers that wait for work.
    idle: usize,
    input: InputState,
}

/// Whether the daemon has been told of the session (`session_open`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Announcement {
    /// The client has not finished its initialization.
    #[default]
    NotDue,
    Due,
    /// An attempt failed; the next call makes another.
    DueWithNextCall,
    Sent,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InputState {
    #[default]
    Open,
    Ended,
}

/// Whether a caller must announce the session before it carries out a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnnounceFirst {
    Yes,
    No,
}

/// What a caller does next.
#[derive(Debug)]
pub(crate) enum CallerTask {
    Job(LineJob, AnnounceFirst),
    /// Announce the session.
    Announce,
    /// End: no work came within the caller's idle timeout, or the input has ended.
    End,
}

/// Whether new work needs another caller. A caller that is to be started is already counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum CallerDemand {
    None,
    /// No caller runs yet.
    First,
    Another,
}

impl CallQueue {
    /// Turns what a line asks for into a job, carrying out its cancellations. Returns `None` if nothing
    /// of it is answered.
    pub(crate) fn job(&self, actions: LineActions, bytes: usize) -> Option<LineJob> {
        self.lock().calls.job(actions, bytes)
    }

    /// Appends a job, after waiting for space.
    pub(crate) fn push(&self, job: LineJob) -> CallerDemand {
        let mut state = self.lock();
        while !state.calls.has_space(&job) {
            state = self.space.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.calls.push(job);
        self.demand(state)
    }

    /// Makes the announcement of the session due.
    pub(crate) fn announce(&self) -> CallerDemand {
        let mut state = self.lock();
        state.announcement = Announcement::Due;
        self.demand(state)
    }

    /// Wakes an idle caller, or counts a new one if there are too few.
    fn demand(&self, mut state: MutexGuard<'_, QueueState>) -> CallerDemand {
        let tasks = state.calls.waiting() + usize::from(state.announcement == Announcement::Due);
        if tasks <= state.idle || state.callers == MAX_CALLERS {
            self.work.notify_one();
            return CallerDemand::None;
        }
        state.callers += 1;
        if state.callers == 1 { CallerDemand::First } else { CallerDemand::Another }
    }

    /// Returns the calling caller's next task, waiting at most `patience` for one. After
    /// [`CallerTask::End`] the caller is no longer counted.
    pub(crate) fn next(&self, patience: Duration) -> CallerTask {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(job) = state.calls.pop() {
                self.space.notify_all();
                return CallerTask::Job(job, state.announcement.take());
            }
            if state.announcement == Announcement::Due {
                state.announcement = Announcement::Sent;
                return CallerTask::Announce;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.input == InputState::Ended || left.is_zero() {
                state.callers -= 1;
                self.space.notify_all();
                return CallerTask::End;
            }
            state.idle += 1;
            state = self.work.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.idle -= 1;
        }
    }

    /// Records that a caller panicked.
    pub(crate) fn caller_panicked(&self) {
        self.lock().callers -= 1;
        self.space.notify_all();
    }

    /// Records that a demanded caller could not be started. Its work is left to the others.
    pub(crate) fn caller_not_started(&self) {
        self.lock().callers -= 1;
        self.work.notify_one();
    }

    /// Records that the daemon was unreachable for the announcement.
    pub(crate) fn announcement_failed(&self) {
        self.lock().announcement = Announcement::DueWithNextCall;
    }

    /// Returns true if the call is open and was not cancelled.
    pub(crate) fn is_wanted(&self, key: CallKey) -> bool {
        self.lock().calls.is_wanted(key)
    }

    /// Removes the call. Returns true if its reply is still wanted.
    pub(crate) fn close(&self, key: CallKey) -> bool {
        self.lock().calls.close(key)
    }

    /// Records that the input has ended, and waits until every received job is carried out and every
    /// caller has ended.
    pub(crate) fn finish(&self) {
        let mut state = self.lock();
        state.input = InputState::Ended;
        self.work.notify_all();
        while state.callers > 0 || state.calls.waiting() > 0 {
            state = self.space.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Returns the number of callers and the state of the announcement.
    #[cfg(test)]
    pub(crate) fn snapshot(&self) -> (usize, Announcement) {
        let state = self.lock();
        (state.callers, state.announcement)
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Announcement {
    /// Returns whether a caller that takes a job announces the session first, and counts it as sent.
    fn take(&mut self) -> AnnounceFirst {
        match self {
            Announcement::NotDue | Announcement::Sent => AnnounceFirst::No,
            Announcement::Due | Announcement::DueWithNextCall => {
                *self = Announcement::Sent;
                AnnounceFirst::Yes
            }
        }
    }
}
