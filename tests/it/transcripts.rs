//! Import of transcripts, through the program: what is taken of damaged, compressed and forked files, and what is told.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Daemon, setup};

/// Returns a line of a Claude Code transcript.
fn claude(session: &str, role: &str, second: u32, text: &str) -> String {
    json!({"type": role, "uuid": format!("{text}-{second}"), "sessionId": session, "cwd": "/p",
        "timestamp": format!("2026-09-01T10:00:{second:02}.000Z"), "message": {"role": role, "content": text}})
    .to_string()
}

/// Imports files as one command; returns the counts and the warnings.
fn import(daemon: &Daemon, paths: &[&Path]) -> (Value, String) {
    let mut args = vec!["--json", "import"];
    args.extend(paths.iter().map(|path| path.to_str().unwrap()));
    let output = daemon.run(&args);
    let counts = serde_json::from_slice(&output.stdout).unwrap();
    (counts, String::from_utf8(output.stderr).unwrap())
}

fn hook(daemon: &Daemon, event: &str, input: &Value) {
    let setup = daemon.setup();
    let mut command = setup.program();
    command.arg("--socket").arg(setup.socket()).args(["hook", event]).env("IAI_MCP_STORE", setup.store());
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_is_whole_of_a_damaged_file_is_taken() {
    let daemon = setup();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.jsonl");
    let whole = |n: u32| {
        claude("s", if n.is_multiple_of(2) { "user" } else { "assistant" }, n, &format!("the whole record number {n}"))
    };
    let lines = [
        b"{\"type\":\"user\",\"message\":{\"content\":\"a bad byte \xff in line 1\"}}".to_vec(),
        (whole(1) + &whole(2)).into_bytes(),
        (whole(9)[..120].to_owned() + &whole(3)).into_bytes(),
        [vec![0; 300], whole(4).into_bytes()].concat(),
        whole(5).into_bytes(),
        whole(6).as_bytes()[..100].to_vec(),
    ];
    fs::write(&path, lines.join(&b'\n')).unwrap();
    let (counts, warnings) = import(&daemon, &[&path]);
    assert_eq!(counts, json!({"files": 1, "unreadable": 0, "new": 5, "known": 0, "refused": 2}), "{warnings}");
    assert!(warnings.contains("\"line\":1") && warnings.contains("\"line\":3"), "{warnings}");
    assert_eq!(import(&daemon, &[&path]).0["known"], 5);
}

#[test]
fn compressed_and_archived_rollouts_are_read() {
    let daemon = setup();
    let codex = tempfile::tempdir().unwrap();
    let rollout = |id: &str| {
        let line = |kind: &str, payload: Value| {
            json!({"timestamp": "2026-09-01T10:00:00Z", "type": kind, "payload": payload}).to_string()
        };
        let item = |kind: &str, text: &str| {
            let content = json!([{"type": "text", "text": text}]);
            line(
                "event_msg",
                json!({"type": "item_completed", "thread_id": id, "item": {"type": kind, "id": "item-1", "content": content}}),
            )
        };
        [
            line("session_meta", json!({"id": id, "cwd": "/q"})),
            item("UserMessage", &format!("asked in session {id}")),
            item("AgentMessage", &format!("answered in session {id}")),
        ]
        .join("\n")
            + "\n"
    };
    // A frame of one block that is not compressed.
    let text = rollout("compressed");
    let header = ((text.len() as u32) << 3) | 1;
    let frame = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 0x38], &header.to_le_bytes()[..3], text.as_bytes()].concat();
    for (folder, name, bytes) in [
        ("sessions/2026/08/01", "rollout-a.jsonl.zst", frame.clone()),
        ("sessions/2026/08/02", "rollout-b.jsonl", rollout("plain").into_bytes()),
        ("sessions/2026/08/02", "rollout-c.jsonl.zst", frame[..40].to_vec()),
        ("archived_sessions", "rollout-d.jsonl", rollout("archived").into_bytes()),
    ] {
        fs::create_dir_all(codex.path().join(folder)).unwrap();
        fs::write(codex.path().join(folder).join(name), bytes).unwrap();
    }
    let (counts, warnings) = import(&daemon, &[&codex.path().join("sessions")]);
    assert_eq!((&counts["new"], &counts["unreadable"]), (&json!(6), &json!(1)), "{counts} {warnings}");
    let damaged = "damaged Zstandard file, cut off, or with a window over 8 MiB; if zstd -d decompresses it";
    assert!(warnings.contains("rollout-c.jsonl.zst") && warnings.contains(damaged), "{warnings}");
    assert!(!warnings.contains("Error {"), "{warnings}");
    let hits = daemon.client().call("memory_recall", json!({"cue": "asked in session compressed"}));
    assert_eq!(hits["hits"][0]["literal_surface"], "asked in session compressed");
    assert_eq!(hits["hits"][0]["session_id"], "compressed");
}

#[test]
fn what_may_have_been_missed_is_told() {
    let daemon = setup();
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (folder.path().join("one.jsonl"), folder.path().join("two.jsonl"));
    fs::write(&one, claude("s", "assistant", 1, "an answer to what is not here") + "\n").unwrap();
    let unknown =
        json!({"type": "user.spoken", "sessionId": "t", "data": {"content": "words in a form of next month"}});
    fs::write(
        &two,
        format!(
            "{}\n{}\n{unknown}\n",
            claude("t", "user", 1, "asked and answered here"),
            claude("t", "assistant", 2, "yes, it is answered")
        ),
    )
    .unwrap();
    let (counts, warnings) = import(&daemon, &[&one, &two]);
    assert_eq!(
        (&counts["new"], &counts["unknown_lines"], &counts["one_sided"]),
        (&json!(3), &json!(1), &json!(1)),
        "{counts}"
    );
    assert!(warnings.contains("1 turn of the assistant and none of the user"), "{warnings}");
    assert!(warnings.contains("1 line of unknown kind with text"), "{warnings}");
    let text = daemon.run(&["import", one.to_str().unwrap(), two.to_str().unwrap()]);
    let text = String::from_utf8(text.stdout).unwrap();
    assert_eq!(
        text,
        "2 files: 0 new, 3 known, 0 refused, 1 line of unknown kind with text, 1 file with one side of a conversation only\n"
    );
}

#[test]
fn a_turn_is_stored_once_from_forks_hooks_and_files() {
    let daemon = setup();
    let folder = tempfile::tempdir().unwrap();
    let line = |session: &str, second, text: &str| claude(session, "user", second, text) + "\n";
    let (a, b) = (folder.path().join("a.jsonl"), folder.path().join("b.jsonl"));
    // The same words at two moments, and a fork with copies of both.
    let said = "go on with the next one, please";
    fs::write(&a, line("a", 1, said) + &line("a", 9, said)).unwrap();
    fs::write(&b, line("b", 1, said) + &line("b", 9, said) + &line("b", 20, "said in the fork alone")).unwrap();
    assert_eq!(import(&daemon, &[&a, &b]).0["new"], 3);
    // A hook stores its prompt before the transcript has it.
    let prompt = "what the hook was given first";
    let input = json!({"session_id": "c", "transcript_path": folder.path().join("c.jsonl"), "cwd": "/p",
        "hook_event_name": "UserPromptSubmit", "prompt": prompt});
    hook(&daemon, "user-prompt-submit", &input);
    let c = folder.path().join("c.jsonl");
    fs::write(&c, line("c", 1, prompt)).unwrap();
    let counts = import(&daemon, &[&c, &a, &b]).0;
    assert_eq!((&counts["new"], &counts["known"]), (&json!(0), &json!(6)));
    let rows = daemon.client().call("store_export", json!({}))["rows"].clone();
    let texts = |text: &str| rows.as_array().unwrap().iter().filter(|row| row["text"] == text).count();
    assert_eq!((texts(said), texts(prompt)), (2, 1));
}
