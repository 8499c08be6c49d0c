//! The profile's knobs: each of six changes a recall or the session's start payload as documented and changes nothing at
//! its default; the other five appear in the payload and change no recall.

use serde_json::{Value, json};

use crate::harness::{Client, setup};

/// A knob, a call whose result it changes, and the part of the result that changes.
struct Case {
    knob: &'static str,
    unset: Value,
    method: &'static str,
    params: Value,
    part: fn(&Value) -> Value,
    before: Value,
    /// Values, and the part of the result for each.
    then: Vec<(Value, Value)>,
}

const QUOTED: &str = "A red lantern, once again.";
const TOLD: &str = "The harbour keeper saw the storm on Friday, and his lantern was red as ever.";
const FACT: &str = "It is a fact that the tide tables hang in the office.";
const SAID: &str = "Somebody said that the tables of the tide are wrong.";
const DEAR: &str = "The first kettle whistles in the kitchen.";
const TRAIN: &str = "The second kettle stood by the trains today.";
const AT_HOME: &str = "The third kettle was left in a cupboard.";
const LAST: &str = "The fourth kettle fell from the old shelf.";

fn capture(client: &mut Client, text: &str, more: Value) -> String {
    let mut params = json!({"text": text, "session_id": text});
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let got = client.call("memory_capture", params);
    got["record_id"].as_str().expect("an id").to_owned()
}

fn fill(client: &mut Client) {
    capture(client, TOLD, json!({}));
    capture(client, QUOTED, json!({}));
    capture(client, FACT, json!({"tier": "semantic"}));
    capture(client, SAID, json!({}));
    let dear = capture(client, DEAR, json!({}));
    capture(client, TRAIN, json!({}));
    capture(client, AT_HOME, json!({"project": "/home/me/Pantry"}));
    capture(client, LAST, json!({}));
    for n in 0..20 {
        let other = capture(client, &format!("Number {n} hangs on something else."), json!({}));
        client.call("memory_reinforce", json!({"ids": [dear, other]}));
    }
}

fn texts(answer: &Value) -> Value {
    answer["hits"].as_array().expect("hits").iter().map(|hit| hit["literal_surface"].clone()).collect()
}

fn first(answer: &Value) -> Value {
    answer["hits"][0]["literal_surface"].clone()
}

fn has_suggestions(answer: &Value) -> Value {
    let hits = answer["hits"].as_array().expect("hits");
    json!(hits.iter().any(|hit| hit["adjacent_suggestions"].as_array().is_some_and(|ids| !ids.is_empty())))
}

fn has_hints(answer: &Value) -> Value {
    json!(answer["hits"].as_array().expect("hits").iter().all(|hit| hit.get("_scene_hint").is_some()))
}

fn has_lines(answer: &Value) -> Value {
    json!([&answer["wake_depth"], answer["rich_club"] != ""])
}

fn cases() -> Vec<Case> {
    let kettles = json!({"cue": "kettle", "limit": 4});
    let recall = |knob, unset, params: &Value, part, before, then| Case {
        knob,
        unset,
        method: "memory_recall",
        params: params.clone(),
        part,
        before,
        then,
    };
    vec![
        Case {
            knob: "wake_depth",
            unset: json!("minimal"),
            method: "session_start_payload",
            params: json!({}),
            part: has_lines,
            before: json!(["minimal", false]),
            then: vec![(json!("standard"), json!(["standard", true])), (json!("deep"), json!(["deep", true]))],
        },
        recall(
            "literal_preservation",
            json!("strong"),
            &json!({"cue": "\"red lantern\" storm harbour keeper Friday"}),
            first,
            json!(QUOTED),
            vec![(json!("medium"), json!(QUOTED)), (json!("loose"), json!(TOLD))],
        ),
        recall(
            "literal_preservation",
            json!("strong"),
            &json!({"cue": "the exact tide tables"}),
            texts,
            json!([SAID, FACT]),
            vec![(json!("medium"), json!([FACT, SAID])), (json!("loose"), json!([FACT, SAID]))],
        ),
        recall(
            "task_support",
            json!("cued_recognition"),
            &kettles,
            has_suggestions,
            json!(true),
            vec![(json!("blank_recall"), json!(false))],
        ),
        recall(
            "scene_construction_scaffold",
            json!(true),
            &kettles,
            has_hints,
            json!(true),
            vec![(json!(false), json!(false))],
        ),
        recall(
            "interest_boost",
            json!(0.0),
            &kettles,
            texts,
            json!([LAST, AT_HOME, TRAIN, DEAR]),
            vec![(json!(1), json!([DEAR, LAST, AT_HOME, TRAIN]))],
        ),
        recall(
            "monotropism_depth",
            json!({}),
            &kettles,
            texts,
            json!([LAST, AT_HOME, TRAIN, DEAR]),
            vec![
                (json!({"Train": 1}), json!([TRAIN, LAST, AT_HOME, DEAR])),
                (json!({"train": 0}), json!([LAST, AT_HOME, TRAIN, DEAR])),
                (json!({"pantry": 0.5, "trains": 1.0}), json!([TRAIN, AT_HOME, LAST, DEAR])),
                (json!({"/home/me/Pantry": 1.0}), json!([AT_HOME, LAST, TRAIN, DEAR])),
                (json!({"boats": 1.0}), json!([LAST, AT_HOME, TRAIN, DEAR])),
            ],
        ),
    ]
}

fn set(client: &mut Client, knob: &str, value: &Value) {
    let got = client.call("profile_set", json!({"knob": knob, "value": value}));
    assert_eq!(got["status"], "ok", "{knob} {value}: {got}");
}

#[test]
fn each_of_six_knobs_has_its_documented_effect_and_none_at_its_default() {
    let daemon = setup();
    let mut client = daemon.client();
    fill(&mut client);
    for case in cases() {
        let Case { knob, unset, method, params, part, before, then } = case;
        let whole = client.call(method, params.clone());
        assert_eq!(part(&whole), before, "{knob} at its default: {whole}");
        for (value, seen) in then {
            set(&mut client, knob, &value);
            let got = client.call(method, params.clone());
            assert_eq!(part(&got), seen, "{knob} {value}: {got}");
        }
        set(&mut client, knob, &unset);
        assert_eq!(client.call(method, params), whole, "{knob} at its default again");
    }
}

#[test]
fn preferences_reorder_hits_and_add_none() {
    let daemon = setup();
    let mut client = daemon.client();
    fill(&mut client);
    set(&mut client, "monotropism_depth", &json!({"trains": 1.0}));
    set(&mut client, "interest_boost", &json!(1.0));
    for (cue, found) in [("the fourth kettle on the old shelf", LAST), ("harbour keeper", TOLD)] {
        assert_eq!(first(&client.call("memory_recall", json!({"cue": cue}))), found, "{cue}");
    }
    let strangers = client.call("memory_recall", json!({"cue": "volcano"}));
    assert_eq!(strangers["hits"], json!([]), "a record without any of the words is no hit");
}

#[test]
fn the_other_five_appear_in_the_session_payload_and_change_no_recall() {
    let daemon = setup();
    let mut client = daemon.client();
    fill(&mut client);
    let params = json!({"cue": "the kettle and the red lantern"});
    let recalled = client.call("memory_recall", params.clone());
    for (knob, value) in [
        ("dunn_quadrant", json!("low-registration")),
        ("demand_avoidance_tolerance", json!("imperative")),
        ("masking_off", json!(false)),
        ("inertia_awareness", json!(true)),
        ("camouflaging_relaxation", json!(0.75)),
    ] {
        let payload_text = |client: &mut Client| {
            let payload = client.call("session_start_payload", json!({"wake_depth": "standard"}));
            payload["l0"].as_str().expect("a text").to_owned()
        };
        assert!(!payload_text(&mut client).contains(knob), "at its default: {}", payload_text(&mut client));
        set(&mut client, knob, &value);
        let said = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        assert!(payload_text(&mut client).contains(&format!("{knob} {said}")), "{knob}: {}", payload_text(&mut client));
        assert_eq!(client.call("memory_recall", params.clone()), recalled, "{knob}");
    }
}
