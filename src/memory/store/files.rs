//! Names of the store's files, and of those that are set aside: `NAME.WHY-TIME`, the time in seconds since 1970.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::sys::disk;
use crate::sys::path_guard::FileId;

/// The size of a database's header, <https://sqlite.org/fileformat2.html#the_database_header>.
pub(crate) const HEADER_BYTES: usize = 100;

/// Returns the path of the write-ahead log of the database at `path`.
pub(crate) fn wal_of(path: &Path) -> PathBuf {
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Returns true if a file that begins with `bytes` may be a SQLite database.
pub(crate) fn is_database_header(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_BYTES && bytes.starts_with(b"SQLite format 3\0")
}

/// Returns an unused name beside `path` for a file that is set aside: two within one second get two names.
pub(crate) fn name_aside(path: &Path, why: &str) -> PathBuf {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let named = |again: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{why}-{seconds}"));
        if again > 0 {
            name.push(format!("-{again}"));
        }
        PathBuf::from(name)
    };
    (0..).map(named).find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| named(0))
}

/// Renames the file at `path` to a name of [`name_aside`], durably. Returns the name.
///
/// # Errors
/// Those of rename(2) and of syncing the folder.
pub(crate) fn set_aside(path: &Path, why: &str) -> io::Result<PathBuf> {
    let aside = name_aside(path, why);
    fs::rename(path, &aside)?;
    sync_folder_of(path)?;
    Ok(aside)
}

/// Returns true if the file at `path` is `found`, under this name or another.
pub(crate) fn is_at(path: &Path, found: &fs::Metadata) -> bool {
    FileId::at(path).is_ok_and(|id| id == Some(FileId::of(found)))
}

/// Returns true if the disk of `path` is known to have less than `bytes` free.
pub(crate) fn lacks_room(path: &Path, bytes: u64) -> bool {
    path.parent().is_some_and(|folder| disk::free_bytes(folder).is_ok_and(|free| free < bytes))
}

/// Makes a new name in the folder of `path` durable.
///
/// # Errors
/// Those of opening and syncing the folder.
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    sync_folder(folder.unwrap_or(Path::new(".")))
}

/// Makes new names in a folder durable.
///
/// # Errors
/// Those of opening and syncing it.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
