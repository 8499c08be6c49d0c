//! The rows of an export: JSON objects, of one of six values of `kind`.
//!
//! The other keys are the params of the methods that store such rows. Nulls, a `twin` of 0 and what most records have not
//! (other ids, repetitions) are left out. Ids and
//! times are strings, other numbers are numbers, and a knob's value and an event's data are the JSON in the store,
//! unchanged.

use serde::Serialize;
use serde_json::value::RawValue;

/// A row of an export.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum ExportRow<'a> {
    /// A record.
    Record(ExportedRecord<'a>),
    /// A tag of a record.
    Tag {
        /// The record's id.
        record: String,
        /// The tag.
        name: &'a str,
    },
    /// A link between two records.
    Link {
        /// The id of the record that the link leads from; of the earlier one if it is undirected.
        from: String,
        /// The id of the other record.
        to: String,
        /// The kind of link.
        relation: &'static str,
        /// The weight at its last use, in thousandths.
        weight: i64,
        /// The time of its last use.
        used: String,
    },
    /// An event.
    Event(ExportedEvent<'a>),
    /// Another name of a project.
    Alias {
        /// The other name.
        name: &'a str,
        /// The name that the project is shown by.
        project: &'a str,
        /// Who has said so: `client` or `user`.
        source: &'static str,
    },
    /// A knob of the profile that was set.
    Knob {
        /// Its name.
        knob: &'a str,
        /// Its value.
        value: &'a RawValue,
    },
}

/// A record's row.
#[derive(Debug, Serialize)]
pub(crate) struct ExportedRecord<'a> {
    pub(crate) id: String,
    /// Other ids of the record.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) other_ids: Vec<String>,
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
    /// How often the same role has said the text before in the session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) repetitions: Option<&'a RawValue>,
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
