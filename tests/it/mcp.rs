//! `iaid mcp` through its front door: lines in, lines out, with a real daemon, with none, and with
//! one whose every reply the test decides.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use serde_json::{Value, json};

use crate::harness::{Daemon, PATIENCE, Setup, setup, until};

/// A bridge and the client that started it.
struct Bridge {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next_id: u64,
    /// Replies that came before their turn.
    early: BTreeMap<u64, Value>,
}

impl Bridge {
    fn start(setup: &Setup) -> Bridge {
        Bridge::start_by(&mut command(setup))
    }

    fn start_by(command: &mut Command) -> Bridge {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().expect("it runs");
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        let input = child.stdin.take();
        Bridge { child, input, lines, next_id: 1, early: BTreeMap::new() }
    }

    /// One that has agreed on a version and is ready.
    fn ready(setup: &Setup, version: &str) -> Bridge {
        let mut bridge = Bridge::start(setup);
        let agreed = bridge.request("initialize", initialize(version));
        assert_eq!(agreed["result"]["protocolVersion"], version);
        bridge.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        bridge
    }

    fn send_line(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("its input is open");
        input.write_all(line).and_then(|()| input.write_all(b"\n")).expect("it reads");
    }

    fn send(&mut self, message: &Value) {
        self.send_line(message.to_string().as_bytes());
    }

    fn line(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line comes");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?} is no JSON: {e}"))
    }

    /// Sends a request and gives its id.
    fn begin(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    fn begin_tool(&mut self, name: &str, arguments: Value) -> u64 {
        self.begin("tools/call", json!({"name": name, "arguments": arguments}))
    }

    /// The reply to a request, whatever comes before it.
    fn reply(&mut self, id: u64) -> Value {
        while !self.early.contains_key(&id) {
            let reply = self.line();
            let own = reply["id"].as_u64().unwrap_or_else(|| panic!("{reply} belongs to no request"));
            assert!(self.early.insert(own, reply).is_none(), "two replies to {own}");
        }
        self.early.remove(&id).expect("it is there")
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.reply(id)
    }

    fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let id = self.begin_tool(name, arguments);
        self.reply(id)
    }

    /// What a tool gives that is to succeed.
    fn done(&mut self, name: &str, arguments: Value) -> Value {
        let mut reply = self.tool(name, arguments);
        assert_eq!(reply["result"]["isError"], false, "{name}: {reply}");
        reply["result"]["structuredContent"].take()
    }

    fn cancel(&mut self, id: u64) {
        let params = json!({"requestId": id, "reason": "the user changed her mind"});
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    }

    /// Ends its input and waits for its end.
    fn end(&mut self) -> ExitStatus {
        self.input = None;
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the bridge has ended", || {
            status = self.child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        status.expect("it has ended")
    }

    /// Nothing more is said, now that it has ended.
    fn said_all(&self) {
        assert_eq!(self.lines.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
        assert!(self.early.is_empty(), "{:?}", self.early);
    }

    /// A figure of its memory, in KiB.
    fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux says so");
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The bridge of this setup, in a session and a project that are the test's.
fn command(setup: &Setup) -> Command {
    let mut command = setup.program();
    for name in ["CLAUDE_CODE_SESSION_ID", "CODEX_THREAD_ID", "CLAUDE_PROJECT_DIR"] {
        command.env_remove(name);
    }
    command.env("IAI_MCP_SESSION_ID", "the-session").current_dir("/tmp");
    command.arg("--socket").arg(setup.socket()).arg("mcp").arg("--store").arg(setup.store());
    command
}

fn initialize(version: &str) -> Value {
    json!({"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}})
}

/// A daemon whose every reply the test decides. Which of the bridge's connections a call comes over
/// is the bridge's affair.
struct Fake {
    calls: Receiver<Held>,
}

/// A call that waits for the test to answer.
struct Held {
    stream: UnixStream,
    message: Value,
}

impl Fake {
    fn new(setup: &Setup) -> Fake {
        let listener = UnixListener::bind(setup.socket()).expect("the path is free");
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || serve(&stream, &sender));
            }
        });
        Fake { calls }
    }

    /// The next call that arrives.
    fn call(&self) -> Held {
        self.calls.recv_timeout(PATIENCE).expect("a call comes")
    }
}

/// Hands a connection's calls on; `session_open` is answered on the way.
fn serve(stream: &UnixStream, calls: &Sender<Held>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line).expect("it is JSON");
        let held = Held { stream: stream.try_clone().expect("descriptors are left"), message };
        if held.message["type"] == "session_open" {
            held.say(&json!({"ok": true, "reason": "session_open_queued"}));
        } else if calls.send(held).is_err() {
            return;
        }
    }
}

impl Held {
    fn method(&self) -> &str {
        self.message["method"].as_str().expect("a method")
    }

    fn say(&self, reply: &Value) {
        (&self.stream).write_all(format!("{reply}\n").as_bytes()).expect("the bridge reads");
    }

    fn answer(&self, result: Value) {
        self.say(&json!({"jsonrpc": "2.0", "id": self.message["id"], "result": result}));
    }

    fn refuse(&self, message: &str) {
        self.say(&json!({"jsonrpc": "2.0", "id": self.message["id"], "error": {"code": -32001, "message": message}}));
    }

    /// The daemon dies, as far as this connection can tell.
    fn die(&self) {
        self.stream.shutdown(Shutdown::Both).expect("it is open");
    }
}

fn inserted() -> Value {
    json!({"status": "inserted", "record_id": "r", "reason": "tier=episodic"})
}

#[test]
fn with_no_daemon_it_is_known_and_a_call_fails_loudly_until_one_is_there() {
    let setup = Setup::new();
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    let listed = bridge.request("tools/list", json!({}));
    assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(11));
    let failed = bridge.tool("memory_recall", json!({"cue": "tea"}));
    assert_eq!(failed["error"]["code"], -32002);
    let message = failed["error"]["message"].as_str().expect("a text");
    assert!(message.starts_with("daemon_unreachable: ") && message.contains("iaid serve"), "{message}");
    let daemon = setup.start();
    assert_eq!(bridge.done("memory_capture", json!({"text": "tea is at five"}))["status"], "inserted");
    // The session that could not be announced at first has been by now.
    let state = fs::read_to_string(daemon.setup().store().join(".daemon-state.json")).expect("it is written");
    assert!(state.contains("the-session"), "{state}");
}

#[test]
fn each_tool_does_what_it_says() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    let listed = bridge.request("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().expect("a list").clone();
    let mut call = |name: &str, arguments: Value| {
        let tool = tools.iter().find(|tool| tool["name"] == name).expect("it is listed");
        conforms(&arguments, &tool["inputSchema"], name);
        let result = bridge.done(name, arguments);
        conforms(&result, &tool["outputSchema"], name);
        result
    };
    let first = call("memory_capture", json!({"text": "The staging port is 5433."}))["record_id"].take();
    let second = call("memory_capture", json!({"text": "Staging runs on the host tern."}))["record_id"].take();
    let recalled = call("memory_recall", json!({"cue": "staging port", "limit": 5}));
    assert_eq!(recalled["hits"][0]["literal_surface"], "The staging port is 5433.");
    assert_eq!(recalled["hits"][0]["session_id"], "the-session");
    assert!(recalled["hits"][0]["reason"].as_str().is_some_and(|reason| reason.starts_with("of this project")));
    assert_eq!(call("memory_reinforce", json!({"ids": [first, second]}))["edges_boosted"], 1);
    let corrected = call("memory_contradict", json!({"id": first, "new_fact": "The staging port is 5434."}));
    assert_eq!(corrected["original_id"], first);
    let held = call("memory_recall", json!({"cue": "staging port"}));
    assert_eq!(held["hits"][0]["literal_surface"], "The staging port is 5434.");
    let by_who = call("memory_recall_structural", json!({"structure_query": {"session": "the-session"}}));
    assert_eq!(by_who["hits"].as_array().map(Vec::len), Some(3));
    assert_eq!(call("memory_consolidate", json!({}))["mode"], "heavy");
    assert_eq!(call("profile_get_set", json!({"operation": "get"}))["total_knobs"], 11);
    let set = json!({"operation": "set", "knob": "wake_depth", "value": "deep"});
    assert_eq!(call("profile_get_set", set)["status"], "ok");
    assert_eq!(call("profile_get_set", json!({"operation": "get", "knob": "wake_depth"}))["value"], "deep");
    assert_eq!(call("curiosity_pending", json!({}))["count"], 1);
    assert!(call("schema_list", json!({"confidence_min": 0.5}))["schemas"].is_array());
    assert_eq!(call("events_query", json!({"kind": "s4_contradiction"}))["count"], 1);
    assert_eq!(call("topology", json!({}))["N"], 3);
}

#[test]
fn the_tools_take_what_the_daemons_methods_take() {
    let daemon = setup();
    let methods = daemon.client().call("rpc.discover", json!({}))["methods"].take();
    let find = |name: &str| {
        let named = |method: &&Value| method["name"] == name;
        methods.as_array().expect("a list").iter().find(named).unwrap_or_else(|| panic!("no method {name}")).clone()
    };
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    let listed = bridge.request("tools/list", json!({}));
    for tool in listed["result"]["tools"].as_array().expect("a list") {
        let name = tool["name"].as_str().expect("a name");
        // One tool stands for two methods, and says which with a param of its own.
        if name == "profile_get_set" {
            continue;
        }
        let method = find(name);
        let input = &tool["inputSchema"];
        let mut params: Vec<&str> =
            input["properties"].as_object().expect("an object").keys().map(String::as_str).collect();
        for param in method["params"].as_array().expect("a list") {
            let own = param["name"].as_str().expect("a name");
            let property = &input["properties"][own];
            assert!(property.is_object(), "{name} lacks {own}");
            params.retain(|param| *param != own);
            let required = input["required"].as_array().is_some_and(|required| required.contains(&param["name"]));
            assert_eq!(param["required"], required, "{name}: {own}");
            let kind = &property["type"];
            assert!(*kind == param["type"] || param["type"] == "any", "{name}: {own} is {kind}");
            // What the bridge fills in has no fixed default.
            if let Some(default) = property.get("default") {
                assert_eq!(*default, param["default"], "{name}: {own}");
            }
        }
        assert!(params.is_empty(), "{name} has {params:?}, and its method does not");
        let results: Vec<&str> =
            method["result"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        for key in results {
            assert!(tool["outputSchema"]["properties"][key].is_object(), "{name} gives {key}");
        }
    }
}

#[test]
fn what_the_daemon_refuses_is_for_the_model_to_mend() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-06-18");
    for (name, arguments, text) in [
        ("memory_recall", json!({}), "missing required param: 'cue'"),
        ("memory_recall", json!({"cue": "x", "limit": 0}), "param 'limit' must be an integer from 1 to 100"),
        ("profile_get_set", json!({"operation": "set", "knob": "wake_depth", "value": "x"}), "wake_depth"),
        ("events_query", json!({"kind": "x"}), "kind 'x' is not user-visible"),
        ("memory_contradict", json!({"id": "x", "new_fact": "y"}), "'id'"),
    ] {
        let reply = bridge.tool(name, arguments);
        let said = reply["result"]["content"][0]["text"].as_str().unwrap_or_default();
        assert!(reply["result"]["isError"] == true && said.contains(text), "{name}: {reply}");
    }
}

#[test]
fn a_capture_whose_daemon_dies_is_made_again_and_a_contradiction_is_not() {
    let setup = Setup::new();
    let fake = Fake::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");

    let capture = bridge.begin_tool("memory_capture", json!({"text": "tea is at five"}));
    let lost = fake.call();
    lost.die();
    // A dying daemon may take the next connection, too.
    let again = fake.call();
    again.die();
    let again = fake.call();
    assert_eq!((lost.method(), &lost.message["params"]), (again.method(), &again.message["params"]));
    again.answer(json!({"status": "reinforced", "record_id": "r", "reason": "known"}));
    assert_eq!(bridge.reply(capture)["result"]["structuredContent"]["status"], "reinforced");

    for (name, arguments) in [
        ("memory_contradict", json!({"id": "r", "new_fact": "at six"})),
        ("memory_reinforce", json!({"ids": ["r", "q"]})),
    ] {
        let once = bridge.begin_tool(name, arguments);
        let lost = fake.call();
        assert_eq!(lost.method(), name);
        lost.die();
        let failed = bridge.reply(once);
        assert_eq!(failed["error"]["code"], -32002, "{failed}");
        let message = failed["error"]["message"].as_str().expect("a text");
        assert!(message.contains("may have been carried out") && message.contains("memory_recall"), "{message}");
        // The next call works, and is the next that comes.
        let next = bridge.begin_tool("topology", json!({}));
        let call = fake.call();
        assert_eq!(call.method(), "topology", "{name} came again");
        call.answer(json!({}));
        assert_eq!(bridge.reply(next)["result"]["isError"], false);
    }
}

#[test]
fn a_call_that_kills_every_daemon_fails_in_the_end() {
    let setup = Setup::new();
    let fake = Fake::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    let recall = bridge.begin_tool("memory_recall", json!({"cue": "tea"}));
    let killer = std::thread::spawn(move || {
        let mut killed = 0;
        while let Ok(call) = fake.calls.recv_timeout(PATIENCE) {
            if call.method() == "topology" {
                call.answer(json!({}));
                return killed;
            }
            call.die();
            killed += 1;
        }
        killed
    });
    assert_eq!(bridge.reply(recall)["error"]["code"], -32002);
    assert_eq!(bridge.tool("topology", json!({}))["result"]["isError"], false);
    // Four times, each with the client's one repetition.
    assert_eq!(killer.join().expect("it counted"), 8);
}

#[test]
fn a_daemon_that_is_stopping_is_waited_for() {
    let setup = Setup::new();
    let fake = Fake::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    let capture = bridge.begin_tool("memory_capture", json!({"text": "tea is at five"}));
    let first = fake.call();
    first.refuse("daemon is stopping");
    let again = fake.call();
    assert_eq!(again.message["params"], first.message["params"]);
    again.answer(inserted());
    assert_eq!(bridge.reply(capture)["result"]["structuredContent"]["status"], "inserted");
}

#[test]
fn no_capture_is_lost_or_doubled_while_the_daemon_is_killed_again_and_again() {
    let mut daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    let text = |n: u32| format!("note number {n} of the log");
    let mut acknowledged = Vec::new();
    let mut n = 0;
    for _ in 0..5 {
        let begun: Vec<(u32, u64)> = (0..40)
            .map(|_| {
                n += 1;
                (n, bridge.begin_tool("memory_capture", json!({"text": text(n)})))
            })
            .collect();
        // Some are answered by then, some are under way, some wait.
        let early = bridge.reply(begun[5].1);
        bridge.early.insert(begun[5].1, early);
        daemon.kill_and_restart();
        for (n, id) in begun {
            let reply = bridge.reply(id);
            assert!(reply.get("error").is_none() && reply["result"]["isError"] == false, "{reply}");
            acknowledged.push(n);
        }
    }
    let stored = stored_texts(&daemon);
    for n in &acknowledged {
        assert_eq!(stored.get(&text(*n)), Some(&1), "note {n}");
    }
    assert_eq!(stored.len(), acknowledged.len());
}

/// Every record's text, with how often it is there.
fn stored_texts(daemon: &Daemon) -> BTreeMap<String, usize> {
    let mut client = daemon.client();
    let mut texts = BTreeMap::new();
    let mut cursor = Value::Null;
    loop {
        let page = client.call("store_export", json!({"cursor": cursor, "limit": 1000}));
        for row in page["rows"].as_array().expect("rows") {
            if let Some(text) = row["text"].as_str() {
                *texts.entry(text.to_owned()).or_default() += 1;
            }
        }
        cursor = page["cursor"].clone();
        if cursor.is_null() {
            return texts;
        }
    }
}

#[test]
fn a_slow_call_holds_up_no_other_and_a_cancelled_one_is_not_answered() {
    let setup = Setup::new();
    let fake = Fake::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");

    let slow = bridge.begin_tool("memory_recall", json!({"cue": "slow"}));
    let held = fake.call();
    for n in 0..3 {
        let quick = bridge.begin_tool("topology", json!({}));
        fake.call().answer(json!({"N": n}));
        assert_eq!(bridge.reply(quick)["result"]["structuredContent"]["N"], n);
    }
    bridge.cancel(slow);
    // The bridge has read that once it answers what stands behind it.
    bridge.request("ping", json!({}));
    held.answer(json!({"hits": []}));
    // What was sent is drained: calls that fill every connection each get their own reply.
    let begun: Vec<u64> = (0..4).map(|_| bridge.begin_tool("topology", json!({}))).collect();
    let calls: Vec<Held> = (0..4).map(|_| fake.call()).collect();
    calls.iter().for_each(|call| call.answer(json!({"N": 7})));
    begun.into_iter().for_each(|id| assert_eq!(bridge.reply(id)["result"]["structuredContent"]["N"], 7));
    assert!(bridge.end().success());
    bridge.said_all();
}

#[test]
fn a_call_that_is_cancelled_while_it_waits_is_never_sent() {
    let setup = Setup::new();
    let fake = Fake::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    let begun: Vec<u64> = (0..4).map(|_| bridge.begin_tool("topology", json!({}))).collect();
    let calls: Vec<Held> = (0..4).map(|_| fake.call()).collect();
    let waiting = bridge.begin_tool("memory_capture", json!({"text": "not to be stored"}));
    let last = bridge.begin_tool("schema_list", json!({}));
    bridge.cancel(waiting);
    bridge.cancel(999);
    bridge.request("ping", json!({}));
    calls.iter().for_each(|call| call.answer(json!({})));
    begun.into_iter().for_each(|id| drop(bridge.reply(id)));
    let call = fake.call();
    assert_eq!(call.method(), "schema_list");
    call.answer(json!({}));
    assert_eq!(bridge.reply(last)["result"]["isError"], false);
    assert!(bridge.end().success());
    bridge.said_all();
    assert!(fake.calls.try_recv().is_err());
}

#[test]
fn what_is_no_message_is_answered_and_the_next_one_served() {
    let setup = Setup::new();
    let mut bridge = Bridge::start(&setup);
    let long = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"x\":\"{}\"}}", "y".repeat(1 << 20));
    for (line, code, text) in [
        (&b"{\"jsonrpc\":"[..], -32700, "EOF"),
        (b"\xff\xfe", -32700, "invalid UTF-8 at byte 1"),
        (b"hello", -32700, "expected value"),
        (b"{}", -32600, "jsonrpc must be '2.0'"),
        (b"[1]", -32600, "only protocol version 2025-03-26 has arrays"),
        (b"{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600, "id must be"),
        (long.as_bytes(), -32600, "line exceeds 1048576 bytes"),
    ] {
        bridge.send_line(line);
        let reply = bridge.line();
        let said = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(reply["id"].is_null() && reply["error"]["code"] == code && said.contains(text), "{reply}");
    }
    bridge.send_line(b"");
    bridge.send_line(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nothing\"}");
    assert_eq!(bridge.request("ping", json!({}))["result"], json!({}));
    assert_eq!(bridge.request("prompts/list", json!({}))["error"]["code"], -32601);
    // A last line without its newline counts.
    let input = bridge.input.as_mut().expect("its input is open");
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":\"last\",\"method\":\"ping\"}").expect("it reads");
    assert!(bridge.end().success());
    assert_eq!(bridge.line()["id"], "last");
    bridge.said_all();
}

#[test]
fn at_the_end_of_input_what_is_under_way_is_answered() {
    let setup = Setup::new();
    let fake = Fake::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    // More than are called at once: some still wait.
    let begun: Vec<u64> =
        (0..9).map(|n| bridge.begin_tool("memory_capture", json!({"text": format!("note {n}")}))).collect();
    let first: Vec<Held> = (0..4).map(|_| fake.call()).collect();
    bridge.input = None;
    first.iter().for_each(|call| call.answer(inserted()));
    (4..9).for_each(|_| fake.call().answer(inserted()));
    for id in begun {
        assert_eq!(bridge.reply(id)["result"]["isError"], false);
    }
    assert!(bridge.wait().success());
    bridge.said_all();
}

#[test]
fn a_signal_ends_it_after_what_is_under_way() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let setup = Setup::new();
        fs::create_dir(setup.store()).expect("it is new");
        let fake = Fake::new(&setup);
        let mut bridge = Bridge::ready(&setup, "2025-11-25");
        until("there is a heartbeat", || heartbeats(&setup).len() == 1);
        let call = bridge.begin_tool("memory_capture", json!({"text": "tea is at five"}));
        let sent = fake.call();
        let pid = bridge.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().expect("kill runs").success());
        sent.answer(inserted());
        assert_eq!(bridge.reply(call)["result"]["isError"], false);
        assert!(bridge.wait().success(), "{signal}");
        assert_eq!(heartbeats(&setup), Vec::<PathBuf>::new());
    }
}

#[test]
fn it_ends_with_its_parent_though_its_input_stays_open() {
    let daemon = setup();
    let bridge = command(daemon.setup());
    // A shell that starts it beside itself, hands its own input on, and ends when the test says so.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 3<&0; \"$@\" <&3 & read -r line < \"$0\""]);
    let told = daemon.setup().home().join("told");
    assert!(Command::new("mkfifo").arg(&told).status().expect("mkfifo runs").success());
    shell.arg(&told).arg(bridge.get_program()).args(bridge.get_args());
    for (name, value) in bridge.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut bridge = Bridge::start_by(&mut shell);
    bridge.request("initialize", initialize("2025-11-25"));
    assert_eq!(bridge.done("topology", json!({}))["N"], 0);
    until("there is a heartbeat", || heartbeats(daemon.setup()).len() == 1);
    fs::write(&told, "go\n").expect("the shell reads");
    bridge.wait();
    // Its output ends with it.
    bridge.said_all();
    assert!(heartbeats(daemon.setup()).is_empty());
    assert!(bridge.input.is_some());
}

fn heartbeats(setup: &Setup) -> Vec<PathBuf> {
    let entries = fs::read_dir(setup.store().join("wrappers")).into_iter().flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

#[test]
fn the_heartbeat_says_who_sits_here() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    until("there is a heartbeat", || heartbeats(daemon.setup()).len() == 1);
    let path = heartbeats(daemon.setup()).remove(0);
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let beat: Value = serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("it is JSON");
    assert_eq!(beat["pid"], bridge.child.id());
    assert_eq!(name, format!("heartbeat-{}-{}.json", bridge.child.id(), beat["uuid"].as_str().expect("a text")));
    assert!(bridge.end().success());
    assert!(!path.exists());
}

#[test]
fn batches_are_answered_together_in_the_version_that_has_them() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-03-26");
    let capture = json!({"name": "memory_capture", "arguments": {"text": "tea is at five"}});
    bridge.send(&json!([
        {"jsonrpc": "2.0", "id": "a", "method": "ping"},
        {"jsonrpc": "2.0", "method": "notifications/nothing"},
        {"jsonrpc": "2.0", "id": "b", "method": "tools/call", "params": capture},
        {"jsonrpc": "2.0", "id": "c", "method": "nothing"},
    ]));
    let replies = bridge.line();
    let ids: Vec<&Value> = replies.as_array().expect("an array").iter().map(|reply| &reply["id"]).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(replies[1]["result"]["isError"], false);
    bridge.send(&json!([{"jsonrpc": "2.0", "id": "d", "method": "ping"}]));
    assert_eq!(bridge.line(), json!([{"jsonrpc": "2.0", "id": "d", "result": {}}]));
}

#[test]
fn a_client_without_a_handshake_is_served() {
    let daemon = setup();
    let mut bridge = Bridge::start(daemon.setup());
    let mut modern = |method: &str, mut params: Value| {
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        bridge.request(method, params)["result"].take()
    };
    assert_eq!(modern("server/discover", json!({}))["supportedVersions"], json!(["2026-07-28"]));
    assert_eq!(modern("tools/list", json!({}))["resultType"], "complete");
    let called = modern("tools/call", json!({"name": "topology"}));
    assert_eq!((&called["resultType"], &called["structuredContent"]["N"]), (&json!("complete"), &json!(0)));
}

#[test]
#[cfg(target_os = "linux")]
fn it_stays_small() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    bridge.request("tools/list", json!({}));
    let words = "word ".repeat(1000);
    for n in 0..100 {
        bridge.done("memory_capture", json!({"text": format!("note {n}: {words}")}));
    }
    // Ordinary use leaves little; large replies, several at once, leave nothing.
    let large = json!({"cue": "", "limit": 100, "budget_tokens": 1_000_000});
    for _ in 0..3 {
        let begun: Vec<u64> = (0..4).map(|_| bridge.begin_tool("memory_recall", large.clone())).collect();
        begun.into_iter().for_each(|id| assert_eq!(bridge.reply(id)["result"]["isError"], false));
    }
    bridge.done("memory_recall", json!({"cue": "note"}));
    let own = bridge.memory("RssAnon");
    // Without optimisation there is more to relocate, which counts as its own.
    assert!(own < if cfg!(debug_assertions) { 1280 } else { 1024 }, "{own} KiB of its own");
    until("what is not used is given back", || bridge.memory("VmRSS") < 4096);
    bridge.done("memory_recall", json!({"cue": "note"}));
    // Code is several times as large where it is not optimised.
    if !cfg!(debug_assertions) {
        assert!(bridge.memory("VmRSS") < 4096, "{} KiB", bridge.memory("VmRSS"));
    }
}

/// Is the value what the schema says? As far as the tools' schemas go.
fn conforms(value: &Value, schema: &Value, at: &str) {
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => return,
    };
    let fits = |kind: &&str| match *kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("{at}: an unknown type {other}"),
    };
    assert!(kinds.iter().any(fits), "{at}: {value} is not of {kinds:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(value.is_null() || allowed.contains(value), "{at}: {value} is none of {allowed:?}");
    }
    if let Some(number) = value.as_f64() {
        assert!(schema["minimum"].as_f64().is_none_or(|least| number >= least), "{at}: {number}");
        assert!(schema["maximum"].as_f64().is_none_or(|most| number <= most), "{at}: {number}");
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(item, &schema["items"], at);
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(value.get(required.as_str().expect("a name")).is_some(), "{at}: {required} is missing in {value}");
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let known = schema["properties"].get(name);
        let known = known.or_else(|| schema.get("additionalProperties"));
        conforms(inner, known.unwrap_or(&Value::Null), &format!("{at}.{name}"));
    }
}
