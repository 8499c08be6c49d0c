//! Pipelined calls on one connection: sent in order, answered in order, at most a window of them
//! unanswered.
//!
//! A client that only writes while the daemon waits for it to read would deadlock. So a write that
//! stalls is followed by reading the replies that are due, and the window keeps the unanswered bytes
//! below the amount that the daemon always reads (docs/protocol.md, Framing).

use std::collections::VecDeque;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::connection::{NoLine, WriteOutcome};
use super::error::{ClientError, ReplyFault, UnreachableReason};
use super::policy::DeliveryGuarantee;
use super::transport::Transport;
use crate::wire::json;
use crate::wire::reply::code;

/// Most unanswered calls: two of the daemon's batches, so that one is collected while the other runs.
pub const WINDOW_CALLS: usize = 128;

/// Most unanswered bytes; a single call may be longer. 48 KiB: the daemon reads a connection that holds
/// less than 64 KiB even when its memory budget is exhausted.
pub const WINDOW_BYTES: usize = 48 << 10;

/// The error object of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct RemoteError {
    /// The JSON-RPC code.
    pub code: i32,
    /// The message.
    pub message: String,
}

/// The reply to one call of a pipeline.
#[derive(Debug)]
pub struct PipelineReply {
    /// The tag that the caller gave to [`Pipeline::send`].
    pub tag: u64,
    /// The JSON text of the result, or the daemon's error.
    pub outcome: Result<Box<RawValue>, RemoteError>,
}

/// Calls sent and not answered yet. If it is dropped before all are answered, it closes the client's
/// connection, since late replies would be taken for those of later calls.
#[derive(Debug)]
pub struct Pipeline<'c> {
    transport: &'c mut Transport,
    delivery: DeliveryGuarantee,
    /// Unanswered calls, oldest first. The first `written` of them are completely written.
    open: VecDeque<Sent>,
    written: usize,
    /// The length of all lines in `open`.
    open_bytes: usize,
    answered: VecDeque<PipelineReply>,
}

#[derive(Debug)]
struct Sent {
    tag: u64,
    expected: Expected,
    line: Vec<u8>,
    /// Bytes of `line` written: `at <= line.len()`.
    at: usize,
    /// Sent again on a second connection.
    resent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Reply(u64),
    Control,
}

impl<'c> Pipeline<'c> {
    pub(crate) fn new(transport: &'c mut Transport, delivery: DeliveryGuarantee) -> Pipeline<'c> {
        Pipeline { transport, delivery, open: VecDeque::new(), written: 0, open_bytes: 0, answered: VecDeque::new() }
    }

    /// Sends a call. If the window is full, first waits for the oldest replies.
    ///
    /// # Errors
    /// Every [`ClientError`]; [`ClientError::Refused`] only if the daemon refuses the whole connection,
    /// since the error of a call is in its [`PipelineReply`]. After an error other than
    /// [`ClientError::Unsendable`] no further replies come; [`Pipeline::unanswered`] names the calls
    /// without one.
    pub fn send(&mut self, tag: u64, method: &str, params: &impl Serialize) -> Result<(), ClientError> {
        let id = self.transport.take_id();
        let line = encode(&Request { jsonrpc: "2.0", id, method, params })?;
        self.push(Sent { tag, expected: Expected::Reply(id), line, at: 0, resent: false })
    }

    /// Sends a control message, with tag 0.
    ///
    /// # Errors
    /// As [`Pipeline::send`].
    pub(crate) fn send_control(&mut self, message: &impl Serialize) -> Result<(), ClientError> {
        let line = encode(message)?;
        self.push(Sent { tag: 0, expected: Expected::Control, line, at: 0, resent: false })
    }

    /// Removes and returns the oldest reply that was received. Does not wait.
    pub fn take_reply(&mut self) -> Option<PipelineReply> {
        self.answered.pop_front()
    }

    /// Waits until every sent call is answered.
    ///
    /// # Errors
    /// As [`Pipeline::send`].
    pub fn finish(&mut self) -> Result<(), ClientError> {
        while !self.open.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    /// Returns the tags of the unanswered calls, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = u64> + '_ {
        self.open.iter().map(|sent| sent.tag)
    }

    /// Waits for the reply of the only call that was sent.
    ///
    /// # Errors
    /// As [`Pipeline::send`], and [`ClientError::Refused`] with the error of the call.
    pub(crate) fn only_reply(&mut self) -> Result<Box<RawValue>, ClientError> {
        self.finish()?;
        match self.take_reply() {
            Some(PipelineReply { outcome: Ok(result), .. }) => Ok(result),
            Some(PipelineReply { outcome: Err(RemoteError { code, message }), .. }) => {
                Err(ClientError::Refused { code, message })
            }
            None => Err(self.transport.bad_reply(ReplyFault::UnexpectedId)),
        }
    }

    #[cfg(test)]
    pub(crate) fn push_past_window(&mut self, tag: u64, id: u64, line: Vec<u8>) -> Result<(), ClientError> {
        self.open_bytes += line.len();
        self.open.push_back(Sent { tag, expected: Expected::Reply(id), line, at: 0, resent: false });
        self.flush()
    }

    fn push(&mut self, sent: Sent) -> Result<(), ClientError> {
        while self.open.len() >= WINDOW_CALLS
            || (!self.open.is_empty() && self.open_bytes + sent.line.len() > WINDOW_BYTES)
        {
            self.receive()?;
        }
        self.open_bytes += sent.line.len();
        self.open.push_back(sent);
        self.flush()
    }

    /// Writes the unwritten lines. Returns early if the peer reads no more: reading then returns what
    /// it sent before, and the end of the connection.
    fn flush(&mut self) -> Result<(), ClientError> {
        let mut deadline = self.deadline();
        while let Some(sent) = self.open.get_mut(self.written) {
            let connection = self.transport.reach(self.transport.policy.wait_for_start)?;
            match connection.write(&sent.line[sent.at..]) {
                WriteOutcome::Bytes(count) => {
                    sent.at += count;
                    self.written += usize::from(sent.at == sent.line.len());
                    deadline = self.deadline();
                }
                WriteOutcome::Stalled if self.written > 0 => {
                    if self.read_reply()? == ReadOutcome::Ended {
                        return Ok(());
                    }
                }
                WriteOutcome::Stalled if deadline.is_some_and(|at| Instant::now() >= at) => {
                    return Err(self.fail(NoLine::TimedOut));
                }
                WriteOutcome::Stalled => {}
                WriteOutcome::Ended => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits for the reply of the oldest open call, reconnecting once if that is allowed.
    fn receive(&mut self) -> Result<(), ClientError> {
        loop {
            self.flush()?;
            if self.open.is_empty() || self.read_reply()? == ReadOutcome::Answered {
                return Ok(());
            }
            self.resend()?;
        }
    }

    fn read_reply(&mut self) -> Result<ReadOutcome, ClientError> {
        let deadline = self.deadline();
        let limit = self.transport.policy.max_reply_bytes;
        let Some(connection) = self.transport.connection.as_mut() else { return Ok(ReadOutcome::Ended) };
        match connection.read_line(limit, deadline) {
            Ok(line) => self.take(&line).map(|()| ReadOutcome::Answered),
            Err(NoLine::Ended) => Ok(ReadOutcome::Ended),
            Err(why) => Err(self.fail(why)),
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ClientError> {
        let Some(oldest) = self.open.front() else { return Ok(()) };
        let outcome = match decode(line, oldest.expected) {
            Ok(Decoded::Outcome(outcome)) => outcome,
            Ok(Decoded::ConnectionRefused(RemoteError { code, message })) => {
                self.transport.disconnect();
                return Err(ClientError::Refused { code, message });
            }
            Err(fault) => {
                self.transport.disconnect();
                return Err(self.transport.bad_reply(fault));
            }
        };
        if let Some(sent) = self.open.pop_front() {
            self.written = self.written.saturating_sub(1);
            self.open_bytes -= sent.line.len();
            self.answered.push_back(PipelineReply { tag: sent.tag, outcome });
        }
        Ok(())
    }

    /// Opens a new connection on which all unanswered calls are sent again. Fails if one of them was
    /// already sent twice, or may not be.
    fn resend(&mut self) -> Result<(), ClientError> {
        self.transport.disconnect();
        let once = self.delivery == DeliveryGuarantee::AtMostOnce;
        if self.open.iter().any(|sent| sent.resent || (once && sent.at > 0)) {
            return Err(self.transport.unreachable(UnreachableReason::ConnectionLost));
        }
        for sent in &mut self.open {
            sent.resent = true;
            sent.at = 0;
        }
        self.written = 0;
        self.transport.reach(self.transport.policy.wait_for_restart).map(|_| ())
    }

    /// Closes the connection and returns the error for `why`.
    fn fail(&mut self, why: NoLine) -> ClientError {
        self.transport.disconnect();
        match why {
            NoLine::TimedOut => {
                self.transport.unreachable(UnreachableReason::NoReply(self.transport.policy.reply_timeout))
            }
            NoLine::TooLong => {
                self.transport.bad_reply(ReplyFault::TooLong { limit: self.transport.policy.max_reply_bytes })
            }
            NoLine::Truncated => self.transport.bad_reply(ReplyFault::Truncated),
            NoLine::Ended => self.transport.unreachable(UnreachableReason::ConnectionLost),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.transport.policy.reply_timeout)
    }
}

impl Drop for Pipeline<'_> {
    fn drop(&mut self) {
        if !self.open.is_empty() {
            self.transport.disconnect();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ReadOutcome {
    Answered,
    Ended,
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'a str,
    params: &'a P,
}

/// Serializes `value` to one line. A `RawValue` of the caller may contain newlines; outside strings they
/// are white space, and JSON strings contain none, so they are replaced by spaces.
fn encode(value: &impl Serialize) -> Result<Vec<u8>, ClientError> {
    let mut line = serde_json::to_vec(value).map_err(|e| ClientError::Unsendable(e.to_string()))?;
    for byte in &mut line {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    Ok(line)
}

#[derive(Debug)]
enum Decoded {
    Outcome(Result<Box<RawValue>, RemoteError>),
    /// The daemon refused the connection (it has too many), so this answers no call.
    ConnectionRefused(RemoteError),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "json::present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "json::present")]
    error: Option<&'a RawValue>,
}

fn decode(line: &[u8], expected: Expected) -> Result<Decoded, ReplyFault> {
    let text = str::from_utf8(line).map_err(|_| ReplyFault::NotJsonRpc)?.trim_ascii();
    // A derived `Deserialize` also accepts an array.
    if !text.starts_with('{') {
        return Err(ReplyFault::NotJsonRpc);
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| ReplyFault::NotJsonRpc)?;
    if envelope.jsonrpc.is_none() {
        let reply = RawValue::from_string(text.to_owned()).map_err(|_| ReplyFault::NotJsonRpc)?;
        return match expected {
            Expected::Control => Ok(Decoded::Outcome(Ok(reply))),
            Expected::Reply(_) => Err(ReplyFault::NotJsonRpc),
        };
    }
    let id = envelope.id.ok_or(ReplyFault::NotJsonRpc)?.get();
    let outcome = match (envelope.result, envelope.error) {
        (Some(result), None) => Ok(result.to_owned()),
        (None, Some(error)) => {
            Err(serde_json::from_str::<RemoteError>(error.get()).map_err(|_| ReplyFault::NotJsonRpc)?)
        }
        _ => return Err(ReplyFault::NotJsonRpc),
    };
    match (outcome, expected) {
        // A line without a readable id is answered with a null id in its turn. Only the refusal of a
        // connection (code -32001) answers no line.
        (Err(error), _) if id == "null" && error.code == code::FAILED => Ok(Decoded::ConnectionRefused(error)),
        (Err(error), _) if id == "null" => Ok(Decoded::Outcome(Err(error))),
        (outcome, Expected::Reply(expected)) if id == expected.to_string() => Ok(Decoded::Outcome(outcome)),
        _ => Err(ReplyFault::UnexpectedId),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fake_daemon::{FakeDaemon, accept, echo, ok, read_line, write};
    use super::*;

    use serde_json::json;

    #[test]
    fn a_pipeline_keeps_order_and_window() {
        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            // A full window of calls arrives before any is answered.
            let calls: Vec<_> = (0..WINDOW_CALLS).map(|_| read_line(&mut peer)).collect();
            for call in calls {
                write(&mut peer, &ok(&call["id"], &call["params"].to_string()));
            }
            assert_eq!(echo(&mut peer), 200 - WINDOW_CALLS);
        });
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        for tag in 0..200 {
            pipeline.send(tag, "m", &json!({"tag": tag})).unwrap();
            assert!(pipeline.unanswered().count() <= WINDOW_CALLS);
        }
        pipeline.finish().unwrap();
        for tag in 0..200 {
            let answer = pipeline.take_reply().unwrap();
            assert_eq!((answer.tag, answer.outcome.unwrap().get()), (tag, format!("{{\"tag\":{tag}}}").as_str()));
        }
        assert!(pipeline.take_reply().is_none());
        drop(pipeline);
        drop(client);
        fake.join();
    }

    #[test]
    fn large_calls_are_sent_one_at_a_time() {
        let fake = FakeDaemon::new(|listener| assert_eq!(echo(&mut accept(listener)), 12));
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        for tag in 0..12 {
            // The window holds two small calls or one large one.
            let bytes = if tag % 4 == 3 { WINDOW_BYTES * 3 } else { WINDOW_BYTES / 2 - 100 };
            pipeline.send(tag, "m", &json!({"text": "z".repeat(bytes)})).unwrap();
            assert!(pipeline.unanswered().count() <= if tag % 4 == 3 { 1 } else { 2 }, "call {tag}");
        }
        pipeline.finish().unwrap();
        assert_eq!(std::iter::from_fn(|| pipeline.take_reply()).count(), 12);
        drop(pipeline);
        drop(client);
        fake.join();
    }

    #[test]
    fn only_unanswered_calls_are_sent_again_after_the_connection_was_lost() {
        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            let calls: Vec<_> = (0..5).map(|_| read_line(&mut peer)).collect();
            for call in &calls[..2] {
                write(&mut peer, &ok(&call["id"], &call["params"].to_string()));
            }
            drop(peer);
            assert_eq!(echo(&mut accept(listener)), 3);
        });
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        for tag in 0..5 {
            pipeline.send(tag, "m", &json!({"tag": tag})).unwrap();
        }
        pipeline.finish().unwrap();
        let tags: Vec<_> = std::iter::from_fn(|| pipeline.take_reply()).map(|answer| answer.tag).collect();
        assert_eq!(tags, [0, 1, 2, 3, 4]);
        drop(pipeline);
        drop(client);
        fake.join();
    }

    #[test]
    fn a_stalled_write_reads_replies() {
        // A daemon that reads no more until its replies are read (back-pressure).
        let reply = "y".repeat(1 << 20);
        let fake = FakeDaemon::new(move |listener| {
            let mut peer = accept(listener);
            for _ in 0..3 {
                let call = read_line(&mut peer);
                write(&mut peer, &ok(&call["id"], &format!("{reply:?}")));
            }
        });
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        pipeline.send(0, "m", &json!({})).unwrap();
        // More than the window allows.
        for tag in 1..3 {
            let line = encode_call(tag + 1, &"x".repeat(2 << 20));
            pipeline.push_past_window(tag, tag + 1, line).unwrap();
        }
        pipeline.finish().unwrap();
        assert_eq!(std::iter::from_fn(|| pipeline.take_reply()).count(), 3);
        drop(pipeline);
        fake.join();
    }

    fn encode_call(id: u64, text: &str) -> Vec<u8> {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"m\",\"params\":{{\"text\":\"{text}\"}}}}\n")
            .into_bytes()
    }

    #[test]
    fn a_dropped_pipeline_closes_the_connection() {
        let fake = FakeDaemon::new(|listener| {
            let mut peer = accept(listener);
            assert_eq!(read_line(&mut peer)["method"], "dropped");
            assert!(read_line(&mut peer).is_null());
            assert_eq!(echo(&mut accept(listener)), 1);
        });
        let mut client = fake.client();
        let mut pipeline = client.pipeline(DeliveryGuarantee::AtLeastOnce);
        pipeline.send(0, "dropped", &json!({})).unwrap();
        assert_eq!(pipeline.unanswered().collect::<Vec<_>>(), [0]);
        drop(pipeline);
        assert_eq!(client.call("m", &json!({"k":3})).unwrap().get(), "{\"k\":3}");
        drop(client);
        fake.join();
    }
}
