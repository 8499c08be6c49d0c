//! The event log: what happened to the memory, the newest [`KEPT_COUNT`] events of each kind.

use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dispatch::CallError;
use crate::memory::model::record::is_shared_session;
use crate::memory::model::time::UnixMicros;
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::records::{self, new_id};

/// Events kept of each kind. Picked: ten years of nightly runs.
const KEPT_COUNT: i64 = 4096;

/// Events beyond [`KEPT_COUNT`] are removed once every so many insertions.
const TRIM_EVERY: i64 = 64;

/// Most bytes of the events of a reply: 1 MiB less what surrounds them.
const MAX_REPLY_BYTES: usize = (1 << 20) - (16 << 10);

/// The kinds that clients may read, sorted. Some are of the other daemon of this protocol only; there are none of them.
pub(crate) const VISIBLE_KINDS: [&str; 18] = [
    "cls_consolidation_run",
    "crypto_key_rotated",
    "curiosity_question",
    "curiosity_silent_log",
    "embed_construct",
    "embed_nonfinite_rejected",
    "first_turn_recall",
    "hippo_compacted",
    "llm_health",
    "profile_tuned",
    "recall_source",
    "recall_timing",
    "rem_cycle_completed",
    "retrieval_weight_tuned",
    "s4_contradiction",
    "schema_induction_run",
    "session_started",
    "trajectory_metric",
];

/// An event's severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Info,
    Warning,
    Critical,
}

/// An event.
#[derive(Clone, Debug)]
pub(crate) struct MemoryEvent<'e> {
    pub(crate) kind: &'static str,
    pub(crate) severity: Severity,
    /// The project that it concerns.
    pub(crate) domain: Option<&'e str>,
    pub(crate) ts: UnixMicros,
    /// A JSON object.
    pub(crate) data: Value,
    pub(crate) session: &'e str,
    /// The ids of the records that it concerns.
    pub(crate) sources: &'e [Uuid],
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// Stores an event.
///
/// # Errors
/// Any SQLite error.
pub(crate) fn add(connection: &Connection, event: &MemoryEvent<'_>) -> Result<(), rusqlite::Error> {
    let sources: Vec<String> = event.sources.iter().map(Uuid::to_string).collect();
    connection
        .prepare_cached(
            "INSERT INTO event (id, kind, severity, domain, ts, data, session, sources)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute((
            new_id().as_bytes(),
            event.kind,
            event.severity.name(),
            event.domain,
            event.ts.0,
            event.data.to_string(),
            event.session,
            json!(sources).to_string(),
        ))?;
    if connection.last_insert_rowid() % TRIM_EVERY == 0 {
        trim(connection, event.kind)?;
    }
    Ok(())
}

/// Removes the oldest events of a kind beyond [`KEPT_COUNT`].
fn trim(connection: &Connection, kind: &str) -> Result<(), rusqlite::Error> {
    let sql = "DELETE FROM event WHERE seq IN (
                   SELECT seq FROM event WHERE kind = ?1 ORDER BY ts DESC, seq DESC LIMIT -1 OFFSET ?2)";
    connection.prepare_cached(sql)?.execute((kind, KEPT_COUNT))?;
    Ok(())
}

/// Returns the newest events of a kind that the filter shows with their times, at most `limit`, as they are in a reply.
///
/// # Errors
/// -32001 if the store cannot be read or an event is damaged.
pub(crate) fn newest(
    connection: &Connection,
    kind: &str,
    projects: &ProjectFilter,
    since: i64,
    severity: Option<&str>,
    limit: usize,
) -> Result<Vec<(UnixMicros, Value)>, CallError> {
    let mut read = connection.prepare_cached(
        "SELECT id, severity, domain, ts, data, session, sources FROM event
         WHERE kind = ?1 AND ts >= ?2 AND (?3 IS NULL OR severity = ?3) ORDER BY ts DESC, seq DESC LIMIT ?4",
    )?;
    let most = if projects.is_only() { KEPT_COUNT } else { limit as i64 };
    let mut rows = read.query((kind, since, severity, most))?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    while events.len() < limit
        && let Some(row) = rows.next()?
    {
        let (data, sources): (String, String) = (row.get(4)?, row.get(6)?);
        let session: String = row.get(5)?;
        let domain = row.get_ref(2)?.as_str_or_null().unwrap_or_default();
        if !is_shown(connection, projects, (domain, &session), &sources)? {
            continue;
        }
        bytes += data.len() + sources.len() + session.len() + 256;
        if bytes > MAX_REPLY_BYTES {
            break;
        }
        let ts = UnixMicros(row.get(3)?);
        let event = json!({
            "id": Uuid::from_bytes(row.get(0)?).to_string(),
            "kind": kind,
            "severity": row.get::<_, Option<String>>(1)?,
            "domain": row.get::<_, Option<String>>(2)?,
            "ts": ts.to_string(),
            "data": parse_json(&data)?,
            "session_id": session,
            "source_ids": parse_json(&sources)?,
        });
        events.push((ts, event));
    }
    Ok(events)
}

/// Returns true if the project that an event concerns is shown, and the records are. An event without a project concerns
/// that of its session, which is that of the session's newest record.
fn is_shown(
    connection: &Connection,
    projects: &ProjectFilter,
    (domain, session): (Option<&str>, &str),
    sources: &str,
) -> Result<bool, rusqlite::Error> {
    if !projects.is_only() {
        return Ok(true);
    }
    let is_of_shown = match domain.filter(|name| !name.is_empty()) {
        Some(domain) => projects.has_name(connection, domain)?,
        None if is_shared_session(session) => true,
        None => {
            let number = records::project_of_session(connection, session)?;
            number.is_none_or(|number| projects.admits_project(number))
        }
    };
    if !is_of_shown {
        return Ok(false);
    }
    for id in serde_json::from_str::<Vec<String>>(sources).unwrap_or_default() {
        if let Ok(id) = Uuid::parse_str(&id)
            && let Some(seq) = records::find_seq(connection, id)?
            && !projects.admits_record(connection, seq)?
        {
            return Ok(false);
        }
    }
    Ok(true)
}

fn parse_json(text: &str) -> Result<Value, CallError> {
    serde_json::from_str(text)
        .map_err(|error| CallError::failed(format!("the store is damaged (an event is not JSON: {error})")))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::memory::store::open::{self, Access, FILE_NAME};
    use crate::memory::test_support::Bench;

    pub(crate) fn writing(bench: &Bench) -> Connection {
        open::connect(&bench.folder.path().join(FILE_NAME), Access::Write).unwrap()
    }

    pub(crate) fn event(ts: i64, n: i64) -> MemoryEvent<'static> {
        let severity = if n % 2 == 0 { Severity::Info } else { Severity::Warning };
        let ts = UnixMicros(ts);
        MemoryEvent {
            kind: "llm_health",
            severity,
            domain: None,
            ts,
            data: json!({"n": n}),
            session: "s",
            sources: &[],
        }
    }

    #[test]
    fn the_oldest_events_of_a_kind_are_removed() {
        let bench = Bench::new();
        let connection = writing(&bench);
        connection.execute_batch("BEGIN").unwrap();
        add(&connection, &MemoryEvent { kind: "s4_contradiction", ..event(0, 0) }).unwrap();
        for n in 0..KEPT_COUNT + 2 * TRIM_EVERY {
            add(&connection, &event(n, n)).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
        let count: i64 = bench.row("SELECT count(*) FROM event WHERE kind = 'llm_health' AND ?1", 1);
        assert!((KEPT_COUNT..KEPT_COUNT + TRIM_EVERY).contains(&count), "{count}");
        assert!(bench.row::<i64>("SELECT min(ts) FROM event WHERE kind = 'llm_health' AND ?1", 1) > 0);
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM event WHERE kind = 's4_contradiction' AND ?1", 1), 1);
    }
}
