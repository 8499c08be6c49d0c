//! The server: a single-threaded mio loop in front of a small pool of workers.
//!
//! ```text
//!   socket → Session → route ─┬─ answered by the loop ─────────────┐
//!                             └─ Batch → Pool → Dispatch → Outcome ┴→ Session → socket
//! ```
//!
//! One thread owns every connection and the control plane; no lock guards either. Only this module
//! uses mio.

mod acceptor;
mod busy_poll;
mod connection;
mod connection_id;
mod connection_table;
pub mod control_plane;
mod event;
mod event_loop;
mod memory_budget;
mod metrics;
mod pool;
mod route;
mod server;
pub mod stdio;
mod timers;

pub use server::{Handle, Server};
