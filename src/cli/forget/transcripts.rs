//! Searches the transcripts of assistants for the texts of records that are forgotten.

use std::env;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use serde_json::{Value, json};

use crate::cli::import::{MAX_LINE_BYTES, walk, zstd};
use crate::cli::support::assistants::AssistantRules;
use crate::cli::support::error::CliError;
use crate::cli::support::lines::{LineReader, RawLine};
use crate::client::Client;
use crate::sort;
use crate::transcript::Assistant;

/// A text that is shorter is looked for as a whole string: its words may be part of any other.
const SHORT_TEXT_BYTES: usize = 24;

/// Bytes of a text that are looked for.
const SEARCHED_BYTES: usize = 256;

/// Most lines that are reported of one file.
const MAX_LINES: usize = 100;

/// What is looked for.
pub(crate) struct Search {
    /// Texts as they are in JSON.
    needles: Vec<Finder<'static>>,
    /// Records whose texts are not looked for.
    left_out: u64,
}

impl Search {
    /// Reads the texts of the records that are listed.
    ///
    /// # Errors
    /// Those of the daemon.
    pub(crate) fn of(proposed: &Value, client: &mut Client) -> Result<Search, CliError> {
        let mut needles = Vec::new();
        for id in proposed["records"].as_array().into_iter().flatten().map(|record| &record["record_id"]) {
            let reply = client.call("memory_read", &json!({"id": id}))?;
            let read: Value =
                serde_json::from_str(reply.get()).map_err(|error| CliError::Reply("memory_read", error))?;
            needles.extend(needle(read["literal_surface"].as_str().unwrap_or_default()));
        }
        let listed = proposed["records"].as_array().map_or(0, Vec::len) as u64;
        Ok(Search { needles, left_out: proposed["count"].as_u64().unwrap_or(0).saturating_sub(listed) })
    }

    /// Returns the places of the texts in the assistants' transcripts, as `left` lists them.
    pub(crate) fn run(&self) -> Vec<Value> {
        let mut found = Vec::new();
        let mut paths = Vec::new();
        for folder in folders() {
            let Ok(list) = walk::files(&folder) else { continue };
            for (path, error) in list.failed {
                found.push(place(&path, None, &format!("could not be searched: {error}")));
            }
            paths.extend(list.files.into_iter().map(|file| file.path));
        }
        // The archived sessions of Codex are in two lists.
        sort::sort_by(&mut paths, Ord::cmp);
        paths.dedup();
        for path in paths {
            if let Err(error) = self.file(&path, &mut found) {
                found.push(place(&path, None, &format!("could not be searched: {error}")));
            }
        }
        found
    }

    fn file(&self, path: &Path, found: &mut Vec<Value>) -> std::io::Result<()> {
        let mut lines = LineReader::new(zstd::decompressed(walk::open(path)?)?, MAX_LINE_BYTES);
        // The messages of opencode's database are read as lines.
        let has_lines = path.extension().is_none_or(|extension| extension != "db");
        let most = if has_lines { MAX_LINES } else { 1 };
        let mut count = 0;
        while let Some(line) = lines.next_raw()? {
            let RawLine::Bytes(bytes) = line else { continue };
            if count < most && self.needles.iter().any(|needle| needle.find(&bytes).is_some()) {
                count += 1;
                found.push(place(path, has_lines.then_some(lines.number), "transcript"));
            }
        }
        Ok(())
    }

    /// Returns a sentence about the records whose texts were not looked for.
    pub(crate) fn not_searched(&self) -> Option<String> {
        (self.left_out > 0).then(|| {
            format!("transcripts of assistants: the texts of {} older records were not looked for", self.left_out)
        })
    }
}

/// Returns what is looked for in lines of JSON; `None` for an empty text.
fn needle(text: &str) -> Option<Finder<'static>> {
    let text = text.trim();
    let quoted = json!(text).to_string();
    let escaped = &quoted[1..quoted.len() - 1];
    let mut end = escaped.len().min(SEARCHED_BYTES);
    while !escaped.is_char_boundary(end) {
        end -= 1;
    }
    let part = if text.len() < SHORT_TEXT_BYTES { &quoted } else { &escaped[..end] };
    (!text.is_empty()).then(|| Finder::new(part).into_owned())
}

fn place(path: &Path, line: Option<u64>, what: &str) -> Value {
    json!({"where": path.to_string_lossy(), "line": line, "what": what})
}

/// Returns the folders of transcripts that exist.
fn folders() -> Vec<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let Some(home) = set("HOME") else { return Vec::new() };
    let data = set("XDG_DATA_HOME").unwrap_or_else(|| home.join(".local/share"));
    let mut folders = vec![data.join("opencode")];
    for assistant in Assistant::ALL {
        let rules = AssistantRules::of(assistant);
        let folder = rules.folder(&home);
        folders.extend(rules.transcripts.iter().map(|name| folder.join(name)));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_looked_for_as_it_stands_in_json() {
        let long = "she said \"the tea is green\"\nand left";
        for (text, line, is_found) in [
            (long, json!({"content": [{"text": format!("before {long} after")}]}), true),
            (long, json!({"text": "she said the tea is green"}), false),
            ("yes", json!({"content": "yes"}), true),
            ("yes", json!({"content": "yes, go on"}), false),
        ] {
            let found = needle(text).unwrap().find(line.to_string().as_bytes()).is_some();
            assert_eq!(found, is_found, "{text} in {line}");
        }
        assert!(needle(" \n").is_none());
        assert!(needle(&"é".repeat(1000)).is_some());
    }
}
