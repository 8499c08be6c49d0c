//! Results that the bridge knows without the daemon: who the server is, and what it offers. Pure.

use serde::Serialize;
use serde::ser::{Error, SerializeMap, Serializer};
use serde_json::value::RawValue;

use super::instructions::INSTRUCTIONS;
use super::tool::Tool;

use super::version::{PER_REQUEST, Version};
use super::{prompts, resources};

/// How long a client may cache a list, in milliseconds: an hour. The lists change only with the program.
const CACHE_MS: u32 = 3_600_000;

/// A request that is answered without the daemon.
pub(crate) enum Builtin {
    /// `initialize`
    Initialize,
    /// `server/discover`
    Discover,
    /// `tools/list`, of these tools.
    ListTools(&'static [Tool]),
    /// `prompts/list`
    ListPrompts,
    /// `prompts/get`: its messages, a JSON text.
    Prompt(String),
    /// `resources/templates/list`
    ListTemplates,
    /// `ping`
    Ping,
}

/// The result of a [`Builtin`] in a protocol version.
pub(crate) struct BuiltinResult<'a>(pub(crate) Version, pub(crate) &'a Builtin);

impl Serialize for BuiltinResult<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let BuiltinResult(version, builtin) = self;
        let mut map = serializer.serialize_map(None)?;
        serialize_result_header(&mut map, *version)?;
        match builtin {
            Builtin::Ping => {}
            Builtin::Initialize => {
                map.serialize_entry("protocolVersion", version.name())?;
                map.serialize_entry("capabilities", &Capabilities::default())?;
                map.serialize_entry("serverInfo", &ServerInfo::new(*version))?;
                map.serialize_entry("instructions", INSTRUCTIONS)?;
            }
            Builtin::Discover => {
                map.serialize_entry("supportedVersions", &PER_REQUEST)?;
                map.serialize_entry("capabilities", &Capabilities::default())?;
                map.serialize_entry("instructions", INSTRUCTIONS)?;
                serialize_caching(&mut map, *version, Sharing::Public)?;
            }
            Builtin::ListTools(tools) => {
                map.serialize_entry("tools", &Definitions(*version, tools))?;
                serialize_caching(&mut map, *version, Sharing::Public)?;
            }
            Builtin::ListPrompts => {
                serialize_json(&mut map, "prompts", prompts::PROMPTS)?;
                serialize_caching(&mut map, *version, Sharing::Public)?;
            }
            Builtin::Prompt(messages) => serialize_json(&mut map, "messages", messages)?,
            Builtin::ListTemplates => {
                serialize_json(&mut map, "resourceTemplates", resources::TEMPLATES)?;
                serialize_caching(&mut map, *version, Sharing::Public)?;
            }
        }
        map.end()
    }
}

/// Writes the entries that every result has in versions without a handshake.
pub(crate) fn serialize_result_header<M: SerializeMap>(map: &mut M, version: Version) -> Result<(), M::Error> {
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

/// Whether a result has data of the user.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// It has none and does not change: any client may share it.
    Public,
    Private,
}

/// Writes how long a result may be cached, in versions that have this.
pub(crate) fn serialize_caching<M: SerializeMap>(
    map: &mut M,
    version: Version,
    sharing: Sharing,
) -> Result<(), M::Error> {
    let (ttl_ms, scope) = if sharing == Sharing::Public { (CACHE_MS, "public") } else { (0, "private") };
    if version.is_stateless() {
        map.serialize_entry("ttlMs", &ttl_ms)?;
        map.serialize_entry("cacheScope", scope)?;
    }
    Ok(())
}

/// Writes a member whose value is a JSON text.
pub(crate) fn serialize_json<M: SerializeMap>(map: &mut M, name: &str, json: &str) -> Result<(), M::Error> {
    let json: &RawValue = serde_json::from_str(json).map_err(M::Error::custom)?;
    map.serialize_entry(name, json)
}

/// What the server has. Its lists do not change while it runs, or the client is not told.
#[derive(Default, Serialize)]
struct Capabilities {
    tools: Empty,
    prompts: Empty,
    resources: Empty,
}

#[derive(Default, Serialize)]
struct Empty {}

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

struct Definitions(Version, &'static [Tool]);

struct Definition(Version, &'static Tool);

impl Serialize for Definitions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.1.iter().map(|tool| Definition(self.0, tool)))
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

#[cfg(test)]
mod tests {
    use super::super::tools::{TOOLS, ToolSet};
    use super::*;

    /// Largest list of tools in the oldest version, in bytes. Every session of an assistant pays for it in
    /// tokens.
    const MAX_TOOL_LIST_BYTES: usize = 7599;

    /// The same of `--tools core`. Picked: what the five need.
    const MAX_CORE_LIST_BYTES: usize = 4900;

    #[test]
    fn the_list_of_tools_stays_short() {
        let bytes = |tools| serde_json::to_string(&Definitions(Version::V2024_11_05, tools)).unwrap().len();
        assert!(bytes(TOOLS) <= MAX_TOOL_LIST_BYTES, "{} bytes", bytes(TOOLS));
        let core = bytes(ToolSet::Core.tools());
        assert!(core <= MAX_CORE_LIST_BYTES, "{core} bytes");
    }
}
