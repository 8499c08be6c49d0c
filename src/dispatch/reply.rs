//! The slot of a call's reply: filled before its handler returns, or taken along and filled later.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::runner::Answer;
use crate::wire::reply::CallError;

/// The slot of one call's reply. Answer it before the handler returns, or take a [`LateReply`]. One that is
/// dropped unanswered is answered with an error, so no call stays open.
pub struct Reply<'a> {
    /// The text of a result goes here.
    pub(super) text: &'a mut Vec<u8>,
    pub(super) answer: &'a mut Answer,
    pub(super) later: &'a dyn Fn() -> LateReply,
}

impl Reply<'_> {
    /// Answers with a result or an error.
    pub fn send<T: Serialize>(self, outcome: Result<T, CallError>) {
        *self.answer = match outcome.and_then(|value| json(&mut *self.text, &value)) {
            Ok(()) => Answer::Result,
            Err(error) => Answer::Error(error),
        };
    }

    /// Answers with a result that is a JSON text already, or an error.
    pub fn send_json(self, outcome: Result<impl AsRef<[u8]>, CallError>) {
        *self.answer = match outcome {
            Ok(text) => {
                self.text.extend_from_slice(text.as_ref());
                Answer::Result
            }
            Err(error) => Answer::Error(error),
        };
    }

    /// Takes the slot along: to be answered at any time, from any thread.
    pub fn later(self) -> LateReply {
        *self.answer = Answer::Later;
        (self.later)()
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

/// Where replies go that come later: one sink for a group of calls, a slot for each.
pub trait ReplySink: Send + Sync {
    /// Takes the answer for `slot`: a JSON text, or an error. Called once a slot.
    fn fill(self: Arc<Self>, slot: usize, answer: Result<Vec<u8>, CallError>);
}

/// The slot of a reply whose handler has returned, or may have. Answer it once, from any thread; one that is
/// dropped unanswered is answered with an error.
pub struct LateReply {
    sink: Option<Arc<dyn ReplySink>>,
    slot: usize,
}

impl LateReply {
    /// The reply that goes to `slot` of `sink`.
    pub fn new(sink: Arc<dyn ReplySink>, slot: usize) -> LateReply {
        LateReply { sink: Some(sink), slot }
    }

    /// Answers with a result or an error.
    pub fn send<T: Serialize>(mut self, outcome: Result<T, CallError>) {
        let mut text = Vec::new();
        let answer = outcome.and_then(|value| json(&mut text, &value)).map(|()| text);
        if let Some(sink) = self.sink.take() {
            sink.fill(self.slot, answer);
        }
    }
}

impl Drop for LateReply {
    fn drop(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.fill(self.slot, Err(none_given(std::thread::panicking())));
        }
    }
}

impl fmt::Debug for LateReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateReply").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// What a call is answered with whose handler did not answer it.
pub(super) fn none_given(panicked: bool) -> CallError {
    CallError::failed(if panicked { "the handler panicked" } else { "the handler gave no reply" })
}

fn json(text: &mut Vec<u8>, value: &impl Serialize) -> Result<(), CallError> {
    serde_json::to_writer(text, value).map_err(|e| CallError::failed(format!("result is no JSON: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Kept(Mutex<Vec<(usize, Result<String, CallError>)>>);

    impl ReplySink for Kept {
        fn fill(self: Arc<Self>, slot: usize, answer: Result<Vec<u8>, CallError>) {
            let answer = answer.map(|bytes| String::from_utf8(bytes).unwrap());
            self.0.lock().unwrap().push((slot, answer));
        }
    }

    #[test]
    fn a_late_reply_is_given_once_even_when_forgotten() {
        let sink = Arc::new(Kept::default());
        LateReply::new(sink.clone(), 3).send(Ok([1, 2]));
        drop(LateReply::new(sink.clone(), 4));
        LateReply::new(sink.clone(), 5).send::<()>(Err(CallError::failed("no")));
        let got = std::mem::take(&mut *sink.0.lock().unwrap());
        let forgotten = Err(CallError::failed("the handler gave no reply"));
        assert_eq!(got, [(3, Ok("[1,2]".into())), (4, forgotten), (5, Err(CallError::failed("no")))]);
    }
}
