//! Deferred captures through the built binary: drained exactly once, whenever it is killed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use rusqlite::Connection;
use serde_json::json;

use crate::harness::{Client, Daemon, setup, until};

fn spool(daemon: &Daemon) -> PathBuf {
    let folder = daemon.setup().store().join(".deferred-captures");
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// Creates a file that was last written an hour ago.
fn put(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("it can be written");
    let file = File::options().append(true).open(folder.join(name)).expect("it is there");
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("its time can be set");
}

fn file(session: &str, texts: impl IntoIterator<Item = String>) -> String {
    let mut lines = vec![json!({"version": 1, "session_id": session, "cwd": "/p"})];
    lines.extend(texts.into_iter().map(|text| json!({"text": text, "cue": "", "tier": "episodic", "role": "user"})));
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

fn records(client: &mut Client) -> usize {
    client.ask(r#"{"type":"status"}"#)["records"].as_u64().expect("a number") as usize
}

#[test]
fn a_cycle_drains_deferred_captures() {
    let daemon = setup();
    let folder = spool(&daemon);
    put(&folder, "s-1-1700000000.jsonl", &file("s-1", ["The deferred tea is at five.".into(), " ".into()]));
    put(&folder, "s-2.live.jsonl", &file("s-2", ["This one is being written.".into()]));
    put(&folder, "s-3-1700000000.jsonl", "rubbish\n");
    put(&folder, "s-4-1700000000.jsonl", "{\"version\":2}\n");
    let mut client = daemon.client();
    client.call("memory_consolidate", json!({}));
    let found = client.call("memory_recall", json!({"cue": "deferred tea"}));
    assert_eq!(found["hits"][0]["literal_surface"], "The deferred tea is at five.");
    assert_eq!((&found["hits"][0]["session_id"], records(&mut client)), (&json!("s-1"), 1));
    let left = names(&folder);
    assert_eq!((&*left[0], &*left[2], left.len()), ("s-2.live.jsonl", "s-4-1700000000.jsonl", 3));
    assert!(left[1].starts_with("s-3-1700000000.failed-") && left[1].ends_with("-attempt-1.jsonl"), "{left:?}");
    let runs = client.call("events_query", json!({"kind": "cls_consolidation_run"}));
    let step = &runs["events"][0]["data"]["steps"][0];
    // The daemon's own check may have come first.
    assert_eq!(step["step"], "drain");
}

#[test]
fn kills_at_any_point_drain_each_capture_exactly_once() {
    const TEXTS: usize = 3000;
    let mut daemon = setup();
    let folder = spool(&daemon);
    let text = |n: usize| format!("Text {n} of many that a hook has left.");
    let (mut texts, mut partial) = (0, 0);
    // Until a kill came between the first and the last record of the files.
    while partial == 0 {
        for part in 0..3 {
            let from = texts + part * TEXTS / 3;
            let session = format!("s-{from}");
            put(&folder, &format!("{session}-1700000000.jsonl"), &file(&session, (from..from + TEXTS / 3).map(text)));
        }
        let before = texts;
        texts += TEXTS;
        for kill in 0..40 {
            // The store is open once it answers.
            daemon.status();
            let stream = daemon.connect();
            let asking = thread::spawn(move || {
                let mut client = Client::new(stream);
                client.try_send(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"memory_consolidate\"}\n");
                client.try_line()
            });
            // Not a wait: the kill is to come at any point of the work.
            thread::sleep(Duration::from_millis(3 * kill));
            daemon.kill();
            asking.join().expect("it ends");
            let database = Connection::open(daemon.setup().store().join("memory.db")).expect("it opens");
            // A text whose record is no longer valid is inserted again, so draining one twice would store it twice.
            database.execute("UPDATE record SET valid_to = 5 WHERE valid_to IS NULL", []).expect("SQL");
            let count: i64 = database.query_row("SELECT count(*) FROM record", [], |row| row.get(0)).expect("SQL");
            partial += usize::from((before + 1..texts).contains(&(count as usize)));
            drop(database);
            daemon.restart();
            if names(&folder).is_empty() {
                break;
            }
        }
        assert!(texts < 20 * TEXTS, "no kill came in the middle");
    }
    let mut client = daemon.client();
    until("all files are drained", || {
        client.call("memory_consolidate", json!({}));
        names(&folder).is_empty()
    });
    assert_eq!(records(&mut client), texts);
    let database = Connection::open(daemon.setup().store().join("memory.db")).expect("it opens");
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("SQL");
    assert_eq!(count("SELECT count(DISTINCT text) FROM record"), texts as i64);
    assert_eq!(count("SELECT count(*) FROM spool"), 0);
    let check = client.call("store_check", json!({}));
    assert_eq!(check["problems"], json!([]));
}

#[test]
fn the_first_recall_after_session_open_returns_the_last_session() {
    let mut daemon = setup();
    let mut client = daemon.client();
    client.call("memory_capture", json!({"text": "The boat is in the harbour.", "session_id": "old"}));
    let recall = |client: &mut Client| {
        let found = client.call("memory_recall", json!({"cue": "tea", "session_id": "new"}));
        found.get("first_turn_recall").map(|first| first["hits"][0]["literal_surface"].clone())
    };
    assert_eq!(recall(&mut client), None);
    let opened = client.ask(r#"{"type":"session_open","session_id":"new","ts":"2026-01-01T00:00:00Z"}"#);
    assert_eq!(opened["ok"], true);
    let mut first = None;
    until("the first turn comes", || {
        first = recall(&mut client);
        first.is_some()
    });
    assert_eq!(first, Some(json!("The boat is in the harbour.")));
    assert_eq!(recall(&mut client), None);
    // It is on disk before anything that is acknowledged later.
    client.call("memory_capture", json!({"text": "The boat has left the harbour."}));
    daemon.kill_and_restart();
    assert_eq!(recall(&mut daemon.client()), None);
}

#[test]
fn deferred_captures_are_drained_without_a_command() {
    let mut daemon = setup();
    let folder = spool(&daemon);
    put(&folder, "s-1-1700000000.jsonl", &file("s-1", ["The deferred tea is at five.".into()]));
    daemon.stop();
    daemon.restart();
    let mut client = daemon.client();
    until("it is drained", || names(&folder).is_empty());
    let found = client.call("memory_recall", json!({"cue": "deferred tea"}));
    assert_eq!(found["hits"][0]["literal_surface"], "The deferred tea is at five.");
    until("the journal says so", || {
        let out = daemon.setup().program().args(["log", "--store"]).arg(daemon.setup().store()).output();
        let told = String::from_utf8(out.expect("it runs").stdout).expect("it is text");
        told.contains("deferred captures of s-1-1700000000.jsonl: 1 new, 0 already stored, 0 too short")
    });
}
