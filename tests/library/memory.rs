//! Memory stays within its limit whatever peers do, and a peer that makes no progress delays no other.
//!
//! The times that would hide a fault are far longer than a test may take: a pass lasts ten minutes, and a reader may
//! pause for as long. What closes connections here is the shortage of memory alone.

use std::io::{Read, Write};
use std::time::Duration;

use iaid::limits::Limits;

use crate::harness::{Peer, Running, call, named, serve, until};

/// Never reached.
const FOREVER: Duration = Duration::from_secs(600);

/// One reply, in bytes: more than a socket's buffer takes.
const REPLY_BYTES: usize = 400 << 10;

const MEMORY_BYTES: usize = 1 << 20;

const WORKERS: usize = 2;

fn limits() -> Limits {
    Limits {
        max_memory_bytes: MEMORY_BYTES,
        max_line_bytes: 128 << 10,
        workers: WORKERS,
        memory_pass: FOREVER,
        stalled_reader_after: FOREVER,
        stalled_line_after: Duration::from_millis(100),
        short_memory_reader_after: Duration::from_millis(100),
        ..Limits::default()
    }
}

/// Checks that no more is held than the limit, one reply a worker, and small replies.
fn check_held(server: &Running) {
    let held = server.counter("buffered_bytes") as usize;
    assert!(held <= MEMORY_BYTES + WORKERS * (REPLY_BYTES + 100) + (64 << 10), "{held} bytes are held");
}

/// Sends a line, of which the server may read only a part before it closes the connection.
fn offer(peer: &Peer, bytes: &[u8]) -> bool {
    peer.socket().write_all(bytes).is_ok()
}

#[test]
fn lines_that_stand_still_make_room_for_others() {
    let server = serve(limits());
    let line = |id: usize| call(id, "echo", &"n".repeat(100 << 10));
    let half = 70 << 10;
    let mut still: Vec<Peer> = (0..40).map(|_| server.peer()).collect();
    for (id, peer) in still.iter_mut().enumerate() {
        peer.send(&line(id).as_bytes()[..half]);
    }
    for id in 0..5 {
        let mut other = server.peer();
        other.send(line(id));
        assert_eq!(other.line(), named(id, &"n".repeat(100 << 10)));
        check_held(&server);
    }
    let cut = server.counter("cut_lines");
    assert!(cut > 0);
    // The others complete their lines, unless they are cut before their turn comes.
    let answered: Vec<bool> = still
        .iter_mut()
        .enumerate()
        .map(|(id, peer)| {
            let line = line(id);
            let is_sent = offer(peer, &line.as_bytes()[half..]);
            let mut reply = Vec::new();
            let mut first = [0; 1];
            if is_sent && peer.socket().read(&mut first).is_ok_and(|count| count == 1) {
                reply.push(first[0]);
                reply.extend(peer.line().into_bytes());
            }
            assert!(reply.is_empty() || reply == named(id, &"n".repeat(100 << 10)).into_bytes(), "{id}");
            !reply.is_empty()
        })
        .collect();
    drop(still);
    until(|| server.counter("connections") == 1, || "all to be closed".into());
    let unanswered = answered.iter().filter(|answered| !**answered).count() as u64;
    assert_eq!((server.counter("cut_lines"), server.counter("buffered_bytes")), (unanswered, 0));
}

#[test]
fn a_line_that_stands_still_is_kept_while_memory_suffices() {
    let server = serve(limits());
    let mut peer = server.peer();
    let line = call(1, "echo", "in two parts");
    peer.send(&line[..20]);
    let mut other = server.peer();
    for id in 0..20 {
        other.call(id, "echo", &"n".repeat(100 << 10));
        assert_eq!(other.line().len(), named(id, &"n".repeat(100 << 10)).len());
        std::thread::sleep(Duration::from_millis(10));
    }
    peer.send(&line[20..]);
    assert_eq!(peer.line(), named(1, "in two parts"));
    assert_eq!(server.counter("cut_lines"), 0);
}

#[test]
fn replies_that_nobody_reads_make_room_for_others() {
    let server = serve(limits());
    let mut never: Vec<Peer> = (0..60).map(|_| server.peer()).collect();
    for (id, peer) in never.iter_mut().enumerate() {
        peer.send(big(id));
    }
    // What has small replies is answered at once.
    let mut small = server.peer();
    for id in 0..20 {
        small.call(id, "either", "at once");
        assert_eq!(small.line(), named(id, "at once"));
        small.send(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n"));
        assert_eq!(small.line(), format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}"));
        small.call(id, "unknown", "");
        assert!(small.line().contains("-32601"));
        check_held(&server);
    }
    for id in 0..3 {
        let mut other = server.peer();
        other.send(big(id));
        assert_eq!(other.line().len(), named(id, "").len() + REPLY_BYTES);
        check_held(&server);
    }
    assert!(server.counter("cut_readers") > 0);
    // One that reads late still gets the part that was sent.
    drop(never);
    until(|| server.counter("buffered_bytes") == 0, || "nothing to be held".into());
    assert_eq!((server.counter("in_flight"), server.counter("cut_lines")), (0, 0));
}

#[test]
fn ids_that_nobody_reads_are_not_echoed_without_a_bound() {
    let server = serve(limits());
    let line = format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"ping\"}}\n", "i".repeat(100 << 10));
    let mut never: Vec<Peer> = (0..60).map(|_| server.peer()).collect();
    std::thread::scope(|scope| {
        for peer in &never {
            let line = line.repeat(6);
            scope.spawn(move || offer(peer, line.as_bytes()));
        }
        let mut small = server.peer();
        until(|| server.counter("cut_readers") > 0, || "a reader to be cut".into());
        for id in 0..20 {
            small.call(id, "either", "at once");
            assert_eq!(small.line(), named(id, "at once"));
            check_held(&server);
        }
        never.iter().for_each(|peer| drop(peer.socket().shutdown(std::net::Shutdown::Both)));
    });
    never.clear();
    until(|| server.counter("connections") == 1, || "all to be closed".into());
    assert_eq!(server.counter("buffered_bytes"), 0);
}

fn big(id: usize) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"big\",\"params\":{{\"bytes\":{REPLY_BYTES}}}}}\n")
}
