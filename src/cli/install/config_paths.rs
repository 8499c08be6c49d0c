//! The paths of the settings files, and which targets exist on this machine.

use std::env;
use std::path::PathBuf;

use super::entries::ConfigEntry;
use super::opencode_plugin;
use super::options::InstallTarget;
use super::service::{self, ServiceManager};
use crate::cli::support::assistants::AssistantRules;
use crate::cli::support::error::CliError;
use crate::cli::support::files;
use crate::transcript::Assistant;

/// Largest settings file that is read.
pub(crate) const MAX_SETTINGS_BYTES: u64 = 64 << 20;

/// The user's home folder, to which the paths of settings are relative.
pub(crate) struct ConfigPaths {
    pub(crate) home: PathBuf,
}

impl ConfigPaths {
    /// Returns the paths for `HOME`.
    ///
    /// # Errors
    /// [`CliError::Usage`] if HOME is not set.
    pub(crate) fn from_env() -> Result<ConfigPaths, CliError> {
        match path_from("HOME") {
            Some(home) => Ok(ConfigPaths { home }),
            None => Err(CliError::Usage("HOME is not set, so the settings cannot be found; set it".into())),
        }
    }

    /// Returns the targets that exist on this machine.
    pub(crate) fn targets_found(&self) -> Vec<InstallTarget> {
        let mut targets = self.assistants_found();
        if ServiceManager::found().is_some_and(|manager| manager.answers().is_ok()) {
            targets.push(InstallTarget::Service);
        }
        targets
    }

    /// Returns the assistants that exist on this machine.
    pub(crate) fn assistants_found(&self) -> Vec<InstallTarget> {
        let assistants = Assistant::ALL.into_iter().filter(|assistant| self.has(*assistant));
        assistants.map(InstallTarget::Assistant).collect()
    }

    /// Returns true if an assistant exists on this machine: one of its files, its folder or its program.
    pub(crate) fn has(&self, assistant: Assistant) -> bool {
        let rules = AssistantRules::of(assistant);
        let has_entries = self.entries(InstallTarget::Assistant(assistant)).iter().any(|(path, _)| path.exists());
        has_entries || rules.folder(&self.home).exists() || service::find(rules.program).is_some()
    }

    /// Returns the path of the plugin for opencode.
    pub(crate) fn opencode_plugin(&self) -> PathBuf {
        AssistantRules::of(Assistant::Opencode).folder(&self.home).join(opencode_plugin::PATH)
    }

    /// Returns the settings files that have the entries of this program, or get them: of those that an assistant reads one
    /// after the other, each that has an entry, else the first.
    pub(crate) fn entered(&self, target: InstallTarget) -> Vec<(PathBuf, ConfigEntry)> {
        let mut entries = self.entries(target);
        if target == InstallTarget::Assistant(Assistant::Opencode) && entries.len() > 1 {
            let has_ours = |(path, entry): &(PathBuf, ConfigEntry)| {
                let text = files::text(path, MAX_SETTINGS_BYTES).ok().flatten().unwrap_or_default();
                entry.commands(&text).is_ok_and(|commands| !commands.is_empty())
            };
            match entries.iter().any(has_ours) {
                true => entries.retain(has_ours),
                false => entries.truncate(1),
            }
        }
        entries
    }

    /// Returns the settings files of an assistant, each with the entry for it.
    pub(crate) fn entries(&self, target: InstallTarget) -> Vec<(PathBuf, ConfigEntry)> {
        let InstallTarget::Assistant(assistant) = target else { return Vec::new() };
        let folder = AssistantRules::of(assistant).folder(&self.home);
        let (server, hooks) = (ConfigEntry::Server(assistant), ConfigEntry::Hooks(assistant));
        match assistant {
            Assistant::ClaudeCode => {
                let moved = path_from("CLAUDE_CONFIG_DIR");
                let servers = moved.as_ref().unwrap_or(&self.home).join(".claude.json");
                vec![(servers, server), (folder.join("settings.json"), hooks)]
            }
            Assistant::Codex => vec![(folder.join("config.toml"), server), (folder.join("hooks.json"), hooks)],
            Assistant::Copilot => {
                vec![(folder.join("mcp-config.json"), server), (folder.join("settings.json"), hooks)]
            }
            Assistant::Gemini | Assistant::Qwen => {
                vec![(folder.join("settings.json"), ConfigEntry::Settings(assistant))]
            }
            Assistant::Opencode => {
                // It reads both.
                let [other, usual] = ["opencode.jsonc", "opencode.json"].map(|name| folder.join(name));
                let mut paths = vec![(usual, server)];
                if other.exists() {
                    paths.retain(|(path, _)| path.exists());
                    paths.insert(0, (other, server));
                }
                paths
            }
            Assistant::Pi => Vec::new(),
        }
    }
}

fn path_from(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
