//! Runs a forgetting: its chunks on the writer, and on a thread of its own what takes long without the writer.

use std::ops::ControlFlow;
use std::thread;
use std::time::{Duration, Instant};

use crate::dispatch::{CallError, LateReply};
use crate::memory::consolidation::chunks::run_chunks;
use crate::memory::forgetting::handle::Forgetting;
use crate::memory::forgetting::job::{ForgettingJob, KEPT_LOG, OffThreadWork, TRUNCATE_ATTEMPTS};
use crate::memory::forgetting::phase::ForgettingPhase;
use crate::memory::forgetting::result::{ForgetResult, LeftCopy};
use crate::memory::forgetting::selection::Confirmed;
use crate::memory::store::writer::handover;
use crate::memory::transfer::maintenance_lock::MaintenanceGuard;

/// Attempts to truncate the write-ahead log when the work was taken up again: it is tried again later.
const LATER_TRUNCATE_ATTEMPTS: u32 = 3;

/// Why no further chunk follows.
enum Stop {
    /// The work is done. False: the log could not be truncated.
    Finished(ForgetResult, bool),
    /// Work without the writer is next.
    OffThreadWork(Box<ForgettingJob>, OffThreadWork),
}

pub(crate) type Done = Box<dyn FnOnce(Result<ForgetResult, CallError>) + Send>;

/// Forgets the records of a selection, and answers.
pub(crate) fn start(forgetting: Forgetting, lock: MaintenanceGuard, confirmed: Confirmed, reply: LateReply) {
    start_then(forgetting, lock, confirmed, Box::new(|outcome| reply.send(outcome)));
}

/// Forgets the records of a selection, and passes the outcome to `done`.
pub(crate) fn start_then(forgetting: Forgetting, lock: MaintenanceGuard, confirmed: Confirmed, done: Done) {
    ForgettingJob::new(forgetting, Some(confirmed)).run(lock, done);
}

/// Takes up a forgetting that a kill or an error has interrupted.
pub(crate) fn resume(forgetting: Forgetting, lock: MaintenanceGuard) {
    resume_then(forgetting, lock, Box::new(drop));
}

/// As [`resume`], and passes the outcome to `done`.
pub(crate) fn resume_then(forgetting: Forgetting, lock: MaintenanceGuard, done: Done) {
    forgetting.progress.set_running(ForgettingPhase::Remove);
    let mut job = ForgettingJob::new(forgetting, None);
    job.attempts = TRUNCATE_ATTEMPTS - LATER_TRUNCATE_ATTEMPTS;
    job.run(
        lock,
        Box::new(|outcome| {
            match &outcome {
                Ok(result) => {
                    log::info!("a forgetting that was interrupted has removed {} more records", result.forgotten);
                    for LeftCopy { r#where, what, .. } in &result.left {
                        log::info!("a copy may be left in {}: {what}", r#where);
                    }
                }
                Err(error) => log::error!("a forgetting that was interrupted cannot be continued: {}", error.message),
            }
            done(outcome);
        }),
    );
}

impl ForgettingJob {
    /// Runs the chunks. `lock` is released before `done` is called, so that what follows can take it.
    fn run(self, lock: MaintenanceGuard, done: Done) {
        let (writer, progress) = (self.maintenance().writer.clone(), self.forgetting.progress.clone());
        let (is_resumed, running) = (self.confirmed.is_none() || progress.is_pending(), progress.clone());
        let mut job = Some(Box::new(self));
        run_chunks(
            writer,
            move |transaction| {
                let Some(mut present) = job.take() else { return Err(CallError::failed("the work has ended")) };
                running.set_running(present.phase);
                Ok(match present.chunk(transaction)? {
                    ControlFlow::Continue(None) => {
                        job = Some(present);
                        ControlFlow::Continue(())
                    }
                    ControlFlow::Continue(Some(work)) => ControlFlow::Break(Stop::OffThreadWork(present, work)),
                    ControlFlow::Break((result, is_truncated)) => {
                        ControlFlow::Break(Stop::Finished(result, is_truncated))
                    }
                })
            },
            move |outcome| {
                let phase = progress.phase();
                let outcome = match outcome {
                    Ok(Stop::OffThreadWork(job, work)) => return job.run_off_thread(work, lock, done),
                    Ok(Stop::Finished(result, true)) => {
                        progress.set_ended();
                        Ok(result)
                    }
                    Ok(Stop::Finished(result, false)) => {
                        progress.set_failed(ForgettingPhase::Truncate, KEPT_LOG, Instant::now());
                        Ok(result)
                    }
                    Err(error) if is_resumed || phase >= ForgettingPhase::Remove => {
                        let pause = progress.set_failed(phase, &error.message, Instant::now());
                        Err(interrupted(phase, &error, pause))
                    }
                    Err(error) => {
                        progress.set_ended();
                        Err(error)
                    }
                };
                drop(lock);
                done(outcome);
            },
        );
    }

    /// Does work on a thread of its own, and goes on with the chunks.
    fn run_off_thread(mut self: Box<Self>, work: OffThreadWork, lock: MaintenanceGuard, done: Done) {
        let (progress, phase) = (self.forgetting.progress.clone(), self.phase);
        let started = handover::spawn(move || {
            match work {
                OffThreadWork::Wait(time) => thread::sleep(time),
                OffThreadWork::WriteNewFile => self.write_new_file(),
                OffThreadWork::ClearFiles(names) => self.clear_files(&names),
            }
            self.run(lock, done);
        });
        // The reply was dropped with the work, which answers it with an error.
        if let Err(error) = started {
            log::error!("a forgetting cannot go on: no thread can be started ({error})");
            progress.set_failed(phase, &format!("no thread can be started ({error})"), Instant::now());
        }
    }
}

/// Returns the error of a forgetting that has begun to delete, and is tried again after `pause`.
fn interrupted(phase: ForgettingPhase, error: &CallError, pause: Duration) -> CallError {
    let state = match phase {
        ForgettingPhase::Select | ForgettingPhase::Reindex => return error.clone(),
        ForgettingPhase::Remove => "records are partly forgotten",
        ForgettingPhase::Merge | ForgettingPhase::Files | ForgettingPhase::Rewrite | ForgettingPhase::Truncate => {
            "the records are forgotten, but bytes of them may be left in the store's folder"
        }
    };
    let (seconds, message) = (pause.as_secs(), &error.message);
    CallError::failed(format!("{state}: {message}; the daemon tries again by itself in {seconds} s, and at each start"))
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use crate::memory::{ChunkOutcome, Cycle, Maintenance};
    use serde_json::{Value, json};

    /// Runs a cycle until `step`, or to its end.
    fn run_until(maintenance: &Maintenance, mut cycle: Cycle, step: Option<&str>) -> Option<Cycle> {
        while step.is_none() || cycle.step() != step {
            match maintenance.run_chunk(cycle) {
                ChunkOutcome::Ran { cycle: next, .. } => cycle = next,
                ChunkOutcome::Ended(_) => return None,
                ChunkOutcome::Failed(report, error) => panic!("{report:?} {error}"),
            }
        }
        Some(cycle)
    }

    fn forget(bench: &Bench, selection: Value) {
        let proposed = bench.ok("memory_forget", selection);
        bench.ok("memory_forget", json!({"token": proposed["token"]}));
    }

    #[test]
    fn what_is_left_is_learned_again_also_by_a_cycle_that_was_in_progress() {
        let count = |bench: &Bench, table: &str| bench.row::<i64>(&format!("SELECT count(*) FROM {table} WHERE ?1"), 1);
        for (step, is_restarted) in [("decay", false), ("decay", true), ("precache", false)] {
            let mut bench = Bench::new();
            for n in 0..40 {
                let text = format!("guitar lessons in session {n} with strings");
                bench.capture(&text, json!({"session_id": format!("s{n}")}));
            }
            let first = bench.capture("guitar lessons that nobody wants to remember", json!({"session_id": "gone"}));
            let maintenance = bench.memory.maintenance();
            let cycle = run_until(&maintenance, maintenance.begin_cycle().unwrap(), Some(step)).unwrap();
            let learned = |bench: &Bench| bench.row::<i64>("SELECT value FROM meta WHERE key = 'step_learn' AND ?1", 1);
            let patterns = count(&bench, "tag");
            assert!(learned(&bench) > 0 && patterns > 0, "{patterns}");
            forget(&bench, json!({"ids": [first]}));
            assert_eq!(learned(&bench), 0);
            if is_restarted {
                drop(cycle);
                bench.restart();
                let maintenance = bench.memory.maintenance();
                assert!(run_until(&maintenance, maintenance.begin_cycle().unwrap(), None).is_none());
            } else {
                assert!(run_until(&maintenance, cycle, None).is_none());
            }
            assert!(learned(&bench) > 0, "{step} {is_restarted}");
            assert_eq!(count(&bench, "tag"), patterns, "{step} {is_restarted}");
            assert!(!bench.memory.maintenance().has_changes(), "{step} {is_restarted}");
        }
    }
}
