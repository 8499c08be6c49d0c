//! The param `also`: further words that a record may use instead of those of the cue.
//!
//! An assistant fills it, so what is beyond a limit is left out and counted instead of refused.
//!
//! Pure.

use crate::dispatch::{CallError, Params};
use crate::memory::text::tokenizer::{self, QueryTerm};

/// Most further words or phrases that count (the contract).
const MAX_WORD_COUNT: usize = 16;

/// Longest further word or phrase, in characters (the contract).
const MAX_WORD_CHARS: usize = 64;

/// The further words of a recall.
#[derive(Debug, Default)]
pub(crate) struct FurtherWords {
    /// Their terms, none of them a term of the cue.
    pub(crate) terms: Vec<QueryTerm>,
    /// The number of words that were left out: empty, repeated, too long or too many.
    pub(crate) left_out: usize,
}

impl FurtherWords {
    /// Reads the param, given the terms of the cue.
    ///
    /// # Errors
    /// -32602 if the param is present and no array of strings.
    pub(crate) fn read(params: &Params<'_>, cue_terms: &[QueryTerm]) -> Result<FurtherWords, CallError> {
        let words: Option<Vec<String>> = match params.raw("also") {
            Some(raw) => serde_json::from_str(raw)
                .map_err(|_| CallError::invalid("also", "an array of strings, such as [\"dog\", \"cat\"]"))?,
            None => None,
        };
        Ok(FurtherWords::of(words.unwrap_or_default(), cue_terms))
    }

    fn of(words: Vec<String>, cue_terms: &[QueryTerm]) -> FurtherWords {
        let count = words.len();
        let mut kept: Vec<String> = Vec::new();
        for word in words {
            let word = word.trim();
            let fits = !word.is_empty() && word.chars().nth(MAX_WORD_CHARS).is_none();
            let word = if fits { word.to_lowercase() } else { continue };
            if !kept.contains(&word) {
                kept.push(word);
            }
            if kept.len() == MAX_WORD_COUNT {
                break;
            }
        }
        let mut terms: Vec<QueryTerm> = Vec::new();
        for term in kept.iter().flat_map(|word| tokenizer::query_terms(word)) {
            if !cue_terms.iter().chain(&terms).any(|known| known.term == term.term) {
                terms.push(term);
            }
        }
        FurtherWords { terms, left_out: count - kept.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_beyond_a_limit_are_left_out_and_counted() {
        let many: Vec<String> = (0..20).map(|n| format!("word{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let (longest, too_long) = ("ü".repeat(64), "ü".repeat(65));
        for (words, terms, left_out) in [
            (&[][..], 0, 0),
            (&["dog", "golden retriever", "vet"], 4, 0),
            (&["dog", " Dog ", "", " \n", "dogs"], 1, 3),
            (&["pets", "the", "?!"], 1, 0),
            (&[&longest, &too_long], 1, 1),
            (&many, 16, 4),
        ] {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            let further = FurtherWords::of(words, &tokenizer::query_terms("what pets do we have?"));
            assert_eq!((further.terms.len(), further.left_out), (terms, left_out), "{:?}", further.terms);
        }
    }

    #[test]
    fn only_an_array_of_strings_is_read() {
        let read = |text: &str| FurtherWords::read(&Params::read(Some(text)).unwrap(), &[]);
        for text in ["{}", r#"{"also":null}"#, r#"{"also":[]}"#] {
            assert_eq!(read(text).unwrap().left_out, 0, "{text}");
        }
        for text in [r#"{"also":"a"}"#, r#"{"also":[1]}"#, r#"{"also":["a",null]}"#, r#"{"also":["\ud800"]}"#] {
            let message = "param 'also' must be an array of strings, such as [\"dog\", \"cat\"]";
            assert_eq!(read(text).unwrap_err().message, message, "{text}");
        }
    }
}
