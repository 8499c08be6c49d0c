//! How well a record's own words answer a question: BM25 over its text and cue, as `terms.rs` takes
//! them apart, and the order of what was found.
//!
//! Pure: no database, no clock. Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
//! Beyond", 2009.

use std::cmp::Ordering;

use super::phrase::Phrase;
use super::terms::{self, Asked, Look};

/// BM25's usual constants: how soon repeating a word stops to count, and how much length does.
const K1: f64 = 1.2;
const B: f64 = 0.75;

/// What a word in a record's cue counts, against one in its text.
const CUE_WEIGHT: f64 = 0.5;

/// Does a record belong to the project that was asked from?
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// No, or none was named.
    Elsewhere,
    /// Yes.
    Here,
}

/// A record that answers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// Its place in the store.
    pub(super) seq: i64,
    /// How well, over 0 up to 1, among those of the same phrase and place.
    pub(super) score: f64,
    /// Which of the question's terms it has, by their place in the scorer.
    pub(super) terms: Vec<usize>,
    /// How it has a phrase.
    pub(super) phrase: Phrase,
    /// Whether it is of the project asked from.
    pub(super) place: Place,
}

/// How rare a term is that `frequency` of `total` records have: BM25's inverse document frequency, in
/// the form that stays over 0 for the most common ones.
pub(super) fn idf(total: f64, frequency: f64) -> f64 {
    let frequency = frequency.min(total);
    (1.0 + (total - frequency + 0.5) / (frequency + 0.5)).ln()
}

/// A candidate with its words counted.
pub(super) struct Counted {
    pub(super) seq: i64,
    /// Of each term, how often it is there.
    pub(super) counts: Vec<f64>,
    /// Words of the text.
    pub(super) length: f64,
    pub(super) phrase: Phrase,
    pub(super) place: Place,
}

/// BM25 over the texts themselves.
#[derive(Debug)]
pub(super) struct Scorer {
    /// A question has few, so looking through them beats hashing every word of every text.
    terms: Vec<Asked>,
    idfs: Vec<f64>,
}

impl Scorer {
    /// For these terms, each with its [`idf`].
    pub(super) fn new(terms: Vec<(Asked, f64)>) -> Scorer {
        let (terms, idfs) = terms.into_iter().unzip();
        Scorer { terms, idfs }
    }

    /// How often each term is in a record, and the length of its text.
    pub(super) fn count(&self, text: &str, cue: &str) -> (Vec<f64>, f64) {
        let mut counts = vec![0.0; self.idfs.len()];
        let mut length = 0.0;
        for (source, weight) in [(text, 1.0), (cue, CUE_WEIGHT)] {
            terms::each(source, |token| {
                if weight == 1.0 {
                    length += 1.0;
                }
                for (asked, count) in self.terms.iter().zip(&mut counts) {
                    let is_there = match asked.look {
                        Look::Whole => asked.term == token.term,
                        Look::Prefix => token.term.starts_with(&asked.term),
                    };
                    if is_there {
                        *count += weight;
                    }
                }
            });
        }
        (counts, length)
    }

    /// The best `limit`, by phrase, place, score and age in this order.
    pub(super) fn rank(&self, scored: Vec<Counted>, limit: usize) -> Vec<Found> {
        let average = scored.iter().map(|one| one.length).sum::<f64>() / scored.len().max(1) as f64;
        // No record can have more than this, so a score says how much of what was asked is there.
        let most: f64 = self.idfs.iter().map(|idf| idf * (K1 + 1.0)).sum();
        let mut found: Vec<Found> = scored
            .into_iter()
            .map(|one| {
                let slowness = K1 * (1.0 - B + B * one.length / average.max(1.0));
                let weigh = |(count, idf): (&f64, &f64)| idf * count * (K1 + 1.0) / (count + slowness);
                let sum: f64 = one.counts.iter().zip(&self.idfs).map(weigh).sum();
                let terms = (0..one.counts.len()).filter(|&i| one.counts[i] > 0.0).collect();
                let score = if most > 0.0 { sum / most } else { 0.0 };
                Found { seq: one.seq, score, terms, phrase: one.phrase, place: one.place }
            })
            .filter(|found| !found.terms.is_empty() || found.phrase != Phrase::None)
            .collect();
        found.sort_unstable_by(best_first);
        found.truncate(limit);
        found
    }
}

fn best_first(a: &Found, b: &Found) -> Ordering {
    (b.phrase, b.place).cmp(&(a.phrase, a.place)).then(b.score.total_cmp(&a.score)).then(b.seq.cmp(&a.seq))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(cue: &str, records: &[(&str, &str)]) -> Vec<Found> {
        let total = records.len() as f64;
        let has = |asked: &Asked| {
            let scorer = Scorer::new(vec![(asked.clone(), 1.0)]);
            records.iter().filter(|(text, cue)| scorer.count(text, cue).0[0] > 0.0).count() as f64
        };
        let terms = terms::asked(cue).into_iter().map(|asked| (asked.clone(), idf(total, has(&asked)))).collect();
        let scorer = Scorer::new(terms);
        let counted = records.iter().enumerate().map(|(i, (text, cue))| {
            let (counts, length) = scorer.count(text, cue);
            Counted { seq: i as i64, counts, length, phrase: Phrase::None, place: Place::Elsewhere }
        });
        scorer.rank(counted.collect(), 10)
    }

    fn order(cue: &str, records: &[(&str, &str)]) -> Vec<i64> {
        ranked(cue, records).iter().map(|found| found.seq).collect()
    }

    #[test]
    fn words_rank_by_rarity_repetition_and_length_of_text() {
        let filler = ("nothing to see", "");
        for (what, cue, records, want) in [
            ("more words", "red apple", vec![("a red car", ""), ("a red apple", ""), filler], vec![1, 0]),
            ("rare words", "apple pear", vec![("the apple", ""), ("the pear", ""), ("an apple", "")], vec![1, 2, 0]),
            ("repeated", "apple", vec![("apple and plum", ""), ("apple and apple", ""), filler], vec![1, 0]),
            ("shorter", "apple", vec![("apple with a lot of other things", ""), ("apple pie", ""), filler], vec![1, 0]),
            ("text over cue", "apple", vec![("some fruit", "apple"), ("some apple", ""), filler], vec![1, 0]),
            ("newer of equals", "apple", vec![("one apple", ""), ("two apple", ""), filler], vec![1, 0]),
            ("by prefix", "猫", vec![("犬です", ""), ("黒猫", ""), ("猫が好き", "")], vec![1, 2]),
            ("none", "zebra", vec![filler], vec![]),
        ] {
            assert_eq!(order(cue, &records), want, "{what}");
        }
    }

    #[test]
    fn a_score_is_the_share_of_what_was_asked() {
        let found = ranked("apple pear", &[("apple pear apple pear", ""), ("apple and plum", "")]);
        assert!(found.iter().all(|one| one.score > 0.0 && one.score < 1.0), "{found:?}");
        assert_eq!((&found[0].terms, &found[1].terms), (&vec![0, 1], &vec![0]));
        assert!(found[0].score > 2.0 * found[1].score, "{found:?}");
    }

    #[test]
    fn phrase_comes_before_place_and_place_before_score() {
        let scorer = Scorer::new(vec![(terms::asked("apple").remove(0), 1.0)]);
        let one = |seq, count, phrase, place| Counted { seq, counts: vec![count], length: 5.0, phrase, place };
        let all = vec![
            one(0, 3.0, Phrase::None, Place::Elsewhere),
            one(1, 1.0, Phrase::None, Place::Here),
            one(2, 2.0, Phrase::Alike, Place::Elsewhere),
            one(3, 0.0, Phrase::Exact, Place::Elsewhere),
            one(4, 0.0, Phrase::None, Place::Here),
            one(5, 1.0, Phrase::Exact, Place::Here),
        ];
        let found: Vec<i64> = scorer.rank(all, 4).iter().map(|found| found.seq).collect();
        assert_eq!(found, [5, 3, 2, 1]);
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
