//! Files that are to be changed: with a backup beside each, written whole, links followed.
//!
//! A backup is the file as it is without us. So what is undone can be undone to the byte: where the file
//! without our entry is the backup without one, nothing else has changed it since, and the backup is what it was.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::entries::{ConfigEntry, Invocation};
use crate::cli::support::files::{self, Durability, PRIVATE_MODE};

/// What a backup's name ends in.
const SUFFIX: &str = ".iaid-backup";

/// A file that is to be written, or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileChange {
    /// Where it is; what a link leads to.
    pub(crate) path: PathBuf,
    pub(crate) before: Option<String>,
    /// `None` is no file.
    pub(crate) after: Option<String>,
    pub(crate) backup: BackupAction,
}

/// What becomes of the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BackupAction {
    /// There is none, and none is needed.
    None,
    /// This is kept.
    Keep(String),
    /// It has served.
    Drop,
}

impl FileChange {
    /// What entering changes in a file, if anything.
    ///
    /// # Errors
    /// Why the file is left alone.
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
            // It held nothing but what an earlier install had entered.
            (Some(before), None) if *before != without && entry.is_empty(&without) => BackupAction::None,
            (Some(_), None) => BackupAction::Keep(without),
            (None, None) => BackupAction::None,
        };
        Ok(Some(FileChange { path, before, after: Some(after), backup }))
    }

    /// What removing changes in a file, if anything.
    ///
    /// # Errors
    /// Why the file is left alone.
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

    /// What writing a file that is ours as a whole changes, if anything. `is_ours` says so of a text.
    ///
    /// # Errors
    /// Why the file is left alone.
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

    /// What taking away a file that is ours as a whole changes, if anything; what stood there before comes
    /// back.
    ///
    /// # Errors
    /// Why the file is left alone.
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

    /// Does it.
    ///
    /// # Errors
    /// What stood in the way; the file is then as it was.
    pub(crate) fn apply(&self) -> Result<(), String> {
        let fail = |path: &Path, error: io::Error| format!("{} cannot be written: {error}", path.display());
        let backup = beside(&self.path);
        if fs::read_to_string(&self.path).ok() != self.before {
            return Err(format!("{} has just been changed by somebody else; run it again", self.path.display()));
        }
        if let BackupAction::Keep(text) = &self.backup {
            write(&backup, text, mode(&self.path)).map_err(|error| fail(&backup, error))?;
        }
        match &self.after {
            Some(text) => write(&self.path, text, mode(&self.path)).map_err(|error| fail(&self.path, error))?,
            None => fs::remove_file(&self.path).map_err(|error| fail(&self.path, error))?,
        }
        if self.backup == BackupAction::Drop {
            // It is in place again; a copy that stays harms nobody.
            drop(fs::remove_file(&backup));
        }
        Ok(())
    }
}

/// The backup of a file, where it is what the file was without our entry.
fn kept(path: &Path, without: &str, entry: ConfigEntry) -> Option<String> {
    let backup = fs::read_to_string(beside(path)).ok()?;
    // Taken out of what an entry makes of it, since that also takes out what was empty.
    let call = Invocation { program: "/iaid".into(), socket: None, store: None };
    let again = entry.remove(&entry.enter(&backup, &call).ok()?).ok()?;
    (again == without).then_some(backup)
}

/// Where a file is and what it holds.
fn found(path: &Path) -> Result<(PathBuf, Option<String>), String> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::read(&path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok((path, Some(text))),
            Err(_) => Err("it is not UTF-8".into()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok((path, None)),
        Err(error) => Err(format!("it cannot be read: {error}")),
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

/// Writes a file whole, and makes the folders above it.
fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    files::replace(path, text.as_bytes(), mode, Durability::Synced)
}
