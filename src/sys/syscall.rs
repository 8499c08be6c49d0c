//! The return value of a system call as a [`Result`](io::Result).

use std::io;

/// Returns what a system call returned, or the error of errno if that is -1.
pub(crate) fn checked(returned: libc::c_int) -> io::Result<libc::c_int> {
    if returned == -1 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}
