//! A small machine: a limited address space, and what happens when it does not suffice.
//!
//! An address-space limit counts everything, from the program's own file to reserved stacks. `tests/attack` has eight
//! clients for a long time within 64 MiB.

#![cfg(target_os = "linux")]

use std::fs;
use std::process::Command;
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, Setup};
use crate::skip::has;

/// Sets the address-space limit of the running daemon.
fn limit(daemon: &Daemon, bytes: &str) {
    let mut prlimit = Command::new("prlimit");
    prlimit.arg(format!("--pid={}", daemon.pid())).arg(format!("--as={bytes}:"));
    assert!(prlimit.status().expect("prlimit runs").success());
}

/// Returns the daemon's present address space in bytes.
fn address_space(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("Linux reports it");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

fn long_text(n: usize) -> String {
    let words: Vec<String> = (0..9000).map(|w| format!("w{}", n * w % 997)).collect();
    format!("entry {n} of the log {}", words.join(" "))
}

/// Makes calls with long texts and long replies. Returns the errors.
fn work(client: &mut Client, rounds: usize) -> Vec<Value> {
    let mut errors = Vec::new();
    for n in 0..rounds {
        for (method, params) in [
            ("memory_recall", json!({"cue": "entry log", "limit": 100, "budget_tokens": 100_000})),
            ("memory_capture", json!({"text": long_text(n % 10), "session_id": "work"})),
            ("memory_recall", json!({"cue": long_text(n)})),
            ("store_export", json!({})),
        ] {
            let reply = client.request(method, params);
            errors.extend(reply.get("error").cloned());
        }
    }
    errors
}

#[test]
fn a_call_that_finds_no_memory_is_an_error_and_the_daemon_serves_on() {
    if !has("prlimit") {
        return;
    }
    let daemon = Setup::new().args(&["--max-memory", "4M", "--max-line", "256K", "--rest-after", "3600"]).start();
    let mut client = daemon.client();
    for n in 0..40 {
        client.call("memory_capture", json!({"text": long_text(n), "session_id": format!("s{n}")}));
    }
    let mut refused = 0;
    // At some of these limits the reserve is used up, at others SQLite finds no memory first.
    for more in [0, 256 << 10, 1 << 20] {
        limit(&daemon, &(address_space(&daemon) + more).to_string());
        let errors: Vec<Value> = thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| work(&mut daemon.client(), 1))).collect();
            clients
                .into_iter()
                .flat_map(|client| client.join().unwrap_or_else(|_| panic!("{}", daemon.log())))
                .collect()
        });
        for error in &errors {
            let said = error["message"].as_str().unwrap_or_default();
            assert!(error["code"] == -32001 && said.contains("out of memory"), "{error}");
        }
        refused += errors.len();
        limit(&daemon, "unlimited");
        assert_eq!(work(&mut client, 1), [0; 0], "with {more} bytes more");
    }
    assert!(refused > 0, "the limits were never reached");
    assert_eq!(client.call("store_check", json!({}))["ok"], true);
    let log = daemon.log();
    assert!(!log.contains("memory allocation") && !log.contains("panicked"), "{log}");
}

#[test]
fn sixty_four_mebibytes_of_address_space_are_enough() {
    if !has("prlimit") {
        return;
    }
    let daemon = Setup::new().args(&["--max-memory", "4M", "--max-line", "256K"]).start();
    // The program under test is several times as large as the installed one, which needs 14 MiB at rest.
    limit(&daemon, &((64 << 20) + address_space(&daemon).saturating_sub(14 << 20)).to_string());
    let errors: Vec<Value> = thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|_| scope.spawn(|| work(&mut daemon.client(), 1))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap_or_else(|_| panic!("{}", daemon.log()))).collect()
    });
    assert_eq!(errors, [0; 0]);
    daemon.client().call("memory_consolidate", json!({}));
    assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
}
