//! Export, import, backup and check, through the program.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::harness::{Daemon, SetOnDrop, Setup, finish, setup, until};

/// Runs a command that must succeed, and returns its standard output.
fn ok(daemon: &Daemon, args: &[&str]) -> String {
    let output = daemon.run(args);
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}

fn counts(daemon: &Daemon, file: &Path) -> Value {
    let output = daemon.run(&["--json", "import", path(file)]);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)))
}

fn imported(new: u64, known: u64) -> Value {
    json!({"files": 1, "unreadable": 0, "new": new, "known": known, "refused": 0})
}

/// Fills the store with rows of each kind.
fn fill(daemon: &Daemon) {
    let mut client = daemon.client();
    let texts = [
        "plain text in English".to_owned(),
        "Жили-были старик со старухой".into(),
        "東京では雨が降っています、たぶん。".into(),
        "مرحبا بالعالم كيف حالك".into(),
        "e\u{301} is not \u{e9}, and \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} is one".into(),
        "  \t white \r\n space \u{a0}\u{2028}\u{3000} kept  \n\n".into(),
        "a \u{0} NUL, a \u{1b}[31m sequence, a \u{7f}, \"quotes\" and \\ slashes".into(),
        "x".repeat(65_536),
        "\u{1}".repeat(65_536),
    ];
    let mut ids = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let session = format!("session {}", at % 2);
        let got = client.call(
            "memory_capture",
            json!({"text": text, "session_id": session, "project": "/home/x/ü", "cue": "cue \"1\"",
                "tier": (["episodic", "semantic", "working"][at % 3]), "role": (["user", "assistant", "system"][at % 3]),
                "ts": format!("20{at:02}-02-28T23:59:59.{at}00001+09:00")}),
        );
        ids.push(got["record_id"].clone());
    }
    client.call("memory_capture", json!({"text": "the first part of two", "part": 1, "parts": 2}));
    for fact in ["a new fact", "a newer fact", "a newer fact"] {
        client.call("memory_contradict", json!({"id": ids[0], "new_fact": fact}));
    }
    client.call("memory_reinforce", json!({"ids": &ids[1..4]}));
    client.call("profile_set", json!({"knob": "literal_preservation", "value": "loose"}));
    client.call("profile_set", json!({"knob": "monotropism_depth", "value": {"tea": 0.5, "a \"b\"": 1}}));
}

#[test]
fn an_imported_export_is_exported_again_byte_for_byte() {
    let (one, other) = (setup(), setup());
    fill(&one);
    let folder = tempfile::tempdir().expect("a folder");
    let [first, second, third] = ["1", "2", "3"].map(|name| folder.path().join(name));
    ok(&one, &["export", path(&first)]);
    let bytes = fs::read(&first).expect("it is there");
    let rows = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
    for kind in ["record", "tag", "link", "event", "knob"] {
        assert!(String::from_utf8_lossy(&bytes).contains(&format!("{{\"kind\":\"{kind}\"")), "no {kind}");
    }
    assert_eq!(ok(&one, &["export"]).into_bytes(), bytes);

    assert_eq!(counts(&other, &first), imported(rows, 0));
    ok(&other, &["export", path(&second)]);
    assert!(fs::read(&second).expect("it is there") == bytes, "the second export differs");
    assert_eq!(counts(&other, &first), imported(0, rows));
    assert_eq!(counts(&one, &first), imported(0, rows));
    ok(&other, &["export", path(&third)]);
    assert!(fs::read(&third).expect("it is there") == bytes, "importing again has changed the store");
    let check = other.client().call("store_check", json!({}));
    assert_eq!((&check["ok"], &check["problems"]), (&json!(true), &json!([])));
    let found = other.client().call("memory_recall", json!({"cue": "старухой"}));
    assert_eq!(found["hits"][0]["literal_surface"], "Жили-были старик со старухой");
}

#[test]
fn an_import_repeated_after_a_kill_has_the_same_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("rows.ndjson");
    let lines: String = (0..6000)
        .map(|n| {
            let row = json!({"kind": "record", "id": format!("0192f0c1-0000-7000-8000-{n:012x}"),
                "ts": "2024-05-06T07:08:09Z", "text": format!("row number {n} of a long import, with words {}", n % 17)});
            format!("{row}\n")
        })
        .collect();
    fs::write(&file, &lines).expect("it can be written");
    let undisturbed = setup();
    assert_eq!(counts(&undisturbed, &file), imported(6000, 0));
    for enough in [1, 700, 3000] {
        let mut daemon = setup();
        let mut command = daemon.setup().program();
        command.arg("--socket").arg(daemon.setup().socket()).arg("import").arg(&file);
        let import = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        until("some rows are in", || daemon.status()["records"].as_u64() >= Some(enough));
        daemon.kill_and_restart();
        // It goes on with the restarted daemon, or has failed.
        finish(import);
        let again = counts(&daemon, &file);
        assert_eq!(
            (again["new"].as_u64().unwrap() + again["known"].as_u64().unwrap(), &again["refused"]),
            (6000, &json!(0))
        );
        assert!(ok(&daemon, &["export"]) == ok(&undisturbed, &["export"]), "killed after {enough}");
    }
}

fn transcript_line(kind: &str, content: Value) -> String {
    json!({"type": kind, "sessionId": "s-1", "cwd": "/home/x/p", "timestamp": "2025-06-01T10:11:12.345Z",
        "message": {"role": kind, "content": content}})
    .to_string()
}

#[test]
fn a_folder_of_transcripts_and_other_files_is_imported_and_wrong_lines_are_named() {
    let daemon = setup();
    let folder = tempfile::tempdir().expect("a folder");
    let project = folder.path().join("projects/-home-x-p");
    fs::create_dir_all(&project).expect("a folder");
    let said = [
        transcript_line("user", json!("How do I sort a list of numbers?")),
        transcript_line(
            "assistant",
            json!([{"type": "thinking", "thinking": "secret thoughts of it"},
                {"type": "text", "text": "With the method sort_unstable.\n"},
                {"type": "tool_use", "name": "Bash", "input": {"command": "secret command"}}]),
        ),
        transcript_line(
            "user",
            json!([{"type": "tool_result", "content": [{"type": "text", "text": "secret output"}]}]),
        ),
        transcript_line("user", json!(null)),
        "{\"type\":\"user\"}".into(),
        "{\"type\":\"progress\",\"data\":[1]}".into(),
    ];
    let answer: String = (0..5000).map(|n| format!("line {n:04} of a very long answer\n")).collect();
    let long = transcript_line("assistant", json!(answer));
    let half = transcript_line("user", json!("a line that is still being written"));
    let text = format!(
        "\u{feff}{{\"type\":\"summary\",\"summary\":\"x\"}}\r\n\r\n{}\r\n{long}\n{}",
        said.join("\r\n"),
        &half[..half.len() - 9]
    );
    fs::write(project.join("s-1.jsonl"), text).expect("it can be written");
    let memory = "{\"type\":\"entity\",\"name\":\"Anna\",\"entityType\":\"person\",\"observations\":[\"likes tea\",\"has a cat\"]}\n\
                  {\"type\":\"relation\",\"from\":\"Anna\",\"to\":\"Bern\",\"relationType\":\"lives in\"}";
    fs::write(folder.path().join("memory.jsonl"), memory).expect("it can be written");
    fs::write(folder.path().join("empty.jsonl"), "").expect("it can be written");
    fs::write(folder.path().join("notes.txt"), "not meant").expect("it can be written");

    let all = ["--json", "import", path(folder.path())];
    let line = answer.len() / 5000;
    let parts = 5000_usize.div_ceil(65_536 / line) as u64;
    let want = |new: u64, known: u64| {
        format!("{}\n", json!({"files": 3, "unreadable": 0, "new": new, "known": known, "refused": 0}))
    };
    assert_eq!(ok(&daemon, &all), want(5 + parts, 0));
    assert_eq!(ok(&daemon, &all), want(0, 5 + parts));
    let rows = ok(&daemon, &["export"]);
    assert!(!rows.contains("secret"), "{rows}");
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |text: &str| rows.iter().find(|row| row["text"] == text).unwrap_or_else(|| panic!("no {text}"));
    let record = of("With the method sort_unstable.\n");
    assert_eq!(
        (&record["role"], &record["session_id"], &record["project"], &record["ts"]),
        (&json!("assistant"), &json!("s-1"), &json!("/home/x/p"), &json!("2025-06-01T10:11:12.345Z"))
    );
    assert_eq!(
        (&of("Anna: likes tea")["tier"], &of("Anna lives in Bern")["tier"]),
        (&json!("semantic"), &json!("semantic"))
    );
    let whole: String = rows
        .iter()
        .filter(|row| row["parts"].as_u64() == Some(parts))
        .map(|row| row["text"].as_str().unwrap())
        .collect();
    assert!(whole == answer, "the parts are not the whole");

    // Wrong lines and files are named, and the right lines between them are imported.
    fs::write(folder.path().join("noise.jsonl"), [0xff, 0xfe, b'\n', 7]).expect("it can be written");
    let mixed = "{\"kind\":\"record\",\"text\":\"one more record of these\"}\n{\"kind\":\"record\"\n{\"kind\":\"record\",\"text\":5}\n[]\n{\"kind\":\"record\",\"text\":\"and the last of them all\"}";
    fs::write(folder.path().join("mixed.ndjson"), mixed).expect("it can be written");
    let output = daemon.run(&all);
    let want = json!({"files": 4, "unreadable": 1, "new": 2, "known": 5 + parts, "refused": 3});
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), want);
    assert_eq!(output.status.code(), Some(1));
    let output = daemon.run(&["import", path(folder.path())]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "mixed.ndjson, line 2: not JSON",
        "mixed.ndjson, line 3: param 'text'",
        "mixed.ndjson, line 4: not a JSON object",
        "noise.jsonl: unknown format",
        "3 rows were refused and 1 file could not be read",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(daemon.run(&["import", "/nowhere/at/all"]).status.code(), Some(1));
}

#[test]
fn a_backup_made_under_load_has_every_acknowledged_capture() {
    let daemon = setup();
    let copy = Setup::new();
    fs::create_dir(copy.store()).expect("a folder");
    let target = copy.store().join("memory.db");
    let (done, capture) = (AtomicBool::new(false), "memory_capture");
    let acknowledged = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (mut client, done) = (daemon.client(), &done);
                scope.spawn(move || {
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        let text = format!("writer {writer} wrote number {count} {}", "and much more ".repeat(100));
                        client.call(capture, json!({"text": text}));
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        let stop_writers = SetOnDrop(&done);
        until("there is something to copy", || daemon.status()["records"].as_u64() >= Some(400));
        let mut client = daemon.client();
        let last = client.call(capture, json!({"text": "the last text before the backup"}))["record_id"].clone();
        let before = daemon.status()["records"].as_u64().expect("a count");
        let said = ok(&daemon, &["--json", "backup", path(&target)]);
        let bytes = serde_json::from_str::<Value>(&said).expect("JSON")["bytes"].as_u64();
        assert_eq!(bytes, fs::metadata(&target).ok().map(|found| found.len()));
        let after = daemon.status()["records"].as_u64().expect("a count");
        drop(stop_writers);
        let written: u64 = writers.into_iter().map(|writer| writer.join().expect("it wrote")).sum();
        assert!(written > 0 && after >= before);
        (last, before)
    });
    let refused = daemon.run(&["backup", path(&target)]);
    assert!(!refused.status.success() && said(&refused).contains("does not exist yet"), "{}", said(&refused));

    let other = copy.start();
    let (last, before) = acknowledged;
    let records = other.status()["records"].as_u64().expect("a count");
    assert!(records >= before, "only {records} of {before} records are in the copy");
    let found = other.client().call("memory_recall", json!({"cue": "the \"last text before the backup\""}));
    assert_eq!(found["hits"][0]["record_id"], last);
    let check = other.client().call("store_check", json!({}));
    assert_eq!((&check["ok"], &check["records"]), (&json!(true), &json!(records)), "{check}");
    let (mine, theirs) = (ok(&other, &["export"]), ok(&daemon, &["export"]));
    let mine: Vec<&str> = mine.lines().filter(|line| line.starts_with("{\"kind\":\"record\"")).collect();
    assert_eq!(mine.len() as u64, records);
    assert!(theirs.lines().zip(&mine).all(|(theirs, mine)| theirs == *mine), "the copy has other records");
}
