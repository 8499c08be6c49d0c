//! `memory_read`: a record by its id, whole or in parts.

use serde::Serialize;

use crate::dispatch::{CallError, Params};
use crate::memory::methods::record_view::RecordView;
use crate::memory::model::record::TEXT_BYTES;
use crate::memory::params;
use crate::memory::profile::Profile;
use crate::memory::recall::caller_project::CallerProject;
use crate::memory::store::reader::Reader;
use crate::memory::store::records;

/// Least bytes of a part: any character fits.
const MIN_PART_BYTES: i64 = 4;

/// The result of `memory_read`.
#[derive(Serialize)]
pub(crate) struct RecordText {
    record_id: String,
    literal_surface: String,
    /// What `literal_surface` is if it is not the whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    passage: Option<Part>,
    record_bytes: usize,
    ts: String,
    valid_to: Option<String>,
    role: &'static str,
    session_id: String,
    project: String,
}

/// The range of a part, in bytes into the record's text.
#[derive(Serialize)]
struct Part {
    at: usize,
    bytes: usize,
}

/// Answers `memory_read`. A part that would begin or end within a character is shortened to whole characters.
///
/// # Errors
/// -32602 if a param is invalid, no record has the id, or the part begins behind its end; -32001 if the store cannot be
/// read.
pub(crate) fn memory_read(reader: &Reader, profile: &Profile, params: &Params<'_>) -> Result<RecordText, CallError> {
    let id = params::id(params, "id")?;
    let at = params.integer_or("at", 0..=TEXT_BYTES as i64, 0)? as usize;
    let bytes = params.integer_or("bytes", MIN_PART_BYTES..=TEXT_BYTES as i64, TEXT_BYTES as i64)? as usize;
    let caller = CallerProject::read(params, profile)?;
    let snapshot = reader.snapshot()?;
    let seq = records::seq_of(snapshot.connection(), "id", id)?;
    if !caller.filter(snapshot.connection())?.admits_record(snapshot.connection(), seq)? {
        let what =
            format_args!("the id of a record of this project: {id} is of another one, and project_scope is only");
        return Err(CallError::invalid("id", what));
    }
    let RecordView { record_id, ts, role, session_id, project, valid_to, text, .. } =
        RecordView::read(snapshot.connection(), seq)?;
    if at > text.len() {
        let length = text.len();
        return Err(CallError::invalid("at", format_args!("at most the record's length: it has {length} bytes")));
    }
    let start = (at..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let most = (start + bytes).min(text.len());
    let end = (start..=most).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(start);
    let is_part = end - start < text.len();
    Ok(RecordText {
        record_id,
        literal_surface: text[start..end].to_owned(),
        passage: is_part.then_some(Part { at: start, bytes: end - start }),
        record_bytes: text.len(),
        ts,
        valid_to,
        role,
        session_id,
        project,
    })
}

#[cfg(test)]
mod tests {
    use crate::memory::test_support::Bench;
    use serde_json::{Value, json};

    #[test]
    fn a_record_is_read_whole_and_in_parts() {
        let bench = Bench::new();
        let text = "äb漢字c🎉\n";
        let id = bench.capture(text, json!({"session_id": "s", "project": "/p", "role": "assistant"}));
        let read = |at: usize, bytes: usize| bench.ok("memory_read", json!({"id": id, "at": at, "bytes": bytes}));
        let whole = bench.ok("memory_read", json!({"id": id}));
        for (key, want) in [
            ("literal_surface", json!(text)),
            ("record_bytes", json!(text.len())),
            ("session_id", json!("s")),
            ("project", json!("/p")),
            ("role", json!("assistant")),
            ("valid_to", json!(null)),
            ("passage", Value::Null),
        ] {
            assert_eq!(whole[key], want, "{key}");
        }
        for (at, bytes, want, from) in [
            (0, 4, "äb", 0),
            (1, 4, "b漢", 2),
            (3, 5, "漢", 3),
            (7, 4, "c", 9),
            (10, 4, "🎉", 10),
            (11, 4, "\n", 14),
            (15, 4, "", 15),
            (0, 15, text, 0),
        ] {
            let got = read(at, bytes);
            assert_eq!(got["literal_surface"], want, "{at} {bytes}");
            let passage = json!({"at": from, "bytes": want.len()});
            assert_eq!(got["passage"], if want == text { Value::Null } else { passage }, "{at} {bytes}");
        }
        for (params, part) in [
            (json!({"id": id, "at": 16}), "param 'at' must be at most the record's length: it has 15 bytes"),
            (json!({"id": "00000000-0000-7000-8000-000000000000"}), "no record has the id"),
            (json!({"id": "x"}), "is not a UUID"),
        ] {
            let message = bench.err("memory_read", params.clone()).message;
            assert!(message.contains(part), "{params}: {message}");
        }
    }
}
