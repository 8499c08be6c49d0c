//! System calls as safe functions with owned, checked values.
//!
//! The only module with `unsafe` code. Each descriptor becomes an [`OwnedFd`](std::os::fd::OwnedFd) on the line
//! where it is created, with close-on-exec set. Nothing here waits, logs above `warn`, or knows of requests.
//! Supports Linux and macOS; each file says where they differ.

#![allow(unsafe_code)]

#[cfg(feature = "daemon")]
pub mod disk;
pub mod fd_check;
pub mod fd_limit;
pub mod inherited;
pub mod listener;
pub mod lock;
pub mod memory;
pub mod notify;
pub mod path_guard;
pub mod peer;
pub mod pipe;
pub mod process;
#[cfg(feature = "daemon")]
pub mod signals;
pub mod stream;
#[cfg(feature = "daemon")]
pub mod terminal;

mod bind_error;
mod environment;
#[cfg(test)]
#[path = "../../tests/it/skip.rs"]
#[allow(dead_code, unreachable_pub)]
mod skip;
mod socket;
mod syscall;
#[cfg(test)]
mod testing;
