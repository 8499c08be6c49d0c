//! The calls that were received and not answered yet: those that wait, those under way, those given
//! up. Pure; who waits for what is `bridge.rs`.

use std::collections::VecDeque;

use super::daemon_call::DaemonCall;
use super::message::Id;
use super::translate::{Step, Steps};

/// Most jobs that wait. Picked: a batch of the daemon's.
const WAITING_JOBS: usize = 64;

/// Most bytes of lines whose jobs wait, but for a single job that is longer. As long as the longest
/// line.
const WAITING_BYTES: usize = 1 << 20;

/// What one line asks for.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) parts: Vec<Part>,
    pub(crate) shape: Shape,
    /// Length of its line.
    pub(crate) bytes: usize,
}

/// A message of a job that is answered.
#[derive(Debug)]
pub(crate) enum Part {
    /// With this line.
    Ready(Vec<u8>),
    /// With what the daemon says.
    Call(Ticket, DaemonCall),
}

/// How a job's replies go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Lines,
    Array,
}

/// A call's place among those that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

/// What is open.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    waiting: VecDeque<Job>,
    waiting_bytes: usize,
    open: Vec<Open>,
    next: u64,
}

#[derive(Debug)]
struct Open {
    ticket: Ticket,
    id: Id,
    wanted: Wanted,
}

/// Is a call's reply still wanted?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Yes,
    No,
}

impl Job {
    /// Has it a part that only the daemon can answer?
    pub(crate) fn needs_daemon(&self) -> bool {
        self.parts.iter().any(|part| matches!(part, Part::Call(..)))
    }
}

impl Calls {
    /// Makes a job of what a line asks for, carrying out cancellations. `None` where there is nothing
    /// to answer.
    pub(crate) fn job(&mut self, steps: Steps, bytes: usize) -> Option<Job> {
        let (steps, shape) = match steps {
            Steps::One(step) => (vec![step], Shape::Lines),
            Steps::Together(steps) => (steps, Shape::Array),
        };
        let parts: Vec<Part> = steps.into_iter().filter_map(|step| self.part(step)).collect();
        (!parts.is_empty()).then_some(Job { parts, shape, bytes })
    }

    /// May another job be put behind those that wait?
    pub(crate) fn has_room(&self, job: &Job) -> bool {
        self.waiting.is_empty()
            || (self.waiting.len() < WAITING_JOBS && self.waiting_bytes + job.bytes <= WAITING_BYTES)
    }

    pub(crate) fn push(&mut self, job: Job) {
        self.waiting_bytes += job.bytes;
        self.waiting.push_back(job);
    }

    /// The job that has waited longest.
    pub(crate) fn pop(&mut self) -> Option<Job> {
        let job = self.waiting.pop_front()?;
        self.waiting_bytes -= job.bytes;
        Some(job)
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn wanted(&self, ticket: Ticket) -> Wanted {
        self.open.iter().find(|open| open.ticket == ticket).map_or(Wanted::No, |open| open.wanted)
    }

    /// The call is over. A cancellation that comes now is too late.
    pub(crate) fn close(&mut self, ticket: Ticket) -> Wanted {
        let wanted = self.wanted(ticket);
        self.open.retain(|open| open.ticket != ticket);
        wanted
    }

    fn part(&mut self, step: Step) -> Option<Part> {
        match step {
            Step::Nothing => None,
            Step::Reply(line) => Some(Part::Ready(line)),
            Step::Cancel(id) => {
                for open in self.open.iter_mut().filter(|open| open.id == id) {
                    open.wanted = Wanted::No;
                }
                None
            }
            Step::Call(call) => {
                let ticket = Ticket(self.next);
                self.next += 1;
                self.open.push(Open { ticket, id: call.id.clone(), wanted: Wanted::Yes });
                Some(Part::Call(ticket, call))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::Host;
    use super::super::translate::Translator;
    use super::*;

    const AGREE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-03-26"}}"#;

    /// The jobs that come of lines.
    fn jobs(calls: &mut Calls, lines: &[&str]) -> Vec<Option<Job>> {
        let mut translator = Translator::new(Host { session: "s".into(), project: None });
        translator.take(AGREE.as_bytes());
        lines.iter().map(|line| calls.job(translator.take(line.as_bytes()), line.len())).collect()
    }

    fn call(id: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"topology"}}}}"#)
    }

    fn cancel(id: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id}}}}}"#)
    }

    fn tickets(job: &Job) -> Vec<Ticket> {
        let ticket = |part: &Part| match part {
            Part::Call(ticket, _) => Some(*ticket),
            Part::Ready(_) => None,
        };
        job.parts.iter().filter_map(ticket).collect()
    }

    #[test]
    fn a_cancelled_call_is_not_wanted_and_others_are() {
        let mut calls = Calls::default();
        let got = jobs(&mut calls, &[&call("1"), &call("\"1\""), &call("2"), &cancel("\"\\u0031\""), &cancel("7")]);
        assert!(got[3].is_none() && got[4].is_none());
        let tickets: Vec<_> = got[..3].iter().flat_map(|job| tickets(job.as_ref().unwrap())).collect();
        assert_eq!(
            tickets.iter().map(|t| calls.wanted(*t)).collect::<Vec<_>>(),
            [Wanted::Yes, Wanted::No, Wanted::Yes]
        );
        assert_eq!(calls.close(tickets[0]), Wanted::Yes);
        assert_eq!(calls.close(tickets[1]), Wanted::No);
        // Too late, and for a request that is over.
        assert!(jobs(&mut calls, &[&cancel("1")])[0].is_none());
        assert_eq!(calls.close(tickets[2]), Wanted::Yes);
        assert!(calls.open.is_empty());
    }

    #[test]
    fn a_batch_is_one_job_of_what_is_answered() {
        let mut calls = Calls::default();
        let ping = r#"{"jsonrpc":"2.0","id":5,"method":"ping"}"#;
        let batch = format!("[{},{ping},{}]", call("1"), cancel("1"));
        let notes = format!("[{}]", cancel("1"));
        let got = jobs(&mut calls, &[&batch, &notes, ping]);
        let job = got[0].as_ref().unwrap();
        assert_eq!((job.parts.len(), job.shape, job.needs_daemon()), (2, Shape::Array, true));
        assert_eq!(calls.wanted(tickets(job)[0]), Wanted::No);
        assert!(got[1].is_none(), "notifications alone get no reply");
        let job = got[2].as_ref().unwrap();
        assert_eq!((job.parts.len(), job.shape, job.needs_daemon()), (1, Shape::Lines, false));
    }

    #[test]
    fn what_waits_is_bounded_by_number_and_by_bytes() {
        let of = |bytes| Job { parts: Vec::new(), shape: Shape::Lines, bytes };
        let mut calls = Calls::default();
        assert!(calls.has_room(&of(WAITING_BYTES * 2)), "a long one alone");
        for _ in 0..WAITING_JOBS {
            assert!(calls.has_room(&of(1)));
            calls.push(of(1));
        }
        assert!(!calls.has_room(&of(1)));
        calls.pop().unwrap();
        assert!(calls.has_room(&of(1)));
        assert!(!calls.has_room(&of(WAITING_BYTES)));
        while calls.pop().is_some() {}
        assert_eq!((calls.waiting(), calls.waiting_bytes), (0, 0));
    }
}
