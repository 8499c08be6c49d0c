//! A filter of words by their first letters: most words of a text are no term of the query, and are passed over before
//! they are stemmed.
//!
//! Pure.

use crate::memory::text::cue_terms::QueryTerm;
use crate::memory::text::irregular_forms;

/// How the words of a query and their irregular forms begin: the first two letters, with a bit for each third letter.
/// A word that begins otherwise shares no stem with any of them. The endings that the stemmer rewrites leave these
/// letters alone, but for y written as i, and in short words, which are compared by two letters.
#[derive(Debug)]
pub(crate) struct Initials(Box<[u32; 26 * 26]>);

/// Least bytes of a word whose third letter belongs to its stem.
const THREE_LETTER_BYTES: usize = 6;

impl Initials {
    pub(crate) fn of(terms: &[QueryTerm]) -> Initials {
        let mut initials = Initials(Box::new([0; 26 * 26]));
        terms.iter().for_each(|own| initials.add_term(own));
        initials
    }

    pub(crate) fn add_term(&mut self, own: &QueryTerm) {
        self.add(&own.word);
        self.add(&own.term);
        let begins_alike = |base: &str| own.term.starts_with(&base[..base.len().min(2)]);
        irregular_forms::forms().filter(|(_, base)| begins_alike(base)).for_each(|(form, _)| self.add(form));
    }

    pub(crate) fn add(&mut self, word: &str) {
        match *word.as_bytes() {
            [first @ b'a'..=b'z'] => self.0[row(first, b'a')..=row(first, b'z')].fill(u32::MAX),
            [first @ b'a'..=b'z', second @ b'a'..=b'z'] => self.0[row(first, second)] = u32::MAX,
            [first @ b'a'..=b'z', second @ b'a'..=b'z', third, ..] => self.0[row(first, second)] |= bit(third),
            _ => {}
        }
    }

    /// Returns true if the word may match a term; true of every word that does not begin with two letters a to z.
    #[inline(always)]
    pub(crate) fn may_begin(&self, word: &str) -> bool {
        match *word.as_bytes() {
            [first @ b'a'..=b'z', second @ b'a'..=b'z', third, ..] if word.len() >= THREE_LETTER_BYTES => {
                self.0[row(first, second)] & bit(third) != 0
            }
            [first @ b'a'..=b'z', second @ b'a'..=b'z', ..] => self.0[row(first, second)] != 0,
            _ => true,
        }
    }
}

#[inline(always)]
fn row(first: u8, second: u8) -> usize {
    usize::from(first - b'a') * 26 + usize::from(second - b'a')
}

/// Returns a third letter's bit; all bytes other than a to z share one.
#[inline(always)]
fn bit(third: u8) -> u32 {
    match third {
        b'y' => bit(b'i'),
        b'a'..=b'z' => 1 << (third - b'a'),
        _ => 1 << 26,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::text::cue_terms;
    use crate::memory::text::tokenizer;

    #[test]
    fn a_word_with_a_stem_of_the_query_always_passes_the_initials_filter() {
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
        for (own, stem) in words.iter().zip(&stems) {
            let initials = Initials::of(&cue_terms::query_terms(own));
            for (word, _) in words.iter().zip(&stems).filter(|(_, other)| *other == stem && !stem.is_empty()) {
                assert!(initials.may_begin(word), "{own} {word}");
            }
        }
    }
}
