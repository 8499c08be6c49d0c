//! `iaid pause`, `resume`, `sleep` and `wake`: each sends one control message to the daemon.

use std::env;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::json;

use crate::cli::recall::local_time;
use crate::cli::support::capture_gate;
use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::control_message;
use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::client::Client;
use crate::lifecycle::user_zone;

/// Keep the daemon from falling asleep when idle, until `iaid resume`
#[derive(Debug, clap::Args)]
pub(crate) struct PauseArgs {
    /// Intended length, recorded in the journal; the pause does not end by itself
    #[arg(value_parser = clap::value_parser!(u32), conflicts_with = "capture")]
    seconds: Option<u32>,
    /// Pause capture instead: what is said until `iaid resume --capture` is never stored by a hook or an import
    #[arg(long)]
    capture: bool,
    /// Folder of the store, for --capture [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR", requires = "capture")]
    store: Option<PathBuf>,
}

pub(crate) fn pause(args: &PauseArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    if args.capture {
        return pause_capture(args.store.clone(), console);
    }
    let message = match args.seconds {
        Some(seconds) => json!({"type": "pause", "seconds": seconds}),
        None => json!({"type": "pause"}),
    };
    control_message::send_and_report(
        "pause",
        &message,
        "paused: the daemon does not sleep when idle until `iaid resume`",
        client,
        console,
    )
}

/// End a pause
#[derive(Debug, clap::Args)]
pub(crate) struct ResumeArgs {
    /// End the pause of capture instead
    #[arg(long)]
    capture: bool,
    /// Folder of the store, for --capture [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR", requires = "capture")]
    store: Option<PathBuf>,
}

pub(crate) fn resume(args: &ResumeArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    if args.capture {
        return resume_capture(args.store.clone(), console);
    }
    let message = json!({"type": "resume"});
    control_message::send_and_report("resume", &message, "resumed: the daemon sleeps when idle", client, console)
}

/// Pauses capture. Needs no daemon: hooks and imports look at the file themselves.
fn pause_capture(store: Option<PathBuf>, console: &mut Console) -> Result<(), CliError> {
    let store = paths::store(store, &|name| env::var_os(name))?;
    let paused = capture_gate::pause(&store, Timestamp::now());
    let since = paused.map_err(|error| CliError::File(store.join(capture_gate::PAUSED), error))?;
    match console.format {
        OutputFormat::Json => console.say(json!({"capture_paused_since": since.to_string()})),
        OutputFormat::Text => {
            let since = local_time(&since.to_string(), &user_zone::system());
            console.say(format_args!(
                "capture is paused since {since}: what is said until `iaid resume --capture` is never stored"
            ))
        }
    }
    .map_err(CliError::Output)
}

fn resume_capture(store: Option<PathBuf>, console: &mut Console) -> Result<(), CliError> {
    let store = paths::store(store, &|name| env::var_os(name))?;
    let resumed = capture_gate::resume(&store, Timestamp::now());
    let since = resumed.map_err(|error| CliError::File(store.join(capture_gate::PAUSED), error))?;
    let said = match (console.format, since) {
        (OutputFormat::Json, since) => console.say(json!({"capture_was_paused_since": since.map(|ts| ts.to_string())})),
        (OutputFormat::Text, Some(since)) => {
            let since = local_time(&since.to_string(), &user_zone::system());
            console.say(format_args!("capture is resumed; what was said since {since} is never stored"))
        }
        (OutputFormat::Text, None) => console.say("capture was not paused"),
    };
    said.map_err(CliError::Output)
}

/// Put the daemon to sleep now
#[derive(Debug, clap::Args)]
pub(crate) struct SleepArgs {
    /// Reason to record in the journal
    #[arg(long, value_name = "TEXT", default_value = "iaid sleep")]
    reason: String,
}

pub(crate) fn sleep(args: &SleepArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let message = json!({"type": "user_initiated_sleep", "reason": args.reason, "ts": control_message::now()});
    control_message::send_and_report(
        "user_initiated_sleep",
        &message,
        "falling asleep; the next request wakes it",
        client,
        console,
    )
}

/// Wake the daemon
#[derive(Debug, clap::Args)]
pub(crate) struct WakeArgs {}

pub(crate) fn wake(_: &WakeArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let message = json!({"type": "force_wake", "ts": control_message::now()});
    control_message::send_and_report(
        "force_wake",
        &message,
        "asked to wake; a running step finishes its current chunk first",
        client,
        console,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::testing::with_daemon;
    use crate::cli::{Cli, Command};
    use clap::Parser;
    use serde_json::Value;

    fn run(line: &str, reply: Value, format: OutputFormat) -> (Result<(), CliError>, Value, String) {
        let (mut console, out, _) = console(format, b"");
        let command = Cli::try_parse_from(["iaid"].into_iter().chain(line.split_whitespace())).unwrap().command;
        let (outcome, seen) = with_daemon(
            move |_| reply.clone(),
            |client| match command {
                Command::Pause(args) => pause(&args, client, &mut console),
                Command::Resume(args) => resume(&args, client, &mut console),
                Command::Sleep(args) => sleep(&args, client, &mut console),
                Command::Wake(args) => wake(&args, client, &mut console),
                other => panic!("{other:?} is no control message"),
            },
        );
        (outcome, seen[0].clone(), out.text())
    }

    #[test]
    fn each_command_sends_one_message() {
        for (line, message) in [
            ("pause", json!({"type": "pause"})),
            ("pause 600", json!({"type": "pause", "seconds": 600})),
            ("resume", json!({"type": "resume"})),
            ("sleep", json!({"type": "user_initiated_sleep", "reason": "iaid sleep"})),
            ("sleep --reason test", json!({"type": "user_initiated_sleep", "reason": "test"})),
            ("wake", json!({"type": "force_wake"})),
        ] {
            let (outcome, mut sent, said) = run(line, json!({"ok": true}), OutputFormat::Text);
            outcome.unwrap();
            let timed = matches!(sent["type"].as_str(), Some("user_initiated_sleep" | "force_wake"));
            let ts = sent.as_object_mut().unwrap().remove("ts");
            assert_eq!(ts.is_some_and(|ts| ts.as_str().unwrap().parse::<jiff::Timestamp>().is_ok()), timed, "{line}");
            assert_eq!(sent, message);
            assert_eq!(said.lines().count(), 1, "{line}: {said}");
        }
    }

    #[test]
    fn a_declined_request_fails_with_the_reason() {
        for (reply, message) in [
            (json!({"ok": false, "reason": "already_sleeping"}), "the daemon declined: already_sleeping"),
            (
                json!({"ok": false, "reason": "state_write_failed", "error": "disk full"}),
                "the daemon declined: state_write_failed: disk full",
            ),
        ] {
            let (outcome, _, said) = run("sleep", reply.clone(), OutputFormat::Text);
            assert_eq!((outcome.unwrap_err().to_string().as_str(), said.as_str()), (message, ""));
            let (outcome, _, said) = run("sleep", reply.clone(), OutputFormat::Json);
            assert_eq!((outcome.is_err(), said), (true, format!("{reply}\n")));
        }
    }
}
