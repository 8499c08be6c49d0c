//! By what a turn is recognized when it is met again. Pure.

/// The place in which a turn was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TurnSource {
    /// A line of a transcript that has the turn itself.
    #[default]
    Line,
    /// A line that announces a turn: a line with the turn itself may follow, at another time.
    Queue,
    /// The input of a hook. The turn's line in the transcript has another time.
    Hook,
}

impl TurnSource {
    /// Returns the name used in rows; `None` for the default.
    pub fn name(self) -> Option<&'static str> {
        match self {
            TurnSource::Line => None,
            TurnSource::Queue => Some("queue"),
            TurnSource::Hook => Some("hook"),
        }
    }
}

/// The data by which the daemon recognizes a turn that it meets again: in another file, form or hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TurnOrigin {
    /// The assistant's id of the turn, the same in each copy of it.
    pub id: Option<String>,
    /// The sessions that this one is a fork of: it may have copies of their turns.
    pub parents: Vec<String>,
    /// The place in which it was found.
    pub source: TurnSource,
}

/// Returns true if the two texts have the same words. White space may differ.
pub fn same_words(a: &str, b: &str) -> bool {
    a == b || a.split_whitespace().eq(b.split_whitespace())
}
