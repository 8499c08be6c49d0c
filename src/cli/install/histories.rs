//! Tests of histories: install and uninstall between edits by a writer like the assistant's, which parses a file and
//! writes it again (toml_edit, serde_json), and by hand. No step of ours may lose an edit.
//!
//! The histories are random with a fixed seed; a failure names its round and step.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use toml_edit::{DocumentMut, Item, Table, value};

use super::change::FileChange;
use super::entries::ConfigEntry;
use super::invocation::Invocation;
use crate::transcript::Assistant;

const ROUNDS: usize = 120;
const STEPS: usize = 24;

/// A generator of random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }
}

/// A settings file in a folder of its own.
struct Settings {
    _folder: tempfile::TempDir,
    path: PathBuf,
    entry: ConfigEntry,
}

impl Settings {
    fn new(text: Option<&str>, entry: ConfigEntry) -> Settings {
        // In memory where possible: each change is synced.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let path = folder.path().join("settings");
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        Settings { _folder: folder, path, entry }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    fn install(&self, program: &str) {
        let call = Invocation { program: program.into(), socket: None, store: None };
        let change = FileChange::enter(&self.path, self.entry, &call);
        self.apply(change);
        let again = FileChange::enter(&self.path, self.entry, &call);
        assert_eq!(again, Ok(None), "installing twice changes nothing");
    }

    fn uninstall(&self) {
        let change = FileChange::remove(&self.path, self.entry);
        self.apply(change);
        assert_eq!(FileChange::remove(&self.path, self.entry), Ok(None), "nothing is left to remove");
        let mut backup = self.path.clone().into_os_string();
        backup.push(".iaid-backup");
        assert!(!Path::new(&backup).exists(), "no backup is left");
    }

    fn apply(&self, change: Result<Option<FileChange>, String>) {
        match change {
            Ok(Some(change)) => change.apply().unwrap(),
            Ok(None) => {}
            Err(why) => panic!("{why}: {}", self.text()),
        }
    }
}

/// Returns the lines of a TOML file without those of our entry.
fn lines_of_others(text: &str) -> Vec<String> {
    let is_ours = |line: &str| {
        line == "[mcp_servers.iaid]"
            || line.starts_with("command = \"/opt/iaid")
            || line == "args = [\"mcp\"]"
            || line.starts_with("# >>> written by iaid install;")
            || line == "# <<< end of iaid"
    };
    text.lines().filter(|line| !is_ours(line)).map(str::to_owned).collect()
}

/// Returns a TOML file's values without our entry, and our entry.
fn values(text: &str) -> (toml::Table, Option<toml::Value>) {
    let mut table: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let Some(toml::Value::Table(servers)) = table.get_mut("mcp_servers") else { return (table, None) };
    let ours = servers.remove("iaid");
    if servers.is_empty() {
        table.remove("mcp_servers");
    }
    (table, ours)
}

/// Edits a TOML file as Codex or a person does.
fn edit_toml(text: &str, random: &mut Random, step: usize) -> String {
    match random.below(13) {
        0 => return format!("# top {step}\n{text}"),
        1 => {
            return format!("{text}{}# note {step}\n", if text.is_empty() || text.ends_with('\n') { "" } else { "\n" });
        }
        2 => return format!("{}\n[hand{step}]\nargs = [\n  \"mcp\", # {step}\n]\n", text.trim_end()),
        3 => return text.trim_end().to_owned(),
        _ => {}
    }
    let mut document: DocumentMut = text.parse().unwrap_or_else(|error| panic!("{error}: {text}"));
    let servers = |document: &mut DocumentMut| {
        let servers = document.entry("mcp_servers").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        servers.as_table_mut().unwrap().clone()
    };
    match random.below(9) {
        0 => document["model"] = value(format!("m{step}")),
        1 => document["features"]["goals"] = value(step.is_multiple_of(2)),
        2 | 3 => {
            // Codex rewrites all servers.
            let mut all = Table::new();
            all.set_implicit(true);
            for (name, server) in servers(&mut document).iter() {
                let mut table = Table::new();
                for (key, item) in server.as_table_like().unwrap().iter() {
                    let text = item.to_string();
                    let again = format!("x = {}", text.trim()).parse::<DocumentMut>();
                    table[key] = again.map_or_else(|_| item.clone(), |document| document["x"].clone());
                }
                all[name] = Item::Table(table);
            }
            let mut other = Table::new();
            other["command"] = value("/bin/true");
            other["args"] = value(toml_edit::Array::from_iter(["a", "b"]));
            all[&format!("other{}", random.below(4))] = Item::Table(other);
            document["mcp_servers"] = Item::Table(all);
        }
        4 => {
            let mut all = servers(&mut document);
            all.remove(&format!("other{}", random.below(4)));
            document["mcp_servers"] = Item::Table(all);
        }
        5 => {
            let key = format!("/h/.codex/hooks.json:stop:{}:0", random.below(3));
            document["hooks"]["state"][&key]["trusted_hash"] = value(format!("sha256:{step}"));
        }
        6 => document["projects"][&format!("/p {}", random.below(3))]["trust_level"] = value("trusted"),
        7 => {
            // "Always allow" for a tool of a server.
            let mut all = servers(&mut document);
            if let Some(Item::Table(ours)) = all.get_mut("iaid") {
                ours["tools"]["memory_recall"]["approval_mode"] = value("approve");
                document["mcp_servers"] = Item::Table(all);
            }
        }
        _ => {
            let mut all = servers(&mut document);
            all.remove("iaid");
            document["mcp_servers"] = Item::Table(all);
        }
    }
    document.to_string()
}

#[test]
fn no_edit_of_a_toml_file_is_lost() {
    let marked = "model = \"m\"\n# >>> written by iaid install; iaid uninstall removes it\n[mcp_servers.iaid]\n\
                  command = \"/opt/iaid-0\"\nargs = [\"mcp\"]\n# <<< end of iaid\n";
    let beginnings = [
        None,
        Some(""),
        Some("model = \"m\""),
        Some(
            "# a file\n\n[mcp_servers.other1]\ncommand = \"x\" # why\n\n[mcp_servers.other1.env]\nA = \"b\"\n\n# end\n",
        ),
        Some("[mcp_servers]\nother2.command = \"y\"\n[a]\nb = '''\n[mcp_servers.iaid]\n'''\n"),
        Some(marked),
    ];
    let mut random = Random(1);
    for round in 0..ROUNDS {
        let settings = Settings::new(beginnings[round % beginnings.len()], ConfigEntry::Server(Assistant::Codex));
        for step in 0..STEPS {
            let before = settings.text();
            let at = || format!("round {round}, step {step}:\n{before}\n--->\n{}", settings.text());
            match random.below(4) {
                0 => {
                    let program = ["/opt/iaid", "/opt/iaid-2"][random.below(2)];
                    let (others, ours) = values(&before);
                    settings.install(program);
                    let (others_now, ours_now) = values(&settings.text());
                    assert_eq!(others_now, others, "{}", at());
                    assert_eq!(lines_of_others(&settings.text()), lines_of_others(&before), "{}", at());
                    let mut want = ours.and_then(|ours| ours.as_table().cloned()).unwrap_or_default();
                    want.insert("command".into(), program.into());
                    want.insert("args".into(), toml::Value::Array(vec!["mcp".into()]));
                    assert_eq!(ours_now, Some(want.into()), "{}", at());
                }
                1 => {
                    let (others, ours) = values(&before);
                    let has_tools = ours.is_some_and(|ours| ours.get("tools").is_some());
                    settings.uninstall();
                    assert_eq!(values(&settings.text()), (others, None), "{}", at());
                    if !has_tools {
                        assert_eq!(lines_of_others(&settings.text()), lines_of_others(&before), "{}", at());
                    }
                }
                _ => fs::write(&settings.path, edit_toml(&before, &mut random, step)).unwrap(),
            }
        }
    }
}

/// Edits the settings as an assistant or a person does. Applied to the file and to the settings of the others alone.
fn edit_json(settings: &mut Value, kind: usize, step: usize) {
    let root = settings.as_object_mut().unwrap();
    let handler = |name: &str| json!({"hooks": [{"type": "command", "command": format!("{name} {step}")}]});
    match kind {
        0 => drop(root.insert("n".into(), json!(step))),
        1 => drop(root.insert("text".into(), json!("\"}{[ iaid hook stop"))),
        2 | 3 => {
            let servers = root.entry("mcpServers").or_insert_with(|| json!({}));
            servers[format!("other{}", step % 3)] = json!({"command": "x", "args": ["mcp", step]});
        }
        4 => {
            if let Some(servers) = root.get_mut("mcpServers") {
                servers.as_object_mut().unwrap().remove(&format!("other{}", step % 3));
            }
        }
        5 | 6 => {
            let event = ["Stop", "SessionStart", "PreToolUse"][step % 3];
            let groups = &mut root.entry("hooks").or_insert_with(|| json!({}))[event];
            if groups.is_null() {
                *groups = json!([]);
            }
            let groups = groups.as_array_mut().unwrap();
            groups.insert(if kind == 5 { 0 } else { groups.len() }, handler("notify"));
        }
        7 => {
            for groups in root.get_mut("hooks").and_then(Value::as_object_mut).into_iter().flatten() {
                let is_kept = |group: &Value| !group["hooks"][0]["command"].as_str().unwrap().starts_with("notify");
                groups.1.as_array_mut().unwrap().retain(is_kept);
            }
        }
        8 => drop(root.remove("hooks")),
        9 => drop(root.remove("mcpServers")),
        10 => {
            let projects = root.entry("projects").or_insert_with(|| json!({}));
            projects[format!("/p/{step}")] = json!({"mcpServers": {"iaid": {"command": "ssh"}}, "history": []});
        }
        _ => {
            for groups in root.get_mut("hooks").and_then(Value::as_object_mut).into_iter().flatten() {
                for group in groups.1.as_array_mut().unwrap() {
                    group["hooks"][0]["timeout"] = json!(30);
                }
            }
        }
    }
}

/// Returns settings without our entries and without the containers that are empty.
fn others(settings: &Value) -> Value {
    let mut left = settings.clone();
    let root = left.as_object_mut().unwrap();
    if let Some(servers) = root.get_mut("mcpServers").and_then(Value::as_object_mut) {
        servers.remove("iaid");
    }
    if let Some(hooks) = root.get_mut("hooks").and_then(Value::as_object_mut) {
        for (_, groups) in hooks.iter_mut() {
            let is_ours = |group: &Value| group["hooks"][0]["command"].as_str().unwrap().starts_with("/opt/iaid");
            groups.as_array_mut().unwrap().retain(|group| !is_ours(group));
        }
        hooks.retain(|_, groups| !groups.as_array().unwrap().is_empty());
    }
    root.retain(|key, value| !matches!(&**key, "mcpServers" | "hooks") || !value.as_object().unwrap().is_empty());
    left
}

fn parsed(text: &str) -> Value {
    if text.trim().is_empty() {
        return json!({});
    }
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Returns the commands of our entries.
fn our_commands(settings: &Value, entry: ConfigEntry) -> Vec<String> {
    let found = entry.commands(&settings.to_string()).unwrap();
    found.into_iter().map(|(event, command)| format!("{event} {command}")).collect()
}

#[test]
fn no_edit_of_a_json_file_is_lost() {
    let beginnings = [
        None,
        Some("{}"),
        Some("{\"hooks\":{\"Stop\":[]},\"mcpServers\":{}}"),
        Some(
            "{\n  \"a\": 1.50,\n  \"hooks\": {\n    \"Stop\": [\n      {\"hooks\": [{\"type\": \"command\", \"command\": \"notify\"}]}\n    ]\n  }\n}\n",
        ),
    ];
    let mut random = Random(2);
    for round in 0..ROUNDS {
        let entry = [ConfigEntry::Server(Assistant::ClaudeCode), ConfigEntry::Hooks(Assistant::ClaudeCode)][round % 2];
        let settings = Settings::new(beginnings[round / 2 % beginnings.len()], entry);
        let mut model = parsed(&settings.text());
        for step in 0..STEPS {
            let before = settings.text();
            let at = || format!("round {round}, step {step}:\n{before}\n--->\n{}", settings.text());
            match random.below(4) {
                0 => {
                    let program = ["/opt/iaid", "/opt/iaid-2"][random.below(2)];
                    settings.install(program);
                    let now = parsed(&settings.text());
                    let commands = our_commands(&now, entry);
                    assert_eq!(
                        commands.len(),
                        if entry == ConfigEntry::Hooks(Assistant::ClaudeCode) { 4 } else { 1 },
                        "{}",
                        at()
                    );
                    assert!(commands.iter().all(|command| command.contains(program)), "{}", at());
                    let was_slow = before.contains("\"timeout\":30") || before.contains("\"timeout\": 30");
                    assert!(!was_slow || settings.text().contains("30"), "the timeout stays: {}", at());
                }
                1 => {
                    settings.uninstall();
                    assert_eq!(our_commands(&parsed(&settings.text()), entry), [""; 0], "{}", at());
                }
                _ => {
                    let (kind, mut file) = (random.below(12), parsed(&before));
                    edit_json(&mut file, kind, step);
                    edit_json(&mut model, kind, step);
                    let text = if random.below(2) == 0 { format!("{file:#}\n") } else { file.to_string() };
                    fs::write(&settings.path, text).unwrap();
                }
            }
            assert_eq!(others(&parsed(&settings.text())), others(&model), "{}", at());
        }
    }
}
