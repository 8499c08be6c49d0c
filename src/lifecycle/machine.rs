//! The lifecycle's state machine: (state, event, conditions, now) → (state, actions). Pure.
//!
//! The transition table, in order of priority: of two rows that apply, the one with the lower number wins.
//!
//! | # | from | on | to |
//! |---|---|---|---|
//! | 1 | any but WAKE | a request; a wake command | WAKE |
//! | 2 | SLEEP, DREAMING | pause | WAKE |
//! | 3 | DREAMING | the cycle ended; a step failed | SLEEP |
//! | 4 | WAKE, DROWSY | a pending sleep or REM command that has settled | TRANSITIONING |
//! | 5 | WAKE | idle for `drowsy_after` | DROWSY |
//! | 6 | DROWSY | a cycle is wanted, and idle for `sleep_after` | TRANSITIONING |
//! | 7 | DROWSY | a cycle is wanted, and inside the quiet window | TRANSITIONING |
//! | 8 | TRANSITIONING | nothing in flight | SLEEP |
//! | 9 | SLEEP, HIBERNATION | a pending REM command | DREAMING |
//! | 10 | SLEEP | a cycle is wanted, and no back-off | DREAMING |
//! | 11 | DROWSY, SLEEP | idle for `hibernate_after`, nothing in flight, no connection, no pending command, no cycle wanted | HIBERNATION |
//!
//! Rows 1 to 3 are events and rows 4 to 11 conditions. A tick first applies its event, which takes at most one of
//! rows 1 to 3. It then drops what has expired (pending commands, quarantine, back-off) and takes rows 4 to 11
//! until none applies, so one tick can lead through several states. After a request, a wake command or a pause
//! no condition is looked at: the state that the client sees is the one of the event. Everything else leaves the
//! state alone.
//!
//! A cycle is wanted if there are changes that no cycle has processed, sleep is not paused and there is no
//! quarantine. A pending command has settled if no request arrived since it, or none for `settle_after`. Idle
//! time counts from the last request, or from what else moved the machine to WAKE.
//!
//! Caller's contract: only the owner's tick moves the machine; all others send events through it. The time is a
//! parameter and never decreases.

use std::time::{Duration, Instant};

use crate::lifecycle::state::{Command, State, Trigger};

/// Consecutive failures of one step that start the quarantine.
const QUARANTINE_FAILURE_COUNT: u32 = 3;

/// Durations that the machine compares with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Idle time from WAKE to DROWSY. 300 s by default.
    pub drowsy_after: Duration,
    /// Idle time from DROWSY to TRANSITIONING, if a cycle is wanted. 1800 s by default.
    pub sleep_after: Duration,
    /// Idle time to HIBERNATION. 7200 s by default.
    pub hibernate_after: Duration,
    /// Idle time after which a command that came before the last request is followed. 1 s, picked: longer
    /// than the pause between two requests of one conversation's turn.
    pub settle_after: Duration,
    /// Age at which a pending command is dropped. 600 s by default.
    pub command_expires_after: Duration,
    /// The back-off after a step's failure, doubled with each further failure. 60 s by default.
    pub back_off: Duration,
    /// The longest back-off. 3600 s by default.
    pub max_back_off: Duration,
    /// How long no cycle starts by itself after a step failed `QUARANTINE_FAILURE_COUNT` times in a row. 24 h
    /// by default.
    pub quarantine: Duration,
}

/// The input of a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Time has passed, or the conditions have changed.
    Tick,
    /// A request arrived, or a session was opened.
    Activity,
    /// A client sent a command.
    Command(Command),
    /// Only commands lead to sleep from now on.
    Pause,
    /// Ends a pause.
    Resume,
    /// The REM cycle is complete.
    CycleEnded,
    /// The step of this name failed.
    StepFailed(&'static str),
}

/// The machine's surroundings at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Requests without a reply.
    pub in_flight: usize,
    /// Open connections.
    pub connections: usize,
    /// There are changes that no finished cycle has processed.
    pub has_changes: bool,
    /// The time is inside the quiet window.
    pub is_quiet: bool,
    /// When the quiet window begins next, after now.
    pub quiet_from: Option<Instant>,
    /// The listener was inherited, so another program starts the daemon at the next connection.
    pub is_inherited: bool,
    /// The owner has work to finish before the process may exit.
    pub is_busy: bool,
}

/// The output of a tick, to be performed in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The state has changed: record it. In DREAMING a cycle runs until the state changes again.
    Moved {
        /// The old state.
        from: State,
        /// The new state.
        to: State,
        /// The reason.
        trigger: Trigger,
    },
    /// The command was carried out or begun, and is no longer pending.
    Honored(Command),
    /// The command expired or was revoked by a wake command, and is no longer pending.
    Dropped(Command),
    /// No cycle starts by itself until `until`.
    Quarantined {
        /// The step that failed.
        step: &'static str,
        /// The end of the quarantine.
        until: Instant,
    },
    /// The quarantine is over.
    QuarantineLifted,
    /// Release idle memory.
    ReleaseMemory,
    /// Exit the process, unless a connection waits to be accepted.
    Exit,
}

/// The state that a new process takes over from the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sleep is paused.
    pub is_paused: bool,
    /// The end of the quarantine.
    pub quarantine: Option<Instant>,
    /// The step that failed last, and how often in a row.
    pub failing: Option<(String, u32)>,
    /// The pending commands.
    pub commands: Vec<Command>,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    thresholds: Thresholds,
    state: State,
    last_activity: Instant,
    /// When the pending sleep command arrived.
    sleep_command: Option<Instant>,
    /// When the pending REM command arrived.
    rem_command: Option<Instant>,
    /// No request has arrived since the last command.
    is_command_latest: bool,
    is_paused: bool,
    quarantine: Option<Instant>,
    back_off_until: Option<Instant>,
    next_back_off: Duration,
    failing: Option<(String, u32)>,
}

impl Default for Thresholds {
    fn default() -> Thresholds {
        Thresholds {
            drowsy_after: Duration::from_secs(300),
            sleep_after: Duration::from_secs(1800),
            hibernate_after: Duration::from_secs(7200),
            settle_after: Duration::from_secs(1),
            command_expires_after: Duration::from_secs(600),
            back_off: Duration::from_secs(60),
            max_back_off: Duration::from_secs(3600),
            quarantine: Duration::from_secs(24 * 3600),
        }
    }
}

impl Lifecycle {
    /// Returns a machine in WAKE: no file decides the state of a new process.
    pub fn new(thresholds: Thresholds, restored: Restored, now: Instant) -> Lifecycle {
        let pending = |command| restored.commands.contains(&command).then_some(now);
        Lifecycle {
            state: State::Wake,
            last_activity: now,
            sleep_command: pending(Command::Sleep),
            rem_command: pending(Command::Rem),
            is_command_latest: true,
            is_paused: restored.is_paused,
            quarantine: restored.quarantine,
            back_off_until: None,
            next_back_off: thresholds.back_off,
            failing: restored.failing,
            thresholds,
        }
    }

    /// Returns the current state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Returns the time from which idle time counts.
    pub fn last_activity(&self) -> Instant {
        self.last_activity
    }

    /// Returns true if a REM command is pending.
    pub fn is_rem_pending(&self) -> bool {
        self.rem_command.is_some()
    }

    /// Returns true if only commands lead to sleep.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Returns the step that failed last and its consecutive failures.
    pub fn failing(&self) -> Option<(&str, u32)> {
        self.failing.as_ref().map(|(step, times)| (step.as_str(), *times))
    }

    /// Applies the event and the table's rows, and returns the actions to be performed.
    pub fn tick(&mut self, event: Event, conditions: &Conditions, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.apply(event, now, &mut actions);
        self.expire(now, &mut actions);
        let skips_conditions = matches!(event, Event::Activity | Event::Command(Command::Wake) | Event::Pause);
        while !skips_conditions && let Some((to, trigger)) = self.condition_row(conditions, now) {
            self.enter(to, trigger, conditions, &mut actions);
        }
        // The owner performs all other actions first, and ticks again once they are on disk.
        let is_alone = conditions.connections == 0 && conditions.in_flight == 0;
        let may_exit = conditions.is_inherited && is_alone && !conditions.is_busy && actions.is_empty();
        if self.state == State::Hibernation && may_exit {
            actions.push(Action::Exit);
        }
        actions
    }

    /// Returns true if [`Event::Activity`] at `now` would change nothing, because there was one at `now` already.
    pub fn was_active_at(&self, now: Instant) -> bool {
        self.state == State::Wake && self.last_activity == now && !self.is_command_latest
    }

    /// Returns the earliest time at which a tick would move the machine under unchanged conditions.
    pub fn next_deadline(&self, conditions: &Conditions) -> Option<Instant> {
        let after = |time: Duration| self.last_activity.checked_add(time);
        let expiry = |command: Option<Instant>| {
            command.and_then(|arrived| arrived.checked_add(self.thresholds.command_expires_after))
        };
        let wants_cycle = self.wants_cycle(conditions);
        let hibernates = self.may_hibernate(conditions).then(|| after(self.thresholds.hibernate_after)).flatten();
        let settled = self.has_pending_command().then(|| after(self.thresholds.settle_after)).flatten();
        let of_state = match self.state {
            State::Wake => [after(self.thresholds.drowsy_after), settled, None, None],
            State::Drowsy if wants_cycle => [after(self.thresholds.sleep_after), settled, conditions.quiet_from, None],
            State::Drowsy => [settled, hibernates, None, None],
            State::Sleep => [self.back_off_until.filter(|_| wants_cycle), hibernates, None, None],
            State::Transitioning | State::Dreaming | State::Hibernation => [None; 4],
        };
        let of_all = [self.quarantine, expiry(self.sleep_command), expiry(self.rem_command)];
        of_state.into_iter().chain(of_all).flatten().min()
    }

    /// Applies an event: its effects, and its row of the table.
    fn apply(&mut self, event: Event, now: Instant, actions: &mut Vec<Action>) {
        match event {
            Event::Command(Command::Sleep) if self.state.is_sleeping() => {
                actions.push(Action::Honored(Command::Sleep));
            }
            Event::Command(Command::Sleep) => (self.sleep_command, self.is_command_latest) = (Some(now), true),
            // The running cycle serves this command too.
            Event::Command(Command::Rem) if self.state == State::Dreaming => {
                actions.push(Action::Honored(Command::Rem));
            }
            Event::Command(Command::Rem) => (self.rem_command, self.is_command_latest) = (Some(now), true),
            Event::Pause => self.is_paused = true,
            Event::Resume => self.is_paused = false,
            Event::CycleEnded => {
                self.failing = None;
                self.reset_back_off();
                actions.extend(self.quarantine.take().map(|_| Action::QuarantineLifted));
            }
            Event::StepFailed(step) => self.record_failure(step, now, actions),
            Event::Tick | Event::Activity | Event::Command(Command::Wake) => {}
        }
        let row = self.event_row(event);
        let is_activity = matches!(event, Event::Activity | Event::Command(Command::Wake));
        if is_activity || row.is_some_and(|(to, _)| to == State::Wake) {
            (self.last_activity, self.is_command_latest) = (now, false);
        }
        if let Some((to, trigger)) = row {
            self.change_state(to, trigger, actions);
        }
        if event == Event::Command(Command::Wake) {
            actions.push(Action::Honored(Command::Wake));
            // A wake command revokes the commands to sleep before it.
            actions.extend(self.sleep_command.take().map(|_| Action::Dropped(Command::Sleep)));
            actions.extend(self.rem_command.take().map(|_| Action::Dropped(Command::Rem)));
        }
    }

    /// Rows 1 to 3 of the table.
    fn event_row(&self, event: Event) -> Option<(State, Trigger)> {
        match (self.state, event) {
            // 1
            (State::Wake, Event::Activity | Event::Command(Command::Wake)) => None,
            (_, Event::Activity) => Some((State::Wake, Trigger::Request)),
            (_, Event::Command(Command::Wake)) => Some((State::Wake, Trigger::AskedToWake)),
            // 2
            (State::Sleep | State::Dreaming, Event::Pause) => Some((State::Wake, Trigger::Paused)),
            // 3
            (State::Dreaming, Event::CycleEnded) => Some((State::Sleep, Trigger::CycleEnded)),
            (State::Dreaming, Event::StepFailed(_)) => Some((State::Sleep, Trigger::StepFailed)),
            _ => None,
        }
    }

    /// Rows 4 to 11 of the table.
    fn condition_row(&self, conditions: &Conditions, now: Instant) -> Option<(State, Trigger)> {
        let idle = now.saturating_duration_since(self.last_activity);
        let wants_cycle = self.wants_cycle(conditions);
        match self.state {
            // 4
            State::Wake | State::Drowsy if self.has_settled_command(now) => {
                let trigger = if self.sleep_command.is_some() { Trigger::AskedToSleep } else { Trigger::AskedForRem };
                Some((State::Transitioning, trigger))
            }
            // 5
            State::Wake if idle >= self.thresholds.drowsy_after => Some((State::Drowsy, Trigger::Idle)),
            // 6
            State::Drowsy if wants_cycle && idle >= self.thresholds.sleep_after => {
                Some((State::Transitioning, Trigger::Idle))
            }
            // 7
            State::Drowsy if wants_cycle && conditions.is_quiet => Some((State::Transitioning, Trigger::QuietWindow)),
            // 8
            State::Transitioning if conditions.in_flight == 0 => Some((State::Sleep, Trigger::NothingInFlight)),
            // 9
            State::Sleep | State::Hibernation if self.rem_command.is_some() => {
                Some((State::Dreaming, Trigger::AskedForRem))
            }
            // 10
            State::Sleep if wants_cycle && self.back_off_until.is_none() => {
                Some((State::Dreaming, Trigger::SomethingNew))
            }
            // 11
            State::Drowsy | State::Sleep
                if idle >= self.thresholds.hibernate_after && self.may_hibernate(conditions) =>
            {
                Some((State::Hibernation, Trigger::Idle))
            }
            _ => None,
        }
    }

    /// Enters a state by one of rows 4 to 11.
    fn enter(&mut self, to: State, trigger: Trigger, conditions: &Conditions, actions: &mut Vec<Action>) {
        self.change_state(to, trigger, actions);
        match to {
            State::Transitioning => {
                actions.extend(self.sleep_command.take().map(|_| Action::Honored(Command::Sleep)));
            }
            State::Dreaming => actions.extend(self.rem_command.take().map(|_| Action::Honored(Command::Rem))),
            State::Hibernation if !conditions.is_inherited => actions.push(Action::ReleaseMemory),
            _ => {}
        }
    }

    fn change_state(&mut self, to: State, trigger: Trigger, actions: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.state, to);
        actions.push(Action::Moved { from, to, trigger });
    }

    /// Counts a step's failure, and starts a back-off or the quarantine.
    fn record_failure(&mut self, step: &'static str, now: Instant, actions: &mut Vec<Action>) {
        let before = self.failing.take().filter(|(failed, _)| failed == step).map_or(0, |(_, times)| times);
        if before + 1 < QUARANTINE_FAILURE_COUNT {
            self.failing = Some((step.to_owned(), before + 1));
            self.back_off_until = now.checked_add(self.next_back_off);
            self.next_back_off = (self.next_back_off * 2).min(self.thresholds.max_back_off);
        } else if let Some(until) = now.checked_add(self.thresholds.quarantine) {
            self.reset_back_off();
            self.quarantine = Some(until);
            actions.push(Action::Quarantined { step, until });
        }
    }

    fn reset_back_off(&mut self) {
        self.back_off_until = None;
        self.next_back_off = self.thresholds.back_off;
    }

    /// Drops the pending commands, the quarantine and the back-off whose time is over.
    fn expire(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let max_age = self.thresholds.command_expires_after;
        for (pending, command) in [(&mut self.sleep_command, Command::Sleep), (&mut self.rem_command, Command::Rem)] {
            let expired = pending.take_if(|arrived| now.saturating_duration_since(*arrived) >= max_age);
            actions.extend(expired.map(|_| Action::Dropped(command)));
        }
        if self.quarantine.take_if(|until| *until <= now).is_some() {
            actions.push(Action::QuarantineLifted);
        }
        self.back_off_until.take_if(|until| *until <= now);
    }

    /// Returns true if a cycle is to run without a command, now or after a back-off.
    fn wants_cycle(&self, conditions: &Conditions) -> bool {
        conditions.has_changes && !self.is_paused && self.quarantine.is_none()
    }

    /// Returns true if only idle time is missing for row 11.
    fn may_hibernate(&self, conditions: &Conditions) -> bool {
        conditions.in_flight == 0
            && conditions.connections == 0
            && !self.has_pending_command()
            && !self.wants_cycle(conditions)
    }

    fn has_pending_command(&self) -> bool {
        self.sleep_command.is_some() || self.rem_command.is_some()
    }

    fn has_settled_command(&self, now: Instant) -> bool {
        let idle = now.saturating_duration_since(self.last_activity);
        self.has_pending_command() && (self.is_command_latest || idle >= self.thresholds.settle_after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATES: [State; 6] =
        [State::Wake, State::Drowsy, State::Transitioning, State::Sleep, State::Dreaming, State::Hibernation];

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn new_machine(now: Instant) -> Lifecycle {
        Lifecycle::new(Thresholds::default(), Restored::default(), now)
    }

    /// A machine in this state whose last activity was at `start`.
    fn machine_in(state: State, start: Instant) -> Lifecycle {
        Lifecycle { state, ..new_machine(start) }
    }

    /// The state after each event, from each of [`STATES`]. A request in flight holds TRANSITIONING, and there are
    /// no changes.
    #[test]
    fn every_event_in_every_state() {
        use State::{Dreaming as D, Drowsy as Dr, Hibernation as H, Sleep as S, Transitioning as T, Wake as W};
        let start = Instant::now();
        let busy = Conditions { in_flight: 1, connections: 1, ..Conditions::default() };
        for (event, to) in [
            (Event::Tick, [W, Dr, T, S, D, H]),
            (Event::Activity, [W, W, W, W, W, W]),
            (Event::Command(Command::Wake), [W, W, W, W, W, W]),
            (Event::Command(Command::Sleep), [T, T, T, S, D, H]),
            (Event::Command(Command::Rem), [T, T, T, D, D, D]),
            (Event::Pause, [W, Dr, T, W, W, H]),
            (Event::Resume, [W, Dr, T, S, D, H]),
            (Event::CycleEnded, [W, Dr, T, S, S, H]),
            (Event::StepFailed("decay"), [W, Dr, T, S, S, H]),
        ] {
            for (from, to) in STATES.into_iter().zip(to) {
                let mut machine = machine_in(from, start);
                let actions = machine.tick(event, &busy, start + seconds(1));
                assert_eq!(machine.state(), to, "{event:?} in {from:?}");
                let moves: Vec<_> = actions.iter().filter(|action| matches!(action, Action::Moved { .. })).collect();
                assert_eq!(moves.len(), usize::from(from != to), "{event:?} in {from:?}: {actions:?}");
                let is_activity =
                    matches!(event, Event::Activity | Event::Command(Command::Wake)) || (to == W && from != W);
                assert_eq!(machine.last_activity() == start + seconds(1), is_activity, "{event:?} in {from:?}");
            }
        }
    }

    /// The state after a tick, for each state, idle time in seconds and conditions.
    #[test]
    fn every_row_of_conditions() {
        use State::{Dreaming as D, Drowsy as Dr, Hibernation as H, Sleep as S, Transitioning as T, Wake as W};
        let start = Instant::now();
        let none = Conditions::default();
        let new = Conditions { has_changes: true, ..none };
        let quiet = Conditions { has_changes: true, is_quiet: true, ..none };
        let requested = |conditions: Conditions| Conditions { in_flight: 1, ..conditions };
        let connected = |conditions: Conditions| Conditions { connections: 1, ..conditions };
        for (from, idle, conditions, to) in [
            (W, 299, requested(quiet), W),
            (W, 300, requested(new), Dr),
            (W, 300, none, Dr),
            // Inside the quiet window DROWSY is left at once.
            (W, 300, quiet, D),
            (Dr, 1799, new, Dr),
            (Dr, 1800, none, Dr),
            (Dr, 1800, new, D),
            (Dr, 1800, requested(new), T),
            (Dr, 1800, connected(new), D),
            (Dr, 300, Conditions { has_changes: false, ..quiet }, Dr),
            (Dr, 7199, none, Dr),
            (Dr, 7200, none, H),
            (Dr, 7200, requested(none), Dr),
            (Dr, 7200, connected(none), Dr),
            (T, 0, requested(new), T),
            (T, 0, none, S),
            (T, 0, new, D),
            (T, 7200, none, H),
            (S, 0, none, S),
            (S, 0, new, D),
            (S, 0, requested(new), D),
            (S, 7199, none, S),
            (S, 7200, none, H),
            (S, 7200, connected(none), S),
            (S, 7200, requested(none), S),
            (S, 7200, new, D),
            (D, 99_999, new, D),
            (H, 99_999, new, H),
        ] {
            let mut machine = machine_in(from, start);
            machine.tick(Event::Tick, &conditions, start + seconds(idle));
            assert_eq!(machine.state(), to, "{from:?} after {idle} s, {conditions:?}");
        }
    }

    /// Two rows apply, and the one with the lower number gives the trigger.
    #[test]
    fn the_row_with_the_lower_number_wins() {
        let start = Instant::now();
        let quiet = Conditions { has_changes: true, is_quiet: true, ..Conditions::default() };
        for (from, idle, command, trigger) in [
            (State::Wake, 300, Some(Command::Sleep), Trigger::AskedToSleep),
            (State::Wake, 300, Some(Command::Rem), Trigger::AskedForRem),
            (State::Drowsy, 1800, Some(Command::Sleep), Trigger::AskedToSleep),
            (State::Drowsy, 1800, None, Trigger::Idle),
            (State::Drowsy, 1799, None, Trigger::QuietWindow),
            (State::Sleep, 7200, Some(Command::Rem), Trigger::AskedForRem),
            (State::Sleep, 7200, None, Trigger::SomethingNew),
        ] {
            let mut machine = machine_in(from, start);
            let event = command.map_or(Event::Tick, Event::Command);
            let actions = machine.tick(event, &quiet, start + seconds(idle));
            let first = actions.iter().find_map(|action| match action {
                Action::Moved { trigger, .. } => Some(*trigger),
                _ => None,
            });
            assert_eq!(first, Some(trigger), "{from:?} after {idle} s, {command:?}");
        }
    }

    #[test]
    fn pause_stops_automatic_sleep_only() {
        let start = Instant::now();
        let new = Conditions { has_changes: true, ..Conditions::default() };
        let connected = Conditions { connections: 1, ..new };
        let paused = |state| Lifecycle { is_paused: true, ..machine_in(state, start) };
        for (from, idle, event, conditions, to) in [
            (State::Drowsy, 1800, Event::Tick, new, State::Drowsy),
            (State::Drowsy, 1800, Event::Resume, new, State::Dreaming),
            (State::Drowsy, 7200, Event::Tick, connected, State::Drowsy),
            (State::Drowsy, 7200, Event::Tick, new, State::Hibernation),
            (State::Sleep, 0, Event::Tick, new, State::Sleep),
            (State::Wake, 0, Event::Command(Command::Sleep), new, State::Sleep),
            (State::Wake, 0, Event::Command(Command::Rem), new, State::Dreaming),
            (State::Sleep, 0, Event::Command(Command::Rem), new, State::Dreaming),
        ] {
            let mut machine = paused(from);
            machine.tick(event, &conditions, start + seconds(idle));
            assert_eq!(machine.state(), to, "{event:?} in {from:?} after {idle} s");
        }
    }

    #[test]
    fn failed_steps_start_a_back_off_and_then_the_quarantine() {
        let start = Instant::now();
        let new = Conditions { has_changes: true, connections: 1, ..Conditions::default() };
        let mut machine = machine_in(State::Dreaming, start);
        let mut now = start;
        // A failure of another step resets the count. No back-off is longer than an hour.
        for (n, wait) in [60, 120, 240, 480, 960, 1920, 3600, 3600].into_iter().enumerate() {
            machine.tick(Event::StepFailed(["decay", "induce"][n % 2]), &new, now);
            assert_eq!(machine.failing().map(|(_, times)| times), Some(1));
            assert_eq!((machine.state(), machine.next_deadline(&new)), (State::Sleep, Some(now + seconds(wait))));
            machine.tick(Event::Tick, &new, now + seconds(wait - 1));
            assert_eq!(machine.state(), State::Sleep);
            now += seconds(wait);
            machine.tick(Event::Tick, &new, now);
            assert_eq!(machine.state(), State::Dreaming, "after {wait} s");
        }
        machine.tick(Event::CycleEnded, &Conditions { has_changes: false, ..new }, now);
        assert_eq!((machine.state(), machine.failing()), (State::Sleep, None));

        let mut machine = machine_in(State::Dreaming, start);
        machine.tick(Event::StepFailed("induce"), &new, start);
        machine.state = State::Dreaming;
        machine.tick(Event::StepFailed("induce"), &new, start);
        assert_eq!(machine.failing(), Some(("induce", 2)));
        machine.state = State::Dreaming;
        let until = start + seconds(24 * 3600);
        let actions = machine.tick(Event::StepFailed("induce"), &new, start);
        assert_eq!(actions[0], Action::Quarantined { step: "induce", until });
        assert_eq!((machine.state(), machine.next_deadline(&new)), (State::Sleep, Some(until)));
        // No cycle starts by itself; a REM command starts one.
        machine.tick(Event::Tick, &new, until - seconds(1));
        assert_eq!(machine.state(), State::Sleep);
        let mut commanded = machine.clone();
        commanded.tick(Event::Command(Command::Rem), &new, start + seconds(9));
        assert_eq!(commanded.state(), State::Dreaming);
        assert!(commanded.tick(Event::CycleEnded, &new, start + seconds(10)).contains(&Action::QuarantineLifted));
        assert_eq!(machine.tick(Event::Tick, &new, until)[0], Action::QuarantineLifted);
        assert_eq!(machine.state(), State::Dreaming);
    }

    #[test]
    fn a_command_is_honored_once_or_dropped() {
        let start = Instant::now();
        let none = Conditions::default();
        let busy = Conditions { in_flight: 1, ..none };
        let honored = |actions: &[Action], command| actions.contains(&Action::Honored(command));
        // A command before the last request waits for `settle_after`.
        let mut machine = new_machine(start);
        machine.tick(Event::Command(Command::Rem), &busy, start);
        assert_eq!(machine.state(), State::Transitioning);
        machine.tick(Event::Activity, &busy, start + seconds(1));
        machine.tick(Event::Tick, &none, start + seconds(1));
        assert_eq!((machine.state(), machine.next_deadline(&none)), (State::Wake, Some(start + seconds(2))));
        assert!(machine.is_rem_pending());
        assert!(honored(&machine.tick(Event::Tick, &none, start + seconds(2)), Command::Rem));
        assert_eq!((machine.state(), machine.is_rem_pending()), (State::Dreaming, false));
        assert!(honored(&machine.tick(Event::Command(Command::Rem), &none, start + seconds(3)), Command::Rem));
        machine.tick(Event::CycleEnded, &none, start + seconds(4));
        assert_eq!(machine.state(), State::Sleep, "the running cycle served the second command");

        // A command expires, and a wake command revokes it.
        let mut machine = new_machine(start);
        machine.tick(Event::Command(Command::Rem), &busy, start);
        let mut woken = machine.clone();
        assert_eq!(machine.tick(Event::Tick, &busy, start + seconds(599)), []);
        assert_eq!(machine.next_deadline(&busy), Some(start + seconds(600)));
        assert_eq!(machine.tick(Event::Tick, &busy, start + seconds(600)), [Action::Dropped(Command::Rem)]);
        let actions = woken.tick(Event::Command(Command::Wake), &none, start + seconds(1));
        assert!(honored(&actions, Command::Wake) && actions.contains(&Action::Dropped(Command::Rem)), "{actions:?}");
        assert_eq!(woken.next_deadline(&none), Some(start + seconds(301)));
    }

    #[test]
    fn hibernation_exits_with_an_inherited_listener_and_releases_memory_without() {
        let start = Instant::now();
        let own = Conditions::default();
        let inherited = Conditions { is_inherited: true, ..own };
        let late = start + seconds(7200);
        assert_eq!(machine_in(State::Sleep, start).tick(Event::Tick, &own, late)[1..], [Action::ReleaseMemory]);
        let mut machine = machine_in(State::Sleep, start);
        assert_eq!(machine.tick(Event::Tick, &Conditions { is_busy: true, ..inherited }, late).len(), 1);
        // The connection of the last tick is closed.
        for (conditions, actions) in [
            (Conditions { connections: 1, ..inherited }, &[][..]),
            (Conditions { is_busy: true, ..inherited }, &[][..]),
            (own, &[][..]),
            (inherited, &[Action::Exit][..]),
        ] {
            assert_eq!(machine.tick(Event::Tick, &conditions, late + seconds(1)), actions, "{conditions:?}");
        }
    }

    #[test]
    fn a_new_process_starts_in_wake_with_what_the_last_one_left() {
        let start = Instant::now();
        let new = Conditions { has_changes: true, ..Conditions::default() };
        let restored = Restored {
            is_paused: false,
            quarantine: Some(start + seconds(3600)),
            failing: Some(("decay".into(), 2)),
            commands: Vec::new(),
        };
        let mut machine = Lifecycle::new(Thresholds::default(), restored.clone(), start);
        assert_eq!(machine.state(), State::Wake);
        machine.tick(Event::Tick, &new, start + seconds(1800));
        assert_eq!(machine.state(), State::Drowsy);
        let actions = machine.tick(Event::StepFailed("decay"), &new, start + seconds(1801));
        assert!(matches!(actions[..], [Action::Quarantined { step: "decay", .. }]), "{actions:?}");
        let mut commanded =
            Lifecycle::new(Thresholds::default(), Restored { commands: vec![Command::Rem], ..restored }, start);
        commanded.tick(Event::Tick, &new, start);
        assert_eq!(commanded.state(), State::Dreaming);
    }

    fn events() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => Just(Event::Tick),
            2 => Just(Event::Activity),
            1 => Just(Event::Command(Command::Sleep)),
            1 => Just(Event::Command(Command::Wake)),
            1 => Just(Event::Command(Command::Rem)),
            1 => Just(Event::Pause),
            1 => Just(Event::Resume),
            2 => Just(Event::CycleEnded),
            2 => Just(Event::StepFailed("associate")),
            1 => Just(Event::StepFailed("induce")),
        ]
    }

    fn any_conditions() -> impl Strategy<Value = Conditions> {
        (0..2_usize, 0..2_usize, any::<[bool; 4]>()).prop_map(|(in_flight, connections, flags)| Conditions {
            in_flight,
            connections: connections.max(in_flight),
            has_changes: flags[0],
            is_quiet: flags[1],
            quiet_from: None,
            is_inherited: flags[2],
            is_busy: flags[3],
        })
    }

    proptest! {
        #[test]
        fn any_sequence_can_be_woken_and_never_exits_on_a_client(
            steps in proptest::collection::vec((events(), any_conditions(), 0..3000_u64), 1..80),
        ) {
            let mut now = Instant::now();
            let mut machine = new_machine(now);
            for (event, conditions, later) in steps {
                now += seconds(later);
                let before = machine.state();
                let actions = machine.tick(event, &conditions, now);
                // The reported moves form a chain.
                let mut at = before;
                for action in &actions {
                    if let Action::Moved { from, to, .. } = action {
                        prop_assert_eq!(*from, at);
                        prop_assert_ne!(from, to);
                        at = *to;
                    }
                }
                prop_assert_eq!(at, machine.state());
                if event == Event::Activity || event == Event::Command(Command::Wake) {
                    prop_assert_eq!(machine.state(), State::Wake);
                }
                if actions.contains(&Action::Exit) {
                    prop_assert!(conditions.is_inherited && conditions.connections == 0 && conditions.in_flight == 0);
                    prop_assert!(!conditions.is_busy && machine.state() == State::Hibernation);
                }
                // A tick leaves no moment that has passed: the loop would spin.
                if event == Event::Tick {
                    prop_assert!(machine.next_deadline(&conditions).is_none_or(|at| at > now), "{:?} {:?}", machine, conditions);
                    prop_assert!(machine.clone().tick(Event::Tick, &conditions, now).iter().all(|again| *again == Action::Exit));
                }
                // A request wakes it from any state, and it stays awake at the same moment.
                let mut requested = machine.clone();
                requested.tick(Event::Activity, &conditions, now);
                prop_assert_eq!(requested.state(), State::Wake);
                requested.tick(Event::Tick, &conditions, now);
                prop_assert_eq!(requested.state(), State::Wake);
                // Without events it comes to rest, with no moment to wait for.
                let (alone, mut left, mut then) = (Conditions::default(), machine.clone(), now);
                left.tick(Event::Tick, &alone, now);
                for _ in 0..12 {
                    let Some(moment) = left.next_deadline(&alone) else { break };
                    then = then.max(moment);
                    left.tick(Event::Tick, &alone, then);
                }
                let resting = matches!(left.state(), State::Hibernation | State::Dreaming);
                prop_assert!(resting && left.next_deadline(&alone).is_none(), "{:?}", left);
            }
        }
    }
}
