//! Helpers that several commands share: output, errors, logging, files and values.

pub(crate) mod assistants;
pub(crate) mod capture_gate;
pub(crate) mod config;
pub(crate) mod console;
pub(crate) mod control_message;
pub(crate) mod error;
pub(crate) mod files;
pub(crate) mod lines;
pub(crate) mod log_limit;
pub(crate) mod logging;
pub(crate) mod paths;
pub(crate) mod pretty;
pub(crate) mod program;
pub(crate) mod progress;
pub(crate) mod project_finder;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod times;
pub(crate) mod transcript_file;
pub(crate) mod values;
