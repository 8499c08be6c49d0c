//! Every line gets one reply, in order: whatever the lines are, however the bytes are cut, however slowly the
//! replies are taken, through panics and calls that are never answered, and to a half-close or a stop.

use std::io::Read;
use std::thread;
use std::time::Duration;

use iaid::limits::Limits;
use proptest::prelude::*;

use crate::bench::{Running, call, failed, named, serve};

/// What a line is.
#[derive(Clone, Debug)]
enum Said {
    Echo,
    /// A call that may overlap with others of its kind: answered now, as one that comes later but at once, or later
    /// from another thread.
    Either(&'static str),
    /// Through work on a worker.
    Later,
    Panic,
    /// A call that its handler drops.
    Forget,
    /// A reply of this many bytes, more than may wait.
    Big(usize),
    Control,
    Unknown,
    Garbage,
    TooLong,
    /// Has no reply.
    Blank,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    HalfClose,
    /// The server is stopped while it reads.
    Stop,
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        8 => Just(Said::Echo),
        8 => prop_oneof![4 => Just("now"), 1 => Just("at once"), 1 => Just("later")].prop_map(Said::Either),
        2 => Just(Said::Later),
        1 => Just(Said::Panic),
        1 => Just(Said::Forget),
        2 => (0..40_000_usize).prop_map(Said::Big),
        2 => Just(Said::Control),
        1 => Just(Said::Unknown),
        2 => Just(Said::Garbage),
        1 => Just(Said::TooLong),
        1 => Just(Said::Blank),
    ]
}

/// The line of this id, and the reply that it is owed.
fn line_and_reply(id: usize, said: &Said) -> (String, Option<String>) {
    let error = |id: &str, code: i32, message: &str| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":\"{message}\"}}}}")
    };
    match said {
        Said::Echo => (call(id, "echo", "x"), Some(named(id, "x"))),
        Said::Either(when) => (call(id, "either", when), Some(named(id, when))),
        Said::Later => ("{\"type\":\"resume\"}\n".into(), Some("\"done\"".into())),
        Said::Panic => (call(id, "panic", "x"), Some(failed(id, "the handler panicked"))),
        Said::Forget => {
            (call(id, "forget", "x"), Some(failed(id, "internal error: the handler returned without a reply")))
        }
        Said::Big(bytes) => {
            let params = format!("{{\"bytes\":{bytes}}}");
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"big\",\"params\":{params}}}\n");
            (line, Some(named(id, &"x".repeat(*bytes))))
        }
        Said::Control => ("{\"type\":\"pause\"}\n".into(), Some("{\"ok\":true}".into())),
        Said::Unknown => (call(id, "none", "x"), Some(error(&id.to_string(), -32601, "unknown method 'none'"))),
        Said::Garbage => ("]\n".into(), Some(error("null", -32700, "expected value at line 1 column 1"))),
        Said::TooLong => {
            (format!("{}\n", "y".repeat(LINE + 1)), Some(error("null", -32600, &format!("line exceeds {LINE} bytes"))))
        }
        Said::Blank => (" \r\n".into(), None),
    }
}

/// Longest line.
const LINE: usize = 256;

/// Bounds so tight that every one of them is met, or the usual ones; calls that count as brief, or none.
fn limits() -> impl Strategy<Value = Limits> {
    let tight = Limits {
        max_line_bytes: LINE,
        output_mark_bytes: 1000,
        turn_bytes: 100,
        turn_lines: 2,
        batch_calls: 3,
        ..Limits::default()
    };
    let usual = Limits { max_line_bytes: LINE, ..Limits::default() };
    let brief = prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(1))];
    (prop_oneof![Just(tight), Just(usual)], brief).prop_map(|(limits, brief_call)| Limits { brief_call, ..limits })
}

/// Says all lines in pieces of these lengths, takes the replies in pieces of those, and gives what came.
fn converse(server: &Running, input: &str, pieces: &[usize], bites: &[usize], ending: Ending) -> String {
    let mut peer = server.peer();
    let mut sending = peer.socket().try_clone().expect("it can be duplicated");
    let mut got = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut rest, mut lengths) = (input.as_bytes(), pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*lengths.next().expect("never empty")).min(rest.len()));
                // A server that was stopped reads no more.
                if std::io::Write::write_all(&mut sending, piece).is_err() {
                    return;
                }
                rest = after;
            }
            match ending {
                Ending::HalfClose => sending.shutdown(std::net::Shutdown::Write).expect("it can be ended"),
                Ending::Stop => server.handle.stop().expect("the loop can be woken"),
            }
        });
        for bite in bites.iter().cycle() {
            let mut piece = vec![0; *bite];
            match peer.socket().read(&mut piece) {
                Ok(0) => break,
                Ok(count) => got.extend_from_slice(&piece[..count]),
                // Closed over what was sent after the stop.
                Err(e) if ending == Ending::Stop && e.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(e) => panic!("{e}"),
            }
            thread::yield_now();
        }
        peer.rest();
    });
    String::from_utf8(got).expect("replies are text")
}

fn check(said: &[Said], limits: Limits, pieces: &[usize], bites: &[usize], ending: Ending) {
    let (lines, replies): (Vec<String>, Vec<Option<String>>) =
        said.iter().enumerate().map(|(id, said)| line_and_reply(id, said)).unzip();
    let owed: Vec<String> = replies.into_iter().flatten().collect();
    let server = serve(limits);
    let got = converse(&server, &lines.concat(), pieces, bites, ending);
    let got: Vec<&str> = got.split_terminator('\n').collect();
    match ending {
        Ending::HalfClose => assert_eq!(got, owed),
        // What had not been read has no reply; what had been, its own.
        Ending::Stop => assert_eq!(got, owed[..got.len().min(owed.len())]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_has_one_reply_in_order(
        said in proptest::collection::vec(said(), 1..60),
        limits in limits(),
        pieces in proptest::collection::vec(1..4000_usize, 1..10),
        bites in proptest::collection::vec(1..5000_usize, 1..10),
        ending in prop_oneof![Just(Ending::HalfClose), Just(Ending::Stop)],
    ) {
        check(&said, limits, &pieces, &bites, ending);
    }
}
