//! What a hit is: equal texts are one hit, and a fact is found before the talk around it.

use serde_json::{Value, json};

use crate::harness::{Client, setup};

fn capture(client: &mut Client, text: &str, params: &Value) -> String {
    let mut all = json!({"text": text});
    for (key, value) in params.as_object().expect("params") {
        all[key] = value.clone();
    }
    client.call("memory_capture", all)["record_id"].as_str().expect("an id").to_owned()
}

fn texts(hits: &Value) -> Vec<&str> {
    hits.as_array().expect("hits").iter().filter_map(|hit| hit["literal_surface"].as_str()).collect()
}

const KEY: &str = "The deploy key for the gateway lives in the blue vault.";

#[test]
fn equal_texts_are_one_hit_with_the_newest_record() {
    let daemon = setup();
    let mut client = daemon.client();
    let newest =
        capture(&mut client, KEY, &json!({"session_id": "s", "ts": "2024-05-20T10:00:00Z", "role": "assistant"}));
    for n in 1..=11 {
        let text = format!("{}{KEY}\n", " ".repeat(n % 3));
        let at = json!({"session_id": format!("s{n}"), "ts": format!("2024-05-{n:02}T10:00:00Z"), "project": "p"});
        capture(&mut client, &text, &at);
    }
    capture(&mut client, "Ask Ingrid for the deploy key, she keeps the list.", &json!({"session_id": "a"}));
    capture(&mut client, "The gateway was moved to rack four.", &json!({"session_id": "b"}));
    let cue = "where is the deploy key for the gateway?";
    let found = client.call("memory_recall", json!({"cue": cue}));
    assert_eq!(texts(&found["hits"]).len(), 3, "{found}");
    let hit = &found["hits"][0];
    assert_eq!((&hit["record_id"], &hit["literal_surface"]), (&json!(newest), &json!(KEY)));
    assert_eq!((&hit["copies"], &hit["first_ts"]), (&json!(12), &json!("2024-05-01T10:00:00Z")));
    assert!(found["hits"][1].get("copies").is_none() && found["hits"][1].get("first_ts").is_none(), "{found}");
    // Only the records within the scope are counted.
    let part = client.call("memory_recall", json!({"cue": cue, "since": "2024-05-09", "until": "2024-05-11"}));
    assert_eq!((&part["hits"][0]["copies"], &part["hits"][0]["first_ts"]), (&json!(3), &json!("2024-05-09T10:00:00Z")));
    let recent = client.call("memory_recall", json!({"cue": ""}));
    assert_eq!(texts(&recent["hits"]).len(), 3, "{recent}");
    assert_eq!(recent["hits"][2]["copies"], 12, "{recent}");
    let output = daemon.run(&["recall", cue]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("12 copies since 2024-05-01"), "{output:?}");
}

#[test]
fn a_superseded_copy_is_no_hit_and_not_counted() {
    let daemon = setup();
    let mut client = daemon.client();
    let fact = "The staging port is 5433.";
    let old = capture(&mut client, fact, &json!({"session_id": "s"}));
    client.call("memory_contradict", json!({"id": old, "new_fact": "The staging port is 5434."}));
    let again = capture(&mut client, fact, &json!({"session_id": "s"}));
    assert_ne!(old, again);
    let found = client.call("memory_recall", json!({"cue": "which port is staging on?"}));
    let mut hits = texts(&found["hits"]);
    hits.sort_unstable();
    assert_eq!(hits, [fact, "The staging port is 5434."], "{found}");
    let hit = found["hits"].as_array().expect("hits").iter().find(|hit| hit["literal_surface"] == fact).expect("it");
    assert_eq!((&hit["record_id"], hit.get("copies")), (&json!(again), None), "{found}");
    assert_eq!(found["anti_hits"][0]["record_id"], json!(old), "{found}");
    let other = capture(&mut client, fact, &json!({"session_id": "other"}));
    let found = client.call("memory_recall", json!({"cue": "which port is staging on?"}));
    let hit = found["hits"].as_array().expect("hits").iter().find(|hit| hit["literal_surface"] == fact).expect("it");
    assert_eq!((&hit["record_id"], &hit["copies"]), (&json!(other), &json!(2)), "{found}");
}

#[test]
fn an_assistants_answer_with_a_negation_is_no_talk() {
    let daemon = setup();
    let mut client = daemon.client();
    let answers = [
        ("You told me that you do not eat nuts.", "do I eat nuts?"),
        ("The build fails because cargo can't find the linker cc.", "why does the build not find the linker?"),
        ("Du hast gesagt, dass die Katze keinen Fisch mag.", "mag die Katze Fisch?"),
    ];
    for (answer, question) in answers {
        capture(&mut client, answer, &json!({"session_id": answer, "role": "assistant"}));
        let other = format!("{} is what others ask, too", question.trim_end_matches('?'));
        capture(&mut client, &other, &json!({"session_id": other}));
    }
    for (answer, question) in answers {
        let found = client.call("memory_recall", json!({"cue": question}));
        let score = |text: &str| {
            let mut hits = found["hits"].as_array().expect("hits").iter();
            hits.find(|hit| hit["literal_surface"] == text).and_then(|hit| hit["score"].as_f64()).expect("a hit")
        };
        let best = found["hits"][0]["score"].as_f64().expect("a score");
        assert!(score(answer) > best / 2.0, "{found}");
    }
}

/// A fact, the question that others ask about it, and what an assistant answers that does not know.
const TALKS: &[(&str, &str, &[&str])] = &[
    (
        "We keep the deploy key in the blue vault.",
        "where is the deploy key for the gateway?",
        &[
            "I don't know where the deploy key for the gateway is.",
            "I'm sorry, I couldn't find a deploy key for the gateway.",
            "I do not have any information about the deploy key for the gateway.",
            "You never told me about the deploy key for the gateway.",
            "There is no mention of the deploy key for the gateway in our conversations.",
            "My memory doesn't contain anything about the deploy key for the gateway.",
        ],
    ),
    (
        "Der Schlüssel liegt im blauen Tresor.",
        "Wo liegt der Schlüssel für das Gartenhaus?",
        &[
            "Das weiß ich leider nicht, wo der Schlüssel für das Gartenhaus liegt.",
            "Ich weiß nicht, wo der Schlüssel liegt.",
            "Du hast mir noch nicht gesagt, wo der Schlüssel für das Gartenhaus liegt.",
            "Zum Schlüssel für das Gartenhaus liegt mir nichts vor.",
        ],
    ),
    (
        "Nous gardons la clé de la cave chez Paulette.",
        "Où est la clé de la cave du chalet ?",
        &[
            "Je ne sais pas où est la clé de la cave du chalet.",
            "Je n'ai pas trouvé la clé de la cave du chalet.",
            "Vous ne m'avez pas dit où est la clé de la cave du chalet.",
            "Aucun souvenir ne mentionne la clé de la cave du chalet.",
        ],
    ),
    (
        "Guardamos la llave del sótano con Paquita.",
        "¿Dónde está la llave del sótano del refugio?",
        &[
            "Lo siento, no lo sé: la llave del sótano del refugio.",
            "No encontré la llave del sótano del refugio.",
            "Todavía no me has hablado de la llave del sótano del refugio.",
            "No tengo constancia de la llave del sótano del refugio.",
        ],
    ),
    (
        "Ключ от подвала хранится у Ольги.",
        "Где ключ от подвала на даче?",
        &[
            "К сожалению, не знаю, где ключ от подвала на даче.",
            "У меня нет информации о ключе от подвала на даче.",
            "Ты мне ещё не рассказывал, где ключ от подвала на даче.",
            "Мы не обсуждали ключ от подвала на даче.",
        ],
    ),
    (
        "نحتفظ بمفتاح القبو عند فاطمة.",
        "أين مفتاح القبو في المزرعة؟",
        &[
            "لا أعرف أين مفتاح القبو في المزرعة.",
            "ليس لدي معلومات عن مفتاح القبو في المزرعة.",
            "لم تخبرني أين مفتاح القبو في المزرعة.",
        ],
    ),
    (
        "地下室の鍵は花子が持っています。",
        "別荘の地下室の鍵はどこですか？",
        &[
            "申し訳ありませんが、別荘の地下室の鍵はわかりません。",
            "別荘の地下室の鍵の情報がありません。",
            "別荘の地下室の鍵についてはまだ聞いていません。",
        ],
    ),
    (
        "地下室的钥匙由小红保管。",
        "别墅地下室的钥匙在哪里？",
        &[
            "抱歉，我不知道别墅地下室的钥匙在哪里。",
            "没有找到别墅地下室的钥匙的信息。",
            "你还没有告诉我别墅地下室的钥匙在哪里。",
        ],
    ),
];

#[test]
fn a_fact_is_found_before_the_talk_around_it() {
    let daemon = setup();
    let mut client = daemon.client();
    for (at, (fact, question, answers)) in TALKS.iter().enumerate() {
        for n in 0..12 {
            if n == 6 {
                capture(&mut client, fact, &json!({"session_id": format!("fact{at}")}));
            }
            let session = format!("talk{at}-{n}");
            capture(&mut client, &format!("{question}{}", " ".repeat(n)), &json!({"session_id": session}));
            let reply = format!("{} ({n})", answers[n % answers.len()]);
            capture(&mut client, &reply, &json!({"session_id": session, "role": "assistant"}));
        }
    }
    for (fact, question, _) in TALKS {
        let found = client.call("memory_recall", json!({"cue": question}));
        assert_eq!(texts(&found["hits"]).first(), Some(fact), "{question}: {:#?}", texts(&found["hits"]));
    }
}
