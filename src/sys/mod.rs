//! What only the operating system can say or do, as safe, owned, checked values.
//!
//! The only room with `unsafe`. A descriptor is an [`OwnedFd`](std::os::fd::OwnedFd) on the line
//! where it is born, and close-on-exec. Nothing here waits, logs above `warn`, or knows of lines
//! and calls. Linux and macOS; where they differ, the file says how.

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

mod environment;
#[cfg(test)]
#[path = "../../tests/it/skip.rs"]
#[allow(dead_code, unreachable_pub)]
mod skip;
mod socket;
#[cfg(test)]
mod testing;

use std::io;

/// What a system call returned, with errno where that is -1.
fn checked(returned: libc::c_int) -> io::Result<libc::c_int> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
