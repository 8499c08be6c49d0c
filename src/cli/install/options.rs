//! The options that `iaid install` and `iaid uninstall` share.

use crate::cli::support::assistants::AssistantRules;
use crate::transcript::Assistant;

/// The options that install and uninstall share.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InstallOptions {
    /// Claude Code: its MCP server entry and hooks
    #[arg(long)]
    pub(crate) claude_code: bool,
    /// Codex: its MCP server entry and hooks
    #[arg(long)]
    pub(crate) codex: bool,
    /// Copilot CLI: its MCP server entry and hooks
    #[arg(long)]
    pub(crate) copilot: bool,
    /// Gemini CLI: its MCP server entry and hooks
    #[arg(long)]
    pub(crate) gemini: bool,
    /// Qwen Code: its MCP server entry and hooks
    #[arg(long)]
    pub(crate) qwen: bool,
    /// opencode: its MCP server entry and a plugin
    #[arg(long)]
    pub(crate) opencode: bool,
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
    Assistant(Assistant),
    Service,
}

impl InstallTarget {
    /// Returns what the user has to know about it.
    pub(crate) fn note(self) -> Option<&'static str> {
        match self {
            InstallTarget::Assistant(assistant) => {
                Some(AssistantRules::of(assistant).note).filter(|note| !note.is_empty())
            }
            InstallTarget::Service => None,
        }
    }
}

impl InstallOptions {
    /// Returns the targets that were chosen.
    pub(crate) fn targets(&self) -> Vec<InstallTarget> {
        let named = [
            (self.claude_code, InstallTarget::Assistant(Assistant::ClaudeCode)),
            (self.codex, InstallTarget::Assistant(Assistant::Codex)),
            (self.copilot, InstallTarget::Assistant(Assistant::Copilot)),
            (self.gemini, InstallTarget::Assistant(Assistant::Gemini)),
            (self.qwen, InstallTarget::Assistant(Assistant::Qwen)),
            (self.opencode, InstallTarget::Assistant(Assistant::Opencode)),
            (self.service, InstallTarget::Service),
        ];
        named.into_iter().filter(|(is_named, _)| *is_named).map(|(_, part)| part).collect()
    }
}
