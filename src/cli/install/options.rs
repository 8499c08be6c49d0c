//! The options that `iaid install` and `iaid uninstall` share.

/// The options that install and uninstall share.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InstallOptions {
    /// Claude Code: its MCP server entry and hooks
    #[arg(long)]
    pub(crate) claude_code: bool,
    /// Codex: its MCP server entry and hooks
    #[arg(long)]
    pub(crate) codex: bool,
    /// The daemon as a systemd or launchd service, started on first use
    #[arg(long)]
    pub(crate) service: bool,
    /// Apply the changes without asking
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Show the changes without applying them
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Something that install can set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstallTarget {
    ClaudeCode,
    Codex,
    Service,
}

impl InstallOptions {
    /// Returns the targets that were chosen.
    pub(crate) fn targets(&self) -> Vec<InstallTarget> {
        let named = [
            (self.claude_code, InstallTarget::ClaudeCode),
            (self.codex, InstallTarget::Codex),
            (self.service, InstallTarget::Service),
        ];
        named.into_iter().filter(|(is_named, _)| *is_named).map(|(_, part)| part).collect()
    }
}
