//! The reply of a call: sent before its handler returns, or kept and sent later.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;

use crate::wire::reply::CallError;

/// The reply of one call. The handler sends it before it returns, or keeps it with [`Reply::later`]. If
/// the handler does neither, the call is answered with an error of code -32001: every call gets one
/// reply.
pub struct Reply<'a> {
    /// Receives the JSON text of a result.
    pub(crate) text: &'a mut Vec<u8>,
    pub(crate) state: &'a mut ReplyState,
    pub(crate) later: &'a dyn Fn() -> LateReply,
}

/// What a handler did with its [`Reply`].
pub(crate) enum ReplyState {
    Unanswered,
    /// The reply's text is the result.
    Result,
    Error(CallError),
    /// The handler took a [`LateReply`].
    Later,
}

impl Reply<'_> {
    /// Answers with a result or an error. A result that does not serialize to JSON becomes an error of
    /// code -32001.
    pub fn send<T: Serialize>(self, outcome: Result<T, CallError>) {
        *self.state = match outcome.and_then(|value| json(&mut *self.text, &value)) {
            Ok(()) => ReplyState::Result,
            Err(error) => ReplyState::Error(error),
        };
    }

    /// Answers with a result that is already one JSON text without newlines, or with an error. The
    /// text is not checked.
    pub fn send_json(self, outcome: Result<impl AsRef<[u8]>, CallError>) {
        *self.state = match outcome {
            Ok(text) => {
                self.text.extend_from_slice(text.as_ref());
                ReplyState::Result
            }
            Err(error) => ReplyState::Error(error),
        };
    }

    /// Returns the reply in a form that outlives the handler and may be sent from any thread at any
    /// time. The call stays open until then: it holds back the replies of the later calls of its
    /// connection, and every later call that is [`Pace::Ordered`](super::handler::Pace::Ordered).
    pub fn later(self) -> LateReply {
        *self.state = ReplyState::Later;
        (self.later)()
    }
}

impl fmt::Debug for Reply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply").finish_non_exhaustive()
    }
}

/// Receives the late replies of a group of calls, each under its slot number.
pub trait ReplySink: Send + Sync {
    /// Receives the outcome for `slot`: a JSON text or an error. Called once for each slot, on the
    /// thread that sent or dropped the [`LateReply`].
    fn fill(self: Arc<Self>, slot: usize, answer: Result<Vec<u8>, CallError>);
}

/// The reply of a call whose handler returned without answering. It is sent once, from any thread. If it
/// is dropped unsent, the call is answered with an error of code -32001.
pub struct LateReply {
    sink: Option<Arc<dyn ReplySink>>,
    slot: usize,
}

impl LateReply {
    /// Creates the reply for `slot` of `sink`.
    #[doc(hidden)]
    pub fn new(sink: Arc<dyn ReplySink>, slot: usize) -> LateReply {
        LateReply { sink: Some(sink), slot }
    }

    /// Answers with a result or an error. A result that does not serialize to JSON becomes an error of
    /// code -32001.
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
            sink.fill(self.slot, Err(unanswered(std::thread::panicking())));
        }
    }
}

impl fmt::Debug for LateReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LateReply").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// Returns the error for a call that its handler did not answer.
pub(crate) fn unanswered(panicked: bool) -> CallError {
    CallError::failed(if panicked {
        "the handler panicked"
    } else {
        "internal error: the handler returned without a reply"
    })
}

fn json(text: &mut Vec<u8>, value: &impl Serialize) -> Result<(), CallError> {
    serde_json::to_writer(ReplyText(text), value).map_err(|e| match e.is_io() {
        true => CallError::failed("out of memory: the reply does not fit; ask for less"),
        false => CallError::failed(format!("result does not serialize to JSON: {e}")),
    })
}

/// Appends to a buffer. If there is no memory for it, that is an error.
struct ReplyText<'a>(&'a mut Vec<u8>);

impl Write for ReplyText<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        // A vector that is full asks for twice its size first.
        let reserved = self.0.try_reserve(bytes.len()).or_else(|_| self.0.try_reserve_exact(bytes.len()));
        reserved.map_err(|_| io::ErrorKind::OutOfMemory)?;
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[derive(Default)]
    struct RecordingSink(Mutex<Vec<(usize, Result<String, CallError>)>>);

    impl ReplySink for RecordingSink {
        fn fill(self: Arc<Self>, slot: usize, answer: Result<Vec<u8>, CallError>) {
            let answer = answer.map(|bytes| String::from_utf8(bytes).unwrap());
            self.0.lock().unwrap().push((slot, answer));
        }
    }

    #[test]
    fn a_late_reply_is_filled_once_even_when_it_is_dropped() {
        let sink = Arc::new(RecordingSink::default());
        LateReply::new(sink.clone(), 3).send(Ok([1, 2]));
        drop(LateReply::new(sink.clone(), 4));
        LateReply::new(sink.clone(), 5).send::<()>(Err(CallError::failed("no")));
        let got = std::mem::take(&mut *sink.0.lock().unwrap());
        let dropped = Err(CallError::failed("internal error: the handler returned without a reply"));
        assert_eq!(got, [(3, Ok("[1,2]".into())), (4, dropped), (5, Err(CallError::failed("no")))]);
    }
}
