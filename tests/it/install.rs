//! `iaid install` and `iaid uninstall` in temporary homes, with service managers that only record how they were called.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{iaid, setup};
use crate::skip::has;

/// A temporary home, and a `PATH` with the programs of the test.
pub struct Home {
    folder: TempDir,
}

impl Home {
    pub fn new() -> Home {
        let home = Home { folder: tempfile::tempdir().expect("a temporary folder") };
        fs::create_dir(home.path().join("home")).unwrap();
        fs::create_dir(home.path().join("bin")).unwrap();
        home
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn home(&self) -> PathBuf {
        self.path().join("home")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    pub fn put(&self, name: &str, text: &str) {
        fs::create_dir_all(self.file(name).parent().unwrap()).unwrap();
        fs::write(self.file(name), text).unwrap();
    }

    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn json(&self, name: &str) -> Value {
        let text = self.text(name);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}: {text}"))
    }

    /// Adds a program to `PATH` that records its arguments and then runs `script`.
    pub fn program(&self, name: &str, script: &str) {
        let (path, log) = (self.path().join("bin").join(name), self.path().join("calls"));
        fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\" >> '{}'\n{script}\n", log.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Returns and clears the recorded calls.
    pub fn calls(&self) -> Vec<String> {
        let log = self.path().join("calls");
        let text = fs::read_to_string(&log).unwrap_or_default();
        drop(fs::remove_file(log));
        text.lines().map(str::to_owned).collect()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = iaid();
        for name in ["CLAUDE_CONFIG_DIR", "CODEX_HOME", "XDG_CONFIG_HOME", "DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(name);
        }
        command.env("HOME", self.home()).env("PATH", self.path().join("bin")).args(args).stdin(Stdio::null());
        command
    }

    pub fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        result_of(self.command(args).output().expect("the binary runs"))
    }

    /// Runs a command that must succeed, and returns its output.
    pub fn done(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, Some(0), "{args:?}: {out}{err}");
        out + &err
    }

    /// Returns every file with its content, and every link with its target.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = BTreeMap::new();
        let mut folders = vec![self.home()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let kind = fs::symlink_metadata(&path).unwrap().file_type();
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_symlink() {
                    files.insert(path.clone(), fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes());
                } else {
                    files.insert(path.clone(), fs::read(&path).unwrap());
                }
            }
        }
        files
    }
}

fn result_of(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("the output is text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// systemctl where the service is installed and listens, and where it is neither.
const SERVICE_RUNS: &str = "case \"$*\" in *is-failed*) exit 1;; esac";
const NOTHING_RUNS: &str = "case \"$*\" in *is-active*|*is-failed*) exit 3;; esac";

const SERVICE: &str = ".config/systemd/user/iaid.service";
const SOCKET: &str = ".config/systemd/user/iaid.socket";

/// Returns a home with settings of both assistants and systemd.
fn home_with_settings() -> Home {
    let home = Home::new();
    home.put(".claude.json", "{\n  \"numStartups\": 12,\n  \"projects\": {\"/p\": {\"n\": 1.50}},\n  \"mcpServers\": {\n    \"other\": {\n      \"command\": \"x\"\n    }\n  }\n}");
    home.put(".claude/settings.json", "{\"model\":\"opus\",\"hooks\":{\"Stop\":[{\"hooks\":[{\"type\":\"command\",\"command\":\"notify\"}]}],\"PreToolUse\":[]}}\n");
    home.put(".codex/config.toml", "model = \"m\"\n\n[mcp_servers.other]\ncommand = \"x\"");
    home.put(".codex/hooks.json", "{ }");
    home.program("systemctl", NOTHING_RUNS);
    home.program("loginctl", "echo Linger=no");
    home
}

#[test]
fn all_targets_are_set_up_once_and_uninstall_restores_every_byte() {
    let home = home_with_settings();
    let before = home.files();
    let said = home.done(&["install", "--yes"]);
    let binary = env!("CARGO_BIN_EXE_iaid");
    for part in ["+     \"iaid\": {", "numStartups", "enable-linger", "open /hooks"] {
        assert_eq!(said.contains(part), part != "numStartups", "{part}: {said}");
    }
    let server = json!({"type": "stdio", "command": binary, "args": ["mcp"]});
    assert_eq!(home.json(".claude.json")["mcpServers"]["iaid"], server);
    for file in [".claude/settings.json", ".codex/hooks.json"] {
        for (event, ours) in [
            ("SessionStart", "session-start"),
            ("UserPromptSubmit", "user-prompt-submit"),
            ("Stop", "stop"),
            ("SessionEnd", "session-end"),
        ] {
            let groups = home.json(file)["hooks"][event].clone();
            let last = groups.as_array().unwrap().last().unwrap();
            let want =
                json!({"hooks": [{"type": "command", "command": format!("{binary} hook {ours}"), "timeout": 10}]});
            assert_eq!(*last, want, "{file}");
        }
    }
    assert_eq!(home.json(".claude/settings.json")["hooks"]["Stop"][0]["hooks"][0]["command"], "notify");
    let toml = home.text(".codex/config.toml");
    assert!(toml.ends_with(&format!("\n[mcp_servers.iaid]\ncommand = \"{binary}\"\nargs = [\"mcp\"]\n")), "{toml}");
    assert!(home.text(SERVICE).contains(&format!("\nExecStart=\"{binary}\" serve\n")));
    assert!(home.text(SERVICE).contains("\nPrivateNetwork=yes\n"));
    for (file, text) in &before {
        let mut backup = file.clone().into_os_string();
        backup.push(".iaid-backup");
        assert_eq!(&fs::read(&backup).unwrap(), text, "{backup:?}");
    }
    let calls = home.calls();
    let user = |words: &str| format!("systemctl --user {words}");
    let started = [user("daemon-reload"), user("enable --now iaid.socket"), user("restart iaid.service")];
    assert!(calls.windows(3).any(|calls| calls == started), "{calls:?}");

    home.program("systemctl", SERVICE_RUNS);
    let installed = home.files();
    assert!(home.done(&["install", "--yes"]).contains("nothing to do"));
    assert_eq!(home.files(), installed, "installing twice changes nothing");
    assert!(!home.calls().iter().any(|call| call.contains("enable") || call.contains("start")));

    home.done(&["uninstall", "--yes"]);
    assert_eq!(home.files(), before, "every byte is restored");
    assert!(home.calls().contains(&user("disable --now iaid.socket iaid.service")));
    assert!(home.done(&["uninstall", "--yes"]).contains("nothing to do"));
}

#[test]
fn uninstall_leaves_nothing_in_an_empty_home() {
    let home = Home::new();
    let (code, _, err) = home.run(&["install", "--yes"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("no assistant, and neither systemd nor launchd was found"), "{err}");
    home.done(&["install", "--claude-code", "--codex", "--yes"]);
    assert_eq!(home.files().len(), 4);
    let mode = fs::metadata(home.file(".claude.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    home.done(&["uninstall", "--yes"]);
    assert_eq!(home.files().len(), 0);
}

#[test]
fn changes_made_since_install_are_kept() {
    let home = home_with_settings();
    home.done(&["install", "--claude-code", "--codex", "--yes"]);
    home.put(".claude.json", &home.text(".claude.json").replace("12", "13"));
    home.put(".codex/config.toml", &(home.text(".codex/config.toml") + "[later]\na = 1\n"));
    home.done(&["uninstall", "--yes"]);
    let servers = home.json(".claude.json");
    assert_eq!((&servers["numStartups"], &servers["mcpServers"]), (&json!(13), &json!({"other": {"command": "x"}})));
    assert_eq!(
        home.text(".codex/config.toml"),
        "model = \"m\"\n\n[mcp_servers.other]\ncommand = \"x\"\n[later]\na = 1\n"
    );

    home.done(&["install", "--claude-code", "--yes"]);
    home.done(&["uninstall", "--yes"]);
    assert_eq!(home.json(".claude.json"), servers, "an outdated backup is not restored");
}

#[test]
fn links_are_followed_and_modes_kept() {
    let home = Home::new();
    home.put("dotfiles/settings.json", "{}");
    fs::set_permissions(home.file("dotfiles/settings.json"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(home.file(".claude")).unwrap();
    symlink(home.file("dotfiles/settings.json"), home.file(".claude/settings.json")).unwrap();
    let before = home.files();
    home.done(&["install", "--claude-code", "--yes"]);
    assert!(home.text("dotfiles/settings.json").contains("hook stop"));
    assert!(fs::symlink_metadata(home.file(".claude/settings.json")).unwrap().is_symlink());
    let mode = fs::metadata(home.file("dotfiles/settings.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    home.done(&["uninstall", "--yes"]);
    assert_eq!(home.files(), before);
}

#[test]
fn nothing_is_changed_without_confirmation() {
    let home = home_with_settings();
    let before = home.files();
    let said = home.done(&["install", "--dry-run"]);
    assert!(said.contains("settings.json (changed, with a backup beside it)"), "{said}");
    let (code, _, err) = home.run(&["install"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("not a terminal") && err.contains("--yes"), "{err}");
    let (code, out, _) = home.run(&["--json", "install", "--dry-run", "--claude-code"]);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, out["changed"].as_array().unwrap().len()), (Some(0), 2), "{out}");
    assert_eq!(home.files(), before);
    assert!(!home.calls().iter().any(|call| call.contains("enable")), "nothing was started");
}

#[test]
fn files_that_are_not_understood_are_left_alone_and_the_rest_is_done() {
    let home = home_with_settings();
    home.put(".claude/settings.json", "// mine\n{}");
    home.put(".codex/config.toml", "[mcp_servers.iaid]\ncommand = \"mine\"\n");
    fs::write(home.file(".codex/hooks.json"), b"\xff{}").unwrap();
    let before = home.files();
    let (code, _, err) = home.run(&["install", "--claude-code", "--codex", "--yes"]);
    assert_eq!(code, Some(1));
    for part in [
        "settings.json: it is not JSON",
        "config.toml: it has an mcp_servers.iaid that iaid install did not write",
        "hooks.json: it is not UTF-8",
        "3 parts were not done",
    ] {
        assert!(err.contains(part), "{part}: {err}");
    }
    assert_eq!(home.json(".claude.json")["mcpServers"]["iaid"]["args"], json!(["mcp"]));
    for file in [".claude/settings.json", ".codex/config.toml", ".codex/hooks.json"] {
        assert_eq!(fs::read(home.file(file)).unwrap(), before[&home.file(file)], "{file}");
    }
}

#[test]
fn an_unwritable_home_is_reported() {
    let home = home_with_settings();
    // Nothing can be created there, even by root.
    let mut command = home.command(&["install", "--claude-code", "--codex", "--yes"]);
    let (code, _, err) = result_of(command.env("CLAUDE_CONFIG_DIR", "/proc").output().unwrap());
    assert_eq!(code, Some(1));
    assert!(err.contains("cannot write /proc/.claude.json") && err.contains("2 parts were not done"), "{err}");
    assert!(home.text(".codex/hooks.json").contains("hook stop"), "the rest is done");
    let (code, _, err) = result_of(home.command(&["install", "--yes"]).env_remove("HOME").output().unwrap());
    assert_eq!(code, Some(2));
    assert!(err.contains("HOME is not set"), "{err}");
}

#[test]
fn paths_that_are_not_the_default_are_written_into_every_entry() {
    let home = Home::new();
    home.program("systemctl", NOTHING_RUNS);
    let args = ["--socket", "/run/x y/d.sock", "install", "--yes", "--claude-code", "--service", "--store"];
    let store = home.path().join("the store");
    let (claude, config) = (home.path().join("claude"), home.path().join("config"));
    let mut command = home.command(&args);
    command.arg(&store).env("CLAUDE_CONFIG_DIR", &claude).env("XDG_CONFIG_HOME", &config);
    let (code, _, err) = result_of(command.output().unwrap());
    assert_eq!(code, Some(0), "{err}");
    let settings = fs::read_to_string(claude.join("settings.json")).unwrap();
    assert!(
        settings.contains(&format!("--socket '/run/x y/d.sock' hook stop --store '{}'", store.display())),
        "{settings}"
    );
    assert!(fs::read_to_string(claude.join(".claude.json")).unwrap().contains("\"/run/x y/d.sock\""));
    assert!(
        fs::read_to_string(config.join("systemd/user/iaid.socket"))
            .unwrap()
            .contains("\nListenStream=/run/x y/d.sock\n")
    );
    let unit = fs::read_to_string(config.join("systemd/user/iaid.service")).unwrap();
    assert!(unit.contains(&format!("serve --store \"{}\"\n", store.display())), "{unit}");
    assert!(store.is_dir());
    assert_eq!(home.files().len(), 0);
}

#[test]
fn restrictions_that_keep_the_service_from_starting_are_left_out() {
    let home = Home::new();
    let unit = home.file(SERVICE);
    let script = |active: &str, broken: &str| {
        format!(
            "case \"$*\" in *is-active*) exit {active};; *restart*) while read -r line; do case $line in {broken}) echo 'no namespaces' >&2; exit 1;; esac; done < '{}';; esac",
            unit.display()
        )
    };
    home.program("systemctl", &script("3", "PrivateNetwork=*|ProtectSystem=*"));
    let said = home.done(&["install", "--service", "--yes"]);
    assert!(said.contains("no namespaces") && said.contains("runs without PrivateNetwork, ProtectSystem\n"), "{said}");
    let text = home.text(SERVICE);
    for (setting, is_kept) in [
        ("NoNewPrivileges=yes", true),
        ("PrivateUsers=yes", true),
        ("PrivateNetwork=yes", false),
        ("PrivateDevices=yes", true),
        ("ProtectSystem=strict", false),
        ("ReadWritePaths=%h", false),
        ("ProtectHostname=yes", true),
    ] {
        assert_eq!(text.lines().any(|line| line == setting), is_kept, "{setting}: {text}");
    }
    assert!(home.calls().contains(&"systemctl --user reset-failed iaid.service iaid.socket".to_owned()));
    home.program("systemctl", SERVICE_RUNS);
    assert!(home.done(&["install", "--service", "--yes"]).contains("nothing to do"), "the smaller sandbox is kept");

    // The kernel does not let users have namespaces any more: the service has failed, and its socket listens.
    home.program("systemctl", &script("0", "PrivateUsers=*|Private*|Protect*|ReadWrite*"));
    let said = home.done(&["install", "--service", "--yes"]);
    assert!(said.contains("runs without PrivateUsers, PrivateNetwork, PrivateDevices, ProtectSystem, "), "{said}");
    assert!(!home.text(SERVICE).contains("Private"), "{}", home.text(SERVICE));
    home.program("systemctl", SERVICE_RUNS);
    assert!(home.done(&["install", "--service", "--yes"]).contains("nothing to do"), "the smaller sandbox is kept");
    home.done(&["uninstall", "--yes"]);
    assert_eq!(home.files().len(), 0);

    home.program(
        "systemctl",
        "case \"$*\" in *is-active*) exit 3;; *restart*) echo 'broken altogether' >&2; exit 1;; esac",
    );
    let (code, _, err) = home.run(&["install", "--service", "--yes"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("broken altogether") && err.contains("journalctl"), "{err}");

    home.program("systemctl", "echo 'Failed to connect to bus' >&2; exit 1");
    let (code, _, err) = home.run(&["install", "--service", "--yes"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("Failed to connect to bus") && err.contains("enable-linger"), "{err}");
}

#[test]
fn a_socket_that_the_service_leaves_is_removed_and_one_in_use_is_kept() {
    let home = Home::new();
    home.program("systemctl", NOTHING_RUNS);
    let socket = home.file(".iai-mcp/.daemon.sock");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    for is_in_use in [false, true] {
        home.done(&["install", "--service", "--yes"]);
        let listener = UnixListener::bind(&socket).unwrap();
        let listener = is_in_use.then_some(listener);
        home.done(&["uninstall", "--yes"]);
        assert_eq!(socket.exists(), is_in_use);
        drop(listener);
    }
}

#[test]
fn a_daemon_started_by_hand_is_not_replaced() {
    let daemon = setup();
    let home = Home::new();
    home.program("systemctl", NOTHING_RUNS);
    let socket = daemon.setup().socket();
    let (code, _, err) = home.run(&["--socket", socket.to_str().unwrap(), "install", "--service", "--yes"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("a daemon started by hand serves"), "{err}");
    assert_eq!(home.files().len(), 0);
}

#[test]
fn an_installed_hook_runs_in_a_shell() {
    let home = Home::new();
    home.done(&["install", "--claude-code", "--yes"]);
    let settings = home.json(".claude/settings.json");
    let command = settings["hooks"]["Stop"][0]["hooks"][0]["command"].as_str().unwrap();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", command]).env_clear().env("HOME", home.home()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = shell.spawn().unwrap();
    let input = json!({"session_id": "s", "cwd": "/p", "last_assistant_message": "said through a shell, as it is"});
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert_eq!(fs::read_dir(home.file(".iai-mcp/.deferred-captures")).unwrap().count(), 1);
}

#[test]
fn systemd_accepts_the_units() {
    if !has("systemd-analyze") {
        return;
    }
    let home = Home::new();
    home.program("systemctl", NOTHING_RUNS);
    home.done(&["install", "--service", "--yes"]);
    let verify = |files: &[PathBuf]| {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--user", "--man=no"]).args(files).env("XDG_RUNTIME_DIR", home.path());
        let (code, out, err) = result_of(command.output().unwrap());
        assert_eq!((code, out + &err), (Some(0), String::new()));
    };
    verify(&[home.file(SERVICE), home.file(SOCKET)]);
    let text = home.text(SERVICE);
    let (start, end) = (text.find("PrivateUsers").unwrap(), text.find("# End of what").unwrap());
    home.put(SERVICE, &(text[..start].to_owned() + &text[end..]));
    verify(&[home.file(SERVICE), home.file(SOCKET)]);

    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/system");
    let mut security = Command::new("systemd-analyze");
    security.args(["security", "--offline=yes", "--no-pager", "--threshold=20"]).arg(deploy.join("iaid@.service"));
    let (code, out, err) = result_of(security.output().unwrap());
    assert_eq!(code, Some(0), "an exposure of 2.0 or more: {out}{err}");
    assert!(out.contains("Overall exposure level"), "{out}{err}");
}

/// A launchd with these domains, in which the agent is loaded or not.
fn launchd(home: &Home, domains: &str) {
    let loaded = home.path().join("loaded");
    home.program(
        "launchctl",
        &format!(
            "loaded={loaded}
            case \"$1 $2\" in
                'print '*/org.iaid.daemon) test -e $loaded && test \"$(/bin/cat $loaded)\" = \"${{2%/*}}\";;
                'print '*) case \"$2\" in {domains}) ;; *) exit 1;; esac;;
                'bootout '*) /bin/rm $loaded;;
                'bootstrap '*) test ! -e $loaded && test -d '{folder}' && echo \"$2\" > $loaded;;
            esac",
            loaded = loaded.display(),
            folder = home.file(".iai-mcp").display()
        ),
    );
}

#[test]
fn the_launchd_agent_is_loaded_where_the_user_is_logged_in() {
    for (domains, domain) in [("gui/*|user/*", "gui"), ("user/*", "user")] {
        let home = Home::new();
        launchd(&home, domains);
        let uid = fs::metadata(home.home()).map(|found| std::os::unix::fs::MetadataExt::uid(&found)).unwrap();
        let plist = home.file("Library/LaunchAgents/org.iaid.daemon.plist");
        home.done(&["install", "--service", "--yes"]);
        let bootstrap = format!("launchctl bootstrap {domain}/{uid} {}", plist.display());
        assert_eq!(home.calls().last(), Some(&bootstrap));
        let text = fs::read_to_string(&plist).unwrap();
        assert_eq!(text.contains("<string>Background</string>"), domain == "user", "{text}");
        assert!(home.done(&["install", "--service", "--yes"]).contains("nothing to do"));
        // Other settings: the loaded agent has to end before the new one.
        let store = home.path().join("store");
        home.done(&["install", "--service", "--store", store.to_str().unwrap(), "--yes"]);
        assert_eq!(home.calls().last(), Some(&bootstrap));
        home.done(&["uninstall", "--yes"]);
        assert!(!home.path().join("loaded").exists());
        assert_eq!(home.files().len(), 0);
    }
}

#[test]
fn the_launchd_agent_is_a_valid_property_list() {
    if !has("python3") {
        return;
    }
    let home = Home::new();
    launchd(&home, "gui/*");
    home.done(&["install", "--service", "--yes"]);
    let plist = home.file("Library/LaunchAgents/org.iaid.daemon.plist");
    let script = "import json, plistlib, sys; print(json.dumps(plistlib.load(open(sys.argv[1], 'rb'))))";
    let output = Command::new("python3").args(["-c", script]).arg(&plist).output().expect("python3 runs");
    let (code, out, err) = result_of(output);
    assert_eq!(code, Some(0), "{err}");
    let agent: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(agent["ProgramArguments"], json!([env!("CARGO_BIN_EXE_iaid"), "serve"]));
    let listener = &agent["Sockets"]["Listeners"];
    assert_eq!(listener["SockPathMode"], 0o600);
    assert_eq!(listener["SockPathName"], home.file(".iai-mcp/.daemon.sock").to_str().unwrap());
}
