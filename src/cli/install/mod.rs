//! `iaid install`: adds this program to the settings of the assistants and to the service manager.
//!
//! The changes are computed first, shown and confirmed, and then applied one by one, so that a part that fails does not
//! affect the others. A file that is not understood is left alone. `iaid uninstall` reverts all of it.

mod change;
mod config_paths;
mod diff;
pub(crate) mod entries;
#[cfg(test)]
mod histories;
mod hook_entry;
pub(crate) mod invocation;
mod json_edit;
pub(crate) mod opencode_plugin;
pub(crate) mod options;
#[cfg(test)]
mod oracle;
mod plan;
mod server_entry;
pub(crate) mod service;
pub(crate) mod shell_words;
mod toml_document;
mod toml_scalar;
mod toml_syntax;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::client::{Client, Policy};

pub(crate) use self::config_paths::{ConfigPaths, MAX_SETTINGS_BYTES};
use self::invocation::Invocation;
use self::options::InstallOptions;
pub(crate) use self::plan::InstallPlan;

/// Set up assistants and the service manager to use this program
///
/// Without an option that names one, sets up all that are found on this machine. Each edited file gets a
/// backup beside it, and its other content is kept. Installing twice changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    pub(crate) choice: InstallOptions,
    /// Folder of the store [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

pub(crate) fn run(args: &InstallArgs, socket: Option<PathBuf>, console: &mut Console) -> Result<(), CliError> {
    let config = ConfigPaths::from_env()?;
    let socket_path = paths::socket(socket.clone(), &|name| env::var_os(name))?;
    let call = invocation(socket, args.store.clone(), &config)?;
    let targets = match args.choice.targets() {
        targets if targets.is_empty() => config.targets_found(),
        targets => targets,
    };
    if targets.is_empty() {
        return Err(CliError::Usage(
            "no assistant, and neither systemd nor launchd was found; choose what to set up: --claude-code, --codex, \
             --copilot, --gemini, --qwen, --opencode or --service"
                .into(),
        ));
    }
    let mut plan = InstallPlan::default();
    for target in &targets {
        plan.enter(&config, *target, &call);
    }
    plan.note_unreachable(&mut Client::new(socket_path, policy()));
    if !plan.confirm(&args.choice, console)? {
        return Ok(());
    }
    plan.carry_out(&config, console);
    plan.offer_linger(&args.choice, console);
    if console.format == OutputFormat::Text {
        let entered = targets.iter().filter(|target| !config.entries(**target).is_empty());
        entered.filter_map(|target| target.note()).for_each(|note| console.warn(note));
    }
    plan.report(console)?;
    match console.format {
        OutputFormat::Text => console.say("done; it takes effect in new sessions").map_err(CliError::Output),
        OutputFormat::Json => Ok(()),
    }
}

/// Returns the policy for the question whether a daemon answers.
fn policy() -> Policy {
    let limit = Duration::from_secs(2);
    Policy { connect_timeout: limit, reply_timeout: limit, wait_for_restart: Duration::ZERO, ..Policy::default() }
}

/// Returns how this program is to be started.
///
/// # Errors
/// [`CliError::Usage`] if a path cannot be written into settings, or the program file no longer exists;
/// [`CliError::File`] if a path cannot be made absolute.
fn invocation(socket: Option<PathBuf>, store: Option<PathBuf>, config: &ConfigPaths) -> Result<Invocation, CliError> {
    let env = |name: &str| env::var_os(name);
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| CliError::File(path, error));
    let program = env::current_exe().map_err(|error| CliError::File("iaid".into(), error))?;
    if !program.exists() {
        let name = program.display();
        return Err(CliError::Usage(format!("{name}: this program file was replaced or removed; run the new one")));
    }
    let socket = absolute(paths::socket(socket, &env)?)?;
    let store = absolute(paths::store(store, &env)?)?;
    let usual = config.home.join(".iai-mcp");
    let call = Invocation {
        program,
        socket: Some(socket).filter(|path| *path != usual.join(".daemon.sock")),
        store: Some(store).filter(|path| *path != usual),
    };
    for path in [Some(&call.program), call.socket.as_ref(), call.store.as_ref()].into_iter().flatten() {
        if path.to_str().is_none_or(|text| text.contains(['\n', '\r'])) {
            let name = path.display();
            return Err(CliError::Usage(format!(
                "{name} is not UTF-8 or has a line break, so it cannot be written into settings; move it"
            )));
        }
    }
    Ok(call)
}
