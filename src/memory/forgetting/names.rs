//! The names of sessions and projects whose last record is forgotten: removed from the store and from the text files in
//! its folder.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memchr::memmem;
use rusqlite::Connection;
use serde_json::json;

use crate::memory::model::time::UnixMicros;
use crate::memory::store::{forgotten, masked, meta};
use crate::sys::process;

/// Meta key: the names that the text files may still have, as a JSON array.
const NAMES: &str = "forgetting_names";

/// The folders of text files in the store's folder: state files, logs, and what hooks keep of sessions.
const FOLDERS: [&str; 3] = ["", "logs", HOOKS];

const HOOKS: &str = ".capture-state";

/// Endings of text files, beside those of [`HOOKS`].
const ENDINGS: [&str; 4] = [".json", ".jsonl", ".log", ".log.1"];

/// Shortest name that is looked for in any place.
const PARTICULAR_BYTES: usize = 8;

/// Largest file that is read. Larger ones are the database and its copies; logs and state files are smaller.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Names that no record has any more.
#[derive(Debug, Default)]
pub(crate) struct UnusedNames {
    pub(crate) sessions: Vec<String>,
    /// The counts of masked secrets, if they have changed.
    pub(crate) masked: Option<String>,
}

/// Deletes the names of sessions and projects that no record has any more, and stores them until [`clear_files`] has
/// removed them from the text files.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn remove_unused(connection: &Connection, now: UnixMicros) -> Result<UnusedNames, rusqlite::Error> {
    let taken = |sql: &str| -> Result<Vec<String>, rusqlite::Error> {
        connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
    };
    let sessions =
        taken("DELETE FROM session WHERE NOT EXISTS (SELECT 1 FROM record WHERE session = number) RETURNING name")?;
    let mut projects =
        taken("DELETE FROM project WHERE NOT EXISTS (SELECT 1 FROM record WHERE project = number) RETURNING name")?;
    projects.extend(taken(
        "DELETE FROM project_alias WHERE NOT EXISTS (
             SELECT 1 FROM project WHERE project.name IN (project_alias.name, project_alias.project))
         AND NOT EXISTS (
             SELECT 1 FROM project_alias AS other CROSS JOIN project ON project.name = other.name
             WHERE other.project = project_alias.project)
         RETURNING name",
    )?);
    connection.execute(
        "UPDATE event SET domain = NULL
         WHERE domain IS NOT NULL AND NOT EXISTS (SELECT 1 FROM project WHERE name = domain)",
        [],
    )?;
    for session in &sessions {
        // These tables have the first 128 characters (session/first_turn.rs).
        for sql in [
            "DELETE FROM first_turn WHERE session = substr(?1, 1, 128)",
            "DELETE FROM session_context WHERE session = substr(?1, 1, 128)",
        ] {
            connection.prepare_cached(sql)?.execute([session])?;
        }
    }
    let masked = masked::remove_sessions(connection, &sessions)?;
    for name in sessions.iter().chain(&projects) {
        forgotten::note_name(connection, name, now)?;
    }
    let mut stored = stored(connection)?;
    stored.extend(sessions.iter().chain(&projects).filter(|name| is_specific(name)).cloned());
    if !stored.is_empty() {
        meta::write(connection, NAMES, json!(stored).to_string())?;
    }
    Ok(UnusedNames { sessions, masked })
}

/// Returns true if a name may be looked for in files. `-` and `-patterns-` are names of this program.
fn is_specific(name: &str) -> bool {
    !matches!(name, "" | "-" | "unknown" | "-patterns-")
}

fn stored(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let text: Option<String> = meta::read(connection, NAMES)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Removes the stored names from the text files of the store's folder, and calls `failed` for each file that cannot be
/// changed. The bytes are overwritten in place, so that nothing is lost which another process appends meanwhile.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn clear_files(
    connection: &Connection,
    store: &Path,
    failed: &mut dyn FnMut(PathBuf, io::Error),
) -> Result<(), rusqlite::Error> {
    let names = stored(connection)?;
    if !names.is_empty() {
        for folder in FOLDERS {
            let folder = store.join(folder);
            let is_link = fs::symlink_metadata(&folder).is_ok_and(|found| found.is_symlink());
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            if is_link && folder != store {
                continue;
            }
            for entry in entries.flatten() {
                let path = entry.path();
                if let Err(error) = clear_file(&path, &names, folder.ends_with(HOOKS)) {
                    failed(path, error);
                }
            }
        }
    }
    meta::remove(connection, NAMES)
}

/// Removes the names from a file. What a hook keeps of a session is deleted as a whole: it is made again if the session
/// goes on.
fn clear_file(path: &Path, names: &[String], is_of_hooks: bool) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !is_of_hooks && !ENDINGS.iter().any(|ending| name.ends_with(ending)) {
        return Ok(());
    }
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let about = file.metadata()?;
    if !about.is_file() || about.len() > MAX_FILE_BYTES {
        return Ok(());
    }
    let mut bytes = vec![0; about.len() as usize];
    file.read_exact_at(&mut bytes, 0)?;
    let found: Vec<(usize, usize)> = names.iter().flat_map(|name| places(&bytes, name)).collect();
    let of_process = name.strip_prefix("process-").filter(|_| is_of_hooks);
    let of_session = name.strip_suffix(".offset").filter(|_| is_of_hooks);
    match (of_process, of_session) {
        (Some(pid), _) if !found.is_empty() && pid.parse().is_ok_and(process::is_alive) => {
            return Err(io::Error::other("the session of an assistant that runs"));
        }
        (_, Some(session)) if names.iter().any(|name| name == session) => return fs::remove_file(path),
        (Some(_), _) | (_, Some(_)) if !found.is_empty() => return fs::remove_file(path),
        _ => {}
    }
    for (at, length) in found {
        file.write_all_at(&vec![b'x'; length], at as u64)?;
    }
    Ok(())
}

/// Returns the places of a name: beginning and length. One that looks like an id or a path is found as a word; another,
/// which may be a word of the file's format, only as the value of a session's key.
fn places(bytes: &[u8], name: &str) -> Vec<(usize, usize)> {
    const KEYS: [&[u8]; 4] = [b"\"session_id\":\"", b"\"session_id\": \"", b"\"session\":\"", b"\"session\": \""];
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let is_particular =
        name.len() >= PARTICULAR_BYTES && name.bytes().any(|byte| byte.is_ascii_digit() || b"-/.".contains(&byte));
    let quoted = json!(name).to_string();
    let escaped = &quoted.as_bytes()[1..quoted.len() - 1];
    let mut found = Vec::new();
    for at in memmem::find_iter(bytes, escaped) {
        let (before, after) = (&bytes[..at], &bytes[at + escaped.len()..]);
        let is_value = after.first() == Some(&b'"') && KEYS.iter().any(|key| before.ends_with(key));
        let is_whole = before.is_empty() && after.is_empty();
        let is_apart = is_particular && !is_word(before.last()) && !is_word(after.first());
        if is_value || is_whole || is_apart {
            found.push((at, escaped.len()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_found_as_a_word_and_another_name_as_that_of_a_session() {
        for (text, name, count) in [
            (r#"{"session":"a","b":"aa","a":"a"}"#, "a", 1),
            (r#"{"role":"assistant","session_id": "assistant"}"#, "assistant", 1),
            ("a line about a", "a", 0),
            ("a", "a", 1),
            (r#"{"file":"7f3c-11aa.live-5.jsonl"}"#, "7f3c-11aa", 1),
            ("7f3c-11aa/7f3c-11aab", "7f3c-11aa", 1),
            (r#"{"a":"say-\"so\" twice"}"#, "say-\"so\" twice", 1),
            ("/home/private/notes", "/home/private", 1),
        ] {
            assert_eq!(places(text.as_bytes(), name).len(), count, "{name} in {text}");
        }
    }

    #[test]
    fn files_of_hooks_are_deleted_and_logs_are_overwritten() {
        let store = tempfile::tempdir().unwrap();
        let hooks = store.path().join(HOOKS);
        for folder in [&hooks, &store.path().join("logs")] {
            fs::create_dir(folder).unwrap();
        }
        let own = format!("process-{}", std::process::id());
        let files = [
            (".capture-state/gone-session.offset", r#"{"session":"gone-session"}"#, None),
            (".capture-state/other.offset", r#"{"session":"other"}"#, Some(r#"{"session":"other"}"#)),
            (".capture-state/process-999999999", "gone-session", None),
            (
                ".capture-state/last-codex.json",
                r#"{"session_id":"gone-session"}"#,
                Some(r#"{"session_id":"xxxxxxxxxxxx"}"#),
            ),
            ("logs/hooks.log", "a/gone-session.jsonl\n", Some("a/xxxxxxxxxxxx.jsonl\n")),
            ("memory.db", "gone-session", Some("gone-session")),
        ];
        for (name, text, _) in files {
            fs::write(store.path().join(name), text).unwrap();
        }
        fs::write(hooks.join(&own), "gone-session").unwrap();
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY)").unwrap();
        meta::write(&connection, NAMES, r#"["gone-session"]"#).unwrap();
        let mut failed = Vec::new();
        clear_files(&connection, store.path(), &mut |path, _| failed.push(path)).unwrap();
        assert_eq!(failed, [hooks.join(&own)], "its process runs");
        for (name, _, want) in files {
            assert_eq!(fs::read_to_string(store.path().join(name)).ok().as_deref(), want, "{name}");
        }
        assert_eq!(fs::read_to_string(hooks.join(own)).unwrap(), "gone-session");
        assert!(stored(&connection).unwrap().is_empty());
    }
}
