//! Where the settings of each part are, and what of it is on this machine.

use std::env;
use std::path::PathBuf;

use super::InstallTarget;
use super::entries::ConfigEntry;
use super::service::{self, ServiceManager};
use crate::cli::support::error::CliError;

/// Where everything is.
pub(crate) struct ConfigPaths {
    pub(crate) home: PathBuf,
}

impl ConfigPaths {
    /// # Errors
    /// There is no home.
    pub(crate) fn from_env() -> Result<ConfigPaths, CliError> {
        match path_from("HOME") {
            Some(home) => Ok(ConfigPaths { home }),
            None => Err(CliError::Usage("HOME is not set, so there are no settings to change; set it".into())),
        }
    }

    /// What is on this machine.
    pub(crate) fn parts_found(&self) -> Vec<InstallTarget> {
        let mut parts = self.assistants_found();
        if ServiceManager::found().is_some_and(|manager| manager.answers().is_ok()) {
            parts.push(InstallTarget::Service);
        }
        parts
    }

    /// The assistants that are.
    pub(crate) fn assistants_found(&self) -> Vec<InstallTarget> {
        let mut parts = Vec::new();
        let (claude, codex) = (self.entries(InstallTarget::ClaudeCode), self.entries(InstallTarget::Codex));
        let is_there = |entries: &[(PathBuf, ConfigEntry)]| {
            entries.iter().any(|(path, _)| {
                path.exists() || path.parent().is_some_and(|folder| folder != self.home && folder.exists())
            })
        };
        if is_there(&claude) || service::find("claude").is_some() {
            parts.push(InstallTarget::ClaudeCode);
        }
        if is_there(&codex) || service::find("codex").is_some() {
            parts.push(InstallTarget::Codex);
        }
        parts
    }

    /// An assistant's files, and what is entered into each.
    pub(crate) fn entries(&self, part: InstallTarget) -> Vec<(PathBuf, ConfigEntry)> {
        match part {
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
