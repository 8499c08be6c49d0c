//! Parses a line: a call, a control message, or the reason why it is neither.
//!
//! The order of the checks is part of the protocol. Everything is borrowed from the line: an accepted call
//! without escapes in its method name allocates nothing. `scan.rs` recognizes JSON; for a line that is not
//! JSON, `serde_json` explains why.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use crate::wire::control::{Control, ControlFields, ControlKind, InvalidControl};
use crate::wire::json;
use crate::wire::reply::{CallError, code};
use crate::wire::scan::{self, Top};

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A JSON-RPC 2.0 request.
    Call(Call<'a>),
    /// A control message.
    Control(Control<'a>),
    /// Neither, with the error to answer.
    Invalid(InvalidMessage<'a>),
    /// A control message with an invalid field.
    InvalidControl(InvalidControl),
}

/// A request with a valid envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The id's JSON text, byte for byte: a string with its quotes, or a number.
    pub id: &'a str,
    /// The method's name, with escapes undone.
    pub method: Cow<'a, str>,
    /// The JSON text of an object or array; `None` if absent.
    pub params: Option<&'a str>,
}

/// Why a line is neither a call nor a control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidMessage<'a> {
    /// The JSON text of the request's id, if it could be read.
    pub id: Option<&'a str>,
    /// The error to answer, of code -32700 or -32600.
    pub error: CallError,
}

impl Message<'_> {
    /// Returns the JSON text of the id, if the line has one that its reply echoes.
    pub(crate) fn id(&self) -> Option<&str> {
        match self {
            Message::Call(call) => Some(call.id),
            Message::Invalid(invalid) => invalid.id,
            Message::Control(_) | Message::InvalidControl(_) => None,
        }
    }
}

/// Parses one line, without its newline. JSON nested deeper than `max_depth` is refused.
pub fn read(line: &[u8], max_depth: usize) -> Message<'_> {
    let text = match std::str::from_utf8(line) {
        Ok(text) => text,
        Err(e) => return not_json(format!("invalid UTF-8 at byte {}", e.valid_up_to())),
    };
    // Filled in place and read by reference: it is large compared with most lines.
    let mut envelope = Envelope::default();
    match scan::document(text, max_depth, |key, value| envelope.member(key, value)) {
        Some(Top::Object) => envelope.message(),
        Some(Top::Other) => refused(None, "request must be a JSON object"),
        None => not_json(why_not(text, max_depth)),
    }
}

/// The top-level keys of the protocol, each with the JSON text of its value.
#[derive(Default)]
struct Envelope<'a> {
    jsonrpc: Option<&'a str>,
    id: Option<&'a str>,
    method: Option<&'a str>,
    params: Option<&'a str>,
    kind: Option<&'a str>,
    control: ControlFields<'a>,
    /// The first envelope key that is given twice.
    duplicate: Option<&'static str>,
}

impl<'a> Envelope<'a> {
    #[inline]
    fn member(&mut self, key: &'a str, value: &'a str) {
        // The names contain no escapes, so a key without escapes is compared as it is.
        let written = &key[1..key.len() - 1];
        if !self.put(written, value) && written.contains('\\') {
            self.escaped(key, value);
        }
    }

    #[cold]
    fn escaped(&mut self, key: &str, value: &'a str) {
        // A key with a lone surrogate is not valid text and equals none of the names.
        if let Some(key) = json::string(key) {
            self.put(&key, value);
        }
    }

    /// Stores the value of a known key. Returns false for other keys.
    #[inline]
    fn put(&mut self, key: &str, value: &'a str) -> bool {
        let Some((slot, duplicate, name)) = self.slot(key) else { return false };
        if slot.is_some() && duplicate.is_none() {
            *duplicate = Some(name);
        }
        *slot = Some(value);
        true
    }

    fn message(&self) -> Message<'a> {
        if let Some(key) = self.duplicate {
            return refused(None, &format!("duplicate key '{key}'"));
        }
        if self.jsonrpc.is_none() {
            let kind = self.kind.and_then(json::string).and_then(|name| ControlKind::named(&name));
            if let Some(kind) = kind {
                return Control::check(kind, &self.control).map_or_else(Message::InvalidControl, Message::Control);
            }
        }
        self.call()
    }

    fn call(&self) -> Message<'a> {
        let id = self.id.filter(|id| is_id(id));
        if self.jsonrpc != Some("\"2.0\"") && self.jsonrpc.and_then(json::string).as_deref() != Some("2.0") {
            return refused(id, "jsonrpc must be '2.0'");
        }
        if self.id.is_none_or(|id| id == "null") {
            return refused(None, "id required and non-null");
        }
        let Some(id) = id else { return refused(None, "id must be a string or a number") };
        let Some(method) = self.method.and_then(json::string) else {
            return refused(Some(id), "method must be a string");
        };
        if self.params.is_some_and(|params| !params.starts_with(['{', '['])) {
            return refused(Some(id), "params must be object or array");
        }
        Message::Call(Call { id, method, params: self.params })
    }

    /// Returns the places of a key's value and of its duplicate mark, and its name; `None` for an unknown key.
    #[inline]
    fn slot(&mut self, key: &str) -> Option<(&mut Option<&'a str>, &mut Option<&'static str>, &'static str)> {
        let Envelope { jsonrpc, id, method, params, kind, control, duplicate } = self;
        let ControlFields { reason, ts, seconds, session_id, source, cue, duplicate: control_duplicate } = control;
        Some(match key {
            "jsonrpc" => (jsonrpc, duplicate, "jsonrpc"),
            "id" => (id, duplicate, "id"),
            "method" => (method, duplicate, "method"),
            "params" => (params, duplicate, "params"),
            "type" => (kind, duplicate, "type"),
            "reason" => (reason, control_duplicate, "reason"),
            "ts" => (ts, control_duplicate, "ts"),
            "seconds" => (seconds, control_duplicate, "seconds"),
            "session_id" => (session_id, control_duplicate, "session_id"),
            "source" => (source, control_duplicate, "source"),
            "cue" => (cue, control_duplicate, "cue"),
            _ => return None,
        })
    }
}

fn refused<'a>(id: Option<&'a str>, message: &str) -> Message<'a> {
    Message::Invalid(InvalidMessage { id, error: CallError { code: code::INVALID_REQUEST, message: message.into() } })
}

/// Returns true for a string or a number, the types that an id may have.
fn is_id(raw: &str) -> bool {
    raw.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

fn not_json<'a>(message: String) -> Message<'a> {
    Message::Invalid(InvalidMessage { id: None, error: CallError { code: code::PARSE, message } })
}

/// Explains why a text is not JSON or is nested too deep, and where.
#[cold]
fn why_not(text: &str, max_depth: usize) -> String {
    let max_depth = max_depth.min(scan::DEEPEST);
    if let Some(column) = too_deep(text.as_bytes(), max_depth) {
        return format!("nested deeper than {max_depth} at column {column}");
    }
    let parsed = serde_json::from_str::<IgnoredAny>(text);
    parsed.err().map_or_else(|| "not JSON".into(), |e| e.to_string())
}

/// Returns the column, counted from 1, of the first bracket nested deeper than `max_depth`.
pub(crate) fn too_deep(line: &[u8], max_depth: usize) -> Option<usize> {
    if line.len() <= max_depth {
        return None;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, &byte) in line.iter().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max_depth {
            return Some(at + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::properties;

    const DEPTH: usize = 128;

    fn error(line: &str) -> (i32, String, Option<&str>) {
        match read(line.as_bytes(), DEPTH) {
            Message::Invalid(invalid) => (invalid.error.code, invalid.error.message, invalid.id),
            other => panic!("{line} was accepted as {other:?}"),
        }
    }

    #[test]
    fn envelope_checks_run_in_order() {
        for (line, message, id) in [
            ("[]", "request must be a JSON object", None),
            ("\"x\"", "request must be a JSON object", None),
            ("null", "request must be a JSON object", None),
            (" \t12\r", "request must be a JSON object", None),
            (r#"{"id":1,"id":2,"jsonrpc":"2.0"}"#, "duplicate key 'id'", None),
            (r#"{"id":1,"\u0069d":2}"#, "duplicate key 'id'", None),
            (r#"{"jsonrpc":"2.0","jsonrpc":"2.0","id":1}"#, "duplicate key 'jsonrpc'", None),
            (r#"{"jsonrpc":"2.0","method":"a","method":"b","id":1}"#, "duplicate key 'method'", None),
            (r#"{"jsonrpc":"2.0","params":null,"params":[],"id":1}"#, "duplicate key 'params'", None),
            (r#"{"type":"status","type":"pause"}"#, "duplicate key 'type'", None),
            ("{}", "jsonrpc must be '2.0'", None),
            (r#"{"id":7}"#, "jsonrpc must be '2.0'", Some("7")),
            (r#"{"id":"a","jsonrpc":2.0}"#, "jsonrpc must be '2.0'", Some("\"a\"")),
            (r#"{"id":[1],"jsonrpc":"1.0"}"#, "jsonrpc must be '2.0'", None),
            (r#"{"id":-1,"type":"wave"}"#, "jsonrpc must be '2.0'", Some("-1")),
            (r#"{"jsonrpc":"2.0"}"#, "id required and non-null", None),
            (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, "id required and non-null", None),
            (r#"{"jsonrpc":"2.0","id":true}"#, "id must be a string or a number", None),
            (r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#, "id must be a string or a number", None),
            (r#"{"jsonrpc":"2.0","id":1}"#, "method must be a string", Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, "method must be a string", Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"\ud800"}"#, "method must be a string", Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":null}"#, "params must be object or array", Some("1")),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":"p"}"#, "params must be object or array", Some("1")),
        ] {
            assert_eq!(error(line), (code::INVALID_REQUEST, message.into(), id), "{line}");
        }
    }

    #[test]
    fn errors_in_json_have_their_position() {
        let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
        for (line, message) in [
            ("{", "EOF while parsing an object at line 1 column 1"),
            ("{} {}", "trailing characters at line 1 column 4"),
            ("{}x", "trailing characters at line 1 column 3"),
            ("{\"a\":01}", "invalid number at line 1 column 7"),
            ("{'a':1}", "key must be a string at line 1 column 2"),
            ("{\"a\u{1}\":1}", "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3"),
            (
                "{\"a\":\"\u{1}\"}",
                "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 6",
            ),
            ("{\"a\":\"\\x\"}", "invalid escape at line 1 column 8"),
            ("\u{feff}{}", "expected value at line 1 column 1"),
            ("nul", "EOF while parsing a value at line 1 column 3"),
            ("[1,]", "expected value at line 1 column 4"),
            (&deep, "nested deeper than 128 at column 129"),
        ] {
            assert_eq!(error(line), (code::PARSE, message.into(), None), "{line}");
        }
        for (line, message) in [
            (&b"{\"a\":\"\xff\"}"[..], "invalid UTF-8 at byte 6"),
            (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"x\":\"\xc3\"}", "invalid UTF-8 at byte 45"),
            (b"{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8 at byte 6"),
        ] {
            let Message::Invalid(invalid) = read(line, DEPTH) else { panic!("accepted: {line:?}") };
            assert_eq!((invalid.error.code, invalid.error.message.as_str()), (code::PARSE, message));
        }
    }

    #[test]
    fn depth_counts_brackets_outside_strings() {
        let at_limit = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","x":"{}\"[[\\","params":{}{}}}"#,
            "[".repeat(300),
            "[".repeat(127),
            "]".repeat(127)
        );
        let Message::Call(call) = read(at_limit.as_bytes(), DEPTH) else { panic!("refused at the limit") };
        assert!(serde_json::from_str::<serde_json::Value>(call.params.unwrap()).is_ok());
        let over = at_limit.replacen("\"params\":[", "\"params\":[[", 1);
        assert!(error(&over).1.starts_with("nested deeper than 128"));
        let siblings = format!("[{}[]]", "[],".repeat(1000));
        assert_eq!(error(&siblings).1, "request must be a JSON object");
    }

    #[test]
    fn ids_and_params_are_the_bytes_of_the_line() {
        for id in [
            "1",
            "-0",
            "1.50",
            "1e2",
            "123456789012345678901234567890",
            "1e999999",
            r#""\u0041""#,
            r#""\ud800""#,
            "\"\"",
        ] {
            let line = format!(
                r#" {{ "params" : {{"a" : 1}} , "id" : {id} , "method":"m", "jsonrpc":"2\u002e0", "z":null}} "#
            );
            let Message::Call(call) = read(line.as_bytes(), DEPTH) else { panic!("refused: {line}") };
            assert_eq!((call.id, &*call.method, call.params), (id, "m", Some(r#"{"a" : 1}"#)));
            properties::message_reads(line.as_bytes());
        }
    }

    #[test]
    fn control_messages_have_no_jsonrpc_key() {
        assert_eq!(read(br#"{"type":"status"}"#, DEPTH), Message::Control(Control::Status));
        assert_eq!(read(br#"{"type":"st\u0061tus","id":3,"method":4}"#, DEPTH), Message::Control(Control::Status));
        assert_eq!(
            read(br#"{"type":"force_wake","ts":1}"#, DEPTH),
            Message::InvalidControl(InvalidControl("ts must be a string".into()))
        );
        for line in [
            r#"{"type":"status","jsonrpc":"1.0"}"#,
            r#"{"type":"other"}"#,
            r#"{"type":null}"#,
            r#"{"type":["status"]}"#,
        ] {
            assert_eq!(error(line).1, "jsonrpc must be '2.0'", "{line}");
        }
        let Message::Call(call) = read(br#"{"type":"status","jsonrpc":"2.0","id":1,"method":"ping"}"#, DEPTH) else {
            panic!("refused")
        };
        assert_eq!(call.method, "ping");
    }

    #[test]
    fn a_key_with_a_lone_surrogate_is_ignored() {
        let line = br#"{"\ud800":1,"\ud800":2,"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        assert!(matches!(read(line, DEPTH), Message::Call(_)));
    }
}
