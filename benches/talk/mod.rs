//! Generated texts with the word frequencies of natural language, and questions about them; the same in every run.

use std::fmt::Write as _;

/// Size of the vocabulary.
const VOCABULARY_SIZE: usize = 40_000;

/// Pseudo-random numbers, the same in every run (xorshift, Marsaglia 2003).
pub(crate) struct Dice(u64);

/// Words whose frequency follows Zipf's law.
pub(crate) struct Talk {
    words: Vec<String>,
    /// Cumulative frequencies.
    sums: Vec<f64>,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed.max(1))
    }

    pub(crate) fn under(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

impl Talk {
    /// Builds words from syllables and English endings.
    pub(crate) fn new() -> Talk {
        const SYLLABLES: [&str; 20] = [
            "ba", "co", "di", "fu", "ge", "ha", "ki", "lo", "mu", "ne", "pa", "qui", "ro", "su", "ti", "va", "we",
            "xi", "yo", "zu",
        ];
        const ENDINGS: [&str; 6] = ["", "s", "ing", "ed", "er", "n"];
        let word = |n: usize| {
            let (mut word, mut rest) = (String::new(), n + 20);
            while rest > 0 {
                word.push_str(SYLLABLES[rest % 20]);
                rest /= 20;
            }
            write!(word, "{}", ENDINGS[n % 6]).expect("a string takes it");
            word
        };
        let mut sum = 0.0;
        let sums = (1..=VOCABULARY_SIZE).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Talk { sums: sums.collect(), words: (0..VOCABULARY_SIZE).map(word).collect() }
    }

    /// Returns a text of this many words.
    pub(crate) fn text(&self, dice: &mut Dice, words: usize) -> String {
        let all = self.sums.last().copied().unwrap_or_default();
        let word = |_| {
            let at = dice.under(1 << 40) as f64 / (1_u64 << 40) as f64 * all;
            self.words[self.sums.partition_point(|sum| *sum < at).min(self.words.len() - 1)].as_str()
        };
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    }
}

/// Returns some words of a random text, in their order.
pub(crate) fn question(dice: &mut Dice, texts: &[String]) -> String {
    let words: Vec<&str> = texts[dice.under(texts.len())].split(' ').collect();
    let wanted = (4 + dice.under(4)).min(words.len());
    let mut at: Vec<usize> = (0..wanted).map(|_| dice.under(words.len())).collect();
    at.sort_unstable();
    at.into_iter().map(|at| words[at]).collect::<Vec<_>>().join(" ")
}
