//! Posting lists: reads the newest records of each query term from the full-text index.
//!
//! Each list is bounded, and so are all lists together, for a store of any size.

use std::cmp::Reverse;

use crate::memory::recall::query::idf;
use crate::memory::recall::scoped_index::{Completion, MIN_TERM_POSTING_COUNT, ScopedIndex};
use crate::memory::recall::word_prefix::prefixes;
use crate::memory::store::error::StoreError;
use crate::memory::text::cue_terms::{CueTerms, MatchMode, QueryTerm};
use crate::memory::text::phrase::{PhraseMatch, QuotedPhrase};
use crate::memory::text::stemmer::stem;
use crate::memory::text::tokenizer::TokenKind;
use crate::sort;

/// Least candidates whose texts are read and scored; a larger limit raises it.
pub(crate) const CANDIDATE_COUNT: usize = 60;

/// Most terms of a cue that are looked up: the rarest. An OR of thousands takes SQLite seconds.
const MAX_CUE_TERM_COUNT: usize = 32;

/// Most further terms that are looked up beside those of the cue: the rarest.
pub(crate) const MAX_FURTHER_TERM_COUNT: usize = 16;

/// Most terms whose rarity is sampled to choose the rarest: the longest words that some record has, since long words are
/// rare.
const MAX_SAMPLED_TERM_COUNT: usize = 512;

/// Terms that are looked up together to find out whether any record has one.
const PROBE_TERM_COUNT: usize = 64;

/// Postings read to estimate a term's rarity.
const SAMPLE_POSTING_COUNT: usize = 64;

/// Postings read for a query, divided among its terms, of each at least [`MIN_TERM_POSTING_COUNT`].
const MAX_POSTING_COUNT: usize = 6_000;

/// A list that cannot be read to this share of its end says little about records of all ages, and is not read on if other
/// lists have enough candidates. Picked.
const MIN_READ_SHARE: f64 = 0.25;

/// A term that fewer records have is rare: it is searched as a prefix too, for compounds and other endings.
pub(crate) const RARE_RECORD_COUNT: usize = 8;

/// Most rare terms of a query that are searched as prefixes.
const MAX_PREFIX_TERM_COUNT: usize = 8;

/// A stop word is common if more than one of so many records have it, and more than [`COMMON_COUNT`].
const COMMON_SHARE: usize = 10;
const COMMON_COUNT: usize = 3;

/// Least rarity of a name that is a stop word otherwise: that of a word in one of ten records.
const NAME_IDF: f64 = 2.3;

/// Weight of a prefix match among the candidates, as a share of the term's own weight.
const PREFIX_WEIGHT: f64 = 0.5;

/// Most records with all words of a phrase that are read to find the phrase, the newest first: some 5 ms.
const MAX_PHRASE_READ_COUNT: usize = 1000;

/// The newest records of one term.
pub(crate) struct PostingList {
    pub(crate) query_term: QueryTerm,
    /// The newest first.
    pub(crate) seqs: Vec<i64>,
    /// The term's [`idf`], estimated if the list was not read to its end.
    pub(crate) idf: f64,
}

/// How far the lists of common terms are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// No further than is needed for enough candidates.
    Enough,
    /// As far as those of other terms: a filter may reject most of what the other lists have.
    Whole,
}

/// Returns the posting lists of a cue's terms, 32 at most: of its content and of its doubtful stop words that are not
/// common in this store; of all its stop words if it has no content and no record has any of those.
///
/// # Errors
/// Any [`StoreError`] of reading the index, except [`StoreError::Interrupted`].
pub(crate) fn of_cue(index: ScopedIndex<'_>, terms: &CueTerms, extent: Extent) -> Result<Vec<PostingList>, StoreError> {
    let mut chosen = terms.content.clone();
    for term in &terms.doubtful {
        let (seqs, _) = newest_matches(index, &pattern(&term.term, term.mode), SAMPLE_POSTING_COUNT)?;
        let most = COMMON_COUNT.max(index.total as usize / COMMON_SHARE);
        if frequency(&seqs, SAMPLE_POSTING_COUNT, index.last) <= most as f64 {
            chosen.push(term.clone());
        }
    }
    chosen.extend(terms.named.iter().cloned());
    let lists = rarest(index, &chosen, MAX_CUE_TERM_COUNT, extent)?;
    if !terms.content.is_empty() || lists.iter().any(|list| !list.seqs.is_empty()) {
        return Ok(lists);
    }
    chosen.extend(terms.doubtful.iter().chain(&terms.stops).chain(&terms.names).cloned());
    rarest(index, &chosen, MAX_CUE_TERM_COUNT, extent)
}

/// Returns the posting lists of the rarest `most` of these terms; fewer, or a shorter last list, if the deadline comes
/// first.
///
/// # Errors
/// Any [`StoreError`] of reading the index, except [`StoreError::Interrupted`].
pub(crate) fn rarest(
    index: ScopedIndex<'_>,
    terms: &[QueryTerm],
    most: usize,
    extent: Extent,
) -> Result<Vec<PostingList>, StoreError> {
    let mut chosen: Vec<&QueryTerm> = terms.iter().collect();
    if chosen.len() > most {
        sort::sort_by_key(&mut chosen, |term| Reverse(term.word.len()));
        let mut sampled = Vec::new();
        'all: for group in chosen.chunks(PROBE_TERM_COUNT) {
            // Most words of a very long cue are in no record, and are passed over together. Among other projects' records
            // the look-up ends at its bound, which proves nothing.
            let patterns: Vec<String> = group.iter().map(|term| pattern(&term.term, term.mode)).collect();
            if !index.projects.is_only() && newest_matches(index, &patterns.join(" OR "), 1)?.0.is_empty() {
                continue;
            }
            for &term in group {
                let (list, completion) = postings(index, term, SAMPLE_POSTING_COUNT)?;
                if !list.seqs.is_empty() {
                    sampled.push((term, list.idf));
                }
                if completion == Completion::Interrupted || sampled.len() == MAX_SAMPLED_TERM_COUNT {
                    break 'all;
                }
            }
        }
        sort::sort_by(&mut sampled, |a, b| b.1.total_cmp(&a.1));
        chosen = sampled.into_iter().map(|(term, _)| term).take(most).collect();
    }
    let share = (MAX_POSTING_COUNT / chosen.len().max(1)).max(MIN_TERM_POSTING_COUNT);
    read_lists(index, &chosen, share, extent)
}

/// Returns the lists of these terms, `share` records of each at most. Of common terms only [`MIN_TERM_POSTING_COUNT`] are
/// read if the other lists have [`CANDIDATE_COUNT`] records: the rest would only decide between the newest of them.
fn read_lists(
    index: ScopedIndex<'_>,
    terms: &[&QueryTerm],
    share: usize,
    extent: Extent,
) -> Result<Vec<PostingList>, StoreError> {
    let is_common = |seqs: &[i64]| frequency(seqs, MIN_TERM_POSTING_COUNT, index.last) * MIN_READ_SHARE > share as f64;
    let mut lists: Vec<PostingList> = Vec::with_capacity(terms.len());
    let mut common = Vec::new();
    for &term in terms {
        let (list, completion) = postings_until(index, term, share, &mut |seqs| {
            let ends = extent == Extent::Enough && is_common(seqs);
            if ends {
                common.push(lists.len());
            }
            ends
        })?;
        lists.push(list);
        if completion == Completion::Interrupted {
            return Ok(lists);
        }
    }
    let others = lists.iter().enumerate().filter(|(at, _)| !common.contains(at));
    if others.map(|(_, list)| list.seqs.len()).sum::<usize>() < CANDIDATE_COUNT {
        for at in common {
            lists[at] = postings(index, terms[at], share)?.0;
        }
    }
    Ok(lists)
}

fn postings(index: ScopedIndex<'_>, term: &QueryTerm, most: usize) -> Result<(PostingList, Completion), StoreError> {
    postings_until(index, term, most, &mut |_| false)
}

/// Returns the newest `most` records of a term; only [`MIN_TERM_POSTING_COUNT`] if `ends` returns true of them.
fn postings_until(
    index: ScopedIndex<'_>,
    term: &QueryTerm,
    most: usize,
    ends: &mut dyn FnMut(&[i64]) -> bool,
) -> Result<(PostingList, Completion), StoreError> {
    let mut most = most;
    let pattern = pattern(&term.term, term.mode);
    let (seqs, completion) = index.matches_until(&pattern, most, &mut |seqs| {
        let is_end = ends(seqs);
        if is_end {
            most = seqs.len();
        }
        is_end
    })?;
    let frequency = frequency(&seqs, most, index.last);
    let least = if term.kind == TokenKind::Name { NAME_IDF } else { 0.0 };
    Ok((PostingList { query_term: term.clone(), seqs, idf: idf(index.total as f64, frequency).max(least) }, completion))
}

/// Returns the number of records that have a term, given the newest of them, `most` at most. The rest of an incomplete
/// list is assumed to be as dense as what was read.
fn frequency(seqs: &[i64], most: usize, total: i64) -> f64 {
    let read = seqs.len() as f64;
    match seqs.last() {
        Some(&last) if seqs.len() == most => read * total as f64 / (total - last + 1) as f64,
        _ => read,
    }
}

/// Returns the newest records that have a rare term as a prefix of a word, each with its weight. If none has the whole
/// term, the longest of its [`prefixes`] that some record has is searched: the cue has *Krankenkasse*, a record
/// *Krankenkassen*.
///
/// # Errors
/// Any [`StoreError`] of reading the index, except [`StoreError::Interrupted`].
pub(crate) fn prefix_matches(index: ScopedIndex<'_>, lists: &[PostingList]) -> Result<Vec<(i64, f64)>, StoreError> {
    let mut matches = Vec::new();
    let is_rare = |list: &&PostingList| list.seqs.len() < RARE_RECORD_COUNT && list.query_term.mode == MatchMode::Exact;
    for list in lists.iter().filter(is_rare).take(MAX_PREFIX_TERM_COUNT) {
        for prefix in prefixes(&list.query_term.term) {
            let pattern = pattern(prefix, MatchMode::Prefix);
            let (seqs, completion) = newest_matches(index, &pattern, MIN_TERM_POSTING_COUNT)?;
            if completion == Completion::Interrupted {
                return Ok(matches);
            }
            let weight = list.idf * PREFIX_WEIGHT;
            matches.extend(seqs.iter().filter(|seq| !list.seqs.contains(seq)).map(|seq| (*seq, weight)));
            if !seqs.is_empty() {
                break;
            }
        }
    }
    for list in lists.iter().filter(|list| list.query_term.kind == TokenKind::Name) {
        // At the start of a sentence a name has no mark.
        let mut term = list.query_term.named_word().to_owned();
        stem(&mut term);
        let (seqs, _) = newest_matches(index, &pattern(&term, MatchMode::Exact), MIN_TERM_POSTING_COUNT)?;
        let weight = list.idf * PREFIX_WEIGHT;
        matches.extend(seqs.iter().filter(|seq| !list.seqs.contains(seq)).map(|seq| (*seq, weight)));
    }
    Ok(matches)
}

/// Returns the newest records that have one of the phrases, by rising `seq`.
///
/// # Errors
/// Any [`StoreError`] of reading the index or a text, except [`StoreError::Interrupted`].
pub(crate) fn phrase_matches(index: ScopedIndex<'_>, phrases: &[QuotedPhrase<'_>]) -> Result<Vec<i64>, StoreError> {
    let mut read = index.connection.prepare_cached("SELECT text FROM record WHERE seq = ?1")?;
    let mut seqs = Vec::new();
    for phrase in phrases {
        let patterns: Vec<String> = phrase.terms().map(|(term, mode)| pattern(term, mode)).collect();
        let (with_all_words, _) = newest_matches(index, &patterns.join(" AND "), MAX_PHRASE_READ_COUNT)?;
        let most = seqs.len() + CANDIDATE_COUNT;
        for seq in with_all_words {
            let has_it =
                read.query_row([seq], |row| Ok(phrase.found_in(row.get_ref(0)?.as_str()?) != PhraseMatch::None));
            match has_it.map_err(StoreError::from) {
                Ok(true) => seqs.push(seq),
                Ok(false) => {}
                Err(StoreError::Interrupted) => break,
                Err(fault) => return Err(fault),
            }
            if seqs.len() == most {
                break;
            }
        }
    }
    seqs.sort_unstable();
    seqs.dedup();
    Ok(seqs)
}

/// Returns the newest `most` records that have this term.
///
/// # Errors
/// Any [`StoreError`] of reading the index, except [`StoreError::Interrupted`].
pub(crate) fn newest_with(index: ScopedIndex<'_>, term: &str, most: usize) -> Result<Vec<i64>, StoreError> {
    Ok(newest_matches(index, &pattern(term, MatchMode::Exact), most)?.0)
}

/// Returns the newest `most` records that have a term with this prefix.
///
/// # Errors
/// Any [`StoreError`] of reading the index, except [`StoreError::Interrupted`].
pub(crate) fn newest_with_prefix(index: ScopedIndex<'_>, prefix: &str, most: usize) -> Result<Vec<i64>, StoreError> {
    Ok(newest_matches(index, &pattern(prefix, MatchMode::Prefix), most)?.0)
}

/// Returns a term as an FTS5 string, in which no character is an operator.
pub(crate) fn pattern(term: &str, mode: MatchMode) -> String {
    match mode {
        MatchMode::Exact => format!("\"{term}\""),
        MatchMode::Prefix => format!("\"{term}\" *"),
    }
}

/// Returns the newest `most` records that match an FTS5 pattern; those read so far if the deadline comes first.
pub(crate) fn newest_matches(
    index: ScopedIndex<'_>,
    pattern: &str,
    most: usize,
) -> Result<(Vec<i64>, Completion), StoreError> {
    index.matches_until(pattern, most, &mut |_| false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Runner;
    use crate::memory::store::project_filter::ProjectFilter;
    use crate::memory::test_support::{Bench, call_on};
    use crate::memory::text::cue_terms;
    use serde_json::json;

    #[test]
    fn a_pattern_is_one_fts5_string() {
        assert_eq!(
            (pattern("a", MatchMode::Exact), pattern("b", MatchMode::Prefix)),
            ("\"a\"".into(), "\"b\" *".into())
        );
    }

    #[test]
    fn the_rarest_terms_are_chosen_and_their_lists_are_bounded() {
        let bench = Bench::new();
        for n in 0..600 {
            bench.capture(&format!("common word{} unique{n}", n % 50), json!({"session_id": (n / 9).to_string()}));
        }
        let mut runner = Runner::default();
        call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"x"}"#)).unwrap();
        let snapshot = runner.worker.as_mut().unwrap().reader().unwrap().snapshot().unwrap();
        let all = ProjectFilter::NONE;
        let index = ScopedIndex::of(&snapshot, &all).unwrap();
        let every: String = (0..40).map(|n| format!("unique{n} word{n} ")).collect();
        let terms = cue_terms::query_terms(&format!("{every} common"));
        let chosen = rarest(index, &terms, MAX_CUE_TERM_COUNT, Extent::Enough).unwrap();
        assert_eq!(chosen.len(), MAX_CUE_TERM_COUNT);
        assert!(chosen.iter().all(|list| list.query_term.term.starts_with("unique") && list.seqs.len() == 1));
        let common = cue_terms::query_terms("common").remove(0);
        let (whole, _) = postings(index, &common, 1000).unwrap();
        let (part, _) = postings(index, &common, 100).unwrap();
        assert_eq!((whole.seqs.len(), &part.seqs[..]), (600, &whole.seqs[..100]));
        assert!((whole.idf - part.idf).abs() < 1e-6, "the rest of the list is estimated: {} {}", whole.idf, part.idf);
        assert!(whole.seqs.is_sorted_by(|a, b| a > b));
    }
}
