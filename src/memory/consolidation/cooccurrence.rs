//! Learns term co-occurrence: for each term, the terms found within ±1 record of it more often than by chance.
//!
//! The step Associate runs a [`CooccurrenceLearner`] over new records and stores the result in the table `companion`.
//! Recall expands a query by it (`graph/cooccurrence.rs`, `recall/query.rs`), so that it finds records that have none of
//! the query's words. The association of two terms is their normalized pointwise mutual information (NPMI): 0 by
//! chance, 1 if they always occur together (G. Bouma, "Normalized (Pointwise) Mutual Information in Collocation
//! Extraction", 2009). A context window is a record with the record before and the record after it in its session.

use std::cmp::Reverse;
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use crate::memory::consolidation::step::Progress;
use crate::memory::consolidation::vocabulary::TermCache;
use crate::memory::model::seq_map::SeqMap;
use crate::memory::store::fulltext;
use crate::memory::store::records::{self, Side};
use crate::sort;

/// Newest records of a term whose windows are counted. Picked: some 1 ms.
const SAMPLE_RECORDS: i64 = 32;

/// Least number of windows that two terms share: one may be chance.
const MIN_SHARED_WINDOWS: usize = 2;

/// Candidate terms whose frequency is looked up for one term: those that share the most windows with it, the longer
/// first among equals, because long terms are rare. Picked: some 0.4 ms.
const MAX_CANDIDATE_TERMS: usize = 64;

/// A term that more than one record in this many has is too common to be associated with others.
const COMMON_SHARE: i64 = 20;

/// The same limit in a large store, in records. Picked: counting them takes 50 µs.
const COMMON_RECORDS: u16 = 600;

/// Co-occurring terms that are stored for a term.
const MAX_STORED_TERMS: usize = 8;

/// Least association (NPMI) that is stored. Lower ones do not help recall, and take a third of the space
/// (`docs/recall.md`).
const MIN_ASSOCIATION: f64 = 0.4;

/// Length of the shortest term that is learned, in bytes: shorter ones name no subject.
const MIN_TERM_BYTES: usize = 3;

/// A term is learned again when its number of records has grown to this many quarters of what it was.
const GROWTH_QUARTERS: i64 = 5;

/// Subjects of a record that are learned and counted, at most: the first. A context window is what somebody says at once; in
/// a log or a source file of thousands of words, most have nothing to do with each other, and counting all pairs takes
/// seconds.
const MAX_RECORD_SUBJECTS: usize = 256;

/// Subjects of records that are held, at most: 8 MiB, those of a hundred thousand records of common length.
const MAX_SUBJECTS: usize = 1 << 21;

/// Records of a context window.
const WINDOW_RECORDS: f64 = 3.0;

/// The state of learning during one cycle: caches and scratch counters, none of which is stored.
#[derive(Debug, Default)]
pub(crate) struct CooccurrenceLearner {
    terms: TermCache,
    /// The subjects of the records that were read, each once: a record is in the windows of many terms.
    records: SeqMap<RecordSubjects>,
    subjects: Vec<u32>,
    /// The last record whose terms were learned, as it is stored.
    learned: i64,
    /// The record that is not completed, and how many of its subjects are.
    place: (i64, usize),
    /// Number of the last text that was tokenized.
    text_number: u32,
    /// Number of the last window that was counted.
    window_number: u32,
    /// The window counts of each term, by the term's number.
    counts: Vec<WindowCount>,
}

/// The windows of the current term that have another term.
#[derive(Clone, Copy, Debug, Default)]
struct WindowCount {
    /// Number of the last window that was counted for it.
    last_window: u32,
    windows: u16,
}

/// A record as the windows need it.
#[derive(Clone, Copy, Debug)]
struct RecordSubjects {
    session: i64,
    /// Where the numbers of its subjects are in [`CooccurrenceLearner::subjects`].
    start: u32,
    count: u32,
}

/// What the records of one chunk share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LearningScope<'c> {
    connection: &'c Connection,
    /// Number of records in the store.
    total_records: i64,
    deadline: Instant,
}

impl<'c> LearningScope<'c> {
    /// Creates the scope of a chunk that ends at `deadline`, with all records that the store has now.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(crate) fn new(connection: &'c Connection, deadline: Instant) -> Result<LearningScope<'c>, rusqlite::Error> {
        Ok(LearningScope { connection, total_records: records::last_seq(connection)?, deadline })
    }

    /// Returns the greatest number of records that a term may have: a more frequent one is associated with none.
    fn max_term_records(self) -> u16 {
        (self.total_records / COMMON_SHARE).min(i64::from(COMMON_RECORDS)) as u16
    }
}

impl CooccurrenceLearner {
    /// Prepares for the records after `learned`. If that is not where the learner has stopped, what was learned has been
    /// discarded, and with it what the learner holds: a record may have been forgotten.
    pub(crate) fn begin(&mut self, learned: i64) {
        if learned == 0 || learned != self.learned {
            *self = CooccurrenceLearner { learned, ..CooccurrenceLearner::default() };
        }
    }

    /// Learns the co-occurring terms of each term of the record at `seq` of `session` that no newer record has. Returns the
    /// number of terms that were learned, and whether the record was completed before the deadline. A record that was not is
    /// continued when it is given again.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(crate) fn learn_record(
        &mut self,
        scope: LearningScope<'_>,
        seq: i64,
        (session, text): (i64, &str),
    ) -> Result<(u64, Progress), rusqlite::Error> {
        self.limit_memory();
        let mut learned = 0;
        let first = if self.place.0 == seq { self.place.1 } else { 0 };
        let record = match self.records.get(&seq) {
            Some(record) => *record,
            None => self.add_subjects(seq, session, text),
        };
        let subjects = self.subjects[record.range()].to_vec();
        for (at, number) in subjects.into_iter().enumerate().skip(first) {
            if self.terms.newest_record(scope.connection, number, seq, COMMON_RECORDS)? != seq {
                continue;
            }
            if learned > 0 && Instant::now() >= scope.deadline {
                self.place = (seq, at);
                return Ok((learned, Progress::More));
            }
            learned += u64::from(self.learn_term(scope, number)?);
        }
        Ok((learned, Progress::Done))
    }

    /// Notes where the learner has stopped: the cursor that is stored.
    pub(crate) fn end(&mut self, learned: i64) {
        self.learned = learned;
    }

    fn limit_memory(&mut self) {
        self.terms.limit_memory();
        // The window counts are indexed by the cache's term numbers. Texts and windows are told apart by their numbers,
        // which must not wrap.
        if self.terms.len() == 0 || self.text_number > u32::MAX / 2 {
            *self = CooccurrenceLearner::default();
        }
    }

    /// Returns true if the term was learned; false if it is too rare or too common, or has hardly more records than when
    /// it was learned last.
    fn learn_term(&mut self, scope: LearningScope<'_>, number: u32) -> Result<bool, rusqlite::Error> {
        let connection = scope.connection;
        let records = self.terms.record_count(connection, number, COMMON_RECORDS)?;
        if records > scope.max_term_records() || usize::from(records) < MIN_SHARED_WINDOWS {
            return Ok(false);
        }
        let mut read = connection.prepare_cached("SELECT seen FROM companion WHERE term = ?1")?;
        let seen: Option<i64> = read.query_row([self.terms.term(number)], |row| row.get(0)).optional()?;
        if seen.is_some_and(|seen| i64::from(records) * 4 < seen * GROWTH_QUARTERS) {
            return Ok(false);
        }
        let cooccurring = self.cooccurring_terms(scope, number, records)?;
        // The association is stored as one digit, in tenths: 1.0 is stored as 9.
        let field = |&(other, association): &(u32, f64)| {
            format!("{}{:.0}", self.terms.term(other), (association * 10.0).min(9.0))
        };
        let others: Vec<String> = cooccurring.iter().map(field).collect();
        // A row without others is stored too: it records that the term was learned.
        let put = "INSERT INTO companion (term, seen, others) VALUES (?1, ?2, ?3)
                   ON CONFLICT (term) DO UPDATE SET seen = excluded.seen, others = excluded.others";
        connection.prepare_cached(put)?.execute((self.terms.term(number), records, others.join(" ")))?;
        Ok(true)
    }

    /// Returns the terms with the greatest association to a term that `records` records have.
    fn cooccurring_terms(
        &mut self,
        scope: LearningScope<'_>,
        number: u32,
        records: u16,
    ) -> Result<Vec<(u32, f64)>, rusqlite::Error> {
        let sample = fulltext::newest_with_term(scope.connection, self.terms.term(number), i64::MAX, SAMPLE_RECORDS)?;
        let mut counted = Vec::new();
        for &seq in &sample {
            self.count_window(scope.connection, seq, &mut counted)?;
        }
        let mut candidates: Vec<(u32, u16)> = counted
            .into_iter()
            .map(|other| (other, std::mem::take(&mut self.counts[other as usize].windows)))
            .filter(|&(other, shared)| usize::from(shared) >= MIN_SHARED_WINDOWS && other != number)
            .collect();
        sort::sort_by_key(&mut candidates, |&(other, shared)| {
            let term = self.terms.term(other);
            (Reverse((shared, term.len())), term)
        });
        candidates.truncate(MAX_CANDIDATE_TERMS);
        // The number of records is scaled down by the part of the term's records that is in the sample.
        let sampled = sample.len() as f64;
        let total = scope.total_records as f64 * sampled / f64::from(records);
        let mut cooccurring = Vec::new();
        for (other, shared) in candidates {
            let other_records = self.terms.record_count(scope.connection, other, COMMON_RECORDS)?;
            if other_records > scope.max_term_records() {
                continue;
            }
            let probability = (WINDOW_RECORDS * f64::from(other_records) / scope.total_records as f64).min(1.0);
            let expected = probability * sampled;
            let shared = f64::from(shared);
            let association = (shared / expected).ln() / -(shared / total).ln();
            if association >= MIN_ASSOCIATION {
                cooccurring.push((other, association.min(1.0)));
            }
        }
        let term = |number| self.terms.term(number);
        sort::sort_by(&mut cooccurring, |a, b| b.1.total_cmp(&a.1).then_with(|| term(a.0).cmp(term(b.0))));
        cooccurring.truncate(MAX_STORED_TERMS);
        Ok(cooccurring)
    }

    /// Counts the subjects of the window around the record at `seq`, each once. Appends those that no earlier window of
    /// the sample has to `counted`.
    fn count_window(
        &mut self,
        connection: &Connection,
        seq: i64,
        counted: &mut Vec<u32>,
    ) -> Result<(), rusqlite::Error> {
        self.window_number += 1;
        let Some(record) = self.record(connection, seq)? else { return Ok(()) };
        self.count_subjects(record, counted);
        for side in [Side::Before, Side::After] {
            // The neighbor in the session usually is the neighbor in the store.
            let mut neighbor = self.record(connection, side.adjacent(seq))?;
            if neighbor.is_none_or(|other| other.session != record.session) {
                let found = records::neighbor_in_session(connection, record.session, seq, side)?;
                neighbor = found.map_or(Ok(None), |found| self.record(connection, found))?;
            }
            if let Some(neighbor) = neighbor {
                self.count_subjects(neighbor, counted);
            }
        }
        Ok(())
    }

    /// Returns the record at `seq`, if there is one.
    fn record(&mut self, connection: &Connection, seq: i64) -> Result<Option<RecordSubjects>, rusqlite::Error> {
        if let Some(record) = self.records.get(&seq) {
            return Ok(Some(*record));
        }
        let mut read = connection.prepare_cached("SELECT text, session FROM record WHERE seq = ?1")?;
        let mut rows = read.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let session = row.get(1)?;
        Ok(Some(self.add_subjects(seq, session, row.get_ref(0)?.as_str().unwrap_or_default())))
    }

    fn add_subjects(&mut self, seq: i64, session: i64, text: &str) -> RecordSubjects {
        self.text_number += 1;
        let subjects = self.terms.subjects(text, self.text_number, MIN_TERM_BYTES);
        let subjects = &subjects[..subjects.len().min(MAX_RECORD_SUBJECTS)];
        if self.subjects.len() + subjects.len() > MAX_SUBJECTS {
            self.records.clear();
            self.subjects.clear();
        }
        let record = RecordSubjects { session, start: self.subjects.len() as u32, count: subjects.len() as u32 };
        self.subjects.extend_from_slice(subjects);
        self.records.insert(seq, record);
        record
    }

    /// Adds the subjects of one record to the current window.
    fn count_subjects(&mut self, record: RecordSubjects, counted: &mut Vec<u32>) {
        self.counts.resize(self.terms.len().max(self.counts.len()), WindowCount::default());
        for &number in &self.subjects[record.range()] {
            let count = &mut self.counts[number as usize];
            if count.last_window != self.window_number {
                count.last_window = self.window_number;
                if count.windows == 0 {
                    counted.push(number);
                }
                count.windows += 1;
            }
        }
    }
}

impl RecordSubjects {
    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.count) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::graph::cooccurrence::associated_terms;
    use crate::memory::store::open::{self, Access, FILE_NAME};
    use crate::memory::test_support::Bench;
    use serde_json::json;

    #[test]
    fn terms_of_neighboring_records_co_occur_and_expand_a_query() {
        let bench = Bench::new();
        for n in 0..300 {
            let session = format!("s{}", n / 5);
            let text = match n % 30 {
                0 => format!("the sourdough is rising, number {n}"),
                1 => format!("then the oven with the starter, number {n}"),
                _ => format!("nothing of the kind, topic{n} number {n}"),
            };
            bench.capture(&text, json!({"session_id": session}));
        }
        let id = bench.capture("left the starter in the fridge again", json!({"session_id": "later"}));
        let query = json!({"cue": "sourdough", "limit": 100});
        let position = |bench: &Bench| {
            let got = bench.ok("memory_recall", query.clone());
            let hits = got["hits"].as_array().unwrap().clone();
            hits.iter().position(|hit| hit["record_id"] == json!(id))
        };
        assert_eq!(position(&bench), None);
        bench.ok("memory_consolidate", json!({}));
        let connection = open::connect(&bench.folder.path().join(FILE_NAME), Access::Read).unwrap();
        let cooccurring = associated_terms(&connection, "sourdough").unwrap();
        let names: Vec<&str> = cooccurring.iter().map(|(other, _)| other.as_str()).collect();
        assert!(names.contains(&"oven") && names.contains(&"starter") && names.contains(&"rise"), "{cooccurring:?}");
        assert!(
            cooccurring.iter().all(|(_, association)| (MIN_ASSOCIATION..=1.0).contains(association)),
            "{cooccurring:?}"
        );
        assert_eq!(associated_terms(&connection, "topic7").unwrap(), []);
        assert_eq!(associated_terms(&connection, "number").unwrap(), [], "every record has it");
    }

    #[test]
    fn a_record_of_many_words_is_continued_where_its_time_was_over() {
        let bench = Bench::new();
        let words = |first: usize| (first..first + 3000).map(|n| format!("word{n} ")).collect::<String>();
        for n in 0..6 {
            // Each word is in two records.
            bench.capture(&words(n / 2 * 3000), json!({"session_id": n.to_string(), "cue": n.to_string()}));
        }
        let connection = open::connect(&bench.folder.path().join(FILE_NAME), Access::Write).unwrap();
        let scope = LearningScope { connection: &connection, total_records: 200, deadline: Instant::now() };
        let mut learner = CooccurrenceLearner::default();
        let (mut calls, mut learned) = (0, 0);
        for seq in 1..=6 {
            let text: String =
                connection.query_row("SELECT text FROM record WHERE seq = ?1", [seq], |row| row.get(0)).unwrap();
            loop {
                let before = learner.place;
                let (terms, progress) = learner.learn_record(scope, seq, (seq, &text)).unwrap();
                (calls, learned) = (calls + 1, learned + terms);
                if progress == Progress::Done {
                    break;
                }
                assert!(learner.place.0 == seq && (before.0 != seq || learner.place.1 > before.1), "{before:?}");
            }
        }
        assert_eq!(learned, 3 * MAX_RECORD_SUBJECTS as u64);
        assert!(calls <= learned + 6, "{calls}");
    }
}
