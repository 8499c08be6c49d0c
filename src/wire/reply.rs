//! Encodes replies: one compact JSON line each, appended to an output buffer.
//!
//! The id and the result are passed as JSON text and written unchanged, so an id is echoed byte for byte
//! and a result is serialized once, by its handler.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;

use crate::wire::escape::escape_from;

/// Error codes of the protocol.
pub mod code {
    /// The line is not JSON.
    pub const PARSE: i32 = -32700;
    /// The envelope is invalid, or the line too long.
    pub const INVALID_REQUEST: i32 = -32600;
    /// There is no such method.
    pub const UNKNOWN_METHOD: i32 = -32601;
    /// A param is missing, or has the wrong type or value.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The call failed or panicked, or the daemon is stopping or full.
    pub const FAILED: i32 = -32001;
    /// The daemon cannot be reached. Produced by clients, never by a server.
    pub const UNREACHABLE: i32 = -32002;
}

/// The message with which a stopping server refuses calls (code -32001).
pub const STOPPING: &str = "daemon is stopping";

/// The error of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// One of [`code`].
    pub code: i32,
    /// A message for people.
    pub message: String,
}

/// Longest part of a client's text that a message repeats, in characters: no reply to an error is large.
const EXCERPT_CHARS: usize = 200;

/// Returns the text, or its beginning with an ellipsis if it is longer than [`EXCERPT_CHARS`].
pub(crate) fn excerpt(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(EXCERPT_CHARS) {
        Some((end, _)) => Cow::Owned(format!("{}…", &text[..end])),
        None => Cow::Borrowed(text),
    }
}

impl CallError {
    /// Creates the error of a call that failed (-32001).
    pub fn failed(message: impl Into<String>) -> CallError {
        CallError { code: code::FAILED, message: message.into() }
    }

    /// Creates the error for an unknown method (-32601).
    pub fn unknown_method(name: &str) -> CallError {
        CallError { code: code::UNKNOWN_METHOD, message: format!("unknown method '{}'", excerpt(name)) }
    }

    /// Creates the error for a missing param (-32602).
    pub fn missing(param: &str) -> CallError {
        CallError { code: code::INVALID_PARAMS, message: format!("missing required param: '{param}'") }
    }

    /// Creates the error for a param of the wrong type or value (-32602): `param 'limit' must be …`.
    pub fn invalid(param: &str, expected: impl fmt::Display) -> CallError {
        CallError { code: code::INVALID_PARAMS, message: format!("param '{param}' must be {expected}") }
    }

    /// Creates the error for params that are an array (-32602).
    pub fn positional() -> CallError {
        CallError {
            code: code::INVALID_PARAMS,
            message: "params must be an object of named params, not an array".into(),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.message, self.code)
    }
}

impl std::error::Error for CallError {}

/// Appends `{"jsonrpc":"2.0","id":ID,"result":RESULT}`. `id` and `result` are JSON texts.
pub fn result(out: &mut Vec<u8>, id: &str, result: &[u8]) {
    open(out, id);
    out.extend_from_slice(b"\"result\":");
    let start = out.len();
    out.extend_from_slice(result);
    escape_from(out, start);
    out.extend_from_slice(b"}\n");
}

/// Appends `{"jsonrpc":"2.0","id":ID,"error":{"code":…,"message":…}}`. `id` is a JSON text; `None` is
/// written as `null`, for a request whose id could not be read.
pub fn error(out: &mut Vec<u8>, id: Option<&str>, error: &CallError) {
    open(out, id.unwrap_or("null"));
    out.extend_from_slice(b"\"error\":{\"code\":");
    json(out, &error.code);
    out.extend_from_slice(b",\"message\":");
    json(out, &error.message);
    out.extend_from_slice(b"}}\n");
}

/// Appends the reply to a control message: `value`, which serializes to an object.
pub fn object(out: &mut Vec<u8>, value: &impl Serialize) {
    json(out, value);
    out.push(b'\n');
}

/// Appends `{"ok":false,"reason":REASON,"error":ERROR}`.
pub fn control_refused(out: &mut Vec<u8>, reason: &str, error: &str) {
    #[derive(Serialize)]
    struct Refused<'a> {
        ok: bool,
        reason: &'a str,
        error: &'a str,
    }
    object(out, &Refused { ok: false, reason, error });
}

fn open(out: &mut Vec<u8>, id: &str) {
    out.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
    out.extend_from_slice(id.as_bytes());
    out.push(b',');
}

fn json(out: &mut Vec<u8>, value: &impl Serialize) {
    let start = out.len();
    serde_json::to_writer(&mut *out, value).expect("integers, strings and plain structs serialize without errors");
    escape_from(out, start);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_repeat_the_beginning_of_a_long_text() {
        let (long, whole) = ("я".repeat(EXCERPT_CHARS + 1), "я".repeat(EXCERPT_CHARS));
        assert_eq!((excerpt(&whole), excerpt(&long)), (Cow::Borrowed(&*whole), Cow::Owned(format!("{whole}…"))));
    }

    #[test]
    fn replies_are_compact_and_echo_the_id() {
        let mut out = Vec::new();
        result(&mut out, "1.50", b"{}");
        error(&mut out, Some("\"\\u0041\""), &CallError::failed("no \"way\"\n"));
        error(&mut out, None, &CallError::unknown_method("x"));
        control_refused(&mut out, "invalid_message", "ts must be a string");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                "{\"jsonrpc\":\"2.0\",\"id\":1.50,\"result\":{}}\n",
                "{\"jsonrpc\":\"2.0\",\"id\":\"\\u0041\",\"error\":{\"code\":-32001,\"message\":\"no \\\"way\\\"\\n\"}}\n",
                "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32601,\"message\":\"unknown method 'x'\"}}\n",
                "{\"ok\":false,\"reason\":\"invalid_message\",\"error\":\"ts must be a string\"}\n",
            )
        );
    }
}
