//! Sleep and waking: the state machine, the files around it, and the learned quiet window.
//!
//! The machine is pure. This module decides when something is to be done, never what that is.

#[cfg(feature = "daemon")]
mod atomic_file;
#[cfg(feature = "daemon")]
pub mod heartbeats;
#[cfg(feature = "daemon")]
pub mod journal;
pub mod machine;
#[cfg(feature = "daemon")]
pub(crate) mod private_dir;
#[cfg(feature = "daemon")]
pub(crate) mod process_session;
#[cfg(all(feature = "daemon", any(test, fuzzing)))]
#[doc(hidden)]
pub mod properties;
#[cfg(feature = "daemon")]
pub mod quiet_window;
pub mod state;
#[cfg(feature = "daemon")]
pub mod state_file;
#[cfg(feature = "daemon")]
pub mod state_writer;
#[cfg(feature = "daemon")]
pub mod status_file;
#[cfg(feature = "daemon")]
pub mod unknown_keys;
#[cfg(feature = "daemon")]
pub mod user_zone;
#[cfg(feature = "daemon")]
pub mod wake_signal;
