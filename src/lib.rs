//! `iaid`: a memory daemon for AI assistants, and the server it is built on.
//!
//! # A server of your own
//!
//! Without its default feature `daemon` the crate is a server for newline-delimited JSON-RPC 2.0 on
//! a Unix socket: a single-threaded event loop in front of a small pool of workers. Implement
//! [`dispatch::Dispatch`] and run [`serve::Server`]:
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
//! # Data flow
//!
//! ```text
//!   socket → line → message → route ─┬─ answered by the loop ────────────────────────────────┐
//!                                    └─ job → worker → Dispatch → result → queue + waker ────┴→ reply → socket
//! ```
//!
//! # Modules
//!
//! In reading order; a module imports only modules above it.
//!
//! | module | contents |
//! |---|---|
//! | [`limits`] | every limit of the server in one struct |
//! | [`wire`] | bytes to requests and replies to bytes, without sockets, threads or clocks |
//! | [`dispatch`] | the trait that answers calls, their params and replies |
//! | [`sys`] | the listener, inherited descriptors, service notifications; the only `unsafe` code |
//! | [`serve`] | the event loop, its workers, and the control plane's trait |
//! | [`client`] | a blocking client |
//!
//! # Features
//!
//! | feature | default | contents |
//! |---|---|---|
//! | `daemon` | yes | the memory daemon and its command line `iaid`: `lifecycle` (when to sleep), `transcript` (transcripts of assistants), `memory` (records in one SQLite file), `mcp` (the bridge for assistants), `daemon`, `cli`, and their dependencies |
//!
//! Without it the crate is the server alone, on libc, log, memchr, mio, serde, serde_json and slab. The daemon's
//! modules are hidden from this documentation, and may change in any release.

pub mod limits;
pub mod wire;

#[cfg(feature = "daemon")]
mod fingerprint;
mod oneshot;
#[cfg(feature = "daemon")]
mod repository;
#[cfg(feature = "daemon")]
mod sort;

pub mod dispatch;

#[doc(hidden)]
pub mod lifecycle;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod secrets;
#[cfg(feature = "daemon")]
mod tokens;
#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod transcript;

#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod memory;

pub mod sys;

pub mod serve;

pub mod client;

#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod mcp;

#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod daemon;

#[cfg(feature = "daemon")]
#[doc(hidden)]
pub mod cli;
