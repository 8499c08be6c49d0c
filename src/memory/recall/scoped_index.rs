//! The full-text index as one call sees it: the records that its filter shows, the newest first.
//!
//! The list of one term is read from the index's tables (`store/doclist.rs`). `MATCH` reads everything else, and a list that
//! cannot be read from the tables.

use rusqlite::{Connection, OptionalExtension, Statement};

use crate::memory::store::doclist::Doclist;
use crate::memory::store::error::StoreError;
use crate::memory::store::fts5_format::Segment;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::reader::Snapshot;
use crate::memory::store::records;

/// Least postings read for one term, however many terms there are.
pub(crate) const MIN_TERM_POSTING_COUNT: usize = 300;

/// FTS5 cuts longer terms.
const MAX_TERM_BYTES: usize = 32_768;

/// Records of other projects that are passed over for each that is returned, at most; for less than [`MIN_SCANNED_COUNT`]
/// in total, more. Picked: a query of many terms stays under its time limit.
const SCANNED_SHARE: i64 = 20;
const MIN_SCANNED_COUNT: i64 = 5_000;

/// The full-text index as a call sees it: the records that its filter shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScopedIndex<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) projects: &'c ProjectFilter,
    /// The index's segments, if lists can be read from them.
    segments: Option<&'c [Segment]>,
    /// The seq of the newest record of all.
    pub(crate) last: i64,
    /// The number of records that are shown.
    pub(crate) total: i64,
}

impl<'c> ScopedIndex<'c> {
    /// Returns the index as `projects` shows it.
    ///
    /// # Errors
    /// Any error of counting records.
    pub(crate) fn of(snapshot: &'c Snapshot<'_>, projects: &'c ProjectFilter) -> Result<ScopedIndex<'c>, StoreError> {
        let (connection, segments) = (snapshot.connection(), snapshot.segments());
        let last = records::last_seq(connection)?;
        Ok(ScopedIndex { connection, projects, segments, last, total: projects.total(connection, last)? })
    }

    /// Returns how many records are read at most for `most` that are returned.
    fn scanned(&self, most: usize) -> i64 {
        let share =
            if self.projects.is_only() { SCANNED_SHARE.max(MIN_SCANNED_COUNT / (most as i64).max(1)) } else { 1 };
        most as i64 * share
    }

    /// Returns true if a record is of a project that is shown.
    fn shows(&self, find_project: &mut Statement<'_>, seq: i64) -> Result<bool, StoreError> {
        let project = find_project.query_row([seq], |row| row.get(0)).optional()?;
        Ok(project.is_some_and(|number| self.projects.admits_project(number)))
    }

    /// Returns the newest `most` records that match an FTS5 pattern; only [`MIN_TERM_POSTING_COUNT`] if `ends` returns true of
    /// them, and those read so far if the deadline comes first.
    ///
    /// # Errors
    /// Any [`StoreError`] of reading the index, except [`StoreError::Interrupted`].
    pub(crate) fn matches_until(
        &self,
        pattern: &str,
        most: usize,
        ends: &mut dyn FnMut(&[i64]) -> bool,
    ) -> Result<(Vec<i64>, Completion), StoreError> {
        let connection = self.connection;
        if let (Some(segments), Some(term)) = (self.segments, term_of(pattern)) {
            let from_list = Doclist::open(connection, segments, term)
                .and_then(|mut list| self.shown_until(most, ends, &mut || list.next()));
            match from_list {
                Err(StoreError::Interrupted) => return Ok((Vec::new(), Completion::Interrupted)),
                // What is wrong is MATCH's to report.
                Err(_) => {}
                found => return found,
            }
        }
        let mut find = connection
            .prepare_cached("SELECT rowid FROM term_index WHERE term_index MATCH ?1 ORDER BY rowid DESC LIMIT ?2")?;
        let mut rows = find.query((pattern, self.scanned(most)))?;
        self.shown_until(most, ends, &mut || Ok(rows.next()?.map(|row| row.get(0)).transpose()?))
    }

    /// Returns the first `most` records of these that the filter shows, as [`Self::matches_until`] does.
    fn shown_until(
        &self,
        most: usize,
        ends: &mut dyn FnMut(&[i64]) -> bool,
        next: &mut dyn FnMut() -> Result<Option<i64>, StoreError>,
    ) -> Result<(Vec<i64>, Completion), StoreError> {
        let mut find_project = None;
        if self.projects.is_only() {
            find_project = Some(records::find_project(self.connection)?);
        }
        let mut seqs = Vec::with_capacity(most.min(MIN_TERM_POSTING_COUNT));
        let mut read = || -> Result<(), StoreError> {
            for _ in 0..self.scanned(most) {
                let Some(seq) = next()? else { break };
                if let Some(find_project) = &mut find_project
                    && !self.shows(find_project, seq)?
                {
                    continue;
                }
                seqs.push(seq);
                if seqs.len() == most || (seqs.len() == MIN_TERM_POSTING_COUNT && ends(&seqs)) {
                    break;
                }
            }
            Ok(())
        };
        match read() {
            Ok(()) => Ok((seqs, Completion::Complete)),
            Err(StoreError::Interrupted) => Ok((seqs, Completion::Interrupted)),
            Err(fault) => Err(fault),
        }
    }
}

/// Whether an SQL query ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completion {
    Complete,
    /// The deadline came first.
    Interrupted,
}

/// Returns the term of a pattern of one; `None` if MATCH would have more to do with the pattern than to look that up.
fn term_of(pattern: &str) -> Option<&str> {
    let term = pattern.strip_prefix('"')?.strip_suffix('"')?;
    let is_stored = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || !byte.is_ascii();
    (!term.is_empty() && term.len() < MAX_TERM_BYTES && term.bytes().all(is_stored)).then_some(term)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::Runner;
    use crate::memory::test_support::{Bench, call_on};
    use serde_json::json;
    use std::time::{Duration, Instant};

    impl ScopedIndex<'_> {
        fn newest(&self, pattern: &str, most: usize) -> Result<(Vec<i64>, Completion), StoreError> {
            self.matches_until(pattern, most, &mut |_| false)
        }
    }

    #[test]
    fn an_interrupted_list_has_what_was_read() {
        let bench = Bench::new();
        // SQLite checks the deadline every so many virtual-machine steps, of which each row of MATCH takes several.
        let rows: String = (1..=2000).map(|n| format!("({n}, 'common'),")).collect();
        bench.sql(&format!("INSERT INTO term_index (rowid, text) VALUES {}", rows.trim_end_matches(',')));
        let mut runner = Runner::default();
        call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"x"}"#)).unwrap();
        let snapshot = runner.worker.as_mut().unwrap().reader().unwrap().snapshot().unwrap();
        let all = ProjectFilter::NONE;
        let index = ScopedIndex::of(&snapshot, &all).unwrap();
        let past = Instant::now() - Duration::from_millis(1);
        let (seqs, completion) = snapshot.until(past, |_| index.newest("\"comm\" *", 2000)).unwrap();
        assert_eq!(completion, Completion::Interrupted);
        assert!(!seqs.is_empty() && seqs.len() < 2000, "{}", seqs.len());
        // A list itself takes a few steps for each leaf.
        let is_interrupted =
            || snapshot.until(past, |_| index.newest("\"common\"", 2000)).unwrap().1 == Completion::Interrupted;
        assert!((0..1000).any(|_| is_interrupted()));
    }

    #[test]
    fn only_a_pattern_of_one_stored_term_is_looked_up_without_match() {
        for (pattern, term) in [
            ("\"common\"", Some("common")),
            ("\"c_1\"", Some("c_1")),
            ("\"日本\"", Some("日本")),
            ("\"common\" *", None),
            ("\"a\" OR \"b\"", None),
            ("(\"a\" AND \"b\")", None),
            ("\"Common\"", None),
            ("\"a b\"", None),
            ("\"\"", None),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(term_of(pattern), term, "{pattern}");
        }
    }

    #[test]
    fn an_index_of_another_format_is_asked_by_match() {
        let bench = Bench::new();
        let ids: Vec<String> = (0..5).map(|n| bench.capture(&format!("plum {n}"), json!({}))).collect();
        let newest = |bench: &Bench| {
            let mut runner = Runner::default();
            call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"x"}"#)).unwrap();
            let snapshot = runner.worker.as_mut().unwrap().reader().unwrap().snapshot().unwrap();
            let all = ProjectFilter::NONE;
            let seqs = ScopedIndex::of(&snapshot, &all).unwrap().newest("\"plum\"", 3).unwrap().0;
            (snapshot.segments().is_some(), seqs)
        };
        let last = ids.len() as i64;
        assert_eq!(newest(&bench), (true, vec![last, last - 1, last - 2]));
        // As `secure-delete` sets it.
        bench.sql("INSERT INTO term_index (term_index, rank) VALUES ('secure-delete', 1)");
        bench.sql("INSERT INTO term_index (term_index, rowid, text, cue) VALUES ('delete', 5, 'plum 4', '')");
        assert_eq!(newest(&bench), (false, vec![4, 3, 2]));
    }
}
