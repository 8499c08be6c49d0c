//! How long a recall takes among many records, through the socket, beside a `ping` of the same run.
//!
//! `cargo bench --bench recall [-- RECORDS]`: 100 000 by default, of 8 to 45 words by Zipf's law, in
//! sessions of 40; then 2 000 questions of four to seven words of some record.

mod load;

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use load::{Client, Daemon, request};

const WORDS: usize = 40_000;
const QUESTIONS: usize = 2_000;
const SESSION: usize = 40;

/// Numbers that are the same in every run (xorshift, after Marsaglia, 2003).
struct Dice(u64);

/// Words whose frequency follows Zipf's law.
struct Talk {
    words: Vec<String>,
    /// The sum of the frequencies up to each word.
    sums: Vec<f64>,
}

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

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.max(1))
    }

    fn under(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

impl Talk {
    /// Of this many different words, made of syllables, with endings that English has.
    fn new(words: usize) -> Talk {
        const SYLLABLES: [&str; 20] = [
            "ba", "co", "di", "fu", "ge", "ha", "ki", "lo", "mu", "ne", "pa", "qui", "ro", "su", "ti", "va", "we",
            "xi", "yo", "zu",
        ];
        const ENDINGS: [&str; 6] = ["", "s", "ing", "ed", "er", "n"];
        let word = |n: usize| {
            let (mut word, mut rest) = (String::new(), n + 20);
            while rest > 0 {
                word.push_str(SYLLABLES[rest % 20]);
                rest /= 20;
            }
            write!(word, "{}", ENDINGS[n % 6]).expect("a string takes it");
            word
        };
        let mut sum = 0.0;
        let sums = (1..=words).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Talk { sums: sums.collect(), words: (0..words).map(word).collect() }
    }

    /// So many words.
    fn text(&self, dice: &mut Dice, words: usize) -> String {
        let all = self.sums.last().copied().unwrap_or_default();
        let word = |_| {
            let at = dice.under(1 << 40) as f64 / (1_u64 << 40) as f64 * all;
            self.words[self.sums.partition_point(|sum| *sum < at).min(self.words.len() - 1)].as_str()
        };
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    }
}

/// What half, 95 and 99 of 100, and all took at most.
fn percentiles(mut took: Vec<Duration>) -> [Duration; 4] {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    [at(50), at(95), at(99), at(100)]
}

/// Milliseconds with three digits behind the point.
fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

/// What the system says of the daemon's resident memory, where it tells (proc(5)).
fn resident(daemon: &Daemon) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).ok()?;
    status.lines().find(|line| line.starts_with("VmRSS:")).map(str::to_owned)
}
