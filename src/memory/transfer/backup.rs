//! `store_backup`: copies the store to one file, in the state at the beginning of the call, while others write.
//!
//! The pages are copied in one read transaction on a separate connection. It blocks no other call, but the WAL cannot be
//! reset before its end. The copy is written as
//! `.NAME.iaid-backup` in the target's folder and gets its name once it is complete and synced.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::dispatch::{CallError, Params};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::copies;
use crate::memory::store::copy::{self, PartialFile};
use crate::memory::store::error::StoreError;
use crate::memory::store::open::{self, Access, FILE_NAME};
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::writer::Writer;

/// What `store_backup` says of a path whose folder does not exist.
pub(crate) const NO_BACKUP_FOLDER: &str = "the path of a file in an existing folder";

/// The result of `store_backup`.
#[derive(Debug, Serialize)]
pub(crate) struct BackupResult {
    /// The size of the file.
    bytes: u64,
}

/// Copies the store at `store` to the file that param `path` names.
///
/// # Errors
/// -32602 if the path is relative, exists, or cannot be that of a new file; -32001 if the copy failed; no partial copy
/// is left.
pub(crate) fn backup(
    store: &StoreFile,
    writer: &Writer,
    params: &Params<'_>,
    now: UnixMicros,
) -> Result<BackupResult, CallError> {
    let target = target(store.path(), params)?;
    let failed = |error: io::Error| CallError::failed(format!("no backup was made: {}: {error}", target.display()));
    let partial = PartialFile::create(partial_path(&target)).map_err(failed)?;
    copy(store, &partial, &target)?;
    let bytes = partial.publish(&target).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => exists_already(&target),
        _ => failed(error),
    })?;
    copies::remember(writer, "backup", &target.to_string_lossy(), now);
    Ok(BackupResult { bytes })
}

fn target(store: &Path, params: &Params<'_>) -> Result<PathBuf, CallError> {
    let path = PathBuf::from(params.string("path")?.into_owned());
    let refused = |expected: &str| CallError::invalid("path", format_args!("{expected}: {}", path.display()));
    if !path.is_absolute() {
        return Err(refused("an absolute path, since the daemon has another working directory"));
    }
    // `file_name` and `parent` ignore a trailing slash.
    let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let (Some(folder), Some(name), false) = (path.parent(), path.file_name(), is_folder) else {
        return Err(refused("the path of a file"));
    };
    if path.symlink_metadata().is_ok() {
        return Err(exists_already(&path));
    }
    if !folder.is_dir() {
        return Err(refused(NO_BACKUP_FOLDER));
    }
    // SQLite might read it as the journal of the store.
    let is_beside = store.parent().and_then(|own| own.canonicalize().ok()) == folder.canonicalize().ok();
    if is_beside && name.as_encoded_bytes().starts_with(FILE_NAME.as_bytes()) {
        return Err(refused("a file whose name does not begin with that of the store's database"));
    }
    Ok(path)
}

fn exists_already(path: &Path) -> CallError {
    let path = path.display();
    CallError::invalid("path", format_args!("a file that does not exist yet: {path} exists and was not changed"))
}

/// Converts an error of the copy to `target`. Damage of the store keeps its own message; a full disk is that of the
/// copy.
fn copy_error(error: StoreError, target: &Path) -> CallError {
    let target = target.display();
    match error {
        StoreError::Full => CallError::failed(format!(
            "no backup was made: the disk of {target} is full; free some space or give another path"
        )),
        error @ (StoreError::Damaged(_) | StoreError::NotADatabase) => error.into(),
        error => CallError::failed(format!("no backup was made to {target}: {error}")),
    }
}

fn copy(store: &StoreFile, partial: &PartialFile, target: &Path) -> Result<(), CallError> {
    store.verify()?;
    let source = open::connect(store.path(), Access::Read)?;
    // A transaction has a snapshot from its first read on. Without one the copy would start over at each commit of the
    // writer.
    let snapshot = source.unchecked_transaction()?;
    snapshot.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
    copy::database(&snapshot, partial.path()).map_err(|error| copy_error(error, target))
}

/// Returns the path of the partial file, in the folder of `target`. One that an earlier attempt has left is replaced:
/// only one backup runs at a time.
fn partial_path(target: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".iaid-backup");
    target.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use crate::dispatch::code;
    use crate::memory::service::Memory;
    use crate::memory::test_support::Bench;
    use serde_json::json;

    #[test]
    fn a_backup_is_a_store() {
        let bench = Bench::new();
        let ids: Vec<_> = (0..50).map(|n| bench.capture(&format!("text number {n} of many"), json!({}))).collect();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = elsewhere.path().join(FILE_NAME);
        let got = bench.ok("store_backup", json!({"path": path}));
        let found = fs::metadata(&path).unwrap();
        assert_eq!((&got["bytes"], found.permissions().mode() & 0o777), (&json!(found.len()), 0o600));
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1);
        let copy = Bench { memory: Memory::open(elsewhere.path()).unwrap(), folder: elsewhere };
        let hits = copy.ok("memory_recall", json!({"cue": "49"}));
        assert_eq!(hits["hits"][0]["record_id"], json!(ids[49]));
        assert_eq!(copy.ok("store_check", json!({}))["ok"], json!(true));
    }

    #[test]
    fn the_target_must_be_a_new_absolute_path() {
        let bench = Bench::new();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::write(at("there"), "mine").unwrap();
        std::os::unix::fs::symlink("/nowhere", at("dangling")).unwrap();
        let own = bench.folder.path().join("memory.db-journal").to_str().unwrap().to_owned();
        for (path, part) in [
            ("backup.db".to_owned(), "absolute"),
            (String::new(), "absolute"),
            ("/".into(), "path of a file"),
            (at("new/"), "path of a file"),
            (at(".."), "path of a file"),
            (at("no/folder"), "in an existing folder"),
            (at("there"), "does not exist yet"),
            (at("there/x"), "in an existing folder"),
            (at("dangling"), "does not exist yet"),
            (own, "the store's database"),
        ] {
            let error = bench.err("store_backup", json!({"path": path}));
            assert_eq!(error.code, code::INVALID_PARAMS, "{path}");
            assert!(error.message.contains(part), "{path}: {error}");
        }
        assert_eq!(fs::read_to_string(at("there")).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_left_partial_file_is_replaced_and_a_failed_backup_leaves_none() {
        let bench = Bench::new();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".copy.iaid-backup"), "half").unwrap();
        bench.ok("store_backup", json!({"path": folder.path().join("copy")}));
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names(), ["copy"]);
        let partial = PartialFile::create(partial_path(&folder.path().join("other"))).unwrap();
        let error = partial.publish(&folder.path().join("copy")).unwrap_err();
        assert_eq!((error.kind(), names()), (io::ErrorKind::AlreadyExists, vec!["copy".into()]));
        let long = folder.path().join("x".repeat(250));
        let error = bench.err("store_backup", json!({"path": long}));
        assert_eq!(error.code, code::FAILED, "{error}");
        assert_eq!(names(), ["copy"]);
    }
}
