//! Writes turns to files in `.deferred-captures`, which the daemon reads when it runs again.
//!
//! A file has a first line `{"version","session_id","deferred_at","cwd"}` and one line per piece, `{"text","cue",
//! "tier","role","ts","turn"}` with `part` and `parts` where a turn has several, `masked` where secrets were masked, and
//! `project_folder` in a repository. Its name ends in
//! `.live-SECONDS-….jsonl`: `SESSION.live.jsonl` would be one that is still being written.

use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde_json::json;

use super::offset;
use crate::cli::support::files::{self, Durability, PRIVATE_MODE};
use crate::cli::support::project_finder::ProjectFinder;
use crate::memory::spool::FOLDER;
use crate::repository::Project;
use crate::transcript::TranscriptTurn;
use crate::transcript::row::{StoredPiece, stored_cue, stored_pieces, turn_json};

/// Most files in the folder, and bytes in them. Picked: a month without a daemon. Text that does not fit stays in its
/// transcript.
const MAX_FILES: usize = 2000;
const MAX_BYTES: u64 = 64 << 20;

/// Writes one file for each session and folder of the turns. Returns how many turns are private as a whole.
///
/// # Errors
/// `StorageFull` if the folder has [`MAX_FILES`] files or [`MAX_BYTES`] bytes; otherwise any error of writing. Some of the
/// files may have been written.
pub(crate) fn write(
    store: &Path,
    turns: &[TranscriptTurn],
    projects: &mut ProjectFinder,
    now: Timestamp,
) -> io::Result<u64> {
    let mut groups: Vec<((&str, &str), Vec<&TranscriptTurn>)> = Vec::new();
    for turn in turns {
        let of = (turn.session.as_deref().unwrap_or("-"), turn.project.as_deref().unwrap_or(""));
        match groups.iter_mut().find(|(about, _)| *about == of) {
            Some((_, group)) => group.push(turn),
            None => groups.push((of, vec![turn])),
        }
    }
    let folder = store.join(FOLDER);
    files::make_own_folder(&folder)?;
    if is_full(&folder)? {
        let what = format!("{FOLDER} is full: {} files or {} MiB", MAX_FILES, MAX_BYTES >> 20);
        return Err(io::Error::new(io::ErrorKind::StorageFull, what));
    }
    let mut private = 0;
    for (at, ((session, cwd), turns)) in groups.into_iter().enumerate() {
        let (name, seconds, pid) = (offset::file_name(session), now.as_second(), std::process::id());
        let nanoseconds = now.subsec_nanosecond();
        let name = format!("{name}.live-{seconds}-{nanoseconds:09}-{pid}-{at}.jsonl");
        let (text, skipped) = render(session, projects.find(cwd), &turns, now);
        private += skipped;
        let Some(text) = text else { continue };
        files::replace(&folder.join(name), text.as_bytes(), PRIVATE_MODE, Durability::Synced)?;
    }
    Ok(private)
}

fn is_full(folder: &Path) -> io::Result<bool> {
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(folder)? {
        files += 1;
        // A file that has just been drained counts as empty.
        bytes += entry?.metadata().map_or(0, |found| found.len());
    }
    Ok(files >= MAX_FILES || bytes >= MAX_BYTES)
}

/// Returns the text of a file, `None` if all of the turns are private, and how many are.
fn render(session: &str, project: &Project, turns: &[&TranscriptTurn], now: Timestamp) -> (Option<String>, u64) {
    let now = now.to_string();
    let mut private = 0;
    let mut lines =
        vec![json!({"version": 1, "session_id": session, "deferred_at": now, "cwd": project.name}).to_string()];
    for turn in turns {
        let pieces = stored_pieces(&turn.text, turn.role, Some(session));
        let parts = pieces.len();
        private += u64::from(parts == 0);
        let ts = turn.ts.as_deref().unwrap_or(&now);
        let cue = stored_cue(turn.cue.as_deref()).unwrap_or_default();
        for (at, StoredPiece { text, masked }) in pieces.into_iter().enumerate() {
            let mut line = json!({"text": text, "cue": cue, "tier": "episodic", "role": turn.role, "ts": ts,
                "turn": turn_json(&turn.origin, turn.assistant)});
            if let Some(folder) = &project.folder {
                line["project_folder"] = folder.as_str().into();
            }
            if parts > 1 {
                line["part"] = (at + 1).into();
                line["parts"] = parts.into();
            }
            if let Some(masked) = masked {
                line["masked"] = json!(masked);
            }
            lines.push(line.to_string());
        }
    }
    ((lines.len() > 1).then(|| lines.join("\n") + "\n"), private)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::{Assistant, TurnOrigin};
    use serde_json::Value;
    use std::fs;

    fn turn(session: &str, project: Option<&str>, text: &str) -> TranscriptTurn {
        TranscriptTurn {
            assistant: Assistant::ClaudeCode,
            role: "user",
            session: Some(session.into()),
            project: project.map(str::to_owned),
            ts: Some("2025-06-01T10:11:12Z".into()),
            cue: None,
            origin: TurnOrigin { id: Some("u1".into()), ..TurnOrigin::default() },
            text: text.into(),
        }
    }

    #[test]
    fn each_session_and_folder_has_a_complete_file() {
        let store = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let long = format!("{}\n{}", "a".repeat(65_000), "b".repeat(1000));
        let turns = [turn("s/1", Some("/p"), "one"), turn("s2", None, &long), turn("s/1", Some("/p"), "two\nlines")];
        write(store.path(), &turns, &mut ProjectFinder::new(), now).unwrap();
        let mut files: Vec<_> =
            fs::read_dir(store.path().join(FOLDER)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort_unstable();
        assert_eq!(files.len(), 2);
        let lines = |path: &Path| {
            let text = fs::read_to_string(path).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        assert!(files.iter().all(|path| path.to_string_lossy().contains(".live-1767323045-")), "{files:?}");
        let head = |session: &str, cwd: &str| json!({"version": 1, "session_id": session, "cwd": cwd, "deferred_at": "2026-01-02T03:04:05Z"});
        let said = |text: &str| json!({"text": text, "cue": "", "tier": "episodic", "role": "user", "ts": "2025-06-01T10:11:12Z", "turn": {"id": "u1", "assistant": "claude-code"}});
        assert_eq!(lines(&files[0]), [head("s/1", "/p"), said("one"), said("two\nlines")]);
        let second = lines(&files[1]);
        assert_eq!((&second[0], second.len()), (&head("s2", ""), 3));
        assert_eq!((&second[1]["part"], &second[2]["part"], &second[2]["parts"]), (&json!(1), &json!(2), &json!(2)));
    }

    #[test]
    fn the_number_and_size_of_waiting_files_are_bounded() {
        let store = tempfile::tempdir().unwrap();
        let turns = [turn("s", None, "one")];
        let folder = store.path().join(FOLDER);
        write(store.path(), &turns, &mut ProjectFinder::new(), Timestamp::UNIX_EPOCH).unwrap();
        fs::File::create(folder.join("large.jsonl")).unwrap().set_len(MAX_BYTES).unwrap();
        let error = write(store.path(), &turns, &mut ProjectFinder::new(), Timestamp::now()).unwrap_err();
        assert!(error.to_string().contains(".deferred-captures is full"), "{error}");
        fs::remove_file(folder.join("large.jsonl")).unwrap();
        for n in 1..MAX_FILES {
            fs::write(folder.join(n.to_string()), "").unwrap();
        }
        assert!(write(store.path(), &turns, &mut ProjectFinder::new(), Timestamp::now()).is_err());
        fs::remove_file(folder.join("1")).unwrap();
        assert!(write(store.path(), &turns, &mut ProjectFinder::new(), Timestamp::now()).is_ok());
    }
}
