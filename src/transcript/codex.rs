//! Parses the lines of a Codex rollout (`~/.codex/sessions/…/rollout-*.jsonl`) into turns. Pure.
//!
//! Each line is `{"timestamp", "type", "payload"}`. A turn has up to three forms, and a file may have any of them:
//!
//! | form | user | assistant |
//! |---|---|---|
//! | event | `event_msg` `user_message` | `event_msg` `agent_message` |
//! | item | `event_msg` `item_completed`, `UserMessage` | the same, `AgentMessage` |
//! | exchange | `response_item` `message` | the same |
//!
//! The model also receives instructions and folder listings in the user's name, so the user's turns are taken from the
//! exchange only in a file that has no other form. The assistant's are taken from the exchange if they are there. The
//! lines of one turn follow each other: a turn waits for its preferred form until something else is said (`forms.rs`).
//!
//! The first `session_meta` names session and folder. A further one is of the session that this one is a fork of, and
//! the lines behind it that are older than the file are copies. A session of a subagent has no turns.

use serde_json::value::RawValue;

use crate::transcript::assistant::Assistant;
use crate::transcript::content::{LONE_SURROGATE, blocks, owned};
use crate::transcript::forms::{TurnForm, TurnForms};
use crate::transcript::injected;
use crate::transcript::origin::TurnOrigin;
use crate::transcript::speech;
use crate::transcript::tally::has_text;
use crate::transcript::turn::{TranscriptTurn, TurnDefaults};
use crate::wire::json::string;
use crate::wire::members::Members;

/// Types of lines that have no turn.
const OTHER_LINES: [&str; 6] = [
    "ghost_snapshot",
    "inter_agent_communication",
    "retained_context",
    "token_usage_record",
    "turn_context",
    "world_state",
];

/// Types of events that have no turn; further ones end in one of [`OTHER_EVENT_ENDS`].
const OTHER_EVENTS: [&str; 18] = [
    "agent_reasoning",
    "agent_reasoning_raw_content",
    "background_event",
    "context_compacted",
    "deprecation_notice",
    "entered_review_mode",
    "error",
    "exited_review_mode",
    "guardian_assessment",
    "guardian_warning",
    "model_reroute",
    "plan_update",
    "stream_error",
    "thread_rolled_back",
    "turn_aborted",
    "turn_diff",
    "undo_completed",
    "warning",
];
const OTHER_EVENT_ENDS: [&str; 14] = [
    "_applied",
    "_begin",
    "_break",
    "_call",
    "_complete",
    "_configured",
    "_count",
    "_delta",
    "_end",
    "_interaction",
    "_request",
    "_response",
    "_started",
    "_updated",
];

/// Types of items that have no turn.
const OTHER_ITEMS: [&str; 14] = [
    "CollabAgentToolCall",
    "CommandExecution",
    "ContextCompaction",
    "DynamicToolCall",
    "EnteredReviewMode",
    "ExitedReviewMode",
    "FileChange",
    "HookPrompt",
    "ImageGeneration",
    "ImageView",
    "McpToolCall",
    "Plan",
    "Reasoning",
    "WebSearch",
];

/// Beginnings of kinds of content that the user gave.
const USER_CONTENT_KIND: &str = "user.";

/// Shortest id of an item that no other session has. Picked: a UUID has 36 characters, a number of the session fewer.
const MIN_UNIQUE_ID_BYTES: usize = 16;

/// The state between the lines of a rollout.
#[derive(Clone, Debug, Default)]
pub(crate) struct CodexReader {
    /// The id in the first `session_meta`.
    session: Option<String>,
    project: Option<String>,
    /// The time of the first `session_meta`.
    created: Option<String>,
    /// The session that this one is a fork of.
    parent: Option<String>,
    /// The file has the lines of the parent.
    has_copies: bool,
    is_of_subagent: bool,
    forms: TurnForms,
}

impl CodexReader {
    /// Returns the turns that a line makes certain. Sets `is_unknown` if the line is of an unknown kind and has text.
    ///
    /// # Errors
    /// A message if a text has a lone surrogate, which UTF-8 cannot represent.
    pub(crate) fn turns(
        &mut self,
        line: &Members<'_>,
        payload: &RawValue,
        is_unknown: &mut bool,
    ) -> Result<Vec<TranscriptTurn>, String> {
        let payload = Members::read(payload.get()).unwrap_or_default();
        let (kind, type_) = (line.string("type"), payload.string("type"));
        match (kind.as_deref(), type_.as_deref()) {
            (Some("session_meta"), _) => self.session_meta(line, &payload),
            (Some("turn_context"), _) => {
                self.project = self.project.take().or_else(|| owned(&payload, "cwd"));
                return Ok(self.settled());
            }
            (Some("compacted"), _) => self.forms.drop_summary(&payload.string("message").unwrap_or_default()),
            (Some("event_msg"), Some("user_message")) => {
                let is_said = payload.value("kind").is_none_or(|kind| matches!(kind.get(), "null" | "\"plain\""));
                let message = payload.value("message").filter(|message| is_said && message.get().starts_with('"'));
                let text = message.map(|message| string(message.get()).ok_or(LONE_SURROGATE)).transpose()?;
                return Ok(self.user(line, TurnForm::Event, None, text.map(|text| (0, text.into_owned()))));
            }
            (Some("event_msg"), Some("agent_message")) => {
                let message = payload.value("message").filter(|message| message.get().starts_with('"'));
                let text = message.map(|message| string(message.get()).ok_or(LONE_SURROGATE)).transpose()?;
                return Ok(self.assistant(line, TurnForm::Event, None, text.map(|text| (0, text.into_owned()))));
            }
            (Some("event_msg"), Some("item_completed")) => return self.item(line, &payload, is_unknown),
            (Some("event_msg"), Some("task_complete")) => return Ok(self.settled()),
            (Some("event_msg"), Some(event)) => {
                let is_other = OTHER_EVENTS.contains(&event) || OTHER_EVENT_ENDS.iter().any(|end| event.ends_with(end));
                *is_unknown = !is_other && has_text(&payload);
            }
            (Some("response_item"), Some("message")) => return self.message(line, &payload),
            (Some("response_item"), _) => return Ok(self.settled()),
            (Some(kind), _) if OTHER_LINES.contains(&kind) => {}
            _ => *is_unknown = has_text(&payload),
        }
        Ok(Vec::new())
    }

    /// Returns the turns that still wait for another form.
    pub(crate) fn finish(&mut self) -> Vec<TranscriptTurn> {
        self.settled()
    }

    /// Returns true if the first line says that the session is a subagent's.
    pub(crate) fn is_of_subagent(&self) -> bool {
        self.is_of_subagent
    }

    /// Returns the defaults of session and folder.
    pub(crate) fn defaults(&self) -> TurnDefaults {
        TurnDefaults { session: self.session.clone(), project: self.project.clone() }
    }

    fn session_meta(&mut self, line: &Members<'_>, payload: &Members<'_>) {
        let id = owned(payload, "id");
        if self.session.is_some() {
            if id != self.session {
                self.has_copies = true;
                self.parent = self.parent.take().or(id);
            }
            return;
        }
        let source = payload.value("source").map(RawValue::get).unwrap_or_default();
        self.is_of_subagent = source.starts_with('{') && source.contains("\"subagent\"")
            || source == "\"subagent\""
            || payload.string("thread_source").as_deref() == Some("subagent");
        self.session = id;
        self.project = owned(payload, "cwd");
        self.created = owned(line, "timestamp");
        self.parent = owned(payload, "forked_from_id");
    }

    fn item(
        &mut self,
        line: &Members<'_>,
        payload: &Members<'_>,
        is_unknown: &mut bool,
    ) -> Result<Vec<TranscriptTurn>, String> {
        let item = payload.value("item").and_then(|item| Members::read(item.get()).ok()).unwrap_or_default();
        let kind = item.string("type");
        let is_user = match kind.as_deref() {
            Some("UserMessage") => true,
            Some("AgentMessage") => false,
            kind => {
                *is_unknown = !kind.is_some_and(|kind| OTHER_ITEMS.contains(&kind)) && has_text(&item);
                return Ok(Vec::new());
            }
        };
        let id = owned(&item, "id").map(|id| match owned(payload, "thread_id") {
            Some(thread) if id.len() < MIN_UNIQUE_ID_BYTES => format!("{thread}/{id}"),
            _ => id,
        });
        let mut texts = Vec::new();
        for block in item.value("content").map(blocks).unwrap_or_default() {
            if block.kind().is_some_and(|kind| kind.eq_ignore_ascii_case("text")) {
                texts.extend(block.text()?.map(|text| (block.at, text)));
            }
        }
        Ok(match is_user {
            true => self.user(line, TurnForm::Item, id.as_deref(), texts),
            false => self.assistant(line, TurnForm::Item, id.as_deref(), texts),
        })
    }

    fn message(&mut self, line: &Members<'_>, payload: &Members<'_>) -> Result<Vec<TranscriptTurn>, String> {
        let id = owned(payload, "id");
        let metadata = line.value("metadata").or_else(|| payload.value("metadata"));
        let metadata = metadata.and_then(|value| Members::read(value.get()).ok()).unwrap_or_default();
        let is_summary = metadata.value("compaction_output").is_some_and(|value| value.get() == "true");
        let role = payload.string("role");
        let (is_user, kind) = match role.as_deref() {
            Some("user") => (true, "input_text"),
            Some("assistant") if !is_summary => (false, "output_text"),
            _ => return Ok(Vec::new()),
        };
        let kinds = content_kinds(payload);
        let mut texts = Vec::new();
        for block in payload.value("content").map(blocks).unwrap_or_default() {
            let is_said = !is_user || kinds.get(block.at).is_none_or(|kind| kind.starts_with(USER_CONTENT_KIND));
            if block.kind() == Some(kind) && is_said {
                texts.extend(block.text()?.map(|text| (block.at, text)));
            }
        }
        texts.retain(|(_, text)| is_user || !is_between_agents(text));
        Ok(match is_user {
            true => self.user(line, TurnForm::Exchange, id.as_deref(), texts),
            false => self.assistant(line, TurnForm::Exchange, id.as_deref(), texts),
        })
    }

    fn user(
        &mut self,
        line: &Members<'_>,
        form: TurnForm,
        id: Option<&str>,
        texts: impl IntoIterator<Item = (usize, String)>,
    ) -> Vec<TranscriptTurn> {
        let said = texts.into_iter().filter_map(|(at, text)| Some((at, speech::codex_user(text)?)));
        let said: Vec<(usize, String)> = said.filter(|(_, text)| !text.trim().is_empty()).collect();
        self.said(line, "user", form, id, said)
    }

    fn assistant(
        &mut self,
        line: &Members<'_>,
        form: TurnForm,
        id: Option<&str>,
        texts: impl IntoIterator<Item = (usize, String)>,
    ) -> Vec<TranscriptTurn> {
        let said = texts.into_iter().map(|(at, text)| (at, injected::without(text))).collect();
        self.said(line, "assistant", form, id, said)
    }

    fn said(
        &mut self,
        line: &Members<'_>,
        role: &'static str,
        form: TurnForm,
        id: Option<&str>,
        texts: Vec<(usize, String)>,
    ) -> Vec<TranscriptTurn> {
        if self.is_of_subagent {
            return Vec::new();
        }
        let ts = owned(line, "timestamp");
        let session = if self.is_copy(ts.as_deref()) { self.parent.clone() } else { self.session.clone() };
        let mut settled = Vec::new();
        for (at, text) in texts {
            let id = id.map(|id| if at == 0 { id.to_owned() } else { format!("{id}.{at}") });
            let parents = self.parent.clone().into_iter().collect();
            let turn = TranscriptTurn {
                assistant: Assistant::Codex,
                role,
                session: session.clone(),
                project: self.project.clone(),
                ts: ts.clone(),
                cue: None,
                origin: TurnOrigin { id, parents, ..TurnOrigin::default() },
                text,
            };
            settled.extend(self.forms.add(turn, form));
        }
        settled
    }

    /// Returns true if a line of this time is one of the session that this one is a fork of.
    fn is_copy(&self, ts: Option<&str>) -> bool {
        match (&self.parent, ts, &self.created) {
            // Both are written in one format, in which times sort as texts.
            (Some(_), Some(ts), Some(created)) => ts < created.as_str() || (self.has_copies && ts == created),
            _ => false,
        }
    }

    fn settled(&mut self) -> Vec<TranscriptTurn> {
        self.forms.take_all()
    }
}

/// Returns what each block of a message is, if the message has that.
fn content_kinds(payload: &Members<'_>) -> Vec<String> {
    let about = payload.value("internal_chat_message_metadata_passthrough");
    let about = about.and_then(|value| Members::read(value.get()).ok()).unwrap_or_default();
    let kinds = about.value("content_item_kinds").map(RawValue::get).unwrap_or("[]");
    let kinds: Vec<String> = serde_json::from_str(kinds).unwrap_or_default();
    // Kinds that Codex does not know say nothing.
    if kinds.iter().any(|kind| kind == "unknown") { Vec::new() } else { kinds }
}

/// Returns true if the text is a message from one agent to another.
fn is_between_agents(text: &str) -> bool {
    text.starts_with('{')
        && Members::read(text)
            .is_ok_and(|members| ["author", "recipient", "content"].iter().all(|key| members.value(key).is_some()))
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
            ("event_msg", json!({"type": "agent_message", "message": said}), Some("assistant")),
            ("event_msg", json!({"type": "user_message", "message": [said]}), None),
            ("event_msg", json!({"type": "user_message"}), None),
            ("event_msg", json!({"type": "user_message", "message": format!("<iaid-memory>{said}")}), None),
            ("event_msg", json!({"type": "exec_command_end", "aggregated_output": said, "message": said}), None),
            ("response_item", message("assistant", "output_text"), Some("assistant")),
            ("response_item", message("user", "input_text"), Some("user")),
            ("response_item", message("developer", "input_text"), None),
            ("response_item", json!({"type": "message", "role": "assistant", "content": said}), None),
            ("response_item", json!({"type": "message", "role": "assistant"}), None),
            ("response_item", json!({"type": "reasoning", "summary": [{"type": "summary_text", "text": said}]}), None),
            ("response_item", json!({"type": "function_call_output", "output": said}), None),
            ("compacted", json!({"message": said}), None),
            ("event_msg", json!([said]), None),
            ("event_msg", json!(null), None),
        ] {
            let mut reader = TranscriptReader::default();
            let mut turns = reader.turns(&line(kind, payload.clone())).unwrap();
            turns.extend(reader.finish());
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
        assert_eq!(about(&mut reader), ("s-2".into(), "/home/x/p".into(), ts.into()), "a change of folder");
    }

    /// Returns the turns of the lines: the first letter of the role, `:` and the text.
    fn said(lines: &[String]) -> Vec<String> {
        let mut reader = TranscriptReader::default();
        let mut turns: Vec<TranscriptTurn> = lines.iter().flat_map(|line| reader.turns(line).unwrap()).collect();
        turns.extend(reader.finish());
        turns.iter().map(|turn| format!("{}:{}", &turn.role[..1], turn.text)).collect()
    }

    #[test]
    fn a_turn_in_several_forms_is_taken_once() {
        let event =
            |role: &str, text: &str| line("event_msg", json!({"type": format!("{role}_message"), "message": text}));
        let item = |kind: &str, text: &str| {
            let item = json!({"type": kind, "id": "i", "content": [{"type": "Text", "text": text}]});
            line("event_msg", json!({"type": "item_completed", "thread_id": "s", "item": item}))
        };
        let exchange = |role: &str, text: &str| {
            let kind = if role == "user" { "input_text" } else { "output_text" };
            line("response_item", json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]}))
        };
        let summary = |text: &str| line("compacted", json!({"message": format!("Summary of it:\n{text}")}));
        let count = line("event_msg", json!({"type": "token_count", "info": {}}));
        let (ask, answer) = ("please sort the list of terns", "the list of terns is sorted");
        let harness = "<environment_context>\n<cwd>/p</cwd>\n</environment_context>";
        let both = [format!("u:{ask}"), format!("a:{answer}")];
        for (what, lines, want) in [
            (
                "legacy",
                vec![
                    exchange("user", harness),
                    exchange("user", ask),
                    event("user", ask),
                    event("agent", answer),
                    exchange("assistant", answer),
                ],
                both.to_vec(),
            ),
            (
                "items",
                vec![
                    exchange("user", ask),
                    item("UserMessage", ask),
                    item("AgentMessage", answer),
                    exchange("assistant", answer),
                ],
                both.to_vec(),
            ),
            ("items alone", vec![item("UserMessage", ask), item("AgentMessage", answer)], both.to_vec()),
            ("events alone", vec![event("user", ask), event("agent", answer)], both.to_vec()),
            (
                "exchange alone",
                vec![exchange("user", harness), exchange("user", ask), exchange("assistant", answer)],
                both.to_vec(),
            ),
            (
                "three forms",
                vec![
                    exchange("user", ask),
                    event("user", ask),
                    item("UserMessage", ask),
                    event("agent", answer),
                    item("AgentMessage", answer),
                    exchange("assistant", answer),
                ],
                both.to_vec(),
            ),
            (
                "the exchange first",
                vec![event("user", ask), exchange("assistant", answer), count.clone(), event("agent", answer)],
                both.to_vec(),
            ),
            (
                "said twice",
                vec![
                    event("user", ask),
                    exchange("assistant", answer),
                    event("user", ask),
                    exchange("assistant", answer),
                ],
                [both.to_vec(), both.to_vec()].concat(),
            ),
            (
                "said twice in two forms",
                vec![exchange("user", ask), item("UserMessage", ask), exchange("user", ask), item("UserMessage", ask)],
                vec![both[0].clone(); 2],
            ),
            (
                "a summary",
                vec![
                    event("user", ask),
                    exchange("assistant", answer),
                    count,
                    summary(answer),
                    exchange("assistant", "what comes after it"),
                ],
                vec![both[0].clone(), "a:what comes after it".into()],
            ),
            (
                "an answer, then a summary",
                vec![
                    event("agent", answer),
                    exchange("assistant", answer),
                    exchange("assistant", "what was said was this"),
                    summary("what was said was this"),
                ],
                vec![both[1].clone()],
            ),
            (
                "to another agent",
                vec![exchange("assistant", r#"{"author":"/root","recipient":"/a","content":"sort the list"}"#)],
                vec![],
            ),
        ] {
            assert_eq!(said(&lines), want, "{what}");
        }
    }

    #[test]
    fn a_fork_has_copies_and_a_subagent_has_no_turns() {
        let at = |second: u32, kind: &str, payload: Value| {
            json!({"timestamp": format!("2026-08-10T20:05:{second:02}.000Z"), "type": kind, "payload": payload})
                .to_string()
        };
        let user = |second, text: &str| at(second, "event_msg", json!({"type": "user_message", "message": text}));
        let meta = |id: &str, cwd: &str| json!({"id": id, "cwd": cwd, "source": "cli"});
        let mut fork = meta("fork", "/p");
        fork["forked_from_id"] = json!("parent");
        let lines = [
            at(30, "session_meta", fork),
            at(30, "session_meta", meta("parent", "/q")),
            user(1, "said in the parent session"),
            user(30, "said there and copied with a new time"),
            user(31, "said in the fork alone"),
        ];
        let mut reader = TranscriptReader::default();
        let turns: Vec<TranscriptTurn> = lines.iter().flat_map(|line| reader.turns(line).unwrap()).collect();
        let sessions: Vec<_> = turns.iter().map(|turn| turn.session.as_deref().unwrap()).collect();
        assert_eq!(sessions, ["parent", "parent", "fork"]);
        assert!(turns.iter().all(|turn| turn.project.as_deref() == Some("/p") && turn.origin.parents == ["parent"]));
        for source in [json!({"subagent": {"thread_spawn": {"parent_thread_id": "x"}}}), json!("subagent")] {
            let meta = at(0, "session_meta", json!({"id": "s", "cwd": "/p", "source": source}));
            assert_eq!(said(&[meta, user(1, "what a model told its agent")]), Vec::<String>::new());
        }
    }

    #[test]
    fn kinds_of_content_tell_what_the_user_wrote() {
        let content = json!([{"type": "input_text", "text": "a note of the program"}, {"type": "input_text", "text": "words of the user here"}]);
        let message = |kinds: Value| {
            line(
                "response_item",
                json!({"type": "message", "role": "user", "content": content,
                "internal_chat_message_metadata_passthrough": {"content_item_kinds": kinds}}),
            )
        };
        assert_eq!(said(&[message(json!(["generic.note", "user.text"]))]), ["u:words of the user here"]);
        assert_eq!(said(&[message(json!(["unknown", "unknown"]))]).len(), 2);
        assert_eq!(said(&[message(json!([]))]).len(), 2);
    }

    #[test]
    fn lines_of_unknown_kinds_with_text_are_counted() {
        let text = "words of the user here";
        for (kind, payload, want) in [
            ("event_msg", json!({"type": "user_prompt", "message": text}), 1),
            ("event_msg", json!({"type": "exec_command_end", "message": text}), 0),
            ("event_msg", json!({"type": "item_completed", "item": {"type": "Note", "text": text}}), 1),
            ("event_msg", json!({"type": "item_completed", "item": {"type": "Reasoning", "text": text}}), 0),
            ("said", json!({"type": "user", "content": [{"text": text}]}), 1),
            ("said", json!({"type": "user", "count": 5}), 0),
            ("world_state", json!({"text": text}), 0),
        ] {
            let mut reader = TranscriptReader::default();
            assert_eq!(reader.turns(&line(kind, payload.clone())), Ok(vec![]));
            assert_eq!(reader.tally().unknown_lines, want, "{kind}: {payload}");
        }
    }
}
