//! Where log lines go and how they look: standard error, filtered by `IAID_LOG`, with journald's
//! priorities where systemd reads it.
//!
//! Nothing about the log ever stops a start: a filter that cannot be read is warned of, and the
//! default is used.

use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic;

use env_logger::Target;
use jiff::Timestamp;
use log::{Level, LevelFilter};

use crate::sys::pipe;

/// Environment variable with the filter.
const VARIABLE: &str = "IAID_LOG";

/// Who reads standard error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reader {
    /// journald: it has the time already, and takes a priority from each line, sd-daemon(3).
    Journal,
    /// A person or a file.
    Other,
}

/// What happens while nobody reads standard error, and it is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFullPipe {
    /// The log waits.
    Wait,
    /// Lines are left out, and counted: whoever serves others does not wait for a reader of its log.
    Drop,
}

/// Starts logging, at `default` where `IAID_LOG` does not say otherwise.
pub(crate) fn start(default: LevelFilter, unread: OnFullPipe) {
    let spec = env::var_os(VARIABLE);
    let (filters, complaint) = match parse(&spec.unwrap_or_default().to_string_lossy()) {
        Ok(filters) => (filters, None),
        Err(complaint) => (Vec::new(), Some(complaint)),
    };
    let reader = reader();
    let mut builder = env_logger::Builder::new();
    builder.filter_level(default);
    for filter in filters {
        builder.filter(filter.target.as_deref(), filter.level);
    }
    builder.format(move |out, record| {
        let line = render(reader, record.level(), &record.args().to_string(), Timestamp::now());
        out.write_all(line.as_bytes())
    });
    if unread == OnFullPipe::Drop {
        builder.target(Target::Pipe(Box::new(Hasty { reader, lost: 0, is_amid: false })));
        // The standard library's own would wait, and with it whoever writes next.
        panic::set_hook(Box::new(|panic| log::error!("{panic}")));
    }
    // Only a second call in one process fails, and then a logger is there.
    drop(builder.try_init());
    if let Some(complaint) = complaint {
        log::warn!("{VARIABLE}: {complaint}; logging at {default} instead", default = default.as_str().to_lowercase());
    }
}

/// Standard error, for who does not wait for it.
struct Hasty {
    reader: Reader,
    /// Records that were left out, whole or in part, since the last one that was written.
    lost: u64,
    /// A part of a line was written last.
    is_amid: bool,
}

impl Write for Hasty {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let mut out = io::stderr();
        if !pipe::has_room(&out) {
            self.lost += 1;
            return Ok(record.len());
        }
        if self.lost > 0 {
            let told = format!("nobody read this log: records left out here: {}", self.lost);
            let end = if self.is_amid { "\n" } else { "" };
            (self.lost, self.is_amid) = (0, false);
            let told = end.to_owned() + &render(self.reader, Level::Warn, &told, Timestamp::now());
            out.write_all(told.as_bytes())?;
            return self.write(record);
        }
        let count = out.write(&record[..record.len().min(pipe::PIECE_BYTES)])?;
        self.is_amid = record[..count].last() != Some(&b'\n');
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a command's last words on standard error begin with: journald's priority of an error where
/// it reads them, else nothing.
pub(crate) fn error_prefix() -> &'static str {
    match reader() {
        Reader::Journal => "<3>",
        Reader::Other => "",
    }
}

/// One part of `IAID_LOG`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Filter {
    /// A module path such as `iaid::serve`, or all of them.
    target: Option<String>,
    level: LevelFilter,
}

/// `LEVEL` or `TARGET=LEVEL`, several with commas. Stricter than env_logger's own reading, which
/// takes a misspelt level for a module's name and then logs nothing.
fn parse(spec: &str) -> Result<Vec<Filter>, String> {
    let parts = spec.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (target, level) = match part.split_once('=') {
                Some((target, level)) => (Some(target.trim()), level.trim()),
                None => (None, part),
            };
            let Ok(level) = level.parse() else {
                return Err(format!("'{level}' is no level (off, error, warn, info, debug, trace)"));
            };
            match target {
                Some("") => Err(format!("'{part}' names no module before its '='")),
                target => Ok(Filter { target: target.map(str::to_owned), level }),
            }
        })
        .collect()
}

fn reader() -> Reader {
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
    let ours = stderr.ok().map(|metadata| (metadata.dev(), metadata.ino()));
    reader_of(env::var("JOURNAL_STREAM").ok().as_deref(), ours)
}

/// `JOURNAL_STREAM` is `DEVICE:INODE` of the stream that systemd connected, systemd.exec(5). Another
/// one means that standard error was redirected since.
fn reader_of(journal_stream: Option<&str>, stderr: Option<(u64, u64)>) -> Reader {
    let journal = journal_stream
        .and_then(|stream| stream.split_once(':'))
        .and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    if journal.is_some() && journal == stderr { Reader::Journal } else { Reader::Other }
}

/// One record as whole lines. For journald each line of it needs a priority of its own.
fn render(reader: Reader, level: Level, message: &str, now: Timestamp) -> String {
    let mut text = String::with_capacity(message.len() + 40);
    for (at, line) in message.lines().enumerate() {
        // Writing to a String cannot fail.
        let _ = match reader {
            Reader::Journal => writeln!(text, "<{}>{line}", priority(level)),
            Reader::Other if at == 0 => writeln!(text, "{now:.3} {level:<5} {line}"),
            Reader::Other => writeln!(text, "    {line}"),
        };
    }
    text
}

/// syslog(3) priorities. Info is 6: 5, notice, would stand out in the journal.
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
    fn filters_are_read_and_bad_ones_named() {
        let all = |level| Filter { target: None, level };
        let one = |target: &str, level| Filter { target: Some(target.into()), level };
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
            ("inffo", "'inffo' is no level"),
            ("iaid", "'iaid' is no level"),
            ("iaid=loud", "'loud' is no level"),
            ("info,=debug", "'=debug' names no module"),
            ("a=b=info", "'b=info' is no level"),
            ("iaid=", "'' is no level"),
        ] {
            assert!(parse(spec).unwrap_err().contains(part), "{spec}");
        }
    }

    #[test]
    fn journald_is_known_by_device_and_inode() {
        for (variable, stderr, reader) in [
            (Some("8:1234"), Some((8, 1234)), Reader::Journal),
            (Some("8:1234"), Some((8, 1235)), Reader::Other),
            (Some("8:1234"), None, Reader::Other),
            (Some("nonsense"), Some((8, 1234)), Reader::Other),
            (Some("8:"), Some((8, 0)), Reader::Other),
            (None, Some((8, 1234)), Reader::Other),
            (None, None, Reader::Other),
        ] {
            assert_eq!(reader_of(variable, stderr), reader, "{variable:?}");
        }
    }

    #[test]
    fn each_line_has_what_its_reader_needs() {
        let now: Timestamp = "2026-05-14T10:22:33.123456Z".parse().unwrap();
        for (reader, level, message, lines) in [
            (Reader::Journal, Level::Error, "one\ntwo", "<3>one\n<3>two\n"),
            (Reader::Journal, Level::Warn, "x", "<4>x\n"),
            (Reader::Journal, Level::Info, "x", "<6>x\n"),
            (Reader::Journal, Level::Trace, "x", "<7>x\n"),
            (Reader::Other, Level::Info, "one\ntwo", "2026-05-14T10:22:33.123Z INFO  one\n    two\n"),
            (Reader::Other, Level::Error, "x", "2026-05-14T10:22:33.123Z ERROR x\n"),
        ] {
            assert_eq!(render(reader, level, message, now), lines);
        }
    }
}
