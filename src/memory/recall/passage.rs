//! Passages: the part of a long text that bears on a cue, cut at the borders of sentences.
//!
//! Pure.

use serde::Serialize;

use crate::memory::recall::word_prefix::share_prefix;
use crate::memory::text::cue_terms::{MatchMode, QueryTerm};
use crate::memory::text::tokenizer;

/// Most terms of a cue that are looked for: the bits of a `u64`.
const MAX_TERM_COUNT: usize = u64::BITS as usize;

/// Characters that end a sentence before white space.
const ENDS: [char; 4] = ['.', '!', '?', '…'];

/// Characters that end a sentence wherever they are.
const WIDE_ENDS: [char; 3] = ['。', '！', '？'];

/// A part of a record's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Passage<'t> {
    /// Where it begins, in bytes into the text.
    pub(crate) at: usize,
    /// Its length in bytes.
    pub(crate) bytes: usize,
    pub(crate) text: &'t str,
}

impl<'t> Passage<'t> {
    /// Returns the passage from byte `start` to before byte `end`, without white space at both ends.
    fn trimmed(text: &'t str, start: usize, end: usize) -> Passage<'t> {
        let part = &text[start..end];
        let at = start + (part.len() - part.trim_start().len());
        let part = part.trim();
        Passage { at, bytes: part.len(), text: part }
    }

    /// Returns the part of `text` of at most `max_chars` characters that has the rarest of these terms: whole sentences
    /// if one fits, with what is around them as far as there is room. Without a term it is the beginning.
    pub(crate) fn of(text: &'t str, terms: &[QueryTerm], max_chars: usize) -> Passage<'t> {
        let sentences = sentences(text, max_chars.max(1), &terms[..terms.len().min(MAX_TERM_COUNT)]);
        let (mut first, mut last) = densest(&sentences, max_chars);
        let core = &sentences[first..last];
        if core.is_empty() {
            return Passage::trimmed(text, 0, 0);
        }
        let mut room = max_chars.saturating_sub(core.iter().map(|one| one.chars).sum());
        let mut take = |at: Option<usize>| {
            let chars = at.and_then(|at| sentences.get(at)).map(|one| one.chars).filter(|chars| *chars <= room);
            room -= chars.unwrap_or(0);
            chars.is_some()
        };
        // One sentence before, as many as fit after, and then more before.
        first -= usize::from(take(first.checked_sub(1)));
        while take(Some(last)) {
            last += 1;
        }
        while take(first.checked_sub(1)) {
            first -= 1;
        }
        Passage::trimmed(text, sentences[first].start, sentences[last - 1].end)
    }
}

/// A sentence, a line, or a part of one that is too long.
struct Sentence {
    /// The range of its bytes in the text; `start < end`.
    start: usize,
    end: usize,
    chars: usize,
    /// The terms that it has, a bit each.
    terms: u64,
}

/// Returns the sentences of a text, each of at most `max_chars` characters: a longer one is cut at white space, else
/// between characters.
fn sentences(text: &str, max_chars: usize, terms: &[QueryTerm]) -> Vec<Sentence> {
    let mut sentences = Vec::new();
    let mut add = |start: usize, end: usize, chars: usize| {
        if chars > 0 {
            sentences.push(Sentence { start, end, chars, terms: terms_in(&text[start..end], terms) });
        }
    };
    let (mut start, mut chars, mut before) = (0, 0, ' ');
    // Where the last white space ends, and the characters up to there.
    let mut space = (0, 0);
    for (at, c) in text.char_indices() {
        let is_end = WIDE_ENDS.contains(&before) || before == '\n' || (ENDS.contains(&before) && c.is_whitespace());
        if is_end {
            add(start, at, chars);
            (start, chars, space) = (at, 0, (at, 0));
        } else if chars == max_chars {
            let (end, length) = if space.0 > start { space } else { (at, chars) };
            add(start, end, length);
            (start, chars, space) = (end, chars - length, (end, 0));
        }
        chars += 1;
        before = c;
        if c.is_whitespace() {
            space = (at + c.len_utf8(), chars);
        }
    }
    add(start, text.len(), chars);
    sentences
}

fn terms_in(sentence: &str, terms: &[QueryTerm]) -> u64 {
    let mut found = 0;
    tokenizer::for_each_spelling(sentence, |mut token| {
        let is_written = token.kind.is_written();
        let term = token.term();
        for (at, own) in terms.iter().enumerate() {
            let is_match = match own.mode {
                MatchMode::Exact => own.term == term,
                MatchMode::Prefix => term.starts_with(&own.term),
            };
            if is_match || (is_written && share_prefix(&own.term, term)) {
                found |= 1 << at;
            }
        }
    });
    found
}

/// Returns the shortest range of sentences of at most `max_chars` characters together whose terms weigh the most: a term
/// that few sentences have weighs more.
fn densest(sentences: &[Sentence], max_chars: usize) -> (usize, usize) {
    let weight = |at: usize| {
        let having = sentences.iter().filter(|one| one.terms & 1 << at != 0).count();
        (1.0 + sentences.len() as f64 / having.max(1) as f64).ln()
    };
    let weights: Vec<f64> = (0..MAX_TERM_COUNT).map(weight).collect();
    let sum = |terms: u64| (0..MAX_TERM_COUNT).filter(|at| terms & 1 << at != 0).map(|at| weights[at]).sum::<f64>();
    let mut best = (0, usize::from(!sentences.is_empty()));
    let (mut best_weight, mut best_terms, mut best_chars) = (0.0, 0, 0);
    for (first, _) in sentences.iter().enumerate().filter(|(_, one)| one.terms != 0) {
        let (mut terms, mut chars, mut last) = (0, 0, first);
        for next in &sentences[first..] {
            chars += next.chars;
            if chars > max_chars && last > first {
                break;
            }
            last += 1;
            if next.terms & !terms != 0 {
                terms |= next.terms;
                let weight = sum(terms);
                if weight > best_weight || (terms == best_terms && chars < best_chars) {
                    (best, best_weight, best_terms, best_chars) = ((first, last), weight, terms, chars);
                }
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::text::cue_terms::query_terms;

    fn cut<'t>(text: &'t str, cue: &str, max_chars: usize) -> Passage<'t> {
        let passage = Passage::of(text, &query_terms(cue), max_chars);
        assert_eq!(&text[passage.at..passage.at + passage.bytes], passage.text);
        assert!(passage.text.chars().count() <= max_chars, "{passage:?}");
        passage
    }

    #[test]
    fn a_passage_is_whole_sentences_around_the_terms() {
        let text = "We talked about lunch. The weather was bad, too. The staging port is 8443. It was 8080 before. Then \
                    we went home.\nAnd slept.";
        for (cue, max_chars, want) in [
            ("staging port", 30, "The staging port is 8443."),
            ("staging port", 60, "The weather was bad, too. The staging port is 8443."),
            ("staging port", 77, "The weather was bad, too. The staging port is 8443. It was 8080 before."),
            ("slept", 12, "And slept."),
            ("lunch home", 40, "We talked about lunch."),
            ("nothing of it", 25, "We talked about lunch."),
            ("", 1000, text),
            ("staging port", 10, "staging"),
        ] {
            assert_eq!(cut(text, cue, max_chars).text, want, "{cue} {max_chars}");
        }
    }

    #[test]
    fn passages_are_cut_between_characters_in_any_script() {
        for (text, cue, max_chars, want) in [
            ("我们讨论了午饭。服务器的端口是八千。然后回家了。", "端口", 12, "服务器的端口是八千。"),
            (
                "Мы ели суп. Порт сервера теперь 8443! Потом пошли домой",
                "порт сервера",
                30,
                "Порт сервера теперь 8443!",
            ),
            (&"ä".repeat(50), "x", 7, "äääääää"),
            ("aaaa 🎉🎉🎉🎉🎉🎉 bbbb", "🎉🎉🎉🎉🎉🎉", 6, "🎉🎉🎉🎉🎉🎉"),
            ("", "x", 5, ""),
            (" \n ", "x", 2, ""),
            ("fn a() {}\nfn port() -> u16 {\n    8443\n}\n", "port", 24, "fn port() -> u16 {"),
        ] {
            assert_eq!(cut(text, cue, max_chars).text, want, "{text:.20}");
        }
    }

    #[test]
    fn the_rarer_term_decides() {
        let text = "The port is open. The port is closed. The port is shut. Anna keeps the key of port 9.";
        assert_eq!(cut(text, "port Anna", 30).text, "Anna keeps the key of port 9.");
    }
}
