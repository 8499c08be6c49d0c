//! The daemon's control plane: the lifecycle's machine, the files and the journal around it, what sleep
//! does, and the service manager.
//!
//! The loop owns it, and only the loop's tick moves the machine. All that waits for a disk is done by
//! workers, each kind one after the other; of what takes long (chunks of a cycle, deferred captures) one
//! at a time, so that it never holds more than one worker.

mod tasks;

use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};

use crate::daemon::idle_release::IdleRelease;
use crate::daemon::journal_queue::JournalQueue;
use crate::daemon::quiet_hours::QuietHours;
use crate::daemon::rem_cycle::RemCycleRunner;
use crate::daemon::socket_watch::SocketWatch;
use crate::daemon::spool_watch::SpoolWatch;
use crate::daemon::status::{ControlReply, RemCycleStatus, StatusReply};
use crate::daemon::task::{TaskResult, guarded};
use crate::dispatch::Panicked;
use crate::lifecycle::journal::Entry;
use crate::lifecycle::machine::{Action, Conditions, Event, Lifecycle, Restored, Thresholds};
use crate::lifecycle::state::{State, Trigger};
use crate::lifecycle::state_file::{self, DaemonState, StateChange};
use crate::lifecycle::state_writer::StateWriter;
use crate::lifecycle::status_file::{self, CycleProgress, LifecycleStatus, Quarantine};
use crate::lifecycle::{heartbeats, user_zone, wake_signal};
use crate::memory::Night;
use crate::serve::control_plane::{ControlPlane, Counters, Load, LoopCommands, Now, TickInput, Ticket};
use crate::sys::listener::BoundPath;
use crate::sys::notify::Notifier;
use crate::sys::{memory, process};
use crate::wire::control::Control;
use crate::wire::reply;

/// The service manager is told again after this long that the daemon is ready, where its queue was full.
const READY_RETRY: Duration = Duration::from_millis(100);

/// The quiet window is learned at the first tick, and where it is needed, at the entry to DROWSY; not again
/// within this time.
const LEARN_EVERY: Duration = Duration::from_secs(3600);

/// What the plane is made of.
pub(crate) struct Parts {
    /// The folder of the store and the state files.
    pub(crate) store: PathBuf,
    /// The number of records.
    pub(crate) records: Arc<AtomicU64>,
    pub(crate) night: Night,
    pub(crate) notifier: Notifier,
    pub(crate) thresholds: Thresholds,
    /// Where we listen; `None` where the listener was inherited: somebody else starts the daemon again.
    pub(crate) place: Option<BoundPath>,
    pub(crate) look_every: Duration,
    pub(crate) rest_after: Duration,
}

/// The control plane.
pub(crate) struct DaemonPlane {
    machine: Lifecycle,
    quarantine_for: Duration,
    is_inherited: bool,
    /// For the machine, at the next part of a tick.
    events: Vec<Event>,
    /// As it was at the last tick.
    around: Conditions,
    keeper: StateWriter<Option<Ticket>>,
    record: LifecycleStatus,
    record_work: StatusFileTask,
    journal: JournalQueue,
    rem_cycle: RemCycleRunner,
    spool: SpoolWatch,
    socket: SocketWatch,
    idle_release: IdleRelease,
    quiet_hours: QuietHours,
    /// When the quiet window was learned last.
    learned: Option<Instant>,
    /// A worker is with something that takes long.
    is_background_busy: bool,
    store: PathBuf,
    records: Arc<AtomicU64>,
    notifier: Notifier,
    started: Instant,
    started_at: Timestamp,
    last_tick: Option<SystemTime>,
    ready_due: Option<Instant>,
    watchdog_due: Option<Instant>,
    is_stopping: bool,
    /// The last tick wished for the end.
    ends_by_itself: bool,
}

/// How `lifecycle_state.json` is.
#[derive(Clone, Copy, Debug, Default)]
struct StatusFileTask {
    /// It is not what is on disk.
    is_wanted: bool,
    /// A write is under way.
    is_writing: bool,
}

impl DaemonPlane {
    /// Reads what the last daemon was asked and left, and tells the service manager that this one is
    /// ready.
    pub(crate) fn new(parts: Parts) -> DaemonPlane {
        let Parts { store, records, night, notifier, thresholds, place, look_every, rest_after } = parts;
        let now = Now::read();
        let started_at = timestamp(now.wall);
        let mut kept = state_file::load(&store, now.wall);
        kept.drop_expired(started_at);
        kept.daemon_started_at = Some(started_at);
        let mut record = status_file::load(&store, now.wall);
        let mut journal = JournalQueue::new(store.clone());
        journal.note(started_at, Entry::DaemonStarted { version: env!("CARGO_PKG_VERSION"), pid: std::process::id() });
        if let Err(e) = wake_signal::remove(&store) {
            log::warn!("{} cannot be removed: {e}", store.join(wake_signal::NAME).display());
        }
        if record.quarantine.take_if(|quarantine| quarantine.until_ts <= started_at).is_some() {
            journal.note(started_at, Entry::QuarantineLifted);
        }
        if let Some(quarantine) = &mut record.quarantine {
            // By a clock that was ahead when it began it would last as long as that was ahead.
            let longest = started_at.saturating_add(signed(thresholds.quarantine)).unwrap_or(Timestamp::MAX);
            quarantine.until_ts = quarantine.until_ts.min(longest);
        }
        record.current_state = State::Wake.lifecycle_state().into();
        (record.since_ts, record.last_activity_ts) = (Some(started_at), Some(started_at));
        let machine = Lifecycle::new(thresholds.clone(), restored(&kept, &record, now), now.instant);
        let mut plane = DaemonPlane {
            machine,
            quarantine_for: thresholds.quarantine,
            is_inherited: place.is_none(),
            events: Vec::new(),
            around: Conditions::default(),
            quiet_hours: QuietHours::new(kept.quiet_window, user_zone::of(&store)),
            keeper: StateWriter::new(kept),
            record,
            record_work: StatusFileTask { is_wanted: true, is_writing: false },
            journal,
            rem_cycle: RemCycleRunner::new(night),
            spool: SpoolWatch::new(look_every, now.instant),
            socket: SocketWatch::new(place, look_every, now.instant),
            idle_release: IdleRelease::new(rest_after, now.instant),
            learned: None,
            is_background_busy: false,
            store,
            records,
            watchdog_due: notifier.watchdog_interval().map(|interval| now.instant + interval),
            notifier,
            started: now.instant,
            started_at,
            last_tick: None,
            ready_due: None,
            is_stopping: false,
            ends_by_itself: false,
        };
        plane.tell_ready(now.instant);
        plane
    }

    /// A service of `Type=notify` is killed if its manager never hears this.
    fn tell_ready(&mut self, now: Instant) {
        self.ready_due = None;
        match self.notifier.ready() {
            Err(e) if e.kind() == ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::ENOBUFS) => {
                self.ready_due = Some(now + READY_RETRY);
            }
            told => tell("ready", told),
        }
    }

    /// How it is around the machine.
    fn look_around(&mut self, around: Load, now: Now) -> Conditions {
        let (is_quiet, quiet_from) = self.quiet_hours.look(now);
        Conditions {
            in_flight: around.in_flight,
            connections: around.connections,
            has_changes: self.rem_cycle.has_news(),
            is_quiet,
            quiet_from,
            is_inherited: self.is_inherited,
            is_busy: self.is_busy(),
        }
    }

    /// Is anything to be finished, or under way, on a worker?
    fn is_busy(&self) -> bool {
        self.is_background_busy
            || !self.journal.is_written()
            || !self.keeper.is_written()
            || self.record_work.is_wanted
            || self.record_work.is_writing
    }

    /// When memory is to be given back: never while somebody is at work, whose end brings a turn.
    fn rest_moment(&self) -> Option<Instant> {
        let is_at_work = self.around.in_flight > 0 || self.machine.state() == State::Dreaming || self.is_busy();
        self.idle_release.moment().filter(|_| !is_at_work)
    }

    /// Has memory given back, where that is due.
    fn give_back(&mut self, now: Instant, commands: &mut LoopCommands<TaskResult>) {
        if self.rest_moment().is_none() || !self.idle_release.begin(now) {
            return;
        }
        let night = self.rem_cycle.night().clone();
        let give_back = move || {
            if let Err(error) = night.give_back() {
                log::debug!("the store gives no memory back: {}", error.message);
            }
            memory::give_back();
            memory::release_code_pages();
            TaskResult::Other
        };
        commands.recycle_workers(guarded(give_back, |_| TaskResult::Other));
    }

    /// Moves the machine by what was left for it, and then by `last`.
    fn move_on(&mut self, last: Event, around: Load, now: Now, commands: &mut LoopCommands<TaskResult>) {
        self.around = self.look_around(around, now);
        self.ends_by_itself = false;
        for event in std::mem::take(&mut self.events).into_iter().chain([last]) {
            for action in self.machine.tick(event, &self.around, now.instant) {
                self.perform(action, now, commands);
            }
        }
    }

    fn perform(&mut self, action: Action, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let at = timestamp(now.wall);
        match action {
            Action::Moved { from, to, trigger } => self.moved(from, to, trigger, now, commands),
            Action::Honored(ask) | Action::Dropped(ask) => self.keeper.ask(StateChange::Settled(ask), None),
            Action::Quarantined { step, until } => {
                let ahead = until.saturating_duration_since(now.instant);
                let until_ts = at.saturating_add(signed(ahead)).unwrap_or(Timestamp::MAX);
                let reason = format!("step {step} failed three times in a row");
                log::warn!("{reason}: no REM cycle runs by itself until {until_ts}");
                self.record.quarantine = Some(Quarantine { until_ts, reason: reason.clone(), since_ts: at });
                let ttl_hours = self.quarantine_for.as_secs_f64() / 3600.0;
                self.journal.note(at, Entry::QuarantineEntered { reason, until_ts, ttl_hours });
                self.record_work.is_wanted = true;
            }
            Action::QuarantineLifted => {
                self.record.quarantine = None;
                self.journal.note(at, Entry::QuarantineLifted);
                self.record_work.is_wanted = true;
            }
            Action::ReleaseMemory => self.idle_release.at_once(now.instant),
            Action::Exit => {
                self.ends_by_itself = true;
                commands.stop();
            }
        }
    }

    fn moved(&mut self, from: State, to: State, trigger: Trigger, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let at = timestamp(now.wall);
        log::debug!("{} → {}: {}", from.name(), to.name(), trigger.name());
        let while_paused = self.machine.is_paused() && trigger.is_asked_sleep();
        self.journal.note(at, Entry::StateTransition { from, to, trigger: trigger.name(), while_paused });
        self.record.current_state = to.lifecycle_state().into();
        self.record.since_ts = Some(at);
        self.record_work.is_wanted = true;
        if from == State::Dreaming && !matches!(trigger, Trigger::CycleEnded | Trigger::StepFailed) {
            self.rem_cycle.interrupt();
        }
        if to == State::Wake {
            self.spool.woken(now.instant);
            self.socket.woken(now.instant);
        }
        match to {
            State::Sleep if from == State::Dreaming => self.idle_release.at_once(now.instant),
            State::Sleep => self.idle_release.hasten(now.instant),
            _ => {}
        }
        if to == State::Drowsy {
            if self.learned.is_none_or(|then| now.instant.saturating_duration_since(then) >= LEARN_EVERY) {
                self.learn(now, commands);
            }
            let store = self.store.clone();
            let sweep = move || {
                match heartbeats::sweep(&store, at, process::is_alive) {
                    Ok(there) => log::debug!("{} clients say that they are there", there.len()),
                    Err(e) => log::warn!("heartbeats cannot be read: {e}"),
                }
                TaskResult::Other
            };
            commands.run_task(guarded(sweep, |_| TaskResult::Other));
        }
    }
}

impl ControlPlane for DaemonPlane {
    type Done = TaskResult;

    fn status(&mut self, counters: &Counters, now: Now) -> Vec<u8> {
        let state = self.machine.state();
        let kept: &DaemonState = self.keeper.kept();
        let mut line = Vec::new();
        reply::object(
            &mut line,
            &StatusReply {
                ok: true,
                state: state.fsm_state(),
                fsm_state: state.fsm_state(),
                lifecycle_state: state.lifecycle_state(),
                uptime_sec: millis(now.instant.saturating_duration_since(self.started)),
                version: env!("CARGO_PKG_VERSION"),
                daemon_started_at: self.started_at,
                last_tick_at: self.last_tick.map(timestamp),
                quiet_window: kept.quiet_window,
                pending_digest: self.pending_digest(),
                scheduler_paused: kept.scheduler_paused,
                records: self.records.load(Ordering::Relaxed),
                quarantine: self.record.quarantine.as_ref(),
                rem_cycle: RemCycleStatus { asked: self.machine.is_rem_pending(), figures: self.rem_cycle.figures() },
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
        let ask = match control {
            Control::Status => return None,
            Control::Sleep { .. } if self.machine.state().is_sleeping() => {
                let mut line = Vec::new();
                reply::object(&mut line, &ControlReply::ALREADY_SLEEPING);
                return Some(line);
            }
            Control::Sleep { reason, ts } => StateChange::Sleep { reason: reason.to_string(), ts: ts.to_string() },
            Control::Wake { ts } => StateChange::Wake { ts: ts.to_string() },
            Control::Rem { ts } => StateChange::Rem { ts: ts.to_string() },
            Control::Pause { .. } => StateChange::Pause,
            Control::Resume { .. } => StateChange::Resume,
            Control::SessionOpen { session_id, .. } => {
                // Somebody sits down, whether that can be written or not.
                self.events.push(Event::Activity);
                StateChange::SessionOpen { session_id: session_id.as_ref().map(ToString::to_string) }
            }
        };
        self.keeper.ask(ask, Some(ticket));
        None
    }

    fn next_deadline(&self) -> Option<Instant> {
        let spool = self.spool.moment(self.machine.state()).filter(|_| !self.is_background_busy);
        let machine = self.machine.next_moment(&self.around).filter(|_| !self.is_stopping);
        let socket = self.socket.moment(self.machine.state());
        let looks = [spool, socket].into_iter().flatten().min().filter(|_| !self.is_stopping);
        let rest = self.rest_moment().filter(|_| !self.is_stopping);
        [machine, looks, rest, self.ready_due, self.watchdog_due].into_iter().flatten().min()
    }

    fn tick(&mut self, seen: TickInput<'_>, around: Load, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let event = match seen {
            TickInput::Request("rpc.discover") => return,
            // Of many requests in a turn the first says all.
            TickInput::Request(_) if self.events.is_empty() && self.machine.was_active_at(now.instant) => return,
            TickInput::Request(_) => Event::Activity,
            TickInput::Turn => Event::Tick,
        };
        if !self.is_stopping {
            self.move_on(event, around, now, commands);
        }
        if event != Event::Tick || around.in_flight > 0 {
            self.idle_release.used(now.instant);
        }
        if event != Event::Tick {
            return;
        }
        if self.learned.is_none() {
            self.learn(now, commands);
        }
        self.start_work(now, commands);
        if !self.is_stopping {
            self.give_back(now.instant, commands);
        }
        self.last_tick = Some(now.wall);
        if self.ready_due.is_some_and(|due| due <= now.instant) {
            self.tell_ready(now.instant);
        }
        if self.watchdog_due.is_some_and(|due| due <= now.instant) {
            tell("alive", self.notifier.watchdog());
            self.watchdog_due = self.notifier.watchdog_interval().map(|interval| now.instant + interval);
        }
    }

    fn stopping(&mut self) {
        self.is_stopping = true;
        tell("stopping", self.notifier.stopping());
    }

    fn done(&mut self, done: Result<TaskResult, Panicked>, now: Now, commands: &mut LoopCommands<TaskResult>) {
        let done = match done {
            Ok(done) => done,
            Err(panicked) => return log::error!("the control plane's work panicked: {}", panicked.0),
        };
        self.came_of(done, now, commands);
    }
}

/// The loop has ended: what no worker has written is written now.
impl Drop for DaemonPlane {
    fn drop(&mut self) {
        let now = Now::read();
        let reason = if self.ends_by_itself { "hibernation" } else { "signal" };
        self.journal.note(timestamp(now.wall), Entry::DaemonStopped { reason });
        self.journal.finish();
        let record = self.new_record(now);
        if (self.record_work.is_wanted || self.record_work.is_writing)
            && let Err(error) = status_file::write(&self.store, &record)
        {
            log::error!("{} cannot be written: {error}", self.store.join(status_file::NAME).display());
        }
    }
}

/// What the last daemon has left for the machine.
fn restored(kept: &DaemonState, record: &LifecycleStatus, now: Now) -> Restored {
    let wall = timestamp(now.wall);
    let ahead = |until: Timestamp| Duration::try_from(until.duration_since(wall)).unwrap_or_default();
    let until = record.quarantine.as_ref().map(|quarantine| now.instant + ahead(quarantine.until_ts));
    let failing = record.sleep_cycle_progress.as_ref().and_then(|CycleProgress { failed_step, attempt, .. }| {
        Some((failed_step.clone()?, *attempt)).filter(|(_, attempt)| *attempt > 0)
    });
    Restored { is_paused: kept.scheduler_paused, quarantine: until, failing, commands: kept.pending() }
}

/// What the service manager does not hear costs the daemon nothing but a line in the log.
fn tell(what: &str, told: io::Result<()>) {
    if let Err(e) = told {
        log::warn!("the service manager was not told that the daemon is {what}: {e}");
    }
}

/// Whole milliseconds as seconds.
fn millis(duration: Duration) -> f64 {
    (duration.as_millis() as f64) / 1000.0
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// A date outside what can be written (a clock gone mad) is the epoch.
fn timestamp(wall: SystemTime) -> Timestamp {
    Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::memory::Memory;

    /// A plane on a new store, and what it commands.
    struct Bench {
        plane: DaemonPlane,
        commands: LoopCommands<TaskResult>,
        now: Now,
        _memory: Memory,
        _folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let folder = tempfile::tempdir().unwrap();
            let memory = Memory::open(folder.path()).unwrap();
            let plane = DaemonPlane::new(Parts {
                store: folder.path().into(),
                records: memory.records(),
                night: memory.night(),
                notifier: Notifier::from_env(),
                thresholds: Thresholds::default(),
                place: None,
                look_every: Duration::from_secs(60),
                rest_after: Duration::from_secs(20),
            });
            Bench { plane, commands: LoopCommands::new(), now: Now::read(), _memory: memory, _folder: folder }
        }

        fn tick(&mut self) {
            self.plane.tick(TickInput::Turn, Load::default(), self.now, &mut self.commands);
        }

        /// Does all that is wished of workers, and tells the plane of it.
        fn work(&mut self) {
            for work in std::mem::take(&mut self.commands.tasks) {
                self.plane.done(Ok(work()), self.now, &mut self.commands);
            }
        }

        fn control(&mut self, kind: u8) {
            let text = || "x".into();
            let control = match kind % 7 {
                0 => {
                    self.plane.status(&Counters::default(), self.now);
                    return;
                }
                1 => Control::Sleep { reason: text(), ts: text() },
                2 => Control::Wake { ts: text() },
                3 => Control::Rem { ts: text() },
                4 => Control::Pause { seconds: None },
                5 => Control::Resume { seconds: Some(1) },
                _ => Control::SessionOpen { session_id: Some(text()), ts: None },
            };
            self.plane.control(&control, Ticket(1), self.now, &mut self.commands);
        }
    }

    #[test]
    fn what_is_asked_is_taken_up_in_the_tick_after_it_is_on_disk() {
        let mut bench = Bench::new();
        bench.control(1);
        assert_eq!(bench.plane.machine.state(), State::Wake);
        bench.tick();
        assert_eq!(bench.plane.machine.state(), State::Wake, "it is not on disk");
        bench.work();
        assert_eq!(bench.plane.machine.state(), State::Wake, "no tick");
        bench.tick();
        assert_ne!(bench.plane.machine.state(), State::Wake);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_control_message_and_no_work_moves_the_machine_outside_a_tick(
            steps in proptest::collection::vec((0..10_u8, 0..2000_u64), 1..30),
        ) {
            let mut bench = Bench::new();
            for (step, seconds) in steps {
                bench.now.instant += Duration::from_secs(seconds);
                let before = bench.plane.machine.state();
                match step {
                    0..7 => bench.control(step),
                    7 => bench.work(),
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

    #[test]
    fn a_clock_that_jumps_never_breaks_a_start() {
        let instant = Instant::now();
        let day = Duration::from_secs(86_400);
        let noted: Timestamp = "2026-05-14T12:00:00Z".parse().unwrap();
        let quarantine = Quarantine { until_ts: noted, reason: "x".into(), since_ts: noted };
        let record = LifecycleStatus { quarantine: Some(quarantine), ..LifecycleStatus::default() };
        let until = |wall: SystemTime| {
            restored(&DaemonState::default(), &record, Now { instant, wall }).quarantine.expect("kept") - instant
        };
        let noted = SystemTime::from(noted);
        assert_eq!(until(noted - day), day);
        assert_eq!(until(noted + day), Duration::ZERO, "set forward: it is over");
        assert!(until(SystemTime::UNIX_EPOCH - day) > day * 365, "set back: a start cuts it");
        // Beyond what a date can be.
        assert_eq!(timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 60)), Timestamp::UNIX_EPOCH);
    }
}
