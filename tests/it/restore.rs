//! `iaid restore` and `store_restore`, with and without a daemon.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Client, Daemon, Setup, output, setup};
#[cfg(target_os = "linux")]
use crate::{
    harness::until,
    shim::{Fault, faulty},
};

fn capture(daemon: &Daemon, text: &str) {
    let reply = daemon.client().request("memory_capture", json!({"text": text}));
    assert_eq!(reply["result"]["status"], "inserted", "{reply}");
}

fn texts(database: &Path) -> Vec<String> {
    let connection = Connection::open(database).expect("it can be opened");
    let mut rows = connection.prepare("SELECT text FROM record ORDER BY seq").expect("a store");
    rows.query_map([], |row| row.get(0)).expect("SQL").map(|row| row.expect("a text")).collect()
}

/// Returns the paths of the store's files, but of those that change by themselves.
fn paths(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is there").flatten().map(|entry| entry.path());
    let mut all: Vec<_> = entries.filter(|path| path.to_string_lossy().contains("memory.db")).collect();
    all.retain(|path| !path.to_string_lossy().ends_with("-shm"));
    all.sort();
    all
}

/// Returns the paths and bytes of the store's files, which nothing changes meanwhile.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    paths(folder).into_iter().map(|path| (path.clone(), fs::read(path).expect("it can be read"))).collect()
}

fn kept(folder: &Path) -> Vec<PathBuf> {
    paths(folder).into_iter().filter(|path| is_kept(path)).collect()
}

fn is_kept(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.contains(".before-restore-") && !name.contains(".tmp-") && !name.ends_with("-wal")
}

/// Waits until a recall of the word finds the text, or finds nothing that has the word.
fn recall_until_found(client: &mut Client, word: &str, is_found: bool) {
    let has_word = |hit: &Value| hit["literal_surface"].as_str().unwrap_or_default().contains(word);
    client.recall_until(&json!({"cue": word}), |hits| hits.iter().any(has_word) == is_found);
}

/// Runs `iaid restore` against the daemon's socket, whether it runs or not.
fn restore(setup: &Setup, file: &Path, more: &[&str]) -> Output {
    let mut command = setup.program();
    command.arg("--socket").arg(setup.socket()).arg("restore").arg(file).arg("--store").arg(setup.store()).args(more);
    output(&mut command)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

const OLD: [&str; 2] = ["a record about the lighthouse", "a record about the harbor"];
const NEW: [&str; 2] = ["a later record about the pier", "a later record about the gulls"];

/// Returns a daemon whose store has both, and a backup from before the new ones.
fn with_backup(setup: Setup) -> (Daemon, PathBuf) {
    let daemon = setup.start();
    OLD.iter().for_each(|text| capture(&daemon, text));
    let backup = daemon.setup().home().join("backup.db");
    daemon.client().call("store_backup", json!({"path": backup}));
    NEW.iter().for_each(|text| capture(&daemon, text));
    (daemon, backup)
}

#[test]
fn a_running_daemon_restores_a_backup_and_keeps_the_former_store() {
    let (mut daemon, backup) = with_backup(Setup::new());
    let database = daemon.setup().store().join("memory.db");
    let all = [OLD, NEW].concat();
    daemon.client().call("profile_set", json!({"knob": "wake_depth", "value": "deep"}));

    let shown = restore(daemon.setup(), &backup, &[]);
    assert_eq!(shown.status.code(), Some(2), "{}", said(&shown));
    for part in ["4 records", "2 records, the newest", "2 records of the store would be gone", "--yes"] {
        assert!(said(&shown).contains(part), "{part}: {}", said(&shown));
    }
    assert_eq!(
        (texts(&database), kept(&daemon.setup().store())),
        (all.clone().iter().map(|t| t.to_string()).collect(), vec![])
    );

    // A connection that has read before, and its worker's reader.
    let mut client = daemon.client();
    recall_until_found(&mut client, "pier", true);
    let done = restore(daemon.setup(), &backup, &["--yes"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let former = kept(&daemon.setup().store());
    assert!(former.len() == 1 && said(&done).contains(former[0].to_str().unwrap()), "{}", said(&done));
    assert_eq!(texts(&former[0]), all);
    recall_until_found(&mut client, "pier", false);
    recall_until_found(&mut client, "harbor", true);
    assert_eq!(daemon.status()["records"], 2);
    assert_eq!(client.call("profile_get", json!({"knob": "wake_depth"}))["value"], "minimal");
    capture(&daemon, NEW[1]);
    assert_eq!(client.call("store_check", json!({}))["ok"], true);
    daemon.kill();
    daemon.restart();
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
    assert_eq!(texts(&database), [OLD[0], OLD[1], NEW[1]], "{}", daemon.log());

    // The way back. The former file stays.
    let back = daemon.client().call("store_restore", json!({"path": former[0], "confirm": true}));
    assert_eq!((&back["restored"], &back["gone"]), (&json!(true), &json!(1)), "{back}");
    assert_eq!(texts(&database), all);
    assert_eq!(kept(&daemon.setup().store()).len(), 2);
    daemon.stop();
    assert_eq!(texts(&database), all);
    assert!(!said(&daemon.run(&["doctor"])).contains(".tmp-"), "nothing is left");
}

#[test]
fn captures_wait_or_go_on_while_a_store_is_restored() {
    let (daemon, backup) = with_backup(Setup::new());
    thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let mut client = daemon.client();
                scope.spawn(move || {
                    for n in 0..50 {
                        client.call("memory_capture", json!({"text": format!("text number {n} of writer {writer}")}));
                        client.call("memory_recall", json!({"cue": "number"}));
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            daemon.client().call("store_restore", json!({"path": backup, "confirm": true}));
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
    });
    // Each acknowledged record is in the store or in a file that was kept.
    let folder = daemon.setup().store();
    let mut all = texts(&folder.join("memory.db"));
    kept(&folder).iter().for_each(|path| all.extend(texts(path)));
    for (writer, n) in (0..4).flat_map(|writer| (0..50).map(move |n| (writer, n))) {
        let text = format!("text number {n} of writer {writer}");
        assert!(all.contains(&text), "{text}");
    }
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
}

#[test]
fn a_kill_at_any_moment_leaves_the_old_content_or_the_new_one() {
    let rounds = std::env::var("FAULT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(12);
    let (mut daemon, backup) = with_backup(Setup::new());
    let database = daemon.setup().store().join("memory.db");
    let mut outcomes = [0, 0];
    for round in 0..rounds {
        capture(&daemon, &format!("the mark of round {round}"));
        let before = texts(&database);
        let mut client = daemon.client();
        let call =
            json!({"jsonrpc": "2.0", "id": 1, "method": "store_restore", "params": {"path": backup, "confirm": true}});
        client.send(format!("{call}\n"));
        // Not a wait: the kill is to come at any point of the work.
        thread::sleep(std::time::Duration::from_micros(round * 7919 % 40_000));
        daemon.kill();
        daemon.restart();
        assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true, "round {round}");
        let after = texts(&database);
        assert!(after == before || after == OLD, "round {round}: {after:?}");
        outcomes[usize::from(after == OLD)] += 1;
        assert!(!daemon.log().contains("memory.db-wal belongs"), "{}", daemon.log());
    }
    assert_eq!(outcomes.iter().sum::<u64>(), rounds);
}

/// What cannot be restored: a name, how to make it from a backup, and a part of the message.
type BadFile = (&'static str, fn(&Path, &Path), &'static str);

const BAD_FILES: [BadFile; 13] = [
    ("missing", |_, _| {}, "does not exist"),
    ("a directory", |path, _| fs::create_dir(path).unwrap(), "is a directory"),
    ("a link", |path, backup| symlink(backup, path).unwrap(), "is a symbolic link"),
    (
        "a pipe",
        |path, _| assert!(std::process::Command::new("mkfifo").arg(path).status().unwrap().success()),
        "not a regular file",
    ),
    ("empty", |path, _| fs::write(path, "").unwrap(), "is empty"),
    ("a text", |path, _| fs::write(path, "records\n".repeat(100)).unwrap(), "is not a database"),
    ("zeros", |path, _| fs::write(path, vec![0; 100_000]).unwrap(), "is not a database"),
    (
        "another program's database",
        |path, _| Connection::open(path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap(),
        "is no store, but a database of another program",
    ),
    (
        "an empty database",
        |path, _| {
            Connection::open(path)
                .unwrap()
                .execute_batch("PRAGMA user_version = 0; CREATE TABLE t (x); DROP TABLE t")
                .unwrap()
        },
        "is no store, but a database of another program",
    ),
    (
        "of a newer release",
        |path, backup| {
            fs::copy(backup, path).unwrap();
            Connection::open(path).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
        },
        "was written by a newer release (version 99",
    ),
    (
        "cut",
        |path, backup| {
            let bytes = fs::read(backup).unwrap();
            fs::write(path, &bytes[..bytes.len() - 4096]).unwrap();
        },
        "is damaged (truncated",
    ),
    (
        "a damaged page",
        |path, backup| {
            let root: usize = Connection::open(backup)
                .unwrap()
                .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'record'", [], |row| row.get::<_, i64>(0))
                .unwrap() as usize;
            let mut bytes = fs::read(backup).unwrap();
            bytes[(root - 1) * 4096..(root - 1) * 4096 + 64].fill(0xFF);
            fs::write(path, bytes).unwrap();
        },
        "is damaged",
    ),
    (
        "a changed text",
        |path, backup| {
            let mut bytes = fs::read(backup).unwrap();
            let at = bytes.windows(10).position(|window| window == b"lighthouse").unwrap();
            bytes[at] = b'L';
            fs::write(path, bytes).unwrap();
        },
        "is damaged (record",
    ),
];

#[test]
fn what_is_no_whole_store_is_refused_with_a_sentence_and_nothing_is_changed() {
    let (mut daemon, backup) = with_backup(Setup::new());
    let home = daemon.setup().home().to_owned();
    let store = daemon.setup().store();
    let mut files: Vec<(String, PathBuf, &str)> = Vec::new();
    for (name, make, part) in BAD_FILES {
        let path = home.join(name);
        make(&path, &backup);
        files.push((name.into(), path, part));
    }
    let hard_link = home.join("a hard link to the store");
    fs::hard_link(store.join("memory.db"), &hard_link).unwrap();
    files.push(("the store".into(), store.join("memory.db"), "is the store itself"));
    files.push(("a hard link".into(), hard_link, "is the store itself"));
    for is_running in [true, false] {
        if !is_running {
            daemon.stop();
        }
        let before = contents(&store);
        for (name, path, part) in &files {
            let bytes = path.is_file().then(|| fs::read(path).unwrap());
            for more in [&["--yes"][..], &["--yes", "--json"]] {
                let refused = restore(daemon.setup(), path, more);
                let text = said(&refused);
                assert_eq!(refused.status.code(), Some(1), "{name}: {text}");
                assert!(text.contains(part), "{name}, running {is_running}: {text}");
            }
            assert_eq!(path.is_file().then(|| fs::read(path).unwrap()), bytes, "{name}");
            assert!(!home.join(format!("{name}-wal")).exists() && !home.join(format!("{name}-shm")).exists(), "{name}");
        }
        assert_eq!(contents(&store), before, "running {is_running}");
        if is_running {
            let reply = daemon.client().request("store_restore", json!({"path": "backup.db"}));
            assert_eq!(reply["error"]["code"], -32602, "{reply}");
            capture(&daemon, "one more record, after all these");
        }
    }
}

#[test]
fn without_a_daemon_the_command_restores_by_itself_even_over_a_damaged_store() {
    let (mut daemon, backup) = with_backup(Setup::new());
    daemon.stop();
    let (setup, database) = (daemon.setup(), daemon.setup().store().join("memory.db"));
    let done = restore(setup, &backup, &["--yes"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    assert_eq!((texts(&database), texts(&kept(&setup.store())[0]).len()), (OLD.map(String::from).to_vec(), 4));

    for (count, broken) in [(2, b"no database".to_vec()), (3, fs::read(&backup).unwrap()[..20_000].to_vec())] {
        fs::write(&database, &broken).unwrap();
        let shown = restore(setup, &backup, &[]);
        assert!(said(&shown).contains("cannot be read"), "{}", said(&shown));
        let done = restore(setup, &backup, &["--yes", "--json"]);
        assert_eq!(done.status.code(), Some(0), "{}", said(&done));
        let reply: Value = serde_json::from_slice(&done.stdout).expect("JSON");
        assert_eq!((&reply["gone"], &reply["store"]["records"]), (&Value::Null, &Value::Null));
        assert_eq!(fs::read(reply["kept_as"].as_str().unwrap()).unwrap(), broken);
        assert_eq!((texts(&database), kept(&setup.store()).len()), (OLD.map(String::from).to_vec(), count));
    }
    // No store at all.
    let fresh = Setup::new();
    let done = restore(&fresh, &backup, &["--yes"]);
    assert_eq!(done.status.code(), Some(0), "{}", said(&done));
    let daemon = fresh.start();
    recall_until_found(&mut daemon.client(), "harbor", true);

    // The store is in use, but its daemon serves another socket.
    let mut elsewhere = daemon.setup().program();
    elsewhere.arg("--socket").arg(daemon.setup().home().join("other.sock")).arg("restore").arg(&backup);
    let refused = output(elsewhere.arg("--yes").arg("--store").arg(daemon.setup().store()));
    assert!(said(&refused).contains("the store is in use"), "{}", said(&refused));
}

#[test]
fn a_store_of_an_earlier_release_or_with_a_log_is_restored_whole() {
    let daemon = setup();
    capture(&daemon, OLD[0]);
    let home = daemon.setup().home();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store_v2.db");
    let early = home.join("early.db");
    fs::copy(&fixture, &early).unwrap();
    let count =
        daemon.client().call("store_restore", json!({"path": early, "confirm": true}))["file"]["records"].clone();
    assert!(count.as_u64().unwrap() > 0);
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
    assert_eq!(fs::read(&early).unwrap(), fs::read(&fixture).unwrap());

    // A copy of all files of a killed daemon.
    let mut other = setup();
    capture(&other, NEW[0]);
    other.kill();
    for suffix in ["", "-wal"] {
        fs::copy(other.setup().store().join(format!("memory.db{suffix}")), home.join(format!("copy.db{suffix}")))
            .unwrap();
    }
    let restored = daemon.client().call("store_restore", json!({"path": home.join("copy.db"), "confirm": true}));
    assert_eq!(restored["file"]["records"], 1, "{restored}");
    assert_eq!(texts(&daemon.setup().store().join("memory.db")), [NEW[0]]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_fails_a_restore_and_changes_nothing() {
    let Some((setup, faults)) = faulty(Setup::new()) else { return };
    let (daemon, backup) = with_backup(setup);
    let store = daemon.setup().store();
    let before = texts(&store.join("memory.db"));
    for every in [1, 2, 3, 5, 8, 13, 21, 34] {
        faults.fail(Fault::Write, libc::ENOSPC, every);
        let reply = daemon.client().request("store_restore", json!({"path": backup, "confirm": true}));
        faults.heal(Fault::Write);
        if reply.get("error").is_none() {
            continue;
        }
        let message = reply["error"]["message"].as_str().unwrap();
        assert!(message.starts_with("nothing was restored: "), "{every}: {message}");
        until("nothing is left", || {
            contents(&store).iter().all(|(path, _)| !path.to_string_lossy().contains("restore"))
        });
        assert_eq!(texts(&store.join("memory.db")), before, "{every}");
        capture(&daemon, &format!("the disk has room again after {every}"));
        let back = daemon.client().request("store_check", json!({}));
        assert_eq!(back["result"]["ok"], true, "{every}: {back}");
        break;
    }
}
