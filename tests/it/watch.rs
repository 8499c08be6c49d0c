//! `iaid status --watch`: a running daemon, one that stops and restarts, and output on a terminal.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, kill_command, setup, until};
use crate::skip::has;

struct Watch {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Watch {
    fn of(daemon: &Daemon, args: &[&str]) -> Watch {
        let setup = daemon.setup();
        let mut command = setup.program();
        command.arg("--socket").arg(setup.socket()).args(args).args(["status", "--watch", "--interval", "0.1"]);
        Watch::by(command.arg("--store").arg(setup.store()))
    }

    fn by(command: &mut Command) -> Watch {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        let out = BufReader::new(child.stdout.take().unwrap());
        Watch { child, out }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        assert!(self.out.read_line(&mut line).expect("it is text") > 0, "it goes on");
        line
    }

    fn until(&mut self, part: &str) -> String {
        let mut line = String::new();
        until(part, || {
            line = self.line();
            line.contains(part)
        });
        line
    }

    /// Sends SIGINT, as Ctrl-C does, and asserts that the program exits with 0.
    fn end(mut self) {
        assert!(kill_command().arg("-INT").arg(self.child.id().to_string()).status().unwrap().success());
        drop(self.out);
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_stopped_daemon_is_down_until_it_is_restarted() {
    let mut daemon = setup();
    fs::create_dir_all(daemon.setup().store().join(".capture-state")).unwrap();
    let last = daemon.setup().store().join(".capture-state/last-claude-code.json");
    fs::write(last, r#"{"ts":"2020-01-01T00:00:00Z","session_id":"s","spooled":false}"#).unwrap();
    let mut watch = Watch::of(&daemon, &[]);
    let line = watch.until("awake (WAKE)");
    assert!(line.contains("captured claude-code ") && line.contains(" 1 connections"), "{line}");
    daemon.kill();
    watch.until("down: daemon_unreachable");
    daemon.restart();
    watch.until("awake (WAKE)");
    watch.end();
}

#[test]
fn json_output_has_each_reply_and_the_rate_of_other_clients() {
    let daemon = setup();
    let mut watch = Watch::of(&daemon, &["--json"]);
    let mut sample = || -> Value { serde_json::from_str(&watch.line()).unwrap() };
    assert_eq!(sample()["requests_per_sec"], Value::Null);
    let second = sample();
    assert_eq!(second["requests_per_sec"], json!(0.0), "its own requests are not counted: {second}");
    assert_eq!(second["status"]["connections"], 1);
    let mut client = daemon.client();
    until("the rate is seen", || {
        client.call("ping", json!({}));
        sample()["requests_per_sec"].as_f64().unwrap() > 0.0
    });
    watch.end();
}

#[test]
fn watching_keeps_no_daemon_awake() {
    let daemon = Setup::new().args(&["--drowsy-after", "0.3"]).start();
    let mut watch = Watch::of(&daemon, &[]);
    watch.until("drowsy (WAKE, DROWSY)");
    watch.end();
}

#[test]
fn on_a_terminal_the_list_is_redrawn_in_place() {
    if !has("script") {
        return;
    }
    let daemon = setup();
    let (program, socket) = (env!("CARGO_BIN_EXE_iaid"), daemon.setup().socket());
    // Ctrl-C also reaches the shell, which must survive to print the exit code.
    let command = format!(
        "trap : INT; stty rows 8 cols 30; '{program}' --socket '{}' status --watch --interval 0.1; echo ended $?",
        socket.display()
    );
    let mut terminal = Command::new("script");
    terminal.args(["-qfec", &command, "/dev/null"]).env("SHELL", "/bin/sh").env("TERM", "xterm").env("NO_COLOR", "1");
    let mut watch = Watch::by(&mut terminal);
    for _ in 0..2 {
        // Seven lines fit above the cursor.
        let line = watch.until("\u{1b}[7A");
        assert!(line.contains(':'), "{line}");
        let line = watch.until("state ");
        let shown = line.split('\u{1b}').next().unwrap();
        assert!(shown.contains("awake (WAKE)") && shown.chars().count() <= 30, "{line:?}");
    }
    watch.child.stdin.take().unwrap().write_all(b"\x03").unwrap();
    watch.until("ended 0");
    watch.child.wait().unwrap();
}
