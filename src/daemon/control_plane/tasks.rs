//! What the control plane has workers do, and what came of it.

use std::io;

use jiff::Timestamp;

use super::{DaemonPlane, StatusFileTask, signed, timestamp};
use crate::daemon::rem_cycle::ChunkEffects;
use crate::daemon::status::ControlReply;
use crate::daemon::task::{TaskResult, guarded};
use crate::dispatch::CallError;
use crate::lifecycle::journal::Entry;
use crate::lifecycle::machine::Event;
use crate::lifecycle::quiet_window::{self, QuietWindow};
use crate::lifecycle::state::{Command, State};
use crate::lifecycle::state_file::{self, Digest, StateChange};
use crate::lifecycle::state_writer::MirroredFields;
use crate::lifecycle::status_file::{self, LifecycleStatus};
use crate::memory::{Drained, Told};
use crate::serve::control_plane::{LoopCommands, Now};
use crate::wire::reply;

/// Microseconds of a day.
const DAY_US: i64 = 24 * 3_600_000_000;

impl DaemonPlane {
    /// Starts what is to be done on workers and is not under way.
    pub(crate) fn start_work(&mut self, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let at = timestamp(now.wall);
        self.write_state(at, commands);
        if !self.is_background_busy {
            if self.machine.state() == State::Dreaming {
                self.is_background_busy = true;
                let progress = self.record.sleep_cycle_progress.get_or_insert_default();
                progress.started_at.get_or_insert(at);
                let (work, new_step) = self.rem_cycle.next();
                if let Some(step) = new_step {
                    self.journal.note(at, Entry::SleepStepStarted { step });
                }
                commands.run_task(work);
            } else if self.spool.moment(self.machine.state()).is_some_and(|due| due <= now.instant) {
                self.is_background_busy = true;
                self.spool.started(now.instant);
                let night = self.rem_cycle.night().clone();
                let panicked = |panic| TaskResult::Drained(Err(CallError::failed(panic)));
                commands.run_task(guarded(move || TaskResult::Drained(night.drain(at.as_microsecond())), panicked));
            }
        }
        if let Some(place) = self.socket.begin(self.machine.state(), now.instant) {
            let panicked = place.clone();
            let panicked = move |panic| TaskResult::Socket(Err(panicked.failed("look at", io::Error::other(panic))));
            commands.run_task(guarded(move || TaskResult::Socket(place.renew()), panicked));
        }
        if self.record_work.is_wanted && !self.record_work.is_writing {
            self.record_work = StatusFileTask { is_wanted: false, is_writing: true };
            let (store, record) = (self.store.clone(), self.new_record(now));
            let panicked = |panic| TaskResult::Record(Err(io::Error::other(panic)));
            commands.run_task(guarded(move || TaskResult::Record(status_file::write(&store, &record)), panicked));
        }
        if let Some(work) = self.journal.begin() {
            commands.run_task(work);
        }
    }

    /// Writes what was asked, and remembers the sessions that were opened: their first recall may follow
    /// the reply at once.
    fn write_state(&mut self, at: Timestamp, commands: &mut LoopCommands<TaskResult>) {
        let mirror =
            MirroredFields { last_tick_at: self.last_tick.map(timestamp), pending_digest: self.pending_digest() };
        let Some(state) = self.keeper.begin(at, mirror) else { return };
        let opened = |ask: &StateChange| match ask {
            StateChange::SessionOpen { session_id } => session_id.clone(),
            _ => None,
        };
        let opened: Vec<String> = self.keeper.under_way().filter_map(opened).collect();
        let (store, night) = (self.store.clone(), self.rem_cycle.night().clone());
        let write = move || {
            for session in opened {
                if let Err(error) = night.session_opened(&session, at.as_microsecond()) {
                    log::warn!("that a session was opened is not remembered: {}", error.message);
                }
            }
            TaskResult::State(state_file::write(&store, &state))
        };
        commands.run_task(guarded(write, |panic| TaskResult::State(Err(io::Error::other(panic)))));
    }

    /// Learns the quiet window from when sessions were opened.
    pub(crate) fn learn(&mut self, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let at = timestamp(now.wall);
        self.learned = Some(now.instant);
        let (night, zone) = (self.rem_cycle.night().clone(), self.quiet_hours.zone().clone());
        let learn = move || {
            // A day more, since days are those of the user's clock.
            let since = at.as_microsecond() - (quiet_window::DAYS + 1) * DAY_US;
            TaskResult::Learned(night.session_starts(since).map(|starts| {
                let starts: Vec<_> = starts.into_iter().flat_map(Timestamp::from_microsecond).collect();
                QuietWindow::learn(&starts, at, &zone)
            }))
        };
        commands.run_task(guarded(learn, |panic| TaskResult::Learned(Err(CallError::failed(panic)))));
    }

    /// A worker is through with a task.
    pub(crate) fn came_of(&mut self, done: TaskResult, now: Now, commands: &mut LoopCommands<TaskResult>) {
        match done {
            TaskResult::State(written) => self.state_written(written, commands),
            TaskResult::Record(written) => {
                self.record_work.is_writing = false;
                if let Err(error) = written {
                    log::error!("{} cannot be written: {error}", self.store.join(status_file::NAME).display());
                }
            }
            TaskResult::Journal(written) => self.journal.written(&written),
            TaskResult::Began(outcome) => {
                self.is_background_busy = false;
                let came = self.rem_cycle.began(outcome);
                self.came(came, now);
            }
            TaskResult::Chunk(chunk) => {
                self.is_background_busy = false;
                let came = self.rem_cycle.ran(chunk);
                self.came(came, now);
            }
            TaskResult::Drained(outcome) => {
                self.is_background_busy = false;
                self.drained(outcome.map_err(|error| error.message), now);
            }
            TaskResult::Socket(found) => {
                if let Some(listener) = self.socket.looked(found) {
                    commands.listen(listener);
                }
            }
            TaskResult::Learned(Ok(window)) => {
                let parts = window.map(QuietWindow::parts);
                if parts != self.keeper.kept().quiet_window {
                    self.quiet_hours.learned(parts);
                    self.keeper.ask(StateChange::Learned(parts), None);
                }
            }
            TaskResult::Learned(Err(error)) => log::warn!("the quiet window was not learned: {}", error.message),
            TaskResult::Other => {}
        }
    }

    fn state_written(&mut self, written: io::Result<()>, commands: &mut LoopCommands<TaskResult>) {
        if let Err(error) = &written {
            log::error!("{} cannot be written: {error}", self.store.join(state_file::NAME).display());
        }
        for (ask, ticket) in self.keeper.written(written.as_ref().copied()) {
            if written.is_ok() {
                self.events.extend(event(&ask));
                self.record_work.is_wanted |= ticket.is_some();
            }
            let Some(ticket) = ticket else { continue };
            let mut line = Vec::new();
            match &written {
                Ok(()) => reply::object(&mut line, &ControlReply::to(&ask)),
                Err(error) => reply::control_refused(&mut line, "state_write_failed", &cut(&error.to_string())),
            }
            commands.reply(ticket, line);
        }
    }

    /// What came of a chunk.
    fn came(&mut self, came: ChunkEffects, now: Now) {
        let at = timestamp(now.wall);
        for told in came.told {
            self.journal.note(at, told_entry(told));
        }
        if let Some((report, error)) = came.step {
            let progress = self.record.sleep_cycle_progress.get_or_insert_default();
            match &error {
                None => progress.last_completed_step = Some(report.step.into()),
                Some(error) => {
                    log::warn!("step {} of the REM cycle failed: {error}", report.step);
                    let before = self.machine.failing().filter(|(step, _)| *step == report.step);
                    progress.failed(report.step, error, before.map_or(0, |(_, times)| times) + 1);
                }
            }
            let (step, duration_sec, counts) = (report.step, report.duration_sec, report.counts);
            self.journal.note(at, Entry::SleepStepCompleted { step, duration_sec, counts, error });
        }
        if came.event == Some(Event::CycleEnded) {
            self.record.sleep_cycle_progress = None;
            self.keeper.ask(StateChange::Dreamt, None);
        }
        self.events.extend(came.event);
        if self.machine.state() != State::Dreaming {
            self.rem_cycle.forget();
        }
    }

    fn drained(&mut self, outcome: Result<Drained, String>, now: Now) {
        let at = timestamp(now.wall);
        match outcome {
            Ok(drained) => {
                self.spool.ended(drained.next, now);
                if !drained.told.is_empty() {
                    self.idle_release.used(now.instant);
                }
                for told in drained.told {
                    self.journal.note(at, told_entry(told));
                }
            }
            Err(error) => {
                log::warn!("deferred captures were not taken in: {error}");
                self.spool.failed(now);
            }
        }
    }

    /// What sleep has brought and no digest has shown yet, as the state file and `status` tell it.
    pub(crate) fn pending_digest(&self) -> Option<Digest> {
        self.rem_cycle.night().brought().map(|brought| Digest {
            rem_cycles_completed: brought.rem_cycles_completed,
            episodes_processed: brought.episodes_processed,
            schemas_induced_tier0: brought.schemas_induced_tier0,
            claude_call_used: false,
        })
    }

    /// The record as it is now.
    pub(crate) fn new_record(&mut self, now: Now) -> LifecycleStatus {
        let idle = now.instant.saturating_duration_since(self.machine.last_activity());
        self.record.last_activity_ts = timestamp(now.wall).checked_sub(signed(idle)).ok();
        self.record.wrapper_event_seq += 1;
        self.record.clone()
    }
}

/// What the machine is told of an ask that is on disk.
fn event(ask: &StateChange) -> Option<Event> {
    match ask {
        StateChange::Sleep { .. } => Some(Event::Command(Command::Sleep)),
        StateChange::Wake { .. } => Some(Event::Command(Command::Wake)),
        StateChange::Rem { .. } => Some(Event::Command(Command::Rem)),
        StateChange::Pause => Some(Event::Pause),
        StateChange::Resume => Some(Event::Resume),
        StateChange::SessionOpen { .. } | StateChange::Settled(_) | StateChange::Dreamt | StateChange::Learned(_) => {
            None
        }
    }
}

fn told_entry(told: Told) -> Entry {
    match told {
        Told::Finished { file, inserted, reinforced, skipped } => {
            Entry::SpoolDrained { file, inserted, reinforced, skipped }
        }
        Told::SetAside { file, attempt, retry_us, reason } => {
            let retry_at = Timestamp::from_microsecond(retry_us).unwrap_or(Timestamp::MAX);
            Entry::SpoolSetAside { file, attempt, retry_at, reason }
        }
        Told::GivenUp { file, reason } => Entry::SpoolGivenUp { file, reason },
    }
}

/// An error text within the 200 characters that the contract gives it.
fn cut(error: &str) -> String {
    error.chars().take(200).collect()
}
