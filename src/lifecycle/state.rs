//! The states of the lifecycle, the commands and triggers that change them, and their names. Pure.

/// A state of the daemon between waking and sleeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Active: a request arrived recently.
    Wake,
    /// No request has arrived for `drowsy_after`.
    Drowsy,
    /// About to sleep: waits until no request is in flight.
    Transitioning,
    /// Asleep; no consolidation runs.
    Sleep,
    /// Asleep; a REM cycle runs.
    Dreaming,
    /// Asleep; idle memory has been released, or the process is about to exit.
    Hibernation,
}

/// A lifecycle command of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Go to sleep.
    Sleep,
    /// Wake up.
    Wake,
    /// Run a REM cycle.
    Rem,
}

/// The reason for a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// No request has arrived for the state's threshold.
    Idle,
    /// The learned quiet window has begun.
    QuietWindow,
    /// [`Command::Sleep`].
    AskedToSleep,
    /// [`Command::Rem`].
    AskedForRem,
    /// [`Command::Wake`].
    AskedToWake,
    /// A request arrived, or a session was opened.
    Request,
    /// Automatic sleep was paused.
    Paused,
    /// Each request has its reply.
    NothingInFlight,
    /// There are records that no finished cycle has processed.
    SomethingNew,
    /// The REM cycle is complete.
    CycleEnded,
    /// A step of the REM cycle failed.
    StepFailed,
}

impl State {
    /// Returns the state's name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            State::Wake => "WAKE",
            State::Drowsy => "DROWSY",
            State::Transitioning => "TRANSITIONING",
            State::Sleep => "SLEEP",
            State::Dreaming => "DREAMING",
            State::Hibernation => "HIBERNATION",
        }
    }

    /// Returns the value of `fsm_state`: WAKE, TRANSITIONING, SLEEP or DREAMING.
    pub fn fsm_state(self) -> &'static str {
        match self {
            State::Wake | State::Drowsy => "WAKE",
            State::Transitioning => "TRANSITIONING",
            State::Sleep | State::Hibernation => "SLEEP",
            State::Dreaming => "DREAMING",
        }
    }

    /// Returns the value of `lifecycle_state`: WAKE, DROWSY, SLEEP or HIBERNATION.
    pub fn lifecycle_state(self) -> &'static str {
        match self {
            State::Wake => "WAKE",
            State::Drowsy => "DROWSY",
            State::Transitioning | State::Sleep | State::Dreaming => "SLEEP",
            State::Hibernation => "HIBERNATION",
        }
    }

    /// Returns true if a sleep command in this state is refused as `already_sleeping`.
    pub fn is_sleeping(self) -> bool {
        self.fsm_state() != "WAKE"
    }
}

impl Trigger {
    /// Returns the trigger's name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Trigger::Idle => "idle",
            Trigger::QuietWindow => "quiet_window",
            Trigger::AskedToSleep => "asked_to_sleep",
            Trigger::AskedForRem => "asked_for_rem",
            Trigger::AskedToWake => "asked_to_wake",
            Trigger::Request => "request",
            Trigger::Paused => "paused",
            Trigger::NothingInFlight => "nothing_in_flight",
            Trigger::SomethingNew => "something_new",
            Trigger::CycleEnded => "cycle_ended",
            Trigger::StepFailed => "step_failed",
        }
    }

    /// Returns true for sleep that a client asked for.
    pub fn is_asked_sleep(self) -> bool {
        matches!(self, Trigger::AskedToSleep | Trigger::AskedForRem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_has_two_views() {
        for (state, name, fsm, lifecycle) in [
            (State::Wake, "WAKE", "WAKE", "WAKE"),
            (State::Drowsy, "DROWSY", "WAKE", "DROWSY"),
            (State::Transitioning, "TRANSITIONING", "TRANSITIONING", "SLEEP"),
            (State::Sleep, "SLEEP", "SLEEP", "SLEEP"),
            (State::Dreaming, "DREAMING", "DREAMING", "SLEEP"),
            (State::Hibernation, "HIBERNATION", "SLEEP", "HIBERNATION"),
        ] {
            assert_eq!((state.name(), state.fsm_state(), state.lifecycle_state()), (name, fsm, lifecycle));
            assert_eq!(state.is_sleeping(), fsm != "WAKE");
        }
    }
}
