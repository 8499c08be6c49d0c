//! PendingCalls that were received and not answered yet: waiting, under way, or cancelled. Pure; blocking and
//! waking is in `call_queue.rs`.

use std::collections::VecDeque;

use super::daemon_call::DaemonCall;
use super::message::Id;
use super::translate::{LineActions, MessageAction};

/// Most waiting jobs. Picked: the size of the daemon's batches.
const MAX_WAITING_JOBS: usize = 64;

/// Most bytes of the lines of waiting jobs; a single job may be longer. 1 MiB: the longest line.
const MAX_WAITING_BYTES: usize = 1 << 20;

/// The messages of one line that are answered.
#[derive(Debug)]
pub(crate) struct LineJob {
    pub(crate) parts: Vec<JobPart>,
    pub(crate) shape: ReplyShape,
    /// Length of the line.
    pub(crate) bytes: usize,
}

/// One message of a job.
#[derive(Debug)]
pub(crate) enum JobPart {
    /// Answered with this line.
    Ready(Vec<u8>),
    /// Answered with the outcome of a call to the daemon.
    Call(CallKey, DaemonCall),
}

/// How the replies of a job are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyShape {
    /// A line each.
    Lines,
    /// One array on one line.
    Array,
}

/// Identifies an open call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallKey(u64);

/// The waiting jobs and the open calls.
#[derive(Debug, Default)]
pub(crate) struct PendingCalls {
    waiting: VecDeque<LineJob>,
    waiting_bytes: usize,
    open: Vec<OpenCall>,
    next_key: u64,
}

#[derive(Debug)]
struct OpenCall {
    key: CallKey,
    id: Id,
    cancelled: bool,
}

impl LineJob {
    /// Returns true if a part needs the daemon.
    pub(crate) fn needs_daemon(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, JobPart::Call(..)))
    }
}

impl PendingCalls {
    /// Turns the actions of a line into a job, carrying out cancellations. Returns `None` if nothing is to
    /// be answered.
    pub(crate) fn job(&mut self, actions: LineActions, bytes: usize) -> Option<LineJob> {
        let (actions, shape) = match actions {
            LineActions::One(action) => (vec![action], ReplyShape::Lines),
            LineActions::Batch(actions) => (actions, ReplyShape::Array),
        };
        let parts: Vec<JobPart> = actions.into_iter().filter_map(|action| self.part(action)).collect();
        (!parts.is_empty()).then_some(LineJob { parts, shape, bytes })
    }

    /// Returns true if `job` may be appended to the waiting jobs.
    pub(crate) fn has_space(&self, job: &LineJob) -> bool {
        self.waiting.is_empty()
            || (self.waiting.len() < MAX_WAITING_JOBS && self.waiting_bytes + job.bytes <= MAX_WAITING_BYTES)
    }

    pub(crate) fn push(&mut self, job: LineJob) {
        self.waiting_bytes += job.bytes;
        self.waiting.push_back(job);
    }

    /// Removes and returns the oldest waiting job.
    pub(crate) fn pop(&mut self) -> Option<LineJob> {
        let job = self.waiting.pop_front()?;
        self.waiting_bytes -= job.bytes;
        Some(job)
    }

    /// Returns the number of waiting jobs.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns true if the call is open and was not cancelled.
    pub(crate) fn is_wanted(&self, key: CallKey) -> bool {
        self.open.iter().any(|open| open.key == key && !open.cancelled)
    }

    /// Removes the call, so that it can no longer be cancelled. Returns true if its reply is still wanted.
    pub(crate) fn close(&mut self, key: CallKey) -> bool {
        let wanted = self.is_wanted(key);
        self.open.retain(|open| open.key != key);
        wanted
    }

    fn part(&mut self, action: MessageAction) -> Option<JobPart> {
        match action {
            MessageAction::Nothing => None,
            MessageAction::Reply(line) => Some(JobPart::Ready(line)),
            MessageAction::Cancel(id) => {
                for open in self.open.iter_mut().filter(|open| open.id == id) {
                    open.cancelled = true;
                }
                None
            }
            MessageAction::Call(call) => {
                let key = CallKey(self.next_key);
                self.next_key += 1;
                self.open.push(OpenCall { key, id: call.id.clone(), cancelled: false });
                Some(JobPart::Call(key, call))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::{Host, SessionSource};
    use super::super::tools::ToolSet;
    use super::super::translate::Translator;
    use super::*;

    const AGREE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}"#;

    /// Returns the jobs of these lines.
    fn jobs(calls: &mut PendingCalls, lines: &[&str]) -> Vec<Option<LineJob>> {
        let mut translator = Translator::new(
            Host { session: "s".into(), session_source: SessionSource::Other, project: None, project_folder: None },
            ToolSet::All,
        );
        translator.take(AGREE.as_bytes());
        lines.iter().map(|line| calls.job(translator.take(line.as_bytes()), line.len())).collect()
    }

    fn call(id: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"topology"}}}}"#)
    }

    fn cancel(id: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
    }

    fn keys(job: &LineJob) -> Vec<CallKey> {
        let key = |part: &JobPart| match part {
            JobPart::Call(key, _) => Some(*key),
            JobPart::Ready(_) => None,
        };
        job.parts.iter().filter_map(key).collect()
    }

    #[test]
    fn only_cancelled_calls_are_unwanted() {
        let mut calls = PendingCalls::default();
        let got = jobs(&mut calls, &[&call("1"), &call("\"1\""), &call("2"), &cancel("\"\\u0031\""), &cancel("7")]);
        assert!(got[3].is_none() && got[4].is_none());
        let keys: Vec<_> = got[..3].iter().flat_map(|job| keys(job.as_ref().unwrap())).collect();
        assert_eq!(keys.iter().map(|key| calls.is_wanted(*key)).collect::<Vec<_>>(), [true, false, true]);
        assert!(calls.close(keys[0]));
        assert!(!calls.close(keys[1]));
        // A cancellation of a call that is closed has no effect.
        assert!(jobs(&mut calls, &[&cancel("1")])[0].is_none());
        assert!(calls.close(keys[2]));
        assert!(calls.open.is_empty());
    }

    #[test]
    fn a_batch_is_one_job_of_its_answered_messages() {
        let mut calls = PendingCalls::default();
        let ping = r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#;
        let batch = format!("[{},{ping},{}]", call("1"), cancel("1"));
        let notes = format!("[{}]", cancel("1"));
        let got = jobs(&mut calls, &[&batch, &notes, ping]);
        let job = got[0].as_ref().unwrap();
        assert_eq!((job.parts.len(), job.shape, job.needs_daemon()), (2, ReplyShape::Array, true));
        assert!(!calls.is_wanted(keys(job)[0]));
        assert!(got[1].is_none(), "notifications alone get no reply");
        let job = got[2].as_ref().unwrap();
        assert_eq!((job.parts.len(), job.shape, job.needs_daemon()), (1, ReplyShape::Lines, false));
    }

    #[test]
    fn waiting_jobs_are_bounded_by_number_and_by_bytes() {
        let of = |bytes| LineJob { parts: Vec::new(), shape: ReplyShape::Lines, bytes };
        let mut calls = PendingCalls::default();
        assert!(calls.has_space(&of(MAX_WAITING_BYTES * 2)), "a long one alone");
        for _ in 0..MAX_WAITING_JOBS {
            assert!(calls.has_space(&of(1)));
            calls.push(of(1));
        }
        assert!(!calls.has_space(&of(1)));
        calls.pop().unwrap();
        assert!(calls.has_space(&of(1)));
        assert!(!calls.has_space(&of(MAX_WAITING_BYTES)));
        while calls.pop().is_some() {}
        assert_eq!((calls.waiting(), calls.waiting_bytes), (0, 0));
    }
}
