//! The store's file: found or made, checked, brought to the present version, and connections to it.
//!
//! It opens; what is written and read is others' business. Nothing that it finds wrong is repaired,
//! renamed or overwritten: the start fails with a sentence, and the file is as it was.
//!
//! Memory is small by choice. Page caches are 256 KiB a connection (the upper levels of every tree,
//! while leaves come from the system's page cache at a microsecond each), and `mmap_size` is 0,
//! since each mapped page that was touched would count as the daemon's own.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::memory::store::error::StoreError;
use crate::memory::store::open_error::OpenError;
use crate::memory::text::tokenizer;
use crate::sys::lock::{FileLock, LockError};

/// The database's name in the store's folder.
pub(crate) const FILE_NAME: &str = "memory.db";

/// The lock's name in the store's folder.
const LOCK_NAME: &str = ".lock";

/// "iaid" in the header's application id.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"iaid");

/// Step n leads from version n to n + 1. Never changed once released, only added to.
const MIGRATIONS: &[&str] = &[include_str!("schema/v1.sql"), include_str!("schema/v2.sql")];

/// How long a connection waits for another program's lock (a backup, a shell).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A WAL that a large transaction has grown is cut back to this at the next checkpoint: SQLite's
/// own 1000 pages.
const WAL_BYTES: i64 = 4 << 20;

/// An open store: its lock and the one connection that writes.
#[derive(Debug)]
pub(crate) struct OpenedStore {
    /// The database file.
    pub(crate) path: PathBuf,
    /// For the writer alone.
    pub(crate) connection: Connection,
    /// Held as long as the store is used.
    pub(crate) lock: FileLock,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It writes, alone.
    Write,
    /// It refuses to write.
    Read,
}

/// Opens the store in `folder`, which is made (0700) if it is missing.
///
/// # Errors
/// See [`OpenError`]; nothing was changed then, but for a folder, a lock file and an empty database
/// made new.
pub(crate) fn open(folder: &Path) -> Result<OpenedStore, OpenError> {
    make_folder(folder)?;
    let lock = FileLock::acquire(&folder.join(LOCK_NAME)).map_err(|error| match error {
        LockError::Held { path, pid } => OpenError::Locked { path, pid },
        LockError::Io { path, source, .. } => OpenError::from_io(&path, &source),
        foreign @ LockError::Foreign { .. } => {
            OpenError::Failed { path: folder.join(LOCK_NAME), detail: foreign.to_string() }
        }
    })?;
    let path = folder.join(FILE_NAME);
    prepare_file(&path)?;
    let connection = connect(&path, Access::Write).map_err(|fault| OpenError::from_store(&path, fault))?;
    check_identity(&path, &connection)?;
    bring_up_to_date(&connection).map_err(|fault| OpenError::from_store(&path, fault))?;
    Ok(OpenedStore { path, connection, lock })
}

/// A connection to the database at `path`, which exists.
pub(crate) fn connect(path: &Path, purpose: Access) -> Result<Connection, StoreError> {
    // Each connection stays with one thread at a time: no mutex of SQLite's own.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    if purpose == Access::Write && connection.is_readonly("main")? {
        return Err(StoreError::ReadOnly);
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A plan that may depend on what is bound (any LIMIT) would be made anew each time something is.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "cache_size", -256)?;
    connection.pragma_update(None, "mmap_size", 0)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    match purpose {
        Access::Read => connection.pragma_update(None, "query_only", true)?,
        Access::Write => {
            connection.pragma_update(None, "synchronous", "full")?;
            // macOS: fsync alone leaves the data in the disk's own cache.
            connection.pragma_update(None, "fullfsync", true)?;
            connection.pragma_update(None, "checkpoint_fullfsync", true)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            connection.pragma_update(None, "recursive_triggers", true)?;
        }
    }
    Ok(connection)
}

fn make_folder(folder: &Path) -> Result<(), OpenError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_folder(parent)?;
    }
    let made = DirBuilder::new().mode(0o700).create(folder);
    match made {
        // The umask may have taken even the owner's bits away.
        Ok(()) => fs::set_permissions(folder, Permissions::from_mode(0o700)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
    .and_then(|()| sync_parent(folder))
    .map_err(|error| OpenError::from_io(folder, &error))
}

/// Makes an empty file where there is none, looks at the one that is there before SQLite does, and
/// closes both to others.
fn prepare_file(path: &Path) -> Result<(), OpenError> {
    let files = ["", "-wal", "-shm"].map(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    });
    if let Some(link) = files.iter().find(|file| file.is_symlink()) {
        let detail = "it is a symbolic link, and none is followed in the store's folder; move the file itself there, or \
                      make the whole folder a link";
        return Err(OpenError::Failed { path: link.clone(), detail: detail.into() });
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => sync_parent(path).map_err(|error| OpenError::from_io(path, &error))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => look_at_header(path)?,
        Err(error) => return Err(OpenError::from_io(path, &error)),
    }
    for file in &files {
        close_to_others(file).map_err(|error| OpenError::from_io(path, &error))?;
    }
    Ok(())
}

/// SQLite gives its WAL and shared memory the database's own mode, past any umask.
fn close_to_others(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.permissions().mode() & 0o777 == 0o600 => Ok(()),
        Ok(_) => fs::set_permissions(path, Permissions::from_mode(0o600)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Refuses what is no SQLite database, is another program's, or is cut short. The offsets are those
/// of <https://sqlite.org/fileformat2.html#the_database_header>.
fn look_at_header(path: &Path) -> Result<(), OpenError> {
    let io_error = |error: io::Error| OpenError::from_io(path, &error);
    let mut file = File::open(path).map_err(io_error)?;
    let found = file.metadata().map_err(io_error)?;
    if !found.is_file() {
        return Err(OpenError::Failed { path: path.to_owned(), detail: "it is no plain file".into() });
    }
    let mut header = Vec::with_capacity(100);
    (&mut file).take(100).read_to_end(&mut header).map_err(io_error)?;
    // An empty file is a database that was never written to.
    if header.is_empty() {
        return Ok(());
    }
    if header.len() < 100 || !header.starts_with(b"SQLite format 3\0") {
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
    let mut wal = path.as_os_str().to_owned();
    wal.push("-wal");
    let has_wal = fs::metadata(Path::new(&wal)).is_ok_and(|wal| wal.len() > 0);
    // The count holds where both counters agree; pages that are missing may still be in the WAL.
    if number(24) == number(92) && wanted > found.len() && !has_wal {
        let detail = format!("it is cut short: {} of {wanted} bytes are there", found.len());
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

fn bring_up_to_date(connection: &Connection) -> Result<(), StoreError> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let detail = format!("the disk takes no write-ahead log (journal mode {mode}); use a local disk");
        return Err(StoreError::Other(detail));
    }
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    let version: i64 = connection.query_row("SELECT user_version FROM pragma_user_version", [], |row| row.get(0))?;
    for (at, step) in MIGRATIONS.iter().enumerate().skip(version as usize) {
        let step_done = connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            connection.execute_batch(step)?;
            if at == 0 {
                let sql = "INSERT INTO meta (key, value) VALUES ('terms_version', ?1)";
                connection.execute(sql, [tokenizer::VERSION])?;
            }
            connection.pragma_update(None, "user_version", at as i64 + 1)?;
            connection.execute_batch("COMMIT")
        });
        if let Err(error) = step_done {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
            return Err(error.into());
        }
    }
    Ok(())
}

fn sync_parent(path: &Path) -> io::Result<()> {
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
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
    fn a_new_store_is_closed_to_others_and_durable() {
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
    fn loose_files_of_an_old_store_are_closed_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = open(folder.path()).unwrap().path;
        fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
        let store = open(folder.path()).unwrap();
        insert(&store.connection, 1);
        assert_eq!((mode(&path), mode(&folder.path().join("memory.db-wal"))), (0o600, 0o600));
    }

    #[test]
    fn a_second_start_says_who_has_the_store() {
        let folder = tempfile::tempdir().unwrap();
        let first = open(folder.path()).unwrap();
        let found = error(folder.path());
        assert_eq!(found, OpenError::Locked { path: folder.path().join(".lock"), pid: Some(std::process::id()) });
        assert!(found.to_string().contains(&std::process::id().to_string()));
        drop(first);
        open(folder.path()).unwrap();
    }

    #[test]
    fn a_store_of_an_earlier_version_is_brought_up_to_date() {
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
        }
    }

    #[test]
    fn what_is_not_our_present_store_is_refused_and_left_alone() {
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
            (vec![0; 4096], OpenError::NotADatabase { path: path.clone() }),
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
                    detail: format!("it is cut short: {} of {whole} bytes are there", whole - 4096),
                },
            ),
        ] {
            fs::write(&path, &bytes).unwrap();
            let found = error(folder.path());
            assert_eq!(found, want);
            assert!(found.to_string().contains("left alone"), "{found}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "{want}");
        }
        // The tree of page 1 itself.
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
    fn a_start_that_died_early_is_begun_again() {
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
    fn folders_that_cannot_be_used_are_named() {
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
            format!("INSERT INTO {}", values("NULL", 1, 50)),
            format!("REPLACE INTO {}", values("NULL", 1, 50)),
            format!("INSERT OR REPLACE INTO {}", values("NULL", 9, 101)),
            format!("REPLACE INTO {}", values("1", 9, 50)),
            format!("INSERT INTO {} ON CONFLICT (id) DO UPDATE SET text = 'other'", values("NULL", 1, 50)),
            format!("INSERT INTO {} ON CONFLICT (seq) DO UPDATE SET text = 'other'", values("1", 9, 50)),
            format!(
                "INSERT INTO {} ON CONFLICT (hash, twin) WHERE valid_to IS NULL DO UPDATE SET text = 'other'",
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
        // A shell that somebody opens the file with has its own settings.
        for recursive in [true, false] {
            store.connection.pragma_update(None, "recursive_triggers", recursive).unwrap();
            for sql in &statements {
                let error = store.connection.execute_batch(sql).expect_err(sql).to_string();
                assert!(error.contains("record"), "{sql}: {error}");
                assert_eq!(all(&store.connection), before, "{sql}");
            }
        }
    }
}
