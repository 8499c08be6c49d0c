//! The profile: the knobs by which a user sets how the assistant remembers and speaks.
//!
//! Table `profile` holds the knobs that were set. [`SharedProfile`] holds a snapshot of all knobs, typed and with the
//! results of `profile_get` rendered, so that a read needs no database. Only the writer's thread replaces the snapshot,
//! and only after the commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;
use serde_json::{Map, Number, Value, json};

use crate::memory::store::error::StoreError;
use crate::memory::store::project_filter::ProjectScope;
use crate::sort;

/// Longest value of a knob, as JSON. 16 KiB: hundreds of domains.
pub(crate) const VALUE_BYTES: usize = 16 << 10;

/// Characters of a refused value that its error quotes. Picked.
const QUOTED_CHARS: usize = 60;

/// Knobs that change nothing here; the session briefing passes them on to the assistant.
const ASSISTANT_KNOBS: [&str; 5] =
    ["dunn_quadrant", "demand_avoidance_tolerance", "masking_off", "inertia_awareness", "camouflaging_relaxation"];

/// The values that a knob accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnobKind {
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// A boolean.
    Switch,
    /// A number from 0 to 1.
    Share,
    /// An object: for each domain a number from 0 to 1.
    Shares,
}

/// A knob and its default.
pub(crate) struct Knob {
    pub(crate) name: &'static str,
    pub(crate) kind: KnobKind,
    /// The default, as JSON.
    pub(crate) default: &'static str,
}

/// All knobs, sorted by name.
pub(crate) const KNOBS: [Knob; 13] = [
    knob("camouflaging_relaxation", KnobKind::Share, "0.0"),
    knob(
        "demand_avoidance_tolerance",
        KnobKind::Choice(&["collaborative", "neutral", "imperative"]),
        "\"collaborative\"",
    ),
    knob(
        "dunn_quadrant",
        KnobKind::Choice(&["neutral", "low-registration", "seeking", "sensitive", "avoiding"]),
        "\"neutral\"",
    ),
    knob("inertia_awareness", KnobKind::Switch, "false"),
    knob("interest_boost", KnobKind::Share, "0.0"),
    knob("literal_preservation", KnobKind::Choice(&["strong", "medium", "loose"]), "\"strong\""),
    knob("masking_off", KnobKind::Switch, "true"),
    knob("monotropism_depth", KnobKind::Shares, "{}"),
    knob("project_scope", KnobKind::Choice(&["prefer", "only", "all"]), "\"prefer\""),
    knob("prompt_recall", KnobKind::Switch, "true"),
    knob("scene_construction_scaffold", KnobKind::Switch, "true"),
    knob("task_support", KnobKind::Choice(&["blank_recall", "cued_recognition"]), "\"cued_recognition\""),
    knob("wake_depth", KnobKind::Choice(&["minimal", "standard", "deep"]), "\"minimal\""),
];

impl Knob {
    fn default_value(&self) -> Value {
        serde_json::from_str(self.default).unwrap_or(Value::Null)
    }
}

const fn knob(name: &'static str, kind: KnobKind, default: &'static str) -> Knob {
    Knob { name, kind, default }
}

/// The knob `literal_preservation`: how literally quoted words of a cue are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Literalness {
    /// A verbatim cue finds episodic records only; those with the quoted words come first.
    Strong,
    /// Records with the quoted words come first, whatever their tier.
    Medium,
    /// Quoted words count as other words do, with a boost.
    Loose,
}

/// The knob `wake_depth`: how much of the briefing a session is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WakeDepth {
    Minimal,
    Standard,
    Deep,
}

impl WakeDepth {
    /// Returns the depth of this name.
    pub(crate) fn named(name: &str) -> Option<WakeDepth> {
        [WakeDepth::Minimal, WakeDepth::Standard, WakeDepth::Deep].into_iter().find(|depth| depth.name() == name)
    }

    /// Returns the name on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            WakeDepth::Minimal => "minimal",
            WakeDepth::Standard => "standard",
            WakeDepth::Deep => "deep",
        }
    }
}

/// A snapshot of the knobs.
#[derive(Debug)]
pub(crate) struct Profile {
    /// `literal_preservation`.
    pub(crate) literal: Literalness,
    /// `wake_depth`.
    pub(crate) wake_depth: WakeDepth,
    /// `scene_construction_scaffold`: hits carry `_scene_hint`.
    pub(crate) scene_hints: bool,
    /// `project_scope`: the records that a call is shown if it does not say so itself.
    pub(crate) project_scope: ProjectScope,
    /// `prompt_recall`: prompts are given the records that bear on them.
    pub(crate) prompt_recall: bool,
    /// `task_support` is `cued_recognition`: hits name adjacent records.
    pub(crate) adjacent: bool,
    /// `interest_boost`, 0 to 1.
    pub(crate) interest: f64,
    /// `monotropism_depth`: the domains with a depth over 0, at most 1, the deepest first.
    pub(crate) domains: Vec<(String, f64)>,
    /// Those of [`ASSISTANT_KNOBS`] that are not at their default, in one line, each with its value.
    pub(crate) assistant_line: String,
    /// The result of `profile_get` without a knob, as JSON.
    pub(crate) all: Vec<u8>,
    /// The result of `profile_get` for each knob, as JSON, in the order of [`KNOBS`].
    pub(crate) each: Vec<Vec<u8>>,
    live: Map<String, Value>,
}

/// The current snapshot, shared by all threads.
#[derive(Debug)]
pub(crate) struct SharedProfile {
    current: RwLock<Arc<Profile>>,
    /// How often a knob was set.
    sets: AtomicU64,
}

/// One thread's copy of the snapshot. While no knob is set, [`SharedProfile::cached`] writes to no memory that threads
/// share.
#[derive(Debug)]
pub(crate) struct ProfileCache {
    profile: Arc<Profile>,
    sets: u64,
}

impl Profile {
    fn new(live: Map<String, Value>) -> Profile {
        let text = |knob: &str| live.get(knob).and_then(Value::as_str).unwrap_or_default();
        let json = |result: Value| result.to_string().into_bytes();
        let one = |knob: &Knob| json(json!({"knob": knob.name, "value": live.get(knob.name)}));
        Profile {
            literal: match text("literal_preservation") {
                "loose" => Literalness::Loose,
                "medium" => Literalness::Medium,
                _ => Literalness::Strong,
            },
            wake_depth: WakeDepth::named(text("wake_depth")).unwrap_or(WakeDepth::Minimal),
            scene_hints: live.get("scene_construction_scaffold") == Some(&Value::Bool(true)),
            project_scope: ProjectScope::named(text("project_scope")).unwrap_or(ProjectScope::Prefer),
            prompt_recall: live.get("prompt_recall") == Some(&Value::Bool(true)),
            adjacent: text("task_support") != "blank_recall",
            interest: live.get("interest_boost").and_then(Value::as_f64).unwrap_or(0.0),
            domains: domains(&live),
            assistant_line: assistant_line(&live),
            all: json(json!({"live": &live, "deferred": {}, "total_knobs": KNOBS.len()})),
            each: KNOBS.iter().map(one).collect(),
            live,
        }
    }
}

fn domains(live: &Map<String, Value>) -> Vec<(String, f64)> {
    let depths = live.get("monotropism_depth").and_then(Value::as_object).into_iter().flatten();
    let mut domains: Vec<(String, f64)> =
        depths.filter_map(|(name, depth)| Some((name.clone(), depth.as_f64().filter(|depth| *depth > 0.0)?))).collect();
    sort::sort_by(&mut domains, |a, b| b.1.total_cmp(&a.1));
    domains
}

fn assistant_line(live: &Map<String, Value>) -> String {
    let is_set = |knob: &&Knob| ASSISTANT_KNOBS.contains(&knob.name) && live[knob.name] != knob.default_value();
    let described = |knob: &Knob| match &live[knob.name] {
        Value::String(text) => format!("{} {text}", knob.name),
        value => format!("{} {value}", knob.name),
    };
    KNOBS.iter().filter(is_set).map(described).collect::<Vec<_>>().join("; ")
}

impl SharedProfile {
    /// Loads the knobs that were set. A stored value that this release does not accept stays in the store, and the
    /// knob has its default.
    ///
    /// # Errors
    /// Any [`StoreError`] of reading table `profile`.
    pub(crate) fn load(connection: &Connection) -> Result<SharedProfile, StoreError> {
        let mut live = Map::new();
        for knob in &KNOBS {
            live.insert(knob.name.into(), knob.default_value());
        }
        let mut rows = connection.prepare("SELECT knob, value FROM profile")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (name, value): (String, String) = (row.get(0)?, row.get(1)?);
            let taken = find(&name).and_then(|knob| check(knob.kind, serde_json::from_str(&value).ok()?).ok());
            match taken {
                Some(value) => drop(live.insert(name, value)),
                None if find(&name).is_some() => {
                    log::warn!("profile: ignored the value of '{name}': this release does not accept it");
                }
                None => log::warn!("profile: ignored a knob that this release does not know"),
            }
        }
        Ok(SharedProfile { current: RwLock::new(Arc::new(Profile::new(live))), sets: AtomicU64::new(0) })
    }

    /// Loads the knobs again, after the store's whole content was replaced. Call on the writer's thread only.
    ///
    /// # Errors
    /// Any [`StoreError`] of reading table `profile`; the knobs are unchanged then.
    pub(crate) fn reload(&self, connection: &Connection) -> Result<(), StoreError> {
        let next = SharedProfile::load(connection)?.current();
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        self.sets.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Returns the current snapshot.
    pub(crate) fn current(&self) -> Arc<Profile> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the current snapshot out of this thread's `cache`, renewing the cache if a knob was set since.
    pub(crate) fn cached<'c>(&self, cache: &'c mut Option<ProfileCache>) -> &'c Profile {
        let sets = self.sets.load(Ordering::Acquire);
        let cache = match cache.take() {
            Some(known) if known.sets == sets => cache.insert(known),
            // The count is read before the snapshot: a knob set in between makes the next call read again.
            _ => cache.insert(ProfileCache { profile: self.current(), sets }),
        };
        &cache.profile
    }

    /// Publishes a knob's value. Call on the writer's thread only, after the commit.
    pub(crate) fn set(&self, knob: &str, value: Value) {
        let mut live = self.current().live.clone();
        live.insert(knob.to_owned(), value);
        let next = Arc::new(Profile::new(live));
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        self.sets.fetch_add(1, Ordering::Release);
    }
}

/// Returns the knob of this name and the value to store. `text` is JSON.
///
/// # Errors
/// The reason of the refusal: an unknown knob, over [`VALUE_BYTES`], malformed JSON, or a value that the knob does not
/// accept.
pub(crate) fn accept(name: &str, text: &str) -> Result<(&'static str, Value), String> {
    let knob = find(name).ok_or("unknown knob")?;
    if text.len() > VALUE_BYTES {
        return Err(format!("the value has {} bytes of JSON, at most {VALUE_BYTES} are kept", text.len()));
    }
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok((knob.name, check(knob.kind, value)?))
}

/// Returns the knob of this name.
pub(crate) fn find(name: &str) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.name == name)
}

/// Returns the value to store; numbers become floats.
///
/// # Errors
/// The reason of the refusal, where a knob of this kind does not accept the value.
pub(crate) fn check(kind: KnobKind, value: Value) -> Result<Value, String> {
    match (kind, value) {
        (KnobKind::Choice(names), Value::String(name)) if names.contains(&name.as_str()) => Ok(Value::String(name)),
        (KnobKind::Choice(names), value) => Err(format!("{} is none of {}", short(&value), names.join(", "))),
        (KnobKind::Switch, Value::Bool(on)) => Ok(Value::Bool(on)),
        (KnobKind::Switch, value) => Err(format!("{} is neither true nor false", short(&value))),
        (KnobKind::Share, value) => share(&value),
        (KnobKind::Shares, Value::Object(mut map)) => {
            for (domain, value) in &mut map {
                *value = share(value).map_err(|reason| format!("'{domain}': {reason}"))?;
            }
            Ok(Value::Object(map))
        }
        (KnobKind::Shares, value) => Err(format!("{} is no object of domains and numbers", short(&value))),
    }
}

fn share(value: &Value) -> Result<Value, String> {
    let number = value.as_f64().filter(|n| (0.0..=1.0).contains(n)).and_then(Number::from_f64);
    number.map(Value::Number).ok_or_else(|| format!("{} is no number from 0 to 1", short(value)))
}

/// Returns the value as JSON, cut to [`QUOTED_CHARS`].
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Returns the kind as the `schema` of a refusal.
pub(crate) fn schema(kind: KnobKind) -> String {
    match kind {
        KnobKind::Choice(names) => format!("enum:{}", names.join("|")),
        KnobKind::Switch => "bool".into(),
        KnobKind::Share => "float_range:0.0..1.0".into(),
        KnobKind::Shares => "dict:str:float_range:0.0..1.0".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::test_support::Bench;

    #[test]
    fn typed_fields_have_the_defaults_and_follow_each_set() {
        let bench = Bench::new();
        let typed = |bench: &Bench| {
            let now = bench.memory.profiles.current();
            (now.literal, now.wake_depth, now.scene_hints, now.adjacent, now.interest, now.domains.clone())
        };
        let unset = (Literalness::Strong, WakeDepth::Minimal, true, true, 0.0, Vec::new());
        assert_eq!(typed(&bench), unset);
        for (knob, value) in [
            ("literal_preservation", json!("loose")),
            ("wake_depth", json!("deep")),
            ("scene_construction_scaffold", json!(false)),
            ("task_support", json!("blank_recall")),
            ("interest_boost", json!(0.5)),
            ("monotropism_depth", json!({"boats": 0.2, "none": 0, "trains": 1})),
            ("masking_off", json!(false)),
        ] {
            assert_eq!(bench.ok("profile_set", json!({"knob": knob, "value": value}))["status"], "ok");
        }
        let domains = vec![("trains".to_owned(), 1.0), ("boats".to_owned(), 0.2)];
        assert_eq!(typed(&bench), (Literalness::Loose, WakeDepth::Deep, false, false, 0.5, domains));
        bench.ok("profile_set", json!({"knob": "dunn_quadrant", "value": "seeking"}));
        assert_eq!(bench.memory.profiles.current().assistant_line, "dunn_quadrant seeking; masking_off false");
    }
}
