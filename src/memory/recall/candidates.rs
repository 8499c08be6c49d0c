//! Which records answer a question: candidates from the index, then their texts themselves.
//!
//! Two steps, so that the work is bounded whatever the store's size. First the newest records of each
//! term's posting list are taken, the total bounded, and weighed by the rarity of the terms they have
//! in common with the question. Then the texts of the heaviest few are read and scored (`rank.rs`). It
//! knows nothing of replies: `recall.rs` makes hits of what is found.

use std::collections::HashMap;
use std::time::Instant;

use rusqlite::{Connection, Row};

use crate::memory::graph::cooccurrence;
use crate::memory::model::record::Tier;
use crate::memory::model::time::UnixMicros;
use crate::memory::recall::postings::{self, CANDIDATES};
use crate::memory::recall::preferences::{Preferences, Projects};
use crate::memory::recall::query::WeightedQuery;
use crate::memory::recall::rank::{Candidate, ConversationOrder, ProjectMatch, RULES, RankedHit, Scorer};
use crate::memory::sort;
use crate::memory::store::error::StoreError;
use crate::memory::store::reader::Snapshot;
use crate::memory::store::records::{self, Side};
use crate::memory::store::tags;
use crate::memory::text::phrase::{PhraseMatch, QuotedPhrase};
use crate::memory::text::tokenizer::QueryTerm;

/// The heaviest of them, whose neighbors in the session are read too.
const WITH_NEIGHBORS: usize = 40;

/// Neighbours on either side.
const NEIGHBORS: usize = 2;

/// A question, taken apart.
#[derive(Debug)]
pub(crate) struct Query<'q> {
    /// All of it.
    pub(crate) cue: &'q str,
    /// Its terms, at least one.
    pub(crate) terms: Vec<QueryTerm>,
    /// What it wants word for word.
    pub(crate) phrases: Vec<QuotedPhrase<'q>>,
    /// What may answer it.
    pub(crate) filter: Filter<'q>,
    /// What the profile makes of it.
    pub(crate) leaning: &'q Preferences,
}

/// Which records may answer, and which come first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Filter<'q> {
    /// Said then or later.
    pub(crate) since: Option<UnixMicros>,
    /// Said then or earlier.
    pub(crate) until: Option<UnixMicros>,
    /// Of this tier alone.
    pub(crate) tier: Option<Tier>,
    /// This project's come first.
    pub(crate) project: Option<&'q str>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The terms that were looked up.
    pub(crate) terms: Vec<QueryTerm>,
    /// The best first.
    pub(crate) found: Vec<RankedHit>,
}

/// The best `limit` records for `query`; what was found by the `deadline`, if that comes first.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn search(
    snapshot: &Snapshot<'_>,
    query: &Query<'_>,
    deadline: Instant,
    limit: usize,
) -> Result<Answer, StoreError> {
    let connection = snapshot.connection();
    let total = records::last_seq(connection)?;
    let (lists, alike, phrases) = snapshot.until(deadline, |connection| -> Result<_, StoreError> {
        let lists = postings::rarest(connection, &query.terms, total)?;
        let alike = postings::begun_alike(connection, &lists)?;
        Ok((lists, alike, postings::with_phrases(connection, &query.phrases)?))
    })?;
    let weighed = lists.iter().map(|list| (list.asked.clone(), list.idf, list.seqs.len())).collect();
    let mut companions = Vec::new();
    for (at, list) in lists.iter().enumerate() {
        let of_one = cooccurrence::associated_terms(connection, &list.asked.term)?;
        companions.extend(of_one.into_iter().map(|(word, company)| (word, at, company)));
    }
    let scorer =
        Scorer::new(WeightedQuery::new(query.cue, weighed).with_companions(companions), RULES, query.leaning.literal);
    let mut reading = Reading::new(connection, query, &scorer, deadline)?;
    reading.candidates(postings::candidates(&lists, &alike, &phrases), limit.max(CANDIDATES))?;
    reading.neighbors()?;
    let found = scorer.rank(&reading.read, &reading.talk, limit);
    Ok(Answer { found, terms: lists.into_iter().map(|list| list.asked).collect() })
}

/// The newest `limit` records.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn newest(snapshot: &Snapshot<'_>, filter: &Filter<'_>, limit: usize) -> Result<Vec<RankedHit>, StoreError> {
    let connection = snapshot.connection();
    let here = project_number(connection, filter.project)?;
    let (since, until) = (filter.since.map_or(i64::MIN, |m| m.0), filter.until.map_or(i64::MAX, |m| m.0));
    let mut projects = connection.prepare_cached("SELECT number FROM project")?;
    let projects: Vec<i64> = projects.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut last = connection.prepare_cached(
        "SELECT ts, seq FROM record WHERE project = ?1 AND ts BETWEEN ?2 AND ?3 ORDER BY ts DESC, seq DESC LIMIT ?4",
    )?;
    let mut all = Vec::new();
    for project in projects {
        let place = if Some(project) == here { ProjectMatch::Same } else { ProjectMatch::Other };
        let mut rows = last.query((project, since, until, limit as i64))?;
        while let Some(row) = rows.next()? {
            all.push((place, row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        }
    }
    sort::sort_by(&mut all, |a, b| b.cmp(a));
    all.truncate(limit);
    let found = |(i, &(place, _, seq)): (usize, &(ProjectMatch, i64, i64))| RankedHit {
        seq,
        score: 1.0 / (i + 1) as f64,
        terms: Vec::new(),
        alike: Vec::new(),
        phrase: PhraseMatch::None,
        quotes: PhraseMatch::None,
        place,
    };
    Ok(all.iter().enumerate().map(found).collect())
}

/// Records being read and scored.
struct Reading<'r> {
    connection: &'r Connection,
    query: &'r Query<'r>,
    scorer: &'r Scorer,
    deadline: Instant,
    here: Option<i64>,
    domains: Projects,
    read: Vec<Candidate>,
    /// The session of each that was read.
    sessions: HashMap<i64, i64>,
    talk: ConversationOrder,
}

impl<'r> Reading<'r> {
    fn new(
        connection: &'r Connection,
        query: &'r Query<'r>,
        scorer: &'r Scorer,
        deadline: Instant,
    ) -> Result<Reading<'r>, StoreError> {
        let here = project_number(connection, query.filter.project)?;
        Ok(Reading {
            connection,
            query,
            scorer,
            deadline,
            here,
            domains: query.leaning.projects(connection)?,
            read: Vec::new(),
            sessions: HashMap::new(),
            talk: ConversationOrder::default(),
        })
    }

    /// Reads the first `most` of these that the question's filter admits, of either place.
    fn candidates(&mut self, seqs: impl Iterator<Item = i64>, most: usize) -> Result<(), StoreError> {
        let mut find = self.connection.prepare_cached(READ)?;
        let mut room = if self.here.is_some() { [most; 2] } else { [most, 0] };
        for seq in seqs {
            if self.is_late() || room == [0; 2] {
                break;
            }
            let mut rows = find.query([seq])?;
            let Some(row) = rows.next()? else { continue };
            let place = self.place(row)?;
            if room[place as usize] > 0 && self.admits(row)? && !self.is_pattern(seq, row)? {
                room[place as usize] -= 1;
                self.take(seq, row)?;
            }
        }
        Ok(())
    }

    /// Reads what was said just before and after the heaviest of them.
    fn neighbors(&mut self) -> Result<(), StoreError> {
        let heaviest: Vec<(i64, i64)> =
            self.read.iter().take(WITH_NEIGHBORS).map(|one| (one.session, one.seq)).collect();
        for (session, seq) in heaviest {
            if self.is_late() {
                break;
            }
            let mut first = seq;
            for _ in 0..NEIGHBORS {
                let Some(before) = self.beside(session, first, Side::Before)? else {
                    self.talk.openings.insert(first);
                    break;
                };
                self.talk.next.insert(before, first);
                first = before;
            }
            let mut last = seq;
            for _ in 0..NEIGHBORS {
                let Some(after) = self.beside(session, last, Side::After)? else { break };
                self.talk.next.insert(last, after);
                last = after;
            }
        }
        Ok(())
    }

    /// Reads the record that was said just before or after one of a session, if there is one.
    fn beside(&mut self, session: i64, seq: i64, side: Side) -> Result<Option<i64>, StoreError> {
        let adjacent = side.adjacent(seq);
        if self.is_of(session, adjacent)? {
            return Ok(Some(adjacent));
        }
        match records::neighbor_in_session(self.connection, session, seq, side)? {
            Some(found) => Ok(self.is_of(session, found)?.then_some(found)),
            None => Ok(None),
        }
    }

    /// Is there a record of this session at this place? If so, it is read.
    fn is_of(&mut self, session: i64, seq: i64) -> Result<bool, StoreError> {
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
        let session = row.get(3)?;
        self.sessions.insert(seq, session);
        self.read.push(Candidate {
            seq,
            session,
            said: UnixMicros(row.get(0)?),
            reading: self.scorer.question.read(text, cue),
            phrase: self.query.phrases.iter().map(|phrase| phrase.found_in(text)).max().unwrap_or(PhraseMatch::None),
            place: self.place(row)?,
            gain: self.query.leaning.gain(self.connection, seq, text, self.domains.depth(row.get(2)?))?,
            is_admitted: self.admits(row)?,
        });
        Ok(())
    }

    fn admits(&self, row: &Row<'_>) -> Result<bool, StoreError> {
        Ok(self.query.filter.admits(UnixMicros(row.get(0)?), row.get(1)?))
    }

    /// Was it made of others? It is shown as what they have in common, not as an answer.
    fn is_pattern(&self, seq: i64, row: &Row<'_>) -> Result<bool, StoreError> {
        Ok(row.get::<_, i64>(1)? == Tier::Semantic as i64 && tags::has(self.connection, seq, tags::PATTERN)?)
    }

    fn place(&self, row: &Row<'_>) -> Result<ProjectMatch, StoreError> {
        Ok(if Some(row.get(2)?) == self.here { ProjectMatch::Same } else { ProjectMatch::Other })
    }

    /// Something is there to answer with, and the time is up.
    fn is_late(&self) -> bool {
        !self.read.is_empty() && Instant::now() >= self.deadline
    }
}

/// What is read of a record.
const READ: &str = "SELECT ts, tier, project, session, cue, text FROM record WHERE seq = ?1";

/// The string in a column, borrowed.
///
/// # Errors
/// [`StoreError::Damaged`] where it is none.
pub(crate) fn string<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, StoreError> {
    row.get_ref(at)?.as_str().map_err(|error| StoreError::Damaged(format!("a record's text is no text: {error}")))
}

fn project_number(connection: &Connection, name: Option<&str>) -> Result<Option<i64>, StoreError> {
    let Some(name) = name else { return Ok(None) };
    Ok(records::project_number(connection, name)?)
}

impl Filter<'_> {
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
