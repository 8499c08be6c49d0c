//! Export and import of the store as rows, backup of its file, integrity check, and a write probe.
//!
//! Rows (`export_row.rs`) have all that was stored and nothing that is derived: no index, no hash, no row number. An
//! empty store that imports an export gives the same export again, byte for byte. An import changes no existing row
//! except that it ends a record's validity.

pub(crate) mod backup;
pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod export_row;
pub(crate) mod import;
pub(crate) mod import_row;
pub(crate) mod maintenance_lock;
pub(crate) mod opencode;
pub(crate) mod probe;
pub(crate) mod restore;
