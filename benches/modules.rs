//! Measures modules without a socket or a daemon: lines are split, envelopes parsed, records captured and recalled.
//!
//! `cargo bench --bench modules [-- NAME]`. Criterion compares with the previous run on the same
//! machine; its figures are under `target/criterion`.

mod talk;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use criterion::{Criterion, Throughput};
use serde_json::json;
use tempfile::TempDir;

use iaid::dispatch::{CallError, CallOutcome, LateReply, ReplySink, Runner};
use iaid::limits::Limits;
use iaid::memory::{Memory, Worker};
use iaid::wire::line::LineBuffer;
use iaid::wire::message;
use talk::{Dice, Talk, question};

/// Records in the store that recalls search.
const RECORDS: usize = 5_000;

/// Captures that share one commit.
const CAPTURES_PER_COMMIT: usize = 32;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    lines(&mut criterion);
    envelopes(&mut criterion);
    captures(&mut criterion);
    recalls(&mut criterion);
    criterion.final_summary();
}

/// Splits 1 MiB of lines of one length, in reads of one length.
fn lines(criterion: &mut Criterion) {
    let limit = Limits::default().max_line_bytes;
    let mut group = criterion.benchmark_group("lines");
    for (name, line, read) in [
        ("of 64 bytes, 64 KiB a read", 64, 64 << 10),
        ("of 64 bytes, 64 bytes a read", 64, 64),
        ("of 4 KiB, 64 KiB a read", 4 << 10, 64 << 10),
        ("of 1 MiB, 4 KiB a read", limit, 4 << 10),
    ] {
        let one = format!("{}\n", "x".repeat(line - 1));
        let input = one.repeat((1 << 20) / line);
        group.throughput(Throughput::Bytes(input.len() as u64));
        let mut buffer = LineBuffer::new(limit);
        group.bench_function(name, |bench| bench.iter(|| cut(&mut buffer, input.as_bytes(), read)));
    }
    group.finish();
}

fn cut(buffer: &mut LineBuffer, input: &[u8], read: usize) {
    for mut rest in input.chunks(read) {
        while !rest.is_empty() {
            let room = buffer.room(rest.len());
            let (taken, left) = rest.split_at(room.len());
            room.copy_from_slice(taken);
            buffer.filled(taken.len());
            rest = left;
            while let Some(line) = buffer.line() {
                black_box(line);
                buffer.consume();
            }
        }
    }
}

fn envelopes(criterion: &mut Criterion) {
    let depth = Limits::default().max_depth;
    let call = |method, params| json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
    let text = "What was said about the tide tables, at some length. ";
    let mut group = criterion.benchmark_group("envelope");
    for (name, line) in [
        ("ping", r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned()),
        ("recall", call("memory_recall", json!({"cue": "the tide tables", "limit": 5}))),
        ("capture of 1 KiB", call("memory_capture", json!({"text": text.repeat(20), "session_id": "s"}))),
        ("capture of 64 KiB", call("memory_capture", json!({"text": text.repeat(1200), "session_id": "s"}))),
        ("control", r#"{"type":"session_open","session_id":"s","ts":"2026-05-14T22:00:00Z"}"#.to_owned()),
        ("no JSON", r#"{"jsonrpc":"2.0","id":1,"method":"ping",}"#.to_owned()),
    ] {
        group.throughput(Throughput::Bytes(line.len() as u64));
        group.bench_function(name, |bench| bench.iter(|| black_box(message::read(black_box(line.as_bytes()), depth))));
    }
    group.finish();
}

/// Each capture is durable when it is answered, so a single one takes as long as the disk's sync.
fn captures(criterion: &mut Criterion) {
    let (talk, mut dice, mut store) = (Talk::new(), Dice::new(7), Store::new());
    let mut group = criterion.benchmark_group("capture");
    group.sample_size(20);
    for (name, together) in [("alone", 1), ("together", CAPTURES_PER_COMMIT)] {
        group.throughput(Throughput::Elements(together as u64));
        group.bench_function(name, |bench| {
            bench.iter(|| store.capture((0..together).map(|_| talk.text(&mut dice, 25))));
        });
    }
    group.finish();
}

fn recalls(criterion: &mut Criterion) {
    let (talk, mut dice, mut store) = (Talk::new(), Dice::new(7), Store::new());
    let texts: Vec<String> = (0..RECORDS).map(|n| talk.text(&mut dice, 8 + n % 38)).collect();
    texts.chunks(CAPTURES_PER_COMMIT).for_each(|some| store.capture(some.iter().cloned()));
    let mut group = criterion.benchmark_group("recall");
    group.sample_size(50);
    for (name, prefix) in [("words", ""), ("verbatim", "exact "), ("the newest", "-")] {
        group.bench_function(name, |bench| {
            bench.iter(|| {
                let cue =
                    if prefix == "-" { String::new() } else { format!("{prefix}{}", question(&mut dice, &texts)) };
                store.call("memory_recall", &json!({"cue": cue}).to_string());
                store.answered()
            });
        });
    }
    group.finish();
}

/// A temporary store with one worker.
struct Store {
    runner: Runner<Worker>,
    memory: Memory,
    answers: Receiver<Vec<u8>>,
    sink: Arc<Answers>,
    _folder: TempDir,
}

struct Answers(Sender<Vec<u8>>);

impl Store {
    fn new() -> Store {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let memory = Memory::open(folder.path()).expect("a new store opens");
        let (sender, answers) = channel();
        Store { runner: Runner::default(), memory, answers, sink: Arc::new(Answers(sender)), _folder: folder }
    }

    fn call(&mut self, method: &str, params: &str) {
        let sink = &self.sink;
        let given = self.runner.run(&self.memory, method, Some(params), &|| LateReply::new(sink.clone(), 0));
        if let CallOutcome::Now(answer) = given {
            sink.clone().fill(0, answer.map(<[u8]>::to_vec));
        }
    }

    fn answered(&self) -> Vec<u8> {
        self.answers.recv().expect("each call is answered")
    }

    /// Submits captures of all texts, then waits for them.
    fn capture(&mut self, texts: impl Iterator<Item = String>) {
        let mut waiting = 0;
        for text in texts {
            self.call("memory_capture", &json!({"text": text}).to_string());
            waiting += 1;
        }
        (0..waiting).for_each(|_| drop(self.answered()));
    }
}

impl ReplySink for Answers {
    fn fill(self: Arc<Self>, _: usize, answer: Result<Vec<u8>, CallError>) {
        let answer = answer.expect("no call here fails");
        // The receiver may have been dropped at the end.
        drop(self.0.send(answer));
    }
}
