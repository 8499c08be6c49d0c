//! Which records answer a question: candidates from the index, then their texts themselves.
//!
//! Two steps, so that the work is bounded whatever the store's size. First the newest records of each
//! term's posting list are taken, the total bounded, and weighed by the rarity of the terms they have
//! in common with the question. Then the texts of the heaviest few are read and scored (`rank.rs`). It
//! knows nothing of replies: `recall.rs` makes hits of what is found.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension, Row};

use super::companions;
use super::fault::Fault;
use super::leaning::{Leaning, Projects};
use super::moment::Moment;
use super::order;
use super::phrase::{Phrase, Wanted};
use super::question::{Question, beginnings, idf};
use super::rank::{Candidate, Found, Place, RULES, Scorer, Talk};
use super::reader::Snapshot;
use super::record::Tier;
use super::tags;
use super::terms::{Asked, Look};

/// Most terms of a question that are looked up: the rarest. An OR of thousands takes SQLite seconds.
const TERMS: usize = 32;

/// Most terms of a question whose rarity is looked at, before the rarest are chosen: its longest
/// words, as long words are rare.
const TERMS_WEIGHED: usize = 512;

/// Postings read to judge a term's rarity among many.
const SAMPLE: usize = 64;

/// Postings read for a question, shared by its terms: about half a millisecond.
const POSTINGS: usize = 6_000;

/// Least share of a term in [`POSTINGS`].
const TERM_POSTINGS: usize = 300;

/// A term that fewer records have is looked for by its beginning too: a compound, another ending.
const FEW: usize = 8;

/// Most terms of a question that are.
const FEW_TERMS: usize = 8;

/// What such a record weighs among the candidates, against one that has the term itself.
const ALIKE_WEIGHT: f64 = 0.5;

/// Candidates whose texts are read and scored; more where more are wanted.
const CANDIDATES: usize = 60;

/// The heaviest of them, whose neighbours in the session are read too.
const WITH_NEIGHBOURS: usize = 40;

/// Neighbours on either side.
const NEIGHBOURS: usize = 2;

/// Candidates looked at where a filter or a project may refuse some.
const LOOKED_AT: usize = 4000;

/// Records with all words of a phrase, the newest first, in which it is looked for: some 5 ms.
const PHRASE_LOOKED_AT: usize = 1000;

/// A question, taken apart.
#[derive(Debug)]
pub(super) struct Query<'q> {
    /// All of it.
    pub(super) cue: &'q str,
    /// Its terms, at least one.
    pub(super) terms: Vec<Asked>,
    /// What it wants word for word.
    pub(super) phrases: Vec<Wanted<'q>>,
    /// What may answer it.
    pub(super) filter: Filter<'q>,
    /// What the profile makes of it.
    pub(super) leaning: &'q Leaning,
}

/// Which records may answer, and which come first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filter<'q> {
    /// Said then or later.
    pub(super) since: Option<Moment>,
    /// Said then or earlier.
    pub(super) until: Option<Moment>,
    /// Of this tier alone.
    pub(super) tier: Option<Tier>,
    /// This project's come first.
    pub(super) project: Option<&'q str>,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Answer {
    /// The terms that were looked up.
    pub(super) terms: Vec<Asked>,
    /// The best first.
    pub(super) found: Vec<Found>,
}

/// The best `limit` records for `query`; what was found by the `deadline`, if that comes first.
///
/// # Errors
/// See [`Fault`].
pub(super) fn search(
    snapshot: &Snapshot<'_>,
    query: &Query<'_>,
    deadline: Instant,
    limit: usize,
) -> Result<Answer, Fault> {
    let connection = snapshot.connection();
    let mut count = connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM record")?;
    let total = count.query_row([], |row| row.get(0))?;
    let (lists, alike, phrases) = snapshot.until(deadline, |connection| -> Result<_, Fault> {
        let lists = rarest(connection, &query.terms, total)?;
        let alike = begun_alike(connection, &lists)?;
        Ok((lists, alike, with_phrases(connection, &query.phrases)?))
    })?;
    let weighed = lists.iter().map(|list| (list.asked.clone(), list.idf, list.seqs.len())).collect();
    let mut companions = Vec::new();
    for (at, list) in lists.iter().enumerate() {
        let of_one = companions::of(connection, &list.asked.term)?;
        companions.extend(of_one.into_iter().map(|(word, company)| (word, at, company)));
    }
    let scorer =
        Scorer::new(Question::new(query.cue, weighed).with_companions(companions), RULES, query.leaning.literal);
    let mut reading = Reading::new(connection, query, &scorer, deadline)?;
    reading.candidates(candidates(&lists, &alike, &phrases), limit.max(CANDIDATES))?;
    reading.neighbours()?;
    let found = scorer.rank(&reading.read, &reading.talk, limit);
    Ok(Answer { found, terms: lists.into_iter().map(|list| list.asked).collect() })
}

/// The newest `limit` records.
///
/// # Errors
/// See [`Fault`].
pub(super) fn newest(snapshot: &Snapshot<'_>, filter: &Filter<'_>, limit: usize) -> Result<Vec<Found>, Fault> {
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
        let place = if Some(project) == here { Place::Here } else { Place::Elsewhere };
        let mut rows = last.query((project, since, until, limit as i64))?;
        while let Some(row) = rows.next()? {
            all.push((place, row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        }
    }
    order::sort_by(&mut all, |a, b| b.cmp(a));
    all.truncate(limit);
    let found = |(i, &(place, _, seq)): (usize, &(Place, i64, i64))| Found {
        seq,
        score: 1.0 / (i + 1) as f64,
        terms: Vec::new(),
        alike: Vec::new(),
        phrase: Phrase::None,
        quotes: Phrase::None,
        place,
    };
    Ok(all.iter().enumerate().map(found).collect())
}

/// The newest records of one term.
struct List {
    asked: Asked,
    seqs: Vec<i64>,
    /// How rare the term is.
    idf: f64,
}

/// Did a question run to its end?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Whole,
    CutShort,
}

fn rarest(connection: &Connection, terms: &[Asked], total: i64) -> Result<Vec<List>, Fault> {
    let mut chosen: Vec<&Asked> = terms.iter().collect();
    if chosen.len() > TERMS {
        order::sort_by_key(&mut chosen, |asked| Reverse(asked.word.len()));
        chosen.truncate(TERMS_WEIGHED);
        let mut sampled = Vec::new();
        for asked in chosen {
            let (list, run) = postings(connection, asked, SAMPLE, total)?;
            if !list.seqs.is_empty() {
                sampled.push((asked, list.idf));
            }
            if run == Run::CutShort {
                break;
            }
        }
        order::sort_by(&mut sampled, |a, b| b.1.total_cmp(&a.1));
        chosen = sampled.into_iter().map(|(asked, _)| asked).take(TERMS).collect();
    }
    let share = (POSTINGS / chosen.len().max(1)).max(TERM_POSTINGS);
    let mut lists = Vec::with_capacity(chosen.len());
    for asked in chosen {
        let (list, run) = postings(connection, asked, share, total)?;
        lists.push(list);
        if run == Run::CutShort {
            break;
        }
    }
    Ok(lists)
}

fn postings(connection: &Connection, asked: &Asked, most: usize, total: i64) -> Result<(List, Run), Fault> {
    let pattern = pattern(&asked.term, asked.look);
    let (seqs, run) = newest_matches(connection, &pattern, most)?;
    let read = seqs.len() as f64;
    let total = total as f64;
    // A list that was not read to its end goes on as densely as it began.
    let frequency = match seqs.last() {
        Some(&last) if seqs.len() == most => read * total / (total - last as f64 + 1.0),
        _ => read,
    };
    Ok((List { asked: asked.clone(), seqs, idf: idf(total, frequency) }, run))
}

/// The newest records with a word that begins as a rare term does, each with what it weighs. Where no record
/// has the term, as many of its letters count as some record has: *Krankenkasse* is asked for, *Krankenkassen*
/// was said.
fn begun_alike(connection: &Connection, lists: &[List]) -> Result<Vec<(i64, f64)>, Fault> {
    let mut alike = Vec::new();
    for list in lists.iter().filter(|list| list.seqs.len() < FEW && list.asked.look == Look::Whole).take(FEW_TERMS) {
        for beginning in beginnings(&list.asked.term) {
            let (seqs, run) = newest_matches(connection, &pattern(beginning, Look::Prefix), TERM_POSTINGS)?;
            if run == Run::CutShort {
                return Ok(alike);
            }
            alike.extend(seqs.iter().filter(|seq| !list.seqs.contains(seq)).map(|seq| (*seq, list.idf * ALIKE_WEIGHT)));
            if !seqs.is_empty() {
                break;
            }
        }
    }
    Ok(alike)
}

/// The newest records that have one of the phrases, in order.
fn with_phrases(connection: &Connection, phrases: &[Wanted<'_>]) -> Result<Vec<i64>, Fault> {
    let mut read = connection.prepare_cached("SELECT text FROM record WHERE seq = ?1")?;
    let mut seqs = Vec::new();
    for phrase in phrases {
        let patterns: Vec<String> = phrase.terms().map(|(term, look)| pattern(term, look)).collect();
        let (all_words, _) = newest_matches(connection, &patterns.join(" AND "), PHRASE_LOOKED_AT)?;
        let most = seqs.len() + CANDIDATES;
        for seq in all_words {
            let has_it = read.query_row([seq], |row| Ok(phrase.found_in(row.get_ref(0)?.as_str()?) != Phrase::None));
            match has_it.map_err(Fault::from) {
                Ok(true) => seqs.push(seq),
                Ok(false) => {}
                Err(Fault::Interrupted) => break,
                Err(fault) => return Err(fault),
            }
            if seqs.len() == most {
                break;
            }
        }
    }
    seqs.sort_unstable();
    seqs.dedup();
    Ok(seqs)
}

/// A term as FTS5 reads it: a string, so that nothing in it is an operator.
fn pattern(term: &str, look: Look) -> String {
    match look {
        Look::Whole => format!("\"{term}\""),
        Look::Prefix => format!("\"{term}\" *"),
    }
}

fn newest_matches(connection: &Connection, pattern: &str, most: usize) -> Result<(Vec<i64>, Run), Fault> {
    let mut find = connection
        .prepare_cached("SELECT rowid FROM term_index WHERE term_index MATCH ?1 ORDER BY rowid DESC LIMIT ?2")?;
    let mut rows = find.query((pattern, most as i64))?;
    let mut seqs = Vec::new();
    loop {
        match rows.next().map_err(Fault::from) {
            Ok(Some(row)) => seqs.push(row.get(0)?),
            Ok(None) => return Ok((seqs, Run::Whole)),
            Err(Fault::Interrupted) => return Ok((seqs, Run::CutShort)),
            Err(fault) => return Err(fault),
        }
    }
}

/// The records of the lists, the one with the rarest terms first; before them those with a phrase. At most
/// [`LOOKED_AT`].
fn candidates(lists: &[List], alike: &[(i64, f64)], phrases: &[i64]) -> impl Iterator<Item = i64> {
    let with_weight = |list: &List| list.seqs.iter().map(|&seq| (seq, list.idf)).collect::<Vec<_>>();
    let mut weighed: Vec<(i64, f64)> = lists.iter().flat_map(with_weight).collect();
    weighed.extend(alike);
    weighed.extend(phrases.iter().map(|&seq| (seq, f64::from(u32::MAX))));
    // Of runs that are in order, as the lists are, the stable sort makes use.
    weighed.sort_by_key(|&(seq, _)| seq);
    weighed.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
    // Most often a few are asked for. No weight is under 0, so their bits are ordered as they are.
    let mut heap: BinaryHeap<(u64, i64)> = weighed.into_iter().map(|(seq, weight)| (weight.to_bits(), seq)).collect();
    std::iter::from_fn(move || heap.pop()).map(|(_, seq)| seq).take(LOOKED_AT)
}

/// Which side of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Before,
    After,
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
    talk: Talk,
}

impl<'r> Reading<'r> {
    fn new(
        connection: &'r Connection,
        query: &'r Query<'r>,
        scorer: &'r Scorer,
        deadline: Instant,
    ) -> Result<Reading<'r>, Fault> {
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
            talk: Talk::default(),
        })
    }

    /// Reads the first `most` of these that the question's filter admits, of either place.
    fn candidates(&mut self, seqs: impl Iterator<Item = i64>, most: usize) -> Result<(), Fault> {
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
    fn neighbours(&mut self) -> Result<(), Fault> {
        let heaviest: Vec<(i64, i64)> =
            self.read.iter().take(WITH_NEIGHBOURS).map(|one| (one.session, one.seq)).collect();
        for (session, seq) in heaviest {
            if self.is_late() {
                break;
            }
            let mut first = seq;
            for _ in 0..NEIGHBOURS {
                let Some(before) = self.beside(session, first, Side::Before)? else {
                    self.talk.openings.insert(first);
                    break;
                };
                self.talk.next.insert(before, first);
                first = before;
            }
            let mut last = seq;
            for _ in 0..NEIGHBOURS {
                let Some(after) = self.beside(session, last, Side::After)? else { break };
                self.talk.next.insert(last, after);
                last = after;
            }
        }
        Ok(())
    }

    /// Reads the record that was said just before or after one of a session, if there is one.
    fn beside(&mut self, session: i64, seq: i64, side: Side) -> Result<Option<i64>, Fault> {
        // Most often nobody else spoke between the two.
        let guess = if side == Side::Before { seq - 1 } else { seq + 1 };
        if self.is_of(session, guess)? {
            return Ok(Some(guess));
        }
        let sql = match side {
            Side::Before => "SELECT max(seq) FROM record WHERE session = ?1 AND seq < ?2",
            Side::After => "SELECT min(seq) FROM record WHERE session = ?1 AND seq > ?2",
        };
        let found: Option<i64> = self.connection.prepare_cached(sql)?.query_row((session, seq), |row| row.get(0))?;
        match found {
            Some(found) => Ok(self.is_of(session, found)?.then_some(found)),
            None => Ok(None),
        }
    }

    /// Is there a record of this session at this place? If so, it is read.
    fn is_of(&mut self, session: i64, seq: i64) -> Result<bool, Fault> {
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

    fn take(&mut self, seq: i64, row: &Row<'_>) -> Result<(), Fault> {
        let (cue, text) = (string(row, 4)?, string(row, 5)?);
        let session = row.get(3)?;
        self.sessions.insert(seq, session);
        self.read.push(Candidate {
            seq,
            session,
            said: Moment(row.get(0)?),
            reading: self.scorer.question.read(text, cue),
            phrase: self.query.phrases.iter().map(|phrase| phrase.found_in(text)).max().unwrap_or(Phrase::None),
            place: self.place(row)?,
            gain: self.query.leaning.gain(self.connection, seq, text, self.domains.depth(row.get(2)?))?,
            is_admitted: self.admits(row)?,
        });
        Ok(())
    }

    fn admits(&self, row: &Row<'_>) -> Result<bool, Fault> {
        Ok(self.query.filter.admits(Moment(row.get(0)?), row.get(1)?))
    }

    /// Was it made of others? It is shown as what they have in common, not as an answer.
    fn is_pattern(&self, seq: i64, row: &Row<'_>) -> Result<bool, Fault> {
        Ok(row.get::<_, i64>(1)? == Tier::Semantic as i64 && tags::has(self.connection, seq, tags::PATTERN)?)
    }

    fn place(&self, row: &Row<'_>) -> Result<Place, Fault> {
        Ok(if Some(row.get(2)?) == self.here { Place::Here } else { Place::Elsewhere })
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
/// [`Fault::Damaged`] where it is none.
pub(super) fn string<'r>(row: &'r Row<'_>, at: usize) -> Result<&'r str, Fault> {
    row.get_ref(at)?.as_str().map_err(|error| Fault::Damaged(format!("a record's text is no text: {error}")))
}

fn project_number(connection: &Connection, name: Option<&str>) -> Result<Option<i64>, Fault> {
    let Some(name) = name else { return Ok(None) };
    let mut find = connection.prepare_cached("SELECT number FROM project WHERE name = ?1")?;
    Ok(find.query_row([name], |row| row.get(0)).optional()?)
}

impl Filter<'_> {
    fn admits(&self, ts: Moment, tier: i64) -> bool {
        self.since.is_none_or(|since| ts >= since)
            && self.until.is_none_or(|until| ts <= until)
            && self.tier.is_none_or(|only| tier == only as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::super::harness::{Bench, call_on};
    use super::super::terms;
    use super::*;
    use crate::dispatch::Dispatch;
    use serde_json::json;
    use std::time::Duration;

    fn list(idf: f64, seqs: &[i64]) -> List {
        List { asked: terms::asked("word").remove(0), seqs: seqs.to_vec(), idf }
    }

    #[test]
    fn candidates_are_the_heaviest_then_the_newest() {
        let all = |lists: &[List], alike: &[(i64, f64)], phrases: &[i64]| -> Vec<i64> {
            candidates(lists, alike, phrases).collect()
        };
        let lists = [list(3.0, &[9, 5]), list(1.0, &[9, 8, 7, 5]), list(2.5, &[7])];
        assert_eq!(all(&lists, &[], &[]), [9, 5, 7, 8]);
        assert_eq!(all(&lists, &[], &[2, 8]), [8, 2, 9, 5, 7]);
        assert_eq!(all(&lists, &[(6, 0.4), (9, 0.3)], &[]), [9, 5, 7, 8, 6]);
        assert_eq!(all(&[], &[], &[]), [0; 0]);
        let newest_first: Vec<i64> = (0..10_000).rev().collect();
        assert_eq!(all(&[list(1.0, &newest_first)], &[], &[]), newest_first[..LOOKED_AT]);
    }

    #[test]
    fn a_pattern_is_one_string() {
        assert_eq!((pattern("a", Look::Whole), pattern("b", Look::Prefix)), ("\"a\"".into(), "\"b\" *".into()));
    }

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
    fn the_rarest_terms_are_chosen_and_their_lists_bounded() {
        let bench = Bench::new();
        for n in 0..600 {
            bench.capture(&format!("common word{} unique{n}", n % 50), json!({"session_id": (n / 9).to_string()}));
        }
        let mut worker = bench.memory.worker();
        call_on(&bench.memory, &mut worker, "memory_recall", Some(r#"{"cue":"x"}"#)).unwrap();
        let snapshot = worker.reader().unwrap().snapshot().unwrap();
        let connection = snapshot.connection();
        let every: String = (0..40).map(|n| format!("unique{n} word{n} ")).collect();
        let asked = terms::asked(&format!("{every} common"));
        let chosen = rarest(connection, &asked, 600).unwrap();
        assert_eq!(chosen.len(), TERMS);
        assert!(chosen.iter().all(|list| list.asked.term.starts_with("unique") && list.seqs.len() == 1));
        let common = terms::asked("common").remove(0);
        let (whole, _) = postings(connection, &common, 1000, 600).unwrap();
        let (part, _) = postings(connection, &common, 100, 600).unwrap();
        assert_eq!((whole.seqs.len(), &part.seqs[..]), (600, &whole.seqs[..100]));
        assert!((whole.idf - part.idf).abs() < 1e-6, "the rest of the list is guessed: {} {}", whole.idf, part.idf);
        assert!(whole.seqs.is_sorted_by(|a, b| a > b));
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

    #[test]
    fn a_cut_list_is_what_was_read_by_then() {
        let bench = Bench::new();
        // The clock is looked at every so many steps of SQLite's machine, some of them for each row.
        let rows: String = (1..=2000).map(|n| format!("({n}, 'common'),")).collect();
        bench.sql(&format!("INSERT INTO term_index (rowid, text) VALUES {}", rows.trim_end_matches(',')));
        let mut worker = bench.memory.worker();
        call_on(&bench.memory, &mut worker, "memory_recall", Some(r#"{"cue":"x"}"#)).unwrap();
        let snapshot = worker.reader().unwrap().snapshot().unwrap();
        let past = Instant::now() - Duration::from_millis(1);
        let (seqs, run) = snapshot.until(past, |connection| newest_matches(connection, "\"common\"", 2000)).unwrap();
        assert_eq!(run, Run::CutShort);
        assert!(!seqs.is_empty() && seqs.len() < 2000, "{}", seqs.len());
    }
}
