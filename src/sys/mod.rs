//! System calls as safe functions with owned, checked values.
//!
//! The only module with `unsafe` code. Each descriptor becomes an [`OwnedFd`](std::os::fd::OwnedFd) on the line
//! where it is created, with close-on-exec set. Nothing here waits, but an allocation that finds no memory; nothing logs
//! above `warn`, or knows of requests. Supports Linux and macOS; each file says where they differ.

#![allow(unsafe_code)]

pub mod fd_limit;
pub mod inherited;
pub mod listener;
pub mod notify;
#[cfg(feature = "daemon")]
pub mod reserve;
#[cfg(feature = "daemon")]
pub mod sqlite_memory;

pub(crate) mod bind_error;
#[cfg(feature = "daemon")]
pub(crate) mod disk;
pub(crate) mod environment;
pub(crate) mod fd_check;
#[cfg(feature = "daemon")]
pub(crate) mod host_name;
pub(crate) mod lock;
#[cfg(feature = "daemon")]
pub(crate) mod memory;
pub(crate) mod path_guard;
pub(crate) mod peer;
#[cfg(feature = "daemon")]
pub(crate) mod pipe;
pub(crate) mod private_folder;
pub(crate) mod process;
pub(crate) mod resident;
#[cfg(feature = "daemon")]
pub(crate) mod signals;
#[cfg(test)]
#[path = "../../tests/it/skip.rs"]
#[allow(dead_code, unreachable_pub)]
mod skip;
pub(crate) mod socket;
pub(crate) mod stream;
pub(crate) mod syscall;
#[cfg(feature = "daemon")]
pub(crate) mod terminal;
#[cfg(test)]
mod testing;
