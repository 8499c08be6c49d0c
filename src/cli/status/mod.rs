//! `iaid status`: prints the daemon's status as an aligned list.
//!
//! Unknown keys are shown unchanged, so that the output of a newer daemon is complete.

pub(crate) mod rows;
mod watch;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use self::rows::{list, rows};
use crate::cli::support::console::{Console, OutputFormat, StreamKind, bold, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::{capture_gate, control_message, paths, values};
use crate::client::{Client, Policy};
use crate::lifecycle::user_zone;

/// Show the daemon's status
#[derive(Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Refresh until Ctrl-C: a list redrawn on a terminal, otherwise one line per refresh
    #[arg(long, short)]
    watch: bool,
    /// Refresh interval of --watch, 0.1 to 3600, fractions allowed
    #[arg(long, value_name = "SECONDS", value_parser = values::interval, default_value = "1", requires = "watch")]
    interval: Duration,
    /// Folder of the store, for the pause of capture and the last captures in --watch [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

impl StatusArgs {
    pub(crate) fn policy(&self) -> Policy {
        if self.watch { watch::policy() } else { control_message::policy() }
    }
}

pub(crate) fn run(args: &StatusArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    if args.watch {
        let store = paths::store(args.store.clone(), &|name| env::var_os(name)).ok();
        return watch::run(args.interval, store, client, console);
    }
    let store = paths::store(args.store.clone(), &|name| env::var_os(name)).ok();
    let paused = store.and_then(|store| capture_gate::marked_since(&store, Timestamp::now()));
    let message = json!({"type": "status"});
    let is_json = console.format == OutputFormat::Json;
    let reply = match paused {
        Some(_) if is_json => client.control(&message)?,
        _ => control_message::send("status", &message, client, console)?,
    };
    if is_json && paused.is_none() {
        return Ok(());
    }
    let mut status: Map<String, Value> = serde_json::from_str(reply.get()).map_err(|e| CliError::Reply("status", e))?;
    if let Some(since) = paused {
        status.insert("capture_paused_since".into(), since.to_string().into());
    }
    if is_json {
        return console.say(Value::Object(status)).map_err(CliError::Output);
    }
    let text = render(status, &user_zone::system(), console.out_kind);
    console.out.write_all(text.as_bytes()).map_err(CliError::Output)
}

fn render(status: Map<String, Value>, zone: &TimeZone, kind: StreamKind) -> String {
    let mut shown = String::new();
    for line in list(&rows(status, zone)) {
        let line = visible(&line, kind);
        let (label, value) = line.split_at(line.find("  ").unwrap_or(line.len()));
        shown.push_str(&bold(label, kind));
        shown.push_str(value);
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(status: Value, kind: StreamKind) -> String {
        match status {
            Value::Object(status) => render(status, &TimeZone::UTC, kind),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn a_status_is_an_aligned_list() {
        let status = json!({
            "ok": true, "state": "WAKE", "fsm_state": "WAKE", "lifecycle_state": "DROWSY", "uptime_sec": 7380.4,
            "version": "0.1.0", "daemon_started_at": "2026-05-14T10:00:00Z", "last_tick_at": "2026-05-14T12:03:00Z",
            "quiet_window": [45, 12], "pending_digest": null, "scheduler_paused": false, "connections": 3,
            "requests": 1234, "errors": 5, "in_flight": 0, "queued": 0, "workers": 2, "rss_bytes": 5_033_165,
            "buffered_bytes": 512, "records": 10_000, "quarantine": null, "refused_peers": 0, "refused_connections": 0,
            "cut_readers": 1, "cut_lines": 0, "late_results": 0,
            "latency_us": {"p50": 12, "p99": 1200, "max": 3_000_000},
            "brand_new": {"a": 1}
        });
        assert_eq!(
            shown(status, StreamKind::Plain),
            "\
state         drowsy (WAKE, DROWSY)
sleep         when idle
quiet window  22:30 to 04:30
digest        none pending
up            2 h 3 min, since 2026-05-14 10:00
last tick     2026-05-14 12:03
version       0.1.0
records       10 000
connections   3 open
requests      1 234 since the start, 5 answered with an error
work          0 in flight, 0 queued, 2 workers
latency       half under 12 µs, 99 % under 1.2 ms, slowest 3.0 s
memory        4.8 MiB resident, 512 bytes in buffers
turned away   1 peer that read nothing
brand_new     {\"a\":1}
"
        );
    }

    #[test]
    fn missing_and_malformed_keys_are_handled() {
        for (status, want) in [
            (json!({}), ""),
            (json!({"ok": true, "latency_us": {}}), "latency  no call yet\n"),
            (json!({"state": "SLEEP", "lifecycle_state": "HIBERNATION"}), "state  hibernating (SLEEP, HIBERNATION)\n"),
            (json!({"state": "NEW"}), "state  unknown state (NEW)\n"),
            (json!({"scheduler_paused": true}), "sleep  paused until `iaid resume`\n"),
            (json!({"records": "many"}), "records  many\n"),
            (json!({"quiet_window": null}), "quiet window  not learned yet\n"),
            (json!({"quiet_window": [99, 1]}), "quiet window  [99,1]\n"),
            (
                json!({"pending_digest": {"rem_cycles_completed": 1, "episodes_processed": 20, "schemas_induced_tier0": 2}}),
                "digest  1 REM cycle, 20 episodes, 2 patterns\n",
            ),
            (
                json!({"quarantine": {"until_ts": "2026-05-15T10:00:00Z", "reason": "step decay failed"}}),
                "quarantine  until 2026-05-15 10:00: step decay failed\n",
            ),
            (json!({"late_results": 2}), "late results  2\n"),
        ] {
            assert_eq!(shown(status.clone(), StreamKind::Plain), want, "{status}");
        }
        assert_eq!(shown(json!({"version": "1\u{1b}c"}), StreamKind::Colored), "\u{1b}[1mversion\u{1b}[0m  1␛c\n");
        assert_eq!(
            shown(json!({"quiet_window": null}), StreamKind::Colored),
            "\u{1b}[1mquiet window\u{1b}[0m  not learned yet\n"
        );
    }
}
