//! A line of a Claude Code transcript → records. Pure.
//!
//! What a person or the assistant said is taken: the text of `user` and `assistant` lines, each block a
//! record, word for word. What a tool was asked or gave back, what the model thought to itself, and what
//! the program put in by itself is nobody's speech and is passed over, like every other type of line.
//! Blocks are looked at one by one: an odd one costs nobody but itself.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::row::{About, records};

/// Characters that a text needs to say something, white space at its ends not counted: what
/// `memory_capture` asks for, too.
const LEAST_CHARS: usize = 12;

/// How the program marks what a command typed by the user gave back.
const COMMAND_OUTPUT: [&str; 4] =
    ["<local-command-stdout>", "<local-command-stderr>", "<bash-stdout>", "<bash-stderr>"];

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow, rename = "sessionId")]
    session: Option<&'a RawValue>,
    #[serde(borrow)]
    cwd: Option<&'a RawValue>,
    #[serde(borrow)]
    timestamp: Option<&'a RawValue>,
    #[serde(borrow, rename = "isMeta")]
    is_meta: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

/// The records of a line, which is a JSON object.
///
/// # Errors
/// Why a text in it cannot be taken.
pub(super) fn read(line: &str) -> Result<Vec<Box<RawValue>>, String> {
    let line: Line<'_> = object(line).ok_or("a key stands twice")?;
    let role = match string(line.kind).as_deref() {
        Some("user") => "user",
        Some("assistant") => "assistant",
        _ => return Ok(Vec::new()),
    };
    let is_meta = line.is_meta.is_some_and(|value| value.get() == "true");
    let content = line.message.and_then(|message| object::<Message<'_>>(message.get())).and_then(|m| m.content);
    let (false, Some(content)) = (is_meta, content) else { return Ok(Vec::new()) };
    let (session, cwd, ts) = (string(line.session), string(line.cwd), string(line.timestamp));
    let about =
        About { role, session_id: session.as_deref(), project: cwd.as_deref(), ts: ts.as_deref(), ..About::default() };
    let mut rows = Vec::new();
    for text in texts(content)? {
        let is_output = COMMAND_OUTPUT.iter().any(|mark| text.trim_start().starts_with(mark));
        if !is_output && text.trim().chars().nth(LEAST_CHARS - 1).is_some() {
            records(&text, &about, &mut rows);
        }
    }
    Ok(rows)
}

/// What is said in a message: the content itself, or its text blocks, not those inside other blocks.
fn texts(content: &RawValue) -> Result<Vec<Cow<'_, str>>, String> {
    let no_text = || "its text holds a lone surrogate".to_owned();
    if content.get().starts_with('"') {
        return Ok(vec![string(Some(content)).ok_or_else(no_text)?]);
    }
    let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
    let mut texts = Vec::new();
    for block in blocks {
        let Some(Block { kind, text: Some(text) }) = object(block.get()) else { continue };
        if string(kind).as_deref() == Some("text") && text.get().starts_with('"') {
            texts.push(string(Some(text)).ok_or_else(no_text)?);
        }
    }
    Ok(texts)
}

/// An object, where it is one: a derived struct would also read an array.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    if json.trim_start().starts_with('{') { serde_json::from_str(json).ok() } else { None }
}

fn string(value: Option<&RawValue>) -> Option<Cow<'_, str>> {
    crate::wire::json::string(value?.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn line(kind: &str, content: Value) -> Value {
        json!({"parentUuid": null, "isSidechain": false, "cwd": "/home/x/p", "sessionId": "s-1", "version": "1.0",
            "type": kind, "message": {"role": kind, "content": content}, "uuid": "u",
            "timestamp": "2025-06-01T10:11:12.345Z"})
    }

    fn texts_of(line: &Value) -> Vec<String> {
        let rows = read(&line.to_string()).unwrap();
        rows.iter()
            .map(|row| serde_json::from_str::<Value>(row.get()).unwrap()["text"].as_str().unwrap().into())
            .collect()
    }

    #[test]
    fn a_line_becomes_a_record_with_all_that_is_known() {
        let rows = read(&line("user", json!(" How do I\n sort this?\t")).to_string()).unwrap();
        let got: Value = serde_json::from_str(rows[0].get()).unwrap();
        assert_eq!(
            got,
            json!({"kind": "record", "role": "user", "session_id": "s-1", "project": "/home/x/p",
                "ts": "2025-06-01T10:11:12.345Z", "text": " How do I\n sort this?\t"})
        );
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn speech_is_taken_and_nothing_else() {
        let said = "words that somebody said";
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
    fn fields_that_are_missing_or_odd_are_left_to_the_daemon() {
        let whole = line("user", json!("words that somebody said"));
        for (key, sent) in [("sessionId", "session_id"), ("cwd", "project"), ("timestamp", "ts")] {
            for odd in [json!(null), json!(5), json!({"a": [1]})] {
                let mut line = whole.clone();
                line[key] = odd;
                let rows = read(&line.to_string()).unwrap();
                let row: Value = serde_json::from_str(rows[0].get()).unwrap();
                assert_eq!((row.get(sent), row.as_object().unwrap().len()), (None, 5), "{key}");
            }
        }
        let mut meta = whole.clone();
        meta["isMeta"] = json!(true);
        assert_eq!(texts_of(&meta), Vec::<String>::new());
        for odd in [
            "{}",
            "{\"type\":\"user\"}",
            "{\"type\":\"user\",\"message\":null}",
            "{\"type\":null}",
            "{\"type\":\"user\",\"message\":[\"words that somebody said\"]}",
            "{\"type\":\"user\",\"message\":\"text of a message\"}",
            "{\"type\":[\"user\"]}",
        ] {
            assert_eq!(read(odd).unwrap().len(), 0, "{odd}");
        }
        for wrong in [
            r#"{"type":"user","message":{"content":"a text with \ud800 in it"}}"#,
            r#"{"type":"user","message":{"content":[{"type":"text","text":"a text with \ud800 in it"}]}}"#,
            r#"{"type":"user","type":"user"}"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_long_text_comes_in_parts() {
        let text = format!("{}\n{}", "a".repeat(65_000), "b".repeat(65_536));
        let rows = read(&line("assistant", json!(text)).to_string()).unwrap();
        let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row.get()).unwrap()).collect();
        assert_eq!(rows.iter().map(|row| row["text"].as_str().unwrap()).collect::<String>(), text);
        let numbers: Vec<_> = rows.iter().map(|row| (row["part"].as_i64(), row["parts"].as_i64())).collect();
        assert_eq!(numbers, [(Some(1), Some(2)), (Some(2), Some(2))]);
    }
}
