//! Opens the store: creates or checks the database file, migrates it to the present version, and makes connections to
//! it.
//!
//! It never repairs, renames or overwrites a file that is wrong: opening fails with a message and the file is
//! unchanged.
//!
//! Memory use is kept small. The page cache of the writer is 256 KiB, enough for the upper levels of every tree; leaf pages
//! come from the system's page cache at about 1 µs each. While much is written at once it is 4 MiB, as much as the
//! write-ahead log between two checkpoints, so that a page is written once in a transaction. That of a reader, which is
//! closed when idle, is 1 MiB: a recall reads some hundred pages, many of them twice. `mmap_size` is 0, since every mapped
//! page that is touched would count as resident memory of the daemon.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::memory::store::commit_mark::Marker;
use crate::memory::store::error::StoreError;
use crate::memory::store::files::{self, HEADER_BYTES, is_database_header, wal_of};
use crate::memory::store::open_error::OpenError;
use crate::memory::store::stale_wal;
use crate::memory::store::store_file::StoreFile;
use crate::memory::store::sync_identity;
use crate::memory::text::tokenizer;
use crate::sys::lock::{FileLock, LockError};

/// The name of the database file in the store's folder.
pub(crate) const FILE_NAME: &str = "memory.db";

/// The name of the lock file in the store's folder.
const LOCK_NAME: &str = ".lock";

/// The application id in the database header: "iaid".
pub(crate) const APPLICATION_ID: i32 = i32::from_be_bytes(*b"iaid");

/// Step n migrates version n to n + 1. A released step is never changed; new ones are appended.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/v1.sql"),
    include_str!("schema/v2.sql"),
    include_str!("schema/v3.sql"),
    include_str!("schema/v4.sql"),
    include_str!("schema/v5.sql"),
    include_str!("schema/v6.sql"),
];

/// How long a connection waits for the lock of another program, such as a backup or a shell.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The size of the database file of a new store before the first checkpoint: one page.
const NEW_FILE_BYTES: u64 = 4096;

/// The next checkpoint truncates a larger WAL to this size: 1000 pages, as SQLite's own autocheckpoint.
const WAL_BYTES: i64 = 4 << 20;

/// An open store: its lock and its one writing connection.
#[derive(Debug)]
pub(crate) struct OpenedStore {
    /// The database file.
    pub(crate) path: PathBuf,
    /// The writer's connection.
    pub(crate) connection: Connection,
    /// The files that the connection has open. Dropped after it.
    pub(crate) file: Arc<StoreFile>,
    /// Held while the store is in use.
    pub(crate) lock: FileLock,
}

/// The page caches of connections. The writer has the larger one while much is written at once.
pub(crate) const WRITER_CACHE_KIB: i64 = 256;
pub(crate) const BULK_CACHE_KIB: i64 = 4096;
const READER_CACHE_KIB: i64 = 1024;

/// What a connection is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reading and writing, by the writer only.
    Write,
    /// Reading; writes fail.
    Read,
}

/// Opens the store in `folder`. Creates the folder, with mode 0700, if it is missing.
///
/// Of a new store nothing is synced yet: [`StoreFile::settle`] does that before the first commit. Until then a power failure
/// leaves no store, an empty file or a store without records, each of which the next start makes a store of.
///
/// # Errors
/// See [`OpenError`]. Existing files are unchanged; a new folder, lock file and empty database may remain.
pub(crate) fn open(folder: &Path) -> Result<OpenedStore, OpenError> {
    let mut unsynced = make_missing_folder(folder)?;
    let lock = lock(folder)?;
    let path = folder.join(FILE_NAME);
    if prepare_file(&path)? {
        unsynced.push(folder.to_owned());
    }
    let wal = wal_of(&path);
    stale_wal::set_aside(&path, &wal).map_err(|error| OpenError::from_io(&wal, &error))?;
    let file = File::open(&path).map_err(|error| OpenError::from_io(&path, &error))?;
    let connection = connect(&path, Access::Write).map_err(|fault| OpenError::from_store(&path, fault))?;
    check_identity(&path, &connection)?;
    migrate(&connection).map_err(|fault| OpenError::from_store(&path, fault))?;
    sync_identity::ensure(&connection, &file, &path).map_err(|fault| OpenError::from_store(&path, fault))?;
    sync_commits(&connection).map_err(|fault| OpenError::from_store(&path, fault))?;
    let file =
        StoreFile::new(&path, file, &connection, unsynced).map_err(|fault| OpenError::from_store(&path, fault))?;
    Ok(OpenedStore { path, connection, file: Arc::new(file), lock })
}

/// Takes the lock of the store in `folder`.
///
/// # Errors
/// See [`OpenError`].
pub(crate) fn lock(folder: &Path) -> Result<FileLock, OpenError> {
    FileLock::acquire(&folder.join(LOCK_NAME)).map_err(|error| match error {
        LockError::Held { path, pid } => OpenError::Locked { path, pid },
        LockError::Io { path, source, .. } => OpenError::from_io(&path, &source),
        foreign @ LockError::Foreign { .. } => {
            OpenError::Failed { path: folder.join(LOCK_NAME), detail: foreign.to_string() }
        }
    })
}

/// Opens and migrates a copy of a store at `path`, which no other connection uses.
///
/// # Errors
/// See [`OpenError`]; an empty database is [`OpenError::NotOurs`].
pub(crate) fn open_copy(path: &Path) -> Result<Connection, OpenError> {
    check_header(path)?;
    let failed = |fault: StoreError| OpenError::from_store(path, fault);
    let connection = connect(path, Access::Write).map_err(failed)?;
    check_identity(path, &connection)?;
    let application: i64 = connection
        .query_row("SELECT application_id FROM pragma_application_id", [], |row| row.get(0))
        .map_err(|error| failed(error.into()))?;
    if application != i64::from(APPLICATION_ID) {
        return Err(OpenError::NotOurs { path: path.to_owned() });
    }
    migrate(&connection).map_err(failed)?;
    Ok(connection)
}

/// Returns a connection to the existing database at `path`.
///
/// # Errors
/// [`StoreError::ReadOnly`] if the file cannot be written and `access` is [`Access::Write`]; otherwise as SQLite.
pub(crate) fn connect(path: &Path, access: Access) -> Result<Connection, StoreError> {
    // A connection is used by one thread at a time, so SQLite needs no mutex.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if access == Access::Write && connection.is_readonly("main")? {
        return Err(StoreError::ReadOnly);
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Otherwise a statement whose plan may depend on a bound value (any LIMIT) is planned again for each value.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    let cache_kib = if access == Access::Read { READER_CACHE_KIB } else { WRITER_CACHE_KIB };
    connection.pragma_update(None, "cache_size", -cache_kib)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    match access {
        Access::Read => {
            connection.pragma_update(None, "query_only", true)?;
            // Only the writer, which knows whether the file is still its own, writes to it.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        Access::Write => {
            sync_commits(&connection)?;
            // On macOS, fsync leaves the data in the disk's write cache.
            connection.pragma_update(None, "fullfsync", true)?;
            connection.pragma_update(None, "checkpoint_fullfsync", true)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "recursive_triggers", true)?;
        }
    }
    Ok(connection)
}

/// Has each commit synced before it returns.
fn sync_commits(connection: &Connection) -> Result<(), StoreError> {
    Ok(connection.pragma_update(None, "synchronous", "full")?)
}

/// Creates the folder `folder`, with mode 0700, if it is missing.
///
/// # Errors
/// See [`OpenError`].
pub(crate) fn make_folder(folder: &Path) -> Result<(), OpenError> {
    let unsynced = make_missing_folder(folder)?;
    unsynced
        .iter()
        .try_for_each(|parent| files::sync_folder(parent))
        .map_err(|error| OpenError::from_io(folder, &error))
}

/// As [`make_folder`], and returns the folders that are still to be synced: those in which one was made.
fn make_missing_folder(folder: &Path) -> Result<Vec<PathBuf>, OpenError> {
    if folder.is_dir() {
        return Ok(Vec::new());
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut unsynced = parent.map_or(Ok(Vec::new()), make_missing_folder)?;
    unsynced.push(parent.unwrap_or(Path::new(".")).to_owned());
    let made = DirBuilder::new().mode(0o700).create(folder);
    match made {
        // The umask may have removed even the owner's bits.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o700)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|error| OpenError::from_io(folder, &error))?;
    Ok(unsynced)
}

/// Creates an empty file if there is none, otherwise checks the header of the existing one before SQLite reads it. Sets
/// the mode of all files of the database to 0600. Returns true if the file is new.
fn prepare_file(path: &Path) -> Result<bool, OpenError> {
    let files = ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    files.iter().try_for_each(|file| check_kind(file))?;
    let is_new = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            empty_if_unwritten(path).map_err(|error| OpenError::from_io(path, &error))?;
            check_header(path)?;
            false
        }
        Err(error) => return Err(OpenError::from_io(path, &error)),
    };
    for file in &files {
        restrict_mode(file).map_err(|error| OpenError::from_io(path, &error))?;
    }
    Ok(is_new)
}

/// Empties a file that has one page of zeros at most: some file systems leave that of the first page of a new store after a
/// power failure.
fn empty_if_unwritten(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let bytes = file.metadata()?.len();
    if !(1..=NEW_FILE_BYTES).contains(&bytes) {
        return Ok(());
    }
    let mut content = Vec::new();
    (&mut file).take(NEW_FILE_BYTES).read_to_end(&mut content)?;
    if content.iter().any(|byte| *byte != 0) {
        return Ok(());
    }
    OpenOptions::new().write(true).custom_flags(libc::O_NOFOLLOW).open(path)?.set_len(0)
}

/// Checks that the path is a regular file or does not exist. SQLite would follow a link, and wait for the writer of a
/// pipe.
fn check_kind(path: &Path) -> Result<(), OpenError> {
    let detail = match fs::symlink_metadata(path) {
        Ok(about) if about.is_symlink() => {
            "it is a symbolic link, and links in the store's folder are not followed; move the file itself there, or \
             make the whole folder a link"
        }
        Ok(about) if !about.is_file() => "it is not a regular file; move it away",
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(OpenError::from_io(path, &error)),
    };
    Err(OpenError::Failed { path: path.to_owned(), detail: detail.into() })
}

/// Sets the mode 0600. SQLite creates the WAL and shared memory files with the mode of the database file, whatever the
/// umask.
fn restrict_mode(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o777 == 0o600 => Ok(()),
        Ok(_) => fs::set_permissions(path, Permissions::from_mode(0o600)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Checks that the file is empty or a database of this program, and complete. Header offsets are those of
/// <https://sqlite.org/fileformat2.html#the_database_header>.
fn check_header(path: &Path) -> Result<(), OpenError> {
    let io_error = |error: io::Error| OpenError::from_io(path, &error);
    // The flags matter if the file has been replaced since it was checked.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let mut file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(io_error)?;
    let found = file.metadata().map_err(io_error)?;
    if !found.is_file() {
        return Err(OpenError::Failed {
            path: path.to_owned(),
            detail: "it is not a regular file; move it away".into(),
        });
    }
    let mut header = Vec::with_capacity(HEADER_BYTES);
    (&mut file).take(HEADER_BYTES as u64).read_to_end(&mut header).map_err(io_error)?;
    // An empty file is a new database.
    if header.is_empty() {
        return Ok(());
    }
    if !is_database_header(&header) {
        return Err(OpenError::NotADatabase { path: path.to_owned() });
    }
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    if ![0, APPLICATION_ID as u32].contains(&number(68)) {
        return Err(OpenError::NotOurs { path: path.to_owned() });
    }
    let page_bytes = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65536,
        bytes => u64::from(bytes),
    };
    let wanted = u64::from(number(28)) * page_bytes;
    let has_wal = fs::metadata(wal_of(path)).is_ok_and(|wal| wal.len() > 0);
    // The page count is valid if both counters agree. Missing pages may be in the WAL.
    if number(24) == number(92) && wanted > found.len() && !has_wal {
        let detail = format!("truncated to {} of {wanted} bytes", found.len());
        return Err(OpenError::Damaged { path: path.to_owned(), detail });
    }
    Ok(())
}

fn check_identity(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let number = |sql: &str| -> Result<i64, OpenError> {
        connection.query_row(sql, [], |row| row.get(0)).map_err(|error| OpenError::from_store(path, error.into()))
    };
    let objects = number("SELECT count(*) FROM sqlite_schema")?;
    let application = number("SELECT application_id FROM pragma_application_id")?;
    let version = number("SELECT user_version FROM pragma_user_version")?;
    let is_new = objects == 0 && application == 0 && version == 0;
    if !is_new && application != i64::from(APPLICATION_ID) {
        return Err(OpenError::NotOurs { path: path.to_owned() });
    }
    let known = MIGRATIONS.len() as i64;
    if version > known {
        return Err(OpenError::Newer { path: path.to_owned(), found: version, known });
    }
    Ok(())
}

fn migrate(connection: &Connection) -> Result<(), StoreError> {
    let version: i64 = connection.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))?;
    if version == 0 {
        // Nothing of a new store is needed before `StoreFile::settle`, which syncs it.
        connection.pragma_update(None, "synchronous", "off")?;
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let detail =
            format!("the file system does not support a write-ahead log (journal mode {mode}); use a local disk");
        return Err(StoreError::Other(detail));
    }
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    apply_migrations(connection, version)
}

/// Applies the migrations that the database does not have, all or none.
fn apply_migrations(connection: &Connection, version: i64) -> Result<(), StoreError> {
    if version as usize >= MIGRATIONS.len() {
        return Ok(());
    }
    let apply = || -> Result<(), rusqlite::Error> {
        connection.execute_batch("BEGIN IMMEDIATE")?;
        for (at, step) in MIGRATIONS.iter().enumerate().skip(version as usize) {
            connection.execute_batch(step)?;
            if at == 0 {
                let sql = "INSERT INTO meta (key, value) VALUES ('terms_version', ?1)";
                connection.execute(sql, [tokenizer::VERSION])?;
            }
            if at == 2 {
                Marker::new().mark_commit(connection)?;
            }
        }
        connection.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
        connection.execute_batch("COMMIT")
    };
    let applied = apply();
    if applied.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK")?;
    }
    Ok(applied?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn error(folder: &Path) -> OpenError {
        open(folder).map(|store| store.path).unwrap_err()
    }

    fn insert(connection: &Connection, id: u8) {
        connection
            .execute_batch(&format!(
                "INSERT OR IGNORE INTO session VALUES (1, '-'); INSERT OR IGNORE INTO project VALUES (1, '');
                 INSERT INTO record VALUES (NULL, {}, 5, 1, 0, 1, 1, NULL, NULL, NULL, {}, 0, '', 'text {id}')",
                blob(id),
                blob(id + 100),
            ))
            .unwrap();
    }

    fn blob(n: u8) -> String {
        format!("X'{}{n:02x}'", "00".repeat(15))
    }

    #[test]
    fn a_new_store_is_private_and_durable() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("a/b");
        let store = open(&folder).unwrap();
        insert(&store.connection, 1);
        assert_eq!((mode(&folder), mode(&parent.path().join("a"))), (0o700, 0o700));
        for name in ["memory.db", "memory.db-wal", "memory.db-shm", ".lock"] {
            assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
        }
        for (pragma, want) in
            [("journal_mode", "wal"), ("synchronous", "2"), ("recursive_triggers", "1"), ("foreign_keys", "1")]
        {
            let got: String = store
                .connection
                .query_row(&format!("SELECT CAST({pragma} AS TEXT) FROM pragma_{pragma}"), [], |row| row.get(0))
                .unwrap();
            assert_eq!(got, want, "{pragma}");
        }
        let reader = connect(&store.path, Access::Read).unwrap();
        assert_eq!(StoreError::from(reader.execute("DELETE FROM meta", []).unwrap_err()), StoreError::ReadOnly);
    }

    #[test]
    fn whatever_a_power_failure_leaves_of_a_new_store_becomes_one() {
        let folder = tempfile::tempdir().unwrap();
        let new = open(folder.path()).unwrap();
        let (file, log) = (fs::read(&new.path).unwrap(), fs::read(wal_of(&new.path)).unwrap());
        assert_eq!((file.len() as u64, log.len() > 100_000), (NEW_FILE_BYTES, true));
        let zeros = vec![0; file.len()];
        let cut = |bytes: usize| log[..bytes].to_vec();
        let mut torn = log.clone();
        torn[50_000..60_000].fill(0);
        let mut cases = vec![(vec![], None), (zeros.clone(), None), (file.clone(), None), (file.clone(), Some(torn))];
        cases.extend([0, 20, 32, 4000, 60_000, log.len() - 1, log.len()].map(|bytes| (file.clone(), Some(cut(bytes)))));
        cases.extend([vec![], zeros[..512].to_vec(), zeros].map(|file| (file, Some(log.clone()))));
        for (at, (file, log)) in cases.into_iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(FILE_NAME);
            fs::write(&path, file).unwrap();
            log.inspect(|log| fs::write(wal_of(&path), log).unwrap());
            let store = open(folder.path()).unwrap_or_else(|error| panic!("{at}: {error}"));
            insert(&store.connection, 1);
            store.file.settle(&store.connection).unwrap();
            store.file.verify().unwrap();
            drop(store);
            let store = open(folder.path()).unwrap();
            let found: (i64, String) = store
                .connection
                .query_row(
                    "SELECT count(*), (SELECT integrity_check FROM pragma_integrity_check) FROM record",
                    [],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .unwrap();
            assert_eq!(found, (1, "ok".to_owned()), "{at}");
        }
    }

    #[test]
    fn an_open_restricts_the_modes_of_existing_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = open(folder.path()).unwrap().path;
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let store = open(folder.path()).unwrap();
        insert(&store.connection, 1);
        assert_eq!((mode(&path), mode(&folder.path().join("memory.db-wal"))), (0o600, 0o600));
    }

    #[test]
    fn a_second_open_names_the_process_that_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        let found = error(folder.path());
        assert_eq!(found, OpenError::Locked { path: folder.path().join(".lock"), pid: Some(std::process::id()) });
        assert!(found.to_string().contains(&std::process::id().to_string()));
        drop(first);
        open(folder.path()).unwrap();
    }

    #[test]
    fn a_store_of_an_earlier_version_is_migrated() {
        for version in 1..MIGRATIONS.len() {
            let folder = tempfile::tempdir().unwrap();
            let earlier = Connection::open(folder.path().join(FILE_NAME)).unwrap();
            MIGRATIONS[..version].iter().for_each(|step| earlier.execute_batch(step).unwrap());
            earlier.execute("INSERT INTO meta VALUES ('terms_version', ?1)", [tokenizer::VERSION]).unwrap();
            earlier.pragma_update(None, "user_version", version as i64).unwrap();
            insert(&earlier, 1);
            drop(earlier);
            let store = open(folder.path()).unwrap();
            let number = |sql: &str| store.connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
            assert_eq!(number("SELECT user_version FROM pragma_user_version"), MIGRATIONS.len() as i64);
            assert_eq!((number("SELECT count(*) FROM record"), number("SELECT count(*) FROM spool")), (1, 0));
            let last_without_turns = if version < 3 { 1 } else { 0 };
            assert_eq!(number("SELECT value FROM meta WHERE key = 'last_without_turns'"), last_without_turns);
            assert_eq!(number("SELECT count(*) FROM turn") + number("SELECT count(*) FROM early_turn"), 0);
            assert_eq!(number("SELECT count(*) FROM session_context"), 0);
            assert_eq!(number("SELECT count(*) FROM project_alias") + number("SELECT count(*) FROM wake"), 0);
            assert_eq!(number("SELECT count(*) FROM change") + number("SELECT count(*) FROM record_alias"), 0);
        }
    }

    #[test]
    fn what_a_store_of_version_5_has_to_give_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let earlier = Connection::open(folder.path().join(FILE_NAME)).unwrap();
        MIGRATIONS[..5].iter().for_each(|step| earlier.execute_batch(step).unwrap());
        let record = |id: u8, hash: u8, ts: i64, twin: i64, valid_to: &str| {
            let sql = format!(
                "INSERT INTO record VALUES (NULL, {}, {ts}, 1, 0, 1, 1, NULL, NULL, {valid_to}, {}, {twin}, '', 't')",
                blob(id),
                blob(hash)
            );
            earlier.execute_batch(&sql).unwrap();
        };
        earlier.execute_batch("INSERT INTO session VALUES (1, '-'); INSERT INTO project VALUES (1, '')").unwrap();
        // The same words four times, of which the second was replaced by the sixth, and the third has ended otherwise.
        record(1, 100, 5, 0, "NULL");
        record(2, 100, 3, 0, "9");
        record(3, 100, 4, 0, "9");
        record(4, 100, 4, 1, "NULL");
        record(5, 101, 1, 0, "NULL");
        record(6, 102, 1, 0, "NULL");
        earlier
            .execute_batch(
                "INSERT INTO link VALUES (2, 6, 2, 1000, 8), (1, 5, 1, 100, 7), (1, 5, 0, 100, 9);
                 INSERT INTO profile VALUES ('masking_off', 'true');
                 INSERT INTO forgetting VALUES (5); INSERT INTO forgotten SELECT seq, id, 5 FROM record WHERE seq = 5;
                 INSERT INTO meta VALUES ('terms_version', 1)",
            )
            .unwrap();
        earlier.pragma_update(None, "user_version", 5).unwrap();
        drop(earlier);
        let store = open(folder.path()).unwrap();
        let list = |sql: &str| -> Vec<String> {
            let mut rows = store.connection.prepare(sql).unwrap();
            rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(list("SELECT record || '' FROM ended_record ORDER BY record"), ["2", "3"]);
        assert_eq!(list("SELECT record || '=' || number FROM repetition"), ["1=3", "3=1", "4=2"]);
        let changes = "SELECT kind || ' ' || a || ' ' || b || ' ' || hex(name) FROM change ORDER BY number";
        let forgotten = format!("3 0 0 {}05", "00".repeat(15));
        assert_eq!(list(changes), ["1 1 5 ", "2 2 6 ", &forgotten, "4 0 0 6D61736B696E675F6F6666"]);
    }

    #[test]
    fn records_of_version_5_cost_the_change_log_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let earlier = Connection::open(&path).unwrap();
        earlier.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
        MIGRATIONS[..5].iter().for_each(|step| earlier.execute_batch(step).unwrap());
        earlier
            .execute_batch(
                "INSERT INTO session VALUES (1, '-'); INSERT INTO project VALUES (1, '');
                 WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 5000)
                 INSERT INTO record SELECT NULL, randomblob(16), n, 1, 0, 1, 1, NULL, NULL, NULL, randomblob(16), 0, '',
                     printf('%.300c', 'x') FROM n;
                 INSERT INTO link SELECT seq - 1, seq, 0, 500, seq FROM record WHERE seq > 1;
                 PRAGMA user_version = 5",
            )
            .unwrap();
        let (rows, pages) = (earlier.total_changes(), |connection: &Connection| -> i64 {
            connection.query_row("SELECT page_count FROM pragma_page_count", [], |row| row.get(0)).unwrap()
        });
        let before = pages(&earlier);
        migrate(&earlier).unwrap();
        assert!(earlier.total_changes() - rows < 10, "{}", earlier.total_changes() - rows);
        // A page for each of the new tables and indexes, and one for what the schema says of them.
        assert!(pages(&earlier) - before < 40, "{}", pages(&earlier) - before);
    }

    #[test]
    fn a_copy_of_a_store_has_another_sync_id() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let id = |folder: &Path| sync_identity::read(&open(folder).unwrap().connection).unwrap().unwrap();
        let original = id(first.path());
        assert_eq!(id(first.path()), original);
        fs::copy(first.path().join(FILE_NAME), second.path().join(FILE_NAME)).unwrap();
        let copied = id(second.path());
        assert_ne!(copied, original);
        assert_eq!((id(first.path()), id(second.path())), (original, copied));
    }

    #[test]
    fn a_record_changes_its_id_time_and_project_only_as_a_merge_has_noted() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        for id in [5, 9] {
            insert(&store.connection, id);
        }
        let run = |sql: &str| store.connection.execute_batch(sql);
        run("INSERT INTO project VALUES (2, 'p')").unwrap();
        run(&format!("INSERT INTO record_alias VALUES ({}, 1), ({}, 1)", blob(3), blob(7))).unwrap();
        for sql in [
            format!("UPDATE record SET id = {} WHERE seq = 1", blob(4)),
            format!("UPDATE record SET id = {} WHERE seq = 1", blob(7)),
            format!("UPDATE record SET id = {} WHERE seq = 2", blob(3)),
            format!("INSERT INTO record_alias VALUES ({}, 2)", blob(3)),
            format!("INSERT INTO record_alias VALUES ({}, 2)", blob(5)),
            "DELETE FROM record_alias".to_owned(),
            "UPDATE record_alias SET record = 2".to_owned(),
            "UPDATE record SET ts = 4 WHERE seq = 1".to_owned(),
            "INSERT INTO record_merge VALUES (1, 6, 2); UPDATE record SET ts = 6, project = 2 WHERE seq = 1".to_owned(),
            "DELETE FROM record_merge; INSERT INTO record_merge VALUES (1, 4, 1); UPDATE record SET project = 2"
                .to_owned(),
        ] {
            assert!(run(&sql).is_err(), "{sql}");
        }
        run(&format!("UPDATE record SET id = {} WHERE seq = 1", blob(3))).unwrap();
        run("DELETE FROM record_merge; INSERT INTO record_merge VALUES (1, 4, 2);
             UPDATE record SET ts = 4, project = 2 WHERE seq = 1")
        .unwrap();
        let list = |sql: &str| -> Vec<String> {
            let mut rows = store.connection.prepare(sql).unwrap();
            rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        assert_eq!(list("SELECT hex(substr(id, 16)) || ' ' || ts FROM record"), ["03 4", "09 5"]);
        assert_eq!(list("SELECT hex(substr(id, 16)) || ' ' || record FROM record_alias"), ["05 1", "07 1"]);
        // A forgotten record takes its aliases with it.
        run("INSERT INTO forgetting VALUES (1); INSERT INTO forgotten SELECT seq, id, 5 FROM record WHERE seq = 1;
             DELETE FROM record WHERE seq = 1")
        .unwrap();
        assert_eq!(list("SELECT hex(substr(id, 16)) FROM forgotten_id"), ["05", "07"]);
        assert_eq!(list("SELECT kind || hex(substr(name, 16)) FROM change"), ["303", "305", "307"]);
        let again = format!(
            "INSERT INTO record SELECT NULL, {}, ts, tier, role, session, project, part, parts, valid_to, X'00000000000000000000000000000099', 0, cue, text FROM record",
            blob(7)
        );
        assert!(run(&again).unwrap_err().to_string().contains("forgotten"));
    }

    #[test]
    fn files_that_are_no_present_store_are_refused_and_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        drop(open(folder.path()).unwrap());
        let ours = fs::read(&path).unwrap();
        let patched = |at: usize, with: &[u8]| {
            let mut bytes = ours.clone();
            bytes[at..at + with.len()].copy_from_slice(with);
            bytes
        };
        let whole = ours.len();
        for (bytes, want) in [
            (b"hello".to_vec(), OpenError::NotADatabase { path: path.clone() }),
            (vec![0; 4097], OpenError::NotADatabase { path: path.clone() }),
            (patched(0, b"SQLite format 4"), OpenError::NotADatabase { path: path.clone() }),
            (patched(68, &[0, 0, 0, 7]), OpenError::NotOurs { path: path.clone() }),
            (patched(68, &[0, 0, 0, 0]), OpenError::NotOurs { path: path.clone() }),
            (
                patched(60, &[0, 0, 0, 9]),
                OpenError::Newer { path: path.clone(), found: 9, known: MIGRATIONS.len() as i64 },
            ),
            (
                ours[..whole - 4096].to_vec(),
                OpenError::Damaged {
                    path: path.clone(),
                    detail: format!("truncated to {} of {whole} bytes", whole - 4096),
                },
            ),
        ] {
            fs::write(&path, &bytes).unwrap();
            let found = error(folder.path());
            assert_eq!(found, want);
            assert!(found.to_string().contains("left alone"), "{found}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "{want}");
        }
        // The root page of the schema.
        fs::write(&path, patched(100, &[0xFF; 16])).unwrap();
        assert!(matches!(error(folder.path()), OpenError::Damaged { .. }));
        assert_eq!(fs::read(&path).unwrap(), patched(100, &[0xFF; 16]));
        fs::write(&path, &ours).unwrap();
        open(folder.path()).unwrap();
    }

    #[test]
    fn another_programs_database_without_an_id_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
            .unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(error(folder.path()), OpenError::NotOurs { path: path.clone() });
        assert_eq!(fs::read(&path).unwrap(), before);
    }

    #[test]
    fn an_interrupted_first_open_can_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE_NAME), "").unwrap();
        drop(open(folder.path()).unwrap());
        let other = tempfile::tempdir().unwrap();
        let early = Connection::open(other.path().join(FILE_NAME)).unwrap();
        early.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
        drop(early);
        open(other.path()).unwrap();
    }

    #[test]
    fn errors_name_the_unusable_folder() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        fs::write(&file, "x").unwrap();
        for folder in [file.clone(), file.join("below")] {
            let found = error(&folder);
            assert!(matches!(found, OpenError::Folder { .. }), "{found:?}");
            assert!(found.to_string().contains("file"), "{found}");
        }
        fs::create_dir(parent.path().join(FILE_NAME)).unwrap();
        assert!(matches!(error(parent.path()), OpenError::Failed { .. }));
    }

    #[test]
    fn no_statement_changes_or_removes_a_record() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).unwrap();
        for id in [1, 2] {
            insert(&store.connection, id);
        }
        store.connection.execute("UPDATE record SET valid_to = 9 WHERE seq = 2", []).unwrap();
        store
            .connection
            .execute_batch(&format!(
                "INSERT INTO record VALUES (NULL, {}, 5, 1, 0, 1, 1, NULL, NULL, NULL, {}, 0, '', 'text 2 again')",
                blob(3),
                blob(102),
            ))
            .unwrap();
        let values = |seq: &str, id: u8, hash: u8| {
            format!(
                "record VALUES ({seq}, {}, 5, 1, 0, 1, 1, NULL, NULL, NULL, {}, 0, '', 'other')",
                blob(id),
                blob(hash)
            )
        };
        let mut statements = vec![
            "DELETE FROM record".to_owned(),
            "DELETE FROM record WHERE seq = 1".to_owned(),
            "UPDATE record SET rowid = 77 WHERE seq = 1".to_owned(),
            "UPDATE record SET _rowid_ = 77 WHERE seq = 1".to_owned(),
            "UPDATE OR REPLACE record SET oid = 2 WHERE seq = 1".to_owned(),
            "UPDATE record SET valid_to = NULL WHERE seq = 2".to_owned(),
            "UPDATE OR REPLACE record SET valid_to = NULL WHERE seq = 2".to_owned(),
            "INSERT INTO forgotten SELECT seq, id, 5 FROM record WHERE seq = 1".to_owned(),
            "INSERT INTO forgotten SELECT seq, id, 5 FROM record WHERE seq = 3".to_owned(),
            "REPLACE INTO forgotten SELECT 2, id, 5 FROM record WHERE seq = 3".to_owned(),
            format!("INSERT INTO {}", values("NULL", 1, 50)),
            format!("REPLACE INTO {}", values("NULL", 1, 50)),
            format!("INSERT OR REPLACE INTO {}", values("NULL", 9, 101)),
            format!("REPLACE INTO {}", values("1", 9, 50)),
            format!("INSERT INTO {} ON CONFLICT (id) DO UPDATE SET text = 'other'", values("NULL", 1, 50)),
            format!("INSERT INTO {} ON CONFLICT (seq) DO UPDATE SET text = 'other'", values("1", 9, 50)),
            format!(
                "INSERT INTO {} ON CONFLICT (session, hash, twin) WHERE valid_to IS NULL DO UPDATE SET text = 'other'",
                values("NULL", 9, 101)
            ),
        ];
        for column in
            ["seq", "id", "ts", "tier", "role", "session", "project", "part", "parts", "hash", "twin", "cue", "text"]
        {
            statements.push(format!("UPDATE record SET {column} = {column}"));
            statements.push(format!("UPDATE OR REPLACE record SET valid_to = 1, {column} = 2 WHERE seq = 1"));
        }
        let all = |connection: &Connection| -> Vec<(i64, Vec<u8>, String, Option<i64>)> {
            let mut rows = connection.prepare("SELECT seq, id, text, valid_to FROM record ORDER BY seq").unwrap();
            let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
            rows.map(Result::unwrap).collect()
        };
        let before = all(&store.connection);
        assert_eq!(before.len(), 3);
        // A shell has settings of its own.
        for recursive in [true, false] {
            store.connection.pragma_update(None, "recursive_triggers", recursive).unwrap();
            for sql in &statements {
                let error = store.connection.execute_batch(sql).expect_err(sql).to_string();
                assert!(error.contains("record"), "{sql}: {error}");
                assert_eq!(all(&store.connection), before, "{sql}");
            }
        }
        // A record that is selected for it is deleted once it is noted, and stays forgotten.
        store.connection.execute_batch("INSERT INTO forgetting VALUES (2)").unwrap();
        assert!(store.connection.execute_batch("DELETE FROM record WHERE seq = 2").is_err());
        store
            .connection
            .execute_batch(
                "INSERT INTO forgotten SELECT seq, id, 5 FROM record WHERE seq = 2; DELETE FROM record WHERE seq = 2",
            )
            .unwrap();
        let after = all(&store.connection);
        assert_eq!(after, [before[0].clone(), before[2].clone()]);
        for sql in [
            "DELETE FROM record".to_owned(),
            "DELETE FROM forgotten".to_owned(),
            "UPDATE forgotten SET at = 6".to_owned(),
            format!("INSERT INTO {}", values("NULL", 2, 60)),
            format!("INSERT INTO {}", values("2", 9, 60)),
            format!("REPLACE INTO {}", values("2", 2, 60)),
        ] {
            assert!(store.connection.execute_batch(&sql).is_err(), "{sql}");
            assert_eq!(all(&store.connection), after, "{sql}");
        }
    }
}
