//! The daemon's control plane: the lifecycle's machine, the file of what it was asked, and the
//! service manager's watchdog.
//!
//! The loop owns it, and only the loop's tick moves the machine.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;
use serde::Serialize;

use crate::lifecycle::keeper::Keeper;
use crate::lifecycle::machine::{Event, Lifecycle};
use crate::lifecycle::state_file::{self, Ask, DaemonState, Digest};
use crate::serve::plane::{ControlPlane, Counters, Now, Panicked, Ticket, Wishes};
use crate::sys::notify::Notifier;
use crate::wire::control::Control;
use crate::wire::reply;

/// The control plane.
pub(super) struct Plane {
    machine: Lifecycle,
    keeper: Keeper<Ticket>,
    store: PathBuf,
    records: Arc<AtomicU64>,
    notifier: Notifier,
    started: Instant,
    started_at: Timestamp,
    last_tick_at: Option<Timestamp>,
    /// Something was asked, or activity seen, that the machine is to be told.
    tick_due: Option<Instant>,
    last_activity: Option<Instant>,
    watchdog_due: Option<Instant>,
}

/// `status`, whole.
#[derive(Serialize)]
struct Status<'a> {
    ok: bool,
    state: &'a str,
    fsm_state: &'a str,
    lifecycle_state: &'a str,
    uptime_sec: f64,
    version: &'a str,
    daemon_started_at: Timestamp,
    last_tick_at: Option<Timestamp>,
    quiet_window: Option<(u8, u8)>,
    pending_digest: Option<&'a Digest>,
    scheduler_paused: bool,
    records: u64,
    quarantine: Option<&'a str>,
    #[serde(flatten)]
    counters: &'a Counters,
}

#[derive(Serialize)]
struct Agreed<'a> {
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
}

impl Plane {
    /// Reads what the last daemon was asked, and tells the service manager that this one is ready.
    pub(super) fn new(store: PathBuf, records: Arc<AtomicU64>, notifier: Notifier) -> Plane {
        let now = Now::read();
        let started_at = timestamp(now.wall);
        let mut kept = state_file::load(&store, now.wall);
        kept.drop_expired(started_at);
        kept.daemon_started_at = Some(started_at);
        let watchdog_due = notifier.watchdog_interval().map(|interval| now.instant + interval);
        tell("ready", notifier.ready());
        Plane {
            machine: Lifecycle::new(now.instant),
            keeper: Keeper::new(kept),
            store,
            records,
            notifier,
            started: now.instant,
            started_at,
            last_tick_at: None,
            tick_due: Some(now.instant),
            last_activity: None,
            watchdog_due,
        }
    }

    /// Starts a write, if one is wanted and none is under way.
    fn write(&mut self, now: Now, wishes: &mut Wishes<io::Result<()>>) {
        if let Some(state) = self.keeper.begin(timestamp(now.wall), self.last_tick_at) {
            let store = self.store.clone();
            wishes.work(Box::new(move || state_file::write(&store, &state)));
        }
    }
}

impl ControlPlane for Plane {
    type Done = io::Result<()>;

    fn status(&mut self, counters: &Counters, now: Now) -> Vec<u8> {
        let state = self.machine.state();
        let kept: &DaemonState = self.keeper.kept();
        let mut line = Vec::new();
        reply::object(
            &mut line,
            &Status {
                ok: true,
                state: state.fsm_state(),
                fsm_state: state.fsm_state(),
                lifecycle_state: state.lifecycle_state(),
                uptime_sec: millis(now.instant.saturating_duration_since(self.started)),
                version: env!("CARGO_PKG_VERSION"),
                daemon_started_at: self.started_at,
                last_tick_at: self.last_tick_at,
                quiet_window: kept.quiet_window,
                pending_digest: kept.pending_digest.as_ref(),
                scheduler_paused: kept.scheduler_paused,
                records: self.records.load(Ordering::Relaxed),
                quarantine: None,
                counters,
            },
        );
        line
    }

    fn control(
        &mut self,
        control: &Control<'_>,
        ticket: Ticket,
        now: Now,
        wishes: &mut Wishes<io::Result<()>>,
    ) -> Option<Vec<u8>> {
        let ask = match control {
            Control::Status => return None,
            Control::Sleep { .. } if self.machine.state().is_sleeping() => {
                let mut line = Vec::new();
                let refused = Agreed { ok: false, state: None, reason: Some("already_sleeping"), paused: None };
                reply::object(&mut line, &refused);
                return Some(line);
            }
            Control::Sleep { reason, ts } => Ask::Sleep { reason: reason.to_string(), ts: ts.to_string() },
            Control::Wake { ts } => Ask::Wake { ts: ts.to_string() },
            Control::Rem { ts } => Ask::Rem { ts: ts.to_string() },
            Control::Pause { .. } => Ask::Pause,
            Control::Resume { .. } => Ask::Resume,
            Control::SessionOpen { session_id, .. } => {
                self.last_activity = Some(now.instant);
                Ask::SessionOpen { session_id: session_id.as_ref().map(ToString::to_string) }
            }
        };
        self.keeper.ask(ask, ticket);
        self.write(now, wishes);
        None
    }

    fn request(&mut self, method: &str, now: Now) {
        if method != "rpc.discover" {
            self.last_activity = Some(now.instant);
            // An awake machine need not be told of each request.
            if self.machine.state().lifecycle_state() != "WAKE" {
                self.machine.tick(Event::Activity, now.instant);
            }
        }
    }

    fn next_moment(&self) -> Option<Instant> {
        [self.tick_due, self.watchdog_due].into_iter().flatten().min()
    }

    fn tick(&mut self, now: Now, _: &mut Wishes<io::Result<()>>) {
        self.last_tick_at = Some(timestamp(now.wall));
        self.tick_due = None;
        let event = if self.last_activity.take().is_some() { Event::Activity } else { Event::Time };
        self.machine.tick(event, now.instant);
        if self.watchdog_due.is_some_and(|due| due <= now.instant) {
            tell("alive", self.notifier.watchdog());
            self.watchdog_due = self.notifier.watchdog_interval().map(|interval| now.instant + interval);
        }
    }

    fn stopping(&mut self) {
        tell("stopping", self.notifier.stopping());
    }

    fn done(&mut self, done: Result<io::Result<()>, Panicked>, now: Now, wishes: &mut Wishes<io::Result<()>>) {
        let written = match done {
            Ok(written) => written.map_err(|e| ("state_write_failed", e.to_string())),
            Err(panicked) => Err(("control_plane_error", panicked.0)),
        };
        if let Err((_, error)) = &written {
            log::error!("{} cannot be written: {error}", self.store.join(state_file::NAME).display());
        }
        for (ask, ticket) in self.keeper.written(written.as_ref().copied()) {
            let mut line = Vec::new();
            match &written {
                Ok(()) => reply::object(&mut line, &agreed(&ask)),
                Err((reason, error)) => reply::control_refused(&mut line, reason, &cut(error)),
            }
            wishes.reply(ticket, line);
        }
        self.tick_due = Some(now.instant);
        self.write(now, wishes);
    }
}

/// What the service manager does not hear costs the daemon nothing but a line in the log.
fn tell(what: &str, told: io::Result<()>) {
    if let Err(e) = told {
        log::warn!("the service manager was not told that the daemon is {what}: {e}");
    }
}

fn agreed(ask: &Ask) -> Agreed<'static> {
    let none = Agreed { ok: true, state: None, reason: None, paused: None };
    match ask {
        Ask::Sleep { .. } => Agreed { state: Some("TRANSITIONING"), ..none },
        Ask::Wake { .. } => Agreed { reason: Some("wake_queued"), ..none },
        Ask::Rem { .. } => Agreed { reason: Some("rem_queued"), ..none },
        Ask::Pause => Agreed { paused: Some(true), ..none },
        Ask::Resume => Agreed { paused: Some(false), ..none },
        Ask::SessionOpen { .. } => Agreed { reason: Some("session_open_queued"), ..none },
    }
}

/// An error text within the 200 characters that the contract gives it.
fn cut(error: &str) -> String {
    error.chars().take(200).collect()
}

/// Whole milliseconds as seconds.
fn millis(duration: Duration) -> f64 {
    (duration.as_millis() as f64) / 1000.0
}

/// A date outside what can be written (a clock gone mad) is the epoch.
fn timestamp(wall: SystemTime) -> Timestamp {
    Timestamp::try_from(wall).unwrap_or(Timestamp::UNIX_EPOCH)
}
