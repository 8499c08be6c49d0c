//! How a server is stopped, and what it still answers.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use iaid::limits::Limits;

use crate::harness::{CounterPlane, STATUS, call, failed, named, serve, serve_with, until};

#[test]
fn a_handle_stops_the_server_and_may_be_used_again() {
    let mut server = serve(Limits::default());
    let mut idle = server.peer();
    idle.call(1, "echo", "x");
    assert_eq!(idle.line(), named(1, "x"));
    assert!(server.is_running());
    server.handle.stop().unwrap();
    server.handle.clone().stop().unwrap();
    server.ended().unwrap();
    assert_eq!(idle.line(), "");
    server.handle.stop().unwrap();
}

#[test]
fn a_readable_descriptor_or_an_early_stop_stops_the_server() {
    let (readable, mut writable) = UnixStream::pair().unwrap();
    let mut server = serve_with(|server| server.stop_when_readable(readable.into()));
    let mut peer = server.peer();
    peer.call(1, "echo", "x");
    assert_eq!(peer.line(), named(1, "x"));
    writable.write_all(b"!").unwrap();
    server.ended().unwrap();

    let mut server = serve_with(|server| {
        server.handle().stop().unwrap();
        server
    });
    server.ended().unwrap();
}

#[test]
fn the_control_plane_stops_the_server() {
    let mut server = serve(Limits::default());
    let mut peer = server.peer();
    peer.send(format!("{{\"type\":\"session_open\"}}\n{}", call(1, "echo", "behind")));
    assert_eq!(peer.line(), r#"{"ok":true}"#);
    assert_eq!(peer.line(), named(1, "behind"));
    server.ended().unwrap();
}

#[test]
fn every_line_read_is_served_before_the_end() {
    let mut server = serve(Limits::default());
    let mut peer = server.peer();
    peer.call(0, "hold", "gate");
    server.dispatch.await_log("hold gate");
    let mut rest: String = (1..300).map(|id| call(id, "echo", "x")).collect();
    rest += "{\"type\":\"resume\"}\nnonsense\n";
    peer.send(&rest);
    peer.send("{\"half\":");
    until(|| server.counter("buffered_bytes") as usize >= rest.len(), || "all lines to be read".into());
    server.handle.stop().unwrap();
    until(|| !server.accepts(), || "the socket to be removed".into());
    server.dispatch.open("gate");
    assert_eq!(peer.line(), named(0, "gate"));
    for id in 1..300 {
        assert_eq!(peer.line(), named(id, "x"));
    }
    assert_eq!(peer.line(), "\"done\"");
    assert!(peer.line().contains("-32700"));
    assert_eq!(peer.line(), "");
    server.ended().unwrap();
}

#[test]
fn unanswered_lines_are_refused_at_the_drain_timeout() {
    let limits = Limits {
        drain_timeout: Duration::from_millis(900),
        drain_grace: Duration::from_millis(600),
        ..Limits::default()
    };
    let mut server = serve(limits);
    let mut stuck = server.peer();
    stuck.send(
        call(1, "echo", "done")
            + &call(2, "hold", "for good")
            + &call(3, "echo", "behind")
            + "{\"type\":\"pause\"}\n\n"
            + STATUS
            + "\nnonsense\n"
            + &call(4, "nothing", "x"),
    );
    server.dispatch.await_log("hold for good");
    let mut late = server.peer();
    late.send(call(5, "write", "late") + &call(6, "write", "too late"));
    server.dispatch.await_log("write too late");
    let mut other = server.peer();
    other.call(7, "hold", "the other worker");
    server.dispatch.await_log("hold the other worker");
    let mut urgent = server.peer();
    urgent.call(8, "either", "gate of the last worker");
    server.dispatch.await_log("either gate of the last worker");
    let mut plane = server.peer();
    plane.send("{\"type\":\"resume\"}\n");
    server.await_counter("queued", 1);
    server.handle.stop().unwrap();

    assert_eq!(stuck.line(), named(1, "done"));
    let why = "daemon is stopping";
    assert_eq!(stuck.line(), failed(2, why));
    assert_eq!(stuck.line(), failed(3, why));
    let control = format!("{{\"ok\":false,\"reason\":\"control_plane_error\",\"error\":\"{why}\"}}");
    assert_eq!(stuck.line(), control);
    assert_eq!(stuck.line(), control);
    assert!(stuck.line().contains("-32700"));
    assert_eq!(stuck.line(), failed(4, why));
    assert_eq!(stuck.line(), "");
    assert_eq!(late.line(), failed(5, why));
    assert_eq!(late.line(), failed(6, why));
    assert_eq!(other.line(), failed(7, why));
    assert_eq!(urgent.line(), failed(8, why));
    assert_eq!(plane.line(), control);
    server.ended().unwrap();
    // A reply after the end of the server is dropped.
    server.dispatch.answer("late");
}

#[test]
fn a_peer_that_reads_nothing_does_not_delay_the_end() {
    let limits = Limits { drain_timeout: Duration::from_millis(300), ..Limits::default() };
    let mut server = serve_with(|server| server.limits(limits).plane(CounterPlane::default()));
    let mut reader = server.peer();
    reader.send("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"big\",\"params\":{\"bytes\":2000000}}\n");
    server.dispatch.await_log("big ");
    server.handle.stop().unwrap();
    server.ended().unwrap();
    assert!(reader.rest().len() < 2_000_000);
}
