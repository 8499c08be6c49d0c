//! A record found: its score, and what it was found by.
//!
//! Pure.

use crate::memory::recall::copies::{CopyGroup, TextHash};
use crate::memory::text::phrase::PhraseMatch;

/// Whether a record belongs to the project of the recall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ProjectMatch {
    /// It belongs to another project, or the recall names none.
    Other,
    /// It belongs to the recall's project.
    Same,
}

/// A record found, with what it was found by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RankedHit {
    /// The record's row in the store.
    pub(crate) seq: i64,
    /// Over 0 and under 1; comparable among hits of the same `phrase` and `project_match`. In a list that was found
    /// without terms, 1 divided by the hit's position.
    pub(crate) score: f64,
    /// The query's terms that the text has, by their position in the scorer; empty if the record was found by its
    /// neighbors.
    pub(crate) terms: Vec<usize>,
    /// The other terms that it has by the start of a word.
    pub(crate) prefix_terms: Vec<usize>,
    /// The phrase match that ranks the hit before others.
    pub(crate) phrase: PhraseMatch,
    /// How the text has a quoted phrase.
    pub(crate) quotes: PhraseMatch,
    /// Whether the record is of the recall's project.
    pub(crate) project_match: ProjectMatch,
    /// The record is of the caller's own turns, which rank last.
    pub(crate) is_own: bool,
    /// The hash of its text; `None` if the text was not read.
    pub(crate) text_hash: Option<TextHash>,
    /// The records with this text that hold, of which this is the newest; `None` if it is superseded or they were not
    /// looked for.
    pub(crate) copies: Option<CopyGroup>,
    /// The record is of the time that the query asks about.
    pub(crate) is_of_time: bool,
}

impl RankedHit {
    /// Returns a hit that no term and no phrase was matched for.
    pub(crate) fn plain(seq: i64, score: f64, project_match: ProjectMatch) -> RankedHit {
        RankedHit {
            seq,
            score,
            terms: Vec::new(),
            prefix_terms: Vec::new(),
            phrase: PhraseMatch::None,
            quotes: PhraseMatch::None,
            project_match,
            is_own: false,
            text_hash: None,
            copies: None,
            is_of_time: false,
        }
    }
}
