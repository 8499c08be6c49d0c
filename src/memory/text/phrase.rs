//! Phrase matching: finds a quoted phrase in a text, byte for byte or in another spelling.
//!
//! Pure. The index has no positions (they would triple its size), so phrases are matched against the texts.

use crate::memory::text::cue_terms::{self, MatchMode};
use crate::memory::text::tokenizer;

/// Words of a phrase that are compared: the bits of a `u64`. The rest of a longer phrase is ignored in [`Alike`] matches.
///
/// [`Alike`]: PhraseMatch::Alike
const WORDS: usize = u64::BITS as usize;

/// How a text matches a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PhraseMatch {
    /// No match, or no phrase in the query.
    None,
    /// A match but for case, accents, punctuation or word endings.
    Alike,
    /// A byte-for-byte match.
    Exact,
}

/// A phrase of a query.
#[derive(Debug)]
pub(crate) struct QuotedPhrase<'q> {
    text: &'q str,
    terms: Vec<String>,
    last: MatchMode,
}

impl<'q> QuotedPhrase<'q> {
    /// Returns the phrase of this text, trimmed; `None` if it has no word.
    pub(crate) fn new(text: &'q str) -> Option<QuotedPhrase<'q>> {
        let (mut terms, mut last) = cue_terms::phrase_terms(text)?;
        if terms.len() > WORDS {
            terms.truncate(WORDS);
            last = MatchMode::Exact;
        }
        Some(QuotedPhrase { text: text.trim(), terms, last })
    }

    /// Returns its terms, at least one, each with its match mode.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (&str, MatchMode)> {
        let last = self.terms.len() - 1;
        self.terms
            .iter()
            .enumerate()
            .map(move |(i, term)| (term.as_str(), if i == last { self.last } else { MatchMode::Exact }))
    }

    /// Matches the phrase against `text`.
    pub(crate) fn found_in(&self, text: &str) -> PhraseMatch {
        if text.contains(self.text) {
            return PhraseMatch::Exact;
        }
        // Bit i is set if the last i + 1 words read are the first i + 1 words of the phrase.
        let mut matched = 0_u64;
        let whole = 1 << (self.terms.len() - 1);
        let mut is_found = false;
        tokenizer::for_each_token(text, |mut token| {
            let word = token.term();
            let fits = |(term, mode): (&str, MatchMode)| match mode {
                MatchMode::Exact => term == word,
                MatchMode::Prefix => word.starts_with(term),
            };
            let fitting =
                self.terms().enumerate().filter(|&(_, term)| fits(term)).fold(0, |bits, (i, _)| bits | 1 << i);
            matched = (matched << 1 | 1) & fitting;
            is_found |= matched & whole != 0;
        });
        if is_found { PhraseMatch::Alike } else { PhraseMatch::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_matches_consecutive_words_in_order() {
        for (phrase, text, want) in [
            ("to be or not", "To be, or not to be", PhraseMatch::Alike),
            ("to be or not", "he said to be or nothing", PhraseMatch::Exact),
            ("to be or not", "or not to be", PhraseMatch::None),
            ("to be or not", "to be, to be or... not", PhraseMatch::Alike),
            ("a a b", "a a a b", PhraseMatch::Exact),
            ("a-a-b", "a a a b", PhraseMatch::Alike),
            (" camping ", "we were camping", PhraseMatch::Exact),
            ("Camping", "we camped", PhraseMatch::Alike),
            ("猫が好き", "私は猫が好きです", PhraseMatch::Exact),
            ("ネコが好き", "ねこが好きです", PhraseMatch::Alike),
            ("猫が好き", "猫は好き、猫が嫌い", PhraseMatch::None),
            ("猫 2020", "猫　2020年", PhraseMatch::Alike),
            ("end of it", "end of", PhraseMatch::None),
            ("x", "", PhraseMatch::None),
        ] {
            assert_eq!(QuotedPhrase::new(phrase).unwrap().found_in(text), want, "{phrase} in {text}");
        }
        assert!(QuotedPhrase::new(" ?! ").is_none());
    }

    #[test]
    fn a_long_phrase_matches_by_its_first_words() {
        let words = |range: std::ops::Range<u32>| range.map(|n| format!("w{n} ")).collect::<String>();
        let text = words(0..200);
        let wanted = QuotedPhrase::new(&text).unwrap();
        assert_eq!(wanted.found_in(&format!("W{}", &words(0..200)[1..])), PhraseMatch::Alike);
        assert_eq!(wanted.found_in(&words(0..WORDS as u32)), PhraseMatch::Alike);
        assert_eq!(wanted.found_in(&words(0..WORDS as u32 - 1)), PhraseMatch::None);
    }
}
