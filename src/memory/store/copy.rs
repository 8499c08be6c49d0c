//! Copies the database of a connection to a new file, page by page, while others read and write.
//!
//! It needs two page caches of 256 KiB, whatever the size. The copy is marked as a commit of its own
//! (`commit_mark.rs`), so that no write-ahead log of the original is ever replayed over it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};

use crate::memory::store::commit_mark::{CommitMark, Marker};
use crate::memory::store::error::StoreError;
use crate::memory::store::files;

/// Pages copied in one step: 256 KiB, the size of the page cache.
const STEP_PAGES: i32 = 64;

/// Attempts at a step while another program holds the lock. With [`BUSY_PAUSE`] 5 s in all, as every connection of the
/// store waits.
const BUSY_ATTEMPTS: u32 = 500;

/// Pause between two attempts.
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// A new file that is removed when it is dropped, unless it was published.
pub(crate) struct PartialFile(PathBuf);

impl PartialFile {
    /// Creates the file with mode 0600. Replaces one that an earlier attempt has left.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn create(path: PathBuf) -> io::Result<PartialFile> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let partial = PartialFile(path);
        // The umask may have removed even the owner's bits.
        fs::set_permissions(&partial.0, Permissions::from_mode(0o600))?;
        Ok(partial)
    }

    /// Creates the file as `TARGET.tmp-PID`, which `iaid doctor` finds if the process is killed.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn create_for(target: &Path) -> io::Result<PartialFile> {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".tmp-{}", std::process::id()));
        PartialFile::create(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Syncs the file and renames it to `target`, without replacing another file. Returns its size in bytes.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] if there is a file; those of the system.
    pub(crate) fn publish(self, target: &Path) -> io::Result<u64> {
        let file = File::open(&self.0)?;
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        match fs::hard_link(&self.0, target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // A file system without hard links. The name was free just now.
            Err(_) if target.symlink_metadata().is_err() => fs::rename(&self.0, target)?,
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        drop(self);
        files::sync_folder_of(target)?;
        Ok(bytes)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("cannot remove {}: {error}", self.0.display());
            }
            _ => {}
        }
    }
}

/// Copies the database of `source` to the empty file `target`. Call it in a read transaction: without one the copy
/// starts over at each commit of another connection.
///
/// # Errors
/// See [`StoreError`]; [`StoreError::Full`] is about the disk of the copy.
pub(crate) fn database(source: &Connection, target: &Path) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(target, flags)?;
    // An incomplete file is removed, so it needs neither a journal nor syncs.
    for (pragma, value) in [("journal_mode", "off"), ("synchronous", "off"), ("cache_size", "-256")] {
        copy.pragma_update(None, pragma, value)?;
    }
    pages(source, &mut copy)?;
    copy.close().map_err(|(_, error)| error)?;
    let Ok(Some(page)) = CommitMark::page(source) else { return Ok(()) };
    let page_bytes: u32 = source.query_row("SELECT page_size FROM pragma_page_size", [], |row| row.get(0))?;
    let forked = OpenOptions::new().read(true).write(true).open(target);
    let forked = forked.and_then(|file| Marker::new().fork(&file, page, page_bytes.into(), None));
    forked.map_err(|error| StoreError::Device(error.to_string()))
}

/// Copies all pages of `source` over the database of `target`, in one transaction.
///
/// # Errors
/// See [`StoreError`]; `target` is unchanged then, unless it has no journal.
pub(crate) fn pages(source: &Connection, target: &mut Connection) -> Result<(), StoreError> {
    let work = Backup::new(source, target)?;
    let mut attempts_left = BUSY_ATTEMPTS;
    loop {
        match work.step(STEP_PAGES)? {
            StepResult::Done => return Ok(()),
            StepResult::More => attempts_left = BUSY_ATTEMPTS,
            _ if attempts_left == 0 => return Err(StoreError::Busy),
            _ => {
                attempts_left -= 1;
                std::thread::sleep(BUSY_PAUSE);
            }
        }
    }
}
