//! The tables of docs/protocol.md as transcripts. Each is played against its own daemon in three ways: as
//! written, in small pieces, and with everything sent before anything is read.
//!
//! The lines of a transcript:
//!
//! ```text
//! # a comment
//! ! serve OPTIONS          the options of the daemon; only as the first line
//! --> TEXT                 sent, with a newline
//! ==> TEXT                 sent without one
//! <-- TEXT                 expected, byte for byte; … matches any text
//! ! half-close             the client shuts down its sending side
//! ! closed                 the daemon has closed
//! ! connect                a new connection
//! ```
//!
//! In a text `\xNN` is a byte, and `<UNIT*N>` is UNIT repeated N times. At the end one more `ping` must be
//! answered next, so unexpected replies fail the test.

use std::path::{Path, PathBuf};

use crate::harness::{Client, Daemon, Setup, setup};

/// Most pieces in which a text is sent; a shorter text is sent byte by byte.
const MAX_PIECES: usize = 3000;

#[derive(Clone, Debug)]
enum Step {
    Send(Vec<u8>),
    Expect(String),
    HalfClose,
    Closed,
    Connect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    AsWritten,
    InPieces,
    AllAtOnce,
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                play(stringify!($name));
            }
        )*

        #[test]
        fn every_transcript_is_played() {
            let mut found: Vec<String> = std::fs::read_dir(folder())
                .expect("the folder exists")
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("a UTF-8 name"))
                .collect();
            found.sort();
            let mut played = vec![$(concat!(stringify!($name), ".txt")),*];
            played.sort();
            assert_eq!(found, played);
        }
    };
}

transcripts! { clients_of_3_3 control framing ids kinds recall replies requests server_methods }

#[test]
fn the_longest_line_is_one_mebibyte_by_default() {
    let daemon = setup();
    let mut client = daemon.client();
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for (spaces, reply) in [
        ((1 << 20) - request.len(), r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
        (
            (1 << 20) - request.len() + 1,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"line exceeds 1048576 bytes"}}"#,
        ),
    ] {
        client.send(format!("{request}{}\n", " ".repeat(spaces)));
        assert_eq!(client.line(), reply);
    }
    // At most the limit is held of a line of any length.
    client.send("x".repeat(5 << 20));
    assert!(client.line().contains("line exceeds"));
    let held = daemon.status()["buffered_bytes"].as_u64().expect("a number");
    assert!(held <= (1 << 20) + 1, "{held} bytes are held");
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts")
}

fn play(name: &str) {
    let path = folder().join(name).with_extension("txt");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let (args, steps) = read(&text);
    for way in [Way::AsWritten, Way::InPieces, Way::AllAtOnce] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let daemon = Setup::new().args(&args).start();
        Player { daemon: &daemon, client: daemon.client(), way, name }.play(steps.clone());
    }
}

struct Player<'d> {
    daemon: &'d Daemon,
    client: Client,
    way: Way,
    name: &'d str,
}

impl Player<'_> {
    fn play(&mut self, steps: Vec<(usize, Step)>) {
        let mut steps = steps;
        if self.way == Way::AllAtOnce {
            steps = send_first(steps);
        }
        let mut open = true;
        for (line, step) in steps {
            match step {
                Step::Send(bytes) => self.send(&bytes),
                Step::Expect(pattern) => {
                    let reply = self.client.line();
                    assert!(matches(&pattern, &reply), "{}\n  expected {pattern}\n  received {reply}", self.at(line));
                }
                Step::HalfClose => self.client.end(),
                Step::Closed => {
                    assert_eq!(self.client.rest(), "", "{}: unexpected output", self.at(line));
                    open = false;
                }
                Step::Connect => {
                    self.client = self.daemon.client();
                    open = true;
                }
            }
        }
        if open {
            self.client.send("{\"jsonrpc\":\"2.0\",\"id\":\"the end\",\"method\":\"ping\"}\n");
            assert_eq!(self.client.line(), r#"{"jsonrpc":"2.0","id":"the end","result":{}}"#, "{}", self.at(0));
        }
    }

    fn send(&mut self, bytes: &[u8]) {
        let size = match self.way {
            Way::InPieces => bytes.len().div_ceil(MAX_PIECES),
            _ => bytes.len(),
        };
        bytes.chunks(size.max(1)).for_each(|piece| self.client.send(piece));
    }

    fn at(&self, line: usize) -> String {
        format!("{}.txt:{line} ({:?})", self.name, self.way)
    }
}

/// Returns the steps reordered: on each connection everything is sent before anything is expected.
fn send_first(steps: Vec<(usize, Step)>) -> Vec<(usize, Step)> {
    let mut sorted = Vec::new();
    for connection in steps.split_inclusive(|(_, step)| matches!(step, Step::Closed)) {
        let expected = |step: &Step| matches!(step, Step::Expect(_) | Step::Closed);
        sorted.extend(connection.iter().filter(|(_, step)| !expected(step)).cloned());
        sorted.extend(connection.iter().filter(|(_, step)| expected(step)).cloned());
    }
    sorted
}

/// Parses a transcript into the daemon's options and the steps with their line numbers.
fn read(text: &str) -> (Vec<String>, Vec<(usize, Step)>) {
    let (mut args, mut steps) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().zip(1..) {
        let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
        let step = match (mark, text) {
            ("" | "#", _) => continue,
            ("-->", _) => Step::Send([expand(text), b"\n".into()].concat()),
            ("==>", _) => Step::Send(expand(text)),
            ("<--", _) => Step::Expect(String::from_utf8(expand(text)).expect("replies are UTF-8")),
            ("!", "half-close") => Step::HalfClose,
            ("!", "closed") => Step::Closed,
            ("!", "connect") => Step::Connect,
            ("!", options) if options.starts_with("serve ") => {
                args.extend(options.split(' ').skip(1).map(str::to_owned));
                continue;
            }
            _ => panic!("line {number} is not a step: {line}"),
        };
        steps.push((number, step));
    }
    (args, steps)
}

/// Expands `\xNN` and `<UNIT*N>`.
fn expand(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let hex = rest.strip_prefix("\\x").and_then(|hex| u8::from_str_radix(hex.get(..2)?, 16).ok());
        let repeated = rest.strip_prefix('<').and_then(|inner| {
            let (inner, after) = inner.split_once('>')?;
            let (unit, times) = inner.rsplit_once('*')?;
            Some((expand(unit).repeat(times.parse().ok()?), after))
        });
        if let Some(byte) = hex {
            out.push(byte);
            rest = &rest[4..];
        } else if let Some((bytes, after)) = repeated {
            out.extend(bytes);
            rest = after;
        } else {
            out.extend_from_slice(&rest.as_bytes()[..first.len_utf8()]);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

/// Returns true if `line` matches the pattern, in which each `…` is any text.
fn matches(pattern: &str, line: &str) -> bool {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn patterns_match_whole_lines() {
    for (pattern, line, want) in [
        ("ab", "ab", true),
        ("ab", "abc", false),
        ("a…", "abc", true),
        ("a…c", "ac", true),
        ("a…bc", "abbc", true),
        ("a…c", "cab", false),
        ("a…b…c", "a-b-c", true),
        ("a…bb…b", "abb", false),
    ] {
        assert_eq!(matches(pattern, line), want, "{pattern} {line}");
    }
    assert_eq!(expand(r"a\x0a<xy*3>\q<"), b"a\nxyxyxy\\q<");
}
