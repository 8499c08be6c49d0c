//! Forgetting: `memory_forget` and `iaid forget`. Of what was forgotten no byte is left in the store's folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Client, Daemon, Setup, finish, output, until};

/// Words of the records to be forgotten, made up. An index stores a term without the beginning that it shares with the
/// term before it, and without its ending, so their middles are looked for.
pub const SECRETS: [&str; 3] = ["vqxorblimed", "wjuktharnope", "zyfgrundelka"];

/// The bytes that are looked for.
fn middles() -> Vec<String> {
    SECRETS.iter().map(|word| word[3..9].to_owned()).collect()
}

/// Returns all files in `folder` and below.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        match entry.file_type().expect("a type") {
            kind if kind.is_dir() => all.extend(files(&entry.path())),
            kind if kind.is_file() => all.push(entry.path()),
            _ => {}
        }
    }
    all
}

/// Returns the files that have one of the secrets, with the secret.
pub fn traces(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for path in files(folder) {
        // The daemon may have replaced or removed it since.
        let Ok(bytes) = fs::read(&path).map(|bytes| bytes.to_ascii_lowercase()) else { continue };
        for middle in middles() {
            if bytes.windows(middle.len()).any(|part| part == middle.as_bytes()) {
                found.push((path.clone(), middle));
            }
        }
    }
    found
}

pub fn assert_gone(daemon: &Daemon, when: &str) {
    assert_eq!(traces(&daemon.setup().store()), [], "{when}");
    let mut client = daemon.client();
    let check = client.call("store_check", json!({}));
    assert_eq!((&check["ok"], &check["problems"]), (&json!(true), &json!([])), "{when}");
    for word in SECRETS {
        let found = client.call("memory_recall", json!({"cue": word}));
        assert!(!found.to_string().contains(&format!("the {word}")), "{when}: {found}");
    }
}

pub fn capture(client: &mut Client, text: &str, session: &str, project: &str) -> String {
    let got = client.call("memory_capture", json!({"text": text, "session_id": session, "project": project}));
    got["record_id"].as_str().expect("an id").to_owned()
}

/// Captures ordinary records among which the secret ones are, in a session and project of their own. Returns their ids.
pub fn fill(client: &mut Client, from: usize, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for n in from..from + count {
        let text = format!("ordinary record {n} about gardens, topic{} and letters", n % 17);
        capture(client, &text, &format!("s{}", n % 5), "/home/ordinary");
        if n % 10 == 3 {
            let text = format!("the {} of {} meets the {} in record {n}", SECRETS[0], SECRETS[1], SECRETS[2]);
            ids.push(capture(client, &text, &format!("private-{}", n % 3), "/home/private"));
        }
    }
    ids
}

/// Forgets a selection and returns the result.
pub fn forget(client: &mut Client, selection: Value) -> Value {
    let proposed = client.call("memory_forget", selection);
    client.call("memory_forget", json!({"token": proposed["token"]}))
}

/// Returns a daemon that falls asleep on request only.
pub fn awake() -> Setup {
    Setup::new().args(&["--drowsy-after", "3600", "--sleep-after", "3600", "--hibernate-after", "7200"])
}

#[test]
fn no_byte_of_what_was_forgotten_is_left() {
    let mut daemon = awake().start();
    let mut client = daemon.client();
    let ids = fill(&mut client, 0, 120);
    client.call("memory_contradict", json!({"id": ids[0], "new_fact": format!("no {} at all", SECRETS[0])}));
    client.call("memory_reinforce", json!({"ids": ids}));
    client.call("memory_consolidate", json!({}));
    client.call("session_start_payload", json!({"session_id": "x", "project": "/home/private"}));
    client.call("curiosity_pending", json!({}));
    let store = daemon.setup().store();
    let aside =
        ["memory.db-wal.bad-1", "memory.db.rescued-1", "memory.db.before-restore-1", ".daemon-state.json.bad-1"];
    let spool = store.join(".deferred-captures");
    fs::create_dir_all(&spool).expect("a folder");
    let line = json!({"text": format!("{} and {}", SECRETS[0], SECRETS[1]), "session_id": "x"}).to_string();
    fs::write(spool.join("x-1.permanent-failed-2.jsonl"), &line).expect("a file");
    for name in aside {
        fs::write(store.join(name), SECRETS.join(" ")).expect("a file");
    }
    assert!(traces(&store).len() >= 3, "the words are there before");
    let proposed = client.call("memory_forget", json!({"project": "/home/private"}));
    assert_eq!((&proposed["count"], &proposed["files"].as_array().map(Vec::len)), (&json!(14), &Some(5)), "{proposed}");
    let oldest = &proposed["records"][13];
    assert!(oldest["beginning"].as_str().is_some_and(|text| text.contains(SECRETS[0])), "{oldest}");
    assert_eq!((&oldest["record_id"], &oldest["role"]), (&json!(ids[0]), &json!("user")), "{oldest}");
    assert!(oldest["links"].as_u64().is_some_and(|links| links > 0), "{oldest}");
    let done = client.call("memory_forget", json!({"token": proposed["token"]}));
    assert_eq!(done["forgotten"], 14, "{done}");
    assert_gone(&daemon, "after forgetting");
    assert_eq!(daemon.status()["records"], json!(proposed["total"].as_u64().expect("a number") - 14));
    for name in ["memory_read", "memory_show"] {
        let refused = client.request(name, json!({"id": ids[1]}));
        assert!(
            refused["error"]["message"].as_str().is_some_and(|text| text.contains("was forgotten at")),
            "{refused}"
        );
    }
    fill(&mut client, 120, 40);
    forget(&mut client, json!({"matching": SECRETS[2].to_uppercase()}));
    client.call("memory_consolidate", json!({}));
    assert_gone(&daemon, "after a second forgetting and a cycle");
    assert!(daemon.stop().success());
    daemon.restart();
    assert_gone(&daemon, "after a restart");
}

#[test]
fn only_files_that_were_shown_are_deleted_and_a_token_ends_with_a_restore() {
    let daemon = awake().start();
    let mut client = daemon.client();
    let first = client.call("memory_capture", json!({"text": "the first note of the two"}))["record_id"].clone();
    client.call("memory_capture", json!({"text": "the second note of the two"}));
    let backup = daemon.setup().home().join("backup.db");
    client.call("store_backup", json!({"path": backup}));
    let proposed = client.call("memory_forget", json!({"ids": [first]}));
    let later = daemon.setup().store().join("memory.db.rescued-1");
    fs::write(&later, "set aside since").expect("a file");
    let done = client.call("memory_forget", json!({"token": proposed["token"]}));
    assert!(later.exists() && done["left"].to_string().contains("rescued-1"), "{done}");
    let proposed = client.call("memory_forget", json!({"session": "-"}));
    client.call("store_restore", json!({"path": backup, "confirm": true}));
    let refused = client.request("memory_forget", json!({"token": proposed["token"]}));
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    assert_eq!(daemon.status()["records"], 2);
}

/// Waits until a forgetting that was interrupted is at its end. Returns the number of records then.
fn settled(daemon: &Daemon) -> u64 {
    let mut client = daemon.client();
    until("the forgetting is at its end", || {
        let reply = client.request("memory_forget", json!({"until": "1970-01-01"}));
        !reply["error"]["message"].as_str().expect("a message").contains("earlier forgetting")
    });
    client.call("store_check", json!({}))["records"].as_u64().expect("a number")
}

#[test]
fn a_killed_daemon_takes_it_up_again() {
    let rounds = if std::env::var_os("CI_FULL").is_some() { 60 } else { 5 };
    let mut ends = [0; 2];
    for round in 0..rounds {
        let mut daemon = awake().start();
        let mut client = daemon.client();
        fill(&mut client, 0, 60);
        client.call("memory_consolidate", json!({}));
        let all = client.call("store_check", json!({}))["records"].as_u64().expect("a number");
        let proposed = client.call("memory_forget", json!({"project": "/home/private"}));
        let line =
            json!({"jsonrpc": "2.0", "id": 1, "method": "memory_forget", "params": {"token": proposed["token"]}});
        client.send(line.to_string() + "\n");
        // Every moment is as good as any other.
        thread::sleep(Duration::from_millis(400 * round / rounds));
        daemon.kill_and_restart();
        let left = settled(&daemon);
        if left == all {
            assert!(traces(&daemon.setup().store()).len() > 1, "nothing was forgotten");
            ends[0] += 1;
            forget(&mut daemon.client(), json!({"project": "/home/private"}));
        } else {
            ends[1] += 1;
        }
        assert_eq!(settled(&daemon) + proposed["count"].as_u64().expect("a number"), all, "round {round}");
        assert_gone(&daemon, &format!("round {round}, {ends:?}"));
    }
    assert!(ends[1] > 0, "each kill came too early: {ends:?}");
}

#[test]
fn what_was_forgotten_does_not_come_back_but_by_an_explicit_capture() {
    let daemon = awake().start();
    let mut client = daemon.client();
    let turn = |session: &str, ts: &str, text: &str, turn: Value| json!({"kind": "record", "session_id": session, "role": "assistant", "ts": ts, "text": text, "turn": turn});
    let text = format!("the {} first\n\nthen the {}", SECRETS[0], SECRETS[1]);
    let before = "2026-02-03T10:00:00.000Z";
    let rows = [
        turn("a", before, &text, json!({"id": "t1", "source": "hook"})),
        turn("a", "2026-02-03T11:00:00.000Z", "a record of another kind", json!({"id": "t2"})),
    ];
    client.call("store_import", json!({"rows": rows}));
    let exported = client.call("store_export", json!({}));
    assert_eq!(forget(&mut client, json!({"session": "a", "until": "2026-02-03T10:30:00Z"}))["forgotten"], 1);
    let mut again = vec![
        ("the same turn", turn("a", before, &text, json!({"id": "t1"}))),
        ("without its id", turn("a", before, &text, Value::Null)),
        ("as its lines", turn("a", before, &format!("then the {}", SECRETS[1]), json!({"id": "t3"}))),
        ("a copy in another session", turn("b", before, &text, json!({"id": "t4"}))),
        ("with other white space", turn("b", before, &text.replace("\n\n", " "), json!({}))),
    ];
    let rows = exported["rows"].as_array().expect("rows").iter();
    again.extend(rows.filter(|row| row["kind"] != "knob").map(|row| ("a row of the export", row.clone())));
    for (what, row) in again {
        let got = client.call("store_import", json!({"rows": [row]}));
        assert_eq!((&got["new"], &got["refused"]), (&json!(0), &json!([])), "{what}: {row}");
    }
    let spool = daemon.setup().store().join(".deferred-captures");
    fs::create_dir_all(&spool).expect("a folder");
    let header = json!({"version": 1, "session_id": "b", "deferred_at": before, "cwd": ""});
    let line = json!({"text": text, "role": "assistant", "ts": before});
    fs::write(spool.join("b-1.jsonl"), format!("{header}\n{line}\n")).expect("a file");
    until("the file is taken in", || {
        client.call("memory_consolidate", json!({}));
        !spool.join("b-1.jsonl").exists()
    });
    assert_gone(&daemon, "after imports and a deferred file");
    // The same words later, in another session: a row without a time is of now.
    let mut later = turn("c", before, &text, json!({"id": "t9"}));
    later.as_object_mut().expect("an object").remove("ts");
    assert_eq!(client.call("store_import", json!({"rows": [later]}))["new"], 1);
    let captured = client.call("memory_capture", json!({"text": text, "session_id": "a", "role": "assistant"}));
    assert_eq!(captured["status"], "inserted", "{captured}");
    assert_eq!(client.call("memory_forget", json!({"matching": SECRETS[0]}))["count"], 2);
}

#[test]
fn a_store_of_an_earlier_release_is_cleaned_too() {
    let setup = awake();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store_v2.db");
    fs::create_dir_all(setup.store()).expect("the folder of the store");
    fs::copy(fixture, setup.store().join("memory.db")).expect("the store is copied");
    let daemon = setup.start();
    let mut client = daemon.client();
    assert_eq!(client.call("store_check", json!({}))["index"], "due");
    let has = |word: &str| {
        let all = files(&daemon.setup().store());
        all.iter()
            .any(|path| fs::read(path).unwrap_or_default().windows(word.len()).any(|part| part == word.as_bytes()))
    };
    assert!(has("retriever") && has("etriev"));
    let proposed = client.call("memory_forget", json!({"matching": "Retrievers"}));
    assert!(proposed["count"].as_u64().is_some_and(|count| count > 0), "{proposed}");
    client.call("memory_forget", json!({"token": proposed["token"]}));
    assert!(!has("retriever") && !has("etriev"));
    let check = client.call("store_check", json!({}));
    assert_eq!((&check["ok"], &check["index"]), (&json!(true), &json!("current")), "{check}");
}

#[test]
fn a_reader_of_an_older_state_delays_the_end_and_captures_go_on() {
    let daemon = awake().start();
    let mut client = daemon.client();
    let ids = fill(&mut client, 0, 40);
    let database = daemon.setup().store().join("memory.db");
    let reader = Connection::open(&database).expect("it opens");
    reader.execute_batch("BEGIN; SELECT count(*) FROM record").expect("SQL");
    let forgetting = thread::spawn({
        let mut client = daemon.client();
        move || forget(&mut client, json!({"project": "/home/private"}))
    });
    until("the records are deleted", || {
        client.request("memory_read", json!({"id": ids.last()}))["error"]["message"]
            .to_string()
            .contains("forgotten at")
    });
    for n in 0..20 {
        capture(&mut client, &format!("a capture meanwhile, {n}"), "meanwhile", "");
    }
    assert!(!traces(&daemon.setup().store()).is_empty(), "the reader's state is in the log");
    drop(reader);
    let done = forgetting.join().expect("no panic");
    assert_eq!((&done["forgotten"], &done["left"]), (&json!(ids.len()), &json!([])));
    assert_gone(&daemon, "once the reader has ended");
    assert_eq!(
        client.call("memory_list", json!({"session_id": "meanwhile", "limit": 100}))["records"][19]["role"],
        "user"
    );
}

#[test]
fn what_cannot_be_forgotten_is_refused_with_a_sentence() {
    let daemon = awake().start();
    let mut client = daemon.client();
    let ids = fill(&mut client, 0, 20);
    let unknown = "00000000-0000-7000-8000-000000000000";
    let all = client.call("memory_forget", json!({"since": "2000-01-01"}));
    assert_eq!((&all["count"], &all["total"]), (&json!(22), &json!(22)));
    for (params, code, part) in [
        (json!({}), -32602, "param 'ids' must be given, or session"),
        (json!({"ids": []}), -32602, "at least one id"),
        (json!({"ids": [unknown]}), -32602, "no record has the id"),
        (json!({"ids": [ids[0], unknown]}), -32602, "no record has the id"),
        (json!({"ids": [ids[0]], "session": "s1"}), -32602, "param 'ids' must be given alone"),
        (json!({"session": "nobody"}), -32001, "no record is selected"),
        (json!({"project": "/nowhere"}), -32001, "no record is selected"),
        (json!({"matching": "unspoken"}), -32001, "no record is selected"),
        (json!({"matching": " ?! "}), -32602, "at least one word"),
        (json!({"since": "2000-01-01", "until": "2000-01-02"}), -32001, "no record is selected"),
        (json!({"token": "none"}), -32602, "ask for a new one"),
        (json!({"token": all["token"], "session": "s1"}), -32602, "left out beside a token"),
    ] {
        let reply = client.request("memory_forget", params.clone());
        assert_eq!(reply["error"]["code"], code, "{params}: {reply}");
        assert!(reply["error"]["message"].as_str().expect("a message").contains(part), "{params}: {reply}");
    }
    let proposed = client.call("memory_forget", json!({"session": "private-0"}));
    let more = capture(&mut client, "one more of the session", "private-0", "");
    for part in ["which has changed: it had 1 records and has 2", "ask for a new one"] {
        let reply = client.request("memory_forget", json!({"token": proposed["token"]}));
        assert_eq!(reply["error"]["code"], -32602, "{reply}");
        assert!(reply["error"]["message"].as_str().expect("a message").contains(part), "{reply}");
    }
    assert_eq!(client.call("store_check", json!({}))["records"], 23);
    forget(&mut client, json!({"ids": [more]}));
    let reply = client.request("memory_forget", json!({"ids": [more]}));
    assert!(reply["error"]["message"].as_str().expect("a message").contains("was forgotten at"), "{reply}");
    assert_eq!(client.call("memory_forget", json!({"session": "private-0", "project": "/home/private"}))["count"], 1);
}

#[test]
fn the_command_says_where_copies_are() {
    let daemon = awake().start();
    let home = daemon.setup().home().to_owned();
    let mut client = daemon.client();
    let ids = fill(&mut client, 0, 20);
    let (backup, export) = (home.join("b.db"), home.join("e.ndjson"));
    for command in [["backup", backup.to_str().expect("UTF-8")], ["export", export.to_str().expect("UTF-8")]] {
        assert!(daemon.run(&command).status.success());
    }
    let transcript = home.join("claude/projects/p/s.jsonl");
    fs::create_dir_all(transcript.parent().expect("a folder")).expect("a folder");
    let text = client.call("memory_read", json!({"id": ids[0]}))["literal_surface"].clone();
    let lines = [json!({"type": "user"}), json!({"message": {"content": [{"type": "text", "text": text}]}})];
    fs::write(&transcript, lines.map(|line| line.to_string()).join("\n")).expect("a file");
    let run = |args: &[&str]| {
        let mut command = daemon.setup().program();
        command.env("CLAUDE_CONFIG_DIR", home.join("claude")).arg("--socket").arg(daemon.setup().socket());
        let output = output(command.arg("forget").args(args));
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
        (output.status.code().expect("a code"), said)
    };
    for (args, code, part) in [
        (&[][..], 2, "nothing is selected"),
        (&["--session", "s1", &ids[0]], 2, "cannot be used with"),
        (&[&ids[0]], 2, "standard input is not a terminal; use --yes"),
        (&["x", "--yes"], 1, "is not a UUID"),
        (&["--since", "soon", "--yes"], 2, "--since"),
    ] {
        let (found, said) = run(args);
        assert_eq!(found, code, "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
    }
    let (code, said) = run(&["--matching", SECRETS[1], "--yes"]);
    assert_eq!(code, 0, "{said}");
    for part in [
        "2 records are forgotten".to_owned(),
        format!("{}  backup of 20", backup.display()),
        format!("{}  export of 20", export.display()),
        format!("{}:2  transcript", transcript.display()),
        "snapshots of the file system".to_owned(),
    ] {
        assert!(said.contains(&part), "{part} in {said}");
    }
    assert_gone(&daemon, "by the command");
    let turn = |uuid: &str, text: &str| {
        json!({"type": "user", "uuid": uuid, "sessionId": "told", "cwd": "/p", "timestamp": "2026-03-04T10:00:00.000Z",
            "message": {"role": "user", "content": text}})
    };
    let (secret, other) = (format!("my {} and the {}", SECRETS[0], SECRETS[2]), "the weather was bad on the whole");
    // A record of an earlier release has a secret that an import masks today.
    let unmasked = format!("{secret}, the key is AKIAIOSFODNN7EXAMPLQ");
    let whole = json!({"text": unmasked, "session_id": "told", "ts": "2026-03-04T10:00:00.000Z", "project": "/p"});
    client.call("memory_capture", whole);
    assert_eq!(forget(&mut client, json!({"matching": "AKIAIOSFODNN7EXAMPLQ"}))["forgotten"], 1);
    fs::write(&transcript, turn("u0", &unmasked).to_string() + "\n").expect("a file");
    let import = || daemon.run(&["import", transcript.to_str().expect("UTF-8")]).status.success();
    assert!(import());
    assert_gone(&daemon, "after the masked text was imported");
    let lines = format!("{}\n{}\n", turn("u1", &secret), turn("u2", other));
    fs::write(&transcript, lines).expect("a file");
    assert!(import() && client.call("memory_list", json!({"session_id": "told"}))["records"][1].is_object());
    let (code, said) = run(&["--matching", SECRETS[2], "--session", "told", "--yes"]);
    assert!(code == 0 && said.contains("1 record is forgotten"), "{said}");
    assert!(import());
    assert_eq!(client.call("memory_list", json!({"session_id": "told"}))["records"][0]["text"], other);
    assert_gone(&daemon, "after the transcript was imported again");
}

#[test]
fn no_other_record_names_a_forgotten_one() {
    let daemon = awake().start();
    let mut client = daemon.client();
    let texts = ["the gate is red", "the gate is blue and new", "the fence is high", "the fence has a gate"];
    let ids = texts.map(|text| capture(&mut client, text, "s", "/p"));
    let replaced =
        client.call("memory_contradict", json!({"id": ids[0], "new_fact": format!("the gate is {}", SECRETS[0])}));
    let new = replaced["new_record_id"].as_str().expect("an id").to_owned();
    client.call("memory_reinforce", json!({"ids": [ids[2], ids[3], ids[1]]}));
    assert_eq!(client.call("curiosity_pending", json!({}))["count"], 1);
    let gone = [&new, &ids[2]];
    assert_eq!(forget(&mut client, json!({"ids": gone}))["forgotten"], 2);
    let shown = client.call("memory_show", json!({"id": ids[3]}));
    assert_eq!(
        (&shown["before"][1]["record_id"], shown["links"].as_array().map(Vec::len)),
        (&json!(ids[1]), Some(1)),
        "{shown}"
    );
    let shown = client.call("memory_show", json!({"id": ids[0]}));
    assert!(shown["replaced_by"] == json!([]) && shown["valid_to"].is_string(), "{shown}");
    assert_eq!(client.call("curiosity_pending", json!({}))["count"], 0);
    assert_eq!(client.call("events_query", json!({"kind": "s4_contradiction"}))["count"], 0);
    for (method, params) in [
        ("memory_list", json!({})),
        ("memory_recall", json!({"cue": "fence gate", "limit": 100})),
        ("memory_recall_structural", json!({"structure_query": {"session": "s"}})),
        ("episodes_recent", json!({})),
        ("store_export", json!({})),
    ] {
        let found = client.call(method, params).to_string();
        assert!(found.contains(&ids[1]) && gone.iter().all(|id| !found.contains(*id)), "{method}: {found}");
    }
    for (method, params) in [
        ("memory_read", json!({"id": new})),
        ("memory_contradict", json!({"id": new, "new_fact": "another"})),
        ("memory_reinforce", json!({"ids": [ids[1], new]})),
    ] {
        let message = client.request(method, params)["error"]["message"].to_string();
        assert!(message.contains("was forgotten at"), "{method}: {message}");
    }
    let check = client.call("store_check", json!({}));
    assert_eq!((&check["ok"], &check["records"]), (&json!(true), &json!(3)), "{check}");
    // Its number is not used again.
    let next = capture(&mut client, "what came after it all", "s", "/p");
    assert_eq!(client.call("memory_show", json!({"id": next}))["before"][1]["record_id"], json!(ids[3]));
}

#[test]
fn it_is_no_tool_of_the_bridge() {
    let daemon = awake().start();
    assert!(daemon.client().call("rpc.discover", json!({})).to_string().contains("memory_forget"));
    let input = daemon.setup().home().join("input");
    let lines = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18",
            "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}),
        json!({"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "memory_forget",
            "arguments": {"session": "s1"}}}),
    ];
    fs::write(&input, lines.map(|line| line.to_string() + "\n").concat()).expect("a file");
    let mut command = daemon.setup().program();
    command.arg("--socket").arg(daemon.setup().socket()).arg("mcp");
    command.stdin(fs::File::open(&input).expect("a file")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = String::from_utf8(finish(command.spawn().expect("it runs")).stdout).expect("UTF-8");
    let replies: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |id: u64| replies.iter().find(|reply| reply["id"] == id).unwrap_or_else(|| panic!("{id} in {said}"));
    let tools = of(2)["result"]["tools"].to_string();
    assert!(tools.contains("memory_recall") && !tools.contains("forget"), "{tools}");
    assert!(of(3)["error"].is_object(), "{}", of(3));
}
