//! `wake.signal`: a file that a client creates in the store's folder if it cannot connect. Every start is in WAKE, so the
//! daemon only removes it.

use std::fs;
use std::io;
use std::path::Path;

/// The file's name in the store's folder.
pub const NAME: &str = "wake.signal";

/// Removes the file. Returns true if there was one.
///
/// # Errors
/// Any [`io::Error`] of removing it, except [`io::ErrorKind::NotFound`].
pub fn remove(folder: &Path) -> io::Result<bool> {
    match fs::remove_file(folder.join(NAME)) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_removed_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "{").unwrap();
        assert_eq!(remove(folder.path()).ok(), Some(true));
        assert_eq!(remove(folder.path()).ok(), Some(false));
        fs::create_dir(folder.path().join(NAME)).unwrap();
        assert!(remove(folder.path()).is_err());
    }
}
