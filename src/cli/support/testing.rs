//! A minimal daemon for the tests of client commands.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread;

use serde_json::{Value, json};

use crate::client::{Client, Policy};

/// Runs `use_it` with a client of a daemon that replies to each message with `answer(message)`. Returns the result of
/// `use_it` and the messages that the daemon received.
pub(crate) fn with_daemon<T>(
    answer: impl Fn(&Value) -> Value + Send + 'static,
    use_it: impl FnOnce(&mut Client) -> T,
) -> (T, Vec<Value>) {
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("s")).unwrap();
    let mut client = Client::new(folder.path().join("s"), Policy::default());
    let daemon = thread::spawn(move || {
        let (mut peer, _) = listener.accept().unwrap();
        let mut seen = Vec::new();
        for line in BufReader::new(peer.try_clone().unwrap()).lines().map_while(Result::ok) {
            let message: Value = serde_json::from_str(&line).unwrap();
            let reply = answer(&message);
            seen.push(message);
            // The client may have closed the connection.
            drop(peer.write_all(format!("{reply}\n").as_bytes()));
        }
        seen
    });
    let outcome = use_it(&mut client);
    drop(client);
    (outcome, daemon.join().unwrap())
}

/// Returns the reply to `call` with this result.
pub(crate) fn result(call: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": call["id"], "result": result})
}

/// Returns the reply to `call` with this error.
pub(crate) fn error(call: &Value, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": message}})
}
