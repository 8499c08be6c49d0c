//! Sleep and waking: the state machine, the file that keeps what it was asked, and the journal.
//!
//! The machine is pure. This room says when something is to be done, never what that is.

#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod keeper;
pub mod machine;
#[cfg(feature = "daemon")]
pub mod quiet_window;
#[cfg(feature = "daemon")]
pub mod state_file;
#[cfg(feature = "daemon")]
pub mod user_zone;
