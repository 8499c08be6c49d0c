//! The state machine: (state, event, now) → (state, actions).
//!
//! It reads no clock, file or socket, and only its owner's tick moves it: everybody else can ask.
//! What it does not know yet is sleep: it stays awake, and what it was asked stays pending.

use std::time::Instant;

/// Where the daemon is between waking and sleeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Somebody is there.
    Wake,
    /// Nobody has asked anything for a while.
    Drowsy,
    /// About to sleep: what is in flight is waited for.
    Transitioning,
    /// Asleep.
    Sleep,
    /// Asleep, and consolidating.
    Dreaming,
    /// Asleep, and memory is given back.
    Hibernation,
}

/// What the machine is told at a tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request arrived, or a session began.
    Activity,
    /// Nothing but time has passed.
    Time,
}

/// What the machine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The state has changed: it is to be kept, and told to the journal.
    Entered(State),
}

/// The machine.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    state: State,
    last_activity: Instant,
}

impl State {
    /// The view of the socket protocol's older half: WAKE, TRANSITIONING, SLEEP or DREAMING.
    pub fn fsm_state(self) -> &'static str {
        match self {
            State::Wake | State::Drowsy => "WAKE",
            State::Transitioning => "TRANSITIONING",
            State::Sleep | State::Hibernation => "SLEEP",
            State::Dreaming => "DREAMING",
        }
    }

    /// The view of its newer half: WAKE, DROWSY, SLEEP or HIBERNATION.
    pub fn lifecycle_state(self) -> &'static str {
        match self {
            State::Wake => "WAKE",
            State::Drowsy => "DROWSY",
            State::Transitioning | State::Sleep | State::Dreaming => "SLEEP",
            State::Hibernation => "HIBERNATION",
        }
    }

    /// Would a request to sleep be answered `already_sleeping`?
    pub fn is_sleeping(self) -> bool {
        self.fsm_state() != "WAKE"
    }
}

impl Lifecycle {
    /// A start is a WAKE, whatever any file says.
    pub fn new(now: Instant) -> Lifecycle {
        Lifecycle { state: State::Wake, last_activity: now }
    }

    /// Where it is.
    pub fn state(&self) -> State {
        self.state
    }

    /// When the last activity was.
    pub fn last_activity(&self) -> Instant {
        self.last_activity
    }

    /// One tick: takes the event in and says what is to be done.
    pub fn tick(&mut self, event: Event, now: Instant) -> Option<Action> {
        match event {
            Event::Activity => {
                self.last_activity = now;
                let woken = self.state != State::Wake;
                self.state = State::Wake;
                woken.then_some(Action::Entered(State::Wake))
            }
            Event::Time => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn two_views_of_each_state() {
        for (state, fsm, lifecycle) in [
            (State::Wake, "WAKE", "WAKE"),
            (State::Drowsy, "WAKE", "DROWSY"),
            (State::Transitioning, "TRANSITIONING", "SLEEP"),
            (State::Sleep, "SLEEP", "SLEEP"),
            (State::Dreaming, "DREAMING", "SLEEP"),
            (State::Hibernation, "SLEEP", "HIBERNATION"),
        ] {
            assert_eq!((state.fsm_state(), state.lifecycle_state()), (fsm, lifecycle));
            assert_eq!(state.is_sleeping(), fsm != "WAKE");
        }
    }

    #[test]
    fn activity_wakes_from_every_state_and_time_alone_moves_nothing_yet() {
        let start = Instant::now();
        let later = start + Duration::from_secs(9);
        for state in
            [State::Wake, State::Drowsy, State::Transitioning, State::Sleep, State::Dreaming, State::Hibernation]
        {
            let mut machine = Lifecycle { state, last_activity: start };
            assert_eq!(machine.tick(Event::Time, later), None);
            assert_eq!((machine.state(), machine.last_activity()), (state, start));
            let action = (state != State::Wake).then_some(Action::Entered(State::Wake));
            assert_eq!(machine.tick(Event::Activity, later), action);
            assert_eq!((machine.state(), machine.last_activity()), (State::Wake, later));
        }
    }
}
