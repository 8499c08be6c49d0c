//! The free space of a file system: statvfs(3).

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::syscall::checked;

/// Returns the bytes that this user may still write to the file system of `path`.
///
/// # Errors
/// Those of statvfs(3), such as [`io::ErrorKind::NotFound`], and [`io::ErrorKind::InvalidInput`] if the path contains a
/// NUL byte.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    // On 32-bit Linux, statvfs(3) fails on file systems of 2^32 blocks and more: 16 TiB in blocks of 4 KiB.
    #[cfg(not(target_os = "linux"))]
    use libc::{statvfs, statvfs as Statvfs};
    #[cfg(target_os = "linux")]
    use libc::{statvfs64 as statvfs, statvfs64 as Statvfs};

    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut about = MaybeUninit::<Statvfs>::uninit();
    // SAFETY: the path ends in a NUL, and the struct lives over the call.
    checked(unsafe { statvfs(path.as_ptr(), about.as_mut_ptr()) })?;
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
    fn an_existing_path_has_free_space() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).unwrap() > 0);
        assert_eq!(free_bytes(&folder.path().join("x")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(free_bytes(Path::new("a\0b")).is_err());
    }
}
