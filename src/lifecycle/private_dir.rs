//! Private directories within the store's folder: mode 0700, and never reached through a symbolic link.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Creates the directory with mode 0700 if it does not exist.
///
/// # Errors
/// Any [`io::Error`] of creating it, and [`io::ErrorKind::Other`] if something else has its name.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        // The umask may have removed even the owner's bits.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o700)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => exists(path).map(drop),
        Err(e) => Err(e),
    }
}

/// Returns true if the directory exists.
///
/// # Errors
/// Any [`io::Error`] of reading its metadata, except [`io::ErrorKind::NotFound`], and [`io::ErrorKind::Other`] if
/// something else has its name.
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => Ok(true),
        Ok(_) => Err(io::Error::other(format!(
            "{} is not a directory (symbolic links are not followed): move it away",
            path.display()
        ))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn links_and_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert!(!exists(&at("new")).unwrap());
        for _ in 0..2 {
            create(&at("new")).unwrap();
            assert!(exists(&at("new")).unwrap());
        }
        assert_eq!(fs::metadata(at("new")).unwrap().mode() & 0o777, 0o700);
        symlink(at("new"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        fs::write(at("file"), "").unwrap();
        for name in ["link", "dangling", "file"] {
            assert!(create(&at(name)).unwrap_err().to_string().contains("is not a directory"), "{name}");
            assert!(exists(&at(name)).is_err(), "{name}");
        }
        assert!(!at("nowhere").exists());
    }
}
