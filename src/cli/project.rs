//! `iaid project`: what a person decides about a project.

use serde_json::{Value, json};

use crate::cli::support::console::{Console, OutputFormat, visible};
use crate::cli::support::error::CliError;
use crate::cli::support::values::counted;
use crate::client::Client;

const METHOD: &str = "project_rename";

/// Rename a project
#[derive(Debug, clap::Args)]
pub(crate) struct ProjectArgs {
    #[command(subcommand)]
    command: ProjectCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ProjectCommand {
    /// Show a project's records under another name; the name of another project makes the two one
    ///
    /// Records keep the name that they were stored with, and later ones of the old name are shown under the new one, too.
    /// Renaming a name to itself undoes a rename.
    Rename {
        /// Name of the project, as `iaid projects` lists it
        old: String,
        /// Its other name
        new: String,
    },
}

pub(crate) fn run(args: &ProjectArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let ProjectCommand::Rename { old, new } = &args.command;
    let reply = client.call(METHOD, &json!({"old": old, "new": new}))?;
    if console.format == OutputFormat::Json {
        return console.say(reply.get()).map_err(CliError::Output);
    }
    let reply: Value = serde_json::from_str(reply.get()).map_err(|error| CliError::Reply(METHOD, error))?;
    let count = counted(reply["records"].as_u64().unwrap_or(0), "record", "records");
    let said = format!("{old} is {} now: {count}", reply["project"].as_str().unwrap_or_default());
    console.say(visible(&said, console.out_kind)).map_err(CliError::Output)
}
