//! `profile_get` and `profile_set`: eleven knobs by which a user says how the assistant should
//! remember and speak.
//!
//! The store has what was set; a snapshot in memory, with all answers ready made, is what is read. Only
//! the writer's thread changes the snapshot, and only after the commit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;
use serde_json::{Map, Number, Value, json};

use crate::memory::store::error::StoreError;

/// Longest value of a knob, as JSON. 16 KiB: hundreds of domains.
pub(crate) const VALUE_BYTES: usize = 16 << 10;

/// What a knob may be set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnobKind {
    Choice(&'static [&'static str]),
    Switch,
    /// A number from 0 to 1.
    Share,
    /// Domains, and a share for each.
    Shares,
}

pub(crate) struct Knob {
    pub(crate) name: &'static str,
    pub(crate) kind: KnobKind,
    /// The default, as JSON.
    pub(crate) default: &'static str,
}

/// Sorted by name.
pub(crate) const KNOBS: [Knob; 11] = [
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
    knob("scene_construction_scaffold", KnobKind::Switch, "true"),
    knob("task_support", KnobKind::Choice(&["blank_recall", "cued_recognition"]), "\"cued_recognition\""),
    knob("wake_depth", KnobKind::Choice(&["minimal", "standard", "deep"]), "\"minimal\""),
];

const fn knob(name: &'static str, kind: KnobKind, default: &'static str) -> Knob {
    Knob { name, kind, default }
}

/// The knobs at one moment.
#[derive(Debug)]
pub(crate) struct Profile {
    live: Map<String, Value>,
    /// The result of `profile_get` without a knob.
    pub(crate) all: Vec<u8>,
    /// The result of each knob, in the order of [`KNOBS`].
    pub(crate) each: Vec<Vec<u8>>,
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
    /// See [`StoreError`].
    pub(crate) fn load(connection: &Connection) -> Result<Profiles, StoreError> {
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

/// The knob of this name and its value as it is kept, or why it is refused. `text` is JSON.
pub(crate) fn accept(name: &str, text: &str) -> Result<(&'static str, Value), String> {
    let knob = find(name).ok_or("unknown knob")?;
    if text.len() > VALUE_BYTES {
        return Err(format!("the value has {} bytes of JSON, at most {VALUE_BYTES} are kept", text.len()));
    }
    let value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok((knob.name, check(knob.kind, value)?))
}

pub(crate) fn find(name: &str) -> Option<&'static Knob> {
    KNOBS.iter().find(|knob| knob.name == name)
}

/// The value as it is kept, or why it is refused.
pub(crate) fn check(kind: KnobKind, value: Value) -> Result<Value, String> {
    match (kind, value) {
        (KnobKind::Choice(names), Value::String(name)) if names.contains(&name.as_str()) => Ok(Value::String(name)),
        (KnobKind::Choice(names), value) => Err(format!("{} is none of {}", short(&value), names.join(", "))),
        (KnobKind::Switch, Value::Bool(on)) => Ok(Value::Bool(on)),
        (KnobKind::Switch, value) => Err(format!("{} is neither true nor false", short(&value))),
        (KnobKind::Share, value) => share(&value),
        (KnobKind::Shares, Value::Object(map)) => map
            .into_iter()
            .map(|(domain, value)| match share(&value) {
                Ok(share) => Ok((domain, share)),
                Err(reason) => Err(format!("'{domain}': {reason}")),
            })
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        (KnobKind::Shares, value) => Err(format!("{} is no object of domains and numbers", short(&value))),
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

pub(crate) fn schema(kind: KnobKind) -> String {
    match kind {
        KnobKind::Choice(names) => format!("enum:{}", names.join("|")),
        KnobKind::Switch => "bool".into(),
        KnobKind::Share => "float_range:0.0..1.0".into(),
        KnobKind::Shares => "dict:str:float_range:0.0..1.0".into(),
    }
}
