//! Files of the store's folder that were set aside and may have a text that is forgotten.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::memory::ingest::spool;
use crate::memory::store::open;
use crate::sort;

/// Parts of the names of files that were set aside or left behind: a log or state file that could not be read, the
/// content of a lost store, a store that was restored over, and copies that a kill has interrupted.
const MARKS: [&str; 6] = [".bad-", ".rescued-", ".before-restore-", ".failed-", ".permanent-failed-", ".iaid-backup"];

/// A part of the name of a copy of the database that a kill has interrupted. A state file that is being written has it,
/// too.
const PARTIAL: &str = ".tmp-";

/// Returns the files, sorted.
///
/// # Errors
/// Those of reading the store's folder.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in [folder, &folder.join(spool::FOLDER)] {
        let Some(entries) = entries(folder)? else { continue };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_left = MARKS.iter().any(|mark| name.contains(mark))
                || (name.starts_with(open::FILE_NAME) && name.contains(PARTIAL));
            // A folder of that name is not the daemon's.
            if is_left && !entry.file_type()?.is_dir() {
                found.push(entry.path());
            }
        }
    }
    sort::sort_by(&mut found, Ord::cmp);
    Ok(found)
}

/// Deletes the files that were set aside and `shown`, one a line. Calls `left` for one that was set aside since or cannot be
/// deleted.
pub(crate) fn delete(folder: &Path, shown: &str, left: &mut dyn FnMut(PathBuf, String)) {
    let paths = match files(folder) {
        Ok(paths) => paths,
        Err(error) => {
            return left(folder.to_owned(), format!("files that were set aside cannot be looked for ({error})"));
        }
    };
    for path in paths {
        if !shown.lines().any(|one| one == path.to_string_lossy()) {
            left(path, "set aside since the selection was shown".to_owned());
            continue;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                left(path, format!("it cannot be deleted ({error})"));
            }
            _ => {}
        }
    }
}

/// Returns the deferred files that wait: of another program, encrypted, or being written.
///
/// # Errors
/// Those of reading the folder.
pub(crate) fn deferred(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let Some(entries) = entries(&folder.join(spool::FOLDER))? else { return Ok(Vec::new()) };
    entries.map(|entry| entry.map(|entry| entry.path())).collect()
}

/// Returns the entries of a folder; `None` if it does not exist. A link is not followed.
fn entries(folder: &Path) -> io::Result<Option<fs::ReadDir>> {
    let is_link = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if folder.ends_with(spool::FOLDER) && is_link(folder) {
        return Ok(None);
    }
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        entries => entries.map(Some),
    }
}
