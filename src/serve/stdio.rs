//! Serves a dispatch over a pair of streams, such as standard input and output.
//!
//! There is one peer, so no loop and no pool: each line is answered before the next one is
//! read. There is no control plane.

use std::borrow::Cow;
use std::cell::Cell;
use std::io::{self, Read, Write};
use std::sync::Arc;

use crate::dispatch::{CallError, CallOutcome, Dispatch, LateReply, ReplySink, Runner};
use crate::limits::Limits;
use crate::oneshot;
use crate::serve::control_plane;
use crate::serve::route::{Route, route};
use crate::wire::message::Call;
use crate::wire::reply;
use crate::wire::session::{Disposition, ReplyBounds, Session, Turn};

/// Serves until `input` ends or `output` reports a broken pipe.
///
/// # Errors
/// Those of reading `input` and of writing `output`, [`io::ErrorKind::BrokenPipe`] excepted.
pub fn serve<D: Dispatch>(
    dispatch: &D,
    limits: &Limits,
    mut input: impl Read,
    mut output: impl Write,
) -> io::Result<()> {
    let mut session = Session::new(limits);
    let bounds = ReplyBounds::of(limits);
    let mut runner = Runner::default();
    while !session.finished() {
        let room = session.room(limits.turn_bytes, limits);
        match input.read(room) {
            Ok(0) => session.input_ended(),
            Ok(count) => session.filled(count),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        }
        while session.may_serve(bounds) {
            session.serve(bounds, limits, |request, turn| {
                let Turn::First(out) = turn else { return Disposition::NotNow };
                match route(dispatch, &request) {
                    Route::Worker(call, _) => run_call(dispatch, &mut runner, call, out),
                    Route::Ping(call) => reply::result(out, call.id, b"{}"),
                    Route::Refused(call, error) => reply::error(out, Some(call.id), &error),
                    Route::Status | Route::Plane(_) => out.extend_from_slice(&control_plane::unwired()),
                }
                Disposition::Answered
            });
            match output.write_all(session.output()).and_then(|()| output.flush()) {
                Err(e) if e.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                written => written?,
            }
            session.wrote(session.output().len());
        }
    }
    Ok(())
}

/// Runs one call and waits for its answer, which may come from another thread.
fn run_call<D: Dispatch>(dispatch: &D, runner: &mut Runner<D::Worker>, call: &Call<'_>, out: &mut Vec<u8>) {
    let late_answer = Cell::new(None);
    let later = || {
        let (sender, answer) = oneshot::channel();
        late_answer.set(Some(answer));
        LateReply::new(Arc::new(OneReply(sender)), 0)
    };
    let answer = match runner.run(dispatch, &call.method, call.params, &later) {
        CallOutcome::Now(answer) => answer.map(Cow::Borrowed),
        // A dropped LateReply sends an answer too, so one always comes.
        CallOutcome::Later => {
            let answer = late_answer.take().and_then(|answer| answer.recv());
            answer.expect("a LateReply is always answered").map(Cow::Owned)
        }
    };
    match answer {
        Ok(result) => reply::result(out, call.id, &result),
        Err(error) => reply::error(out, Some(call.id), &error),
    }
}

struct OneReply(oneshot::Sender<Result<Vec<u8>, CallError>>);

impl ReplySink for OneReply {
    fn fill(self: Arc<Self>, _: usize, answer: Result<Vec<u8>, CallError>) {
        if self.0.send(answer).is_err() {
            log::debug!("a reply came after its call was abandoned");
        }
    }
}
