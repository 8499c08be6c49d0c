//! What a message asks for: a reply at once, a call of the daemon's, a call given up, or nothing.
//! Pure: what is told to it decides.

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::value::{RawValue, to_raw_value};

use super::answer::{self, Own};
use super::daemon_call::DaemonCall;
use super::host::Host;
use super::message::{self, Id, Incoming, Message, Request};
use super::tools::{self, Effect, Method, Tool};
use super::version::Version;
use crate::client::DeliveryGuarantee;
use crate::dispatch::{CallError, Params, code};
use crate::wire::reply;

/// Most messages in a batch. Picked: more calls than an assistant makes in a turn.
const BATCH_MESSAGES: usize = 64;

/// The argument that chooses the method, and is none of the method's.
const OPERATION: &str = "operation";

/// The version that a request names for itself.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// What its client can do; nothing here depends on it, but it must be there.
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// What is to be done about a message.
#[derive(Debug)]
pub(crate) enum Step {
    Nothing,
    /// A whole line.
    Reply(Vec<u8>),
    Call(DaemonCall),
    /// The request with this id is not wanted any more.
    Cancel(Id),
}

/// What is to be done about a line.
#[derive(Debug)]
pub(crate) enum Steps {
    One(Step),
    /// Its replies go out together, as one array.
    Together(Vec<Step>),
}

/// Understands one client.
#[derive(Debug)]
pub(crate) struct Translator {
    host: Host,
    /// By `initialize`.
    agreed: Option<Version>,
    seat: Seat,
}

/// Has somebody sat down?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seat {
    Empty,
    JustTaken,
    Taken,
}

impl Translator {
    pub(crate) fn new(host: Host) -> Translator {
        Translator { host, agreed: None, seat: Seat::Empty }
    }

    /// True once: when the first client is ready.
    pub(crate) fn sat_down(&mut self) -> bool {
        let now = self.seat == Seat::JustTaken;
        if now {
            self.seat = Seat::Taken;
        }
        now
    }

    /// Understands a line.
    pub(crate) fn take(&mut self, line: &[u8]) -> Steps {
        match message::read(line) {
            Incoming::One(message) => Steps::One(self.step(message)),
            Incoming::Batch(parts) => self.batch(&parts),
        }
    }

    fn batch(&mut self, parts: &[&str]) -> Steps {
        let why = if !self.agreed.is_some_and(Version::has_batches) {
            "an array of messages is known to protocol version 2025-03-26 alone; send each on a line".to_owned()
        } else if parts.is_empty() {
            "an array of messages must not be empty".to_owned()
        } else if parts.len() > BATCH_MESSAGES {
            format!("{} messages in an array are more than {BATCH_MESSAGES}; send fewer at once", parts.len())
        } else {
            return Steps::Together(parts.iter().map(|part| self.step(message::one(part))).collect());
        };
        Steps::One(refused(None, &CallError { code: code::INVALID_REQUEST, message: why }))
    }

    fn step(&mut self, message: Message<'_>) -> Step {
        match message {
            Message::Request(request) => {
                let id = request.id.clone();
                self.request(request).unwrap_or_else(|error| refused(Some(&id), &error))
            }
            Message::Notification(method, params) => self.notification(&method, params),
            Message::Reply => Step::Nothing,
            Message::Invalid(id, error) => refused(id.as_ref(), &error),
        }
    }

    fn notification(&mut self, method: &str, params: Option<&str>) -> Step {
        match method {
            "notifications/initialized" => self.sit_down(),
            "notifications/cancelled" => {
                let params = Params::read(params).unwrap_or_default();
                if let Some(id) = params.raw("requestId").and_then(Id::param) {
                    return Step::Cancel(id);
                }
            }
            _ => {}
        }
        Step::Nothing
    }

    fn request(&mut self, request: Request<'_>) -> Result<Step, CallError> {
        let params = Params::read(request.params)?;
        let Request { id, method, .. } = request;
        if method == "initialize" {
            let version = Version::agreed(&params.string("protocolVersion")?);
            self.agreed = Some(version);
            return Ok(own(&id, version, Own::Initialized));
        }
        let version = match named_version(&params)? {
            Some(Ok(version)) => {
                self.sit_down();
                version
            }
            Some(Err(requested)) => return Ok(Step::Reply(answer::unsupported(&id, &requested))),
            None => self.agreed.unwrap_or(Version::V2025_11_25),
        };
        match &*method {
            "server/discover" if version.is_stateless() => Ok(own(&id, version, Own::Described)),
            "server/discover" => Err(CallError::missing(VERSION_KEY)),
            "ping" if !version.is_stateless() => Ok(own(&id, version, Own::Pong)),
            "tools/list" => match params.string_opt("cursor")? {
                Some(_) => Err(CallError::invalid("cursor", "absent: the list has one page")),
                None => Ok(own(&id, version, Own::Listed)),
            },
            "tools/call" => {
                self.sit_down();
                self.tool_call(id, version, &params)
            }
            _ => Err(CallError::unknown_method(&method)),
        }
    }

    fn tool_call(&self, id: Id, version: Version, params: &Params<'_>) -> Result<Step, CallError> {
        let name = params.string("name")?;
        let Some(tool) = tools::find(&name) else {
            return Err(CallError { code: code::INVALID_PARAMS, message: format!("unknown tool '{name}'") });
        };
        let arguments = match params.raw("arguments") {
            Some(text) if text != "null" && !text.starts_with('{') => {
                return Err(CallError::invalid("arguments", "an object"));
            }
            text => Params::read(text.filter(|text| *text != "null"))?,
        };
        // What is wrong with arguments is said where the model that made them sees it.
        let method = match method(tool, &arguments) {
            Ok(method) => method,
            Err(error) => return Ok(Step::Reply(answer::tool_error(&id, version, &error.message))),
        };
        let again = tool.effect != Effect::WritesEachTime;
        let delivery = if again { DeliveryGuarantee::AtLeastOnce } else { DeliveryGuarantee::AtMostOnce };
        Ok(Step::Call(DaemonCall { id, version, method, params: self.daemon_params(tool, &arguments)?, delivery }))
    }

    /// The arguments that the daemon knows, as they were written, and the host's own for those that
    /// are left out.
    fn daemon_params(&self, tool: &Tool, arguments: &Params<'_>) -> Result<Box<RawValue>, CallError> {
        let own = |name: &str| match name {
            "session_id" => Some(self.host.session.as_str()),
            "project" => self.host.project.as_deref(),
            _ => None,
        };
        let mut named = Vec::new();
        for field in tool.arguments().iter().filter(|field| field.name != OPERATION) {
            let given = arguments.raw(field.name).filter(|raw| *raw != "null" || !tool.from_host.contains(&field.name));
            match given {
                Some(text) => {
                    let raw = serde_json::from_str(text).map_err(|e| CallError::invalid(field.name, e))?;
                    named.push((field.name, Argument::Given(raw)));
                }
                None if tool.from_host.contains(&field.name) => {
                    named.extend(own(field.name).map(|text| (field.name, Argument::Own(text))));
                }
                None => {}
            }
        }
        to_raw_value(&Named(named)).map_err(|e| CallError::failed(e.to_string()))
    }

    fn sit_down(&mut self) {
        if self.seat == Seat::Empty {
            self.seat = Seat::JustTaken;
        }
    }
}

fn method(tool: &Tool, arguments: &Params<'_>) -> Result<&'static str, CallError> {
    match tool.method {
        Method::Same => Ok(tool.name),
        Method::Profile => match &*arguments.string(OPERATION)? {
            "get" => Ok("profile_get"),
            "set" => Ok("profile_set"),
            _ => Err(CallError::invalid(OPERATION, "get or set")),
        },
    }
}

/// The version that a request names for itself, or its name where it is not spoken.
fn named_version(params: &Params<'_>) -> Result<Option<Result<Version, String>>, CallError> {
    let Some(meta) = params.raw("_meta").filter(|meta| meta.starts_with('{')) else { return Ok(None) };
    let meta = Params::read(Some(meta))?;
    if meta.raw(VERSION_KEY).is_none() {
        return Ok(None);
    }
    let named = meta.string(VERSION_KEY)?;
    let Some(version) = Version::of_request(&named) else { return Ok(Some(Err(named.into_owned()))) };
    match meta.raw(CAPABILITIES_KEY) {
        Some(capabilities) if capabilities.starts_with('{') => Ok(Some(Ok(version))),
        Some(_) => Err(CallError::invalid(CAPABILITIES_KEY, "an object")),
        None => Err(CallError::missing(CAPABILITIES_KEY)),
    }
}

fn own(id: &Id, version: Version, own: Own) -> Step {
    Step::Reply(answer::own(id, version, own))
}

fn refused(id: Option<&Id>, error: &CallError) -> Step {
    let mut line = Vec::new();
    reply::error(&mut line, id.map(Id::text), error);
    Step::Reply(line)
}

enum Argument<'a> {
    Given(&'a RawValue),
    Own(&'a str),
}

struct Named<'a>(Vec<(&'static str, Argument<'a>)>);

impl Serialize for Argument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Argument::Given(raw) => raw.serialize(serializer),
            Argument::Own(text) => text.serialize(serializer),
        }
    }
}

impl Serialize for Named<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn translator() -> Translator {
        Translator::new(Host { session: "own-session".into(), project: Some("/own/project".into()) })
    }

    fn agreed(version: &str) -> Translator {
        let mut translator = translator();
        let asked = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version}});
        let Value::Object(reply) = said(&mut translator, &asked) else { panic!("no reply") };
        assert_eq!(reply["result"]["protocolVersion"], version);
        translator
    }

    fn step(translator: &mut Translator, message: &Value) -> Step {
        match translator.take(message.to_string().as_bytes()) {
            Steps::One(step) => step,
            Steps::Together(steps) => panic!("{steps:?}"),
        }
    }

    /// The reply that is given at once.
    fn said(translator: &mut Translator, message: &Value) -> Value {
        match step(translator, message) {
            Step::Reply(line) => serde_json::from_slice(line.strip_suffix(b"\n").unwrap()).unwrap(),
            other => panic!("{message}: {other:?}"),
        }
    }

    fn request(method: &str, params: Value) -> Value {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    }

    fn modern(method: &str, mut params: Value) -> Value {
        params["_meta"] = json!({VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}});
        request(method, params)
    }

    fn call(name: &str, arguments: Value) -> Value {
        request("tools/call", json!({"name": name, "arguments": arguments}))
    }

    #[test]
    fn a_tool_becomes_the_daemons_call() {
        let at_least = DeliveryGuarantee::AtLeastOnce;
        let at_most = DeliveryGuarantee::AtMostOnce;
        for (name, arguments, method, params, delivery) in [
            (
                "memory_recall",
                json!({"cue": "a \"b\"", "limit": 3, "unknown": 1}),
                "memory_recall",
                json!({"cue": "a \"b\"", "limit": 3, "project": "/own/project", "session_id": "own-session"}),
                at_least,
            ),
            (
                "memory_capture",
                json!({"text": "x", "session_id": "theirs", "project": ""}),
                "memory_capture",
                json!({"text": "x", "project": "", "session_id": "theirs"}),
                at_least,
            ),
            (
                "memory_capture",
                json!({"session_id": null}),
                "memory_capture",
                json!({"project": "/own/project", "session_id": "own-session"}),
                at_least,
            ),
            ("memory_contradict", json!({"id": 7}), "memory_contradict", json!({"id": 7}), at_most),
            ("memory_reinforce", json!({"ids": []}), "memory_reinforce", json!({"ids": []}), at_most),
            ("memory_consolidate", json!({}), "memory_consolidate", json!({"session_id": "own-session"}), at_most),
            (
                "memory_recall_structural",
                json!({"structure_query": {"who": "user"}}),
                "memory_recall_structural",
                json!({"structure_query": {"who": "user"}}),
                at_least,
            ),
            ("profile_get_set", json!({"operation": "get"}), "profile_get", json!({}), at_least),
            (
                "profile_get_set",
                json!({"operation": "set", "knob": "k", "value": null}),
                "profile_set",
                json!({"knob": "k", "value": null}),
                at_least,
            ),
            ("curiosity_pending", json!({}), "curiosity_pending", json!({}), at_least),
            ("schema_list", json!({"domain": "d"}), "schema_list", json!({"domain": "d"}), at_least),
            ("events_query", json!({"kind": "k"}), "events_query", json!({"kind": "k"}), at_least),
            ("topology", json!({"N": 1}), "topology", json!({}), at_least),
        ] {
            let Step::Call(got) = step(&mut translator(), &call(name, arguments)) else { panic!("{name}: no call") };
            let sent: Value = serde_json::from_str(got.params.get()).unwrap();
            assert_eq!((got.method, sent, got.delivery), (method, params, delivery), "{name}");
        }
    }

    #[test]
    fn arguments_go_on_as_they_were_written() {
        let line = r#"{"jsonrpc":"2.0","id":"\u0041","method":"tools/call","params":{"name":"memory_capture","arguments":{"text":"\u00e9 \ud83d\ude00","part":1.0}}}"#;
        let Steps::One(Step::Call(call)) = translator().take(line.as_bytes()) else { panic!("no call") };
        assert_eq!(call.id.text(), r#""\u0041""#);
        assert!(call.params.get().starts_with(r#"{"text":"\u00e9 \ud83d\ude00","#), "{}", call.params.get());
        assert!(call.params.get().contains(r#""part":1.0"#));
    }

    #[test]
    fn what_is_wrong_with_a_call_is_said_to_whom_it_may_help() {
        let mut translator = agreed("2025-11-25");
        for (message, code, text) in [
            (request("tools/call", json!({})), -32602, "missing required param: 'name'"),
            (request("tools/call", json!({"name": "nothing"})), -32602, "unknown tool 'nothing'"),
            (
                request("tools/call", json!({"name": "topology", "arguments": [1]})),
                -32602,
                "param 'arguments' must be an object",
            ),
            (request("resources/list", json!({})), -32601, "unknown method 'resources/list'"),
            (
                request("server/discover", json!({})),
                -32602,
                "missing required param: 'io.modelcontextprotocol/protocolVersion'",
            ),
            (
                request("tools/list", json!({"cursor": "x"})),
                -32602,
                "param 'cursor' must be absent: the list has one page",
            ),
            (request("initialize", json!({})), -32602, "missing required param: 'protocolVersion'"),
            (
                json!([]),
                -32600,
                "an array of messages is known to protocol version 2025-03-26 alone; send each on a line",
            ),
        ] {
            let got = said(&mut translator, &message);
            assert_eq!((&got["error"]["code"], &got["error"]["message"]), (&json!(code), &json!(text)), "{message}");
        }
        for (arguments, text) in [
            (json!({}), "missing required param: 'operation'"),
            (json!({"operation": "drop"}), "param 'operation' must be get or set"),
        ] {
            let got = said(&mut translator, &call("profile_get_set", arguments));
            let want = json!({"content": [{"type": "text", "text": text}], "isError": true});
            assert_eq!(got["result"], want);
        }
    }

    #[test]
    fn notifications_are_not_answered_and_one_of_them_takes_the_seat() {
        let mut translator = agreed("2025-06-18");
        let note = |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params});
        assert!(!translator.sat_down());
        for (message, cancels) in [
            (note("notifications/whatever", json!({})), None),
            (note("notifications/roots/list_changed", json!([1])), None),
            (note("notifications/cancelled", json!({"requestId": "a", "reason": "r"})), Some("\"a\"")),
            (note("notifications/cancelled", json!({"requestId": 7})), Some("7")),
            (note("notifications/cancelled", json!({"requestId": null})), None),
            (note("notifications/cancelled", json!({})), None),
            (json!({"jsonrpc": "2.0", "id": 3, "result": {}}), None),
        ] {
            match (step(&mut translator, &message), cancels) {
                (Step::Nothing, None) => {}
                (Step::Cancel(id), Some(cancels)) => assert_eq!(id.text(), cancels),
                (other, _) => panic!("{message}: {other:?}"),
            }
        }
        assert!(!translator.sat_down());
        step(&mut translator, &note("notifications/initialized", json!({})));
        assert!(translator.sat_down());
        step(&mut translator, &note("notifications/initialized", json!({})));
        step(&mut translator, &call("topology", json!({})));
        assert!(!translator.sat_down(), "once");
    }

    #[test]
    fn a_request_that_names_its_version_stands_alone() {
        let mut translator = translator();
        let got = said(&mut translator, &modern("server/discover", json!({})));
        let result = &got["result"];
        assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!("public")));
        assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "iaid");
        assert!(result["ttlMs"].is_u64() && result["capabilities"]["tools"].is_object());
        assert!(translator.sat_down());
        let got = said(&mut translator, &modern("tools/list", json!({})));
        assert_eq!((&got["result"]["resultType"], &got["result"]["ttlMs"]), (&json!("complete"), &json!(3_600_000)));
        assert_eq!(said(&mut translator, &modern("ping", json!({})))["error"]["code"], -32601);
        let mut other = modern("tools/list", json!({}));
        other["params"]["_meta"][VERSION_KEY] = json!("1900-01-01");
        let want = json!({"code": -32022, "message": "unsupported protocol version",
            "data": {"supported": ["2026-07-28"], "requested": "1900-01-01"}});
        assert_eq!(said(&mut translator, &other)["error"], want);
        other["params"]["_meta"] = json!({VERSION_KEY: "2026-07-28"});
        assert_eq!(said(&mut translator, &other)["error"]["code"], -32602);
        // What an older client puts there is no version.
        other["params"]["_meta"] = json!({"progressToken": 1});
        assert!(said(&mut translator, &other)["result"].get("resultType").is_none());
        let Step::Call(call) = step(&mut translator, &modern("tools/call", json!({"name": "topology"}))) else {
            panic!("no call")
        };
        assert_eq!(call.version, Version::V2026_07_28);
    }

    #[test]
    fn batches_are_taken_in_the_version_that_has_them() {
        let mut translator = agreed("2025-03-26");
        let ping = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let batch = json!([ping(1), note, 7, call("topology", json!({}))]).to_string();
        let Steps::Together(steps) = translator.take(batch.as_bytes()) else { panic!("no batch") };
        assert!(matches!(steps[..], [Step::Reply(_), Step::Nothing, Step::Reply(_), Step::Call(_)]), "{steps:?}");
        for (batch, text) in [
            (json!([]), "an array of messages must not be empty"),
            (json!(vec![ping(1); 65]), "65 messages in an array are more than 64; send fewer at once"),
        ] {
            let got = said(&mut translator, &batch);
            assert_eq!((&got["id"], &got["error"]["message"]), (&Value::Null, &json!(text)));
        }
    }
}
