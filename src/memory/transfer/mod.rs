//! Moving in and out: the store as rows, a copy of its file, and a look at whether it is sound.
//!
//! Rows carry everything that was given in (`row.rs` says how each looks) and nothing that can be made
//! anew: no index, no hash, no number of the store's own. What a store gave, an empty one takes and
//! gives again byte for byte. Nothing here changes what is already there.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod export_row;
pub(crate) mod gate;
pub(crate) mod import;
pub(crate) mod import_row;
pub(crate) mod probe;
