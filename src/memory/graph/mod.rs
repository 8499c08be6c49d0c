//! What connects records: links, contradictions, patterns, co-occurring terms, and the figures of the whole.

pub(crate) mod contradictions;
pub(crate) mod cooccurrence;
pub(crate) mod links;
pub(crate) mod metrics;
pub(crate) mod patterns;
