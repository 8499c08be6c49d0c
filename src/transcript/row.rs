//! Rows for `store_import`, made from texts of other programs. Pure.
//!
//! Every text of a hook and of an import becomes a record here, or a line of deferred captures through [`stored_pieces`]:
//! so this is where secrets are masked and private parts removed.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::assistant::Assistant;
use super::origin::TurnOrigin;
use super::pieces::pieces;
use crate::fingerprint;
use crate::secrets::{self, MaskedText};

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
    /// The folder in the project, if that is a repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project_folder: Option<&'a str>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    masked: Option<MaskedRow>,
    text: &'a str,
}

/// The key `masked` of a row and of a line of deferred captures: its text is not what was said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MaskedRow {
    /// The kinds of the masked secrets. Empty if only private text was removed.
    pub kinds: Vec<&'static str>,
    /// The fingerprint, in hexadecimal digits, of the record that the text would have been unmasked, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub was: Option<String>,
}

/// A text that is stored as one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPiece<'t> {
    /// The text, at most [`MAX_TEXT_BYTES`].
    pub text: Cow<'t, str>,
    /// What was done to it, if it was changed.
    pub masked: Option<MaskedRow>,
}

/// Splits a text into pieces without secrets and private parts, each short enough for a record. Returns none if all of
/// the text is private.
pub fn stored_pieces<'t>(text: &'t str, role: &str, session: Option<&str>) -> Vec<StoredPiece<'t>> {
    let whole = pieces(text, MAX_TEXT_BYTES);
    let mut ends = Vec::with_capacity(whole.len());
    whole.iter().for_each(|piece| ends.push(ends.last().unwrap_or(&0) + piece.len()));
    let plain = |text| StoredPiece { text: Cow::Borrowed(text), masked: None };
    let Some(changed) = secrets::masked_pieces(text, &ends) else {
        return whole.into_iter().map(plain).collect();
    };
    let mut stored = Vec::with_capacity(whole.len());
    for (said, changed) in whole.into_iter().zip(changed) {
        let Some(MaskedText { text, kinds, .. }) = changed else {
            stored.push(plain(said));
            continue;
        };
        let role = match role {
            "user" => 0,
            "assistant" => 1,
            _ => 2,
        };
        let was = u128::from_be_bytes(fingerprint::of(session.unwrap_or("-"), role, said));
        let masked = MaskedRow { kinds, was: Some(format!("{was:032x}")) };
        match text.len() {
            0 => {}
            1..=MAX_TEXT_BYTES => stored.push(StoredPiece { text: Cow::Owned(text), masked: Some(masked) }),
            // Masks may be longer than what they replace. Such a record is not recognized if it was stored unmasked.
            _ => {
                let mut masked = Some(MaskedRow { was: None, ..masked });
                let pieces = pieces(&text, MAX_TEXT_BYTES).into_iter().map(str::to_owned);
                stored.extend(pieces.map(|text| StoredPiece { text: Cow::Owned(text), masked: masked.take() }));
            }
        }
    }
    stored
}

/// Returns a cue without secrets and private parts; `None` if nothing is left.
pub fn stored_cue(cue: Option<&str>) -> Option<Cow<'_, str>> {
    let cue = cue.map(|cue| secrets::masked(cue).map_or(Cow::Borrowed(cue), |masked| Cow::Owned(masked.text)));
    cue.filter(|cue| !cue.is_empty())
}

/// Appends the record of a text to `rows`, or one record per piece if it is longer than [`MAX_TEXT_BYTES`]. Secrets are
/// masked. Returns false if all of the text is private, so that it has no record.
pub fn records(text: &str, about: &RecordMetadata<'_>, rows: &mut Vec<Box<RawValue>>) -> bool {
    let pieces = stored_pieces(text, about.role, about.session_id);
    let parts = (pieces.len() > 1).then_some(pieces.len());
    let cue = stored_cue(about.cue);
    let about = RecordMetadata { cue: cue.as_deref(), ..about.clone() };
    let is_stored = !pieces.is_empty();
    for (at, StoredPiece { text, masked }) in pieces.into_iter().enumerate() {
        let record = Record { kind: "record", about: &about, part: parts.map(|_| at + 1), parts, masked, text: &text };
        // Strings and numbers always serialize, so nothing is lost.
        rows.extend(serde_json::value::to_raw_value(&record));
    }
    is_stored
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
