//! How one text matches a query: which of its terms the text has, how often and in which spelling.
//!
//! Pure.

use crate::memory::text::tokenizer::TokenKind;

/// Pairs of adjacent query words that count in one text. Picked: a third adds no information.
pub(crate) const MAX_PAIR_COUNT: u32 = 2;

/// Most words beside those of the cue that are counted. Picked: a text with as many says something.
pub(crate) const MAX_NEW_WORD_COUNT: u32 = 3;

/// Most terms of a query: those of the cue and the further ones.
pub(crate) const MAX_TERM_COUNT: usize = 64;

/// A set of a query's terms, at most [`MAX_TERM_COUNT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TermSet(u64);

impl TermSet {
    pub(crate) fn only(at: usize) -> TermSet {
        TermSet(1 << at)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, at: usize) -> bool {
        self.0 & 1 << at != 0
    }

    pub(crate) fn union(self, other: TermSet) -> TermSet {
        TermSet(self.0 | other.0)
    }

    /// Returns true if one of the first `count` terms is in the set.
    pub(crate) fn has_of_first(self, count: usize) -> bool {
        self.0 & ((1 << count) - 1) != 0
    }

    /// Returns true if a term is in both.
    pub(crate) fn meets(self, other: TermSet) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Returns the terms' positions in rising order.
    #[inline]
    pub(crate) fn positions(self) -> impl Iterator<Item = usize> {
        let mut left = self.0;
        std::iter::from_fn(move || {
            let at = left.trailing_zeros() as usize;
            left &= left.wrapping_sub(1);
            (at < MAX_TERM_COUNT).then_some(at)
        })
    }

    pub(crate) fn add(&mut self, at: usize) {
        *self = self.union(TermSet::only(at));
    }

    pub(crate) fn without(self, other: TermSet) -> TermSet {
        TermSet(self.0 & !other.0)
    }
}

/// How a record's text matches a query.
#[derive(Debug, Default)]
pub(crate) struct TextMatch {
    /// The weighted count of each term.
    pub(crate) counts: Vec<f64>,
    /// The terms that occur, in any spelling.
    pub(crate) has: TermSet,
    /// The terms that occur as the query has them.
    pub(crate) written: TermSet,
    /// The terms that occur by the start of a word only: *photo* for *photography*.
    pub(crate) prefix_match: TermSet,
    /// The terms that occur only as several words for one, or one for several: *road trip*, *on-call*.
    pub(crate) joined: TermSet,
    /// The terms that occur only as parts of a word, or as a word that is a part here: *oauth* of *OAuth2*.
    pub(crate) parts: TermSet,
    /// The terms that occur only with other letters: *Mueller* for *Müller*, a hash by its beginning.
    pub(crate) respelled: TermSet,
    /// For each term, the strongest association (NPMI, 0 to 1) of a co-occurring term in the text. Empty if no term of
    /// the query has co-occurring terms.
    pub(crate) associations: Vec<f64>,
    /// The terms in the text's speaker label.
    pub(crate) speaker: TermSet,
    /// Pairs of adjacent query words that are adjacent here too, at most [`MAX_PAIR_COUNT`].
    pub(crate) pairs: u32,
    /// The last word that was read is a term of the query.
    pub(crate) is_word_found: bool,
    /// The share of the query's spellings that the text has, letter for letter.
    pub(crate) exact: f64,
    /// Words of the text.
    pub(crate) length: f64,
    /// Words of the text before the query's identifier, speaker label left out; `None` if the text has not all of it.
    pub(crate) before_identifier: Option<f64>,
    /// Words of a question after its speaker label that are neither in the cue nor stop words, at most
    /// [`MAX_NEW_WORD_COUNT`]; 0 of other texts.
    pub(crate) new_words: u32,
    /// The text is a question.
    pub(crate) asks: bool,
    /// The text mentions a time. False unless the query asks for one.
    pub(crate) tells_time: bool,
}

impl TextMatch {
    /// Returns the set of the terms that occur as a query's `own` kind of term does as a `kind` of token.
    pub(crate) fn spelling(&mut self, own: TokenKind, kind: TokenKind, is_equal: bool) -> &mut TermSet {
        match (own, kind) {
            _ if !is_equal => &mut self.respelled,
            _ if own == kind || own == TokenKind::Name || (own.is_written() && kind.is_written()) => &mut self.written,
            (TokenKind::Joined, _) | (_, TokenKind::Joined) => &mut self.joined,
            (TokenKind::Part | TokenKind::Run, _) | (_, TokenKind::Part | TokenKind::Run) => &mut self.parts,
            _ => &mut self.respelled,
        }
    }
}
