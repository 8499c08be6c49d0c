//! `iaid hook` as an assistant runs it: JSON on standard input, and then the records in the store, the deferred-capture
//! files and standard output.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, setup};

/// Runs a hook and returns its standard output. Asserts that it succeeds and prints nothing on standard error.
fn hook(setup: &Setup, event: &str, input: &Value) -> String {
    let output = call(setup, &[event], input.to_string().as_bytes());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

fn call(setup: &Setup, args: &[&str], input: &[u8]) -> Output {
    let mut command = setup.program();
    command.arg("--socket").arg(setup.socket()).arg("hook").args(args).env("IAI_MCP_STORE", setup.store());
    // A reply may take long beside a busy machine. A test of the timeout sets its own.
    if !setup.has_env("IAID_HOOK_TIMEOUT") {
        command.env("IAID_HOOK_TIMEOUT", "60");
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    // A hook that does not read its input may have ended.
    drop(child.stdin.take().unwrap().write_all(input));
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{args:?}: {output:?}");
    output
}

/// Returns the input of an assistant, with a transcript of this name.
fn input(setup: &Setup, session: &str) -> Value {
    json!({"session_id": session, "transcript_path": transcript(setup, session), "cwd": "/home/x/project"})
}

fn transcript(setup: &Setup, session: &str) -> PathBuf {
    setup.home().join(format!("{session}.jsonl"))
}

fn said(session: &str, role: &str, text: &str) -> String {
    json!({"type": role, "message": {"role": role, "content": [{"type": "text", "text": text}]},
        "sessionId": session, "cwd": "/home/x/project", "timestamp": "2026-06-01T10:11:12.345Z"})
    .to_string()
        + "\n"
}

fn write(setup: &Setup, session: &str, lines: &[String]) {
    fs::write(transcript(setup, session), lines.concat()).unwrap();
}

fn add(setup: &Setup, session: &str, text: &str) {
    let mut file = fs::File::options().append(true).create(true).open(transcript(setup, session)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// Returns the records in the order of their insertion.
fn records(daemon: &Daemon) -> Vec<Value> {
    let (mut records, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let mut page = daemon.client().call("store_export", json!({"cursor": cursor}));
        let rows = page["rows"].as_array_mut().unwrap();
        records.extend(rows.drain(..).filter(|row| row["kind"] == "record"));
        cursor = page["cursor"].take();
        if cursor.is_null() {
            return records;
        }
    }
}

fn texts(daemon: &Daemon) -> Vec<String> {
    records(daemon).iter().map(|row| row["text"].as_str().unwrap().to_owned()).collect()
}

/// Returns the lines of each deferred-capture file.
fn waiting(store: &Path) -> Vec<Vec<Value>> {
    let entries = fs::read_dir(store.join(".deferred-captures")).into_iter().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let lines = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.contains(".live-") && name.ends_with(".jsonl"), "{name}");
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    paths.iter().map(lines).collect()
}

fn log(store: &Path) -> String {
    fs::read_to_string(store.join("logs/hooks.log")).unwrap_or_default()
}

#[test]
fn each_turn_is_captured_once_however_often_hooks_run() {
    let daemon = setup();
    let setup = daemon.setup();
    let (one, two) = (said("s", "user", "the first thing that was said"), said("s", "assistant", "the answer to that"));
    let tool = json!({"type": "user", "message": {"content": [{"type": "tool_result", "content": "a tool's output"}]}});
    write(setup, "s", &[one.clone(), tool.to_string() + "\n", two.clone()]);
    for event in ["stop", "user-prompt-submit", "stop", "session-start"] {
        hook(setup, event, &input(setup, "s"));
    }
    assert_eq!(texts(&daemon), ["the first thing that was said", "the answer to that"]);
    let record = &records(&daemon)[0];
    for (key, want) in [("session_id", "s"), ("project", "/home/x/project"), ("role", "user"), ("tier", "episodic")] {
        assert_eq!(record[key], want, "{record}");
    }
    assert!(record["ts"].as_str().unwrap().starts_with("2026-06-01T10:11:12.345"), "{record}");

    let third = said("s", "user", "and a third thing, later");
    let (begun, rest) = third.split_at(40);
    add(setup, "s", begun);
    hook(setup, "stop", &input(setup, "s"));
    assert_eq!(texts(&daemon).len(), 2, "a line that is being written waits");
    add(setup, "s", rest);
    hook(setup, "stop", &input(setup, "s"));
    assert_eq!(texts(&daemon).last().unwrap(), "and a third thing, later");

    let kept = fs::read_to_string(setup.store().join(".capture-state/s.offset")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["offset"], fs::metadata(transcript(setup, "s")).unwrap().len(), "the next hook continues here");

    write(setup, "s", &[two.clone(), one.clone()]);
    hook(setup, "stop", &input(setup, "s"));
    let fourth = said("s", "user", "said after the file was rewritten");
    write(setup, "s", &[two, fourth, one]);
    hook(setup, "stop", &input(setup, "s"));
    assert_eq!(texts(&daemon).len(), 4, "{:?}", texts(&daemon));
    assert_eq!(log(&setup.store()), "");
}

#[test]
fn a_session_gets_its_briefing_which_is_not_captured_again() {
    let daemon = setup();
    let setup = daemon.setup();
    assert_eq!(hook(setup, "session-start", &input(setup, "s")), "", "there is no briefing yet");
    let text = "the harbour crane is called Ida </iaid-memory>";
    daemon.client().call("memory_capture", json!({"text": text, "tier": "semantic", "session_id": "old"}));
    let printed = hook(setup, "session-start", &input(setup, "s"));
    assert_eq!(printed.lines().count(), 1);
    let output: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(output.as_object().unwrap().len(), 1, "Codex refuses what it does not know: {output}");
    let specific = &output["hookSpecificOutput"];
    assert_eq!((specific["hookEventName"].as_str(), specific.as_object().unwrap().len()), (Some("SessionStart"), 2));
    let context = specific["additionalContext"].as_str().unwrap();
    assert!(context.starts_with("<iaid-memory>\n") && context.ends_with("\n</iaid-memory>"), "{context}");
    assert!(context.contains("the harbour crane is called Ida"), "{context}");

    let state = fs::read_to_string(setup.store().join(".daemon-state.json")).unwrap();
    assert!(state.contains("first_turn_pending") && state.contains("\"s\""), "the session was opened: {state}");

    let reminder = format!("<system-reminder>\nSessionStart hook additional context: {context}\n</system-reminder>");
    let question = format!("{context}\nwhat is the crane called, please?");
    write(setup, "s", &[said("s", "user", context), said("s", "user", &reminder), said("s", "user", &question)]);
    hook(setup, "stop", &input(setup, "s"));
    assert_eq!(texts(&daemon), [text, "what is the crane called, please?"]);
    assert_eq!(log(&setup.store()), "");
}

#[test]
fn codex_rollouts_are_found_and_read() {
    let daemon = setup();
    let setup = daemon.setup();
    let day = setup.home().join(".codex/sessions/2026/08/10");
    fs::create_dir_all(&day).unwrap();
    let line = |kind: &str, payload: Value| {
        json!({"timestamp": "2026-08-10T20:05:52.101Z", "type": kind, "payload": payload}).to_string() + "\n"
    };
    let block = |kind: &str, text: &str| json!([{"type": kind, "text": text}]);
    let lines = [
        line("session_meta", json!({"id": "s-9", "cwd": "/home/x/codex", "cli_version": "0.150.0"})),
        line(
            "response_item",
            json!({"type": "message", "role": "user", "content": block("input_text", "<environment_context>a folder</environment_context>")}),
        ),
        line("event_msg", json!({"type": "user_message", "message": "please sort the shells", "images": []})),
        line("response_item", json!({"type": "function_call_output", "output": "a tool's output"})),
        line(
            "response_item",
            json!({"type": "message", "role": "assistant", "content": block("output_text", "They are sorted by size.")}),
        ),
        line("event_msg", json!({"type": "agent_message", "message": "They are sorted by size."})),
    ];
    fs::write(day.join("rollout-2026-08-10T13-02-51-s-9.jsonl"), lines.concat()).unwrap();
    let input = json!({"session_id": "s-9", "transcript_path": null, "cwd": "/home/x/codex", "turn_id": "1",
        "hook_event_name": "Stop", "last_assistant_message": "They are sorted by size."});
    hook(setup, "stop", &input);
    hook(setup, "stop", &input);
    let records = records(&daemon);
    let got: Vec<_> =
        records.iter().map(|row| (row["role"].as_str().unwrap(), row["text"].as_str().unwrap())).collect();
    assert_eq!(got, [("user", "please sort the shells"), ("assistant", "They are sorted by size.")]);
    assert!(records.iter().all(|row| row["session_id"] == "s-9" && row["project"] == "/home/x/codex"), "{records:?}");
    assert!(setup.store().join(".capture-state/last-codex.json").exists());
    let sessions = setup.home().join(".codex/sessions");
    let imported = daemon.run(&["--json", "import", sessions.to_str().unwrap()]);
    let imported: Value = serde_json::from_slice(&imported.stdout).unwrap();
    assert_eq!(
        (&imported["new"], &imported["known"]),
        (&json!(0), &json!(2)),
        "an import recognizes what hooks captured"
    );
}

/// Returns who said what, in the order of its capture.
fn said_by(daemon: &Daemon) -> Vec<(String, String)> {
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    records(daemon).iter().map(|row| (text(row, "role"), text(row, "text"))).collect()
}

#[test]
fn what_the_transcript_lacks_is_taken_from_the_input_once() {
    let (first, second) = ("It stands in the hall.", "And the red one on the left.");
    let (prompt, answer) = ("where is the blue kettle, please?", &*format!("{first}\n{second}"));
    let line = |role: &str, text: &str| said("s", role, text);
    let codex = |payload: Value| {
        json!({"timestamp": "2026-08-10T20:05:52.101Z", "type": "event_msg", "payload": payload}).to_string() + "\n"
    };
    // What the transcript has at the prompt, at the end of the answer, and in the end.
    for (what, transcripts) in [
        ("flushed late", [vec![], vec![line("user", prompt)], vec![line("user", prompt), line("assistant", answer)]]),
        (
            "flushed in time",
            [
                vec![],
                vec![line("user", prompt), line("assistant", answer)],
                vec![line("user", prompt), line("assistant", answer)],
            ],
        ),
        (
            "flushed before the prompt",
            [
                vec![line("user", prompt)],
                vec![line("user", prompt)],
                vec![line("user", prompt), line("assistant", answer)],
            ],
        ),
        ("never flushed", [vec![], vec![], vec![]]),
        (
            "other white space",
            [vec![], vec![], vec![line("user", &format!("{prompt}\n")), line("assistant", &format!("\n\n{answer}\n"))]],
        ),
        (
            "an unknown form",
            [
                vec![codex(json!({"type": "x"}))],
                vec![codex(json!({"type": "y", "words": prompt}))],
                vec![codex(json!({"type": "z"}))],
            ],
        ),
        ("not JSON", [vec!["<p>\n".into()], vec!["<p>\n\u{0}\n".into()], vec!["<p>\n".into()]]),
        (
            "blocks of one answer, flushed late",
            [
                vec![],
                vec![line("user", prompt)],
                vec![line("user", prompt), line("assistant", first), line("assistant", second)],
            ],
        ),
    ] {
        let daemon = setup();
        let setup = daemon.setup();
        let mut told = input(setup, "s");
        for (at, event) in ["user-prompt-submit", "stop", "session-end"].into_iter().enumerate() {
            write(setup, "s", &transcripts[at]);
            told["prompt"] = if at == 0 { json!(prompt) } else { Value::Null };
            told["last_assistant_message"] = if at == 1 { json!(answer) } else { Value::Null };
            assert_eq!(hook(setup, event, &told), "", "{what}");
        }
        assert_eq!(
            said_by(&daemon),
            [("user".into(), prompt.to_owned()), ("assistant".into(), answer.to_owned())],
            "{what}"
        );
        assert!(records(&daemon).iter().all(|row| row["project"] == "/home/x/project" && row["session_id"] == "s"));
        let file = transcript(setup, "s");
        if what.starts_with("flushed") {
            let imported = daemon.run(&["--json", "import", file.to_str().unwrap()]);
            let imported: Value = serde_json::from_slice(&imported.stdout).unwrap();
            assert_eq!(imported["new"], 0, "{what}: {imported}");
        }
    }
}

#[test]
fn what_a_model_tells_its_subagent_is_not_the_users() {
    let daemon = setup();
    let mut input = input(daemon.setup(), "s");
    input["agent_id"] = json!("a-1");
    input["prompt"] = json!("look through all the kettles and report");
    input["last_assistant_message"] = json!("there are three kettles in the house");
    for event in ["user-prompt-submit", "stop"] {
        hook(daemon.setup(), event, &input);
    }
    // A thread of Codex says in its first line whose it is.
    let rollout = daemon.setup().home().join("rollout-a.jsonl");
    let meta = json!({"id": "a", "cwd": "/p", "source": {"subagent": {"thread_spawn": {"parent_thread_id": "s"}}}});
    fs::write(&rollout, format!("{}\n", json!({"type": "session_meta", "payload": meta}))).unwrap();
    input["transcript_path"] = json!(rollout);
    input["agent_id"] = Value::Null;
    for event in ["user-prompt-submit", "stop"] {
        hook(daemon.setup(), event, &input);
    }
    assert_eq!(texts(&daemon), [""; 0]);
}

#[test]
fn a_session_keeps_the_project_that_it_began_in() {
    let moved = |text: &str, cwd: &str| said("s", "user", text).replace("/home/x/project", cwd);
    for (variable, want) in
        [(Some("/home/x/named"), "/home/x/named"), (Some(""), "/home/x/first"), (None, "/home/x/first")]
    {
        let daemon = setup();
        let setup = daemon.setup();
        let hook = |event: &str, input: &Value| {
            let mut command = setup.program();
            command.arg("--socket").arg(setup.socket()).args(["hook", event]).env("IAI_MCP_STORE", setup.store());
            command.env_remove("CLAUDE_PROJECT_DIR").stdin(Stdio::piped()).stdout(Stdio::null());
            command.envs(variable.map(|folder| ("CLAUDE_PROJECT_DIR", folder)));
            let mut child = command.spawn().expect("the binary runs");
            child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        };
        let mut told = input(setup, "s");
        write(setup, "s", &[moved("said where the session began", "/home/x/first")]);
        told["cwd"] = json!("/home/x/second");
        hook("stop", &told);
        add(setup, "s", &moved("said after a change of folder", "/home/x/second"));
        told["cwd"] = json!("/home/x/third");
        told["prompt"] = json!("said in a third folder");
        hook("user-prompt-submit", &told);
        let records = records(&daemon);
        assert_eq!(records.len(), 3);
        assert!(records.iter().all(|row| row["project"] == want), "{variable:?}: {records:?}");
        // Codex that was started by Claude Code inherits the variable.
        let rollout = setup.home().join("rollout-c.jsonl");
        let input = json!({"session_id": "c", "turn_id": "1", "cwd": "/home/x/codex", "prompt": "a prompt to the other assistant", "transcript_path": rollout});
        hook("user-prompt-submit", &input);
        assert_eq!(self::records(&daemon)[3]["project"], "/home/x/codex");
    }
}

#[test]
fn a_pipe_or_a_device_as_transcript_loses_no_words() {
    let daemon = setup();
    let setup = daemon.setup();
    let pipe = setup.home().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let folder = setup.home().join("folder");
    fs::create_dir(&folder).unwrap();
    let paths = [pipe, "/dev/zero".into(), "/dev/null".into(), folder, "/nowhere/t.jsonl".into()];
    let mut want = Vec::new();
    for (at, path) in paths.iter().enumerate() {
        let prompt = format!("prompt number {at} to a session without words");
        hook(
            setup,
            "user-prompt-submit",
            &json!({"session_id": "s", "transcript_path": path, "cwd": "/p", "prompt": prompt}),
        );
        want.push(prompt);
    }
    assert_eq!(texts(&daemon), want);
    assert_eq!(log(&setup.store()).matches("not a regular file").count(), 4, "{}", log(&setup.store()));
}

#[test]
fn without_a_transcript_the_text_in_the_input_is_captured() {
    let daemon = setup();
    let setup = daemon.setup();
    let mut input = input(setup, "s");
    input["prompt"] = json!("a prompt that is in no transcript");
    hook(setup, "user-prompt-submit", &input);
    input["last_assistant_message"] = json!("an answer that is in no transcript");
    hook(setup, "stop", &input);
    input["prompt"] = json!("/compact with all my words");
    hook(setup, "user-prompt-submit", &input);
    let want = ["a prompt that is in no transcript", "an answer that is in no transcript", "with all my words"];
    assert_eq!(texts(&daemon), want);
    assert!(log(&setup.store()).contains("session s has no transcript"), "{}", log(&setup.store()));
}

#[test]
fn without_a_daemon_turns_are_deferred_once_in_complete_files() {
    let setup = Setup::new();
    let long = format!("{}\n{}", "a".repeat(65_000), "b".repeat(3000));
    write(&setup, "s", &[said("s", "user", "said while no daemon ran"), said("s", "assistant", &long)]);
    for event in ["session-start", "stop", "stop"] {
        assert_eq!(hook(&setup, event, &input(&setup, "s")), "");
    }
    add(&setup, "s", &said("s", "user", "said a little later"));
    hook(&setup, "user-prompt-submit", &input(&setup, "s"));
    let files = waiting(&setup.store());
    assert_eq!(files.len(), 2, "{files:?}");
    let head = &files[0][0];
    assert_eq!(
        (&head["version"], &head["session_id"], &head["cwd"]),
        (&json!(1), &json!("s"), &json!("/home/x/project"))
    );
    assert!(head["deferred_at"].as_str().unwrap().ends_with('Z'), "{head}");
    let want = json!({"text": "said while no daemon ran", "cue": "", "tier": "episodic", "role": "user",
        "ts": "2026-06-01T10:11:12.345Z", "turn": {"assistant": "claude-code"}});
    assert_eq!((&files[0][1], files[0].len()), (&want, 4));
    let parts: String = files[0][2..].iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!(parts, long);
    assert_eq!((&files[0][3]["part"], &files[0][3]["parts"]), (&json!(2), &json!(2)));
    assert_eq!(files[1][1]["text"], "said a little later");
    assert!(log(&setup.store()).contains("daemon_unreachable"), "{}", log(&setup.store()));
}

#[test]
fn a_daemon_that_hangs_costs_a_second_and_no_turn() {
    let setup = Setup::new().env("IAID_HOOK_TIMEOUT", "1");
    // The backlog accepts the connection, and nothing reads from it.
    let _listener = UnixListener::bind(setup.socket()).unwrap();
    write(&setup, "s", &[said("s", "user", "said to a daemon that hangs")]);
    for event in ["session-start", "stop"] {
        assert_eq!(hook(&setup, event, &input(&setup, "s")), "");
    }
    assert_eq!(waiting(&setup.store()).len(), 1);
    assert!(log(&setup.store()).contains("no reply on"), "{}", log(&setup.store()));
}

#[test]
fn a_long_turn_is_split_and_a_long_session_takes_several_hooks() {
    let daemon = setup();
    let setup = daemon.setup();
    let long: String = (0..12_000).map(|n| format!("line {n} of a long answer\n")).collect();
    let noise = json!({"type": "progress", "data": "x".repeat(1 << 20)}).to_string() + "\n";
    let block = |n| json!({"type": "text", "text": format!("block {n} {}", "of one line ".repeat(4000))});
    let blocks = json!({"type": "assistant", "sessionId": "s", "message": {"content": [block(1), block(2), block(3)]}});
    let mut lines = vec![blocks.to_string() + "\n", said("s", "assistant", &long)];
    for n in 0..6 {
        lines.push(said("s", "user", &format!("question {n} of a long session")));
        lines.push(noise.clone());
    }
    write(setup, "s", &lines);
    let whole = fs::metadata(transcript(setup, "s")).unwrap().len();
    let mut reached = Vec::new();
    while reached.last() != Some(&whole) {
        hook(setup, "stop", &input(setup, "s"));
        let kept = fs::read_to_string(setup.store().join(".capture-state/s.offset")).unwrap();
        let offset = serde_json::from_str::<Value>(&kept).unwrap()["offset"].as_u64().unwrap();
        assert!(reached.last().is_none_or(|before| *before < offset), "each hook makes progress: {reached:?} {offset}");
        reached.push(offset);
    }
    assert!(reached.len() > 1, "one hook does not read all");
    let records = records(&daemon);
    let questions = records.iter().filter(|row| row["role"] == "user").count();
    assert_eq!(questions, 6);
    assert_eq!(records.iter().filter(|row| row["text"].as_str().unwrap().starts_with("block ")).count(), 3);
    let mut parts: Vec<&Value> = records.iter().filter(|row| row["parts"].is_u64()).collect();
    parts.sort_by_key(|row| row["part"].as_u64());
    assert!(parts.len() > 1 && parts.iter().all(|row| row["text"].as_str().unwrap().len() <= 64 << 10));
    assert_eq!(parts.iter().map(|row| row["text"].as_str().unwrap()).collect::<String>(), long);
}

#[test]
fn the_end_of_an_interrupted_session_is_captured_at_the_next_start() {
    let daemon = setup();
    let setup = daemon.setup();
    write(setup, "old", &[said("old", "user", "what came before the interruption")]);
    hook(setup, "stop", &input(setup, "old"));
    add(setup, "old", &said("old", "user", "what was said last of all"));
    let printed = hook(setup, "session-start", &input(setup, "new"));
    assert_eq!(texts(&daemon), ["what came before the interruption", "what was said last of all"]);
    assert!(printed.contains("what was said last of all"), "it is taken before the briefing is made: {printed}");
}

#[test]
fn what_a_transcript_has_of_unknown_kinds_is_logged_once() {
    let daemon = setup();
    let setup = daemon.setup();
    let unknown = |text: &str| json!({"type": "mystery", "sessionId": "s", "text": text}).to_string() + "\n";
    let stop = |text: &str| {
        add(setup, "s", text);
        hook(setup, "stop", &input(setup, "s"));
        log(&setup.store())
    };
    let (question, answer) = (said("s", "user", "where is the kettle?"), said("s", "assistant", "it is in the hall"));
    assert_eq!(stop(&question), "", "the answer may not be written yet");
    assert_eq!(stop(&answer), "");
    let text = stop(&unknown("words of a kind that is not known"));
    assert_eq!(text.matches("s.jsonl: 1 line of unknown kind with text").count(), 1, "{text}");
    assert_eq!(stop(&question), text, "it is logged when it is found");
    let text = stop(&unknown("more words of a kind that is not known"));
    assert_eq!(text.matches("2 lines of unknown kind with text").count(), 1, "{text}");
    // A rewritten file is counted anew.
    write(setup, "s", &[answer]);
    let text = stop("");
    assert!(text.ends_with("none of the user: this release may not know the format\n"), "{text}");
}

#[test]
fn what_waits_in_a_transcript_is_captured_at_the_end_of_the_session() {
    let daemon = setup();
    let setup = daemon.setup();
    let queued = json!({"type": "queue-operation", "operation": "enqueue", "timestamp": "2026-09-01T10:00:01Z",
        "sessionId": "s", "content": "also rename the helper to tern"});
    let lines = [said("s", "assistant", "the helper is renamed soon"), queued.to_string() + "\n"];
    write(setup, "s", &lines);
    hook(setup, "stop", &input(setup, "s"));
    assert_eq!(texts(&daemon), ["the helper is renamed soon"], "it may still be sent");
    for _ in 0..2 {
        hook(setup, "session-end", &input(setup, "s"));
        assert_eq!(texts(&daemon), ["the helper is renamed soon", "also rename the helper to tern"]);
    }
}

#[test]
fn a_session_killed_in_its_first_turn_is_captured_at_the_next_start() {
    let daemon = setup();
    let setup = daemon.setup();
    let mut first = input(setup, "old");
    first["prompt"] = json!("the only prompt before the kill");
    hook(setup, "user-prompt-submit", &first);
    let lines =
        [said("old", "user", "the only prompt before the kill"), said("old", "assistant", "half of the answer to it")];
    write(setup, "old", &lines);
    hook(setup, "session-start", &input(setup, "new"));
    assert_eq!(texts(&daemon), ["the only prompt before the kill", "half of the answer to it"]);
    let last = fs::read_to_string(setup.store().join(".capture-state/last-claude-code.json")).unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    assert!(last["user"].is_string() && last["assistant"].is_string(), "{last}");
}

#[test]
fn any_input_exits_with_0_and_prints_nothing() {
    let setup = Setup::new();
    let with = |key: &str, value: Value| {
        let mut input = input(&setup, "s");
        input[key] = value;
        input.to_string().into_bytes()
    };
    let inputs = [
        Vec::new(),
        b"\xff\xfe\x00".to_vec(),
        b"hello".to_vec(),
        b"[]".to_vec(),
        b"{".to_vec(),
        b"{}".to_vec(),
        vec![b'['; 100_000],
        with("session_id", json!(null)),
        with("session_id", json!("../../../../tmp/x")),
        with("transcript_path", json!("/nowhere/t.jsonl")),
        with("transcript_path", json!("/")),
        with("transcript_path", json!("/dev/null")),
        with("transcript_path", json!(5)),
        with("cwd", json!({"a": 1})),
    ];
    for event in ["session-start", "user-prompt-submit", "stop", "session-end", "no-such-event"] {
        for input in &inputs {
            let output = call(&setup, &[event], input);
            let said = (output.stdout, output.stderr);
            assert_eq!(said, (Vec::new(), Vec::new()), "{event} {}", String::from_utf8_lossy(input));
        }
    }
    let garbage = "{\"type\":\"user\"\nnull\n[]\n\u{0}\n{\"type\":\"user\",\"message\":{\"content\":\"\\ud800\"}}\n";
    fs::write(transcript(&setup, "s"), [garbage.as_bytes(), b"\xff\xff\n"].concat()).unwrap();
    assert_eq!(hook(&setup, "stop", &input(&setup, "s")), "");
    add(&setup, "s", &said("s", "user", "said after much garbage"));
    hook(&setup, "stop", &input(&setup, "s"));
    assert_eq!(waiting(&setup.store()).len(), 1);

    for args in [&["stop", "--new-option", "x"][..], &["stop", "more"], &["--no-such-option"], &[]] {
        assert!(call(&setup, args, b"{}").stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn a_missing_or_unwritable_home_is_not_a_failure() {
    let setup = Setup::new();
    // Nothing can be created below a regular file, even by root.
    fs::write(setup.store(), "in the way").unwrap();
    write(&setup, "s", &[said("s", "user", "said where nothing can be written")]);
    for event in ["session-start", "user-prompt-submit", "stop"] {
        assert_eq!(hook(&setup, event, &input(&setup, "s")), "");
    }
    let output = setup.program().args(["hook", "stop"]).env_remove("HOME").output().expect("the binary runs");
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("HOME is not set"), "{output:?}");
}

#[test]
fn symbolic_links_in_the_store_are_not_followed() {
    for name in [".deferred-captures", ".capture-state", ".capture-state/s.offset", "logs", "logs/hooks.log"] {
        for target in ["folder", "folder/file", "nowhere"] {
            let setup = Setup::new();
            let outside = setup.home().join("outside");
            fs::create_dir_all(outside.join("folder")).unwrap();
            fs::write(outside.join("folder/file"), "kept\n").unwrap();
            let link = setup.store().join(name);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(outside.join(target), &link).unwrap();
            write(&setup, "s", &[said("s", "user", "said while no daemon ran")]);
            for event in ["session-start", "stop"] {
                assert_eq!(hook(&setup, event, &input(&setup, "s")), "", "{name} to {target}");
            }
            let mut found: Vec<_> = [&outside, &outside.join("folder")]
                .iter()
                .flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()))
                .collect();
            found.sort();
            assert_eq!(found, [outside.join("folder"), outside.join("folder/file")], "{name} to {target}");
            assert_eq!(fs::read_to_string(outside.join("folder/file")).unwrap(), "kept\n");
            let is_taken = name == ".deferred-captures" || !waiting(&setup.store()).is_empty();
            assert!(is_taken, "{name} to {target}: {}", log(&setup.store()));
        }
    }
}
