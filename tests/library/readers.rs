//! Peers that do not read, read slowly, hold much memory, or have disconnected: limits are kept, other peers
//! are served, and no reply that can be delivered is lost.

use std::io::Read;
use std::time::{Duration, Instant};

use iaid::limits::Limits;

use crate::harness::{Peer, Running, call, named, serve};
use crate::os;
use crate::skip::skipped;

/// More than the buffers of a Unix socket and of the server hold, in bytes.
const LARGE_REPLY_BYTES: usize = 1 << 20;

#[test]
fn a_peer_that_reads_nothing_is_disconnected_and_counted() {
    let server = serve(Limits { stalled_reader_after: Duration::from_millis(200), ..Limits::default() });
    let mut reader = server.peer();
    let mut idle = server.peer();
    reader.send(big(1, LARGE_REPLY_BYTES));
    server.await_counter("cut_readers", 1);
    let got = reader.rest();
    assert!(!got.is_empty() && got.len() < LARGE_REPLY_BYTES, "{} bytes were received", got.len());
    // A peer without output is not disconnected.
    idle.call(2, "echo", "here");
    assert_eq!(idle.line(), named(2, "here"));
    assert_eq!(server.counter("buffered_bytes"), 0);
}

#[test]
fn a_slow_reader_gets_its_whole_reply() {
    let after = Duration::from_secs(2);
    let server = serve(Limits { stalled_reader_after: after, ..Limits::default() });
    let mut reader = server.peer();
    reader.send(big(1, LARGE_REPLY_BYTES));
    server.dispatch.await_log("big ");
    // Slow enough that the reply is not read at the end, but each read makes the socket writable again within the
    // limit.
    let mut piece = [0; 20 << 10];
    let mut got = 0;
    let began = Instant::now();
    while began.elapsed() < after * 2 {
        reader.socket().read_exact(&mut piece).expect("more of the reply");
        got += piece.len();
        std::thread::sleep(after / 4);
    }
    assert!(got < LARGE_REPLY_BYTES / 2, "the reply was read too fast for the test");
    let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{}\"}}\n", "x".repeat(LARGE_REPLY_BYTES));
    reader.end();
    assert_eq!(got + reader.rest().len(), reply.len());
    assert_eq!(server.counter("cut_readers"), 0);
}

#[test]
fn a_late_result_does_not_go_to_a_new_connection() {
    let server = serve(Limits { stalled_reader_after: Duration::from_secs(1), ..Limits::default() });
    let mut gone = server.peer();
    // More than the socket holds, and less than what stops the next call from being started.
    gone.send(big(1, 400 << 10) + &call(2, "write", "late"));
    server.dispatch.await_log("write late");
    server.await_counter("cut_readers", 1);
    // A new connection takes the free slot.
    let mut next = server.peer();
    next.call(3, "echo", "first");
    assert_eq!(next.line(), named(3, "first"));
    server.dispatch.answer("late");
    server.await_counter("late_results", 1);
    next.call(4, "echo", "own");
    assert_eq!(next.line(), named(4, "own"));
    assert_eq!(server.counter("in_flight"), 0);
    drop(gone);
}

#[test]
fn calls_of_a_disconnected_peer_are_carried_out_and_their_replies_counted() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    peer.call(1, "write", "late");
    server.dispatch.await_log("write late");
    drop(peer);
    server.dispatch.answer("late");
    server.await_counter("late_results", 1);
    // Calls that waited for their peer to read go on after it has disconnected.
    let mut peer = server.peer();
    let calls = 64;
    peer.send((0..calls).map(|id| big(id, 256 << 10)).collect::<String>());
    server.dispatch.await_log("big ");
    drop(peer);
    let begun = || server.dispatch.log().iter().filter(|line| *line == "big ").count();
    crate::harness::until(|| begun() == calls, || format!("all {calls} calls to start, {} did", begun()));
    server.await_counter("connections", 1);
    assert_eq!((server.counter("buffered_bytes"), server.counter("in_flight")), (0, 0));
}

#[test]
fn calls_that_need_their_peer_are_not_started_once_it_has_disconnected() {
    let server = serve(Limits::default());
    let mut holders = [server.peer(), server.peer()];
    for (id, holder) in holders.iter_mut().enumerate() {
        holder.call(id, "hold", &format!("gate{id}"));
        server.dispatch.await_log(&format!("hold gate{id}"));
    }
    let mut gone = server.peer();
    gone.send(call(1, "ask", "a") + &call(2, "echo", "b") + &call(3, "ask", "c"));
    let mut half_closed = server.peer();
    half_closed.call(4, "ask", "d");
    half_closed.end();
    server.await_counter("in_flight", 6);
    drop(gone);
    // The loop has learned of it before it answers another connection.
    server.counter("connections");
    server.dispatch.open("gate0");
    server.dispatch.open("gate1");
    assert_eq!(half_closed.line(), named(4, "d"));
    server.await_counter("late_results", 3);
    let log = server.dispatch.log();
    assert!(log.contains(&"echo b".into()), "{log:?}");
    assert!(!log.contains(&"ask a".into()) && !log.contains(&"ask c".into()), "{log:?}");
    server.await_counter("in_flight", 0);
}

#[test]
fn a_batch_waits_for_its_peer_to_read() {
    fill_a_batch(Limits { workers: 2, ..Limits::default() });
    fill_a_batch(Limits { workers: 2, brief_call: Duration::from_secs(1), ..Limits::default() });
}

/// Runs a batch whose replies are more than its peer reads.
fn fill_a_batch(limits: Limits) {
    let (mark, calls) = (limits.output_mark_bytes, limits.batch_calls);
    let server = serve(limits);
    let mut holder = server.peer();
    holder.call(1, "hold", "gate");
    server.dispatch.await_log("hold gate");
    let mut reader = server.peer();
    reader.send((0..calls).map(|id| big(id, mark)).collect::<String>());
    server.dispatch.await_log("big ");
    // The remaining worker serves jobs in turn, so the batch could go on between these calls.
    let mut other = server.peer();
    for id in 0..calls {
        other.call(id, "echo", "served");
        assert_eq!(other.line(), named(id, "served"));
    }
    let begun = server.dispatch.log().iter().filter(|line| *line == "big ").count();
    assert!(begun <= 4, "{begun} calls were started for a peer that reads nothing");
    let held = server.counter("buffered_bytes") as usize;
    assert!(held <= 4 * mark, "{held} bytes are held");
    for id in 0..calls {
        let line = reader.line();
        assert!(line.starts_with(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"xxx")), "{id}: {line:.60}");
        assert_eq!(line.len(), named(id, "").len() + mark);
    }
}

#[test]
fn many_incomplete_large_lines_are_served_within_the_memory_budget() {
    // The pass does not expire in this test: it must be passed on when its holder has finished or waits for its peer.
    let limits = Limits {
        max_line_bytes: 64 << 10,
        max_memory_bytes: 100 << 10,
        small_holder_bytes: 8 << 10,
        memory_pass: Duration::from_secs(600),
        stalled_line_after: Duration::from_secs(600),
        ..Limits::default()
    };
    let server = serve(limits);
    let mut large: Vec<Peer> = (0..8).map(|_| server.peer()).collect();
    let line = |id: usize| call(id, "echo", &"n".repeat(50 << 10));
    for (id, peer) in large.iter_mut().enumerate() {
        peer.send(&line(id).as_bytes()[..30 << 10]);
    }
    // A part of the limit: the rest is for small lines, one large line and replies.
    wait_until_over(&server, 30 << 10);
    let mut small = server.peer();
    small.call(1, "echo", "small");
    assert_eq!(small.line(), named(1, "small"));
    drop(small);
    for (id, peer) in large.iter_mut().enumerate() {
        peer.send(&line(id).as_bytes()[30 << 10..]);
    }
    // No peer sends more or disconnects before the last one has its reply.
    for (id, peer) in large.iter_mut().enumerate() {
        assert_eq!(peer.line(), named(id, &"n".repeat(50 << 10)));
    }
    server.await_counter("buffered_bytes", 0);
}

#[test]
fn out_of_band_bytes_do_not_block_a_connection() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    for id in 0..50 {
        peer.call(2 * id, "echo", "before");
        if !os::send_out_of_band(peer.socket(), b'!') {
            return skipped("the kernel has no out-of-band bytes on Unix sockets (CONFIG_AF_UNIX_OOB)");
        }
        peer.call(2 * id + 1, "echo", "behind");
        assert_eq!(peer.line(), named(2 * id, "before"));
        assert_eq!(peer.line(), named(2 * id + 1, "behind"));
    }
}

fn big(id: usize, bytes: usize) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"big\",\"params\":{{\"bytes\":{bytes}}}}}\n")
}

/// Waits until the server holds more than `bytes`.
fn wait_until_over(server: &Running, bytes: u64) {
    crate::harness::until(|| server.counter("buffered_bytes") > bytes, || format!("{bytes} bytes to be held"));
}
