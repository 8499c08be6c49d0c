//! Parses the lines of transcripts in which each line stands alone, into turns: those of Copilot CLI, Gemini CLI, Qwen
//! Code, opencode and pi. Pure.
//!
//! | assistant | a line with a turn | its texts |
//! |---|---|---|
//! | Copilot CLI | `{"type": "user.message", "data"}`, also `assistant.message` | `data.content` |
//! | Gemini CLI | `{"id", "type": "user", "content"}`, also `gemini`; several in `$set.messages` | `displayContent`, else `content` |
//! | Qwen Code | `{"uuid", "type": "user", "message"}`, also `assistant` | `message.parts` |
//! | opencode | `{"info", "parts"}`; several in the `messages` of an export | `parts` |
//! | pi | `{"type": "message", "message"}` | `message.content` |
//!
//! What comes from a subagent, and texts that a program wrote in the user's name, are skipped. So are the model's
//! reasoning, and calls of tools and their results.

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::transcript::assistant::Assistant;
use crate::transcript::content::{LONE_SURROGATE, owned};
use crate::transcript::injected;
use crate::transcript::origin::{TurnOrigin, TurnSource};
use crate::transcript::tally::has_text;
use crate::transcript::turn::{LineTurns, TranscriptTurn, TurnDefaults};
use crate::wire::json::string;
use crate::wire::members::Members;

/// First words of the types of Copilot CLI's events that have no turn.
const COPILOT_OTHERS: [&str; 32] = [
    "abort",
    "agent",
    "audio",
    "auto_mode_switch",
    "blob",
    "capabilities",
    "command",
    "commands",
    "elicitation",
    "exit_plan_mode",
    "external_tool",
    "hook",
    "human_response",
    "image",
    "mcp",
    "mcp_app",
    "model",
    "pending_messages",
    "permission",
    "prompt_cache_break",
    "sampling",
    "sandbox",
    "session",
    "session_limits_exhausted",
    "skill",
    "subagent",
    "system",
    "tool",
    "tool_search",
    "ui",
    "user_input",
    "workflow",
];

/// Types of Gemini CLI's messages that have no turn.
const GEMINI_OTHERS: [&str; 3] = ["error", "info", "warning"];

/// Types of Qwen Code's lines that have no turn.
const QWEN_OTHERS: [&str; 2] = ["system", "tool_result"];

/// Types of Qwen Code's lines of the user that a program wrote.
const QWEN_PROGRAMS: [&str; 2] = ["cron", "notification"];

/// Types of pi's lines that have no turn, and roles of its messages that have none.
const PI_OTHERS: [&str; 8] = [
    "branch_summary",
    "compaction",
    "custom",
    "custom_message",
    "label",
    "model_change",
    "session_info",
    "thinking_level_change",
];
const PI_OTHER_ROLES: [&str; 5] = ["bashExecution", "branchSummary", "compactionSummary", "custom", "toolResult"];

/// Types of parts of a message that have no turn.
const OTHER_PARTS: [&str; 13] = [
    "agent",
    "compaction",
    "file",
    "image",
    "patch",
    "reasoning",
    "retry",
    "snapshot",
    "step-finish",
    "step-start",
    "subtask",
    "thinking",
    "tool",
];

/// The part after which the content of files follows that the user has named with `@`.
const REFERENCED_FILES: &str = "--- Content from referenced files ---";

/// What the lines of a transcript have told.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlainReader {
    header: TurnDefaults,
    is_of_subagent: bool,
}

/// A message, whichever assistant wrote it.
struct Message {
    assistant: Assistant,
    role: &'static str,
    id: Option<String>,
    ts: Option<String>,
}

/// Returns the assistant that wrote a line, if it is one whose lines stand alone.
pub(crate) fn assistant_of(line: &Members<'_>) -> Option<Assistant> {
    let has = |key| line.value(key).is_some();
    let kind = line.string("type");
    let kind = kind.as_deref().unwrap_or_default();
    if has("info") && (has("parts") || has("messages")) {
        Some(Assistant::Opencode)
    } else if has("$set") || has("$rewindTo") || has("projectHash") {
        Some(Assistant::Gemini)
    } else if has("data") && has("id") && has("parentId") {
        Some(Assistant::Copilot)
    } else if has("uuid") && object(line, "message").value("parts").is_some() {
        Some(Assistant::Qwen)
    } else if has("id") && (has("parentId") || (kind == "session" && has("cwd"))) {
        Some(Assistant::Pi)
    } else if has("id") && has("content") && (matches!(kind, "user" | "gemini") || GEMINI_OTHERS.contains(&kind)) {
        Some(Assistant::Gemini)
    } else {
        None
    }
}

impl PlainReader {
    /// Returns the turns of a line of this assistant.
    ///
    /// # Errors
    /// A message if a text has a lone surrogate, which UTF-8 cannot represent.
    pub(crate) fn turns(&mut self, assistant: Assistant, line: &Members<'_>) -> Result<LineTurns, String> {
        let mut found = LineTurns::default();
        match assistant {
            Assistant::Copilot => self.copilot(line, &mut found)?,
            Assistant::Gemini => self.gemini(line, &mut found)?,
            Assistant::Qwen => self.qwen(line, &mut found)?,
            Assistant::Opencode => self.opencode(line, &mut found)?,
            Assistant::Pi => self.pi(line, &mut found)?,
            Assistant::ClaudeCode | Assistant::Codex => {}
        }
        if self.is_of_subagent {
            found.turns.clear();
        }
        Ok(found)
    }

    /// Returns true if the transcript is that of a subagent.
    pub(crate) fn is_of_subagent(&self) -> bool {
        self.is_of_subagent
    }

    fn copilot(&mut self, line: &Members<'_>, found: &mut LineTurns) -> Result<(), String> {
        let data = object(line, "data");
        let kind = owned(line, "type").unwrap_or_default();
        let is_of_subagent = line.value("agentId").is_some() || data.value("parentToolCallId").is_some();
        let role = match kind.as_str() {
            "session.start" | "session.resume" => {
                self.note_session(owned(&data, "sessionId"));
                self.note_project(owned(&object(&data, "context"), "cwd"));
                return Ok(());
            }
            "user.message" => "user",
            "assistant.message" => "assistant",
            "human_response.recorded" => {
                let response = object(&data, "response");
                let is_of_person = data.string("actor").is_none_or(|actor| actor == "human_response");
                if let Some(answer) = response.value("answer").filter(|_| is_of_person && !is_of_subagent) {
                    let message = Message::of(Assistant::Copilot, "user", line);
                    let before = found.turns.len();
                    self.say(&message, answer, found)?;
                    let question = owned(&response, "question");
                    found.turns[before..].iter_mut().for_each(|turn| turn.cue.clone_from(&question));
                }
                return Ok(());
            }
            kind => {
                let first = kind.split('.').next().unwrap_or_default();
                let is_other = COPILOT_OTHERS.contains(&first) || first == "assistant";
                found.is_unknown = !is_other && has_text(line);
                return Ok(());
            }
        };
        let is_of_program =
            data.string("source").is_some_and(|source| source != "user") || is_true(&data, "isAutopilotContinuation");
        match data.value("content") {
            Some(_) if is_of_subagent || is_of_program => Ok(()),
            Some(content) => self.say(&Message::of(Assistant::Copilot, role, line), content, found),
            None => {
                found.is_unknown = has_text(line);
                Ok(())
            }
        }
    }

    fn gemini(&mut self, line: &Members<'_>, found: &mut LineTurns) -> Result<(), String> {
        if line.value("projectHash").is_some() {
            self.note_session(owned(line, "sessionId"));
            self.is_of_subagent |= line.string("kind").is_some_and(|kind| kind == "subagent");
        }
        let set = object(line, "$set");
        let messages = set.value("messages").or_else(|| line.value("messages"));
        if let Some(messages) = messages {
            return members_of(messages).iter().try_for_each(|message| self.gemini_message(message, found));
        }
        if line.value("content").is_some() { self.gemini_message(line, found) } else { Ok(()) }
    }

    fn gemini_message(&mut self, line: &Members<'_>, found: &mut LineTurns) -> Result<(), String> {
        let kind = line.string("type");
        let role = match kind.as_deref() {
            Some("user") => "user",
            Some("gemini") => "assistant",
            Some(kind) if GEMINI_OTHERS.contains(&kind) => return Ok(()),
            _ => {
                found.is_unknown |= has_text(line);
                return Ok(());
            }
        };
        let shown = line.value("displayContent").filter(|shown| role == "user" && shown.get() != "null");
        match shown.or_else(|| line.value("content")) {
            Some(content) => self.say(&Message::of(Assistant::Gemini, role, line), content, found),
            None => Ok(()),
        }
    }

    fn qwen(&mut self, line: &Members<'_>, found: &mut LineTurns) -> Result<(), String> {
        self.note_session(owned(line, "sessionId"));
        self.note_project(owned(line, "cwd"));
        let (kind, subtype) = (line.string("type"), line.string("subtype"));
        let role = match kind.as_deref() {
            Some("user") if subtype.is_some_and(|subtype| QWEN_PROGRAMS.contains(&&*subtype)) => return Ok(()),
            Some("user") => "user",
            Some("assistant") => "assistant",
            Some(kind) if QWEN_OTHERS.contains(&kind) => return Ok(()),
            _ => {
                found.is_unknown = has_text(line);
                return Ok(());
            }
        };
        let message = Message { id: owned(line, "uuid"), ..Message::of(Assistant::Qwen, role, line) };
        match object(line, "message").value("parts") {
            Some(parts) if !is_true(line, "isSidechain") => self.say(&message, parts, found),
            _ => Ok(()),
        }
    }

    fn opencode(&mut self, line: &Members<'_>, found: &mut LineTurns) -> Result<(), String> {
        let info = object(line, "info");
        if let Some(messages) = line.value("messages") {
            self.header = TurnDefaults { session: owned(&info, "id"), project: owned(&info, "directory") };
            self.is_of_subagent = info.string("parentID").is_some();
            return members_of(messages).iter().try_for_each(|message| self.opencode(message, found));
        }
        // A database has many sessions.
        if let Some(session) = owned(&info, "sessionID") {
            let project = owned(line, "directory");
            let is_same = self.header.session.as_ref() == Some(&session);
            let project = project.or_else(|| self.header.project.take().filter(|_| is_same));
            self.header = TurnDefaults { session: Some(session), project };
        }
        let role = match info.string("role").as_deref() {
            Some("user") => "user",
            Some("assistant") => "assistant",
            _ => {
                found.is_unknown |= has_text(line);
                return Ok(());
            }
        };
        let Some(parts) = line.value("parts").filter(|_| !is_true(&info, "summary")) else { return Ok(()) };
        let created = object(&info, "time").value("created").and_then(time_of);
        for part in members_of(parts) {
            let ts = object(&part, "time").value("start").and_then(time_of).or_else(|| created.clone());
            let message = Message { ts, ..Message::of(Assistant::Opencode, role, &part) };
            self.say_part(&message, 0, &part, found)?;
        }
        Ok(())
    }

    fn pi(&mut self, line: &Members<'_>, found: &mut LineTurns) -> Result<(), String> {
        match line.string("type").as_deref() {
            Some("session") => {
                self.note_session(owned(line, "id"));
                self.note_project(owned(line, "cwd"));
                return Ok(());
            }
            Some("message") => {}
            Some(kind) if PI_OTHERS.contains(&kind) => return Ok(()),
            _ => {
                found.is_unknown = has_text(line);
                return Ok(());
            }
        }
        let said = object(line, "message");
        let role = match said.string("role").as_deref() {
            Some("user") => "user",
            Some("assistant") => "assistant",
            Some(role) if PI_OTHER_ROLES.contains(&role) => return Ok(()),
            _ => {
                found.is_unknown = has_text(line);
                return Ok(());
            }
        };
        let mut message = Message::of(Assistant::Pi, role, line);
        // An id of pi has eight digits and is unique in its file only; a fork has it with the same time.
        message.id = message.id.zip(message.ts.as_ref()).map(|(id, ts)| format!("{id}@{ts}"));
        said.value("content").map_or(Ok(()), |content| self.say(&message, content, found))
    }

    /// Appends the turns of a message's content: a text, a part, or a list of either.
    fn say(&self, message: &Message, content: &RawValue, found: &mut LineTurns) -> Result<(), String> {
        let items: Vec<&RawValue> = match content.get().as_bytes().first() {
            Some(b'[') => serde_json::from_str(content.get()).unwrap_or_default(),
            _ => vec![content],
        };
        for (at, item) in items.into_iter().enumerate() {
            if item.get().starts_with('"') {
                let text = string(item.get()).ok_or(LONE_SURROGATE)?.into_owned();
                self.add(message, at, text, found);
            } else if let Ok(part) = Members::read(item.get()) {
                let is_files = part.string("text").is_some_and(|text| text.trim() == REFERENCED_FILES);
                if is_files && message.role == "user" {
                    break;
                }
                self.say_part(message, at, &part, found)?;
            }
        }
        Ok(())
    }

    fn say_part(&self, message: &Message, at: usize, part: &Members<'_>, found: &mut LineTurns) -> Result<(), String> {
        let kind = part.string("type");
        match (kind.as_deref(), part.value("text")) {
            (None | Some("text"), Some(text)) if text.get().starts_with('"') => {
                let is_of_program = ["thought", "synthetic", "ignored"].iter().any(|key| is_true(part, key));
                let text = string(text.get()).ok_or(LONE_SURROGATE)?.into_owned();
                if !is_of_program {
                    self.add(message, at, text, found);
                }
            }
            (None | Some("text" | "toolCall"), _) => {}
            (Some(kind), _) if OTHER_PARTS.contains(&kind) => {}
            _ => found.is_unknown |= has_text(part),
        }
        Ok(())
    }

    fn add(&self, message: &Message, at: usize, text: String, found: &mut LineTurns) {
        let text = match text.split_once(REFERENCED_FILES) {
            Some((said, _)) if message.role == "user" => said.to_owned(),
            _ => text,
        };
        let id = message.id.as_ref().map(|id| if at == 0 { id.clone() } else { format!("{id}.{at}") });
        found.turns.push(TranscriptTurn {
            assistant: message.assistant,
            role: message.role,
            session: self.header.session.clone(),
            project: self.header.project.clone(),
            ts: message.ts.clone(),
            cue: None,
            origin: TurnOrigin { id, parents: Vec::new(), source: TurnSource::Line },
            text: injected::without(text),
        });
    }

    /// Keeps the first session that a line names.
    fn note_session(&mut self, session: Option<String>) {
        self.header.session = self.header.session.take().or(session);
    }

    /// Keeps the first folder that a line names: a change of the folder is not one of the project.
    fn note_project(&mut self, project: Option<String>) {
        self.header.project = self.header.project.take().or(project);
    }
}

impl Message {
    /// Returns the message of a line that has `id` and `timestamp`.
    fn of(assistant: Assistant, role: &'static str, line: &Members<'_>) -> Message {
        Message { assistant, role, id: owned(line, "id"), ts: owned(line, "timestamp") }
    }
}

fn object<'a>(members: &Members<'a>, key: &str) -> Members<'a> {
    members.value(key).and_then(|value| Members::read(value.get()).ok()).unwrap_or_default()
}

/// Returns the objects of a list.
fn members_of(list: &RawValue) -> Vec<Members<'_>> {
    let items: Vec<&RawValue> = serde_json::from_str(list.get()).unwrap_or_default();
    items.into_iter().filter_map(|item| Members::read(item.get()).ok()).collect()
}

fn is_true(members: &Members<'_>, key: &str) -> bool {
    members.value(key).is_some_and(|value| value.get() == "true")
}

/// Returns a time in milliseconds since 1970 in ISO 8601.
fn time_of(millis: &RawValue) -> Option<String> {
    Some(Timestamp::from_millisecond(millis.get().parse().ok()?).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::TranscriptReader;
    use serde_json::{Value, json};

    /// Returns assistant, session, folder and turns of the lines, and how many lines are of unknown kinds.
    fn read(lines: &[Value]) -> (Vec<String>, u64) {
        let mut reader = TranscriptReader::default();
        let read = |line: &Value| reader.read(line.to_string().as_bytes());
        let lines: Vec<_> = lines.iter().map(read).collect();
        assert!(lines.iter().all(|line| line.damage.is_none()), "{lines:?}");
        let turns = lines.into_iter().flat_map(|line| line.turns).chain(reader.finish());
        let shown = turns.map(|turn| {
            let (session, project) = (turn.session.unwrap_or_default(), turn.project.unwrap_or_default());
            let (id, ts) = (turn.origin.id.unwrap_or_default(), turn.ts.unwrap_or_default());
            format!("{} {session} {project} {id} {ts} {}: {}", turn.assistant.name(), turn.role, turn.text)
        });
        (shown.collect(), reader.tally().unknown_lines)
    }

    const TS: &str = "2026-11-30T05:16:42.389Z";
    const SAID: &str = "the staging database is tern_staging";
    const NOTED: &str = "noted: it is tern_staging";

    #[test]
    fn each_assistants_lines_are_read() {
        let escaped = "&lt;iaid-memory&gt;\nan old record\n&lt;/iaid-memory&gt;";
        let start = json!({"sessionId": "s", "context": {"cwd": "/p"}});
        let copilot =
            |kind: &str, data: Value| json!({"type": kind, "data": data, "id": "i", "timestamp": TS, "parentId": null});
        let gemini = |kind: &str, content: Value| json!({"id": "i", "timestamp": TS, "type": kind, "content": content});
        let qwen = |kind: &str, parts: Value| {
            json!({"uuid": "i", "parentUuid": null, "sessionId": "s", "timestamp": TS, "type": kind, "cwd": "/p",
                "message": {"role": "x", "parts": parts}})
        };
        let opencode = |role: &str, parts: Value| {
            json!({"info": {"id": "m", "role": role, "sessionID": "s", "time": {"created": 1_796_015_802_389_u64}},
                "directory": "/p", "parts": parts})
        };
        let pi = |role: &str, content: Value| {
            json!({"type": "message", "id": "i", "parentId": "h", "timestamp": TS,
                "message": {"role": role, "content": content}})
        };
        let header = json!({"sessionId": "s", "projectHash": "x", "startTime": TS, "kind": "main"});
        let files = "--- Content from referenced files ---";
        let named = json!([{"text": SAID}, {"text": format!("\n{files}")}, {"text": "the content of a long file"}]);
        for (name, project, id, lines) in [
            (
                "copilot",
                "/p",
                "i",
                vec![
                    copilot("session.start", start),
                    copilot("user.message", json!({"content": SAID, "transformedContent": "<current_datetime>"})),
                    copilot("assistant.message", json!({"content": NOTED, "reasoningText": "a thought that is long"})),
                ],
            ),
            (
                "gemini",
                "",
                "i",
                vec![
                    header.clone(),
                    json!({"$set": {"messages": [gemini("user", json!([{"text": "<session_context>\nx\n</session_context>"}]))]}}),
                    gemini("info", json!("an update of this program is there")),
                    gemini(
                        "user",
                        json!([{"text": format!("<hook_context>{escaped}</hook_context>\n\n{SAID}")},
                    {"text": format!("<hook_context>{escaped}</hook_context>")}]),
                    ),
                    gemini("gemini", json!(NOTED)),
                ],
            ),
            (
                "gemini",
                "",
                "i",
                vec![json!({"sessionId": "s", "projectHash": "x", "messages": [
                gemini("user", json!(SAID)), gemini("gemini", json!([{"text": "long thoughts of a model", "thought": true}, {"text": NOTED}]))]})],
            ),
            (
                "qwen",
                "/p",
                "i",
                vec![
                    qwen("user", json!([{"text": SAID}, {"text": escaped}])),
                    json!({"uuid": "j", "sessionId": "s", "type": "system", "subtype": "ui_telemetry", "systemPayload": {"text": SAID}}),
                    qwen("tool_result", json!([{"functionResponse": {"response": {"output": "a long output"}}}])),
                    qwen("assistant", json!([{"text": "long thoughts of a model", "thought": true}, {"text": NOTED}])),
                ],
            ),
            ("qwen", "/p", "i", vec![qwen("user", named), qwen("assistant", json!([{"text": NOTED}]))]),
            (
                "opencode",
                "/p",
                "p",
                vec![
                    opencode(
                        "user",
                        json!([{"type": "text", "text": SAID, "id": "p"},
                    {"type": "text", "text": "the content of a long file", "synthetic": true, "id": "q"}]),
                    ),
                    opencode("assistant", json!([{"type": "step-start"}, {"type": "text", "text": NOTED, "id": "p"}])),
                ],
            ),
            (
                "opencode",
                "/p",
                "p",
                vec![json!({"info": {"id": "s", "directory": "/p"}, "messages": [
                opencode("user", json!([{"type": "text", "text": SAID, "id": "p"}])),
                opencode("assistant", json!([{"type": "text", "text": NOTED, "id": "p"}]))]})],
            ),
            (
                "pi",
                "/p",
                "i@2026-11-30T05:16:42.389Z",
                vec![
                    json!({"type": "session", "version": 3, "id": "s", "timestamp": TS, "cwd": "/p"}),
                    json!({"type": "model_change", "id": "j", "parentId": null, "timestamp": TS, "modelId": "m"}),
                    pi("user", json!(SAID)),
                    pi("toolResult", json!([{"type": "text", "text": "a long output"}])),
                    pi("assistant", json!([{"type": "thinking", "thinking": "x"}, {"type": "text", "text": NOTED}])),
                ],
            ),
        ] {
            let (turns, unknown) = read(&lines);
            let turns: Vec<_> = turns.iter().map(|turn| turn.replace(&format!("{id}.1 "), &format!("{id} "))).collect();
            let want = [("user", SAID), ("assistant", NOTED)]
                .map(|(role, text)| format!("{name} s {project} {id} {TS} {role}: {text}"));
            assert_eq!((turns, unknown), (want.to_vec(), 0), "{name}");
        }
    }

    #[test]
    fn what_no_person_said_to_the_assistant_is_skipped_and_unknown_kinds_are_counted() {
        let event =
            |kind: &str, data: Value| json!({"type": kind, "data": data, "id": "i", "timestamp": TS, "parentId": null});
        let mut of_agent = event("assistant.message", json!({"content": NOTED}));
        of_agent["agentId"] = "a".into();
        let answered = json!({"actor": "human_response", "response": {"responseKind": "user_input", "question": "which?", "answer": "the blue one"}});
        let qwen = |subtype: &str| json!({"uuid": "i", "sessionId": "s", "type": "user", "subtype": subtype, "message": {"parts": [{"text": SAID}]}});
        for (line, turns, unknown) in [
            (of_agent, 0, 0),
            (event("user.message", json!({"content": SAID, "source": "skill-pdf"})), 0, 0),
            (event("user.message", json!({"content": SAID, "isAutopilotContinuation": true})), 0, 0),
            (event("system.message", json!({"content": SAID})), 0, 0),
            (event("human_response.recorded", answered), 1, 0),
            (event("person.spoke", json!({"content": SAID})), 0, 1),
            (qwen("cron"), 0, 0),
            (qwen("mid_turn"), 1, 0),
            (json!({"uuid": "i", "sessionId": "s", "type": "spoken", "message": {"parts": [{"text": SAID}]}}), 0, 1),
            (
                json!({"info": {"id": "s", "parentID": "t"}, "messages": [
                {"info": {"role": "user", "sessionID": "s"}, "parts": [{"type": "text", "text": SAID}]}]}),
                0,
                0,
            ),
            (json!({"info": {"role": "user"}, "parts": [{"type": "spoken", "text": SAID}]}), 0, 1),
            (json!({"type": "spoken", "id": "i", "parentId": "h", "message": {"content": SAID}}), 0, 1),
            (json!({"$set": {"messages": [{"id": "i", "type": "spoken", "content": SAID}]}}), 0, 1),
        ] {
            let (found, count) = read(std::slice::from_ref(&line));
            assert_eq!((found.len(), count), (turns, unknown), "{line}: {found:?}");
        }
    }
}
