//! The wire contract as pure code: bytes in, bytes out, and nothing else.
//!
//! ```text
//!   socket bytes → LineBuffer → Message → Request ─┐
//!                  └───────── Session ─────────────┤ whoever serves
//!   socket bytes ← output ← replies ←──────────────┘
//! ```
//!
//! No file, socket, thread or clock is used in this room. Its caller reads and writes the socket,
//! decides who answers a request, and tells the [`session::Session`] what came of it.

pub mod control;
pub mod json;
pub mod line;
pub mod message;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod properties;
pub mod reply;
pub mod scan;
pub mod session;
