//! A question's terms, weighed, and what one text says to them.
//!
//! A question is made once and then reads every candidate's text, so it is made for fast reading:
//! most words of a text begin like no word of the question, and are not even stemmed. It knows
//! nothing of other records; what a record's neighbors add is `rank.rs`'s.
//!
//! Pure. BM25 after Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
//! Beyond", 2009.

use crate::memory::model::time::CalendarDay;
use crate::memory::sort;
use crate::memory::text::features::{self, DatePart};
use crate::memory::text::irregular_forms;
use crate::memory::text::tokenizer::{self, MatchMode, QueryTerm, Token, TokenKind};

/// BM25's usual constants: how soon repeating a word stops to count, and how much length does.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// What a word in a record's cue counts, against one in its text.
const CUE_WEIGHT: f64 = 0.5;

/// Letters that two words must share at their beginning to be taken for kin. Picked: five in most
/// alphabets are a root.
const KIN_CHARS: usize = 5;

/// Pairs of the question's words side by side in a text that count. Picked: a third tells nothing new.
const PAIRS: u32 = 2;

/// The share of a question that companions can stand for: they hint, and do not tell.
const MOST_COMPANY: f64 = 0.3;

/// How rare a term is that `frequency` of `total` records have: BM25's inverse document frequency, in
/// the form that stays over 0 for the most common ones.
pub(crate) fn idf(total: f64, frequency: f64) -> f64 {
    let frequency = frequency.min(total);
    (1.0 + (total - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// A set of a question's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TermSet(u32);

impl TermSet {
    fn only(at: usize) -> TermSet {
        TermSet(1 << at)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, at: usize) -> bool {
        self.0 & 1 << at != 0
    }

    pub(crate) fn union(self, other: TermSet) -> TermSet {
        TermSet(self.0 | other.0)
    }

    pub(crate) fn without(self, other: TermSet) -> TermSet {
        TermSet(self.0 & !other.0)
    }
}

/// What a record's text says to a question.
#[derive(Debug, Default)]
pub(crate) struct TextMatch {
    /// Of each term, how often it is there.
    counts: Vec<f64>,
    /// The terms that are there.
    pub(crate) has: TermSet,
    /// The terms that are there by a word's beginning alone: *photo* for *photography*.
    pub(crate) kin: TermSet,
    /// The terms that are there alone as two words for one, or one for two: *road trip*, *roadtrip*.
    pub(crate) joined: TermSet,
    /// Of each term, how close a companion of it is there; empty where no term has companions.
    company: Vec<f64>,
    /// The terms that name who speaks.
    pub(crate) speaker: TermSet,
    /// Pairs of the question's words that stand side by side here too, at most [`PAIRS`].
    pub(crate) pairs: u32,
    /// Words of the text.
    pub(crate) length: f64,
    /// It asks itself.
    pub(crate) asks: bool,
    /// It tells a time. Looked at only where the question asks for one.
    pub(crate) tells_time: bool,
}

/// A question. Its terms share out 1 by their rarity, so "of the question" is a number from 0 to 1.
#[derive(Debug)]
pub(crate) struct WeightedQuery {
    /// A question has few, so looking through them beats hashing every word of every text.
    terms: Vec<QueryTerm>,
    /// Each term's share of the question.
    shares: Vec<f64>,
    dates: Vec<(usize, DatePart)>,
    /// TermSet that stand side by side.
    pairs: Vec<(usize, usize)>,
    /// Two words that stand side by side, written as one, and their terms.
    joined: Vec<(String, TermSet)>,
    /// Words that keep company with a term, sorted, and how much.
    companions: Vec<(String, usize, f64)>,
    initials: Initials,
    asks_when: bool,
}

impl WeightedQuery {
    /// For these terms of `cue`, at most 32, each with its [`idf`] and the number of records that have it.
    pub(crate) fn new(cue: &str, terms: Vec<(QueryTerm, f64, usize)>) -> WeightedQuery {
        let sum = |least: usize| terms.iter().filter(|(_, _, had)| *had >= least).map(|(_, idf, _)| idf).sum::<f64>();
        // Those that no record has share nothing out, unless there are no others.
        let known = if sum(1) > 0.0 { sum(1) } else { sum(0) };
        let shares = terms.iter().map(|(_, idf, _)| if known > 0.0 { idf / known } else { 0.0 }).collect();
        let terms: Vec<QueryTerm> = terms.into_iter().map(|(asked, _, _)| asked).collect();
        let named = |(at, asked): (usize, &QueryTerm)| DatePart::named(&asked.word).map(|part| (at, part));
        let mut question = WeightedQuery {
            dates: terms.iter().enumerate().filter_map(named).collect(),
            initials: Initials::of(&terms),
            terms,
            shares,
            pairs: Vec::new(),
            joined: Vec::new(),
            companions: Vec::new(),
            asks_when: false,
        };
        let mut before: Option<(String, Option<usize>)> = None;
        tokenizer::for_each_token(cue, |mut token| {
            question.asks_when |= features::asks_when(token.word);
            let (word, kind) = (token.word, token.kind);
            let term = token.term();
            let at = question.terms.iter().position(|asked| asked.term == term);
            if let (Some((other, Some(a))), Some(b)) = (&before, at) {
                question.pairs.push((*a, b));
                if kind == TokenKind::Word {
                    let joined = format!("{other}{word}");
                    question.initials.add(&joined);
                    question.joined.push((joined, TermSet::only(*a).union(TermSet::only(b))));
                }
            }
            before = Some((word.to_owned(), at));
        });
        question
    }

    /// Listens for words that keep company with its terms, given by the term's place, too.
    pub(crate) fn with_companions(mut self, mut companions: Vec<(String, usize, f64)>) -> WeightedQuery {
        companions.iter().for_each(|(word, _, _)| self.initials.add(word));
        sort::sort_by(&mut companions, |a, b| a.0.cmp(&b.0));
        self.companions = companions;
        self
    }

    /// How many terms it has.
    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Reads a record.
    pub(crate) fn read(&self, text: &str, cue: &str) -> TextMatch {
        let mut reading =
            TextMatch { counts: vec![0.0; self.terms.len()], asks: features::asks(text), ..TextMatch::default() };
        if !self.companions.is_empty() {
            reading.company = vec![0.0; self.terms.len()];
        }
        let mut before = Before::default();
        tokenizer::for_each_token(text, |mut token| {
            reading.length += 1.0;
            reading.tells_time |= self.asks_when && features::tells_time(token.word);
            self.as_second(&before, token.word, &mut reading);
            before.word.clear();
            if !self.initials.may_begin(token.word) {
                before.seen = TermSet::default();
                return;
            }
            self.as_both(token.word, &mut reading);
            // Only a word that begins as one of the question's can be its first part.
            if token.kind == TokenKind::Word {
                before.word.push_str(token.word);
            }
            let seen = self.count(&mut token, 1.0, &mut reading);
            self.beside(&before, seen, &mut reading);
            before.seen = seen;
        });
        tokenizer::for_each_token(cue, |mut token| {
            if self.initials.may_begin(token.word) {
                self.count(&mut token, CUE_WEIGHT, &mut reading);
            }
        });
        reading.kin = reading.kin.without(reading.has);
        reading.joined = reading.joined.without(reading.has);
        if let Some(label) = features::label(text) {
            tokenizer::for_each_token(label, |mut token| {
                reading.speaker = reading.speaker.union(self.equal(token.term()))
            });
        }
        reading
    }

    /// Counts a token that may begin as a term does; the terms that it is.
    fn count(&self, token: &mut Token<'_>, weight: f64, reading: &mut TextMatch) -> TermSet {
        let mut seen = TermSet::default();
        let term = token.term();
        for (at, asked) in self.terms.iter().enumerate() {
            let is_there = match asked.look {
                MatchMode::Exact => asked.term == term,
                MatchMode::Prefix => term.starts_with(&asked.term),
            };
            if is_there {
                reading.counts[at] += weight;
                seen = seen.union(TermSet::only(at));
            } else if are_kin(&asked.term, term) {
                reading.kin = reading.kin.union(TermSet::only(at));
            }
        }
        let first = self.companions.partition_point(|(word, _, _)| word.as_str() < term);
        for (_, at, company) in self.companions[first..].iter().take_while(|(word, _, _)| word == term) {
            reading.company[*at] = reading.company[*at].max(*company);
        }
        reading.has = reading.has.union(seen);
        seen
    }

    /// Does this token stand beside the one before as two terms of the question do?
    fn beside(&self, before: &Before, seen: TermSet, reading: &mut TextMatch) {
        if before.seen.is_empty() || seen.is_empty() || reading.pairs == PAIRS {
            return;
        }
        let is_pair = self.pairs.iter().any(|&(a, b)| before.seen.has(a) && seen.has(b));
        reading.pairs += u32::from(is_pair);
    }

    /// Is this word two of the question's?
    fn as_both(&self, word: &str, reading: &mut TextMatch) {
        for (_, terms) in self.joined.iter().filter(|(joined, _)| joined == word) {
            reading.joined = reading.joined.union(*terms);
        }
    }

    /// Is this word, with the one before, one of the question's?
    fn as_second(&self, before: &Before, word: &str, reading: &mut TextMatch) {
        if before.word.is_empty() {
            return;
        }
        let is_both = |asked: &QueryTerm| {
            asked.word.len() == before.word.len() + word.len()
                && asked.word.starts_with(&before.word)
                && asked.word.ends_with(word)
        };
        for (at, _) in self.terms.iter().enumerate().filter(|(_, asked)| is_both(asked)) {
            reading.joined = reading.joined.union(TermSet::only(at));
        }
    }

    fn equal(&self, term: &str) -> TermSet {
        let at = |terms: TermSet, (at, asked): (usize, &QueryTerm)| match asked.term == term {
            true => terms.union(TermSet::only(at)),
            false => terms,
        };
        self.terms.iter().enumerate().fold(TermSet::default(), at)
    }

    /// The terms that name a part of this date.
    pub(crate) fn dated(&self, day: CalendarDay) -> TermSet {
        let named = self.dates.iter().filter(|(_, part)| part.is_of(day));
        named.fold(TermSet::default(), |terms, (at, _)| terms.union(TermSet::only(*at)))
    }

    /// What these terms share of the question.
    pub(crate) fn share(&self, terms: TermSet) -> f64 {
        self.shares.iter().enumerate().filter(|(at, _)| terms.has(*at)).map(|(_, share)| share).sum()
    }

    /// The share of the question whose companions a text has without it, each as much as they keep company.
    pub(crate) fn company(&self, reading: &TextMatch) -> f64 {
        let missing = reading.company.iter().enumerate().filter(|(at, _)| !reading.has.has(*at));
        missing.map(|(at, company)| company * self.shares[at]).sum::<f64>().min(MOST_COMPANY)
    }

    /// BM25 of a text among texts of this `average` length, for the terms but `without`.
    pub(crate) fn bm25(&self, reading: &TextMatch, average: f64, without: TermSet) -> f64 {
        let slowness = K1 * (1.0 - B + B * reading.length / average);
        let weigh = |(at, count): (usize, &f64)| match without.has(at) {
            false if *count > 0.0 => self.shares[at] * count * (K1 + 1.0) / (count + slowness),
            _ => 0.0,
        };
        reading.counts.iter().enumerate().map(weigh).sum()
    }
}

/// What stood before a token.
#[derive(Default)]
struct Before {
    seen: TermSet,
    /// Empty where it is no beginning of a word of the question.
    word: String,
}

/// How the words of a question and their irregular forms begin: by the first two letters, a bit for each
/// third one. A word that begins otherwise has no stem in common with any of them. No rule of endings
/// reaches further than to write y as i, but in short words, of which two letters decide.
#[derive(Debug)]
struct Initials(Box<[u32; 26 * 26]>);

/// From this length on a word's third letter is its stem's.
const LONG: usize = 6;

impl Initials {
    fn of(terms: &[QueryTerm]) -> Initials {
        let mut initials = Initials(Box::new([0; 26 * 26]));
        for asked in terms {
            initials.add(&asked.word);
            initials.add(&asked.term);
        }
        for (form, base) in irregular_forms::forms() {
            if terms.iter().any(|asked| asked.term.starts_with(&base[..base.len().min(2)])) {
                initials.add(form);
            }
        }
        initials
    }

    fn add(&mut self, word: &str) {
        match *word.as_bytes() {
            [first @ b'a'..=b'z'] => self.0[row(first, b'a')..=row(first, b'z')].fill(u32::MAX),
            [first @ b'a'..=b'z', second @ b'a'..=b'z'] => self.0[row(first, second)] = u32::MAX,
            [first @ b'a'..=b'z', second @ b'a'..=b'z', third, ..] => self.0[row(first, second)] |= bit(third),
            _ => {}
        }
    }

    /// True of every word that does not begin with two plain letters.
    fn may_begin(&self, word: &str) -> bool {
        match *word.as_bytes() {
            [first @ b'a'..=b'z', second @ b'a'..=b'z', third, ..] if word.len() >= LONG => {
                self.0[row(first, second)] & bit(third) != 0
            }
            [first @ b'a'..=b'z', second @ b'a'..=b'z', ..] => self.0[row(first, second)] != 0,
            _ => true,
        }
    }
}

fn row(first: u8, second: u8) -> usize {
    usize::from(first - b'a') * 26 + usize::from(second - b'a')
}

/// A third letter's bit; one for all that are no plain letters.
fn bit(third: u8) -> u32 {
    match third {
        b'y' => bit(b'i'),
        b'a'..=b'z' => 1 << (third - b'a'),
        _ => 1 << 26,
    }
}

/// Beginnings that kin of a term may have, the longest first: all of it down to two thirds.
pub(crate) fn beginnings(term: &str) -> impl Iterator<Item = &str> {
    let chars = term.chars().count();
    let least = if has_digit(term) { usize::MAX } else { KIN_CHARS.max((chars * 2).div_ceil(3)) };
    let ends = term.char_indices().rev().map(|(at, c)| at + c.len_utf8()).zip((least..=chars).rev());
    ends.map(|(end, _)| &term[..end])
}

/// Do two different words begin alike? Names with numbers in them (*room12*) are told apart by them.
fn are_kin(a: &str, b: &str) -> bool {
    let alike = a.chars().zip(b.chars()).take(KIN_CHARS).take_while(|(a, b)| a == b).count();
    alike == KIN_CHARS && !has_digit(a) && !has_digit(b)
}

fn has_digit(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_has_a_stem_of_the_question_is_always_looked_at() {
        let words: Vec<String> = include_str!("../../../tests/fixtures/words.txt")
            .split(|c: char| !c.is_ascii_alphabetic())
            .map(str::to_ascii_lowercase)
            .chain(
                irregular_forms::forms()
                    .flat_map(|(form, base)| [form.to_owned(), base.to_owned(), format!("{base}ing")]),
            )
            .chain(
                [
                    "eyes", "eyed", "eyeing", "ties", "tying", "dyed", "skies", "skiing", "ays", "flies", "flying",
                    "paying", "uses", "using",
                ]
                .map(str::to_owned),
            )
            .filter(|word| !word.is_empty())
            .collect();
        let stems: Vec<String> = words.iter().map(|word| tokenizer::index_terms(word)).collect();
        for (asked, stem) in words.iter().zip(&stems) {
            let initials = Initials::of(&tokenizer::query_terms(asked));
            for (word, _) in words.iter().zip(&stems).filter(|(_, other)| *other == stem && !stem.is_empty()) {
                assert!(initials.may_begin(word), "{asked} {word}");
            }
        }
    }

    #[test]
    fn a_term_begins_in_two_thirds_of_it_and_five_letters_at_least() {
        for (term, want) in [
            ("haustur", &["haustur", "haustu", "haust"][..]),
            ("schlüssel", &["schlüssel", "schlüsse", "schlüss", "schlüs"]),
            ("кошка", &["кошка"]),
            ("tree", &[]),
            ("room12345", &[]),
            ("", &[]),
        ] {
            assert_eq!(beginnings(term).collect::<Vec<_>>(), want, "{term}");
        }
    }

    #[test]
    fn rarity_is_over_zero_and_falls() {
        let all: Vec<f64> = [0.0, 1.0, 10.0, 99.0, 100.0].iter().map(|&f| idf(100.0, f)).collect();
        assert!(all.windows(2).all(|two| two[0] > two[1]), "{all:?}");
        assert!(all.iter().all(|idf| *idf > 0.0), "{all:?}");
        // An estimate that is too high.
        assert_eq!(idf(100.0, 150.0), idf(100.0, 100.0));
    }
}
