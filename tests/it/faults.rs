//! Faults of the machine: a socket file that is removed, signals, kills at any point. The daemon logs them, recovers where
//! it can, and loses no reply.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::harness::{Client, PATIENCE, SetOnDrop, Setup, kill_command, setup, until};
use crate::shell::behind;

const PING: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";

/// Returns the setup of a daemon that checks its socket every 20 ms.
fn watchful() -> Setup {
    Setup::new().args(&["--look-every", "0.02"])
}

/// Returns true if a ping over a new connection is answered.
fn answers(socket: &Path) -> bool {
    let Ok(stream) = UnixStream::connect(socket) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let mut client = Client::new(stream);
    client.try_send(PING) && client.try_line().contains("\"result\"")
}

#[test]
fn a_deleted_socket_file_is_bound_again_and_connections_stay() {
    let mut daemon = watchful().start();
    let socket = daemon.setup().socket();
    let mut client = daemon.client();
    for round in 1..=3 {
        let before = fs::metadata(&socket).expect("it is there").ino();
        fs::remove_file(&socket).expect("it can be removed");
        until("it is bound again", || fs::metadata(&socket).is_ok());
        until("it answers", || answers(&socket));
        let about = fs::metadata(&socket).expect("it is there");
        assert_eq!(about.mode() & 0o777, 0o600);
        assert_ne!(about.ino(), before, "the old socket was still open");
        assert_eq!(client.call("ping", json!({})), json!({}), "the connection stays");
        until("it is logged", || daemon.log().matches("was missing and was bound again").count() == round);
    }
    let said = String::from_utf8(daemon.setup().start_and_fail().stderr).expect("text");
    assert!(said.contains("another daemon (process "), "the lock is still held: {said}");
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!socket.exists(), "the new one is removed at the end");
}

#[test]
fn clients_that_wait_at_the_deleted_socket_are_served() {
    let daemon = watchful().start();
    let socket = daemon.setup().socket();
    for round in 0..20 {
        // Connected, perhaps not accepted yet, when the file is removed.
        let mut waiting: Vec<Client> = (0..30).map(|_| daemon.client()).collect();
        fs::remove_file(&socket).expect("it can be removed");
        for client in &mut waiting {
            assert!(client.try_send(PING), "round {round}");
        }
        until("it is bound again", || answers(&socket));
        for client in &mut waiting {
            assert!(client.line().contains("\"result\""), "round {round}");
        }
    }
}

#[test]
fn a_deleted_folder_is_created_again_and_its_lock_is_held() {
    let daemon = watchful().socket_at("run/d.sock").start();
    let socket = daemon.setup().socket();
    fs::remove_dir_all(daemon.setup().home().join("run")).expect("it can be removed");
    until("it answers", || answers(&socket));
    assert_eq!(fs::metadata(daemon.setup().home().join("run")).expect("it is there").mode() & 0o777, 0o700);
    let said = String::from_utf8(daemon.setup().start_and_fail().stderr).expect("text");
    assert!(said.contains(&format!("another daemon (process {}) holds ", daemon.pid())), "{said}");
}

#[test]
fn a_path_taken_by_another_program_is_left_alone_logged_once_and_bound_when_free() {
    let daemon = watchful().start();
    let socket = daemon.setup().socket();
    let mut client = daemon.client();
    let elsewhere = daemon.setup().home().join("theirs");
    let theirs = UnixListener::bind(&elsewhere).expect("a socket can be made");
    fs::rename(&elsewhere, &socket).expect("it takes the place");
    until("it is logged", || daemon.log().contains("another program listens at"));
    let mut ticks = || client.ask(r#"{"type":"status"}"#)["last_tick_at"].clone();
    let first = ticks();
    until("it has ticked again", || ticks() != first);
    assert_eq!(daemon.log().matches("is not bound again").count(), 1, "{}", daemon.log());
    drop(theirs);
    until("it answers again", || answers(&socket));
    assert!(daemon.log().contains("was missing and was bound again"), "{}", daemon.log());
}

#[test]
fn the_socket_is_checked_at_each_wake() {
    // The default interval of a minute does not pass in this test.
    let daemon = Setup::new().args(&["--drowsy-after", "0.1"]).start();
    let socket = daemon.setup().socket();
    let mut client = daemon.client();
    let mut state = || client.ask(r#"{"type":"status"}"#)["lifecycle_state"].clone();
    until("it is drowsy", || state() == "DROWSY");
    fs::remove_file(&socket).expect("it can be removed");
    client.call("profile_get", json!({"knob": "wake_depth"}));
    until("it answers", || answers(&socket));
}

#[test]
fn an_inherited_socket_is_not_bound_again() {
    let setup = watchful();
    let ours = UnixListener::bind(setup.socket()).expect("a socket can be made");
    let mut command = setup.program();
    command.args(["serve", "--fd", "5", "--look-every", "0.01", "--drowsy-after", "0.05", "--store"]);
    command.arg(setup.store());
    let mut command = behind("exec 5<&0 0</dev/null", &command);
    command.stdin(Stdio::from(OwnedFd::from(ours.try_clone().expect("it can be duplicated"))));
    let daemon = setup.start_by(command);
    let mut client = daemon.client();
    fs::remove_file(daemon.setup().socket()).expect("it can be removed");
    for _ in 0..3 {
        until("it is drowsy", || client.ask(r#"{"type":"status"}"#)["lifecycle_state"] == "DROWSY");
        client.call("profile_get", json!({"knob": "wake_depth"}));
    }
    assert!(!daemon.setup().socket().exists());
    assert!(!daemon.log().contains("bound again"), "{}", daemon.log());
}

/// Returns the rounds of a test: `FAULT_ROUNDS` from the environment, else `usual`.
fn rounds(usual: usize) -> usize {
    std::env::var("FAULT_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(usual)
}

/// Connects, retrying as a client does, and asserts that a ping is answered.
fn assert_served(socket: &Path, round: usize) {
    let mut connected = None;
    until("a daemon accepts", || {
        connected = UnixStream::connect(socket).ok();
        connected.is_some()
    });
    let stream = connected.expect("just connected");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let mut client = Client::new(stream);
    assert!(client.try_send(PING), "round {round}: the connection was lost");
    let line = client.try_line();
    assert!(line.contains("\"result\""), "round {round}: the reply was lost: {line:?}");
}

#[test]
fn of_two_daemons_started_at_once_one_serves_and_no_client_is_lost() {
    for round in 0..rounds(15) {
        let setup = Setup::new();
        if round % 2 == 1 {
            drop(UnixListener::bind(setup.socket()).expect("a stale socket"));
        }
        let start = || setup.serve().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let mut starters = [start(), start()];
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..5).for_each(|_| assert_served(&setup.socket(), round)));
            }
        });
        let mut ended = Vec::new();
        until("one has exited", || {
            ended = starters.iter_mut().map(|starter| starter.try_wait().expect("it can be asked")).collect();
            ended.iter().flatten().count() == 1
        });
        assert_eq!(ended.into_iter().flatten().next().and_then(|status| status.code()), Some(1), "round {round}");
        for starter in &mut starters {
            // The loser has ended already.
            let _ = starter.kill();
            starter.wait().expect("it ends");
        }
    }
}

#[test]
fn after_each_of_many_kills_it_starts_with_every_acknowledged_record() {
    let mut daemon = setup();
    let mut acknowledged = 0;
    for round in 0..rounds(15) {
        let mut client = daemon.client();
        let writer = thread::spawn(move || {
            (0..)
                .take_while(|n| {
                    let text = format!("Round {round} brought thought number {n} to the store.");
                    let call = json!({"jsonrpc": "2.0", "id": n, "method": "memory_capture", "params": {"text": text}});
                    client.try_send(format!("{call}\n")) && client.try_line().contains("\"inserted\"")
                })
                .count() as u64
        });
        // At another point each time: the start, the first commit, a checkpoint.
        until("it is about that far", || daemon.status()["records"].as_u64() >= Some(acknowledged + round as u64 % 40));
        daemon.kill();
        acknowledged += writer.join().expect("it ends");
        daemon.restart();
        let records = daemon.status()["records"].as_u64().expect("a number");
        assert!(records >= acknowledged, "round {round}: {records} of {acknowledged} are left");
        assert!(records <= acknowledged + 1, "round {round}: {records}, and {acknowledged} were acknowledged");
        // The capture in progress may have been committed.
        acknowledged = records;
    }
    let report = daemon.client().call("topology", json!({}));
    assert!(report.is_object(), "{report}");
}

#[test]
fn signals_during_calls_lose_nothing() {
    let daemon = setup();
    let mut client = daemon.client();
    let (pid, done) = (daemon.pid().to_string(), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            // SIGHUP is caught and ignored: system calls fail with EINTR.
            while !done.load(Ordering::Relaxed) {
                assert!(kill_command().args(["-HUP", &pid]).status().expect("kill runs").success());
            }
        });
        let _stop_signals = SetOnDrop(&done);
        for n in 0..300 {
            let text = format!("Thought number {n} came between two signals.");
            assert_eq!(client.call("memory_capture", json!({"text": text}))["status"], "inserted");
            client.call("memory_recall", json!({"cue": "signals"}));
        }
    });
    assert_eq!(daemon.status()["records"], 300);
    assert_eq!(daemon.status()["errors"], 0);
}
