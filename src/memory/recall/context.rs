//! The records that were read for a query, and what the score of each takes from those around it: its neighbors in the
//! session, a question just before it, the session as a whole.
//!
//! Pure.

use crate::memory::model::seq_map::{SeqMap, SeqSet};
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::copies::TextHash;
use crate::memory::recall::hit::ProjectMatch;
use crate::memory::recall::query::WeightedQuery;
use crate::memory::recall::text_match::{TermSet, TextMatch};
use crate::memory::text::phrase::PhraseMatch;

/// Words before an identifier that halve how much the record is about it; those of a usual beginning count little. Picked.
const LEADING_WORD_COUNT: f64 = 6.0;

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) seq: i64,
    pub(crate) session: i64,
    /// When it was said.
    pub(crate) said: UnixMicros,
    pub(crate) text_match: TextMatch,
    pub(crate) phrase: PhraseMatch,
    pub(crate) project_match: ProjectMatch,
    /// The record is of the caller's own turns.
    pub(crate) is_own: bool,
    /// The boost by the profile (`preferences.rs`).
    pub(crate) boost: f64,
    /// The record may be a hit; otherwise it is context of others only.
    pub(crate) is_admitted: bool,
    /// The record is an assistant's reply that it does not know.
    pub(crate) is_non_answer: bool,
    /// The record has not been superseded.
    pub(crate) holds: bool,
    pub(crate) text_hash: TextHash,
    /// How much the query's time means the record's: 0 to 1.
    pub(crate) time_share: f64,
}

/// The order in which records were said, as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct ConversationOrder {
    /// From a record to the next one of its session.
    pub(crate) next: SeqMap<i64>,
    /// The first records of sessions.
    pub(crate) openings: SeqSet,
}

/// What one record's score takes from the records around it.
#[derive(Debug)]
pub(crate) struct ScoringContext {
    pub(crate) own: f64,
    pub(crate) further: f64,
    pub(crate) dense: f64,
    /// Some record has the cue's identifier.
    pub(crate) is_identified: bool,
    /// This record has it.
    pub(crate) has_identifier: bool,
    /// How near it is to the beginning of the record: 1 if the record begins with it.
    pub(crate) leads: f64,
    pub(crate) before: f64,
    pub(crate) after: f64,
    pub(crate) two_before: f64,
    pub(crate) two_after: f64,
    pub(crate) follows_question: bool,
    pub(crate) opens: bool,
    pub(crate) window: TermSet,
    pub(crate) session: TermSet,
}

impl ScoringContext {
    /// Returns true if one of the four neighbors matches.
    pub(crate) fn has_match(&self) -> bool {
        self.before + self.after + self.two_before + self.two_after > 0.0
    }
}

/// All candidates, with how they stand to each other.
pub(crate) struct Context<'r> {
    query: &'r WeightedQuery,
    /// The average length of a text in words.
    average: f64,
    /// Some record has the cue's identifier.
    is_identified: bool,
    read: &'r [Candidate],
    order: &'r ConversationOrder,
    /// BM25 of each record.
    own: Vec<f64>,
    /// BM25 of each record without the speakers' names.
    bare: Vec<f64>,
    /// The terms that name a speaker: each record of that speaker has them.
    pub(crate) names: TermSet,
    /// The share of the query that its words of times are; 0 if no record is of the query's time.
    pub(crate) time_words: f64,
    /// The index of the record just before and just after each.
    before: Vec<Option<usize>>,
    after: Vec<Option<usize>>,
    /// The terms that each session has, without the speakers' names.
    sessions: SeqMap<TermSet>,
}

impl<'r> Context<'r> {
    pub(crate) fn of(query: &'r WeightedQuery, read: &'r [Candidate], order: &'r ConversationOrder) -> Context<'r> {
        let words = read.iter().map(|one| one.text_match.length).sum::<f64>();
        let average = (words / read.len().max(1) as f64).max(1.0);
        let names = read.iter().fold(TermSet::default(), |names, one| names.union(one.text_match.speaker));
        let mut sessions: SeqMap<TermSet> = SeqMap::default();
        for one in read {
            let terms = sessions.entry(one.session).or_default();
            *terms = terms.union(one.text_match.has.without(names));
        }
        let index: SeqMap<usize> = read.iter().enumerate().map(|(at, one)| (one.seq, at)).collect();
        let after: Vec<Option<usize>> =
            read.iter().map(|one| order.next.get(&one.seq).and_then(|seq| index.get(seq).copied())).collect();
        let mut before = vec![None; read.len()];
        for (at, after) in after.iter().enumerate() {
            if let Some(after) = after {
                before[*after] = Some(at);
            }
        }
        let bm25 = |without| read.iter().map(|one| query.bm25(&one.text_match, average, without)).collect();
        let own: Vec<f64> = bm25(TermSet::default());
        Context {
            bare: if names.is_empty() { own.clone() } else { bm25(names) },
            own,
            is_identified: read.iter().any(|one| query.has_identifier(&one.text_match)),
            query,
            average,
            time_words: if read.iter().any(|one| one.time_share > 0.0) { query.time_share() } else { 0.0 },
            read,
            order,
            names,
            before,
            after,
            sessions,
        }
    }

    /// Returns what the score of one record takes from the others. A record that has the cue's identifier is about it
    /// whatever is said around it, so it takes nothing from its neighbors.
    pub(crate) fn of_one(&self, at: usize) -> ScoringContext {
        let one = &self.read[at];
        let query = self.query;
        let has_identifier = query.has_identifier(&one.text_match);
        let neighbor = |at: Option<usize>| at.filter(|_| !has_identifier);
        let (before, after) = (neighbor(self.before[at]), neighbor(self.after[at]));
        let two_before = before.and_then(|at| self.before[at]);
        let two_after = after.and_then(|at| self.after[at]);
        let bare = |at: Option<usize>| at.map_or(0.0, |at| self.bare[at]);
        let has =
            |at: Option<usize>| at.map_or(TermSet::default(), |at| self.read[at].text_match.has.without(self.names));
        let own = has(Some(at));
        let session = self.sessions.get(&one.session).copied().unwrap_or_default();
        ScoringContext {
            own: self.own[at],
            further: query.further_bm25(&one.text_match, self.average),
            dense: if has_identifier { query.dense_bm25(&one.text_match, self.average) } else { 0.0 },
            is_identified: self.is_identified,
            has_identifier,
            leads: one
                .text_match
                .before_identifier
                .map_or(0.0, |words| 1.0 / (1.0 + (words / LEADING_WORD_COUNT).powi(2))),
            before: bare(before),
            after: bare(after),
            two_before: bare(two_before),
            two_after: bare(two_after),
            follows_question: before.is_some_and(|at| self.read[at].text_match.asks),
            opens: self.order.openings.contains(&one.seq),
            window: own.union(has(before)).union(has(after)).union(has(two_before)).union(has(two_after)),
            session: if has_identifier { own } else { session },
        }
    }
}
