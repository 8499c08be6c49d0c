//! Counts of an import, and their output.

use std::borrow::Cow;
use std::path::Path;

use serde_json::json;

use super::format::SkippedTurns;
use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::values::{counted, grouped};
use crate::client::FAILED;

/// Counts of files and rows by outcome.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    pub(crate) unreadable: u64,
    pub(crate) new: u64,
    pub(crate) known: u64,
    pub(crate) refused: u64,
    /// Lines of transcripts of unknown kinds that have text.
    pub(crate) unknown_lines: u64,
    /// Transcripts with turns of the user or of the assistant only.
    pub(crate) one_sided: u64,
    pub(crate) skipped: SkippedTurns,
}

impl Tally {
    pub(crate) fn as_json(&self) -> serde_json::Value {
        let Tally { files, unreadable, new, known, refused, unknown_lines, one_sided, skipped } = self;
        let mut counts =
            json!({"files": files, "unreadable": unreadable, "new": new, "known": known, "refused": refused});
        for (key, count) in [
            ("unknown_lines", *unknown_lines),
            ("one_sided", *one_sided),
            ("private", skipped.private),
            ("unheard", skipped.unheard),
        ] {
            if count > 0 {
                counts[key] = count.into();
            }
        }
        counts
    }

    /// Returns the counts as a sentence. `from` names what was read.
    pub(crate) fn in_words(&self, from: &str) -> String {
        let Tally { new, known, refused, unknown_lines, one_sided, skipped, .. } = self;
        let mut words =
            format!("{from}: {} new, {} known, {} refused", grouped(*new), grouped(*known), grouped(*refused));
        if *unknown_lines > 0 {
            words += &format!(", {} of unknown kind with text", counted(*unknown_lines, "line", "lines"));
        }
        if *one_sided > 0 {
            words += &format!(", {} with one side of a conversation only", counted(*one_sided, "file", "files"));
        }
        if skipped.private > 0 {
            words += &format!(", {} skipped", counted(skipped.private, "private turn", "private turns"));
        }
        if skipped.unheard > 0 {
            let turns = counted(skipped.unheard, "turn", "turns");
            words += &format!(", {turns} skipped: said while capture was paused, or in an ignored folder");
        }
        words
    }

    pub(crate) fn unreadable(&mut self, path: &Path, what: &str, console: &mut Console) {
        self.unreadable += 1;
        let path = name(path);
        match console.format {
            OutputFormat::Text => console.warn(format_args!("{path}: {what}")),
            OutputFormat::Json => console.warn(json!({"file": path, "error": {"code": FAILED, "message": what}})),
        }
    }
}

/// Returns the name of a source for people.
pub(crate) fn name(path: &Path) -> Cow<'_, str> {
    if path.as_os_str() == "-" { "standard input".into() } else { path.to_string_lossy() }
}
