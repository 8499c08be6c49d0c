//! What an assistant tells a hook on standard input, read so that an odd field costs nobody but itself.
//! Pure.
//!
//! Claude Code (code.claude.com/docs/en/hooks) and Codex (developers.openai.com/codex/hooks) give the same
//! names; Codex may have no transcript, and then says what was said last.

use std::borrow::Cow;
use std::path::PathBuf;

use crate::wire::json::Members;

/// What `iaid doctor` adds, and the answer's only key.
pub(crate) const CHECK: &str = "iaid_check";

/// What a hook was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HookInput {
    pub(crate) session: String,
    pub(crate) transcript: Option<PathBuf>,
    pub(crate) cwd: Option<String>,
    /// What the user is about to send.
    pub(crate) prompt: Option<String>,
    /// What the assistant has just said.
    pub(crate) answer: Option<String>,
    /// `iaid doctor` calls, no assistant: nothing is to be told or taken.
    pub(crate) is_check: bool,
}

impl HookInput {
    /// Reads it.
    ///
    /// # Errors
    /// Why nothing can be done with it.
    pub(crate) fn read(bytes: &[u8]) -> Result<HookInput, String> {
        let text = str::from_utf8(bytes).map_err(|_| "standard input is not UTF-8")?.trim();
        if text.is_empty() {
            return Err("standard input is empty: a hook is given a JSON object".into());
        }
        let fields = Members::read(text).map_err(|error| format!("standard input is no JSON object: {error}"))?;
        let string = |key| fields.string(key).filter(|text| !text.is_empty()).map(Cow::into_owned);
        Ok(HookInput {
            session: string("session_id").ok_or("standard input names no session_id")?,
            transcript: string("transcript_path").map(PathBuf::from),
            cwd: string("cwd"),
            prompt: string("prompt"),
            answer: string("last_assistant_message"),
            is_check: fields.value(CHECK).is_some_and(|value| value.get() == "true"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_taken() {
        let claude = r#"{"session_id":"abc","transcript_path":"/t/abc.jsonl","cwd":"/p","permission_mode":"default",
            "hook_event_name":"UserPromptSubmit","prompt":"do \"so\"\n"}"#;
        let want = HookInput {
            session: "abc".into(),
            transcript: Some("/t/abc.jsonl".into()),
            cwd: Some("/p".into()),
            prompt: Some("do \"so\"\n".into()),
            ..HookInput::default()
        };
        assert_eq!(HookInput::read(claude.as_bytes()), Ok(want));
        let codex = r#"{"session_id":"abc","turn_id":"t","transcript_path":null,"cwd":5,"hook_event_name":"Stop",
            "model":"m","stop_hook_active":false,"last_assistant_message":"done"}"#;
        let want = HookInput { session: "abc".into(), answer: Some("done".into()), ..HookInput::default() };
        assert_eq!(HookInput::read(codex.as_bytes()), Ok(want));
    }

    #[test]
    fn what_is_no_use_is_said() {
        for (bytes, part) in [
            (b"".as_slice(), "is empty"),
            (b" \n", "is empty"),
            (b"\xff{", "not UTF-8"),
            (b"[1]", "no JSON object"),
            (b"hello", "no JSON object"),
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
