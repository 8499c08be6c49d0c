//! Atomic replacement of small JSON files: a file is written under another name, synced and renamed, so a reader finds
//! either the old file or the new one, complete.
//!
//! A file that does not parse is renamed, so it is neither lost nor the reason of a failed start.
//!
//! Caller's contract: one process writes, one write at a time.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::lifecycle::unknown_keys::{self, HasUnknownKeys};

/// A file in the store's folder: its name, and the largest size that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AtomicFile {
    pub(crate) name: &'static str,
    pub(crate) max_bytes: u64,
}

impl AtomicFile {
    /// Reads the file. Returns the default if there is none. A file that cannot be read or parsed is renamed to
    /// `NAME.bad-TIME` with a warning.
    pub(crate) fn load<T: HasUnknownKeys + Default>(self, folder: &Path, now: SystemTime) -> T {
        self.remove_leftovers(folder);
        let path = folder.join(self.name);
        let found = match self.read(&path) {
            Ok(None) => return T::default(),
            Ok(Some(text)) => unknown_keys::parse(&text).map_err(io::Error::from),
            Err(error) => Err(error),
        };
        found.unwrap_or_else(|error| {
            self.set_aside(folder, &path, &error, now);
            T::default()
        })
    }

    fn set_aside(self, folder: &Path, path: &Path, error: &io::Error, now: SystemTime) {
        let aside = self.free_name(folder, now);
        match fs::rename(path, &aside) {
            Ok(()) => log::warn!("{} cannot be used ({error}): set aside as {}", path.display(), aside.display()),
            Err(e) => log::warn!("{} cannot be used ({error}), and setting it aside failed: {e}", path.display()),
        }
    }

    /// Writes the file. It is complete and on disk when this returns.
    ///
    /// # Errors
    /// Any [`io::Error`] of writing, syncing or renaming the file; the old file is kept then.
    pub(crate) fn write<T: HasUnknownKeys>(self, folder: &Path, content: &T) -> io::Result<()> {
        self.replace(folder, unknown_keys::to_json(content)?)
    }

    fn replace(self, folder: &Path, mut text: Vec<u8>) -> io::Result<()> {
        text.push(b'\n');
        let path = folder.join(self.name);
        let temporary = folder.join(format!("{}.tmp-{}", self.name, std::process::id()));
        let written = write_new(&temporary, &text).and_then(|()| fs::rename(&temporary, &path));
        if written.is_err() {
            remove_if_there(&temporary)?;
        }
        written?;
        File::open(folder)?.sync_all()
    }

    /// Returns the text of the file, `None` if there is none.
    fn read(self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(self.max_bytes + 1).read_to_end(&mut text)?;
        if text.len() as u64 > self.max_bytes {
            return Err(io::Error::other(format!("larger than {} bytes", self.max_bytes)));
        }
        Ok(Some(text))
    }

    /// Returns an unused name for a file that is set aside: two within one second get two names.
    fn free_name(self, folder: &Path, now: SystemTime) -> PathBuf {
        let seconds = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let names = (0..).map(|again| match again {
            0 => format!("{}.bad-{seconds}", self.name),
            again => format!("{}.bad-{seconds}-{again}", self.name),
        });
        let mut paths = names.map(|name| folder.join(name));
        paths.find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| folder.join(self.name))
    }

    /// Removes the temporary files of a daemon that was killed while it wrote.
    fn remove_leftovers(self, folder: &Path) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        let prefix = format!("{}.tmp-", self.name);
        let leftovers = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix));
        for path in leftovers.map(|entry| entry.path()) {
            if let Err(e) = remove_if_there(&path) {
                log::warn!("temporary file {} cannot be removed: {e}", path.display());
            }
        }
    }
}

fn write_new(path: &Path, text: &[u8]) -> io::Result<()> {
    remove_if_there(path)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    // The umask may have removed even the owner's bits.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text)?;
    file.sync_all()
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
