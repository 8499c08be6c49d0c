//! What file systems tell about themselves: their free space, and whether a file keeps its inode.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
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

/// File systems without inodes of their own, or that reach a program through another one: a file has another number each
/// time that they are mounted (statfs(2), linux/magic.h): FAT, exFAT, FUSE, SMB (three releases), 9P, NTFS.
#[cfg(target_os = "linux")]
const UNSTABLE_INODES: [u32; 8] =
    [0x4d44, 0x2011_bab0, 0x6573_5546, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997, 0x7366_746e];

/// Returns true unless the file is on a file system that is known to give it another inode at each mount.
pub(crate) fn has_stable_inode(file: &File) -> bool {
    #[cfg(target_os = "linux")]
    {
        let mut about = MaybeUninit::<libc::statfs>::zeroed();
        // SAFETY: the descriptor is open, and the struct lives over the call.
        let told = checked(unsafe { libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) });
        // SAFETY: all of its fields are numbers, for which zeros are valid.
        let about = unsafe { about.assume_init() };
        // Its type differs between platforms.
        #[allow(clippy::unnecessary_cast)]
        let kind = about.f_type as u32;
        told.is_err() || !UNSTABLE_INODES.contains(&kind)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = file;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inodes_are_stable_but_on_file_systems_that_are_known() {
        assert!(has_stable_inode(&tempfile::tempfile().unwrap()));
        #[cfg(target_os = "linux")]
        assert!(!UNSTABLE_INODES.contains(&(libc::EXT4_SUPER_MAGIC as u32)));
    }

    #[test]
    fn an_existing_path_has_free_space() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).unwrap() > 0);
        assert_eq!(free_bytes(&folder.path().join("x")).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(free_bytes(Path::new("a\0b")).is_err());
    }
}
