//! `iaid wake`: asks the daemon to wake.

use serde_json::json;

use super::console::Console;
use super::control;
use super::error::CliError;
use crate::client::Client;

/// Ask the daemon to wake
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let message = json!({"type": "force_wake", "ts": control::now()});
    control::tell("force_wake", &message, "asked to wake; what runs ends its piece of work first", client, console)
}
