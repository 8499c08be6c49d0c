//! What the commands that send one control message have in common.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::console::{Console, Format};
use super::error::CliError;
use crate::client::{Client, Policy};

/// How long a control message may take: existing clients wait 10 s for `status`, which the event
/// loop answers in milliseconds.
pub(super) fn policy() -> Policy {
    Policy { reply_timeout: Duration::from_secs(10), ..Policy::default() }
}

/// The keys every reply to a control message may have.
#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    error: String,
}

/// Sends the message and gives the reply, after printing it where programs listen.
///
/// # Errors
/// [`CliError::Declined`] for a reply with `"ok":false`, and what the client finds.
pub(super) fn ask(
    name: &'static str,
    message: &impl Serialize,
    client: &mut Client,
    console: &mut Console,
) -> Result<Box<RawValue>, CliError> {
    let reply = client.control(message)?;
    let Reply { ok, reason, error } = serde_json::from_str(reply.get()).map_err(|e| CliError::Reply(name, e))?;
    if console.format == Format::Json {
        console.say(reply.get()).map_err(CliError::Output)?;
    }
    if ok { Ok(reply) } else { Err(CliError::Declined { reason, message: error }) }
}

/// Sends the message and says `done` to people.
///
/// # Errors
/// As [`ask`].
pub(super) fn tell(
    name: &'static str,
    message: &impl Serialize,
    done: impl fmt::Display,
    client: &mut Client,
    console: &mut Console,
) -> Result<(), CliError> {
    ask(name, message, client, console)?;
    match console.format {
        Format::Json => Ok(()),
        Format::Text => console.say(done).map_err(CliError::Output),
    }
}

/// Now, as control messages carry it.
pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

#[cfg(test)]
mod tests {
    use super::super::console::tests::console;
    use super::super::testing::with_daemon;
    use super::super::{Cli, Command, pause, resume, sleep, wake};
    use super::*;
    use clap::Parser;
    use serde_json::{Value, json};

    fn run(line: &str, reply: Value, format: Format) -> (Result<(), CliError>, Value, String) {
        let (mut console, out, _) = console(format, b"");
        let command = Cli::try_parse_from(["iaid"].into_iter().chain(line.split_whitespace())).unwrap().command;
        let (outcome, seen) = with_daemon(
            move |_| reply.clone(),
            |client| match command {
                Command::Pause(args) => pause::run(&args, client, &mut console),
                Command::Resume(args) => resume::run(&args, client, &mut console),
                Command::Sleep(args) => sleep::run(&args, client, &mut console),
                Command::Wake(args) => wake::run(&args, client, &mut console),
                other => panic!("{other:?} is no control message"),
            },
        );
        (outcome, seen[0].clone(), out.text())
    }

    #[test]
    fn each_command_is_one_message() {
        for (line, message) in [
            ("pause", json!({"type": "pause"})),
            ("pause 600", json!({"type": "pause", "seconds": 600})),
            ("resume", json!({"type": "resume"})),
            ("sleep", json!({"type": "user_initiated_sleep", "reason": "iaid sleep"})),
            ("sleep --reason night", json!({"type": "user_initiated_sleep", "reason": "night"})),
            ("wake", json!({"type": "force_wake"})),
        ] {
            let (outcome, mut sent, said) = run(line, json!({"ok": true}), Format::Text);
            outcome.unwrap();
            let timed = matches!(sent["type"].as_str(), Some("user_initiated_sleep" | "force_wake"));
            let ts = sent.as_object_mut().unwrap().remove("ts");
            assert_eq!(ts.is_some_and(|ts| ts.as_str().unwrap().parse::<jiff::Timestamp>().is_ok()), timed, "{line}");
            assert_eq!(sent, message);
            assert_eq!(said.lines().count(), 1, "{line}: {said}");
        }
    }

    #[test]
    fn a_declined_request_fails_with_the_daemons_words() {
        for (reply, message) in [
            (json!({"ok": false, "reason": "already_sleeping"}), "the daemon declined: already_sleeping"),
            (
                json!({"ok": false, "reason": "state_write_failed", "error": "disk full"}),
                "the daemon declined: state_write_failed: disk full",
            ),
        ] {
            let (outcome, _, said) = run("sleep", reply.clone(), Format::Text);
            assert_eq!((outcome.unwrap_err().to_string().as_str(), said.as_str()), (message, ""));
            let (outcome, _, said) = run("sleep", reply.clone(), Format::Json);
            assert_eq!((outcome.is_err(), said), (true, format!("{reply}\n")));
        }
    }
}
