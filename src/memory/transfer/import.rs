//! `store_import`: stores the rows that the store does not have.
//!
//! The worker parses the rows and computes the index terms; the writer then stores them in one job, or in several that
//! follow each other if they are many: other clients' writes come in between.
//! Existing rows are unchanged, except that a record whose row has an end of validity gets it. A row that is invalid,
//! refers to a missing record, or differs from the store's is refused alone, with its index and the reason.
//!
//! A row with the key `turn` is a turn of a conversation, and is recognized as one (`ingest/turn.rs`). Another record
//! without an id gets one derived from its fingerprint, so that equal text of one role in one session has the
//! same id on every machine, even once it is no longer valid.

use std::collections::VecDeque;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::{Builder, Uuid};

use crate::dispatch::{CallError, LateReply, Params, Reply, excerpt};
use crate::memory::graph::links;
use crate::memory::model::time::UnixMicros;
use crate::memory::profile::SharedProfile;
use crate::memory::store::new_record::{Draft, ImportedIdentity, InsertOutcome, NewRecord};
use crate::memory::store::projects::{self, AliasError, ImportedAlias};
use crate::memory::store::writer::job::{WriteJob, task};
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::store::writer::{Writer, WriterHandle};
use crate::memory::store::{aliases, change_log, forgotten, knob_changes, records};
use crate::memory::transfer::import_row::{ImportRow, ImportedEvent, ImportedRecord, read_row};

/// Most rows of a call.
const MAX_ROWS: usize = 1000;

/// A job whose rows weigh this much takes no more: it lasts a few milliseconds. Picked: a batch of `iaid import` of turns of
/// ordinary length is one job, so that the rows of the next call do not come between its own.
const JOB_BYTES: usize = 96 << 10;

/// Longest reason of a refusal, in characters.
const REASON_CHARS: usize = 300;

/// The outcome of a row.
enum RowOutcome {
    New,
    Known,
    Refused(String),
}

/// The result of `store_import`.
#[derive(Debug, Default, Serialize)]
struct ImportResult {
    new: u64,
    known: u64,
    refused: Vec<RefusedRow>,
}

impl ImportResult {
    fn add(&mut self, other: ImportResult) {
        self.new += other.new;
        self.known += other.known;
        self.refused.extend(other.refused);
    }
}

#[derive(Debug, Serialize)]
struct RefusedRow {
    /// Its index among the rows of the call.
    row: usize,
    reason: String,
}

/// Answers `store_import`, after the commit.
pub(crate) fn import(
    writer: &Writer,
    profiles: &Arc<SharedProfile>,
    params: &Params<'_>,
    now: UnixMicros,
    reply: Reply<'_>,
) {
    let rows = match read(params, now) {
        Ok(rows) => rows,
        Err(error) => return reply.send::<()>(Err(error)),
    };
    let import = Import {
        rows: rows.into(),
        stored: 0,
        result: ImportResult::default(),
        profiles: profiles.clone(),
        writer: writer.handle(),
        reply: reply.later(),
    };
    writer.submit(import.next_job());
}

/// The knobs that were set.
type Knobs = Vec<(&'static str, Value)>;

/// A row, or why it is refused.
type ReadRow = Result<ImportRow, String>;

/// A call in progress.
struct Import {
    /// The rows that are not in a job yet.
    rows: VecDeque<ReadRow>,
    /// The number of rows that are committed.
    stored: usize,
    result: ImportResult,
    profiles: Arc<SharedProfile>,
    writer: WriterHandle,
    reply: LateReply,
}

impl Import {
    /// Returns the job that stores the next rows.
    fn next_job(mut self) -> Box<dyn WriteJob> {
        let weight = |row: &ReadRow| row.as_ref().map_or(0, ImportRow::weight);
        let mut job_bytes = 0;
        let fits = |row: &&ReadRow| {
            let before = job_bytes;
            job_bytes += weight(row);
            before < JOB_BYTES
        };
        let count = self.rows.iter().take_while(fits).count();
        // The rest is held by the job, too.
        let all = self.rows.iter().map(weight).sum();
        let (first, rows): (usize, Vec<_>) = (self.stored, self.rows.drain(..count).collect());
        let work = move |transaction: &mut WriteTransaction<'_>| import_rows(first, rows, transaction);
        task(all, work, move |outcome| self.job_done(count, outcome))
    }

    fn job_done(mut self, count: usize, outcome: Result<(ImportResult, Knobs), CallError>) {
        let (result, knobs) = match outcome {
            Ok(stored) => stored,
            Err(CallError { code, message }) if self.stored > 0 => {
                let message = format!("the first {} rows were stored, the others not: {message}", self.stored);
                return self.reply.send::<()>(Err(CallError { code, message }));
            }
            Err(error) => return self.reply.send::<()>(Err(error)),
        };
        for (knob, value) in knobs {
            self.profiles.set(knob, value);
        }
        self.stored += count;
        self.result.add(result);
        if self.rows.is_empty() {
            self.reply.send(Ok(self.result));
        } else {
            self.writer.clone().submit(self.next_job());
        }
    }
}

fn read(params: &Params<'_>, now: UnixMicros) -> Result<Vec<ReadRow>, CallError> {
    let text = params.raw("rows").ok_or_else(|| CallError::missing("rows"))?;
    let rows: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|_| CallError::invalid("rows", "an array of objects"))?;
    if rows.len() > MAX_ROWS {
        let count = rows.len();
        return Err(CallError::invalid("rows", format_args!("at most {MAX_ROWS} rows: it has {count}; send fewer")));
    }
    Ok(rows.iter().map(|row| read_row(row.get(), now).map_err(|error| error.message)).collect())
}

/// Stores rows. `first` is the index of the first one in the call.
fn import_rows(
    first: usize,
    rows: Vec<ReadRow>,
    transaction: &mut WriteTransaction<'_>,
) -> Result<(ImportResult, Knobs), CallError> {
    let (mut imported, mut knobs) = (ImportResult::default(), Knobs::new());
    for (at, row) in (first..).zip(rows) {
        let outcome = match row {
            Ok(row) => import_row(row, transaction, &mut knobs)?,
            Err(reason) => RowOutcome::Refused(reason),
        };
        match outcome {
            RowOutcome::New => imported.new += 1,
            RowOutcome::Known => imported.known += 1,
            RowOutcome::Refused(reason) => {
                imported.refused.push(RefusedRow { row: at, reason: reason.chars().take(REASON_CHARS).collect() });
            }
        }
    }
    Ok((imported, knobs))
}

fn import_row(
    row: ImportRow,
    transaction: &mut WriteTransaction<'_>,
    knobs: &mut Knobs,
) -> Result<RowOutcome, rusqlite::Error> {
    match row {
        ImportRow::Record(record) => import_record(*record, transaction),
        ImportRow::Tag { record, name } => {
            let Some(seq) = records::find_seq(transaction.connection, record)? else {
                return missing(transaction.connection, record);
            };
            let sql = "INSERT INTO tag (record, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            let added = transaction.connection.prepare_cached(sql)?.execute((seq, &name))?;
            if added > 0 {
                transaction.tag_added(&name);
                change_log::note_record(transaction.connection, seq)?;
            }
            Ok(inserted(added))
        }
        ImportRow::Link { from, to, kind, weight, used } => {
            let connection = transaction.connection;
            let Some(a) = records::find_seq(connection, from)? else { return missing(connection, from) };
            let Some(b) = records::find_seq(connection, to)? else { return missing(connection, to) };
            if a == b {
                // Two ids of one record.
                return Ok(RowOutcome::Known);
            }
            let (a, b) = links::ordered(a, b, kind);
            let sql = "INSERT INTO link (a, b, kind, weight, used) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            transaction.connection.prepare_cached(sql)?.execute((a, b, kind as i64, weight, used.0)).map(inserted)
        }
        ImportRow::Event(event) => {
            let sql = "INSERT INTO event (id, kind, severity, domain, ts, data, session, sources)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING";
            let ImportedEvent { id, ts, kind, severity, domain, session, sources, data } = *event;
            if forgotten::is_event_forgotten(transaction.connection, id)? {
                return Ok(RowOutcome::Known);
            }
            let values = (id.as_bytes(), kind, severity, domain, ts.0, data, session, sources);
            transaction.connection.prepare_cached(sql)?.execute(values).map(inserted)
        }
        ImportRow::Alias { name, project, source } => {
            for name in [&name, &project] {
                let connection = transaction.connection;
                if forgotten::is_name_forgotten(connection, name)?
                    && records::project_number(connection, name)?.is_none()
                {
                    return Ok(RowOutcome::Known);
                }
            }
            match projects::import_alias(transaction.connection, &name, &project, source) {
                Ok(ImportedAlias::New) => Ok(RowOutcome::New),
                Ok(ImportedAlias::Known) => Ok(RowOutcome::Known),
                Ok(ImportedAlias::Differs) => Ok(RowOutcome::Refused(format!(
                    "the project '{}' has another name here, which was not changed",
                    excerpt(&name)
                ))),
                Err(AliasError::Sqlite(error)) => Err(error),
                Err(full @ AliasError::Full) => Ok(RowOutcome::Refused(CallError::from(full).message)),
            }
        }
        ImportRow::Knob { knob, value } => import_knob(knob, value, transaction, knobs),
    }
}

fn inserted(count: usize) -> RowOutcome {
    if count > 0 { RowOutcome::New } else { RowOutcome::Known }
}

/// Returns the outcome of a row about a record that the store does not have. One about a forgotten record needs nothing.
fn missing(connection: &Connection, id: Uuid) -> Result<RowOutcome, rusqlite::Error> {
    Ok(match forgotten::forgotten_at(connection, id)? {
        Some(_) => RowOutcome::Known,
        None => RowOutcome::Refused(format!("no record has the id {id}: import it first")),
    })
}

fn import_knob(
    knob: &'static str,
    value: Value,
    transaction: &mut WriteTransaction<'_>,
    knobs: &mut Knobs,
) -> Result<RowOutcome, rusqlite::Error> {
    let mut find = transaction.connection.prepare_cached("SELECT value FROM profile WHERE knob = ?1")?;
    let text = value.to_string();
    let there: Option<String> = find.query_row([knob], |row| row.get(0)).optional()?;
    match there {
        Some(there) if there == text => return Ok(RowOutcome::Known),
        Some(_) => {
            return Ok(RowOutcome::Refused(format!("the knob {knob} has another value here, which was not changed")));
        }
        None => {}
    }
    // When it was set is not known.
    knob_changes::store_own(transaction.connection, knob, &text, 0)?;
    knobs.push((knob, value));
    Ok(RowOutcome::New)
}

fn import_record(
    mut record: ImportedRecord,
    transaction: &mut WriteTransaction<'_>,
) -> Result<RowOutcome, rusqlite::Error> {
    if let (Some(key), None) = (&record.turn, record.id) {
        return Ok(match key.insert_once(&mut record.new, transaction)? {
            Some(InsertOutcome::New { .. }) => RowOutcome::New,
            Some(InsertOutcome::Known { .. }) | None => RowOutcome::Known,
        });
    }
    // The version and variant of a UUID take 6 of the 128 bits.
    let derived = Builder::from_custom_bytes(record.new.hash).into_uuid();
    let forgotten_at = forgotten::forgotten_at(transaction.connection, record.id.unwrap_or(derived))?;
    // What was said since the forgetting of a derived id is another record.
    let is_said_since = |at| record.id.is_none() && record.new.has_ts && record.new.draft.ts > at;
    if forgotten_at.is_some_and(|at| !is_said_since(at)) || record.new.is_forgotten(transaction.connection)? {
        return Ok(RowOutcome::Known);
    }
    record.new.draft.note_folder(transaction.connection)?;
    let id = match (record.id, stored_record(record.id.unwrap_or(derived), transaction)?) {
        (Some(id), Some(there)) => return compare(&record, id, &there, transaction),
        (None, Some(there)) if there.is_same(&record.new.draft, transaction)? => return Ok(RowOutcome::Known),
        (None, Some(_)) => records::new_id(),
        (Some(id), None) => id,
        // The same words were forgotten and are said again.
        (None, None) if forgotten_at.is_some() => records::new_id(),
        (None, None) => derived,
    };
    // The record as it would be if it had been imported before secrets were masked.
    if let (None, Some(was)) = (record.id, record.new.masked.as_ref().and_then(|masked| masked.was))
        && let Some(there) = stored_record(Builder::from_custom_bytes(was).into_uuid(), transaction)?
        && there.fingerprinted.is_unmasked_form_of(&record.new)
        && record.new.draft.is_same_in(transaction.connection, &there.other.project)?
    {
        return Ok(RowOutcome::Known);
    }
    // A twin number says that the record is to be stored beside others with its text.
    let is_unique = record.valid_to.is_none() && record.twin == 0;
    if is_unique && record.new.is_stored(transaction.connection)? {
        return Ok(RowOutcome::Known);
    }
    let identity = ImportedIdentity { id, valid_to: record.valid_to };
    let seq = record.new.insert_as(transaction, identity, record.twin)?;
    add_aliases(transaction.connection, seq, &record.other_ids)?;
    Ok(RowOutcome::New)
}

/// Gives a record its other ids. One that is taken or was forgotten stays what it is.
fn add_aliases(connection: &Connection, seq: i64, ids: &[Uuid]) -> Result<(), rusqlite::Error> {
    for id in ids {
        if records::find_seq(connection, *id)?.is_none() && forgotten::forgotten_at(connection, *id)?.is_none() {
            aliases::add(connection, seq, *id)?;
        }
    }
    Ok(())
}

/// Compares the row with the record that has its id.
fn compare(
    record: &ImportedRecord,
    id: Uuid,
    there: &StoredRecord,
    transaction: &WriteTransaction<'_>,
) -> Result<RowOutcome, rusqlite::Error> {
    let draft = &record.new.draft;
    let differs = if there.fingerprinted != Fingerprinted::of(draft) {
        "another text, role or session"
    } else if there.other != OtherFields::of(draft) && aliases::of(transaction.connection, there.seq)?.is_empty() {
        "another time, tier, project, cue or part"
    } else {
        if let (Some(at), None) = (record.valid_to, there.valid_to) {
            let sql = "UPDATE record SET valid_to = ?2 WHERE seq = ?1 AND valid_to IS NULL";
            transaction.connection.prepare_cached(sql)?.execute((there.seq, at.0))?;
        }
        add_aliases(transaction.connection, there.seq, &record.other_ids)?;
        return Ok(RowOutcome::Known);
    };
    Ok(RowOutcome::Refused(format!("the record {id} exists with {differs}, and records cannot be changed")))
}

/// A record of the store, for comparison.
struct StoredRecord {
    seq: i64,
    fingerprinted: Fingerprinted,
    other: OtherFields,
    valid_to: Option<i64>,
}

impl StoredRecord {
    fn is_same(&self, draft: &Draft, transaction: &WriteTransaction<'_>) -> Result<bool, rusqlite::Error> {
        Ok(self.fingerprinted == Fingerprinted::of(draft)
            && draft.is_same_in(transaction.connection, &self.other.project)?)
    }
}

/// The fields of the fingerprint.
#[derive(PartialEq, Eq)]
struct Fingerprinted {
    session: String,
    role: i64,
    text: String,
}

/// The other fields that never change.
#[derive(PartialEq, Eq)]
struct OtherFields {
    ts: i64,
    tier: i64,
    project: String,
    part: Option<i64>,
    parts: Option<i64>,
    cue: String,
}

impl Fingerprinted {
    fn of(draft: &Draft) -> Fingerprinted {
        Fingerprinted { session: draft.session.clone(), role: draft.role as i64, text: draft.text.clone() }
    }

    fn is_unmasked_form_of(&self, new: &NewRecord) -> bool {
        self.session == new.draft.session && self.role == new.draft.role as i64 && new.is_text(&self.text)
    }
}

impl OtherFields {
    fn of(draft: &Draft) -> OtherFields {
        OtherFields {
            ts: draft.ts.0,
            tier: draft.tier as i64,
            project: draft.project.clone(),
            part: draft.part.map(|(part, _)| part),
            parts: draft.part.map(|(_, parts)| parts),
            cue: draft.cue.clone(),
        }
    }
}

fn stored_record(id: Uuid, transaction: &WriteTransaction<'_>) -> Result<Option<StoredRecord>, rusqlite::Error> {
    let Some(seq) = records::find_seq(transaction.connection, id)? else { return Ok(None) };
    let mut find = transaction.connection.prepare_cached(
        "SELECT session.name, role, text, ts, tier, project.name, part, parts, cue, valid_to
         FROM record JOIN session ON session.number = record.session JOIN project ON project.number = record.project
         WHERE seq = ?1",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(StoredRecord {
            seq,
            fingerprinted: Fingerprinted { session: row.get(0)?, role: row.get(1)?, text: row.get(2)? },
            other: OtherFields {
                ts: row.get(3)?,
                tier: row.get(4)?,
                project: row.get(5)?,
                part: row.get(6)?,
                parts: row.get(7)?,
                cue: row.get(8)?,
            },
            valid_to: row.get(9)?,
        })
    };
    find.query_row([seq], read).optional()
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    fn counts(got: &Value) -> (u64, u64, usize) {
        (got["new"].as_u64().unwrap(), got["known"].as_u64().unwrap(), got["refused"].as_array().unwrap().len())
    }

    fn import(bench: &Bench, rows: &Value) -> (u64, u64, usize) {
        counts(&bench.ok("store_import", json!({"rows": rows})))
    }

    fn export(bench: &Bench, limit: i64) -> Vec<Value> {
        let (mut rows, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let page = bench.ok("store_export", json!({"cursor": cursor, "limit": limit}));
            rows.extend(page["rows"].as_array().unwrap().iter().cloned());
            assert!(page["rows"].as_array().unwrap().len() <= limit as usize);
            cursor = page["cursor"].clone();
            if cursor.is_null() {
                return rows;
            }
        }
    }

    /// Returns a store with every kind of row.
    fn filled() -> Bench {
        let bench = Bench::new();
        let texts = [
            "tabs\t\r\n and \u{0} NUL",
            "Привет, мир, как дела",
            "日本語のテキストです。長い文。 ",
            "\u{2028}\u{feff}\u{1f600} signs and more",
        ];
        let ids: Vec<_> = texts
            .iter()
            .map(|text| {
                bench.capture(text, json!({"session_id": "s", "project": "/p", "cue": "c", "role": "assistant"}))
            })
            .collect();
        bench.capture(&"x".repeat(65536), json!({"part": 1, "parts": 2, "ts": "1999-12-31T23:59:59.123456Z"}));
        for fact in ["what holds now", "what holds since", "what holds since"] {
            bench.ok("memory_contradict", json!({"id": ids[0], "new_fact": fact}));
        }
        bench.ok("memory_reinforce", json!({"ids": [ids[1], ids[2], ids[3]]}));
        bench.ok("profile_set", json!({"knob": "interest_boost", "value": 0.5}));
        bench.ok("profile_set", json!({"knob": "monotropism_depth", "value": {"b": 1, "a": 0.25}}));
        bench
    }

    #[test]
    fn an_export_is_imported_and_exported_unchanged() {
        let bench = filled();
        let rows = export(&bench, 1000);
        for kind in ["record", "tag", "link", "event", "knob"] {
            assert!(rows.iter().any(|row| row["kind"] == kind), "{kind}");
        }
        for limit in [1, 2, 7] {
            assert_eq!(export(&bench, limit), rows, "{limit} at a time");
        }
        let other = Bench::new();
        let all = json!(rows);
        assert_eq!(import(&other, &all), (rows.len() as u64, 0, 0));
        assert_eq!(export(&other, 3), rows);
        assert_eq!(import(&other, &all), (0, rows.len() as u64, 0));
        assert_eq!(import(&bench, &all), (0, rows.len() as u64, 0));
        assert_eq!(export(&other, 1000), rows);
        assert_eq!(other.ok("profile_get", json!({})), bench.ok("profile_get", json!({})));
        assert_eq!(other.ok("store_check", json!({}))["problems"], json!([]));
        let found = other.ok("memory_recall", json!({"cue": "мир"}));
        assert_eq!(found["hits"][0]["literal_surface"], json!("Привет, мир, как дела"));
    }

    #[test]
    fn records_after_the_first_page_are_left_out_with_their_links() {
        let bench = filled();
        let first = bench.ok("store_export", json!({"limit": 1}));
        let before = export(&bench, 1000);
        let late = bench.capture("a text that came too late", json!({}));
        bench.ok("memory_reinforce", json!({"ids": [late, before[0]["id"]]}));
        let rest = bench.ok("store_export", json!({"cursor": first["cursor"]}));
        assert!(!rest.to_string().contains(&late));
        let kept = rest["rows"].as_array().unwrap().iter().filter(|row| row["kind"] != "event").count();
        assert_eq!(kept + 1, before.iter().filter(|row| row["kind"] != "event").count());
    }

    #[test]
    fn a_wrong_cursor_is_refused() {
        let bench = filled();
        for cursor in
            ["", "x", "record", "record.1.2", "record.1.2.3.4", "tags.1.0.0.0.", "record.+1.0.0.0.", "record.01.0.0.0."]
        {
            let error = bench.err("store_export", json!({"cursor": cursor}));
            assert_eq!(error.code, crate::dispatch::code::INVALID_PARAMS, "{cursor}");
            assert!(error.message.contains("'cursor'"), "{error}");
        }
    }

    #[test]
    fn pages_are_bounded_and_a_large_row_is_alone() {
        let bench = Bench::new();
        for n in 0..8 {
            let text = format!("{n}{}", "\u{1}".repeat(65535));
            bench.capture(&text, json!({"cue": "\u{1}".repeat(65536)}));
        }
        let mut cursor = Value::Null;
        for left in (0..8).rev() {
            let page = bench.ok("store_export", json!({"cursor": cursor}));
            assert_eq!(page["rows"].as_array().unwrap().len(), 1);
            assert!(page.to_string().len() < 1 << 20);
            cursor = page["cursor"].clone();
            assert_eq!(cursor.is_null(), left == 0);
        }
    }

    #[test]
    fn a_record_without_an_id_is_recognized_by_its_text_valid_or_not() {
        let bench = Bench::new();
        let rows = json!([
            {"kind": "record", "text": "yes", "session_id": "s", "ts": "2024-01-01"},
            {"kind": "record", "text": "   \n", "session_id": "s", "role": "assistant"},
            {"kind": "record", "text": "yes", "session_id": "t"},
            {"kind": "record", "text": "yes", "session_id": "s", "ts": "2025-01-01", "cue": "other"},
        ]);
        assert_eq!(import(&bench, &rows), (3, 1, 0));
        assert_eq!(import(&bench, &rows), (0, 4, 0));
        bench.sql("UPDATE record SET valid_to = 5");
        assert_eq!(import(&bench, &rows), (0, 4, 0));
        let elsewhere = Bench::new();
        import(&elsewhere, &rows);
        assert_eq!(export(&elsewhere, 9)[0]["id"], export(&bench, 9)[0]["id"]);
        // Captured records are recognized, too.
        bench.capture("a text that is long enough", json!({"session_id": "s"}));
        assert_eq!(
            import(&bench, &json!([{"kind": "record", "text": "a text that is long enough", "session_id": "s"}])),
            (0, 1, 0)
        );
    }

    #[test]
    fn a_derived_id_of_another_text_is_not_reused() {
        let bench = Bench::new();
        let row = json!({"kind": "record", "text": "the words themselves"});
        let made = {
            let elsewhere = Bench::new();
            import(&elsewhere, &json!([row]));
            export(&elsewhere, 1)[0]["id"].clone()
        };
        import(&bench, &json!([{"kind": "record", "id": made, "text": "others"}]));
        assert_eq!(import(&bench, &json!([row])), (1, 0, 0));
        assert_eq!(import(&bench, &json!([row])), (0, 1, 0));
    }

    #[test]
    fn an_import_ends_validity_and_changes_nothing_else() {
        let bench = Bench::new();
        let id = bench.capture("the earth is flat and still", json!({}));
        let mut row = export(&bench, 1)[0].clone();
        let same = row.clone();
        row["valid_to"] = json!("2024-06-02T00:00:00Z");
        assert_eq!(import(&bench, &json!([row])), (0, 1, 0));
        assert_eq!(export(&bench, 1)[0], row);
        assert_eq!(import(&bench, &json!([same])), (0, 1, 0));
        for (key, value) in [
            ("text", json!("the earth is round")),
            ("role", json!("system")),
            ("session_id", json!("s")),
            ("ts", json!("2024-01-01")),
            ("tier", json!("semantic")),
            ("cue", json!("c")),
            ("project", json!("p")),
        ] {
            let mut other = row.clone();
            other[key] = value;
            let got = bench.ok("store_import", json!({"rows": [same, other]}));
            assert_eq!((counts(&got), &got["refused"][0]["row"]), ((0, 1, 1), &json!(1)), "{key}");
            assert!(got["refused"][0]["reason"].as_str().unwrap().contains(&id), "{key}: {got}");
        }
        bench.ok("profile_set", json!({"knob": "masking_off", "value": false}));
        let got = bench.ok("store_import", json!({"rows": [{"kind": "knob", "knob": "masking_off", "value": true}]}));
        assert!(got["refused"][0]["reason"].as_str().unwrap().contains("masking_off"), "{got}");
        assert_eq!(export(&bench, 9).len(), 2);
    }

    #[test]
    fn an_invalid_row_is_refused_alone_with_a_reason() {
        let bench = Bench::new();
        let id = bench.capture("a text that is long enough", json!({}));
        let gone = "0192f0c1-2345-7890-abcd-ef0123456789";
        for (row, part) in [
            (json!(null), "an object"),
            (json!([1]), "an object"),
            (json!("x"), "an object"),
            (json!({}), "'kind'"),
            (json!({"kind": "thing"}), "'kind'"),
            (json!({"kind": "record"}), "'text'"),
            (json!({"kind": "record", "text": ""}), "'text'"),
            (json!({"kind": "record", "text": 5}), "'text'"),
            (json!({"kind": "record", "text": "x".repeat(65537)}), "'text'"),
            (json!({"kind": "record", "text": "x", "ts": "yesterday"}), "'ts'"),
            (json!({"kind": "record", "text": "x", "ts": "9000-01-01"}), "'ts'"),
            (json!({"kind": "record", "text": "x", "tier": "x"}), "'tier'"),
            (json!({"kind": "record", "text": "x", "role": "tool"}), "'role'"),
            (json!({"kind": "record", "text": "x", "id": "x"}), "'id'"),
            (json!({"kind": "record", "text": "x", "part": 2, "parts": 1}), "'part'"),
            (json!({"kind": "record", "text": "x", "valid_to": 5}), "'valid_to'"),
            (json!({"kind": "record", "text": "x", "twin": -1}), "'twin'"),
            (json!({"kind": "record", "text": "x", "session_id": "s".repeat(513)}), "'session_id'"),
            (json!({"kind": "tag", "record": gone, "name": "pinned"}), gone),
            (json!({"kind": "tag", "record": id, "name": ""}), "'name'"),
            (
                json!({"kind": "link", "from": id, "to": gone, "relation": "evidence", "weight": 1, "used": "2024-01-01"}),
                gone,
            ),
            (
                json!({"kind": "link", "from": id, "to": id, "relation": "evidence", "weight": 1, "used": "2024-01-01"}),
                "'to'",
            ),
            (
                json!({"kind": "link", "from": id, "to": gone, "relation": "x", "weight": 1, "used": "2024-01-01"}),
                "'relation'",
            ),
            (
                json!({"kind": "link", "from": id, "to": gone, "relation": "evidence", "weight": 0, "used": "2024-01-01"}),
                "'weight'",
            ),
            (json!({"kind": "event", "id": gone, "ts": "2024-01-01", "event": "e", "data": []}), "'data'"),
            (json!({"kind": "event", "id": gone, "ts": "2024-01-01", "event": "e", "severity": "x"}), "'severity'"),
            (json!({"kind": "knob", "knob": "x", "value": 1}), "unknown knob"),
            (json!({"kind": "knob", "knob": "interest_boost", "value": 7}), "0 to 1"),
            (json!({"kind": "knob", "knob": "interest_boost"}), "'value'"),
        ] {
            let before = export(&bench, 100);
            let got = bench.ok("store_import", json!({"rows": [row]}));
            assert_eq!(counts(&got), (0, 0, 1), "{row}");
            assert!(got["refused"][0]["reason"].as_str().unwrap().contains(part), "{row}: {got}");
            assert_eq!(export(&bench, 100), before, "{row}");
        }
        let got = bench.ok("store_import", json!({"rows": [{}, {"kind": "record", "text": "new"}, 5]}));
        assert_eq!((counts(&got), &got["refused"][1]["row"]), ((1, 0, 2), &json!(2)));
        for rows in [json!({}), json!(null), json!("x"), json!(vec![json!({}); 1001])] {
            assert!(bench.err("store_import", json!({"rows": rows})).message.contains("'rows'"), "{rows}");
        }
    }
}
