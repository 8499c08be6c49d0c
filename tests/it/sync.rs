//! `iaid sync` between daemons: over pipes that are whole, cut, slow or double bytes, over a real sshd, and through
//! folders.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::{Value, json};

use crate::harness::{Daemon, output, setup, until};
use crate::skip::has;

const IAID: &str = env!("CARGO_BIN_EXE_iaid");

fn texts(daemon: &Daemon) -> BTreeSet<String> {
    daemon.stored_texts().into_iter().collect()
}

/// Captures a text and returns the record's id.
fn capture(daemon: &Daemon, text: &str) -> String {
    let got = daemon.client().call("memory_capture", json!({"text": text, "session_id": "s", "project": "/p"}));
    got["record_id"].as_str().expect("an id").to_owned()
}

/// Captures so many texts and returns the ids.
fn capture_many(daemon: &Daemon, what: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| capture(daemon, &format!("{what} has thought of the number {n} today."))).collect()
}

/// Returns the shell command that serves a sync of this daemon.
fn serve(daemon: &Daemon) -> String {
    format!("exec '{IAID}' --socket '{}' sync --serve", daemon.setup().socket().display())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Syncs through a command and returns the result.
fn sync(caller: &Daemon, command: &str) -> Value {
    let output = caller.run(&["--json", "sync", "--command", command]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output)))
}

/// Runs a sync that fails and returns what it printed.
fn fails(caller: &Daemon, args: &[&str], code: i32) -> String {
    let output = caller.run(&[&["sync"], args].concat());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
    assert!(output.stdout.is_empty(), "{}", said(&output));
    said(&output)
}

fn sync_folder(daemon: &Daemon, folder: &Path) -> Value {
    let output = daemon.run(&["--json", "sync", folder.to_str().expect("a text")]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn assert_whole(daemons: &[&Daemon], count: usize) {
    let all = texts(daemons[0]);
    assert_eq!(all.len(), count);
    for daemon in daemons {
        assert_eq!(texts(daemon), all);
        let check = daemon.client().call("store_check", json!({}));
        assert_eq!((&check["ok"], &check["problems"]), (&json!(true), &json!([])));
    }
}

/// Returns the files of a folder, with those below.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    entries.flat_map(|entry| if entry.path().is_dir() { files(&entry.path()) } else { vec![entry.path()] }).collect()
}

#[test]
fn two_daemons_become_one_and_the_next_run_carries_what_is_new() {
    let (laptop, desk) = (setup(), setup());
    capture_many(&laptop, "The laptop", 40);
    capture_many(&desk, "The desk", 30);
    let first = sync(&laptop, &serve(&desk));
    assert_eq!((&first["here"]["added"], &first["there"]["added"]), (&json!(30), &json!(40)), "{first}");
    assert_whole(&[&laptop, &desk], 70);
    let hit = laptop.client().call("memory_recall", json!({"cue": "desk thought number", "limit": 1}));
    assert!(hit["hits"][0]["literal_surface"].as_str().expect("a hit").starts_with("The desk"), "{hit}");

    capture(&desk, "Something new came up on the desk.");
    let second = sync(&laptop, &serve(&desk));
    assert_eq!((&second["here"]["added"], &second["there"]["added"]), (&json!(1), &json!(0)), "{second}");
    // The other one may call as well.
    capture(&laptop, "Something new came up on the laptop.");
    let third = sync(&desk, &serve(&laptop));
    assert_eq!((&third["here"]["added"], &third["there"]["known"]), (&json!(1), &json!(0)), "{third}");
    assert_whole(&[&laptop, &desk], 72);

    let output = laptop.run(&["sync", "--command", &serve(&desk)]);
    let printed = said(&output);
    assert!(printed.starts_with("synced with ") && printed.contains("new here: 0 records; new there: 0"), "{printed}");
    let doctor = said(&laptop.run(&["doctor", "--store", laptop.setup().store().to_str().expect("a text")]));
    assert!(doctor.contains("PASS  sync          machine ") && doctor.contains(": last met "), "{doctor}");
}

#[test]
fn three_daemons_become_one_through_a_folder_in_any_order() {
    let stores = [setup(), setup(), setup()];
    let [a, b, c] = &stores;
    let folder = tempfile::tempdir().expect("a folder");
    for (daemon, what) in [(a, "The first"), (b, "The second"), (c, "The third")] {
        capture_many(daemon, what, 20);
    }
    for daemon in [c, a, b, a, c] {
        sync_folder(daemon, folder.path());
    }
    assert_whole(&[a, b, c], 60);
    let again = sync_folder(b, folder.path());
    assert_eq!((&again["here"]["added"], &again["written"], &again["writers"]), (&json!(0), &json!(0), &json!(2)));
    // With more files than the process may open.
    let own = files(folder.path()).into_iter().find(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let own = own.expect("a file of a store");
    for n in 0..60 {
        fs::copy(&own, own.with_extension(format!("sync-conflict-{n}.jsonl"))).expect("a copy");
    }
    let (socket, place) = (b.setup().socket(), folder.path().display());
    let limited = format!("ulimit -n 40; exec '{IAID}' --socket '{}' --json sync '{place}'", socket.display());
    let output = Command::new("sh").args(["-c", &limited]).output().expect("sh runs");
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    for file in files(folder.path()) {
        assert_eq!(fs::metadata(&file).expect("it is there").mode() & 0o777, 0o600, "{}", file.display());
    }
    // A file of another store whose first line is damaged is named, and does not keep the others out.
    let whole = fs::read(&own).expect("it is read");
    let mut flipped = whole.clone();
    flipped[50] ^= 1;
    let lines = String::from_utf8(whole.clone()).expect("a text").replace('\n', "\r\n").into_bytes();
    for (what, text) in [("a byte", flipped), ("line ends", lines)] {
        fs::write(&own, text).expect("it is written");
        let printed: Vec<String> =
            [a, b, c].map(|daemon| said(&daemon.run(&["sync", folder.path().to_str().expect("a text")]))).into();
        let named = printed.iter().filter(|printed| printed.contains("its first line is damaged; remove the file"));
        assert_eq!(named.count(), 2, "{what}: {printed:?}");
    }
    fs::write(&own, whole).expect("it is written");
    // Two of them reach each other over a pipe as well, and find nothing new.
    let over = sync(a, &serve(b));
    assert_eq!((&over["here"]["added"], &over["there"]["added"]), (&json!(0), &json!(0)), "{over}");
}

#[test]
fn a_pipe_that_is_cut_slow_or_doubles_bytes_loses_nothing() {
    if !has("python3") {
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/faulty_pipe.py");
    let (a, b) = (setup(), setup());
    let mut failed = 0;
    for (round, (direction, cut, double, delay)) in [
        ("there", 1, 0, 0),
        ("back", 150, 0, 1),
        ("there", 500, 0, 0),
        ("back", 3000, 0, 0),
        ("there", 3000, 0, 1),
        ("back", 0, 3, 0),
        ("there", 0, 2, 1),
        ("there", 0, 0, 2),
    ]
    .into_iter()
    .enumerate()
    {
        capture_many(&a, &format!("In round {round} the caller"), 12);
        capture_many(&b, &format!("In round {round} the server"), 12);
        let command = format!("python3 {script} {direction} {cut} {double} {delay} {}", &serve(&b)["exec ".len()..]);
        let output = a.run(&["sync", "--command", &command]);
        let printed = said(&output);
        if output.status.code() != Some(0) {
            failed += 1;
            assert!(printed.contains("run it again") || printed.contains("before it spoke"), "{printed}");
        }
    }
    assert!(failed >= 5, "{failed} runs failed");
    sync(&a, &serve(&b));
    assert_whole(&[&a, &b], 8 * 24);
}

#[test]
fn what_is_forgotten_on_one_machine_is_forgotten_on_all_and_in_the_folder() {
    let (a, b) = (setup(), setup());
    let folder = tempfile::tempdir().expect("a folder");
    let secret = "vqxorblimed";
    capture_many(&a, "The first", 30);
    let id = capture(&a, &format!("The word is {secret}, and nobody may know."));
    for daemon in [&a, &b, &a] {
        sync_folder(daemon, folder.path());
    }
    sync(&a, &serve(&b));
    assert_eq!(texts(&b).len(), 31);
    let holders = |folder: &Path| {
        let has =
            |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.windows(11).any(|part| part == secret.as_bytes()));
        files(folder).into_iter().filter(has).count()
    };
    assert_eq!(holders(folder.path()), 2);

    let output = a.run(&["forget", &id, "--yes"]);
    let printed = said(&output);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let shown = fs::canonicalize(folder.path()).expect("a path").display().to_string();
    assert!(printed.contains(&format!("  {shown}  folder of iaid sync, last met ")), "{printed}");
    assert_eq!(printed.matches(&format!("  {shown}  ")).count(), 1, "{printed}");
    assert!(printed.contains("machine synced with, last met ") && printed.contains("keep versions"), "{printed}");

    sync_folder(&a, folder.path());
    assert_eq!(holders(folder.path()), 1, "its own file is made anew");
    let output = b.run(&["--json", "sync", folder.path().to_str().expect("a text")]);
    let printed = said(&output);
    assert!(printed.contains(r#""forgotten":1"#) && printed.contains("may be left in"), "{printed}");
    assert!(!printed.contains(&shown), "the run that follows writes this store's own file again: {printed}");
    assert_eq!((holders(folder.path()), holders(&b.setup().store())), (0, 0));
    assert_eq!(sync(&b, &serve(&a))["here"]["added"], 0);
    assert_whole(&[&a, &b], 30);
    let c = setup();
    sync_folder(&c, folder.path());
    assert_eq!(texts(&c).len(), 30);
}

#[test]
fn a_run_that_would_forget_much_takes_the_rest_and_needs_consent() {
    let (a, b) = (setup(), setup());
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a text");
    let ids = capture_many(&a, "The first", 30);
    sync(&a, &serve(&b));
    sync_folder(&a, folder.path());
    let forget: Vec<&str> = ["forget", "--yes"].into_iter().chain(ids[..10].iter().map(String::as_str)).collect();
    assert_eq!(a.run(&forget).status.code(), Some(0));
    capture(&a, "This one came later.");
    sync_folder(&a, folder.path());
    let command = serve(&b);
    capture(&b, "This one is of the other.");
    for (daemon, args) in [(&b, vec![path]), (&a, vec!["--command", &command])] {
        let printed = fails(daemon, &args, 1);
        assert!(printed.contains("nothing was forgotten") && printed.contains("10 records of the 32"), "{printed}");
        assert!(printed.contains("--yes"), "{printed}");
        assert!(texts(&b).contains("This one came later.") && texts(&b).len() == 32);
    }
    assert!(texts(&a).contains("This one is of the other."));
    let output = a.run(&["sync", "--yes", "--command", &command]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert_whole(&[&a, &b], 22);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_on_either_side_or_under_the_folder_is_named_and_the_next_run_is_whole() {
    use crate::harness::Setup;
    use crate::shim::{Fault, faulty};

    let Some((first, disk)) = faulty(Setup::new()) else { return };
    let Some((client, client_disk)) = faulty(Setup::new()) else { return };
    let (a, b) = (first.start(), setup());
    capture_many(&a, "The first", 10);
    capture_many(&b, "The second", 10);
    // Only the daemon's disk is full: the command of the other side has no shim.
    for caller in [true, false] {
        capture(&b, &format!("One more, {caller}."));
        disk.fail(Fault::Write, libc::ENOSPC, 1);
        let output = match caller {
            true => output(client.program().env_remove("LD_PRELOAD").arg("--socket").arg(a.setup().socket()).args([
                "sync",
                "--command",
                &serve(&b),
            ])),
            false => b.run(&["sync", "--command", &format!("unset LD_PRELOAD; {}", serve(&a))]),
        };
        let printed = said(&output);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        assert!(printed.contains("disk is full") && printed.matches("disk is full").count() == 1, "{printed}");
        disk.heal(Fault::Write);
        sync(&b, &format!("unset LD_PRELOAD; {}", serve(&a)));
        assert_whole(&[&a, &b], if caller { 21 } else { 22 });
    }

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().to_str().expect("a text");
    let run = || output(client.program().arg("--socket").arg(b.setup().socket()).args(["sync", path]));
    assert_eq!(run().status.code(), Some(0));
    let before: Vec<Vec<u8>> = files(folder.path()).iter().map(|file| fs::read(file).expect("it is there")).collect();
    capture(&b, "No space for this one yet.");
    client_disk.fail(Fault::Write, libc::ENOSPC, 1);
    let full = run();
    assert_eq!(full.status.code(), Some(1), "{}", said(&full));
    assert!(said(&full).contains("free some space there and run it again"), "{}", said(&full));
    let after: Vec<Vec<u8>> = files(folder.path()).iter().map(|file| fs::read(file).expect("it is there")).collect();
    assert_eq!(after, before);
    client_disk.heal(Fault::Write);
    sync_folder(&b, folder.path());
    let c = setup();
    sync_folder(&c, folder.path());
    assert_whole(&[&b, &c], 23);
}

#[cfg(target_os = "linux")]
#[test]
fn clocks_that_differ_by_a_day_change_nothing() {
    use crate::harness::Setup;
    use crate::shim::faulty;

    for ahead in [86_400, -86_400] {
        let Some((other, clock)) = faulty(Setup::new()) else { return };
        let (a, b) = (setup(), other.start());
        clock.jump_to(ahead);
        capture_many(&a, "The first", 5);
        capture_many(&b, "The second", 5);
        sync(&a, &format!("unset LD_PRELOAD; {}", serve(&b)));
        b.client().call("profile_set", json!({"knob": "wake_depth", "value": "minimal"}));
        sync(&a, &format!("unset LD_PRELOAD; {}", serve(&b)));
        assert_whole(&[&a, &b], 10);
        assert_eq!(a.client().call("profile_get", json!({"knob": "wake_depth"}))["value"], "minimal", "{ahead}");
        let id = capture(&b, "A thing of the past or the future.");
        sync(&a, &format!("unset LD_PRELOAD; {}", serve(&b)));
        let output = a.run(&["forget", &id, "--yes"]);
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let last = sync(&a, &format!("unset LD_PRELOAD; {}", serve(&b)));
        assert_eq!(last["there"]["forgotten"], 1, "{last}");
        assert_whole(&[&a, &b], 10);
    }
}

#[test]
fn every_way_in_which_the_other_side_does_not_speak_has_a_sentence() {
    let a = setup();
    capture(&a, "Something to be carried.");
    let greeting = |format: u32, version: &str| {
        format!(
            "printf '{{\"iaid_sync\":{format},\"version\":\"{version}\",\"store\":\"x\",\"name\":\"n\"}}\\n'; cat >/dev/null"
        )
    };
    let own = serve(&a);
    let missing = format!("'{IAID}' --socket /nowhere/s sync --serve");
    let (newer, older) = (greeting(2, "9.9.9"), greeting(0, "0.0.1"));
    for (command, code, parts) in [
        (newer.as_str(), 1, &["runs iaid 9.9.9", "update iaid here"][..]),
        (older.as_str(), 1, &["runs iaid 0.0.1", "update iaid there"]),
        ("exit 127", 1, &["has no program iaid", "--command"]),
        ("exit 126", 1, &["may not run iaid"]),
        ("echo 'error: unrecognized subcommand' >&2; exit 2", 1, &["older release without sync", "update it there"]),
        ("echo Welcome; exit 3", 1, &["does not speak iaid's sync", "Welcome", "exit code 3"]),
        ("kill -9 $$", 1, &["signal 9"]),
        ("while :; do echo Welcome to this machine; done", 1, &["it wrote: Welcome to this machine"]),
        ("true", 1, &["before it spoke"]),
        (own.as_str(), 1, &["has this very store"]),
        (missing.as_str(), 1, &["there is no socket at /nowhere/s; start it with: iaid serve"]),
    ] {
        let printed = fails(&a, &["--command", command], code);
        assert!(parts.iter().all(|part| printed.contains(part)), "{command}: {printed}");
        assert_eq!(printed.lines().filter(|line| line.contains("iaid: ")).count(), 1, "{command}: {printed}");
    }
    for (args, code, part) in [
        (&["/nowhere/folder"][..], 1, "no such folder"),
        (&["-oProxyCommand=x"], 2, "unexpected argument"),
        (&["--", "-oProxyCommand=x"], 2, "neither a host"),
        (&["ssh://desk/path"], 2, "names a path"),
        (&[], 2, "required"),
        (&["desk", "--serve"], 2, "cannot be used with"),
    ] {
        let printed = fails(&a, args, code);
        assert!(printed.contains(part), "{args:?}: {printed}");
    }
    let bare = tempfile::tempdir().expect("a folder");
    let mut command = a.setup().program();
    command.env("PATH", bare.path()).arg("--socket").arg(a.setup().socket()).args(["sync", "desk"]);
    let output = output(&mut command);
    assert!(said(&output).contains("ssh is not installed"), "{}", said(&output));

    let b = setup();
    let output = a.run(&["sync", "--command", &format!("echo Welcome; echo You have mail; {}", serve(&b))]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        said(&output).contains("skipped 2 lines that") && said(&output).contains("the first: Welcome"),
        "{}",
        said(&output)
    );
    assert_whole(&[&a, &b], 1);
}

/// A server of ssh on 127.0.0.1 with keys of its own.
struct Sshd {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Sshd {
    /// Starts it for this user, with a program `iaid` on its PATH that uses `socket`. Returns `None`, and reports the
    /// calling test as skipped, if it is not installed.
    fn start(socket: &Path) -> Option<Sshd> {
        let program = ["/usr/sbin/sshd", "/usr/local/sbin/sshd"].into_iter().find(|path| Path::new(path).exists());
        let program = match program {
            Some(program) => program,
            None => {
                has("sshd").then_some("sshd")?;
                return None;
            }
        };
        if !has("ssh") || !has("ssh-keygen") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for key in ["host", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key));
            assert!(keygen.status().expect("it runs").success());
        }
        fs::copy(at("user.pub"), at("authorized")).expect("it can be copied");
        fs::create_dir(at("bin")).expect("a folder");
        let script = format!("#!/bin/sh\nexec '{IAID}' --socket '{}' \"$@\"\n", socket.display());
        fs::write(at("bin/iaid"), script).expect("it can be written");
        fs::set_permissions(at("bin/iaid"), fs::Permissions::from_mode(0o755)).expect("it can be made executable");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port").port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nAuthorizedKeysFile {0}/authorized\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n\
             SetEnv PATH={0}/bin:/usr/bin:/bin\n",
            folder.path().display()
        );
        fs::write(at("config"), config).expect("it can be written");
        // Root's sshd separates its privileges in this folder.
        drop(fs::create_dir_all("/run/sshd"));
        let log = fs::File::create(at("log")).expect("a log");
        let mut sshd = Command::new(program);
        sshd.arg("-D").arg("-e").arg("-f").arg(at("config")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = sshd.spawn().expect("it runs");
        let sshd = Sshd { child, folder, port };
        Some(sshd)
    }

    /// Puts a program `ssh` on a PATH that uses this server's keys, as a user's configuration would.
    fn client(&self, daemon: &Daemon, args: &[&str]) -> Output {
        let at = |name: &str| self.folder.path().join(name);
        let config = format!(
            "Host desk\n HostName 127.0.0.1\n Port {}\nHost *\n IdentityFile {}\n IdentitiesOnly yes\n BatchMode yes\n\
             StrictHostKeyChecking accept-new\n UserKnownHostsFile {}\n LogLevel ERROR\n",
            self.port,
            at("user").display(),
            at("known").display()
        );
        fs::write(at("ssh_config"), config).expect("it can be written");
        fs::create_dir_all(at("client")).expect("a folder");
        let script = format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n", at("ssh_config").display());
        fs::write(at("client/ssh"), script).expect("it can be written");
        fs::set_permissions(at("client/ssh"), fs::Permissions::from_mode(0o755)).expect("it can be made executable");
        let mut command = daemon.setup().program();
        command.env("PATH", format!("{}:/usr/bin:/bin", at("client").display()));
        output(command.arg("--socket").arg(daemon.setup().socket()).arg("sync").args(args))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

#[test]
fn two_machines_become_one_over_a_real_sshd() {
    let (laptop, desk) = (setup(), setup());
    let Some(mut sshd) = Sshd::start(&desk.setup().socket()) else { return };
    until("sshd listens", || {
        assert!(matches!(sshd.child.try_wait(), Ok(None)), "{}", sshd.log());
        std::net::TcpStream::connect(("127.0.0.1", sshd.port)).is_ok()
    });
    capture_many(&laptop, "The laptop", 300);
    capture_many(&desk, "The desk", 3);
    let done = |args: &[&str]| {
        let output = sshd.client(&laptop, args);
        assert_eq!(output.status.code(), Some(0), "{}{}", said(&output), sshd.log());
        said(&output)
    };
    assert!(done(&["desk"]).contains("new here: 3 records; new there: 300 records"));
    assert!(done(&[&format!("ssh://127.0.0.1:{}", sshd.port)]).contains("new here: 0 records; new there: 0 records"));
    assert_whole(&[&laptop, &desk], 303);

    // A program that is not there, one that is of an older release, and a shell that greets.
    let program = sshd.folder.path().join("bin/iaid");
    let script = fs::read_to_string(&program).expect("it is there");
    let failed = |code: i32, part: &str| {
        let output = sshd.client(&laptop, &["desk"]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(part), "{}", said(&output));
    };
    fs::write(&program, "#!/bin/sh\necho \"error: unrecognized subcommand 'sync'\" >&2; exit 2\n")
        .expect("it can be written");
    failed(1, "iaid on desk is of an older release without sync");
    fs::write(&program, script.replace("exec", "echo Welcome\nexec")).expect("it can be written");
    assert!(done(&["desk"]).contains("skipped 1 line that desk wrote"));
    fs::remove_file(&program).expect("it can be removed");
    failed(1, "desk has no program iaid");
    drop(sshd.child.kill());
    until("sshd has ended", || matches!(sshd.child.try_wait(), Ok(Some(_))));
    let output = sshd.client(&laptop, &["desk"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(said(&output).contains("ssh could not connect to desk"), "{}", said(&output));
}

#[test]
fn both_daemons_serve_their_clients_while_they_sync() {
    let (a, b) = (setup(), setup());
    let rows: String = (0..3000)
        .map(|n| json!({"kind": "record", "text": format!("Row {n} of what was said long ago."), "session": format!("s{}", n % 7)}).to_string() + "\n")
        .collect();
    let file = a.setup().home().join("rows.ndjson");
    fs::write(&file, rows).expect("it can be written");
    let imported = a.run(&["import", file.to_str().expect("a text")]);
    assert_eq!(imported.status.code(), Some(0), "{}", said(&imported));
    thread::scope(|scope| {
        let syncing = scope.spawn(|| sync(&b, &serve(&a)));
        let (mut ours, mut theirs) = (a.client(), b.client());
        let mut calls = 0;
        while !syncing.is_finished() || calls == 0 {
            calls += 1;
            for client in [&mut ours, &mut theirs] {
                client.call("memory_capture", json!({"text": format!("Meanwhile the number {calls} came up.")}));
                client.call("memory_recall", json!({"cue": "said long ago", "limit": 1}));
            }
        }
        assert_eq!(syncing.join().expect("it ends")["here"]["refused"], 0);
    });
    sync(&b, &serve(&a));
    let records = |daemon: &Daemon| daemon.status()["records"].clone();
    assert_eq!(records(&a), records(&b));
    assert!(records(&a).as_u64() > Some(3000));
}

#[test]
fn systemd_accepts_the_timer() {
    if !has("systemd-analyze") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let bin = folder.path().join(".cargo/bin");
    fs::create_dir_all(&bin).expect("a folder");
    std::os::unix::fs::symlink(IAID, bin.join("iaid")).expect("a link");
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    let mut copied = Vec::new();
    for (from, to) in [
        ("iaid-sync@.service", "iaid-sync@me\\x40desk.service"),
        ("iaid-sync@.timer", "iaid-sync@me\\x40desk.timer"),
        ("iaid.socket", "iaid.socket"),
        ("iaid.service", "iaid.service"),
    ] {
        let path = folder.path().join(to);
        fs::copy(deploy.join(from), &path).expect("it can be copied");
        copied.push(path);
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--user", "--man=no"]).args(&copied);
    verify.env("XDG_RUNTIME_DIR", folder.path()).env("HOME", folder.path());
    let output = output(&mut verify);
    assert_eq!((output.status.code(), said(&output)), (Some(0), String::new()));
}
