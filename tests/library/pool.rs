//! Workers: panics, replies that come later, pace, batches, and who waits for whom.

use std::time::Duration;

use iaid::limits::Limits;
use serde_json::json;

use crate::bench::{STATUS, call, failed, named, serve, serve_with};

const PING: &str = r#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#;
const PONG: &str = r#"{"jsonrpc":"2.0","id":0,"result":{}}"#;

#[test]
fn a_panic_is_an_error_reply_and_the_worker_lives() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    // More than there are workers, one by one and all at once.
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
    assert_eq!(server.figure("errors"), 200);
}

#[test]
fn a_worker_keeps_its_own_state_until_a_panic() {
    let server = serve(Limits::default());
    let mut holder = server.peer();
    holder.call(1, "hold", "gate");
    server.desk.await_log("hold gate");
    // One worker is left, so all this is its.
    let mut peer = server.peer();
    let mut own = |id| {
        peer.call(id, "own", "");
        let reply = peer.reply();
        (reply["result"][0].as_u64().unwrap(), reply["result"][1].as_u64().unwrap())
    };
    let (number, calls) = own(1);
    assert_eq!(own(2), (number, calls + 1));
    let mut other = server.peer();
    other.call(3, "panic", "");
    assert_eq!(other.line(), failed(3, "the handler panicked"));
    let (anew, calls) = own(4);
    assert_eq!(calls, 1);
    assert_ne!(anew, number);
}

#[test]
fn a_call_that_is_never_answered_is_answered() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    peer.call(1, "forget", "");
    assert_eq!(peer.line(), failed(1, "internal error: the handler returned without a reply"));
    peer.call(2, "write", "a");
    drop(server.desk.take("a"));
    assert_eq!(peer.line(), failed(2, "internal error: the handler returned without a reply"));
}

#[test]
fn late_replies_keep_the_order_of_the_lines() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    let lines = ["a", "b", "c"].iter().enumerate().map(|(id, name)| call(id, "write", name));
    peer.send(lines.collect::<String>() + PING + "\n" + "nonsense\n" + &call(9, "echo", "d"));
    for name in ["c", "b", "a"] {
        // From this thread, none of the server's.
        server.desk.answer(name);
    }
    let got: Vec<String> = std::iter::repeat_with(|| peer.line()).take(6).collect();
    assert_eq!(got[..4], [&*named(0, "a"), &named(1, "b"), &named(2, "c"), PONG]);
    assert!(got[4].contains("-32700"), "{}", got[4]);
    assert_eq!(got[5], named(9, "d"));
}

#[test]
fn brief_calls_are_answered_in_order_whenever_each_is() {
    let server = serve(Limits { brief_call: Duration::from_secs(1), ..Limits::default() });
    let mut peer = server.peer();
    // What is answered for the first time decides how many of those behind it go by together.
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
fn a_call_that_takes_long_behind_brief_ones_is_given_up_with_what_is_behind_it() {
    let mut server = serve(Limits {
        brief_call: Duration::from_secs(1),
        drain_timeout: Duration::from_millis(900),
        drain_grace: Duration::from_millis(600),
        ..Limits::default()
    });
    let mut peer = server.peer();
    let names = ["now", "now", "gate", "behind it"];
    peer.send(names.iter().enumerate().map(|(id, name)| call(id, "either", name)).collect::<String>());
    server.desk.await_log("either gate");
    server.handle.stop().unwrap();
    assert_eq!(peer.line(), named(0, "now"));
    // The second was answered too, but the two were to be shown together.
    for id in 1..4 {
        assert_eq!(peer.line(), failed(id, "daemon is stopping"));
    }
    server.desk.open("gate");
    server.ended().unwrap();
    assert!(!server.desk.log().contains(&"either behind it".into()), "{:?}", server.desk.log());
}

#[test]
fn pipelined_calls_overlap_and_ordered_ones_wait() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    let calls = [("write", "a"), ("write", "b"), ("keep", "c"), ("write", "d"), ("echo", "e")];
    // In one piece: what comes behind waits for all that was taken up before.
    peer.send(calls.iter().enumerate().map(|(id, (method, name))| call(id, method, name)).collect::<String>());
    server.desk.await_log("write b");
    // A full round of the pool, in which the next call could have begun.
    server.peer().ask(call(0, "echo", "round").trim_end());
    server.desk.answer("a");
    server.desk.answer("b");
    server.desk.await_log("keep c");
    server.peer().ask(call(0, "echo", "round").trim_end());
    server.desk.answer("c");
    server.desk.answer("d");
    for (id, name) in ["a", "b", "c", "d", "e"].iter().enumerate() {
        assert_eq!(peer.line(), named(id, name));
    }
    let log = server.desk.log();
    let place = |what: &str| log.iter().position(|line| line == what).unwrap_or_else(|| panic!("no {what}: {log:?}"));
    for (first, then) in
        [("write b", "answered a"), ("answered b", "keep c"), ("answered c", "write d"), ("answered d", "echo e")]
    {
        assert!(place(first) < place(then), "{first:?} stands behind {then:?}: {log:?}");
    }
}

#[test]
fn one_client_holds_one_worker() {
    let server = serve(Limits { workers: 2, ..Limits::default() });
    let mut greedy = server.peer();
    for id in 0..10 {
        greedy.call(id, "hold", &format!("gate{id}"));
    }
    server.desk.await_log("hold gate0");
    let mut other = server.peer();
    for id in 0..20 {
        other.call(id, "echo", "served");
        assert_eq!(other.line(), named(id, "served"));
    }
    assert!(!server.desk.log().contains(&"hold gate1".into()));
    for id in 0..10 {
        server.desk.open(&format!("gate{id}"));
    }
    for id in 0..10 {
        assert_eq!(greedy.line(), named(id, &format!("gate{id}")));
    }
}

#[test]
fn a_batch_hands_back_after_its_time_and_others_are_served_between() {
    let server = serve(Limits { workers: 2, batch_time: Duration::ZERO, ..Limits::default() });
    let mut holder = server.peer();
    holder.call(0, "hold", "for good");
    server.desk.await_log("hold for good");
    // The worker that is left runs one call of a batch at a time.
    let mut greedy = server.peer();
    greedy.send((0..5).map(|id| call(id, "hold", &format!("greedy{id}"))).collect::<String>());
    server.desk.await_log("hold greedy0");
    let mut other = server.peer();
    other.call(0, "echo", "other");
    server.await_figure("queued", 1);
    // The first time, the job may still be in the loop's hand-over list; by the second it is in the queue.
    server.await_figure("queued", 1);
    for id in 0..5 {
        server.desk.open(&format!("greedy{id}"));
    }
    assert_eq!(other.line(), named(0, "other"));
    for id in 0..5 {
        assert_eq!(greedy.line(), named(id, &format!("greedy{id}")));
    }
    let log = server.desk.log();
    assert_eq!(log[1..4], ["hold greedy0", "echo other", "hold greedy1"], "{log:?}");
}

#[test]
fn status_is_answered_while_every_worker_is_stuck() {
    let server = serve(Limits { workers: 3, ..Limits::default() });
    let mut stuck: Vec<_> = (0..3)
        .map(|n| {
            let mut peer = server.peer();
            peer.call(n, "hold", &format!("gate{n}"));
            server.desk.await_log(&format!("hold gate{n}"));
            peer
        })
        .collect();
    let mut waiting = server.peer();
    waiting.send(call(7, "echo", "waits") + &call(8, "echo", "too") + STATUS + "\n");
    server.await_figure("queued", 1);
    let figures = server.peer().ask(STATUS);
    assert_eq!((&figures["in_flight"], &figures["workers"], &figures["queued"]), (&json!(5), &json!(3), &json!(1)));
    let mut peer = server.peer();
    assert_eq!(peer.ask(PING), json!({"jsonrpc": "2.0", "id": 0, "result": {}}));
    server.desk.open("gate1");
    assert_eq!(stuck[1].line(), named(1, "gate1"));
    assert_eq!(waiting.line(), named(7, "waits"));
    assert_eq!(waiting.line(), named(8, "too"));
    assert_eq!(waiting.reply()["in_flight"], 2);
}

#[test]
fn fewer_workers_than_the_least_are_raised_to_it() {
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
    assert_eq!(server.figure("workers"), 2);
    let mut holder = server.peer();
    holder.call(1, "hold", "gate");
    server.desk.await_log("hold gate");
    let mut peer = server.peer();
    peer.call(2, "echo", "served");
    assert_eq!(peer.line(), named(2, "served"));
}

#[test]
fn work_of_the_control_plane_is_answered_in_turn_and_may_panic() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    for _ in 0..5 {
        peer.send(format!("{{\"type\":\"resume\"}}\n{PING}\n{{\"type\":\"force_wake\",\"ts\":\"t\"}}\n"));
        peer.send("{\"type\":\"pause\"}\n");
        assert_eq!(peer.line(), "\"done\"");
        assert_eq!(peer.line(), PONG);
        assert_eq!(peer.line(), r#"{"ok":false,"reason":"control_plane_error","error":"work that panics"}"#);
        assert_eq!(peer.line(), r#"{"ok":true}"#);
    }
}

#[test]
fn without_a_control_plane_control_messages_are_refused_and_the_rest_is_served() {
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
fn workers_that_rest_begin_anew_each_and_once() {
    let server = serve(Limits::default());
    let mut holder = server.peer();
    let mut peer = server.peer();
    let own = |peer: &mut crate::bench::Peer, id| {
        peer.call(id, "own", "");
        peer.line()
    };
    for round in 0..3 {
        let gate = format!("gate {round}");
        holder.call(1, "hold", &gate);
        server.desk.await_log(&format!("hold {gate}"));
        let first = own(&mut peer, 1);
        // The rest is told of once the one that holds has let go, too.
        let mut plane = server.peer();
        plane.send("{\"type\":\"force_rem\",\"ts\":\"t\"}\n");
        server.desk.open(&gate);
        assert_eq!(holder.line(), named(1, &gate));
        assert_eq!(plane.line(), "\"done\"");
        let second = own(&mut peer, 1);
        assert_ne!(first, second);
        let calls = |line: &str| line.trim_end_matches("]}").rsplit(',').next().map(str::to_owned);
        assert_eq!(calls(&second), Some("1".into()), "{second}: its state is a new one");
    }
}
