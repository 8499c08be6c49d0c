//! `store_export`: the store as rows, one page a call.
//!
//! Records come first, in the order in which they were stored, then what refers to them (tags, links), then events,
//! aliases of projects and knobs, so each row refers only to rows before it. The cursor has the position where the last page ended and the last
//! record at the first call: later records are left out, with the tags and links that refer to them, and no row is given
//! twice.

use rusqlite::types::ToSql;
use rusqlite::{Connection, Row};
use serde::Serialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::graph::links::LinkKind;
use crate::memory::model::record::{PROJECT_BYTES, Role, Tier};
use crate::memory::model::time::UnixMicros;
use crate::memory::params::bounded_string;
use crate::memory::store::copies;
use crate::memory::store::error::StoreError;
use crate::memory::store::projects::AliasSource;
use crate::memory::store::reader::Reader;
use crate::memory::store::records;
use crate::memory::store::writer::Writer;
use crate::memory::transfer::export_row::{ExportRow, ExportedEvent, ExportedRecord};

/// Most bytes of rows on a page. 256 KiB, the output that a connection may buffer before back-pressure. A larger row is
/// alone on its page: the longest text and cue, all escaped, are 768 KiB.
const PAGE_BYTES: usize = 256 << 10;

/// Most rows of a page.
const MAX_ROWS: i64 = 10_000;

/// Rows of a page by default.
const DEFAULT_ROWS: i64 = 1000;

/// The kinds of rows, in the order of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Section {
    Records,
    Tags,
    Links,
    Events,
    Aliases,
    Knobs,
}

const SECTIONS: [(Section, &str); 6] = [
    (Section::Records, "record"),
    (Section::Tags, "tag"),
    (Section::Links, "link"),
    (Section::Events, "event"),
    (Section::Aliases, "alias"),
    (Section::Knobs, "knob"),
];

/// The position where the next page begins. An opaque string to clients.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    section: Section,
    /// The last record of this export.
    top: i64,
    /// The key of the last row of the previous page; the first two numbers are 0 if there is none.
    after: Key,
}

/// The sort key of a section's rows. A section uses the fields that it needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Key {
    numbers: [i64; 3],
    name: String,
}

/// Answers `store_export`, as JSON.
///
/// # Errors
/// -32602 if the cursor is none that an export has returned; -32001 if the store cannot be read.
pub(crate) fn export(
    reader: &Reader,
    writer: &Writer,
    params: &Params<'_>,
    now: UnixMicros,
) -> Result<Vec<u8>, CallError> {
    let file = bounded_string(params, "file", "", PROJECT_BYTES)?;
    let limit = params.integer_or("limit", 1..=MAX_ROWS, DEFAULT_ROWS)?;
    let snapshot = reader.snapshot()?;
    let connection = snapshot.connection();
    let cursor = match params.string_opt("cursor")? {
        Some(text) => Cursor::parse(&text)
            .ok_or_else(|| CallError::invalid("cursor", "the one that the last reply gave, or null to begin"))?,
        None => Cursor::first(connection)?,
    };
    if !file.is_empty() && params.raw("cursor").is_none_or(|cursor| cursor == "null") {
        copies::remember(writer, "export", &file, now);
    }
    let mut page = Page { rows: b"{\"rows\":[".to_vec(), left: limit };
    let next = page.fill(connection, cursor)?;
    let Page { rows: mut reply, .. } = page;
    reply.extend_from_slice(b"],\"cursor\":");
    append(&mut reply, &next.map(|cursor| cursor.to_string()))?;
    reply.push(b'}');
    Ok(reply)
}

fn append(to: &mut Vec<u8>, value: &impl Serialize) -> Result<(), StoreError> {
    serde_json::to_writer(to, value).map_err(|error| StoreError::Other(error.to_string()))
}

impl Cursor {
    fn first(connection: &Connection) -> Result<Cursor, StoreError> {
        let top = records::last_seq(connection)?;
        Ok(Cursor { section: Section::Records, top, after: Key::default() })
    }

    fn parse(text: &str) -> Option<Cursor> {
        let mut parts = text.splitn(6, '.');
        let mut next = || parts.next();
        let name = next()?;
        let (section, _) = *SECTIONS.iter().find(|(_, known)| *known == name)?;
        let mut number = || next()?.parse::<i64>().ok();
        let top = number()?;
        let numbers = [number()?, number()?, number()?];
        let cursor = Cursor { section, top, after: Key { numbers, name: parts.next()?.to_owned() } };
        // `parse` accepts numbers in other spellings, too.
        (cursor.to_string() == text).then_some(cursor)
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (_, section) = SECTIONS[self.section as usize];
        let Key { numbers: [a, b, c], name } = &self.after;
        write!(f, "{section}.{}.{a}.{b}.{c}.{name}", self.top)
    }
}

/// A page in progress.
struct Page {
    rows: Vec<u8>,
    /// Rows that may still be added.
    left: i64,
}

impl Page {
    /// Adds rows from `cursor` on. Returns the cursor of the next page, unless this one is the last.
    fn fill(&mut self, connection: &Connection, cursor: Cursor) -> Result<Option<Cursor>, StoreError> {
        let Cursor { section: first, top, mut after } = cursor;
        for (section, _) in &SECTIONS[first as usize..] {
            let (sql, params, read) = section.query(&after, &top);
            let mut find = connection.prepare_cached(sql)?;
            let mut rows = find.query(params.as_slice())?;
            while let Some(row) = rows.next()? {
                let next = read(row, self)?;
                match next {
                    Some(key) => after = key,
                    None => return Ok(Some(Cursor { section: *section, top, after })),
                }
            }
            after = Key::default();
        }
        Ok(None)
    }

    /// Adds a row. Returns false if the page is full.
    fn push(&mut self, row: &ExportRow<'_>) -> Result<bool, StoreError> {
        let (before, is_first) = (self.rows.len(), self.rows.ends_with(b"["));
        if self.left == 0 {
            return Ok(false);
        }
        if !is_first {
            self.rows.push(b',');
        }
        append(&mut self.rows, row)?;
        if !is_first && self.rows.len() > PAGE_BYTES {
            self.rows.truncate(before);
            return Ok(false);
        }
        self.left -= 1;
        Ok(true)
    }
}

/// Adds a row to the page. Returns its key, or `None` if the page is full.
type ReadRow = fn(&Row<'_>, &mut Page) -> Result<Option<Key>, StoreError>;

impl Section {
    fn query<'a>(self, after: &'a Key, top: &'a i64) -> (&'static str, Vec<&'a dyn ToSql>, ReadRow) {
        let Key { numbers: [a, b, c], name } = after;
        match self {
            Section::Records => (
                "SELECT seq, id, ts, tier, role, session.name, project.name, part, parts, valid_to, twin, cue, text,
                        (SELECT group_concat(hex(id)) FROM (
                             SELECT id FROM record_alias WHERE record_alias.record = seq ORDER BY id)),
                        (SELECT json_group_array(repetition.number) FROM repetition WHERE repetition.record = seq)
                 FROM record CROSS JOIN session ON session.number = record.session
                 CROSS JOIN project ON project.number = record.project
                 WHERE seq > ?1 AND seq <= ?2 ORDER BY seq",
                vec![a, top],
                record,
            ),
            Section::Tags => (
                "SELECT tag.record, tag.name, record.id FROM tag CROSS JOIN record ON record.seq = tag.record
                 WHERE (tag.record, tag.name) > (?1, ?2) AND tag.record <= ?3 ORDER BY tag.record, tag.name",
                vec![a, name, top],
                tag,
            ),
            Section::Links => (
                "SELECT link.a, link.b, link.kind, one.id, other.id, weight, used
                 FROM link CROSS JOIN record AS one ON one.seq = link.a CROSS JOIN record AS other ON other.seq = link.b
                 WHERE (link.a, link.b, link.kind) > (?1, ?2, ?3) AND link.a <= ?4 AND link.b <= ?4
                 ORDER BY link.a, link.b, link.kind",
                vec![a, b, c, top],
                link,
            ),
            Section::Events => (
                "SELECT seq, id, ts, kind, severity, domain, session, sources, data FROM event WHERE seq > ?1
                 ORDER BY seq",
                vec![a],
                event,
            ),
            Section::Aliases => {
                ("SELECT name, project, source FROM project_alias WHERE name > ?1 ORDER BY name", vec![name], alias)
            }
            Section::Knobs => ("SELECT knob, value FROM profile WHERE knob > ?1 ORDER BY knob", vec![name], knob),
        }
    }
}

fn record(row: &Row<'_>, page: &mut Page) -> Result<Option<Key>, StoreError> {
    let others = text_or_null(row, 13)?.into_iter().flat_map(|ids| ids.split(','));
    let others = others.map(|hex| {
        Uuid::try_parse(hex)
            .map(|id| id.to_string())
            .map_err(|error| StoreError::Damaged(format!("an id of a record is none: {error}")))
    });
    let out = ExportRow::Record(ExportedRecord {
        id: id(row, 1)?,
        other_ids: others.collect::<Result<_, _>>()?,
        ts: UnixMicros(row.get(2)?).to_string(),
        tier: Tier::numbered(row.get(3)?).name(),
        role: Role::numbered(row.get(4)?).name(),
        session_id: text(row, 5)?,
        project: text(row, 6)?,
        part: row.get(7)?,
        parts: row.get(8)?,
        valid_to: row.get::<_, Option<i64>>(9)?.map(|at| UnixMicros(at).to_string()),
        twin: row.get(10)?,
        repetitions: text_or_null(row, 14)?.filter(|list| *list != "[]").map(json).transpose()?,
        cue: text(row, 11)?,
        text: text(row, 12)?,
    });
    let seq = row.get(0)?;
    Ok(page.push(&out)?.then(|| Key { numbers: [seq, 0, 0], name: String::new() }))
}

fn tag(row: &Row<'_>, page: &mut Page) -> Result<Option<Key>, StoreError> {
    let (record, name) = (row.get(0)?, text(row, 1)?);
    let out = ExportRow::Tag { record: id(row, 2)?, name };
    Ok(page.push(&out)?.then(|| Key { numbers: [record, 0, 0], name: name.to_owned() }))
}

fn link(row: &Row<'_>, page: &mut Page) -> Result<Option<Key>, StoreError> {
    let numbers = [row.get(0)?, row.get(1)?, row.get(2)?];
    let kind =
        LinkKind::numbered(numbers[2]).ok_or_else(|| StoreError::Damaged(format!("a link of kind {}", numbers[2])))?;
    let relation = kind.name();
    let used = UnixMicros(row.get(6)?).to_string();
    let out = ExportRow::Link { from: id(row, 3)?, to: id(row, 4)?, relation, weight: row.get(5)?, used };
    Ok(page.push(&out)?.then(|| Key { numbers, name: String::new() }))
}

fn event(row: &Row<'_>, page: &mut Page) -> Result<Option<Key>, StoreError> {
    let out = ExportRow::Event(ExportedEvent {
        id: id(row, 1)?,
        ts: UnixMicros(row.get(2)?).to_string(),
        event: text(row, 3)?,
        severity: text_or_null(row, 4)?,
        domain: text_or_null(row, 5)?,
        session_id: text(row, 6)?,
        sources: json(text(row, 7)?)?,
        data: json(text(row, 8)?)?,
    });
    let seq = row.get(0)?;
    Ok(page.push(&out)?.then(|| Key { numbers: [seq, 0, 0], name: String::new() }))
}

fn alias(row: &Row<'_>, page: &mut Page) -> Result<Option<Key>, StoreError> {
    let name = text(row, 0)?;
    let source = AliasSource::numbered(row.get(2)?).name();
    let out = ExportRow::Alias { name, project: text(row, 1)?, source };
    Ok(page.push(&out)?.then(|| Key { numbers: [0; 3], name: name.to_owned() }))
}

fn knob(row: &Row<'_>, page: &mut Page) -> Result<Option<Key>, StoreError> {
    let knob = text(row, 0)?;
    let out = ExportRow::Knob { knob, value: json(text(row, 1)?)? };
    Ok(page.push(&out)?.then(|| Key { numbers: [0; 3], name: knob.to_owned() }))
}

fn id(row: &Row<'_>, column: usize) -> Result<String, StoreError> {
    Ok(Uuid::from_bytes(row.get(column)?).to_string())
}

fn text<'r>(row: &'r Row<'_>, column: usize) -> Result<&'r str, StoreError> {
    Ok(text_or_null(row, column)?.unwrap_or_default())
}

fn text_or_null<'r>(row: &'r Row<'_>, column: usize) -> Result<Option<&'r str>, StoreError> {
    row.get_ref(column)?.as_str_or_null().map_err(|error| StoreError::Damaged(error.to_string()))
}

fn json(text: &str) -> Result<&RawValue, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Damaged(format!("a value is no JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::open::{self, Access, FILE_NAME};
    use crate::memory::test_support::Bench;

    #[test]
    fn every_section_is_searched_and_sorted_by_an_index() {
        let bench = Bench::new();
        let connection = open::connect(&bench.folder.path().join(FILE_NAME), Access::Read).unwrap();
        let (key, top) = (Key::default(), 5);
        for (section, name) in SECTIONS {
            let (sql, params, _) = section.query(&key, &top);
            let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps: Vec<String> =
                plan.query_map(params.as_slice(), |row| row.get(3)).unwrap().map(Result::unwrap).collect();
            assert!(!steps.iter().any(|step| step.contains("TEMP")), "{name}: {steps:?}");
            assert!(steps[0].starts_with("SEARCH"), "{name}: {steps:?}");
        }
    }

    #[test]
    fn cursors_are_parsed_as_displayed() {
        for (section, name) in SECTIONS {
            for tail in ["", "a.b.c", "..", "\u{1f600} \""] {
                let cursor = Cursor { section, top: 7, after: Key { numbers: [1, 2, 3], name: tail.into() } };
                let text = cursor.to_string();
                assert!(text.starts_with(name));
                assert_eq!(Cursor::parse(&text), Some(cursor));
            }
        }
    }
}
