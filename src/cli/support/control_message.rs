//! What the commands that send one control message have in common.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::client::{Client, Policy};

/// How long a control message may take: existing clients wait 10 s for `status`, which the event
/// loop answers in milliseconds.
pub(crate) fn policy() -> Policy {
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

/// Sends the message and says `done` to people.
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

/// Now, as control messages carry it.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}
