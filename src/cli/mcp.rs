//! `iaid mcp`: the options of the MCP bridge. The bridge itself is in `mcp/`.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::cli::support::project_finder::ProjectFinder;
use crate::mcp::{self, BridgeOptions, Host, ToolSet};

/// Serve the memory to an assistant over MCP, on standard input and output
#[derive(Debug, clap::Args)]
pub(crate) struct McpArgs {
    /// Folder of the store, for the heartbeat [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Tools to offer: all, or only the five that an assistant needs (core)
    #[arg(long, value_name = "SET", default_value = "all", value_parser = ["all", "core"])]
    tools: String,
}

pub(crate) fn run(args: McpArgs, socket: Option<PathBuf>) -> Result<(), CliError> {
    let env = |name: &str| env::var_os(name);
    let mut host = Host::from_env(&env, env::current_dir().ok());
    if let Some(folder) = host.project.take() {
        let project = ProjectFinder::new().find(&folder).clone();
        (host.project, host.project_folder) = (Some(project.name), project.folder);
    }
    let options = BridgeOptions {
        socket: paths::socket(socket, &env)?,
        // An explicit socket needs no home folder; only the heartbeat is then left out.
        store: paths::store(args.store, &env).ok(),
        host,
        tools: if args.tools == "core" { ToolSet::Core } else { ToolSet::All },
    };
    // Duplicated descriptors: the handles of std have buffers and locks that other code may hold.
    let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
    let input = own(io::stdin().as_fd()).map_err(CliError::Input)?;
    let output = own(io::stdout().as_fd()).map_err(CliError::Output)?;
    mcp::serve(options, input, output).map_err(CliError::Bridge)
}
