//! The full-text index is rebuilt by a release with other term rules, if it is damaged, and on request.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Client, Daemon, Setup, until};

/// The version of the present term rules.
const RULES: i64 = 4;

/// Seconds, longer than any test takes.
const NEVER: &str = "3600";

/// Returns a daemon with these thresholds, in seconds.
fn with(drowsy: &str, sleep: &str) -> Setup {
    Setup::new().args(&["--drowsy-after", drowsy, "--sleep-after", sleep, "--hibernate-after", NEVER])
}

fn database(setup: &Setup) -> PathBuf {
    setup.store().join("memory.db")
}

/// Returns a word that only record `n` has.
fn word(n: usize) -> String {
    format!("subject{n}x")
}

fn fill(client: &mut Client, records: std::ops::Range<usize>) {
    let line = |n: usize| {
        let text = format!("{} came up while others talked of topic{} and the wanderings", word(n), n % 97);
        let params = json!({"text": text, "cue": format!("cue{}", n % 7), "session_id": format!("s{}", n / 40)});
        json!({"jsonrpc": "2.0", "id": n, "method": "memory_capture", "params": params}).to_string() + "\n"
    };
    for from in records.clone().step_by(64) {
        let some = from..records.end.min(from + 64);
        client.send(some.clone().map(line).collect::<String>());
        some.for_each(|_| assert!(client.line().contains("inserted")));
    }
}

/// Returns true if a recall finds record `n`. A recall that reaches its deadline, as it may on a busy machine, is
/// repeated.
fn finds(client: &mut Client, n: usize) -> bool {
    (0..5).any(|_| {
        let hits = client.call("memory_recall", json!({"cue": word(n), "limit": 1}));
        hits["hits"][0]["literal_surface"].as_str().is_some_and(|text| text.starts_with(&format!("{} ", word(n))))
    })
}

/// Makes the index that of a release with other rules: it has no term that this release has.
fn make_old(database: &Path) {
    Connection::open(database)
        .and_then(|database| {
            database.execute_batch(
                "INSERT INTO term_index (term_index) VALUES ('delete-all');
                 INSERT INTO term_index (rowid, text, cue) SELECT seq, 'old' || seq, 'older' FROM record;
                 INSERT INTO companion VALUES ('oldword', 3, 'other7');
                 UPDATE meta SET value = 0 WHERE key = 'terms_version'",
            )
        })
        .expect("SQL");
}

/// Returns every term of the index with every record that has it.
fn terms(database: &Path) -> Vec<(String, i64)> {
    let database = Connection::open(database).expect("it opens");
    database.execute_batch("CREATE VIRTUAL TABLE temp.terms USING fts5vocab(main, term_index, instance)").expect("SQL");
    let mut read = database.prepare("SELECT term, doc FROM temp.terms ORDER BY 1, 2").expect("SQL");
    let rows = read.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("SQL");
    rows.map(|row| row.expect("a term")).collect()
}

fn number(database: &Path, sql: &str) -> i64 {
    Connection::open(database).and_then(|database| database.query_row(sql, [], |row| row.get(0))).expect(sql)
}

/// Returns the last record that a rebuild has indexed, if one is in progress.
fn cursor(database: &Path) -> Option<i64> {
    Some(number(database, "SELECT coalesce(max(value), -1) FROM meta WHERE key = 'step_reindex'")).filter(|n| *n >= 0)
}

fn rules(database: &Path) -> i64 {
    number(database, "SELECT value FROM meta WHERE key = 'terms_version'")
}

fn tables(database: &Path) -> BTreeSet<String> {
    let database = Connection::open(database).expect("it opens");
    let mut read = database.prepare("SELECT name FROM sqlite_schema WHERE name LIKE 'term_index%'").expect("SQL");
    read.query_map([], |row| row.get(0)).expect("SQL").map(|name| name.expect("a name")).collect()
}

fn check(client: &mut Client) -> Value {
    client.call("store_check", json!({}))
}

#[test]
fn an_index_of_other_rules_is_rebuilt_while_asleep_without_new_records() {
    let mut daemon = with("0.1", "0.2").start();
    let database = database(daemon.setup());
    let mut client = daemon.client();
    fill(&mut client, 0..300);
    until("it has slept on them", || daemon.status()["rem_cycle"]["finished"] == 1);
    let (indexed, there) = (terms(&database), tables(&database));
    assert_eq!(daemon.stop().code(), Some(0));
    make_old(&database);
    assert_ne!(terms(&database), indexed);

    daemon.restart();
    until("it has slept again", || daemon.status()["rem_cycle"]["finished"] == 1);
    assert_eq!((rules(&database), cursor(&database)), (RULES, None));
    assert_eq!((terms(&database), tables(&database)), (indexed, there));
    assert_eq!(number(&database, "SELECT count(*) FROM companion WHERE term = 'oldword'"), 0);
    assert!(number(&database, "SELECT count(*) FROM companion") > 0, "co-occurrences are learned again");
    let mut client = daemon.client();
    assert!((0..300).all(|n| finds(&mut client, n)));
    let run = client.call("events_query", json!({"kind": "cls_consolidation_run", "limit": 1}));
    let steps = &run["events"][0]["data"]["steps"];
    assert_eq!((&steps[0]["step"], &steps[0]["counts"]), (&json!("reindex"), &json!({"indexed": 300})), "{run}");
    let checked = check(&mut client);
    assert_eq!((&checked["problems"], &checked["index"]), (&json!([]), &json!("current")));
    // It happens once.
    daemon.kill_and_restart();
    assert_eq!(daemon.status()["rem_cycle"]["steps"], 6);
    until("it is drowsy", || daemon.status()["lifecycle_state"] == "DROWSY");
    assert_eq!(daemon.status()["rem_cycle"]["finished"], 0);
}

#[test]
fn a_rebuild_goes_on_after_kills_and_records_captured_meanwhile_are_found() {
    const RECORDS: usize = 4000;
    const CUTS: u64 = 4;
    let mut daemon = with(NEVER, NEVER).start();
    let database = database(daemon.setup());
    let mut client = daemon.client();
    fill(&mut client, 0..RECORDS);
    assert_eq!(daemon.stop().code(), Some(0));
    make_old(&database);
    daemon.restart();
    assert_eq!(check(&mut daemon.client())["index"], "due");

    let (mut captured, mut cut, mut before) = (RECORDS, 0, 0);
    let ask = |daemon: &Daemon| {
        let mut asked = daemon.client();
        asked.send(r#"{"jsonrpc":"2.0","id":1,"method":"memory_consolidate"}"#.to_owned() + "\n");
        asked
    };
    // If the rebuild ends before the kill, the round does not count and the rebuild starts again.
    for round in 0..10 * CUTS {
        if cut == CUTS {
            break;
        }
        if rules(&database) == RULES {
            assert_eq!(daemon.stop().code(), Some(0));
            make_old(&database);
            daemon.restart();
            before = 0;
        }
        let (_asked, mut client) = (ask(&daemon), daemon.client());
        let goes_on = || cursor(&database).is_some_and(|cursor| cursor > before);
        until("it goes on", || goes_on() || rules(&database) == RULES);
        if cut % 2 == 1 {
            // Captured before the rebuild reaches them, found by the old index.
            fill(&mut client, captured..captured + 2);
            captured += 2;
            assert!((captured - 2..captured).all(|n| finds(&mut client, n)), "round {round}");
        }
        // The daemon is killed at another moment of a chunk in each round.
        thread::sleep(Duration::from_micros(round * 3700 % 20_000));
        daemon.kill_and_restart();
        if let Some(now) = cursor(&database) {
            assert!(now >= before, "the rebuild went back from {before} to {now}");
            before = now;
            cut += 1;
            let state = check(&mut daemon.client());
            assert_eq!((&state["problems"], &state["index"]), (&json!([]), &json!("growing")), "round {round}");
        }
    }
    assert_eq!(cut, CUTS, "the rebuild was too fast to be interrupted");
    let asked = ask(&daemon);
    until("it has come to its end", || rules(&database) == RULES);
    // What else the consolidation does is not waited for.
    daemon.kill_and_restart();
    drop(asked);
    let mut client = daemon.client();
    // A sample; the comparison below has every record.
    let asked = (0..RECORDS).step_by(41).chain(RECORDS..captured);
    let lost: Vec<usize> = asked.filter(|n| !finds(&mut client, *n)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!((&check(&mut client)["problems"], cursor(&database)), (&json!([]), None));

    // The index is equal to one that was never rebuilt.
    let fresh = with(NEVER, NEVER).start();
    fill(&mut fresh.client(), 0..captured);
    assert_eq!(terms(&database), terms(&self::database(fresh.setup())));
    assert_eq!(tables(&database), tables(&self::database(fresh.setup())));
}

#[test]
fn a_rebuild_begun_by_a_release_with_other_rules_starts_again() {
    for (name, begun) in [
        (
            "beside",
            "CREATE VIRTUAL TABLE term_index_beside USING fts5(text, content='', detail=none, columnsize=0);
             INSERT INTO term_index_beside (rowid, text) SELECT seq, 'other' FROM record WHERE seq <= 50;
             INSERT INTO meta VALUES ('step_reindex', 50), ('reindex_rules', 7)",
        ),
        (
            "in its place",
            "INSERT INTO term_index (term_index) VALUES ('delete-all');
             INSERT INTO term_index (rowid, text) SELECT seq, 'other' FROM record WHERE seq <= 50 OR seq > 90;
             INSERT INTO meta VALUES ('step_reindex', 50), ('reindex_until', 90), ('reindex_rules', 7)",
        ),
    ] {
        let mut daemon = with(NEVER, NEVER).start();
        let database = database(daemon.setup());
        fill(&mut daemon.client(), 0..100);
        let (indexed, there) = (terms(&database), tables(&database));
        assert_eq!(daemon.stop().code(), Some(0));
        Connection::open(&database).and_then(|database| database.execute_batch(begun)).expect(name);
        daemon.restart();
        let mut client = daemon.client();
        assert_eq!(check(&mut client)["index"], "due", "{name}");
        fill(&mut client, 100..110);
        client.call("memory_consolidate", json!({}));
        assert_eq!((check(&mut client)["index"].take(), tables(&database)), (json!("current"), there), "{name}");
        assert!((0..110).all(|n| finds(&mut client, n)), "{name}");
        let old: Vec<(String, i64)> = terms(&database).into_iter().filter(|(_, seq)| *seq <= 100).collect();
        assert_eq!(old, indexed, "{name}");
    }
}

#[test]
fn rem_rebuilds_the_index_and_the_journal_records_it() {
    let mut daemon = with(NEVER, NEVER).start();
    let database = database(daemon.setup());
    fill(&mut daemon.client(), 0..100);
    assert_eq!(daemon.stop().code(), Some(0));
    make_old(&database);
    daemon.restart();
    let output = daemon.run(&["rem"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(rules(&database), RULES);
    assert!((0..100).all(|n| finds(&mut daemon.client(), n)));
    until("the journal has it", || {
        let output = daemon.run(&["log", "--store", &daemon.setup().store().display().to_string()]);
        String::from_utf8_lossy(&output.stdout).contains("step reindex done in")
    });
}

/// Overwrites the first page of the index's terms.
fn tear_page(database: &Path) {
    let root = number(database, "SELECT rootpage FROM sqlite_schema WHERE name = 'term_index_data'");
    let mut bytes = fs::read(database).expect("it can be read");
    let at = usize::try_from(root - 1).expect("a page") * 4096;
    bytes[at..at + 4096].fill(0xaa);
    fs::write(database, &bytes).expect("it can be written");
}

/// Deletes half of the terms.
fn tear_terms(database: &Path) {
    let database = Connection::open(database).expect("it opens");
    database.execute_batch("DELETE FROM term_index_data WHERE id > 10 AND id % 2 = 1").expect("SQL");
}

fn doctor(daemon: &Daemon, args: &[&str]) -> (Value, Value) {
    let store = daemon.setup().store().display().to_string();
    let output = daemon.run(&[&["--json", "doctor", "--store", &store], args].concat());
    let said: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let of_store = said["checks"].as_array().expect("checks").iter().find(|one| one["check"] == "store").cloned();
    (of_store.expect("a check of the store"), said["fixed"].clone())
}

#[test]
fn doctor_rebuilds_a_damaged_index() {
    for (name, tear) in [("a page", tear_page as fn(&Path)), ("terms", tear_terms)] {
        let mut daemon = with(NEVER, NEVER).start();
        let database = database(daemon.setup());
        fill(&mut daemon.client(), 0..500);
        let indexed = terms(&database);
        let there = tables(&database);
        assert_eq!(daemon.stop().code(), Some(0));
        tear(&database);
        daemon.restart();
        let checked = check(&mut daemon.client());
        assert_eq!((&checked["mendable"], &checked["index"]), (&json!(true), &json!("damaged")), "{name}: {checked}");
        let (found, fixed) = doctor(&daemon, &[]);
        assert_eq!(
            (&found["verdict"], &found["fixable"], &fixed),
            (&json!("FAIL"), &json!(true), &json!([])),
            "{name}"
        );
        assert!(found["remedy"].as_str().is_some_and(|text| text.contains("store_reindex")), "{found}");

        let (found, fixed) = doctor(&daemon, &["--fix"]);
        assert_eq!(found["verdict"], "PASS", "{name}: {found}");
        assert_eq!(fixed, json!(["the full-text index was rebuilt"]), "{name}");
        assert_eq!((tables(&database), terms(&database)), (there, indexed), "{name}");
        let mut client = daemon.client();
        fill(&mut client, 500..510);
        assert!((0..510).all(|n| finds(&mut client, n)), "{name}");
        daemon.kill_and_restart();
        let checked = check(&mut daemon.client());
        assert_eq!((&checked["problems"], &checked["index"]), (&json!([]), &json!("current")), "{name}");
    }
}

#[test]
fn a_sound_index_is_rebuilt_on_request_and_used_meanwhile() {
    let daemon = with(NEVER, NEVER).start();
    let database = database(daemon.setup());
    fill(&mut daemon.client(), 0..1500);
    let indexed = terms(&database);
    let mut client = daemon.client();
    // On a busy machine a rebuild may end before this test sees that it has begun. Then another one is asked for.
    let found = (0..20).find_map(|_| {
        thread::scope(|scope| {
            let mut asking = daemon.client();
            let rebuild = scope.spawn(move || asking.call("store_reindex", json!({})));
            let mut found = 0;
            until("the rebuild has ended", || {
                if let Some(at) = cursor(&database) {
                    assert!(finds(&mut client, 1499), "at {at}");
                    found += 1;
                }
                rebuild.is_finished()
            });
            assert_eq!(rebuild.join().expect("a reply"), json!({"records": 1500}));
            Some(found).filter(|found| *found > 0)
        })
    });
    assert!(found.is_some(), "no recall during 20 rebuilds");
    assert_eq!(terms(&database), indexed);
}
