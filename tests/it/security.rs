//! The guarantees of docs/security.md: nothing of the store is read or written through a symbolic link, and only the
//! daemon's user can read what it writes. Access to the socket, and the absence of network sockets, are in `sys.rs`.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::{Daemon, Setup, finish, kill_command, until};
use crate::shell::behind;
use crate::skip::{has, has_root};

/// Returns all paths below a directory. Links are not followed.
fn under(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("it can be read").flatten() {
        if entry.file_type().expect("it is there").is_dir() {
            found.extend(under(&entry.path()));
        }
        found.push(entry.path());
    }
    found.sort();
    found
}

/// Has the daemon write every kind of file: the database, both state files, the journal, and a cycle's state.
pub fn use_everything(daemon: &Daemon) {
    let mut client = daemon.client();
    client.ask(r#"{"type":"session_open","session_id":"s1"}"#);
    let text = "The harbour master keeps the tide tables.";
    client.call("memory_capture", json!({"text": text, "session_id": "s1"}));
    client.ask(r#"{"type":"pause"}"#);
    client.ask(r#"{"type":"resume"}"#);
    assert_eq!(client.ask(r#"{"type":"force_rem","ts":"x"}"#)["ok"], true);
    until("a cycle has run", || client.ask(r#"{"type":"status"}"#)["rem_cycle"]["finished"] == 1);
    assert_eq!(client.call("memory_recall", json!({"cue": "tide tables"}))["hits"].as_array().map(Vec::len), Some(1));
}

#[test]
fn only_its_user_can_read_the_daemons_files_under_any_umask() {
    for umask in ["000", "022", "077"] {
        let setup = Setup::new();
        let command = behind(&format!("umask {umask}"), &setup.serve());
        let daemon = setup.start_by(command);
        use_everything(&daemon);
        let store = daemon.setup().store();
        let journals = || under(&store).iter().filter(|path| path.extension().is_some_and(|e| e == "jsonl")).count();
        until("the journal is written", || journals() == 1);
        for path in under(&store) {
            // The file has been renamed meanwhile.
            let Ok(about) = fs::symlink_metadata(&path) else { continue };
            let wanted = if about.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(about.mode() & 0o7777, wanted, "umask {umask}: {}", path.display());
        }
    }
}

/// Umask 777 takes all rights away, even the owner's: new folders and files are usable all the same.
#[test]
fn a_umask_without_any_right_changes_nothing() {
    if !has_root() || !has("setpriv") {
        return;
    }
    let setup = Setup::new();
    fs::set_permissions(setup.home(), fs::Permissions::from_mode(0o755)).expect("its mode can be set");
    let home = setup.home().join("h");
    fs::create_dir(&home).expect("a directory can be created");
    std::os::unix::fs::chown(&home, Some(65534), Some(65534)).expect("root can give it away");
    // Another process copies it: a child forked meanwhile would keep it open for writing.
    let program = setup.home().join("iaid");
    assert!(Command::new("cp").arg(env!("CARGO_BIN_EXE_iaid")).arg(&program).status().expect("cp runs").success());
    let as_nobody = |args: &str| {
        let script = format!("umask 777; exec {} {args}", program.display());
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "env", "-i", "PATH=/usr/bin:/bin"]);
        command.arg(format!("HOME={}", home.display())).args(["sh", "-c", &script]).stdin(Stdio::null());
        command
    };
    // A hook without a daemon makes the folders first, then the daemon uses them, twice.
    let mut hook = as_nobody("hook user-prompt-submit").stdin(Stdio::piped()).spawn().expect("it runs");
    let prompt = json!({"session_id": "s", "cwd": "/p", "prompt": "A prompt under a umask without rights."});
    hook.stdin.take().expect("a pipe").write_all(prompt.to_string().as_bytes()).expect("it reads");
    assert!(finish(hook).status.success());
    let store = home.join(".iai-mcp");
    for round in 0..2 {
        let mut daemon = as_nobody("serve --look-every 0.1").stderr(Stdio::piped()).spawn().expect("it runs");
        let ping = || as_nobody("call ping").output().is_ok_and(|output| output.status.success());
        until("it answers", || ping() || daemon.try_wait().expect("it can be waited for").is_some());
        let text = format!("capture --session s 'A capture of round {round} under this umask.'");
        let captured = as_nobody(&text).output().expect("it runs");
        assert!(captured.status.success(), "{captured:?}");
        assert!(kill_command().arg(daemon.id().to_string()).status().expect("kill runs").success());
        let output = finish(daemon);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("cannot be"), "{said}");
        for path in under(&store) {
            let about = fs::symlink_metadata(&path).expect("it is there");
            let wanted = if about.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(about.mode() & 0o7777, wanted, "{}", path.display());
        }
    }
}

#[test]
fn modes_that_let_others_read_are_corrected_at_the_start() {
    let mut daemon = Setup::new().start();
    daemon.client().call("memory_capture", json!({"text": "It was left open by a copy."}));
    daemon.kill();
    let store = daemon.setup().store();
    for name in ["memory.db", "memory.db-wal", "memory.db-shm", ".lock"] {
        fs::set_permissions(store.join(name), fs::Permissions::from_mode(0o666)).expect("its mode can be set");
    }
    daemon.restart();
    // The store is open once it answers.
    daemon.status();
    for name in ["memory.db", "memory.db-wal", "memory.db-shm", ".lock"] {
        let about = fs::symlink_metadata(store.join(name)).expect("it is there");
        assert_eq!(about.mode() & 0o777, 0o600, "{name}");
    }
}

/// Creates a directory outside the store for links to point to.
fn outside(home: &Path) -> PathBuf {
    let outside = home.join("outside");
    fs::create_dir(&outside).expect("a directory can be created");
    fs::write(outside.join("file"), "kept\n").expect("a file can be created");
    fs::set_permissions(outside.join("file"), fs::Permissions::from_mode(0o644)).expect("its mode can be set");
    outside
}

fn assert_unchanged(outside: &Path) {
    assert_eq!(under(outside), [outside.join("file")]);
    assert_eq!(fs::read_to_string(outside.join("file")).expect("it can be read"), "kept\n");
    assert_eq!(fs::metadata(outside.join("file")).expect("it is there").mode() & 0o777, 0o644);
}

#[test]
fn a_database_or_lock_that_is_a_link_is_refused_and_its_target_unchanged() {
    for name in ["memory.db", "memory.db-wal", "memory.db-shm", ".lock"] {
        for target in ["file", "nowhere"] {
            let setup = Setup::new();
            let outside = outside(setup.home());
            fs::create_dir(setup.store()).expect("a directory can be created");
            symlink(outside.join(target), setup.store().join(name)).expect("a link can be created");
            let output = setup.start_and_fail();
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(said.contains(name) && said.contains("a symbolic link"), "{name}: {said}");
            assert_unchanged(&outside);
        }
    }
}

#[test]
fn other_links_in_the_store_are_not_followed_and_the_daemon_serves() {
    for name in [".daemon-state.json", "lifecycle_state.json", "logs", "wrappers", ".deferred-captures", "config.json"]
    {
        for target in ["", "file", "nowhere"] {
            let setup = Setup::new();
            let outside = outside(setup.home());
            fs::create_dir(setup.store()).expect("a directory can be created");
            symlink(outside.join(target), setup.store().join(name)).expect("a link can be created");
            let daemon = setup.start();
            use_everything(&daemon);
            assert_unchanged(&outside);
        }
    }
}

#[test]
fn a_store_that_is_itself_a_link_is_used() {
    let setup = Setup::new();
    fs::create_dir(setup.home().join("disk")).expect("a directory can be created");
    symlink(setup.home().join("disk"), setup.store()).expect("a link can be created");
    let daemon = setup.start();
    use_everything(&daemon);
    assert!(daemon.setup().home().join("disk/memory.db").is_file());
}
