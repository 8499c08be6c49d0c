//! One caller: a connection to the daemon, over which jobs are carried out one after another.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::bridge_state::BridgeState;
use super::call_queue::{AnnounceFirst, CallerTask};
use super::daemon_call::DaemonCall;
use super::pending_calls::{CallKey, JobPart, LineJob, ReplyShape};
use super::reply;
use crate::client::{Client, ClientError, DeliveryGuarantee, Policy, UnreachableReason};
use crate::dispatch::{CallError, code};
use crate::sys::memory;
use crate::wire::reply::error as write_error;

/// How long connecting to the daemon is retried, at first and after a connection was lost.
const CONNECT_RETRY: Duration = Duration::from_secs(2);

/// Pauses before a call that may be repeated is sent again to a daemon that has died or is stopping. More
/// than one, since a stopping daemon may still accept a connection; few, since the call itself may be
/// what kills the daemon. Picked.
const RESEND_PAUSES: [Duration; 3] = [Duration::from_millis(20), Duration::from_millis(80), Duration::from_millis(320)];

/// Longest wait for a reply. 60 s: the timeout of MCP clients.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);

/// The method with a longer timeout, and that timeout. Picked.
const SLOW_METHOD: (&str, Duration) = ("memory_consolidate", Duration::from_secs(3600));

/// Once the replies of a batch have this many bytes, no further call of it is carried out.
const BATCH_REPLY_BYTES: usize = 1 << 20;

/// After a line or reply of at least this size, free memory is released, in bytes.
const LARGE_BYTES: usize = 64 << 10;

/// A connection and the bridge whose jobs it carries out.
pub(crate) struct Caller<W: Write + Send + 'static> {
    state: Arc<BridgeState<W>>,
    client: Client,
}

impl<W: Write + Send + 'static> Caller<W> {
    pub(crate) fn new(state: Arc<BridgeState<W>>) -> Caller<W> {
        let client = Client::new(&state.socket, policy(REPLY_TIMEOUT));
        Caller { state, client }
    }

    /// Carries out jobs until none came for `patience`, or the input has ended.
    pub(crate) fn run(mut self, patience: Duration) {
        loop {
            match self.state.queue.next(patience) {
                CallerTask::Job(job, first) => self.carry_out(job, first),
                CallerTask::Announce => drop(self.announce()),
                CallerTask::End => return,
            }
        }
    }

    fn carry_out(&mut self, job: LineJob, first: AnnounceFirst) {
        let mut largest = job.bytes;
        let announced = if first == AnnounceFirst::Yes { self.announce() } else { Ok(()) };
        // If the daemon was unreachable for the announcement, the calls are not tried.
        let unreachable = announced.err().filter(|error| !is_restarting(error));
        match job.shape {
            ReplyShape::Lines => {
                for part in job.parts {
                    let JobPart::Call(key, call) = part else { continue };
                    let Some(outcome) = self.outcome(key, &call, unreachable.as_ref()) else { continue };
                    largest = largest.max(outcome.as_ref().map_or(0, |result| result.get().len()));
                    self.state.output.write(|out| reply::write(&call, &outcome, out));
                }
            }
            ReplyShape::Array => {
                let replies = self.batch(job.parts, unreachable.as_ref());
                largest = largest.max(replies.len());
                if !replies.is_empty() {
                    self.state.output.write(|out| write_array(&replies, out));
                }
            }
        }
        if largest >= LARGE_BYTES {
            memory::give_back();
        }
        self.state.activity.fetch_add(1, Ordering::Relaxed);
    }

    /// Carries out a batch and returns its replies, separated by commas.
    fn batch(&mut self, parts: Vec<JobPart>, unreachable: Option<&ClientError>) -> Vec<u8> {
        let mut replies = Vec::new();
        for part in parts {
            let mut reply = Vec::new();
            match part {
                JobPart::Ready(line) => reply = line,
                JobPart::Call(key, call) if replies.len() >= BATCH_REPLY_BYTES => {
                    if self.state.queue.close(key) {
                        let message = format!(
                            "not carried out: the replies of this batch are over {BATCH_REPLY_BYTES} bytes; send fewer at once"
                        );
                        let error = CallError { code: code::INVALID_REQUEST, message };
                        write_error(&mut reply, Some(call.id.text()), &error);
                    }
                }
                JobPart::Call(key, call) => {
                    if let Some(outcome) = self.outcome(key, &call, unreachable) {
                        reply::write(&call, &outcome, &mut reply).expect("writing to a Vec does not fail");
                    }
                }
            }
            append(&mut replies, &reply);
        }
        replies
    }

    /// Carries out a call and returns its outcome, or `None` if it was cancelled. A call cancelled before
    /// its turn is not sent. The reply of one cancelled later is still waited for, since it has to be read
    /// from the connection.
    fn outcome(
        &mut self,
        key: CallKey,
        call: &DaemonCall,
        unreachable: Option<&ClientError>,
    ) -> Option<Result<Box<RawValue>, ClientError>> {
        let outcome = match (self.state.queue.is_wanted(key), unreachable) {
            (true, None) => Some(self.send(call)),
            (true, Some(error)) => Some(Err(error.clone())),
            (false, _) => None,
        };
        outcome.filter(|_| self.state.queue.close(key))
    }

    /// Sends a call and waits for its result, sending it again if that is allowed.
    fn send(&mut self, call: &DaemonCall) -> Result<Box<RawValue>, ClientError> {
        if call.method == SLOW_METHOD.0 {
            let mut client = Client::new(&self.state.socket, policy(SLOW_METHOD.1));
            return client.call_with(call.delivery, call.method, &call.params);
        }
        let mut outcome = self.client.call_with(call.delivery, call.method, &call.params);
        for pause in RESEND_PAUSES {
            match &outcome {
                Err(error) if is_restarting(error) && call.delivery == DeliveryGuarantee::AtLeastOnce => {}
                _ => break,
            }
            self.client.disconnect();
            thread::sleep(pause);
            outcome = self.client.call_with(call.delivery, call.method, &call.params);
        }
        outcome
    }

    /// Announces the session to the daemon with `session_open`.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`]; the next call then announces it again. Other errors are logged only.
    fn announce(&mut self) -> Result<(), ClientError> {
        #[derive(Serialize)]
        struct SessionOpen<'a> {
            r#type: &'static str,
            session_id: &'a str,
        }
        let message = SessionOpen { r#type: "session_open", session_id: &self.state.session };
        match self.client.control(&message) {
            Err(error @ ClientError::Unreachable { .. }) => {
                self.state.queue.announcement_failed();
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
            self.state.queue.caller_panicked();
        }
    }
}

/// Returns true if the daemon has died or is stopping, so that another may be starting.
fn is_restarting(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { why: UnreachableReason::ConnectionLost, .. }) || error.is_stopping()
}

/// Writes the replies of a job that needs no daemon.
///
/// # Errors
/// Those of `out`.
pub(crate) fn write_ready(job: &LineJob, out: &mut dyn Write) -> io::Result<()> {
    let lines = job.parts.iter().filter_map(|part| match part {
        JobPart::Ready(line) => Some(line),
        JobPart::Call(..) => None,
    });
    match job.shape {
        ReplyShape::Lines => lines.into_iter().try_for_each(|line| out.write_all(line)),
        ReplyShape::Array => {
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
        connect_timeout: CONNECT_RETRY,
        wait_for_start: CONNECT_RETRY,
        wait_for_restart: CONNECT_RETRY,
        reply_timeout,
        ..Policy::default()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::PathBuf;

    use super::super::call_queue::{Announcement, CallerDemand};
    use super::super::host::{Host, SessionSource};
    use super::super::output::ClientOutput;
    use super::super::tools::ToolSet;
    use super::super::translate::Translator;
    use super::*;

    const TOPOLOGY: &[u8] = br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"topology"}}"#;

    /// A bridge whose session is due to be announced by one caller.
    fn state(socket: PathBuf) -> Arc<BridgeState<Vec<u8>>> {
        let output = ClientOutput::new(Vec::new(), UnixStream::pair().unwrap().1);
        let state = BridgeState::new(socket, "s".into(), output);
        assert_eq!(state.queue.announce(), CallerDemand::First);
        Arc::new(state)
    }

    #[test]
    fn a_caller_announces_the_session_first_and_closes_its_connection_when_idle() {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("s")).unwrap();
        let daemon = thread::spawn(move || {
            let mut peer = BufReader::new(listener.accept().unwrap().0);
            let mut seen = Vec::new();
            for reply in [&b"{\"ok\":true}\n"[..], b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n", b""] {
                let mut line = String::new();
                peer.read_line(&mut line).unwrap();
                seen.push(line);
                peer.get_mut().write_all(reply).unwrap();
            }
            seen
        });
        let state = state(folder.path().join("s"));
        let mut translator = Translator::new(
            Host { session: "s".into(), session_source: SessionSource::Other, project: None, project_folder: None },
            ToolSet::All,
        );
        let job = state.queue.job(translator.take(TOPOLOGY), TOPOLOGY.len()).unwrap();
        assert_eq!(state.queue.push(job), CallerDemand::Another);
        state.queue.caller_not_started();
        Caller::new(Arc::clone(&state)).run(Duration::ZERO);
        let seen = daemon.join().unwrap();
        assert_eq!(seen[0], "{\"type\":\"session_open\",\"session_id\":\"s\"}\n");
        assert!(seen[1].contains("\"method\":\"topology\""), "{}", seen[1]);
        assert_eq!(seen[2], "", "the connection is closed");
        assert_eq!(state.queue.snapshot(), (0, Announcement::Sent));
        let replies = String::from_utf8(state.output.writer().clone()).unwrap();
        assert!(
            replies.starts_with("{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{") && replies.ends_with("}\n"),
            "{replies}"
        );
    }

    #[test]
    fn an_announcement_that_failed_is_due_with_the_next_call() {
        let folder = tempfile::tempdir().unwrap();
        // Connecting to a path that is too long fails at once, without retries.
        let state = state(folder.path().join("x".repeat(200)));
        Caller::new(Arc::clone(&state)).run(Duration::ZERO);
        assert_eq!(state.queue.snapshot(), (0, Announcement::DueWithNextCall));
    }
}
