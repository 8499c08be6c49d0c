//! Invalid input to every method: each param listed by `rpc.discover` with every wrong type and far out of its
//! range. The error names the param, and store and connection are unchanged.

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, setup};

/// A lone surrogate: valid JSON, but not valid text.
const LONE_SURROGATE: &str = r#""\ud800""#;

const UNKNOWN_ID: &str = "00000000-0000-7000-8000-000000000000";

/// Returns JSON values that are invalid for a type.
fn invalid_values(kind: &str) -> &'static [&'static str] {
    match kind {
        "string" => &["5", "-1.5", "1e308", "true", "[]", r#"["a"]"#, "{}", LONE_SURROGATE, r#""a\udc00b""#],
        "integer" => &[
            r#""5""#,
            r#""""#,
            "1.5",
            "true",
            "[]",
            "[1]",
            "{}",
            LONE_SURROGATE,
            "1e300",
            "-1e300",
            "-1",
            "99999999999999999999999999999999",
            "-9223372036854775809",
            "9223372036854775807",
        ],
        "number" => &[r#""0.5""#, "true", "[]", "{}", LONE_SURROGATE, "1e400", "-1e400"],
        "object" => &["5", r#""a""#, "true", "[]", r#"[{}]"#, LONE_SURROGATE],
        "array" => &["5", r#""a""#, "true", "{}", LONE_SURROGATE],
        "boolean" => &["5", "0", r#""true""#, "[]", "{}", LONE_SURROGATE],
        // A knob's value may be any JSON without lone surrogates.
        "any" => &[LONE_SURROGATE, r#"{"\ud800": 1}"#, r#"["\udfff"]"#],
        other => panic!("no invalid values for type {other}"),
    }
}

/// Returns valid params for a method.
fn valid_params(method: &str, id: &str, home: &str) -> Value {
    match method {
        "events_query" => json!({"kind": "s4_contradiction"}),
        "memory_capture" => {
            json!({"text": "A text that would be stored, if the rest were valid.", "part": 1, "parts": 2})
        }
        "memory_contradict" => json!({"id": id, "new_fact": "What would hold now, if the rest were valid."}),
        "claim_check" | "memory_recall" => json!({"cue": "record"}),
        "memory_forget" => json!({"session": "s"}),
        "memory_read" | "memory_show" => json!({"id": id}),
        "memory_search" => json!({"query": "record"}),
        "memory_reinforce" => json!({"ids": [id, id]}),
        "project_rename" => json!({"old": "/p", "new": "/q"}),
        "prompt_recall" => json!({"prompt": "record"}),
        "profile_set" => json!({"knob": "masking_off", "value": false}),
        "store_backup" => json!({"path": format!("{home}/copy.db")}),
        "store_restore" => json!({"path": format!("{home}/copy.db")}),
        "sync_apply" => json!({"entries": [{"kind": "record", "ids": [id], "ts": 1, "text": "Never stored either."}]}),
        "sync_met" => json!({"peer": "00".repeat(16), "name": "host", "kind": "host"}),
        "store_import" => json!({"rows": [{"kind": "record", "text": "A text that would be stored, too."}]}),
        _ => json!({}),
    }
}

/// Returns the exported rows, the profile, and the names of the files beside the store. The daemon's own status file
/// and its journal's folder may appear at any time.
fn snapshot(daemon: &Daemon) -> (Vec<Value>, Value, Vec<std::ffi::OsString>) {
    let mut client = daemon.client();
    let exported = client.call("store_export", json!({"limit": 10_000}));
    assert_eq!(exported["cursor"], json!(null));
    let rows = exported["rows"].as_array().expect("rows").clone();
    let files = |folder| std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = files(daemon.setup().store()).chain(files(daemon.setup().home().to_owned())).collect();
    names.retain(|name| name != "logs" && !name.to_string_lossy().starts_with("lifecycle_state.json"));
    names.sort();
    (rows, client.call("profile_get", json!({})), names)
}

fn daemon_with_records() -> (Daemon, String) {
    let daemon = setup();
    let mut client = daemon.client();
    let first = client.call("memory_capture", json!({"text": "The first record in the store.", "session_id": "s"}));
    let second = client.call("memory_capture", json!({"text": "The second record in the store.", "session_id": "s"}));
    let ids = [&first["record_id"], &second["record_id"]];
    client.call("memory_reinforce", json!({"ids": ids}));
    client.call("memory_contradict", json!({"id": ids[1], "new_fact": "The second record is another one."}));
    let id = ids[0].as_str().expect("an id").to_owned();
    (daemon, id)
}

/// Asserts that the call is refused and the message names the param.
fn assert_refused(client: &mut Client, method: &str, params: &str, name: &str) {
    let reply = client.ask(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#));
    let error = &reply["error"];
    assert_eq!(error["code"], -32602, "{method} {params}: {reply}");
    let message = error["message"].as_str().expect("a message");
    assert!(message.contains(&format!("'{name}'")), "{method} {params}: {message}");
}

/// Returns `valid` as JSON text with one param replaced by JSON that a `Value` may not be able to hold.
fn with(valid: &Value, name: &str, value: &str) -> String {
    let mut fields: Vec<String> = valid
        .as_object()
        .expect("params")
        .iter()
        .filter(|(key, _)| *key != name)
        .map(|(key, value)| format!("{}:{value}", json!(key)))
        .collect();
    fields.push(format!("{}:{value}", json!(name)));
    format!("{{{}}}", fields.join(","))
}

#[test]
fn every_param_of_every_method_is_validated() {
    let (daemon, id) = daemon_with_records();
    let home = daemon.setup().home().display().to_string();
    let before = snapshot(&daemon);
    let mut client = daemon.client();
    let mut checked = 0;
    for method in client.call("rpc.discover", json!({}))["methods"].as_array().expect("methods") {
        let name = method["name"].as_str().expect("a name");
        let valid = valid_params(name, &id, &home);
        for param in method["params"].as_array().expect("params") {
            let (of, kind) = (param["name"].as_str().expect("a name"), param["type"].as_str().expect("a type"));
            for value in invalid_values(kind) {
                assert_refused(&mut client, name, &with(&valid, of, value), of);
                checked += 1;
            }
            if param["required"] == true {
                let mut without = valid.clone();
                without.as_object_mut().expect("params").remove(of);
                assert_refused(&mut client, name, &without.to_string(), of);
                if kind != "any" {
                    assert_refused(&mut client, name, &with(&valid, of, "null"), of);
                }
            }
        }
        let listed = client.ask(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{name}","params":[1]}}"#));
        let takes_none = method["params"].as_array().is_some_and(Vec::is_empty);
        assert!(takes_none || listed["error"]["code"] == -32602, "{name} with a list: {listed}");
    }
    assert!(checked > 250, "only {checked}");
    assert_eq!(snapshot(&daemon), before);
    assert_eq!(client.call("ping", json!({})), json!({}));
}

#[test]
fn meaningless_values_of_the_right_type_are_refused() {
    let (daemon, id) = daemon_with_records();
    let before = snapshot(&daemon);
    let mut client = daemon.client();
    let text = "A text that would be stored, if the rest were valid.";
    let long = "x".repeat((64 << 10) + 1);
    let dates = [
        "",
        " ",
        "soon",
        "2023-02-29",
        "2024-13-01",
        "2024-00-10",
        "2024-01-32",
        "24-01-01",
        "2024-1-1",
        "2024-01-01T25:00",
        "2024-01-01T10:60:00Z",
        "2024-01-01T10:00:00+99:00",
        "99999-01-01",
        "2024-01-01T",
        "1700000000",
        "0",
        "\u{0}",
        "2024-01-01 and more",
        "٢٠٢٤-٠١-٠١",
    ];
    let mut cases: Vec<(&str, Value, &str)> = Vec::new();
    for date in dates {
        cases.push(("memory_capture", json!({"text": text, "ts": date}), "ts"));
        cases.push(("memory_recall", json!({"cue": "record", "since": date}), "since"));
        cases.push(("memory_recall", json!({"cue": "record", "until": date}), "until"));
        cases.push(("memory_recall_structural", json!({"structure_query": {"day": date}}), "structure_query"));
    }
    for number in [json!(0), json!(-1), json!(i64::MIN), json!(u64::MAX), json!(101), json!(1e18)] {
        cases.push(("memory_recall", json!({"cue": "record", "limit": number}), "limit"));
        if number != json!(101) {
            cases.push(("events_query", json!({"kind": "llm_health", "limit": number}), "limit"));
            cases.push(("memory_recall_structural", json!({"max_records": number}), "max_records"));
            cases.push(("memory_capture", json!({"text": text, "part": 1, "parts": number}), "parts"));
            cases.push(("store_export", json!({"limit": number}), "limit"));
        }
    }
    for number in [json!(-0.1), json!(1.5), json!(1e308), json!(-1e308)] {
        cases.push(("schema_list", json!({"confidence_min": number}), "confidence_min"));
    }
    for unknown in
        [UNKNOWN_ID, "", "1", "none", "0x00", "' OR 1=1 --", "00000000-0000-7000-8000-00000000000", &id[..35]]
    {
        cases.push(("memory_contradict", json!({"id": unknown, "new_fact": "something else"}), "id"));
        cases.push(("memory_reinforce", json!({"ids": [id, unknown]}), "ids"));
    }
    let too_many: Vec<String> = (0..65).map(|n| format!("00000000-0000-7000-8000-{n:012}")).collect();
    cases.extend([
        ("memory_reinforce", json!({"ids": too_many}), "ids"),
        ("memory_reinforce", json!({"ids": [id, 5]}), "ids"),
        ("memory_reinforce", json!({"ids": [id, null]}), "ids"),
        ("memory_reinforce", json!({"ids": [[id]]}), "ids"),
        ("memory_capture", json!({"text": long}), "text"),
        ("memory_capture", json!({"text": "я".repeat(32 << 10) + "!"}), "text"),
        ("memory_capture", json!({"text": text, "cue": long}), "cue"),
        ("memory_capture", json!({"text": text, "session_id": long}), "session_id"),
        ("memory_capture", json!({"text": text, "project": long}), "project"),
        ("memory_capture", json!({"text": text, "role": "robot"}), "role"),
        ("memory_capture", json!({"text": text, "role": ""}), "role"),
        ("memory_capture", json!({"text": text, "parts": 2}), "part"),
        ("memory_contradict", json!({"id": id, "new_fact": long}), "new_fact"),
        ("memory_contradict", json!({"id": id, "new_fact": ""}), "new_fact"),
        ("memory_recall_structural", json!({"structure_query": {"who": 5}}), "structure_query"),
        ("memory_recall_structural", json!({"structure_query": {"tier": "red"}}), "structure_query"),
        ("session_start_payload", json!({"wake_depth": "deepest"}), "wake_depth"),
        ("session_start_payload", json!({"session_id": long}), "session_id"),
        ("session_exit", json!({"session_id": long}), "session_id"),
        ("store_backup", json!({"path": ""}), "path"),
        ("store_backup", json!({"path": "relative.db"}), "path"),
        ("store_restore", json!({"path": "relative.db"}), "path"),
        ("store_restore", json!({"path": "/nowhere"}), "path"),
        ("store_import", json!({"rows": vec![json!({}); 1001]}), "rows"),
        ("store_export", json!({"cursor": "nowhere"}), "cursor"),
    ]);
    for (method, params, name) in &cases {
        assert_refused(&mut client, method, &params.to_string(), name);
    }
    for nested in [
        ("memory_reinforce", r#"{"ids":["\ud800"]}"#, "ids"),
        ("memory_recall_structural", r#"{"structure_query":{"who":"\ud800"}}"#, "structure_query"),
        ("memory_recall_structural", r#"{"structure_query":{"\ud800":"a"}}"#, "structure_query"),
        ("store_import", r#"{"rows":["\ud800"]}"#, "rows"),
    ] {
        let reply = client.ask(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{}","params":{}}}"#, nested.0, nested.1));
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        let counted = nested.0 == "store_import" && reply["result"]["refused"] != json!([]);
        assert!(counted || (reply["error"]["code"] == -32602 && message.contains('\'')), "{nested:?}: {reply}");
    }
    assert_eq!(snapshot(&daemon), before);
}

#[test]
fn query_operators_in_a_cue_are_text() {
    let daemon = setup();
    let mut client = daemon.client();
    client.call("memory_capture", json!({"text": "Otters hold hands while they sleep on the tide."}));
    client.call("memory_capture", json!({"text": "Beavers build dams and do not sleep at night."}));
    for cue in [
        "otters AND dams",
        "otters OR dams",
        "otters NOT hands",
        "NOT otters",
        "otters NEAR hands",
        "NEAR(otters hands, 2)",
        "NEAR(otters",
        "\"otters\" + \"hands\"",
        "otters*",
        "\"ott\"* otters",
        "^otters",
        "text:otters",
        "text : otters",
        "{text cue} : otters",
        "-text:otters",
        "- {text} : (otters)",
        "(otters",
        "otters)",
        "((otters) AND",
        "otters AND",
        "AND otters",
        "\"otters",
        "otters\"",
        "\"\"otters\"\"",
        "'otters'",
        "rank MATCH otters",
        "otters; DELETE FROM record",
        "otters\0hands",
        "otters:otters",
        "otters%",
        "_otters_",
        "otters\\",
        "colspec:{otters}",
        "otters ^ + * - : ( ) { } \"",
    ] {
        for mode in [cue.to_owned(), format!("exact {cue}"), format!("« {cue} »")] {
            let got = client.call("memory_recall", json!({"cue": mode}));
            let first = got["hits"][0]["literal_surface"].as_str().unwrap_or_default();
            assert!(first.starts_with("Otters") || cue.contains("dams"), "{mode}: {got}");
            assert!(!first.is_empty(), "{mode}: {got}");
        }
    }
    assert_eq!(daemon.status()["records"], 2);
}
