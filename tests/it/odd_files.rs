//! Pipes, sockets, directories and links in the places of the files that the daemon and the hooks open: nothing waits for
//! them, and no prompt is lost.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, finish, setup};
use crate::security::use_everything;

/// A name, and how a file of the kind is made at a path.
type Kind = (&'static str, fn(&Path));

const KINDS: [Kind; 5] = [
    ("pipe", |path| assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success())),
    ("socket", |path| drop(UnixListener::bind(path).expect("a socket can be bound"))),
    ("directory", |path| fs::create_dir(path).expect("a directory can be made")),
    ("link to a device", |path| symlink("/dev/zero", path).expect("a link can be made")),
    ("link to nothing", |path| symlink("nowhere", path).expect("a link can be made")),
];

/// Puts `make` in the place of `name` in the store's folder.
fn put(setup: &Setup, name: &str, make: fn(&Path)) {
    let path = setup.store().join(name);
    fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder can be made");
    make(&path);
}

#[test]
fn a_database_or_lock_of_another_kind_is_refused_at_once() {
    for name in ["memory.db", "memory.db-wal", "memory.db-shm", ".lock"] {
        for (kind, make) in KINDS {
            let setup = Setup::new();
            put(&setup, name, make);
            let before = fs::symlink_metadata(setup.store().join(name)).expect("it is there").file_type();
            let output = setup.start_and_fail();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{kind} as {name}: {said}");
            assert!(said.contains(name), "{kind} as {name}: {said}");
            let after = fs::symlink_metadata(setup.store().join(name)).expect("it is there").file_type();
            assert_eq!(before, after, "{kind} as {name}");
        }
    }
}

#[test]
fn other_files_of_another_kind_do_not_keep_the_daemon_from_serving() {
    let today = jiff::Timestamp::now().strftime("logs/lifecycle-events-%Y-%m-%d.jsonl").to_string();
    for name in [
        ".daemon-state.json",
        "lifecycle_state.json",
        "config.json",
        "wake.signal",
        "logs",
        "wrappers",
        ".deferred-captures",
        ".deferred-captures/s-1700000000.jsonl",
        "wrappers/heartbeat-1-0197aa00-0000-7000-8000-000000000000.json",
        &today,
        ".probe",
    ] {
        for (kind, make) in KINDS {
            let setup = Setup::new();
            put(&setup, name, make);
            let mut daemon = setup.start();
            use_everything(&daemon);
            assert_eq!(daemon.stop().code(), Some(0), "{kind} as {name}: {}", daemon.log());
        }
    }
}

/// Runs a hook with a prompt and this transcript.
fn prompt(daemon: &Daemon, session: &str, transcript: &Path, text: &str) {
    let input = json!({"session_id": session, "transcript_path": transcript, "cwd": "/p", "prompt": text});
    let mut command = daemon.setup().program();
    command.arg("--socket").arg(daemon.setup().socket()).args(["hook", "user-prompt-submit", "--store"]);
    command.env("IAID_HOOK_TIMEOUT", "60");
    command.arg(daemon.setup().store()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes()).expect("it reads");
    let output = finish(child);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn is_found(daemon: &Daemon, text: &str) -> bool {
    let hits = daemon.client().call("memory_recall", json!({"cue": text, "limit": 1}))["hits"].take();
    hits[0]["literal_surface"] == text
}

#[test]
fn a_transcript_of_another_kind_loses_no_prompt() {
    let daemon = setup();
    for (at, (kind, make)) in KINDS.into_iter().enumerate() {
        let transcript = daemon.setup().home().join(format!("transcript-{at}.jsonl"));
        make(&transcript);
        let text = format!("The prompt of case{at} was typed beside a transcript that is none.");
        prompt(&daemon, &format!("s{at}"), &transcript, &text);
        assert!(is_found(&daemon, &text), "{kind}");
    }
}

#[test]
fn state_of_hooks_of_another_kind_loses_no_prompt() {
    for name in
        [".capture-state", ".capture-state/s.json", ".capture-state/last-claude-code.json", "logs/hooks.log", "logs"]
    {
        for (kind, make) in KINDS {
            let setup = Setup::new();
            put(&setup, name, make);
            let daemon = setup.start();
            let text = "This prompt was typed beside a state that is none.";
            prompt(&daemon, "s", &daemon.setup().home().join("absent.jsonl"), text);
            assert!(is_found(&daemon, text), "{kind} as {name}");
        }
    }
}

/// A transcript that a hook knows already is read again by the hooks of other sessions.
#[test]
fn a_known_transcript_that_becomes_a_pipe_does_not_delay_other_sessions() {
    let daemon = setup();
    let transcript = daemon.setup().home().join("known.jsonl");
    let line = json!({"type": "user", "message": {"role": "user", "content": "A line of the known transcript, typed first."},
        "sessionId": "known", "cwd": "/p", "timestamp": "2026-06-01T10:11:12.345Z"});
    fs::write(&transcript, format!("{line}\n")).expect("it can be written");
    prompt(&daemon, "known", &transcript, "A prompt of the known session is captured here.");
    fs::remove_file(&transcript).expect("it can be removed");
    KINDS[0].1(&transcript);
    let input = json!({"session_id": "new", "transcript_path": Value::Null, "cwd": "/p", "source": "startup"});
    let mut command = daemon.setup().program();
    command.arg("--socket").arg(daemon.setup().socket()).args(["hook", "session-start", "--store"]);
    command.env("IAID_HOOK_TIMEOUT", "60");
    command.arg(daemon.setup().store()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes()).expect("it reads");
    assert!(finish(child).status.success());
    let log = fs::read_to_string(daemon.setup().store().join("logs/hooks.log")).expect("the hook has logged");
    assert!(log.contains("known.jsonl: not a regular file"), "{log}");
}
