//! A record with the names of its session and project, as methods return it.

use rusqlite::Connection;
use serde::Serialize;
use uuid::Uuid;

use crate::memory::model::record::{Role, Tier};
use crate::memory::model::time::UnixMicros;

/// A record, with the members that its methods share.
#[derive(Serialize)]
pub(crate) struct RecordView {
    pub(crate) record_id: String,
    pub(crate) ts: String,
    pub(crate) role: &'static str,
    pub(crate) session_id: String,
    /// The name that the project is shown by.
    pub(crate) project: String,
    pub(crate) tier: &'static str,
    pub(crate) valid_to: Option<String>,
    pub(crate) text: String,
}

impl RecordView {
    /// Reads the record with this seq.
    ///
    /// # Errors
    /// Any SQLite error; `QueryReturnedNoRows` if there is no such record.
    pub(crate) fn read(connection: &Connection, seq: i64) -> Result<RecordView, rusqlite::Error> {
        let mut read = connection.prepare_cached(
            "SELECT id, ts, role, session.name, coalesce(project_alias.project, project.name), tier, valid_to, text
             FROM record
             JOIN session ON session.number = record.session JOIN project ON project.number = record.project
             LEFT JOIN project_alias ON project_alias.name = project.name
             WHERE seq = ?1",
        )?;
        read.query_row([seq], |row| {
            Ok(RecordView {
                record_id: Uuid::from_bytes(row.get(0)?).to_string(),
                ts: UnixMicros(row.get(1)?).to_string(),
                role: Role::numbered(row.get(2)?).name(),
                session_id: row.get(3)?,
                project: row.get(4)?,
                tier: Tier::numbered(row.get(5)?).name(),
                valid_to: row.get::<_, Option<i64>>(6)?.map(|at| UnixMicros(at).to_string()),
                text: row.get(7)?,
            })
        })
    }
}
