//! `iaid status --watch`: refreshes the status over one connection.
//!
//! On a terminal the list is redrawn in place, within the terminal's size; otherwise each refresh is a line. While the
//! daemon is down, the line says so and the connection is retried. The requests keep no daemon awake, but the open
//! connection keeps it from hibernating. No terminal mode is changed that would have to be restored; the cursor stays
//! below the list.

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

use super::rows::{list, rows, state_in_words};
use crate::cli::hook::last_capture::LastCapture;
use crate::cli::support::console::{Console, OutputFormat, StreamKind, bold, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::values::{grouped, micros_in_words, size_in_words, time_in_words};
use crate::client::{Client, Policy};
use crate::lifecycle::user_zone;
use crate::sys::signals::{self, SIGHUP, SIGINT, SIGTERM};
use crate::sys::terminal::{self, Size};
use crate::transcript::Assistant;

/// Returns a policy with short timeouts, so that Ctrl-C takes effect soon. The event loop answers within milliseconds.
pub(crate) fn policy() -> Policy {
    Policy {
        connect_timeout: Duration::from_secs(1),
        reply_timeout: Duration::from_secs(2),
        wait_for_restart: Duration::ZERO,
        ..Policy::default()
    }
}

/// Refreshes every `interval` until SIGINT, SIGTERM or SIGHUP.
///
/// # Errors
/// [`CliError::Output`] if standard output is closed, [`CliError::Declined`] or [`CliError::Reply`] if the reply is not
/// that of a daemon, [`CliError::File`] if the signals cannot be caught.
pub(crate) fn run(
    interval: Duration,
    store: Option<PathBuf>,
    client: &mut Client,
    console: &mut Console,
) -> Result<(), CliError> {
    let stop = stop_signal(interval).map_err(|error| CliError::File("signals".into(), error))?;
    let mut watch = Watch { store, meter: RateMeter::default(), zone: user_zone::system(), down_since: None };
    let mut screen = Screen::default();
    loop {
        let sample = watch.sample(client)?;
        let shown = match (console.format, console.out_kind) {
            (OutputFormat::Json, _) => console.say(sample.json()),
            (OutputFormat::Text, StreamKind::Plain) => console.say(watch.line(&sample)),
            (OutputFormat::Text, kind) => {
                let size = terminal::size(&io::stdout());
                let text = screen.redraw(&watch.list(&sample, client), size, kind);
                console.out.write_all(text.as_bytes())
            }
        };
        shown.and_then(|()| console.flush()).map_err(CliError::Output)?;
        if is_stopped(&stop) {
            return Ok(());
        }
    }
}

/// Returns a socket that becomes readable on a signal; a read from it times out after `interval`.
fn stop_signal(interval: Duration) -> io::Result<UnixStream> {
    let (stop, end) = UnixStream::pair()?;
    signals::stop_into(&end, &[SIGINT, SIGTERM, SIGHUP])?;
    stop.set_read_timeout(Some(interval))?;
    Ok(stop)
}

/// Waits until the next refresh. Returns true if a signal arrived.
fn is_stopped(mut stop: &UnixStream) -> bool {
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
    /// Since when the daemon has not answered.
    down_since: Option<Timestamp>,
}

/// The result of one refresh.
struct Sample {
    at: Timestamp,
    /// The reply, or the error message.
    status: Result<Box<RawValue>, String>,
    requests_per_sec: Option<f64>,
    captures: Vec<(&'static str, Timestamp)>,
}

/// Measures requests per second, without those of this program.
#[derive(Debug, Default)]
struct RateMeter(Option<(Instant, u64)>);

impl RateMeter {
    /// Returns the rate since the last call; `None` on the first call and after a restart of the daemon.
    fn rate(&mut self, requests: u64, now: Instant) -> Option<f64> {
        let (before, counted) = self.0.replace((now, requests))?;
        // One of the requests is our own.
        let new = requests.checked_sub(counted)?.saturating_sub(1);
        let seconds = now.saturating_duration_since(before).as_secs_f64();
        (seconds > 0.0).then(|| new as f64 / seconds)
    }
}

impl Watch {
    fn sample(&mut self, client: &mut Client) -> Result<Sample, CliError> {
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
                self.down_since = None;
            }
            Err(_) => {
                self.meter = RateMeter::default();
                self.down_since.get_or_insert(at);
            }
        }
        let last = |store: &PathBuf| {
            Assistant::ALL.into_iter().filter_map(|who| Some((who.name(), LastCapture::of(store, who)?.ts))).collect()
        };
        let captures = self.store.as_ref().map(last).unwrap_or_default();
        Ok(Sample { at, status: reply.map_err(|error| error.to_string()), requests_per_sec, captures })
    }

    fn clock(&self, at: Timestamp) -> String {
        let at = self.zone.to_datetime(at);
        format!("{:02}:{:02}:{:02}", at.hour(), at.minute(), at.second())
    }

    /// Formats a sample as one line, for a pipe or a file.
    fn line(&self, sample: &Sample) -> String {
        let mut line = self.clock(sample.at);
        // Writing to a String cannot fail.
        let mut add = |part: Arguments<'_>| {
            let _ = write!(line, "  {part}");
        };
        match &sample.status {
            Ok(status) => {
                let status: Value = serde_json::from_str(status.get()).unwrap_or_default();
                let number = |value: &Value| value.as_u64().unwrap_or(0);
                let count = |key: &str| grouped(number(&status[key]));
                let micros = |key: &str| micros_in_words(number(&status["latency_us"][key]));
                add(format_args!(
                    "{}",
                    state_in_words(status["fsm_state"].as_str(), status["lifecycle_state"].as_str())
                ));
                if let Some(rate) = sample.requests_per_sec {
                    add(format_args!("{rate:.1} requests/s"));
                }
                add(format_args!("p50 {}, p99 {}", micros("p50"), micros("p99")));
                add(format_args!("{} in flight, {} queued", count("in_flight"), count("queued")));
                add(format_args!("{}", size_in_words(number(&status["rss_bytes"]))));
                add(format_args!("{} records  {} connections", count("records"), count("connections")));
            }
            Err(why) => add(format_args!("down: {why}")),
        }
        if !sample.captures.is_empty() {
            add(format_args!("captured {}", captures(sample)));
        }
        line
    }

    /// Formats a sample as a list with a heading, for a terminal.
    fn list(&self, sample: &Sample, client: &Client) -> Vec<(String, String)> {
        let mut shown = vec![(self.clock(sample.at), client.path().display().to_string())];
        match &sample.status {
            Ok(status) => {
                let status: Map<String, Value> = serde_json::from_str(status.get()).unwrap_or_default();
                shown.extend(rows(status, &self.zone));
                shown
                    .extend(sample.requests_per_sec.map(|rate| ("now".into(), format!("{rate:.1} requests a second"))));
            }
            Err(why) => {
                let since = self.down_since.map(|since| self.clock(since)).unwrap_or_default();
                shown.push(("state".into(), format!("down since {since}: {why}")));
            }
        }
        shown.extend((!sample.captures.is_empty()).then(|| ("last captures".into(), captures(sample))));
        shown
    }
}

impl Sample {
    /// Formats a sample as JSON.
    fn json(&self) -> String {
        let mut captures = Map::new();
        captures.extend(self.captures.iter().map(|(name, ts)| ((*name).to_owned(), ts.to_string().into())));
        let object = SampleJson {
            ts: self.at.to_string(),
            requests_per_sec: self.requests_per_sec,
            last_captures: captures,
            error: self.status.as_ref().err(),
            status: self.status.as_deref().ok(),
        };
        serde_json::to_string(&object).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct SampleJson<'a> {
    ts: String,
    requests_per_sec: Option<f64>,
    last_captures: Map<String, Value>,
    error: Option<&'a String>,
    /// The reply, unchanged.
    status: Option<&'a RawValue>,
}

fn captures(sample: &Sample) -> String {
    let ago = |(name, ts): &(&str, Timestamp)| {
        let seconds = sample.at.duration_since(*ts).as_secs();
        format!("{name} {} ago", time_in_words(u64::try_from(seconds).unwrap_or(0)))
    };
    sample.captures.iter().map(ago).collect::<Vec<_>>().join(", ")
}

/// The list that was last drawn on the terminal.
#[derive(Debug, Default)]
struct Screen {
    lines: usize,
    size: Option<Size>,
}

impl Screen {
    /// Returns the text that replaces the last list by these rows.
    fn redraw(&mut self, rows: &[(String, String)], size: Option<Size>, kind: StreamKind) -> String {
        let mut text = match self.lines {
            0 => String::new(),
            // After a resize the line on which the list begins is unknown.
            _ if size != self.size => "\x1b[H\x1b[2J".to_owned(),
            // Echoed input, such as ^C, is on the line of the cursor.
            lines => format!("\r\x1b[{lines}A"),
        };
        let (columns, most) = size.map_or((80, 24), |size| (size.columns.into(), usize::from(size.rows)));
        let rows: Vec<(String, String)> =
            rows.iter().map(|(label, value)| (label.clone(), value.replace(['\n', '\t'], " "))).collect();
        let lines: Vec<String> = list(&rows).into_iter().take(most.saturating_sub(1).max(1)).collect();
        for line in &lines {
            let line = visible(line, kind);
            let (label, value) = line.split_at(line.find("  ").unwrap_or(line.len()));
            let left = columns - within(label, columns).1;
            text.push_str(&bold(within(label, columns).0, kind));
            text.push_str(within(value, left).0);
            text.push_str("\x1b[K\n");
        }
        text.push_str("\x1b[J");
        (self.lines, self.size) = (lines.len(), size);
        text
    }
}

/// Returns the longest prefix of a text that fits into `columns`, and its width. Characters from U+1100 count as wide.
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
    fn the_rate_excludes_our_own_requests() {
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
    fn a_list_is_redrawn_within_the_terminal() {
        let row = |label: &str, value: &str| (label.to_owned(), value.to_owned());
        let size = |columns, rows| Some(Size { columns, rows });
        let three = [row("state", "awake"), row("x", "日本語の記憶"), row("z", "a\nb\u{1b}c")];
        let mut screen = Screen::default();
        let first = screen.redraw(&three, size(12, 24), StreamKind::Terminal);
        assert_eq!(first, "state  awake\x1b[K\nx      日本\x1b[K\nz      a b␛\x1b[K\n\x1b[J");
        let again = screen.redraw(&three[..1], size(12, 24), StreamKind::Colored);
        assert_eq!(again, "\r\x1b[3A\x1b[1mstate\x1b[0m  awake\x1b[K\n\x1b[J");
        let small = screen.redraw(&three, size(3, 3), StreamKind::Terminal);
        assert_eq!(small, "\x1b[H\x1b[2Jsta\x1b[K\nx  \x1b[K\n\x1b[J");
        assert!(screen.redraw(&three, size(3, 1), StreamKind::Terminal).starts_with("\x1b[H\x1b[2Jsta\x1b[K\n\x1b[J"));
        assert_eq!(screen.lines, 1);
    }

    #[test]
    fn a_sample_is_one_line_as_text_and_as_json() {
        let watch = Watch { store: None, meter: RateMeter::default(), zone: TimeZone::UTC, down_since: None };
        let status = r#"{"ok":true,"fsm_state":"WAKE","lifecycle_state":"DROWSY","records":1234,"x":1.50,"rss_bytes":2048,"latency_us":{"p50":12,"p99":3400}}"#;
        let mut sample = Sample {
            at: "2026-05-14T10:00:00Z".parse().unwrap(),
            status: Ok(RawValue::from_string(status.into()).unwrap()),
            requests_per_sec: Some(2.5),
            captures: vec![("codex", "2026-05-14T09:58:55Z".parse().unwrap())],
        };
        assert_eq!(
            watch.line(&sample),
            "10:00:00  drowsy (WAKE, DROWSY)  2.5 requests/s  p50 12 µs, p99 3.4 ms  0 in flight, 0 queued  2.0 KiB  \
             1 234 records  0 connections  captured codex 1 min 5 s ago"
        );
        assert!(sample.json().contains(&format!("\"status\":{status}")), "{}", sample.json());
        serde_json::from_str::<Value>(&sample.json()).unwrap();
        sample.status = Err("daemon_unreachable: \"x\"".into());
        assert!(watch.line(&sample).contains("  down: daemon_unreachable"));
        assert_eq!(serde_json::from_str::<Value>(&sample.json()).unwrap()["status"], Value::Null);
    }
}
