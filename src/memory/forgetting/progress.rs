//! The progress of a forgetting, in memory: whether one runs, or waits to be tried again after an error. Any thread may
//! read it; the lock is held to copy a value only.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::memory::forgetting::phase::ForgettingPhase;

/// The pause before the first new attempt. It doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two attempts. Picked: each may write as much as the whole store.
const MAX_PAUSE: Duration = Duration::from_secs(600);

/// The progress of a forgetting.
#[derive(Debug, Default)]
pub(crate) struct ForgettingProgress(Mutex<Current>);

#[derive(Debug, Default)]
struct Current {
    activity: Activity,
    /// Attempts that have failed, one after the other.
    failures: u32,
    /// Sessions whose last record was forgotten, until the state file leaves them out.
    sessions: Vec<String>,
}

#[derive(Debug, Default)]
enum Activity {
    /// There is no forgetting.
    #[default]
    None,
    Running(ForgettingPhase),
    /// It failed in this phase, and is tried again at this time.
    Waiting(ForgettingPhase, String, Instant),
}

/// What `status` shows of a forgetting that is not at its end.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ForgettingStatus {
    phase: &'static str,
    /// Why the last attempt failed; `None` while one runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Seconds until the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_sec: Option<u64>,
}

impl ForgettingProgress {
    fn lock(&self) -> MutexGuard<'_, Current> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a forgetting runs in `phase`.
    pub(crate) fn set_running(&self, phase: ForgettingPhase) {
        self.lock().activity = Activity::Running(phase);
    }

    /// Returns the phase in which a forgetting runs or waits.
    pub(crate) fn phase(&self) -> ForgettingPhase {
        match self.lock().activity {
            Activity::None => ForgettingPhase::Select,
            Activity::Running(phase) | Activity::Waiting(phase, ..) => phase,
        }
    }

    /// Notes that a forgetting is to be taken up at once.
    pub(crate) fn set_interrupted(&self, now: Instant) {
        self.lock().activity = Activity::Waiting(ForgettingPhase::Remove, String::new(), now);
    }

    /// Call after the store's whole content was replaced: `is_interrupted` by that of a store with an interrupted forgetting.
    pub(crate) fn reload(&self, is_interrupted: bool, now: Instant) {
        match self.lock().activity {
            // It goes on with the new content.
            Activity::Running(_) => return,
            Activity::None | Activity::Waiting(..) => {}
        }
        if is_interrupted { self.set_interrupted(now) } else { self.set_ended() }
    }

    /// Notes that an attempt has failed. Returns the pause until the next one.
    pub(crate) fn set_failed(&self, phase: ForgettingPhase, error: &str, now: Instant) -> Duration {
        let mut progress = self.lock();
        let pause = FIRST_PAUSE.saturating_mul(1 << progress.failures.min(16)).min(MAX_PAUSE);
        progress.failures += 1;
        progress.activity = Activity::Waiting(phase, error.to_owned(), now + pause);
        pause
    }

    /// Notes that there is no forgetting any more.
    pub(crate) fn set_ended(&self) {
        let mut progress = self.lock();
        (progress.activity, progress.failures) = (Activity::None, 0);
    }

    /// Delays the next attempt: another long call runs.
    pub(crate) fn delay(&self, now: Instant) {
        if let Activity::Waiting(_, _, at) = &mut self.lock().activity {
            *at = now + FIRST_PAUSE;
        }
    }

    /// Returns when the next attempt is due; `None` if there is nothing to attempt, or one runs.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        match self.lock().activity {
            Activity::Waiting(_, _, at) => Some(at),
            Activity::None | Activity::Running(_) => None,
        }
    }

    /// Returns true if records are being deleted, or what was made of them: a selection may change at any moment.
    pub(crate) fn is_unsettled(&self) -> bool {
        let progress = self.lock();
        match progress.activity {
            Activity::Running(phase) => phase < ForgettingPhase::Truncate || progress.failures == 0,
            Activity::None | Activity::Waiting(..) => false,
        }
    }

    /// Returns true if a forgetting is not at its end.
    pub(crate) fn is_pending(&self) -> bool {
        !matches!(self.lock().activity, Activity::None)
    }

    pub(crate) fn status(&self, now: Instant) -> Option<ForgettingStatus> {
        match &self.lock().activity {
            Activity::None => None,
            Activity::Running(phase) => Some(ForgettingStatus { phase: phase.name(), error: None, retry_in_sec: None }),
            Activity::Waiting(phase, error, at) => Some(ForgettingStatus {
                phase: phase.name(),
                error: Some(error.clone()),
                retry_in_sec: Some(at.saturating_duration_since(now).as_secs()),
            }),
        }
    }

    /// Adds sessions whose last record was forgotten.
    pub(crate) fn add_sessions(&self, sessions: &[String]) {
        self.lock().sessions.extend_from_slice(sessions);
    }

    /// Takes the sessions that were added.
    pub(crate) fn take_sessions(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().sessions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_minutes_and_begin_anew_after_an_end() {
        let (progress, now) = (ForgettingProgress::default(), Instant::now());
        assert_eq!((progress.retry_at(), progress.status(now)), (None, None));
        let pauses: Vec<u64> =
            (0..12).map(|_| progress.set_failed(ForgettingPhase::Rewrite, "full", now).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        assert_eq!(progress.retry_at(), Some(now + MAX_PAUSE));
        let status = progress.status(now + Duration::from_secs(100)).unwrap();
        assert_eq!((status.phase, status.error.as_deref(), status.retry_in_sec), ("rewrite", Some("full"), Some(500)));
        assert!(progress.is_pending() && !progress.is_unsettled());
        progress.set_running(ForgettingPhase::Rewrite);
        assert!(progress.retry_at().is_none() && progress.is_unsettled());
        progress.set_running(ForgettingPhase::Truncate);
        assert!(!progress.is_unsettled(), "an attempt after one that has failed");
        progress.set_ended();
        assert!(!progress.is_pending());
        assert_eq!(progress.set_failed(ForgettingPhase::Merge, "", now), FIRST_PAUSE);
    }
}
