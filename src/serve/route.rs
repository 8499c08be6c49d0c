//! Which part of the server answers each request, in one table.

use crate::dispatch::{CallError, Dispatch, Pace};
use crate::wire::control::Control;
use crate::wire::message::Call;
use crate::wire::session::Request;

/// The part of the server that answers a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'r, 'a> {
    /// A worker, which calls the dispatch.
    Worker(&'r Call<'a>, Pace),
    /// The loop, with `{}`.
    Ping(&'r Call<'a>),
    /// The loop, with an error.
    Refused(&'r Call<'a>, CallError),
    /// The control plane, at once, given the loop's counters.
    Status,
    /// The control plane, at once or later.
    Plane(&'r Control<'a>),
}

/// Returns which part answers `request`.
pub(crate) fn route<'r, 'a, D: Dispatch>(dispatch: &D, request: &'r Request<'a>) -> Route<'r, 'a> {
    let call = match request {
        Request::Control(Control::Status) => return Route::Status,
        Request::Control(control) => return Route::Plane(control),
        Request::Call(call) => call,
    };
    let pace = match call.method.as_ref() {
        "ping" => None,
        name => match dispatch.method(name) {
            None => return Route::Refused(call, CallError::unknown_method(name)),
            known => known,
        },
    };
    if call.params.is_some_and(|params| params.starts_with('[')) {
        return Route::Refused(call, CallError::positional());
    }
    match pace {
        Some(pace) => Route::Worker(call, pace),
        None => Route::Ping(call),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{Params, Reply};
    use crate::wire::message::{self, Message};

    struct One;

    impl Dispatch for One {
        type Worker = ();
        fn worker(&self) {}
        fn method(&self, name: &str) -> Option<Pace> {
            (name == "one").then_some(Pace::Pipelined)
        }
        fn call(&self, _: &mut (), _: &str, _: Params<'_>, _: Reply<'_>) {}
    }

    #[test]
    fn the_table() {
        for (line, want) in [
            (r#"{"type":"status"}"#, "Status"),
            (r#"{"type":"pause"}"#, "Plane"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, "Ping"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, "-32602"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"one","params":{}}"#, "Pipelined"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"one","params":[1]}"#, "-32602"),
            (r#"{"jsonrpc":"2.0","id":1,"method":"two","params":[1]}"#, "-32601"),
        ] {
            let request = match message::read(line.as_bytes(), 128) {
                Message::Call(call) => Request::Call(call),
                Message::Control(control) => Request::Control(control),
                other => panic!("{line}: {other:?}"),
            };
            let got = match route(&One, &request) {
                Route::Status => "Status".into(),
                Route::Plane(_) => "Plane".into(),
                Route::Ping(_) => "Ping".into(),
                Route::Worker(_, pace) => format!("{pace:?}"),
                Route::Refused(_, error) => error.code.to_string(),
            };
            assert_eq!(got, want, "{line}");
        }
    }
}
