//! Detects the format of a line from its keys, and converts lines to rows. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::reference;
use crate::transcript::TranscriptReader;
use crate::transcript::row::records;
use crate::wire::json;

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ImportFormat {
    /// Rows of `iaid export`.
    Export,
    /// A session transcript of Claude Code or Codex.
    Transcript,
    /// `memory.jsonl` of the reference MCP memory server.
    MemoryServer,
}

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    kind: Option<&'a RawValue>,
    #[serde(borrow, rename = "type")]
    type_: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    from: Option<&'a RawValue>,
}

impl ImportFormat {
    /// Returns the format of a line, if the line shows it.
    pub(crate) fn of(line: &str) -> Option<ImportFormat> {
        if !line.starts_with('{') {
            return None;
        }
        let keys: Keys<'_> = serde_json::from_str(line).ok()?;
        let kind = keys.kind.and_then(|value| json::string(value.get()));
        let type_ = keys.type_.and_then(|value| json::string(value.get()));
        match (kind.as_deref(), type_.as_deref()) {
            (Some("record" | "tag" | "link" | "event" | "knob"), _) => Some(ImportFormat::Export),
            (_, Some("entity")) if keys.name.is_some() => Some(ImportFormat::MemoryServer),
            (_, Some("relation")) if keys.from.is_some() => Some(ImportFormat::MemoryServer),
            (_, Some("entity" | "relation") | None) => None,
            // Transcripts have lines of many types, and each release adds new ones.
            (_, Some(_)) => Some(ImportFormat::Transcript),
        }
    }

    /// Returns the rows of a line; `reader` is that of the file.
    ///
    /// # Errors
    /// A message if the line is not a JSON object, or not a valid one of this format.
    pub(crate) fn rows(self, line: &str, reader: &mut TranscriptReader) -> Result<Vec<Box<RawValue>>, String> {
        let whole: &RawValue = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
        if !whole.get().starts_with('{') {
            return Err("not a JSON object".into());
        }
        match self {
            ImportFormat::Export => Ok(vec![whole.to_owned()]),
            ImportFormat::Transcript => {
                let mut rows = Vec::new();
                for turn in reader.turns(whole.get())? {
                    records(&turn.text, &turn.metadata(), &mut rows);
                }
                Ok(rows)
            }
            ImportFormat::MemoryServer => reference::read(whole.get()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_detected_from_a_line() {
        for (line, want) in [
            (r#"{"kind":"record","text":"x"}"#, Some(ImportFormat::Export)),
            (r#"{"text":"x","kind":"knob"}"#, Some(ImportFormat::Export)),
            (r#"{"type":"user","message":{"content":"x"}}"#, Some(ImportFormat::Transcript)),
            (r#"{"type":"summary","summary":"x","leafUuid":"u"}"#, Some(ImportFormat::Transcript)),
            (r#"{"timestamp":"t","type":"session_meta","payload":{"id":"x"}}"#, Some(ImportFormat::Transcript)),
            (r#"{"type":"file-history-snapshot","kind":"x"}"#, Some(ImportFormat::Transcript)),
            (r#"{"type":"entity","name":"x"}"#, Some(ImportFormat::MemoryServer)),
            (r#"{"type":"relation","from":"x"}"#, Some(ImportFormat::MemoryServer)),
            (r#"{"type":"entity"}"#, None),
            (r#"{"kind":"else"}"#, None),
            ("{}", None),
            ("[1]", None),
            (r#"{"type":"user","#, None),
            ("plain text", None),
            ("", None),
        ] {
            assert_eq!(ImportFormat::of(line), want, "{line}");
        }
    }

    #[test]
    fn a_line_that_is_not_an_object_is_refused() {
        for format in [ImportFormat::Export, ImportFormat::Transcript, ImportFormat::MemoryServer] {
            for line in ["[1]", "5", "null", "{", "{} {}", "text", r#"{"a":"#] {
                assert!(format.rows(line, &mut TranscriptReader::default()).unwrap_err().starts_with("not "), "{line}");
            }
        }
        let row = r#"{"kind":"record", "text":"\u0000", "n":1.50}"#;
        assert_eq!(ImportFormat::Export.rows(row, &mut TranscriptReader::default()).unwrap()[0].get(), row);
    }
}
