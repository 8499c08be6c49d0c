//! Files of the store that are removed, replaced or overwritten, while the daemon has them open and while it is stopped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Daemon, setup, until};

fn capture(daemon: &Daemon, text: &str) -> Value {
    daemon.client().request("memory_capture", json!({"text": text}))
}

fn store(daemon: &Daemon, text: &str) {
    let reply = capture(daemon, text);
    assert_eq!(reply["result"]["status"], "inserted", "{reply}");
}

/// Returns the message of a call that must fail with -32001.
fn failure(reply: &Value) -> String {
    assert_eq!(reply["error"]["code"], -32001, "{reply}");
    reply["error"]["message"].as_str().expect("a message").to_owned()
}

fn names(folder: &Path, part: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.path()).collect();
    names.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(part)));
    names
}

/// Removes a folder in which the daemon may make a file meanwhile.
fn remove_all(folder: &Path) {
    until("the folder is gone", || fs::remove_dir_all(folder).is_ok());
}

fn texts(database: &Path) -> Vec<String> {
    let connection = Connection::open(database).expect("it can be opened");
    let mut rows = connection.prepare("SELECT text FROM record ORDER BY seq").expect("a store");
    rows.query_map([], |row| row.get(0)).expect("SQL").map(|row| row.expect("a text")).collect()
}

/// Returns true if a database file has all pages that its header counts, and more than the first one.
fn is_written(database: &Path) -> bool {
    const PAGE_BYTES: usize = 4096;
    let bytes = fs::read(database).unwrap_or_default();
    let pages = bytes.get(28..32).map_or(0, |count| count.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
    pages > 1 && bytes.len() == pages * PAGE_BYTES
}

fn copy_over(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).expect("it can be read")).expect("it can be written");
}

/// Restarts the daemon and waits until it has opened its store.
fn restart(daemon: &mut Daemon) {
    daemon.restart();
    daemon.client().call("profile_get", json!({}));
}

fn backup(daemon: &Daemon) -> PathBuf {
    let path = daemon.setup().home().join("backup.db");
    daemon.client().call("store_backup", json!({"path": path}));
    path
}

/// What happens to the files, and the texts of the store after a restart.
type Disturbance = (&'static str, &'static str, fn(&Path, &Path), &'static [&'static str]);

const FIRST: &str = "the first record, about the lighthouse";
const SECOND: &str = "the second record, about the harbor";
const THIRD: &str = "the third record, about the pier";

const DISTURBANCES: [Disturbance; 7] = [
    (
        "rm memory.db*",
        "was removed",
        |store, _| names(store, "memory.db").iter().for_each(|f| fs::remove_file(f).unwrap()),
        &[],
    ),
    ("rm memory.db", "was removed", |store, _| fs::remove_file(store.join("memory.db")).unwrap(), &[]),
    (
        "rm memory.db-wal",
        "write-ahead log",
        |store, _| fs::remove_file(store.join("memory.db-wal")).unwrap(),
        &[FIRST, SECOND],
    ),
    ("rm -r", "was removed", |store, _| remove_all(store), &[]),
    ("mv of the folder", "was removed", |store, _| fs::rename(store, store.with_extension("moved")).unwrap(), &[]),
    ("mv of a backup", "was replaced", |store, backup| fs::rename(backup, store.join("memory.db")).unwrap(), &[FIRST]),
    ("cp of a backup", "was overwritten", |store, backup| copy_over(backup, &store.join("memory.db")), &[FIRST]),
];

#[test]
fn nothing_is_acknowledged_once_the_files_are_gone_and_their_content_is_saved() {
    for (name, what, disturb, after_restart) in DISTURBANCES {
        let mut daemon = setup();
        let folder = daemon.setup().store();
        store(&daemon, FIRST);
        let backup = backup(&daemon);
        store(&daemon, SECOND);
        // The second record is in the database file, the third in the log.
        Connection::open(folder.join("memory.db")).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
        store(&daemon, THIRD);
        disturb(&folder, &backup);

        let said = failure(&capture(&daemon, "a record that comes too late"));
        assert!(said.contains(what) && said.contains("nothing is stored"), "{name}: {said}");
        let rescued = names(&folder, ".rescued-");
        assert_eq!(rescued.len(), 1, "{name}: {rescued:?}");
        assert!(said.contains(rescued[0].to_str().unwrap()), "{name}: {said}");
        assert_eq!(fs::metadata(&rescued[0]).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{name}");
        for (method, params) in [
            ("memory_capture", json!({"text": "another one that comes too late"})),
            ("memory_recall", json!({"cue": "lighthouse"})),
            ("store_probe", json!({})),
            ("store_check", json!({})),
        ] {
            assert_eq!(failure(&daemon.client().request(method, params)), said, "{name}: {method}");
        }
        assert_eq!(daemon.status()["store_error"], json!(said), "{name}");
        for command in ["status", "doctor"] {
            let output =
                daemon.run(&[command, "--store", folder.to_str().unwrap()][..if command == "status" { 1 } else { 3 }]);
            let shown = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(shown.contains(rescued[0].to_str().unwrap()), "{name}: {command}: {shown}");
        }
        assert_eq!(daemon.stop().code(), Some(0), "{name}");
        if what != "was overwritten" {
            assert_eq!(texts(&rescued[0]), [FIRST, SECOND, THIRD], "{name}");
        }
        restart(&mut daemon);
        assert_eq!(texts(&folder.join("memory.db")), after_restart, "{name}");
        store(&daemon, "a record of the next daemon");
        assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true, "{name}: {}", daemon.log());
        assert_eq!(names(&folder, ".rescued-").len(), 1, "{name}");
    }
}

#[test]
fn a_foreign_database_over_a_new_store_is_noticed() {
    for has_record in [false, true] {
        let daemon = setup();
        until("the first checkpoint has written the file", || is_written(&daemon.setup().store().join("memory.db")));
        if has_record {
            store(&daemon, FIRST);
        }
        let foreign = daemon.setup().home().join("foreign.db");
        let connection = Connection::open(&foreign).unwrap();
        connection.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
        drop(connection);
        copy_over(&foreign, &daemon.setup().store().join("memory.db"));
        let said = failure(&capture(&daemon, "a record that comes too late"));
        assert!(said.contains("was overwritten") && said.contains(".rescued-"), "{said}");
        assert_eq!(names(&daemon.setup().store(), ".rescued-").len(), 1, "{said}");
    }
}

#[test]
fn a_stop_and_a_look_notice_it_without_a_request() {
    let mut daemon = setup();
    store(&daemon, FIRST);
    let folder = daemon.setup().store();
    remove_all(&folder);
    daemon.stop();
    assert_eq!(texts(&names(&folder, ".rescued-")[0]), [FIRST]);

    let daemon = crate::harness::Setup::new().args(&["--look-every", "0.05"]).start();
    store(&daemon, SECOND);
    let folder = daemon.setup().store();
    fs::remove_file(folder.join("memory.db")).unwrap();
    until("the loss is noticed", || {
        !names(&folder, ".rescued-").is_empty() && daemon.status()["store_error"].is_string()
    });
    until("the content is saved", || names(&folder, ".tmp-").is_empty());
    assert_eq!(texts(&names(&folder, ".rescued-")[0]), [SECOND]);
}

#[test]
fn checkpoints_and_commits_of_other_programs_are_no_loss() {
    let mut daemon = setup();
    // The first call that needs the store creates it.
    daemon.client().call("profile_get", json!({}));
    let path = daemon.setup().store().join("memory.db");
    let shell = Connection::open(&path).unwrap();
    for (round, sql) in [
        "PRAGMA wal_checkpoint(PASSIVE)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "INSERT INTO profile VALUES ('of a shell', '1'); PRAGMA wal_checkpoint(RESTART)",
        "CREATE TABLE of_a_shell (x); PRAGMA wal_checkpoint(TRUNCATE)",
        "VACUUM",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "VACUUM; PRAGMA wal_checkpoint(TRUNCATE)",
    ]
    .into_iter()
    .enumerate()
    {
        store(&daemon, &format!("a record before number {round}"));
        shell.execute_batch(sql).unwrap();
        store(&daemon, &format!("a record after number {round}"));
    }
    drop(shell);
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
    daemon.kill();
    restart(&mut daemon);
    assert_eq!(texts(&path).len(), 14, "{}", daemon.log());
    assert!(names(&daemon.setup().store(), "memory.db-wal.").is_empty());
}

#[test]
fn the_log_of_a_killed_daemon_is_not_replayed_over_a_backup() {
    let mut daemon = setup();
    let path = daemon.setup().store().join("memory.db");
    store(&daemon, FIRST);
    let backup = backup(&daemon);
    store(&daemon, SECOND);
    for _ in 0..2 {
        daemon.stop();
        daemon.restart();
        store(&daemon, THIRD);
        daemon.kill();
        copy_over(&backup, &path);
        restart(&mut daemon);
        assert_eq!(texts(&path), [FIRST], "{}", daemon.log());
        assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
        assert!(daemon.log().contains("memory.db-wal belongs to another database"), "{}", daemon.log());
        store(&daemon, SECOND);
    }
    let kept = names(&daemon.setup().store(), "memory.db-wal.bad-");
    assert_eq!(kept.len(), 2);
    let shown = daemon.run(&["doctor", "--store", daemon.setup().store().to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains(kept[0].to_str().unwrap()));
}

#[cfg(target_os = "linux")]
#[test]
fn the_log_of_a_killed_daemon_is_always_replayed() {
    let rounds = std::env::var("FAULT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(20);
    let Some((setup, faults)) = crate::shim::faulty(crate::harness::Setup::new()) else { return };
    let mut daemon = setup.start();
    let call = |method: &str, params: Value| {
        json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string() + "\n"
    };
    let (mut acknowledged, mut killed_in_checkpoints) = (Vec::new(), 0);
    for round in 0..rounds {
        let mut client = daemon.client();
        for n in 0..3 {
            let text = format!("text number {n} of round {round}");
            client.call("memory_capture", json!({"text": text}));
            acknowledged.push(text);
        }
        if round % 2 == 0 {
            client.send(call("memory_capture", json!({"text": format!("the last text of round {round}")})));
            // Not a wait: the kill is to come at any point of the work.
            std::thread::sleep(std::time::Duration::from_micros(round * 7919 % 5000));
            daemon.kill();
        } else {
            faults.kill_at_database_write(1 + i64::try_from(round).unwrap() / 2 % 12);
            client.send(call("memory_consolidate", json!({})));
            match client.try_line() {
                reply if reply.is_empty() => {
                    daemon.wait();
                    killed_in_checkpoints += 1;
                }
                _ => daemon.kill(),
            }
            faults.kill_at_database_write(0);
        }
        daemon.restart();
    }
    daemon.client().call("profile_get", json!({}));
    assert!(killed_in_checkpoints * 3 > rounds, "only {killed_in_checkpoints} kills in checkpoints");
    let stored: std::collections::BTreeSet<String> =
        texts(&daemon.setup().store().join("memory.db")).into_iter().collect();
    let lost: Vec<_> = acknowledged.iter().filter(|text| !stored.contains(*text)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert!(names(&daemon.setup().store(), ".bad-").is_empty());
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
}
