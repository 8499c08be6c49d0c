//! One call after the other, on one thread.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::reply::none_given;
use super::{Dispatch, LateReply, Params, Reply};
use crate::wire::reply::CallError;

/// Capacity that is kept from one result to the next. 64 KiB: few are longer.
const KEPT_BYTES: usize = 64 << 10;

/// What a thread that carries out calls has: its [`Dispatch::Worker`], once there was a call, and room for a result.
#[derive(Debug)]
pub struct Runner<W> {
    pub(crate) own: Option<W>,
    text: Vec<u8>,
}

/// What came of a call.
#[derive(Debug)]
pub enum Given<'a> {
    /// Its answer: a JSON text, or an error.
    Now(Result<&'a [u8], CallError>),
    /// Its [`LateReply`] was taken.
    Later,
}

/// Something panicked; the text is the panic's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked(pub String);

impl Panicked {
    /// What `catch_unwind` has caught.
    pub fn of(panic: &(dyn Any + Send)) -> Panicked {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        Panicked(text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into()))
    }
}

/// What has become of a [`Reply`].
pub(super) enum Answer {
    Nothing,
    /// The text is the result.
    Result,
    Error(CallError),
    Later,
}

impl<W> Default for Runner<W> {
    fn default() -> Runner<W> {
        Runner { own: None, text: Vec::new() }
    }
}

impl<W> Runner<W> {
    /// Gives back the room of a long result. Each call does so to the one before it.
    pub fn shrink(&mut self) {
        if self.text.capacity() > KEPT_BYTES {
            self.text = Vec::new();
        }
    }

    /// Carries out a call of a method that `dispatch` knows; `params` is their JSON text. `later` makes the reply
    /// that the handler may take along. A panic ends here: it is logged, and answered with an error unless there is
    /// an answer.
    pub fn run<D: Dispatch<Worker = W>>(
        &mut self,
        dispatch: &D,
        method: &str,
        params: Option<&str>,
        later: &dyn Fn() -> LateReply,
    ) -> Given<'_> {
        self.shrink();
        self.text.clear();
        let params = match Params::read(params) {
            Ok(params) => params,
            Err(error) => return Given::Now(Err(error)),
        };
        let mut answer = Answer::Nothing;
        let reply = Reply { text: &mut self.text, answer: &mut answer, later };
        let own = &mut self.own;
        let run =
            AssertUnwindSafe(|| dispatch.call(own.get_or_insert_with(|| dispatch.worker()), method, params, reply));
        let ran = catch_unwind(run);
        if let Err(panic) = &ran {
            // What the worker has of its own may be half changed.
            self.own = None;
            log::error!("the handler of '{method}' panicked: {}", Panicked::of(&**panic).0);
        }
        match answer {
            Answer::Nothing => Given::Now(Err(none_given(ran.is_err()))),
            Answer::Result => Given::Now(Ok(&self.text)),
            Answer::Error(error) => Given::Now(Err(error)),
            Answer::Later => Given::Later,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Pace, ReplySink, code};
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};

    /// Does what the method's name says; the worker's own state counts calls.
    struct Told;

    impl Dispatch for Told {
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
                "panic" => panic!("as told"),
                "answer, then panic" => {
                    reply.send(Ok("in time"));
                    panic!("as told");
                }
                "later" => reply.later().send(Ok("it came")),
                "later, then panic" => {
                    let _late = reply.later();
                    panic!("as told");
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

    /// What a call is answered with, and whether that came late.
    fn run(runner: &mut Runner<usize>, method: &str, params: Option<&str>) -> (Result<String, String>, bool) {
        let (sender, answers) = channel();
        let later = || LateReply::new(Arc::new(Sink(sender.clone())), 0);
        let (answer, late) = match runner.run(&Told, method, params, &later) {
            Given::Now(answer) => (answer.map(<[u8]>::to_vec), false),
            Given::Later => (answers.try_recv().unwrap(), true),
        };
        assert!(answers.try_recv().is_err(), "{method} was answered twice");
        (answer.map(|text| String::from_utf8(text).unwrap()).map_err(|error| error.message), late)
    }

    #[test]
    fn each_call_is_answered_once_whatever_its_handler_does() {
        let mut runner = Runner::default();
        for (method, want) in [
            ("count", (Ok("1".into()), false)),
            ("json", (Ok("{}".into()), false)),
            ("text", (Err("missing required param: 'text'".into()), false)),
            ("forget", (Err("the handler gave no reply".into()), false)),
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
    fn params_that_are_none_reach_no_handler() {
        let mut runner = Runner::default();
        let given = runner.run(&Told, "count", Some("[1]"), &|| unreachable!());
        assert!(matches!(&given, Given::Now(Err(error)) if error.code == code::INVALID_PARAMS), "{given:?}");
        assert!(runner.own.is_none());
    }

    #[test]
    fn the_room_of_a_long_result_is_given_back() {
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
