//! Parses the lines of a Claude Code transcript (`~/.claude/projects/…/SESSION.jsonl`) into turns. Pure.
//!
//! Each text block of a `user` or `assistant` line is a turn. So are the user's words in a rejected tool call, the
//! answers to the assistant's questions, and what the user typed while the assistant worked, which `queue.rs` finds.
//! Skipped is text that Claude Code wrote itself: lines marked as its own, the prompts and answers of subagents, and the
//! output of commands.

use serde_json::value::RawValue;

use crate::transcript::assistant::Assistant;
use crate::transcript::content::{ContentBlock, LONE_SURROGATE, blocks, owned};
use crate::transcript::injected;
use crate::transcript::origin::{TurnOrigin, TurnSource};
use crate::transcript::queue::{MessageQueue, QueuedMessage};
use crate::transcript::speech;
use crate::transcript::tally::has_text;
use crate::transcript::turn::{LineTurns, TranscriptTurn};
use crate::wire::json::string;
use crate::wire::members::Members;

/// Keys that are `true` in a line that Claude Code wrote itself.
const PROGRAM_LINE_KEYS: [&str; 5] =
    ["isMeta", "isSidechain", "isCompactSummary", "isApiErrorMessage", "isVisibleInTranscriptOnly"];

/// The model of answers that Claude Code writes itself.
const SYNTHETIC_MODEL: &str = "<synthetic>";

/// Types of lines that have no turn.
const OTHER_TYPES: [&str; 30] = [
    "agent-color",
    "agent-name",
    "agent-setting",
    "ai-title",
    "api-request",
    "api-request-blob",
    "api-request-shape",
    "attribution-snapshot",
    "content-replacement",
    "cost-state",
    "custom-title",
    "data-flow-records",
    "derived-from",
    "file-history-delta",
    "file-history-snapshot",
    "fork-context-ref",
    "last-prompt",
    "memory-mode",
    "mode",
    "observer-ref",
    "permission-mode",
    "pr-link",
    "progress",
    "result",
    "speculation-accept",
    "summary",
    "system",
    "tag",
    "task-summary",
    "worktree-state",
];

/// Types of a message's blocks that have no turn.
const OTHER_BLOCKS: [&str; 9] = [
    "connector_text",
    "document",
    "fallback",
    "image",
    "redacted_thinking",
    "server_tool_use",
    "thinking",
    "tool_result",
    "tool_use",
];

/// The beginning of a tool's result that the user rejected, and what stands before the user's words in it.
const REJECTED: &str = "The user doesn't want to";
const USER_SAID: &str = "the user said:\n";

/// The tool by which the assistant asks the user, and the beginnings of its results.
const QUESTION_TOOL: &str = "AskUserQuestion";
const ANSWERED: [&str; 3] = ["User has answered", "Your questions have been answered", "The user answered"];

/// Questions whose answers are awaited. Picked: more are never asked at once.
const MAX_QUESTIONS: usize = 16;

/// The state between the lines of a transcript.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaudeReader {
    queue: MessageQueue,
    /// Ids of calls of [`QUESTION_TOOL`].
    questions: Vec<String>,
}

impl ClaudeReader {
    /// Returns the turns of a line, and those of the queue that have become certain.
    ///
    /// # Errors
    /// A message if a text has a lone surrogate, which UTF-8 cannot represent.
    pub(crate) fn turns(&mut self, line: &Members<'_>) -> Result<LineTurns, String> {
        let kind = line.string("type");
        match kind.as_deref() {
            Some("user") => self.user(line),
            Some("assistant") => self.assistant(line),
            Some("attachment") => self.attachment(line),
            Some("queue-operation") => self.queue_operation(line),
            Some(kind) if OTHER_TYPES.contains(&kind) => Ok(LineTurns::default()),
            _ => Ok(LineTurns { turns: Vec::new(), is_unknown: has_text(line) }),
        }
    }

    /// Returns the turns that still wait in the queue.
    pub(crate) fn finish(&mut self) -> Vec<TranscriptTurn> {
        self.queue.take_all().into_iter().map(queued_turn).collect()
    }

    fn user(&mut self, line: &Members<'_>) -> Result<LineTurns, String> {
        let message = message(line);
        if is_of_program(line) || !is_of_person(line) {
            return Ok(LineTurns::default());
        }
        let Some(content) = message.value("content") else { return Ok(unknown(line)) };
        let mut turns = Vec::new();
        let Some((texts, is_unknown)) = texts(content)? else { return Ok(unknown(line)) };
        for (at, text) in texts {
            // What was queued and is here is not taken from the queue, too.
            if let Some(text) = speech::claude_user(text) {
                self.queue.delivered(&text);
                turns.push(turn(line, "user", at, text));
            }
        }
        if content.get().starts_with('[') {
            turns.extend(self.replies(line, content)?);
        }
        Ok(LineTurns { turns, is_unknown })
    }

    fn assistant(&mut self, line: &Members<'_>) -> Result<LineTurns, String> {
        let message = message(line);
        if is_of_program(line) || message.string("model").as_deref() == Some(SYNTHETIC_MODEL) {
            return Ok(LineTurns::default());
        }
        let Some(content) = message.value("content") else { return Ok(unknown(line)) };
        let Some((texts, is_unknown)) = texts(content)? else { return Ok(unknown(line)) };
        for block in blocks(content) {
            if block.kind() == Some("tool_use")
                && let (Some(QUESTION_TOOL), Some(id)) =
                    (block.members.string("name").as_deref(), owned(&block.members, "id"))
            {
                self.questions.push(id);
                let excess = self.questions.len().saturating_sub(MAX_QUESTIONS);
                self.questions.drain(..excess);
            }
        }
        let mut turns = Vec::new();
        if !texts.is_empty() {
            turns.extend(self.queue.take_absorbed().into_iter().map(queued_turn));
        }
        turns.extend(texts.into_iter().map(|(at, text)| turn(line, "assistant", at, injected::without(text))));
        Ok(LineTurns { turns, is_unknown })
    }

    /// Returns the user's words in the results of tools: why a call was rejected, and answers to questions.
    fn replies(&mut self, line: &Members<'_>, content: &RawValue) -> Result<Vec<TranscriptTurn>, String> {
        let mut replies = answers(line)?;
        for block in blocks(content) {
            if block.kind() != Some("tool_result") {
                continue;
            }
            let Some(text) = result_text(&block)? else { continue };
            let is_error = block.members.value("is_error").is_some_and(|value| value.get() == "true");
            if is_error && text.starts_with(REJECTED) {
                replies.extend(text.split_once(USER_SAID).map(|(_, said)| (None, said.to_owned())));
            }
            let id = block.members.string("tool_use_id").unwrap_or_default();
            let is_asked = self.questions.iter().any(|asked| *asked == id);
            if replies.is_empty() && is_asked && ANSWERED.iter().any(|mark| text.starts_with(mark)) {
                replies = quoted_answers(&text);
            }
        }
        let reply = |(at, (question, said)): (usize, (Option<String>, String))| {
            let mut reply = turn(line, "user", at, said);
            reply.cue = question;
            reply.origin.id = reply.origin.id.map(|id| format!("{id}.reply"));
            reply
        };
        Ok(replies.into_iter().enumerate().map(reply).collect())
    }

    fn attachment(&mut self, line: &Members<'_>) -> Result<LineTurns, String> {
        let attachment = line.value("attachment").and_then(|value| Members::read(value.get()).ok()).unwrap_or_default();
        // The other kinds are what Claude Code adds to a prompt.
        if attachment.string("type").as_deref() != Some("queued_command") {
            return Ok(LineTurns::default());
        }
        let mode = attachment.string("commandMode");
        let is_said = mode.as_deref().is_none_or(|mode| mode == "prompt");
        if is_of_program(line) || is_of_program(&attachment) || !is_of_person(&attachment) || !is_said {
            return Ok(LineTurns::default());
        }
        let Some(prompt) = attachment.value("prompt") else { return Ok(unknown(line)) };
        let Some((texts, is_unknown)) = texts(prompt)? else { return Ok(unknown(line)) };
        let mut turns = Vec::new();
        for (at, text) in texts {
            let said = speech::typed(&text).map(str::to_owned).and_then(speech::claude_user);
            if let Some(text) = said.filter(|text| !self.queue.was_taken(text)) {
                self.queue.delivered(&text);
                turns.push(turn(line, "user", at, text));
            }
        }
        Ok(LineTurns { turns, is_unknown })
    }

    fn queue_operation(&mut self, line: &Members<'_>) -> Result<LineTurns, String> {
        let content = line.value("content").filter(|content| content.get().starts_with('"'));
        let text = content.map(|content| string(content.get()).ok_or(LONE_SURROGATE)).transpose()?;
        let said = text.and_then(|text| speech::claude_user(speech::typed(&text)?.to_owned()));
        let operation = line.string("operation");
        match (operation.as_deref(), said) {
            (Some("enqueue"), Some(text)) => {
                let (session, ts) = (owned(line, "sessionId"), owned(line, "timestamp"));
                self.queue.enqueue(QueuedMessage { text, session, ts, is_absorbed: false });
            }
            (Some("remove"), Some(text)) if line.string("reason").as_deref() == Some("absorbed_mid_turn") => {
                self.queue.absorb(&text);
            }
            // Taken back before the assistant got it.
            (Some("remove"), Some(text)) => self.queue.delivered(&text),
            (Some("popAll"), _) => self.queue.clear(),
            _ => {}
        }
        Ok(LineTurns::default())
    }
}

fn unknown(line: &Members<'_>) -> LineTurns {
    LineTurns { turns: Vec::new(), is_unknown: has_text(line) }
}

fn message<'a>(line: &Members<'a>) -> Members<'a> {
    line.value("message").and_then(|message| Members::read(message.get()).ok()).unwrap_or_default()
}

fn is_of_program(line: &Members<'_>) -> bool {
    PROGRAM_LINE_KEYS.iter().any(|mark| line.value(mark).is_some_and(|value| value.get() == "true"))
}

/// Returns false if the line names an origin that is not a person: a plugin, another agent, a task.
fn is_of_person(line: &Members<'_>) -> bool {
    let origin = line.value("origin").and_then(|origin| Members::read(origin.get()).ok()).unwrap_or_default();
    origin.string("kind").is_none_or(|kind| kind == "human")
}

/// The texts of a message, each with its position among the blocks, and whether there are blocks of unknown kinds with
/// text.
type Texts = (Vec<(usize, String)>, bool);

/// Returns the texts of a message's content; `None` if it is neither a text nor a list.
fn texts(content: &RawValue) -> Result<Option<Texts>, String> {
    match content.get().as_bytes().first() {
        Some(b'"') => Ok(Some((vec![(0, string(content.get()).ok_or(LONE_SURROGATE)?.into_owned())], false))),
        Some(b'[') => {
            let (mut texts, mut is_unknown) = (Vec::new(), false);
            for block in blocks(content) {
                match block.kind() {
                    Some("text") => texts.extend(block.text()?.map(|text| (block.at, text))),
                    Some(kind) if OTHER_BLOCKS.contains(&kind) || kind.ends_with("_tool_result") => {}
                    _ => is_unknown |= has_text(&block.members),
                }
            }
            Ok(Some((texts, is_unknown)))
        }
        _ => Ok(None),
    }
}

/// Returns the text of a tool's result.
fn result_text(block: &ContentBlock<'_>) -> Result<Option<String>, String> {
    let Some(content) = block.members.value("content") else { return Ok(None) };
    let Some((texts, _)) = texts(content)? else { return Ok(None) };
    Ok(texts.into_iter().next().map(|(_, text)| text))
}

/// A question, and the user's answer to it.
type Answers = Vec<(Option<String>, String)>;

/// Returns the answers to the assistant's questions that the line has in `toolUseResult`, and the user's notes on them.
fn answers(line: &Members<'_>) -> Result<Answers, String> {
    let result = line.value("toolUseResult").and_then(|result| Members::read(result.get()).ok()).unwrap_or_default();
    if result.value("questions").is_none() {
        return Ok(Vec::new());
    }
    let object = |key| result.value(key).and_then(|value| Members::read(value.get()).ok()).unwrap_or_default();
    let mut answers = Vec::new();
    for (question, answer) in object("answers").into_all() {
        let texts: Vec<&RawValue> = match answer.get().starts_with('[') {
            true => serde_json::from_str(answer.get()).unwrap_or_default(),
            false => vec![answer],
        };
        let texts = texts.into_iter().filter(|text| text.get().starts_with('"'));
        let texts: Result<Vec<String>, &str> =
            texts.map(|text| string(text.get()).map(|text| text.into_owned()).ok_or(LONE_SURROGATE)).collect();
        answers.push((Some(question), texts?.join(", ")));
    }
    for (question, notes) in object("annotations").into_all() {
        let notes = Members::read(notes.get()).ok().and_then(|notes| owned(&notes, "notes"));
        answers.extend(notes.map(|notes| (Some(question), notes)));
    }
    answers.retain(|(_, answer)| !answer.trim().is_empty());
    Ok(answers)
}

/// Returns the answers of a result `…: "QUESTION"="ANSWER", "QUESTION"="ANSWER". You can now …`.
fn quoted_answers(text: &str) -> Answers {
    let mut answers = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\"=\"") {
        let question = before.rsplit_once('"').map(|(_, question)| question.to_owned());
        let ends = ["\", \"", "\". ", "\" ", "\"\n"].iter().filter_map(|end| after.find(end)).min();
        let end = ends.unwrap_or_else(|| after.trim_end().trim_end_matches(['.', '"']).len());
        answers.push((question, after[..end].to_owned()));
        rest = &after[end..];
    }
    answers
}

fn turn(line: &Members<'_>, role: &'static str, at: usize, text: String) -> TranscriptTurn {
    let forked_from = line.value("forkedFrom").and_then(|from| Members::read(from.get()).ok()).unwrap_or_default();
    let id = owned(line, "uuid").map(|id| if at == 0 { id } else { format!("{id}.{at}") });
    TranscriptTurn {
        assistant: Assistant::ClaudeCode,
        role,
        session: owned(line, "sessionId"),
        project: owned(line, "cwd"),
        ts: owned(line, "timestamp"),
        cue: None,
        origin: TurnOrigin {
            id,
            parents: owned(&forked_from, "sessionId").into_iter().collect(),
            source: TurnSource::Line,
        },
        text,
    }
}

fn queued_turn(message: QueuedMessage) -> TranscriptTurn {
    TranscriptTurn {
        assistant: Assistant::ClaudeCode,
        role: "user",
        session: message.session,
        project: None,
        ts: message.ts,
        cue: None,
        origin: TurnOrigin { source: TurnSource::Queue, ..TurnOrigin::default() },
        text: message.text,
    }
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

    /// Returns the turns of the lines: the first letter of the role, `:` and the text.
    fn said(lines: &[Value]) -> Vec<String> {
        let mut reader = TranscriptReader::default();
        let mut turns: Vec<TranscriptTurn> = Vec::new();
        lines.iter().for_each(|line| turns.extend(reader.turns(&line.to_string()).unwrap()));
        turns.extend(reader.finish());
        turns.iter().map(|turn| format!("{}:{}", &turn.role[..1], turn.text)).collect()
    }

    fn queue(operation: &str, content: &str) -> Value {
        let mut line = json!({"type": "queue-operation", "operation": operation, "sessionId": "s-1",
            "timestamp": "2025-06-01T10:11:10.000Z"});
        if !content.is_empty() {
            line["content"] = content.into();
        }
        line
    }

    fn attachment(prompt: Value) -> Value {
        json!({"type": "attachment", "isSidechain": false, "cwd": "/home/x/p", "sessionId": "s-1", "uuid": "a",
            "timestamp": "2025-06-01T10:11:13.000Z",
            "attachment": {"type": "queued_command", "commandMode": "prompt", "prompt": prompt}})
    }

    fn with(mut line: Value, key: &str, value: Value) -> Value {
        line[key] = value;
        line
    }

    #[test]
    fn what_is_typed_while_the_assistant_works_is_taken_once() {
        let typed = "also rename the helper please";
        let absorbed = || with(queue("remove", typed), "reason", json!("absorbed_mid_turn"));
        let answer = line("assistant", json!("it is renamed to tern"));
        let (user, done) = (format!("u:{typed}"), "a:it is renamed to tern".to_owned());
        for (what, lines, want) in [
            (
                "a line of its own",
                vec![queue("enqueue", typed), queue("dequeue", ""), answer.clone(), line("user", json!(typed))],
                vec![done.clone(), user.clone()],
            ),
            ("absorbed", vec![queue("enqueue", typed), absorbed(), answer.clone()], vec![user.clone(), done.clone()]),
            (
                "an attachment",
                vec![queue("enqueue", typed), attachment(json!(typed)), absorbed(), answer.clone()],
                vec![user.clone(), done.clone()],
            ),
            (
                "an attachment later",
                vec![queue("enqueue", typed), absorbed(), answer.clone(), attachment(json!(typed))],
                vec![user.clone(), done.clone()],
            ),
            ("an attachment alone", vec![attachment(json!([{"type": "text", "text": typed}]))], vec![user.clone()]),
            ("at the end", vec![queue("enqueue", typed), answer.clone()], vec![done.clone(), user.clone()]),
            (
                "twice",
                vec![queue("enqueue", typed), queue("enqueue", typed), absorbed(), absorbed(), answer.clone()],
                vec![user.clone(), user.clone(), done.clone()],
            ),
            ("taken back", vec![queue("enqueue", typed), queue("remove", typed), answer.clone()], vec![done.clone()]),
            ("all taken back", vec![queue("enqueue", typed), queue("popAll", ""), answer.clone()], vec![done.clone()]),
            ("a notification", vec![queue("enqueue", "<task-notification>it is done</task-notification>")], vec![]),
            ("a command", vec![queue("enqueue", "/greet the whole family")], vec!["u:the whole family".into()]),
        ] {
            assert_eq!(said(&lines), want, "{what}");
        }
        for (key, value) in [
            ("commandMode", json!("task-notification")),
            ("isMeta", json!(true)),
            ("origin", json!({"kind": "plugin"})),
        ] {
            let mut line = attachment(json!(typed));
            line["attachment"][key] = value;
            assert_eq!(said(&[line]), Vec::<String>::new(), "{key}");
        }
    }

    #[test]
    fn the_users_words_in_results_of_tools_are_taken() {
        let result = |content: Value, is_error: bool| {
            line("user", json!([{"type": "tool_result", "tool_use_id": "t", "is_error": is_error, "content": content}]))
        };
        let rejected = "The user doesn't want to proceed with this tool use. To tell you how to proceed, the user said:\nuse tabs,\nnot spaces";
        let asked = line("assistant", json!([{"type": "tool_use", "id": "t", "name": "AskUserQuestion", "input": {}}]));
        let answered = "User has answered your questions: \"Which one?\"=\"the blue one\", \"Why so?\"=\"it is nicer\". You can now continue.";
        let both = vec!["u:the blue one".to_owned(), "u:it is nicer".to_owned()];
        let structured = json!({"questions": [], "answers": {"Which one?": "the blue one", "Why so?": ["it is", "nicer"]},
            "annotations": {"Which one?": {"notes": "but not too blue"}}});
        for (what, lines, want) in [
            ("rejected", vec![result(json!(rejected), true)], vec!["u:use tabs,\nnot spaces".to_owned()]),
            (
                "rejected, in blocks",
                vec![result(json!([{"type": "text", "text": rejected}]), true)],
                vec!["u:use tabs,\nnot spaces".to_owned()],
            ),
            ("a tool that says so", vec![result(json!(rejected), false)], vec![]),
            ("a tool that quotes it", vec![result(json!(format!("it was: {rejected}")), true)], vec![]),
            ("answers", vec![asked.clone(), result(json!(answered), false)], both.clone()),
            ("answers to no question", vec![result(json!(answered), false)], vec![]),
            (
                "structured answers",
                vec![with(result(json!(answered), false), "toolUseResult", structured)],
                vec![both[0].clone(), "u:it is, nicer".into(), "u:but not too blue".into()],
            ),
        ] {
            assert_eq!(said(&lines), want, "{what}");
        }
        let mut reader = TranscriptReader::default();
        reader.turns(&asked.to_string()).unwrap();
        let turn = reader.turns(&result(json!(answered), false).to_string()).unwrap().remove(0);
        assert_eq!((turn.cue.as_deref(), turn.origin.id.as_deref()), (Some("Which one?"), Some("u.reply")));
    }

    #[test]
    fn what_programs_write_is_not_speech() {
        for text in [
            "<bash-input>mysql -u me -pSECRET</bash-input>",
            "<ide_opened_file>The user opened /x/gull.rs in the IDE.</ide_opened_file>",
            "<ide_selection>The user selected lines 1 to 3</ide_selection>",
            "<teammate-message teammate_id=\"lead\">take task 14 next</teammate-message>",
            "<agent-message from=\"a\">take task 14 next</agent-message>",
            "<user-prompt-submit-hook>a long text of a hook</user-prompt-submit-hook>",
            "<new-diagnostics>a warning in gull.rs</new-diagnostics>",
            "[SYSTEM NOTIFICATION - NOT USER INPUT] a task is done",
        ] {
            assert_eq!(said(&[line("user", json!(text))]), Vec::<String>::new(), "{text}");
        }
        let text = json!([{"type": "text", "text": "<ide_selection>x</ide_selection>\nwhat does this line do?"}]);
        assert_eq!(said(&[line("user", text)]), ["u:what does this line do?"]);
        let mut synthetic = line("assistant", json!("No response requested."));
        synthetic["message"]["model"] = json!("<synthetic>");
        assert_eq!(said(&[synthetic]), Vec::<String>::new());
        let of_plugin = with(line("user", json!("words of a plugin here")), "origin", json!({"kind": "plugin"}));
        assert_eq!(said(&[of_plugin]), Vec::<String>::new());
        let of_human = with(line("user", json!("words of the user here")), "origin", json!({"kind": "human"}));
        assert_eq!(said(&[of_human]), ["u:words of the user here"]);
    }

    #[test]
    fn a_change_of_the_folder_changes_nothing() {
        let mut reader = TranscriptReader::default();
        let first = line("user", json!("words of the user here"));
        let later = with(first.clone(), "cwd", json!("/home/x/p/sub"));
        let forked = with(later.clone(), "forkedFrom", json!({"sessionId": "s-0", "messageUuid": "u"}));
        for line in [first, later, forked.clone()] {
            assert_eq!(reader.turns(&line.to_string()).unwrap()[0].project.as_deref(), Some("/home/x/p"));
        }
        assert_eq!(reader.turns(&forked.to_string()).unwrap()[0].origin.parents, ["s-0"]);
    }

    #[test]
    fn lines_of_unknown_kinds_with_text_are_counted() {
        let text = "words of the user here";
        for (line, want) in [
            (json!({"type": "user.message", "message": {"content": text}}), 1),
            (json!({"type": "user", "message": {"role": "user", "parts": [{"text": text}]}}), 1),
            (line("assistant", json!([{"type": "spoken", "text": text}])), 1),
            (line("assistant", json!([{"type": "thinking", "text": text}])), 0),
            (line("user", json!([{"type": "tool_result", "content": text}])), 0),
            (json!({"type": "system", "content": text}), 0),
            (json!({"type": "telemetry", "count": 5}), 0),
        ] {
            let mut reader = TranscriptReader::default();
            reader.turns(&line.to_string()).unwrap();
            assert_eq!(reader.tally().unknown_lines, want, "{line}");
        }
    }
}
