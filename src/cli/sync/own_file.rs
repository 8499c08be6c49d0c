//! The file of this store in a folder: appended to by this store alone, and made anew when something was forgotten.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::support::error::CliError;
use crate::cli::support::files::{self, PRIVATE_MODE};
use crate::cli::sync::folder_file::{self, BEFORE, FileMark, ReadFault};
use crate::cli::sync::frame::{self, NO_ENTRIES};
use crate::cli::sync::local_store::Changes;
use crate::cli::sync::pipe::greeting;

/// Ends the names of the files of a folder.
pub(crate) const SUFFIX: &str = ".jsonl";

/// How often a file is begun again because something was forgotten meanwhile. Picked.
pub(crate) const MAX_TRIES: usize = 5;

/// Ends the name of a file that is not complete yet.
const PARTIAL: &str = ".partial";

/// A file that is open to append.
pub(crate) struct OwnFile {
    path: PathBuf,
    file: File,
    /// The last line.
    pub(crate) mark: FileMark,
    /// The cursor behind its entries; `None` if it has none yet.
    pub(crate) cursor: Option<String>,
}

/// How appending to the own file ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// The file has all entries.
    All,
    /// Something was forgotten that the file may have.
    Forgotten,
    /// The store does not know the file's cursor.
    Unknown,
}

/// Returns the name of a store's file.
pub(crate) fn name(store: &str, number: u64) -> String {
    format!("{store}.{number}{SUFFIX}")
}

/// Returns the number in the name of a file of this store; `None` for names that this store has not given.
pub(crate) fn number(name: &str, store: &str) -> Option<u64> {
    let number = name.strip_prefix(store)?.strip_prefix('.')?.strip_suffix(SUFFIX)?.parse().ok()?;
    // Numbers have other spellings, too, and there is a next one.
    (number < u64::MAX && self::name(store, number) == name).then_some(number)
}

/// Returns true if this is the name of a file of this store that was not completed.
pub(crate) fn is_partial(name: &str, store: &str) -> bool {
    name.strip_prefix(store).is_some_and(|rest| rest.ends_with(PARTIAL))
}

impl OwnFile {
    /// Opens a file that this store has written, of which `known` was its end. What follows its last whole line is cut
    /// off. Returns `None` if it is damaged or no such file, so that it has to be made anew.
    ///
    /// # Errors
    /// [`CliError::File`] if it cannot be read or written, or is no regular file.
    pub(crate) fn open(path: &Path, known: &FileMark) -> Result<Option<OwnFile>, CliError> {
        let failed = |error| failure(path, error);
        let reader = files::open_unlinked(path).map_err(failed)?;
        let mut cursor = known.line(&reader).and_then(|line| cursor_of(&frame::decode(&line)?.about));
        // Without the cursor of that line there is no place to start from.
        let from = if cursor.is_some() { known.clone() } else { FileMark::default() };
        let read = folder_file::read(reader, &from, &mut |frame, _| {
            cursor = cursor_of(&frame.about).or(cursor.take());
            Ok(())
        });
        let end = match read {
            Ok(end) => end,
            Err(ReadFault::File(error)) => return Err(failed(error)),
            Err(ReadFault::Entries(error)) => return Err(error),
        };
        if end.damaged_at.is_some() || end.mark.end == 0 {
            return Ok(None);
        }
        let file = append_to(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() > end.mark.end {
            file.set_len(end.mark.end).map_err(failed)?;
        }
        Ok(Some(OwnFile { path: path.to_owned(), file, mark: end.mark, cursor }))
    }

    /// Begins a new file under a name that no reader takes for a file of the folder.
    ///
    /// # Errors
    /// [`CliError::File`].
    pub(crate) fn begin(path: &Path, store: &str, machine: &str) -> Result<OwnFile, CliError> {
        let partial = partial_of(path);
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(failure(&partial, error)),
            _ => {}
        }
        let file = File::options().append(true).create_new(true).mode(PRIVATE_MODE).open(&partial);
        let file = file.map_err(|error| failure(&partial, error))?;
        let mut own = OwnFile { path: partial, file, mark: FileMark::default(), cursor: None };
        own.write(greeting(store, machine, None), NO_ENTRIES)?;
        Ok(own)
    }

    /// Appends entries.
    ///
    /// # Errors
    /// [`CliError::File`]; the file ends with the last line before then, unless even that failed.
    pub(crate) fn append(&mut self, changes: &Changes) -> Result<(), CliError> {
        self.write(json!({"next": changes.next}), changes.entries.get())?;
        self.cursor = Some(changes.next.clone());
        Ok(())
    }

    /// Gives a new file its name, once it is on disk.
    ///
    /// # Errors
    /// [`CliError::File`].
    pub(crate) fn complete(&mut self, path: &Path) -> Result<(), CliError> {
        fs::rename(&self.path, path).map_err(|error| failure(path, error))?;
        self.path = path.to_owned();
        path.parent().map_or(Ok(()), sync_folder).map_err(|error| failure(path, error))
    }

    /// Removes a new file that was not completed.
    pub(crate) fn abandon(self) {
        // The next run tries again.
        drop(fs::remove_file(&self.path));
    }

    /// Returns true if others than the owner may read it, as on a file system without modes.
    pub(crate) fn is_public(&self) -> bool {
        self.file.metadata().is_ok_and(|about| about.permissions().mode() & 0o077 != 0)
    }

    fn write(&mut self, mut about: Value, entries: &str) -> Result<(), CliError> {
        let n = self.mark.n + 1;
        if n > 1 {
            about[BEFORE] = self.mark.sum.as_str().into();
        }
        let line = frame::encode(n, &about, entries).map_err(|error| failure(&self.path, error.into()))?;
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // A reader and the next run cut it off as well.
            drop(self.file.set_len(self.mark.end));
            return Err(failure(&self.path, error));
        }
        let start = self.mark.end;
        let sum = frame::checked_sum(line.trim_end().as_bytes()).unwrap_or_default().to_owned();
        self.mark = FileMark { end: start + line.len() as u64, start, n, sum };
        Ok(())
    }
}

fn cursor_of(about: &Value) -> Option<String> {
    about["next"].as_str().map(str::to_owned)
}

fn partial_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(PARTIAL);
    name.into()
}

/// Opens an own file, and takes rights that others have got on it.
fn append_to(path: &Path) -> io::Result<File> {
    let file = File::options().append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        // Fails on a file system without modes.
        drop(file.set_permissions(Permissions::from_mode(PRIVATE_MODE)));
    }
    Ok(file)
}

/// Syncs a folder; some file systems cannot.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOTSUP)) => Ok(()),
        synced => synced,
    }
}

/// Returns the error of a file with the way out.
pub(crate) fn failure(path: &Path, error: io::Error) -> CliError {
    let remedy = match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => "free some space there and run it again",
        Some(libc::EROFS) => "make it writable",
        Some(libc::ELOOP) => "it is a symbolic link, which is not followed: move it away",
        Some(libc::EACCES | libc::EPERM) => "give your user the right to read and write it",
        _ => return CliError::File(path.to_owned(), error),
    };
    CliError::File(path.to_owned(), io::Error::other(format!("{error}; {remedy}")))
}
