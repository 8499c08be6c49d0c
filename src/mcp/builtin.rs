//! Results that the bridge knows without the daemon: who the server is, and which tools there are. Pure.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::tool::Tool;
use super::tools::{INSTRUCTIONS, TOOLS};
use super::version::{PER_REQUEST, Version};

/// How long a client may cache the list of tools, in milliseconds: an hour. The list changes only with the
/// program.
const CACHE_MS: u32 = 3_600_000;

/// A request that is answered without the daemon.
pub(crate) enum Builtin {
    /// `initialize`
    Initialize,
    /// `server/discover`
    Discover,
    /// `tools/list`
    ListTools,
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
                serialize_caching(&mut map)?;
            }
            Builtin::ListTools => {
                map.serialize_entry("tools", &Definitions(*version))?;
                if version.is_stateless() {
                    serialize_caching(&mut map)?;
                }
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

/// Writes how long a result may be cached, and that any client may share it: it has no user data.
fn serialize_caching<M: SerializeMap>(map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("ttlMs", &CACHE_MS)?;
    map.serialize_entry("cacheScope", "public")
}

/// The server has tools, and their list does not change while it runs.
#[derive(Default, Serialize)]
struct Capabilities {
    tools: Empty,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Largest list of tools in the oldest version, in bytes. Every session of an assistant pays for it in
    /// tokens.
    const MAX_TOOL_LIST_BYTES: usize = 7599;

    #[test]
    fn the_list_of_tools_stays_short() {
        let list = serde_json::to_string(&Definitions(Version::V2024_11_05)).unwrap();
        assert!(list.len() <= MAX_TOOL_LIST_BYTES, "{} bytes", list.len());
    }
}
