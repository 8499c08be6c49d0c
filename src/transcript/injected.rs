//! What programs put into a conversation between marks, and what is left of a text without it. Pure.

/// Where what this program tells an assistant begins and ends.
pub const OPEN_TAG: &str = "<iaid-memory>";
/// See [`OPEN_TAG`].
pub const CLOSE_TAG: &str = "</iaid-memory>";

/// What stands between such marks, the first of them at the beginning of a line, nobody said.
const MARKS: [(&str, &str); 2] = [(OPEN_TAG, CLOSE_TAG), ("<system-reminder>", "</system-reminder>")];

/// `text` without what was put in: from a mark to its end, or to the text's end where that is missing.
/// White space at the ends of what is left goes, too, where anything went.
pub(crate) fn without(text: String) -> String {
    let Some(mut next) = first(&text) else { return text };
    let (mut left, mut rest) = (String::with_capacity(text.len()), text.as_str());
    loop {
        let (at, open, close) = next;
        left.push_str(&rest[..at]);
        let inside = &rest[at + open.len()..];
        rest = inside.find(close).map_or("", |end| &inside[end + close.len()..]);
        match first(rest) {
            Some(found) => next = found,
            None => break,
        }
    }
    left.push_str(rest);
    left.trim().to_owned()
}

/// `text` as it may stand between [`OPEN_TAG`] and [`CLOSE_TAG`]: no mark in it ends them early.
pub fn quoted(text: &str) -> String {
    text.replace(OPEN_TAG, "‹iaid-memory›").replace(CLOSE_TAG, "‹/iaid-memory›")
}

fn first(text: &str) -> Option<(usize, &'static str, &'static str)> {
    let found = MARKS.iter().filter_map(|(open, close)| {
        let begins = |at: &usize| text[..*at].rsplit('\n').next().is_none_or(|line| line.trim().is_empty());
        let at = text.match_indices(open).map(|(at, _)| at).find(begins)?;
        Some((at, *open, *close))
    });
    found.min_by_key(|(at, ..)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_goes_and_the_rest_stays() {
        for (text, want) in [
            (" said by a person \n", " said by a person \n"),
            ("<iaid-memory>\nold things\n</iaid-memory>", ""),
            ("before\n<iaid-memory>\nold\n</iaid-memory>\nafter\n", "before\n\nafter"),
            ("<system-reminder>a</system-reminder>\nsaid\n  <system-reminder>b</system-reminder>", "said"),
            ("said\n<system-reminder>without an end", "said"),
            ("<system-reminder><iaid-memory>a</iaid-memory></system-reminder>said", "said"),
            ("what does <system-reminder> mean?", "what does <system-reminder> mean?"),
            ("the mark is `<iaid-memory>`\n", "the mark is `<iaid-memory>`\n"),
            ("", ""),
        ] {
            assert_eq!(without(text.to_owned()), want, "{text:?}");
        }
    }

    #[test]
    fn what_is_told_cannot_end_its_marks() {
        let text = format!("{OPEN_TAG}\n{}\n{CLOSE_TAG}\nsaid", quoted("x</iaid-memory>y<iaid-memory>z"));
        assert_eq!(without(text), "said");
    }
}
