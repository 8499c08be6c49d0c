//! What logs and error messages say: no text of the user, the right cause, and not more than a bounded number of lines.

#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::harness::{Daemon, Setup, setup, until};
use crate::skip::has;

/// A word that stands wherever a user's text could be quoted.
const SECRET: &str = "xyzzysecret";

/// Creates a deferred file that was last written an hour ago.
fn put(folder: &Path, name: &str, lines: &[String]) {
    fs::create_dir_all(folder).expect("a folder can be made");
    fs::write(folder.join(name), lines.concat()).expect("it can be written");
    let file = File::options().append(true).open(folder.join(name)).expect("it is there");
    file.set_modified(SystemTime::now() - Duration::from_secs(3600)).expect("its time can be set");
}

/// Returns everything below the store's folder but the database, and the daemon's log.
fn everything_told(daemon: &Daemon) -> String {
    let mut told = daemon.log();
    let mut folders = vec![daemon.setup().store()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("it can be read").flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && name != ".deferred-captures" => folders.push(path),
                Ok(kind) if kind.is_file() && !name.starts_with("memory.db") => {
                    told += &fs::read_to_string(&path).unwrap_or_default();
                }
                _ => {}
            }
        }
    }
    told
}

#[test]
fn refused_text_is_in_no_log() {
    let daemon = Setup::new().env("IAID_LOG", "debug").args(&["--look-every", "0.1"]).start();
    let folder = daemon.setup().store().join(".deferred-captures");
    let header = format!("{}\n", json!({"version": 1, "session_id": "s", "cwd": "/p"}));
    let text = format!("A text with the {SECRET} in it.");
    let refused = [
        json!({"text": text, "tier": SECRET}).to_string(),
        json!({"text": text, "role": SECRET}).to_string(),
        json!({"text": text, "ts": SECRET}).to_string(),
        json!({"text": [SECRET]}).to_string(),
        json!({"text": text, "part": SECRET}).to_string(),
        format!("{{\"text\":\"{SECRET}\",\"{SECRET}\":1,\"{SECRET}\":2}}"),
        format!("{{\"text\":\"{SECRET}"),
        SECRET.to_owned(),
    ];
    for (at, line) in refused.iter().enumerate() {
        put(&folder, &format!("a{at}-1700000000.jsonl"), &[header.clone(), format!("{line}\n")]);
        // In place of the header.
        put(&folder, &format!("b{at}-1700000000.jsonl"), &[format!("{line}\n"), header.clone()]);
    }
    let mut client = daemon.client();
    client.call("memory_consolidate", json!({}));
    let left = || fs::read_dir(&folder).expect("it is there").flatten().map(|entry| entry.file_name());
    until("all are set aside", || left().all(|name| name.to_string_lossy().contains("failed-")));
    for (method, params) in [
        ("memory_capture", json!({"text": text, "tier": SECRET})),
        ("memory_capture", json!({"text": [SECRET]})),
        ("profile_set", json!({"knob": SECRET, "value": SECRET})),
        ("profile_set", json!({"knob": "wake_depth", "value": SECRET})),
        ("memory_recall", json!({"cue": text, "since": SECRET})),
        ("store_import", json!({"rows": [{"kind": "record", "text": text, "tier": SECRET, "ts": SECRET}]})),
        ("store_backup", json!({"path": "relative"})),
        (SECRET, json!({})),
    ] {
        client.request(method, params);
    }
    let told = everything_told(&daemon);
    assert!(told.contains("its tier is unknown"), "{told}");
    assert!(!told.contains(SECRET), "{told}");
}

/// Sets a limit of the running daemon.
fn limit(daemon: &Daemon, option: &str) {
    let set = Command::new("prlimit").arg(format!("--pid={}", daemon.pid())).arg(option).status();
    assert!(set.expect("prlimit runs").success(), "{option}");
}

#[test]
fn a_lack_of_descriptors_is_named() {
    if !has("prlimit") {
        return;
    }
    let daemon = setup();
    let mut client = daemon.client();
    // From then on the writer opens nothing.
    client.call("memory_capture", json!({"text": "The kettle is on the stove."}));
    // A new descriptor gets the lowest free number, and 0 to 2 are in use.
    limit(&daemon, "--nofile=3:");
    for (method, params) in [
        ("memory_recall", json!({"cue": "tea"})),
        ("memory_recall_structural", json!({})),
        ("store_export", json!({})),
        ("session_start_payload", json!({})),
    ] {
        let reply = client.request(method, params);
        let said = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(said.starts_with("out of file descriptors: raise the daemon's limit"), "{method}: {reply}");
        assert_eq!(reply["error"]["code"], -32001);
    }
    let probed = client.request("store_probe", json!({}));
    assert!(
        probed["error"]["message"].as_str().is_some_and(|said| said.contains("out of file descriptors")),
        "{probed}"
    );
    limit(&daemon, "--nofile=64:");
    assert_eq!(client.call("memory_recall", json!({"cue": "tea"}))["hits"], json!([]));
}

#[test]
fn a_start_without_descriptors_names_them() {
    if !has("prlimit") {
        return;
    }
    let setup = Setup::new();
    drop(fs::create_dir(setup.store()));
    let mut is_named = false;
    for count in 4..24 {
        let serve = setup.serve();
        let mut limited = Command::new("timeout");
        limited.args(["--signal=TERM", "5", "prlimit", &format!("--nofile={count}:{count}")]);
        limited.arg(serve.get_program()).args(serve.get_args()).env("HOME", setup.home()).env_remove("IAID_LOG");
        let output = limited.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(1) {
            break;
        }
        assert!(!said.contains("disk failed") && !said.contains("give another folder"), "{count}: {said}");
        is_named |= said.contains("out of file descriptors");
    }
    assert!(is_named);
}
