//! `iaid log`: shows the lifecycle journal, one line per entry, read from its files. Needs no daemon.
//!
//! Unknown entries are shown with all their fields. Lines that are not entries, such as one that a kill has truncated,
//! are skipped and counted.

mod tail;
mod words;

use std::collections::VecDeque;
use std::env;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use self::tail::JournalTail;
use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::cli::support::values::counted;
use crate::lifecycle::user_zone;
use crate::sys::pipe;

/// Entries shown if neither `--since` nor `--limit` is given.
const DEFAULT_LIMIT: usize = 100;

/// The same with `--follow`.
const DEFAULT_FOLLOW_LIMIT: usize = 10;

/// Interval between two reads with `--follow`. Picked: soon enough for a reader.
const POLL_INTERVAL: Duration = Duration::from_millis(300);

/// Show the lifecycle journal: sleep and its steps, deferred captures
#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// Keep showing new entries until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    /// Show only entries since a local date or time (2026-05-14, 2026-05-14T22:00) or an age (90s, 15m, 2h, 3d)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Maximum number of entries, the newest ones [default: 100, 10 with --follow, all with --since]
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Folder of the store [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// An entry: its line in the file, and the parsed object.
struct Entry {
    line: String,
    object: Map<String, Value>,
}

pub(crate) fn run(args: LogArgs, console: &mut Console) -> Result<(), CliError> {
    let zone = user_zone::system();
    let since = args.since.as_deref().map(|text| since(text, Timestamp::now(), &zone)).transpose()?;
    let folder = paths::store(args.store, &|name| env::var_os(name)).map_err(CliError::NoHome)?;
    let most = args.limit.unwrap_or(match (args.since, args.follow) {
        (Some(_), _) => usize::MAX,
        (None, true) => DEFAULT_FOLLOW_LIMIT,
        (None, false) => DEFAULT_LIMIT,
    });
    let mut tail = JournalTail::new(folder, since.map(|since| since.to_zoned(TimeZone::UTC).date()));
    let mut entries = VecDeque::new();
    read_new(&mut tail, console, |entry| {
        if is_since(&entry, since) {
            entries.push_back(entry);
        }
        if entries.len() > most {
            entries.pop_front();
        }
    })?;
    show(entries, &zone, console)?;
    if args.follow { follow(&mut tail, &zone, console) } else { Ok(()) }
}

/// Shows new entries until standard output is closed.
fn follow(tail: &mut JournalTail, zone: &TimeZone, console: &mut Console) -> Result<(), CliError> {
    while !pipe::is_closed(&std::io::stdout()) {
        thread::sleep(POLL_INTERVAL);
        let mut entries = VecDeque::new();
        read_new(tail, console, |entry| entries.push_back(entry))?;
        show(entries, zone, console)?;
    }
    Ok(())
}

/// Passes the entries since the last read to `each`.
fn read_new(tail: &mut JournalTail, console: &mut Console, mut each: impl FnMut(Entry)) -> Result<(), CliError> {
    let mut skipped = 0;
    let outcome = tail.read_new(|line| match serde_json::from_slice(line) {
        Ok(object) => each(Entry { line: String::from_utf8_lossy(line).into_owned(), object }),
        Err(_) => skipped += 1,
    });
    if skipped > 0 {
        let lines = counted(skipped, "line is not an entry and was", "lines are not entries and were");
        console.warn(format_args!("{lines} skipped"));
    }
    outcome.map_err(|error| CliError::File(tail.path(), error))
}

fn show(entries: VecDeque<Entry>, zone: &TimeZone, console: &mut Console) -> Result<(), CliError> {
    for Entry { line, object } in entries {
        let said = match console.format {
            OutputFormat::Json => console.say(line),
            OutputFormat::Text => {
                let line = words::line(object, zone);
                console.say(visible(&line, console.out_kind))
            }
        };
        said.map_err(CliError::Output)?;
    }
    console.flush().map_err(CliError::Output)
}

fn is_since(entry: &Entry, since: Option<Timestamp>) -> bool {
    let ts = || entry.object.get("ts")?.as_str()?.parse::<Timestamp>().ok();
    since.is_none_or(|since| ts().is_some_and(|ts| ts >= since))
}

/// Parses `--since`: a time with its offset, a local date or time, or an age.
fn since(text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp, CliError> {
    ago(text)
        .and_then(|ago| now.checked_sub(ago).ok())
        .or_else(|| text.parse().ok())
        .or_else(|| {
            let date = text.parse::<Date>().ok().filter(|_| !text.contains(['T', 't', ' ', ':']));
            let civil = date.map(|date| date.at(0, 0, 0, 0)).or_else(|| text.parse::<DateTime>().ok())?;
            zone.to_timestamp(civil).ok()
        })
        .ok_or_else(|| {
            let allowed = "a date, a date and time, or an age, such as 2026-05-14, 2026-05-14T22:00 or 2h";
            CliError::Usage(format!("--since '{text}' is not a time: give {allowed}"))
        })
}

fn ago(text: &str) -> Option<SignedDuration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    let count = digits.parse::<u32>().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(SignedDuration::from_secs(i64::from(count) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_local_time_or_an_age() {
        let now: Timestamp = "2026-05-14T12:00:00Z".parse().unwrap();
        let east = TimeZone::fixed(jiff::tz::offset(2));
        for (text, want) in [
            ("90s", Some("2026-05-14T11:58:30Z")),
            ("15m", Some("2026-05-14T11:45:00Z")),
            ("2h", Some("2026-05-14T10:00:00Z")),
            ("3d", Some("2026-05-11T12:00:00Z")),
            ("2026-05-14", Some("2026-05-13T22:00:00Z")),
            ("2026-05-14T01:30", Some("2026-05-13T23:30:00Z")),
            ("2026-05-14 01:30:05", Some("2026-05-13T23:30:05Z")),
            ("2026-05-14T01:30:00Z", Some("2026-05-14T01:30:00Z")),
            ("2026-05-14T01:30:00+05:00", Some("2026-05-13T20:30:00Z")),
            ("", None),
            ("h", None),
            ("+1h", None),
            ("é", None),
            ("1é", None),
            ("yesterday", None),
            ("4294967295d", None),
        ] {
            let got = since(text, now, &east).ok();
            assert_eq!(got, want.map(|want| want.parse().unwrap()), "{text}");
        }
        let error = since("soon", now, &east).unwrap_err();
        assert!(error.to_string().contains("--since 'soon' is not a time"), "{error}");
    }
}
