//! Query analysis: the weighted terms of a cue, and how one text matches them.
//!
//! A [`WeightedQuery`] is built once and then reads the text of each candidate, so it is built for fast reading: a word
//! whose first letters begin no term is rejected before it is stemmed. It knows nothing of other records; `rank.rs`
//! adds what the neighbors of a record contribute.
//!
//! Pure. BM25 after Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::memory::model::time::UnixMicros;
use crate::memory::recall::initials::Initials;
use crate::memory::recall::text_match::{MAX_NEW_WORD_COUNT, MAX_PAIR_COUNT, MAX_TERM_COUNT, TermSet, TextMatch};
use crate::memory::recall::word_match::{WordMatch, WordMatches};
use crate::memory::recall::word_prefix::share_prefix;
use crate::memory::text::cue_terms::{self, MatchMode, QueryTerm};
use crate::memory::text::features::{self, DatePart};
use crate::memory::text::phone_number::{self, PhoneNumber};
use crate::memory::text::spelling;
use crate::memory::text::stop_words::is_stop_word;
use crate::memory::text::tokenizer::{self, Token, TokenKind};
use crate::sort;

/// BM25's usual constants: how soon repetition of a term saturates, and how much the text's length counts.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// The bytes of a cue in which the order of its words counts. Picked: a longer one is a document.
const MAX_ORDERED_CUE_BYTES: usize = 64 << 10;

/// Most words of a query whose plain words are compared letter for letter, too: it asks for a name.
const SHORT_QUERY_TERM_COUNT: usize = 2;

/// How exactly a text has the word that a cue asks for as a person's name, if it has it in small letters.
const COMMON_NOUN_SHARE: f64 = 0.2;

/// The same for a small word of another cue that the text has with a capital.
const NAME_SHARE: f64 = 0.9;

/// Weight of a term in a record's cue, where one in its text has 1.
const CUE_WEIGHT: f64 = 0.5;

/// Most that co-occurring terms add, as a share of the query: they are weaker evidence than the terms themselves.
const MAX_ASSOCIATION: f64 = 0.3;

/// Returns BM25's inverse document frequency of a term that `frequency` of `total` records have, in the form that stays
/// over 0 for the most common terms.
pub(crate) fn idf(total: f64, frequency: f64) -> f64 {
    let frequency = frequency.min(total);
    (1.0 + (total - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// A query. The shares of its terms are proportional to their rarity and sum to 1, so "the share of the query" is a
/// number from 0 to 1.
#[derive(Debug)]
pub(crate) struct WeightedQuery {
    /// The terms of the cue, then the further ones. A query has few terms: a linear search beats hashing every word of
    /// every text.
    terms: Vec<QueryTerm>,
    /// The number of terms of the cue.
    cue_term_count: usize,
    /// Each term's share of the query; 0 for a further term.
    shares: Vec<f64>,
    /// The share of each further term, beside the cue's.
    further: Vec<f64>,
    /// The largest share of the query that any one record has.
    pub(crate) known: f64,
    /// The terms of the identifiers in the cue.
    identifier: TermSet,
    /// The terms that name a part of a date.
    dates: Vec<(usize, DatePart)>,
    /// For each term, the terms of the words that follow it. As large as the terms are many, however long the cue is.
    followers: Vec<TermSet>,
    /// The terms of adjacent words written as one, and those of the words.
    joined: BTreeMap<String, TermSet>,
    /// Co-occurring terms, sorted, each with the term of the query and their association (NPMI, 0 to 1).
    cooccurring: Vec<(String, usize, f64)>,
    /// Words of the cue as they are written, if they have other characters than small letters; plain ones of a short cue
    /// also with a capital, as a name.
    spellings: Vec<(String, Option<String>)>,
    /// The cue asks for a person.
    asks_who: bool,
    /// The terms of long numbers.
    long_numbers: TermSet,
    /// The telephone numbers of the cue, each with its terms.
    phones: Vec<(PhoneNumber, TermSet)>,
    /// The terms that are names.
    names: TermSet,
    /// The terms that are runs of a word.
    runs: TermSet,
    initials: Initials,
    asks_when: bool,
    /// What the words of the texts that were read match.
    read_words: RefCell<WordMatches>,
}

impl WeightedQuery {
    /// Returns the query for these terms of `cue`, at most 32, each with its [`idf`] and the number of records that
    /// have it.
    pub(crate) fn new(cue: &str, terms: Vec<(QueryTerm, f64, usize)>) -> WeightedQuery {
        let sum = |least: usize| terms.iter().filter(|(_, _, had)| *had >= least).map(|(_, idf, _)| idf).sum::<f64>();
        // Terms that no record has are left out of the sum, unless there are no others.
        let known = if sum(1) > 0.0 { sum(1) } else { sum(0) };
        let shares = terms.iter().map(|(_, idf, _)| if known > 0.0 { idf / known } else { 0.0 }).collect();
        let terms: Vec<QueryTerm> = terms.into_iter().map(|(term, _, _)| term).collect();
        let is_long = |(_, term): &(usize, &QueryTerm)| spelling::is_long_number(&term.word);
        let long_numbers = terms.iter().enumerate().filter(is_long);
        let is_short = terms.iter().filter(|term| term.kind.is_written()).count() <= SHORT_QUERY_TERM_COUNT;
        let mut asks_who = false;
        if is_short {
            tokenizer::for_each_token(cue, |token| asks_who |= features::asks_who(token.word));
        }
        let is_name = |word: &str| {
            let word = word.to_ascii_lowercase();
            is_short
                && (asks_who || !features::tells_time(&word))
                && terms.iter().any(|term| term.word.eq_ignore_ascii_case(&word))
        };
        let with_name = |word: &str| {
            let is_small = word.bytes().all(|b| b.is_ascii_lowercase());
            (word.to_owned(), is_small.then(|| cue_terms::capitalized(word)))
        };
        let spellings = spelling::exact_spellings(cue, &is_name).into_iter().map(with_name).collect();
        let date = |(at, term): (usize, &QueryTerm)| DatePart::named(&term.word).map(|part| (at, part));
        let of_kind = |kind: TokenKind| {
            let all = terms.iter().enumerate().filter(|(_, term)| term.kind == kind);
            all.fold(TermSet::default(), |set, (at, _)| set.union(TermSet::only(at)))
        };
        let mut query = WeightedQuery {
            names: of_kind(TokenKind::Name),
            runs: of_kind(TokenKind::Run),
            long_numbers: long_numbers.fold(TermSet::default(), |set, (at, _)| set.union(TermSet::only(at))),
            dates: terms.iter().enumerate().filter_map(date).collect(),
            initials: Initials::of(&terms),
            cue_term_count: terms.len(),
            followers: vec![TermSet::default(); terms.len()],
            terms,
            shares,
            further: Vec::new(),
            known: 1.0,
            identifier: TermSet::default(),
            joined: BTreeMap::new(),
            cooccurring: Vec::new(),
            spellings,
            asks_who,
            phones: Vec::new(),
            asks_when: false,
            read_words: RefCell::default(),
        };
        let cue = cue_terms::first_bytes(cue, MAX_ORDERED_CUE_BYTES);
        for (number, place) in phone_number::numbers_of(cue) {
            let mut terms = TermSet::default();
            tokenizer::for_each_token(&cue[place], |mut token| {
                query.position(token.term()).into_iter().for_each(|at| terms.add(at));
            });
            query.phones.push((number, terms));
        }
        let mut previous: Option<usize> = None;
        tokenizer::for_each_token(cue, |mut token| {
            query.asks_when |= features::asks_when(token.word);
            let at = query.position(token.term());
            if let (Some(a), Some(b)) = (previous, at) {
                query.followers[a] = query.followers[a].union(TermSet::only(b));
            }
            previous = at;
        });
        for one in cue_terms::joined_words(cue) {
            let positions = one.terms.iter().filter_map(|term| query.position(term));
            let terms = positions.fold(TermSet::default(), |terms, at| terms.union(TermSet::only(at)));
            if !terms.is_empty() {
                query.initials.add(&one.term);
                let all = query.joined.entry(one.term).or_default();
                *all = all.union(terms);
            }
        }
        query
    }

    /// Adds further terms that a record may have instead of the cue's, each with its rarity as a share of the cue's, and
    /// the largest share of the cue that any one record has. Further terms count only in
    /// [`WeightedQuery::further_bm25`], and only whole words match them. The shares of the cue's terms then sum to 1 whether
    /// a record has them or not: a further term replaces one that no record has.
    pub(crate) fn with_further(mut self, further: Vec<(QueryTerm, f64)>, known: f64) -> WeightedQuery {
        if further.is_empty() {
            return self;
        }
        self.known = known;
        // Beside further words a plain word of the question is one guess of many.
        self.spellings.retain(|(own, _)| !spelling::is_plain(own));
        let sum = self.shares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        self.shares.iter_mut().for_each(|share| *share /= sum);
        for (term, share) in further {
            self.initials.add_term(&term);
            self.terms.push(term);
            self.shares.push(0.0);
            self.further.push(share);
        }
        self
    }

    /// Marks the terms of the cue that are among those of its identifiers.
    pub(crate) fn with_identifier(mut self, terms: &[QueryTerm]) -> WeightedQuery {
        let is_part = |own: &QueryTerm| terms.iter().any(|part| part.term == own.term);
        let parts = self.cue_terms().iter().enumerate().filter(|(_, own)| is_part(own));
        self.identifier = parts.fold(TermSet::default(), |set, (at, _)| set.union(TermSet::only(at)));
        self
    }

    /// Returns true if the cue has an identifier and the text has all of it.
    pub(crate) fn has_identifier(&self, found: &TextMatch) -> bool {
        !self.identifier.is_empty() && self.identifier.without(found.has).is_empty()
    }

    /// Adds co-occurring terms, each with the position of the query's term and their association.
    pub(crate) fn with_cooccurring(mut self, mut cooccurring: Vec<(String, usize, f64)>) -> WeightedQuery {
        cooccurring.iter().for_each(|(term, _, _)| self.initials.add(term));
        sort::sort_by(&mut cooccurring, |a, b| a.0.cmp(&b.0));
        self.cooccurring = cooccurring;
        self
    }

    fn position(&self, term: &str) -> Option<usize> {
        self.terms.iter().position(|known| known.term == term)
    }

    /// Returns the number of terms, further ones included.
    pub(crate) fn len(&self) -> usize {
        self.terms.len()
    }

    /// Returns true if one of these terms is a term of the cue.
    fn is_of_cue(&self, terms: TermSet) -> bool {
        terms.has_of_first(self.cue_term_count)
    }

    /// Returns the terms of the cue.
    fn cue_terms(&self) -> &[QueryTerm] {
        &self.terms[..self.cue_term_count]
    }

    /// Matches a record's text and cue against the query.
    pub(crate) fn read(&self, text: &str, cue: &str) -> TextMatch {
        let mut found =
            TextMatch { counts: vec![0.0; self.terms.len()], asks: features::asks(text), ..TextMatch::default() };
        if !self.cooccurring.is_empty() {
            found.associations = vec![0.0; self.terms.len()];
        }
        let label = features::label(text);
        let mut label_words = 0.0;
        if let Some(label) = label {
            tokenizer::for_each_token(label, |mut token| {
                label_words += 1.0;
                found.speaker = found.speaker.union(self.equal_to(token.term()));
            });
        }
        let mut previous =
            PreviousToken { terms: TermSet::default(), progress: [0; MAX_TERM_COUNT], is_splitting: false };
        let wants_all_words = found.asks || self.asks_when;
        tokenizer::for_each_spelling(text, |mut token| {
            let may_begin = self.initials.may_begin(token.word);
            if !may_begin && token.kind == TokenKind::Word && !wants_all_words && !previous.is_splitting {
                // Most words of most texts.
                found.length += 1.0;
                found.is_word_found = false;
                previous.terms = TermSet::default();
                return;
            }
            let is_written = token.kind.is_written();
            if is_written {
                found.length += 1.0;
                found.tells_time |= self.asks_when && features::tells_time(token.word);
            }
            // The last cluster of a run is also in the pair before it.
            let may_be_new = found.asks
                && is_written
                && found.length > label_words
                && found.new_words < MAX_NEW_WORD_COUNT
                && token.kind != TokenKind::Last;
            let word_match = may_begin.then(|| self.match_word(&mut token));
            if token.kind.is_piece() {
                match &word_match {
                    _ if previous.is_splitting => self.match_split(&mut previous, &mut token, &mut found),
                    Some(word_match) => previous.begin(word_match.begun, token.word.len()),
                    None => {}
                }
            }
            let Some(word_match) = word_match else {
                if token.kind.is_piece() {
                    previous.terms = TermSet::default();
                }
                if token.kind == TokenKind::Word {
                    found.is_word_found = false;
                }
                found.new_words += u32::from(may_be_new && !is_stop_word(token.word));
                return;
            };
            let terms = self.count(&token, word_match, 1.0, &mut found);
            if found.before_identifier.is_none() && self.has_identifier(&found) {
                let own_words = label_words + f64::from(self.identifier.len());
                found.before_identifier = Some((found.length - own_words).max(0.0));
            }
            found.new_words += u32::from(may_be_new && !self.is_of_cue(terms) && !is_stop_word(token.word));
            if token.kind.is_piece() {
                self.count_pair(&previous, terms, &mut found);
                previous.terms = terms;
            }
        });
        tokenizer::for_each_spelling(cue, |mut token| {
            if self.initials.may_begin(token.word) {
                let word_match = self.match_word(&mut token);
                self.count(&token, word_match, CUE_WEIGHT, &mut found);
            }
        });
        let exactness = |(own, name): &(String, Option<String>)| {
            let share = spelling::exactness(text, own);
            let named = name.as_ref().map_or(0.0, |name| spelling::exactness(text, name));
            // Who is mark? Neither a mark nor one who marks.
            match (self.asks_who, name) {
                (true, Some(_)) => named.max(share * COMMON_NOUN_SHARE),
                _ => share.max(named * NAME_SHARE),
            }
        };
        let exact: f64 = self.spellings.iter().map(exactness).sum();
        found.exact = exact / self.spellings.len().max(1) as f64;
        for (number, terms) in &self.phones {
            if !terms.without(found.written).is_empty() && phone_number::has_number(text, number) {
                found.respelled = found.respelled.union(*terms);
                found.has = found.has.union(*terms);
            }
        }
        found.prefix_match = found.prefix_match.without(found.has);
        found.joined = found.joined.without(found.written);
        found.parts = found.parts.without(found.written.union(found.joined));
        found.respelled = found.respelled.without(found.written.union(found.joined).union(found.parts));
        found
    }

    /// Returns what a token that [`Initials::may_begin`] admits matches by its word.
    fn match_word(&self, token: &mut Token<'_>) -> WordMatch {
        match token.kind {
            TokenKind::Word => self.read_words.borrow_mut().of(token.word, || self.compare(token)),
            _ => self.compare(token),
        }
    }

    /// Compares a token's word with the query's.
    fn compare(&self, token: &mut Token<'_>) -> WordMatch {
        let mut found = WordMatch::default();
        let (kind, word) = (token.kind, token.word);
        let term = token.term();
        for (at, own) in self.terms.iter().enumerate() {
            let is_equal = match own.mode {
                MatchMode::Exact => own.term == term,
                MatchMode::Prefix => term.starts_with(&own.term),
            };
            if is_equal {
                found.equal.add(at);
            } else if own.is_hash_part() && spelling::is_hash_and_beginning(&own.word, word) {
                found.hashes.add(at);
            } else if at < self.cue_term_count && kind.is_written() && share_prefix(&own.term, term) {
                found.prefix.add(at);
            }
            if at < self.cue_term_count && own.word.len() > word.len() && own.word.starts_with(word) {
                found.begun.add(at);
            }
        }
        if kind.is_written() || kind == TokenKind::Joined {
            found.joined = self.joined.get(term).copied().unwrap_or_default();
        }
        let first = self.cooccurring.partition_point(|(other, _, _)| other.as_str() < term);
        let count = self.cooccurring[first..].iter().take_while(|(other, _, _)| other == term).count();
        WordMatch { cooccurring: (first as u32, count as u32), ..found }
    }

    /// Counts a token, given what its word matches. Returns the terms that it matches.
    fn count(&self, token: &Token<'_>, word_match: WordMatch, weight: f64, found: &mut TextMatch) -> TermSet {
        let WordMatch { mut equal, mut hashes, mut prefix, .. } = word_match;
        let kind = token.kind;
        if kind == TokenKind::Word && !self.names.is_empty() {
            let names = self.names.positions().filter(|at| self.terms[*at].is_named(token));
            equal = names.fold(equal, |equal, at| equal.union(TermSet::only(at)));
            (hashes, prefix) = (hashes.without(equal), prefix.without(equal));
        }
        // Python3 and Python2 have a run in common, and are two names.
        if kind == TokenKind::Run && !found.is_word_found {
            (equal, hashes) = (equal.without(self.runs), hashes.without(self.runs));
        }
        let matched = equal.union(hashes);
        for at in matched.positions() {
            found.counts[at] += weight;
            found.spelling(self.terms[at].kind, kind, equal.has(at)).add(at);
        }
        found.prefix_match = found.prefix_match.union(prefix);
        found.joined = found.joined.union(word_match.joined);
        found.has = found.has.union(word_match.joined).union(matched);
        let (first, count) = word_match.cooccurring;
        for (_, at, association) in &self.cooccurring[first as usize..][..count as usize] {
            found.associations[*at] = found.associations[*at].max(*association);
        }
        if kind == TokenKind::Word {
            found.is_word_found = !matched.is_empty();
        }
        matched
    }

    /// Counts the previous token and this one if two terms of the query are adjacent in the same order.
    fn count_pair(&self, previous: &PreviousToken, terms: TermSet, found: &mut TextMatch) {
        if previous.terms.is_empty() || terms.is_empty() || found.pairs == MAX_PAIR_COUNT {
            return;
        }
        let is_pair =
            self.followers.iter().enumerate().any(|(a, followers)| previous.terms.has(a) && followers.meets(terms));
        found.pairs += u32::from(is_pair);
    }

    /// Adds each term whose word the last tokens and this one make when they are joined.
    fn match_split(&self, previous: &mut PreviousToken, token: &mut Token<'_>, found: &mut TextMatch) {
        previous.is_splitting = false;
        for (at, own) in self.cue_terms().iter().enumerate() {
            let from = usize::from(previous.progress[at]);
            let word = own.word.as_bytes();
            let piece = token.word.as_bytes();
            let is_long_number = self.long_numbers.has(at);
            let may_join = |from: usize| is_long_number || spelling::may_join(&own.word[..from], token.word);
            let ends =
                from > 0 && may_join(from) && (&word[from..] == piece || own.term.get(from..) == Some(token.term()));
            if ends {
                found.joined = found.joined.union(TermSet::only(at));
                found.has = found.has.union(TermSet::only(at));
            }
            let starts_at = |from: usize| {
                word.len() > from + piece.len() && word[from..].starts_with(piece) && (from == 0 || may_join(from))
            };
            let progress = match () {
                () if !ends && from > 0 && starts_at(from) => from + piece.len(),
                () if starts_at(0) => piece.len(),
                () => 0,
            };
            previous.progress[at] = u8::try_from(progress).unwrap_or(0);
            previous.is_splitting |= previous.progress[at] > 0;
        }
    }

    fn equal_to(&self, term: &str) -> TermSet {
        let at = |terms: TermSet, (at, own): (usize, &QueryTerm)| match own.term == term {
            true => terms.union(TermSet::only(at)),
            false => terms,
        };
        self.cue_terms().iter().enumerate().fold(TermSet::default(), at)
    }

    /// Returns the terms that name a part of the date of this time.
    pub(crate) fn dated(&self, said: UnixMicros) -> TermSet {
        if self.dates.is_empty() {
            return TermSet::default();
        }
        let day = said.day();
        let named = self.dates.iter().filter(|(_, part)| part.is_of(day));
        named.fold(TermSet::default(), |terms, (at, _)| terms.union(TermSet::only(*at)))
    }

    /// Returns the share of the query that these terms are.
    pub(crate) fn share(&self, terms: TermSet) -> f64 {
        if terms.is_empty() {
            return 0.0;
        }
        terms.positions().map(|at| self.shares[at]).sum()
    }

    /// Returns the share of the query that a text has by co-occurring terms only, each share multiplied by the
    /// association; at most [`MAX_ASSOCIATION`].
    pub(crate) fn association(&self, found: &TextMatch) -> f64 {
        let missing = found.associations.iter().enumerate().filter(|(at, _)| !found.has.has(*at));
        missing.map(|(at, association)| association * self.shares[at]).sum::<f64>().min(MAX_ASSOCIATION)
    }

    /// Returns the share of the query that its words of times are.
    pub(crate) fn time_share(&self) -> f64 {
        let is_time = |own: &QueryTerm| features::tells_time(&own.word) || own.word.bytes().all(|b| b.is_ascii_digit());
        let all = self.cue_terms().iter().zip(&self.shares);
        all.filter(|(own, _)| is_time(own)).map(|(_, share)| share).sum()
    }

    /// Returns BM25 of a text among texts of this `average` length in words, for all terms but `without`.
    pub(crate) fn bm25(&self, found: &TextMatch, average: f64, without: TermSet) -> f64 {
        let saturation = K1 * (1.0 - B + B * found.length / average);
        let weigh = |(at, count): (usize, &f64)| match without.has(at) {
            false if *count > 0.0 => self.shares[at] * count * (K1 + 1.0) / (count + saturation),
            _ => 0.0,
        };
        found.counts.iter().enumerate().map(weigh).sum()
    }

    /// Returns BM25 of a text for the further terms only, with full length normalization (b = 1). Assistants guess these
    /// words, so a long text has some of them by chance; one that is about them has them densely.
    pub(crate) fn further_bm25(&self, found: &TextMatch, average: f64) -> f64 {
        dense_bm25(&found.counts[self.cue_term_count..], &self.further, found.length / average)
    }

    /// Returns BM25 of a text for the terms of the cue, with full length normalization (b = 1).
    pub(crate) fn dense_bm25(&self, found: &TextMatch, average: f64) -> f64 {
        dense_bm25(&found.counts[..self.cue_term_count], &self.shares, found.length / average)
    }
}

fn dense_bm25(counts: &[f64], shares: &[f64], length: f64) -> f64 {
    let weigh = |(count, share): (&f64, &f64)| share * count * (K1 + 1.0) / (count + K1 * length);
    counts.iter().zip(shares).filter(|(count, _)| **count > 0.0).map(weigh).sum()
}

/// What was read before the current token.
struct PreviousToken {
    /// The terms that the last token matches.
    terms: TermSet,
    /// For each term, the bytes of its word that the last tokens make when they are joined.
    progress: [u8; MAX_TERM_COUNT],
    /// Some term has progress.
    is_splitting: bool,
}

impl PreviousToken {
    /// Notes the terms that a word of this length begins, when there was no progress.
    fn begin(&mut self, begun: TermSet, length: usize) {
        for at in begun.positions() {
            self.progress[at] = u8::try_from(length).unwrap_or(0);
            self.is_splitting |= self.progress[at] > 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idf_is_positive_and_falls_with_frequency() {
        let all: Vec<f64> = [0.0, 1.0, 10.0, 99.0, 100.0].iter().map(|&f| idf(100.0, f)).collect();
        assert!(all.windows(2).all(|two| two[0] > two[1]), "{all:?}");
        assert!(all.iter().all(|idf| *idf > 0.0), "{all:?}");
        // An estimated frequency may exceed the total.
        assert_eq!(idf(100.0, 150.0), idf(100.0, 100.0));
    }
}
