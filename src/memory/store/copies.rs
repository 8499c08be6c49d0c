//! Table `copy_made`: where this program has written backups, exports and reports. They keep what is forgotten later.

use rusqlite::Connection;

use crate::memory::model::time::UnixMicros;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::background_task;

/// Most copies that are remembered, the newest. Picked: nightly backups of two years.
const KEPT_COUNT: i64 = 1000;

/// A copy of the store.
pub(crate) struct MadeCopy {
    pub(crate) path: String,
    /// `backup`, `export` or `report`.
    pub(crate) kind: String,
    pub(crate) at: UnixMicros,
}

/// Remembers a copy of this kind at `path`, once the writer gets to it.
pub(crate) fn remember(writer: &Writer, kind: &str, path: &str, at: UnixMicros) {
    let copy = MadeCopy { path: path.to_owned(), kind: kind.to_owned(), at };
    writer.submit(background_task("where a copy of the store was made", move |transaction| {
        Ok(add(transaction.connection, &copy)?)
    }));
}

fn add(connection: &Connection, copy: &MadeCopy) -> Result<(), rusqlite::Error> {
    let sql = "INSERT INTO copy_made (path, kind, at) VALUES (?1, ?2, ?3)
               ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, at = excluded.at";
    connection.prepare_cached(sql)?.execute((&copy.path, &copy.kind, copy.at.0))?;
    let sql = "DELETE FROM copy_made WHERE path IN (
                   SELECT path FROM copy_made ORDER BY at DESC, path LIMIT -1 OFFSET ?1)";
    connection.prepare_cached(sql)?.execute([KEPT_COUNT])?;
    Ok(())
}

/// Returns the copies, the newest first.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn all(connection: &Connection) -> Result<Vec<MadeCopy>, rusqlite::Error> {
    let mut read = connection.prepare_cached("SELECT path, kind, at FROM copy_made ORDER BY at DESC, path")?;
    let copy =
        |row: &rusqlite::Row<'_>| Ok(MadeCopy { path: row.get(0)?, kind: row.get(1)?, at: UnixMicros(row.get(2)?) });
    read.query_map([], copy)?.collect()
}
