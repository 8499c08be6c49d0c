//! Sending a control message to the daemon.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::client::{Client, Policy};

/// Returns the policy for control messages. Their reply timeout is 10 s, as in existing clients; the event loop
/// answers within milliseconds.
pub(crate) fn policy() -> Policy {
    Policy { reply_timeout: Duration::from_secs(10), ..Policy::default() }
}

/// The keys that every reply to a control message may have.
#[derive(Deserialize)]
struct Reply {
    ok: bool,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    error: String,
}

/// Sends the message and returns the reply; with `--json`, prints the reply first.
///
/// # Errors
/// [`CliError::Client`] if no reply arrives, [`CliError::Reply`] if it cannot be read, [`CliError::Output`] if it cannot
/// be printed, [`CliError::Declined`] if it has `"ok":false`.
pub(crate) fn send(
    name: &'static str,
    message: &impl Serialize,
    client: &mut Client,
    console: &mut Console,
) -> Result<Box<RawValue>, CliError> {
    let reply = client.control(message)?;
    let Reply { ok, reason, error } = serde_json::from_str(reply.get()).map_err(|e| CliError::Reply(name, e))?;
    if console.format == OutputFormat::Json {
        console.say(reply.get()).map_err(CliError::Output)?;
    }
    if ok { Ok(reply) } else { Err(CliError::Declined { reason, message: error }) }
}

/// Sends the message and prints `done`, or the reply with `--json`.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_and_report(
    name: &'static str,
    message: &impl Serialize,
    done: impl fmt::Display,
    client: &mut Client,
    console: &mut Console,
) -> Result<(), CliError> {
    send(name, message, client, console)?;
    match console.format {
        OutputFormat::Json => Ok(()),
        OutputFormat::Text => console.say(done).map_err(CliError::Output),
    }
}

/// Returns the current time in the format of control messages.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}
