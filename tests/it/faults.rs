//! What a machine does to a daemon: a socket file that goes away, sockets that take little, kills at any
//! moment. It says so, heals where it can, and loses nobody's reply.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::harness::{Client, PATIENCE, Setup, until};
use crate::shell::behind;

const PING: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";

/// A daemon that looks after its socket so often that a test can wait for it.
fn watchful() -> Setup {
    Setup::new().args(&["--look-every", "0.02"])
}

/// A ping's reply came over a new connection.
fn answers(socket: &Path) -> bool {
    let Ok(stream) = UnixStream::connect(socket) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let mut client = Client::new(stream);
    client.try_send(PING) && client.try_line().contains("\"result\"")
}

#[test]
fn a_deleted_socket_file_is_bound_again_and_who_was_there_is_kept() {
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
        assert_ne!(about.ino(), before, "the old one was open still");
        assert_eq!(client.call("ping", json!({})), json!({}), "who was connected stays");
        until("it is said", || daemon.log().matches("had gone and was bound again").count() == round);
    }
    let said = String::from_utf8(daemon.setup().start_and_fail().stderr).expect("text");
    assert!(said.contains("another daemon (process "), "the lock is still held: {said}");
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!socket.exists(), "the new one is removed at the end");
}

#[test]
fn who_waited_at_the_deleted_socket_is_served() {
    let daemon = watchful().start();
    let socket = daemon.setup().socket();
    for round in 0..20 {
        // Connected, perhaps not accepted yet, when the file goes.
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
fn a_deleted_folder_is_made_again_and_its_lock_is_held() {
    let daemon = watchful().socket_at("run/d.sock").start();
    let socket = daemon.setup().socket();
    fs::remove_dir_all(daemon.setup().home().join("run")).expect("it can be removed");
    until("it answers", || answers(&socket));
    assert_eq!(fs::metadata(daemon.setup().home().join("run")).expect("it is there").mode() & 0o777, 0o700);
    let said = String::from_utf8(daemon.setup().start_and_fail().stderr).expect("text");
    assert!(said.contains(&format!("another daemon (process {}) holds ", daemon.pid())), "{said}");
}

#[test]
fn a_path_that_is_anothers_now_is_left_alone_said_once_and_taken_back_when_it_is_free() {
    let daemon = watchful().start();
    let socket = daemon.setup().socket();
    let mut client = daemon.client();
    let elsewhere = daemon.setup().home().join("theirs");
    let theirs = UnixListener::bind(&elsewhere).expect("a socket can be made");
    fs::rename(&elsewhere, &socket).expect("it takes the place");
    until("it is said", || daemon.log().contains("another program listens at"));
    let mut ticks = || client.ask(r#"{"type":"status"}"#)["last_tick_at"].clone();
    let first = ticks();
    until("it has looked again", || ticks() != first);
    assert_eq!(daemon.log().matches("is not bound again").count(), 1, "{}", daemon.log());
    drop(theirs);
    until("it answers again", || answers(&socket));
    assert!(daemon.log().contains("had gone and was bound again"), "{}", daemon.log());
}

#[test]
fn it_is_looked_at_each_wake() {
    // The minute of the default never comes in this test.
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
