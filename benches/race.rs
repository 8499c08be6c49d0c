//! Compares the daemon's throughput with a bare mio echo server's and, if `redis-server` is on the path, with Redis's
//! `PING`, driven the same way in the same run.
//!
//! `cargo bench --bench race [-- SECONDS] [--busy N,N...]`: the duration of each round of each shape. A shape is a number
//! of connections and the number of requests in flight on each. `ping` is answered by the loop, `profile_get` goes through
//! the pool. With `--busy`, as many processes as it says take all the processor time that they get meanwhile. The figures
//! scatter more then, so there are more and longer rounds of fewer shapes. Each figure is a ratio of replies per second:
//! that of the medians of the rounds, and that of their lower quartiles. Rates are not shown, since machines differ. The
//! last column compares a second Redis with the first, so it says how far from 1 a ratio is by chance.

mod load;

use std::env;
use std::fmt::Write as _;
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
const SECONDS: f64 = 0.2;
/// Beside busy neighbors. Picked: with five rounds the order of two programs changes from run to run.
const BUSY_SHAPES: [(usize, usize); 2] = [(1, 1), (50, 1)];
const BUSY_ROUNDS: usize = 21;
const BUSY_SECONDS: f64 = 0.4;
const BUFFER_BYTES: usize = 64 << 10;

/// The arguments with which this program runs as the echo server and as a busy neighbor.
const AS_ECHO: &str = "--as-echo";
const AS_NEIGHBOR: &str = "--as-neighbor";

/// Another server in a child process, which is killed on drop.
struct Yardstick {
    child: Child,
    home: TempDir,
}

/// A process that takes all the processor time that it gets, and is killed on drop.
struct Neighbor(Child);

/// Requests of one kind to one server, and what their rounds measured.
struct Series {
    socket: PathBuf,
    line: String,
    /// Replies per second of each round.
    rates: Vec<f64>,
    /// The 99th percentile of each round's reply times, in microseconds.
    p99s: Vec<f64>,
}

/// What one round measured.
struct Round {
    rate: f64,
    p99: f64,
}

fn main() {
    let args: Vec<String> = env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [AS_ECHO, path] => return echo(Path::new(path)),
        [AS_NEIGHBOR] => loop {
            std::hint::black_box(());
        },
        _ => {}
    }
    let busy = args.iter().skip_while(|arg| *arg != "--busy").nth(1);
    let neighbors: Vec<usize> =
        busy.map_or_else(Vec::new, |list| list.split(',').map(|n| n.parse().expect("a number after --busy")).collect());
    // Cargo adds `--bench`.
    let seconds = args.iter().take_while(|arg| *arg != "--busy").find_map(|arg| arg.parse().ok());
    let (echo, daemon, redis) = (Yardstick::echo(), Daemon::start(), [Yardstick::redis(), Yardstick::redis()]);
    let params = json!({"knob": "wake_depth"});
    daemon.client().call("ping", &json!({}));
    daemon.client().call("profile_get", &params);
    let (ping, call) = (request("ping", &json!({})), request("profile_get", &params));
    let mut series = vec![(daemon.socket(), ping.clone()), (daemon.socket(), call), (echo.socket(), ping)];
    series.extend(redis.iter().flatten().map(|redis| (redis.socket(), "PING\r\n".into())));
    println!("Each cell: ratio of the medians, of the lower quartiles; 99th percentiles in us");
    let columns = ["neighbors", "conns/depth", "ping/echo", "ping/Redis", "pool/echo", "pool/Redis", "Redis/Redis"];
    print_row(columns.map(String::from));
    match neighbors.as_slice() {
        [] => run(0, &SHAPES, ROUNDS, seconds.unwrap_or(SECONDS), &series),
        counts => counts
            .iter()
            .for_each(|count| run(*count, &BUSY_SHAPES, BUSY_ROUNDS, seconds.unwrap_or(BUSY_SECONDS), &series)),
    }
}

/// Measures the shapes beside so many neighbors, and prints a row for each.
fn run(neighbors: usize, shapes: &[(usize, usize)], rounds: usize, seconds: f64, requests: &[(PathBuf, String)]) {
    let _neighbors: Vec<Neighbor> = (0..neighbors).map(|_| Neighbor::start()).collect();
    for (connections, depth) in shapes {
        let mut series: Vec<Series> = requests
            .iter()
            .map(|(socket, line)| Series { socket: socket.clone(), line: line.clone(), rates: vec![], p99s: vec![] })
            .collect();
        for _ in 0..rounds {
            for series in &mut series {
                let line = series.line.as_bytes();
                let round = drive(&series.socket, *connections, *depth, line, Duration::from_secs_f64(seconds));
                series.rates.push(round.rate);
                series.p99s.push(round.p99);
            }
        }
        let ratio = |above: usize, below: usize| match (series.get(above), series.get(below)) {
            (Some(above), Some(below)) => {
                let part = |share| quantile(&above.rates, share) / quantile(&below.rates, share);
                format!("{:.2}, {:.2}", part(0.5), part(0.25))
            }
            _ => "no Redis".into(),
        };
        let mut p99 = String::from("p99");
        for series in &series {
            let _ = write!(p99, " {:.0}", quantile(&series.p99s, 0.5));
        }
        let shape = format!("{connections}/{depth}");
        print_row([neighbors.to_string(), shape, ratio(0, 2), ratio(0, 3), ratio(1, 2), ratio(1, 3), ratio(4, 3)]);
        println!("{:24}{p99} (ping, pool, echo, Redis twice)", "");
    }
}

fn print_row(cells: [String; 7]) {
    println!("{}", cells.map(|cell| format!("{cell:12}")).join(" "));
}

/// Returns the value below which this share of the values lies.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share) as usize]
}

/// Runs one round with `depth` requests in flight on each of `connections` connections.
fn drive(path: &Path, connections: usize, depth: usize, line: &[u8], time: Duration) -> Round {
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
    // When each connection sent last, and how long its next reply took.
    let mut sent = vec![Instant::now(); connections];
    let mut times = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    // A warm-up of a tenth of the time is not counted.
    let began = Instant::now() + time / 10;
    let (mut replies, mut now) = (0_u64, Instant::now());
    while now < began + time {
        poll.poll(&mut events, Some(Duration::from_secs(20))).expect("events come");
        assert!(!events.is_empty(), "no reply for 20 seconds");
        now = Instant::now();
        for event in &events {
            let connection = event.token().0;
            let stream = &mut streams[connection];
            let whole = take(stream, &mut buffer);
            if now >= began {
                replies += whole as u64;
                times.push((now - sent[connection]).as_secs_f64() * 1e6);
            }
            sent[connection] = Instant::now();
            send(stream, &burst[..whole * line.len()]);
        }
    }
    Round { rate: replies as f64 / (now - began).as_secs_f64(), p99: quantile(&times, 0.99) }
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

impl Yardstick {
    fn echo() -> Yardstick {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        command.arg(AS_ECHO).arg(home.path().join("y.sock"));
        Yardstick::start(command, home).expect("this program starts again")
    }

    /// Returns `None` if there is no Redis on the path.
    fn redis() -> Option<Yardstick> {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new("redis-server");
        command
            .args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"])
            .arg(home.path().join("y.sock"));
        Yardstick::start(command, home)
    }

    fn start(mut command: Command, home: TempDir) -> Option<Yardstick> {
        let child = command.current_dir(home.path()).stdin(Stdio::null()).stdout(Stdio::null()).spawn().ok()?;
        let yardstick = Yardstick { child, home };
        load::until_accepting(&yardstick.socket());
        Some(yardstick)
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("y.sock")
    }
}

impl Neighbor {
    fn start() -> Neighbor {
        let mut command = Command::new(env::current_exe().expect("this program has a path"));
        Neighbor(command.arg(AS_NEIGHBOR).stdin(Stdio::null()).spawn().expect("this program starts again"))
    }
}

impl Drop for Yardstick {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Neighbor {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
