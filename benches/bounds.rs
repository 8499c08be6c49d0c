//! Measures how the cost of the worst requests grows with their bytes, and with the projects and sessions of the store;
//! and how long an innocent client's capture waits beside two clients that send such a request without a pause.
//!
//! `cargo bench --bench bounds [-- costs | waits [NAME]]`; NAME chooses the inputs whose names contain it. Each request is sent at a quarter, a half and all of the longest line; the stores have
//! 2 500, 5 000 and 10 000 projects and as many sessions. The cost is the daemon's processor time, of three runs the
//! least. A ratio of 2 is in proportion to the bytes, one of 4 would be quadratic. Costs under a millisecond say
//! nothing and have no ratio.

mod load;

use std::fmt::Write as _;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use load::{Client, Daemon};

/// Longest line of a daemon with the default options, less the envelopes below.
const LONGEST_BYTES: usize = (1 << 20) - 1000;

/// Nanoseconds under which a cost has no ratio.
const NOTABLE_NS: u64 = 1_000_000;

const RUNS: usize = 3;

const RECORD_ID: &str = "00000000-0000-7000-8000-000000000000";

/// How long captures are made beside each request, and how many there are at least.
const BESIDE: Duration = Duration::from_millis(700);
const MIN_CAPTURES: usize = 20;

/// Stands in a request for a number of its own.
const NUMBER: &str = "NUMBER";

fn main() {
    // Cargo passes --bench.
    let mut chosen = std::env::args().skip(1).filter(|arg| !arg.starts_with('-'));
    let (what, name) = (chosen.next(), chosen.next().unwrap_or_default());
    if what.as_deref() != Some("waits") {
        costs(&name);
    }
    if what.as_deref() != Some("costs") {
        waits(&name);
    }
}

fn costs(name: &str) {
    let daemon = Daemon::start();
    fill(&mut daemon.client(), 200);
    println!("cost at the longest line, and its ratio to that of a half and of the half to a quarter");
    let [quarter, half, whole] =
        [LONGEST_BYTES / 4, LONGEST_BYTES / 2, LONGEST_BYTES].map(|bytes| lines(&daemon, bytes));
    for ((what, quarter), ((_, half), (_, whole))) in quarter.iter().zip(half.iter().zip(&whole)) {
        if !what.contains(name) {
            continue;
        }
        print(what, [quarter, half, whole].map(|line| cost(&daemon, line)));
    }
    println!("cost with 10 000 projects and sessions, and its ratio to 5 000 and of those to 2 500");
    let stores = [2500, 5000, 10_000].map(|projects| {
        let daemon = Daemon::start();
        fill(&mut daemon.client(), projects);
        daemon
    });
    for line in store_lines().into_iter().filter(|line| line.contains(name)) {
        print(&line[..line.len().min(80)], stores.each_ref().map(|daemon| cost(daemon, &line)));
    }
}

fn waits(name: &str) {
    println!("wait of a capture beside two clients that send the same line without a pause: median, longest; captures");
    let daemon = Daemon::start();
    fill(&mut daemon.client(), 10_000);
    let mut all = waits_beside(&daemon, "nothing", None);
    let long = lines(&daemon, LONGEST_BYTES).into_iter().chain(long_writes());
    let of_store = store_lines().into_iter().chain(maintenance(&daemon)).map(|line| (line.clone(), line));
    for (what, line) in long.chain(of_store).filter(|(what, _)| what.contains(name)) {
        all.append(&mut waits_beside(&daemon, &what[..what.len().min(80)], Some(&line)));
    }
    all.sort_unstable();
    println!("{:9.2} ms {:9.2} ms {:5}  all", millis(all[all.len() / 2]), millis(all[all.len() - 1]), all.len());
}

/// Prints and returns how long captures wait beside two clients that send `line`.
fn waits_beside(daemon: &Daemon, what: &str, line: Option<&str>) -> Vec<Duration> {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    let mut waits = thread::scope(|scope| {
        for line in line.into_iter().chain(line) {
            let is_over = &is_over;
            scope.spawn(move || {
                let mut client = daemon.client();
                while !is_over.load(Ordering::Relaxed) {
                    match line.contains(NUMBER) {
                        true => {
                            client.exchange(&line.replace(NUMBER, &SENT.fetch_add(1, Ordering::Relaxed).to_string()))
                        }
                        false => client.exchange(line),
                    };
                }
            });
        }
        let (mut client, end, mut waits) = (daemon.client(), Instant::now() + BESIDE, Vec::new());
        while waits.len() < MIN_CAPTURES || Instant::now() < end {
            let text = format!("note {} of the innocent client", SENT.fetch_add(1, Ordering::Relaxed));
            let began = Instant::now();
            client.call("memory_capture", &json!({"text": text, "session_id": "innocent"}));
            waits.push(began.elapsed());
            thread::sleep(Duration::from_millis(3));
        }
        is_over.store(true, Ordering::Relaxed);
        waits
    });
    waits.sort_unstable();
    let what = what.trim_end().replace("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":", "");
    let (median, longest) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    println!("{:9.2} ms {:9.2} ms {:5}  {what}", millis(median), millis(longest), waits.len());
    waits
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn print(what: &str, [quarter, half, whole]: [u64; 3]) {
    let ratio = |large: u64, small: u64| match small {
        NOTABLE_NS.. => format!("{:4.1}", large as f64 / small as f64),
        _ => "   –".into(),
    };
    let what = what.trim_end().replace("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":", "");
    println!("{:9.2} ms {} {}  {what}", whole as f64 / 1e6, ratio(whole, half), ratio(half, quarter));
}

/// Stores records, each of a project and a session of its own.
fn fill(client: &mut Client, projects: usize) {
    for first in (0..projects).step_by(500) {
        let row = |n: usize| {
            json!({"kind": "record", "text": format!("the harbour lantern number {n} is lit"), "project": format!("/p/{n}"),
                "session_id": format!("s{n}"), "ts": format!("2024-03-{:02}T10:00:00Z", n % 28 + 1)})
        };
        client.call(
            "store_import",
            &json!({"rows": (first..projects.min(first + 500)).map(row).collect::<Vec<Value>>()}),
        );
    }
}

/// Returns the processor time that a request takes, in nanoseconds.
fn cost(daemon: &Daemon, line: &str) -> u64 {
    let run = |_| {
        let before = processor_time(daemon);
        daemon.client().exchange(line);
        processor_time(daemon) - before
    };
    (0..RUNS).map(run).min().expect("there are runs")
}

fn processor_time(daemon: &Daemon) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", daemon.child.id())).expect("Linux has proc(5)").flatten();
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).ok();
    tasks.filter_map(of).filter_map(|text| text.split(' ').next()?.parse::<u64>().ok()).sum()
}

fn call(method: &str, params: &str) -> String {
    format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{{{params}}}}}\n")
}

/// Returns a line of about `bytes` bytes for each input, by what it has many of.
fn lines(daemon: &Daemon, bytes: usize) -> Vec<(String, String)> {
    let all = numbered(bytes, |n| format!("\"k{n}\":1,"));
    let members = all.trim_end_matches(',');
    let nested = format!("{0}{1}", "[".repeat(100), "]".repeat(100));
    let repeated = |piece: &str| piece.repeat(bytes / piece.len());
    let words = numbered(bytes, |n| format!("w{n} "));
    let mut lines: Vec<(String, String)> = Vec::new();
    let discovered = daemon.client().call("rpc.discover", &json!({}));
    let skipped = ["store_backup", "store_check", "store_reindex", "memory_consolidate"];
    for method in
        discovered["methods"].as_array().expect("a list").iter().map(|method| method["name"].as_str().expect("a name"))
    {
        if skipped.contains(&method) {
            continue;
        }
        lines.push((format!("{method}: params"), call(method, members)));
        let required =
            r#""text":"long enough to be stored","cue":"harbour","kind":"session_started","knob":"wake_depth","#;
        lines.push((format!("{method}: params beside its own"), call(method, &format!("{required}{members}"))));
    }
    for kind in ["status", "user_initiated_sleep", "force_wake", "force_rem", "pause", "resume", "session_open"] {
        lines.push((format!("{kind}: keys"), format!("{{\"type\":\"{kind}\",{members}}}\n")));
        let text = format!("\"ts\":\"{0}\",\"reason\":\"x\",\"session_id\":\"{0}\"", "é".repeat(bytes / 4));
        lines.push((format!("{kind}: long strings"), format!("{{\"type\":\"{kind}\",{text}}}\n")));
    }
    for (what, line) in [
        ("ping: keys", format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",{members}}}\n")),
        (
            "ping: escaped keys",
            format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"{}}}\n", repeated(",\"\\u0069e\":1")),
        ),
        ("ping: id", format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"ping\"}}\n", repeated("i"))),
        ("unknown method", call(&repeated("m"), "")),
        ("unclosed brackets", format!("{}\n", repeated("["))),
        ("no JSON", format!("{{\"a\":[{}\n", repeated("1,"))),
        ("nesting", call("profile_get", &format!("\"x\":[{}1]", repeated(&format!("{nested},"))))),
        ("duplicate params", call("profile_get", &format!("{members},\"k0\":1"))),
        (
            "escaped params",
            call("profile_get", numbered(bytes, |n| format!("\"\\u006b{n}\":1,")).trim_end_matches(',')),
        ),
        ("memory_capture: text", call("memory_capture", &format!("\"text\":\"{}\"", repeated("\\u0001")))),
        (
            "memory_capture: tier",
            call("memory_capture", &format!("\"text\":\"long enough a text\",\"tier\":\"{}\"", repeated("t"))),
        ),
        ("memory_recall: words", call("memory_recall", &format!("\"cue\":\"{words}\""))),
        (
            "memory_recall: pairs of words",
            call("memory_recall", &format!("\"cue\":\"{}\"", repeated("harbour lantern "))),
        ),
        (
            "memory_recall: also",
            call("memory_recall", &format!("\"cue\":\"{words}\",\"also\":[\"a b c d e f g h i j k l m n o p q\"]")),
        ),
        ("memory_recall: identifiers", call("memory_recall", &format!("\"cue\":\"{}\"", repeated("a_bcd1 ")))),
        ("memory_recall: quotes", call("memory_recall", &format!("\"cue\":\"{}\"", repeated("«harbour lantern» ")))),
        ("memory_recall: open quotes", call("memory_recall", &format!("\"cue\":\"{}\"", repeated("«„「『“")))),
        ("memory_recall: one word", call("memory_recall", &format!("\"cue\":\"{}\"", repeated("h")))),
        ("memory_recall: ideographs", call("memory_recall", &format!("\"cue\":\"{}\"", repeated("猫犬鳥魚")))),
        (
            "memory_recall: project",
            call("memory_recall", &format!("\"cue\":\"harbour\",\"project\":\"{}\"", repeated("p"))),
        ),
        (
            "memory_recall_structural: roles",
            call("memory_recall_structural", &format!("\"structure_query\":{{{members}}}")),
        ),
        (
            "memory_recall_structural: who",
            call("memory_recall_structural", &format!("\"structure_query\":{{\"who\":\"{}\"}}", repeated("w"))),
        ),
        (
            "memory_reinforce: ids",
            call(
                "memory_reinforce",
                &format!("\"ids\":[{}\"\"]", numbered(bytes, |n| format!("\"{n:08}-0000-7000-8000-000000000000\","))),
            ),
        ),
        (
            "memory_reinforce: one id",
            call("memory_reinforce", &format!("\"ids\":[{}\"{RECORD_ID}\"]", repeated(&format!("\"{RECORD_ID}\",")))),
        ),
        ("memory_reinforce: elements", call("memory_reinforce", &format!("\"ids\":[{}1]", repeated("1,")))),
        (
            "profile_set: domains",
            call("profile_set", &format!("\"knob\":\"monotropism_depth\",\"value\":{{{members}}}")),
        ),
        ("store_import: rows", call("store_import", &format!("\"rows\":[{}{{}}]", repeated("{},")))),
        ("store_import: members", call("store_import", &format!("\"rows\":[{{\"kind\":\"tag\",{members}}}]"))),
        ("store_import: tags", call("store_import", &format!("\"rows\":[{}]", tags(bytes)))),
    ] {
        lines.push((what.into(), line));
    }
    lines
}

/// Requests that store about [`LONGEST_BYTES`] of words that are new each time.
fn long_writes() -> Vec<(String, String)> {
    let words = |bytes: usize| numbered(bytes, |n| format!("w{n}xNUMBER "));
    let capture = |n: usize| call("memory_capture", &format!("\"text\":\"{n} {}\"", words(32_000)));
    let row = |n: usize| format!("{{\"kind\":\"record\",\"text\":\"{n} {}\"}},", words(1000));
    vec![
        ("memory_capture: captures in one piece".into(), (0..16).map(capture).collect()),
        (
            "store_import: records".into(),
            call("store_import", &format!("\"rows\":[{}{{}}]", (0..500).map(row).collect::<String>())),
        ),
        (
            "store_import: long records".into(),
            call(
                "store_import",
                &format!(
                    "\"rows\":[{}{{}}]",
                    (0..12)
                        .map(|n| format!("{{\"kind\":\"record\",\"text\":\"{n} {}\"}},", words(40_000)))
                        .collect::<String>()
                ),
            ),
        ),
    ]
}

/// Requests that read or write the whole store.
fn maintenance(daemon: &Daemon) -> Vec<String> {
    let backup = format!("\"path\":\"{}\"", daemon.home.path().join("backup-NUMBER").display());
    [("store_backup", &*backup), ("store_check", ""), ("store_reindex", ""), ("memory_consolidate", "")]
        .map(|(method, params)| call(method, params))
        .into()
}

/// Requests whose cost depends on the store.
fn store_lines() -> Vec<String> {
    let mut lines: Vec<String> = [
        ("memory_recall", r#""cue":"""#),
        ("memory_recall", r#""cue":"","limit":100"#),
        ("memory_recall", r#""cue":"","project":"/p/77""#),
        ("memory_recall", r#""cue":"","since":"2024-03-05","until":"2024-03-05""#),
        ("memory_recall", r#""cue":"harbour lantern""#),
        ("memory_recall", r#""cue":"harbour lantern","project":"/p/77","session_id":"s77""#),
        ("memory_recall_structural", r#""structure_query":{}"#),
        ("memory_recall_structural", r#""structure_query":{"day":"2024-03-05"}"#),
        ("memory_recall_structural", r#""structure_query":{"session":"s77"}"#),
        ("memory_recall_structural", r#""structure_query":{"who":"nobody"},"max_records":50000"#),
        ("session_start_payload", r#""project":"/p/77","wake_depth":"deep""#),
        ("session_exit", r#""session_id":"s77""#),
        ("curiosity_pending", ""),
        ("schema_list", ""),
        ("topology", ""),
        ("profile_get", ""),
        ("events_query", r#""kind":"session_started""#),
        ("store_export", r#""limit":1000"#),
    ]
    .map(|(method, params)| call(method, params))
    .into();
    lines.push("{\"type\":\"status\"}\n".into());
    lines
}

fn numbered(bytes: usize, piece: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(bytes + 64);
    let mut n = 0;
    while text.len() < bytes {
        write!(text, "{}", piece(n)).expect("a string takes it");
        n += 1;
    }
    text
}

/// Returns a thousand rows, each of a tag with a long name.
fn tags(bytes: usize) -> String {
    let name = "t".repeat(bytes / 1000);
    vec![format!("{{\"kind\":\"tag\",\"record\":\"{RECORD_ID}\",\"name\":\"{name}\"}}"); 900].join(",")
}
