//! Which records answer a question, and how well: candidates from the index, then BM25 over their
//! texts.
//!
//! Two steps, so that the work is bounded whatever the store's size. First the newest records of each
//! term's posting list are taken, the total bounded, and weighed by the rarity of the terms they have
//! in common with the question. Then the texts of the heaviest few are read, taken apart again and
//! scored exactly. It knows nothing of replies: `recall.rs` makes hits of what is found.

use std::cmp::Ordering;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use super::fault::Fault;
use super::moment::Moment;
use super::reader::Snapshot;
use super::record::Tier;
use super::terms::{self, Asked, Look};

/// Most terms of a question that are looked up: the rarest. An OR of thousands takes SQLite seconds.
const TERMS: usize = 32;

/// Most terms of a question whose rarity is looked at, before the rarest are chosen: its longest
/// words, as long words are rare.
const TERMS_WEIGHED: usize = 512;

/// Postings read to judge a term's rarity among many.
const SAMPLE: usize = 64;

/// Postings read for a question, shared by its terms: about a millisecond.
const POSTINGS: usize = 8_000;

/// Least share of a term in [`POSTINGS`].
const TERM_POSTINGS: usize = 400;

/// Candidates whose texts are read and scored.
const CANDIDATES: usize = 100;

/// Candidates looked at where a filter or a project may refuse some.
const LOOKED_AT: usize = 4000;

/// Words of a phrase that the index is asked for; the text itself is compared with all of it.
const PHRASE_TERMS: usize = 64;

/// BM25's usual constants: how soon repeating a word stops to count, and how much length does.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// What a word in a record's cue counts, against one in its text.
const CUE_WEIGHT: f64 = 0.5;

/// A question, taken apart.
#[derive(Debug)]
pub(super) struct Query<'q> {
    /// Its terms, at least one.
    pub(super) terms: Vec<Asked>,
    /// What it wants word for word.
    pub(super) phrases: Vec<&'q str>,
    /// What may answer it.
    pub(super) filter: Filter<'q>,
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

/// How a record has a phrase of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phrase {
    /// Not at all, or none was asked for.
    None,
    /// In other spelling (case, accents, endings).
    Alike,
    /// Byte for byte.
    Exact,
}

/// Does a record belong to the project that was asked from?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// No, or none was named.
    Elsewhere,
    /// Yes.
    Here,
}

/// A record that answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// Its place in the store.
    pub(super) seq: i64,
    /// How well, over 0 up to 1, among those of the same phrase and place.
    pub(super) score: f64,
    /// Which of the question's terms it has, by their place in [`Answer::terms`].
    pub(super) terms: Vec<usize>,
    /// How it has a phrase.
    pub(super) phrase: Phrase,
    /// Whether it is of the project asked from.
    pub(super) place: Place,
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
    let total = connection.query_row("SELECT coalesce(max(seq), 0) FROM record", [], |row| row.get(0))?;
    let (lists, phrases) = snapshot.until(deadline, |connection| -> Result<_, Fault> {
        Ok((rarest(connection, &query.terms, total)?, with_phrases(connection, &query.phrases)?))
    })?;
    let scorer = Scorer::new(&lists);
    let scored = score(connection, query, candidates(&lists, &phrases), &phrases, &scorer, deadline)?;
    Ok(Answer { found: scorer.rank(scored, limit), terms: lists.into_iter().map(|list| list.asked).collect() })
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
    all.sort_unstable_by(|a, b| b.cmp(a));
    all.truncate(limit);
    let found = |(i, &(place, _, seq)): (usize, &(Place, i64, i64))| Found {
        seq,
        score: 1.0 / (i + 1) as f64,
        terms: Vec::new(),
        phrase: Phrase::None,
        place,
    };
    Ok(all.iter().enumerate().map(found).collect())
}

/// The newest records of one term.
struct List {
    asked: Asked,
    seqs: Vec<i64>,
    /// How rare the term is: BM25's inverse document frequency, over 0.
    idf: f64,
}

/// Did a question run to its end?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Run {
    Whole,
    CutShort,
}

fn rarest(connection: &Connection, terms: &[Asked], total: i64) -> Result<Vec<List>, Fault> {
    let mut chosen: Vec<&Asked> = terms.iter().collect();
    if chosen.len() > TERMS {
        chosen.sort_by_key(|asked| std::cmp::Reverse(asked.word.len()));
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
        sampled.sort_by(|a, b| b.1.total_cmp(&a.1));
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
    let pattern = pattern(std::slice::from_ref(&asked.term), asked.look);
    let (seqs, run) = newest_matches(connection, &pattern, most)?;
    let read = seqs.len() as f64;
    let total = total as f64;
    // A list that was not read to its end goes on as densely as it began.
    let frequency = match seqs.last() {
        Some(&last) if seqs.len() == most => read * total / (total - last as f64 + 1.0),
        _ => read,
    };
    let idf = (1.0 + (total - frequency + 0.5).max(0.0) / (frequency + 0.5)).ln();
    Ok((List { asked: asked.clone(), seqs, idf }, run))
}

fn with_phrases(connection: &Connection, phrases: &[&str]) -> Result<Vec<i64>, Fault> {
    let mut seqs = Vec::new();
    for (mut terms, mut look) in phrases.iter().filter_map(|phrase| terms::phrase(phrase)) {
        if terms.len() > PHRASE_TERMS {
            terms.truncate(PHRASE_TERMS);
            look = Look::Whole;
        }
        let (found, _) = newest_matches(connection, &format!("text : {}", pattern(&terms, look)), CANDIDATES)?;
        seqs.extend(found);
    }
    seqs.sort_unstable();
    seqs.dedup();
    Ok(seqs)
}

/// Terms as FTS5 reads them: one string, so that nothing in it is an operator.
fn pattern(terms: &[String], look: Look) -> String {
    let end = if look == Look::Prefix { "\" *" } else { "\"" };
    format!("\"{}{end}", terms.join(" "))
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

/// The records of the lists, the one with the rarest terms first; before them those with a phrase.
fn candidates(lists: &[List], phrases: &[i64]) -> Vec<i64> {
    let with_weight = |list: &List| list.seqs.iter().map(|&seq| (seq, list.idf)).collect::<Vec<_>>();
    let mut weighed: Vec<(i64, f64)> = lists.iter().flat_map(with_weight).collect();
    weighed.extend(phrases.iter().map(|&seq| (seq, f64::from(u32::MAX))));
    weighed.sort_by_key(|&(seq, _)| seq);
    weighed.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
    let heavier = |a: &(i64, f64), b: &(i64, f64)| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0));
    if weighed.len() > LOOKED_AT {
        weighed.select_nth_unstable_by(LOOKED_AT, heavier);
        weighed.truncate(LOOKED_AT);
    }
    weighed.sort_unstable_by(heavier);
    weighed.into_iter().map(|(seq, _)| seq).collect()
}

fn score(
    connection: &Connection,
    query: &Query<'_>,
    candidates: Vec<i64>,
    phrases: &[i64],
    scorer: &Scorer,
    deadline: Instant,
) -> Result<Vec<Scored>, Fault> {
    let here = project_number(connection, query.filter.project)?;
    let mut read = connection.prepare_cached("SELECT ts, tier, project, cue, text FROM record WHERE seq = ?1")?;
    let mut scored: Vec<Scored> = Vec::new();
    let mut room = if here.is_some() { [CANDIDATES; 2] } else { [CANDIDATES, 0] };
    for seq in candidates {
        let is_late = !scored.is_empty() && Instant::now() >= deadline;
        if is_late || room == [0; 2] {
            break;
        }
        let mut rows = read.query([seq])?;
        let Some(row) = rows.next()? else { continue };
        let place = if Some(row.get(2)?) == here { Place::Here } else { Place::Elsewhere };
        if room[place as usize] == 0 || !query.filter.admits(Moment(row.get(0)?), row.get(1)?) {
            continue;
        }
        room[place as usize] -= 1;
        let (cue, text) = (string(row, 3)?, string(row, 4)?);
        let phrase = if query.phrases.iter().any(|phrase| text.contains(phrase)) {
            Phrase::Exact
        } else if phrases.binary_search(&seq).is_ok() {
            Phrase::Alike
        } else {
            Phrase::None
        };
        let (counts, length) = scorer.count(text, cue);
        scored.push(Scored { seq, counts, length, phrase, place });
    }
    Ok(scored)
}

/// The string in a column, borrowed.
///
/// # Errors
/// [`Fault::Damaged`] where it is none.
pub(super) fn string<'r>(row: &'r rusqlite::Row<'_>, at: usize) -> Result<&'r str, Fault> {
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

/// A candidate with its words counted.
struct Scored {
    seq: i64,
    /// Of each term, how often it is there.
    counts: Vec<f64>,
    /// Words of the text.
    length: f64,
    phrase: Phrase,
    place: Place,
}

/// BM25 over the texts themselves.
struct Scorer {
    /// At most [`TERMS`], so looking through them beats hashing every word of every text.
    terms: Vec<Asked>,
    idfs: Vec<f64>,
}

impl Scorer {
    fn new(lists: &[List]) -> Scorer {
        let terms = lists.iter().map(|list| list.asked.clone()).collect();
        Scorer { terms, idfs: lists.iter().map(|list| list.idf).collect() }
    }

    /// How often each term is in a record, and the length of its text.
    fn count(&self, text: &str, cue: &str) -> (Vec<f64>, f64) {
        let mut counts = vec![0.0; self.idfs.len()];
        let mut length = 0.0;
        for (source, weight) in [(text, 1.0), (cue, CUE_WEIGHT)] {
            terms::each(source, |token| {
                if weight == 1.0 {
                    length += 1.0;
                }
                for (asked, count) in self.terms.iter().zip(&mut counts) {
                    let is_there = match asked.look {
                        Look::Whole => asked.term == token.term,
                        Look::Prefix => token.term.starts_with(&asked.term),
                    };
                    if is_there {
                        *count += weight;
                    }
                }
            });
        }
        (counts, length)
    }

    /// The best `limit`, by phrase, place, score and age in this order.
    fn rank(&self, scored: Vec<Scored>, limit: usize) -> Vec<Found> {
        let average = scored.iter().map(|one| one.length).sum::<f64>() / scored.len().max(1) as f64;
        // No record can have more than this, so a score says how much of what was asked is there.
        let most: f64 = self.idfs.iter().map(|idf| idf * (K1 + 1.0)).sum();
        let mut found: Vec<Found> = scored
            .into_iter()
            .map(|one| {
                let slowness = K1 * (1.0 - B + B * one.length / average.max(1.0));
                let weigh = |(count, idf): (&f64, &f64)| idf * count * (K1 + 1.0) / (count + slowness);
                let sum: f64 = one.counts.iter().zip(&self.idfs).map(weigh).sum();
                let terms = (0..one.counts.len()).filter(|&i| one.counts[i] > 0.0).collect();
                let score = if most > 0.0 { sum / most } else { 0.0 };
                Found { seq: one.seq, score, terms, phrase: one.phrase, place: one.place }
            })
            .filter(|found| !found.terms.is_empty() || found.phrase != Phrase::None)
            .collect();
        found.sort_unstable_by(best_first);
        found.truncate(limit);
        found
    }
}

fn best_first(a: &Found, b: &Found) -> Ordering {
    (b.phrase, b.place).cmp(&(a.phrase, a.place)).then(b.score.total_cmp(&a.score)).then(b.seq.cmp(&a.seq))
}
