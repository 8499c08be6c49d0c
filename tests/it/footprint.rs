//! A daemon's memory and its threads' scheduling, read from proc(5): memory is released when idle, an idle daemon does
//! not wake up, and workers do not preempt the event loop. The amounts are measured with the release build by
//! `benches/footprint.rs`.

#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Daemon, Setup, until};

/// Returns the daemon's anonymous memory in KiB.
fn anonymous(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux reports it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Returns the context switches of each of the daemon's threads. Threads may start and end meanwhile.
fn switches(daemon: &Daemon) -> BTreeMap<String, Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs").flatten();
    let of = |status: String| status.lines().filter(|line| line.contains("ctxt_switches")).map(str::to_owned).collect();
    let read = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).map(of).unwrap_or_default();
    tasks.map(|task| (task.file_name().to_string_lossy().into_owned(), read(task))).collect()
}

/// Captures and recalls from two clients, so that both workers and the writer allocate their state. Returns the peak of
/// the anonymous memory.
fn work(daemon: &Daemon) -> u64 {
    let mut clients = [daemon.client(), daemon.client()];
    let mut peak = 0;
    for n in 0..150 {
        for (at, client) in clients.iter_mut().enumerate() {
            let text =
                format!("entry {n} of {at}: {}", (0..60).map(|w| format!("word{} ", n * w % 397)).collect::<String>());
            client.call("memory_capture", json!({"text": text}));
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "memory_recall", "params": {"cue": text}});
            client.send(format!("{call}\n"));
        }
        clients.iter_mut().for_each(|client| assert!(client.line().contains("hits")));
        peak = peak.max(anonymous(daemon));
    }
    peak
}

#[test]
fn memory_is_released_after_the_last_request_and_later_requests_are_served() {
    let daemon = Setup::new().args(&["--rest-after", "0.5"]).start();
    let peak = work(&daemon);
    until("a fifth of it is released", || anonymous(&daemon) < peak * 4 / 5);
    let mut client = daemon.client();
    assert_eq!(
        client.call("memory_recall", json!({"cue": "entry 7", "limit": 3}))["hits"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(client.call("memory_capture", json!({"text": "Said after the release."}))["status"], "inserted");
}

/// Returns the scheduling policies of the daemon's threads (the 41st field of proc_pid_stat(5)) by thread name.
fn policies(daemon: &Daemon) -> BTreeMap<String, BTreeSet<i32>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs").flatten();
    let mut policies = BTreeMap::<_, BTreeSet<_>>::new();
    // A thread that has ended meanwhile has no file.
    for stat in tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok()) {
        let (name, rest) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")).expect("pid (name) state");
        let policy = rest.split(' ').nth(41 - 3).and_then(|field| field.parse().ok()).expect("a number");
        policies.entry(name.to_owned()).or_default().insert(policy);
    }
    policies
}

#[test]
fn workers_run_under_batch_scheduling() {
    let daemon = Setup::new().args(&["--rest-after", "0.3"]).start();
    let want = BTreeMap::from(
        [
            ("iaid", libc::SCHED_OTHER),
            ("iaid-worker-0", libc::SCHED_BATCH),
            ("iaid-worker-1", libc::SCHED_BATCH),
            ("iaid-urgent", libc::SCHED_BATCH),
            ("iaid-writer", libc::SCHED_BATCH),
        ]
        .map(|(name, policy)| (name.to_owned(), BTreeSet::from([policy]))),
    );
    until("the policies are set at the start", || policies(&daemon) == want);
    let before = switches(&daemon);
    daemon.client().call("memory_recall", json!({"cue": "tea"}));
    until("the workers are replaced", || {
        switches(&daemon).keys().filter(|task| before.contains_key(*task)).count() == 1
    });
    until("the policies are set again", || policies(&daemon) == want);
}

#[test]
fn a_hibernating_daemon_does_not_wake_up() {
    let thresholds = ["--drowsy-after", "0.1", "--sleep-after", "0.2", "--hibernate-after", "1", "--rest-after", "5"];
    let daemon = Setup::new().args(&thresholds).start();
    daemon.client().call("memory_capture", json!({"text": "The tea is at five today."}));
    let state = daemon.setup().store().join("lifecycle_state.json");
    until("it hibernates", || fs::read_to_string(&state).is_ok_and(|text| text.contains("HIBERNATION")));
    let mut before = switches(&daemon);
    until("it is idle", || {
        thread::sleep(Duration::from_millis(500));
        let then = std::mem::replace(&mut before, switches(&daemon));
        then == before
    });
    // Longer than the delay after which a daemon in WAKE releases memory.
    thread::sleep(Duration::from_secs(6));
    assert_eq!(switches(&daemon), before);
}
