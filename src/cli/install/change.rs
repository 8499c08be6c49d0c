//! Changes of settings files: each with a backup beside the file, written as a whole, symbolic links followed.
//!
//! A backup is the file as it is without our entry. This lets uninstall restore it byte for byte: if the file without our
//! entry equals the backup without one, nothing else has changed the file, and the backup is the original.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::entries::{ConfigEntry, Invocation};
use crate::cli::support::files::{self, Durability, PRIVATE_MODE};

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
        let without = entry.remove(&text)?;
        let backup = match (&before, kept(&path, &without, entry)) {
            (_, Some(backup)) => BackupAction::Keep(backup),
            // The file had nothing but the entry of an earlier install.
            (Some(before), None) if *before != without && entry.is_empty(&without) => BackupAction::None,
            (Some(_), None) => BackupAction::Keep(without),
            (None, None) => BackupAction::None,
        };
        Ok(Some(FileChange { path, before, after: Some(after), backup }))
    }

    /// Returns the change that removes our entry from a file; `None` if it has none.
    ///
    /// # Errors
    /// A message if the file cannot be read or is not understood; it must then be left alone.
    pub(crate) fn remove(path: &Path, entry: ConfigEntry) -> Result<Option<FileChange>, String> {
        let (path, before) = found(path)?;
        let Some(text) = before else { return Ok(None) };
        let without = entry.remove(&text)?;
        if without == text {
            return Ok(None);
        }
        let (after, backup) = match kept(&path, &without, entry) {
            Some(original) => (Some(original), BackupAction::Drop),
            None if entry.is_empty(&without) && !beside(&path).exists() => (None, BackupAction::None),
            None => (Some(without), BackupAction::None),
        };
        Ok(Some(FileChange { path, before: Some(text), after, backup }))
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
                let after = fs::read_to_string(beside(&path)).ok();
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
        if fs::read_to_string(&self.path).ok() != self.before {
            return Err(format!(
                "{} was changed by another program in the meantime; run the command again",
                self.path.display()
            ));
        }
        if let BackupAction::Keep(text) = &self.backup {
            write(&backup, text, mode(&self.path)).map_err(|error| fail(&backup, error))?;
        }
        match &self.after {
            Some(text) => write(&self.path, text, mode(&self.path)).map_err(|error| fail(&self.path, error))?,
            None => fs::remove_file(&self.path).map_err(|error| fail(&self.path, error))?,
        }
        if self.backup == BackupAction::Drop {
            // The content has been restored; a leftover backup is harmless.
            drop(fs::remove_file(&backup));
        }
        Ok(())
    }
}

/// Returns the backup of a file, if it is what the file was without our entry.
fn kept(path: &Path, without: &str, entry: ConfigEntry) -> Option<String> {
    let backup = fs::read_to_string(beside(path)).ok()?;
    // The entry is added and removed again before the comparison, because removing also removes containers that were empty.
    let call = Invocation { program: "/iaid".into(), socket: None, store: None };
    let again = entry.remove(&entry.enter(&backup, &call).ok()?).ok()?;
    (again == without).then_some(backup)
}

/// Returns the resolved path of a file and its content, if it exists.
fn found(path: &Path) -> Result<(PathBuf, Option<String>), String> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::read(&path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok((path, Some(text))),
            Err(_) => Err("not UTF-8".into()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((path, None)),
        Err(error) => Err(format!("cannot read it: {error}")),
    }
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(SUFFIX);
    name.into()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).map_or(PRIVATE_MODE, |found| found.permissions().mode() & 0o7777)
}

/// Writes a whole file, and creates its missing parent folders.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    files::replace(path, text.as_bytes(), mode, Durability::Synced)
}
