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

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use self::tail::JournalTail;
use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::cli::support::times::{self, DayEnd};
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
    /// Show only entries since a local date or time (2026-05-14, 2026-05-14T22:00) or an age (90s, 15m, 2h, 3d, 1w)
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
    let since = args
        .since
        .as_deref()
        .map(|text| times::parse("--since", text, DayEnd::First, Timestamp::now(), &zone))
        .transpose()?;
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
