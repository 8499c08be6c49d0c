//! Reads the session transcripts of assistants into turns, and turns into rows of `store_import`. Pure.
//!
//! A transcript has one JSON object per line. The format, Claude Code's (`claude.rs`) or Codex's (`codex.rs`), is
//! detected for each line. Text of the user and of the assistant is taken verbatim. Skipped are tool calls and their
//! results, the model's reasoning, text that programs inject, this one included (`injected.rs`), and lines of unknown
//! types.

mod claude;
mod codex;
mod content;
pub mod injected;
mod origin;
pub mod pieces;
pub mod row;
mod turn;

pub use self::origin::{TurnOrigin, TurnSource, same_words};
pub use self::turn::{Assistant, MIN_TEXT_CHARS, TranscriptTurn};

use self::turn::TurnDefaults;
use crate::wire::members::Members;

/// Reads the lines of one transcript. Early lines may set session and folder for the later ones.
#[derive(Clone, Debug, Default)]
pub struct TranscriptReader(TurnDefaults);

impl TranscriptReader {
    /// Returns a reader that uses this session and folder for lines that name none.
    pub fn new(session: Option<String>, project: Option<String>) -> TranscriptReader {
        TranscriptReader(TurnDefaults { session, project })
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
            Some(payload) => codex::turns(&line, payload, &mut self.0)?,
            None => claude::turns(&line)?,
        };
        turns.retain(TranscriptTurn::is_long_enough);
        for turn in &mut turns {
            turn.session = turn.session.take().or_else(|| self.0.session.clone());
            turn.project = turn.project.take().or_else(|| self.0.project.clone());
        }
        Ok(turns)
    }
}
