//! `iaid log`, without a daemon.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use jiff::{Timestamp, ToSpan};

use crate::harness::{Setup, until};

fn journal(setup: &Setup, day: &str) -> PathBuf {
    let logs = setup.store().join("logs");
    fs::create_dir_all(&logs).expect("it can be made");
    logs.join(format!("lifecycle-events-{day}.jsonl"))
}

fn add(setup: &Setup, day: &str, text: &str) {
    let mut file =
        fs::File::options().create(true).append(true).open(journal(setup, day)).expect("a file can be opened");
    file.write_all(text.as_bytes()).expect("it can be written");
}

fn lifted(ts: &str) -> String {
    format!("{{\"ts\":\"{ts}\",\"event\":\"quarantine_lifted\"}}\n")
}

fn log(setup: &Setup, args: &[&str]) -> (String, String) {
    let store = setup.store();
    let out = setup.program().env("TZ", "UTC").args(["log", "--store"]).arg(store).args(args).output();
    let out = out.expect("the binary runs");
    assert!(out.status.success(), "{args:?}: {out:?}");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    (text(out.stdout), text(out.stderr))
}

#[test]
fn entries_are_shown_as_sentences() {
    let setup = Setup::new();
    assert_eq!(log(&setup, &[]), (String::new(), String::new()), "no entries yet");
    add(&setup, "2026-05-13", &lifted("2026-05-13T10:00:00Z"));
    let moved =
        r#"{"ts":"2026-05-14T10:00:00.5Z","event":"state_transition","from":"WAKE","to":"DROWSY","trigger":"idle"}"#;
    add(&setup, "2026-05-14", &format!("{{\"ts\":\"20\n{moved}\n{}", lifted("2026-05-14T11:00:00Z")));
    let (first, second, third) = (
        "2026-05-13 10:00:00  quarantine lifted: cycles run again\n",
        "2026-05-14 10:00:00  awake → drowsy: idle\n",
        "2026-05-14 11:00:00  quarantine lifted: cycles run again\n",
    );
    let (shown, warned) = log(&setup, &[]);
    assert_eq!(shown, [first, second, third].concat());
    assert_eq!(warned, "1 line is not an entry and was skipped\n");
    assert_eq!(log(&setup, &["--limit", "2"]).0, [second, third].concat());
    assert_eq!(log(&setup, &["--since", "2026-05-14"]).0, [second, third].concat());
    assert_eq!(log(&setup, &["--since", "2026-05-14 10:30"]).0, third);
    assert_eq!(log(&setup, &["--since", "1s"]).0, "");
    assert_eq!(log(&setup, &["--json", "--limit", "2"]).0, format!("{moved}\n{}", lifted("2026-05-14T11:00:00Z")));
    let wrong = setup.program().args(["log", "--since", "soon"]).output().expect("the binary runs");
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn follow_continues_over_midnight_and_a_removal() {
    let setup = Setup::new();
    let today = Timestamp::now().strftime("%Y-%m-%d").to_string();
    let tomorrow = (Timestamp::now() + 24.hours()).strftime("%Y-%m-%d").to_string();
    add(&setup, &today, &lifted("2026-05-14T10:00:00Z"));
    let store = setup.store();
    let mut command = setup.program();
    command.env("TZ", "UTC").args(["log", "--follow", "--store"]).arg(store).stdout(Stdio::piped());
    let mut child = KillOnDrop(command.spawn().expect("the binary runs"));
    let mut lines = BufReader::new(child.0.stdout.take().expect("a pipe")).lines();
    let mut next = || lines.next().expect("a line comes").expect("it is text");
    assert!(next().starts_with("2026-05-14 10:00:00"));
    add(&setup, &today, &lifted("2026-05-14T11:00:00Z"));
    assert!(next().starts_with("2026-05-14 11:00:00"));
    fs::remove_file(journal(&setup, &today)).expect("it can be removed");
    add(&setup, &tomorrow, &lifted("2026-05-15T00:00:00Z"));
    assert!(next().starts_with("2026-05-15 00:00:00"));
    // The program ends when its reader does, even without new entries.
    drop(lines);
    let mut ended = None;
    until("it ended", || {
        ended = child.0.try_wait().expect("it can be waited for");
        ended.is_some()
    });
    assert!(ended.expect("it ended").success());
}

struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
