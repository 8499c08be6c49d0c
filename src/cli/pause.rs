//! `iaid pause`: no sleep that nobody asked for, until `iaid resume`.

use serde_json::json;

use super::console::Console;
use super::control;
use super::error::CliError;
use crate::client::Client;

/// Keep the daemon from sleeping by itself, until `iaid resume`
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How long you mean it to be: kept for the record, it does not end the pause
    #[arg(value_parser = clap::value_parser!(u32))]
    seconds: Option<u32>,
}

pub(super) fn run(args: &Args, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let message = match args.seconds {
        Some(seconds) => json!({"type": "pause", "seconds": seconds}),
        None => json!({"type": "pause"}),
    };
    control::tell("pause", &message, "paused: no sleep of its own until `iaid resume`", client, console)
}
