//! The paths of the settings files, and which targets exist on this machine.

use std::env;
use std::path::PathBuf;

use super::entries::ConfigEntry;
use super::opencode_plugin;
use super::options::InstallTarget;
use super::service::{self, ServiceManager};
use crate::cli::support::assistants::AssistantRules;
use crate::cli::support::error::CliError;
use crate::transcript::Assistant;

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
                // It reads either, and the second one last.
                let names = ["opencode.jsonc", "opencode.json"];
                let paths = names.map(|name| folder.join(name));
                let path = paths.iter().find(|path| path.exists()).unwrap_or(&paths[1]);
                vec![(path.clone(), server)]
            }
            Assistant::Pi => Vec::new(),
        }
    }
}

fn path_from(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
