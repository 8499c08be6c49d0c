//! One caller: a connection to the daemon, and the jobs that go over it one after the other.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::answer;
use super::bridge::{Next, Shared, Tell};
use super::calls::{Job, Part, Shape, Ticket, Wanted};
use super::daemon_call::DaemonCall;
use crate::client::{Client, ClientError, DeliveryGuarantee, Policy, UnreachableReason};
use crate::dispatch::{CallError, code};
use crate::sys::memory;
use crate::wire::reply;

/// How long a daemon that is not there is tried again, at first and after a death.
const REACH: Duration = Duration::from_secs(2);

/// Pauses before a call that may be repeated is sent once more to a daemon that has died or is
/// stopping. A dying one may still take a connection, so one try is not enough; and a call that kills
/// it must not do so for ever. Picked.
const AGAIN: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(320)];

/// Longest wait for a reply. 60 s: what clients of MCP wait themselves.
const REPLY: Duration = Duration::from_secs(60);

/// The method that may take longer, and how long. Picked.
const SLOW: (&str, Duration) = ("memory_consolidate", Duration::from_secs(3600));

/// Most bytes of a batch's replies before no further call of it is carried out.
const ARRAY_BYTES: usize = 1 << 20;

/// Lines and replies from this size on are followed by giving their memory back.
const LARGE_BYTES: usize = 64 << 10;

/// A connection and the work that goes over it.
pub(crate) struct Caller<W: Write + Send + 'static> {
    shared: Arc<Shared<W>>,
    client: Client,
}

impl<W: Write + Send + 'static> Caller<W> {
    pub(crate) fn new(shared: Arc<Shared<W>>) -> Caller<W> {
        let client = Client::new(&shared.socket, policy(REPLY));
        Caller { shared, client }
    }

    /// Works until nothing has come for `patience`.
    pub(crate) fn run(mut self, patience: Duration) {
        loop {
            match self.shared.next(patience) {
                Next::Job(job, tell) => self.carry_out(job, tell),
                Next::Open => drop(self.open()),
                Next::End => return,
            }
        }
    }

    fn carry_out(&mut self, job: Job, tell: Tell) {
        let mut largest = job.bytes;
        let told = if tell == Tell::First { self.open() } else { Ok(()) };
        // Where nobody is there to be told of the session, nobody is there to be asked.
        let unreachable = told.err().filter(|error| !is_passing(error));
        match job.shape {
            Shape::Lines => {
                for part in job.parts {
                    let Part::Call(ticket, call) = part else { continue };
                    let Some(outcome) = self.outcome(ticket, &call, unreachable.as_ref()) else { continue };
                    largest = largest.max(outcome.as_ref().map_or(0, |result| result.get().len()));
                    self.shared.write(|out| answer::write(&call, &outcome, out));
                }
            }
            Shape::Array => {
                let replies = self.together(job.parts, unreachable.as_ref());
                largest = largest.max(replies.len());
                if !replies.is_empty() {
                    self.shared.write(|out| write_array(&replies, out));
                }
            }
        }
        if largest >= LARGE_BYTES {
            memory::give_back();
        }
    }

    /// A batch's replies, with commas between them.
    fn together(&mut self, parts: Vec<Part>, unreachable: Option<&ClientError>) -> Vec<u8> {
        let mut replies = Vec::new();
        for part in parts {
            let mut reply = Vec::new();
            match part {
                Part::Ready(line) => reply = line,
                Part::Call(ticket, call) if replies.len() >= ARRAY_BYTES => {
                    if self.shared.close(ticket) == Wanted::Yes {
                        let message = format!(
                            "not carried out: the replies of this batch are over {ARRAY_BYTES} bytes; send fewer at once"
                        );
                        let error = CallError { code: code::INVALID_REQUEST, message };
                        reply::error(&mut reply, Some(call.id.text()), &error);
                    }
                }
                Part::Call(ticket, call) => {
                    if let Some(outcome) = self.outcome(ticket, &call, unreachable) {
                        answer::write(&call, &outcome, &mut reply).expect("a vector takes all that is written");
                    }
                }
            }
            append(&mut replies, &reply);
        }
        replies
    }

    /// What came of a call; `None` where nobody wants to know any more. A call that is given up before
    /// its turn is never sent. One that is given up under way is waited for all the same: its reply
    /// has to be taken off the connection.
    fn outcome(
        &mut self,
        ticket: Ticket,
        call: &DaemonCall,
        unreachable: Option<&ClientError>,
    ) -> Option<Result<Box<RawValue>, ClientError>> {
        let outcome = match (self.shared.wanted(ticket), unreachable) {
            (Wanted::Yes, None) => Some(self.ask(call)),
            (Wanted::Yes, Some(error)) => Some(Err(error.clone())),
            (Wanted::No, _) => None,
        };
        outcome.filter(|_| self.shared.close(ticket) == Wanted::Yes)
    }

    fn ask(&mut self, call: &DaemonCall) -> Result<Box<RawValue>, ClientError> {
        if call.method == SLOW.0 {
            let mut client = Client::new(&self.shared.socket, policy(SLOW.1));
            return client.call_with(call.delivery, call.method, &call.params);
        }
        let mut outcome = self.client.call_with(call.delivery, call.method, &call.params);
        for pause in AGAIN {
            match &outcome {
                Err(error) if is_passing(error) && call.delivery == DeliveryGuarantee::AtLeastOnce => {}
                _ => break,
            }
            self.client.disconnect();
            thread::sleep(pause);
            outcome = self.client.call_with(call.delivery, call.method, &call.params);
        }
        outcome
    }

    /// Tells the daemon that somebody has sat down.
    fn open(&mut self) -> Result<(), ClientError> {
        #[derive(Serialize)]
        struct SessionOpen<'a> {
            r#type: &'static str,
            session_id: &'a str,
        }
        let message = SessionOpen { r#type: "session_open", session_id: &self.shared.session };
        match self.client.control(&message) {
            Err(error @ ClientError::Unreachable { .. }) => {
                self.shared.not_told();
                Err(error)
            }
            Err(error) => {
                log::debug!("session_open: {error}");
                Ok(())
            }
            Ok(reply) => {
                log::debug!("session_open: {}", reply.get());
                Ok(())
            }
        }
    }
}

impl<W: Write + Send + 'static> Drop for Caller<W> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.shared.lost_a_caller();
        }
    }
}

/// Is the daemon on its way out, so that another may be on its way in?
fn is_passing(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { why: UnreachableReason::ConnectionLost, .. }) || error.is_stopping()
}

/// Writes the replies of a job that needs no daemon.
///
/// # Errors
/// The writer's.
pub(crate) fn write_ready(job: &Job, out: &mut dyn Write) -> io::Result<()> {
    let lines = job.parts.iter().filter_map(|part| match part {
        Part::Ready(line) => Some(line),
        Part::Call(..) => None,
    });
    match job.shape {
        Shape::Lines => lines.into_iter().try_for_each(|line| out.write_all(line)),
        Shape::Array => {
            let mut replies = Vec::new();
            lines.for_each(|line| append(&mut replies, line));
            write_array(&replies, out)
        }
    }
}

fn append(replies: &mut Vec<u8>, line: &[u8]) {
    if line.is_empty() {
        return;
    }
    if !replies.is_empty() {
        replies.push(b',');
    }
    replies.extend_from_slice(line.trim_ascii_end());
}

fn write_array(replies: &[u8], out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"[")?;
    out.write_all(replies)?;
    out.write_all(b"]\n")
}

fn policy(reply_timeout: Duration) -> Policy {
    Policy {
        connect_timeout: REACH,
        wait_for_start: REACH,
        wait_for_restart: REACH,
        reply_timeout,
        ..Policy::default()
    }
}
