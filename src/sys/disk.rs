//! What is free on a disk: statvfs(3).

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::checked;

/// Bytes that this user may still write on the disk that holds `path`.
///
/// # Errors
/// The system's, such as that the path is not there.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut about = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: the path ends in a NUL, and the struct lives over the call.
    checked(unsafe { libc::statvfs(path.as_ptr(), about.as_mut_ptr()) })?;
    // SAFETY: the call has filled it.
    let about = unsafe { about.assume_init() };
    // Types differ between platforms.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    Ok((about.f_bavail as u64).saturating_mul(about.f_frsize as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_is_there_has_a_number() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).unwrap() > 0);
        assert_eq!(free_bytes(&folder.path().join("x")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(free_bytes(Path::new("a\0b")).is_err());
    }
}
