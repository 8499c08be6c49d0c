//! A daemon of iai-mcp 3 beside this one, through the program: the import of its records, and its taking of the socket's
//! path. A listener answers as it does.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, setup, until};

/// The records of each session.
const RECORDS: usize = 130;

/// A listener on a thread that answers each line with `answer`, and closes the connection if that is `None`.
struct Peer {
    _folder: tempfile::TempDir,
    socket: PathBuf,
    /// The params of the calls of `memory_temporal_recall`.
    asked: Arc<Mutex<Vec<Value>>>,
}

impl Peer {
    fn new(answer: impl Fn(&Value, usize) -> Option<String> + Send + 'static) -> Peer {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("p.sock");
        let listener = UnixListener::bind(&socket).expect("it binds");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        // It ends with the test's process.
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, &answer, &log)));
        Peer { _folder: folder, socket, asked }
    }

    fn import(&self, daemon: &Daemon, options: &[&str]) -> Output {
        daemon.run(&[&["--json", "import", "--from", self.socket.to_str().expect("text")], options].concat())
    }
}

fn serve(stream: UnixStream, answer: &impl Fn(&Value, usize) -> Option<String>, log: &Mutex<Vec<Value>>) {
    let mut writer = stream.try_clone().expect("it can be cloned");
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let call: Value = serde_json::from_str(&line).expect("JSON");
        let asked = {
            let mut asked = log.lock().expect("no panic");
            if call["method"] == "memory_temporal_recall" {
                asked.push(call["params"].clone());
            }
            asked.len()
        };
        let Some(reply) = answer(&call, asked) else { return };
        // The client ends a reply that is too long.
        if writeln!(writer, "{reply}").is_err() {
            return;
        }
    }
}

fn reply(call: &Value, result: Value) -> Option<String> {
    Some(json!({"jsonrpc": "2.0", "id": call["id"], "result": result}).to_string())
}

/// Returns records in the shape of iai-mcp, the newest first: a second has three of them.
fn their_records() -> Vec<Value> {
    (0..RECORDS)
        .rev()
        .map(|n| {
            let second = n / 3;
            json!({"id": format!("00000000-0000-4000-8000-{n:012}"),
                "literal_surface": format!("Turn {n}: the staging server listens on port {}.", 5400 + n),
                "tier": if n % 10 == 9 { "semantic" } else { "episodic" }, "score": 0.0,
                "created_at": format!("2026-05-01T10:{:02}:{:02}.{:06}+00:00", second / 60, second % 60, n % 3),
                "updated_at": "2026-06-01T10:00:00+00:00", "language": "en",
                "tags": ["capture", format!("role:{}", ["user", "assistant"][n % 2]), "entity:port"]})
        })
        .collect()
}

/// Answers as iai-mcp does: `as_of` bounds the records, to the second, and `changed_since` only events.
fn as_they_do(call: &Value) -> Option<String> {
    let params = &call["params"];
    match call["method"].as_str().expect("a method") {
        "status_light" => reply(call, json!({"N": RECORDS, "regime": "unknown", "sigma": null, "topology_cached": false})),
        "episodes_recent" => {
            let turns: Vec<Value> = their_records()
                .into_iter()
                .filter(|record| record["tags"][1] == "role:user")
                .take(10)
                .map(|record| {
                    json!({"record_id": record["id"], "literal_surface": record["literal_surface"],
                        "session_id": "monday", "captured_at": record["created_at"]})
                })
                .collect();
            reply(call, json!({"turns": turns, "count": turns.len()}))
        }
        "memory_temporal_recall" => {
            let second = |text: &Value| text.as_str().expect("a time")[..19].to_owned();
            let limit = params["limit"].as_u64().expect("a number") as usize;
            let hits: Vec<Value> = their_records()
                .into_iter()
                .filter(|record| second(&record["created_at"]) <= second(&params["as_of"]))
                .take(limit)
                .collect();
            reply(call, json!({"hits": hits, "changed_since_events": [], "_scope": "committed_by_time_t"}))
        }
        method => Some(
            json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": format!("unknown method '{method}'")}})
                .to_string(),
        ),
    }
}

fn counts(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn imported(new: usize, known: usize) -> Value {
    json!({"files": 1, "unreadable": 0, "new": new, "known": known, "refused": 0})
}

#[test]
fn their_records_are_imported_once_with_who_when_and_session() {
    let (peer, daemon) = (Peer::new(|call, _| as_they_do(call)), setup());
    assert_eq!(counts(&peer.import(&daemon, &[])), imported(RECORDS, 0));
    assert_eq!(peer.asked.lock().expect("no panic").len(), 1, "one reply has all records");
    assert_eq!(counts(&peer.import(&daemon, &[])), imported(0, RECORDS));
    let rows = daemon.client().call("store_export", json!({"limit": 1000}));
    let rows = rows["rows"].as_array().expect("rows");
    let of = |n: usize| {
        let text = format!("Turn {n}: the staging server listens on port {}.", 5400 + n);
        rows.iter().find(|row| row["text"] == *text).unwrap_or_else(|| panic!("no {text}"))
    };
    for (n, role, tier, session, ts) in [
        (128, "user", "episodic", "monday", "2026-05-01T10:00:42Z"),
        (127, "assistant", "episodic", "-", "2026-05-01T10:00:42Z"),
        (9, "assistant", "semantic", "-", "2026-05-01T10:00:03Z"),
        (0, "user", "episodic", "-", "2026-05-01T10:00:00Z"),
    ] {
        let row = of(n);
        assert_eq!((&row["role"], &row["tier"], &row["session_id"]), (&json!(role), &json!(tier), &json!(session)));
        assert_eq!(row["ts"], ts, "{row}");
    }
    let text = daemon.run(&["import", "--from", peer.socket.to_str().expect("text")]);
    assert!(String::from_utf8_lossy(&text.stdout).ends_with("p.sock: 0 new, 130 known, 0 refused\n"), "{text:?}");
}

#[test]
fn replies_that_are_too_long_are_divided_and_an_interrupted_import_is_repeated() {
    /// More than the longest reply.
    const TOO_LONG: usize = (64 << 20) + 1;
    let peer = Peer::new(|call, asked| match (call["method"].as_str(), call["params"]["limit"].as_u64()) {
        // It stops in the first run, after some replies that were short enough.
        (Some("memory_temporal_recall"), _) if (12..14).contains(&asked) => None,
        (Some("memory_temporal_recall"), Some(20..)) => Some("x".repeat(TOO_LONG)),
        _ => as_they_do(call),
    });
    let daemon = setup();
    let broken = peer.import(&daemon, &[]);
    assert_eq!(broken.status.code(), Some(3));
    let said = String::from_utf8_lossy(&broken.stderr).into_owned();
    assert!(said.contains("closed the connection before its reply to memory_temporal_recall"), "{said}");
    let stored = counts(&broken)["new"].as_u64().expect("a number") as usize;
    assert!(stored > 0 && stored < RECORDS, "{stored}");
    assert_eq!(counts(&peer.import(&daemon, &[])), imported(RECORDS - stored, stored));
    assert_eq!(counts(&peer.import(&daemon, &[])), imported(0, RECORDS));
    assert_eq!(daemon.status()["records"], RECORDS);
}

#[test]
fn what_is_no_daemon_of_theirs_is_named_in_a_sentence() {
    let daemon = setup();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    let file = path("memory.ndjson");
    std::fs::write(&file, "{}\n").expect("it is written");
    let dead = path("dead");
    drop(UnixListener::bind(&dead).expect("it binds"));
    let closed = path("closed");
    let _held = UnixListener::bind(&closed).expect("it binds");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o000)).expect("the mode is set");
    let fails = |method: &'static str, code: i32, message: &'static str| {
        Peer::new(move |call, _| {
            if call["method"] != method {
                return as_they_do(call);
            }
            Some(json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": code, "message": message}}).to_string())
        })
    };
    let answers = |result: Value| Peer::new(move |call, _| reply(call, result.clone()));
    let temporal = "memory_temporal_recall";
    let other = setup();
    let peers = [
        (Peer::new(|_, _| Some("HTTP/1.1 400 Bad Request".into())), "is not JSON-RPC 2.0", 1),
        (Peer::new(|_, _| None), "closed the connection before its reply to status_light", 3),
        (Peer::new(|_, _| Some(String::new())), "is not JSON-RPC 2.0", 1),
        (fails(temporal, -32601, "unknown method 'memory_temporal_recall'"), "is no iai-mcp 3: unknown method", 1),
        (fails(temporal, -32001, "the key is missing"), "refused memory_temporal_recall: the key is missing", 1),
        (answers(json!({"error": "as_of must be ISO-8601"})), "refused episodes_recent: \"as_of must be", 1),
        (answers(json!({"lines": []})), "answers episodes_recent in another form", 1),
        (answers(json!([1])), "answers episodes_recent in another form", 1),
        (answers(json!({"turns": "none"})), "answers episodes_recent in another form", 1),
    ];
    let paths = [
        (path("nothing"), "there is no socket at", 3),
        (file, "is no socket; import a file or folder with: iaid import", 1),
        (dead, "no process listens on", 3),
        (path(&"x".repeat(200)), "is too long for a socket", 3),
        (daemon.setup().socket(), "is also the socket that the records are to be stored through", 1),
        (other.setup().socket(), "is an iaid; import from it with: iaid --socket", 1),
    ];
    let peers = peers.iter().map(|(peer, said, code)| (&peer.socket, *said, *code));
    let mut cases: Vec<_> = paths.iter().map(|(path, said, code)| (path, *said, *code)).chain(peers).collect();
    // Root may connect to any socket.
    if UnixStream::connect(&closed).is_err() {
        cases.push((&closed, "no permission to use", 3));
    }
    for (socket, said, code) in cases {
        let output = daemon.run(&["import", "--from", socket.to_str().expect("text")]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(said), "{said}: {stderr}");
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
    let stuck = Peer::new(|_, _| {
        thread::park();
        None
    });
    let output = stuck.import(&daemon, &["--timeout", "0.2"]);
    let error: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!((&error["error"]["code"], output.status.code()), (&json!(-32002), Some(3)));
    assert!(error["error"]["message"].as_str().expect("text").contains("with a longer --timeout"), "{error}");
    assert_eq!(daemon.status()["records"], 0);
}

#[test]
fn records_that_cannot_be_stored_are_named_and_the_others_are_stored() {
    let peer = Peer::new(|call, _| {
        if call["method"] != "memory_temporal_recall" {
            return as_they_do(call);
        }
        let hits = r#"{"id":"a","literal_surface":"\ud800","created_at":"2026-05-01T10:00:02+00:00"},
            {"id":"b","literal_surface":" ","created_at":"2026-05-01T10:00:01+00:00"},5,
            {"id":"c","literal_surface":"one that is stored","created_at":"long ago","tier":"x","tags":null}"#;
        let hits = hits.replace('\n', "");
        Some(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"hits":[{hits}]}}}}"#, call["id"]))
    });
    let daemon = setup();
    let output = peer.import(&daemon, &[]);
    assert_eq!(counts(&output), json!({"files": 1, "unreadable": 0, "new": 1, "known": 0, "refused": 3}));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in ["\"record\":2", "no valid text", "the record b has no text", "it counts 130 records and returned"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(daemon.status()["records"], 1);
}

#[test]
fn their_daemon_on_the_path_is_named_by_log_start_and_doctor() {
    let daemon = Setup::new().args(&["--look-every", "0.05"]).start();
    let socket = daemon.setup().socket();
    // It removes the socket of another daemon without asking.
    std::fs::remove_file(&socket).expect("it is removed");
    let listener = UnixListener::bind(&socket);
    // Ours may have bound it again at this moment.
    let listener = listener.unwrap_or_else(|_| {
        std::fs::remove_file(&socket).expect("it is removed");
        UnixListener::bind(&socket).expect("it binds")
    });
    let (stop, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (told, tells) = (Arc::clone(&stop), Arc::clone(&stopped));
    thread::spawn(move || {
        let answer = |call: &Value, _| match call["type"].as_str() {
            Some("status") => Some(
                json!({"ok": true, "state": "WAKE", "fsm_state": "WAKE", "version": "3.3.0", "ann_pool_health": {}})
                    .to_string(),
            ),
            _ => as_they_do(call),
        };
        for stream in listener.incoming().flatten() {
            if told.load(Ordering::Relaxed) {
                break;
            }
            serve(stream, &answer, &Mutex::default());
        }
        drop(listener);
        tells.store(true, Ordering::Relaxed);
    });
    let who = match cfg!(target_os = "linux") {
        true => format!("iai-mcp 3.3.0 (process {})", std::process::id()),
        false => "iai-mcp 3.3.0".into(),
    };
    let how = "stop it with: iai-mcp daemon stop";
    until("the log names it", || daemon.log().contains(&format!("{who} listens at")));
    assert!(daemon.log().contains(how), "{}", daemon.log());
    let report = daemon.run(&["doctor", "--store", daemon.setup().store().to_str().expect("text")]);
    let said = String::from_utf8_lossy(&report.stdout);
    assert!(said.contains(&format!("{who} has taken")) && said.contains(how), "{said}");
    let other = Setup::new().socket_at(socket.to_str().expect("text"));
    std::fs::remove_file(socket.with_extension("sock.lock")).expect("the lock file is removed");
    let refused = String::from_utf8_lossy(&other.start_and_fail().stderr).into_owned();
    assert!(refused.contains(&format!("{who} listens at")) && refused.contains(how), "{refused}");
    stop.store(true, Ordering::Relaxed);
    drop(UnixStream::connect(&socket));
    until("it has ended", || stopped.load(Ordering::Relaxed));
    until("ours is back", || daemon.log().contains("was missing and was bound again"));
    assert_eq!(daemon.client().call("ping", json!({})), json!({}));
}
