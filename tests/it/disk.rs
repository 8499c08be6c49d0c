//! A disk that is slow, full, small, read-only or failing under a running daemon: what is acknowledged is kept, what
//! fails is reported, calls that need no disk do not wait, and the daemon recovers when the disk does.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, Setup, until};
use crate::shell::behind;
use crate::shim::{Fault, Faults, faulty};
use crate::skip::{has, is_root, skipped};

const TEXT: &str = "The archive burns at 451 degrees, it is said.";

fn start(setup: Setup) -> Option<(Daemon, Faults)> {
    let (setup, faults) = faulty(setup)?;
    Some((setup.start(), faults))
}

fn capture_line(text: &str) -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "memory_capture", "params": {"text": text}}).to_string() + "\n"
}

/// Captures the text. Returns the error message if it was refused.
fn refused(client: &mut Client, text: &str) -> Option<String> {
    let reply = client.request("memory_capture", json!({"text": text}));
    let Some(error) = reply.get("error") else {
        assert_eq!(reply["result"]["status"], "inserted", "{reply}");
        return None;
    };
    assert_eq!(error["code"], -32001, "{reply}");
    Some(error["message"].as_str().expect("a text").to_owned())
}

/// Returns all texts of the store.
fn stored(client: &mut Client) -> BTreeSet<String> {
    let (mut texts, mut cursor) = (BTreeSet::new(), Value::Null);
    loop {
        let page = client.call("store_export", json!({"cursor": cursor, "limit": 100}));
        let rows = page["rows"].as_array().expect("rows");
        texts.extend(rows.iter().filter_map(|row| row["text"].as_str()).map(str::to_owned));
        cursor = page["cursor"].clone();
        if cursor.is_null() {
            return texts;
        }
    }
}

#[test]
fn a_write_that_waits_for_the_disk_delays_no_other_call() {
    let Some((mut daemon, faults)) = start(Setup::new()) else { return };
    let mut client = daemon.client();
    assert_eq!(refused(&mut client, TEXT), None);
    until("nothing else is written", || daemon.status()["in_flight"] == 0);
    faults.hold_syncs();
    let mut writers: Vec<Client> = (0..8).map(|_| daemon.client()).collect();
    for (n, writer) in writers.iter_mut().enumerate() {
        writer.send(capture_line(&format!("Thought {n} waits for the disk.")));
    }
    until("all wait", || daemon.status()["in_flight"] == 8);
    let mut pausing = daemon.client();
    pausing.send("{\"type\":\"pause\"}\n");
    for _ in 0..20 {
        assert_eq!(client.call("ping", json!({})), json!({}));
        assert_eq!(client.call("memory_recall", json!({"cue": "archive"}))["hits"][0]["literal_surface"], TEXT);
        assert_eq!(client.call("profile_get", json!({"knob": "wake_depth"}))["knob"], "wake_depth");
    }
    let status = daemon.status();
    assert!(status["in_flight"].as_u64() >= Some(8) && status["records"] == 1, "none is acknowledged: {status}");
    faults.release_syncs();
    for writer in &mut writers {
        assert!(writer.line().contains("\"inserted\""));
    }
    assert_eq!(pausing.line(), r#"{"ok":true,"paused":true}"#);
    daemon.kill_and_restart();
    assert_eq!(daemon.status()["records"], 9);
    assert_eq!(daemon.status()["scheduler_paused"], true);
}

#[test]
fn state_files_that_wait_for_the_disk_delay_no_call() {
    let Some((mut daemon, faults)) = start(Setup::new().args(&["--drowsy-after", "0.5"])) else { return };
    let mut client = daemon.client();
    assert_eq!(refused(&mut client, TEXT), None);
    faults.hold_syncs();
    // The status file waits, and then the state file.
    until("it is drowsy", || daemon.status()["lifecycle_state"] == "DROWSY");
    let mut pausing = daemon.client();
    pausing.send("{\"type\":\"pause\"}\n");
    until("that waits", || daemon.status()["in_flight"] == 1);
    for _ in 0..20 {
        assert_eq!(client.call("memory_recall", json!({"cue": "archive"}))["hits"][0]["literal_surface"], TEXT);
        assert_eq!(client.call("profile_get", json!({"knob": "wake_depth"}))["knob"], "wake_depth");
    }
    faults.release_syncs();
    assert_eq!(pausing.line(), r#"{"ok":true,"paused":true}"#);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_kill_on_a_slow_disk_loses_nothing_acknowledged() {
    let Some((mut daemon, faults)) = start(Setup::new()) else { return };
    faults.slow_syncs(200);
    for round in 0..3 {
        let writers: Vec<_> = (0..6)
            .map(|writer| {
                let mut client = daemon.client();
                let text = move |n| format!("Round {round}, writer {writer}: thought {n}.");
                thread::spawn(move || {
                    let taken = |n: &usize| client.try_send(capture_line(&text(*n))) && is_inserted(&mut client);
                    (0..).take_while(taken).map(text).collect::<Vec<String>>()
                })
            })
            .collect();
        let before = daemon.status()["records"].as_u64().expect("a number");
        // Each writer may have one that is committed and not acknowledged.
        until("some are in", || daemon.status()["records"].as_u64() >= Some(before + 12 + round));
        daemon.kill();
        let acknowledged: Vec<String> =
            writers.into_iter().flat_map(|writer| writer.join().expect("it ends")).collect();
        assert!(acknowledged.len() >= 6, "{acknowledged:?}");
        daemon.restart();
        let stored = stored(&mut daemon.client());
        let lost: Vec<&String> = acknowledged.iter().filter(|text| !stored.contains(*text)).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
    }
}

fn is_inserted(client: &mut Client) -> bool {
    client.try_line().contains("\"inserted\"")
}

/// Returns a daemon that got SIGTERM while a capture of the client waits for the disk.
fn stopping(setup: Setup) -> Option<(Daemon, Faults, Client)> {
    let (daemon, faults) = start(setup)?;
    let mut client = daemon.client();
    assert_eq!(client.call("ping", json!({})), json!({}), "the store is open");
    faults.hold_syncs();
    client.send(capture_line(TEXT));
    until("it waits", || daemon.status()["in_flight"] == 1);
    daemon.signal(15);
    Some((daemon, faults, client))
}

#[test]
fn a_stop_waits_for_the_disk_up_to_the_drain_timeout() {
    let Some((mut daemon, faults, mut client)) = stopping(Setup::new().args(&["--drain-timeout", "3600"])) else {
        return;
    };
    until("it accepts no connection", || !daemon.setup().socket().exists());
    faults.release_syncs();
    assert!(client.line().contains("\"inserted\""));
    assert_eq!(daemon.wait().code(), Some(0));

    let Some((mut daemon, faults, mut client)) = stopping(Setup::new().args(&["--drain-timeout", "0.3"])) else {
        return;
    };
    let reply = client.line();
    assert!(reply.contains("-32001") && reply.contains("daemon is stopping"), "{reply}");
    assert_eq!(client.rest(), "");
    faults.release_syncs();
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.restart();
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
}

/// Disk errors, with a part of the message for each.
const ERRORS: [(i32, &str); 4] = [
    (libc::ENOSPC, "the store's disk is full: nothing was stored; free some space"),
    (libc::EIO, "the store's disk failed ("),
    (libc::EROFS, "nothing was stored; "),
    (libc::EDQUOT, "nothing was stored; "),
];

#[test]
fn writes_fail_with_a_reason_while_the_disk_fails_and_succeed_after() {
    for (error, part) in ERRORS {
        let Some((daemon, faults)) = start(Setup::new()) else { return };
        let mut client = daemon.client();
        assert_eq!(refused(&mut client, TEXT), None);
        faults.fail(Fault::Write, error, 1);
        for n in 0..5 {
            let said = refused(&mut client, &format!("Thought {n} finds no space.")).expect("a full disk refuses it");
            assert!(said.contains(part) && said.contains("nothing was stored"), "{error}: {said}");
        }
        let reply = client.ask(r#"{"type":"pause"}"#);
        assert_eq!((&reply["ok"], &reply["reason"]), (&json!(false), &json!("state_write_failed")), "{reply}");
        assert_eq!(client.call("memory_recall", json!({"cue": "archive"}))["hits"][0]["literal_surface"], TEXT);
        assert_eq!(client.call("ping", json!({})), json!({}));
        faults.heal(Fault::Write);
        assert_eq!(refused(&mut client, "Now there is space again."), None);
        assert_eq!(client.ask(r#"{"type":"pause"}"#), json!({"ok": true, "paused": true}));
        assert_eq!(daemon.status()["records"], 2);
        assert_eq!(client.call("store_check", json!({}))["ok"], true);
    }
}

#[test]
fn a_disk_that_fails_at_times_keeps_exactly_what_was_acknowledged() {
    for (error, _) in ERRORS {
        let Some((mut daemon, faults)) = start(Setup::new()) else { return };
        let mut client = daemon.client();
        assert_eq!(refused(&mut client, TEXT), None);
        let mut wanted = BTreeSet::from([TEXT.to_owned()]);
        faults.fail(Fault::Write, error, 67);
        let mut failures = 0;
        for n in 0..60 {
            let text = format!("Thought number {n}: {}", "a few words ".repeat(n * 7 % 300));
            match refused(&mut client, &text) {
                None => assert!(wanted.insert(text)),
                Some(said) => {
                    assert!(said.contains("nothing was stored"), "{error}: {said}");
                    failures += 1;
                }
            }
        }
        assert!(failures > 5 && wanted.len() > 5, "{failures} failed, {} did not", wanted.len());
        daemon.kill();
        faults.heal(Fault::Write);
        daemon.restart();
        assert_eq!(stored(&mut daemon.client()), wanted, "{error}");
        assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
    }
}

#[test]
fn a_sync_that_fails_acknowledges_nothing() {
    let Some((mut daemon, faults)) = start(Setup::new()) else { return };
    let mut client = daemon.client();
    assert_eq!(refused(&mut client, TEXT), None);
    faults.fail(Fault::Sync, libc::EIO, 1);
    for n in 0..5 {
        let said = refused(&mut client, &format!("Thought {n} is not safe.")).expect("it is not on disk");
        assert!(said.contains("the store's disk failed ("), "{said}");
    }
    let reply = client.ask(r#"{"type":"pause"}"#);
    assert_eq!((&reply["ok"], &reply["reason"]), (&json!(false), &json!("state_write_failed")), "{reply}");
    assert_eq!(daemon.status()["scheduler_paused"], false);
    faults.heal(Fault::Sync);
    assert_eq!(refused(&mut client, "This one is safe again."), None);
    daemon.kill_and_restart();
    let stored = stored(&mut daemon.client());
    assert!(stored.contains(TEXT) && stored.contains("This one is safe again."), "{stored:?}");
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
}

/// Returns `iaid serve` after this script in a new mount namespace. Returns `None`, and reports the calling test as
/// skipped, where this process may not make one.
fn with_mounts(setup: &Setup, script: &str) -> Option<Command> {
    if !has("unshare") || !has("mount") {
        return None;
    }
    fs::create_dir(setup.store()).expect("a folder can be made");
    let own = if is_root() { "-m" } else { "-rm" };
    let mut unshare = Command::new("unshare");
    unshare.arg(own);
    let tried = Command::new("unshare").args([own, "mount", "-t", "tmpfs", "tmpfs"]).arg(setup.store()).output();
    if !tried.is_ok_and(|tried| tried.status.success()) {
        skipped("this process may not make a mount namespace");
        return None;
    }
    let serve = behind(script, &setup.serve());
    unshare.arg(serve.get_program()).args(serve.get_args()).env("STORE", setup.store());
    unshare.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Some(unshare)
}

#[test]
fn a_full_disk_is_reported_and_writes_go_on_after_space_is_freed() {
    let setup = Setup::new();
    let script = "set -e; mount -t tmpfs -o size=2m tmpfs \"$STORE\"; head -c 600000 /dev/zero >\"$STORE/ballast\"";
    let Some(command) = with_mounts(&setup, script) else { return };
    let mut daemon = setup.start_by(command);
    let mut client = daemon.client();
    let text = |n: usize| format!("Thought {n}: {}", "words that need space ".repeat(100 + n % 7));
    let mut taken = 0;
    let said = loop {
        assert!(taken < 2000, "two mebibytes are never full");
        match refused(&mut client, &text(taken)) {
            None => taken += 1,
            Some(said) => break said,
        }
    };
    assert!(said.contains("the store's disk is full: nothing was stored"), "{said}");
    assert!(taken > 10, "{taken} were stored");
    assert_eq!(client.call("ping", json!({})), json!({}));
    let probed = client.request("store_probe", json!({}));
    assert!(probed["error"]["message"].as_str().is_some_and(|said| said.contains("disk is full")), "{probed}");
    let recalled = client.call("memory_recall", json!({"cue": "words", "budget_tokens": 100_000}));
    assert_eq!(recalled["hits"].as_array().map(Vec::len), Some(10), "the stored records can be read");
    let inside = PathBuf::from(format!("/proc/{}/root", daemon.pid()));
    let ballast = daemon.setup().store().join("ballast");
    fs::remove_file(inside.join(ballast.strip_prefix("/").expect("a whole path"))).expect("it can be removed");
    assert_eq!(refused(&mut client, "Now there is space again."), None);
    let wanted: BTreeSet<String> = (0..taken).map(text).chain(["Now there is space again.".to_owned()]).collect();
    assert_eq!(stored(&mut client), wanted);
    assert_eq!(client.call("store_check", json!({}))["ok"], true);
    assert_eq!(daemon.stop().code(), Some(0));
}

#[test]
fn a_full_disk_fails_forget_backup_export_restore_and_import_with_a_sentence() {
    let setup = Setup::new();
    let small = setup.home().join("small");
    fs::create_dir(&small).expect("a folder can be made");
    let script =
        "set -e; mount -t tmpfs -o size=2m tmpfs \"$STORE\"; mount -t tmpfs -o size=64k tmpfs \"$STORE/../small\"";
    let Some(command) = with_mounts(&setup, script) else { return };
    let daemon = setup.start_by(command);
    let mut client = daemon.client();
    let text = |n: usize| format!("Thought {n}: {}", "words that need space ".repeat(100 + n % 7));
    assert_eq!(refused(&mut client, &text(0)), None);
    let whole = daemon.setup().home().join("whole.db");
    client.call("store_backup", json!({"path": whole}));
    let taken = (1..2000).take_while(|n| refused(&mut client, &text(*n)).is_none()).count();
    assert!(taken > 10, "{taken} were stored");
    let before = stored(&mut client);

    let rows: String = (0..300)
        .map(|n| json!({"kind": "record", "text": format!("row {n} {}", text(n))}).to_string() + "\n")
        .collect();
    let file = daemon.setup().home().join("rows.ndjson");
    fs::write(&file, rows).expect("it can be written");
    let path = |path: PathBuf| path.to_str().expect("a text").to_owned();
    let (whole, file, copy, export) =
        (path(whole), path(file), path(small.join("copy.db")), path(small.join("all.ndjson")));
    for (args, part) in [
        (vec!["forget", "--since", "1d", "--yes"], "nothing was forgotten: the store is rewritten at the end"),
        (vec!["backup", &copy], "no backup was made: the disk of "),
        (vec!["restore", &whole, "--yes"], "nothing was restored: "),
        (vec!["export", &export], "No space left on device"),
        (vec!["import", &file], "the store's disk is full"),
    ] {
        let mut command = daemon.setup().program();
        command.arg("--socket").arg(daemon.setup().socket()).args(&args);
        // The command sees the disks of the daemon.
        let mut entered = Command::new("nsenter");
        entered.args(if is_root() { &["-m"][..] } else { &["-U", "-m", "--preserve-credentials"] });
        entered.arg("-t").arg(daemon.pid().to_string());
        entered.arg(command.get_program()).args(command.get_args()).env("HOME", daemon.setup().home());
        let output = crate::harness::output(&mut entered);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
        let left =
            fs::read_dir(format!("/proc/{}/root{}", daemon.pid(), small.display())).expect("it is there").count();
        assert_eq!(left, 0, "{args:?} leaves a file");
        assert!(stored(&mut client).is_superset(&before), "{args:?}");
    }
    assert_eq!(client.call("store_check", json!({}))["ok"], true);
}

#[test]
fn a_read_only_disk_is_reported_at_the_start() {
    let setup = Setup::new();
    let script = "set -e; mount --bind \"$STORE\" \"$STORE\"; mount -o remount,bind,ro \"$STORE\"";
    let Some(mut command) = with_mounts(&setup, script) else { return };
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("cannot be written; make it writable or give another folder"), "{said}");
    assert!(!setup.socket().exists(), "the socket is taken away again");
}
