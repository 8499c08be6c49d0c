//! A wall clock that jumps by days and years, forward and back, under a running daemon and between two starts.

#![cfg(target_os = "linux")]

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, Setup, until};
use crate::shim::faulty;

const DAY_SECS: i64 = 86_400;

/// Where the clock jumps to, in days from now: one is before 1970. The first and the last one leave it alone.
const JUMPS: [i64; 9] = [0, 40, -40, 400, -1, 3650, -3650, -25_000, 0];

fn cycles(client: &mut Client) -> u64 {
    client.ask(r#"{"type":"status"}"#)["rem_cycle"]["finished"].as_u64().expect("a number")
}

/// Captures five records, and adds their ids.
fn capture(client: &mut Client, round: usize, ids: &mut BTreeSet<String>) {
    for n in 0..5 {
        let text = format!("In round{round} the clock showed something else, for the time number {n}.");
        let got = client.call("memory_capture", json!({"text": text, "session_id": format!("s{round}")}));
        assert_eq!(got["status"], "inserted", "round {round}: {got}");
        assert!(ids.insert(got["record_id"].as_str().expect("an id").to_owned()), "round {round}: an id came twice");
    }
}

/// Asserts that every record is there, and that recall finds those of this round.
fn assert_all_found(daemon: &Daemon, round: usize, ids: &BTreeSet<String>) {
    let mut client = daemon.client();
    let recalled = client.call("memory_recall", json!({"cue": format!("round{round}"), "limit": 5}));
    let found: Vec<&Value> = recalled["hits"].as_array().expect("a list").iter().collect();
    assert_eq!(found.len(), 5, "round {round}: {recalled}");
    let is_captured = |hit: &&Value| hit["record_id"].as_str().is_some_and(|id| ids.contains(id));
    assert!(found.iter().all(is_captured), "round {round}: {recalled}");
    let newest = client.call("memory_recall", json!({"cue": "", "limit": 100, "budget_tokens": 100_000}));
    assert_eq!(newest["hits"].as_array().map(Vec::len), Some(ids.len()), "round {round}");
}

fn assert_no_errors(daemon: &Daemon) {
    let log = daemon.log();
    assert!(!log.contains("ERROR") && !log.contains("panic"), "{log}");
    assert_eq!(daemon.status()["quarantine"], Value::Null);
    assert_eq!(daemon.status()["errors"], 0);
}

#[test]
fn a_clock_that_jumps_loses_no_record_and_stops_no_transition() {
    let thresholds = ["--drowsy-after", "0.05", "--sleep-after", "0.1", "--look-every", "0.05"];
    let Some((setup, faults)) = faulty(Setup::new().args(&thresholds)) else { return };
    let daemon = setup.start();
    let (mut client, mut ids) = (daemon.client(), BTreeSet::new());
    for (round, days) in JUMPS.into_iter().enumerate() {
        let before = cycles(&mut client);
        faults.jump_to(days * DAY_SECS);
        capture(&mut client, round, &mut ids);
        assert_all_found(&daemon, round, &ids);
        until(&format!("a cycle has ended, {days} days off"), || cycles(&mut client) > before);
        // So the next jump comes in SLEEP, DREAMING or DROWSY.
        for kind in ["user_initiated_sleep", "force_rem", "force_wake"] {
            let before = cycles(&mut client);
            let reply =
                client.ask(&json!({"type": kind, "reason": "a test", "ts": "2026-05-14T22:00:00Z"}).to_string());
            assert!(reply["ok"] == true || reply["reason"] == "already_sleeping", "{kind}: {reply}");
            if kind == "force_rem" {
                until(&format!("the requested cycle has ended, {days} days off"), || cycles(&mut client) > before);
            }
        }
        let uptime = daemon.status()["uptime_sec"].as_f64().expect("a number");
        assert!((0.0..DAY_SECS as f64).contains(&uptime), "{days} days off, its uptime is {uptime} s");
    }
    assert_no_errors(&daemon);
}

#[test]
fn a_clock_that_jumped_between_two_starts_loses_no_record_and_delays_no_cycle() {
    let thresholds = ["--drowsy-after", "0.05", "--sleep-after", "0.1"];
    let Some((setup, faults)) = faulty(Setup::new().args(&thresholds)) else { return };
    let mut daemon = setup.start();
    let mut ids = BTreeSet::new();
    for (round, days) in JUMPS.into_iter().enumerate() {
        let mut client = daemon.client();
        let before = cycles(&mut client);
        capture(&mut client, round, &mut ids);
        assert_eq!(client.ask(r#"{"type":"session_open","session_id":"s"}"#)["ok"], true);
        until(&format!("a cycle has ended, {days} days off"), || cycles(&mut client) > before);
        assert_all_found(&daemon, round, &ids);
        assert_no_errors(&daemon);
        daemon.kill();
        faults.jump_to(days * DAY_SECS);
        daemon.restart();
        assert_all_found(&daemon, round, &ids);
    }
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
}

#[test]
fn a_clock_beyond_the_calendar_stops_nothing() {
    let Some((setup, faults)) = faulty(Setup::new()) else { return };
    let mut daemon = setup.start();
    // The year 10 240: most programs' calendars end with 9999.
    faults.jump_to(3_000_000 * DAY_SECS);
    for round in 0..2 {
        let mut client = daemon.client();
        let text = format!("In round{round} the clock showed a year of five digits.");
        assert_eq!(client.call("memory_capture", json!({"text": text}))["status"], "inserted");
        assert_eq!(client.call("memory_recall", json!({"cue": text}))["hits"][0]["literal_surface"], text);
        assert_eq!(client.ask(r#"{"type":"session_open","session_id":"s"}"#)["ok"], true);
        client.call("session_start_payload", json!({}));
        client.call("memory_consolidate", json!({}));
        assert_no_errors(&daemon);
        daemon.kill_and_restart();
    }
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
}
