//! Detects the format of a line from its keys, and converts lines to rows. Pure.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::reference;
use crate::cli::support::capture_gate::CaptureGate;
use crate::cli::support::project_finder::ProjectFinder;
use crate::transcript::row::records;
use crate::transcript::{TranscriptLine, TranscriptReader, TranscriptTurn, first_record};
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

/// Turns that are not stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SkippedTurns {
    /// Private as a whole.
    pub(crate) private: u64,
    /// Said while capture was paused, or in a folder that is not listened to.
    pub(crate) unheard: u64,
}

impl SkippedTurns {
    /// Adds the turns of another part.
    pub(crate) fn add(&mut self, other: SkippedTurns) {
        self.private += other.private;
        self.unheard += other.unheard;
    }
}

/// The rows of a line.
pub(crate) struct LineRows {
    pub(crate) rows: Vec<Box<RawValue>>,
    pub(crate) skipped: SkippedTurns,
    /// What is wrong with the line, of which a part or all was not taken.
    pub(crate) damage: Option<String>,
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
    /// In lines of Gemini CLI that have no type.
    #[serde(borrow, rename = "projectHash", alias = "$set", alias = "$rewindTo")]
    gemini: Option<&'a RawValue>,
    /// In a message and an export of opencode.
    #[serde(borrow)]
    info: Option<&'a RawValue>,
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
            (Some("record" | "tag" | "link" | "event" | "alias" | "knob"), _) => Some(ImportFormat::Export),
            (_, Some("entity")) if keys.name.is_some() => Some(ImportFormat::MemoryServer),
            (_, Some("relation")) if keys.from.is_some() => Some(ImportFormat::MemoryServer),
            (_, None) if keys.gemini.is_some() || keys.info.is_some() => Some(ImportFormat::Transcript),
            (_, Some("entity" | "relation") | None) => None,
            // Transcripts have lines of many types, and each release adds new ones.
            (_, Some(_)) => Some(ImportFormat::Transcript),
        }
    }

    /// Returns the format of a line that may be damaged: a damaged line shows only that it is of a transcript.
    pub(crate) fn of_bytes(line: &[u8]) -> Option<ImportFormat> {
        let whole = str::from_utf8(line).ok().and_then(ImportFormat::of);
        let record = || first_record(line).and_then(ImportFormat::of);
        whole.or_else(|| record().filter(|format| *format == ImportFormat::Transcript))
    }

    /// Returns the rows of a line; `reader` is that of the file. Of a damaged line of a transcript, the whole records are
    /// taken.
    pub(crate) fn rows(
        self,
        line: &[u8],
        reader: &mut TranscriptReader,
        gate: &CaptureGate,
        projects: &mut ProjectFinder,
    ) -> LineRows {
        if self == ImportFormat::Transcript {
            let TranscriptLine { turns, damage } = reader.read(line);
            let (rows, skipped) = turn_rows(&turns, gate, projects);
            return LineRows { rows, skipped, damage };
        }
        let rows = str::from_utf8(line).map_err(|_| "not UTF-8".into()).and_then(|line| self.whole_rows(line.trim()));
        match rows {
            Ok(rows) => LineRows { rows, skipped: SkippedTurns::default(), damage: None },
            Err(what) => LineRows { rows: Vec::new(), skipped: SkippedTurns::default(), damage: Some(what) },
        }
    }

    fn whole_rows(self, line: &str) -> Result<Vec<Box<RawValue>>, String> {
        let whole: &RawValue = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"))?;
        if !whole.get().starts_with('{') {
            return Err("not a JSON object".into());
        }
        match self {
            ImportFormat::MemoryServer => reference::read(whole.get()),
            ImportFormat::Export | ImportFormat::Transcript => Ok(vec![whole.to_owned()]),
        }
    }
}

/// Returns the rows of turns, and which turns have none.
pub(crate) fn turn_rows(
    turns: &[TranscriptTurn],
    gate: &CaptureGate,
    projects: &mut ProjectFinder,
) -> (Vec<Box<RawValue>>, SkippedTurns) {
    let (mut rows, mut skipped) = (Vec::new(), SkippedTurns::default());
    for turn in turns {
        if gate.leaves_out(turn) {
            skipped.unheard += 1;
        } else if !records(&turn.text, &projects.metadata(turn), &mut rows) {
            skipped.private += 1;
        }
    }
    (rows, skipped)
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
            for line in ["[1]", "5", "null", "{", "text", r#"{"a":"#, "\u{feff}"] {
                let LineRows { rows, damage, .. } = format.rows(
                    line.as_bytes(),
                    &mut TranscriptReader::default(),
                    &CaptureGate::default(),
                    &mut ProjectFinder::new(),
                );
                assert!(rows.is_empty() && damage.unwrap().starts_with("not "), "{line}");
            }
            let bad = format.rows(
                b"{\"a\":\"\xff\"}",
                &mut TranscriptReader::default(),
                &CaptureGate::default(),
                &mut ProjectFinder::new(),
            );
            assert_eq!(bad.damage.as_deref(), Some("not UTF-8"));
        }
        let row = r#"{"kind":"record", "text":"\u0000", "n":1.50}"#;
        assert_eq!(
            ImportFormat::Export
                .rows(
                    row.as_bytes(),
                    &mut TranscriptReader::default(),
                    &CaptureGate::default(),
                    &mut ProjectFinder::new()
                )
                .rows[0]
                .get(),
            row
        );
    }
}
