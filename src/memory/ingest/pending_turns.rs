//! The users' turns that wait in the spool. Files are read and never changed.

use std::cmp::Reverse;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use uuid::{Builder, Uuid};

use crate::memory::ingest::capture_params::ParsedCapture;
use crate::memory::ingest::spool::{self, PendingFile, SpoolFileKind, SpoolFileName};
use crate::memory::ingest::spool_file::{self, HeaderRead, LineRead, SpoolLine, SpoolReader};
use crate::memory::model::record::{Role, fingerprint};
use crate::memory::model::time::{MICROS_PER_SECOND, UnixMicros};
use crate::memory::store::forgotten::{self, SaidText};
use crate::memory::store::records::session_number;
use crate::sort;

/// Files that are read, at most: those written to last. Picked.
const MAX_FILES: usize = 16;

/// Bytes of a file that are read, at most: its end. Picked: hundreds of turns.
const MAX_TAIL_BYTES: u64 = 256 << 10;

/// A record with the words of a turn is that turn if their times differ by at most this much: a hook's time is not the
/// transcript's.
const MAX_DIFFERENCE_US: i64 = 120 * MICROS_PER_SECOND;

/// A turn that is not in the store yet.
pub(crate) struct PendingTurn {
    /// Derived from session and text: the same at each call.
    pub(crate) id: Uuid,
    pub(crate) session: String,
    pub(crate) project: String,
    pub(crate) text: String,
    pub(crate) ts: UnixMicros,
}

/// Returns the users' turns that wait in the folder in `store`, the newest first. A file that cannot be read, or whose
/// lines are encrypted, has none.
///
/// # Errors
/// Any error of SQLite.
pub(crate) fn pending_turns(
    store: &Path,
    connection: &Connection,
    now: UnixMicros,
) -> Result<Vec<PendingTurn>, rusqlite::Error> {
    let mut turns = Vec::new();
    for file in newest_files(store) {
        if let Ok(found) = turns_of(&file, connection, now)? {
            turns.extend(found);
        }
    }
    sort::sort_by_key(&mut turns, |turn: &PendingTurn| Reverse((turn.ts, turn.id)));
    // Hooks of other programs leave a turn in two files.
    let mut seen = Vec::new();
    turns.retain(|turn| {
        let is_new = !seen.contains(&(turn.id, turn.ts));
        seen.push((turn.id, turn.ts));
        is_new
    });
    Ok(turns)
}

/// Returns the files written to last, those in writing included.
fn newest_files(store: &Path) -> Vec<PendingFile> {
    let mut files: Vec<PendingFile> = fs::read_dir(store.join(spool::FOLDER))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let name = match spool::kind(&name)? {
                SpoolFileKind::Live => SpoolFileName { base: name.strip_suffix(spool::LIVE)?.to_owned(), failed: None },
                SpoolFileKind::Waiting | SpoolFileKind::Failed(_) => SpoolFileName::parse(&name)?,
                SpoolFileKind::GivenUp => return None,
            };
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
            Some(PendingFile { path: entry.path(), name, written: spool::last_write(&metadata) })
        })
        .collect();
    sort::sort_by_key(&mut files, |file: &PendingFile| Reverse(file.written));
    files.truncate(MAX_FILES);
    files
}

/// The outer error is the store's, the inner one the file's.
fn turns_of(
    pending: &PendingFile,
    connection: &Connection,
    now: UnixMicros,
) -> Result<io::Result<Vec<PendingTurn>>, rusqlite::Error> {
    let mut turns = Vec::new();
    let path: &PathBuf = &pending.path;
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) => return Ok(Err(error)),
    };
    let mut reader = SpoolReader::new(&file, now);
    let header = match spool_file::load(connection, &pending.name.base, &file)? {
        Some(position) => reader.resume(position).map(|()| HeaderRead::Captures),
        None => reader.read_header(pending),
    };
    if !matches!(header, Ok(HeaderRead::Captures)) {
        return Ok(header.map(|_| turns));
    }
    if let Err(error) = reader.skip_to_tail(MAX_TAIL_BYTES) {
        return Ok(Err(error));
    }
    let sql = "SELECT 1 FROM record WHERE session = ?1 AND ts BETWEEN ?2 AND ?3 AND hash = ?4";
    let mut find = connection.prepare_cached(sql)?;
    loop {
        let line = match reader.next_line() {
            Ok(LineRead::Line(line)) => line,
            Ok(LineRead::Skipped) => continue,
            Ok(LineRead::EndOfFile | LineRead::Unfinished) => return Ok(Ok(turns)),
            Err(error) => return Ok(Err(error)),
        };
        let Ok(Some(SpoolLine { capture: ParsedCapture::Accepted(draft), .. })) = reader.parse_line(&line) else {
            continue;
        };
        if draft.role != Role::User || draft.text.starts_with(spool::SEALED) {
            continue;
        }
        let hash = fingerprint(&draft.session, draft.role, &draft.text);
        let session = session_number(connection, &draft.session)?;
        let said = SaidText { session: &draft.session, role: draft.role, text: &draft.text };
        if forgotten::keeps_out(connection, said, Some(draft.ts))? {
            continue;
        }
        if !find.exists((session, draft.ts.0 - MAX_DIFFERENCE_US, draft.ts.0 + MAX_DIFFERENCE_US, hash))? {
            let id = Builder::from_custom_bytes(hash).into_uuid();
            turns.push(PendingTurn {
                id,
                session: draft.session,
                project: draft.project,
                text: draft.text,
                ts: draft.ts,
            });
        }
    }
}
