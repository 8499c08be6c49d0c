//! `iaid install`: enters this program into what uses it: the assistants' settings and the service manager.
//!
//! What is to change is found first and shown; then it is asked for; then each part is done by itself, so
//! that one that cannot be leaves the others be. Nothing is guessed at: a file that is not understood is left
//! alone. `iaid uninstall` takes it all out again.

mod change;
mod config_paths;
mod diff;
pub(crate) mod entries;
mod json_edit;

mod plan;
pub(crate) mod service;
mod toml_block;

use std::env;
use std::path::PathBuf;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::paths;

pub(crate) use self::config_paths::ConfigPaths;
use self::entries::Invocation;
pub(crate) use self::plan::InstallPlan;

/// Set up Claude Code, Codex and the service manager to use this program
///
/// With no choice of these all are set up that are on this machine. Each file that is edited has a backup
/// beside it; what is in it already stays. Installing twice changes nothing.
#[derive(Debug, clap::Args)]
pub(crate) struct InstallArgs {
    #[command(flatten)]
    pub(crate) choice: InstallOptions,
    /// The store's folder [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

/// What is to be done, and how.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InstallOptions {
    /// Claude Code: the MCP server and the hooks
    #[arg(long)]
    claude_code: bool,
    /// Codex: the MCP server and the hooks
    #[arg(long)]
    codex: bool,
    /// The daemon as a service, started at its first use: systemd or launchd
    #[arg(long)]
    service: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
    /// Only show what would change
    #[arg(long)]
    dry_run: bool,
}

/// A part of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstallTarget {
    ClaudeCode,
    Codex,
    Service,
}

pub(crate) fn run(args: &InstallArgs, socket: Option<PathBuf>, console: &mut Console) -> Result<(), CliError> {
    let place = ConfigPaths::from_env()?;
    let call = call(socket, args.store.clone(), &place)?;
    let parts = match args.choice.parts() {
        parts if parts.is_empty() => place.parts_found(),
        parts => parts,
    };
    if parts.is_empty() {
        return Err(CliError::Usage(
            "neither Claude Code, Codex, systemd nor launchd was found here; name what to set up: --claude-code, \
             --codex or --service"
                .into(),
        ));
    }
    let mut plan = InstallPlan::default();
    for part in &parts {
        plan.enter(&place, *part, &call);
    }
    if !plan.agreed(&args.choice, console)? {
        return Ok(());
    }
    plan.carry_out(&place, console);
    plan.offer_to_stay(&args.choice, console);
    if parts.contains(&InstallTarget::Codex) && console.format == OutputFormat::Text {
        console.warn("Codex runs new hooks once you have trusted them: open /hooks in it.");
    }
    plan.told(console)?;
    match console.format {
        OutputFormat::Text => console.say("done; sessions that start from now on have it").map_err(CliError::Output),
        OutputFormat::Json => Ok(()),
    }
}

impl InstallOptions {
    /// What was named.
    pub(crate) fn parts(&self) -> Vec<InstallTarget> {
        let named = [
            (self.claude_code, InstallTarget::ClaudeCode),
            (self.codex, InstallTarget::Codex),
            (self.service, InstallTarget::Service),
        ];
        named.into_iter().filter(|(is_named, _)| *is_named).map(|(_, part)| part).collect()
    }
}

/// How this program is to be called from now on.
///
/// # Errors
/// It has no path that can be written down.
fn call(socket: Option<PathBuf>, store: Option<PathBuf>, place: &ConfigPaths) -> Result<Invocation, CliError> {
    let env = |name: &str| env::var_os(name);
    let absolute = |path: PathBuf| std::path::absolute(&path).map_err(|error| CliError::File(path, error));
    let program = env::current_exe().map_err(|error| CliError::File("iaid".into(), error))?;
    if !program.exists() {
        let name = program.display();
        return Err(CliError::Usage(format!("{name}: this program has been replaced or removed; start the new one")));
    }
    let socket = absolute(paths::socket(socket, &env)?)?;
    let store = absolute(paths::store(store, &env)?)?;
    let usual = place.home.join(".iai-mcp");
    let call = Invocation {
        program,
        socket: Some(socket).filter(|path| *path != usual.join(".daemon.sock")),
        store: Some(store).filter(|path| *path != usual),
    };
    for path in [Some(&call.program), call.socket.as_ref(), call.store.as_ref()].into_iter().flatten() {
        if path.to_str().is_none_or(|text| text.contains(['\n', '\r'])) {
            let name = path.display();
            return Err(CliError::Usage(format!("{name} is not UTF-8 in one line, as settings need it; move it")));
        }
    }
    Ok(call)
}
