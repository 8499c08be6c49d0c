//! Sleep and waking: the state machine, the files around it, and what is learned of the user's hours.
//!
//! The machine is pure. This room says when something is to be done, never what that is.

#[cfg(feature = "daemon")]
pub mod heartbeats;
#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod keeper;
pub mod machine;
#[cfg(feature = "daemon")]
pub mod others;
#[cfg(feature = "daemon")]
pub(crate) mod own_folder;
#[cfg(all(feature = "daemon", any(test, fuzzing)))]
#[doc(hidden)]
pub mod properties;
#[cfg(feature = "daemon")]
pub mod quiet_window;
#[cfg(feature = "daemon")]
pub mod record;
#[cfg(feature = "daemon")]
pub mod state_file;
#[cfg(feature = "daemon")]
pub mod user_zone;
#[cfg(feature = "daemon")]
pub mod wake_signal;
#[cfg(feature = "daemon")]
mod whole_file;
