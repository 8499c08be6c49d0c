//! `sync_changes`: what this store gives to others, in the order of its change log.
//!
//! The log has two parts: the records by their seq, and the rows of table `change`. A page has records first, and changes
//! only once no record is left; so what a change refers to was given before.

use rusqlite::{Connection, OptionalExtension, Row};
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::graph::links::LinkKind;
use crate::memory::model::record::{Role, Tier};
use crate::memory::store::error::StoreError;
use crate::memory::store::reader::Reader;
use crate::memory::store::{aliases, forgotten, knob_changes, records, repetitions, sync_identity, tags};
use crate::memory::sync::cursor::{self, SyncCursor};
use crate::memory::sync::entry::EntryWriter;
use crate::memory::sync::peers;

/// Bytes of the entries of a reply, by default and at least. A larger entry is alone in its reply.
const PAGE_BYTES: i64 = 512 << 10;
const MIN_PAGE_BYTES: i64 = 64 << 10;

/// The same at most: the entries must fit in a line of `sync_apply`, which has 1 MiB.
const MAX_PAGE_BYTES: i64 = 896 << 10;

/// The columns of a record that an entry has.
const RECORD: &str =
    "SELECT seq, record.id, ts, tier, role, session.name, project.name, part, parts, valid_to, cue, text
     FROM record CROSS JOIN session ON session.number = session CROSS JOIN project ON project.number = project
     WHERE seq > ?1 AND seq <= ?2 ORDER BY seq";

/// The kinds of rows of table `change`. The store keeps the numbers, so they never change.
const RECORD_CHANGE: i64 = 0;
const LINK_CHANGE: i64 = LinkKind::Reinforced as i64;
const CONTRADICTION_CHANGE: i64 = LinkKind::Contradicts as i64;
const FORGOTTEN_CHANGE: i64 = 3;
const KNOB_CHANGE: i64 = 4;

/// Answers `sync_changes`, as JSON.
///
/// # Errors
/// -32602 if a param is invalid or the cursor is not of this store; -32001 if the store cannot be read.
pub(crate) fn sync_changes(reader: &Reader, params: &Params<'_>) -> Result<Vec<u8>, CallError> {
    let since = params.string_opt("since")?;
    let peer = peers::parse_store(params, "peer")?;
    let max_bytes = params.integer_or("max_bytes", MIN_PAGE_BYTES..=MAX_PAGE_BYTES, PAGE_BYTES)?;
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let store = sync_identity::read(connection)?.unwrap_or_default();
    let cursor = match since {
        Some(text) => SyncCursor::read(connection, store, &text)?,
        None => SyncCursor::start(store),
    };
    let peer = peer.map(|peer| peers::number_of(connection, peer)).transpose()?.flatten();
    let total = total(connection, &cursor, peer)?;
    let forgotten = forgotten_count(connection)?;
    let mut page = Page { connection, peer, max_bytes: max_bytes as usize, entries: Vec::new(), cursor };
    let is_done = page.add_records()? && page.add_changes()?;
    let store = Uuid::from_bytes(store);
    let mut reply = format!("{{\"store\":\"{}\",\"entries\":[", store.simple()).into_bytes();
    reply.append(&mut page.entries);
    let end =
        format!("],\"next\":\"{}\",\"done\":{is_done},\"total\":{total},\"forgotten\":{forgotten}}}", page.cursor);
    reply.extend_from_slice(end.as_bytes());
    Ok(reply)
}

/// Returns how many entries of the whole log say that an id was forgotten.
fn forgotten_count(connection: &Connection) -> Result<i64, rusqlite::Error> {
    let sql = "SELECT count(*) FROM change WHERE kind = ?1";
    connection.prepare_cached(sql)?.query_row([FORGOTTEN_CHANGE], |row| row.get(0))
}

/// Returns about how many entries there are after the cursor.
fn total(connection: &Connection, cursor: &SyncCursor, peer: Option<i64>) -> Result<i64, rusqlite::Error> {
    let sql =
        "SELECT coalesce(sum(last - max(first, ?2 + 1) + 1), 0) FROM learned_record WHERE peer = ?1 AND last > ?2";
    let learned: i64 = connection.prepare_cached(sql)?.query_row((peer, cursor.record), |row| row.get(0))?;
    let records = records::last_number(connection)? - cursor.record - learned;
    let sql = "SELECT count(*) FROM change WHERE number > ?1 AND origin IS NOT ?2";
    let changes: i64 = connection.prepare_cached(sql)?.query_row((cursor.change, peer), |row| row.get(0))?;
    Ok(records.max(0) + changes)
}

/// A reply in progress.
struct Page<'c> {
    connection: &'c Connection,
    /// The number of the store that is given nothing that was learned from it.
    peer: Option<i64>,
    max_bytes: usize,
    entries: Vec<u8>,
    /// The position behind the last entry.
    cursor: SyncCursor,
}

impl Page<'_> {
    /// Adds records. Returns false if the page is full before the last.
    fn add_records(&mut self) -> Result<bool, StoreError> {
        let mut after = self.cursor.record;
        let mut reached = after;
        loop {
            let sql = "SELECT first, last FROM learned_record WHERE peer = ?1 AND last > ?2 ORDER BY last LIMIT 1";
            let mut next = self.connection.prepare_cached(sql)?;
            let learned: Option<(i64, i64)> =
                next.query_row((self.peer, after), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            let until = learned.map_or(i64::MAX, |(first, _)| first - 1);
            let mut read = self.connection.prepare_cached(RECORD)?;
            let mut rows = read.query((after, until))?;
            while let Some(row) = rows.next()? {
                if !self.add(|entries| write_record(self.connection, row, entries))? {
                    self.cursor.move_to(self.connection, reached)?;
                    return Ok(false);
                }
                reached = row.get(0)?;
            }
            match learned {
                Some((_, last)) => after = last,
                None => break,
            }
        }
        self.cursor.move_to(self.connection, records::last_number(self.connection)?)?;
        Ok(true)
    }

    /// Adds changes that are no new records. Returns false if the page is full before the last.
    fn add_changes(&mut self) -> Result<bool, StoreError> {
        let mut read = self.connection.prepare_cached(
            "SELECT number, kind, a, b, name FROM change WHERE number > ?1 AND origin IS NOT ?2 ORDER BY number",
        )?;
        let mut rows = read.query((self.cursor.change, self.peer))?;
        while let Some(row) = rows.next()? {
            if !self.add(|entries| write_change(self.connection, row, entries))? {
                return Ok(false);
            }
            self.cursor.change = row.get(0)?;
        }
        self.cursor.change = cursor::last_change(self.connection)?;
        Ok(true)
    }

    /// Adds the entries that `write` appends, each behind a comma. Returns false if the page has no room for them.
    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>) -> Result<(), StoreError>) -> Result<bool, StoreError> {
        let before = self.entries.len();
        write(&mut self.entries)?;
        if before > 0 && self.entries.len() > self.max_bytes {
            self.entries.truncate(before);
            return Ok(false);
        }
        Ok(true)
    }
}

/// Begins an entry, with a comma before it unless it is the first.
fn begin<'b>(entries: &'b mut Vec<u8>, kind: &str) -> EntryWriter<'b> {
    if !entries.is_empty() {
        entries.push(b',');
    }
    EntryWriter::begin(entries, kind)
}

/// Appends the entry of a row of [`RECORD`]; none for a pattern, which each store learns itself, and for a record that is
/// still to be deleted.
fn write_record(connection: &Connection, row: &Row<'_>, entries: &mut Vec<u8>) -> Result<(), StoreError> {
    let seq = row.get(0)?;
    let tags = tags::of(connection, seq)?;
    let id = Uuid::from_bytes(row.get(1)?);
    if tags.iter().any(|tag| tag == tags::PATTERN) || forgotten::forgotten_at(connection, id)?.is_some() {
        return Ok(());
    }
    let mut entry = begin(entries, "record");
    let mut ids = format!("[\"{}\"", id.simple());
    for other in aliases::of(connection, seq)? {
        ids.push_str(&format!(",\"{}\"", other.simple()));
    }
    ids.push(']');
    entry.raw("ids", &ids);
    entry.number("ts", row.get(2)?);
    entry.text("tier", Tier::numbered(row.get(3)?).name());
    entry.text("role", Role::numbered(row.get(4)?).name());
    entry.text("session", records::string(row, 5)?);
    for (key, at) in [("project", 6), ("cue", 10)] {
        let text = records::string(row, at)?;
        if !text.is_empty() {
            entry.text(key, text);
        }
    }
    for (key, number) in [("part", row.get(7)?), ("parts", row.get(8)?), ("valid_to", row.get(9)?)] {
        if let Some(number) = number {
            entry.number(key, number);
        }
    }
    let repetitions = repetitions::of(connection, seq)?;
    if repetitions != [0] {
        entry.raw("repetitions", &format!("{repetitions:?}"));
    }
    if !tags.is_empty() {
        entry.list("tags", &tags);
    }
    entry.text("text", records::string(row, 11)?);
    entry.end();
    Ok(())
}

/// Appends the entries of a row of table `change`; none if the object of the change is gone.
fn write_change(connection: &Connection, row: &Row<'_>, entries: &mut Vec<u8>) -> Result<(), StoreError> {
    let (kind, a, b): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let name = row.get_ref(4)?.as_blob().map_err(|error| StoreError::Damaged(error.to_string()))?;
    match kind {
        RECORD_CHANGE => {
            let mut read = connection.prepare_cached(RECORD)?;
            let mut rows = read.query((a - 1, a))?;
            rows.next()?.map_or(Ok(()), |row| write_record(connection, row, entries))
        }
        LINK_CHANGE | CONTRADICTION_CHANGE => write_link(connection, (a, b), kind, entries),
        FORGOTTEN_CHANGE => {
            let id = Uuid::from_slice(name).map_err(|error| StoreError::Damaged(error.to_string()))?;
            let Some(at) = forgotten::forgotten_at(connection, id)? else { return Ok(()) };
            let mut entry = begin(entries, "forgotten");
            entry.id("id", id);
            entry.number("at", at.0);
            entry.end();
            Ok(())
        }
        KNOB_CHANGE => {
            let knob = std::str::from_utf8(name).map_err(|error| StoreError::Damaged(error.to_string()))?;
            for change in knob_changes::of(connection, knob)? {
                let mut entry = begin(entries, "knob");
                entry.text("knob", knob);
                entry.id("store", Uuid::from_bytes(change.store));
                entry.number("number", change.number);
                entry.number("at", change.at);
                entry.raw("value", &change.value);
                entry.end();
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn write_link(connection: &Connection, (a, b): (i64, i64), kind: i64, entries: &mut Vec<u8>) -> Result<(), StoreError> {
    let mut read = connection.prepare_cached("SELECT weight, used FROM link WHERE a = ?1 AND b = ?2 AND kind = ?3")?;
    let link: Option<(i64, i64)> = read.query_row((a, b, kind), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((weight, used)) = link else { return Ok(()) };
    if tags::has(connection, a, tags::PATTERN)? || tags::has(connection, b, tags::PATTERN)? {
        return Ok(());
    }
    let mut entry = begin(entries, if kind == LINK_CHANGE { "link" } else { "contradicts" });
    entry.id("from", records::id_of(connection, a)?);
    entry.id("to", records::id_of(connection, b)?);
    if kind == LINK_CHANGE {
        entry.number("weight", weight);
    }
    entry.number("used", used);
    entry.end();
    Ok(())
}
