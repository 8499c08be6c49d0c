//! Words to try instead when a recall finds little: the words of the cue that no record has, and the nearest that the
//! store knows, by spelling and by learned co-occurrence.

use crate::memory::graph::cooccurrence;
use crate::memory::recall::postings;
use crate::memory::recall::scoped_index::ScopedIndex;
use crate::memory::store::error::StoreError;
use crate::memory::store::records;
use crate::memory::text::cue_terms::QueryTerm;
use crate::memory::text::stop_words::is_stop_word;
use crate::memory::text::tokenizer;
use crate::sort;

/// The best hit has a score under this, or suggestions are not worth their time: a record with half of the cue's words has
/// about 0.45.
pub(crate) const LOW_SCORE: f64 = 0.45;

/// Most words suggested (the contract).
const MAX_SUGGESTION_COUNT: usize = 5;

/// Most unknown words whose spelling is compared. Picked.
const MAX_COMPARED_COUNT: usize = 4;

/// Records read for words that begin like an unknown one, the newest. Picked: about a millisecond.
const MAX_READ_COUNT: usize = 100;

/// Least characters of a word whose spelling is compared: among shorter ones everything is near.
const MIN_CHARS: usize = 4;

/// Characters up to which one edit is allowed, and two beyond.
const ONE_EDIT_CHARS: usize = 5;

/// Words to try instead.
#[derive(Debug, Default)]
pub(crate) struct Suggestions {
    /// The words of the cue that no record has.
    pub(crate) unknown: Vec<String>,
    /// The nearest words that the store knows, at most [`MAX_SUGGESTION_COUNT`].
    pub(crate) near: Vec<String>,
}

impl Suggestions {
    /// Returns the suggestions for a cue with these terms that no record has, and these that some have; nothing if all are
    /// known.
    ///
    /// # Errors
    /// Any [`StoreError`] of reading the index, the texts or the co-occurring terms.
    pub(crate) fn of(
        index: ScopedIndex<'_>,
        unknown: &[QueryTerm],
        known: &[QueryTerm],
    ) -> Result<Suggestions, StoreError> {
        let mut near: Vec<String> = Vec::new();
        for word in unknown.iter().map(|term| &term.word).take(MAX_COMPARED_COUNT) {
            let spelled = similarly_spelled(index, word)?;
            near.extend(spelled.into_iter().filter(|word| !near.contains(word)).collect::<Vec<_>>());
        }
        let mut cooccurring: Vec<(String, f64)> = Vec::new();
        for term in known.iter().filter(|_| !unknown.is_empty()) {
            cooccurring.extend(cooccurrence::associated_terms(index.connection, &term.term)?);
        }
        cooccurring.retain(|(other, _)| known.iter().all(|term| term.term != *other));
        sort::sort_by(&mut cooccurring, |a, b| b.1.total_cmp(&a.1));
        for (term, _) in cooccurring {
            if near.len() >= MAX_SUGGESTION_COUNT {
                break;
            }
            near.extend(word_of(index, &term)?.filter(|word| !near.contains(word)));
        }
        near.truncate(MAX_SUGGESTION_COUNT);
        Ok(Suggestions { unknown: unknown.iter().map(|term| term.word.clone()).collect(), near })
    }
}

/// Returns the words in the newest records that begin like `word` and are a few edits away, the nearest first.
fn similarly_spelled(index: ScopedIndex<'_>, word: &str) -> Result<Vec<String>, StoreError> {
    let chars: Vec<char> = word.chars().collect();
    if chars.len() < MIN_CHARS {
        return Ok(Vec::new());
    }
    let most = if chars.len() <= ONE_EDIT_CHARS { 1 } else { 2 };
    let mut found: Vec<(usize, String)> = Vec::new();
    // The typo may be in either half.
    for prefix in [&chars[..chars.len().div_ceil(2)], &chars[..2]] {
        let seqs = postings::newest_with_prefix(index, &prefix.iter().collect::<String>(), MAX_READ_COUNT)?;
        for_each_word(index, &seqs, |other, _| {
            if other != word && !is_stop_word(other) && found.iter().all(|(_, known)| known != other) {
                let other_chars: Vec<char> = other.chars().collect();
                let longer = other_chars.starts_with(&chars).then_some(most);
                found.extend(edits(&chars, &other_chars, most).or(longer).map(|count| (count, other.to_owned())));
            }
        })?;
        if !found.is_empty() {
            break;
        }
    }
    sort::sort_by(&mut found, Ord::cmp);
    Ok(found.into_iter().map(|(_, word)| word).take(MAX_SUGGESTION_COUNT).collect())
}

/// Returns a word of this term, out of the newest record that has it.
fn word_of(index: ScopedIndex<'_>, term: &str) -> Result<Option<String>, StoreError> {
    let seqs = postings::newest_with(index, term, 1)?;
    let mut found = None;
    for_each_word(index, &seqs, |word, own| {
        if found.is_none() && own == term {
            found = Some(word.to_owned());
        }
    })?;
    Ok(found)
}

/// Calls `sink` with each word in the texts of these records, and its term.
fn for_each_word(index: ScopedIndex<'_>, seqs: &[i64], mut sink: impl FnMut(&str, &str)) -> Result<(), StoreError> {
    let mut read = index.connection.prepare_cached("SELECT text FROM record WHERE seq = ?1")?;
    for seq in seqs {
        if !index.projects.admits_record(index.connection, *seq)? {
            continue;
        }
        let mut rows = read.query([seq])?;
        let Some(row) = rows.next()? else { continue };
        tokenizer::for_each_token(records::string(row, 0)?, |mut token| {
            let word = token.word;
            sink(word, token.term());
        });
    }
    Ok(())
}

/// Returns the number of insertions, deletions, substitutions and swaps of neighbors that lead from one word to the other,
/// if it is at most `most`.
fn edits(a: &[char], b: &[char], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    // Three rows of the matrix of optimal string alignment.
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let changed = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = changed.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|count| *count <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_insertions_deletions_substitutions_and_swaps() {
        for (a, b, most, want) in [
            ("kubernets", "kubernetes", 2, Some(1)),
            ("kubernetes", "kubernets", 2, Some(1)),
            ("kuberentes", "kubernetes", 2, Some(1)),
            ("gardin", "garden", 1, Some(1)),
            ("garten", "garden", 1, Some(1)),
            ("hause", "garden", 2, None),
            ("кошко", "кошка", 1, Some(1)),
            ("same", "same", 1, Some(0)),
            ("", "ab", 2, Some(2)),
        ] {
            let chars = |word: &str| word.chars().collect::<Vec<_>>();
            assert_eq!(edits(&chars(a), &chars(b), most), want, "{a} {b}");
        }
    }
}
