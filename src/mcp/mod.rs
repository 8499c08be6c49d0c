//! `iaid mcp`: the daemon's memory as tools of the Model Context Protocol, over standard input and
//! output.
//!
//! Translation is pure. `message.rs` parses a line, `translate.rs` decides what to do about it,
//! `builtin.rs` and `reply.rs` write replies, each in the client's protocol version (`version.rs`).
//! `json_schema.rs`, `tool.rs` and `tools.rs` describe the tools. The threads and connections around it
//! start in `bridge.rs`: `reader.rs` reads lines, `call_queue.rs` hands them to the threads of
//! `caller_pool.rs` and `caller.rs`. This module keeps no records and starts no daemon; `initialize`
//! and `tools/list` are answered without one.

mod bridge;
mod bridge_state;
mod builtin;
mod call_queue;
mod caller;
mod caller_pool;
mod daemon_call;
mod heartbeat;
mod host;
mod json_schema;
mod message;
mod output;
mod pending_calls;
mod reader;
mod reply;
mod tool;
mod tools;
mod translate;
mod version;

pub use self::bridge::{BridgeOptions, serve};
pub use self::host::{Host, SessionSource};
