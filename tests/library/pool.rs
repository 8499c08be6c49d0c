//! Workers: panics, late replies, pace, batches, and fairness between clients.

use std::time::Duration;

use iaid::limits::Limits;
use serde_json::json;

use crate::harness::{STATUS, call, failed, named, serve, serve_with};

const PING: &str = r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#;
const PONG: &str = r#"{"jsonrpc":"2.0","id":0,"result":{}}"#;

#[test]
fn a_panic_is_an_error_reply_and_the_worker_continues() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    // More than there are workers, first one at a time, then all in one piece.
    for id in 0..5 {
        peer.call(id, "panic", "");
        assert_eq!(peer.line(), failed(id, "the handler panicked"));
    }
    peer.send((5..200).map(|id| call(id, "panic", "")).collect::<String>());
    for id in 5..200 {
        assert_eq!(peer.line(), failed(id, "the handler panicked"));
    }
    peer.call(200, "echo", "alive");
    assert_eq!(peer.line(), named(200, "alive"));
    assert_eq!(server.counter("errors"), 200);
}

#[test]
fn a_worker_keeps_its_state_until_a_panic() {
    let server = serve(Limits::default());
    let mut holder = server.peer();
    holder.call(1, "hold", "gate");
    server.dispatch.await_log("hold gate");
    // One worker is left, so it carries out all of these calls.
    let mut peer = server.peer();
    let mut worker_state = |id| {
        peer.call(id, "worker", "");
        let reply = peer.reply();
        (reply["result"][0].as_u64().unwrap(), reply["result"][1].as_u64().unwrap())
    };
    let (number, calls) = worker_state(1);
    assert_eq!(worker_state(2), (number, calls + 1));
    let mut other = server.peer();
    other.call(3, "panic", "");
    assert_eq!(other.line(), failed(3, "the handler panicked"));
    let (new_number, calls) = worker_state(4);
    assert_eq!(calls, 1);
    assert_ne!(new_number, number);
}

#[test]
fn an_unanswered_call_is_answered_with_an_error() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    peer.call(1, "forget", "");
    assert_eq!(peer.line(), failed(1, "internal error: the handler returned without a reply"));
    peer.call(2, "write", "a");
    drop(server.dispatch.take("a"));
    assert_eq!(peer.line(), failed(2, "internal error: the handler returned without a reply"));
}

#[test]
fn late_replies_keep_the_order_of_the_lines() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    let lines = ["a", "b", "c"].iter().enumerate().map(|(id, name)| call(id, "write", name));
    peer.send(lines.collect::<String>() + PING + "\n" + "nonsense\n" + &call(9, "echo", "d"));
    for name in ["c", "b", "a"] {
        // From this thread, which is not the server's.
        server.dispatch.answer(name);
    }
    let got: Vec<String> = std::iter::repeat_with(|| peer.line()).take(6).collect();
    assert_eq!(got[..4], [&*named(0, "a"), &named(1, "b"), &named(2, "c"), PONG]);
    assert!(got[4].contains("-32700"), "{}", got[4]);
    assert_eq!(got[5], named(9, "d"));
}

#[test]
fn brief_calls_are_answered_in_order() {
    let server = serve(Limits { brief_call: Duration::from_secs(1), ..Limits::default() });
    let mut peer = server.peer();
    // The first call, which is measured, decides how many of the following ones are taken together.
    for first in ["now", "at once", "later"] {
        let names =
            [first, "now", "now", "at once", "now", "later", "now", "at once", "at once", "now", "now", "later"];
        let calls = names.iter().cycle().take(40).enumerate();
        peer.send(calls.clone().map(|(id, name)| call(id, "either", name)).collect::<String>());
        for (id, name) in calls {
            assert_eq!(peer.line(), named(id, name), "{first}");
        }
    }
}

#[test]
fn a_slow_call_after_brief_ones_is_refused_at_the_drain_timeout() {
    let mut server = serve(Limits {
        brief_call: Duration::from_secs(1),
        drain_timeout: Duration::from_millis(900),
        drain_grace: Duration::from_millis(600),
        ..Limits::default()
    });
    let mut peer = server.peer();
    let names = ["now", "now", "gate", "after it"];
    peer.send(names.iter().enumerate().map(|(id, name)| call(id, "either", name)).collect::<String>());
    server.dispatch.await_log("either gate");
    server.handle.stop().unwrap();
    assert_eq!(peer.line(), named(0, "now"));
    // The second was answered too, but its reply was not delivered yet.
    for id in 1..4 {
        assert_eq!(peer.line(), failed(id, "daemon is stopping"));
    }
    server.dispatch.open("gate");
    server.ended().unwrap();
    assert!(!server.dispatch.log().contains(&"either after it".into()), "{:?}", server.dispatch.log());
}

#[test]
fn pipelined_calls_overlap_and_ordered_ones_wait() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    let calls = [("write", "a"), ("write", "b"), ("keep", "c"), ("write", "d"), ("echo", "e")];
    // In one piece, so that they are one batch.
    peer.send(calls.iter().enumerate().map(|(id, (method, name))| call(id, method, name)).collect::<String>());
    server.dispatch.await_log("write b");
    // A call of another client, during which the next call could have started.
    server.peer().ask(call(0, "echo", "round").trim_end());
    server.dispatch.answer("a");
    server.dispatch.answer("b");
    server.dispatch.await_log("keep c");
    server.peer().ask(call(0, "echo", "round").trim_end());
    server.dispatch.answer("c");
    server.dispatch.answer("d");
    for (id, name) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        assert_eq!(peer.line(), named(id, name));
    }
    let log = server.dispatch.log();
    let position =
        |what: &str| log.iter().position(|line| line == what).unwrap_or_else(|| panic!("no {what}: {log:?}"));
    for (first, then) in
        [("write b", "answered a"), ("answered b", "keep c"), ("answered c", "write d"), ("answered d", "echo e")]
    {
        assert!(position(first) < position(then), "{first:?} is after {then:?}: {log:?}");
    }
}

#[test]
fn one_client_occupies_one_worker() {
    let server = serve(Limits { workers: 2, ..Limits::default() });
    let mut greedy = server.peer();
    for id in 0..10 {
        greedy.call(id, "hold", &format!("gate{id}"));
    }
    server.dispatch.await_log("hold gate0");
    let mut other = server.peer();
    for id in 0..20 {
        other.call(id, "echo", "served");
        assert_eq!(other.line(), named(id, "served"));
    }
    assert!(!server.dispatch.log().contains(&"hold gate1".into()));
    for id in 0..10 {
        server.dispatch.open(&format!("gate{id}"));
    }
    for id in 0..10 {
        assert_eq!(greedy.line(), named(id, &format!("gate{id}")));
    }
}

#[test]
fn a_batch_yields_to_other_clients_after_its_time() {
    let server = serve(Limits { workers: 2, batch_time: Duration::ZERO, ..Limits::default() });
    let mut holder = server.peer();
    holder.call(0, "hold", "for good");
    server.dispatch.await_log("hold for good");
    // The remaining worker runs one call of a batch at a time.
    let mut greedy = server.peer();
    greedy.send((0..5).map(|id| call(id, "hold", &format!("greedy{id}"))).collect::<String>());
    server.dispatch.await_log("hold greedy0");
    let mut other = server.peer();
    other.call(0, "echo", "other");
    server.await_counter("queued", 1);
    // At the first check, the job may be counted before the loop has queued it; by the second it is queued.
    server.await_counter("queued", 1);
    for id in 0..5 {
        server.dispatch.open(&format!("greedy{id}"));
    }
    assert_eq!(other.line(), named(0, "other"));
    for id in 0..5 {
        assert_eq!(greedy.line(), named(id, &format!("greedy{id}")));
    }
    let log = server.dispatch.log();
    assert_eq!(log[1..4], ["hold greedy0", "echo other", "hold greedy1"], "{log:?}");
}

#[test]
fn status_is_answered_while_every_worker_is_busy() {
    let server = serve(Limits { workers: 3, ..Limits::default() });
    let mut stuck: Vec<_> = (0..3)
        .map(|n| {
            let mut peer = server.peer();
            peer.call(n, "hold", &format!("gate{n}"));
            server.dispatch.await_log(&format!("hold gate{n}"));
            peer
        })
        .collect();
    let mut waiting = server.peer();
    waiting.send(call(7, "echo", "waits") + &call(8, "echo", "too") + STATUS + "\n");
    server.await_counter("queued", 1);
    let figures = server.peer().ask(STATUS);
    assert_eq!((&figures["in_flight"], &figures["workers"], &figures["queued"]), (&json!(5), &json!(3), &json!(1)));
    let mut peer = server.peer();
    assert_eq!(peer.ask(PING), json!({"jsonrpc": "2.0", "id": 0, "result": {}}));
    server.dispatch.open("gate1");
    assert_eq!(stuck[1].line(), named(1, "gate1"));
    assert_eq!(waiting.line(), named(7, "waits"));
    assert_eq!(waiting.line(), named(8, "too"));
    assert_eq!(waiting.reply()["in_flight"], 2);
}

#[test]
fn calls_with_small_replies_are_carried_out_while_every_worker_is_busy() {
    let server = serve(Limits::default());
    let mut holders = [server.peer(), server.peer()];
    for (id, holder) in holders.iter_mut().enumerate() {
        holder.call(id, "hold", &format!("gate{id}"));
        server.dispatch.await_log(&format!("hold gate{id}"));
    }
    let mut waiting = server.peer();
    waiting.call(2, "echo", "waits");
    let mut peer = server.peer();
    for id in 0..50 {
        for name in ["now", "at once", "later"] {
            peer.call(id, "either", name);
            assert_eq!(peer.line(), named(id, name));
        }
    }
    // So are tasks of the control plane.
    assert_eq!(peer.ask(r#"{"type":"resume"}"#), json!("done"));
    assert!(!server.dispatch.log().contains(&"echo waits".into()));
    server.dispatch.open("gate0");
    assert_eq!(waiting.line(), named(2, "waits"));
}

#[test]
fn limits_below_the_minimum_are_raised() {
    let nothing = Limits {
        workers: 0,
        turn_bytes: 0,
        turn_lines: 0,
        turn_accepts: 0,
        batch_calls: 0,
        output_mark_bytes: 0,
        ..Limits::default()
    };
    let server = serve(nothing);
    assert_eq!(server.counter("workers"), 2);
    let mut holder = server.peer();
    holder.call(1, "hold", "gate");
    server.dispatch.await_log("hold gate");
    let mut peer = server.peer();
    peer.call(2, "echo", "served");
    assert_eq!(peer.line(), named(2, "served"));
}

#[test]
fn control_plane_tasks_are_answered_in_order_and_may_panic() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    for _ in 0..5 {
        peer.send(format!("{{\"type\":\"resume\"}}\n{PING}\n{{\"type\":\"force_wake\",\"ts\":\"t\"}}\n"));
        peer.send("{\"type\":\"pause\"}\n");
        assert_eq!(peer.line(), "\"done\"");
        assert_eq!(peer.line(), PONG);
        assert_eq!(peer.line(), r#"{"ok":false,"reason":"control_plane_error","error":"task that panics"}"#);
        assert_eq!(peer.line(), r#"{"ok":true}"#);
    }
}

#[test]
fn without_a_control_plane_control_messages_are_refused() {
    let server = serve_with(|server| server);
    let mut peer = server.peer();
    for line in [STATUS, r#"{"type":"pause"}"#, r#"{"type":"force_rem","ts":"t"}"#] {
        let reply = peer.ask(line);
        assert_eq!((&reply["ok"], &reply["reason"]), (&json!(false), &json!("control_plane_unwired")));
        assert!(reply["error"].is_string());
    }
    assert_eq!(peer.ask(r#"{"type":"pause","seconds":true}"#)["reason"], "invalid_message");
    peer.call(1, "echo", "x");
    assert_eq!(peer.line(), named(1, "x"));
}

#[test]
fn each_worker_is_recycled_once() {
    let server = serve(Limits::default());
    let mut holder = server.peer();
    let mut peer = server.peer();
    let worker_state = |peer: &mut crate::harness::Peer, id| {
        peer.call(id, "worker", "");
        peer.line()
    };
    for round in 0..3 {
        let gate = format!("gate {round}");
        holder.call(1, "hold", &gate);
        server.dispatch.await_log(&format!("hold {gate}"));
        let first = worker_state(&mut peer, 1);
        // The reply comes when the worker that holds the gate is recycled too.
        let mut plane = server.peer();
        plane.send("{\"type\":\"force_rem\",\"ts\":\"t\"}\n");
        server.dispatch.open(&gate);
        assert_eq!(holder.line(), named(1, &gate));
        assert_eq!(plane.line(), "\"done\"");
        let second = worker_state(&mut peer, 1);
        assert_ne!(first, second);
        let calls = |line: &str| line.trim_end_matches("]}").rsplit(',').next().map(str::to_owned);
        assert_eq!(calls(&second), Some("1".into()), "{second}: the state is not new");
    }
}
