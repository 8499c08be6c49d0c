//! Parses a line of the client: a request, a notification, a reply, a batch of these, or an error.
//!
//! Unlike the daemon's protocol, MCP has notifications and, in one version, batches. Methods and params are
//! not interpreted here. Pure.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dispatch::{CallError, code};
use crate::wire::json;

/// The id of a request, as its JSON text.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Id(Box<RawValue>);

/// A request.
#[derive(Debug)]
pub(crate) struct McpRequest<'a> {
    pub(crate) id: Id,
    pub(crate) method: Cow<'a, str>,
    /// The JSON text of an object; `None` if absent.
    pub(crate) params: Option<&'a str>,
}

/// One message.
#[derive(Debug)]
pub(crate) enum McpMessage<'a> {
    Request(McpRequest<'a>),
    /// The method, and the params if they are an object.
    Notification(Cow<'a, str>, Option<&'a str>),
    /// A reply. The bridge sends no requests, so it is ignored.
    Reply,
    /// Not a message. It is answered with this error, and with this id if one could be read.
    Invalid(Option<Id>, CallError),
}

/// The contents of a line.
#[derive(Debug)]
pub(crate) enum Incoming<'a> {
    One(McpMessage<'a>),
    /// An array of messages, each still a JSON text.
    Batch(Vec<&'a str>),
}

impl Id {
    /// Returns the JSON text as the client wrote it.
    pub(crate) fn text(&self) -> &str {
        self.0.get()
    }

    fn read(raw: &RawValue) -> Option<Id> {
        let first = raw.get().as_bytes().first()?;
        matches!(first, b'"' | b'-' | b'0'..=b'9').then(|| Id(raw.to_owned()))
    }

    /// Reads an id from the JSON text of a param. Returns `None` if it is no string or number.
    pub(crate) fn param(text: &str) -> Option<Id> {
        Id::read(serde_json::from_str(text).ok()?)
    }
}

/// Two ids are equal if their texts or their strings with escapes undone are equal.
impl PartialEq for Id {
    fn eq(&self, other: &Id) -> bool {
        let (left, right) = (self.text(), other.text());
        left == right || matches!((json::string(left), json::string(right)), (Some(a), Some(b)) if a == b)
    }
}

/// Parses a line.
pub(crate) fn read(line: &[u8]) -> Incoming<'_> {
    let text = match str::from_utf8(line) {
        Ok(text) => text.trim_ascii(),
        Err(e) => return Incoming::One(not_json(format!("invalid UTF-8 at byte {}", e.valid_up_to() + 1))),
    };
    if text.starts_with('[') {
        return match serde_json::from_str::<Vec<&RawValue>>(text) {
            Ok(parts) => Incoming::Batch(parts.into_iter().map(RawValue::get).collect()),
            Err(e) => Incoming::One(not_json(e.to_string())),
        };
    }
    Incoming::One(one(text))
}

/// Parses one message.
pub(crate) fn one(text: &str) -> McpMessage<'_> {
    let value: &RawValue = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(e) => return not_json(e.to_string()),
    };
    // A derived `Deserialize` also accepts an array.
    if !value.get().starts_with('{') {
        return invalid(None, "a message must be a JSON object".into());
    }
    let envelope: Envelope<'_> = match serde_json::from_str(value.get()) {
        Ok(envelope) => envelope,
        Err(e) => return invalid(None, e.to_string()),
    };
    check(&envelope)
}

fn check<'a>(envelope: &Envelope<'a>) -> McpMessage<'a> {
    let id = envelope.id.and_then(Id::read);
    if envelope.jsonrpc.and_then(|raw| json::string(raw.get())).as_deref() != Some("2.0") {
        return invalid(id, "jsonrpc must be '2.0'".into());
    }
    if envelope.method.is_none() && (envelope.result.is_some() || envelope.error.is_some()) {
        return McpMessage::Reply;
    }
    if envelope.id.is_some() && id.is_none() {
        return invalid(None, "id must be a string or a number".into());
    }
    let Some(method) = envelope.method.and_then(|raw| json::string(raw.get())) else {
        return invalid(id, "method must be a string".into());
    };
    // `null` is written by clients that have no params.
    let params = envelope.params.map(RawValue::get).filter(|params| *params != "null");
    if params.is_some_and(|params| !params.starts_with('{')) {
        return match id {
            Some(id) => McpMessage::Invalid(
                Some(id),
                CallError { code: code::INVALID_PARAMS, message: "params must be an object".into() },
            ),
            None => McpMessage::Notification(method, None),
        };
    }
    match id {
        Some(id) => McpMessage::Request(McpRequest { id, method, params }),
        None => McpMessage::Notification(method, params),
    }
}

fn not_json(message: String) -> McpMessage<'static> {
    McpMessage::Invalid(None, CallError { code: code::PARSE, message })
}

fn invalid(id: Option<Id>, message: String) -> McpMessage<'static> {
    McpMessage::Invalid(id, CallError { code: code::INVALID_REQUEST, message })
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "json::present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    error: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> Id {
        Id::param(text).unwrap()
    }

    #[test]
    fn messages_are_classified() {
        for (line, want) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":{"a":1}}"#, "request 1 m {\"a\":1}"),
            (r#" {"jsonrpc":"2.0","id":"x","method":"\u006d"} "#, "request \"x\" m -"),
            (r#"{"jsonrpc":"2.0","method":"m","params":{}}"#, "notification m {}"),
            (r#"{"jsonrpc":"2.0","method":"m","params":[1]}"#, "notification m -"),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "reply"),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#, "reply"),
            (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, "invalid null -32600 id must be a string or a number"),
            (r#"{"jsonrpc":"2.0","id":[1],"method":"m"}"#, "invalid null -32600 id must be a string or a number"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"m"}"#, "invalid 1 -32600 jsonrpc must be '2.0'"),
            (r#"{"id":1,"method":"m"}"#, "invalid 1 -32600 jsonrpc must be '2.0'"),
            (r#"{"jsonrpc":"2.0","id":1}"#, "invalid 1 -32600 method must be a string"),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, "invalid 1 -32600 method must be a string"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[]}"#, "invalid 1 -32602 params must be an object"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":null}"#, "request 1 m -"),
            ("1", "invalid null -32600 a message must be a JSON object"),
            ("{", "invalid null -32700 EOF while parsing an object at line 1 column 1"),
            ("hello", "invalid null -32700 expected value at line 1 column 1"),
            ("[1,", "invalid null -32700 EOF while parsing a value at line 1 column 3"),
        ] {
            let Incoming::One(message) = read(line.as_bytes()) else { panic!("{line} is no batch") };
            let id = |id: &Option<Id>| id.as_ref().map_or("null".to_owned(), |id| id.text().to_owned());
            let got = match message {
                McpMessage::Request(r) => format!("request {} {} {}", r.id.text(), r.method, r.params.unwrap_or("-")),
                McpMessage::Notification(method, params) => format!("notification {method} {}", params.unwrap_or("-")),
                McpMessage::Reply => "reply".into(),
                McpMessage::Invalid(i, error) => format!("invalid {} {} {}", id(&i), error.code, error.message),
            };
            assert_eq!(got, want, "{line}");
        }
    }

    #[test]
    fn duplicate_keys_and_invalid_utf8_are_refused() {
        let Incoming::One(McpMessage::Invalid(None, error)) = read(br#"{"id":1,"id":2,"jsonrpc":"2.0","method":"m"}"#)
        else {
            panic!("taken")
        };
        assert_eq!((error.code, error.message.contains("duplicate field `id`")), (code::INVALID_REQUEST, true));
        let Incoming::One(McpMessage::Invalid(None, error)) = read(b"{\"a\":\"\xff\"}") else { panic!("taken") };
        assert_eq!((error.code, error.message.as_str()), (code::PARSE, "invalid UTF-8 at byte 7"));
    }

    #[test]
    fn an_array_is_a_batch_of_json_texts() {
        let Incoming::Batch(parts) = read(br#"[{"a":1}, 2 ,"x"]"#) else { panic!("no batch") };
        assert_eq!(parts, ["{\"a\":1}", "2", "\"x\""]);
    }

    #[test]
    fn deep_nesting_takes_no_stack() {
        let deep = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{}{}}}}}"#,
            "[".repeat(200_000),
            "]".repeat(200_000)
        );
        assert!(matches!(read(deep.as_bytes()), Incoming::One(McpMessage::Request(_))));
    }

    #[test]
    fn ids_are_equal_up_to_escapes() {
        assert_eq!(id(r#""A""#), id(r#""\u0041""#));
        assert_eq!(id("7"), id("7"));
        assert_ne!(id("7"), id("\"7\""));
        assert_ne!(id("7"), id("70"));
        assert!(Id::param("null").is_none() && Id::param("{}").is_none());
    }
}
