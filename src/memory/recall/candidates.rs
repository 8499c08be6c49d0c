//! Candidate generation: finds the records that may answer a query, has their texts read and ranked.
//!
//! Two steps bound the work for a store of any size. First, `postings.rs` reads the newest records of each term, up to
//! a bound in total, and weighs each record by the rarity of the terms it shares with the query. Then
//! `candidate_reader.rs` reads the texts of the heaviest, with their neighbors in the session, and `rank.rs` scores them.
//! `reply.rs` renders the hits.

use std::time::Instant;

use rusqlite::Connection;

use crate::memory::graph::cooccurrence;
use crate::memory::model::record::Tier;
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::candidate_reader::CandidateReader;
use crate::memory::recall::copies::CopyGroups;
use crate::memory::recall::further::identifier_terms;
use crate::memory::recall::hit::{ProjectMatch, RankedHit};
use crate::memory::recall::postings::{self, CANDIDATE_COUNT, Extent, MAX_FURTHER_TERM_COUNT, PostingList};
use crate::memory::recall::query::WeightedQuery;
use crate::memory::recall::rank::Scorer;
use crate::memory::recall::recall_query::{RecallFilter, RecallQuery};
use crate::memory::recall::record_weights::RecordWeights;
use crate::memory::recall::rules::RULES;
use crate::memory::recall::scoped_index::ScopedIndex;
use crate::memory::recall::spellings;
use crate::memory::recall::time_leaning::TIME_CANDIDATE_COUNT;
use crate::memory::store::error::StoreError;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::reader::Snapshot;
use crate::memory::store::record_list::{self, Projects};
use crate::memory::store::records;
use crate::memory::store::tags;
use crate::memory::text::cue_terms::QueryTerm;

/// Records read for each of the newest hits, since some may be copies. Picked.
const COPIES_PER_HIT: usize = 4;

/// Newest records that are read at most to find enough that are neither patterns, copies nor the caller's own.
const MAX_NEWEST_COUNT: usize = 4000;

/// Candidates read for the further terms alone, beside those for all terms.
const FURTHER_CANDIDATE_COUNT: usize = 20;

/// What [`search`] found.
#[derive(Debug)]
pub(crate) struct SearchResult {
    /// The terms of the cue that were looked up.
    pub(crate) terms: Vec<QueryTerm>,
    /// The positions of those that no record has.
    pub(crate) unknown: Vec<usize>,
    /// The number of records that were searched.
    pub(crate) total: i64,
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
    let index = ScopedIndex::of(snapshot, query.filter.projects)?;
    let extent = if query.filter.is_open() { Extent::Enough } else { Extent::Whole };
    let (lists, further, similar, phrases) = snapshot.until(deadline, |_| -> Result<_, StoreError> {
        let lists = postings::of_cue(index, &query.terms, extent)?;
        let mut similar = postings::prefix_matches(index, &lists)?;
        similar.extend(spellings::spelling_matches(index, query.cue, &lists)?);
        let further = postings::rarest(index, query.further, MAX_FURTHER_TERM_COUNT, extent)?;
        Ok((lists, further, similar, postings::phrase_matches(index, &query.phrases)?))
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
    Ok(SearchResult { hits, unknown, total: index.total, idfs, terms: terms(lists), further: terms(further) })
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
/// last. Of records with equal texts only the newest is returned, and no pattern.
///
/// # Errors
/// Any [`StoreError`] of reading tables `project` and `record`.
pub(crate) fn newest(
    snapshot: &Snapshot<'_>,
    filter: &RecallFilter<'_>,
    limit: usize,
) -> Result<Vec<RankedHit>, StoreError> {
    let connection = snapshot.connection();
    let projects = filter.projects;
    let times = (filter.since.map_or(i64::MIN, |m| m.0), filter.until.map_or(i64::MAX, |m| m.0));
    let mut most = limit * COPIES_PER_HIT;
    loop {
        let of_project = record_list::newest(connection, times, Projects::Of(projects.own()), most)?;
        let others = newest_others(connection, times, projects, most - of_project.len())?;
        let is_last = of_project.len() + others.len() < most || most >= MAX_NEWEST_COUNT;
        let of_project = of_project.into_iter().map(|(ts, seq)| (ts, seq, ProjectMatch::Same));
        let mut all: Vec<_> =
            of_project.chain(others.into_iter().map(|(ts, seq)| (ts, seq, ProjectMatch::Other))).collect();
        if let Some(own) = filter.own {
            let mut session_of = connection.prepare_cached("SELECT session FROM record WHERE seq = ?1")?;
            let mut last = Vec::new();
            for one in std::mem::take(&mut all) {
                let is_own = own.has(session_of.query_row([one.1], |row| row.get(0))?, UnixMicros(one.0));
                if is_own { last.push(one) } else { all.push(one) }
            }
            // They come behind all others, so only once there are no others left to read.
            all.extend(last.into_iter().filter(|_| is_last));
        }
        let hits = grouped(connection, all.into_iter(), limit)?;
        if is_last || hits.len() >= limit {
            return Ok(hits);
        }
        most *= COPIES_PER_HIT;
    }
}

/// Returns the newest records that the filter shows beside those of the caller's project.
fn newest_others(
    connection: &Connection,
    times: (i64, i64),
    projects: &ProjectFilter,
    most: usize,
) -> Result<Vec<(i64, i64)>, StoreError> {
    let others;
    let which = match projects.is_only() {
        true => {
            others = projects.others();
            Projects::Of(&others)
        }
        false => Projects::Except(projects.own()),
    };
    Ok(record_list::newest(connection, times, which, most)?)
}

/// Returns the hits for records in this order, `limit` at most: the first record with each text. Patterns are left out.
fn grouped(
    connection: &Connection,
    records: impl Iterator<Item = (i64, i64, ProjectMatch)>,
    limit: usize,
) -> Result<Vec<RankedHit>, StoreError> {
    let mut groups = CopyGroups::default();
    let mut hits: Vec<RankedHit> = Vec::with_capacity(limit);
    let mut find = connection.prepare_cached("SELECT text, valid_to IS NULL, tier FROM record WHERE seq = ?1")?;
    for (ts, seq, project_match) in records {
        let mut rows = find.query([seq])?;
        let Some(row) = rows.next()? else { continue };
        if row.get::<_, i64>(2)? == Tier::Semantic as i64 && tags::has(connection, seq, tags::PATTERN)? {
            continue;
        }
        let (hash, holds) = (groups.hash(records::string(row, 0)?), row.get::<_, bool>(1)?);
        let is_new = !holds || groups.get(hash).is_none();
        if is_new && hits.len() == limit {
            break;
        }
        if holds {
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
