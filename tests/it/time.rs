//! Times of records: `ts`, `valid_from` and `valid_to`, the filters `since` and `until`, and the ranking of old records
//! against new ones.

use serde_json::{Value, json};

use crate::harness::{Client, setup};

fn capture(client: &mut Client, text: &str, ts: &str) -> String {
    let got = client.call("memory_capture", json!({"text": text, "ts": ts, "session_id": text}));
    assert_eq!(got["status"], "inserted", "{text}: {got}");
    got["record_id"].as_str().expect("an id").to_owned()
}

fn recall(client: &mut Client, cue: &str) -> Value {
    client.call("memory_recall", json!({"cue": cue, "limit": 20, "budget_tokens": 100_000}))
}

fn ids(hits: &Value) -> Vec<&str> {
    hits.as_array().expect("a list").iter().map(|hit| hit["record_id"].as_str().expect("an id")).collect()
}

#[test]
fn ts_becomes_valid_from_in_utc_from_any_zone() {
    let daemon = setup();
    let mut client = daemon.client();
    for (n, (ts, valid_from)) in [
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("2024-05-07T14:30:00", "2024-05-07T14:30:00Z"),
        ("2024-05-07T14:30:00Z", "2024-05-07T14:30:00Z"),
        ("2024-05-07T14:30:00+05:30", "2024-05-07T09:00:00Z"),
        ("2024-01-01T01:00:00+02:00", "2023-12-31T23:00:00Z"),
        ("2024-12-31T23:30:00-01:00", "2025-01-01T00:30:00Z"),
        ("2024-05-07 14:30:00.25Z", "2024-05-07T14:30:00.25Z"),
        ("1969-07-20T20:17:40Z", "1969-07-20T20:17:40Z"),
        ("2150-01-01T00:00:00Z", "2150-01-01T00:00:00Z"),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("The eclipse number {n} was noted then.");
        let id = capture(&mut client, &text, ts);
        let hits = recall(&mut client, &text);
        let hit = &hits["hits"][0];
        assert_eq!((&hit["record_id"], &hit["valid_to"]), (&json!(id), &json!(null)), "{ts}");
        assert_eq!((&hit["valid_from"], &hit["ts"]), (&json!(valid_from), &json!(valid_from)), "{ts}");
    }
}

#[test]
fn since_and_until_include_the_days_they_name() {
    let daemon = setup();
    let mut client = daemon.client();
    for ts in ["2024-03-09T23:59:59Z", "2024-03-10T00:00:00Z", "2024-03-10T23:59:59.5Z", "2024-03-11T00:00:00Z"] {
        capture(&mut client, &format!("The meteor was seen at {ts}."), ts);
    }
    for (since, until, count) in [
        (json!("2024-03-10"), json!("2024-03-10"), 2),
        (json!("2024-03-10"), json!(null), 3),
        (json!(null), json!("2024-03-10"), 3),
        (json!("2024-03-10T01:00:00+01:00"), json!("2024-03-10T00:00:00Z"), 1),
        (json!("2024-03-11T00:00:01Z"), json!(null), 0),
        (json!("2024-03-11"), json!("2024-03-10"), 0),
    ] {
        let params = json!({"cue": "meteor", "since": since, "until": until});
        assert_eq!(ids(&client.call("memory_recall", params)["hits"]).len(), count, "{since} to {until}");
        let params = json!({"cue": "", "since": since, "until": until});
        assert_eq!(ids(&client.call("memory_recall", params)["hits"]).len(), count, "the newest, {since} to {until}");
    }
}

#[test]
fn a_fact_contradicted_four_times_shows_the_newest_first_and_the_others_below() {
    let mut daemon = setup();
    let mut client = daemon.client();
    let mut chain = vec![capture(&mut client, "Momo lives in Rome, near the river.", "2020-01-01")];
    for city in ["Paris", "Berlin", "Madrid", "Vienna"] {
        let fact = format!("Momo has moved and lives in {city}.");
        // Contradicting any record of the chain replaces its newest one.
        let of = if chain.len().is_multiple_of(2) { chain.first() } else { chain.last() };
        let got = client.call("memory_contradict", json!({"id": of, "new_fact": fact}));
        chain.push(got["new_record_id"].as_str().expect("an id").to_owned());
    }
    capture(&mut client, "Whoever lives in Rome has seen the river.", "2024-01-01");
    chain.reverse();
    for round in ["awake", "after a kill", "after a cycle"] {
        // Even the words of the oldest one rank the newest one first.
        for cue in ["where does Momo live?", "Momo lives in Rome near the river"] {
            let recalled = recall(&mut client, cue);
            let hits = ids(&recalled["hits"]);
            let of_chain: Vec<&str> = hits.iter().copied().filter(|id| chain.iter().any(|one| one == id)).collect();
            assert!(of_chain.len() > 1 && of_chain[0] == chain[0], "{round}, {cue}: {recalled}");
            let mut at: Vec<usize> =
                of_chain.iter().map(|id| chain.iter().position(|one| one == id).unwrap()).collect();
            assert!(at.is_sorted(), "{round}, {cue}: {at:?}");
            let anti = ids(&recalled["anti_hits"]);
            at.retain(|at| *at > 0);
            assert!(at.iter().all(|at| anti.contains(&chain[*at].as_str())), "{round}, {cue}: {recalled}");
            for hit in recalled["hits"].as_array().expect("hits") {
                let is_stale = chain[1..].iter().any(|id| hit["record_id"] == json!(id));
                assert_eq!(!hit["valid_to"].is_null(), is_stale, "{round}, {cue}: {hit}");
            }
        }
        if round == "awake" {
            daemon.kill_and_restart();
            client = daemon.client();
        } else {
            client.call("memory_consolidate", json!({}));
        }
    }
}

#[test]
fn an_old_fact_that_matches_ranks_above_recent_ones_that_do_not() {
    let daemon = setup();
    let mut client = daemon.client();
    let old = capture(&mut client, "The spare key is with Mrs. Oyelaran on the second floor.", "2024-05-01");
    for n in 0..300 {
        let of = ["the floor was waxed", "the second key on the piano sticks", "a spare tyre came", "somebody called"];
        let text = format!("Yesterday number {n}: {}.", of[n % 4]);
        capture(&mut client, &text, &format!("2026-05-01T{:02}:{:02}:00Z", n / 60, n % 60));
    }
    let assert_first = |client: &mut Client| {
        for cue in ["who has the spare key?", "spare key Oyelaran", "is the key on the second floor"] {
            let recalled = recall(client, cue);
            assert_eq!(ids(&recalled["hits"])[0], old, "{cue}: {}", recalled["hits"][0]);
        }
    };
    assert_first(&mut client);
    client.call("memory_consolidate", json!({}));
    assert_first(&mut client);
}

#[test]
fn of_two_equal_matches_the_later_ts_ranks_first_in_any_order_of_storing() {
    for stored in [["2024-05-01", "2026-05-01"], ["2026-05-01", "2024-05-01"]] {
        let daemon = setup();
        let mut client = daemon.client();
        for ts in stored {
            capture(&mut client, &format!("The ferry leaves at {} on Monday.", &ts[2..4]), ts);
        }
        let recalled = recall(&mut client, "when does the ferry leave");
        let days: Vec<&str> = recalled["hits"]
            .as_array()
            .expect("hits")
            .iter()
            .map(|hit| &hit["ts"].as_str().expect("a time")[..10])
            .collect();
        assert_eq!(days, ["2026-05-01", "2024-05-01"]);
    }
}
