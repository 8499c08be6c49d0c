//! Cue mode: whether a cue asks for exact words, and which phrases it quotes.
//!
//! Pure.

use serde::Serialize;

use crate::memory::text::phrase::QuotedPhrase;
use crate::memory::text::tokenizer;

/// Most quoted spans of a cue that count. Picked.
const MAX_PHRASE_COUNT: usize = 8;

/// Words by which a cue asks for exact words.
const LITERAL_WORDS: [&str; 6] = ["exact", "verbatim", "quote", "quoted", "said", "wrote"];

/// The same in Russian, where the verb alone would be too common.
const LITERAL_PHRASES: [&str; 4] = ["найди дословно", "точная цитата", "что я сказал", "что я писал"];

const QUOTES: [(char, char); 14] = [
    ('"', '"'),
    ('«', '»'),
    ('“', '”'),
    ('„', '“'),
    ('「', '」'),
    ('『', '』'),
    ('‹', '›'),
    ('《', '》'),
    ('〈', '〉'),
    ('＂', '＂'),
    ('`', '`'),
    ('‘', '’'),
    ('\'', '\''),
    ('»', '«'),
];

/// Marks that are also apostrophes, or close a span elsewhere: they open one only at the start of a word, and close it only
/// at the end of one.
const AMBIGUOUS_MARKS: [char; 5] = ['\'', '‘', '’', '»', '«'];

/// Whether a cue asks for exact words (`cue_mode` on the wire).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CueMode {
    Verbatim,
    Concept,
}

impl CueMode {
    /// Returns the mode of a cue, by its words and its quotation marks.
    pub(crate) fn of(cue: &str) -> CueMode {
        let mut asks = quoted(cue).into_iter().any(|span| QuotedPhrase::new(span).is_some());
        tokenizer::for_each_token(cue, |token| asks |= LITERAL_WORDS.contains(&token.word));
        if !asks {
            let lower = cue.to_lowercase();
            asks = LITERAL_PHRASES.iter().any(|phrase| lower.contains(phrase));
        }
        if asks { CueMode::Verbatim } else { CueMode::Concept }
    }
}

/// Returns the spans of a cue between quotation marks, at most [`MAX_PHRASE_COUNT`], the first ones.
pub(crate) fn quoted(cue: &str) -> Vec<&str> {
    let mut spans = Vec::new();
    // A mark without a closing one is dropped, so that the cue is searched for it once.
    let mut marks = QUOTES.to_vec();
    let mut rest = cue;
    while spans.len() < MAX_PHRASE_COUNT {
        let opening = rest.char_indices().find_map(|(at, c)| {
            marks.iter().find(|mark| mark.0 == c && may_open(rest, at, **mark)).map(|mark| (at, *mark))
        });
        let Some((at, mark)) = opening else { break };
        let inside = &rest[at + mark.0.len_utf8()..];
        let Some(end) = closing(inside, mark) else {
            marks.retain(|other| *other != mark);
            rest = inside;
            continue;
        };
        spans.push(&inside[..end]);
        rest = &inside[end + mark.1.len_utf8()..];
    }
    spans
}

/// Returns true if a mark at this place of a text may open a span.
fn may_open(text: &str, at: usize, mark: (char, char)) -> bool {
    let is_ambiguous = AMBIGUOUS_MARKS.contains(&mark.0) && mark != ('«', '»');
    !is_ambiguous
        || (!text[..at].ends_with(char::is_alphanumeric)
            && text[at + mark.0.len_utf8()..].starts_with(char::is_alphanumeric))
}

/// Returns where the span that a mark has opened ends in the text behind it.
fn closing(inside: &str, mark: (char, char)) -> Option<usize> {
    let is_ambiguous = AMBIGUOUS_MARKS.contains(&mark.0) && mark != ('«', '»');
    let ends = |at: usize| {
        !inside[..at].ends_with(char::is_whitespace)
            && !inside[at + mark.1.len_utf8()..].starts_with(char::is_alphanumeric)
    };
    inside.match_indices(mark.1).map(|(at, _)| at).find(|at| !is_ambiguous || ends(*at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_spans_are_found_for_all_kinds_of_marks() {
        let many = "\"a\" ".repeat(20);
        for (cue, want) in [
            ("a \"b\" c «d e» \"f", &["b", "d e"][..]),
            ("5\" disk and «one», \"two\"", &[" disk and «one», "]),
            ("5« disk and \"one\", “two”", &["one", "two"]),
            ("\"\" «?»", &["", "?"]),
            ("„so“ und «so» und » so « und 「so」", &["so", "so", "so"]),
            ("»so« und ‹so› und `so` und 《so》", &["so"; 4]),
            ("the dogs' bowl, 'it isn't so' and ‘so’", &["it isn't so", "so"]),
            ("what's Anna's and Tom's", &[]),
            (&many, &["a"; MAX_PHRASE_COUNT]),
        ] {
            assert_eq!(quoted(cue), want, "{cue}");
        }
    }
}
