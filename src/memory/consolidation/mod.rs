//! Consolidation: the steps of a cycle, run in short chunks on the writer while the memory is not used.

pub(crate) mod associate;
pub(crate) mod cooccurrence;
pub(crate) mod cycle;
pub(crate) mod decay;
pub(crate) mod induce;
pub(crate) mod maintenance;
pub(crate) mod optimize;
pub(crate) mod precompute;
pub(crate) mod reindex;
pub(crate) mod step;
pub(crate) mod vocabulary;
