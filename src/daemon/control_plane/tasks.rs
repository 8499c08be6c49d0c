//! The control plane's tasks on workers: which are started, and what their results change.

use std::io;
use std::time::Instant;

use jiff::Timestamp;

use super::DaemonControlPlane;
use crate::daemon::clock::timestamp;
use crate::daemon::rem_cycle::ChunkEffects;
use crate::daemon::socket_owner;
use crate::daemon::status::ControlReply;
use crate::daemon::task::{TaskResult, guarded};
use crate::dispatch::CallError;
use crate::lifecycle::heartbeats;
use crate::lifecycle::journal::Entry;
use crate::lifecycle::machine::Event;
use crate::lifecycle::quiet_window::{self, QuietWindow};
use crate::lifecycle::state::{Command, State};
use crate::lifecycle::state_file::{self, Digest, StateChange};
use crate::lifecycle::state_writer::MirroredFields;
use crate::memory::{DrainReport, FileOutcome};
use crate::serve::control_plane::{LoopCommands, Now};
use crate::sys::{memory, process};
use crate::wire::reply;

/// Microseconds of a day.
const DAY_US: i64 = 24 * 3_600_000_000;

/// Longest error text of a refusal, in characters (the protocol's limit).
const REFUSAL_CHARS: usize = 200;

impl DaemonControlPlane {
    /// Starts the tasks that are due and not in progress.
    pub(crate) fn start_tasks(&mut self, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let at = timestamp(now.wall);
        self.write_state(at, commands);
        if !self.is_background_busy {
            self.start_background_task(at, now.instant, commands);
        }
        if let Some(path) = self.socket.begin(self.machine.state(), now.instant) {
            let panicked = path.clone();
            let panicked =
                move |panic| TaskResult::SocketChecked(Err(panicked.failed("check", io::Error::other(panic))));
            let check = move || TaskResult::SocketChecked(path.rebind_if_gone().map_err(socket_owner::named));
            commands.run_task(guarded(check, panicked));
        }
        let idle = self.idle(now);
        if let Some(task) = self.status_writer.begin(idle, now) {
            commands.run_task(task);
        }
        if let Some(task) = self.journal.begin() {
            commands.run_task(task);
        }
    }

    /// Starts the next chunk of the cycle while the machine is in DREAMING, else a batch of deferred captures if
    /// one is due.
    fn start_background_task(&mut self, at: Timestamp, now: Instant, commands: &mut LoopCommands<TaskResult>) {
        if self.machine.state() == State::Dreaming {
            let progress = self.status_writer.status.sleep_cycle_progress.get_or_insert_default();
            progress.started_at.get_or_insert(at);
            let (task, new_step) = self.rem_cycle.next();
            if let Some(step) = new_step {
                self.journal.push(at, Entry::SleepStepStarted { step });
            }
            self.is_background_busy = true;
            commands.run_task(task);
        } else if self.spool.deadline(self.machine.state()).is_some_and(|due| due <= now) {
            self.spool.started(now);
            let maintenance = self.rem_cycle.maintenance().clone();
            let panicked = |panic| TaskResult::DrainReport(Err(CallError::failed(panic)));
            let drain = move || TaskResult::DrainReport(maintenance.drain(at.as_microsecond()));
            self.is_background_busy = true;
            commands.run_task(guarded(drain, panicked));
        }
    }

    /// Starts a write of the state file if changes are waiting. The sessions among them are recorded in the store
    /// first: their first recall may follow the reply at once.
    fn write_state(&mut self, at: Timestamp, commands: &mut LoopCommands<TaskResult>) {
        let mirrored =
            MirroredFields { last_tick_at: self.last_tick.map(timestamp), pending_digest: self.pending_digest() };
        let Some(state) = self.state_writer.begin(at, mirrored) else { return };
        let opened = |change: &StateChange| match change {
            StateChange::SessionOpen { session_id, is_start } => session_id.clone().map(|id| (id, *is_start)),
            _ => None,
        };
        let opened: Vec<(String, bool)> = self.state_writer.in_progress().filter_map(opened).collect();
        let (store, maintenance) = (self.store.clone(), self.rem_cycle.maintenance().clone());
        let write = move || {
            for (session, is_start) in opened {
                if let Err(error) = maintenance.session_opened(&session, at.as_microsecond(), is_start) {
                    log::warn!("an opened session cannot be recorded: {}", error.message);
                }
            }
            TaskResult::StateWritten(state_file::write(&store, &state))
        };
        commands.run_task(guarded(write, |panic| TaskResult::StateWritten(Err(io::Error::other(panic)))));
    }

    /// Starts learning the quiet window from the times at which sessions were opened.
    pub(crate) fn learn_quiet_window(&mut self, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let at = timestamp(now.wall);
        self.quiet_hours.learning(now.instant);
        let (maintenance, zone) = (self.rem_cycle.maintenance().clone(), self.quiet_hours.zone().clone());
        let learn = move || {
            // One more day than the window's, since those are days of the user's time zone.
            let since = at.as_microsecond() - (quiet_window::LOOKBACK_DAYS + 1) * DAY_US;
            TaskResult::Learned(maintenance.session_starts(since).map(|starts| {
                let starts: Vec<_> = starts.into_iter().flat_map(Timestamp::from_microsecond).collect();
                QuietWindow::learn(&starts, at, &zone)
            }))
        };
        commands.run_task(guarded(learn, |panic| TaskResult::Learned(Err(CallError::failed(panic)))));
    }

    /// Starts removing the heartbeats of processes that have ended.
    pub(crate) fn sweep_heartbeats(&mut self, at: Timestamp, commands: &mut LoopCommands<TaskResult>) {
        let store = self.store.clone();
        let sweep = move || {
            match heartbeats::sweep(&store, at, process::is_alive) {
                Ok(left) => log::debug!("{} clients have a heartbeat", left.len()),
                Err(e) => log::warn!("heartbeats cannot be read: {e}"),
            }
            TaskResult::Other
        };
        commands.run_task(guarded(sweep, |_| TaskResult::Other));
    }

    /// Starts releasing idle memory if it is due: the workers' state, the store's caches, the allocator's free
    /// pages and the code pages.
    pub(crate) fn release_memory(&mut self, now: Instant, commands: &mut LoopCommands<TaskResult>) {
        if self.release_deadline().is_none() || !self.idle_release.take_due(now) {
            return;
        }
        let maintenance = self.rem_cycle.maintenance().clone();
        let release = move || {
            if let Err(error) = maintenance.release_memory() {
                log::debug!("the store's memory cannot be released: {}", error.message);
            }
            memory::give_back();
            memory::release_code_pages();
            TaskResult::Other
        };
        commands.recycle_workers(guarded(release, |_| TaskResult::Other));
    }

    /// Applies the result of a task.
    pub(crate) fn task_ended(&mut self, result: TaskResult, now: Now, commands: &mut LoopCommands<TaskResult>) {
        match result {
            TaskResult::StateWritten(outcome) => self.state_written(outcome, commands),
            TaskResult::StatusWritten(outcome) => self.status_writer.written(outcome),
            TaskResult::JournalWritten(outcome) => self.journal.written(&outcome),
            TaskResult::CycleBegun(outcome) => {
                self.is_background_busy = false;
                let effects = self.rem_cycle.begun(outcome);
                self.apply_effects(effects, now);
            }
            TaskResult::ChunkRan(outcome) => {
                self.is_background_busy = false;
                let effects = self.rem_cycle.ran(outcome);
                self.apply_effects(effects, now);
            }
            TaskResult::DrainReport(outcome) => {
                self.is_background_busy = false;
                self.drained(outcome, now);
            }
            TaskResult::SocketChecked(outcome) => {
                if let Some(listener) = self.socket.checked(outcome) {
                    commands.listen(listener);
                }
            }
            TaskResult::Learned(Ok(window)) => {
                let parts = window.map(QuietWindow::parts);
                if parts != self.state_writer.state().quiet_window {
                    self.quiet_hours.set_window(parts);
                    self.state_writer.request(StateChange::QuietWindow(parts), None);
                }
            }
            TaskResult::Learned(Err(error)) => log::warn!("the quiet window cannot be learned: {}", error.message),
            TaskResult::Other => {}
        }
    }

    /// Takes the changes that were written into force, and replies to those who asked for them.
    fn state_written(&mut self, outcome: io::Result<()>, commands: &mut LoopCommands<TaskResult>) {
        if let Err(error) = &outcome {
            log::error!("{} cannot be written: {error}", self.store.join(state_file::NAME).display());
        }
        for (change, ticket) in self.state_writer.written(outcome.as_ref().copied()) {
            if outcome.is_ok() {
                self.events.extend(event(&change));
                if ticket.is_some() {
                    self.status_writer.request_write();
                }
            }
            let Some(ticket) = ticket else { continue };
            let mut line = Vec::new();
            match &outcome {
                Ok(()) => reply::object(&mut line, &ControlReply::to(&change)),
                Err(error) => {
                    let error: String = error.to_string().chars().take(REFUSAL_CHARS).collect();
                    reply::control_refused(&mut line, "state_write_failed", &error);
                }
            }
            commands.reply(ticket, line);
        }
    }

    /// Records what a chunk did, and leaves its event for the machine.
    fn apply_effects(&mut self, effects: ChunkEffects, now: Now) {
        let at = timestamp(now.wall);
        for file in effects.files {
            self.journal.push(at, spool_entry(file));
        }
        if let Some((report, error)) = effects.step {
            let progress = self.status_writer.status.sleep_cycle_progress.get_or_insert_default();
            match &error {
                None => progress.last_completed_step = Some(report.step.into()),
                Some(error) => {
                    log::warn!("step {} of the REM cycle failed: {error}", report.step);
                    let before = self.machine.failing().filter(|(step, _)| *step == report.step);
                    progress.failed(report.step, error, before.map_or(0, |(_, times)| times) + 1);
                }
            }
            let (step, duration_sec, counts) = (report.step, report.duration_sec, report.counts.by_name().clone());
            self.journal.push(at, Entry::SleepStepCompleted { step, duration_sec, counts, error });
        }
        if effects.event == Some(Event::CycleEnded) {
            self.status_writer.status.sleep_cycle_progress = None;
            self.state_writer.request(StateChange::CycleEnded, None);
        }
        self.events.extend(effects.event);
        if self.machine.state() != State::Dreaming {
            self.rem_cycle.drop_cycle();
        }
    }

    fn drained(&mut self, outcome: Result<DrainReport, CallError>, now: Now) {
        let at = timestamp(now.wall);
        match outcome {
            Ok(drained) => {
                self.spool.ended(drained.next, now);
                if !drained.files.is_empty() {
                    self.idle_release.restart(now.instant);
                }
                for file in drained.files {
                    self.journal.push(at, spool_entry(file));
                }
            }
            Err(error) => {
                log::warn!("deferred captures cannot be drained: {}", error.message);
                self.spool.failed(now);
            }
        }
    }

    /// Returns what the finished cycles did since the last digest, as the state file and `status` show it.
    pub(crate) fn pending_digest(&self) -> Option<Digest> {
        self.rem_cycle.maintenance().pending_totals().map(|totals| Digest {
            rem_cycles_completed: totals.rem_cycles_completed,
            episodes_processed: totals.episodes_processed,
            schemas_induced_tier0: totals.schemas_induced_tier0,
            claude_call_used: false,
        })
    }
}

/// Returns the machine's event for a change that is on disk.
fn event(change: &StateChange) -> Option<Event> {
    match change {
        StateChange::Sleep { .. } => Some(Event::Command(Command::Sleep)),
        StateChange::Wake { .. } => Some(Event::Command(Command::Wake)),
        StateChange::Rem { .. } => Some(Event::Command(Command::Rem)),
        StateChange::Pause => Some(Event::Pause),
        StateChange::Resume => Some(Event::Resume),
        StateChange::SessionOpen { .. }
        | StateChange::CommandDone(_)
        | StateChange::CycleEnded
        | StateChange::SessionsForgotten(_)
        | StateChange::QuietWindow(_) => None,
    }
}

/// Returns the journal entry for a file of deferred captures.
fn spool_entry(file: FileOutcome) -> Entry {
    match file {
        FileOutcome::Finished { file, inserted, reinforced, skipped } => {
            Entry::SpoolDrained { file, inserted, reinforced, skipped }
        }
        FileOutcome::SetAside { file, attempt, retry_us, reason } => {
            let retry_at = Timestamp::from_microsecond(retry_us).unwrap_or(Timestamp::MAX);
            Entry::SpoolSetAside { file, attempt, retry_at, reason }
        }
        FileOutcome::GivenUp { file, reason } => Entry::SpoolGivenUp { file, reason },
    }
}
