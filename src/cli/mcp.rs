//! `iaid mcp`: where the bridge's socket, store, session and streams come from. What it then does is
//! `mcp/`.

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

use crate::cli::support::error::CliError;
use crate::cli::support::paths;
use crate::mcp::{self, Host, Options};

/// Serve the memory to an assistant: MCP on standard input and output
#[derive(Debug, clap::Args)]
pub(crate) struct McpArgs {
    /// The store's folder, for the heartbeat [default: $IAI_MCP_STORE, else ~/.iai-mcp]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

pub(crate) fn run(args: McpArgs, socket: Option<PathBuf>) -> Result<(), CliError> {
    let env = |name: &str| env::var_os(name);
    let options = Options {
        socket: paths::socket(socket, &env)?,
        // A socket that is named serves without a home; only the heartbeat is then missing.
        store: paths::store(args.store, &env).ok(),
        host: Host::from_env(&env, env::current_dir().ok()),
    };
    // Files of our own: the standard library's handles have locks and buffers, and others hold them.
    let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from);
    let input = own(io::stdin().as_fd()).map_err(CliError::Input)?;
    let output = own(io::stdout().as_fd()).map_err(CliError::Output)?;
    mcp::serve(options, input, output).map_err(CliError::Bridge)
}
