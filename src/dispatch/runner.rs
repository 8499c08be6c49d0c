//! Runs calls one after another on one thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::handler::Dispatch;
use super::params::Params;
use super::reply::{LateReply, Reply, ReplyState, unanswered};
use crate::wire::reply::CallError;

/// Capacity kept for the next result after each call, in bytes. Most results are shorter than 64 KiB.
const KEPT_BYTES: usize = 64 << 10;

/// The state of a thread that carries out calls: its [`Dispatch::Worker`], created by the first call, and
/// a buffer for results.
#[derive(Debug)]
pub struct Runner<W> {
    pub(crate) worker: Option<W>,
    text: Vec<u8>,
}

/// The outcome of [`Runner::run`].
#[derive(Debug)]
pub enum CallOutcome<'a> {
    /// The handler answered: a JSON text or an error.
    Now(Result<&'a [u8], CallError>),
    /// The handler took the [`LateReply`].
    Later,
}

/// A caught panic, with its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked(pub String);

impl Panicked {
    /// Returns the message of a payload that `catch_unwind` returned, or `no message` if the payload
    /// is not a string. A formatted message may quote a record's text, as that of a string slice does, so it is cut
    /// at its first quotation mark.
    pub(crate) fn of(panic: &(dyn Any + Send)) -> Panicked {
        let text = panic.downcast_ref::<&str>().copied();
        let formatted = || panic.downcast_ref::<String>()?.split(['`', '"', '\'', '\n']).next().map(str::trim_end);
        Panicked(text.or_else(formatted).filter(|text| !text.is_empty()).unwrap_or("no message").to_owned())
    }
}

impl<W> Default for Runner<W> {
    fn default() -> Runner<W> {
        Runner { worker: None, text: Vec::new() }
    }
}

impl<W> Runner<W> {
    /// Frees the result buffer if it is larger than 64 KiB. [`Runner::run`] does so before each call.
    pub fn shrink(&mut self) {
        if self.text.capacity() > KEPT_BYTES {
            self.text = Vec::new();
        }
    }

    /// Carries out a call of a method that `dispatch` knows. `params` is their JSON text; `later` creates
    /// the reply that the handler may keep. A panic of the handler is caught and logged; if the call has
    /// no answer by then, its outcome is an error of code -32001.
    pub fn run<D: Dispatch<Worker = W>>(
        &mut self,
        dispatch: &D,
        method: &str,
        params: Option<&str>,
        later: &dyn Fn() -> LateReply,
    ) -> CallOutcome<'_> {
        self.shrink();
        self.text.clear();
        let params = match Params::read(params) {
            Ok(params) => params,
            Err(error) => return CallOutcome::Now(Err(error)),
        };
        let mut state = ReplyState::Unanswered;
        let reply = Reply { text: &mut self.text, state: &mut state, later };
        let worker = &mut self.worker;
        let run =
            AssertUnwindSafe(|| dispatch.call(worker.get_or_insert_with(|| dispatch.worker()), method, params, reply));
        let ran = catch_unwind(run);
        if let Err(panic) = &ran {
            // The panic may have left the worker's state half changed.
            self.worker = None;
            log::error!("the handler of '{method}' panicked: {}", Panicked::of(&**panic).0);
        }
        match state {
            ReplyState::Unanswered => CallOutcome::Now(Err(unanswered(ran.is_err()))),
            ReplyState::Result => CallOutcome::Now(Ok(&self.text)),
            ReplyState::Error(error) => CallOutcome::Now(Err(error)),
            ReplyState::Later => CallOutcome::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Pace, ReplySink, code};
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};

    /// Does what the method's name says. The worker's state counts calls.
    struct Scripted;

    impl Dispatch for Scripted {
        type Worker = usize;

        fn worker(&self) -> usize {
            0
        }

        fn method(&self, _: &str) -> Option<Pace> {
            Some(Pace::Ordered)
        }

        fn call(&self, calls: &mut usize, method: &str, params: Params<'_>, reply: Reply<'_>) {
            *calls += 1;
            match method {
                "count" => reply.send(Ok(*calls)),
                "json" => reply.send_json(Ok(b"{}")),
                "text" => reply.send(params.string("text")),
                "forget" => {}
                "panic" => panic!("as scripted"),
                "answer, then panic" => {
                    reply.send(Ok("in time"));
                    panic!("as scripted");
                }
                "later" => reply.later().send(Ok("it came")),
                "later, then panic" => {
                    let _late = reply.later();
                    panic!("as scripted");
                }
                other => panic!("{other}"),
            }
        }
    }

    struct Sink(Sender<Result<Vec<u8>, CallError>>);

    impl ReplySink for Sink {
        fn fill(self: Arc<Self>, _: usize, answer: Result<Vec<u8>, CallError>) {
            self.0.send(answer).unwrap();
        }
    }

    /// Returns the outcome of a call, and whether it came through a late reply.
    fn run(runner: &mut Runner<usize>, method: &str, params: Option<&str>) -> (Result<String, String>, bool) {
        let (sender, answers) = channel();
        let later = || LateReply::new(Arc::new(Sink(sender.clone())), 0);
        let (answer, late) = match runner.run(&Scripted, method, params, &later) {
            CallOutcome::Now(answer) => (answer.map(<[u8]>::to_vec), false),
            CallOutcome::Later => (answers.try_recv().unwrap(), true),
        };
        assert!(answers.try_recv().is_err(), "{method} was answered twice");
        (answer.map(|text| String::from_utf8(text).unwrap()).map_err(|error| error.message), late)
    }

    #[test]
    fn each_call_is_answered_once() {
        let mut runner = Runner::default();
        for (method, want) in [
            ("count", (Ok("1".into()), false)),
            ("json", (Ok("{}".into()), false)),
            ("text", (Err("missing required param: 'text'".into()), false)),
            ("forget", (Err("internal error: the handler returned without a reply".into()), false)),
            ("later", (Ok("\"it came\"".into()), true)),
            ("count", (Ok("6".into()), false)),
            ("panic", (Err("the handler panicked".into()), false)),
            ("count", (Ok("1".into()), false)),
            ("answer, then panic", (Ok("\"in time\"".into()), false)),
            ("later, then panic", (Err("the handler panicked".into()), true)),
            ("count", (Ok("1".into()), false)),
        ] {
            assert_eq!(run(&mut runner, method, None), want, "{method}");
        }
    }

    #[test]
    fn the_message_of_a_panic_quotes_no_text() {
        let of = |work: fn()| Panicked::of(&*catch_unwind(work).unwrap_err()).0;
        for (work, want) in [
            ((|| panic!("a `literal` message")) as fn(), "a `literal` message"),
            (|| panic!("of {} bytes", 3), "of 3 bytes"),
            (|| drop("\u{e9}secret"[1..].to_owned()), "start byte index 1 is not a char boundary; it is inside"),
            (|| panic!("of {:?}", "secret"), "of"),
            (|| std::panic::panic_any(5), "no message"),
        ] {
            let message = of(work);
            assert!(message.starts_with(want.split(';').next().unwrap()) && !message.contains("secret"), "{message}");
        }
    }

    #[test]
    fn invalid_params_reach_no_handler() {
        let mut runner = Runner::default();
        let given = runner.run(&Scripted, "count", Some("[1]"), &|| unreachable!());
        assert!(matches!(&given, CallOutcome::Now(Err(error)) if error.code == code::INVALID_PARAMS), "{given:?}");
        assert!(runner.worker.is_none());
    }

    #[test]
    fn the_buffer_of_a_long_result_is_freed() {
        let mut runner = Runner::default();
        let long = format!("{{\"text\":\"{}\"}}", "x".repeat(KEPT_BYTES));
        assert!(run(&mut runner, "text", Some(&long)).0.is_ok());
        assert!(runner.text.capacity() > KEPT_BYTES);
        runner.shrink();
        assert_eq!(runner.text.capacity(), 0);
        assert_eq!(run(&mut runner, "json", None).0, Ok("{}".into()));
        let kept = runner.text.capacity();
        runner.shrink();
        assert_eq!(runner.text.capacity(), kept);
    }
}
