//! Rows on their way in: `store_import`'s records, as other programs' formats become them.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::memory::pieces;

/// Longest text of a record, in bytes (MEMORY.md, `memory_capture`).
const TEXT_BYTES: usize = 64 << 10;

/// What is said about a text. What is not given is the daemon's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct About<'a> {
    pub(super) role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ts: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cue: Option<&'a str>,
}

#[derive(Serialize)]
struct Record<'a> {
    kind: &'static str,
    #[serde(flatten)]
    about: &'a About<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    text: &'a str,
}

/// The records that a text becomes: one, or one a piece.
pub(super) fn records(text: &str, about: &About<'_>, rows: &mut Vec<Box<RawValue>>) {
    let pieces = pieces(text, TEXT_BYTES);
    let parts = (pieces.len() > 1).then_some(pieces.len());
    for (at, text) in pieces.into_iter().enumerate() {
        let record = Record { kind: "record", about, part: parts.map(|_| at + 1), parts, text };
        // Strings and numbers always have a JSON form.
        rows.extend(serde_json::value::to_raw_value(&record));
    }
}
