//! The paths of the settings files, and which targets exist on this machine.

use std::env;
use std::path::PathBuf;

use super::entries::ConfigEntry;
use super::options::InstallTarget;
use super::service::{self, ServiceManager};
use crate::cli::support::error::CliError;

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
        let mut targets = Vec::new();
        let (claude, codex) = (self.entries(InstallTarget::ClaudeCode), self.entries(InstallTarget::Codex));
        let is_there = |entries: &[(PathBuf, ConfigEntry)]| {
            entries.iter().any(|(path, _)| {
                path.exists() || path.parent().is_some_and(|folder| folder != self.home && folder.exists())
            })
        };
        if is_there(&claude) || service::find("claude").is_some() {
            targets.push(InstallTarget::ClaudeCode);
        }
        if is_there(&codex) || service::find("codex").is_some() {
            targets.push(InstallTarget::Codex);
        }
        targets
    }

    /// Returns the settings files of an assistant, each with the entry for it.
    pub(crate) fn entries(&self, target: InstallTarget) -> Vec<(PathBuf, ConfigEntry)> {
        match target {
            InstallTarget::ClaudeCode => {
                let moved = path_from("CLAUDE_CONFIG_DIR");
                let server = moved.as_ref().unwrap_or(&self.home).join(".claude.json");
                let settings = moved.unwrap_or_else(|| self.home.join(".claude")).join("settings.json");
                vec![(server, ConfigEntry::ClaudeServer), (settings, ConfigEntry::Hooks)]
            }
            InstallTarget::Codex => {
                let folder = path_from("CODEX_HOME").unwrap_or_else(|| self.home.join(".codex"));
                vec![
                    (folder.join("config.toml"), ConfigEntry::CodexServer),
                    (folder.join("hooks.json"), ConfigEntry::Hooks),
                ]
            }
            InstallTarget::Service => Vec::new(),
        }
    }
}

fn path_from(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
