//! Rows for `store_import`, made from texts of other programs. Pure.

use serde::Serialize;
use serde_json::value::RawValue;

use super::assistant::Assistant;
use super::origin::TurnOrigin;
use super::pieces::pieces;

/// Longest text of a record; `memory_capture` has the same limit.
pub const MAX_TEXT_BYTES: usize = 64 << 10;

/// The fields of a record beside its text. For a missing field the daemon uses its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordMetadata<'a> {
    /// `user`, `assistant` or `system`.
    pub role: &'static str,
    /// The tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<&'static str>,
    /// The session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<&'a str>,
    /// The folder or project name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<&'a str>,
    /// The time, in ISO 8601.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ts: Option<&'a str>,
    /// Additional text that the record is found by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cue: Option<&'a str>,
    /// By what the daemon recognizes the turn, and the assistant, if it is one of a transcript.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "turn_as_json")]
    pub turn: Option<(&'a TurnOrigin, Option<Assistant>)>,
}

/// The key `turn` of a row, which the daemon reads.
#[derive(Serialize)]
struct TurnRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    parents: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    assistant: Option<&'static str>,
}

/// Returns the value of the key `turn`, for rows and the lines of deferred captures.
pub fn turn_json(origin: &TurnOrigin, assistant: Assistant) -> serde_json::Value {
    serde_json::to_value(turn_row((origin, Some(assistant)))).unwrap_or_default()
}

fn turn_row((origin, assistant): (&TurnOrigin, Option<Assistant>)) -> TurnRow<'_> {
    let source = origin.source.name();
    TurnRow { id: origin.id.as_deref(), parents: &origin.parents, source, assistant: assistant.map(Assistant::name) }
}

fn turn_as_json<S: serde::Serializer>(
    turn: &Option<(&TurnOrigin, Option<Assistant>)>,
    to: S,
) -> Result<S::Ok, S::Error> {
    turn.map(turn_row).serialize(to)
}

#[derive(Serialize)]
struct Record<'a> {
    kind: &'static str,
    #[serde(flatten)]
    about: &'a RecordMetadata<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<usize>,
    text: &'a str,
}

/// Appends the record of a text to `rows`, or one record per piece if it is longer than [`MAX_TEXT_BYTES`].
pub fn records(text: &str, about: &RecordMetadata<'_>, rows: &mut Vec<Box<RawValue>>) {
    let pieces = pieces(text, MAX_TEXT_BYTES);
    let parts = (pieces.len() > 1).then_some(pieces.len());
    for (at, text) in pieces.into_iter().enumerate() {
        let record = Record { kind: "record", about, part: parts.map(|_| at + 1), parts, text };
        // Strings and numbers always serialize, so nothing is lost.
        rows.extend(serde_json::value::to_raw_value(&record));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn a_long_text_becomes_several_records() {
        let text = format!("{}\n{}", "a".repeat(65_000), "b".repeat(65_536));
        let mut rows = Vec::new();
        records(&text, &RecordMetadata { role: "user", ..RecordMetadata::default() }, &mut rows);
        let rows: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row.get()).unwrap()).collect();
        assert_eq!(rows.iter().map(|row| row["text"].as_str().unwrap()).collect::<String>(), text);
        let numbers: Vec<_> = rows.iter().map(|row| (row["part"].as_i64(), row["parts"].as_i64())).collect();
        assert_eq!(numbers, [(Some(1), Some(2)), (Some(2), Some(2))]);
    }
}
