//! Searches the transcripts of assistants for the texts of records that are forgotten.
//!
//! A line is read as an import reads it, so that a text is found whose secrets were masked, which has several parts, or
//! which a transcript has in several lines. Texts that are long enough to be particular are also looked for as they stand
//! in JSON: a tool's output may quote them.

use std::collections::HashSet;
use std::env;
use std::path::{Path, PathBuf};

use memchr::memmem::Finder;
use serde_json::{Value, json};

use crate::cli::import::{MAX_LINE_BYTES, walk, zstd};
use crate::cli::support::assistants::{AssistantRules, opencode_data};
use crate::cli::support::error::CliError;
use crate::cli::support::lines::{LineReader, RawLine};
use crate::client::Client;
use crate::sort;
use crate::transcript::row::stored_pieces;
use crate::transcript::{Assistant, TranscriptReader, TranscriptTurn};

/// A text that is shorter is looked for in its own session, and as a whole turn: its words may be part of any other.
const SHORT_TEXT_BYTES: usize = 24;

/// Bytes of a text that are looked for.
const SEARCHED_BYTES: usize = 256;

/// Stands for the session of a turn whose transcript does not name it.
const ANY_SESSION: &str = "\0";

/// How a mask begins, and how it ends.
const MASK: (&str, char) = ("[secret: ", ']');

/// Most lines that are reported of one file.
const MAX_LINES: usize = 100;

/// What is looked for.
#[derive(Default)]
pub(crate) struct Search {
    /// Parts of texts as they are in JSON.
    needles: Vec<Finder<'static>>,
    /// The words of whole texts, with the session of a short one.
    texts: HashSet<String>,
    /// The words of lines of texts.
    lines: HashSet<String>,
    /// Records whose texts are not looked for.
    left_out: u64,
}

impl Search {
    /// Reads the texts of the records that are listed.
    ///
    /// # Errors
    /// Those of the daemon.
    pub(crate) fn of(proposed: &Value, client: &mut Client) -> Result<Search, CliError> {
        let mut search = Search::default();
        for id in proposed["records"].as_array().into_iter().flatten().map(|record| &record["record_id"]) {
            let reply = client.call("memory_read", &json!({"id": id}))?;
            let read: Value =
                serde_json::from_str(reply.get()).map_err(|error| CliError::Reply("memory_read", error))?;
            let text = |key: &str| read[key].as_str().unwrap_or_default();
            search.add(text("literal_surface"), text("session_id"));
        }
        let listed = proposed["records"].as_array().map_or(0, Vec::len) as u64;
        search.left_out = proposed["count"].as_u64().unwrap_or(0).saturating_sub(listed);
        Ok(search)
    }

    /// Adds a text of a session.
    fn add(&mut self, text: &str, session: &str) {
        self.needles.extend(needles(text));
        if text.trim().len() < SHORT_TEXT_BYTES {
            self.texts.extend([session, ANY_SESSION].into_iter().flat_map(|session| key(text, Some(session))));
        } else {
            self.texts.extend(key(text, None));
        }
        self.lines.extend(text.lines().filter_map(|line| key(line, None)));
    }

    /// Returns true if a turn has one of the texts, or lines of it alone.
    fn has(&self, turn: &TranscriptTurn) -> bool {
        let session = turn.session.as_deref();
        stored_pieces(&turn.text, turn.role, session).iter().any(|piece| {
            let text = piece.text.trim();
            if text.len() < SHORT_TEXT_BYTES {
                return key(text, Some(session.unwrap_or(ANY_SESSION))).is_some_and(|key| self.texts.contains(&key));
            }
            let mut lines = text.lines().filter_map(|line| key(line, None));
            key(text, None).is_some_and(|key| self.texts.contains(&key)) || lines.all(|line| self.lines.contains(&line))
        })
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
        let mut add = |number| {
            count += 1;
            if count <= most {
                found.push(place(path, has_lines.then_some(number), "transcript"));
            }
        };
        let mut reader = TranscriptReader::default();
        while let Some(line) = lines.next_raw()? {
            let RawLine::Bytes(bytes) = line else { continue };
            // A turn may be certain only some lines later.
            let turns = reader.read(&bytes).turns;
            if self.needles.iter().any(|needle| needle.find(&bytes).is_some())
                || turns.iter().any(|turn| self.has(turn))
            {
                add(lines.number);
            }
        }
        if reader.finish().iter().any(|turn| self.has(turn)) {
            add(lines.number);
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

/// Returns the words of a text, whatever white space is between them, behind the session if one is given; `None` if it has
/// no words.
fn key(text: &str, session: Option<&str>) -> Option<String> {
    let mut words = text.split_whitespace().peekable();
    words.peek()?;
    let mut key = session.unwrap_or_default().to_owned();
    for word in words {
        key.push(' ');
        key.push_str(word);
    }
    Some(key)
}

/// Returns what is looked for in lines of JSON: the longest part of a line between two masks, as programs escape it that
/// escape other than ASCII characters and as others do. None if it is short.
fn needles(text: &str) -> impl Iterator<Item = Finder<'static>> {
    let parts = text.lines().flat_map(|line| {
        line.split(MASK.0).enumerate().map(|(at, part)| match part.split_once(MASK.1) {
            Some((_, behind)) if at > 0 => behind,
            _ => part,
        })
    });
    let longest = parts.map(str::trim).max_by_key(|part| part.len()).filter(|part| part.len() >= SHORT_TEXT_BYTES);
    let quoted = json!(longest.unwrap_or_default()).to_string();
    let escaped = &quoted[1..quoted.len() - 1];
    let mut end = escaped.len().min(SEARCHED_BYTES);
    while !escaped.is_char_boundary(end) {
        end -= 1;
    }
    let part = escaped[..end].to_owned();
    let in_ascii = (!part.is_ascii()).then(|| ascii(&part));
    [Some(part).filter(|part| !part.is_empty()), in_ascii]
        .into_iter()
        .flatten()
        .map(|part| Finder::new(&part).into_owned())
}

/// Escapes other than ASCII characters.
fn ascii(text: &str) -> String {
    let mut escaped = String::new();
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\u{unit:04x}")),
        }
    }
    escaped
}

fn place(path: &Path, line: Option<u64>, what: &str) -> Value {
    json!({"where": path.to_string_lossy(), "line": line, "what": what})
}

/// Returns the folders of transcripts that exist.
fn folders() -> Vec<PathBuf> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let Some(home) = set("HOME") else { return Vec::new() };
    let mut folders = vec![opencode_data(&home)];
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
    use std::fs;

    const LONG: &str = "she said \"the tea is green\"\nand then she left for the ête of the year";

    #[test]
    fn a_part_of_a_text_is_looked_for_as_it_stands_in_json() {
        let masked = "the key is [secret: aws-access-key-id], which opens the boat house in the harbor";
        for (text, line, is_found) in [
            (LONG, json!({"content": [{"text": format!("before {LONG} after")}]}).to_string(), true),
            (LONG, r#"{"text":"and then she left for the \u00eate of the year"}"#.to_owned(), true),
            (LONG, json!({"text": "she said the tea is green"}).to_string(), false),
            (masked, json!({"text": "the key is AKIA, which opens the boat house in the harbor"}).to_string(), true),
            ("yes", json!({"content": "yes"}).to_string(), false),
        ] {
            let found = needles(text).any(|needle| needle.find(line.as_bytes()).is_some());
            assert_eq!(found, is_found, "{text} in {line}");
        }
        assert_eq!(needles(" \n").count(), 0);
        assert_eq!(needles(&"é".repeat(1000)).count(), 2);
    }

    #[test]
    fn turns_are_found_in_transcripts_of_each_form() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s-1.jsonl");
        let ts = "2026-11-30T05:16:42.389Z";
        let claude = |text: &str, session: &str| {
            let content = json!([{"type": "text", "text": text}]);
            json!({"type": "user", "uuid": "u", "sessionId": session, "cwd": "/p", "timestamp": ts,
                "message": {"role": "user", "content": content}})
        };
        let parts = |parts: &[&str]| {
            let parts: Vec<Value> = parts.iter().map(|text| json!({"text": text})).collect();
            json!({"uuid": "u", "sessionId": "s-1", "type": "user", "cwd": "/p", "timestamp": ts, "message": {"parts": parts}})
        };
        let secret = "AKIAIOSFODNN7EXAMPLQ";
        let gemini = |text: &str| json!({"id": "1", "type": "user", "content": text, "timestamp": ts});
        let copilot = |text: &str| json!({"type": "user.message", "data": {"content": text}, "id": "1", "parentId": null, "timestamp": ts});
        for (what, text, session, line, is_found) in [
            ("masked", "key=[secret: aws-access-key-id]", "s-1", claude(&format!("key={secret}"), "s-1"), true),
            (
                "joined",
                "a key to the door of the house\n\nand a second one",
                "s-1",
                parts(&["a key to the  door of the house", "x"]),
                true,
            ),
            (
                "one block",
                "the first of the blocks is here\n\nthe second",
                "s-1",
                gemini("the first of the blocks is here"),
                true,
            ),
            (
                "other white space",
                "the first\nof the blocks is here",
                "x",
                copilot("the first of the  blocks is here"),
                true,
            ),
            ("short", "keep the door open", "s-1", claude("keep the door open", "s-1"), true),
            ("short, of another session", "keep the door open", "s-1", claude("keep the door open", "s-2"), false),
            (
                "other words",
                "the first of the blocks is here",
                "s-1",
                claude("the last of the blocks is here", "s-1"),
                false,
            ),
        ] {
            let mut search = Search::default();
            search.add(text, session);
            fs::write(&path, format!("{{}}\n{line}\n")).unwrap();
            let mut found = Vec::new();
            search.file(&path, &mut found).unwrap();
            assert_eq!(!found.is_empty(), is_found, "{what}: {found:?}");
        }
    }
}
