//! Reads the database of opencode: its messages as lines of JSON, one a message, as `opencode export` has them.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::memory::store::files::HEADER_BYTES;
use crate::memory::store::open::APPLICATION_ID;

/// Messages that are read at a time. Picked.
const BATCH_MESSAGES: i64 = 256;

/// Longest wait for opencode to end a write.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The messages behind a place, in order, each with its session's folder and its parts. Sessions with a parent are those
/// of subagents. Parts that never have a turn and may be long are left out. The batch is chosen before its texts are read:
/// a sort would hold those of all messages.
const MESSAGES: &str = "
    SELECT message.session_id, message.id, json_object(
        'info', json_set(message.data, '$.id', message.id, '$.sessionID', message.session_id),
        'directory', batch.directory,
        'parts', json((SELECT json_group_array(json(part)) FROM (
            SELECT json_set(part.data, '$.id', part.id) AS part FROM part
            WHERE part.message_id = message.id AND json_valid(part.data)
              AND json_extract(part.data, '$.type') NOT IN ('tool', 'file', 'patch', 'snapshot', 'reasoning')
            ORDER BY part.id))))
    FROM (SELECT message.id, session.directory FROM message CROSS JOIN session ON session.id = message.session_id
          WHERE session.parent_id IS NULL AND json_valid(message.data) AND (message.session_id, message.id) > (?1, ?2)
          ORDER BY message.session_id, message.id LIMIT ?3) AS batch
    CROSS JOIN message ON message.id = batch.id ORDER BY message.session_id, message.id";

/// The sessions of the user with a message, the one that changed last first.
const SESSIONS: &str = "
    SELECT session.id, session.time_updated FROM session
    WHERE parent_id IS NULL AND EXISTS (SELECT 1 FROM message WHERE message.session_id = session.id)
    ORDER BY time_updated DESC LIMIT ?1";

/// Returns true if the database is a store or a backup of one. SQLite would leave files beside it.
fn is_store(path: &Path) -> io::Result<bool> {
    let mut header = Vec::new();
    File::open(path)?.take(HEADER_BYTES as u64).read_to_end(&mut header)?;
    Ok(header.get(68..72) == Some(&APPLICATION_ID.to_be_bytes()))
}

fn connect(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// Returns the ids of the `most` sessions that changed last, each with the time in milliseconds since 1970.
///
/// # Errors
/// `Other` with SQLite's message if the database cannot be opened or read.
pub(crate) fn opencode_sessions(path: &Path, most: usize) -> io::Result<Vec<(String, u64)>> {
    let read = || -> Result<Vec<(String, u64)>, rusqlite::Error> {
        let connection = connect(path)?;
        let mut sessions = connection.prepare(SESSIONS)?;
        sessions.query_map([most as i64], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs())))?.collect()
    };
    read().map_err(io::Error::other)
}

/// The messages of a database, as lines.
pub(crate) struct OpencodeMessages {
    connection: Connection,
    /// Session and id of the last message read.
    last: (String, String),
    lines: Vec<u8>,
    /// Bytes of `lines` that were given out.
    at: usize,
}

impl OpencodeMessages {
    /// Opens a database for reading; `None` if it is not opencode's.
    ///
    /// # Errors
    /// `Other` with SQLite's message if it cannot be opened or read.
    pub(crate) fn open(path: &Path) -> io::Result<Option<OpencodeMessages>> {
        if is_store(path)? {
            return Ok(None);
        }
        let connection = connect(path).map_err(io::Error::other)?;
        let sql = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('session', 'message', 'part')";
        let tables: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(io::Error::other)?;
        let last = (String::new(), String::new());
        Ok((tables == 3).then_some(OpencodeMessages { connection, last, lines: Vec::new(), at: 0 }))
    }

    fn next_batch(&mut self) -> Result<(), rusqlite::Error> {
        self.lines.clear();
        self.at = 0;
        let mut find = self.connection.prepare_cached(MESSAGES)?;
        let mut rows = find.query((&self.last.0, &self.last.1, BATCH_MESSAGES))?;
        let mut last = None;
        while let Some(row) = rows.next()? {
            self.lines.extend_from_slice(row.get_ref(2)?.as_bytes()?);
            self.lines.push(b'\n');
            last = Some((row.get(0)?, row.get(1)?));
        }
        self.last = last.unwrap_or_else(|| std::mem::take(&mut self.last));
        Ok(())
    }
}

impl Read for OpencodeMessages {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.lines.len() {
            self.next_batch().map_err(io::Error::other)?;
        }
        let count = (&self.lines[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}
