//! Parses a line of a Codex rollout (`~/.codex/sessions/…/rollout-*.jsonl`) into turns. Pure.
//!
//! Each line is `{"timestamp", "type", "payload"}`. A file holds two logs: what is exchanged with the model
//! (`response_item`) and what is displayed (`event_msg`). The user's text is taken from the displayed log, because the
//! model also receives instructions and folder listings in the user's name; the assistant's text is taken from the
//! exchange with the model. The first line, `session_meta`, names session and folder.

use serde_json::value::RawValue;

use crate::transcript::content::{LONE_SURROGATE, blocks, owned};
use crate::transcript::injected;
use crate::transcript::origin::TurnOrigin;
use crate::transcript::turn::{Assistant, TranscriptTurn, TurnDefaults};
use crate::wire::json::string;
use crate::wire::members::Members;

/// Returns the turns of a line. Session and folder that the line sets for later lines are kept in `defaults`.
///
/// # Errors
/// A message if a text has a lone surrogate, which UTF-8 cannot represent.
pub(crate) fn turns(
    line: &Members<'_>,
    payload: &RawValue,
    defaults: &mut TurnDefaults,
) -> Result<Vec<TranscriptTurn>, String> {
    let Ok(payload) = Members::read(payload.get()) else { return Ok(Vec::new()) };
    let (kind, type_) = (line.string("type"), payload.string("type"));
    let (role, texts) = match (kind.as_deref(), type_.as_deref()) {
        (Some("session_meta"), _) => {
            defaults.session = owned(&payload, "id").or_else(|| defaults.session.take());
            defaults.project = owned(&payload, "cwd").or_else(|| defaults.project.take());
            return Ok(Vec::new());
        }
        (Some("turn_context"), _) => {
            defaults.project = owned(&payload, "cwd").or_else(|| defaults.project.take());
            return Ok(Vec::new());
        }
        (Some("event_msg"), Some("user_message")) => {
            let is_said = payload.value("kind").is_none_or(|kind| matches!(kind.get(), "null" | "\"plain\""));
            match payload.value("message").filter(|message| is_said && message.get().starts_with('"')) {
                Some(message) => ("user", vec![string(message.get()).ok_or(LONE_SURROGATE)?.into_owned()]),
                None => return Ok(Vec::new()),
            }
        }
        (Some("response_item"), Some("message")) if payload.string("role").as_deref() == Some("assistant") => {
            let content = payload.value("content");
            ("assistant", content.map_or_else(|| Ok(Vec::new()), |content| blocks(content, "output_text"))?)
        }
        _ => return Ok(Vec::new()),
    };
    let turn = |text| TranscriptTurn {
        assistant: Assistant::Codex,
        role,
        session: None,
        project: None,
        ts: owned(line, "timestamp"),
        cue: None,
        origin: TurnOrigin::default(),
        text: injected::without(text),
    };
    Ok(texts.into_iter().map(turn).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::TranscriptReader;
    use serde_json::{Value, json};

    fn line(kind: &str, payload: Value) -> String {
        json!({"timestamp": "2026-08-10T20:05:52.101Z", "type": kind, "payload": payload}).to_string()
    }

    #[test]
    fn only_text_of_user_and_assistant_is_taken() {
        let said = "words of the user here";
        let message = |role: &str, kind: &str| {
            let content = json!([{"type": kind, "text": said}, {"type": "input_image", "image_url": "data:"}]);
            json!({"type": "message", "role": role, "content": content})
        };
        for (kind, payload, want) in [
            ("event_msg", json!({"type": "user_message", "message": said, "images": []}), Some("user")),
            ("event_msg", json!({"type": "user_message", "message": said, "kind": "plain"}), Some("user")),
            ("event_msg", json!({"type": "user_message", "message": said, "kind": "environment_context"}), None),
            ("event_msg", json!({"type": "agent_message", "message": said}), None),
            ("event_msg", json!({"type": "user_message", "message": [said]}), None),
            ("event_msg", json!({"type": "user_message"}), None),
            ("event_msg", json!({"type": "user_message", "message": format!("<iaid-memory>{said}")}), None),
            ("event_msg", json!({"type": "exec_command_end", "aggregated_output": said, "message": said}), None),
            ("response_item", message("assistant", "output_text"), Some("assistant")),
            ("response_item", message("user", "input_text"), None),
            ("response_item", message("developer", "input_text"), None),
            ("response_item", json!({"type": "message", "role": "assistant", "content": said}), None),
            ("response_item", json!({"type": "message", "role": "assistant"}), None),
            ("response_item", json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": said}]}), None),
            ("response_item", json!({"type": "function_call_output", "output": said}), None),
            ("compacted", json!({"message": said}), None),
            ("event_msg", json!([said]), None),
            ("event_msg", json!(null), None),
        ] {
            let turns = TranscriptReader::default().turns(&line(kind, payload.clone())).unwrap();
            let got: Vec<_> = turns.iter().map(|turn| (turn.role, turn.text.as_str())).collect();
            assert_eq!(got, want.map(|role| (role, said)).into_iter().collect::<Vec<_>>(), "{kind}: {payload}");
        }
        let torn = r#"{"type":"event_msg","payload":{"type":"user_message","message":"a text with \ud800 in it"}}"#;
        assert_eq!(TranscriptReader::default().turns(torn), Err(LONE_SURROGATE.into()));
    }

    #[test]
    fn session_meta_and_turn_context_set_session_and_folder() {
        let mut reader = TranscriptReader::new(Some("given".into()), Some("/given".into()));
        let said = line("event_msg", json!({"type": "user_message", "message": "words of the user here"}));
        let about = |reader: &mut TranscriptReader| {
            let turn = reader.turns(&said).unwrap().remove(0);
            (turn.session.unwrap(), turn.project.unwrap(), turn.ts.unwrap())
        };
        let ts = "2026-08-10T20:05:52.101Z";
        assert_eq!(about(&mut reader), ("given".into(), "/given".into(), ts.into()));
        reader.turns(&line("session_meta", json!({"id": "s-2", "cwd": "/home/x/p", "cli_version": "1"}))).unwrap();
        assert_eq!(about(&mut reader), ("s-2".into(), "/home/x/p".into(), ts.into()));
        reader.turns(&line("turn_context", json!({"cwd": "/home/x/q", "model": "m"}))).unwrap();
        assert_eq!(about(&mut reader), ("s-2".into(), "/home/x/q".into(), ts.into()));
    }
}
