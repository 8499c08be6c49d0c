//! `iaid doctor`: its findings on a healthy installation and for each problem, and what `--fix` repairs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, setup, until};

/// Runs the program with this home, and with a `PATH` without a service manager.
fn iaid(setup: &Setup, args: &[&str]) -> Output {
    let bin = setup.home().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let mut command = setup.program();
    for name in ["CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "DISPLAY", "WAYLAND_DISPLAY"] {
        command.env_remove(name);
    }
    let shells = "/usr/bin:/bin";
    let path = if bin.join("systemctl").exists() { format!("{}:{shells}", bin.display()) } else { bare(setup) };
    command.env("PATH", path).env("USER", "kim").arg("--socket").arg(setup.socket()).args(args);
    command.output().expect("the binary runs")
}

/// Returns a folder that has only a shell and sleep(1).
fn bare(setup: &Setup) -> String {
    let folder = setup.home().join("bare");
    if !folder.exists() {
        fs::create_dir(&folder).unwrap();
        for program in ["sh", "sleep"] {
            std::os::unix::fs::symlink(Path::new("/bin").join(program), folder.join(program)).unwrap();
        }
    }
    folder.display().to_string()
}

struct Report {
    code: Option<i32>,
    said: Value,
}

fn doctor(setup: &Setup, args: &[&str]) -> Report {
    let store = setup.store().display().to_string();
    let output = iaid(setup, &[&["--json", "doctor", "--store", &store], args].concat());
    let said = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    Report { code: output.status.code(), said }
}

impl Report {
    /// Returns verdict and message of each finding of a check.
    fn of(&self, check: &str) -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let checks = self.said["checks"].as_array().expect("a list of checks");
        let own = checks.iter().filter(|one| one["check"] == check);
        own.map(|one| (text(&one["verdict"]), format!("{} -> {}", text(&one["what"]), text(&one["remedy"])))).collect()
    }

    /// Asserts that there is such a finding.
    fn has(&self, check: &str, verdict: &str, part: &str) {
        let found = self.of(check);
        assert!(
            found.iter().any(|(got, what)| got == verdict && what.contains(part)),
            "{check} {verdict} {part}: {found:?}"
        );
    }

    fn verdicts(&self) -> Vec<(String, String)> {
        let checks = self.said["checks"].as_array().expect("a list of checks");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        checks.iter().map(|one| (text(&one["check"]), text(&one["verdict"]))).collect()
    }
}

fn install(setup: &Setup) {
    let store = setup.store().display().to_string();
    let done = iaid(setup, &["install", "--claude-code", "--codex", "--yes", "--store", &store]);
    assert!(done.status.success(), "{done:?}");
}

/// Writes a recent last capture of both assistants.
fn used(setup: &Setup) {
    let folder = setup.store().join(".capture-state");
    private_folder(&folder);
    for name in ["claude-code", "codex"] {
        let now = jiff::Timestamp::now().to_string();
        let text = json!({"ts": now, "session_id": "s", "spooled": false, "user": now, "assistant": now});
        put(&folder.join(format!("last-{name}.json")), &text.to_string());
    }
}

fn private_folder(path: &Path) {
    fs::create_dir_all(path).unwrap();
    mode(path, 0o700);
}

fn put(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    mode(path, 0o600);
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns mode and content of all files in the home, except the database and its log, which every write changes, and the
/// daemon's log.
fn files(setup: &Setup) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let (mut files, mut folders) = (BTreeMap::new(), vec![setup.home().to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let about = fs::symlink_metadata(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            if about.is_dir() {
                folders.push(path);
            } else if about.is_file() && !name.starts_with("memory.db") && name != "log" {
                files.insert(path.clone(), (about.mode(), fs::read(&path).unwrap()));
            }
        }
    }
    files
}

/// Waits until the daemon has written its files. It accepts connections before it has opened the store, and answers before
/// its files are written.
fn settled(daemon: &Daemon) {
    daemon.status();
    let store = daemon.setup().store();
    until("its files are written", || store.join("lifecycle_state.json").exists() && store.join("logs").exists());
}

fn rows(daemon: &Daemon) -> Value {
    daemon.client().call("store_export", json!({}))["rows"].take()
}

#[test]
fn a_healthy_installation_passes_and_nothing_is_changed() {
    let daemon = setup();
    let setup = daemon.setup();
    daemon.client().call("memory_capture", json!({"text": "tea is at five, in the garden"}));
    install(setup);
    used(setup);
    bare(setup);
    settled(&daemon);
    let before = (rows(&daemon), files(setup), daemon.status()["pending_digest"].clone());
    let report = doctor(setup, &[]);
    assert_eq!(report.code, Some(0), "{}", report.said);
    // The free space of this disk does not depend on the daemon.
    let is_well = |(check, verdict): &(String, String)| verdict == "PASS" || check == "disk";
    assert!(report.verdicts().iter().all(is_well), "{}", report.said);
    let checks: Vec<String> = report.verdicts().into_iter().map(|(check, _)| check).collect();
    for check in [
        "daemon",
        "version",
        "socket",
        "round trip",
        "store",
        "sleep",
        "files",
        "disk",
        "state",
        "clients",
        "spool",
        "service",
        "claude-code",
        "codex",
    ] {
        assert!(checks.iter().any(|found| found == check), "{check}: {checks:?}");
    }
    report.has("store", "PASS", "intact: 1 record");
    report.has("claude-code", "PASS", "a hook runs and reaches the daemon");
    assert_eq!(report.said["fixed"], json!([]));
    assert_eq!((rows(&daemon), files(setup), daemon.status()["pending_digest"].clone()), before);
    let fixed = doctor(setup, &["--fix"]);
    assert_eq!((fixed.code, &fixed.said["fixed"]), (Some(0), &json!([])));
    assert_eq!(files(setup), before.1);
}

#[test]
fn each_finding_is_a_line_with_its_remedy() {
    let setup = Setup::new();
    let store = setup.store().display().to_string();
    let output = iaid(&setup, &["doctor", "--store", &store]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let mut lines = text.lines();
    let first = lines.next().unwrap();
    assert!(first.starts_with("FAIL  daemon        daemon_unreachable: there is no socket at"), "{text}");
    assert!(lines.next().unwrap().trim().starts_with("-> iaid serve"), "{text}");
    assert!(
        lines.all(|line| ["PASS  ", "WARN  ", "      "].iter().any(|begin| line.starts_with(begin))
            || line.ends_with("1 failed")),
        "{text}"
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("1 check failed"), "{error}");
    assert!(!setup.store().exists() && !setup.socket().exists());
}

#[test]
fn without_a_daemon_the_other_checks_run() {
    let mut daemon = setup();
    install(daemon.setup());
    used(daemon.setup());
    daemon.kill();
    let report = doctor(daemon.setup(), &[]);
    assert_eq!((report.code, &report.said["ok"]), (Some(1), &json!(false)));
    report.has("daemon", "FAIL", "no process listens on");
    report.has("daemon", "FAIL", "iaid serve");
    report.has("store", "WARN", "skipped: no daemon answers");
    report.has("claude-code", "WARN", "captures are deferred until the daemon runs");
    report.has("codex", "PASS", "the MCP server is");
    report.has("files", "PASS", "accessible only to you");
}

#[test]
fn a_stopped_daemon_is_reported_within_the_time_limit() {
    let daemon = setup();
    settled(&daemon);
    daemon.signal(19);
    let report = doctor(daemon.setup(), &[]);
    daemon.signal(18);
    assert_eq!(report.code, Some(1));
    report.has("daemon", "FAIL", "no reply on");
    report.has("daemon", "FAIL", &format!("kill -9 {}", daemon.pid()));
}

#[test]
fn fix_repairs_what_needs_no_decision_and_checks_again() {
    let daemon = setup();
    settled(&daemon);
    let (setup, store) = (daemon.setup(), daemon.setup().store());
    let (spool, wrappers) = (store.join(".deferred-captures"), store.join("wrappers"));
    private_folder(&spool);
    private_folder(&wrappers);
    put(&spool.join("s-9.failed-4000000000-attempt-1.jsonl"), "");
    let dead = "4194304";
    put(&wrappers.join(format!("heartbeat-{dead}-u.json")), "{}");
    let leftover = store.join(format!("lifecycle_state.json.tmp-{dead}"));
    put(&leftover, "{");
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::open(&leftover).unwrap().set_modified(old).unwrap();
    for (path, bits) in [(store.clone(), 0o755), (store.join("memory.db"), 0o644), (setup.socket(), 0o666)] {
        mode(&path, bits);
    }
    let before = files(setup);
    let report = doctor(setup, &[]);
    assert_eq!(report.code, Some(1));
    report.has("socket", "FAIL", "has mode 0666");
    report.has("files", "WARN", "has mode 0755");
    report.has("files", "FAIL", "such as");
    report.has("leftovers", "WARN", "lifecycle_state.json.tmp-");
    report.has("clients", "WARN", "heartbeat of process 4194304, which has ended");
    report.has("spool", "WARN", "s-9.failed-4000000000-attempt-1.jsonl could not be stored");
    assert_eq!(files(setup), before, "nothing is changed without --fix");

    let report = doctor(setup, &["--fix"]);
    assert_eq!(report.code, Some(0), "{}", report.said);
    assert_eq!(report.said["fixed"].as_array().unwrap().len(), 6, "{}", report.said);
    for check in ["socket", "files", "clients", "spool"] {
        assert!(report.of(check).iter().all(|(verdict, _)| verdict == "PASS"), "{check}: {}", report.said);
    }
    assert!(report.of("leftovers").is_empty() && !leftover.exists());
    let bits = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((bits(&store), bits(&store.join("memory.db")), bits(&setup.socket())), (0o700, 0o600, 0o600));
    daemon.client().call("memory_capture", json!({"text": "a record after all the fixes"}));
}

#[test]
fn what_needs_a_decision_is_only_reported() {
    let mut daemon = setup();
    daemon.client().ask(r#"{"type":"pause"}"#);
    doctor(daemon.setup(), &["--fix"]).has("sleep", "WARN", "iaid resume");
    daemon.kill();
    let (setup, store) = (daemon.setup(), daemon.setup().store());
    private_folder(&store.join(".deferred-captures"));
    put(&store.join(".deferred-captures/s.permanent-failed-1700.jsonl"), "no capture");
    put(&store.join(".deferred-captures/t-1700.jsonl"), "{\"version\":1}\niai:enc:v1:AAEC\n");
    put(&store.join(".deferred-captures/u.failed-1700-attempt-2.jsonl"), "iai:enc:v1:AAEC\n");
    put(&store.join(".daemon-state.json.bad-7"), "torn");
    put(&store.join("lifecycle_state.json"), "torn");
    private_folder(&setup.home().join(".claude"));
    put(&setup.home().join(".claude/settings.json"), "// no JSON");
    let before = files(setup);
    let report = doctor(setup, &["--fix"]);
    assert_eq!(report.code, Some(1));
    report.has("spool", "WARN", "s.permanent-failed-1700.jsonl was abandoned");
    for name in ["t-1700.jsonl", "u.failed-1700-attempt-2.jsonl"] {
        report.has("spool", "WARN", &format!("{name} has lines that iai-mcp encrypted (iai:enc:v1:)"));
        report.has("spool", "WARN", "let its daemon store it (iai-mcp daemon start), then iaid import --from");
    }
    report.has("state", "WARN", "lifecycle_state.json cannot be used");
    report.has("state", "WARN", ".daemon-state.json.bad-7");
    report.has("claude-code", "FAIL", "it is not JSON");
    report.has("claude-code", "WARN", "has no MCP server entry");
    assert_eq!((files(setup), &report.said["fixed"]), (before, &json!([])));
}

#[test]
fn a_failed_cycle_is_reported_with_and_without_a_daemon() {
    let mut daemon = setup();
    let store = daemon.setup().store();
    settled(&daemon);
    daemon.kill();
    let progress = json!({"attempt": 2, "failed_step": "decay", "last_error": "the disk is full"});
    let record = json!({"current_state": "WAKE", "sleep_cycle_progress": progress, "quarantine": null}).to_string();
    put(&store.join("lifecycle_state.json"), &record);
    doctor(daemon.setup(), &[]).has("sleep", "WARN", "step decay of the REM cycle failed: the disk is full");
    let quarantine = json!({"until_ts": "2999-01-01T00:00:00Z", "since_ts": "2026-01-01T00:00:00Z", "reason": "decay"});
    let record = json!({"current_state": "WAKE", "quarantine": quarantine}).to_string();
    put(&store.join("lifecycle_state.json"), &record);
    doctor(daemon.setup(), &[]).has("sleep", "WARN", "until 2999-01-01");
    daemon.restart();
    doctor(daemon.setup(), &[]).has("sleep", "WARN", "iaid rem");
}

#[test]
fn a_hook_that_does_not_work_is_reported() {
    let daemon = setup();
    let setup = daemon.setup();
    install(setup);
    let settings = setup.home().join(".claude/settings.json");
    let good = fs::read_to_string(&settings).unwrap();
    let program = env!("CARGO_BIN_EXE_iaid");
    let fake = setup.home().join("fake/iaid");
    fs::create_dir(fake.parent().unwrap()).unwrap();
    for (script, verdict, part) in [
        ("exit 3", "FAIL", "ended with exit status: 3"),
        ("echo rubbish", "WARN", "does not report its version"),
        (r#"echo '{"iaid_check":{"version":"0.0.1"}}'"#, "WARN", "the hooks have version 0.0.1"),
        ("exit 0", "WARN", "does not report"),
    ] {
        fs::write(&fake, format!("#!/bin/sh\n{script}\n")).unwrap();
        mode(&fake, 0o755);
        put(&settings, &good.replace(program, fake.to_str().unwrap()));
        doctor(setup, &[]).has("claude-code", verdict, part);
    }
    put(&settings, &good.replace(program, "/no/such/iaid"));
    doctor(setup, &[]).has("claude-code", "FAIL", "the hook `/no/such/iaid");
    put(&settings, &good.replace(setup.store().to_str().unwrap(), "/elsewhere"));
    doctor(setup, &[]).has("claude-code", "WARN", "/elsewhere, not");
    for (value, verdict, part) in [("true", "WARN", "so the assistant runs no hook"), ("false", "PASS", "a hook runs")]
    {
        put(&settings, &good.replacen('{', &format!("{{\"disableAllHooks\": {value},"), 1));
        doctor(setup, &[]).has("claude-code", verdict, part);
    }
    put(&settings, &good.replace("SessionStart", "Other"));
    doctor(setup, &[]).has("claude-code", "WARN", "has no hook for SessionStart");
    let servers = setup.home().join(".claude.json");
    put(&servers, &fs::read_to_string(&servers).unwrap().replace(program, "/no/such/iaid"));
    doctor(setup, &[]).has("claude-code", "FAIL", "which does not exist");
}

/// Returns a time this many hours ago.
fn hours_ago(hours: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() - hours * 3600).unwrap()
}

#[test]
fn the_captures_of_each_side_are_reported() {
    let daemon = setup();
    let setup = daemon.setup();
    install(setup);
    used(setup);
    let last = setup.store().join(".capture-state/last-claude-code.json");
    let long_ago = "2026-01-01T00:00:00Z";
    let (now, hour, days) = (hours_ago(0).to_string(), hours_ago(2).to_string(), hours_ago(50).to_string());
    for (user, assistant, verdict, part) in [
        (Some(&*now), Some(&*now), "PASS", "last captured: the user's words"),
        (Some(long_ago), Some(long_ago), "PASS", "last captured: the user's words"),
        (None, Some(&*now), "FAIL", "the user's words never, the assistant's"),
        (None, None, "WARN", "the user's words never, the assistant's never"),
        (Some(&*now), None, "PASS", "the assistant's never"),
        (Some(&*hour), None, "WARN", "the assistant's never"),
        (Some(&*days), Some(&*now), "WARN", "the user's words 2 d 2 h ago, the assistant's"),
        (Some(&*now), Some(&*days), "PASS", "the assistant's 2 d 2 h ago"),
        (Some(&*hour), Some(&*days), "WARN", "the assistant's 2 d 2 h ago"),
    ] {
        let ts = assistant.max(user).unwrap_or(long_ago);
        put(
            &last,
            &json!({"ts": ts, "session_id": "s", "spooled": true, "user": user, "assistant": assistant}).to_string(),
        );
        let report = doctor(setup, &[]);
        report.has("claude-code", verdict, part);
        report.has("claude-code", verdict, "deferred because no daemon was running");
        assert_eq!(report.code, Some(i32::from(verdict == "FAIL")), "{}", report.said);
    }
}

#[test]
fn transcripts_that_hooks_did_not_understand_are_reported() {
    let daemon = setup();
    let setup = daemon.setup();
    install(setup);
    used(setup);
    let put_offset = |name: &str, transcript: &str, (user, assistant, unknown): (u64, u64, u64)| {
        let text = json!({"session": name, "transcript": transcript, "cwd": null, "offset": 9, "check": 1,
            "user_turns": user, "assistant_turns": assistant, "unknown_lines": unknown});
        let path = setup.store().join(".capture-state").join(format!("{name}.offset"));
        put(&path, &text.to_string());
        path
    };
    put_offset("a", "/p/a.jsonl", (3, 2, 0));
    put_offset("b", "/p/b.jsonl", (1, 0, 0));
    assert!(!doctor(setup, &[]).said.to_string().contains("read by hooks"), "an answer may still be written");
    put_offset("c", "/p/c.jsonl", (1, 1, 2));
    put_offset("d", "/p/d.jsonl", (0, 4, 5));
    put_offset("e", "/p/rollout-e.jsonl", (0, 1, 0));
    let old = put_offset("f", "/p/f.jsonl", (0, 1, 1));
    let month_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(31 * 24 * 3600);
    fs::File::open(old).unwrap().set_modified(month_ago).unwrap();
    let report = doctor(setup, &[]);
    report.has("claude-code", "WARN", "2 transcripts read by hooks with 7 lines of unknown kinds that have text");
    report.has("claude-code", "WARN", "1 transcript read by hooks with turns of one side only");
    report.has("codex", "WARN", "1 transcript read by hooks with turns of one side only -> a newer iaid may know");
    assert!(!report.of("codex").iter().any(|(_, what)| what.contains("unknown kind")), "{}", report.said);
}

#[test]
fn a_session_that_no_hook_has_seen_is_reported_until_it_is_imported() {
    let daemon = setup();
    let setup = daemon.setup();
    install(setup);
    used(setup);
    let last = setup.store().join(".capture-state/last-claude-code.json");
    let (then, ago) = ("2026-01-01T00:00:00Z", std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 3600));
    put(&last, &json!({"ts": then, "session_id": "s", "spooled": false, "user": then, "assistant": then}).to_string());
    let session = "01a22959-366b-7062-aef3-2b0db66be2e9";
    let claude = setup.home().join(".claude/projects");
    let codex = setup.home().join(".codex/sessions/2026/11/29");
    let transcripts = [
        (
            claude.join("p").join(format!("{session}.jsonl")),
            json!({"type": "user", "sessionId": session, "message": {"content": "said while no hook ran"}}),
        ),
        (claude.join("p").join(session).join("agent-1.jsonl"), json!({"type": "user"})),
        (
            codex.join(format!("rollout-2026-11-29T22-07-22-{session}.jsonl")),
            json!({"type": "event_msg", "payload": {"type": "user_message", "message": "said to the other one"}}),
        ),
    ];
    for (path, line) in &transcripts {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{line}\n")).unwrap();
        fs::File::open(path).unwrap().set_modified(ago).unwrap();
    }
    // Transcripts in which nobody says anything that is captured.
    fs::write(claude.join("p/empty.jsonl"), "{\"type\":\"summary\",\"summary\":\"a title\"}\n").unwrap();
    let meta = json!({"type": "session_meta", "payload": {"id": "x", "source": {"subagent": "review"}}});
    let words =
        json!({"type": "event_msg", "payload": {"type": "user_message", "message": "said by a model to another"}});
    let other = codex.join(format!("rollout-2026-11-29T22-07-23-{}.jsonl", session.replace('0', "1")));
    fs::write(&other, format!("{meta}\n{words}\n")).unwrap();
    for path in [claude.join("p/empty.jsonl"), other] {
        fs::File::open(path).unwrap().set_modified(ago).unwrap();
    }
    let report = doctor(setup, &[]);
    report.has("claude-code", "WARN", "but a session continued until 2 h ago");
    report.has("claude-code", "WARN", "no hook has seen 1 of 2 sessions on disk, the newest from 2 h ago");
    report.has("claude-code", "WARN", &format!("-> iaid import {}", claude.display()));
    report.has("codex", "WARN", "no hook has seen 1 of 2 sessions on disk");
    let seen = setup.store().join(".capture-state").join(format!("{session}.offset"));
    put(&seen, "{}");
    assert!(!doctor(setup, &[]).said.to_string().contains("no hook has seen"), "an offset shows that a hook has run");
    fs::remove_file(seen).unwrap();
    assert!(iaid(setup, &["import", claude.to_str().unwrap()]).status.success());
    assert!(!doctor(setup, &[]).said.to_string().contains("no hook has seen"), "the session is in the memory");
}

#[test]
fn a_damaged_store_fails_with_a_remedy() {
    let daemon = setup();
    for n in 0..50 {
        daemon.client().call("memory_capture", json!({"text": format!("text number {n} of the store")}));
    }
    let other = Connection::open(daemon.setup().store().join("memory.db")).unwrap();
    let sql = "DROP TRIGGER record_is_written_once; UPDATE record SET text = 'another text' WHERE seq = 7";
    other.execute_batch(sql).unwrap();
    drop(other);
    let report = doctor(daemon.setup(), &[]);
    assert_eq!(report.code, Some(1));
    report.has("store", "FAIL", "fingerprint");
    report.has("store", "FAIL", "restore a backup: iaid restore FILE");
}

#[test]
fn a_daemon_of_another_release_is_reported() {
    let setup = Setup::new();
    let listener = UnixListener::bind(setup.socket()).unwrap();
    thread::spawn(move || {
        for peer in listener.incoming() {
            let peer = peer.unwrap();
            thread::spawn(move || answer_as_an_old_release(peer));
        }
    });
    let report = doctor(&setup, &[]);
    report.has("version", "WARN", "the daemon has version 0.0.1");
    report.has("round trip", "WARN", "too old for this check");
}

fn answer_as_an_old_release(peer: UnixStream) {
    let mut peer = BufReader::new(peer);
    let mut line = String::new();
    while peer.read_line(&mut line).is_ok_and(|count| count > 0) {
        let call: Value = serde_json::from_str(&line).unwrap();
        let id = &call["id"];
        let reply = match (call["type"].as_str(), call["method"].as_str()) {
            (Some("status"), _) => {
                json!({"ok": true, "fsm_state": "WAKE", "lifecycle_state": "WAKE", "version": "0.0.1", "uptime_sec": 1})
            }
            (_, Some("ping")) => json!({"jsonrpc": "2.0", "id": id, "result": {}}),
            _ => json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "unknown method"}}),
        };
        line.clear();
        peer.get_mut().write_all(format!("{reply}\n").as_bytes()).unwrap();
    }
}

#[test]
fn the_service_is_checked_in_each_state() {
    let daemon = setup();
    let setup = daemon.setup();
    let (bin, units) = (setup.home().join("bin"), setup.home().join(".config/systemd/user"));
    fs::create_dir(&bin).unwrap();
    fs::create_dir_all(&units).unwrap();
    let program = |name: &str, script: &str| {
        fs::write(bin.join(name), format!("#!/bin/sh\n{script}\n")).unwrap();
        mode(&bin.join(name), 0o755);
    };
    let unit = |program: &str| {
        fs::write(units.join("iaid.service"), format!("[Service]\nExecStart=\"{program}\" serve\n")).unwrap();
    };
    program("loginctl", "echo Linger=no");
    let runs = "case \"$*\" in *is-failed*) exit 1;; esac";
    program("systemctl", runs);
    doctor(setup, &[]).has("service", "PASS", "not set up");
    let socket = setup.socket().display().to_string();
    for (state, listens_at, verdict, said) in [
        ("inactive", &*socket, "PASS", "not set up"),
        ("active", &*socket, "PASS", "the administrator's iaid@kim.socket is listening"),
        ("active", "/run/iaid/kim.sock", "WARN", "export IAI_DAEMON_SOCKET_PATH=/run/iaid/kim.sock"),
    ] {
        program(
            "systemctl",
            &format!(
                "[ \"$*\" = 'show --property=ActiveState,Listen iaid@kim.socket' ] || exit 1
                echo 'Listen={listens_at} (Stream)'; echo 'ActiveState={state}'"
            ),
        );
        doctor(setup, &[]).has("service", verdict, said);
    }
    program("systemctl", runs);
    unit("/no/such/iaid");
    doctor(setup, &[]).has("service", "FAIL", "which does not exist");
    unit(env!("CARGO_BIN_EXE_iaid"));
    doctor(setup, &[]).has("service", "WARN", "loginctl enable-linger");
    program("loginctl", "echo Linger=yes");
    doctor(setup, &[]).has("service", "PASS", "the service is listening and starts");
    program("systemctl", "exit 0");
    doctor(setup, &[]).has("service", "FAIL", "iaid install --service leaves out what does not work");
    program("systemctl", "case \"$2\" in is-enabled|is-failed) exit 1;; esac");
    doctor(setup, &[]).has("service", "WARN", "not enabled for the next login");
    program("systemctl", "case \"$2\" in is-active|is-failed) exit 1;; esac");
    doctor(setup, &[]).has("service", "FAIL", "systemctl --user enable --now iaid.socket");
    program("systemctl", "echo 'Failed to connect to bus' >&2; exit 1");
    doctor(setup, &[]).has("service", "WARN", "Failed to connect to bus");
}

#[test]
fn named_pipes_in_place_of_files_do_not_block() {
    let mut daemon = setup();
    daemon.kill();
    let store = daemon.setup().store();
    for name in [".daemon-state.json", "lifecycle_state.json", ".capture-state/last-codex.json"] {
        private_folder(store.join(name).parent().unwrap());
        drop(fs::remove_file(store.join(name)));
        assert!(Command::new("mkfifo").arg(store.join(name)).status().unwrap().success());
    }
    private_folder(&daemon.setup().home().join(".codex"));
    let report = doctor(daemon.setup(), &[]);
    report.has("state", "WARN", "not a regular file");
}
