//! A folder of ours within the store's: private, and no link to somewhere else. Makes and looks, and holds
//! nothing.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Makes it (0700) where it is missing.
///
/// # Errors
/// The system's, or that something else is there.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        // The umask may have taken even the owner's bits away.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o700)),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => exists(path).map(drop),
        Err(e) => Err(e),
    }
}

/// Is it there?
///
/// # Errors
/// The system's, or that something else is there.
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(about) if about.is_dir() => Ok(true),
        Ok(_) => {
            Err(io::Error::other(format!("{} is no folder, and no link is followed: move it away", path.display())))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_link_and_a_file_are_no_folder_of_ours() {
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
            assert!(create(&at(name)).unwrap_err().to_string().contains("no link is followed"), "{name}");
            assert!(exists(&at(name)).is_err(), "{name}");
        }
        assert!(!at("nowhere").exists());
    }
}
