//! What a daemon holds and how its threads are scheduled, as proc(5) tells it. How much it may be is measured with the
//! program as it is released (`benches/footprint.rs`): here, that memory comes back, that nothing wakes who sleeps, and
//! that who works interrupts nobody.

#![cfg(target_os = "linux")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::harness::{Daemon, Setup, until};

/// Its anonymous memory in KiB: what is no file's.
fn anonymous(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux tells");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// How often each of its threads was given a processor. Threads may come and go meanwhile.
fn switches(daemon: &Daemon) -> BTreeMap<String, Vec<String>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs").flatten();
    let of = |status: String| status.lines().filter(|line| line.contains("ctxt_switches")).map(str::to_owned).collect();
    let read = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).map(of).unwrap_or_default();
    tasks.map(|task| (task.file_name().to_string_lossy().into_owned(), read(task))).collect()
}

/// Captures and recalls from two clients, so that both workers and the writer have what they need. The most that
/// was held meanwhile.
fn work(daemon: &Daemon) -> u64 {
    let mut clients = [daemon.client(), daemon.client()];
    let mut most = 0;
    for n in 0..150 {
        for (at, client) in clients.iter_mut().enumerate() {
            let text =
                format!("entry {n} of {at}: {}", (0..60).map(|w| format!("word{} ", n * w % 397)).collect::<String>());
            client.call("memory_capture", json!({"text": text}));
            let call = json!({"jsonrpc": "2.0", "id": 1, "method": "memory_recall", "params": {"cue": text}});
            client.send(format!("{call}\n"));
        }
        clients.iter_mut().for_each(|client| assert!(client.line().contains("hits")));
        most = most.max(anonymous(daemon));
    }
    most
}

#[test]
fn memory_comes_back_a_while_after_the_last_request_and_what_follows_is_served() {
    let daemon = Setup::new().args(&["--rest-after", "0.5"]).start();
    let most = work(&daemon);
    until("a fifth of it has come back", || anonymous(&daemon) < most * 4 / 5);
    let mut client = daemon.client();
    assert_eq!(
        client.call("memory_recall", json!({"cue": "entry 7", "limit": 3}))["hits"].as_array().map(Vec::len),
        Some(3)
    );
    assert_eq!(client.call("memory_capture", json!({"text": "Said behind the rest."}))["status"], "inserted");
}

/// The scheduling policy of each of its threads (the 41st field of proc_pid_stat(5)), by the thread's name.
fn policies(daemon: &Daemon) -> BTreeMap<String, BTreeSet<i32>> {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs").flatten();
    let mut policies = BTreeMap::<_, BTreeSet<_>>::new();
    // One that ends meanwhile has no file any more.
    for stat in tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok()) {
        let (name, rest) = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(") ")).expect("pid (name) state");
        let policy = rest.split(' ').nth(41 - 3).and_then(|field| field.parse().ok()).expect("a number");
        policies.entry(name.to_owned()).or_default().insert(policy);
    }
    policies
}

#[test]
fn threads_that_work_are_scheduled_behind_the_loop() {
    let daemon = Setup::new().args(&["--rest-after", "0.3"]).start();
    let want = BTreeMap::from(
        [
            ("iaid", libc::SCHED_OTHER),
            ("iaid-worker-0", libc::SCHED_BATCH),
            ("iaid-worker-1", libc::SCHED_BATCH),
            ("iaid-writer", libc::SCHED_BATCH),
        ]
        .map(|(name, policy)| (name.to_owned(), BTreeSet::from([policy]))),
    );
    until("it is so from the start", || policies(&daemon) == want);
    let before = switches(&daemon);
    daemon.client().call("memory_recall", json!({"cue": "tea"}));
    until("others take over", || switches(&daemon).keys().filter(|task| before.contains_key(*task)).count() == 1);
    until("it is so again", || policies(&daemon) == want);
}

#[test]
fn asleep_no_thread_is_given_a_processor() {
    let thresholds = ["--drowsy-after", "0.1", "--sleep-after", "0.2", "--hibernate-after", "1", "--rest-after", "5"];
    let daemon = Setup::new().args(&thresholds).start();
    daemon.client().call("memory_capture", json!({"text": "The tea is at five today."}));
    let state = daemon.setup().store().join("lifecycle_state.json");
    until("it hibernates", || fs::read_to_string(&state).is_ok_and(|text| text.contains("HIBERNATION")));
    let mut before = switches(&daemon);
    until("it has come to rest", || {
        thread::sleep(Duration::from_millis(500));
        let then = std::mem::replace(&mut before, switches(&daemon));
        then == before
    });
    // Longer than the rest that a request is followed by while it is awake.
    thread::sleep(Duration::from_secs(6));
    assert_eq!(switches(&daemon), before);
}
