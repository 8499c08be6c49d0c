//! The folder of a sync: that it is there, and that one run uses it at a time.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::cli::support::error::{CliError, Exit};
use crate::cli::sync::own_file::failure;

/// The folder within the folder. Its name has the version of the format.
pub(crate) const SUBFOLDER: &str = "iaid-sync-v1";

/// How long a run of another process in the same folder is waited for. Picked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// A folder that this run alone uses.
pub(crate) struct FolderAccess {
    /// Its absolute path, under which it is remembered.
    pub(crate) name: String,
    /// The folder with the files.
    pub(crate) files: PathBuf,
    /// Keeps other runs out for as long as it is open.
    pub(crate) lock: File,
}

impl FolderAccess {
    /// Opens a folder; `is_known` says whether earlier runs have used it.
    ///
    /// # Errors
    /// [`CliError::File`] if it is not there, no folder, or used by another run; [`CliError::Peer`] if it was used before
    /// and has lost its files.
    pub(crate) fn open(folder: &Path, is_known: &dyn Fn(&str) -> bool) -> Result<FolderAccess, CliError> {
        let name = resolve(folder)?;
        let files = Path::new(&name).join(SUBFOLDER);
        prepare(&files, is_known(&name))?;
        let lock = lock(&files)?;
        Ok(FolderAccess { name, files, lock })
    }
}

/// Returns the absolute path of the folder, under which it is remembered.
///
/// # Errors
/// [`CliError::File`] if it is no folder or not there; it is not created, since it may be one that is not mounted.
fn resolve(folder: &Path) -> Result<String, CliError> {
    let path = match fs::canonicalize(folder) {
        Ok(path) if path.is_dir() => path,
        Ok(_) => {
            let what = "not a folder; give a folder, or ssh://HOST for a host";
            return Err(CliError::File(folder.to_owned(), io::Error::other(what)));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = "there is no such folder: create it, or mount what it is on; a host is given as ssh://HOST";
            return Err(CliError::File(folder.to_owned(), io::Error::other(what)));
        }
        Err(error) => return Err(failure(folder, error)),
    };
    match path.to_str() {
        Some(name) => Ok(name.to_owned()),
        None => Err(CliError::Usage(format!("{} is not UTF-8; rename it", path.display()))),
    }
}

/// Creates the folder with the files, unless earlier runs have used it and it is gone.
///
/// # Errors
/// [`CliError::File`] if it cannot be created or something else has its name, [`CliError::Peer`] if it is gone.
fn prepare(files: &Path, is_known: bool) -> Result<(), CliError> {
    match fs::symlink_metadata(files) {
        Ok(about) if about.is_dir() => return Ok(()),
        Ok(_) => {
            let what = "not a folder (symbolic links are not followed): move it away";
            return Err(CliError::File(files.to_owned(), io::Error::other(what)));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failure(files, error)),
    }
    if is_known {
        let what = format!(
            "{} is gone, which earlier runs have used: mount what it is on; or begin again with: mkdir '{}'",
            files.display(),
            files.display()
        );
        return Err(CliError::Peer(what, Exit::Failed));
    }
    DirBuilder::new().mode(0o700).create(files).map_err(|error| failure(files, error))
}

/// Keeps other runs out of the folder for as long as the returned file is open. A file system without locks has none.
///
/// # Errors
/// [`CliError::File`] if it cannot be opened, or another run keeps it for [`LOCK_TIMEOUT`].
fn lock(files: &Path) -> Result<File, CliError> {
    let folder = File::open(files).map_err(|error| failure(files, error))?;
    let deadline = Instant::now() + LOCK_TIMEOUT;
    loop {
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOCK_INTERVAL),
            Err(TryLockError::WouldBlock) => {
                let what = "another iaid sync has been using it for a minute; run it again when that has ended";
                return Err(CliError::File(files.to_owned(), io::Error::other(what)));
            }
            Ok(()) | Err(TryLockError::Error(_)) => return Ok(folder),
        }
    }
}
