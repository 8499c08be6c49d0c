//! The commit mark: one row that names the store, its present commit and the commit before that.
//!
//! The writer replaces the mark in each transaction that changes something. So the marks in a write-ahead log and the
//! one in the database file show whether the log continues that file (`stale_wal.rs`), without reading it as a
//! database: table `commit_mark` is a single page with a single cell of constant size, which SQLite places at the end of
//! the page and overwrites in place.
//!
//! A commit's id is the id of the opening that made it, which is random, and a number that grows by one. So two copies
//! of one store that are written to separately have different ids from then on. A mark has a checksum: a page that
//! contains anything else has no mark.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rusqlite::{Connection, OptionalExtension};

use crate::memory::model::record::digest;
use crate::memory::store::records::new_id;

/// The length of an encoded mark.
pub(crate) const MARK_BYTES: usize = 88;

/// The first bytes of a mark. 0xFF does not occur in UTF-8, so no text contains a mark.
const MAGIC: [u8; 8] = *b"\xFFiaidmk\xFF";

/// Offset of the checksum.
const CHECKSUM_AT: usize = MARK_BYTES - 16;

/// The id of a store, the same in all its copies.
pub(crate) type StoreId = [u8; 16];

/// The id of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitId {
    /// The id of the opening that made it.
    pub(crate) opening: [u8; 16],
    /// Greater by one than the number of the commit before it.
    pub(crate) number: u64,
}

/// The content of table `commit_mark`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CommitMark {
    pub(crate) store: StoreId,
    pub(crate) commit: CommitId,
    /// The commit before it; `None` for the first one that has a mark.
    pub(crate) parent: Option<CommitId>,
}

/// Makes the marks of one opening of a store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marker {
    opening: [u8; 16],
}

impl CommitMark {
    /// Returns the mark at the end of a page, or of what is read of it, if there is one.
    pub(crate) fn at_end_of(page: &[u8]) -> Option<CommitMark> {
        let bytes: &[u8; MARK_BYTES] = page.last_chunk()?;
        let is_mark = bytes.starts_with(&MAGIC) && bytes[CHECKSUM_AT..] == digest(&bytes[..CHECKSUM_AT]).to_be_bytes();
        is_mark.then(|| {
            let commit =
                |at: usize| CommitId { opening: part(bytes, at), number: u64::from_be_bytes(part(bytes, at + 16)) };
            let parent = commit(48);
            CommitMark {
                store: part(bytes, 8),
                commit: commit(24),
                parent: (parent.opening != [0; 16]).then_some(parent),
            }
        })
    }

    pub(crate) fn encode(&self) -> [u8; MARK_BYTES] {
        let parent = self.parent.unwrap_or(CommitId { opening: [0; 16], number: 0 });
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..24].copy_from_slice(&self.store);
        for (at, commit) in [(24, self.commit), (48, parent)] {
            bytes[at..at + 16].copy_from_slice(&commit.opening);
            bytes[at + 16..at + 24].copy_from_slice(&commit.number.to_be_bytes());
        }
        let checksum = digest(&bytes[..CHECKSUM_AT]).to_be_bytes();
        bytes[CHECKSUM_AT..].copy_from_slice(&checksum);
        bytes
    }

    /// Reads the mark; `None` if the store has none.
    ///
    /// # Errors
    /// Any SQLite error, such as a store of an earlier version, which has no such table.
    pub(crate) fn read(connection: &Connection) -> Result<Option<CommitMark>, rusqlite::Error> {
        let mut read = connection.prepare_cached("SELECT mark FROM commit_mark WHERE one = 1")?;
        let mut rows = read.query([])?;
        rows.next()?.map(|row| Ok(CommitMark::at_end_of(row.get_ref(0)?.as_blob()?))).transpose().map(Option::flatten)
    }

    /// Returns the number of the page that has the mark; `None` in a store of an earlier version.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn page(connection: &Connection) -> Result<Option<u32>, rusqlite::Error> {
        let sql = "SELECT rootpage FROM sqlite_schema WHERE type = 'table' AND name = 'commit_mark'";
        connection.query_row(sql, [], |row| row.get(0)).optional()
    }

    fn write(&self, connection: &Connection) -> Result<(), rusqlite::Error> {
        let sql =
            "INSERT INTO commit_mark (one, mark) VALUES (1, ?1) ON CONFLICT (one) DO UPDATE SET mark = excluded.mark";
        connection.prepare_cached(sql)?.execute([self.encode()]).map(drop)
    }
}

impl Marker {
    /// Returns the marker of a new opening.
    pub(crate) fn new() -> Marker {
        Marker { opening: random_id() }
    }

    /// Marks the commit of the present transaction and returns the mark. A store without a mark gets its id.
    ///
    /// # Errors
    /// Any SQLite error.
    pub(crate) fn mark_commit(self, connection: &Connection) -> Result<CommitMark, rusqlite::Error> {
        let before = CommitMark::read(connection)?;
        let mark = self.after(before, before.map_or_else(random_id, |mark| mark.store));
        mark.write(connection)?;
        Ok(mark)
    }

    /// Gives the database file `file`, whose mark is on page `page`, the mark of a new commit that follows `parent`, so
    /// that its commits differ from those of the database that it is a copy of. Does nothing if the page has no mark.
    ///
    /// # Errors
    /// Those of reading and writing the file, which no connection may have open.
    pub(crate) fn fork(self, file: &File, page: u32, page_bytes: u64, parent: Option<CommitMark>) -> io::Result<()> {
        let Some(at) = (u64::from(page) * page_bytes).checked_sub(MARK_BYTES as u64) else { return Ok(()) };
        let mut bytes = [0; MARK_BYTES];
        file.read_exact_at(&mut bytes, at)?;
        let Some(mark) = CommitMark::at_end_of(&bytes) else { return Ok(()) };
        file.write_all_at(&self.after(parent.or(Some(mark)), mark.store).encode(), at)
    }

    fn after(self, parent: Option<CommitMark>, store: StoreId) -> CommitMark {
        let parent = parent.map(|mark| mark.commit);
        let number = parent.map_or(0, |commit| commit.number.wrapping_add(1));
        CommitMark { store, commit: CommitId { opening: self.opening, number }, parent }
    }
}

fn part<const N: usize>(bytes: &[u8; MARK_BYTES], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

fn random_id() -> [u8; 16] {
    new_id().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn mark(number: u64, parent: Option<u64>) -> CommitMark {
        let commit = |number| CommitId { opening: [3; 16], number };
        CommitMark { store: [7; 16], commit: commit(number), parent: parent.map(commit) }
    }

    #[test]
    fn a_mark_is_found_at_the_end_of_its_page_only() {
        for mark in [mark(0, None), mark(1, Some(0)), mark(u64::MAX, Some(u64::MAX - 1))] {
            let mut page = vec![0; 4096];
            page[4096 - MARK_BYTES..].copy_from_slice(&mark.encode());
            assert_eq!(CommitMark::at_end_of(&page), Some(mark));
            assert_eq!(CommitMark::at_end_of(&page[..4095]), None);
            for at in 4096 - MARK_BYTES..4096 {
                let mut torn = page.clone();
                torn[at] ^= 1;
                assert_eq!(CommitMark::at_end_of(&torn), None, "byte {at}");
            }
        }
        assert_eq!(CommitMark::at_end_of(&[]), None);
    }

    #[test]
    fn sqlite_keeps_the_mark_at_the_end_of_the_same_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("memory.db");
        let connection = Connection::open(&path).unwrap();
        for step in [include_str!("schema/v1.sql"), include_str!("schema/v2.sql"), include_str!("schema/v3.sql")] {
            connection.execute_batch(step).unwrap();
        }
        let marker = Marker::new();
        let mut before: Option<CommitMark> = None;
        for _ in 0..300 {
            marker.mark_commit(&connection).unwrap();
            let mark = CommitMark::read(&connection).unwrap().unwrap();
            assert_eq!(mark.parent, before.map(|mark| mark.commit));
            assert_eq!(before.map_or(mark.store, |mark| mark.store), mark.store);
            let root: u32 = connection
                .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'commit_mark'", [], |row| row.get(0))
                .unwrap();
            let file = fs::read(&path).unwrap();
            assert_eq!(CommitMark::at_end_of(&file[..root as usize * 4096]), Some(mark));
            before = Some(mark);
        }
    }
}
