//! `iaid mcp` as a process: lines in, lines out, with a real daemon, without one, and with a fake one whose
//! replies the test chooses.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};

use serde_json::{Value, json};

use crate::harness::{Daemon, PATIENCE, Setup, kill_command, setup, until};

/// A running bridge, and the client's end of it.
struct Bridge {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    next_id: u64,
    /// Replies that were received before the test asked for them.
    early: BTreeMap<u64, Value>,
}

impl Bridge {
    fn start(setup: &Setup) -> Bridge {
        Bridge::start_by(&mut command(setup))
    }

    fn start_by(command: &mut Command) -> Bridge {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program runs");
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            output.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok());
        });
        let input = child.stdin.take();
        Bridge { child, input, lines, next_id: 1, early: BTreeMap::new() }
    }

    /// Starts a bridge and completes the handshake with this version.
    fn ready(setup: &Setup, version: &str) -> Bridge {
        let mut bridge = Bridge::start(setup);
        let reply = bridge.request("initialize", initialize(version));
        assert_eq!(reply["result"]["protocolVersion"], version);
        bridge.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        bridge
    }

    fn send_line(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(line).and_then(|()| input.write_all(b"\n")).expect("the bridge reads");
    }

    fn send(&mut self, message: &Value) {
        self.send_line(message.to_string().as_bytes());
    }

    fn line(&self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).expect("a line");
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?} is not JSON: {e}"))
    }

    /// Sends a request and returns its id.
    fn begin(&mut self, method: &str, params: Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    fn begin_tool(&mut self, name: &str, arguments: Value) -> u64 {
        self.begin("tools/call", json!({"name": name, "arguments": arguments}))
    }

    /// Waits for the reply to a request, keeping other replies.
    fn reply(&mut self, id: u64) -> Value {
        while !self.early.contains_key(&id) {
            let reply = self.line();
            let id = reply["id"].as_u64().unwrap_or_else(|| panic!("{reply} has no request's id"));
            assert!(self.early.insert(id, reply).is_none(), "two replies to {id}");
        }
        self.early.remove(&id).expect("a reply")
    }

    fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.begin(method, params);
        self.reply(id)
    }

    fn tool(&mut self, name: &str, arguments: Value) -> Value {
        let id = self.begin_tool(name, arguments);
        self.reply(id)
    }

    /// Calls a tool and returns its result. Fails if the tool does.
    fn succeed(&mut self, name: &str, arguments: Value) -> Value {
        let mut reply = self.tool(name, arguments);
        assert_eq!(reply["result"]["isError"], false, "{name}: {reply}");
        reply["result"]["structuredContent"].take()
    }

    fn cancel(&mut self, id: u64) {
        let params = json!({"requestId": id, "reason": "the user changed their mind"});
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
    }

    /// Ends the input and waits for the bridge to end.
    fn end(&mut self) -> ExitStatus {
        self.input = None;
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the bridge has ended", || {
            status = self.child.try_wait().expect("wait succeeds");
            status.is_some()
        });
        status.expect("an exit status")
    }

    /// Asserts that the ended bridge wrote no further line.
    fn assert_no_more_lines(&self) {
        assert_eq!(self.lines.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
        assert!(self.early.is_empty(), "{:?}", self.early);
    }

    /// Returns a value of `/proc/PID/status`, in KiB.
    #[cfg(target_os = "linux")]
    fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the program runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("Linux has this field");
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // Both fail if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the command that starts a bridge, with the session and project of the test.
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

/// A daemon whose replies the test chooses. It accepts any number of connections.
struct FakeDaemon {
    calls: Receiver<HeldCall>,
}

/// A call that the test answers.
struct HeldCall {
    stream: UnixStream,
    message: Value,
}

impl FakeDaemon {
    fn new(setup: &Setup) -> FakeDaemon {
        let listener = UnixListener::bind(setup.socket()).expect("the path is free");
        let (sender, calls) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let sender = sender.clone();
                std::thread::spawn(move || serve(&stream, &sender));
            }
        });
        FakeDaemon { calls }
    }

    /// Waits for the next call.
    fn call(&self) -> HeldCall {
        self.calls.recv_timeout(PATIENCE).expect("a call")
    }
}

/// Passes on the calls of a connection, and answers `session_open`.
fn serve(stream: &UnixStream, calls: &Sender<HeldCall>) {
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let message: Value = serde_json::from_str(&line).expect("it is JSON");
        let held = HeldCall { stream: stream.try_clone().expect("the descriptor is duplicated"), message };
        if held.message["type"] == "session_open" {
            held.write(&json!({"ok": true, "reason": "session_open_queued"}));
        } else if calls.send(held).is_err() {
            return;
        }
    }
}

impl HeldCall {
    fn method(&self) -> &str {
        self.message["method"].as_str().expect("a method")
    }

    fn write(&self, reply: &Value) {
        (&self.stream).write_all(format!("{reply}\n").as_bytes()).expect("the bridge reads");
    }

    fn answer(&self, result: Value) {
        self.write(&json!({"jsonrpc": "2.0", "id": self.message["id"], "result": result}));
    }

    fn refuse(&self, message: &str) {
        self.write(&json!({"jsonrpc": "2.0", "id": self.message["id"], "error": {"code": -32001, "message": message}}));
    }

    /// Closes the connection, as a daemon that dies.
    fn die(&self) {
        self.stream.shutdown(Shutdown::Both).expect("it is open");
    }
}

fn inserted() -> Value {
    json!({"status": "inserted", "record_id": "r", "reason": "tier=episodic"})
}

#[test]
fn without_a_daemon_tools_are_listed_and_calls_fail() {
    let setup = Setup::new();
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    let listed = bridge.request("tools/list", json!({}));
    assert_eq!(listed["result"]["tools"].as_array().map(Vec::len), Some(12));
    let failed = bridge.tool("memory_recall", json!({"cue": "tea"}));
    assert_eq!(failed["error"]["code"], -32002);
    let message = failed["error"]["message"].as_str().expect("a text");
    assert!(message.starts_with("daemon_unreachable: ") && message.contains("iaid serve"), "{message}");
    let daemon = setup.start();
    assert_eq!(bridge.succeed("memory_capture", json!({"text": "tea is at five"}))["status"], "inserted");
    // The announcement of the session failed at first and was repeated.
    let state = fs::read_to_string(daemon.setup().store().join(".daemon-state.json")).expect("it is written");
    assert!(state.contains("the-session"), "{state}");
}

#[test]
fn a_capture_belongs_to_the_thread_that_the_call_names() {
    let daemon = setup();
    let mut command = command(daemon.setup());
    command.env_remove("IAI_MCP_SESSION_ID");
    let mut bridge = Bridge::start_by(&mut command);
    bridge.request("initialize", initialize("2025-06-18"));
    for (text, thread) in [("tea is at five", "t-1"), ("supper is at eight", "t-2")] {
        let meta = json!({"threadId": thread, "progressToken": 1});
        let params = json!({"name": "memory_capture", "arguments": {"text": text}, "_meta": meta});
        assert_eq!(bridge.request("tools/call", params)["result"]["isError"], false);
    }
    for (thread, text) in [("t-1", "tea is at five"), ("t-2", "supper is at eight")] {
        let query = json!({"structure_query": {"session": thread}});
        let hits = daemon.client().call("memory_recall_structural", query)["hits"].take();
        assert_eq!((&hits[0]["literal_surface"], hits.as_array().map(Vec::len)), (&json!(text), Some(1)), "{thread}");
    }
}

#[test]
fn a_capture_belongs_to_the_session_that_the_assistant_has_now() {
    let daemon = setup();
    let setup = daemon.setup();
    let mut command = command(setup);
    command.env_remove("IAI_MCP_SESSION_ID").env("CLAUDE_CODE_SESSION_ID", "s-1");
    let mut bridge = Bridge::start_by(&mut command);
    bridge.request("initialize", initialize("2025-06-18"));
    let hook = |event: &str, session: &str, extra: Value| {
        let mut hook = setup.program();
        hook.arg("--socket").arg(setup.socket()).args(["hook", event]).env("IAI_MCP_STORE", setup.store());
        hook.env("CLAUDE_PID", std::process::id().to_string()).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut input = json!({"session_id": session, "transcript_path": setup.home().join("none.jsonl")});
        input.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let mut hook = hook.spawn().expect("the binary runs");
        hook.stdin.take().expect("it is piped").write_all(input.to_string().as_bytes()).expect("it reads");
        assert!(hook.wait().expect("it ends").success());
    };
    let session_of = |bridge: &mut Bridge, text: &str| {
        bridge.succeed("memory_capture", json!({"text": text}));
        let found = daemon.client().call("memory_recall", json!({"cue": text}));
        found["hits"][0]["session_id"].as_str().expect("a hit").to_owned()
    };
    assert_eq!(session_of(&mut bridge, "tea is at five"), "s-1");
    hook("session-start", "s-1", json!({}));
    assert_eq!(session_of(&mut bridge, "supper is at eight"), "s-1");
    // The user begins another session in the same process; the hooks of the two may overlap.
    hook("session-start", "s-2", json!({"source": "clear"}));
    hook("session-end", "s-1", json!({"reason": "clear"}));
    hook("user-prompt-submit", "s-3", json!({"agent_id": "a subagent"}));
    hook("user-prompt-submit", "s-4", json!({"turn_id": "of a Codex that was started by it"}));
    assert_eq!(session_of(&mut bridge, "breakfast is at six"), "s-2");
    hook("session-end", "s-2", json!({"reason": "other"}));
    let left = fs::read_dir(setup.store().join(".capture-state")).expect("it exists");
    let left: Vec<_> = left.map(|entry| entry.expect("it is readable").file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("process-")), "{left:?}");
}

#[test]
fn each_tool_accepts_and_returns_what_its_schemas_say() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    let listed = bridge.request("tools/list", json!({}));
    let tools = listed["result"]["tools"].as_array().expect("a list").clone();
    let mut call = |name: &str, arguments: Value| {
        let tool = tools.iter().find(|tool| tool["name"] == name).expect("it is listed");
        conforms(&arguments, &tool["inputSchema"], name);
        let result = bridge.succeed(name, arguments);
        conforms(&result, &tool["outputSchema"], name);
        result
    };
    let first = call("memory_capture", json!({"text": "The staging port is 5433."}))["record_id"].take();
    let second = call("memory_capture", json!({"text": "Staging runs on the host tern."}))["record_id"].take();
    let recalled = call("memory_recall", json!({"cue": "staging port", "limit": 5}));
    assert_eq!(recalled["hits"][0]["literal_surface"], "The staging port is 5433.");
    assert_eq!(recalled["hits"][0]["session_id"], "the-session");
    let read = call("memory_read", json!({"id": first, "at": 4, "bytes": 7}));
    assert_eq!((&read["literal_surface"], &read["passage"]), (&json!("staging"), &json!({"at": 4, "bytes": 7})));
    assert_eq!(call("memory_reinforce", json!({"ids": [first, second]}))["edges_boosted"], 1);
    let corrected = call("memory_contradict", json!({"id": first, "new_fact": "The staging port is 5434."}));
    assert_eq!(corrected["original_id"], first);
    let held = call("memory_recall", json!({"cue": "staging port"}));
    assert_eq!(held["hits"][0]["literal_surface"], "The staging port is 5434.");
    let by_who = call("memory_recall_structural", json!({"structure_query": {"session": "the-session"}}));
    assert_eq!(by_who["hits"].as_array().map(Vec::len), Some(3));
    assert_eq!(call("memory_consolidate", json!({}))["mode"], "heavy");
    assert_eq!(call("profile_get_set", json!({"operation": "get", "knob": "wake_depth"}))["value"], "minimal");
    let set = json!({"operation": "set", "knob": "wake_depth", "value": "deep"});
    assert_eq!(call("profile_get_set", set)["status"], "ok");
    assert_eq!(call("profile_get_set", json!({"operation": "get", "knob": "wake_depth"}))["value"], "deep");
    assert_eq!(call("curiosity_pending", json!({}))["count"], 1);
    assert!(call("schema_list", json!({"confidence_min": 0.5}))["schemas"].is_array());
    assert_eq!(call("events_query", json!({"kind": "s4_contradiction"}))["count"], 1);
    assert_eq!(call("topology", json!({}))["N"], 3);
}

#[test]
fn further_words_may_be_one_string() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    bridge.succeed("memory_capture", json!({"text": "Rex, our golden retriever, turned three."}));
    for also in [json!(["dog", "retriever", " "]), json!("dog, retriever、 "), json!("dog\nretriever\n,,\n ")] {
        let found = bridge.succeed("memory_recall", json!({"cue": "which animals are there?", "also": also}));
        assert_eq!(found["hits"][0]["literal_surface"], "Rex, our golden retriever, turned three.", "{also}");
        assert_eq!(found["also_left_out"], 1, "{also}");
    }
    let refused = bridge.tool("memory_recall", json!({"cue": "x", "also": {}}));
    assert_eq!(refused["result"]["isError"], true, "{refused}");
}

#[test]
fn what_looks_like_a_secret_is_named_in_the_result() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    let token = ["gh", "p_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGhJ"].concat();
    let kinds = json!(["github-token"]);
    let by_text = bridge.succeed("memory_capture", json!({"text": format!("the key is {token}")}));
    assert_eq!((&by_text["status"], &by_text["secrets"]), (&json!("inserted"), &kinds));
    let by_cue = bridge.succeed("memory_capture", json!({"text": "the key of the build server", "cue": token}));
    assert_eq!((&by_cue["status"], &by_cue["secrets"]), (&json!("inserted"), &kinds));
    let replace = |fact: &str| json!({"id": by_cue["record_id"], "new_fact": fact});
    let replaced = bridge.succeed("memory_contradict", replace(&format!("the key is {token} since today")));
    assert_eq!(replaced["secrets"], kinds, "{replaced}");
    for (tool, arguments) in
        [("memory_contradict", replace("the key is in the safe")), ("memory_capture", json!({"text": "plain"}))]
    {
        let plain = bridge.succeed(tool, arguments);
        assert_eq!(plain["secrets"], Value::Null, "{plain}");
    }
}

#[test]
fn tools_have_the_params_of_their_methods() {
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
        // This tool covers two methods and has a param to choose.
        if name == "profile_get_set" {
            continue;
        }
        let method = find(name);
        let input = &tool["inputSchema"];
        let mut params: Vec<&str> =
            input["properties"].as_object().expect("an object").keys().map(String::as_str).collect();
        for param in method["params"].as_array().expect("a list") {
            let param_name = param["name"].as_str().expect("a name");
            // The bridge asks for passages by itself.
            if param_name == "passages" {
                continue;
            }
            // Annotations are for other clients: an assistant puts such things into the text.
            if ["epistemic_status", "salience_level", "next_action", "focus", "goal"].contains(&param_name) {
                continue;
            }
            // One is for the bridge itself, which always sends it; the other has no effect.
            if ["passages", "language"].contains(&param_name) {
                continue;
            }
            let property = &input["properties"][param_name];
            // The bridge sends its project, which no model has to know.
            if ["project", "project_folder", "project_scope"].contains(&param_name) && !property.is_object() {
                continue;
            }
            assert!(property.is_object(), "{name} lacks {param_name}");
            params.retain(|param| *param != param_name);
            let required = input["required"].as_array().is_some_and(|required| required.contains(&param["name"]));
            assert_eq!(param["required"], required, "{name}: {param_name}");
            let kind = &property["type"];
            assert!(*kind == param["type"] || param["type"] == "any", "{name}: {param_name} is {kind}");
            // Params that the bridge fills in have no fixed default.
            // And a part is shorter by default than all of a record.
            if let Some(default) = property.get("default").filter(|_| param_name != "bytes") {
                assert_eq!(*default, param["default"], "{name}: {param_name}");
            }
        }
        assert!(params.is_empty(), "{name} has {params:?}, which its method lacks");
        let results: Vec<&str> =
            method["result"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        // What the bridge leaves out of a recall, or renames.
        let left_out = ["activation_trace", "budget_used", "cue_mode", "structural_query_size", "first_turn_recall"];
        for key in results.into_iter().filter(|key| !left_out.contains(key)) {
            assert!(tool["outputSchema"]["properties"][key].is_object(), "the output schema of {name} lacks {key}");
        }
    }
}

#[test]
fn errors_of_the_daemon_are_failed_results() {
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
        let message = reply["result"]["content"][0]["text"].as_str().unwrap_or_default();
        assert!(reply["result"]["isError"] == true && message.contains(text), "{name}: {reply}");
    }
}

#[test]
fn only_repeatable_calls_are_sent_again_after_the_daemon_died() {
    let setup = Setup::new();
    let fake = FakeDaemon::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");

    let capture = bridge.begin_tool("memory_capture", json!({"text": "tea is at five"}));
    let lost = fake.call();
    lost.die();
    // A dying daemon may accept the next connection too.
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
        // The next call that arrives is the next one made, so the lost one was not repeated.
        let next = bridge.begin_tool("topology", json!({}));
        let call = fake.call();
        assert_eq!(call.method(), "topology", "{name} was sent again");
        call.answer(json!({}));
        assert_eq!(bridge.reply(next)["result"]["isError"], false);
    }
}

#[test]
fn a_call_that_kills_every_daemon_is_repeated_four_times() {
    let setup = Setup::new();
    let fake = FakeDaemon::new(&setup);
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
    // Four attempts, each sent twice by the client.
    assert_eq!(killer.join().expect("a count"), 8);
}

#[test]
fn a_call_refused_by_a_stopping_daemon_is_sent_again() {
    let setup = Setup::new();
    let fake = FakeDaemon::new(&setup);
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
fn no_capture_is_lost_or_stored_twice_when_the_daemon_is_killed() {
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
        // At the kill, some calls are answered, some are under way, and some wait.
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

/// Returns the texts of all records, with the number of records of each.
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
fn a_slow_call_delays_no_other_and_a_cancelled_one_is_not_answered() {
    let setup = Setup::new();
    let fake = FakeDaemon::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");

    let slow = bridge.begin_tool("memory_recall", json!({"cue": "slow"}));
    let held = fake.call();
    for n in 0..3 {
        let quick = bridge.begin_tool("topology", json!({}));
        fake.call().answer(json!({"N": n}));
        assert_eq!(bridge.reply(quick)["result"]["structuredContent"]["N"], n);
    }
    bridge.cancel(slow);
    // The bridge has read the cancellation once it answers the next request.
    bridge.request("ping", json!({}));
    held.answer(json!({"hits": []}));
    // The late reply was read: calls on every connection get their own replies.
    let begun: Vec<u64> = (0..4).map(|_| bridge.begin_tool("topology", json!({}))).collect();
    let calls: Vec<HeldCall> = (0..4).map(|_| fake.call()).collect();
    calls.iter().for_each(|call| call.answer(json!({"N": 7})));
    begun.into_iter().for_each(|id| assert_eq!(bridge.reply(id)["result"]["structuredContent"]["N"], 7));
    assert!(bridge.end().success());
    bridge.assert_no_more_lines();
}

#[test]
fn a_call_cancelled_while_it_waits_is_not_sent() {
    let setup = Setup::new();
    let fake = FakeDaemon::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    let begun: Vec<u64> = (0..4).map(|_| bridge.begin_tool("topology", json!({}))).collect();
    let calls: Vec<HeldCall> = (0..4).map(|_| fake.call()).collect();
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
    bridge.assert_no_more_lines();
    assert!(fake.calls.try_recv().is_err());
}

#[test]
fn invalid_lines_are_answered_with_errors() {
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
        let message = reply["error"]["message"].as_str().unwrap_or_default();
        assert!(reply["id"].is_null() && reply["error"]["code"] == code && message.contains(text), "{reply}");
    }
    bridge.send_line(b"");
    bridge.send_line(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/nothing\"}");
    assert_eq!(bridge.request("ping", json!({}))["result"], json!({}));
    assert_eq!(bridge.request("completion/complete", json!({}))["error"]["code"], -32601);
    // A last line without a newline is answered.
    let input = bridge.input.as_mut().expect("the input is open");
    input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":\"last\",\"method\":\"ping\"}").expect("the bridge reads");
    assert!(bridge.end().success());
    assert_eq!(bridge.line()["id"], "last");
    bridge.assert_no_more_lines();
}

#[test]
fn received_calls_are_answered_after_the_end_of_input() {
    let setup = Setup::new();
    let fake = FakeDaemon::new(&setup);
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    // More than the callers carry out at once, so some wait.
    let begun: Vec<u64> =
        (0..9).map(|n| bridge.begin_tool("memory_capture", json!({"text": format!("note {n}")}))).collect();
    let first: Vec<HeldCall> = (0..4).map(|_| fake.call()).collect();
    bridge.input = None;
    first.iter().for_each(|call| call.answer(inserted()));
    (4..9).for_each(|_| fake.call().answer(inserted()));
    for id in begun {
        assert_eq!(bridge.reply(id)["result"]["isError"], false);
    }
    assert!(bridge.wait().success());
    bridge.assert_no_more_lines();
}

#[test]
fn a_signal_stops_it_after_received_calls_are_answered() {
    for signal in ["-TERM", "-INT", "-HUP"] {
        let setup = Setup::new();
        fs::create_dir(setup.store()).expect("it is new");
        let fake = FakeDaemon::new(&setup);
        let mut bridge = Bridge::ready(&setup, "2025-11-25");
        until("a heartbeat file exists", || heartbeats(&setup).len() == 1);
        let call = bridge.begin_tool("memory_capture", json!({"text": "tea is at five"}));
        let sent = fake.call();
        let pid = bridge.child.id().to_string();
        assert!(kill_command().args([signal, &pid]).status().expect("kill runs").success());
        sent.answer(inserted());
        assert_eq!(bridge.reply(call)["result"]["isError"], false);
        assert!(bridge.wait().success(), "{signal}");
        assert_eq!(heartbeats(&setup), Vec::<PathBuf>::new());
    }
}

#[test]
fn it_ends_when_its_parent_does() {
    let daemon = setup();
    let bridge = command(daemon.setup());
    // A shell that starts it in the background with the shell's input, and ends on a line in the fifo.
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec 3<&0; \"$@\" <&3 & read -r line < \"$0\""]);
    let fifo = daemon.setup().home().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    shell.arg(&fifo).arg(bridge.get_program()).args(bridge.get_args());
    for (name, value) in bridge.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut bridge = Bridge::start_by(&mut shell);
    bridge.request("initialize", initialize("2025-11-25"));
    assert_eq!(bridge.succeed("topology", json!({}))["N"], 0);
    until("a heartbeat file exists", || heartbeats(daemon.setup()).len() == 1);
    fs::write(&fifo, "go\n").expect("the shell reads");
    bridge.wait();
    // Its output is closed when it ends.
    bridge.assert_no_more_lines();
    assert!(heartbeats(daemon.setup()).is_empty());
    assert!(bridge.input.is_some());
}

#[test]
fn arguments_of_other_types_are_read_by_their_meaning() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    for n in 0..4 {
        bridge
            .succeed("memory_capture", json!({"text": format!("tea number {n} is at five"), "role": "User", "ts": ""}));
    }
    for (arguments, count) in [
        (json!({"cue": "tea"}), 4),
        (json!({"cue": "tea", "limit": "2", "since": "", "until": null, "also": "supper", "budget_tokens": "900"}), 2),
        (json!({"cue": "tea", "limit": 2.0, "session_id": null, "project": null}), 2),
        (json!("{\"cue\": \"tea\", \"limit\": \"3\"}"), 3),
        (json!("{\n\"cue\": \"tea\\n\",\n\"also\": [\n\"supper\"\n]}"), 4),
    ] {
        let found = bridge.succeed("memory_recall", arguments.clone());
        assert_eq!(found["hits"].as_array().map(Vec::len), Some(count), "{arguments}: {found}");
    }
    let by_who = json!({"structure_query": "{\n  \"who\": \"user\",\r\n  \"day\": \"\"\n}"});
    let by_who = bridge.succeed("memory_recall_structural", by_who);
    assert_eq!(by_who["hits"].as_array().map(Vec::len), Some(4));
    bridge.succeed("profile_get_set", json!({"operation": "SET", "knob": "masking_off", "value": "false"}));
    let got = bridge.succeed("profile_get_set", json!({"operation": "get", "knob": "masking_off", "value": null}));
    assert_eq!(got["value"], false);
    // Without their clear meaning they are refused by the daemon, in its words.
    for (arguments, text) in [
        (json!({"cue": "tea", "limit": "many"}), "param 'limit' must be an integer from 1 to 100"),
        (json!({"cue": "tea", "limit": 2.5}), "param 'limit' must be an integer from 1 to 100"),
        (json!({"cue": ["tea"]}), "param 'cue' must be a string"),
        (json!({"cue": null}), "missing required param: 'cue'"),
    ] {
        let refused = bridge.tool("memory_recall", arguments.clone());
        assert_eq!(refused["result"]["content"][0]["text"], text, "{arguments}");
    }
    for params in ["null", "{}", "{\"cursor\":null}", "{\"cursor\":\"x\"}"] {
        for (method, key) in [
            ("prompts/list", "prompts"),
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
        ] {
            bridge.send_line(
                format!("{{\"jsonrpc\":\"2.0\",\"id\":\"x\",\"method\":\"{method}\",\"params\":{params}}}").as_bytes(),
            );
            let reply = bridge.line();
            assert!(reply["result"][key].is_array(), "{method} {params}: {reply}");
        }
    }
}

#[test]
fn a_recall_of_long_records_fits_its_budget() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    let lines = |n: u32| (0..100).map(|at| format!("Line {at} of {n} is about nothing.\n")).collect::<String>();
    for n in 0..12 {
        let text = format!("{}The tea of day {n} is at five.\n{}", lines(n), lines(n));
        let session = format!("5f0e2a7c-1b9d-4e63-8c2a-7d4f9b1e3a{n:02}");
        bridge.succeed("memory_capture", json!({"text": text, "session_id": session}));
    }
    let mut sizes = Vec::new();
    for extra in [json!({"limit": 1}), json!({}), json!({"budget_tokens": 3000})] {
        let mut arguments = json!({"cue": "when is tea?"});
        arguments.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        let result = bridge.tool("memory_recall", arguments)["result"].take();
        let text = result["content"][0]["text"].as_str().expect("a text");
        assert!(text.starts_with("{\"hits\":[{\"record_id\":"), "{text}");
        let reply: Value = serde_json::from_str(text).expect("it is JSON");
        assert_eq!(reply, result["structuredContent"]);
        let hits = reply["hits"].as_array().expect("a list");
        for hit in hits {
            let surface = hit["literal_surface"].as_str().expect("a text");
            assert!(surface.contains("is at five") && hit["passage"]["bytes"] == surface.len(), "{hit}");
            let keys: Vec<&str> = hit.as_object().expect("an object").keys().map(String::as_str).collect();
            let all = "literal_surface passage record_bytes record_id role score session_id ts";
            assert_eq!(keys.join(" "), all);
            let part = json!({"id": hit["record_id"], "at": hit["passage"]["at"], "bytes": "70"});
            let part = bridge.succeed("memory_read", part)["literal_surface"].take();
            assert!(surface.starts_with(part.as_str().expect("a text").trim_end()), "{hit}: {part}");
        }
        sizes.push((hits.len(), text.len()));
    }
    let [one, default, large] = sizes[..] else { panic!("{sizes:?}") };
    assert!(one.0 == 1 && one.1 > 2500 && one.1 < 6000, "{sizes:?}");
    assert!(default.0 >= 5 && default.1 < 5000, "{sizes:?}");
    assert!(large.0 > default.0 && large.1 > default.1 && large.1 < 10_000, "{sizes:?}");
}

#[test]
fn records_and_sessions_are_resources() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-06-18");
    let text = "Tea\u{2028}is \"at\"\nfive.\u{85}";
    let id = bridge.succeed("memory_capture", json!({"text": text, "session_id": "s/1 é"}))["record_id"].take();
    bridge
        .succeed("memory_capture", json!({"text": "Supper is at eight.", "session_id": "s/1 é", "role": "assistant"}));
    let listed = bridge.request("resources/list", json!({}))["result"]["resources"].take();
    let uris: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|one| one["uri"].as_str()).collect();
    let record = format!("iaid://record/{}", id.as_str().expect("an id"));
    assert_eq!(uris, ["iaid://session/s%2F1%20%C3%A9", &record]);
    let mut read = |uri: &str| bridge.request("resources/read", json!({"uri": uri}));
    let contents = read(&record)["result"]["contents"].take();
    assert_eq!(contents, json!([{"uri": record, "mimeType": "text/plain", "text": text}]));
    let session = read("iaid://session/s%2F1%20%C3%A9")["result"]["contents"][0]["text"].take();
    let lines: Vec<&str> = session.as_str().expect("a text").split(' ').collect();
    let roles = |role: &str| lines.iter().position(|word| *word == role).expect("a role");
    assert!(roles("user:") < roles("assistant:"), "{session}");
    for (uri, code) in [
        ("iaid://record/0198c3f2-7a41-7c3e-9d5b-2f1e8a6b4c7d", -32002),
        ("iaid://record/x", -32002),
        ("iaid://session/none", -32002),
        ("file:///etc/passwd", -32002),
    ] {
        let failed = read(uri);
        assert_eq!(
            (&failed["error"]["code"], &failed["error"]["data"]["uri"]),
            (&json!(code), &json!(uri)),
            "{failed}"
        );
    }
}

#[test]
fn without_a_daemon_there_are_no_resources_and_all_prompts() {
    let setup = Setup::new();
    let mut bridge = Bridge::ready(&setup, "2025-11-25");
    assert_eq!(bridge.request("resources/list", json!({}))["result"]["resources"], json!([]));
    let listed = bridge.request("prompts/list", json!({}))["result"]["prompts"].take();
    assert_eq!(listed.as_array().map(Vec::len), Some(3));
    let got = bridge.request("prompts/get", json!({"name": "recall", "arguments": {"about": "a\u{2029}b"}}));
    assert!(got["result"]["messages"][0]["content"]["text"].as_str().is_some_and(|text| text.ends_with("a\u{2029}b")));
    let failed = bridge.request("resources/read", json!({"uri": "iaid://record/x"}));
    assert!(failed["error"]["message"].as_str().is_some_and(|text| text.starts_with("daemon_unreachable")), "{failed}");
}

#[test]
fn lines_have_no_character_that_a_client_may_take_for_their_end() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    let odd = "a\u{2028}b\u{2029}c\u{85}d\u{7f}e\u{9b}f";
    bridge.succeed("memory_capture", json!({"text": odd, "session_id": odd}));
    let mut client = daemon.client();
    let params = json!({"cue": "", "limit": 1});
    client.send(format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": "memory_recall", "params": params})));
    let mut lines = vec![client.line()];
    client.send(format!("{}\n", json!({"jsonrpc": "2.0", "id": 2, "method": odd})));
    lines.push(client.line());
    for (method, params) in [
        ("tools/call", json!({"name": "memory_recall", "arguments": params})),
        ("tools/call", json!({"name": "memory_recall", "arguments": {"cue": "a", "since": odd}})),
        ("tools/call", json!({"name": odd})),
        ("prompts/get", json!({"name": "remember", "arguments": {"what": odd}})),
        ("resources/list", json!({})),
        ("resources/read", json!({"uri": odd})),
        (odd, json!({})),
    ] {
        bridge.begin(method, params);
        lines.push(bridge.lines.recv_timeout(PATIENCE).expect("a line"));
    }
    for line in &lines {
        let is_odd = |c: char| matches!(c, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}');
        assert!(!line.trim_end().contains(is_odd), "{line:?}");
        serde_json::from_str::<Value>(line).expect("it is JSON");
    }
    assert!(lines[0].contains("a\\u2028b\\u2029c\\u0085d\\u007fe\\u009bf"), "{}", lines[0]);
}

#[test]
fn core_has_five_tools() {
    let daemon = setup();
    let mut bridge = Bridge::start_by(command(daemon.setup()).args(["--tools", "core"]));
    let ready = bridge.request("initialize", initialize("2025-11-25"));
    let instructions = ready["result"]["instructions"].as_str().expect("a text");
    for words in ["before you search the repository", "A record about code or files is history"] {
        assert!(instructions.contains(words), "{instructions}");
    }
    let listed = bridge.request("tools/list", json!({}))["result"]["tools"].take();
    let names: Vec<&str> = listed.as_array().expect("a list").iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(
        names,
        ["memory_recall", "memory_read", "memory_recall_structural", "memory_capture", "memory_contradict"]
    );
    bridge.succeed("memory_capture", json!({"text": "tea is at five"}));
    assert_eq!(bridge.tool("topology", json!({}))["error"]["message"], "unknown tool 'topology'");
}

fn heartbeats(setup: &Setup) -> Vec<PathBuf> {
    let entries = fs::read_dir(setup.store().join("wrappers")).into_iter().flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "json")).collect()
}

#[test]
fn the_heartbeat_file_names_the_bridge() {
    let daemon = setup();
    let mut bridge = Bridge::ready(daemon.setup(), "2025-11-25");
    until("a heartbeat file exists", || heartbeats(daemon.setup()).len() == 1);
    let path = heartbeats(daemon.setup()).remove(0);
    let name = path.file_name().expect("a name").to_string_lossy().into_owned();
    let beat: Value = serde_json::from_slice(&fs::read(&path).expect("it is there")).expect("it is JSON");
    assert_eq!(beat["pid"], bridge.child.id());
    assert_eq!(name, format!("heartbeat-{}-{}.json", bridge.child.id(), beat["uuid"].as_str().expect("a text")));
    assert!(bridge.end().success());
    assert!(!path.exists());
}

#[test]
fn a_batch_is_answered_with_one_array() {
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
    // The relocations of the program are anonymous memory too, and an unoptimized build has more of them.
    let at_start = bridge.memory_kib("RssAnon");
    let words = "word ".repeat(1000);
    for n in 0..100 {
        bridge.succeed("memory_capture", json!({"text": format!("note {n}: {words}")}));
    }
    // After ordinary use, and after several large replies at once.
    let large = json!({"cue": "", "limit": 100, "budget_tokens": 1_000_000});
    for _ in 0..3 {
        let begun: Vec<u64> = (0..4).map(|_| bridge.begin_tool("memory_recall", large.clone())).collect();
        begun.into_iter().for_each(|id| assert_eq!(bridge.reply(id)["result"]["isError"], false));
    }
    bridge.succeed("memory_recall", json!({"cue": "note"}));
    let anonymous = bridge.memory_kib("RssAnon");
    assert!(anonymous < at_start + 256, "{anonymous} KiB of anonymous memory, {at_start} at the start");
    assert!(cfg!(debug_assertions) || anonymous < 1024, "{anonymous} KiB of anonymous memory");
    until("unused memory is released", || bridge.memory_kib("VmRSS") < 4096);
    bridge.succeed("memory_recall", json!({"cue": "note"}));
    // The code of an unoptimized build is several times larger.
    if !cfg!(debug_assertions) {
        assert!(bridge.memory_kib("VmRSS") < 4096, "{} KiB", bridge.memory_kib("VmRSS"));
    }
}

/// Asserts that the value conforms to the schema. Covers the constructs that the tools use.
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
    assert!(kinds.iter().any(fits), "{at}: {value} is not of type {kinds:?}");
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(value.is_null() || allowed.contains(value), "{at}: {value} is not in {allowed:?}");
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
