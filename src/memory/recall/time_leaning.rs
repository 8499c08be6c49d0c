//! How a time in the cue favors the records of that time: a leaning, never a filter, since a fact about a day may have
//! been said on another.
//!
//! Pure.

use crate::memory::model::time::UnixMicros;
use crate::memory::text::time_phrase::TimeSpan;

/// Records of the time that are candidates whatever their words: the newest of them.
pub(crate) const TIME_CANDIDATE_COUNT: usize = 40;

/// The newest records, which are meant by what was said last.
pub(crate) const LATEST_COUNT: usize = 10;

/// Least leaning to one of the latest records; the newest has 1.
const LEAST_LATEST_SHARE: f64 = 0.5;

/// The time that a cue asks about.
#[derive(Clone, Debug)]
pub(crate) struct TimeLeaning {
    pub(crate) span: TimeSpan,
    /// The cue asks for what was said last: within the span the newest are meant.
    pub(crate) is_latest: bool,
    /// The newest records of the span that the filter admits.
    pub(crate) newest: Vec<i64>,
}

impl TimeLeaning {
    /// Returns how much a record that was said at this time is meant: 0 to 1.
    pub(crate) fn share(&self, said: UnixMicros) -> f64 {
        let TimeSpan { from, to } = self.span;
        match self.span.contains(said) {
            false => 0.0,
            true if !self.is_latest || from == to => 1.0,
            true => {
                let position = (said.0 - from.0) as f64 / (to.0 - from.0) as f64;
                LEAST_LATEST_SHARE + (1.0 - LEAST_LATEST_SHARE) * position
            }
        }
    }
}
