//! `iaid uninstall`: removes what `iaid install` added.
//!
//! A file that nothing else has changed since becomes what it was before, byte for byte. From any other file only our
//! entry is removed. The store is not touched.

use crate::cli::install::options::{InstallOptions, InstallTarget};
use crate::cli::install::{ConfigPaths, InstallPlan};
use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::transcript::Assistant;

/// Undo what install has set up
///
/// Without an option that names a part, undoes all. Stored records are kept.
#[derive(Debug, clap::Args)]
pub(crate) struct UninstallArgs {
    #[command(flatten)]
    choice: InstallOptions,
}

pub(crate) fn run(args: &UninstallArgs, console: &mut Console) -> Result<(), CliError> {
    let paths = ConfigPaths::from_env()?;
    let targets = match args.choice.targets() {
        targets if targets.is_empty() => {
            Assistant::ALL.into_iter().map(InstallTarget::Assistant).chain([InstallTarget::Service]).collect()
        }
        targets => targets,
    };
    let mut plan = InstallPlan::default();
    for target in targets {
        plan.remove(&paths, target);
    }
    if !plan.confirm(&args.choice, console)? {
        return Ok(());
    }
    plan.carry_out(&paths, console);
    if console.format == OutputFormat::Text {
        console.say("the store and its records are kept").map_err(CliError::Output)?;
    }
    plan.report(console)
}
