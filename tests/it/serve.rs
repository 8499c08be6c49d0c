//! The event loop over the socket: fairness, bounded memory, no lost requests, and no work while idle.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Client, Daemon, SetOnDrop, Setup, setup, until};
use crate::os;
use crate::skip::skipped;

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const PONG: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

/// Most bytes held for a peer that does not read: output above its mark by less than one reply,
/// and input that was read before.
const MAX_HELD_BYTES: u64 = (256 << 10) + (64 << 10) + 4096;

#[test]
fn a_flood_of_requests_does_not_starve_other_clients() {
    let daemon = setup();
    for line in [PING, &call(1, "profile_get")] {
        let over = AtomicBool::new(false);
        let (sent, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let flood = daemon.connect();
        thread::scope(|scope| {
            scope.spawn(|| {
                let many = format!("{line}\n").repeat(500);
                while !over.load(Ordering::Relaxed) {
                    (&flood).write_all(many.as_bytes()).expect("the daemon reads");
                    sent.fetch_add(500, Ordering::Relaxed);
                }
                flood.shutdown(Shutdown::Write).expect("the sending side can be ended");
            });
            scope.spawn(|| {
                for line in BufReader::new(&flood).lines() {
                    assert!(line.expect("a reply comes").contains("\"result\""));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
            let _stop_flood = SetOnDrop(&over);
            let mut client = daemon.client();
            for _ in 0..20 {
                let before = answered.load(Ordering::Relaxed);
                until("the flood goes on", || answered.load(Ordering::Relaxed) > before);
                assert_eq!(client.ask(PING), json!({"jsonrpc": "2.0", "id": 1, "result": {}}));
                assert_eq!(client.call("profile_get", json!({"knob": "wake_depth"}))["value"], "minimal");
                assert_eq!(client.ask(r#"{"type":"status"}"#)["ok"], true);
            }
        });
        assert_eq!(answered.into_inner(), sent.into_inner());
    }
}

#[test]
fn a_client_that_reads_no_replies_is_not_read_until_it_does() {
    let daemon = setup();
    let lines = 100_000;
    let stream = daemon.connect();
    let sent = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for first in (0..lines).step_by(500) {
                let some: String = (first..first + 500).map(|id| call(id, "ping")).collect();
                (&stream).write_all(some.as_bytes()).expect("the daemon reads in the end");
                sent.fetch_add(500, Ordering::Relaxed);
            }
        });
        until("output is over its mark", || buffered(&daemon) > 256 << 10);
        let mut other = daemon.client();
        for _ in 0..100 {
            assert_eq!(other.call("ping", json!({})), json!({}));
            assert_eq!(other.call("profile_get", json!({"knob": "wake_depth"}))["value"], "minimal");
        }
        let held = buffered(&daemon);
        assert!(held > 256 << 10 && held < MAX_HELD_BYTES, "{held} bytes are held");
        assert!(sent.load(Ordering::Relaxed) < lines / 2, "all was read");
        let mut replies = Client::new(stream.try_clone().expect("it can be duplicated"));
        for id in 0..lines {
            assert_eq!(replies.line(), format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}"));
        }
    });
    until("nothing is held", || buffered(&daemon) == 0);
}

#[test]
fn each_pipelined_line_before_a_half_close_gets_one_reply_in_order() {
    let daemon = setup();
    let lines = 6000;
    let stream = daemon.connect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut text: String = (0..lines).map(|id| mixed(id).0).collect();
            // The last line has no newline and counts as a line.
            text.truncate(text.trim_end().len());
            (&stream).write_all(text.as_bytes()).expect("the daemon reads");
            stream.shutdown(Shutdown::Write).expect("the sending side can be ended");
        });
        let mut replies = Client::new(stream.try_clone().expect("it can be duplicated"));
        for id in 0..lines {
            let (sent, expected) = mixed(id);
            let reply = replies.line();
            assert!(reply.starts_with(&expected), "{sent} was answered {reply}, not {expected}");
        }
        assert_eq!(replies.rest(), "");
    });
    let status = daemon.status();
    assert_eq!((&status["in_flight"], &status["queued"]), (&json!(0), &json!(0)));
    assert_eq!(status["requests"], lines);
}

/// Returns request number `id`, one of twelve kinds, some after blank lines, and the start of its reply.
fn mixed(id: usize) -> (String, String) {
    let ok = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":");
    let error = |id: &str, code: i32| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":{code},");
    let own = id.to_string();
    match id % 12 {
        0 | 3 | 4 => (call(id, "ping"), ok),
        1 | 2 | 5 | 6 => (call(id, "profile_get"), ok),
        7 => (format!("\n \r\n{}", call(id, "no_such")), error(&own, -32601)),
        8 => ("no json\n".into(), error("null", -32700)),
        9 => (
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"profile_get\",\"params\":[]}}\n"),
            error(&own, -32602),
        ),
        10 if id.is_multiple_of(5) => ("{\"type\":\"pause\"}\n".into(), "{\"ok\":true,\"paused\":true}".into()),
        10 => ("{\"type\":\"status\"}\n".into(), "{\"ok\":true,\"state\":".into()),
        _ => (format!("{{\"id\":{id}}}\n"), error(&own, -32600)),
    }
}

#[test]
fn complete_requests_of_a_client_that_disconnects_are_served() {
    let daemon = Setup::new().env("IAID_LOG", "debug").start();
    // One control message, then the client disconnects.
    let mut stream = daemon.connect();
    stream.write_all(b"{\"type\":\"pause\"}\n").expect("the daemon reads");
    drop(stream);
    until("it is paused", || daemon.status()["scheduler_paused"] == true);
    // Many calls, whose replies are not read, and half a line.
    let mut stream = daemon.connect();
    for n in 0..100 {
        let text = format!("capture number {n} of a client that does not wait");
        let line = json!({"jsonrpc": "2.0", "id": n, "method": "memory_capture", "params": {"text": text}});
        stream.write_all(format!("{line}\n{PING}\n").as_bytes()).expect("the daemon reads");
    }
    stream.write_all(b"{\"type\":\"resume\"").expect("the daemon reads");
    drop(stream);
    until("all is kept", || daemon.status()["records"] == 100);
    until("it has left", || daemon.status()["connections"] == 1);
    assert_eq!(daemon.status()["scheduler_paused"], true);
    let log = daemon.log();
    let loud: Vec<&str> =
        log.lines().filter(|line| !line.contains(" DEBUG ")).skip_while(|l| !l.contains("ready")).collect();
    assert_eq!(loud.len(), 1, "{loud:?}");
}

#[test]
fn closed_connections_leave_no_descriptors_and_no_memory() {
    let daemon = setup();
    let mut watcher = daemon.client();
    until("no other connection is open", || counted(&mut watcher, "connections") == 1);
    let before = settled_descriptors(&daemon);
    for round in 0..300 {
        let mut client = daemon.client();
        match round % 4 {
            0 => assert_eq!(client.ask(PING)["id"], 1),
            1 => client.send("{\"half\":"),
            2 => client.send(call(round, "profile_get")),
            _ => client.end(),
        }
    }
    until("all have left", || counted(&mut watcher, "connections") == 1);
    // One more than in the end may have been open before, on a busy machine.
    until("no descriptor is left", || descriptors(&daemon).len() <= before);
    assert_eq!(counted(&mut watcher, "buffered_bytes"), 0);
}

#[test]
fn twenty_idle_clients_cause_no_work() {
    let daemon = Setup::new().args(&["--rest-after", "3600"]).start();
    let mut clients: Vec<Client> = (0..20).map(|_| daemon.client()).collect();
    for client in &mut clients {
        client.call("ping", json!({}));
        client.call("profile_get", json!({"knob": "wake_depth"}));
        client.send("{\"half\":");
    }
    // Work after a request ends soon.
    let mut before = (cpu_time(&daemon), switches(&daemon));
    until("it is idle", || {
        thread::sleep(Duration::from_millis(500));
        let now = (cpu_time(&daemon), switches(&daemon));
        std::mem::replace(&mut before, now) == now
    });
    thread::sleep(Duration::from_secs(3));
    assert_eq!((cpu_time(&daemon), switches(&daemon)), before, "an idle daemon worked or woke up");
    for client in &mut clients {
        client.send("1}\n");
        assert!(client.line().contains("jsonrpc must be '2.0'"));
    }
}

#[test]
fn a_connection_over_the_limit_gets_an_error_and_is_closed() {
    let daemon = Setup::new().args(&["--max-connections", "3"]).start();
    let mut clients: Vec<Client> = Vec::new();
    // The harness has probed the daemon with a connection, which may still be counted.
    until("three are served", || {
        let mut client = daemon.client();
        if client.try_ping() {
            clients.push(client);
        }
        clients.len() == 3
    });
    let refused = counted(&mut clients[0], "refused_connections");
    for round in 1..=5 {
        let mut fourth = daemon.client();
        assert_eq!(
            fourth.line(),
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"too many connections (limit 3)"}}"#
        );
        assert_eq!(fourth.line(), "");
        assert_eq!(counted(&mut clients[0], "refused_connections"), refused + round);
    }
    for client in &mut clients {
        assert_eq!(client.ask(PING)["id"], 1);
    }
    drop(clients.pop());
    until("a new one is served", || daemon.client().try_ping());
}

#[test]
fn many_half_sent_large_lines_do_not_block_other_clients() {
    let daemon = Setup::new().args(&["--max-memory", "1M", "--max-line", "512K"]).start();
    let line = |id: usize| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\",\"x\":\"{}\"}}\n", "x".repeat(450 << 10))
    };
    let half = 300 << 10;
    thread::scope(|scope| {
        let large: Vec<_> = (0..10)
            .map(|id| {
                let stream = daemon.connect();
                let sender = stream.try_clone().expect("it can be duplicated");
                let (go, gone) = std::sync::mpsc::channel::<()>();
                // If the half is not read, this thread blocks.
                scope.spawn(move || {
                    let line = line(id);
                    drop((&sender).write_all(&line.as_bytes()[..half]));
                    gone.recv().expect("the test goes on");
                    drop((&sender).write_all(&line.as_bytes()[half..]));
                });
                (Client::new(stream), go)
            })
            .collect();
        until("memory is short", || buffered(&daemon) > 300 << 10);
        let mut small = daemon.client();
        for _ in 0..20 {
            small.call("ping", json!({}));
            small.call("profile_get", json!({"knob": "wake_depth"}));
        }
        let held = buffered(&daemon);
        assert!(held <= 1 << 20, "{held} bytes are held");
        let mut other = daemon.client();
        other.send(line(7));
        assert_eq!(other.line(), r#"{"jsonrpc":"2.0","id":7,"result":{}}"#);
        large.iter().for_each(|(_, go)| go.send(()).expect("its thread waits"));
        // A line that stood still while others waited may have lost its connection.
        let is_answered = |(id, (mut client, _)): (usize, (Client, _))| match client.try_line() {
            line if line.is_empty() => false,
            line => {
                assert_eq!(line.trim_end(), format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}"));
                true
            }
        };
        let answered = large.into_iter().enumerate().map(is_answered).filter(|answered| *answered).count();
        assert_eq!(10 - answered as u64, daemon.status()["cut_lines"].as_u64().expect("a number"));
    });
    until("nothing is held", || buffered(&daemon) == 0);
}

#[test]
#[cfg(target_os = "linux")]
fn out_of_descriptors_it_refuses_or_waits_and_recovers() {
    let daemon = setup();
    let mut served = daemon.client();
    served.call("profile_get", json!({"knob": "wake_depth"}));
    served.call("memory_capture", json!({"text": "opens the writer's files"}));
    served.call("memory_recall", json!({"cue": "opens a worker's files"}));

    // Only the reserve descriptor is left: new connections get an error.
    let highest = descriptors(&daemon).into_iter().max().expect("some are open");
    let before = os::limit_descriptors(daemon.pid(), highest + 1);
    let mut filling = Vec::new();
    let refusal = loop {
        let mut client = daemon.client();
        match client.ping_or_refusal() {
            None => filling.push(client),
            Some(refusal) => break refusal,
        }
        assert!(filling.len() <= highest as usize, "the limit was not reached");
    };
    assert_eq!(refusal, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"out of file descriptors"}}"#);
    for _ in 0..5 {
        assert_eq!(daemon.client().ping_or_refusal().as_deref(), Some(&*refusal));
    }
    assert_eq!(counted(&mut served, "refused_connections"), 6);

    // Not even the reserve is left: new connections wait, and the daemon retries.
    os::limit_descriptors(daemon.pid(), 1);
    let mut waiting: Vec<Client> = (0..5).map(|_| daemon.client()).collect();
    waiting.iter_mut().for_each(|client| client.send(format!("{PING}\n")));
    let busy = cpu_time(&daemon);
    thread::sleep(Duration::from_secs(1));
    let spent = cpu_time(&daemon) - busy;
    assert!(spent <= 10, "{spent} hundredths of a second of CPU time for clients that cannot be served");
    assert_eq!(served.ask(PING)["id"], 1);
    assert_eq!(daemon.log().matches("cannot accept connections").count(), 1, "{}", daemon.log());

    os::limit_descriptors(daemon.pid(), before);
    for client in &mut waiting {
        assert!([PONG, &refusal].contains(&&*client.line()));
    }
    until("it has recovered", || daemon.client().try_ping());
    drop(filling);
    served.call("memory_recall", json!({"cue": "serves as before"}));
}

#[test]
fn out_of_band_bytes_do_not_block_a_connection() {
    let daemon = setup();
    let stream = daemon.connect();
    let mut replies = Client::new(stream.try_clone().expect("it can be duplicated"));
    for id in 0..50 {
        (&stream).write_all(call(2 * id, "ping").as_bytes()).expect("the daemon reads");
        if !os::send_out_of_band(&stream, b'!') {
            return skipped("the kernel has no out-of-band bytes on Unix sockets (CONFIG_AF_UNIX_OOB)");
        }
        (&stream).write_all(call(2 * id + 1, "ping").as_bytes()).expect("the daemon reads");
        for id in [2 * id, 2 * id + 1] {
            assert_eq!(replies.line(), format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}"));
        }
    }
}

#[test]
fn passed_descriptors_are_closed_and_every_line_is_answered() {
    let daemon = setup();
    let mut client = daemon.client();
    client.call("profile_get", json!({"knob": "wake_depth"}));
    let stream = daemon.connect();
    let mut replies = Client::new(stream.try_clone().expect("it can be duplicated"));
    replies.send(call(0, "ping"));
    replies.line();
    let before = settled_descriptors(&daemon);
    let passed = File::open("/dev/null").expect("it is there");
    for id in 1..200 {
        let line = call(id, if id % 3 == 0 { "profile_get" } else { "ping" });
        // With a descriptor within a line, at its end, or without one.
        let (head, tail) = line.split_at(id % line.len());
        for part in [head, tail].into_iter().filter(|part| !part.is_empty()) {
            match id % 5 {
                0 => (&stream).write_all(part.as_bytes()).expect("the daemon reads"),
                _ => assert_eq!(
                    os::send_with_descriptor(&stream, part.as_bytes(), &passed).expect("it is sent"),
                    part.len()
                ),
            }
        }
    }
    for id in 1..200 {
        assert!(replies.line().starts_with(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":")));
    }
    // One more than in the end may have been open before, on a busy machine.
    until("no descriptor is left", || descriptors(&daemon).len() <= before);
}

/// Returns the number of descriptors once it is stable: no worker has a state file or the journal open.
fn settled_descriptors(daemon: &Daemon) -> usize {
    let mut counts = Vec::new();
    until("the number stays", || {
        counts.push(descriptors(daemon).len());
        counts.len() >= 10 && counts.iter().rev().take(10).all(|count| counts.last() == Some(count))
    });
    counts.pop().expect("it was counted")
}

impl Client {
    /// Returns true if a ping is answered, and false if the connection is refused.
    fn try_ping(&mut self) -> bool {
        self.ping_or_refusal().is_none()
    }

    /// Returns the line that came instead of a ping's reply, if any.
    fn ping_or_refusal(&mut self) -> Option<String> {
        // A refused connection may already be closed.
        let sent = self.try_send(format!("{PING}\n"));
        let line = self.try_line();
        assert!(sent || line != PONG);
        (line != PONG).then_some(line)
    }
}

fn call(id: usize, method: &str) -> String {
    let params = if method == "profile_get" { r#"{"knob":"wake_depth"}"# } else { "{}" };
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{params}}}\n")
}

fn buffered(daemon: &Daemon) -> u64 {
    daemon.status()["buffered_bytes"].as_u64().expect("a number")
}

fn counted(client: &mut Client, name: &str) -> u64 {
    let status: Value = client.ask(r#"{"type":"status"}"#);
    status[name].as_u64().expect("a number")
}

/// Returns the daemon's open descriptors.
fn descriptors(daemon: &Daemon) -> Vec<u64> {
    let folder = std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs");
    folder
        .map(|entry| entry.expect("listed").file_name().to_str().and_then(|n| n.parse().ok()).expect("a number"))
        .collect()
}

/// Returns the daemon's CPU time in hundredths of a second (proc_pid_stat(5)).
fn cpu_time(daemon: &Daemon) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).expect("it runs");
    // After the name, which is in parentheses and may contain any character, utime is the 12th field.
    let fields: Vec<&str> = stat[stat.rfind(')').expect("a name") + 2..].split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<u64>().expect("a number")).sum()
}

/// Returns how often the daemon's threads went to sleep.
fn switches(daemon: &Daemon) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).expect("it runs");
    tasks
        .map(|task| {
            let mut status = String::new();
            let path = task.expect("listed").path().join("status");
            File::open(path).and_then(|mut file| file.read_to_string(&mut status)).expect("the thread lives");
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|count| count.trim().parse::<u64>().ok()).expect("a number")
        })
        .sum()
}
