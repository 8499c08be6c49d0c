//! `iaid status --watch`: how the daemon is, again and again, over one connection.
//!
//! On a terminal the list is redrawn in its place, within the terminal's size; elsewhere each look is a line.
//! A daemon that goes is said to be away and looked for until it is back. Asking keeps no daemon awake, but the
//! open connection keeps it from hibernating. Nothing of the terminal is changed that would have to be put
//! back: the cursor waits below the list.

use std::fmt::{Arguments, Write};
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{list, rows, state_in_words};
use crate::cli::hook::last_capture::{ASSISTANTS, LastCapture};
use crate::cli::support::console::{Console, OutputFormat, StreamKind, bold, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::values::{grouped, micros_in_words, size_in_words, time_in_words};
use crate::client::{Client, Policy};
use crate::lifecycle::user_zone;
use crate::sys::signals::{self, SIGHUP, SIGINT, SIGTERM};
use crate::sys::terminal::{self, Size};

/// Short, so that a key press is not waited out: the loop answers in milliseconds.
pub(crate) fn policy() -> Policy {
    Policy {
        connect_timeout: Duration::from_secs(1),
        reply_timeout: Duration::from_secs(2),
        wait_for_restart: Duration::ZERO,
        ..Policy::default()
    }
}

/// Looks every `interval` until a signal says that it is enough.
///
/// # Errors
/// Nobody reads on, or what answers is no daemon of this kind.
pub(crate) fn run(
    interval: Duration,
    store: Option<PathBuf>,
    client: &mut Client,
    console: &mut Console,
) -> Result<(), CliError> {
    let stop = stop(interval).map_err(|error| CliError::File("signals".into(), error))?;
    let mut watch = Watch { store, meter: RateMeter::default(), zone: user_zone::system(), away: None };
    let mut screen = Screen::default();
    loop {
        let look = watch.look(client)?;
        let shown = match (console.format, console.out_kind) {
            (OutputFormat::Json, _) => console.say(look.json()),
            (OutputFormat::Text, StreamKind::Plain) => console.say(watch.line(&look)),
            (OutputFormat::Text, kind) => {
                let size = terminal::size(&io::stdout());
                let text = screen.drawn(&watch.list(&look, client), size, kind);
                console.out.write_all(text.as_bytes())
            }
        };
        shown.and_then(|()| console.flush()).map_err(CliError::Output)?;
        if is_enough(&stop) {
            return Ok(());
        }
    }
}

/// What can be read from once it is enough; a read waits no longer than `interval`.
fn stop(interval: Duration) -> io::Result<UnixStream> {
    let (stop, end) = UnixStream::pair()?;
    signals::stop_into(&end, &[SIGINT, SIGTERM, SIGHUP])?;
    stop.set_read_timeout(Some(interval))?;
    Ok(stop)
}

/// Waits for the next look, or for the end.
fn is_enough(mut stop: &UnixStream) -> bool {
    loop {
        match stop.read(&mut [0]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            Ok(_) => return true,
        }
    }
}

struct Watch {
    store: Option<PathBuf>,
    meter: RateMeter,
    zone: TimeZone,
    /// Since when nobody has answered.
    away: Option<Timestamp>,
}

/// What one look has seen.
struct Sample {
    at: Timestamp,
    /// The reply, or why there is none.
    status: Result<Box<RawValue>, String>,
    requests_per_sec: Option<f64>,
    captures: Vec<(&'static str, Timestamp)>,
}

/// Requests a second, without those that ask for it.
#[derive(Debug, Default)]
struct RateMeter(Option<(Instant, u64)>);

impl RateMeter {
    /// `None` at the first look, and after a restart.
    fn rate(&mut self, requests: u64, now: Instant) -> Option<f64> {
        let (before, counted) = self.0.replace((now, requests))?;
        // One of them is the look itself.
        let new = requests.checked_sub(counted)?.saturating_sub(1);
        let seconds = now.saturating_duration_since(before).as_secs_f64();
        (seconds > 0.0).then(|| new as f64 / seconds)
    }
}

impl Watch {
    fn look(&mut self, client: &mut Client) -> Result<Sample, CliError> {
        let reply = client.control(&json!({"type": "status"}));
        let at = Timestamp::now();
        let mut requests_per_sec = None;
        match &reply {
            Ok(reply) => {
                let status: Value = serde_json::from_str(reply.get()).map_err(|e| CliError::Reply("status", e))?;
                if status["ok"] == false {
                    let text = |key: &str| status[key].as_str().unwrap_or_default().to_owned();
                    return Err(CliError::Declined { reason: text("reason"), message: text("error") });
                }
                let requests = status["requests"].as_u64();
                requests_per_sec = requests.and_then(|requests| self.meter.rate(requests, Instant::now()));
                self.away = None;
            }
            Err(_) => {
                self.meter = RateMeter::default();
                self.away.get_or_insert(at);
            }
        }
        let last = |store: &PathBuf| {
            ASSISTANTS.iter().filter_map(|who| Some((who.name(), LastCapture::of(store, *who)?.ts))).collect()
        };
        let captures = self.store.as_ref().map(last).unwrap_or_default();
        Ok(Sample { at, status: reply.map_err(|error| error.to_string()), requests_per_sec, captures })
    }

    fn clock(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S").to_string()
    }

    /// A look for a pipe or a file: one line.
    fn line(&self, look: &Sample) -> String {
        let mut line = self.clock(look.at);
        // Writing to a String cannot fail.
        let mut add = |part: Arguments<'_>| {
            let _ = write!(line, "  {part}");
        };
        match &look.status {
            Ok(status) => {
                let status: Value = serde_json::from_str(status.get()).unwrap_or_default();
                let number = |value: &Value| value.as_u64().unwrap_or(0);
                let count = |key: &str| grouped(number(&status[key]));
                let micros = |key: &str| micros_in_words(number(&status["latency_us"][key]));
                add(format_args!(
                    "{}",
                    state_in_words(status["fsm_state"].as_str(), status["lifecycle_state"].as_str())
                ));
                if let Some(rate) = look.requests_per_sec {
                    add(format_args!("{rate:.1} requests/s"));
                }
                add(format_args!("p50 {}, p99 {}", micros("p50"), micros("p99")));
                add(format_args!("{} in flight, {} queued", count("in_flight"), count("queued")));
                add(format_args!("{}", size_in_words(number(&status["rss_bytes"]))));
                add(format_args!("{} records  {} connections", count("records"), count("connections")));
            }
            Err(why) => add(format_args!("away: {why}")),
        }
        if !look.captures.is_empty() {
            add(format_args!("captured {}", captures(look)));
        }
        line
    }

    /// A look for a terminal: a list with a heading.
    fn list(&self, look: &Sample, client: &Client) -> Vec<(String, String)> {
        let mut shown = vec![(self.clock(look.at), client.path().display().to_string())];
        match &look.status {
            Ok(status) => {
                let status: Map<String, Value> = serde_json::from_str(status.get()).unwrap_or_default();
                shown.extend(rows(status, &self.zone));
                shown.extend(look.requests_per_sec.map(|rate| ("now".into(), format!("{rate:.1} requests a second"))));
            }
            Err(why) => {
                let since = self.away.map(|since| self.clock(since)).unwrap_or_default();
                shown.push(("state".into(), format!("away since {since}: {why}")));
            }
        }
        shown.extend((!look.captures.is_empty()).then(|| ("last captures".into(), captures(look))));
        shown
    }
}

impl Sample {
    /// A look for programs.
    fn json(&self) -> String {
        let captures = self.captures.iter().map(|(name, ts)| ((*name).to_owned(), ts.to_string().into())).collect();
        let told = SampleJson {
            ts: self.at.to_string(),
            requests_per_sec: self.requests_per_sec,
            last_captures: captures,
            error: self.status.as_ref().err(),
            status: self.status.as_deref().ok(),
        };
        serde_json::to_string(&told).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct SampleJson<'a> {
    ts: String,
    requests_per_sec: Option<f64>,
    last_captures: Map<String, Value>,
    error: Option<&'a String>,
    /// The reply as it came.
    status: Option<&'a RawValue>,
}

fn captures(look: &Sample) -> String {
    let ago = |(name, ts): &(&str, Timestamp)| {
        let seconds = look.at.duration_since(*ts).as_secs();
        format!("{name} {} ago", time_in_words(u64::try_from(seconds).unwrap_or(0)))
    };
    look.captures.iter().map(ago).collect::<Vec<_>>().join(", ")
}

/// What stands on the terminal.
#[derive(Debug, Default)]
struct Screen {
    lines: usize,
    size: Option<Size>,
}

impl Screen {
    /// What puts these rows in the place of the last ones.
    fn drawn(&mut self, rows: &[(String, String)], size: Option<Size>, kind: StreamKind) -> String {
        let mut text = match self.lines {
            0 => String::new(),
            // In a terminal of another size nobody knows on which line the list begins.
            _ if size != self.size => "\x1b[H\x1b[2J".to_owned(),
            // What was typed, such as ^C, stands on the line of the cursor.
            lines => format!("\r\x1b[{lines}A"),
        };
        let (columns, most) = size.map_or((80, 24), |size| (size.columns.into(), usize::from(size.rows)));
        let rows: Vec<(String, String)> =
            rows.iter().map(|(label, value)| (label.clone(), value.replace(['\n', '\t'], " "))).collect();
        let lines: Vec<String> = list(&rows).into_iter().take(most.saturating_sub(1).max(1)).collect();
        for line in &lines {
            let line = visible(line, kind);
            let (label, value) = line.split_at(line.find("  ").unwrap_or(line.len()));
            let room = columns - within(label, columns).1;
            text.push_str(&bold(within(label, columns).0, kind));
            text.push_str(within(value, room).0);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        (self.lines, self.size) = (lines.len(), size);
        text
    }
}

/// As much of a text as has room, and the columns that it takes. What may be wide is taken to be.
fn within(text: &str, columns: usize) -> (&str, usize) {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        let wide = if c < '\u{1100}' { 1 } else { 2 };
        if taken + wide > columns {
            return (&text[..at], taken);
        }
        taken += wide;
    }
    (text, taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_others() {
        let start = Instant::now();
        let mut meter = RateMeter::default();
        for (seconds, requests, rate) in [
            (0, 100, None),
            (1, 101, Some(0.0)),
            (2, 112, Some(10.0)),
            (4, 133, Some(10.0)),
            // Another daemon.
            (5, 3, None),
            (6, 4, Some(0.0)),
            (6, 4, None),
        ] {
            assert_eq!(meter.rate(requests, start + Duration::from_secs(seconds)), rate, "at {seconds} s");
        }
    }

    #[test]
    fn a_list_keeps_within_the_terminal_and_its_own_place() {
        let row = |label: &str, value: &str| (label.to_owned(), value.to_owned());
        let size = |columns, rows| Some(Size { columns, rows });
        let three = [row("state", "awake"), row("x", "日本語の記憶"), row("z", "a\nb\u{1b}c")];
        let mut screen = Screen::default();
        let first = screen.drawn(&three, size(12, 24), StreamKind::Terminal);
        assert_eq!(first, "state  awake\x1b[K\nx      日本\x1b[K\nz      a b␛\x1b[K\n\x1b[J");
        let again = screen.drawn(&three[..1], size(12, 24), StreamKind::Colored);
        assert_eq!(again, "\r\x1b[3A\x1b[1mstate\x1b[0m  awake\x1b[K\n\x1b[J");
        let small = screen.drawn(&three, size(3, 3), StreamKind::Terminal);
        assert_eq!(small, "\x1b[H\x1b[2Jsta\x1b[K\nx  \x1b[K\n\x1b[J");
        assert!(screen.drawn(&three, size(3, 1), StreamKind::Terminal).starts_with("\x1b[H\x1b[2Jsta\x1b[K\n\x1b[J"));
        assert_eq!(screen.lines, 1);
    }

    #[test]
    fn a_look_is_a_line_in_each_form() {
        let watch = Watch { store: None, meter: RateMeter::default(), zone: TimeZone::UTC, away: None };
        let status = r#"{"ok":true,"fsm_state":"WAKE","lifecycle_state":"DROWSY","records":1234,"x":1.50,"rss_bytes":2048,"latency_us":{"p50":12,"p99":3400}}"#;
        let mut look = Sample {
            at: "2026-05-14T10:00:00Z".parse().unwrap(),
            status: Ok(RawValue::from_string(status.into()).unwrap()),
            requests_per_sec: Some(2.5),
            captures: vec![("codex", "2026-05-14T09:58:55Z".parse().unwrap())],
        };
        assert_eq!(
            watch.line(&look),
            "10:00:00  drowsy (WAKE, DROWSY)  2.5 requests/s  p50 12 µs, p99 3.4 ms  0 in flight, 0 queued  2.0 KiB  \
             1 234 records  0 connections  captured codex 1 min 5 s ago"
        );
        assert!(look.json().contains(&format!("\"status\":{status}")), "{}", look.json());
        serde_json::from_str::<Value>(&look.json()).unwrap();
        look.status = Err("daemon_unreachable: \"x\"".into());
        assert!(watch.line(&look).contains("  away: daemon_unreachable"));
        assert_eq!(serde_json::from_str::<Value>(&look.json()).unwrap()["status"], Value::Null);
    }
}
