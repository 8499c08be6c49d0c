//! Words that keep company: which others a word is said with more often than by chance, in one breath
//! or the next.
//!
//! They are learned from the user's own records while the memory sleeps ([`learn`]). Recall, asked for
//! a word, listens for its companions too ([`of`], and `question.rs`), so that an answer is found that
//! has none of the question's words. How much two words keep company is their normalized pointwise
//! mutual information: 0 by chance, 1 always (G. Bouma, "Normalized (Pointwise) Mutual Information in
//! Collocation Extraction", 2009).

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};

use super::associate::holders;
use super::cycle::Progress;
use super::meta;
use super::terms::{self, Look};

/// The newest records with a word that are read. Picked: some 1 ms.
const SAMPLE: usize = 32;

/// Least number of those in or beside which another word is said: once is chance.
const TOGETHER: usize = 2;

/// Words whose rarity is looked up for one word: those said with it most, and of these the longest, as
/// long words are rare. Picked: some 0.4 ms.
const CONSIDERED: usize = 64;

/// A word that more than one record of so many has keeps company with everybody.
const COMMON_SHARE: i64 = 20;

/// The same in a large store: records. Picked: counting them takes 50 microseconds.
const COMMON: i64 = 600;

/// Companions kept of a word.
const KEPT: usize = 8;

/// Least company that is kept. Less than this is no help, and takes a third of the room (`docs/recall.md`).
const LEAST: f64 = 0.4;

/// Shortest word, in bytes: shorter ones are no subject.
const SHORTEST: usize = 3;

/// A word is looked at anew once so many times as many records have it, in quarters.
const GROWN_QUARTERS: i64 = 5;

/// A word's companions, each with how much they keep company.
///
/// # Errors
/// The database's.
pub(super) fn of(connection: &Connection, term: &str) -> Result<Vec<(String, f64)>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT others FROM companion WHERE term = ?1")?;
    let others: Option<String> = read.query_row([term], |row| row.get(0)).optional()?;
    let others = others.unwrap_or_default();
    let companion = |field: &str| {
        let tenths = field.chars().next_back()?.to_digit(10)?;
        Some((field[..field.len() - 1].to_owned(), f64::from(tenths) / 10.0))
    };
    Ok(others.split(' ').filter_map(companion).collect())
}

/// Where learning goes on: the last record whose words were looked at.
const CURSOR: &str = "step_learn";

/// Forgets what was learned, to learn it again: it is made of terms, whose rules have changed.
///
/// # Errors
/// The database's.
pub(super) fn unlearn(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("DELETE FROM companion")?.execute([])?;
    meta::keep(connection, CURSOR, 0)
}

/// Learns the companions of the words whose last record, up to the one at `last`, is the one at `seq`;
/// gives how many words were looked at, and whether that was all before the `deadline`. Those looked at
/// need not be looked at again, so a record that takes long is gone on with later.
///
/// # Errors
/// The database's.
pub(super) fn learn(
    connection: &Connection,
    (seq, text): (i64, &str),
    last: i64,
    deadline: Instant,
) -> Result<(u64, Progress), rusqlite::Error> {
    let total: i64 = connection.prepare_cached("SELECT max(seq) FROM record")?.query_row([], |row| row.get(0))?;
    let mut looked_at = 0;
    for asked in terms::asked(text) {
        if asked.look != Look::Whole || asked.term.len() < SHORTEST {
            continue;
        }
        if holders(connection, &asked.term, last, 1)?.first() != Some(&seq) {
            continue;
        }
        if looked_at > 0 && Instant::now() >= deadline {
            return Ok((looked_at, Progress::More));
        }
        let word = Word { connection, term: &asked.term, last, total };
        looked_at += u64::from(word.learn()?);
    }
    Ok((looked_at, Progress::Done))
}

/// A word being looked at.
struct Word<'w> {
    connection: &'w Connection,
    term: &'w str,
    last: i64,
    total: i64,
}

impl Word<'_> {
    /// Was there anything to learn?
    fn learn(&self) -> Result<bool, rusqlite::Error> {
        let Some(holders) = self.uncommon(self.term)? else { return Ok(false) };
        let count = holders.len() as i64;
        let mut read = self.connection.prepare_cached("SELECT seen FROM companion WHERE term = ?1")?;
        let seen: Option<i64> = read.query_row([self.term], |row| row.get(0)).optional()?;
        if holders.len() < TOGETHER || seen.is_some_and(|seen| count * 4 < seen * GROWN_QUARTERS) {
            return Ok(false);
        }
        let companions = self.companions(&holders)?;
        // Nine tenths and more are as good as always.
        let field = |(other, company): &(String, f64)| format!("{other}{:.0}", (company * 10.0).min(9.0));
        let others: Vec<String> = companions.iter().map(field).collect();
        // Without others too: it says that the word need not be looked at again so soon.
        let put = "INSERT INTO companion (term, seen, others) VALUES (?1, ?2, ?3)
                   ON CONFLICT (term) DO UPDATE SET seen = excluded.seen, others = excluded.others";
        self.connection.prepare_cached(put)?.execute((self.term, count, others.join(" ")))?;
        Ok(true)
    }

    /// The newest records with a term; none where too many have it.
    fn uncommon(&self, term: &str) -> Result<Option<Vec<i64>>, rusqlite::Error> {
        let most = (self.total / COMMON_SHARE).min(COMMON);
        let holders = holders(self.connection, term, self.last, most + 1)?;
        Ok((holders.len() as i64 <= most).then_some(holders))
    }

    /// The closest companions of a word that these records have.
    fn companions(&self, holders: &[i64]) -> Result<Vec<(String, f64)>, rusqlite::Error> {
        let sample = &holders[..holders.len().min(SAMPLE)];
        let mut together: HashMap<String, usize> = HashMap::new();
        for &seq in sample {
            for term in self.breath(seq)? {
                *together.entry(term).or_default() += 1;
            }
        }
        // As if the store held no more records than the sample stands for.
        let total = self.total as f64 * sample.len() as f64 / holders.len() as f64;
        let mut considered: Vec<(String, usize)> = together.into_iter().collect();
        considered.retain(|(other, count)| *count >= TOGETHER && other != self.term);
        considered.sort_unstable_by(|a, b| (b.1, b.0.len(), &a.0).cmp(&(a.1, a.0.len(), &b.0)));
        considered.truncate(CONSIDERED);
        let mut companions = Vec::new();
        for (other, count) in considered {
            let Some(others) = self.uncommon(&other)? else { continue };
            // A breath is three records.
            let chance = (3.0 * others.len() as f64 / self.total as f64).min(1.0) * sample.len() as f64;
            let company = (count as f64 / chance).ln() / -(count as f64 / total).ln();
            if company >= LEAST {
                companions.push((other, company.min(1.0)));
            }
        }
        companions.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        companions.truncate(KEPT);
        Ok(companions)
    }

    /// The telling words of a record and of those said just before and after it.
    fn breath(&self, seq: i64) -> Result<HashSet<String>, rusqlite::Error> {
        let mut read = self.connection.prepare_cached(
            "WITH one AS (SELECT session FROM record WHERE seq = ?1)
             SELECT text FROM record WHERE seq = ?1
             UNION ALL SELECT text FROM record WHERE seq =
                (SELECT max(seq) FROM record WHERE session = (SELECT session FROM one) AND seq < ?1)
             UNION ALL SELECT text FROM record WHERE seq =
                (SELECT min(seq) FROM record WHERE session = (SELECT session FROM one) AND seq > ?1)",
        )?;
        let mut rows = read.query([seq])?;
        let mut words = HashSet::new();
        while let Some(row) = rows.next()? {
            let telling = terms::asked(row.get_ref(0)?.as_str().unwrap_or_default());
            let of_use = |asked: &terms::Asked| asked.look == Look::Whole && asked.term.len() >= SHORTEST;
            words.extend(telling.into_iter().filter(of_use).map(|asked| asked.term));
        }
        Ok(words)
    }
}

#[cfg(test)]
mod tests {
    use super::super::harness::Bench;
    use super::super::store::{self, FILE_NAME, Use};
    use super::*;
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
        let connection = store::connect(&bench.folder.path().join(FILE_NAME), Use::Read).unwrap();
        let companions = of(&connection, "sourdough").unwrap();
        let names: Vec<&str> = companions.iter().map(|(other, _)| other.as_str()).collect();
        assert!(names.contains(&"oven") && names.contains(&"starter") && names.contains(&"rise"), "{companions:?}");
        assert!(companions.iter().all(|(_, company)| (LEAST..=1.0).contains(company)), "{companions:?}");
        assert_eq!(of(&connection, "topic7").unwrap(), []);
        assert_eq!(of(&connection, "number").unwrap(), [], "everybody says it");
    }
}
