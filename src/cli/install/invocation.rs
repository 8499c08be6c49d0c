//! How the assistants and the service start this program. Pure.

use std::path::{Path, PathBuf};

use super::shell_words::quoted;
use crate::transcript::Assistant;

/// How the assistants and the service start this program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// Absolute path of this program.
    pub(crate) program: PathBuf,
    /// Path of the socket, if it is not the default.
    pub(crate) socket: Option<PathBuf>,
    /// Folder of the store, if it is not the default.
    pub(crate) store: Option<PathBuf>,
}

impl Invocation {
    /// Returns the program as text.
    pub(crate) fn command(&self) -> String {
        lossless(&self.program)
    }

    /// Returns the arguments of the MCP server.
    pub(crate) fn server_args(&self) -> Vec<String> {
        self.args(&["mcp"])
    }

    /// Returns the shell command of a hook.
    pub(crate) fn hook(&self, event: &str, assistant: Assistant) -> String {
        let mut words = self.hook_words(event, assistant);
        words.iter_mut().for_each(|word| *word = quoted(word));
        words.join(" ")
    }

    /// Returns the program and the arguments of a hook.
    pub(crate) fn hook_words(&self, event: &str, assistant: Assistant) -> Vec<String> {
        let mut words = vec![self.command()];
        words.extend(self.args(&["hook", event]));
        words.extend(self.store.iter().flat_map(|path| ["--store".to_owned(), lossless(path)]));
        // Hooks of the first two tell them by their input.
        if !matches!(assistant, Assistant::ClaudeCode | Assistant::Codex) {
            words.extend(["--assistant", assistant.name()].map(str::to_owned));
        }
        words
    }

    fn args(&self, last: &[&str]) -> Vec<String> {
        let socket = self.socket.iter().flat_map(|path| ["--socket".to_owned(), lossless(path)]);
        socket.chain(last.iter().map(|arg| (*arg).to_owned())).collect()
    }
}

/// Returns a path as text. Paths that are not UTF-8 have been refused before.
fn lossless(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
