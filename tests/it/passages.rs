//! `memory_recall` with `passages`, and `memory_read` for the rest of a record.

use serde_json::{Value, json};

use crate::harness::{Client, setup};

fn hits<'v>(reply: &'v Value, of: &str) -> &'v [Value] {
    reply[of].as_array().expect("hits")
}

/// Returns the whole text of a record, read in parts of `bytes` bytes.
fn read(client: &mut Client, id: &Value, bytes: usize) -> String {
    let (mut text, mut at) = (String::new(), 0);
    loop {
        let part = client.call("memory_read", json!({"id": id, "at": at, "bytes": bytes}));
        text.push_str(part["literal_surface"].as_str().expect("a text"));
        if part["passage"].is_null() || text.len() as u64 == part["record_bytes"] {
            return text;
        }
        at = text.len();
        assert_eq!(
            part["passage"]["at"].as_u64().expect("an offset") + part["passage"]["bytes"].as_u64().expect("a length"),
            at as u64
        );
    }
}

#[test]
fn a_long_hit_is_cut_to_the_passage_that_bears_on_the_cue() {
    let daemon = setup();
    let mut client = daemon.client();
    let filler = |word: &str, count: usize| format!("{word} goes on and on about it. ").repeat(count);
    let texts: Vec<String> = [
        ("The boat talk", "Der Hafenmeister Müller hat die Liegegebühr auf 340 Euro erhöht. "),
        ("今天的会议", "港口的船位费用提高到三百四十欧元。"),
        ("Some harbor news", "The harbor master raised the mooring fee of the boat to 340 euros! "),
    ]
    .iter()
    .map(|(word, fact)| format!("{}{fact}{}", filler(word, 90), filler("Another thing", 90)))
    .collect();
    for text in &texts {
        client.call("memory_capture", json!({"text": text, "session_id": "s"}));
    }
    let short = "The mooring fee of the boat was 310 euros before.";
    client.call("memory_capture", json!({"text": short}));
    for (cue, fact) in [
        ("Liegegebühr Hafenmeister", "Hafenmeister Müller hat die Liegegebühr auf 340 Euro"),
        ("船位费用", "港口的船位费用提高到三百四十欧元"),
        ("mooring fee of the boat", "raised the mooring fee of the boat to 340 euros!"),
    ] {
        let whole = client.call("memory_recall", json!({"cue": cue}));
        let reply = client.call("memory_recall", json!({"cue": cue, "passages": true}));
        assert!(
            hits(&reply, "hits")
                .iter()
                .any(|hit| hit["literal_surface"].as_str().is_some_and(|text| text.contains(fact))),
            "{reply}"
        );
        assert!(reply["budget_used"].as_u64().expect("a number") <= 1500, "{reply}");
        for hit in hits(&reply, "hits") {
            let (text, passage) = (hit["literal_surface"].as_str().expect("a text"), &hit["passage"]);
            if text == short {
                assert!(passage.is_null() && hit["record_bytes"].is_null(), "{hit}");
                continue;
            }
            let record = read(&mut client, &hit["record_id"], 1000);
            assert!(texts.contains(&record));
            let at = passage["at"].as_u64().expect("an offset") as usize;
            assert_eq!(&record[at..at + passage["bytes"].as_u64().expect("a length") as usize], text);
            assert_eq!((&passage["text"], &hit["record_bytes"]), (&json!(text), &json!(record.len())));
        }
        // Without the param the texts are whole.
        assert!(texts.contains(&hits(&whole, "hits")[0]["literal_surface"].as_str().expect("a text").to_owned()));
        assert!(
            hits(&whole, "hits").iter().all(|hit| hit.get("passage").is_none() && hit.get("record_bytes").is_none())
        );
    }
}

#[test]
fn superseded_records_are_cut_too() {
    let daemon = setup();
    let mut client = daemon.client();
    let text = format!("{}The gate is green. {}", "Nothing of it. ".repeat(200), "And more. ".repeat(200));
    let id = client.call("memory_capture", json!({"text": text}))["record_id"].clone();
    client.call("memory_contradict", json!({"id": id, "new_fact": "The gate is red."}));
    let reply = client.call("memory_recall", json!({"cue": "gate", "passages": true}));
    let old = &hits(&reply, "anti_hits")[0];
    assert_eq!(old["record_bytes"], json!(text.len()));
    assert!(old["passage"]["text"].as_str().expect("a text").contains("The gate is green."), "{old}");
}
