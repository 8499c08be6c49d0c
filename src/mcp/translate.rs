//! Decides what to do about a message: reply at once, call the daemon, cancel a call, or nothing. Pure.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::builtin::Builtin;
use super::daemon_call::{DaemonCall, ResultShape};
use super::host::{Host, SessionSource, is_session};
use super::json_text::ObjectText;
use super::message::{self, Id, Incoming, McpMessage, McpRequest};
use super::tool::{Effect, Tool, ToolMethod};
use super::tools::{self, ToolSet};
use super::version::Version;
use super::{arguments, compact, prompts, reply, resources};
use crate::client::DeliveryGuarantee;
use crate::dispatch::{CallError, Params, code};
use crate::wire::reply::error as write_error;

/// Most messages in a batch. Picked: more calls than an assistant makes in a turn.
const MAX_BATCH_MESSAGES: usize = 64;

/// The argument that chooses the method. It is not passed on.
const OPERATION: &str = "operation";

/// The argument with the most tokens of a reply. The daemon counts the texts of hits, the bridge the whole reply.
const BUDGET: &str = "budget_tokens";

/// The key of a request's protocol version in `_meta`.
const VERSION_KEY: &str = "io.modelcontextprotocol/protocolVersion";

/// The key of the client's capabilities in `_meta`. It is required, and its value is not used.
const CAPABILITIES_KEY: &str = "io.modelcontextprotocol/clientCapabilities";

/// The key in `_meta` with the id of the conversation that a call belongs to. Codex starts its servers once for all
/// conversations, without an id in their environment.
const THREAD_KEY: &str = "threadId";

/// What to do about a message.
#[derive(Debug)]
pub(crate) enum MessageAction {
    Nothing,
    /// Answer with this line.
    Reply(Vec<u8>),
    Call(DaemonCall),
    /// Cancel the request with this id.
    Cancel(Id),
}

/// What to do about a line.
#[derive(Debug)]
pub(crate) enum LineActions {
    One(MessageAction),
    /// The replies are written as one array.
    Batch(Vec<MessageAction>),
}

/// The state of the conversation with the client.
#[derive(Debug)]
pub(crate) struct Translator {
    host: Host,
    tools: &'static [Tool],
    /// The protocol version negotiated by `initialize`.
    negotiated: Option<Version>,
    client: ClientState,
}

/// Whether the client has finished its initialization: with the notification `initialized`, or, without
/// a handshake, with its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientState {
    New,
    /// Initialized, and not yet reported by [`Translator::take_initialized`].
    JustInitialized,
    Initialized,
}

impl Translator {
    pub(crate) fn new(host: Host, tools: ToolSet) -> Translator {
        Translator { host, tools: tools.tools(), negotiated: None, client: ClientState::New }
    }

    /// Returns true once: on the first call after the client has finished its initialization.
    pub(crate) fn take_initialized(&mut self) -> bool {
        let just_now = self.client == ClientState::JustInitialized;
        if just_now {
            self.client = ClientState::Initialized;
        }
        just_now
    }

    /// Sets the session that the host has now. An invalid id is ignored.
    pub(crate) fn set_session(&mut self, session: String) {
        if is_session(&session) {
            self.host.session = session;
        }
    }

    /// Decides what to do about a line.
    pub(crate) fn take(&mut self, line: &[u8]) -> LineActions {
        match message::read(line) {
            Incoming::One(message) => LineActions::One(self.act(message)),
            Incoming::Batch(parts) => self.batch(&parts),
        }
    }

    fn batch(&mut self, parts: &[&str]) -> LineActions {
        let why = if !self.negotiated.is_some_and(Version::has_batches) {
            "only protocol version 2025-03-26 has arrays of messages; send each message on a line".to_owned()
        } else if parts.is_empty() {
            "an array of messages must not be empty".to_owned()
        } else if parts.len() > MAX_BATCH_MESSAGES {
            format!("{} messages in an array are more than {MAX_BATCH_MESSAGES}; send fewer at once", parts.len())
        } else {
            return LineActions::Batch(parts.iter().map(|part| self.act(message::one(part))).collect());
        };
        LineActions::One(refused(None, &CallError { code: code::INVALID_REQUEST, message: why }))
    }

    fn act(&mut self, message: McpMessage<'_>) -> MessageAction {
        match message {
            McpMessage::Request(request) => {
                let id = request.id.clone();
                self.request(request).unwrap_or_else(|error| refused(Some(&id), &error))
            }
            McpMessage::Notification(method, params) => self.notification(&method, params),
            McpMessage::Reply => MessageAction::Nothing,
            McpMessage::Invalid(id, error) => refused(id.as_ref(), &error),
        }
    }

    fn notification(&mut self, method: &str, params: Option<&str>) -> MessageAction {
        match method {
            "notifications/initialized" => self.set_initialized(),
            "notifications/cancelled" => {
                let params = Params::read(params).unwrap_or_default();
                if let Some(id) = params.raw("requestId").and_then(Id::param) {
                    return MessageAction::Cancel(id);
                }
            }
            _ => {}
        }
        MessageAction::Nothing
    }

    fn request(&mut self, request: McpRequest<'_>) -> Result<MessageAction, CallError> {
        let params = Params::read(request.params)?;
        let McpRequest { id, method, .. } = request;
        if method == "initialize" {
            let version = Version::negotiate(&params.string("protocolVersion")?);
            self.negotiated = Some(version);
            return Ok(builtin(&id, version, Builtin::Initialize));
        }
        let version = match named_version(&params)? {
            Some(Ok(version)) => {
                self.set_initialized();
                version
            }
            Some(Err(requested)) => return Ok(MessageAction::Reply(reply::unsupported(&id, &requested))),
            None => self.negotiated.unwrap_or(Version::V2025_11_25),
        };
        match &*method {
            "server/discover" if version.is_stateless() => Ok(builtin(&id, version, Builtin::Discover)),
            "server/discover" => Err(CallError::missing(VERSION_KEY)),
            "ping" if !version.is_stateless() => Ok(builtin(&id, version, Builtin::Ping)),
            "tools/list" => match params.string_opt("cursor")? {
                Some(_) => Err(CallError::invalid("cursor", "absent: the list has one page")),
                None => Ok(builtin(&id, version, Builtin::ListTools(self.tools))),
            },
            "prompts/list" => Ok(builtin(&id, version, Builtin::ListPrompts)),
            "prompts/get" => {
                let given = arguments::object(params.raw("arguments"));
                let given = given.ok_or_else(|| CallError::invalid("arguments", "an object"))?;
                let messages = prompts::messages(&params.string("name")?, &Params::read(Some(&given))?)?;
                Ok(builtin(&id, version, Builtin::Prompt(messages)))
            }
            "resources/templates/list" => Ok(builtin(&id, version, Builtin::ListTemplates)),
            "resources/list" => {
                self.set_initialized();
                resource_call(id, version, resources::list_call(self.host.project.as_deref()), ResultShape::Resources)
            }
            "resources/read" => {
                self.set_initialized();
                let uri = params.string("uri")?;
                match resources::read_call(&uri, self.host.project.as_deref()) {
                    Some((kind, call)) => {
                        resource_call(id, version, call, ResultShape::Contents(kind, uri.into_owned()))
                    }
                    None => Ok(MessageAction::Reply(reply::no_resource(&id, version, &uri))),
                }
            }
            "tools/call" => {
                self.set_initialized();
                self.tool_call(id, version, &params)
            }
            _ => Err(CallError::unknown_method(&method)),
        }
    }

    fn tool_call(&self, id: Id, version: Version, params: &Params<'_>) -> Result<MessageAction, CallError> {
        let name = params.string("name")?;
        let Some(tool) = tools::find(self.tools, &name) else {
            return Err(CallError { code: code::INVALID_PARAMS, message: format!("unknown tool '{name}'") });
        };
        let arguments = arguments::object(params.raw("arguments"));
        let arguments = arguments.ok_or_else(|| CallError::invalid("arguments", "an object"))?;
        let arguments = Params::read(Some(&arguments))?;
        // Errors in arguments are returned as tool results, which the model sees.
        let method = match method(tool, &arguments) {
            Ok(method) => method,
            Err(error) => return Ok(MessageAction::Reply(reply::tool_error(&id, version, &error.message))),
        };
        let again = tool.effect != Effect::WritesEachTime;
        let delivery = if again { DeliveryGuarantee::AtLeastOnce } else { DeliveryGuarantee::AtMostOnce };
        let (params, shape) = self.daemon_params(tool, &arguments, self.call_session(params).as_deref())?;
        Ok(MessageAction::Call(DaemonCall { id, version, method, params, delivery, shape }))
    }

    /// Returns the session that a call names in its `_meta`, unless the user has set one.
    fn call_session<'a>(&self, params: &Params<'a>) -> Option<Cow<'a, str>> {
        if self.host.session_source == SessionSource::User {
            return None;
        }
        let meta = params.raw("_meta").filter(|meta| meta.starts_with('{'))?;
        let thread = Params::read(Some(meta)).ok()?.string_opt(THREAD_KEY).ok()??;
        Some(thread).filter(|thread| is_session(thread))
    }

    /// Returns the params for the daemon: the arguments that the tool has, the values of the call's session and of the
    /// host for those that are absent, and what the bridge itself asks for.
    fn daemon_params(
        &self,
        tool: &Tool,
        arguments: &Params<'_>,
        session: Option<&str>,
    ) -> Result<(Box<RawValue>, ResultShape), CallError> {
        let host_value = |name: &str| match name {
            "session_id" => Some(session.unwrap_or(&self.host.session)),
            "project" => self.host.project.as_deref(),
            "project_folder" => self.host.project_folder.as_deref(),
            _ => None,
        };
        let mut params = ObjectText::new();
        let mut shape = ResultShape::Tool;
        for field in tool.arguments().iter().filter(|field| field.name != OPERATION) {
            let mut given = arguments::value(field, arguments);
            if field.name == BUDGET
                && let Some(budget) = given.as_deref().or(field.default).and_then(|text| text.parse::<u32>().ok())
            {
                shape = ResultShape::Recall(budget as usize);
                given = Some(compact::filled(budget as usize).to_string().into());
            }
            match given {
                Some(text) => drop(params.raw(field.name, &text)),
                None if tool.from_host.contains(&field.name) => {
                    if let Some(value) = host_value(field.name) {
                        params.string(field.name, value);
                    }
                }
                None => {}
            }
        }
        let is_absent = |name: &str| arguments.raw(name).is_none_or(|raw| raw == "null");
        let is_field = |name: &str| tool.arguments().iter().any(|field| field.name == name);
        for name in tool.from_host.iter().filter(|name| !is_field(name)) {
            // Of a project that the call names, the host knows no folder.
            if (*name != "project_folder" || is_absent("project"))
                && let Some(value) = host_value(name)
            {
                params.string(name, value);
            }
        }
        for (name, value) in tool.unless_given.iter().filter(|(name, _)| is_absent(name)) {
            params.raw(name, value);
        }
        // A JSON text that was in a string may have several lines; a call to the daemon has one.
        let params = RawValue::from_string(params.end().replace(['\n', '\r'], " "))
            .map_err(|e| CallError::invalid("arguments", e))?;
        Ok((params, shape))
    }

    fn set_initialized(&mut self) {
        if self.client == ClientState::New {
            self.client = ClientState::JustInitialized;
        }
    }
}

/// Returns the call of the daemon that a resource method is answered from.
fn resource_call(
    id: Id,
    version: Version,
    (method, params): resources::ResourceCall,
    shape: ResultShape,
) -> Result<MessageAction, CallError> {
    let params = RawValue::from_string(params).map_err(|e| CallError::failed(e.to_string()))?;
    let delivery = DeliveryGuarantee::AtLeastOnce;
    Ok(MessageAction::Call(DaemonCall { id, version, method, params, delivery, shape }))
}

fn method(tool: &Tool, arguments: &Params<'_>) -> Result<&'static str, CallError> {
    match tool.method {
        ToolMethod::Same => Ok(tool.name),
        ToolMethod::Profile => match &*arguments.string(OPERATION)?.trim().to_ascii_lowercase() {
            "get" => Ok("profile_get"),
            "set" => Ok("profile_set"),
            _ => Err(CallError::invalid(OPERATION, "get or set")),
        },
    }
}

/// Returns the protocol version that a request names, or `Err` with the name of an unsupported one.
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

fn builtin(id: &Id, version: Version, builtin: Builtin) -> MessageAction {
    MessageAction::Reply(reply::builtin(id, version, builtin))
}

fn refused(id: Option<&Id>, error: &CallError) -> MessageAction {
    let mut line = Vec::new();
    write_error(&mut line, id.map(Id::text), error);
    MessageAction::Reply(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn translator() -> Translator {
        let project = Some("/host/project".into());
        Translator::new(
            Host {
                session: "host-session".into(),
                session_source: SessionSource::Other,
                project,
                project_folder: None,
            },
            ToolSet::All,
        )
    }

    fn negotiated(version: &str) -> Translator {
        let mut translator = translator();
        let request =
            json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": version}});
        let Value::Object(reply) = reply_to(&mut translator, &request) else { panic!("no reply") };
        assert_eq!(reply["result"]["protocolVersion"], version);
        translator
    }

    fn action(translator: &mut Translator, message: &Value) -> MessageAction {
        match translator.take(message.to_string().as_bytes()) {
            LineActions::One(action) => action,
            LineActions::Batch(actions) => panic!("{actions:?}"),
        }
    }

    /// Returns the reply to a message that needs no daemon.
    fn reply_to(translator: &mut Translator, message: &Value) -> Value {
        match action(translator, message) {
            MessageAction::Reply(line) => serde_json::from_slice(line.strip_suffix(b"\n").unwrap()).unwrap(),
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
    fn each_tool_becomes_a_daemon_call() {
        let at_least = DeliveryGuarantee::AtLeastOnce;
        let at_most = DeliveryGuarantee::AtMostOnce;
        for (name, arguments, method, params, delivery) in [
            (
                "memory_recall",
                json!({"cue": "a \"b\"", "limit": 3, "unknown": 1}),
                "memory_recall",
                json!({"cue": "a \"b\"", "limit": 3, "budget_tokens": 1350, "passages": true, "project": "/host/project",
                    "session_id": "host-session"}),
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
                json!({"project": "/host/project", "session_id": "host-session"}),
                at_least,
            ),
            ("memory_contradict", json!({"id": [7]}), "memory_contradict", json!({"id": [7]}), at_most),
            (
                "memory_read",
                json!({"id": "r"}),
                "memory_read",
                json!({"id": "r", "bytes": 8192, "project": "/host/project"}),
                at_least,
            ),
            ("memory_reinforce", json!({"ids": []}), "memory_reinforce", json!({"ids": []}), at_most),
            (
                "memory_consolidate",
                json!({}),
                "memory_consolidate",
                json!({"session_id": "host-session", "project": "/host/project"}),
                at_most,
            ),
            (
                "memory_recall_structural",
                json!({"structure_query": {"who": "user"}}),
                "memory_recall_structural",
                json!({"structure_query": {"who": "user"}, "budget_tokens": 1800, "project": "/host/project"}),
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
            ("curiosity_pending", json!({}), "curiosity_pending", json!({"project": "/host/project"}), at_least),
            (
                "schema_list",
                json!({"domain": "d"}),
                "schema_list",
                json!({"domain": "d", "project": "/host/project"}),
                at_least,
            ),
            (
                "events_query",
                json!({"kind": "k"}),
                "events_query",
                json!({"kind": "k", "project": "/host/project"}),
                at_least,
            ),
            ("topology", json!({"N": 1}), "topology", json!({}), at_least),
        ] {
            let MessageAction::Call(got) = action(&mut translator(), &call(name, arguments)) else {
                panic!("{name}: no call")
            };
            let sent: Value = serde_json::from_str(got.params.get()).unwrap();
            assert_eq!((got.method, sent, got.delivery), (method, params, delivery), "{name}");
        }
    }

    #[test]
    fn a_call_belongs_to_the_thread_that_its_meta_names() {
        let long = "x".repeat(129);
        use SessionSource::{ClaudeCode, Other, User};
        for (meta, arguments, session_source, want) in [
            (json!({"threadId": "t-1", "progressToken": 1}), json!({}), Other, "t-1"),
            (json!({"threadId": "t-1"}), json!({"session_id": null}), Other, "t-1"),
            (json!({"threadId": "t-1"}), json!({"session_id": "theirs"}), Other, "theirs"),
            (json!({"threadId": "t-1"}), json!({}), User, "host-session"),
            (json!({"threadId": ""}), json!({}), Other, "host-session"),
            (json!({"threadId": "two words"}), json!({}), Other, "host-session"),
            (json!({"threadId": long}), json!({}), Other, "host-session"),
            (json!({"threadId": 7}), json!({}), Other, "host-session"),
            (json!({"threadId": null}), json!({}), Other, "host-session"),
            (json!({}), json!({}), ClaudeCode, "host-session"),
            (json!([1]), json!({}), Other, "host-session"),
        ] {
            let mut translator = Translator::new(
                Host { session: "host-session".into(), session_source, project: None, project_folder: None },
                ToolSet::All,
            );
            let mut message = call("memory_capture", arguments);
            message["params"]["_meta"] = meta;
            let MessageAction::Call(got) = action(&mut translator, &message) else { panic!("{message}: no call") };
            let sent: Value = serde_json::from_str(got.params.get()).unwrap();
            assert_eq!(sent["session_id"], want, "{message}");
        }
        let mut translator = translator();
        for (session, want) in [("s-2", "s-2"), ("", "s-2"), ("two words", "s-2"), ("s-3", "s-3")] {
            translator.set_session(session.into());
            let MessageAction::Call(got) = action(&mut translator, &call("memory_capture", json!({}))) else {
                panic!("no call")
            };
            assert_eq!(serde_json::from_str::<Value>(got.params.get()).unwrap()["session_id"], want);
        }
    }

    #[test]
    fn arguments_are_passed_on_byte_for_byte() {
        let line = r#"{"jsonrpc":"2.0","id":"\u0041","method":"tools/call","params":{"name":"memory_capture","arguments":{"text":"\u00e9 \ud83d\ude00","part":1.0}}}"#;
        let LineActions::One(MessageAction::Call(call)) = translator().take(line.as_bytes()) else { panic!("no call") };
        assert_eq!(call.id.text(), r#""\u0041""#);
        assert!(call.params.get().starts_with(r#"{"text":"\u00e9 \ud83d\ude00","#), "{}", call.params.get());
        assert!(call.params.get().contains(r#""part":1.0"#));
    }

    #[test]
    fn errors_in_requests_and_in_arguments_are_reported_differently() {
        let mut translator = negotiated("2025-11-25");
        for (message, code, text) in [
            (request("tools/call", json!({})), -32602, "missing required param: 'name'"),
            (request("tools/call", json!({"name": "nothing"})), -32602, "unknown tool 'nothing'"),
            (
                request("tools/call", json!({"name": "topology", "arguments": [1]})),
                -32602,
                "param 'arguments' must be an object",
            ),
            (request("completion/complete", json!({})), -32601, "unknown method 'completion/complete'"),
            (request("prompts/get", json!({"name": "x"})), -32602, "unknown prompt 'x'"),
            (request("prompts/get", json!({"name": "recall"})), -32602, "missing required param: 'about'"),
            (
                request("resources/read", json!({"uri": "iaid://x"})),
                -32002,
                "no such resource: only iaid://record/ID and iaid://session/ID",
            ),
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
            (json!([]), -32600, "only protocol version 2025-03-26 has arrays of messages; send each message on a line"),
        ] {
            let got = reply_to(&mut translator, &message);
            assert_eq!((&got["error"]["code"], &got["error"]["message"]), (&json!(code), &json!(text)), "{message}");
        }
        for (arguments, text) in [
            (json!({}), "missing required param: 'operation'"),
            (json!({"operation": "drop"}), "param 'operation' must be get or set"),
        ] {
            let got = reply_to(&mut translator, &call("profile_get_set", arguments));
            let want = json!({"content": [{"type": "text", "text": text}], "isError": true});
            assert_eq!(got["result"], want);
        }
    }

    #[test]
    fn notifications_are_not_answered_and_one_of_them_ends_the_initialization() {
        let mut translator = negotiated("2025-06-18");
        let note = |method: &str, params: Value| json!({"jsonrpc": "2.0", "method": method, "params": params});
        assert!(!translator.take_initialized());
        for (message, cancels) in [
            (note("notifications/whatever", json!({})), None),
            (note("notifications/roots/list_changed", json!([1])), None),
            (note("notifications/cancelled", json!({"requestId": "a", "reason": "r"})), Some("\"a\"")),
            (note("notifications/cancelled", json!({"requestId": 7})), Some("7")),
            (note("notifications/cancelled", json!({"requestId": null})), None),
            (note("notifications/cancelled", json!({})), None),
            (json!({"jsonrpc": "2.0", "id": 3, "result": {}}), None),
        ] {
            match (action(&mut translator, &message), cancels) {
                (MessageAction::Nothing, None) => {}
                (MessageAction::Cancel(id), Some(cancels)) => assert_eq!(id.text(), cancels),
                (other, _) => panic!("{message}: {other:?}"),
            }
        }
        assert!(!translator.take_initialized());
        action(&mut translator, &note("notifications/initialized", json!({})));
        assert!(translator.take_initialized());
        action(&mut translator, &note("notifications/initialized", json!({})));
        action(&mut translator, &call("topology", json!({})));
        assert!(!translator.take_initialized(), "once");
    }

    #[test]
    fn a_request_that_names_its_version_needs_no_handshake() {
        let mut translator = translator();
        let got = reply_to(&mut translator, &modern("server/discover", json!({})));
        let result = &got["result"];
        assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!((&result["resultType"], &result["cacheScope"]), (&json!("complete"), &json!("public")));
        assert_eq!(result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "iaid");
        assert!(result["ttlMs"].is_u64() && result["capabilities"]["tools"].is_object());
        assert!(translator.take_initialized());
        let got = reply_to(&mut translator, &modern("tools/list", json!({})));
        assert_eq!((&got["result"]["resultType"], &got["result"]["ttlMs"]), (&json!("complete"), &json!(3_600_000)));
        assert_eq!(reply_to(&mut translator, &modern("ping", json!({})))["error"]["code"], -32601);
        let mut other = modern("tools/list", json!({}));
        other["params"]["_meta"][VERSION_KEY] = json!("1900-01-01");
        let want = json!({"code": -32022, "message": "unsupported protocol version",
            "data": {"supported": ["2026-07-28"], "requested": "1900-01-01"}});
        assert_eq!(reply_to(&mut translator, &other)["error"], want);
        other["params"]["_meta"] = json!({VERSION_KEY: "2026-07-28"});
        assert_eq!(reply_to(&mut translator, &other)["error"]["code"], -32602);
        // The `_meta` of an older client has no version.
        other["params"]["_meta"] = json!({"progressToken": 1});
        assert!(reply_to(&mut translator, &other)["result"].get("resultType").is_none());
        let MessageAction::Call(call) = action(&mut translator, &modern("tools/call", json!({"name": "topology"})))
        else {
            panic!("no call")
        };
        assert_eq!(call.version, Version::V2026_07_28);
    }

    #[test]
    fn batches_are_accepted_in_one_version() {
        let mut translator = negotiated("2025-03-26");
        let ping = |id: u32| json!({"jsonrpc": "2.0", "id": id, "method": "ping"});
        let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        let batch = json!([ping(1), note, 7, call("topology", json!({}))]).to_string();
        let LineActions::Batch(actions) = translator.take(batch.as_bytes()) else { panic!("no batch") };
        assert!(
            matches!(
                actions[..],
                [MessageAction::Reply(_), MessageAction::Nothing, MessageAction::Reply(_), MessageAction::Call(_)]
            ),
            "{actions:?}"
        );
        for (batch, text) in [
            (json!([]), "an array of messages must not be empty"),
            (json!(vec![ping(1); 65]), "65 messages in an array are more than 64; send fewer at once"),
        ] {
            let got = reply_to(&mut translator, &batch);
            assert_eq!((&got["id"], &got["error"]["message"]), (&Value::Null, &json!(text)));
        }
    }
}
