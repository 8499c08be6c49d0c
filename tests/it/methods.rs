//! The memory's methods beside capture and recall, through the socket: acknowledged changes survive `kill -9`, and
//! other requests are served during a consolidation.

use serde_json::{Value, json};

use crate::harness::{Client, setup};

fn capture(client: &mut Client, text: &str, session: &str) -> String {
    let got = client.call("memory_capture", json!({"text": text, "session_id": session}));
    got["record_id"].as_str().expect("an id").to_owned()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().expect("an object").keys().map(String::as_str).collect()
}

#[test]
fn every_listed_method_returns_the_listed_keys() {
    let daemon = setup();
    let mut client = daemon.client();
    let one = capture(&mut client, "the first of the records", "s");
    let two = capture(&mut client, "the second of the records", "s");
    client.call("memory_capture", json!({"text": "the third of the records", "project": "/p"}));
    let params = |name: &str| match name {
        "events_query" => json!({"kind": "s4_contradiction"}),
        "memory_capture" => json!({"text": "a text that is long enough"}),
        "memory_contradict" => json!({"id": one, "new_fact": "the first of the facts"}),
        "claim_check" | "memory_recall" => json!({"cue": "records"}),
        "memory_forget" => json!({"ids": [two]}),
        "memory_read" | "memory_show" => json!({"id": two}),
        "memory_search" => json!({"query": "records"}),
        "memory_reinforce" => json!({"ids": [one, two]}),
        "project_rename" => json!({"old": "/p", "new": "/q"}),
        "prompt_recall" => json!({"prompt": "records"}),
        "profile_set" => json!({"knob": "masking_off", "value": true}),
        "sync_apply" => json!({"entries": []}),
        "sync_met" => json!({"peer": "00".repeat(16), "name": "host", "kind": "host"}),
        _ => json!({}),
    };
    // Keys that not every outcome has.
    let optional = [
        "error",
        "knob",
        "value",
        "status",
        "reason",
        "schema",
        "first_turn_recall",
        "also_left_out",
        "time_read",
        "unknown_words",
        "did_you_mean",
        "_scope",
        "passage",
        "forgotten",
        "left",
        "other_ids",
    ];
    let listed = client.call("rpc.discover", json!({}));
    let mut called = 0;
    for method in listed["methods"].as_array().expect("methods") {
        let name = method["name"].as_str().expect("a name");
        if name.starts_with("store_") {
            continue;
        }
        let result = client.call(name, params(name));
        let promised: Vec<&str> =
            method["result"].as_array().expect("keys").iter().map(|key| key.as_str().expect("a key")).collect();
        for key in keys(&result) {
            assert!(promised.contains(&key), "{name} returns '{key}', which is not listed");
        }
        for key in promised {
            assert!(result.get(key).is_some() || optional.contains(&key), "{name} lacks '{key}': {result}");
        }
        called += 1;
    }
    assert!(called >= 16, "{called}");
}

#[test]
fn acknowledged_changes_survive_a_kill() {
    let mut daemon = setup();
    let mut client = daemon.client();
    let one = capture(&mut client, "the parcel is with the neighbour", "s");
    let two = capture(&mut client, "the neighbour is called Weber", "s");
    let bound = client.call("memory_reinforce", json!({"ids": [one, two]}));
    let replaced = client.call("memory_contradict", json!({"id": one, "new_fact": "the parcel is at home now"}));
    client.call("memory_consolidate", json!({}));
    daemon.kill_and_restart();
    let mut client = daemon.client();
    let again = client.call("memory_reinforce", json!({"ids": [two, one]}));
    let weight = |of: &Value| of["new_weights"].as_object().and_then(|all| all.values().next()?.as_f64());
    assert_eq!((weight(&bound), weight(&again)), (Some(0.1), Some(0.2)));
    let events = client.call("events_query", json!({"kind": "s4_contradiction"}));
    assert_eq!(events["events"][0]["source_ids"], json!([one, replaced["new_record_id"]]));
    assert_eq!(client.call("events_query", json!({"kind": "cls_consolidation_run"}))["count"], 1);
    let questions = client.call("curiosity_pending", json!({}));
    assert_eq!(questions["questions"][0]["triggered_by_record_ids"], json!([one, replaced["new_record_id"]]));
    let recalled = client.recall_until(&json!({"cue": "where is the parcel"}), |hits| !hits.is_empty());
    assert_eq!(recalled["hits"][0]["record_id"], replaced["new_record_id"]);
    assert_eq!(recalled["anti_hits"][0]["record_id"], json!(one));
    assert_eq!(recalled["anti_hits"][0]["valid_to"], replaced["ts"]);
}

#[test]
fn other_requests_are_served_during_a_consolidation() {
    let daemon = setup();
    let mut client = daemon.client();
    for from in (0..2000).step_by(50) {
        for n in from..from + 50 {
            let text = format!("subject{} met object{} over matter{} as number{n}", n % 97, n % 89, n % 83);
            let params = json!({"text": text, "session_id": format!("s{}", n / 20)});
            let call = json!({"jsonrpc": "2.0", "id": n, "method": "memory_capture", "params": params});
            client.send(format!("{call}\n"));
        }
        (0..50).for_each(|_| assert!(client.line().contains("inserted")));
    }
    std::thread::scope(|scope| {
        let mut asking = daemon.client();
        let running = scope.spawn(move || asking.call("memory_consolidate", json!({})));
        let mut served = 0;
        while !running.is_finished() {
            client.call("memory_capture", json!({"text": format!("written meanwhile as number {served}")}));
            client.call("memory_recall", json!({"cue": "subject7 matter3"}));
            served += 1;
        }
        // The count depends little on the machine, which both share. Requests that waited for the consolidation would be
        // one or two.
        assert!(served >= 10, "only {served} were served");
        assert_eq!(running.join().expect("it is answered")["mode"], "heavy");
    });
}

#[test]
fn refused_calls_leave_the_store_unchanged() {
    let daemon = setup();
    let mut client = daemon.client();
    let id = capture(&mut client, "the only record that there is", "s");
    let unknown = "00000000-0000-7000-8000-000000000000";
    for (method, params, named) in [
        ("memory_reinforce", json!({"ids": [id, unknown]}), unknown),
        ("memory_reinforce", json!({"ids": id}), "'ids'"),
        ("memory_reinforce", json!({}), "'ids'"),
        ("memory_contradict", json!({"id": unknown, "new_fact": "something else"}), unknown),
        ("memory_contradict", json!({"id": id, "new_fact": ""}), "'new_fact'"),
        ("memory_contradict", json!({"id": id, "new_fact": "x".repeat(65537)}), "65536"),
        ("memory_recall_structural", json!({"structure_query": {"tier": "red"}}), "tier"),
        ("memory_recall_structural", json!({"budget_tokens": -1}), "'budget_tokens'"),
        ("events_query", json!({"kind": "s4_contradiction", "limit": 0}), "'limit'"),
        ("schema_list", json!({"confidence_min": "high"}), "'confidence_min'"),
        ("session_start_payload", json!({"session_id": 5}), "'session_id'"),
        ("session_exit", json!({"session_id": "x".repeat(513)}), "'session_id'"),
        ("memory_consolidate", json!({"session_id": []}), "'session_id'"),
        ("curiosity_pending", json!({"session_id": 1.5}), "'session_id'"),
    ] {
        let error = client.request(method, params)["error"].clone();
        assert_eq!(error["code"], -32602, "{method}: {error}");
        assert!(error["message"].as_str().expect("a message").contains(named), "{method}: {error}");
    }
    assert_eq!(daemon.status()["records"], 1);
    let hit = client.call("memory_recall", json!({"cue": "record"}))["hits"][0].clone();
    assert_eq!((&hit["valid_to"], &hit["record_id"]), (&json!(null), &json!(id)));
    assert_eq!(client.call("events_query", json!({"kind": "s4_contradiction"}))["count"], 0);
}
