//! The store's files as they were opened, and the check that they still are the ones at their paths.
//!
//! Before each commit, and when a reader is opened, the database file and the write-ahead log at the store's paths must
//! have the device and inode of the opened ones, and the first 100 bytes of the opened database file must be the
//! expected ones: two stat(2) and one pread(2). A program that removes, renames, replaces or overwrites the files is
//! found so before anything is acknowledged that a restart would not find.
//!
//! Only a checkpoint changes the header, ours or another program's (Litestream, a shell). So after a change the mark in
//! the file (`commit_mark.rs`) is read: a checkpoint leaves the mark of a commit that the log knows, or of the last
//! commit, and never an older one than before. Any other file has another mark.
//!
//! Caller's contract: the descriptor in a [`StoreFile`] outlives every connection to the file. Closing any descriptor of
//! the file releases all locks that SQLite holds on it in this process (fcntl(2)).

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, Row};

use crate::memory::store::commit_mark::{CommitId, CommitMark};
use crate::memory::store::error::StoreError;
use crate::memory::store::files::{self, HEADER_BYTES};
use crate::memory::store::stale_wal::{self, WalMarks};
use crate::sys::path_guard::FileId;

/// The wait after an attempt to save the content that failed. Each attempt may copy the whole store.
const RETRY_WAIT: Duration = Duration::from_secs(10);

/// The opened files of a store.
#[derive(Debug)]
pub(crate) struct StoreFile {
    path: PathBuf,
    wal: PathBuf,
    file: File,
    id: FileId,
    wal_id: Option<FileId>,
    expected: Mutex<Expected>,
    unsettled: Mutex<Unsettled>,
    loss: OnceLock<Loss>,
    on_loss: OnceLock<OnLoss>,
}

/// What a new store lacks before its first commit may be acknowledged.
#[derive(Debug)]
struct Unsettled {
    /// Folders in which a folder or the database file was made, and which were not synced since.
    folders: Vec<PathBuf>,
    /// The commit mark of a new or migrated store is in the write-ahead log only.
    has_no_mark: bool,
}

/// Called once, when the files are found lost.
struct OnLoss(Box<dyn Fn() + Send + Sync>);

impl fmt::Debug for OnLoss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnLoss")
    }
}

/// What the opened file contains, unless another program writes to it.
#[derive(Debug)]
struct Expected {
    header: [u8; HEADER_BYTES],
    page_bytes: u64,
    /// The page that has the mark.
    mark_page: u32,
    /// The commit that the file was at when the header was read; `None` only if the first checkpoint has failed.
    file_commit: Option<CommitId>,
    /// The last commit.
    last_commit: Option<CommitId>,
}

/// The loss of the store's files while they were open.
#[derive(Debug)]
pub(crate) struct Loss {
    what: &'static str,
    /// The file that the content is saved to.
    pub(crate) rescued: PathBuf,
    /// The opened file has other content, so what is saved may be damaged.
    pub(crate) is_overwritten: bool,
    saving: Mutex<Saving>,
}

#[derive(Debug)]
enum Saving {
    Pending,
    Failed(String, Instant),
    Done { is_damaged: bool },
}

impl StoreFile {
    /// Describes the files at `path`, which `connection` has just opened. `file` was opened before it. `unsynced`: the
    /// folders that [`StoreFile::settle`] has to sync.
    ///
    /// # Errors
    /// Those of SQLite and of reading the files.
    pub(crate) fn new(
        path: &Path,
        file: File,
        connection: &Connection,
        mut unsynced: Vec<PathBuf>,
    ) -> Result<StoreFile, StoreError> {
        let device = |error: io::Error| StoreError::Device(error.to_string());
        let wal = files::wal_of(path);
        let page_bytes: u32 = connection.query_row("SELECT page_size FROM pragma_page_size", [], |row| row.get(0))?;
        let mark_page = CommitMark::page(connection)?.unwrap_or(0);
        let expected = Expected {
            header: header(&file).map_err(device)?,
            page_bytes: page_bytes.into(),
            mark_page,
            file_commit: commit_on(&file, mark_page, page_bytes.into()).map_err(device)?,
            last_commit: CommitMark::read(connection)?.map(|mark| mark.commit),
        };
        if expected.file_commit.is_none() && unsynced.is_empty() {
            // An earlier start has made it, and has ended before it was settled.
            let folders = path.ancestors().skip(1).take(2).filter(|folder| File::open(folder).is_ok());
            unsynced.extend(folders.map(Path::to_owned));
        }
        Ok(StoreFile {
            path: path.to_owned(),
            id: FileId::of(&file.metadata().map_err(device)?),
            wal_id: FileId::at(&wal).map_err(device)?,
            wal,
            file,
            unsettled: Mutex::new(Unsettled { folders: unsynced, has_no_mark: expected.file_commit.is_none() }),
            expected: Mutex::new(expected),
            loss: OnceLock::new(),
            on_loss: OnceLock::new(),
        })
    }

    /// Syncs the first page of a new store and the folders that have its name, and moves its commit mark from the write-ahead
    /// log to the database file, so that [`StoreFile::verify`] notices a file that is written over it. Call before each commit;
    /// it does nothing once it has succeeded.
    ///
    /// # Errors
    /// [`StoreError::Lost`] if the file was overwritten; those of [`StoreError::of_file`] if something cannot be synced.
    pub(crate) fn settle(&self, connection: &Connection) -> Result<(), StoreError> {
        let mut unsettled = self.unsettled.lock().unwrap_or_else(PoisonError::into_inner);
        if !unsettled.folders.is_empty() {
            // Without it the log would be taken for that of another file.
            self.file.sync_all().map_err(|error| StoreError::of_file(&self.path, error))?;
            for folder in &unsettled.folders {
                files::sync_folder(folder).map_err(|error| StoreError::of_file(folder, error))?;
            }
            unsettled.folders.clear();
        }
        if unsettled.has_no_mark {
            // Else the checkpoint would write over the file of another program.
            self.verify_content(false)?;
            // The frames in the log, and those that are in the file now.
            let is_whole = |row: &Row<'_>| Ok(row.get::<_, i64>(1)? == row.get::<_, i64>(2)?);
            let checkpointed = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], is_whole);
            if let Err(error) = &checkpointed {
                log::warn!("the first WAL checkpoint failed: {error}");
            }
            unsettled.has_no_mark = false;
            // Notes the mark that is in the file now, unless the checkpoint has not come to it.
            return self.verify_content(!checkpointed.unwrap_or(false));
        }
        Ok(())
    }

    /// Returns the path of the database file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Sets what is called once when the files are found lost, on the thread that finds it. The first one stays.
    pub(crate) fn on_loss(&self, call: impl Fn() + Send + Sync + 'static) {
        drop(self.on_loss.set(OnLoss(Box::new(call))));
    }

    /// Checks that the opened files are still the store's.
    ///
    /// # Errors
    /// [`StoreError::Lost`] if they are not, from then on always; those of [`StoreError::of_file`] if they cannot be
    /// examined.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        self.check_not_lost()?;
        let device = |error: io::Error| StoreError::of_file(&self.path, error);
        match place(&self.path).map_err(device)? {
            None => return Err(self.lose("was removed", false)),
            Some(id) if id != self.id => return Err(self.lose("was replaced by another file", false)),
            Some(_) => {}
        }
        if self.wal_id.is_some() && place(&self.wal).map_err(device)? != self.wal_id {
            return Err(self.lose("lost its write-ahead log, which was removed or replaced", false));
        }
        self.verify_content(true)
    }

    /// Checks that the opened file has the store's content. `may_be_written`: a checkpoint may be running.
    fn verify_content(&self, may_be_written: bool) -> Result<(), StoreError> {
        let device = |error: io::Error| StoreError::of_file(&self.path, error);
        let header = header(&self.file).map_err(device)?;
        let mut expected = self.expected();
        if header == expected.header {
            return Ok(());
        }
        let is_database = header.starts_with(b"SQLite format 3\0");
        // A checkpoint that is running, or that a full disk has ended, has written the first page and not the mark's. The
        // header is not taken over, so the next check looks again.
        let present_commit = commit_on(&self.file, expected.mark_page, expected.page_bytes).map_err(device)?;
        if is_database && may_be_written && present_commit == expected.file_commit {
            return Ok(());
        }
        if !is_database || !self.is_checkpointed(&mut expected).map_err(device)? {
            drop(expected);
            return Err(self.lose("was overwritten", true));
        }
        expected.header = header;
        Ok(())
    }

    /// Checks that no earlier check has found the files lost.
    ///
    /// # Errors
    /// [`StoreError::Lost`].
    pub(crate) fn check_not_lost(&self) -> Result<(), StoreError> {
        self.loss().map_or(Ok(()), |loss| Err(self.lost(loss)))
    }

    /// Returns the loss that a check has found.
    pub(crate) fn loss(&self) -> Option<&Loss> {
        self.loss.get()
    }

    /// Returns a sentence about the loss that a check has found.
    pub(crate) fn loss_in_words(&self) -> Option<String> {
        self.loss().map(|loss| self.lost(loss).to_string())
    }

    /// Returns true if the write-ahead log at its path is the opened one.
    pub(crate) fn has_its_wal(&self) -> bool {
        self.wal_id.is_some() && place(&self.wal).is_ok_and(|id| id == self.wal_id)
    }

    /// Returns the path of the write-ahead log.
    pub(crate) fn wal(&self) -> &Path {
        &self.wal
    }

    /// Call after each commit, with its mark.
    pub(crate) fn committed(&self, mark: Option<CommitMark>) {
        if let Some(mark) = mark {
            self.expected().last_commit = Some(mark.commit);
        }
    }

    /// Call after the whole content was replaced through `connection`.
    ///
    /// # Errors
    /// Those of SQLite.
    pub(crate) fn replaced(&self, connection: &Connection) -> Result<(), StoreError> {
        let page = CommitMark::page(connection)?.unwrap_or(0);
        let mark = CommitMark::read(connection)?;
        let mut expected = self.expected();
        (expected.mark_page, expected.last_commit) = (page, mark.map(|mark| mark.commit));
        Ok(())
    }

    fn expected(&self) -> MutexGuard<'_, Expected> {
        // Its fields are independent of each other.
        self.expected.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns true if a checkpoint explains the present content of the file.
    fn is_checkpointed(&self, expected: &mut Expected) -> io::Result<bool> {
        let marks = match stale_wal::open(&self.wal) {
            Ok(log) => WalMarks::read(&log)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => WalMarks::default(),
            Err(error) => return Err(error),
        };
        let is_known = |commit: CommitId| marks.knows(commit) || expected.last_commit == Some(commit);
        let is_older = |commit: CommitId| {
            expected.file_commit.is_some_and(|seen| seen.opening == commit.opening && commit.number < seen.number)
        };
        let is_explained = |mark: &CommitMark| is_known(mark.commit) && !is_older(mark.commit);
        for page in marks.pages.iter().copied().chain([expected.mark_page]) {
            let found = stale_wal::mark_on(&self.file, page.into(), expected.page_bytes)?;
            if let Some(mark) = found.filter(is_explained) {
                expected.file_commit = Some(mark.commit);
                return Ok(true);
            }
        }
        // VACUUM, by another program, may have moved it.
        let moved = stale_wal::find_mark(&self.file, expected.page_bytes)?.filter(|(_, mark)| is_explained(mark));
        if let Some((page, mark)) = moved {
            (expected.mark_page, expected.file_commit) = (page, Some(mark.commit));
        }
        Ok(moved.is_some())
    }

    fn lose(&self, what: &'static str, is_overwritten: bool) -> StoreError {
        let mut is_new = false;
        let loss = self.loss.get_or_init(|| {
            is_new = true;
            let rescued = files::name_aside(&self.path, "rescued");
            Loss { what, rescued, is_overwritten, saving: Mutex::new(Saving::Pending) }
        });
        if let Some(OnLoss(call)) = self.on_loss.get().filter(|_| is_new) {
            call();
        }
        self.lost(loss)
    }

    fn lost(&self, loss: &Loss) -> StoreError {
        let (path, rescued) = (self.path.display(), loss.rescued.display());
        let saved = match &*loss.saving() {
            Saving::Pending => format!("what it held is being written to {rescued}; then"),
            Saving::Failed(why, _) => {
                format!(
                    "what it held cannot be written to {rescued} ({why}), which each write tries again; mend that, then"
                )
            }
            Saving::Done { is_damaged: false } => format!("what it held is in {rescued} (see iaid restore);"),
            Saving::Done { is_damaged: true } => {
                format!("what could be read of its former content is in {rescued}, incomplete (see iaid restore);")
            }
        };
        StoreError::Lost(format!(
            "{path} {} while the daemon had it open, so nothing is stored any more; {saved} restart the daemon",
            loss.what
        ))
    }
}

impl Loss {
    /// Returns true if the content is to be saved now.
    pub(crate) fn is_saving_due(&self) -> bool {
        match &*self.saving() {
            Saving::Pending => true,
            Saving::Failed(_, at) => at.elapsed() >= RETRY_WAIT,
            Saving::Done { .. } => false,
        }
    }

    /// Stores the outcome of an attempt to save the content: whether what was saved is damaged, or why it was not.
    pub(crate) fn saved(&self, outcome: Result<bool, String>) {
        *self.saving() = match outcome {
            Ok(is_damaged) => Saving::Done { is_damaged },
            Err(why) => Saving::Failed(why, Instant::now()),
        };
    }

    fn saving(&self) -> MutexGuard<'_, Saving> {
        self.saving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the file at `path`; `None` too if a folder of the path is gone or is a file.
fn place(path: &Path) -> io::Result<Option<FileId>> {
    match FileId::at(path) {
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(None),
        found => found,
    }
}

/// Returns the commit that the file is at, by the mark on this page; `None` if it has no mark yet.
fn commit_on(file: &File, page: u32, page_bytes: u64) -> io::Result<Option<CommitId>> {
    Ok(stale_wal::mark_on(file, page.into(), page_bytes)?.map(|mark| mark.commit))
}

/// Reads the header; zeros follow the end of a shorter file.
fn header(file: &File) -> io::Result<[u8; HEADER_BYTES]> {
    let mut header = [0; HEADER_BYTES];
    stale_wal::read_up_to(file, &mut header, 0)?;
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::commit_mark::{MARK_BYTES, Marker};
    use crate::memory::store::open::{self, OpenedStore};
    use std::fs::OpenOptions;
    use std::os::unix::fs::FileExt;
    use tempfile::TempDir;

    /// A store, and its database file as another program has it open. Closing that releases the store's locks, so it is
    /// closed last.
    struct Bench {
        store: OpenedStore,
        raw: File,
        _folder: TempDir,
    }

    impl Bench {
        fn new() -> Bench {
            let folder = tempfile::tempdir().unwrap();
            let store = open::open(folder.path()).unwrap();
            let raw = OpenOptions::new().read(true).write(true).open(&store.path).unwrap();
            Bench { store, raw, _folder: folder }
        }

        /// Commits to the write-ahead log and returns the mark.
        fn commit(&self, opening: Marker) -> CommitMark {
            let connection = &self.store.connection;
            connection.execute_batch("BEGIN IMMEDIATE").unwrap();
            let mark = opening.mark_commit(connection).unwrap();
            connection.execute_batch("COMMIT").unwrap();
            self.store.file.committed(Some(mark));
            mark
        }

        /// Writes the first page as a checkpoint does, with another change counter.
        fn change_header(&self) {
            let counter = 24;
            let mut bytes = [0; 4];
            self.raw.read_exact_at(&mut bytes, counter).unwrap();
            self.raw.write_all_at(&u32::from_be_bytes(bytes).wrapping_add(1).to_be_bytes(), counter).unwrap();
        }

        fn put_mark(&self, mark: &[u8; MARK_BYTES]) {
            let expected = self.store.file.expected();
            let at = u64::from(expected.mark_page) * expected.page_bytes - MARK_BYTES as u64;
            self.raw.write_all_at(mark, at).unwrap();
        }
    }

    #[test]
    fn a_new_store_that_is_settled_has_its_mark_in_the_file() {
        let bench = Bench::new();
        bench.store.file.settle(&bench.store.connection).unwrap();
        bench.store.file.verify().unwrap();
        let expected = bench.store.file.expected();
        assert!(expected.file_commit.is_some() && expected.file_commit == expected.last_commit, "{expected:?}");
    }

    #[test]
    fn a_running_or_failed_checkpoint_is_no_overwrite() {
        let (bench, opening) = (Bench::new(), Marker::new());
        let mark = bench.commit(opening);
        let before = bench.store.file.expected().header;
        for _ in 0..2 {
            bench.change_header();
            bench.store.file.verify().unwrap();
            assert_eq!(bench.store.file.expected().header, before, "the header is looked at again");
        }
        // It has gone on.
        bench.put_mark(&mark.encode());
        bench.store.file.verify().unwrap();
        assert_eq!(bench.store.file.expected().header, header(&bench.raw).unwrap());
        assert_eq!(bench.store.file.expected().file_commit, Some(mark.commit));
    }

    #[test]
    fn a_foreign_mark_is_a_loss_even_after_a_header_that_was_let_pass() {
        let bench = Bench::new();
        bench.change_header();
        bench.store.file.verify().unwrap();
        bench.put_mark(&Bench::new().commit(Marker::new()).encode());
        assert!(matches!(bench.store.file.verify(), Err(StoreError::Lost(_))));
    }
}
