//! Changes of settings files: each with a backup beside the file, written as a whole, symbolic links followed.
//!
//! A backup is the file as it is without our entry. This lets uninstall restore it byte for byte: if the file without our
//! entry equals the backup without one, nothing else has changed the file, and the backup is the original. If the file
//! has changed, the backup still tells which objects that become empty were there before.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::entries::ConfigEntry;
use super::invocation::Invocation;
use crate::cli::support::files::{self, Durability, FileOwner, PRIVATE_MODE};
use crate::sys::peer::own_uid;

/// Largest settings file that is edited. Picked: Claude Code's grows with every project, to a few MiB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Suffix of a backup's name.
const SUFFIX: &str = ".iaid-backup";

/// A file to write or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileChange {
    /// The path, with symbolic links resolved.
    pub(crate) path: PathBuf,
    pub(crate) before: Option<String>,
    /// The new content; `None` removes the file.
    pub(crate) after: Option<String>,
    pub(crate) backup: BackupAction,
}

/// What to do with the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackupAction {
    /// Nothing: no backup is needed.
    None,
    /// Write a backup with this content.
    Keep(String),
    /// Remove the backup: its content is in place again.
    Drop,
}

impl FileChange {
    /// Returns the change that adds our entry to a file; `None` if the entry is there already.
    ///
    /// # Errors
    /// A message if the file cannot be read or is not understood; it must then be left alone.
    pub(crate) fn enter(path: &Path, entry: ConfigEntry, call: &Invocation) -> Result<Option<FileChange>, String> {
        let (path, before) = found(path)?;
        let text = before.clone().unwrap_or_default();
        let after = entry.enter(&text, call)?;
        if before.is_some() && after == text {
            return Ok(None);
        }
        let original = backup_of(&path);
        let without = entry.remove(&text, original.as_deref())?;
        let backup = match (&before, original) {
            // The file that it is of has been removed.
            (None, Some(_)) => BackupAction::Drop,
            (None, None) => BackupAction::None,
            (Some(_), Some(original)) if is_restored_by(&original, &without, entry) => BackupAction::Keep(original),
            // The file had nothing but the entry of an earlier install.
            (Some(before), _) if *before != without && entry.is_empty(&without) => BackupAction::None,
            (Some(_), _) => BackupAction::Keep(without),
        };
        Ok(Some(FileChange { path, before, after: Some(after), backup }))
    }

    /// Returns the change that removes our entry from a file, and its backup; `None` if it has neither.
    ///
    /// # Errors
    /// A message if the file cannot be read or is not understood; it must then be left alone.
    pub(crate) fn remove(path: &Path, entry: ConfigEntry) -> Result<Option<FileChange>, String> {
        let Some((path, text)) = existing(path)? else { return Ok(None) };
        let original = backup_of(&path);
        let without = entry.remove(&text, original.as_deref())?;
        let (after, backup) = match original {
            None if without == text => return Ok(None),
            None if entry.is_empty(&without) => (None, BackupAction::None),
            None => (Some(without), BackupAction::None),
            Some(original) if without != text && is_restored_by(&original, &without, entry) => {
                (Some(original), BackupAction::Drop)
            }
            Some(_) => (Some(without), BackupAction::Drop),
        };
        Ok(Some(FileChange { path, before: Some(text), after, backup }))
    }

    /// Returns a message on each entry for this program in a file that we did not write.
    ///
    /// # Errors
    /// A message if the file cannot be read or is not understood.
    pub(crate) fn foreign(path: &Path, entry: ConfigEntry) -> Result<Vec<String>, String> {
        existing(path)?.map_or_else(|| Ok(Vec::new()), |(_, text)| entry.foreign(&text))
    }

    /// Returns the change that writes a file of which we own the whole content; `None` if it has this text already. A file
    /// for which `is_ours` returns false gets a backup.
    ///
    /// # Errors
    /// A message if the file cannot be read.
    pub(crate) fn put(path: &Path, text: &str, is_ours: fn(&str) -> bool) -> Result<Option<FileChange>, String> {
        let (path, before) = found(path)?;
        if before.as_deref() == Some(text) {
            return Ok(None);
        }
        let backup = match &before {
            Some(before) if !is_ours(before) => BackupAction::Keep(before.clone()),
            _ => BackupAction::None,
        };
        Ok(Some(FileChange { path, before, after: Some(text.to_owned()), backup }))
    }

    /// Returns the change that removes a file of which we own the whole content and restores its backup; `None` if there is
    /// no such file.
    ///
    /// # Errors
    /// A message if the file cannot be read.
    pub(crate) fn take_away(path: &Path, is_ours: fn(&str) -> bool) -> Result<Option<FileChange>, String> {
        let (path, before) = found(path)?;
        match before {
            Some(text) if is_ours(&text) => {
                let after = backup_of(&path);
                let backup = if after.is_some() { BackupAction::Drop } else { BackupAction::None };
                Ok(Some(FileChange { path, before: Some(text), after, backup }))
            }
            _ => Ok(None),
        }
    }

    /// Applies the change.
    ///
    /// # Errors
    /// A message if the file has changed since it was read, or cannot be written; it is then unchanged.
    pub(crate) fn apply(&self) -> Result<(), String> {
        let fail = |path: &Path, error: io::Error| format!("cannot write {}: {error}", path.display());
        let backup = beside(&self.path);
        if files::text(&self.path, MAX_FILE_BYTES).ok().flatten() != self.before {
            return Err(format!(
                "{} was changed by another program in the meantime; run the command again",
                self.path.display()
            ));
        }
        if let BackupAction::Keep(text) = &self.backup {
            write(&backup, text, &self.path).map_err(|error| fail(&backup, error))?;
        }
        match &self.after {
            after if *after == self.before => {}
            Some(text) => write(&self.path, text, &self.path).map_err(|error| fail(&self.path, error))?,
            None => fs::remove_file(&self.path).map_err(|error| fail(&self.path, error))?,
        }
        if self.backup == BackupAction::Drop {
            // The content is in place; a leftover backup is harmless.
            drop(fs::remove_file(&backup));
        }
        Ok(())
    }
}

/// Returns true if `without` is what the backup is without our entry.
fn is_restored_by(original: &str, without: &str, entry: ConfigEntry) -> bool {
    // The entry is added and removed again before the comparison, because adding may change white space beside it.
    let call = Invocation { program: "/iaid".into(), socket: None, store: None };
    let again = entry.enter(original, &call).and_then(|entered| entry.remove(&entered, Some(original)));
    again.is_ok_and(|again| again == without)
}

/// Returns the backup of a file, if there is one.
fn backup_of(path: &Path) -> Option<String> {
    files::text(&beside(path), MAX_FILE_BYTES).ok().flatten()
}

/// Returns the resolved path of a file and its content, if it exists.
fn found(path: &Path) -> Result<(PathBuf, Option<String>), String> {
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if let Some(link) = dangling_link(path) {
                let link = link.display();
                return Err(format!("{link} is a symbolic link to nothing; create what it names, or remove the link"));
            }
            path.to_owned()
        }
        Err(error) => return Err(format!("cannot read it: {error}")),
    };
    match files::text(&path, MAX_FILE_BYTES) {
        Ok(text) => Ok((path, text)),
        Err(error) if error.kind() == ErrorKind::InvalidData => Err("it is not UTF-8".into()),
        Err(error) => Err(format!("cannot read it: {error}")),
    }
}

/// Returns what [`found`] does of a file that exists.
fn existing(path: &Path) -> Result<Option<(PathBuf, String)>, String> {
    if fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(None);
    }
    let (path, text) = found(path)?;
    Ok(text.map(|text| (path, text)))
}

/// Returns the part of a path that is a symbolic link to nothing.
fn dangling_link(path: &Path) -> Option<&Path> {
    let last = path.ancestors().find(|part| fs::symlink_metadata(part).is_ok())?;
    (!last.exists()).then_some(last)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

/// Writes a whole file with mode and owner of `like`, and creates its missing parent folders.
fn write(path: &Path, text: &str, like: &Path) -> io::Result<()> {
    let (mode, owner) = match fs::metadata(like) {
        Ok(about) => (about.permissions().mode() & 0o7777, Some(FileOwner::of(&about))),
        Err(_) => (PRIVATE_MODE, path.parent().map_or(Ok(None), make_folders)?),
    };
    files::replace_as(path, text.as_bytes(), mode, owner, Durability::Synced)
}

/// Creates a folder and its missing parents. Returns the owner for what is created in it: if root works in the folder of
/// another user, that user.
fn make_folders(folder: &Path) -> io::Result<Option<FileOwner>> {
    let missing: Vec<&Path> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    let above = missing.last().map_or(Some(folder), |folder| folder.parent());
    let owner = match above {
        Some(above) if own_uid() == 0 => Some(FileOwner::of(&fs::metadata(above)?)),
        _ => None,
    };
    fs::create_dir_all(folder)?;
    if let Some(owner) = owner {
        missing.iter().try_for_each(|folder| owner.take(folder))?;
    }
    Ok(owner)
}
