//! Peers that do not read, or read slowly, or hold much, or have gone: bounds are kept, the others
//! are served, and nothing that can be answered is lost.

use std::io::Read;
use std::time::{Duration, Instant};

use iaid::limits::Limits;

use crate::bench::{Peer, Running, call, named, serve};
use crate::os;
use crate::skip::skipped;

/// More than a Unix socket's own buffer takes, with what the server keeps beside it.
const MUCH: usize = 1 << 20;

#[test]
fn a_reader_that_takes_nothing_is_cut_off_and_counted() {
    let server = serve(Limits { stalled_reader_after: Duration::from_millis(200), ..Limits::default() });
    let mut reader = server.peer();
    let mut idle = server.peer();
    reader.send(big(1, MUCH));
    server.await_figure("cut_readers", 1);
    let got = reader.rest();
    assert!(!got.is_empty() && got.len() < MUCH, "{} bytes came", got.len());
    // One that has nothing to take is no such reader.
    idle.call(2, "echo", "here");
    assert_eq!(idle.line(), named(2, "here"));
    assert_eq!(server.figure("buffered_bytes"), 0);
}

#[test]
fn a_reader_that_takes_a_little_at_a_time_gets_it_all() {
    let after = Duration::from_secs(2);
    let server = serve(Limits { stalled_reader_after: after, ..Limits::default() });
    let mut reader = server.peer();
    reader.send(big(1, MUCH));
    server.desk.await_log("big ");
    // Slower than that a socket counts as writable again within that time, faster than nothing.
    let mut piece = [0; 20 << 10];
    let mut got = 0;
    let began = Instant::now();
    while began.elapsed() < after * 2 {
        reader.socket().read_exact(&mut piece).expect("more comes");
        got += piece.len();
        std::thread::sleep(after / 4);
    }
    assert!(got < MUCH / 2, "too fast to tell");
    let reply = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"{}\"}}\n", "x".repeat(MUCH));
    reader.end();
    assert_eq!(got + reader.rest().len(), reply.len());
    assert_eq!(server.figure("cut_readers"), 0);
}

#[test]
fn a_late_result_does_not_go_to_whoever_has_the_place_now() {
    let server = serve(Limits { stalled_reader_after: Duration::from_secs(1), ..Limits::default() });
    let mut gone = server.peer();
    // More than its socket takes, less than what keeps the next call from being taken up.
    gone.send(big(1, 400 << 10) + &call(2, "write", "late"));
    server.desk.await_log("write late");
    server.await_figure("cut_readers", 1);
    // The place that is free is the first one taken.
    let mut heir = server.peer();
    heir.call(3, "echo", "first");
    assert_eq!(heir.line(), named(3, "first"));
    server.desk.answer("late");
    server.await_figure("late_results", 1);
    heir.call(4, "echo", "own");
    assert_eq!(heir.line(), named(4, "own"));
    assert_eq!(server.figure("in_flight"), 0);
    drop(gone);
}

#[test]
fn a_peer_that_has_gone_is_served_and_its_replies_are_counted() {
    let server = serve(Limits::default());
    let mut peer = server.peer();
    peer.call(1, "write", "late");
    server.desk.await_log("write late");
    drop(peer);
    server.desk.answer("late");
    server.await_figure("late_results", 1);
    // One whose calls wait for it to read goes, and they wait no longer.
    let mut peer = server.peer();
    let calls = 64;
    peer.send((0..calls).map(|id| big(id, 256 << 10)).collect::<String>());
    server.desk.await_log("big ");
    drop(peer);
    let begun = || server.desk.log().iter().filter(|line| *line == "big ").count();
    crate::bench::until(|| begun() == calls, || format!("all {calls} to be carried out, {} were", begun()));
    server.await_figure("connections", 1);
    assert_eq!((server.figure("buffered_bytes"), server.figure("in_flight")), (0, 0));
}

#[test]
fn what_a_batch_answers_waits_for_its_reader() {
    fill_a_batch(Limits { workers: 2, ..Limits::default() });
    fill_a_batch(Limits { workers: 2, brief_call: Duration::from_secs(1), ..Limits::default() });
}

/// Has a batch answer with more than its reader takes.
fn fill_a_batch(limits: Limits) {
    let (mark, calls) = (limits.output_mark_bytes, limits.batch_calls);
    let server = serve(limits);
    let mut holder = server.peer();
    holder.call(1, "hold", "gate");
    server.desk.await_log("hold gate");
    let mut reader = server.peer();
    reader.send((0..calls).map(|id| big(id, mark)).collect::<String>());
    server.desk.await_log("big ");
    // The worker that is left serves in turn, so in each of these rounds the batch could go on.
    let mut other = server.peer();
    for id in 0..calls {
        other.call(id, "echo", "served");
        assert_eq!(other.line(), named(id, "served"));
    }
    let begun = server.desk.log().iter().filter(|line| *line == "big ").count();
    assert!(begun <= 4, "{begun} replies were made for a reader that takes none");
    let held = server.figure("buffered_bytes") as usize;
    assert!(held <= 4 * mark, "{held} bytes are held");
    for id in 0..calls {
        let line = reader.line();
        assert!(line.starts_with(&format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":\"xxx")), "{id}: {line:.60}");
        assert_eq!(line.len(), named(id, "").len() + mark);
    }
}

#[test]
fn many_half_sent_large_lines_get_through_though_memory_is_short() {
    // A pass is never taken away here: it must go on when its holder is through.
    let limits = Limits {
        max_line_bytes: 64 << 10,
        max_memory_bytes: 100 << 10,
        small_holder_bytes: 8 << 10,
        memory_pass: Duration::from_secs(600),
        ..Limits::default()
    };
    let server = serve(limits);
    let mut large: Vec<Peer> = (0..8).map(|_| server.peer()).collect();
    let line = |id: usize| call(id, "echo", &"n".repeat(50 << 10));
    for (id, peer) in large.iter_mut().enumerate() {
        peer.send(&line(id).as_bytes()[..30 << 10]);
    }
    server_is_over(&server, 100 << 10);
    let mut small = server.peer();
    small.call(1, "echo", "small");
    assert_eq!(small.line(), named(1, "small"));
    drop(small);
    for (id, peer) in large.iter_mut().enumerate() {
        peer.send(&line(id).as_bytes()[30 << 10..]);
    }
    // Nobody sends anything more, or leaves, before the last has its reply.
    for (id, peer) in large.iter_mut().enumerate() {
        assert_eq!(peer.line(), named(id, &"n".repeat(50 << 10)));
    }
    server.await_figure("buffered_bytes", 0);
}

#[test]
fn bytes_out_of_band_hold_nothing_up() {
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
fn server_is_over(server: &Running, bytes: u64) {
    crate::bench::until(|| server.figure("buffered_bytes") > bytes, || format!("{bytes} bytes to be held"));
}
