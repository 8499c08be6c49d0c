//! Measures how many captures share a commit, and how fast they are stored beside a program that only writes and syncs
//! the same bytes.
//!
//! `cargo bench --bench captures`. Each capture is durable when it is answered. The commits are counted in the store's
//! write-ahead log, where the last frame of each has the database's size (sqlite.org/fileformat2.html, section 4.1), so
//! the log must not be reset meanwhile: runs are short, on a new store each, and added up.

mod load;

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use load::{Daemon, request};

/// Runs of each shape.
const RUN_COUNT: usize = 7;

/// Captures of each run, alone in their commits or with others. Few enough that their pages stay below the automatic
/// checkpoint at a thousand.
const ALONE_COUNT: usize = 64;
const TOGETHER_COUNT: usize = 384;

const LOG_HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// How captures arrive.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    clients: usize,
    /// Captures of all clients.
    captures: usize,
    /// Requests that a client sends before it reads a reply.
    in_flight: usize,
}

/// What a run wrote, and how long it took.
#[derive(Default)]
struct Written {
    commits: usize,
    took: Duration,
    /// The time in which as many bytes are written and synced in as many pieces by nothing else.
    synced_in: Duration,
}

fn main() {
    let shapes = [
        Shape { name: "1 client", clients: 1, captures: ALONE_COUNT, in_flight: 1 },
        Shape { name: "1 client, 32 in flight", clients: 1, captures: TOGETHER_COUNT, in_flight: 32 },
        Shape { name: "1 client, all at once", clients: 1, captures: TOGETHER_COUNT, in_flight: TOGETHER_COUNT },
        Shape { name: "32 clients", clients: 32, captures: TOGETHER_COUNT, in_flight: 1 },
    ];
    for shape in shapes {
        let mut all = Written::default();
        for _ in 0..RUN_COUNT {
            run(shape, &mut all);
        }
        let captures = (shape.captures * RUN_COUNT) as f64;
        let took = all.took.as_secs_f64();
        println!(
            "{:22} {:5.1} captures a commit, {:7.0} a second; written and synced alone {:7.0}, ratio {:.2}",
            shape.name,
            captures / all.commits as f64,
            captures / took,
            captures / all.synced_in.as_secs_f64(),
            all.synced_in.as_secs_f64() / took,
        );
    }
}

/// Runs one shape on a new store and adds what was written.
fn run(shape: Shape, all: &mut Written) {
    let daemon = Daemon::start();
    daemon.client().call("memory_capture", &json!({"text": "a first record, so that all tables are there"}));
    let log = daemon.home.path().join("store/memory.db-wal");
    let (commits_before, bytes_before) = commits(&log);
    let each = shape.captures / shape.clients;
    let started = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..shape.clients {
            let mut connection = daemon.client();
            let lines: Vec<String> = (0..each)
                .map(|n| request("memory_capture", &json!({"text": format!("what client {client} says, number {n}")})))
                .collect();
            scope.spawn(move || {
                for together in lines.chunks(shape.in_flight) {
                    connection.all(together);
                }
            });
        }
    });
    all.took += started.elapsed();
    let (commits_after, bytes_after) = commits(&log);
    let (commits, bytes) = (commits_after - commits_before, bytes_after - bytes_before);
    all.commits += commits;
    all.synced_in += write_and_sync(&daemon.home.path().join("baseline"), commits, bytes / commits);
}

/// Returns the time in which `count` pieces are written to a new file, each synced before the next.
fn write_and_sync(path: &Path, count: usize, piece_bytes: usize) -> Duration {
    let mut file = File::create(path).expect("a new file");
    let piece = vec![7; piece_bytes];
    file.write_all(&piece).and_then(|()| file.sync_all()).expect("the disk writes");
    let started = Instant::now();
    for _ in 0..count {
        file.write_all(&piece).and_then(|()| file.sync_data()).expect("the disk writes");
    }
    started.elapsed()
}

/// Counts the commits in a write-ahead log, and the bytes that are in use.
fn commits(log: &Path) -> (usize, usize) {
    let bytes = fs::read(log).expect("the log can be read");
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let frame = FRAME_HEADER_BYTES + word(8) as usize;
    let salt = (word(16), word(20));
    let frames = (LOG_HEADER_BYTES..bytes.len())
        .step_by(frame)
        .take_while(|at| at + frame <= bytes.len() && (word(at + 8), word(at + 12)) == salt);
    frames.fold((0, LOG_HEADER_BYTES), |(commits, used), at| (commits + usize::from(word(at + 4) != 0), used + frame))
}
