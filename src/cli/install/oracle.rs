//! Tests of the edits of settings files against independent parsers: the crates toml and serde_json.
//!
//! For each document: after install, the parser finds our entry and everything else as it was; after uninstall, the file
//! has its original bytes. A document that cannot be edited so is refused.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::change::FileChange;
use super::entries::ConfigEntry;
use super::invocation::Invocation;
use super::toml_document::TomlDocument;
use crate::cli::support::assistants::AssistantRules;
use crate::transcript::Assistant;

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
    let installed =
        round_trip(text, ConfigEntry::Server(Assistant::Codex)).unwrap_or_else(|why| panic!("{why}: {text}"));
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

/// Documents whose parts exercise the grammar and the rules on tables.
const TOML_DOCUMENTS: [&str; 30] = [
    "a = 1\nb.c = 2\nb.d.e = [1, 2, ]\n[b.f]\n[x]\n[x.y.z]\n[x.y]\n",
    "a = { b = 1, c.d = { e = [\n{ f = '' } ] }, }\n[a.b]\n",
    "[[a]]\nb = 1\n[a.c]\nd = 2\n[[a]]\n[a.c]\n[[a.e]]\nf = 1\n",
    "[a.b]\nc = 1\n[a]\nb.d = 2\n",
    "[a.b.c]\nz = 9\n[a]\nb.c.t = 1\n",
    "a.b = 1\n[a.c]\nd = 1\n[a]\n",
    "[a]\nb.c = 1\n[a.b]\n",
    "[a]\nb.c = 1\n[a.b.d]\n[a.b.e]\n",
    "[a]\n[a]\n",
    "[[a]]\n[a]\n",
    "a = []\n[[a]]\n",
    "a = 1\na.b = 2\n",
    "a = {}\na.b = 2\n",
    "a = { b = 1, b = 2 }\n",
    "a = { b.c = 1, b.d = 2, b.c.e = 3 }\n",
    "\"a\\u00e9\\n\\x41\\e\" . 'b c'.-_0 = \"\\t\\\"\\\\\" # c\n",
    "a = \"\"\"\nb \"\" c\\\n   d\"\"\"\"\"\nb = '''\n\\'''''\nc = 'x\\'\n",
    "a = \"\"\"x\\ \n y\\  z\"\"\"\n",
    "a = +1_000\nb = -0\nc = 0x_f\nd = 0xFf\ne = 0o17\nf = 0b1_0\ng = 01\nh = 1__0\n",
    "a = 9223372036854775807\nb = 9223372036854775808\nc = 0x8000000000000000\n",
    "a = 1.0\nb = 1e5\nc = -1.5E-3_0\nd = 1.\ne = .5\nf = +inf\ng = -nan\nh = 1e400\ni = 0e0\n",
    "a = true\nb = false\nc = True\n",
    "a = 2026-02-29\nb = 2024-02-29T24:00:00\n",
    "a = 2026-11-29T16:21:28.919Z\nb = 2026-11-29 16:21:28+01:30\nc = 2026-11-29t16:21\nd = 16:21:28.5\ne = 07:32\n",
    "a = 2026-11-29 # not a time\nb = [2026-11-29 , 1]\n",
    "a = \r\nb = 1\r\n\tc = 2 \r\n\r\n# x\r\n",
    "a = 1 b = 2\n[c] d = 3\n[e]# f\n",
    "= 1\na\n[]\n[a.]\n[ a . b ]\n[[ a ]]\n[[a] ]\na.b. = 1\n",
    "a = [ # x\n1 # y\n, 2\n]\nb = [1 2]\nc = [,]\n",
    "\u{feff}a = 1\n# \u{7f}\nb = '\u{1}'\n",
];

/// Checks that a document is accepted if and only if the crate accepts it.
fn check_acceptance(text: &str) {
    let theirs = toml::from_str::<toml::Table>(text);
    let ours = TomlDocument::read(text).map(drop);
    assert_eq!(ours.is_ok(), theirs.is_ok(), "{text:?}: {ours:?}, {:?}", theirs.err().map(|error| error.to_string()));
}

#[test]
fn toml_documents_are_accepted_as_the_crate_accepts_them() {
    for document in TOML_DOCUMENTS {
        check_acceptance(document);
        // Each part for itself, and each with the parts before it.
        for (at, _) in document.match_indices('\n') {
            check_acceptance(&document[..=at]);
            check_acceptance(document[..at].rsplit('\n').next().unwrap());
        }
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
        assert!(round_trip(text, ConfigEntry::Server(Assistant::Codex)).is_err(), "{text}");
    }
}

/// Checks a JSON document with the MCP server entry, if it can be edited.
fn check_server(text: &str) {
    let before: Value = serde_json::from_str(text).unwrap();
    let mut want = before.clone();
    let servers = want.as_object_mut().unwrap().entry("mcpServers").or_insert_with(|| json!({}));
    match (round_trip(text, ConfigEntry::Server(Assistant::ClaudeCode)), servers.as_object_mut()) {
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
        for (event, ours) in AssistantRules::of(Assistant::ClaudeCode).named_events() {
            let command = format!(r#"'/opt/it'\''s "é"\/iaid' --socket '/run/a b' hook {ours}"#);
            let handler = json!({"type": "command", "command": command, "timeout": 10});
            hooks.entry(event).or_insert_with(|| json!([])).as_array_mut()?.push(json!({"hooks": [handler]}));
        }
        Some(())
    })();
    match (round_trip(text, ConfigEntry::Hooks(Assistant::ClaudeCode)), groups) {
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
            prop_assert!(round_trip(&text, ConfigEntry::Server(Assistant::Codex)).is_err(), "{text}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mutated_toml_documents_are_accepted_as_the_crate_accepts_them(
        (one, other) in (0..TOML_DOCUMENTS.len(), 0..TOML_DOCUMENTS.len()),
        mutations in proptest::collection::vec((any::<prop::sample::Index>(), 0..3_usize, "[ab.='\"\\[\\]{},#\n\r\t0-9_eTZ:+ \\\\-]"), 0..4),
    ) {
        let mut text: Vec<char> = TOML_DOCUMENTS[one].chars().chain(TOML_DOCUMENTS[other].chars()).collect();
        for (at, kind, with) in mutations {
            let at = at.index(text.len() + 1);
            match kind {
                0 => text.truncate(at),
                1 => drop(text.splice(at..(at + 1).min(text.len()), [])),
                _ => text.insert(at, with.chars().next().unwrap()),
            }
        }
        // Lines are tried for themselves, because most documents have one that is refused.
        let text: String = text.into_iter().collect();
        check_acceptance(&text);
        for line in text.lines() {
            check_acceptance(line);
        }
    }
}
