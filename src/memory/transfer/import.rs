//! `store_import`: rows become what they say, where it is not there yet.
//!
//! The worker reads each row and makes the index terms; the writer then takes all rows of a call in one
//! job. What is there stays as it is, but that a record which ceased to hold elsewhere ceases here, too. A
//! row that is wrong, names what is not there, or says something else than the store is refused alone,
//! with its place among the rows and the reason.
//!
//! A record without an id gets one that is made of its fingerprint, so that the same words of the same
//! speaker in the same session are known again on every machine, even once they hold no longer.

use std::sync::Arc;

use rusqlite::OptionalExtension;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::{Builder, Uuid};

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::graph::links;
use crate::memory::model::time::UnixMicros;
use crate::memory::profile::SharedProfile;
use crate::memory::store::new_record::{Draft, ImportedIdentity};
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::memory::transfer::import_row::{ImportRow, ImportedEvent, ImportedRecord, read_row};

/// Most rows of a call: the writer is done with so many before anybody feels it.
const MOST_ROWS: usize = 1000;

/// Most characters of a reason.
const REASON_CHARS: usize = 300;

/// What became of a row.
enum Taken {
    New,
    Known,
    Refused(String),
}

/// What became of the rows of a call.
#[derive(Debug, Default, Serialize)]
struct Imported {
    new: u64,
    known: u64,
    refused: Vec<Refused>,
}

#[derive(Debug, Serialize)]
struct Refused {
    /// Its place among the rows, from 0.
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
    let weight = rows.iter().map(|row| row.as_ref().map_or(0, ImportRow::weight)).sum();
    let (profiles, reply) = (profiles.clone(), reply.later());
    let work = move |transaction: &mut WriteTransaction<'_>| take_all(rows, transaction);
    writer.submit(task(weight, work, move |outcome: Result<(Imported, Knobs), CallError>| {
        reply.send(outcome.map(|(imported, knobs)| {
            for (knob, value) in knobs {
                profiles.set(knob, value);
            }
            imported
        }));
    }));
}

/// Knobs that were set.
type Knobs = Vec<(&'static str, Value)>;

fn read(params: &Params<'_>, now: UnixMicros) -> Result<Vec<Result<ImportRow, String>>, CallError> {
    let text = params.raw("rows").ok_or_else(|| CallError::missing("rows"))?;
    let rows: Vec<&RawValue> =
        serde_json::from_str(text).map_err(|_| CallError::invalid("rows", "an array of objects"))?;
    if rows.len() > MOST_ROWS {
        let count = rows.len();
        return Err(CallError::invalid(
            "rows",
            format_args!("at most {MOST_ROWS} rows: these are {count}; send fewer"),
        ));
    }
    Ok(rows.iter().map(|row| read_row(row.get(), now).map_err(|error| error.message)).collect())
}

fn take_all(
    rows: Vec<Result<ImportRow, String>>,
    transaction: &mut WriteTransaction<'_>,
) -> Result<(Imported, Knobs), CallError> {
    let (mut imported, mut knobs) = (Imported::default(), Knobs::new());
    for (at, row) in rows.into_iter().enumerate() {
        let taken = match row {
            Ok(row) => take(row, transaction, &mut knobs)?,
            Err(reason) => Taken::Refused(reason),
        };
        match taken {
            Taken::New => imported.new += 1,
            Taken::Known => imported.known += 1,
            Taken::Refused(reason) => {
                imported.refused.push(Refused { row: at, reason: reason.chars().take(REASON_CHARS).collect() });
            }
        }
    }
    Ok((imported, knobs))
}

fn take(row: ImportRow, transaction: &mut WriteTransaction<'_>, knobs: &mut Knobs) -> Result<Taken, rusqlite::Error> {
    match row {
        ImportRow::Record(record) => take_record(*record, transaction),
        ImportRow::Tag { record, name } => {
            let Some(seq) = place(transaction, record)? else { return Ok(missing(record)) };
            let sql = "INSERT INTO tag (record, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            transaction.connection.prepare_cached(sql)?.execute((seq, name)).map(inserted)
        }
        ImportRow::Link { from, to, kind, weight, used } => {
            let Some(a) = place(transaction, from)? else { return Ok(missing(from)) };
            let Some(b) = place(transaction, to)? else { return Ok(missing(to)) };
            let (a, b) = links::ordered(a, b, kind);
            let sql = "INSERT INTO link (a, b, kind, weight, used) VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING";
            transaction.connection.prepare_cached(sql)?.execute((a, b, kind as i64, weight, used.0)).map(inserted)
        }
        ImportRow::Event(event) => {
            let sql = "INSERT INTO event (id, kind, severity, domain, ts, data, session, sources)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (id) DO NOTHING";
            let ImportedEvent { id, ts, kind, severity, domain, session, sources, data } = *event;
            let values = (id.as_bytes(), kind, severity, domain, ts.0, data, session, sources);
            transaction.connection.prepare_cached(sql)?.execute(values).map(inserted)
        }
        ImportRow::Knob { knob, value } => take_knob(knob, value, transaction, knobs),
    }
}

fn inserted(count: usize) -> Taken {
    if count > 0 { Taken::New } else { Taken::Known }
}

fn missing(id: Uuid) -> Taken {
    Taken::Refused(format!("there is no record {id}: import it first"))
}

fn place(transaction: &WriteTransaction<'_>, id: Uuid) -> Result<Option<i64>, rusqlite::Error> {
    let mut find = transaction.connection.prepare_cached("SELECT seq FROM record WHERE id = ?1")?;
    find.query_row([id.as_bytes()], |row| row.get(0)).optional()
}

fn take_knob(
    knob: &'static str,
    value: Value,
    transaction: &mut WriteTransaction<'_>,
    knobs: &mut Knobs,
) -> Result<Taken, rusqlite::Error> {
    let mut find = transaction.connection.prepare_cached("SELECT value FROM profile WHERE knob = ?1")?;
    let text = value.to_string();
    let there: Option<String> = find.query_row([knob], |row| row.get(0)).optional()?;
    match there {
        Some(there) if there == text => return Ok(Taken::Known),
        Some(_) => return Ok(Taken::Refused(format!("the knob {knob} is set to something else here, and stays so"))),
        None => {}
    }
    transaction
        .connection
        .prepare_cached("INSERT INTO profile (knob, value) VALUES (?1, ?2)")?
        .execute((knob, text))?;
    knobs.push((knob, value));
    Ok(Taken::New)
}

fn take_record(mut record: ImportedRecord, transaction: &mut WriteTransaction<'_>) -> Result<Taken, rusqlite::Error> {
    // The bits of a UUID's version and variant are lost to it: 122 are left.
    let made = Builder::from_custom_bytes(record.new.hash).into_uuid();
    let id = match (record.id, known(record.id.unwrap_or(made), transaction)?) {
        (Some(id), Some(there)) => return settle(&record, id, &there, transaction),
        (None, Some(there)) if there.words == Words::of(&record.new.draft) => return Ok(Taken::Known),
        (None, Some(_)) => Uuid::now_v7(),
        (id, None) => id.unwrap_or(made),
    };
    // A twin says that these words are to stand beside themselves.
    let may_stand_alone = record.valid_to.is_none() && record.twin == 0;
    if may_stand_alone && record.new.is_stored(transaction.connection)? {
        return Ok(Taken::Known);
    }
    record.new.insert_as(transaction, ImportedIdentity { id, valid_to: record.valid_to }, record.twin)?;
    Ok(Taken::New)
}

/// A record with the id of the row's is there: are they the same?
fn settle(
    record: &ImportedRecord,
    id: Uuid,
    there: &Known,
    transaction: &WriteTransaction<'_>,
) -> Result<Taken, rusqlite::Error> {
    let draft = &record.new.draft;
    let differs = if there.words != Words::of(draft) {
        "other words"
    } else if there.about != About::of(draft) {
        "another time, tier, project, cue or part"
    } else {
        if let (Some(at), None) = (record.valid_to, there.valid_to) {
            let sql = "UPDATE record SET valid_to = ?2 WHERE id = ?1 AND valid_to IS NULL";
            transaction.connection.prepare_cached(sql)?.execute((id.as_bytes(), at.0))?;
        }
        return Ok(Taken::Known);
    };
    Ok(Taken::Refused(format!("the record {id} is here with {differs}, and a record never changes")))
}

/// What the store has under an id.
struct Known {
    words: Words,
    about: About,
    valid_to: Option<i64>,
}

/// By what a record is known again.
#[derive(PartialEq, Eq)]
struct Words {
    session: String,
    role: i64,
    text: String,
}

/// What else is said about it.
#[derive(PartialEq, Eq)]
struct About {
    ts: i64,
    tier: i64,
    project: String,
    part: Option<i64>,
    parts: Option<i64>,
    cue: String,
}

impl Words {
    fn of(draft: &Draft) -> Words {
        Words { session: draft.session.clone(), role: draft.role as i64, text: draft.text.clone() }
    }
}

impl About {
    fn of(draft: &Draft) -> About {
        About {
            ts: draft.ts.0,
            tier: draft.tier as i64,
            project: draft.project.clone(),
            part: draft.part.map(|(part, _)| part),
            parts: draft.part.map(|(_, parts)| parts),
            cue: draft.cue.clone(),
        }
    }
}

fn known(id: Uuid, transaction: &WriteTransaction<'_>) -> Result<Option<Known>, rusqlite::Error> {
    let mut find = transaction.connection.prepare_cached(
        "SELECT session.name, role, text, ts, tier, project.name, part, parts, cue, valid_to
         FROM record JOIN session ON session.number = record.session JOIN project ON project.number = record.project
         WHERE id = ?1",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(Known {
            words: Words { session: row.get(0)?, role: row.get(1)?, text: row.get(2)? },
            about: About {
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
    find.query_row([id.as_bytes()], read).optional()
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

    /// A store with everything in it.
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
    fn what_a_store_gives_another_takes_and_gives_again() {
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
    fn what_comes_after_the_first_page_is_left_out_with_what_names_it() {
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
    fn pages_are_bounded_and_a_large_row_goes_alone() {
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
    fn a_record_without_an_id_is_known_by_its_words_alive_or_not() {
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
        // What was captured here is known, too.
        bench.capture("a text that is long enough", json!({"session_id": "s"}));
        assert_eq!(
            import(&bench, &json!([{"kind": "record", "text": "a text that is long enough", "session_id": "s"}])),
            (0, 1, 0)
        );
    }

    #[test]
    fn an_id_that_other_words_have_taken_is_left_to_them() {
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
    fn what_ceased_to_hold_elsewhere_ceases_here_and_nothing_else_changes() {
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
    fn a_wrong_row_is_refused_alone_and_with_its_reason() {
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
