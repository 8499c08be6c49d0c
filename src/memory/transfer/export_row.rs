//! A row as it leaves: one JSON object, whose `kind` says which of five it is.
//!
//! Its other keys are those of the calls that put such things in. What is null, and a `twin` of 0, is
//! left out. Ids and times are text, other numbers are numbers, and a knob's value and an event's data
//! are the JSON that the store has, as it is.

use serde::Serialize;
use serde_json::value::RawValue;

/// A row.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum ExportRow<'a> {
    /// A record.
    Record(ExportedRecord<'a>),
    /// What a record is beside its tier.
    Tag {
        /// The record's id.
        record: String,
        /// The tag.
        name: &'a str,
    },
    /// What binds two records.
    Link {
        /// The id of the one it leads from, or of the earlier one.
        from: String,
        /// The id of the other one.
        to: String,
        /// What binds them.
        relation: &'static str,
        /// In thousandths, at its last use.
        weight: i64,
        /// Its last use.
        used: String,
    },
    /// Something that happened.
    Event(ExportedEvent<'a>),
    /// A setting that was changed.
    Knob {
        /// Its name.
        knob: &'a str,
        /// What it was set to.
        value: &'a RawValue,
    },
}

/// A record's row.
#[derive(Debug, Serialize)]
pub(crate) struct ExportedRecord<'a> {
    pub(crate) id: String,
    pub(crate) ts: String,
    pub(crate) tier: &'static str,
    pub(crate) role: &'static str,
    pub(crate) session_id: &'a str,
    pub(crate) project: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) part: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parts: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) valid_to: Option<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) twin: i64,
    pub(crate) cue: &'a str,
    pub(crate) text: &'a str,
}

/// An event's row.
#[derive(Debug, Serialize)]
pub(crate) struct ExportedEvent<'a> {
    pub(crate) id: String,
    pub(crate) ts: String,
    pub(crate) event: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) severity: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain: Option<&'a str>,
    pub(crate) session_id: &'a str,
    pub(crate) sources: &'a RawValue,
    pub(crate) data: &'a RawValue,
}

fn is_zero(number: &i64) -> bool {
    *number == 0
}
