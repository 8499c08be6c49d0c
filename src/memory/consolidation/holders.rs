//! The newest records that have a term, for a step that goes through the records in the order of their seqs: the
//! full-text index is asked about each term once, and the step itself adds the records that it comes to.
//!
//! Nothing of it is stored. A record in a list may have been forgotten since.

use std::hash::{BuildHasher, RandomState};

use rusqlite::Connection;

use crate::memory::model::seq_map::HashedMap;
use crate::memory::store::fulltext;
use crate::memory::text::tokenizer;

/// Terms that are held, at most, and records of all their lists. Picked: 8 MiB each.
const MAX_TERM_COUNT: usize = 1 << 17;
const MAX_HOLDER_COUNT: usize = 1 << 21;

/// The lists of a step.
#[derive(Debug, Default)]
pub(crate) struct TermHolders {
    hasher: RandomState,
    /// By the hash of the term, of which collisions are accepted: what is learned is approximate. The oldest first.
    lists: HashedMap<Vec<u32>>,
    holder_count: usize,
    /// The longest list.
    most: usize,
    /// The last record that the lists have.
    last: i64,
}

impl TermHolders {
    /// Prepares for the records after `last`, with lists of the newest `most`.
    pub(crate) fn begin(&mut self, last: i64, most: usize) {
        let is_full = self.lists.len() >= MAX_TERM_COUNT || self.holder_count >= MAX_HOLDER_COUNT;
        if is_full || (self.last, self.most) != (last, most) {
            *self = TermHolders { last, most, ..TermHolders::default() };
        }
    }

    /// Returns the newest records up to the last one that have `term`, the newest last.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(crate) fn of(&mut self, connection: &Connection, term: &str) -> Result<&[u32], rusqlite::Error> {
        let hash = self.hasher.hash_one(term);
        if !self.lists.contains_key(&hash) {
            let newest = fulltext::newest_with_term(connection, term, self.last, self.most as i64)?;
            let holders: Vec<u32> = newest.into_iter().rev().filter_map(|seq| u32::try_from(seq).ok()).collect();
            self.holder_count += holders.len();
            self.lists.insert(hash, holders);
        }
        Ok(self.lists.get(&hash).map_or(&[], Vec::as_slice))
    }

    /// Adds the record at `seq`, which the index has.
    pub(crate) fn add(&mut self, seq: i64, text: &str, cue: &str) {
        self.last = seq;
        let Ok(number) = u32::try_from(seq) else { return };
        for part in [text, cue] {
            tokenizer::for_each_spelling(part, |mut token| {
                let Some(list) = self.lists.get_mut(&self.hasher.hash_one(token.term())) else { return };
                if list.last() == Some(&number) {
                    return;
                }
                if list.len() == self.most {
                    list.remove(0);
                } else {
                    self.holder_count += 1;
                }
                list.push(number);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::open::{self, Access, FILE_NAME};
    use crate::memory::test_support::Bench;
    use crate::memory::text::cue_terms;
    use serde_json::json;

    #[test]
    fn the_lists_are_those_of_the_index() {
        let bench = Bench::new();
        for n in 0..120 {
            let text = format!("number{n} of {} has getUserById and word{} in Müller's on-call list", n % 3, n % 7);
            bench.capture(
                &text,
                json!({"cue": format!("cue{} about e-mail", n % 5), "session_id": (n / 4).to_string()}),
            );
        }
        let connection = open::connect(&bench.folder.path().join(FILE_NAME), Access::Read).unwrap();
        let record = |seq: i64| -> (String, String) {
            let sql = "SELECT text, cue FROM record WHERE seq = ?1";
            connection.query_row(sql, [seq], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
        };
        for (first, most) in [(1, 5), (61, 17), (1, 17)] {
            let mut holders = TermHolders::default();
            for seq in first..=120 {
                let (text, cue) = record(seq);
                holders.begin(seq - 1, most);
                for term in cue_terms::query_terms(&format!("{text} {cue} mueller oncall email user")) {
                    let mut want = fulltext::newest_with_term(&connection, &term.term, seq - 1, most as i64).unwrap();
                    want.reverse();
                    let got: Vec<i64> =
                        holders.of(&connection, &term.term).unwrap().iter().map(|seq| i64::from(*seq)).collect();
                    assert_eq!(got, want, "{} before {seq}", term.term);
                }
                holders.add(seq, &text, &cue);
            }
        }
    }
}
