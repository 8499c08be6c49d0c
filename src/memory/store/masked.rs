//! How many secrets were masked, of which kind and in which session: counted in the transaction of the records, in table
//! `meta`. The secrets themselves are nowhere.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::memory::store::meta;

/// The meta key: JSON `{"count","kinds":{KIND:COUNT},"sessions":[{"session_id","kinds"}]}`, the last session first.
const KEY: &str = "masked";

/// Most sessions that are listed. Picked: what a person looks through. The counts of kinds are of all sessions.
const MAX_SESSIONS: usize = 32;

/// What was done to a record's text before it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MaskedFrom {
    /// The fingerprint that the record would have had unmasked, if it is known.
    pub(crate) was: Option<[u8; 16]>,
    /// The kinds of the masked secrets.
    pub(crate) kinds: Vec<&'static str>,
}

/// Returns the counts; `None` if nothing was masked.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn read(connection: &Connection) -> Result<Option<String>, rusqlite::Error> {
    meta::read(connection, KEY)
}

/// Counts the secrets of a new record. Returns the new counts; `None` if they are the same.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn count(
    connection: &Connection,
    session: &str,
    kinds: &[&'static str],
) -> Result<Option<String>, rusqlite::Error> {
    if kinds.is_empty() {
        return Ok(None);
    }
    let stored = read(connection)?.and_then(|text| serde_json::from_str(&text).ok());
    let mut counts: Value = stored.unwrap_or_else(|| json!({"count": 0, "kinds": {}, "sessions": []}));
    add(&mut counts["count"], kinds.len());
    let sessions = counts["sessions"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let (mut own, others): (Vec<Value>, Vec<Value>) =
        sessions.into_iter().partition(|one| one["session_id"].as_str() == Some(session));
    let mut own = own.pop().unwrap_or_else(|| json!({"session_id": session, "kinds": {}}));
    for kind in kinds {
        add(&mut counts["kinds"][*kind], 1);
        add(&mut own["kinds"][*kind], 1);
    }
    counts["sessions"] = std::iter::once(own).chain(others).take(MAX_SESSIONS).collect();
    let text = counts.to_string();
    meta::write(connection, KEY, &text)?;
    Ok(Some(text))
}

/// Removes sessions from the counts. Returns the new counts; `None` if they are the same.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn remove_sessions(connection: &Connection, names: &[String]) -> Result<Option<String>, rusqlite::Error> {
    let stored = read(connection)?.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    let Some(mut counts) = stored else { return Ok(None) };
    let Some(sessions) = counts["sessions"].as_array_mut() else { return Ok(None) };
    let before = sessions.len();
    sessions.retain(|one| !names.iter().any(|name| one["session_id"] == name.as_str()));
    if sessions.len() == before {
        return Ok(None);
    }
    let text = counts.to_string();
    meta::write(connection, KEY, &text)?;
    Ok(Some(text))
}

fn add(count: &mut Value, more: usize) {
    *count = (count.as_u64().unwrap_or(0) + more as u64).into();
}
