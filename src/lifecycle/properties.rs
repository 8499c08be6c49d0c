//! The property of the fuzz target `state_file`, as a function that a unit test runs too. Built only for those.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde_json::value::RawValue;

use crate::lifecycle::state_file::{self, DaemonState, StateChange};
use crate::lifecycle::status_file;
use crate::lifecycle::unknown_keys::{self, HasUnknownKeys, UnknownKeys};

/// Asserts that a start succeeds with any content of the two state files: each is parsed or set aside unchanged, a parsed
/// file is the same after it is written and read again, unknown keys are preserved, every field is bounded, and every
/// command can be completed. `folder` is empty before and after.
pub fn state_files_survive(folder: &Path, text: &[u8]) {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_717_243_200);
    let now = Timestamp::try_from(wall).unwrap();
    put(folder, state_file::NAME, text);
    let state = state_file::load(folder, wall);
    let is_kept = take_away(folder, state_file::NAME, text);
    assert!(is_kept || state == DaemonState::default());
    check_unknown_keys(is_kept, text, &state.unknown_keys);
    check_round_trip(&state);
    check_changes(state, now);

    put(folder, status_file::NAME, text);
    let record = status_file::load(folder, wall);
    let is_kept = take_away(folder, status_file::NAME, text);
    assert!(is_kept || record == status_file::LifecycleStatus::default());
    check_unknown_keys(is_kept, text, &record.unknown_keys);
    check_round_trip(&record);
}

fn put(folder: &Path, name: &str, text: &[u8]) {
    fs::write(folder.join(name), text).unwrap();
}

/// Removes the file that was read, which must exist unchanged under its own name or that of a file set aside. Returns
/// true if it is its own.
fn take_away(folder: &Path, name: &str, text: &[u8]) -> bool {
    let paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let [path] = &paths[..] else { panic!("one file became {paths:?}") };
    assert_eq!(fs::read(path).unwrap(), text, "{path:?}");
    fs::remove_file(path).unwrap();
    let now = path.file_name().and_then(|name| name.to_str()).unwrap().to_owned();
    assert!(now == name || now.starts_with(&format!("{name}.bad-")), "{now}");
    now == name
}

/// Asserts that each unknown key of an object is preserved to the byte.
fn check_unknown_keys(is_kept: bool, text: &[u8], unknown_keys: &UnknownKeys) {
    let Ok(all) = serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(text) else { return };
    if is_kept {
        for (key, value) in all.iter().filter(|(key, _)| key.starts_with('x')) {
            assert_eq!(unknown_keys.text(key), Some(value.get()), "{key}");
        }
    }
}

fn check_round_trip<T: HasUnknownKeys + Debug + PartialEq>(kept: &T) {
    let again: T = unknown_keys::parse(&unknown_keys::to_json(kept).unwrap()).unwrap();
    assert_eq!(again, *kept);
}

/// Applies a start, and every kind of change after it.
fn check_changes(mut state: DaemonState, now: Timestamp) {
    state.drop_expired(now);
    let (text, ts) = ("é".repeat(2000), "t".repeat(2000));
    for change in [
        StateChange::Sleep { reason: text.clone(), ts: ts.clone() },
        StateChange::Wake { ts: ts.clone() },
        StateChange::Rem { ts },
        StateChange::Pause,
        StateChange::SessionOpen { session_id: Some(text), is_start: true },
        StateChange::SessionOpen { session_id: None, is_start: false },
        StateChange::SessionsForgotten(vec!["x".repeat(2000)]),
        StateChange::CycleEnded,
        StateChange::QuietWindow(Some((255, 255))),
    ] {
        state.apply(&change, now);
        check_round_trip(&state);
    }
    assert!(state.scheduler_paused && state.first_turn_pending.len() <= 256);
    assert!(state.user_sleep_request.as_ref().is_some_and(|request| request.ts.chars().count() <= 64));
    for command in state.pending() {
        state.apply(&StateChange::CommandDone(command), now);
    }
    assert!(state.pending().is_empty(), "{state:?}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_start_succeeds_with_chosen_state_files() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "",
            "{",
            "{}",
            "[]",
            "null",
            "\u{feff}{}",
            r#"{"scheduler_paused":1}"#,
            r#"{"scheduler_paused":true,"xs":{"a":[1.5,-0,1e300]},"x":18446744073709551616}"#,
            r#"{"quiet_window":[300,1]}"#,
            r#"{"quiet_window":[47,16],"first_turn_pending":{"a":"2024-06-01T11:59:00Z","":"9999-12-30T22:00:00Z"}}"#,
            r#"{"force_rem_request":{"ts":"x","asked_at":"2024-06-01T12:00:00Z","pending":true}}"#,
            r#"{"user_sleep_request":{"ts":"x","asked_at":"-009999-01-02T01:59:59Z","pending":true,"honored_at":null}}"#,
            r#"{"current_state":"HIBERNATION","wrapper_event_seq":18446744073709551615,"quarantine":null}"#,
            r#"{"a":1,"a":2}"#,
            r#"{"x":[43,555555555555555555555555555555555555555512],"xy":1.50}"#,
        ] {
            state_files_survive(folder.path(), text.as_bytes());
        }
        state_files_survive(folder.path(), &b"[".repeat(2000));
        state_files_survive(folder.path(), &b" ".repeat((1 << 20) + 1));
    }

    #[test]
    fn a_start_succeeds_with_any_state_file() {
        let folder = tempfile::tempdir().unwrap();
        let keys =
            "(scheduler_paused|quiet_window|pending_digest|force_wake_request|last_tick_at|x[a-z]?|current_state)";
        let values =
            "(true|null|7|\"2024-06-01T12:00:00Z\"|\\[1,2\\]|\\{\\}|\\{\"ts\":\"x\",\"pending\":true\\}|\"\\\\u00e9\")";
        proptest!(ProptestConfig::with_cases(256), |(members in proptest::collection::vec((keys, values), 0..5))| {
            let members: Vec<String> = members.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
            state_files_survive(folder.path(), format!("{{{}}}", members.join(",")).as_bytes());
        });
    }
}
