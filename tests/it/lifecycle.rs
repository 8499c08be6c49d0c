//! The lifecycle through the program: its socket, its files and its journal, with thresholds of fractions of a second.
//!
//! A state that the daemon leaves by itself is never expected of `status`, since a busy machine may ask too late: the
//! journal says which states there were.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Client, Daemon, PATIENCE, Setup, until};
use crate::skip::has;

const NAMES: [&str; 2] = [".daemon-state.json", "lifecycle_state.json"];

/// A threshold that no test reaches, in seconds.
const NEVER: &str = "3600";

/// Returns the setup of a daemon with these thresholds, in seconds.
fn with(drowsy: &str, sleep: &str, hibernate: &str) -> Setup {
    Setup::new().args(&["--drowsy-after", drowsy, "--sleep-after", sleep, "--hibernate-after", hibernate])
}

/// Starts a daemon that falls asleep only by a command.
fn awake() -> Daemon {
    with(NEVER, NEVER, NEVER).start()
}

fn states(client: &mut Client) -> (String, String) {
    let status = client.ask(r#"{"type":"status"}"#);
    assert_eq!(status["state"], status["fsm_state"]);
    let text = |key: &str| status[key].as_str().expect("a state").to_owned();
    (text("fsm_state"), text("lifecycle_state"))
}

fn until_state(client: &mut Client, fsm: &str, lifecycle: &str) {
    until(&format!("it is {fsm}, {lifecycle}"), || states(client) == (fsm.into(), lifecycle.into()));
}

fn cycles(client: &mut Client, key: &str) -> u64 {
    client.ask(r#"{"type":"status"}"#)["rem_cycle"][key].as_u64().expect("a number")
}

fn ask(client: &mut Client, kind: &str) -> Value {
    client.ask(&json!({"type": kind, "reason": "a test", "ts": "2026-05-14T22:00:00Z"}).to_string())
}

fn capture(client: &mut Client, text: &str) {
    assert_eq!(client.call("memory_capture", json!({"text": text}))["status"], "inserted");
}

/// Returns the journal's entries of this event. Lines that are not complete yet are left out.
fn journal(store: &Path, event: &str) -> Vec<Value> {
    let Ok(files) = fs::read_dir(store.join("logs")) else { return Vec::new() };
    let mut names: Vec<_> = files.flatten().map(|file| file.path()).collect();
    names.sort();
    let text: String = names.iter().map(|path| fs::read_to_string(path).expect("it can be read")).collect();
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter(|entry| entry["event"] == event).collect()
}

/// Returns the transitions so far: from, to and trigger.
fn moves(store: &Path) -> Vec<[String; 3]> {
    let text = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    journal(store, "state_transition").iter().map(|one| ["from", "to", "trigger"].map(|key| text(one, key))).collect()
}

/// Returns the content of a state file, or null if it does not exist yet.
fn state_file(store: &Path, name: &str) -> Value {
    let Ok(text) = fs::read_to_string(store.join(name)) else { return Value::Null };
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e} in {text:?}"))
}

fn open_database(store: &Path) -> Connection {
    let database = Connection::open(store.join("memory.db")).expect("it opens");
    database.busy_timeout(PATIENCE).expect("a timeout can be set");
    database
}

fn sql(store: &Path, sql: &str) {
    open_database(store).execute_batch(sql).expect("SQL");
}

/// Takes the store's write lock, so that a cycle that begins cannot end before it is released.
fn hold_writes(store: &Path) -> Connection {
    let database = open_database(store);
    database.execute_batch("BEGIN IMMEDIATE").expect("the lock is taken");
    database
}

fn release_writes(lock: Connection) {
    lock.execute_batch("ROLLBACK").expect("the lock is released");
}

/// Calls a method, and waits until the journal has a transition by that request out of `state` to WAKE. The transition
/// must come before the reply.
fn call_wakes(client: &mut Client, store: &Path, state: &str) {
    let wakes = || {
        let moves = journal(store, "state_transition");
        moves.into_iter().filter(|one| one["to"] == "WAKE" && one["from"] == state && one["trigger"] == "request")
    };
    let before = wakes().count();
    client.call("memory_recall", json!({"cue": "subject3"}));
    let replied = jiff::Timestamp::try_from(SystemTime::now()).expect("a date");
    until(&format!("the request has woken it in {state}"), || wakes().count() > before);
    let woken: jiff::Timestamp =
        wakes().nth(before).and_then(|one| one["ts"].as_str()?.parse().ok()).expect("an entry has its time");
    assert!(woken <= replied, "in {state}: woken at {woken}, and the reply came at {replied}");
}

/// Captures records with recurring words, so that a cycle has much to do.
fn fill(daemon: &Daemon, records: usize) {
    let mut client = daemon.client();
    for from in (0..records).step_by(500) {
        let lines: String = (from..(from + 500).min(records))
            .map(|n| {
                let text = format!("topic{} with subject{} and matter{} in word{n} number{n}", n % 7, n % 31, n % 53);
                let params = json!({"text": text, "session_id": format!("s{}", n / 10)});
                json!({"jsonrpc": "2.0", "id": n, "method": "memory_capture", "params": params}).to_string() + "\n"
            })
            .collect();
        client.send(lines.as_bytes());
        (from..(from + 500).min(records)).for_each(|_| assert!(client.line().contains("inserted")));
    }
}

#[test]
fn an_idle_daemon_goes_through_all_states_to_hibernation_and_a_request_wakes_it() {
    let daemon = with("0.1", "0.2", "0.6").start();
    let store = daemon.setup().store();
    capture(&mut daemon.client(), "The tea is at five today.");
    let way = [
        ["WAKE", "DROWSY", "idle"],
        ["DROWSY", "TRANSITIONING", "idle"],
        ["TRANSITIONING", "SLEEP", "nothing_in_flight"],
        ["SLEEP", "DREAMING", "something_new"],
        ["DREAMING", "SLEEP", "cycle_ended"],
        ["SLEEP", "HIBERNATION", "idle"],
    ];
    // It may have been drowsy before the capture, too.
    until("it hibernates", || moves(&store).ends_with(&way.map(|one| one.map(String::from))));
    let mut client = daemon.client();
    assert_eq!(states(&mut client), ("SLEEP".into(), "HIBERNATION".into()));
    until("the file says so", || state_file(&store, NAMES[1])["current_state"] == "HIBERNATION");
    let steps = journal(&store, "sleep_step_completed");
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().expect("a name")).collect();
    assert_eq!(names, ["drain", "associate", "induce", "decay", "optimize", "precache"]);
    assert!(steps.iter().all(|step| step["duration_sec"].is_f64() && step["error"].is_null()), "{steps:?}");
    assert_eq!(journal(&store, "sleep_step_started").len(), 6);

    call_wakes(&mut client, &store, "HIBERNATION");
    assert_eq!(client.call("memory_recall", json!({"cue": "tea"}))["hits"].as_array().map(Vec::len), Some(1));
    // Neither status polls nor an open connection keep it awake.
    until_state(&mut client, "WAKE", "DROWSY");
}

#[test]
fn a_request_in_any_state_is_answered_in_wake() {
    let daemon = with("0.05", NEVER, NEVER).start();
    let mut client = daemon.client();
    capture(&mut client, "A capture, and then nothing.");
    until_state(&mut client, "WAKE", "DROWSY");
    call_wakes(&mut client, &daemon.setup().store(), "DROWSY");

    let daemon = awake();
    let store = daemon.setup().store();
    let mut client = daemon.client();
    let awake = ("WAKE".to_owned(), "WAKE".to_owned());
    // Paused, it stays in SLEEP.
    ask(&mut client, "pause");
    capture(&mut client, "Something that no cycle has processed.");
    ask(&mut client, "user_initiated_sleep");
    until_state(&mut client, "SLEEP", "SLEEP");
    call_wakes(&mut client, &store, "SLEEP");
    assert_eq!(states(&mut client), awake);

    let lock = hold_writes(&store);
    ask(&mut client, "force_rem");
    until_state(&mut client, "DREAMING", "SLEEP");
    call_wakes(&mut client, &store, "DREAMING");
    assert_eq!(states(&mut client), awake);
    release_writes(lock);
}

#[test]
fn commands_run_while_sleep_is_paused_and_the_journal_says_so() {
    let daemon = with("0.05", "0.05", NEVER).start();
    let store = daemon.setup().store();
    let mut client = daemon.client();
    assert_eq!(ask(&mut client, "pause"), json!({"ok": true, "paused": true}));
    capture(&mut client, "Something new that no cycle processes.");
    until_state(&mut client, "WAKE", "DROWSY");
    assert_eq!(ask(&mut client, "user_initiated_sleep"), json!({"ok": true, "state": "TRANSITIONING"}));
    until_state(&mut client, "SLEEP", "SLEEP");
    assert_eq!(ask(&mut client, "user_initiated_sleep"), json!({"ok": false, "reason": "already_sleeping"}));
    assert_eq!(cycles(&mut client, "finished"), 0, "no cycle was asked for");
    ask(&mut client, "force_rem");
    until("the cycle has ended", || cycles(&mut client, "finished") == 1);
    let asked = |trigger: &str| {
        let moved = journal(&store, "state_transition");
        moved.iter().any(|one| one["trigger"] == trigger && one["while_paused"] == true)
    };
    until("the journal says so", || asked("asked_to_sleep") && asked("asked_for_rem"));
    until("neither is pending any more", || {
        let kept = state_file(&store, NAMES[0]);
        kept["user_sleep_request"]["pending"] == false && kept["force_rem_request"]["pending"] == false
    });
    ask(&mut client, "pause");
    until_state(&mut client, "WAKE", "DROWSY");
    // None by itself, though the thresholds have passed.
    let to_sleep = moves(&store).into_iter().filter(|one| one[1] == "TRANSITIONING").collect::<Vec<_>>();
    assert_eq!(to_sleep, [["DROWSY", "TRANSITIONING", "asked_to_sleep"].map(String::from)]);
    capture(&mut client, "Something newer to sleep on.");
    ask(&mut client, "resume");
    until("the second cycle has ended", || cycles(&mut client, "finished") == 2);
}

#[test]
fn requests_keep_it_awake_and_open_connections_and_status_polls_do_not() {
    const IDLE: Duration = Duration::from_secs(1);
    let daemon = with("1", "1", NEVER).start();
    let store = daemon.setup().store();
    let mut client = daemon.client();
    let idle: Vec<UnixStream> = (0..10).map(|_| daemon.connect()).collect();
    capture(&mut client, "Something new to sleep on.");
    // Requests for longer than it takes to get drowsy.
    let (started, mut requests) = (Instant::now(), Vec::new());
    while started.elapsed() < IDLE * 3 / 2 {
        let sent = jiff::Timestamp::now();
        client.call("profile_get", json!({}));
        requests.push((sent, jiff::Timestamp::now()));
        std::thread::sleep(Duration::from_millis(50));
    }
    // None of these is a request in that sense.
    until("a cycle has ended", || {
        client.call("ping", json!({}));
        client.call("rpc.discover", json!({}));
        client.request("no_such_method", json!({}));
        ask(&mut client, "resume");
        cycles(&mut client, "finished") == 1
    });
    drop(idle);
    // On a busy machine the requests may have been too rare to keep it awake all the time. But whenever it got drowsy
    // there was no request in the half of the threshold before.
    for entry in journal(&store, "state_transition").iter().filter(|entry| entry["to"] == "DROWSY") {
        let drowsy: jiff::Timestamp = entry["ts"].as_str().expect("a time").parse().expect("a time");
        let kept_awake = |(sent, replied): &&_| drowsy - IDLE / 2 < *sent && *replied < drowsy;
        assert_eq!(requests.iter().find(kept_awake), None, "drowsy at {drowsy}");
    }
}

#[test]
fn no_cycle_runs_without_changes() {
    let mut daemon = with("0.05", "0.05", NEVER).start();
    let store = daemon.setup().store();
    let mut client = daemon.client();
    // Paused, so that one cycle processes all three.
    ask(&mut client, "pause");
    for session in ["a", "b", "c"] {
        let text = format!("guitar lessons of session {session}");
        client.call("memory_capture", json!({"text": text, "session_id": session}));
    }
    ask(&mut client, "resume");
    until("the cycle has ended", || cycles(&mut client, "finished") == 1);
    let digest = client.ask(r#"{"type":"status"}"#)["pending_digest"].clone();
    assert_eq!((&digest["rem_cycles_completed"], &digest["schemas_induced_tier0"]), (&json!(1), &json!(1)));
    until("it is in the file", || state_file(&store, NAMES[0])["pending_digest"] == digest);
    // Neither the pattern that the cycle made, nor a text that is known, nor a restart is a change.
    for round in 0..2 {
        client.call("memory_capture", json!({"text": "guitar lessons of session a", "session_id": "a"}));
        until_state(&mut client, "WAKE", "DROWSY");
        until("its idle time is long over", || {
            let status = client.ask(r#"{"type":"status"}"#);
            status["uptime_sec"].as_f64() > Some(0.5) && status["lifecycle_state"] == "DROWSY"
        });
        assert_eq!(cycles(&mut client, "finished"), 1 - round);
        daemon.kill_and_restart();
        client = daemon.client();
    }
    capture(&mut client, "something that is not in the store yet");
    until("another cycle has ended", || cycles(&mut client, "finished") == 1);
}

#[test]
fn a_cycle_yields_to_a_request_and_continues_after_it_and_after_a_kill() {
    let mut daemon = awake();
    fill(&daemon, 4000);
    let store = daemon.setup().store();
    let mut client = daemon.client();
    // The first request certainly comes into a cycle.
    let lock = hold_writes(&store);
    ask(&mut client, "force_rem");
    until_state(&mut client, "DREAMING", "SLEEP");
    client.call("memory_recall", json!({"cue": "subject3"}));
    release_writes(lock);
    assert_eq!((&*states(&mut client).0, cycles(&mut client, "interrupted")), ("WAKE", 1));
    // The others may come too late.
    for kill in [false, true, false, true] {
        ask(&mut client, "force_rem");
        until("a cycle runs or has ended", || {
            states(&mut client).0 == "DREAMING" || cycles(&mut client, "finished") > 0
        });
        if kill {
            daemon.kill_and_restart();
            client = daemon.client();
        } else {
            client.call("memory_recall", json!({"cue": "subject3"}));
            assert_eq!(states(&mut client).0, "WAKE");
        }
    }
    // A command that was pending at the kill may have begun a cycle already.
    ask(&mut client, "force_rem");
    until("all cycles have ended", || {
        let status = client.ask(r#"{"type":"status"}"#);
        let cycle = &status["rem_cycle"];
        status["fsm_state"] == "SLEEP" && cycle["asked"] == false && cycle["finished"].as_u64() >= Some(1)
    });
    // Each record was processed once.
    let database = open_database(&store);
    let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("SQL");
    assert!(number("SELECT value FROM meta WHERE key = 'step_associate'") >= 4000);
    assert_eq!(number("SELECT count(*) FROM meta WHERE key IN ('cycle_step', 'cycle_seen')"), 0);
    let examined: u64 = journal(&store, "sleep_step_completed")
        .iter()
        .filter(|one| one["step"] == "associate")
        .map(|one| one["counts"]["examined"].as_u64().expect("a number"))
        .sum();
    assert!(examined <= 4000, "{examined}");
    assert_eq!(client.call("store_check", json!({}))["problems"], json!([]));
}

#[test]
fn three_failures_of_a_step_start_the_quarantine_and_it_is_lifted_at_its_end() {
    let setup = with(NEVER, NEVER, NEVER).env("IAI_MCP_SLEEP_QUARANTINE_TTL_HOURS", "0.0005");
    let mut daemon = setup.start();
    let store = daemon.setup().store();
    let mut client = daemon.client();
    capture(&mut client, "Something new to sleep on.");
    // A damaged store: the step's cursor is not a number.
    sql(&store, "INSERT INTO meta VALUES ('step_induce', 'damaged')");
    for time in 1..=2 {
        ask(&mut client, "force_rem");
        until("it has failed", || cycles(&mut client, "failed") == time);
        assert_eq!(client.ask(r#"{"type":"status"}"#)["quarantine"], Value::Null);
    }
    until("both are in the file", || state_file(&store, NAMES[1])["sleep_cycle_progress"]["attempt"] == 2);
    // Failures count across a restart.
    daemon.kill_and_restart();
    client = daemon.client();
    let output = daemon.run(&["rem"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("step induce"), "{said}");
    until("the journal says so", || !journal(&store, "quarantine_entered").is_empty());
    let entered = &journal(&store, "quarantine_entered")[0];
    assert_eq!(entered["reason"], "step induce failed three times in a row");
    let failed = journal(&store, "sleep_step_completed");
    assert!(failed.iter().any(|one| one["step"] == "induce" && one["error"].is_string()), "{failed:?}");
    until("it is lifted", || !journal(&store, "quarantine_lifted").is_empty());
    assert_eq!(client.ask(r#"{"type":"status"}"#)["quarantine"], Value::Null);
    // A cycle starts by itself then.
    until("that has failed too", || cycles(&mut client, "failed") == 2);
    sql(&store, "UPDATE meta SET value = 0 WHERE key = 'step_induce'");
    let output = daemon.run(&["rem"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("REM cycle finished: "));
}

#[test]
fn a_quarantine_noted_by_a_clock_that_was_ahead_is_cut_to_the_usual_length() {
    let setup = Setup::new();
    fs::create_dir_all(setup.store()).expect("a folder can be made");
    let record = json!({"current_state": "WAKE", "quarantine":
        {"until_ts": "2099-01-02T00:00:00Z", "since_ts": "2099-01-01T00:00:00Z", "reason": "step induce failed"}});
    fs::write(setup.store().join("lifecycle_state.json"), record.to_string()).expect("it can be written");
    let daemon = setup.start();
    let status = daemon.status();
    let until: jiff::Timestamp = status["quarantine"]["until_ts"].as_str().expect("kept").parse().expect("a date");
    assert!(until <= jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24), "{status}");
}

#[test]
fn a_quarantine_survives_a_restart_and_status_shows_its_reason() {
    let setup = with("0.05", "0.05", NEVER);
    fs::create_dir(setup.store()).expect("a folder can be made");
    let until_ts = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let record = json!({"current_state": "HIBERNATION", "quarantine":
        {"until_ts": until_ts, "reason": "step induce failed three times in a row", "since_ts": "2026-05-14T22:00:00Z"}});
    fs::write(setup.store().join(NAMES[1]), record.to_string()).expect("a file can be made");
    let daemon = setup.start();
    let mut client = daemon.client();
    assert_eq!(client.ask(r#"{"type":"status"}"#)["quarantine"]["until_ts"], until_ts);
    let said = String::from_utf8(daemon.run(&["status"]).stdout).expect("text");
    assert!(said.contains("quarantine") && said.contains("step induce failed three times in a row"), "{said}");
    capture(&mut client, "Something new that no cycle processes.");
    until_state(&mut client, "WAKE", "DROWSY");
    let store = daemon.setup().store();
    until("the journal has it", || !moves(&store).is_empty());
    assert_eq!(moves(&store)[0][0], "WAKE", "every start is in WAKE");
    ask(&mut client, "force_rem");
    until("a cycle that is asked for runs", || cycles(&mut client, "finished") == 1);
    until("and lifts it", || client.ask(r#"{"type":"status"}"#)["quarantine"] == Value::Null);
}

#[test]
fn a_state_file_that_cannot_be_used_is_set_aside_and_the_start_is_in_wake() {
    for text in ["", "{\"current_state\":\"HIB", "[]", "{\"current_state\":7}", "{\"quarantine\":\"yes\"}"] {
        let setup = with(NEVER, NEVER, NEVER);
        fs::create_dir(setup.store()).expect("a folder can be made");
        fs::write(setup.store().join(NAMES[0]), text.replace("current_state", "scheduler_paused")).expect("a file");
        fs::write(setup.store().join(NAMES[1]), text).expect("a file can be made");
        fs::write(setup.store().join("wake.signal"), "{}").expect("a file can be made");
        let daemon = setup.start();
        let mut client = daemon.client();
        assert_eq!(states(&mut client).1, "WAKE");
        let store = daemon.setup().store();
        let names: Vec<String> = fs::read_dir(&store)
            .expect("the folder is there")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        let aside = names.iter().find(|name| name.starts_with("lifecycle_state.json.bad-")).expect("it is set aside");
        assert_eq!(fs::read_to_string(store.join(aside)).expect("it can be read"), text);
        assert!(daemon.log().contains("set aside as"), "{}", daemon.log());
        assert!(!names.contains(&"wake.signal".to_owned()));
        until("a new one is written", || store.join(NAMES[1]).exists());
        assert_eq!(state_file(&store, NAMES[1])["current_state"], "WAKE");
    }
}

#[test]
fn kills_at_any_point_leave_files_that_parse() {
    let mut daemon = with("0.01", "0.01", "0.02").start();
    let store = daemon.setup().store();
    for round in 0..40_u64 {
        let mut client = daemon.client();
        for kind in ["force_rem", "user_initiated_sleep", "force_wake", "session_open"] {
            client.try_send((json!({"type": kind, "reason": "r", "ts": "t"}).to_string() + "\n").as_bytes());
        }
        // Not a wait: the kill is to come at any point of the work.
        std::thread::sleep(Duration::from_millis(round % 13));
        daemon.kill();
        for name in NAMES.iter().filter(|name| store.join(name).exists()) {
            assert!(state_file(&store, name).is_object(), "round {round}");
        }
        daemon.restart();
        assert_eq!(daemon.status()["ok"], true);
    }
    assert!(!daemon.log().contains("set aside"), "{}", daemon.log());
}

#[test]
fn commands_that_are_too_old_are_dropped_at_the_start_and_fresh_ones_run() {
    for (asked_at, dreams) in [("2026-01-01T00:00:00Z".to_owned(), false), (jiff::Timestamp::now().to_string(), true)] {
        let setup = with("0.2", NEVER, NEVER);
        fs::create_dir(setup.store()).expect("a folder can be made");
        let request = json!({"ts": "t", "asked_at": asked_at, "pending": true});
        let state = json!({"user_sleep_request": request, "force_rem_request": request});
        fs::write(setup.store().join(NAMES[0]), state.to_string()).expect("a file can be made");
        let daemon = setup.start();
        let mut client = daemon.client();
        if dreams {
            until("the cycle has ended", || cycles(&mut client, "finished") == 1);
        } else {
            until_state(&mut client, "WAKE", "DROWSY");
            assert_eq!(cycles(&mut client, "finished"), 0);
            assert!(!moves(&daemon.setup().store()).iter().any(|one| one[1] == "TRANSITIONING"));
        }
    }
}

#[test]
fn an_activated_daemon_exits_when_idle_and_the_next_connection_starts_it_again() {
    if !has("systemd-socket-activate") {
        return;
    }
    let setup = with("0.05", "0.1", "0.2");
    for round in 0..2 {
        // Without systemd's manager it serves one activation and becomes the daemon, so it is started each time.
        if round > 0 {
            fs::remove_file(setup.socket()).expect("the path was left alone");
        }
        let mut command = Command::new("systemd-socket-activate");
        command.arg("--listen").arg(setup.socket()).arg(setup.serve().get_program()).args(setup.serve().get_args());
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
        let mut stream = None;
        until("it listens", || {
            stream = UnixStream::connect(setup.socket()).ok();
            stream.is_some()
        });
        let stream = stream.expect("it is connected");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut client = Client::new(stream);
        capture(&mut client, &format!("Round {round} of a daemon that is activated."));
        assert_eq!(client.ask(r#"{"type":"status"}"#)["records"], round + 1);
        // It does not exit while a client is connected.
        until_state(&mut client, "SLEEP", "SLEEP");
        assert!(child.try_wait().expect("it can be waited for").is_none());
        drop(client);
        let mut status = None;
        until("it ends by itself", || {
            status = child.try_wait().expect("it can be waited for");
            status.is_some()
        });
        assert_eq!(status.and_then(|status| status.code()), Some(0));
        assert!(setup.socket().exists(), "the path is systemd's");
        let stopped = journal(&setup.store(), "daemon_stopped");
        assert_eq!(stopped.last().map(|entry| entry["reason"].clone()), Some(json!("hibernation")));
        assert_eq!(state_file(&setup.store(), NAMES[1])["current_state"], "HIBERNATION");
    }
}

/// The test's listener is handed to one daemon after the other, as systemd does. No connection is lost.
#[test]
fn a_connection_at_any_point_of_an_exit_is_served_by_this_daemon_or_the_next() {
    let setup = Setup::new();
    let listener = UnixListener::bind(setup.socket()).expect("a socket can be bound");
    let start = || {
        let listener = listener.try_clone().expect("a descriptor is to be had");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg("exec \"$0\" \"$@\" --fd 3 3<&0 </dev/null");
        shell.arg(setup.program().get_program()).arg("serve").arg("--store").arg(setup.store());
        shell.args(["--drowsy-after", "0.005", "--sleep-after", "0.005", "--hibernate-after", "0.01"]);
        shell.env("HOME", setup.home()).stdin(Stdio::from(OwnedFd::from(listener)));
        shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs")
    };
    let mut starts = 0;
    let mut daemon = None::<std::process::Child>;
    let has_ended = |daemon: &mut Option<std::process::Child>| {
        daemon.as_mut().is_none_or(|child| child.try_wait().expect("it can be waited for").is_some())
    };
    for n in 0..60 {
        let stream = UnixStream::connect(setup.socket()).expect("the listener is open");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let asking = std::thread::spawn(move || {
            let mut client = Client::new(stream);
            client.call("memory_capture", json!({"text": format!("Connection {n} was served.")}))["status"].clone()
        });
        until("it is served", || {
            if has_ended(&mut daemon) {
                daemon = Some(start());
                starts += 1;
            }
            asking.is_finished()
        });
        assert_eq!(asking.join().expect("it is answered"), "inserted", "connection {n}");
        if n % 20 == 19 {
            // On a busy machine it may not exit between two connections.
            until("it exits by itself", || has_ended(&mut daemon));
        } else {
            // Not a wait: the next connection is to come at any point of the exit.
            std::thread::sleep(Duration::from_millis(n % 25));
        }
    }
    assert!(starts >= 3, "{starts} starts for three exits");
}
