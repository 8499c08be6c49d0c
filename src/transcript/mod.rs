//! What assistants write down of their sessions → what was said in them, and the rows of `store_import`
//! that it becomes. Pure.
//!
//! A transcript has a JSON object a line: Claude Code's (`claude.rs`) or Codex's (`codex.rs`), told by the
//! line itself. What a person or the assistant said is taken, word for word. What a tool was asked or gave
//! back, what the model thought to itself, and what a program put in by itself, this one included
//! (`injected.rs`), is nobody's speech and is passed over, like every line of a kind that is not known.

mod claude;
mod codex;
pub mod injected;
pub mod pieces;
pub mod row;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::row::RecordMetadata;
use crate::wire::json::{Members, string};

/// Characters that a text needs to say something, white space at its ends not counted: what
/// `memory_capture` asks for, too.
pub const MIN_TEXT_CHARS: usize = 12;

/// The assistant that wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assistant {
    /// Anthropic's Claude Code.
    ClaudeCode,
    /// OpenAI's Codex.
    Codex,
}

impl Assistant {
    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Assistant::ClaudeCode => "claude-code",
            Assistant::Codex => "codex",
        }
    }
}

/// Something that somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptTurn {
    /// Who wrote it down.
    pub assistant: Assistant,
    /// `user` or `assistant`.
    pub role: &'static str,
    /// The conversation.
    pub session: Option<String>,
    /// The folder it was about.
    pub project: Option<String>,
    /// When, as the transcript says.
    pub ts: Option<String>,
    /// The exact words.
    pub text: String,
}

impl TranscriptTurn {
    /// What somebody has just said, or `None` where it is too little or was put in by a program.
    pub fn spoken(
        assistant: Assistant,
        role: &'static str,
        text: &str,
        session: String,
        project: Option<String>,
        ts: String,
    ) -> Option<TranscriptTurn> {
        let text = injected::without(text.to_owned());
        let turn = TranscriptTurn { assistant, role, session: Some(session), project, ts: Some(ts), text };
        Some(turn).filter(TranscriptTurn::says_something)
    }

    fn says_something(&self) -> bool {
        self.text.trim().chars().nth(MIN_TEXT_CHARS - 1).is_some()
    }

    /// What is said about its text.
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

/// Reads the lines of one transcript, of which the first may say what holds for the others.
#[derive(Clone, Debug, Default)]
pub struct TranscriptReader {
    session: Option<String>,
    project: Option<String>,
}

impl TranscriptReader {
    /// A reader that takes this session and folder for lines that name none.
    pub fn new(session: Option<String>, project: Option<String>) -> TranscriptReader {
        TranscriptReader { session, project }
    }

    /// What is said in a line, which is a JSON object.
    ///
    /// # Errors
    /// Why a text in it cannot be taken.
    pub fn turns(&mut self, line: &str) -> Result<Vec<TranscriptTurn>, String> {
        let line = Members::read(line).map_err(|error| error.to_string())?;
        if line.is_twice("type") {
            return Err("the key type stands twice".into());
        }
        let mut turns = match line.value("payload") {
            Some(payload) => codex::turns(&line, payload, self)?,
            None => claude::turns(&line)?,
        };
        turns.retain(TranscriptTurn::says_something);
        for turn in &mut turns {
            turn.session = turn.session.take().or_else(|| self.session.clone());
            turn.project = turn.project.take().or_else(|| self.project.clone());
        }
        Ok(turns)
    }
}

/// Why a text is refused.
const NO_TEXT: &str = "its text holds a lone surrogate";

/// The texts of the blocks whose type is `kind`, not those inside other blocks. An odd block costs nobody
/// but itself.
fn blocks(content: &RawValue, kind: &str) -> Result<Vec<String>, String> {
    let blocks: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
    let mut texts = Vec::new();
    for block in blocks {
        let Ok(block) = Members::read(block.get()) else { continue };
        let text = block.value("text").filter(|text| text.get().starts_with('"'));
        if let (Some(text), true) = (text, block.string("type").as_deref() == Some(kind)) {
            texts.push(string(text.get()).ok_or(NO_TEXT)?.into_owned());
        }
    }
    Ok(texts)
}

fn owned(members: &Members<'_>, key: &str) -> Option<String> {
    members.string(key).map(Cow::into_owned)
}
