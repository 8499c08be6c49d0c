//! Reply lines for the client, in its protocol version. Pure.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::{Deserialize, IgnoredAny};
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::builtin::{Builtin, BuiltinResult, Sharing, serialize_caching, serialize_json, serialize_result_header};
use super::daemon_call::{DaemonCall, ResultShape};
use super::message::Id;
use super::version::{PER_REQUEST, Version};
use super::{compact, resources};
use crate::client::{ClientError, DeliveryGuarantee, ReplyFault, UNREACHABLE, UnreachableReason};
use crate::dispatch::code;
use crate::wire::escape::EscapingWriter;

/// MCP's error code for an unsupported protocol version.
const UNSUPPORTED_VERSION: i32 = -32022;

/// MCP's error code for a resource that does not exist, in versions with a handshake.
const RESOURCE_NOT_FOUND: i32 = -32002;

/// JSON-RPC's code for an internal error. Versions without a handshake forbid [`UNREACHABLE`].
const INTERNAL: i32 = -32603;

/// Appended to an error if a call that must not be repeated may have been carried out.
const CHECK_FIRST: &str = "; it may have been carried out: look with memory_recall before you call it again";

/// Returns the reply to a request that needs no daemon.
pub(crate) fn builtin(id: &Id, version: Version, builtin: Builtin) -> Vec<u8> {
    line(id, &Body::Builtin(version, builtin))
}

/// Returns the reply to a request whose protocol version is not supported.
pub(crate) fn unsupported(id: &Id, requested: &str) -> Vec<u8> {
    let data = Data::Versions { supported: PER_REQUEST, requested };
    line(id, &Body::Error(Error { code: UNSUPPORTED_VERSION, message: "unsupported protocol version".into(), data }))
}

/// Returns the reply to a tool call with invalid arguments: a failed result with a message for the model.
pub(crate) fn tool_error(id: &Id, version: Version, text: &str) -> Vec<u8> {
    let text = text.to_owned();
    line(id, &Body::Tool(ToolResult { version, text, has_structure: false, outcome: Outcome::Failed }))
}

/// Writes the reply to a call that the daemon was sent. For a tool, an unreachable daemon is a JSON-RPC error; every other
/// error is a failed result, which the model sees. Resources have no such results.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write(
    call: &DaemonCall,
    outcome: &Result<Box<RawValue>, ClientError>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let version = call.version;
    let missing = if version.is_stateless() { code::INVALID_PARAMS } else { RESOURCE_NOT_FOUND };
    let body = match (&call.shape, outcome) {
        // Clients ask for the list without being told to; an error would be shown to the user.
        (ResultShape::Resources, outcome) => {
            let list = outcome.as_ref().ok().and_then(|result| resources::list(result.get()));
            Body::Resource(version, "resources", list.unwrap_or_else(|| "[]".into()))
        }
        (ResultShape::Contents(kind, uri), Ok(result)) => match resources::contents(*kind, uri, result.get()) {
            Some(contents) => Body::Resource(version, "contents", contents),
            None => not_found(missing, uri, "no record has this session".into()),
        },
        (ResultShape::Tool | ResultShape::Recall(_), Ok(result)) => {
            let short = match call.shape {
                ResultShape::Recall(budget) => compact::recall(result.get(), budget),
                _ => None,
            };
            let text = short.unwrap_or_else(|| result.get().to_owned());
            let outcome = if reports_failure(call.method, result) { Outcome::Failed } else { Outcome::Done };
            Body::Tool(ToolResult { version, text, has_structure: true, outcome })
        }
        (_, Err(error @ ClientError::Unreachable { .. })) => {
            let code = if version.is_stateless() { INTERNAL } else { UNREACHABLE };
            let message = error_text(call, error);
            Body::Error(Error { code, message, data: Data::Reason { reason: "daemon_unreachable" } })
        }
        (ResultShape::Contents(_, uri), Err(ClientError::Refused { code: code::INVALID_PARAMS, message })) => {
            not_found(missing, uri, message.clone())
        }
        (ResultShape::Contents(_, uri), Err(error)) => not_found(INTERNAL, uri, error_text(call, error)),
        (_, Err(error)) => {
            let text = error_text(call, error);
            Body::Tool(ToolResult { version, text, has_structure: false, outcome: Outcome::Failed })
        }
    };
    write_line(&call.id, &body, out)
}

fn not_found(code: i32, uri: &str, message: String) -> Body<'_> {
    Body::Error(Error { code, message, data: Data::Uri { uri } })
}

/// Returns the reply to a request for a resource whose URI names none.
pub(crate) fn no_resource(id: &Id, version: Version, uri: &str) -> Vec<u8> {
    let code = if version.is_stateless() { code::INVALID_PARAMS } else { RESOURCE_NOT_FOUND };
    line(id, &not_found(code, uri, "no such resource: only iaid://record/ID and iaid://session/ID".into()))
}

/// Returns the message of an error, with a warning if repeating the call may carry it out twice.
fn error_text(call: &DaemonCall, error: &ClientError) -> String {
    let may_be_done = match error {
        ClientError::Unreachable { why, .. } => {
            matches!(why, UnreachableReason::ConnectionLost | UnreachableReason::NoReply(_))
        }
        ClientError::BadReply { fault, .. } => matches!(fault, ReplyFault::Truncated | ReplyFault::TooLong { .. }),
        ClientError::Refused { .. } => error.is_stopping(),
        ClientError::Unsendable(_) => false,
    };
    let mut text = error.to_string();
    if may_be_done && call.delivery == DeliveryGuarantee::AtMostOnce {
        text.push_str(CHECK_FIRST);
    }
    text
}

/// Returns true if a result reports a failure. Some methods report invalid params so.
fn reports_failure(method: &str, result: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Failure<'a> {
        #[serde(default)]
        error: Option<IgnoredAny>,
        #[serde(borrow, default)]
        status: Option<std::borrow::Cow<'a, str>>,
    }
    if !matches!(method, "events_query" | "profile_get" | "profile_set") {
        return false;
    }
    let mut reader = serde_json::Deserializer::from_str(result.get());
    Failure::deserialize(&mut reader)
        .is_ok_and(|it| it.error.is_some() || matches!(it.status.as_deref(), Some("error" | "unknown")))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
}

struct ToolResult {
    version: Version,
    text: String,
    /// Whether the text is a JSON object, which is also given as a value.
    has_structure: bool,
    outcome: Outcome,
}

impl Serialize for ToolResult {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Content<'a> {
            r#type: &'static str,
            text: &'a str,
        }
        let mut map = serializer.serialize_map(None)?;
        serialize_result_header(&mut map, self.version)?;
        map.serialize_entry("content", &[Content { r#type: "text", text: &self.text }])?;
        if self.has_structure && self.version.has_structure() {
            serialize_json(&mut map, "structuredContent", &self.text)?;
        }
        map.serialize_entry("isError", &(self.outcome == Outcome::Failed))?;
        map.end()
    }
}

#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: String,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Versions { supported: [&'static str; 1], requested: &'a str },
    Reason { reason: &'static str },
    Uri { uri: &'a str },
}

/// The result or error of a reply.
enum Body<'a> {
    Builtin(Version, Builtin),
    Tool(ToolResult),
    /// What a resource method returns: the name of the member and its JSON text.
    Resource(Version, &'static str, String),
    Error(Error<'a>),
}

struct Reply<'a> {
    id: &'a Id,
    body: &'a Body<'a>,
}

impl Serialize for Reply<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("jsonrpc", "2.0")?;
        map.serialize_entry("id", self.id)?;
        match self.body {
            Body::Builtin(version, builtin) => map.serialize_entry("result", &BuiltinResult(*version, builtin))?,
            Body::Tool(result) => map.serialize_entry("result", result)?,
            Body::Resource(version, name, json) => map.serialize_entry("result", &Resource(*version, name, json))?,
            Body::Error(error) => map.serialize_entry("error", error)?,
        }
        map.end()
    }
}

struct Resource<'a>(Version, &'static str, &'a str);

impl Serialize for Resource<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Resource(version, name, json) = *self;
        let mut map = serializer.serialize_map(None)?;
        serialize_result_header(&mut map, version)?;
        serialize_json(&mut map, name, json)?;
        serialize_caching(&mut map, version, Sharing::Private)?;
        map.end()
    }
}

fn line(id: &Id, body: &Body<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    write_line(id, body, &mut line).expect("writing to a Vec does not fail");
    line
}

// Takes a trait object: with a generic writer, the serializer's code would be compiled once for each type.
fn write_line(id: &Id, body: &Body<'_>, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut EscapingWriter(out), &Reply { id, body })?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::super::tools::TOOLS;
    use super::*;
    use serde_json::{Value, json};

    const VERSIONS: [Version; 5] =
        [Version::V2024_11_05, Version::V2025_03_26, Version::V2025_06_18, Version::V2025_11_25, Version::V2026_07_28];

    fn result_of(version: Version, request: Builtin) -> Value {
        let mut reply: Value = serde_json::from_slice(&builtin(&Id::param("1").unwrap(), version, request)).unwrap();
        reply["result"].take()
    }

    fn call(version: Version, method: &'static str, delivery: DeliveryGuarantee) -> DaemonCall {
        let params = RawValue::from_string("{}".into()).unwrap();
        DaemonCall { id: Id::param("1").unwrap(), version, method, params, delivery, shape: ResultShape::Tool }
    }

    fn reply_to(call: &DaemonCall, outcome: Result<&str, ClientError>) -> Value {
        let outcome = outcome.map(|text| RawValue::from_string(text.into()).unwrap());
        let mut line = Vec::new();
        write(call, &outcome, &mut line).unwrap();
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        serde_json::from_slice(&line).unwrap()
    }

    fn unreachable(why: UnreachableReason) -> ClientError {
        ClientError::Unreachable { path: PathBuf::from("/s"), why }
    }

    fn keys(value: &Value) -> Vec<&str> {
        value.as_object().unwrap().keys().map(String::as_str).collect()
    }

    #[test]
    fn each_version_gets_the_keys_it_defines() {
        let tool_keys = VERSIONS.map(|version| {
            let list = result_of(version, Builtin::ListTools(TOOLS));
            assert_eq!(list["tools"].as_array().unwrap().len(), TOOLS.len());
            keys(&list["tools"][0]).join(" ")
        });
        let all = "annotations description inputSchema name outputSchema title";
        let old = "description inputSchema name";
        assert_eq!(tool_keys, [old, "annotations description inputSchema name", all, all, all]);
        let server_keys =
            VERSIONS[..4].iter().map(|version| keys(&result_of(*version, Builtin::Initialize)["serverInfo"]).join(" "));
        let plain = "name version";
        assert_eq!(
            server_keys.collect::<Vec<_>>(),
            [plain, plain, "name title version", "description name title version"]
        );
        let result_keys = VERSIONS.map(|version| {
            let call = call(version, "topology", DeliveryGuarantee::AtLeastOnce);
            keys(&reply_to(&call, Ok("{\"N\":1}"))["result"]).join(" ")
        });
        let unstructured = "content isError";
        let structured = "content isError structuredContent";
        let stateless = "_meta content isError resultType structuredContent";
        assert_eq!(result_keys, [unstructured, unstructured, structured, structured, stateless]);
        assert_eq!(result_of(Version::V2025_06_18, Builtin::Ping), json!({}));
    }

    #[test]
    fn a_result_is_given_as_text_and_as_a_value() {
        let call = call(Version::V2025_11_25, "memory_recall", DeliveryGuarantee::AtLeastOnce);
        let got = reply_to(&call, Ok("{\"hits\":[\"a\\n\\\"b\\\"\"],\"error\":1}"));
        assert_eq!(
            got["result"],
            json!({
                "content": [{"type": "text", "text": "{\"hits\":[\"a\\n\\\"b\\\"\"],\"error\":1}"}],
                "structuredContent": {"hits": ["a\n\"b\""], "error": 1},
                "isError": false,
            })
        );
    }

    #[test]
    fn results_that_report_a_failure_are_errors() {
        for (method, result, failed) in [
            ("events_query", "{\"error\":\"no kind\"}", true),
            ("events_query", "{\"events\":[],\"count\":0}", false),
            ("profile_get", "{\"knob\":\"x\",\"status\":\"unknown\"}", true),
            ("profile_get", "{\"knob\":\"x\",\"value\":\"error\"}", false),
            ("profile_set", "{\"status\":\"error\",\"reason\":\"r\"}", true),
            ("profile_set", "{\"status\":\"ok\",\"knob\":\"x\",\"value\":1}", false),
            ("memory_capture", "{\"status\":\"error\"}", false),
        ] {
            let call = call(Version::V2025_11_25, method, DeliveryGuarantee::AtLeastOnce);
            assert_eq!(reply_to(&call, Ok(result))["result"]["isError"], failed, "{method} {result}");
        }
    }

    #[test]
    fn an_error_of_the_daemon_is_a_failed_result() {
        let call = call(Version::V2025_06_18, "memory_recall", DeliveryGuarantee::AtLeastOnce);
        let refused = ClientError::Refused { code: -32602, message: "missing required param: 'cue'".into() };
        assert_eq!(
            reply_to(&call, Err(refused))["result"],
            json!({"content": [{"type": "text", "text": "missing required param: 'cue'"}], "isError": true})
        );
    }

    #[test]
    fn an_unreachable_daemon_is_a_json_rpc_error() {
        for (version, code) in
            [(Version::V2024_11_05, -32002), (Version::V2025_11_25, -32002), (Version::V2026_07_28, -32603)]
        {
            let call = call(version, "memory_recall", DeliveryGuarantee::AtLeastOnce);
            let got = reply_to(&call, Err(unreachable(UnreachableReason::NoSocket)));
            let want = json!({
                "code": code,
                "message": "daemon_unreachable: there is no socket at /s; start it with: iaid serve",
                "data": {"reason": "daemon_unreachable"},
            });
            assert_eq!(got["error"], want);
        }
    }

    #[test]
    fn an_error_after_which_a_call_may_be_done_twice_warns() {
        let path = || PathBuf::from("/s");
        let stopping = || ClientError::Refused { code: -32001, message: "daemon is stopping".into() };
        for (error, uncertain) in [
            (unreachable(UnreachableReason::ConnectionLost), true),
            (unreachable(UnreachableReason::NoReply(Duration::from_secs(60))), true),
            (unreachable(UnreachableReason::NotListening), false),
            (ClientError::BadReply { path: path(), fault: ReplyFault::Truncated }, true),
            (ClientError::BadReply { path: path(), fault: ReplyFault::NotJsonRpc }, false),
            (stopping(), true),
            (ClientError::Refused { code: -32602, message: "bad".into() }, false),
        ] {
            for (delivery, warns) in
                [(DeliveryGuarantee::AtMostOnce, uncertain), (DeliveryGuarantee::AtLeastOnce, false)]
            {
                let call = call(Version::V2025_11_25, "memory_contradict", delivery);
                assert_eq!(error_text(&call, &error).ends_with(CHECK_FIRST), warns, "{error}");
            }
        }
    }
}
