//! Every line gets one reply, in order: for any lines, split in any way, with replies read at any speed, with
//! panics and unanswered calls, up to a half-close or a stop.

use std::io::Read;
use std::thread;
use std::time::Duration;

use iaid::limits::Limits;
use proptest::prelude::*;

use crate::harness::{Running, call, failed, named, serve};

/// A kind of line.
#[derive(Clone, Debug)]
enum Sent {
    Echo,
    /// A pipelined call, answered by the handler (`now`), by a late reply in the handler (`at once`), or by a late
    /// reply from another thread (`later`).
    Either(&'static str),
    /// A control message answered by a task on a worker.
    Task,
    Panic,
    /// A call that its handler does not answer.
    Forget,
    /// A call with a reply of this many bytes.
    Big(usize),
    Control,
    Unknown,
    Garbage,
    TooLong,
    /// A line without a reply.
    Blank,
}

/// How the conversation ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    HalfClose,
    /// The server is stopped after the last line was sent.
    Stop,
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        8 => Just(Sent::Echo),
        8 => prop_oneof![4 => Just("now"), 1 => Just("at once"), 1 => Just("later")].prop_map(Sent::Either),
        2 => Just(Sent::Task),
        1 => Just(Sent::Panic),
        1 => Just(Sent::Forget),
        2 => (0..40_000_usize).prop_map(Sent::Big),
        2 => Just(Sent::Control),
        1 => Just(Sent::Unknown),
        2 => Just(Sent::Garbage),
        1 => Just(Sent::TooLong),
        1 => Just(Sent::Blank),
    ]
}

/// Returns a line with this id, and its expected reply.
fn line_and_reply(id: usize, sent: &Sent) -> (String, Option<String>) {
    let error = |id: &str, code: i32, message: &str| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},\"message\":\"{message}\"}}}}")
    };
    match sent {
        Sent::Echo => (call(id, "echo", "x"), Some(named(id, "x"))),
        Sent::Either(when) => (call(id, "either", when), Some(named(id, when))),
        Sent::Task => ("{\"type\":\"resume\"}\n".into(), Some("\"done\"".into())),
        Sent::Panic => (call(id, "panic", "x"), Some(failed(id, "the handler panicked"))),
        Sent::Forget => {
            (call(id, "forget", "x"), Some(failed(id, "internal error: the handler returned without a reply")))
        }
        Sent::Big(bytes) => {
            let params = format!("{{\"bytes\":{bytes}}}");
            let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"big\",\"params\":{params}}}\n");
            (line, Some(named(id, &"x".repeat(*bytes))))
        }
        Sent::Control => ("{\"type\":\"pause\"}\n".into(), Some("{\"ok\":true}".into())),
        Sent::Unknown => (call(id, "none", "x"), Some(error(&id.to_string(), -32601, "unknown method 'none'"))),
        Sent::Garbage => ("]\n".into(), Some(error("null", -32700, "expected value at line 1 column 1"))),
        Sent::TooLong => (
            format!("{}\n", "y".repeat(LINE_BYTES + 1)),
            Some(error("null", -32600, &format!("line exceeds {LINE_BYTES} bytes"))),
        ),
        Sent::Blank => (" \r\n".into(), None),
    }
}

/// Longest line, in bytes.
const LINE_BYTES: usize = 256;

/// Limits so small that each is reached, or the default ones; with brief calls, or without.
fn limits() -> impl Strategy<Value = Limits> {
    let tight = Limits {
        max_line_bytes: LINE_BYTES,
        output_mark_bytes: 1000,
        turn_bytes: 100,
        turn_lines: 2,
        batch_calls: 3,
        ..Limits::default()
    };
    let usual = Limits { max_line_bytes: LINE_BYTES, ..Limits::default() };
    let brief = prop_oneof![Just(Duration::ZERO), Just(Duration::from_secs(1))];
    (prop_oneof![Just(tight), Just(usual)], brief).prop_map(|(limits, brief_call)| Limits { brief_call, ..limits })
}

/// Sends `input` in pieces of these lengths, reads in portions of those, and returns all replies.
fn converse(server: &Running, input: &str, pieces: &[usize], portions: &[usize], ending: Ending) -> String {
    let mut peer = server.peer();
    let mut sending = peer.socket().try_clone().expect("the socket is duplicated");
    let mut got = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let (mut rest, mut lengths) = (input.as_bytes(), pieces.iter().cycle());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*lengths.next().expect("not empty")).min(rest.len()));
                // A stopped server reads no more.
                if std::io::Write::write_all(&mut sending, piece).is_err() {
                    return;
                }
                rest = after;
            }
            match ending {
                Ending::HalfClose => {
                    sending.shutdown(std::net::Shutdown::Write).expect("the sending side is shut down")
                }
                Ending::Stop => server.handle.stop().expect("the loop can be woken"),
            }
        });
        for portion in portions.iter().cycle() {
            let mut piece = vec![0; *portion];
            match peer.socket().read(&mut piece) {
                Ok(0) => break,
                Ok(count) => got.extend_from_slice(&piece[..count]),
                // The connection is reset if it was closed with unread input.
                Err(e) if ending == Ending::Stop && e.kind() == std::io::ErrorKind::ConnectionReset => break,
                Err(e) => panic!("{e}"),
            }
            thread::yield_now();
        }
        peer.rest();
    });
    String::from_utf8(got).expect("replies are text")
}

fn check(sent: &[Sent], limits: Limits, pieces: &[usize], portions: &[usize], ending: Ending) {
    let (lines, replies): (Vec<String>, Vec<Option<String>>) =
        sent.iter().enumerate().map(|(id, sent)| line_and_reply(id, sent)).unzip();
    let expected: Vec<String> = replies.into_iter().flatten().collect();
    let server = serve(limits);
    let got = converse(&server, &lines.concat(), pieces, portions, ending);
    let got: Vec<&str> = got.split_terminator('\n').collect();
    match ending {
        Ending::HalfClose => assert_eq!(got, expected),
        // Lines that the server had not read have no reply.
        Ending::Stop => assert_eq!(got, expected[..got.len().min(expected.len())]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_line_has_one_reply_in_order(
        sent in proptest::collection::vec(sent(), 1..60),
        limits in limits(),
        pieces in proptest::collection::vec(1..4000_usize, 1..10),
        portions in proptest::collection::vec(1..5000_usize, 1..10),
        ending in prop_oneof![Just(Ending::HalfClose), Just(Ending::Stop)],
    ) {
        check(&sent, limits, &pieces, &portions, ending);
    }
}
