//! `profile_get` and `profile_set`: read and set the profile's knobs.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::dispatch::{CallError, LateReply, Params, Reply};
use crate::memory::model::time::UnixMicros;
use crate::memory::profile::{KNOBS, Profile, SharedProfile, VALUE_BYTES, check, find, schema};
use crate::memory::store::knob_changes;
use crate::memory::store::writer::Writer;
use crate::memory::store::writer::job::WriteJob;
use crate::memory::store::writer::transaction::WriteTransaction;

/// Answers `profile_get` out of the snapshot, without the database.
pub(crate) fn profile_get(profile: &Profile, params: &Params<'_>, reply: Reply<'_>) {
    match params.string_opt("knob") {
        Ok(None) => reply.send_json(Ok(&profile.all)),
        Ok(Some(name)) => match KNOBS.iter().position(|knob| knob.name == name) {
            Some(at) => reply.send_json(Ok(&profile.each[at])),
            None => reply.send(Ok(json!({"knob": name, "status": "unknown"}))),
        },
        Err(error) => reply.send::<()>(Err(error)),
    }
}

/// Answers `profile_set`: a refusal at once, success after the commit.
pub(crate) fn profile_set(
    profiles: &Arc<SharedProfile>,
    writer: &Writer,
    params: &Params<'_>,
    now: UnixMicros,
    reply: Reply<'_>,
) {
    match read(params) {
        Ok(Ok((knob, value))) => {
            writer.submit(Box::new(SetKnob { profiles: profiles.clone(), knob, value, now, reply: reply.later() }))
        }
        Ok(Err(refused)) => reply.send(Ok(refused)),
        Err(error) => reply.send::<()>(Err(error)),
    }
}

/// The result of a refused `profile_set`.
#[derive(Serialize)]
struct Refusal {
    status: &'static str,
    reason: String,
    knob: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
}

/// Returns the knob and the value to store, or the refusal.
///
/// # Errors
/// -32602 where a param is missing, has the wrong type or is no JSON.
fn read(params: &Params<'_>) -> Result<Result<(&'static str, Value), Refusal>, CallError> {
    let name = params.string("knob")?;
    let text = params.raw("value").ok_or_else(|| CallError::missing("value"))?;
    let Some(knob) = find(&name) else {
        let reason = "unknown knob".into();
        return Ok(Err(Refusal { status: "error", reason, knob: name.into_owned(), schema: None }));
    };
    let value = if text.len() > VALUE_BYTES {
        Err(format!("the value has {} bytes of JSON, at most {VALUE_BYTES} are kept", text.len()))
    } else {
        let value = serde_json::from_str(text).map_err(|error| CallError::invalid("value", error))?;
        check(knob.kind, value)
    };
    Ok(value.map(|value| (knob.name, value)).map_err(|reason| Refusal {
        status: "error",
        reason,
        knob: knob.name.into(),
        schema: Some(schema(knob.kind)),
    }))
}

/// Stores a knob's value and publishes it after the commit.
struct SetKnob {
    profiles: Arc<SharedProfile>,
    knob: &'static str,
    value: Value,
    now: UnixMicros,
    reply: LateReply,
}

impl WriteJob for SetKnob {
    fn weight(&self) -> usize {
        size_of::<SetKnob>() + VALUE_BYTES
    }

    fn run(&mut self, transaction: &mut WriteTransaction<'_>) -> Result<(), CallError> {
        Ok(knob_changes::store_own(transaction.connection, self.knob, &self.value.to_string(), self.now.0)?)
    }

    fn done(self: Box<Self>, outcome: Result<(), CallError>) {
        let SetKnob { profiles, knob, value, reply, .. } = *self;
        if outcome.is_ok() {
            profiles.set(knob, value.clone());
        }
        reply.send(outcome.map(|()| json!({"status": "ok", "knob": knob, "value": value})));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::{Bench, call};

    #[test]
    fn all_knobs_have_their_defaults() {
        let bench = Bench::new();
        let want = json!({"live": {
            "camouflaging_relaxation": 0.0, "demand_avoidance_tolerance": "collaborative", "dunn_quadrant": "neutral",
            "inertia_awareness": false, "interest_boost": 0.0, "literal_preservation": "strong", "masking_off": true,
            "monotropism_depth": {}, "project_scope": "prefer", "prompt_recall": true,
            "scene_construction_scaffold": true, "task_support": "cued_recognition",
            "wake_depth": "minimal"}, "deferred": {}, "total_knobs": 13});
        for params in [json!({}), json!({"knob": null})] {
            assert_eq!(bench.ok("profile_get", params), want);
        }
        assert_eq!(
            bench.ok("profile_get", json!({"knob": "masking_off"})),
            json!({"knob": "masking_off", "value": true})
        );
        assert_eq!(bench.ok("profile_get", json!({"knob": "no"})), json!({"knob": "no", "status": "unknown"}));
        assert_eq!(bench.err("profile_get", json!({"knob": 1})).message, "param 'knob' must be a string");
        assert!(KNOBS.is_sorted_by_key(|knob| knob.name));
        for knob in &KNOBS {
            assert!(check(knob.kind, serde_json::from_str(knob.default).unwrap()).is_ok(), "{}", knob.name);
        }
    }

    #[test]
    fn a_value_is_read_back_at_once_and_after_a_restart() {
        let mut bench = Bench::new();
        let sets = [
            ("monotropism_depth", json!({"код": 1, "music": 0.25}), json!({"код": 1.0, "music": 0.25})),
            ("interest_boost", json!(1), json!(1.0)),
            ("inertia_awareness", json!(true), json!(true)),
            ("wake_depth", json!("deep"), json!("deep")),
            ("wake_depth", json!("standard"), json!("standard")),
        ];
        for (knob, value, kept) in &sets {
            let got = bench.ok("profile_set", json!({"knob": knob, "value": value}));
            assert_eq!(got, json!({"status": "ok", "knob": knob, "value": kept}));
            assert_eq!(bench.ok("profile_get", json!({"knob": knob}))["value"], *kept);
        }
        bench.restart();
        for (knob, _, kept) in sets.iter().filter(|(_, value, _)| *value != json!("deep")) {
            assert_eq!(bench.ok("profile_get", json!({}))["live"][knob], *kept);
        }
    }

    #[test]
    fn an_invalid_value_is_refused_with_the_schema() {
        let bench = Bench::new();
        for (knob, value, reason, schema) in [
            (
                "wake_depth",
                json!("deepest"),
                "\"deepest\" is none of minimal, standard, deep",
                "enum:minimal|standard|deep",
            ),
            ("masking_off", json!(1), "1 is neither true nor false", "bool"),
            ("masking_off", json!(null), "null is neither true nor false", "bool"),
            ("interest_boost", json!(true), "true is no number from 0 to 1", "float_range:0.0..1.0"),
            ("interest_boost", json!(1.01), "1.01 is no number from 0 to 1", "float_range:0.0..1.0"),
            ("interest_boost", json!("0.5"), "\"0.5\" is no number from 0 to 1", "float_range:0.0..1.0"),
            (
                "monotropism_depth",
                json!([1]),
                "[1] is no object of domains and numbers",
                "dict:str:float_range:0.0..1.0",
            ),
            (
                "monotropism_depth",
                json!({"a": 0.5, "b": -1}),
                "'b': -1 is no number from 0 to 1",
                "dict:str:float_range:0.0..1.0",
            ),
        ] {
            let before = bench.ok("profile_get", json!({}));
            let got = bench.ok("profile_set", json!({"knob": knob, "value": value}));
            assert_eq!(got, json!({"status": "error", "reason": reason, "knob": knob, "schema": schema}));
            assert_eq!(bench.ok("profile_get", json!({})), before);
        }
        let got = bench.ok("profile_set", json!({"knob": "volume", "value": 1}));
        assert_eq!(got, json!({"status": "error", "reason": "unknown knob", "knob": "volume"}));
        let long = json!({"knob": "monotropism_depth", "value": {"x".repeat(VALUE_BYTES): 1}});
        assert!(bench.ok("profile_set", long)["reason"].as_str().unwrap().contains("at most 16384"));
        assert_eq!(bench.err("profile_set", json!({"value": 1})).message, "missing required param: 'knob'");
        assert_eq!(bench.err("profile_set", json!({"knob": "x"})).message, "missing required param: 'value'");
    }

    #[test]
    fn a_deep_value_is_refused_on_a_workers_small_stack() {
        let bench = Bench::new();
        let deep = format!("{}{}", "[".repeat(126), "]".repeat(126));
        let text = format!("{{\"knob\":\"monotropism_depth\",\"value\":{deep}}}");
        std::thread::scope(|scope| {
            let small = std::thread::Builder::new().stack_size(crate::limits::Limits::default().worker_stack_bytes);
            let worker = small.spawn_scoped(scope, || call(&bench.memory, "profile_set", Some(&text)));
            assert_eq!(worker.unwrap().join().unwrap().unwrap()["status"], "error");
        });
    }

    #[test]
    fn an_unknown_stored_value_is_kept_and_ignored() {
        let mut bench = Bench::new();
        bench
            .sql("INSERT INTO profile VALUES ('wake_depth', '\"eternal\"'), ('later_knob', '1'), ('masking_off', '{')");
        bench.restart();
        let live = bench.ok("profile_get", json!({}))["live"].clone();
        assert_eq!(
            (&live["wake_depth"], &live["masking_off"], &live["later_knob"]),
            (&json!("minimal"), &json!(true), &json!(null))
        );
        assert_eq!(bench.row::<i64>("SELECT count(*) FROM profile WHERE ?1", 1), 3);
    }
}
