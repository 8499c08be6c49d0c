//! Finds the transcript of a Codex session whose hook input does not name it:
//! `~/.codex/sessions/YYYY/MM/DD/rollout-TIME-SESSION.jsonl`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::sort;

/// Prefix of the name of a transcript.
const PREFIX: &str = "rollout-";

/// Day folders that are searched, newest first. Picked: longer sessions name their transcript.
const MAX_DAYS: usize = 60;

/// Returns the path of a session's transcript, if there is one.
pub(crate) fn find(codex: &Path, session: &str) -> Option<PathBuf> {
    let mut left = MAX_DAYS;
    for year in newest(&codex.join("sessions")) {
        for month in newest(&year) {
            for day in newest(&month) {
                let end = format!("-{session}.jsonl");
                let is_it = |path: &PathBuf| {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    name.starts_with(PREFIX) && name.ends_with(&end)
                };
                if let Some(path) = newest(&day).into_iter().find(is_it) {
                    return Some(path);
                }
                left -= 1;
                if left == 0 {
                    return None;
                }
            }
        }
    }
    None
}

/// Returns the entries of a folder, in descending order of their names.
fn newest(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    sort::sort_by(&mut paths, |a, b| b.cmp(a));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_transcript_of_the_session_is_found() {
        let home = tempfile::tempdir().unwrap();
        let put = |day: &str, session: &str| {
            let folder = home.path().join("sessions/2026").join(day);
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("rollout-2026-08-10T13-02-51-{session}.jsonl"));
            fs::write(&path, "").unwrap();
            path
        };
        assert_eq!(find(home.path(), "a"), None);
        let old = put("08/09", "a");
        let other = put("08/10", "b");
        assert_eq!(find(home.path(), "a"), Some(old));
        assert_eq!(find(home.path(), "b"), Some(other));
        let new = put("09/01", "a");
        assert_eq!(find(home.path(), "a"), Some(new));
        assert_eq!(find(home.path(), "c"), None);
        for day in 0..MAX_DAYS {
            put(&format!("10/{day:02}"), "z");
        }
        assert_eq!(find(home.path(), "a"), None);
    }
}
