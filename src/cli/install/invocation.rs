//! How the assistants and the service start this program. Pure.

use std::path::{Path, PathBuf};

use super::shell_words::quoted;

/// Timeout of a hook, as entered in the settings, in seconds. The hook exits earlier by itself.
pub(crate) const HOOK_SECONDS: u32 = 10;

/// The names of the events: the assistants', and those of `iaid hook`.
pub(crate) const EVENTS: [(&str, &str); 4] = [
    ("SessionStart", "session-start"),
    ("UserPromptSubmit", "user-prompt-submit"),
    ("Stop", "stop"),
    ("SessionEnd", "session-end"),
];

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
    pub(crate) fn hook(&self, event: &str) -> String {
        let store = self.store.iter().flat_map(|path| ["--store".to_owned(), lossless(path)]);
        let words = [self.command()].into_iter().chain(self.args(&["hook", event])).chain(store);
        words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
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
