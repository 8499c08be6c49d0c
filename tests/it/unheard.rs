//! What hooks and imports do not take: what is said while capture is paused, and in folders that are not listened to.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::{Timestamp, ToSpan};
use serde_json::{Value, json};

use crate::harness::{Daemon, Setup, setup};

fn hook(setup: &Setup, event: &str, input: &Value) {
    let mut command = setup.program();
    command.arg("--socket").arg(setup.socket()).args(["hook", event]).env("IAI_MCP_STORE", setup.store());
    command.env("IAID_HOOK_TIMEOUT", "60").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// Runs a command that finds the store by its variable, and returns its standard output.
fn run(daemon: &Daemon, args: &[&str]) -> String {
    let setup = daemon.setup();
    let mut command: Command = setup.program();
    let output = command.arg("--socket").arg(setup.socket()).args(args).env("IAI_MCP_STORE", setup.store()).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

fn line(folder: &Path, role: &str, at: Timestamp, text: &str) -> String {
    json!({"type": role, "uuid": text, "message": {"role": role, "content": text}, "sessionId": "s", "cwd": folder,
        "timestamp": at.to_string()})
    .to_string()
        + "\n"
}

#[test]
fn what_is_said_while_paused_is_never_taken() {
    for by_hand in [false, true] {
        let daemon = setup();
        let (home, store) = (daemon.setup().home().to_owned(), daemon.setup().store());
        // The first call that needs the store creates its folder.
        daemon.client().call("profile_get", json!({}));
        let transcript = home.join("s.jsonl");
        let input = |text: &str| json!({"session_id": "s", "transcript_path": transcript, "cwd": home, "prompt": text});
        let add = |role: &str, at: Timestamp, text: &str| {
            let mut file = fs::File::options().append(true).create(true).open(&transcript).unwrap();
            file.write_all(line(&home, role, at, text).as_bytes()).unwrap();
        };
        add("user", Timestamp::now() - 60.seconds(), "said before the pause");
        let mark = store.join(".capture-paused");
        if by_hand {
            fs::write(&mark, "").unwrap();
        } else {
            let said = run(&daemon, &["pause", "--capture"]);
            assert!(said.contains("capture is paused since"), "{said}");
            assert_eq!(fs::metadata(&mark).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let status = run(&daemon, &["status"]);
        assert!(status.contains("iaid resume --capture") && status.contains("when idle"), "{status}");
        let status: Value = serde_json::from_str(&run(&daemon, &["--json", "status"])).unwrap();
        assert!(status["capture_paused_since"].is_string(), "{status}");
        hook(daemon.setup(), "user-prompt-submit", &input("a prompt of the pause"));
        add("user", Timestamp::now(), "a prompt of the pause");
        add("assistant", Timestamp::now(), "an answer of the pause");
        hook(daemon.setup(), "stop", &input(""));
        assert_eq!(daemon.stored_texts(), ["said before the pause"]);
        // Said without a hook before the pause ends.
        add("assistant", Timestamp::now(), "a last answer of the pause");
        if by_hand {
            fs::remove_file(&mark).unwrap();
        } else {
            let said = run(&daemon, &["resume", "--capture"]);
            assert!(said.contains("capture is resumed"), "{said}");
            assert!(!mark.exists());
        }
        hook(daemon.setup(), "user-prompt-submit", &input("a prompt after the pause"));
        add("user", Timestamp::now(), "a prompt after the pause");
        hook(daemon.setup(), "session-end", &input(""));
        let want = ["said before the pause", "a prompt after the pause"];
        assert_eq!(daemon.stored_texts(), want, "{by_hand}");
        let said = run(&daemon, &["import", transcript.to_str().unwrap()]);
        assert!(said.contains("0 new") && said.contains("3 turns skipped"), "{said}");
        assert_eq!(daemon.stored_texts(), want);
        assert_eq!(run(&daemon, &["resume", "--capture"]), "capture was not paused\n");
    }
}

#[test]
fn while_the_pauses_are_not_known_nothing_is_taken() {
    type Damage = (&'static str, fn(&Path));
    let damages: [Damage; 4] = [
        ("is no span of time", |path| {
            fs::write(path, "2026-01-01T00:00:00Z 2026-01-02T00:00:00Z\nnonsense\n").unwrap()
        }),
        ("longer than", |path| fs::write(path, "x".repeat(2 << 20)).unwrap()),
        ("not a regular file", |path| fs::create_dir(path).unwrap()),
        ("UTF-8", |path| fs::write(path, [0xff, 0xfe]).unwrap()),
    ];
    for (at, (why, damage)) in damages.into_iter().enumerate() {
        let daemon = setup();
        let (home, store) = (daemon.setup().home().to_owned(), daemon.setup().store());
        daemon.client().call("profile_get", json!({}));
        let transcript = home.join("s.jsonl");
        let input = |text: &str| json!({"session_id": "s", "transcript_path": transcript, "cwd": home, "prompt": text});
        let mut said = String::new();
        let mut add = |role: &str, ts: Timestamp, text: &str| {
            said += &line(&home, role, ts, text);
            fs::write(&transcript, &said).unwrap();
        };
        run(&daemon, &["pause", "--capture"]);
        add("user", Timestamp::now(), "said in the pause");
        run(&daemon, &["resume", "--capture"]);
        let pauses = store.join(".capture-state/pauses");
        let before = fs::read(&pauses).unwrap();
        fs::remove_file(&pauses).unwrap();
        damage(&pauses);
        add("assistant", Timestamp::now(), "said after the pause");
        hook(daemon.setup(), "user-prompt-submit", &input("a prompt beside a damaged file"));
        add("user", Timestamp::now(), "a prompt beside a damaged file");
        hook(daemon.setup(), "session-end", &input(""));
        let imported = run(&daemon, &["import", transcript.to_str().unwrap()]);
        assert!(imported.contains("0 new"), "{imported}");
        assert_eq!(daemon.stored_texts(), [""; 0], "{why}");
        let doctor = run(&daemon, &["doctor"]);
        assert!(doctor.contains("nothing is captured") && doctor.contains(why), "{at}: {doctor}");
        let log = fs::read_to_string(store.join("logs/hooks.log")).unwrap();
        assert!(log.contains("nothing is captured"), "{log}");
        // Once it is mended, all but what was said in the pause is taken.
        if pauses.is_dir() {
            fs::remove_dir(&pauses).unwrap()
        } else {
            fs::remove_file(&pauses).unwrap()
        }
        fs::write(&pauses, before).unwrap();
        hook(daemon.setup(), "session-end", &input(""));
        assert_eq!(daemon.stored_texts(), ["said after the pause", "a prompt beside a damaged file"], "{why}");
    }
}

#[test]
fn pauses_behind_a_link_keep_all_out_and_a_link_without_any_does_not() {
    for (pauses, want) in [(true, 0), (false, 1)] {
        let daemon = setup();
        let (home, store) = (daemon.setup().home().to_owned(), daemon.setup().store());
        daemon.client().call("profile_get", json!({}));
        let moved = home.join("moved");
        fs::create_dir(&moved).unwrap();
        if pauses {
            fs::write(moved.join("pauses"), "").unwrap();
        }
        std::os::unix::fs::symlink(&moved, store.join(".capture-state")).unwrap();
        let input =
            json!({"session_id": "s", "transcript_path": home.join("s.jsonl"), "cwd": home, "prompt": "a prompt"});
        hook(daemon.setup(), "user-prompt-submit", &input);
        assert_eq!(daemon.stored_texts().len(), want, "{pauses}");
    }
}

#[test]
fn pauses_that_are_begun_and_ended_at_once_are_all_kept() {
    let daemon = setup();
    let store = daemon.setup().store();
    daemon.client().call("profile_get", json!({}));
    let home = daemon.setup().home().to_owned();
    let transcript = home.join("s.jsonl");
    fs::write(&transcript, line(&home, "user", Timestamp::now(), "some text")).unwrap();
    let rounds = 12;
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                for _ in 0..rounds {
                    let input = json!({"session_id": "s", "transcript_path": transcript, "cwd": home});
                    hook(daemon.setup(), "stop", &input);
                }
            });
        }
        for _ in 0..rounds {
            assert!(run(&daemon, &["pause", "--capture"]).contains("capture is paused"));
            assert!(run(&daemon, &["resume", "--capture"]).contains("capture is resumed"));
        }
    });
    let pauses = fs::read_to_string(store.join(".capture-state/pauses")).unwrap();
    let spans: Vec<(&str, &str)> = pauses.lines().map(|line| line.split_once(' ').unwrap()).collect();
    assert_eq!(spans.len(), rounds, "{pauses}");
    assert!(spans.iter().all(|(since, until)| since < until), "{pauses}");
    assert!(spans.windows(2).all(|two| two[0].1 <= two[1].0), "{pauses}");
}

#[test]
fn folders_that_are_not_listened_to() {
    let daemon = setup();
    // The harness may put its folder under a link.
    let home = fs::canonicalize(daemon.setup().home()).unwrap();
    let store = daemon.setup().store();
    daemon.client().call("profile_get", json!({}));
    for folder in ["private/deep", "privately", "marked/deep", "open", "listed"] {
        fs::create_dir_all(home.join(folder)).unwrap();
    }
    fs::write(home.join("marked/.iaidignore"), "").unwrap();
    symlink(home.join("private"), home.join("link")).unwrap();
    let config = store.join("config.toml");
    fs::write(&config, format!("[capture]\nignore = [\"{}/link/\", \"~/no-such\"]\n", home.display())).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let cases: [(&str, bool); 11] = [
        ("private", true),
        ("private/deep", true),
        ("private/gone/deeper", true),
        ("link/deep", true),
        ("open/../private/", true),
        ("marked", true),
        ("marked/deep", true),
        ("privately", false),
        ("open", false),
        ("private/../open", false),
        ("gone", false),
    ];
    let mut want = Vec::new();
    for (at, (folder, is_ignored)) in cases.iter().enumerate() {
        let (path, text) = (home.join(folder), format!("said in the folder {folder}"));
        let prompt =
            json!({"session_id": format!("p{at}"), "transcript_path": "/none/p.jsonl", "cwd": path, "prompt": text});
        hook(daemon.setup(), "user-prompt-submit", &prompt);
        let (file, line_text) = (home.join(format!("t{at}.jsonl")), format!("{text}, in a file"));
        fs::write(&file, line(&path, "user", Timestamp::now(), &line_text)).unwrap();
        run(&daemon, &["import", file.to_str().unwrap()]);
        if !is_ignored {
            want.extend([text, line_text]);
        }
        assert_eq!(daemon.stored_texts(), want, "{folder}");
    }
}

#[test]
fn a_bad_config_costs_a_warning() {
    let daemon = setup();
    let store = daemon.setup().store();
    daemon.client().call("profile_get", json!({}));
    let config: PathBuf = store.join("config.toml");
    let private = fs::Permissions::from_mode(0o600);
    let file = |text: &str, mode: u32| {
        fs::write(&config, text).unwrap();
        fs::set_permissions(&config, fs::Permissions::from_mode(mode)).unwrap();
    };
    let cases: [(&str, &dyn Fn()); 7] = [
        ("config.toml, line 2: unknown key capture.ignor", &|| file("[capture]\nignor = []\n", 0o600)),
        ("config.toml, line 1: capture.ignore must be a list of strings", &|| file("capture.ignore = 5\n", 0o600)),
        ("config.toml has mode 0644", &|| file("[capture]\nignore = []\n", 0o644)),
        ("config.toml cannot be read, so nothing in it holds: not a regular file", &|| {
            let made = Command::new("mkfifo").arg(&config).status().unwrap();
            assert!(made.success());
        }),
        ("config.toml cannot be read", &|| fs::create_dir(&config).unwrap()),
        ("config.toml cannot be read, so nothing in it holds: longer than 262144 bytes", &|| {
            file(&"# x\n".repeat(2_500_000), 0o600);
        }),
        ("config.toml cannot be read", &|| fs::write(&config, [0xff, 0xfe]).unwrap()),
    ];
    for (at, (want, make)) in cases.into_iter().enumerate() {
        make();
        let said = run(&daemon, &["doctor"]);
        assert!(said.contains(want), "{want}: {said}");
        let text = format!("captured beside a bad file, number {at}");
        let prompt =
            json!({"session_id": format!("b{at}"), "transcript_path": "/none/b.jsonl", "cwd": "/p", "prompt": text});
        hook(daemon.setup(), "user-prompt-submit", &prompt);
        assert_eq!(daemon.stored_texts().last(), Some(&text));
        if config.is_dir() { fs::remove_dir(&config).unwrap() } else { fs::remove_file(&config).unwrap() }
    }
    fs::write(&config, "[capture]\nignore = []\n").unwrap();
    fs::set_permissions(&config, private).unwrap();
    let said = run(&daemon, &["doctor"]);
    assert!(said.contains("hooks and imports take what is said"), "{said}");
}

#[test]
fn stored_secrets_are_listed_by_id_and_kind() {
    let daemon = setup();
    let secret = ["gh", "p_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGhJ"].concat();
    let none = run(&daemon, &["doctor", "--secrets"]);
    assert!(none.starts_with("no secret found in 0 records"), "{none}");
    let stored = daemon.client().call("memory_capture", json!({"text": format!("the key {secret} of today")}));
    daemon.client().call("memory_capture", json!({"text": "a record without any"}));
    let id = stored["record_id"].as_str().unwrap();
    let said = run(&daemon, &["doctor", "--secrets"]);
    assert!(said.starts_with(id) && said.contains("github-token"), "{said}");
    assert!(said.contains(&format!("iaid forget {id}")) && !said.contains(&secret), "{said}");
    let json: Value = serde_json::from_str(&run(&daemon, &["--json", "doctor", "--secrets"])).unwrap();
    assert_eq!((&json["looked_at"], &json["records"][0]["kinds"]), (&json!(2), &json!(["github-token"])));
}

#[test]
fn an_import_reads_the_files_beside_the_socket() {
    let daemon = crate::harness::Setup::new().socket_at("store/.daemon.sock").start();
    let (home, store) = (fs::canonicalize(daemon.setup().home()).unwrap(), daemon.setup().store());
    daemon.client().call("profile_get", json!({}));
    let config = store.join("config.toml");
    fs::write(&config, "[capture]\nignore = [\"~/private\"]\n").unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o600)).unwrap();
    let file = home.join("t.jsonl");
    fs::write(&file, line(&home.join("private"), "user", Timestamp::now(), "said in private")).unwrap();
    let import = |variable: Option<&Path>| {
        let mut command = daemon.setup().program();
        command.env_remove("IAI_MCP_STORE").envs(variable.map(|store| ("IAI_MCP_STORE", store)));
        let output = command.arg("--socket").arg(daemon.setup().socket()).arg("import").arg(&file).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(import(None).contains("0 new"), "{}", import(None));
    assert_eq!(daemon.stored_texts(), [""; 0]);
    // What is named explicitly comes first.
    assert!(import(Some(&home.join("elsewhere"))).contains("1 new"));
}
