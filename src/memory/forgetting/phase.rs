//! The phases of a forgetting.

/// The phases, in order. Their numbers are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ForgettingPhase {
    /// The records are selected.
    Select,
    /// The full-text index gets its present rules: a term can only be taken out of it by the rules that put it in.
    Reindex,
    /// The records are deleted.
    Remove,
    /// The segments of the full-text index are merged into one, which drops the deleted terms.
    Merge,
    /// Deferred captures are taken in, those of the records left out, and files that were set aside are deleted.
    Files,
    /// The database is rewritten.
    Rewrite,
    /// The write-ahead log is truncated.
    Truncate,
}

const PHASES: [(ForgettingPhase, &str); 7] = [
    (ForgettingPhase::Select, "select"),
    (ForgettingPhase::Reindex, "reindex"),
    (ForgettingPhase::Remove, "remove"),
    (ForgettingPhase::Merge, "merge"),
    (ForgettingPhase::Files, "files"),
    (ForgettingPhase::Rewrite, "rewrite"),
    (ForgettingPhase::Truncate, "truncate"),
];

impl ForgettingPhase {
    /// Returns the phase with this number.
    pub(crate) fn numbered(number: i64) -> Option<ForgettingPhase> {
        PHASES.get(usize::try_from(number).ok()?).map(|(phase, _)| *phase)
    }

    /// Returns its name in `status`.
    pub(crate) fn name(self) -> &'static str {
        PHASES[self as usize].1
    }
}
