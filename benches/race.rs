//! Compares the daemon's throughput with a bare mio echo server, driven the same way in the same run.
//!
//! `cargo bench --bench race [-- SECONDS]`: the duration of each of five rounds of each shape, 0.2 by default. A shape is
//! a number of connections and the number of requests in flight on each. `ping` is answered by the loop, `profile_get`
//! goes through the pool. Each figure is the ratio of the daemon's replies per second to the echo's: the median of the
//! rounds, and in brackets the minimum and the maximum. Rates are not shown, since machines differ.

mod load;

use std::env;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mio::net::{UnixListener, UnixStream};
use mio::{Events, Interest, Poll, Token};
use serde_json::json;
use tempfile::TempDir;

use load::{Daemon, request};

const SHAPES: [(usize, usize); 5] = [(1, 1), (1, 16), (50, 1), (50, 16), (500, 1)];
const ROUNDS: usize = 5;
const BUFFER_BYTES: usize = 64 << 10;

/// The argument with which this program runs as the echo server.
const AS_ECHO: &str = "--as-echo";

/// A bare echo server in a child process, which is killed on drop.
struct Echo {
    child: Child,
    home: TempDir,
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [flag, path] = args.as_slice()
        && flag == AS_ECHO
    {
        return echo(Path::new(path));
    }
    // Cargo adds `--bench`.
    let time = Duration::from_secs_f64(args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(0.2));
    let (echo, daemon) = (Echo::start(), Daemon::start());
    let params = json!({"knob": "wake_depth"});
    daemon.client().call("ping", &json!({}));
    daemon.client().call("profile_get", &params);
    let (ping, call) = (request("ping", &json!({})), request("profile_get", &params));
    println!("{:22} {:22} {:22}", "connections/depth", "ping / echo", "pool call / echo");
    for (connections, depth) in SHAPES {
        let rate = |path: &Path, line: &str| drive(path, connections, depth, line.as_bytes(), time);
        let (mut pings, mut calls) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let floor = rate(&echo.socket(), &ping);
            pings.push(rate(&daemon.socket(), &ping) / floor);
            calls.push(rate(&daemon.socket(), &call) / floor);
        }
        println!("{:22} {:22} {:22}", format!("{connections}/{depth}"), spread(pings), spread(calls));
    }
}

/// Formats the median, the minimum and the maximum.
fn spread(mut ratios: Vec<f64>) -> String {
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    format!("{:.2} ({least:.2} to {most:.2})", ratios[ratios.len() / 2])
}

/// Returns the replies per second with `depth` requests in flight on each of `connections` connections.
fn drive(path: &Path, connections: usize, depth: usize, line: &[u8], time: Duration) -> f64 {
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(1024);
    let burst = line.repeat(depth);
    let connect = |n: usize| {
        let stream = std::os::unix::net::UnixStream::connect(path).expect("the server accepts");
        stream.set_nonblocking(true).expect("it can be set");
        let mut stream = UnixStream::from_std(stream);
        poll.registry().register(&mut stream, Token(n), Interest::READABLE).expect("it can be registered");
        stream
    };
    let mut streams: Vec<UnixStream> = (0..connections).map(connect).collect();
    streams.iter_mut().for_each(|stream| send(stream, &burst));
    let mut buffer = vec![0; BUFFER_BYTES];
    // A warm-up of a tenth of the time is not counted.
    let began = Instant::now() + time / 10;
    let (mut replies, mut now) = (0_u64, Instant::now());
    while now < began + time {
        poll.poll(&mut events, Some(Duration::from_secs(20))).expect("events come");
        assert!(!events.is_empty(), "no reply for 20 seconds");
        now = Instant::now();
        for event in &events {
            let stream = &mut streams[event.token().0];
            let whole = take(stream, &mut buffer);
            send(stream, &burst[..whole * line.len()]);
            replies += if now < began { 0 } else { whole as u64 };
        }
    }
    replies as f64 / (now - began).as_secs_f64()
}

/// Reads all available input and returns the number of complete replies in it.
fn take(stream: &mut UnixStream, buffer: &mut [u8]) -> usize {
    let mut whole = 0;
    loop {
        match stream.read(buffer) {
            Ok(0) => panic!("the server has gone"),
            Ok(bytes) => {
                whole += buffer[..bytes].iter().filter(|byte| **byte == b'\n').count();
                if bytes < buffer.len() {
                    return whole;
                }
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => return whole,
            Err(e) => panic!("{e}"),
        }
    }
}

/// Writes all bytes; the requests in flight fit into a socket's buffer.
fn send(stream: &mut UnixStream, bytes: &[u8]) {
    if !bytes.is_empty() {
        assert_eq!(stream.write(bytes).expect("the peer reads"), bytes.len());
    }
}

/// Echoes all input until the parent kills this process.
fn echo(path: &Path) {
    const LISTENER: Token = Token(usize::MAX);
    let mut poll = Poll::new().expect("a poll");
    let mut events = Events::with_capacity(1024);
    let mut listener = UnixListener::bind(path).expect("the path is free");
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE).expect("it can be registered");
    // By their tokens, which are not reused.
    let mut streams: Vec<Option<UnixStream>> = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        poll.poll(&mut events, None).expect("events come");
        for event in &events {
            if event.token() == LISTENER {
                while let Ok((mut stream, _)) = listener.accept() {
                    let token = Token(streams.len());
                    poll.registry().register(&mut stream, token, Interest::READABLE).expect("it can be registered");
                    streams.push(Some(stream));
                }
                continue;
            }
            let place = &mut streams[event.token().0];
            if place.as_mut().is_some_and(|stream| echoed(stream, &mut buffer).is_err()) {
                *place = None;
            }
        }
    }
}

/// Echoes one read. A short read proves that the socket is drained, and all inputs here are shorter than the buffer.
fn echoed(stream: &mut UnixStream, buffer: &mut [u8]) -> io::Result<()> {
    match stream.read(buffer) {
        Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
        Ok(bytes) => stream.write_all(&buffer[..bytes]),
        Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
        Err(e) => Err(e),
    }
}

impl Echo {
    fn start() -> Echo {
        let home = tempfile::tempdir().expect("a temporary folder");
        let this = env::current_exe().expect("this program has a path");
        let mut command = Command::new(this);
        let child = command.arg(AS_ECHO).arg(home.path().join("e.sock")).stdin(Stdio::null()).spawn();
        let echo = Echo { child: child.expect("this program starts again"), home };
        load::until_accepting(&echo.socket());
        echo
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("e.sock")
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
