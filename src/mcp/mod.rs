//! `iaid mcp`: the daemon's memory as tools of the Model Context Protocol, over standard input and
//! output.
//!
//! Translation is pure. `message.rs` parses a line, `translate.rs` decides what to do about it,
//! `builtin.rs` and `reply.rs` write replies, each in the client's protocol version (`version.rs`).
//! `arguments.rs` converts the arguments of a call, `compact.rs` shortens the result of a recall.
//! `json_schema.rs`, `tool.rs` and `tools.rs` describe the tools, `prompts.rs` and `resources.rs` the rest of what is
//! offered. The threads and connections around it
//! start in `bridge.rs`: `reader.rs` reads lines, `call_queue.rs` hands them to the threads of
//! `caller_pool.rs` and `caller.rs`. This module keeps no records and starts no daemon; `initialize`
//! and `tools/list` are answered without one.

mod arguments;
mod bridge;
mod bridge_state;
mod builtin;
mod call_queue;
mod caller;
mod caller_pool;
mod compact;
mod daemon_call;
mod heartbeat;
mod host;
mod instructions;
mod json_schema;
mod json_text;
mod message;
mod output;
mod pending_calls;
mod prompts;
mod reader;
mod reply;
mod resources;
mod tool;
mod tools;
mod translate;
mod version;

pub use self::bridge::{BridgeOptions, serve};
pub use self::host::{Host, SessionSource};
pub use self::tools::ToolSet;
