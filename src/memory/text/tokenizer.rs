//! Tokenizer: splits a text into index terms, the same way for records and for cues (`cue_terms.rs`).
//!
//! Pure. Words are folded (`folding.rs`) and stemmed (`stemmer.rs`). A run of a script without spaces gives the pairs of
//! adjacent clusters and its last cluster alone, so that every cluster begins some term and a single cluster can be
//! searched for by prefix. An emoji is a term.
//!
//! A word in one of the spellings of `spelling.rs` also gives the terms of its others: *getUserById* gives *get*,
//! *user*, *by* and *id*; *on-call* gives *oncall*; *Müller* gives *mueller*. These follow the word, or the last word of
//! those that are joined.
//!
//! A term consists of ASCII letters and digits and of non-ASCII characters: no space, quote or NUL. So it is one token
//! to an index that splits at ASCII punctuation, and plain text to a query language. `_` is reserved for terms that no
//! text can contain.

use crate::memory::text::folding::{Class, class, compose, fold};
use crate::memory::text::joiner::{Form, Joiner};
use crate::memory::text::spelling::{self, Part};
use crate::memory::text::spoken_form::{self, NumberForm};
use crate::memory::text::stemmer::stem;
use crate::memory::text::stop_words::is_stop_word;

/// The version of these rules. Raise it with any change of the result of [`index_terms`] for any text: a store whose
/// index has another version is indexed again.
pub(crate) const VERSION: i64 = 4;

/// Longest term, in bytes; longer words are cut. Picked: natural words are shorter, and hashes and base64 differ within
/// it.
const TERM_BYTES: usize = 64;

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A word or an emoji.
    Word,
    /// Two adjacent clusters of a script without spaces.
    Pair,
    /// The last cluster of a run of at least two.
    Last,
    /// A run of one cluster.
    Lone,
    /// A part of the word before it: *user* of *getUserById*.
    Part,
    /// The letters or the digits of the word before it: *python* of *Python3*.
    Run,
    /// Adjacent words as one: *oncall* of *on-call*.
    Joined,
    /// The word before it with its umlauts written out: *mueller* of *Müller*.
    WrittenOut,
    /// The stop word before it, capitalized as a name: *Will*, *IT*.
    Name,
}

impl TokenKind {
    /// Returns true if the token stands in the text as it is, and is not another spelling of one that does.
    pub(crate) fn is_written(self) -> bool {
        !matches!(self, TokenKind::Part | TokenKind::Run | TokenKind::Joined | TokenKind::WrittenOut | TokenKind::Name)
    }

    /// Returns true if the token is one of a sequence: a word, its parts or a cluster, and not a form of several.
    pub(crate) fn is_piece(self) -> bool {
        self.is_written() || matches!(self, TokenKind::Part | TokenKind::Run)
    }

    fn is_word(self) -> bool {
        !matches!(self, TokenKind::Pair | TokenKind::Last | TokenKind::Lone | TokenKind::Name)
    }
}

/// A token, as passed by [`for_each_token`].
#[derive(Debug)]
pub(crate) struct Token<'t> {
    /// The folded word, not stemmed.
    pub(crate) word: &'t str,
    /// The word as it stands in the text; empty for other kinds than [`TokenKind::Word`].
    pub(crate) raw: &'t str,
    /// Its kind.
    pub(crate) kind: TokenKind,
    stemmed: &'t mut String,
}

impl Token<'_> {
    /// Returns the index term. Computed on demand: stemming is most of the work of tokenizing.
    pub(crate) fn term(&mut self) -> &str {
        if !self.kind.is_word() {
            return self.word;
        }
        self.stemmed.clear();
        reserve_term(self.stemmed);
        self.stemmed.push_str(self.word);
        stem(self.stemmed);
        self.stemmed
    }
}

/// Returns the terms of a text in order, each followed by one space: a column's value for the full-text index.
pub(crate) fn index_terms(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for_each_spelling(text, |mut token| {
        line.push_str(token.term());
        line.push(' ');
    });
    line
}

/// Calls `sink` with each token that is written in `text`, in order.
pub(crate) fn for_each_token(text: &str, mut sink: impl FnMut(Token<'_>)) {
    split(text, None, &mut sink);
}

/// Calls `sink` with each token of `text` in order, and with those of its other spellings.
pub(crate) fn for_each_spelling(text: &str, mut sink: impl FnMut(Token<'_>)) {
    split(text, Some(Joiner::default()), &mut sink);
}

/// Not generic: one copy of this code is 15 KB, and an indirect call for each token is not measurable.
fn split(text: &str, spellings: Option<Joiner>, sink: &mut dyn FnMut(Token<'_>)) {
    if text.is_empty() {
        return;
    }
    let mut splitter = Splitter {
        sink,
        text,
        spellings,
        start: 0,
        at: 0,
        folded: String::new(),
        run: String::new(),
        starts: Vec::new(),
        stemmed: String::new(),
        shape: Shape::Word,
    };
    let mut rest = text;
    loop {
        if splitter.begins_plain(rest) {
            // What follows a plain word begins a word, too.
            while let Some(word) = plain_word(rest) {
                (splitter.sink)(Token { word, raw: word, kind: TokenKind::Word, stemmed: &mut splitter.stemmed });
                rest = rest.get(word.len() + 1..).unwrap_or_default();
            }
        }
        let (plain, behind) = rest.split_at(rest.bytes().take_while(u8::is_ascii_alphanumeric).count());
        splitter.at = text.len() - rest.len();
        if !plain.is_empty() {
            splitter.push_plain(plain);
        }
        splitter.at = text.len() - behind.len();
        let mut chars = behind.chars();
        match chars.next() {
            Some(gap) if gap.is_ascii() => splitter.flush(Edge::of(gap)),
            Some(c) => fold(c, &mut |folded| splitter.push(folded)),
            None => break,
        }
        rest = chars.as_str();
    }
    splitter.at = text.len();
    splitter.flush(Edge::Other);
    splitter.finish();
}

/// Returns the word that `rest` of a text begins with, if it consists of small letters a to z between spaces, as most words
/// do: it needs no folding.
#[inline]
fn plain_word(rest: &str) -> Option<&str> {
    let bytes = rest.as_bytes();
    let length = small_letter_count(bytes);
    let ends = bytes.get(length).is_none_or(|next| matches!(next, b' ' | b'\n'));
    let is_plain = ends && (1..=TERM_BYTES).contains(&length);
    // c plus plus.
    (is_plain && (length > 1 || spoken_form::spoken_sign(bytes[0], &rest[1..]).is_none())).then(|| &rest[..length])
}

/// Returns how many small letters a to z come first: eight at a time, since this is most of the work on most words.
#[inline]
fn small_letter_count(bytes: &[u8]) -> usize {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut count = 0;
    while let Some(eight) = bytes[count..].first_chunk() {
        let eight = u64::from_le_bytes(*eight);
        let low = eight & !HIGH_BITS;
        // The high bit of each byte from a, and from the one behind z.
        let (from_a, behind_z) = (low + EACH * u64::from(0x80 - b'a'), low + EACH * u64::from(0x7F - b'z'));
        let others = !(from_a & !behind_z & !eight) & HIGH_BITS;
        if others != 0 {
            return count + (others.trailing_zeros() / 8) as usize;
        }
        count += 8;
    }
    while count < bytes.len() && bytes[count].is_ascii_lowercase() {
        count += 1;
    }
    count
}

/// Reserves the bytes of a term. Most texts consist of plain words, which need no buffer.
#[inline]
fn reserve_term(buffer: &mut String) {
    if buffer.capacity() == 0 {
        buffer.reserve_exact(TERM_BYTES);
    }
}

/// The kind of the run that is being collected.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Word,
    /// A word after an apostrophe: *s* of *Anna's*, *homme* of *l'homme*.
    Tail,
    Grams,
}

/// The character that ended a run.
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

struct Splitter<'t> {
    sink: &'t mut dyn FnMut(Token<'_>),
    text: &'t str,
    /// `None` if only written tokens are wanted.
    spellings: Option<Joiner>,
    /// The byte offsets in the text of the run and of the character that is being read: `start <= at`.
    start: usize,
    at: usize,
    /// A form of `spellings`, folded.
    folded: String,
    /// The folded characters of the run.
    run: String,
    /// The byte offsets of the clusters in a run of grams.
    starts: Vec<usize>,
    stemmed: String,
    shape: Shape,
}

impl Splitter<'_> {
    /// Returns true if a word in `rest` of the text that consists of small letters has one spelling.
    fn begins_plain(&self, rest: &str) -> bool {
        self.run.is_empty()
            && self.shape == Shape::Word
            && self.spellings.as_ref().is_none_or(Joiner::is_empty)
            && self.text.as_bytes()[..self.text.len() - rest.len()].last() != Some(&b'.')
    }

    fn push(&mut self, c: char) {
        reserve_term(&mut self.run);
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
                self.start = self.at;
                self.run.push(c);
                self.flush(Edge::Other);
            }
            Class::Gap => self.flush(Edge::of(c)),
        }
    }

    /// Appends a run of ASCII letters and digits at once: most texts consist of them.
    fn push_plain(&mut self, part: &str) {
        if self.shape == Shape::Grams {
            self.flush(Edge::Other);
        }
        if self.run.is_empty() {
            self.start = self.at;
        }
        reserve_term(&mut self.run);
        let start = self.run.len();
        let room = TERM_BYTES.saturating_sub(start);
        self.run.push_str(&part[..part.len().min(room)]);
        self.run[start..].make_ascii_lowercase();
    }

    fn push_word(&mut self, c: char) {
        if self.shape == Shape::Grams {
            self.flush(Edge::Other);
        }
        if self.run.is_empty() {
            self.start = self.at;
        }
        // Longer words are cut.
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
        if self.run.is_empty() || ending {
            return;
        }
        if elided {
            return self.join();
        }
        let end = (0..=TERM_BYTES.min(self.run.len())).rev().find(|&end| self.run.is_char_boundary(end));
        self.run.truncate(end.unwrap_or(0));
        let sign = spelling::sign_name(&self.text[self.at..]);
        let is_letter = self.run.len() == 1 && self.run.as_bytes()[0].is_ascii_lowercase();
        let behind = &self.text[self.at..];
        let spoken = if is_letter { spoken_form::spoken_sign(self.run.as_bytes()[0], behind) } else { None };
        if let (true, Some(name)) = (is_letter, sign) {
            // C++ is another word than C.
            self.run.push_str(name);
        }
        let raw = &self.text[self.start..self.at];
        (self.sink)(Token { word: &self.run, raw, kind: TokenKind::Word, stemmed: &mut self.stemmed });
        let Some(joiner) = &self.spellings else { return };
        // Most words stand between spaces and have one spelling.
        let ends = self.text.as_bytes().get(self.at).is_none_or(|next| matches!(next, b' ' | b'\n'));
        let is_dotted = spelling::has_leading_dot(&self.text[..self.start]);
        if let Some(name) = spoken {
            let word = format!("{}{name}", self.run);
            (self.sink)(Token { word: &word, raw: "", kind: TokenKind::Joined, stemmed: &mut self.stemmed });
        }
        if ends && !is_dotted && joiner.is_empty() && raw.bytes().all(|b| b.is_ascii_lowercase()) {
            return;
        }
        if spelling::is_capitalized(&self.text[..self.start], raw, &self.text[self.at..]) && is_stop_word(&self.run) {
            let word = format!("{}{}", self.run, spelling::NAME_MARK);
            (self.sink)(Token { word: &word, raw: "", kind: TokenKind::Name, stemmed: &mut self.stemmed });
        }
        if raw.starts_with(|c: char| c.is_ascii_digit()) {
            let (form, kind) = match spoken_form::number_form(self.text, self.start, raw) {
                Some(NumberForm::Joined(form)) => (form, TokenKind::Joined),
                Some(NumberForm::Unpadded(form)) => (form, TokenKind::Run),
                None => (String::new(), TokenKind::Joined),
            };
            if !form.is_empty() {
                (self.sink)(Token { word: &form, raw: "", kind, stemmed: &mut self.stemmed });
            }
        }
        spelling::for_each_part(raw, &mut |part| {
            self.folded.clear();
            let (part, kind) = match part {
                Part::Run(part) => (part, TokenKind::Run),
                Part::Hump(part) => (part, TokenKind::Part),
            };
            part.chars().for_each(|c| fold(c, &mut |folded| self.folded.push(folded)));
            (self.sink)(Token { word: &self.folded, raw: "", kind, stemmed: &mut self.stemmed });
        });
        let written_out = spelling::written_out(raw, |c, out| fold(c, &mut |folded| out.push(folded)));
        if let Some(word) =
            written_out.filter(|word| !is_stop_word(&self.run) && word.chars().all(|c| class(c) == Class::Word))
        {
            (self.sink)(Token { word: &word, raw: "", kind: TokenKind::WrittenOut, stemmed: &mut self.stemmed });
        }
        let has_dot = is_dotted && raw.starts_with(char::is_alphabetic);
        let with_dot = has_dot.then(|| format!("dot{}", self.run));
        let with_sign = sign.filter(|_| !is_letter).map(|name| format!("{}{name}", self.run));
        for word in [with_dot, with_sign].into_iter().flatten() {
            (self.sink)(Token { word: &word, raw: "", kind: TokenKind::Joined, stemmed: &mut self.stemmed });
        }
        self.join();
    }

    /// Adds the run to the words that marks join.
    fn join(&mut self) {
        let Some(joiner) = &mut self.spellings else { return };
        let (sink, stemmed) = (&mut self.sink, &mut self.stemmed);
        joiner.push(self.text, self.start, self.at, &self.run, |form| sink(joined(form, stemmed)));
    }

    fn finish(&mut self) {
        let Some(joiner) = &mut self.spellings else { return };
        let (sink, stemmed) = (&mut self.sink, &mut self.stemmed);
        joiner.finish(|form| sink(joined(form, stemmed)));
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
            (self.sink)(Token { word: gram, raw: "", kind, stemmed: &mut self.stemmed });
        }
    }
}

fn joined<'t>(form: Form<'t>, stemmed: &'t mut String) -> Token<'t> {
    let (word, kind) = match form {
        Form::Whole(word) => (word, TokenKind::Joined),
        Form::Beginning(word) => (word, TokenKind::Part),
    };
    Token { word, raw: "", kind, stemmed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::text::stop_words::STOP_WORDS;

    fn terms(text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        for_each_token(text, |mut token| terms.push(token.term().to_owned()));
        terms
    }

    #[test]
    fn small_letters_are_counted_up_to_any_other_byte() {
        for other in (0..=u8::MAX).filter(|byte| !byte.is_ascii_lowercase()) {
            for at in 0..20 {
                let mut bytes: Vec<u8> = (0..20).map(|n| if n % 2 == 0 { b'a' } else { b'z' }).collect();
                assert_eq!(small_letter_count(&bytes[..at]), at);
                bytes[at] = other;
                assert_eq!(small_letter_count(&bytes), at, "{other}");
            }
        }
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
    fn a_text_is_indexed_by_all_spellings_of_its_words() {
        for (text, want) in [
            ("getUserById", "getuserbyid get user by id "),
            ("MyHTTPServers URLs", "myhttpserv my http server url "),
            ("OAuth2 sha256", "oauth2 oauth auth sha256 sha 256 "),
            ("9f8e7d6c1a2b3c", "9f8e7d6c1a2b3c "),
            ("an on-call e-mail", "an on call oncal e mail email "),
            ("C++17 C# .NET", "cpp 17 csharp net dotnet "),
            ("v2.1.0, 1,250,000", "v2 1 0 1 2·1 2·1·0 250 000 1250000 "),
            ("at 2:30 pm, version 2", "at 2 14·30 30 2·30 pm version 2 v2 "),
            ("c sharp 0042", "c csharp sharp 0042 42 "),
            ("🎉 ok", "🎉 ok "),
            ("Müller über", "muller mueller uber "),
            ("Is Will in IT? Will it?", "is will will· in it it· will it "),
            ("TO BE OR NOT", "to be or not "),
            ("O'Brien d'accord", "brien obrien accord "),
        ] {
            assert_eq!(index_terms(text), want, "{text}");
        }
    }

    #[test]
    fn any_text_gives_terms_of_one_token_and_bounded_length() {
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
    fn stop_words_are_sorted_and_folded() {
        assert!(STOP_WORDS.is_sorted_by(|a, b| a < b), "binary search needs it");
        for (word, languages) in STOP_WORDS {
            let mut token = None;
            for_each_token(word, |t| token = token.take().or(Some(t.word.to_owned())));
            assert_eq!(token.as_deref(), Some(*word));
            assert!(*languages > 0);
        }
    }
}
