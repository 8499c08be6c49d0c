//! How literally a cue is meant, and what it quotes.
//!
//! Pure.

use serde::Serialize;

use crate::memory::text::phrase::QuotedPhrase;
use crate::memory::text::tokenizer;

/// Most quoted spans of a cue that are looked for. Picked.
const PHRASES: usize = 8;

/// Words by which a cue asks for the words themselves.
const LITERAL_WORDS: [&str; 6] = ["exact", "verbatim", "quote", "quoted", "said", "wrote"];

/// The same in Russian, where the verb alone would be too common.
const LITERAL_PHRASES: [&str; 4] = ["найди дословно", "точная цитата", "что я сказал", "что я писал"];

const QUOTES: [(char, char); 6] = [('"', '"'), ('«', '»'), ('“', '”'), ('„', '“'), ('「', '」'), ('『', '』')];

/// How literally a cue is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Verbatim,
    Concept,
}

impl Mode {
    /// By its words and its quotation marks.
    pub(crate) fn of(cue: &str) -> Mode {
        let mut asks = quoted(cue).into_iter().any(|span| QuotedPhrase::new(span).is_some());
        tokenizer::for_each_token(cue, |token| asks |= LITERAL_WORDS.contains(&token.word));
        if !asks {
            let lower = cue.to_lowercase();
            asks = LITERAL_PHRASES.iter().any(|phrase| lower.contains(phrase));
        }
        if asks { Mode::Verbatim } else { Mode::Concept }
    }
}

/// The first spans of a cue between quotation marks.
pub(crate) fn quoted(cue: &str) -> Vec<&str> {
    let mut spans = Vec::new();
    // A mark that is never closed is looked for to the end once, not once for each that opens.
    let mut marks = QUOTES.to_vec();
    let mut rest = cue;
    while spans.len() < PHRASES {
        let opening =
            rest.char_indices().find_map(|(at, c)| marks.iter().find(|mark| mark.0 == c).map(|mark| (at, *mark)));
        let Some((at, mark)) = opening else { break };
        let inside = &rest[at + mark.0.len_utf8()..];
        let Some(end) = inside.find(mark.1) else {
            marks.retain(|other| *other != mark);
            rest = inside;
            continue;
        };
        spans.push(&inside[..end]);
        rest = &inside[end + mark.1.len_utf8()..];
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotations_are_found_whatever_their_marks() {
        let many = "\"a\" ".repeat(20);
        for (cue, want) in [
            ("a \"b\" c «d e» \"f", &["b", "d e"][..]),
            ("5\" disk and «one», \"two\"", &[" disk and «one», "]),
            ("5« disk and \"one\", “two”", &["one", "two"]),
            ("\"\" «?»", &["", "?"]),
            ("„so“ und «so» und » so « und 「so」", &["so", "so", "so"]),
            (&many, &["a"; PHRASES]),
        ] {
            assert_eq!(quoted(cue), want, "{cue}");
        }
    }
}
