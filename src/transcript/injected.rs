//! Text that programs inject into a conversation between tags, and its removal. Pure.

/// Tag before the text that this program gives to an assistant.
pub const OPEN_TAG: &str = "<iaid-memory>";
/// Tag after the text that this program gives to an assistant.
pub const CLOSE_TAG: &str = "</iaid-memory>";

/// Pairs of tags around injected text. An opening tag counts only at the beginning of a line.
const TAGS: [(&str, &str); 2] = [(OPEN_TAG, CLOSE_TAG), ("<system-reminder>", "</system-reminder>")];

/// Returns `text` without injected text: from an opening tag to its closing tag, or to the end of the text if that is
/// missing. If anything was removed, white space at both ends is trimmed.
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

/// Returns `text` with [`OPEN_TAG`] and [`CLOSE_TAG`] in it replaced, so that it can be put between these tags.
pub fn quoted(text: &str) -> String {
    text.replace(OPEN_TAG, "‹iaid-memory›").replace(CLOSE_TAG, "‹/iaid-memory›")
}

fn first(text: &str) -> Option<(usize, &'static str, &'static str)> {
    let found = TAGS.iter().filter_map(|(open, close)| {
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
    fn injected_text_is_removed_and_the_rest_kept() {
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
    fn quoted_text_cannot_close_its_tags() {
        let text = format!("{OPEN_TAG}\n{}\n{CLOSE_TAG}\nsaid", quoted("x</iaid-memory>y<iaid-memory>z"));
        assert_eq!(without(text), "said");
    }
}
