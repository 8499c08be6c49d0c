//! Candidate generation: finds the records that may answer a query, reads their texts and has them ranked.
//!
//! Two steps bound the work for a store of any size. First, `postings.rs` reads the newest records of each term, up to
//! a bound in total, and weighs each record by the rarity of the terms it shares with the query. Then the texts of the
//! heaviest are read, with their neighbors in the session, and scored by `rank.rs`. `reply.rs` renders the hits.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::{Connection, Row};

use crate::memory::graph::cooccurrence;
use crate::memory::model::record::{Role, Tier};
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::context::{Candidate, ConversationOrder};
use crate::memory::recall::copies::CopyGroups;
use crate::memory::recall::further::identifier_terms;
use crate::memory::recall::hit::{ProjectMatch, RankedHit};
use crate::memory::recall::postings::{self, CANDIDATE_COUNT, MAX_FURTHER_TERM_COUNT, PostingList, RecordWeights};
use crate::memory::recall::preferences::{Preferences, ProjectDepths};
use crate::memory::recall::query::WeightedQuery;
use crate::memory::recall::rank::Scorer;
use crate::memory::recall::rules::RULES;
use crate::memory::recall::spellings;
use crate::memory::recall::time_leaning::{TIME_CANDIDATE_COUNT, TimeLeaning};
use crate::memory::session::context::OwnTurns;
use crate::memory::store::error::StoreError;
use crate::memory::store::reader::Snapshot;
use crate::memory::store::records::{self, Side};
use crate::memory::store::tags;
use crate::memory::text::cue_terms::{CueTerms, QueryTerm};
use crate::memory::text::non_answer;
use crate::memory::text::phrase::{PhraseMatch, QuotedPhrase};

/// The heaviest candidates, whose neighbors in the session are read too.
const WITH_NEIGHBORS_COUNT: usize = 40;

/// Neighbors read on either side.
const NEIGHBOR_COUNT: usize = 2;

/// Records read for each of the newest hits, since some may be copies. Picked.
const COPIES_PER_HIT: usize = 4;

/// Newest records that are read at most to find enough that are not the caller's own.
const MAX_NEWEST_COUNT: usize = 4000;

/// Candidates read for the further terms alone, beside those for all terms.
const FURTHER_CANDIDATE_COUNT: usize = 20;

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
    /// Records of this project are ranked first.
    pub(crate) project: Option<&'q str>,
    /// Records of these turns are ranked last: the caller has them in its context.
    pub(crate) own: Option<OwnTurns>,
}

impl RecallFilter<'_> {
    /// The filter that all records pass.
    pub(crate) const NONE: RecallFilter<'static> =
        RecallFilter { since: None, until: None, tier: None, project: None, own: None };
}

/// What [`search`] found.
#[derive(Debug)]
pub(crate) struct SearchResult {
    /// The terms of the cue that were looked up.
    pub(crate) terms: Vec<QueryTerm>,
    /// The positions of those that no record has.
    pub(crate) unknown: Vec<usize>,
    /// The rarity of each.
    pub(crate) idfs: Vec<f64>,
    /// The further terms that were looked up.
    pub(crate) further: Vec<QueryTerm>,
    /// The hits, the best first.
    pub(crate) hits: Vec<RankedHit>,
}

/// Returns the best `limit` records for `query`, out of what was read by the `deadline`.
///
/// # Errors
/// Any [`StoreError`] of reading the index or records, except [`StoreError::Interrupted`] at the deadline.
pub(crate) fn search(
    snapshot: &Snapshot<'_>,
    query: &RecallQuery<'_>,
    deadline: Instant,
    limit: usize,
) -> Result<SearchResult, StoreError> {
    let connection = snapshot.connection();
    let total = records::last_seq(connection)?;
    let (lists, further, similar, phrases) = snapshot.until(deadline, |connection| -> Result<_, StoreError> {
        let lists = postings::of_cue(connection, &query.terms, total)?;
        let mut similar = postings::prefix_matches(connection, &lists)?;
        similar.extend(spellings::spelling_matches(connection, query.cue, &lists)?);
        let further = postings::rarest(connection, query.further, MAX_FURTHER_TERM_COUNT, total)?;
        Ok((lists, further, similar, postings::phrase_matches(connection, &query.phrases)?))
    })?;
    let mut weights = RecordWeights::of(&lists);
    let further_weights = RecordWeights::of(&further);
    let cue_rarity: f64 = lists.iter().map(|list| list.idf).sum();
    let known = weights.largest() / cue_rarity;
    weights.add(similar.into_iter());
    weights.add_scaled(&further_weights, RULES.further(known));
    weights.prefer(&phrases);
    let share = |list: &PostingList| (list.query_term.clone(), list.idf / cue_rarity);
    let weighted_query = weigh(connection, query.cue, &lists)?
        .with_identifier(&identifier_terms(query.cue))
        .with_further(further.iter().map(share).collect(), known);
    let scorer = Scorer::new(weighted_query, RULES, query.preferences.literal);
    let mut reader = CandidateReader::new(connection, query, &scorer, deadline)?;
    let most = limit.max(CANDIDATE_COUNT);
    reader.read_candidates(weights.heaviest(), most)?;
    reader.read_candidates(further_weights.heaviest(), FURTHER_CANDIDATE_COUNT)?;
    if let Some(time) = &query.time {
        reader.read_candidates(time.newest.iter().copied(), TIME_CANDIDATE_COUNT)?;
    }
    reader.read_neighbors()?;
    let hits = scorer.rank(&reader.read, &reader.order, &reader.copies, limit);
    let terms = |lists: Vec<PostingList>| lists.into_iter().map(|list| list.query_term).collect();
    let idfs = lists.iter().map(|list| list.idf).collect();
    let unknown = lists.iter().enumerate().filter(|(_, list)| list.seqs.is_empty()).map(|(at, _)| at).collect();
    Ok(SearchResult { hits, unknown, idfs, terms: terms(lists), further: terms(further) })
}

/// Returns the query of a cue's terms and their co-occurring terms.
fn weigh(connection: &Connection, cue: &str, lists: &[PostingList]) -> Result<WeightedQuery, StoreError> {
    let weighed = lists.iter().map(|list| (list.query_term.clone(), list.idf, list.seqs.len())).collect();
    let mut cooccurring = Vec::new();
    for (at, list) in lists.iter().enumerate() {
        let of_one = cooccurrence::associated_terms(connection, &list.query_term.term)?;
        cooccurring.extend(of_one.into_iter().map(|(term, association)| (term, at, association)));
    }
    Ok(WeightedQuery::new(cue, weighed).with_cooccurring(cooccurring))
}

/// Returns the newest `limit` records that the filter's times admit, those of its project first and the caller's own
/// last. Of records with equal texts only the newest is returned.
///
/// # Errors
/// Any [`StoreError`] of reading tables `project` and `record`.
pub(crate) fn newest(
    snapshot: &Snapshot<'_>,
    filter: &RecallFilter<'_>,
    limit: usize,
) -> Result<Vec<RankedHit>, StoreError> {
    let connection = snapshot.connection();
    let own_project = project_number(connection, filter.project)?;
    let times = (filter.since.map_or(i64::MIN, |m| m.0), filter.until.map_or(i64::MAX, |m| m.0));
    let mut most = limit * COPIES_PER_HIT;
    loop {
        let of_project = match own_project {
            Some(project) => records::of_project(connection, project, times, i64::MAX, most)?,
            None => Vec::new(),
        };
        let others = records::newest(connection, times, own_project, most - of_project.len())?;
        let read = of_project.len() + others.len();
        let of_project = of_project.into_iter().map(|(ts, seq)| (ts, seq, ProjectMatch::Same));
        let mut all: Vec<_> =
            of_project.chain(others.into_iter().map(|(ts, seq)| (ts, seq, ProjectMatch::Other))).collect();
        let Some(own) = filter.own else { return grouped(connection, all.into_iter(), limit) };
        let mut session_of = connection.prepare_cached("SELECT session FROM record WHERE seq = ?1")?;
        let mut last = Vec::new();
        for one in std::mem::take(&mut all) {
            let is_own = own.has(session_of.query_row([one.1], |row| row.get(0))?, UnixMicros(one.0));
            if is_own { last.push(one) } else { all.push(one) }
        }
        if all.len() >= limit || read < most || most >= MAX_NEWEST_COUNT {
            all.append(&mut last);
            return grouped(connection, all.into_iter(), limit);
        }
        most *= COPIES_PER_HIT;
    }
}

/// Returns the hits for records in this order, `limit` at most: the first record with each text.
fn grouped(
    connection: &Connection,
    records: impl Iterator<Item = (i64, i64, ProjectMatch)>,
    limit: usize,
) -> Result<Vec<RankedHit>, StoreError> {
    let mut groups = CopyGroups::default();
    let mut hits: Vec<RankedHit> = Vec::with_capacity(limit);
    let mut find = connection.prepare_cached(READ)?;
    for (ts, seq, project_match) in records {
        let mut rows = find.query([seq])?;
        let Some(row) = rows.next()? else { continue };
        let hash = groups.hash(string(row, 5)?);
        let is_new = !holds(row)? || groups.get(hash).is_none();
        if is_new && hits.len() == limit {
            break;
        }
        if holds(row)? {
            groups.add(hash, seq, UnixMicros(ts), project_match == ProjectMatch::Same);
        }
        if is_new {
            let score = 1.0 / (hits.len() + 1) as f64;
            hits.push(RankedHit { text_hash: Some(hash), ..RankedHit::plain(seq, score, project_match) });
        }
    }
    let with_copies = |hit: RankedHit| {
        let group = hit.text_hash.and_then(|hash| groups.get(hash)).filter(|group| group.seqs.contains(&hit.seq));
        RankedHit { copies: group.cloned(), ..hit }
    };
    Ok(hits.into_iter().map(with_copies).collect())
}

/// Reads candidates and their neighbors.
struct CandidateReader<'r> {
    connection: &'r Connection,
    query: &'r RecallQuery<'r>,
    scorer: &'r Scorer,
    deadline: Instant,
    /// The number of the filter's project.
    project: Option<i64>,
    depths: ProjectDepths,
    read: Vec<Candidate>,
    /// The session of each record that was read.
    sessions: HashMap<i64, i64>,
    copies: CopyGroups,
    order: ConversationOrder,
}

impl<'r> CandidateReader<'r> {
    fn new(
        connection: &'r Connection,
        query: &'r RecallQuery<'r>,
        scorer: &'r Scorer,
        deadline: Instant,
    ) -> Result<CandidateReader<'r>, StoreError> {
        Ok(CandidateReader {
            connection,
            query,
            scorer,
            deadline,
            project: project_number(connection, query.filter.project)?,
            depths: query.preferences.project_depths(connection)?,
            read: Vec::new(),
            sessions: HashMap::new(),
            copies: CopyGroups::default(),
            order: ConversationOrder::default(),
        })
    }

    /// Reads the first `most` of these records that the filter admits, and as many again of the filter's project. A record
    /// with the text of another is counted as its copy, and read no further.
    fn read_candidates(&mut self, seqs: impl Iterator<Item = i64>, most: usize) -> Result<(), StoreError> {
        let mut find = self.connection.prepare_cached(READ)?;
        // Indexed by `ProjectMatch`. The caller's own records count apart, so that they displace no others.
        let mut left = if self.project.is_some() { [most; 2] } else { [most, 0] };
        let mut left_own = most;
        for seq in seqs {
            if self.is_late() || left == [0; 2] {
                break;
            }
            if self.sessions.contains_key(&seq) {
                continue;
            }
            let mut rows = find.query([seq])?;
            let Some(row) = rows.next()? else { continue };
            let (project_match, is_own) = (self.project_match(row)?, self.is_own(row)?);
            let left = if is_own { &mut left_own } else { &mut left[project_match as usize] };
            if *left == 0 || !self.admits(row)? || self.is_pattern(seq, row)? {
                continue;
            }
            let hash = self.copies.hash(string(row, 5)?);
            if holds(row)? && self.copies.get(hash).is_some() {
                if !is_own {
                    self.copies.add(hash, seq, UnixMicros(row.get(0)?), project_match == ProjectMatch::Same);
                }
            } else {
                *left -= 1;
                self.take(seq, row)?;
            }
        }
        Ok(())
    }

    /// Reads the neighbors of the heaviest candidates.
    fn read_neighbors(&mut self) -> Result<(), StoreError> {
        let heaviest: Vec<(i64, i64)> =
            self.read.iter().take(WITH_NEIGHBORS_COUNT).map(|one| (one.session, one.seq)).collect();
        for (session, seq) in heaviest {
            if self.is_late() {
                break;
            }
            let mut first = seq;
            for _ in 0..NEIGHBOR_COUNT {
                let Some(before) = self.read_neighbor(session, first, Side::Before)? else {
                    self.order.openings.insert(first);
                    break;
                };
                self.order.next.insert(before, first);
                first = before;
            }
            let mut last = seq;
            for _ in 0..NEIGHBOR_COUNT {
                let Some(after) = self.read_neighbor(session, last, Side::After)? else { break };
                self.order.next.insert(last, after);
                last = after;
            }
        }
        Ok(())
    }

    /// Reads the record just before or after another of the session. Returns its `seq`, if there is one.
    fn read_neighbor(&mut self, session: i64, seq: i64, side: Side) -> Result<Option<i64>, StoreError> {
        let adjacent = side.adjacent(seq);
        if self.read_if_of(session, adjacent)? {
            return Ok(Some(adjacent));
        }
        match records::neighbor_in_session(self.connection, session, seq, side)? {
            Some(found) => Ok(self.read_if_of(session, found)?.then_some(found)),
            None => Ok(None),
        }
    }

    /// Reads the record of this `seq` if it belongs to the session. Returns true if it does.
    fn read_if_of(&mut self, session: i64, seq: i64) -> Result<bool, StoreError> {
        if let Some(known) = self.sessions.get(&seq) {
            return Ok(*known == session);
        }
        let mut find = self.connection.prepare_cached(READ)?;
        let mut rows = find.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(false) };
        let is_of = row.get::<_, i64>(3)? == session;
        if is_of {
            self.take(seq, row)?;
        }
        Ok(is_of)
    }

    fn take(&mut self, seq: i64, row: &Row<'_>) -> Result<(), StoreError> {
        let (cue, text) = (string(row, 4)?, string(row, 5)?);
        let (said, session, project_match) = (UnixMicros(row.get(0)?), row.get(3)?, self.project_match(row)?);
        let (is_admitted, holds, text_hash) = (self.admits(row)?, holds(row)?, self.copies.hash(text));
        let is_own = self.is_own(row)?;
        if is_admitted && holds && !is_own {
            self.copies.add(text_hash, seq, said, project_match == ProjectMatch::Same);
        }
        let is_literal = self.query.is_literal && row.get::<_, i64>(1)? == Tier::Episodic as i64;
        self.sessions.insert(seq, session);
        self.read.push(Candidate {
            seq,
            session,
            said,
            text_match: self.scorer.query.read(text, cue),
            phrase: self.query.phrases.iter().map(|phrase| phrase.found_in(text)).max().unwrap_or(PhraseMatch::None),
            project_match,
            is_own,
            boost: self.query.preferences.boost(self.connection, seq, text, self.depths.of(row.get(2)?))?
                + if is_literal { RULES.literal } else { 0.0 },
            is_admitted,
            is_non_answer: Role::numbered(row.get(6)?) == Role::Assistant && non_answer::is_non_answer(text),
            holds,
            text_hash,
            time_share: self.query.time.as_ref().map_or(0.0, |time| time.share(said)),
        });
        Ok(())
    }

    fn is_own(&self, row: &Row<'_>) -> Result<bool, StoreError> {
        let Some(own) = self.query.filter.own else { return Ok(false) };
        Ok(own.has(row.get(3)?, UnixMicros(row.get(0)?)))
    }

    fn admits(&self, row: &Row<'_>) -> Result<bool, StoreError> {
        Ok(self.query.filter.admits(UnixMicros(row.get(0)?), row.get(1)?))
    }

    /// Returns true if the record is a pattern: replies name patterns beside the hits, never as hits.
    fn is_pattern(&self, seq: i64, row: &Row<'_>) -> Result<bool, StoreError> {
        Ok(row.get::<_, i64>(1)? == Tier::Semantic as i64 && tags::has(self.connection, seq, tags::PATTERN)?)
    }

    fn project_match(&self, row: &Row<'_>) -> Result<ProjectMatch, StoreError> {
        Ok(project_match(row.get(2)?, self.project))
    }

    /// Returns true if the deadline has passed and at least one record was read.
    fn is_late(&self) -> bool {
        !self.read.is_empty() && Instant::now() >= self.deadline
    }
}

/// The columns of a candidate.
const READ: &str = "SELECT ts, tier, project, session, cue, text, role, valid_to FROM record WHERE seq = ?1";

/// Returns true if the record has not been superseded.
fn holds(row: &Row<'_>) -> Result<bool, StoreError> {
    Ok(row.get::<_, Option<i64>>(7)?.is_none())
}

/// Returns the string in a column, borrowed.
///
/// # Errors
/// [`StoreError::Damaged`] if the column holds no UTF-8 text.
pub(crate) fn string<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, StoreError> {
    row.get_ref(at)?
        .as_str()
        .map_err(|error| StoreError::Damaged(format!("a record's column {at} is not text: {error}")))
}

fn project_match(project: i64, own: Option<i64>) -> ProjectMatch {
    if Some(project) == own { ProjectMatch::Same } else { ProjectMatch::Other }
}

fn project_number(connection: &Connection, name: Option<&str>) -> Result<Option<i64>, StoreError> {
    let Some(name) = name else { return Ok(None) };
    Ok(records::project_number(connection, name)?)
}

impl RecallFilter<'_> {
    fn admits(&self, ts: UnixMicros, tier: i64) -> bool {
        self.since.is_none_or(|since| ts >= since)
            && self.until.is_none_or(|until| ts <= until)
            && self.tier.is_none_or(|only| tier == only as i64)
    }
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::json;

    #[test]
    fn an_old_phrase_is_found_among_many_records_with_its_words() {
        let bench = Bench::new();
        let id = bench.capture("Hamlet: to be, or not to be", json!({}));
        for n in 0..300 {
            bench.capture(&format!("number {n} is not to go or to be"), json!({}));
        }
        let got = bench.ok("memory_recall", json!({"cue": "\"to be or not to be\"", "limit": 2}));
        assert_eq!(got["hits"][0]["record_id"], json!(id));
    }

    #[test]
    fn an_old_record_of_the_project_is_found_among_many_others() {
        let bench = Bench::new();
        let id = bench.capture("apples of the first project", json!({"project": "old"}));
        for n in 0..300 {
            bench.capture(&format!("apples number {n}"), json!({"project": "new"}));
        }
        let got = bench.ok("memory_recall", json!({"cue": "apples", "project": "old", "limit": 3}));
        assert_eq!((&got["hits"][0]["record_id"], got["hits"].as_array().unwrap().len()), (&json!(id), 3));
        let newest = bench.ok("memory_recall", json!({"cue": "", "project": "old", "limit": 3}));
        assert_eq!(newest["hits"][0]["record_id"], json!(id));
    }
}
