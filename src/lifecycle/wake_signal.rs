//! `wake.signal`: what a client leaves in the store's folder that could not connect. A start is a WAKE
//! whatever it says, so the file has only to go.

use std::fs;
use std::io;
use std::path::Path;

/// The file's name in the store's folder.
pub const NAME: &str = "wake.signal";

/// Removes it. Was it there?
///
/// # Errors
/// The system's.
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
    fn it_goes_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(NAME), "{").unwrap();
        assert_eq!(remove(folder.path()).ok(), Some(true));
        assert_eq!(remove(folder.path()).ok(), Some(false));
        fs::create_dir(folder.path().join(NAME)).unwrap();
        assert!(remove(folder.path()).is_err());
    }
}
