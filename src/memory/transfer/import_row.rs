//! The rows of an import: parsed, checked and prepared for the writer, on a worker and without the database.
//! `import.rs` checks that the records that a row refers to exist.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::dispatch::{CallError, Params};
use crate::memory::graph::links::{self, LinkKind};
use crate::memory::ingest::capture_params::{parse_part, parse_ts};
use crate::memory::ingest::masked_text;
use crate::memory::ingest::turn::TurnKey;
use crate::memory::model::record::{PROJECT_BYTES, Role, SESSION_BYTES, TEXT_BYTES, Tier};
use crate::memory::model::time::{DateBound, UnixMicros};
use crate::memory::params::{self, bounded_string, check_len};
use crate::memory::profile;
use crate::memory::store::new_record::{Draft, NewRecord};
use crate::memory::store::projects::AliasSource;

/// Longest name of a tag or of a kind of event, in bytes. Picked.
const NAME_BYTES: usize = 256;

/// Longest data and longest list of sources of an event, in bytes of JSON: the longest text.
const JSON_BYTES: usize = TEXT_BYTES;

/// Largest number that distinguishes valid records with one fingerprint. Picked: more than accidental collisions can
/// reach.
const MAX_TWIN: i64 = 1 << 20;

/// Most other ids of a record. Picked: more than a person has machines.
const MAX_OTHER_IDS: usize = 1000;

/// A row of an import, with valid fields.
pub(crate) enum ImportRow {
    Record(Box<ImportedRecord>),
    Tag { record: Uuid, name: String },
    Link { from: Uuid, to: Uuid, kind: LinkKind, weight: i64, used: UnixMicros },
    Event(Box<ImportedEvent>),
    Alias { name: String, project: String, source: AliasSource },
    Knob { knob: &'static str, value: Value },
}

pub(crate) struct ImportedRecord {
    pub(crate) new: NewRecord,
    pub(crate) id: Option<Uuid>,
    /// Other ids of the record.
    pub(crate) other_ids: Vec<Uuid>,
    pub(crate) valid_to: Option<UnixMicros>,
    pub(crate) twin: i64,
    /// Its turn, if it is one of a conversation.
    pub(crate) turn: Option<TurnKey>,
}

pub(crate) struct ImportedEvent {
    pub(crate) id: Uuid,
    pub(crate) ts: UnixMicros,
    pub(crate) kind: String,
    pub(crate) severity: Option<String>,
    pub(crate) domain: Option<String>,
    pub(crate) session: String,
    pub(crate) sources: String,
    pub(crate) data: String,
}

impl ImportRow {
    /// Returns its approximate size in memory, in bytes.
    pub(crate) fn weight(&self) -> usize {
        size_of::<ImportRow>()
            + match self {
                ImportRow::Record(record) => record.new.weight(),
                ImportRow::Event(event) => event.data.len() + event.sources.len() + NAME_BYTES,
                ImportRow::Alias { name, project, .. } => name.len() + project.len(),
                ImportRow::Tag { .. } | ImportRow::Link { .. } | ImportRow::Knob { .. } => NAME_BYTES,
            }
    }
}

/// Parses a row. `now` is the time of a record without one.
///
/// # Errors
/// A message that says what is wrong with it.
pub(crate) fn read_row(row: &str, now: UnixMicros) -> Result<ImportRow, CallError> {
    if !row.starts_with('{') {
        return Err(CallError::failed("a row must be an object"));
    }
    let row = Params::read(Some(row))?;
    match &*row.string("kind")? {
        "record" => read_record(&row, now).map(|record| ImportRow::Record(Box::new(record))),
        "tag" => {
            let name = required(&row, "name", NAME_BYTES)?;
            Ok(ImportRow::Tag { record: params::id(&row, "record")?, name })
        }
        "link" => read_link(&row),
        "event" => read_event(&row).map(|event| ImportRow::Event(Box::new(event))),
        "knob" => {
            let value = row.raw("value").ok_or_else(|| CallError::missing("value"))?;
            let (knob, value) = profile::accept(&row.string("knob")?, value).map_err(CallError::failed)?;
            Ok(ImportRow::Knob { knob, value })
        }
        "alias" => {
            let source = row.string_or("source", "user")?;
            Ok(ImportRow::Alias {
                name: required(&row, "name", PROJECT_BYTES)?,
                project: required(&row, "project", PROJECT_BYTES)?,
                source: AliasSource::named(&source)
                    .ok_or_else(|| CallError::invalid("source", "one of client, user"))?,
            })
        }
        _ => Err(CallError::invalid("kind", "one of record, tag, link, event, alias, knob")),
    }
}

fn read_record(row: &Params<'_>, now: UnixMicros) -> Result<ImportedRecord, CallError> {
    let tier = Tier::named(&row.string_or("tier", "episodic")?)
        .ok_or_else(|| CallError::invalid("tier", "one of working, episodic, semantic, procedural, parametric"))?;
    let role = Role::named(&row.string_or("role", "user")?)
        .ok_or_else(|| CallError::invalid("role", "one of user, assistant, system"))?;
    let ts = parse_ts(row)?;
    let draft = Draft {
        text: required(row, "text", TEXT_BYTES)?,
        cue: bounded_string(row, "cue", "", TEXT_BYTES)?,
        tier,
        role,
        session: bounded_string(row, "session_id", "-", SESSION_BYTES)?,
        project: bounded_string(row, "project", "", PROJECT_BYTES)?,
        folder: bounded_string(row, "project_folder", "", PROJECT_BYTES)?,
        ts: ts.unwrap_or(now),
        part: parse_part(row)?,
        tags: Vec::new(),
    };
    let id = row.string_opt("id")?.map(|_| params::id(row, "id")).transpose()?;
    let valid_to = params::time(row, "valid_to", DateBound::Start)?;
    let twin = row.integer_or("twin", 0..=MAX_TWIN, 0)?;
    let turn = TurnKey::parse(row)?;
    let mut new = NewRecord::prepare(draft);
    new.masked = masked_text::parse(row)?;
    new.has_ts = ts.is_some();
    if let Some(list) = row.raw("repetitions").filter(|list| *list != "null") {
        let is_valid = |numbers: &Vec<i64>| numbers.iter().all(|number| (0..=MAX_TWIN).contains(number));
        new.repetitions = serde_json::from_str(list)
            .ok()
            .filter(is_valid)
            .ok_or_else(|| CallError::invalid("repetitions", format_args!("numbers from 0 to {MAX_TWIN}")))?;
    }
    let other_ids = match row.raw("other_ids") {
        Some(list) if id.is_some() && list != "null" => params::ids(row, "other_ids", MAX_OTHER_IDS)?,
        _ => Vec::new(),
    };
    Ok(ImportedRecord { new, id, other_ids, valid_to, twin, turn })
}

fn read_link(row: &Params<'_>) -> Result<ImportRow, CallError> {
    let (from, to) = (params::id(row, "from")?, params::id(row, "to")?);
    if from == to {
        return Err(CallError::invalid("to", "another record than 'from'"));
    }
    let kind = LinkKind::named(&row.string("relation")?)
        .ok_or_else(|| CallError::invalid("relation", "one of associated, reinforced, contradicts, evidence"))?;
    let weight = row.integer_opt("weight", 1..=links::STRONGEST)?.ok_or_else(|| CallError::missing("weight"))?;
    let used = params::time(row, "used", DateBound::Start)?.ok_or_else(|| CallError::missing("used"))?;
    Ok(ImportRow::Link { from, to, kind, weight, used })
}

fn read_event(row: &Params<'_>) -> Result<ImportedEvent, CallError> {
    let severity = row.string_opt("severity")?.map(String::from);
    if severity.as_deref().is_some_and(|name| !matches!(name, "info" | "warning" | "critical")) {
        return Err(CallError::invalid("severity", "one of info, warning, critical"));
    }
    let domain = row.string_opt("domain")?.map(String::from);
    check_len("domain", domain.as_deref().unwrap_or_default(), PROJECT_BYTES)?;
    Ok(ImportedEvent {
        id: params::id(row, "id")?,
        ts: params::time(row, "ts", DateBound::Start)?.ok_or_else(|| CallError::missing("ts"))?,
        kind: required(row, "event", NAME_BYTES)?,
        severity,
        domain,
        session: bounded_string(row, "session_id", "-", SESSION_BYTES)?,
        sources: json::<Vec<String>>(row, "sources", "an array of strings", "[]")?,
        data: json::<Map<String, Value>>(row, "data", "an object of valid Unicode", "{}")?,
    })
}

/// Returns the required string, which must not be empty.
fn required(row: &Params<'_>, name: &str, limit: usize) -> Result<String, CallError> {
    let value = row.string(name)?;
    if value.is_empty() {
        return Err(CallError::invalid(name, "a string that is not empty"));
    }
    check_len(name, &value, limit)?;
    Ok(value.into_owned())
}

/// Returns the JSON text of a value, which must be of type `T`.
fn json<T: DeserializeOwned>(
    row: &Params<'_>,
    name: &str,
    expected: &'static str,
    default: &str,
) -> Result<String, CallError> {
    let text = row.raw(name).unwrap_or(default);
    check_len(name, text, JSON_BYTES)?;
    serde_json::from_str::<T>(text).map_err(|_| CallError::invalid(name, expected))?;
    Ok(text.to_owned())
}
