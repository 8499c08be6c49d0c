//! From what is handed in to records: the params of a capture, and the files that hooks leave for the daemon.

pub(crate) mod capture_params;
pub(crate) mod drain;
pub mod spool;
pub(crate) mod spool_file;
