//! Faults that only Linux can be made to show: sockets with the smallest buffers, a log pipe without a reader, system calls
//! that fail. The daemon recovers, and loses no reply.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::thread;
use std::time::Instant;

use serde_json::{Value, json};

use crate::harness::{Client, Setup, setup, until};
use crate::os;
use crate::shell::behind;
use crate::shim::{Fault, faulty};

const PING: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n";

#[test]
fn sockets_with_small_buffers_lose_nothing() {
    let daemon = setup();
    let mut writer = daemon.client();
    for n in 0..20 {
        let text = format!("Remark {n}: {}", "a long remark about the harbour ".repeat(100));
        assert_eq!(
            writer.call("memory_capture", json!({"text": text, "session_id": format!("s{n}")}))["status"],
            "inserted"
        );
    }
    let stream = daemon.connect();
    os::shrink_send_buffer(&stream);
    let mut client = Client::new(stream.try_clone().expect("it can be duplicated"));
    client.call("ping", json!({}));
    let shrunk = os::shrink_peers_send_buffers(daemon.pid());
    assert!(shrunk >= 2, "{shrunk} sockets of the daemon were shrunk");
    const CALLS: usize = 60;
    let feeder = thread::spawn(move || {
        let mut stream = stream;
        for id in 0..CALLS {
            // Each line in two pieces, longer than the sending side's buffer.
            let cue = format!("harbour {}", "remark ".repeat(700));
            let line = json!({"jsonrpc": "2.0", "id": id, "method": "memory_recall", "params": {"cue": cue}});
            let line = format!("{line}\n");
            let (first, second) = line.as_bytes().split_at(line.len() / 3);
            stream.write_all(first).and_then(|()| stream.write_all(second)).expect("the daemon reads");
        }
    });
    let mut bytes = 0;
    for id in 0..CALLS {
        let line = client.line();
        bytes += line.len();
        let reply: Value = serde_json::from_str(&line).expect("a whole reply");
        assert_eq!(reply["id"], id);
        assert!(reply["result"]["hits"].as_array().is_some_and(|hits| !hits.is_empty()), "{reply}");
    }
    assert!(bytes > 64 << 10, "{bytes} bytes went through the smallest buffer");
    feeder.join().expect("all is sent");
    until("nothing is held", || daemon.status()["buffered_bytes"] == 0);
}

#[test]
fn a_log_pipe_without_a_reader_blocks_no_client_and_counts_dropped_records() {
    let setup = Setup::new().env("IAID_LOG", "trace");
    let log = setup.home().join("unread");
    assert!(Command::new("mkfifo").arg(&log).status().expect("mkfifo runs").success());
    let mut options = fs::File::options();
    let mut reader = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&log).expect("a pipe");
    while reader.write(&[b'\n'; 4096]).is_ok() {}
    let command = behind(&format!("exec 2>'{}'", log.display()), &setup.serve());
    let daemon = setup.start_by(command);
    for _ in 0..10 {
        assert_eq!(daemon.client().call("ping", json!({})), json!({}));
    }
    let mut text = Vec::new();
    until("the dropped records are logged", || {
        let mut some = [0; 4096];
        let count = reader.read(&mut some).unwrap_or(0);
        text.extend_from_slice(&some[..count]);
        drop(daemon.client());
        String::from_utf8_lossy(&text).contains("log pipe full: ")
    });
}

#[test]
fn while_accept_fails_open_connections_are_served_and_waiting_ones_are_kept() {
    const WAITING: u64 = 20;
    for error in [libc::ENFILE, libc::EMFILE] {
        let Some((setup, faults)) = faulty(Setup::new()) else { return };
        let daemon = setup.start();
        let mut client = daemon.client();
        client.call("ping", json!({}));
        let began = Instant::now();
        faults.fail(Fault::Accept, error, 1);
        let mut waiting: Vec<Client> = (0..WAITING).map(|_| daemon.client()).collect();
        waiting.iter_mut().for_each(|client| client.send(PING));
        until("it has retried", || faults.failed(Fault::Accept) > 2 * (WAITING + 4));
        assert_eq!(
            client.call("memory_capture", json!({"text": "Captured while accept fails."}))["status"],
            "inserted"
        );
        // Each attempt is two calls, one of them without the reserve. One attempt a new connection, else ten a second.
        let attempts = faults.failed(Fault::Accept) / 2;
        let most = WAITING + 3 + (began.elapsed().as_millis() / 100) as u64;
        assert!(attempts <= most, "{attempts} attempts, at most {most}");
        assert_eq!(daemon.log().matches("cannot accept connections, retrying").count(), 1, "{}", daemon.log());
        faults.heal(Fault::Accept);
        for client in &mut waiting {
            assert!(client.line().contains("\"result\""), "{error}");
        }
        assert_eq!(daemon.status()["refused_connections"], 0);
    }
}

#[test]
fn a_connection_that_cannot_be_accepted_gets_one_error_line() {
    let mut refused = 0;
    // Some of these refuse each other client. Some refuse none: their turn comes when no client waits.
    for (error, every) in (2..8).map(|every| (if every % 2 == 0 { libc::ENFILE } else { libc::EMFILE }, every)) {
        let Some((setup, faults)) = faulty(Setup::new()) else { return };
        let daemon = setup.start();
        faults.fail(Fault::Accept, error, every);
        let before = refused;
        for n in 0..20 {
            let mut client = daemon.client();
            // The error may arrive, and the connection be closed, before the request is sent.
            client.try_send(PING);
            let reply: Value = serde_json::from_str(&client.try_line()).expect("a whole reply");
            if reply.get("result").is_none() {
                let error = json!({"code": -32001, "message": "out of file descriptors"});
                assert_eq!((&reply["id"], &reply["error"]), (&Value::Null, &error), "{every}: {n}");
                assert_eq!(client.try_line(), "", "{every}: {n}: one line");
                refused += 1;
            }
        }
        faults.heal(Fault::Accept);
        assert_eq!(daemon.status()["refused_connections"], refused - before, "{every}");
        assert_eq!(daemon.client().call("ping", json!({})), json!({}));
    }
    assert!(refused > 0, "no client was refused");
}

#[test]
fn a_system_call_that_fails_with_eintr_is_repeated() {
    for every in [2, 3, 7] {
        let Some((setup, faults)) = faulty(Setup::new()) else { return };
        faults.fail(Fault::Interrupt, libc::EINTR, every);
        let mut daemon = setup.start();
        let mut client = daemon.client();
        for n in 0..100 {
            let text = format!("Thought number {n} came between two signals.");
            assert_eq!(client.call("memory_capture", json!({"text": text}))["status"], "inserted");
            let recalled = client.call("memory_recall", json!({"cue": format!("thought {n}")}));
            assert!(!recalled["hits"].as_array().expect("a list").is_empty());
        }
        assert_eq!(client.ask(r#"{"type":"pause"}"#), json!({"ok": true, "paused": true}));
        assert_eq!(daemon.status()["errors"], 0);
        assert!(faults.failed(Fault::Interrupt) > 100, "{} calls were ended", faults.failed(Fault::Interrupt));
        assert_eq!(daemon.stop().code(), Some(0), "{}", daemon.log());
        daemon.restart();
        assert_eq!(daemon.status()["records"], 100);
        assert_eq!(daemon.status()["scheduler_paused"], true);
        assert_eq!(daemon.client().call("store_check", json!({}))["ok"], true);
        assert!(!daemon.log().contains("WARN") && !daemon.log().contains("ERROR"), "{}", daemon.log());
    }
}
