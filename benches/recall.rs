//! How long a recall takes among many records, through the socket, beside a `ping` of the same run.
//!
//! `cargo bench --bench recall [-- RECORDS]`: 100 000 by default, of 8 to 45 words by Zipf's law, in
//! sessions of 40; then 2 000 questions of four to seven words of some record.

mod load;

use std::env;
use std::time::{Duration, Instant};

use serde_json::json;

use load::{Client, Daemon, Dice, Talk, millis, percentiles, request};

const WORDS: usize = 40_000;
const QUESTIONS: usize = 2_000;
const SESSION: usize = 40;

fn main() {
    // Cargo adds `--bench`.
    let records = env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    let (talk, mut dice) = (Talk::new(WORDS), Dice::new(7));
    let daemon = Daemon::start();
    let mut client = daemon.client();
    let started = Instant::now();
    let texts = store(&mut client, &talk, &mut dice, records);
    println!("{records} records stored in {:.1} s", started.elapsed().as_secs_f64());

    let questions: Vec<String> = (0..QUESTIONS).map(|_| question(&mut dice, &texts)).collect();
    let ping = percentiles(questions.iter().map(|_| timed(&mut client, "ping", "")).collect());
    let recall = percentiles(questions.iter().map(|cue| timed(&mut client, "memory_recall", cue)).collect());
    for (what, at) in [("ping", ping), ("recall", recall)] {
        let [p50, p95, p99, max] = at.map(millis);
        println!("{what:8} p50 {p50}, p95 {p95}, p99 {p99}, max {max}");
    }
    println!("recall takes {:.0} pings", recall[0].as_secs_f64() / ping[0].as_secs_f64());
    if let Some(kib) = daemon.resident_kib() {
        println!("resident {:.1} MiB", kib as f64 / 1024.0);
    }
}

fn store(client: &mut Client, talk: &Talk, dice: &mut Dice, records: usize) -> Vec<String> {
    let texts: Vec<String> = (0..records)
        .map(|_| {
            let words = 8 + dice.under(38);
            talk.text(dice, words)
        })
        .collect();
    for (at, some) in texts.chunks(64).enumerate() {
        let capture = |(i, text): (usize, &String)| {
            let session = (at * 64 + i) / SESSION;
            request("memory_capture", &json!({"text": text, "session_id": format!("s{session}")}))
        };
        client.all(&some.iter().enumerate().map(capture).collect::<Vec<_>>());
    }
    texts
}

/// Words of one record, in their order.
fn question(dice: &mut Dice, texts: &[String]) -> String {
    let words: Vec<&str> = texts[dice.under(texts.len())].split(' ').collect();
    let wanted = (4 + dice.under(4)).min(words.len());
    let mut at: Vec<usize> = (0..wanted).map(|_| dice.under(words.len())).collect();
    at.sort_unstable();
    at.into_iter().map(|at| words[at]).collect::<Vec<_>>().join(" ")
}

fn timed(client: &mut Client, method: &str, cue: &str) -> Duration {
    let params = json!({"cue": cue});
    let started = Instant::now();
    client.call(method, &params);
    started.elapsed()
}
