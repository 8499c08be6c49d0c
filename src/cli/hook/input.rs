//! The JSON that an assistant passes to a hook on standard input. A malformed optional field counts as missing. Pure.
//!
//! All assistants use Claude Code's field names (code.claude.com/docs/en/hooks), but for Gemini CLI's `prompt_response`.
//! They pass the words themselves, the prompt and the last answer, beside the path of a transcript that may not have
//! them yet. opencode has no transcript: its plugin passes the messages.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::cli::support::assistants::{HOOK_EVENTS, assistant_of_path};
use crate::transcript::Assistant;
use crate::wire::members::Members;

/// Key that `iaid doctor` adds to the input, and the only key of the answer to it.
pub(crate) const CHECK_KEY: &str = "iaid_check";

/// An event of an assistant's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HookEvent {
    SessionStart,
    UserPromptSubmit,
    Stop,
    SessionEnd,
}

impl HookEvent {
    /// Returns the event with this name on the command line.
    pub(crate) fn named(name: &str) -> Option<HookEvent> {
        match name {
            "session-start" => Some(HookEvent::SessionStart),
            "user-prompt-submit" => Some(HookEvent::UserPromptSubmit),
            "stop" => Some(HookEvent::Stop),
            "session-end" => Some(HookEvent::SessionEnd),
            _ => None,
        }
    }

    /// Returns its name on the command line.
    pub(crate) fn name(self) -> &'static str {
        HOOK_EVENTS[self as usize]
    }
}

/// The input of a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookInput {
    pub(crate) session: String,
    pub(crate) transcript: Option<PathBuf>,
    pub(crate) cwd: Option<String>,
    /// The prompt that the user is about to send.
    pub(crate) prompt: Option<String>,
    /// The last message of the assistant.
    pub(crate) answer: Option<String>,
    /// Why a session starts: `startup`, `resume`, `clear` or `compact`.
    pub(crate) source: Option<String>,
    /// The assistant that runs the hook.
    pub(crate) assistant: Assistant,
    /// The input has messages of the session.
    pub(crate) has_messages: bool,
    /// The hook runs for a subagent, whose prompt is a model's.
    pub(crate) is_subagent: bool,
    /// The hook was started by `iaid doctor`: it prints no context and captures nothing.
    pub(crate) is_check: bool,
}

impl HookInput {
    /// Parses standard input. `named` is the assistant in the hook's command; without it, the fields tell the assistant.
    ///
    /// # Errors
    /// A message if the input is not UTF-8, is not a JSON object, or has no `session_id`.
    pub(crate) fn read(bytes: &[u8], named: Option<Assistant>) -> Result<HookInput, String> {
        let text = str::from_utf8(bytes).map_err(|_| "standard input is not UTF-8")?.trim();
        if text.is_empty() {
            return Err("standard input is empty: expected a JSON object".into());
        }
        let fields = Members::read(text).map_err(|error| format!("standard input is not a JSON object: {error}"))?;
        let string = |key| fields.string(key).filter(|text| !text.is_empty()).map(Cow::into_owned);
        let transcript = string("transcript_path").map(PathBuf::from);
        let assistant = named.unwrap_or_else(|| match transcript.as_deref() {
            // Only Codex has turns with ids, and may keep no transcript.
            _ if string("turn_id").is_some() => Assistant::Codex,
            Some(path) => assistant_of_path(path),
            // Copilot CLI names the transcript at the end of a turn only. Codex gives no time.
            None if string("timestamp").is_some() => Assistant::Copilot,
            None => Assistant::Codex,
        });
        Ok(HookInput {
            session: string("session_id").ok_or("standard input has no session_id")?,
            transcript,
            cwd: string("cwd"),
            prompt: string("prompt"),
            answer: string("last_assistant_message").or_else(|| string("prompt_response")),
            source: string("source"),
            assistant,
            has_messages: fields.value("messages").is_some(),
            is_subagent: string("agent_id").is_some(),
            is_check: fields.value(CHECK_KEY).is_some_and(|value| value.get() == "true"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty(assistant: Assistant) -> HookInput {
        HookInput {
            session: "abc".into(),
            transcript: None,
            cwd: None,
            prompt: None,
            answer: None,
            source: None,
            assistant,
            has_messages: false,
            is_subagent: false,
            is_check: false,
        }
    }

    #[test]
    fn known_fields_are_read() {
        let claude = r#"{"session_id":"abc","transcript_path":"/t/abc.jsonl","cwd":"/p","permission_mode":"default",
            "hook_event_name":"UserPromptSubmit","prompt":"do \"so\"\n"}"#;
        let want = HookInput {
            transcript: Some("/t/abc.jsonl".into()),
            cwd: Some("/p".into()),
            prompt: Some("do \"so\"\n".into()),
            ..empty(Assistant::ClaudeCode)
        };
        assert_eq!(HookInput::read(claude.as_bytes(), None), Ok(want.clone()));
        let agent = claude.replace("\"cwd\"", "\"agent_id\":\"a1\",\"cwd\"");
        assert_eq!(HookInput::read(agent.as_bytes(), None), Ok(HookInput { is_subagent: true, ..want }));
        let codex = r#"{"session_id":"abc","turn_id":"t","transcript_path":null,"cwd":5,"hook_event_name":"Stop",
            "model":"m","stop_hook_active":false,"last_assistant_message":"done"}"#;
        let want = HookInput { answer: Some("done".into()), ..empty(Assistant::Codex) };
        assert_eq!(HookInput::read(codex.as_bytes(), None), Ok(want));
    }

    #[test]
    fn the_assistant_is_known_by_its_fields() {
        for (fields, want) in [
            (r#""transcript_path":"/c/sessions/2026/01/02/rollout-2026-01-02T03-04-05-abc.jsonl""#, Assistant::Codex),
            (r#""transcript_path":"/c/rollout-2026-01-02T03-04-05-abc.jsonl.zst""#, Assistant::Codex),
            (r#""transcript_path":"/c/projects/-p/abc.jsonl""#, Assistant::ClaudeCode),
            (r#""transcript_path":"/c/abc.jsonl","turn_id":"1""#, Assistant::Codex),
            (r#""model":"m""#, Assistant::Codex),
            (r#""timestamp":"2026-11-30T05:16:54.863Z","source":"new","initial_prompt":"p""#, Assistant::Copilot),
            (r#""transcript_path":"/c/session-state/abc/events.jsonl","stop_reason":"end_turn""#, Assistant::Copilot),
            (r#""transcript_path":"/h/.gemini/tmp/p/chats/session-2026-11-30T05-16-abc.jsonl""#, Assistant::Gemini),
            (r#""transcript_path":"/h/.qwen/projects/-p/chats/abc.jsonl""#, Assistant::Qwen),
        ] {
            let text = format!(r#"{{"session_id":"abc",{fields}}}"#);
            assert_eq!(HookInput::read(text.as_bytes(), None).unwrap().assistant, want, "{text}");
            let named = HookInput::read(text.as_bytes(), Some(Assistant::Pi)).unwrap();
            assert_eq!(named.assistant, Assistant::Pi, "{text}");
        }
    }

    #[test]
    fn unusable_input_is_refused_with_a_reason() {
        for (bytes, part) in [
            (b"".as_slice(), "is empty"),
            (b" \n", "is empty"),
            (b"\xff{", "not UTF-8"),
            (b"[1]", "not a JSON object"),
            (b"hello", "not a JSON object"),
            (b"{", "EOF"),
            (b"{} {}", "trailing"),
            (b"{}", "session_id"),
            (br#"{"session_id":7}"#, "session_id"),
            (br#"{"session_id":""}"#, "session_id"),
            (br#"{"session_id":"\ud800"}"#, "session_id"),
        ] {
            let error = HookInput::read(bytes, None).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
