//! Measures how many captures share a commit, and the rate of 32 clients relative to one.
//!
//! `cargo bench --bench captures`. Each capture is durable when it is answered. The commits are counted
//! in the store's write-ahead log, where the last frame of each has the database's size
//! (sqlite.org/fileformat2.html, section 4.1), so the log must not be reset meanwhile: runs are
//! short.

mod load;

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use load::Daemon;

/// Captures of each client. Few enough that their pages stay below the automatic checkpoint at a thousand.
const CAPTURES_PER_CLIENT: usize = 12;

fn main() {
    let (alone, alone_a_second) = run(1, CAPTURES_PER_CLIENT * 8);
    let (many, many_a_second) = run(32, CAPTURES_PER_CLIENT);
    for (clients, each_commit, a_second) in [(1, alone, alone_a_second), (32, many, many_a_second)] {
        println!("{clients:2} clients: {each_commit:5.1} captures a commit, {a_second:7.0} a second");
    }
    println!("32 clients are {:.1} times as fast as one", many_a_second / alone_a_second);
}

/// Returns the captures per commit and per second.
fn run(clients: usize, each: usize) -> (f64, f64) {
    let daemon = Daemon::start();
    daemon.client().call("memory_capture", &json!({"text": "a first record, so that all tables are there"}));
    let log = daemon.home.path().join("store/memory.db-wal");
    let before = commits(&log);
    let started = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..clients {
            let mut connection = daemon.client();
            scope.spawn(move || {
                for n in 0..each {
                    let params = json!({"text": format!("what client {client} says, number {n}")});
                    connection.call("memory_capture", &params);
                }
            });
        }
    });
    let took = started.elapsed().as_secs_f64();
    let captures = (clients * each) as f64;
    (captures / (commits(&log) - before) as f64, captures / took)
}

/// Counts the commits in a write-ahead log.
fn commits(log: &Path) -> usize {
    const HEADER_BYTES: usize = 32;
    const FRAME_HEADER_BYTES: usize = 24;
    let bytes = fs::read(log).expect("the log can be read");
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let page = word(8) as usize;
    let salt = (word(16), word(20));
    let frames = (HEADER_BYTES..bytes.len())
        .step_by(FRAME_HEADER_BYTES + page)
        .take_while(|at| at + FRAME_HEADER_BYTES + page <= bytes.len());
    frames.filter(|&at| (word(at + 8), word(at + 12)) == salt && word(at + 4) != 0).count()
}
