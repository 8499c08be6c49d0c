//! `iaid`: a memory daemon for AI assistants, and the server it is built on.
//!
//! # A server of your own
//!
//! The crate without its default feature `daemon` is a server for newline-delimited JSON-RPC 2.0 on
//! a Unix socket: a single-threaded event loop in front of a small pool of workers. Bring a
//! [`dispatch::Dispatch`], get the loop:
//!
//! ```no_run
//! use iaid::dispatch::{Dispatch, Pace, Params, Reply};
//! use iaid::serve::Server;
//! use iaid::sys::listener::Listener;
//!
//! struct Echo;
//!
//! impl Dispatch for Echo {
//!     type Worker = ();
//!     fn worker(&self) {}
//!     fn method(&self, name: &str) -> Option<Pace> {
//!         (name == "echo").then_some(Pace::Ordered)
//!     }
//!     fn call(&self, _: &mut (), _: &str, params: Params<'_>, reply: Reply<'_>) {
//!         reply.send(params.string("text"));
//!     }
//! }
//!
//! let listener = Listener::bind("/run/user/1000/echo.sock".as_ref())?;
//! Server::new(listener, Echo)?.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The bytes on their way
//!
//! ```text
//!   socket → line → message → route ─┬─ answered by the loop ────────────────────────────────┐
//!                                    └─ job → worker → Dispatch → result → queue + waker ────┴→ reply → socket
//! ```
//!
//! [`wire`] is pure and knows no socket; [`sys`] holds the only `unsafe` code; [`serve`] is the
//! loop; [`client`] is the blocking other end. [`limits`] names every bound.
//!
//! # The daemon
//!
//! With the feature `daemon`, `memory` keeps records verbatim in one SQLite file, [`lifecycle`]
//! knows when to sleep, `mcp` is the bridge for assistants, `daemon` puts it together and `cli` is the
//! command line. It uses nothing
//! of the server that you cannot.

#[cfg(feature = "daemon")]
pub mod cli;
pub mod client;
#[cfg(feature = "daemon")]
pub mod daemon;
pub mod dispatch;
pub mod lifecycle;
pub mod limits;
#[cfg(feature = "daemon")]
pub mod mcp;
#[cfg(feature = "daemon")]
pub mod memory;
pub mod serve;
pub mod sys;
#[cfg(feature = "daemon")]
pub mod transcript;
pub mod wire;
