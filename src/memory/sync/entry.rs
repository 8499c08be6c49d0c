//! The entries that stores exchange: JSON objects, of one of five values of `kind`.
//!
//! Ids are 32 hexadecimal digits, times whole microseconds since 1970. Values that are absent, 0 or empty are left out,
//! except texts.

use serde_json::Value;
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::graph::links;
use crate::memory::model::record::{PROJECT_BYTES, Role, SESSION_BYTES, TEXT_BYTES, Tier};
use crate::memory::model::time::UnixMicros;
use crate::memory::params::{self, bounded_string, check_len};
use crate::memory::profile;
use crate::memory::store::knob_changes::KnobChange;
use crate::memory::store::new_record::{Draft, NewRecord};

/// Most ids, and most tags, of a record. Picked: far more than a person has machines.
const MAX_NAMES: usize = 1000;

/// Longest tag, in bytes.
const TAG_BYTES: usize = 256;

/// Largest repetition of a text in a session. Picked.
const MAX_REPETITION: i64 = 1 << 20;

/// Largest number of a knob's change. Picked: a change can follow it for ever.
const MAX_KNOB_NUMBER: i64 = 1 << 40;

/// An entry, with valid fields.
pub(crate) enum SyncEntry {
    Record(Box<SyncedRecord>),
    /// A link that somebody made.
    Link {
        from: Uuid,
        to: Uuid,
        weight: i64,
        used: i64,
    },
    /// A record was replaced.
    Contradicts {
        from: Uuid,
        to: Uuid,
        used: i64,
    },
    Forgotten {
        id: Uuid,
        at: i64,
    },
    Knob(KnobChange),
}

/// A record under all of its ids.
pub(crate) struct SyncedRecord {
    /// The draft has the tags.
    pub(crate) new: NewRecord,
    /// Sorted; at least one.
    pub(crate) ids: Vec<Uuid>,
    /// At least one.
    pub(crate) repetitions: Vec<i64>,
    pub(crate) valid_to: Option<i64>,
}

impl SyncEntry {
    /// Returns its approximate size in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            SyncEntry::Record(record) => record.new.weight() + record.ids.len() * size_of::<Uuid>(),
            SyncEntry::Knob(change) => change.value.len(),
            _ => size_of::<SyncEntry>(),
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// A message that says what is wrong with it.
    pub(crate) fn read(text: &str) -> Result<SyncEntry, CallError> {
        if !text.starts_with('{') {
            return Err(CallError::failed("an entry must be an object"));
        }
        let entry = Params::read(Some(text))?;
        match &*entry.string("kind")? {
            "record" => read_record(&entry).map(|record| SyncEntry::Record(Box::new(record))),
            "link" => Ok(SyncEntry::Link {
                from: params::id(&entry, "from")?,
                to: params::id(&entry, "to")?,
                weight: entry
                    .integer_opt("weight", 1..=links::STRONGEST)?
                    .ok_or_else(|| CallError::missing("weight"))?,
                used: time(&entry, "used")?,
            }),
            "contradicts" => Ok(SyncEntry::Contradicts {
                from: params::id(&entry, "from")?,
                to: params::id(&entry, "to")?,
                used: time(&entry, "used")?,
            }),
            "forgotten" => Ok(SyncEntry::Forgotten { id: params::id(&entry, "id")?, at: time(&entry, "at")? }),
            "knob" => {
                let value = entry.raw("value").ok_or_else(|| CallError::missing("value"))?;
                let (knob, value) = profile::accept(&entry.string("knob")?, value).map_err(CallError::failed)?;
                let number = entry.integer_or("number", 0..=MAX_KNOB_NUMBER, 0)?;
                let store = params::id(&entry, "store")?.into_bytes();
                Ok(SyncEntry::Knob(KnobChange {
                    knob,
                    store,
                    number,
                    at: time(&entry, "at")?,
                    value: value.to_string(),
                }))
            }
            _ => Err(CallError::invalid(
                "kind",
                "one of record, link, contradicts, forgotten, knob: a newer release may know it",
            )),
        }
    }
}

fn read_record(entry: &Params<'_>) -> Result<SyncedRecord, CallError> {
    let mut ids = params::ids(entry, "ids", MAX_NAMES)?;
    if ids.is_empty() {
        return Err(CallError::invalid("ids", "at least one id"));
    }
    ids.sort_unstable();
    let text = entry.string("text")?.into_owned();
    check_len("text", &text, TEXT_BYTES)?;
    let tier = Tier::named(&entry.string_or("tier", "episodic")?);
    let role = Role::named(&entry.string_or("role", "user")?);
    let tags: Vec<String> = serde_json::from_str(entry.raw("tags").unwrap_or("[]"))
        .map_err(|_| CallError::invalid("tags", "an array of strings"))?;
    if tags.len() > MAX_NAMES {
        return Err(CallError::invalid("tags", format_args!("at most {MAX_NAMES} tags")));
    }
    tags.iter().try_for_each(|tag| check_len("tags", tag, TAG_BYTES))?;
    let part = entry.integer_opt("part", 1..=i64::MAX)?;
    let parts = entry.integer_opt("parts", part.unwrap_or(1)..=i64::MAX)?;
    let ts = UnixMicros(time(entry, "ts")?);
    if !ts.is_plausible() {
        return Err(CallError::invalid("ts", "a time of the years 1900 to 2199"));
    }
    let draft = Draft {
        text,
        cue: bounded_string(entry, "cue", "", TEXT_BYTES)?,
        tier: tier.ok_or_else(|| CallError::invalid("tier", "the name of a tier"))?,
        role: role.ok_or_else(|| CallError::invalid("role", "one of user, assistant, system"))?,
        session: bounded_string(entry, "session", "", SESSION_BYTES)?,
        project: bounded_string(entry, "project", "", PROJECT_BYTES)?,
        folder: String::new(),
        ts,
        part: part.zip(parts),
        tags,
    };
    Ok(SyncedRecord {
        new: NewRecord::prepare(draft),
        ids,
        repetitions: repetitions(entry.raw("repetitions").unwrap_or("[0]"))?,
        valid_to: entry.integer_opt("valid_to", i64::MIN..=i64::MAX)?,
    })
}

fn repetitions(text: &str) -> Result<Vec<i64>, CallError> {
    let numbers: Vec<i64> = serde_json::from_str(text).unwrap_or_default();
    let is_valid = !numbers.is_empty() && numbers.len() <= MAX_NAMES;
    match is_valid && numbers.iter().all(|number| (0..=MAX_REPETITION).contains(number)) {
        true => Ok(numbers),
        false => Err(CallError::invalid("repetitions", format_args!("numbers from 0 to {MAX_REPETITION}"))),
    }
}

fn time(entry: &Params<'_>, name: &str) -> Result<i64, CallError> {
    entry.integer_opt(name, i64::MIN..=i64::MAX)?.ok_or_else(|| CallError::missing(name))
}

/// Writes one entry to a buffer.
pub(crate) struct EntryWriter<'b> {
    out: &'b mut Vec<u8>,
}

impl<'b> EntryWriter<'b> {
    /// Begins an entry of this kind.
    pub(crate) fn begin(out: &'b mut Vec<u8>, kind: &str) -> EntryWriter<'b> {
        out.extend_from_slice(b"{\"kind\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        EntryWriter { out }
    }

    fn key(&mut self, key: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        write_string(self.out, value);
    }

    pub(crate) fn number(&mut self, key: &str, value: i64) {
        self.raw(key, &value.to_string());
    }

    pub(crate) fn id(&mut self, key: &str, id: Uuid) {
        self.raw(key, &format!("\"{}\"", id.simple()));
    }

    /// Writes a value that is JSON.
    pub(crate) fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Writes an array of strings.
    pub(crate) fn list(&mut self, key: &str, values: &[String]) {
        self.key(key);
        let mut before = b'[';
        for value in values {
            self.out.push(before);
            write_string(self.out, value);
            before = b',';
        }
        self.out.push(b']');
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

fn write_string(out: &mut Vec<u8>, value: &str) {
    let text = Value::from(value).to_string();
    out.extend_from_slice(text.as_bytes());
}
