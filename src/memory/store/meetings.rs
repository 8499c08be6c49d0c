//! Table `sync_meeting`: where other stores were met.

use rusqlite::{Connection, Row};

use crate::memory::model::time::UnixMicros;
use crate::memory::store::commit_mark::StoreId;

/// A place where another store was met.
pub(crate) struct Meeting {
    pub(crate) store: StoreId,
    /// `host` or `folder`.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) met: UnixMicros,
    pub(crate) sent: Option<String>,
    pub(crate) received: Option<String>,
}

/// Returns the places, the one met last first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn all(connection: &Connection) -> Result<Vec<Meeting>, rusqlite::Error> {
    let mut read = connection.prepare_cached(
        "SELECT store, kind, name, met, sent, received FROM sync_meeting JOIN sync_peer ON number = peer
         ORDER BY met DESC, kind, name, store",
    )?;
    let meeting = |row: &Row<'_>| {
        Ok(Meeting {
            store: row.get(0)?,
            kind: row.get(1)?,
            name: row.get(2)?,
            met: UnixMicros(row.get(3)?),
            sent: row.get(4)?,
            received: row.get(5)?,
        })
    };
    read.query_map([], meeting)?.collect()
}
