//! Measures an idle daemon: memory before and after its idle release, wake-ups, the first recall after it, bytes
//! per connection, and the time from start to the first reply. Reads proc(5), so it needs Linux.
//!
//! `cargo bench --bench footprint [-- SECONDS]`: measured 60 s after the last request, with 10 000 records.

mod load;
mod talk;

use std::env;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use load::{Client, Daemon, request};
use talk::{Dice, Talk, question};

const RECORDS: usize = 10_000;
const CONNECTIONS: usize = 10_000;

/// Number of timed starts.
const STARTS: usize = 20;

fn main() {
    // Cargo adds `--bench`.
    let idle = env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(60);
    let (talk, mut dice) = (Talk::new(), Dice::new(7));
    let daemon = Daemon::start();
    tell("started", &daemon);
    let texts = store(&daemon, &talk, &mut dice);
    let cues: Vec<String> = (0..200).map(|_| question(&mut dice, &texts)).collect();
    let usual = recalls(&daemon, &cues);
    tell("at work", &daemon);

    let mut client = daemon.client();
    let watched = (idle / 2).min(30);
    thread::sleep(Duration::from_secs(idle - watched));
    // After the idle release, which has replaced the workers.
    let before = switches(&daemon);
    thread::sleep(Duration::from_secs(watched));
    tell(&format!("after {idle} s"), &daemon);
    let woken = switches(&daemon).saturating_sub(before);
    println!("in the last {watched} s its threads were given a processor {woken} times (a look a minute is allowed)");
    let first = timed(&mut client, &cues[0]);
    println!("first recall after that {:.2} ms, usually {:.2} ms", millis(first), millis(usual));
    connections(&daemon);
    starts();
}

/// Stores the records from four clients at once.
fn store(daemon: &Daemon, talk: &Talk, dice: &mut Dice) -> Vec<String> {
    let mut text = |_| {
        let words = 8 + dice.under(38);
        talk.text(dice, words)
    };
    let texts: Vec<String> = (0..RECORDS).map(&mut text).collect();
    let capture = |text: &String| request("memory_capture", &json!({"text": text, "session_id": "s"}));
    thread::scope(|scope| {
        for part in texts.chunks(RECORDS / 4) {
            let mut client = daemon.client();
            scope.spawn(move || {
                for some in part.chunks(64) {
                    client.all(&some.iter().map(capture).collect::<Vec<_>>());
                }
            });
        }
    });
    texts
}

/// Recalls from two clients at once, so that each worker opens its connection to the store. Returns the median time.
fn recalls(daemon: &Daemon, cues: &[String]) -> Duration {
    let mut took: Vec<Duration> = thread::scope(|scope| {
        let one = || {
            let mut client = daemon.client();
            cues.iter().map(|cue| timed(&mut client, cue)).collect::<Vec<_>>()
        };
        let clients = [scope.spawn(one), scope.spawn(one)];
        clients.into_iter().flat_map(|client| client.join().expect("no panic")).collect()
    });
    took.sort_unstable();
    took[took.len() / 2]
}

fn timed(client: &mut Client, cue: &str) -> Duration {
    let started = Instant::now();
    client.call("memory_recall", &json!({"cue": cue}));
    started.elapsed()
}

/// Prints the memory per connection of many idle connections.
fn connections(daemon: &Daemon) {
    let socket = daemon.home.path().join("d.sock");
    let open = |_: usize| UnixStream::connect(&socket).ok();
    let count = |daemon: &Daemon| -> usize {
        daemon.client().call("ping", &json!({}));
        fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).map_or(0, Iterator::count)
    };
    let (files, before) = (count(daemon), memory(daemon, "RssAnon"));
    let held: Vec<UnixStream> = (0..CONNECTIONS).map_while(open).collect();
    // The daemon has accepted them once it has answered a later one.
    let taken = count(daemon) - files;
    let bytes = memory(daemon, "RssAnon").saturating_sub(before) * 1024;
    println!("{taken} idle connections: {} bytes each", bytes / taken.max(1) as u64);
    drop(held);
}

/// Prints the time from exec to the reply to the first `ping`, and that of a process that does nothing.
fn starts() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let on_a_new_store = start(home.path());
    let mut took: Vec<Duration> = (0..STARTS).map(|_| start(home.path())).collect();
    let mut nothing: Vec<Duration> = (0..STARTS)
        .map(|_| {
            let started = Instant::now();
            Command::new("true").status().expect("it runs");
            started.elapsed()
        })
        .collect();
    took.sort_unstable();
    nothing.sort_unstable();
    println!(
        "from exec to the first reply: least {:.1} ms, p50 {:.1} ms, on a new store {:.1} ms; `true` takes {:.1} ms",
        millis(took[0]),
        millis(took[STARTS / 2]),
        millis(on_a_new_store),
        millis(nothing[STARTS / 2])
    );
}

/// Starts a daemon on the store in `home`, stops it by SIGTERM, and returns the time to its first reply.
fn start(home: &Path) -> Duration {
    let socket = home.join("d.sock");
    let mut serve = Command::new(env!("CARGO_BIN_EXE_iaid"));
    serve.args(["serve", "--store"]).arg(home.join("store")).arg("--socket").arg(&socket);
    let started = Instant::now();
    let mut child = serve.stderr(Stdio::null()).spawn().expect("the daemon starts");
    let mut stream = loop {
        match UnixStream::connect(&socket) {
            Ok(stream) => break stream,
            Err(_) => thread::sleep(Duration::from_micros(100)),
        }
    };
    stream.write_all(request("ping", &json!({})).as_bytes()).expect("the daemon reads");
    stream.read_exact(&mut [0]).expect("the daemon answers");
    let took = started.elapsed();
    Command::new("kill").arg(child.id().to_string()).status().expect("it runs");
    child.wait().expect("it ends");
    took
}

fn tell(when: &str, daemon: &Daemon) {
    let [resident, own] = ["VmRSS", "RssAnon"].map(|what| memory(daemon, what));
    println!("{when:12} VmRSS {resident:5} KiB, RssAnon {own:5} KiB");
}

/// Returns a memory figure of the daemon in KiB.
fn memory(daemon: &Daemon, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap_or_default();
    number(&status, what)
}

/// Returns the context switches of the daemon's threads.
fn switches(daemon: &Daemon) -> u64 {
    let threads = fs::read_dir(format!("/proc/{}/task", daemon.child.id())).into_iter().flatten().flatten();
    let of =
        |status: String| number(&status, "voluntary_ctxt_switches") + number(&status, "nonvoluntary_ctxt_switches");
    threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).map(of).sum()
}

fn number(status: &str, what: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
