//! `iaid uninstall`: takes out again what `iaid install` entered.
//!
//! A file that nothing else has changed since is what it was before, to the byte; of any other the entry goes
//! and the rest stays. The store is left where it is.

use crate::cli::install::{ConfigPaths, InstallOptions, InstallPlan, InstallTarget};
use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;

/// Undo what install has set up
///
/// With no choice of these all of it. What was remembered stays in the store.
#[derive(Debug, clap::Args)]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    choice: InstallOptions,
}

pub(crate) fn run(args: &UninstallArgs, console: &mut Console) -> Result<(), CliError> {
    let place = ConfigPaths::from_env()?;
    let parts = match args.choice.parts() {
        parts if parts.is_empty() => vec![InstallTarget::ClaudeCode, InstallTarget::Codex, InstallTarget::Service],
        parts => parts,
    };
    let mut plan = InstallPlan::default();
    for part in parts {
        plan.remove(&place, part);
    }
    if !plan.agreed(&args.choice, console)? {
        return Ok(());
    }
    plan.carry_out(&place, console);
    if console.format == OutputFormat::Text {
        console.say("what was remembered is still in the store").map_err(CliError::Output)?;
    }
    plan.told(console)
}
