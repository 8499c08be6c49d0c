//! Folders of this user alone: created with mode 0700 under any umask.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

/// Creates a folder with mode 0700, and its missing parents. Existing folders keep their mode.
///
/// # Errors
/// Those of mkdir(2) and chmod(2); [`io::ErrorKind::AlreadyExists`] if something other than a folder has the name.
pub(crate) fn create(path: &Path) -> io::Result<()> {
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => create(parent).and_then(|()| make(path)),
            _ => Err(error),
        },
        made => made,
    }
}

fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        // The umask may have removed even the owner's bits.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o700)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn missing_parents_are_private_and_existing_ones_are_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        for _ in 0..2 {
            create(&at("a/b/c")).unwrap();
        }
        let modes = ["", "a", "a/b", "a/b/c"].map(|name| mode(&at(name)));
        assert_eq!(modes, [0o755, 0o700, 0o700, 0o700]);
        fs::write(at("file"), "").unwrap();
        assert_eq!(create(&at("file")).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(create(&at("file/x")).is_err());
    }
}
