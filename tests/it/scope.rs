//! Two projects in one store: what `project_scope` shows of the other one, method by method; aliases of projects, and
//! their renames.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, setup};

/// The projects, and a word that is in each record of one and in no other.
const GARDEN: &str = "/home/me/garden";
const BOAT: &str = "/home/me/boat";
const BOAT_MARK: &str = "zarquon";

/// Makes a store in which two projects share words, contradictions, patterns, links, copies and pending turns. Returns
/// the ids of a record of the boat and of one of the garden.
fn two_projects() -> (Daemon, String, String) {
    let daemon = setup();
    let mut client = daemon.client();
    let mut first = Vec::new();
    for (project, mark) in [(GARDEN, "plumbago"), (BOAT, BOAT_MARK)] {
        for n in 0..8 {
            let text = format!("The {mark} varnish of batch {n} dried in {n} hours at the harbor.");
            let about = json!({"text": text, "project": project, "session_id": format!("{mark}-{n}"), "cue": mark});
            let got = client.call("memory_capture", about);
            first.push(got["record_id"].as_str().expect("an id").to_owned());
        }
        let fact = json!({"text": format!("The {mark} varnish is kept in the red shed."), "project": project,
            "tier": "semantic", "session_id": format!("{mark}-facts")});
        let got = client.call("memory_capture", fact);
        let new = format!("The {mark} varnish is kept in the blue shed.");
        client.call("memory_contradict", json!({"id": got["record_id"], "new_fact": new}));
    }
    // The same words in both, a record without a project, and a link across.
    for project in [GARDEN, BOAT] {
        client.call(
            "memory_capture",
            json!({"text": "Sand the hatch before the first coat.", "project": project, "session_id": project}),
        );
    }
    client.call("memory_capture", json!({"text": "Brushes are cleaned with varnish thinner."}));
    client.call("memory_reinforce", json!({"ids": [first[0], first[8]]}));
    // A record of the garden that one of the boat replaces.
    client.call(
        "store_import",
        json!({"rows": [
            {"kind": "record", "id": "01890000-0000-7000-8000-000000000001", "project": GARDEN, "session_id": "x",
                "text": "The mooring fee is five crowns.", "valid_to": "2024-05-02"},
            {"kind": "record", "id": "01890000-0000-7000-8000-000000000002", "project": BOAT, "session_id": "x",
                "text": "The zarquon mooring fee is nine crowns."},
            {"kind": "link", "from": "01890000-0000-7000-8000-000000000001",
                "to": "01890000-0000-7000-8000-000000000002", "relation": "contradicts", "weight": 1000,
                "used": "2024-05-02T00:00:00Z"},
            {"kind": "tag", "record": "01890000-0000-7000-8000-000000000002", "name": "identity"},
            {"kind": "tag", "record": "01890000-0000-7000-8000-000000000002", "name": "pinned"},
        ]}),
    );
    client.call("memory_consolidate", json!({}));
    let pending = json!({"text": "A zarquon turn that waits in the spool.", "role": "user", "ts": "2024-05-01"});
    let head = json!({"version": 1, "session_id": "waiting", "cwd": BOAT, "deferred_at": "2024-05-01T10:00:00Z"});
    let spool = daemon.setup().store().join(".deferred-captures");
    std::fs::create_dir_all(&spool).expect("a folder");
    // The name of a file that is still being written: it is read and not ingested.
    std::fs::write(spool.join("waiting.live.jsonl"), format!("{head}\n{pending}\n")).expect("a file");
    (daemon, first[8].clone(), first[0].clone())
}

/// The calls of a session in the garden whose replies show texts, words or names of projects.
fn calls(boat: &str) -> Vec<(&'static str, Value)> {
    vec![
        ("memory_recall", json!({"cue": "which varnish dried at the harbor?", "limit": 50, "budget_tokens": 9000})),
        ("memory_recall", json!({"cue": "", "limit": 100, "budget_tokens": 90_000})),
        ("memory_recall", json!({"cue": "zarquon"})),
        ("memory_recall", json!({"cue": "zarquom"})),
        ("memory_recall", json!({"cue": "varnis xyzzyx", "also": ["zarquon"]})),
        ("memory_recall", json!({"cue": "\"zarquon varnish\""})),
        ("memory_recall", json!({"cue": "mooring fee"})),
        ("memory_recall", json!({"cue": "Sand the hatch before the first coat."})),
        ("memory_recall", json!({"cue": "latest varnish", "passages": true})),
        ("memory_recall", json!({"cue": "varnish", "session_id": "opened"})),
        ("memory_search", json!({"query": "zarquon varnish", "k": 24})),
        ("claim_check", json!({"cue": "the mooring fee is five crowns"})),
        ("claim_check", json!({"cue": "zarquon varnish in the red shed"})),
        ("memory_temporal_recall", json!({"cue": "zarquon varnish", "limit": 100})),
        ("memory_temporal_recall", json!({"as_of": "2999-01-01", "changed_since": "2000-01-01", "limit": 100})),
        ("memory_recall_structural", json!({"structure_query": {}, "budget_tokens": 90_000})),
        ("memory_recall_structural", json!({"structure_query": {"tag": "contradict"}, "budget_tokens": 90_000})),
        ("memory_recall_structural", json!({"structure_query": {"tier": "semantic"}, "budget_tokens": 90_000})),
        ("memory_recall_structural", json!({"structure_query": {"session": "zarquon-1"}, "budget_tokens": 90_000})),
        ("prompt_recall", json!({"prompt": "How long did the zarquon varnish of batch 3 dry at the harbor?"})),
        ("prompt_recall", json!({"prompt": "How many crowns is the mooring fee at the harbor?"})),
        ("session_start_payload", json!({"session_id": "new", "wake_depth": "deep"})),
        ("session_start_payload", json!({"session_id": "new", "wake_depth": "minimal"})),
        ("session_refresh_if_stale", json!({"watermark": "2000-01-01T00:00:00Z", "session_id": "new"})),
        ("episodes_recent", json!({"n": 1000})),
        ("episodes_recent", json!({"n": 1000, "session_id": "zarquon-1"})),
        ("curiosity_pending", json!({})),
        ("schema_list", json!({})),
        ("schema_list", json!({"domain": BOAT})),
        ("events_query", json!({"kind": "s4_contradiction"})),
        ("events_query", json!({"kind": "session_started"})),
        ("memory_consolidate", json!({})),
        ("memory_read", json!({"id": boat})),
        ("topology", json!({})),
        ("status_light", json!({})),
        ("profile_get", json!({})),
    ]
}

/// Returns what a reply says, without what the call itself has said.
fn said(client: &mut Client, method: &str, params: &Value) -> String {
    let reply = client.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string());
    let reply = &reply[if reply["error"].is_null() { "result" } else { "error" }];
    let mut reply = reply.clone();
    if let Some(reply) = reply.as_object_mut() {
        // The caller's own words.
        reply.remove("unknown_words");
    }
    reply.to_string()
}

#[test]
fn only_shows_nothing_of_another_project_by_any_method() {
    let (daemon, boat, garden) = two_projects();
    let mut client = daemon.client();
    let foreign = |text: &str| text.contains(BOAT_MARK) || text.contains(BOAT) || text.contains(&boat);
    let mut shown_by_prefer = 0;
    for (method, params) in calls(&boat) {
        client.call("session_start_payload", json!({"session_id": "opened", "project": BOAT}));
        let mut asked = params.clone();
        asked["project"] = json!(GARDEN);
        shown_by_prefer += usize::from(foreign(&said(&mut client, method, &asked)));
        asked["project_scope"] = json!("only");
        let got = said(&mut client, method, &asked);
        let is_refusal = method == "memory_read";
        assert!(!foreign(&got) || is_refusal, "{method} {asked}: {got}");
        assert!(!is_refusal || (got.contains("project_scope") && !got.contains(BOAT_MARK)), "{got}");
        // The knob applies where the param is absent, and to a caller without a project.
        client.call("profile_set", json!({"knob": "project_scope", "value": "only"}));
        asked["project_scope"] = Value::Null;
        let got = said(&mut client, method, &asked);
        assert!(!foreign(&got) || is_refusal, "{method} {asked} by the knob: {got}");
        let mut without = params.clone();
        without["project"] = json!("");
        let got = said(&mut client, method, &without);
        assert!(!foreign(&got) || is_refusal, "{method} without a project: {got}");
        assert!(!got.contains("plumbago"), "{method} without a project: {got}");
        client.call("profile_set", json!({"knob": "project_scope", "value": "prefer"}));
    }
    assert!(shown_by_prefer >= 20, "the calls would show the other project's words: {shown_by_prefer}");
    // What is the project's own, and what belongs to none, is shown.
    let own = json!({"cue": "varnish", "limit": 50, "budget_tokens": 9000, "project": GARDEN, "project_scope": "only"});
    let got = client.call("memory_recall", own);
    let texts = got["hits"].to_string();
    assert!(texts.contains("plumbago varnish of batch 7") && texts.contains("Brushes are cleaned"), "{got}");
    let read = json!({"id": garden, "project": GARDEN, "project_scope": "only"});
    assert!(client.call("memory_read", read)["literal_surface"].to_string().contains("plumbago"));
    let copy = json!({"cue": "Sand the hatch before the first coat.", "project": GARDEN, "project_scope": "only"});
    assert_eq!(client.call("memory_recall", copy)["hits"][0]["copies"], Value::Null);
}

#[test]
fn a_small_project_is_found_among_many_records_of_another() {
    let daemon = setup();
    let mut client = daemon.client();
    client.call("memory_capture", json!({"text": "the old anchor is on the shelf", "project": "small"}));
    for page in 0..4 {
        let row = |n: usize| json!({"kind": "record", "text": format!("anchor number {page}-{n}"), "project": "large"});
        let rows: Vec<Value> = (0..1000).map(row).collect();
        client.call("store_import", json!({"rows": rows}));
    }
    let got = client.call("memory_recall", json!({"cue": "anchor", "project": "small", "project_scope": "only"}));
    assert_eq!(got["hits"].as_array().map(Vec::len), Some(1), "{got}");
    assert_eq!(got["hits"][0]["literal_surface"], "the old anchor is on the shelf");
}

#[test]
fn the_scope_all_puts_no_project_first() {
    let (daemon, ..) = two_projects();
    let mut client = daemon.client();
    let mut hits = |scope: &str, project: &str| {
        let params = json!({"cue": "varnish harbor", "limit": 12, "project": project, "project_scope": scope});
        client.call("memory_recall", params)["hits"].clone()
    };
    assert_eq!(hits("all", BOAT), hits("all", GARDEN));
    assert_ne!(hits("prefer", BOAT), hits("prefer", GARDEN));
    let own = hits("prefer", GARDEN);
    assert!(own[0]["literal_surface"].to_string().contains("plumbago"), "{own}");
    let message =
        client.ask(r#"{"jsonrpc":"2.0","id":1,"method":"memory_recall","params":{"cue":"x","project_scope":"mine"}}"#);
    assert_eq!(message["error"]["message"], "param 'project_scope' must be one of prefer, only, all");
}

/// Makes the files of a repository with a linked worktree. Returns the folders of both.
fn repository(home: &Path) -> (String, String) {
    let (main, tree) = (home.join("app"), home.join("app-fix"));
    let own = main.join(".git/worktrees/fix");
    for folder in [main.join(".git/objects"), main.join(".git/refs"), main.join("web"), own.clone(), tree.join("web")] {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::write(main.join(".git/HEAD"), "ref: refs/heads/main\n").expect("a file");
    fs::write(own.join("HEAD"), "ref: refs/heads/fix\n").expect("a file");
    fs::write(own.join("commondir"), "../..\n").expect("a file");
    fs::write(own.join("gitdir"), format!("{}\n", tree.join(".git").display())).expect("a file");
    fs::write(tree.join(".git"), format!("gitdir: {}\n", own.display())).expect("a file");
    let name = |path: &Path| fs::canonicalize(path).expect("it exists").to_str().expect("UTF-8").to_owned();
    (name(&main), name(&tree))
}

#[test]
fn bridge_hooks_and_import_name_the_repository_of_a_worktree() {
    let daemon = setup();
    let mut client = daemon.client();
    let setup = daemon.setup();
    let (main, tree) = repository(setup.home());
    let folder = format!("{tree}/web");
    // A record of a release that named the folder.
    client.call("memory_capture", json!({"text": "The old note is about the menu.", "project": folder}));
    let feed = |command: &mut Command, input: &str| {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the binary runs");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
        String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("UTF-8")
    };
    let program = || {
        let mut command = setup.program();
        command.arg("--socket").arg(setup.socket()).env("IAI_MCP_STORE", setup.store()).env("IAID_HOOK_TIMEOUT", "60");
        command.env("GIT_DIR", "/nowhere");
        command
    };
    let hook = json!({"session_id": "h", "cwd": folder, "prompt": "Where is the menu of the form drawn?",
        "hook_event_name": "UserPromptSubmit"});
    feed(program().args(["hook", "user-prompt-submit"]), &hook.to_string());
    let line = json!({"type": "user", "message": {"role": "user", "content": "An imported line about the menu."},
        "sessionId": "i", "uuid": "u1", "cwd": folder, "timestamp": "2024-05-01T10:00:00Z"});
    feed(program().args(["import", "-"]), &format!("{line}\n"));
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18",
        "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let ready = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    let call = |id: u32, name: &str, arguments: Value| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": name, "arguments": arguments}})
    };
    client.call("profile_set", json!({"knob": "project_scope", "value": "only"}));
    client.call("memory_capture", json!({"text": "A foreign note about the menu.", "project": "/elsewhere"}));
    let capture = call(2, "memory_capture", json!({"text": "A captured text about the menu."}));
    let input = format!("{hello}\n{ready}\n{capture}\n");
    feed(program().arg("mcp").current_dir(&folder), &input);
    let recall = call(2, "memory_recall", json!({"cue": "menu"}));
    let got = feed(program().arg("mcp").current_dir(&main), &format!("{hello}\n{ready}\n{recall}\n"));
    for text in ["The old note", "Where is the menu", "An imported line", "A captured text"] {
        assert!(got.contains(text), "{text}: {got}");
    }
    assert!(!got.contains("foreign"), "{got}");
    let names: Vec<String> = projects(&mut client).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["/elsewhere".to_owned(), main]);
}

fn projects(client: &mut Client) -> Vec<(String, u64)> {
    let got = client.call("memory_projects", json!({}));
    let one =
        |one: &Value| (one["project"].as_str().expect("a name").to_owned(), one["records"].as_u64().expect("a count"));
    let mut all: Vec<(String, u64)> = got["projects"].as_array().expect("projects").iter().map(one).collect();
    all.sort();
    all
}

#[test]
fn a_folder_is_the_project_from_the_first_call_that_says_so() {
    let (repository, folder) = ("/src/app", "/src/app/web");
    // Each client that sends both.
    let row =
        json!({"kind": "record", "text": "A row about the button.", "project": repository, "project_folder": folder});
    for (method, params) in [
        ("memory_capture", json!({"text": "A new record about the button."})),
        ("memory_recall", json!({"cue": "button"})),
        ("session_start_payload", json!({"session_id": "s"})),
        ("prompt_recall", json!({"prompt": "Which color has the round button of the form?"})),
        ("store_import", json!({"rows": [row]})),
    ] {
        let daemon = setup();
        let mut client = daemon.client();
        let old = json!({"text": "The button of the form is round and blue.", "project": folder});
        client.call("memory_capture", old);
        let mut params = params;
        if method != "store_import" {
            params["project"] = json!(repository);
            params["project_folder"] = json!(folder);
        }
        client.call(method, params);
        // A later write is acknowledged after it.
        client.call("profile_set", json!({"knob": "project_scope", "value": "only"}));
        let got = client.call("memory_recall", json!({"cue": "button form", "project": repository}));
        assert_eq!(got["hits"][0]["literal_surface"], "The button of the form is round and blue.", "{method}: {got}");
        assert_eq!(projects(&mut client).len(), 1, "{method}");
        let listed = client.call("memory_list", json!({"project": repository}));
        let records = listed["records"].as_array().expect("records");
        assert!(records.iter().all(|record| record["project"] == repository), "{method}: {listed}");
        assert_eq!(client.call("memory_list", json!({"project": folder})), listed, "{method}");
    }
}

#[test]
fn a_renamed_project_is_one_everywhere_and_in_a_copy_of_the_store() {
    let daemon = setup();
    let mut client = daemon.client();
    for (n, project) in ["a", "a", "b", "c"].into_iter().enumerate() {
        client.call("memory_capture", json!({"text": format!("a note, number {n}"), "project": project}));
    }
    let rename = |old: &str, new: &str| {
        let output = daemon.run(&["project", "rename", old, new]);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().expect("an exit code"), text(&output.stdout), text(&output.stderr))
    };
    for (old, new, said, want) in [
        ("a", "b", "a is b now: 3 records\n", vec![("b", 3), ("c", 1)]),
        ("b", "a", "b is a now: 3 records\n", vec![("a", 3), ("c", 1)]),
        ("a", "new name", "a is new name now: 3 records\n", vec![("c", 1), ("new name", 3)]),
        ("b", "b", "b is b now: 1 record\n", vec![("b", 1), ("c", 1), ("new name", 2)]),
        ("c", "new name", "c is new name now: 3 records\n", vec![("b", 1), ("new name", 3)]),
    ] {
        assert_eq!(rename(old, new), (0, said.to_owned(), String::new()), "{old} {new}");
        let want: Vec<(String, u64)> = want.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
        assert_eq!(projects(&mut client), want, "{old} {new}");
    }
    for (old, new, what) in [
        ("unknown", "b", "none is called 'unknown'"),
        ("new name", "new name", "has that name already"),
        ("", "b", "'old' must be the name of a project"),
        ("b", "", "'new' must be the name of a project"),
    ] {
        let (code, out, err) = rename(old, new);
        assert!(code == 1 && out.is_empty() && err.contains(what), "{old} {new}: {err}");
    }
    // Later records of the old name are shown under the new one, and an export carries the aliases.
    client.call("memory_capture", json!({"text": "a note of a client that knows the old name", "project": "a"}));
    assert_eq!(projects(&mut client)[1], ("new name".to_owned(), 4));
    let rows = client.call("store_export", json!({"limit": 10_000}))["rows"].clone();
    let other = setup();
    let mut copy = other.client();
    let got = copy.call("store_import", json!({"rows": rows}));
    assert_eq!(got["refused"], json!([]), "{got}");
    assert_eq!(projects(&mut copy), projects(&mut client));
    assert_eq!(copy.call("store_export", json!({"limit": 10_000}))["rows"], rows);
    assert_eq!(copy.call("store_import", json!({"rows": rows}))["new"], 0);
    let conflict = json!({"rows": [{"kind": "alias", "name": "a", "project": "elsewhere"}]});
    let got = copy.call("store_import", conflict);
    assert!(got["refused"][0]["reason"].to_string().contains("'a' has another name here"), "{got}");
}

#[test]
fn a_folder_that_became_a_repository_is_its_own_project_from_the_first_call() {
    let (outer, folder) = ("/src/outer", "/src/outer/inner");
    for (method, params) in [
        ("session_start_payload", json!({"session_id": "new", "wake_depth": "deep"})),
        ("memory_recall", json!({"cue": "which varnish is on the hull?"})),
        ("prompt_recall", json!({"prompt": "Which varnish is on the hull of the ship?", "session_id": "new"})),
        ("memory_recall", json!({"cue": ""})),
    ] {
        let daemon = setup();
        let mut client = daemon.client();
        for (text, project, within) in [
            ("The zarquon varnish is on the hull of the ship since the spring.", outer, outer),
            ("A note from within: the hull of the ship got plumbago varnish twice.", outer, folder),
            ("The plumbago varnish is on the hull of the ship since Monday.", folder, ""),
        ] {
            let about = json!({"text": text, "project": project, "project_folder": within, "session_id": text});
            client.call("memory_capture", about);
        }
        assert_eq!(projects(&mut client).len(), 1, "the folder is the repository's");
        let mut params = params;
        params["project"] = json!(folder);
        params["project_folder"] = json!(folder);
        params["project_scope"] = json!("only");
        for at in ["first", "second"] {
            params["session_id"] = json!(at);
            let got = said(&mut client, method, &params);
            assert!(!got.contains(BOAT_MARK), "{method}, {at}: {got}");
            assert!(got.contains("since Monday"), "{method}, {at}: {got}");
            // A later write is acknowledged after what the call has written.
            client.call("profile_set", json!({"knob": "masking_off", "value": true}));
        }
        assert_eq!(projects(&mut client).len(), 2, "{method}");
    }
}

#[test]
fn without_a_session_each_project_has_a_text_of_its_own() {
    let daemon = setup();
    let mut client = daemon.client();
    let text = "The build runs with the old compiler.";
    for (session, want) in [("-", "inserted"), ("", "inserted"), ("one", "reinforced")] {
        let mut capture = |project: &str| {
            let params = json!({"text": text, "project": project, "session_id": session});
            client.call("memory_capture", params)["status"].as_str().expect("a status").to_owned()
        };
        assert_eq!(capture(GARDEN), "inserted", "{session}");
        assert_eq!(capture(BOAT), want, "{session}");
        assert_eq!((capture(GARDEN), capture(BOAT)), ("reinforced".into(), "reinforced".into()), "{session}");
    }
    let mut row = json!({"kind": "record", "text": "Imported without a session.", "project": GARDEN});
    for (project, new) in [(GARDEN, 1), (BOAT, 1), (GARDEN, 0), (BOAT, 0)] {
        row["project"] = json!(project);
        assert_eq!(client.call("store_import", json!({"rows": [row]}))["new"], new, "{project}");
    }
    for project in [GARDEN, BOAT] {
        for (cue, want) in [("old compiler", text), ("imported", "Imported without a session.")] {
            let params = json!({"cue": cue, "project": project, "project_scope": "only"});
            let got = client.call("memory_recall", params);
            assert_eq!(got["hits"][0]["literal_surface"], want, "{got}");
        }
    }
    // A project that was renamed is one.
    client.call("project_rename", json!({"old": BOAT, "new": GARDEN}));
    let again = json!({"text": text, "project": BOAT});
    assert_eq!(client.call("memory_capture", again)["status"], "reinforced");
}

#[test]
fn only_shows_the_events_of_the_project_and_of_its_sessions() {
    let daemon = setup();
    let mut client = daemon.client();
    for (session, project) in [("garden-session", GARDEN), ("boat-session", BOAT), ("plain-session", "")] {
        client.call("memory_capture", json!({"text": "said in a session", "project": project, "session_id": session}));
        client.call("session_exit", json!({"session_id": session}));
    }
    // A session in a project that has no record.
    for project in ["/home/me/empty", BOAT] {
        client.call("session_start_payload", json!({"session_id": project, "project": project}));
    }
    client.call("profile_set", json!({"knob": "masking_off", "value": true}));
    let mut sessions = |kind: &str, project: &str| {
        let params = json!({"kind": kind, "project": project, "project_scope": "only"});
        let got = client.call("events_query", params)["events"].clone();
        let mut all: Vec<String> =
            got.as_array().expect("events").iter().map(|one| one["session_id"].to_string()).collect();
        all.sort();
        all.join(" ").replace('"', "")
    };
    assert_eq!(sessions("trajectory_metric", GARDEN), "garden-session plain-session");
    assert_eq!(sessions("trajectory_metric", BOAT), "boat-session plain-session");
    assert_eq!(sessions("trajectory_metric", ""), "plain-session");
    assert_eq!(sessions("session_started", "/home/me/empty"), "/home/me/empty");
    assert_eq!(sessions("session_started", GARDEN), "");
    let start = json!({"session_id": "x", "project": GARDEN, "project_scope": "only"});
    assert!(client.call("session_start_payload", start)["brain_handle"].to_string().contains("pend:0"));
}

#[test]
fn patterns_and_copies_do_not_shorten_the_list_of_the_newest() {
    let daemon = setup();
    let mut client = daemon.client();
    let mut rows: Vec<Value> = Vec::new();
    let mut record = |text: String, project: &str, ts: String, extra: Value| {
        let mut row = json!({"kind": "record", "text": text, "project": project, "ts": ts, "session_id": ts});
        row.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        rows.push(row);
    };
    for n in 0..12 {
        record(format!("a note of the garden, number {n}"), GARDEN, format!("2024-05-01T10:00:{n:02}Z"), json!({}));
    }
    for n in 0..200 {
        record("thanks".into(), GARDEN, format!("2024-05-02T10:{:02}:{:02}Z", n / 60, n % 60), json!({}));
    }
    let id = |n: usize| format!("01890000-0000-7000-8000-{n:012}");
    for n in 0..200 {
        let text = format!("Recurring pattern: word{n}, other");
        let ts = format!("2024-05-03T10:{:02}:{:02}Z", n / 60, n % 60);
        record(text, "", ts, json!({"id": id(n), "tier": "semantic", "role": "system"}));
    }
    rows.extend((0..200).map(|n| json!({"kind": "tag", "record": id(n), "name": "pattern"})));
    assert_eq!(client.call("store_import", json!({"rows": rows}))["refused"], json!([]));
    for scope in ["only", "prefer", "all"] {
        let params = json!({"cue": "", "limit": 10, "project": GARDEN, "project_scope": scope});
        let got = client.call("memory_recall", params)["hits"].clone();
        assert_eq!(got.as_array().map(Vec::len), Some(10), "{scope}: {got}");
        assert!(!got.to_string().contains("Recurring pattern: word"), "{scope}: {got}");
    }
}

#[test]
fn a_pattern_of_another_projects_text_is_never_shown() {
    let daemon = setup();
    let mut client = daemon.client();
    let id = |n: usize| format!("01890000-0000-7000-8000-{n:012}");
    let pattern = |n: usize, project: &str, words: &str| {
        json!({"kind": "record", "id": id(n), "text": format!("Recurring pattern: {words}"), "tier": "semantic",
            "role": "system", "session_id": "-patterns-", "project": project})
    };
    let mut rows = vec![
        json!({"kind": "record", "id": id(1), "text": "varnish of the garden", "project": GARDEN}),
        json!({"kind": "record", "id": id(2), "text": "varnish of the boat", "project": BOAT}),
        pattern(11, GARDEN, "first, zarquon"),
        pattern(12, GARDEN, "second, zarquon"),
        pattern(13, "", "third, zarquon"),
        pattern(14, GARDEN, "own, plumbago"),
        pattern(15, "", "both, plumbago"),
    ];
    // The same words in two projects, in so many records that a pattern is not linked to all of them.
    let said = |project: &str, session: &str, n: usize| {
        json!({"kind": "record", "text": format!("harbor mooring x{n}y"), "project": project, "session_id": session,
            "ts": format!("2024-04-01T10:{n:02}:00Z")})
    };
    rows.extend((0..24).map(|n| said(BOAT, "b", n)));
    rows.extend((0..1200).map(|n| json!({"kind": "record", "text": format!("filler z{n}z"), "session_id": "f"})));
    rows.extend((24..44).map(|n| said(GARDEN, "g", n)));
    rows.push(said(GARDEN, "h", 45));
    rows.extend((11..16).map(|n| json!({"kind": "tag", "record": id(n), "name": "pattern"})));
    // The first and the third show the other project's record, the second shows nothing.
    for (from, to) in [(11, 1), (11, 2), (13, 2), (14, 1), (15, 1)] {
        rows.push(json!({"kind": "link", "from": id(from), "to": id(to), "relation": "evidence", "weight": 1000,
            "used": "2024-05-02T00:00:00Z"}));
    }
    for page in rows.chunks(1000) {
        assert_eq!(client.call("store_import", json!({"rows": page}))["refused"], json!([]));
    }
    client.call("memory_consolidate", json!({}));
    let mut shown = |scope: &str| {
        let about = json!({"project": GARDEN, "project_scope": scope, "wake_depth": "deep", "cue": "varnish"});
        ["schema_list", "session_start_payload", "memory_recall"]
            .map(|method| client.call(method, about.clone()).to_string())
            .concat()
    };
    let all = shown("all");
    assert!(all.contains(BOAT_MARK) && all.contains("harbor, mooring"), "{all}");
    let got = shown("only");
    assert!(!got.contains(BOAT_MARK) && got.contains("own, plumbago") && got.contains("both, plumbago"), "{got}");
    assert!(!got.contains("harbor, mooring"), "{got}");
}

#[test]
fn suggestions_name_no_word_of_another_project() {
    let (daemon, ..) = two_projects();
    let mut client = daemon.client();
    for cue in ["zaruqon", "zarqon varnish", "varnish xyzzyx", "plubmago", "harbor batch xyzzyx", "zarq"] {
        let mut words = |scope: &str| {
            let params = json!({"cue": cue, "project": GARDEN, "project_scope": scope, "limit": 3});
            client.call("memory_recall", params)["did_you_mean"].to_string()
        };
        let (only, all) = (words("only"), words("all"));
        assert!(!only.contains(BOAT_MARK), "{cue}: {only}");
        assert!(cue != "zaruqon" || all.contains(BOAT_MARK), "{cue}: {all}");
        assert!(cue != "plubmago" || only.contains("plumbago"), "{cue}: {only}");
    }
}

#[test]
fn the_records_of_many_projects_are_listed_page_by_page() {
    let daemon = setup();
    let mut client = daemon.client();
    for page in 0..2 {
        let row = |n: usize| {
            json!({"kind": "record", "text": format!("record {n}"), "project": format!("p{}", n * 7 % 600),
                "session_id": format!("s{}", n % 2), "ts": format!("2024-05-01T{:02}:{:02}:00Z", n / 60 % 24, n % 7)})
        };
        let rows: Vec<Value> = (page * 600..page * 600 + 600).map(row).collect();
        assert_eq!(client.call("store_import", json!({"rows": rows}))["new"], 600);
    }
    for (filter, count) in [
        (json!({}), 1200),
        (json!({"session_id": "s1"}), 600),
        (json!({"project": "p7"}), 2),
        (json!({"project": "p7", "session_id": "s1"}), 2),
        (json!({"until": "2024-05-01T05:00:00Z"}), 309),
    ] {
        let (mut places, mut next) = (Vec::new(), Value::Null);
        loop {
            let mut params = filter.clone();
            params["limit"] = json!(97);
            params["cursor"] = next;
            let got = client.call("memory_list", params);
            for one in got["records"].as_array().expect("records") {
                places.push((one["ts"].to_string(), one["record_id"].to_string()));
            }
            next = got["next"].clone();
            if next.is_null() {
                break;
            }
        }
        assert_eq!(places.len(), count, "{filter}");
        assert!(places.windows(2).all(|two| two[0].0 >= two[1].0), "{filter}");
        places.sort();
        places.dedup();
        assert_eq!(places.len(), count, "{filter}: each once");
    }
}
