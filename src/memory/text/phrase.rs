//! Does a text have a phrase: byte for byte, or in another spelling?
//!
//! Pure. The index keeps no positions (they would triple it), so phrases are looked for in the texts.

use crate::memory::text::tokenizer::{self, MatchMode};

/// Words of a phrase that are compared one by one; the bits of a `u64`. Of a longer one the beginning
/// decides.
const WORDS: usize = u64::BITS as usize;

/// How a text has a phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PhraseMatch {
    /// Not at all, or none was asked for.
    None,
    /// In another spelling: case, accents, punctuation, endings.
    Alike,
    /// Byte for byte.
    Exact,
}

/// A phrase that is asked for.
#[derive(Debug)]
pub(crate) struct QuotedPhrase<'q> {
    text: &'q str,
    terms: Vec<String>,
    last: MatchMode,
}

impl<'q> QuotedPhrase<'q> {
    /// The phrase of this text, white space at its ends aside; `None` where it has no word.
    pub(crate) fn new(text: &'q str) -> Option<QuotedPhrase<'q>> {
        let (mut terms, mut last) = tokenizer::phrase_terms(text)?;
        if terms.len() > WORDS {
            terms.truncate(WORDS);
            last = MatchMode::Exact;
        }
        Some(QuotedPhrase { text: text.trim(), terms, last })
    }

    /// Its terms, each with how it is looked for; at least one.
    pub(crate) fn terms(&self) -> impl Iterator<Item = (&str, MatchMode)> {
        let last = self.terms.len() - 1;
        self.terms
            .iter()
            .enumerate()
            .map(move |(i, term)| (term.as_str(), if i == last { self.last } else { MatchMode::Exact }))
    }

    /// How `text` has it.
    pub(crate) fn found_in(&self, text: &str) -> PhraseMatch {
        if text.contains(self.text) {
            return PhraseMatch::Exact;
        }
        // Bit i is set while the last words read are the phrase's first i + 1.
        let mut read = 0_u64;
        let whole = 1 << (self.terms.len() - 1);
        let mut has_it = false;
        tokenizer::for_each_token(text, |mut token| {
            let here = token.term();
            let fits = |(term, look): (&str, MatchMode)| match look {
                MatchMode::Exact => term == here,
                MatchMode::Prefix => here.starts_with(term),
            };
            let here = self.terms().enumerate().filter(|&(_, term)| fits(term)).fold(0, |bits, (i, _)| bits | 1 << i);
            read = (read << 1 | 1) & here;
            has_it |= read & whole != 0;
        });
        if has_it { PhraseMatch::Alike } else { PhraseMatch::None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_is_found_in_its_order_and_place() {
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
    fn a_long_phrase_is_known_by_its_beginning() {
        let words = |range: std::ops::Range<u32>| range.map(|n| format!("w{n} ")).collect::<String>();
        let text = words(0..200);
        let wanted = QuotedPhrase::new(&text).unwrap();
        assert_eq!(wanted.found_in(&format!("W{}", &words(0..200)[1..])), PhraseMatch::Alike);
        assert_eq!(wanted.found_in(&words(0..WORDS as u32)), PhraseMatch::Alike);
        assert_eq!(wanted.found_in(&words(0..WORDS as u32 - 1)), PhraseMatch::None);
    }
}
