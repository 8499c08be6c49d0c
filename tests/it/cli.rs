//! The commands of the program: output for people and for programs, and exit codes.

use std::fs;
use std::io::Write;
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, iaid, setup, until};
use crate::skip::has;

/// Returns exit code, standard output and standard error.
fn ran(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("it is text");
    (output.status.code().expect("no signal ended it"), text(&output.stdout), text(&output.stderr))
}

fn run(daemon: &Daemon, args: &[&str]) -> (i32, String, String) {
    ran(&daemon.run(args))
}

/// Runs a command with this standard input.
fn run_with(daemon: &Daemon, args: &[&str], input: &[u8]) -> (i32, String, String) {
    let mut command = daemon.setup().program();
    command.args(args).arg("--socket").arg(daemon.setup().socket());
    ran(&fed(command, input))
}

fn fed(mut command: Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // The program may end before it has read all of its input.
    let feeder = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().expect("it ends");
    feeder.join().expect("the feeder ends");
    output
}

#[test]
fn control_commands_print_text_or_json() {
    let daemon = setup();
    for (args, words, reply) in [
        (
            &["pause"][..],
            "paused: the daemon does not sleep when idle until `iaid resume`\n",
            json!({"ok": true, "paused": true}),
        ),
        (
            &["pause", "3600"],
            "paused: the daemon does not sleep when idle until `iaid resume`\n",
            json!({"ok": true, "paused": true}),
        ),
        (&["resume"], "", json!({"ok": true, "paused": false})),
        (&["wake"], "", json!({"ok": true, "reason": "wake_queued"})),
        (&["rem"], "", json!({"ok": true, "reason": "rem_queued"})),
    ] {
        let (code, out, err) = run(&daemon, args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(!out.is_empty() && out.ends_with('\n') && out.lines().count() == 1, "{args:?}: {out}");
        assert!(words.is_empty() || out == words, "{args:?}: {out}");
        let (code, out, err) = run(&daemon, &[args, &["--json"]].concat());
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert_eq!(serde_json::from_str::<Value>(&out).expect("one JSON value"), reply, "{args:?}");
        assert_eq!(out.lines().count(), 1, "{args:?}: compact JSON is one line");
    }
    // A sleeping daemon declines until the next request.
    for (args, reply) in
        [(&["sleep"][..], "falling asleep"), (&["--json", "sleep"], "{\"ok\":true,\"state\":\"TRANSITIONING\"}\n")]
    {
        run(&daemon, &["call", "profile_get", "{}"]);
        let (code, out, err) = run(&daemon, args);
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(out.starts_with(reply), "{args:?}: {out}");
        until("it sleeps", || daemon.status()["lifecycle_state"] == "SLEEP");
        let (code, _, err) = run(&daemon, args);
        assert_eq!((code, err.contains("already_sleeping")), (1, true), "{args:?}: {err}");
    }
}

#[test]
fn status_is_a_list_or_the_daemons_reply() {
    let daemon = setup();
    run(&daemon, &["pause"]);
    let (code, out, err) = run(&daemon, &["status"]);
    assert_eq!((code, err.as_str()), (0, ""));
    for words in ["state         awake (WAKE)\n", "sleep         paused until `iaid resume`\n", "records       0\n"] {
        assert!(out.contains(words), "{out}");
    }
    assert!(!out.contains('\u{1b}'), "no color in a pipe: {out}");
    let (code, out, _) = run(&daemon, &["status", "--json"]);
    let status: Value = serde_json::from_str(&out).expect("one JSON value");
    assert_eq!((code, &status["scheduler_paused"], &status["fsm_state"]), (0, &json!(true), &json!("WAKE")));
}

#[test]
fn call_prints_the_result_of_any_method() {
    let daemon = setup();
    let (code, out, err) = run(&daemon, &["call", "ping"]);
    assert_eq!((code, out.as_str(), err.as_str()), (0, "{}\n", ""));
    let (code, out, _) = run(&daemon, &["call", "profile_get", r#"{"knob":"wake_depth"}"#]);
    assert!(code == 0 && out.contains("\n  \""), "indented as text: {out}");
    let (code, out, _) = run(&daemon, &["--json", "call", "profile_get", r#"{"knob":"wake_depth"}"#]);
    assert_eq!(serde_json::from_str::<Value>(&out).expect("JSON"), json!({"knob": "wake_depth", "value": "minimal"}));
    assert_eq!((code, out.lines().count()), (0, 1));
    let (code, out, _) = run_with(&daemon, &["--json", "call", "ping", "-"], b"{\n\"a\":\n1}\n");
    assert_eq!((code, out.as_str()), (0, "{}\n"));
    let (code, out, _) = run(&daemon, &["--json", "call", "rpc.discover"]);
    let discovered: Value = serde_json::from_str(&out).expect("JSON");
    assert!(code == 0 && discovered["methods"].is_array(), "{out}");
}

#[test]
fn an_error_of_the_daemon_exits_with_1_and_its_message() {
    let daemon = setup();
    let (code, out, err) = run(&daemon, &["call", "nonsense"]);
    assert_eq!((code, out.as_str(), err.as_str()), (1, "", "iaid: unknown method 'nonsense'\n"));
    let (code, out, err) = run(&daemon, &["--json", "call", "nonsense"]);
    assert_eq!((code, out.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&err).expect("JSON on standard error");
    assert_eq!(error, json!({"error": {"code": -32601, "message": "unknown method 'nonsense'"}}));
    let (code, _, err) = run(&daemon, &["call", "ping", "[1]"]);
    assert_eq!((code, err.as_str()), (1, "iaid: params must be an object of named params, not an array\n"));
    let (code, _, err) = run(&daemon, &["call", "memory_capture"]);
    assert_eq!((code, err.as_str()), (1, "iaid: missing required param: 'text'\n"));
}

#[test]
fn wrong_usage_exits_with_2() {
    let daemon = setup();
    for (args, words) in [
        (&["call", "ping", "{"][..], "the params are not JSON"),
        (&["call", "ping", ""], "the params are not JSON"),
        (&["nonsense"], "unrecognized subcommand 'nonsense'"),
        (&["status", "--nonsense"], "unexpected argument '--nonsense'"),
        (&["recall"], "<CUE>"),
        (&["recall", "tea", "--limit", "0"], "1..=100"),
        (&["pause", "soon"], "soon"),
        (&["capture", "--role", "robot", "text"], "possible values: user, assistant, system"),
        (&["completions", "cobol"], "possible values"),
        (&["call", "ping", "--timeout", "never"], "0 to 3600 seconds"),
    ] {
        let (code, out, err) = run(&daemon, args);
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
    let (code, out, err) = run(&daemon, &["--json", "recall", "tea", "--limit", "0"]);
    let error: Value = serde_json::from_str(&err).expect("JSON on standard error");
    assert_eq!((code, out.as_str(), &error["error"]["code"]), (2, "", &json!(-32001)), "{err}");
    let message = error["error"]["message"].as_str().expect("a text");
    assert!(message.starts_with("invalid value '0' for '--limit <N>'"), "{message}");
    for (args, words) in [
        (&["--workers", "1"][..], "2..=64"),
        (&["--max-line", "5"], "must be 1K to 64M"),
        (&["--max-line", "1MB"], "must be 1K to 64M"),
        (&["--max-memory", "1M"], "--max-memory 1M is too small for --max-line 1M: give at least 2M"),
        (&["--max-connections", "0"], "1..=16384"),
        (&["--drain-timeout", "-1"], "'-1'"),
        (&["--drain-timeout", "5s"], "0 to 3600 seconds"),
        (&["--fd", "-1"], "'-1'"),
        (&["--fd", "3", "--stdio"], "cannot be used with"),
        (&["--stdio", "--socket", "x"], "cannot be used with"),
        (&["extra"], "unexpected argument 'extra'"),
    ] {
        let output = Setup::new().program().arg("serve").args(args).output().expect("the binary runs");
        let (code, _, err) = ran(&output);
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

#[test]
fn help_and_version_exit_with_0_and_no_argument_with_2() {
    for (args, words) in [(&["--version"][..], "iaid 0."), (&["--help"], "Exit codes"), (&["help", "recall"], "<CUE>")]
    {
        let (code, out, err) = ran(&iaid().args(args).output().expect("the binary runs"));
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
        assert!(out.contains(words), "{args:?}: {out}");
    }
    let (code, out, err) = ran(&iaid().output().expect("the binary runs"));
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("Usage: iaid"), "{err}");
}

#[test]
fn an_unreachable_daemon_exits_with_3_and_a_remedy() {
    let setup = Setup::new();
    let nothing = setup.home().join("nothing.sock");
    let dead = setup.home().join("dead.sock");
    drop(UnixListener::bind(&dead).expect("a socket can be made"));
    let long = setup.home().join("x".repeat(200));
    for (socket, words) in
        [(&nothing, "there is no socket at "), (&dead, "no process listens on "), (&long, "and the system takes ")]
    {
        for args in [&["status"][..], &["recall", "tea"], &["capture", "a text of some length"], &["call", "ping"]] {
            let run = |more: &[&str]| {
                ran(&setup.program().args(args).args(more).arg("--socket").arg(socket).output().expect("it runs"))
            };
            let (code, out, err) = run(&[]);
            assert_eq!((code, out.as_str()), (3, ""), "{args:?}: {err}");
            assert!(err.starts_with("iaid: daemon_unreachable: ") && err.contains(words), "{args:?}: {err}");
            assert!(err.contains("iaid serve") || err.contains("--socket"), "it names a remedy: {err}");
            let (code, out, err) = run(&["--json"]);
            let error: Value = serde_json::from_str(&err).expect("JSON on standard error");
            assert_eq!((code, out.as_str(), &error["error"]["code"]), (3, "", &json!(-32002)), "{err}");
        }
    }
}

#[test]
fn socket_and_store_come_from_options_then_variables_then_home() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let program = || {
        let mut command = iaid();
        command.env("HOME", home.path());
        command
    };
    let start = |mut command: Command, socket: &std::path::Path| {
        let child = command.arg("serve").stderr(Stdio::null()).spawn().expect("the binary runs");
        until("it accepts", || std::os::unix::net::UnixStream::connect(socket).is_ok());
        child
    };
    let mut child = start(program(), &home.path().join(".iai-mcp/.daemon.sock"));
    assert_eq!(ran(&program().arg("status").output().expect("it runs")).0, 0);
    until("the store is at home", || home.path().join(".iai-mcp/.lock").exists());
    let mut empty = program();
    empty.env("IAI_DAEMON_SOCKET_PATH", "").env("IAI_MCP_STORE", "").arg("status");
    assert_eq!(ran(&empty.output().expect("it runs")).0, 0, "an empty variable counts as unset");
    let mut elsewhere = program();
    elsewhere.env("IAI_DAEMON_SOCKET_PATH", home.path().join("none")).arg("status");
    assert_eq!(ran(&elsewhere.output().expect("it runs")).0, 3);
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");

    let (socket, store) = (home.path().join("v.sock"), home.path().join("v"));
    let mut command = program();
    command.env("IAI_DAEMON_SOCKET_PATH", &socket).env("IAI_MCP_STORE", &store);
    let mut child = start(command, &socket);
    until("the store is where the variable says", || store.join(".lock").exists());
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");

    for args in [&["status"][..], &["serve"]] {
        let mut command = iaid();
        let (code, _, err) = ran(&command.env_remove("HOME").args(args).output().expect("it runs"));
        assert_eq!(code, 2, "{err}");
        assert!(err.contains("HOME is not set") && err.contains("IAI_"), "{err}");
    }
}

#[test]
fn one_text_is_inserted_reinforced_or_skipped() {
    let daemon = setup();
    let (code, out, err) = run(&daemon, &["capture", "The kettle sings at seven."]);
    assert_eq!((code, err.as_str()), (0, ""));
    let id = out.strip_prefix("inserted ").expect("it is new").trim_end().to_owned();
    assert_eq!(id.len(), 36);
    let (code, out, _) = run(&daemon, &["capture", "The kettle sings at seven."]);
    assert_eq!((code, out), (0, format!("reinforced {id}: already stored\n")));
    let (code, out, _) = run(&daemon, &["capture", " \n "]);
    assert_eq!((code, out.as_str()), (0, "skipped: too short\n"));
    let (code, out, _) =
        run(&daemon, &["--json", "capture", "--session", "s", "--role", "assistant", "Tea is at five."]);
    let captured: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &captured["status"]), (0, &json!("inserted")), "{out}");
    let (code, out, _) = run(&daemon, &["recall", "kettle"]);
    assert_eq!(code, 0);
    assert!(out.starts_with("1. ") && out.contains("\nThe kettle sings at seven.\n"), "{out}");
    let (_, out, _) = run(&daemon, &["recall", "--json", "when is tea?"]);
    let recalled: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(recalled["hits"][0]["literal_surface"], "Tea is at five.", "{out}");
    let (code, out, _) = run(&daemon, &["recall", "zeppelin"]);
    assert_eq!((code, out.as_str()), (0, "no matching records\nno record has: zeppelin\n"));
    let (code, _, err) = run(&daemon, &["capture", &"x".repeat(70_000)]);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("at most 65536 bytes"), "{err}");
}

#[test]
fn many_lines_are_captured_and_bad_lines_are_reported() {
    let daemon = setup();
    let mut input = Vec::new();
    for n in 1..=500 {
        input.extend_from_slice(format!("Line number {n} tells of day {n}.\r\n").as_bytes());
    }
    input.extend_from_slice(b"\n   \n");
    input.extend_from_slice("x".repeat(65_537).as_bytes());
    input.extend_from_slice(b"\nshort\nnot \xff UTF-8, this one\n");
    input.extend_from_slice("y".repeat(65_536).as_bytes());
    input.extend_from_slice(b"\nLine number 1 tells of day 1.\nthe last one has no newline");
    let (code, out, err) = run_with(&daemon, &["capture", "-", "--session", "book"], &input);
    assert_eq!(out, "507 lines: 503 inserted, 1 reinforced, 0 skipped, 2 failed\n".replace("507", "506"), "{err}");
    assert_eq!(
        err,
        "line 503: longer than 65536 bytes; split it into several lines\n\
         line 505: not UTF-8; convert it with iconv\n\
         iaid: 2 lines were not captured; see above\n"
    );
    assert_eq!(code, 1);
    let (code, out, _) =
        run_with(&daemon, &["capture", "--json", "--session", "book"], b"Line number 2 tells of day 2.\n");
    let tally: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, tally), (0, json!({"inserted": 0, "reinforced": 1, "skipped": 0, "failed": 0})));
    assert_eq!(daemon.status()["records"], 503);
    let (_, out, _) = run(&daemon, &["recall", "--json", "--limit", "1", "day 77"]);
    let recalled: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(recalled["hits"][0]["literal_surface"], "Line number 77 tells of day 77.", "{out}");
    let (code, out, err) = run_with(&daemon, &["capture", "-"], b"");
    assert_eq!((code, out.as_str(), err.as_str()), (0, "0 lines: 0 inserted, 0 reinforced, 0 skipped\n", ""));
}

#[test]
fn a_closed_standard_output_is_not_an_error() {
    let daemon = setup();
    run(&daemon, &["capture", "The kettle sings at seven."]);
    for args in [&["recall", "kettle"][..], &["status"], &["man"], &["completions", "bash"], &["call", "rpc.discover"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe can be made");
        drop(reader);
        let mut command = daemon.setup().program();
        command.args(args).arg("--socket").arg(daemon.setup().socket());
        let (code, _, err) = ran(&command.stdout(writer).output().expect("it runs"));
        assert_eq!((code, err.as_str()), (0, ""), "{args:?}");
    }
}

#[test]
fn completion_scripts_parse_in_their_shells() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, script, err) = ran(&iaid().args(["completions", shell]).output().expect("it runs"));
        assert_eq!((code, err.as_str()), (0, ""), "{shell}");
        for word in ["iaid", "recall", "capture", "serve"] {
            assert!(script.contains(word), "{shell} lacks {word}");
        }
        if ["bash", "fish", "zsh"].contains(&shell) && has(shell) {
            let mut parser = Command::new(shell);
            parser.arg("-n");
            let parsed = fed(parser, script.as_bytes());
            assert!(parsed.status.success() && parsed.stderr.is_empty(), "{shell}: {parsed:?}");
        }
    }
}

#[test]
fn manual_pages_render_in_man() {
    let (code, pages, err) = ran(&iaid().arg("man").output().expect("it runs"));
    assert_eq!((code, err.as_str()), (0, ""));
    for page in ["iaid", "iaid-serve", "iaid-recall", "iaid-capture"] {
        assert!(pages.contains(&format!(".TH {page} ")), "{page}");
    }
    if !has("man") {
        return;
    }
    let mut man = Command::new("man");
    man.args(["--warnings", "-l", "-"]).env("MANPAGER", "cat").env("LC_ALL", "C.UTF-8").env("MANWIDTH", "100");
    let shown = fed(man, pages.as_bytes());
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success() && shown.stderr.is_empty(), "{shown:?}");
    let words: Vec<&str> = text.split_whitespace().collect();
    for word in ["--max-connections", "IAID_LOG", "memory_recall"] {
        assert!(words.contains(&word), "{word} is not on the pages");
    }
}

#[test]
fn iaid_log_sets_the_log_filter() {
    for (filter, there, absent) in [
        ("", "INFO  iaid ", "DEBUG"),
        ("warn", "", "INFO"),
        ("off", "", "INFO"),
        ("iaid=warn", "", "nothing to be absent"),
        ("loud", "WARN  IAID_LOG: 'loud' is not a level", "DEBUG"),
        ("iaid::serve=", "WARN  IAID_LOG: '' is not a level", "DEBUG"),
    ] {
        let mut daemon = Setup::new().env("IAID_LOG", filter).start();
        daemon.stop();
        let log = daemon.log();
        assert!(log.contains(there) && !log.contains(absent), "IAID_LOG={filter}: {log}");
        assert!(!["warn", "off"].contains(&filter) || log.is_empty(), "IAID_LOG={filter}: {log}");
    }
    let daemon = Setup::new().env("IAID_LOG", "warn,iaid::serve=debug").start();
    // A peer that reads no more: its reply cannot be written.
    let mut peer = daemon.connect();
    peer.shutdown(Shutdown::Read).expect("it is connected");
    peer.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n").expect("the daemon reads it");
    until("a debug record of serve is logged", || daemon.log().contains("DEBUG"));
    assert!(!daemon.log().contains("INFO"), "{}", daemon.log());
}

#[test]
fn each_log_line_has_a_priority_for_journald() {
    let setup = Setup::new();
    let log = setup.home().join("log");
    fs::write(&log, "").expect("it can be made");
    let about = fs::metadata(&log).expect("it is there");
    let stream = format!("{}:{}", about.dev(), about.ino());
    let mut daemon = setup.env("JOURNAL_STREAM", &stream).start();
    daemon.stop();
    let said = daemon.log();
    assert!(said.lines().count() >= 3 && said.lines().all(|line| line.starts_with("<6>")), "{said}");
    assert!(!said.contains("INFO") && !said.contains("Z "), "journald has level and time already: {said}");

    // A second daemon cannot start; its error has a priority as well.
    daemon.restart();
    let output = daemon
        .setup()
        .serve()
        .stderr(fs::File::options().append(true).open(&log).expect("it can be opened"))
        .output()
        .expect("the binary runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(daemon.log().contains("<3>iaid: another daemon (process "), "{}", daemon.log());
}
