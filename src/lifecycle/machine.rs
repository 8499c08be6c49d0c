//! The state machine: (state, event, now) → (state, actions). The table of the lifecycle as code.
//!
//! | from | on | to |
//! |---|---|---|
//! | WAKE | idle for `drowsy_after` | DROWSY |
//! | WAKE, DROWSY | asked to sleep, or for a REM cycle | TRANSITIONING |
//! | DROWSY | idle for `sleep_after` or in the quiet window; something new, no pause, no quarantine | TRANSITIONING |
//! | DROWSY, SLEEP | idle for `hibernate_after`, nothing in flight, no cycle due, nobody connected | HIBERNATION |
//! | TRANSITIONING | nothing in flight | SLEEP |
//! | SLEEP | something new, no pause, no quarantine, back-off over | DREAMING |
//! | SLEEP, HIBERNATION | asked for a REM cycle | DREAMING |
//! | DREAMING | the cycle ended, or a step failed | SLEEP |
//! | SLEEP, DREAMING | pause | WAKE |
//! | any but WAKE | a request; asked to wake | WAKE |
//!
//! Everything else leaves the state alone. It reads no clock, file or socket, and only its owner's
//! tick moves it: everybody else can ask. Whatever wakes it starts the idle clock anew.

use std::time::{Duration, Instant};

use crate::lifecycle::state::{Command, State, Trigger};

/// Failures of one step in a row that bring the quarantine.
const FAILURES: u32 = 3;

/// How long things take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Without a request for this long it gets drowsy.
    pub drowsy_after: Duration,
    /// And sleeps, if there is something new.
    pub sleep_after: Duration,
    /// And hibernates.
    pub hibernate_after: Duration,
    /// What was asked before the last request waits for this long a silence. 1 s, picked: longer than
    /// the pause between two requests of one conversation's turn.
    pub settle_after: Duration,
    /// What was asked is forgotten if it cannot be done for this long.
    pub ask_expires_after: Duration,
    /// The wait after a step has failed; it doubles with each failure.
    pub back_off: Duration,
    /// The longest wait.
    pub back_off_most: Duration,
    /// How long no cycle runs by itself after a step has failed three times in a row.
    pub quarantine: Duration,
}

/// What the machine is told at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but time has passed, or something around it has changed.
    Tick,
    /// A request arrived, or a session began.
    Activity,
    /// Somebody asks for something.
    Command(Command),
    /// No sleep but on request.
    Pause,
    /// Sleep again.
    Resume,
    /// The cycle is at its end.
    CycleEnded,
    /// The step of this name failed.
    StepFailed(&'static str),
}

/// How it is around the machine at a tick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    /// Requests that are not answered yet.
    pub in_flight: usize,
    /// Clients that are connected.
    pub connected: usize,
    /// Something is there that no cycle has seen.
    pub is_new: bool,
    /// It is within the quiet window.
    pub is_quiet: bool,
    /// When the quiet window begins next, after now.
    pub quiet_from: Option<Instant>,
    /// The listener was inherited: somebody else starts the daemon again.
    pub is_inherited: bool,
    /// The owner has to finish something before the process may end.
    pub is_busy: bool,
}

/// What the machine wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It has moved: to be kept and told. In DREAMING a cycle is to run until it moves again.
    Moved {
        /// Where it was.
        from: State,
        /// Where it is.
        to: State,
        /// Why.
        trigger: Trigger,
    },
    /// What was asked for is done or begun, and pends no more.
    Honored(Command),
    /// What was asked for was not done in time, or somebody asked to wake: it pends no more.
    Dropped(Command),
    /// No cycle runs by itself until then.
    Quarantined {
        /// The step that failed.
        step: &'static str,
        /// Until when.
        until: Instant,
    },
    /// The quarantine is over.
    QuarantineLifted,
    /// Memory is to be given back.
    ReleaseMemory,
    /// The process is to end, unless somebody is waiting to connect.
    Exit,
}

/// What the machine takes over from the last process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Sleep is paused.
    pub is_paused: bool,
    /// No cycle runs by itself until then.
    pub quarantine: Option<Instant>,
    /// The step that failed last, and how often in a row.
    pub failing: Option<(String, u32)>,
    /// What was asked and pends.
    pub asks: Vec<Command>,
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    thresholds: Thresholds,
    state: State,
    last_activity: Instant,
    sleep_asked: Option<Instant>,
    rem_asked: Option<Instant>,
    /// No request has come since something was asked.
    is_ask_fresh: bool,
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
            ask_expires_after: Duration::from_secs(600),
            back_off: Duration::from_secs(60),
            back_off_most: Duration::from_secs(3600),
            quarantine: Duration::from_secs(24 * 3600),
        }
    }
}

impl Lifecycle {
    /// A start is a WAKE, whatever any file says.
    pub fn new(thresholds: Thresholds, restored: Restored, now: Instant) -> Lifecycle {
        let asked = |ask| restored.asks.contains(&ask).then_some(now);
        Lifecycle {
            state: State::Wake,
            last_activity: now,
            sleep_asked: asked(Command::Sleep),
            rem_asked: asked(Command::Rem),
            is_ask_fresh: true,
            is_paused: restored.is_paused,
            quarantine: restored.quarantine,
            back_off_until: None,
            next_back_off: thresholds.back_off,
            failing: restored.failing,
            thresholds,
        }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the last activity was, or what else woke it.
    pub fn last_activity(&self) -> Instant {
        self.last_activity
    }

    /// Is a REM cycle asked for and not begun?
    pub fn is_rem_asked(&self) -> bool {
        self.rem_asked.is_some()
    }

    /// Is sleep that nobody asked for stopped?
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// The step that failed last, and how often in a row.
    pub fn failing(&self) -> Option<(&str, u32)> {
        self.failing.as_ref().map(|(step, times)| (step.as_str(), *times))
    }

    /// One tick: takes the event in, moves, and says what is to be done.
    pub fn tick(&mut self, event: Event, conditions: &Conditions, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        self.take_in(event, now, &mut actions);
        self.let_go_of_what_is_over(now, &mut actions);
        // Who has just woken it finds it awake.
        let wakes = matches!(event, Event::Activity | Event::Command(Command::Wake) | Event::Pause);
        while !wakes && let Some((to, trigger)) = self.row(conditions, now) {
            self.enter(to, trigger, conditions, &mut actions);
        }
        // A move is to be kept and told first: its owner ticks again once it is.
        let nobody = conditions.connected == 0 && conditions.in_flight == 0 && actions.is_empty();
        if self.state == State::Hibernation && conditions.is_inherited && nobody && !conditions.is_busy {
            actions.push(Action::Exit);
        }
        actions
    }

    /// Would activity at `now` change nothing, because there was some at that moment already?
    pub fn was_active_at(&self, now: Instant) -> bool {
        self.state == State::Wake && self.last_activity == now && !self.is_ask_fresh
    }

    /// The next moment at which a tick would move it, if things around it stay as they are.
    pub fn next_moment(&self, conditions: &Conditions) -> Option<Instant> {
        let after = |time: Duration| self.last_activity.checked_add(time);
        let expiry = |asked: Option<Instant>| asked.and_then(|at| at.checked_add(self.thresholds.ask_expires_after));
        let wants_sleep = self.wants_cycle(conditions);
        let hibernates = self.may_hibernate(conditions).then(|| after(self.thresholds.hibernate_after)).flatten();
        let settled = self.is_asked().then(|| after(self.thresholds.settle_after)).flatten();
        let of_state = match self.state {
            State::Wake => [after(self.thresholds.drowsy_after), settled, None, None],
            State::Drowsy if wants_sleep => [after(self.thresholds.sleep_after), settled, conditions.quiet_from, None],
            State::Drowsy => [settled, hibernates, None, None],
            State::Sleep => [self.back_off_until.filter(|_| wants_sleep), hibernates, None, None],
            State::Transitioning | State::Dreaming | State::Hibernation => [None; 4],
        };
        let of_all = [self.quarantine, expiry(self.sleep_asked), expiry(self.rem_asked)];
        of_state.into_iter().chain(of_all).flatten().min()
    }

    fn take_in(&mut self, event: Event, now: Instant, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Activity => self.wake(Trigger::Request, now, actions),
            Event::Command(Command::Wake) => {
                self.wake(Trigger::AskedToWake, now, actions);
                actions.push(Action::Honored(Command::Wake));
                // Who wants it awake wants no sleep that somebody asked for before.
                actions.extend(self.sleep_asked.take().map(|_| Action::Dropped(Command::Sleep)));
                actions.extend(self.rem_asked.take().map(|_| Action::Dropped(Command::Rem)));
            }
            Event::Command(Command::Sleep) if self.state.is_sleeping() => actions.push(Action::Honored(Command::Sleep)),
            Event::Command(Command::Sleep) => (self.sleep_asked, self.is_ask_fresh) = (Some(now), true),
            // The one that runs is as good.
            Event::Command(Command::Rem) if self.state == State::Dreaming => {
                actions.push(Action::Honored(Command::Rem))
            }
            Event::Command(Command::Rem) => (self.rem_asked, self.is_ask_fresh) = (Some(now), true),
            Event::Pause => {
                self.is_paused = true;
                if matches!(self.state, State::Sleep | State::Dreaming) {
                    self.wake(Trigger::Paused, now, actions);
                }
            }
            Event::Resume => self.is_paused = false,
            Event::CycleEnded => {
                self.failing = None;
                self.calm_down();
                actions.extend(self.quarantine.take().map(|_| Action::QuarantineLifted));
                self.stop_dreaming(Trigger::CycleEnded, actions);
            }
            Event::StepFailed(step) => {
                self.failed(step, now, actions);
                self.stop_dreaming(Trigger::StepFailed, actions);
            }
        }
    }

    fn wake(&mut self, trigger: Trigger, now: Instant, actions: &mut Vec<Action>) {
        self.last_activity = now;
        self.is_ask_fresh = false;
        if self.state != State::Wake {
            self.go(State::Wake, trigger, actions);
        }
    }

    /// It may have been woken while the last chunk ran.
    fn stop_dreaming(&mut self, trigger: Trigger, actions: &mut Vec<Action>) {
        if self.state == State::Dreaming {
            self.go(State::Sleep, trigger, actions);
        }
    }

    fn failed(&mut self, step: &'static str, now: Instant, actions: &mut Vec<Action>) {
        let before = self.failing.take().filter(|(failed, _)| failed == step).map_or(0, |(_, times)| times);
        if before + 1 < FAILURES {
            self.failing = Some((step.to_owned(), before + 1));
            self.back_off_until = now.checked_add(self.next_back_off);
            self.next_back_off = (self.next_back_off * 2).min(self.thresholds.back_off_most);
        } else if let Some(until) = now.checked_add(self.thresholds.quarantine) {
            self.calm_down();
            self.quarantine = Some(until);
            actions.push(Action::Quarantined { step, until });
        }
    }

    /// No back-off, and the next one is a short one.
    fn calm_down(&mut self) {
        self.back_off_until = None;
        self.next_back_off = self.thresholds.back_off;
    }

    fn let_go_of_what_is_over(&mut self, now: Instant, actions: &mut Vec<Action>) {
        let patience = self.thresholds.ask_expires_after;
        for (asked, ask) in [(&mut self.sleep_asked, Command::Sleep), (&mut self.rem_asked, Command::Rem)] {
            let expired = asked.take_if(|at| now.saturating_duration_since(*at) >= patience);
            actions.extend(expired.map(|_| Action::Dropped(ask)));
        }
        if self.quarantine.take_if(|until| *until <= now).is_some() {
            actions.push(Action::QuarantineLifted);
        }
        self.back_off_until.take_if(|until| *until <= now);
    }

    /// The row of the table that holds now, but for those of events.
    fn row(&self, conditions: &Conditions, now: Instant) -> Option<(State, Trigger)> {
        let idle = now.saturating_duration_since(self.last_activity);
        let hibernates = idle >= self.thresholds.hibernate_after && self.may_hibernate(conditions);
        match self.state {
            State::Wake | State::Drowsy if self.is_asked() && self.has_settled(now) => {
                let trigger = if self.sleep_asked.is_some() { Trigger::AskedToSleep } else { Trigger::AskedForRem };
                Some((State::Transitioning, trigger))
            }
            State::Wake if idle >= self.thresholds.drowsy_after => Some((State::Drowsy, Trigger::Idle)),
            State::Drowsy if self.wants_cycle(conditions) && idle >= self.thresholds.sleep_after => {
                Some((State::Transitioning, Trigger::Idle))
            }
            State::Drowsy if self.wants_cycle(conditions) && conditions.is_quiet => {
                Some((State::Transitioning, Trigger::QuietWindow))
            }
            State::Transitioning if conditions.in_flight == 0 => Some((State::Sleep, Trigger::NothingInFlight)),
            State::Sleep | State::Hibernation if self.rem_asked.is_some() => {
                Some((State::Dreaming, Trigger::AskedForRem))
            }
            State::Sleep if self.wants_cycle(conditions) && self.back_off_until.is_none() => {
                Some((State::Dreaming, Trigger::SomethingNew))
            }
            State::Drowsy | State::Sleep if hibernates => Some((State::Hibernation, Trigger::Idle)),
            _ => None,
        }
    }

    fn enter(&mut self, to: State, trigger: Trigger, conditions: &Conditions, actions: &mut Vec<Action>) {
        self.go(to, trigger, actions);
        match to {
            State::Transitioning => {
                actions.extend(self.sleep_asked.take().map(|_| Action::Honored(Command::Sleep)));
            }
            State::Dreaming => actions.extend(self.rem_asked.take().map(|_| Action::Honored(Command::Rem))),
            State::Hibernation if !conditions.is_inherited => actions.push(Action::ReleaseMemory),
            _ => {}
        }
    }

    fn go(&mut self, to: State, trigger: Trigger, actions: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.state, to);
        actions.push(Action::Moved { from, to, trigger });
    }

    /// Is there a cycle to be run that nobody asked for, now or after a back-off?
    fn wants_cycle(&self, conditions: &Conditions) -> bool {
        conditions.is_new && !self.is_paused && self.quarantine.is_none()
    }

    fn may_hibernate(&self, conditions: &Conditions) -> bool {
        conditions.in_flight == 0 && conditions.connected == 0 && !self.is_asked() && !self.wants_cycle(conditions)
    }

    fn is_asked(&self) -> bool {
        self.sleep_asked.is_some() || self.rem_asked.is_some()
    }

    /// Was it asked after the last request, or is that long enough ago?
    fn has_settled(&self, now: Instant) -> bool {
        self.is_ask_fresh || now.saturating_duration_since(self.last_activity) >= self.thresholds.settle_after
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

    fn new(now: Instant) -> Lifecycle {
        Lifecycle::new(Thresholds::default(), Restored::default(), now)
    }

    /// A machine in this state, whose last activity was at `start`.
    fn machine(state: State, start: Instant) -> Lifecycle {
        Lifecycle { state, ..new(start) }
    }

    /// Where each event leads from each state, in the order of [`STATES`], with a request in flight that
    /// holds TRANSITIONING and nothing new.
    #[test]
    fn every_event_in_every_state() {
        use State::{Dreaming as D, Drowsy as Dr, Hibernation as H, Sleep as S, Transitioning as T, Wake as W};
        let start = Instant::now();
        let busy = Conditions { in_flight: 1, connected: 1, ..Conditions::default() };
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
                let mut one = machine(from, start);
                let actions = one.tick(event, &busy, start + seconds(1));
                assert_eq!(one.state(), to, "{event:?} in {from:?}");
                let moves: Vec<_> = actions.iter().filter(|action| matches!(action, Action::Moved { .. })).collect();
                assert_eq!(moves.len(), usize::from(from != to), "{event:?} in {from:?}: {actions:?}");
                let has_woken =
                    matches!(event, Event::Activity | Event::Command(Command::Wake)) || (to == W && from != W);
                assert_eq!(one.last_activity() == start + seconds(1), has_woken, "{event:?} in {from:?}");
            }
        }
    }

    /// What time and the things around lead to: state, idle seconds, conditions, and where to.
    #[test]
    fn every_row_of_time() {
        use State::{Dreaming as D, Drowsy as Dr, Hibernation as H, Sleep as S, Transitioning as T, Wake as W};
        let start = Instant::now();
        let none = Conditions::default();
        let new = Conditions { is_new: true, ..none };
        let quiet = Conditions { is_new: true, is_quiet: true, ..none };
        let asking = |conditions: Conditions| Conditions { in_flight: 1, ..conditions };
        let here = |conditions: Conditions| Conditions { connected: 1, ..conditions };
        for (from, idle, conditions, to) in [
            (W, 299, asking(quiet), W),
            (W, 300, asking(new), Dr),
            (W, 300, none, Dr),
            // In the quiet window it is asleep as soon as it is drowsy.
            (W, 300, quiet, D),
            (Dr, 1799, new, Dr),
            (Dr, 1800, none, Dr),
            (Dr, 1800, new, D),
            (Dr, 1800, asking(new), T),
            (Dr, 1800, here(new), D),
            (Dr, 300, Conditions { is_new: false, ..quiet }, Dr),
            (Dr, 7199, none, Dr),
            (Dr, 7200, none, H),
            (Dr, 7200, asking(none), Dr),
            (Dr, 7200, here(none), Dr),
            (T, 0, asking(new), T),
            (T, 0, none, S),
            (T, 0, new, D),
            (T, 7200, none, H),
            (S, 0, none, S),
            (S, 0, new, D),
            (S, 0, asking(new), D),
            (S, 7199, none, S),
            (S, 7200, none, H),
            (S, 7200, here(none), S),
            (S, 7200, asking(none), S),
            (S, 7200, new, D),
            (D, 99_999, new, D),
            (H, 99_999, new, H),
        ] {
            let mut one = machine(from, start);
            one.tick(Event::Tick, &conditions, start + seconds(idle));
            assert_eq!(one.state(), to, "{from:?} after {idle} s, {conditions:?}");
        }
    }

    #[test]
    fn pause_stops_sleep_that_nobody_asked_for_and_no_other() {
        let start = Instant::now();
        let new = Conditions { is_new: true, ..Conditions::default() };
        let here = Conditions { connected: 1, ..new };
        let paused = |state| Lifecycle { is_paused: true, ..machine(state, start) };
        for (from, idle, event, conditions, to) in [
            (State::Drowsy, 1800, Event::Tick, new, State::Drowsy),
            (State::Drowsy, 1800, Event::Resume, new, State::Dreaming),
            (State::Drowsy, 7200, Event::Tick, here, State::Drowsy),
            (State::Drowsy, 7200, Event::Tick, new, State::Hibernation),
            (State::Sleep, 0, Event::Tick, new, State::Sleep),
            (State::Wake, 0, Event::Command(Command::Sleep), new, State::Sleep),
            (State::Wake, 0, Event::Command(Command::Rem), new, State::Dreaming),
            (State::Sleep, 0, Event::Command(Command::Rem), new, State::Dreaming),
        ] {
            let mut one = paused(from);
            one.tick(event, &conditions, start + seconds(idle));
            assert_eq!(one.state(), to, "{event:?} in {from:?} after {idle} s");
        }
    }

    #[test]
    fn steps_that_fail_back_off_and_end_in_quarantine() {
        let start = Instant::now();
        let new = Conditions { is_new: true, connected: 1, ..Conditions::default() };
        let mut one = machine(State::Dreaming, start);
        let mut now = start;
        // Each other step begins the count anew, and no wait grows over an hour.
        for (n, wait) in [60, 120, 240, 480, 960, 1920, 3600, 3600].into_iter().enumerate() {
            one.tick(Event::StepFailed(["decay", "induce"][n % 2]), &new, now);
            assert_eq!(one.failing().map(|(_, times)| times), Some(1));
            assert_eq!((one.state(), one.next_moment(&new)), (State::Sleep, Some(now + seconds(wait))));
            one.tick(Event::Tick, &new, now + seconds(wait - 1));
            assert_eq!(one.state(), State::Sleep);
            now += seconds(wait);
            one.tick(Event::Tick, &new, now);
            assert_eq!(one.state(), State::Dreaming, "after {wait} s");
        }
        one.tick(Event::CycleEnded, &Conditions { is_new: false, ..new }, now);
        assert_eq!((one.state(), one.failing()), (State::Sleep, None));

        let mut one = machine(State::Dreaming, start);
        one.tick(Event::StepFailed("induce"), &new, start);
        one.state = State::Dreaming;
        one.tick(Event::StepFailed("induce"), &new, start);
        assert_eq!(one.failing(), Some(("induce", 2)));
        one.state = State::Dreaming;
        let until = start + seconds(24 * 3600);
        let actions = one.tick(Event::StepFailed("induce"), &new, start);
        assert_eq!(actions[0], Action::Quarantined { step: "induce", until });
        assert_eq!((one.state(), one.next_moment(&new)), (State::Sleep, Some(until)));
        // Nothing by itself, and what somebody asks for.
        one.tick(Event::Tick, &new, until - seconds(1));
        assert_eq!(one.state(), State::Sleep);
        let mut asked = one.clone();
        asked.tick(Event::Command(Command::Rem), &new, start + seconds(9));
        assert_eq!(asked.state(), State::Dreaming);
        assert!(asked.tick(Event::CycleEnded, &new, start + seconds(10)).contains(&Action::QuarantineLifted));
        assert_eq!(one.tick(Event::Tick, &new, until)[0], Action::QuarantineLifted);
        assert_eq!(one.state(), State::Dreaming);
    }

    #[test]
    fn what_is_asked_is_taken_up_once_or_dropped() {
        let start = Instant::now();
        let none = Conditions::default();
        let busy = Conditions { in_flight: 1, ..none };
        let taken = |actions: &[Action], ask| actions.contains(&Action::Honored(ask));
        // Behind a request it waits for silence.
        let mut one = new(start);
        one.tick(Event::Command(Command::Rem), &busy, start);
        assert_eq!(one.state(), State::Transitioning);
        one.tick(Event::Activity, &busy, start + seconds(1));
        one.tick(Event::Tick, &none, start + seconds(1));
        assert_eq!((one.state(), one.next_moment(&none)), (State::Wake, Some(start + seconds(2))));
        assert!(one.is_rem_asked());
        assert!(taken(&one.tick(Event::Tick, &none, start + seconds(2)), Command::Rem));
        assert_eq!((one.state(), one.is_rem_asked()), (State::Dreaming, false));
        assert!(taken(&one.tick(Event::Command(Command::Rem), &none, start + seconds(3)), Command::Rem));
        one.tick(Event::CycleEnded, &none, start + seconds(4));
        assert_eq!(one.state(), State::Sleep, "the running one was as good");

        // It expires, and who asks to wake takes it back.
        let mut one = new(start);
        one.tick(Event::Command(Command::Rem), &busy, start);
        let mut woken = one.clone();
        assert_eq!(one.tick(Event::Tick, &busy, start + seconds(599)), []);
        assert_eq!(one.next_moment(&busy), Some(start + seconds(600)));
        assert_eq!(one.tick(Event::Tick, &busy, start + seconds(600)), [Action::Dropped(Command::Rem)]);
        let actions = woken.tick(Event::Command(Command::Wake), &none, start + seconds(1));
        assert!(taken(&actions, Command::Wake) && actions.contains(&Action::Dropped(Command::Rem)), "{actions:?}");
        assert_eq!(woken.next_moment(&none), Some(start + seconds(301)));
    }

    #[test]
    fn it_ends_where_somebody_else_starts_it_and_gives_back_where_nobody_does() {
        let start = Instant::now();
        let own = Conditions::default();
        let inherited = Conditions { is_inherited: true, ..own };
        let late = start + seconds(7200);
        assert_eq!(machine(State::Sleep, start).tick(Event::Tick, &own, late)[1..], [Action::ReleaseMemory]);
        let mut one = machine(State::Sleep, start);
        assert_eq!(one.tick(Event::Tick, &Conditions { is_busy: true, ..inherited }, late).len(), 1);
        // Somebody was there at the last look, and has gone.
        for (conditions, actions) in [
            (Conditions { connected: 1, ..inherited }, &[][..]),
            (Conditions { is_busy: true, ..inherited }, &[][..]),
            (own, &[][..]),
            (inherited, &[Action::Exit][..]),
        ] {
            assert_eq!(one.tick(Event::Tick, &conditions, late + seconds(1)), actions, "{conditions:?}");
        }
    }

    #[test]
    fn what_the_last_process_left_is_taken_over_and_the_start_is_a_wake() {
        let start = Instant::now();
        let new = Conditions { is_new: true, ..Conditions::default() };
        let restored = Restored {
            is_paused: false,
            quarantine: Some(start + seconds(3600)),
            failing: Some(("decay".into(), 2)),
            asks: Vec::new(),
        };
        let mut one = Lifecycle::new(Thresholds::default(), restored.clone(), start);
        assert_eq!(one.state(), State::Wake);
        one.tick(Event::Tick, &new, start + seconds(1800));
        assert_eq!(one.state(), State::Drowsy);
        let actions = one.tick(Event::StepFailed("decay"), &new, start + seconds(1801));
        assert!(matches!(actions[..], [Action::Quarantined { step: "decay", .. }]), "{actions:?}");
        let mut asked = Lifecycle::new(Thresholds::default(), Restored { asks: vec![Command::Rem], ..restored }, start);
        asked.tick(Event::Tick, &new, start);
        assert_eq!(asked.state(), State::Dreaming);
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

    fn conditions_strategy() -> impl Strategy<Value = Conditions> {
        (0..2_usize, 0..2_usize, any::<[bool; 4]>()).prop_map(|(in_flight, connected, flags)| Conditions {
            in_flight,
            connected: connected.max(in_flight),
            is_new: flags[0],
            is_quiet: flags[1],
            quiet_from: None,
            is_inherited: flags[2],
            is_busy: flags[3],
        })
    }

    proptest! {
        #[test]
        fn whatever_happens_it_can_be_woken_and_never_ends_on_anybody(
            steps in proptest::collection::vec((events(), conditions_strategy(), 0..3000_u64), 1..80),
        ) {
            let mut now = Instant::now();
            let mut one = new(now);
            for (event, conditions, later) in steps {
                now += seconds(later);
                let before = one.state();
                let actions = one.tick(event, &conditions, now);
                // All moves are told, one after the other.
                let mut at = before;
                for action in &actions {
                    if let Action::Moved { from, to, .. } = action {
                        prop_assert_eq!(*from, at);
                        prop_assert_ne!(from, to);
                        at = *to;
                    }
                }
                prop_assert_eq!(at, one.state());
                if event == Event::Activity || event == Event::Command(Command::Wake) {
                    prop_assert_eq!(one.state(), State::Wake);
                }
                if actions.contains(&Action::Exit) {
                    prop_assert!(conditions.is_inherited && conditions.connected == 0 && conditions.in_flight == 0);
                    prop_assert!(!conditions.is_busy && one.state() == State::Hibernation);
                }
                // A moment that has come is dealt with: else the loop would turn for ever.
                if event == Event::Tick {
                    prop_assert!(one.next_moment(&conditions).is_none_or(|at| at > now), "{:?} {:?}", one, conditions);
                    prop_assert!(one.clone().tick(Event::Tick, &conditions, now).iter().all(|again| *again == Action::Exit));
                }
                // From wherever it is, a request wakes it, and it stays awake in the same moment.
                let mut asked = one.clone();
                asked.tick(Event::Activity, &conditions, now);
                prop_assert_eq!(asked.state(), State::Wake);
                asked.tick(Event::Tick, &conditions, now);
                prop_assert_eq!(asked.state(), State::Wake);
                // And left alone it finds its way to rest, with nothing to wait for but a quarantine's end.
                let (alone, mut left, mut then) = (Conditions::default(), one.clone(), now);
                left.tick(Event::Tick, &alone, now);
                for _ in 0..12 {
                    let Some(moment) = left.next_moment(&alone) else { break };
                    then = then.max(moment);
                    left.tick(Event::Tick, &alone, then);
                }
                let resting = matches!(left.state(), State::Hibernation | State::Dreaming);
                prop_assert!(resting && left.next_moment(&alone).is_none(), "{:?}", left);
            }
        }
    }
}
