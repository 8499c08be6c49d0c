//! The MCP server entry: `mcp_servers.iaid` in Codex's `config.toml`, `mcp.iaid` in opencode's settings, `mcpServers.iaid`
//! in those of the others. Pure.
//!
//! An entry is ours if it starts this program as `iaid install` or the manual says: `iaid [--socket PATH] mcp`. Another
//! entry of the same name is never changed. Of our entry only `command` and `args` are updated; what else the user or the
//! assistant has added to it stays until the entry is removed.

use serde_json::{Value, json};

use super::hook_entry::document;
use super::invocation::Invocation;
use super::json_edit::{EditError, JsonDocument};
use super::shell_words::{NAME, arguments};
use super::toml_document::{self, TomlDocument};
use super::toml_syntax::{StatementKind, TomlStatement, TomlValue, ValueKind};

use crate::sort;
use crate::transcript::Assistant;

const TOML_SERVERS: &str = "mcp_servers";
const TOML_ENTRY: [&str; 2] = [TOML_SERVERS, NAME];

/// First and last line of the region that the first release wrote the Codex entry into. They are removed.
const OLD_MARKS: [&str; 2] = ["# >>> written by iaid install; iaid uninstall removes it", "# <<< end of iaid"];

/// An MCP server entry of our name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerEntry {
    Ours {
        command: String,
        args: Vec<String>,
    },
    /// An entry that install did not write, with its command and address if they can be read.
    Foreign {
        command: Option<String>,
        url: Option<String>,
    },
}

impl ServerEntry {
    /// Returns the entry with these strings and arguments; `string` returns that of a key.
    fn new(string: impl Fn(&str) -> Option<String>, args: Option<Vec<String>>) -> ServerEntry {
        let is_stdio = string("type").is_none_or(|kind| kind == "stdio" || kind == "local");
        match (string("command"), args) {
            (Some(command), Some(args))
                if is_stdio && arguments(&command, &args).is_some_and(|args| args == ["mcp"]) =>
            {
                ServerEntry::Ours { command, args }
            }
            (command, _) => ServerEntry::Foreign { command, url: string("url") },
        }
    }

    /// Returns the command.
    pub(crate) fn into_command(self) -> Option<String> {
        match self {
            ServerEntry::Ours { command, .. } => Some(command),
            ServerEntry::Foreign { command, .. } => command,
        }
    }
}

/// Returns the message about an entry of our name that is not ours.
pub(crate) fn foreign(entry: &str, command: Option<&str>, url: Option<&str>) -> String {
    let runs = command.map(|command| format!(" (it runs {command})"));
    let what = runs.or_else(|| url.map(|url| format!(" (it is at {url})"))).unwrap_or_default();
    format!("it has an {entry} that iaid install did not write{what}")
}

/// Returns the message with which install refuses to replace such an entry.
fn refusal(entry: &str, command: Option<&str>, url: Option<&str>) -> String {
    format!("{}; rename or remove that entry, then install again", foreign(entry, command, url))
}

/// Returns the path of the entry in an assistant's settings, for messages.
pub(crate) fn name(assistant: Assistant) -> &'static str {
    match assistant {
        Assistant::Codex => "mcp_servers.iaid",
        Assistant::Opencode => "mcp.iaid",
        _ => "mcpServers.iaid",
    }
}

/// Returns the key of the servers in JSON settings.
fn json_servers(assistant: Assistant) -> &'static str {
    if assistant == Assistant::Opencode { "mcp" } else { "mcpServers" }
}

/// Returns the entry in JSON settings.
///
/// # Errors
/// [`EditError::NotJson`] if the text is not a JSON object.
pub(crate) fn in_json(text: &str, assistant: Assistant) -> Result<Option<ServerEntry>, EditError> {
    Ok(entry_in(&document(text, assistant)?, json_servers(assistant)))
}

fn entry_in(json: &JsonDocument, servers: &str) -> Option<ServerEntry> {
    json.at(&[servers, NAME])?;
    let member = |key: &str| json.at(&[servers, NAME, key]);
    // opencode has the arguments in the command.
    let command: Option<Vec<String>> = member("command").and_then(|text| serde_json::from_str(text).ok());
    let first = command.as_ref().and_then(|words| words.first().cloned());
    let string = |key: &str| match &first {
        Some(command) if key == "command" => Some(command.clone()),
        _ => member(key).and_then(|text| serde_json::from_str::<String>(text).ok()),
    };
    let args = match command {
        Some(words) => Some(words.into_iter().skip(1).collect()),
        None => member("args").and_then(|text| serde_json::from_str(text).ok()),
    };
    Some(ServerEntry::new(string, args))
}

/// Returns the text of JSON settings with our entry.
///
/// # Errors
/// A message if the text is not a JSON object, or has an entry of our name that is not ours.
pub(crate) fn enter_json(text: &str, assistant: Assistant, call: &Invocation) -> Result<String, String> {
    let mut json = document(text, assistant).map_err(|error| error.to_string())?;
    let servers = json_servers(assistant);
    let (program, arguments) = (call.command(), call.server_args());
    let mut words = vec![program.clone()];
    words.extend(arguments.iter().cloned());
    let mut edits: Vec<(Option<&str>, Value)> = Vec::new();
    match (entry_in(&json, servers), assistant) {
        (Some(ServerEntry::Foreign { command, url }), _) => {
            return Err(refusal(name(assistant), command.as_deref(), url.as_deref()));
        }
        // Only what differs is written, so that the entry keeps its form.
        (Some(ServerEntry::Ours { command, args }), Assistant::Opencode) => {
            if command != program || args != arguments {
                edits.push((Some("command"), words.into()));
            }
        }
        (Some(ServerEntry::Ours { command, args }), _) => {
            if command != program {
                edits.push((Some("command"), program.into()));
            }
            if args != arguments {
                edits.push((Some("args"), arguments.into()));
            }
        }
        (None, Assistant::Opencode) => {
            edits.push((None, json!({"type": "local", "command": words, "enabled": true})));
        }
        (None, Assistant::Copilot) => {
            edits.push((None, json!({"type": "local", "command": program, "args": arguments, "tools": ["*"]})));
        }
        (None, Assistant::ClaudeCode) => {
            edits.push((None, json!({"type": "stdio", "command": program, "args": arguments})));
        }
        (None, _) => edits.push((None, json!({"command": program, "args": arguments}))),
    }
    for (key, value) in edits {
        let path: Vec<&str> = [servers, NAME].into_iter().chain(key).collect();
        json.set(&path, &value).map_err(|error| error.to_string())?;
    }
    Ok(json.into_text())
}

/// Returns JSON settings without our entry, and without the object of servers if that becomes empty and `original`, the
/// file before our entry, has none.
///
/// # Errors
/// [`EditError::NotJson`] if the text is not a JSON object.
pub(crate) fn remove_json(
    text: &str,
    assistant: Assistant,
    original: Option<&JsonDocument>,
) -> Result<String, EditError> {
    let mut json = document(text, assistant)?;
    let servers = json_servers(assistant);
    let mut is_removed = false;
    // A key may be given twice.
    while let Some(ServerEntry::Ours { .. }) = entry_in(&json, servers) {
        json.remove(&[servers, NAME]);
        is_removed = true;
    }
    if is_removed && json.keys(&[servers]).is_empty() && original.is_none_or(|json| json.at(&[servers]).is_none()) {
        json.remove(&[servers]);
    }
    Ok(json.into_text())
}

/// Returns the entry in `config.toml`.
///
/// # Errors
/// A message if the text is not TOML.
pub(crate) fn in_toml(text: &str) -> Result<Option<ServerEntry>, String> {
    Ok(entry_of(&read_toml(text)?))
}

fn read_toml(text: &str) -> Result<TomlDocument, String> {
    TomlDocument::read(text).map_err(|error| format!("it is not TOML ({error})"))
}

fn entry_of(toml: &TomlDocument) -> Option<ServerEntry> {
    if !toml.defines(&TOML_ENTRY) {
        return None;
    }
    let member = |key: &str| toml.value(&[TOML_SERVERS, NAME, key]);
    let string = |key: &str| member(key).and_then(string_of);
    let args = match member("args").map(|value| &value.kind) {
        Some(ValueKind::Array(elements)) => elements.iter().map(string_of).collect(),
        _ => None,
    };
    Some(ServerEntry::new(string, args))
}

fn string_of(value: &TomlValue) -> Option<String> {
    match &value.kind {
        ValueKind::String(text) => Some(text.clone()),
        _ => None,
    }
}

/// Returns a string or an array of strings as TOML. It is that of JSON, but for one control character.
fn toml_text(value: &Value) -> String {
    value.to_string().replace('\u{7f}', "\\u007f")
}

/// Returns the text of `config.toml` with our entry.
///
/// # Errors
/// A message if the text is not TOML, has an entry of our name that is not ours, or has its servers in an inline table.
pub(crate) fn enter_toml(text: &str, call: &Invocation) -> Result<String, String> {
    let mut text = without_marks(text)?;
    let toml = read_toml(&text)?;
    let (command, args) = (toml_text(&call.command().into()), toml_text(&call.server_args().into()));
    match entry_of(&toml) {
        Some(ServerEntry::Foreign { command, url }) => {
            Err(refusal("mcp_servers.iaid", command.as_deref(), url.as_deref()))
        }
        Some(ServerEntry::Ours { command: there, args: there_args }) => {
            let mut edits = Vec::new();
            if there != call.command() {
                edits.push(("command", command));
            }
            if there_args != call.server_args() {
                edits.push(("args", args));
            }
            let mut edits: Vec<_> = edits
                .into_iter()
                .filter_map(|(key, new)| Some((toml.value(&[TOML_SERVERS, NAME, key])?.span.clone(), new)))
                .collect();
            sort::sort_by_key(&mut edits, |(span, _)| std::cmp::Reverse(span.start));
            for (span, new) in edits {
                text.replace_range(span, &new);
            }
            Ok(text)
        }
        None if !toml.is_open_table(&[TOML_SERVERS]) => Err(not_a_table(&toml, "a table can be added to it")),
        None => {
            let end = if text.contains("\r\n") { "\r\n" } else { "\n" };
            if !text.is_empty() && !text.ends_with('\n') {
                text.push_str(end);
            }
            Ok(text + &format!("[{TOML_SERVERS}.{NAME}]{end}command = {command}{end}args = {args}{end}"))
        }
    }
}

/// Returns the text of `config.toml` without our entry.
///
/// # Errors
/// A message if the text is not TOML, or has our entry in an inline table with others.
pub(crate) fn remove_toml(text: &str) -> Result<String, String> {
    let text = without_marks(text)?;
    let toml = read_toml(&text)?;
    let Some(ServerEntry::Ours { .. }) = entry_of(&toml) else { return Ok(text) };
    match toml.spans(&TOML_ENTRY) {
        spans if spans.is_empty() => Err(not_a_table(&toml, "the entry can be removed")),
        spans => Ok(toml_document::without(&text, &spans)),
    }
}

/// Returns the message about servers in a form that is not edited.
fn not_a_table(toml: &TomlDocument, until: &str) -> String {
    match toml.value(&[TOML_SERVERS]).map(|value| &value.kind) {
        Some(ValueKind::Table(members)) => {
            let first = members.iter().find_map(|member: &TomlStatement| match member.kind {
                StatementKind::Assignment(_) => member.key.first(),
                _ => None,
            });
            let name = first.map_or("NAME", String::as_str);
            format!("its mcp_servers is an inline table; write it as [mcp_servers.{name}] before {until}")
        }
        _ => "its mcp_servers is not a table".into(),
    }
}

/// Returns the text without the marks of the first release.
fn without_marks(text: &str) -> Result<String, String> {
    if !OLD_MARKS.iter().any(|mark| text.contains(mark)) {
        return Ok(text.to_owned());
    }
    let is_line = |start: usize| start == 0 || text[..start].ends_with('\n');
    let mut marks = read_toml(text)?.comments;
    marks.retain(|comment| is_line(comment.start) && OLD_MARKS.contains(&&text[comment.clone()]));
    Ok(toml_document::without(text, &marks))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAUDE: Assistant = Assistant::ClaudeCode;

    fn call(program: &str) -> Invocation {
        Invocation { program: program.into(), socket: None, store: None }
    }

    #[test]
    fn our_toml_entry_is_found_in_every_form_updated_and_removed() {
        for (text, updated, removed) in [
            // As Codex writes it, between other servers and settings.
            (
                "[mcp_servers.a]\ncommand = \"x\"\n\n[mcp_servers.iaid]\ncommand = \"/old/iaid\"\nargs = [\"mcp\"]\n\n[features]\ngoals = true\n",
                "[mcp_servers.a]\ncommand = \"x\"\n\n[mcp_servers.iaid]\ncommand = \"/b/iaid\"\nargs = [\"mcp\"]\n\n[features]\ngoals = true\n",
                "[mcp_servers.a]\ncommand = \"x\"\n\n\n[features]\ngoals = true\n",
            ),
            // By hand, with comments and settings of the user.
            (
                "[mcp_servers . \"iaid\"] # memory\n# mine\nargs = [ 'mcp' ]\n  command = 'iaid' # found in PATH\ntool_timeout_sec = 5\n# last\n[mcp_servers.iaid.env]\nA = \"b\"\n# end",
                "[mcp_servers . \"iaid\"] # memory\n# mine\nargs = [ 'mcp' ]\n  command = \"/b/iaid\" # found in PATH\ntool_timeout_sec = 5\n# last\n[mcp_servers.iaid.env]\nA = \"b\"\n# end",
                "# memory\n# mine\n  # found in PATH\n# last\n# end",
            ),
            (
                "[\"mcp_\\u0073ervers\"]\niaid.command = \"iaid\"\nb.command = \"x\"\niaid.args = [\n  \"--socket\", \"/s\",\n  \"mcp\",\n]\n[z]\n",
                "[\"mcp_\\u0073ervers\"]\niaid.command = \"/b/iaid\"\nb.command = \"x\"\niaid.args = [\"mcp\"]\n[z]\n",
                "[\"mcp_\\u0073ervers\"]\nb.command = \"x\"\n[z]\n",
            ),
            (
                "mcp_servers.iaid = { args = [\"mcp\"], command = \"iaid\", enabled = true }\r\n[z]\r\n",
                "mcp_servers.iaid = { args = [\"mcp\"], command = \"/b/iaid\", enabled = true }\r\n[z]\r\n",
                "[z]\r\n",
            ),
            // Between marks of the first release, into which Codex has written, and which it has moved.
            (
                "a = 1\n# >>> written by iaid install; iaid uninstall removes it\n[mcp_servers.iaid]\ncommand = \"/old/iaid\"\nargs = [\"mcp\"]\n\n[features]\ngoals = true\n# <<< end of iaid\n[b]\n",
                "a = 1\n[mcp_servers.iaid]\ncommand = \"/b/iaid\"\nargs = [\"mcp\"]\n\n[features]\ngoals = true\n[b]\n",
                "a = 1\n\n[features]\ngoals = true\n[b]\n",
            ),
            (
                "# <<< end of iaid\n[mcp_servers.iaid]\ncommand = \"iaid\"\nargs = [\"mcp\"]\n[b]\nc = '''\n# <<< end of iaid\n'''\n",
                "[mcp_servers.iaid]\ncommand = \"/b/iaid\"\nargs = [\"mcp\"]\n[b]\nc = '''\n# <<< end of iaid\n'''\n",
                "[b]\nc = '''\n# <<< end of iaid\n'''\n",
            ),
        ] {
            assert_eq!(enter_toml(text, &call("/b/iaid")).as_deref(), Ok(updated));
            assert_eq!(enter_toml(updated, &call("/b/iaid")).as_deref(), Ok(updated));
            assert_eq!(remove_toml(text).as_deref(), Ok(removed), "{text}");
            assert_eq!(remove_toml(updated).as_deref(), Ok(removed), "{updated}");
        }
    }

    #[test]
    fn a_toml_entry_in_an_inline_table_of_servers_is_left_alone_with_a_sentence() {
        let current = "mcp_servers = { iaid = { command = \"/b/iaid\", args = [\"mcp\"] } }\n";
        assert_eq!(enter_toml(current, &call("/b/iaid")).as_deref(), Ok(current));
        assert_eq!(
            remove_toml("mcp_servers = { a.command = \"x\" }").as_deref(),
            Ok("mcp_servers = { a.command = \"x\" }")
        );
        for result in [
            remove_toml(current),
            remove_toml("mcp_servers = { iaid.command = \"iaid\", iaid.args = [\"mcp\"] }\n"),
            enter_toml("mcp_servers = { a = { command = \"x\" } }\n", &call("/b/iaid")),
            enter_toml("mcp_servers = {}\n", &call("/b/iaid")),
        ] {
            assert!(
                result.clone().unwrap_err().starts_with("its mcp_servers is an inline table; write it as [mcp_"),
                "{result:?}"
            );
        }
        for text in ["mcp_servers = 5\n", "[[mcp_servers]]\na = 1\n"] {
            assert_eq!(enter_toml(text, &call("/b/iaid")).unwrap_err(), "its mcp_servers is not a table");
        }
    }

    #[test]
    fn any_path_makes_a_valid_toml_entry() {
        let program = "/a \"b\" \\ \u{7f}\u{1}\té/iaid";
        let text = enter_toml("", &call(program)).unwrap();
        let want = ServerEntry::Ours { command: program.into(), args: vec!["mcp".into()] };
        assert_eq!(in_toml(&text), Ok(Some(want)));
    }

    #[test]
    fn an_entry_of_our_name_that_is_not_ours_is_kept() {
        for text in [
            "[mcp_servers.iaid]\ncommand = \"ssh\"\nargs = [\"far\", \"iaid\", \"mcp\"]\n",
            "[mcp_servers.iaid]\ncommand = \"iaid\"\nargs = [\"mcp\", \"--other\"]\n",
            "[mcp_servers.iaid]\ncommand = \"iaid\"\n",
            "[mcp_servers.iaid]\nurl = \"https://example.org/mcp\"\n",
            "[[mcp_servers.iaid]]\ncommand = \"iaid\"\n",
            "[mcp_servers.iaid.env]\nA = \"b\"\n",
            "mcp_servers.iaid = \"iaid mcp\"\n",
            "mcp_servers = { iaid = { command = \"ssh\" } }\n",
        ] {
            let error = enter_toml(text, &call("/b/iaid")).unwrap_err();
            assert!(error.starts_with("it has an mcp_servers.iaid that iaid install did not write"), "{text}: {error}");
            assert_eq!(remove_toml(text).as_deref(), Ok(text));
        }
        for entry in [
            r#"{"command":"ssh","args":["far","iaid","mcp"]}"#,
            r#"{"type":"http","url":"https://example.org/mcp","command":"iaid","args":["mcp"]}"#,
            r#"{"command":"iaid mcp"}"#,
            r#"{"command":"iaid","args":"mcp"}"#,
            r#"{"command":"\ud800","args":["mcp"]}"#,
            "null",
            "[]",
        ] {
            let text = format!(r#"{{"mcpServers":{{"iaid":{entry}}}}}"#);
            let error = enter_json(&text, CLAUDE, &call("/b/iaid")).unwrap_err();
            assert!(error.starts_with("it has an mcpServers.iaid that iaid install did not write"), "{text}: {error}");
            assert_eq!(remove_json(&text, CLAUDE, None), Ok(text));
        }
    }

    #[test]
    fn our_json_entry_is_updated_in_place_and_keeps_what_others_added() {
        // As `claude mcp add --scope user iaid -- iaid mcp` writes it.
        let text = "{\n  \"mcpServers\": {\n    \"iaid\": {\n      \"type\": \"stdio\",\n      \"command\": \"iaid\",\n      \"args\": [\n        \"mcp\"\n      ],\n      \"env\": {\"A\": \"\\ud83d\"}\n    }\n  },\n  \"\\ud83d\": 1.50\n}\n";
        let want = text.replace("\"iaid\",", "\"/b/iaid\",");
        assert_eq!(enter_json(text, CLAUDE, &call("/b/iaid")), Ok(want.clone()));
        assert_eq!(enter_json(&want, CLAUDE, &call("/b/iaid")), Ok(want.clone()));
        assert_eq!(remove_json(&want, CLAUDE, None).as_deref(), Ok("{\n  \"\\ud83d\": 1.50\n}\n"));
        let original = JsonDocument::read("{\"mcpServers\":{}}").unwrap();
        assert_eq!(
            remove_json(&want, CLAUDE, Some(&original)).as_deref(),
            Ok("{\n  \"mcpServers\": {},\n  \"\\ud83d\": 1.50\n}\n")
        );
        let twice =
            r#"{"mcpServers":{"iaid":{"command":"iaid","args":["mcp"]},"iaid":{"command":"/o/iaid","args":["mcp"]}}}"#;
        assert_eq!(remove_json(twice, CLAUDE, None).as_deref(), Ok("{}"));
    }
}
