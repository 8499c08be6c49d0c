//! `profile_get` and `profile_set`: eleven knobs by which a user says how the assistant should
//! remember and speak.
//!
//! The store has what was set; a snapshot in memory, with all answers ready made, is what is read. Only
//! the writer's thread changes the snapshot, and only after the commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;
use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use crate::dispatch::{CallError, LateReply, Params, Reply};
use crate::memory::store::error::Fault;
use crate::memory::store::writer::{Group, Job, Writer};

/// Longest value of a knob, as JSON. 16 KiB: hundreds of domains.
const VALUE_BYTES: usize = 16 << 10;

/// What a knob may be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Choice(&'static [&'static str]),
    Switch,
    /// A number from 0 to 1.
    Share,
    /// Domains, and a share for each.
    Shares,
}

struct Knob {
    name: &'static str,
    kind: Kind,
    /// The default, as JSON.
    default: &'static str,
}

/// Sorted by name.
const KNOBS: [Knob; 11] = [
    knob("camouflaging_relaxation", Kind::Share, "0.0"),
    knob("demand_avoidance_tolerance", Kind::Choice(&["collaborative", "neutral", "imperative"]), "\"collaborative\""),
    knob(
        "dunn_quadrant",
        Kind::Choice(&["neutral", "low-registration", "seeking", "sensitive", "avoiding"]),
        "\"neutral\"",
    ),
    knob("inertia_awareness", Kind::Switch, "false"),
    knob("interest_boost", Kind::Share, "0.0"),
    knob("literal_preservation", Kind::Choice(&["strong", "medium", "loose"]), "\"strong\""),
    knob("masking_off", Kind::Switch, "true"),
    knob("monotropism_depth", Kind::Shares, "{}"),
    knob("scene_construction_scaffold", Kind::Switch, "true"),
    knob("task_support", Kind::Choice(&["blank_recall", "cued_recognition"]), "\"cued_recognition\""),
    knob("wake_depth", Kind::Choice(&["minimal", "standard", "deep"]), "\"minimal\""),
];

const fn knob(name: &'static str, kind: Kind, default: &'static str) -> Knob {
    Knob { name, kind, default }
}

/// The knobs at one moment.
#[derive(Debug)]
pub(crate) struct Profile {
    live: Map<String, Value>,
    /// The result of `profile_get` without a knob.
    all: Vec<u8>,
    /// The result of each knob, in the order of [`KNOBS`].
    each: Vec<Vec<u8>>,
}

/// The knobs as they are now, for many readers.
#[derive(Debug)]
pub(crate) struct Profiles {
    current: RwLock<Arc<Profile>>,
    /// How often one was set.
    sets: AtomicU64,
}

/// The knobs as one thread has seen them last. As long as nobody sets one, threads that ask all the time write to
/// nothing that others read.
#[derive(Debug)]
pub(crate) struct Seen {
    profile: Arc<Profile>,
    sets: u64,
}

impl Profile {
    fn new(live: Map<String, Value>) -> Profile {
        let text = |result: Value| result.to_string().into_bytes();
        let one = |knob: &Knob| text(json!({"knob": knob.name, "value": live.get(knob.name)}));
        Profile {
            all: text(json!({"live": &live, "deferred": {}, "total_knobs": KNOBS.len()})),
            each: KNOBS.iter().map(one).collect(),
            live,
        }
    }

    /// The value of a knob, or null where there is none of this name.
    pub(crate) fn value(&self, name: &str) -> &Value {
        self.live.get(name).unwrap_or(&Value::Null)
    }
}

impl Profiles {
    /// Reads what was set from the store. A value that this release cannot take is left in the store and
    /// its default used.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(crate) fn load(connection: &Connection) -> Result<Profiles, Fault> {
        let default = |knob: &Knob| serde_json::from_str(knob.default).unwrap_or(Value::Null);
        let mut live: Map<String, Value> = KNOBS.iter().map(|knob| (knob.name.into(), default(knob))).collect();
        let mut rows = connection.prepare("SELECT knob, value FROM profile")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (name, value): (String, String) = (row.get(0)?, row.get(1)?);
            let taken = find(&name).and_then(|knob| check(knob.kind, serde_json::from_str(&value).ok()?).ok());
            match taken {
                Some(value) => drop(live.insert(name, value)),
                None => log::warn!("the store's profile has '{name}' set to {value}, which is unknown here"),
            }
        }
        Ok(Profiles { current: RwLock::new(Arc::new(Profile::new(live))), sets: AtomicU64::new(0) })
    }

    /// The knobs as they are now.
    pub(crate) fn current(&self) -> Arc<Profile> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As [`Profiles::current`], for a thread that has `seen` them before.
    pub(crate) fn look<'s>(&self, seen: &'s mut Option<Seen>) -> &'s Profile {
        let sets = self.sets.load(Ordering::Acquire);
        let seen = match seen.take() {
            Some(known) if known.sets == sets => seen.insert(known),
            // Counted before it is read: one that is set meanwhile is read again.
            _ => seen.insert(Seen { profile: self.current(), sets }),
        };
        &seen.profile
    }

    /// Makes a value known that was committed. On the writer's thread alone.
    pub(crate) fn set(&self, knob: &str, value: Value) {
        let mut live = self.current().live.clone();
        live.insert(knob.to_owned(), value);
        let next = Arc::new(Profile::new(live));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        self.sets.fetch_add(1, Ordering::Release);
    }
}

/// Answers `profile_get`, without the database.
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

/// Answers `profile_set`: at once if it is refused, else after the commit.
pub(crate) fn profile_set(profiles: &Arc<Profiles>, writer: &Writer, params: &Params<'_>, reply: Reply<'_>) {
    match read(params) {
        Ok(Ok((knob, value))) => {
            writer.submit(Box::new(Set { profiles: profiles.clone(), knob, value, reply: reply.later() }))
        }
        Ok(Err(refused)) => reply.send(Ok(refused)),
        Err(error) => reply.send::<()>(Err(error)),
    }
}

#[derive(Serialize)]
struct Refused {
    status: &'static str,
    reason: String,
    knob: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
}

fn read(params: &Params<'_>) -> Result<Result<(&'static str, Value), Refused>, CallError> {
    let name = params.string("knob")?;
    let text = params.raw("value").ok_or_else(|| CallError::missing("value"))?;
    let Some(knob) = find(&name) else {
        let reason = "unknown knob".into();
        return Ok(Err(Refused { status: "error", reason, knob: name.into_owned(), schema: None }));
    };
    let value = if text.len() > VALUE_BYTES {
        Err(format!("the value has {} bytes of JSON, at most {VALUE_BYTES} are kept", text.len()))
    } else {
        let value = serde_json::from_str(text).map_err(|error| CallError::invalid("value", error))?;
        check(knob.kind, value)
    };
    Ok(value.map(|value| (knob.name, value)).map_err(|reason| Refused {
        status: "error",
        reason,
        knob: knob.name.into(),
        schema: Some(schema(knob.kind)),
    }))
}

/// The knob of this name and its value as it is kept, or why it is refused. `text` is JSON.
pub(crate) fn accept(name: &str, text: &str) -> Result<(&'static str, Value), String> {
    let knob = find(name).ok_or("unknown knob")?;
    if text.len() > VALUE_BYTES {
        return Err(format!("the value has {} bytes of JSON, at most {VALUE_BYTES} are kept", text.len()));
    }
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok((knob.name, check(knob.kind, value)?))
}

fn find(name: &str) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.name == name)
}

/// The value as it is kept, or why it is refused.
fn check(kind: Kind, value: Value) -> Result<Value, String> {
    match (kind, value) {
        (Kind::Choice(names), Value::String(name)) if names.contains(&name.as_str()) => Ok(Value::String(name)),
        (Kind::Choice(names), value) => Err(format!("{} is none of {}", short(&value), names.join(", "))),
        (Kind::Switch, Value::Bool(on)) => Ok(Value::Bool(on)),
        (Kind::Switch, value) => Err(format!("{} is neither true nor false", short(&value))),
        (Kind::Share, value) => share(&value),
        (Kind::Shares, Value::Object(map)) => map
            .into_iter()
            .map(|(domain, value)| match share(&value) {
                Ok(share) => Ok((domain, share)),
                Err(reason) => Err(format!("'{domain}': {reason}")),
            })
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        (Kind::Shares, value) => Err(format!("{} is no object of domains and numbers", short(&value))),
    }
}

fn share(value: &Value) -> Result<Value, String> {
    let number = value.as_f64().filter(|n| (0.0..=1.0).contains(n)).and_then(Number::from_f64);
    number.map(Value::Number).ok_or_else(|| format!("{} is no number from 0 to 1", short(value)))
}

/// A value in a sentence: its first characters tell enough.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn schema(kind: Kind) -> String {
    match kind {
        Kind::Choice(names) => format!("enum:{}", names.join("|")),
        Kind::Switch => "bool".into(),
        Kind::Share => "float_range:0.0..1.0".into(),
        Kind::Shares => "dict:str:float_range:0.0..1.0".into(),
    }
}

struct Set {
    profiles: Arc<Profiles>,
    knob: &'static str,
    value: Value,
    reply: LateReply,
}

impl Job for Set {
    fn weight(&self) -> usize {
        size_of::<Set>() + VALUE_BYTES
    }

    fn run(&mut self, group: &mut Group<'_>) -> Result<(), CallError> {
        let sql = "INSERT INTO profile (knob, value) VALUES (?1, ?2)
                   ON CONFLICT (knob) DO UPDATE SET value = excluded.value";
        group.connection.prepare_cached(sql)?.execute((self.knob, self.value.to_string()))?;
        Ok(())
    }

    fn done(self: Box<Self>, outcome: Result<(), CallError>) {
        let Set { profiles, knob, value, reply } = *self;
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
            "monotropism_depth": {}, "scene_construction_scaffold": true, "task_support": "cued_recognition",
            "wake_depth": "minimal"}, "deferred": {}, "total_knobs": 11});
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
    fn what_was_set_is_read_at_once_and_after_a_restart() {
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
    fn what_does_not_fit_is_refused_with_the_schema() {
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
    fn a_stored_value_that_is_unknown_here_is_left_and_passed_over() {
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
