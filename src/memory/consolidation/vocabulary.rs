//! A cache of terms for a pass over many texts: each form of a word is stemmed once and each term's records are counted
//! once, however often they occur.
//!
//! Nothing of it is stored. An entry's record count is as old as the entry, and is read again when a record that is
//! newer than the entry has the term ([`TermCache::newest_record`]).
//!
//! Caller's contract: term numbers are valid until [`TermCache::limit_memory`].

use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use rusqlite::Connection;

use crate::memory::model::seq_map::HashedMap;
use crate::memory::store::fulltext;
use crate::memory::text::stop_words;
use crate::memory::text::tokenizer::{self, TokenKind};

/// Forms of words in the cache, at most. Picked: they take 8 MiB with their terms, and are more forms than a hundred
/// thousand records have in any language.
const MAX_FORMS: usize = 1 << 17;

/// Bytes of terms in the cache, at most. Half of what [`MAX_FORMS`] of common length take.
const MAX_TERM_BYTES: usize = 1 << 20;

/// The records of the term have not been counted yet.
const UNKNOWN_COUNT: u16 = u16::MAX;

/// Whether a form of a word can be a subject of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TermClass {
    /// A subject.
    Subject,
    /// Too short for a subject, or only a part of a word.
    Minor,
    /// A stop word: a subject only of a text that has no other words.
    Stop,
}

/// Terms by number.
#[derive(Debug, Default)]
pub(crate) struct TermCache {
    /// The number of a form's term, by the hash of the folded word and its kind. Collisions of the 64-bit hash are
    /// accepted: the figures that are learned are approximate.
    forms: HashedMap<(u32, TermClass)>,
    /// The number of a term, by the term's hash.
    numbers: HashedMap<u32>,
    hasher: RandomState,
    /// The terms by number.
    terms: Vec<CachedTerm>,
    /// The texts of the terms, concatenated.
    term_text: String,
    /// Buffers of [`TermCache::subjects`], kept for the next text.
    subjects: Vec<u32>,
    stops: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct CachedTerm {
    /// The newest record that has the term.
    newest: i64,
    /// Offset of the term in `term_text`.
    start: u32,
    /// Number of the last text that has the term.
    text: u32,
    /// Number of records that have the term, up to the limit of the count, or [`UNKNOWN_COUNT`].
    records: u16,
    /// Length of the term.
    bytes: u8,
}

impl TermCache {
    /// Empties the cache if it has reached its limits.
    pub(crate) fn limit_memory(&mut self) {
        if self.forms.len() >= MAX_FORMS || self.term_text.len() >= MAX_TERM_BYTES {
            *self = TermCache::default();
        }
    }

    /// Returns the number of terms.
    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Returns the term of this number; an empty string if there is none.
    pub(crate) fn term(&self, number: u32) -> &str {
        let text = |term: &CachedTerm| &self.term_text[term.start as usize..][..usize::from(term.bytes)];
        self.terms.get(number as usize).map_or("", text)
    }

    /// Returns the numbers of a text's subjects: its terms of at least `shortest` bytes, each once and in the text's
    /// order. Stop words are included only if the text has no other words. These are the terms of
    /// [`cue_terms::query_terms`] that are matched exactly. `number` must be another one for each text.
    pub(crate) fn subjects(&mut self, text: &str, number: u32, shortest: usize) -> &[u32] {
        let (mut subjects, mut stops) = (std::mem::take(&mut self.subjects), std::mem::take(&mut self.stops));
        subjects.clear();
        stops.clear();
        let mut has_words = false;
        tokenizer::for_each_token(text, |mut token| {
            if token.kind == TokenKind::Last {
                return;
            }
            let (at, class) = self.number(&mut token, shortest);
            let Some(term) = self.terms.get_mut(at as usize).filter(|term| term.text != number) else { return };
            term.text = number;
            let is_long = usize::from(term.bytes) >= shortest;
            match class {
                TermClass::Stop if is_long => stops.push(at),
                TermClass::Stop => {}
                TermClass::Subject | TermClass::Minor => has_words = true,
            }
            if class == TermClass::Subject {
                subjects.push(at);
            }
        });
        if !has_words {
            subjects.extend_from_slice(&stops);
        }
        (self.subjects, self.stops) = (subjects, stops);
        &self.subjects
    }

    fn number(&mut self, token: &mut tokenizer::Token<'_>, shortest: usize) -> (u32, TermClass) {
        let form = self.hasher.hash_one((token.word, token.kind == TokenKind::Lone));
        if let Some(&known) = self.forms.get(&form) {
            return known;
        }
        let class = match token.kind {
            _ if stop_words::is_stop_word(token.word) => TermClass::Stop,
            TokenKind::Lone => TermClass::Minor,
            _ => TermClass::Subject,
        };
        let term = token.term();
        let class = if class == TermClass::Subject && term.len() < shortest { TermClass::Minor } else { class };
        let number = match self.numbers.entry(self.hasher.hash_one(term)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let start = self.term_text.len() as u32;
                self.term_text.push_str(term);
                let bytes = term.len() as u8;
                self.terms.push(CachedTerm { newest: 0, start, text: 0, records: UNKNOWN_COUNT, bytes });
                *free.insert(self.terms.len() as u32 - 1)
            }
        };
        self.forms.insert(form, (number, class));
        (number, class)
    }

    /// Returns the newest record that has a term, which the record at `seq` has. At most `most` + 1 records are counted.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(crate) fn newest_record(
        &mut self,
        connection: &Connection,
        number: u32,
        seq: i64,
        most: u16,
    ) -> Result<i64, rusqlite::Error> {
        match self.terms.get(number as usize) {
            Some(term) if term.records != UNKNOWN_COUNT && term.newest >= seq => Ok(term.newest),
            _ => Ok(self.read_records(connection, number, most)?.1),
        }
    }

    /// Returns the number of records that have a term, up to `most` + 1.
    ///
    /// # Errors
    /// Any error of SQLite.
    pub(crate) fn record_count(
        &mut self,
        connection: &Connection,
        number: u32,
        most: u16,
    ) -> Result<u16, rusqlite::Error> {
        match self.terms.get(number as usize) {
            Some(term) if term.records != UNKNOWN_COUNT => Ok(term.records),
            _ => Ok(self.read_records(connection, number, most)?.0),
        }
    }

    /// Reads the number of records that have a term, up to `most` + 1, and the newest of them.
    fn read_records(&mut self, connection: &Connection, number: u32, most: u16) -> Result<(u16, i64), rusqlite::Error> {
        let (records, newest) = {
            let holders = fulltext::newest_with_term(connection, self.term(number), i64::MAX, i64::from(most) + 1)?;
            (holders.len() as u16, holders.first().copied().unwrap_or(0))
        };
        if let Some(term) = self.terms.get_mut(number as usize) {
            (term.records, term.newest) = (records, newest);
        }
        Ok((records, newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::text::cue_terms::{self, MatchMode};

    #[test]
    fn subjects_are_the_query_terms_that_are_matched_exactly() {
        let mut cache = TermCache::default();
        for (number, text) in [
            "The baker's baking bakes bread, and being is to be",
            "is it the same that we are",
            "日本語 と 猫 の話 ok a1 b22",
            "Zürich ZÜRICH zurich 🎉 go",
            "",
            "猫",
            "The baker's baking bakes bread, and being is to be",
        ]
        .iter()
        .enumerate()
        {
            let mut want = cue_terms::query_terms(text);
            want.retain(|asked| asked.mode == MatchMode::Exact && asked.term.len() >= 3);
            let want: Vec<String> = want.into_iter().map(|asked| asked.term).collect();
            let got = cache.subjects(text, number as u32 + 1, 3).to_vec();
            let got: Vec<&str> = got.into_iter().map(|number| cache.term(number)).collect();
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn the_cache_stays_within_its_limits() {
        let mut cache = TermCache::default();
        let mut most = 0;
        for n in 0..20_000_u32 {
            cache.limit_memory();
            let text: String = (0..12).map(|word| format!("hash{n}of{word}words ")).collect();
            assert_eq!(cache.subjects(&text, n + 1, 3).len(), 12);
            most = most.max(cache.forms.len());
        }
        assert!(most <= MAX_FORMS + 12 && cache.len() < 20_000 * 12, "{most}");
    }
}
