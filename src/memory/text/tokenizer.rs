//! Text → index terms: the one place that says what a word is, for what is stored and for what is
//! asked alike.
//!
//! Pure. Words are folded (`fold.rs`) and stemmed (`stem.rs`); a run of a script without spaces
//! gives the pairs of its neighboring clusters and its last cluster alone, so that every cluster
//! begins some term and a single one can be asked for by prefix. A sign (emoji) is a term.
//!
//! A term holds ASCII letters and digits and any non-ASCII character, nothing else: no space, no
//! quote, no NUL, so it is one token to an index that splits at ASCII punctuation, and text to a
//! query language. `_` in a term is kept for marks that no text can make.

use std::cmp::Reverse;
use std::collections::HashSet;

use crate::memory::sort;
use crate::memory::text::folding::{Class, class, compose, fold};
use crate::memory::text::stemmer::stem;
use crate::memory::text::stop_words::is_stop_word;

/// The version of these rules. A store whose index was made by others must be indexed anew: raise
/// it with any change of what [`index_terms`] gives for any text.
pub(crate) const VERSION: i64 = 1;

/// Bytes of a term; longer words are known by their beginning. Picked: the longest words of
/// languages are shorter, and hashes and base64 differ within it.
const TERM_BYTES: usize = 64;

/// What a token of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A word, or a sign.
    Word,
    /// Two neighboring clusters of a script without spaces.
    Pair,
    /// The last cluster of a run of several.
    Last,
    /// A run of one cluster.
    Lone,
}

/// One token, as [`each`] gives it.
#[derive(Debug)]
pub(crate) struct Token<'t> {
    /// The folded word before its stem is taken.
    pub(crate) word: &'t str,
    /// What it is.
    pub(crate) kind: TokenKind,
    stemmed: &'t mut String,
}

impl Token<'_> {
    /// What stands in the index. Made when asked for: stemming is most of the work of taking a text
    /// apart.
    pub(crate) fn term(&mut self) -> &str {
        if self.kind != TokenKind::Word {
            return self.word;
        }
        self.stemmed.clear();
        self.stemmed.push_str(self.word);
        stem(self.stemmed);
        self.stemmed
    }
}

/// How a term is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatchMode {
    /// The term itself.
    Exact,
    /// Any term that begins so.
    Prefix,
}

/// A term of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryTerm {
    /// The term.
    pub(crate) term: String,
    /// The word it was made of, for people.
    pub(crate) word: String,
    /// How it is looked for.
    pub(crate) mode: MatchMode,
}

/// The terms of a text in its order, each followed by one space: what the index is fed.
pub(crate) fn index_terms(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for_each_token(text, |mut token| {
        line.push_str(token.term());
        line.push(' ');
    });
    line
}

/// The distinct terms of a question without its stop words; with them where it has nothing else.
pub(crate) fn query_terms(cue: &str) -> Vec<QueryTerm> {
    let mut seen = HashSet::new();
    let (mut telling, mut stops) = (Vec::new(), Vec::new());
    for_each_token(cue, |mut token| {
        let (word, kind) = (token.word, token.kind);
        let term = token.term();
        if kind == TokenKind::Last || !seen.insert(term.to_owned()) {
            return;
        }
        let mode = if kind == TokenKind::Lone { MatchMode::Prefix } else { MatchMode::Exact };
        let asked = QueryTerm { term: term.to_owned(), word: word.to_owned(), mode };
        if is_stop_word(word) { stops.push(asked) } else { telling.push(asked) }
    });
    if telling.is_empty() { stops } else { telling }
}

/// The terms of a phrase in its order, stop words and all, and how the last one is looked for;
/// `None` where there are none.
pub(crate) fn phrase_terms(text: &str) -> Option<(Vec<String>, MatchMode)> {
    let mut terms = Vec::new();
    let mut look = MatchMode::Exact;
    for_each_token(text, |mut token| {
        terms.push(token.term().to_owned());
        look =
            if matches!(token.kind, TokenKind::Last | TokenKind::Lone) { MatchMode::Prefix } else { MatchMode::Exact };
    });
    (!terms.is_empty()).then_some((terms, look))
}

/// Calls `sink` with each token of `text`, in order.
pub(crate) fn for_each_token(text: &str, sink: impl FnMut(Token<'_>)) {
    if text.is_empty() {
        return;
    }
    let mut splitter = Splitter {
        sink,
        run: String::with_capacity(TERM_BYTES),
        starts: Vec::new(),
        stemmed: String::with_capacity(TERM_BYTES),
        shape: Shape::Word,
    };
    let mut rest = text;
    loop {
        let (plain, behind) = rest.split_at(rest.bytes().take_while(u8::is_ascii_alphanumeric).count());
        if !plain.is_empty() {
            splitter.push_plain(plain);
        }
        let mut chars = behind.chars();
        match chars.next() {
            Some(gap) if gap.is_ascii() => splitter.flush(Edge::of(gap)),
            Some(c) => fold(c, &mut |folded| splitter.push(folded)),
            None => break,
        }
        rest = chars.as_str();
    }
    splitter.flush(Edge::Other);
}

/// What the run in the making is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Word,
    /// A word behind an apostrophe: *s* of *Anna's*, *homme* of *l'homme*.
    Tail,
    Grams,
}

/// What ended a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Edge {
    Apostrophe,
    Other,
}

impl Edge {
    fn of(gap: char) -> Edge {
        if matches!(gap, '\'' | '\u{2019}') { Edge::Apostrophe } else { Edge::Other }
    }
}

struct Splitter<F> {
    sink: F,
    /// The folded characters of the run.
    run: String,
    /// Of a run of grams: where each cluster starts.
    starts: Vec<usize>,
    stemmed: String,
    shape: Shape,
}

impl<F: FnMut(Token<'_>)> Splitter<F> {
    fn push(&mut self, c: char) {
        if let Some(one) = self.run.chars().next_back().and_then(|before| compose(before, c)) {
            self.run.pop();
            self.run.push(one);
            return;
        }
        match class(c) {
            Class::Word => self.push_word(c),
            Class::Gram => {
                if self.shape != Shape::Grams {
                    self.flush(Edge::Other);
                    self.shape = Shape::Grams;
                }
                self.starts.push(self.run.len());
                self.run.push(c);
            }
            Class::GramMark => {
                if self.shape == Shape::Grams && self.run.len() - self.starts[self.starts.len() - 1] < TERM_BYTES / 2 {
                    self.run.push(c);
                }
            }
            Class::Sign => {
                self.flush(Edge::Other);
                self.run.push(c);
                self.flush(Edge::Other);
            }
            Class::Gap => self.flush(Edge::of(c)),
        }
    }

    /// Takes a run of ASCII letters and digits at once: most texts are made of them.
    fn push_plain(&mut self, part: &str) {
        if self.shape == Shape::Grams {
            self.flush(Edge::Other);
        }
        let start = self.run.len();
        let room = TERM_BYTES.saturating_sub(start);
        self.run.push_str(&part[..part.len().min(room)]);
        self.run[start..].make_ascii_lowercase();
    }

    fn push_word(&mut self, c: char) {
        if self.shape == Shape::Grams {
            self.flush(Edge::Other);
        }
        // Beyond the longest term the rest of a word tells nothing more.
        if self.run.len() < TERM_BYTES {
            self.run.push(c);
        }
    }

    fn flush(&mut self, edge: Edge) {
        match self.shape {
            Shape::Grams => self.grams(),
            Shape::Word | Shape::Tail => self.word(edge),
        }
        self.shape = if edge == Edge::Apostrophe && !self.run.is_empty() { Shape::Tail } else { Shape::Word };
        self.run.clear();
        self.starts.clear();
    }

    fn word(&mut self, edge: Edge) {
        let elided = edge == Edge::Apostrophe && (self.run.chars().count() == 1 || self.run == "qu");
        let ending = self.shape == Shape::Tail && matches!(&*self.run, "s" | "t" | "d" | "m" | "ll" | "re" | "ve");
        if self.run.is_empty() || elided || ending {
            return;
        }
        let end = (0..=TERM_BYTES.min(self.run.len())).rev().find(|&end| self.run.is_char_boundary(end));
        self.run.truncate(end.unwrap_or(0));
        (self.sink)(Token { word: &self.run, kind: TokenKind::Word, stemmed: &mut self.stemmed });
    }

    fn grams(&mut self) {
        let end = self.run.len();
        for (i, &start) in self.starts.iter().enumerate() {
            let (stop, kind) = match self.starts.get(i + 1) {
                Some(_) => (self.starts.get(i + 2).copied().unwrap_or(end), TokenKind::Pair),
                None if i == 0 => (end, TokenKind::Lone),
                None => (end, TokenKind::Last),
            };
            let gram = &self.run[start..stop];
            (self.sink)(Token { word: gram, kind, stemmed: &mut self.stemmed });
        }
    }
}

/// The longest telling words of a text.
pub(crate) fn longest_terms(text: &str, most: usize) -> Vec<QueryTerm> {
    let mut words = query_terms(text);
    words.retain(|asked| asked.mode == MatchMode::Exact);
    sort::sort_by_key(&mut words, |asked| Reverse(asked.word.len()));
    words.truncate(most);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::text::stop_words::STOP_WORDS;

    fn terms(text: &str) -> Vec<String> {
        index_terms(text).split_terminator(' ').map(str::to_owned).collect()
    }

    fn words(cue: &str) -> Vec<String> {
        query_terms(cue).into_iter().map(|asked| asked.term).collect()
    }

    #[test]
    fn texts_of_many_languages_become_terms() {
        for (text, want) in [
            ("", &[][..]),
            (" \0\"*():^-+{}~_ ", &[]),
            ("The cats were running", &["the", "cat", "were", "run"]),
            ("Anna's dog isn't O'Brien’s", &["anna", "dog", "isn", "brien"]),
            ("l'homme qu'il aujourd'hui d’accord", &["homm", "il", "aujourd", "hui", "accord"]),
            ("foo_bar::baz v0.4.2", &["foo", "bar", "baz", "v0", "4", "2"]),
            ("Straße STRASSE", &["strass", "strass"]),
            ("Ёлки елка", &["елк", "елк"]),
            ("الكِتَابُ كتـاب", &["كتاب", "كتاب"]),
            ("日本語", &["日本", "本語", "語"]),
            ("猫", &["猫"]),
            ("東京タワー、2020年", &["東京", "京た", "たわ", "わー", "ー", "2020", "年"]),
            ("ｶﾞｲﾄﾞ ガイド", &["がい", "いど", "ど", "がい", "いど", "ど"]),
            ("학교에서", &["학교", "교에", "에서", "서"]),
            ("ที่นี่", &["ที่นี่", "นี่"]),
            ("नमस्ते दुनिया।", &["नमस्ते", "दुनिया"]),
            ("party🎉🎉 time👍🏽", &["parti", "🎉", "🎉", "time", "👍"]),
            ("cafe\u{301} Café", &["cafe", "cafe"]),
            ("abc漢字def", &["abc", "漢字", "字", "def"]),
        ] {
            assert_eq!(terms(text), want, "{text}");
        }
    }

    #[test]
    fn a_term_is_one_token_of_bounded_length_whatever_the_text() {
        let mut text = String::new();
        for c in '\0'..=char::MAX {
            text.push(c);
            if (c as u32).is_multiple_of(7) {
                text.push(' ');
            }
        }
        text.push_str(&"x".repeat(1000));
        text.push_str(&"ж".repeat(1000));
        text.push_str(&format!("ก{}ก", "\u{0E34}".repeat(1000)));
        let mut count = 0;
        for_each_token(&text, |mut token| {
            count += 1;
            let term = token.term();
            assert!(!term.is_empty() && term.len() <= TERM_BYTES + 8, "{}", term.len());
            let clean = |c: char| !c.is_ascii() || c.is_ascii_alphanumeric();
            assert!(term.chars().all(clean), "{term:?}");
        });
        assert!(count > 100_000);
    }

    #[test]
    fn a_question_keeps_its_telling_words_once_each() {
        for (cue, want) in [
            ("When did Anna go camping, and where did Anna camp?", &["anna", "go", "camp"][..]),
            ("Where is it?", &["where", "is", "it"]),
            ("Was hat Anna über den Hund gesagt?", &["hat", "anna", "hund", "gesagt"]),
            ("Qu'est-ce que le chat mange ?", &["chat", "mang"]),
            ("¿Dónde está el perro?", &["perro"]),
            ("что сказала кошка", &["сказа", "кошк"]),
            ("猫", &["猫"]),
            ("日本語", &["日本", "本語"]),
            ("OR AND NOT NEAR(x y) \"*\" ^z", &["near", "x", "z"]),
            ("...", &[]),
        ] {
            assert_eq!(words(cue), want, "{cue}");
        }
        assert_eq!(query_terms("猫")[0].mode, MatchMode::Prefix);
        assert_eq!(query_terms("Camping")[0].word, "camping");
    }

    #[test]
    fn a_phrase_keeps_every_word() {
        assert_eq!(
            phrase_terms("to be, or not"),
            Some((["to", "be", "or", "not"].map(String::from).to_vec(), MatchMode::Exact))
        );
        assert_eq!(phrase_terms("日本"), Some((["日本", "本"].map(String::from).to_vec(), MatchMode::Prefix)));
        assert_eq!(phrase_terms("?!"), None);
    }

    #[test]
    fn stop_words_are_sorted_and_folded() {
        assert!(STOP_WORDS.is_sorted_by(|a, b| a < b), "binary search needs it");
        for word in STOP_WORDS {
            let mut token = None;
            for_each_token(word, |t| token = token.take().or(Some(t.word.to_owned())));
            assert_eq!(token.as_deref(), Some(*word));
        }
    }
}
