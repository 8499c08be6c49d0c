//! Turns input into records: the params of a capture, and the files of deferred captures that hooks leave.

pub(crate) mod capture_params;
pub(crate) mod drain;
pub(crate) mod drain_report;
pub(crate) mod masked_text;
pub(crate) mod pending_turns;
pub mod spool;
pub(crate) mod spool_file;
pub(crate) mod turn;
