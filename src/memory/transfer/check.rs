//! `store_check`: is the store sound? It reads and changes nothing.
//!
//! First SQLite's own look at every page, index and constraint (the full-text index checks itself in
//! it), then the links between tables, then record by record what SQLite cannot know: that the text is
//! the one that its fingerprint was made of, and that the index knows the record by its words. Records
//! are looked at in short transactions, from a place that is another one each time, until all were seen
//! or the time is over. What the time did not suffice for is said and is no problem.

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
use crate::memory::text::tokenizer;

/// Longest look of SQLite's own. With the next it stays under the 30 s that clients wait for a reply.
const TABLES_PATIENCE: Duration = Duration::from_secs(15);

/// From the beginning on until no further record is looked at.
const RECORDS_PATIENCE: Duration = Duration::from_secs(22);

/// Records of one transaction: some milliseconds.
const CHUNK: i64 = 256;

/// Most problems named. Who has more restores a backup, whatever the others are.
const MOST_PROBLEMS: usize = 100;

/// What a check found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Checked {
    ok: bool,
    /// Does `store_reindex` take all of the problems away?
    mendable: bool,
    /// How the full-text index is: current, due, growing or damaged.
    index: &'static str,
    /// A sentence each.
    problems: Vec<String>,
    /// What there was no time for, a sentence each.
    skipped: Vec<String>,
    /// Records there are.
    records: i64,
    /// Records that were looked at one by one.
    checked: i64,
    /// Problems of the index alone.
    #[serde(skip)]
    of_index: usize,
    /// It cannot be asked.
    #[serde(skip)]
    is_index_torn: bool,
}

/// Whose a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The full-text index's, which can be made anew.
    Index,
    /// That of anything else.
    Other,
}

/// Looks at the store whose database is at `store`. `now` says where among the records to begin.
///
/// # Errors
/// -32001 where the store cannot be read at all.
pub(crate) fn check(store: &Path, now: UnixMicros, began: Instant) -> Result<Checked, CallError> {
    // On a connection that has asked the index before, FTS5's check of itself goes by what it remembers
    // of the index's segments and takes later merges for damage.
    let reader = &Reader::open(store)?;
    let mut found = Checked { ok: true, ..Checked::default() };
    let snapshot = reader.snapshot()?;
    let looks: [(&str, Look); 2] = [("pages and indexes", pages), ("links between tables", references)];
    for (what, look) in looks {
        match snapshot.until(began + TABLES_PATIENCE, |connection| look(connection, &mut found)) {
            Err(StoreError::Interrupted) => {
                found.skipped.push(format!("{what}: the store is too large to look at all"))
            }
            Err(StoreError::Damaged(detail)) => {
                // What ended the look is what it has just named.
                let part = if found.is_of_index_alone() { Part::Index } else { Part::Other };
                found.problem(part, format!("{what}: {detail}"));
            }
            outcome => outcome?,
        }
    }
    let index = RebuildState::read(snapshot.connection())?;
    drop(snapshot);
    match found.each_record(reader, now, began + RECORDS_PATIENCE) {
        Err(StoreError::Damaged(detail)) => found.problem(Part::Other, format!("records: {detail}")),
        outcome => outcome?,
    }
    found.index = match index {
        _ if found.of_index > 0 => "damaged",
        RebuildState::Current => "current",
        RebuildState::Due(_) => "due",
        RebuildState::Growing(_) => "growing",
    };
    found.mendable = found.is_of_index_alone();
    if found.checked < found.records && found.ok {
        found.skipped.push(format!("{} of {} records", found.records - found.checked, found.records));
    }
    Ok(found)
}

/// Is anything wrong that a new index takes away?
///
/// # Errors
/// -32001 where the store cannot be read at all.
pub(crate) fn is_index_damaged(store: &Path, began: Instant) -> Result<bool, CallError> {
    let reader = &Reader::open(store)?;
    let mut found = Checked::default();
    let snapshot = reader.snapshot()?;
    match snapshot.until(began + TABLES_PATIENCE, |connection| pages(connection, &mut found)) {
        // What is found by then counts.
        Ok(()) | Err(StoreError::Interrupted | StoreError::Damaged(_)) => Ok(found.of_index > 0),
        Err(fault) => Err(fault.into()),
    }
}

type Look = fn(&Connection, &mut Checked) -> Result<(), StoreError>;

fn pages(connection: &Connection, found: &mut Checked) -> Result<(), StoreError> {
    let mut trees = connection.prepare("SELECT rootpage FROM sqlite_schema WHERE tbl_name LIKE 'term_index%'")?;
    let trees: Vec<i64> = trees.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut look = connection.prepare(&format!("PRAGMA integrity_check({MOST_PROBLEMS})"))?;
    let mut rows = look.query([])?;
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        for line in text.lines().filter(|line| *line != "ok" && !line.starts_with("***")) {
            let part = if is_of_index(line, &trees) { Part::Index } else { Part::Other };
            found.problem(part, line.to_owned());
        }
    }
    Ok(())
}

/// Is this line of SQLite's about the full-text index, whose tables have their roots on the pages `trees`? Pages
/// that nobody uses are what is left of one, and no harm to anything else.
fn is_of_index(line: &str, trees: &[i64]) -> bool {
    let number = |text: &str| text.split(' ').next().and_then(|number| number.parse().ok());
    match line.strip_prefix("Tree ") {
        Some(rest) => number(rest).is_some_and(|tree: i64| trees.contains(&tree)),
        None => line.contains("term_index") || line.starts_with("Page ") && line.ends_with(": never used"),
    }
}

fn references(connection: &Connection, found: &mut Checked) -> Result<(), StoreError> {
    let mut look = connection.prepare(r#"SELECT "table", rowid, parent FROM pragma_foreign_key_check LIMIT ?1"#)?;
    let mut rows = look.query([MOST_PROBLEMS as i64])?;
    while let Some(row) = rows.next()? {
        let (table, number, parent): (String, Option<i64>, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let number = number.map_or_else(String::new, |number| format!(" {number}"));
        found.problem(Part::Other, format!("{table}{number} names a {parent} that is not there"));
    }
    Ok(())
}

impl Checked {
    fn problem(&mut self, part: Part, what: String) {
        self.ok = false;
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(what);
            self.of_index += usize::from(part == Part::Index);
        }
    }

    fn is_of_index_alone(&self) -> bool {
        self.of_index > 0 && self.of_index == self.problems.len()
    }

    fn each_record(&mut self, reader: &Reader, now: UnixMicros, deadline: Instant) -> Result<(), StoreError> {
        let snapshot = reader.snapshot()?;
        let (count, last): (i64, i64) =
            snapshot.connection().query_row("SELECT count(*), coalesce(max(seq), 0) FROM record", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        drop(snapshot);
        self.records = count;
        if count != last {
            self.problem(Part::Other, format!("the records are numbered up to {last}, but there are {count}"));
        }
        let chunks = last.div_euclid(CHUNK) + 1;
        let first = now.0.rem_euclid(chunks);
        for chunk in (first..chunks).chain(0..first) {
            if Instant::now() >= deadline || self.problems.len() >= MOST_PROBLEMS {
                break;
            }
            let snapshot = reader.snapshot()?;
            self.some_records(snapshot.connection(), chunk * CHUNK + 1, last)?;
        }
        Ok(())
    }

    /// Looks at the records from `first` on, as many as make a chunk, up to `last`.
    fn some_records(&mut self, connection: &Connection, first: i64, last: i64) -> Result<(), StoreError> {
        let mut read = connection.prepare_cached(
            "SELECT seq, id, role, session.name, hash, cue, text FROM record
             JOIN session ON session.number = record.session WHERE seq BETWEEN ?1 AND ?2",
        )?;
        let index = RebuildState::read(connection)?;
        let mut rows = read.query([first, last.min(first + CHUNK - 1)])?;
        while let Some(row) = rows.next()? {
            let (seq, id): (i64, [u8; 16]) = (row.get(0)?, row.get(1)?);
            let (role, session, hash): (i64, String, [u8; 16]) = (row.get(2)?, row.get(3)?, row.get(4)?);
            let (cue, text): (String, String) = (row.get(5)?, row.get(6)?);
            self.checked += 1;
            let id = Uuid::from_bytes(id);
            if fingerprint(&session, Role::numbered(role), &text) != hash {
                self.problem(
                    Part::Other,
                    format!("record {id}: its text is not the one that its fingerprint was made of"),
                );
            }
            if !index.covers(seq) || self.is_index_torn {
                continue;
            }
            match is_indexed(connection, seq, &cue, &text) {
                Ok(true) => {}
                Ok(false) => {
                    self.problem(Part::Index, format!("record {id}: the index does not know it by its words"));
                }
                Err(StoreError::Damaged(detail)) => {
                    self.problem(Part::Index, format!("full-text index: {detail}"));
                    self.is_index_torn = true;
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }
}

/// Does the index have the record by the first term of its text and of its cue?
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
        // A text without any word, in a session of its own.
        bench.capture("!!!!!!!!!!!!!!!", json!({"session_id": ""}));
        bench
    }

    #[test]
    fn a_sound_store_is_ok() {
        for (bench, records) in [(Bench::new(), 0), (filled(), 601)] {
            let got = bench.ok("store_check", json!({}));
            let want = json!({"ok": true, "mendable": false, "index": "current", "problems": [], "skipped": [], "records": records, "checked": records});
            assert_eq!(got, want);
        }
    }

    #[test]
    fn a_store_that_is_written_to_between_two_checks_stays_sound() {
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
    fn what_is_wrong_is_named() {
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
                "index does not know it",
            ),
            (
                "PRAGMA foreign_keys = OFF; DROP TRIGGER record_is_written_once; UPDATE record SET project = 77 WHERE seq = 9",
                0,
                "record 9 names a project that is not there",
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
