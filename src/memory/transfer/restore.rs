//! `store_restore`: replaces the content of the store by that of a file, in one transaction.
//!
//! The file is copied into the store's folder first (`memory.db.restore.tmp-PID`), and the copy is migrated and checked:
//! the file itself is only read. With `confirm`, the writer then copies the present store to
//! `memory.db.before-restore-TIME` and overwrites all pages of the database by those of the copy, in one transaction
//! (SQLite's backup in the other direction). Nothing is closed or renamed: other calls wait for the writer, readers keep
//! their snapshot until their next one, and a kill at any moment leaves the old content or the new one.
//!
//! A store that cannot be opened, because it is damaged, is replaced as a file while no daemon runs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::commit_mark::{CommitMark, Marker};
use crate::memory::store::copy::{self, PartialFile};
use crate::memory::store::error::StoreError;
use crate::memory::store::files;
use crate::memory::store::open::{self, Access, OpenedStore};
use crate::memory::store::open_error::OpenError;
use crate::memory::store::reader::Reader;
use crate::memory::store::stale_wal::{self, WalOwner};
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::sync_identity;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::transaction::Reload;
use crate::memory::transfer::check;

/// The result of `store_restore`.
#[derive(Debug, Serialize)]
pub(crate) struct RestoreResult {
    /// False if `confirm` was: nothing was changed then.
    restored: bool,
    /// The file.
    file: RestoreSide,
    /// The store before the call.
    store: RestoreSide,
    /// Records of the store that the file does not have; `None` if the store cannot be read.
    gone: Option<i64>,
    /// The file that has the store as it was before.
    kept_as: Option<PathBuf>,
}

/// One of the two stores.
#[derive(Debug, Default, Serialize)]
struct RestoreSide {
    path: PathBuf,
    /// The number of records; `None` if it cannot be read.
    records: Option<i64>,
    /// The time of the newest record.
    newest: Option<String>,
}

/// A copy of the file, migrated and checked.
pub(crate) struct StagedStore {
    source: PathBuf,
    copy: PartialFile,
    _side_files: SideFiles,
    records: i64,
    newest: Option<String>,
}

/// The files that SQLite keeps beside the copy while it is open. Removed when dropped.
struct SideFiles(PathBuf);

impl Drop for SideFiles {
    fn drop(&mut self) {
        for suffix in ["-wal", "-shm"] {
            let mut path = self.0.as_os_str().to_owned();
            path.push(suffix);
            // Usually SQLite has removed them.
            drop(fs::remove_file(path));
        }
    }
}

/// Answers `store_restore`. `reload` is called on the writer's thread with the new content.
pub(crate) fn restore(
    store: &Arc<StoreFile>,
    writer: &Writer,
    params: &Params<'_>,
    now: UnixMicros,
    reload: Reload,
    reply: Reply<'_>,
) {
    let prepared = prepare(store, params, now);
    let (staged, mut result) = match prepared {
        Ok((staged, result, true)) => (staged, result),
        Ok((_, result, false)) => return reply.send(Ok(result)),
        Err(error) => return reply.send::<RestoreResult>(Err(error)),
    };
    let reply = Arc::new(Mutex::new(Some(reply.later())));
    let (answer, refusal) = (reply.clone(), reply);
    let send = |reply: &Mutex<Option<_>>, outcome| {
        let reply: Option<crate::dispatch::LateReply> = reply.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reply) = reply {
            reply.send::<RestoreResult>(outcome);
        }
    };
    let store = store.clone();
    writer.submit(task(
        0,
        move |transaction| {
            transaction.run_alone(Box::new(move |connection| {
                let outcome = replace(connection, &store, &staged).and_then(|kept| {
                    reload(connection)?;
                    (result.restored, result.kept_as) = (true, Some(kept));
                    Ok(result)
                });
                send(&answer, outcome);
            }));
            Ok(())
        },
        move |outcome: Result<(), CallError>| {
            if let Err(error) = outcome {
                send(&refusal, Err(error));
            }
        },
    ));
}

fn prepare(
    store: &StoreFile,
    params: &Params<'_>,
    now: UnixMicros,
) -> Result<(StagedStore, RestoreResult, bool), CallError> {
    let path = PathBuf::from(params.string("path")?.into_owned());
    let is_confirmed = params.boolean_or("confirm", false)?;
    if !path.is_absolute() {
        let expected = "an absolute path, since the daemon has another working directory";
        return Err(CallError::invalid("path", expected));
    }
    store.verify()?;
    let staged = StagedStore::of(&path, store.path(), now)?;
    let reader = Reader::open(store)?;
    let result = staged.compare(store.path(), Some(reader.snapshot()?.connection()))?;
    Ok((staged, result, is_confirmed))
}

/// Restores `path` into the store in `folder` while no daemon runs; with `is_confirmed` false nothing is changed. Returns
/// the result of `store_restore` as JSON.
///
/// # Errors
/// The message of `store_restore`; nothing was changed then.
pub(crate) fn restore_offline(folder: &Path, path: &Path, is_confirmed: bool) -> Result<String, CallError> {
    let result = restore_closed(folder, path, is_confirmed)?;
    serde_json::to_string(&result).map_err(|error| CallError::failed(error.to_string()))
}

fn restore_closed(folder: &Path, path: &Path, is_confirmed: bool) -> Result<RestoreResult, CallError> {
    let failed = |error: OpenError| CallError::failed(format!("nothing was restored: {error}"));
    let target = folder.join(open::FILE_NAME);
    // A missing store is made: then there is nothing to lose.
    let opened = match open::open(folder) {
        Ok(opened) => Some(opened),
        Err(OpenError::Damaged { .. } | OpenError::NotADatabase { .. } | OpenError::Newer { .. }) => None,
        Err(error) => return Err(failed(error)),
    };
    let now = UnixMicros::now();
    match opened {
        Some(OpenedStore { mut connection, file, lock, .. }) => {
            file.settle(&connection)?;
            let staged = StagedStore::of(path, &target, now)?;
            let mut result = staged.compare(&target, Some(&connection))?;
            if is_confirmed {
                let kept = replace(&mut connection, &file, &staged)?;
                (result.restored, result.kept_as) = (true, Some(kept));
            }
            drop((connection, file, lock));
            Ok(result)
        }
        None => {
            let _lock = open::lock(folder).map_err(failed)?;
            let staged = StagedStore::of(path, &target, now)?;
            let mut result = staged.compare(&target, None)?;
            if is_confirmed {
                (result.restored, result.kept_as) = (
                    true,
                    Some(staged.replace_file(&target).map_err(|error| {
                        CallError::failed(format!("nothing was restored: {}: {error}", target.display()))
                    })?),
                );
            }
            Ok(result)
        }
    }
}

impl StagedStore {
    /// Copies the store at `path` beside the one at `target`, migrates and checks the copy.
    ///
    /// # Errors
    /// -32602 if `path` is not a regular file, or is `target`; -32001 if it is no store of this release or an earlier one,
    /// is damaged, or cannot be copied.
    fn of(path: &Path, target: &Path, now: UnixMicros) -> Result<StagedStore, CallError> {
        check_source(path, target)?;
        let failed = |error: io::Error| match StoreError::from(error) {
            StoreError::Full => full(target),
            error => {
                CallError::failed(format!("nothing was restored: {}: {}", path.display(), error.without_storing()))
            }
        };
        let source = stale_wal::open(path).map_err(failed)?;
        let mut staging = target.as_os_str().to_owned();
        staging.push(".restore");
        let copy = PartialFile::create_for(Path::new(&staging)).map_err(failed)?;
        let side_files = SideFiles(copy.path().to_owned());
        copy_bytes(&source, copy.path()).map_err(failed)?;
        match stale_wal::open(&files::wal_of(path)) {
            Ok(log) if !matches!(stale_wal::owner(&source, &log).map_err(failed)?, WalOwner::Another(_)) => {
                copy_bytes(&log, &files::wal_of(copy.path())).map_err(failed)?;
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let mut staged =
            StagedStore { source: path.to_owned(), copy, _side_files: side_files, records: 0, newest: None };
        staged.migrate(target)?;
        staged.check(now)?;
        Ok(staged)
    }

    /// Migrates the copy, and closes it so that the database file has everything.
    fn migrate(&mut self, target: &Path) -> Result<(), CallError> {
        let path = self.source.display();
        let connection = open::open_copy(self.copy.path()).map_err(|error| match error {
            OpenError::NotADatabase { .. } => refused(format_args!("{path} is not a database")),
            OpenError::NotOurs { .. } => refused(format_args!("{path} is no store, but a database of another program")),
            OpenError::Newer { found, known, .. } => refused(format_args!(
                "{path} was written by a newer release (version {found}, this one knows {known}); install that release"
            )),
            OpenError::Damaged { detail, .. } => refused(format_args!("{path} is damaged ({detail})")),
            OpenError::Full { .. } => full(target),
            OpenError::Failed { detail, .. } | OpenError::Folder { detail, .. } => {
                refused(format_args!("{path} cannot be opened: {detail}"))
            }
            OpenError::ReadOnly { .. } | OpenError::Locked { .. } => {
                refused(format_args!("the copy of {path} cannot be opened"))
            }
        })?;
        let failed = |error: StoreError| refused(format_args!("{path}: {}", error.without_storing()));
        let (records, newest) = summary(&connection).map_err(|error| failed(error.into()))?;
        (self.records, self.newest) = (records, newest);
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        connection.query_row(checkpoint, [], |_| Ok(())).map_err(|error| failed(error.into()))?;
        connection.close().map_err(|(_, error)| failed(error.into()))
    }

    fn check(&self, now: UnixMicros) -> Result<(), CallError> {
        match check::problem(self.copy.path(), now, Instant::now())? {
            Some(problem) => Err(refused(format_args!("{} is damaged ({problem})", self.source.display()))),
            None => Ok(()),
        }
    }

    /// Returns the result of a restore that is not confirmed.
    fn compare(&self, target: &Path, store: Option<&Connection>) -> Result<RestoreResult, CallError> {
        let file = RestoreSide { path: self.source.clone(), records: Some(self.records), newest: self.newest.clone() };
        let mut side = RestoreSide { path: target.to_owned(), ..RestoreSide::default() };
        let mut gone = None;
        if let Some(store) = store {
            let (records, newest) = summary(store)?;
            (side.records, side.newest) = (Some(records), newest);
            gone = Some(missing(store, Reader::at(self.copy.path())?.snapshot()?.connection())?);
        }
        Ok(RestoreResult { restored: false, file, store: side, gone, kept_as: None })
    }

    /// Puts the copy in the place of the file at `target`, which cannot be opened as a store. Its names are added before
    /// the old ones go, so a kill loses nothing. Returns the name of the former file.
    fn replace_file(&self, target: &Path) -> io::Result<PathBuf> {
        self.fork(None)?;
        let kept = files::name_aside(target, "before-restore");
        fs::hard_link(target, &kept)?;
        let log = files::wal_of(target);
        match fs::rename(&log, files::wal_of(&kept)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        File::open(self.copy.path())?.sync_all()?;
        fs::rename(self.copy.path(), target)?;
        files::sync_folder_of(target)?;
        Ok(kept)
    }

    /// Marks the copy as the commit that follows `parent`.
    fn fork(&self, parent: Option<CommitMark>) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(self.copy.path())?;
        let mut page_bytes = [0; 2];
        stale_wal::read_up_to(&file, &mut page_bytes, 16)?;
        let page_bytes = match u16::from_be_bytes(page_bytes) {
            1 => 65536,
            bytes => u64::from(bytes.max(512)),
        };
        match stale_wal::find_mark(&file, page_bytes)? {
            Some((page, _)) => Marker::new().fork(&file, page, page_bytes, parent),
            None => Ok(()),
        }
    }
}

/// Replaces the content of the store that `connection` has open. Returns the name of the copy of the former one.
fn replace(connection: &mut Connection, store: &StoreFile, staged: &StagedStore) -> Result<PathBuf, CallError> {
    store.verify()?;
    let target = store.path();
    let size = |path: &Path| fs::metadata(path).map_or(0, |found| found.len());
    let needed = size(target) + size(&files::wal_of(target)) + size(staged.copy.path());
    if files::lacks_room(target, needed) {
        return Err(full(target));
    }
    let failed = |error: StoreError| match error {
        StoreError::Full => full(target),
        StoreError::Lost(message) => CallError::failed(message),
        error => CallError::failed(format!("nothing was restored: {}", error.without_storing())),
    };
    let io_failed = |error: io::Error| failed(StoreError::from(error));
    let kept = files::name_aside(target, "before-restore");
    let partial = PartialFile::create_for(&kept).map_err(io_failed)?;
    {
        let snapshot = connection.unchecked_transaction().map_err(|error| failed(error.into()))?;
        snapshot.query_row("SELECT count(*) FROM meta", [], |_| Ok(())).map_err(|error| failed(error.into()))?;
        copy::database(&snapshot, partial.path()).map_err(failed)?;
    }
    partial.publish(&kept).map_err(io_failed)?;
    let replaced = overwrite(connection, store, staged);
    // The log has all pages of the copy.
    if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        log::warn!("the checkpoint after a restore failed: {error}");
    }
    if let Err(error) = replaced {
        if let Err(error) = fs::remove_file(&kept) {
            log::warn!("cannot remove {}: {error}", kept.display());
        }
        return Err(failed(error));
    }
    log::info!("restored {}; the former store is in {}", staged.source.display(), kept.display());
    Ok(kept)
}

fn overwrite(connection: &mut Connection, store: &StoreFile, staged: &StagedStore) -> Result<(), StoreError> {
    staged.fork(CommitMark::read(connection)?)?;
    store.verify()?;
    // The backup needs the connection without open statements.
    connection.flush_prepared_statement_cache();
    let source = open::connect(staged.copy.path(), Access::Read)?;
    copy::pages(&source, connection)?;
    store.replaced(connection)?;
    // Other stores may have records that this one no longer has, and must not take it for what it was.
    Ok(sync_identity::renew(connection)?)
}

/// Returns the number of records and the time of the newest one.
fn summary(connection: &Connection) -> Result<(i64, Option<String>), rusqlite::Error> {
    let records = connection.query_row("SELECT coalesce(max(seq), 0) FROM record", [], |row| row.get(0))?;
    let newest: Option<i64> =
        connection.query_row("SELECT ts FROM record ORDER BY seq DESC LIMIT 1", [], |row| row.get(0)).optional()?;
    Ok((records, newest.map(|ts| UnixMicros(ts).to_string())))
}

/// Returns the number of records of `store` that `file` does not have.
fn missing(store: &Connection, file: &Connection) -> Result<i64, rusqlite::Error> {
    let mut find = file.prepare("SELECT 1 FROM record WHERE id = ?1")?;
    let mut ids = store.prepare("SELECT id FROM record")?;
    let mut ids = ids.query([])?;
    let mut count = 0;
    while let Some(row) = ids.next()? {
        let id: [u8; 16] = row.get(0)?;
        count += i64::from(!find.exists([id])?);
    }
    Ok(count)
}

/// Checks that `path` is a regular file other than the database at `target`, without opening it: the close of a second
/// descriptor of the database would release SQLite's locks.
fn check_source(path: &Path, target: &Path) -> Result<(), CallError> {
    let shown = path.display();
    let refused = |what: &str| CallError::invalid("path", format_args!("a store's file: {shown} {what}"));
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(refused("does not exist")),
        Err(error) => return Err(refused(&format!("cannot be read: {error}"))),
    };
    let kind = found.file_type();
    if kind.is_symlink() {
        Err(refused("is a symbolic link; give the file that it leads to"))
    } else if kind.is_dir() {
        Err(refused("is a directory; give the file in it, such as memory.db"))
    } else if !kind.is_file() {
        Err(refused("is not a regular file"))
    } else if files::is_at(target, &found) {
        Err(refused("is the store itself"))
    } else if found.len() == 0 {
        Err(refused("is empty"))
    } else {
        Ok(())
    }
}

fn copy_bytes(mut source: &File, target: &Path) -> io::Result<()> {
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(target)?;
    io::copy(&mut source, &mut copy).map(drop)
}

fn refused(what: std::fmt::Arguments<'_>) -> CallError {
    CallError::failed(format!("nothing was restored: {what}"))
}

fn full(target: &Path) -> CallError {
    let folder = target.parent().unwrap_or(target).display();
    refused(format_args!("the disk of {folder} has no room for a copy of both stores; free some space and try again"))
}
