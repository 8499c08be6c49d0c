//! Capture and recall: texts come back byte for byte, before and after `kill -9`.

use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, PATIENCE, holds_within, setup};

/// A conversation about a kitchen, a move to Lisbon and a database, in several languages: roles and texts.
const CONVERSATION: &[(&str, &str)] = &[
    ("user", "Good morning! I finally settled it: we move to Lisbon on the third of March."),
    ("assistant", "Congratulations. Shall I note that the lease in Rua das Flores 14 begins on the first?"),
    ("user", "Yes. And the landlord is called Henrique Abrantes, he only answers after 18:00."),
    ("user", "Meine Schwester Annegret kommt mit, sie ist gegen Walnüsse allergisch — bitte merken!"),
    ("assistant", "Notiert: Annegret, Walnussallergie. Soll die Küche beim Umzug nussfrei bleiben?"),
    ("user", "Unbedingt. Der alte Herd bleibt hier, Größe 60×60, Gasanschluß links."),
    ("user", "Кстати, кошку зовут Мурка, ей нужен паспорт до двадцатого февраля."),
    ("assistant", "Записала: паспорт для Мурки до двадцатого февраля, ветеринар — доктор Ларин."),
    ("user", "Non, le vétérinaire a déménagé; c'est maintenant la clinique de la rue d'Alésia, à Paris."),
    ("assistant", "D'accord, clinique rue d'Alésia. Je garde aussi l'ancien numéro au cas où ?"),
    ("user", "Mi contraseña no te la digo, pero el código del portal termina en 7-7-2."),
    ("user", "أرسلت الكتب القديمة إلى جدتي في طنجة، والباقي يذهب إلى المكتبة."),
    ("user", "引っ越しの荷物は全部で四十二箱、そのうち七箱は陶器です。"),
    ("assistant", "陶器の七箱には「割れ物」と書いておきますね。"),
    ("user", "房东说冬天的暖气要自己烧木柴，每年大概需要三立方米。"),
    ("user", "  Leading and trailing white space is mine to keep.  \n"),
    ("user", "Tabs\tand\r\nline ends\nand a NUL \u{0} and a bell \u{7} belong to the text."),
    ("user", "Emoji too: 👩‍🍳🇵🇹 and a combining e\u{301} that is not é."),
    ("user", "fn main() { println!(\"{}\", \"quote \\\" and backslash \\\\\"); } // keep me exact"),
    ("assistant", "The staging database is `tern_staging` on port 5433; production stays on 5432."),
    ("user", "We lost the index on orders.customer_id in the night of the 9th, that was the slow report."),
    ("assistant", "Then CREATE INDEX CONCURRENTLY, and a note for the retrospective on Thursday."),
    ("user", "The retrospective moves to Friday, Thursday is the dentist, Dr. Quispe, at half past eight."),
    ("user", "Remember the bread: 500 g flour, 350 g water, 10 g salt, 2 g yeast, eighteen hours."),
    ("assistant", "Noted. At 23 °C fourteen hours were enough last time."),
    ("user", "It came out flat, so back to eighteen hours, and the Dutch oven from the start."),
    ("user", "'; DROP TABLE record; -- said the sticker on Tomás's laptop."),
    ("user", "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} is what the example looked like."),
    ("user", "The piano tuner comes twice a year; she asked for the humidity log, 45 % at most."),
    ("assistant", "I will remind you of the hygrometer before each of her visits."),
    ("user", "Last thing: the spare key is with Mrs. Oyelaran on the second floor, not with the baker."),
    ("assistant", "Understood: Mrs. Oyelaran, second floor. Not the baker."),
];

/// Questions, each with a part of the text that must be among the first three hits.
const QUESTIONS: &[(&str, &str)] = &[
    ("when do we move to Lisbon?", "third of March"),
    ("who is the landlord", "Henrique Abrantes"),
    ("Wogegen ist Annegret allergisch?", "Walnüsse"),
    ("до какого числа нужен паспорт кошке", "Мурка"),
    ("quelle clinique vétérinaire", "rue d'Alésia"),
    ("código del portal", "7-7-2"),
    ("الكتب القديمة", "طنجة"),
    ("陶器は何箱", "四十二箱"),
    ("暖气 木柴", "三立方米"),
    ("which port does the staging database use", "5433"),
    ("who has the spare key", "Oyelaran"),
    ("bread with how much yeast", "2 g yeast"),
    ("\"Dutch oven\"", "Dutch oven"),
    ("dentist", "Dr. Quispe"),
    ("sticker on the laptop", "DROP TABLE"),
];

fn capture(client: &mut Client, session: &str, role: &str, text: &str) -> Value {
    client.call("memory_capture", json!({"text": text, "session_id": session, "role": role}))
}

/// Returns the texts of all records by id.
fn everything(daemon: &Daemon) -> HashMap<String, String> {
    let recalled = daemon.client().call("memory_recall", json!({"cue": "", "limit": 100, "budget_tokens": 1_000_000}));
    let hits = recalled["hits"].as_array().expect("a list").iter();
    hits.map(|hit| (text_of(hit, "record_id"), text_of(hit, "literal_surface"))).collect()
}

fn text_of(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_else(|| panic!("{key} is no text in {value}")).to_owned()
}

/// Asserts that each question finds its text, and that every hit is a text of the conversation.
fn assert_questions_are_answered(daemon: &Daemon) {
    let mut client = daemon.client();
    for (question, words) in QUESTIONS {
        let params = json!({"cue": question, "budget_tokens": 10_000});
        let recalled = client.recall_until(&params, |hits| {
            hits.iter().take(3).any(|hit| text_of(hit, "literal_surface").contains(words))
        });
        for hit in recalled["hits"].as_array().expect("a list") {
            let text = text_of(hit, "literal_surface");
            assert!(CONVERSATION.iter().any(|(_, said)| *said == text), "not in the conversation: {text:?}");
        }
    }
}

#[test]
fn a_conversation_comes_back_word_for_word_before_and_after_a_kill() {
    let mut daemon = setup();
    let mut client = daemon.client();
    let mut said = HashMap::new();
    for (role, text) in CONVERSATION {
        let captured = capture(&mut client, "move", role, text);
        assert_eq!(captured["status"], "inserted", "{text}: {captured}");
        assert!(said.insert(text_of(&captured, "record_id"), (*text).to_owned()).is_none(), "ids are unique");
    }
    for (role, text) in CONVERSATION.iter().take(5) {
        let again = capture(&mut client, "move", role, text);
        assert_eq!(again["status"], "reinforced", "{again}");
        assert_eq!(said.get(&text_of(&again, "record_id")).map(String::as_str), Some(*text));
    }
    assert_questions_are_answered(&daemon);
    assert_eq!(everything(&daemon), said);
    for _ in 0..3 {
        daemon.kill_and_restart();
        assert_eq!(daemon.status()["records"], CONVERSATION.len());
        assert_questions_are_answered(&daemon);
        assert_eq!(everything(&daemon), said);
    }
    assert_eq!(daemon.stop().code(), Some(0));
    daemon.restart();
    assert_questions_are_answered(&daemon);
    assert_eq!(everything(&daemon), said);
}

#[test]
fn a_hit_has_every_key_and_scores_are_in_descending_order() {
    let daemon = setup();
    let mut client = daemon.client();
    for n in 0..20 {
        let params = json!({"text": format!("The lighthouse keeper wrote entry {n} in his log."), "session_id": "log",
            "role": "assistant", "ts": format!("2026-01-{:02}T08:00:00Z", n + 1)});
        client.call("memory_capture", params);
    }
    let params = json!({"cue": "lighthouse keeper", "limit": 20});
    let recalled = client.recall_until(&params, |hits| hits.len() == 20);
    for key in ["hits", "anti_hits", "activation_trace", "budget_used", "cue_mode", "patterns_observed"] {
        assert!(!recalled[key].is_null(), "{key} is missing: {recalled}");
    }
    let hits = recalled["hits"].as_array().expect("a list");
    for hit in hits {
        for key in [
            "record_id",
            "score",
            "reason",
            "literal_surface",
            "adjacent_suggestions",
            "valid_from",
            "valid_to",
            "session_id",
            "role",
            "ts",
        ] {
            assert!(hit.get(key).is_some(), "{key} is missing: {hit}");
        }
        assert_eq!((&hit["session_id"], &hit["role"]), (&json!("log"), &json!("assistant")));
    }
    let scores: Vec<f64> = hits.iter().map(|hit| hit["score"].as_f64().expect("a number")).collect();
    assert!(scores.windows(2).all(|pair| pair[0] > pair[1]), "{scores:?}");
    assert!(scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
    let since = json!({"cue": "lighthouse", "since": "2026-01-05", "until": "2026-01-07", "limit": 100});
    client.recall_until(&since, |hits| hits.len() == 3);
    let tight = client.call("memory_recall", json!({"cue": "lighthouse", "budget_tokens": 1}));
    assert_eq!(tight["hits"].as_array().expect("a list").len(), 1, "at least one hit, whatever the budget");
}

#[test]
fn a_cue_is_never_query_syntax() {
    let daemon = setup();
    let mut client = daemon.client();
    capture(&mut client, "-", "user", "An otter sleeps on its back and holds hands.");
    let long = "otter AND (NOT \"NEAR\" OR* ".repeat(4000);
    let words: String = (0..16_000).map(|n| format!("word{n} ")).collect();
    for cue in [
        "",
        " ",
        "otter",
        "OTTER*",
        "\"otter",
        "\"\"",
        "'",
        "''",
        "otter' OR '1'='1",
        "AND",
        "OR OR",
        "NOT otter",
        "NEAR(otter, 5)",
        "text:otter",
        "{text cue}: otter",
        "^otter",
        "otter + back",
        "(((((",
        ")",
        "*",
        "-otter",
        "a\0b",
        "\0",
        "\u{feff}",
        "👩‍🍳",
        "🇵🇹🇵🇹",
        "%",
        "_",
        "\\",
        "\n\r\t",
        "\u{202e}retto",
        "e\u{301}",
        "ﬁ",
        "İ",
        "ß",
        "。",
        "、、",
        "\u{10ffff}",
        "; DROP TABLE record",
        "-- ",
        "/* */",
        "?1 ?2 :x @y $z",
        "«otter»",
        "“otter sleeps”",
        "exact words",
        "otter otter otter otter",
        long.as_str(),
        words.as_str(),
        &"(".repeat(100_000),
        &"あ".repeat(33_000),
        &"a".repeat(100_000),
    ] {
        let recalled = client.call("memory_recall", json!({"cue": cue}));
        assert!(recalled["hits"].is_array(), "{recalled}");
    }
    let recalled = client.call("memory_recall", json!({"cue": "text:otter* OR \"back"}));
    assert_eq!(recalled["hits"][0]["literal_surface"], "An otter sleeps on its back and holds hands.", "{recalled}");
    assert_eq!(daemon.status()["records"], 1);
}

#[test]
fn wrong_params_are_refused_with_the_expected_values() {
    let daemon = setup();
    let mut client = daemon.client();
    let text = "A text that is long enough.";
    for (method, params, message) in [
        ("memory_capture", json!({}), "missing required param: 'text'"),
        ("memory_capture", json!({"text": 5}), "param 'text' must be a string"),
        ("memory_capture", json!({"text": null}), "param 'text' must be a string"),
        (
            "memory_capture",
            json!({"text": text, "role": "robot"}),
            "param 'role' must be one of user, assistant, system",
        ),
        ("memory_capture", json!({"text": text, "tier": 1}), "param 'tier' must be a string"),
        ("memory_capture", json!({"text": text, "cue": ["a"]}), "param 'cue' must be a string"),
        ("memory_capture", json!({"text": text, "ts": "yesterday"}), "param 'ts' must be "),
        ("memory_capture", json!({"text": text, "ts": "2026-13-01"}), "param 'ts' must be "),
        ("memory_capture", json!({"text": text, "part": 1}), "param 'parts' must be "),
        ("memory_capture", json!({"text": text, "part": 3, "parts": 2}), "param 'part' must be an integer from 1 to 2"),
        ("memory_capture", json!({"text": "x".repeat(65_537)}), "param 'text' must be at most 65536 bytes"),
        ("memory_recall", json!({}), "missing required param: 'cue'"),
        ("memory_recall", json!({"cue": {}}), "param 'cue' must be a string"),
        ("memory_recall", json!({"cue": "a", "limit": 0}), "param 'limit' must be an integer from 1 to 100"),
        ("memory_recall", json!({"cue": "a", "limit": 101}), "param 'limit' must be an integer from 1 to 100"),
        ("memory_recall", json!({"cue": "a", "limit": "5"}), "param 'limit' must be an integer from 1 to 100"),
        ("memory_recall", json!({"cue": "a", "limit": 1.5}), "param 'limit' must be an integer from 1 to 100"),
        ("memory_recall", json!({"cue": "a", "since": "soon"}), "param 'since' must be "),
        ("memory_recall", json!({"cue": "a", "budget_tokens": -1}), "param 'budget_tokens' must be "),
        ("profile_get", json!({"knob": 1}), "param 'knob' must be a string"),
        ("profile_set", json!({}), "missing required param: 'knob'"),
        ("profile_set", json!({"knob": "wake_depth"}), "missing required param: 'value'"),
    ] {
        let error = client.request(method, params.clone())["error"].take();
        assert_eq!(error["code"], -32602, "{method} {params}: {error}");
        assert!(error["message"].as_str().expect("a text").starts_with(message), "{method} {params}: {error}");
    }
    for (params, status, reason) in [
        (json!({"text": ""}), "skipped", "too short"),
        (json!({"text": " \n\t "}), "skipped", "too short"),
        (json!({"text": text, "tier": "eternal"}), "skipped", "invalid tier 'eternal'"),
        (json!({"text": "x".repeat(65_536)}), "inserted", "tier=episodic"),
        (json!({"text": text, "unknown": [1]}), "inserted", "tier=episodic"),
    ] {
        let captured = client.call("memory_capture", params);
        assert_eq!((&captured["status"], &captured["reason"]), (&json!(status), &json!(reason)), "{captured}");
        assert_eq!(captured["record_id"].is_null(), status == "skipped");
    }
}

#[test]
fn the_profile_survives_a_kill() {
    let mut daemon = setup();
    let mut client = daemon.client();
    let all = client.call("profile_get", json!({}));
    assert_eq!((&all["total_knobs"], all["live"].as_object().map(serde_json::Map::len)), (&json!(13), Some(13)));
    let settings = [
        ("monotropism_depth", json!({"trains": 0.9, "Küche": 0})),
        ("dunn_quadrant", json!("sensitive")),
        ("literal_preservation", json!("loose")),
        ("demand_avoidance_tolerance", json!("neutral")),
        ("masking_off", json!(false)),
        ("task_support", json!("blank_recall")),
        ("interest_boost", json!(0.5)),
        ("inertia_awareness", json!(true)),
        ("camouflaging_relaxation", json!(1)),
        ("scene_construction_scaffold", json!(false)),
        ("wake_depth", json!("deep")),
    ];
    for (knob, value) in &settings {
        let set = client.call("profile_set", json!({"knob": knob, "value": value}));
        assert_eq!(set["status"], "ok", "{knob}: {set}");
    }
    for (knob, value) in [
        ("dunn_quadrant", json!("sideways")),
        ("interest_boost", json!(1.5)),
        ("interest_boost", json!("much")),
        ("masking_off", json!(1)),
        ("monotropism_depth", json!({"trains": 2})),
        ("wake_depth", json!(null)),
        ("no_such_knob", json!(1)),
    ] {
        let set = client.call("profile_set", json!({"knob": knob, "value": value}));
        assert!(set["status"] == "error" && !set["reason"].is_null(), "{knob}: {set}");
    }
    assert_eq!(client.call("profile_get", json!({"knob": "no_such_knob"}))["status"], "unknown");
    daemon.kill_and_restart();
    let kept = daemon.client().call("profile_get", json!({"knob": null}));
    for (knob, value) in &settings {
        let same = match (kept["live"][knob].as_f64(), value.as_f64()) {
            (Some(kept), Some(value)) => kept == value,
            _ => kept["live"][knob] == *value || knob == &"monotropism_depth",
        };
        assert!(same, "{knob} is {}", kept["live"][knob]);
    }
    assert_eq!(kept["live"]["monotropism_depth"]["trains"], 0.9);
}

/// Returns a text of varying length and script, different for each combination of arguments.
fn text(round: usize, client: usize, n: usize) -> String {
    let filler = ["pebble ", "Kieselstein ", "галька ", "小石", "حصاة ", "🪨\t"][n % 6];
    format!("r{round}c{client}n{n}z: {}", filler.repeat(8 + (n * 7919 + client * 31) % 300))
}

/// Captures until the daemon is killed. Returns the ids and texts that were acknowledged.
fn capture_until_killed(
    mut client: Client,
    round: usize,
    name: usize,
    answered: &AtomicUsize,
) -> Vec<(String, String)> {
    let depth = [1, 4, 16][name % 3];
    let mut acknowledged = Vec::new();
    for first in (0..).step_by(depth) {
        let lines: String = (first..first + depth)
            .map(|n| {
                let params = json!({"text": text(round, name, n), "session_id": format!("c{name}")});
                format!("{}\n", json!({"jsonrpc": "2.0", "id": n, "method": "memory_capture", "params": params}))
            })
            .collect();
        // If the daemon has been killed, its last replies may still be readable.
        let _ = client.try_send(lines);
        for n in first..first + depth {
            let line = client.try_line();
            if line.is_empty() {
                return acknowledged;
            }
            let reply: Value = serde_json::from_str(&line).expect("a whole reply");
            assert_eq!((&reply["id"], &reply["result"]["status"]), (&json!(n), &json!("inserted")), "{reply}");
            answered.fetch_add(1, Ordering::Relaxed);
            acknowledged.push((text_of(&reply["result"], "record_id"), text(round, name, n)));
        }
    }
    unreachable!("the numbers do not end")
}

#[test]
fn every_acknowledged_capture_survives_a_kill_under_load() {
    const CLIENTS: usize = 6;
    let mut daemon = setup();
    let mut acknowledged: HashMap<String, String> = HashMap::new();
    for round in 0..8 {
        let clients: Vec<Client> = (0..CLIENTS).map(|_| daemon.client()).collect();
        let barrier = Barrier::new(CLIENTS + 1);
        let answered = AtomicUsize::new(0);
        let new: Vec<(String, String)> = std::thread::scope(|scope| {
            let capturing: Vec<_> = clients
                .into_iter()
                .enumerate()
                .map(|(name, client)| {
                    let (barrier, answered) = (&barrier, &answered);
                    scope.spawn(move || {
                        barrier.wait();
                        capture_until_killed(client, round, name, answered)
                    })
                })
                .collect();
            barrier.wait();
            // At different moments: before the first commit of a round, between commits, after some hundred.
            let enough = [0, 40, 90, 1, 250, 7, 30, 3][round];
            let is_enough = holds_within(PATIENCE, || answered.load(Ordering::Relaxed) >= enough);
            // The clients' threads end when the daemon does.
            daemon.kill();
            assert!(is_enough, "fewer than {enough} captures were acknowledged");
            capturing.into_iter().flat_map(|client| client.join().expect("the replies were right")).collect()
        });
        for (id, text) in new {
            assert!(acknowledged.insert(id, text).is_none(), "ids are unique over kills");
        }
        daemon.restart();
        let records = daemon.status()["records"].as_u64().expect("a count");
        let stored = stored(&daemon);
        for (id, text) in &acknowledged {
            assert_eq!(stored.get(id), Some(text), "round {round}");
        }
        assert_eq!(records as usize, stored.len(), "status counts what is there");
        // Each client's last lines may be stored without an acknowledgment, but none in part.
        assert!(stored.len() - acknowledged.len() <= CLIENTS * 16 * (round + 1), "round {round}");
    }
    assert!(acknowledged.len() > 100, "only {} captures in all", acknowledged.len());
    // The records are found by their words, too: the index is committed with the text.
    let mut client = daemon.client();
    for (id, text) in acknowledged.iter().take(40) {
        let name = text.split(':').next().expect("its name");
        let params = json!({"cue": name});
        client.recall_until(&params, |hits| hits.iter().any(|hit| hit["record_id"] == id.as_str()));
    }
}

/// Returns the ids and texts of all records, read from the file by SQLite.
fn stored(daemon: &Daemon) -> HashMap<String, String> {
    let path = daemon.setup().store().join("memory.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let database = rusqlite::Connection::open_with_flags(path, flags).expect("it opens");
    let mut select = database.prepare("SELECT lower(hex(id)), text FROM record").expect("the columns are there");
    let rows = select.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).expect("rows");
    rows.map(|row| row.expect("a row")).map(|(id, text)| (with_dashes(&id), text)).collect()
}

/// Returns 32 hexadecimal digits as a UUID is written.
fn with_dashes(digits: &str) -> String {
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

#[test]
fn a_client_reads_its_own_writes_and_others_read_them_once_they_are_acknowledged() {
    let daemon = setup();
    let (mut writer, mut reader) = (daemon.client(), daemon.client());
    for n in 0..100 {
        let text = format!("The quarry has a stone called granite{n}x.");
        let capture = json!({"jsonrpc": "2.0", "id": 1, "method": "memory_capture", "params": {"text": text}});
        let recall = json!({"jsonrpc": "2.0", "id": 2, "method": "memory_recall",
            "params": {"cue": format!("granite{n}x"), "limit": 1}});
        writer.send(format!("{capture}\n{recall}\n"));
        let captured: Value = serde_json::from_str(&writer.line()).expect("JSON");
        let theirs = reader.ask(&recall.to_string());
        let own: Value = serde_json::from_str(&writer.line()).expect("JSON");
        assert_eq!(captured["result"]["status"], "inserted", "{captured}");
        for recalled in [own, theirs] {
            assert_eq!(recalled["result"]["hits"][0]["literal_surface"], text.as_str(), "{recalled}");
        }
    }
}

#[test]
fn every_discovered_method_exists() {
    let daemon = setup();
    let mut client = daemon.client();
    let discovered = client.call("rpc.discover", json!({}));
    let methods: Vec<String> =
        discovered["methods"].as_array().expect("a list").iter().map(|method| text_of(method, "name")).collect();
    for wanted in ["memory_capture", "memory_recall", "ping", "profile_get", "profile_set", "rpc.discover"] {
        assert!(methods.iter().any(|method| method == wanted), "{wanted} is not among {methods:?}");
    }
    for method in &methods {
        let reply = client.request(method, json!({}));
        assert_ne!(reply["error"]["code"], -32601, "{method}");
    }
}
