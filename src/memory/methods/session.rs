//! `session_start_payload` and `session_exit`: the briefing of at most 2000 tokens that an assistant gets at the start of a
//! session, and the linking of the session's records at its end.

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use serde::Serialize;
use serde_json::json;

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::consolidation::caches::StepCaches;
use crate::memory::consolidation::cycle;
use crate::memory::consolidation::step::Step;
use crate::memory::graph::contradictions;
use crate::memory::model::record::{SESSION_BYTES, digest};
use crate::memory::model::time::UnixMicros;
use crate::memory::params::bounded_string;
use crate::memory::profile::{Profile, WakeDepth};
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::session::briefing::{self, Briefing, BriefingReader};
use crate::memory::store::events::{self, MemoryEvent, Severity};
use crate::memory::store::project_filter::ProjectFilter;
use crate::memory::store::projects;
use crate::memory::store::reader::Reader;
use crate::memory::store::records;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::{background_task, task};

/// Most tokens of `l0`. A token is counted as four characters.
const IDENTITY_TOKENS: usize = 80;

/// Most tokens of `l1`.
const FACTS_TOKENS: usize = 200;

/// Most facts of `l1` at the depth `minimal` (the contract).
const MINIMAL_FACT_COUNT: usize = 3;

/// Most tokens of `rich_club` at the depth `standard`. At the depth `deep` it has what is left of all.
const STANDARD_TOKENS: usize = 1000;

/// Most tokens of the payload.
const ALL_TOKENS: usize = 2000;

/// Tokens that a host reserves for what changes during the session.
const DYNAMIC_TOKENS: usize = 1000;

const BREAKPOINT: &str = "--<cache-breakpoint>--";

/// Contradictions that are counted, at most.
const MAX_PENDING: usize = 100;

/// How many more are read if those of other projects are left out. Picked.
const ONLY_FACTOR: usize = 10;

/// Records of a session that are counted at its end, at most.
const MAX_COUNTED_RECORDS: i64 = 1000;

/// The result of `session_start_payload`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Payload {
    l0: String,
    l1: String,
    l2: Vec<String>,
    rich_club: String,
    total_cached_tokens: usize,
    total_dynamic_tokens: usize,
    breakpoint_marker: &'static str,
    identity_pointer: String,
    brain_handle: String,
    topic_cluster_hint: String,
    compact_handle: String,
    wake_depth: &'static str,
}

/// Returns the param `wake_depth`: the least depth that the caller wants, whatever the knob is set to.
fn least_depth(params: &Params<'_>) -> Result<WakeDepth, CallError> {
    let name = params.string_or("wake_depth", "minimal")?;
    WakeDepth::named(&name).ok_or_else(|| CallError::invalid("wake_depth", "one of minimal, standard, deep"))
}

/// Answers `session_start_payload`. The event of the start is stored after the reply.
///
/// # Errors
/// -32602 if a param is invalid, -32001 if the store cannot be read.
pub(crate) fn start(
    reader: Result<&Reader, CallError>,
    writer: &Writer,
    profile: &Profile,
    params: &Params<'_>,
    now: UnixMicros,
) -> Result<Payload, CallError> {
    let session = bounded_string(params, "session_id", "-", SESSION_BYTES)?;
    let caller = CallerProject::read(params, profile)?;
    let depth = least_depth(params)?.max(profile.wake_depth);
    let snapshot = reader?.snapshot()?;
    let connection = snapshot.connection();
    let is_empty = !connection.prepare_cached("SELECT 1 FROM record LIMIT 1")?.exists([])?;
    let payload = if is_empty {
        let wake_depth = WakeDepth::Minimal.name();
        let empty = Payload { breakpoint_marker: BREAKPOINT, wake_depth, ..Payload::default() };
        Payload { total_dynamic_tokens: DYNAMIC_TOKENS, ..empty }
    } else {
        let reader = BriefingReader::of(connection, &caller.name, &caller.folder, caller.scope)?;
        // A folder that is about to be noted changes what belongs to the project.
        let folder = caller.new_folder(connection)?;
        let cached = if folder.is_none() { briefing::cached(connection, &reader)? } else { None };
        let is_stale = cached.is_none();
        let briefing = match cached {
            Some(briefing) => briefing,
            None => briefing::render(connection, &reader, &caller.filter(connection)?)?,
        };
        if is_stale {
            writer.submit(background_task("a session briefing", move |transaction| {
                if let Some((project, folder)) = folder {
                    projects::note_folder(transaction.connection, &project, &folder)?;
                }
                // A call at the same time may have had it cached.
                if briefing::cached(transaction.connection, &reader)?.is_none() {
                    briefing::cache(transaction.connection, &reader)?;
                }
                Ok(())
            }));
        }
        let pending = pending_count(connection, &caller.filter(connection)?)?;
        payload(&briefing, (profile, depth), &session, pending)
    };
    let data = json!({
        "session_id": session,
        "session_state_hash": format!("{:032x}", digest(payload.compact_handle.as_bytes())),
        "total_cached_tokens": payload.total_cached_tokens,
        "wake_depth": payload.wake_depth,
        "timestamp": now.to_string(),
    });
    writer.submit(background_task("the event session_started", move |transaction| {
        let domain = Some(caller.name.as_str()).filter(|name| !name.is_empty());
        let (kind, severity) = ("session_started", Severity::Info);
        Ok(events::add(
            transaction.connection,
            &MemoryEvent { kind, severity, domain, ts: now, data, session: &session, sources: &[] },
        )?)
    }));
    Ok(payload)
}

/// Returns the number of contradictions that are not settled and shown, at most [`MAX_PENDING`].
fn pending_count(connection: &Connection, projects: &ProjectFilter) -> Result<usize, rusqlite::Error> {
    let most = if projects.is_only() { MAX_PENDING * ONLY_FACTOR } else { MAX_PENDING };
    let mut count = 0;
    for open in contradictions::unsettled(connection, None, most)? {
        let is_shown = projects.admits_record(connection, open.old)? && projects.admits_record(connection, open.new)?;
        count += usize::from(is_shown);
    }
    Ok(count.min(MAX_PENDING))
}

fn payload(briefing: &Briefing, (profile, depth): (&Profile, WakeDepth), session: &str, pending: usize) -> Payload {
    let identity: String = briefing.identity_id.iter().flat_map(|id| id.chars()).take(8).collect();
    let session: String = session.chars().filter(|c| c.is_alphanumeric() || "-_".contains(*c)).take(8).collect();
    let handle = digest([&*identity, &session, &briefing.label, &pending.to_string()].join("\u{1f}").as_bytes());
    let mut payload = Payload {
        total_dynamic_tokens: DYNAMIC_TOKENS,
        breakpoint_marker: BREAKPOINT,
        identity_pointer: if identity.is_empty() { String::new() } else { format!("<id:{identity}>") },
        brain_handle: format!("<sess:{session} pend:{pending}>"),
        topic_cluster_hint: if briefing.label.is_empty() {
            String::new()
        } else {
            format!("<topic:{}>", briefing.label)
        },
        compact_handle: format!("<iai:{:016x}>", (handle >> 64) as u64),
        wake_depth: depth.name(),
        ..Payload::default()
    };
    if depth == WakeDepth::Minimal {
        payload.l0.clone_from(&briefing.identity);
        payload.l1 = fitting(&briefing.facts[..briefing.facts.len().min(MINIMAL_FACT_COUNT)], FACTS_TOKENS);
        payload.total_cached_tokens = tokens(&payload.l0) + tokens(&payload.l1);
    } else {
        payload.l0 = fitting(&identity_lines(briefing, profile), IDENTITY_TOKENS);
        payload.l1 = fitting(&briefing.facts, FACTS_TOKENS);
        payload.l2.clone_from(&briefing.topics);
        let l2 = payload.l2.iter().map(|line| tokens(line)).sum::<usize>();
        let used = tokens(&payload.l0) + tokens(&payload.l1) + l2;
        let left = ALL_TOKENS.saturating_sub(used);
        let most = if depth == WakeDepth::Deep { left } else { left.min(STANDARD_TOKENS) };
        payload.rich_club = fitting(&briefing.rich, most);
        payload.total_cached_tokens = used + tokens(&payload.rich_club);
    }
    payload
}

fn identity_lines(briefing: &Briefing, profile: &Profile) -> Vec<String> {
    [&briefing.identity, &profile.assistant_line].into_iter().filter(|line| !line.is_empty()).cloned().collect()
}

/// Returns as many of the lines as have at most `most` tokens together.
fn fitting(lines: &[String], most: usize) -> String {
    let mut text = String::new();
    for line in lines {
        let before = text.len();
        if before > 0 {
            text.push('\n');
        }
        text.push_str(line);
        if tokens(&text) > most {
            text.truncate(before);
            break;
        }
    }
    text
}

fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(4)
}

/// Answers `session_exit` after one chunk of the step Associate, which links the newest records.
pub(crate) fn exit(writer: &Writer, store: &Arc<Path>, params: &Params<'_>, now: UnixMicros, reply: Reply<'_>) {
    let session: Arc<str> = match bounded_string(params, "session_id", "-", SESSION_BYTES) {
        Ok(session) => session.into(),
        Err(error) => return reply.send::<()>(Err(error)),
    };
    let (store, reply) = (store.clone(), reply.later());
    let work = task(
        session.len(),
        move |transaction| {
            let linked = cycle::run_step_chunk(Step::Associate, transaction, &mut StepCaches::default(), &store, now)?
                .counts
                .get("linked");
            let records = count_records(transaction.connection, &session)?;
            if records > 0 {
                add_metric_event(transaction.connection, &session, records, linked, now)?;
            }
            Ok(json!({
                "mode": "light",
                "fsrs_ticked": records,
                "cooccurrence_updates": linked,
                "trajectory_metrics_emitted": u8::from(records > 0),
            }))
        },
        |outcome| reply.send(outcome),
    );
    writer.submit(work);
}

/// Returns the number of records of a session, up to [`MAX_COUNTED_RECORDS`].
fn count_records(connection: &Connection, session: &str) -> Result<i64, rusqlite::Error> {
    let Some(session) = records::session_number(connection, session)? else { return Ok(0) };
    let sql = "SELECT count(*) FROM (SELECT 1 FROM record WHERE session = ?1 LIMIT ?2)";
    connection.prepare_cached(sql)?.query_row((session, MAX_COUNTED_RECORDS), |row| row.get(0))
}

fn add_metric_event(
    connection: &Connection,
    session: &str,
    records: i64,
    linked: u64,
    now: UnixMicros,
) -> Result<(), rusqlite::Error> {
    let data = json!({"session_id": session, "records": records, "linked": linked});
    let (kind, severity) = ("trajectory_metric", Severity::Info);
    events::add(connection, &MemoryEvent { kind, severity, domain: None, ts: now, data, session, sources: &[] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;
    use serde_json::Value;

    fn started(bench: &Bench, params: Value) -> Value {
        let got = bench.ok("session_start_payload", params);
        let lines = got["l2"].as_array().unwrap().iter().map(|line| tokens(line.as_str().unwrap())).sum::<usize>();
        let of = |key: &str| tokens(got[key].as_str().unwrap());
        let all = lines + of("l0") + of("l1") + of("rich_club");
        assert_eq!(got["total_cached_tokens"], all);
        assert!(all <= ALL_TOKENS && of("l0") <= IDENTITY_TOKENS && of("l1") <= FACTS_TOKENS, "{got}");
        got
    }

    fn depth(bench: &Bench, depth: &str) {
        bench.ok("profile_set", json!({"knob": "wake_depth", "value": depth}));
    }

    /// Waits for the background writes: a later write is answered after they are committed.
    fn wait_for_writes(bench: &Bench) {
        bench.ok("profile_set", json!({"knob": "masking_off", "value": true}));
    }

    #[test]
    fn an_empty_store_gives_an_empty_payload() {
        let bench = Bench::new();
        depth(&bench, "deep");
        let want = json!({"l0": "", "l1": "", "l2": [], "rich_club": "", "total_cached_tokens": 0,
            "total_dynamic_tokens": 1000, "breakpoint_marker": "--<cache-breakpoint>--", "identity_pointer": "",
            "brain_handle": "", "topic_cluster_hint": "", "compact_handle": "", "wake_depth": "minimal"});
        assert_eq!(started(&bench, json!({"session_id": "s"})), want);
        wait_for_writes(&bench);
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM event WHERE kind = 'session_started' AND ?1", 1), 1);
    }

    fn full() -> Bench {
        let bench = Bench::new();
        for n in 0..60 {
            let project = if n % 3 == 0 { "/home/garden" } else { "/home/boat" };
            let text = format!("number {n} about the {} {}", &project[6..], "word ".repeat(60));
            let day = format!("2024-03-{:02}", n / 2 + 1);
            bench.capture(&text, json!({"session_id": format!("s{}", n / 6), "project": project, "ts": day}));
        }
        for n in 0..20 {
            let project = if n == 3 { "/home/garden" } else { "" };
            let text = format!("fact number {n}: {}", "it is so ".repeat(20));
            bench.capture(&text, json!({"tier": "semantic", "project": project, "session_id": "facts"}));
        }
        let id = bench.capture("the gate's code is 1234", json!({"tier": "semantic"}));
        bench.ok("memory_contradict", json!({"id": id, "new_fact": "the gate's code is 4321"}));
        bench
    }

    #[test]
    fn the_depth_minimal_has_the_identity_three_facts_and_the_handles() {
        let bench = full();
        let got = started(&bench, json!({"session_id": "12345678-9abc"}));
        for key in ["l0", "rich_club", "identity_pointer"] {
            assert_eq!(got[key], "", "{key}");
        }
        let facts: Vec<&str> = got["l1"].as_str().unwrap().lines().collect();
        assert_eq!((facts.len(), facts[0]), (3, "- the gate's code is 4321"));
        assert_eq!(
            (&got["l2"], &got["total_cached_tokens"]),
            (&json!([]), &json!(tokens(got["l1"].as_str().unwrap())))
        );
        assert_eq!(got["brain_handle"], "<sess:12345678 pend:1>");
        assert_eq!(got["wake_depth"], "minimal");
        let handle = got["compact_handle"].as_str().unwrap();
        assert!(handle.len() == 22 && handle.starts_with("<iai:") && handle.ends_with('>'), "{handle}");
        assert_eq!(started(&bench, json!({"session_id": "12345678-other"}))["compact_handle"], handle);
        assert_ne!(started(&bench, json!({"session_id": "other"}))["compact_handle"], handle);
    }

    #[test]
    fn the_depths_standard_and_deep_stay_within_the_budget() {
        let bench = full();
        depth(&bench, "standard");
        let standard = started(&bench, json!({}));
        assert_eq!(standard["l0"], "", "every knob is at its default");
        let facts: Vec<&str> = standard["l1"].as_str().unwrap().lines().collect();
        assert_eq!(facts[0], "- the gate's code is 4321");
        assert!(facts.iter().all(|line| line.starts_with("- ") && line.chars().count() <= 100), "{facts:?}");
        assert!(!facts.iter().any(|line| line.contains("1234")));
        assert!((1..=7).contains(&standard["l2"].as_array().unwrap().len()));
        assert_eq!(started(&bench, json!({"wake_depth": "minimal"})), standard);
        depth(&bench, "minimal");
        assert_eq!(started(&bench, json!({"wake_depth": "standard"})), standard);
        let error = bench.err("session_start_payload", json!({"wake_depth": "full"}));
        assert_eq!(error.message, "param 'wake_depth' must be one of minimal, standard, deep");
        depth(&bench, "deep");
        let deep = started(&bench, json!({"wake_depth": "standard"}));
        assert!(deep["rich_club"].as_str().unwrap().len() > standard["rich_club"].as_str().unwrap().len());
    }

    #[test]
    fn records_of_the_project_come_first() {
        let bench = full();
        depth(&bench, "standard");
        let got = started(&bench, json!({"project": "/home/garden"}));
        let rich: Vec<&str> = got["rich_club"].as_str().unwrap().lines().collect();
        // Number 57 is among the sessions.
        assert!(rich[0].starts_with("- 2024-03-28 user: number 54 about the garden"), "{}", rich[0]);
        assert!(got["l2"][0].as_str().unwrap().contains("about the garden"), "{}", got["l2"]);
        assert!(got["l1"].as_str().unwrap().starts_with("- fact number 3: it is"), "{}", got["l1"]);
    }

    #[test]
    fn the_briefing_is_cached_until_a_record_is_added() {
        let bench = full();
        depth(&bench, "standard");
        started(&bench, json!({}));
        wait_for_writes(&bench);
        bench.sql("UPDATE wake SET payload = replace(payload, 'gate', 'door')");
        assert!(started(&bench, json!({}))["l1"].as_str().unwrap().contains("door's code"));
        bench.capture("something new to be known", json!({}));
        assert!(started(&bench, json!({}))["l1"].as_str().unwrap().contains("gate's code"));
        wait_for_writes(&bench);
        bench.sql("UPDATE wake SET newest = 1, payload = replace(payload, 'gate', 'door')");
        bench.ok("memory_consolidate", json!({}));
        bench.sql("UPDATE wake SET payload = replace(payload, 'gate', 'fence')");
        assert!(started(&bench, json!({}))["l1"].as_str().unwrap().contains("fence's code"));
    }

    #[test]
    fn the_end_of_a_session_links_its_records() {
        let bench = Bench::new();
        let none = json!({"mode": "light", "fsrs_ticked": 0, "cooccurrence_updates": 0,
            "trajectory_metrics_emitted": 0});
        assert_eq!(bench.ok("session_exit", json!({"session_id": "s"})), none);
        for n in 0..3 {
            bench.capture(&format!("said in the session, number {n}"), json!({"session_id": "s"}));
        }
        // Each call is a chunk, whose time ends on a slow processor before all are linked.
        let mut all_linked = 0;
        while all_linked < 2 {
            let exit = bench.ok("session_exit", json!({"session_id": "s"}));
            let linked = exit["cooccurrence_updates"].as_u64().unwrap();
            let want = json!({"mode": "light", "fsrs_ticked": 3, "cooccurrence_updates": linked,
                "trajectory_metrics_emitted": 1});
            assert_eq!(exit, want);
            let event = &bench.ok("events_query", json!({"kind": "trajectory_metric"}))["events"][0];
            assert_eq!(event["data"], json!({"session_id": "s", "records": 3, "linked": linked}));
            assert!(linked > 0, "{exit}");
            all_linked += linked;
        }
        assert_eq!(all_linked, 2);
    }
}
