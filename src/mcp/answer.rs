//! What a client is answered: who the server is, which tools there are, and what came of a call;
//! each as the client's version of the protocol has it. Pure.

use std::io::{self, Write};

use serde::Serialize;
use serde::de::{Deserialize, IgnoredAny};
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::daemon_call::DaemonCall;
use super::message::Id;
use super::tools::{INSTRUCTIONS, TOOLS, Tool};
use super::version::{PER_REQUEST, Version};
use crate::client::{ClientError, DeliveryGuarantee, ReplyFault, UNREACHABLE, UnreachableReason};

/// The protocol's error for a version that is not spoken.
const UNSUPPORTED_VERSION: i32 = -32022;

/// JSON-RPC's internal error. Versions without a handshake forbid [`UNREACHABLE`].
const INTERNAL: i32 = -32603;

/// How long the list of tools may be kept, in milliseconds: an hour. It changes with the program.
const KEEPS_MS: u32 = 3_600_000;

/// Said where a call that must not be repeated may have been carried out.
const LOOK_FIRST: &str = "; it may have been carried out: look with memory_recall before you call it again";

/// What the bridge knows by itself.
pub(crate) enum Own {
    /// The result of `initialize`.
    Initialized,
    /// The result of `server/discover`.
    Described,
    /// The result of `tools/list`.
    Listed,
    /// The result of `ping`.
    Pong,
}

/// The line that says what the bridge knows by itself.
pub(crate) fn own(id: &Id, version: Version, own: Own) -> Vec<u8> {
    line(id, &Body::Own(version, own))
}

/// The line that refuses a version.
pub(crate) fn unsupported(id: &Id, requested: &str) -> Vec<u8> {
    let data = Data::Versions { supported: PER_REQUEST, requested };
    line(id, &Body::Error(Error { code: UNSUPPORTED_VERSION, message: "unsupported protocol version", data }))
}

/// The line that tells a model what is wrong with its call.
pub(crate) fn tool_error(id: &Id, version: Version, text: &str) -> Vec<u8> {
    line(id, &Body::Tool(ToolResult { version, text, structured: None, outcome: Outcome::Failed }))
}

/// Writes the line that says what came of a call.
///
/// # Errors
/// The writer's.
pub(crate) fn write(
    call: &DaemonCall,
    outcome: &Result<Box<RawValue>, ClientError>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let version = call.version;
    match outcome {
        Ok(result) => {
            let outcome = if says_it_failed(call.method, result) { Outcome::Failed } else { Outcome::Done };
            let structured = Some(&**result);
            let body = Body::Tool(ToolResult { version, text: result.get(), structured, outcome });
            write_line(&call.id, &body, out)
        }
        Err(error @ ClientError::Unreachable { .. }) => {
            let code = if version.is_stateless() { INTERNAL } else { UNREACHABLE };
            let message = &said(call, error);
            let data = Data::Reason { reason: "daemon_unreachable" };
            write_line(&call.id, &Body::Error(Error { code, message, data }), out)
        }
        Err(error) => {
            let text = &said(call, error);
            let body = Body::Tool(ToolResult { version, text, structured: None, outcome: Outcome::Failed });
            write_line(&call.id, &body, out)
        }
    }
}

fn said(call: &DaemonCall, error: &ClientError) -> String {
    let perhaps_done = match error {
        ClientError::Unreachable { why, .. } => {
            matches!(why, UnreachableReason::ConnectionLost | UnreachableReason::NoReply(_))
        }
        ClientError::BadReply { fault, .. } => matches!(fault, ReplyFault::Truncated | ReplyFault::TooLong { .. }),
        ClientError::Refused { .. } => error.is_stopping(),
        ClientError::Unsendable(_) => false,
    };
    let mut text = error.to_string();
    if perhaps_done && call.delivery == DeliveryGuarantee::AtMostOnce {
        text.push_str(LOOK_FIRST);
    }
    text
}

/// Some methods answer a wrong question with a result that says so.
fn says_it_failed(method: &str, result: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Said<'a> {
        #[serde(default)]
        error: Option<IgnoredAny>,
        #[serde(borrow, default)]
        status: Option<std::borrow::Cow<'a, str>>,
    }
    if !matches!(method, "events_query" | "profile_get" | "profile_set") {
        return false;
    }
    let mut reader = serde_json::Deserializer::from_str(result.get());
    Said::deserialize(&mut reader)
        .is_ok_and(|said| said.error.is_some() || matches!(said.status.as_deref(), Some("error" | "unknown")))
}

/// Tools that never change.
#[derive(Default, Serialize)]
struct Capabilities {
    tools: Nothing,
}

#[derive(Default, Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct ServerInfo {
    name: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'static str>,
}

impl ServerInfo {
    fn new(version: Version) -> ServerInfo {
        ServerInfo {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            title: version.has_structure().then_some("iaid memory"),
            description: version.has_description().then_some(env!("CARGO_PKG_DESCRIPTION")),
        }
    }
}

/// What every result says of itself where no handshake said it before.
fn stateless<M: SerializeMap>(map: &mut M, version: Version) -> Result<(), M::Error> {
    #[derive(Serialize)]
    struct Meta {
        #[serde(rename = "io.modelcontextprotocol/serverInfo")]
        server: ServerInfo,
    }
    if version.is_stateless() {
        map.serialize_entry("resultType", "complete")?;
        map.serialize_entry("_meta", &Meta { server: ServerInfo::new(version) })?;
    }
    Ok(())
}

/// How long a result may be kept, and by whom: there is nothing of the user's in it.
fn keeps<M: SerializeMap>(map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("ttlMs", &KEEPS_MS)?;
    map.serialize_entry("cacheScope", "public")
}

struct Definitions(Version);

struct Definition(Version, &'static Tool);

impl Serialize for Definitions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(TOOLS.iter().map(|tool| Definition(self.0, tool)))
    }
}

impl Serialize for Definition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Definition(version, tool) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", tool.name)?;
        if version.has_structure() {
            map.serialize_entry("title", tool.title)?;
        }
        map.serialize_entry("description", tool.description)?;
        map.serialize_entry("inputSchema", &tool.input)?;
        if version.has_structure() {
            map.serialize_entry("outputSchema", &tool.output)?;
        }
        if version.has_annotations() {
            map.serialize_entry("annotations", &tool.annotations())?;
        }
        map.end()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Failed,
}

struct ToolResult<'a> {
    version: Version,
    text: &'a str,
    structured: Option<&'a RawValue>,
    outcome: Outcome,
}

impl Serialize for ToolResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Content<'a> {
            r#type: &'static str,
            text: &'a str,
        }
        let mut map = serializer.serialize_map(None)?;
        stateless(&mut map, self.version)?;
        map.serialize_entry("content", &[Content { r#type: "text", text: self.text }])?;
        if let Some(structured) = self.structured.filter(|_| self.version.has_structure()) {
            map.serialize_entry("structuredContent", structured)?;
        }
        map.serialize_entry("isError", &(self.outcome == Outcome::Failed))?;
        map.end()
    }
}

#[derive(Serialize)]
struct Error<'a> {
    code: i32,
    message: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Data<'a> {
    Versions { supported: [&'static str; 1], requested: &'a str },
    Reason { reason: &'static str },
}

/// What stands beside the id in a reply.
enum Body<'a> {
    Own(Version, Own),
    Tool(ToolResult<'a>),
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
            Body::Own(version, own) => map.serialize_entry("result", &OwnResult(*version, own))?,
            Body::Tool(result) => map.serialize_entry("result", result)?,
            Body::Error(error) => map.serialize_entry("error", error)?,
        }
        map.end()
    }
}

struct OwnResult<'a>(Version, &'a Own);

impl Serialize for OwnResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let OwnResult(version, own) = self;
        let mut map = serializer.serialize_map(None)?;
        stateless(&mut map, *version)?;
        match own {
            Own::Pong => {}
            Own::Initialized => {
                map.serialize_entry("protocolVersion", version.name())?;
                map.serialize_entry("capabilities", &Capabilities::default())?;
                map.serialize_entry("serverInfo", &ServerInfo::new(*version))?;
                map.serialize_entry("instructions", INSTRUCTIONS)?;
            }
            Own::Described => {
                map.serialize_entry("supportedVersions", &PER_REQUEST)?;
                map.serialize_entry("capabilities", &Capabilities::default())?;
                map.serialize_entry("instructions", INSTRUCTIONS)?;
                keeps(&mut map)?;
            }
            Own::Listed => {
                map.serialize_entry("tools", &Definitions(*version))?;
                if version.is_stateless() {
                    keeps(&mut map)?;
                }
            }
        }
        map.end()
    }
}

fn line(id: &Id, body: &Body<'_>) -> Vec<u8> {
    let mut line = Vec::new();
    write_line(id, body, &mut line).expect("a vector takes all that is written");
    line
}

// One kind of writer for all that is written: each further one would be that code once more.
fn write_line(id: &Id, body: &Body<'_>, mut out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer(&mut out, &Reply { id, body })?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;
    use serde_json::{Value, json};

    const VERSIONS: [Version; 5] =
        [Version::V2024_11_05, Version::V2025_03_26, Version::V2025_06_18, Version::V2025_11_25, Version::V2026_07_28];

    fn known(version: Version, what: Own) -> Value {
        let mut reply: Value = serde_json::from_slice(&own(&Id::param("1").unwrap(), version, what)).unwrap();
        reply["result"].take()
    }

    fn call(version: Version, method: &'static str, delivery: DeliveryGuarantee) -> DaemonCall {
        let params = RawValue::from_string("{}".into()).unwrap();
        DaemonCall { id: Id::param("1").unwrap(), version, method, params, delivery }
    }

    fn answered(call: &DaemonCall, outcome: Result<&str, ClientError>) -> Value {
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
    fn each_version_is_told_what_it_knows() {
        let tool_keys = VERSIONS.map(|version| {
            let list = known(version, Own::Listed);
            assert_eq!(list["tools"].as_array().unwrap().len(), TOOLS.len());
            keys(&list["tools"][0]).join(" ")
        });
        let all = "annotations description inputSchema name outputSchema title";
        let old = "description inputSchema name";
        assert_eq!(tool_keys, [old, "annotations description inputSchema name", all, all, all]);
        let server_keys =
            VERSIONS[..4].iter().map(|version| keys(&known(*version, Own::Initialized)["serverInfo"]).join(" "));
        let plain = "name version";
        assert_eq!(
            server_keys.collect::<Vec<_>>(),
            [plain, plain, "name title version", "description name title version"]
        );
        let result_keys = VERSIONS.map(|version| {
            let call = call(version, "topology", DeliveryGuarantee::AtLeastOnce);
            keys(&answered(&call, Ok("{\"N\":1}"))["result"]).join(" ")
        });
        let unstructured = "content isError";
        let structured = "content isError structuredContent";
        let stateless = "_meta content isError resultType structuredContent";
        assert_eq!(result_keys, [unstructured, unstructured, structured, structured, stateless]);
        assert_eq!(known(Version::V2025_06_18, Own::Pong), json!({}));
    }

    #[test]
    fn a_result_is_given_as_text_and_as_a_value() {
        let call = call(Version::V2025_11_25, "memory_recall", DeliveryGuarantee::AtLeastOnce);
        let got = answered(&call, Ok("{\"hits\":[\"a\\n\\\"b\\\"\"],\"error\":1}"));
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
    fn results_that_say_that_they_failed_are_errors() {
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
            assert_eq!(answered(&call, Ok(result))["result"]["isError"], failed, "{method} {result}");
        }
    }

    #[test]
    fn the_daemons_refusal_is_for_the_model_to_mend() {
        let call = call(Version::V2025_06_18, "memory_recall", DeliveryGuarantee::AtLeastOnce);
        let refused = ClientError::Refused { code: -32602, message: "missing required param: 'cue'".into() };
        assert_eq!(
            answered(&call, Err(refused))["result"],
            json!({"content": [{"type": "text", "text": "missing required param: 'cue'"}], "isError": true})
        );
    }

    #[test]
    fn a_daemon_that_is_not_there_fails_loudly() {
        for (version, code) in
            [(Version::V2024_11_05, -32002), (Version::V2025_11_25, -32002), (Version::V2026_07_28, -32603)]
        {
            let call = call(version, "memory_recall", DeliveryGuarantee::AtLeastOnce);
            let got = answered(&call, Err(unreachable(UnreachableReason::NoSocket)));
            let want = json!({
                "code": code,
                "message": "daemon_unreachable: there is no socket at /s; start it with: iaid serve",
                "data": {"reason": "daemon_unreachable"},
            });
            assert_eq!(got["error"], want);
        }
    }

    #[test]
    fn where_a_second_call_would_do_it_twice_that_is_said() {
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
            for (delivery, said_so) in
                [(DeliveryGuarantee::AtMostOnce, uncertain), (DeliveryGuarantee::AtLeastOnce, false)]
            {
                let call = call(Version::V2025_11_25, "memory_contradict", delivery);
                assert_eq!(said(&call, &error).ends_with(LOOK_FIRST), said_so, "{error}");
            }
        }
    }
}
