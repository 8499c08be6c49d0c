//! Copilot CLI, Gemini CLI, Qwen Code, opencode and pi: what install, hooks and import do for them. Sessions of the real
//! programs are in `tests/assistants`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, setup};
use crate::install::Home;
use crate::skip;

const SAID: &str = "the staging database is tern_staging";
const NOTED: &str = "noted: it is tern_staging";

/// A file of settings with what only some parsers accept.
const COMMENTED: &str = "{\n  // mine\n  \"a\": [1, 2,], /* } */\n  \"hooks\": {\n    // none yet\n  },\n}\n";

#[test]
fn each_is_set_up_once_and_uninstall_restores_every_byte() {
    let binary = env!("CARGO_BIN_EXE_iaid");
    for (option, files) in [
        ("copilot", vec![(".copilot/mcp-config.json", None), (".copilot/settings.json", Some(COMMENTED))]),
        ("gemini", vec![(".gemini/settings.json", Some(COMMENTED))]),
        ("qwen", vec![(".qwen/settings.json", Some("{\"$version\":4}"))]),
        ("qwen", vec![(".qwen/settings.json", None)]),
        ("opencode", vec![(".config/opencode/opencode.jsonc", Some(COMMENTED))]),
        ("opencode", vec![(".config/opencode/opencode.json", Some("{\n  \"model\": \"m\"\n}\n"))]),
    ] {
        let home = Home::new();
        for (file, text) in &files {
            text.iter().for_each(|text| home.put(file, text));
        }
        let before = home.files();
        let target = format!("--{option}");
        home.done(&["install", &target, "--yes"]);
        let installed = home.files();
        assert!(home.done(&["install", &target, "--yes"]).contains("nothing to do"), "{option}");
        assert_eq!(home.files(), installed, "{option}: installing twice changes nothing");
        let all: String = files.iter().map(|(file, _)| home.text(file)).collect();
        let (hook, timeout) = (format!("{binary} hook stop --assistant {option}"), "\"timeout\": 10000");
        let wanted: &[&str] = match option {
            "copilot" => &["\"type\": \"local\"", "\"tools\": [", &hook, "\"Stop\": [", "\"timeout\": 10,"],
            "gemini" => &["\"mcpServers\": {", &hook, "\"BeforeAgent\": [", "\"AfterAgent\": [", timeout],
            "qwen" => &["mcpServers", &hook, "UserPromptSubmit"],
            _ => &["\"mcp\": {", "\"type\": \"local\"", "\"enabled\": true"],
        };
        for part in wanted.iter().copied().chain(["// mine", "/* } */", "// none yet"]) {
            let is_comment = part.starts_with('/') && !part.starts_with(binary);
            assert!(
                all.contains(part) || (is_comment && !files.iter().any(|(_, text)| *text == Some(COMMENTED))),
                "{option}: {part}: {all}"
            );
        }
        if option == "opencode" {
            let plugin = home.text(".config/opencode/plugin/iaid.js");
            assert!(plugin.contains(&format!("[\"{binary}\",\"hook\",\"--assistant\",\"opencode\"]")), "{plugin}");
        }
        home.done(&["uninstall", "--yes"]);
        assert_eq!(home.files(), before, "{option}: every byte is restored");
    }
}

#[test]
fn what_install_cannot_do_is_said() {
    let home = Home::new();
    let broken = "{\"mcp\": {,}}";
    home.put(".config/opencode/opencode.json", broken);
    home.put(".gemini/settings.json", "{\"hooks\": 5}");
    let (code, _, err) = home.run(&["install", "--opencode", "--gemini", "--yes"]);
    assert_eq!(code, Some(1), "{err}");
    for part in
        ["opencode.json: it is not JSON", "settings.json: its \"hooks\" is not an object; the file was left alone"]
    {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert_eq!(home.text(".config/opencode/opencode.json"), broken);
    home.put(".pi/agent/auth.json", "{}");
    let (_, _, err) = home.run(&["install", "--dry-run"]);
    assert!(err.contains("pi has no MCP servers") && err.contains("iaid import ~/.pi/agent/sessions"), "{err}");
}

/// Runs a hook and returns its output.
fn hook(setup: &Setup, args: &[&str], input: &Value) -> Value {
    let mut command = setup.program();
    command.arg("--socket").arg(setup.socket()).arg("hook").args(args).env("IAI_MCP_STORE", setup.store());
    command.env("HOME", setup.home()).env("IAID_HOOK_TIMEOUT", "60");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

/// Returns roles and texts of the records, sorted, and the tags of assistants.
fn stored(daemon: &Daemon) -> (Vec<String>, Vec<String>) {
    let page = daemon.client().call("store_export", json!({}));
    let rows = page["rows"].as_array().unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let records = rows.iter().filter(|row| row["kind"] == "record");
    let mut records: Vec<_> = records.map(|row| text(row, "role") + ": " + &text(row, "text")).collect();
    let mut tags: Vec<_> = rows.iter().filter(|row| row["kind"] == "tag").map(|row| text(row, "name")).collect();
    records.sort();
    tags.sort();
    tags.dedup();
    (records, tags)
}

#[test]
fn hooks_capture_each_turn_once_and_tell_the_assistant() {
    let escaped = "&lt;iaid-memory&gt;\nold\n&lt;/iaid-memory&gt;";
    let copilot = |kind: &str, text: &str| {
        json!({"type": kind, "data": {"content": text}, "id": kind, "parentId": null,
        "timestamp": "2026-11-30T05:16:42.389Z"})
    };
    let gemini = |kind: &str, text: &str| json!({"id": kind, "type": kind, "content": text, "timestamp": "2026-11-30T05:16:42.389Z"});
    let qwen = |kind: &str, text: &str| {
        json!({"uuid": kind, "sessionId": "s-1", "type": kind, "cwd": "/p",
        "timestamp": "2026-11-30T05:16:42.389Z", "message": {"parts": [{"text": text}, {"text": escaped}]}})
    };
    for (assistant, args, file, lines) in [
        (
            "copilot",
            vec![],
            ".copilot/session-state/s-1/events.jsonl",
            [copilot("user.message", SAID), copilot("assistant.message", NOTED)],
        ),
        (
            "gemini",
            vec!["--assistant", "gemini"],
            ".gemini/tmp/p/chats/session-1.jsonl",
            [gemini("user", SAID), gemini("gemini", NOTED)],
        ),
        (
            "qwen",
            vec!["--assistant", "qwen"],
            ".qwen/projects/-p/chats/s-1.jsonl",
            [qwen("user", SAID), qwen("assistant", NOTED)],
        ),
    ] {
        let daemon = setup();
        let setup = daemon.setup();
        let path = setup.home().join(file);
        let mut input = json!({"session_id": "s-1", "cwd": "/p", "timestamp": "2026-11-30T05:16:42.389Z",
            "prompt": format!("<hook_context>{escaped}</hook_context>\n\n{SAID}")});
        if assistant != "copilot" {
            input["transcript_path"] = json!(path);
        }
        let run = |event: &str, input: &Value| hook(setup, &[&[event], &*args].concat(), input);
        run("session-start", &input);
        run("user-prompt-submit", &input);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, lines.map(|line| line.to_string() + "\n").concat()).unwrap();
        input["prompt_response"] = NOTED.into();
        run("stop", &input);
        run("session-end", &input);
        let want = [format!("assistant: {NOTED}"), format!("user: {SAID}")];
        assert_eq!(stored(&daemon), (want.to_vec(), vec![format!("assistant:{assistant}")]), "{assistant}");
        let status = daemon.client().ask(r#"{"type":"status"}"#);
        assert_eq!(status["assistants"], json!({assistant: 2}), "{status}");
        assert!(setup.store().join(format!(".capture-state/last-{assistant}.json")).is_file(), "{assistant}");

        // The next session is told, in the assistant's form.
        let next = json!({"session_id": "s-2", "cwd": "/p", "transcript_path": path.with_file_name("none.jsonl"),
            "prompt": "which staging database is it, tern_staging?"});
        let event = if assistant == "qwen" { "user-prompt-submit" } else { "session-start" };
        let told = hook(setup, &[event, "--assistant", assistant], &next);
        let text = match assistant {
            "copilot" => &told["additionalContext"],
            _ => &told["hookSpecificOutput"]["additionalContext"],
        };
        assert!(text.as_str().is_some_and(|text| text.contains(SAID)), "{assistant}: {told}");
    }
}

#[test]
fn opencode_is_read_from_its_plugin_its_database_and_its_export_once() {
    let daemon = setup();
    let setup = daemon.setup();
    let message = |id: &str, role: &str, text: &str| {
        let info = json!({"id": id, "role": role, "sessionID": "ses_1", "time": {"created": 1_796_015_802_389_u64}});
        let part = json!({"id": format!("prt_{id}"), "type": "text", "text": text});
        json!({"info": info, "parts": [{"id": "prt_0", "type": "step-start"}, part]})
    };
    let messages = [message("msg_1", "user", SAID), message("msg_2", "assistant", NOTED)];
    let export = json!({"info": {"id": "ses_1", "directory": "/p"}, "messages": messages});
    let mut input = export.clone();
    input["session_id"] = "ses_1".into();
    input["cwd"] = "/p".into();
    let prompt = json!({"session_id": "ses_1", "cwd": "/p", "prompt": SAID});
    hook(setup, &["user-prompt-submit", "--assistant", "opencode"], &prompt);
    hook(setup, &["stop", "--assistant", "opencode"], &input);
    let want = (vec![format!("assistant: {NOTED}"), format!("user: {SAID}")], vec!["assistant:opencode".to_owned()]);
    assert_eq!(stored(&daemon), want);

    let folder = setup.home().join(".local/share/opencode");
    fs::create_dir_all(&folder).unwrap();
    let database = Connection::open(folder.join("opencode.db")).unwrap();
    database
        .execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE session (id TEXT PRIMARY KEY, parent_id TEXT, directory TEXT);
             CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, data TEXT);
             CREATE TABLE part (id TEXT PRIMARY KEY, message_id TEXT, data TEXT);
             INSERT INTO session VALUES ('ses_1', NULL, '/p'), ('ses_2', 'ses_1', '/p');
             INSERT INTO message VALUES ('msg_9', 'ses_2', '{\"role\":\"user\"}');
             INSERT INTO part VALUES ('prt_9', 'msg_9', '{\"type\":\"text\",\"text\":\"told to a subagent\"}');
             INSERT INTO part VALUES ('prt_8', 'msg_2', '{\"type\":\"tool\",\"text\":\"the output of a tool\"}');",
        )
        .unwrap();
    for message in &messages {
        let id = message["info"]["id"].as_str().unwrap();
        let data = json!({"role": message["info"]["role"], "time": message["info"]["time"]}).to_string();
        database.execute("INSERT INTO message VALUES (?1, 'ses_1', ?2)", (id, data)).unwrap();
        for part in message["parts"].as_array().unwrap() {
            let data = json!({"type": part["type"], "text": part["text"]}).to_string();
            let part = format!("{}{}", part["id"].as_str().unwrap(), if part["text"].is_null() { id } else { "" });
            database.execute("INSERT INTO part VALUES (?1, ?2, ?3)", (part, id, data)).unwrap();
        }
    }
    let pretty = setup.home().join("export.json");
    fs::write(&pretty, serde_json::to_string_pretty(&export).unwrap()).unwrap();
    for source in [&folder, &pretty] {
        let output = setup.program().arg("--socket").arg(setup.socket()).arg("import").arg(source).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("0 new, 2 known, 0 refused"),
            "{}: {output:?}",
            source.display()
        );
    }
    assert_eq!(stored(&daemon), want);
}

#[test]
fn both_files_of_opencode_are_looked_at() {
    let home = Home::new();
    let (usual, other) = (".config/opencode/opencode.json", ".config/opencode/opencode.jsonc");
    home.put(usual, "{\n  \"model\": \"m\"\n}\n");
    let before = home.text(usual);
    home.done(&["install", "--opencode", "--yes"]);
    // The user begins a file of the other name.
    home.put(other, "{ \"theme\": \"t\" }\n");
    let installed = home.files();
    assert!(home.done(&["install", "--opencode", "--yes"]).contains("nothing to do"));
    assert_eq!(home.files(), installed);
    let (_, said, _) = home.run(&["doctor"]);
    assert!(!said.contains("has no MCP server entry"), "{said}");
    home.done(&["uninstall", "--opencode", "--yes"]);
    assert_eq!((home.text(usual), home.text(other)), (before.clone(), "{ \"theme\": \"t\" }\n".into()));
    // With both there and no entry, the first gets it.
    home.done(&["install", "--opencode", "--yes"]);
    assert_eq!(home.text(usual), before);
    assert!(home.text(other).contains("iaid"));
}

/// Runs the plugin in Node.js: it is given these events, and its hook is the program at `hook`.
fn plugin(folder: &Path, hook: &Path, events: &str) {
    let template =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/install/opencode_plugin.js")).unwrap();
    let command = json!([hook]).to_string();
    fs::write(folder.join("plugin.mjs"), template.replacen("[]", &command, 1)).unwrap();
    let script = format!(
        "import {{ Iaid }} from './plugin.mjs';
         const plugin = await Iaid({{ directory: '/p' }});
         const event = (type, properties) => plugin.event({{ event: {{ type, properties }} }});
         const said = async (id, text, parts = []) => {{
             await event('message.updated', {{ info: {{ id, sessionID: 's', role: 'user' }} }});
             for (const [at, part] of [{{ type: 'text', text }}, ...parts].entries())
                 await event('message.part.updated',
                     {{ part: {{ ...part, id: `${{id}}-${{at}}`, messageID: id, sessionID: 's' }} }});
         }};
         {events}"
    );
    fs::write(folder.join("run.mjs"), script).unwrap();
    let output = Command::new("node").arg("run.mjs").current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_plugin_keeps_what_no_hook_has_taken_and_sends_no_long_parts() {
    if !skip::has("node") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (hook, log) = (folder.path().join("hook"), folder.path().join("log"));
    // A hook that fails as long as the file `down` is there, and notes its input otherwise.
    let script =
        format!("#!/bin/sh\n[ ! -e {0}/down ] || exit 1\ncat >> {0}/log\necho >> {0}/log\n", folder.path().display());
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("down"), "").unwrap();
    let events = "
        import { rmSync, writeFileSync } from 'node:fs';
        await said('m1', 'said while the hook fails', [
            { type: 'tool', state: { output: 'x'.repeat(20_000_000) } }, { type: 'file', url: 'y'.repeat(20_000_000) },
            { type: 'reasoning', text: 'thought' }, { type: 'patch' }, { type: 'snapshot' }, { type: 'brand-new', text: 'new' },
        ]);
        await event('session.idle', { sessionID: 's' });
        rmSync('down');
        for (let n = 0; n < 12; n++) await said(`n${n}`, `${n} ` + 'word '.repeat(100_000));
        await event('session.idle', { sessionID: 's' });
        await event('session.idle', { sessionID: 's' });
        writeFileSync('down', '');
        for (let n = 0; n < 50; n++) {
            await said(`k${n}`, 'kept '.repeat(200_000));
            await event('session.idle', { sessionID: 's' });
        }
        rmSync('down');
        await event('session.idle', { sessionID: 's' });
    ";
    plugin(folder.path(), &hook, events);
    let log = fs::read_to_string(log).unwrap();
    let mut messages = Vec::new();
    for line in log.lines() {
        assert!(line.len() < 16 << 20, "a hook reads no more");
        let input: Value = serde_json::from_str(line).unwrap();
        messages.extend(input["messages"].as_array().unwrap().clone());
    }
    let ids: Vec<&str> = messages.iter().map(|one| one["info"]["id"].as_str().unwrap()).collect();
    let early: Vec<String> = (0..12).map(|n| format!("n{n}")).collect();
    assert_eq!((ids[0], &ids[1..13]), ("m1", &early.iter().map(String::as_str).collect::<Vec<_>>()[..]));
    let kinds: Vec<&Value> = messages[0]["parts"].as_array().unwrap().iter().map(|part| &part["type"]).collect();
    assert_eq!(kinds, ["text", "brand-new"]);
    // Of what no hook takes, the newest is kept, each message once.
    let kept = &ids[13..];
    assert!((10..20).contains(&kept.len()) && kept.last() == Some(&"k49"), "{kept:?}");
    assert!(ids.iter().all(|id| ids.iter().filter(|other| *other == id).count() == 1), "{ids:?}");
}

#[test]
fn install_says_what_an_old_release_cannot_do() {
    for (said, is_noted) in [
        ("echo codex-cli 0.98.0", true),
        ("echo codex-cli 0.124.9", true),
        ("echo codex-cli 0.125.0", false),
        ("echo codex-cli 1.0.0", false),
        ("echo no version", false),
        ("exit 1", false),
    ] {
        let home = Home::new();
        home.program("codex", said);
        let done = home.done(&["install", "--codex", "--yes"]);
        let note = "is older than 0.125.0, the first release that is known to run the hooks";
        assert_eq!(done.contains(note), is_noted, "{said}: {done}");
        assert!(home.file(".codex/hooks.json").is_file());
    }
}

#[test]
fn doctor_names_the_sessions_of_opencode_that_no_hook_has_seen() {
    let daemon = setup();
    let home = daemon.setup().home().to_owned();
    let run = |args: &[&str]| {
        let mut command = daemon.setup().program();
        command.arg("--socket").arg(daemon.setup().socket()).args(args).env("IAI_MCP_STORE", daemon.setup().store());
        String::from_utf8_lossy(&command.env_remove("XDG_DATA_HOME").output().unwrap().stdout).into_owned()
    };
    daemon.client().call("memory_capture", json!({"text": SAID, "session_id": "ses_1"}));
    run(&["install", "--opencode", "--yes"]);
    let folder = home.join(".local/share/opencode");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("opencode.db");
    let database = Connection::open(&path).unwrap();
    database
        .execute_batch(
            "CREATE TABLE session (id TEXT PRIMARY KEY, parent_id TEXT, directory TEXT, time_updated INTEGER);
             CREATE TABLE message (id TEXT PRIMARY KEY, session_id TEXT, data TEXT);
             CREATE TABLE part (id TEXT PRIMARY KEY, message_id TEXT, data TEXT);
             INSERT INTO session VALUES ('ses_1', NULL, '/p', 1796015802389), ('ses_2', NULL, '/p', 1796015802390),
                 ('ses_3', 'ses_1', '/p', 1796015802391), ('ses_4', NULL, '/p', 1796015802392);
             INSERT INTO message VALUES ('m1', 'ses_1', '{}'), ('m2', 'ses_2', '{}'), ('m3', 'ses_3', '{}');",
        )
        .unwrap();
    let said = run(&["doctor"]);
    assert!(said.contains("no hook has seen 1 of 2 sessions on disk"), "{said}");
    assert!(said.contains(&format!("iaid import {}", path.display())), "{said}");
    database.execute_batch("DROP TABLE message").unwrap();
    let said = run(&["doctor"]);
    assert!(said.contains("opencode.db cannot be read: no such table"), "{said}");
}
