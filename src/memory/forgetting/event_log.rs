//! What a forgetting leaves of the event log: events of this program that name no forgotten record, without the names of
//! sessions that no record has.

use std::time::Instant;

use rusqlite::Connection;
use serde_json::Value;
use uuid::Uuid;

use crate::memory::model::time::UnixMicros;
use crate::memory::store::{forgotten, records};

/// The kinds of events that this program writes without a text. Of another kind are events of a deferred file that was
/// given up on, and events of other programs.
const KINDS: [&str; 6] = [
    "cls_consolidation_run",
    "s4_contradiction",
    "schema_induction_run",
    "session_opened",
    "session_started",
    "trajectory_metric",
];

/// The keys of their data, and of the counts of the steps of a cycle.
const KEYS: [&str; 30] = [
    "chunks",
    "counts",
    "decayed",
    "duration_sec",
    "evidence",
    "examined",
    "indexed",
    "induced",
    "inserted",
    "learned",
    "linked",
    "merged",
    "mode",
    "new_record_id",
    "original_id",
    "pruned",
    "records",
    "refused",
    "reinforced",
    "rendered",
    "replaced_id",
    "session_id",
    "session_state_hash",
    "skipped",
    "step",
    "steps",
    "tier",
    "timestamp",
    "total_cached_tokens",
    "wake_depth",
];

/// The texts in their data, beside ids, times and sessions.
const WORDS: [&str; 12] = [
    "heavy",
    "tier0",
    "minimal",
    "standard",
    "deep",
    "reindex",
    "drain",
    "associate",
    "induce",
    "decay",
    "optimize",
    "precache",
];

/// Deletes events that may quote a text or name a forgotten record, and the names of sessions that no record has: of the
/// events after the one with number `after`, at least one and until `deadline`. Returns the number of the last one that was
/// looked at; `None` if no more are left.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn clean(
    connection: &Connection,
    after: i64,
    now: UnixMicros,
    deadline: Instant,
) -> Result<Option<i64>, rusqlite::Error> {
    let sql = "SELECT seq, id, kind, data, session, sources FROM event WHERE seq > ?1 ORDER BY seq";
    let mut read = connection.prepare_cached(sql)?;
    let mut rows = read.query([after])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if last.is_some() && Instant::now() >= deadline {
            return Ok(last);
        }
        let (seq, id): (i64, [u8; 16]) = (row.get(0)?, row.get(1)?);
        last = Some(seq);
        let (kind, data) = (row.get_ref(2)?.as_str()?, row.get_ref(3)?.as_str()?);
        let (session, sources) = (row.get_ref(4)?.as_str()?, row.get_ref(5)?.as_str()?);
        let kept: Option<Value> =
            serde_json::from_str(data).ok().filter(|data| KINDS.contains(&kind) && is_own(data, ""));
        let names_kept = kept.is_some() && names_kept_records(connection, sources)?;
        let Some(mut kept) = kept.filter(|_| names_kept) else {
            forgotten::note_event(connection, Uuid::from_bytes(id), now)?;
            connection.prepare_cached("DELETE FROM event WHERE seq = ?1")?.execute([seq])?;
            continue;
        };
        let named = if is_known(connection, session)? { session } else { "-" };
        if let Some(fields) = kept.as_object_mut() {
            // It is a hash of words.
            fields.remove("session_state_hash");
            if fields.get("session_id").is_some_and(|id| id != named) {
                fields.remove("session_id");
            }
        }
        let kept = kept.to_string();
        if kept != data || named != session {
            let sql = "UPDATE event SET data = ?2, session = ?3 WHERE seq = ?1";
            connection.prepare_cached(sql)?.execute((seq, kept, named))?;
        }
    }
    Ok(None)
}

/// Returns true if a record has the session of this name.
fn is_known(connection: &Connection, session: &str) -> Result<bool, rusqlite::Error> {
    Ok(records::session_number(connection, session)?.is_some())
}

/// Returns true if the sources of an event are ids, none of a forgotten record.
fn names_kept_records(connection: &Connection, sources: &str) -> Result<bool, rusqlite::Error> {
    let Ok(sources) = serde_json::from_str::<Vec<String>>(sources) else { return Ok(false) };
    for id in sources {
        match Uuid::parse_str(&id) {
            Ok(id) if forgotten::forgotten_at(connection, id)?.is_none() => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Returns true if data is as this program writes it, without a text of a record. `key`: the key of the value.
fn is_own(value: &Value, key: &str) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
        Value::String(text) => match key {
            // It is compared with the event's session.
            "session_id" => true,
            "timestamp" => text.parse::<jiff::Timestamp>().is_ok(),
            "original_id" | "replaced_id" | "new_record_id" => Uuid::parse_str(text).is_ok(),
            "session_state_hash" => text.bytes().all(|byte| byte.is_ascii_hexdigit()),
            _ => WORDS.contains(&text.as_str()),
        },
        Value::Array(values) => values.iter().all(|value| is_own(value, key)),
        Value::Object(fields) => fields.iter().all(|(key, value)| KEYS.contains(&key.as_str()) && is_own(value, key)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::store::events::{self, VISIBLE_KINDS};
    use crate::memory::test_support::Bench;
    use serde_json::json;

    #[test]
    fn events_are_cleaned_in_chunks_that_end_at_the_deadline() {
        let bench = Bench::new();
        let connection = events::tests::writing(&bench);
        for n in 0..5 {
            events::add(&connection, &events::tests::event(0, n)).unwrap();
        }
        let left = || bench.row::<i64>("SELECT count(*) FROM event WHERE ?1", 1);
        let (passed, mut after, mut counts) = (Instant::now(), i64::MIN, Vec::new());
        while let Some(last) = clean(&connection, after, Bench::NOW, passed).unwrap() {
            assert!(last > after);
            after = last;
            counts.push(left());
        }
        assert_eq!((counts, left()), (vec![4, 3, 2, 1], 0), "one event in each chunk");
    }

    #[test]
    fn events_of_this_program_are_own_and_others_are_not() {
        let bench = Bench::new();
        let texts = ["guitar lessons on monday", "guitar lessons on friday", "guitar lessons at noon"];
        let ids: Vec<String> = texts
            .iter()
            .enumerate()
            .map(|(n, text)| bench.capture(text, json!({"session_id": format!("s{n}")})))
            .collect();
        bench.ok("memory_contradict", json!({"id": ids[0], "new_fact": "no guitar lessons"}));
        bench.ok("session_start_payload", json!({"session_id": "s1", "project": "/p"}));
        bench.memory.maintenance().session_opened("s1", Bench::NOW.0, true).unwrap();
        bench.ok("session_exit", json!({"session_id": "s1"}));
        bench.ok("memory_consolidate", json!({}));
        let connection = events::tests::writing(&bench);
        let mut read = connection.prepare("SELECT kind, data FROM event").unwrap();
        let events: Vec<(String, String)> =
            read.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
        for kind in KINDS {
            assert!(events.iter().any(|(found, _)| found == kind), "{kind} in {events:?}");
            assert!(kind == "session_opened" || VISIBLE_KINDS.contains(&kind), "{kind}");
        }
        for (kind, data) in events {
            assert!(is_own(&serde_json::from_str(&data).unwrap(), ""), "{kind}: {data}");
        }
        for foreign in [
            json!({"step": "a word"}),
            json!({"word": 1}),
            json!({"steps": [{"step": "decay", "counts": {"word": 1}}]}),
            json!({"original_id": "word"}),
            json!({"timestamp": "word"}),
            json!({"mode": ["heavy", "word"]}),
        ] {
            assert!(!is_own(&foreign, ""), "{foreign}");
        }
    }
}
