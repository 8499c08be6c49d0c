//! Notes which session the assistant's process has now, for its MCP bridge.

use std::path::Path;
use std::time::SystemTime;
use std::{env, fs, io};

use super::input::{HookEvent, HookInput};
use crate::cli::support::files::{self, Durability, PRIVATE_MODE};
use crate::lifecycle::process_session::{self, CAPTURE_STATE_DIR};
use crate::transcript::Assistant;

/// The environment variable in which Claude Code passes its process id to hooks.
const PROCESS_VARIABLE: &str = "CLAUDE_PID";

/// Writes the session of the process that runs the hook, if another one is noted; at the end of the session removes it.
/// The hooks of two sessions of a process may overlap, so only the own one is removed.
///
/// # Errors
/// Any error of writing or removing the file.
pub(crate) fn note(store: &Path, event: HookEvent, input: &HookInput) -> io::Result<()> {
    let is_main = input.assistant == Assistant::ClaudeCode && !input.is_subagent;
    let pid = env::var(PROCESS_VARIABLE).ok().and_then(|pid| pid.parse().ok());
    let Some(pid) = pid.filter(|_| is_main) else { return Ok(()) };
    let path = process_session::path(store, pid);
    let is_noted = process_session::read(store, pid, SystemTime::UNIX_EPOCH).as_ref() == Some(&input.session);
    match (event, is_noted) {
        (HookEvent::SessionEnd, true) => fs::remove_file(path),
        (HookEvent::SessionEnd, false) | (_, true) => Ok(()),
        (_, false) => {
            files::make_own_folder(&store.join(CAPTURE_STATE_DIR))?;
            files::replace(&path, input.session.as_bytes(), PRIVATE_MODE, Durability::Cached)
        }
    }
}
