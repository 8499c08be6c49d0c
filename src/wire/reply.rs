//! Replies as bytes: one compact JSON line each, appended to an output buffer.
//!
//! The id and the result come as JSON text and go out as they are, so an id is echoed byte for byte
//! and a result is serialised once, where it was made.

use std::fmt;

use serde::Serialize;

/// Application error codes of the wire contract.
pub mod code {
    /// The line is not JSON.
    pub const PARSE: i32 = -32700;
    /// The envelope is wrong.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method.
    pub const UNKNOWN_METHOD: i32 = -32601;
    /// A param is missing, or has the wrong type or value.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The handler failed or panicked, or the daemon is stopping or full.
    pub const FAILED: i32 = -32001;
    /// The daemon cannot be reached; said by clients, never by a server.
    pub const UNREACHABLE: i32 = -32002;
}

/// What a server that ends says to calls that it does not carry out any more (-32001).
pub const STOPPING: &str = "daemon is stopping";

/// An error that a call is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallError {
    /// One of [`code`].
    pub code: i32,
    /// A sentence for a person.
    pub message: String,
}

impl CallError {
    /// The handler failed (-32001).
    pub fn failed(message: impl Into<String>) -> CallError {
        CallError { code: code::FAILED, message: message.into() }
    }

    /// No such method (-32601).
    pub fn unknown_method(name: &str) -> CallError {
        CallError { code: code::UNKNOWN_METHOD, message: format!("unknown method '{name}'") }
    }

    /// A required param is not there (-32602).
    pub fn missing(param: &str) -> CallError {
        CallError { code: code::INVALID_PARAMS, message: format!("missing required param: '{param}'") }
    }

    /// A param has the wrong type or value (-32602): `param 'limit' must be …`.
    pub fn invalid(param: &str, expected: impl fmt::Display) -> CallError {
        CallError { code: code::INVALID_PARAMS, message: format!("param '{param}' must be {expected}") }
    }

    /// The params are an array (-32602).
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
    out.extend_from_slice(result);
    out.extend_from_slice(b"}\n");
}

/// Appends `{"jsonrpc":"2.0","id":ID,"error":{"code":…,"message":…}}`. `id` is a JSON text, or
/// `None` where the request's own could not be had: `null`.
pub fn error(out: &mut Vec<u8>, id: Option<&str>, error: &CallError) {
    open(out, id.unwrap_or("null"));
    out.extend_from_slice(b"\"error\":{\"code\":");
    json(out, &error.code);
    out.extend_from_slice(b",\"message\":");
    json(out, &error.message);
    out.extend_from_slice(b"}}\n");
}

/// Appends the reply to a control message: one object on a line.
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
    serde_json::to_writer(&mut *out, value).expect("plain fields and strings always serialise into memory");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_compact_and_echo_the_id_as_it_was() {
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
