//! `iaid serve --stdio`: the same methods over standard input and output, one line after another.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::harness::{PATIENCE, Setup, until};

struct Served {
    child: Child,
    input: Option<ChildStdin>,
    /// The lines of its output, without their newlines.
    output: Receiver<String>,
}

fn command(setup: &Setup) -> Command {
    let mut command = setup.program();
    command.args(["serve", "--stdio", "--store"]).arg(setup.store());
    command
}

fn serve(command: &mut Command) -> Served {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program runs");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (sender, output) = channel();
    // On a thread, so that the test can wait with a timeout.
    std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
    Served { input: child.stdin.take(), output, child }
}

impl Served {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.input.as_mut().expect("the input is open").write_all(bytes.as_ref()).expect("the server reads");
    }

    fn line(&mut self) -> String {
        self.output.recv_timeout(PATIENCE).expect("a reply")
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n"));
        self.line()
    }

    fn call(&mut self, method: &str, params: &Value) -> Value {
        let reply = self.ask(&json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string());
        let mut reply: Value = serde_json::from_str(&reply).expect("JSON");
        assert!(reply.get("error").is_none(), "{reply}");
        reply["result"].take()
    }

    /// Ends the input, and returns the remaining output lines and the exit code.
    fn end(mut self) -> (Vec<String>, Option<i32>) {
        self.input = None;
        let mut code = None;
        until("the server ends", || {
            code = self.child.try_wait().expect("wait succeeds").map(|status| status.code());
            code.is_some()
        });
        (self.output.iter().collect(), code.flatten())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn requests_are_answered_as_over_a_socket() {
    let setup = Setup::new();
    let mut served = serve(&mut command(&setup));
    for (line, reply) in [
        (r#"{"jsonrpc":"2.0","id":1.50,"method":"ping"}"#, r#"{"jsonrpc":"2.0","id":1.50,"result":{}}"#),
        (
            r#"{"jsonrpc":"2.0","id":"a","method":"none"}"#,
            r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32601,"message":"unknown method 'none'"}}"#,
        ),
        (
            r#"[1,2]"#,
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"request must be a JSON object"}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":2,"method":"profile_get","params":{"knob":"wake_depth"}}"#,
            r#"{"jsonrpc":"2.0","id":2,"result":{"knob":"wake_depth","value":"minimal"}}"#,
        ),
        (
            r#"{"jsonrpc":"2.0","id":3,"method":"memory_capture","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"missing required param: 'text'"}}"#,
        ),
    ] {
        assert_eq!(served.ask(line), reply, "{line}");
    }
    for control in [r#"{"type":"status"}"#, r#"{"type":"pause"}"#] {
        let reply: Value = serde_json::from_str(&served.ask(control)).expect("JSON");
        assert_eq!((&reply["ok"], &reply["reason"]), (&json!(false), &json!("control_plane_unwired")));
    }
    assert_eq!(served.end(), (Vec::new(), Some(0)));
}

#[test]
fn invalid_lines_are_answered_with_errors() {
    let setup = Setup::new();
    let mut served = serve(command(&setup).args(["--max-line", "2K"]));
    for (line, code) in [
        (&b"nonsense"[..], -32700),
        (b"\xff\xfe", -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} {}", -32700),
        (&[b'['; 200], -32700),
        (&[b'x'; 100_000], -32600),
        (b"null", -32600),
    ] {
        served.send(line);
        served.send(b"\n\n  \r\n");
        let reply: Value = serde_json::from_str(&served.line()).expect("JSON");
        assert_eq!((&reply["error"]["code"], &reply["id"]), (&json!(code), &json!(null)), "{reply}");
    }
    assert_eq!(served.call("ping", &json!({})), json!({}));
    assert_eq!(served.end(), (Vec::new(), Some(0)));
}

#[test]
fn calls_sent_before_the_end_of_input_are_answered_and_stored() {
    let setup = Setup::new();
    let text = "Der Zug nach Zürich fährt um 7:42 — «pünktlich», sagt 駅員.";
    let mut served = serve(&mut command(&setup));
    for n in 1..=100 {
        let params = json!({"text": format!("{text} {n}")});
        served.send(format!("{}\n", json!({"jsonrpc": "2.0", "id": n, "method": "memory_capture", "params": params})));
    }
    // The last line has no newline.
    served.send(json!({"jsonrpc": "2.0", "id": 101, "method": "memory_capture", "params": {"text": text}}).to_string());
    let (rest, code) = served.end();
    assert_eq!(code, Some(0));
    let replies: Vec<Value> = rest.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(replies.len(), 101);
    for (reply, id) in replies.iter().zip(1..) {
        assert_eq!((&reply["id"], &reply["result"]["status"]), (&json!(id), &json!("inserted")), "{reply}");
    }
    let mut served = serve(&mut command(&setup));
    let recalled = served.call("memory_recall", &json!({"cue": "", "limit": 100, "budget_tokens": 100_000}));
    let hits = recalled["hits"].as_array().expect("a list");
    assert_eq!((hits.len(), &hits[0]["literal_surface"]), (100, &json!(text)), "the newest come first");
    assert_eq!(served.end(), (Vec::new(), Some(0)));
}

#[test]
fn the_server_ends_when_its_output_is_closed() {
    let setup = Setup::new();
    let mut child = command(&setup).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program runs");
    drop(child.stdout.take());
    let mut input = child.stdin.take().expect("piped");
    let line = b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";
    // It ends at the first reply that it cannot write.
    until("the server stops reading", || input.write_all(line).is_err());
    until("the server has ended", || child.try_wait().expect("wait succeeds").is_some());
    assert_eq!(child.wait().expect("wait succeeds").code(), Some(0));
}

#[test]
fn a_store_in_use_is_refused_with_the_process_id() {
    let setup = Setup::new();
    let mut served = serve(&mut command(&setup));
    assert_eq!(served.call("ping", &json!({})), json!({}));
    let output = command(&setup).stdin(Stdio::null()).output().expect("the program runs");
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]), "{message}");
    assert!(message.contains(&format!("process {} ", served.child.id())), "{message}");
    assert_eq!(served.end(), (Vec::new(), Some(0)));
}
