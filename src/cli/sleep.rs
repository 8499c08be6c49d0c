//! `iaid sleep`: asks for sleep now.

use serde_json::json;

use super::console::Console;
use super::control;
use super::error::CliError;
use crate::client::Client;

/// Ask the daemon to sleep now
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Why, for the journal
    #[arg(long, value_name = "TEXT", default_value = "iaid sleep")]
    reason: String,
}

pub(super) fn run(args: &Args, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let message = json!({"type": "user_initiated_sleep", "reason": args.reason, "ts": control::now()});
    control::tell("user_initiated_sleep", &message, "falling asleep; the next request wakes it", client, console)
}
