//! `iaid rem`: asks for a REM cycle.

use serde_json::json;

use super::console::Console;
use super::control;
use super::error::CliError;
use crate::client::Client;

/// Ask for a REM cycle: consolidation now instead of at the next sleep
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) fn run(_: &Args, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let message = json!({"type": "force_rem", "ts": control::now()});
    control::tell(
        "force_rem",
        &message,
        "asked for a REM cycle; `iaid status` shows DREAMING while it runs",
        client,
        console,
    )
}
