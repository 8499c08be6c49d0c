//! Secrets and private text, from the hook or the file to the store: none of their bytes is in its folder.
//!
//! `¦` is removed before a text is used: without it, scanners of repositories would take the examples for real.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Setup, setup, until};

const TOKEN: &str = "gh¦p_9aB3kLmN0pQrS7tUvWxYz1A2b4C6d8E0fGhJ";

fn real(text: &str) -> String {
    text.replace('¦', "")
}

fn hook(setup: &Setup, event: &str, input: &Value) {
    let mut command = setup.program();
    command.arg("--socket").arg(setup.socket()).args(["hook", event]).env("IAI_MCP_STORE", setup.store());
    command.env("IAID_HOOK_TIMEOUT", "60").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

fn line(session: &str, role: &str, ts: &str, text: &str) -> String {
    json!({"type": role, "uuid": format!("{session}{ts}"), "message": {"role": role, "content": text},
        "sessionId": session, "cwd": "/p", "timestamp": ts})
    .to_string()
        + "\n"
}

/// Asserts that no file under `folder` has any of these.
fn assert_absent(folder: &Path, words: &[&str]) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            assert_absent(&entry, words);
            continue;
        }
        let Ok(bytes) = fs::read(&entry) else { continue };
        for word in words {
            assert!(!bytes.windows(word.len()).any(|part| part == word.as_bytes()), "{word} in {}", entry.display());
        }
    }
}

#[test]
fn no_secret_of_a_hook_or_an_import_is_in_the_store() {
    let mut daemon = setup();
    let token = real(TOKEN);
    let transcript = daemon.setup().home().join("s.jsonl");
    let input = |event: &str, key: &str, text: &str| json!({"session_id": "s", "transcript_path": transcript, "cwd": "/p", "hook_event_name": event, key: text});
    let prompt = format!("clone with {token} <private>the hidden part</private>, password = hunter2hunter2");
    fs::write(&transcript, "").unwrap();
    hook(daemon.setup(), "user-prompt-submit", &input("UserPromptSubmit", "prompt", &prompt));
    let answer = format!("I used {token} as you said");
    let lines = [
        line("s", "user", "2026-06-01T10:11:12.345Z", &prompt),
        line("s", "assistant", "2026-06-01T10:11:13.345Z", &answer),
        line("s", "user", "2026-06-01T10:11:14.345Z", "<PRIVATE>nothing of this one</private>"),
    ];
    fs::write(&transcript, lines.concat()).unwrap();
    hook(daemon.setup(), "stop", &input("Stop", "last_assistant_message", &answer));
    let masked = "clone with [secret: github-token] [private], password = [secret: password]";
    let want = [masked, "I used [secret: github-token] as you said"];
    assert_eq!(daemon.stored_texts(), want);
    // Again, from the file.
    let imported = daemon.run(&["import", transcript.to_str().unwrap()]);
    let said = String::from_utf8(imported.stdout).unwrap();
    assert!(said.contains("0 new, 2 known, 0 refused, 1 private turn skipped"), "{said}");
    let log = fs::read_to_string(daemon.setup().store().join("logs/hooks.log")).unwrap();
    assert!(log.contains("skipped 1 private turn"), "{log}");

    // Without a daemon the text waits in a file.
    daemon.stop();
    hook(
        daemon.setup(),
        "user-prompt-submit",
        &json!({"session_id": "t", "transcript_path": "/none/t.jsonl",
        "cwd": "/p", "prompt": format!("a later prompt with {token} in it")}),
    );
    let absent = [token.as_str(), "hunter2hunter2", "the hidden part", "nothing of this"];
    assert_absent(&daemon.setup().store(), &absent);
    // A line of another program's hook is masked by the daemon.
    let spool = daemon.setup().store().join(".deferred-captures");
    let head = json!({"version": 1, "session_id": "u", "deferred_at": "2026-06-01T10:11:12Z", "cwd": "/p"});
    let foreign = json!({"text": format!("another program's {token}"), "tier": "episodic", "role": "user"});
    fs::write(spool.join("u.jsonl"), format!("{head}\n{foreign}\n")).unwrap();
    daemon.restart();
    until("the files are stored and removed", || {
        daemon.stored_texts().len() == 4 && fs::read_dir(&spool).unwrap().next().is_none()
    });
    daemon.stop();
    assert_absent(&daemon.setup().store(), &absent);
    daemon.restart();

    let status = daemon.status();
    assert_eq!(status["masked"]["count"], 5, "{status}");
    assert_eq!(status["masked"]["kinds"], json!({"github-token": 4, "password": 1}));
    let sessions = status["masked"]["sessions"].as_array().unwrap();
    let of = |name: &str| sessions.iter().find(|one| one["session_id"] == name).unwrap()["kinds"].clone();
    assert_eq!([of("s"), of("t")], [json!({"github-token": 2, "password": 1}), json!({"github-token": 1})]);
    let shown = String::from_utf8(daemon.run(&["status"]).stdout).unwrap();
    assert!(shown.contains("5 masked: 4 github-token, 1 password"), "{shown}");
}

#[test]
fn a_text_that_was_stored_unmasked_is_known_to_an_import() {
    let daemon = setup();
    let text = real(&format!("the deploy key is {TOKEN} for now"));
    let note = real(&format!("Ana: uses {TOKEN}"));
    let client = &mut daemon.client();
    // As a release without masks stored them: a turn, a note, and a capture whose line came later.
    let row = |turn: Value, session: &str, role: &str, text: &str| {
        json!({"kind": "record", "role": role, "session_id": session, "text": text,
            "ts": "2026-06-01T10:11:12.345Z", "turn": turn})
    };
    client.call("store_import", json!({"rows": [row(json!({"id": "s2026-06-01T10:11:12.345Z"}), "s", "user", &text)]}));
    client.call(
        "store_import",
        json!({"rows": [{"kind": "record", "role": "assistant", "tier": "semantic", "text": note}]}),
    );
    let captured = client.call("memory_capture", json!({"text": text, "session_id": "c", "role": "user"}));
    assert_eq!(captured["secrets"], json!(["github-token"]), "{captured}");
    let plain = client.call("memory_capture", json!({"text": "nothing to see here", "session_id": "c"}));
    assert!(plain.get("secrets").is_none(), "{plain}");
    assert_eq!(daemon.stored_texts().len(), 4);
    let file = daemon.setup().home().join("all.jsonl");
    for lines in [
        line("s", "user", "2026-06-01T10:11:12.345Z", &text),
        line("s", "user", "2026-06-01T10:11:12.345Z", &text).replace("\"uuid\":\"s2026", "\"uuid\":\"x2026"),
        line("c", "user", "2026-06-01T10:11:18.345Z", &text),
        json!({"type": "entity", "name": "Ana", "observations": [real(&format!("uses {TOKEN}"))]}).to_string() + "\n",
    ] {
        fs::write(&file, &lines).unwrap();
        let output = daemon.run(&["--json", "import", file.to_str().unwrap()]);
        let counts: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&counts["new"], &counts["known"]), (&json!(0), &json!(1)), "{lines}");
    }
    assert_eq!(daemon.stored_texts().len(), 4);
}
