//! Sleep and waking: the state machine, and the file that keeps what it was asked.
//!
//! The machine is pure. This room says when something is to be done, never what that is.

#[cfg(feature = "daemon")]
pub mod heartbeats;
#[cfg(feature = "daemon")]
pub mod keeper;
pub mod machine;
#[cfg(feature = "daemon")]
pub mod state_file;
