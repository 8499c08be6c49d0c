//! The param `also`: further words that a record may use instead of those of the cue, and the identifiers of a cue, which
//! no other word can stand for.
//!
//! An assistant fills `also`, so what is beyond a limit is left out and counted instead of refused.
//!
//! Pure.

use crate::dispatch::{CallError, Params};
use crate::memory::text::cue_terms::{self, QueryTerm};
use crate::memory::text::folding::folded;

/// Most further words or phrases that count (the contract).
const MAX_WORD_COUNT: usize = 16;

/// Longest further word or phrase, in characters (the contract).
const MAX_WORD_CHARS: usize = 64;

/// Most identifiers of a cue. Picked: a record must have all of them to be about them.
const MAX_IDENTIFIER_COUNT: usize = 32;

/// Longest unit or ordinal ending after a number: *18th*, *300km*.
const MAX_UNIT_BYTES: usize = 3;

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
            let word = if fits { folded(word) } else { continue };
            if !kept.contains(&word) {
                kept.push(word);
            }
            if kept.len() == MAX_WORD_COUNT {
                break;
            }
        }
        let mut terms: Vec<QueryTerm> = Vec::new();
        for term in kept.iter().flat_map(|word| cue_terms::query_terms(word)) {
            if !cue_terms.iter().chain(&terms).any(|known| known.term == term.term) {
                terms.push(term);
            }
        }
        FurtherWords { terms, left_out: count - kept.len() }
    }
}

/// Returns the terms of the first identifiers in a cue: *E0499*, *PAY-1128*, *parse_config*, *lib/net/retry.ts*,
/// *--no-verify*.
pub(crate) fn identifier_terms(cue: &str) -> Vec<QueryTerm> {
    // Most words of most cues.
    let is_plain = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase());
    let words = cue.split_whitespace().filter(|word| !is_plain(word) && is_identifier(word));
    words.take(MAX_IDENTIFIER_COUNT).flat_map(cue_terms::query_terms).collect()
}

/// Returns true if a word is written as no word of a language is: with digits inside, joined by other characters than
/// hyphens and apostrophes, with two or more capitals inside, or as a long option. Numbers, ordinals and units (*18th*,
/// *10-year*) and names with one capital inside (*YouTube*) are none.
fn is_identifier(word: &str) -> bool {
    let is_option = word.len() > 3 && word.starts_with("--");
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let parts: Vec<&str> = word.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).collect();
    let is_number = |part: &str| part.starts_with(|c: char| c.is_ascii_digit());
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    let has_letter = word.chars().any(char::is_alphabetic);
    let is_quantity = is_number(word)
        && match parts[..] {
            [one] => one.trim_start_matches(|c: char| c.is_ascii_digit()).len() <= MAX_UNIT_BYTES,
            [number, ..] => number.bytes().all(|byte| byte.is_ascii_digit()),
            [] => true,
        };
    let is_joined = |joint: char| word.contains(joint) && parts.len() > 1;
    let capitals = word.chars().zip(word.chars().skip(1)).filter(|(a, b)| a.is_lowercase() && b.is_uppercase()).count();
    let has_long_part = parts.iter().any(|part| part.chars().count() > 2);
    is_option
        || (has_digit && has_letter && !is_quantity)
        || (has_letter && has_long_part && (is_joined('_') || is_joined('.') || is_joined(':') || is_joined('@')))
        || (has_letter && is_joined('/') && parts.len() > 2)
        || capitals > 1
        || (capitals == 1
            && word.starts_with(char::is_lowercase)
            && word.chars().nth(1).is_some_and(char::is_lowercase))
        || (has_letter && word.contains(['\\', '{', '[', '^', '$']))
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
            (&["café", "Cafe", "CAFÉ"], 1, 2),
            (&["pets", "the", "?!"], 1, 0),
            (&[&longest, &too_long], 1, 1),
            (&many, 16, 4),
        ] {
            let words = words.iter().map(|word| (*word).to_owned()).collect();
            let further = FurtherWords::of(words, &cue_terms::query_terms("what pets do we have?"));
            assert_eq!((further.terms.len(), further.left_out), (terms, left_out), "{:?}", further.terms);
        }
    }

    #[test]
    fn identifiers_are_words_of_no_language() {
        let identifiers = "E0499 PAY-1128 9f3ca1e parse_config MAX_OPEN_FILES lib/net/retry.ts retry.ts --no-verify \
             StaleTokenError getUserById db-eu-west-3b v2.3.1 ^[A-Z]{2}\\d{6}$ 20240313_drop_legacy_ids std::mem H2O \
             checkout.v2.express (E0382)? a@example.com";
        let words = "what's YouTube iPhone eBay and/or artists/bands 18th 4th 70s 300km 10-year 2023-10-04 2.5 1,250 e.g. \
             U.S. brother-in-law --- - ... ?! 42 LGBTQ+ naïve Änderung 東京 кошка";
        let found = |text: &'static str| text.split_whitespace().filter(|word| is_identifier(word)).collect::<Vec<_>>();
        assert_eq!(found(identifiers), identifiers.split_whitespace().collect::<Vec<_>>());
        assert_eq!(found(words), [""; 0]);
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
