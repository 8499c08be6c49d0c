//! The terms of a cue: what a recall looks up in the index.
//!
//! Pure. A cue is split as records are (`tokenizer.rs`); its stop words are left out, and each term is kept once.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::RangeInclusive;

use crate::memory::text::spelling;
use crate::memory::text::spoken_form::{as_written, clock_alias};
use crate::memory::text::stemmer::stem;
use crate::memory::text::stop_words::{self, is_stop_word};
use crate::memory::text::tokenizer::{Token, TokenKind, for_each_spelling, for_each_token};
use crate::sort;

/// Terms of a cue that are held, and twice as many while it is read. Picked: each is looked up to find those that some
/// record has.
const MAX_DISTINCT_TERM_COUNT: usize = 4096;

/// Versions of a cue whose numbers are not searched by themselves.
const MAX_VERSION_COUNT: usize = 16;

/// Most words of a cue that are tried as one.
const MAX_JOINED_WORDS: usize = 4;

/// Most words of a cue in which more than two adjacent words are tried as one. Picked: each form is a look-up.
const SHORT_CUE_WORD_COUNT: usize = 5;

/// Most forms of a cue's adjacent words as one. Picked: they are looked up together.
const MAX_JOINED_COUNT: usize = 48;

/// The bytes of a cue in which those words are.
const MAX_JOINED_CUE_BYTES: usize = 8 << 10;

/// The length of adjacent words as one.
const JOINED_BYTES: RangeInclusive<usize> = 2..=40;

/// Verbs that are names behind these words, where no verb stands: *did will call*, *lunch with don*.
const VERB_NAMES: [&str; 3] = ["will", "don", "can"];
const BEFORE_VERB_NAME: [&str; 18] = [
    "did", "does", "do", "has", "had", "have", "is", "was", "with", "about", "for", "from", "by", "of", "hat", "mit",
    "von", "avec",
];

/// How a query term matches index terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MatchMode {
    /// Only the equal term.
    Exact,
    /// Any term that starts with it.
    Prefix,
}

/// A term of a cue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryTerm {
    /// The term.
    pub(crate) term: String,
    /// The folded word that it is the stem of, for display.
    pub(crate) word: String,
    /// Its match mode.
    pub(crate) mode: MatchMode,
    /// The kind of its token.
    pub(crate) kind: TokenKind,
}

impl QueryTerm {
    /// Returns true if the term may be a hash or the beginning of one.
    pub(crate) fn is_hash_part(&self) -> bool {
        self.kind == TokenKind::Word && spelling::may_begin_hash(&self.word)
    }

    /// Returns true if this name stands in a text as `token`, capitalized alike; as an abbreviation also with dots or a
    /// slash: *IO* and *I/O*.
    pub(crate) fn is_named(&self, token: &Token<'_>) -> bool {
        if self.kind != TokenKind::Name || !matches!(token.kind, TokenKind::Word | TokenKind::Joined) {
            return false;
        }
        let is_abbreviation = !self.word.chars().any(char::is_lowercase);
        let is_alike = match (token.kind, is_abbreviation) {
            (TokenKind::Joined, _) => is_abbreviation,
            (_, true) => token.raw == self.word,
            (_, false) => token.raw.starts_with(char::is_uppercase),
        };
        is_alike && token.word == self.named_word()
    }

    /// Returns the folded stop word that a name is written like.
    pub(crate) fn named_word(&self) -> &str {
        self.term.trim_end_matches(spelling::NAME_MARK)
    }

    /// Returns the stop word as a name, as it is capitalized in `word`.
    fn as_name(&self, word: String) -> QueryTerm {
        let term = format!("{}{}", self.word, spelling::NAME_MARK);
        QueryTerm { term, word, mode: MatchMode::Exact, kind: TokenKind::Name }
    }
}

/// The terms of a cue, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct CueTerms {
    /// Those that are no stop words, and capitalized stop words as names.
    pub(crate) content: Vec<QueryTerm>,
    /// The stop words that no other word of the cue shows to be one: *ella* in an English cue.
    pub(crate) doubtful: Vec<QueryTerm>,
    /// Stop words that stand as names, as names: *ella* in an English cue, *will* behind *did*.
    pub(crate) named: Vec<QueryTerm>,
    /// The other stop words.
    pub(crate) stops: Vec<QueryTerm>,
    /// The stop words as names, but for the first word of a longer cue, which asks. They are searched if no record has
    /// other terms.
    pub(crate) names: Vec<QueryTerm>,
}

impl CueTerms {
    /// Returns the terms of a cue.
    pub(crate) fn of(cue: &str) -> CueTerms {
        let mut all = distinct_terms(&as_written(cue));
        let names: Vec<String> = all
            .iter()
            .filter(|term| term.kind == TokenKind::Name)
            .map(|term| term.term.trim_end_matches(spelling::NAME_MARK).to_owned())
            .collect();
        all.retain(|term| !(term.kind == TokenKind::Word && names.contains(&term.term)));
        // 2.1.0 does not ask for what has a 2 and a 1.
        let versions = all.iter().filter(|term| spelling::is_version(&term.word)).take(MAX_VERSION_COUNT);
        let is_time = |form: &str| cue.contains(&form.replace(spelling::NUMBER_BORDER, ":"));
        let versions: Vec<String> = versions.map(|term| term.word.clone()).filter(|form| !is_time(form)).collect();
        let is_of_version = |word: &str| versions.iter().any(|form| spelling::has_number(form, word));
        all.retain(|term| !term.kind.is_written() || !is_of_version(&term.word));
        // The languages in which at least two words of the cue are stop words.
        let (mut one, mut two) = (0, stop_words::PAIRS);
        for term in all.iter().filter(|term| term.kind.is_written()) {
            let languages = stop_words::languages(&term.word);
            two |= one & languages;
            one |= languages;
        }
        let mut terms = CueTerms::default();
        let is_lone = all.len() == 1;
        let mut opens_name = false;
        for (at, term) in all.into_iter().enumerate() {
            if term.kind == TokenKind::Word && is_stop_word(&term.word) {
                let name = term.as_name(capitalized(&term.word));
                let is_doubtful = stop_words::languages(&term.word) & two == 0;
                let is_verb = VERB_NAMES.contains(&&*term.word);
                if (is_doubtful && (at > 0 || is_verb)) || (opens_name && is_verb) {
                    terms.named.push(name.clone());
                }
                if at > 0 || is_lone {
                    terms.names.push(name);
                }
            }
            if term.kind == TokenKind::Word {
                opens_name = BEFORE_VERB_NAME.contains(&&*term.word);
            }
            match stop_words::languages(&term.word) {
                0 => terms.content.push(term),
                _ if term.kind == TokenKind::Name => terms.content.push(term),
                // I/O is no stop word, although it is IO as one.
                _ if term.kind == TokenKind::Joined => terms.content.push(term),
                languages if languages & two == 0 && term.kind.is_written() => terms.doubtful.push(term),
                _ => terms.stops.push(term),
            }
        }
        terms
    }

    /// Returns the terms that the cue is searched by if the store does not decide otherwise.
    pub(crate) fn searched(&self) -> Vec<QueryTerm> {
        match (&self.content[..], &self.doubtful[..]) {
            ([], []) => self.stops.clone(),
            (content, doubtful) => [content, doubtful].concat(),
        }
    }

    /// Returns true if the cue has no term.
    pub(crate) fn is_empty(&self) -> bool {
        self.content.is_empty() && self.doubtful.is_empty() && self.stops.is_empty()
    }
}

/// Returns the word with a capital at its start.
pub(crate) fn capitalized(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

/// Returns the distinct terms of a cue without stop words; the stop words if it has no other terms.
pub(crate) fn query_terms(cue: &str) -> Vec<QueryTerm> {
    let mut all = distinct_terms(cue);
    let is_content = |term: &QueryTerm| !is_stop_word(&term.word);
    all.retain(|term| term.kind.is_written());
    if all.iter().any(is_content) {
        all.retain(is_content);
    }
    all
}

/// Returns the distinct terms of a cue; of more than twice [`MAX_DISTINCT_TERM_COUNT`] those of the longest words.
fn distinct_terms(cue: &str) -> Vec<QueryTerm> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut all: Vec<QueryTerm> = Vec::new();
    let mut raw = String::new();
    for_each_spelling(cue, |mut token| {
        let kind = token.kind;
        if kind == TokenKind::Word {
            raw.clear();
            raw.push_str(token.raw);
        }
        if kind == TokenKind::Last || (kind == TokenKind::Part && spelling::is_version(token.word)) {
            return;
        }
        // Most words of a long cue are known: they are not copied.
        if let Some(&at) = seen.get(token.term()) {
            if kind.is_written() {
                all[at].kind = kind;
            }
            return;
        }
        let word = if kind == TokenKind::Name { raw.clone() } else { token.word.to_owned() };
        let term = token.term().to_owned();
        seen.insert(term.clone(), all.len());
        let mode = if kind == TokenKind::Lone { MatchMode::Prefix } else { MatchMode::Exact };
        all.push(QueryTerm { term, word, mode, kind });
        if all.len() == 2 * MAX_DISTINCT_TERM_COUNT {
            sort::sort_by_key(&mut all, |kept| Reverse(kept.word.len()));
            all.truncate(MAX_DISTINCT_TERM_COUNT);
            seen = all.iter().enumerate().map(|(at, kept)| (kept.term.clone(), at)).collect();
        }
    });
    all
}

/// Adjacent words of a cue, written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JoinedWords {
    /// The term of the one word.
    pub(crate) term: String,
    /// The terms of the words.
    pub(crate) terms: Vec<String>,
}

/// Returns what adjacent words of a cue are when written as one: *road trip* as *roadtrip*, *get user by id* as
/// *getuserbyid*. At most [`MAX_JOINED_COUNT`], pairs first.
pub(crate) fn joined_words(cue: &str) -> Vec<JoinedWords> {
    let cue = &*as_written(first_bytes(cue, MAX_JOINED_CUE_BYTES));
    let mut words: Vec<(String, String, bool)> = Vec::new();
    for_each_token(cue, |mut token| {
        if token.kind == TokenKind::Word && words.len() < MAX_JOINED_COUNT {
            let (word, is_stop) = (token.word.to_owned(), is_stop_word(token.word));
            words.push((word, token.term().to_owned(), is_stop));
        }
    });
    let mut all = Vec::new();
    let most = if words.len() <= SHORT_CUE_WORD_COUNT { MAX_JOINED_WORDS } else { 2 };
    for size in 2..=most {
        for window in words.windows(size) {
            let is_framed = size == 2 || (!window[0].2 && !window[size - 1].2);
            let mut term: String = window.iter().map(|(word, ..)| word.as_str()).collect();
            let may_join = window.windows(2).all(|two| spelling::may_join(&two[0].0, &two[1].0));
            if !is_framed || !may_join || window.iter().all(|word| word.2) || !JOINED_BYTES.contains(&term.len()) {
                continue;
            }
            stem(&mut term);
            all.push(JoinedWords { term, terms: window.iter().map(|(_, term, _)| term.clone()).collect() });
        }
    }
    all.truncate(MAX_JOINED_COUNT - 1);
    all.extend(long_number(&words));
    for (at, (word, term, _)) in words.iter().enumerate() {
        let next = words.get(at + 1).map_or("", |(next, ..)| next);
        if let Some(alias) = clock_alias(word, next, cue) {
            let form = format!("{word}{}{next}", spelling::NUMBER_BORDER);
            let terms = vec![term.clone(), next.to_owned(), form];
            all.push(JoinedWords { term: alias, terms });
        }
    }
    all
}

/// Returns the first bytes of a text, `most` at most.
pub(crate) fn first_bytes(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
    &text[..end.unwrap_or(0)]
}

/// Returns the longest run of adjacent words with digits as one, if that is a long number: a telephone number, an IBAN.
fn long_number(words: &[(String, String, bool)]) -> Option<JoinedWords> {
    let has_digit = |word: &(String, String, bool)| word.0.bytes().any(|b| b.is_ascii_digit());
    let run = words.split(|word| !has_digit(word)).max_by_key(|run| run.len()).filter(|run| run.len() > 1)?;
    let term: String = run.iter().map(|(word, ..)| word.as_str()).collect();
    let is_one = spelling::is_long_number(&term) && JOINED_BYTES.contains(&term.len());
    is_one.then(|| JoinedWords { term, terms: run.iter().map(|(_, term, _)| term.clone()).collect() })
}

/// Returns the terms of a phrase in order, with stop words, and the match mode of the last one; `None` if it has no
/// terms.
pub(crate) fn phrase_terms(text: &str) -> Option<(Vec<String>, MatchMode)> {
    let mut terms = Vec::new();
    let mut mode = MatchMode::Exact;
    for_each_token(text, |mut token| {
        terms.push(token.term().to_owned());
        mode =
            if matches!(token.kind, TokenKind::Last | TokenKind::Lone) { MatchMode::Prefix } else { MatchMode::Exact };
    });
    (!terms.is_empty()).then_some((terms, mode))
}

/// Returns the terms of the `limit` longest words of a text without stop words; those that need a prefix match are left
/// out.
pub(crate) fn longest_terms(text: &str, limit: usize) -> Vec<QueryTerm> {
    let mut words = query_terms(text);
    words.retain(|query_term| query_term.mode == MatchMode::Exact);
    sort::sort_by_key(&mut words, |query_term| Reverse(query_term.word.len()));
    words.truncate(limit);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(cue: &str) -> Vec<String> {
        query_terms(cue).into_iter().map(|query_term| query_term.term).collect()
    }

    #[test]
    fn a_stop_word_is_one_if_another_of_its_language_is_in_the_cue() {
        let words = |terms: Vec<QueryTerm>| terms.into_iter().map(|term| term.term).collect::<Vec<_>>();
        for (cue, content, doubtful) in [
            ("who is ella", &[][..], &["ella"][..]),
            ("did Will and Don call", &["will·", "don·", "call"], &[]),
            ("what did will say", &["sai"], &[]),
            ("IT budget", &["it·", "budget"], &[]),
            ("des key", &["kei"], &["de"]),
            ("что сказала кошка", &["сказа", "кошк"], &["что"]),
        ] {
            let terms = CueTerms::of(cue);
            assert_eq!((words(terms.content), words(terms.doubtful)), (to_owned(content), to_owned(doubtful)), "{cue}");
        }
    }

    fn to_owned(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn a_cue_has_distinct_terms_without_stop_words() {
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
    fn a_phrase_has_all_its_terms() {
        assert_eq!(
            phrase_terms("to be, or not"),
            Some((["to", "be", "or", "not"].map(String::from).to_vec(), MatchMode::Exact))
        );
        assert_eq!(phrase_terms("日本"), Some((["日本", "本"].map(String::from).to_vec(), MatchMode::Prefix)));
        assert_eq!(phrase_terms("?!"), None);
    }
}
