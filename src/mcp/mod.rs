//! `iaid mcp`: the daemon's memory as tools of the Model Context Protocol, over standard input and
//! output.
//!
//! Translation is pure: a line becomes steps (`message.rs`, `translate.rs`), what the daemon says
//! becomes a reply (`answer.rs`), in each version of the protocol as that one has it (`version.rs`).
//! The loop around it (`bridge.rs`, `caller.rs`) owns threads and connections. Nothing here keeps
//! records or starts a daemon, and `initialize` and `tools/list` need none.

mod answer;
mod bridge;
mod caller;
mod calls;
mod daemon_call;
mod host;
mod message;
mod schema;
mod tools;
mod translate;
mod version;

pub use self::bridge::{Options, serve};
pub use self::host::Host;
