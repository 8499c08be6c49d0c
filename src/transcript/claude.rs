//! Parses a line of a Claude Code transcript (`~/.claude/projects/…/SESSION.jsonl`) into turns. Pure.
//!
//! Each text block of a `user` or `assistant` line is a turn. Skipped is text that Claude Code wrote itself: lines
//! marked as its own, the prompts and answers of subagents, and the output of commands. Of a slash command only its
//! arguments are taken.

use crate::transcript::content::{LONE_SURROGATE, blocks, owned};
use crate::transcript::injected;
use crate::transcript::origin::TurnOrigin;
use crate::transcript::turn::{Assistant, TranscriptTurn};
use crate::wire::json::string;
use crate::wire::members::Members;

/// Prefixes of texts that Claude Code writes in the name of the user or the assistant.
const PROGRAM_TEXT_PREFIXES: [&str; 7] = [
    "<local-command-stdout>",
    "<local-command-stderr>",
    "<local-command-caveat>",
    "<bash-stdout>",
    "<bash-stderr>",
    "<task-notification>",
    "[Request interrupted by user",
];

/// Prefixes of a recorded slash command, and the tags around its arguments.
const COMMAND_PREFIXES: [&str; 2] = ["<command-name>", "<command-message>"];
const ARGUMENT_TAGS: (&str, &str) = ("<command-args>", "</command-args>");

/// Keys that are `true` in a line that Claude Code wrote itself.
const PROGRAM_LINE_KEYS: [&str; 4] = ["isMeta", "isSidechain", "isCompactSummary", "isApiErrorMessage"];

/// Returns the turns of a line.
///
/// # Errors
/// A message if a text has a lone surrogate, which UTF-8 cannot represent.
pub(crate) fn turns(line: &Members<'_>) -> Result<Vec<TranscriptTurn>, String> {
    let role = match line.string("type").as_deref() {
        Some("user") => "user",
        Some("assistant") => "assistant",
        _ => return Ok(Vec::new()),
    };
    if PROGRAM_LINE_KEYS.iter().any(|mark| line.value(mark).is_some_and(|value| value.get() == "true")) {
        return Ok(Vec::new());
    }
    let message = line.value("message").and_then(|message| Members::read(message.get()).ok()).unwrap_or_default();
    let Some(content) = message.value("content") else { return Ok(Vec::new()) };
    let texts = match content.get().starts_with('"') {
        true => vec![string(content.get()).ok_or(LONE_SURROGATE)?.into_owned()],
        false => blocks(content, "text")?,
    };
    let turn = |text| TranscriptTurn {
        assistant: Assistant::ClaudeCode,
        role,
        session: owned(line, "sessionId"),
        project: owned(line, "cwd"),
        ts: owned(line, "timestamp"),
        cue: None,
        origin: TurnOrigin { id: owned(line, "uuid"), ..TurnOrigin::default() },
        text,
    };
    Ok(texts.into_iter().filter_map(spoken_part).map(turn).collect())
}

/// Returns the part of a text that the user or the assistant wrote, if any.
fn spoken_part(text: String) -> Option<String> {
    let start = text.trim_start();
    if PROGRAM_TEXT_PREFIXES.iter().any(|mark| start.starts_with(mark)) {
        return None;
    }
    if COMMAND_PREFIXES.iter().any(|mark| start.starts_with(mark)) {
        let (_, rest) = start.split_once(ARGUMENT_TAGS.0)?;
        return Some(rest.split_once(ARGUMENT_TAGS.1)?.0.to_owned());
    }
    Some(injected::without(text))
}

#[cfg(test)]
mod tests {
    use super::super::TranscriptReader;
    use super::*;
    use serde_json::{Value, json};

    fn line(kind: &str, content: Value) -> Value {
        json!({"parentUuid": null, "isSidechain": false, "cwd": "/home/x/p", "sessionId": "s-1", "version": "1.0",
            "type": kind, "message": {"role": kind, "content": content}, "uuid": "u",
            "timestamp": "2025-06-01T10:11:12.345Z"})
    }

    fn texts_of(line: &Value) -> Vec<String> {
        TranscriptReader::default().turns(&line.to_string()).unwrap().into_iter().map(|turn| turn.text).collect()
    }

    #[test]
    fn a_line_becomes_a_turn_with_all_its_fields() {
        let line = line("user", json!(" How do I\n sort this?\t")).to_string();
        let want = TranscriptTurn {
            assistant: Assistant::ClaudeCode,
            role: "user",
            session: Some("s-1".into()),
            project: Some("/home/x/p".into()),
            ts: Some("2025-06-01T10:11:12.345Z".into()),
            cue: None,
            origin: TurnOrigin { id: Some("u".into()), ..TurnOrigin::default() },
            text: " How do I\n sort this?\t".into(),
        };
        assert_eq!(TranscriptReader::new(Some("other".into()), None).turns(&line).unwrap(), [want]);
    }

    #[test]
    fn only_text_of_user_and_assistant_is_taken() {
        let said = "words of the user here";
        let text = json!({"type": "text", "text": said});
        for (kind, content, want) in [
            ("assistant", json!(said), 1),
            ("assistant", json!([text, text]), 2),
            ("user", json!([{"type": "tool_result", "content": [text]}, {"type": "tool_result", "content": said}]), 0),
            ("user", json!([{"type": "image", "source": {"data": said}}, text]), 1),
            ("assistant", json!([{"type": "thinking", "thinking": said, "text": said}]), 0),
            ("assistant", json!([{"type": "tool_use", "name": "Bash", "input": {"text": said}}]), 0),
            ("assistant", json!([{"text": said}, {"type": 1, "text": said}, [text], null, said, 5]), 0),
            (
                "assistant",
                json!([{"type": "text"}, {"type": "text", "text": null}, {"type": "text", "text": [said]}]),
                0,
            ),
            ("user", json!("ok, do so"), 0),
            ("user", json!(" \n\t              "), 0),
            ("user", json!("<local-command-stdout>the output of a command</local-command-stdout>"), 0),
            ("user", json!("<bash-stdout>the output of a command</bash-stdout>"), 0),
            ("user", json!("[Request interrupted by user for tool use]"), 0),
            ("user", json!("<command-name>/clear</command-name>\n<command-args></command-args>"), 0),
            ("user", json!(format!("<command-message>plan</command-message>\n<command-args>{said}</command-args>")), 1),
            ("user", json!(format!("<iaid-memory>\n{said}\n</iaid-memory>")), 0),
            ("user", json!([{"type": "text", "text": format!("<system-reminder>{said}</system-reminder>")}, text]), 1),
            ("user", json!(null), 0),
            ("user", json!({"type": "text", "text": said}), 0),
            ("user", json!(5), 0),
            ("system", json!(said), 0),
            ("summary", json!(said), 0),
        ] {
            assert_eq!(texts_of(&line(kind, content.clone())), vec![said; want], "{kind}: {content}");
        }
    }

    #[test]
    fn missing_or_malformed_fields_default_to_the_readers() {
        let whole = line("user", json!("words of the user here"));
        for key in ["sessionId", "cwd", "timestamp"] {
            for odd in [json!(null), json!(5), json!({"a": [1]})] {
                let mut line = whole.clone();
                line[key] = odd;
                let mut reader = TranscriptReader::new(Some("mine".into()), None);
                let turn = reader.turns(&line.to_string()).unwrap().remove(0);
                let want = match key {
                    "sessionId" => (Some("mine"), Some("/home/x/p"), Some("2025-06-01T10:11:12.345Z")),
                    "cwd" => (Some("s-1"), None, Some("2025-06-01T10:11:12.345Z")),
                    _ => (Some("s-1"), Some("/home/x/p"), None),
                };
                assert_eq!((turn.session.as_deref(), turn.project.as_deref(), turn.ts.as_deref()), want, "{line}");
            }
        }
        for mark in ["isMeta", "isSidechain", "isCompactSummary", "isApiErrorMessage"] {
            let mut own = whole.clone();
            own[mark] = json!(true);
            assert_eq!(texts_of(&own), Vec::<String>::new(), "{mark}");
        }
        for odd in [
            "{}",
            "{\"type\":\"user\"}",
            "{\"type\":\"user\",\"message\":null}",
            "{\"type\":null}",
            "{\"type\":\"user\",\"message\":[\"words of the user here\"]}",
            "{\"type\":\"user\",\"message\":\"text of a message\"}",
            "{\"type\":[\"user\"]}",
        ] {
            assert_eq!(TranscriptReader::default().turns(odd).unwrap(), [], "{odd}");
        }
        for wrong in [
            r#"{"type":"user","message":{"content":"a text with \ud800 in it"}}"#,
            r#"{"type":"user","message":{"content":[{"type":"text","text":"a text with \ud800 in it"}]}}"#,
            r#"{"type":"user","type":"user"}"#,
        ] {
            assert!(TranscriptReader::default().turns(wrong).is_err(), "{wrong}");
        }
    }
}
