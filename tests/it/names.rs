//! Names that are stop words in some language, words that ask for literal words, and very long cues: nothing is left out
//! before the store was asked.

use serde_json::{Value, json};

use crate::harness::{Client, setup};

/// A record, and a cue whose first hit it must be.
const NAMES: &[(&str, &str)] = &[
    ("The roof is repaired by Will from next door.", "who is Will?"),
    ("Don keeps the spare key.", "what does Don keep"),
    ("Lunch with Al was moved to noon.", "who is al"),
    ("Ella sings in the choir.", "who is ella?"),
    ("The IT department resets the badges.", "where is IT?"),
    ("Legacy files have DES encryption.", "what is DES"),
    ("The NAS hums in the cellar.", "where is the NAS"),
    ("Che is the name of the parrot.", "who is Che"),
    ("Elle is a magazine.", "what is elle?"),
    ("Old games run under DOS.", "do we have DOS"),
    ("The MES tracks each pallet.", "what is the MES"),
    ("Dr. Ma does the check-ups.", "who is Dr. Ma"),
    ("The WHO published the table.", "what did the WHO do"),
    ("The board is an Arduino Uno.", "is it an Uno"),
    ("Prices are in Korean Won.", "is it in Won"),
    ("Les drives the van.", "who is Les"),
    ("An brings the flowers.", "who is An?"),
    ("The EU sent a letter.", "what about the EU"),
    ("Yo is what the ship is called.", "what is Yo"),
    ("Su paints the gate.", "who is su?"),
    ("The ERA form is due.", "what is the ERA"),
    ("Em plays the cello.", "who is em"),
    ("Mi feeds the cats.", "who is Mi"),
    ("Herr Von repariert die Uhr.", "wer ist der Von?"),
    ("Lui est le nom du chien.", "qui est Lui ?"),
    ("Sin es el apodo de Marta.", "¿quién es Sin?"),
    ("Io is the moon on the poster.", "where is io"),
    ("Nos is the drink in the fridge.", "what is nos"),
    ("Кот Вы спит на печи.", "кто это Вы?"),
    ("La is the name of the goat.", "who is La?"),
    ("Unter is the last stop of the tram.", "where is unter"),
];

fn first(client: &mut Client, cue: &str) -> String {
    let got = client.call("memory_recall", json!({"cue": cue, "limit": 5}));
    got["hits"][0]["literal_surface"].as_str().unwrap_or("nothing").to_owned()
}

fn capture(client: &mut Client, text: &str, session: &str, tier: &str) {
    let params = json!({"text": text, "session_id": session, "tier": tier});
    assert_eq!(client.call("memory_capture", params)["status"], "inserted", "{text}");
}

#[test]
fn names_that_are_stop_words_are_found() {
    assert!(NAMES.len() >= 30);
    let daemon = setup();
    let mut client = daemon.client();
    for (n, (record, _)) in NAMES.iter().enumerate() {
        capture(&mut client, record, &format!("s{n}"), "episodic");
        capture(
            &mut client,
            &format!("It will be what it is, and they do not know who it was in {n}."),
            "chat",
            "episodic",
        );
    }
    let mut missed = Vec::new();
    for (record, cue) in NAMES {
        let got = first(&mut client, cue);
        if got != *record {
            missed.push(format!("{cue}: {got}"));
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn a_cue_of_stop_words_only_asks_for_the_name_among_them() {
    let daemon = setup();
    let mut client = daemon.client();
    for n in 0..12 {
        let talk = format!("It will do what it is, and the sons of les, los and von are in the end of {n}.");
        capture(&mut client, &talk, "chat", "episodic");
    }
    let mut missed = Vec::new();
    for (name, cues) in [
        ("Will", &["will", "Will", "who is will", "what does will do"][..]),
        ("Les", &["les", "Les", "who is Les?", "who is les", "what does Les do?"]),
        ("Los", &["los", "what is Los?", "where is los"]),
        ("Von", &["von", "wer ist der Von?", "wer ist von"]),
        ("Once", &["once", "who is Once?", "who was once"]),
        ("Она", &["она", "кто это Она?"]),
    ] {
        let text = format!("{name} repairs the roof on Saturdays.");
        capture(&mut client, &text, name, "episodic");
        for cue in cues {
            let got = first(&mut client, cue);
            if got != text {
                missed.push(format!("{cue}: {got}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn a_name_comes_before_the_word_that_it_is_written_like() {
    let daemon = setup();
    let mut client = daemon.client();
    for (n, talk) in [
        "will you mark the page in may",
        "we hope for a long summer and a rose garden",
        "die vera ist am ende eine rosa blume",
        "la pierre est sur le chemin de mars",
        "bill me for the grant please, don",
    ]
    .iter()
    .cycle()
    .take(20)
    .enumerate()
    {
        capture(&mut client, &format!("{talk} ({n})"), &format!("talk{n}"), "episodic");
    }
    let mut missed = Vec::new();
    for (name, cues) in [
        ("Mark", &["who is mark?", "wer ist mark?", "what does mark repair?"][..]),
        ("Rose", &["who is rose", "qui est rose ?"]),
        ("Hope", &["who is hope?", "¿quién es hope?"]),
        ("Summer", &["who is summer?"]),
        ("Pierre", &["qui est pierre ?", "wer ist pierre"]),
        ("Mars", &["qui est mars ?"]),
        ("Bill", &["who is bill?", "does bill repair roofs?"]),
        ("Will", &["what did will repair?", "does will repair roofs?"]),
        ("Don", &["what did don repair?", "does don repair roofs?"]),
    ] {
        let text = format!("{name} repairs the roof of the barn.");
        capture(&mut client, &text, name, "episodic");
        for cue in cues {
            let got = first(&mut client, cue);
            if got != text {
                missed.push(format!("{cue}: {got}"));
            }
        }
    }
    assert_eq!(missed, [""; 0]);
}

#[test]
fn words_that_ask_for_literal_words_hide_no_record() {
    let daemon = setup();
    let mut client = daemon.client();
    capture(&mut client, "Olga wrote the parser in 2019.", "a", "semantic");
    capture(&mut client, "She said: the parser is exact to the byte.", "b", "procedural");
    for (cue, want) in [
        ("who made the parser in 2019?", "Olga"),
        ("who wrote the parser in 2019?", "Olga"),
        ("quote what was said of the parser's bytes", "She"),
        ("\"the parser in 2019\"", "Olga"),
        ("\"exact to the byte\"", "She"),
        ("`exact to the byte`", "She"),
        ("»exact to the byte«", "She"),
        ("'exact to the byte' of the parser in 2019", "She"),
    ] {
        assert!(first(&mut client, cue).starts_with(want), "{cue}");
    }
}

#[test]
fn the_known_words_of_a_long_cue_are_searched() {
    let daemon = setup();
    let mut client = daemon.client();
    let text = "The log said: cannot find module left-pad in the image.";
    capture(&mut client, text, "a", "episodic");
    for count in [400, 900] {
        let unknown: String = (0..count).map(|n| format!("zq{}xv ", to_letters(n))).collect();
        assert_eq!(first(&mut client, &format!("{unknown} left-pad image module")), text, "{count}");
    }
}

fn to_letters(n: usize) -> String {
    format!("{n:07}").bytes().map(|digit| (digit - b'0' + b'a') as char).collect()
}

#[test]
fn short_texts_are_stored_and_found() {
    let daemon = setup();
    let mut client = daemon.client();
    for (text, cue) in [
        ("我对花生过敏", "花生"),
        ("下周三去北京开会", "北京"),
        ("PIN is 4711", "PIN"),
        ("我叫李雷", "李雷"),
        ("猫", "猫"),
    ] {
        capture(&mut client, text, text, "episodic");
        assert_eq!(first(&mut client, cue), text);
    }
    for text in ["", " ", "\n\t", "\u{3000}"] {
        let got = client.call("memory_capture", json!({"text": text}));
        assert_eq!(got, json!({"status": "skipped", "record_id": null, "reason": "too short"}), "{text:?}");
    }
}

/// Days since 1970 of the system's clock, in UTC.
fn today() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    now.as_secs() as i64 / 86_400
}

fn noon(day: i64) -> String {
    jiff::Timestamp::from_second(day * 86_400 + 43_200).expect("a time").to_string()
}

#[test]
fn a_time_in_a_question_leans_to_what_was_said_then() {
    // Again if midnight passes meanwhile.
    while !a_time_leans(today()) {}
}

fn a_time_leans(day: i64) -> bool {
    let daemon = crate::harness::Setup::new().env("TZ", "UTC").start();
    let mut client = daemon.client();
    let date = noon(day - 7)[..10].to_owned();
    for (text, ts) in [
        ("We painted the fence green with the kids.", noon(day - 1)),
        ("We rented two canoes at the lake.", noon(day - 7)),
        ("The wedding of Olga was yesterday's topic for hours.", noon(day - 30)),
        ("The heron is grey.", noon(day - 400)),
    ] {
        client.call("memory_capture", json!({"text": text, "ts": ts, "session_id": text}));
    }
    let mut checks = Vec::new();
    for (cue, want) in [
        ("what did we do yesterday?", "We painted"),
        ("was haben wir gestern gemacht?", "We painted"),
        (&format!("what did I tell you on {date}?"), "We rented"),
        ("what did I tell you 7 days ago?", "We rented"),
        ("what did I tell you last?", "We painted"),
        ("what was yesterday's topic at the wedding of Olga?", "The wedding"),
        ("which heron did I mention yesterday?", ""),
    ] {
        let got = client.call("memory_recall", json!({"cue": cue}));
        let found: Vec<String> =
            got["hits"].as_array().unwrap().iter().map(|hit| hit["literal_surface"].to_string()).collect();
        let is_first = found.first().is_some_and(|hit| hit.starts_with(&format!("\"{want}")));
        let has_heron = !cue.contains("heron") || found.iter().any(|hit| hit.contains("heron"));
        checks.push((is_first && has_heron, format!("{cue}: {found:?}")));
        let read = &got["time_read"];
        assert!(read["from"].as_str() < read["to"].as_str(), "{cue}: {read}");
    }
    let read = client.call("memory_recall", json!({"cue": "what did we do yesterday?"}))["time_read"].take();
    let whole_day = json!({"from": noon(day - 1).replace("T12", "T00"), "to": noon(day - 1).replace("T12:00:00Z", "T23:59:59.999999Z")});
    let no_time = client.call("memory_recall", json!({"cue": "the fence"}));
    if today() != day {
        return false;
    }
    assert_eq!(read, whole_day);
    assert_eq!(no_time.get("time_read"), None::<&Value>);
    let wrong: Vec<String> = checks.into_iter().filter(|(is_right, _)| !is_right).map(|(_, check)| check).collect();
    assert_eq!(wrong, [""; 0]);
    true
}

#[test]
fn the_command_line_reads_times_in_local_time() {
    let daemon = crate::harness::Setup::new().start();
    let mut client = daemon.client();
    for (ts, text) in
        [("2026-11-09T16:30:00Z", "early note of the baker"), ("2026-11-10T16:30:00Z", "late note of the baker")]
    {
        client.call("memory_capture", json!({"text": text, "ts": ts}));
    }
    let run = |args: &[&str]| {
        let mut command = daemon.setup().program();
        command.env("TZ", "JST-9").arg("recall").args(args).arg("note baker");
        command.arg("--socket").arg(daemon.setup().socket());
        let output = command.output().expect("it runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (_, out) = run(&["--since", "2026-11-10", "--until", "2026-11-10"]);
    assert!(out.contains("early note") && out.contains("2026-11-10 01:30") && !out.contains("late note"), "{out}");
    let (is_ok, out) = run(&["--since", "2026-11-11 01:00"]);
    assert!(is_ok && out.contains("late note") && !out.contains("early note"), "{out}");
    let (is_ok, out) = run(&["--since", "4000w", "--until", "1s"]);
    assert!(is_ok && out.contains("baker"), "{out}");
    let (is_ok, out) = run(&["--since", "soon"]);
    assert!(!is_ok && out.contains("--since 'soon' is not a time: give a date"), "{out}");
}
