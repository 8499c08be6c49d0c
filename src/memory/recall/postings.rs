//! What the index knows of a question: the newest records of each of its terms, and which records to read first.
//!
//! Each list is bounded, and all of them together, whatever the store's size.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rusqlite::Connection;

use crate::memory::recall::query::{beginnings, idf};
use crate::memory::sort;
use crate::memory::store::error::StoreError;
use crate::memory::text::phrase::{PhraseMatch, QuotedPhrase};
use crate::memory::text::tokenizer::{MatchMode, QueryTerm};

/// Candidates whose texts are read and scored; more where more are wanted.
pub(crate) const CANDIDATES: usize = 60;

/// Most terms of a question that are looked up: the rarest. An OR of thousands takes SQLite seconds.
const TERMS: usize = 32;

/// Most terms of a question whose rarity is looked at, before the rarest are chosen: its longest
/// words, as long words are rare.
const TERMS_WEIGHED: usize = 512;

/// Postings read to judge a term's rarity among many.
const SAMPLE: usize = 64;

/// Postings read for a question, shared by its terms: about half a millisecond.
const POSTINGS: usize = 6_000;

/// Least share of a term in [`POSTINGS`].
const TERM_POSTINGS: usize = 300;

/// A term that fewer records have is looked for by its beginning too: a compound, another ending.
const FEW: usize = 8;

/// Most terms of a question that are.
const FEW_TERMS: usize = 8;

/// What such a record weighs among the candidates, against one that has the term itself.
const ALIKE_WEIGHT: f64 = 0.5;

/// Candidates looked at where a filter or a project may refuse some.
const LOOKED_AT: usize = 4000;

/// Records with all words of a phrase, the newest first, in which it is looked for: some 5 ms.
const PHRASE_LOOKED_AT: usize = 1000;

/// The newest records of one term.
pub(crate) struct PostingList {
    pub(crate) asked: QueryTerm,
    pub(crate) seqs: Vec<i64>,
    /// How rare the term is.
    pub(crate) idf: f64,
}

/// Did a question run to its end?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    Whole,
    CutShort,
}

/// The lists of the question's rarest terms, 32 at most. Cut short where the time is up.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn rarest(connection: &Connection, terms: &[QueryTerm], total: i64) -> Result<Vec<PostingList>, StoreError> {
    let mut chosen: Vec<&QueryTerm> = terms.iter().collect();
    if chosen.len() > TERMS {
        sort::sort_by_key(&mut chosen, |asked| Reverse(asked.word.len()));
        chosen.truncate(TERMS_WEIGHED);
        let mut sampled = Vec::new();
        for asked in chosen {
            let (list, run) = postings(connection, asked, SAMPLE, total)?;
            if !list.seqs.is_empty() {
                sampled.push((asked, list.idf));
            }
            if run == Run::CutShort {
                break;
            }
        }
        sort::sort_by(&mut sampled, |a, b| b.1.total_cmp(&a.1));
        chosen = sampled.into_iter().map(|(asked, _)| asked).take(TERMS).collect();
    }
    let share = (POSTINGS / chosen.len().max(1)).max(TERM_POSTINGS);
    let mut lists = Vec::with_capacity(chosen.len());
    for asked in chosen {
        let (list, run) = postings(connection, asked, share, total)?;
        lists.push(list);
        if run == Run::CutShort {
            break;
        }
    }
    Ok(lists)
}

fn postings(
    connection: &Connection,
    asked: &QueryTerm,
    most: usize,
    total: i64,
) -> Result<(PostingList, Run), StoreError> {
    let pattern = pattern(&asked.term, asked.look);
    let (seqs, run) = newest_matches(connection, &pattern, most)?;
    let read = seqs.len() as f64;
    let total = total as f64;
    // A list that was not read to its end goes on as densely as it began.
    let frequency = match seqs.last() {
        Some(&last) if seqs.len() == most => read * total / (total - last as f64 + 1.0),
        _ => read,
    };
    Ok((PostingList { asked: asked.clone(), seqs, idf: idf(total, frequency) }, run))
}

/// The newest records with a word that begins as a rare term does, each with what it weighs. Where no record
/// has the term, as many of its letters count as some record has: *Krankenkasse* is asked for, *Krankenkassen*
/// was said.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn begun_alike(connection: &Connection, lists: &[PostingList]) -> Result<Vec<(i64, f64)>, StoreError> {
    let mut alike = Vec::new();
    for list in lists.iter().filter(|list| list.seqs.len() < FEW && list.asked.look == MatchMode::Exact).take(FEW_TERMS)
    {
        for beginning in beginnings(&list.asked.term) {
            let (seqs, run) = newest_matches(connection, &pattern(beginning, MatchMode::Prefix), TERM_POSTINGS)?;
            if run == Run::CutShort {
                return Ok(alike);
            }
            alike.extend(seqs.iter().filter(|seq| !list.seqs.contains(seq)).map(|seq| (*seq, list.idf * ALIKE_WEIGHT)));
            if !seqs.is_empty() {
                break;
            }
        }
    }
    Ok(alike)
}

/// The newest records that have one of the phrases, in order.
///
/// # Errors
/// See [`StoreError`].
pub(crate) fn with_phrases(connection: &Connection, phrases: &[QuotedPhrase<'_>]) -> Result<Vec<i64>, StoreError> {
    let mut read = connection.prepare_cached("SELECT text FROM record WHERE seq = ?1")?;
    let mut seqs = Vec::new();
    for phrase in phrases {
        let patterns: Vec<String> = phrase.terms().map(|(term, look)| pattern(term, look)).collect();
        let (all_words, _) = newest_matches(connection, &patterns.join(" AND "), PHRASE_LOOKED_AT)?;
        let most = seqs.len() + CANDIDATES;
        for seq in all_words {
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

/// A term as FTS5 reads it: a string, so that nothing in it is an operator.
fn pattern(term: &str, look: MatchMode) -> String {
    match look {
        MatchMode::Exact => format!("\"{term}\""),
        MatchMode::Prefix => format!("\"{term}\" *"),
    }
}

fn newest_matches(connection: &Connection, pattern: &str, most: usize) -> Result<(Vec<i64>, Run), StoreError> {
    let mut find = connection
        .prepare_cached("SELECT rowid FROM term_index WHERE term_index MATCH ?1 ORDER BY rowid DESC LIMIT ?2")?;
    let mut rows = find.query((pattern, most as i64))?;
    let mut seqs = Vec::new();
    loop {
        match rows.next().map_err(StoreError::from) {
            Ok(Some(row)) => seqs.push(row.get(0)?),
            Ok(None) => return Ok((seqs, Run::Whole)),
            Err(StoreError::Interrupted) => return Ok((seqs, Run::CutShort)),
            Err(fault) => return Err(fault),
        }
    }
}

/// The records of the lists, the one with the rarest terms first; before them those with a phrase. At most
/// [`LOOKED_AT`].
pub(crate) fn candidates(lists: &[PostingList], alike: &[(i64, f64)], phrases: &[i64]) -> impl Iterator<Item = i64> {
    let with_weight = |list: &PostingList| list.seqs.iter().map(|&seq| (seq, list.idf)).collect::<Vec<_>>();
    let mut weighed: Vec<(i64, f64)> = lists.iter().flat_map(with_weight).collect();
    weighed.extend(alike);
    weighed.extend(phrases.iter().map(|&seq| (seq, f64::from(u32::MAX))));
    // Of runs that are in order, as the lists are, the stable sort makes use.
    weighed.sort_by_key(|&(seq, _)| seq);
    weighed.dedup_by(|next, kept| {
        let is_same = next.0 == kept.0;
        if is_same {
            kept.1 += next.1;
        }
        is_same
    });
    // Most often a few are asked for. No weight is under 0, so their bits are ordered as they are.
    let mut heap: BinaryHeap<(u64, i64)> = weighed.into_iter().map(|(seq, weight)| (weight.to_bits(), seq)).collect();
    std::iter::from_fn(move || heap.pop()).map(|(_, seq)| seq).take(LOOKED_AT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Runner;
    use crate::memory::test_support::{Bench, call_on};
    use crate::memory::text::tokenizer;
    use serde_json::json;
    use std::time::{Duration, Instant};

    fn list(idf: f64, seqs: &[i64]) -> PostingList {
        PostingList { asked: tokenizer::query_terms("word").remove(0), seqs: seqs.to_vec(), idf }
    }

    #[test]
    fn candidates_are_the_heaviest_then_the_newest() {
        let all = |lists: &[PostingList], alike: &[(i64, f64)], phrases: &[i64]| -> Vec<i64> {
            candidates(lists, alike, phrases).collect()
        };
        let lists = [list(3.0, &[9, 5]), list(1.0, &[9, 8, 7, 5]), list(2.5, &[7])];
        assert_eq!(all(&lists, &[], &[]), [9, 5, 7, 8]);
        assert_eq!(all(&lists, &[], &[2, 8]), [8, 2, 9, 5, 7]);
        assert_eq!(all(&lists, &[(6, 0.4), (9, 0.3)], &[]), [9, 5, 7, 8, 6]);
        assert_eq!(all(&[], &[], &[]), [0; 0]);
        let newest_first: Vec<i64> = (0..10_000).rev().collect();
        assert_eq!(all(&[list(1.0, &newest_first)], &[], &[]), newest_first[..LOOKED_AT]);
    }

    #[test]
    fn a_pattern_is_one_string() {
        assert_eq!(
            (pattern("a", MatchMode::Exact), pattern("b", MatchMode::Prefix)),
            ("\"a\"".into(), "\"b\" *".into())
        );
    }

    #[test]
    fn the_rarest_terms_are_chosen_and_their_lists_bounded() {
        let bench = Bench::new();
        for n in 0..600 {
            bench.capture(&format!("common word{} unique{n}", n % 50), json!({"session_id": (n / 9).to_string()}));
        }
        let mut runner = Runner::default();
        call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"x"}"#)).unwrap();
        let snapshot = runner.worker.as_mut().unwrap().reader().unwrap().snapshot().unwrap();
        let connection = snapshot.connection();
        let every: String = (0..40).map(|n| format!("unique{n} word{n} ")).collect();
        let asked = tokenizer::query_terms(&format!("{every} common"));
        let chosen = rarest(connection, &asked, 600).unwrap();
        assert_eq!(chosen.len(), TERMS);
        assert!(chosen.iter().all(|list| list.asked.term.starts_with("unique") && list.seqs.len() == 1));
        let common = tokenizer::query_terms("common").remove(0);
        let (whole, _) = postings(connection, &common, 1000, 600).unwrap();
        let (part, _) = postings(connection, &common, 100, 600).unwrap();
        assert_eq!((whole.seqs.len(), &part.seqs[..]), (600, &whole.seqs[..100]));
        assert!((whole.idf - part.idf).abs() < 1e-6, "the rest of the list is guessed: {} {}", whole.idf, part.idf);
        assert!(whole.seqs.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn a_cut_list_is_what_was_read_by_then() {
        let bench = Bench::new();
        // The clock is looked at every so many steps of SQLite's machine, some of them for each row.
        let rows: String = (1..=2000).map(|n| format!("({n}, 'common'),")).collect();
        bench.sql(&format!("INSERT INTO term_index (rowid, text) VALUES {}", rows.trim_end_matches(',')));
        let mut runner = Runner::default();
        call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"x"}"#)).unwrap();
        let snapshot = runner.worker.as_mut().unwrap().reader().unwrap().snapshot().unwrap();
        let past = Instant::now() - Duration::from_millis(1);
        let (seqs, run) = snapshot.until(past, |connection| newest_matches(connection, "\"common\"", 2000)).unwrap();
        assert_eq!(run, Run::CutShort);
        assert!(!seqs.is_empty() && seqs.len() < 2000, "{}", seqs.len());
    }
}
