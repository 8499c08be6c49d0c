//! Reads the list of a term from the tables of the full-text index, the newest record first.
//!
//! `MATCH` gives the same records in the same order, and takes a thousand instructions for each of them: the virtual
//! machine, the virtual table's calls, and the index's own iterator, which decodes positions that this index does not have.
//! Here a leaf is decoded at once. What cannot be read is reported, and the caller asks `MATCH`.
//!
//! A reader's snapshot contains committed transactions only. A connection that has changed the index in an open transaction
//! must use `MATCH`: FTS5 keeps new terms in memory until the commit.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Statement};

use crate::memory::store::error::StoreError;
use crate::memory::store::fts5_format::{Leaf, ListEntry, ListPart, Malformed, Segment, TERM_MARK, VERSION, segments};

/// The leaf of a segment that has a term, if the segment has it: the last whose first term is not greater. Table
/// `term_index_idx` has the first term of each leaf but the first, or the beginning that tells it from the term before, with
/// the leaf's number times two.
const FIND_LEAF: &str = "SELECT id, block FROM term_index_data WHERE id = ?1 + max(?2, coalesce(
    (SELECT pgno >> 1 FROM term_index_idx WHERE segid = ?3 AND term <= ?4 ORDER BY term DESC LIMIT 1), 1))";

/// The leaf behind it that has the next term.
const FIND_NEXT_LEAF: &str =
    "SELECT pgno >> 1 FROM term_index_idx WHERE segid = ?1 AND term > ?2 ORDER BY term LIMIT 1";

const READ_LEAF: &str = "SELECT block FROM term_index_data WHERE id = ?1";

/// The version of the format and the structure record.
const READ_STRUCTURE: &str = "SELECT (SELECT v FROM term_index_config WHERE k = 'version'), block FROM term_index_data
    WHERE id = 10";

impl From<Malformed> for StoreError {
    fn from(_: Malformed) -> StoreError {
        StoreError::Damaged("the full-text index is malformed".to_owned())
    }
}

/// Returns the index's segments; `None` if its format is another one.
///
/// # Errors
/// Any [`StoreError`] of reading the index.
pub(crate) fn read_segments(connection: &Connection) -> Result<Option<Vec<Segment>>, StoreError> {
    let mut find = connection.prepare_cached(READ_STRUCTURE)?;
    let mut rows = find.query([])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    if row.get::<_, Option<i64>>(0)? != Some(VERSION) {
        return Ok(None);
    }
    Ok(segments(blob(row, 1)?).ok())
}

/// The list of a term, of which the newest records are taken one after another.
#[derive(Debug)]
pub(crate) struct Doclist<'c> {
    connection: &'c Connection,
    /// Those of the segments that have the term, the newest first.
    cursors: Vec<SegmentCursor>,
    /// The cursor that is read: its entries above `floor` come before those of all others.
    leader: usize,
    floor: i64,
}

/// A segment's list, read from its end.
#[derive(Debug)]
struct SegmentCursor {
    segment: Segment,
    /// The leaf that has the term.
    term_leaf: i64,
    /// Where the list's part on that leaf is.
    place: Range<usize>,
    /// The last leaf that is still to be read; less than `term_leaf` if none is.
    last_unread: i64,
    /// What was read and not yet taken.
    part: ListPart,
}

impl<'c> Doclist<'c> {
    /// Opens the list of a term, given in the form in which the index stores it.
    ///
    /// # Errors
    /// Any [`StoreError`] of reading the index.
    pub(crate) fn open(
        connection: &'c Connection,
        segments: &[Segment],
        term: &str,
    ) -> Result<Doclist<'c>, StoreError> {
        let key = [&[TERM_MARK], term.as_bytes()].concat();
        let mut find = connection.prepare_cached(FIND_LEAF)?;
        let mut cursors = Vec::with_capacity(segments.len());
        for segment in segments {
            cursors.extend(SegmentCursor::open(connection, &mut find, *segment, &key)?);
        }
        Ok(Doclist { connection, cursors, leader: 0, floor: i64::MAX })
    }

    /// Takes the newest record that is left.
    ///
    /// # Errors
    /// Any [`StoreError`] of reading the index.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<i64>, StoreError> {
        // Records are added in the order of their rowids, so one segment's entries mostly come together.
        if let Some(leader) = self.cursors.get_mut(self.leader)
            && let Some(ListEntry { rowid, is_deleted: false }) = leader.part.pop_above(self.floor)
        {
            return Ok(Some(rowid));
        }
        self.merge_next()
    }

    /// Takes the newest record of all cursors, and finds the next leader.
    fn merge_next(&mut self) -> Result<Option<i64>, StoreError> {
        loop {
            let mut newest: Option<ListEntry> = None;
            self.floor = i64::MIN;
            for (at, cursor) in self.cursors.iter_mut().enumerate() {
                let Some(entry) = cursor.peek(self.connection)? else { continue };
                match newest {
                    Some(other) if entry.rowid <= other.rowid => self.floor = self.floor.max(entry.rowid),
                    _ => {
                        self.floor = newest.map_or(i64::MIN, |other| other.rowid);
                        (newest, self.leader) = (Some(entry), at);
                    }
                }
            }
            let Some(newest) = newest else { return Ok(None) };
            for cursor in &mut self.cursors {
                cursor.part.take(newest.rowid);
            }
            if !newest.is_deleted {
                return Ok(Some(newest.rowid));
            }
        }
    }
}

impl SegmentCursor {
    /// Returns the list that a segment has of a term; `None` if it has none.
    fn open(
        connection: &Connection,
        find: &mut Statement<'_>,
        segment: Segment,
        key: &[u8],
    ) -> Result<Option<SegmentCursor>, StoreError> {
        let mut rows = find.query((segment.leaf_id(0), segment.first_leaf, segment.id, key))?;
        let row = rows.next()?.ok_or(Malformed)?;
        let term_leaf = row.get::<_, i64>(0)?.wrapping_sub(segment.leaf_id(0));
        if !(segment.first_leaf..=segment.last_leaf).contains(&term_leaf) {
            return Err(Malformed.into());
        }
        let leaf = Leaf::of(blob(row, 1)?)?;
        let Some(list) = leaf.list(key)? else { return Ok(None) };
        let last_unread = if list.is_last { last_leaf(connection, segment, key)? } else { term_leaf };
        let place = list.place;
        let mut cursor = SegmentCursor { segment, term_leaf, place, last_unread, part: ListPart::default() };
        if last_unread <= term_leaf {
            cursor.part = ListPart::of(leaf.part(cursor.place.clone())?)?;
            cursor.last_unread = term_leaf - 1;
        }
        Ok(Some(cursor))
    }

    /// Returns the newest entry that was not taken.
    fn peek(&mut self, connection: &Connection) -> Result<Option<ListEntry>, StoreError> {
        loop {
            let last = self.part.last()?;
            if last.is_some() || self.last_unread < self.term_leaf {
                return Ok(last);
            }
            let mut read = connection.prepare_cached(READ_LEAF)?;
            let mut rows = read.query([self.segment.leaf_id(self.last_unread)])?;
            let leaf = Leaf::of(blob(rows.next()?.ok_or(Malformed)?, 0)?)?;
            self.part = ListPart::of(match self.last_unread == self.term_leaf {
                true => leaf.part(self.place.clone())?,
                false => leaf.continued()?,
            })?;
            self.last_unread -= 1;
        }
    }
}

/// Returns the last leaf that may have a part of the list of `key`, which is the last term on its own leaf.
fn last_leaf(connection: &Connection, segment: Segment, key: &[u8]) -> Result<i64, StoreError> {
    let mut find = connection.prepare_cached(FIND_NEXT_LEAF)?;
    let next: Option<i64> = find.query_row((segment.id, key), |row| row.get(0)).optional()?;
    Ok(next.unwrap_or(segment.last_leaf).min(segment.last_leaf))
}

/// Returns a column that must be a blob.
fn blob<'r>(row: &'r rusqlite::Row<'_>, column: usize) -> Result<&'r [u8], StoreError> {
    Ok(row.get_ref(column)?.as_blob().map_err(|_| Malformed)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::config::DbConfig;
    use tempfile::TempDir;

    use super::*;
    use crate::memory::store::open::{self, OpenedStore};
    use crate::memory::store::reader::{Reader, Snapshot};

    /// The terms of the records, and some that none has.
    const TERMS: &[&str] =
        &["a", "ab", "abacus", "abacusses", "abd", "b", "bänke", "c_1", "common", "com", "commoner", "z", "ä", "日本"];

    /// What happens to an index.
    #[derive(Clone, Debug)]
    enum Change {
        /// Records so many numbers behind the newest; each has the terms whose bits are set.
        Add(Vec<(u32, u16)>),
        /// The records at these places, counted from the newest.
        Delete(Vec<usize>),
        /// Records that were deleted are added again.
        AddAgain(u16),
        /// Segments are merged by this many leaves; a negative number merges all of them.
        Merge(i64),
    }

    /// A store, and which records its index has.
    struct Indexed {
        folder: TempDir,
        store: OpenedStore,
        present: Vec<(i64, u16)>,
        deleted: Vec<i64>,
        newest: i64,
    }

    fn text_of(terms: u16) -> String {
        let has = |at: &usize| terms >> at & 1 == 1;
        (0..TERMS.len() - 2).filter(has).map(|at| TERMS[at]).collect::<Vec<_>>().join(" ")
    }

    impl Indexed {
        /// Returns an empty index whose leaves have so many bytes.
        fn new(leaf_bytes: i64) -> Indexed {
            let folder = tempfile::tempdir().unwrap();
            let store = open::open(folder.path()).unwrap();
            store.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false).unwrap();
            let indexed = Indexed { folder, store, present: Vec::new(), deleted: Vec::new(), newest: 0 };
            indexed.set("pgsz", leaf_bytes);
            indexed.set("usermerge", 2);
            indexed
        }

        fn set(&self, option: &str, value: i64) {
            let sql = "INSERT INTO term_index (term_index, rank) VALUES (?1, ?2)";
            self.store.connection.execute(sql, (option, value)).unwrap();
        }

        fn add(&mut self, seq: i64, terms: u16) {
            let (cue, text) =
                if terms.is_multiple_of(3) { (text_of(terms), String::new()) } else { ("b".into(), text_of(terms)) };
            let sql = "INSERT INTO term_index (rowid, text, cue) VALUES (?1, ?2, ?3)";
            self.store.connection.execute(sql, (seq, text, cue)).unwrap();
            self.present.push((seq, terms));
            self.newest = self.newest.max(seq);
        }

        fn delete(&mut self, at: usize) {
            let (seq, terms) = self.present.remove(at);
            let (cue, text) =
                if terms.is_multiple_of(3) { (text_of(terms), String::new()) } else { ("b".into(), text_of(terms)) };
            let sql = "INSERT INTO term_index (term_index, rowid, text, cue) VALUES ('delete', ?1, ?2, ?3)";
            self.store.connection.execute(sql, (seq, text, cue)).unwrap();
            self.deleted.push(seq);
        }

        /// Makes a change, in one transaction.
        fn change(&mut self, change: &Change) {
            self.store.connection.execute_batch("BEGIN").unwrap();
            match change {
                Change::Add(records) => {
                    for &(distance, terms) in records {
                        self.add(self.newest + 1 + i64::from(distance), terms);
                    }
                }
                Change::Delete(places) => {
                    for place in places {
                        if let Some(at) = self.present.len().checked_sub(place + 1) {
                            self.delete(at);
                        }
                    }
                }
                Change::AddAgain(terms) => {
                    for seq in std::mem::take(&mut self.deleted) {
                        self.add(seq, *terms);
                    }
                }
                Change::Merge(leaves) => self.set("merge", *leaves),
            }
            self.store.connection.execute_batch("COMMIT").unwrap();
        }

        /// Checks that each term has the list that MATCH finds.
        fn check(&self) {
            let reader = Reader::open(&self.store.file).unwrap();
            let snapshot = reader.snapshot().unwrap();
            assert!(snapshot.segments().is_some(), "FTS5 writes a format that is not read");
            for term in TERMS {
                assert_eq!(list(&snapshot, term), Ok(matched(&snapshot, term)), "{term}");
            }
        }
    }

    /// Returns the list of a term.
    fn list(snapshot: &Snapshot<'_>, term: &str) -> Result<Vec<i64>, StoreError> {
        let segments = snapshot.segments().ok_or(Malformed)?;
        let mut list = Doclist::open(snapshot.connection(), segments, term)?;
        std::iter::from_fn(|| list.next().transpose()).collect()
    }

    /// Returns the records that MATCH finds.
    fn matched(snapshot: &Snapshot<'_>, term: &str) -> Vec<i64> {
        let sql = "SELECT rowid FROM term_index WHERE term_index MATCH ?1 ORDER BY rowid DESC";
        let mut find = snapshot.connection().prepare(sql).unwrap();
        find.query_map([format!("\"{term}\"")], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    fn changes() -> impl Strategy<Value = Vec<Change>> {
        let distance = prop_oneof![8 => 0..3_u32, 2 => 0..40_000_u32, 1 => any::<u32>()];
        let add = proptest::collection::vec((distance, any::<u16>()), 1..60).prop_map(Change::Add);
        let delete = proptest::collection::vec(0..200_usize, 1..30).prop_map(Change::Delete);
        let merge = prop_oneof![1..20_i64, -9..-1_i64].prop_map(Change::Merge);
        let change = prop_oneof![4 => add, 2 => delete, 1 => any::<u16>().prop_map(Change::AddAgain), 4 => merge];
        proptest::collection::vec(change, 1..14)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_list_is_what_match_finds(leaf_bytes in 32..160_i64, changes in changes()) {
            let mut index = Indexed::new(leaf_bytes);
            index.check();
            for change in &changes {
                index.change(change);
                index.check();
            }
        }
    }

    #[test]
    fn a_list_over_many_leaves_of_the_usual_size_is_what_match_finds() {
        let index = Indexed::new(4050);
        let rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000)";
        let sql = format!("INSERT INTO term_index (rowid, text) {rows} SELECT i * 3, 'common w' || (i % 700) FROM n");
        index.store.connection.execute_batch(&sql).unwrap();
        index.check();
        index.set("merge", -100);
        index.check();
        let reader = Reader::open(&index.store.file).unwrap();
        let snapshot = reader.snapshot().unwrap();
        assert_eq!(list(&snapshot, "common").unwrap().len(), 30_000);
        for number in [0, 1, 350, 699] {
            let term = format!("w{number}");
            assert_eq!(list(&snapshot, &term), Ok(matched(&snapshot, &term)), "{term}");
        }
    }

    #[test]
    fn a_rebuilt_index_is_read_by_the_connection_that_read_the_old_one() {
        let mut index = Indexed::new(64);
        index.change(&Change::Add(vec![(0, u16::MAX); 50]));
        let reader = Reader::open(&index.store.file).unwrap();
        assert_eq!(list(&reader.snapshot().unwrap(), "common").unwrap().len(), 50);
        index
            .store
            .connection
            .execute_batch(
                "BEGIN; CREATE VIRTUAL TABLE term_index_beside USING fts5(text, cue, content='', detail=none, columnsize=0);
                 INSERT INTO term_index_beside (rowid, text) VALUES (7, 'common'), (9, 'common z');
                 DROP TABLE term_index; ALTER TABLE term_index_beside RENAME TO term_index; COMMIT",
            )
            .unwrap();
        assert_eq!(list(&reader.snapshot().unwrap(), "common"), Ok(vec![9, 7]));
        assert_eq!(list(&reader.snapshot().unwrap(), "abacus"), Ok(vec![]));
    }

    #[test]
    fn a_damaged_index_is_read_to_some_end() {
        let mut index = Indexed::new(64);
        for _ in 0..3 {
            index.change(&Change::Add((0..60).map(|n| (n % 5, 0x111 << (n % 4) | 0x100)).collect()));
            index.change(&Change::Delete(vec![3, 8]));
        }
        let connection = &index.store.connection;
        let blocks: Vec<(i64, Vec<u8>)> = connection
            .prepare("SELECT id, block FROM term_index_data WHERE id > 1 AND (id = 10 OR id % 5 = 2)")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert!(blocks.len() > 4, "{}", blocks.len());
        let reader = Reader::at(&index.folder.path().join(open::FILE_NAME)).unwrap();
        let mut counts = [0, 0];
        connection.execute_batch("PRAGMA synchronous = OFF").unwrap();
        for (id, block) in blocks {
            let replace = |bytes: Option<&[u8]>| {
                let sql = "UPDATE term_index_data SET block = ?2 WHERE id = ?1";
                connection.execute(sql, (id, bytes)).unwrap();
            };
            let mut read = || {
                let snapshot = reader.snapshot().unwrap();
                TERMS.iter().for_each(|term| counts[usize::from(list(&snapshot, term).is_ok())] += 1);
            };
            for at in 0..block.len() {
                for wrong in [0, 0x7F, 0xFF, block[at] ^ 1] {
                    let mut bytes = block.clone();
                    bytes[at] = wrong;
                    replace(Some(&bytes));
                    read();
                }
            }
            replace(None);
            read();
            replace(Some(&block));
        }
        assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
    }
}
