//! Takes up a forgetting that a kill or an error has interrupted.

use std::time::Instant;

use crate::dispatch::CallError;
use crate::memory::forgetting::handle::{Forgetting, unfinished};
use crate::memory::forgetting::phase::ForgettingPhase;
use crate::memory::forgetting::run;
use crate::memory::transfer::maintenance_lock::MaintenanceGuard;

impl Forgetting {
    /// Takes up the forgetting that was interrupted, if that is due.
    pub fn resume_if_due(&self, now: Instant) {
        if self.retry_at().is_some_and(|at| at <= now) {
            match self.lock.try_acquire() {
                Ok(lock) => run::resume(self.clone(), lock),
                Err(_) => self.progress.delay(now),
            }
        }
    }

    /// Takes the lock for a new forgetting. `interrupted` is the phase of one that is not at its end: if records of it are
    /// left, it is taken up instead. Later phases are done again for both.
    ///
    /// # Errors
    /// -32001 if another forgetting, backup or check runs, or records of an earlier one are left.
    pub(crate) fn acquire(&self, interrupted: Option<ForgettingPhase>) -> Result<MaintenanceGuard, CallError> {
        self.check_settled()?;
        let lock = self.lock.try_acquire()?;
        if interrupted.is_some_and(|phase| phase < ForgettingPhase::Rewrite) {
            run::resume(self.clone(), lock);
            return Err(unfinished());
        }
        Ok(lock)
    }

    /// Takes the lock as [`Forgetting::acquire`], but waits for the forgetting that it takes up instead. Passes the lock to
    /// `then`, or `None` if it has to be taken again.
    pub(crate) fn acquire_after(
        &self,
        interrupted: Option<ForgettingPhase>,
        then: impl FnOnce(Result<Option<MaintenanceGuard>, CallError>) + Send + 'static,
    ) {
        match self.check_settled().and_then(|()| self.lock.try_acquire()) {
            Ok(lock) if interrupted.is_some_and(|phase| phase < ForgettingPhase::Rewrite) => {
                run::resume_then(self.clone(), lock, Box::new(move |outcome| then(outcome.map(|_| None))));
            }
            outcome => then(outcome.map(Some)),
        }
    }
}
