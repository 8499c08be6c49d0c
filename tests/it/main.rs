//! Tests of the built binary through its command line, its socket and its files.

// No crate imports a test.
#![allow(unreachable_pub)]

mod also;
mod assistants;
mod bad_input;
mod bad_targets;
#[cfg(target_os = "linux")]
mod bounds;
mod cli;
mod clock;
mod disk;
mod docs;
mod doctor;
mod ending;
mod faults;
mod footprint;
mod forget;
mod forgotten;
mod harness;
mod hits;
mod hooks;
mod install;
mod install_edits;
mod json;
mod knobs;
mod languages;
mod layers;
mod lifecycle;
mod linux_faults;
mod litestream;
mod log;
mod lost_file;
mod masking;
mod mcp;
mod memory;
mod methods;
mod moving;
mod names;
mod odd_files;
mod os;
mod passages;
mod peer;
mod plane;
mod prompt_recall;
mod query_plans;
mod reindex;
mod report;
mod restore;
mod scope;
mod security;
mod serve;
mod shell;
#[cfg(target_os = "linux")]
mod shim;
mod sizes;
mod skip;
mod small;
mod spellings;
mod spool;
mod stdio;
mod store;
mod sync;
mod sys;
mod time;
mod told;
mod transcripts;
mod unheard;
mod watch;
mod wire;
