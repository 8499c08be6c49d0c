//! Tests of the edits of settings files against independent parsers: the crates toml and serde_json.
//!
//! For each document: after install, the parser finds our entry and everything else as it was; after uninstall, the file
//! has its original bytes. A document that cannot be edited so is refused.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::change::FileChange;
use super::entries::{ConfigEntry, EVENTS, HOOK_SECONDS, Invocation};

fn call() -> Invocation {
    Invocation { program: "/opt/it's \"é\"\\/iaid".into(), socket: Some("/run/a b".into()), store: None }
}

/// Applies the change that adds the entry; returns the new text, or why the file is left alone.
fn install(path: &Path, entry: ConfigEntry) -> Result<String, String> {
    if let Some(change) = FileChange::enter(path, entry, &call())? {
        change.apply()?;
    }
    Ok(fs::read_to_string(path).unwrap())
}

/// Installs and uninstalls with this document; returns the text in between, or why it is left alone.
fn round_trip(text: &str, entry: ConfigEntry) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("settings");
    fs::write(&path, text).unwrap();
    let installed = install(&path, entry)?;
    assert_eq!(install(&path, entry).unwrap(), installed, "installing twice changes nothing");
    if let Some(change) = FileChange::remove(&path, entry).unwrap() {
        change.apply().unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "uninstall restores every byte");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no backup is left");
    Ok(installed)
}

fn server_args() -> Value {
    json!(["--socket", "/run/a b", "mcp"])
}

/// Checks a TOML document that can be edited.
fn check_toml(text: &str) {
    let installed = round_trip(text, ConfigEntry::CodexServer).unwrap_or_else(|why| panic!("{why}: {text}"));
    let parse = |text: &str| toml::from_str::<toml::Table>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let (before, mut after) = (parse(text), parse(&installed));
    let servers = after["mcp_servers"].as_table_mut().expect("a table of servers");
    let server = servers.remove("iaid").expect("our server");
    let want = json!({"command": call().program, "args": server_args()});
    assert_eq!(serde_json::to_value(server).unwrap(), want, "{installed}");
    if servers.is_empty() && !before.contains_key("mcp_servers") {
        after.remove("mcp_servers");
    }
    assert_eq!(after, before, "{installed}");
}

/// Returns true if a header `[mcp_servers.iaid]` may follow the document.
fn is_editable(document: &toml::Table) -> bool {
    match document.get("mcp_servers") {
        None => true,
        Some(toml::Value::Table(servers)) => !servers.contains_key("iaid"),
        Some(_) => false,
    }
}

#[test]
fn toml_documents_keep_everything_but_our_table() {
    for text in [
        "",
        "\n\n",
        "# only a comment",
        "model = \"m\"",
        "model = \"m\"\n",
        "model = \"m\"\r\n[a]\r\nb = 1\r\n",
        "[mcp_servers]\n",
        "[mcp_servers.other]\ncommand = \"iaid\"\n[mcp_servers.other.env]\nA = \"b\"\n",
        "mcp_servers.other.command = \"x\"\n[b]\nc = 1\n",
        "[mcp_servers]\nother = { command = \"x\", args = [\"mcp_servers.iaid\"] }\n",
        "[other]\nmcp_servers = { iaid = 1 }\niaid = 2\n",
        "[[list]]\na = 1\n[[list]]\na = 2\n[list.sub]\nb = 3\n",
        "text = \"\"\"\n[mcp_servers.iaid]\ncommand = \\\"x\\\"\n\"\"\"\n",
        "text = '''\n# >>> written by\n[mcp_servers.iaid]\n'''\n",
        "a = [\n  \"x\", # ]\n  [\"mcp_servers\", { iaid = \"[\" }],\n]\n[b]\n",
        "\"mcp_servers.iaid\" = 1\n'quoted # key' = \"é\"\n",
        "date = 2026-01-02T03:04:05.5Z\nfloat = 1e3\nhex = 0xff\n",
        "[a] # a comment\n\tb.c.\"d\" = true\n\n\n# the end",
    ] {
        check_toml(text);
    }
}

#[test]
fn toml_documents_with_another_entry_of_our_name_are_refused() {
    for text in [
        "[mcp_servers.iaid]\ncommand = \"x\"\n",
        "[mcp_servers.\"iaid\"]\ncommand = \"x\"\n",
        "[ mcp_servers . 'iaid' ]\n",
        "[mcp_servers.iaid.env]\nA = \"b\"\n",
        "[mcp_servers]\niaid = { command = \"x\" }\n",
        "mcp_servers.iaid.command = 'x'\n",
        "mcp_servers = {}\n",
        "mcp_servers = { other = { command = \"x\" } }\n",
        "[[mcp_servers]]\ncommand = \"x\"\n",
    ] {
        toml::from_str::<toml::Table>(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert!(round_trip(text, ConfigEntry::CodexServer).is_err(), "{text}");
    }
}

/// Checks a JSON document with the MCP server entry, if it can be edited.
fn check_server(text: &str) {
    let before: Value = serde_json::from_str(text).unwrap();
    let mut want = before.clone();
    let servers = want.as_object_mut().unwrap().entry("mcpServers").or_insert_with(|| json!({}));
    match (round_trip(text, ConfigEntry::ClaudeServer), servers.as_object_mut()) {
        (Ok(installed), Some(servers)) => {
            let server = json!({"type": "stdio", "command": call().program, "args": server_args()});
            servers.insert("iaid".into(), server);
            assert_eq!(serde_json::from_str::<Value>(&installed).unwrap(), want, "{installed}");
        }
        (Err(_), None) => {}
        (outcome, _) => panic!("{outcome:?}: {text}"),
    }
}

/// Checks a JSON document with the hooks, if it can be edited.
fn check_hooks(text: &str) {
    let before: Value = serde_json::from_str(text).unwrap();
    let mut want = before.clone();
    let groups = (|| {
        let hooks = want.as_object_mut()?.entry("hooks").or_insert_with(|| json!({})).as_object_mut()?;
        for (event, ours) in EVENTS {
            let command = format!(r#"'/opt/it'\''s "é"\/iaid' --socket '/run/a b' hook {ours}"#);
            let handler = json!({"type": "command", "command": command, "timeout": HOOK_SECONDS});
            hooks.entry(event).or_insert_with(|| json!([])).as_array_mut()?.push(json!({"hooks": [handler]}));
        }
        Some(())
    })();
    match (round_trip(text, ConfigEntry::Hooks), groups) {
        (Ok(installed), Some(())) => {
            assert_eq!(serde_json::from_str::<Value>(&installed).unwrap(), want, "{installed}");
        }
        (Err(_), None) => {}
        (outcome, _) => panic!("{outcome:?}: {text}"),
    }
}

#[test]
fn json_documents_keep_everything_but_our_entries() {
    for text in [
        "{}",
        "{ }\n",
        "\n{\n}\n\n",
        "{\"a\":1}",
        "{\"mcpServers\":{},\"hooks\":{}}",
        "{\"mcpServers\":{\"other\":{\"command\":\"iaid\"}},\"hooks\":{\"Stop\":[],\"Other\":[{}]}}\n",
        "{\n  \"mcpServers\": {\n    \"other\": {\"command\": \"x\"}\n  },\n  \"n\": 1.50e2\n}\n",
        "{\r\n\t\"hooks\": {\r\n\t\t\"Stop\": [\r\n\t\t\t{\"hooks\": [{\"type\": \"command\", \"command\": \"notify\"}]}\r\n\t\t]\r\n\t}\r\n}",
        "{\"hooks\": {\"Stop\": [ {\"hooks\": []} , {\"matcher\": \"x\"} ], \"SessionStart\": [\n]}}",
        "{\"brace\": \"}\\\"{[\", \"h\\u006foks\": {\"Stop\": [{}]}, \"mcpServer\\u0073\": {\"é\": {}}}",
        "{\"mcpServers\": 5, \"hooks\": []}",
        "{\"hooks\": {\"Stop\": null}}",
        "{\"hooks\": {\"UserPromptSubmit\": {}}, \"mcpServers\": null}",
    ] {
        check_server(text);
        check_hooks(text);
    }
}

/// Keys that matter to the edits, and others that need quotes or escapes.
fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("mcpServers".to_owned()),
        Just("hooks".to_owned()),
        Just("Stop".to_owned()),
        Just("SessionStart".to_owned()),
        Just("mcp_servers".to_owned()),
        Just("iaid".to_owned()),
        "[a-z]{1,4}",
        "[ .='#\\[\\]{}é]{1,4}",
    ]
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z ]{0,8}", "[\"'#\\\\=\\[\\]{},\n\té]{0,12}", Just("[mcp_servers.iaid]\n'''\"\"\"".to_owned())]
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        texts().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(keys(), inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn toml_values() -> impl Strategy<Value = toml::Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(toml::Value::from),
        any::<i64>().prop_map(toml::Value::from),
        texts().prop_map(toml::Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(toml::Value::Array),
            proptest::collection::btree_map(keys(), inner, 0..4)
                .prop_map(|members| toml::Value::Table(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_json_object_keeps_everything_but_our_entries(
        members in proptest::collection::btree_map(keys(), json_values(), 0..5),
        is_pretty in any::<bool>(),
    ) {
        let document = Value::Object(members.into_iter().collect());
        let text = if is_pretty { format!("{document:#}\n") } else { document.to_string() };
        // An entry of our name is ours and is replaced.
        if document["mcpServers"].get("iaid").is_none() {
            check_server(&text);
        }
        check_hooks(&text);
    }

    #[test]
    fn any_toml_document_keeps_everything_but_our_table(
        members in proptest::collection::btree_map(keys(), toml_values(), 0..5),
        is_pretty in any::<bool>(),
    ) {
        let document: toml::Table = members.into_iter().collect();
        let text = if is_pretty { toml::to_string_pretty(&document) } else { toml::to_string(&document) }.unwrap();
        if is_editable(&document) {
            check_toml(&text);
        } else {
            prop_assert!(round_trip(&text, ConfigEntry::CodexServer).is_err(), "{text}");
        }
    }
}
