//! `iaid resume`: ends a pause.

use serde_json::json;

use super::console::Console;
use super::control;
use super::error::CliError;
use crate::client::Client;

/// End a pause
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    control::tell("resume", &json!({"type": "resume"}), "resumed: the daemon sleeps when idle", client, console)
}
