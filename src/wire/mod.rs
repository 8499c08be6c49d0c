//! The wire protocol as pure code: bytes in, bytes out.
//!
//! ```text
//!   socket bytes → LineBuffer → Message → Request ─┐
//!                  └───────── Session ─────────────┤ server
//!   socket bytes ← output ← replies ←──────────────┘
//! ```
//!
//! This module uses no file, socket, thread or clock.
//!
//! Caller's contract: it reads and writes the socket, decides where each request is answered, and reports
//! the outcome to the `session::Session`.

pub mod control;
pub(crate) mod escape;
pub(crate) mod json;
#[doc(hidden)]
pub mod line;
#[cfg(any(feature = "daemon", test, fuzzing))]
pub(crate) mod members;
#[doc(hidden)]
pub mod message;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod properties;
pub mod reply;
pub(crate) mod scan;
pub(crate) mod session;
