//! Recall in other words: `also` finds records that share no word with the cue, and harms no cue that needs none.

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, setup};

const FACTS: &[&str] = &[
    "Rex, our golden retriever, turned three.",
    "The basement flooded and the insurance refused to pay.",
    "The staging database listens on port 5433.",
    "We hike in the Dolomites every August.",
    "Ticket PAY-1128 is about the missing VAT line.",
    "Наш кот Барсик боится грозы.",
    "我对花生过敏，所以从来不点含花生的菜",
];

fn remembering() -> (Daemon, Client) {
    let daemon = setup();
    let mut client = daemon.client();
    for (at, text) in FACTS.iter().enumerate() {
        client.call("memory_capture", json!({"text": text, "session_id": format!("fact{at}")}));
        for n in 0..20 {
            let talk = format!("Lunch number {n} was about the weather on day {at} and nothing else.");
            client.call("memory_capture", json!({"text": talk, "session_id": format!("talk{at}")}));
        }
    }
    (daemon, client)
}

fn first(recalled: &Value) -> &str {
    recalled["hits"][0]["literal_surface"].as_str().unwrap_or_default()
}

#[test]
fn further_words_find_what_shares_no_word_with_the_cue() {
    let (_daemon, mut client) = remembering();
    for (cue, also, want) in [
        ("what pets do we have?", &["dog", "cat", "retriever", "vet"][..], 0),
        ("what water damage was there?", &["flood", "flooding", "leak", "cellar", "basement"], 1),
        ("where is the holiday?", &["alps", "hiking", "mountain range", "the dolomites"], 3),
        ("чего пугается питомец?", &["кот", "собака", "бояться"], 5),
        ("食べられないもの", &["过敏", "花生"], 6),
    ] {
        let alone = client.call("memory_recall", json!({"cue": cue}));
        assert_ne!(first(&alone), FACTS[want], "{cue} needs no further words");
        let found = client.call("memory_recall", json!({"cue": cue, "also": also}));
        assert_eq!(first(&found), FACTS[want], "{cue}: {found}");
        assert!(found.get("also_left_out").is_none(), "{found}");
    }
}

#[test]
fn further_words_of_another_subject_leave_a_name_first() {
    let (_daemon, mut client) = remembering();
    let also = ["dog", "retriever", "golden", "basement", "insurance", "lunch", "weather", "August"];
    for (cue, want) in [("PAY-1128", 4), ("port 5433", 2), ("Барсик", 5)] {
        assert_eq!(first(&client.call("memory_recall", json!({"cue": cue, "also": also}))), FACTS[want], "{cue}");
    }
}

#[test]
fn an_identifier_is_found_by_the_record_about_it() {
    let (_daemon, mut client) = remembering();
    let fact = "We set MAX_OPEN_FILES to 4096 on every worker host.";
    client.call("memory_capture", json!({"text": fact, "session_id": "limits"}));
    // Others name it in passing, among the other words of the question.
    for n in 0..8 {
        for text in [
            format!("What is the value of house {n}, and who sets it?"),
            format!("On walk {n} past lake, oak and mill somebody said MAX_OPEN_FILES."),
            format!("The value of it is low in year {n}."),
        ] {
            client.call("memory_capture", json!({"text": text, "session_id": format!("walk{n}")}));
        }
    }
    let also = ["lake", "mill", "walk"];
    for cue in ["what value has MAX_OPEN_FILES?", "MAX_OPEN_FILES", "value of MAX_OPEN_FILES"] {
        assert_eq!(first(&client.call("memory_recall", json!({"cue": cue}))), fact, "{cue}");
        let among = client.call("memory_recall", json!({"cue": cue, "also": also, "limit": 5}));
        let texts = among["hits"].as_array().unwrap().iter().map(|hit| hit["literal_surface"].as_str().unwrap());
        assert!(texts.clone().all(|text| text.contains("MAX_OPEN_FILES")), "{cue}: {:?}", texts.collect::<Vec<_>>());
    }
}

#[test]
fn words_that_occur_with_those_of_the_cue_are_offered() {
    let (_daemon, mut client) = remembering();
    for (at, day) in ["Monday", "Friday", "Easter", "Sunday"].iter().enumerate() {
        for text in [
            format!("The sourdough starter went into the oven on {day}."),
            format!("Passport stamp from {day}."),
            format!("Tulip bulbs of {day} froze."),
        ] {
            client.call("memory_capture", json!({"text": text, "session_id": format!("{at}{text}")}));
        }
    }
    client.call("memory_consolidate", json!({}));
    let found = client.call("memory_recall", json!({"cue": "flurble sourdough passport tulip"}));
    assert_eq!(found["unknown_words"], json!(["flurble"]), "{found}");
    let near = found["did_you_mean"].as_array().expect("words");
    assert!(near.contains(&json!("starter")) && near.contains(&json!("oven")), "{found}");
}

#[test]
fn little_found_names_what_is_unknown_and_what_is_near() {
    let (daemon, mut client) = remembering();
    for (cue, unknown, near) in
        [("what is a retreiver?", json!(["retreiver"]), "retriever"), ("basment", json!(["basment"]), "basement")]
    {
        let found = client.call("memory_recall", json!({"cue": cue}));
        assert_eq!((&found["unknown_words"], &found["did_you_mean"][0]), (&unknown, &json!(near)), "{cue}: {found}");
    }
    let none = client.call("memory_recall", json!({"cue": "xylophone"}));
    assert_eq!((&none["unknown_words"], none.get("did_you_mean")), (&json!(["xylophone"]), None), "{none}");
    let known = client.call("memory_recall", json!({"cue": "is the golden retriever three?"}));
    assert!(known.get("unknown_words").is_none() && known.get("did_you_mean").is_none(), "{known}");
    let output = daemon.run(&["recall", "basment"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(shown.contains("no record has: basment; did you mean: basement?"), "{shown}");
}

#[test]
fn the_command_line_takes_further_words() {
    let (daemon, _) = remembering();
    let output = daemon.run(&["recall", "what pets do we have?", "--limit", "1", "--also", "dog,golden retriever"]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains(FACTS[0]), "{shown}");
}
