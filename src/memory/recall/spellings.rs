//! Candidates for other spellings of a cue's words: adjacent words as one (*road trip*, *roadtrip*), one word as several,
//! a hash by its beginning, a telephone number in its national or international form.
//!
//! The index has the parts and joined forms that a text's own marks show. What only the cue shows is looked up here;
//! `query.rs` then reads from the texts which records have it.

use std::ops::RangeInclusive;

use crate::memory::recall::postings::{self, PostingList, RARE_RECORD_COUNT};
use crate::memory::recall::scoped_index::ScopedIndex;
use crate::memory::store::error::StoreError;
use crate::memory::text::cue_terms::{self, MatchMode};
use crate::memory::text::phone_number;
use crate::memory::text::spelling::{digit_groups, hash_beginnings, is_hash, is_long_number};
use crate::memory::text::stemmer::stem;

/// Most records read for one spelling.
const MAX_SPELLING_COUNT: usize = 64;

/// Most terms of a cue whose adjacent words are tried as one, and whose rare words are split. In a longer one that is done
/// only if a word is in no record.
const SHORT_CUE_TERM_COUNT: usize = 3;

/// Most rare words of a cue that are split into several.
const MAX_SPLIT_TERM_COUNT: usize = 3;

/// The bytes of a word that is split. Picked: the look-ups grow with the square of the length.
const SPLIT_BYTES: RangeInclusive<usize> = 2..=24;

/// Most look-ups to split one word: about a millisecond.
const MAX_SPLIT_LOOKUP_COUNT: usize = 160;

/// Most ways to group the digits of a telephone number. Picked: people use few.
const MAX_GROUPING_COUNT: usize = 16;

/// Most patterns of one look-up.
const MAX_PATTERN_COUNT: usize = 64;

/// Returns the newest records that may have words of the cue in another spelling, each with its weight.
///
/// # Errors
/// Any [`StoreError`] of reading the index, except [`StoreError::Interrupted`].
pub(crate) fn spelling_matches(
    index: ScopedIndex<'_>,
    cue: &str,
    lists: &[PostingList],
) -> Result<Vec<(i64, f64)>, StoreError> {
    let mut matches = Vec::new();
    let mut add = |pattern: &str, weight: f64| -> Result<(), StoreError> {
        if pattern.is_empty() {
            return Ok(());
        }
        let (seqs, _) = postings::newest_matches(index, pattern, MAX_SPELLING_COUNT)?;
        matches.extend(seqs.into_iter().map(|seq| (seq, weight)));
        Ok(())
    };
    let is_short = lists.len() <= SHORT_CUE_TERM_COUNT;
    // A record with words of a longer cue is found by the others.
    let is_wanted = is_short || lists.iter().any(|list| list.seqs.is_empty());
    let joined = if is_wanted { cue_terms::joined_words(cue) } else { Vec::new() };
    if !joined.is_empty() {
        let patterns: Vec<String> = joined.iter().map(|one| exact(&one.term)).collect();
        let weight = lists.iter().map(|list| list.idf).fold(0.0, f64::max);
        add(&patterns.join(" OR "), weight)?;
    }
    for (number, _) in phone_number::numbers_of(cue) {
        let weight = lists.iter().map(|list| list.idf).fold(0.0, f64::max);
        let patterns: Vec<String> = number.words().iter().map(|word| exact(word)).collect();
        for patterns in patterns.chunks(MAX_PATTERN_COUNT) {
            add(&patterns.join(" OR "), weight)?;
        }
        for form in number.national_forms() {
            add(&groupings(index, &form)?.join(" OR "), weight)?;
        }
    }
    for list in lists.iter().filter(|list| list.query_term.is_hash_part()) {
        let word = &list.query_term.word;
        add(&postings::pattern(word, MatchMode::Prefix), list.idf)?;
        if is_hash(word) {
            let beginnings: Vec<String> = hash_beginnings(word).map(|beginning| exact(&stemmed(beginning))).collect();
            add(&beginnings.join(" OR "), list.idf)?;
        }
    }
    for list in lists.iter().filter(|list| list.query_term.kind.is_piece() && !is_hash(&list.query_term.word)) {
        let word = &list.query_term.word;
        if let Some(groups) = digit_groups(word) {
            add(&all_of(groups.into_iter().map(str::to_owned)), list.idf)?;
        }
    }
    let rare_count = if is_short { RARE_RECORD_COUNT } else { 1 };
    let is_rare = |list: &&PostingList| {
        let term = &list.query_term;
        let is_split = term.mode == MatchMode::Exact && term.kind.is_piece() && SPLIT_BYTES.contains(&term.word.len());
        list.seqs.len() < rare_count && is_split && (!is_hash(&term.word) || is_long_number(&term.word))
    };
    for list in lists.iter().filter(is_rare).take(MAX_SPLIT_TERM_COUNT) {
        let word = &list.query_term.word;
        add(&pairs(word).join(" OR "), list.idf)?;
        if list.seqs.is_empty()
            && let Some(pieces) = split(index, word)?
        {
            add(&all_of(pieces.into_iter()), list.idf)?;
        }
    }
    Ok(matches)
}

fn exact(term: &str) -> String {
    postings::pattern(term, MatchMode::Exact)
}

fn stemmed(word: &str) -> String {
    let mut word = word.to_owned();
    stem(&mut word);
    word
}

fn all_of(terms: impl Iterator<Item = String>) -> String {
    terms.map(|term| exact(&term)).collect::<Vec<_>>().join(" AND ")
}

/// Returns the patterns of the ways to split a word into two.
fn pairs(word: &str) -> Vec<String> {
    // A single letter only behind digits, or before one: 4K, 5G.
    let is_word =
        |at: usize| word[at..].chars().nth(1).is_some() || (at == 1 || word.as_bytes()[at - 1].is_ascii_digit());
    let starts = word.char_indices().skip(1).map(|(at, _)| at).filter(|&at| is_word(at));
    let pattern = |at: usize| format!("({})", all_of([stemmed(&word[..at]), stemmed(&word[at..])].into_iter()));
    starts.map(pattern).collect()
}

/// Returns the patterns of the ways to write a number in groups of two to six digits that the index has.
fn groupings(index: ScopedIndex<'_>, digits: &str) -> Result<Vec<String>, StoreError> {
    // For each position, the ways to get there.
    let mut ways: Vec<Vec<Vec<&str>>> = vec![Vec::new(); digits.len() + 1];
    ways[0].push(Vec::new());
    for from in 0..digits.len() {
        if ways[from].is_empty() {
            continue;
        }
        for to in from + 2..=digits.len().min(from + 6) {
            let group = &digits[from..to];
            if postings::newest_matches(index, &exact(group), 1)?.0.is_empty() {
                continue;
            }
            for way in ways[from].clone() {
                if ways[to].len() < MAX_GROUPING_COUNT {
                    ways[to].push([&way[..], &[group]].concat());
                }
            }
        }
    }
    let pattern = |way: Vec<&str>| format!("({})", all_of(way.into_iter().map(str::to_owned)));
    Ok(ways.pop().unwrap_or_default().into_iter().map(pattern).collect())
}

/// Returns the fewest terms of the index that a word consists of; `None` if there are none.
fn split(index: ScopedIndex<'_>, word: &str) -> Result<Option<Vec<String>>, StoreError> {
    let ends: Vec<usize> = word.char_indices().map(|(at, _)| at).chain([word.len()]).collect();
    let mut lookups = 0;
    let mut known = |from: usize, to: usize| -> Result<Option<String>, StoreError> {
        if lookups == MAX_SPLIT_LOOKUP_COUNT || to - from < 2 {
            return Ok(None);
        }
        lookups += 1;
        let piece = stemmed(&word[ends[from]..ends[to]]);
        let (seqs, _) = postings::newest_matches(index, &exact(&piece), 1)?;
        Ok((!seqs.is_empty()).then_some(piece))
    };
    let last = ends.len() - 1;
    // For each position, the fewest known pieces that lead to it.
    let mut reached: Vec<Option<Vec<String>>> = vec![None; ends.len()];
    reached[0] = Some(Vec::new());
    for from in 0..last {
        let Some(pieces) = reached[from].clone() else { continue };
        for (to, best) in reached.iter_mut().enumerate().skip(from + 1) {
            let is_shorter = best.as_ref().is_none_or(|other| other.len() > pieces.len() + 1);
            if (from, to) != (0, last)
                && is_shorter
                && let Some(piece) = known(from, to)?
            {
                *best = Some([&pieces[..], &[piece]].concat());
            }
        }
    }
    Ok(reached[last].take())
}
