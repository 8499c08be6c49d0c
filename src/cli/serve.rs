//! `iaid serve`: parses and checks the options of the daemon. The daemon itself is in `daemon`.

use std::env;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::support::error::CliError;
use crate::cli::support::{paths, values};
use crate::daemon::{self, DaemonOptions, Listen};
use crate::lifecycle::machine::Thresholds;
use crate::limits::{Limits, MAX_CONNECTIONS, MIN_WORKERS};
use crate::sys::inherited::Inherited;
use crate::sys::notify::Notifier;
use crate::sys::{memory, reserve};

/// Range of `--workers`. 64: more workers only wait for the single writer.
const WORKERS: RangeInclusive<i64> = MIN_WORKERS as i64..=64;

/// Smallest `--max-memory`, in lines of `--max-line`. The longest line and its reply must both fit, otherwise a
/// connection that sends such a line would never be read again.
const LINES_IN_MEMORY: usize = 2;

/// Run the daemon in the foreground
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Folder of the store [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Serve the listening Unix socket that is open as descriptor N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..), conflicts_with = "socket")]
    fd: Option<i32>,
    /// Serve standard input and output instead of a socket
    #[arg(long, conflicts_with_all = ["socket", "fd"])]
    stdio: bool,
    /// Worker threads, 2 to 64 [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(WORKERS))]
    workers: Option<u16>,
    /// Longest line accepted, 1K to 64M [default: 1M]
    #[arg(long, value_name = "BYTES", value_parser = values::line_size)]
    max_line: Option<usize>,
    /// Maximum number of connections, 1 to 16384 [default: three quarters of the descriptor limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=MAX_CONNECTIONS as i64))]
    max_connections: Option<u16>,
    /// Buffers of all connections together, 1M to 1G [default: 16M]
    #[arg(long, value_name = "BYTES", value_parser = values::memory_size)]
    max_memory: Option<usize>,
    /// On stop, wait this long for running requests, 0 to 3600, fractions allowed [default: 5]
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    drain_timeout: Option<Duration>,
    /// Become drowsy after this long without a request, fractions allowed [default: $LIFECYCLE_DROWSY_AFTER_SEC, else 300]
    #[arg(long, value_name = "SECONDS", value_parser = values::idle_time)]
    drowsy_after: Option<Duration>,
    /// Fall asleep after this long if there are new records [default: $LIFECYCLE_SLEEP_HEARTBEAT_IDLE_SEC, else 1800]
    #[arg(long, value_name = "SECONDS", value_parser = values::idle_time)]
    sleep_after: Option<Duration>,
    /// Hibernate after this long if no client is connected [default: $LIFECYCLE_HIBERNATE_AFTER_SEC, else 7200]
    #[arg(long, value_name = "SECONDS", value_parser = values::idle_time)]
    hibernate_after: Option<Duration>,
    /// While awake, check this often for deferred captures and that the socket file exists, fractions allowed
    #[arg(long, value_name = "SECONDS", value_parser = values::poll_interval, default_value = "60")]
    look_every: Duration,
    /// A recall answers with what it has found after this long, 0.01 to 60, fractions allowed [default: 0.25]
    #[arg(long, value_name = "SECONDS", value_parser = values::recall_limit)]
    recall_limit: Option<Duration>,
    /// Release memory to the system, once, this long after the last request, fractions allowed
    #[arg(long, value_name = "SECONDS", value_parser = values::poll_interval, default_value = "20")]
    rest_after: Duration,
}

impl ServeArgs {
    fn limits(&self) -> Result<Limits, CliError> {
        let mut limits = Limits::default();
        if let Some(workers) = self.workers {
            limits.workers = workers.into();
        }
        if let Some(bytes) = self.max_line {
            limits.max_line_bytes = bytes;
        }
        if let Some(bytes) = self.max_memory {
            limits.max_memory_bytes = bytes;
        }
        if let Some(time) = self.drain_timeout {
            limits.drain_timeout = time;
        }
        let least = limits.max_line_bytes * LINES_IN_MEMORY;
        if limits.max_memory_bytes < least {
            return Err(CliError::Usage(format!(
                "--max-memory {} is too small for --max-line {}: give at least {}",
                values::short_size(limits.max_memory_bytes),
                values::short_size(limits.max_line_bytes),
                values::short_size(least),
            )));
        }
        Ok(limits)
    }

    fn thresholds(&self, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Thresholds, CliError> {
        let usual = Thresholds::default();
        let time = |given: Option<Duration>, name, usual| match given {
            Some(time) => Ok(time),
            None => from_env(name, env, values::idle_time).map(|time| time.unwrap_or(usual)),
        };
        Ok(Thresholds {
            drowsy_after: time(self.drowsy_after, "LIFECYCLE_DROWSY_AFTER_SEC", usual.drowsy_after)?,
            sleep_after: time(self.sleep_after, "LIFECYCLE_SLEEP_HEARTBEAT_IDLE_SEC", usual.sleep_after)?,
            hibernate_after: time(self.hibernate_after, "LIFECYCLE_HIBERNATE_AFTER_SEC", usual.hibernate_after)?,
            quarantine: from_env("IAI_MCP_SLEEP_QUARANTINE_TTL_HOURS", env, values::hours)?.unwrap_or(usual.quarantine),
            ..usual
        })
    }

    fn listen(&self, socket: Option<PathBuf>) -> Listen {
        match (self.fd, paths::socket(socket, &|name| env::var_os(name))) {
            (Some(fd), _) => Listen::Fd(fd),
            (None, Ok(path)) => Listen::Path(path),
            (None, Err(no_home)) => Listen::Nowhere(no_home.to_string()),
        }
    }
}

/// Returns the value of a variable; an empty one counts as unset.
///
/// # Errors
/// [`CliError::Usage`] if the value cannot be parsed.
fn from_env(
    name: &str,
    env: &dyn Fn(&str) -> Option<OsString>,
    read: fn(&str) -> Result<Duration, String>,
) -> Result<Option<Duration>, CliError> {
    let Some(value) = env(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let value = value.to_string_lossy();
    read(&value).map(Some).map_err(|why| CliError::Usage(format!("{name}={value} {why}")))
}

pub(crate) fn run(
    args: ServeArgs,
    socket: Option<PathBuf>,
    inherited: Inherited,
    notifier: Notifier,
) -> Result<(), CliError> {
    memory::share_arena();
    reserve::hold();
    let limits = args.limits()?;
    let max_connections = args.max_connections.map(usize::from);
    let listen = args.listen(socket);
    let thresholds = args.thresholds(&|name| env::var_os(name))?;
    let store = paths::store(args.store, &|name| env::var_os(name))?;
    let options = DaemonOptions {
        store,
        thresholds,
        check_interval: args.look_every,
        recall_limit: args.recall_limit,
        release_after: args.rest_after,
        limits,
        max_connections,
    };
    let outcome =
        if args.stdio { daemon::serve_stdio(options) } else { daemon::serve(options, listen, inherited, notifier) };
    outcome.map_err(CliError::Start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn parse(line: &str) -> Result<ServeArgs, String> {
        let cli = Cli::try_parse_from(["iaid", "serve"].into_iter().chain(line.split_whitespace()));
        match cli.map_err(|e| e.to_string())?.command {
            Command::Serve(args) => Ok(args),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn options_become_limits() {
        assert_eq!(parse("").unwrap().limits().unwrap(), Limits::default());
        let args = parse("--workers 8 --max-line 64K --max-memory 4M --drain-timeout 0.5").unwrap();
        let limits = args.limits().unwrap();
        assert_eq!((limits.workers, limits.max_line_bytes, limits.max_memory_bytes), (8, 64 << 10, 4 << 20));
        assert_eq!(limits.drain_timeout, Duration::from_millis(500));
    }

    #[test]
    fn wrong_values_are_refused_with_their_range() {
        for (line, part) in [
            ("--workers 1", "2..=64"),
            ("--workers 65", "2..=64"),
            ("--max-line 10", "1K to 64M"),
            ("--max-memory 2G", "1M to 1G"),
            ("--max-connections 0", "1..=16384"),
            ("--max-connections 20000", "1..=16384"),
            ("--drain-timeout 3601", "0 to 3600 seconds"),
            ("--look-every 0", "0.01 to 3600 seconds"),
            ("--recall-limit 61", "0.01 to 60 seconds"),
            ("--look-every 3601", "0.01 to 3600 seconds"),
            ("--fd -1", "-1"),
            ("--fd 3 --stdio", "cannot be used with"),
            ("--fd 3 --socket /s", "cannot be used with"),
            ("--stdio --socket /s", "cannot be used with"),
        ] {
            let said = parse(line).unwrap_err();
            assert!(said.contains(part), "{line}: {said}");
        }
    }

    #[test]
    fn an_option_precedes_its_variable_and_both_accept_fractions() {
        let env = |name: &str| match name {
            "LIFECYCLE_DROWSY_AFTER_SEC" => Some("0.25".into()),
            "LIFECYCLE_SLEEP_HEARTBEAT_IDLE_SEC" => Some("900".into()),
            "LIFECYCLE_HIBERNATE_AFTER_SEC" => Some("".into()),
            "IAI_MCP_SLEEP_QUARANTINE_TTL_HOURS" => Some("0.5".into()),
            _ => None,
        };
        let thresholds = parse("--sleep-after 1.5").unwrap().thresholds(&env).unwrap();
        let wanted = Thresholds {
            drowsy_after: Duration::from_millis(250),
            sleep_after: Duration::from_millis(1500),
            quarantine: Duration::from_secs(1800),
            ..Thresholds::default()
        };
        assert_eq!(thresholds, wanted);
        assert!(parse("--sleep-after -1").is_err());
        let wrong = |name: &str| (name == "LIFECYCLE_DROWSY_AFTER_SEC").then(|| "soon".into());
        let error = parse("").unwrap().thresholds(&wrong).unwrap_err().to_string();
        assert_eq!(error, "LIFECYCLE_DROWSY_AFTER_SEC=soon must be 0 to 31536000 seconds, such as 300 or 0.5");
    }

    #[test]
    fn a_line_must_fit_into_memory_twice() {
        assert!(parse("--max-line 8M").unwrap().limits().is_ok());
        let error = parse("--max-line 16M").unwrap().limits().unwrap_err();
        assert_eq!(error.to_string(), "--max-memory 16M is too small for --max-line 16M: give at least 32M");
    }

    #[test]
    fn a_descriptor_needs_no_path() {
        assert_eq!(parse("--fd 3").unwrap().listen(None), Listen::Fd(3));
        let listen = parse("").unwrap().listen(Some("/s".into()));
        assert_eq!(listen, Listen::Path("/s".into()));
    }
}
