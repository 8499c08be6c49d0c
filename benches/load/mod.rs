//! What the load benches share: a daemon of the built binary, a client for it, generated talk.
//!
//! Nothing here asserts a time. The figures are printed, each beside its yardstick of the same run.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A daemon with a store of its own, ended and cleared away with this.
pub struct Daemon {
    child: Child,
    home: TempDir,
}

/// One connection.
pub struct Client {
    stream: BufReader<UnixStream>,
}

/// Numbers that are the same in every run (xorshift, after Marsaglia, 2003).
pub struct Dice(u64);

/// Words whose frequency follows Zipf's law.
pub struct Talk {
    words: Vec<String>,
    /// The sum of the frequencies up to each word.
    sums: Vec<f64>,
}

impl Daemon {
    pub fn start() -> Daemon {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut serve = Command::new(env!("CARGO_BIN_EXE_iaid"));
        serve
            .arg("serve")
            .arg("--socket")
            .arg(home.path().join("d.sock"))
            .arg("--store")
            .arg(home.path().join("store"));
        let child = serve.stderr(Stdio::null()).spawn().expect("the daemon starts");
        let daemon = Daemon { child, home };
        let patience = Instant::now() + Duration::from_secs(20);
        while UnixStream::connect(daemon.socket()).is_err() {
            assert!(Instant::now() < patience, "the daemon does not accept");
            std::thread::sleep(Duration::from_millis(5));
        }
        daemon
    }

    pub fn client(&self) -> Client {
        Client { stream: BufReader::new(UnixStream::connect(self.socket()).expect("the daemon accepts")) }
    }

    /// A file of its store.
    pub fn file(&self, name: &str) -> PathBuf {
        self.home.path().join("store").join(name)
    }

    /// Resident memory in KiB, where the platform tells (proc(5)).
    pub fn resident_kib(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    fn socket(&self) -> PathBuf {
        self.home.path().join("d.sock")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Client {
    /// Calls a method and gives its result.
    pub fn call(&mut self, method: &str, params: &Value) -> Value {
        self.all(std::slice::from_ref(&request(method, params))).remove(0)
    }

    /// Sends all these lines at once and gives their results.
    pub fn all(&mut self, requests: &[String]) -> Vec<Value> {
        self.stream.get_mut().write_all(requests.concat().as_bytes()).expect("the daemon reads");
        let mut line = String::new();
        let mut result = |_: &String| {
            line.clear();
            self.stream.read_line(&mut line).expect("the daemon answers");
            let mut reply: Value = serde_json::from_str(&line).expect("a reply is JSON");
            assert!(reply.get("error").is_none(), "{reply}");
            reply["result"].take()
        };
        requests.iter().map(&mut result).collect()
    }
}

/// A request as a line.
pub fn request(method: &str, params: &Value) -> String {
    format!("{}\n", json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}))
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed.max(1))
    }

    pub fn under(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

impl Talk {
    /// Of this many different words, made of syllables, with endings that English has.
    pub fn new(words: usize) -> Talk {
        const SYLLABLES: [&str; 20] = [
            "ba", "co", "di", "fu", "ge", "ha", "ki", "lo", "mu", "ne", "pa", "qui", "ro", "su", "ti", "va", "we",
            "xi", "yo", "zu",
        ];
        const ENDINGS: [&str; 6] = ["", "s", "ing", "ed", "er", "n"];
        let word = |n: usize| {
            let (mut word, mut rest) = (String::new(), n + 20);
            while rest > 0 {
                word.push_str(SYLLABLES[rest % 20]);
                rest /= 20;
            }
            write!(word, "{}", ENDINGS[n % 6]).expect("a string takes it");
            word
        };
        let mut sum = 0.0;
        let sums = (1..=words).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Talk { sums: sums.collect(), words: (0..words).map(word).collect() }
    }

    /// So many words.
    pub fn text(&self, dice: &mut Dice, words: usize) -> String {
        let all = self.sums.last().copied().unwrap_or_default();
        let word = |_| {
            let at = dice.under(1 << 40) as f64 / (1_u64 << 40) as f64 * all;
            self.words[self.sums.partition_point(|sum| *sum < at).min(self.words.len() - 1)].as_str()
        };
        (0..words).map(word).collect::<Vec<_>>().join(" ")
    }
}

/// What half, 95 and 99 of 100, and all took at most.
pub fn percentiles(mut took: Vec<Duration>) -> [Duration; 4] {
    took.sort_unstable();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    [at(50), at(95), at(99), at(100)]
}

/// Milliseconds with three digits behind the point.
pub fn millis(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}
