//! Reads the session transcripts of assistants into turns, and turns into rows of `store_import`. Pure.
//!
//! A transcript has one JSON object per line. The format, Claude Code's (`claude.rs`) or Codex's (`codex.rs`), is
//! detected for each line. Text of the user and of the assistant is taken verbatim. Skipped are tool calls and their
//! results, the model's reasoning, text that programs inject, this one included (`injected.rs`), and lines of unknown
//! types.

mod claude;
mod codex;
pub mod injected;
pub mod pieces;
pub mod row;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::row::RecordMetadata;
use crate::wire::json::string;
use crate::wire::members::Members;

/// Shortest text of a turn, in characters, without white space at both ends. The same limit as `memory_capture`.
pub const MIN_TEXT_CHARS: usize = 12;

/// The assistant that wrote a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assistant {
    /// Anthropic's Claude Code.
    ClaudeCode,
    /// OpenAI's Codex.
    Codex,
}

impl Assistant {
    /// Returns the name used in file names and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Assistant::ClaudeCode => "claude-code",
            Assistant::Codex => "codex",
        }
    }
}

/// A text of the user or the assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptTurn {
    /// The assistant that recorded it.
    pub assistant: Assistant,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// The session.
    pub session: Option<String>,
    /// The working folder of the session.
    pub project: Option<String>,
    /// The time, as written in the transcript.
    pub ts: Option<String>,
    /// The exact text.
    pub text: String,
}

impl TranscriptTurn {
    /// Returns a turn of this text, or `None` if less than [`MIN_TEXT_CHARS`] is left without injected text.
    pub fn from_text(
        assistant: Assistant,
        role: &'static str,
        text: &str,
        session: String,
        project: Option<String>,
        ts: String,
    ) -> Option<TranscriptTurn> {
        let text = injected::without(text.to_owned());
        let turn = TranscriptTurn { assistant, role, session: Some(session), project, ts: Some(ts), text };
        Some(turn).filter(TranscriptTurn::is_long_enough)
    }

    fn is_long_enough(&self) -> bool {
        self.text.trim().chars().nth(MIN_TEXT_CHARS - 1).is_some()
    }

    /// Returns the fields of its records.
    pub fn metadata(&self) -> RecordMetadata<'_> {
        RecordMetadata {
            role: self.role,
            session_id: self.session.as_deref(),
            project: self.project.as_deref(),
            ts: self.ts.as_deref(),
            ..RecordMetadata::default()
        }
    }
}

/// Reads the lines of one transcript. Early lines may set session and folder for the later ones.
#[derive(Clone, Debug, Default)]
pub struct TranscriptReader {
    session: Option<String>,
    project: Option<String>,
}

impl TranscriptReader {
    /// Returns a reader that uses this session and folder for lines that name none.
    pub fn new(session: Option<String>, project: Option<String>) -> TranscriptReader {
        TranscriptReader { session, project }
    }

    /// Returns the turns of a line.
    ///
    /// # Errors
    /// A message if the line is not a JSON object, has the key `type` twice, or has a text with a lone surrogate.
    pub fn turns(&mut self, line: &str) -> Result<Vec<TranscriptTurn>, String> {
        let line = Members::read(line).map_err(|error| error.to_string())?;
        if line.is_duplicate("type") {
            return Err("duplicate key 'type'".into());
        }
        let mut turns = match line.value("payload") {
            Some(payload) => codex::turns(&line, payload, self)?,
            None => claude::turns(&line)?,
        };
        turns.retain(TranscriptTurn::is_long_enough);
        for turn in &mut turns {
            turn.session = turn.session.take().or_else(|| self.session.clone());
            turn.project = turn.project.take().or_else(|| self.project.clone());
        }
        Ok(turns)
    }
}

/// Message for a text that is not valid Unicode.
const LONE_SURROGATE: &str = "the text has a lone surrogate";

/// Returns the texts of the blocks whose type is `kind`. Nested blocks are not searched, and malformed blocks are
/// skipped.
fn blocks(content: &RawValue, kind: &str) -> Result<Vec<String>, String> {
    let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
    let mut texts = Vec::new();
    for block in blocks {
        let Ok(block) = Members::read(block.get()) else { continue };
        let text = block.value("text").filter(|text| text.get().starts_with('"'));
        if let (Some(text), true) = (text, block.string("type").as_deref() == Some(kind)) {
            texts.push(string(text.get()).ok_or(LONE_SURROGATE)?.into_owned());
        }
    }
    Ok(texts)
}

fn owned(members: &Members<'_>, key: &str) -> Option<String> {
    members.string(key).map(Cow::into_owned)
}
