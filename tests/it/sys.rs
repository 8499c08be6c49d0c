//! The daemon's socket: binding, inheriting, access, and removal; and service notifications.
//!
//! The removal of LISTEN_* and NOTIFY_SOCKET from the daemon's environment cannot be observed from outside
//! (`/proc/PID/environ` shows the initial environment); unit tests of `sys/` check it.

use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Client, Daemon, PATIENCE, Setup, kill_command, setup, until};
use crate::shell::behind;
use crate::skip::{has, has_root};

/// Longest path of a Unix socket, in bytes: unix(7), and unix(4) on macOS.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "macos") { 103 } else { 107 };

/// A user that is neither root nor the user who runs the tests.
const NOBODY: u32 = 65534;

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).expect("it is there").mode() & 0o7777
}

fn ping(stream: UnixStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    assert_eq!(Client::new(stream).call("ping", json!({})), json!({}));
}

/// Returns the standard error of a daemon that exited with status 1.
fn refusal(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

#[test]
fn the_socket_is_private_under_any_umask() {
    for umask in ["000", "077", "777"] {
        let setup = Setup::new().socket_at("run/deep/d.sock");
        let command = behind(&format!("umask {umask}"), &setup.serve());
        // Under 777 the owner could not enter the new directory.
        if umask == "777" && !has_root() {
            continue;
        }
        let daemon = setup.start_by(command);
        assert_eq!(mode(daemon.setup().socket()), 0o600, "umask {umask}");
        if umask != "777" {
            assert_eq!(mode(daemon.setup().home().join("run/deep")), 0o700, "umask {umask}");
            assert_eq!(mode(daemon.setup().home().join("run")), 0o700, "umask {umask}");
        }
        ping(daemon.connect());
    }
}

#[test]
fn the_socket_of_a_killed_daemon_is_replaced() {
    let mut daemon = setup();
    for _ in 0..3 {
        daemon.kill_and_restart();
        ping(daemon.connect());
        assert_eq!(mode(daemon.setup().socket()), 0o600);
    }
    assert!(daemon.log().contains("removed the stale socket"), "{}", daemon.log());
    assert_eq!(daemon.stop().code(), Some(0));
    assert!(!daemon.setup().socket().exists());
}

#[test]
fn a_second_daemon_names_the_first_and_changes_nothing() {
    let daemon = setup();
    let before = fs::metadata(daemon.setup().socket()).expect("the socket is there").ino();
    for _ in 0..3 {
        let said = refusal(&daemon.setup().start_and_fail());
        assert!(said.contains(&format!("another daemon (process {}) holds ", daemon.pid())), "{said}");
        assert!(said.contains("stop it first or choose another socket path"), "{said}");
    }
    assert_eq!(fs::metadata(daemon.setup().socket()).expect("it is still there").ino(), before);
    ping(daemon.connect());
}

#[test]
fn a_file_that_is_not_a_socket_is_left_alone() {
    type Put = fn(&Path);
    let cases: [(&str, Put); 5] = [
        ("is a regular file", |path| fs::write(path, "kept").expect("a file can be created")),
        ("is a directory", |path| fs::create_dir(path).expect("a directory can be created")),
        ("is a symbolic link", |path| symlink("nowhere", path).expect("a link can be created")),
        ("is a symbolic link", |path| {
            let target = path.with_extension("target");
            drop(UnixListener::bind(&target).expect("a socket can be created"));
            symlink(target, path).expect("a link can be created");
        }),
        ("is a special file", |path| {
            assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo runs").success());
        }),
    ];
    for (what, put) in cases {
        let setup = Setup::new();
        put(&setup.socket());
        let before = fs::symlink_metadata(setup.socket()).expect("it is there");
        let said = refusal(&setup.start_and_fail());
        let sentence =
            format!("{} {what}, not a socket, and was left alone; move it away or choose", setup.socket().display());
        assert!(said.contains(&sentence), "{said}");
        let after = fs::symlink_metadata(setup.socket()).expect("it is still there");
        assert_eq!((before.ino(), before.mode(), before.len()), (after.ino(), after.mode(), after.len()), "{what}");
    }
}

#[test]
fn the_live_socket_of_another_program_is_left_alone() {
    let setup = Setup::new();
    let theirs = UnixListener::bind(setup.socket()).expect("a socket can be created");
    let said = refusal(&setup.start_and_fail());
    assert!(said.contains("another program listens at") && said.contains("it holds no lock"), "{said}");
    UnixStream::connect(setup.socket()).expect("it still listens");
    drop(theirs);
}

#[test]
fn a_socket_of_systemd_needs_no_start_by_hand() {
    if !has("nc") {
        return;
    }
    let setup = Setup::new();
    // systemd is known by the name of its program.
    let find = Command::new("sh").args(["-c", "command -v nc"]).output().expect("sh runs");
    let systemd = setup.home().join("systemd");
    fs::copy(String::from_utf8_lossy(&find.stdout).trim_end(), &systemd).expect("a program can be copied");
    let mut manager = Command::new(&systemd);
    manager.arg("-lkU").arg(setup.socket()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut manager = manager.spawn().expect("nc runs");
    until("it listens", || UnixStream::connect(setup.socket()).is_ok());
    let said = refusal(&setup.start_and_fail());
    manager.kill().and_then(|()| manager.wait()).expect("it ends");
    let want = format!("systemd (process {}) listens at {}", manager.id(), setup.socket().display());
    assert!(said.contains(&want) && said.contains("systemctl --user stop iaid.socket"), "{said}");
}

#[test]
fn the_longest_path_serves_and_one_byte_more_is_refused_with_both_numbers() {
    let fill = MAX_PATH_BYTES - Setup::new().home().as_os_str().len() - 1;
    let longest = Setup::new().socket_at(&"s".repeat(fill));
    assert_eq!(longest.socket().as_os_str().len(), MAX_PATH_BYTES);
    ping(longest.start().connect());

    let longer = Setup::new().socket_at(&format!("new/{}", "s".repeat(fill)));
    let said = refusal(&longer.start_and_fail());
    let bytes = longer.socket().as_os_str().len();
    assert!(said.contains(&format!("has {bytes} bytes, but a Unix socket's path may have at most {MAX_PATH_BYTES}")));
    assert!(!longer.home().join("new").exists(), "no directory is created for it");
}

/// What is at the path when several daemons start at once.
#[derive(Clone, Copy)]
enum Before {
    Nothing,
    Stale,
    /// A daemon that is exiting.
    Leaving,
}

#[test]
fn of_several_daemons_started_at_once_exactly_one_serves() {
    const STARTERS: usize = 8;
    for round in 0..20 {
        let before = [Before::Nothing, Before::Stale, Before::Leaving][round % 3];
        let setup = Setup::new();
        let lock = setup.home().join("d.sock.lock");
        let mut first = match before {
            Before::Nothing => None,
            Before::Stale => {
                drop(UnixListener::bind(setup.socket()).expect("a socket can be created"));
                None
            }
            Before::Leaving => {
                let mut command = setup.serve();
                let child = command.stderr(Stdio::null()).spawn().expect("the binary runs");
                until("the first one serves", || UnixStream::connect(setup.socket()).is_ok());
                assert!(kill_command().arg(child.id().to_string()).status().expect("kill runs").success());
                Some(child)
            }
        };
        let mut starters: Vec<Child> =
            (0..STARTERS).map(|_| setup.serve().stderr(Stdio::piped()).spawn().expect("the binary runs")).collect();
        // If the first one still holds the lock, all of them may be refused.
        let fewest = if matches!(before, Before::Leaving) { 0 } else { 1 };
        let running = last_running(&mut starters, fewest, &lock);
        assert!((fewest..=1).contains(&running.len()), "round {round}: {} serve", running.len());
        if let [winner] = running[..] {
            until("the winner accepts", || UnixStream::connect(setup.socket()).is_ok());
            ping(UnixStream::connect(setup.socket()).expect("it still accepts"));
            assert!(is_held_by(&lock, &starters[winner]), "round {round}");
        }
        for (at, starter) in starters.iter_mut().enumerate() {
            if running.contains(&at) {
                starter.kill().expect("it can be killed");
            }
            let mut said = String::new();
            starter.stderr.take().expect("piped").read_to_string(&mut said).expect("it ends");
            let status = starter.wait().expect("it has ended");
            if !running.contains(&at) {
                assert_eq!(status.code(), Some(1), "round {round}: {said}");
                // Never the store's lock: it is released before the socket's.
                assert!(said.contains("another daemon "), "round {round}: {said}");
            }
        }
        if let Some(first) = &mut first {
            assert_eq!(first.wait().expect("it has ended").code(), Some(0), "round {round}");
        }
    }
}

/// Waits until `fewest` are running, or one that holds the lock, and returns their indices.
fn last_running(starters: &mut [Child], fewest: usize, lock: &Path) -> Vec<usize> {
    let mut running = Vec::new();
    until("all but one have exited", || {
        running = (0..starters.len())
            .filter(|at| starters[*at].try_wait().expect("it can be asked").is_none())
            .collect::<Vec<_>>();
        running.len() <= fewest || (running.len() == 1 && is_held_by(lock, &starters[running[0]]))
    });
    running
}

fn is_held_by(lock: &Path, child: &Child) -> bool {
    fs::read_to_string(lock).is_ok_and(|text| text.trim() == child.id().to_string())
}

#[test]
fn a_path_that_another_program_replaced_is_not_removed_at_the_end() {
    let mut daemon = setup();
    let socket = daemon.setup().socket();
    fs::remove_file(&socket).expect("it can be removed");
    let theirs = UnixListener::bind(&socket).expect("another can be created");
    assert_eq!(daemon.stop().code(), Some(0));
    UnixStream::connect(&socket).expect("theirs is still there");
    drop(theirs);

    fs::remove_file(&socket).expect("it can be removed");
    daemon.restart();
    fs::remove_file(&socket).expect("it can be removed");
    fs::write(&socket, "kept").expect("a file can be created");
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(fs::read_to_string(&socket).expect("it is still there"), "kept");
}

/// Returns a command that starts a daemon with `fd` as descriptor 5 and `--fd 5`.
fn with_fd(setup: &Setup, fd: OwnedFd) -> Command {
    let mut command = setup.program();
    command.args(["serve", "--fd", "5", "--store"]).arg(setup.store());
    let mut command = behind("exec 5<&0 0</dev/null", &command);
    command.stdin(Stdio::from(fd));
    command
}

#[test]
fn a_socket_passed_by_number_is_served_and_its_path_kept() {
    let setup = Setup::new();
    let ours = UnixListener::bind(setup.socket()).expect("a socket can be created");
    fs::set_permissions(setup.socket(), Permissions::from_mode(0o640)).expect("its mode can be set");
    let command = with_fd(&setup, ours.try_clone().expect("it can be duplicated").into());
    let mut daemon = setup.start_by(command);
    ping(daemon.connect());
    assert_close_on_exec(daemon.pid());
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(mode(daemon.setup().socket()), 0o640);
    assert!(!daemon.setup().home().join("d.sock.lock").exists());
    UnixStream::connect(daemon.setup().socket()).expect("it still listens");
    ours.accept().expect("a connection waits");
}

#[test]
fn each_invalid_descriptor_has_its_message() {
    let setup = Setup::new();
    let at = |name: &str| setup.home().join(name);
    let listening = UnixListener::bind(at("listening")).expect("a socket can be created");
    let cases: Vec<(OwnedFd, &str)> = vec![
        (fs::File::open("/dev/null").expect("it is there").into(), "descriptor 5 is not a socket"),
        (UdpSocket::bind("127.0.0.1:0").expect("a socket").into(), "descriptor 5 is a socket, but not a Unix socket"),
        (TcpListener::bind("127.0.0.1:0").expect("a socket").into(), "descriptor 5 is a socket, but not a Unix socket"),
        (
            UnixDatagram::bind(at("datagram")).expect("a socket").into(),
            "descriptor 5 is a Unix socket, but not a stream socket",
        ),
        (
            UnixStream::connect(at("listening")).expect("it listens").into(),
            "descriptor 5 is a Unix stream socket that is not listening",
        ),
    ];
    for (fd, sentence) in cases {
        let said = refusal(&with_fd(&setup, fd).output().expect("it runs"));
        assert!(said.contains(sentence) && said.contains("pass a listening Unix stream socket"), "{said}");
    }
    for (number, sentence) in [
        ("77", "descriptor 77 is not open"),
        ("0", "descriptor 0 is standard input, output or error"),
        ("2", "descriptor 2 is standard input, output or error"),
    ] {
        let output = setup.program().args(["serve", "--fd", number, "--store"]).arg(setup.store()).output();
        let said = refusal(&output.expect("it runs"));
        assert!(said.contains(sentence), "{said}");
    }
    drop(listening);
    assert!(!setup.home().join(".iai-mcp").exists(), "no other socket is bound instead");
}

/// Returns a command that starts a daemon with descriptors 3 and 4, as systemd passes them.
fn with_two(setup: &Setup, script: &str, three: OwnedFd, four: OwnedFd) -> Command {
    let mut command = behind(&format!("exec 3<&0 4<&1 0</dev/null 1>&2\n{script}"), &setup.serve());
    command.stdin(Stdio::from(three)).stdout(Stdio::from(four));
    command
}

const PASS_ONE: &str = "exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1";

#[test]
fn a_listener_from_the_service_manager_is_served_and_its_path_kept() {
    let setup = Setup::new();
    let ours = UnixListener::bind(setup.socket()).expect("a socket can be created");
    fs::set_permissions(setup.socket(), Permissions::from_mode(0o666)).expect("its mode can be set");
    let inode = fs::metadata(setup.socket()).expect("it is there").ino();
    let mut command = behind(PASS_ONE, &setup.serve());
    command.stdin(Stdio::from(OwnedFd::from(ours.try_clone().expect("it can be duplicated"))));
    let mut daemon = setup.start_by(command);
    ping(daemon.connect());
    assert_close_on_exec(daemon.pid());
    assert!(daemon.log().contains("listening on an inherited socket"), "{}", daemon.log());
    assert_eq!(daemon.stop().code(), Some(0));
    let about = fs::metadata(daemon.setup().socket()).expect("it is still there");
    assert_eq!((about.ino(), about.mode() & 0o777), (inode, 0o666));
    assert!(!daemon.setup().home().join("d.sock.lock").exists());
}

#[test]
fn variables_meant_for_another_process_are_ignored() {
    for variables in [
        "LISTEN_PID=1 LISTEN_FDS=1",
        "LISTEN_PID= LISTEN_FDS=1",
        "LISTEN_PID=x LISTEN_FDS=1",
        "LISTEN_FDS=1",
        "LISTEN_PID=$$",
        "LISTEN_PID=$$ LISTEN_FDS=0",
        "LISTEN_PID=$$ LISTEN_FDS=-1",
        "LISTEN_PID=$$ LISTEN_FDS=+1",
        "LISTEN_PID=$$ LISTEN_FDS=1x",
        "LISTEN_PID=$$ LISTEN_FDS=99999999999",
        "LISTEN_PID=$$ LISTEN_FDS=9",
        "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b",
    ] {
        let setup = Setup::new();
        let elsewhere = UnixListener::bind(setup.home().join("elsewhere")).expect("a socket can be created");
        let mut command = behind(&format!("exec 3<&0 0</dev/null; export {variables}"), &setup.serve());
        command.stdin(Stdio::from(OwnedFd::from(elsewhere)));
        let daemon = setup.start_by(command);
        ping(daemon.connect());
        assert_eq!(mode(daemon.setup().socket()), 0o600, "{variables}");
    }
}

#[test]
fn of_several_descriptors_the_named_or_the_only_listening_one_is_served() {
    let null = || OwnedFd::from(fs::File::open("/dev/null").expect("it is there"));
    for (names, swapped) in [("other:iaid", false), ("iaid:other", true), ("a:b", false), ("", true)] {
        let setup = Setup::new();
        let ours = UnixListener::bind(setup.socket()).expect("a socket can be created").into();
        let (three, four) = if swapped { (ours, null()) } else { (null(), ours) };
        let names = if names.is_empty() { String::new() } else { format!(" LISTEN_FDNAMES={names}") };
        let command = with_two(&setup, &format!("export LISTEN_PID=$$ LISTEN_FDS=2{names}"), three, four);
        ping(setup.start_by(command).connect());
    }

    for (names, sentence) in [
        ("a:b", "2 descriptors were inherited, 2 of them listening Unix stream sockets"),
        ("iaid:iaid", "2 of the inherited descriptors are named iaid"),
    ] {
        let setup = Setup::new();
        let socket = |name: &str| UnixListener::bind(setup.home().join(name)).expect("a socket can be created").into();
        let script = format!("export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES={names}");
        let said = refusal(&with_two(&setup, &script, socket("a"), socket("b")).output().expect("it runs"));
        assert!(said.contains(sentence), "{said}");
        assert!(!setup.socket().exists(), "no other socket is bound instead");
    }

    let setup = Setup::new();
    let ours = UnixListener::bind(setup.socket()).expect("a socket can be created").into();
    let script = "export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=iaid:other";
    let said = refusal(&with_two(&setup, script, null(), ours).output().expect("it runs"));
    assert!(said.contains("the inherited descriptor 3 is not a socket"), "{said}");
}

#[test]
fn systemd_starts_the_daemon_at_the_first_connection() {
    if !has("systemd-socket-activate") {
        return;
    }
    for listeners in [1, 2] {
        let setup = Setup::new();
        let other = setup.home().join("other");
        let mut command = Command::new("systemd-socket-activate");
        if listeners == 2 {
            command.arg("--listen").arg(&other).arg("--fdname=other:iaid");
        }
        command.arg("--listen").arg(setup.socket());
        command.arg(setup.serve().get_program()).args(setup.serve().get_args());
        command.stdin(Stdio::null());
        let mut daemon = setup.start_by(command);
        ping(daemon.connect());
        until("it serves the inherited socket", || daemon.log().contains("listening on an inherited socket"));
        assert_close_on_exec(daemon.pid());
        assert_eq!(daemon.stop().code(), Some(0));
        assert!(daemon.setup().socket().exists());
        assert!(!daemon.setup().home().join("d.sock.lock").exists());
    }
}

/// Returns the descriptors of a process with their targets.
fn descriptors(pid: u32) -> Vec<(u32, String)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Returns the descriptors above standard error without close-on-exec.
fn inheritable(pid: u32) -> Vec<(u32, String)> {
    /// O_CLOEXEC in fdinfo, proc_pid_fdinfo(5).
    const CLOSE_ON_EXEC: u32 = 0o2_000_000;
    let mut all = descriptors(pid);
    all.retain(|(number, _)| {
        let about = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).unwrap_or_default();
        let flags = about.lines().find_map(|line| line.strip_prefix("flags:"));
        // Without flags, the descriptor has been closed meanwhile.
        let flags = flags.map_or(CLOSE_ON_EXEC, |flags| u32::from_str_radix(flags.trim(), 8).expect("an octal number"));
        *number > 2 && flags & CLOSE_ON_EXEC == 0
    });
    all
}

fn assert_close_on_exec(pid: u32) {
    // Descriptors that the test process inherited are passed through to the daemon.
    let inherited = inheritable(std::process::id());
    let ours: Vec<_> = inheritable(pid).into_iter().filter(|fd| !inherited.contains(fd)).collect();
    assert!(ours.is_empty(), "inheritable: {ours:?}");
    assert!(descriptors(pid).len() > 6);
}

#[test]
#[cfg(target_os = "linux")]
fn all_sockets_are_unix_sockets_and_all_descriptors_close_on_exec() {
    let daemon = setup();
    let mut client = daemon.client();
    client.ask(r#"{"type":"pause"}"#);
    client.call("profile_get", json!({"knob": "wake_depth"}));
    assert_close_on_exec(daemon.pid());
    let unix = fs::read_to_string(format!("/proc/{}/net/unix", daemon.pid())).expect("it can be read");
    let inodes: Vec<&str> = unix.lines().skip(1).filter_map(|line| line.split_whitespace().nth(6)).collect();
    let mut sockets = 0;
    for (number, target) in descriptors(daemon.pid()) {
        if let Some(inode) = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) {
            assert!(inodes.contains(&inode), "descriptor {number} is a socket, but not a Unix socket");
            sockets += 1;
        }
    }
    assert!(sockets >= 2, "its listener and this client's connection");
}

/// Returns the next message to the service manager.
fn received(manager: &UnixDatagram) -> String {
    let mut words = [0; 256];
    let count = loop {
        match manager.recv(&mut words) {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            outcome => break outcome.expect("a message comes"),
        }
    };
    String::from_utf8_lossy(&words[..count]).into_owned()
}

#[test]
fn the_service_manager_is_notified_of_ready_watchdog_and_stopping() {
    let setup = Setup::new();
    let address = setup.home().join("notify");
    let manager = UnixDatagram::bind(&address).expect("a socket can be created");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let address = address.to_str().expect("a plain path").to_owned();
    let mut daemon = setup.env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", "200000").start();
    assert_eq!(received(&manager), "READY=1");
    let began = Instant::now();
    for _ in 0..5 {
        assert_eq!(received(&manager), "WATCHDOG=1");
    }
    assert!(began.elapsed() >= Duration::from_millis(300), "one message comes every 100 ms");
    daemon.signal(15);
    let mut last = received(&manager);
    while last == "WATCHDOG=1" {
        last = received(&manager);
    }
    assert_eq!(last, "STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0));
}

/// The manager kills a service of `Type=notify` that does not send READY=1.
#[test]
fn a_notification_is_retried_if_the_managers_queue_is_full() {
    let setup = Setup::new();
    let address = setup.home().join("notify");
    let manager = UnixDatagram::bind(&address).expect("a socket can be created");
    manager.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let other = UnixDatagram::unbound().expect("a socket can be created");
    other.set_nonblocking(true).expect("it can be set");
    while other.send_to(b"another service's", &address).is_ok() {}
    let address = address.to_str().expect("a plain path").to_owned();
    let daemon = setup.env("NOTIFY_SOCKET", &address).start();
    // The daemon serves meanwhile.
    ping(daemon.connect());
    let mut last = received(&manager);
    while last == "another service's" {
        last = received(&manager);
    }
    assert_eq!(last, "READY=1");
}

#[test]
fn a_missing_service_manager_does_not_stop_the_daemon() {
    for (name, value) in
        [("NOTIFY_SOCKET", "nonsense"), ("NOTIFY_SOCKET", "/nowhere/at/all"), ("WATCHDOG_USEC", "200000")]
    {
        let mut daemon = Setup::new().env(name, value).start();
        ping(daemon.connect());
        assert_eq!(daemon.log().contains("WARN"), name == "NOTIFY_SOCKET", "{name}={value}: {}", daemon.log());
        assert_eq!(daemon.stop().code(), Some(0));
    }
    let setup = Setup::new();
    let address = setup.home().join("notify");
    let manager = UnixDatagram::bind(&address).expect("a socket can be created");
    let address = address.to_str().expect("a plain path").to_owned();
    let daemon = setup.env("NOTIFY_SOCKET", &address).env("WATCHDOG_USEC", "none").start();
    assert_eq!(received(&manager), "READY=1");
    assert!(daemon.log().contains("the watchdog is disabled"), "{}", daemon.log());
}

/// Lets every user reach the socket, as a wrong chmod might.
fn open_to_all(daemon: &Daemon) {
    fs::set_permissions(daemon.setup().home(), Permissions::from_mode(0o755)).expect("its mode can be set");
    fs::set_permissions(daemon.setup().socket(), Permissions::from_mode(0o666)).expect("its mode can be set");
}

/// Returns a command that runs a copy of the program as user `uid`, from a directory that every user can read.
fn program_as(uid: u32, home: &Path) -> Command {
    let copy = home.join("iaid");
    if !copy.exists() {
        // Another process copies it: if the copy were open for writing here, a child forked at that moment would
        // hold it open, and it could not be executed (ETXTBSY).
        let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_iaid")).arg(&copy).status();
        assert!(copied.expect("cp runs").success());
    }
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into()]).arg(copy);
    command.env("HOME", home);
    command
}

#[test]
fn a_connection_of_another_user_is_closed_and_counted() {
    if !has_root() || !has("setpriv") {
        return;
    }
    let daemon = setup();
    open_to_all(&daemon);
    let mut command = program_as(NOBODY, daemon.setup().home());
    let output = command.arg("status").arg("--socket").arg(daemon.setup().socket()).output().expect("it runs");
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stdout.is_empty());
    let status = daemon.status();
    assert!(status["refused_peers"].as_u64() >= Some(1), "{status}");
    assert!(daemon.log().contains(&format!("closed a connection of uid {NOBODY}")), "{}", daemon.log());
}

#[test]
fn connections_of_another_user_leave_a_bounded_number_of_lines_in_the_log() {
    if !has_root() || !has("setpriv") {
        return;
    }
    let daemon = setup();
    open_to_all(&daemon);
    for _ in 0..30 {
        let mut command = program_as(NOBODY, daemon.setup().home());
        command.arg("status").arg("--socket").arg(daemon.setup().socket());
        assert_eq!(command.output().expect("it runs").status.code(), Some(3));
    }
    assert!(daemon.status()["refused_peers"].as_u64() >= Some(30));
    assert_eq!(daemon.log().matches("closed a connection of uid").count(), 20, "{}", daemon.log());
}

#[test]
fn root_may_use_the_daemon_of_any_user() {
    if !has_root() || !has("setpriv") {
        return;
    }
    let setup = Setup::new();
    std::os::unix::fs::chown(setup.home(), Some(NOBODY), Some(NOBODY)).expect("root can give it away");
    let mut command = program_as(NOBODY, setup.home());
    command.args(setup.serve().get_args()).stdin(Stdio::null());
    let daemon = setup.start_by(command);
    ping(daemon.connect());
    assert_eq!(fs::metadata(daemon.setup().socket()).expect("it is there").uid(), NOBODY);
}
