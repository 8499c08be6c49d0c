//! Relations between records: links, contradictions, patterns, co-occurring terms, and metrics of the link graph.

pub(crate) mod contradictions;
pub(crate) mod cooccurrence;
pub(crate) mod links;
pub(crate) mod metrics;
pub(crate) mod patterns;
