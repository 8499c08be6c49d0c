//! The rows of `iaid status`: a label and a value for each part of the reply.
//!
//! Unknown keys are shown unchanged, so that the output of a newer daemon is complete.

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use crate::cli::recall::local_time;
use crate::cli::support::values::{counted, grouped, micros_in_words, size_in_words, time_in_words};

/// Formats labels and values in two columns, at least two spaces apart.
pub(crate) fn list(rows: &[(String, String)]) -> Vec<String> {
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(label, value)| format!("{label:<width$}  {value}")).collect()
}

/// The keys of the reply; each is removed when it is shown.
struct Status(Map<String, Value>);

impl Status {
    fn text(&mut self, key: &str) -> Option<String> {
        match self.0.remove(key)? {
            Value::Null => None,
            Value::String(text) => Some(text),
            other => Some(other.to_string()),
        }
    }

    fn count(&mut self, key: &str) -> Option<u64> {
        match self.0.get(key)?.as_u64() {
            Some(count) => {
                self.0.remove(key);
                Some(count)
            }
            None => None,
        }
    }
}

pub(crate) fn rows(status: Map<String, Value>, zone: &TimeZone) -> Vec<(String, String)> {
    let mut status = Status(status);
    let mut rows = Vec::new();
    let mut row = |label: &str, value: Option<String>| rows.extend(value.map(|value| (label.to_owned(), value)));
    status.0.remove("ok");
    row("state", state(&mut status));
    row("store", status.text("store_error"));
    row("forgetting", status.0.remove("forgetting").map(|value| forgetting_in_words(&value)));
    row("sleep", sleep(&mut status));
    let paused = status.text("capture_paused_since");
    row(
        "capture",
        paused.map(|since| format!("paused since {} until `iaid resume --capture`", local_time(&since, zone))),
    );
    row("quarantine", status.0.remove("quarantine").and_then(|value| quarantine(&value, zone)));
    row("REM cycle", status.0.remove("rem_cycle").map(|value| rem_cycle(&value)));
    row("quiet window", status.0.remove("quiet_window").map(|value| quiet_window(&value)));
    row("digest", status.0.remove("pending_digest").map(|value| digest(&value)));
    row("up", up(&mut status, zone));
    row("last tick", status.text("last_tick_at").map(|ts| local_time(&ts, zone)));
    row("version", status.text("version"));
    row("records", status.count("records").map(grouped));
    row("assistants", status.0.remove("assistants").map(|value| assistants(&value)));
    row("secrets", status.0.remove("masked").map(|masked| masked_in_words(&masked)));
    row("connections", status.count("connections").map(|count| format!("{} open", grouped(count))));
    row("requests", requests(&mut status));
    row("work", work(&mut status));
    row("latency", status.0.remove("latency_us").map(|value| latency(&value)));
    row("memory", memory(&mut status));
    row("turned away", turned_away(&mut status));
    row("late results", status.count("late_results").filter(|count| *count > 0).map(grouped));
    rows.extend(status.0.into_iter().map(|(key, value)| match value {
        Value::String(text) => (key, text),
        other => (key, other.to_string()),
    }));
    rows
}

/// Formats the number of records of each assistant.
fn assistants(value: &Value) -> String {
    let counts = value.as_object().into_iter().flatten();
    let shown = counts.map(|(name, count)| format!("{name} {}", grouped(count.as_u64().unwrap_or(0))));
    shown.collect::<Vec<_>>().join(", ")
}

fn state(status: &mut Status) -> Option<String> {
    // The same value has two names, for two kinds of clients.
    let (fsm, state) = (status.text("fsm_state"), status.text("state"));
    let lifecycle = status.text("lifecycle_state");
    let fsm = fsm.or(state)?;
    Some(state_in_words(Some(&fsm), lifecycle.as_deref()))
}

/// Formats a state for people, followed by its names in the protocol.
pub(crate) fn state_in_words(fsm: Option<&str>, lifecycle: Option<&str>) -> String {
    let fsm = fsm.unwrap_or_default();
    let words = match (fsm, lifecycle) {
        (_, Some("HIBERNATION")) => "hibernating",
        (_, Some("DROWSY")) => "drowsy",
        ("WAKE", _) => "awake",
        ("TRANSITIONING", _) => "falling asleep",
        ("SLEEP", _) => "asleep",
        ("DREAMING", _) => "dreaming: running a REM cycle",
        _ => "unknown state",
    };
    match lifecycle {
        Some(lifecycle) if lifecycle != fsm => format!("{words} ({fsm}, {lifecycle})"),
        _ => format!("{words} ({fsm})"),
    }
}

fn sleep(status: &mut Status) -> Option<String> {
    match status.0.remove("scheduler_paused")? {
        Value::Bool(true) => Some("paused until `iaid resume`".into()),
        Value::Bool(false) => Some("when idle".into()),
        other => Some(other.to_string()),
    }
}

/// Formats how many secrets were masked, of which kinds and in which session last.
pub(crate) fn masked_in_words(masked: &Value) -> String {
    let count = |value: &Value| grouped(value.as_u64().unwrap_or(0));
    let kinds = |kinds: &Value| {
        let kinds = kinds.as_object().into_iter().flatten();
        kinds.map(|(kind, number)| format!("{} {kind}", count(number))).collect::<Vec<_>>().join(", ")
    };
    let last = &masked["sessions"][0];
    let session = last["session_id"].as_str().unwrap_or("-");
    let (all, own) = (kinds(&masked["kinds"]), kinds(&last["kinds"]));
    format!("{} masked: {all}; last in session {session}: {own}", count(&masked["count"]))
}

/// Formats a forgetting that is not at its end.
pub(crate) fn forgetting_in_words(forgetting: &Value) -> String {
    let phase = forgetting["phase"].as_str().unwrap_or("an unknown phase");
    match (forgetting["error"].as_str(), forgetting["retry_in_sec"].as_u64()) {
        (Some(error), Some(seconds)) => {
            let wait = time_in_words(seconds);
            format!("phase {phase}, failed ({error}); tried again in {wait}")
        }
        _ => format!("phase {phase}"),
    }
}

fn quarantine(value: &Value, zone: &TimeZone) -> Option<String> {
    match (value, value["until_ts"].as_str()) {
        (Value::Null | Value::Bool(false), _) => None,
        (_, Some(until)) => {
            let why = value["reason"].as_str().unwrap_or("a step of the REM cycle failed repeatedly");
            Some(format!("until {}: {why}", local_time(until, zone)))
        }
        (value, None) => Some(value.to_string()),
    }
}

fn rem_cycle(value: &Value) -> String {
    let count = |key: &str| value[key].as_u64().unwrap_or(0);
    let ended = |count: u64, how: &str| (count > 0).then(|| format!("{} {how}", grouped(count)));
    let now = match value["step"].as_str() {
        Some(step) => format!("step {} of {}: {step}{}", count("steps_done") + 1, count("steps"), share_done(value)),
        None if value["asked"] == true => "requested".into(),
        None => "none running".into(),
    };
    let since = [
        ended(count("finished"), "finished"),
        ended(count("interrupted"), "interrupted"),
        ended(count("failed"), "failed"),
    ];
    let error = value["last_error"].as_str().map(|error| format!("last error: {error}"));
    [Some(now)].into_iter().chain(since).chain([error]).flatten().collect::<Vec<_>>().join(", ")
}

/// Formats how much of a cycle is done and how long the rest takes, as far as it is known, behind the step's name.
pub(crate) fn share_done(cycle: &Value) -> String {
    let done = cycle["percent_done"].as_u64().map(|percent| format!(", {percent} % done"));
    let left = cycle["seconds_left"].as_u64().map(|seconds| format!(", about {} left", time_in_words(seconds)));
    done.unwrap_or_default() + &left.unwrap_or_default()
}

/// Formats `[start half-hour 0..47, length in half-hours]` as times of day.
fn quiet_window(value: &Value) -> String {
    let half_hour = |at: u64| format!("{:02}:{:02}", at % 48 / 2, at % 2 * 30);
    match (value, value[0].as_u64(), value[1].as_u64()) {
        (Value::Null, ..) => "not learned yet".into(),
        (_, Some(start), Some(length)) if start < 48 && length <= 48 => {
            format!("{} to {}", half_hour(start), half_hour(start + length))
        }
        _ => value.to_string(),
    }
}

fn digest(value: &Value) -> String {
    let count = |key: &str| value[key].as_u64().unwrap_or(0);
    match value {
        Value::Null => "none pending".into(),
        Value::Object(_) => format!(
            "{}, {}, {}",
            counted(count("rem_cycles_completed"), "REM cycle", "REM cycles"),
            counted(count("episodes_processed"), "episode", "episodes"),
            counted(count("schemas_induced_tier0"), "pattern", "patterns"),
        ),
        other => other.to_string(),
    }
}

fn up(status: &mut Status, zone: &TimeZone) -> Option<String> {
    let seconds = status.0.remove("uptime_sec").and_then(|value| value.as_f64());
    let since = status.text("daemon_started_at").map(|ts| local_time(&ts, zone));
    match (seconds.map(|seconds| time_in_words(seconds as u64)), since) {
        (Some(time), Some(since)) => Some(format!("{time}, since {since}")),
        (Some(time), None) => Some(time),
        (None, since) => since.map(|since| format!("since {since}")),
    }
}

fn requests(status: &mut Status) -> Option<String> {
    let requests = grouped(status.count("requests")?);
    Some(match status.count("errors") {
        Some(errors) => format!("{requests} since the start, {} answered with an error", grouped(errors)),
        None => format!("{requests} since the start"),
    })
}

fn work(status: &mut Status) -> Option<String> {
    let parts = [("in_flight", "in flight"), ("queued", "queued")]
        .into_iter()
        .filter_map(|(key, words)| status.count(key).map(|count| format!("{} {words}", grouped(count))));
    let mut parts: Vec<_> = parts.collect();
    parts.extend(status.count("workers").map(|count| counted(count, "worker", "workers")));
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn latency(value: &Value) -> String {
    let parts = [("p50", "half under"), ("p99", "99 % under"), ("max", "slowest")];
    let parts = parts.into_iter().filter_map(|(key, words)| {
        let micros = value[key].as_f64()?;
        Some(format!("{words} {}", micros_in_words(micros as u64)))
    });
    let shown = parts.collect::<Vec<_>>().join(", ");
    if shown.is_empty() { "no call yet".into() } else { shown }
}

fn memory(status: &mut Status) -> Option<String> {
    let parts = [("rss_bytes", "resident"), ("buffered_bytes", "in buffers")]
        .into_iter()
        .filter_map(|(key, words)| status.count(key).map(|bytes| format!("{} {words}", size_in_words(bytes))));
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// Returns the counts of refused and closed connections that are not zero.
fn turned_away(status: &mut Status) -> Option<String> {
    let kinds = [
        ("refused_peers", "peer of another user", "peers of other users"),
        ("refused_connections", "connection over the limit", "connections over the limit"),
        ("cut_readers", "peer that read nothing", "peers that read nothing"),
        ("cut_lines", "line that stood still", "lines that stood still"),
    ];
    let parts = kinds.into_iter().filter_map(|(key, one, many)| {
        status.count(key).filter(|count| *count > 0).map(|count| counted(count, one, many))
    });
    let parts: Vec<_> = parts.collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}
