//! A small machine: 16 MiB of address space are enough.
//!
//! An address-space limit counts everything, from the program's own file to reserved stacks. The program under test is
//! larger than the installed one, so the limit is 10 MiB plus the mappings of its file: with an installed program of
//! at most 6 MiB that makes 16 MiB.

#![cfg(target_os = "linux")]

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Daemon, Setup, finish, setup};
use crate::skip::has;

/// The limit without the program's file.
const WITHOUT_FILE_BYTES: u64 = 10 << 20;

/// Returns how many bytes of the process's address space map the program's own file.
fn mapped_file_bytes(daemon: &Daemon) -> u64 {
    let maps = fs::read_to_string(format!("/proc/{}/maps", daemon.pid())).expect("it runs");
    let of = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
    };
    maps.lines().filter(|line| line.ends_with(env!("CARGO_BIN_EXE_iaid"))).filter_map(of).sum()
}

/// Runs a command of the program with `input` on its standard input, and returns what it prints.
fn feed(daemon: &Daemon, args: &[&str], input: &str) -> String {
    let mut command = daemon.setup().program();
    command.arg("--socket").arg(daemon.setup().socket()).args(args).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    child.stdin.take().unwrap().write_all(input.as_bytes()).expect("it reads");
    let output = finish(child);
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn sixteen_mebibytes_of_address_space_are_enough() {
    if !has("prlimit") {
        return;
    }
    let limit = WITHOUT_FILE_BYTES + mapped_file_bytes(&setup());
    let small = Setup::new();
    let serve = small.serve();
    let mut limited = Command::new("prlimit");
    limited.arg(format!("--as={limit}")).arg(serve.get_program()).args(serve.get_args());
    limited.env("HOME", small.home()).stdin(Stdio::null()).stdout(Stdio::null());
    let daemon = small.start_by(limited);

    let line = |n: usize| {
        format!("entry {n} of the log: {}\n", (0..30).map(|w| format!("word{} ", n * w % 97)).collect::<String>())
    };
    let input: String = (0..500).map(line).collect();
    let said = feed(&daemon, &["capture", "--session", "s", "-"], &input);
    assert!(said.contains(" lines: 5") && said.contains(" 0 reinforced, 0 skipped\n"), "{said}{}", daemon.log());
    let mut client = daemon.client();
    for n in 0..50 {
        let hits = client.call("memory_recall", json!({"cue": format!("entry {n} word{n}"), "limit": 20}));
        assert!(!hits["hits"].as_array().unwrap().is_empty(), "{hits}");
    }
    client.call("memory_capture", json!({"text": "a turn of 64 KiB ".repeat(3855)}));
    client.call("memory_consolidate", json!({}));
    assert_eq!(client.call("store_check", json!({}))["ok"], true);
    client.call("store_backup", json!({"path": daemon.setup().home().join("copy.db")}));
    assert_eq!(daemon.status()["records"], 501);
    let log = daemon.log();
    assert!(!log.contains("ERROR") && !log.contains("memory allocation"), "{log}");
}
