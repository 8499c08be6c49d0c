//! The description of a tool: its words, types, effect, and the daemon's method behind it.

use serde::Serialize;

use super::json_schema::{JsonSchema, SchemaField};

/// A tool that the bridge offers.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Text for the model: when to use the tool, when not, and what it returns.
    pub(crate) description: &'static str,
    /// The type of the arguments, an object.
    pub(crate) input: JsonSchema,
    /// The type of the result.
    pub(crate) output: JsonSchema,
    pub(crate) effect: Effect,
    pub(crate) method: ToolMethod,
    /// Params that, if the arguments do not have them, are taken from the host: its session, its project, and its folder in
    /// that.
    pub(crate) from_host: &'static [&'static str],
    /// Params that the bridge sends unless the arguments have them: names and JSON texts.
    pub(crate) unless_given: &'static [(&'static str, &'static str)],
}

/// What a call of a tool changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing.
    Reads,
    /// It adds or sets something; repeating the call changes nothing more.
    WritesOnce,
    /// Each call changes something, repeated ones too.
    WritesEachTime,
}

/// The method of the daemon that carries out a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolMethod {
    /// The method with the tool's name.
    Same,
    /// `profile_get` or `profile_set`, by the argument `operation`.
    Profile,
}

/// MCP's hints about a tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Annotations {
    title: &'static str,
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
    open_world_hint: bool,
}

impl Tool {
    /// Returns the fields of the arguments.
    pub(crate) fn arguments(&self) -> &'static [SchemaField] {
        match self.input {
            JsonSchema::Object(fields) => fields,
            _ => &[],
        }
    }

    /// Returns the hints. No tool is destructive, since records are kept, and none acts outside this machine.
    pub(crate) fn annotations(&self) -> Annotations {
        Annotations {
            title: self.title,
            read_only_hint: self.effect == Effect::Reads,
            destructive_hint: false,
            idempotent_hint: self.effect != Effect::WritesEachTime,
            open_world_hint: false,
        }
    }
}
