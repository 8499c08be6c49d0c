//! What single words match in a query, remembered while the texts of its candidates are read: texts share most of their
//! words, so each is stemmed and compared once.
//!
//! Pure.

use crate::memory::recall::text_match::TermSet;

/// Words that are remembered: a power of two. Picked: the candidates of a query have some hundred different words that
/// begin like its own.
const SLOT_COUNT: usize = 512;

/// What a word matches, whatever stands around it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WordMatch {
    /// The terms that the word has.
    pub(crate) equal: TermSet,
    /// The hashes that the word is the beginning of, or that are its own beginning.
    pub(crate) hashes: TermSet,
    /// The other terms that begin as the word does.
    pub(crate) prefix: TermSet,
    /// The terms of the adjacent words that the word joins.
    pub(crate) joined: TermSet,
    /// The terms whose longer word begins with all of this one.
    pub(crate) begun: TermSet,
    /// The place of the word's term among the co-occurring terms, and their number.
    pub(crate) cooccurring: (u32, u32),
}

/// The last words that were read, each with its match.
#[derive(Debug, Default)]
pub(crate) struct WordMatches {
    /// The bytes of a word as a number, and its match; 0 in a free slot. Empty until the first word.
    slots: Vec<(u128, WordMatch)>,
}

impl WordMatches {
    /// Returns the match of a word, determined by `find` if it is not remembered.
    pub(crate) fn of(&mut self, word: &str, find: impl FnOnce() -> WordMatch) -> WordMatch {
        let Some(key) = key(word) else { return find() };
        if self.slots.is_empty() {
            self.slots.resize(SLOT_COUNT, (0, WordMatch::default()));
        }
        let slot = &mut self.slots[slot(key)];
        if slot.0 != key {
            *slot = (key, find());
        }
        slot.1
    }
}

/// Returns the bytes of a word as a number other than 0; `None` of an empty or longer word.
#[inline]
fn key(word: &str) -> Option<u128> {
    let mut bytes = [0; size_of::<u128>()];
    bytes.get_mut(..word.len())?.copy_from_slice(word.as_bytes());
    Some(u128::from_le_bytes(bytes)).filter(|key| *key != 0)
}

#[inline]
fn slot(key: u128) -> usize {
    let folded = (key as u64) ^ ((key >> 64) as u64).rotate_left(29);
    (folded.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SLOT_COUNT.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_has_its_own_match() {
        let mut matches = WordMatches::default();
        let words: Vec<String> = (0..4000).map(|n| format!("{}{n}", "w".repeat(n % 20))).collect();
        let of = |word: &str| WordMatch { cooccurring: (word.len() as u32, 1), ..WordMatch::default() };
        let mut found = 0;
        for word in words.iter().chain([&String::new()]) {
            for _ in 0..2 {
                let got = matches.of(word, || {
                    found += 1;
                    of(word)
                });
                assert_eq!(got.cooccurring, (word.len() as u32, 1), "{word}");
            }
        }
        // A word is found again at once, unless it is too long to be remembered.
        let long = words.iter().filter(|word| word.len() > 16).count();
        assert_eq!(found, words.len() + long + 2);
    }
}
