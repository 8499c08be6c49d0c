//! Consolidation: the steps of a cycle, run on the writer in chunks of at most 20 ms so that other writes are not
//! delayed.

pub(crate) mod associate;
pub(crate) mod caches;
pub(crate) mod chunks;
pub(crate) mod cooccurrence;
pub(crate) mod cycle;
pub(crate) mod decay;
pub(crate) mod holders;
pub(crate) mod induce;
pub(crate) mod maintenance;
pub(crate) mod optimize;
pub(crate) mod precompute;
pub(crate) mod progress;
pub(crate) mod reindex;
pub(crate) mod step;
pub(crate) mod vocabulary;
