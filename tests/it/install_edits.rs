//! What `iaid install` and `iaid uninstall` do with settings that others have written: entries of our name, files that
//! are no files, owners, and edits between the two commands.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::setup;
use crate::install::Home;
use crate::skip::has_root;

#[test]
fn entries_of_our_name_that_are_not_ours_are_kept_and_named() {
    let home = Home::new();
    let claude = r#"{"mcpServers":{"iaid":{"command":"ssh","args":["far","iaid","mcp"]}}}"#;
    let codex = "[mcp_servers.\"iaid\"]\nurl = \"https://example.org\"\n";
    let hooks = r#"{"hooks":{"Stop":[{"hooks":[{"type":"command","command":"iaid hook stop || true"}]}]}}"#;
    home.put(".claude.json", claude);
    home.put(".claude/settings.json", hooks);
    home.put(".codex/config.toml", codex);
    let (code, _, err) = home.run(&["install", "--claude-code", "--codex", "--yes"]);
    assert_eq!(code, Some(1));
    for part in [
        ".claude.json: it has an mcpServers.iaid that iaid install did not write (it runs ssh); rename or remove that",
        "config.toml: it has an mcp_servers.iaid that iaid install did not write (it is at https://example.org)",
        "settings.json: it has a hook that iaid install did not write (iaid hook stop || true); it is kept",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert_eq!((home.text(".claude.json"), home.text(".codex/config.toml")), (claude.into(), codex.into()));
    let stop = &home.json(".claude/settings.json")["hooks"]["Stop"];
    assert_eq!(stop.as_array().unwrap().len(), 1, "no second hook runs at the same event: {stop}");

    let said = home.done(&["uninstall", "--claude-code", "--codex", "--yes"]);
    assert!(said.contains("it runs ssh") && said.contains("it is kept"), "{said}");
    assert_eq!((home.text(".claude.json"), home.text(".codex/config.toml")), (claude.into(), codex.into()));
    assert_eq!(home.text(".claude/settings.json"), hooks);
}

#[test]
fn entries_made_by_hand_as_the_manual_says_are_ours() {
    let home = Home::new();
    home.put(".claude.json", r#"{"mcpServers": {"iaid": {"command": "iaid", "args": ["mcp"]}}}"#);
    home.put(".codex/config.toml", "[mcp_servers.iaid]\ncommand = \"iaid\"\nargs = [\"mcp\"]\n");
    home.done(&["install", "--claude-code", "--codex", "--yes"]);
    let binary = env!("CARGO_BIN_EXE_iaid");
    let server = json!({"command": binary, "args": ["mcp"]});
    assert_eq!(home.json(".claude.json")["mcpServers"]["iaid"], server);
    let toml = format!("[mcp_servers.iaid]\ncommand = \"{binary}\"\nargs = [\"mcp\"]\n");
    assert_eq!(home.text(".codex/config.toml"), toml);
    home.done(&["uninstall", "--claude-code", "--codex", "--yes"]);
    assert_eq!(home.files().len(), 0);
}

#[test]
fn what_codex_writes_between_install_and_uninstall_stays() {
    let before = "model = \"m\"\n\n[mcp_servers.a]\ncommand = \"x\"";
    let home = Home::new();
    home.put(".codex/config.toml", before);
    home.done(&["install", "--codex", "--yes"]);
    // `codex features enable` adds a table, `codex mcp add` writes the servers anew.
    let installed = home.text(".codex/config.toml");
    let (head, ours) = installed.split_once("[mcp_servers.iaid]").unwrap();
    let other = "\n[mcp_servers.other]\ncommand = \"/bin/true\"\n";
    home.put(".codex/config.toml", &format!("{head}\n[mcp_servers.iaid]{ours}{other}\n[features]\ngoals = true\n"));
    home.done(&["uninstall", "--codex", "--yes"]);
    assert_eq!(home.text(".codex/config.toml"), format!("{before}\n\n{other}\n[features]\ngoals = true\n"));
    assert_eq!(home.files().len(), 1, "no backup is left");
}

#[test]
fn files_of_the_first_release_are_cleaned_without_harm() {
    let marked = |inside: &str| {
        format!(
            "a = 1\n# >>> written by iaid install; iaid uninstall removes it\n{inside}# <<< end of iaid\n[b]\nc = 2\n"
        )
    };
    let entry = "[mcp_servers.iaid]\ncommand = \"/gone/iaid\"\nargs = [\"mcp\"]\n";
    let theirs = "\n[features]\ngoals = true\n";
    for (inside, left) in [(entry.to_owned(), String::new()), (format!("{entry}{theirs}"), theirs.to_owned())] {
        let home = Home::new();
        home.put(".codex/config.toml", &marked(&inside));
        home.done(&["uninstall", "--codex", "--yes"]);
        assert_eq!(home.text(".codex/config.toml"), format!("a = 1\n{left}[b]\nc = 2\n"));
        home.put(".codex/config.toml", &marked(&inside));
        home.done(&["install", "--codex", "--yes"]);
        let updated = inside.replace("/gone/iaid", env!("CARGO_BIN_EXE_iaid"));
        assert_eq!(home.text(".codex/config.toml"), format!("a = 1\n{updated}[b]\nc = 2\n"));
    }
}

#[test]
fn settings_that_cannot_be_edited_are_left_alone_with_a_reason() {
    for (name, text, part) in [
        (".codex/config.toml", "\u{feff}a = 1\n", "it begins with a byte order mark; save it as UTF-8 without one"),
        (".codex/config.toml", "a = 1\nb = [1\n", "it is not TOML (line 3: the array or inline table is not closed)"),
        (".codex/config.toml", "a = 1\na = 2\n", "it is not TOML (line 2: the key is defined twice"),
        (".codex/config.toml", "model = gpt\n", "it is not TOML (line 1: the value is not a string"),
        (".codex/config.toml", "mcp_servers = { a = { command = \"x\" } }\n", "its mcp_servers is an inline table"),
        (".claude.json", "\u{feff}{}", "it begins with a byte order mark"),
        (".claude/settings.json", "{\"a\": 1,}", "it is not JSON ("),
    ] {
        let home = Home::new();
        home.put(name, text);
        for command in ["install", "uninstall"] {
            let target = if name.starts_with(".codex") { "--codex" } else { "--claude-code" };
            let (code, _, err) = home.run(&[command, target, "--yes"]);
            if command == "uninstall" && text.starts_with("mcp_servers") {
                assert_eq!(code, Some(0), "there is nothing to remove: {err}");
            } else {
                assert_eq!(code, Some(1), "{command} {text}: {err}");
                assert!(err.contains(part) && err.contains("; the file was left alone"), "{part}: {err}");
            }
            assert_eq!(home.text(name), text);
        }
    }
}

#[test]
fn what_is_no_file_is_refused_at_once_and_dangling_links_stay() {
    let home = Home::new();
    fs::create_dir(home.file(".codex")).unwrap();
    let fifo = home.file(".codex/config.toml");
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("mkfifo runs").success());
    symlink("nowhere/hooks.json", home.file(".codex/hooks.json")).unwrap();
    symlink("gone", home.file(".claude")).unwrap();
    symlink(".claude.json", home.file(".claude.json")).unwrap();
    let links = || {
        [".codex/hooks.json", ".claude", ".claude.json"]
            .map(|name| fs::read_link(home.file(name)).expect("still a link"))
    };
    let before = links();
    let (code, _, err) = home.run(&["install", "--claude-code", "--codex", "--yes"]);
    assert_eq!(code, Some(1));
    for part in [
        "config.toml: cannot read it: not a regular file",
        "hooks.json is a symbolic link to nothing; create what it names, or remove the link",
        "/.claude is a symbolic link to nothing",
        ".claude.json: cannot read it: ",
        "4 parts were not done",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert_eq!(links(), before);
    let (code, _, err) = home.run(&["uninstall", "--codex", "--yes"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("not a regular file") && !err.contains("symbolic link"), "{err}");
    assert_eq!(links(), before);
}

#[test]
fn root_keeps_owner_and_mode_and_gives_new_files_to_the_owner_of_the_home() {
    if !has_root() {
        return;
    }
    let home = Home::new();
    home.put(".claude.json", "{\"a\": 1}\n");
    let (user, group) = (65533, 65532);
    for path in [home.home(), home.file(".claude.json")] {
        chown(path, Some(user), Some(group)).unwrap();
    }
    fs::set_permissions(home.file(".claude.json"), fs::Permissions::from_mode(0o640)).unwrap();
    home.done(&["install", "--claude-code", "--codex", "--yes"]);
    for (name, mode) in [
        (".claude.json", 0o640),
        (".claude.json.iaid-backup", 0o640),
        (".claude", 0o755),
        (".claude/settings.json", 0o600),
        (".codex/config.toml", 0o600),
    ] {
        let about = fs::metadata(home.file(name)).unwrap();
        assert_eq!((about.uid(), about.gid()), (user, group), "{name}");
        assert!(about.is_dir() || about.mode() & 0o777 == mode, "{name}");
    }
    home.done(&["uninstall", "--claude-code", "--yes"]);
    let about = fs::metadata(home.file(".claude.json")).unwrap();
    assert_eq!((about.uid(), about.gid(), about.mode() & 0o777), (user, group, 0o640));
}

#[test]
fn install_says_that_no_daemon_answers() {
    let daemon = setup();
    let (home, socket) = (Home::new(), daemon.setup().socket());
    let said = home.done(&["--socket", socket.to_str().unwrap(), "install", "--codex", "--yes"]);
    assert!(!said.contains("no daemon answers"), "{said}");
    let none = home.file("none");
    let args = ["--socket", none.to_str().unwrap(), "install", "--codex", "--yes"];
    for _ in 0..2 {
        let said = home.done(&args);
        assert!(said.contains("no daemon answers on") && said.contains("iaid serve"), "{said}");
    }
    let (code, out, _) = home.run(&["--json", "--socket", none.to_str().unwrap(), "install", "--codex", "--dry-run"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, out["problems"].clone()), (Some(0), json!([])));
    assert!(out["notes"][0].as_str().unwrap().contains("no daemon answers on"), "{out}");
}

#[test]
fn an_outdated_backup_is_removed_and_objects_that_were_empty_before_stay() {
    let home = Home::new();
    home.put(".claude.json", "{\"mcpServers\":{}}");
    home.put(".claude/settings.json", "{}");
    home.done(&["install", "--claude-code", "--yes"]);
    for (name, key) in [(".claude.json", "mcpServers"), (".claude/settings.json", "hooks")] {
        let mut settings = home.json(name);
        settings["later"] = json!(1);
        assert!(settings[key].is_object());
        home.put(name, &format!("{settings:#}"));
    }
    // The user has removed the hooks by hand.
    home.put(".claude/settings.json", "{\"later\": 1}");
    home.done(&["uninstall", "--claude-code", "--yes"]);
    assert_eq!(home.json(".claude.json"), json!({"mcpServers": {}, "later": 1}));
    assert_eq!(home.text(".claude/settings.json"), "{\"later\": 1}");
    assert_eq!(home.files().len(), 2, "{:?}", home.files().keys());

    // A backup of a file that the user has removed since is no backup of the new one.
    home.done(&["install", "--claude-code", "--yes"]);
    fs::remove_file(home.file(".claude.json")).unwrap();
    home.done(&["install", "--claude-code", "--yes"]);
    home.done(&["uninstall", "--claude-code", "--yes"]);
    assert_eq!(home.files().keys().collect::<Vec<_>>(), [&home.file(".claude/settings.json")]);
}
