//! Words by numbers, for a pass over many texts: each form of a word is stemmed once and each term's records
//! are counted once, however often they are met.
//!
//! It is a cache and nothing of it is kept. What it knows of the index is as old as its entry, and a word that a
//! newer record has is looked up again when that record is met ([`TermCache::newest`]).
//!
//! What its caller keeps: numbers hold until [`TermCache::make_room`].

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, RandomState};

use rusqlite::Connection;

use crate::memory::store::fulltext;
use crate::memory::text::tokenizer::{self, TokenKind};

/// Forms of words that are known at a time. Picked: with their terms 8 MiB at the most, and more than a hundred
/// thousand records have of any language.
const FORMS: usize = 1 << 17;

/// Bytes of terms that are known at a time. Half of what [`FORMS`] of common length take.
const TERM_BYTES: usize = 1 << 20;

/// Nobody has counted yet.
const UNKNOWN: u16 = u16::MAX;

/// What a form of a word is to a text that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    /// A subject.
    Telling,
    /// Too short for a subject, or only the beginning of a word.
    Slight,
    /// A stop word: a subject only where a text has no other words.
    Stop,
}

/// Words that were met.
#[derive(Debug, Default)]
pub(crate) struct TermCache {
    /// By the hash of a folded word and its kind: the number of its term. Two forms in 2^64 that are taken for
    /// each other are no matter for what is learned of many.
    forms: HashMap<u64, (u32, Sense), RandomState>,
    /// By the hash of a term: its number.
    numbers: HashMap<u64, u32>,
    /// By number.
    terms: Vec<Term>,
    /// Their letters, one after the other.
    letters: String,
    /// A text's numbers, for the next text.
    telling: Vec<u32>,
    stops: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Term {
    /// The last record that has it.
    newest: i64,
    /// Its first byte.
    at: u32,
    /// The text that had it last.
    text: u32,
    /// How many records have it, up to the most that are counted, or [`UNKNOWN`].
    count: u16,
    bytes: u8,
}

impl TermCache {
    /// Forgets everything where it has become too much.
    pub(crate) fn make_room(&mut self) {
        if self.forms.len() >= FORMS || self.letters.len() >= TERM_BYTES {
            *self = TermCache::default();
        }
    }

    /// How many words it knows.
    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    /// The term of this number.
    pub(crate) fn term(&self, number: u32) -> &str {
        self.terms.get(number as usize).map_or("", |term| &self.letters[term.at as usize..][..usize::from(term.bytes)])
    }

    /// The subjects of a text: its telling terms of at least `shortest` bytes, each once and in its order; stop
    /// words where there is nothing else (those of [`tokenizer::query_terms`] that are looked for whole). Each text has a
    /// number of its own.
    pub(crate) fn subjects(&mut self, text: &str, number: u32, shortest: usize) -> &[u32] {
        let (mut telling, mut stops) = (std::mem::take(&mut self.telling), std::mem::take(&mut self.stops));
        telling.clear();
        stops.clear();
        let mut is_telling = false;
        tokenizer::for_each_token(text, |mut token| {
            if token.kind == TokenKind::Last {
                return;
            }
            let (at, sense) = self.number(&mut token, shortest);
            let Some(term) = self.terms.get_mut(at as usize).filter(|term| term.text != number) else { return };
            term.text = number;
            let is_long = usize::from(term.bytes) >= shortest;
            match sense {
                Sense::Stop if is_long => stops.push(at),
                Sense::Stop => {}
                Sense::Telling | Sense::Slight => is_telling = true,
            }
            if sense == Sense::Telling {
                telling.push(at);
            }
        });
        if !is_telling {
            telling.extend_from_slice(&stops);
        }
        (self.telling, self.stops) = (telling, stops);
        &self.telling
    }

    fn number(&mut self, token: &mut tokenizer::Token<'_>, shortest: usize) -> (u32, Sense) {
        let form = self.forms.hasher().hash_one((token.word, token.kind == TokenKind::Lone));
        if let Some(&known) = self.forms.get(&form) {
            return known;
        }
        let sense = match token.kind {
            _ if tokenizer::is_stop_word(token.word) => Sense::Stop,
            TokenKind::Lone => Sense::Slight,
            _ => Sense::Telling,
        };
        let term = token.term();
        let sense = if sense == Sense::Telling && term.len() < shortest { Sense::Slight } else { sense };
        let number = match self.numbers.entry(self.forms.hasher().hash_one(term)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(free) => {
                let at = self.letters.len() as u32;
                self.letters.push_str(term);
                self.terms.push(Term { newest: 0, at, text: 0, count: UNKNOWN, bytes: term.len() as u8 });
                *free.insert(self.terms.len() as u32 - 1)
            }
        };
        self.forms.insert(form, (number, sense));
        (number, sense)
    }

    /// The last record with a term that the record at `seq` has; at `most` + 1 records the counting ends.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn newest(
        &mut self,
        connection: &Connection,
        number: u32,
        seq: i64,
        most: u16,
    ) -> Result<i64, rusqlite::Error> {
        match self.terms.get(number as usize) {
            Some(term) if term.count != UNKNOWN && term.newest >= seq => Ok(term.newest),
            _ => Ok(self.find(connection, number, most)?.1),
        }
    }

    /// How many records have a term, up to `most` + 1.
    ///
    /// # Errors
    /// The database's.
    pub(crate) fn count(&mut self, connection: &Connection, number: u32, most: u16) -> Result<u16, rusqlite::Error> {
        match self.terms.get(number as usize) {
            Some(term) if term.count != UNKNOWN => Ok(term.count),
            _ => Ok(self.find(connection, number, most)?.0),
        }
    }

    fn find(&mut self, connection: &Connection, number: u32, most: u16) -> Result<(u16, i64), rusqlite::Error> {
        let (count, newest) = {
            let holders = fulltext::newest_with_term(connection, self.term(number), i64::MAX, i64::from(most) + 1)?;
            (holders.len() as u16, holders.first().copied().unwrap_or(0))
        };
        if let Some(term) = self.terms.get_mut(number as usize) {
            (term.count, term.newest) = (count, newest);
        }
        Ok((count, newest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::text::tokenizer::MatchMode;

    #[test]
    fn subjects_are_the_words_that_are_asked_for_whole() {
        let mut lexicon = TermCache::default();
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
            let mut want = tokenizer::query_terms(text);
            want.retain(|asked| asked.look == MatchMode::Exact && asked.term.len() >= 3);
            let want: Vec<String> = want.into_iter().map(|asked| asked.term).collect();
            let got = lexicon.subjects(text, number as u32 + 1, 3).to_vec();
            let got: Vec<&str> = got.into_iter().map(|number| lexicon.term(number)).collect();
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let mut lexicon = TermCache::default();
        let mut most = 0;
        for n in 0..20_000_u32 {
            lexicon.make_room();
            let text: String = (0..12).map(|word| format!("hash{n}of{word}words ")).collect();
            assert_eq!(lexicon.subjects(&text, n + 1, 3).len(), 12);
            most = most.max(lexicon.forms.len());
        }
        assert!(most <= FORMS + 12 && lexicon.len() < 20_000 * 12, "{most}");
    }
}
