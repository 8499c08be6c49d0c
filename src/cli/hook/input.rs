//! The JSON that an assistant passes to a hook on standard input. A malformed optional field counts as missing. Pure.
//!
//! Claude Code (code.claude.com/docs/en/hooks) and Codex (developers.openai.com/codex/hooks) use the same field names.
//! Both pass the words themselves, the prompt and the last answer, beside the path of a transcript that may not have
//! them yet.

use std::borrow::Cow;
use std::path::PathBuf;

use super::rollout;
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
    /// The hook runs for a subagent, whose prompt is a model's.
    pub(crate) is_subagent: bool,
    /// The hook was started by `iaid doctor`: it prints no context and captures nothing.
    pub(crate) is_check: bool,
}

impl HookInput {
    /// Parses standard input.
    ///
    /// # Errors
    /// A message if the input is not UTF-8, is not a JSON object, or has no `session_id`.
    pub(crate) fn read(bytes: &[u8]) -> Result<HookInput, String> {
        let text = str::from_utf8(bytes).map_err(|_| "standard input is not UTF-8")?.trim();
        if text.is_empty() {
            return Err("standard input is empty: expected a JSON object".into());
        }
        let fields = Members::read(text).map_err(|error| format!("standard input is not a JSON object: {error}"))?;
        let string = |key| fields.string(key).filter(|text| !text.is_empty()).map(Cow::into_owned);
        let transcript = string("transcript_path").map(PathBuf::from);
        // Only Codex has turns with ids, and may keep no transcript.
        let is_codex = string("turn_id").is_some() || transcript.as_deref().is_none_or(rollout::is_rollout);
        Ok(HookInput {
            session: string("session_id").ok_or("standard input has no session_id")?,
            transcript,
            cwd: string("cwd"),
            prompt: string("prompt"),
            answer: string("last_assistant_message"),
            source: string("source"),
            assistant: if is_codex { Assistant::Codex } else { Assistant::ClaudeCode },
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
        assert_eq!(HookInput::read(claude.as_bytes()), Ok(want.clone()));
        let agent = claude.replace("\"cwd\"", "\"agent_id\":\"a1\",\"cwd\"");
        assert_eq!(HookInput::read(agent.as_bytes()), Ok(HookInput { is_subagent: true, ..want }));
        let codex = r#"{"session_id":"abc","turn_id":"t","transcript_path":null,"cwd":5,"hook_event_name":"Stop",
            "model":"m","stop_hook_active":false,"last_assistant_message":"done"}"#;
        let want = HookInput { answer: Some("done".into()), ..empty(Assistant::Codex) };
        assert_eq!(HookInput::read(codex.as_bytes()), Ok(want));
    }

    #[test]
    fn the_assistant_is_known_by_its_fields() {
        for (fields, want) in [
            (r#""transcript_path":"/c/sessions/2026/01/02/rollout-2026-01-02T03-04-05-abc.jsonl""#, Assistant::Codex),
            (r#""transcript_path":"/c/rollout-2026-01-02T03-04-05-abc.jsonl.zst""#, Assistant::Codex),
            (r#""transcript_path":"/c/projects/-p/abc.jsonl""#, Assistant::ClaudeCode),
            (r#""transcript_path":"/c/abc.jsonl","turn_id":"1""#, Assistant::Codex),
            (r#""model":"m""#, Assistant::Codex),
        ] {
            let text = format!(r#"{{"session_id":"abc",{fields}}}"#);
            assert_eq!(HookInput::read(text.as_bytes()).unwrap().assistant, want, "{text}");
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
            let error = HookInput::read(bytes).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
