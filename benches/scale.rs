//! Measures how each cost grows with the number of records, and names what grows faster than its work: recalls, captures,
//! the store's size, memory, the first reply after a start, a first consolidation and one of 1 000 new records.
//! Reads proc(5), so it needs Linux.
//!
//! `cargo bench --bench scale [-- RECORDS...]`: 10 000, 100 000 and 1 000 000 by default, which takes an hour. Run it on an
//! otherwise idle machine.

mod load;
mod talk;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use load::{Client, Daemon, request};
use talk::{Dice, Talk, question};

const QUESTIONS: usize = 1_000;
const SESSION: usize = 40;

/// Records that are added for the second consolidation.
const NEW_RECORDS: usize = 1_000;

/// Clock ticks of a second in /proc/PID/stat.
const TICKS: f64 = 100.0;

/// A cost that grows by more than this factor beside its work is named.
const TOLERANCE: f64 = 1.5;

/// How a cost may grow with the records.
#[derive(Clone, Copy, PartialEq)]
enum Growth {
    /// Not at all, or with the depth of the trees.
    Constant,
    /// In proportion.
    Linear,
}

/// A figure of one size: its name, the value, its unit and how it may grow.
type Figure = (&'static str, f64, &'static str, Growth);

fn main() {
    // Cargo adds `--bench`.
    let mut sizes: Vec<usize> = env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    if sizes.is_empty() {
        sizes = vec![10_000, 100_000, 1_000_000];
    }
    let mut before: Option<(usize, Vec<Figure>)> = None;
    for records in sizes {
        println!("{records} records");
        let figures = measure(records);
        for (at, (name, value, unit, growth)) in figures.iter().enumerate() {
            let grown = before.as_ref().map(|(fewer, figures)| (value / figures[at].1, records as f64 / *fewer as f64));
            let verdict = grown.map_or(String::new(), |(by, more)| {
                let most = if *growth == Growth::Linear { more } else { 1.0 } * TOLERANCE;
                let mark = if by > most { ": FASTER THAN ITS WORK" } else { "" };
                format!(", {by:.2} times that of the size before{mark}")
            });
            println!("  {name}: {value:.3} {unit}{verdict}");
        }
        before = Some((records, figures));
    }
}

fn measure(records: usize) -> Vec<Figure> {
    let (talk, mut dice) = (Talk::new(), Dice::new(7));
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    let mut figures = Vec::new();
    let started = Instant::now();
    let texts = store(&mut client, &talk, &mut dice, (0, records));
    figures.push(("captures", started.elapsed().as_secs_f64(), "s", Growth::Linear));
    let size: u64 = fs::read_dir(daemon.home.path().join("store"))
        .expect("the store's folder")
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|about| about.len())
        .sum();
    figures.push(("size of the store", size as f64 / 1e6, "MB", Growth::Linear));
    let cues: Vec<String> = (0..QUESTIONS).map(|_| question(&mut dice, &texts)).collect();
    drop(texts);
    recalls(&mut client, &cues, ["recall p50", "recall p95", "recall p99"], &mut figures);
    figures.push(("resident", resident(&daemon), "MiB", Growth::Constant));
    let cpu = processor_time(&daemon);
    client.call("memory_consolidate", &json!({}));
    figures.push(("first consolidation", processor_time(&daemon) - cpu, "s of a processor", Growth::Linear));
    store(&mut client, &talk, &mut dice, (records, NEW_RECORDS));
    let cpu = processor_time(&daemon);
    client.call("memory_consolidate", &json!({}));
    figures.push(("consolidation of 1 000 more", processor_time(&daemon) - cpu, "s of a processor", Growth::Constant));
    let names = ["recall p50, consolidated", "recall p95, consolidated", "recall p99, consolidated"];
    recalls(&mut client, &cues, names, &mut figures);
    figures.push(("first reply after a start", millis(restart(&mut daemon)), "ms", Growth::Constant));
    figures
}

/// Stores so many records, in sessions of 40; `first` records are there already.
fn store(client: &mut Client, talk: &Talk, dice: &mut Dice, (first, count): (usize, usize)) -> Vec<String> {
    let mut texts = Vec::with_capacity(count);
    while texts.len() < count {
        let lines: Vec<String> = (0..64.min(count - texts.len()))
            .map(|_| {
                let words = 8 + dice.under(38);
                let session = (first + texts.len()) / SESSION;
                let text = talk.text(dice, words);
                let line = request("memory_capture", &json!({"text": text, "session_id": format!("s{session}")}));
                texts.push(text);
                line
            })
            .collect();
        client.all(&lines);
    }
    texts
}

fn recalls(client: &mut Client, cues: &[String], names: [&'static str; 3], figures: &mut Vec<Figure>) {
    let time = |cue: &String| {
        let started = Instant::now();
        client.call("memory_recall", &json!({"cue": cue}));
        started.elapsed()
    };
    let mut took: Vec<Duration> = cues.iter().map(time).collect();
    took.sort_unstable();
    for (name, share) in names.into_iter().zip([50, 95, 99]) {
        figures.push((name, millis(took[took.len() * share / 100]), "ms", Growth::Constant));
    }
}

/// Stops the daemon and returns the time from the start of the next one to its first reply.
fn restart(daemon: &mut Daemon) -> Duration {
    stop(daemon);
    let started = Instant::now();
    daemon.child = serve(daemon.home.path());
    let mut stream = loop {
        match UnixStream::connect(daemon.socket()) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_micros(200)),
        }
    };
    stream.write_all(request("ping", &json!({})).as_bytes()).expect("the daemon reads");
    stream.read_exact(&mut [0; 8]).expect("the daemon answers");
    started.elapsed()
}

fn stop(daemon: &mut Daemon) {
    let pid = daemon.child.id().to_string();
    Command::new("kill").arg(&pid).status().expect("kill runs");
    daemon.child.wait().expect("the daemon ends");
}

fn serve(home: &Path) -> std::process::Child {
    let program = env::var_os("IAID_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_iaid").into());
    let mut serve = Command::new(program);
    serve.args(["serve", "--socket"]).arg(home.join("d.sock")).arg("--store").arg(home.join("store"));
    serve.stderr(Stdio::null()).spawn().expect("the daemon starts")
}

/// Returns the processor time of the daemon, in seconds (proc(5)).
fn processor_time(daemon: &Daemon) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.child.id())).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

/// Returns the daemon's resident memory in MiB (proc(5)).
fn resident(daemon: &Daemon) -> f64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
