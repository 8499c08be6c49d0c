//! Every SQL statement of `src/memory` reaches the large tables by an index or by row number.
//!
//! The statements are the string literals of the sources, without their tests. Each is prepared against a store that
//! the daemon has made, and SQLite's `EXPLAIN QUERY PLAN` must show no `SCAN` of a table that grows with the number
//! of records. A scan in the order of an index counts too: only a `LIMIT` ends it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::json;

use crate::harness::setup;

/// Tables that may be read from end to end. They have a row for each project, knob, state value, session without a
/// recall or open file; json_each has those of one value, and the last ones describe the database.
const SMALL: &[&str] = &[
    "change_origin",
    "copy_made",
    "first_turn",
    "knob_change",
    "meta",
    "profile",
    "project",
    "project_alias",
    "session_context",
    "spool",
    "sync_meeting",
    "sync_peer",
    "wake",
    "json_each",
    "pragma_application_id",
    "pragma_page_count",
    "pragma_page_size",
    "pragma_user_version",
    "sqlite_master",
    "sqlite_schema",
    "sqlite_sequence",
];

/// Statements that read a large table without a search, each with the reason. A statement is named by its beginning,
/// white space counted as one space.
const SCANS: &[(&str, &str)] = &[
    ("SELECT 1 FROM record LIMIT 1", "ends at the first row"),
    ("SELECT EXISTS (SELECT 1 FROM forgotten) OR EXISTS (SELECT 1 FROM forgotten_id)", "ends at the first row"),
    ("SELECT ts FROM record ORDER BY seq DESC LIMIT 1", "ends at the first row"),
    ("SELECT id FROM record", "a restore compares all records with those of the file"),
    ("SELECT seq FROM record ORDER BY seq DESC LIMIT ?1", "the newest records, by row number, ends at the limit"),
    ("SELECT seq FROM record WHERE tier > 1 ORDER BY ts DESC", "in the order of record_facts, ends at the limit"),
    (
        "SELECT link.a, link.b FROM link JOIN record ON record.seq = link.b WHERE link.kind = 2",
        "in the order of link_contradicts, which has the contradictions only, ends at the limit",
    ),
    (
        "SELECT number, name, (SELECT max(ts) FROM record WHERE session = number) AS last FROM session",
        "a row for each session, read by `memory_sessions` alone",
    ),
    ("SELECT count(*) FROM community", "a row for each group of linked records, read by `topology` alone"),
    ("SELECT count(*), coalesce(sum(degree), 0) FROM node WHERE degree > 0", "the metrics of a consolidation"),
    ("SELECT record FROM node WHERE degree > 0 ORDER BY degree DESC", "the metrics of a consolidation"),
    ("SELECT count(*), coalesce(max(seq), 0) FROM record", "the integrity check"),
    ("SELECT record_alias.id FROM record_alias LEFT JOIN record", "the integrity check"),
    ("SELECT (SELECT count(*) FROM forgotten) + (SELECT", "at each start, a row for each record that is gone"),
    ("SELECT seq FROM forgetting ORDER BY seq LIMIT 1", "ends at the first row"),
    ("INSERT OR IGNORE INTO forgetting (seq) SELECT", "once in a forgetting that another store has asked for"),
    ("DELETE FROM community WHERE size < 2", "once at the end of a forgetting"),
    ("DELETE FROM session WHERE NOT EXISTS", "once at the end of a forgetting"),
    ("UPDATE event SET domain = NULL", "once at the end of a forgetting"),
    ("SELECT \"table\", rowid, parent FROM pragma_foreign_key_check", "the integrity check"),
];

/// Literals that cannot be prepared, each with the reason.
const UNPREPARED: &[(&str, &str)] = &[
    ("DELETE FROM sqlite_schema", "needs `PRAGMA writable_schema`"),
    ("SELECT message.session_id, message.id, json_object(", "it reads the database of opencode"),
    ("SELECT session.id, session.time_updated FROM session", "so does this"),
    ("INSERT INTO {table} (rowid, text, cue) VALUES", "the name of one of the two full-text indexes is put in"),
];

/// Statistics as `PRAGMA optimize` keeps them: those of a store with 100 000 records.
const STATISTICS: &str = "
    ANALYZE;
    DELETE FROM sqlite_stat1;
    INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
        ('record', 'sqlite_autoindex_record_1', '100000 1'), ('record', 'record_living', '95000 40 1 1'),
        ('record', 'record_by_project', '100000 5000 1'), ('record', 'record_by_session', '100000 40'),
        ('record', 'record_facts', '2000 1'), ('session', 'sqlite_autoindex_session_1', '2500 1'),
        ('project', 'sqlite_autoindex_project_1', '20 1'), ('tag', 'tag', '2000 500 1'),
        ('tag', 'tag_by_record', '2000 1'), ('link', 'link', '300000 6 1 1'), ('link', 'link_back', '300000 6'),
        ('link', 'link_contradicts', '200 1'), ('node', NULL, '90000'), ('community', NULL, '20000'),
        ('event', 'sqlite_autoindex_event_1', '20000 1'), ('event', 'event_by_kind', '20000 4000 1'),
        ('companion', 'companion', '30000 1');
    ANALYZE sqlite_schema;
";

/// Returns the Rust files of `folder` and below, in order of path.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).expect("a folder").map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let all = paths.into_iter().flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Returns the string literals of a Rust source up to its test module. Escapes stay as they are written, but for the
/// one at a line's end.
fn literals(source: &str) -> Vec<String> {
    let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
    let (mut rest, mut found) = (&source[..end], Vec::new());
    while let Some(at) = rest.find(['"', '\'', '/']) {
        let (before, behind) = rest.split_at(at + 1);
        rest = behind;
        let hashes = before.len() - 1 - before[..at].trim_end_matches('#').len();
        let is_raw = before[..at - hashes].ends_with('r');
        let length = match before.as_bytes()[at] {
            b'/' if behind.starts_with('/') => behind.find('\n').unwrap_or(behind.len()),
            b'/' => 0,
            b'\'' => character(behind),
            _ if is_raw => {
                let close = format!("\"{}", "#".repeat(hashes));
                let length = behind.find(&close).expect("a raw string ends");
                found.push(behind[..length].to_owned());
                length + close.len()
            }
            _ => {
                let mut is_escaped = false;
                let length = behind.find(|c| {
                    let ends = c == '"' && !is_escaped;
                    is_escaped = c == '\\' && !is_escaped;
                    ends
                });
                let length = length.expect("a string ends");
                found.push(behind[..length].replace("\\\n", "\n"));
                length + 1
            }
        };
        rest = &rest[length..];
    }
    found
}

/// Returns the length of the character literal whose opening quote stands before `behind`; 0 for a lifetime.
fn character(behind: &str) -> usize {
    let escape = if behind.starts_with('\\') { 2 } else { 1 };
    match behind.char_indices().skip(escape).find(|(_, c)| *c == '\'' || escape == 1) {
        Some((at, '\'')) => at + 1,
        _ => 0,
    }
}

/// Returns the text with each run of white space as one space.
fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_statement(literal: &str) -> bool {
    let verbs = ["SELECT ", "INSERT ", "REPLACE ", "UPDATE ", "DELETE ", "WITH "];
    verbs.iter().any(|verb| literal.starts_with(verb))
}

/// Returns the names of the tables that SQLite reads without a search to run `statement`.
fn scanned(store: &Connection, statement: &str) -> rusqlite::Result<Vec<String>> {
    let mut explain = store.prepare(&format!("EXPLAIN QUERY PLAN {statement}"))?;
    // Parameters that are not bound are null.
    let mut rows = explain.raw_query();
    let mut tables = Vec::new();
    while let Some(row) = rows.next()? {
        let detail: String = row.get("detail")?;
        tables.extend(scanned_table(&detail).map(str::to_owned));
    }
    Ok(tables)
}

/// Returns the table that a line of a query plan reads without a search, if it does.
fn scanned_table(detail: &str) -> Option<&str> {
    let scan = detail.strip_prefix("SCAN ")?;
    let table = scan.split(' ').next()?;
    // The plan of a subquery stands in lines of its own. A full-text index is searched if there is an `M`, for MATCH,
    // in its plan.
    let is_match = || scan.split_once("VIRTUAL TABLE INDEX ").is_some_and(|(_, plan)| plan.contains('M'));
    (table != "CONSTANT" && !table.starts_with('(') && !is_match()).then_some(table)
}

/// Returns the statements in the sources of `src/memory`.
fn statements() -> BTreeSet<String> {
    let memory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/memory");
    let paths = sources(&memory).into_iter().filter(|path| !path.ends_with("test_support.rs"));
    let literals = paths.flat_map(|path| literals(&fs::read_to_string(path).expect("a source can be read")));
    literals.map(|literal| on_one_line(&literal)).filter(|literal| is_statement(literal)).collect()
}

/// Returns the entry of a list that names `statement`.
fn entry(list: &[(&'static str, &str)], statement: &str) -> Option<&'static str> {
    list.iter().map(|(beginning, _)| *beginning).find(|beginning| statement.starts_with(beginning))
}

#[test]
fn no_statement_reads_a_large_table_from_end_to_end() {
    let daemon = setup();
    daemon.client().call("memory_capture", json!({"text": "The store is made at its first use."}));
    let store = Connection::open(daemon.setup().store().join("memory.db")).expect("it opens");
    let statements = statements();
    assert!(statements.len() > 100, "only {} statements were found", statements.len());
    let (mut problems, mut used) = (Vec::new(), BTreeSet::new());
    for statistics in ["", STATISTICS] {
        store.execute_batch(statistics).expect("SQL");
        for statement in &statements {
            let (exception, problem) = match scanned(&store, statement) {
                Err(error) => (entry(UNPREPARED, statement), format!("cannot be prepared ({error})")),
                Ok(tables) => {
                    let large: Vec<String> =
                        tables.into_iter().filter(|table| !SMALL.contains(&table.as_str())).collect();
                    if large.is_empty() {
                        continue;
                    }
                    (entry(SCANS, statement), format!("reads all of {}", large.join(", ")))
                }
            };
            match exception {
                Some(exception) => used.extend([exception]),
                None => problems.push(format!("{problem}: {statement}")),
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    let listed: BTreeSet<&str> = SCANS.iter().chain(UNPREPARED).map(|(beginning, _)| *beginning).collect();
    assert_eq!(used, listed, "an entry of the lists above is not needed any more");
}

#[test]
fn literals_are_found_among_comments_characters_and_raw_strings() {
    let source = "// a \"comment\"\nfn f<'a>(c: char) { g('\"', '\\'', \"one \\\"1\\\"\", r#\"two \"2\"\"#, b'x', \"a \\\n b\") }\n\
                  #[cfg(test)]\nmod tests { \"not this\" }";
    assert_eq!(literals(source), ["one \\\"1\\\"", "two \"2\"", "a \n b"]);
}

#[test]
fn a_search_without_an_index_is_found() {
    let store = Connection::open_in_memory().expect("it opens");
    let schema = "CREATE TABLE t (a INTEGER PRIMARY KEY, b, c); CREATE INDEX t_by_b ON t (b);
                  CREATE VIRTUAL TABLE words USING fts5 (text, content='');";
    store.execute_batch(schema).expect("SQL");
    for (statement, tables) in [
        ("SELECT a FROM t WHERE a = ?1 OR b = ?2", &[][..]),
        ("SELECT a FROM t WHERE c = ?1", &["t"]),
        ("SELECT a FROM t ORDER BY b", &["t"]),
        ("UPDATE t SET b = ?1 WHERE c = ?2", &["t"]),
        ("DELETE FROM t WHERE a IN (SELECT b FROM t AS other WHERE c > ?1)", &["other"]),
        ("SELECT rowid FROM words WHERE words MATCH ?1 ORDER BY rowid DESC", &[]),
        ("SELECT rowid FROM words ORDER BY rowid DESC", &["words"]),
    ] {
        assert_eq!(scanned(&store, statement).expect(statement), tables, "{statement}");
    }
}
