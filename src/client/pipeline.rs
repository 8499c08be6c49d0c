//! Calls under way on one connection: sent in order, answered in order, at most a window of them.
//!
//! A writer that waits for room while its peer waits for it to read stands still for ever. So a
//! write that finds no room gives way to reading the replies that are due, and the window keeps
//! what is unanswered below what the daemon always reads (WIRE.md, Framing).

use std::collections::VecDeque;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::connection::{NoLine, Written};
use super::{Client, ClientError, Delivery, Fault, Unreached};
use crate::wire::json;
use crate::wire::reply::code;

/// Most calls unanswered at once: two of the daemon's batches, so that one is made ready while the
/// other runs.
pub const WINDOW_CALLS: usize = 128;

/// Most bytes unanswered at once, but for a single call that is longer. 48 KiB: a connection that
/// holds less than 64 KiB is read even when the daemon is short of memory.
pub const WINDOW_BYTES: usize = 48 << 10;

/// The daemon's own error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Refusal {
    /// Its JSON-RPC code.
    pub code: i32,
    /// Its words.
    pub message: String,
}

/// The reply to one call of a pipeline.
#[derive(Debug)]
pub struct Answer {
    /// What the caller gave with the call.
    pub tag: u64,
    /// The result's JSON text, or the daemon's error.
    pub outcome: Result<Box<RawValue>, Refusal>,
}

/// Calls under way. Dropped before all are answered, it closes the client's connection, since late
/// replies would be taken for those of later calls.
#[derive(Debug)]
pub struct Pipeline<'c> {
    client: &'c mut Client,
    delivery: Delivery,
    /// Sent or to be sent, not answered. The first `written` of them are whole with the kernel.
    open: VecDeque<Sent>,
    written: usize,
    open_bytes: usize,
    answered: VecDeque<Answer>,
}

#[derive(Debug)]
struct Sent {
    tag: u64,
    expected: Expected,
    line: Vec<u8>,
    /// Bytes of `line` with the kernel: `at <= line.len()`.
    at: usize,
    resent: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Reply(u64),
    Control,
}

impl<'c> Pipeline<'c> {
    pub(super) fn new(client: &'c mut Client, delivery: Delivery) -> Pipeline<'c> {
        Pipeline { client, delivery, open: VecDeque::new(), written: 0, open_bytes: 0, answered: VecDeque::new() }
    }

    /// Sends a call, after waiting for the oldest replies where the window is full.
    ///
    /// # Errors
    /// Every [`ClientError`]; [`ClientError::Refused`] only where the daemon refuses the whole
    /// connection, since a call's own error is its [`Answer`]. After an error, but for
    /// [`ClientError::Unsendable`], no further answers come; [`Pipeline::unanswered`] says for which.
    pub fn send(&mut self, tag: u64, method: &str, params: &impl Serialize) -> Result<(), ClientError> {
        let id = self.client.take_id();
        let line = encode(&Request { jsonrpc: "2.0", id, method, params })?;
        self.push(Sent { tag, expected: Expected::Reply(id), line, at: 0, resent: false })
    }

    pub(super) fn send_control(&mut self, message: &impl Serialize) -> Result<(), ClientError> {
        let line = encode(message)?;
        self.push(Sent { tag: 0, expected: Expected::Control, line, at: 0, resent: false })
    }

    /// The oldest answer that has come and was not taken yet. Never waits.
    pub fn answered(&mut self) -> Option<Answer> {
        self.answered.pop_front()
    }

    /// Waits until every call sent is answered.
    ///
    /// # Errors
    /// As [`Pipeline::send`].
    pub fn finish(&mut self) -> Result<(), ClientError> {
        while !self.open.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    /// The tags of the calls without an answer, oldest first.
    pub fn unanswered(&self) -> impl Iterator<Item = u64> + '_ {
        self.open.iter().map(|sent| sent.tag)
    }

    pub(super) fn only_answer(&mut self) -> Result<Box<RawValue>, ClientError> {
        self.finish()?;
        match self.answered() {
            Some(Answer { outcome: Ok(result), .. }) => Ok(result),
            Some(Answer { outcome: Err(Refusal { code, message }), .. }) => Err(ClientError::Refused { code, message }),
            None => Err(self.client.broken(Fault::OutOfOrder)),
        }
    }

    #[cfg(test)]
    pub(super) fn push_past_window(&mut self, tag: u64, id: u64, line: Vec<u8>) -> Result<(), ClientError> {
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

    /// Writes what is not written. Ends early where the peer takes no more: reading then finds out
    /// what it still said, and that it has gone.
    fn flush(&mut self) -> Result<(), ClientError> {
        let mut deadline = self.deadline();
        while let Some(sent) = self.open.get_mut(self.written) {
            let connection = self.client.reach(self.client.policy.wait_for_start)?;
            match connection.write(&sent.line[sent.at..]) {
                Written::Bytes(count) => {
                    sent.at += count;
                    self.written += usize::from(sent.at == sent.line.len());
                    deadline = self.deadline();
                }
                Written::Stalled if self.written > 0 => {
                    if self.read_reply()? == Step::Ended {
                        return Ok(());
                    }
                }
                Written::Stalled if deadline.is_some_and(|at| Instant::now() >= at) => {
                    return Err(self.give_up(NoLine::TimedOut));
                }
                Written::Stalled => {}
                Written::Ended => return Ok(()),
            }
        }
        Ok(())
    }

    /// Waits for the oldest open call's reply, over one reconnect where that is allowed.
    fn receive(&mut self) -> Result<(), ClientError> {
        loop {
            self.flush()?;
            if self.open.is_empty() || self.read_reply()? == Step::Answered {
                return Ok(());
            }
            self.start_over()?;
        }
    }

    fn read_reply(&mut self) -> Result<Step, ClientError> {
        let deadline = self.deadline();
        let limit = self.client.policy.max_reply_bytes;
        let Some(connection) = self.client.connection.as_mut() else { return Ok(Step::Ended) };
        match connection.read_line(limit, deadline) {
            Ok(line) => self.take(&line).map(|()| Step::Answered),
            Err(NoLine::Ended) => Ok(Step::Ended),
            Err(why) => Err(self.give_up(why)),
        }
    }

    fn take(&mut self, line: &[u8]) -> Result<(), ClientError> {
        let Some(oldest) = self.open.front() else { return Ok(()) };
        let outcome = match decode(line, oldest.expected) {
            Ok(Decoded::Outcome(outcome)) => outcome,
            Ok(Decoded::ConnectionRefused(Refusal { code, message })) => {
                self.client.disconnect();
                return Err(ClientError::Refused { code, message });
            }
            Err(fault) => {
                self.client.disconnect();
                return Err(self.client.broken(fault));
            }
        };
        if let Some(sent) = self.open.pop_front() {
            self.written = self.written.saturating_sub(1);
            self.open_bytes -= sent.line.len();
            self.answered.push_back(Answer { tag: sent.tag, outcome });
        }
        Ok(())
    }

    /// A new connection for all that is unanswered, unless one of them has had its second chance.
    fn start_over(&mut self) -> Result<(), ClientError> {
        self.client.disconnect();
        let once = self.delivery == Delivery::AtMostOnce;
        if self.open.iter().any(|sent| sent.resent || (once && sent.at > 0)) {
            return Err(self.client.unreachable(Unreached::Died));
        }
        for sent in &mut self.open {
            sent.resent = true;
            sent.at = 0;
        }
        self.written = 0;
        self.client.reach(self.client.policy.wait_for_restart).map(|_| ())
    }

    fn give_up(&mut self, why: NoLine) -> ClientError {
        self.client.disconnect();
        match why {
            NoLine::TimedOut => self.client.unreachable(Unreached::NoReply(self.client.policy.reply_timeout)),
            NoLine::TooLong => self.client.broken(Fault::TooLong { limit: self.client.policy.max_reply_bytes }),
            NoLine::CutOff => self.client.broken(Fault::CutOff),
            NoLine::Ended => self.client.unreachable(Unreached::Died),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.client.policy.reply_timeout)
    }
}

impl Drop for Pipeline<'_> {
    fn drop(&mut self) {
        if !self.open.is_empty() {
            self.client.disconnect();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
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

/// One line. A newline in a JSON text is white space (strings cannot hold one), and it comes in with
/// a `RawValue` of the caller's.
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
    Outcome(Result<Box<RawValue>, Refusal>),
    /// Not an answer to a call: too many connections.
    ConnectionRefused(Refusal),
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

fn decode(line: &[u8], expected: Expected) -> Result<Decoded, Fault> {
    let text = str::from_utf8(line).map_err(|_| Fault::NotAReply)?.trim_ascii();
    // A derived struct would also read an array.
    if !text.starts_with('{') {
        return Err(Fault::NotAReply);
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| Fault::NotAReply)?;
    if envelope.jsonrpc.is_none() {
        let reply = RawValue::from_string(text.to_owned()).map_err(|_| Fault::NotAReply)?;
        return match expected {
            Expected::Control => Ok(Decoded::Outcome(Ok(reply))),
            Expected::Reply(_) => Err(Fault::NotAReply),
        };
    }
    let id = envelope.id.ok_or(Fault::NotAReply)?.get();
    let outcome = match (envelope.result, envelope.error) {
        (Some(result), None) => Ok(result.to_owned()),
        (None, Some(error)) => Err(serde_json::from_str::<Refusal>(error.get()).map_err(|_| Fault::NotAReply)?),
        _ => return Err(Fault::NotAReply),
    };
    match (outcome, expected) {
        // A line whose id the daemon could not know is answered in its turn; only the refusal of a
        // connection has no line at all.
        (Err(refusal), _) if id == "null" && refusal.code == code::FAILED => Ok(Decoded::ConnectionRefused(refusal)),
        (Err(refusal), _) if id == "null" => Ok(Decoded::Outcome(Err(refusal))),
        (outcome, Expected::Reply(own)) if id == own.to_string() => Ok(Decoded::Outcome(outcome)),
        _ => Err(Fault::OutOfOrder),
    }
}
