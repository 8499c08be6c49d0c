//! `memory_contradict`: replaces a record by a new fact. The record is kept, with the time at which it ceased to be valid.
//!
//! If the record was replaced before, the new fact replaces the last record of its chain too, so every chain has one end
//! and no circle.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::ingest::capture_params::parse_annotations;
use crate::memory::model::record::{Role, TEXT_BYTES, Tier};
use crate::memory::model::time::UnixMicros;
use crate::memory::params::{self, check_len};
use crate::memory::store::events::{self, MemoryEvent, Severity};
use crate::memory::store::new_record::{Draft, NewRecord};
use crate::memory::store::reader::Reader;
use crate::memory::store::records;
use crate::memory::store::tags;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::task;
use crate::memory::store::writer::transaction::WriteTransaction;
use crate::secrets;

/// Answers `memory_contradict`: at once if a param is invalid, else after the commit.
pub(crate) fn contradict(
    reader: Result<&Reader, CallError>,
    writer: &Writer,
    params: &Params<'_>,
    now: UnixMicros,
    reply: Reply<'_>,
) {
    match read(reader, params, now) {
        Ok(mut request) => {
            let reply = reply.later();
            writer.submit(task(
                request.new.weight(),
                move |transaction| replace(&mut request, transaction, now),
                |outcome| reply.send(outcome),
            ));
        }
        Err(error) => reply.send::<()>(Err(error)),
    }
}

struct ContradictRequest {
    id: Uuid,
    seq: i64,
    new: NewRecord,
    /// The kinds of what looks like secrets in the new fact, which is stored as it is.
    secrets: Vec<&'static str>,
}

/// Reads the params, and the columns that the new record copies from the original. They never change, so they are read
/// before the write transaction.
fn read(
    reader: Result<&Reader, CallError>,
    params: &Params<'_>,
    now: UnixMicros,
) -> Result<ContradictRequest, CallError> {
    let id = params::id(params, "id")?;
    let text = params.string("new_fact")?;
    check_len("new_fact", &text, TEXT_BYTES)?;
    if text.trim().is_empty() {
        return Err(CallError::invalid("new_fact", "a text that is not empty"));
    }
    let tags = parse_annotations(params)?;
    let snapshot = reader?.snapshot()?;
    let connection = snapshot.connection();
    let seq = records::seq_of(connection, "id", id)?;
    let mut original = connection.prepare_cached(
        "SELECT tier, role, session.name, project.name FROM record
         JOIN session ON session.number = record.session JOIN project ON project.number = record.project
         WHERE seq = ?1",
    )?;
    let draft = original.query_row([seq], |row| {
        Ok(Draft {
            text: text.into_owned(),
            cue: String::new(),
            tier: Tier::numbered(row.get(0)?),
            role: Role::numbered(row.get(1)?),
            session: row.get(2)?,
            project: row.get(3)?,
            folder: String::new(),
            ts: now,
            part: None,
            tags,
        })
    })?;
    let secrets = secrets::kinds(&[&draft.text]);
    Ok(ContradictRequest { id, seq, new: NewRecord::prepare(draft), secrets })
}

fn replace(
    request: &mut ContradictRequest,
    transaction: &mut WriteTransaction<'_>,
    now: UnixMicros,
) -> Result<Value, CallError> {
    let connection = transaction.connection;
    let end = links::successor_chain(connection, request.seq)?.last().copied().unwrap_or(request.seq);
    for seq in [request.seq, end] {
        connection
            .prepare_cached("UPDATE record SET valid_to = ?2 WHERE seq = ?1 AND valid_to IS NULL")?
            .execute((seq, now.0))?;
    }
    let (seq, id) = request.new.insert_again(transaction)?;
    links::add(connection, (end, seq), LinkKind::Contradicts, links::STRONGEST, now)?;
    tags::add(connection, seq, tags::CONTRADICT)?;
    let draft = &request.new.draft;
    let replaced = records::id_of(connection, end)?;
    events::add(
        connection,
        &MemoryEvent {
            kind: "s4_contradiction",
            severity: Severity::Warning,
            domain: Some(draft.project.as_str()).filter(|name| !name.is_empty()),
            ts: now,
            data: json!({
                "original_id": request.id.to_string(),
                "replaced_id": replaced.to_string(),
                "new_record_id": id.to_string(),
            }),
            session: &draft.session,
            sources: &[replaced, id],
        },
    )?;
    let mut outcome = json!({
        "original_id": request.id.to_string(),
        "new_record_id": id.to_string(),
        "edge_type": LinkKind::Contradicts.name(),
        "ts": now.to_string(),
    });
    if !request.secrets.is_empty() {
        outcome["secrets"] = json!(request.secrets);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::graph::contradictions::{OpenContradiction, unsettled};
    use crate::memory::store::open::{self, Access, FILE_NAME};
    use crate::memory::test_support::Bench;
    use rusqlite::Connection;

    fn reading(bench: &Bench) -> Connection {
        open::connect(&bench.folder.path().join(FILE_NAME), Access::Read).unwrap()
    }

    fn replaced(bench: &Bench, id: &str, fact: &str) -> String {
        let got = bench.ok("memory_contradict", json!({"id": id, "new_fact": fact}));
        got["new_record_id"].as_str().unwrap().to_owned()
    }

    #[test]
    fn the_new_fact_replaces_the_original() {
        let bench = Bench::new();
        let from = json!({"tier": "procedural", "session_id": "s", "role": "assistant", "project": "/p",
            "ts": "2024-01-01"});
        let id = bench.capture("the server listens on port 80", from);
        let got = bench.ok("memory_contradict", json!({"id": id, "new_fact": " port 443 "}));
        let new = got["new_record_id"].as_str().unwrap();
        assert_eq!(
            got,
            json!({"original_id": id, "new_record_id": new, "edge_type": "contradicts", "ts": "2024-06-01T12:00:00Z"})
        );
        let row = |seq| {
            bench.row::<String>(
                "SELECT concat_ws('|', text, tier, role, s.name, p.name, ts, valid_to) FROM record
                 JOIN session s ON s.number = session JOIN project p ON p.number = project WHERE seq = ?1",
                seq,
            )
        };
        let now = Bench::NOW.0;
        assert_eq!(row(1), format!("the server listens on port 80|3|1|s|/p|1704067200000000|{now}"));
        assert_eq!(row(2), format!(" port 443 |3|1|s|/p|{now}"));
        let connection = reading(&bench);
        assert_eq!(links::successor_chain(&connection, 1), Ok(vec![1, 2]));
        assert_eq!(bench.row::<String>("SELECT name FROM tag WHERE record = ?1", 2), "contradict");
        let event = &bench.ok("events_query", json!({"kind": "s4_contradiction"}))["events"][0];
        assert_eq!(event["source_ids"], json!([id, new]));
        assert_eq!((&event["session_id"], &event["domain"]), (&json!("s"), &json!("/p")));
        assert_eq!(event["data"], json!({"original_id": id, "replaced_id": id, "new_record_id": new}));
    }

    #[test]
    fn a_chain_is_extended_at_its_end() {
        let bench = Bench::new();
        let first = bench.capture("fact number 1 of the chain", json!({}));
        let second = replaced(&bench, &first, "fact number 2 of the chain");
        replaced(&bench, &second, "fact number 3 of the chain");
        let again = bench.ok("memory_contradict", json!({"id": first, "new_fact": "fact number 4"}));
        assert_eq!(again["original_id"], json!(first));
        // The texts of the first and of the last record: each becomes a new record.
        replaced(&bench, &first, "fact number 1 of the chain");
        replaced(&bench, again["new_record_id"].as_str().unwrap(), "fact number 1 of the chain");
        let connection = reading(&bench);
        assert_eq!(links::successor_chain(&connection, 1), Ok(vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM record WHERE valid_to IS NULL AND ?1", 1), 1);
        assert_eq!(unsettled(&connection, None, 9), Ok(vec![OpenContradiction { old: 5, new: 6 }]));
    }

    #[test]
    fn a_text_that_another_record_has_is_inserted_again() {
        let bench = Bench::new();
        let known = bench.capture("the meeting is on Monday", json!({}));
        let other = bench.capture("the meeting is on Friday", json!({}));
        assert_ne!(replaced(&bench, &other, "the meeting is on Monday"), known);
        let got = bench.ok("memory_capture", json!({"text": "the meeting is on Monday"}));
        assert_eq!((&got["status"], &got["record_id"]), (&json!("reinforced"), &json!(known)));
    }

    #[test]
    fn invalid_params_are_named() {
        let bench = Bench::new();
        let id = bench.capture("a text that is long enough", json!({}));
        let unknown = Uuid::from_u128(9).to_string();
        for (params, message) in [
            (json!({"new_fact": "x"}), "missing required param: 'id'".to_owned()),
            (json!({"id": id}), "missing required param: 'new_fact'".into()),
            (json!({"id": "x", "new_fact": "x"}), "param 'id' must be a record's id: 'x' is not a UUID".into()),
            (
                json!({"id": unknown, "new_fact": "x"}),
                format!("param 'id' must be the id of a record: no record has the id {unknown}"),
            ),
            (json!({"id": id, "new_fact": " "}), "param 'new_fact' must be a text that is not empty".into()),
            (
                json!({"id": id, "new_fact": "x".repeat(TEXT_BYTES + 1)}),
                "param 'new_fact' must be at most 65536 bytes of UTF-8: it has 65537".into(),
            ),
        ] {
            assert_eq!(bench.err("memory_contradict", params).message, message);
        }
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM record WHERE ?1", 1), 1);
        assert_eq!(bench.row::<i64>("SELECT valid_to IS NULL FROM record WHERE seq = ?1", 1), 1);
    }
}
