//! Decides at a start whether the write-ahead log beside the database file belongs to another database, before SQLite
//! replays it. Such a log is what a restored backup, copied or renamed over the database, finds beside it.
//!
//! A log that certainly is foreign is renamed to `memory.db-wal.bad-TIME`. It is never replayed and never removed. In
//! doubt it is left to SQLite.
//!
//! The proof uses the commit marks (`commit_mark.rs`). Let s be the last commit before the log's first mark: that mark's
//! parent. SQLite overwrites a log only when every frame of it is in the database file and synced, so the mark's page
//! in the file was that of s then. Since then only checkpoints of this log have written to the file, and they write
//! pages of the log, whole ones. So the mark in the file is that of s or one of the log's, wherever a crash has
//! interrupted a commit, a checkpoint or the reuse of the log, and whether or not other programs (a shell, Litestream)
//! have committed or checkpointed. A file with any other mark is another one. Hence also:
//!
//! - A file without a mark's table (`user_version` before 3) is not the one of a log whose first mark has a parent, since
//!   the migration was complete before that log began.
//! - An empty file is the one of no log: SQLite writes the first page without a log.
//! - All marks of the file's history have one store id. `VACUUM` may move the mark to another page; then the id decides,
//!   of any mark in the file.
//!
//! These leave doubt, and SQLite replays the log: a log without a mark (of an earlier release, or with other programs'
//! commits only), an unreadable page, a file with a mark that the log knows. The last one may be a copy of the
//! database, made by hand, of a commit in the log: the log then leads from there to its last commit, which is correct.
//!
//! Frames count up to the first with another salt; their checksums are not verified. Frames of no complete commit only
//! add known commits, and with them doubt.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::memory::store::commit_mark::{CommitId, CommitMark, MARK_BYTES, StoreId};
use crate::memory::store::files::{self, HEADER_BYTES, is_database_header};

/// The size of the log's header and of a frame's, <https://sqlite.org/fileformat2.html#the_write_ahead_log>.
const WAL_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// The first version of the schema with a commit mark.
const MARKED_VERSION: u32 = 3;

/// Whose a write-ahead log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalOwner {
    /// The log continues the database file: the file has a mark that the log knows.
    File,
    /// The marks do not show it.
    Unknown,
    /// The log belongs to another database. The text says why, about the database file.
    Another(&'static str),
}

/// The marks of a write-ahead log.
#[derive(Debug, Default)]
pub(crate) struct WalMarks {
    page_bytes: u64,
    /// The number of frames.
    frames: u64,
    /// Commits that have a mark in the log or are the parent of one: per opening, the lowest and the highest number.
    known: Vec<(CommitId, u64)>,
    /// Pages that have a mark.
    pub(crate) pages: Vec<u32>,
    stores: Vec<StoreId>,
    /// The first mark has a parent.
    has_base: bool,
}

/// Renames the write-ahead log at `wal` if it certainly belongs to another database than the one at `path`.
///
/// # Errors
/// Those of the renaming; the log must not be replayed then.
pub(crate) fn set_aside(path: &Path, wal: &Path) -> io::Result<()> {
    let owner = match open(path).and_then(|file| Ok((file, open(wal)?))) {
        Ok((file, log)) => owner(&file, &log),
        Err(error) => Err(error),
    };
    let why = match owner {
        Ok(WalOwner::Another(why)) => why,
        Ok(WalOwner::File | WalOwner::Unknown) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // SQLite reports what is wrong with them.
        Err(error) => {
            log::debug!("cannot read {} or its write-ahead log: {error}", path.display());
            return Ok(());
        }
    };
    let aside = files::set_aside(wal, "bad")?;
    log::warn!(
        "{} belongs to another database ({} {why}): it was not replayed and is kept as {}",
        wal.display(),
        path.display(),
        aside.display()
    );
    Ok(())
}

/// Returns whose the write-ahead log `log` is, if it is beside the database file `file`.
///
/// # Errors
/// Those of reading the two files.
pub(crate) fn owner(file: &File, log: &File) -> io::Result<WalOwner> {
    let marks = WalMarks::read(log)?;
    if marks.frames == 0 {
        return Ok(WalOwner::Unknown);
    }
    let size = file.metadata()?.len();
    if size == 0 {
        return Ok(WalOwner::Another("is empty"));
    }
    let mut is_marked = false;
    for page in &marks.pages {
        if let Some(mark) = mark_on(file, (*page).into(), marks.page_bytes)? {
            if marks.knows(mark.commit) {
                return Ok(WalOwner::File);
            }
            is_marked = true;
        }
    }
    if is_marked {
        return Ok(WalOwner::Another("is at a commit that the log does not follow"));
    }
    // Otherwise the migration that adds the mark may be in this log.
    if !marks.has_base {
        return Ok(WalOwner::Unknown);
    }
    let mut header = [0; HEADER_BYTES];
    if read_up_to(file, &mut header, 0)? < HEADER_BYTES || !is_database_header(&header) {
        return Ok(WalOwner::Unknown);
    }
    if u32::from_be_bytes([header[60], header[61], header[62], header[63]]) < MARKED_VERSION {
        return Ok(WalOwner::Another("was written by an earlier release"));
    }
    match find_mark(file, marks.page_bytes)? {
        Some((_, mark)) if !marks.stores.contains(&mark.store) => Ok(WalOwner::Another("is another store")),
        _ => Ok(WalOwner::Unknown),
    }
}

impl WalMarks {
    /// Reads the marks of the write-ahead log `log`. A file that is no log, or an empty one, has no frames.
    ///
    /// # Errors
    /// Those of reading.
    pub(crate) fn read(log: &File) -> io::Result<WalMarks> {
        let mut marks = WalMarks::default();
        let mut header = [0; WAL_HEADER_BYTES];
        if read_up_to(log, &mut header, 0)? < WAL_HEADER_BYTES || header[..3] != [0x37, 0x7F, 0x06] {
            return Ok(marks);
        }
        let page_bytes = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        if !page_bytes.is_power_of_two() || !(512..=65536).contains(&page_bytes) {
            return Ok(marks);
        }
        marks.page_bytes = page_bytes.into();
        let salt = &header[16..24];
        // The end of a page and the header of the next frame are read at once.
        let mut bytes = [0; MARK_BYTES + FRAME_HEADER_BYTES];
        let mut got = MARK_BYTES + read_up_to(log, &mut bytes[MARK_BYTES..], WAL_HEADER_BYTES as u64)?;
        loop {
            let frame = &bytes[MARK_BYTES..];
            if got < bytes.len() || frame[8..16] != *salt {
                return Ok(marks);
            }
            let page = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
            let frame_end =
                WAL_HEADER_BYTES as u64 + (marks.frames + 1) * (FRAME_HEADER_BYTES as u64 + marks.page_bytes);
            got = read_up_to(log, &mut bytes, frame_end - MARK_BYTES as u64)?;
            if got < MARK_BYTES {
                return Ok(marks);
            }
            marks.frames += 1;
            if let Some(mark) = CommitMark::at_end_of(&bytes[..MARK_BYTES]) {
                marks.add(page, &mark);
            }
        }
    }

    /// Returns true if the commit has a mark in the log or is the one before such a commit.
    pub(crate) fn knows(&self, commit: CommitId) -> bool {
        let is_in = |&(low, high): &(CommitId, u64)| {
            low.opening == commit.opening && (low.number..=high).contains(&commit.number)
        };
        self.known.iter().any(is_in)
    }

    fn add(&mut self, page: u32, mark: &CommitMark) {
        if self.known.is_empty() {
            self.has_base = mark.parent.is_some();
        }
        for commit in mark.parent.into_iter().chain([mark.commit]) {
            // The commits of one opening follow each other, so all between two of them count.
            match self.known.iter_mut().find(|(low, _)| low.opening == commit.opening) {
                Some((low, high)) => {
                    low.number = low.number.min(commit.number);
                    *high = (*high).max(commit.number);
                }
                None => self.known.push((commit, commit.number)),
            }
        }
        if !self.pages.contains(&page) {
            self.pages.push(page);
        }
        if !self.stores.contains(&mark.store) {
            self.stores.push(mark.store);
        }
    }
}

/// Returns the mark on page `page` of the database file, if there is one.
pub(crate) fn mark_on(file: &File, page: u64, page_bytes: u64) -> io::Result<Option<CommitMark>> {
    let mut bytes = [0; MARK_BYTES];
    let Some(at) = (page * page_bytes).checked_sub(MARK_BYTES as u64) else { return Ok(None) };
    let got = read_up_to(file, &mut bytes, at)?;
    Ok(CommitMark::at_end_of(&bytes[..got]))
}

/// Returns the first page of the database file that has a mark, and the mark. Looks at each page.
pub(crate) fn find_mark(file: &File, page_bytes: u64) -> io::Result<Option<(u32, CommitMark)>> {
    let pages = u32::try_from(file.metadata()?.len() / page_bytes).unwrap_or(u32::MAX);
    for page in 1..=pages {
        if let Some(mark) = mark_on(file, page.into(), page_bytes)? {
            return Ok(Some((page, mark)));
        }
    }
    Ok(None)
}

/// Reads until `bytes` is full or the file ends. Returns the number of bytes read.
pub(crate) fn read_up_to(file: &File, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], at + got as u64) {
            Ok(0) => break,
            Ok(count) => got += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

/// Opens a regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::commit_mark::Marker;
    use crate::memory::store::open::{self, FILE_NAME, OpenedStore};
    use rusqlite::Connection;
    use std::fs;
    use std::path::PathBuf;
    use tempfile::TempDir;

    const PAGE_BYTES: usize = 4096;

    /// A store with a writer that marks its commits.
    struct Writing {
        folder: TempDir,
        store: OpenedStore,
        marker: Marker,
    }

    impl Writing {
        fn new() -> Writing {
            Writing::in_folder(tempfile::tempdir().unwrap())
        }

        fn in_folder(folder: TempDir) -> Writing {
            let store = open::open(folder.path()).unwrap();
            store.connection.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
            Writing { folder, store, marker: Marker::new() }
        }

        fn commits(&self, count: usize) {
            for _ in 0..count {
                let connection = &self.store.connection;
                connection.execute_batch("BEGIN IMMEDIATE").unwrap();
                let sql = "INSERT INTO profile VALUES ('k' || (SELECT count(*) FROM profile), printf('%.3000c', 'x'))";
                connection.execute(sql, []).unwrap();
                self.marker.mark_commit(connection).unwrap();
                connection.execute_batch("COMMIT").unwrap();
            }
        }

        fn sql(&self, sql: &str) {
            self.store.connection.execute_batch(sql).unwrap();
        }

        fn checkpoint(&self, mode: &str) {
            self.sql(&format!("PRAGMA wal_checkpoint({mode})"));
        }

        /// Returns what a kill would leave.
        fn files(&self) -> Files {
            let path = self.folder.path().join(FILE_NAME);
            Files { file: fs::read(&path).unwrap(), log: fs::read(files::wal_of(&path)).unwrap() }
        }

        fn restart(self) -> Writing {
            let Writing { folder, store, .. } = self;
            drop(store);
            Writing::in_folder(folder)
        }
    }

    #[derive(Clone)]
    struct Files {
        file: Vec<u8>,
        log: Vec<u8>,
    }

    impl Files {
        fn write(&self, folder: &Path) -> PathBuf {
            let path = folder.join(FILE_NAME);
            fs::write(&path, &self.file).unwrap();
            fs::write(files::wal_of(&path), &self.log).unwrap();
            path
        }

        fn owner(&self) -> WalOwner {
            let folder = tempfile::tempdir().unwrap();
            let path = self.write(folder.path());
            owner(&File::open(&path).unwrap(), &File::open(files::wal_of(&path)).unwrap()).unwrap()
        }

        /// Opens them as a store. Returns how many commits it has, and the number of logs that were set aside.
        fn opened(&self) -> (i64, usize) {
            let folder = tempfile::tempdir().unwrap();
            self.write(folder.path());
            let store = open::open(folder.path()).unwrap();
            let count = store.connection.query_row("SELECT count(*) FROM profile", [], |row| row.get(0)).unwrap();
            let aside = fs::read_dir(folder.path()).unwrap().flatten();
            (count, aside.filter(|entry| entry.file_name().to_string_lossy().contains("-wal.bad-")).count())
        }
    }

    /// A file as a kill during the checkpoint from `before` to `after` leaves it: some pages are written.
    fn mixed(before: &[u8], after: &[u8], is_written: impl Fn(usize) -> bool) -> Vec<u8> {
        let pages = after.len().div_ceil(PAGE_BYTES);
        let mut mixed = before.to_vec();
        for page in (0..pages).filter(|page| is_written(*page)) {
            let (start, end) = (page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
            mixed.resize(mixed.len().max(end), 0);
            mixed[start..end].copy_from_slice(&after[start..end]);
        }
        mixed
    }

    #[test]
    fn the_log_of_a_killed_writer_is_replayed_at_any_moment_of_a_checkpoint() {
        let mut writing = Writing::new();
        let mut commits = 0;
        for round in 0..6 {
            writing.commits(7);
            commits += 7;
            let before = writing.files();
            assert_eq!(before.opened(), (commits, 0), "round {round}");
            writing.checkpoint("PASSIVE");
            let after = writing.files();
            for pattern in 0..40_usize {
                // Prefixes, as SQLite writes, and any other set of pages, as a disk may after a loss of power.
                let is_written = |page: usize| if pattern < 20 { page < pattern } else { (page * pattern) % 7 < 3 };
                let killed = Files { file: mixed(&before.file, &after.file, is_written), log: before.log.clone() };
                // The first log has the migration: the file may have no mark yet.
                assert!(killed.owner() == WalOwner::File || round == 0, "round {round}, pattern {pattern}");
                assert_eq!(killed.opened(), (commits, 0), "round {round}, pattern {pattern}");
            }
            assert_eq!(after.opened(), (commits, 0));
            // The log is begun again: any part of its first frames may be on the disk.
            writing.commits(1);
            commits += 1;
            let begun = writing.files();
            assert_eq!(begun.opened(), (commits, 0));
            for cut in [1, 16, 24, 32, 40, 100, 4000, 4152, 8272, 12392] {
                let log = [&begun.log[..cut], &before.log[cut..]].concat();
                let killed = Files { file: after.file.clone(), log };
                assert_ne!(killed.opened().1, 1, "round {round}, cut {cut}");
            }
            if round == 3 {
                writing = writing.restart();
            }
        }
    }

    #[test]
    fn a_log_beside_another_file_is_set_aside() {
        let writing = Writing::new();
        writing.commits(5);
        writing.checkpoint("TRUNCATE");
        let early = writing.files();
        writing.commits(5);
        let middle = writing.files();
        writing.checkpoint("TRUNCATE");
        writing.commits(5);
        let late = writing.files();
        writing.checkpoint("TRUNCATE");
        let newest = writing.files();
        let other = Writing::new();
        other.commits(5);
        other.checkpoint("TRUNCATE");
        let mixed = |file: &Files, log: &Files| Files { file: file.file.clone(), log: log.log.clone() };
        for (name, files, commits) in [
            ("an older copy", mixed(&early, &late), 5),
            ("a newer copy", mixed(&newest, &middle), 15),
            ("another store", mixed(&other.files(), &late), 5),
        ] {
            assert_eq!(files.owner(), WalOwner::Another("is at a commit that the log does not follow"), "{name}");
            assert_eq!(files.opened(), (commits, 1), "{name}");
        }
        let none = Files { file: Vec::new(), log: late.log.clone() };
        assert_eq!((none.owner(), none.opened()), (WalOwner::Another("is empty"), (0, 1)));
        let mut earlier = early.file.clone();
        earlier[60..64].copy_from_slice(&2_u32.to_be_bytes());
        let end = late.log.len();
        for page in earlier.chunks_mut(PAGE_BYTES) {
            page[PAGE_BYTES - 1] ^= 1;
        }
        let older = Files { file: earlier, log: late.log[..end].to_vec() };
        assert_eq!(older.owner(), WalOwner::Another("was written by an earlier release"));
        // A store whose mark is on another page.
        let mut moved = other.files().file;
        let at = (1..).find(|page| CommitMark::at_end_of(&moved[..page * PAGE_BYTES]).is_some()).unwrap() * PAGE_BYTES;
        moved.extend_from_within(at - PAGE_BYTES..at);
        moved[at - 1] ^= 1;
        assert_eq!(Files { file: moved, log: late.log.clone() }.owner(), WalOwner::Another("is another store"));
    }

    #[test]
    fn a_copy_at_a_commit_of_the_log_is_brought_to_its_last_one() {
        let writing = Writing::new();
        writing.commits(5);
        writing.checkpoint("TRUNCATE");
        let base = writing.files();
        writing.commits(5);
        let log = writing.files().log;
        assert_eq!(Files { file: base.file, log }.opened(), (10, 0));
    }

    #[test]
    fn a_log_without_a_proof_is_replayed() {
        let writing = Writing::new();
        writing.commits(3);
        writing.checkpoint("TRUNCATE");
        // Another program's commits have no mark.
        writing.sql("INSERT INTO profile VALUES ('shell', '')");
        let files = writing.files();
        assert_eq!((files.owner(), files.opened()), (WalOwner::Unknown, (4, 0)));
        // They may be between others.
        writing.commits(1);
        assert_eq!(writing.files().opened(), (5, 0));
        let before = writing.files();
        writing.sql("VACUUM");
        writing.commits(1);
        let vacuumed = writing.files();
        assert_eq!(vacuumed.opened(), (6, 0));
        writing.checkpoint("PASSIVE");
        let after = writing.files();
        for written in 0..after.file.len() / PAGE_BYTES {
            let file = mixed(&before.file, &after.file, |page| page < written);
            assert_eq!(Files { file, log: vacuumed.log.clone() }.opened(), (6, 0), "{written} pages");
        }
        for log in [b"".to_vec(), b"no log".to_vec(), vec![0; 10_000], before.log[..31].to_vec()] {
            let files = Files { file: after.file.clone(), log };
            assert_eq!((files.owner(), files.opened()), (WalOwner::Unknown, (6, 0)));
        }
    }

    #[test]
    fn the_log_that_has_the_migration_is_replayed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let earlier = Connection::open(&path).unwrap();
        earlier.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(())).unwrap();
        for step in [include_str!("schema/v1.sql"), include_str!("schema/v2.sql")] {
            earlier.execute_batch(step).unwrap();
        }
        earlier.execute_batch("INSERT INTO meta VALUES ('terms_version', 1); PRAGMA user_version = 2").unwrap();
        earlier.execute_batch("INSERT INTO profile VALUES ('a', '')").unwrap();
        // Killed while it wrote: its log has no marks.
        let killed = Files { file: fs::read(&path).unwrap(), log: fs::read(files::wal_of(&path)).unwrap() };
        assert_eq!((killed.owner(), killed.opened()), (WalOwner::Unknown, (1, 0)));
        drop(earlier);
        let before = fs::read(&path).unwrap();
        // Killed in the checkpoint that follows the migration.
        let Files { file: after, log } = Writing::in_folder(folder).files();
        for written in 0..=after.len() / PAGE_BYTES {
            let file = mixed(&before, &after, |page| page < written);
            assert_eq!(Files { file, log: log.clone() }.opened(), (1, 0), "{written} pages");
        }
    }
}
