//! The daemon's control plane: the lifecycle's machine, the files and the journal around it, the work of sleep,
//! and the service manager.
//!
//! The event loop owns it, and only the loop's tick moves the machine: control messages and finished tasks leave
//! events for the next tick. Everything that waits for a disk is a task on a worker, with one task of a kind at a
//! time. Chunks of a cycle and batches of deferred captures take long, so together they hold at most one worker.

mod tasks;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

use crate::daemon::clock::{later, seconds_to_millis, timestamp};
use crate::daemon::idle_release::IdleRelease;
use crate::daemon::journal_queue::JournalQueue;
use crate::daemon::quiet_hours::QuietHours;
use crate::daemon::rem_cycle::RemCycleRunner;
use crate::daemon::service_notifier::ServiceNotifier;
use crate::daemon::socket_watch::SocketWatch;
use crate::daemon::spool_watch::SpoolWatch;
use crate::daemon::status::{AssistantRecords, ControlReply, RemCycleStatus, StatusReply};
use crate::daemon::status_writer::{QuarantineAtStart, StatusWriter, restored};
use crate::daemon::task::TaskResult;
use crate::dispatch::Panicked;
use crate::lifecycle::journal::Entry;
use crate::lifecycle::machine::{Action, Conditions, Event, Lifecycle, Thresholds};
use crate::lifecycle::state::{State, Trigger};
use crate::lifecycle::state_file::{self, DaemonState, StateChange};
use crate::lifecycle::state_writer::StateWriter;
use crate::lifecycle::status_file::Quarantine;
use crate::lifecycle::{user_zone, wake_signal};
use crate::memory::{AssistantCounters, Forgetting, Maintenance};
use crate::serve::control_plane::{ControlPlane, Counters, Load, LoopCommands, Now, TickInput, Ticket};
use crate::sys::listener::BoundPath;
use crate::sys::notify::Notifier;
use crate::wire::control::Control;
use crate::wire::reply;

/// The parts that the control plane is made of.
pub(crate) struct Parts {
    /// The folder of the store and the state files.
    pub(crate) store: PathBuf,
    /// The number of records.
    pub(crate) records: Arc<AtomicU64>,
    pub(crate) assistants: Arc<AssistantCounters>,
    pub(crate) maintenance: Maintenance,
    pub(crate) forgetting: Forgetting,
    pub(crate) notifier: Notifier,
    pub(crate) thresholds: Thresholds,
    /// The socket's path; `None` for an inherited listener, whose owner starts the daemon again.
    pub(crate) socket: Option<BoundPath>,
    /// The interval, while awake, of the checks for deferred captures and of the socket's path.
    pub(crate) check_interval: Duration,
    /// The idle time after which memory is released.
    pub(crate) release_after: Duration,
}

/// The control plane.
pub(crate) struct DaemonControlPlane {
    machine: Lifecycle,
    max_quarantine: Duration,
    is_inherited: bool,
    /// Events for the machine, taken at the next tick.
    events: Vec<Event>,
    /// The conditions of the last tick.
    conditions: Conditions,
    state_writer: StateWriter<Option<Ticket>>,
    status_writer: StatusWriter,
    journal: JournalQueue,
    rem_cycle: RemCycleRunner,
    forgetting: Forgetting,
    spool: SpoolWatch,
    socket: SocketWatch,
    idle_release: IdleRelease,
    quiet_hours: QuietHours,
    service_notifier: ServiceNotifier,
    /// A chunk of a cycle or a batch of deferred captures is on a worker.
    is_background_busy: bool,
    store: PathBuf,
    records: Arc<AtomicU64>,
    assistants: Arc<AssistantCounters>,
    started: Instant,
    started_at: Timestamp,
    last_tick: Option<SystemTime>,
    is_stopping: bool,
    /// The last tick asked the loop to stop: the process hibernates.
    is_exiting: bool,
}

impl DaemonControlPlane {
    /// Reads what the last process left, and notifies the service manager that the daemon is ready.
    pub(crate) fn new(parts: Parts) -> DaemonControlPlane {
        let Parts {
            store,
            records,
            assistants,
            maintenance,
            forgetting,
            notifier,
            thresholds,
            socket,
            check_interval,
            release_after,
        } = parts;
        let now = Now::read();
        let started_at = timestamp(now.wall);
        let mut state = state_file::load(&store, now.wall);
        state.drop_expired(started_at);
        state.daemon_started_at = Some(started_at);
        let (status_writer, quarantine) = StatusWriter::load(&store, thresholds.quarantine, now);
        let mut journal = JournalQueue::new(store.clone());
        journal.push(started_at, Entry::DaemonStarted { version: env!("CARGO_PKG_VERSION"), pid: std::process::id() });
        if quarantine == QuarantineAtStart::Lifted {
            journal.push(started_at, Entry::QuarantineLifted);
        }
        if let Err(e) = wake_signal::remove(&store) {
            log::warn!("{} cannot be removed: {e}", store.join(wake_signal::NAME).display());
        }
        let restored = restored(&state, &status_writer.status, now);
        DaemonControlPlane {
            machine: Lifecycle::new(thresholds.clone(), restored, now.instant),
            max_quarantine: thresholds.quarantine,
            is_inherited: socket.is_none(),
            events: Vec::new(),
            conditions: Conditions::default(),
            quiet_hours: QuietHours::new(state.quiet_window, user_zone::of(&store)),
            state_writer: StateWriter::new(state),
            status_writer,
            journal,
            rem_cycle: RemCycleRunner::new(maintenance),
            forgetting,
            spool: SpoolWatch::new(check_interval, now.instant),
            socket: SocketWatch::new(socket, check_interval, now.instant),
            idle_release: IdleRelease::new(release_after, now.instant),
            service_notifier: ServiceNotifier::new(notifier, now.instant),
            is_background_busy: false,
            store,
            records,
            assistants,
            started: now.instant,
            started_at,
            last_tick: None,
            is_stopping: false,
            is_exiting: false,
        }
    }

    /// Returns the machine's conditions.
    fn conditions(&mut self, load: Load, now: Now) -> Conditions {
        let (is_quiet, quiet_from) = self.quiet_hours.state(now);
        Conditions {
            in_flight: load.in_flight,
            connections: load.connections,
            has_changes: self.rem_cycle.has_changes(),
            is_quiet,
            quiet_from,
            is_inherited: self.is_inherited,
            is_busy: self.is_busy() || self.forgetting.is_pending(),
        }
    }

    /// Returns true if a file is out of date, or a task is on a worker or about to be.
    fn is_busy(&self) -> bool {
        self.is_background_busy
            || !self.journal.is_idle()
            || !self.state_writer.is_idle()
            || !self.status_writer.is_idle()
    }

    /// Returns when idle memory is released. Not while a request, a cycle or a task is in progress: its end brings
    /// a tick.
    fn release_deadline(&self) -> Option<Instant> {
        let is_working = self.conditions.in_flight > 0 || self.machine.state() == State::Dreaming || self.is_busy();
        self.idle_release.deadline().filter(|_| !is_working)
    }

    /// Returns when each timer is due, or `None` for one that does not run. While the server stops only the service
    /// manager's run.
    fn timers(&self) -> [Option<Instant>; 7] {
        let [ready, watchdog] = self.service_notifier.deadlines();
        if self.is_stopping {
            return [ready, watchdog, None, None, None, None, None];
        }
        let state = self.machine.state();
        [
            ready,
            watchdog,
            self.machine.next_deadline(&self.conditions),
            self.spool.deadline(state).filter(|_| !self.is_background_busy),
            self.socket.deadline(state),
            self.release_deadline(),
            self.forgetting.retry_at(),
        ]
    }

    /// Ticks the machine with the events left for it, then with `last`, and performs its actions.
    fn tick_machine(&mut self, last: Event, load: Load, now: Now, commands: &mut LoopCommands<TaskResult>) {
        self.conditions = self.conditions(load, now);
        self.is_exiting = false;
        for event in std::mem::take(&mut self.events).into_iter().chain([last]) {
            for action in self.machine.tick(event, &self.conditions, now.instant) {
                self.perform(action, now, commands);
            }
        }
    }

    fn perform(&mut self, action: Action, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let at = timestamp(now.wall);
        match action {
            Action::Moved { from, to, trigger } => self.moved(from, to, trigger, now, commands),
            Action::Honored(command) | Action::Dropped(command) => {
                self.state_writer.request(StateChange::CommandDone(command), None);
            }
            Action::Quarantined { step, until } => {
                let until_ts = later(at, until.saturating_duration_since(now.instant));
                let reason = format!("step {step} failed three times in a row");
                log::warn!("{reason}: no REM cycle starts by itself until {until_ts}");
                self.status_writer.status.quarantine =
                    Some(Quarantine { until_ts, reason: reason.clone(), since_ts: at });
                let ttl_hours = self.max_quarantine.as_secs_f64() / 3600.0;
                self.journal.push(at, Entry::QuarantineEntered { reason, until_ts, ttl_hours });
                self.status_writer.request_write();
            }
            Action::QuarantineLifted => {
                self.status_writer.status.quarantine = None;
                self.journal.push(at, Entry::QuarantineLifted);
                self.status_writer.request_write();
            }
            Action::ReleaseMemory => self.idle_release.set_due(now.instant),
            Action::Exit => {
                self.is_exiting = true;
                commands.stop();
            }
        }
    }

    /// Records a transition, and starts what its new state asks for.
    fn moved(&mut self, from: State, to: State, trigger: Trigger, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let at = timestamp(now.wall);
        log::debug!("{} → {}: {}", from.name(), to.name(), trigger.name());
        let while_paused = self.machine.is_paused() && trigger.is_asked_sleep();
        self.journal.push(at, Entry::StateTransition { from, to, trigger: trigger.name(), while_paused });
        self.status_writer.status.current_state = to.lifecycle_state().into();
        self.status_writer.status.since_ts = Some(at);
        self.status_writer.request_write();
        if from == State::Dreaming && !matches!(trigger, Trigger::CycleEnded | Trigger::StepFailed) {
            self.rem_cycle.interrupt();
        }
        match to {
            State::Wake => {
                self.spool.wake(now.instant);
                self.socket.wake(now.instant);
            }
            State::Drowsy => {
                if self.quiet_hours.is_learning_due(now.instant) {
                    self.learn_quiet_window(now, commands);
                }
                self.sweep_heartbeats(at, commands);
            }
            State::Sleep if from == State::Dreaming => self.idle_release.set_due(now.instant),
            State::Sleep => self.idle_release.hasten(now.instant),
            State::Transitioning | State::Dreaming | State::Hibernation => {}
        }
    }

    /// Takes up a forgetting that an error has interrupted, if that is due, and drops the sessions that were forgotten.
    fn follow_forgetting(&mut self, now: Instant) {
        if !self.is_stopping {
            self.forgetting.resume_if_due(now);
        }
        let sessions = self.forgetting.take_sessions();
        if !sessions.is_empty() {
            self.state_writer.request(StateChange::SessionsForgotten(sessions), None);
        }
    }

    /// Returns the time since the last activity.
    fn idle(&self, now: Now) -> Duration {
        now.instant.saturating_duration_since(self.machine.last_activity())
    }
}

impl ControlPlane for DaemonControlPlane {
    type Done = TaskResult;

    fn status(&mut self, counters: &Counters, now: Now) -> Vec<u8> {
        let state = self.machine.state();
        let kept: &DaemonState = self.state_writer.state();
        let mut line = Vec::new();
        reply::object(
            &mut line,
            &StatusReply {
                ok: true,
                state: state.fsm_state(),
                fsm_state: state.fsm_state(),
                lifecycle_state: state.lifecycle_state(),
                uptime_sec: seconds_to_millis(now.instant.saturating_duration_since(self.started)),
                version: env!("CARGO_PKG_VERSION"),
                daemon_started_at: self.started_at,
                last_tick_at: self.last_tick.map(timestamp),
                quiet_window: kept.quiet_window,
                pending_digest: self.pending_digest(),
                scheduler_paused: kept.scheduler_paused,
                records: self.records.load(Ordering::Relaxed),
                assistants: AssistantRecords(&self.assistants),
                store_error: self.rem_cycle.maintenance().store_loss(),
                masked: self.rem_cycle.maintenance().masked().as_deref(),
                forgetting: self.forgetting.status(now.instant),
                quarantine: self.status_writer.status.quarantine.as_ref(),
                rem_cycle: RemCycleStatus { asked: self.machine.is_rem_pending(), metrics: self.rem_cycle.metrics() },
                counters,
            },
        );
        line
    }

    fn control(
        &mut self,
        control: &Control<'_>,
        ticket: Ticket,
        _: Now,
        _: &mut LoopCommands<TaskResult>,
    ) -> Option<Vec<u8>> {
        let change = match control {
            Control::Status => return None,
            Control::Sleep { .. } if self.machine.state().is_sleeping() => {
                return Some(ControlReply::ALREADY_SLEEPING.line());
            }
            Control::EmbedCue => return Some(ControlReply::NO_EMBEDDER.line()),
            Control::Sleep { reason, ts } => StateChange::Sleep { reason: reason.to_string(), ts: ts.to_string() },
            Control::Wake { ts } => StateChange::Wake { ts: ts.to_string() },
            Control::Rem { ts } => StateChange::Rem { ts: ts.to_string() },
            Control::Pause { .. } => StateChange::Pause,
            Control::Resume { .. } => StateChange::Resume,
            Control::SessionOpen { session_id, source, .. } => {
                // The session counts as activity even if it cannot be written.
                self.events.push(Event::Activity);
                StateChange::SessionOpen {
                    session_id: session_id.as_ref().map(ToString::to_string),
                    is_start: source.is_some(),
                }
            }
        };
        self.state_writer.request(change, Some(ticket));
        None
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.timers().into_iter().flatten().min()
    }

    fn tick(&mut self, input: TickInput<'_>, load: Load, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let event = match input {
            TickInput::Request("rpc.discover") => return,
            // Further requests of one turn change nothing.
            TickInput::Request(_) if self.events.is_empty() && self.machine.was_active_at(now.instant) => return,
            TickInput::Request(_) => Event::Activity,
            TickInput::Turn => Event::Tick,
        };
        if !self.is_stopping {
            self.tick_machine(event, load, now, commands);
        }
        if event != Event::Tick || load.in_flight > 0 {
            self.idle_release.restart(now.instant);
        }
        if event != Event::Tick {
            return;
        }
        if !self.quiet_hours.has_learned() {
            self.learn_quiet_window(now, commands);
        }
        self.follow_forgetting(now.instant);
        self.start_tasks(now, commands);
        if !self.is_stopping {
            self.release_memory(now.instant, commands);
        }
        self.last_tick = Some(now.wall);
        self.service_notifier.tick(now.instant);
    }

    fn stopping(&mut self) {
        self.is_stopping = true;
        self.service_notifier.stopping();
    }

    fn done(&mut self, done: Result<TaskResult, Panicked>, now: Now, commands: &mut LoopCommands<TaskResult>) {
        match done {
            Ok(result) => self.task_ended(result, now, commands),
            Err(panicked) => log::error!("a task of the control plane panicked: {}", panicked.0),
        }
    }
}

/// Writes what no worker has written: the loop has ended.
impl Drop for DaemonControlPlane {
    fn drop(&mut self) {
        let now = Now::read();
        let reason = if self.is_exiting { "hibernation" } else { "signal" };
        self.journal.push(timestamp(now.wall), Entry::DaemonStopped { reason });
        self.journal.finish();
        let idle = self.idle(now);
        self.status_writer.finish(idle, now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Memory;

    /// A control plane on a new store, and the commands that it gives to the loop.
    struct Bench {
        plane: DaemonControlPlane,
        commands: LoopCommands<TaskResult>,
        now: Now,
        _memory: Memory,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let folder = tempfile::tempdir().unwrap();
            let memory = Memory::open(folder.path()).unwrap();
            let plane = DaemonControlPlane::new(Parts {
                store: folder.path().into(),
                records: memory.records(),
                assistants: memory.assistants(),
                maintenance: memory.maintenance(),
                forgetting: memory.forgetting(),
                notifier: Notifier::from_env(),
                thresholds: Thresholds::default(),
                socket: None,
                check_interval: Duration::from_secs(60),
                release_after: Duration::from_secs(20),
            });
            Bench { plane, commands: LoopCommands::new(), now: Now::read(), _memory: memory, _folder: folder }
        }

        fn tick(&mut self) {
            self.plane.tick(TickInput::Turn, Load::default(), self.now, &mut self.commands);
        }

        /// Runs the tasks, and hands their results to the control plane.
        fn run_tasks(&mut self) {
            for task in std::mem::take(&mut self.commands.tasks) {
                self.plane.done(Ok(task()), self.now, &mut self.commands);
            }
        }

        fn control(&mut self, kind: u8) {
            let text = || "x".into();
            let control = match kind % 8 {
                0 => {
                    self.plane.status(&Counters::default(), self.now);
                    return;
                }
                1 => Control::Sleep { reason: text(), ts: text() },
                2 => Control::Wake { ts: text() },
                3 => Control::Rem { ts: text() },
                4 => Control::Pause { seconds: None },
                5 => Control::Resume { seconds: Some(1) },
                6 => Control::EmbedCue,
                _ => Control::SessionOpen { session_id: Some(text()), ts: None, source: None },
            };
            self.plane.control(&control, Ticket(1), self.now, &mut self.commands);
        }
    }

    #[test]
    fn a_command_is_followed_in_the_tick_after_it_is_on_disk() {
        let mut bench = Bench::new();
        bench.control(1);
        assert_eq!(bench.plane.machine.state(), State::Wake);
        bench.tick();
        assert_eq!(bench.plane.machine.state(), State::Wake, "it is not on disk");
        bench.run_tasks();
        assert_eq!(bench.plane.machine.state(), State::Wake, "no tick");
        bench.tick();
        assert_ne!(bench.plane.machine.state(), State::Wake);
    }

    #[test]
    fn only_the_service_managers_timers_run_while_the_server_stops() {
        let mut bench = Bench::new();
        bench.tick();
        assert!(bench.plane.next_deadline().is_some());
        bench.plane.stopping();
        assert_eq!(bench.plane.next_deadline(), None, "there is no service manager");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn only_a_tick_moves_the_machine(
            steps in proptest::collection::vec((0..10_u8, 0..2000_u64), 1..30),
        ) {
            let mut bench = Bench::new();
            for (step, seconds) in steps {
                bench.now.instant += Duration::from_secs(seconds);
                let before = bench.plane.machine.state();
                match step {
                    0..7 => bench.control(step),
                    7 => bench.run_tasks(),
                    _ => {
                        bench.tick();
                        continue;
                    }
                }
                bench.plane.next_deadline();
                prop_assert_eq!(bench.plane.machine.state(), before);
            }
        }
    }
}
