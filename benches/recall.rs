//! Measures the time of a recall among many records over the socket, and that of a `ping` in the same run.
//!
//! `cargo bench --bench recall [-- RECORDS]`: 100 000 by default, of 8 to 45 words by Zipf's law, in
//! sessions of 40; then 2 000 questions of four to seven words of some record.

mod load;
mod talk;

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use load::{Client, Daemon, request};
use talk::{Dice, Talk, question};

const QUESTIONS: usize = 2_000;
const SESSION: usize = 40;

fn main() {
    // Cargo adds `--bench`.
    let records = env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(100_000);
    let (talk, mut dice) = (Talk::new(), Dice::new(7));
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
    if let Some(line) = resident(&daemon) {
        println!("{line}");
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

fn timed(client: &mut Client, method: &str, cue: &str) -> Duration {
    let params = json!({"cue": cue});
    let started = Instant::now();
    client.call(method, &params);
    started.elapsed()
}

/// Returns the median, the 95th and 99th percentiles, and the maximum.
fn percentiles(mut took: Vec<Duration>) -> [Duration; 4] {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    [at(50), at(95), at(99), at(100)]
}

/// Formats milliseconds with three decimals.
fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// Returns the daemon's resident memory, if the system reports it (proc(5)).
fn resident(daemon: &Daemon) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).ok()?;
    status.lines().find(|line| line.starts_with("VmRSS:")).map(str::to_owned)
}
