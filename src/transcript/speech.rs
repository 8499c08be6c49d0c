//! What of a text in the user's name the user wrote. Pure.

use crate::transcript::injected;

/// Beginnings of texts that Claude Code writes in the name of the user.
const PROGRAM_TEXT_PREFIXES: [&str; 3] = [
    "[Request interrupted by user",
    "[SYSTEM NOTIFICATION",
    "This session is being continued from a previous conversation",
];

/// Beginnings of texts that Codex sends to the model in the name of the user.
const CODEX_TEXT_PREFIXES: [&str; 4] = [
    "# AGENTS.md instructions",
    "Another language model started to solve this problem",
    "You are performing a CONTEXT CHECKPOINT COMPACTION",
    "<permissions instructions>",
];

/// Prefixes of a recorded slash command, and the tags around its arguments.
const COMMAND_PREFIXES: [&str; 2] = ["<command-name>", "<command-message>"];
const ARGUMENT_TAGS: (&str, &str) = ("<command-args>", "</command-args>");

/// Tags around a note that the user gave to Claude Code to remember.
const NOTE_TAGS: (&str, &str) = ("<user-memory-input>", "</user-memory-input>");

/// The line of a Codex extension's prompt before what the user wrote.
const CODEX_REQUEST: &str = "## My request for Codex:";

/// Returns the part of a text of a Claude Code transcript that the user wrote, if any. Of a slash command these are its
/// arguments.
pub(crate) fn claude_user(text: String) -> Option<String> {
    let start = text.trim_start();
    if PROGRAM_TEXT_PREFIXES.iter().any(|mark| start.starts_with(mark)) {
        return None;
    }
    if COMMAND_PREFIXES.iter().any(|mark| start.starts_with(mark)) {
        return between(start, ARGUMENT_TAGS);
    }
    if start.starts_with(NOTE_TAGS.0) {
        return between(start, NOTE_TAGS);
    }
    Some(injected::without(text))
}

/// Returns the part of a text of a Codex rollout that the user wrote, if any.
pub(crate) fn codex_user(text: String) -> Option<String> {
    let at = text.match_indices(CODEX_REQUEST).map(|(at, _)| at).find(|at| *at == 0 || text[..*at].ends_with('\n'));
    let text = at.map_or_else(|| text.clone(), |at| text[at + CODEX_REQUEST.len()..].trim().to_owned());
    let start = text.trim_start();
    let is_program = CODEX_TEXT_PREFIXES.iter().any(|mark| start.starts_with(mark));
    (!is_program).then(|| injected::without(text))
}

/// Returns what the user wrote of a prompt as it was typed: of a slash command its arguments, `None` if it has none.
pub(crate) fn typed(prompt: &str) -> Option<&str> {
    let Some(command) = prompt.trim_start().strip_prefix('/') else { return Some(prompt) };
    let name = command.split(char::is_whitespace).next().unwrap_or_default();
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':'));
    if name.is_empty() || !is_name {
        return Some(prompt);
    }
    Some(command[name.len()..].trim()).filter(|arguments| !arguments.is_empty())
}

fn between(text: &str, (open, close): (&str, &str)) -> Option<String> {
    let (_, rest) = text.split_once(open)?;
    Some(rest.split_once(close)?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_command_is_its_arguments() {
        for (prompt, want) in [
            ("keep it as it is", Some("keep it as it is")),
            ("/greet the whole family ", Some("the whole family")),
            ("/my-plugin:greet\tall", Some("all")),
            ("/compact", None),
            ("/a/b is the folder", Some("/a/b is the folder")),
            ("/ is the root", Some("/ is the root")),
            ("/etc.d/x", Some("/etc.d/x")),
        ] {
            assert_eq!(typed(prompt), want, "{prompt}");
        }
    }

    #[test]
    fn only_what_the_user_wrote_is_left() {
        for (text, want) in [
            (
                "# Context from my IDE setup:\n\n## Active file: a\n\n## My request for Codex:\nwhy is it grey",
                Some("why is it grey"),
            ),
            (
                "the title \"## My request for Codex:\" stands there",
                Some("the title \"## My request for Codex:\" stands there"),
            ),
            ("# AGENTS.md instructions for /p\n\n<INSTRUCTIONS>x</INSTRUCTIONS>", None),
            ("<environment_context>\n  <cwd>/p</cwd>\n</environment_context>", Some("")),
            (" as it is\n", Some(" as it is\n")),
        ] {
            assert_eq!(codex_user(text.to_owned()).as_deref(), want, "{text}");
        }
        assert_eq!(claude_user("<user-memory-input>use tabs</user-memory-input>".into()).as_deref(), Some("use tabs"));
    }
}
