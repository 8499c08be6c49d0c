//! The names of sessions and projects whose last record is forgotten: removed from the store and from the text files in
//! its folder.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use memchr::memmem;
use rusqlite::Connection;
use serde_json::json;
use uuid::Uuid;

use crate::memory::model::time::UnixMicros;
use crate::memory::store::{forgotten, masked, meta, projects};
use crate::sys::process;

/// Meta key: the names that the text files may still have, as a JSON array.
const NAMES: &str = "forgetting_names";

/// The folders of this program's text files in the store's folder: state files, logs, and what hooks keep of sessions.
const FOLDERS: [&str; 3] = ["", LOGS, HOOKS];

const LOGS: &str = "logs";
const HOOKS: &str = ".capture-state";

/// What hooks keep of pauses. It has times only, and nothing is captured if it is damaged.
const PAUSES: [&str; 2] = ["pauses", "pauses.lock"];

/// Shortest name that is looked for in any place.
const PARTICULAR_BYTES: usize = 8;

/// Digits of a time in seconds.
const TIME_DIGITS: usize = 9;

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
/// removed them from the text files and [`remove_stored`] is called.
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
    for name in projects.clone() {
        projects.extend(remove_aliases(connection, &name)?);
    }
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

/// Deletes the aliases of the project that `name` belonged to, if no record has any of its names. Returns the names.
fn remove_aliases(connection: &Connection, name: &str) -> Result<Vec<String>, rusqlite::Error> {
    let shown = projects::canonical(connection, name)?;
    let sql = "SELECT EXISTS (SELECT 1 FROM project WHERE name = ?1)
               OR EXISTS (SELECT 1 FROM project_alias AS alias CROSS JOIN project ON project.name = alias.name
                          WHERE alias.project = ?1)";
    if connection.prepare_cached(sql)?.query_row([&shown], |row| row.get(0))? {
        return Ok(Vec::new());
    }
    let mut delete = connection.prepare_cached("DELETE FROM project_alias WHERE project = ?1 RETURNING name")?;
    let mut names: Vec<String> = delete.query_map([&shown], |row| row.get(0))?.collect::<Result<_, _>>()?;
    if !names.is_empty() {
        names.push(shown);
    }
    Ok(names)
}

/// Returns true if a name may be looked for in files. `-` and `-patterns-` are names of this program.
fn is_specific(name: &str) -> bool {
    !matches!(name, "" | "-" | "unknown" | "-patterns-")
}

fn stored(connection: &Connection) -> Result<Vec<String>, rusqlite::Error> {
    let text: Option<String> = meta::read(connection, NAMES)?;
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// Deletes the stored names. Call after [`clear_files`].
///
/// # Errors
/// Any SQLite error.
pub(crate) fn remove_stored(connection: &Connection) -> Result<(), rusqlite::Error> {
    meta::remove(connection, NAMES)
}

/// Removes names from the text files of the store's folder, and calls `failed` for each file that cannot be changed. Each
/// file is searched for each name, which takes 0.5 s with 2 000 of them: call it off the writer's thread. The bytes are
/// overwritten in place, so that nothing is lost which another process appends meanwhile.
pub(crate) fn clear_files(names: &[SoughtName], store: &Path, failed: &mut dyn FnMut(PathBuf, io::Error)) {
    for name in FOLDERS {
        let folder = store.join(name);
        let is_link = fs::symlink_metadata(&folder).is_ok_and(|found| found.is_symlink());
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        if is_link && !name.is_empty() {
            continue;
        }
        for entry in entries.flatten() {
            let path = entry.path();
            if is_own_file(name, &entry.file_name().to_string_lossy())
                && let Err(error) = clear_file(&path, names, name == HOOKS)
            {
                failed(path, error);
            }
        }
    }
}

/// A name that text files may have.
#[derive(Debug)]
pub(crate) struct SoughtName {
    name: String,
    /// The name as a JSON string.
    quoted: String,
    /// It looks like an id or a path.
    is_particular: bool,
    /// It is that of a folder in which the store or a project that is left is: a longer path need not be of its project.
    is_shared: bool,
}

impl SoughtName {
    fn new(name: String, is_shared: bool) -> SoughtName {
        let is_particular = name.len() >= PARTICULAR_BYTES
            && name.bytes().any(|byte| byte.is_ascii_digit() || b"-/.".contains(&byte))
            && !is_time(&name);
        SoughtName { quoted: json!(name).to_string(), name, is_particular, is_shared }
    }
}

/// Returns the stored names that no record has got again.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn sought(connection: &Connection, store: &Path) -> Result<Vec<SoughtName>, rusqlite::Error> {
    let mut is_used = connection.prepare(
        "SELECT EXISTS (SELECT 1 FROM session WHERE name = ?1) OR EXISTS (SELECT 1 FROM project WHERE name = ?1)",
    )?;
    // '0' follows '/'.
    let mut has_below = connection.prepare("SELECT 1 FROM project WHERE name > ?1 || '/' AND name < ?1 || '0'")?;
    let mut names = Vec::new();
    for name in stored(connection)? {
        if !is_used.query_row([&name], |row| row.get::<_, bool>(0))? {
            let is_shared = store.starts_with(&name) || has_below.exists([&name])?;
            names.push(SoughtName::new(name, is_shared));
        }
    }
    Ok(names)
}

/// Returns true if this program writes a file of this name in this folder of the store's, and it may have a name. A user may
/// have other files there.
fn is_own_file(folder: &str, name: &str) -> bool {
    match folder {
        HOOKS => !PAUSES.contains(&name),
        LOGS => {
            (name.starts_with("lifecycle-events-") && name.ends_with(".jsonl"))
                || matches!(name, "hooks.log" | "hooks.log.1")
        }
        _ => matches!(name, ".daemon-state.json" | "lifecycle_state.json"),
    }
}

/// Removes the names from a file. What a hook keeps of a session is deleted as a whole: it is made again if the session
/// goes on.
fn clear_file(path: &Path, names: &[SoughtName], is_of_hooks: bool) -> io::Result<()> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
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
    let of_process = file_name.strip_prefix("process-").filter(|_| is_of_hooks);
    let is_of_session = is_of_hooks && file_name.ends_with(".offset");
    if of_process.is_some() || is_of_session {
        // Its transcript may be in a folder that has one of the names, and be of another session.
        if !names.iter().any(|sought| bytes == sought.name.as_bytes() || has_value(&bytes, sought)) {
            return Ok(());
        }
        if of_process.is_some_and(|pid| pid.parse().is_ok_and(process::is_alive)) {
            return Err(io::Error::other("the session of an assistant that runs"));
        }
        return fs::remove_file(path);
    }
    for (at, length) in names.iter().flat_map(|name| places(&bytes, name)) {
        file.write_all_at(&vec![b'x'; length], at as u64)?;
    }
    Ok(())
}

/// Returns true if the file of a hook has this name as its session or folder.
fn has_value(bytes: &[u8], sought: &SoughtName) -> bool {
    let keys: [&[u8]; 2] = [b"\"session\":", b"\"cwd\":"];
    memmem::find_iter(bytes, &sought.quoted).any(|at| keys.iter().any(|key| bytes[..at].ends_with(key)))
}

/// Returns the places of a name: beginning and length. One that looks like an id or a path is found apart from other names;
/// another, which may be a word of the file's format, only as the value of a session's key.
fn places(bytes: &[u8], sought: &SoughtName) -> Vec<(usize, usize)> {
    const KEYS: [&[u8]; 4] = [b"\"session_id\":\"", b"\"session_id\": \"", b"\"session\":\"", b"\"session\": \""];
    let escaped = &sought.quoted.as_bytes()[1..sought.quoted.len() - 1];
    let mut found = Vec::new();
    for at in memmem::find_iter(bytes, escaped) {
        let (before, after) = (&bytes[..at], &bytes[at + escaped.len()..]);
        let is_value = after.first() == Some(&b'"') && KEYS.iter().any(|key| before.ends_with(key));
        let is_whole = before.is_empty() && after.is_empty();
        if is_value || is_whole || (sought.is_particular && is_apart(before, after, sought)) {
            found.push((at, escaped.len()));
        }
    }
    found
}

/// Returns true if a name is a date or a time, which files have of their own.
fn is_time(name: &str) -> bool {
    let has_date = name.get(..10).is_some_and(|date| date.parse::<jiff::civil::Date>().is_ok());
    has_date && name.bytes().skip(10).all(|byte| byte.is_ascii_digit() || b"TZ:.+- ".contains(&byte))
}

/// Returns true if what is between `before` and `after` is the name, and no part of a longer one of another session or
/// project.
fn is_apart(before: &[u8], after: &[u8], SoughtName { name, is_shared, .. }: &SoughtName) -> bool {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    if is_word(before.last()) || is_word(after.first()) {
        return false;
    }
    let is_path = name.starts_with('/');
    let goes_on = is_word(after.get(1));
    match after.first() {
        // No other name has a part that is a UUID.
        _ if Uuid::parse_str(name).is_ok() => true,
        _ if before.last() == Some(&b'-') => false,
        Some(b'/') if is_path => !is_shared,
        Some(b'.') if is_path => !goes_on,
        // The time in the name of a deferred file follows the session.
        Some(b'-') => !goes_on || after.iter().skip(1).take_while(|byte| byte.is_ascii_digit()).count() >= TIME_DIGITS,
        _ => true,
    }
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
            ("/home/private.org/notes /home/private-2 /x/home/private", "/home/private", 0),
            ("work-2024 work-2024-b my-work-2024 work-2024-1700000000.jsonl", "work-2024", 2),
            ("rollout-2026-11-29T22-07-22-01a228b4-9baf-767e-8c76-f00e4ae8185e.jsonl", UUID, 1),
            (r#"2026-11-30 10:00 {"ts":"2026-11-30","session":"2026-11-30"}"#, "2026-11-30", 1),
            ("2026-11-30T10:00:00Z -", "2026-11-30T10:00:00Z", 0),
        ] {
            let sought = SoughtName::new(name.to_owned(), false);
            assert_eq!(places(text.as_bytes(), &sought).len(), count, "{name} in {text}");
        }
        let home = SoughtName::new("/home/someone".into(), true);
        assert_eq!(places(br#"/home/someone/.claude/t.jsonl {"cwd":"/home/someone"}"#, &home), [(38, 13)]);
    }

    const UUID: &str = "01a228b4-9baf-767e-8c76-f00e4ae8185e";

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
            (
                ".capture-state/in-home.offset",
                r#"{"session":"in-home","transcript":"/home/someone/.claude/t.jsonl"}"#,
                Some(r#"{"session":"in-home","transcript":"/home/someone/.claude/t.jsonl"}"#),
            ),
            (".capture-state/in-folder.offset", r#"{"session":"s","cwd":"/home/someone"}"#, None),
            (".capture-state/pauses", "gone-session", Some("gone-session")),
            ("export.jsonl", "gone-session", Some("gone-session")),
            ("logs/mine.log", "gone-session", Some("gone-session")),
            ("logs/hooks.log.1", "kept-session-1", Some("kept-session-1")),
        ];
        for (name, text, _) in files {
            fs::write(store.path().join(name), text).unwrap();
        }
        fs::write(hooks.join(&own), "gone-session").unwrap();
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY);
                 CREATE TABLE session (name TEXT);
                 CREATE TABLE project (name TEXT);
                 INSERT INTO session VALUES ('kept-session-1');
                 INSERT INTO project VALUES ('/home/someone/work');",
            )
            .unwrap();
        meta::write(&connection, NAMES, r#"["gone-session","/home/someone","kept-session-1"]"#).unwrap();
        let mut failed = Vec::new();
        let names = sought(&connection, store.path()).unwrap();
        clear_files(&names, store.path(), &mut |path, _| failed.push(path));
        assert_eq!(failed, [hooks.join(&own)], "its process runs");
        for (name, _, want) in files {
            assert_eq!(fs::read_to_string(store.path().join(name)).ok().as_deref(), want, "{name}");
        }
        assert_eq!(fs::read_to_string(hooks.join(own)).unwrap(), "gone-session");
        assert_eq!(stored(&connection).unwrap().len(), 3, "a kill now has them looked for again");
        remove_stored(&connection).unwrap();
        assert!(stored(&connection).unwrap().is_empty());
    }
}
