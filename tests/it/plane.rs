//! The eight control messages: their replies, what they write, and what survives a kill.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, PATIENCE, Setup, holds_within, setup, until};

const NAME: &str = ".daemon-state.json";

fn state_path(daemon: &Daemon) -> PathBuf {
    daemon.setup().store().join(NAME)
}

fn state(daemon: &Daemon) -> Value {
    let text = fs::read_to_string(state_path(daemon)).expect("the state file is there");
    serde_json::from_str(&text).expect("it is JSON")
}

/// Returns the names in the store's folder that begin with the state file's name.
fn beside(store: &Path) -> Vec<String> {
    let names = fs::read_dir(store).expect("the folder is there").flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(NAME)).collect()
}

fn paused(daemon: &Daemon) -> bool {
    daemon.status()["scheduler_paused"].as_bool().expect("it is there")
}

fn assert_no_warnings(daemon: &Daemon) {
    let log = daemon.log();
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
}

#[test]
fn each_message_has_its_exact_reply() {
    let daemon = setup();
    let mut client = daemon.client();
    for (message, reply) in [
        (
            r#"{"type":"user_initiated_sleep","reason":"late","ts":"2026-05-14T22:00:00Z"}"#,
            r#"{"ok":true,"state":"TRANSITIONING"}"#,
        ),
        (r#"{"type":"force_wake","ts":""}"#, r#"{"ok":true,"reason":"wake_queued"}"#),
        (r#"{"type":"force_rem","ts":"t"}"#, r#"{"ok":true,"reason":"rem_queued"}"#),
        (r#"{"type":"pause"}"#, r#"{"ok":true,"paused":true}"#),
        (r#"{"type":"pause","seconds":3600}"#, r#"{"ok":true,"paused":true}"#),
        (r#"{"type":"resume","seconds":-1}"#, r#"{"ok":true,"paused":false}"#),
        (r#"{"type":"session_open"}"#, r#"{"ok":true,"reason":"session_open_queued"}"#),
        (r#"{"type":"session_open","session_id":"s","ts":null}"#, r#"{"ok":true,"reason":"session_open_queued"}"#),
    ] {
        client.send(format!("{message}\n"));
        assert_eq!(client.line(), reply, "{message}");
    }
    assert_no_warnings(&daemon);
}

#[test]
fn status_has_every_key_of_the_contract() {
    let daemon = setup();
    let status = daemon.status();
    for (key, like) in [
        ("ok", json!(true)),
        ("state", json!("WAKE")),
        ("fsm_state", json!("WAKE")),
        ("lifecycle_state", json!("WAKE")),
        ("version", json!(env!("CARGO_PKG_VERSION"))),
        ("quiet_window", json!(null)),
        ("pending_digest", json!(null)),
        ("quarantine", json!(null)),
        ("scheduler_paused", json!(false)),
        ("workers", json!(2)),
        ("in_flight", json!(0)),
        ("records", json!(0)),
        ("refused_peers", json!(0)),
        ("refused_connections", json!(0)),
        ("cut_readers", json!(0)),
        ("cut_lines", json!(0)),
        ("late_results", json!(0)),
    ] {
        assert_eq!(status.get(key), Some(&like), "{key} of {status}");
    }
    for key in ["queued", "connections", "requests", "errors", "rss_bytes", "buffered_bytes"] {
        assert!(status[key].is_u64(), "{key} of {status}");
    }
    assert!(status["uptime_sec"].is_f64() && status["daemon_started_at"].is_string(), "{status}");
    for key in ["p50", "p99", "max"] {
        assert!(status["latency_us"][key].is_u64(), "{key} of {status}");
    }
    until("it has ticked", || daemon.status()["last_tick_at"].is_string());
}

#[test]
fn pause_is_visible_at_once_and_survives_a_kill() {
    let mut daemon = setup();
    for (message, want) in [("pause", true), ("pause", true), ("resume", false), ("pause", true)] {
        daemon.client().ask(&json!({"type": message}).to_string());
        assert_eq!(paused(&daemon), want);
        daemon.kill_and_restart();
        assert_eq!(paused(&daemon), want, "after a kill");
    }
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.restart();
    assert!(paused(&daemon), "after a stop");
    assert_no_warnings(&daemon);
}

#[test]
fn a_request_is_on_disk_before_its_reply() {
    let daemon = setup();
    let mut client = daemon.client();
    client.ask(&json!({"type": "user_initiated_sleep", "reason": "ä".repeat(600), "ts": "t".repeat(70)}).to_string());
    let kept = state(&daemon);
    assert_eq!(fs::metadata(state_path(&daemon)).expect("it is there").permissions().mode() & 0o777, 0o600);
    let request = &kept["user_sleep_request"];
    assert_eq!(request["reason"], "ä".repeat(500), "a reason is cut to 500 characters");
    client.ask(r#"{"type":"force_wake","ts":"w"}"#);
    assert_eq!(state(&daemon)["force_wake_request"]["ts"], "w");
    client.ask(r#"{"type":"force_rem","ts":"r"}"#);
    assert_eq!(state(&daemon)["force_rem_request"]["ts"], "r");
    client.ask(&json!({"type": "session_open", "session_id": "é".repeat(200)}).to_string());
    let kept = state(&daemon);
    let sessions: Vec<&String> = kept["first_turn_pending"].as_object().expect("an object").keys().collect();
    assert_eq!(sessions, [&"é".repeat(128)], "a session's id is cut to 128 characters");
    assert_eq!(kept["user_sleep_request"]["ts"], "t".repeat(64), "the earlier requests are still there");
    until("nothing lies beside it", || beside(&daemon.setup().store()) == [NAME]);
}

#[test]
fn a_message_is_carried_out_after_its_sender_has_disconnected() {
    let daemon = setup();
    for round in 0..50 {
        let want = round % 2 == 0;
        let mut client = daemon.client();
        client.send(if want { "{\"type\":\"pause\"}\n" } else { "{\"type\":\"resume\"}\n" });
        drop(client);
        until("it is carried out", || paused(&daemon) == want);
    }
    assert_no_warnings(&daemon);
}

/// Sends `force_rem`, numbered from `at`, until the daemon is killed. Returns the last number that was answered, which
/// `answered` follows.
fn ask_in_turn(mut client: Client, at: usize, answered: &AtomicUsize) -> usize {
    for number in at.. {
        answered.store(number - 1, Ordering::Relaxed);
        let message = json!({"type": "force_rem", "ts": number.to_string()});
        if !client.try_send(format!("{message}\n")) {
            return number - 1;
        }
        match client.try_line().as_str() {
            "" => return number - 1,
            reply => assert_eq!(reply, r#"{"ok":true,"reason":"rem_queued"}"#),
        }
    }
    unreachable!("the numbers do not end")
}

/// Opens sessions until the daemon is killed.
fn open_sessions(mut client: Client, name: usize) {
    for n in 0.. {
        let message = json!({"type": "session_open", "session_id": format!("{name}-{n}-{}", "x".repeat(100))});
        if !client.try_send(format!("{message}\n")) || client.try_line().is_empty() {
            return;
        }
    }
}

#[test]
fn a_kill_during_many_writes_leaves_a_complete_file_with_every_answered_request() {
    let mut daemon = setup();
    let mut answered = 0;
    for round in 0..20 {
        let (done, reads, now_answered) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let path = state_path(&daemon);
        let (asking, opening) = (daemon.client(), [daemon.client(), daemon.client()]);
        let last = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Ok(text) = fs::read_to_string(&path) {
                        serde_json::from_str::<Value>(&text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
                        reads.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
            for (name, client) in opening.into_iter().enumerate() {
                scope.spawn(move || open_sessions(client, round * 2 + name));
            }
            let asker = scope.spawn(|| ask_in_turn(asking, answered + 1, &now_answered));
            // Some rounds end within the first writes, some after many.
            let is_enough = holds_within(PATIENCE, || {
                reads.load(Ordering::Relaxed) > 0 && now_answered.load(Ordering::Relaxed) > answered + round % 7
            });
            // The threads end when the daemon does.
            daemon.kill();
            done.store(true, Ordering::Relaxed);
            assert!(is_enough, "round {round}: too little was answered");
            asker.join().expect("every reply is right")
        });
        daemon.restart();
        daemon.status();
        // The request in progress at the kill may have been written and not answered.
        let kept = state(&daemon)["force_rem_request"]["ts"].as_str().and_then(|ts| ts.parse().ok());
        assert!(kept == Some(last) || kept == Some(last + 1), "round {round}: {last} was answered, {kept:?} is kept");
        answered = kept.unwrap_or(last);
        until("nothing lies beside it", || beside(&daemon.setup().store()) == [NAME]);
    }
    assert_no_warnings(&daemon);
}

#[test]
fn an_unusable_state_file_is_set_aside_unchanged() {
    for text in [&b""[..], b"{\"scheduler_paused\":tr", b"[1]", b"\"text\"", b"{\"scheduler_paused\":3}", b"\xff\xfe\0"]
    {
        let setup = Setup::new();
        fs::create_dir(setup.store()).expect("a folder can be made");
        fs::set_permissions(setup.store(), fs::Permissions::from_mode(0o700)).expect("its mode can be set");
        fs::write(setup.store().join(NAME), text).expect("a file can be made");
        let daemon = setup.start();
        assert!(!paused(&daemon));
        let log = daemon.log();
        assert!(log.contains("WARN") && log.contains("cannot be used") && log.contains("set aside as"), "{log}");
        daemon.client().ask(r#"{"type":"pause"}"#);
        let store = daemon.setup().store();
        let aside = beside(&store).into_iter().find(|name| name.starts_with(".daemon-state.json.bad-"));
        assert_eq!(fs::read(store.join(aside.expect("it is set aside"))).expect("it can be read"), text);
        assert_eq!(state(&daemon)["scheduler_paused"], true);
    }
}

#[test]
fn keys_of_other_versions_are_kept() {
    let setup = Setup::new();
    fs::create_dir(setup.store()).expect("a folder can be made");
    let theirs = json!({"scheduler_paused": true, "claude_enabled": false, "nested": {"a": [1, 2.50, null]}});
    fs::write(setup.store().join(NAME), theirs.to_string()).expect("a file can be made");
    let daemon = setup.start();
    assert!(paused(&daemon));
    daemon.client().ask(r#"{"type":"force_rem","ts":"t"}"#);
    let kept = state(&daemon);
    for key in ["scheduler_paused", "claude_enabled", "nested"] {
        assert_eq!(kept[key], theirs[key], "{key}");
    }
}

#[test]
fn a_state_that_cannot_be_written_is_reported_and_changes_nothing() {
    let daemon = setup();
    let mut client = daemon.client();
    client.ask(r#"{"type":"pause"}"#);
    // rename(2) replaces a directory by a directory only, even for root.
    fs::remove_file(state_path(&daemon)).expect("it can be removed");
    fs::create_dir(state_path(&daemon)).expect("a folder can be made");
    for (message, was) in [("resume", true), ("pause", true)] {
        let reply = client.ask(&json!({"type": message}).to_string());
        assert_eq!((&reply["ok"], &reply["reason"]), (&json!(false), &json!("state_write_failed")), "{reply}");
        let error = reply["error"].as_str().expect("the reason");
        assert!(!error.is_empty() && error.chars().count() <= 200, "{reply}");
        assert_eq!(paused(&daemon), was, "a change that was not written is not in force");
    }
    assert!(daemon.log().contains("cannot be written"), "{}", daemon.log());
    assert_eq!(beside(&daemon.setup().store()), [NAME], "no half-written file is left");
    fs::remove_dir(state_path(&daemon)).expect("it can be removed");
    assert_eq!(client.ask(r#"{"type":"resume"}"#), json!({"ok": true, "paused": false}));
    assert_eq!(state(&daemon)["scheduler_paused"], false);
}

#[test]
fn requests_older_than_ten_minutes_are_dropped_at_a_start() {
    let mut daemon = setup();
    let mut client = daemon.client();
    client.ask(r#"{"type":"user_initiated_sleep","reason":"late","ts":"t"}"#);
    client.ask(r#"{"type":"force_wake","ts":"t"}"#);
    client.ask(r#"{"type":"force_rem","ts":"t"}"#);
    daemon.kill();
    let minutes_ago = |minutes: u64| {
        let then = SystemTime::now() - Duration::from_secs(minutes * 60);
        let stamp = jiff::Timestamp::try_from(then).expect("a date");
        json!(stamp.to_string())
    };
    let mut kept = state(&daemon);
    kept["user_sleep_request"]["asked_at"] = minutes_ago(11);
    kept["force_wake_request"]["asked_at"] = minutes_ago(9);
    kept["force_rem_request"]["asked_at"] = minutes_ago(60 * 24);
    fs::write(state_path(&daemon), kept.to_string()).expect("it can be written");
    daemon.restart();
    daemon.client().ask(r#"{"type":"resume"}"#);
    let kept = state(&daemon);
    for (request, there) in [("user_sleep_request", false), ("force_wake_request", true), ("force_rem_request", false)]
    {
        assert_eq!(kept[request].is_object(), there, "{request} of {kept}");
    }
}
