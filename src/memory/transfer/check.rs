//! `store_check`: an integrity check that only reads.
//!
//! SQLite's `integrity_check` covers pages, indexes and constraints, and includes the check of the full-text index;
//! `foreign_key_check` covers references between tables. Then each record is checked for what SQLite cannot know: that
//! its fingerprint matches its text, and that the full-text index finds it by its terms. Records are read in short
//! transactions, from a different starting point each time, until all are checked or the time is up. What was not
//! checked for lack of time is reported and is no problem.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde::Serialize;
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::model::record::{Role, fingerprint};
use crate::memory::model::time::UnixMicros;
use crate::memory::store::error::StoreError;
use crate::memory::store::fulltext::RebuildState;
use crate::memory::store::reader::Reader;
use crate::memory::store::records;
use crate::memory::store::store_file::StoreFile;
use crate::memory::text::tokenizer;

/// Time limit of SQLite's checks, from the beginning of the call. With [`RECORDS_TIME`] the call stays below the 30 s that
/// clients wait for a reply.
const TABLES_TIME: Duration = Duration::from_secs(15);

/// Time after the beginning of the call at which no further records are checked.
const RECORDS_TIME: Duration = Duration::from_secs(22);

/// Records checked in one transaction: some milliseconds.
const CHUNK_RECORDS: i64 = 256;

/// Problems that are listed. A store with more needs a backup restored, whatever the others are.
const MAX_PROBLEMS: usize = 100;

/// The result of `store_check`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CheckResult {
    ok: bool,
    /// True if there are problems and `store_reindex` solves all of them.
    mendable: bool,
    /// The state of the full-text index: `current`, `due`, `growing` or `damaged`.
    index: &'static str,
    /// The problems, a message each.
    problems: Vec<String>,
    /// What was not checked for lack of time, a message each.
    skipped: Vec<String>,
    /// The number of records.
    records: i64,
    /// The number of records that were checked.
    checked: i64,
    /// The number of problems that concern only the full-text index.
    #[serde(skip)]
    index_problems: usize,
    /// True if the full-text index cannot be queried.
    #[serde(skip)]
    is_index_unreadable: bool,
}

/// The part of the store that a problem concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The full-text index, which can be rebuilt.
    Index,
    /// Anything else.
    Other,
}

/// Checks the store whose database is at `store`. `now` determines the chunk of records to start with.
///
/// # Errors
/// -32001 if the store cannot be read at all.
pub(crate) fn check(store: &StoreFile, now: UnixMicros, began: Instant) -> Result<CheckResult, CallError> {
    // A new connection: on one that has queried the index before, FTS5's integrity check uses its cached list of segments
    // and reports later merges as damage.
    check_all(&Reader::open(store)?, now, began)
}

/// Returns a problem of the database at `path`, other than one of the full-text index, if there is one.
///
/// # Errors
/// -32001 if the database cannot be read at all.
pub(crate) fn problem(path: &Path, now: UnixMicros, began: Instant) -> Result<Option<String>, CallError> {
    let found = check_all(&Reader::at(path)?, now, began)?;
    let is_sound = found.ok || found.mendable;
    Ok((!is_sound).then(|| found.problems.into_iter().next().unwrap_or_default()))
}

fn check_all(reader: &Reader, now: UnixMicros, began: Instant) -> Result<CheckResult, CallError> {
    let mut found = CheckResult { ok: true, ..CheckResult::default() };
    let snapshot = reader.snapshot()?;
    let checks: [(&str, Check); 3] =
        [("pages and indexes", pages), ("links between tables", references), ("other ids of records", other_ids)];
    for (what, check) in checks {
        match snapshot.until(began + TABLES_TIME, |connection| check(connection, &mut found)) {
            Err(StoreError::Interrupted) => {
                found.skipped.push(format!("{what}: the store is too large to check completely"))
            }
            Err(StoreError::Damaged(detail)) => {
                // The error that ended the check is the problem that it has just listed.
                let part = if found.has_only_index_problems() { Part::Index } else { Part::Other };
                found.problem(part, format!("{what}: {detail}"));
            }
            outcome => outcome?,
        }
    }
    let index = RebuildState::read(snapshot.connection())?;
    drop(snapshot);
    match found.check_records(reader, now, began + RECORDS_TIME) {
        Err(StoreError::Damaged(detail)) => found.problem(Part::Other, format!("records: {detail}")),
        outcome => outcome?,
    }
    found.index = match index {
        _ if found.index_problems > 0 => "damaged",
        RebuildState::Current => "current",
        RebuildState::Due(_) => "due",
        RebuildState::Growing(_) => "growing",
    };
    found.mendable = found.has_only_index_problems();
    if found.checked < found.records && found.ok {
        found.skipped.push(format!("{} of {} records", found.records - found.checked, found.records));
    }
    Ok(found)
}

/// Returns true if the check of pages finds a problem of the full-text index.
///
/// # Errors
/// -32001 if the store cannot be read at all.
pub(crate) fn is_index_damaged(store: &StoreFile, began: Instant) -> Result<bool, CallError> {
    let reader = &Reader::open(store)?;
    let mut found = CheckResult::default();
    let snapshot = reader.snapshot()?;
    match snapshot.until(began + TABLES_TIME, |connection| pages(connection, &mut found)) {
        // Problems found until then count.
        Ok(()) | Err(StoreError::Interrupted | StoreError::Damaged(_)) => Ok(found.index_problems > 0),
        Err(error) => Err(error.into()),
    }
}

type Check = fn(&Connection, &mut CheckResult) -> Result<(), StoreError>;

fn pages(connection: &Connection, found: &mut CheckResult) -> Result<(), StoreError> {
    let mut trees = connection.prepare("SELECT rootpage FROM sqlite_schema WHERE tbl_name LIKE 'term_index%'")?;
    let trees: Vec<i64> = trees.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut look = connection.prepare(&format!("PRAGMA integrity_check({MAX_PROBLEMS})"))?;
    let mut rows = look.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        for line in text.lines().filter(|line| *line != "ok" && !line.starts_with("***")) {
            let part = if concerns_index(line, &trees) { Part::Index } else { Part::Other };
            found.problem(part, line.to_owned());
        }
    }
    Ok(())
}

/// Returns true if this line of `integrity_check` concerns the full-text index, whose tables have their roots on the
/// pages `trees`. Unused pages are the rest of a replaced index and harm nothing else.
fn concerns_index(line: &str, trees: &[i64]) -> bool {
    let number = |text: &str| text.split(' ').next().and_then(|number| number.parse().ok());
    match line.strip_prefix("Tree ") {
        Some(rest) => number(rest).is_some_and(|tree: i64| trees.contains(&tree)),
        None => line.contains("term_index") || line.starts_with("Page ") && line.ends_with(": never used"),
    }
}

fn references(connection: &Connection, found: &mut CheckResult) -> Result<(), StoreError> {
    let mut look = connection.prepare(r#"SELECT "table", rowid, parent FROM pragma_foreign_key_check LIMIT ?1"#)?;
    let mut rows = look.query([MAX_PROBLEMS as i64])?;
    while let Some(row) = rows.next()? {
        let (table, number, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let number = number.map_or_else(String::new, |number| format!(" {number}"));
        found.problem(Part::Other, format!("{table}{number} refers to a missing {parent}"));
    }
    Ok(())
}

/// Checks that each alias is greater than the id of its record, and that no record has it.
fn other_ids(connection: &Connection, found: &mut CheckResult) -> Result<(), StoreError> {
    let mut look = connection.prepare(
        "SELECT record_alias.id FROM record_alias LEFT JOIN record ON seq = record_alias.record
         WHERE record.id IS NULL OR record_alias.id <= record.id
             OR EXISTS (SELECT 1 FROM record AS other WHERE other.id = record_alias.id) LIMIT ?1",
    )?;
    let mut rows = look.query([MAX_PROBLEMS as i64])?;
    while let Some(row) = rows.next()? {
        let id = Uuid::from_bytes(row.get(0)?);
        found.problem(Part::Other, format!("the other id {id} of a record is not greater than that which is shown"));
    }
    Ok(())
}

impl CheckResult {
    fn problem(&mut self, part: Part, what: String) {
        self.ok = false;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(what);
            self.index_problems += usize::from(part == Part::Index);
        }
    }

    fn has_only_index_problems(&self) -> bool {
        self.index_problems > 0 && self.index_problems == self.problems.len()
    }

    fn check_records(&mut self, reader: &Reader, now: UnixMicros, deadline: Instant) -> Result<(), StoreError> {
        let snapshot = reader.snapshot()?;
        let connection = snapshot.connection();
        let (count, last): (i64, i64) =
            connection.query_row("SELECT count(*), coalesce(max(seq), 0) FROM record", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        // Each number is that of a record or of a forgotten one.
        let expected = records::count(connection)?;
        drop(snapshot);
        self.records = count;
        if count != expected {
            self.problem(
                Part::Other,
                format!("the numbers of the records add up to {expected}, but there are {count}"),
            );
        }
        let chunks = last.div_euclid(CHUNK_RECORDS) + 1;
        let first = now.0.rem_euclid(chunks);
        for chunk in (first..chunks).chain(0..first) {
            if Instant::now() >= deadline || self.problems.len() >= MAX_PROBLEMS {
                break;
            }
            let snapshot = reader.snapshot()?;
            self.check_chunk(snapshot.connection(), chunk * CHUNK_RECORDS + 1, last)?;
        }
        Ok(())
    }

    /// Checks a chunk of records from `first` on, up to `last`.
    fn check_chunk(&mut self, connection: &Connection, first: i64, last: i64) -> Result<(), StoreError> {
        let mut read = connection.prepare_cached(
            "SELECT seq, id, role, session.name, hash, cue, text FROM record
             JOIN session ON session.number = record.session WHERE seq BETWEEN ?1 AND ?2",
        )?;
        let index = RebuildState::read(connection)?;
        let mut rows = read.query([first, last.min(first + CHUNK_RECORDS - 1)])?;
        while let Some(row) = rows.next()? {
            let (seq, id): (i64, [u8; 16]) = (row.get(0)?, row.get(1)?);
            let (role, session, hash): (i64, String, [u8; 16]) = (row.get(2)?, row.get(3)?, row.get(4)?);
            let (cue, text): (String, String) = (row.get(5)?, row.get(6)?);
            self.checked += 1;
            let id = Uuid::from_bytes(id);
            if fingerprint(&session, Role::numbered(role), &text) != hash {
                self.problem(Part::Other, format!("record {id}: the fingerprint does not match the text"));
            }
            if !index.covers(seq) || self.is_index_unreadable {
                continue;
            }
            match is_indexed(connection, seq, &cue, &text) {
                Ok(true) => {}
                Ok(false) => {
                    self.problem(
                        Part::Index,
                        format!("record {id}: the full-text index does not find it by its terms"),
                    );
                }
                Err(StoreError::Damaged(detail)) => {
                    self.problem(Part::Index, format!("full-text index: {detail}"));
                    self.is_index_unreadable = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Returns true if the index finds the record by the first term of its text and that of its cue.
fn is_indexed(connection: &Connection, seq: i64, cue: &str, text: &str) -> Result<bool, StoreError> {
    let mut find = connection.prepare_cached("SELECT 1 FROM term_index WHERE term_index MATCH ?1 AND rowid = ?2")?;
    for line in [text, cue].map(tokenizer::index_terms) {
        if let Some(term) = line.split_ascii_whitespace().next()
            && !find.exists((format!("\"{term}\""), seq))?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use crate::dispatch::Runner;
    use crate::memory::test_support::{Bench, call_on};
    use serde_json::json;

    fn filled() -> Bench {
        let bench = Bench::new();
        for n in 0..600 {
            bench
                .capture(&format!("text number {n} in 日本語 and English"), json!({"cue": "a cue", "session_id": "s"}));
        }
        // A text without words, in another session.
        bench.capture("!!!!!!!!!!!!!!!", json!({"session_id": ""}));
        bench
    }

    #[test]
    fn an_intact_store_is_ok() {
        for (bench, records) in [(Bench::new(), 0), (filled(), 601)] {
            let got = bench.ok("store_check", json!({}));
            let want = json!({"ok": true, "mendable": false, "index": "current", "problems": [], "skipped": [], "records": records, "checked": records});
            assert_eq!(got, want);
        }
    }

    #[test]
    fn writes_between_checks_are_no_problems() {
        let bench = filled();
        let mut runner = Runner::default();
        for round in 0..4 {
            let got = call_on(&bench.memory, &mut runner, "store_check", None).unwrap();
            assert_eq!(got["problems"], json!([]), "round {round}");
            call_on(&bench.memory, &mut runner, "memory_recall", Some(r#"{"cue":"number"}"#)).unwrap();
            for n in 0..50 {
                bench.capture(&format!("round {round} brought text number {n}"), json!({}));
            }
        }
    }

    #[test]
    fn problems_are_named() {
        let id = |bench: &Bench, seq| -> String {
            let id: [u8; 16] = bench.row("SELECT id FROM record WHERE seq = ?1", seq);
            uuid::Uuid::from_bytes(id).to_string()
        };
        for (sql, seq, part) in [
            (
                "DROP TRIGGER record_is_written_once; UPDATE record SET text = 'another text' WHERE seq = 7",
                7,
                "fingerprint",
            ),
            (
                "INSERT INTO record (id, ts, tier, role, session, project, hash, twin, cue, text)
                 SELECT randomblob(16), ts, tier, role, session, project, hash, 1, cue, text FROM record WHERE seq = 5",
                602,
                "index does not find it",
            ),
            (
                "PRAGMA foreign_keys = OFF; DROP TRIGGER record_keeps_its_time_and_project; UPDATE record SET project = 77 WHERE seq = 9",
                0,
                "record 9 refers to a missing project",
            ),
            (
                "INSERT INTO record_alias VALUES (X'00000000000000000000000000000001', 9)",
                0,
                "00000000-0000-0000-0000-000000000001",
            ),
            ("DROP TRIGGER record_stays; DELETE FROM record WHERE seq = 300", 0, "up to 601, but there are 600"),
            ("DELETE FROM term_index_data WHERE id = (SELECT max(id) FROM term_index_data)", 0, "term_index"),
        ] {
            let bench = filled();
            let connection = rusqlite::Connection::open(bench.folder.path().join("memory.db")).unwrap();
            connection.execute_batch(sql).unwrap();
            let got = bench.ok("store_check", json!({}));
            assert_eq!(got["ok"], json!(false), "{sql}");
            let problems = got["problems"].to_string();
            assert!(problems.contains(part), "{sql}: {problems}");
            assert!(seq == 0 || problems.contains(&id(&bench, seq)), "{sql}: {problems}");
        }
    }
}
