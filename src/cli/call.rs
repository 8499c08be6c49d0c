//! `iaid call`: calls any method of the daemon, with its params as JSON.

use std::io::Read;
use std::time::Duration;

use serde_json::value::RawValue;

use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::pretty::pretty;
use crate::cli::support::values;
use crate::client::{Client, DeliveryGuarantee, Policy};

/// Methods that are not idempotent: each contradiction inserts, each reinforcement adds weight.
const NOT_REPEATABLE: [&str; 2] = ["memory_contradict", "memory_reinforce"];

/// Longest params read from standard input: the upper bound of the daemon's `--max-line`.
const MAX_PARAMS_BYTES: u64 = 64 << 20;

/// Call a method and print its result; `iaid call rpc.discover` lists the methods
#[derive(Debug, clap::Args)]
pub(crate) struct CallArgs {
    /// Method to call, such as memory_recall
    method: String,
    /// Params, a JSON object; - reads it from standard input
    #[arg(value_name = "JSON", default_value = "{}")]
    params: String,
    /// Longest wait for the result, 0 to 3600, fractions allowed
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, default_value = "30")]
    timeout: Duration,
}

impl CallArgs {
    pub(crate) fn policy(&self) -> Policy {
        Policy { reply_timeout: self.timeout, ..Policy::default() }
    }
}

pub(crate) fn run(args: &CallArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let params = params(&args.params, console)?;
    let again = NOT_REPEATABLE.contains(&args.method.as_str());
    let delivery = if again { DeliveryGuarantee::AtMostOnce } else { DeliveryGuarantee::AtLeastOnce };
    let result = client.call_with(delivery, &args.method, &params)?;
    let shown = match console.format {
        OutputFormat::Json => result.get().to_owned(),
        OutputFormat::Text => visible(&pretty(result.get()), console.out_kind).into_owned(),
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
        CliError::Usage(format!("the params are not JSON: {e}; give an object such as {{\"cue\":\"tea\"}}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::error::Exit;
    use crate::cli::support::testing::{error, result, with_daemon};
    use serde_json::json;

    fn args(params: &str) -> CallArgs {
        CallArgs { method: "m".into(), params: params.into(), timeout: Duration::from_secs(30) }
    }

    #[test]
    fn params_come_from_the_argument_or_from_standard_input() {
        for (argument, input, sent) in [
            ("{}", "", json!({})),
            ("{\"a\":1}", "", json!({"a": 1})),
            ("-", "{\n  \"a\": [1,\r\n 2]\n}\n", json!({"a": [1, 2]})),
            // Not an object: the daemon refuses it.
            ("[1]", "", json!([1])),
        ] {
            for (format, shown) in
                [(OutputFormat::Json, "{\"k\":[1]}\n"), (OutputFormat::Text, "{\n  \"k\": [\n    1\n  ]\n}\n")]
            {
                let (mut console, out, _) = console(format, input.as_bytes());
                let answer = |call: &_| result(call, json!({"k": [1]}));
                let (outcome, seen) = with_daemon(answer, |client| run(&args(argument), client, &mut console));
                outcome.unwrap();
                assert_eq!((&seen[0]["params"], &seen[0]["method"]), (&sent, &json!("m")));
                assert_eq!(out.text(), shown);
            }
        }
    }

    #[test]
    fn params_that_are_not_json_are_a_usage_error() {
        for (argument, input) in [("{", ""), ("", ""), ("{} {}", ""), ("-", ""), ("-", "{\"a\":")] {
            let (mut console, _, _) = console(OutputFormat::Text, input.as_bytes());
            let error = params(argument, &mut console).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{argument}: {error}");
        }
    }

    #[test]
    fn an_error_of_the_daemon_is_returned() {
        let (mut console, out, _) = console(OutputFormat::Text, b"");
        let answer = |call: &_| error(call, -32601, "unknown method 'm'");
        let (outcome, _) = with_daemon(answer, |client| run(&args("{}"), client, &mut console));
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.exit(), error.to_string().as_str(), out.text().as_str()),
            (Exit::Failed, "unknown method 'm'", "")
        );
    }
}
