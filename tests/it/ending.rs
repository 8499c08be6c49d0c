//! How the daemon stops: what it still answers, what it leaves behind, and which signals do not stop it.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Client, Daemon, Setup, setup, until};

const HUP: i32 = 1;
const INT: i32 = 2;
const PIPE: i32 = 13;
const TERM: i32 = 15;

/// A drain timeout that no test reaches: a stop that succeeds did not wait for it.
const NEVER: &[&str] = &["--drain-timeout", "3600"];

#[test]
fn with_idle_clients_it_stops_at_once_and_removes_its_socket() {
    for signal in [TERM, INT] {
        let mut daemon = Setup::new().args(NEVER).start();
        let mut clients: Vec<Client> = (0..20).map(|_| daemon.client()).collect();
        for client in &mut clients {
            client.call("ping", json!({}));
        }
        daemon.signal(signal);
        assert_eq!(daemon.wait().code(), Some(0), "{}", daemon.log());
        for client in &mut clients {
            assert_eq!(client.rest(), "");
        }
        assert!(!daemon.setup().socket().exists());
        assert!(daemon.setup().home().join("d.sock.lock").exists());
        daemon.restart();
        daemon.client().call("ping", json!({}));
    }
}

#[test]
fn incomplete_lines_do_not_delay_the_stop_and_are_not_answered() {
    let mut daemon = Setup::new().args(NEVER).start();
    let mut small = daemon.client();
    small
        .send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}");
    let mut large = daemon.client();
    large.send(format!("{{\"x\":\"{}", "x".repeat(400 << 10)));
    until("both are read", || daemon.status()["buffered_bytes"].as_u64() > Some(400 << 10));
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(small.rest(), "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n");
    assert_eq!(large.rest(), "");
}

#[test]
fn every_line_that_was_read_is_answered_before_the_stop() {
    let mut daemon = Setup::new().args(NEVER).start();
    let mut clients: Vec<Client> = (0..5).map(|_| daemon.client()).collect();
    let calls = 150;
    for (n, client) in clients.iter_mut().enumerate() {
        // In one write, so that the daemon reads either none or all of it.
        client.send((0..calls).map(|id| capture(n, id)).collect::<String>());
    }
    for client in &mut clients {
        assert_eq!(inserted(&client.line()), 0);
    }
    daemon.signal(TERM);
    for client in &mut clients {
        for id in 1..calls {
            assert_eq!(inserted(&client.line()), id);
        }
        assert_eq!(client.line(), "");
    }
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.restart();
    assert_eq!(daemon.status()["records"], 5 * calls);
}

#[test]
fn calls_that_keep_coming_do_not_delay_the_stop_and_are_answered_as_far_as_read() {
    let mut daemon = Setup::new().args(NEVER).start();
    let stream = daemon.connect();
    let mut replies = Client::new(stream.try_clone().expect("a descriptor is to be had"));
    let sender = std::thread::spawn(move || {
        let mut id = 0;
        // Until the daemon has stopped.
        while (&stream).write_all(capture(0, id).as_bytes()).is_ok() {
            id += 1;
        }
        id
    });
    for id in 0..50 {
        assert_eq!(inserted(&replies.line()), id);
    }
    daemon.signal(TERM);
    let mut answered = 50;
    loop {
        // A daemon that stops while more bytes arrive resets the connection.
        let line = replies.try_line();
        if line.is_empty() {
            break;
        }
        assert_eq!(inserted(&line), answered);
        answered += 1;
    }
    assert_eq!(daemon.wait().code(), Some(0));
    let sent = sender.join().expect("it ends when the daemon does");
    assert!(answered <= sent);
    daemon.restart();
    assert_eq!(daemon.status()["records"], answered);
}

#[test]
fn a_client_that_never_reads_delays_the_stop_by_the_drain_timeout() {
    let mut daemon = Setup::new().args(&["--drain-timeout", "0.3"]).start();
    let deaf = with_a_client_that_never_reads(&daemon);
    let asked = Instant::now();
    assert_eq!(daemon.stop().code(), Some(0), "{}", daemon.log());
    assert!(asked.elapsed() >= Duration::from_millis(300), "it did not wait for its client");
    assert!(!daemon.setup().socket().exists());
    drop(deaf);
}

#[test]
fn a_stopping_daemon_accepts_no_connection_and_a_second_signal_ends_it_at_once() {
    for (first, second) in [(TERM, TERM), (INT, TERM)] {
        let mut daemon = Setup::new().args(NEVER).start();
        let deaf = with_a_client_that_never_reads(&daemon);
        let mut idle = daemon.client();
        idle.call("ping", json!({}));
        daemon.signal(first);
        assert_eq!(idle.rest(), "");
        let refused = UnixStream::connect(daemon.setup().socket()).expect_err("it no longer listens");
        assert!([ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&refused.kind()), "{refused}");
        daemon.signal(second);
        assert_eq!(daemon.wait().code(), Some(1));
        assert!(!daemon.setup().socket().exists());
        drop(deaf);
        daemon.restart();
    }
}

#[test]
fn output_that_waits_for_its_reader_is_sent_after_the_signal() {
    let mut daemon = Setup::new().args(NEVER).start();
    let mut slow = with_a_client_that_never_reads(&daemon);
    daemon.signal(TERM);
    until("the path is removed", || !daemon.setup().socket().exists());
    let mut id = 0;
    while let line = slow.try_line()
        && !line.is_empty()
    {
        assert!(line.starts_with(&format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id} iii")), "{line:.80}");
        id += 1;
    }
    // The socket's buffer alone holds fewer.
    assert!(id > 8, "{id} replies came");
    assert_eq!(daemon.wait().code(), Some(0));
}

#[test]
fn sighup_and_sigpipe_do_not_stop_it() {
    let mut daemon = setup();
    let mut client = daemon.client();
    for signal in [HUP, PIPE, HUP] {
        daemon.signal(signal);
        // Replies that no client reads.
        let gone = daemon.connect();
        (&gone).write_all("{\"type\":\"status\"}\n".repeat(1000).as_bytes()).expect("the daemon reads");
        drop(gone);
        client.call("ping", json!({}));
        client.call("profile_get", json!({}));
    }
    until("the others are closed", || daemon.status()["connections"] == 2);
    assert_eq!(daemon.stop().code(), Some(0));
}

/// Returns a client with more output than its socket holds, so the daemon cannot finish it before it reads.
fn with_a_client_that_never_reads(daemon: &Daemon) -> Client {
    let mut client = daemon.client();
    // The long ids are echoed. Not so many that the daemon stops reading.
    for id in 0..10 {
        client.send(format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{id} {}\",\"method\":\"ping\"}}\n", "i".repeat(30 << 10)));
    }
    until("its output waits", || daemon.status()["buffered_bytes"].as_u64() > Some(60 << 10));
    client
}

fn capture(client: usize, id: usize) -> String {
    let text = format!("record {id} of client number {client}");
    json!({"jsonrpc": "2.0", "id": id, "method": "memory_capture", "params": {"text": text}}).to_string() + "\n"
}

/// Returns the id of a capture's reply, which must say that the text was inserted.
fn inserted(reply: &str) -> usize {
    let json: serde_json::Value = serde_json::from_str(reply).unwrap_or_else(|e| panic!("{reply:?}: {e}"));
    assert_eq!(json["result"]["status"], "inserted", "{reply}");
    json["id"].as_u64().expect("a number") as usize
}
