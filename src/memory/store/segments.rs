//! Merges the segments of the full-text index. A term is looked up in each segment, so a recall takes less time the fewer
//! there are; and each has its own copy of the common terms.
//!
//! FTS5 knows what is left to merge (<https://sqlite.org/fts5.html#the_merge_command>).

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

/// Pages of the index that are merged between two checks of the deadline: some 2 ms.
const MERGE_PAGES: i64 = 16;

/// Segments of one level from which on they are merged: the fewest that FTS5 can merge. Its default of 4 leaves up to three
/// on each level, a quarter of the index of a small store.
const MIN_MERGED_COUNT: i64 = 2;

/// Transactions with new records after which the writer merges once it has nothing else to do. Each makes a segment, and
/// each merge is a transaction. Picked.
const MIN_UNMERGED_COUNT: u32 = 8;

/// How long the writer has had nothing to do when it begins to merge. Picked: longer than between the requests of a client
/// that writes much.
const IDLE_TIME: Duration = Duration::from_millis(200);

/// If one of this many records is newer than the last full merge, all segments are merged into one.
const FULL_MERGE_SHARE: u64 = 4;

/// Merges pages of segments of the same level. Returns true if anything was merged, which FTS5 shows by the number of
/// changed rows.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn merge(connection: &Connection) -> Result<bool, rusqlite::Error> {
    let before = connection.total_changes();
    connection
        .prepare_cached("INSERT INTO term_index (term_index, rank) VALUES ('merge', ?1)")?
        .execute([MERGE_PAGES])?;
    Ok(connection.total_changes() - before >= 2)
}

/// Merges until nothing is left to merge or the deadline has passed. Returns the number of merges, and true if nothing is
/// left.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn merge_until(connection: &Connection, deadline: Instant) -> Result<(u64, bool), rusqlite::Error> {
    configure(connection)?;
    let mut merged = 0;
    while merge(connection)? {
        merged += 1;
        if Instant::now() >= deadline {
            return Ok((merged, false));
        }
    }
    Ok((merged, true))
}

/// Begins to merge all segments into one, whatever their levels; [`merge`] goes on.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn begin_full_merge(connection: &Connection) -> Result<(), rusqlite::Error> {
    configure(connection)?;
    // A negative number puts all segments on one level first.
    connection.execute("INSERT INTO term_index (term_index, rank) VALUES ('merge', ?1)", [-MERGE_PAGES]).map(drop)
}

/// Sets [`MIN_MERGED_COUNT`] (<https://sqlite.org/fts5.html#the_usermerge_configuration_option>). The index keeps it until
/// it is rebuilt.
fn configure(connection: &Connection) -> Result<(), rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT v FROM term_index_config WHERE k = 'usermerge'")?;
    if read.query_row([], |row| row.get::<_, i64>(0)).optional()? != Some(MIN_MERGED_COUNT) {
        let sql = "INSERT INTO term_index (term_index, rank) VALUES ('usermerge', ?1)";
        connection.execute(sql, [MIN_MERGED_COUNT])?;
    }
    Ok(())
}

/// When the writer merges.
#[derive(Debug, Default)]
pub(crate) struct MergeSchedule {
    /// Transactions with new records since the last merge.
    unmerged: u32,
    /// Records since the last full merge.
    unmerged_records: u64,
    is_merging: bool,
}

impl MergeSchedule {
    /// Call after a commit that has added this many records.
    pub(crate) fn committed(&mut self, records: u64) {
        self.unmerged += u32::from(records > 0);
        self.unmerged_records += records;
    }

    /// Returns how long the writer waits for a job before it merges; `None` if it need not merge.
    pub(crate) fn wait(&self) -> Option<Duration> {
        match self.is_merging {
            true => Some(Duration::ZERO),
            false => (self.unmerged >= MIN_UNMERGED_COUNT).then_some(IDLE_TIME),
        }
    }

    /// Returns true if the merge that now begins is to be a full one, given the number of records; false if one goes on.
    pub(crate) fn begin(&mut self, records: u64) -> bool {
        let is_full = !self.is_merging && self.unmerged_records * FULL_MERGE_SHARE >= records;
        self.is_merging = true;
        if is_full {
            self.unmerged_records = 0;
        }
        is_full
    }

    /// Call once nothing is left to merge, or after an error.
    pub(crate) fn end(&mut self) {
        (self.unmerged, self.is_merging) = (0, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_merges_after_several_transactions_and_all_of_it_if_much_is_new() {
        let mut schedule = MergeSchedule::default();
        for _ in 0..MIN_UNMERGED_COUNT {
            assert_eq!(schedule.wait(), None);
            schedule.committed(0);
            schedule.committed(25);
        }
        assert_eq!(schedule.wait(), Some(IDLE_TIME));
        assert!(schedule.begin(800));
        assert_eq!(schedule.wait(), Some(Duration::ZERO));
        assert!(!schedule.begin(800), "it goes on");
        schedule.end();
        assert_eq!(schedule.wait(), None);
        (0..MIN_UNMERGED_COUNT).for_each(|_| schedule.committed(20));
        assert!(!schedule.begin(960), "most of the index is merged");
    }
}
