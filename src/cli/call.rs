//! `iaid call`: any method of the daemon's, with its params as JSON.

use std::io::Read;
use std::time::Duration;

use serde_json::value::RawValue;

use super::console::{Console, Format, visible};
use super::error::CliError;
use super::pretty::pretty;
use super::values;
use crate::client::{Client, Delivery, Policy};

/// Methods that a second delivery changes once more: each contradiction inserts, each reinforcement
/// adds weight.
const NOT_REPEATABLE: [&str; 2] = ["memory_contradict", "memory_reinforce"];

/// Longest params from standard input, in bytes: the most that any daemon's `--max-line` lets in.
const MAX_PARAMS_BYTES: u64 = 64 << 20;

/// Call a method and print its result; `iaid call rpc.discover` lists them
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The method, such as memory_recall
    method: String,
    /// Its params, a JSON object; - reads it from standard input
    #[arg(value_name = "JSON", default_value = "{}")]
    params: String,
    /// Longest wait for the result, 0 to 3600, fractions allowed
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, default_value = "30")]
    timeout: Duration,
}

impl Args {
    pub(super) fn policy(&self) -> Policy {
        Policy { reply_timeout: self.timeout, ..Policy::default() }
    }
}

pub(super) fn run(args: &Args, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let params = params(&args.params, console)?;
    let again = NOT_REPEATABLE.contains(&args.method.as_str());
    let delivery = if again { Delivery::AtMostOnce } else { Delivery::AtLeastOnce };
    let result = client.call_with(delivery, &args.method, &params)?;
    let shown = match console.format {
        Format::Json => result.get().to_owned(),
        Format::Text => visible(&pretty(result.get()), console.out_kind).into_owned(),
    };
    console.say(shown).map_err(CliError::Output)
}

fn params(argument: &str, console: &mut Console) -> Result<Box<RawValue>, CliError> {
    let text = match argument {
        "-" => {
            let mut text = String::new();
            let mut input = console.input.by_ref().take(MAX_PARAMS_BYTES + 1);
            input.read_to_string(&mut text).map_err(CliError::Input)?;
            if text.len() as u64 > MAX_PARAMS_BYTES {
                return Err(CliError::Usage(format!("the params are longer than {MAX_PARAMS_BYTES} bytes")));
            }
            text
        }
        argument => argument.to_owned(),
    };
    RawValue::from_string(text).map_err(|e| {
        CliError::Usage(format!("the params are no JSON: {e}; give an object such as {{\"cue\":\"tea\"}}"))
    })
}
