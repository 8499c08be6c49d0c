//! No request costs more than in proportion to its bytes, and no client makes the daemon hold more memory than it may.
//!
//! Costs are processor times of the daemon, compared with each other. `benches/bounds.rs` has more inputs, and prints
//! the ratios.

#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;

use serde_json::json;

use crate::harness::{Daemon, Setup, setup, until};
use crate::os;

const MIB: usize = 1 << 20;

/// Returns the daemon's anonymous memory, in bytes.
fn anonymous(daemon: &Daemon) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("Linux reports it");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

fn buffered(daemon: &Daemon) -> usize {
    daemon.status()["buffered_bytes"].as_u64().expect("a number") as usize
}

/// Returns about `bytes` of members with names of their own.
fn members(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 16);
    for n in 0.. {
        if text.len() >= bytes {
            break;
        }
        write!(text, "\"k{n}\":1,").expect("a string takes it");
    }
    text
}

/// Returns about `bytes` of words, all of them different.
fn words(bytes: usize) -> String {
    (0..bytes / 7).map(|n| format!("{n:06x} ")).collect()
}

fn repeated(piece: &str, bytes: usize) -> String {
    piece.repeat(bytes / piece.len())
}

/// Params and control messages of about this many bytes each, by what they have many of.
fn worst_lines(bytes: usize) -> Vec<(&'static str, String)> {
    let call = |method: &str, params: String| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{{{params}}}}}\n")
    };
    let all = members(bytes);
    let members = all.trim_end_matches(',');
    let id = "\"00000000-0000-7000-8000-000000000000\",";
    vec![
        ("params", call("profile_get", members.into())),
        ("params of a capture", call("memory_capture", format!("\"text\":\"long enough to be stored\",{members}"))),
        ("duplicate params", call("profile_get", format!("{members},\"k0\":1"))),
        ("keys of a control message", format!("{{\"type\":\"pause\",{members}}}\n")),
        ("keys of a request", format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",{members}}}\n")),
        ("ids", call("memory_reinforce", format!("\"ids\":[{}\"\"]", repeated(id, bytes)))),
        ("pairs of words", call("memory_recall", format!("\"cue\":\"{}\"", repeated("harbour lantern ", bytes)))),
        (
            "further words beside many words",
            call(
                "memory_recall",
                format!(
                    "\"cue\":\"{}\",\"also\":[{}\"a\"]",
                    words(bytes / 2),
                    repeated("\"a b c d e f g h i j k l m\",", bytes / 2)
                ),
            ),
        ),
        ("rows", call("store_import", format!("\"rows\":[{}{{}}]", repeated("{},", bytes)))),
        ("members of a row", call("store_import", format!("\"rows\":[{{\"kind\":\"tag\",{members}}}]"))),
        ("roles", call("memory_recall_structural", format!("\"structure_query\":{{{members}}}"))),
        ("unclosed brackets", format!("{}\n", repeated("[", bytes))),
    ]
}

#[test]
fn the_cost_of_a_request_is_in_proportion_to_its_bytes() {
    let daemon = setup();
    let mut client = daemon.client();
    for n in 0..20 {
        client.call("memory_capture", json!({"text": format!("number {n}: {}", "the harbour lantern ".repeat(300))}));
    }
    let (small, large) = (worst_lines(MIB / 8), worst_lines(MIB / 2));
    let mut cost = |line: &str| {
        let before = os::processor_time_ns(daemon.pid());
        client.send(line);
        assert!(!client.line().is_empty());
        os::processor_time_ns(daemon.pid()) - before
    };
    for ((what, small), (_, large)) in small.iter().zip(&large) {
        cost(small);
        // What is used beside the request counts little against a few milliseconds.
        let (small, large) = (cost(small).max(5_000_000), cost(large));
        assert!(large < small * 10, "{what}: four times the bytes take {large} ns instead of {small}");
    }
}

#[test]
fn a_capture_waits_for_no_other_client() {
    let daemon = setup();
    // More than there are workers, each as long as hundreds of captures.
    let cue = words(MIB / 4 * 3);
    let long = format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": "memory_recall", "params": {"cue": cue}}));
    let mut others: Vec<UnixStream> = (0..4).map(|_| daemon.connect()).collect();
    others.iter_mut().for_each(|other| other.write_all(long.as_bytes()).expect("the daemon reads"));
    until("all wait or run", || daemon.status()["in_flight"] == 4);
    others.iter().for_each(|other| other.set_nonblocking(true).expect("a socket has this mode"));
    let mut client = daemon.client();
    let is_first = |n: usize| {
        client.call("memory_capture", json!({"text": format!("note {n} of the innocent client")}));
        others.iter_mut().all(|other| other.read(&mut [0]).is_err())
    };
    assert!((0..10).any(is_first), "each capture was answered after one of the calls before it");
}

#[test]
fn a_capture_waits_for_no_whole_import() {
    let daemon = setup();
    let row = |n: usize| json!({"kind": "record", "text": format!("{n} {}", words(1500))});
    let is_between = |round: usize| {
        let rows: Vec<_> = (0..500).map(|n| row(round * 1000 + n)).collect();
        let before = daemon.status()["records"].as_u64();
        let mut other = daemon.client();
        other.send(
            json!({"jsonrpc": "2.0", "id": 1, "method": "store_import", "params": {"rows": rows}}).to_string() + "\n",
        );
        until("some rows are stored", || daemon.status()["records"].as_u64() > before);
        // What this call waits for has been answered before.
        daemon.client().call("memory_capture", json!({"text": format!("note {round} of the innocent client")}));
        let is_answered = daemon.status()["in_flight"] == 0;
        assert!(other.line().contains("\"new\":500"));
        !is_answered
    };
    assert!((0..3).any(is_between), "each capture was answered after the whole import");
}

#[test]
fn no_client_makes_the_daemon_exceed_its_memory() {
    const LIMIT_BYTES: usize = 4 << 20;
    const CONNECTIONS: usize = 30;
    let daemon = Setup::new().args(&["--max-memory", "4M", "--max-line", "256K"]).start();
    let mut client = daemon.client();
    for n in 0..24 {
        client.call("memory_capture", json!({"text": format!("buoy {n} {}", "x".repeat(60_000))}));
    }
    let call = |method: &str, params: &str| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{params}}}\n")
    };
    let structural = call("memory_recall_structural", r#"{"budget_tokens":1000000}"#);
    for (what, line) in [
        ("half a line", format!("{{\"x\":\"{}", "x".repeat(63 << 10))),
        ("half a large line", format!("{{\"x\":\"{}", "x".repeat(200 << 10))),
        ("rpc.discover", call("rpc.discover", "{}").repeat(25)),
        ("memory_recall_structural", structural),
        ("memory_recall", call("memory_recall", r#"{"cue":"buoy","budget_tokens":1000000,"limit":100}"#)),
        ("store_export", call("store_export", r#"{"limit":1000}"#).repeat(2)),
        (
            "long ids",
            format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"ping\"}}\n", "i".repeat(200 << 10)).repeat(4),
        ),
        ("short replies", call("ping", "{}").repeat(8000)),
    ] {
        let never_read: Vec<UnixStream> = (0..CONNECTIONS).map(|_| daemon.connect()).collect();
        let (mut most, mut held) = (0, 0);
        thread::scope(|scope| {
            for stream in &never_read {
                // The daemon may close the connection instead of reading all.
                let line = line.as_bytes();
                scope.spawn(move || {
                    let mut stream = stream;
                    drop(stream.write_all(line));
                });
            }
            for n in 0..20 {
                let captured = client.call("memory_capture", json!({"text": format!("beside {what}, number {n}")}));
                assert_eq!(captured["status"], "inserted");
                client.call("ping", json!({}));
                most = most.max(anonymous(&daemon));
                held = held.max(buffered(&daemon));
            }
            never_read.iter().for_each(|stream| drop(stream.shutdown(std::net::Shutdown::Both)));
        });
        assert!(held > 0, "{what}: nothing was held");
        // Beyond the limit: one reply a worker, and a small one a connection.
        assert!(held <= LIMIT_BYTES + 2 * (MIB + 4096) + CONNECTIONS * 4096, "{what}: {held} bytes are held");
        assert!(most <= 2 * LIMIT_BYTES + 16 * MIB, "{what}: {most} bytes are used");
        drop(never_read);
        until("nothing is held", || buffered(&daemon) == 0);
    }
}
