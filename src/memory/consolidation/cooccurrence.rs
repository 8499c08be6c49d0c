//! Words that keep company: which others a word is said with more often than by chance, in one breath
//! or the next.
//!
//! They are learned from the user's own records while the memory sleeps ([`CooccurrenceLearner`]). Recall, asked for
//! a word, listens for its companions too ([`of`], and `question.rs`), so that an answer is found that
//! has none of the question's words. How much two words keep company is their normalized pointwise
//! mutual information: 0 by chance, 1 always (G. Bouma, "Normalized (Pointwise) Mutual Information in
//! Collocation Extraction", 2009).

use std::cmp::Reverse;
use std::time::Instant;

use rusqlite::{CachedStatement, Connection, OptionalExtension};

use crate::memory::consolidation::step::Progress;
use crate::memory::consolidation::vocabulary::TermCache;
use crate::memory::sort;
use crate::memory::store::fulltext;
use crate::memory::store::records::{self, Side};

/// The newest records with a word that are read. Picked: some 1 ms.
const SAMPLE: i64 = 32;

/// Least number of those in or beside which another word is said: once is chance.
const TOGETHER: usize = 2;

/// Words whose rarity is looked up for one word: those said with it most, and of these the longest, as
/// long words are rare. Picked: some 0.4 ms.
const CONSIDERED: usize = 64;

/// A word that more than one record of so many has keeps company with everybody.
const COMMON_SHARE: i64 = 20;

/// The same in a large store: records. Picked: counting them takes 50 microseconds.
const COMMON: u16 = 600;

/// Companions kept of a word.
const KEPT: usize = 8;

/// Least company that is kept. Less than this is no help, and takes a third of the room (`docs/recall.md`).
const LEAST: f64 = 0.4;

/// Shortest word, in bytes: shorter ones are no subject.
const SHORTEST: usize = 3;

/// A word is looked at anew once so many times as many records have it, in quarters.
const GROWN_QUARTERS: i64 = 5;

/// What a cycle knows of words while it learns: nothing that would have to be kept.
#[derive(Debug, Default)]
pub(crate) struct CooccurrenceLearner {
    lexicon: TermCache,
    /// Texts that were taken apart.
    texts: u32,
    /// By a word's number: the last breath that had it, and in how many of the present word's it was.
    heard: Vec<(u32, u16)>,
    breaths: u32,
}

/// What is looked at together: a chunk's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LearningScope<'c> {
    connection: &'c Connection,
    /// Records there are.
    total: i64,
    deadline: Instant,
}

impl<'c> LearningScope<'c> {
    /// All there is now, until the deadline.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn until(deadline: Instant, connection: &'c Connection) -> Result<LearningScope<'c>, rusqlite::Error> {
        let total = records::last_seq(connection)?;
        Ok(LearningScope { connection, total, deadline })
    }

    /// More records than this have a word that keeps company with everybody.
    fn most(self) -> u16 {
        (self.total / COMMON_SHARE).min(i64::from(COMMON)) as u16
    }
}

impl CooccurrenceLearner {
    /// Learns the companions of the words whose last record is the one at `seq`; gives how many words were
    /// looked at, and whether that was all before the deadline. Those looked at need not be looked at again,
    /// so a record that takes long is gone on with later.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn learn(
        &mut self,
        span: LearningScope<'_>,
        (seq, text): (i64, &str),
    ) -> Result<(u64, Progress), rusqlite::Error> {
        self.make_room();
        let mut looked_at = 0;
        self.texts += 1;
        for number in self.lexicon.subjects(text, self.texts, SHORTEST).to_vec() {
            if self.lexicon.newest(span.connection, number, seq, COMMON)? != seq {
                continue;
            }
            if looked_at > 0 && Instant::now() >= span.deadline {
                return Ok((looked_at, Progress::More));
            }
            looked_at += u64::from(self.learn_word(span, number)?);
        }
        Ok((looked_at, Progress::Done))
    }

    fn make_room(&mut self) {
        self.lexicon.make_room();
        // Texts and breaths are told apart by their numbers.
        if self.lexicon.len() == 0 || self.texts > u32::MAX / 2 {
            *self = CooccurrenceLearner::default();
        }
    }

    /// Was there anything to learn?
    fn learn_word(&mut self, span: LearningScope<'_>, number: u32) -> Result<bool, rusqlite::Error> {
        let connection = span.connection;
        let count = self.lexicon.count(connection, number, COMMON)?;
        if count > span.most() || usize::from(count) < TOGETHER {
            return Ok(false);
        }
        let mut read = connection.prepare_cached("SELECT seen FROM companion WHERE term = ?1")?;
        let seen: Option<i64> = read.query_row([self.lexicon.term(number)], |row| row.get(0)).optional()?;
        if seen.is_some_and(|seen| i64::from(count) * 4 < seen * GROWN_QUARTERS) {
            return Ok(false);
        }
        let companions = self.companions(span, number, count)?;
        // Nine tenths and more are as good as always.
        let field =
            |&(other, company): &(u32, f64)| format!("{}{:.0}", self.lexicon.term(other), (company * 10.0).min(9.0));
        let others: Vec<String> = companions.iter().map(field).collect();
        // Without others too: it says that the word need not be looked at again so soon.
        let put = "INSERT INTO companion (term, seen, others) VALUES (?1, ?2, ?3)
                   ON CONFLICT (term) DO UPDATE SET seen = excluded.seen, others = excluded.others";
        connection.prepare_cached(put)?.execute((self.lexicon.term(number), count, others.join(" ")))?;
        Ok(true)
    }

    /// The closest companions of a word that so many records have.
    fn companions(
        &mut self,
        span: LearningScope<'_>,
        number: u32,
        count: u16,
    ) -> Result<Vec<(u32, f64)>, rusqlite::Error> {
        let sample = fulltext::newest_with_term(span.connection, self.lexicon.term(number), i64::MAX, SAMPLE)?;
        let mut heard = Vec::new();
        for &seq in &sample {
            self.listen(span.connection, seq, &mut heard)?;
        }
        let mut considered: Vec<(u32, u16)> = heard
            .into_iter()
            .map(|other| (other, std::mem::take(&mut self.heard[other as usize].1)))
            .filter(|&(other, times)| usize::from(times) >= TOGETHER && other != number)
            .collect();
        sort::sort_by_key(&mut considered, |&(other, times)| {
            let term = self.lexicon.term(other);
            (Reverse((times, term.len())), term)
        });
        considered.truncate(CONSIDERED);
        // As if the store held no more records than the sample stands for.
        let sampled = sample.len() as f64;
        let total = span.total as f64 * sampled / f64::from(count);
        let mut companions = Vec::new();
        for (other, times) in considered {
            let others = self.lexicon.count(span.connection, other, COMMON)?;
            if others > span.most() {
                continue;
            }
            // A breath is three records.
            let chance = (3.0 * f64::from(others) / span.total as f64).min(1.0) * sampled;
            let times = f64::from(times);
            let company = (times / chance).ln() / -(times / total).ln();
            if company >= LEAST {
                companions.push((other, company.min(1.0)));
            }
        }
        let term = |number| self.lexicon.term(number);
        sort::sort_by(&mut companions, |a, b| b.1.total_cmp(&a.1).then_with(|| term(a.0).cmp(term(b.0))));
        companions.truncate(KEPT);
        Ok(companions)
    }

    /// Hears the telling words of a record and of those said just before and after it, each once; those that
    /// were not heard before come to `heard`.
    fn listen(&mut self, connection: &Connection, seq: i64, heard: &mut Vec<u32>) -> Result<(), rusqlite::Error> {
        self.breaths += 1;
        let mut read = connection.prepare_cached("SELECT text, session FROM record WHERE seq = ?1")?;
        let Some(session) = self.hear(&mut read, seq, None, heard)? else { return Ok(()) };
        for side in [Side::Before, Side::After] {
            if self.hear(&mut read, side.adjacent(seq), Some(session), heard)?.is_some() {
                continue;
            }
            if let Some(found) = records::neighbor_in_session(connection, session, seq, side)? {
                self.hear(&mut read, found, None, heard)?;
            }
        }
        Ok(())
    }

    /// Hears one record, if it is of the session, where that matters; gives its session, if it was heard.
    fn hear(
        &mut self,
        read: &mut CachedStatement<'_>,
        seq: i64,
        of: Option<i64>,
        heard: &mut Vec<u32>,
    ) -> Result<Option<i64>, rusqlite::Error> {
        let mut rows = read.query([seq])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let session: i64 = row.get(1)?;
        if of.is_some_and(|of| of != session) {
            return Ok(None);
        }
        self.texts += 1;
        let text = row.get_ref(0)?.as_str().unwrap_or_default();
        for &number in self.lexicon.subjects(text, self.texts, SHORTEST) {
            let at = number as usize;
            if self.heard.len() <= at {
                self.heard.resize(at + 1, (0, 0));
            }
            let (breath, times) = &mut self.heard[at];
            if *breath != self.breaths {
                *breath = self.breaths;
                if *times == 0 {
                    heard.push(number);
                }
                *times += 1;
            }
        }
        Ok(Some(session))
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
    fn words_said_together_are_companions_and_find_what_has_none_of_the_words_asked_for() {
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
        let asked = json!({"cue": "sourdough", "limit": 100});
        let place = |bench: &Bench| {
            let got = bench.ok("memory_recall", asked.clone());
            let hits = got["hits"].as_array().unwrap().clone();
            hits.iter().position(|hit| hit["record_id"] == json!(id))
        };
        assert_eq!(place(&bench), None);
        bench.ok("memory_consolidate", json!({}));
        let connection = open::connect(&bench.folder.path().join(FILE_NAME), Access::Read).unwrap();
        let companions = associated_terms(&connection, "sourdough").unwrap();
        let names: Vec<&str> = companions.iter().map(|(other, _)| other.as_str()).collect();
        assert!(names.contains(&"oven") && names.contains(&"starter") && names.contains(&"rise"), "{companions:?}");
        assert!(companions.iter().all(|(_, company)| (LEAST..=1.0).contains(company)), "{companions:?}");
        assert_eq!(associated_terms(&connection, "topic7").unwrap(), []);
        assert_eq!(associated_terms(&connection, "number").unwrap(), [], "everybody says it");
    }
}
