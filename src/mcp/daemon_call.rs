//! A request of the client as a request to the daemon.

use serde_json::value::RawValue;

use super::message::Id;
use super::resources::ResourceKind;
use super::version::Version;
use crate::client::DeliveryGuarantee;

/// A request that the daemon carries out for the client's request `id`.
#[derive(Debug)]
pub(crate) struct DaemonCall {
    pub(crate) id: Id,
    /// The protocol version in which the client is answered.
    pub(crate) version: Version,
    /// The daemon's method.
    pub(crate) method: &'static str,
    /// A JSON object.
    pub(crate) params: Box<RawValue>,
    pub(crate) delivery: DeliveryGuarantee,
    pub(crate) shape: ResultShape,
}

/// What the daemon's result is made into.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ResultShape {
    /// The result of a tool, unchanged.
    Tool,
    /// The result of a tool, shortened to this budget of tokens.
    Recall(usize),
    /// The list of resources.
    Resources,
    /// The contents of the resource at this URI.
    Contents(ResourceKind, String),
}
