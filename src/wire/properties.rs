//! The properties that the fuzz targets check, as functions that unit tests also run. Compiled only for
//! these.

use crate::limits::Limits;
use crate::wire::control;
use crate::wire::json;
use crate::wire::line::{Line, LineBuffer};
use crate::wire::members::Members;
use crate::wire::message::{self, Message};
use crate::wire::reply::{self, CallError, code};
use crate::wire::scan::{self, Top};
use crate::wire::session::{self, Disposition, ReplyBounds, Request, Served, Session, Storage, Turn};

/// The line limit of [`line_any_split`], in bytes.
pub const LIMIT_BYTES: usize = 12;

/// An owned [`Line`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineSeen {
    /// [`Line::Whole`]
    Whole(Vec<u8>),
    /// [`Line::TooLong`]
    TooLong,
}

/// Returns the lines of `input` by a reference implementation: split at newlines, compare lengths.
pub fn lines_whole(input: &[u8]) -> Vec<LineSeen> {
    let mut lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let seen = |line: &[u8]| if line.len() > LIMIT_BYTES { LineSeen::TooLong } else { LineSeen::Whole(line.to_vec()) };
    lines.into_iter().map(seen).collect()
}

/// Checks that `input` gives the same lines however it is split into pieces, and that at most the limit and
/// a newline are held. `cuts` are the lengths of the pieces; the last piece is the rest.
pub fn line_any_split(input: &[u8], cuts: &[usize]) {
    let mut buffer = LineBuffer::new(LIMIT_BYTES);
    let (mut seen, mut spare, mut rest) = (Vec::new(), Vec::new(), input);
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (mut piece, after) = rest.split_at(cut.min(rest.len()));
        rest = after;
        while !piece.is_empty() {
            let room = buffer.room(piece.len());
            let count = room.len();
            room.copy_from_slice(&piece[..count]);
            buffer.filled(count);
            piece = &piece[count..];
            assert!(buffer.held() <= LIMIT_BYTES + 1, "more than the limit is held");
            collect(&mut buffer, &mut seen);
        }
        buffer.give_back(&mut spare);
        if cut % 2 == 0 {
            buffer.lend(&mut spare);
        }
    }
    buffer.ended();
    collect(&mut buffer, &mut seen);
    assert_eq!(buffer.held(), 0);
    assert_eq!(seen, lines_whole(input));
}

fn collect(buffer: &mut LineBuffer, seen: &mut Vec<LineSeen>) {
    while let Some(line) = buffer.line() {
        seen.push(match line {
            Line::Whole(line) => LineSeen::Whole(line.to_vec()),
            Line::TooLong => LineSeen::TooLong,
        });
        buffer.consume();
    }
}

/// Checks that the scanner accepts a text exactly if `serde_json` does, and finds the same members of an
/// object.
pub fn scan_agrees(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut seen = Vec::new();
    let top = scan::document(text, scan::DEEPEST, |key, value| seen.push((key, value)));
    let parsed = serde_json::from_str::<&serde_json::value::RawValue>(text);
    let is_deep = message::too_deep(bytes, scan::DEEPEST).is_some();
    assert_eq!(top.is_some(), parsed.is_ok() && !is_deep, "{text:?}");
    if top != Some(Top::Object) {
        return;
    }
    // serde_json refuses a key with a lone surrogate.
    if let Ok(members) = Members::read(text) {
        let members = members.into_all();
        let members: Vec<(&str, &str)> = members.iter().map(|(key, value)| (&**key, value.get())).collect();
        let keys: Vec<_> = seen.iter().map(|(key, _)| json::string(key).unwrap_or_default()).collect();
        let seen: Vec<(&str, &str)> = keys.iter().zip(&seen).map(|(key, (_, value))| (&**key, *value)).collect();
        assert_eq!(seen, members);
    }
}

/// Checks that a JSON text as the result of a reply is the same value, without a character that is to be escaped.
fn result_is_kept(text: &[u8]) {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(text) else { return };
    let mut out = Vec::new();
    reply::result(&mut out, "1", text);
    let out = String::from_utf8(out).expect("a reply is UTF-8");
    let special = |char| matches!(char, '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}');
    assert!(!out.contains(special), "{out:?}");
    let result = out.strip_prefix("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":").and_then(|out| out.strip_suffix("}\n"));
    assert_eq!(serde_json::from_str::<serde_json::Value>(result.expect("a result")).ok(), Some(json));
}

/// Checks that an error's reply is a line of JSON.
fn error_is_a_line(error: &message::InvalidMessage<'_>) {
    let mut out = Vec::new();
    reply::error(&mut out, error.id, &error.error);
    assert!(out.ends_with(b"}\n"));
    assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&out).is_ok(), "{}", String::from_utf8_lossy(&out));
}

/// Checks that parsing a line does not panic, that it agrees with `serde_json` on what is JSON, that the id of an accepted
/// call is in the line and in its reply byte for byte, that an error is answered with JSON, and that the line is the same
/// value as a result.
pub fn message_reads(line: &[u8]) {
    scan_agrees(line);
    result_is_kept(line);
    let limits = Limits::default();
    let json = serde_json::from_slice::<serde_json::Value>(line);
    match message::read(line, limits.max_depth) {
        Message::Call(call) => {
            assert!(line.windows(call.id.len()).any(|window| window == call.id.as_bytes()));
            let mut out = Vec::new();
            reply::result(&mut out, call.id, b"{}");
            assert_eq!(out, [b"{\"jsonrpc\":\"2.0\",\"id\":", call.id.as_bytes(), b",\"result\":{}}\n"].concat());
            if let Ok(json) = json {
                assert_eq!(json["jsonrpc"], "2.0");
                assert_eq!(json["method"], *call.method);
                assert!(json["id"].is_string() || json["id"].is_number());
            }
        }
        Message::Control(_) | Message::InvalidControl(_) => {
            // A lone surrogate in an ignored value is JSON, but `serde_json::Value` refuses it.
            assert!(serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok());
            assert!(json.is_err() || json.is_ok_and(|json| json["type"].is_string() && json.get("jsonrpc").is_none()));
        }
        Message::Invalid(invalid) => {
            error_is_a_line(&invalid);
            if invalid.error.code == code::PARSE {
                assert!(json.is_err(), "JSON was refused: {}", invalid.error.message);
            } else {
                assert_eq!(invalid.error.code, code::INVALID_REQUEST);
            }
        }
    }
}

/// Checks that a control message is accepted or refused as by a reference implementation over
/// `serde_json::Value`. The first byte of `input` selects the `type`; the rest is the text of the members
/// after it, such as `"ts":"x"`.
pub fn control_reads(input: &[u8]) {
    let Some((&first, members)) = input.split_first() else { return };
    let kind = KINDS[usize::from(first) % KINDS.len()];
    let comma: &[u8] = if members.is_empty() { b"" } else { b"," };
    let line = [format!("{{\"type\":\"{kind}\"").as_bytes(), comma, members, b"}"].concat();
    // serde_json::Value does not represent lone surrogates; duplicate keys are handled below.
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&line) else {
        return message_reads(&line);
    };
    let read = message::read(&line, Limits::default().max_depth);
    if has_duplicate(&line) || json.get("jsonrpc").is_some() || control::ControlKind::named(kind).is_none() {
        return match read {
            Message::Control(_) => panic!("{} was accepted", String::from_utf8_lossy(&line)),
            Message::InvalidControl(_) | Message::Invalid(_) | Message::Call(_) => {}
        };
    }
    let text = |key: &str| json.get(key).is_some_and(serde_json::Value::is_string);
    let absent = |key: &str| json.get(key).is_none_or(serde_json::Value::is_null);
    let int = |key: &str| json.get(key).is_some_and(|value| value.is_i64() || value.is_u64());
    let seconds = json.get("seconds").filter(|value| value.is_f64()).and_then(serde_json::Value::as_f64);
    let is_unclear = seconds.is_some_and(|number| number == 0.0 || number.abs() >= 1e15);
    let is_valid = match kind {
        "status" => true,
        "user_initiated_sleep" => text("reason") && text("ts"),
        "force_wake" | "force_rem" => text("ts"),
        "embed_cue" => text("cue"),
        "session_open" => ["session_id", "ts", "source"].iter().all(|key| absent(key) || text(key)),
        // `serde_json::Value` reads `-0` and integers of twenty digits as floats.
        _ if is_unclear => return,
        _ => absent("seconds") || int("seconds"),
    };
    match read {
        Message::Control(_) => assert!(is_valid, "{} was accepted", String::from_utf8_lossy(&line)),
        Message::InvalidControl(invalid) => {
            assert!(!is_valid, "{} was refused: {}", String::from_utf8_lossy(&line), invalid.0);
            assert!(
                ["reason", "ts", "seconds", "session_id", "source", "cue"]
                    .iter()
                    .any(|field| invalid.0.starts_with(field))
            );
        }
        other => panic!("{} is {other:?}", String::from_utf8_lossy(&line)),
    }
}

const KINDS: [&str; 10] = [
    "status",
    "user_initiated_sleep",
    "force_wake",
    "force_rem",
    "pause",
    "resume",
    "session_open",
    "embed_cue",
    "Status",
    "",
];

/// The keys that may be given once.
const KEYS: [&str; 11] =
    ["jsonrpc", "id", "method", "params", "type", "reason", "ts", "seconds", "session_id", "source", "cue"];

/// Returns true if one of them is given twice in the top-level object.
fn has_duplicate(line: &[u8]) -> bool {
    let members = std::str::from_utf8(line).ok().and_then(|text| Members::read(text).ok());
    let keys: Vec<String> = members.into_iter().flat_map(Members::into_all).map(|(key, _)| key).collect();
    (1..keys.len()).any(|at| KEYS.contains(&&*keys[at]) && keys[..at].contains(&keys[at]))
}

/// Checks that in any order of reading, serving, refusing, answering and writing the output is exactly one reply for each
/// line that is not blank, in order, that replies to a peer that reads no more are counted, and that the session keeps its
/// limits. Each byte of `operations` is one operation.
pub fn session_keeps_order(operations: &[u8]) {
    let mut model = Model::new();
    let mut operations = operations.iter();
    while let Some(operation) = operations.next() {
        let more = usize::from(operation / 8);
        match operation % 8 {
            0 | 1 => model.feed(CANNED[more % CANNED.len()].as_bytes()),
            2 => {
                let raw: Vec<u8> = operations.by_ref().take(more).copied().collect();
                model.feed(&raw);
            }
            3 | 4 => model.serve(more),
            5 => model.answer(more),
            6 => model.write(more * 8),
            _ if more == 31 => model.drain(),
            _ if more == 30 => model.exchange_storage(),
            _ if more == 29 => model.refuse_rest(),
            _ if more == 28 => model.peer_gone(),
            _ => model.feed(b"\n"),
        }
        model.check();
    }
    model.finish();
}

const CANNED: [&str; 9] = [
    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"now\"}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":\"two\",\"method\":\"later\"}\n{\"jsonrpc\":\"2.0\",\"id\":3,\"method\":\"later\"}\n",
    "{\"jsonrpc\":\"2.0\",\"id\":4,\"met",
    "hod\":\"now\"}\r\n",
    "{\"type\":\"status\"}\n{\"type\":\"force_wake\"}\n",
    "\n \t\r\n",
    "no json\n[]\n",
    "{\"long\":\"012345678901234567890123456789012345678901234567890123456789",
    "\"}\n",
];

/// The reason for which lines are refused.
const WHY: &str = "stopping";

/// A session, and a record of its input and output for the comparison.
struct Model {
    limits: Limits,
    session: Session,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Replies of deferred requests.
    deferred: std::collections::VecDeque<Vec<u8>>,
    /// Consumed lines that are not blank, and which of them were refused.
    consumed: usize,
    refused: Vec<std::ops::Range<usize>>,
    storage: Storage,
    draining: bool,
}

impl Model {
    fn new() -> Model {
        let limits = Limits {
            max_line_bytes: 64,
            output_mark_bytes: 200,
            small_holder_bytes: 48,
            max_depth: 4,
            ..Limits::default()
        };
        Model {
            session: Session::new(&limits),
            limits,
            input: Vec::new(),
            output: Vec::new(),
            deferred: Default::default(),
            consumed: 0,
            refused: Vec::new(),
            storage: Storage::default(),
            draining: false,
        }
    }

    /// Feeds as much as the session accepts; the rest is not part of the input.
    fn feed(&mut self, bytes: &[u8]) {
        if !self.session.wants_input(ReplyBounds::of(&self.limits), &self.limits) {
            return;
        }
        let room = self.session.room(bytes.len(), &self.limits);
        let count = room.len();
        room.copy_from_slice(&bytes[..count]);
        self.session.filled(count);
        self.input.extend_from_slice(&bytes[..count]);
    }

    fn serve(&mut self, lines: usize) {
        for _ in 0..lines {
            let deferred = &mut self.deferred;
            let served = self.session.serve(ReplyBounds::of(&self.limits), &self.limits, |request, turn| {
                let reply = expected(&request);
                match turn {
                    Turn::First(out) if !is_deferred(&request) => {
                        out.extend_from_slice(&reply);
                        Disposition::Answered
                    }
                    _ if is_deferred(&request) && deferred.len() < 4 => {
                        deferred.push_back(reply);
                        Disposition::Later
                    }
                    _ => Disposition::NotNow,
                }
            });
            let Some(served) = served else { break };
            self.consumed += usize::from(served != Served::Blank);
        }
    }

    /// Refuses the lines that wait, as a server does that stops. It has answered the deferred requests by then.
    fn refuse_rest(&mut self) {
        if self.deferred.is_empty() {
            let count = self.session.refuse_rest(WHY, &self.limits);
            self.refused.push(self.consumed..self.consumed + count);
            self.consumed += count;
        }
    }

    /// Passes storage that is not needed to a common place and back, as between two connections.
    fn exchange_storage(&mut self) {
        self.session.give_back(&mut self.storage);
        self.session.lend(&mut self.storage);
    }

    fn peer_gone(&mut self) {
        self.session.peer_gone();
        assert!(self.session.is_peer_gone() && self.session.output().is_empty());
    }

    fn answer(&mut self, most: usize) {
        let count = most.min(self.deferred.len());
        let replies: Vec<u8> = self.deferred.drain(..count).flatten().collect();
        self.session.answered(count, replies);
    }

    fn write(&mut self, most: usize) {
        let count = most.min(self.session.output().len());
        self.output.extend_from_slice(&self.session.output()[..count]);
        self.session.wrote(count);
    }

    fn drain(&mut self) {
        self.draining = true;
        self.session.drain();
    }

    fn check(&mut self) {
        assert_eq!(self.session.pending(), self.deferred.len());
        assert_eq!(self.session.has_room(&self.limits), !self.session.room(1, &self.limits).is_empty());
        let held = self.session.held_input();
        assert!([0, held].contains(&self.session.incomplete_line()));
        // Refusals are written although the output is over its mark.
        let refused: usize = self.refused.iter().map(ExactSizeIterator::len).sum();
        assert!(
            self.session.held_input() + self.session.waiting_output()
                <= self.limits.max_line_bytes + 1 + self.limits.output_mark_bytes + (5 + refused) * 100
        );
    }

    fn finish(mut self) {
        if !self.draining {
            self.session.input_ended();
        }
        while !self.session.finished() {
            self.serve(usize::MAX);
            self.answer(usize::MAX);
            self.write(usize::MAX);
        }
        let mut lines: Vec<&[u8]> = self.input.split(|byte| *byte == b'\n').collect();
        let open = lines.pop().unwrap_or_default();
        // A draining session does not answer an unterminated line unless it is already too long.
        if !self.draining || open.len() > self.limits.max_line_bytes {
            lines.push(open);
        }
        lines.retain(|line| line.len() > self.limits.max_line_bytes || !is_blank(line));
        assert_eq!(lines.len(), self.consumed);
        let is_refused = |at| self.refused.iter().any(|refused| refused.contains(&at));
        let expected = lines.iter().enumerate().flat_map(|(at, line)| reply_to(line, &self.limits, is_refused(at)));
        let expected: Vec<u8> = expected.collect();
        let dropped = self.session.take_dropped();
        if self.session.is_peer_gone() {
            // A reply that was written in part is dropped.
            let whole = self.output.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(whole + dropped, lines.len());
            assert!(expected.starts_with(&self.output));
        } else {
            assert_eq!(dropped, 0);
            assert_eq!(String::from_utf8_lossy(&self.output), String::from_utf8_lossy(&expected));
        }
    }
}

fn is_deferred(request: &Request<'_>) -> bool {
    matches!(request, Request::Call(call) if call.method == "later")
}

fn expected(request: &Request<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match request {
        Request::Call(call) => reply::result(&mut out, call.id, b"{}"),
        Request::Control(_) => reply::object(&mut out, &true),
    }
    out
}

/// Returns the reply to a line that is not blank.
fn reply_to(line: &[u8], limits: &Limits, is_refused: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let answer = |out: &mut Vec<u8>, request| match is_refused {
        true => session::refuse(out, &request, WHY),
        false => out.extend_from_slice(&expected(&request)),
    };
    if line.len() > limits.max_line_bytes {
        let message = format!("line exceeds {} bytes", limits.max_line_bytes);
        reply::error(&mut out, None, &CallError { code: code::INVALID_REQUEST, message });
        return out;
    }
    match message::read(line, limits.max_depth) {
        Message::Call(call) => answer(&mut out, Request::Call(call)),
        Message::Control(control) => answer(&mut out, Request::Control(control)),
        Message::Invalid(invalid) => reply::error(&mut out, invalid.id, &invalid.error),
        Message::InvalidControl(invalid) => reply::control_refused(&mut out, "invalid_message", &invalid.0),
    }
    out
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| b" \t\r".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn control_messages_are_accepted_or_refused_by_their_fields() {
        for members in [
            "",
            r#""ts":"x""#,
            r#""ts":"x","reason":"\u00e9""#,
            r#""ts":null,"session_id":null"#,
            r#""seconds":5"#,
            r#""seconds":-0"#,
            r#""seconds":1.5"#,
            r#""seconds":99999999999999999999"#,
            r#""ts":"a","ts":"b""#,
            r#""ts":"\ud800""#,
            r#""jsonrpc":"2.0","id":1,"method":"ping""#,
            r#""type":"status""#,
            r#""x":1,"x":2,"ts":"x""#,
            r#"}{"#,
            r#","#,
        ] {
            for kind in 0..KINDS.len() as u8 {
                control_reads(&[&[kind], members.as_bytes()].concat());
            }
        }
    }

    proptest! {
        #[test]
        fn any_members_are_accepted_or_refused_as_by_the_reference(
            kind in any::<u8>(),
            members in proptest::collection::vec((
                "(ts|reason|seconds|session_id|type|jsonrpc|id|x)",
                "(\"x\"|\"\"|null|true|-?[0-9]{1,3}|[0-9]\\.5|[0-9]e2|\\[\\]|\\{\\})",
            ), 0..4),
        ) {
            let members: Vec<String> = members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            control_reads(&[&[kind], members.join(",").as_bytes()].concat());
        }
    }
}
