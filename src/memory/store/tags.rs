//! Table `tag`: a record's structural properties beside its text.

use rusqlite::Connection;

/// A record that replaced another one.
pub(crate) const CONTRADICT: &str = "contradict";

/// A record that describes the user's identity.
pub(crate) const IDENTITY: &str = "identity";

/// A record that is part of every session briefing.
pub(crate) const PINNED: &str = "pinned";

/// A record that consolidation made of a recurring pattern.
pub(crate) const PATTERN: &str = "pattern";

/// The beginning of the tag that names the assistant whose turn a record is.
pub(crate) const ASSISTANT: &str = "assistant:";

/// The assistants whose records are counted.
pub(crate) const ASSISTANTS: [&str; 7] = ["claude-code", "codex", "copilot", "gemini", "qwen", "opencode", "pi"];

/// Numbers of records, in the order of [`ASSISTANTS`].
pub(crate) type AssistantCounts = [u64; ASSISTANTS.len()];

/// Returns the index in [`ASSISTANTS`] of the assistant that a tag names.
pub(crate) fn assistant_of(tag: &str) -> Option<usize> {
    let name = tag.strip_prefix(ASSISTANT)?;
    ASSISTANTS.iter().position(|known| *known == name)
}

/// Counts the records of each assistant.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn count_assistants(connection: &Connection) -> Result<AssistantCounts, rusqlite::Error> {
    let mut counts = AssistantCounts::default();
    let mut count = connection.prepare_cached("SELECT count(*) FROM tag WHERE name = ?1")?;
    for (name, of_name) in ASSISTANTS.iter().zip(&mut counts) {
        let records: i64 = count.query_row([format!("{ASSISTANT}{name}")], |row| row.get(0))?;
        *of_name = records.unsigned_abs();
    }
    Ok(counts)
}

/// Adds a tag to a record; does nothing if the record has it.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn add(connection: &Connection, seq: i64, name: &str) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO tag (record, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
    connection.prepare_cached(sql)?.execute((seq, name))?;
    Ok(())
}

/// Returns true if the record has the tag.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn has(connection: &Connection, seq: i64, name: &str) -> Result<bool, rusqlite::Error> {
    connection.prepare_cached("SELECT 1 FROM tag WHERE name = ?2 AND record = ?1")?.exists((seq, name))
}

/// Returns the tags of a record, sorted.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn of(connection: &Connection, seq: i64) -> Result<Vec<String>, rusqlite::Error> {
    let sql = "SELECT name FROM tag WHERE record = ?1 ORDER BY name";
    connection.prepare_cached(sql)?.query_map([seq], |row| row.get(0))?.collect()
}

/// Returns up to `limit` records with the tag, the newest first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn newest_with(connection: &Connection, name: &str, limit: usize) -> Result<Vec<i64>, rusqlite::Error> {
    let sql = "SELECT record FROM tag WHERE name = ?1 ORDER BY record DESC LIMIT ?2";
    connection.prepare_cached(sql)?.query_map((name, limit as i64), |row| row.get(0))?.collect()
}
