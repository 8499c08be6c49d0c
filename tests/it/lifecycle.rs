//! Sleep through the program: thresholds of fractions of a second, its socket, its files.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Client, Daemon, PATIENCE, Setup, until};
use crate::skip::has;

const NAMES: [&str; 2] = [".daemon-state.json", "lifecycle_state.json"];

/// Longer than any test takes.
const NEVER: &str = "3600";

/// A daemon with these thresholds, in seconds.
fn with(drowsy: &str, sleep: &str, hibernate: &str) -> Setup {
    Setup::new().args(&["--drowsy-after", drowsy, "--sleep-after", sleep, "--hibernate-after", hibernate])
}

/// One that sleeps on request alone.
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

/// The journal's entries of this event; lines that are not whole yet are none.
fn journal(store: &Path, event: &str) -> Vec<Value> {
    let Ok(files) = fs::read_dir(store.join("logs")) else { return Vec::new() };
    let mut names: Vec<_> = files.flatten().map(|file| file.path()).collect();
    names.sort();
    let text: String = names.iter().map(|path| fs::read_to_string(path).expect("it can be read")).collect();
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter(|entry| entry["event"] == event).collect()
}

/// The moves so far: from, to and why.
fn moves(store: &Path) -> Vec<[String; 3]> {
    let text = |entry: &Value, key: &str| entry[key].as_str().expect("a text").to_owned();
    journal(store, "state_transition").iter().map(|one| ["from", "to", "trigger"].map(|key| text(one, key))).collect()
}

/// What is in a state file; null where there is none yet.
fn state_file(store: &Path, name: &str) -> Value {
    let Ok(text) = fs::read_to_string(store.join(name)) else { return Value::Null };
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e} in {text:?}"))
}

fn sql(store: &Path, sql: &str) {
    let database = Connection::open(store.join("memory.db")).expect("it opens");
    database.busy_timeout(PATIENCE).expect("a timeout can be set");
    database.execute_batch(sql).expect("SQL");
}

/// Records whose words recur, so that a cycle has much to do.
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
fn left_alone_it_gets_drowsy_sleeps_dreams_and_hibernates_and_a_request_wakes_it() {
    let daemon = with("0.1", "0.2", "0.6").start();
    let store = daemon.setup().store();
    capture(&mut daemon.client(), "The tea is at five today.");
    until("it hibernates", || daemon.setup().store().join("logs").exists() && moves(&store).len() >= 5);
    let way = [
        ["WAKE", "DROWSY", "idle"],
        ["DROWSY", "TRANSITIONING", "idle"],
        ["TRANSITIONING", "SLEEP", "nothing_in_flight"],
        ["SLEEP", "DREAMING", "something_new"],
        ["DREAMING", "SLEEP", "cycle_ended"],
        ["SLEEP", "HIBERNATION", "idle"],
    ];
    until("it hibernates", || moves(&store).len() >= 6);
    assert_eq!(moves(&store)[..6], way.map(|one| one.map(String::from)));
    let mut client = daemon.client();
    assert_eq!(states(&mut client), ("SLEEP".into(), "HIBERNATION".into()));
    until("the file says so", || state_file(&store, NAMES[1])["current_state"] == "HIBERNATION");
    let steps = journal(&store, "sleep_step_completed");
    let names: Vec<&str> = steps.iter().map(|step| step["step"].as_str().expect("a name")).collect();
    assert_eq!(names, ["drain", "associate", "induce", "decay", "optimize", "precache"]);
    assert!(steps.iter().all(|step| step["duration_sec"].is_f64() && step["error"].is_null()), "{steps:?}");
    assert_eq!(journal(&store, "sleep_step_started").len(), 6);

    assert_eq!(client.call("memory_recall", json!({"cue": "tea"}))["hits"].as_array().map(Vec::len), Some(1));
    assert_eq!(states(&mut client).0, "WAKE");
    until("the journal says why", || moves(&store).iter().any(|one| *one == ["HIBERNATION", "WAKE", "request"]));
    // The status polls above, and a connection that stays, keep nobody awake.
    until_state(&mut client, "WAKE", "DROWSY");
}

#[test]
fn a_request_is_answered_at_once_in_every_state() {
    let daemon = with("0.05", "0.5", NEVER).start();
    let mut client = daemon.client();
    fill(&daemon, 3000);
    for (fsm, lifecycle) in [("WAKE", "DROWSY"), ("DREAMING", "SLEEP"), ("SLEEP", "SLEEP")] {
        if lifecycle == "SLEEP" {
            capture(&mut client, &format!("Something new before {fsm} comes."));
        }
        let patience = Instant::now() + PATIENCE;
        while states(&mut client) != (fsm.into(), lifecycle.into()) {
            assert!(Instant::now() < patience, "it is never {fsm}, {lifecycle}");
        }
        client.call("memory_recall", json!({"cue": "subject3"}));
        assert_eq!(states(&mut client), ("WAKE".into(), "WAKE".into()), "after a recall in {fsm}");
    }
}

#[test]
fn what_is_asked_is_done_though_sleep_is_paused_and_the_journal_says_so() {
    let daemon = with("0.05", "0.05", NEVER).start();
    let store = daemon.setup().store();
    let mut client = daemon.client();
    assert_eq!(ask(&mut client, "pause"), json!({"ok": true, "paused": true}));
    capture(&mut client, "Something new that nobody sleeps on.");
    until_state(&mut client, "WAKE", "DROWSY");
    assert_eq!(ask(&mut client, "user_initiated_sleep"), json!({"ok": true, "state": "TRANSITIONING"}));
    until_state(&mut client, "SLEEP", "SLEEP");
    assert_eq!(ask(&mut client, "user_initiated_sleep"), json!({"ok": false, "reason": "already_sleeping"}));
    assert_eq!(cycles(&mut client, "finished"), 0, "nobody asked for a cycle");
    ask(&mut client, "force_rem");
    until("the cycle has ended", || cycles(&mut client, "finished") == 1);
    let asked = |trigger: &str| {
        let moved = journal(&store, "state_transition");
        moved.iter().any(|one| one["trigger"] == trigger && one["while_paused"] == true)
    };
    until("the journal says so", || asked("asked_to_sleep") && asked("asked_for_rem"));
    // A request to sleep that was taken up pends no more.
    until("both are taken up", || {
        let kept = state_file(&store, NAMES[0]);
        kept["user_sleep_request"]["pending"] == false && kept["force_rem_request"]["pending"] == false
    });
    ask(&mut client, "pause");
    until_state(&mut client, "WAKE", "DROWSY");
    // Never by itself: DROWSY was over long ago.
    let unasked = moves(&store).into_iter().filter(|one| one[1] == "TRANSITIONING").collect::<Vec<_>>();
    assert_eq!(unasked, [["DROWSY", "TRANSITIONING", "asked_to_sleep"].map(String::from)]);
    capture(&mut client, "Something newer to sleep on.");
    ask(&mut client, "resume");
    until("it has dreamt", || cycles(&mut client, "finished") == 2);
}

#[test]
fn idle_connections_and_status_polls_do_not_keep_it_awake_and_requests_do() {
    let daemon = with("0.3", "0.3", NEVER).start();
    let mut client = daemon.client();
    let idle: Vec<UnixStream> = (0..10).map(|_| daemon.connect()).collect();
    capture(&mut client, "Something new to sleep on.");
    // A request each 50 ms keeps it awake for longer than it takes to get drowsy.
    for n in 0..20 {
        client.call("profile_get", json!({}));
        let answered = Instant::now();
        let found = states(&mut client);
        // A machine may be so busy that its idle time was over in between.
        if answered.elapsed() < Duration::from_millis(250) {
            assert_eq!(found, ("WAKE".into(), "WAKE".into()), "request {n}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    // None of these is one.
    until("it has slept on it", || {
        client.call("ping", json!({}));
        client.call("rpc.discover", json!({}));
        client.request("no_such_method", json!({}));
        ask(&mut client, "resume");
        cycles(&mut client, "finished") == 1
    });
    drop(idle);
}

#[test]
fn no_cycle_runs_without_something_new() {
    let mut daemon = with("0.05", "0.05", NEVER).start();
    let store = daemon.setup().store();
    let mut client = daemon.client();
    for session in ["a", "b", "c"] {
        let text = format!("guitar lessons of session {session}");
        client.call("memory_capture", json!({"text": text, "session_id": session}));
    }
    until("the cycle has ended", || cycles(&mut client, "finished") == 1);
    let digest = client.ask(r#"{"type":"status"}"#)["pending_digest"].clone();
    assert_eq!((&digest["rem_cycles_completed"], &digest["schemas_induced_tier0"]), (&json!(1), &json!(1)));
    until("it is in the file", || state_file(&store, NAMES[0])["pending_digest"] == digest);
    // The pattern that it made is nothing new, nor is what is there already, nor a restart.
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
    capture(&mut client, "something that nobody has told yet");
    until("there was a cycle again", || cycles(&mut client, "finished") == 1);
}

#[test]
fn a_cycle_gives_way_to_a_request_and_goes_on_after_it_and_after_a_kill() {
    let mut daemon = awake();
    fill(&daemon, 4000);
    let store = daemon.setup().store();
    let mut client = daemon.client();
    let mut cut = 0;
    for kill in [false, true, false, true] {
        let before = cycles(&mut client, "interrupted");
        ask(&mut client, "force_rem");
        let patience = Instant::now() + PATIENCE;
        while states(&mut client).0 != "DREAMING" && cycles(&mut client, "finished") == 0 {
            assert!(Instant::now() < patience, "it never dreams");
        }
        if kill {
            daemon.kill_and_restart();
            client = daemon.client();
        } else {
            client.call("memory_recall", json!({"cue": "subject3"}));
            assert_eq!(states(&mut client).0, "WAKE");
            cut += cycles(&mut client, "interrupted") - before;
        }
    }
    assert!(cut > 0, "no request came into a cycle");
    ask(&mut client, "force_rem");
    until("the cycle has ended", || cycles(&mut client, "finished") >= 1);
    // Each record was looked at once.
    let database = Connection::open(store.join("memory.db")).expect("it opens");
    let number = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("SQL");
    assert!(number("SELECT value FROM meta WHERE key = 'step_associate'") >= 4000);
    assert_eq!(number("SELECT count(*) FROM meta WHERE key IN ('cycle_step', 'cycle_seen')"), 0);
    let looked: u64 = journal(&store, "sleep_step_completed")
        .iter()
        .filter(|one| one["step"] == "associate")
        .map(|one| one["counts"]["examined"].as_u64().expect("a number"))
        .sum();
    assert!(looked <= 4000, "{looked}");
    assert_eq!(client.call("store_check", json!({}))["problems"], json!([]));
}

#[test]
fn a_step_that_fails_three_times_is_in_quarantine_until_that_is_over() {
    let setup = with(NEVER, NEVER, NEVER).env("IAI_MCP_SLEEP_QUARANTINE_TTL_HOURS", "0.0005");
    let mut daemon = setup.start();
    let store = daemon.setup().store();
    let mut client = daemon.client();
    capture(&mut client, "Something new to sleep on.");
    // A damaged store: where a step goes on is no number.
    sql(&store, "INSERT INTO meta VALUES ('step_induce', 'damaged')");
    for time in 1..=2 {
        ask(&mut client, "force_rem");
        until("it has failed", || cycles(&mut client, "failed") == time);
        assert_eq!(client.ask(r#"{"type":"status"}"#)["quarantine"], Value::Null);
    }
    until("both are told", || state_file(&store, NAMES[1])["sleep_cycle_progress"]["attempt"] == 2);
    // Failures are remembered over a restart.
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
    sql(&store, "UPDATE meta SET value = 0 WHERE key = 'step_induce'");
    let output = daemon.run(&["rem"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("REM cycle finished: "));
}

#[test]
fn a_quarantine_of_a_clock_that_was_ahead_is_no_longer_than_usual() {
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
fn a_quarantine_outlives_a_restart_and_status_says_it_in_words() {
    let setup = with("0.05", "0.05", NEVER);
    fs::create_dir(setup.store()).expect("a folder can be made");
    let until_ts = (jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)).to_string();
    let record = json!({"current_state": "HIBERNATION", "quarantine":
        {"until_ts": until_ts, "reason": "step induce failed three times in a row", "since_ts": "2026-05-14T22:00:00Z"}});
    fs::write(setup.store().join(NAMES[1]), record.to_string()).expect("a file can be made");
    let daemon = setup.start();
    let mut client = daemon.client();
    assert_eq!(states(&mut client).1, "WAKE", "any start is a WAKE");
    assert_eq!(client.ask(r#"{"type":"status"}"#)["quarantine"]["until_ts"], until_ts);
    let said = String::from_utf8(daemon.run(&["status"]).stdout).expect("text");
    assert!(said.contains("quarantine") && said.contains("step induce failed three times in a row"), "{said}");
    capture(&mut client, "Something new that nobody sleeps on.");
    until_state(&mut client, "WAKE", "DROWSY");
    ask(&mut client, "force_rem");
    until("what somebody asks for runs", || cycles(&mut client, "finished") == 1);
    until("and lifts it", || client.ask(r#"{"type":"status"}"#)["quarantine"] == Value::Null);
}

#[test]
fn a_state_file_that_cannot_be_used_is_set_aside_and_the_start_is_a_wake() {
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
fn a_storm_of_kills_never_leaves_a_file_that_does_not_parse() {
    let mut daemon = with("0.01", "0.01", "0.02").start();
    let store = daemon.setup().store();
    for round in 0..40_u64 {
        let mut client = daemon.client();
        for kind in ["force_rem", "user_initiated_sleep", "force_wake", "session_open"] {
            client.try_send((json!({"type": kind, "reason": "r", "ts": "t"}).to_string() + "\n").as_bytes());
        }
        // Not a wait for something: where it is killed is to be any place.
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
fn requests_that_are_too_old_are_dropped_at_the_start_and_fresh_ones_done() {
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
fn an_activated_daemon_ends_by_itself_and_the_next_connection_starts_it_again() {
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
        until("it listens", || UnixStream::connect(setup.socket()).is_ok());
        let stream = UnixStream::connect(setup.socket()).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let mut client = Client::new(stream);
        capture(&mut client, &format!("Round {round} of a daemon that is activated."));
        assert_eq!(client.ask(r#"{"type":"status"}"#)["records"], round + 1);
        // It does not end on somebody who is there.
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

/// A listener of ours is handed over again and again, as systemd does: nobody who connects is lost.
#[test]
fn whoever_connects_while_it_ends_is_served_by_it_or_by_the_next_one() {
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
    for n in 0..60 {
        let stream = UnixStream::connect(setup.socket()).expect("somebody listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let asking = std::thread::spawn(move || {
            let mut client = Client::new(stream);
            client.call("memory_capture", json!({"text": format!("Connection {n} was served.")}))["status"].clone()
        });
        until("it is served", || {
            if daemon.as_mut().is_none_or(|child| child.try_wait().expect("it can be waited for").is_some()) {
                daemon = Some(start());
                starts += 1;
            }
            asking.is_finished()
        });
        assert_eq!(asking.join().expect("it is answered"), "inserted", "connection {n}");
        // Not a wait for something: the next one comes at any moment of its end.
        std::thread::sleep(Duration::from_millis(n % 25));
    }
    assert!(starts > 1, "it never ended by itself");
    until("the last one ends", || {
        daemon.as_mut().is_none_or(|child| child.try_wait().expect("it can be waited for").is_some())
    });
}
