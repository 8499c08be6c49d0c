//! Counts of what the lines of a transcript were, and the warning if something may have been missed. Pure.

use serde_json::value::RawValue;

use crate::wire::json::string;
use crate::wire::members::Members;

/// Keys under which assistants store what was said.
const TEXT_KEYS: [&str; 7] = ["text", "message", "content", "prompt", "parts", "item", "data"];

/// Length of the shortest text that counts, in characters.
const MIN_TEXT_CHARS: usize = 12;

/// Nesting to which texts are looked for. Picked: a block of a list of a message of a line.
const MAX_DEPTH: usize = 5;

/// Counts of the lines of a transcript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadTally {
    /// Turns of the user, those that are too short to be stored included.
    pub user_turns: u64,
    /// Turns of the assistant, those that are too short to be stored included.
    pub assistant_turns: u64,
    /// Lines of a kind that this release does not know and that have text.
    pub unknown_lines: u64,
}

impl ReadTally {
    /// Returns true if one side of the conversation has turns and the other none.
    pub fn is_one_sided(&self) -> bool {
        (self.user_turns == 0) != (self.assistant_turns == 0)
    }

    /// Adds the counts of another part of the transcript, or of another one.
    pub fn add(&mut self, other: ReadTally) {
        self.user_turns += other.user_turns;
        self.assistant_turns += other.assistant_turns;
        self.unknown_lines += other.unknown_lines;
    }

    /// Returns what may have been missed, in one sentence.
    pub fn warning(&self) -> Option<String> {
        let lines = |count: u64| if count == 1 { "line".to_owned() } else { "lines".to_owned() };
        let unknown = (self.unknown_lines > 0)
            .then(|| format!("{} {} of unknown kind with text", self.unknown_lines, lines(self.unknown_lines)));
        let turns = |count: u64| if count == 1 { "1 turn".to_owned() } else { format!("{count} turns") };
        let one_sided = self.is_one_sided().then(|| match self.user_turns {
            0 => format!("{} of the assistant and none of the user", turns(self.assistant_turns)),
            count => format!("{} of the user and none of the assistant", turns(count)),
        });
        match (one_sided, unknown) {
            (None, None) => None,
            (Some(one), None) | (None, Some(one)) => Some(format!("{one}: this release may not know the format")),
            (Some(one), Some(other)) => Some(format!("{one}, {other}: this release may not know the format")),
        }
    }
}

/// Returns true if a line has a text that may be a turn.
pub(crate) fn has_text(line: &Members<'_>) -> bool {
    TEXT_KEYS.iter().any(|key| line.value(key).is_some_and(|value| is_text(value, MAX_DEPTH)))
}

/// Returns true if a value is a text, or has one under [`TEXT_KEYS`].
fn is_text(value: &RawValue, depth: usize) -> bool {
    let text = value.get();
    match text.as_bytes().first() {
        Some(b'"') => string(text).is_none_or(|text| text.trim().chars().nth(MIN_TEXT_CHARS - 1).is_some()),
        Some(b'[') if depth > 0 => serde_json::from_str::<Vec<&RawValue>>(text)
            .is_ok_and(|items| items.iter().any(|item| is_text(item, depth - 1))),
        Some(b'{') if depth > 0 => Members::read(text).is_ok_and(|members| {
            TEXT_KEYS.iter().any(|key| members.value(key).is_some_and(|value| is_text(value, depth - 1)))
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_where_assistants_store_them() {
        for (line, want) in [
            (r#"{"type":"x","text":"words of the user"}"#, true),
            (r#"{"type":"x","message":{"parts":[{"text":"words of the user"}]}}"#, true),
            (r#"{"type":"x","data":{"content":"words of the user"}}"#, true),
            (r#"{"type":"x","content":["short","words of the user"]}"#, true),
            (r#"{"type":"x","about":{"content":"words of the user"}}"#, false),
            (r#"{"type":"x","text":"short"}"#, false),
            (r#"{"type":"x","text":5,"message":null,"content":{}}"#, false),
        ] {
            assert_eq!(has_text(&Members::read(line).unwrap()), want, "{line}");
        }
    }

    #[test]
    fn the_warning_names_what_is_missing() {
        let warning = |user_turns, assistant_turns, unknown_lines| {
            ReadTally { user_turns, assistant_turns, unknown_lines }.warning().unwrap_or_default()
        };
        let end = ": this release may not know the format";
        assert_eq!(warning(2, 3, 0), "");
        assert_eq!(warning(0, 0, 0), "");
        assert_eq!(warning(0, 1, 0), format!("1 turn of the assistant and none of the user{end}"));
        assert_eq!(
            warning(2, 0, 1),
            format!("2 turns of the user and none of the assistant, 1 line of unknown kind with text{end}")
        );
        assert_eq!(warning(1, 1, 2), format!("2 lines of unknown kind with text{end}"));
    }
}
