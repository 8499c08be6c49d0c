//! Where the settings of each part are, and what of it is on this machine.

use std::env;
use std::path::PathBuf;

use super::Part;
use super::entries::Entry;
use super::service::{self, Manager};
use crate::cli::support::error::CliError;

/// Where everything is.
pub(crate) struct Place {
    pub(crate) home: PathBuf,
}

impl Place {
    /// # Errors
    /// There is no home.
    pub(crate) fn from_env() -> Result<Place, CliError> {
        match path_from("HOME") {
            Some(home) => Ok(Place { home }),
            None => Err(CliError::Usage("HOME is not set, so there are no settings to change; set it".into())),
        }
    }

    /// What is on this machine.
    pub(crate) fn parts_found(&self) -> Vec<Part> {
        let mut parts = self.assistants_found();
        if Manager::found().is_some_and(|manager| manager.answers().is_ok()) {
            parts.push(Part::Service);
        }
        parts
    }

    /// The assistants that are.
    pub(crate) fn assistants_found(&self) -> Vec<Part> {
        let mut parts = Vec::new();
        let (claude, codex) = (self.entries(Part::ClaudeCode), self.entries(Part::Codex));
        let is_there = |entries: &[(PathBuf, Entry)]| {
            entries.iter().any(|(path, _)| {
                path.exists() || path.parent().is_some_and(|folder| folder != self.home && folder.exists())
            })
        };
        if is_there(&claude) || service::find("claude").is_some() {
            parts.push(Part::ClaudeCode);
        }
        if is_there(&codex) || service::find("codex").is_some() {
            parts.push(Part::Codex);
        }
        parts
    }

    /// An assistant's files, and what is entered into each.
    pub(crate) fn entries(&self, part: Part) -> Vec<(PathBuf, Entry)> {
        match part {
            Part::ClaudeCode => {
                let moved = path_from("CLAUDE_CONFIG_DIR");
                let server = moved.as_ref().unwrap_or(&self.home).join(".claude.json");
                let settings = moved.unwrap_or_else(|| self.home.join(".claude")).join("settings.json");
                vec![(server, Entry::ClaudeServer), (settings, Entry::Hooks)]
            }
            Part::Codex => {
                let folder = path_from("CODEX_HOME").unwrap_or_else(|| self.home.join(".codex"));
                vec![(folder.join("config.toml"), Entry::CodexServer), (folder.join("hooks.json"), Entry::Hooks)]
            }
            Part::Service => Vec::new(),
        }
    }
}

fn path_from(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
