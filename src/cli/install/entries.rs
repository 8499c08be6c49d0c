//! The entries in the assistants' settings: functions from text to text. Pure.
//!
//! Claude Code has its MCP servers in `.claude.json` (`mcpServers`) and its hooks in `settings.json`. Codex has its MCP
//! servers in `config.toml` (`[mcp_servers.NAME]`) and its hooks in `hooks.json`, Copilot CLI its servers in
//! `mcp-config.json` and its hooks in `settings.json`; Gemini CLI and Qwen Code have both in `settings.json`, opencode has
//! its servers in `opencode.json`. An entry is recognized by its content, wherever it is in the file and whichever program wrote the file last. Everything else in a file is kept.

use super::hook_entry;
use super::invocation::Invocation;
use super::json_edit::JsonDocument;
use super::server_entry::{self, ServerEntry};
use super::shell_words::quoted;
use crate::transcript::Assistant;

/// The byte order mark, which some editors of Windows write.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// An entry, by the kind of settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigEntry {
    /// The MCP server.
    Server(Assistant),
    /// The hooks.
    Hooks(Assistant),
    /// The MCP server and the hooks, in one file.
    Settings(Assistant),
}

impl ConfigEntry {
    /// Returns the text of a file with the entry; the same text if it has the entry already.
    ///
    /// # Errors
    /// A message if the file is not understood, or has an entry of this name that we did not write.
    pub(crate) fn enter(self, text: &str, call: &Invocation) -> Result<String, String> {
        refuse_mark(text)?;
        let mut text = text.to_owned();
        if let Some(assistant) = self.server() {
            text = match assistant {
                Assistant::Codex => server_entry::enter_toml(&text, call)?,
                _ => server_entry::enter_json(&text, assistant, call)?,
            };
        }
        match self.hooks() {
            Some(assistant) => hook_entry::enter(&text, assistant, call).map_err(|error| error.to_string()),
            None => Ok(text),
        }
    }

    /// Returns the text of a file without the entry. Objects that become empty go as well, unless `original`, the file
    /// before the entry was made, has them.
    ///
    /// # Errors
    /// A message if the file is not understood.
    pub(crate) fn remove(self, text: &str, original: Option<&str>) -> Result<String, String> {
        if text.trim().is_empty() {
            return Ok(text.to_owned());
        }
        refuse_mark(text)?;
        let original = original.and_then(|text| JsonDocument::read_commented(text).ok());
        let mut text = text.to_owned();
        if let Some(assistant) = self.hooks() {
            text = hook_entry::remove(&text, assistant, original.as_ref()).map_err(|error| error.to_string())?;
        }
        match self.server() {
            Some(Assistant::Codex) => server_entry::remove_toml(&text),
            Some(assistant) => {
                server_entry::remove_json(&text, assistant, original.as_ref()).map_err(|error| error.to_string())
            }
            None => Ok(text),
        }
    }

    /// Returns our commands in a file as shell commands, each with its event (empty for a server). Of a server entry that
    /// we did not write, its command is returned as well.
    ///
    /// # Errors
    /// A message if the file is not understood.
    pub(crate) fn commands(self, text: &str) -> Result<Vec<(String, String)>, String> {
        let command = |server: ServerEntry| server.into_command().map(|command| quoted(&command)).unwrap_or_default();
        let server = self.server_in(text)?.map(|server| (String::new(), command(server)));
        let mut commands: Vec<_> = server.into_iter().collect();
        if let Some(assistant) = self.hooks() {
            commands.extend(hook_entry::commands(text, assistant).map_err(|error| error.to_string())?);
        }
        Ok(commands)
    }

    /// Returns a message on each entry for this program that we did not write, and that is therefore kept.
    ///
    /// # Errors
    /// A message if the file is not understood.
    pub(crate) fn foreign(self, text: &str) -> Result<Vec<String>, String> {
        let mut messages = Vec::new();
        if let Some(ServerEntry::Foreign { command, url }) = self.server_in(text)? {
            let name = self.server().map_or("", server_entry::name);
            messages.push(server_entry::foreign(name, command.as_deref(), url.as_deref()));
        }
        if let Some(assistant) = self.hooks() {
            let variants = hook_entry::variants(text, assistant).map_err(|error| error.to_string())?;
            let message = |command| format!("it has a hook that iaid install did not write ({command})");
            messages.extend(variants.into_iter().map(message));
        }
        Ok(messages)
    }

    /// Returns the server entry of our name, if the file is one for servers and has it.
    fn server_in(self, text: &str) -> Result<Option<ServerEntry>, String> {
        match self.server() {
            None => Ok(None),
            Some(Assistant::Codex) => server_entry::in_toml(text),
            Some(assistant) => server_entry::in_json(text, assistant).map_err(|error| error.to_string()),
        }
    }

    /// Returns true if the file has an MCP server entry.
    pub(crate) fn has_server(self) -> bool {
        self.server().is_some()
    }

    /// Returns true if the file has hooks.
    pub(crate) fn has_hooks(self) -> bool {
        self.hooks().is_some()
    }

    fn server(self) -> Option<Assistant> {
        match self {
            ConfigEntry::Server(assistant) | ConfigEntry::Settings(assistant) => Some(assistant),
            ConfigEntry::Hooks(_) => None,
        }
    }

    fn hooks(self) -> Option<Assistant> {
        match self {
            ConfigEntry::Hooks(assistant) | ConfigEntry::Settings(assistant) => Some(assistant),
            ConfigEntry::Server(_) => None,
        }
    }

    /// Returns true if a file has no settings.
    pub(crate) fn is_empty(self, text: &str) -> bool {
        match self {
            ConfigEntry::Server(Assistant::Codex) => text.trim().is_empty(),
            // A file with comments has something of the user's.
            _ => JsonDocument::read(text).is_ok_and(|json| json.is_empty()),
        }
    }
}

/// Refuses a text that begins with a byte order mark.
fn refuse_mark(text: &str) -> Result<(), String> {
    match text.starts_with(BYTE_ORDER_MARK) {
        true => Err("it begins with a byte order mark; save it as UTF-8 without one".into()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::install::shell_words::words;

    fn call(program: &str) -> Invocation {
        Invocation { program: program.into(), socket: None, store: None }
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn entering_is_idempotent_and_removing_restores_every_byte() {
        let servers = "{\n  \"numStartups\": 12,\n  \"mcpServers\": {\n    \"other\": {\"command\": \"x\"}\n  }\n}\n";
        let hooks = "{\n    \"hooks\": {\n        \"Stop\": [{\"hooks\": [{\"type\": \"command\", \"command\": \"true\"}]}],\n        \"PreToolUse\": []\n    },\n    \"model\": \"opus\"\n}";
        for (entry, text) in [
            (ConfigEntry::Server(Assistant::ClaudeCode), servers),
            (ConfigEntry::Server(Assistant::ClaudeCode), "{\"a\":{\"b\":1}}"),
            (ConfigEntry::Hooks(Assistant::ClaudeCode), hooks),
            (ConfigEntry::Hooks(Assistant::ClaudeCode), "{\n  \"model\": \"opus\"\n}\n"),
            (ConfigEntry::Server(Assistant::Codex), "model = \"x\"\n\n[mcp_servers.other]\ncommand = \"y\"\n"),
        ] {
            let once = entry.enter(text, &call("/opt/iaid")).unwrap();
            assert_ne!(once, text);
            assert_eq!(entry.enter(&once, &call("/opt/iaid")).unwrap(), once);
            assert_eq!(entry.remove(&once, None).unwrap(), text);
            let moved = entry.enter(&once, &call("/a b/iaid")).unwrap();
            assert!(moved.contains("/a b/iaid") && !moved.contains("/opt/iaid"), "{moved}");
            assert_eq!(entry.remove(&moved, None).unwrap(), text);
            assert_eq!(entry.remove(text, None).unwrap(), text);
            assert!(entry.is_empty(&entry.remove(&entry.enter("", &call("/b/iaid")).unwrap(), None).unwrap()));
        }
    }

    #[test]
    fn entries_start_this_program() {
        let call = Invocation {
            program: "/home/é x/it's/iaid".into(),
            socket: Some("/run/a b.sock".into()),
            store: Some("/srv/m".into()),
        };
        let server = value(&ConfigEntry::Server(Assistant::ClaudeCode).enter("", &call).unwrap());
        let want =
            json!({"type": "stdio", "command": "/home/é x/it's/iaid", "args": ["--socket", "/run/a b.sock", "mcp"]});
        assert_eq!(server["mcpServers"]["iaid"], want);
        let hooks = value(&ConfigEntry::Hooks(Assistant::ClaudeCode).enter("", &call).unwrap());
        let want = r"'/home/é x/it'\''s/iaid' --socket '/run/a b.sock' hook stop --store /srv/m";
        assert_eq!(hooks["hooks"]["Stop"], json!([{"hooks": [{"type": "command", "command": want, "timeout": 10}]}]));
        assert_eq!(
            words(want),
            ["/home/é x/it's/iaid", "--socket", "/run/a b.sock", "hook", "stop", "--store", "/srv/m"]
        );
        assert_eq!(hooks["hooks"].as_object().unwrap().len(), 4);
        let toml = ConfigEntry::Server(Assistant::Codex).enter("", &call).unwrap();
        for (entry, text) in [
            (ConfigEntry::Server(Assistant::ClaudeCode), server.to_string()),
            (ConfigEntry::Server(Assistant::Codex), toml.clone()),
        ] {
            let found = entry.commands(&text).unwrap();
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(words(&found[0].1), ["/home/é x/it's/iaid"], "{text}");
            assert_eq!(entry.commands(""), Ok(Vec::new()));
        }
        let found = ConfigEntry::Hooks(Assistant::ClaudeCode).commands(&hooks.to_string()).unwrap();
        assert!(found.contains(&("Stop".into(), want.into())) && found.len() == 4, "{found:?}");
        assert!(
            toml.contains("\ncommand = \"/home/é x/it's/iaid\"\nargs = [\"--socket\",\"/run/a b.sock\",\"mcp\"]\n"),
            "{toml}"
        );
    }

    #[test]
    fn hooks_of_other_programs_are_kept() {
        let mine = |c: &str| json!({"type": "command", "command": c});
        let text = json!({"hooks": {"Stop": [
            {"hooks": [mine("/usr/bin/notify"), mine("/old/iaid hook stop"), mine("iaid recall hook")]},
            {"matcher": "x", "hooks": [mine("'/o ld/iaid' --socket /s hook stop")]},
        ], "SessionStart": "odd"}})
        .to_string();
        let left = value(&ConfigEntry::Hooks(Assistant::ClaudeCode).remove(&text, None).unwrap());
        let want =
            json!({"Stop": [{"hooks": [mine("/usr/bin/notify"), mine("iaid recall hook")]}], "SessionStart": "odd"});
        assert_eq!(left["hooks"], want);
        assert!(
            ConfigEntry::Hooks(Assistant::ClaudeCode)
                .enter(&text, &call("/b/iaid"))
                .unwrap_err()
                .contains("\"SessionStart\" is not an array")
        );
    }

    #[test]
    fn files_that_are_not_understood_are_refused_with_a_reason() {
        for (entry, text, part) in [
            (ConfigEntry::Server(Assistant::ClaudeCode), "// a comment", "not JSON"),
            (ConfigEntry::Server(Assistant::ClaudeCode), "{\"mcpServers\":[]}", "\"mcpServers\" is not an object"),
            (ConfigEntry::Hooks(Assistant::ClaudeCode), "[]", "not an object"),
            (ConfigEntry::Hooks(Assistant::ClaudeCode), "{\"hooks\":5}", "\"hooks\" is not an object"),
            (ConfigEntry::Server(Assistant::Codex), "[mcp_servers.iaid]\ncommand = \"x\"\n", "did not write"),
        ] {
            let error = entry.enter(text, &call("/b/iaid")).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
