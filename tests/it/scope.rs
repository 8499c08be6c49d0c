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
