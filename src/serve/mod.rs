//! The server: a single-threaded mio loop in front of a small pool of workers.
//!
//! ```text
//!   socket → Session → route ─┬─ answered by the loop ─────────────┐
//!                             └─ Batch → Pool → Dispatch → Outcome ┴→ Session → socket
//! ```
//!
//! One thread owns every connection and the control plane; no lock guards either. mio is named in
//! this room alone.

mod accept;
mod connection;
mod event_loop;
mod ledger;
mod lookout;
pub mod plane;
mod pool;
mod route;
mod server;
pub mod stdio;
mod tally;
mod timers;

pub use server::{Handle, Server};
