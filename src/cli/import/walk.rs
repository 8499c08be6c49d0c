//! Lists the files of an import: the named file, or those of a folder, in the order of their names.
//!
//! In a folder the files that end in `.jsonl`, `.ndjson` or `.jsonl.zst` are listed, and opencode's database. With Codex's folder `sessions`, the
//! sessions that were moved to `archived_sessions` beside it are listed, too. Symbolic links within it are not followed: their
//! targets are listed anyway if they are in the tree, and were not named if they are outside. The named path itself may
//! be a link.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use crate::cli::support::files::{self, is_database};
use crate::memory::OpencodeMessages;
use crate::sort;
use crate::sys::pipe;

/// Endings of the names of files that are listed.
const ENDINGS: [&str; 3] = [".jsonl", ".ndjson", ".jsonl.zst"];

/// Name of opencode's database, which is listed as well.
pub(crate) const OPENCODE_DATABASE: &str = "opencode.db";

/// Longest path of a folder.
const MAX_PATH_BYTES: u64 = 4096;

/// A file to import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// The files found, and the folders that could not be read.
#[derive(Debug, Default)]
pub(crate) struct FileList {
    pub(crate) files: Vec<ImportFile>,
    /// Folders that cannot be read, each with its error.
    pub(crate) failed: Vec<(PathBuf, io::Error)>,
}

/// Returns the files under `root`.
///
/// # Errors
/// The error of stat(2) on `root`.
pub(crate) fn files(root: &Path) -> io::Result<FileList> {
    let found = fs::metadata(root)?;
    if !found.is_dir() {
        // Only a regular file has a meaningful length.
        let bytes = if found.is_file() { found.len() } else { 0 };
        return Ok(FileList { files: vec![ImportFile { path: root.to_owned(), bytes }], failed: Vec::new() });
    }
    let FileList { mut files, mut failed } = FileList::default();
    let mut folders = vec![root.to_owned()];
    if root.file_name().is_some_and(|name| name == "sessions") {
        let archived = root.with_file_name("archived_sessions");
        folders.extend(Some(archived).filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())));
    }
    while let Some(folder) = folders.pop() {
        match fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    match entry.and_then(|entry| classify(&entry)) {
                        Ok(Some(Entry::Folder(path))) => folders.push(path),
                        Ok(Some(Entry::File(source))) => files.push(source),
                        Ok(None) => {}
                        Err(error) => failed.push((folder.clone(), error)),
                    }
                }
            }
            Err(error) => failed.push((folder, error)),
        }
    }
    sort::sort_by(&mut files, |a, b| a.path.cmp(&b.path));
    Ok(FileList { files, failed })
}

/// Opens a file to import, or a pipe that has a writer.
///
/// # Errors
/// Those of opening it; `Other` for a pipe without a writer, and for a database.
pub(crate) fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    if fs::metadata(path)?.file_type().is_fifo() {
        return Ok(Box::new(pipe::open_input(path)?));
    }
    if is_database(path)? {
        let what = "a database, neither an export nor opencode's; iaid restore puts a backup of the store back";
        let messages = OpencodeMessages::open(path)?.ok_or_else(|| io::Error::other(what))?;
        return Ok(Box::new(messages));
    }
    Ok(Box::new(File::open(path)?))
}

/// Returns the folder of a session of Gemini CLI, which is in a file beside the folder of its transcript.
pub(crate) fn project_of(transcript: &Path) -> Option<String> {
    let chats = transcript.ancestors().find(|folder| folder.ends_with("chats"))?;
    let text = files::text(&chats.with_file_name(".project_root"), MAX_PATH_BYTES).ok()??;
    Some(text.trim().to_owned()).filter(|path| !path.is_empty())
}

enum Entry {
    Folder(PathBuf),
    File(ImportFile),
}

fn classify(entry: &fs::DirEntry) -> io::Result<Option<Entry>> {
    let (path, kind) = (entry.path(), entry.file_type()?);
    if kind.is_dir() {
        return Ok(Some(Entry::Folder(path)));
    }
    let name = entry.file_name();
    let is_importable =
        ENDINGS.iter().any(|end| name.len() > end.len() && name.as_encoded_bytes().ends_with(end.as_bytes()));
    if !kind.is_file() || !(is_importable || name == OPENCODE_DATABASE) {
        return Ok(None);
    }
    // The file may have been removed since the folder was read.
    match entry.metadata() {
        Ok(found) => Ok(Some(Entry::File(ImportFile { path, bytes: found.len() }))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_folder_lists_its_files_and_no_links() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("x.jsonl"), "12345").unwrap();
        fs::create_dir_all(inside.path().join("-home-x/deep")).unwrap();
        for name in [
            "b.jsonl",
            "-home-x/a.jsonl",
            "-home-x/deep/c.ndjson",
            "c.jsonl.zst",
            "notes.json",
            "d.jsonl.bak",
            ".jsonl",
        ] {
            fs::write(inside.path().join(name), "123").unwrap();
        }
        symlink(outside.path(), inside.path().join("link")).unwrap();
        symlink(outside.path().join("x.jsonl"), inside.path().join("y.jsonl")).unwrap();
        symlink(inside.path(), inside.path().join("-home-x/circle")).unwrap();
        let FileList { files: found, failed } = files(inside.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|f| f.path.strip_prefix(inside.path()).unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["-home-x/a.jsonl", "-home-x/deep/c.ndjson", "b.jsonl", "c.jsonl.zst"]);
        assert!(failed.is_empty() && found.iter().all(|file| file.bytes == 3));
        let FileList { files: found, .. } = files(&inside.path().join("y.jsonl")).unwrap();
        assert_eq!(found, [ImportFile { path: inside.path().join("y.jsonl"), bytes: 5 }]);
        assert!(files(&inside.path().join("gone")).is_err());
        let FileList { files: found, .. } = files(Path::new("/dev/null")).unwrap();
        assert_eq!(found[0].bytes, 0);
    }

    #[test]
    fn archived_sessions_are_listed_with_the_others() {
        let codex = tempfile::tempdir().unwrap();
        for name in ["sessions/2026", "archived_sessions"] {
            fs::create_dir_all(codex.path().join(name)).unwrap();
            fs::write(codex.path().join(name).join("rollout.jsonl"), "").unwrap();
        }
        assert_eq!(files(&codex.path().join("sessions")).unwrap().files.len(), 2);
        assert_eq!(files(&codex.path().join("sessions/2026")).unwrap().files.len(), 1);
        assert_eq!(files(codex.path()).unwrap().files.len(), 2);
    }
}
