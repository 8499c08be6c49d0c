//! Logging to standard error, filtered by `IAID_LOG`, with the priorities of journald if systemd reads it.
//!
//! Logging never prevents a start: if `IAID_LOG` cannot be parsed, a warning is logged and the default level is used.

use std::cmp::Reverse;
use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

use jiff::Timestamp;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::cli::support::log_limit::{LogLimit, LogSite};
use crate::cli::support::values::counted;
use crate::sort;
use crate::sys::pipe;

/// Environment variable with the filter.
const VARIABLE: &str = "IAID_LOG";

/// The reader of standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StderrReader {
    /// journald: it adds the time itself and takes a priority from each line, sd-daemon(3).
    Journal,
    /// A person or a file.
    Other,
}

/// What to do with a record if standard error is a full pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFullPipe {
    /// Wait until the record is written.
    Wait,
    /// Drop the record and count it. For processes that serve others, which must not wait for the reader of the log.
    Drop,
}

/// The logger of the process.
struct StderrLogger {
    filter: LogFilter,
    reader: StderrReader,
    /// With [`OnFullPipe::Drop`], the writer; otherwise records go to standard error directly.
    dropping: Option<Mutex<DroppingStderr>>,
}

/// Starts logging at the level `default`, unless `IAID_LOG` sets another one.
pub(crate) fn start(default: LevelFilter, on_full: OnFullPipe) {
    let spec = env::var_os(VARIABLE);
    let (directives, problem) = match parse(&spec.unwrap_or_default().to_string_lossy()) {
        Ok(directives) => (directives, None),
        Err(problem) => (Vec::new(), Some(problem)),
    };
    let (filter, reader) = (LogFilter::new(default, directives), stderr_reader());
    log::set_max_level(filter.max_level());
    let dropping = match on_full {
        OnFullPipe::Wait => None,
        OnFullPipe::Drop => {
            // The hook of std would wait for a full pipe.
            panic::set_hook(Box::new(|panic| match panic.location() {
                // The message may quote a record's text.
                Some(at) => log::error!("panicked at {at}"),
                None => log::error!("panicked"),
            }));
            Some(Mutex::new(DroppingStderr { reader, dropped: 0, is_in_line: false, limit: LogLimit::default() }))
        }
    };
    // Fails only if the process has a logger already, which then stays.
    drop(log::set_boxed_logger(Box::new(StderrLogger { filter, reader, dropping })));
    if let Some(problem) = problem {
        log::warn!("{VARIABLE}: {problem}; logging at {default} instead", default = default.as_str().to_lowercase());
    }
}

impl Log for StderrLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.filter.level(metadata.target())
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // If standard error cannot be written, there is nowhere to report that.
        drop(match &self.dropping {
            Some(out) => out.lock().unwrap_or_else(PoisonError::into_inner).log(record),
            None => io::stderr().write_all(self.reader.render(record).as_bytes()),
        });
    }

    fn flush(&self) {}
}

/// Standard error, without waiting for its reader.
struct DroppingStderr {
    reader: StderrReader,
    /// Records dropped, as a whole or in part, since the last one that was written.
    dropped: u64,
    /// The last write ended within a line.
    is_in_line: bool,
    limit: LogLimit,
}

impl DroppingStderr {
    /// Writes a record, unless its line of code has logged too often.
    fn log(&mut self, record: &Record<'_>) -> io::Result<()> {
        let now = Instant::now();
        let left_out = self.limit.end_windows(now);
        if left_out > 0 {
            let message = format!("{} of repeated kinds left out", counted(left_out, "log record", "log records"));
            self.write_all(render(self.reader, Level::Warn, &message, wall_clock()).as_bytes())?;
        }
        // Those below are logged only if the user asks for them.
        let is_limited = record.level() <= Level::Info;
        let site = record.file_static().zip(record.line()).filter(|_| is_limited);
        if site.is_some_and(|(file, line)| !self.limit.admits(LogSite { file, line }, now)) {
            return Ok(());
        }
        self.write_all(self.reader.render(record).as_bytes())
    }
}

impl StderrReader {
    fn render(self, record: &Record<'_>) -> String {
        render(self, record.level(), &record.args().to_string(), wall_clock())
    }
}

/// Returns the present time. A clock may show a year that jiff does not know.
fn wall_clock() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX)
}

impl Write for DroppingStderr {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let mut out = io::stderr();
        if !pipe::has_room(&out) {
            self.dropped += 1;
            return Ok(record.len());
        }
        if self.dropped > 0 {
            let message = format!("log pipe full: {} dropped", counted(self.dropped, "record", "records"));
            let line_end = if self.is_in_line { "\n" } else { "" };
            (self.dropped, self.is_in_line) = (0, false);
            let text = line_end.to_owned() + &render(self.reader, Level::Warn, &message, wall_clock());
            out.write_all(text.as_bytes())?;
            return self.write(record);
        }
        let count = out.write(&record[..record.len().min(pipe::PIECE_BYTES)])?;
        self.is_in_line = record[..count].last() != Some(&b'\n');
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the prefix of a command's error message: journald's priority if journald reads standard error, else nothing.
pub(crate) fn error_prefix() -> &'static str {
    match stderr_reader() {
        StderrReader::Journal => "<3>",
        StderrReader::Other => "",
    }
}

/// One part of `IAID_LOG`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Directive {
    /// A prefix of module paths, such as `iaid::serve`; `None` matches all.
    target: Option<String>,
    level: LevelFilter,
}

/// Which records are logged.
#[derive(Debug)]
struct LogFilter {
    /// Targets are distinct, the longest first. The first one that is a prefix of a record's target decides.
    directives: Vec<Directive>,
}

impl LogFilter {
    fn new(default: LevelFilter, given: Vec<Directive>) -> LogFilter {
        let mut directives = vec![Directive { target: None, level: default }];
        for directive in given {
            directives.retain(|earlier| earlier.target != directive.target);
            directives.push(directive);
        }
        sort::sort_by_key(&mut directives, |directive| Reverse(directive.target.as_ref().map_or(0, String::len)));
        LogFilter { directives }
    }

    /// Returns the level of records of this target.
    fn level(&self, target: &str) -> LevelFilter {
        let matches = |one: &&Directive| one.target.as_ref().is_none_or(|prefix| target.starts_with(prefix.as_str()));
        self.directives.iter().find(matches).map_or(LevelFilter::Off, |directive| directive.level)
    }

    fn max_level(&self) -> LevelFilter {
        self.directives.iter().map(|directive| directive.level).max().unwrap_or(LevelFilter::Off)
    }
}

/// Parses `LEVEL` or `TARGET=LEVEL`, several separated by commas.
///
/// # Errors
/// A message if a level is unknown or a target is empty. A lone word must be a level, so that a misspelled level is not
/// taken for a module.
fn parse(spec: &str) -> Result<Vec<Directive>, String> {
    let parts = spec.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (target, level) = match part.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, part),
            };
            let Ok(level) = level.parse() else {
                return Err(format!("'{level}' is not a level (off, error, warn, info, debug, trace)"));
            };
            match target {
                Some("") => Err(format!("'{part}' has no module before its '='")),
                target => Ok(Directive { target: target.map(str::to_owned), level }),
            }
        })
        .collect()
}

fn stderr_reader() -> StderrReader {
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    let ours = stderr.ok().map(|metadata| (metadata.dev(), metadata.ino()));
    reader_of(env::var("JOURNAL_STREAM").ok().as_deref(), ours)
}

/// Returns the reader of standard error. `JOURNAL_STREAM` is `DEVICE:INODE` of the stream that systemd connected,
/// systemd.exec(5); if standard error is another one, it was redirected.
fn reader_of(journal_stream: Option<&str>, stderr: Option<(u64, u64)>) -> StderrReader {
    let journal = journal_stream
        .and_then(|stream| stream.split_once(':'))
        .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    if journal.is_some() && journal == stderr { StderrReader::Journal } else { StderrReader::Other }
}

/// Formats a record as complete lines. journald needs a priority on each line.
fn render(reader: StderrReader, level: Level, message: &str, now: Timestamp) -> String {
    let mut text = String::with_capacity(message.len() + 40);
    for (at, line) in message.lines().enumerate() {
        // Writing to a String cannot fail.
        let _ = match reader {
            StderrReader::Journal => writeln!(text, "<{}>{line}", priority(level)),
            StderrReader::Other if at == 0 => writeln!(text, "{now:.3} {level:<5} {line}"),
            StderrReader::Other => writeln!(text, "    {line}"),
        };
    }
    text
}

/// Returns the syslog(3) priority. Info is 6; notice, 5, would be highlighted in the journal.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_parsed_and_errors_named() {
        let all = |level| Directive { target: None, level };
        let one = |target: &str, level| Directive { target: Some(target.into()), level };
        for (spec, filters) in [
            ("", vec![]),
            (" , ", vec![]),
            ("debug", vec![all(LevelFilter::Debug)]),
            ("WARN", vec![all(LevelFilter::Warn)]),
            ("off", vec![all(LevelFilter::Off)]),
            ("info, iaid::serve = trace", vec![all(LevelFilter::Info), one("iaid::serve", LevelFilter::Trace)]),
        ] {
            assert_eq!(parse(spec), Ok(filters), "{spec}");
        }
        for (spec, part) in [
            ("inffo", "'inffo' is not a level"),
            ("iaid", "'iaid' is not a level"),
            ("iaid=loud", "'loud' is not a level"),
            ("info,=debug", "'=debug' has no module"),
            ("a=b=info", "'b=info' is not a level"),
            ("iaid=", "'' is not a level"),
        ] {
            assert!(parse(spec).unwrap_err().contains(part), "{spec}");
        }
    }

    #[test]
    fn the_longest_matching_target_decides() {
        let filter = |spec: &str| LogFilter::new(LevelFilter::Warn, parse(spec).unwrap());
        for (spec, target, level) in [
            ("", "iaid::serve", LevelFilter::Warn),
            ("info", "iaid::serve", LevelFilter::Info),
            ("info,debug", "iaid::serve", LevelFilter::Debug),
            ("iaid::serve=trace,iaid=error", "iaid::serve::pool", LevelFilter::Trace),
            ("iaid=error,iaid::serve=trace", "iaid::serve", LevelFilter::Trace),
            ("iaid::serve=trace,iaid=error", "iaid::memory", LevelFilter::Error),
            ("iaid::serve=trace", "mio", LevelFilter::Warn),
            ("iaid=off,debug", "iaid", LevelFilter::Off),
            ("iaid=debug,iaid=error", "iaid", LevelFilter::Error),
        ] {
            assert_eq!(filter(spec).level(target), level, "{spec} {target}");
        }
        assert_eq!(filter("error,iaid=debug").max_level(), LevelFilter::Debug);
        assert_eq!(filter("off").max_level(), LevelFilter::Off);
    }

    #[test]
    fn journald_is_detected_by_device_and_inode() {
        for (variable, stderr, reader) in [
            (Some("8:1234"), Some((8, 1234)), StderrReader::Journal),
            (Some("8:1234"), Some((8, 1235)), StderrReader::Other),
            (Some("8:1234"), None, StderrReader::Other),
            (Some("nonsense"), Some((8, 1234)), StderrReader::Other),
            (Some("8:"), Some((8, 0)), StderrReader::Other),
            (None, Some((8, 1234)), StderrReader::Other),
            (None, None, StderrReader::Other),
        ] {
            assert_eq!(reader_of(variable, stderr), reader, "{variable:?}");
        }
    }

    #[test]
    fn lines_have_the_format_of_their_reader() {
        let now: Timestamp = "2026-05-14T10:22:33.123456Z".parse().unwrap();
        for (reader, level, message, lines) in [
            (StderrReader::Journal, Level::Error, "one\ntwo", "<3>one\n<3>two\n"),
            (StderrReader::Journal, Level::Warn, "x", "<4>x\n"),
            (StderrReader::Journal, Level::Info, "x", "<6>x\n"),
            (StderrReader::Journal, Level::Trace, "x", "<7>x\n"),
            (StderrReader::Other, Level::Info, "one\ntwo", "2026-05-14T10:22:33.123Z INFO  one\n    two\n"),
            (StderrReader::Other, Level::Error, "x", "2026-05-14T10:22:33.123Z ERROR x\n"),
        ] {
            assert_eq!(render(reader, level, message, now), lines);
        }
    }
}
