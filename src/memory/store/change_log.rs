//! Tables `change` and `change_origin`. Triggers write the log (schema/v6.sql); this is what they cannot know.

use rusqlite::Connection;

/// The origin of changes that are made here.
pub(crate) const HERE: i64 = 0;

/// Sets the origin of the changes that follow: the number of a peer, or [`HERE`].
///
/// Caller's contract: it is [`HERE`] again when the job ends. A job that fails is rolled back, and this with it.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn set_origin(connection: &Connection, peer: i64) -> Result<(), rusqlite::Error> {
    connection.prepare_cached("UPDATE change_origin SET peer = ?1")?.execute([peer]).map(drop)
}

/// Notes that a record has changed in a way that no trigger sees: tags of the newest record, and repetitions.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn note_record(connection: &Connection, seq: i64) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO noted_change (kind, a, b, name) VALUES (0, ?1, 0, X'')";
    connection.prepare_cached(sql)?.execute([seq]).map(drop)
}
