//! The order in which records are read: by the rarity of the terms that they have.
//!
//! Pure.

use std::collections::BinaryHeap;

use crate::memory::recall::postings::PostingList;

/// Most records in the order of candidates; a filter may reject many of them.
const MAX_RANKED_COUNT: usize = 4000;

/// Records, each with the summed rarity of the terms that it has, by rising `seq`.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecordWeights(Vec<(i64, f64)>);

impl RecordWeights {
    /// Weighs the records of these lists.
    pub(crate) fn of(lists: &[PostingList]) -> RecordWeights {
        let mut weights = RecordWeights::default();
        weights.add(lists.iter().flat_map(|list| list.seqs.iter().map(|&seq| (seq, list.idf))));
        weights
    }

    /// Adds to the weights of records.
    pub(crate) fn add(&mut self, more: impl Iterator<Item = (i64, f64)>) {
        let count = self.0.len();
        self.0.extend(more);
        if self.0.len() > count {
            self.merge();
        }
    }

    /// Sorts, and sums the weights of each record. Not generic: the sort is 10 KB of code.
    fn merge(&mut self) {
        // The lists are sorted runs, which the standard library's stable sort merges.
        self.0.sort_by_key(|&(seq, _)| seq);
        self.0.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 += next.1;
            }
            is_same
        });
    }

    /// Adds the weights of other records, each multiplied by `factor`.
    pub(crate) fn add_scaled(&mut self, other: &RecordWeights, factor: f64) {
        self.add(other.0.iter().map(|&(seq, weight)| (seq, weight * factor)));
    }

    /// Ranks records with a quoted phrase before all others.
    pub(crate) fn prefer(&mut self, phrases: &[i64]) {
        self.add(phrases.iter().map(|&seq| (seq, f64::from(u32::MAX))));
    }

    /// Returns the largest weight, 0 if there are no records.
    pub(crate) fn largest(&self) -> f64 {
        self.0.iter().map(|&(_, weight)| weight).fold(0.0, f64::max)
    }

    /// Returns the records in the order to read them, the heaviest first, then the newest, at most
    /// [`MAX_RANKED_COUNT`].
    pub(crate) fn heaviest(self) -> impl Iterator<Item = i64> {
        // A heap, since usually only a few are taken. The weights are at least 0, so their bits sort as they do.
        let mut heap: BinaryHeap<(u64, i64)> =
            self.0.into_iter().map(|(seq, weight)| (weight.to_bits(), seq)).collect();
        std::iter::from_fn(move || heap.pop()).map(|(_, seq)| seq).take(MAX_RANKED_COUNT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::text::cue_terms;

    fn list(idf: f64, seqs: &[i64]) -> PostingList {
        PostingList { query_term: cue_terms::query_terms("word").remove(0), seqs: seqs.to_vec(), idf }
    }

    #[test]
    fn candidates_are_the_heaviest_then_the_newest() {
        let all = |lists: &[PostingList], similar: &[(i64, f64)], phrases: &[i64]| -> Vec<i64> {
            let mut weights = RecordWeights::of(lists);
            weights.add(similar.iter().copied());
            weights.prefer(phrases);
            weights.heaviest().collect()
        };
        let lists = [list(3.0, &[9, 5]), list(1.0, &[9, 8, 7, 5]), list(2.5, &[7])];
        assert_eq!(all(&lists, &[], &[]), [9, 5, 7, 8]);
        assert_eq!(all(&lists, &[], &[2, 8]), [8, 2, 9, 5, 7]);
        assert_eq!(all(&lists, &[(6, 0.4), (9, 0.3)], &[]), [9, 5, 7, 8, 6]);
        assert_eq!(all(&[], &[], &[]), [0; 0]);
        let newest_first: Vec<i64> = (0..10_000).rev().collect();
        assert_eq!(all(&[list(1.0, &newest_first)], &[], &[]), newest_first[..MAX_RANKED_COUNT]);
    }
}
