//! A recall as its search takes it: the parts of the cue, and which records may be hits.
//!
//! Pure.

use crate::memory::model::record::Tier;
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::preferences::Preferences;
use crate::memory::recall::time_leaning::TimeLeaning;
use crate::memory::session::context::OwnTurns;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::text::cue_terms::{CueTerms, QueryTerm};
use crate::memory::text::phrase::QuotedPhrase;

/// The parts of a cue, and what restricts its answer.
#[derive(Debug)]
pub(crate) struct RecallQuery<'q> {
    /// The whole cue.
    pub(crate) cue: &'q str,
    /// Its terms, at least one.
    pub(crate) terms: CueTerms,
    /// Terms that a record may have instead, none of them a term of the cue.
    pub(crate) further: &'q [QueryTerm],
    /// The phrases that it quotes.
    pub(crate) phrases: Vec<QuotedPhrase<'q>>,
    /// It asks for literal words: episodic records, which have what was said, rank higher.
    pub(crate) is_literal: bool,
    pub(crate) filter: RecallFilter<'q>,
    pub(crate) preferences: &'q Preferences,
    /// The time that it asks about.
    pub(crate) time: Option<TimeLeaning>,
}

/// Which records may be hits, and which are ranked first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecallFilter<'q> {
    /// The earliest time, inclusive.
    pub(crate) since: Option<UnixMicros>,
    /// The latest time, inclusive.
    pub(crate) until: Option<UnixMicros>,
    /// Only this tier.
    pub(crate) tier: Option<Tier>,
    /// The projects whose records may be hits, and those that are ranked first.
    pub(crate) projects: &'q ProjectFilter,
    /// Records of these turns are ranked last: the caller has them in its context.
    pub(crate) own: Option<OwnTurns>,
}

impl<'q> RecallFilter<'q> {
    /// Returns the filter of projects alone.
    pub(crate) fn of(projects: &'q ProjectFilter) -> RecallFilter<'q> {
        RecallFilter { since: None, until: None, tier: None, projects, own: None }
    }

    /// Returns true if all records may be hits and none is ranked before others.
    pub(crate) fn is_open(&self) -> bool {
        self.own.is_none()
            && self.since.is_none()
            && self.until.is_none()
            && self.tier.is_none()
            && self.projects.is_open()
    }

    /// Returns true if a record of this time and tier may be a hit.
    pub(crate) fn admits(&self, ts: UnixMicros, tier: i64) -> bool {
        self.since.is_none_or(|since| ts >= since)
            && self.until.is_none_or(|until| ts <= until)
            && self.tier.is_none_or(|only| tier == only as i64)
    }
}
