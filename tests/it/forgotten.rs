//! What a forgetting keeps out, how it goes on after an error, and what it leaves of names.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::forget::{SECRETS, assert_gone, awake, capture, files, fill, forget, traces};
use crate::harness::{Client, Daemon, Setup, until};

/// A time before every forgetting, and one after it.
const BEFORE: &str = "2026-02-03T10:00:00.000Z";
const AFTER: &str = "2099-02-03T10:00:00.000Z";

/// Returns the files whose name or bytes have a word.
fn with_word(folder: &Path, word: &str) -> Vec<String> {
    let has = |bytes: &[u8]| bytes.windows(word.len()).any(|part| part == word.as_bytes());
    let all = files(folder).into_iter();
    let found = all.filter(|path| has(path.as_os_str().as_bytes()) || fs::read(path).is_ok_and(|bytes| has(&bytes)));
    found.map(|path| path.display().to_string()).collect()
}

fn row(session: &str, ts: &str, text: &str, turn: Value) -> Value {
    let mut row = json!({"kind": "record", "session_id": session, "text": text, "turn": turn});
    if !ts.is_empty() {
        row["ts"] = ts.into();
    }
    row
}

fn import(client: &mut Client, row: &Value) -> Value {
    let got = client.call("store_import", json!({"rows": [row]}));
    assert_eq!(got["refused"], json!([]), "{row}");
    got["new"].clone()
}

#[test]
fn short_texts_of_other_sessions_and_words_that_are_said_again_are_stored() {
    let daemon = awake().start();
    let mut client = daemon.client();
    let long = format!("the {} of the {}", SECRETS[0], SECRETS[1]);
    for (text, id) in [("yes", "t1"), (&*long, "t2")] {
        assert_eq!(import(&mut client, &row("a", BEFORE, text, json!({"id": id}))), 1);
    }
    assert_eq!(forget(&mut client, json!({"session": "a"}))["forgotten"], 2);
    for (what, row, new) in [
        ("the turn", row("a", BEFORE, "yes", json!({})), 0),
        ("the turn without a time", row("a", "", "yes", json!({})), 0),
        ("a copy of the turn in a fork, by its id", row("b", BEFORE, "yes", json!({"id": "t1"})), 0),
        ("a copy of a long turn in a fork, by its id and without a time", row("b", "", &long, json!({"id": "t2"})), 0),
        ("a copy in a fork that names the session", row("c", BEFORE, "yes", json!({"parents": ["a"]})), 0),
        ("a short text of another session", row("d", BEFORE, "yes", json!({"id": "t9"})), 1),
        ("another text with the id", row("b", BEFORE, "no", json!({"id": "t1"})), 1),
        ("a short text that is said again", row("a", AFTER, "yes", json!({"id": "t3"})), 1),
        ("a long text of another session", row("d", BEFORE, &long, json!({"id": "t8"})), 0),
        ("a hook that runs late", row("a", "", &long, json!({"source": "hook"})), 0),
        ("a long text that is said again", row("a", AFTER, &long, json!({"id": "t4"})), 1),
        ("a record of another program", json!({"kind": "record", "session_id": "a", "ts": AFTER, "text": "yes."}), 1),
    ] {
        assert_eq!(import(&mut client, &row), new, "{what}: {row}");
    }
    for session in ["a", "b"] {
        let got = client.call("memory_capture", json!({"text": "yes", "session_id": session, "ts": BEFORE}));
        assert!(session == "a" || got["status"] == "inserted", "{got}");
    }
}

/// Makes the deletion of records fail until it is dropped.
struct Held(Connection);

impl Held {
    fn new(daemon: &Daemon) -> Held {
        let connection = Connection::open(daemon.setup().store().join("memory.db")).expect("it opens");
        let sql = "CREATE TRIGGER held BEFORE DELETE ON record BEGIN SELECT RAISE(ABORT, 'held by a test'); END";
        connection.execute_batch(sql).expect("SQL");
        Held(connection)
    }

    fn end(self) {
        self.0.execute_batch("DROP TRIGGER held").expect("SQL");
    }
}

#[test]
fn a_forgetting_that_an_error_has_interrupted_goes_on_by_itself() {
    let daemon = awake().start();
    let mut client = daemon.client();
    fill(&mut client, 0, 20);
    let held = Held::new(&daemon);
    let proposed = client.call("memory_forget", json!({"project": "/home/private"}));
    let failed = client.request("memory_forget", json!({"token": proposed["token"]}));
    let message = failed["error"]["message"].as_str().expect("a message");
    for part in ["records are partly forgotten", "held by a test", "tries again by itself"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    let shown = &daemon.status()["forgetting"];
    assert_eq!(shown["phase"], "remove", "{shown}");
    until("the error is shown", || daemon.status()["forgetting"]["error"].to_string().contains("held by a test"));
    until("a selection can be shown between two attempts", || {
        client.request("memory_forget", json!({"session": "s1"}))["result"]["count"].is_number()
    });
    let doctor = String::from_utf8(daemon.run(&["doctor"]).stdout).expect("UTF-8");
    assert!(doctor.contains("a forgetting is not at its end"), "{doctor}");
    held.end();
    until("it is at its end", || daemon.status()["forgetting"].is_null());
    assert_gone(&daemon, "after the daemon has gone on");
    assert_eq!(daemon.status()["records"], json!(20));
}

#[test]
fn a_log_that_a_reader_keeps_is_named_and_truncated_later() {
    let daemon = awake().start();
    let mut client = daemon.client();
    fill(&mut client, 0, 20);
    let ordinary = capture(&mut client, "an ordinary record that goes, too", "s9", "");
    let reader = Connection::open(daemon.setup().store().join("memory.db")).expect("it opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM record").expect("SQL");
    let done = forget(&mut client, json!({"project": "/home/private"}));
    assert_eq!(done["forgotten"], 2, "{done}");
    assert!(done["left"][0]["where"].as_str().is_some_and(|path| path.ends_with("memory.db-wal")), "{done}");
    assert_eq!(daemon.status()["forgetting"]["phase"], "truncate");
    // Another forgetting is shown and done.
    until("no attempt runs", || client.request("memory_forget", json!({"ids": [ordinary]}))["result"].is_object());
    until("another one is done", || {
        let proposed = client.call("memory_forget", json!({"ids": [ordinary]}));
        let done = client.request("memory_forget", json!({"token": proposed["token"]}));
        done["result"]["forgotten"] == 1
    });
    drop(reader);
    until("the log is truncated", || daemon.status()["forgetting"].is_null());
    assert_gone(&daemon, "once the reader has ended");
}

#[test]
fn names_that_no_record_has_any_more_are_nowhere() {
    let daemon = awake().start();
    let mut client = daemon.client();
    let store = daemon.setup().store();
    let (session, project, folder) = ("private-session-7131", "/home/hidden-4711", "/home/hidden-4711/nested-815");
    let masked = json!({"kinds": ["aws-access-key-id"]});
    let record = |text: &str, ts: &str| {
        json!({"kind": "record", "session_id": session, "project": project, "ts": ts,
        "project_folder": folder, "masked": masked, "text": text, "turn": {"id": text}})
    };
    client.ask(&json!({"type": "session_open", "session_id": session, "source": "startup"}).to_string());
    import(&mut client, &record("the tide is high on most days", BEFORE));
    import(&mut client, &record("the tide is low", BEFORE));
    client.call("session_start_payload", json!({"session_id": session, "project": project}));
    client.call("session_exit", json!({"session_id": session}));
    client.call("memory_capture", json!({"text": "of another one", "session_id": "s", "project": "/p"}));
    let spool = store.join(".deferred-captures");
    fs::create_dir_all(&spool).expect("a folder");
    let header = json!({"version": 1, "session_id": session, "deferred_at": BEFORE, "cwd": project});
    let line = json!({"text": "the tide was high", "role": "user", "ts": BEFORE});
    fs::write(spool.join(format!("{session}.live-5.jsonl")), format!("{header}\n{line}\n")).expect("a file");
    let hooks = store.join(".capture-state");
    fs::create_dir_all(&hooks).expect("a folder");
    fs::write(hooks.join(format!("{session}.offset")), json!({"session": session}).to_string()).expect("a file");
    until("the file is taken in", || {
        client.call("memory_consolidate", json!({}));
        fs::read_dir(&spool).is_ok_and(|mut entries| entries.next().is_none())
    });
    assert!(daemon.status()["masked"].to_string().contains(session));
    let export = client.call("store_export", json!({}));
    for word in [session, project, folder] {
        assert!(!with_word(&store, word).is_empty(), "{word} is there before");
    }
    let done = forget(&mut client, json!({"project": project}));
    assert_eq!((&done["forgotten"], &done["left"]), (&json!(3), &json!([])), "{done}");
    let are_gone = |client: &mut Client, when: &str| {
        // The state file is written a moment later.
        until(when, || with_word(&store, session).is_empty());
        for word in [session, project, folder] {
            assert_eq!(with_word(&store, word), Vec::<String>::new(), "{word} {when}");
        }
        assert!(!client.ask(r#"{"type":"status"}"#).to_string().contains(session), "{when}");
    };
    are_gone(&mut client, "after forgetting");
    for row in export["rows"].as_array().expect("rows") {
        if !row.to_string().contains("of another one") && row["kind"] != "knob" {
            assert_eq!(import(&mut client, row), 0, "{row}");
        }
    }
    import(&mut client, &record("the tide is high on most days", BEFORE));
    are_gone(&mut client, "after an import of it all");
    import(&mut client, &record("the tide is high again today", AFTER));
    assert!(client.call("store_export", json!({})).to_string().contains(folder), "a new record has its names");
}

#[test]
fn names_of_projects_that_have_no_record_yet_are_kept() {
    let daemon = awake().start();
    let mut client = daemon.client();
    client.call("memory_capture", json!({"text": SECRETS[0], "session_id": "s", "project": "/other"}));
    client.call("memory_capture", json!({"text": "it stays", "session_id": "t"}));
    client.call("session_start_payload", json!({"session_id": "u", "project": "/work", "project_folder": "/work/sub"}));
    let rename =
        json!({"jsonrpc": "2.0", "id": 1, "method": "project_rename", "params": {"old": "/work", "new": "/team"}});
    until("the folder is noted", || client.ask(&rename.to_string())["error"].is_null());
    assert_eq!(forget(&mut client, json!({"project": "/other"}))["forgotten"], 1);
    for (text, project) in [("of the folder", "/work/sub"), ("of the repository", "/work")] {
        client.call("memory_capture", json!({"text": text, "session_id": "u", "project": project}));
    }
    let listed = client.call("memory_list", json!({"project": "/team"}));
    assert_eq!(listed["records"].as_array().map(Vec::len), Some(2), "{listed}");
}

#[test]
fn events_that_may_quote_a_text_are_deleted_and_do_not_come_back() {
    let daemon = awake().start();
    let mut client = daemon.client();
    let ids = fill(&mut client, 0, 20);
    let other = client.call("memory_list", json!({"limit": 1}))["records"][0]["record_id"].clone();
    let event = |n: u32, kind: &str, more: Value| {
        let mut row =
            json!({"kind": "event", "id": format!("00000000-0000-7000-8000-{n:012}"), "event": kind, "ts": BEFORE});
        row.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        row
    };
    let quote = format!("the {} is here", SECRETS[0]);
    let rows = [
        event(1, "s4_contradiction", json!({"data": {"note": quote}, "sources": [other]})),
        event(2, "schema_induction_run", json!({"data": {SECRETS[1]: 1}})),
        event(3, "trajectory_metric", json!({"data": {"records": 1}, "sources": [quote]})),
        event(4, "trajectory_metric", json!({"data": {"session_id": quote}, "session_id": quote})),
        event(5, "llm_health", json!({"data": {"text": quote}})),
        event(6, "schema_induction_run", json!({"data": {"induced": 1, "evidence": 2}})),
    ];
    for row in &rows {
        assert_eq!(import(&mut client, row), 1, "{row}");
    }
    forget(&mut client, json!({"ids": ids}));
    assert_gone(&daemon, "after forgetting");
    for row in &rows {
        assert_eq!(import(&mut client, row), 0, "{row}");
    }
    assert_gone(&daemon, "after the events were imported again");
    assert_eq!(client.call("events_query", json!({"kind": "schema_induction_run"}))["count"], 1);
}

/// Runs a hook of an assistant.
fn hook(setup: &Setup, event: &str, assistant: &str, input: &Value) {
    let mut command = setup.program();
    command.arg("--socket").arg(setup.socket()).args(["hook", event, "--assistant", assistant]);
    command.env("IAI_MCP_STORE", setup.store()).env("HOME", setup.home()).env("IAID_HOOK_TIMEOUT", "60");
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    child.stdin.take().expect("a pipe").write_all(input.to_string().as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{assistant} {event}: {output:?}");
}

#[test]
fn hooks_of_no_assistant_bring_a_text_back() {
    let (said, noted) =
        (format!("the {} meets them", SECRETS[0]), format!("noted: {}\n\nand {}", SECRETS[1], SECRETS[2]));
    let ts = "2026-11-29T05:16:42.389Z";
    let claude = |kind: &str, text: &str| {
        json!({"type": kind, "uuid": kind, "sessionId": "s-1", "cwd": "/p",
        "timestamp": ts, "message": {"role": kind, "content": [{"type": "text", "text": text}]}})
    };
    let codex = |role: &str, kind: &str, text: &str| {
        json!({"timestamp": ts, "type": "response_item",
        "payload": {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}})
    };
    let copilot = |kind: &str, text: &str| json!({"type": kind, "data": {"content": text}, "id": kind, "parentId": null, "timestamp": ts});
    let gemini = |kind: &str, text: &str| json!({"id": kind, "type": kind, "content": text, "timestamp": ts});
    let qwen = |kind: &str, text: &str| {
        json!({"uuid": kind, "sessionId": "s-1", "type": kind, "cwd": "/p",
        "timestamp": ts, "message": {"parts": [{"text": text}]}})
    };
    let message = |id: &str, role: &str, text: &str| {
        json!({"info": {"id": id, "role": role, "sessionID": "s-1",
        "time": {"created": 1_796_015_802_389_u64}}, "parts": [{"id": format!("p{id}"), "type": "text", "text": text}]})
    };
    for (assistant, file, lines) in [
        ("claude-code", ".claude/projects/-p/s-1.jsonl", vec![claude("user", &said), claude("assistant", &noted)]),
        (
            "codex",
            ".codex/sessions/rollout-s-1.jsonl",
            vec![
                json!({"timestamp": ts, "type": "session_meta", "payload": {"id": "s-1", "cwd": "/p"}}),
                codex("user", "input_text", &said),
                codex("assistant", "output_text", &noted),
            ],
        ),
        (
            "copilot",
            ".copilot/session-state/s-1/events.jsonl",
            vec![copilot("user.message", &said), copilot("assistant.message", &noted)],
        ),
        ("gemini", ".gemini/tmp/p/chats/session-1.jsonl", vec![gemini("user", &said), gemini("gemini", &noted)]),
        ("qwen", ".qwen/projects/-p/chats/s-1.jsonl", vec![qwen("user", &said), qwen("assistant", &noted)]),
        ("opencode", "", vec![]),
    ] {
        let daemon = awake().start();
        let setup = daemon.setup();
        let mut prompt = json!({"session_id": "s-1", "cwd": "/p", "prompt": said, "timestamp": ts});
        let mut stop = json!({"session_id": "s-1", "cwd": "/p", "timestamp": ts, "prompt_response": noted,
            "last_assistant_message": noted});
        if assistant == "opencode" {
            stop["messages"] = json!([message("msg_1", "user", &said), message("msg_2", "assistant", &noted)]);
            stop["info"] = json!({"id": "s-1", "directory": "/p"});
        } else {
            let path = setup.home().join(file);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, lines.iter().map(|line| line.to_string() + "\n").collect::<String>()).expect("a file");
            for input in [&mut prompt, &mut stop] {
                input["transcript_path"] = json!(path);
            }
        }
        let run = || {
            for (event, input) in
                [("session-start", &prompt), ("user-prompt-submit", &prompt), ("stop", &stop), ("session-end", &stop)]
            {
                if assistant != "opencode" || matches!(event, "user-prompt-submit" | "stop") {
                    hook(setup, event, assistant, input);
                }
            }
        };
        run();
        let mut client = daemon.client();
        assert!(!traces(&setup.store()).is_empty(), "{assistant}: it is stored");
        assert!(forget(&mut client, json!({"session": "s-1"}))["forgotten"].as_u64() >= Some(2), "{assistant}");
        assert_gone(&daemon, &format!("{assistant}: after forgetting"));
        run();
        client.call("memory_consolidate", json!({}));
        assert_gone(&daemon, &format!("{assistant}: after its hooks have run again"));
        // A daemon that does not run makes hooks leave files, which are taken in later.
        let mut daemon = daemon;
        daemon.kill();
        for (event, input) in [("user-prompt-submit", &prompt), ("stop", &stop)] {
            hook(daemon.setup(), event, assistant, input);
        }
        daemon.restart();
        let spool = daemon.setup().store().join(".deferred-captures");
        until("deferred files are taken in", || {
            daemon.client().call("memory_consolidate", json!({}));
            fs::read_dir(&spool).map_or(true, |mut entries| entries.next().is_none())
        });
        assert_gone(&daemon, &format!("{assistant}: after its deferred files"));
    }
}

#[test]
fn a_large_store_of_an_earlier_release_is_cleaned_too() {
    let (count, each) = if std::env::var_os("CI_FULL").is_some() { (5_000, 250) } else { (600, 30) };
    let setup = awake();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store_v2.db");
    fs::create_dir_all(setup.store()).expect("the folder of the store");
    let path = setup.store().join("memory.db");
    fs::copy(fixture, &path).expect("the store is copied");
    fill_earlier(&path, count, each);
    let daemon = setup.start();
    let mut client = daemon.client();
    client.call("memory_consolidate", json!({}));
    assert!(!traces(&daemon.setup().store()).is_empty(), "the words are there before");
    let proposed = client.call("memory_forget", json!({"matching": SECRETS[1]}));
    assert_eq!(proposed["count"], json!(count / each), "{proposed}");
    // Captures go on meanwhile.
    let capturing = thread::spawn({
        let mut client = daemon.client();
        move || (0..50).for_each(|n| drop(capture(&mut client, &format!("a capture meanwhile, {n}"), "m", "")))
    });
    let done = client.call("memory_forget", json!({"token": proposed["token"]}));
    capturing.join().expect("no panic");
    assert_eq!(done["left"], json!([]), "{done}");
    assert_eq!(traces(&daemon.setup().store()), [], "in an old store");
    client.call("memory_consolidate", json!({}));
    assert_eq!(traces(&daemon.setup().store()), [], "after a cycle");
    // The records that were added have no right fingerprint, and nothing else is wrong.
    let check = client.call("store_check", json!({}));
    let problems = check["problems"].as_array().expect("a list").iter();
    let other: Vec<_> = problems.filter(|one| !one.to_string().contains("fingerprint")).collect();
    assert_eq!((&check["index"], other), (&json!("current"), vec![]), "{check}");
    assert_eq!(
        client.call("memory_list", json!({"session_id": "m", "limit": 100}))["records"].as_array().map(Vec::len),
        Some(50)
    );
}

/// Adds records to a store of an earlier release as it stored them, one of `each` with the secret words, with index
/// segments, deletions and merges.
fn fill_earlier(path: &Path, count: usize, each: usize) {
    let store = Connection::open(path).expect("it opens");
    let last: i64 = store.query_row("SELECT max(seq) FROM record", [], |row| row.get(0)).expect("SQL");
    store.execute_batch("BEGIN; INSERT OR IGNORE INTO session (name) VALUES ('old'); INSERT OR IGNORE INTO project (name) VALUES ('/old')").expect("SQL");
    for n in 1..=count {
        let seq = last + n as i64;
        let words = if n % each == 0 { SECRETS.join(" of the ") } else { format!("gardens and topic{}", n % 97) };
        let text = format!("ordinary record {n} about {words} in the long run");
        let sql = "INSERT INTO record (seq, id, ts, tier, role, session, project, hash, twin, cue, text)
             SELECT ?1, ?2, ?1 * 1000000, 1, 0, session.number, project.number, ?2, 0, '', ?3
             FROM session, project WHERE session.name = 'old' AND project.name = '/old'";
        let id = (seq as u128 | 7 << 76 | 2 << 62).to_be_bytes();
        store.prepare_cached(sql).expect("SQL").execute((seq, id, &text)).expect("SQL");
        let sql = "INSERT INTO term_index (rowid, text, cue) VALUES (?1, ?2, '')";
        store.prepare_cached(sql).expect("SQL").execute((seq, &text)).expect("SQL");
        if n % 200 == 0 {
            let merge = "INSERT INTO term_index (term_index, rank) VALUES ('merge', 50)";
            store.execute_batch(&format!("COMMIT; BEGIN; {merge}")).expect("SQL");
        }
    }
    store.execute_batch("COMMIT; INSERT INTO term_index (term_index) VALUES ('optimize')").expect("SQL");
}
