//! Measures the latency of one client over the socket while another sends the slowest calls and a third floods, and
//! that of the same client with an otherwise idle daemon, in one run.
//!
//! `cargo bench --bench tail [-- RECORDS]`: 20 000 by default. Clients and daemon share the machine's processors, so
//! on a small machine the ratios matter, not the times.

mod load;
mod talk;

use std::env;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use load::{Daemon, request};
use talk::{Dice, Talk, question};

/// Duration of each load.
const LOAD_TIME: Duration = Duration::from_secs(4);

/// Pause between two requests of one client.
const PAUSE: Duration = Duration::from_millis(2);

/// Read timeout after which a client checks whether the run is over.
const READ_TIMEOUT: Duration = Duration::from_millis(100);

/// Calls in flight of the flood.
const DEPTH: usize = 256;

/// Records per session.
const SESSION: usize = 40;

/// The measured latencies of a client, sorted.
struct Waits {
    status: Vec<Duration>,
    recall: Vec<Duration>,
}

fn main() {
    // Cargo adds `--bench`.
    let records = env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(20_000);
    let (talk, mut dice) = (Talk::new(), Dice::new(7));
    let daemon = Daemon::start();
    let texts = store(&daemon, &talk, &mut dice, records);
    let cues: Vec<String> = (0..500).map(|_| question(&mut dice, &texts)).collect();
    let (quiet, _) = measure(&daemon, &cues, None);
    println!("{records} records; a client of `status` and one of recalls, each every {PAUSE:?}, for {LOAD_TIME:?}");
    tell("nobody else", &quiet, &quiet, "");
    let long: Vec<&str> = texts.iter().take(12).map(String::as_str).collect();
    let slow = [
        ("recalls of 12 texts", "memory_recall", json!({"cue": long.join(" "), "limit": 100})),
        ("quoted recalls", "memory_recall", json!({"cue": format!("\"{}\"", long.join("\" \"")), "limit": 100})),
        ("structural recalls", "memory_recall_structural", json!({"max_records": 50_000, "budget_tokens": 50_000})),
        ("store_check", "store_check", json!({})),
        ("store_export", "store_export", json!({"limit": 10_000})),
        ("memory_consolidate", "memory_consolidate", json!({})),
    ];
    for (what, method, params) in slow {
        // The last one runs for minutes, in chunks.
        if method != "memory_consolidate" {
            let began = Instant::now();
            daemon.client().call(method, &params);
            println!("{what}: {:.1} ms each with nobody else", began.elapsed().as_secs_f64() * 1e3);
        }
        let load = Load { slow: request(method, &params), flood: request("profile_get", &json!({})) };
        let (waits, done) = measure(&daemon, &cues, Some(&load));
        tell(what, &waits, &quiet, &done);
    }
}

/// Requests that other clients send as fast as they are answered.
struct Load {
    slow: String,
    flood: String,
}

fn store(daemon: &Daemon, talk: &Talk, dice: &mut Dice, records: usize) -> Vec<String> {
    let mut client = daemon.client();
    let mut text = |_| {
        let words = 8 + dice.under(38);
        talk.text(dice, words)
    };
    let texts: Vec<String> = (0..records).map(&mut text).collect();
    for (at, some) in texts.chunks(64).enumerate() {
        let capture = |(i, text): (usize, &String)| {
            let session = format!("s{}", (at * 64 + i) / SESSION);
            request("memory_capture", &json!({"text": text, "session_id": session}))
        };
        client.all(&some.iter().enumerate().map(capture).collect::<Vec<_>>());
    }
    texts
}

/// Returns the latencies of `status` and of a recall under the load, and the load's throughput.
fn measure(daemon: &Daemon, cues: &[String], load: Option<&Load>) -> (Waits, String) {
    let (is_over, slow_calls, floods) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let waits = thread::scope(|scope| {
        if let Some(load) = load {
            scope.spawn(|| keep_busy(daemon, &load.slow, 1, &is_over, &slow_calls));
            scope.spawn(|| keep_busy(daemon, &load.flood, DEPTH, &is_over, &floods));
        }
        let status = scope.spawn(|| every(daemon, |_| "{\"type\":\"status\"}\n".into()));
        let recall = scope.spawn(|| every(daemon, |n| request("memory_recall", &json!({"cue": cues[n % cues.len()]}))));
        let waits = Waits { status: status.join().expect("no panic"), recall: recall.join().expect("no panic") };
        is_over.store(true, Ordering::Relaxed);
        waits
    });
    let rate = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64 / LOAD_TIME.as_secs_f64();
    let done = format!("; beside {:.1} of them and {:.0} profile_get a second", rate(&slow_calls), rate(&floods));
    (waits, if load.is_some() { done } else { String::new() })
}

/// Sends this line repeatedly, with `depth` requests in flight.
fn keep_busy(daemon: &Daemon, line: &str, depth: usize, is_over: &AtomicBool, count: &AtomicU64) {
    let mut stream = BufReader::new(connect(daemon));
    stream.get_ref().set_read_timeout(Some(READ_TIMEOUT)).expect("a timeout can be set");
    let send = |times: usize, stream: &mut BufReader<UnixStream>| {
        stream.get_mut().write_all(line.repeat(times).as_bytes()).expect("the daemon reads");
    };
    send(depth, &mut stream);
    let mut reply = Vec::new();
    loop {
        // Half of the replies are read, and as many requests sent again.
        for _ in 0..depth.div_ceil(2) {
            reply.clear();
            while let Err(error) = stream.read_until(b'\n', &mut reply) {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                assert_eq!(error.kind(), ErrorKind::WouldBlock, "the daemon answers");
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        send(depth.div_ceil(2), &mut stream);
    }
}

/// Sends a request every [`PAUSE`] for [`LOAD_TIME`]. Returns the latencies, sorted.
fn every(daemon: &Daemon, question: impl Fn(usize) -> String) -> Vec<Duration> {
    let mut stream = BufReader::new(connect(daemon));
    let (end, mut waits, mut reply) = (Instant::now() + LOAD_TIME, Vec::new(), String::new());
    while Instant::now() < end {
        let line = question(waits.len());
        reply.clear();
        let sent = Instant::now();
        stream.get_mut().write_all(line.as_bytes()).expect("the daemon reads");
        stream.read_line(&mut reply).expect("the daemon answers");
        waits.push(sent.elapsed());
        let value: Value = serde_json::from_str(&reply).expect("a reply is JSON");
        assert!(value.get("error").is_none(), "{reply}");
        thread::sleep(PAUSE);
    }
    waits.sort_unstable();
    waits
}

fn connect(daemon: &Daemon) -> UnixStream {
    UnixStream::connect(daemon.home.path().join("d.sock")).expect("the daemon accepts")
}

fn tell(what: &str, waits: &Waits, quiet: &Waits, done: &str) {
    let at = |waits: &[Duration], share: usize| waits[(waits.len() * share / 100).min(waits.len() - 1)].as_secs_f64();
    let ratio = at(&waits.recall, 99) / at(&quiet.recall, 99);
    let millis = |waits: &[Duration], share| at(waits, share) * 1e3;
    println!(
        "{what:20} status p50 {:.2} ms, p99 {:.2} ms; recall p50 {:.2} ms, p99 {:.2} ms, {ratio:.1} times the quiet one{done}",
        millis(&waits.status, 50),
        millis(&waits.status, 99),
        millis(&waits.recall, 50),
        millis(&waits.recall, 99),
    );
}
