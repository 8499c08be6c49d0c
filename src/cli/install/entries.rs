//! The entries in the assistants' settings: functions from text to text. Pure.
//!
//! Claude Code has its MCP servers in `.claude.json` (`mcpServers`) and its hooks in `settings.json`. Codex has its MCP
//! servers in `config.toml` (`[mcp_servers.NAME]`) and its hooks in `hooks.json`, in the same format. Everything else in
//! a file is kept; entries of an earlier `iaid install` are replaced.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::json_edit::{EditError, JsonDocument};
use super::toml_block;

/// Name of the MCP server entry.
const NAME: &str = "iaid";

/// Timeout of a hook, as entered in the settings, in seconds. The hook exits earlier by itself.
pub(crate) const HOOK_SECONDS: u32 = 10;

/// The names of the events: the assistants', and those of `iaid hook`.
pub(crate) const EVENTS: [(&str, &str); 3] =
    [("SessionStart", "session-start"), ("UserPromptSubmit", "user-prompt-submit"), ("Stop", "stop")];

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

/// An entry, by the kind of settings file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigEntry {
    /// The MCP server in `.claude.json`.
    ClaudeServer,
    /// The hooks in `settings.json` or Codex's `hooks.json`.
    Hooks,
    /// The MCP server in Codex's `config.toml`.
    CodexServer,
}

impl Invocation {
    fn args(&self, last: &[&str]) -> Vec<String> {
        let socket = self.socket.iter().flat_map(|path| ["--socket".to_owned(), lossless(path)]);
        socket.chain(last.iter().map(|arg| (*arg).to_owned())).collect()
    }

    /// Returns the shell command of a hook.
    fn hook(&self, event: &str) -> String {
        let store = self.store.iter().flat_map(|path| ["--store".to_owned(), lossless(path)]);
        let words = [lossless(&self.program)].into_iter().chain(self.args(&["hook", event])).chain(store);
        words.map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
    }
}

impl ConfigEntry {
    /// Returns the text of a file with the entry; the same text if it has the entry already.
    ///
    /// # Errors
    /// A message if the file is not understood, or has an entry of this name that we did not write.
    pub(crate) fn enter(self, text: &str, call: &Invocation) -> Result<String, String> {
        match self {
            ConfigEntry::ClaudeServer => enter_server(text, call).map_err(|error| error.to_string()),
            ConfigEntry::Hooks => enter_hooks(text, call).map_err(|error| error.to_string()),
            ConfigEntry::CodexServer => {
                if toml_block::mentions(&toml_block::without(text), "mcp_servers", NAME) {
                    return Err("it has an mcp_servers.iaid that iaid install did not write; remove that entry".into());
                }
                let args = json!(call.args(&["mcp"]));
                // A JSON string is a valid TOML string.
                let command = Value::from(lossless(&call.program));
                Ok(toml_block::with(text, &format!("[mcp_servers.{NAME}]\ncommand = {command}\nargs = {args}\n")))
            }
        }
    }

    /// Returns the text of a file without the entry.
    ///
    /// # Errors
    /// A message if the file is not understood.
    pub(crate) fn remove(self, text: &str) -> Result<String, String> {
        if text.trim().is_empty() {
            return Ok(text.to_owned());
        }
        match self {
            ConfigEntry::ClaudeServer => remove_server(text).map_err(|error| error.to_string()),
            ConfigEntry::Hooks => remove_hooks(text).map(JsonDocument::into_text).map_err(|error| error.to_string()),
            ConfigEntry::CodexServer => Ok(toml_block::without(text)),
        }
    }

    /// Returns our commands in a file as shell commands, each with its event (empty for a server).
    ///
    /// # Errors
    /// A message if the file is not understood.
    pub(crate) fn commands(self, text: &str) -> Result<Vec<(String, String)>, String> {
        let error = |error: EditError| error.to_string();
        match self {
            ConfigEntry::Hooks => Ok(hooks(&JsonDocument::read(text).map_err(error)?)),
            ConfigEntry::ClaudeServer => {
                let json = JsonDocument::read(text).map_err(error)?;
                let Some(server) = json.at(&["mcpServers", NAME]) else { return Ok(Vec::new()) };
                let server: Value = serde_json::from_str(server).unwrap_or_default();
                Ok(vec![(String::new(), server["command"].as_str().map(quoted).unwrap_or_default())])
            }
            ConfigEntry::CodexServer if !toml_block::mentions(text, "mcp_servers", NAME) => Ok(Vec::new()),
            ConfigEntry::CodexServer => {
                let command = toml_block::string(text, &["mcp_servers", NAME, "command"]);
                Ok(vec![(String::new(), command.map(|command| quoted(&command)).unwrap_or_default())])
            }
        }
    }

    /// Returns true if a file has no settings.
    pub(crate) fn is_empty(self, text: &str) -> bool {
        match self {
            ConfigEntry::ClaudeServer | ConfigEntry::Hooks => {
                JsonDocument::read(text).is_ok_and(|json| json.is_empty())
            }
            ConfigEntry::CodexServer => text.trim().is_empty(),
        }
    }
}

fn enter_server(text: &str, call: &Invocation) -> Result<String, EditError> {
    let mut json = JsonDocument::read(text)?;
    let server = json!({"type": "stdio", "command": lossless(&call.program), "args": call.args(&["mcp"])});
    let there = json.at(&["mcpServers", NAME]).and_then(|there| serde_json::from_str::<Value>(there).ok());
    // Keys that the user has added to the entry are kept.
    if there.is_some_and(|there| ["command", "args"].iter().all(|key| there[key] == server[key])) {
        return Ok(text.to_owned());
    }
    json.set(&["mcpServers", NAME], &server)?;
    Ok(json.into_text())
}

fn remove_server(text: &str) -> Result<String, EditError> {
    let mut json = JsonDocument::read(text)?;
    if json.at(&["mcpServers", NAME]).is_some() {
        json.remove(&["mcpServers", NAME]);
        if json.keys(&["mcpServers"]).is_empty() {
            json.remove(&["mcpServers"]);
        }
    }
    Ok(json.into_text())
}

fn enter_hooks(text: &str, call: &Invocation) -> Result<String, EditError> {
    let json = JsonDocument::read(text)?;
    let wanted: Vec<(&str, String)> = EVENTS.iter().map(|(theirs, ours)| (*theirs, call.hook(ours))).collect();
    let found = hooks(&json);
    let is_in = |(event, command): &(&str, String)| found.iter().any(|(e, c)| e == event && c == command);
    if found.len() == wanted.len() && wanted.iter().all(is_in) {
        return Ok(text.to_owned());
    }
    let mut json = if found.is_empty() { json } else { remove_hooks(text)? };
    for (event, command) in wanted {
        let handler = json!({"type": "command", "command": command, "timeout": HOOK_SECONDS});
        json.push(&["hooks", event], &json!({ "hooks": [handler] }))?;
    }
    Ok(json.into_text())
}

/// Returns event and command of each of our handlers.
fn hooks(json: &JsonDocument) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for event in json.keys(&["hooks"]) {
        for group in json.elements(&["hooks", &event]) {
            found.extend(commands(group).into_iter().filter(|c| is_ours(c)).map(|c| (event.clone(), c)));
        }
    }
    found
}

/// Removes our handlers, and the groups, events and `hooks` that become empty.
fn remove_hooks(text: &str) -> Result<JsonDocument, EditError> {
    let mut json = JsonDocument::read(text)?;
    for event in json.keys(&["hooks"]) {
        let path = ["hooks", event.as_str()];
        let groups: Vec<String> = json.elements(&path).into_iter().map(str::to_owned).collect();
        let mut is_changed = false;
        for (at, group) in groups.iter().enumerate().rev() {
            let commands = commands(group);
            let ours = commands.iter().filter(|command| is_ours(command)).count();
            if ours == 0 {
                continue;
            }
            is_changed = true;
            let mut left = JsonDocument::read(group)?;
            if ours == left.elements(&["hooks"]).len() {
                json.remove_element(&path, at);
                continue;
            }
            let handlers: Vec<String> = left.elements(&["hooks"]).into_iter().map(str::to_owned).collect();
            for (at, handler) in handlers.iter().enumerate().rev() {
                if command(handler).is_some_and(|command| is_ours(&command)) {
                    left.remove_element(&["hooks"], at);
                }
            }
            json.replace_element(&path, at, &left.into_text());
        }
        if is_changed && json.elements(&path).is_empty() {
            json.remove(&path);
            if json.keys(&["hooks"]).is_empty() {
                json.remove(&["hooks"]);
            }
        }
    }
    Ok(json)
}

/// Returns the commands of the handlers of a group.
fn commands(group: &str) -> Vec<String> {
    let Ok(group) = JsonDocument::read(group) else { return Vec::new() };
    group.elements(&["hooks"]).into_iter().filter_map(command).collect()
}

fn command(handler: &str) -> Option<String> {
    let handler = JsonDocument::read(handler).ok()?;
    handler.at(&["command"]).and_then(|value| serde_json::from_str(value).ok())
}

/// Returns true if the command runs a hook of this program, whatever its path.
fn is_ours(command: &str) -> bool {
    let mut words = words(command).into_iter();
    let program = words.next().map(PathBuf::from);
    let name = program.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let rest: Vec<String> = words.collect();
    let calls = rest.iter().position(|word| word == "hook").and_then(|at| rest.get(at + 1));
    name.is_some_and(|name| name == NAME || name.starts_with("iaid-"))
        && calls.is_some_and(|event| EVENTS.iter().any(|(_, ours)| ours == event))
}

/// Quotes a word for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%:,=".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Splits a command into words; the inverse of [`quoted`].
pub(crate) fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = command.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => word.extend(chars.next()),
            (None, ' ' | '\t') => words.push(std::mem::take(&mut word)),
            _ => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// Returns a path as text. Paths that are not UTF-8 have been refused before.
fn lossless(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            (ConfigEntry::ClaudeServer, servers),
            (ConfigEntry::ClaudeServer, "{\"a\":{\"b\":1}}"),
            (ConfigEntry::Hooks, hooks),
            (ConfigEntry::Hooks, "{\n  \"model\": \"opus\"\n}\n"),
            (ConfigEntry::CodexServer, "model = \"x\"\n\n[mcp_servers.other]\ncommand = \"y\"\n"),
        ] {
            let once = entry.enter(text, &call("/opt/iaid")).unwrap();
            assert_ne!(once, text);
            assert_eq!(entry.enter(&once, &call("/opt/iaid")).unwrap(), once);
            assert_eq!(entry.remove(&once).unwrap(), text);
            let moved = entry.enter(&once, &call("/a b/iaid")).unwrap();
            assert!(moved.contains("/a b/iaid") && !moved.contains("/opt/iaid"), "{moved}");
            assert_eq!(entry.remove(&moved).unwrap(), text);
            assert_eq!(entry.remove(text).unwrap(), text);
            assert!(entry.is_empty(&entry.remove(&entry.enter("", &call("/b/iaid")).unwrap()).unwrap()));
        }
    }

    #[test]
    fn entries_start_this_program() {
        let call = Invocation {
            program: "/home/é x/it's/iaid".into(),
            socket: Some("/run/a b.sock".into()),
            store: Some("/srv/m".into()),
        };
        let server = value(&ConfigEntry::ClaudeServer.enter("", &call).unwrap());
        let want =
            json!({"type": "stdio", "command": "/home/é x/it's/iaid", "args": ["--socket", "/run/a b.sock", "mcp"]});
        assert_eq!(server["mcpServers"]["iaid"], want);
        let hooks = value(&ConfigEntry::Hooks.enter("", &call).unwrap());
        let want = r"'/home/é x/it'\''s/iaid' --socket '/run/a b.sock' hook stop --store /srv/m";
        assert_eq!(hooks["hooks"]["Stop"], json!([{"hooks": [{"type": "command", "command": want, "timeout": 10}]}]));
        assert_eq!(
            words(want),
            ["/home/é x/it's/iaid", "--socket", "/run/a b.sock", "hook", "stop", "--store", "/srv/m"]
        );
        assert_eq!(hooks["hooks"].as_object().unwrap().len(), 3);
        let toml = ConfigEntry::CodexServer.enter("", &call).unwrap();
        for (entry, text) in [(ConfigEntry::ClaudeServer, server.to_string()), (ConfigEntry::CodexServer, toml.clone())]
        {
            let found = entry.commands(&text).unwrap();
            assert_eq!(found.len(), 1, "{text}");
            assert_eq!(words(&found[0].1), ["/home/é x/it's/iaid"], "{text}");
            assert_eq!(entry.commands(""), Ok(Vec::new()));
        }
        let found = ConfigEntry::Hooks.commands(&hooks.to_string()).unwrap();
        assert!(found.contains(&("Stop".into(), want.into())) && found.len() == 3, "{found:?}");
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
        let left = value(&ConfigEntry::Hooks.remove(&text).unwrap());
        let want =
            json!({"Stop": [{"hooks": [mine("/usr/bin/notify"), mine("iaid recall hook")]}], "SessionStart": "odd"});
        assert_eq!(left["hooks"], want);
        assert!(
            ConfigEntry::Hooks.enter(&text, &call("/b/iaid")).unwrap_err().contains("\"SessionStart\" is not an array")
        );
    }

    #[test]
    fn files_that_are_not_understood_are_refused_with_a_reason() {
        for (entry, text, part) in [
            (ConfigEntry::ClaudeServer, "// a comment", "not JSON"),
            (ConfigEntry::ClaudeServer, "{\"mcpServers\":[]}", "\"mcpServers\" is not an object"),
            (ConfigEntry::Hooks, "[]", "not an object"),
            (ConfigEntry::Hooks, "{\"hooks\":5}", "\"hooks\" is not an object"),
            (ConfigEntry::CodexServer, "[mcp_servers.iaid]\ncommand = \"x\"\n", "did not write"),
        ] {
            let error = entry.enter(text, &call("/b/iaid")).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
