//! `store_backup`: the store as one file, as it was when the call began, made while others write.
//!
//! The copy goes page by page out of one read transaction on a connection of its own. Nobody waits for
//! it; only the write-ahead log cannot be emptied before its end. It takes two page caches of 256 KiB,
//! whatever the store's size. The file appears under its name once it is whole and on the disk; until
//! then it is `.NAME.iaid-backup` beside it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

use crate::dispatch::{CallError, Params};
use crate::memory::store::error::StoreError;
use crate::memory::store::open::{self, Access, FILE_NAME};

/// Pages copied at once: 256 KiB, what the page cache holds.
const STEP_PAGES: i32 = 64;

/// How often a step that another program's lock stops is tried again, and after which pause: 5 s in all,
/// as any connection of the store's waits.
const BUSY_STEPS: u32 = 500;
const BUSY_PAUSE: Duration = Duration::from_millis(10);

/// What a backup gives.
#[derive(Debug, Serialize)]
pub(crate) struct Copied {
    /// The file's size.
    bytes: u64,
}

/// Copies the store at `store` to the file that the param `path` names.
///
/// # Errors
/// -32602 where the path is relative, taken, or no place for a file; -32001 where the copy failed.
/// Nothing of it is left then.
pub(crate) fn backup(store: &Path, params: &Params<'_>) -> Result<Copied, CallError> {
    let target = target(store, params)?;
    let failed = |error: io::Error| CallError::failed(format!("no backup was made: {}: {error}", target.display()));
    let partial = Partial::create(&target).map_err(failed)?;
    copy(store, &partial.0, &target)?;
    let file = File::open(&partial.0).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    let bytes = file.metadata().map_err(failed)?.len();
    partial.publish(&target).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => taken(&target),
        _ => failed(error),
    })?;
    Ok(Copied { bytes })
}

fn target(store: &Path, params: &Params<'_>) -> Result<PathBuf, CallError> {
    let path = PathBuf::from(params.string("path")?.into_owned());
    let refused = |expected: &str| CallError::invalid("path", expected);
    if !path.is_absolute() {
        return Err(refused("an absolute path, since the daemon has a folder of its own"));
    }
    // `file_name` and `parent` overlook a slash at the end.
    let is_folder = path.as_os_str().as_encoded_bytes().ends_with(b"/");
    let (Some(folder), Some(name), false) = (path.parent(), path.file_name(), is_folder) else {
        return Err(refused("the path of a file"));
    };
    if path.symlink_metadata().is_ok() {
        return Err(taken(&path));
    }
    if !folder.is_dir() {
        return Err(refused("the path of a file in a folder that is there"));
    }
    // SQLite would take it for a journal of the store's.
    let is_beside = store.parent().and_then(|own| own.canonicalize().ok()) == folder.canonicalize().ok();
    if is_beside && name.as_encoded_bytes().starts_with(FILE_NAME.as_bytes()) {
        return Err(refused("a file that does not begin with the store's own name"));
    }
    Ok(path)
}

fn taken(path: &Path) -> CallError {
    let path = path.display();
    CallError::invalid("path", format_args!("a file that is not there yet ({path} is, and is left alone)"))
}

/// Why the copy at `target` cannot be made. The store's own faults have their own words, but for a full
/// disk: it is the copy's.
fn about(error: rusqlite::Error, target: &Path) -> CallError {
    let target = target.display();
    match StoreError::from(error) {
        StoreError::Full => CallError::failed(format!(
            "no backup was made: the disk of {target} is full; free some space or give another path"
        )),
        fault @ (StoreError::Damaged(_) | StoreError::NotADatabase) => fault.into(),
        fault => CallError::failed(format!("no backup was made to {target}: {fault}")),
    }
}

fn copy(store: &Path, partial: &Path, target: &Path) -> Result<(), CallError> {
    let failed = |error| about(error, target);
    let source = open::connect(store, Access::Read)?;
    // A transaction has a snapshot from its first read on. Held, it keeps the copy from starting over at
    // each commit of the writer's.
    let snapshot = source.unchecked_transaction().map_err(failed)?;
    snapshot.query_row("SELECT count(*) FROM meta", [], |_| Ok(())).map_err(failed)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut copy = Connection::open_with_flags(partial, flags).map_err(failed)?;
    // A file that is thrown away if it is not whole needs neither a journal nor order on the disk.
    for (pragma, value) in [("journal_mode", "off"), ("synchronous", "off"), ("cache_size", "-256")] {
        copy.pragma_update(None, pragma, value).map_err(failed)?;
    }
    let work = Backup::new(&snapshot, &mut copy).map_err(failed)?;
    let mut patience = BUSY_STEPS;
    loop {
        match work.step(STEP_PAGES).map_err(failed)? {
            StepResult::Done => break,
            StepResult::More => patience = BUSY_STEPS,
            _ if patience == 0 => return Err(StoreError::Busy.into()),
            _ => {
                patience -= 1;
                std::thread::sleep(BUSY_PAUSE);
            }
        }
    }
    drop(work);
    copy.close().map_err(|(_, error)| failed(error))
}

/// The file in the making. Dropped before it was published, it goes.
struct Partial(PathBuf);

impl Partial {
    /// Makes it beside `target`. What another attempt has left there goes: only one is made at a time.
    fn create(target: &Path) -> io::Result<Partial> {
        let mut name = OsString::from(".");
        name.push(target.file_name().unwrap_or_default());
        name.push(".iaid-backup");
        let path = target.with_file_name(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let partial = Partial(path);
        // The umask may have taken even the owner's bits away.
        fs::set_permissions(&partial.0, Permissions::from_mode(0o600))?;
        Ok(partial)
    }

    /// Gives it its name for good, never over another file.
    fn publish(self, target: &Path) -> io::Result<()> {
        match fs::hard_link(&self.0, target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(error),
            // A file system without hard links: the name was free a moment ago.
            Err(_) if target.symlink_metadata().is_err() => fs::rename(&self.0, target)?,
            Err(error) => return Err(error),
            Ok(()) => {}
        }
        drop(self);
        target.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                log::warn!("{} is left over from a backup and can be removed: {error}", self.0.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::code;
    use crate::memory::service::Memory;
    use crate::memory::test_support::Bench;
    use serde_json::json;

    #[test]
    fn a_copy_is_a_store() {
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
    fn only_a_free_absolute_path_is_taken() {
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
            (at("no/folder"), "in a folder that is there"),
            (at("there"), "not there yet"),
            (at("there/x"), "in a folder that is there"),
            (at("dangling"), "not there yet"),
            (own, "store's own name"),
        ] {
            let error = bench.err("store_backup", json!({"path": path}));
            assert_eq!(error.code, code::INVALID_PARAMS, "{path}");
            assert!(error.message.contains(part), "{path}: {error}");
        }
        assert_eq!(fs::read_to_string(at("there")).unwrap(), "mine");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_a_broken_backup_left_is_in_nobodys_way_and_a_failed_one_leaves_nothing() {
        let bench = Bench::new();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".copy.iaid-backup"), "half").unwrap();
        bench.ok("store_backup", json!({"path": folder.path().join("copy")}));
        let names = || fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!(names(), ["copy"]);
        let partial = Partial::create(&folder.path().join("other")).unwrap();
        let error = partial.publish(&folder.path().join("copy")).unwrap_err();
        assert_eq!((error.kind(), names()), (io::ErrorKind::AlreadyExists, vec!["copy".into()]));
        let long = folder.path().join("x".repeat(250));
        let error = bench.err("store_backup", json!({"path": long}));
        assert_eq!(error.code, code::FAILED, "{error}");
        assert_eq!(names(), ["copy"]);
    }
}
