//! `memory_consolidate`: runs a whole consolidation cycle, a chunk at a time, so that other writes are not delayed.

use std::ops::ControlFlow;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::dispatch::{CallError, Params, Reply};
use crate::memory::consolidation::chunks::run_chunks;
use crate::memory::consolidation::cycle::Cycle;
use crate::memory::consolidation::maintenance::Maintenance;
use crate::memory::graph::patterns;
use crate::memory::model::record::SESSION_BYTES;
use crate::memory::params::bounded_string;
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::store::{records, tags};

/// New patterns that a reply lists, at most.
const MAX_LISTED_PATTERNS: usize = 32;

/// Answers `memory_consolidate` at the end of the cycle, or with the error of a chunk that failed. The chunks before that
/// one are kept, and the next cycle continues there.
pub(crate) fn consolidate(maintenance: Maintenance, profile: &Profile, params: &Params<'_>, reply: Reply<'_>) {
    let session = bounded_string(params, "session_id", "-", SESSION_BYTES);
    let (session, caller) = match session.and_then(|session| Ok((session, CallerProject::read(params, profile)?))) {
        Ok(read) => read,
        Err(error) => return reply.send::<()>(Err(error)),
    };
    let reply = reply.later();
    let Maintenance { writer, session_state, folder, changes, clock, .. } = maintenance;
    let committed_changes = changes.clone();
    let mut in_progress: Option<Cycle> = None;
    run_chunks(
        writer,
        move |transaction| {
            let Some(mut cycle) = in_progress.take() else {
                in_progress = Some(Cycle::resume_or_begin(transaction, &changes)?);
                return Ok(ControlFlow::Continue(()));
            };
            let now = clock();
            if cycle.run_chunk(transaction, &changes, &folder, now)?.is_some() {
                in_progress = Some(cycle);
                return Ok(ControlFlow::Continue(()));
            }
            cycle.end(transaction, &session, now)?;
            let result = result(transaction.connection, &caller, &cycle)?;
            Ok(ControlFlow::Break((cycle, result)))
        },
        move |outcome| {
            reply.send(outcome.map(|(cycle, result)| {
                cycle.end_committed(&committed_changes, &session_state.digest);
                result
            }));
        },
    );
}

fn result(connection: &Connection, caller: &CallerProject, cycle: &Cycle) -> Result<Value, CallError> {
    let projects = caller.filter(connection)?;
    let induced = cycle.count("induced");
    let most = usize::try_from(induced).unwrap_or(MAX_LISTED_PATTERNS).min(MAX_LISTED_PATTERNS);
    let mut candidates = Vec::new();
    for seq in tags::newest_with(connection, tags::PATTERN, most)? {
        if !projects.admits_record(connection, seq)? {
            continue;
        }
        let text = records::text_of(connection, seq)?;
        let pattern = text.strip_prefix(patterns::PATTERN_PREFIX).unwrap_or(&text);
        candidates.push(json!({"pattern": pattern, "schema_id": records::id_of(connection, seq)?.to_string()}));
    }
    Ok(json!({
        "mode": "heavy",
        "tier": "tier0",
        "summaries_created": induced,
        "decay_result": {"decayed": cycle.count("decayed"), "pruned": cycle.count("pruned")},
        "schema_candidates": candidates,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dispatch::{CallOutcome, LateReply, ReplySink, Runner};
    use crate::memory::model::time::UnixMicros;
    use crate::memory::test_support::{Bench, call, call_on};
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};

    const LATER: UnixMicros = UnixMicros(Bench::NOW.0 + 400 * 24 * 3600 * 1_000_000);

    fn capture_texts(bench: &Bench) {
        for (session, text) in [
            ("a", "my guitar lessons are on Monday evening"),
            ("a", "the weather was bad on the whole"),
            ("b", "bought new strings before the guitar lessons"),
            ("b", "the neighbor's Zwetschgenkuchen was wonderful"),
            ("c", "guitar lessons are expensive this year"),
            ("c", "I want the recipe of that Zwetschgenkuchen"),
            ("c", "something else altogether happened then"),
        ] {
            bench.capture(text, json!({"session_id": session}));
        }
    }

    fn links(bench: &Bench, kind: i64) -> i64 {
        bench.row("SELECT count(*) FROM link WHERE kind = ?1", kind)
    }

    #[test]
    fn rare_terms_and_neighbors_are_linked_and_patterns_induced() {
        let bench = Bench::new();
        capture_texts(&bench);
        let got = bench.ok("memory_consolidate", json!({"session_id": "c"}));
        let id = got["schema_candidates"][0]["schema_id"].clone();
        let want = json!({"mode": "heavy", "tier": "tier0", "summaries_created": 1,
            "decay_result": {"decayed": 0, "pruned": 0},
            "schema_candidates": [{"pattern": "guitar, lessons", "schema_id": id}]});
        assert_eq!(got, want);
        let weight = |a: i64, b: i64| {
            bench.row::<Option<i64>>(
                &format!("SELECT max(weight) FROM link WHERE a = {a} AND b = {b} AND kind = 0 AND ?1"),
                1,
            )
        };
        // Neighbors; a rare term in common; nothing in common.
        assert_eq!((weight(1, 2), weight(4, 6), weight(2, 4)), (Some(200), Some(500), None));
        assert_eq!((links(&bench, 3), links(&bench, 0)), (3, 6));
        let schemas = bench.ok("schema_list", json!({}));
        let schema = json!({"id": id, "pattern": "guitar, lessons", "confidence": 0.8, "evidence_count": 3,
            "exceptions_count": 0, "status": "auto", "language": "en"});
        assert_eq!(schemas, json!({"schemas": [schema], "total": 1}));
        for (params, total) in [
            (json!({"confidence_min": 0.8}), 1),
            (json!({"confidence_min": 0.81}), 0),
            (json!({"domain": "p"}), 0),
            (json!({"domain": ""}), 1),
        ] {
            assert_eq!(bench.ok("schema_list", params.clone())["total"], total, "{params}");
        }
        let error = bench.err("schema_list", json!({"confidence_min": 2}));
        assert_eq!(error.message, "param 'confidence_min' must be a number from 0 to 1");
    }

    #[test]
    fn a_cycle_stores_an_event_and_a_second_one_changes_nothing() {
        let bench = Bench::new();
        capture_texts(&bench);
        bench.ok("memory_consolidate", json!({"session_id": "c"}));
        let before = (links(&bench, 0), links(&bench, 3));
        assert_eq!(bench.ok("memory_consolidate", json!({}))["summaries_created"], 0);
        assert_eq!((links(&bench, 0), links(&bench, 3)), before);
        let runs = bench.ok("events_query", json!({"kind": "cls_consolidation_run"}));
        assert_eq!(runs["count"], 2);
        let steps = |run: &Value| run["data"]["steps"].as_array().unwrap().clone();
        let names: Vec<_> = steps(&runs["events"][1]).iter().map(|step| step["step"].clone()).collect();
        assert_eq!(names, ["drain", "associate", "induce", "decay", "optimize", "precache"]);
        assert_eq!(runs["events"][1]["session_id"], "c");
        let linked = |run: usize| steps(&runs["events"][run])[1]["counts"].clone();
        assert_eq!(linked(1), json!({"examined": 7, "learned": 0, "linked": 6}));
        // In the second run: the pattern itself is not examined.
        assert_eq!(linked(0), json!({"examined": 0, "learned": 0, "linked": 0}));
        assert_eq!(bench.ok("events_query", json!({"kind": "schema_induction_run"}))["count"], 1);
    }

    #[test]
    fn evidence_grows_and_a_contradicted_pattern_is_not_stored_again() {
        let bench = Bench::new();
        capture_texts(&bench);
        bench.ok("memory_consolidate", json!({}));
        bench.capture("no guitar lessons in August", json!({"session_id": "d"}));
        assert_eq!(bench.ok("memory_consolidate", json!({}))["summaries_created"], 0);
        let schemas = bench.ok("schema_list", json!({}));
        assert_eq!((&schemas["schemas"][0]["evidence_count"], &schemas["total"]), (&json!(4), &json!(1)));
        let id = &schemas["schemas"][0]["id"];
        bench.ok("memory_contradict", json!({"id": id, "new_fact": "that is no pattern at all"}));
        bench.capture("guitar lessons again in autumn", json!({"session_id": "e"}));
        bench.ok("memory_consolidate", json!({}));
        assert_eq!(bench.ok("schema_list", json!({}))["total"], 0);
    }

    #[test]
    fn decayed_links_are_removed_and_facts_are_kept() {
        let mut bench = Bench::new();
        capture_texts(&bench);
        let id = bench.capture("the gate code is 1234 today", json!({}));
        bench.ok("memory_contradict", json!({"id": id, "new_fact": "the gate code is 4321"}));
        bench.ok("memory_consolidate", json!({}));
        let facts = (links(&bench, 2), links(&bench, 3));
        let association = links(&bench, 0);
        bench.restart_at(|| LATER);
        let got = bench.ok("memory_consolidate", json!({}));
        assert_eq!(got["decay_result"], json!({"decayed": 0, "pruned": association}));
        assert_eq!((links(&bench, 0), links(&bench, 2), links(&bench, 3)), (0, facts.0, facts.1));
        assert_eq!(bench.row::<i64>("SELECT sum(degree) FROM node WHERE ?1", 1), 2 * (facts.0 + facts.1));
    }

    #[test]
    fn an_interrupted_cycle_continues_at_its_cursors() {
        let bench = Bench::new();
        capture_texts(&bench);
        bench.sql("INSERT INTO meta VALUES ('step_associate', 5), ('step_induce', 7)");
        bench.ok("memory_consolidate", json!({}));
        let run = &bench.ok("events_query", json!({"kind": "cls_consolidation_run"}))["events"][0];
        assert_eq!(run["data"]["steps"][1]["counts"], json!({"examined": 2, "learned": 0, "linked": 3}));
        assert_eq!(run["data"]["steps"][2]["counts"], json!({"evidence": 0, "examined": 0, "induced": 0}));
        assert_eq!(bench.row::<i64>("SELECT value FROM meta WHERE key = 'step_associate' AND ?1", 1), 7);
    }

    #[test]
    fn words_that_meet_by_chance_form_no_pattern() {
        let bench = Bench::new();
        for n in 0..40 {
            // Both words are common, and occur together in three sessions only.
            let word = if n % 2 == 0 { "breakfast" } else { "telephone" };
            let text = if [20, 30, 39].contains(&n) {
                "breakfast and telephone".to_owned()
            } else {
                format!("{word} of day{n}")
            };
            bench.capture(&text, json!({"session_id": format!("s{n}")}));
        }
        assert_eq!(bench.ok("memory_consolidate", json!({}))["summaries_created"], 0);
    }

    #[test]
    fn a_cycle_is_answered_if_the_store_closes() {
        let bench = Bench::new();
        capture_texts(&bench);
        let (sender, answer) = channel();
        let sink: Arc<dyn ReplySink> = Arc::new(Sink(sender));
        let mut runner = Runner::default();
        let later = || LateReply::new(Arc::clone(&sink), 0);
        let given = runner.run(&bench.memory, "memory_consolidate", None, &later);
        assert!(matches!(given, CallOutcome::Later), "{given:?}");
        drop((sink, bench));
        // The cycle may have ended before the store closes.
        if let Err(error) = answer.recv().unwrap() {
            assert_eq!(error.message, "the store is closing: nothing was stored");
        }
        assert!(answer.recv().is_err());
    }

    struct Sink(Sender<Result<Vec<u8>, CallError>>);

    impl ReplySink for Sink {
        fn fill(self: Arc<Self>, _: usize, answer: Result<Vec<u8>, CallError>) {
            self.0.send(answer).unwrap();
        }
    }

    #[test]
    fn other_writes_run_between_the_chunks() {
        let bench = Bench::new();
        for n in 0..300 {
            let text = format!("topic{} with subject{} and matter{} number{n}", n % 7, n % 31, n % 53);
            bench.capture(&text, json!({"session_id": format!("s{}", n / 10)}));
        }
        std::thread::scope(|scope| {
            let running = scope.spawn(|| call(&bench.memory, "memory_consolidate", None));
            let mut runner = Runner::default();
            let mut written = 0;
            while !running.is_finished() {
                let params = json!({"text": format!("written meanwhile, number {written}")}).to_string();
                call_on(&bench.memory, &mut runner, "memory_capture", Some(&params)).unwrap();
                written += 1;
            }
            running.join().unwrap().unwrap();
            assert!(written > 1, "{written}");
        });
        let run = &bench.ok("events_query", json!({"kind": "cls_consolidation_run"}))["events"][0];
        assert!(run["data"]["steps"][1]["chunks"].as_u64().unwrap() >= 1);
        assert!(links(&bench, 0) > 300);
        assert_eq!(bench.row::<String>("SELECT * FROM pragma_integrity_check WHERE ?1", 1), "ok");
    }
}
